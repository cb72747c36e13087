/* Philox against its published answers, and the statistics of what is drawn. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"

/* Random123, tests/kat_vectors, lines "philox4x32 10"; an implementation of ours in
 * Python, written from the paper, gives the same. */
Test(base_rng, philox_gives_the_published_answers)
{
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];

        nas_philox4x32(known[i].counter, known[i].key, out);
        cr_assert_arr_eq(out, known[i].answer, sizeof out, "vector %zu", i);
    }
}

/* Key 5 ^ 0x2d06800538d394c2 (XXH3-64 of nothing, published), counter words 2 and 3 the index;
 * blocks 0 and 1 computed by the same Python. A change here changes every result ever stored. */
Test(base_rng, a_stream_is_seed_name_and_index)
{
    static const uint32_t expected[8] = {
        0x2385d0a4, 0x7c12c9b6, 0xa0d08ba5, 0xeb41219b,
        0x2feac1ec, 0xba8ab03e, 0xaba2c6f5, 0x4a79387c,
    };
    nas_rng rng;

    nas_rng_init(&rng, 5, "", (uint64_t)1 << 32 | 7);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(nas_rng_u32(&rng), expected[i], "number %d", i);
}

Test(base_rng, the_block_counter_carries)
{
    nas_rng rng;
    const uint32_t counter[4] = {0, 1, 3, 0};
    uint32_t next[4];

    nas_rng_init(&rng, 1, "carry", 3);
    rng.counter[0] = 0xffffffff;
    for (int i = 0; i < 4; i++)
        nas_rng_u32(&rng);
    nas_philox4x32(counter, rng.key, next);
    cr_assert_eq(nas_rng_u32(&rng), next[0]);
}

Test(base_rng, naming_a_stream_again_repeats_it)
{
    nas_rng a, b;

    nas_rng_init(&a, 42, "paths", 9);
    nas_rng_init(&b, 42, "paths", 9);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(nas_rng_u64(&a), nas_rng_u64(&b));
}

/* Correlation of 20000 pairs: standard deviation 0.0071, so 0.03 is more than four of them. */
Test(base_rng, streams_are_independent)
{
    static const struct {
        uint64_t seed;
        const char *name;
        uint64_t index;
    } others[] = {{2, "a", 0}, {1, "b", 0}, {1, "a", 1}, {1, "a", (uint64_t)1 << 32},
                  {(uint64_t)1 << 32 | 1, "a", 0}, {1, "aa", 0}};

    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        nas_rng a, b;
        double sum = 0.0;

        nas_rng_init(&a, 1, "a", 0);
        nas_rng_init(&b, others[k].seed, others[k].name, others[k].index);
        for (int i = 0; i < 20000; i++)
            sum += (nas_rng_uniform(&a) - 0.5) * (nas_rng_uniform(&b) - 0.5);
        cr_assert_lt(fabs(sum * 12 / 20000), 0.03, "stream %zu: %g", k, sum * 12 / 20000);
    }
}

/* Sum over bins of (found - expected)^2 / expected. */
static double chi_square(const int *found, int bins, double expected)
{
    double sum = 0.0;

    for (int i = 0; i < bins; i++)
        sum += (found[i] - expected) * (found[i] - expected) / expected;
    return sum;
}

Test(base_rng, uniform_fills_the_unit_interval_evenly)
{
    int bins[16] = {0};
    nas_rng rng;

    nas_rng_init(&rng, 1, "uniform", 0);
    for (int i = 0; i < 160000; i++) {
        const double u = nas_rng_uniform(&rng);

        cr_assert(u >= 0.0 && u < 1.0);
        bins[(int)(u * 16)]++;
    }
    cr_assert_lt(chi_square(bins, 16, 10000), 37.7); /* chi2, 15 degrees, p = 0.001 */
}

Test(base_rng, uniform_uses_53_bits)
{
    nas_rng rng;
    int odd = 0;

    nas_rng_init(&rng, 1, "bits", 0);
    for (int i = 0; i < 1000; i++)
        odd += (uint64_t)(nas_rng_uniform(&rng) * 0x1p53) & 1;
    cr_assert(odd > 400 && odd < 600, "%d", odd);
}

/* Without rejection every third of 3 * 2^30 values would come twice as often. */
Test(base_rng, below_has_no_bias)
{
    int thirds[3] = {0}, small[7] = {0};
    nas_rng rng;

    nas_rng_init(&rng, 1, "below", 0);
    for (int i = 0; i < 70000; i++) {
        const uint32_t large = nas_rng_below(&rng, 3u << 30);

        cr_assert_lt(large, 3u << 30);
        thirds[large % 3]++;
        small[nas_rng_below(&rng, 7)]++;
        cr_assert_eq(nas_rng_below(&rng, 1), 0);
    }
    cr_assert_lt(chi_square(thirds, 3, 70000 / 3.0), 13.8); /* 2 degrees, p = 0.001 */
    cr_assert_lt(chi_square(small, 7, 10000), 22.5);        /* 6 degrees, p = 0.001 */
}

/* Moments of 200000 values; bounds are about four standard deviations of each. */
Test(base_rng, normal_has_the_moments_of_a_normal)
{
    const int n = 200000;
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
    nas_rng rng;

    nas_rng_init(&rng, 1, "normal", 0);
    for (int i = 0; i < n; i++) {
        const double x = nas_rng_normal(&rng);

        cr_assert(isfinite(x));
        m1 += x / n;
        m2 += x * x / n;
        m3 += x * x * x / n;
        m4 += x * x * x * x / n;
    }
    cr_assert_float_eq(m1, 0.0, 0.009, "%g", m1);
    cr_assert_float_eq(m2, 1.0, 0.013, "%g", m2);
    cr_assert_float_eq(m3, 0.0, 0.035, "%g", m3);
    cr_assert_float_eq(m4, 3.0, 0.088, "%g", m4);
}

Test(base_rng, categorical_follows_the_probabilities)
{
    static const double p[5] = {0.0, 0.1, 0.6, 0.0, 0.3};
    int found[5] = {0};
    nas_rng rng;

    nas_rng_init(&rng, 1, "categorical", 0);
    for (int i = 0; i < 50000; i++)
        found[nas_rng_categorical(&rng, p, 5)]++;
    cr_assert_eq(found[0] + found[3], 0);
    for (int i = 0; i < 5; i++) /* four standard deviations */
        cr_assert_leq(fabs(found[i] - 50000 * p[i]), 4 * sqrt(50000 * p[i] * (1 - p[i])), "%d", i);
}

Test(base_rng, categorical_never_gives_an_impossible_index)
{
    static const double p[3] = {0.3, 0.3, 0.0}; /* the sum is far below 1 */
    nas_rng rng;

    nas_rng_init(&rng, 1, "short", 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_lt(nas_rng_categorical(&rng, p, 3), 2);
}

Test(base_rng, shuffle_gives_every_order_equally_often)
{
    int found[27] = {0}, orders[6], used = 0;
    nas_rng rng;

    nas_rng_init(&rng, 1, "shuffle", 0);
    for (int i = 0; i < 60000; i++) {
        uint32_t v[3] = {0, 1, 2};

        nas_rng_shuffle(&rng, v, 3);
        found[v[0] * 9 + v[1] * 3 + v[2]]++;
    }
    for (int i = 0; i < 27; i++)
        if (found[i] > 0) {
            cr_assert_lt(used, 6);
            orders[used++] = found[i];
        }
    cr_assert_eq(used, 6);
    cr_assert_lt(chi_square(orders, 6, 10000), 20.5); /* 5 degrees, p = 0.001 */
    nas_rng_shuffle(&rng, NULL, 0);
}
