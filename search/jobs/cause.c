/* The retry table, and which exit falls under which of its rules. */
#include "search/jobs/cause.h"

#include <signal.h>
#include <string.h>

static const nas_job_rule rules[NAS_CAUSE_COUNT] = {
    [NAS_CAUSE_DONE] = {"done", NAS_JOB_DONE, NAS_RETRY_NEVER, false, "it finished"},
    [NAS_CAUSE_INFEASIBLE] = {"infeasible", NAS_JOB_FAILED, NAS_RETRY_NEVER, false,
                              "no architecture meets the constraint"},
    [NAS_CAUSE_USAGE] = {"usage", NAS_JOB_FAILED, NAS_RETRY_NEVER, false,
                         "its command line is wrong"},
    [NAS_CAUSE_DATA] = {"data", NAS_JOB_FAILED, NAS_RETRY_NEVER, false,
                        "a file that it reads is wrong"},
    [NAS_CAUSE_CONFIG] = {"config", NAS_JOB_FAILED, NAS_RETRY_NEVER, false,
                          "a setting makes no sense"},
    [NAS_CAUSE_ERROR] = {"error", NAS_JOB_FAILED, NAS_RETRY_COUNTED, true, "it failed"},
    [NAS_CAUSE_MEMORY] = {"memory", NAS_JOB_OUT_OF_MEMORY, NAS_RETRY_COUNTED, false,
                          "there was not enough memory"},
    [NAS_CAUSE_IO] = {"io", NAS_JOB_FAILED, NAS_RETRY_COUNTED, false,
                      "reading or writing failed, or the disk is full"},
    [NAS_CAUSE_INTERRUPTED] = {"interrupted", NAS_JOB_PREEMPTED, NAS_RETRY_FREE, false,
                               "it was asked to stop, and not by the loop"},
    [NAS_CAUSE_KILLED] = {"killed", NAS_JOB_LOST, NAS_RETRY_COUNTED, false,
                          "its process was killed, and not by the loop"},
    [NAS_CAUSE_CRASH] = {"crash", NAS_JOB_FAILED, NAS_RETRY_COUNTED, true, "it crashed"},
    [NAS_CAUSE_HUNG] = {"hung", NAS_JOB_LOST, NAS_RETRY_COUNTED, true,
                        "it made no step within its hang limit"},
    [NAS_CAUSE_NOT_STARTED] = {"not-started", NAS_JOB_FAILED, NAS_RETRY_COUNTED, false,
                               "its process could not be started"},
    [NAS_CAUSE_LOOP_ENDED] = {"loop-ended", NAS_JOB_PREEMPTED, NAS_RETRY_ALWAYS, false,
                              "the loop was told to stop"},
    [NAS_CAUSE_TIME_LIMIT] = {"time-limit", NAS_JOB_TIMED_OUT, NAS_RETRY_NEVER, false,
                              "its time limit was over"},
    [NAS_CAUSE_MEMORY_LIMIT] = {"memory-limit", NAS_JOB_OUT_OF_MEMORY, NAS_RETRY_NEVER, false,
                                "it took more memory than it was submitted with"},
    [NAS_CAUSE_CANCELLED] = {"cancelled", NAS_JOB_CANCELLED, NAS_RETRY_NEVER, false,
                             "it was cancelled"},
};

/* What nas_store_jobs_recover writes: it is no end that a loop saw. */
static const nas_job_rule loop_died = {"loop-died", NAS_JOB_LOST, NAS_RETRY_ALWAYS, false,
                                       "the loop that ran it died"};

const nas_job_rule *nas_job_rule_of(nas_job_cause cause)
{
    return &rules[cause];
}

const nas_job_rule *nas_job_rule_named(const char *name)
{
    for (int i = 0; i < NAS_CAUSE_COUNT; i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return strcmp(loop_died.name, name) == 0 ? &loop_died : NULL;
}

typedef struct meaning {
    int number;
    nas_job_cause cause;
} meaning;

static nas_job_cause look_up(const meaning *table, size_t count, int number,
                             nas_job_cause otherwise)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].number == number)
            return table[i].cause;
    return otherwise;
}

nas_job_cause nas_job_cause_of(int code, int signal, bool memory_short)
{
    static const meaning codes[] = {
        {NAS_OK, NAS_CAUSE_DONE}, {NAS_E_INFEASIBLE, NAS_CAUSE_INFEASIBLE},
        {NAS_E_USAGE, NAS_CAUSE_USAGE}, {NAS_E_DATA, NAS_CAUSE_DATA},
        {NAS_E_CONFIG, NAS_CAUSE_CONFIG}, {NAS_E_NOMEM, NAS_CAUSE_MEMORY},
        {NAS_E_IO, NAS_CAUSE_IO}, {NAS_E_INTERRUPTED, NAS_CAUSE_INTERRUPTED},
        {128 + SIGINT, NAS_CAUSE_INTERRUPTED}, {128 + SIGTERM, NAS_CAUSE_INTERRUPTED},
        {128 + SIGKILL, NAS_CAUSE_KILLED},
    };
    static const meaning signals[] = {
        {SIGTERM, NAS_CAUSE_INTERRUPTED}, {SIGINT, NAS_CAUSE_INTERRUPTED},
        {SIGKILL, NAS_CAUSE_KILLED}, {SIGHUP, NAS_CAUSE_KILLED},
    };
    const nas_job_cause cause =
        signal ? look_up(signals, sizeof signals / sizeof *signals, signal, NAS_CAUSE_CRASH)
               : look_up(codes, sizeof codes / sizeof *codes, code, NAS_CAUSE_ERROR);

    return cause == NAS_CAUSE_KILLED && memory_short ? NAS_CAUSE_MEMORY : cause;
}
