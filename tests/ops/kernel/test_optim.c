/* Optimizers against steps worked out by hand from PyTorch's formulas. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernel/kernel.h"
#include "tests/support/numeric.h"

Test(ops_optim, sgd_by_hand)
{
    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const nas_kernels *k = nas_kernels_find(*name);
        const float grad = 0.5f;
        float w = 2, m = 0;

        /* d = 0.5 + 0.1*2 = 0.7; m = 0.7; w = 2 - 0.1*0.7 */
        k->sgd(1, &w, &grad, &m, 0.1f, 0.9f, 0.1f, false);
        cr_expect_float_eq(m, 0.7, 1e-6);
        cr_expect_float_eq(w, 1.93, 1e-6);
        /* d = 0.5 + 0.193 = 0.693; m = 0.63 + 0.693 = 1.323;
         * nesterov: w = 1.93 - 0.1*(0.693 + 0.9*1.323) */
        k->sgd(1, &w, &grad, &m, 0.1f, 0.9f, 0.1f, true);
        cr_expect_float_eq(m, 1.323, 1e-6);
        cr_expect_float_eq(w, 1.93 - 0.1 * (0.693 + 0.9 * 1.323), 1e-6);
    }
}

/* d = grad + decay*w; m = b1*m + (1-b1)*d; v = b2*v + (1-b2)*d*d;
 * w -= lr * m/(1-b1^t) / (sqrt(v/(1-b2^t)) + eps), in double. */
Test(ops_optim, adam_follows_the_formula)
{
    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const nas_kernels *k = nas_kernels_find(*name);
        float w = 2, m = 0, v = 0;
        double we = 2, me = 0, ve = 0;

        for (long step = 1; step <= 20; step++) {
            const float grad = (float)sin((double)step);
            const double d = grad + 0.01 * we;

            k->adam(1, &w, &grad, &m, &v, 0.05f, 0.9f, 0.999f, 1e-8f, 0.01f, step);
            me = 0.9 * me + 0.1 * d;
            ve = 0.999 * ve + 0.001 * d * d;
            we -= 0.05 * me / (1 - pow(0.9, (double)step)) /
                  (sqrt(ve / (1 - pow(0.999, (double)step))) + 1e-8);
            /* 20 steps of 0.05 in float32, whose 1 - 0.999f is off by 1e-5 of itself */
            cr_expect_float_eq(w, we, 2e-5, "%s, step %ld: %g, not %g", *name, step, w, we);
        }
    }
}

Test(ops_optim, first_adam_step_is_the_learning_rate)
{
    float w[2] = {1, 1}, m[2] = {0}, v[2] = {0};
    const float grad[2] = {1e-3f, -100};

    nas_kernels_get()->adam(2, w, grad, m, v, 0.01f, 0.9f, 0.999f, 1e-12f, 0, 1);
    cr_expect_float_eq(w[0], 0.99, 1e-6);
    cr_expect_float_eq(w[1], 1.01, 1e-6);
}

Test(ops_optim, sgd_sets_agree_at_every_size_and_thread_count)
{
    static const size_t counts[] = {1, 3, 8, 17, 1000, 100003};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const size_t n = counts[i];
        float *w = test_floats(n, 1), *g = test_floats(n, 2), *m = test_floats(n, 3);

        nas_kernels_find("reference")->sgd(n, w, g, m, 0.1f, 0.9f, 1e-3f, true);
        for (const char *const *name = nas_kernels_names(); *name; name++)
            for (int threads = 1; threads <= 4; threads++) {
                float *w2 = test_floats(n, 1), *m2 = test_floats(n, 3);

                omp_set_num_threads(threads);
                nas_kernels_find(*name)->sgd(n, w2, g, m2, 0.1f, 0.9f, 1e-3f, true);
                /* a fused multiply-add rounds once instead of twice: 2^-24 */
                cr_expect_lt(test_error(w2, w, n), 3e-7);
                cr_expect_lt(test_error(m2, m, n), 3e-7);
                free(w2);
                free(m2);
            }
        free(w);
        free(g);
        free(m);
    }
}
