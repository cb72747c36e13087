/* Why an attempt ended, and what follows from it: the retry table of docs/reference/jobs.md. */
#ifndef NAS_SEARCH_JOBS_CAUSE_H
#define NAS_SEARCH_JOBS_CAUSE_H

#include <stdbool.h>

#include "search/store/jobs.h"

typedef enum nas_job_cause {
    NAS_CAUSE_DONE,        /* exit 0                                              */
    NAS_CAUSE_INFEASIBLE,  /* 3                                                   */
    NAS_CAUSE_USAGE,       /* 2                                                   */
    NAS_CAUSE_DATA,        /* 65                                                  */
    NAS_CAUSE_CONFIG,      /* 78                                                  */
    NAS_CAUSE_ERROR,       /* 1 and every other exit code                         */
    NAS_CAUSE_MEMORY,      /* 71, or killed while the system was out of memory    */
    NAS_CAUSE_IO,          /* 74                                                  */
    NAS_CAUSE_INTERRUPTED, /* 75, 130, 143, SIGTERM, SIGINT: not by the loop      */
    NAS_CAUSE_KILLED,      /* SIGKILL, SIGHUP: not by the loop                    */
    NAS_CAUSE_CRASH,       /* every other signal                                  */
    NAS_CAUSE_HUNG,        /* no step within its hang limit, ended by the loop    */
    NAS_CAUSE_NOT_STARTED, /* the system would not start its process              */
    NAS_CAUSE_LOOP_ENDED,  /* the loop was told to stop, and stopped it           */
    NAS_CAUSE_TIME_LIMIT,  /* ended by the loop                                   */
    NAS_CAUSE_MEMORY_LIMIT, /* likewise                                           */
    NAS_CAUSE_CANCELLED,   /* ended by the loop                                   */
    NAS_CAUSE_COUNT
} nas_job_cause;

typedef enum nas_job_retry {
    NAS_RETRY_NEVER,
    NAS_RETRY_COUNTED, /* after a pause that doubles, until the job's retries are used up */
    NAS_RETRY_FREE,    /* at once and uncounted if it got further than before, else counted */
    NAS_RETRY_ALWAYS   /* at once and uncounted                                          */
} nas_job_retry;

typedef struct nas_job_rule {
    const char *name;    /* "data": in the store and for scripts     */
    nas_job_state state; /* of the attempt, and of the job if it ends */
    nas_job_retry retry;
    bool poison;         /* three times alike: quarantined           */
    const char *why;     /* for people                               */
} nas_job_rule;

/** The rule of a cause. */
const nas_job_rule *nas_job_rule_of(nas_job_cause cause);
/** The rule of that name; NULL if there is none. */
const nas_job_rule *nas_job_rule_named(const char *name);

/** What an exit means that the loop did not bring about.  `signal` 0: it exited with `code`;
 * `memory_short`: the kernel ended some process for memory while this one ran. */
nas_job_cause nas_job_cause_of(int code, int signal, bool memory_short);

#endif
