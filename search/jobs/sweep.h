/* Job files: one file, many jobs (docs/reference/jobs.md). */
#ifndef NAS_SEARCH_JOBS_SWEEP_H
#define NAS_SEARCH_JOBS_SWEEP_H

#include "search/store/jobs.h"

enum { NAS_HANG_LIMIT_UNSET = -1 }; /* of a spec: whoever knows the command decides */

typedef struct nas_sweep {
    nas_job_spec *specs; /* as nas_store_jobs_submit takes them; all they point to is the sweep's */
    int count;
    char *group;         /* NULL: the file names none */
} nas_sweep;

/** Reads a job file that was parsed already; `where` names it for messages.  `defaults` says
 * what holds where the file says nothing, and the folder of all jobs; `group` (NULL: that of
 * the file) is put in front of the names.  NAS_E_DATA, NAS_E_NOMEM. */
nas_status nas_sweep_from_json(nas_sweep *out, const json_t *json, const char *where,
                               const nas_job_spec *defaults, const char *group, nas_err *err);
void nas_sweep_fini(nas_sweep *sweep);

#endif
