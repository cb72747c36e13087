/* nas inspect - says what a file is and what it holds, whatever of ours it is. */
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/output.h"
#include "nas/train/safetensors.h"

enum { PEEK = 64 }; /* bytes that tell a file's kind */

typedef struct peeked {
    unsigned char bytes[PEEK];
    size_t size;
} peeked;

static nas_status dataset(json_t **out, const char *path, nas_err *err)
{
    nas_dataset *data = NULL;
    const nas_status status = nas_dataset_open(&data, path, err);

    if (status == NAS_OK)
        *out = cli_dataset_json(data);
    nas_dataset_close(data);
    return status;
}

static void add_meta(void *user, const char *key, const char *value)
{
    json_object_set_new(user, key, json_string(value));
}

static nas_status checkpoint(json_t **out, const char *path, nas_err *err)
{
    nas_safetensors *file = NULL;
    const nas_status status = nas_safetensors_open(&file, path, false, err);
    int64_t elements = 0;

    if (status != NAS_OK)
        return status;
    json_t *meta = json_object(), *tensors = json_array();
    for (int i = 0; i < nas_safetensors_count(file); i++) {
        const nas_safetensors_tensor *t = nas_safetensors_at(file, i);
        char shape[160] = "";

        for (int d = 0; d < t->rank; d++)
            snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%lld",
                     d > 0 ? "x" : "", (long long)t->shape[d]);
        elements += t->count;
        json_array_append_new(tensors, json_pack("{s:s, s:s, s:s}", "name", t->name, "dtype",
                                                 nas_dtype_name(t->dtype), "shape", shape));
    }
    nas_safetensors_each_meta(file, add_meta, meta);
    *out = json_pack("{s:i, s:I, s:o, s:o}", "tensor_count", nas_safetensors_count(file),
                     "elements", (json_int_t)elements, "metadata", meta, "tensors", tensors);
    nas_safetensors_close(file);
    return NAS_OK;
}

static nas_status space_file(json_t **out, const char *path, nas_err *err)
{
    nas_space *space = NULL;
    nas_status status = nas_space_load(&space, path, err);

    if (status == NAS_OK)
        status = cli_space_json(out, space, err);
    nas_space_free(space);
    return status;
}

static nas_status arch_file(json_t **out, const char *path, nas_err *err)
{
    nas_arch *arch = NULL;
    nas_status status = nas_arch_load(&arch, path, err);

    if (status == NAS_OK)
        status = cli_arch_json(out, arch, err);
    nas_arch_free(arch);
    return status;
}

static nas_status table_file(json_t **out, const char *path, nas_err *err)
{
    nas_latency_table *table = NULL;
    const nas_status status = nas_latency_table_load(&table, path, err);

    if (status == NAS_OK)
        *out = cli_table_json(table);
    nas_latency_table_free(table);
    return status;
}

static nas_status store_dir(json_t **out, const char *path, nas_err *err)
{
    nas_store *store = NULL;
    nas_store_runs runs = {0};
    nas_status status;

    if ((status = nas_store_open(&store, path, NAS_STORE_READ, err)) == NAS_OK &&
        (status = nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 0, &runs, err)) == NAS_OK)
        *out = json_pack("{s:i, s:i}", "schema", nas_store_schema(), "runs", runs.count);
    nas_store_runs_fini(&runs);
    nas_store_close(store);
    return status;
}

/* A store.db is inspected as the store around it. */
static nas_status store_file(json_t **out, const char *path, nas_err *err)
{
    char dir[4096];

    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (strcmp(slash != NULL ? slash + 1 : dir, "store.db") != 0)
        return nas_fail(err, NAS_E_DATA, "%s: is a database, but no store.db", path);
    if (slash != NULL)
        slash[slash == dir] = '\0'; /* of "/store.db" the slash stays */
    return store_dir(out, slash != NULL ? dir : ".", err);
}

/* ---- which of them it is ---- */

static bool is_dataset(const peeked *head, const char *path)
{
    return head->size >= 8 && memcmp(head->bytes, "NASDATA", 8) == 0;
}

static bool is_database(const peeked *head, const char *path)
{
    return head->size >= 16 && memcmp(head->bytes, "SQLite format 3", 16) == 0;
}

/* Eight bytes of length, then a JSON object. */
static bool is_safetensors(const peeked *head, const char *path)
{
    uint64_t length;

    memcpy(&length, head->bytes, sizeof length);
    return head->size > 8 && head->bytes[8] == '{' && length <= NAS_SAFETENSORS_HEADER_MAX;
}

static bool is_json(const peeked *head, const char *path)
{
    size_t at = 0;

    while (at < head->size && strchr(" \t\r\n", head->bytes[at]) != NULL)
        at++;
    return at < head->size && (head->bytes[at] == '{' || head->bytes[at] == '/');
}

static bool is_space(const peeked *head, const char *path)
{
    json_t *json = NULL;
    const char *format = "";

    if (!is_json(head, path) || nas_json_load(&json, path, NULL) != NAS_OK)
        return false;
    const json_t *value = json_object_get(json, "format");
    if (json_is_string(value))
        format = json_string_value(value);
    const bool found = strcmp(format, "onepath.space") == 0 ||
                       json_object_get(json, "stages") != NULL ||
                       json_object_get(json, "slots") != NULL;
    json_decref(json);
    return found;
}

static bool is_anything(const peeked *head, const char *path)
{
    return true;
}

static const struct {
    const char *kind;
    bool (*is)(const peeked *head, const char *path);
    nas_status (*describe)(json_t **out, const char *path, nas_err *err);
} kinds[] = {
    {"data set", is_dataset, dataset},
    {"store", is_database, store_file},
    {"tensors", is_safetensors, checkpoint},
    {"space", is_space, space_file},
    {"architecture", is_json, arch_file},
    {"latency table", is_anything, table_file},
};

static nas_status peek(peeked *head, const char *path, nas_err *err)
{
    memset(head, 0, sizeof *head);
    if (nas_path_exists(path) && !nas_path_is_regular(path)) /* a pipe may never have a writer */
        return nas_fail(err, NAS_E_DATA, "%s: is not a regular file", path);
    FILE *file = fopen(path, "rbe");
    if (file == NULL)
        return nas_fail_errno(err, "%s", path);
    head->size = fread(head->bytes, 1, PEEK, file);
    const bool failed = ferror(file) != 0;
    fclose(file);
    return failed ? nas_fail(err, NAS_E_IO, "%s: cannot be read", path) : NAS_OK;
}

static nas_status inspect_run(const cli_context *context, const void *options, nas_err *err)
{
    const char *path = context->args[0], *kind = "store";
    json_t *about = NULL;
    peeked head;
    nas_status status;

    if (nas_path_is_dir(path)) {
        status = store_dir(&about, path, err);
    } else if ((status = peek(&head, path, err)) == NAS_OK) {
        size_t k = 0;

        while (!kinds[k].is(&head, path))
            k++;
        kind = kinds[k].kind;
        status = kinds[k].describe(&about, path, err);
    }
    if (status != NAS_OK)
        return status;
    json_t *result = json_pack("{s:s, s:s}", "file", path, "kind", kind);
    json_object_update_new(result, about);
    return cli_emit(context, result, err);
}

const cli_command cmd_inspect = {
    .name = "inspect", .summary = "what a file of ours is and holds", .arguments = "FILE",
    .example = "inspect .nas/runs/1/model.safetensors", .min_args = 1, .max_args = 1,
    .run = inspect_run,
};
