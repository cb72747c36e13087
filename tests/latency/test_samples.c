/* Statistics of a key's samples, by hand. */
#include <criterion/criterion.h>
#include <math.h>

#include "latency/profile/samples.h"

static nas_samples given(const double *ms, int count)
{
    nas_samples samples = {0};

    for (int i = 0; i < count; i++)
        cr_assert_eq(nas_samples__add(&samples, ms[i], NULL), NAS_OK);
    return samples;
}

Test(latency_samples, mean_leaves_out_what_interrupted)
{
    const double ms[] = {1.00, 1.02, 0.98, 1.01, 0.99, 1.00, 9.0};
    nas_samples samples = given(ms, 7);
    const nas_latency_stat stat = nas_samples__stat(&samples);

    cr_assert_eq(stat.count, 7);
    cr_assert_float_eq(stat.mean, 1.0, 1e-12);
    cr_assert_float_eq(stat.median, 1.0, 1e-12);
    cr_assert_float_eq(stat.std, sqrt(2 * (0.02 * 0.02 + 0.01 * 0.01) / 5), 1e-12);
    cr_assert_gt(stat.p95, 1.02); /* the quantile is of all */
    nas_samples__fini(&samples);
}

Test(latency_samples, interval_is_that_of_the_mean)
{
    const double ms[] = {1.8, 2.2, 1.8, 2.2, 1.8, 2.2, 1.8, 2.2};
    nas_samples samples = given(ms, 8);

    /* std = 0.2 * sqrt(8/7), half the interval = 1.96 * std / sqrt(8), relative to 2. */
    cr_assert_float_eq(nas_samples__interval(&samples), 1.96 * 0.2 / sqrt(7.0) / 2.0, 1e-12);
    nas_samples__fini(&samples);
}

Test(latency_samples, drift_compares_the_halves)
{
    const double ms[] = {1, 1, 1, 1, 1.5, 1.5, 1.5, 1.5};
    nas_samples samples = given(ms, 8), one = given(ms, 1);

    cr_assert_float_eq(nas_samples__drift(&samples), 1.5, 1e-12);
    cr_assert_float_eq(nas_samples__drift(&one), 1.0, 1e-12); /* too few to tell */
    cr_assert_float_eq(nas_samples__stat(&one).std, 0.0, 1e-12);
    nas_samples__fini(&samples);
    nas_samples__fini(&one);
}
