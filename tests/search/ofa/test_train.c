/* A predictor learns what a rule of our own says, and gives the same bits again. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "search/ofa/train.h"
#include "tests/support/scratch.h"

enum { SAMPLES = 600, SIZES = 2 };
static const int sizes[SIZES] = {12, 16};

static nas_err err;
static nas_space *space;
static nas_encoding encoding;
static nas_candidate list[SAMPLES];

static void setup(void)
{
    nas_rng rng;

    scratch_init();
    cr_assert_eq(nas_space_load(&space, "tiny", &err), NAS_OK);
    cr_assert_eq(nas_encoding_init(&encoding, space, SIZES, sizes, &err), NAS_OK);
    nas_rng_init(&rng, 1, "test", 0);
    for (int i = 0; i < SAMPLES; i++) {
        double sum = 0.0;
        nas_space_sample(space, &rng, list[i].choice);
        list[i].image_size = sizes[nas_rng_below(&rng, SIZES)];
        for (int s = 0; s < space->count; s++)
            if (space->slots[s].count > 1) {
                const nas_op_spec *op = &space->slots[s].candidates[list[i].choice[s]];
                sum += op->kernel * (1.0 + 0.1 * s) + 2.0 * (double)op->expand;
            }
        list[i].score = 0.6 + 0.03 * tanh(0.05 * (sum - 40.0)) + 0.002 * (list[i].image_size - 12);
    }
}

static void teardown(void)
{
    nas_encoding_fini(&encoding);
    nas_space_free(space);
    scratch_fini();
}

TestSuite(search_predictor_train, .init = setup, .fini = teardown);

static const nas_predictor_config usual = {.hidden = 32, .layers = 2, .epochs = 60, .batch = 32,
                                           .lr = 3e-3, .decay = 1e-4, .held_out = 0.2, .seed = 1};

static nas_predictor *train(const nas_predictor_config *config, nas_predictor_fit *fit)
{
    nas_predictor *p;

    cr_assert_eq(nas_predictor_train(&p, &encoding, list, SAMPLES, config, NULL, fit, &err),
                 NAS_OK, "%s", err.message);
    return p;
}

static void expect_same(const nas_predictor *a, const nas_predictor *b)
{
    cr_assert_eq(a->net.layers, b->net.layers);
    for (int i = 0; i < a->net.layers; i++) {
        const size_t out = (size_t)a->net.width[i + 1] * sizeof(float);

        cr_expect(memcmp(a->net.weight[i], b->net.weight[i], (size_t)a->net.width[i] * out) == 0,
                  "layer %d", i);
        cr_expect(memcmp(a->net.bias[i], b->net.bias[i], out) == 0, "bias of layer %d", i);
    }
}

Test(search_predictor_train, learns_a_rule_it_can_be_asked_for_afterwards)
{
    nas_predictor_fit fit;
    nas_predictor *p = train(&usual, &fit), *read;
    const char *path = scratch("p.safetensors");
    nas_encoding again;
    nas_predictor_evaluator *e;
    nas_candidate asked[SAMPLES];
    double squares = 0.0;

    cr_expect_eq(fit.trained, 480);
    cr_expect_eq(fit.held_out, 120);
    cr_expect_gt(fit.spearman, 0.98); /* 0.997 seen */
    cr_expect_gt(fit.kendall, 0.9);
    cr_expect_lt(fit.rmse, 0.004); /* of a spread of 0.02 */

    cr_assert_eq(nas_predictor_save(p, path, &err), NAS_OK);
    cr_assert_eq(nas_predictor_load(&read, path, &err), NAS_OK, "%s", err.message);
    expect_same(p, read);
    cr_assert_eq(nas_encoding_for(&again, space, read, &err), NAS_OK, "%s", err.message);
    cr_expect_neq(nas_encoding_check_size(&again, 14, &err), NAS_OK);
    cr_assert_eq(nas_predictor_evaluator_new(&e, read, &again, &err), NAS_OK);
    memcpy(asked, list, sizeof asked);
    cr_assert_eq(e->evaluator.score(e->evaluator.user, asked, SAMPLES, &err), NAS_OK);
    for (int i = 0; i < SAMPLES; i++)
        squares += pow(asked[i].score - list[i].score, 2.0);
    cr_expect_lt(sqrt(squares / SAMPLES), 0.004);
    nas_predictor_evaluator_free(e);
    nas_encoding_fini(&again);
    nas_predictor_free(read);
    nas_predictor_free(p);
}

Test(search_predictor_train, same_seed_same_bits_for_any_threads)
{
    nas_predictor_config config = usual;
    nas_predictor_fit a, b, c;

    config.epochs = 3;
    config.hidden = 80;
    config.batch = 128;
    omp_set_num_threads(1);
    nas_predictor *one = train(&config, &a);
    omp_set_num_threads(3);
    nas_predictor *three = train(&config, &b);
    expect_same(one, three);
    cr_expect_eq(a.rmse, b.rmse);
    config.seed = 2;
    nas_predictor *other = train(&config, &c);
    cr_expect_neq(a.rmse, c.rmse);
    nas_predictor_free(one);
    nas_predictor_free(three);
    nas_predictor_free(other);
}

Test(search_predictor_train, what_diverged_is_no_predictor)
{
    nas_predictor_config config = usual;
    nas_predictor *p;
    nas_predictor_fit fit;

    config.epochs = 5;
    for (config.lr = 10.0; config.lr < 1e20; config.lr *= 1e18) { /* huge, then not finite */
        cr_expect_eq(nas_predictor_train(&p, &encoding, list, SAMPLES, &config, NULL, &fit, &err),
                     NAS_E_FAIL, "%g", config.lr);
        cr_expect_null(p);
        cr_expect(strstr(err.message, "diverged") != NULL);
    }
}

Test(search_predictor_train, too_little_and_nonsense_are_refused)
{
    nas_predictor *p;
    nas_predictor_fit fit;

    cr_expect_eq(nas_predictor_train(&p, &encoding, list, 9, &usual, NULL, &fit, &err),
                 NAS_E_DATA);
    list[3].score = NAN;
    cr_expect_eq(nas_predictor_train(&p, &encoding, list, SAMPLES, &usual, NULL, &fit, &err),
                 NAS_E_DATA);
    cr_expect_null(p);
}
