/* The predictor against PyTorch's numbers, its inputs, and files that are none. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nas/train/safetensors.h"
#include "search/ofa/predictor.h"
#include "tests/support/golden.h"
#include "tests/support/scratch.h"

#define GOLDEN(name) NAS_SOURCE_DIR "/tests/golden/" name

enum { INPUTS = 24, CASES = 9 };

TestSuite(search_predictor, .init = scratch_init, .fini = scratch_fini);

static nas_err err;

static nas_predictor *load(const char *path)
{
    nas_predictor *p;

    cr_assert_eq(nas_predictor_load(&p, path, &err), NAS_OK, "%s", err.message);
    return p;
}

/* Worst seen 6e-8 relative to the greatest output, gcc 12 with AVX2. */
static void expect_golden(const nas_predictor *p)
{
    golden *file = golden_open(GOLDEN("predictor_cases.safetensors"));
    const float *x = golden_floats(file, NULL, "x", CASES * INPUTS);
    const float *y = golden_floats(file, NULL, "y", CASES);
    float scratch[2 * CASES * 16], out[CASES];

    cr_assert_eq(p->net.width[0], INPUTS);
    cr_assert_eq(nas_dense_widest(&p->net), 16);
    nas_dense_run(&p->net, CASES, x, scratch, out);
    for (int i = 0; i < CASES; i++)
        cr_expect_float_eq(out[i], y[i], 1e-6, "row %d: %.9g, PyTorch %.9g", i, (double)out[i],
                           (double)y[i]);
    golden_close(file);
}

Test(search_predictor, says_what_pytorch_says_from_safetensors)
{
    nas_predictor *p = load(GOLDEN("predictor.safetensors"));

    expect_golden(p);
    cr_expect_eq(p->sizes, 0);
    nas_predictor_free(p);
}

Test(search_predictor, says_what_pytorch_says_from_torch_save)
{
    nas_predictor *p = load(GOLDEN("predictor.pth"));

    expect_golden(p);
    cr_expect_eq(p->sizes, 8); /* as the published one, which says nothing about them */
    cr_expect_eq(p->image_size[p->untrained], 160);
    nas_predictor_free(p);
}

/* tiny: 6 blocks, kernels 3 and 5, ratios 2 and 4; candidates 3e2 3e4 5e2 5e4 [zero]. */
Test(search_predictor, inputs_are_kernels_then_ratios_of_the_blocks_that_are_there)
{
    nas_predictor *p = load(GOLDEN("predictor.safetensors"));
    nas_candidate candidate = {.image_size = 16};
    nas_encoding encoding;
    nas_space *space;
    float x[INPUTS], expected[INPUTS] = {0};
    int block = 0;

    cr_assert_eq(nas_space_load(&space, "tiny", &err), NAS_OK);
    cr_assert_eq(nas_encoding_for(&encoding, space, p, &err), NAS_OK, "%s", err.message);
    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];
        if (slot->count == 1)
            continue;
        const bool skipped = nas_slot_has_zero(slot) && block % 2 == 1;
        candidate.choice[s] = skipped ? slot->count - 1 : block % 4;
        if (!skipped) {
            const nas_op_spec *op = &slot->candidates[block % 4];
            expected[2 * block + (op->kernel == 5)] = 1.0f;
            expected[12 + 2 * block + (op->expand == 4.0f)] = 1.0f;
        }
        block++;
    }
    cr_assert_eq(block, 6);
    nas_encoding_apply(&encoding, &candidate, x);
    for (int i = 0; i < INPUTS; i++)
        cr_expect_eq(x[i], expected[i], "input %d", i);
    cr_expect_eq(nas_encoding_check_size(&encoding, 99, &err), NAS_OK); /* tells none apart */
    nas_encoding_fini(&encoding);
    nas_space_free(space);
    nas_predictor_free(p);
}

Test(search_predictor, a_batch_scores_as_one_by_one)
{
    enum { MANY = 200 };
    nas_predictor *p = load(GOLDEN("predictor.safetensors"));
    nas_predictor_evaluator *e;
    nas_encoding encoding;
    nas_space *space;
    nas_rng rng;
    static nas_candidate list[MANY];

    cr_assert_eq(nas_space_load(&space, "tiny", &err), NAS_OK);
    cr_assert_eq(nas_encoding_for(&encoding, space, p, &err), NAS_OK);
    cr_assert_eq(nas_predictor_evaluator_new(&e, p, &encoding, &err), NAS_OK);
    nas_rng_init(&rng, 1, "test", 0);
    for (int i = 0; i < MANY; i++)
        nas_space_sample(space, &rng, list[i].choice);
    cr_assert_eq(e->evaluator.score(e->evaluator.user, list, MANY, &err), NAS_OK);
    for (int i = 0; i < MANY; i++) {
        nas_candidate alone = list[i];
        cr_assert_eq(e->evaluator.score(e->evaluator.user, &alone, 1, &err), NAS_OK);
        cr_expect_eq(alone.score, list[i].score);
    }
    nas_predictor_evaluator_free(e);
    nas_encoding_fini(&encoding);
    nas_space_free(space);
    nas_predictor_free(p);
}

Test(search_predictor, a_predictor_of_another_space_says_what_differs)
{
    nas_predictor *p = load(GOLDEN("predictor.safetensors"));
    nas_encoding encoding;
    nas_space *space;

    cr_assert_eq(nas_space_load(&space, "ofa-mbv3-1.2", &err), NAS_OK);
    cr_expect_eq(nas_encoding_for(&encoding, space, p, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "has 24 inputs, ofa-mbv3-1.2 gives 120") != NULL, "%s",
              err.message);
    nas_encoding_fini(&encoding);
    nas_space_free(space);
    nas_predictor_free(p);
}

/* Writes a predictor of two layers, 3 -> 2 -> 1, whose parts can be left out or made odd. */
static nas_status try_file(const char *second, int64_t inputs, float value, const char *sizes)
{
    const float w[8] = {1, 2, 3, 4, 5, 6, 7, 8}, b[2] = {0, value};
    const int64_t first_shape[] = {2, 3}, second_shape[] = {1, inputs}, two = 2, one = 1;
    nas_safetensors_builder *file = nas_safetensors_builder_new();
    const char *path = scratch("p.safetensors");
    nas_predictor *p;

    nas_safetensors_builder_add(file, "0.weight", NAS_DTYPE_F32, 2, first_shape, w);
    nas_safetensors_builder_add(file, "0.bias", NAS_DTYPE_F32, 1, &two, b);
    nas_safetensors_builder_add(file, second, NAS_DTYPE_F32, 2, second_shape, w);
    nas_safetensors_builder_add(file, "2.bias", NAS_DTYPE_F32, 1, &one, b);
    if (sizes != NULL)
        nas_safetensors_builder_meta(file, "nas.image_sizes", sizes);
    cr_assert_eq(nas_safetensors_builder_write(file, path, NULL, NULL), NAS_OK);
    nas_safetensors_builder_free(file);
    const nas_status status = nas_predictor_load(&p, path, &err);
    nas_predictor_free(p);
    return status;
}

Test(search_predictor, what_is_no_predictor_is_refused)
{
    nas_predictor *p;

    cr_expect_eq(try_file("2.weight", 2, 0.5f, "8,16,24"), NAS_OK, "%s", err.message);
    cr_expect_eq(try_file("3.weight", 2, 0.5f, NULL), NAS_E_DATA);
    cr_expect_eq(try_file("2.weight", 3, 0.5f, NULL), NAS_E_DATA);
    cr_expect_eq(try_file("2.weight", 2, NAN, NULL), NAS_E_DATA);
    cr_expect_eq(try_file("2.weight", 2, 0.5f, "16,8"), NAS_E_DATA);
    cr_expect_eq(try_file("2.weight", 2, 0.5f, "8,,16"), NAS_E_DATA);
    cr_expect_eq(try_file("2.weight", 2, 0.5f, "8px"), NAS_E_DATA);
    cr_expect_eq(nas_predictor_load(&p, scratch("absent"), &err), NAS_E_IO);
    cr_expect_eq(nas_predictor_load(&p, GOLDEN("layers.safetensors"), &err), NAS_E_DATA);
    cr_expect_eq(nas_predictor_load(&p, scratch_put("text", "not a predictor"), &err), NAS_E_DATA);
}
