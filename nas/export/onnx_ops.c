/* How each operation of the registry is written as ONNX nodes: one entry a type. */
#include <assert.h>
#include <stdio.h>

#include "nas/export/onnx_graph.h"

typedef void put_fn(nas_onnx__graph *graph, const nas_layer *layer, const float *params, bool last);

/* -- activations ------------------------------------------------------------------------ */

static void put_relu(nas_onnx__graph *graph, const char *name)
{
    nas_onnx__node(graph, "Relu", name, NULL, NULL);
}

static const char *scalar(nas_onnx__graph *graph, const char *name, float value)
{
    float *to;
    const char *tensor = nas_onnx__tensor(graph, name, 0, NULL, &to);

    *to = value;
    return tensor;
}

static void put_relu6(nas_onnx__graph *graph, const char *name)
{
    if (graph->zero == NULL) { /* shared by all */
        graph->zero = scalar(graph, "relu6.min", 0.0f);
        graph->six = scalar(graph, "relu6.max", 6.0f);
    }
    nas_onnx__node(graph, "Clip", name, graph->zero, graph->six);
}

/* relu6(x + 3) / 6 */
static void put_hsigmoid(nas_onnx__graph *graph, const char *name)
{
    Onnx__NodeProto *node = nas_onnx__node(graph, "HardSigmoid", name, NULL, NULL);

    nas_onnx__float(graph, node, "alpha", 1.0f / 6.0f);
    nas_onnx__float(graph, node, "beta", 0.5f);
}

/* In two nodes: HardSwish came with opset 14, which fewer engines read. */
static void put_hswish(nas_onnx__graph *graph, const char *name)
{
    const char *x = graph->value;
    char gate[64];

    snprintf(gate, sizeof gate, "%s.gate", name);
    put_hsigmoid(graph, gate);
    nas_onnx__node(graph, "Mul", name, x, NULL);
}

/* "expand" and RELU: a node "expand.relu". */
static void put_act(nas_onnx__graph *graph, nas_act act, const char *of)
{
    static void (*const puts[])(nas_onnx__graph *, const char *) = {
        [NAS_ACT_NONE] = NULL,
        [NAS_ACT_RELU] = put_relu,
        [NAS_ACT_RELU6] = put_relu6,
        [NAS_ACT_HSWISH] = put_hswish,
        [NAS_ACT_HSIGMOID] = put_hsigmoid,
    };
    char name[64];

    if (puts[act] == NULL)
        return;
    snprintf(name, sizeof name, "%s.%s", of, nas_act_name(act));
    puts[act](graph, name);
}

/* -- weights ---------------------------------------------------------------------------- */

static const nas_param *param_at(const nas_layer *layer, size_t offset)
{
    int i = 0;

    while (layer->param[i].offset != offset)
        i++;
    assert(i < layer->params);
    return &layer->param[i];
}

/* The parameter that begins at `offset`, as PyTorch and ONNX lay it out: [out][in][k][k], of
 * rank 2 and 1 without the trailing ones. */
static const char *weight(nas_onnx__graph *graph, const nas_layer *layer, const float *params,
                          size_t offset, const char *name, int rank)
{
    const nas_param *param = param_at(layer, offset);
    const int64_t shape[] = {param->out, param->in, param->k, param->k};
    float *values;
    const char *tensor = nas_onnx__tensor(graph, name, rank, shape, &values);

    nas_param_to_torch(param, params, values);
    return tensor;
}

static void put_window(nas_onnx__graph *graph, Onnx__NodeProto *node, int kernel, int stride)
{
    const int64_t k = kernel, s = stride, p = kernel / 2;

    nas_onnx__ints(graph, node, "kernel_shape", 2, (int64_t[]){k, k});
    nas_onnx__ints(graph, node, "strides", 2, (int64_t[]){s, s});
    nas_onnx__ints(graph, node, "pads", 4, (int64_t[]){p, p, p, p});
}

/* Weights (of that rank) and biases at the offsets, as Conv and Gemm take them; where numbers are
 * rounded, the value becomes so first and weights are codes.  `bias` 0: none (a weight lies
 * there). */
static void put_weights(nas_onnx__graph *graph, const nas_layer *layer, const float *params,
                        const nas_quant *quant, const char *name, int rank, size_t at, size_t bias,
                        const char *names[2])
{
    char text[64];

    if (quant != NULL && quant->input_bits > 0)
        nas_onnx__round(graph, quant, name);
    if (quant != NULL && quant->weight_bits > 0 && quant->weight_step != NULL) {
        const nas_param *param = param_at(layer, at);
        const int64_t shape[] = {param->out, param->in, param->k, param->k};
        float *room = nas_arena_floats(&graph->arena, param->count);
        nas_param_to_torch(param, params, room);
        names[0] = nas_onnx__put_codes(graph, quant, name, rank, shape, at, room);
    } else {
        snprintf(text, sizeof text, "%s.weight", name);
        names[0] = weight(graph, layer, params, at, text, rank);
    }
    snprintf(text, sizeof text, "%s.bias", name);
    names[1] = bias != 0 ? weight(graph, layer, params, bias, text, 1) : NULL;
}

/* A convolution by parameters at the offsets. */
static void put_conv_at(nas_onnx__graph *graph, const nas_layer *layer, const float *params,
                        const nas_quant *quant, const char *name, const nas_conv_geom *geom,
                        size_t at, size_t bias)
{
    const char *names[2];

    put_weights(graph, layer, params, quant, name, 4, at, bias, names);
    Onnx__NodeProto *node = nas_onnx__node(graph, "Conv", name, names[0], names[1]);

    put_window(graph, node, geom->k, geom->stride);
    nas_onnx__int(graph, node, "group", geom->groups);
}

static void put_unit(nas_onnx__graph *graph, const nas_layer *layer, const float *params,
                     const nas_unit *unit, const char *name)
{
    put_conv_at(graph, layer, params, unit->quant, name, &unit->geom, unit->weight,
                unit->bias ? unit->beta : 0);
    put_act(graph, unit->act, name);
}

/* -- operations ------------------------------------------------------------------------- */

static void put_conv(nas_onnx__graph *graph, const nas_layer *layer, const float *params, bool last)
{
    put_unit(graph, layer, params, &layer->unit[0], "conv");
}

/* value * h_sigmoid(expand(relu(reduce(mean(value))))) */
static void put_squeeze_excite(nas_onnx__graph *graph, const nas_layer *layer, const float *params)
{
    const nas_conv_geom pointwise = {.k = 1, .stride = 1, .groups = 1};
    const char *x = graph->value;

    nas_onnx__node(graph, "GlobalAveragePool", "se.mean", NULL, NULL);
    put_conv_at(graph, layer, params, NULL, "se_reduce", &pointwise, layer->se_reduce,
                layer->se_reduce_bias);
    put_relu(graph, "se_reduce.relu");
    put_conv_at(graph, layer, params, NULL, "se_expand", &pointwise, layer->se_expand,
                layer->se_expand_bias);
    put_hsigmoid(graph, "se_expand.h_sigmoid");
    nas_onnx__node(graph, "Mul", "se.scale", x, NULL);
}

static void put_mbconv(nas_onnx__graph *graph, const nas_layer *layer, const float *params,
                       bool last)
{
    const nas_unit *unit = layer->unit;

    if (layer->units == 3)
        put_unit(graph, layer, params, unit++, "expand");
    put_unit(graph, layer, params, unit++, "depthwise");
    if (layer->spec.se > 0)
        put_squeeze_excite(graph, layer, params);
    put_unit(graph, layer, params, unit, "project");
}

static void put_identity(nas_onnx__graph *graph, const nas_layer *layer, const float *params,
                         bool last)
{
}

static void put_max_pool(nas_onnx__graph *graph, const nas_layer *layer, const float *params,
                         bool last)
{
    put_window(graph, nas_onnx__node(graph, "MaxPool", "max_pool", NULL, NULL), layer->spec.kernel,
               layer->spec.stride);
}

/* ONNX leaves the padding out of the mean by default, as we do. */
static void put_avg_pool(nas_onnx__graph *graph, const nas_layer *layer, const float *params,
                         bool last)
{
    put_window(graph, nas_onnx__node(graph, "AveragePool", "avg_pool", NULL, NULL),
               layer->spec.kernel, layer->spec.stride);
}

static void put_mean_pool(nas_onnx__graph *graph, const nas_layer *layer, const float *params,
                          bool last)
{
    nas_onnx__node(graph, "GlobalAveragePool", "mean_pool", NULL, NULL);
}

/* The last one is what engines know as a classifier; any other is a 1x1 convolution, so that
 * what follows sees images. */
static void put_linear(nas_onnx__graph *graph, const nas_layer *layer, const float *params,
                       bool last)
{
    const nas_conv_geom pointwise = {.k = 1, .stride = 1, .groups = 1};
    const size_t bias = layer->spec.bias ? layer->linear_bias : 0;

    if (!last) {
        put_conv_at(graph, layer, params, layer->linear_quant, "linear", &pointwise, layer->linear,
                    bias);
    } else {
        nas_onnx__node(graph, "Flatten", "flatten", NULL, NULL);
        graph->flat = true;
        const char *names[2];
        put_weights(graph, layer, params, layer->linear_quant, "linear", 2, layer->linear, bias,
                    names);
        nas_onnx__int(graph, nas_onnx__node(graph, "Gemm", "linear", names[0], names[1]), "transB",
                      1);
    }
    put_act(graph, layer->spec.act, "linear");
}

static put_fn *const entries[NAS_OP_TYPES] = {
    [NAS_OP_CONV] = put_conv,
    [NAS_OP_MBCONV] = put_mbconv,
    [NAS_OP_ZERO] = NULL, /* only as a skipped block, which is not written */
    [NAS_OP_IDENTITY] = put_identity,
    [NAS_OP_MAX_POOL] = put_max_pool,
    [NAS_OP_AVG_POOL] = put_avg_pool,
    [NAS_OP_MEAN_POOL] = put_mean_pool,
    [NAS_OP_LINEAR] = put_linear,
    [NAS_OP_OWN] = NULL, /* nas_onnx_write refuses it */
};

void nas_onnx__put(nas_onnx__graph *graph, const nas_layer *layer, const float *params, bool last)
{
    assert(entries[layer->spec.type] != NULL);
    entries[layer->spec.type](graph, layer, params, last);
}
