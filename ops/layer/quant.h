/* How the numbers of a layer are rounded, and how a layer of rounded numbers is run.
 *
 * A layer's input is rounded where its kernel reads it, in training (straight-through) and in
 * evaluation; its weights are rounded by whoever keeps them (nas/quant), so that here they are
 * ordinary floats.  A layer whose input and weights have at most 8 bits can be run on integers.
 * Source  Wang et al. 2019, HAQ, arXiv:1811.08886, section 3.4; Choi et al. 2018, PACT,
 *         arXiv:1805.06085, equations 1 to 3. */
#ifndef NAS_OPS_LAYER_QUANT_H
#define NAS_OPS_LAYER_QUANT_H

#include "ops/kernel/int8.h"

typedef struct nas_quant nas_quant;

/** Sees the input of a quantised layer before it is rounded. */
typedef struct nas_quant_probe {
    void *user;
    void (*see)(void *user, const nas_quant *quant, size_t count, const float *values);
} nas_quant_probe;

/** One quantised layer: a convolution or a linear layer, with its input. */
struct nas_quant {
    int weight_bits;    /* 0: floats                                                          */
    int input_bits;     /* 2..8; 0: the input is not rounded                                   */
    bool full_wave;     /* the input may be negative: one bit is its sign                       */
    float range;        /* > 0: input values are cut to [0, range] or [-range, range]           */
    double range_grad;  /* backward adds dL/d range                                            */
    float *weight_step; /* [out] weights are -(2^(bits-1) - 1) .. +(2^(bits-1) - 1) times this;
                           NULL: they are anything (floats, shared values)                     */
    const nas_quant_probe *probe; /* not NULL: shown to it, and not rounded                     */
};

/** The levels of the input: 2^bits - 1 steps from 0 to range, or 2^(bits-1) - 1 to each side. */
nas_q8_grid nas_quant_grid(const nas_quant *quant);

/** y = x rounded to the grid; y may be x. */
void nas_quant_round(const nas_q8_grid *grid, size_t count, const float *x, float *y);

/** Straight through: g becomes 0 where x was cut; returns dL/d range, the sum of g where x was
 * above it less that where it was below -range.  The same bits at any number of threads. */
double nas_quant_pass(const nas_quant *quant, size_t count, const float *x, float *g);

#endif
