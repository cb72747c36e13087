/* Elastic kernels: smaller depthwise kernels out of the largest, each the centre of the next
 * larger one times a trained matrix (Cai et al. 2020, Once-for-All, section 3.2). */
#ifndef NAS_NAS_ELASTIC_KERNEL_H
#define NAS_NAS_ELASTIC_KERNEL_H

#include "nas/elastic/dims.h"

/** Kernel sizes of a block, descending, and its matrices: matrix[i] of shape [s][s] with
 * s = size[i+1]^2 turns the centre of kernel i into kernel i + 1: row o of it gives tap o, taps
 * row by row.  Shared by all channels. */
typedef struct nas_elastic_kernels {
    int count;
    int size[NAS_ELASTIC_VALUES];
    size_t offset[NAS_ELASTIC_VALUES]; /* of matrix[i] among all matrices of a supernet */
} nas_elastic_kernels;

/** Floats of working memory for kernels of up to `channels` channels. */
size_t nas_elastic_kernel_scratch(const nas_elastic_kernels *kernels, int channels);

/** to = kernel `which` of the first `channels` channels.
 * Shapes   from [size[0]^2][from_channels], to [size[which]^2][channels]
 * Writes   to, overwritten, and scratch. */
void nas_elastic_kernel_forward(const nas_elastic_kernels *kernels, const float *matrices,
                                int which, int channels, const float *from, int from_channels,
                                float *scratch, float *to);

/** The gradient of that: ADDS to dfrom (shaped as from) and dmatrices (as matrices). */
void nas_elastic_kernel_backward(const nas_elastic_kernels *kernels, const float *matrices,
                                 int which, int channels, const float *from, int from_channels,
                                 float *scratch, const float *dto, float *dfrom,
                                 float *dmatrices);

#endif
