/* ONNX files: what is in them, and what ONNX's checker and onnxruntime make of them. */
#include <jansson.h>
#include <math.h>

#include "base/file.h"
#include "nas/data/loader.h"
#include "nas/data/synth.h"
#include "nas/export/onnx.h"
#include "nas/export/onnx.pb-c.h"
#include "tests/nas/export/network.h"
#include "tests/support/numeric.h"
#include "tests/support/scratch.h"

static nas_err err;

#define ok(call) cr_assert_eq((call), NAS_OK, "%s", err.message)

TestSuite(nas_onnx, .init = scratch_init, .fini = scratch_fini, .timeout = 200);

static const nas_onnx_info plain = {.version = "1.2.3"};

/* Yours: onnx__model_proto__free_unpacked. */
static Onnx__ModelProto *written(const network *net, const nas_onnx_info *info)
{
    char *bytes;
    size_t size;

    ok(nas_onnx_write(net->model, net->arch, info, scratch("net.onnx"), &err));
    ok(nas_file_read(scratch("net.onnx"), 64 << 20, &bytes, &size, &err));
    Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, size, (uint8_t *)bytes);
    cr_assert_not_null(model);
    free(bytes);
    return model;
}

static const char *meta(const Onnx__ModelProto *model, const char *key)
{
    for (size_t i = 0; i < model->n_metadata_props; i++)
        if (strcmp(model->metadata_props[i]->key, key) == 0)
            return model->metadata_props[i]->value;
    return NULL;
}

static const Onnx__TensorProto *tensor(const Onnx__ModelProto *model, const char *name)
{
    for (size_t i = 0; i < model->graph->n_initializer; i++)
        if (strcmp(model->graph->initializer[i]->name, name) == 0)
            return model->graph->initializer[i];
    cr_assert_fail("no constant %s", name);
    return NULL;
}

/* "Conv Relu Conv ...": the kinds of nodes whose names begin so. */
static const char *kinds(const Onnx__ModelProto *model, const char *prefix)
{
    static char text[1024];

    text[0] = '\0';
    for (size_t i = 0; i < model->graph->n_node; i++)
        if (strncmp(model->graph->node[i]->name, prefix, strlen(prefix)) == 0)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s",
                     *text != '\0' ? " " : "", model->graph->node[i]->op_type);
    return text;
}

static void expect_port(const Onnx__ValueInfoProto *port, const char *name, size_t rank,
                        const int64_t *shape)
{
    const Onnx__TensorShapeProto *dims = port->type->tensor_type->shape;

    cr_assert_str_eq(port->name, name);
    cr_assert_eq(port->type->tensor_type->elem_type, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    cr_assert_eq(dims->n_dim, rank + 1);
    cr_assert_str_eq(dims->dim[0]->dim_param, "batch");
    for (size_t i = 0; i < rank; i++)
        cr_assert_eq(dims->dim[i + 1]->dim_value, shape[i]);
}

Test(nas_onnx, says_what_goes_in_and_out)
{
    network net = network_of_text(network_every_op);
    Onnx__ModelProto *model = written(&net, &plain);

    cr_assert_eq(model->ir_version, 7);
    cr_assert_eq(model->n_opset_import, 1);
    cr_assert_eq(model->opset_import[0]->version, 13);
    cr_assert_str_eq(model->producer_name, "onepath");
    cr_assert_str_eq(model->producer_version, "1.2.3");
    cr_assert_str_eq(model->graph->name, "every op");
    cr_assert_eq(model->graph->n_input, 1);
    cr_assert_eq(model->graph->n_output, 1);
    expect_port(model->graph->input[0], "image", 3, (int64_t[]){3, 21, 21});
    expect_port(model->graph->output[0], "logits", 1, (int64_t[]){7});
    cr_assert_null(meta(model, "classes"));
    cr_assert_null(meta(model, "mean"));
    onnx__model_proto__free_unpacked(model, NULL);
    network_free(&net);
}

Test(nas_onnx, metadata_has_classes_normalisation_and_architecture)
{
    static const char *const names[] = {"=cmd|'/c'!A1", "</script>", "a\"b", "\xc3\xa4",
                                        "\n",           " ",         "7"};
    static const float mean[] = {0.5f, 0.25f, 0.125f}, std[] = {1, 2, 0.1f};
    const nas_onnx_info info = {.version = "x", .class_names = names, .mean = mean, .std = std};
    network net = network_of_text(network_every_op);
    Onnx__ModelProto *model = written(&net, &info);
    json_t *classes = json_loads(meta(model, "classes"), 0, NULL);
    json_t *stds = json_loads(meta(model, "std"), 0, NULL);
    json_t *json = json_loads(meta(model, "architecture"), 0, NULL);
    char a[NAS_DIGEST_SIZE], b[NAS_DIGEST_SIZE];
    nas_arch *arch;

    cr_assert_eq(json_array_size(classes), 7);
    for (size_t i = 0; i < 7; i++)
        cr_assert_str_eq(json_string_value(json_array_get(classes, i)), names[i]);
    cr_assert_str_eq(meta(model, "mean"), "[0.5,0.25,0.125]");
    cr_assert_eq((float)json_real_value(json_array_get(stds, 2)), 0.1f);
    ok(nas_arch_from_json(&arch, json, "metadata", &err));
    ok(nas_arch_digest(arch, a, &err));
    ok(nas_arch_digest(net.arch, b, &err));
    cr_assert_str_eq(a, b);
    nas_arch_free(arch);
    json_decref(json);
    json_decref(stds);
    json_decref(classes);
    onnx__model_proto__free_unpacked(model, NULL);
    network_free(&net);
}

Test(nas_onnx, each_operation_is_written_as_its_nodes)
{
    static const struct {
        const char *prefix, *kinds;
    } cases[] = {
        {"block0.", "Conv Relu"},
        {"block1.", "Conv HardSigmoid Mul"},
        {"block2.", "MaxPool"},
        {"block3.", "AveragePool"},
        {"block4.", "MaxPool Add"},
        {"block6.", ""}, /* identity                 */
        {"block7.", "Add"},
        {"block8.", ""}, /* zero: the block is skipped */
        {"block9.", "Conv Clip Conv"},
        {"block10.", "Conv HardSigmoid Mul Conv HardSigmoid Mul GlobalAveragePool Conv Relu Conv "
                     "HardSigmoid Mul Conv Add"},
        {"block11.", "Conv Clip Conv Clip GlobalAveragePool Conv Relu Conv HardSigmoid Mul Conv"},
        {"block12.", "Conv HardSigmoid Add"},
        {"block13.", "Conv"},
        {"block15.", "GlobalAveragePool"},
        {"block16.", "Conv HardSigmoid Mul"}, /* a linear layer that is not the last */
        {"block17.", "Conv Clip Add"},
        {"block18.", "Flatten Gemm"},
    };
    network net = network_of_text(network_every_op);
    Onnx__ModelProto *model = written(&net, &plain);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_str_eq(kinds(model, cases[i].prefix), cases[i].kinds, "%s: %s, not %s",
                         cases[i].prefix, kinds(model, cases[i].prefix), cases[i].kinds);
    onnx__model_proto__free_unpacked(model, NULL);
    network_free(&net);
}

/* w * gamma / sqrt(var + eps) and beta - mean * the same, by hand. */
Test(nas_onnx, batch_norm_is_folded_into_the_weights)
{
    network net = network_of_text(network_every_op);
    Onnx__ModelProto *model = written(&net, &plain);
    const nas_layer *layer = &net.model->slot[0].layer[0];
    const float *p = net.model->params + net.model->slot[0].offset[0];
    const nas_unit *u = &layer->unit[0];
    const Onnx__TensorProto *w = tensor(model, "block0.conv.weight");
    const Onnx__TensorProto *b = tensor(model, "block0.conv.bias");
    const int o = 5, i = 2, y = 0, x = 1;
    const float scale = p[u->gamma + o] / sqrtf(p[u->var + o] + net.model->bn_eps);

    cr_assert_eq(w->n_dims, 4);
    cr_assert_arr_eq(w->dims, ((int64_t[]){8, 3, 3, 3}), 4 * sizeof(int64_t));
    cr_assert_eq(w->raw_data.len, 8 * 3 * 3 * 3 * sizeof(float));
    cr_assert_float_eq(((const float *)w->raw_data.data)[((o * 3 + i) * 3 + y) * 3 + x],
                       p[u->weight + (size_t)(((y * 3 + x) * 3 + i) * 8 + o)] * scale, 1e-7);
    cr_assert_float_eq(((const float *)b->raw_data.data)[o],
                       p[u->beta + o] - p[u->mean + o] * scale, 1e-6);
    onnx__model_proto__free_unpacked(model, NULL);
    network_free(&net);
}

Test(nas_onnx, the_same_network_gives_the_same_bytes)
{
    network net = network_of_space("tiny", 16, 4, 1);
    char *a, *b;
    size_t na, nb;

    ok(nas_onnx_write(net.model, net.arch, &plain, scratch("a.onnx"), &err));
    ok(nas_onnx_write(net.model, net.arch, &plain, scratch("b.onnx"), &err));
    ok(nas_file_read(scratch("a.onnx"), 64 << 20, &a, &na, &err));
    ok(nas_file_read(scratch("b.onnx"), 64 << 20, &b, &nb, &err));
    cr_assert_eq(na, nb);
    cr_assert_arr_eq(a, b, na);
    free(a);
    free(b);
    network_free(&net);
}

Test(nas_onnx, what_cannot_be_written_leaves_nothing)
{
    network net = network_of_space("tiny", 16, 4, 1);

    cr_assert_eq(nas_onnx_write(net.model, net.arch, &plain, scratch("none/net.onnx"), &err),
                 NAS_E_IO);
    cr_assert_eq(scratch_count(), 0);
    network_free(&net);
}

/* What onnxruntime computes; 1e-4 is what users are promised, and several times what single
 * precision in another order of sums makes here. */
static void expect_runs(const network *net, int n, const float *images)
{
    const char *modules = need_modules(), *model = scratch("net.onnx");
    char count[16], size[16];

    ok(nas_onnx_write(net->model, net->arch, &plain, model, &err));
    float *ours = network_logits(net, n, images, scratch("images.f32"));
    snprintf(count, sizeof count, "%d", n);
    snprintf(size, sizeof size, "%d", net->arch->image_size);
    const process_result *result =
        run_tool("node", NAS_SOURCE_DIR "/tests/nas/export/onnx_run.js", modules, model,
                 scratch("images.f32"), scratch("logits.f32"), count, "3", size, size, NULL);
    cr_assert_eq(result->code, 0, "%s", result->err);
    expect_logits(net, n, ours, scratch("logits.f32"), 1e-4);
    free(ours);
}

static void expect_checked(const network *net)
{
    char says[64];

    need_python("onnx");
    ok(nas_onnx_write(net->model, net->arch, &plain, scratch("net.onnx"), &err));
    const process_result *result =
        run_tool("/usr/bin/python3", NAS_SOURCE_DIR "/tests/nas/export/onnx_check.py",
                 scratch("net.onnx"), NULL);
    snprintf(says, sizeof says, "ok batch %d\n", net->arch->classes);
    cr_assert_eq(result->code, 0, "%s", result->err);
    cr_assert_str_eq(result->out, says);
}

Test(nas_onnx, the_checker_takes_every_operation)
{
    network net = network_of_text(network_every_op);

    expect_checked(&net);
    network_free(&net);
}

Test(nas_onnx, the_checker_takes_the_built_in_spaces)
{
    static const char *const spaces[] = {"tiny", "proxyless-cifar-0.5", "ofa-mbv3-1.0"};

    for (unsigned i = 0; i < 3; i++) {
        network net = network_of_space(spaces[i], 64, 10, i);
        expect_checked(&net);
        network_free(&net);
    }
}

Test(nas_onnx, onnxruntime_agrees_on_every_operation)
{
    network net = network_of_text(network_every_op);
    float *images = test_floats(8 * 21 * 21 * 3, 3);

    expect_runs(&net, 8, images);
    free(images);
    network_free(&net);
}

Test(nas_onnx, onnxruntime_agrees_on_the_built_in_spaces)
{
    static const char *const spaces[] = {"proxyless-cifar-0.5", "ofa-mbv3-1.0"};
    float *images = test_floats(4 * 64 * 64 * 3, 4);

    for (unsigned i = 0; i < 2; i++) {
        network net = network_of_space(spaces[i], 64, 100, i);
        expect_runs(&net, 4, images);
        network_free(&net);
    }
    free(images);
}

Test(nas_onnx, onnxruntime_agrees_on_a_thousand_test_images)
{
    const nas_synth_options task = {.size = 16, .train = 20, .test = 1000, .seed = 1, .threads = 2};
    float *images = malloc(1000 * 16 * 16 * 3 * sizeof *images);
    uint32_t items[1000];
    nas_dataset *data;
    nas_loader *loader;
    const nas_batch *batch;
    size_t at = 0;

    need_modules();
    ok(nas_data_synth(scratch("task.nasd"), &task, &err));
    ok(nas_dataset_open(&data, scratch("task.nasd"), &err));
    for (uint32_t i = 0; i < 1000; i++)
        items[i] = nas_dataset_test_split(data)->first + i;
    ok(nas_loader_open(&loader, data, items, 1000, &(nas_loader_options){.batch = 100}, &err));
    nas_loader_start(loader, 0, 0);
    while (nas_loader_next(loader, &batch, &err) == NAS_OK && batch != NULL) {
        memcpy(images + at, batch->x, (size_t)batch->n * 16 * 16 * 3 * sizeof *images);
        at += (size_t)batch->n * 16 * 16 * 3;
    }
    cr_assert_eq(at, 1000 * 16 * 16 * 3);
    network net = network_of_space("tiny", 16, 10, 5);
    expect_runs(&net, 1000, images);
    network_free(&net);
    nas_loader_close(loader);
    nas_dataset_close(data);
    free(images);
}
