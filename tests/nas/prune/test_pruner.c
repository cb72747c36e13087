/* The smaller network: the right slices of every operation, and least squares against LAPACK's and
 * PyTorch's. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/data/synth.h"
#include "nas/model/infer.h"
#include "nas/prune/private.h"
#include "tests/nas/export/network.h"
#include "tests/support/numeric.h"
#include "tests/support/scratch.h"

TestSuite(nas_pruner, .init = scratch_init, .fini = scratch_fini);

enum { N = 4 };
static nas_err err;

/* Whether channel c of group g shall go: every third, and at least one stays. */
static bool goes(int c) { return c % 3 == 1; }

/* Rows of squeeze-excite's first weights read channels as well. */
static void silence_squeeze(nas_model *model, int block)
{
    const nas_layer *layer = &model->slot[block].layer[0];

    for (int i = 0; i < layer->params; i++)
        if (strcmp(layer->param[i].name, "se_reduce.weight") == 0)
            for (int c = 0; c < layer->param[i].in; c++)
                for (int o = 0; o < layer->param[i].out && goes(c); o++)
                    model->params[model->slot[block].offset[0] + layer->param[i].offset +
                                  (size_t)(c * layer->param[i].out + o)] = 0.0f;
}

/* Nobody listens to the channels that shall go: without them the network says the same. */
static void silence(const nas_pruner *p, nas_model *model)
{
    for (int i = 0; i < p->readers; i++) {
        const nas_prune__reader *r = &p->reader[i];
        float *w = model->params + model->slot[r->block].offset[0] + r->weight->offset;

        for (int t = 0; t < r->taps; t++)
            for (int c = 0; c < r->in; c++)
                for (int o = 0; o < r->out; o++, w++)
                    if (goes(c))
                        *w = 0.0f;
    }
    for (int b = 0; b < model->slots; b++)
        silence_squeeze(model, b);
}

static float *logits_of(const nas_model *model, const float *images)
{
    const int choice[NAS_MAX_SLOTS] = {0};
    const size_t count = (size_t)(N * model->classes);
    float *copy = malloc(count * sizeof *copy);
    nas_infer *infer;

    cr_assert_eq(nas_infer_new(&infer, model, choice, N, &err), NAS_OK);
    memcpy(copy, nas_infer_run(infer, N, images), count * sizeof *copy);
    nas_infer_free(infer);
    return copy;
}

Test(nas_pruner, channels_that_nobody_listens_to_can_go_from_every_operation)
{
    network net = network_of_text(network_every_op);
    float *images = test_floats((size_t)(N * net.model->image_size * net.model->image_size * 3), 5);
    nas_prune_plan *plan;
    nas_pruner *first, *pruner;
    nas_arch *arch;
    nas_model *small;
    int channels[64];

    cr_assert_eq(nas_prune_plan_new(&plan, net.arch, &err), NAS_OK);
    cr_assert_eq(nas_pruner_new(&first, net.model, plan, &err), NAS_OK);
    silence(first, net.model);
    nas_pruner_free(first);
    cr_assert_eq(nas_pruner_new(&pruner, net.model, plan, &err), NAS_OK);
    for (int g = 0; g < plan->groups; g++) {
        channels[g] = 0;
        for (int c = 0; c < plan->group[g].channels; c++)
            channels[g] += !goes(c);
    }
    cr_assert_eq(nas_pruner_apply(pruner, channels, &arch, &small, &err), NAS_OK, "%s",
                 err.message);
    cr_expect_lt(small->parameters, net.model->parameters * 3 / 4);
    float *before = logits_of(net.model, images), *after = logits_of(small, images);
    /* sums of fewer terms in another order: 1e-6 seen */
    cr_expect_lt(test_error(after, before, (size_t)(N * net.model->classes)), 1e-5);
    free(before);
    free(after);
    free(images);
    nas_model_free(small);
    nas_arch_free(arch);
    nas_pruner_free(pruner);
    nas_prune_plan_free(plan);
    network_free(&net);
}

/* -- least squares ---------------------------------------------------------------------------- */

static const char two_convolutions[] =
    "{\"format\": \"onepath.architecture\", \"version\": 1, \"name\": \"two\","
    " \"image_size\": 16, \"channels\": 3, \"classes\": 4,"
    " \"bn\": {\"momentum\": 0.1, \"eps\": 0.001}, \"blocks\": ["
    "{\"op\": \"conv\", \"out\": 16, \"kernel\": 3, \"act\": \"relu\"},"
    "{\"op\": \"conv\", \"out\": 8, \"kernel\": 3, \"act\": \"relu\"},"
    "{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 4}]}";

enum { SIDE = 16, IN = 16, OUT = 8, TAPS = 9, KEPT = 10, IMAGES = 96 };

static nas_loader *open_images(nas_dataset **data, uint32_t *items, int count)
{
    const nas_synth_options synth = {.size = SIDE, .classes = 4, .train = IMAGES, .test = 4,
                                     .seed = 1, .threads = 1};
    const nas_loader_options options = {.batch = 32, .threads = 1, .augment = {.size = SIDE}};
    nas_loader *loader;

    cr_assert_eq(nas_data_synth(scratch("task.nasd"), &synth, &err), NAS_OK);
    cr_assert_eq(nas_dataset_open(data, scratch("task.nasd"), &err), NAS_OK);
    for (int i = 0; i < count; i++)
        items[i] = (uint32_t)i;
    cr_assert_eq(nas_loader_open(&loader, *data, items, (uint32_t)count, &options, &err), NAS_OK,
                 "%s", err.message);
    return loader;
}

static void write_file(const char *name, const void *data, size_t bytes)
{
    FILE *file = fopen(scratch(name), "wb");

    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, bytes, file), bytes);
    cr_assert_eq(fclose(file), 0);
}

/* What the second convolution reads. */
static void write_inputs(const nas_model *model, nas_loader *loader)
{
    const int choice[NAS_MAX_SLOTS] = {0};
    const size_t image = SIDE * SIDE * IN;
    float *x = malloc(IMAGES * image * sizeof *x);
    const nas_batch *batch;
    nas_infer *infer;
    int seen = 0;

    cr_assert_eq(nas_infer_new_part(&infer, model, choice, 0, 1, 32, &err), NAS_OK);
    nas_loader_start(loader, 0, 0);
    while (nas_loader_next(loader, &batch, &err) == NAS_OK && batch != NULL) {
        memcpy(x + (size_t)seen * image, nas_infer_run(infer, batch->n, batch->x),
               (size_t)batch->n * image * sizeof *x);
        seen += batch->n;
    }
    cr_assert_eq(seen, IMAGES);
    write_file("inputs", x, IMAGES * image * sizeof *x);
    free(x);
    nas_infer_free(infer);
}

Test(nas_pruner, least_squares_agree_with_lapack_and_pytorch)
{
    need_python("torch");
    network net = network_of_text(two_convolutions);
    const int channels[] = {KEPT, OUT};
    uint32_t items[IMAGES];
    nas_dataset *data;
    nas_loader *loader = open_images(&data, items, IMAGES);
    nas_prune_plan *plan;
    nas_pruner *pruner;
    nas_arch *arch;
    nas_model *small;
    double lapack, pytorch;

    cr_assert_eq(nas_prune_plan_new(&plan, net.arch, &err), NAS_OK);
    cr_assert_eq(nas_pruner_new(&pruner, net.model, plan, &err), NAS_OK);
    cr_assert_eq(nas_pruner_calibrate(pruner, loader, IMAGES, SIDE * SIDE, 1, NULL, &err), NAS_OK,
                 "%s", err.message);
    cr_assert_eq(nas_pruner_apply(pruner, channels, &arch, &small, &err), NAS_OK);

    int kept[KEPT], count = 0;
    for (int c = 0; c < IN; c++)
        for (int i = 0; i < KEPT; i++)
            if (pruner->rank[0][i] == c)
                kept[count++] = c;
    write_inputs(net.model, loader);
    write_file("kept", kept, sizeof kept);
    write_file("weights", net.model->params + net.model->slot[1].offset[0],
               TAPS * IN * OUT * sizeof(float));
    write_file("answer", small->params + small->slot[1].offset[0],
               TAPS * KEPT * OUT * sizeof(float));
    const process_result *said =
        RUN_TOOL("/usr/bin/python3", NAS_SOURCE_DIR "/tests/nas/prune/lstsq.py", scratch("inputs"),
                 scratch("weights"), scratch("kept"), scratch("answer"), "96", "16", "16", "8",
                 "3");
    cr_assert_eq(said->code, 0, "%s", said->err);
    cr_assert_eq(sscanf(said->out, "%lf %lf", &lapack, &pytorch), 2, "%s", said->out);
    cr_log_info("distance %g, %g", lapack, pytorch);
    cr_expect_lt(lapack, 2e-3); /* the damping of 1e-5 and float sums */
    cr_expect_lt(pytorch, 2e-3);

    nas_model_free(small);
    nas_arch_free(arch);
    nas_pruner_free(pruner);
    nas_prune_plan_free(plan);
    nas_loader_close(loader);
    nas_dataset_close(data);
    network_free(&net);
}

/* Inputs that are nearly alike: rounded, X'X may have eigenvalues below 0. */
Test(nas_pruner, inputs_that_are_nearly_alike_are_reconstructed_and_infinite_ones_are_not)
{
    network net = network_of_text(two_convolutions);
    const int kept[] = {KEPT, OUT}, fewer[] = {KEPT - 1, OUT};
    const size_t width = TAPS * IN;
    uint32_t items[IMAGES];
    nas_dataset *data;
    nas_loader *loader = open_images(&data, items, IMAGES);
    nas_prune_plan *plan;
    nas_pruner *pruner;
    nas_arch *arch;
    nas_model *small;

    cr_assert_eq(nas_prune_plan_new(&plan, net.arch, &err), NAS_OK);
    cr_assert_eq(nas_pruner_new(&pruner, net.model, plan, &err), NAS_OK);
    cr_assert_eq(nas_pruner_calibrate(pruner, loader, IMAGES, 4, 1, NULL, &err), NAS_OK);
    double *gram = pruner->reader[0].gram;
    cr_assert(pruner->reader[0].group == 0 && gram != NULL);
    for (size_t i = 0; i < width * width; i++)
        gram[i] = i % (width + 1) == 0 ? 1 - 5e-5 : 1;
    cr_assert_eq(nas_pruner_apply(pruner, kept, &arch, &small, &err), NAS_OK, "%s", err.message);
    for (size_t i = 0; i < small->floats; i++)
        cr_assert(isfinite(small->params[i]));
    nas_model_free(small);
    nas_arch_free(arch);
    gram[0] = NAN;
    cr_expect_eq(nas_pruner_apply(pruner, fewer, &arch, &small, &err), NAS_E_FAIL);

    nas_pruner_free(pruner);
    nas_prune_plan_free(plan);
    nas_loader_close(loader);
    nas_dataset_close(data);
    network_free(&net);
}

static float *pruned_params(int threads, size_t *floats)
{
    network net = network_of_space("tiny", SIDE, 4, 3);
    uint32_t items[IMAGES];
    nas_dataset *data;
    nas_loader *loader = open_images(&data, items, IMAGES);
    int channels[64];
    nas_prune_plan *plan;
    nas_pruner *pruner;
    nas_arch *arch;
    nas_model *small;

    omp_set_num_threads(threads);
    cr_assert_eq(nas_prune_plan_new(&plan, net.arch, &err), NAS_OK);
    cr_assert_eq(nas_pruner_new(&pruner, net.model, plan, &err), NAS_OK);
    cr_assert_eq(nas_pruner_calibrate(pruner, loader, IMAGES, 4, 1, NULL, &err), NAS_OK);
    for (int g = 0; g < plan->groups; g++)
        channels[g] = (plan->group[g].channels + 1) / 2;
    cr_assert_eq(nas_pruner_apply(pruner, channels, &arch, &small, &err), NAS_OK);
    float *copy = malloc(small->floats * sizeof *copy);
    memcpy(copy, small->params, small->floats * sizeof *copy);
    *floats = small->floats;
    nas_model_free(small);
    nas_arch_free(arch);
    nas_pruner_free(pruner);
    nas_prune_plan_free(plan);
    nas_loader_close(loader);
    nas_dataset_close(data);
    network_free(&net);
    return copy;
}

Test(nas_pruner, threads_change_no_bit)
{
    size_t a, b;
    float *one = pruned_params(1, &a), *three = pruned_params(3, &b);

    cr_assert_eq(a, b);
    cr_expect_eq(memcmp(one, three, a * sizeof *one), 0);
    free(one);
    free(three);
}

Test(nas_pruner, a_handful_of_images_is_too_few_to_calibrate)
{
    network net = network_of_text(two_convolutions);
    uint32_t items[IMAGES];
    nas_dataset *data;
    nas_loader *loader = open_images(&data, items, 1);
    nas_prune_plan *plan;
    nas_pruner *pruner;

    cr_assert_eq(nas_prune_plan_new(&plan, net.arch, &err), NAS_OK);
    cr_assert_eq(nas_pruner_new(&pruner, net.model, plan, &err), NAS_OK);
    cr_expect_eq(nas_pruner_calibrate(pruner, loader, 64, 10, 1, NULL, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "too few"), "%s", err.message);
    nas_pruner_free(pruner);
    nas_prune_plan_free(plan);
    nas_loader_close(loader);
    nas_dataset_close(data);
    network_free(&net);
}
