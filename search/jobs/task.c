/* A small loop around one process: its steps and its end become records, signals are passed on,
 * and a later attempt's directory means that this one must end. */
#include "search/jobs/task.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process.h"
#include "base/system.h"
#include "search/jobs/cause.h"
#include "search/jobs/process.h"
#include "search/store/spool.h"

enum { LOOK_MS = 1000, STEP_MS = 5000, LINGER_MS = 1000, SIGNALS = 3, REQUEUE_TRIES = 3 };

static const double requeue_seconds = 60;
static const unsigned requeue_pause_s = 2;

/* An entry of the batch file; strings are borrowed from its JSON. */
typedef struct entry {
    const char *store, *name, *folder;
    const json_t *words;
    int64_t job, attempt, cores, time_limit_s, hang_limit_s, grace_ms, log_bytes;
} entry;

typedef struct task {
    entry entry;
    char *job_dir, *dir;
    nas_spool *spool;
    uv_loop_t uv;
    uv_timer_t timer;
    uv_signal_t signals[SIGNALS];
    nas_jobs__process *process;
    nas_job_cause ending; /* why it is being ended; COUNT: it is not */
    bool requeue;         /* SIGUSR1 came                            */
    int64_t begun_ms, stepped_ms, told_ms, asked_ms /* -1: not, or killed already */;
} task;

/* ---- the batch file ---- */

static nas_status read_entry(entry *e, const json_t *batch, const char *where, int64_t index,
                             nas_err *err)
{
    const json_t *tasks = json_object_get(batch, "tasks");
    const json_t *one = index >= 0 ? json_array_get(tasks, (size_t)index) : NULL;
    nas_status status;

    if (!one)
        return nas_fail(err, NAS_E_DATA, "%s: there is no task %" PRId64, where, index);
    if ((status = nas_json_str(batch, where, "store", true, &e->store, err)) ||
        (status = nas_json_int(batch, where, "grace_ms", true, 0, INT32_MAX, &e->grace_ms, err)) ||
        (status = nas_json_int(batch, where, "log_bytes", true, 0, INT64_MAX, &e->log_bytes,
                               err)) ||
        (status = nas_json_str(one, where, "name", true, &e->name, err)) ||
        (status = nas_json_str(one, where, "folder", true, &e->folder, err)) ||
        (status = nas_json_int(one, where, "job", true, 1, INT64_MAX, &e->job, err)) ||
        (status = nas_json_int(one, where, "attempt", true, 1, INT32_MAX, &e->attempt, err)) ||
        (status = nas_json_int(one, where, "cores", true, 1, 1 << 20, &e->cores, err)) ||
        (status = nas_json_int(one, where, "time_limit_s", true, 0, INT32_MAX, &e->time_limit_s,
                               err)) ||
        (status = nas_json_int(one, where, "hang_limit_s", true, 0, INT32_MAX, &e->hang_limit_s,
                               err)))
        return status;
    e->words = json_object_get(one, "words");
    const size_t count = json_array_size(e->words);
    bool fine = count >= 1 && count <= NAS_JOB_MAX_ARGS;
    for (size_t i = 0; i < count; i++)
        fine = fine && json_is_string(json_array_get(e->words, i));
    return fine ? NAS_OK : nas_fail(err, NAS_E_DATA, "%s: task %" PRId64 " has no command line",
                                    where, index);
}

/* ---- beginning ---- */

/* Whoever makes the directory has the attempt. */
static nas_status claim(task *t, nas_err *err)
{
    const int64_t attempt = t->entry.attempt;
    nas_status status;

    if (asprintf(&t->job_dir, "%s/spool/%" PRId64, t->entry.store, t->entry.job) < 0) {
        t->job_dir = NULL;
        return nas_fail(err, NAS_E_NOMEM, "task");
    }
    if (asprintf(&t->dir, "%s/%" PRId64, t->job_dir, attempt) < 0) {
        t->dir = NULL;
        return nas_fail(err, NAS_E_NOMEM, "task");
    }
    if ((status = nas_dir_make(t->job_dir, err)))
        return status;
    const int64_t latest = nas_spool_latest_attempt(t->job_dir);
    if (latest >= attempt || (mkdir(t->dir, 0777) != 0 && errno == EEXIST))
        return nas_fail(err, NAS_E_FAIL, "job %s: attempt %" PRId64 " was superseded: there is "
                        "attempt %" PRId64, t->entry.name, attempt,
                        latest > attempt ? latest : attempt);
    if (!nas_path_is_dir(t->dir))
        return nas_fail_errno(err, "%s", t->dir);
    char *path = nas_path_join(t->dir, "task");
    status = path ? nas_spool_open(&t->spool, path, t->entry.job, attempt, NULL, NULL, err)
                  : nas_fail(err, NAS_E_NOMEM, "task");
    free(path);
    return status;
}

static nas_status start(task *t, nas_err *err)
{
    const entry *e = &t->entry;
    char threads[24], *store = NULL, *out = NULL, *errors = NULL;
    const char *format = "%s/jobs/%" PRId64 ".%" PRId64 ".%s"; /* as nas_store_job_log */

    snprintf(threads, sizeof threads, "%" PRId64, e->cores);
    char **argv = nas_jobs__argv(e->words, threads);
    store = asprintf(&store, NAS_STORE_SPOOL "%s", t->dir) < 0 ? NULL : store;
    out = asprintf(&out, format, e->store, e->job, e->attempt, "out") < 0 ? NULL : out;
    errors = asprintf(&errors, format, e->store, e->job, e->attempt, "err") < 0 ? NULL : errors;
    if (argv && store && out && errors) {
        const nas_jobs__command command = {
            .job = e->job, .attempt = e->attempt, .name = e->name, .folder = e->folder,
            .store = store, .argv = argv, .out_path = out, .err_path = errors,
            .log_bytes = e->log_bytes};

        t->process = nas_jobs__process_start(&t->uv, &command);
    } else {
        free(out);
        free(errors);
    }
    free(store);
    free(argv);
    return t->process ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "job %s", e->name);
}

/* ---- while it runs ---- */

static int64_t now_ms(const task *t)
{
    return (int64_t)uv_now(&t->uv);
}

static void end(task *t, nas_job_cause cause)
{
    if (t->ending != NAS_CAUSE_COUNT)
        return;
    t->ending = cause;
    t->asked_ms = now_ms(t);
    nas_jobs__process_signal(t->process, SIGTERM);
}

static void on_signal(uv_signal_t *handle, int number)
{
    task *t = handle->data;

    t->requeue = t->requeue || number == SIGUSR1;
    end(t, NAS_CAUSE_INTERRUPTED);
}

static void on_timer(uv_timer_t *timer)
{
    /* it only ends the sleep */
}

/* The loop of the store finds the end by a record; a step that is lost does not matter. */
static void tell_step(task *t)
{
    const nas_jobs__process *p = t->process;
    nas_err why;

    t->told_ms = now_ms(t);
    if (p->step < 0 || p->exited ||
        nas_spool_put(t->spool, json_pack("{s:s, s:I, s:s, s:f}", "op", "step", "step",
                                          (json_int_t)p->step, "phase", p->phase, "peak_rss_mib",
                                          p->peak_rss_mib),
                      false, &why) == NAS_OK)
        return;
    nas_log(NAS_LOG_WARN, "%s", why.message);
}

static void look(task *t)
{
    const entry *e = &t->entry;
    nas_jobs__process *p = t->process;
    const int64_t now = now_ms(t);

    if (p->stepped)
        t->stepped_ms = now;
    p->stepped = false;
    if (p->exited && now - p->exited_ms >= LINGER_MS)
        nas_jobs__process_hang_up(p);
    if (nas_spool_latest_attempt(t->job_dir) > e->attempt) {
        if (t->ending == NAS_CAUSE_COUNT)
            nas_log(NAS_LOG_WARN, "job %s: a later attempt has begun: this one ends", e->name);
        end(t, NAS_CAUSE_KILLED);
    }
    if (e->time_limit_s > 0 && now - t->begun_ms >= 1000 * e->time_limit_s)
        end(t, NAS_CAUSE_TIME_LIMIT);
    if (e->hang_limit_s > 0 && now - t->stepped_ms >= 1000 * e->hang_limit_s)
        end(t, NAS_CAUSE_HUNG);
    if (t->asked_ms >= 0 && now - t->asked_ms >= e->grace_ms) {
        t->asked_ms = -1;
        nas_jobs__process_signal(p, SIGKILL);
    }
    if (now - t->told_ms >= STEP_MS)
        tell_step(t);
}

static void run(task *t)
{
    t->begun_ms = t->stepped_ms = t->told_ms = now_ms(t);
    while (!nas_jobs__process_ended(t->process)) {
        look(t);
        uv_timer_start(&t->timer, on_timer, LOOK_MS, 0);
        uv_run(&t->uv, UV_RUN_ONCE);
    }
}

/* ---- the end ---- */

static nas_job_cause cause_of(const task *t)
{
    const nas_jobs__process *p = t->process;
    const nas_job_cause cause = p->spawned ? nas_job_cause_of(p->code, p->signal, p->memory_short)
                                           : NAS_CAUSE_NOT_STARTED;

    return cause != NAS_CAUSE_DONE && t->ending != NAS_CAUSE_COUNT ? t->ending : cause;
}

/* The tail of stderr may be cut within a character: bytes that are no UTF-8 become '?'. */
static json_t *tail_of(nas_jobs__process *p)
{
    json_t *text = json_string(p->tail);

    for (size_t i = 0; !text && i < p->tail_size; i++)
        p->tail[i] = (unsigned char)p->tail[i] < 0x80 ? p->tail[i] : '?';
    return text ? text : json_string(p->tail);
}

static nas_status tell_end(task *t, nas_err *err)
{
    nas_jobs__process *p = t->process;
    const nas_job_cause cause = cause_of(t);
    const nas_job_rule *rule = nas_job_rule_of(cause);
    nas_status status = nas_spool_put(
        t->spool, json_pack("{s:s, s:s, s:i, s:i, s:I, s:s, s:o, s:o}", "op", "ended", "cause",
                            rule->name, "code", p->spawned ? p->code : -1, "signal", p->signal,
                            "step", (json_int_t)p->step, "phase", p->phase, "peak_rss_mib",
                            p->peak_rss_mib >= 0 ? json_real(p->peak_rss_mib) : json_null(),
                            "tail", tail_of(p)),
        true, err);

    if (status || cause == NAS_CAUSE_DONE)
        return status;
    return nas_fail(err, cause == NAS_CAUSE_INTERRUPTED ? NAS_E_INTERRUPTED : NAS_E_FAIL,
                    "job %s: attempt %" PRId64 ": %s", t->entry.name, t->entry.attempt, rule->why);
}

/* Slurm ends this process when it has queued it again, maybe before we read its answer.  A busy
 * one may not hear at once: as long as this process lives, the job loop does nothing about it. */
static void put_back(const char *id)
{
    const char *const argv[] = {"scontrol", "requeue", id, NULL};
    nas_err why;

    for (int i = 0; i < REQUEUE_TRIES; i++) {
        if (i > 0)
            sleep(requeue_pause_s);
        if (nas_process_run(argv, NULL, requeue_seconds, NULL, 0, &why) == NAS_OK)
            return;
        nas_log(NAS_LOG_WARN, "%s", why.message);
    }
    nas_log(NAS_LOG_WARN, "the job loop will queue it again");
}

static void close_walk(uv_handle_t *handle, void *user)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static nas_status open_handles(task *t, nas_err *err)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGUSR1};
    int failed = 0;

    uv_timer_init(&t->uv, &t->timer);
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(&t->uv, &t->signals[i]);
        t->signals[i].data = t;
        failed = failed ? failed : uv_signal_start(&t->signals[i], on_signal, numbers[i]);
    }
    return failed ? nas_fail(err, NAS_E_FAIL, "task: signals: %s", uv_strerror(failed)) : NAS_OK;
}

static nas_status run_attempt(task *t, nas_err *err)
{
    char host[256];
    nas_status status = nas_jobs__uv_init(&t->uv, "task", err);

    if (status)
        return status;
    nas_system_host(host, sizeof host);
    if (!(status = open_handles(t, err)) &&
        !(status = nas_spool_put(t->spool, json_pack("{s:s, s:s}", "op", "began", "host", host),
                                 true, err)) &&
        !(status = start(t, err))) {
        run(t);
        status = tell_end(t, err);
    }
    uv_walk(&t->uv, close_walk, NULL);
    while (uv_run(&t->uv, UV_RUN_DEFAULT) != 0)
        ;
    uv_loop_close(&t->uv);
    nas_jobs__process_free(t->process);
    return status;
}

nas_status nas_task_run(const char *batch, int64_t index, int64_t restarts, const char *requeue,
                        nas_err *err)
{
    task t = {.ending = NAS_CAUSE_COUNT, .asked_ms = -1};
    json_t *json = NULL;
    nas_status status;

    if (!(status = nas_json_load(&json, batch, err)) &&
        !(status = read_entry(&t.entry, json, batch, index, err))) {
        t.entry.attempt += restarts;
        if (!(status = claim(&t, err)))
            status = run_attempt(&t, err);
        if (status == NAS_E_INTERRUPTED && t.requeue && requeue)
            put_back(requeue);
    }
    nas_spool_close(t.spool);
    free(t.dir);
    free(t.job_dir);
    json_decref(json);
    return status;
}
