/* Quantised networks as ONNX: which nodes, and what ONNX's checker and onnxruntime make of them. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nas/export/onnx.h"
#include "nas/export/onnx.pb-c.h"
#include "nas/quant/quantizer.h"
#include "tests/nas/export/network.h"
#include "tests/support/numeric.h"
#include "tests/support/scratch.h"

enum { CALIBRATION = 32 };

static nas_err err;

#define ok(call) cr_assert_eq((call), NAS_OK, "%s", err.message)

TestSuite(nas_onnx_quant, .init = scratch_init, .fini = scratch_fini, .timeout = 200);

static const nas_onnx_info plain = {.version = "1.2.3"};

/* Rounds a network; ranges are those of `images`. */
static void quantise(const network *net, const float *images, int weight, int input, bool channels)
{
    const nas_quantizer_config config = {.per_channel = channels};
    nas_quantizer *q;

    ok(nas_quantizer_new(&q, net->model, &config, &err));
    ok(nas_quantizer_calibrate(q, CALIBRATION, images, &err));
    nas_bits *bits = calloc((size_t)nas_quantizer_count(q), sizeof *bits);
    for (int i = 0; i < nas_quantizer_count(q); i++)
        bits[i] = (nas_bits){weight, input};
    ok(nas_quantizer_apply(q, bits, &err));
    free(bits);
    nas_quantizer_free(q); /* the network keeps what it needs */
}

static Onnx__ModelProto *written(const network *net)
{
    char *bytes;
    size_t size;

    ok(nas_onnx_write(net->model, net->arch, &plain, scratch("net.onnx"), &err));
    ok(nas_file_read(scratch("net.onnx"), 64 << 20, &bytes, &size, &err));
    Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, size, (uint8_t *)bytes);
    cr_assert_not_null(model);
    free(bytes);
    return model;
}

static int nodes_of(const Onnx__ModelProto *model, const char *op)
{
    int count = 0;

    for (size_t i = 0; i < model->graph->n_node; i++)
        count += strcmp(model->graph->node[i]->op_type, op) == 0;
    return count;
}

/* The weight is behind DequantizeLinear, the input behind QuantizeLinear and that. */
Test(nas_onnx_quant, every_product_is_between_codes)
{
    network net = network_of_space("tiny", 16, 10, 1);
    float *images = test_floats(CALIBRATION * 16 * 16 * 3, 3);

    quantise(&net, images, 8, 8, true);
    Onnx__ModelProto *model = written(&net);
    const int products = net.model->quants;
    cr_expect_eq(nodes_of(model, "Conv") + nodes_of(model, "Gemm"), products);
    cr_expect_eq(nodes_of(model, "QuantizeLinear"), products);
    cr_expect_eq(nodes_of(model, "DequantizeLinear"), 2 * products);
    onnx__model_proto__free_unpacked(model, NULL);
    free(images);
    network_free(&net);
}

static const Onnx__TensorProto *tensor_of(const Onnx__ModelProto *model, const char *name)
{
    for (size_t i = 0; i < model->graph->n_initializer; i++)
        if (strcmp(model->graph->initializer[i]->name, name) == 0)
            return model->graph->initializer[i];
    cr_assert_fail("no constant %s", name);
    return NULL;
}

/* code * step is the folded weight. */
static void expect_codes(const Onnx__ModelProto *model, const network *net, int slot, int u)
{
    const nas_layer *layer = &net->model->slot[slot].layer[0];
    const nas_unit *unit = &layer->unit[u];
    const float *p = net->model->params + net->model->slot[slot].offset[0];
    const nas_param *param = &layer->param[0];
    char name[64], steps_name[80];

    while (param->offset != unit->weight)
        param++;
    snprintf(name, sizeof name, "block%d.%s", slot, param->name);
    snprintf(steps_name, sizeof steps_name, "%s.step", name);
    const Onnx__TensorProto *codes = tensor_of(model, name), *steps = tensor_of(model, steps_name);
    const size_t out = (size_t)param->out, each = param->count / out;
    float *w = malloc(param->count * sizeof *w);
    cr_assert_eq(codes->raw_data.len, param->count);
    cr_assert_eq(steps->raw_data.len, out * sizeof(float));
    nas_param_to_torch(param, p, w);
    for (size_t i = 0; i < param->count; i++) {
        const size_t o = i / each;
        const float factor = p[unit->gamma + o] / sqrtf(p[unit->var + o] + net->model->bn_eps);
        const int code = ((const int8_t *)codes->raw_data.data)[i];
        const float step = ((const float *)steps->raw_data.data)[o];
        cr_assert_leq(abs(code), 7);
        cr_assert_float_eq(step * (float)code, w[i] * factor, 1e-5, "%s", name);
    }
    free(w);
}

Test(nas_onnx_quant, codes_are_those_of_the_network)
{
    network net = network_of_space("tiny", 16, 10, 2);
    float *images = test_floats(CALIBRATION * 16 * 16 * 3, 3);

    quantise(&net, images, 4, 8, false);
    Onnx__ModelProto *model = written(&net);
    for (int slot = 0; slot < net.model->slots; slot++)
        for (int u = 0; u < net.model->slot[slot].layer[0].units; u++)
            expect_codes(model, &net, slot, u);
    free(images);
    onnx__model_proto__free_unpacked(model, NULL);
    network_free(&net);
}

Test(nas_onnx_quant, the_checker_takes_quantised_networks)
{
    static const char *const spaces[] = {"tiny", "ofa-mbv3-1.0"};
    float *images = test_floats(CALIBRATION * 64 * 64 * 3, 3);

    need_python("onnx");
    for (unsigned i = 0; i < 2; i++) {
        network net = network_of_space(spaces[i], 64, 10, i);
        quantise(&net, images, i ? 8 : 5, i ? 8 : 5, true);
        ok(nas_onnx_write(net.model, net.arch, &plain, scratch("net.onnx"), &err));
        const process_result *result =
            run_tool("/usr/bin/python3", NAS_SOURCE_DIR "/tests/nas/export/onnx_check.py",
                     scratch("net.onnx"), NULL);
        cr_assert_eq(result->code, 0, "%s", result->err);
        network_free(&net);
    }
    free(images);
}

static int best_of(const float *logits, int classes)
{
    int best = 0;

    for (int c = 1; c < classes; c++)
        best = logits[c] > logits[best] ? c : best;
    return best;
}

/* Runs the network with onnxruntime: the images whose class differs, of n, though ours leads by
 * more than `lead`; and the mean difference of logits.  Both as shares of the largest logit. */
static int compare(const network *net, int n, const float *images, const char *level, double lead,
                   double *mean)
{
    const char *modules = need_modules(), *model = scratch("net.onnx");
    const int classes = net->arch->classes;
    char count[16], size[16], *bytes;
    float largest = 0.0f;
    size_t read;
    int different = 0;

    ok(nas_onnx_write(net->model, net->arch, &plain, model, &err));
    float *ours = network_logits(net, n, images, scratch("images.f32"));
    snprintf(count, sizeof count, "%d", n);
    snprintf(size, sizeof size, "%d", net->arch->image_size);
    const process_result *result = run_tool(
        "node", NAS_SOURCE_DIR "/tests/nas/export/onnx_run.js", modules, model,
        scratch("images.f32"), scratch("logits.f32"), count, "3", size, size, level, NULL);
    cr_assert_eq(result->code, 0, "%s", result->err);
    ok(nas_file_read(scratch("logits.f32"), 64 << 20, &bytes, &read, &err));
    cr_assert_eq(read, (size_t)(n * classes) * sizeof(float));
    const float *theirs = (const float *)bytes;
    *mean = 0.0;
    for (int i = 0; i < n * classes; i++) {
        *mean += fabsf(ours[i] - theirs[i]) / (float)(n * classes);
        largest = fmaxf(largest, fabsf(ours[i]));
    }
    *mean /= largest;
    for (int i = 0; i < n; i++) {
        const float *row = ours + i * classes;
        const int best = best_of(row, classes), other = best_of(theirs + i * classes, classes);

        different += best != other && row[best] - row[other] >= (float)lead * largest;
    }
    free(bytes);
    free(ours);
    return different;
}

/* As it is written, the graph says what our engine does.  A value on the border of two codes may
 * fall to either, and an image's logits then differ by steps: few do. */
Test(nas_onnx_quant, onnxruntime_agrees)
{
    static const struct {
        const char *space;
        int size, n, weight, input;
        bool channels;
        double lead, mean;
    } cases[] = {
        {"tiny", 16, 300, 8, 8, true, 0.0, 0.001},
        {"tiny", 16, 200, 6, 5, false, 0.0, 0.001},
        /* h-swish: negative inputs; squeeze-excite; 20 blocks of random weights, through which a
         * change of the image by 1e-6 moves a logit by a fifth, too: a smaller lead says nothing */
        {"ofa-mbv3-1.0", 64, 8, 8, 8, true, 0.2, 0.05},
    };

    need_modules();
    for (unsigned i = 0; i < 3; i++) {
        network net = network_of_space(cases[i].space, cases[i].size, 10, i);
        const int pixels = cases[i].size * cases[i].size;
        const int made = cases[i].n > CALIBRATION ? cases[i].n : CALIBRATION;
        float *images = test_floats((size_t)(made * pixels * 3), 5 + i);
        double mean;

        quantise(&net, images, cases[i].weight, cases[i].input, cases[i].channels);
        cr_expect_leq(compare(&net, cases[i].n, images, "disabled", cases[i].lead, &mean), 1);
        cr_expect_lt(mean, cases[i].mean, "%s: %g", cases[i].space, mean);
        free(images);
        network_free(&net);
    }
}

/* Left to itself, onnxruntime puts integers in place of the graph, and rounds biases, too. */
Test(nas_onnx_quant, onnxruntime_is_near_when_it_rewrites)
{
    network net = network_of_space("tiny", 16, 10, 0);
    float *images = test_floats(300 * 16 * 16 * 3, 5);
    double mean;

    quantise(&net, images, 8, 8, true);
    cr_expect_leq(compare(&net, 300, images, "all", 0.0, &mean), 12);
    cr_expect_lt(mean, 0.01, "%g", mean);
    free(images);
    network_free(&net);
}
