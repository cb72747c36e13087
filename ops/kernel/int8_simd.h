/* What int8 kernels are made of: vectors of NAS_VL 32-bit sums, and what becomes of them.  Included
 * by int8_simd.c alone.
 *
 * A code becomes a *term*; WORD terms of a sum lie side by side in 32 bits, and a register tile
 * has ROWS rows, or TALL of one vector.  In depthwise convolutions CELL neighbouring pixels of a
 * channel are side by side; their tasks take BLOCK vectors of channels, and SPAN of their outputs
 * become terms at once.  DIRECT: windows of other convolutions are read where they lie.
 * Where terms are not codes less their zero, a sum lacks something (v_lack) that follows from the
 * sum of its weights, which are packed with them (WEIGHT_SUMS, CELL_SUMS).  int8_neon.h,
 * int8_pairs.h and int8_vnni.h say what all these are. */
#ifndef NAS_OPS_KERNEL_INT8_SIMD_H
#define NAS_OPS_KERNEL_INT8_SIMD_H

#include "ops/kernel/int8_common.h"
#include "ops/kernel/simd.h"

static inline size_t cache_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }
static inline int least(int a, int b) { return a < b ? a : b; }
static inline int most(int a, int b) { return a > b ? a : b; }

NAS_INLINE vint vi_load(const void *p)
{
    vint v;
    memcpy(&v, p, sizeof v);
    return v;
}

NAS_INLINE vint vi_set(int x) { return x - (vint){0}; }

enum { PANEL = 2 * NAS_VL /* columns of a register tile */ };

#if defined __aarch64__
#include "ops/kernel/int8_neon.h"
#elif defined __AVX512VNNI__
#include "ops/kernel/int8_vnni.h"
#else
#include "ops/kernel/int8_pairs.h"
#endif

/* Codes less their zero. */
NAS_INLINE vint v_round(const nas_q8_grid *grid, vfloat v)
{
    return v_nearest(v_min(v_max(v, v_set(grid->lo)), v_set(grid->hi)) * grid->inverse);
}

/* `n` values of the input from element `at` on, less the zero; the lanes behind them are 0.
 * CODES and WHOLE (n is at least NAS_VL) are constants. */
NAS_INLINE vint v_input(const bool CODES, const bool WHOLE, const nas_q8_input *in, const float *gate,
                        size_t at, int n)
{
    if (CODES && WHOLE)
        return v_widen(in->codes + at) - in->grid.zero;
    if (CODES) {
        vint lanes = {0};
        for (int i = 0; i < n; i++)
            lanes[i] = in->codes[at + (size_t)i] - in->grid.zero;
        return lanes;
    }
    vfloat x = WHOLE ? v_load(in->x + at) : v_load_n(in->x + at, n);
    if (gate != NULL)
        x *= WHOLE ? v_load(gate) : v_load_n(gate, n);
    return v_round(&in->grid, x); /* every grid has 0 */
}

/* What is made of sums; a constant where the loops are. */
typedef enum ending {
    ROUNDED, /* codes, as they come                      */
    BENT,    /* codes of an activation that is no limit  */
    PLAIN,   /* values without activation, with residual */
    VALUES   /* values, as the output says               */
} ending;

static ending ending_of(const nas_q8_output *out)
{
    return out->codes == NULL ? (out->act == NAS_ACT_NONE ? PLAIN : VALUES)
                              : out->act == NAS_ACT_NONE ? ROUNDED : BENT;
}

/* Sums, activated; of codes, before they are rounded. */
NAS_INLINE vfloat rescaled(const ending KIND, const nas_q8_output *out, vint sum, vfloat scale,
                           vfloat bias)
{
    const vfloat product = __builtin_convertvector(sum, vfloat) * scale;
    vfloat v = product + bias;

    if (KIND == BENT || KIND == VALUES)
        v = v_act(out->act, v);
    if (KIND == BENT)
        v = v * out->inverse + out->zero;
    return v;
}

/* The same of channels from c on. */
NAS_INLINE vfloat scaled(const ending KIND, const nas_q8_output *out, vint sum, int c)
{
    return rescaled(KIND, out, sum, v_load(out->scale + c), v_load(out->bias + c));
}

/* Sums of n channels from c on become output elements from `at` on. */
NAS_INLINE void finish(const ending KIND, const nas_q8_output *out, vint sum, int c, size_t at,
                       int n)
{
    vfloat v = scaled(KIND, out, sum, c);

    if (KIND == PLAIN || KIND == VALUES) {
        if (out->residual != NULL)
            v += n >= NAS_VL ? v_load(out->residual + at) : v_load_n(out->residual + at, n);
        n >= NAS_VL ? v_store(out->y + at, v) : v_store_n(out->y + at, v, n);
        return;
    }
    const vint code = v_nearest(v);
    for (int i = 0; i < n && i < NAS_VL; i++)
        out->codes[at + (size_t)i] =
            (uint8_t)(code[i] < out->least ? out->least : code[i] > out->most ? out->most : code[i]);
}

/* Two whole vectors: of channels from c and d on, elements from `at` and `to` on. */
NAS_INLINE void finish_two(const ending KIND, const nas_q8_output *out, vint a, vint b, int c,
                           int d, size_t at, size_t to)
{
    if (KIND == PLAIN || KIND == VALUES) {
        finish(KIND, out, a, c, at, NAS_VL);
        finish(KIND, out, b, d, to, NAS_VL);
        return;
    }
    v_bytes(out->codes + at, out->codes + to, v_nearest(scaled(KIND, out, a, c)),
            v_nearest(scaled(KIND, out, b, d)), out->least, out->most);
}

/* Runs `call` with KIND being `kind` as a constant. */
#define WITH_KIND_(value, call)     \
    case value: {                   \
        const ending KIND = value;  \
        call;                       \
        break;                      \
    }
#define WITH_KIND(kind, call)       \
    switch (kind) {                 \
        WITH_KIND_(ROUNDED, call)   \
        WITH_KIND_(BENT, call)      \
        WITH_KIND_(PLAIN, call)     \
        WITH_KIND_(VALUES, call)    \
    }

#endif
