/* Elastic kernels: crops at first, and gradients by finite differences. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "nas/elastic/kernel.h"
#include "tests/support/numeric.h"

enum { CHANNELS = 12, FROM = 17, LARGEST = 49 * FROM, MATRICES = 25 * 25 + 9 * 9 };

static const nas_elastic_kernels kernels = {3, {7, 5, 3}, {0, 625}};

static float from[LARGEST], matrices[MATRICES], to[49 * CHANNELS], r[49 * CHANNELS];
static float *scratch;
static int which;

static void setup(void)
{
    scratch = malloc(nas_elastic_kernel_scratch(&kernels, CHANNELS) * sizeof *scratch);
    test_fill(from, LARGEST, 1);
    test_fill(matrices, MATRICES, 2);
    test_fill(r, 49 * CHANNELS, 3);
}

static void teardown(void) { free(scratch); }

TestSuite(nas_elastic_kernel, .init = setup, .fini = teardown);

static void forward(void)
{
    nas_elastic_kernel_forward(&kernels, matrices, which, CHANNELS, from, FROM, scratch, to);
}

Test(nas_elastic_kernel, identity_gives_the_centre_to_the_bit)
{
    memset(matrices, 0, sizeof matrices);
    for (int t = 0; t < 25; t++)
        matrices[t * 26] = 1.0f;
    for (int t = 0; t < 9; t++)
        matrices[625 + t * 10] = 1.0f;
    for (which = 0; which < 3; which++) {
        const int k = kernels.size[which];

        forward();
        for (int i = 0; i < k; i++)
            for (int j = 0; j < k; j++)
                for (int c = 0; c < CHANNELS; c++)
                    cr_assert_eq(to[(i * k + j) * CHANNELS + c],
                                 from[((i + which) * 7 + j + which) * FROM + c]);
    }
}

static double loss(void *ctx)
{
    forward();
    return test_dot(to, r, (size_t)(kernels.size[which] * kernels.size[which] * CHANNELS));
}

Test(nas_elastic_kernel, gradients_match_differences)
{
    const double tolerance = 2e-3; /* float32 sums of up to 25 x 25 products, step 1e-2 */

    for (which = 0; which < 3; which++) {
        float dfrom[LARGEST] = {0}, dmatrices[MATRICES] = {0};

        nas_elastic_kernel_backward(&kernels, matrices, which, CHANNELS, from, FROM, scratch, r,
                                    dfrom, dmatrices);
        cr_expect_lt(test_gradcheck(loss, NULL, from, dfrom, LARGEST, 1e-2, 200), tolerance,
                     "kernel %d", kernels.size[which]);
        cr_expect_lt(test_gradcheck(loss, NULL, matrices, dmatrices, MATRICES, 1e-2, 200),
                     tolerance, "matrices of kernel %d", kernels.size[which]);
    }
}

Test(nas_elastic_kernel, gradients_are_added)
{
    float once[LARGEST] = {0}, twice[LARGEST] = {0}, matrix[MATRICES] = {0};

    which = 2;
    for (int i = 0; i < 3; i++)
        nas_elastic_kernel_backward(&kernels, matrices, which, CHANNELS, from, FROM, scratch, r,
                                    i ? twice : once, matrix);
    for (int i = 0; i < LARGEST; i++)
        cr_assert_float_eq(twice[i], 2 * once[i], 1e-5);
}
