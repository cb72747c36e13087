/* A network as an ONNX model: its blocks in a row, what the file says of itself, and the file. */
#include "nas/export/onnx.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nas/export/onnx_graph.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is little endian");

/* A file under construction. */
typedef struct onnx_file {
    nas_onnx__graph graph;
    Onnx__ModelProto model;
    Onnx__OperatorSetIdProto opset, *opsets[1];
    Onnx__StringStringEntryProto pair[8], *pairs[8];
    float *folded; /* the largest layer's */
} onnx_file;

/* Floats of the largest folded layer, and of all of them with the room that rounding takes. */
static size_t folded_floats(const nas_model *model, size_t *all)
{
    size_t largest = 0;

    *all = 0;
    for (int s = 0; s < model->slots; s++) {
        nas_layer folded;

        nas_layer_fold(&model->slot[s].layer[0], NULL, model->bn_eps, &folded, NULL);
        const size_t floats = nas_layer_floats(&folded);
        largest = floats > largest ? floats : largest;
        *all += model->quant != NULL ? 2 * floats : floats; /* codes, and scales of channels */
    }
    return largest;
}

/* ONNX has no operations of a program's own. */
static nas_status check_known(const nas_arch *arch, nas_err *err)
{
    for (int b = 0; b < arch->count; b++)
        if (arch->blocks[b].op.type == NAS_OP_OWN) {
            nas_fail(err, NAS_E_CONFIG, "block %d: ONNX has no operation \"%s\"", b,
                     nas_op_spec_name(&arch->blocks[b].op));
            nas_hint(err, "such a network can be saved as a model, not exported");
            return NAS_E_CONFIG;
        }
    return NAS_OK;
}

static void put_block(onnx_file *file, const nas_model *model, int index)
{
    const nas_model_slot *slot = &model->slot[index];
    nas_onnx__graph *graph = &file->graph;
    const char *x = graph->value;
    nas_layer folded;

    if (slot->shortcut && slot->layer[0].spec.type == NAS_OP_ZERO)
        return; /* y = x */
    nas_layer_fold(&slot->layer[0], model->params + slot->offset[0], model->bn_eps, &folded,
                   file->folded);
    graph->block = index;
    graph->layer = &slot->layer[0];
    graph->params = model->params + slot->offset[0];
    graph->bn_eps = model->bn_eps;
    nas_onnx__put(graph, &folded, file->folded, index == model->slots - 1 && !slot->shortcut);
    if (slot->shortcut)
        nas_onnx__node(graph, "Add", "shortcut", x, NULL);
}

/* What the last node gives is the output, under the name that users see. */
static void put_blocks(onnx_file *file, const nas_model *model)
{
    nas_onnx__graph *graph = &file->graph;
    const int64_t image[] = {model->channels, model->image_size, model->image_size};
    const int64_t logits[] = {model->classes};
    Onnx__ValueInfoProto **ports = nas_arena_alloc(&graph->arena, 2 * sizeof *ports);

    for (int s = 0; s < model->slots; s++)
        put_block(file, model, s);
    if (!graph->flat)
        nas_onnx__node(graph, "Flatten", "flatten", NULL, NULL);
    ports[0] = nas_onnx__port(graph, "image", 3, image);
    ports[1] = nas_onnx__port(graph, "logits", 1, logits);
    graph->proto.node[graph->proto.n_node - 1]->output[0] = ports[1]->name;
    graph->proto.name = nas_onnx__text(graph, "%s", *model->name ? model->name : "network");
    graph->proto.input = &ports[0];
    graph->proto.output = &ports[1];
    graph->proto.n_input = graph->proto.n_output = 1;
}

/* Takes `value` over; it is written as compact JSON. */
static nas_status put_meta(onnx_file *file, const char *key, json_t *value, nas_err *err)
{
    Onnx__StringStringEntryProto *pair = &file->pair[file->model.n_metadata_props];
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));

    json_decref(value);
    if (text == NULL)
        return nas_fail(err, NAS_E_NOMEM, "ONNX metadata: out of memory, or not UTF-8");
    onnx__string_string_entry_proto__init(pair);
    pair->key = (char *)key;
    pair->value = text;
    file->pairs[file->model.n_metadata_props++] = pair;
    return NAS_OK;
}

static json_t *reals(const float *values, int count)
{
    json_t *list = json_array();

    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_real((double)values[i]));
    return list;
}

static json_t *texts(const char *const *values, int count)
{
    json_t *list = json_array();

    for (int i = 0; i < count; i++)
        if (json_array_append_new(list, json_string(values[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static nas_status describe(onnx_file *file, const nas_arch *arch, const nas_onnx_info *info,
                           nas_err *err)
{
    Onnx__ModelProto *m = &file->model;
    nas_status status;

    onnx__model_proto__init(m);
    onnx__operator_set_id_proto__init(&file->opset);
    file->opset.domain = "";
    file->opset.has_version = m->has_ir_version = 1;
    file->opset.version = NAS_ONNX_OPSET;
    file->opsets[0] = &file->opset;
    m->opset_import = file->opsets;
    m->n_opset_import = 1;
    m->ir_version = NAS_ONNX_IR;
    m->producer_name = "onepath";
    m->producer_version = (char *)info->version;
    m->graph = &file->graph.proto;
    m->metadata_props = file->pairs;
    m->doc_string = info->mean != NULL
                        ? "image: (pixel value / 255 - mean) / std, which are in the metadata"
                        : "image: normalised as in training";
    if ((status = put_meta(file, "architecture", nas_arch_to_json(arch), err)) ||
        (info->class_names != NULL &&
         (status = put_meta(file, "classes", texts(info->class_names, arch->classes), err))) ||
        (info->mean != NULL &&
         ((status = put_meta(file, "mean", reals(info->mean, arch->channels), err)) ||
          (status = put_meta(file, "std", reals(info->std, arch->channels), err)))))
        return status;
    return NAS_OK;
}

/* protobuf-c packs into this, piece by piece. */
typedef struct sink {
    ProtobufCBuffer base;
    nas_writer *writer;
} sink;

static void append(ProtobufCBuffer *buffer, size_t size, const uint8_t *data)
{
    nas_writer_put(((sink *)buffer)->writer, data, size);
}

static nas_status save(const Onnx__ModelProto *model, const char *path, nas_err *err)
{
    const size_t size = onnx__model_proto__get_packed_size(model);
    sink to = {.base.append = append};
    nas_status status;

    if (size > INT32_MAX)
        return nas_fail(err, NAS_E_CONFIG, "%s: %zu MiB, but ONNX holds at most 2 GiB", path,
                        size >> 20);
    if ((status = nas_writer_open(&to.writer, path, err)) != NAS_OK)
        return status;
    onnx__model_proto__pack_to_buffer(model, &to.base);
    return nas_writer_commit(to.writer, err);
}

nas_status nas_onnx_write(const nas_model *model, const nas_arch *arch, const nas_onnx_info *info,
                          const char *path, nas_err *err)
{
    onnx_file *file = NULL;
    size_t all;
    const size_t largest = folded_floats(model, &all);
    nas_status status = check_known(arch, err);

    if (status != NAS_OK)
        return status;
    file = calloc(1, sizeof *file);
    if (file != NULL)
        file->folded = malloc(largest * sizeof *file->folded);
    if (file == NULL || file->folded == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "ONNX: out of memory");
        goto done;
    }
    if ((status = nas_onnx__begin(&file->graph, model->slots, all, err)) ||
        (status = describe(file, arch, info, err)))
        goto done;
    put_blocks(file, model);
    status = save(&file->model, path, err);

done:
    for (size_t i = 0; file != NULL && i < file->model.n_metadata_props; i++)
        free(file->pair[i].value);
    if (file != NULL) {
        nas_onnx__fini(&file->graph);
        free(file->folded);
    }
    free(file);
    return status;
}
