/* One task of a Slurm array: the parent of a job's process on the node where it runs. */
#ifndef NAS_SEARCH_JOBS_TASK_H
#define NAS_SEARCH_JOBS_TASK_H

#include <stdint.h>

#include "base/status.h"

/** Runs entry `index` of a batch file (docs/reference/spool.md), for the attempt that it names
 * plus `restarts`, as a process of this program, whose store is the attempt's spool, and tells
 * the spool how it went.  SIGTERM asks the process to stop; SIGUSR1, too, and if it wrote a
 * checkpoint then `requeue` (NULL: nothing; "123" or "123_4") is put back into Slurm's queue.
 * NAS_OK: the process ended well; NAS_E_INTERRUPTED: it can go on later; NAS_E_FAIL: it did not
 * end well, or another task has the attempt; NAS_E_DATA, NAS_E_IO: nothing was started. */
nas_status nas_task_run(const char *batch, int64_t index, int64_t restarts, const char *requeue,
                        nas_err *err);

#endif
