/* Writes net.config as the published code reads it, members in its order. */
#include <math.h>

#include "nas/space/arch.h"
#include "nas/space/op_json.h"

static json_t *act_write(nas_act act)
{
    return act == NAS_ACT_NONE ? json_null() : json_string(nas_act_name(act));
}

static json_t *conv_write(const nas_op_spec *op)
{
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:b, s:b, s:i, s:i, s:b, s:o, s:i, s:s}", "name",
                     "ConvLayer", "kernel_size", op->kernel, "stride", op->stride, "dilation", 1,
                     "groups", op->groups, "bias", op->bias, "has_shuffle", 0, "in_channels",
                     op->in, "out_channels", op->out, "use_bn", op->bn, "act_func",
                     act_write(op->act), "dropout_rate", 0, "ops_order", "weight_bn_act");
}

static json_t *classifier_write(const nas_op_spec *op)
{
    return json_pack("{s:s, s:i, s:i, s:b, s:b, s:o, s:o, s:s}", "name", "LinearLayer",
                     "in_features", op->in, "out_features", op->out, "bias", op->bias, "use_bn", 0,
                     "act_func", act_write(op->act), "dropout_rate",
                     nas_space__number(op->dropout), "ops_order", "weight_bn_act");
}

static json_t *shortcut_write(const nas_block_spec *block)
{
    if (!block->shortcut)
        return json_null();
    return json_pack("{s:s, s:i, s:i, s:b, s:n, s:i, s:s}", "name", "IdentityLayer",
                     "in_channels", block->op.in, "out_channels", block->op.out, "use_bn", 0,
                     "act_func", "dropout_rate", 0, "ops_order", "weight_bn_act");
}

/* `full`: with the members that only Once-for-All's code knows. */
static json_t *layer_write(const nas_op_spec *op, bool full)
{
    if (op->type == NAS_OP_ZERO)
        return json_pack("{s:s, s:i}", "name", "ZeroLayer", "stride", 1);

    json_t *json = json_pack("{s:s, s:i, s:i, s:i, s:i, s:o}", "name", "MBInvertedConvLayer",
                             "in_channels", op->in, "out_channels", op->out, "kernel_size",
                             op->kernel, "stride", op->stride, "expand_ratio",
                             nas_space__number(op->expand));
    json_t *extra = full ? json_pack("{s:i, s:o, s:b}", "mid_channels", op->mid, "act_func",
                                     act_write(op->act), "use_se", op->se > 0)
                         : NULL;

    if (full && (extra == NULL || json_object_update(json, extra) != 0)) {
        json_decref(json);
        json = NULL;
    }
    json_decref(extra);
    return json;
}

static json_t *block_write(const nas_block_spec *block, bool full)
{
    return json_pack("{s:s, s:o, s:o}", "name", "MobileInvertedResidualBlock",
                     "mobile_inverted_conv", layer_write(&block->op, full), "shortcut",
                     shortcut_write(block));
}

/* Whether the first ProxylessNAS code, which knows ratio and ReLU6 alone, can build it. */
static bool is_plain(const nas_op_spec *op)
{
    return op->type == NAS_OP_ZERO || (op->act == NAS_ACT_RELU6 && op->se == 0 && op->expand >= 1 &&
                                       op->mid == (int)rint((double)op->in * (double)op->expand));
}

static bool is_head_conv(const nas_block_spec *block)
{
    return block->op.type == NAS_OP_CONV && !block->shortcut && block->op.kernel == 1 &&
           block->op.stride == 1;
}

/* Number of blocks behind the searched ones, 0 if they are not what the format has:
 * conv, mean pool[, conv], linear. */
static int tail_size(const nas_arch *arch)
{
    const int n = arch->count;
    const int mix = n >= 5 && arch->blocks[n - 2].op.type == NAS_OP_CONV;

    if (n < 4 || arch->blocks[0].op.type != NAS_OP_CONV || arch->blocks[0].shortcut)
        return 0;

    const nas_block_spec *tail = arch->blocks + n - 3 - mix;
    if (!is_head_conv(&tail[0]) || tail[1].op.type != NAS_OP_MEAN_POOL || tail[1].shortcut ||
        (mix && !is_head_conv(&tail[2])) || tail[2 + mix].op.type != NAS_OP_LINEAR ||
        tail[2 + mix].shortcut)
        return 0;
    return 3 + mix;
}

static nas_status check_searched(const nas_block_spec *block, int index, nas_err *err)
{
    const nas_op_spec *op = &block->op;

    if (op->type != NAS_OP_MBCONV && op->type != NAS_OP_ZERO)
        return nas_fail(err, NAS_E_CONFIG, "block %d: net.config cannot hold \"%s\" here", index,
                        nas_op_spec_name(op));
    if (op->se && op->se != nas_make_divisible(op->mid / 4))
        return nas_fail(err, NAS_E_CONFIG,
                        "block %d: net.config cannot hold squeeze-excite of %d channels, only %d",
                        index, op->se, nas_make_divisible(op->mid / 4));
    return NAS_OK;
}

nas_status nas_arch_to_net_config(json_t **out, const nas_arch *arch, nas_err *err)
{
    const int tail = tail_size(arch), first = arch->count - tail;
    const nas_block_spec *block = arch->blocks;
    const bool mix = tail == 4;
    bool full = mix;

    *out = NULL;
    if (tail == 0)
        return nas_fail(err, NAS_E_CONFIG,
                        "net.config needs a stem conv, then mbconv and zero blocks, then conv, "
                        "mean_pool[, conv], linear");
    for (int i = 1; i < first; i++) {
        const nas_status status = check_searched(&block[i], i, err);

        if (status != NAS_OK)
            return status;
        full = full || !is_plain(&block[i].op);
    }

    json_t *json = json_pack("{s:s, s:o, s:o}", "name", mix ? "MobileNetV3" : "ProxylessNASNets",
                             "bn", nas_space__bn_write(arch->bn_momentum, arch->bn_eps),
                             "first_conv", conv_write(&block[0].op));
    json_t *blocks = json_array();
    int failed = 0;

    for (int i = 1; i < first; i++)
        failed |= json_array_append_new(blocks, block_write(&block[i], full));
    failed |= json_object_set_new(json, "blocks", blocks);
    if (mix)
        failed |= json_object_set_new(json, "final_expand_layer", conv_write(&block[first].op));
    failed |= json_object_set_new(json, "feature_mix_layer",
                                  conv_write(&block[first + (mix ? 2 : 0)].op));
    failed |= json_object_set_new(json, "classifier", classifier_write(&block[arch->count - 1].op));
    if (failed) {
        json_decref(json);
        return nas_fail(err, NAS_E_NOMEM, "no memory for a net.config");
    }
    *out = json;
    return NAS_OK;
}
