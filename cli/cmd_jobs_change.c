/* nas jobs cancel, retry - of jobs by name, or of a whole group. */
#include <stddef.h>
#include <stdlib.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "search/store/jobs.h"

typedef struct change_options {
    cli_common common;
    const char *group;
} change_options;

static const nas_option change_table[] = {
    {"--group", NAS_OPT_STRING, offsetof(change_options, group), NULL, 0, 0, NULL, "NAME",
     "all jobs of this group"},
    {0},
};

/* The jobs that are meant, and those of them that change. */
typedef struct chosen {
    int64_t *ids;
    int count, room;
    json_t *names;
} chosen;

static nas_status choose(chosen *c, const nas_job *job, bool changes, nas_err *err)
{
    if (c->count == c->room) {
        const int room = 2 * c->room + 16;
        int64_t *grown = realloc(c->ids, (size_t)room * sizeof *grown);

        if (grown == NULL)
            return nas_fail(err, NAS_E_NOMEM, "jobs: out of memory");
        c->ids = grown;
        c->room = room;
    }
    c->ids[c->count++] = job->id;
    if (changes)
        json_array_append_new(c->names, json_string(job->name));
    return NAS_OK;
}

/* A group, its done jobs aside; `ended` says which kind changes. */
static nas_status choose_group(chosen *c, nas_store *store, const char *group, bool ended,
                               nas_err *err)
{
    nas_jobs jobs;
    nas_status status = nas_store_jobs_list(store, group, NAS_JOB_ANY_STATE, 0, &jobs, err);

    if (status == NAS_OK && jobs.count == 0) {
        status = nas_fail(err, NAS_E_USAGE, "there is no job in group '%.64s'", group);
        nas_hint(err, "see them with: nas jobs list");
    }
    for (int i = jobs.count - 1; i >= 0 && status == NAS_OK; i--)
        if (jobs.jobs[i].state != NAS_JOB_DONE)
            status = choose(c, &jobs.jobs[i], nas_job_state_ended(jobs.jobs[i].state) == ended,
                            err);
    nas_jobs_fini(&jobs);
    return status;
}

static nas_status change_run(const cli_context *context, const char *key, bool ended,
                             nas_status (*change)(nas_store *store, const int64_t *jobs, int count,
                                                  nas_err *err),
                             nas_err *err)
{
    const change_options *o = (const change_options *)context->common;
    chosen c = {.names = json_array()};
    nas_store *store = NULL;
    nas_status status;

    if ((o->group != NULL) == (context->count > 0)) {
        status = nas_fail(err, NAS_E_USAGE, "give names of jobs, or --group NAME");
        goto done;
    }
    if ((status = nas_store_open(&store, o->common.store, NAS_STORE_EXISTING, err)) == NAS_OK &&
        o->group != NULL)
        status = choose_group(&c, store, o->group, ended, err);
    for (int i = 0; i < context->count && status == NAS_OK; i++) {
        nas_job *job;

        if ((status = nas_store_job_get(store, context->args[i], &job, err)) == NAS_OK)
            status = choose(&c, job, nas_job_state_ended(job->state) == ended, err);
        nas_job_free(job);
    }
    if (status == NAS_OK && (status = change(store, c.ids, c.count, err)) == NAS_OK)
        status = cli_emit(context, json_pack("{s:O}", key, c.names), err);
    if (status == NAS_OK && c.count == 0)
        nas_log(NAS_LOG_WARN, "%s",
                ended ? "none of them has ended; nas jobs run goes on with what waits, and with "
                        "what was lost with its loop"
                      : "all of them have ended");

done:
    json_decref(c.names);
    free(c.ids);
    nas_store_close(store);
    return status;
}

static nas_status cancel_run(const cli_context *context, const void *options, nas_err *err)
{
    return change_run(context, "cancelled", false, nas_store_jobs_cancel, err);
}

const cli_command cmd_jobs_cancel = {
    .name = "jobs cancel", .summary = "take jobs out of the queue, and stop those that run",
    .arguments = "[JOB...]", .example = "jobs cancel --group sweep", .tables = {change_table},
    .size = sizeof(change_options), .max_args = CLI_MAX_ARGS, .run = cancel_run,
};

static nas_status retry_run(const cli_context *context, const void *options, nas_err *err)
{
    return change_run(context, "queued", true, nas_store_jobs_retry, err);
}

const cli_command cmd_jobs_retry = {
    .name = "jobs retry", .summary = "queue jobs again that ended without getting done",
    .arguments = "[JOB...]", .example = "jobs retry job-7", .tables = {change_table},
    .size = sizeof(change_options), .max_args = CLI_MAX_ARGS, .run = retry_run,
};
