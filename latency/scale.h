/* Tables for image sizes that were not measured, from one that was. */
#ifndef NAS_LATENCY_SCALE_H
#define NAS_LATENCY_SCALE_H

#include "latency/table/table.h"

/** Makes a table that covers `space` at its image size from one that covers it at another:
 * every entry is that of the same operation there, times the ratio of the multiply-accumulates
 * (of the pixels, where there are none).  An entry that `from` has for the size itself is taken
 * as it is.  Scaled entries have no count, deviation, median and p95; the description is that
 * of `from`, and says what was done.  `*out` is yours.
 * NAS_E_INFEASIBLE names keys that `from` lacks at its own size; NAS_E_CONFIG if it tells no
 * image size; NAS_E_NOMEM. */
nas_status nas_latency_scale(nas_latency_table **out, const nas_latency_table *from,
                             const nas_space *space, nas_err *err);

#endif
