/* What this machine can do at most: the limits that benches compare kernels with. */
#ifndef NAS_OPS_KERNEL_PEAK_H
#define NAS_OPS_KERNEL_PEAK_H

#include "base/status.h"

typedef struct nas_peak {
    double gflops;         /* float32 matrix product (OpenBLAS, large square), all threads  */
    double gigabytes;      /* a second: copying a block larger than the caches, read + write */
} nas_peak;

/** Matrices for products of OpenBLAS's sgemm, large and square, with whatever number of OpenMP
 * threads there is. */
typedef struct nas_sgemm nas_sgemm;

/** NAS_E_NOMEM, NAS_E_FAIL without OpenBLAS. */
nas_status nas_sgemm_new(nas_sgemm **out, nas_err *err);
/** GFLOP/s of one product, which takes some hundredths of a second. */
double nas_sgemm_run(nas_sgemm *sgemm);
void nas_sgemm_free(nas_sgemm *sgemm);

/** Measures for about a second with the current number of OpenMP threads: the best of several
 * runs each.  NAS_E_NOMEM, NAS_E_FAIL without OpenBLAS. */
nas_status nas_peak_measure(nas_peak *out, nas_err *err);

#endif
