/* What the convolutions do with a tile of rows before and after its matrix
 * product: read a view or a gradient view into scratch, and finish a strip of
 * results (statistics; bias, activation, residual; mask and sums). */
#ifndef NAS_OPS_KERNEL_TILE_SIMD_H
#define NAS_OPS_KERNEL_TILE_SIMD_H

#include "ops/kernel/kernel.h"
#include "ops/kernel/simd.h"

#define tile_view NAS_ISA_NAME(nas_tile__view)
#define tile_pixel NAS_ISA_NAME(nas_tile__pixel)
#define tile_grad NAS_ISA_NAME(nas_tile__grad)
#define tile_output NAS_ISA_NAME(nas_tile__output)
#define tile_dots NAS_ISA_NAME(nas_tile__dots)
#define tile_mask NAS_ISA_NAME(nas_tile__mask)
#define tile_reduce NAS_ISA_NAME(nas_tile__reduce)
#define tile_reduce_turned NAS_ISA_NAME(nas_tile__reduce_turned)

/** Row stride of a scratch tile of n columns: an odd number of cache lines, so
 * that a column of it spreads over all sets of the cache. */
NAS_INLINE int tile_ld(int n) { return (((n + 15) / 16) | 1) * 16; }

/** First image of a chunk; that of the next chunk ends it. */
NAS_INLINE int tile_chunk(int n, int chunk)
{
    return (int)((long long)chunk * n / nas_kernel_chunks(n));
}

/** Parts that a weight gradient of `weights` elements is summed in, each over
 * some of the chunks: at most as many as keep the partial sums no larger than
 * the `floats` of the tensors, at least 4. */
NAS_INLINE int tile_parts(int n, size_t weights, size_t floats)
{
    const int chunks = nas_kernel_chunks(n);
    const size_t wanted = floats / weights > 4 ? floats / weights : 4;

    return wanted < (size_t)chunks ? (int)wanted : chunks;
}

/** Rows of a tile of which one row takes `floats` floats of scratch: about half of a second-level
 * cache of 512 KiB, and whole register tiles (12), or whole blocks of the tile unit, which chunks of
 * small images then have as well. */
NAS_INLINE int tile_rows(int floats)
{
#ifdef __AMX_BF16__
    const int block = 64;
#else
    const int block = 12;
#endif
    const int rows = 65536 / floats / block * block, least = block > 48 ? block : 48;

    return rows < least ? least : rows > 192 ? 192 : rows;
}

/** Floats rounded up to whole cache lines, for cutting up scratch memory. */
NAS_INLINE size_t tile_lines(size_t floats) { return (floats + 15) / 16 * 16; }

/** Whether the view's values are the tensor itself. */
NAS_INLINE bool tile_is_plain(const nas_view *x)
{
    return x->scale == NULL && x->gate == NULL && x->act == NAS_ACT_NONE;
}

/** Whether an input gradient is masked and summed, or just stored (nas_conv_grad). */
NAS_INLINE bool tile_is_masked(const nas_view *x) { return x->scale && !x->gate; }

/** Values of rows [first, first + rows) of the tensor [n*hw][channels] into to[rows][ld]. */
void tile_view(const nas_view *x, int hw, int channels, size_t first, int rows, float *to, int ld);

/** Values of channels [c, c + count) of one pixel (of all images) of image `img`. */
void tile_pixel(const nas_view *x, int channels, size_t pixel, int img, int c, int count,
                float *to);

/** Gradients of channels [c, c + count) of rows [first, first + rows) into to[rows][ld];
 * columns up to whole vectors are written, ld has room for them. */
void tile_grad(const nas_grad_view *dy, int channels, size_t first, int rows, int c, int count,
               float *to, int ld);

/** Finishes channels [c, c + width) of the raw rows [first, first + rows) of out->y.
 * Training: merges them into `stats` [2][channels] of their chunk, of which
 * `before` rows have been merged; otherwise (stats NULL) scale [channels] or
 * NULL, bias, activation and residual. */
void tile_output(const nas_conv_out *out, const float *scale, float *stats, size_t before,
                 int channels, size_t first, int rows, int c, int width);

/** Adds, for columns [c, c + width) of `rows` rows of y and dy [rows][channels], sums of dy*y to
 * dots[c...] and sums of dy to dots[channels + c...]. */
void tile_dots(const float *y, const float *dy, int channels, int rows, int c, int width,
               float *dots);

/** Turns channels [c, c + width) of rows [first, first + rows) of out->dx from
 * dv into g and adds to `sums` [2][channels] of their chunk; the view is masked. */
void tile_mask(const nas_view *x, const nas_conv_grad *out, float *sums, int channels,
               size_t first, int rows, int c, int width);

/** to[i] += partial[0][i] + partial[1][i] + ..., in this order; parallel. */
void tile_reduce(size_t count, int parts, const float *partial, float *to);

/** The same of a matrix to[rows][columns], whose partial sums are [parts][columns][rows]. */
void tile_reduce_turned(int rows, int columns, int parts, const float *partial, float *to);

#endif
