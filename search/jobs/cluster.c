/* One turn: take what the command line changed, what the spools say and what Slurm says to the
 * scheduler; write what it decided in one transaction; only then submit and cancel. */
#include "search/jobs/cluster.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/system.h"
#include "search/jobs/cluster_batch.h"
#include "search/jobs/schedule.h"
#include "search/store/spool.h"

enum {
    ANY_CORES = 1 << 30, /* Slurm has the slots, not the loop                             */
    GONE_LOOKS = 3,      /* so often Slurm says that a task is over or waits again, or knows it no
                          * more, before that counts: what it wrote last may not be seen yet */
    STORE_PATIENCE_MS = 60000 /* for a lock */
};

static const int64_t any_memory = INT64_C(1) << 60;

/* The last attempt of a job that was handed over; it stays while the job may be started again. */
typedef struct member {
    nas_job_place place;
    bool running;              /* false: its attempt ended, and the next one has not begun */
    bool ended;                /* it said so itself                                         */
    nas_job_cause cause;       /* of that                                                   */
    int code, signal, unseen;  /* unseen: looks in a row at which Slurm had it no more, or again */
    nas_slurm_task slurm;      /* what Slurm said last                                      */
    nas_spool_place told;      /* in its file `task`                                        */
    bool damaged;              /* its spool; said once                                      */
    int64_t step;
    double peak_rss_mib;
    bool stepped;
    char phase[NAS_STORE_NAME_SIZE], host[256];
    char *tail;
    char *tail_before; /* of the attempt before: its end may not be written yet */
} member;

typedef struct cluster {
    nas_store *store;
    nas_jobs__batcher batcher;
    const nas_cluster_options *options;
    nas_jobs_tally *tally;
    nas_schedule *schedule;
    int64_t number;
    member *members;
    int member_count;
    bool reload, slurm_known;
    nas_job_change *changes;
    int change_count;
    nas_jobs__start *starts;
    int start_count;
} cluster;

static int64_t now_ms(void)
{
    return (int64_t)(nas_clock_seconds() * 1000);
}

/* Room for one more in an array; doubles at powers of two. */
static nas_status grow(void **items, int count, size_t size, nas_err *err)
{
    if (count & (count - 1))
        return NAS_OK;
    void *grown = realloc(*items, (size_t)(count ? 2 * count : 1) * size);
    if (!grown)
        return nas_fail(err, NAS_E_NOMEM, "job loop");
    *items = grown;
    return NAS_OK;
}

static nas_status add_change(cluster *c, nas_job_change change, nas_err *err)
{
    const nas_status status = grow((void **)&c->changes, c->change_count, sizeof *c->changes, err);

    if (!status)
        c->changes[c->change_count++] = change;
    return status;
}

static member *find(const cluster *c, int64_t job)
{
    for (int i = 0; i < c->member_count; i++)
        if (c->members[i].place.job == job)
            return &c->members[i];
    return NULL;
}

static nas_status add_member(cluster *c, const nas_job_place *place, nas_err *err)
{
    member *m = find(c, place->job);
    char *tail_before = NULL;
    nas_status status = NAS_OK;

    if (!m && !(status = grow((void **)&c->members, c->member_count, sizeof *c->members, err))) {
        m = &c->members[c->member_count++];
    } else if (m) {
        free(m->tail_before);
        tail_before = m->tail;
    }
    if (status)
        return status;
    *m = (member){.place = *place, .running = true, .step = -1, .peak_rss_mib = NAN, .code = -1,
                  .cause = NAS_CAUSE_COUNT, .tail_before = tail_before};
    return NAS_OK;
}

static void forget_member(cluster *c, int64_t job)
{
    member *m = find(c, job);

    if (!m)
        return;
    free(m->tail);
    free(m->tail_before);
    *m = c->members[--c->member_count];
}

/* ---- what the command line changed ---- */

/* Limits of time are the task's own affair, on its node. */
static nas_status add_job(cluster *c, const nas_job *job, nas_err *err)
{
    nas_job here = *job;
    nas_job_need *needs = NULL;
    int count = 0;
    nas_status status = nas_store_job_needs(c->store, job->id, &needs, &count, err);

    here.time_limit_s = here.hang_limit_s = 0;
    if (!status)
        status = nas_schedule_add(c->schedule, &here, needs, count, err);
    free(needs);
    return status;
}

static nas_status take_news(cluster *c, nas_err *err)
{
    nas_jobs news;
    nas_status status = nas_store_jobs_news(c->store, c->number, c->reload, &news, err);

    for (int i = 0; i < (status ? 0 : news.count) && !status; i++) {
        const nas_job *job = &news.jobs[i];

        if (job->state == NAS_JOB_QUEUED)
            status = add_job(c, job, err);
        else if (job->cancel || job->state == NAS_JOB_CANCELLED)
            nas_schedule_cancel(c->schedule, job->id, now_ms());
    }
    nas_jobs_fini(&news);
    c->reload = status != NAS_OK;
    return status;
}

/* ---- what the tasks say ---- */

static void copy_text(const json_t *record, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(record, key));

    if (text && nas_store_name_check(text, key, NULL) == NAS_OK)
        snprintf(out, size, "%s", text);
}

static nas_job_cause cause_named(const char *name)
{
    for (int i = 0; name && i < NAS_CAUSE_COUNT; i++)
        if (strcmp(nas_job_rule_of(i)->name, name) == 0)
            return i;
    return NAS_CAUSE_ERROR;
}

static nas_status take_word(void *user, const json_t *record, nas_err *err)
{
    member *m = user;
    const char *op = json_string_value(json_object_get(record, "op"));
    const json_t *rss = json_object_get(record, "peak_rss_mib");
    const json_int_t step = json_integer_value(json_object_get(record, "step"));

    if (!op)
        return NAS_OK;
    if (strcmp(op, "began") == 0) {
        const char *host = json_string_value(json_object_get(record, "host"));

        snprintf(m->host, sizeof m->host, "%s", host ? host : "");
        return NAS_OK;
    }
    m->stepped = m->stepped || step > m->step;
    m->step = step > m->step ? step : m->step;
    m->peak_rss_mib = json_is_number(rss) ? json_number_value(rss) : NAN;
    copy_text(record, "phase", m->phase, sizeof m->phase);
    if (strcmp(op, "ended") == 0) {
        const char *tail = json_string_value(json_object_get(record, "tail"));

        m->ended = true;
        m->cause = cause_named(json_string_value(json_object_get(record, "cause")));
        m->code = (int)json_integer_value(json_object_get(record, "code"));
        m->signal = (int)json_integer_value(json_object_get(record, "signal"));
        free(m->tail);
        m->tail = tail ? strndup(tail, NAS_JOB_TAIL_SIZE - 1) : NULL;
    }
    return NAS_OK;
}

/* What cannot be read now may be readable later: on a network file system a file may be seen
 * before its content.  Only failures of the store itself are ours. */
static nas_status read_spool(cluster *c, member *m, nas_err *err)
{
    const nas_job_place *p = &m->place;
    char *path = nas_store_spool_path(c->store, p->job, p->attempt, "task");
    nas_store_taken taken;
    nas_err why = {0};

    if (!path)
        return nas_fail(err, NAS_E_NOMEM, "spool");
    nas_status status = nas_spool_read(path, p->job, p->attempt, 0, &m->told, take_word, m, &why);
    free(path);
    if (!status) /* after its end was read: then nothing more comes */
        status = nas_store_spool_take(c->store, c->number, p->job, p->attempt, &taken, &why);
    if (status == NAS_E_DATA) {
        if (!m->damaged)
            nas_log(NAS_LOG_WARN, "%s", why.message);
        m->damaged = true;
        status = NAS_OK;
    }
    if (status && err)
        *err = why;
    return status;
}

static nas_status read_spools(cluster *c, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int i = 0; i < c->member_count && !status; i++) {
        member *m = &c->members[i];

        if (!m->running)
            continue;
        const bool new_host = m->host[0] == '\0';
        if ((status = read_spool(c, m, err)))
            break;
        if (m->stepped) {
            nas_job_change change = {.event = NAS_JOB_STEPPED, .job = m->place.job,
                                     .attempt = m->place.attempt, .step = m->step,
                                     .peak_rss_mib = m->peak_rss_mib};

            nas_schedule_step(c->schedule, m->place.job, m->place.attempt, m->step, now_ms());
            snprintf(change.phase, sizeof change.phase, "%s", m->phase);
            m->stepped = false;
            status = add_change(c, change, err);
        }
        if (!status && new_host && m->host[0] != '\0')
            status = add_change(c, (nas_job_change){.event = NAS_JOB_PLACED, .job = m->place.job,
                                                    .attempt = m->place.attempt, .host = m->host},
                                err);
    }
    return status;
}

/* ---- what Slurm says ---- */

static int by_place(const void *a, const void *b)
{
    const nas_slurm_task *x = a, *y = b;

    return x->id != y->id ? (x->id > y->id) - (x->id < y->id)
                          : (x->task > y->task) - (x->task < y->task);
}

/* The id of an array whose submission was not written down: the loop died at that moment. */
static int64_t id_by_name(const nas_slurm_task *tasks, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(tasks[i].name, name) == 0)
            return tasks[i].id;
    return 0;
}

static void note_slurm(member *m, const nas_slurm_task *tasks, int count)
{
    nas_slurm_task key = {.id = m->place.slurm, .task = m->place.task};

    if (key.id == 0)
        key.id = m->place.slurm = id_by_name(tasks, count, m->place.batch);
    const nas_slurm_task *found =
        count > 0 ? bsearch(&key, tasks, (size_t)count, sizeof *tasks, by_place) : NULL;
    m->slurm = found ? *found : (nas_slurm_task){.state = NAS_SLURM_ABSENT};
    const bool again = m->slurm.state == NAS_SLURM_PENDING && m->told.records > 0;
    m->unseen = m->slurm.state == NAS_SLURM_ABSENT || m->slurm.state == NAS_SLURM_ENDED || again
                    ? m->unseen + 1 : 0;
    if (!found && m->unseen >= GONE_LOOKS && !m->ended &&
        nas_slurm_ended(m->place.slurm, m->place.task, &m->slurm.cause))
        m->slurm.state = NAS_SLURM_ENDED;
}

/* Slurm's controller may be away for a while: then nothing is concluded, and nothing starts. */
static void ask_slurm(cluster *c)
{
    nas_slurm_task *tasks = NULL;
    int count = 0;
    nas_err why = {0};
    const bool known = nas_slurm_list(&tasks, &count, &why) == NAS_OK;

    if (!known && c->slurm_known)
        nas_log(NAS_LOG_WARN, "%s; tries again", why.message);
    c->slurm_known = known;
    nas_schedule_hold(c->schedule, !known);
    if (count > 0)
        qsort(tasks, (size_t)count, sizeof *tasks, by_place);
    for (int i = 0; i < c->member_count && c->slurm_known; i++)
        note_slurm(&c->members[i], tasks, count);
    free(tasks);
}

/* True if Slurm itself has started a later attempt. */
static bool has_later(const cluster *c, const member *m)
{
    char *path = nas_store_spool_path(c->store, m->place.job, m->place.attempt, NULL);
    bool later = false;

    if (path) {
        *strrchr(path, '/') = '\0';
        later = nas_spool_latest_attempt(path) > m->place.attempt;
    }
    free(path);
    return later;
}

/* The end of an attempt, from what its task and Slurm say; COUNT: it goes on. */
static nas_job_cause judge(const cluster *c, const member *m)
{
    const nas_slurm_state state = m->slurm.state;

    if (m->ended && m->cause == NAS_CAUSE_DONE)
        return NAS_CAUSE_DONE;
    if (has_later(c, m))
        return m->ended ? m->cause : NAS_CAUSE_KILLED;
    if (!c->slurm_known || state == NAS_SLURM_RUNNING)
        return NAS_CAUSE_COUNT;
    if (m->ended && (m->cause != NAS_CAUSE_INTERRUPTED || state == NAS_SLURM_PENDING))
        return m->cause;
    if (state == NAS_SLURM_ENDED && m->slurm.cause == NAS_CAUSE_CANCELLED)
        return NAS_CAUSE_CANCELLED;
    if (m->unseen < GONE_LOOKS) /* also of one that was interrupted: it may be queued again yet */
        return NAS_CAUSE_COUNT;
    return m->ended ? m->cause : state == NAS_SLURM_ENDED ? m->slurm.cause : NAS_CAUSE_KILLED;
}

static nas_status take_ends(cluster *c, nas_err *err)
{
    for (int i = 0; i < c->member_count; i++) {
        member *m = &c->members[i];
        nas_job_cause cause = m->running ? judge(c, m) : NAS_CAUSE_COUNT;
        nas_status status;

        /* It may have spoken between the look at its spool and that at Slurm. */
        if (cause != NAS_CAUSE_COUNT && !m->ended) {
            if ((status = read_spool(c, m, err)))
                return status;
            cause = judge(c, m);
        }
        if (cause != NAS_CAUSE_COUNT)
            nas_schedule_exit(c->schedule, m->place.job, m->place.attempt, cause, m->code,
                              m->signal, now_ms());
    }
    return NAS_OK;
}

/* ---- what follows ---- */

static void cancel_task(const member *m)
{
    const bool there = m->slurm.state == NAS_SLURM_PENDING || m->slurm.state == NAS_SLURM_RUNNING;
    nas_err why;

    if (m->place.slurm > 0 && there &&
        nas_slurm_cancel(m->place.slurm, m->place.task, &why) != NAS_OK)
        nas_log(NAS_LOG_WARN, "%s", why.message);
}

static nas_status note_end(cluster *c, const nas_schedule_action *a, nas_err *err)
{
    const nas_job_rule *rule = nas_job_rule_of(a->cause);
    member *m = find(c, a->job);
    nas_job_change change = {.event = NAS_JOB_ENDS, .job = a->job, .attempt = a->attempt,
                             .cause = rule->name, .attempt_state = rule->state,
                             .job_state = a->job_state, .failures = a->failures, .code = -1,
                             .step = -1, .peak_rss_mib = NAN, .batch = ""};

    if (m && m->place.attempt == a->attempt) {
        change.code = m->code;
        change.signal = m->signal;
        change.step = m->step;
        change.peak_rss_mib = m->peak_rss_mib;
        change.tail = m->tail;
        snprintf(change.phase, sizeof change.phase, "%s", m->phase);
        m->running = false;
    }
    nas_log(a->job_state == NAS_JOB_DONE || a->job_state == NAS_JOB_QUEUED ? NAS_LOG_INFO
                                                                          : NAS_LOG_WARN,
            "job %" PRId64 ": attempt %" PRId64 ": %s; %s", a->job, a->attempt, rule->why,
            nas_job_state_name(a->job_state));
    c->tally->ended[a->job_state] += a->job_state != NAS_JOB_QUEUED;
    return add_change(c, change, err);
}

/* An attempt that Slurm has queued again or started by itself is followed, not submitted. */
static nas_status adopt(cluster *c, member *m, int64_t attempt, nas_err *err)
{
    nas_job_place place = m->place;

    place.attempt = attempt;
    const nas_slurm_task slurm = m->slurm;
    nas_status status = add_member(c, &place, err);
    if (status)
        return status;
    m->slurm = slurm;
    return add_change(c, (nas_job_change){.event = NAS_JOB_STARTS, .job = place.job,
                                          .attempt = attempt, .batch = m->place.batch,
                                          .task = place.task, .slurm = place.slurm}, err);
}

/* Words that cannot be made end the attempt before it begins, as on one machine. */
static nas_status prepare_start(cluster *c, const nas_schedule_action *a, nas_err *err)
{
    char id[32];
    nas_jobs__start s = {.attempt = a->attempt};
    nas_err why = {0};
    nas_status status;

    snprintf(id, sizeof id, "%" PRId64, a->job);
    if ((status = nas_store_job_get(c->store, id, &s.job, err)) ||
        (status = grow((void **)&c->starts, c->start_count, sizeof *c->starts, err))) {
        nas_job_free(s.job);
        return status;
    }
    status = nas_store_job_words(c->store, s.job->args, &s.words, &why);
    if (status)
        s.why = strdup(why.message);
    c->starts[c->start_count++] = s;
    return status && !s.why ? nas_fail(err, NAS_E_NOMEM, "job %s", s.job->name) : NAS_OK;
}

static nas_status carry_out(cluster *c, nas_err *err)
{
    nas_schedule_action a;
    nas_status status = NAS_OK;

    while (!status && nas_schedule_next(c->schedule, &a)) {
        member *m = find(c, a.job);

        if (a.what == NAS_SCHEDULE_END)
            status = note_end(c, &a, err);
        else if (a.what == NAS_SCHEDULE_TERM && m)
            cancel_task(m);
        else if (a.what == NAS_SCHEDULE_START && m && m->running)
            status = NAS_OK; /* found running when this loop began */
        else if (a.what == NAS_SCHEDULE_START && m && (m->slurm.state == NAS_SLURM_PENDING ||
                                                       has_later(c, m)))
            status = adopt(c, m, a.attempt, err);
        else if (a.what == NAS_SCHEDULE_START && m && m->slurm.state == NAS_SLURM_RUNNING)
            nas_schedule_unstart(c->schedule, a.job, a.attempt); /* it ends, or is a later one */
        else if (a.what == NAS_SCHEDULE_START)
            status = prepare_start(c, &a, err);
        /* Slurm must not start it again; one that is done needs no end but its own. */
        if (!status && a.what == NAS_SCHEDULE_END && a.job_state != NAS_JOB_QUEUED && m &&
            (a.cause != NAS_CAUSE_DONE || m->slurm.state == NAS_SLURM_PENDING))
            cancel_task(m);
    }
    return status;
}

/* ---- arrays ---- */

/* Gives the starts their places, as members and changes, and writes the files of their arrays. */
static nas_status place_starts(cluster *c, nas_err *err)
{
    nas_status status = NAS_OK;

    nas_jobs__batch_sort(c->starts, c->start_count);
    for (int from = 0, to; from < c->start_count && !status; from = to) {
        nas_job_place place = {0};

        to = from + nas_jobs__batch_size(&c->batcher, &c->starts[from], c->start_count - from);
        nas_jobs__batch_name(&c->batcher, place.batch);
        if (c->starts[from].words)
            status = nas_jobs__batch_write(&c->batcher, place.batch, &c->starts[from], to - from,
                                           err);
        for (int i = from; i < to && !status; i++) {
            place.job = c->starts[i].job->id;
            place.attempt = c->starts[i].attempt;
            place.task = i - from;
            if (!(status = add_member(c, &place, err)))
                status = add_change(c, (nas_job_change){.event = NAS_JOB_STARTS, .job = place.job,
                                                        .attempt = place.attempt,
                                                        .task = place.task}, err);
        }
    }
    return status;
}

/* An attempt that Slurm would not take. */
static void refuse(cluster *c, int64_t job, const char *why)
{
    member *m = find(c, job);

    m->ended = true;
    m->cause = NAS_CAUSE_NOT_STARTED;
    free(m->tail);
    m->tail = strdup(why);
    nas_schedule_exit(c->schedule, job, m->place.attempt, NAS_CAUSE_NOT_STARTED, -1, 0, now_ms());
}

static nas_status submit(cluster *c, const char *name, const nas_jobs__start *s, int count,
                         nas_err *err)
{
    char *script = nas_jobs__batch_path(&c->batcher, name, ".sh");
    int64_t id = 0;
    nas_err why = {0};
    nas_status status = NAS_OK;

    if (!script)
        return nas_fail(err, NAS_E_NOMEM, "batch %s", name);
    const bool taken = s->words && nas_slurm_submit(script, &id, &why) == NAS_OK;
    free(script);
    if (taken)
        nas_log(NAS_LOG_INFO, "%d jobs are array %" PRId64 " of Slurm (%s)", count, id, name);
    else
        nas_log(NAS_LOG_WARN, "%s", s->words ? why.message : s->why);
    for (int i = 0; i < count && !status; i++) {
        if (!taken) {
            refuse(c, s[i].job->id, s->words ? why.message : s->why);
            continue;
        }
        member *m = find(c, s[i].job->id);
        m->place.slurm = id;
        m->slurm = (nas_slurm_task){.id = id, .task = m->place.task, .state = NAS_SLURM_RUNNING};
        status = add_change(c, (nas_job_change){.event = NAS_JOB_PLACED, .job = s[i].job->id,
                                                .attempt = s[i].attempt, .slurm = id}, err);
        c->tally->attempts++;
    }
    return status;
}

static void clear_starts(cluster *c)
{
    for (int i = 0; i < c->start_count; i++)
        nas_jobs__start_fini(&c->starts[i]);
    c->start_count = 0;
}

/* Names in changes are those of the members, which may have moved since. */
static void name_changes(cluster *c)
{
    for (int i = 0; i < c->change_count; i++) {
        const member *m = find(c, c->changes[i].job);

        if (c->changes[i].event == NAS_JOB_STARTS && m)
            c->changes[i].batch = m->place.batch;
        if (c->changes[i].event == NAS_JOB_PLACED && m && m->host[0])
            c->changes[i].host = m->host;
        if (c->changes[i].event == NAS_JOB_ENDS)
            c->changes[i].tail = m == NULL                                       ? NULL
                                 : m->place.attempt == c->changes[i].attempt     ? m->tail
                                 : m->place.attempt == c->changes[i].attempt + 1 ? m->tail_before
                                                                                 : NULL;
    }
}

static nas_status write_changes(cluster *c, nas_err *err)
{
    name_changes(c);
    const nas_status status = c->change_count > 0
                                  ? nas_store_jobs_write(c->store, c->number, c->changes,
                                                         c->change_count, err)
                                  : NAS_OK;
    for (int i = 0; i < c->change_count && !status; i++)
        if (c->changes[i].refused) /* it was cancelled meanwhile; its task will be, too */
            nas_schedule_exit(c->schedule, c->changes[i].job, c->changes[i].attempt,
                              NAS_CAUSE_CANCELLED, -1, 0, now_ms());
    return status;
}

static nas_status submit_all(cluster *c, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int from = 0, to; from < c->start_count && !status; from = to) {
        const member *m = find(c, c->starts[from].job->id);

        for (to = from + 1; to < c->start_count; to++) {
            const member *next = find(c, c->starts[to].job->id);

            if (!m || !next || strcmp(next->place.batch, m->place.batch) != 0)
                break;
        }
        if (m) {
            char name[NAS_STORE_NAME_SIZE];

            memcpy(name, m->place.batch, sizeof name);
            status = submit(c, name, &c->starts[from], to - from, err);
        }
    }
    return status;
}

/* ---- after the end ---- */

static void clean_up(cluster *c)
{
    for (int i = 0; i < c->change_count; i++)
        if (c->changes[i].event == NAS_JOB_ENDS && c->changes[i].job_state != NAS_JOB_QUEUED) {
            forget_member(c, c->changes[i].job);
            if (c->changes[i].job_state == NAS_JOB_DONE)
                nas_jobs__spool_remove(c->store, c->changes[i].job);
        }
    c->change_count = 0;
}

/* ---- the whole ---- */

static nas_status turn(cluster *c, nas_err *err)
{
    nas_status status;

    if ((status = take_news(c, err)) || (status = read_spools(c, err)))
        return status;
    ask_slurm(c);
    if ((status = take_ends(c, err)))
        return status;
    nas_schedule_tick(c->schedule, now_ms());
    if ((status = carry_out(c, err)) || (status = place_starts(c, err)) ||
        (status = write_changes(c, err)))
        return status;
    clean_up(c);
    if (!(status = submit_all(c, err)) && !(status = carry_out(c, err)) &&
        !(status = write_changes(c, err)))
        clean_up(c);
    clear_starts(c);
    return status;
}

/* Tasks that an earlier loop submitted are followed; to the scheduler they start now. */
static nas_status take_over_places(cluster *c, nas_err *err)
{
    nas_job_place *places;
    int count;
    nas_status status = nas_store_jobs_places(c->store, &places, &count, err);

    for (int i = 0; i < count && !status; i++) {
        char id[32];
        nas_job *job = NULL;

        snprintf(id, sizeof id, "%" PRId64, places[i].job);
        if (!(status = add_member(c, &places[i], err)) &&
            !(status = nas_store_job_get(c->store, id, &job, err))) {
            job->attempt--;
            status = nas_schedule_add(c->schedule, job, NULL, 0, err);
        }
        nas_job_free(job);
    }
    free(places);
    nas_schedule_tick(c->schedule, now_ms());
    return status ? status : carry_out(c, err);
}

static nas_status make_folders(cluster *c, nas_err *err)
{
    static const char *const names[] = {"jobs", "spool/batches"};
    nas_status status = NAS_OK;

    for (int i = 0; i < 2 && !status; i++) {
        char *path = nas_path_join(c->batcher.store_dir, names[i]);

        status = path ? nas_dir_make(path, err) : nas_fail(err, NAS_E_NOMEM, "job loop");
        free(path);
    }
    return status;
}

static nas_status prepare(cluster *c, nas_err *err)
{
    const nas_schedule_limits limits = {.cores = ANY_CORES, .memory_mib = any_memory,
                                        .grace_ms = INT32_MAX, .patience_ms = INT32_MAX};
    nas_job_orphan *orphans = NULL;
    int count = 0;
    nas_status status;

    if ((status = nas_slurm_check(&c->options->slurm, err)) ||
        (status = nas_jobs__batcher_init(&c->batcher, nas_store_dir(c->store), c->options,
                                         err)) ||
        (status = nas_store_jobs_check(c->store, err)) || (status = make_folders(c, err)) ||
        (status = nas_schedule_new(&c->schedule, &limits, err)) ||
        (status = nas_store_jobs_recover(c->store, c->number, &orphans, &count, err)))
        return status;
    for (int i = 0; i < count; i++) /* of a loop of this machine */
        if (orphans[i].pid > 0)
            kill(-(pid_t)orphans[i].pid, SIGKILL);
    free(orphans);
    if (nas_store_network(c->store))
        nas_log(NAS_LOG_INFO, "%s lies on a network file system (%s): run one loop on it, and "
                "change it from this host only", nas_store_dir(c->store),
                nas_store_network(c->store));
    nas_store_set_patience(c->store, STORE_PATIENCE_MS);
    c->batcher.loop = c->number;
    c->reload = c->slurm_known = true;
    return take_over_places(c, err);
}

static bool is_over(const cluster *c)
{
    return c->options->once || (!c->options->watch && nas_schedule_idle(c->schedule));
}

/* Sleeps until the next look; true if a signal asked to stop. */
static bool wait_for_stop(const cluster *c, const sigset_t *signals)
{
    const int64_t ms = c->options->poll_ms;
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};

    return sigtimedwait(signals, NULL, &pause) > 0;
}

static nas_status run(cluster *c, nas_err *err)
{
    sigset_t signals, before;
    bool stop = false;
    nas_status status = prepare(c, err);

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, &before);
    while (!status && !stop) {
        bool left = true;
        nas_err ignored;

        if ((status = turn(c, err)))
            break;
        if (!is_over(c))
            stop = wait_for_stop(c, &signals);
        else if (c->options->once || nas_store_loop_release(c->store, c->number, &left, &ignored) ||
                 left)
            break;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    c->tally->waiting = c->schedule ? nas_schedule_waiting(c->schedule) : 0;
    if (!status && stop) {
        status = nas_fail(err, NAS_E_INTERRUPTED, "the job loop was stopped; %d jobs go on on the "
                          "cluster, %d wait", nas_schedule_running(c->schedule), c->tally->waiting);
        nas_hint(err, "to follow them: nas jobs run --on slurm");
    }
    return status;
}

static void fini(cluster *c)
{
    clear_starts(c);
    while (c->member_count > 0)
        forget_member(c, c->members[0].place.job);
    nas_schedule_free(c->schedule);
    free(c->members);
    free(c->changes);
    free(c->starts);
    nas_jobs__batcher_fini(&c->batcher);
}

nas_status nas_cluster_run(nas_store *store, const nas_cluster_options *options,
                           nas_jobs_tally *out, nas_err *err)
{
    cluster c = {.store = store, .options = options, .tally = out};
    nas_err ignored;
    nas_status status;

    *out = (nas_jobs_tally){0};
    if ((status = nas_slurm_available(err)) ||
        (status = nas_store_loop_claim(store, ANY_CORES, any_memory, options->take_over, &c.number,
                                       err)))
        return status;
    status = run(&c, err);
    out->peak_rss_mib = nas_system_peak_rss_mib();
    nas_store_loop_release(store, c.number, NULL, &ignored);
    fini(&c);
    return status;
}
