/* The int8 kernels of one instruction set. */
#include "ops/kernel/int8_block.h"

static size_t packed_bytes(const nas_conv_geom *g)
{
    if (nas_q8_is_depthwise(g)) {
        const lines l = lines_of(g);
        return cache_lines((size_t)l.blocks * BLOCK * 2 * l.filter * sizeof(vint));
    }
    const product p = product_of(g);
    return cache_lines((size_t)g->groups * (size_t)p.panels * p.panel * sizeof(int16_t));
}

static void pack(const nas_conv_geom *g, const int8_t *w, void *packed)
{
    if (nas_q8_is_depthwise(g))
        depthwise_pack(g, w, packed);
    else
        product_pack(g, w, packed);
}

static size_t scratch_bytes(const nas_conv_geom *g, int threads)
{
    if (nas_q8_is_depthwise(g)) {
        const lines l = lines_of(g);
        const band b = band_of(g, &l);
        return (size_t)threads * band_room(g, &l, &b) * sizeof(vint);
    }
    const product p = product_of(g);
    return (size_t)threads * (p.part + p.tile) * sizeof(int16_t);
}

static void conv(const nas_conv_geom *g, const nas_q8_input *in, const void *packed,
                 const nas_q8_output *out, void *scratch)
{
    if (nas_q8_is_depthwise(g))
        depthwise_conv(g, in, packed, out, scratch);
    else
        product_conv(g, in, packed, out, scratch);
}

#define NAS_Q8_STRING_(name) #name
#define NAS_Q8_STRING(name) NAS_Q8_STRING_(name)

extern const nas_q8_kernels NAS_ISA_NAME(nas_q8_kernels);
const nas_q8_kernels NAS_ISA_NAME(nas_q8_kernels) = {
    .name = NAS_Q8_STRING(NAS_ISA), .packed_bytes = packed_bytes, .pack = pack,
    .scratch = scratch_bytes, .conv = conv, .block_scratch = block_scratch, .block = run_block};
