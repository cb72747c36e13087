/* Glue between a computation's observer and the store, the terminal and the signals. */
#include "cli/run_session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/ranks.h"
#include "cli/signals.h"
#include "cli/version.h"
#include "ops/kernel/kernel.h"
#include "search/jobs/worker.h"

enum {
    MAX_METRICS = 32,
    SAVE_SHARE = 100,
    STORE_PATIENCE_MS = 60000 /* for a lock: a long look at the store ends no run */
};

const nas_option cli_run_table[] = {
    {"--name", NAS_OPT_STRING, offsetof(cli_run_options, name), NULL, 0, 0, NULL, "NAME",
     "name of the run; default: made up", false, true},
    {"--checkpoint-seconds", NAS_OPT_REAL, offsetof(cli_run_options, checkpoint_seconds), "60", 0,
     1e6, NULL, "S", "a checkpoint at least this often, beside the ends of epochs that are not short",
     false, true},
    {"--memory", NAS_OPT_CHOICE, offsetof(cli_run_options, memory), CLI_MEMORY_DEFAULT, 0, 0,
     CLI_MEMORY_CHOICES, NULL, CLI_MEMORY_HELP, false, true},
    {0},
};

static void on_progress(void *user, const nas_progress *at)
{
    cli_session *session = user;

    session->step = at->step;
    cli_progress_show(&session->progress, at);
}

static nas_status on_metrics(void *user, int64_t step, int64_t epoch, const nas_metric *metrics,
                             int count, nas_err *err)
{
    cli_session *session = user;
    nas_store_metric list[MAX_METRICS];
    char line[512] = "";

    count = count < MAX_METRICS ? count : MAX_METRICS;
    for (int i = 0; i < count; i++) {
        const size_t used = strlen(line);

        list[i] = (nas_store_metric){metrics[i].name, metrics[i].value};
        snprintf(line + used, sizeof line - used, "  %s %.4g", metrics[i].name, metrics[i].value);
    }
    cli_progress_end(&session->progress);
    nas_log(NAS_LOG_INFO, "epoch %lld%s", (long long)epoch, line);
    return nas_store_progress(session->store, session->attempt, step, epoch, list, count, err);
}

static nas_status on_probabilities(void *user, int64_t epoch, int slots, const int *counts,
                                   const double *p, nas_err *err)
{
    cli_session *session = user;

    return nas_store_probabilities_put(session->store, session->attempt, epoch, slots, counts, p,
                                       err);
}

/* Of epochs that are short against their checkpoints not every one ends with one: that would take
 * more than 1 / SAVE_SHARE of the time.  Those with a score are compared, and all written. */
static bool can_wait(const cli_session *session, double score, double now)
{
    return isnan(score) && !cli_stop_requested() && now < session->next_checkpoint &&
           now - session->saved < SAVE_SHARE * session->save_seconds;
}

/* The file is whole under its name before the database names it. */
static nas_status on_checkpoint(void *user, int64_t step, double score, nas_save_fn *save,
                                void *self, nas_err *err)
{
    cli_session *session = user;
    const double begun = nas_clock_seconds();
    char file[64];

    if (can_wait(session, score, begun))
        return NAS_OK;

    snprintf(file, sizeof file, "checkpoint-%lld.safetensors", (long long)step);
    char *path = cli_session_path(session, file);
    nas_status status = path != NULL ? save(self, path, err)
                                     : nas_fail(err, NAS_E_NOMEM, "checkpoint: out of memory");
    free(path);
    if (status == NAS_OK)
        status = nas_store_checkpoint(session->store, session->attempt, file, step, score, err);
    session->saved = nas_clock_seconds();
    session->save_seconds = session->saved - begun;
    nas_log(NAS_LOG_DEBUG, "checkpoint at step %lld took %.4f s", (long long)step,
            session->save_seconds);
    session->next_checkpoint = session->saved + session->checkpoint_seconds;
    return status;
}

/* Work that counts no steps (scoring, evolving) asks this after each piece of it: for the job
 * loop it is not hung. */
static bool on_stop(void *user)
{
    const cli_session *session = user;

    nas_worker_step(session->step, session->progress.phase);
    return nas_comm_any(session->context->comm, cli_stop_requested());
}

static bool on_checkpoint_due(void *user)
{
    const cli_session *session = user;

    return nas_clock_seconds() >= session->next_checkpoint;
}

static const char inputs_key[] = "inputs"; /* no option has this name */

/* Digest of what a result depends on: the settings, and instead of the names of files what
 * is in them. */
static nas_status config_digest(const cli_context *context, const json_t *inputs,
                                char out[NAS_DIGEST_SIZE], nas_err *err)
{
    json_t *copy = json_deep_copy(context->config);
    char *text = NULL;

    out[0] = '\0';
    if (copy != NULL) {
        cli_neutral_strip(context->command, copy);
        if (json_object_update(copy, (json_t *)inputs) == 0)
            text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    }
    if (text != NULL)
        nas_digest(text, strlen(text), out);
    const nas_status status =
        text != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "digest of the settings: out of memory");
    free(text);
    json_decref(copy);
    return status;
}

/* The settings as the store keeps them: with the digests of the inputs. */
static char *stored_config(const json_t *config, const json_t *inputs)
{
    json_t *copy = json_copy((json_t *)config);
    char *text = copy != NULL && json_object_set(copy, inputs_key, (json_t *)inputs) == 0
                     ? json_dumps(copy, JSON_COMPACT | JSON_REAL_PRECISION(17))
                     : NULL;

    json_decref(copy);
    return text;
}

nas_status cli_session_config(json_t **out, const nas_store_run *run, nas_err *err)
{
    const nas_status status =
        nas_json_parse(out, run->config, strlen(run->config), run->name, err);

    if (status == NAS_OK) {
        cli_common_strip(*out);
        json_object_del(*out, inputs_key);
    }
    return status;
}

/* The text of a result as the store keeps it (yours). */
static char *summary_of(const json_t *result)
{
    return json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(17));
}

/* What is known of the run in front of one of a chain, when that begins. */
typedef struct ending {
    cli_session *session;
    const json_t *result;
} ending;

static nas_status add_run(cli_session *session, const ending *before,
                          const nas_store_run_spec *spec, nas_err *err)
{
    if (before == NULL)
        return nas_store_run_begin(session->store, spec, &session->attempt, err);
    char *summary = summary_of(before->result);
    const nas_status status =
        summary != NULL ? nas_store_run_follow(session->store, before->session->attempt, summary,
                                               spec, &session->attempt, err)
                        : nas_fail(err, NAS_E_NOMEM, "run: out of memory");
    free(summary);
    return status;
}

static nas_status begin(cli_session *session, const char *name, int64_t parent,
                        const ending *before, const json_t *inputs, nas_err *err)
{
    const cli_context *context = session->context;
    char digest[NAS_DIGEST_SIZE], kind[NAS_STORE_NAME_SIZE];
    char *config = stored_config(context->config, inputs);
    nas_store_run *run = NULL;
    nas_status status = config != NULL ? config_digest(context, inputs, digest, err)
                                       : nas_fail(err, NAS_E_NOMEM, "run: out of memory");

    if (status != NAS_OK)
        goto done;
    cli_command_kind(context->command, kind);
    const nas_store_run_spec spec = {
        .kind = kind, .name = name, .config = config,
        .config_digest = digest, .version = NAS_VERSION,
        .seed = (uint64_t)context->common->seed, .threads = (int)context->common->threads,
        .parent = parent};
    status = add_run(session, before, &spec, err);
    if (status == NAS_OK && name == NULL) {
        char id[32];

        snprintf(id, sizeof id, "%lld", (long long)session->attempt.run);
        status = nas_store_run_get(session->store, id, &run, err);
        name = status == NAS_OK ? run->name : "";
    }
    if (status == NAS_OK)
        snprintf(session->name, sizeof session->name, "%s", name);

done:
    free(config);
    nas_store_run_free(run);
    return status;
}

/* A run continues with what it was begun with, or not at all. */
static nas_status check_unchanged(const cli_context *context, const nas_store_run *run,
                                  const json_t *inputs, nas_err *err)
{
    json_t *config = NULL, *value;
    const char *key;
    char digest[NAS_DIGEST_SIZE];
    nas_status status = nas_json_parse(&config, run->config, strlen(run->config), run->name, err);

    if (status != NAS_OK)
        return status;
    json_object_foreach((json_t *)inputs, key, value) {
        const char *path = json_string_value(json_object_get(context->config, key));
        const json_t *then = json_object_get(json_object_get(config, inputs_key), key);

        if (json_equal(then, value))
            continue;
        status = nas_fail(err, NAS_E_DATA,
                          "%s: is not the --%s that run %s was begun with (digest %s, was %s)",
                          path != NULL ? path : key, key, run->name, json_string_value(value),
                          json_is_string(then) ? json_string_value(then) : "not recorded");
        nas_hint(err, "bring the old one back, or begin a new run");
        goto done;
    }
    if ((status = config_digest(context, inputs, digest, err)) == NAS_OK &&
        strcmp(digest, run->config_digest) != 0) {
        status = nas_fail(err, NAS_E_DATA,
                          "run %s: its settings are not those that it was begun with (by nas %s)",
                          run->name, run->version);
        nas_hint(err, "begin a new run");
    }

done:
    json_decref(config);
    return status;
}

static nas_status claim(cli_session *session, const nas_store_run *run, const json_t *inputs,
                        nas_err *err)
{
    const nas_status status = check_unchanged(session->context, run, inputs, err);

    session->continues = true;
    snprintf(session->name, sizeof session->name, "%s", run->name);
    return status != NAS_OK ? status
                            : nas_store_run_claim(session->store, run->id, &session->attempt, err);
}

/* The run that an earlier attempt of the same job began; NULL if there is none. */
static nas_status find_earlier(nas_store_run **out, const cli_session *session,
                                  const json_t *inputs, nas_err *err)
{
    char digest[NAS_DIGEST_SIZE], kind[NAS_STORE_NAME_SIZE];
    const nas_status status = config_digest(session->context, inputs, digest, err);

    if (status != NAS_OK)
        return status;
    cli_command_kind(session->context->command, kind);
    return nas_store_job_run(session->store, kind, digest, out, err);
}

/* Where processes differ, sums would be made of different things. */
static nas_status check_alike(const cli_context *context, const json_t *inputs, nas_err *err)
{
    char about[NAS_DIGEST_SIZE + 128] = "", first[sizeof about];

    if (context->comm == NULL)
        return NAS_OK;
    const nas_status status = config_digest(context, inputs, about, err);
    snprintf(about + strlen(about), sizeof about - strlen(about), " %s %s", NAS_VERSION,
             nas_kernels_get()->name);
    memcpy(first, about, sizeof about);
    nas_comm_broadcast(context->comm, first, sizeof first); /* all of them come here */
    if (status != NAS_OK || strcmp(about, first) == 0)
        return status;
    nas_fail(err, NAS_E_CONFIG, "its inputs, settings, program or kernels are not those of process 0 "
             "(%s, there %s)", about, first);
    nas_hint(err, "give all of them the same files; NAS_KERNELS=avx2 chooses kernels that all have");
    return NAS_E_CONFIG;
}

static nas_status take_finished(cli_session *session, const nas_store_run *run)
{
    session->finished = true;
    session->attempt.run = run->id;
    snprintf(session->name, sizeof session->name, "%s", run->name);
    return NAS_OK;
}

/* Opens the store and begins or claims the run: what one process does for all.
 * `parted`: one of several runs of a command, which leaves those be that are finished. */
static nas_status take_run(cli_session *session, const char *name, bool parted, int64_t parent,
                           const ending *before, const json_t *inputs, nas_err *err)
{
    const cli_context *context = session->context;
    nas_store_run *earlier = NULL;
    nas_status status;

    if ((name != NULL && /* before a store is made */
         (status = nas_store_name_check(name, "run name", err))) ||
        (status = nas_store_open(&session->store, context->common->store, NAS_STORE_CREATE, err)))
        return status;
    nas_store_set_patience(session->store, STORE_PATIENCE_MS);
    nas_worker_act(session->store);
    if (context->run != NULL)
        status = claim(session, context->run, inputs, err);
    else if ((status = find_earlier(&earlier, session, inputs, err)) == NAS_OK)
        status = earlier == NULL ? begin(session, name, parent, before, inputs, err)
                 : parted && earlier->state == NAS_STORE_DONE
                     ? take_finished(session, earlier)
                     : claim(session, earlier, inputs, err);
    nas_store_run_free(earlier);
    if (status != NAS_OK) {
        nas_store_close(session->store);
        session->store = NULL;
    }
    return status;
}

static void log_begin(const cli_session *session)
{
    const cli_context *context = session->context;
    char processes[48] = "";

    if (context->comm != NULL)
        snprintf(processes, sizeof processes, " in each of %d processes", context->comm->ranks);
    nas_log(NAS_LOG_INFO, "run %s, seed %lld, %lld threads%s", session->name,
            (long long)context->common->seed, (long long)context->common->threads, processes);
}

static nas_status open_run(cli_session *session, const cli_context *context, const char *name,
                           bool parted, int64_t parent, const ending *before,
                           const json_t *inputs, nas_err *err)
{
    const cli_run_options *options = (const cli_run_options *)context->common;
    nas_status status;

    memset(session, 0, sizeof *session);
    session->context = context;
    session->checkpoint_seconds = options->checkpoint_seconds;
    session->observer = (nas_observer){.user = session, .progress = on_progress, .stop = on_stop};
    cli_progress_init(&session->progress, context->common);
    if ((status = cli_ranks_agree(NAS_OK, err)) ||
        (status = cli_ranks_agree(check_alike(context, inputs, err), err)))
        return status;
    if (cli_session_leads(session)) {
        session->observer.metrics = on_metrics;
        session->observer.probabilities = on_probabilities;
        session->observer.checkpoint = on_checkpoint;
        session->observer.checkpoint_due = on_checkpoint_due;
        status = take_run(session, name, parted, parent, before, inputs, err);
    }
    status = cli_ranks_agree(status, err);
    if (status != NAS_OK || session->finished)
        return status;
    session->started = nas_clock_seconds();
    session->next_checkpoint = session->started + session->checkpoint_seconds;
    log_begin(session);
    return NAS_OK;
}

bool cli_session_leads(const cli_session *session)
{
    return nas_comm_rank(session->context->comm) == 0;
}

nas_status cli_session_open(cli_session *session, const cli_context *context,
                            const json_t *inputs, nas_err *err)
{
    return cli_session_open_from(session, context, 0, inputs, err);
}

nas_status cli_session_open_child(cli_session *session, const cli_context *context,
                                  const char *name, int64_t parent, const json_t *inputs,
                                  nas_err *err)
{
    return open_run(session, context, name, true, parent, NULL, inputs, err);
}

nas_status cli_session_open_next(cli_session *session, cli_session *before, const json_t *result,
                                 const cli_context *context, const char *name,
                                 const json_t *inputs, nas_err *err)
{
    const ending at = {before, result};
    nas_status status;

    if (before->finished || nas_worker_is()) { /* a job finds what it has finished */
        status = cli_session_close(before, NAS_OK, result, err);
        return status == NAS_OK ? cli_session_open_child(session, context, name,
                                                         before->attempt.run, inputs, err)
                                : status;
    }
    cli_progress_end(&before->progress);
    status = open_run(session, context, name, true, before->attempt.run, &at, inputs, err);
    if (status == NAS_OK) {
        nas_store_close(before->store);
        before->store = NULL;
    }
    return status;
}

nas_status cli_session_open_from(cli_session *session, const cli_context *context, int64_t parent,
                                 const json_t *inputs, nas_err *err)
{
    const char *name = ((const cli_run_options *)context->common)->name;

    return open_run(session, context, name, false, parent, NULL, inputs, err);
}

static nas_status try_checkpoint(cli_session *session, const nas_store_artifact *file,
                                 nas_status (*load)(void *self, const char *path, nas_err *err),
                                 void *self, nas_err *err)
{
    char *path = cli_session_path(session, file->file);
    nas_status status = path != NULL ? nas_store_artifact_check(session->store, file, err)
                                     : nas_fail(err, NAS_E_NOMEM, "out of memory");

    if (status == NAS_OK)
        status = load(self, path, err);
    free(path);
    return status;
}

/* What the process with the store does; `file` in it is what was loaded, "" if nothing was. */
static nas_status restore(cli_session *session,
                          nas_status (*load)(void *self, const char *path, nas_err *err),
                          void *self, char file[NAS_STORE_PATH_SIZE], nas_err *err)
{
    nas_store_artifact *list = NULL;
    int count = 0;

    file[0] = '\0';
    if (!session->continues)
        return NAS_OK;
    nas_status status = nas_store_artifact_list(session->store, session->attempt.run, "checkpoint",
                                                &list, &count, err);
    nas_status worst = NAS_E_DATA;
    bool restored = false;
    for (int i = 0; i < count && status == NAS_OK && !restored; i++) {
        nas_err why = {0};
        const nas_status tried = try_checkpoint(session, &list[i], load, self, &why);

        restored = tried == NAS_OK;
        if (restored) {
            nas_log(NAS_LOG_INFO, "continues at step %lld", (long long)list[i].step);
            memcpy(file, list[i].path, NAS_STORE_PATH_SIZE);
        } else if (tried == NAS_E_NOMEM) /* it may be whole: the one before would lose work */
            status = nas_fail(err, tried, "%s: %s", list[i].file, why.message);
        else if (tried == NAS_E_IO) /* a disk that cannot be read now is no damage for good */
            worst = tried;
        if (status == NAS_OK && !restored)
            nas_log(NAS_LOG_WARN, "%s is damaged (%s); the one before it is tried", list[i].file,
                    why.message);
    }
    if (status == NAS_OK && count > 0 && !restored)
        status = nas_fail(err, worst, "%s: none of its %d checkpoints can be read",
                          session->name, count);
    else if (status == NAS_OK && count == 0)
        nas_log(NAS_LOG_INFO, "no checkpoint yet: starts at the beginning");
    free(list);
    return status;
}

nas_status cli_session_restore(cli_session *session,
                               nas_status (*load)(void *self, const char *path, nas_err *err),
                               void *self, nas_err *err)
{
    const cli_context *context = session->context;
    char file[NAS_STORE_PATH_SIZE] = "", *path = NULL;
    nas_status status = NAS_OK;

    if (cli_session_leads(session))
        status = restore(session, load, self, file, err);
    if ((status = cli_ranks_agree(status, err)) != NAS_OK)
        return status;
    nas_comm_broadcast(context->comm, file, sizeof file);
    if (!cli_session_leads(session) && file[0] != '\0')
        status = (path = nas_path_join(context->common->store, file)) != NULL
                     ? load(self, path, err)
                     : nas_fail(err, NAS_E_NOMEM, "checkpoint: out of memory");
    free(path);
    if ((status = cli_ranks_agree(status, err)) == NAS_OK)
        cli_ranks_begin();
    return status;
}

char *cli_session_path(const cli_session *session, const char *file)
{
    char *path = nas_store_path(session->store, session->attempt.run, file);

    if (path != NULL && nas_path_is_link(path) && unlink(path) == 0)
        nas_log(NAS_LOG_WARN, "%s: a symbolic link was removed; no file of a run is one", path);
    return path;
}

nas_status cli_session_artifact(cli_session *session, const char *kind, const char *file,
                                int64_t step, nas_err *err)
{
    return nas_store_artifact_put(session->store, session->attempt, kind, file, step, err);
}

/* A full disk or too little memory passes; what else fails fails again. */
static nas_store_state state_after(nas_status status)
{
    switch (status) {
    case NAS_OK:
    case NAS_E_INFEASIBLE:
        return NAS_STORE_DONE;
    case NAS_E_INTERRUPTED:
    case NAS_E_IO:
    case NAS_E_NOMEM:
        return NAS_STORE_INTERRUPTED;
    default:
        return NAS_STORE_FAILED;
    }
}

/* What a shell takes as it is. */
static const char plain_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                    "_-./+:@%,=";

nas_status cli_session_close(cli_session *session, nas_status status, const json_t *result,
                             nas_err *err)
{
    char *summary = result != NULL ? summary_of(result) : NULL;
    const char *store = session->context->common->store;
    nas_err late = {0};

    cli_progress_end(&session->progress);
    if (session->store == NULL || session->finished) {
        nas_store_close(session->store);
        session->store = NULL;
        free(summary);
        return status;
    }
    const nas_status finished = nas_store_run_finish(
        session->store, session->attempt, state_after(status), summary,
        status != NAS_OK && err != NULL ? err->message : NULL, &late);
    free(summary);
    nas_store_close(session->store);
    session->store = NULL;
    if (status == NAS_OK && finished != NAS_OK) {
        if (err != NULL)
            *err = late;
        return finished;
    }
    if (state_after(status) == NAS_STORE_INTERRUPTED) {
        const bool usual = strcmp(store, ".nas") == 0;
        const bool plain = strspn(store, plain_letters) == strlen(store);
        nas_hint(err, "to continue: nas resume %s%s%s%s", session->name,
                 usual ? "" : plain ? " --store " : " --store '", usual ? "" : store,
                 usual || plain ? "" : "'");
    }
    return status;
}
