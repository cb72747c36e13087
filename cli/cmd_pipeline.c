/* nas pipeline - search, train, prune, quantize as jobs that follow each other; at the end a table
 * of what each stage made of the network. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/pipeline.h"
#include "latency/key.h"
#include "latency/predict.h"
#include "nas/quant/sites.h"
#include "nas/train/checkpoint.h"
#include "search/jobs/loop.h"

enum { LOG_BYTES = 64 << 20, GRACE_MS = 15000 /* as nas jobs run has them */ };

typedef struct pipeline_options {
    cli_common common;
    bool submit_only, dry_run;
} pipeline_options;

static const nas_option pipeline_table[] = {
    {"--submit-only", NAS_OPT_FLAG, offsetof(pipeline_options, submit_only), NULL, 0, 0, NULL, NULL,
     "queue the stages, and leave them to nas jobs run"},
    CLI_DRY_RUN(offsetof(pipeline_options, dry_run)),
    {0},
};

/* A command line's work. */
typedef struct work {
    const char *file;
    cli_pipeline pipeline;
    nas_store *store;
    nas_job *job[4]; /* of each stage */
    nas_arch *arch;  /* of the network that was measured last; NULL: none */
    int threads;
} work;

/* ---- queueing, once ---- */

static nas_status changed(const work *w, const char *what, nas_err *err)
{
    nas_fail(err, NAS_E_CONFIG, "%s: there is a pipeline '%s' already, with %s", w->file,
             w->pipeline.sweep.group, what);
    nas_hint(err, "give the new one a name of its own (\"name\"), or undo the change");
    return NAS_E_CONFIG;
}

/* Are these words, as the store has them, those of the file?  Jobs have numbers there. */
static bool same_words(const work *w, const char *stored, const json_t *words)
{
    json_t *kept = json_loads(stored, 0, NULL);
    bool same = json_array_size(kept) == json_array_size(words);

    for (size_t i = 0; same && i < json_array_size(words); i++) {
        json_t *word = json_deep_copy(json_array_get(words, i));
        const json_t *job = json_object_get(word, "job");

        if (job != NULL)
            json_object_set_new(word, "job",
                                json_integer(w->job[-1 - json_integer_value(job)]->id));
        same = json_equal(word, json_array_get(kept, i));
        json_decref(word);
    }
    json_decref(kept);
    return same;
}

/* Reads the jobs as they stand; `*found` of them. */
static nas_status find_jobs(work *w, int *found, nas_err *err)
{
    const nas_sweep *sweep = &w->pipeline.sweep;
    nas_jobs group;
    const nas_status status =
        nas_store_jobs_list(w->store, sweep->group, NAS_JOB_ANY_STATE, 0, &group, err);

    if (status != NAS_OK)
        return status;
    *found = group.count;
    nas_jobs_fini(&group);
    if (*found != sweep->count)
        return *found == 0 ? NAS_OK : changed(w, "other stages", err);
    for (int i = 0; i < sweep->count; i++) {
        nas_job *job = NULL;

        const nas_status got = nas_store_job_get(w->store, sweep->specs[i].name, &job, err);
        if (got != NAS_OK)
            return got == NAS_E_USAGE ? changed(w, "other stages", err) : got;
        nas_job_free(w->job[i]);
        w->job[i] = job;
        if (strcmp(job->folder, sweep->specs[i].folder) != 0)
            return changed(w, "files of another folder", err);
        if (!same_words(w, job->args, sweep->specs[i].args))
            return changed(w, "other options", err);
    }
    return NAS_OK;
}

/* Queues the stages, or again those that ended without getting done. */
static nas_status queue(work *w, nas_err *err)
{
    int64_t again[4];
    int found = 0, count = 0;
    nas_status status = find_jobs(w, &found, err);

    if (status != NAS_OK)
        return status;
    if (found == 0) {
        status = nas_store_jobs_submit(w->store, w->pipeline.sweep.specs, w->pipeline.sweep.count,
                                       NULL, err);
        return status == NAS_OK ? find_jobs(w, &found, err) : status;
    }
    for (int i = 0; i < found; i++)
        if (nas_job_state_ended(w->job[i]->state) && w->job[i]->state != NAS_JOB_DONE)
            again[count++] = w->job[i]->id;
    return count > 0 ? nas_store_jobs_retry(w->store, again, count, err) : NAS_OK;
}

static bool all_done(const work *w)
{
    for (int i = 0; i < w->pipeline.sweep.count; i++)
        if (w->job[i]->state != NAS_JOB_DONE)
            return false;
    return true;
}

static nas_status run_jobs(work *w, nas_err *err)
{
    const nas_jobs_options options = {.cores = nas_system_cores(),
                                      .memory_mib = (int64_t)(nas_system_memory() >> 20),
                                      .log_bytes = LOG_BYTES, .grace_ms = GRACE_MS};
    nas_jobs_tally tally;
    int found;
    nas_status status = nas_jobs_run(w->store, &options, &tally, err);

    if (status == NAS_OK) {
        if ((status = find_jobs(w, &found, err)) == NAS_E_IO)
            nas_hint(err, "all stages have ended: nas pipeline %s shows the table", w->file);
        return status;
    }
    if (status == NAS_E_INTERRUPTED)
        nas_hint(err, "to continue: nas pipeline %s", w->file);
    else
        nas_hint(err, "the stages are queued; when they are done, this command shows the table");
    return status;
}

/* ---- the table ---- */

/* Booked cores times seconds, over all attempts whose end is known. */
static nas_status core_seconds(double *out, const work *w, const nas_job *job, nas_err *err)
{
    nas_job_attempt *list = NULL;
    int count = 0;
    const nas_status status = nas_store_job_attempts(w->store, job->id, &list, &count, err);

    *out = 0.0;
    for (int i = 0; i < count; i++) /* of one that a killed loop left, only the finding is known */
        if (list[i].ended_ms > 0 && strcmp(list[i].cause, "loop-died") != 0)
            *out += 1e-3 * (double)(list[i].ended_ms - list[i].started_ms) * job->cores;
    nas_job_attempts_free(list, count);
    return status;
}

static void keep_last(void *user, const char *run)
{
    snprintf(user, NAS_STORE_NAME_SIZE, "%s", run);
}

/* The network that a stage made. */
static nas_status load_made(nas_model **model, nas_arch **arch, const work *w, const nas_job *job,
                            nas_err *err)
{
    char args[128];
    json_t *words = NULL;

    snprintf(args, sizeof args, "[{\"before\":\"\",\"job\":%lld,\"file\":\"model.safetensors\"}]",
             (long long)job->id);
    nas_status status = nas_store_job_words(w->store, args, &words, err);
    if (status == NAS_OK)
        status = nas_model_load(model, arch, json_string_value(json_array_get(words, 0)), err);
    json_decref(words);
    if (status != NAS_OK)
        nas_err_prefix(err, "%s", job->name);
    return status;
}

/* By the table, what it lacks in proportion to the network before; NAN: it does not know. */
static nas_status predict(double *ms, const work *w, const nas_model *model, const nas_arch *arch,
                          nas_err *err)
{
    const nas_arch *whole = w->arch != NULL ? w->arch : arch;
    const nas_latency_table *table;
    nas_latency_entry *own = NULL, *before = NULL;
    int count, count_before;
    nas_status status = NAS_OK;

    *ms = NAN;
    if (w->pipeline.tables == NULL || model->quant != NULL || /* tables are of floats */
        nas_latency_set_pick(&table, w->pipeline.tables, arch->image_size, NULL) != NAS_OK)
        return NAS_OK;
    if ((status = cli_table_fill_arch(w->pipeline.tables, whole, err)) ||
        (status = cli_table_fill_arch(w->pipeline.tables, arch, err)))
        return status;
    if ((status = nas_latency_arch_entries(&own, &count, arch, table->grammar, 0, err)) == NAS_OK &&
        (status = nas_latency_arch_entries(&before, &count_before, whole, table->grammar, 0,
                                           err)) == NAS_OK &&
        count == count_before)
        *ms = nas_latency_pruned_ms(table, own, before, count);
    free(own);
    free(before);
    return status;
}

static nas_status measure(json_t *row, work *w, const nas_job *job, nas_err *err)
{
    const nas_data_split *split = nas_dataset_test_split(w->pipeline.data);
    nas_model *model = NULL;
    nas_arch *arch = NULL;
    nas_score score = {0};
    double predicted, measured;
    nas_status status;

    if ((status = load_made(&model, &arch, w, job, err)) ||
        (status = cli_score_split(&score, model, w->pipeline.data, split, w->threads, NULL, NULL,
                                  err)) ||
        (status = predict(&predicted, w, model, arch, err)) ||
        (status = cli_measure_ms(&measured, model, err)))
        goto done;
    const nas_op_cost cost = nas_arch_cost(arch, 0);
    json_object_update_new(
        row, json_pack("{s:o, s:I, s:I, s:I, s:o, s:f}", "top1",
                       cli_real((double)score.top1 / (double)score.images), "macs",
                       (json_int_t)cost.macs, "parameters", (json_int_t)cost.parameters,
                       "size_bytes", (json_int_t)nas_quant_size_bytes(model), "predicted_ms",
                       cli_real(predicted), "measured_ms", measured));
    nas_arch_free(w->arch);
    w->arch = arch;
    arch = NULL;

done:
    nas_model_free(model);
    nas_arch_free(arch);
    return status;
}

static nas_status add_row(json_t *rows, double *total, work *w, int stage, nas_err *err)
{
    const nas_job *job = w->job[stage];
    char run[NAS_STORE_NAME_SIZE] = "";
    double seconds;
    nas_status status;

    if ((status = nas_store_job_runs(w->store, job->id, keep_last, run, err)) ||
        (status = core_seconds(&seconds, w, job, err)))
        return status;
    json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:n, s:n, s:n, s:n, s:n, s:n}", "stage",
                            w->pipeline.stage[stage], "job", job->name, "state",
                            nas_job_state_name(job->state), "run", run, "top1", "macs",
                            "parameters", "size_bytes", "predicted_ms", "measured_ms");
    if (job->state == NAS_JOB_DONE)
        status = measure(row, w, job, err);
    json_object_set_new(row, "core_seconds", json_real(seconds));
    json_array_append_new(rows, row);
    *total += seconds;
    return status;
}

static nas_status show(const cli_context *context, work *w, nas_err *err)
{
    json_t *rows = json_array();
    double total = 0.0;
    nas_status status = NAS_OK;

    w->arch = w->pipeline.before;
    w->pipeline.before = NULL;
    for (int i = 0; i < w->pipeline.sweep.count && status == NAS_OK; i++)
        status = add_row(rows, &total, w, i, err);
    if (status != NAS_OK) {
        json_decref(rows);
        return status;
    }
    return cli_emit(context, json_pack("{s:s, s:s, s:f, s:o}", "pipeline", w->pipeline.sweep.group,
                                       "split", nas_dataset_test_split(w->pipeline.data)->name,
                                       "core_seconds", total, "stages", rows),
                    err);
}

/* ---- the whole ---- */

static nas_status check_done(const work *w, nas_err *err)
{
    for (int i = 0; i < w->pipeline.sweep.count; i++)
        if (w->job[i]->state != NAS_JOB_DONE) {
            nas_fail(err, NAS_E_FAIL, "%s did not get done: it is %s", w->job[i]->name,
                     nas_job_state_name(w->job[i]->state));
            nas_hint(err, "nas jobs why %s explains; nas pipeline %s tries it again",
                     w->job[i]->name, w->file);
            return NAS_E_FAIL;
        }
    return NAS_OK;
}

static nas_status emit_queued(const cli_context *context, const work *w, nas_err *err)
{
    json_t *rows = json_array();

    for (int i = 0; i < w->pipeline.sweep.count; i++)
        json_array_append_new(rows, json_pack("{s:s, s:s, s:s}", "stage", w->pipeline.stage[i],
                                              "job", w->job[i]->name, "state",
                                              nas_job_state_name(w->job[i]->state)));
    return cli_emit(context, json_pack("{s:s, s:o}", "pipeline", w->pipeline.sweep.group, "stages",
                                       rows), err);
}

/* ---- what it would take ---- */

/* A stage's command line; what comes from a stage before as the pipeline's file would say it. */
static json_t *command_of(const work *w, int stage)
{
    const json_t *words = w->pipeline.sweep.specs[stage].args, *word;
    json_t *line = json_string("nas");
    size_t i;

    json_array_foreach(words, i, word) {
        const json_t *job = json_object_get(word, "job");
        json_t *longer =
            job == NULL
                ? json_sprintf("%s %s", json_string_value(line), json_string_value(word))
                : json_sprintf("%s %s{%s:%s}", json_string_value(line),
                               json_string_value(json_object_get(word, "before")),
                               w->pipeline.stage[-1 - json_integer_value(job)],
                               json_string_value(json_object_get(word, "file")));

        json_decref(line);
        line = longer;
    }
    return line;
}

/* What the first stage says of itself (yours): the others begin with files that it makes. */
static nas_status ask_first(json_t **out, const work *w, const cli_common *common, nas_err *err)
{
    enum { MOST_WORDS = CLI_MAX_ARGS, PATIENCE_S = 600 };
    const json_t *words = w->pipeline.sweep.specs[0].args;
    const char *argv[MOST_WORDS + 8] = {"/proc/self/exe"};
    char threads[24];
    int count = 1;

    snprintf(threads, sizeof threads, "%lld", (long long)common->threads);
    for (size_t i = 0; i < json_array_size(words) && count <= MOST_WORDS; i++)
        argv[count++] = json_string_value(json_array_get(words, i));
    const char *const more[] = {"--dry-run", "--json", "--quiet", "--threads", threads, "--store",
                                common->store};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        argv[count++] = more[i];
    const nas_status status = cli_ask(out, argv, PATIENCE_S, err);
    if (status != NAS_OK)
        nas_err_prefix(err, "stage %s", w->pipeline.stage[0]);
    return status;
}

static nas_status dry_run(const cli_context *context, const work *w, nas_err *err)
{
    json_t *stages = json_object(), *first = NULL;
    const nas_status status = ask_first(&first, w, context->common, err);

    for (int i = 0; i < w->pipeline.sweep.count; i++)
        json_object_set_new(stages, w->pipeline.stage[i],
                            json_pack("{s:s, s:o}", "job", w->pipeline.sweep.specs[i].name,
                                      "command", command_of(w, i)));
    if (status != NAS_OK) {
        json_decref(stages);
        return status;
    }
    return cli_emit(context, json_pack("{s:b, s:s, s:o, s:o}", "dry_run", 1, "pipeline",
                                       w->pipeline.sweep.group, "stages", stages, "first", first),
                    err);
}

static nas_status pipeline_run(const cli_context *context, const void *options, nas_err *err)
{
    const pipeline_options *o = options;
    char *folder = getcwd(NULL, 0);
    work w = {.file = context->args[0], .threads = (int)o->common.threads};
    int found;
    nas_status status = folder != NULL ? NAS_OK : nas_fail_errno(err, "this directory");

    if (status != NAS_OK || (status = cli_pipeline_load(&w.pipeline, w.file, folder, o->common.seed,
                                                       err)))
        goto done;
    if (o->dry_run) {
        status = dry_run(context, &w, err);
        goto done;
    }
    if ((status = nas_store_open(&w.store, o->common.store, NAS_STORE_CREATE, err)) ||
        (status = queue(&w, err)))
        goto done;
    if (o->submit_only) {
        status = find_jobs(&w, &found, err);
        status = status == NAS_OK ? emit_queued(context, &w, err) : status;
    } else if ((all_done(&w) || (status = run_jobs(&w, err)) == NAS_OK) &&
               (status = show(context, &w, err)) == NAS_OK) {
        status = check_done(&w, err);
    }

done:
    for (int i = 0; i < w.pipeline.sweep.count; i++)
        nas_job_free(w.job[i]);
    nas_arch_free(w.arch);
    nas_store_close(w.store);
    cli_pipeline_fini(&w.pipeline);
    free(folder);
    return status;
}

const cli_command cmd_pipeline = {
    .name = "pipeline", .summary = "search, train, prune and quantize as one chain, from a file",
    .arguments = "FILE", .example = "pipeline examples/pipelines/tiny.json",
    .tables = {pipeline_table}, .size = sizeof(pipeline_options), .min_args = 1, .max_args = 1,
    .run = pipeline_run,
};
