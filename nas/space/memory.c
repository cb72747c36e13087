/* The peak of feature maps, block by block. */
#include "nas/space/memory.h"

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* Elements of the maps around each of a block's convolutions. */
static int64_t mbconv_floats(const nas_op_spec *op, bool shortcut, int64_t hw_in, int64_t hw_out)
{
    const int64_t x = op->in * hw_in, wide = op->mid * hw_in, narrow = op->mid * hw_out;
    const int64_t kept = shortcut ? x : 0;
    const int64_t project = narrow + op->out * hw_out + kept;

    if (op->expand == 1.0f)
        return most(x + narrow, project);
    return most(most(x + wide, wide + narrow + kept), project);
}

int64_t nas_op_memory(const nas_op_spec *op, bool shortcut, int h, int w)
{
    const nas_op_cost cost = nas_op_cost_at(op, h, w);
    const int64_t hw_in = (int64_t)h * w, hw_out = (int64_t)cost.out_h * cost.out_w;
    int64_t floats = op->in * hw_in + op->out * hw_out;

    if (op->type == NAS_OP_ZERO && shortcut)
        floats = 0; /* the block is skipped */
    else if (op->type == NAS_OP_MBCONV)
        floats = mbconv_floats(op, shortcut, hw_in, hw_out);
    return floats * (int64_t)sizeof(float);
}

int64_t nas_arch_memory(const nas_arch *arch, int image_size)
{
    int h = image_size ? image_size : arch->image_size, w = h;
    int64_t peak = 0;

    for (int i = 0; i < arch->count; i++) {
        const nas_block_spec *block = &arch->blocks[i];
        const nas_op_cost cost = nas_op_cost_at(&block->op, h, w);

        peak = most(peak, nas_op_memory(&block->op, block->shortcut, h, w));
        h = cost.out_h;
        w = cost.out_w;
    }
    return peak;
}
