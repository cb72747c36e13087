/* Rounded layers in ONNX: QuantizeLinear and DequantizeLinear around a node of floats, which
 * engines replace by one on integers. */
#include <math.h>
#include <stdio.h>

#include "nas/export/onnx_graph.h"

static const char *scalar(nas_onnx__graph *graph, const char *of, const char *name, float value)
{
    char text[64];
    float *to;

    snprintf(text, sizeof text, "%s.%s", of, name);
    const char *tensor = nas_onnx__tensor(graph, text, 0, NULL, &to);
    *to = value;
    return tensor;
}

static const char *node(nas_onnx__graph *graph, const char *op, const char *of, const char *name,
                        const char *second, const char *third)
{
    char text[64];

    snprintf(text, sizeof text, "%s.%s", of, name);
    nas_onnx__node(graph, op, text, second, third);
    return graph->value;
}

/* Codes of half waves are unsigned, those of full waves signed: their zero is 0.  The type itself
 * cuts at 0 and 255 only; all other limits need a node. */
void nas_onnx__round(nas_onnx__graph *graph, const nas_quant *quant, const char *of)
{
    const nas_q8_grid grid = nas_quant_grid(quant);
    char text[64];
    void *zero;

    if (quant->full_wave || quant->input_bits < 8) {
        const char *lo = scalar(graph, of, "input.min", grid.lo);
        node(graph, "Clip", of, "input.cut", lo, scalar(graph, of, "input.max", grid.hi));
    }
    snprintf(text, sizeof text, "%s.input.zero", of);
    const char *zeros =
        nas_onnx__tensor_of(graph, text, quant->full_wave ? ONNX__TENSOR_PROTO__DATA_TYPE__INT8
                                                          : ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
                            1, 0, NULL, &zero);
    const char *step = scalar(graph, of, "input.step", grid.step);
    node(graph, "QuantizeLinear", of, "input.quantize", step, zeros);
    node(graph, "DequantizeLinear", of, "input.dequantize", step, zeros);
}

/* The factor that batch norm, folded, has made of a channel's weights.  Weights come first in a
 * block, so their offset `at` is the same before folding and after it. */
static float folded_factor(const nas_onnx__graph *graph, size_t at, size_t channel)
{
    for (int u = 0; u < graph->layer->units; u++) {
        const nas_unit *unit = &graph->layer->unit[u];
        if (unit->weight == at && unit->bn)
            return graph->params[unit->gamma + channel] /
                   sqrtf(graph->params[unit->var + channel] + graph->bn_eps);
    }
    return 1.0f;
}

const char *nas_onnx__put_codes(nas_onnx__graph *graph, const nas_quant *quant, const char *of,
                                int rank, const int64_t *shape, size_t at, const float *w)
{
    const size_t out = (size_t)shape[0];
    const size_t each = (size_t)shape[1] * (size_t)shape[2] * (size_t)shape[3];
    const char *x = graph->value;
    char text[64];
    float *step;
    void *room;

    snprintf(text, sizeof text, "%s.weight", of);
    graph->value = nas_onnx__tensor_of(graph, text, ONNX__TENSOR_PROTO__DATA_TYPE__INT8, 1, rank,
                                       shape, &room);
    snprintf(text, sizeof text, "%s.weight.step", of);
    const char *steps = nas_onnx__tensor(graph, text, 1, shape, &step);
    for (size_t o = 0; o < out; o++) { /* steps are above 0: of a channel of zeros, any will do */
        const float own = quant->weight_step[o] * fabsf(folded_factor(graph, at, o));
        step[o] = own > 0.0f ? own : 1.0f;
        for (size_t i = 0; i < each; i++)
            ((int8_t *)room)[o * each + i] = (int8_t)rintf(w[o * each + i] / step[o]);
    }
    snprintf(text, sizeof text, "%s.weight.dequantize", of);
    nas_onnx__int(graph, nas_onnx__node(graph, "DequantizeLinear", text, steps, NULL), "axis", 0);
    const char *floats = graph->value;
    graph->value = x;
    return floats;
}
