/* An architecture's life, check and cost. */
#include "nas/space/arch.h"

#include <stdlib.h>
#include <string.h>

nas_arch *nas_arch_new(int count, nas_err *err)
{
    nas_arch *arch = calloc(1, sizeof *arch);
    nas_block_spec *blocks = calloc((size_t)(count > 0 ? count : 1), sizeof *blocks);

    if (arch == NULL || blocks == NULL) {
        nas_fail(err, NAS_E_NOMEM, "no memory for an architecture of %d blocks", count);
        free(arch);
        free(blocks);
        return NULL;
    }
    arch->count = count;
    arch->blocks = blocks;
    return arch;
}

nas_arch *nas_arch_copy(const nas_arch *arch, nas_err *err)
{
    nas_arch *copy = nas_arch_new(arch->count, err);

    if (copy != NULL) {
        nas_block_spec *blocks = copy->blocks;

        *copy = *arch;
        copy->blocks = blocks;
        memcpy(blocks, arch->blocks, (size_t)arch->count * sizeof *blocks);
    }
    return copy;
}

void nas_arch_free(nas_arch *arch)
{
    if (arch != NULL)
        free(arch->blocks);
    free(arch);
}

/* One block where `channels` at side x side reach it; both become those behind it. */
static nas_status check_block(const nas_block_spec *block, int *channels, int *side, nas_err *err)
{
    const nas_op_spec *op = &block->op;
    const nas_status status = nas_op_check(op, err);

    if (status != NAS_OK)
        return status;
    if (op->in != *channels)
        return nas_fail(err, NAS_E_CONFIG, "takes %d channels, but %d reach it", op->in, *channels);
    if (op->type == NAS_OP_LINEAR && *side != 1)
        return nas_fail(err, NAS_E_CONFIG, "linear needs a 1x1 image, a mean_pool before it");
    if (op->type == NAS_OP_ZERO && !block->shortcut)
        return nas_fail(err, NAS_E_CONFIG, "zero without a shortcut cuts the network");

    const int side_out = nas_op_cost_at(op, *side, *side).out_h;
    if (block->shortcut && (op->in != op->out || op->stride > 1 || side_out != *side))
        return nas_fail(err, NAS_E_CONFIG, "a shortcut needs the same channels and stride 1");
    *channels = op->out;
    *side = side_out;
    return NAS_OK;
}

nas_status nas_arch_check(const nas_arch *arch, nas_err *err)
{
    int channels = arch->channels, side = arch->image_size;

    if (arch->count < 1 || arch->count > NAS_MAX_BLOCKS)
        return nas_fail(err, NAS_E_CONFIG, "%d blocks, must be between 1 and %d", arch->count,
                        NAS_MAX_BLOCKS);
    if (side < 1 || side > NAS_MAX_IMAGE_SIZE)
        return nas_fail(err, NAS_E_CONFIG, "image_size is %d, must be between 1 and %d", side,
                        NAS_MAX_IMAGE_SIZE);
    for (int i = 0; i < arch->count; i++) {
        const nas_status status = check_block(&arch->blocks[i], &channels, &side, err);

        if (status != NAS_OK) {
            nas_err_prefix(err, "block %d", i);
            return status;
        }
    }
    if (arch->blocks[arch->count - 1].op.type != NAS_OP_LINEAR || channels != arch->classes)
        return nas_fail(err, NAS_E_CONFIG, "the last block must be linear with %d outputs",
                        arch->classes);
    return NAS_OK;
}

nas_op_cost nas_arch_cost(const nas_arch *arch, int image_size)
{
    const int side = image_size ? image_size : arch->image_size;
    nas_op_cost sum = {.out_h = side, .out_w = side};

    for (int i = 0; i < arch->count; i++) {
        const nas_op_cost cost = nas_op_cost_at(&arch->blocks[i].op, sum.out_h, sum.out_w);

        sum.macs += cost.macs;
        sum.parameters += cost.parameters;
        sum.out_h = cost.out_h;
        sum.out_w = cost.out_w;
    }
    return sum;
}
