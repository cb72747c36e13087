/* From the file of a pipeline to jobs: each stage gets what the pipeline is about and what the
 * stage before made, and becomes an entry of a job file. */
#include "cli/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/job_check.h"
#include "nas/space/space.h"
#include "nas/train/checkpoint.h"

/* The stages, in their order. */
static const struct {
    const char *name;
    const char *input, *file; /* option that gets this file of the stage before; NULL: none */
} stages[] = {
    {"search", NULL, NULL},
    {"train", "arch", "arch.json"},
    {"prune", "model", "model.safetensors"},
    {"quantize", "model", "model.safetensors"},
};
enum { STAGES = sizeof stages / sizeof *stages };

typedef struct reader {
    cli_pipeline *out;
    const char *path; /* of the file */
    const char *data, *space, *table;
    int64_t seed;
    json_t *jobs;
} reader;

/* A command line in a file, and a file that it names, are the file's mistakes. */
static nas_status blame(const reader *r, const char *what, nas_status status, nas_err *err)
{
    if (status == NAS_OK)
        return NAS_OK;
    nas_err_prefix(err, "%s: %s", r->path, what);
    if (status != NAS_E_USAGE && status != NAS_E_IO)
        return status;
    if (err != NULL)
        err->status = NAS_E_CONFIG;
    return NAS_E_CONFIG;
}

/* ---- a stage ---- */

static const nas_option *option_of(const cli_command *command, const char *key,
                                   const char *names[], char text[][64], int most)
{
    const nas_option *tables[CLI_MAX_TABLES + 2];
    int count = 0;

    cli_command_tables(command, tables);
    for (int t = 0; tables[t] != NULL; t++)
        for (const nas_option *o = tables[t]; o->flag != NULL && count < most; o++) {
            snprintf(text[count], sizeof text[0], "%s", o->flag + 2);
            for (char *c = text[count]; (c = strchr(c, '-')) != NULL;)
                *c = '_';
            if (strcmp(text[count], key) == 0)
                return o;
            names[count] = text[count];
            count++;
        }
    names[count] = NULL;
    return NULL;
}

static nas_status check_option(const cli_command *command, const char *key, const json_t *value,
                               nas_err *err)
{
    enum { MOST = 100 };
    const char *names[MOST + 1], *nearest, *text = json_string_value(value);
    char keys[MOST][64];
    const nas_option *option = option_of(command, key, names, keys, MOST);

    if (option == NULL) {
        nas_fail(err, NAS_E_CONFIG, "unknown option '%.60s'", key);
        if ((nearest = nas_nearest(key, names)) != NULL)
            nas_hint(err, "did you mean '%s'?", nearest);
        else
            nas_hint(err, "'nas help %s' lists them", command->name);
        return NAS_E_CONFIG;
    }
    if (json_is_object(value) || json_is_array(value))
        return nas_fail(err, NAS_E_CONFIG, "%s: should be a string, a number, true or false", key);
    if (text == NULL || option->unit == NULL || strcmp(option->unit, "FILE") != 0 ||
        option->result_neutral || strchr(text, '{') != NULL || nas_path_exists(text))
        return NAS_OK;
    nas_fail(err, NAS_E_CONFIG, "%s: there is no %.200s", key, text);
    nas_path_hint(text, NULL, err);
    return NAS_E_CONFIG;
}

/* What the pipeline says to a stage: an object of options (yours); NULL: no memory. */
static json_t *given(const reader *r, int stage, const char *before, const json_t *own)
{
    json_t *options = json_pack("{s:s}", "data", r->data);
    const bool searches = stages[stage].input == NULL;

    if (searches)
        json_object_set_new(options, "space", json_string(r->space));
    if (r->table != NULL && (searches || (strcmp(stages[stage].name, "prune") == 0 &&
                                          json_object_get(own, "target_ms") != NULL)))
        json_object_set_new(options, "table", json_string(r->table));
    if (r->seed != 1 && json_object_get(own, "seed") == NULL) /* 1 is every command's own */
        json_object_set_new(options, "seed", json_integer(r->seed));
    if (before != NULL)
        json_object_set_new(options, stages[stage].input,
                            json_sprintf("{%s:%s}", before, stages[stage].file));
    return options;
}

static nas_status add_stage(reader *r, int stage, const char *before, json_t *own, nas_err *err)
{
    const char *name = stages[stage].name, *key;
    const cli_command *command = cli_command_named(name);
    json_t *options = given(r, stage, before, own), *value;
    nas_status status = NAS_OK;

    if (!json_is_object(own))
        status = nas_fail(err, NAS_E_CONFIG, "should be an object of options");
    json_object_foreach(own, key, value)
        if (status == NAS_OK && json_object_get(options, key) != NULL) {
            status = nas_fail(err, NAS_E_CONFIG, "%s: is set by the pipeline", key);
            nas_hint(err, "leave it out: it is the pipeline's own, or what the stage before made");
        } else if (status == NAS_OK && strcmp(key, "dry_run") == 0) {
            status = nas_fail(err, NAS_E_CONFIG, "%s: makes nothing to go on with", key);
        } else if (status == NAS_OK) {
            status = check_option(command, key, value, err);
        }
    if (status == NAS_OK && before == NULL && strcmp(name, "train") == 0 &&
        json_object_get(own, "arch") == NULL && json_object_get(own, "from") == NULL)
        status = nas_fail(err, NAS_E_CONFIG, "as the first stage it needs 'arch' or 'from'");
    if (status == NAS_OK)
        json_object_update(options, own);
    json_array_append_new(r->jobs, json_pack("{s:s, s:[s], s:o}", "name", name, "run", name,
                                             "options", options));
    return blame(r, name, status, err);
}

static int stage_named(const char *name)
{
    int stage = 0;

    while (stage < STAGES && strcmp(stages[stage].name, name) != 0)
        stage++;
    return stage;
}

static nas_status add_stages(reader *r, json_t *list, nas_err *err)
{
    static const char order[] = "the stages are search, train, prune, quantize, in this order";
    const char *name, *before = NULL;
    json_t *own;
    int last = -1, count = 0;
    nas_status status;

    if (json_object_size(list) == 0)
        return nas_fail(err, NAS_E_CONFIG, "%s: stages: should be an object of at least one",
                        r->path);
    json_object_foreach(list, name, own) {
        const int stage = stage_named(name);

        if (stage == STAGES || stage < last) {
            nas_fail(err, NAS_E_CONFIG, stage == STAGES ? "%s: unknown stage '%.60s'"
                                                        : "%s: '%.60s' comes too late",
                     r->path, name);
            nas_hint(err, order);
            return NAS_E_CONFIG;
        }
        if ((status = add_stage(r, stage, before, own, err)) != NAS_OK)
            return status;
        r->out->stage[count++] = before = stages[stage].name;
        last = stage;
    }
    return NAS_OK;
}

/* ---- what it is about ---- */

static nas_status load_before(reader *r, const json_t *list, nas_err *err)
{
    const json_t *first = json_object_iter_value(json_object_iter((json_t *)list));
    const char *model = json_string_value(json_object_get(first, "model"));

    return model != NULL ? blame(r, "model", nas_model_load(NULL, &r->out->before, model, err), err)
                         : NAS_OK;
}

static nas_status load_inputs(reader *r, const json_t *json, nas_err *err)
{
    const json_t *list = json_object_get(json, "stages");
    const bool searches = json_object_get(list, "search") != NULL;
    nas_space *space = NULL;
    nas_status status;

    if ((status = nas_json_str(json, r->path, "data", true, &r->data, err)) ||
        (status = nas_json_str(json, r->path, "space", searches, &r->space, err)) ||
        (status = nas_json_str(json, r->path, "table", false, &r->table, err)))
        return status;
    if ((status = blame(r, "data", nas_dataset_open(&r->out->data, r->data, err), err)) ||
        (r->space != NULL &&
         (status = blame(r, "space", nas_space_load(&space, r->space, err), err))) ||
        (r->table != NULL &&
         (status = blame(r, "table", nas_latency_set_load(&r->out->tables, r->table, err), err))))
        goto done;
    status = load_before(r, list, err);

done:
    nas_space_free(space);
    return status;
}

/* The name that the file gives, or its own without folder and ending. */
static nas_status read_name(char out[NAS_STORE_NAME_SIZE], const reader *r, const json_t *json,
                            nas_err *err)
{
    const char *slash = strrchr(r->path, '/'), *name = slash != NULL ? slash + 1 : r->path;
    const char *dot = strrchr(name, '.');
    size_t length = dot != NULL ? (size_t)(dot - name) : strlen(name);

    if (json_object_get(json, "name") != NULL) {
        const nas_status status = nas_json_str(json, r->path, "name", true, &name, err);

        if (status != NAS_OK)
            return status;
        length = strlen(name);
    }
    snprintf(out, NAS_STORE_NAME_SIZE, "%.*s", (int)length, name);
    return blame(r, "name", nas_store_name_check(out, "pipeline", err), err);
}

static nas_status read_json(reader *r, json_t *json, const char *folder, nas_err *err)
{
    static const char *const keys[] = {"name", "data", "space", "table", "defaults", "stages",
                                       NULL};
    /* 1 core, and 3 attempts after failures that may pass: as nas jobs submit has it */
    const nas_job_spec standard = {.folder = folder, .cores = 1, .retries = 3,
                                   .hang_limit_s = NAS_HANG_LIMIT_UNSET};
    json_t *defaults = json_object_get(json, "defaults");
    char name[NAS_STORE_NAME_SIZE];
    nas_status status;

    if ((status = nas_json_members(json, r->path, keys, err)) ||
        (status = read_name(name, r, json, err)) || (status = load_inputs(r, json, err)) ||
        (status = add_stages(r, json_object_get(json, "stages"), err)))
        return status;
    json_t *file = json_pack("{s:s, s:O}", "group", name, "jobs", r->jobs);
    if (file == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s", r->path);
    if (defaults != NULL)
        json_object_set(file, "defaults", defaults);
    status = nas_sweep_from_json(&r->out->sweep, file, r->path, &standard, NULL, err);
    json_decref(file);
    for (int i = 0; i < r->out->sweep.count && status == NAS_OK; i++)
        status = blame(r, r->out->stage[i], cli_job_check(&r->out->sweep.specs[i], err), err);
    return status;
}

nas_status cli_pipeline_load(cli_pipeline *pipeline, const char *path, const char *folder,
                             int64_t seed, nas_err *err)
{
    reader r = {.out = pipeline, .path = path, .seed = seed, .jobs = json_array()};
    json_t *json = NULL;
    nas_status status;

    *pipeline = (cli_pipeline){0};
    if ((status = nas_json_load(&json, path, err)) == NAS_OK)
        status = read_json(&r, json, folder, err);
    json_decref(json);
    json_decref(r.jobs);
    return status;
}

void cli_pipeline_fini(cli_pipeline *pipeline)
{
    nas_sweep_fini(&pipeline->sweep);
    nas_dataset_close(pipeline->data);
    nas_latency_set_free(pipeline->tables);
    nas_arch_free(pipeline->before);
    *pipeline = (cli_pipeline){0};
}
