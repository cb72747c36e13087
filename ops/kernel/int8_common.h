/* The arithmetic on single values that all int8 kernels agree on to the bit.  Compiled without
 * contraction: a product is rounded before it is added. */
#ifndef NAS_OPS_KERNEL_INT8_COMMON_H
#define NAS_OPS_KERNEL_INT8_COMMON_H

#include <string.h>

#include "ops/kernel/int8.h"

/* Added to |v| < 2^22 it leaves v rounded, halves to even, in the low bits of the sum. */
#define NAS_Q8_MAGIC 12582912.0f
enum { NAS_Q8_MAGIC_BITS = 0x4B400000 };

/* The code less its zero; not-a-number becomes `lo`. */
static inline int nas_q8_round(const nas_q8_grid *grid, float v)
{
    const float low = v > grid->lo ? v : grid->lo;
    const float t = (low < grid->hi ? low : grid->hi) * grid->inverse + NAS_Q8_MAGIC;
    int bits;

    memcpy(&bits, &t, sizeof bits);
    return bits - NAS_Q8_MAGIC_BITS;
}

static inline bool nas_q8_is_depthwise(const nas_conv_geom *g)
{
    return g->groups > 1 && g->groups == g->cin && g->cin == g->cout;
}

#endif
