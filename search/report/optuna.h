/* The networks that runs judged as Optuna's studies (docs/reference/export.md). */
#ifndef NAS_SEARCH_REPORT_OPTUNA_H
#define NAS_SEARCH_REPORT_OPTUNA_H

#include "search/store/store.h"

/** Writes an Optuna database to `path`, all or nothing: one study for each run and way of judging,
 * "search-1/derived", and in it one trial for each network.  `*trials` counts them.
 * NAS_E_IO, NAS_E_NOMEM, errors of the store. */
nas_status nas_optuna_write(nas_store *store, const nas_store_run *runs, int count,
                            const char *path, int64_t *trials, nas_err *err);

#endif
