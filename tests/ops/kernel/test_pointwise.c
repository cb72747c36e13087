/* Pointwise convolution: every set against the reference, at every thread count;
 * the reference against finite differences; statistics that keep their digits. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ops/kernel/conv_check.h"
#include "tests/support/numeric.h"

static nas_conv_geom pointwise(int n, int h, int w, int cin, int cout)
{
    return conv_geom(n, h, w, cin, cout, 1, 1, 1);
}

static void check_sets(nas_conv_geom geom)
{
    /* Sums of up to 96 products in float32 against double: sqrt(96) * 2^-24 is
     * 6e-7; statistics and weight gradients add up 900 rows.  Worst seen 1.1e-6. */
    const double tolerance = 5e-6;

    for (const char *const *name = nas_kernels_names(); *name; name++)
        if (strcmp(*name, "reference") != 0)
            conv_check(&nas_kernels_find(*name)->pointwise,
                       &nas_kernels_find("reference")->pointwise, geom, tolerance);
}

Test(ops_pointwise, agrees_with_reference_over_odd_shapes)
{
    static const int shapes[][5] = {
        /* n  h  w cin cout */
        {1, 1, 1, 1, 1},   {1, 3, 5, 3, 8},    {2, 5, 7, 8, 10},   {3, 7, 3, 10, 17},
        {4, 4, 4, 17, 24}, {5, 3, 3, 24, 40},  {2, 9, 5, 40, 96},  {1, 7, 9, 96, 24},
        {17, 2, 3, 24, 3}, {3, 11, 13, 8, 40}, {2, 5, 5, 96, 1},
        /* one and a half vectors of columns, of either direction; an odd sum */
        {2, 5, 7, 48, 20}, {3, 6, 4, 20, 96},  {2, 3, 5, 49, 24},
        /* whole and partial tiles of the tile unit; several blocks of terms */
        {3, 7, 5, 40, 120}, {2, 9, 9, 120, 40}, {1, 6, 6, 33, 35}, {1, 4, 33, 64, 80},
        {2, 8, 8, 208, 96}, {1, 5, 3, 72, 305}, {2, 4, 4, 96, 210}, {17, 1, 3, 65, 64},
    };

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_sets(pointwise(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], shapes[i][4]));
}

Test(ops_pointwise, agrees_with_reference_over_many_tiles)
{
    check_sets(pointwise(2, 21, 21, 24, 40)); /* 441 rows a chunk: three tiles */
}

/* Few rows are multiplied with weights as they lie unless those were packed before. */
Test(ops_pointwise, packed_weights_are_the_same_weights)
{
    static const int shapes[][5] = {
        {1, 4, 4, 96, 40}, {1, 1, 1, 100, 17}, {2, 9, 9, 24, 3}, {1, 13, 11, 17, 96},
        {1, 4, 5, 64, 24},
    };

    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const conv_kernels *kernels = &nas_kernels_find(*name)->pointwise;

        for (size_t i = 0; i < sizeof shapes / sizeof *shapes && kernels->pack; i++) {
            const int *s = shapes[i];
            const nas_conv_geom g = pointwise(s[0], s[1], s[2], s[3], s[4]);
            const size_t weights = (size_t)(g.cin * g.cout), rows = (size_t)(g.n * g.h * g.w);
            const size_t outputs = rows * (size_t)g.cout;
            float *x = test_floats(rows * (size_t)g.cin, 1), *w = test_floats(weights, 2);
            float *y = test_floats(outputs, 3), *expected = test_floats(outputs, 4);
            float *packed = test_floats(kernels->packed_floats(&g), 5);
            float *scratch = test_floats(kernels->scratch(&g, omp_get_max_threads()) / 4 + 1, 6);
            const nas_view view = {.x = x};
            nas_conv_out out = {.y = expected};

            kernels->forward(&g, &view, w, NULL, &out, scratch);
            kernels->pack(&g, w, packed);
            test_fill(w, weights, 7); /* must not be read any more */
            out.y = y;
            out.packed = packed;
            kernels->forward(&g, &view, w, NULL, &out, scratch);
            cr_expect_lt(test_error(y, expected, outputs), 5e-6, "%s, shape %zu", *name, i);
            free(scratch);
            free(packed);
            free(expected);
            free(y);
            free(w);
            free(x);
        }
    }
}

/* Against the forward pass that stores its output, at every thread count. */
static void check_dots(const nas_kernels *kernels, nas_conv_geom g)
{
    const size_t rows = (size_t)(g.n * g.h * g.w), c = (size_t)g.cout, outputs = rows * c;
    const size_t sums = (size_t)nas_kernel_chunks(g.n) * 2 * c;
    float *x = test_floats(rows * (size_t)g.cin, 1), *w = test_floats((size_t)g.cin * c, 2);
    float *scale = test_floats((size_t)g.cin, 3), *shift = test_floats((size_t)g.cin, 4);
    float *y = test_floats(outputs, 5), *dy = test_floats(outputs, 6);
    float *stats = test_floats(2 * sums, 7), *expected = test_floats(2 * sums, 8);
    float *scratch = test_floats(kernels->pointwise.scratch(&g, 4) / 4 + 1, 9);
    const nas_view view = {.x = x, .scale = scale, .shift = shift, .act = NAS_ACT_RELU6};
    const nas_conv_out out = {.y = y, .stats = expected};

    kernels->pointwise.forward(&g, &view, w, NULL, &out, scratch);
    for (int chunk = 0; chunk < nas_kernel_chunks(g.n); chunk++)
        for (size_t i = 0; i < c; i++) {
            const int images = g.n / nas_kernel_chunks(g.n), hw = g.h * g.w;
            double product = 0, sum = 0;

            for (int row = chunk * images * hw; row < (chunk + 1) * images * hw; row++) {
                product += (double)y[(size_t)row * c + i] * dy[(size_t)row * c + i];
                sum += dy[(size_t)row * c + i];
            }
            expected[sums + (size_t)chunk * 2 * c + i] = (float)product;
            expected[sums + ((size_t)chunk * 2 + 1) * c + i] = (float)sum;
        }
    for (int threads = 1; threads <= 4; threads++) {
        omp_set_num_threads(threads);
        test_fill(stats, 2 * sums, 10);
        kernels->pointwise_dots(&g, &view, w, dy, stats, stats + sums, scratch);
        cr_expect_eq(memcmp(stats, expected, sums * sizeof *stats), 0, "%s", kernels->name);
        cr_expect_lt(test_error(stats + sums, expected + sums, sums), 5e-6, "%s", kernels->name);
    }
    float *all[] = {x, w, scale, shift, y, dy, stats, expected, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

Test(ops_pointwise, products_with_an_output_that_is_not_stored)
{
    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const nas_kernels *kernels = nas_kernels_find(*name);

        if (kernels->pointwise_dots == NULL)
            continue;
        check_dots(kernels, pointwise(2, 21, 21, 72, 24));
        check_dots(kernels, pointwise(1, 5, 3, 17, 40));
        check_dots(kernels, pointwise(32, 3, 3, 10, 9));
        check_dots(kernels, pointwise(2, 9, 9, 120, 80));
    }
}

/* Sums of positive products, where nothing cancels: each set against double, in units of the sum.
 * The tile unit makes a product of six parts; without the least of them, errors were 2^-16. */
static double positive_error(const conv_kernels *kernels, int terms)
{
    enum { ROWS = 144, FILTERS = 80 };
    const nas_conv_geom geom = pointwise(1, 12, 12, terms, FILTERS);
    const size_t inputs = (size_t)ROWS * (size_t)terms, weights = (size_t)terms * FILTERS;
    float *x = test_floats(inputs, 1), *w = test_floats(weights, 2);
    float *y = test_floats((size_t)ROWS * FILTERS, 3);
    float *scratch = test_floats(kernels->scratch(&geom, 4) / 4 + 1, 4);
    double worst = 0;

    test_fill_range(x, inputs, 5, 1, 2);
    test_fill_range(w, weights, 6, 1, 2);
    kernels->forward(&geom, &(nas_view){.x = x}, w, NULL, &(nas_conv_out){.y = y}, scratch);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < FILTERS; c++) {
            double sum = 0;

            for (int p = 0; p < terms; p++)
                sum += (double)x[r * terms + p] * w[p * FILTERS + c];
            worst = fmax(worst, fabs(y[r * FILTERS + c] - sum) / sum);
        }
    free(x);
    free(w);
    free(y);
    free(scratch);
    return worst;
}

Test(ops_pointwise, sums_are_those_of_floats)
{
    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const conv_kernels *kernels = &nas_kernels_find(*name)->pointwise;

        /* sqrt(terms)/2 roundings of 2^-24 on the way, some three times that at worst */
        cr_expect_lt(positive_error(kernels, 32), 8e-7, "%s", *name);
        cr_expect_lt(positive_error(kernels, 288), 2e-6, "%s", *name);
    }
}

/* Where a row lies among the others, and how many there are, changes no bit of it. */
Test(ops_pointwise, a_row_is_the_same_in_any_company)
{
    const nas_conv_geom many = pointwise(1, 13, 13, 305, 85), few = pointwise(1, 1, 131, 305, 85);

    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const conv_kernels *kernels = &nas_kernels_find(*name)->pointwise;
        float *x = test_floats(169 * 305, 1), *w = test_floats(305 * 85, 2);
        float *y = test_floats(169 * 85, 3), *part = test_floats(131 * 85, 4);
        float *scratch = test_floats(kernels->scratch(&many, 4) / 4 + 1, 5);
        const nas_view all = {.x = x}, some = {.x = x + 38 * 305};

        kernels->forward(&many, &all, w, NULL, &(nas_conv_out){.y = y}, scratch);
        kernels->forward(&few, &some, w, NULL, &(nas_conv_out){.y = part}, scratch);
        cr_expect_eq(memcmp(part, y + 38 * 85, 131 * 85 * sizeof *y), 0, "%s", *name);
        free(x);
        free(w);
        free(y);
        free(part);
        free(scratch);
    }
}

Test(ops_pointwise, not_a_number_stays_in_its_row)
{
    const nas_conv_geom geom = pointwise(1, 12, 12, 100, 40);

    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const conv_kernels *kernels = &nas_kernels_find(*name)->pointwise;
        float *x = test_floats(144 * 100, 1), *w = test_floats(100 * 40, 2);
        float *y = test_floats(144 * 40, 3);
        float *scratch = test_floats(kernels->scratch(&geom, 4) / 4 + 1, 4);

        x[17 * 100 + 99] = NAN;
        x[18 * 100] = INFINITY;
        kernels->forward(&geom, &(nas_view){.x = x}, w, NULL, &(nas_conv_out){.y = y}, scratch);
        for (int i = 0; i < 144 * 40; i++)
            cr_expect_eq(isfinite(y[i]) != 0, i / 40 != 17 && i / 40 != 18, "%s, %d", *name, i);
        free(x);
        free(w);
        free(y);
        free(scratch);
    }
}

Test(ops_pointwise, reference_gradient_matches_differences)
{
    const conv_kernels *reference = &nas_kernels_find("reference")->pointwise;
    const nas_conv_geom geom = pointwise(2, 3, 2, 5, 4);

    /* Linear in w and, but for hswish, in x: rounding of y (2^-24 * 4 / 0.01). */
    for (int view = 0; view < VIEWS; view++) {
        cr_expect_lt(conv_gradient_error(reference, geom, view, NAS_ACT_NONE), 1e-4);
        cr_expect_lt(conv_gradient_error(reference, geom, view, NAS_ACT_HSWISH), 1e-3);
    }
}

/* Worst relative error of a channel's sum of squared deviations, whose inputs lie
 * around `offset` with a deviation of about 0.6. */
static double squares_error(const conv_kernels *kernels, float offset)
{
    enum { ROWS = 4096 };
    const nas_conv_geom geom = pointwise(1, 64, 64, 1, 8);
    float *x = test_floats(ROWS, 1), *y = test_floats(8 * ROWS, 2), *stats = test_floats(16, 3);
    float *w = test_floats(8, 4), *scratch = test_floats(kernels->scratch(&geom, 4) / 4, 5);
    double worst = 0;

    for (int i = 0; i < ROWS; i++)
        x[i] += offset;
    kernels->forward(&geom, &(nas_view){.x = x}, w, NULL, &(nas_conv_out){.y = y, .stats = stats},
                     scratch);
    for (int c = 0; c < 8; c++) {
        double mean = 0, squares = 0;

        for (int i = 0; i < ROWS; i++)
            mean += y[8 * i + c] / (double)ROWS;
        for (int i = 0; i < ROWS; i++)
            squares += (y[8 * i + c] - mean) * (y[8 * i + c] - mean);
        worst = fmax(worst, fabs(stats[8 + c] - squares) / squares);
        worst = fmax(worst, fabs(stats[c] - mean) / fabs(mean));
    }
    free(x);
    free(y);
    free(stats);
    free(w);
    free(scratch);
    return worst;
}

Test(ops_pointwise, statistics_keep_their_digits_far_from_zero)
{
    for (const char *const *name = nas_kernels_names(); *name; name++)
        /* mean^2/var = 1e5; sums of squares in float32 would be off by 4e-3. */
        cr_expect_lt(squares_error(&nas_kernels_find(*name)->pointwise, 190), 1e-5, "%s", *name);
}
