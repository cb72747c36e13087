/* The retry table: which exit means what. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "search/jobs/cause.h"

Test(jobs_cause, every_exit_has_its_cause)
{
    static const struct {
        int code, signal;
        bool memory_short;
        nas_job_cause cause;
        nas_job_state state;
    } cases[] = {
        {0, 0, false, NAS_CAUSE_DONE, NAS_JOB_DONE},
        {1, 0, false, NAS_CAUSE_ERROR, NAS_JOB_FAILED},
        {2, 0, false, NAS_CAUSE_USAGE, NAS_JOB_FAILED},
        {3, 0, false, NAS_CAUSE_INFEASIBLE, NAS_JOB_FAILED},
        {65, 0, false, NAS_CAUSE_DATA, NAS_JOB_FAILED},
        {71, 0, false, NAS_CAUSE_MEMORY, NAS_JOB_OUT_OF_MEMORY},
        {74, 0, false, NAS_CAUSE_IO, NAS_JOB_FAILED},
        {75, 0, false, NAS_CAUSE_INTERRUPTED, NAS_JOB_PREEMPTED},
        {78, 0, false, NAS_CAUSE_CONFIG, NAS_JOB_FAILED},
        {99, 0, false, NAS_CAUSE_ERROR, NAS_JOB_FAILED},
        {130, 0, false, NAS_CAUSE_INTERRUPTED, NAS_JOB_PREEMPTED},
        {143, 0, false, NAS_CAUSE_INTERRUPTED, NAS_JOB_PREEMPTED},
        {137, 0, false, NAS_CAUSE_KILLED, NAS_JOB_LOST},
        {137, 0, true, NAS_CAUSE_MEMORY, NAS_JOB_OUT_OF_MEMORY},
        {-1, SIGKILL, false, NAS_CAUSE_KILLED, NAS_JOB_LOST},
        {-1, SIGKILL, true, NAS_CAUSE_MEMORY, NAS_JOB_OUT_OF_MEMORY},
        {-1, SIGTERM, true, NAS_CAUSE_INTERRUPTED, NAS_JOB_PREEMPTED},
        {-1, SIGSEGV, true, NAS_CAUSE_CRASH, NAS_JOB_FAILED},
        {-1, SIGABRT, false, NAS_CAUSE_CRASH, NAS_JOB_FAILED},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const nas_job_cause cause =
            nas_job_cause_of(cases[i].code, cases[i].signal, cases[i].memory_short);

        cr_assert_eq(cause, cases[i].cause, "code %d, signal %d: %s", cases[i].code,
                     cases[i].signal, nas_job_rule_of(cause)->name);
        cr_assert_eq(nas_job_rule_of(cause)->state, cases[i].state);
    }
}

Test(jobs_cause, what_cannot_pass_is_never_retried)
{
    static const nas_job_cause hopeless[] = {NAS_CAUSE_USAGE, NAS_CAUSE_DATA, NAS_CAUSE_CONFIG,
                                             NAS_CAUSE_INFEASIBLE, NAS_CAUSE_CANCELLED,
                                             NAS_CAUSE_TIME_LIMIT, NAS_CAUSE_MEMORY_LIMIT};

    for (size_t i = 0; i < sizeof hopeless / sizeof *hopeless; i++)
        cr_assert_eq(nas_job_rule_of(hopeless[i])->retry, NAS_RETRY_NEVER);
}

Test(jobs_cause, names_lead_back_to_their_rules)
{
    for (int c = 0; c < NAS_CAUSE_COUNT; c++)
        cr_assert_eq(nas_job_rule_named(nas_job_rule_of(c)->name), nas_job_rule_of(c));
    cr_assert_eq(nas_job_rule_named("loop-died")->state, NAS_JOB_LOST);
    cr_assert_null(nas_job_rule_named(""));
    cr_assert_null(nas_job_rule_named("no such cause"));
}
