/* Private to nas/export: the file that torch.save writes, a zip archive of one pickle and the
 * bytes of each tensor. */
#ifndef NAS_NAS_EXPORT_TORCH_FILE_H
#define NAS_NAS_EXPORT_TORCH_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/** One tensor of a state_dict, row-major. */
typedef struct nas_torch__tensor {
    char name[96];
    int rank; /* 0: a scalar                              */
    int64_t shape[4];
    size_t count;     /* elements                                 */
    const float *f32; /* values; NULL: one whole number (i64), 0  */
} nas_torch__tensor;

/** Writes {"state_dict": OrderedDict} of `count` tensors.  NAS_E_CONFIG above 4 GiB. */
nas_status nas_torch__save(const nas_torch__tensor *tensor, int count, const char *path,
                           nas_err *err);

#endif
