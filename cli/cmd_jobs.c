/* nas jobs list, show, why, logs - what the queue holds and how it went. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/output.h"
#include "search/jobs/cause.h"

enum { TEXT_SIZE = 512, PIECE_SIZE = 1024 /* of a log */ };

/* What is shown of a store: opened for reading, with the loop that works on it. */
typedef struct view {
    nas_store *store;
    nas_job_loop loop;
} view;

static nas_status open_view(view *v, const cli_context *context, nas_err *err)
{
    const nas_status status =
        nas_store_open(&v->store, context->common->store, NAS_STORE_READ, err);

    return status != NAS_OK ? status : nas_store_loop_get(v->store, &v->loop, err);
}

/* True for a loop of another host that did not say that it was ending: it may live. */
static bool is_out_of_sight(const nas_job_loop *loop)
{
    char here[sizeof loop->host];

    nas_system_host(here, sizeof here);
    return loop->number > 0 && !loop->ended && strcmp(loop->host, here) != 0;
}

/* Without a loop no job runs, whatever its row says. */
static bool is_gone(const nas_job_loop *loop)
{
    return !loop->alive && !is_out_of_sight(loop);
}

/* A task of a cluster goes on by itself. */
static nas_job_state state_now(nas_job_state state, bool placed, const nas_job_loop *loop)
{
    return state == NAS_JOB_RUNNING && !placed && is_gone(loop) ? NAS_JOB_LOST : state;
}

/* Bytes of a text that was cut somewhere, up to its last character that may be a part of one. */
static size_t whole_characters(const char *text, size_t size)
{
    size_t length = size;

    while (length > 0 && size - length < 3 && ((unsigned char)text[length - 1] & 0xc0) == 0x80)
        length--;
    return length > 0 && ((unsigned char)text[length - 1] & 0x80) != 0 ? length - 1 : length;
}

/* The command line in one string, for people. */
static json_t *command_json(const char *args)
{
    json_t *words = cli_stored_json(args), *word;
    char text[TEXT_SIZE] = "nas";
    size_t used = 3, i;

    json_array_foreach(words, i, word) {
        const char *start = json_string_value(json_is_object(word) ? json_object_get(word, "before")
                                                                   : word);
        const char *file = json_string_value(json_object_get(word, "file"));

        if (used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, " %s",
                                     start != NULL ? start : "");
        if (used < sizeof text && file != NULL)
            used += (size_t)snprintf(text + used, sizeof text - used, "{%lld:%s}",
                                     (long long)json_integer_value(json_object_get(word, "job")),
                                     file);
    }
    json_decref(words);
    if (used >= sizeof text)
        text[whole_characters(text, sizeof text - 1)] = '\0';
    return json_string(text);
}

static json_t *job_json(const nas_job *job, const nas_job_loop *loop)
{
    char created[25], updated[25];

    nas_clock_format(job->created_ms, created);
    nas_clock_format(job->updated_ms, updated);
    return json_pack("{s:I, s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:s, s:s, s:o}", "id",
                     (json_int_t)job->id, "name", job->name, "group", job->group, "state",
                     nas_job_state_name(state_now(job->state, job->placed, loop)), "attempt",
                     (json_int_t)job->attempt, "failures", job->failures, "cores", job->cores,
                     "priority", job->priority, "created", created, "updated", updated, "command",
                     command_json(job->args));
}

static json_t *loop_json(const nas_job_loop *loop)
{
    char started[25];

    if (is_gone(loop))
        return json_null();
    nas_clock_format(loop->started_ms, started);
    return json_pack("{s:b, s:I, s:s, s:s, s:I, s:I}", "visible", loop->alive, "pid",
                     (json_int_t)loop->pid, "host", loop->host, "started", started, "cores", (json_int_t)loop->cores, "memory_mib",
                     (json_int_t)loop->memory_mib);
}

/* ---- list ---- */

typedef struct list_options {
    cli_common common;
    const char *group;
    int state;
    int64_t limit;
} list_options;

static const nas_option list_table[] = {
    {"--group", NAS_OPT_STRING, offsetof(list_options, group), NULL, 0, 0, NULL, "NAME",
     "only the jobs of this group"},
    {"--state", NAS_OPT_CHOICE, offsetof(list_options, state), "any", 0, 0,
     "queued|running|done|failed|lost|preempted|timed_out|out_of_memory|quarantined|cancelled|any",
     NULL, "only these"},
    {"--limit", NAS_OPT_INT, offsetof(list_options, limit), "0", 0, 1e9, NULL, "N",
     "the newest N; 0: all"},
    {0},
};

static nas_status list_run(const cli_context *context, const void *options, nas_err *err)
{
    const list_options *o = options;
    view v = {0};
    nas_jobs jobs = {0};
    int counts[NAS_JOB_ANY_STATE] = {0};
    nas_status status;

    if ((status = open_view(&v, context, err)) != NAS_OK)
        goto done;
    /* what is shown as lost may be stored as running: then this chooses, not the store */
    const bool all = is_gone(&v.loop) && (o->state == NAS_JOB_LOST || o->state == NAS_JOB_RUNNING);
    const nas_job_state filter = all ? NAS_JOB_ANY_STATE : (nas_job_state)o->state;
    if ((status = nas_store_jobs_list(v.store, o->group, filter, 0, &jobs, err)) == NAS_OK) {
        json_t *rows = json_array(), *states = json_object();

        for (int i = 0; i < jobs.count; i++) {
            const nas_job_state state = state_now(jobs.jobs[i].state,
                                                    jobs.jobs[i].placed, &v.loop);

            if (o->state != NAS_JOB_ANY_STATE && state != (nas_job_state)o->state)
                continue;
            counts[state]++;
            if (o->limit == 0 || (int64_t)json_array_size(rows) < o->limit)
                json_array_append_new(rows, job_json(&jobs.jobs[i], &v.loop));
        }
        for (int s = 0; s < NAS_JOB_ANY_STATE; s++)
            if (counts[s] > 0)
                json_object_set_new(states, nas_job_state_name(s), json_integer(counts[s]));
        status = cli_emit(context, json_pack("{s:o, s:o, s:o}", "states", states, "loop",
                                             loop_json(&v.loop), "jobs", rows),
                          err);
    }

done:
    nas_jobs_fini(&jobs);
    nas_store_close(v.store);
    return status;
}

const cli_command cmd_jobs_list = {
    .name = "jobs list", .summary = "the jobs of the queue, newest first", .tables = {list_table},
    .size = sizeof(list_options), .run = list_run,
};

/* ---- show ---- */

static void add_name(void *user, const char *name)
{
    json_array_append_new(user, json_string(name));
}

static nas_status needs_json(json_t **out, const view *v, int64_t job, nas_err *err)
{
    nas_job_need *needs = NULL;
    int count = 0;
    nas_status status = nas_store_job_needs(v->store, job, &needs, &count, err);

    *out = json_array();
    for (int i = 0; i < count && status == NAS_OK; i++) {
        nas_job *needed = NULL;
        char id[32];

        snprintf(id, sizeof id, "%lld", (long long)needs[i].job);
        if ((status = nas_store_job_get(v->store, id, &needed, err)) == NAS_OK)
            json_array_append_new(*out, json_pack("{s:s, s:s, s:b}", "job", needed->name, "state",
                                                  nas_job_state_name(needed->state), "any_end",
                                                  needs[i].any));
        nas_job_free(needed);
    }
    free(needs);
    return status;
}

static json_t *attempt_json(const nas_job_attempt *a, const nas_job_loop *loop)
{
    char started[25], ended[25] = "", slurm[48] = "";

    if (a->slurm >= 0)
        snprintf(slurm, sizeof slurm, "%lld_%d", (long long)a->slurm, a->task);
    nas_clock_format(a->started_ms, started);
    if (a->ended_ms > 0)
        nas_clock_format(a->ended_ms, ended);
    return json_pack("{s:I, s:s, s:s, s:i, s:i, s:I, s:s, s:o, s:I, s:s, s:s, s:s, s:s}", "attempt",
                     (json_int_t)a->number, "state",
                     nas_job_state_name(state_now(a->state, a->slurm >= 0, loop)), "cause", a->cause,
                     "exit_code", a->code, "signal", a->signal, "step", (json_int_t)a->step,
                     "phase", a->phase, "peak_rss_mib", cli_real(a->peak_rss_mib), "pid",
                     (json_int_t)a->pid, "host", a->host, "slurm", slurm, "started", started,
                     "ended", ended);
}

static nas_status show_run(const cli_context *context, const void *options, nas_err *err)
{
    view v = {0};
    nas_job *job = NULL;
    nas_job_attempt *attempts = NULL;
    json_t *needs = NULL, *runs = json_array(), *rows = json_array();
    int count = 0;
    nas_status status;

    if ((status = open_view(&v, context, err)) ||
        (status = nas_store_job_get(v.store, context->args[0], &job, err)) ||
        (status = needs_json(&needs, &v, job->id, err)) ||
        (status = nas_store_job_runs(v.store, job->id, add_name, runs, err)) ||
        (status = nas_store_job_attempts(v.store, job->id, &attempts, &count, err)))
        goto done;
    for (int i = 0; i < count; i++)
        json_array_append_new(rows, attempt_json(&attempts[i], &v.loop));
    json_t *result = job_json(job, &v.loop);
    json_object_update_new(
        result, json_pack("{s:I, s:I, s:I, s:i, s:s, s:o, s:O, s:O, s:O}", "memory_mib",
                          (json_int_t)job->memory_mib, "time_limit_s",
                          (json_int_t)job->time_limit_s, "hang_limit_s",
                          (json_int_t)job->hang_limit_s, "retries", job->retries, "folder",
                          job->folder, "args", cli_stored_json(job->args), "runs", runs, "after",
                          needs, "attempts", rows));
    status = cli_emit(context, result, err);

done:
    json_decref(needs);
    json_decref(runs);
    json_decref(rows);
    nas_job_attempts_free(attempts, count);
    nas_job_free(job);
    nas_store_close(v.store);
    return status;
}

const cli_command cmd_jobs_show = {
    .name = "jobs show", .summary = "one job: what it is, its attempts, the runs that it made",
    .arguments = "JOB", .example = "jobs show job-1", .min_args = 1, .max_args = 1,
    .run = show_run,
};

/* ---- why ---- */

typedef struct reason {
    char why[TEXT_SIZE], hint[TEXT_SIZE];
} reason;

/* The first thing that a queued job waits for and that is not there; false: there is none. */
static bool explain_needs(reason *r, const json_t *needs)
{
    const json_t *need;
    size_t i;

    json_array_foreach(needs, i, need) {
        const char *name = json_string_value(json_object_get(need, "job"));
        const char *state = json_string_value(json_object_get(need, "state"));
        const bool any = json_is_true(json_object_get(need, "any_end"));
        const bool open = strcmp(state, "queued") == 0 || strcmp(state, "running") == 0;

        if (strcmp(state, "done") == 0 || (any && !open))
            continue;
        snprintf(r->why, sizeof r->why, "it waits for job %s, which is %s", name, state);
        if (!open)
            snprintf(r->hint, sizeof r->hint, "nas jobs why %s; then nas jobs retry %s, or nas "
                     "jobs cancel this one", name, name);
        return true;
    }
    return false;
}

static void explain_out_of_sight(reason *r, const char *what, const nas_job_loop *loop)
{
    snprintf(r->why, sizeof r->why, "%s a loop on %s, not visible from here", what, loop->host);
    snprintf(r->hint, sizeof r->hint, "look there; if it is gone: nas jobs run --take-over");
}

static void explain_queued(reason *r, const nas_job *job, const json_t *needs,
                           const nas_job_loop *loop, const nas_job_attempt *last)
{
    const nas_job_rule *rule = last != NULL ? nas_job_rule_named(last->cause) : NULL;

    if (explain_needs(r, needs))
        return;
    if (is_gone(loop)) {
        snprintf(r->why, sizeof r->why, "no job loop works on this store");
        snprintf(r->hint, sizeof r->hint, "nas jobs run");
    } else if (job->cores > loop->cores || job->memory_mib > loop->memory_mib) {
        snprintf(r->why, sizeof r->why, "it asks for %d cores and %lld MiB, but the loop has %lld "
                 "and %lld MiB", job->cores, (long long)job->memory_mib, (long long)loop->cores,
                 (long long)loop->memory_mib);
        snprintf(r->hint, sizeof r->hint, "run the loop with more, or submit it with less");
    } else if (rule != NULL) {
        snprintf(r->why, sizeof r->why, "it will run again: in attempt %lld %s (%d of %d retries "
                 "used up)", (long long)last->number, rule->why, job->failures, job->retries);
    } else if (!loop->alive) {
        explain_out_of_sight(r, "it waits for", loop);
    } else {
        snprintf(r->why, sizeof r->why, "it waits for its turn");
    }
}

static void explain_running(reason *r, const nas_job *job, const nas_job_loop *loop,
                            const nas_job_attempt *last)
{
    if (job->placed && last != NULL) {
        snprintf(r->why, sizeof r->why, "it is task %lld_%d of Slurm%s%s, step %lld %s",
                 (long long)last->slurm, last->task, last->host[0] != '\0' ? " on " : "",
                 last->host, (long long)last->step, last->phase);
        if (is_gone(loop))
            snprintf(r->hint, sizeof r->hint, "nas jobs run --on slurm follows it");
    } else if (is_gone(loop)) {
        snprintf(r->why, sizeof r->why, "the loop that ran it is gone");
        snprintf(r->hint, sizeof r->hint, "nas jobs run queues it again and goes on");
    } else if (!loop->alive) {
        explain_out_of_sight(r, "it runs under", loop);
    } else if (job->cancel) {
        snprintf(r->why, sizeof r->why, "it was cancelled and is being stopped");
    } else {
        snprintf(r->why, sizeof r->why, "it runs as process %lld, step %lld %s",
                 (long long)(last != NULL ? last->pid : 0),
                 (long long)(last != NULL ? last->step : -1), last != NULL ? last->phase : "");
    }
}

static void explain_ended(reason *r, const nas_job *job, const nas_job_attempt *last)
{
    const nas_job_rule *rule = last != NULL ? nas_job_rule_named(last->cause) : NULL;
    char how[64] = "";

    if (job->state == NAS_JOB_CANCELLED || rule == NULL) {
        snprintf(r->why, sizeof r->why, "it was cancelled");
        return;
    }
    if (last->signal != 0)
        snprintf(how, sizeof how, " (signal %d, %s)", last->signal, strsignal(last->signal));
    else if (last->code >= 0)
        snprintf(how, sizeof how, " (exit code %d)", last->code);
    snprintf(r->why, sizeof r->why, "%s%s%s", rule->why, how,
             job->state == NAS_JOB_QUARANTINED ? ", three times alike: it is not tried again" : "");
    if (job->state == NAS_JOB_TIMED_OUT)
        snprintf(r->hint, sizeof r->hint, "nas jobs retry %s goes on from its checkpoint",
                 job->name);
    else if (job->state == NAS_JOB_OUT_OF_MEMORY)
        snprintf(r->hint, sizeof r->hint, "a smaller --batch or --memory low; or submit it with "
                 "%s --memory-mib%s", last->code == NAS_E_NOMEM ? "its" : "more",
                 last->code == NAS_E_NOMEM ? ", so that fewer jobs run beside it" : "");
    else if (job->state != NAS_JOB_DONE)
        snprintf(r->hint, sizeof r->hint, "once its cause is gone: nas jobs retry %s", job->name);
}

/* The last lines of stderr, one object a line. */
static json_t *lines_json(const char *tail)
{
    json_t *lines = json_array();
    char *copy = tail != NULL ? strdup(tail) : NULL, *rest = copy, shown[4 * NAS_JOB_TAIL_SIZE];

    for (char *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL;)
        if (*line != '\0') {
            nas_text_escape(line, shown, sizeof shown);
            json_array_append_new(lines, json_pack("{s:s}", "stderr", shown));
        }
    while (json_array_size(lines) > 20)
        json_array_remove(lines, 0);
    free(copy);
    return lines;
}

static nas_status why_run(const cli_context *context, const void *options, nas_err *err)
{
    view v = {0};
    nas_job *job = NULL;
    nas_job_attempt *attempts = NULL;
    json_t *needs = NULL;
    reason r = {0};
    int count = 0;
    nas_status status;

    if ((status = open_view(&v, context, err)) ||
        (status = nas_store_job_get(v.store, context->args[0], &job, err)) ||
        (status = needs_json(&needs, &v, job->id, err)) ||
        (status = nas_store_job_attempts(v.store, job->id, &attempts, &count, err)))
        goto done;
    const nas_job_attempt *last = count > 0 ? &attempts[count - 1] : NULL;
    if (job->state == NAS_JOB_QUEUED)
        explain_queued(&r, job, needs, &v.loop, last);
    else if (job->state == NAS_JOB_RUNNING)
        explain_running(&r, job, &v.loop, last);
    else
        explain_ended(&r, job, last);
    status = cli_emit(
        context,
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:i, s:i, s:I, s:s, s:o, s:o}", "job", job->name,
                  "state", nas_job_state_name(state_now(job->state, job->placed, &v.loop)), "why",
                  r.why, "hint", r.hint, "cause", last != NULL ? last->cause : "", "attempt",
                  (json_int_t)job->attempt, "exit_code", last != NULL ? last->code : -1, "signal",
                  last != NULL ? last->signal : 0, "step",
                  (json_int_t)(last != NULL ? last->step : -1), "phase",
                  last != NULL ? last->phase : "", "peak_rss_mib",
                  last != NULL ? cli_real(last->peak_rss_mib) : json_null(), "tail",
                  lines_json(last != NULL && job->state != NAS_JOB_DONE ? last->tail : NULL)),
        err);

done:
    json_decref(needs);
    nas_job_attempts_free(attempts, count);
    nas_job_free(job);
    nas_store_close(v.store);
    return status;
}

const cli_command cmd_jobs_why = {
    .name = "jobs why", .summary = "why a job is where it is, and what to do about it",
    .arguments = "JOB", .example = "jobs why job-1", .min_args = 1, .max_args = 1, .run = why_run,
};

/* ---- logs ---- */

typedef struct log_options {
    cli_common common;
    int64_t attempt;
    int stream;
    bool follow;
} log_options;

static const nas_option log_table[] = {
    {"--attempt", NAS_OPT_INT, offsetof(log_options, attempt), "0", 0, 1e9, NULL, "N",
     "of this attempt; 0: of the last one"},
    {"--stream", NAS_OPT_CHOICE, offsetof(log_options, stream), "both", 0, 0, "err|out|both", NULL,
     "messages (stderr), results (stdout), or one after the other"},
    {"--follow", NAS_OPT_FLAG, offsetof(log_options, follow), NULL, 0, 0, NULL, NULL,
     "show what comes until the attempt ends; with --json one object a line"},
    {0},
};

static const char *const streams[] = {"err", "out"};
enum { STREAMS = 2 };

/* A log on its way to the terminal; zero-initialise. */
typedef struct log_reader {
    FILE *file;
    const char *stream; /* for JSON lines; NULL: as text */
    char piece[PIECE_SIZE];
    size_t held; /* bytes of a line that is not whole yet */
} log_reader;

/* One line, or a part of a long one, with a NUL behind it. */
static void put_line(const log_reader *r, const char *line, const char *end)
{
    char shown[4 * PIECE_SIZE];

    nas_text_escape(line, shown, sizeof shown);
    if (r->stream == NULL) {
        printf("%s%s", shown, end);
        return;
    }
    json_t *object = json_pack("{s:s, s:s}", "stream", r->stream, "text", shown);
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

/* Lines, with a NUL behind them; there may be others among them. */
static void put_lines(const log_reader *r, char *text, size_t size)
{
    for (size_t at = 0, part; at < size; at += part + 1) {
        part = strcspn(text + at, "\n");
        const bool line = text[at + part] == '\n';

        text[at + part] = '\0';
        put_line(r, text + at, at + part == size ? "" : line ? "\n" : "\\x00");
    }
}

/* How much of what is held is shown: whole lines; of a line that is longer, whole characters. */
static size_t whole_lines(const char *text, size_t size)
{
    const char *last = memrchr(text, '\n', size);

    return last != NULL                ? (size_t)(last + 1 - text)
           : size == PIECE_SIZE - 1 ? whole_characters(text, size)
                                       : 0;
}

/* Shows what was written since, with nothing in it that a terminal would obey; `all`: also a last
 * line that has no end. */
static nas_status read_log(log_reader *r, const char *path, bool all, nas_err *err)
{
    size_t got;

    if (r->file == NULL && (r->file = fopen(path, "re")) == NULL)
        return nas_fail_errno(err, "%s", path);
    do {
        got = fread(r->piece + r->held, 1, sizeof r->piece - 1 - r->held, r->file);
        const size_t size = r->held + got;
        const size_t end = got == 0 && all ? size : whole_lines(r->piece, size);
        const char next = r->piece[end];

        r->piece[end] = '\0';
        put_lines(r, r->piece, end);
        r->piece[end] = next;
        r->held = size - end;
        memmove(r->piece, r->piece + end, r->held);
    } while (got > 0);
    if (ferror(r->file))
        return nas_fail_errno(err, "%s", path);
    clearerr(r->file); /* the end of the file is where it was, not where it stays */
    return cli_flush(err);
}

static bool is_wanted(const log_options *o, int stream)
{
    return o->stream == stream || o->stream == STREAMS;
}

/* Shows the logs of an attempt as far as they go: both files, as soon as they are there. */
static nas_status read_logs(log_reader readers[STREAMS], const nas_store *store,
                            const log_options *o, const nas_job *job, int64_t attempt, bool all,
                            nas_err *err)
{
    nas_status status = NAS_OK;

    for (int i = 0; i < STREAMS && status == NAS_OK; i++) {
        char *path = nas_store_job_log(store, job->id, attempt, streams[i]);

        if (path == NULL)
            status = nas_fail(err, NAS_E_NOMEM, "jobs: out of memory");
        else if (is_wanted(o, i) && (readers[i].file != NULL || nas_path_exists(path)))
            status = read_log(&readers[i], path, all, err);
        free(path);
    }
    return status;
}

/* Until the attempt has ended, its loop is gone, or somebody wants no more. */
static nas_status follow(view *v, const cli_context *context, const log_options *o,
                         const nas_job *job, nas_err *err)
{
    const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
    log_reader readers[STREAMS] = {{.stream = context->common->json ? streams[0] : NULL},
                                   {.stream = context->common->json ? streams[1] : NULL}};
    char id[24];
    bool over = false, told = false;
    nas_status status = NAS_OK;

    snprintf(id, sizeof id, "%lld", (long long)job->id);
    while (!over && status == NAS_OK) {
        nas_job *now = NULL;

        if ((status = nas_store_job_get(v->store, id, &now, err)) != NAS_OK ||
            (status = nas_store_loop_get(v->store, &v->loop, err)) != NAS_OK) {
            nas_job_free(now);
            break;
        }
        const int64_t attempt = o->attempt > 0 ? o->attempt : now->attempt;
        const nas_job_state state = state_now(now->state, now->placed, &v->loop);
        const bool waits = state == NAS_JOB_QUEUED && attempt == 0;
        over = !waits && (state != NAS_JOB_RUNNING || now->attempt > attempt);
        if (waits && !told && is_gone(&v->loop))
            nas_log(NAS_LOG_INFO, "job %s waits for a loop: nas jobs run", now->name);
        told = true;
        if (!waits)
            status = read_logs(readers, v->store, o, now, attempt, over, err);
        if (over && status == NAS_OK && context->common->json) {
            json_t *end = json_pack("{s:s, s:I, s:s}", "job", now->name, "attempt",
                                    (json_int_t)attempt, "state", nas_job_state_name(state));
            json_dumpf(end, stdout, JSON_COMPACT);
            putchar('\n');
            json_decref(end);
        }
        nas_job_free(now);
        if (!over)
            nanosleep(&pause, NULL);
    }
    for (int i = 0; i < STREAMS; i++)
        if (readers[i].file != NULL)
            fclose(readers[i].file);
    return status == NAS_OK ? cli_flush(err) : status;
}

/* The names of the files; NULL where there is none, or it is not wanted. */
static nas_status add_paths(json_t *result, const nas_store *store, const log_options *o,
                            const nas_job *job, int64_t attempt, nas_err *err)
{
    for (int i = 0; i < STREAMS; i++) {
        char *path = nas_store_job_log(store, job->id, attempt, streams[i]);

        if (path == NULL)
            return nas_fail(err, NAS_E_NOMEM, "jobs: out of memory");
        json_object_set_new(result, streams[i], is_wanted(o, i) && nas_path_exists(path)
                                                    ? json_string(path)
                                                    : json_null());
        free(path);
    }
    return NAS_OK;
}

static nas_status logs_run(const cli_context *context, const void *options, nas_err *err)
{
    const log_options *o = options;
    log_reader readers[STREAMS] = {{0}};
    view v = {0};
    nas_job *job = NULL;
    json_t *result = json_object();
    nas_status status;

    if ((status = open_view(&v, context, err)) ||
        (status = nas_store_job_get(v.store, context->args[0], &job, err)))
        goto done;
    const int64_t attempt = o->attempt > 0 ? o->attempt : job->attempt;
    if (attempt > job->attempt || (attempt < 1 && !o->follow)) {
        status = nas_fail(err, NAS_E_USAGE, "job %s has had %lld attempts so far", job->name,
                          (long long)job->attempt);
        goto done;
    }
    if (o->follow) {
        status = follow(&v, context, o, job, err);
    } else if (context->common->json) {
        json_object_update_new(result, json_pack("{s:s, s:I}", "job", job->name, "attempt",
                                                 (json_int_t)attempt));
        if ((status = add_paths(result, v.store, o, job, attempt, err)) == NAS_OK)
            status = cli_emit(context, json_incref(result), err);
    } else {
        status = read_logs(readers, v.store, o, job, attempt, true, err);
    }

done:
    for (int i = 0; i < STREAMS; i++)
        if (readers[i].file != NULL)
            fclose(readers[i].file);
    json_decref(result);
    nas_job_free(job);
    nas_store_close(v.store);
    return status;
}

const cli_command cmd_jobs_logs = {
    .name = "jobs logs", .summary = "what a job wrote; with --json the files that hold it",
    .arguments = "JOB", .example = "jobs logs job-1 --stream err", .tables = {log_table},
    .size = sizeof(log_options), .min_args = 1, .max_args = 1, .run = logs_run,
};
