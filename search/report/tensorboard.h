/* Metrics of runs as TensorBoard's event files (docs/reference/export.md). */
#ifndef NAS_SEARCH_REPORT_TENSORBOARD_H
#define NAS_SEARCH_REPORT_TENSORBOARD_H

#include "search/store/store.h"

/** Writes `dir`/<run's name>/events.out.tfevents.<seconds>.onepath for each run: one scalar a
 * metric and step, by steps.  A file appears whole or not at all; the same run gives the same
 * name.  `*events` counts the scalars.  NAS_E_IO, NAS_E_NOMEM, errors of the store. */
nas_status nas_tensorboard_write(nas_store *store, const nas_store_run *runs, int count,
                                 const char *dir, int64_t *events, nas_err *err);

#endif
