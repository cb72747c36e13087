/* A job file becomes command lines: each entry is expanded over its list and grid.
 *
 * A combination is a number; its digits, in the mixed radix of list and grid, say which value
 * each of them takes.  The last key of the grid turns fastest. */
#include "search/jobs/sweep.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/options.h"

/* What one file may make, so that a small one cannot fill the memory. */
enum { TEXT_SIZE = 64, MAX_NAMES = 64, MAX_TOTAL_NEEDS = 1000000, MAX_TOTAL_BYTES = 256 << 20 };

/* One entry of "jobs" while it is expanded. */
typedef struct entry {
    const json_t *json, *options, *grid, *list;
    const char *name;
    char where[TEXT_SIZE];
    int combinations, first; /* first: index of its first job */
} entry;

typedef struct reader {
    nas_sweep *out;
    entry *entries;
    int entry_count;
    nas_job_spec defaults;
    const char *group;
    size_t bytes, needs; /* of all jobs so far */
} reader;

/* ---- checks ---- */

static bool is_value(const json_t *value)
{
    return json_is_string(value) || json_is_number(value) || json_is_boolean(value) ||
           json_is_null(value);
}

static bool is_option_name(const char *key)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";

    return key[0] >= 'a' && key[0] <= 'z' && strspn(key, allowed) == strlen(key) &&
           strlen(key) < TEXT_SIZE;
}

/* An object of options; in a grid each holds a list of values. */
static nas_status check_options(const json_t *options, const char *where, const char *what,
                                bool lists, nas_err *err)
{
    const char *key;
    json_t *value, *item;
    size_t i;

    if (!json_is_object(options))
        return nas_fail(err, NAS_E_DATA, "%s.%s: should be an object of options", where, what);
    json_object_foreach((json_t *)options, key, value) {
        bool good = is_option_name(key);

        if (lists) {
            good = good && json_array_size(value) > 0;
            json_array_foreach(value, i, item)
                good = good && is_value(item);
        }
        if (!good || (!lists && !is_value(value)))
            return nas_fail(err, NAS_E_DATA, "%s.%s: '%.64s' should be the name of an option, with "
                            "%s", where, what, key, lists ? "a list of values" : "a value");
    }
    return NAS_OK;
}

static nas_status check_words(const entry *e, const json_t *run, nas_err *err)
{
    const json_t *item;
    size_t i;
    bool good = json_array_size(run) > 0;

    json_array_foreach(run, i, item)
        good = good && json_is_string(item);
    return good ? NAS_OK
                : nas_fail(err, NAS_E_DATA, "%s.run: should be a list of words, the command first",
                           e->where);
}

/* Takes the entry apart and counts its combinations. */
static nas_status read_entry(entry *e, nas_err *err)
{
    static const char *const keys[] = {
        "name", "run", "options", "grid", "list", "after", "after_any", "cores", "memory_mib",
        "priority", "time_limit_s", "hang_limit_s", "retries", NULL};
    const char *key;
    json_t *value;
    size_t i;
    nas_status status;

    if ((status = nas_json_members(e->json, e->where, keys, err)) ||
        (status = nas_json_str(e->json, e->where, "name", true, &e->name, err)) ||
        (status = nas_store_name_check(e->name, e->where, err)) ||
        (status = check_words(e, json_object_get(e->json, "run"), err)))
        return status == NAS_E_USAGE ? NAS_E_DATA : status;
    e->options = json_object_get(e->json, "options");
    e->grid = json_object_get(e->json, "grid");
    e->list = json_object_get(e->json, "list");
    e->combinations = 1;
    if ((e->options && (status = check_options(e->options, e->where, "options", false, err))) ||
        (e->grid && (status = check_options(e->grid, e->where, "grid", true, err))))
        return status;
    if (e->list && json_array_size(e->list) == 0)
        return nas_fail(err, NAS_E_DATA, "%s.list: should be a list of objects", e->where);
    json_array_foreach(e->list, i, value)
        if ((status = check_options(value, e->where, "list", false, err)))
            return status;
    size_t product = e->list ? json_array_size(e->list) : 1;
    json_object_foreach((json_t *)e->grid, key, value)
        product = product > NAS_JOB_MAX_JOBS || json_array_size(value) > NAS_JOB_MAX_JOBS
                      ? (size_t)NAS_JOB_MAX_JOBS + 1 : product * json_array_size(value);
    if (product > NAS_JOB_MAX_JOBS)
        return nas_fail(err, NAS_E_DATA, "%s: more than %d jobs", e->where, NAS_JOB_MAX_JOBS);
    e->combinations = (int)product;
    return NAS_OK;
}

/* ---- one combination ---- */

/* The options that combination `number` sets, each once; NULL: no memory. */
static json_t *combine(const entry *e, int number)
{
    json_t *chosen = json_object(), *grid = json_object();
    const char *key;
    json_t *value;
    int radix = 1, failed = !chosen || !grid;

    json_object_foreach((json_t *)e->grid, key, value)
        radix *= (int)json_array_size(value);
    if (e->list)
        failed = failed || json_object_update(chosen, json_array_get(e->list,
                                                                     (size_t)(number / radix)));
    number %= radix;
    json_object_foreach((json_t *)e->grid, key, value) {
        radix /= (int)json_array_size(value);
        failed = failed || json_object_set(grid, key, json_array_get(value,
                                                                     (size_t)(number / radix)));
        number %= radix;
    }
    failed = failed || json_object_update(chosen, grid);
    json_decref(grid);
    if (failed)
        json_decref(chosen);
    return failed ? NULL : chosen;
}

/* The shortest text that reads back as the same number. */
static void real_text(double value, char out[TEXT_SIZE])
{
    for (int digits = 15; digits <= 17; digits++) { /* %g leaves zeros at the end out */
        snprintf(out, TEXT_SIZE, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}

/* A value as it stands in a command line. */
static const char *value_text(const json_t *value, char out[TEXT_SIZE])
{
    if (json_is_string(value))
        return json_string_value(value);
    if (json_is_null(value))
        return "";
    if (json_is_integer(value))
        snprintf(out, TEXT_SIZE, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        real_text(json_real_value(value), out);
    else
        snprintf(out, TEXT_SIZE, "%s", json_is_true(value) ? "true" : "false");
    return out;
}

/* A word: its text, and behind that perhaps a file of a job above. */
typedef struct word {
    char text[NAS_JOB_ARG_SIZE];
    int job; /* index of that job, -1: none */
    char file[TEXT_SIZE];
} word;

/* What is being written: job `number` of the entry at `index`. */
typedef struct place {
    const reader *reader;
    int index, number;
    const json_t *chosen;
} place;

/* A typing error would give all jobs of a sweep one name of a file.  What is no name of an option
 * (a number, JSON) stays as it is. */
static nas_status check_key(const place *at, const char *key, nas_err *err)
{
    const char *names[MAX_NAMES + 1] = {NULL}, *name;
    json_t *value;
    int count = 0;

    if (!islower((unsigned char)*key) ||
        key[strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_-")] != '\0')
        return NAS_OK;
    json_object_foreach((json_t *)at->chosen, name, value)
        if (count < MAX_NAMES)
            names[count++] = name;
    nas_fail(err, NAS_E_DATA, "%s: {%s}: neither 'list' nor 'grid' sets it",
             at->reader->entries[at->index].where, key);
    const char *near = nas_nearest(key, names);
    if (near != NULL)
        nas_hint(err, "did you mean {%s}?", near);
    return NAS_E_DATA;
}

/* "NAME:FILE": a file of the job of that name; of one that makes as many jobs as this one, the
 * one at the same place.  Leaves w->job at -1 if `key` is nothing of the kind. */
static nas_status refer(word *w, const place *at, const char *key, const char *rest, nas_err *err)
{
    const entry *e = &at->reader->entries[at->index];
    const char *file = strchr(key, ':');
    char name[TEXT_SIZE];
    int k = 0;

    if (!file)
        return check_key(at, key, err);
    snprintf(name, sizeof name, "%.*s", (int)(file - key), key);
    if (nas_store_name_check(name, "", NULL) || nas_store_name_check(++file, "", NULL))
        return NAS_OK;
    while (k < at->index && strcmp(at->reader->entries[k].name, name) != 0)
        k++;
    if (k == at->index)
        return nas_fail(err, NAS_E_DATA, "%s: {%s}: there is no job '%s' above it", e->where, key,
                        name);
    const entry *other = &at->reader->entries[k];
    if (other->combinations != 1 && other->combinations != e->combinations)
        return nas_fail(err, NAS_E_DATA, "%s: {%s}: '%s' makes %d jobs, not 1 or %d as this one",
                        e->where, key, name, other->combinations, e->combinations);
    if (*rest)
        return nas_fail(err, NAS_E_DATA, "%s: {%s}: must be the end of its word", e->where, key);
    w->job = other->first + (other->combinations > 1 ? at->number : 0);
    snprintf(w->file, sizeof w->file, "%s", file);
    return NAS_OK;
}

/* Puts the value of option KEY, where the combination sets it, in the place of "{KEY}". */
static nas_status fill_in(word *w, const char *text, const place *at, nas_err *err)
{
    const char *where = at->reader->entries[at->index].where;
    char *out = w->text;
    size_t used = 0;

    w->job = -1;
    while (*text && w->job < 0) {
        char key[2 * TEXT_SIZE], number[TEXT_SIZE];
        const size_t length = *text == '{' ? strcspn(text + 1, "{}") : 0;
        const json_t *value = NULL;
        const char *piece = text;
        size_t size = 1;

        if (length > 0 && length < sizeof key && text[1 + length] == '}') {
            snprintf(key, sizeof key, "%.*s", (int)length, text + 1);
            value = json_object_get(at->chosen, key);
            const nas_status status = value ? NAS_OK : refer(w, at, key, text + length + 2, err);
            if (status)
                return status;
        }
        if (w->job >= 0)
            break;
        if (value) {
            piece = value_text(value, number);
            size = strlen(piece);
        }
        if (used + size >= NAS_JOB_ARG_SIZE)
            return nas_fail(err, NAS_E_DATA, "%s: a word of more than %d bytes", where,
                            NAS_JOB_ARG_SIZE - 1);
        memcpy(out + used, piece, size);
        used += size;
        text += value ? length + 2 : 1;
    }
    out[used] = '\0';
    return NAS_OK;
}

static nas_status append(json_t *args, const word *w, nas_err *err)
{
    json_t *json = w->job < 0 ? json_string(w->text)
                              : json_pack("{s:s, s:i, s:s}", "before", w->text, "job",
                                          -1 - w->job, "file", w->file);

    return json_array_append_new(args, json) == 0 ? NAS_OK
                                                  : nas_fail(err, NAS_E_NOMEM, "job file");
}

/* "--key=value" ("--key" and "--no-key" for true and false): one word, so that no value can
 * be taken for an option. */
static nas_status append_option(json_t *args, const char *key, const json_t *value,
                                const place *at, nas_err *err)
{
    char text[NAS_JOB_ARG_SIZE + TEXT_SIZE], number[TEXT_SIZE];
    word w;
    nas_status status;

    if (json_is_null(value))
        return NAS_OK;
    if ((status = fill_in(&w, value_text(value, number), at, err)))
        return status;
    const int size =
        snprintf(text, sizeof text, "--%s%s%s%s", json_is_false(value) ? "no-" : "", key,
                 json_is_boolean(value) ? "" : "=", json_is_boolean(value) ? "" : w.text);
    if (size >= NAS_JOB_ARG_SIZE)
        return nas_fail(err, NAS_E_DATA, "%s: a word of more than %d bytes",
                        at->reader->entries[at->index].where, NAS_JOB_ARG_SIZE - 1);
    for (char *c = text; *c && *c != '='; c++)
        *c = *c == '_' ? '-' : *c;
    memcpy(w.text, text, (size_t)size + 1);
    return append(args, &w, err);
}

static nas_status make_args(json_t **out, const place *at, nas_err *err)
{
    const entry *e = &at->reader->entries[at->index];
    json_t *all = e->options ? json_copy((json_t *)e->options) : json_object(), *value;
    const char *key;
    word w;
    size_t i;
    nas_status status = NAS_OK;

    *out = json_array();
    if (!*out || !all || json_object_update(all, (json_t *)at->chosen))
        status = nas_fail(err, NAS_E_NOMEM, "%s", e->where);
    else if (json_array_size(json_object_get(e->json, "run")) + json_object_size(all) >
             NAS_JOB_MAX_ARGS)
        status = nas_fail(err, NAS_E_DATA, "%s: a command line of more than %d words", e->where,
                          NAS_JOB_MAX_ARGS);
    json_array_foreach(json_object_get(e->json, "run"), i, value)
        if (!status && !(status = fill_in(&w, json_string_value(value), at, err)))
            status = append(*out, &w, err);
    json_object_foreach(all, key, value)
        if (!status)
            status = append_option(*out, key, value, at, err);
    json_decref(all);
    return status;
}

/* ---- jobs ---- */

static nas_status make_name(char **out, const reader *r, const entry *e, int number, nas_err *err)
{
    char suffix[16] = "";

    if (e->combinations > 1)
        snprintf(suffix, sizeof suffix, "-%d", number + 1);
    if (asprintf(out, "%s%s%s%s", r->group ? r->group : "", r->group ? "." : "", e->name,
                 suffix) < 0) {
        *out = NULL;
        return nas_fail(err, NAS_E_NOMEM, "%s", e->where);
    }
    return nas_store_name_check(*out, e->where, err) ? NAS_E_DATA : NAS_OK;
}

static nas_status read_limits(nas_job_spec *spec, const json_t *json, const char *where,
                              nas_err *err)
{
    int64_t cores = spec->cores, priority = spec->priority, retries = spec->retries;
    nas_status status;

    if ((status = nas_json_int(json, where, "cores", false, 1, 1024, &cores, err)) ||
        (status = nas_json_int(json, where, "memory_mib", false, 0, 1 << 30, &spec->memory_mib,
                               err)) ||
        (status = nas_json_int(json, where, "priority", false, -1000000, 1000000, &priority,
                               err)) ||
        (status = nas_json_int(json, where, "time_limit_s", false, 0, 100000000,
                               &spec->time_limit_s, err)) ||
        (status = nas_json_int(json, where, "hang_limit_s", false, 0, 100000000,
                               &spec->hang_limit_s, err)) ||
        (status = nas_json_int(json, where, "retries", false, 0, 1000000, &retries, err)))
        return status;
    spec->cores = (int)cores;
    spec->priority = (int)priority;
    spec->retries = (int)retries;
    return NAS_OK;
}

/* Lets a job wait for `count` jobs from index `first` on. */
static nas_status add_needs(reader *r, const entry *e, nas_job_spec *spec, int first, int count,
                            bool any, nas_err *err)
{
    const int total = spec->need_count + count;

    r->needs += (size_t)count;
    if (total > NAS_JOB_MAX_NEEDS || r->needs > MAX_TOTAL_NEEDS)
        return nas_fail(err, NAS_E_DATA, "%s: waits for more than %d jobs, or all jobs of this "
                        "file together for more than %d", e->where, NAS_JOB_MAX_NEEDS,
                        MAX_TOTAL_NEEDS);
    nas_job_need *grown = realloc((void *)spec->needs, (size_t)total * sizeof *grown);
    if (!grown)
        return nas_fail(err, NAS_E_NOMEM, "%s", e->where);
    spec->needs = grown;
    for (int i = 0; i < count; i++)
        grown[spec->need_count++] = (nas_job_need){.job = -1 - (first + i), .any = any};
    return NAS_OK;
}

/* All jobs of the entries above `index` that `key` of the entry names. */
static nas_status add_named(reader *r, int index, const char *key, bool any, nas_job_spec *spec,
                            nas_err *err)
{
    const entry *e = &r->entries[index];
    const json_t *names = json_object_get(e->json, key), *name;
    size_t i;
    nas_status status = NAS_OK;

    if (names && !json_is_array(names))
        return nas_fail(err, NAS_E_DATA, "%s.%s: should be a list of names", e->where, key);
    json_array_foreach(names, i, name) {
        const char *text = json_is_string(name) ? json_string_value(name) : "";
        int k = 0;

        while (k < index && strcmp(r->entries[k].name, text) != 0)
            k++;
        if (k == index)
            return nas_fail(err, NAS_E_DATA, "%s.%s: there is no job '%.64s' above it", e->where,
                            key, text);
        if ((status = add_needs(r, e, spec, r->entries[k].first, r->entries[k].combinations, any,
                                err)))
            return status;
    }
    return NAS_OK;
}

/* A job that uses a file of another needs that one done. */
static nas_status add_referred(reader *r, const entry *e, nas_job_spec *spec, const json_t *args,
                               nas_err *err)
{
    const json_t *item;
    size_t i;
    nas_status status = NAS_OK;

    json_array_foreach(args, i, item)
        if (!status && json_is_object(item))
            status = add_needs(r, e, spec,
                               (int)(-1 - json_integer_value(json_object_get(item, "job"))), 1,
                               false, err);
    return status;
}

/* Counts the bytes of command lines. */
static nas_status check_total(reader *r, const entry *e, const json_t *args, nas_err *err)
{
    const json_t *item;
    size_t i;

    json_array_foreach(args, i, item)
        r->bytes += json_is_string(item) ? json_string_length(item) + 1 : NAS_JOB_ARG_SIZE;
    return r->bytes <= MAX_TOTAL_BYTES
               ? NAS_OK : nas_fail(err, NAS_E_DATA, "%s: command lines of more than %d MiB",
                                   e->where, MAX_TOTAL_BYTES >> 20);
}

static nas_status add_job(reader *r, int index, int number, nas_err *err)
{
    const entry *e = &r->entries[index];
    nas_job_spec *spec = &r->out->specs[r->out->count];
    json_t *chosen = combine(e, number), *args = NULL;
    const place at = {r, index, number, chosen};
    char *name = NULL;
    nas_status status = chosen ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "%s", e->where);

    *spec = r->defaults;
    spec->group = r->group;
    spec->needs = NULL;
    spec->need_count = 0;
    r->out->count++; /* what follows is the sweep's from here on */
    if (!status && !(status = make_args(&args, &at, err)) &&
        !(status = check_total(r, e, args, err)) &&
        !(status = make_name(&name, r, e, number, err)) &&
        !(status = read_limits(spec, e->json, e->where, err)) &&
        !(status = add_referred(r, e, spec, args, err)) &&
        !(status = add_named(r, index, "after", false, spec, err)))
        status = add_named(r, index, "after_any", true, spec, err);
    spec->args = args;
    spec->name = name;
    json_decref(chosen);
    return status;
}

static nas_status read_jobs(reader *r, const json_t *jobs, const char *where, nas_err *err)
{
    int64_t total = 0;
    nas_status status = NAS_OK;

    for (int i = 0; i < r->entry_count; i++) {
        entry *e = &r->entries[i];

        e->json = json_array_get(jobs, (size_t)i);
        snprintf(e->where, sizeof e->where, "%.40s: jobs[%d]", where, i);
        if ((status = read_entry(e, err)))
            return status;
        e->first = (int)total;
        total += e->combinations;
        if (total > NAS_JOB_MAX_JOBS)
            return nas_fail(err, NAS_E_DATA, "%s: more than %d jobs", where, NAS_JOB_MAX_JOBS);
        for (int k = 0; k < i; k++)
            if (strcmp(r->entries[k].name, e->name) == 0)
                return nas_fail(err, NAS_E_DATA, "%s: jobs[%d] is named '%s', too", e->where, k,
                                e->name);
    }
    if (!(r->out->specs = calloc((size_t)total, sizeof *r->out->specs)))
        return nas_fail(err, NAS_E_NOMEM, "%s: %lld jobs", where, (long long)total);
    for (int i = 0; i < r->entry_count && !status; i++)
        for (int c = 0; c < r->entries[i].combinations && !status; c++)
            status = add_job(r, i, c, err);
    return status;
}

nas_status nas_sweep_from_json(nas_sweep *out, const json_t *json, const char *where,
                               const nas_job_spec *defaults, const char *group, nas_err *err)
{
    static const char *const keys[] = {"group", "defaults", "jobs", NULL};
    static const char *const default_keys[] = {
        "cores", "memory_mib", "priority", "time_limit_s", "hang_limit_s", "retries", NULL};
    const char *own = NULL;
    reader r = {.out = out, .defaults = *defaults};
    nas_status status;

    *out = (nas_sweep){0};
    if ((status = nas_json_members(json, where, keys, err)) ||
        (status = nas_json_str(json, where, "group", false, &own, err)))
        return status;
    const json_t *jobs = json_object_get(json, "jobs"), *more = json_object_get(json, "defaults");
    if (json_array_size(jobs) < 1 || json_array_size(jobs) > NAS_JOB_MAX_JOBS)
        return nas_fail(err, NAS_E_DATA, "%s: jobs: should be a list of 1 to %d objects", where,
                        NAS_JOB_MAX_JOBS);
    if (more && ((status = nas_json_members(more, where, default_keys, err)) ||
                 (status = read_limits(&r.defaults, more, where, err))))
        return status;
    r.entry_count = (int)json_array_size(jobs);
    r.entries = calloc((size_t)r.entry_count, sizeof *r.entries);
    group = group ? group : own;
    if (!r.entries || (group && !(out->group = strdup(group)))) {
        status = nas_fail(err, NAS_E_NOMEM, "%s", where);
        goto done;
    }
    r.group = out->group;
    status = read_jobs(&r, jobs, where, err);

done:
    free(r.entries);
    if (status)
        nas_sweep_fini(out);
    return status;
}

void nas_sweep_fini(nas_sweep *sweep)
{
    for (int i = 0; i < sweep->count; i++) {
        free((void *)sweep->specs[i].name);
        free((void *)sweep->specs[i].needs);
        json_decref((json_t *)sweep->specs[i].args);
    }
    free(sweep->specs);
    free(sweep->group);
    *sweep = (nas_sweep){0};
}
