/* Private to nas/export: a graph of ONNX nodes under construction, and the operations that
 * write themselves into it. */
#ifndef NAS_NAS_EXPORT_ONNX_GRAPH_H
#define NAS_NAS_EXPORT_ONNX_GRAPH_H

#include "base/arena.h"
#include "nas/export/onnx.pb-c.h"
#include "ops/layer/layer.h"

/** Nothing here can fail: all memory was reserved by nas_onnx__begin. */
typedef struct nas_onnx__graph {
    nas_arena arena;
    Onnx__GraphProto proto;
    int block;              /* number of the block that is written: names begin with it          */
    const char *value;      /* the output of what was written so far                             */
    bool flat;              /* it is [batch][channels], not [batch][channels][height][width]     */
    const char *zero, *six; /* bounds of ReLU6; NULL until the first                         */
    const nas_layer *layer; /* of the block, before batch norm was folded into it              */
    const float *params;
    float bn_eps;
} nas_onnx__graph;

/** Reserves memory for `blocks` blocks of at most `floats` weights; the value is "image". */
nas_status nas_onnx__begin(nas_onnx__graph *graph, int blocks, size_t floats, nas_err *err);
void nas_onnx__fini(nas_onnx__graph *graph);

/** A text of the graph's own. */
char *nas_onnx__text(nas_onnx__graph *graph, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** A constant "block3.NAME" of that shape; returns its name, `*values` are yours to fill. */
const char *nas_onnx__tensor(nas_onnx__graph *graph, const char *name, int rank,
                             const int64_t *shape, float **values);
/** The same of another type: `size` bytes an element, not yet filled. */
const char *nas_onnx__tensor_of(nas_onnx__graph *graph, const char *name,
                                Onnx__TensorProto__DataType type, size_t size, int rank,
                                const int64_t *shape, void **values);
/** A node "block3.NAME" whose first input is `graph->value`; its output becomes the value.
 * `second` and `third` input: NULL for none. */
Onnx__NodeProto *nas_onnx__node(nas_onnx__graph *graph, const char *op, const char *name,
                                const char *second, const char *third);
void nas_onnx__ints(nas_onnx__graph *graph, Onnx__NodeProto *node, const char *name, int count,
                    const int64_t *values);
void nas_onnx__int(nas_onnx__graph *graph, Onnx__NodeProto *node, const char *name, int64_t value);
void nas_onnx__float(nas_onnx__graph *graph, Onnx__NodeProto *node, const char *name, float value);

/** An input or output of floats: the batch, which is free, then `shape`. */
Onnx__ValueInfoProto *nas_onnx__port(nas_onnx__graph *graph, const char *name, int rank,
                                     const int64_t *shape);

/** Rounds the value to the levels of a quantised layer's input: [Clip,] QuantizeLinear,
 * DequantizeLinear. */
void nas_onnx__round(nas_onnx__graph *graph, const nas_quant *quant, const char *of);
/** Folded weights w [out][..] at the offset `at`, in ONNX's layout, as a constant of integers
 * behind DequantizeLinear; the name of its output. */
const char *nas_onnx__put_codes(nas_onnx__graph *graph, const nas_quant *quant, const char *of,
                                int rank, const int64_t *shape, size_t at, const float *w);

/** Appends what a folded layer computes (without a shortcut's sum).  `params` is the folded
 * block; `last`: nothing follows it. */
void nas_onnx__put(nas_onnx__graph *graph, const nas_layer *layer, const float *params, bool last);

#endif
