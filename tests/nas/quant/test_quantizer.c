/* A network, quantised and back; training that stays on its levels; the file. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "nas/model/exec.h"
#include "nas/model/infer.h"
#include "nas/quant/quantizer.h"
#include "nas/space/space.h"
#include "nas/train/checkpoint.h"
#include "nas/train/step.h"
#include "tests/support/numeric.h"
#include "tests/support/scratch.h"

enum { SIDE = 16, IMAGES = 12, FLOATS = IMAGES * SIDE * SIDE * 3 };

typedef struct net {
    nas_arch *arch;
    nas_model *model;
    nas_quantizer *q;
    float *images;
    nas_bits bits[256];
} net;

/* A sample of the space `tiny`, with batch norm that does something. */
static void net_init_so(net *n, nas_quant_method method, nas_calibration calibration,
                        uint64_t draw)
{
    const nas_quantizer_config config = {.method = method, .calibration = calibration,
                                         .per_channel = true, .iterations = 5, .seed = 3};
    nas_space *space;
    int choice[NAS_MAX_SLOTS];
    nas_rng rng;
    nas_err err;

    cr_assert_eq(nas_space_load(&space, "tiny", &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_space_fit(space, SIDE, 3, 4, &err), NAS_OK);
    nas_rng_init(&rng, draw, "net", 0);
    nas_space_sample(space, &rng, choice);
    cr_assert_eq(nas_space_arch(&n->arch, space, choice, &err), NAS_OK);
    cr_assert_eq(nas_model_new_arch(&n->model, n->arch, &err), NAS_OK);
    nas_model_reset(n->model, 1);
    for (int s = 0; s < n->model->slots; s++) {
        const nas_layer *layer = &n->model->slot[s].layer[0];
        for (int i = 0; i < layer->params; i++) {
            const nas_param *p = &layer->param[i];
            float *values = n->model->params + n->model->slot[s].offset[0] + p->offset;
            if (p->kind == NAS_PARAM_GAMMA || p->kind == NAS_PARAM_VAR)
                test_fill_range(values, p->count, (unsigned)(s * 20 + i), 0.6f, 1.4f);
            else if (p->kind == NAS_PARAM_BETA || p->kind == NAS_PARAM_MEAN)
                test_fill_range(values, p->count, (unsigned)(s * 20 + i), -0.2f, 0.3f);
        }
    }
    nas_space_free(space);
    n->images = test_floats(FLOATS, 9);
    cr_assert_eq(nas_quantizer_new(&n->q, n->model, &config, &err), NAS_OK);
    cr_assert_lt(nas_quantizer_count(n->q), 256);
    cr_assert_eq(nas_quantizer_calibrate(n->q, IMAGES, n->images, &err), NAS_OK);
}

static void net_init(net *n, nas_quant_method method, uint64_t draw)
{
    net_init_so(n, method, NAS_CALIBRATION_AUTO, draw);
}

static void net_bits(net *n, int weight, int input)
{
    for (int i = 0; i < nas_quantizer_count(n->q); i++)
        n->bits[i] = (nas_bits){weight, input};
    cr_assert_eq(nas_quantizer_apply(n->q, n->bits, NULL), NAS_OK);
}

static void net_fini(net *n)
{
    nas_quantizer_free(n->q);
    nas_model_free(n->model);
    nas_arch_free(n->arch);
    free(n->images);
}

static void logits(const nas_model *model, const float *images, float *out)
{
    const int choice[NAS_MAX_SLOTS] = {0};
    nas_infer *infer;

    cr_assert_eq(nas_infer_new(&infer, model, choice, IMAGES, NULL), NAS_OK);
    memcpy(out, nas_infer_run(infer, IMAGES, images), IMAGES * 4 * sizeof *out);
    nas_infer_free(infer);
}

Test(nas_quantizer, eight_bits_are_near_the_floats_and_few_are_not)
{
    float exact[IMAGES * 4], rough[IMAGES * 4];
    net n;

    net_init(&n, NAS_QUANT_LINEAR, 1);
    logits(n.model, n.images, exact);
    net_bits(&n, 8, 8);
    logits(n.model, n.images, rough);
    const double eight = test_error(rough, exact, IMAGES * 4);
    net_bits(&n, 3, 3);
    logits(n.model, n.images, rough);
    const double three = test_error(rough, exact, IMAGES * 4);
    cr_expect_lt(eight, 0.08, "%g", eight); /* seen: 0.02 */
    cr_expect_gt(three, 3 * eight, "%g and %g", three, eight);
    nas_quantizer_restore(n.q);
    logits(n.model, n.images, rough);
    cr_expect_arr_eq(rough, exact, sizeof exact, "restored");
    net_fini(&n);
}

/* The public code's rule, one bit further: few bits are cut by divergence, many at the maximum. */
Test(nas_quantizer, few_bits_are_cut_where_the_distribution_changes_least)
{
    for (int bits = 4; bits <= 7; bits++) {
        float range[3][256];
        int sites = 0, cut = 0;

        for (int c = 0; c < 3; c++) {
            net n;
            net_init_so(&n, NAS_QUANT_LINEAR, (nas_calibration)c, 6);
            net_bits(&n, 8, bits);
            for (int i = 0; i < nas_quantizer_count(n.q); i++)
                range[c][i] = nas_quantizer_sites(n.q)[i].quant->range;
            sites = nas_quantizer_count(n.q);
            net_fini(&n);
        }
        const int like = bits < 6 ? NAS_CALIBRATION_KL : NAS_CALIBRATION_MAX;
        cr_expect_arr_eq(range[NAS_CALIBRATION_AUTO], range[like], sizeof(float) * (size_t)sites);
        for (int i = 0; i < sites; i++) {
            cr_expect_leq(range[NAS_CALIBRATION_KL][i], range[NAS_CALIBRATION_MAX][i]);
            cut += range[NAS_CALIBRATION_KL][i] < range[NAS_CALIBRATION_MAX][i];
        }
        cr_expect(cut > 0 || bits > 4, "%d bits: no range was cut", bits);
    }
}

/* The engine on integers against the layers that round floats, which are those of training. */
Test(nas_quantizer, integers_agree_with_rounded_floats)
{
    for (uint64_t draw = 0; draw < 4; draw++) {
        float integers[IMAGES * 4];
        const int choice[NAS_MAX_SLOTS] = {0};
        const nas_forward how = {0};
        nas_exec *exec;
        net n;

        net_init(&n, NAS_QUANT_LINEAR, draw);
        net_bits(&n, 8, 8);
        for (int s = 0; s < n.model->slots; s++)
            if (n.model->slot[s].layer[0].spec.type == NAS_OP_MBCONV)
                cr_assert(nas_layer_is_int8(&n.model->slot[s].layer[0]));
        logits(n.model, n.images, integers);
        cr_assert_eq(nas_exec_new(&exec, n.model, IMAGES, NULL), NAS_OK);
        const float *floats = nas_exec_forward(exec, choice, IMAGES, n.images, &how);
        /* A value on the border of two codes may fall to either: a step of 1/127. */
        cr_expect_lt(test_error(integers, floats, IMAGES * 4), 0.02);
        nas_exec_free(exec);
        net_fini(&n);
    }
}

static void train(net *n, int steps)
{
    const int choice[NAS_MAX_SLOTS] = {0};
    const nas_sgd sgd = {.lr = 0.05f, .momentum = 0.9f, .nesterov = true};
    const nas_range_sgd ranges = {.lr = 0.05, .momentum = 0.9};
    double first = 0.0;
    int labels[IMAGES];
    nas_step step;
    nas_exec *exec;

    for (int i = 0; i < IMAGES; i++)
        labels[i] = i % 4;
    cr_assert_eq(nas_exec_new(&exec, n->model, IMAGES, NULL), NAS_OK);
    cr_assert_eq(nas_step_init(&step, exec, IMAGES, 4, NULL), NAS_OK);
    for (int i = 0; i < steps; i++) {
        const nas_forward how = {.train = true, .keep = true, .bn_momentum = 0.1f,
                                 .step = (uint64_t)i};
        const double loss =
            nas_step_weights(&step, choice, IMAGES, n->images, labels, 0.0f, &how, &sgd);
        nas_quantizer_step(n->q, &ranges);
        first = i == 0 ? loss : first;
        if (i == steps - 1)
            cr_expect_lt(loss, first, "%g and %g", loss, first);
    }
    nas_step_fini(&step);
    nas_exec_free(exec);
}

Test(nas_quantizer, trained_weights_stay_on_their_levels_and_ranges_move)
{
    net n;

    net_init(&n, NAS_QUANT_LINEAR, 2);
    net_bits(&n, 4, 4);
    const nas_quant_site *site = nas_quantizer_sites(n.q);
    float before[256];
    int moved = 0;
    for (int i = 0; i < nas_quantizer_count(n.q); i++)
        before[i] = site[i].quant->range;
    train(&n, 12);
    for (int i = 0; i < nas_quantizer_count(n.q); i++) {
        const float *w = n.model->params + n.model->slot[site[i].slot].offset[0] +
                         site[i].weight->offset;
        for (size_t k = 0; k < site[i].weight->count; k++) {
            const float step = site[i].quant->weight_step[k % (size_t)site[i].weight->out];
            const float code = step > 0 ? w[k] / step : 0;
            cr_assert_float_eq(code, rintf(code), 1e-4);
            cr_assert_leq(fabsf(code), 7.001f);
        }
        moved += site[i].quant->range != before[i];
    }
    cr_expect_gt(moved, 0); /* only where values are above the maximum of the calibration */
    net_fini(&n);
}

Test(nas_quantizer, shared_weights_stay_shared)
{
    net n;

    net_init(&n, NAS_QUANT_KMEANS, 2);
    net_bits(&n, 3, 8);
    train(&n, 12);
    const nas_quant_site *site = nas_quantizer_sites(n.q);
    for (int i = 0; i < nas_quantizer_count(n.q); i++) {
        const float *w = n.model->params + n.model->slot[site[i].slot].offset[0] +
                         site[i].weight->offset;
        float seen[8];
        int count = 0;
        for (size_t k = 0; k < site[i].weight->count; k++) {
            int j = 0;
            while (j < count && seen[j] != w[k])
                j++;
            cr_assert_lt(j, 8, "site %d has more than 8 values", i);
            if (j == count)
                seen[count++] = w[k];
        }
        cr_expect_eq(site[i].quant->input_bits, 0);
    }
    net_fini(&n);
}

Test(nas_quantizer, training_gives_the_same_bits_at_any_number_of_threads)
{
    static const int threads[] = {1, 2, 5};
    float *first = NULL;

    for (int t = 0; t < 3; t++) {
        net n;
        omp_set_num_threads(threads[t]);
        net_init(&n, NAS_QUANT_LINEAR, 3);
        net_bits(&n, 4, 4);
        train(&n, 8);
        if (t == 0) {
            first = malloc(n.model->floats * sizeof *first);
            memcpy(first, n.model->params, n.model->floats * sizeof *first);
        }
        cr_expect_arr_eq(n.model->params, first, n.model->floats * sizeof *first, "%d threads",
                         threads[t]);
        net_fini(&n);
    }
    free(first);
}

static void check_file(nas_quant_method method, int weight, int input)
{
    float before[IMAGES * 4], after[IMAGES * 4];
    const char *path = scratch("net.safetensors");
    nas_model *model = NULL;
    nas_arch *arch = NULL;
    nas_err err;
    net n;

    net_init(&n, method, 4);
    net_bits(&n, weight, input);
    n.bits[1].weight = 0; /* a layer of floats between them */
    cr_assert_eq(nas_quantizer_apply(n.q, n.bits, NULL), NAS_OK);
    logits(n.model, n.images, before);
    cr_assert_eq(nas_model_save(n.model, n.arch, path, &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_model_load(&model, &arch, path, &err), NAS_OK, "%s", err.message);
    cr_assert_eq(model->quants, n.model->quants);
    logits(model, n.images, after);
    cr_expect_arr_eq(after, before, sizeof before, "%d bits", weight);
    cr_expect_eq(nas_quant_size_bytes(model), nas_quant_size_bytes(n.model));
    nas_model_free(model);
    nas_arch_free(arch);
    net_fini(&n);
}

Test(nas_quantizer, a_file_gives_the_same_network_back)
{
    for (int bits = 2; bits <= 8; bits++)
        check_file(NAS_QUANT_LINEAR, bits, bits);
    for (int bits = 1; bits <= 8; bits++)
        check_file(NAS_QUANT_KMEANS, bits, 0);
}

Test(nas_quantizer, a_file_is_as_small_as_it_says)
{
    net n;
    nas_err err;
    const char *path = scratch("small.safetensors");

    net_init(&n, NAS_QUANT_LINEAR, 5);
    const int64_t floats = 4 * (int64_t)n.model->parameters;
    net_bits(&n, 4, 8);
    cr_assert_eq(nas_model_save(n.model, n.arch, path, &err), NAS_OK);
    const int64_t bytes = nas_quant_size_bytes(n.model);
    cr_expect_lt(bytes, floats / 2, "%lld of %lld", (long long)bytes, (long long)floats);
    nas_safetensors *file;
    cr_assert_eq(nas_safetensors_open(&file, path, true, &err), NAS_OK);
    int64_t data = 0;
    for (int i = 0; i < nas_safetensors_count(file); i++) {
        const nas_safetensors_tensor *t = nas_safetensors_at(file, i);
        data += t->count * (int64_t)nas_dtype_size(t->dtype);
    }
    nas_safetensors_close(file);
    cr_expect_eq(data, bytes);
    net_fini(&n);
}
