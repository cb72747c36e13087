/* The scheduler by hand: one event after the other, and the actions that follow. */
#include <criterion/criterion.h>
#include <signal.h>

#include "search/jobs/schedule.h"

static nas_schedule *s;

static void begin(int cores)
{
    const nas_schedule_limits limits = {.cores = cores, .memory_mib = 1000, .grace_ms = 100,
                                        .patience_ms = 1000};

    cr_assert_eq(nas_schedule_new(&s, &limits, NULL), NAS_OK);
}

static nas_job job(int64_t id)
{
    return (nas_job){.id = id, .cores = 1, .retries = 3};
}

static void add(nas_job j)
{
    cr_assert_eq(nas_schedule_add(s, &j, NULL, 0, NULL), NAS_OK);
}

static void add_after(nas_job j, nas_job_need need)
{
    cr_assert_eq(nas_schedule_add(s, &j, &need, 1, NULL), NAS_OK);
}

/* A tick, then the next action, which must be this one. */
static nas_schedule_action expect(nas_schedule_what what, int64_t id, int64_t now)
{
    nas_schedule_action a = {0};

    nas_schedule_tick(s, now);
    cr_assert(nas_schedule_next(s, &a), "no action at %lld", (long long)now);
    cr_assert(a.what == what && a.job == id, "action %d of job %lld at %lld", a.what,
              (long long)a.job, (long long)now);
    return a;
}

static void expect_nothing(int64_t now)
{
    nas_schedule_action a;

    nas_schedule_tick(s, now);
    cr_assert_not(nas_schedule_next(s, &a), "action %d of job %lld", a.what, (long long)a.job);
}

static nas_schedule_action finish(int64_t id, int64_t attempt, nas_job_cause cause, int64_t now)
{
    nas_schedule_exit(s, id, attempt, cause, cause == NAS_CAUSE_DONE ? 0 : 1, 0, now);
    return expect(NAS_SCHEDULE_END, id, now);
}

static void end(void)
{
    nas_schedule_free(s);
}

TestSuite(jobs_schedule, .fini = end);

Test(jobs_schedule, jobs_start_by_priority_then_age_while_slots_last)
{
    nas_job high = job(3);

    begin(2);
    high.priority = 1;
    add(job(1));
    add(job(2));
    add(high);
    expect(NAS_SCHEDULE_START, 3, 0);
    cr_assert_eq(expect(NAS_SCHEDULE_START, 1, 0).attempt, 1);
    expect_nothing(0);
    cr_assert_eq(finish(3, 1, NAS_CAUSE_DONE, 5).job_state, NAS_JOB_DONE);
    expect(NAS_SCHEDULE_START, 2, 5);
    finish(1, 1, NAS_CAUSE_DONE, 6);
    cr_assert_not(nas_schedule_idle(s));
    finish(2, 1, NAS_CAUSE_DONE, 7);
    cr_assert(nas_schedule_idle(s));
}

/* Comparing each with all before it would take minutes. */
Test(jobs_schedule, a_queue_of_the_largest_size_is_taken_up_quickly, .timeout = 15)
{
    begin(1);
    for (int i = 1; i <= 2 * NAS_JOB_MAX_JOBS; i++)
        add(job(i));
    expect(NAS_SCHEDULE_START, 1, 0);
    cr_assert_eq(nas_schedule_waiting(s), 2 * NAS_JOB_MAX_JOBS - 1);
}

Test(jobs_schedule, memory_is_a_slot_too)
{
    nas_job a = job(1), b = job(2);

    begin(8);
    a.memory_mib = 600;
    b.memory_mib = 600;
    add(a);
    add(b);
    expect(NAS_SCHEDULE_START, 1, 0);
    expect_nothing(0);
    finish(1, 1, NAS_CAUSE_DONE, 1);
    expect(NAS_SCHEDULE_START, 2, 1);
}

Test(jobs_schedule, what_never_fits_waits_without_blocking_and_without_keeping_the_loop)
{
    nas_job big = job(1);

    begin(2);
    big.cores = 3;
    add(big);
    add(job(2));
    expect(NAS_SCHEDULE_START, 2, 0);
    finish(2, 1, NAS_CAUSE_DONE, 1);
    cr_assert(nas_schedule_idle(s));
    cr_assert_eq(nas_schedule_waiting(s), 1);
}

Test(jobs_schedule, smaller_jobs_pass_a_large_one_only_for_a_while)
{
    nas_job big = job(2);

    begin(2);
    big.cores = 2;
    add(job(1));
    add(big);
    for (int i = 3; i < 9; i++)
        add(job(i));
    expect(NAS_SCHEDULE_START, 1, 0);
    expect(NAS_SCHEDULE_START, 3, 0);
    finish(3, 1, NAS_CAUSE_DONE, 999);
    expect(NAS_SCHEDULE_START, 4, 999);
    finish(4, 1, NAS_CAUSE_DONE, 1000);
    expect_nothing(1000); /* one slot is free, and kept */
    finish(1, 1, NAS_CAUSE_DONE, 1200);
    expect(NAS_SCHEDULE_START, 2, 1200);
}

Test(jobs_schedule, a_job_waits_for_what_it_needs)
{
    begin(4);
    add(job(1));
    add_after(job(2), (nas_job_need){.job = 1});
    add_after(job(3), (nas_job_need){.job = 1, .any = true});
    expect(NAS_SCHEDULE_START, 1, 0);
    expect_nothing(0);
    finish(1, 1, NAS_CAUSE_DATA, 1);
    expect(NAS_SCHEDULE_START, 3, 1); /* any end will do */
    finish(3, 1, NAS_CAUSE_DONE, 2);
    cr_assert(nas_schedule_idle(s)); /* 2 can only wait for a retry of 1 */
    add((nas_job){.id = 1, .attempt = 1, .cores = 1});
    cr_assert_eq(expect(NAS_SCHEDULE_START, 1, 3).attempt, 2);
    finish(1, 2, NAS_CAUSE_DONE, 4);
    expect(NAS_SCHEDULE_START, 2, 4);
}

Test(jobs_schedule, what_had_ended_before_counts)
{
    begin(4);
    add_after(job(2), (nas_job_need){.job = 1, .state = NAS_JOB_DONE});
    add_after(job(3), (nas_job_need){.job = 1, .state = NAS_JOB_FAILED});
    expect(NAS_SCHEDULE_START, 2, 0);
    expect_nothing(0);
}

Test(jobs_schedule, failures_pause_longer_each_time_until_retries_are_used_up)
{
    nas_schedule_action a;
    int64_t now = 0;

    begin(1);
    add(job(7));
    for (int failure = 1; failure <= 3; failure++) {
        cr_assert_eq(expect(NAS_SCHEDULE_START, 7, now).attempt, failure);
        a = finish(7, failure, NAS_CAUSE_IO, now);
        const double usual = 1000 << (failure - 1);
        cr_assert_eq(a.job_state, NAS_JOB_QUEUED);
        cr_assert_eq(a.failures, failure);
        cr_assert(a.delay_ms >= 0.7 * usual && a.delay_ms <= 1.3 * usual, "%lld ms",
                  (long long)a.delay_ms);
        expect_nothing(now + a.delay_ms - 1);
        cr_assert_eq(nas_schedule_wait(s, now), a.delay_ms);
        now += a.delay_ms;
    }
    expect(NAS_SCHEDULE_START, 7, now);
    cr_assert_eq(finish(7, 4, NAS_CAUSE_IO, now).job_state, NAS_JOB_FAILED);
    cr_assert(nas_schedule_idle(s));
}

Test(jobs_schedule, a_retry_gives_a_job_that_waits_its_retries_back)
{
    nas_job j = job(1);

    begin(1);
    j.retries = 1;
    add(j);
    add(job(2));
    expect(NAS_SCHEDULE_START, 1, 0);
    finish(1, 1, NAS_CAUSE_IO, 0);
    expect(NAS_SCHEDULE_START, 2, 0);
    finish(2, 1, NAS_CAUSE_DONE, 1);
    j.attempt = j.failures = 1;
    add(j); /* as it was: the pause goes on */
    expect_nothing(2);
    j.failures = 0;
    add(j);
    cr_assert_eq(expect(NAS_SCHEDULE_START, 1, 3).attempt, 2);
    cr_assert_eq(finish(1, 2, NAS_CAUSE_IO, 3).job_state, NAS_JOB_QUEUED);
}

Test(jobs_schedule, hopeless_failures_are_not_retried)
{
    begin(1);
    add(job(1));
    expect(NAS_SCHEDULE_START, 1, 0);
    cr_assert_eq(finish(1, 1, NAS_CAUSE_CONFIG, 0).job_state, NAS_JOB_FAILED);
    expect_nothing(1000000);
}

Test(jobs_schedule, who_gets_further_is_interrupted_without_limit)
{
    nas_job j = job(1);

    begin(1);
    j.retries = 0;
    add(j);
    for (int attempt = 1; attempt <= 50; attempt++) {
        expect(NAS_SCHEDULE_START, 1, attempt);
        nas_schedule_step(s, 1, attempt, 10 * attempt, attempt);
        cr_assert_eq(finish(1, attempt, NAS_CAUSE_INTERRUPTED, attempt).job_state,
                     NAS_JOB_QUEUED);
    }
    expect(NAS_SCHEDULE_START, 1, 60);
    nas_schedule_step(s, 1, 51, 500, 60); /* where it was before */
    cr_assert_eq(finish(1, 51, NAS_CAUSE_INTERRUPTED, 60).job_state, NAS_JOB_PREEMPTED);
}

Test(jobs_schedule, three_equal_crashes_are_quarantined)
{
    nas_job j = job(1);
    int64_t now = 0;

    begin(1);
    j.retries = 100;
    add(j);
    for (int attempt = 1; attempt <= 3; attempt++) {
        expect(NAS_SCHEDULE_START, 1, now);
        nas_schedule_exit(s, 1, attempt, NAS_CAUSE_CRASH, -1, SIGSEGV, now);
        const nas_schedule_action a = expect(NAS_SCHEDULE_END, 1, now);
        cr_assert_eq(a.job_state, attempt < 3 ? NAS_JOB_QUEUED : NAS_JOB_QUARANTINED);
        now += a.delay_ms;
    }
}

Test(jobs_schedule, crashes_at_different_steps_are_not_equal)
{
    nas_job j = job(1);
    int64_t now = 0;

    begin(1);
    j.retries = 100;
    add(j);
    for (int attempt = 1; attempt <= 10; attempt++) {
        expect(NAS_SCHEDULE_START, 1, now);
        nas_schedule_step(s, 1, attempt, attempt, now);
        nas_schedule_exit(s, 1, attempt, NAS_CAUSE_CRASH, -1, SIGSEGV, now);
        const nas_schedule_action a = expect(NAS_SCHEDULE_END, 1, now);
        cr_assert_eq(a.job_state, NAS_JOB_QUEUED);
        now += a.delay_ms;
    }
}

Test(jobs_schedule, more_memory_than_it_asked_for_ends_a_job_for_good)
{
    nas_job j = job(1);

    begin(2);
    j.memory_mib = 100;
    add(j);
    add(job(2)); /* asks for none: may have any */
    expect(NAS_SCHEDULE_START, 1, 0);
    expect(NAS_SCHEDULE_START, 2, 0);
    nas_schedule_memory(s, 1, 1, 100, 5);
    nas_schedule_memory(s, 2, 1, 5000, 5);
    nas_schedule_memory(s, 1, 2, 101, 5); /* another attempt */
    expect_nothing(5);
    nas_schedule_memory(s, 1, 1, 101, 6);
    expect(NAS_SCHEDULE_TERM, 1, 6);
    nas_schedule_memory(s, 1, 1, 101, 7);
    expect_nothing(7);
    const nas_schedule_action a = finish(1, 1, NAS_CAUSE_INTERRUPTED, 8);
    cr_assert_eq(a.cause, NAS_CAUSE_MEMORY_LIMIT);
    cr_assert_eq(a.job_state, NAS_JOB_OUT_OF_MEMORY);
}

Test(jobs_schedule, the_time_limit_asks_first_and_kills_after_the_grace)
{
    nas_job j = job(1);

    begin(1);
    j.time_limit_s = 2;
    add(j);
    expect(NAS_SCHEDULE_START, 1, 0);
    cr_assert_eq(nas_schedule_wait(s, 500), 1500);
    expect_nothing(1999);
    expect(NAS_SCHEDULE_TERM, 1, 2000);
    expect_nothing(2099);
    expect(NAS_SCHEDULE_KILL, 1, 2100);
    expect_nothing(9000); /* once is enough */
    nas_schedule_exit(s, 1, 1, NAS_CAUSE_KILLED, -1, SIGKILL, 9000);
    const nas_schedule_action a = expect(NAS_SCHEDULE_END, 1, 9000);
    cr_assert_eq(a.cause, NAS_CAUSE_TIME_LIMIT);
    cr_assert_eq(a.job_state, NAS_JOB_TIMED_OUT);
}

Test(jobs_schedule, no_step_is_hung_however_long_it_ran_before)
{
    nas_job j = job(1);

    begin(1);
    j.hang_limit_s = 1;
    add(j);
    expect(NAS_SCHEDULE_START, 1, 0);
    for (int64_t now = 900; now < 9000; now += 900) {
        nas_schedule_step(s, 1, 1, 5, now); /* the same number: a step all the same */
        expect_nothing(now);
    }
    expect(NAS_SCHEDULE_TERM, 1, 8100 + 1000);
    nas_schedule_exit(s, 1, 1, NAS_CAUSE_INTERRUPTED, 75, 0, 9200);
    const nas_schedule_action a = expect(NAS_SCHEDULE_END, 1, 9200);
    cr_assert_eq(a.cause, NAS_CAUSE_HUNG);
    cr_assert_eq(a.job_state, NAS_JOB_QUEUED);
}

Test(jobs_schedule, cancelling_drops_what_waits_and_stops_what_runs)
{
    begin(1);
    add(job(1));
    add(job(2));
    expect(NAS_SCHEDULE_START, 1, 0);
    nas_schedule_cancel(s, 2, 1);
    nas_schedule_cancel(s, 1, 1);
    nas_schedule_cancel(s, 99, 1);
    expect(NAS_SCHEDULE_TERM, 1, 1);
    nas_schedule_exit(s, 1, 1, NAS_CAUSE_INTERRUPTED, 75, 0, 2);
    cr_assert_eq(expect(NAS_SCHEDULE_END, 1, 2).job_state, NAS_JOB_CANCELLED);
    expect_nothing(3);
    cr_assert(nas_schedule_idle(s));
}

Test(jobs_schedule, cancelling_one_that_is_being_ended_counts)
{
    nas_job j = job(1);

    begin(1);
    j.hang_limit_s = 1;
    add(j);
    expect(NAS_SCHEDULE_START, 1, 0);
    expect(NAS_SCHEDULE_TERM, 1, 1000);
    nas_schedule_cancel(s, 1, 1010);
    expect_nothing(1010); /* it was asked already: a second time would cost its checkpoint */
    expect(NAS_SCHEDULE_KILL, 1, 1100);
    nas_schedule_exit(s, 1, 1, NAS_CAUSE_KILLED, -1, SIGKILL, 1101);
    const nas_schedule_action a = expect(NAS_SCHEDULE_END, 1, 1101);
    cr_assert_eq(a.cause, NAS_CAUSE_CANCELLED);
    cr_assert_eq(a.job_state, NAS_JOB_CANCELLED);
}

Test(jobs_schedule, one_that_finished_although_it_was_cancelled_is_done)
{
    begin(1);
    add(job(1));
    expect(NAS_SCHEDULE_START, 1, 0);
    nas_schedule_cancel(s, 1, 1);
    expect(NAS_SCHEDULE_TERM, 1, 1);
    cr_assert_eq(finish(1, 1, NAS_CAUSE_DONE, 2).job_state, NAS_JOB_DONE);
}

Test(jobs_schedule, stopping_asks_all_starts_none_and_counts_nothing)
{
    nas_job j = job(1);

    begin(1);
    j.retries = 0;
    add(j);
    add(job(2));
    expect(NAS_SCHEDULE_START, 1, 0);
    nas_schedule_stop(s, false, 1);
    expect(NAS_SCHEDULE_TERM, 1, 1);
    nas_schedule_stop(s, true, 2);
    expect(NAS_SCHEDULE_KILL, 1, 2);
    nas_schedule_exit(s, 1, 1, NAS_CAUSE_KILLED, -1, SIGKILL, 3);
    cr_assert_eq(expect(NAS_SCHEDULE_END, 1, 3).job_state, NAS_JOB_QUEUED);
    expect_nothing(4);
    cr_assert(nas_schedule_idle(s));
    cr_assert_eq(nas_schedule_waiting(s), 2);
}

Test(jobs_schedule, news_of_another_attempt_are_ignored)
{
    begin(1);
    add(job(1));
    expect(NAS_SCHEDULE_START, 1, 0);
    nas_schedule_exit(s, 1, 2, NAS_CAUSE_DONE, 0, 0, 1);
    nas_schedule_exit(s, 1, 0, NAS_CAUSE_DONE, 0, 0, 1);
    nas_schedule_exit(s, 5, 1, NAS_CAUSE_DONE, 0, 0, 1);
    expect_nothing(1);
    add(job(1)); /* it is known already */
    expect_nothing(1);
    cr_assert_eq(nas_schedule_running(s), 1);
}
