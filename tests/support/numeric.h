/* Numbers for tests: repeatable data, comparison with a tolerance, and gradients
 * by finite differences.  Needs no other room of the engine. */
#ifndef NAS_TESTS_SUPPORT_NUMERIC_H
#define NAS_TESTS_SUPPORT_NUMERIC_H

#include <stddef.h>

/** Fills x with numbers of [-1, 1) that depend on `seed` and the index alone. */
void test_fill(float *x, size_t count, unsigned seed);

/** As test_fill, in [low, high). */
void test_fill_range(float *x, size_t count, unsigned seed, float low, float high);

/** `count` floats, 64-byte aligned, filled by test_fill; aborts without memory.
 * Free with free(). */
float *test_floats(size_t count, unsigned seed);

/** max |a - b| / max(|b|, 1e-30): error of `a` relative to the largest element
 * of `b`; infinity if any element of `a` is not finite. */
double test_error(const float *a, const float *b, size_t count);

/** Sum of a*b in double. */
double test_dot(const float *a, const float *b, size_t count);

/** Worst difference between `grad` and the central differences of `loss` at x
 * with the given step, relative to the largest element of grad (at least 1e-6).
 * x is changed and restored.  At most `limit` elements are tried, spread evenly. */
double test_gradcheck(double (*loss)(void *ctx), void *ctx, float *x, const float *grad,
                      size_t count, double step, size_t limit);

#endif
