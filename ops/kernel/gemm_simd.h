/* Matrix products of one register-tiled kernel, for the convolution and linear
 * kernels.  Serial but for packing; the order of every sum is fixed by the shape.
 *
 * C[rows][n] is made panel by panel (strips) of up to 3 vectors of columns, so that
 * a caller can finish a strip while it is in the first-level cache, or of up to 17 by
 * the tile unit, which splits its operands for each:
 *   for (int j = 0, width; j < n; j += width) {
 *       width = gemm_strip_width(&b, n - j, GEMM_WIDE);
 *       gemm_strip(rows, k, &a, &b, c, ldc, j, width, false, NULL);
 *       ... columns [j, j + width) of c ...
 *   } */
#ifndef NAS_OPS_KERNEL_GEMM_SIMD_H
#define NAS_OPS_KERNEL_GEMM_SIMD_H

#include <stdbool.h>
#include <stddef.h>

#include "ops/kernel/simd.h"

#define gemm_pack NAS_ISA_NAME(nas_gemm__pack)
#define gemm_begin NAS_ISA_NAME(nas_gemm__begin)
#define gemm_end NAS_ISA_NAME(nas_gemm__end)
#define gemm_strip NAS_ISA_NAME(nas_gemm__strip)
#define gemm NAS_ISA_NAME(nas_gemm__all)
#define gemm_to_planes NAS_ISA_NAME(nas_gemm__planes)
#define gemm_to_masked NAS_ISA_NAME(nas_gemm__masked)

/* gcc keeps up to 3 vectors of columns times GEMM_ROWS(nv) rows of C in registers. */
#if NAS_VL == 16
#define GEMM_ROWS(nv) ((nv) == 3 ? 8 : 12)
#else
#define GEMM_ROWS(nv) (12 / (nv))
#endif

/** Left operand: element (r, p) is data[r*ld + p], or data[p*ld + r] if transposed. */
typedef struct gemm_left {
    const float *data;
    ptrdiff_t ld;
    bool transposed;
} gemm_left;

/** How gemm_pack lays a right operand [k][n] out. */
typedef enum gemm_format {
    GEMM_PANELS, /* a panel is contiguous, its rows padded with zeros to whole vectors */
    GEMM_PAIRS,  /* [k/2][3 vectors], element (p, j) in row p/2 at 2*j + p%2           */
    GEMM_TILES   /* for the tile unit, see gemm_amx.h                                  */
} gemm_format;

/** Right operand [k][n]: element (p, j) is data[p*row + j*col]; row 0: packed by gemm_pack. */
typedef struct gemm_right {
    const float *data;
    ptrdiff_t row, col;
    gemm_format format;
} gemm_right;

/** Factors of the columns and rows of a right operand; NULL: 1. */
typedef struct gemm_scales {
    const float *column, *row;
} gemm_scales;

/** Whether a product of k terms and n columns is one for the tile unit: with fewer, splitting
 * numbers takes longer than their products save. */
NAS_INLINE bool gemm_has_tiles(int k, int n)
{
#ifdef __AMX_BF16__
    return k >= 32 && n >= 32;
#else
    (void)k, (void)n;
    return false;
#endif
}

/** The most terms of a product into planes if the right operand is in tiles. */
enum { GEMM_PLANES_K = 96 };

/** The best format of a right operand.  Pairs: where its columns fill one and a half vectors, two
 * steps of k lie side by side in three, and no half is idle. */
NAS_INLINE gemm_format gemm_best(int k, int n)
{
    if (gemm_has_tiles(k, n))
        return GEMM_TILES;
    return NAS_VL == 16 && n > NAS_VL && n <= NAS_VL * 3 / 2 && k % 2 == 0 && k >= 48 ? GEMM_PAIRS
                                                                                      : GEMM_PANELS;
}

/** Memory that will be read next, fetched bit by bit while products keep the
 * adders busy: otherwise the cores wait for memory between two tiles, and memory
 * for the cores during them.  `step` bytes of each stream a register tile, up to `end`. */
typedef struct gemm_ahead {
    const char *stream[4], *end[4];
    size_t step[4];
} gemm_ahead;

/** One step of each stream. */
NAS_INLINE void gemm_fetch(gemm_ahead *ahead)
{
    for (int i = 0; i < 4; i++)
        for (size_t at = 0; at < ahead->step[i] && ahead->stream[i] < ahead->end[i]; at += 64) {
            __builtin_prefetch(ahead->stream[i], 0, 2);
            ahead->stream[i] += 64;
        }
}

/** Vectors of channels apart from each other: vector v of row r lies at v*plane + r*NAS_VL, and
 * `skip` floats further for each `run` rows before it, if the right operand is in tiles.
 * What is stored is min(high, max(low, scale*sum + shift)). */
typedef struct gemm_planes {
    float *to;
    size_t plane, skip;
    int run;
    const float *scale, *shift; /* [n], padded to whole vectors */
    float low, high;
} gemm_planes;

/** Products that are gradients dv of activated values, finished where they are made: of row r and
 * column j of them, with y = raw[r*ld + j] and z = scale[j]*y + shift[j],
 *   g[r*ld + j] = low < z < high ? dv : 0,   values[r*ldv + j] = min(high, max(low, z)),
 * and the sums of g and of g*(y - mean[j]) over rows are added to sum_g[j] and sum_gy[j]. */
typedef struct gemm_masked {
    const float *raw, *scale, *shift, *mean;
    float low, high;
    ptrdiff_t ld, ldv;
    float *g, *values;      /* values NULL: not wanted */
    float *sum_g, *sum_gy;
} gemm_masked;

/** `n` rounded up to whole vectors. */
NAS_INLINE int gemm_round(int n) { return (n + NAS_VL - 1) / NAS_VL * NAS_VL; }

/** Floats of a packed [k][n], of whatever format. */
NAS_INLINE size_t gemm_packed_count(int k, int n)
{
    /* 6 bytes for each element, in tiles of 32 terms */
    const size_t terms = gemm_has_tiles(k, n) ? (size_t)(k + 31) / 32 * 48 : (size_t)k;

    return terms * (size_t)gemm_round(n);
}

/** Columns of the next panel when `left` columns are left.  Widths of one vector,
 * which keep the adders least busy, occur only if there is but one. */
NAS_INLINE int gemm_panel(int left)
{
    const int vectors = (left + NAS_VL - 1) / NAS_VL;
#if NAS_VL == 16
    const int take = vectors >= 3 && vectors != 4 ? 3 : vectors >= 2 ? 2 : 1;
#else
    const int take = vectors == 3 ? 3 : vectors >= 2 ? 2 : 1;
#endif
    return take * NAS_VL < left ? take * NAS_VL : left;
}

/** The same for right operand b, for gemm_strip: what is in tiles has panels of `wide` vectors, an
 * even number. */
NAS_INLINE int gemm_strip_width(const gemm_right *b, int left, int wide)
{
    if (b->format != GEMM_TILES)
        return gemm_panel(left);
    return left <= (wide + 1) * NAS_VL ? left : wide * NAS_VL; /* one is never left over */
}

/** `wide` where one thread makes all columns. */
enum { GEMM_WIDE = 16 };

/** Packs the [k][n] matrix b times its scales (NULL: 1).  Parallel; call
 * it outside of parallel regions.  Returns the packed operand. */
gemm_right gemm_pack(int k, int n, const gemm_right *b, const gemm_scales *scales,
                     gemm_format format, float *packed);

/** Every thread calls these around its products: where there is a tile unit, it is set up, and
 * let go of, which takes as long as a very small product. */
void gemm_begin(void);
void gemm_end(void);

/** Columns [j, j + width) of C = A*B, or C += A*B if `add`; width from gemm_strip_width.
 * `c` is the whole C, row stride ldc; `ahead` (may be NULL) moves on. */
void gemm_strip(int rows, int k, const gemm_left *a, const gemm_right *b, float *c, ptrdiff_t ldc,
                int j, int width, bool add, gemm_ahead *ahead);

/** All columns: C[rows][n] = A*B or C += A*B. */
void gemm(int rows, int n, int k, const gemm_left *a, const gemm_right *b, float *c, ptrdiff_t ldc,
          bool add, gemm_ahead *ahead);

/** All columns of A*B as gradients; b is packed, but not in pairs. */
void gemm_to_masked(int rows, int n, int k, const gemm_left *a, const gemm_right *b,
                    const gemm_masked *masked, gemm_ahead *ahead);

/** All columns of A*B into planes; b is packed. */
void gemm_to_planes(int rows, int n, int k, const gemm_left *a, const gemm_right *b,
                    const gemm_planes *planes, gemm_ahead *ahead);

#endif
