/* Finds and loads the tables of a device. */
#include "latency/table/set.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* A table without entries for each of its image sizes. */
static nas_status add_regressor(nas_latency_set *set, const char *path, nas_err *err)
{
    nas_status status;

    if (set->count > 0)
        return nas_fail(err, NAS_E_CONFIG, "%s: a regressor of latency stands alone, without "
                        "tables", path);
    status = nas_regressor_load(&set->regressor, path, err);
    for (int i = 0; status == NAS_OK && i < set->regressor->sizes; i++) {
        set->tables[i] = nas_regressor_table(set->regressor, set->regressor->image_size[i], err);
        if (set->tables[i] == NULL)
            return NAS_E_NOMEM;
        set->count++;
    }
    return status;
}

/* What tables say of device, threads and batch must not differ; what one does not say fits all. */
static nas_status check_alike(const nas_latency_meta *first, const nas_latency_meta *other,
                              const char *path, nas_err *err)
{
    const struct {
        const char *what;
        int first, other;
    } numbers[] = {{"threads", first->threads, other->threads},
                   {"images a batch", first->batch, other->batch}};
    nas_status status = NAS_OK;

    if (first->device[0] && other->device[0] && strcmp(first->device, other->device) != 0)
        status = nas_fail(err, NAS_E_CONFIG, "%s: is of another device (%s) than the tables beside "
                          "it (%s)", path, other->device, first->device);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && status == NAS_OK; i++)
        if (numbers[i].first > 0 && numbers[i].other > 0 && numbers[i].first != numbers[i].other)
            status = nas_fail(err, NAS_E_CONFIG, "%s: was measured with %d %s, the tables beside "
                              "it with %d", path, numbers[i].other, numbers[i].what,
                              numbers[i].first);
    if (status != NAS_OK)
        nas_hint(err, "one set of tables is of one device, measured in one way: give the others a "
                 "folder of their own");
    return status;
}

static nas_status add_file(nas_latency_set *set, const char *path, nas_err *err)
{
    nas_latency_table *table;
    int at = set->count;

    if (set->regressor != NULL)
        return nas_fail(err, NAS_E_CONFIG, "%s: a regressor of latency stands alone, without "
                        "tables", path);
    if (set->count == NAS_LATENCY_MAX_TABLES)
        return nas_fail(err, NAS_E_CONFIG, "%s: more than %d latency tables", path,
                        NAS_LATENCY_MAX_TABLES);
    if ((set->path[set->paths] = strdup(path)) == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s", path);
    set->paths++;
    if (nas_regressor_is(path))
        return add_regressor(set, path, err);
    nas_status status = nas_latency_table_load(&table, path, err);

    if (status)
        return status;
    if (set->count > 0 &&
        (status = check_alike(&set->tables[0]->meta, &table->meta, path, err)) != NAS_OK) {
        nas_latency_table_free(table);
        return status;
    }
    const int size = nas_latency_table_image_size(table);

    while (at > 0 && nas_latency_table_image_size(set->tables[at - 1]) >= size)
        at--;
    if (at < set->count && nas_latency_table_image_size(set->tables[at]) == size) {
        nas_latency_table_free(table);
        return nas_fail(err, NAS_E_CONFIG, "%s: another table is for images of %d pixels too",
                        path, size);
    }
    memmove(&set->tables[at + 1], &set->tables[at],
            (size_t)(set->count - at) * sizeof *set->tables);
    set->tables[at] = table;
    set->count++;
    return NAS_OK;
}

static int is_yaml(const struct dirent *entry)
{
    const size_t length = strlen(entry->d_name);

    return length > 5 && entry->d_name[0] != '.' &&
           strcmp(entry->d_name + length - 5, ".yaml") == 0;
}

static nas_status add_dir(nas_latency_set *set, const char *dir, nas_err *err)
{
    struct dirent **entries;
    const int count = scandir(dir, &entries, is_yaml, alphasort);
    nas_status status = NAS_OK;

    if (count < 0)
        return nas_fail_errno(err, "%s", dir);
    if (count == 0)
        status = nas_fail(err, NAS_E_DATA, "%s: no *.yaml in this directory", dir);
    for (int i = 0; i < count; i++) {
        if (status == NAS_OK) {
            char *path = nas_path_join(dir, entries[i]->d_name);

            status = path ? add_file(set, path, err) : nas_fail(err, NAS_E_NOMEM, "%s", dir);
            free(path);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

static nas_status add_list(nas_latency_set *set, const char *list, nas_err *err)
{
    char *copy = strdup(list), *rest = copy, *path;
    nas_status status = NAS_OK;

    if (!copy)
        return nas_fail(err, NAS_E_NOMEM, "%s", list);
    while (status == NAS_OK && (path = strsep(&rest, ",")))
        status = add_file(set, path, err);
    free(copy);
    return status;
}

nas_status nas_latency_set_load(nas_latency_set **out, const char *where, nas_err *err)
{
    nas_latency_set *set = calloc(1, sizeof *set);
    nas_status status;

    *out = NULL;
    if (!set)
        return nas_fail(err, NAS_E_NOMEM, "no memory for latency tables");
    if (nas_path_is_dir(where))
        status = add_dir(set, where, err);
    else if (nas_path_exists(where)) /* also a file with a comma in its name */
        status = add_file(set, where, err);
    else
        status = add_list(set, where, err);
    if (status) {
        nas_latency_set_free(set);
        return status;
    }
    *out = set;
    return NAS_OK;
}

void nas_latency_set_free(nas_latency_set *set)
{
    if (!set)
        return;
    for (int i = 0; i < set->count; i++)
        nas_latency_table_free(set->tables[i]);
    for (int i = 0; i < set->paths; i++)
        free(set->path[i]);
    nas_regressor_free(set->regressor);
    free(set);
}

nas_status nas_latency_set_fill(nas_latency_set *set, const nas_space *space, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int i = 0; set->regressor != NULL && i < set->count && status == NAS_OK; i++)
        status = nas_regressor_fill(set->regressor, set->tables[i], space, err);
    return status;
}

nas_status nas_latency_set_pick(const nas_latency_table **out, const nas_latency_set *set,
                                int image_size, nas_err *err)
{
    char sizes[256] = "";
    size_t used = 0;

    for (int i = 0; i < set->count; i++) {
        const int size = nas_latency_table_image_size(set->tables[i]);

        if ((set->count == 1 && set->regressor == NULL) || size == image_size) {
            *out = set->tables[i];
            return NAS_OK;
        }
        if (used < sizeof sizes - 16)
            used += (size_t)snprintf(sizes + used, sizeof sizes - used, "%s%d", i ? ", " : "",
                                     size);
    }
    nas_fail(err, NAS_E_INFEASIBLE, "no latency table for images of %d pixels; there are %s",
             image_size, sizes);
    nas_hint(err, "make one: nas %s --space SPACE --image-size %d --out %s",
             set->regressor != NULL ? "latency train" : "profile", image_size,
             set->regressor != NULL ? "FILE" : "TABLE");
    return NAS_E_INFEASIBLE;
}
