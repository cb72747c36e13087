/* Lists of images: a whole split, or train parted into two class-balanced halves. */
#ifndef NAS_DATA_SPLIT_H
#define NAS_DATA_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "nas/data/dataset.h"

/** Positions in a data set, ascending.  Zero-initialise; _fini frees. */
typedef struct nas_index {
    uint32_t *items;
    uint32_t count;
} nas_index;

void nas_index_fini(nas_index *index);

/** All images of a split. NAS_E_NOMEM. */
nas_status nas_index_split(nas_index *out, const nas_data_split *split, nas_err *err);

/** Marks quota[c] images of every class c, drawn without order by (seed, c).
 * labels  [n], each < classes; quota [classes], at most the images of the class
 * marked  [n], overwritten.  NAS_E_NOMEM. */
nas_status nas_split_mark(const uint32_t *labels, uint32_t n, int classes, const uint32_t *quota,
                          uint64_t seed, bool *marked, nas_err *err);

/** Parts the train split into `train` and `valid_count` images `valid` for the
 * architecture parameters.  Each class gives its share of valid_count (largest
 * remainders, lower class first), and keeps at least one image for training.
 * Depends on (data, valid_count, seed) alone.
 * Errors  NAS_E_CONFIG if valid_count is 0 or leaves a class without images; NAS_E_NOMEM */
nas_status nas_split_make(const nas_dataset *data, uint32_t valid_count, uint64_t seed,
                          nas_index *train, nas_index *valid, nas_err *err);

#endif
