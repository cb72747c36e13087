/* The elastic supernet as a whole: extraction, sorting, other image sizes, statistics. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "nas/elastic/elastic.h"
#include "nas/model/infer.h"
#include "tests/support/numeric.h"

enum { BATCH = 4, SIDE = 16, CLASSES = 4, IMAGES = BATCH * SIDE * SIDE * 3 };

static nas_err err;
static nas_space *space;
static nas_elastic *elastic;
static nas_elastic_mask all;
static float *images;

static void setup(void)
{
    cr_assert_eq(nas_space_load(&space, "ofa-tiny", &err), NAS_OK);
    cr_assert_eq(nas_space_fit(space, SIDE, 3, CLASSES, &err), NAS_OK);
    cr_assert_eq(nas_elastic_new(&elastic, space, BATCH, NAS_MEMORY_BALANCED, &err), NAS_OK, "%s",
                 err.message);
    cr_assert_eq(nas_elastic_mask_make(&all, space, nas_elastic_dims_all(elastic), &err), NAS_OK);
    nas_elastic_reset(elastic, 3);
    images = test_floats(IMAGES, 1);
}

static void teardown(void)
{
    free(images);
    nas_elastic_free(elastic);
    nas_space_free(space);
}

TestSuite(nas_elastic, .init = setup, .fini = teardown);

static void sample(uint64_t index, int *choice)
{
    nas_rng rng;

    nas_rng_init(&rng, 1, "test", index);
    nas_elastic_sample(space, &all, &rng, choice);
}

/* Steps on random subnets: weights, matrices and statistics that are nobody's beginning. */
static void train(int steps)
{
    const nas_sgd sgd = {.lr = 0.05f, .momentum = 0.9f, .decay = 1e-4f, .nesterov = true};
    const nas_backward want = {.weights = true};
    int choice[NAS_MAX_SLOTS];
    float dlogits[BATCH * CLASSES];

    for (int step = 0; step < steps; step++) {
        const nas_forward how = {.train = true, .keep = true, .dropout = true, .bn_momentum = 0.1f,
                                 .seed = 1, .step = (uint64_t)step};
        nas_elastic_zero_grads(elastic);
        for (int j = 0; j < 2; j++) {
            sample((uint64_t)(2 * step + j), choice);
            nas_elastic_load(elastic, choice);
            nas_exec_forward(nas_elastic_exec(elastic), choice, BATCH, images, &how);
            test_fill(dlogits, BATCH * CLASSES, (unsigned)step);
            nas_exec_backward(nas_elastic_exec(elastic), dlogits, &want);
            nas_elastic_add_grads(elastic, choice);
            nas_elastic_keep_statistics(elastic, choice);
        }
        nas_elastic_sgd(elastic, &sgd, nas_elastic_dims_all(elastic));
    }
}

static void digest(char out[NAS_DIGEST_SIZE])
{
    const nas_model *m = nas_elastic_shared(elastic);
    nas_hash *hash = nas_hash_new();
    nas_elastic_matrix matrix;

    nas_hash_add(hash, m->params, m->floats * sizeof(float));
    nas_hash_add(hash, m->momentum, m->floats * sizeof(float));
    for (int i = 0; nas_elastic_matrix_at(elastic, i, &matrix); i++)
        nas_hash_add(hash, matrix.values, (size_t)(matrix.taps * matrix.taps) * sizeof(float));
    nas_hash_hex(hash, out);
    nas_hash_free(hash);
}

/* 7x7 with 3x3 inside: 9 taps of 1, 16 of 0.3, 24 of 0.09, times 7 / sqrt(9 + 16*0.09 + 24*0.0081)
 * for the same sum of squares on average. */
Test(nas_elastic, kernels_fade_outwards_from_the_smallest_one)
{
    const nas_model *m = nas_elastic_shared(elastic);
    float *before = malloc(m->floats * sizeof *before);
    const double centre = 7.0 / sqrt(9 + 16 * 0.09 + 24 * 0.0081);
    int faded = 0;

    memcpy(before, m->params, m->floats * sizeof *before);
    nas_elastic_fade_kernels(elastic);
    for (int s = 0; s < m->slots; s++)
        for (int i = 0; i < m->slot[s].layer[0].params; i++) {
            const nas_param *p = &m->slot[s].layer[0].param[i];
            const size_t at = m->slot[s].offset[0] + p->offset;
            const bool elastic_kernel = p->kind == NAS_PARAM_DEPTHWISE && space->slots[s].count > 1;

            faded += elastic_kernel;
            for (size_t k = 0; k < p->count; k++) {
                const int tap = (int)(k / (size_t)p->out);
                const int y = abs(tap / 7 - 3), x = abs(tap % 7 - 3);
                const int ring = (y > x ? y : x) - 1;
                const double factor =
                    elastic_kernel ? centre * (ring > 0 ? pow(0.3, ring) : 1.0) : 1.0;

                cr_assert_float_eq(m->params[at + k], factor * (double)before[at + k], 1e-5,
                                   "slot %d, %s[%zu]", s, p->name, k);
            }
        }
    cr_expect_eq(faded, 6);
    free(before);
}

Test(nas_elastic, threads_do_not_change_a_bit_of_training)
{
    char one[NAS_DIGEST_SIZE], other[NAS_DIGEST_SIZE];

    omp_set_num_threads(1);
    train(4);
    digest(one);
    for (int threads = 2; threads <= 4; threads += 2) {
        omp_set_num_threads(threads);
        nas_elastic_free(elastic);
        cr_assert_eq(nas_elastic_new(&elastic, space, BATCH, NAS_MEMORY_LOW, &err), NAS_OK);
        nas_elastic_reset(elastic, 3);
        train(4);
        digest(other);
        cr_expect_str_eq(one, other, "%d threads", threads);
    }
}

/* Logits of a network by the inference engine. */
static void infer(const nas_model *model, const int *choice, int n, float *logits)
{
    nas_infer *engine;

    cr_assert_eq(nas_infer_new(&engine, model, choice, n, &err), NAS_OK);
    memcpy(logits, nas_infer_run(engine, n, images), (size_t)(n * CLASSES) * sizeof *logits);
    nas_infer_free(engine);
}

Test(nas_elastic, a_subnet_extracted_is_the_subnet_in_place_to_the_bit)
{
    const int only[NAS_MAX_SLOTS] = {0};
    const nas_forward how = {.train = true};
    float in_place[BATCH * CLASSES], alone[BATCH * CLASSES];
    int choice[NAS_MAX_SLOTS];

    train(3);
    for (uint64_t i = 100; i < 112; i++)
        for (int side = 12; side <= SIDE; side += 4) {
            nas_exec *exec;
            nas_model *model;
            nas_arch *arch;

            sample(i, choice);
            cr_assert_eq(nas_elastic_resize(elastic, side, &err), NAS_OK);
            nas_elastic_load(elastic, choice);
            infer(nas_elastic_work(elastic), choice, BATCH, in_place);
            cr_assert_eq(nas_elastic_extract(&model, &arch, elastic, choice, side, &err), NAS_OK);
            cr_expect_eq(arch->image_size, side);
            infer(model, only, BATCH, alone);
            cr_assert_eq(memcmp(in_place, alone, sizeof alone), 0, "subnet %d", (int)i);

            /* and with batch statistics */
            exec = nas_elastic_exec(elastic);
            memcpy(in_place, nas_exec_forward(exec, choice, BATCH, images, &how),
                   sizeof in_place);
            cr_assert_eq(nas_exec_new(&exec, model, BATCH, &err), NAS_OK);
            memcpy(alone, nas_exec_forward(exec, only, BATCH, images, &how), sizeof alone);
            cr_assert_eq(memcmp(in_place, alone, sizeof alone), 0, "subnet %d", (int)i);
            nas_exec_free(exec);
            nas_arch_free(arch);
            nas_model_free(model);
        }
}

Test(nas_elastic, sorting_leaves_what_the_largest_network_computes)
{
    const nas_elastic_dims *dims = nas_elastic_dims_all(elastic);
    nas_elastic_dims trained = {.expands = 1, .expand = {dims->expand[dims->expands - 1]}};
    nas_elastic_corner corner[NAS_ELASTIC_CORNERS];
    float before[BATCH * CLASSES], after[BATCH * CLASSES], narrow[2][BATCH * CLASSES];

    train(3);
    nas_elastic_corners(space, dims, &all, corner);
    const int *largest = corner[0].choice, *smallest = corner[2].choice;
    cr_assert_str_eq(corner[2].name, "k7-e3-deep");
    for (int bucketed = 0; bucketed < 2; bucketed++) {
        nas_elastic_load(elastic, largest);
        infer(nas_elastic_work(elastic), largest, BATCH, before);
        nas_elastic_load(elastic, smallest);
        infer(nas_elastic_work(elastic), smallest, BATCH, narrow[0]);
        if (bucketed)
            trained = *dims;
        cr_assert_eq(nas_elastic_sort(elastic, &trained, &err), NAS_OK);
        nas_elastic_load(elastic, largest);
        infer(nas_elastic_work(elastic), largest, BATCH, after);
        cr_expect_lt(test_error(after, before, BATCH * CLASSES), 1e-4);
        nas_elastic_load(elastic, smallest);
        infer(nas_elastic_work(elastic), smallest, BATCH, narrow[1]);
        /* the first sort brings others into the narrow one; a second one finds them there */
        cr_expect(bucketed == (test_error(narrow[1], narrow[0], BATCH * CLASSES) < 1e-4));
    }
}

Test(nas_elastic, unused_matrices_are_not_decayed)
{
    nas_elastic_dims largest = *nas_elastic_dims_all(elastic);
    const nas_sgd sgd = {.lr = 0.1f, .decay = 0.1f};
    nas_elastic_matrix to5, to3;

    largest.kernel[0] = 5;
    largest.kernels = 1;
    nas_elastic_zero_grads(elastic);
    nas_elastic_sgd(elastic, &sgd, &largest);
    cr_assert(nas_elastic_matrix_at(elastic, 0, &to5));
    cr_assert(nas_elastic_matrix_at(elastic, 1, &to3));
    cr_expect_str_eq(to5.name, "slot1.op0.kernel7to5");
    cr_expect_lt(to5.values[0], 1.0f);
    cr_expect_eq(to3.values[0], 1.0f);
}

/* Rows of 8 pixels are taken several at a time: that needs more scratch than longer ones do.  The
 * sanitizers see what is written beyond it. */
Test(nas_elastic, smaller_images_have_the_scratch_that_they_need)
{
    enum { LARGE = 36 };
    static const int sides[] = {LARGE, 24, 20, 16, 12, 8};
    const nas_forward how = {.train = true, .keep = true};
    const nas_backward want = {.weights = true};
    float *large = test_floats(BATCH * LARGE * LARGE * 3, 1), dlogits[BATCH * CLASSES] = {1};
    int choice[NAS_MAX_SLOTS];
    nas_space *wide;
    nas_elastic *e;

    cr_assert_eq(nas_space_load(&wide, "ofa-tiny", &err), NAS_OK);
    cr_assert_eq(nas_space_fit(wide, LARGE, 3, CLASSES, &err), NAS_OK);
    cr_assert_eq(nas_elastic_new(&e, wide, BATCH, NAS_MEMORY_BALANCED, &err), NAS_OK);
    nas_elastic_reset(e, 3);
    for (size_t i = 0; i < 4 * (sizeof sides / sizeof *sides); i++) {
        cr_assert_eq(nas_elastic_resize(e, sides[i / 4], &err), NAS_OK);
        sample(i, choice);
        nas_elastic_load(e, choice);
        const float *logits = nas_exec_forward(nas_elastic_exec(e), choice, BATCH, large, &how);
        for (int k = 0; k < BATCH * CLASSES; k++)
            cr_expect(isfinite(logits[k]));
        nas_exec_backward(nas_elastic_exec(e), dlogits, &want);
    }
    nas_elastic_free(e);
    nas_space_free(wide);
    free(large);
}

/* What was planned for the largest images serves smaller ones. */
Test(nas_elastic, every_layer_needs_less_for_smaller_images)
{
    static const char *const names[] = {"ofa-mbv3-1.2", "ofa-proxyless-1.3", "ofa-cifar"};

    for (int i = 0; i < 3; i++) {
        nas_model *model;
        nas_space *other;
        size_t before = SIZE_MAX;

        cr_assert_eq(nas_space_load(&other, names[i], &err), NAS_OK);
        cr_assert_eq(nas_model_new(&model, other, &err), NAS_OK);
        for (int k = other->resolutions - 1; k >= 0; k--) {
            nas_exec *exec;

            cr_assert_eq(nas_model_resize(model, other->resolution[k], &err), NAS_OK);
            cr_assert_eq(nas_exec_new(&exec, model, 2, &err), NAS_OK);
            cr_expect_leq(nas_exec_planned_bytes(exec), before);
            before = nas_exec_planned_bytes(exec);
            nas_exec_free(exec);
            for (int s = 0; s < model->slots; s++)
                cr_expect_leq(nas_layer_scratch(&model->slot[s].layer[0], 2, 4),
                              nas_layer_scratch(&model->slot[s].layer[0], 8, 4));
        }
        nas_model_free(model);
        nas_space_free(other);
    }
}
