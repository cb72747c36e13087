/* Dense layers: every set against the reference and at every thread count, the
 * reference against finite differences. */
#include <criterion/criterion.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernel/kernel.h"
#include "tests/support/numeric.h"

typedef struct linear_result {
    float *y, *dx, *dw, *db;
} linear_result;

static linear_result run(const nas_kernels *kernels, int rows, int in, int out, nas_act act,
                         int threads)
{
    const size_t r = (size_t)rows, i = (size_t)in, o = (size_t)out;
    float *x = test_floats(r * i, 1), *w = test_floats(i * o, 2), *bias = test_floats(o, 3);
    float *dy = test_floats(r * o, 4);
    linear_result result = {test_floats(r * o, 5), test_floats(r * i, 6), test_floats(i * o, 7),
                            test_floats(o, 8)};

    omp_set_num_threads(threads);
    kernels->linear(rows, in, out, x, w, act == NAS_ACT_NONE ? NULL : bias, act, result.y);
    kernels->linear_backward(rows, in, out, x, w, dy, result.dx, result.dw, result.db);
    free(x);
    free(w);
    free(bias);
    free(dy);
    return result;
}

static void result_free(linear_result *result)
{
    free(result->y);
    free(result->dx);
    free(result->dw);
    free(result->db);
}

static void check_set(const nas_kernels *fast, int rows, int in, int out, nas_act act)
{
    const size_t r = (size_t)rows, i = (size_t)in, o = (size_t)out;
    const double tolerance = 5e-6; /* sums of 1300 in float32: sqrt(1300) * 2^-24 is 2e-6; seen 8e-7 */
    linear_result expected = run(nas_kernels_find("reference"), rows, in, out, act, 1);
    linear_result one = run(fast, rows, in, out, act, 1);

    cr_expect_leq(test_error(one.y, expected.y, r * o), tolerance);
    cr_expect_leq(test_error(one.dx, expected.dx, r * i), tolerance);
    cr_expect_leq(test_error(one.dw, expected.dw, i * o), tolerance);
    cr_expect_leq(test_error(one.db, expected.db, o), tolerance);
    for (int threads = 2; threads <= 4; threads++) {
        linear_result more = run(fast, rows, in, out, act, threads);

        cr_expect_arr_eq(more.y, one.y, r * o * sizeof(float));
        cr_expect_arr_eq(more.dx, one.dx, r * i * sizeof(float));
        cr_expect_arr_eq(more.dw, one.dw, i * o * sizeof(float));
        cr_expect_arr_eq(more.db, one.db, o * sizeof(float));
        result_free(&more);
    }
    result_free(&expected);
    result_free(&one);
}

Test(ops_linear, agrees_with_reference_over_odd_shapes)
{
    static const int shapes[][3] = {{1, 1, 1},    {3, 5, 1},    {2, 10, 17},  {64, 1300, 10},
                                    {5, 40, 100}, {49, 96, 48}, {13, 65, 129}, {64, 128, 1000}};

    for (const char *const *name = nas_kernels_names(); *name; name++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            if (strcmp(*name, "reference") != 0)
                check_set(nas_kernels_find(*name), shapes[i][0], shapes[i][1], shapes[i][2],
                          (nas_act)(i % 5));
}

/* What projected_loss reads. */
static float *x, *w, *dy, y[12];
enum { ROWS = 4, IN = 5, OUT = 3 };

static double projected_loss(void *ctx)
{
    const nas_kernels *kernels = ctx;

    kernels->linear(ROWS, IN, OUT, x, w, NULL, NAS_ACT_NONE, y);
    return test_dot(y, dy, ROWS * OUT);
}

Test(ops_linear, reference_gradient_matches_differences)
{
    nas_kernels kernels = *nas_kernels_find("reference");
    float dx[ROWS * IN], dw[IN * OUT] = {0}, db[OUT] = {1, 2, 3};

    x = test_floats(ROWS * IN, 1);
    w = test_floats(IN * OUT, 2);
    dy = test_floats(ROWS * OUT, 3);
    kernels.linear_backward(ROWS, IN, OUT, x, w, dy, dx, dw, db);
    /* Linear in each: the error is that of rounding y, 2^-24 / 0.25. */
    cr_expect_lt(test_gradcheck(projected_loss, &kernels, x, dx, ROWS * IN, 0.25, 100), 1e-6);
    cr_expect_lt(test_gradcheck(projected_loss, &kernels, w, dw, IN * OUT, 0.25, 100), 1e-6);
    for (int o = 0; o < OUT; o++) {
        float sum = (float)(o + 1);

        for (int r = 0; r < ROWS; r++)
            sum += dy[r * OUT + o];
        cr_expect_float_eq(db[o], sum, 1e-6f);
    }
    free(x);
    free(w);
    free(dy);
}
