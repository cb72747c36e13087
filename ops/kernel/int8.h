/* Convolutions on 8-bit integers, for inference: unsigned codes by signed weights, summed
 * exactly in 32 bits, so that every instruction set gives the same bits.
 *
 * A code q stands for the value (q - zero) * step.  Layouts are those of kernel.h; kernels cannot
 * fail and allocate nothing.
 * Source  Jacob et al. 2018, arXiv:1712.05877, section 2 (with float instead of fixed-point scales). */
#ifndef NAS_OPS_KERNEL_INT8_H
#define NAS_OPS_KERNEL_INT8_H

#include <stdint.h>

#include "ops/kernel/kernel.h"

/** Levels that a tensor is rounded to:
 *    code(v) = zero + round(clamp(v, lo, hi) * inverse), halves to even;  0 <= code <= 255. */
typedef struct nas_q8_grid {
    float lo, hi, step, inverse; /* inverse: 1/step */
    int zero;
} nas_q8_grid;

/** The input of a convolution: codes of the grid, or (codes NULL) values x that are rounded to it
 * while they are read, times gate[n][c] (NULL: 1). */
typedef struct nas_q8_input {
    const uint8_t *codes;
    const float *x, *gate;
    nas_q8_grid grid;
} nas_q8_input;

/** What becomes of the sums: values
 *    y = act(sum * scale[c] + bias[c]) [+ residual],  y may be residual,
 * or (codes not NULL) codes of the next reader's grid
 *    code = clamp(round(sum * scale[c] + bias[c]), least, most)                       act NONE,
 *    code = clamp(round(act(sum * scale[c] + bias[c]) * inverse + zero), least, most)  any other;
 * for the first, scale and bias are in units of codes, and ReLU is a limit (nas_q8_limits).
 * What is rounded must be within +-2^31. */
typedef struct nas_q8_output {
    const float *scale, *bias; /* [cout] and NAS_Q8_PAD more that are read, but not used */
    nas_act act;
    const float *residual;
    float *y;
    uint8_t *codes;
    int least, most;
    float inverse, zero;
} nas_q8_output;

/** Sets what an output of codes needs of the grid; an activation that only cuts becomes limits
 * (`act` is NONE then: scale and bias are to be in codes). */
void nas_q8_limits(nas_q8_output *out, const nas_q8_grid *grid, nas_act act);

enum {
    NAS_Q8_PAD = 16,
    NAS_Q8_MAX_TERMS = 66000 /* products a sum: 66000 * 255 * 127 < 2^31 */
};

/** A convolution of a block: how its input is rounded, and what becomes of its sums. */
typedef struct nas_q8_link {
    nas_conv_geom geom;
    nas_q8_grid grid;
    const void *packed;
    nas_q8_output out; /* of all but the last: as of codes (nas_q8_limits), which go nowhere */
} nas_q8_link;

typedef struct nas_q8_kernels {
    const char *name;
    /** Bytes of the weights as `conv` reads them, and their copy into `packed` (64-byte aligned);
     * w [k*k][cin/groups][cout], each -127..127. */
    size_t (*packed_bytes)(const nas_conv_geom *geom);
    void (*pack)(const nas_conv_geom *geom, const int8_t *w, void *packed);
    /** Bytes of scratch, 64-byte aligned, that conv needs at `threads` threads. */
    size_t (*scratch)(const nas_conv_geom *geom, int threads);
    /** Any convolution: pointwise, depthwise, grouped, strided.  At most NAS_Q8_MAX_TERMS terms
     * a sum.  Padding is the value 0. */
    void (*conv)(const nas_conv_geom *geom, const nas_q8_input *in, const void *packed,
                 const nas_q8_output *out, void *scratch);
    /** An inverted residual block in one go: [pointwise,] depthwise, pointwise convolution; to the
     * bits of `conv` of each.  block_scratch: 64-byte aligned; 0: these `count` convolutions are
     * no such block, or are better run one by one.  Both NULL: not in this set. */
    size_t (*block_scratch)(const nas_conv_geom *geom, int count, int threads);
    void (*block)(const nas_q8_link *link, int count, const float *x, void *scratch);
} nas_q8_kernels;

/** Those that go with a set of kernels: "reference" with its namesake, "portable" likewise where
 * there is one, and with every other set the best that run here. */
const nas_q8_kernels *nas_q8_kernels_of(const nas_kernels *kernels);

/** All that run here, best first, up to NULL: "avx512vnni", "avx2", "portable"; on 64-bit ARM
 * "dotprod", "neon"; everywhere, and last, "reference". */
const nas_q8_kernels *const *nas_q8_kernels_all(void);

#endif
