/* Matrix products of one register-tiled kernel, for the convolution and linear
 * kernels.  Serial but for packing; the order of every sum is fixed by the shape.
 *
 * C[rows][n] is made panel by panel of up to 3 vectors of columns (strips), so
 * that a caller can finish a strip while it is in the first-level cache:
 *   for (int j = 0, width; j < n; j += width) {
 *       width = gemm_panel(n - j);
 *       gemm_strip(rows, k, &a, &b, c, ldc, j, width, false, NULL);
 *       ... columns [j, j + width) of c ...
 *   } */
#ifndef NAS_OPS_KERNEL_GEMM_SIMD_H
#define NAS_OPS_KERNEL_GEMM_SIMD_H

#include <stdbool.h>
#include <stddef.h>

#include "ops/kernel/simd.h"

#define gemm_pack NAS_ISA_NAME(nas_gemm__pack)
#define gemm_pack_paired NAS_ISA_NAME(nas_gemm__pack_paired)
#define gemm_strip NAS_ISA_NAME(nas_gemm__strip)
#define gemm NAS_ISA_NAME(nas_gemm__all)
#define gemm_to_planes NAS_ISA_NAME(nas_gemm__planes)

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

/** Right operand [k][n]: element (p, j) is data[p*row + j*col]; row 0: packed by
 * gemm_pack, where a panel is contiguous and padded with zeros to whole vectors. */
typedef struct gemm_right {
    const float *data;
    ptrdiff_t row, col;
    bool paired; /* row 0: packed by gemm_pack_paired instead */
} gemm_right;

/** Whether a right operand is better packed in pairs: where its columns fill one and a half
 * vectors, two steps of k lie side by side in three, and no half is idle. */
NAS_INLINE bool gemm_is_paired(int k, int n)
{
    return NAS_VL == 16 && n > NAS_VL && n <= NAS_VL * 3 / 2 && k % 2 == 0 && k >= 48;
}

/** Memory that will be read next, fetched bit by bit while products keep the
 * adders busy: otherwise the cores wait for memory between two tiles, and memory
 * for the cores during them.  `step` bytes of each stream a register tile. */
typedef struct gemm_ahead {
    const char *stream[4];
    size_t step[4];
} gemm_ahead;

/** Vectors of channels apart from each other: vector v of row r lies at v*plane + r*NAS_VL.
 * What is stored is min(high, max(low, scale*sum + shift)). */
typedef struct gemm_planes {
    float *to;
    size_t plane;
    const float *scale, *shift; /* [n], padded to whole vectors */
    float low, high;
} gemm_planes;

/** `n` rounded up to whole vectors. */
NAS_INLINE int gemm_round(int n) { return (n + NAS_VL - 1) / NAS_VL * NAS_VL; }

/** Floats of a packed [k][n]. */
NAS_INLINE size_t gemm_packed_count(int k, int n) { return (size_t)k * (size_t)gemm_round(n); }

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

/** Packs the [k][n] matrix b, its columns times scale[j] if scale is not NULL.
 * Parallel over rows; call it outside of parallel regions. */
void gemm_pack(int k, int n, const gemm_right *b, const float *scale, float *packed);

/** The same for gemm_is_paired: [k/2][3 vectors], element (p, j) in row p/2 at 2*j + p%2. */
void gemm_pack_paired(int k, int n, const gemm_right *b, const float *scale, float *packed);

/** Columns [j, j + width) of C = A*B, or C += A*B if `add`; width from gemm_panel.
 * `c` is the whole C, row stride ldc; `ahead` (may be NULL) moves on. */
void gemm_strip(int rows, int k, const gemm_left *a, const gemm_right *b, float *c, ptrdiff_t ldc,
                int j, int width, bool add, gemm_ahead *ahead);

/** All columns: C[rows][n] = A*B or C += A*B. */
void gemm(int rows, int n, int k, const gemm_left *a, const gemm_right *b, float *c, ptrdiff_t ldc,
          bool add, gemm_ahead *ahead);

/** All columns of A*B into planes; b is packed. */
void gemm_to_planes(int rows, int n, int k, const gemm_left *a, const gemm_right *b,
                    const gemm_planes *planes);

#endif
