/* The scheduler: two lists, waiting (in the order of starting) and running.  Every deadline
 * is a time in an entry; a tick looks at them all. */
#include "search/jobs/schedule.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { ALIKE_MAX = 3 /* equal failures in a row until quarantine */ };

static const int64_t first_pause_ms = 1000, longest_pause_ms = 300000;

typedef struct need {
    int64_t job;
    bool any, met;
} need;

typedef struct entry {
    int64_t id, attempt, memory_mib, time_limit_ms, hang_limit_ms;
    int cores, priority, retries, failures;
    need *needs;
    int need_count, unmet;

    int64_t not_before;   /* waiting: a pause after a failure              */
    int64_t passed_since; /* waiting: smaller jobs pass since then; -1: none */

    int64_t started, stepped, step; /* running: times, and the last step     */
    int64_t best_step;    /* of earlier attempts                            */
    nas_job_cause ending; /* running: why it is being ended; COUNT: it is not */
    int64_t kill_at;      /* running and ending: -1 once it was killed      */

    nas_job_cause last_cause; /* of the attempts before, for quarantine     */
    int last_code, last_signal, alike;
    int64_t last_step;
} entry;

typedef struct list {
    entry **items;
    int count, capacity;
} list;

struct nas_schedule {
    nas_schedule_limits limits;
    list waiting; /* higher priority first, then older */
    list running;
    int free_cores;
    int64_t free_memory;
    bool stopping, held;
    nas_schedule_action *actions; /* a queue: head..tail */
    int head, tail, capacity;
};

/* ---- lists ---- */

static bool reserve(list *l, int count)
{
    if (count <= l->capacity)
        return true;
    const int capacity = count < 2 * l->capacity ? 2 * l->capacity : count + 16;
    entry **grown = realloc(l->items, (size_t)capacity * sizeof *grown);
    if (!grown)
        return false;
    l->items = grown;
    l->capacity = capacity;
    return true;
}

static int find(const list *l, int64_t id)
{
    for (int i = 0; i < l->count; i++)
        if (l->items[i]->id == id)
            return i;
    return -1;
}

static entry *take(list *l, int index)
{
    entry *e = l->items[index];

    memmove(l->items + index, l->items + index + 1,
            (size_t)(l->count - index - 1) * sizeof *l->items);
    l->count--;
    return e;
}

static bool before(const entry *a, const entry *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->id < b->id;
}

/* Where one like this stands in the waiting list, or would. */
static int place_of(const list *l, const entry *e)
{
    int low = 0, high = l->count;

    while (low < high) {
        const int middle = low + (high - low) / 2;

        if (before(l->items[middle], e))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* There is room: nas_schedule_add made it. */
static void insert_waiting(list *l, entry *e)
{
    const int place = place_of(l, e);

    assert(l->count < l->capacity);
    memmove(l->items + place + 1, l->items + place,
            (size_t)(l->count - place) * sizeof *l->items);
    l->items[place] = e;
    l->count++;
}

/* The entry of a job that waits, NULL if it does not. */
static entry *find_waiting(const list *l, const nas_job *job)
{
    const entry like = {.id = job->id, .priority = job->priority};
    const int place = place_of(l, &like);

    return place < l->count && l->items[place]->id == job->id ? l->items[place] : NULL;
}

static void entry_free(entry *e)
{
    if (e)
        free(e->needs);
    free(e);
}

/* ---- life ---- */

nas_status nas_schedule_new(nas_schedule **out, const nas_schedule_limits *limits, nas_err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return nas_fail(err, NAS_E_NOMEM, "scheduler");
    (*out)->limits = *limits;
    (*out)->free_cores = limits->cores;
    (*out)->free_memory = limits->memory_mib;
    return NAS_OK;
}

void nas_schedule_free(nas_schedule *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->waiting.count; i++)
        entry_free(s->waiting.items[i]);
    for (int i = 0; i < s->running.count; i++)
        entry_free(s->running.items[i]);
    free(s->waiting.items);
    free(s->running.items);
    free(s->actions);
    free(s);
}

/* ---- actions ---- */

/* Between two rounds of nas_schedule_next no job asks for more than a start, an end, a TERM
 * and a KILL: with room for these nothing that follows can fail. */
static bool reserve_actions(nas_schedule *s, int jobs)
{
    const int needed = 4 * jobs + 16;

    if (needed <= s->capacity)
        return true;
    nas_schedule_action *grown = realloc(s->actions, (size_t)(2 * needed) * sizeof *grown);
    if (!grown)
        return false;
    s->actions = grown;
    s->capacity = 2 * needed;
    return true;
}

static void act(nas_schedule *s, nas_schedule_action action)
{
    if (s->head == s->tail)
        s->head = s->tail = 0;
    assert(s->tail < s->capacity);
    s->actions[s->tail++] = action;
}

bool nas_schedule_next(nas_schedule *s, nas_schedule_action *out)
{
    if (s->head == s->tail)
        return false;
    *out = s->actions[s->head++];
    return true;
}

/* ---- events ---- */

static bool is_met(bool any, nas_job_state state)
{
    return state == NAS_JOB_DONE || (any && nas_job_state_ended(state));
}

/* A job that was cancelled and queued again before we saw it begins anew. */
static void refresh(entry *e, const nas_job *job)
{
    if (job->failures >= e->failures)
        return;
    e->failures = job->failures;
    e->not_before = INT64_MIN;
    e->last_cause = NAS_CAUSE_COUNT;
    e->alike = 0;
}

nas_status nas_schedule_add(nas_schedule *s, const nas_job *job, const nas_job_need *needs,
                            int need_count, nas_err *err)
{
    const int jobs = s->waiting.count + s->running.count + 1;
    entry *e = NULL;

    if ((e = find_waiting(&s->waiting, job)))
        refresh(e, job);
    if (e || find(&s->running, job->id) >= 0)
        return NAS_OK;
    if (!reserve(&s->waiting, jobs) || !reserve(&s->running, jobs) || !reserve_actions(s, jobs) ||
        !(e = calloc(1, sizeof *e)) ||
        !(e->needs = calloc((size_t)need_count + 1, sizeof *e->needs))) {
        entry_free(e);
        return nas_fail(err, NAS_E_NOMEM, "scheduler: %d jobs", jobs);
    }
    *e = (entry){.id = job->id, .attempt = job->attempt, .memory_mib = job->memory_mib,
                 .time_limit_ms = 1000 * job->time_limit_s,
                 .hang_limit_ms = 1000 * job->hang_limit_s, .cores = job->cores,
                 .priority = job->priority, .retries = job->retries, .failures = job->failures,
                 .needs = e->needs, .need_count = need_count, .passed_since = -1,
                 .not_before = INT64_MIN, .step = -1, .best_step = -1,
                 .ending = NAS_CAUSE_COUNT, .last_cause = NAS_CAUSE_COUNT};
    for (int i = 0; i < need_count; i++) {
        e->needs[i] = (need){needs[i].job, needs[i].any, is_met(needs[i].any, needs[i].state)};
        e->unmet += !e->needs[i].met;
    }
    insert_waiting(&s->waiting, e);
    return NAS_OK;
}

/* Lets go on what waited for a job that has ended. */
static void announce(nas_schedule *s, int64_t id, nas_job_state state)
{
    for (int i = 0; i < s->waiting.count; i++) {
        entry *e = s->waiting.items[i];

        for (int k = 0; e->unmet > 0 && k < e->need_count; k++)
            if (e->needs[k].job == id && !e->needs[k].met && is_met(e->needs[k].any, state)) {
                e->needs[k].met = true;
                e->unmet--;
            }
    }
}

/* Begins to end a running job, unless that has begun for another reason; what people cancelled
 * is cancelled all the same. */
static void end(nas_schedule *s, entry *e, nas_job_cause cause, int64_t now)
{
    if (e->ending != NAS_CAUSE_COUNT) {
        e->ending = cause == NAS_CAUSE_CANCELLED ? cause : e->ending;
        return;
    }
    e->ending = cause;
    e->kill_at = now + s->limits.grace_ms;
    act(s, (nas_schedule_action){.what = NAS_SCHEDULE_TERM, .job = e->id, .attempt = e->attempt});
}

void nas_schedule_cancel(nas_schedule *s, int64_t job, int64_t now)
{
    int i;

    if ((i = find(&s->waiting, job)) >= 0) {
        entry_free(take(&s->waiting, i));
        announce(s, job, NAS_JOB_CANCELLED);
    } else if ((i = find(&s->running, job)) >= 0) {
        end(s, s->running.items[i], NAS_CAUSE_CANCELLED, now);
    }
}

void nas_schedule_step(nas_schedule *s, int64_t job, int64_t attempt, int64_t step, int64_t now)
{
    const int i = find(&s->running, job);
    entry *e = i < 0 ? NULL : s->running.items[i];

    if (!e || e->attempt != attempt)
        return;
    e->step = step > e->step ? step : e->step;
    e->stepped = now;
}

void nas_schedule_memory(nas_schedule *s, int64_t job, int64_t attempt, int64_t used_mib,
                         int64_t now)
{
    const int i = find(&s->running, job);
    entry *e = i < 0 ? NULL : s->running.items[i];

    if (e && e->attempt == attempt && e->memory_mib > 0 && used_mib > e->memory_mib)
        end(s, e, NAS_CAUSE_MEMORY_LIMIT, now);
}

/* 1, 2, 4 ... seconds, give or take 30 %, so that jobs which failed together part. */
static int64_t pause_after(const entry *e)
{
    const int doublings = e->failures > 1 ? e->failures - 1 : 0;
    int64_t pause = doublings < 9 ? first_pause_ms << doublings : longest_pause_ms;
    nas_rng rng;

    nas_rng_init(&rng, (uint64_t)e->id, "jobs.pause", (uint64_t)e->attempt);
    pause = pause < longest_pause_ms ? pause : longest_pause_ms;
    return (int64_t)((double)pause * (0.7 + 0.6 * nas_rng_uniform(&rng)));
}

/* Counts equal failures in a row; true if there were too many. */
static bool poisonous(entry *e, nas_job_cause cause, int code, int signal)
{
    const bool same = e->last_cause == cause && e->last_code == code &&
                      e->last_signal == signal && e->last_step == e->step;

    e->alike = same ? e->alike + 1 : 1;
    e->last_cause = cause;
    e->last_code = code;
    e->last_signal = signal;
    e->last_step = e->step;
    return nas_job_rule_of(cause)->poison && e->alike >= ALIKE_MAX;
}

/* What becomes of a job whose attempt ended; sets its pause. */
static nas_job_state judge(entry *e, nas_job_cause cause, int code, int signal, int64_t *delay)
{
    const nas_job_rule *rule = nas_job_rule_of(cause);
    const bool further = e->step > e->best_step;

    *delay = 0;
    e->best_step = further ? e->step : e->best_step;
    if (poisonous(e, cause, code, signal))
        return NAS_JOB_QUARANTINED;
    if (rule->retry == NAS_RETRY_ALWAYS || (rule->retry == NAS_RETRY_FREE && further))
        return NAS_JOB_QUEUED;
    if (rule->retry == NAS_RETRY_NEVER || e->failures >= e->retries)
        return rule->state;
    e->failures++;
    *delay = pause_after(e);
    return NAS_JOB_QUEUED;
}

void nas_schedule_exit(nas_schedule *s, int64_t job, int64_t attempt, nas_job_cause cause,
                       int code, int signal, int64_t now)
{
    const int i = find(&s->running, job);
    int64_t delay;

    if (i < 0 || s->running.items[i]->attempt != attempt)
        return;
    entry *e = take(&s->running, i);
    s->free_cores += e->cores;
    s->free_memory += e->memory_mib;
    if (cause != NAS_CAUSE_DONE && e->ending != NAS_CAUSE_COUNT)
        cause = e->ending; /* one that finished although it was asked to stop is done */
    const nas_job_state state = judge(e, cause, code, signal, &delay);
    act(s, (nas_schedule_action){.what = NAS_SCHEDULE_END, .job = job, .attempt = attempt,
                                 .cause = cause, .job_state = state, .failures = e->failures,
                                 .delay_ms = delay});
    if (state != NAS_JOB_QUEUED) {
        entry_free(e);
        announce(s, job, state);
        return;
    }
    e->not_before = now + delay;
    e->passed_since = -1;
    e->step = -1;
    e->ending = NAS_CAUSE_COUNT;
    insert_waiting(&s->waiting, e);
}

void nas_schedule_unstart(nas_schedule *s, int64_t job, int64_t attempt)
{
    const int i = find(&s->running, job);

    if (i < 0 || s->running.items[i]->attempt != attempt)
        return;
    entry *e = take(&s->running, i);
    s->free_cores += e->cores;
    s->free_memory += e->memory_mib;
    e->attempt--;
    e->ending = NAS_CAUSE_COUNT;
    insert_waiting(&s->waiting, e);
}

void nas_schedule_hold(nas_schedule *s, bool hold)
{
    s->held = hold;
}

void nas_schedule_stop(nas_schedule *s, bool now, int64_t now_ms)
{
    s->stopping = true;
    for (int i = 0; i < s->running.count; i++) {
        entry *e = s->running.items[i];

        end(s, e, NAS_CAUSE_LOOP_ENDED, now_ms);
        if (now && e->kill_at >= 0)
            e->kill_at = now_ms;
    }
}

/* ---- time ---- */

/* When a running job must be looked at again by itself; INT64_MAX: never. */
static int64_t deadline(const entry *e)
{
    int64_t at = INT64_MAX;

    if (e->ending != NAS_CAUSE_COUNT)
        return e->kill_at >= 0 ? e->kill_at : INT64_MAX;
    if (e->time_limit_ms > 0)
        at = e->started + e->time_limit_ms;
    if (e->hang_limit_ms > 0 && e->stepped + e->hang_limit_ms < at)
        at = e->stepped + e->hang_limit_ms;
    return at;
}

static void check_running(nas_schedule *s, int64_t now)
{
    for (int i = 0; i < s->running.count; i++) {
        entry *e = s->running.items[i];

        if (now < deadline(e))
            continue;
        if (e->ending == NAS_CAUSE_COUNT) {
            const bool late = e->time_limit_ms > 0 && now >= e->started + e->time_limit_ms;

            end(s, e, late ? NAS_CAUSE_TIME_LIMIT : NAS_CAUSE_HUNG, now);
        } else {
            e->kill_at = -1;
            act(s, (nas_schedule_action){.what = NAS_SCHEDULE_KILL, .job = e->id,
                                         .attempt = e->attempt});
        }
    }
}

static bool fits_machine(const nas_schedule *s, const entry *e)
{
    return e->cores <= s->limits.cores && e->memory_mib <= s->limits.memory_mib;
}

static bool can_start(const nas_schedule *s, const entry *e)
{
    return e->unmet == 0 && fits_machine(s, e);
}

static void start(nas_schedule *s, int index, int64_t now)
{
    entry *e = take(&s->waiting, index);

    e->attempt++;
    e->started = e->stepped = now;
    s->free_cores -= e->cores;
    s->free_memory -= e->memory_mib;
    s->running.items[s->running.count++] = e;
    act(s, (nas_schedule_action){.what = NAS_SCHEDULE_START, .job = e->id, .attempt = e->attempt});
}

static void start_waiting(nas_schedule *s, int64_t now)
{
    for (int i = 0; i < s->waiting.count && s->free_cores > 0;) {
        entry *e = s->waiting.items[i];

        if (!can_start(s, e) || e->not_before > now) {
            i++;
        } else if (e->cores <= s->free_cores && e->memory_mib <= s->free_memory) {
            start(s, i, now);
        } else {
            e->passed_since = e->passed_since < 0 ? now : e->passed_since;
            if (now - e->passed_since >= s->limits.patience_ms)
                return; /* nothing smaller goes before it any more */
            i++;
        }
    }
}

void nas_schedule_tick(nas_schedule *s, int64_t now)
{
    check_running(s, now);
    if (!s->stopping && !s->held)
        start_waiting(s, now);
}

/* ---- questions ---- */

int64_t nas_schedule_wait(const nas_schedule *s, int64_t now)
{
    int64_t at = INT64_MAX;

    for (int i = 0; i < s->running.count; i++) {
        const int64_t due = deadline(s->running.items[i]);
        at = due < at ? due : at;
    }
    /* what could start now but found no room is looked at when something ends */
    for (int i = 0; i < s->waiting.count && s->free_cores > 0 && !s->stopping; i++) {
        const entry *e = s->waiting.items[i];

        if (can_start(s, e) && e->not_before > now && e->not_before < at)
            at = e->not_before;
    }
    return at == INT64_MAX ? -1 : at > now ? at - now : 0;
}

bool nas_schedule_idle(const nas_schedule *s)
{
    if (s->running.count > 0)
        return false;
    for (int i = 0; i < s->waiting.count && !s->stopping; i++)
        if (can_start(s, s->waiting.items[i]))
            return false;
    return true;
}

int nas_schedule_running(const nas_schedule *s)
{
    return s->running.count;
}

int nas_schedule_waiting(const nas_schedule *s)
{
    return s->waiting.count;
}
