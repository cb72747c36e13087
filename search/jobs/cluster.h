/* The job loop of a cluster: hands what is queued to Slurm, follows it, and takes its spools in.
 *
 * The decisions are those of search/jobs/schedule.h, as for the loop of one machine; only where
 * attempts run differs.  Tasks go on when this loop ends or dies: the next one finds them by what
 * the store knows of them. */
#ifndef NAS_SEARCH_JOBS_CLUSTER_H
#define NAS_SEARCH_JOBS_CLUSTER_H

#include "search/jobs/loop.h"
#include "search/jobs/slurm.h"

typedef struct nas_cluster_options {
    nas_slurm_options slurm;
    int64_t log_bytes, grace_ms; /* as in nas_jobs_options                       */
    int64_t poll_ms;             /* between two looks at Slurm and the spools     */
    int64_t array_max;           /* tasks of one array, at most                   */
    bool watch, take_over;       /* as in nas_jobs_options                        */
    bool once;                   /* hands over what can start now, and ends       */
} nas_cluster_options;

/** Runs the jobs of a store on a cluster.  SIGINT, SIGTERM and SIGHUP end the loop and leave its
 * tasks alone: NAS_E_INTERRUPTED.  NAS_E_FAIL if another loop holds the store, NAS_E_CONFIG for
 * names that Slurm cannot know. */
nas_status nas_cluster_run(nas_store *store, const nas_cluster_options *options,
                           nas_jobs_tally *out, nas_err *err);

/** The scripts with which those of `specs` that wait for nothing would be submitted now, one after
 * another (yours).  `store` may be NULL where there is none yet; `dir` is its directory. */
nas_status nas_cluster_preview(nas_store *store, const char *dir,
                               const nas_cluster_options *options, const nas_job_spec *specs,
                               int count, char **scripts, nas_err *err);

#endif
