/* Networks to export, and the programs that read the exports. */
#include "tests/nas/export/network.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "nas/model/exec.h"
#include "nas/model/infer.h"
#include "tests/support/numeric.h"

const char *const network_every_op =
    "{\"format\": \"onepath.architecture\", \"version\": 1, \"name\": \"every op\","
    " \"image_size\": 21, \"channels\": 3, \"classes\": 7,"
    " \"bn\": {\"momentum\": 0.1, \"eps\": 0.001}, \"blocks\": ["
    "{\"op\": \"conv\", \"out\": 8, \"kernel\": 3, \"act\": \"relu\"},"
    "{\"op\": \"conv\", \"out\": 12, \"kernel\": 5, \"groups\": 2, \"bn\": false, \"bias\": true,"
    " \"act\": \"h_swish\"},"
    "{\"op\": \"max_pool\", \"kernel\": 3, \"stride\": 2},"
    "{\"op\": \"avg_pool\", \"kernel\": 3},"
    "{\"op\": \"max_pool\", \"kernel\": 3, \"shortcut\": true},"
    "{\"op\": \"avg_pool\", \"kernel\": 5, \"shortcut\": true},"
    "{\"op\": \"identity\"},"
    "{\"op\": \"identity\", \"shortcut\": true},"
    "{\"op\": \"zero\", \"shortcut\": true},"
    "{\"op\": \"mbconv\", \"out\": 16, \"kernel\": 3, \"expand\": 1, \"act\": \"relu6\"},"
    "{\"op\": \"mbconv\", \"out\": 16, \"kernel\": 5, \"expand\": 3, \"act\": \"h_swish\","
    " \"se\": 8, \"shortcut\": true},"
    "{\"op\": \"mbconv\", \"out\": 24, \"kernel\": 7, \"stride\": 2, \"expand\": 2, \"se\": 16,"
    " \"act\": \"relu6\"},"
    "{\"op\": \"conv\", \"out\": 24, \"kernel\": 3, \"act\": \"h_sigmoid\", \"shortcut\": true},"
    "{\"op\": \"conv\", \"out\": 32, \"kernel\": 1, \"bn\": false, \"act\": \"none\"},"
    "{\"op\": \"avg_pool\", \"kernel\": 3, \"stride\": 2},"
    "{\"op\": \"mean_pool\"},"
    "{\"op\": \"linear\", \"out\": 20, \"act\": \"h_swish\", \"dropout\": 0.3},"
    "{\"op\": \"linear\", \"out\": 20, \"bias\": false, \"act\": \"relu6\", \"shortcut\": true},"
    "{\"op\": \"linear\", \"out\": 7}]}";

/* Batch norm with gamma 1, beta 0, mean 0 and variance 1 would hide how it is folded.  Running
 * statistics are those of a batch, so that what the image holds reaches the logits. */
static void enliven(nas_model *model, unsigned seed)
{
    const nas_forward how = {.train = true, .bn_momentum = 1.0f};
    const int choice[NAS_MAX_SLOTS] = {0}, n = 8;
    float *images = test_floats((size_t)(n * model->image_size * model->image_size * 3), seed);
    nas_exec *exec;

    nas_model_reset(model, seed);
    for (int s = 0; s < model->slots; s++) {
        const nas_layer *layer = &model->slot[s].layer[0];
        for (int p = 0; p < layer->params; p++) {
            const nas_param *param = &layer->param[p];
            const bool gamma = param->kind == NAS_PARAM_GAMMA;
            if (param->kind >= NAS_PARAM_BIAS)
                test_fill_range(model->params + model->slot[s].offset[0] + param->offset,
                                param->count, seed + (unsigned)(s * 32 + p), gamma ? 0.5f : -0.4f,
                                gamma ? 1.5f : 0.6f);
        }
    }
    cr_assert_eq(nas_exec_new(&exec, model, n, NULL), NAS_OK);
    nas_exec_forward(exec, choice, n, images, &how);
    nas_exec_free(exec);
    free(images);
}

network network_of_text(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);
    network net = {0};
    nas_err err;

    cr_assert_not_null(json, "%s", error.text);
    cr_assert_eq(nas_arch_from_json(&net.arch, json, "test", &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_model_new_arch(&net.model, net.arch, &err), NAS_OK, "%s", err.message);
    json_decref(json);
    enliven(net.model, 1);
    return net;
}

network network_of_space(const char *name, int image_size, int classes, unsigned seed)
{
    int choice[NAS_MAX_SLOTS];
    nas_space *space = NULL;
    network net = {0};
    nas_rng rng;
    nas_err err;

    cr_assert_eq(nas_space_load(&space, name, &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_space_fit(space, image_size, 3, classes, &err), NAS_OK, "%s", err.message);
    nas_rng_init(&rng, seed, "test", 0);
    nas_space_sample(space, &rng, choice);
    cr_assert_eq(nas_space_arch(&net.arch, space, choice, &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_model_new_arch(&net.model, net.arch, &err), NAS_OK, "%s", err.message);
    nas_space_free(space);
    enliven(net.model, seed);
    return net;
}

void network_free(network *net)
{
    nas_model_free(net->model);
    nas_arch_free(net->arch);
}

const char *need_modules(void)
{
    static const char modules[] = NAS_SOURCE_DIR "/build/consumers/node_modules";

    need_tool("node");
    if (access(NAS_SOURCE_DIR "/build/consumers/node_modules/onnxruntime-web", R_OK) != 0)
        cr_skip_test("no onnxruntime: scripts/setup --consumers");
    return modules;
}

static void write_images(const nas_arch *arch, int n, const float *images, const char *path)
{
    const int size = arch->image_size, c = arch->channels;
    FILE *file = fopen(path, "wb");

    cr_assert_not_null(file);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < c; k++)
            for (int p = 0; p < size * size; p++)
                fwrite(&images[((size_t)i * (size_t)(size * size) + (size_t)p) * (size_t)c +
                               (size_t)k],
                       sizeof *images, 1, file);
    cr_assert_eq(fclose(file), 0);
}

float *network_logits(const network *net, int n, const float *images, const char *path)
{
    const size_t step = 50, classes = (size_t)net->model->classes;
    const int choice[NAS_MAX_SLOTS] = {0};
    float *logits = malloc((size_t)n * classes * sizeof *logits);
    nas_infer *infer;

    write_images(net->arch, n, images, path);
    cr_assert_eq(nas_infer_new(&infer, net->model, choice, (int)step, NULL), NAS_OK);
    for (size_t i = 0; i < (size_t)n; i += step) {
        const size_t count = (size_t)n - i < step ? (size_t)n - i : step;
        const float *some =
            nas_infer_run(infer, (int)count, images + i * nas_infer_input_floats(infer));
        memcpy(logits + i * classes, some, count * classes * sizeof *logits);
    }
    nas_infer_free(infer);
    return logits;
}

static int best(const float *logits, int classes)
{
    int at = 0;

    for (int c = 1; c < classes; c++)
        at = logits[c] > logits[at] ? c : at;
    return at;
}

void expect_logits(const network *net, int n, const float *ours, const char *path, double tolerance)
{
    const int classes = net->model->classes;
    float *theirs = malloc((size_t)n * (size_t)classes * sizeof *theirs);
    FILE *file = fopen(path, "rb");
    double worst = 0, spread = 0;
    int others = 0;

    cr_assert_not_null(file);
    cr_assert_eq(fread(theirs, sizeof *theirs * (size_t)classes, (size_t)n, file), n);
    cr_assert_eq(fgetc(file), EOF);
    fclose(file);
    for (int i = 0; i < n; i++) {
        const float *a = ours + (size_t)i * (size_t)classes, *b = theirs + (a - ours);
        for (int c = 0; c < classes; c++)
            worst = fmax(worst, isfinite(b[c]) ? fabs((double)a[c] - (double)b[c]) : INFINITY);
        spread = fmax(spread, fabs((double)a[0] - (double)ours[0]));
        others += best(a, classes) != best(b, classes);
    }
    cr_log_info("%d images: largest difference %.2g (images differ by %.2g), other best class %d",
                n, worst, spread, others);
    cr_assert_gt(spread, 100 * tolerance, "the images make no difference: nothing was tested");
    cr_assert_leq(worst, tolerance, "largest difference of logits: %g", worst);
    cr_assert_leq(others * 1000, n, "other best class for %d of %d images", others, n);
    free(theirs);
}
