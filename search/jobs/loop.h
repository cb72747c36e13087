/* The job loop: runs the jobs of a store until they have ended, or for as long as it may.
 *
 * Decisions are those of search/jobs/schedule.h.  What starts and what ended is in the store
 * before anything follows from it: a loop that is killed at any instant is continued by the
 * next one, which queues again what was running. */
#ifndef NAS_SEARCH_JOBS_LOOP_H
#define NAS_SEARCH_JOBS_LOOP_H

#include "search/store/jobs.h"

typedef struct nas_jobs_options {
    int cores;          /* slots, at least 1                                           */
    int64_t memory_mib; /* slots                                                       */
    int64_t log_bytes;  /* kept of each stream of an attempt                           */
    int64_t grace_ms;   /* from SIGTERM to SIGKILL                                     */
    bool watch;         /* go on when there is nothing to do                           */
    bool take_over;     /* also if a loop of another host may live                     */
} nas_jobs_options;

/** What came of it: attempts started, and jobs by the state in which they ended. */
typedef struct nas_jobs_tally {
    int64_t attempts, ended[NAS_JOB_ANY_STATE];
    int waiting;       /* jobs that are left in the queue                  */
    double peak_rss_mib; /* of the loop                                    */
} nas_jobs_tally;

/** Runs jobs as processes of this program.  The first SIGINT or SIGTERM ends it in order (jobs
 * write a checkpoint, and are queued again), the second one at once; then NAS_E_INTERRUPTED.
 * NAS_E_FAIL if another loop holds the store, or has taken it over.  Once in a process. */
nas_status nas_jobs_run(nas_store *store, const nas_jobs_options *options, nas_jobs_tally *out,
                        nas_err *err);

#endif
