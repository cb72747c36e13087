/* Pointwise products in our kernels, in serial OpenBLAS and, where it was found, in LIBXSMM, shape by
 * shape, one thread: which of them each class of shapes should take.
 *   bench_products [set of kernels]
 * The libraries get tiles of ROWS rows, as our kernels do, and weights that lie as they like. */
#include <cblas.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef NAS_LIBXSMM
#include <libxsmm.h>
#endif

#include "ops/kernel/kernel.h"
#include "tests/support/numeric.h"

enum { RUNS = 15, BATCH = 16, ROWS = 192 };

typedef struct shape {
    int side, cin, cout;
} shape;

/* Of proxyless-cifar: expand and project of each stage, and the last one. */
static const shape shapes[] = {{32, 16, 96},   {32, 24, 144}, {32, 144, 24}, {16, 40, 240},
                               {16, 240, 40},  {8, 80, 480},  {8, 480, 80},  {8, 96, 576},
                               {8, 576, 96},   {4, 192, 1152}, {4, 1152, 192}, {4, 320, 1280}};

typedef struct job {
    const struct nas_conv_kernels *kernels;
    nas_conv_geom geom;
    int rows;
    float *x, *w, *y, *dw;
    void *scratch;
#ifdef NAS_LIBXSMM
    libxsmm_smmfunction forward, outer; /* NULL: it has none */
#endif
} job;

static void own_forward(const job *j)
{
    const nas_view view = {.x = j->x};
    const nas_conv_out out = {.y = j->y};

    j->kernels->forward(&j->geom, &view, j->w, NULL, &out, j->scratch);
}

static void own_outer(const job *j)
{
    const nas_view view = {.x = j->x};
    const nas_grad_view dy = {.g = j->y};
    const nas_conv_grad out = {.dw = j->dw};

    j->kernels->backward(&j->geom, &view, j->w, &dy, &out, j->scratch);
}

static void blas_forward(const job *j)
{
    const int k = j->geom.cin, n = j->geom.cout;

    for (int r = 0; r + ROWS <= j->rows; r += ROWS)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, ROWS, n, k, 1, j->x + (size_t)r * k,
                    k, j->w, n, 0, j->y + (size_t)r * n, n);
}

static void blas_outer(const job *j)
{
    const int k = j->geom.cin, n = j->geom.cout;

    for (int r = 0; r + ROWS <= j->rows; r += ROWS)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, k, n, ROWS, 1, j->x + (size_t)r * k, k,
                    j->y + (size_t)r * n, n, 1, j->dw, n);
}

#ifdef NAS_LIBXSMM
/* Its matrices are column by column, so the product is that of the transposes. */
static void xsmm_open(job *j)
{
    const int k = j->geom.cin, n = j->geom.cout, rows = ROWS;
    const float one = 1, none = 0;
    const int plain = LIBXSMM_GEMM_FLAG_NONE, turned = LIBXSMM_GEMM_FLAG_TRANS_B;

    j->forward = libxsmm_smmdispatch(n, rows, k, &n, &k, &n, &one, &none, &plain, NULL);
    j->outer = libxsmm_smmdispatch(n, k, rows, &n, &k, &n, &one, &one, &turned, NULL);
}

static void xsmm_forward(const job *j)
{
    for (int r = 0; r + ROWS <= j->rows; r += ROWS)
        j->forward(j->w, j->x + (size_t)r * j->geom.cin, j->y + (size_t)r * j->geom.cout);
}

static void xsmm_outer(const job *j)
{
    for (int r = 0; r + ROWS <= j->rows; r += ROWS)
        j->outer(j->y + (size_t)r * j->geom.cout, j->x + (size_t)r * j->geom.cin, j->dw);
}
#endif

/* GFLOP/s of the best of some runs. */
static double rate(void (*run)(const job *), const job *j)
{
    double best = 1e9;

    run(j);
    for (int i = 0; i < RUNS; i++) {
        const double start = omp_get_wtime();

        run(j);
        const double took = omp_get_wtime() - start;
        best = took < best ? took : best;
    }
    return 2e-9 * j->rows * j->geom.cin * j->geom.cout / best;
}

static void report(const struct nas_conv_kernels *kernels, const shape *s)
{
    /* whole tiles */
    const int n = (BATCH * 32 * 32) / (s->side * s->side) / 3 * 3;
    const nas_conv_geom geom = {.n = n, .h = s->side, .w = s->side, .oh = s->side, .ow = s->side,
                                .cin = s->cin, .cout = s->cout, .k = 1, .stride = 1, .groups = 1};
    job j = {.kernels = kernels, .geom = geom, .rows = n * s->side * s->side};

    j.x = test_floats((size_t)j.rows * (size_t)s->cin, 1);
    j.y = test_floats((size_t)j.rows * (size_t)s->cout, 2);
    j.w = test_floats((size_t)s->cin * (size_t)s->cout, 3);
    j.dw = test_floats((size_t)s->cin * (size_t)s->cout, 4);
    j.scratch = test_floats(kernels->scratch(&geom, 1) / sizeof(float), 5);
    printf("%5d -> %-5d forward: own %6.1f  OpenBLAS %6.1f", s->cin, s->cout, rate(own_forward, &j),
           rate(blas_forward, &j));
#ifdef NAS_LIBXSMM
    xsmm_open(&j);
    printf("  LIBXSMM %6.1f", j.forward ? rate(xsmm_forward, &j) : 0.0);
#endif
    printf("   weight gradient: own %6.1f  OpenBLAS %6.1f", rate(own_outer, &j),
           rate(blas_outer, &j));
#ifdef NAS_LIBXSMM
    printf("  LIBXSMM %6.1f", j.outer ? rate(xsmm_outer, &j) : 0.0);
#endif
    printf("\n");
    free(j.x);
    free(j.y);
    free(j.w);
    free(j.dw);
    free(j.scratch);
}

int main(int argc, char **argv)
{
    const nas_kernels *kernels = argc > 1 ? nas_kernels_find(argv[1]) : nas_kernels_get();

    if (kernels == NULL) {
        fprintf(stderr, "no such set of kernels here: %s\n", argv[1]);
        return 2;
    }
    omp_set_num_threads(1);
    printf("GFLOP/s, one thread, kernels %s\n", kernels->name);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        report(&kernels->pointwise, &shapes[i]);
    return 0;
}
