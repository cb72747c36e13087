/* Depthwise convolution: by hand, gradients of the reference by differences, and
 * every set against the reference over odd shapes and at every thread count. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ops/kernel/conv_check.h"
#include "tests/support/numeric.h"

static nas_conv_geom depthwise(int n, int h, int w, int c, int k, int stride, int pad)
{
    nas_conv_geom geom = conv_geom(n, h, w, c, c, k, stride, c);

    geom.pad = pad;
    geom.oh = (h + 2 * pad - k) / stride + 1;
    geom.ow = (w + 2 * pad - k) / stride + 1;
    return geom;
}

static void check_sets(nas_conv_geom geom)
{
    /* Outputs are sums of up to 49 products, weight gradients of up to 850, in
     * float32 against double: sqrt(850) * 2^-24 is 2e-6.  Worst seen 3e-6. */
    const double tolerance = 1e-5;

    for (const char *const *name = nas_kernels_names(); *name; name++)
        if (strcmp(*name, "reference") != 0)
            conv_check(&nas_kernels_find(*name)->depthwise,
                       &nas_kernels_find("reference")->depthwise, geom, tolerance);
}

Test(ops_depthwise, three_by_three_by_hand)
{
    const float x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const float w[9] = {0, 0, 0, 0, 1, 10, 0, 0, 0}; /* itself + 10 * right neighbour */
    const float expected[9] = {21, 32, 3, 54, 65, 6, 87, 98, 9};
    const nas_conv_geom geom = depthwise(1, 3, 3, 1, 3, 1, 1);

    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const conv_kernels *kernels = &nas_kernels_find(*name)->depthwise;
        const nas_view view = {.x = x};
        float y[9], *scratch = test_floats(kernels->scratch(&geom, 64) / sizeof(float), 1);
        const nas_conv_out out = {.y = y};

        kernels->forward(&geom, &view, w, NULL, &out, scratch);
        for (int i = 0; i < 9; i++)
            cr_expect_float_eq(y[i], expected[i], 1e-5, "%s: y[%d] = %g", *name, i, y[i]);
        free(scratch);
    }
}

Test(ops_depthwise, reference_gradient_matches_differences)
{
    const nas_conv_geom cases[] = {depthwise(2, 5, 4, 3, 3, 1, 1), depthwise(1, 7, 6, 2, 5, 2, 2),
                                   depthwise(2, 1, 1, 2, 7, 1, 3), depthwise(1, 4, 5, 2, 3, 1, 0),
                                   depthwise(1, 7, 8, 1, 3, 3, 1)};
    const conv_kernels *reference = &nas_kernels_find("reference")->depthwise;

    /* Linear in w and, but for hswish, in x: rounding of y (2^-24 * 4 / 0.01). */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int view = 0; view < VIEWS; view++) {
            cr_expect_lt(conv_gradient_error(reference, cases[i], view, NAS_ACT_NONE), 1e-4);
            cr_expect_lt(conv_gradient_error(reference, cases[i], view, NAS_ACT_HSWISH), 1e-3);
        }
}

/* Windows and strides over sides; channels and images go round meanwhile. */
static void check_sides(const int sides[][2], int count)
{
    static const int channels[] = {1, 3, 8, 10, 17, 24, 40, 96};
    int turn = 0;

    for (int i = 0; i < count; i++)
        for (int k = 3; k <= 7; k += 2)
            for (int stride = 1; stride <= 2; stride++, turn++)
                check_sets(depthwise(1 + turn % 5, sides[i][0], sides[i][1], channels[turn % 8],
                                     k, stride, k / 2));
}

Test(ops_depthwise, agrees_with_reference_over_small_images)
{
    static const int sides[][2] = {{1, 1}, {2, 3}, {4, 4}, {5, 4}, {7, 7}, {8, 8}};

    check_sides(sides, sizeof sides / sizeof *sides);
}

Test(ops_depthwise, agrees_with_reference_over_larger_images)
{
    static const int sides[][2] = {{9, 6}, {13, 11}, {10, 17}, {3, 19}};

    check_sides(sides, sizeof sides / sizeof *sides);
}

Test(ops_depthwise, agrees_with_reference_for_other_paddings_and_windows)
{
    const nas_conv_geom cases[] = {
        depthwise(2, 9, 9, 10, 3, 1, 0), depthwise(1, 9, 12, 8, 5, 2, 0),
        depthwise(2, 8, 8, 8, 7, 2, 2),  depthwise(1, 3, 4, 9, 3, 1, 2),
        depthwise(2, 4, 4, 8, 7, 1, 6),  depthwise(1, 6, 6, 8, 5, 2, 4),
        depthwise(2, 6, 6, 5, 1, 1, 0),  depthwise(1, 9, 9, 5, 9, 1, 4),
        depthwise(1, 9, 8, 5, 3, 3, 1),
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_sets(cases[i]);
}

Test(ops_depthwise, agrees_with_reference_over_many_images_and_channels)
{
    check_sets(depthwise(37, 4, 4, 24, 5, 1, 2)); /* chunks of two and three images */
    check_sets(depthwise(2, 5, 5, 300, 3, 2, 1)); /* two groups of channels         */
}

/* Without padding every output is a large number and a little: the inputs have
 * mean^2/var of 4e5. */
Test(ops_depthwise, statistics_keep_digits_far_from_zero)
{
    enum { IMAGES = 4, CHANNELS = 10, SIDE = 20, PIXELS = 18 * 18 };
    const nas_conv_geom geom = depthwise(IMAGES, SIDE, SIDE, CHANNELS, 3, 1, 0);
    const size_t nx = IMAGES * SIDE * SIDE * CHANNELS;
    float *x = test_floats(nx, 1), *y = test_floats(IMAGES * PIXELS * CHANNELS, 2);
    float *w = test_floats(9 * CHANNELS, 3), *stats = test_floats(IMAGES * 2 * CHANNELS, 4);

    test_fill_range(x, nx, 1, 107, 107.6f);
    test_fill_range(w, 9 * CHANNELS, 3, 0.5f, 1.5f);
    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const conv_kernels *kernels = &nas_kernels_find(*name)->depthwise;
        float *scratch = test_floats(kernels->scratch(&geom, 64) / sizeof(float), 5);

        kernels->forward(&geom, &(nas_view){.x = x}, w, NULL,
                         &(nas_conv_out){.y = y, .stats = stats}, scratch);
        for (int at = 0; at < IMAGES * CHANNELS; at++) { /* one image a chunk */
            const int image = at / CHANNELS, c = at % CHANNELS;
            const float *of_chunk = stats + image * 2 * CHANNELS + c;
            double mean = 0, squares = 0;

            for (int p = 0; p < PIXELS; p++)
                mean += y[(image * PIXELS + p) * CHANNELS + c] / (double)PIXELS;
            for (int p = 0; p < PIXELS; p++)
                squares += pow(y[(image * PIXELS + p) * CHANNELS + c] - mean, 2);
            /* 324 additions of float32: 324 * 2^-24 at worst */
            cr_expect_float_eq(of_chunk[CHANNELS] / squares, 1, 2e-5, "%s: %g, not %g", *name,
                               of_chunk[CHANNELS], squares);
            cr_expect_float_eq(of_chunk[0] / mean, 1, 3e-7);
        }
        free(scratch);
    }
    float *all[] = {x, y, w, stats};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}
