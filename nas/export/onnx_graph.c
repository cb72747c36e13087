/* ONNX's messages in one arena: nodes, constants, attributes. */
#include "nas/export/onnx_graph.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A block of most nodes is an mbconv with squeeze-excite, h-swish and a shortcut (15), one of
 * most constants too (10); quantised, each of its three convolutions has 4 nodes and 5 constants
 * more.  The bounds of ReLU6 and the flattening come once. */
enum { BLOCK_NODES = 30, BLOCK_TENSORS = 27, MORE = 8, NODE_ATTRIBUTES = 6 };
/* Bytes of one node with its names and attributes, or of one constant without its values. */
enum { NODE_BYTES = 8192, TENSOR_BYTES = 1024 };

static void *take(nas_onnx__graph *graph, size_t size)
{
    return memset(nas_arena_alloc(&graph->arena, size), 0, size);
}

nas_status nas_onnx__begin(nas_onnx__graph *graph, int blocks, size_t floats, nas_err *err)
{
    const size_t nodes = (size_t)blocks * BLOCK_NODES + MORE;
    const size_t tensors = (size_t)blocks * BLOCK_TENSORS + MORE;
    nas_status status;

    *graph = (nas_onnx__graph){.proto = ONNX__GRAPH_PROTO__INIT, .value = "image"};
    status = nas_arena_init(
        &graph->arena, nodes * NODE_BYTES + tensors * TENSOR_BYTES + floats * sizeof(float), err);
    if (status != NAS_OK)
        return status;
    graph->proto.node = take(graph, nodes * sizeof *graph->proto.node);
    graph->proto.initializer = take(graph, tensors * sizeof *graph->proto.initializer);
    return NAS_OK;
}

void nas_onnx__fini(nas_onnx__graph *graph)
{
    nas_arena_fini(&graph->arena);
}

char *nas_onnx__text(nas_onnx__graph *graph, const char *format, ...)
{
    va_list list, again;

    va_start(list, format);
    va_copy(again, list);
    const int length = vsnprintf(NULL, 0, format, list);
    assert(length >= 0);
    char *text = take(graph, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(list);
    return text;
}

const char *nas_onnx__tensor_of(nas_onnx__graph *graph, const char *name,
                                Onnx__TensorProto__DataType type, size_t size, int rank,
                                const int64_t *shape, void **values)
{
    Onnx__TensorProto *tensor = take(graph, sizeof *tensor);
    size_t count = 1;

    onnx__tensor_proto__init(tensor);
    tensor->name = nas_onnx__text(graph, "block%d.%s", graph->block, name);
    tensor->has_data_type = 1;
    tensor->data_type = (int)type;
    tensor->n_dims = (size_t)rank;
    tensor->dims = take(graph, (size_t)rank * sizeof *shape);
    for (int i = 0; i < rank; i++) {
        tensor->dims[i] = shape[i];
        count *= (size_t)shape[i];
    }
    *values = take(graph, count * size);
    tensor->has_raw_data = 1; /* little endian, as this machine is */
    tensor->raw_data = (ProtobufCBinaryData){count * size, *values};
    graph->proto.initializer[graph->proto.n_initializer++] = tensor;
    return tensor->name;
}

const char *nas_onnx__tensor(nas_onnx__graph *graph, const char *name, int rank,
                             const int64_t *shape, float **values)
{
    void *room;
    const char *tensor = nas_onnx__tensor_of(graph, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
                                             sizeof **values, rank, shape, &room);

    *values = room;
    return tensor;
}

Onnx__NodeProto *nas_onnx__node(nas_onnx__graph *graph, const char *op, const char *name,
                                const char *second, const char *third)
{
    Onnx__NodeProto *node = take(graph, sizeof *node);

    onnx__node_proto__init(node);
    node->op_type = nas_onnx__text(graph, "%s", op);
    node->name = nas_onnx__text(graph, "block%d.%s", graph->block, name);
    node->input = take(graph, 3 * sizeof *node->input);
    node->input[node->n_input++] = (char *)graph->value;
    if (second != NULL)
        node->input[node->n_input++] = (char *)second;
    if (third != NULL)
        node->input[node->n_input++] = (char *)third;
    node->output = take(graph, sizeof *node->output);
    node->output[node->n_output++] = node->name;
    node->attribute = take(graph, NODE_ATTRIBUTES * sizeof *node->attribute);
    graph->proto.node[graph->proto.n_node++] = node;
    graph->value = node->name;
    return node;
}

static Onnx__AttributeProto *attribute(nas_onnx__graph *graph, Onnx__NodeProto *node,
                                       const char *name, Onnx__AttributeProto__AttributeType type)
{
    Onnx__AttributeProto *a = take(graph, sizeof *a);

    assert(node->n_attribute < NODE_ATTRIBUTES);
    onnx__attribute_proto__init(a);
    a->name = nas_onnx__text(graph, "%s", name);
    a->has_type = 1;
    a->type = type;
    node->attribute[node->n_attribute++] = a;
    return a;
}

void nas_onnx__ints(nas_onnx__graph *graph, Onnx__NodeProto *node, const char *name, int count,
                    const int64_t *values)
{
    Onnx__AttributeProto *a =
        attribute(graph, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);

    a->n_ints = (size_t)count;
    a->ints = take(graph, (size_t)count * sizeof *values);
    memcpy(a->ints, values, (size_t)count * sizeof *values);
}

void nas_onnx__int(nas_onnx__graph *graph, Onnx__NodeProto *node, const char *name, int64_t value)
{
    Onnx__AttributeProto *a =
        attribute(graph, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);

    a->has_i = 1;
    a->i = value;
}

void nas_onnx__float(nas_onnx__graph *graph, Onnx__NodeProto *node, const char *name, float value)
{
    Onnx__AttributeProto *a =
        attribute(graph, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);

    a->has_f = 1;
    a->f = value;
}

static Onnx__TensorShapeProto__Dimension *dimension(nas_onnx__graph *graph)
{
    Onnx__TensorShapeProto__Dimension *d = take(graph, sizeof *d);

    onnx__tensor_shape_proto__dimension__init(d);
    return d;
}

Onnx__ValueInfoProto *nas_onnx__port(nas_onnx__graph *graph, const char *name, int rank,
                                     const int64_t *shape)
{
    Onnx__ValueInfoProto *port = take(graph, sizeof *port);
    Onnx__TypeProto__Tensor *tensor = take(graph, sizeof *tensor);

    onnx__value_info_proto__init(port);
    port->name = nas_onnx__text(graph, "%s", name);
    port->type = take(graph, sizeof *port->type);
    onnx__type_proto__init(port->type);
    port->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    port->type->tensor_type = tensor;
    onnx__type_proto__tensor__init(tensor);
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = take(graph, sizeof *tensor->shape);
    onnx__tensor_shape_proto__init(tensor->shape);
    tensor->shape->dim = take(graph, (size_t)(rank + 1) * sizeof *tensor->shape->dim);
    tensor->shape->n_dim = (size_t)rank + 1;

    Onnx__TensorShapeProto__Dimension *batch = tensor->shape->dim[0] = dimension(graph);
    batch->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    batch->dim_param = nas_onnx__text(graph, "batch");
    for (int i = 0; i < rank; i++) {
        Onnx__TensorShapeProto__Dimension *d = tensor->shape->dim[i + 1] = dimension(graph);
        d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        d->dim_value = shape[i];
    }
    return port;
}
