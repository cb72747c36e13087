/* The job loop on libuv.  One turn: take what happened to the scheduler, write what it decided
 * in one transaction, and only then start and signal processes. */
#include "search/jobs/loop.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/system.h"
#include "search/jobs/process.h"
#include "search/jobs/schedule.h"

enum {
    PATIENCE_MS = 300000,
    POLL_MS = 300,        /* looks for what the command line changed                      */
    SAVE_MS = 5000,       /* notes steps                                                  */
    LINGER_MS = 1000,     /* for pipes that somebody holds although the process is gone   */
    STORE_WAIT_MS = 1000, /* for a lock: who holds it may be a hung job, which must be ended */
    STORE_RETRY_MS = 1000, /* after a write that failed                                   */
    STORE_PATIENCE_MS = 60000,
    STOP_PATIENCE_MS = 3000, /* of one that was asked to stop, and whose processes have ended */
    READ_TRIES = 5,       /* of a job that starts; each waits for a lock */
    READ_PAUSE_MS = 100
};

typedef struct loop {
    nas_store *store;
    char *store_dir;      /* absolute */
    const nas_jobs_options *options;
    nas_jobs_tally *tally;
    int64_t number, saved_ms;
    int64_t reads_fail_since, writes_fail_since, retry_at; /* of the store; -1: it works */
    int64_t leave_fails_since, leave_at; /* likewise, of the last write, that it ends     */
    nas_schedule *schedule;
    nas_jobs__process *processes;
    uv_loop_t uv;
    uv_timer_t timer, poll;
    uv_signal_t signals[3];
    bool poll_due;
    bool news, reload;    /* to be read: what the command line changed; the whole queue */
    int stops, stops_seen; /* signals that asked to stop */
    nas_job_change *changes; /* to be written at the end of the turn */
    int change_count, change_room;
} loop;

static int64_t now_ms(const loop *l)
{
    return (int64_t)uv_now(&l->uv);
}

static nas_jobs__process *find(const loop *l, int64_t job)
{
    nas_jobs__process *p = l->processes;

    while (p && p->job != job)
        p = p->next;
    return p;
}

static nas_status add_change(loop *l, nas_job_change change, nas_err *err)
{
    if (l->change_count == l->change_room) {
        const int room = 2 * l->change_room + 64;
        nas_job_change *grown = realloc(l->changes, (size_t)room * sizeof *grown);

        if (!grown)
            return nas_fail(err, NAS_E_NOMEM, "job loop");
        l->changes = grown;
        l->change_room = room;
    }
    l->changes[l->change_count++] = change;
    return NAS_OK;
}

/* ---- what happened ---- */

static nas_status add_job(loop *l, const nas_job *job, nas_err *err)
{
    nas_job_need *needs = NULL;
    int count = 0;
    nas_status status = nas_store_job_needs(l->store, job->id, &needs, &count, err);

    if (!status)
        status = nas_schedule_add(l->schedule, job, needs, count, err);
    free(needs);
    return status;
}

/* True for a failure of the store that can pass: it is locked, or the disk is full.  Jobs go
 * on meanwhile, and what shall be written is kept. */
static bool may_pass(loop *l, int64_t *since, nas_status status, const nas_err *why)
{
    nas_job_loop holder;

    if ((status != NAS_E_FAIL && status != NAS_E_IO) ||
        (nas_store_loop_get(l->store, &holder, NULL) == NAS_OK && holder.number != l->number))
        return false;
    uv_update_time(&l->uv); /* the store may have waited long for a lock */
    if (*since < 0) {
        *since = now_ms(l);
        nas_log(NAS_LOG_WARN, "%s; tries again for %d s", why->message, STORE_PATIENCE_MS / 1000);
    }
    return now_ms(l) - *since < STORE_PATIENCE_MS;
}

/* Takes up what the command line has added and changed. */
static nas_status take_news(loop *l, nas_err *err)
{
    nas_jobs news;
    nas_status status = nas_store_jobs_news(l->store, l->number, l->reload, &news, err);

    if (status)
        return status;
    l->reload = true; /* unless all of these are taken up */
    for (int i = 0; i < news.count && !status; i++) {
        const nas_job *job = &news.jobs[i];

        if (job->state == NAS_JOB_QUEUED)
            status = add_job(l, job, err);
        else if (job->cancel || job->state == NAS_JOB_CANCELLED)
            nas_schedule_cancel(l->schedule, job->id, now_ms(l));
    }
    nas_jobs_fini(&news);
    if (!status)
        l->news = l->reload = false;
    return status;
}

/* True if there is something that the store must know before the loop may sleep. */
static bool is_urgent(const loop *l)
{
    for (int i = 0; i < l->change_count; i++)
        if (l->changes[i].event == NAS_JOB_STARTS || l->changes[i].event == NAS_JOB_ENDS)
            return true;
    return false;
}

/* Not while an end could not be written: what the store says of that job is older. */
static nas_status look_for_news(loop *l, nas_err *err)
{
    bool changed = false;
    nas_status status = nas_store_changed(l->store, &changed, err);

    l->poll_due = false;
    l->news = l->news || changed;
    if (!status && (l->news || l->reload) && !is_urgent(l))
        status = take_news(l, err);
    if (status)
        return may_pass(l, &l->reads_fail_since, status, err) ? NAS_OK : status;
    l->reads_fail_since = -1;
    return NAS_OK;
}

static nas_job_cause cause_of(const nas_jobs__process *p)
{
    return p->spawned ? nas_job_cause_of(p->code, p->signal, p->memory_short)
                      : NAS_CAUSE_NOT_STARTED;
}

static void take_ends_and_steps(loop *l)
{
    const int64_t now = now_ms(l);

    for (nas_jobs__process *p = l->processes; p; p = p->next) {
        if (p->stepped)
            nas_schedule_step(l->schedule, p->job, p->attempt, p->step, now);
        p->stepped = false;
        if (nas_jobs__process_ended(p))
            nas_schedule_exit(l->schedule, p->job, p->attempt, cause_of(p), p->code,
                              p->signal, now);
        else if (p->exited && now - p->exited_ms >= LINGER_MS)
            nas_jobs__process_hang_up(p);
    }
}

static void look_at_memory(loop *l)
{
    for (const nas_jobs__process *p = l->processes; p; p = p->next)
        nas_schedule_memory(l->schedule, p->job, p->attempt, nas_jobs__process_memory_mib(p),
                            now_ms(l));
}

/* ---- what follows ---- */

static nas_status note_end(loop *l, const nas_schedule_action *a, nas_err *err)
{
    const nas_job_rule *rule = nas_job_rule_of(a->cause);
    nas_jobs__process *p = find(l, a->job); /* NULL: its start was refused */
    nas_job_change change = {
        .event = NAS_JOB_ENDS, .job = a->job, .attempt = a->attempt, .cause = rule->name,
        .attempt_state = rule->state, .job_state = a->job_state, .failures = a->failures,
        .code = p ? p->code : -1, .signal = p ? p->signal : 0, .step = p ? p->step : -1,
        .peak_rss_mib = p ? p->peak_rss_mib : NAN, .tail = p ? p->tail : NULL};

    if (!p)
        return NAS_OK;
    snprintf(change.phase, sizeof change.phase, "%s", p->phase);
    if (a->job_state != NAS_JOB_QUEUED)
        nas_log(a->job_state == NAS_JOB_DONE ? NAS_LOG_INFO : NAS_LOG_WARN,
                "job %s: %s (%s)", p->name, nas_job_state_name(a->job_state), rule->why);
    else if (a->delay_ms == 0)
        nas_log(NAS_LOG_INFO, "job %s: attempt %lld: %s; queued again", p->name,
                (long long)a->attempt, rule->why);
    else
        nas_log(NAS_LOG_WARN, "job %s: attempt %lld: %s; again in %.0f s", p->name,
                (long long)a->attempt, rule->why, (double)a->delay_ms / 1000);
    l->tally->ended[a->job_state] += a->job_state != NAS_JOB_QUEUED;
    return add_change(l, change, err);
}

/* The scheduler's actions become changes of the store and signals. */
static nas_status carry_out(loop *l, nas_err *err)
{
    nas_schedule_action a;
    nas_status status = NAS_OK;

    while (!status && nas_schedule_next(l->schedule, &a)) {
        const nas_jobs__process *p = find(l, a.job);

        if (a.what == NAS_SCHEDULE_START)
            status = add_change(l, (nas_job_change){.event = NAS_JOB_STARTS, .job = a.job,
                                                    .attempt = a.attempt}, err);
        else if (a.what == NAS_SCHEDULE_END)
            status = note_end(l, &a, err);
        else if (p)
            nas_jobs__process_signal(p, a.what == NAS_SCHEDULE_TERM ? SIGTERM : SIGKILL);
    }
    return status;
}

static void forget_ended(loop *l)
{
    for (nas_jobs__process **at = &l->processes; *at;) {
        nas_jobs__process *p = *at;

        if (nas_jobs__process_ended(p)) {
            *at = p->next;
            nas_jobs__process_free(p);
        } else {
            at = &p->next;
        }
    }
}

static nas_status save_steps(loop *l, nas_err *err)
{
    nas_status status = NAS_OK;

    if (now_ms(l) - l->saved_ms < SAVE_MS)
        return NAS_OK;
    l->saved_ms = now_ms(l);
    for (nas_jobs__process *p = l->processes; p && !status; p = p->next)
        if (p->unsaved) {
            nas_job_change change = {.event = NAS_JOB_STEPPED, .job = p->job,
                                     .attempt = p->attempt, .step = p->step,
                                     .peak_rss_mib = p->peak_rss_mib};

            snprintf(change.phase, sizeof change.phase, "%s", p->phase);
            p->unsaved = false;
            status = add_change(l, change, err);
        }
    return status;
}

/* ---- starting ---- */

/* `args` NULL: it cannot start, and `why` says so. */
static nas_status start_process(loop *l, const nas_job *job, const json_t *args, const char *why,
                                int64_t attempt, nas_err *err)
{
    char threads[16];
    char **argv = NULL, *out = nas_store_job_log(l->store, job->id, attempt, "out");
    char *errors = nas_store_job_log(l->store, job->id, attempt, "err");
    nas_jobs__process *p = NULL;

    snprintf(threads, sizeof threads, "%d", job->cores);
    if ((argv = nas_jobs__argv(args, threads)) && out && errors) {
        const nas_jobs__command command = {
            .job = job->id, .attempt = attempt, .name = job->name, .folder = job->folder,
            .store = l->store_dir, .argv = argv, .out_path = out, .err_path = errors,
            .log_bytes = l->options->log_bytes, .refused = args ? NULL : why};

        p = nas_jobs__process_start(&l->uv, &command);
    } else {
        free(out);
        free(errors);
    }
    free(argv);
    if (!p)
        return nas_fail(err, NAS_E_NOMEM, "job %s: out of memory", job->name);
    p->next = l->processes;
    l->processes = p;
    l->tally->attempts++;
    if (p->spawned)
        nas_log(NAS_LOG_DEBUG, "job %s: attempt %lld is process %lld", p->name,
                (long long)attempt, (long long)p->pid);
    return p->spawned ? add_change(l, (nas_job_change){.event = NAS_JOB_SPAWNED, .job = job->id,
                                                       .attempt = attempt, .pid = p->pid}, err)
                      : NAS_OK;
}

static nas_status read_job(loop *l, const char *id, nas_job **job, json_t **args, nas_err *err)
{
    const nas_status status = nas_store_job_get(l->store, id, job, err);

    return status ? status : nas_store_job_words(l->store, (*job)->args, args, err);
}

/* A store that is locked for a moment is no failure of the job. */
static nas_status start_job(loop *l, int64_t job, int64_t attempt, nas_err *err)
{
    char id[32];
    nas_job *found = NULL, unread = {.id = job, .folder = (char *)"?"};
    json_t *args = NULL;
    nas_err why = {0};
    nas_status status;

    snprintf(id, sizeof id, "%lld", (long long)job);
    snprintf(unread.name, sizeof unread.name, "%s", id);
    for (int tries = 1; (status = read_job(l, id, &found, &args, &why)) == NAS_E_FAIL ||
                        status == NAS_E_IO; tries++) {
        nas_log(NAS_LOG_WARN, "job %s: %s", id, why.message);
        if (tries == READ_TRIES)
            break;
        nas_job_free(found);
        found = NULL;
        uv_sleep(READ_PAUSE_MS);
    }
    if (status == NAS_E_NOMEM)
        status = nas_fail(err, NAS_E_NOMEM, "job %s: out of memory", id);
    else
        status = start_process(l, found ? found : &unread, args, why.message, attempt, err);
    json_decref(args);
    nas_job_free(found);
    return status;
}

/* After a write that failed: nothing starts until it is tried again. */
static void take_starts_back(loop *l)
{
    int kept = 0;

    for (int i = 0; i < l->change_count; i++)
        if (l->changes[i].event == NAS_JOB_STARTS)
            nas_schedule_unstart(l->schedule, l->changes[i].job, l->changes[i].attempt);
        else
            l->changes[kept++] = l->changes[i];
    l->change_count = kept;
}

static bool is_stopped(const loop *l)
{
    const nas_jobs__process *p = l->processes;

    while (p && nas_jobs__process_ended(p))
        p = p->next;
    return l->stops > 0 && !p;
}

/* After a write that failed.  Who is asked to stop waits but for a moment once all processes have
 * ended: the next loop finds these attempts running, and queues their jobs again. */
static nas_status give_up_or_wait(loop *l, nas_status status, nas_err *err)
{
    const nas_err why = *err;

    if (!may_pass(l, &l->writes_fail_since, status, err))
        return status;
    l->retry_at = now_ms(l) + STORE_RETRY_MS;
    if (!is_stopped(l) || now_ms(l) - l->writes_fail_since < STOP_PATIENCE_MS)
        return NAS_OK;
    return nas_fail(err, NAS_E_INTERRUPTED, "the job loop was stopped, and could not write how its "
                    "last jobs ended: %s", why.message);
}

/* Writes what is due; starts what was allowed to.  Process ids come into the next turn's. */
static nas_status write_and_start(loop *l, nas_err *err)
{
    nas_job_change *changes = l->changes;
    const int count = l->change_count;
    nas_status status = NAS_OK;

    if (count == 0) { /* also when only starts had failed, which were taken back */
        l->writes_fail_since = l->retry_at = -1;
        return NAS_OK;
    }
    if ((status = nas_store_jobs_write(l->store, l->number, changes, count, err))) {
        take_starts_back(l);
        return give_up_or_wait(l, status, err);
    }
    l->changes = NULL;
    l->change_count = l->change_room = 0;
    l->writes_fail_since = l->retry_at = -1;
    forget_ended(l);
    for (int i = 0; i < count && !status; i++) {
        const nas_job_change *c = &changes[i];

        if (c->event != NAS_JOB_STARTS)
            continue;
        if (c->refused) /* it was cancelled meanwhile */
            nas_schedule_exit(l->schedule, c->job, c->attempt, NAS_CAUSE_CANCELLED, -1, 0,
                              now_ms(l));
        else
            status = start_job(l, c->job, c->attempt, err);
    }
    free(changes);
    return status;
}

static nas_status turn(loop *l, nas_err *err)
{
    const bool polled = l->poll_due;
    nas_status status = polled ? look_for_news(l, err) : NAS_OK;

    if (status)
        return status;
    take_ends_and_steps(l);
    if (polled)
        look_at_memory(l);
    if (l->stops > l->stops_seen) {
        l->stops_seen = l->stops;
        nas_log(NAS_LOG_INFO, l->stops > 1 ? "stopping at once"
                                           : "stopping: jobs write their checkpoints; once more "
                                             "to stop at once");
        nas_schedule_stop(l->schedule, l->stops > 1, now_ms(l));
    }
    nas_schedule_hold(l->schedule, now_ms(l) < l->retry_at);
    nas_schedule_tick(l->schedule, now_ms(l));
    if ((status = carry_out(l, err)) || (polled && (status = save_steps(l, err))))
        return status;
    return (is_urgent(l) || polled) && now_ms(l) >= l->retry_at ? write_and_start(l, err) : NAS_OK;
}

/* ---- libuv ---- */

static void on_timer(uv_timer_t *timer)
{
    /* it only ends the sleep */
}

static void on_poll(uv_timer_t *timer)
{
    loop *l = timer->data;

    l->poll_due = true;
}

static void on_signal(uv_signal_t *handle, int number)
{
    loop *l = handle->data;

    if (number != SIGHUP)
        l->stops++;
    else if (l->stops == 0) /* a terminal that closes may say so twice */
        l->stops = 1;
}

static bool is_ignored(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static nas_status open_handles(loop *l, nas_err *err)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

    const nas_status status = nas_jobs__uv_init(&l->uv, "job loop", err);
    int failed = 0;

    if (status)
        return status;
    uv_timer_init(&l->uv, &l->timer);
    uv_timer_init(&l->uv, &l->poll);
    l->poll.data = l;
    uv_timer_start(&l->poll, on_poll, 0, POLL_MS);
    for (int i = 0; i < 3; i++) {
        uv_signal_init(&l->uv, &l->signals[i]);
        l->signals[i].data = l;
        if (!is_ignored(numbers[i])) /* as nohup asks for */
            failed = failed ? failed : uv_signal_start(&l->signals[i], on_signal, numbers[i]);
    }
    return failed ? nas_fail(err, NAS_E_FAIL, "job loop: signals: %s", uv_strerror(failed))
                  : NAS_OK;
}

static void close_walk(uv_handle_t *handle, void *user)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Processes that still run get SIGTERM from the kernel when we end; one from us beside it would
 * be their second, at which they write no checkpoint. */
static void close_handles(loop *l)
{
    uv_walk(&l->uv, close_walk, NULL);
    while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0)
        ;
    uv_loop_close(&l->uv);
    while (l->processes) {
        nas_jobs__process *p = l->processes;

        l->processes = p->next;
        nas_jobs__process_free(p);
    }
}

/* Sleeps until something happens or is due; not at all if a decision is open. */
static void sleep_until_due(loop *l)
{
    int64_t wait = nas_schedule_wait(l->schedule, now_ms(l));
    bool ended = false;

    for (const nas_jobs__process *p = l->processes; p; p = p->next) {
        ended = ended || (nas_jobs__process_ended(p) && l->retry_at < 0);
        if (p->exited && (wait < 0 || wait > LINGER_MS))
            wait = LINGER_MS;
    }
    if (wait >= 0)
        uv_timer_start(&l->timer, on_timer, (uint64_t)wait, 0);
    uv_run(&l->uv, ended ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    uv_timer_stop(&l->timer);
}

/* ---- the whole ---- */

/* Queues again what an earlier loop left running, and ends what is left of its processes. */
static nas_status recover(loop *l, nas_err *err)
{
    nas_job_orphan *orphans;
    int count;
    const nas_status status = nas_store_jobs_recover(l->store, l->number, &orphans, &count, err);

    for (int i = 0; i < count; i++)
        if (orphans[i].pid > 0)
            kill(-(pid_t)orphans[i].pid, SIGKILL);
    if (count > 0)
        nas_log(NAS_LOG_WARN, "%d jobs were lost when the loop before this one died; they are "
                "queued again", count);
    free(orphans);
    return status;
}

/* What runs on a cluster is for its loop to end. */
static nas_status check_places(nas_store *store, nas_err *err)
{
    nas_job_place *places;
    int count;
    nas_status status = nas_store_jobs_places(store, &places, &count, err);

    free(places);
    if (status || count == 0)
        return status;
    status = nas_fail(err, NAS_E_CONFIG, "%d jobs of this store are tasks of Slurm", count);
    nas_hint(err, "follow them first: nas jobs run --on slurm");
    return status;
}

static nas_status prepare(loop *l, nas_err *err)
{
    const nas_schedule_limits limits = {.cores = l->options->cores,
                                        .memory_mib = l->options->memory_mib,
                                        .grace_ms = l->options->grace_ms,
                                        .patience_ms = PATIENCE_MS};
    char *logs = nas_path_join(nas_store_dir(l->store), "jobs");
    bool changed;
    nas_status status = logs ? nas_dir_make(logs, err) : nas_fail(err, NAS_E_NOMEM, "job loop");

    free(logs);
    if (status)
        return status;
    if (nas_store_network(l->store))
        nas_log(NAS_LOG_WARN, "%s lies on a network file system (%s): keep the store on a local "
                "disk, or a second loop elsewhere may not be seen", nas_store_dir(l->store),
                nas_store_network(l->store));
    if ((status = nas_store_jobs_check(l->store, err)) || (status = check_places(l->store, err)))
        return status;
    l->store_dir = realpath(nas_store_dir(l->store), NULL);
    if (!l->store_dir)
        return nas_fail_errno(err, "%s", nas_store_dir(l->store));
    if ((status = nas_schedule_new(&l->schedule, &limits, err)) || (status = recover(l, err)) ||
        (status = nas_store_changed(l->store, &changed, err)))
        return status;
    nas_store_set_patience(l->store, STORE_WAIT_MS);
    l->reload = true;
    return NAS_OK;
}

static bool is_over(const loop *l)
{
    if (l->processes || l->change_count > 0)
        return false;
    return l->stops > 0 || (!l->options->watch && !l->news && !l->reload &&
                            now_ms(l) >= l->leave_at && nas_schedule_idle(l->schedule));
}

/* Ends the loop for all others, unless there is something new for it.  Waits for a disk that is
 * full; where even that does not help the next loop finds it dead. */
static bool leaves(loop *l)
{
    nas_err why;
    bool left;
    const nas_status status = nas_store_loop_release(l->store, l->number, &left, &why);

    if (status && may_pass(l, &l->leave_fails_since, status, &why)) {
        l->leave_at = now_ms(l) + STORE_RETRY_MS;
        return false;
    }
    l->leave_fails_since = -1;
    l->news = !status && !left;
    return !l->news;
}

static nas_status run(loop *l, nas_err *err)
{
    nas_status status = prepare(l, err);

    if (status || (status = open_handles(l, err)))
        return status;
    while (!(status = turn(l, err))) {
        if (!is_over(l))
            sleep_until_due(l);
        /* what was asked for in the last moment counts, too */
        else if (l->stops > 0 || (status = look_for_news(l, err)) || (is_over(l) && leaves(l)))
            break;
    }
    close_handles(l);
    l->tally->waiting = nas_schedule_waiting(l->schedule);
    if (!status && l->stops > 0)
        status = nas_fail(err, NAS_E_INTERRUPTED, "the job loop was stopped; %d jobs wait",
                          l->tally->waiting);
    return status;
}

nas_status nas_jobs_run(nas_store *store, const nas_jobs_options *options, nas_jobs_tally *out,
                        nas_err *err)
{
    loop l = {.store = store, .options = options, .tally = out, .reads_fail_since = -1,
              .writes_fail_since = -1, .retry_at = -1, .leave_fails_since = -1};
    nas_err ignored;
    nas_status status = nas_store_loop_claim(store, options->cores, options->memory_mib,
                                             options->take_over, &l.number, err);

    *out = (nas_jobs_tally){0};
    if (status)
        return status;
    status = run(&l, err);
    out->peak_rss_mib = nas_system_peak_rss_mib();
    nas_store_loop_release(store, l.number, NULL, &ignored);
    nas_schedule_free(l.schedule);
    free(l.changes);
    free(l.store_dir);
    return status;
}
