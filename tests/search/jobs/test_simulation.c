/* The scheduler in a simulated world, driven by seeds: processes that end in every way, hang
 * or ignore signals; people who cancel and retry; loops that die and are started again.  The
 * invariants are those of docs/reference/jobs.md. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "base/rng.h"
#include "search/jobs/schedule.h"

enum { SEEDS = 10000, MAX_JOBS = 24, CORES = 4, MEMORY = 1000, GRACE = 100, LIVE_UNTIL = 60000 };

/* What the store would hold of a job, and its process. */
typedef struct thing {
    nas_job job;
    nas_job_need needs[3];
    int need_count;
    bool running, termed, killed, stubborn;
    bool untold;     /* cancelled, and the scheduler does not know           */
    bool refused;    /* its start was, because of that                       */
    bool has_ended;  /* once at least                                        */
    bool poisoned;   /* crashes at once, always alike                        */
    int64_t started, ends_at, killed_at, step;
    struct {
        nas_job_cause cause;
        int code, signal;
        int64_t step;
    } end;           /* of the last attempt that this loop saw               */
    int alike;       /* such ends in a row                                   */
    int code, signal;
} thing;

typedef struct world {
    uint64_t seed;
    nas_rng rng;
    int64_t now;
    int count;
    thing things[MAX_JOBS];
    nas_schedule *schedule;
    bool faults; /* false: from now on everything goes well */
} world;

#define check(w, condition, id)                                                              \
    cr_assert((condition), "seed %llu, time %lld, job %lld: %s", (unsigned long long)(w)->seed, \
              (long long)(w)->now, (long long)(id), #condition)

static int64_t draw(world *w, int64_t most)
{
    return nas_rng_below(&w->rng, (uint32_t)most + 1);
}

static bool chance(world *w, int percent)
{
    return w->faults && nas_rng_below(&w->rng, 100) < (uint32_t)percent;
}

static thing *of(world *w, int64_t id)
{
    return &w->things[id - 1];
}

static void make_jobs(world *w)
{
    w->count = 1 + (int)draw(w, MAX_JOBS - 1);
    for (int i = 0; i < w->count; i++) {
        thing *t = &w->things[i];

        t->poisoned = draw(w, 9) == 0;
        t->job = (nas_job){.id = i + 1, .cores = 1 + (int)draw(w, CORES - 1),
                           .memory_mib = draw(w, MEMORY), .priority = (int)draw(w, 2),
                           .retries = (int)draw(w, 4), .time_limit_s = draw(w, 1) * draw(w, 3),
                           .hang_limit_s = draw(w, 1) * (1 + draw(w, 2))};
        for (int k = 0; i > 0 && k < draw(w, 3); k++)
            t->needs[t->need_count++] = (nas_job_need){.job = 1 + draw(w, i - 1),
                                                       .any = draw(w, 1)};
    }
}

static void add(world *w, thing *t)
{
    for (int k = 0; k < t->need_count; k++)
        t->needs[k].state = of(w, t->needs[k].job)->job.state;
    cr_assert_eq(nas_schedule_add(w->schedule, &t->job, t->needs, t->need_count, NULL), NAS_OK);
}

/* A loop begins: what was running is lost and queued again, as the store's recovery does. */
static void begin_loop(world *w)
{
    const nas_schedule_limits limits = {.cores = CORES, .memory_mib = MEMORY, .grace_ms = GRACE,
                                        .patience_ms = 2000};

    cr_assert_eq(nas_schedule_new(&w->schedule, &limits, NULL), NAS_OK);
    for (int i = 0; i < w->count; i++) {
        thing *t = &w->things[i];

        t->running = t->untold = false;
        t->alike = 0;
        if (t->job.state == NAS_JOB_RUNNING)
            t->job.state = t->job.cancel ? NAS_JOB_CANCELLED : NAS_JOB_QUEUED;
        t->job.cancel = false;
        t->has_ended = t->has_ended || nas_job_state_ended(t->job.state);
    }
    for (int i = 0; i < w->count; i++)
        if (w->things[i].job.state == NAS_JOB_QUEUED)
            add(w, &w->things[i]);
}

/* ---- actions, with what must hold ---- */

static void check_slots(world *w, int64_t id)
{
    int64_t cores = 0, memory = 0;

    for (int i = 0; i < w->count; i++)
        if (w->things[i].running) {
            cores += w->things[i].job.cores;
            memory += w->things[i].job.memory_mib;
        }
    check(w, cores <= CORES && memory <= MEMORY, id);
}

static void start(world *w, thing *t, const nas_schedule_action *a)
{
    check(w, !t->running, a->job);                        /* one process a job           */
    check(w, t->job.state == NAS_JOB_QUEUED, a->job);     /* an end is final             */
    check(w, a->attempt == t->job.attempt + 1, a->job);   /* attempts count up           */
    for (int k = 0; k < t->need_count; k++) {
        const thing *needed = of(w, t->needs[k].job);

        check(w, needed->job.state == NAS_JOB_DONE || (t->needs[k].any && needed->has_ended),
              a->job);
    }
    t->job.state = NAS_JOB_RUNNING;
    t->job.attempt = a->attempt;
    t->running = true;
    t->termed = t->killed = false;
    t->stubborn = chance(w, 20);
    t->started = w->now;
    t->step = -1;
    t->ends_at = chance(w, 10) ? INT64_MAX : w->now + draw(w, 3000);
    check_slots(w, a->job);
}

/* Three ends that are the same, of a kind that does not pass, and only these. */
static void check_quarantine(world *w, thing *t, const nas_schedule_action *a)
{
    const bool same = t->alike > 0 && t->end.cause == a->cause && t->end.step == t->step &&
                      t->end.code == t->code && t->end.signal == t->signal;

    t->alike = same ? t->alike + 1 : 1;
    t->end.cause = a->cause;
    t->end.step = t->step;
    t->end.code = t->code;
    t->end.signal = t->signal;
    check(w, (a->job_state == NAS_JOB_QUARANTINED) ==
                 (nas_job_rule_of(a->cause)->poison && t->alike >= 3), a->job);
}

static void finish(world *w, thing *t, const nas_schedule_action *a)
{
    check(w, t->job.state == NAS_JOB_RUNNING && a->attempt == t->job.attempt, a->job);
    check(w, a->job_state != NAS_JOB_RUNNING, a->job);
    check(w, a->failures >= t->job.failures && a->failures <= t->job.retries, a->job);
    check(w, a->cause != NAS_CAUSE_DONE || a->job_state == NAS_JOB_DONE, a->job);
    check(w, !t->job.cancel || t->untold || nas_job_state_ended(a->job_state), a->job);
    check_quarantine(w, t, a);
    t->job.state = t->job.cancel && a->job_state == NAS_JOB_QUEUED ? NAS_JOB_CANCELLED
                                                                   : a->job_state;
    t->job.cancel = false;
    t->job.failures = a->failures;
    t->has_ended = t->has_ended || nas_job_state_ended(t->job.state);
}

static void carry_out(world *w)
{
    nas_schedule_action a;

    while (nas_schedule_next(w->schedule, &a)) {
        thing *t = of(w, a.job);

        if (a.what == NAS_SCHEDULE_START && chance(w, 3)) { /* the disk is full, say */
            nas_schedule_unstart(w->schedule, a.job, a.attempt);
            nas_schedule_hold(w->schedule, true);
        } else if (a.what == NAS_SCHEDULE_START && t->untold) { /* the store refuses it */
            t->refused = true;
            nas_schedule_exit(w->schedule, a.job, a.attempt, NAS_CAUSE_CANCELLED, -1, 0, w->now);
        } else if (a.what == NAS_SCHEDULE_END && t->refused) {
            check(w, a.job_state == NAS_JOB_CANCELLED, a.job);
            t->refused = false;
        } else if (a.what == NAS_SCHEDULE_START) {
            start(w, t, &a);
        } else if (a.what == NAS_SCHEDULE_END) {
            finish(w, t, &a);
        } else if (a.what == NAS_SCHEDULE_TERM) {
            check(w, t->running && !t->termed, a.job);
            t->termed = true;
            t->killed_at = w->now + GRACE;
            if (!t->stubborn)
                t->ends_at = w->now + draw(w, GRACE - 1);
        } else {
            check(w, t->running && t->termed && !t->killed, a.job); /* asked before killed */
            check(w, w->now >= t->killed_at, a.job);
            t->killed = true;
            t->ends_at = w->now;
        }
    }
}

/* ---- events ---- */

static void end_process(world *w, thing *t)
{
    static const struct {
        int code, signal;
    } ends[] = {{0, 0}, {1, 0}, {2, 0}, {3, 0}, {65, 0}, {71, 0}, {74, 0}, {75, 0}, {78, 0},
                {143, 0}, {-1, SIGKILL}, {-1, SIGSEGV}, {-1, SIGTERM}, {200, 0}};
    int code = 0, number = 0;

    if (t->killed) {
        code = -1;
        number = SIGKILL;
    } else if (t->termed) {
        code = 75;
    } else if (w->faults && t->poisoned) {
        code = -1;
        number = SIGSEGV;
    } else if (chance(w, 60)) {
        const int i = (int)draw(w, sizeof ends / sizeof *ends - 1);

        code = ends[i].code;
        number = ends[i].signal;
    }
    t->running = false;
    t->code = code;
    t->signal = number;
    nas_schedule_exit(w->schedule, t->job.id, t->job.attempt,
                      chance(w, 3) ? NAS_CAUSE_NOT_STARTED
                                   : nas_job_cause_of(code, number, chance(w, 20)),
                      code, number, w->now);
    if (chance(w, 10)) /* the same news again, and old ones */
        nas_schedule_exit(w->schedule, t->job.id, draw(w, 3), NAS_CAUSE_DONE, 0, 0, w->now);
}

static void tell_cancelled(world *w, thing *t)
{
    t->untold = false;
    nas_schedule_cancel(w->schedule, t->job.id, w->now);
    carry_out(w);
    check(w, !t->running || t->termed, t->job.id);
}

static void cancel(world *w, thing *t)
{
    t->untold = true;
    if (t->job.state == NAS_JOB_QUEUED)
        t->job.state = NAS_JOB_CANCELLED;
    else
        t->job.cancel = true;
    t->has_ended = t->has_ended || t->job.state == NAS_JOB_CANCELLED;
    if (draw(w, 1))
        tell_cancelled(w, t);
}

static void happen(world *w)
{
    for (int i = 0; i < w->count; i++)
        if (w->things[i].untold && draw(w, 1))
            tell_cancelled(w, &w->things[i]);
    for (int i = 0; i < w->count; i++) {
        thing *t = &w->things[i];

        if (t->running && t->ends_at <= w->now)
            end_process(w, t);
        else if (t->running && !t->poisoned && draw(w, 2) > 0)
            nas_schedule_step(w->schedule, t->job.id, t->job.attempt,
                              t->step = w->now - t->started, w->now);
        if (t->running && chance(w, 5))
            nas_schedule_memory(w->schedule, t->job.id, t->job.attempt, draw(w, MEMORY), w->now);
        carry_out(w); /* as the loop does: the store knows of one end before the next thing */
    }
    thing *t = &w->things[draw(w, w->count - 1)];
    if (draw(w, 3) == 0)
        nas_schedule_hold(w->schedule, false);
    if (chance(w, 2) && !nas_job_state_ended(t->job.state)) {
        cancel(w, t);
    } else if (chance(w, 2) && nas_job_state_ended(t->job.state) &&
               t->job.state != NAS_JOB_DONE) {
        t->job.state = NAS_JOB_QUEUED;
        t->job.failures = t->alike = 0;
        t->untold = false;
        add(w, t);
    }
    carry_out(w);
    if (chance(w, 1)) { /* kill -9; what is written stays */
        nas_schedule_free(w->schedule);
        begin_loop(w);
    }
}

static void run_world(uint64_t seed)
{
    world w = {.seed = seed, .faults = true};

    nas_rng_init(&w.rng, seed, "jobs.simulation", 0);
    make_jobs(&w);
    begin_loop(&w);
    for (; w.now < LIVE_UNTIL || !nas_schedule_idle(w.schedule); w.now += 1 + draw(&w, 300)) {
        w.faults = w.now < LIVE_UNTIL / 4;
        if (!w.faults && w.now > LIVE_UNTIL / 4 + 301)
            for (int i = 0; i < w.count; i++) /* what hung before goes on now */
                if (w.things[i].running && w.things[i].ends_at == INT64_MAX)
                    w.things[i].ends_at = w.now;
        happen(&w);
        nas_schedule_tick(w.schedule, w.now);
        carry_out(&w);
        if (nas_schedule_wait(w.schedule, w.now) == 0) /* nothing due may be left undone */
            check(&w, false, 0);
        cr_assert_lt(w.now, 1000000, "seed %llu does not come to rest", (unsigned long long)seed);
    }
    /* At rest: everything has ended, or waits for something that did not get done. */
    for (int i = 0; i < w.count; i++) {
        const thing *t = &w.things[i];
        bool stuck = false;

        check(&w, t->job.state != NAS_JOB_RUNNING, t->job.id);
        for (int k = 0; k < t->need_count; k++) {
            const nas_job_state state = of(&w, t->needs[k].job)->job.state;

            stuck = stuck || !(state == NAS_JOB_DONE ||
                               (t->needs[k].any && nas_job_state_ended(state)));
        }
        check(&w, t->job.state != NAS_JOB_QUEUED || stuck, t->job.id);
    }
    nas_schedule_free(w.schedule);
}

Test(jobs_simulation, ten_thousand_worlds_keep_the_invariants, .timeout = 120)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        run_world(seed);
}
