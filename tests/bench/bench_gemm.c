/* Times the pointwise, general and linear kernels on the shapes of a
 * proxyless-cifar supernet at batch 64, beside the machine's sgemm peak.
 *   bench_gemm [set of kernels]                              (threads: OMP_NUM_THREADS) */
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/kernel/kernel.h"
#include "tests/support/numeric.h"

enum { RUNS = 9 };

/* Buffers of one convolution, as in training. */
typedef struct bench {
    const struct nas_conv_kernels *kernels;
    nas_conv_geom geom;
    nas_view view;
    nas_grad_view grad;
    nas_conv_out train, eval;
    nas_conv_grad back;
    float *w, *w_scale;
    void *scratch;
} bench;

static bench bench_new(const struct nas_conv_kernels *kernels, nas_conv_geom g, bool norm)
{
    const size_t in = (size_t)g.n * (size_t)(g.h * g.w) * (size_t)g.cin;
    const size_t out = (size_t)g.n * (size_t)(g.oh * g.ow) * (size_t)g.cout;
    const size_t cin = (size_t)g.cin, cout = (size_t)g.cout, chunks = NAS_KERNEL_MAX_CHUNKS;
    const size_t weights = (size_t)(g.k * g.k) * cin / (size_t)g.groups * cout;
    bench b = {.kernels = kernels, .geom = g};

    b.view = (nas_view){.x = test_floats(in, 1)};
    if (norm) {
        b.view.scale = test_floats(cin, 2);
        b.view.shift = test_floats(cin, 3);
        b.view.act = NAS_ACT_RELU6;
    }
    b.grad = (nas_grad_view){test_floats(out, 4), test_floats(out, 5), test_floats(cout, 6),
                             test_floats(cout, 7), test_floats(cout, 8)};
    b.train = (nas_conv_out){.y = test_floats(out, 9), .stats = test_floats(2 * chunks * cout, 10)};
    b.eval = (nas_conv_out){.y = b.train.y, .bias = test_floats(cout, 11), .act = NAS_ACT_RELU6};
    b.back = (nas_conv_grad){.dx = test_floats(in, 12), .add = true,
                             .sums = test_floats(2 * chunks * cin, 13),
                             .mean = test_floats(cin, 14), .invstd = test_floats(cin, 15),
                             .dw = test_floats(weights, 16)};
    b.w = test_floats(weights, 17);
    b.w_scale = test_floats(cout, 18);
    b.scratch = test_floats(kernels->scratch(&g, omp_get_max_threads()) / sizeof(float), 19);
    return b;
}

static void bench_fini(bench *b)
{
    const void *all[] = {b->view.x, b->view.scale, b->view.shift, b->grad.g, b->grad.raw, b->grad.a,
                         b->grad.b, b->grad.k, b->train.y, b->train.stats, b->eval.bias,
                         b->back.dx, b->back.sums, b->back.mean, b->back.invstd, b->back.dw,
                         b->w, b->w_scale, b->scratch};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free((void *)all[i]);
}

static void forward_train(bench *b)
{
    b->kernels->forward(&b->geom, &b->view, b->w, NULL, &b->train, b->scratch);
}

static void forward_eval(bench *b)
{
    const nas_view plain = {.x = b->view.x};

    b->kernels->forward(&b->geom, &plain, b->w, b->w_scale, &b->eval, b->scratch);
}

static void backward(bench *b)
{
    b->kernels->backward(&b->geom, &b->view, b->w, &b->grad, &b->back, b->scratch);
}

/* Best of a few runs, in seconds. */
static double best_of(void (*run)(bench *b), bench *b)
{
    double best = 1e9;

    run(b);
    for (int i = 0; i < RUNS; i++) {
        const double start = omp_get_wtime();

        run(b);
        const double took = omp_get_wtime() - start;
        best = took < best ? took : best;
    }
    return best;
}

static void report(const struct nas_conv_kernels *kernels, const char *name, nas_conv_geom g,
                   bool norm, double peak)
{
    const double flop = 2.0 * g.n * g.oh * g.ow * g.cout * g.k * g.k * (g.cin / g.groups) / 1e9;
    bench b = bench_new(kernels, g, norm);
    const double train = best_of(forward_train, &b), eval = best_of(forward_eval, &b);
    const double back = best_of(backward, &b);
    nas_conv_grad only = b.back;

    b.back.dw = NULL;
    const double dx = best_of(backward, &b);
    b.back = only;
    b.back.dx = NULL;
    const double dw = best_of(backward, &b);
    b.back = only;
    printf("%-6s %2dx%-2d %4d -> %-4d forward %6.1f (%3.0f %%)  eval %6.1f"
           "  backward %6.1f (%3.0f %%)  dx %6.1f  dw %6.1f\n",
           name, g.h, g.w, g.cin, g.cout, flop / train, 100 * flop / train / peak, flop / eval,
           2 * flop / back, 200 * flop / back / peak, flop / dx, flop / dw);
    bench_fini(&b);
}

/* GFLOP/s of one sgemm a thread, 512 x 512 x 512. */
static double sgemm_peak(void)
{
    enum { N = 512 };
    double best = 1e9;

    for (int run = 0; run < RUNS; run++) {
        double start = 0;
#pragma omp parallel
        {
            float *a = test_floats(N * N, 1), *c = test_floats(N * N, 2);
#pragma omp barrier
#pragma omp single
            start = omp_get_wtime();
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, a, N, a, N, 0, c, N);
#pragma omp barrier
#pragma omp single
            best = omp_get_wtime() - start < best ? omp_get_wtime() - start : best;
            free(a);
            free(c);
        }
    }
    return 2.0 * N * N * N * omp_get_max_threads() / best / 1e9;
}

int main(int argc, char **argv)
{
    static const int pointwise[][3] = {
        /* side cin cout */
        {32, 24, 144}, {32, 144, 24}, {16, 40, 240}, {16, 240, 40},  {8, 80, 480},
        {8, 480, 80},  {8, 96, 576},  {8, 576, 96},  {4, 192, 1152}, {4, 1152, 192},
    };
    const nas_kernels *set = argc > 1 ? nas_kernels_find(argv[1]) : nas_kernels_get();

    if (set == NULL) {
        fprintf(stderr, "no such set of kernels here\n");
        return 2;
    }
    const double peak = sgemm_peak();

    printf("%s, %d threads; GFLOP/s; sgemm peak %.1f\n", set->name, omp_get_max_threads(), peak);
    for (size_t i = 0; i < sizeof pointwise / sizeof *pointwise; i++) {
        const int side = pointwise[i][0], cin = pointwise[i][1], cout = pointwise[i][2];
        const nas_conv_geom g = {64, side, side, cin, cout, 1, 1, 0, 1, side, side};

        report(&set->pointwise, "1x1", g, cin > cout, peak);
    }
    const nas_conv_geom stem = {64, 32, 32, 3, 32, 3, 1, 1, 1, 32, 32};

    report(&set->conv, "stem", stem, false, peak);
    return 0;
}
