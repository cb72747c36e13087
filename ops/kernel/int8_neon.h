/* The parts of int8 kernels that 64-bit ARM has instructions for: one file for both sets, "neon",
 * which every such processor runs, and "dotprod" (ARMv8.2 with FEAT_DotProd).  Included by
 * int8_simd.h alone.
 *
 * Terms are 8-bit: a code less 128, four of them side by side in 32 bits.  One instruction (sdot)
 * multiplies all four and adds them; without it, two products at a time are added in 16 bits, as
 * weights are never -128 (2 * 128 * 127 < 2^15).  What the sums lack is (128 - zero) times the sum
 * of the weights, which is packed with them. */
#ifndef NAS_OPS_KERNEL_INT8_NEON_H
#define NAS_OPS_KERNEL_INT8_NEON_H

#include <arm_neon.h>

typedef int8_t term;

#ifdef __ARM_FEATURE_DOTPROD
#define NAS_Q8_CELL 4
typedef vint cell; /* of terms */
typedef int8_t cell_term;
enum { ROWS = 8, CELL_SUMS = 1 };
#else
#define NAS_Q8_CELL 1
typedef int16x4_t cell; /* of codes less their zero, so that the sums lack nothing */
typedef int16_t cell_term;
enum { ROWS = 4, CELL_SUMS = 0 };
#endif

/* Not DIRECT: runs of words would be short, and four at a time are what is quick here. */
enum { TALL = ROWS, BLOCK = 2, WORD = 4, WEIGHT_SUMS = 1, CELL = NAS_Q8_CELL, DIRECT = 0 };

static inline term term_of(int level, int zero) { return (term)(level + zero - 128); }

NAS_INLINE vint v_lack(vint weights, int zero) { return weights * (128 - zero); }

NAS_INLINE int8x16_t v_terms(const term *p) { return vld1q_s8(p); }

/* One word in all lanes. */
NAS_INLINE int8x16_t v_word(const term *p)
{
    int32_t word;

    memcpy(&word, p, sizeof word);
    return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

/* sum + the four products of each lane. */
NAS_INLINE vint v_quads(vint sum, int8x16_t a, int8x16_t b)
{
#ifdef __ARM_FEATURE_DOTPROD
    return (vint)vdotq_s32((int32x4_t)sum, a, b);
#else
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);

    return (vint)vpadalq_s16((int32x4_t)sum, vpaddq_s16(low, high));
#endif
}

#ifdef __ARM_FEATURE_DOTPROD
/* Word `lane` of each row times that of a panel; the lane is a part of the instruction. */
#define TILE_WORD(lane)                                                                          \
    do {                                                                                         \
        const int8x16_t first = v_terms(b + (lane) * WORD * PANEL);                              \
        const int8x16_t second = VECTORS > 1 ? v_terms(b + (lane) * WORD * PANEL + 16) : first;  \
        for (int r = 0; r < count; r++) {                                                        \
            sum[r][0] = (vint)vdotq_laneq_s32((int32x4_t)sum[r][0], first, row[r], lane);        \
            if (VECTORS > 1)                                                                     \
                sum[r][1] = (vint)vdotq_laneq_s32((int32x4_t)sum[r][1], second, row[r], lane);   \
        }                                                                                        \
    } while (0)

/* Four words at a time; returns how many of the `run` were done. */
NAS_INLINE int tile_words(const int count, const int VECTORS, ptrdiff_t step, int run,
                          const term *a, const term *b, vint sum[ROWS][2])
{
    int t = 0;

    for (; t + 4 <= run; t += 4, a += 4 * WORD, b += 4 * WORD * PANEL) {
        int8x16_t row[ROWS];

        for (int r = 0; r < count; r++)
            row[r] = v_terms(a + r * step);
        TILE_WORD(0);
        TILE_WORD(1);
        TILE_WORD(2);
        TILE_WORD(3);
    }
    return t;
}
#undef TILE_WORD
#else
/* Two words at a time: the products of both are added in 16 bits, those of columns 0 and 1 apart
 * from those of 2 and 3; returns how many of the `run` were done. */
NAS_INLINE int tile_words(const int count, const int VECTORS, ptrdiff_t step, int run,
                          const term *a, const term *b, vint sum[ROWS][2])
{
    int32x4_t half[ROWS][2][2];
    int t = 0;

    for (int r = 0; r < count; r++)
        for (int v = 0; v < VECTORS; v++)
            half[r][v][0] = half[r][v][1] = vdupq_n_s32(0);
    for (; t + 2 <= run; t += 2, a += 2 * WORD, b += 2 * WORD * PANEL)
        for (int r = 0; r < count; r++) {
            const int8x16_t one = v_word(a + r * step), two = v_word(a + r * step + WORD);

            for (int v = 0; v < VECTORS; v++) {
                const int8x16_t first = v_terms(b + 16 * v);
                const int8x16_t second = v_terms(b + WORD * PANEL + 16 * v);
                int16x8_t low = vmull_s8(vget_low_s8(one), vget_low_s8(first));
                int16x8_t high = vmull_high_s8(one, first);

                low = vmlal_s8(low, vget_low_s8(two), vget_low_s8(second));
                high = vmlal_high_s8(high, two, second);
                half[r][v][0] = vpadalq_s16(half[r][v][0], low);
                half[r][v][1] = vpadalq_s16(half[r][v][1], high);
            }
        }
    for (int r = 0; r < count; r++)
        for (int v = 0; v < VECTORS; v++)
            sum[r][v] += (vint)vpaddq_s32(half[r][v][0], half[r][v][1]);
    return t;
}
#endif

/* Adds `run` words of `count` rows, `step` terms apart, times VECTORS of a panel to their sums. */
NAS_INLINE void tile_run(const int count, const int VECTORS, ptrdiff_t step, int run, const term *a,
                         const term *b, vint sum[ROWS][2])
{
    int t = tile_words(count, VECTORS, step, run, a, b, sum);

    for (; t < run; t++)
        for (int r = 0; r < count; r++) {
            const int8x16_t word = v_word(a + r * step + WORD * t);

            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = v_quads(sum[r][v], word, v_terms(b + t * WORD * PANEL + 16 * v));
        }
}

/* ---- rounding, bytes and lanes ---- */

/* The nearest integers, halves to even; not-a-number far below every code. */
NAS_INLINE vint v_nearest(vfloat v)
{
    return (vint)vcvtnq_s32_f32((float32x4_t)v_max(v, v_set(-4e6f)));
}

NAS_INLINE vint v_widen(const uint8_t *p)
{
    uint32_t four;

    memcpy(&four, p, sizeof four);
    return (vint)vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
}

/* Two vectors, cut to least..most, as bytes at two places. */
NAS_INLINE void v_bytes(uint8_t *first, uint8_t *second, vint a, vint b, int least, int most)
{
    const int16x8_t both = vcombine_s16(vqmovn_s32((int32x4_t)a), vqmovn_s32((int32x4_t)b));
    const uint8x8_t cut = vmin_u8(vmax_u8(vqmovun_s16(both), vdup_n_u8((uint8_t)least)),
                                  vdup_n_u8((uint8_t)most));
    const uint32_t one = vget_lane_u32(vreinterpret_u32_u8(cut), 0);
    const uint32_t two = vget_lane_u32(vreinterpret_u32_u8(cut), 1);

    memcpy(first, &one, sizeof one);
    memcpy(second, &two, sizeof two);
}

/* ---- terms and cells ---- */

NAS_INLINE void v_put_levels(term *to, vint levels, int zero)
{
    const int16x4_t terms = vmovn_s32((int32x4_t)(levels + (zero - 128)));
    const int8x8_t narrow = vmovn_s16(vcombine_s16(terms, terms));
    const int32_t word = vget_lane_s32(vreinterpret_s32_s8(narrow), 0);

    memcpy(to, &word, sizeof word);
}

/* A quick way for all of `count` codes but the last few; returns how many became terms. */
NAS_INLINE int put_codes(term *to, const uint8_t *codes, int count)
{
    int c = 0;

    for (; c + 16 <= count; c += 16) /* less 128: the highest bit is another one */
        vst1q_s8(to + c, vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes + c), vdupq_n_u8(128))));
    return c;
}

#ifdef __ARM_FEATURE_DOTPROD
NAS_INLINE cell v_cells(vint sum, cell x, cell w)
{
    return v_quads(sum, (int8x16_t)x, (int8x16_t)w);
}

NAS_INLINE cell v_cell(const vint level[CELL], int zero)
{
    vint cells = {0};

    for (int i = 0; i < CELL; i++)
        cells |= ((level[i] + (zero - 128)) & 0xff) << 8 * i;
    return cells;
}

/* Codes of four pixels, `step` apart: four channels each. */
NAS_INLINE bool put_cell(cell *to, const uint8_t *codes, size_t step)
{
    static const uint8_t order[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    vint pixels;

    for (int i = 0; i < CELL; i++) {
        int four;
        memcpy(&four, codes + (size_t)i * step, sizeof four);
        pixels[i] = four;
    }
    const uint8x16_t cells = vqtbl1q_u8((uint8x16_t)pixels, vld1q_u8(order));
    *to = (cell)veorq_u8(cells, vdupq_n_u8(128));
    return true;
}
#else
NAS_INLINE vint v_cells(vint sum, cell x, cell w)
{
    return (vint)vmlal_s16((int32x4_t)sum, x, w);
}

NAS_INLINE cell v_cell(const vint level[CELL], int zero) { return vmovn_s32((int32x4_t)level[0]); }

NAS_INLINE bool put_cell(cell *to, const uint8_t *codes, size_t step) { return false; }
#endif

#endif
