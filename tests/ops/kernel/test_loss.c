/* Cross entropy, dropout and the gradient of activations. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "ops/kernel/kernel.h"
#include "tests/support/numeric.h"

enum { ROWS = 4, CLASSES = 5, COUNT = ROWS * CLASSES };

static double loss_of(void *context) /* {logits, targets} */
{
    float **data = context;

    return nas_kernels_get()->cross_entropy(ROWS, CLASSES, data[0], data[1], NULL);
}

Test(ops_loss, cross_entropy_by_hand)
{
    const float logits[4] = {0, 0, logf(3), 0}, targets[4] = {1, 0, 0.5f, 0.5f};
    float grad[4];
    /* row 0: log 2; row 1: p = 3/4, 1/4 */
    const double second = -0.5 * log(0.75) - 0.5 * log(0.25);
    const double loss = nas_kernels_get()->cross_entropy(2, 2, logits, targets, grad);

    cr_expect_float_eq(loss, (log(2) + second) / 2, 1e-7);
    cr_expect_float_eq(grad[0], (0.5 - 1) / 2, 1e-7);
    cr_expect_float_eq(grad[1], 0.5 / 2, 1e-7);
    cr_expect_float_eq(grad[2], (0.75 - 0.5) / 2, 1e-7);
    cr_expect_float_eq(grad[3], (0.25 - 0.5) / 2, 1e-7);
}

Test(ops_loss, cross_entropy_gradient_matches_differences)
{
    float logits[COUNT], targets[COUNT], grad[COUNT], *data[2] = {logits, targets};

    test_fill_range(logits, COUNT, 1, -3, 3);
    test_fill_range(targets, COUNT, 2, 0, 1);
    for (int r = 0; r < ROWS; r++) {
        float sum = 0;

        for (int c = 0; c < CLASSES; c++)
            sum += targets[r * CLASSES + c];
        for (int c = 0; c < CLASSES; c++)
            targets[r * CLASSES + c] /= sum;
    }
    nas_kernels_get()->cross_entropy(ROWS, CLASSES, logits, targets, grad);
    /* the loss is a double: what is left is the step's square; worst seen 1e-5 */
    cr_expect_lt(test_gradcheck(loss_of, data, logits, grad, COUNT, 1e-2, COUNT), 1e-4);
}

Test(ops_loss, cross_entropy_survives_large_logits)
{
    const float logits[3] = {1e30f, -1e30f, -INFINITY}, targets[3] = {1, 0, 0};
    float grad[3];

    cr_expect_float_eq(nas_kernels_get()->cross_entropy(1, 3, logits, targets, grad), 0, 1e-6);
    for (int c = 0; c < 3; c++)
        cr_expect_float_eq(grad[c], 0, 1e-6);
}

Test(ops_loss, dropout_keeps_its_share_and_repeats)
{
    enum { MANY = 40001 };
    static float x[MANY], y[MANY], again[MANY];
    const nas_kernels *k = nas_kernels_get();
    int kept = 0, moved = 0;

    for (int i = 0; i < MANY; i++)
        x[i] = 3;
    k->dropout(0, MANY, 0.25f, 7, 11, x, y);
    for (int i = 0; i < MANY; i++) {
        cr_assert(y[i] == 0 || y[i] == 4, "3/(1 - 0.25) or nothing, not %g", y[i]);
        kept += y[i] != 0;
    }
    /* binomial: deviation sqrt(40001 * 0.25 * 0.75) = 87; five of them */
    cr_expect_lt(abs(kept - 30001), 435);
    for (int threads = 1; threads <= 4; threads++) {
        omp_set_num_threads(threads);
        memcpy(again, x, sizeof x);
        k->dropout(0, MANY, 0.25f, 7, 11, again, again); /* in place */
        cr_expect_arr_eq(again, y, sizeof y);
    }
    k->dropout(0, MANY, 0.25f, 7, 12, x, again);
    for (int i = 0; i < MANY; i++)
        moved += again[i] != y[i];
    /* of independent masks 2 * 0.25 * 0.75 differ */
    cr_expect_lt(abs(moved - 15000), 500);
    k->dropout(0, MANY, 0.25f, 8, 11, x, again);
    cr_expect_neq(memcmp(again, y, sizeof y), 0, "another seed is another mask");
    for (int from = 0; from < 6; from++) { /* parts of a whole get its mask */
        k->dropout((size_t)from, MANY - 6, 0.25f, 7, 11, x, again);
        cr_expect_arr_eq(again, y + from, (MANY - 6) * sizeof *y, "from %d", from);
    }
    k->dropout(0, MANY, 0, 7, 11, x, again);
    cr_expect_arr_eq(again, x, sizeof x);
}

Test(ops_loss, act_backward_needs_only_what_was_kept)
{
    static const float z[9] = {-4, -3, -1, 0, 1, 2.5f, 3, 5, 7};
    float dy[9], kept[9], g[9];

    test_fill_range(dy, 9, 1, 1, 2);
    for (int act = NAS_ACT_NONE; act <= NAS_ACT_HSIGMOID; act++) {
        for (int i = 0; i < 9; i++)
            kept[i] = act == NAS_ACT_HSWISH ? z[i] : nas_act_value((nas_act)act, z[i]);
        nas_kernels_get()->act_backward(9, (nas_act)act, kept, dy, g);
        for (int i = 0; i < 9; i++)
            cr_expect_float_eq(g[i], dy[i] * nas_act_slope((nas_act)act, z[i]), 1e-6,
                               "act %d at %g: %g", act, z[i], g[i]);
    }
}
