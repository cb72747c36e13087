/* Speed of depthwise convolution, in GFLOP/s of useful taps (padding taps are
 * not counted): forward with statistics, and both gradients in one pass. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "ops/kernel/kernel.h"
#include "tests/support/numeric.h"

enum { BATCH = 64, REPEATS = 7 };

/* Taps of one image and channel that do not lie in the padding. */
static double useful_taps(const nas_conv_geom *geom)
{
    double on_axis = 0;

    for (int i = 0; i < geom->oh; i++)
        for (int a = 0; a < geom->k; a++) {
            const int row = i * geom->stride + a - geom->pad;

            on_axis += row >= 0 && row < geom->h;
        }
    return on_axis * on_axis; /* images are square here */
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void bench(const nas_kernels *kernels, int side, int c, int k, int stride)
{
    const int out = (side + 2 * (k / 2) - k) / stride + 1;
    const nas_conv_geom geom = {.n = BATCH, .h = side, .w = side, .cin = c, .cout = c, .k = k,
                                .stride = stride, .pad = k / 2, .groups = c, .oh = out, .ow = out};
    const size_t nx = (size_t)BATCH * side * side * c, ny = (size_t)BATCH * out * out * c;
    float *x = test_floats(nx, 1), *w = test_floats((size_t)k * k * c, 2), *y = test_floats(ny, 3);
    float *g = test_floats(ny, 4), *dx = test_floats(nx, 5);
    float *dw = test_floats((size_t)k * k * c, 6), *vectors = test_floats((size_t)7 * c, 7);
    float *stats = test_floats((size_t)NAS_KERNEL_MAX_CHUNKS * 2 * c, 8);
    const size_t bytes = kernels->depthwise.scratch(&geom, omp_get_max_threads());
    void *scratch = aligned_alloc(64, (bytes + 63) / 64 * 64);
    double forward[REPEATS], backward[REPEATS];

    if (scratch == NULL)
        abort();
    const nas_view view = {x, vectors, vectors + c, NULL, NAS_ACT_RELU6};
    const nas_grad_view dy = {g, y, vectors + 4 * c, vectors + 5 * c, vectors + 6 * c};
    const nas_conv_out to = {.y = y, .stats = stats};
    const nas_conv_grad grad = {.dx = dx, .sums = stats, .mean = vectors + 2 * c,
                                .invstd = vectors + 3 * c, .dw = dw};

    for (int i = 0; i < REPEATS; i++) {
        const double start = nas_clock_seconds();

        kernels->depthwise.forward(&geom, &view, w, NULL, &to, scratch);
        const double middle = nas_clock_seconds();

        kernels->depthwise.backward(&geom, &view, w, &dy, &grad, scratch);
        forward[i] = middle - start;
        backward[i] = nas_clock_seconds() - middle;
    }
    qsort(forward, REPEATS, sizeof *forward, by_value);
    qsort(backward, REPEATS, sizeof *backward, by_value);

    const double flop = 2 * useful_taps(&geom) * BATCH * c * 1e-9;
    const double f = forward[REPEATS / 2], b = backward[REPEATS / 2];

    printf("%2dx%-2d c %4d k %d s %d: forward %6.2f ms %6.1f GFLOP/s   "
           "backward %6.2f ms %6.1f GFLOP/s\n",
           side, side, c, k, stride, f * 1e3, flop / f, b * 1e3, 2 * flop / b);
    float *all[] = {x, w, y, g, dx, dw, vectors, stats, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

int main(void)
{
    static const struct {
        int side, c, stride;
    } shapes[] = {{32, 144, 1}, {16, 240, 1}, {8, 576, 1}, {4, 1152, 1},
                  {32, 144, 2}, {16, 240, 2}, {8, 576, 2}};
    const nas_kernels *kernels = nas_kernels_get();

    printf("kernels %s, batch %d, threads %d\n", kernels->name, BATCH, omp_get_max_threads());
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int k = 3; k <= 7; k += 2)
            bench(kernels, shapes[i].side, shapes[i].c, k, shapes[i].stride);
    return 0;
}
