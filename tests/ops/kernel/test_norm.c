/* Batch norm, elementwise passes and the squeeze-excite gate: by hand, against
 * the formulas in double, and every set against the reference. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernel/kernel.h"
#include "tests/support/numeric.h"

/* Sums of up to 700 float32 against double; worst seen 1e-6. */
static const double tolerance = 1e-5;

/* -- batch norm --------------------------------------------------------------------- */

enum { N = 5, HW = 6, C = 3, COUNT = N * HW * C };

/* Statistics of x[N][HW][C] as a convolution gives them: five chunks of one image. */
static void chunk_stats(const float *x, float *stats)
{
    for (int at = 0; at < N * C; at++) {
        const int image = at / C, c = at % C;
        double mean = 0, squares = 0;

        for (int p = 0; p < HW; p++)
            mean += x[(image * HW + p) * C + c] / (double)HW;
        for (int p = 0; p < HW; p++)
            squares += pow(x[(image * HW + p) * C + c] - mean, 2);
        stats[image * 2 * C + c] = (float)mean;
        stats[(image * 2 + 1) * C + c] = (float)squares;
    }
}

typedef struct norm {
    float x[COUNT], g[COUNT]; /* raw tensor, gradient of the normalised one */
    float gamma[C], beta[C], mean[C], invstd[C], scale[C], shift[C];
} norm;

static void normalise(norm *n)
{
    float stats[2 * N * C];

    chunk_stats(n->x, stats);
    nas_kernels_get()->bn_forward(N, HW, C, stats, n->gamma, n->beta, 1e-3f, 0, NULL, NULL,
                                  n->mean, n->invstd, n->scale, n->shift);
}

static void norm_fill(norm *n)
{
    test_fill_range(n->x, COUNT, 1, 2, 5);
    test_fill(n->g, COUNT, 2);
    test_fill_range(n->gamma, C, 3, 0.5f, 1.5f);
    test_fill(n->beta, C, 4);
}

Test(ops_norm, statistics_of_chunks_become_those_of_the_batch)
{
    norm n;
    float stats[2 * N * C], running_mean[C] = {1, 1, 1}, running_var[C] = {2, 2, 2};

    norm_fill(&n);
    chunk_stats(n.x, stats);
    nas_kernels_get()->bn_forward(N, HW, C, stats, n.gamma, n.beta, 1e-3f, 0.1f, running_mean,
                                  running_var, n.mean, n.invstd, n.scale, n.shift);
    for (int c = 0; c < C; c++) {
        double mean = 0, var = 0;

        for (int p = 0; p < N * HW; p++)
            mean += n.x[p * C + c] / (double)(N * HW);
        for (int p = 0; p < N * HW; p++)
            var += pow(n.x[p * C + c] - mean, 2) / (N * HW);
        const double invstd = 1 / sqrt(var + 1e-3);

        cr_expect_float_eq(n.mean[c], mean, 1e-6);
        cr_expect_float_eq(n.invstd[c], invstd, 1e-6);
        cr_expect_float_eq(n.scale[c], n.gamma[c] * invstd, 1e-6);
        cr_expect_float_eq(n.shift[c], n.beta[c] - mean * n.gamma[c] * invstd, 1e-6);
        cr_expect_float_eq(running_mean[c], 0.9 + 0.1 * mean, 1e-6);
        cr_expect_float_eq(running_var[c], 1.8 + 0.1 * var * (N * HW) / (N * HW - 1.0), 1e-6);
    }
}

static double norm_loss(void *context) /* <bn(x), g> */
{
    norm *n = context;
    double loss = 0;

    normalise(n);
    for (int i = 0; i < COUNT; i++)
        loss += ((double)n->scale[i % C] * n->x[i] + n->shift[i % C]) * n->g[i];
    return loss;
}

Test(ops_norm, backward_matches_differences)
{
    norm n;
    float sums[2 * N * C], a[C], b[C], k[C], dx[COUNT], dgamma[C] = {5, 5, 5}, dbeta[C] = {7, 7, 7};
    float y[COUNT];
    /* rounding of scale and shift, 6e-8 * 5 / 2e-2 a value; worst seen 2e-4 */
    const double limit = 1e-3;

    norm_fill(&n);
    normalise(&n);
    const nas_view view = {n.x, n.scale, n.shift, NULL, NAS_ACT_NONE};

    nas_kernels_get()->mask(N, HW, C, &view, n.mean, n.invstd, n.g, y, sums);
    nas_kernels_get()->bn_backward(N, HW, C, sums, n.gamma, n.mean, n.invstd, dgamma, dbeta, a, b,
                                   k);
    for (int i = 0; i < COUNT; i++)
        dx[i] = a[i % C] * n.g[i] + b[i % C] * n.x[i] + k[i % C];
    for (int c = 0; c < C; c++) {
        dgamma[c] -= 5; /* it was added */
        dbeta[c] -= 7;
    }
    cr_expect_lt(test_gradcheck(norm_loss, &n, n.x, dx, COUNT, 1e-2, COUNT), limit);
    cr_expect_lt(test_gradcheck(norm_loss, &n, n.gamma, dgamma, C, 1e-2, C), limit);
    cr_expect_lt(test_gradcheck(norm_loss, &n, n.beta, dbeta, C, 1e-2, C), limit);
    nas_kernels_get()->bn_backward(N, HW, C, sums, n.gamma, n.mean, n.invstd, NULL, NULL, a, b, k);
}

/* -- every set against the reference ---------------------------------------------------- */

/* All outputs of all passes over one tensor, one after the other. */
typedef struct outputs {
    float *all;
    size_t count;
    double dot, view_dot;
} outputs;

enum { VIEWS = 4 };

static outputs run(const nas_kernels *k, int n, int hw, int c, nas_act act, int form)
{
    const size_t nx = (size_t)n * hw * c, nc = (size_t)n * c;
    const size_t sums = (size_t)nas_kernel_chunks(n) * 2 * c;
    outputs out = {.count = 6 * nx + 3 * sums + 2 * nc};
    float *x = test_floats(nx, 1), *scale = test_floats(c, 2), *shift = test_floats(c, 3);
    float *gate = test_floats(nc, 4), *mean = test_floats(c, 5), *invstd = test_floats(c, 6);
    float *dy = test_floats(nx, 7), *pooled = test_floats(nc, 8);
    float *at = out.all = test_floats(out.count, 9);

    test_fill_range(x, nx, 1, -8, 8);
    const nas_view plain = {x, form & 1 ? scale : NULL, form & 1 ? shift : NULL, NULL, act};
    nas_view gated = plain;
    gated.gate = gate;
    const nas_view *view = form & 2 ? &gated : &plain;
    nas_conv_grad grad = {.add = form == 2, .mean = mean, .invstd = invstd};

    k->apply(n, hw, c, view, form & 1 ? at : NULL, at), at += nx; /* in place */
    memcpy(at, dy, nx * sizeof *at);
    const nas_grad_view gradient = {at, x, form & 1 ? scale : NULL, shift, mean};
    k->apply_grad(n, hw, c, &gradient, at), at += nx; /* in place */
    k->mask(n, hw, c, &plain, mean, invstd, dy, at, at + nx), at += nx + sums;
    k->gate_mask(n, hw, c, &gated, mean, invstd, dy, pooled, at, at + nx), at += nx + sums;
    grad.dx = at;
    grad.sums = at + nx;
    k->mean_pool_backward(n, hw, c, view, pooled, &grad), at += nx + sums;
    memcpy(at, dy, nx * sizeof *at);
    k->mask(n, hw, c, &plain, NULL, NULL, at, at, NULL); /* in place, no sums */
    k->add(nx, x, at), at += nx;
    k->mean_pool(n, hw, c, view, at), at += nc;
    k->gate_grad(n, hw, c, &gated, dy, at);
    out.dot = k->dot(nx, x, dy);
    out.view_dot = k->view_dot(n, hw, c, &plain, dy);

    float *inputs[] = {x, scale, shift, gate, mean, invstd, dy, pooled};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        free(inputs[i]);
    return out;
}

static void compare(int n, int hw, int c, nas_act act, int form)
{
    outputs expected = run(nas_kernels_find("reference"), n, hw, c, act, form);

    for (const char *const *name = nas_kernels_names(); *name; name++) {
        outputs first = {0};

        for (int threads = 1; threads <= 4; threads++) {
            omp_set_num_threads(threads);
            outputs got = run(nas_kernels_find(*name), n, hw, c, act, form);

            if (threads == 1) {
                cr_expect_lt(test_error(got.all, expected.all, got.count), tolerance,
                             "%s: n %d, hw %d, c %d, act %d, form %d: %g", *name, n, hw, c, act,
                             form, test_error(got.all, expected.all, got.count));
                cr_expect_float_eq(got.dot, expected.dot, 1e-4 * (1 + fabs(expected.dot)));
                cr_expect_float_eq(got.view_dot, expected.view_dot,
                                   1e-4 * (1 + fabs(expected.view_dot)));
                first = got;
                continue;
            }
            cr_expect_eq(memcmp(first.all, got.all, got.count * sizeof(float)), 0,
                         "%s: other bits with %d threads", *name, threads);
            cr_expect_eq(memcmp(&first.dot, &got.dot, sizeof got.dot), 0);
            cr_expect_eq(memcmp(&first.view_dot, &got.view_dot, sizeof got.view_dot), 0);
            free(got.all);
        }
        free(first.all);
    }
    free(expected.all);
}

Test(ops_norm, passes_agree_with_reference_over_shapes)
{
    static const int shapes[][3] = {/* n hw c */ {1, 1, 1},  {2, 9, 3},  {3, 35, 8},
                                    {4, 130, 10}, {5, 4, 17}, {19, 7, 24}, {2, 65, 40},
                                    {1, 25, 600}, {2, 700, 96}};

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int act = NAS_ACT_NONE; act <= NAS_ACT_HSIGMOID; act++)
            compare(shapes[i][0], shapes[i][1], shapes[i][2], (nas_act)act,
                    ((int)i + act) % VIEWS);
}

Test(ops_norm, passes_agree_with_reference_for_every_view)
{
    for (int form = 0; form < VIEWS; form++)
        compare(3, 20, 21, NAS_ACT_HSWISH, form);
}

/* One image, two pixels, one channel: u = relu(2x + 1) = {3, 7}, gate 0.5. */
Test(ops_norm, gate_by_hand)
{
    const float x[2] = {1, 3}, scale = 2, shift = 1, gate = 0.5f, mean = 2, invstd = 0.25f;
    const float dv[2] = {10, 20}, dpool = 6;
    const nas_view view = {x, &scale, &shift, &gate, NAS_ACT_RELU};

    for (const char *const *name = nas_kernels_names(); *name; name++) {
        const nas_kernels *k = nas_kernels_find(*name);
        float y[2], g[2], sums[2], dgate;

        k->apply(1, 2, 1, &view, NULL, y);
        cr_expect_float_eq(y[0], 1.5, 1e-6);
        cr_expect_float_eq(y[1], 3.5, 1e-6);
        k->gate_grad(1, 2, 1, &view, dv, &dgate);
        cr_expect_float_eq(dgate, 10 * 3 + 20 * 7, 1e-4);
        k->gate_mask(1, 2, 1, &view, &mean, &invstd, dv, &dpool, g, sums);
        cr_expect_float_eq(g[0], 10 * 0.5 + 6 / 2.0, 1e-5);
        cr_expect_float_eq(g[1], 20 * 0.5 + 6 / 2.0, 1e-5);
        cr_expect_float_eq(sums[0], 8 + 13, 1e-5);
        cr_expect_float_eq(sums[1], 8 * -0.25 + 13 * 0.25, 1e-5);
    }
}
