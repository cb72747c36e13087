/* The inner loops of depthwise convolution: rows of NAS_VL channels, one vector
 * a pixel, windows and blocks of pixels known to the compiler.  Included by
 * depthwise_simd.c alone.
 *
 * A block of `block` outputs stays in registers; each input vector is loaded
 * once a window row and used for every tap that it meets.  The steps are written
 * out by macros because gcc 12 does not reliably unroll such loops, and rolled
 * they keep their accumulators in memory. */
#ifndef NAS_OPS_KERNEL_DEPTHWISE_ROWS_H
#define NAS_OPS_KERNEL_DEPTHWISE_ROWS_H

#include "ops/kernel/gemm_simd.h"

/* How a row is cut into blocks.  FULL: one block holds a whole row of a
 * convolution that keeps its size, and taps that only meet padding are left out. */
typedef enum row_cut { CUT_8, CUT_4, CUT_FULL_8, CUT_FULL_4, CUTS } row_cut;

static inline int row_cut_block(row_cut cut) { return cut == CUT_8 || cut == CUT_FULL_8 ? 8 : 4; }

static inline row_cut row_cut_of(int width, bool keeps_size)
{
    if (keeps_size && width <= 8)
        return width <= 4 ? CUT_FULL_4 : CUT_FULL_8;
    return width <= 4 ? CUT_4 : CUT_8;
}

/* What is repeated in a row: vectors of channels, which lie `in`, `w` and `out`
 * floats apart, and blocks of pixels. */
typedef struct row_span {
    int vectors, blocks;
    size_t in, w, out;
    gemm_ahead *ahead; /* what convolutions fetch meanwhile, a step each block, or NULL */
} row_span;

/* One row of outputs of each vector:
 * dst[j*step] = sum over r, b of in[r][j*stride + b] * w[r][b]; the unit is one vector. */
typedef void conv_row(const row_span *span, const float *const *in, const float *const *w,
                      int rows, float *dst, int step);

/* Weight gradients of `taps` (a constant of each function) adjacent window rows:
 * w[t][b] += sum over i, j of in[i*taps + t][j*stride + b] * dy[i][j];
 * `out` of the span is between vectors of dy. */
typedef void taps_rows(const row_span *span, const float *const *in, const float *const *dy,
                       int rows, float *w);

/* clang-format off */
#define STEPS_8(S)  S(0) S(1) S(2) S(3) S(4) S(5) S(6) S(7)
#define STEPS_21(S) STEPS_8(S) S(8) S(9) S(10) S(11) S(12) S(13) S(14) S(15) S(16) S(17) S(18) \
                    S(19) S(20)
/* clang-format on */

/* Whether input i of a block meets output o of it, at tap i - stride*o. */
#define MEETS(i, o) ((o) < block && (i) >= stride * (o) && (i) < stride * (o) + window)
/* Whether input i of a block is used at all. */
#define IS_USED(i) \
    (full ? (i) >= window / 2 && (i) < window / 2 + block : (i) < stride * (block - 1) + window)

/* A tap out of the window never runs, but its index must be one. */
#define TAP(i, o) (MEETS(i, o) ? (i) - stride * (o) : 0)

/* One block: pixel 0 of it lies at in[r] + at_in, w[r] + at_w and dst. */
NAS_INLINE void conv_block(const int window, const int stride, const int block, const bool full,
                           const float *const *in, size_t at_in, const float *const *w,
                           size_t at_w, int rows, float *dst, size_t step)
{
    vfloat sum[8] = {{0}};

    for (int r = 0; r < rows; r++) {
        const float *from = in[r] + at_in, *weight = w[r] + at_w;
        vfloat tap[7];

#define LOAD(b)     \
    if (b < window) \
        tap[b < 7 ? b : 0] = v_load(weight + b * NAS_VL);
        STEPS_8(LOAD)
#undef LOAD
#define OUTPUT(i, o) \
    if (MEETS(i, o)) \
        sum[o] += v * tap[TAP(i, o)];
#define INPUT(i)                                                                      \
    if (IS_USED(i)) {                                                                 \
        const vfloat v = v_load(from + i * NAS_VL);                                   \
        OUTPUT(i, 0) OUTPUT(i, 1) OUTPUT(i, 2) OUTPUT(i, 3) OUTPUT(i, 4) OUTPUT(i, 5) \
        OUTPUT(i, 6) OUTPUT(i, 7)                                                     \
    }
        STEPS_21(INPUT)
#undef INPUT
#undef OUTPUT
    }
#define STORE(o)   \
    if (o < block) \
        v_store(dst + o * step, sum[o]);
    STEPS_8(STORE)
#undef STORE
}

NAS_INLINE void conv_row_body(const int window, const int stride, const int block,
                              const bool full, const row_span *span, const float *const *in,
                              const float *const *w, int rows, float *dst, int step)
{
    const row_span s = *span;
    const size_t pixel = (size_t)step * NAS_VL;

    for (int v = 0; v < s.vectors; v++)
        for (int at = 0; at < (full ? 1 : s.blocks); at++) {
            if (s.ahead)
                gemm_fetch(s.ahead);
            conv_block(window, stride, block, full, in,
                       v * s.in + (size_t)at * block * stride * NAS_VL, w, v * s.w, rows,
                       dst + v * s.out + (size_t)at * block * pixel, pixel);
        }
}

/* `taps` window rows at once and `sets` sums a tap keep enough additions in
 * flight: a chain of fused multiply-adds runs at a quarter of the speed. */
NAS_INLINE void taps_vector(const int window, const int stride, const int block, const bool full,
                            const int taps, const int sets, const float *const *in, size_t at_in,
                            const float *const *dy, size_t at_dy, int rows, int blocks, float *w)
{
    vfloat sum[3][2][7] = {{{{0}}}};

#define START(b)                       \
    if (b < window)                    \
        for (int t = 0; t < taps; t++) \
            sum[t][0][b < 7 ? b : 0] = v_load(w + (t * window + b) * NAS_VL);
    STEPS_8(START)
#undef START
    for (int i = 0; i < rows; i++)
        for (int at = 0; at < (full ? 1 : blocks); at++) {
            const float *grad = dy[i] + at_dy + (size_t)at * block * NAS_VL;

#define OUTPUT(i, o) \
    if (MEETS(i, o)) \
        sum[t][(o) % sets][TAP(i, o)] += v * v_load(grad + (o) * NAS_VL);
#define INPUT(i)                                                                      \
    if (IS_USED(i)) {                                                                 \
        const vfloat v = v_load(from + i * NAS_VL);                                   \
        OUTPUT(i, 0) OUTPUT(i, 1) OUTPUT(i, 2) OUTPUT(i, 3) OUTPUT(i, 4) OUTPUT(i, 5) \
        OUTPUT(i, 6) OUTPUT(i, 7)                                                     \
    }
#pragma GCC unroll 3
            for (int t = 0; t < taps; t++) {
                const float *from =
                    in[i * taps + t] + at_in + (size_t)at * block * stride * NAS_VL;

                STEPS_21(INPUT)
            }
#undef INPUT
#undef OUTPUT
        }
#define FINISH(b)                                                                     \
    if (b < window)                                                                   \
        for (int t = 0; t < taps; t++)                                                \
            v_store(w + (t * window + b) * NAS_VL,                                    \
                    sets == 2 ? sum[t][0][b < 7 ? b : 0] + sum[t][1][b < 7 ? b : 0]   \
                              : sum[t][0][b < 7 ? b : 0]);
    STEPS_8(FINISH)
#undef FINISH
}

NAS_INLINE void taps_rows_body(const int window, const int stride, const int block,
                               const bool full, const int taps, const int sets,
                               const row_span *span, const float *const *in,
                               const float *const *dy, int rows, float *w)
{
    const row_span s = *span;

    for (int v = 0; v < s.vectors; v++)
        taps_vector(window, stride, block, full, taps, sets, in, v * s.in, dy, v * s.out, rows,
                    s.blocks, w + v * s.w);
}

#define CONV_ROW(window, stride, block, full)                                             \
    static void conv_row_##window##_##stride##_##block##_##full(                          \
        const row_span *span, const float *const *in, const float *const *w, int rows,    \
        float *dst, int step)                                                             \
    {                                                                                     \
        conv_row_body(window, stride, block, full, span, in, w, rows, dst, step);         \
    }
#define TAPS_ROWS(window, stride, block, full, taps, sets)                                \
    static void taps_rows_##window##_##stride##_##block##_##full(                         \
        const row_span *span, const float *const *in, const float *const *dy, int rows,   \
        float *w)                                                                         \
    {                                                                                     \
        taps_rows_body(window, stride, block, full, taps, sets, span, in, dy, rows, w);   \
    }

/* Window rows that taps_rows takes at a time. */
static inline int taps_of(int window) { return window == 3 ? 3 : 1; }

#define WINDOW(window, taps, sets)                                                     \
    CONV_ROW(window, 1, 8, 0) CONV_ROW(window, 1, 4, 0) CONV_ROW(window, 1, 8, 1)      \
    CONV_ROW(window, 1, 4, 1) CONV_ROW(window, 2, 8, 0) CONV_ROW(window, 2, 4, 0)      \
    TAPS_ROWS(window, 1, 8, 0, taps, sets) TAPS_ROWS(window, 1, 4, 0, taps, sets)      \
    TAPS_ROWS(window, 1, 8, 1, taps, sets) TAPS_ROWS(window, 1, 4, 1, taps, sets)      \
    TAPS_ROWS(window, 2, 8, 0, taps, sets) TAPS_ROWS(window, 2, 4, 0, taps, sets)
WINDOW(3, 3, 1)
WINDOW(5, 1, 2)
WINDOW(7, 1, 1)
/* Every second tap of a window, for the input gradient of stride 2. */
CONV_ROW(1, 1, 8, 0) CONV_ROW(1, 1, 4, 0)
CONV_ROW(2, 1, 8, 0) CONV_ROW(2, 1, 4, 0)
CONV_ROW(4, 1, 8, 0) CONV_ROW(4, 1, 4, 0)

#define TABLE_1(name, window)                                                            \
    [window] = {name##_##window##_1_8_0, name##_##window##_1_4_0, name##_##window##_1_8_1, \
                name##_##window##_1_4_1}
#define TABLE_2(name, window) [window] = {name##_##window##_2_8_0, name##_##window##_2_4_0}
#define TABLE_PART(window) [window] = {conv_row_##window##_1_8_0, conv_row_##window##_1_4_0}

/* By stride - 1, window and cut; NULL: never asked for. */
static conv_row *const conv_row_table[2][8][CUTS] = {
    {TABLE_1(conv_row, 3), TABLE_1(conv_row, 5), TABLE_1(conv_row, 7), TABLE_PART(1),
     TABLE_PART(2), TABLE_PART(4)},
    {TABLE_2(conv_row, 3), TABLE_2(conv_row, 5), TABLE_2(conv_row, 7)},
};
static taps_rows *const taps_rows_table[2][8][CUTS] = {
    {TABLE_1(taps_rows, 3), TABLE_1(taps_rows, 5), TABLE_1(taps_rows, 7)},
    {TABLE_2(taps_rows, 3), TABLE_2(taps_rows, 5), TABLE_2(taps_rows, 7)},
};

#endif
