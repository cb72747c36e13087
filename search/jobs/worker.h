/* The process of a job: what it knows of its loop, and how it shows that it gets on. */
#ifndef NAS_SEARCH_JOBS_WORKER_H
#define NAS_SEARCH_JOBS_WORKER_H

#include "search/store/jobs.h"

/** The variable of the environment by which the loop tells a process what it works for: job,
 * attempt, file descriptor of the progress pipe, process id of the loop; blanks between. */
#define NAS_WORKER_VARIABLE "NAS_JOB"
enum { NAS_WORKER_LINE_SIZE = 128 };

/** Reads (and removes) that variable.  If it is there, this process gets SIGTERM when its loop
 * dies, now if it is dead already. */
void nas_worker_begin(void);
/** True if this process is a job's. */
bool nas_worker_is(void);
/** Makes the store's writes those of this process's attempt; nothing if it is no job's. */
void nas_worker_act(nas_store *store);
/** Tells the loop that the work got on; at most a few times a second.  `step` counts on in a
 * resumed run.  Nothing if this process is no job's. */
void nas_worker_step(int64_t step, const char *phase);

#endif
