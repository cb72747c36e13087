/* The files of an array: what its tasks run (JSON), and the script that Slurm gets. */
#ifndef NAS_SEARCH_JOBS_CLUSTER_BATCH_H
#define NAS_SEARCH_JOBS_CLUSTER_BATCH_H

#include "search/jobs/cluster.h"

/** An attempt that shall be submitted. */
typedef struct nas_jobs__start {
    nas_job *job;
    json_t *words; /* NULL: they could not be made, `why` says why */
    int64_t attempt;
    char *why;
} nas_jobs__start;
void nas_jobs__start_fini(nas_jobs__start *start);

/** Who makes batches: a loop of a store. */
typedef struct nas_jobs__batcher {
    const nas_cluster_options *options;
    char *store_dir, *program; /* absolute */
    int64_t loop, count;       /* number of the loop; batches so far */
} nas_jobs__batcher;
/** `dir`: of the store, which may be still to be made. */
nas_status nas_jobs__batcher_init(nas_jobs__batcher *batcher, const char *dir,
                                  const nas_cluster_options *options, nas_err *err);
void nas_jobs__batcher_fini(nas_jobs__batcher *batcher);

/** Name of the next batch: unique among all of a user's jobs in Slurm. */
void nas_jobs__batch_name(nas_jobs__batcher *batcher, char out[NAS_STORE_NAME_SIZE]);
/** `<store>/spool/batches/<name><ending>`; malloc'ed, NULL: no memory. */
char *nas_jobs__batch_path(const nas_jobs__batcher *batcher, const char *name, const char *ending);
/** Sorts starts so that those of one array stand together; those without words come last. */
void nas_jobs__batch_sort(nas_jobs__start *starts, int count);
/** How many of `starts`, sorted, belong into one array with the first one. */
int nas_jobs__batch_size(const nas_jobs__batcher *batcher, const nas_jobs__start *starts,
                         int count);
/** Writes the files of an array of these. */
nas_status nas_jobs__batch_write(const nas_jobs__batcher *batcher, const char *name,
                                 const nas_jobs__start *starts, int count, nas_err *err);

/** Removes the spool of a job that is done: what it held is in the store. */
void nas_jobs__spool_remove(nas_store *store, int64_t job);

#endif
