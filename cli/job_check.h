/* What is checked of a job's command line before it is queued. */
#ifndef NAS_CLI_JOB_CHECK_H
#define NAS_CLI_JOB_CHECK_H

#include "search/store/jobs.h"

/** Finds mistakes now that would else be found when the job starts, hours from now, and sets the
 * hang limit where it is NAS_HANG_LIMIT_UNSET.  NAS_E_USAGE, or as the options' files say. */
nas_status cli_job_check(nas_job_spec *spec, nas_err *err);

#endif
