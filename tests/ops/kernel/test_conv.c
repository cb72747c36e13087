/* General convolution: every set against the reference, the reference against
 * numbers by hand and finite differences. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/ops/kernel/conv_check.h"
#include "tests/support/numeric.h"

static void check_sets(nas_conv_geom geom)
{
    /* Sums of up to 49 * 17 products in float32 against double: see
     * test_pointwise.c.  Worst seen 1.2e-6. */
    const double tolerance = 5e-6;

    for (const char *const *name = nas_kernels_names(); *name; name++)
        if (strcmp(*name, "reference") != 0)
            conv_check(&nas_kernels_find(*name)->conv, &nas_kernels_find("reference")->conv, geom,
                       tolerance);
}

Test(ops_conv, agrees_with_reference_over_odd_shapes)
{
    static const int shapes[][8] = {
        /* n  h   w cin cout k  s  groups */
        {2, 9, 7, 3, 32, 3, 1, 1},  {1, 11, 9, 3, 24, 3, 2, 1}, {3, 5, 5, 8, 10, 3, 1, 2},
        {2, 6, 5, 12, 6, 5, 2, 3},  {1, 1, 1, 4, 4, 7, 1, 1},   {1, 2, 3, 4, 8, 7, 2, 4},
        {5, 4, 4, 17, 17, 1, 2, 1}, {2, 7, 7, 10, 20, 3, 3, 5}, {1, 3, 3, 17, 9, 7, 1, 1},
    };

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *s = shapes[i];

        check_sets(conv_geom(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]));
    }
}

Test(ops_conv, padding_and_stride_by_hand)
{
    /* 3x3 ones over the image 1..9, stride 2, pad 1: sums of the four corners' 2x2. */
    const nas_conv_geom geom = conv_geom(1, 3, 3, 1, 1, 3, 2, 1);
    const float x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, w[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    const float expected[4] = {12, 16, 24, 28};

    for (const char *const *name = nas_kernels_names(); *name; name++) {
        static _Alignas(64) float scratch[65536];
        const conv_kernels *conv = &nas_kernels_find(*name)->conv;
        float y[4];

        cr_assert_leq(conv->scratch(&geom, 4), sizeof scratch);
        conv->forward(&geom, &(nas_view){.x = x}, w, NULL, &(nas_conv_out){.y = y}, scratch);
        for (int i = 0; i < 4; i++)
            cr_expect_eq(y[i], expected[i], "%s", *name);
    }
}

Test(ops_conv, reference_gradient_matches_differences)
{
    static const int shapes[][8] = {
        {2, 4, 3, 3, 4, 3, 1, 1}, {1, 5, 5, 4, 6, 3, 2, 2}, {2, 3, 3, 2, 2, 5, 1, 1},
    };
    const conv_kernels *reference = &nas_kernels_find("reference")->conv;

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int *s = shapes[i];
        const nas_conv_geom geom = conv_geom(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);

        /* Linear in w and, but for hswish, in x: rounding of y (2^-24 * 8 / 0.01). */
        for (int view = 0; view < VIEWS; view++) {
            cr_expect_lt(conv_gradient_error(reference, geom, view, NAS_ACT_NONE), 1e-4);
            cr_expect_lt(conv_gradient_error(reference, geom, view, NAS_ACT_HSWISH), 1e-3);
        }
    }
}
