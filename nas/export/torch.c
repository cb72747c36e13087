/* Names and shapes of the published code's state_dict.  The original ProxylessNAS code and both
 * generations of Once-for-All's take these: the newer one renames "mobile_inverted_conv". */
#include "nas/export/torch.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "nas/export/torch_file.h"
#include "nas/train/safetensors.h"

/* Our units, "expand" in "expand.weight", and the modules in which theirs lie. */
typedef struct torch_unit {
    const char *unit, *module;
    bool conv; /* a convolution "conv" beside its batch norm "bn"; otherwise the module itself */
} torch_unit;

static const torch_unit units[] = {
    {"conv", "", true},
    {"expand", "inverted_bottleneck.", true},
    {"depthwise", "depth_conv.", true},
    {"project", "point_linear.", true},
    {"se_reduce", "depth_conv.se.fc.reduce.", false},
    {"se_expand", "depth_conv.se.fc.expand.", false},
    {"linear", "linear.", false},
};

static const torch_unit *unit_of(const char *param)
{
    const size_t length = strcspn(param, ".");

    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strlen(units[i].unit) == length && strncmp(units[i].unit, param, length) == 0)
            return &units[i];
    assert(!"a unit of ops/layer that has no entry here");
    return NULL;
}

static const char *const whats[] = {
    [NAS_PARAM_POINTWISE] = "weight", [NAS_PARAM_DEPTHWISE] = "weight",
    [NAS_PARAM_CONV] = "weight",      [NAS_PARAM_LINEAR] = "weight",
    [NAS_PARAM_BIAS] = "bias",        [NAS_PARAM_GAMMA] = "weight",
    [NAS_PARAM_BETA] = "bias",        [NAS_PARAM_MEAN] = "running_mean",
    [NAS_PARAM_VAR] = "running_var",
};

/* The module of a block in a network that net.config can hold. */
static void block_module(const nas_arch *arch, int index, char out[48])
{
    const nas_op_type type = arch->blocks[index].op.type;
    const bool mix = arch->blocks[arch->count - 2].op.type == NAS_OP_CONV;

    if (index == 0)
        snprintf(out, 48, "first_conv");
    else if (index == arch->count - 1)
        snprintf(out, 48, "classifier");
    else if (type != NAS_OP_CONV)
        snprintf(out, 48, "blocks.%d.mobile_inverted_conv", index - 1);
    else /* with a feature mix, which stands just before the classifier, the other expands */
        snprintf(out, 48, "%s",
                 mix && index != arch->count - 2 ? "final_expand_layer" : "feature_mix_layer");
}

static void set_shape(nas_torch__tensor *tensor, const nas_param *param, bool image)
{
    tensor->shape[0] = param->out;
    tensor->shape[1] = param->in;
    tensor->shape[2] = tensor->shape[3] = param->k;
    tensor->rank = param->kind >= NAS_PARAM_BIAS ? 1 : image ? 4 : 2;
    tensor->count = param->count;
}

/* Appends a parameter, and behind a running variance the count of batches, which PyTorch keeps
 * and nobody needs; returns how many. */
static int add_param(nas_torch__tensor *tensor, const char *block, const nas_param *param,
                     const float *params, float *values)
{
    const torch_unit *unit = unit_of(param->name);
    const char *beside = param->kind >= NAS_PARAM_GAMMA ? "bn." : "conv.";
    const char *part = unit->conv ? beside : "";

    snprintf(tensor->name, sizeof tensor->name, "%s.%s%s%s", block, unit->module, part,
             whats[param->kind]);
    set_shape(tensor, param, strcmp(unit->unit, "linear") != 0);
    nas_param_to_torch(param, params, values);
    tensor->f32 = values;
    if (param->kind != NAS_PARAM_VAR)
        return 1;
    tensor[1] = (nas_torch__tensor){.count = 1};
    snprintf(tensor[1].name, sizeof tensor->name, "%s.%sbn.num_batches_tracked", block,
             unit->module);
    return 2;
}

/* Both results are yours; `*count` tensors that point into `*values`. */
static nas_status collect(const nas_model *model, const nas_arch *arch, nas_torch__tensor **out,
                          int *count, float **values, nas_err *err)
{
    size_t floats = 0;

    *count = 0;
    *out = calloc((size_t)model->slots * 2 * NAS_LAYER_MAX_PARAMS, sizeof **out);
    for (int s = 0; s < model->slots; s++)
        floats += nas_layer_floats(&model->slot[s].layer[0]);
    *values = malloc(floats * sizeof **values);
    if (*out == NULL || *values == NULL)
        return nas_fail(err, NAS_E_NOMEM, "weights: out of memory");
    float *to = *values;
    for (int s = 0; s < model->slots; s++) {
        const nas_layer *layer = &model->slot[s].layer[0];
        char block[48];

        if (layer->spec.type == NAS_OP_CONV && layer->spec.bn && layer->spec.bias)
            return nas_fail(err, NAS_E_CONFIG,
                            "block %d: a bias beside batch norm, which is not trained here, but "
                            "PyTorch's network would have it",
                            s);
        block_module(arch, s, block);
        for (int p = 0; p < layer->params; p++) {
            *count += add_param(*out + *count, block, &layer->param[p],
                                model->params + model->slot[s].offset[0], to);
            to += layer->param[p].count;
        }
    }
    return NAS_OK;
}

static nas_status save_safetensors(const nas_torch__tensor *tensor, int count, const char *path,
                                   nas_err *err)
{
    static const int64_t none = 0;
    nas_safetensors_builder *builder = nas_safetensors_builder_new();

    if (builder != NULL)
        nas_safetensors_builder_meta(builder, "format", "pt"); /* as other writers say: PyTorch */
    for (int i = 0; builder != NULL && i < count; i++)
        nas_safetensors_builder_add(builder, tensor[i].name,
                                    tensor[i].f32 != NULL ? NAS_DTYPE_F32 : NAS_DTYPE_I64,
                                    tensor[i].rank, tensor[i].shape,
                                    tensor[i].f32 != NULL ? (const void *)tensor[i].f32 : &none);
    const nas_status status = nas_safetensors_builder_write(builder, path, NULL, err);
    nas_safetensors_builder_free(builder);
    return status;
}

static bool is_torch_name(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot != NULL && (strcmp(dot, ".pth") == 0 || strcmp(dot, ".pt") == 0);
}

nas_status nas_torch_write(const nas_model *model, const nas_arch *arch, const char *config,
                           const char *weights, nas_err *err)
{
    nas_torch__tensor *tensor = NULL;
    float *values = NULL;
    json_t *json;
    int count;
    nas_status status = nas_arch_to_net_config(&json, arch, err); /* also: can it be said? */

    if (status == NAS_OK && weights != NULL &&
        (status = collect(model, arch, &tensor, &count, &values, err)) == NAS_OK)
        status = (is_torch_name(weights) ? nas_torch__save : save_safetensors)(tensor, count,
                                                                               weights, err);
    if (status == NAS_OK && config != NULL)
        status = nas_json_save(json, config, err);
    free(tensor);
    free(values);
    json_decref(json);
    return status;
}
