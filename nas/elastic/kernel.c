/* Kernels out of kernels: crop the centre, multiply by a matrix, again and again. */
#include "nas/elastic/kernel.h"

#include <string.h>

static int taps(const nas_elastic_kernels *k, int i)
{
    return k->size[i] * k->size[i];
}

/* Tap of the larger kernel that lies at tap t of the smaller one. */
static size_t centre(int large, int small, int t)
{
    const int edge = (large - small) / 2;

    return (size_t)((t / small + edge) * large + t % small + edge);
}

/* to [small^2][channels] = the middle taps of from [large^2][stride]. */
static void crop(int large, int small, int channels, const float *from, int stride, float *to)
{
    for (int t = 0; t < small * small; t++)
        memcpy(to + (size_t)t * (size_t)channels, from + centre(large, small, t) * (size_t)stride,
               (size_t)channels * sizeof *to);
}

/* to [large^2][stride] += what belongs to its middle taps. */
static void uncrop_add(int large, int small, int channels, const float *from, float *to, int stride)
{
    for (int t = 0; t < small * small; t++) {
        const float *in = from + (size_t)t * (size_t)channels;
        float *out = to + centre(large, small, t) * (size_t)stride;

        for (int c = 0; c < channels; c++)
            out[c] += in[c];
    }
}

/* Level i has room for its crop and its kernel; behind all levels, a matrix and two gradients. */
static size_t level_floats(const nas_elastic_kernels *k, int i, int channels)
{
    return 2 * (size_t)taps(k, i) * (size_t)channels;
}

static size_t levels_floats(const nas_elastic_kernels *k, int channels)
{
    size_t sum = 0;

    for (int i = 1; i < k->count; i++)
        sum += level_floats(k, i, channels);
    return sum;
}

size_t nas_elastic_kernel_scratch(const nas_elastic_kernels *k, int channels)
{
    const size_t matrix = k->count > 1 ? (size_t)taps(k, 1) * (size_t)taps(k, 1) : 0;

    return levels_floats(k, channels) + matrix + 2 * (size_t)taps(k, 0) * (size_t)channels;
}

/* Crops and kernels of the levels up to `which`, into scratch; returns the last kernel. */
static const float *run_levels(const nas_elastic_kernels *k, const float *matrices, int which,
                               int channels, const float *from, int from_channels, float *scratch)
{
    const nas_kernels *ops = nas_kernels_get();
    int stride = from_channels;

    for (int i = 1; i <= which; i++) {
        float *centre_of = scratch, *kernel = scratch + taps(k, i) * (size_t)channels;

        crop(k->size[i - 1], k->size[i], channels, from, stride, centre_of);
        ops->linear(taps(k, i), taps(k, i), channels, matrices + k->offset[i - 1], centre_of, NULL,
                    NAS_ACT_NONE, kernel);
        from = kernel;
        stride = channels;
        scratch += level_floats(k, i, channels);
    }
    return from;
}

void nas_elastic_kernel_forward(const nas_elastic_kernels *k, const float *matrices, int which,
                                int channels, const float *from, int from_channels, float *scratch,
                                float *to)
{
    const float *last =
        run_levels(k, matrices, which, channels, from, from_channels, scratch);

    crop(k->size[which], k->size[which], channels, last, which > 0 ? channels : from_channels, to);
}

void nas_elastic_kernel_backward(const nas_elastic_kernels *k, const float *matrices, int which,
                                 int channels, const float *from, int from_channels,
                                 float *scratch, const float *dto, float *dfrom, float *dmatrices)
{
    const nas_kernels *ops = nas_kernels_get();
    const size_t largest = (size_t)taps(k, 0) * (size_t)channels;
    float *level = scratch; /* behind the last one */
    float *dmatrix = scratch + levels_floats(k, channels);
    float *dkernel = dmatrix + (k->count > 1 ? (size_t)taps(k, 1) * (size_t)taps(k, 1) : 0);
    float *dcrop = dkernel + largest;

    run_levels(k, matrices, which, channels, from, from_channels, scratch);
    memcpy(dkernel, dto, (size_t)taps(k, which) * (size_t)channels * sizeof *dkernel);
    for (int i = 1; i <= which; i++)
        level += level_floats(k, i, channels);
    for (int i = which; i > 0; i--) {
        const int n = taps(k, i);
        const size_t floats = (size_t)n * (size_t)channels;
        float *into = dmatrices + k->offset[i - 1];

        level -= level_floats(k, i, channels);
        memset(dcrop, 0, floats * sizeof *dcrop);
        ops->linear_backward(n, n, channels, matrices + k->offset[i - 1], level, dkernel, dmatrix,
                             dcrop, NULL);
        for (int m = 0; m < n * n; m++)
            into[m] += dmatrix[m];
        if (i == 1)
            break;
        memset(dkernel, 0, (size_t)taps(k, i - 1) * (size_t)channels * sizeof *dkernel);
        uncrop_add(k->size[i - 1], k->size[i], channels, dcrop, dkernel, channels);
    }
    if (which == 0)
        uncrop_add(k->size[0], k->size[0], channels, dkernel, dfrom, from_channels);
    else
        uncrop_add(k->size[0], k->size[1], channels, dcrop, dfrom, from_channels);
}
