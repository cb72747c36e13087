/* Repeatable data and comparisons for tests. */
#include "tests/support/numeric.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* splitmix64 of (seed, index): independent of the generator under test. */
static uint64_t mix(uint64_t seed, uint64_t index)
{
    uint64_t z = seed * 0xd1342543de82ef95u + (index + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void test_fill_range(float *x, size_t count, unsigned seed, float low, float high)
{
    for (size_t i = 0; i < count; i++) {
        const double u = (double)(mix(seed, i) >> 40) / (double)(1 << 24);

        x[i] = (float)(low + (high - low) * u);
    }
}

void test_fill(float *x, size_t count, unsigned seed)
{
    test_fill_range(x, count, seed, -1, 1);
}

float *test_floats(size_t count, unsigned seed)
{
    const size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
    float *x = aligned_alloc(64, bytes ? bytes : 64);

    if (x == NULL) {
        fprintf(stderr, "no memory for %zu floats\n", count);
        abort();
    }
    test_fill(x, count, seed);
    return x;
}

double test_error(const float *a, const float *b, size_t count)
{
    double worst = 0, scale = 1e-30;

    for (size_t i = 0; i < count; i++) {
        if (!isfinite(a[i]))
            return INFINITY;
        worst = fmax(worst, fabs((double)a[i] - b[i]));
        scale = fmax(scale, fabs((double)b[i]));
    }
    return worst / scale;
}

double test_dot(const float *a, const float *b, size_t count)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

double test_gradcheck(double (*loss)(void *ctx), void *ctx, float *x, const float *grad,
                      size_t count, double step, size_t limit)
{
    const size_t stride = count > limit ? count / limit : 1;
    double worst = 0, scale = 1e-6;

    for (size_t i = 0; i < count; i += stride)
        scale = fmax(scale, fabs((double)grad[i]));
    for (size_t i = 0; i < count; i += stride) {
        const float kept = x[i], up = (float)(kept + step), down = (float)(kept - step);

        x[i] = up;
        const double above = loss(ctx);
        x[i] = down;
        const double below = loss(ctx);
        x[i] = kept;
        worst = fmax(worst, fabs((above - below) / ((double)up - down) - grad[i]));
    }
    return worst / scale;
}
