/* Statistics against values computed by hand. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/stats.h"

#define assert_near(found, expected) cr_assert_float_eq(found, expected, 1e-12, "%.17g", found)

Test(base_stats, mean_and_deviation)
{
    static const double v[4] = {2, 4, 4, 6};

    assert_near(nas_mean(v, 4), 4.0);
    assert_near(nas_std(v, 4), sqrt(8.0 / 3.0));
    assert_near(nas_mean(v, 1), 2.0);
    assert_near(nas_std(v, 1), 0.0);
}

/* numpy.quantile([7, 1, 3, 5], q) */
Test(base_stats, quantiles_are_those_of_numpy)
{
    static const double v[4] = {7, 1, 3, 5};
    const double before[4] = {7, 1, 3, 5};

    assert_near(nas_quantile(v, 4, 0.0), 1.0);
    assert_near(nas_quantile(v, 4, 0.1), 1.6);
    assert_near(nas_quantile(v, 4, 0.5), 4.0);
    assert_near(nas_quantile(v, 4, 0.95), 6.7);
    assert_near(nas_quantile(v, 4, 1.0), 7.0);
    assert_near(nas_quantile(v, 1, 0.3), 7.0);
    cr_assert_arr_eq(v, before, sizeof v);
}

/* numpy.quantile([0.25, -3, 0, -3, 1e-300, -0.5, 2e6], q) */
Test(base_stats, quantiles_of_any_sign_size_and_number_of_equals)
{
    static const double v[7] = {0.25, -3, 0, -3, 1e-300, -0.5, 2e6}, same[3] = {5, 5, 5};

    assert_near(nas_quantile(v, 7, 0.0), -3.0);
    assert_near(nas_quantile(v, 7, 0.1), -3.0);
    assert_near(nas_quantile(v, 7, 0.25), -1.75);
    assert_near(nas_quantile(v, 7, 0.5), 0.0);
    assert_near(nas_quantile(v, 7, 0.75), 0.125);
    assert_near(nas_quantile(v, 7, 0.9), 800000.1500000007);
    assert_near(nas_quantile(v, 7, 1.0), 2e6);
    assert_near(nas_quantile(same, 3, 0.7), 5.0);
}

Test(base_stats, rank_correlations_of_monotone_pairs_are_one)
{
    static const double a[4] = {1, 2, 3, 4}, up[4] = {1, 10, 100, 1000}, down[4] = {9, 7, 2, 1};

    assert_near(nas_spearman(a, up, 4), 1.0);
    assert_near(nas_kendall(a, up, 4), 1.0);
    assert_near(nas_spearman(a, down, 4), -1.0);
    assert_near(nas_kendall(a, down, 4), -1.0);
}

/* Ranks 1 2.5 2.5 4 6 5 and 2 1 3.5 3.5 6 5: covariance 14.75, variances 17 and 17.
 * Pairs: 12 agree, 1 disagrees, 14 of 15 differ in a, 14 in b. */
Test(base_stats, ties_take_average_ranks_and_tau_b)
{
    static const double a[6] = {1, 2, 2, 3, 5, 4}, b[6] = {2, 1, 4, 4, 6, 5};

    assert_near(nas_spearman(a, b, 6), 14.75 / 17.0);
    assert_near(nas_kendall(a, b, 6), 11.0 / 14.0);
    assert_near(nas_spearman(b, a, 6), 14.75 / 17.0);
    assert_near(nas_kendall(b, a, 6), 11.0 / 14.0);
}

/* Two pairs agree; 2 of 3 differ in a, 3 in b. */
Test(base_stats, tau_b_takes_the_ties_of_each_side)
{
    static const double a[3] = {1, 1, 2}, b[3] = {1, 2, 3};

    assert_near(nas_kendall(a, b, 3), 2.0 / sqrt(6.0));
    assert_near(nas_kendall(b, a, 3), 2.0 / sqrt(6.0));
}

Test(base_stats, what_is_not_finite_has_no_rank)
{
    const double good[] = {1, 2, 3, 4};
    const double bad[][4] = {{1, NAN, 3, 4}, {NAN, NAN, NAN, NAN}, {1, 2, 3, INFINITY}};

    for (int i = 0; i < 3; i++) {
        cr_expect(isnan(nas_spearman(good, bad[i], 4)));
        cr_expect(isnan(nas_spearman(bad[i], good, 4)));
        cr_expect(isnan(nas_kendall(bad[i], good, 4)));
        cr_expect(isnan(nas_kendall(good, bad[i], 4)));
    }
}

Test(base_stats, a_constant_side_has_no_correlation)
{
    static const double a[3] = {1, 2, 3}, flat[3] = {5, 5, 5};

    cr_assert(isnan(nas_spearman(a, flat, 3)));
    cr_assert(isnan(nas_kendall(a, flat, 3)));
    cr_assert(isnan(nas_spearman(flat, a, 3)));
    cr_assert(isnan(nas_kendall(a, a, 1)));
}
