/* The int8 kernels of one instruction set. */
#if defined __aarch64__
#include "ops/kernel/int8_depthwise.h"
#include "ops/kernel/int8_product.h"
#else
#include "ops/kernel/int8_block.h"
#endif

static size_t packed_bytes(const nas_conv_geom *g)
{
    if (nas_q8_is_depthwise(g)) {
        const lines l = lines_of(g);
        return cache_lines((size_t)l.blocks * BLOCK * l.packed * sizeof(cell));
    }
    const product p = product_of(g);
    return cache_lines((size_t)g->groups * (size_t)p.panels * p.panel * sizeof(term));
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
    return (size_t)threads * (p.part + p.tile) * sizeof(term);
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
    .scratch = scratch_bytes, .conv = conv,
#if !defined __aarch64__
    .block_scratch = block_scratch, .block = run_block
#endif
};
