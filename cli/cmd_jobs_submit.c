/* nas jobs submit - puts command lines into the queue: one, or all of a job file. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "cli/cluster_options.h"
#include "cli/commands.h"
#include "cli/job_check.h"
#include "cli/output.h"
#include "search/jobs/sweep.h"

enum { SHOWN = 40 /* jobs that people want to see at once */ };

typedef struct submit_options {
    cli_cluster_options cluster;
    const char *file, *name, *group, *after, *after_any;
    int64_t cores, memory_mib, priority, time_limit, hang_limit, retries;
    bool dry_run;
} submit_options;

#define AT(field) offsetof(submit_options, field)

static const nas_option submit_table[] = {
    {"--file", NAS_OPT_STRING, AT(file), NULL, 0, 0, NULL, "FILE",
     "job file: many jobs at once (docs/reference/jobs.md)"},
    {"--name", NAS_OPT_STRING, AT(name), NULL, 0, 0, NULL, "NAME",
     "name of the job; default: made up"},
    {"--group", NAS_OPT_STRING, AT(group), NULL, 0, 0, NULL, "NAME",
     "to list, cancel and retry jobs together; a file's jobs get it in front of their names"},
    {"--after", NAS_OPT_STRING, AT(after), NULL, 0, 0, NULL, "JOBS",
     "start when these are done (names or ids, commas between)"},
    {"--after-any", NAS_OPT_STRING, AT(after_any), NULL, 0, 0, NULL, "JOBS",
     "start when these have ended, however"},
    {"--cores", NAS_OPT_INT, AT(cores), "1", 1, 1024, NULL, "N",
     "that it takes up; passed on as --threads"},
    {"--memory-mib", NAS_OPT_INT, AT(memory_mib), "0", 0, 1 << 30, NULL, "MIB",
     "that it takes up, and may hold at most; 0: not counted"},
    {"--priority", NAS_OPT_INT, AT(priority), "0", -1000000, 1000000, NULL, "N",
     "higher ones start first"},
    {"--time-limit", NAS_OPT_INT, AT(time_limit), "0", 0, 1e8, NULL, "S",
     "seconds that an attempt may take; 0: no limit"},
    {"--hang-limit", NAS_OPT_INT, AT(hang_limit), "-1", -1, 1e8, NULL, "S",
     "seconds without a step until it counts as hung; 0: never; -1: 1800 for what trains, else 0"},
    {"--retries", NAS_OPT_INT, AT(retries), "3", 0, 1000000, NULL, "N",
     "attempts after failures that may pass"},
    {"--dry-run", NAS_OPT_FLAG, AT(dry_run), NULL, 0, 0, NULL, NULL,
     "check and show the jobs, but do not queue them"},
    {0},
};

/* ---- one job ---- */

/* Adds the jobs that a list like "a,b,7" names. */
static nas_status add_needs(nas_job_need **needs, int *count, nas_store *store, const char *names,
                            bool any, nas_err *err)
{
    char *copy = strdup(names), *rest = copy;
    nas_status status = copy != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "jobs: out of memory");

    for (char *name; status == NAS_OK && (name = strsep(&rest, ",")) != NULL;) {
        nas_job *job = NULL;
        nas_job_need *grown = NULL;

        if ((status = nas_store_job_get(store, name, &job, err)) == NAS_OK &&
            (grown = realloc(*needs, (size_t)(*count + 1) * sizeof *grown)) == NULL)
            status = nas_fail(err, NAS_E_NOMEM, "jobs: out of memory");
        if (grown != NULL) {
            *needs = grown;
            grown[(*count)++] = (nas_job_need){.job = job->id, .any = any};
        }
        nas_job_free(job);
    }
    free(copy);
    return status;
}

static nas_status read_one(nas_job_spec *spec, nas_job_need **needs, const cli_context *context,
                           const submit_options *o, nas_store *store, nas_err *err)
{
    json_t *args = json_array();

    spec->args = args;
    spec->name = o->name;
    spec->group = o->group;
    for (int i = 0; i < context->count; i++)
        if (json_array_append_new(args, json_string(context->args[i])) != 0)
            return nas_fail(err, nas_json_fault(), "jobs: '%.100s' is not UTF-8",
                            context->args[i]);
    if (store == NULL && (o->after != NULL || o->after_any != NULL))
        return nas_fail(err, NAS_E_USAGE, "there is no job '%.100s': %s does not exist yet",
                        o->after != NULL ? o->after : o->after_any, o->cluster.common.store);
    nas_status status = NAS_OK;
    if (o->after != NULL)
        status = add_needs(needs, &spec->need_count, store, o->after, false, err);
    if (status == NAS_OK && o->after_any != NULL)
        status = add_needs(needs, &spec->need_count, store, o->after_any, true, err);
    spec->needs = *needs;
    return status;
}

/* ---- the whole ---- */

static nas_status read_file(nas_sweep *sweep, const submit_options *o,
                            const nas_job_spec *defaults, nas_err *err)
{
    json_t *json;
    nas_status status = nas_json_load(&json, o->file, err);

    if (status == NAS_OK)
        status = nas_sweep_from_json(sweep, json, o->file, defaults, o->group, err);
    json_decref(json);
    return status;
}

static nas_status check_what_is_given(const cli_context *context, const submit_options *o,
                                      nas_err *err)
{
    if (o->file == NULL && context->count == 0) {
        nas_fail(err, NAS_E_USAGE, "there is no command to run");
        nas_hint(err, "nas jobs submit -- search --data photos.nasd ..., or --file sweep.json");
        return NAS_E_USAGE;
    }
    if (o->file != NULL && (context->count > 0 || o->name != NULL || o->after != NULL ||
                            o->after_any != NULL))
        return nas_fail(err, NAS_E_USAGE, "--file says what runs, under which names and after "
                        "what: give no command, --name or --after with it");
    return NAS_OK;
}

/* The name that the job was given; the store makes one up where none was, and another where that is
 * taken. */
static json_t *name_of(nas_store *store, const nas_job_spec *spec, int64_t id)
{
    char number[32];
    nas_job *job = NULL;

    if (spec->name != NULL || id == 0)
        return json_string(spec->name != NULL ? spec->name : "");
    snprintf(number, sizeof number, "%lld", (long long)id);
    json_t *name = nas_store_job_get(store, number, &job, NULL) == NAS_OK ? json_string(job->name)
                                                                          : json_null();
    nas_job_free(job);
    return name;
}

static nas_status emit(const cli_context *context, nas_store *store, const nas_job_spec *specs,
                       const int64_t *ids, int count, nas_err *err)
{
    json_t *rows = json_array();
    const int shown = context->common->json || count <= SHOWN ? count : 0;

    for (int i = 0; i < shown; i++)
        json_array_append_new(
            rows, json_pack("{s:o, s:o, s:i, s:i, s:o}", "id",
                            ids[i] > 0 ? json_integer(ids[i]) : json_null(), "name",
                            name_of(store, &specs[i], ids[i]), "cores", specs[i].cores,
                            "waits_for", specs[i].need_count, "args",
                            json_deep_copy(specs[i].args)));
    return cli_emit(context,
                    json_pack("{s:i, s:b, s:s?, s:o}", "jobs_count", count, "queued", ids[0] > 0,
                              "group", specs[0].group, "jobs", rows),
                    err);
}

/* Slurm gets what can start now; a loop that lives would have done so by itself. */
static nas_status hand_over(nas_store *store, const submit_options *o, nas_err *err)
{
    nas_cluster_options cluster = cli_cluster_settings(&o->cluster);
    nas_jobs_tally tally;

    cluster.once = true;
    const nas_status status = nas_cluster_run(store, &cluster, &tally, err);
    if (status == NAS_OK)
        nas_log(NAS_LOG_INFO, "to follow the jobs, and to start what waits for them: nas jobs run "
                "--on slurm");
    else
        nas_err_prefix(err, "the jobs are queued, but not handed over");
    return status;
}

static nas_status show_scripts(const cli_context *context, const submit_options *o,
                               nas_store *store, const nas_job_spec *specs, int count, nas_err *err)
{
    const nas_cluster_options cluster = cli_cluster_settings(&o->cluster);
    char *scripts = NULL;
    nas_status status = nas_cluster_preview(store, context->common->store, &cluster, specs, count,
                                            &scripts, err);

    if (status == NAS_OK && context->common->json)
        status = cli_emit(context, json_pack("{s:i, s:s}", "jobs_count", count, "script", scripts),
                          err);
    else if (status == NAS_OK)
        fputs(scripts, stdout);
    free(scripts);
    return status;
}

static nas_status queue(const cli_context *context, const submit_options *o, nas_store *store,
                        nas_job_spec *specs, int count, nas_err *err)
{
    int64_t *ids = calloc((size_t)count, sizeof *ids);
    nas_job_loop loop;
    nas_status status = ids != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "jobs: out of memory");

    for (int i = 0; i < count && status == NAS_OK; i++)
        status = cli_job_check(&specs[i], err);
    if (status == NAS_OK && o->dry_run) {
        status = nas_store_jobs_try(store, specs, count, err);
    } else if (status == NAS_OK) {
        status = nas_store_jobs_submit(store, specs, count, ids, err);
        if (status == NAS_OK && nas_store_loop_get(store, &loop, NULL) == NAS_OK && !loop.alive) {
            if (o->cluster.on == CLI_ON_SLURM)
                status = hand_over(store, o, err);
            else
                nas_log(NAS_LOG_INFO, "to run what is queued: nas jobs run");
        }
    }
    if (status == NAS_OK && o->dry_run && o->cluster.on == CLI_ON_SLURM)
        status = show_scripts(context, o, store, specs, count, err);
    else if (status == NAS_OK)
        status = emit(context, store, specs, ids, count, err);
    free(ids);
    return status;
}

/* A dry run makes no store: it has none where there is none. */
static nas_status open_store(nas_store **store, const submit_options *o, nas_err *err)
{
    char path[4096];

    if (!o->dry_run)
        return nas_store_open(store, o->cluster.common.store, NAS_STORE_CREATE, err);
    snprintf(path, sizeof path, "%s/store.db", o->cluster.common.store);
    return nas_path_exists(path) ? nas_store_open(store, o->cluster.common.store, NAS_STORE_READ, err)
                                 : NAS_OK;
}

static nas_status submit_run(const cli_context *context, const void *options, nas_err *err)
{
    const submit_options *o = options;
    char *folder = getcwd(NULL, 0);
    nas_job_spec one = {.folder = folder, .cores = (int)o->cores, .memory_mib = o->memory_mib,
                        .priority = (int)o->priority, .time_limit_s = o->time_limit,
                        .hang_limit_s = o->hang_limit, .retries = (int)o->retries};
    nas_job_need *needs = NULL;
    nas_sweep sweep = {0};
    nas_store *store = NULL;
    nas_status status = check_what_is_given(context, o, err);

    if (status == NAS_OK)
        status = cli_cluster_check(&o->cluster, err);
    if (status == NAS_OK && folder == NULL)
        status = nas_fail_errno(err, "this directory");
    if (status != NAS_OK || (status = open_store(&store, o, err)) != NAS_OK)
        goto done;
    if (o->file != NULL) {
        if ((status = read_file(&sweep, o, &one, err)) == NAS_OK)
            status = queue(context, o, store, sweep.specs, sweep.count, err);
    } else if ((status = read_one(&one, &needs, context, o, store, err)) == NAS_OK) {
        status = queue(context, o, store, &one, 1, err);
    }

done:
    json_decref((json_t *)one.args);
    free(needs);
    nas_sweep_fini(&sweep);
    nas_store_close(store);
    free(folder);
    return status;
}

const cli_command cmd_jobs_submit = {
    .name = "jobs submit", .summary = "queue a command, or the jobs of a file",
    .arguments = "[-- COMMAND...]",
    .example = "jobs submit --cores 2 -- search --data d.nasd --space tiny --table t.yaml "
               "--target-ms 5",
    .tables = {submit_table, cli_cluster_table}, .size = sizeof(submit_options),
    .max_args = CLI_MAX_ARGS,
    .run = submit_run,
};
