/* Reads net.config, as published for ProxylessNAS and Once-for-All networks. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "nas/space/net_config.h"
#include "nas/space/op_json.h"

enum { PUBLISHED_IMAGE_SIZE = 224, MAX_INT = 1 << 30 };

bool nas_space__is_net_config(const json_t *json)
{
    return json_object_get(json, "first_conv") != NULL;
}

/* null counts as missing in these files. */
static bool has(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);

    return value != NULL && !json_is_null(value);
}

/* Members that we would silently get wrong must have the one value that we know. */
static nas_status expect_flag(const json_t *json, const char *where, const char *key, bool expected,
                              nas_err *err)
{
    bool value = expected;
    const nas_status status = nas_json_bool(json, where, key, false, &value, err);

    if (status == NAS_OK && value != expected)
        return nas_fail(err, NAS_E_CONFIG, "%s.%s: %s is not supported", where, key,
                        value ? "true" : "false");
    return status;
}

static nas_status expect_text(const json_t *json, const char *where, const char *key,
                              const char *expected, nas_err *err)
{
    const char *value = expected;
    const nas_status status = has(json, key) ? nas_json_str(json, where, key, false, &value, err)
                                             : NAS_OK;

    if (status == NAS_OK && strcmp(value, expected) != 0)
        return nas_fail(err, NAS_E_CONFIG, "%s.%s: \"%.40s\" is not supported, only \"%s\"", where,
                        key, value, expected);
    return status;
}

static nas_status read_int(const json_t *json, const char *where, const char *key, bool required,
                           int *out, nas_err *err)
{
    int64_t value = *out;
    const nas_status status = nas_json_int(json, where, key, required, 0, MAX_INT, &value, err);

    *out = (int)value;
    return status;
}

static nas_status read_act(const json_t *json, const char *where, nas_act *out, nas_err *err)
{
    const char *name = nas_act_name(*out);
    nas_status status;

    if (!has(json, "act_func")) {
        if (json_object_get(json, "act_func") != NULL) /* written as null */
            *out = NAS_ACT_NONE;
        return NAS_OK;
    }
    if ((status = nas_json_str(json, where, "act_func", true, &name, err)))
        return status;

    const int act = nas_act_find(name);
    if (act < 0)
        return nas_fail(err, NAS_E_CONFIG, "%s.act_func: \"%.40s\" is not supported", where, name);
    *out = (nas_act)act;
    return NAS_OK;
}

static nas_status read_conv(nas_op_spec *op, const json_t *parent, const char *parent_where,
                            const char *key, nas_err *err)
{
    const json_t *json = json_object_get(parent, key);
    char where[NAS_WHERE_SIZE];
    double dropout = 0;
    int dilation = 1;
    nas_status status;

    nas_space__where(where, "%s: %s", parent_where, key);
    *op = (nas_op_spec){.type = NAS_OP_CONV, .stride = 1, .groups = 1, .bn = true,
                        .act = NAS_ACT_RELU6};
    if (!json_is_object(json))
        return nas_fail(err, NAS_E_DATA, "%s: must be an object", where);
    if ((status = expect_text(json, where, "name", "ConvLayer", err)) ||
        (status = expect_text(json, where, "ops_order", "weight_bn_act", err)) ||
        (status = expect_flag(json, where, "has_shuffle", false, err)) ||
        (status = expect_flag(json, where, "use_se", false, err)) ||
        (status = read_int(json, where, "in_channels", true, &op->in, err)) ||
        (status = read_int(json, where, "out_channels", true, &op->out, err)) ||
        (status = read_int(json, where, "kernel_size", true, &op->kernel, err)) ||
        (status = read_int(json, where, "stride", false, &op->stride, err)) ||
        (status = read_int(json, where, "groups", false, &op->groups, err)) ||
        (status = read_int(json, where, "dilation", false, &dilation, err)) ||
        (status = nas_json_real(json, where, "dropout_rate", false, 0, 1, &dropout, err)) ||
        (status = nas_json_bool(json, where, "use_bn", false, &op->bn, err)) ||
        (status = nas_json_bool(json, where, "bias", false, &op->bias, err)) ||
        (status = read_act(json, where, &op->act, err)))
        return status;
    if (dilation != 1 || dropout != 0)
        return nas_fail(err, NAS_E_CONFIG, "%s: dilation %d with dropout %g is not supported",
                        where, dilation, dropout);
    return NAS_OK;
}

static nas_status read_classifier(nas_op_spec *op, const json_t *parent, const char *parent_where,
                                  nas_err *err)
{
    const json_t *json = json_object_get(parent, "classifier");
    char where[NAS_WHERE_SIZE];
    double dropout = 0;
    nas_status status;

    nas_space__where(where, "%s: classifier", parent_where);
    *op = (nas_op_spec){.type = NAS_OP_LINEAR, .bias = true};
    if (!json_is_object(json))
        return nas_fail(err, NAS_E_DATA, "%s: must be an object", where);
    if ((status = expect_text(json, where, "name", "LinearLayer", err)) ||
        (status = expect_flag(json, where, "use_bn", false, err)) ||
        (status = read_int(json, where, "in_features", true, &op->in, err)) ||
        (status = read_int(json, where, "out_features", true, &op->out, err)) ||
        (status = nas_json_bool(json, where, "bias", false, &op->bias, err)) ||
        (status = nas_json_real(json, where, "dropout_rate", false, 0, 1, &dropout, err)) ||
        (status = read_act(json, where, &op->act, err)))
        return status;
    op->dropout = (float)dropout;
    return NAS_OK;
}

static nas_status read_mbconv(nas_op_spec *op, const json_t *json, const char *where, nas_err *err)
{
    double expand = 6;
    bool se = false;
    nas_status status;

    *op = (nas_op_spec){.type = NAS_OP_MBCONV, .stride = 1, .act = NAS_ACT_RELU6};
    if ((status = expect_text(json, where, "name", "MBInvertedConvLayer", err)) ||
        (status = read_int(json, where, "in_channels", true, &op->in, err)) ||
        (status = read_int(json, where, "out_channels", true, &op->out, err)) ||
        (status = read_int(json, where, "kernel_size", true, &op->kernel, err)) ||
        (status = read_int(json, where, "stride", false, &op->stride, err)) ||
        (status = nas_json_real(json, where, "expand_ratio", true, 0, 1024, &expand, err)) ||
        (has(json, "mid_channels") &&
         (status = read_int(json, where, "mid_channels", true, &op->mid, err))) ||
        (status = nas_json_bool(json, where, "use_se", false, &se, err)) ||
        (status = read_act(json, where, &op->act, err)))
        return status;
    op->expand = (float)expand;
    if (!has(json, "mid_channels")) /* the cap keeps the cast defined; nas_op_check refuses it */
        op->mid = (int)fmin(rint(op->in * expand), MAX_INT);
    op->se = se ? nas_make_divisible(op->mid / 4) : 0;
    return NAS_OK;
}

static nas_status read_zero(nas_op_spec *op, const json_t *json, const char *where, int channels,
                            nas_err *err)
{
    int stride = 1;
    const nas_status status = json_is_object(json)
                                  ? read_int(json, where, "stride", false, &stride, err)
                                  : NAS_OK;

    if (status == NAS_OK && stride != 1)
        return nas_fail(err, NAS_E_CONFIG, "%s.stride: a skipped block has stride 1", where);
    *op = (nas_op_spec){.type = NAS_OP_ZERO, .in = channels, .out = channels};
    return status;
}

static bool is_layer(const json_t *json, const char *name)
{
    const char *given = json_string_value(json_object_get(json, "name"));

    return given != NULL && strcmp(given, name) == 0;
}

/* `channels`: what reaches the block. */
static nas_status read_block(nas_block_spec *block, const json_t *json, const char *where,
                             int channels, nas_err *err)
{
    /* newer exports say "conv" */
    const char *key = json_object_get(json, "conv") ? "conv" : "mobile_inverted_conv";
    const json_t *layer = json_object_get(json, key);
    const json_t *shortcut = json_object_get(json, "shortcut");
    char inside[NAS_WHERE_SIZE];

    nas_space__where(inside, "%s.%s", where, key);
    if (!json_is_object(json))
        return nas_fail(err, NAS_E_DATA, "%s: must be an object", where);
    if (!json_is_object(layer) && !json_is_null(layer))
        return nas_fail(err, NAS_E_DATA, "%s: must be an object", inside);
    block->shortcut = json_is_object(shortcut) && !is_layer(shortcut, "ZeroLayer");
    if (block->shortcut && !is_layer(shortcut, "IdentityLayer"))
        return nas_fail(err, NAS_E_CONFIG, "%s.shortcut: only IdentityLayer is supported", where);
    if (json_is_null(layer) || is_layer(layer, "ZeroLayer")) {
        block->shortcut = true; /* the original code skips the block whatever its shortcut */
        return read_zero(&block->op, layer, inside, channels, err);
    }
    return read_mbconv(&block->op, layer, inside, err);
}

static nas_status read_blocks(nas_arch *arch, const json_t *blocks, const char *where, nas_err *err)
{
    int channels = arch->blocks[0].op.out, stage = -1;
    nas_status status = NAS_OK;

    for (int i = 0; i < (int)json_array_size(blocks) && status == NAS_OK; i++) {
        nas_block_spec *block = &arch->blocks[i + 1];
        char inside[NAS_WHERE_SIZE];

        nas_space__where(inside, "%s: blocks[%d]", where, i);
        status = read_block(block, json_array_get(blocks, (size_t)i), inside, channels, err);
        if (i > 0 && !block->shortcut) /* the first block is no stage's */
            stage++;
        block->stage = stage;
        channels = block->op.out;
    }
    return status;
}

static nas_status read_tail(nas_arch *arch, int at, bool mix, const json_t *json, const char *where,
                            nas_err *err)
{
    nas_block_spec *block = arch->blocks + at;
    nas_status status;

    status = read_conv(&block->op, json, where, mix ? "final_expand_layer" : "feature_mix_layer",
                       err);
    if (status != NAS_OK)
        return status;
    const int channels = block++->op.out;
    block++->op = (nas_op_spec){.type = NAS_OP_MEAN_POOL, .in = channels, .out = channels};
    if (mix && (status = read_conv(&block++->op, json, where, "feature_mix_layer", err)))
        return status;
    return read_classifier(&block->op, json, where, err);
}

nas_status nas_space__net_config_read(nas_arch **out, const json_t *json, const char *where,
                                      nas_err *err)
{
    const json_t *blocks = json_object_get(json, "blocks");
    const char *name = NULL;
    nas_status status = nas_json_str(json, where, "name", true, &name, err);

    if (status != NAS_OK)
        return status;

    const bool mix = strcmp(name, "MobileNetV3") == 0;
    const size_t fixed = mix ? 5 : 4; /* stem, head, pool, [mix,] classifier */
    if (!mix && strcmp(name, "ProxylessNASNets") != 0)
        return nas_fail(err, NAS_E_CONFIG, "%s.name: \"%.40s\" is not supported", where, name);
    if (!json_is_array(blocks) || json_array_size(blocks) > NAS_MAX_BLOCKS - fixed)
        return nas_fail(err, NAS_E_DATA, "%s.blocks: must be a list of at most %zu blocks", where,
                        NAS_MAX_BLOCKS - fixed);

    const int searched = (int)json_array_size(blocks);
    nas_arch *arch = nas_arch_new(searched + (int)fixed, err);
    if (arch == NULL)
        return NAS_E_NOMEM;
    *out = arch;
    for (int i = 0; i < arch->count; i++)
        arch->blocks[i].stage = -1;
    arch->image_size = PUBLISHED_IMAGE_SIZE;
    arch->size_assumed = true;
    arch->bn_momentum = 0.1f;
    arch->bn_eps = 1e-3f;
    if ((status = nas_space__bn_read(json, where, &arch->bn_momentum, &arch->bn_eps, err)) ||
        (status = read_conv(&arch->blocks[0].op, json, where, "first_conv", err)) ||
        (status = read_blocks(arch, blocks, where, err)) ||
        (status = read_tail(arch, searched + 1, mix, json, where, err)))
        return status;
    arch->channels = arch->blocks[0].op.in;
    arch->classes = arch->blocks[arch->count - 1].op.out;
    return NAS_OK;
}
