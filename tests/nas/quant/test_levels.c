/* Levels: HAQ's rounding, steps, thresholds against NumPy, shared weights. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nas/quant/levels.h"
#include "tests/support/golden.h"
#include "tests/support/numeric.h"

Test(nas_quant_levels, bits_of_an_action_are_haqs)
{
    /* round((most - least + 1) * a + least - 0.5), halves to even, and never outside. */
    static const struct {
        double action;
        int least, most, bits;
    } cases[] = {
        {0.0, 1, 8, 1} /* 0.5 -> 0 in the reference: kept at 1 */, {0.125, 1, 8, 2}, {0.25, 1, 8, 2},
        {0.3, 1, 8, 3}, {0.5, 1, 8, 4}, {1.0, 1, 8, 8} /* 8.5 -> 8 */, {0.999, 1, 8, 8},
        {0.0, 2, 8, 2} /* 1.5 -> 2 */, {0.5, 2, 8, 5}, {1.0, 2, 8, 8}, {0.1429, 2, 8, 3},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(nas_quant_bits(cases[i].action, cases[i].least, cases[i].most), cases[i].bits,
                     "case %zu", i);
}

Test(nas_quant_levels, thresholds_are_those_of_numpy)
{
    static const int levels[] = {3, 7, 15, 63};
    golden *file = golden_open(NAS_SOURCE_DIR "/tests/golden/quantised.safetensors");
    const float *samples = golden_floats(file, NULL, "samples", 10000);
    const float *expected = golden_floats(file, NULL, "thresholds", 4);
    nas_histogram h;

    cr_assert_eq(nas_histogram_init(&h, samples, 10000, NULL), NAS_OK);
    cr_assert_eq(h.bins, 100);
    for (int i = 0; i < 4; i++)
        cr_expect_float_eq(nas_histogram_threshold(&h, levels[i]), expected[i], 1e-6, "%d levels",
                           levels[i]);
    cr_expect_float_eq(nas_histogram_threshold(&h, 255), h.most, 0.0);
    nas_histogram_fini(&h);
    golden_close(file);
}

static double threshold_of(const float *values, size_t count, int levels)
{
    nas_histogram h;

    cr_assert_eq(nas_histogram_init(&h, values, count, NULL), NAS_OK);
    const double threshold = nas_histogram_threshold(&h, levels);
    nas_histogram_fini(&h);
    return threshold;
}

/* Behind a ReLU half of all values are 0, which every limit leaves as they are. */
Test(nas_quant_levels, zeros_do_not_move_a_threshold)
{
    enum { COUNT = 20000 };
    float *values = malloc(2 * COUNT * sizeof *values);

    test_fill(values, COUNT, 11);
    for (int i = 0; i < COUNT; i++) { /* most are small, few are large */
        values[i] = fabsf(values[i] * values[i] * values[i]) + 1e-6f;
        values[COUNT + i] = 0.0f;
    }
    for (int bits = 2; bits <= 6; bits++)
        cr_expect_eq(threshold_of(values, 2 * COUNT, (1 << bits) - 1),
                     threshold_of(values, COUNT, (1 << bits) - 1), "%d bits", bits);
    cr_expect_eq(threshold_of(values + COUNT, COUNT, 15), 0.0, "nothing but zeros");
    free(values);
}

Test(nas_quant_levels, weights_land_on_their_steps)
{
    /* two columns: largest 2 and 0.5 */
    static const float w[] = {2.0f, 0.1f, -1.0f, -0.5f, 0.3f, 0.24f};
    float step[2], to[6];

    cr_assert_eq(nas_quant_steps(w, 3, 2, 2, true, false, step, NULL), NAS_OK);
    nas_quant_weights(w, 3, 2, 2, step, to);
    cr_expect_arr_eq(to, ((float[]){2.0f, 0.0f, -0.0f, -0.5f, 0.0f, 0.0f}), sizeof to);
    cr_assert_eq(nas_quant_steps(w, 3, 2, 3, false, false, step, NULL), NAS_OK);
    cr_expect_float_eq(step[1], 2.0f / 3, 1e-7);
    nas_quant_weights(w, 3, 2, 3, step, to);
    cr_expect_float_eq(to[2], -4.0f / 3, 1e-6); /* -1 / (2/3) = -1.5 -> -2 */
    cr_expect_eq(to[5], 0.0f);
}

Test(nas_quant_levels, a_column_of_zeros_stays_zero)
{
    static const float w[] = {0.0f, 1.0f, 0.0f, -1.0f};
    float step[2], to[4];

    cr_assert_eq(nas_quant_steps(w, 2, 2, 4, true, true, step, NULL), NAS_OK);
    nas_quant_weights(w, 2, 2, 4, step, to);
    cr_expect_eq(step[0], 0.0f);
    cr_expect_eq(to[0], 0.0f);
    cr_expect_eq(to[2], 0.0f);
}

static double share_error(const float *values, size_t count, int bits, int iterations,
                          uint64_t seed)
{
    float *copy = malloc(count * sizeof *copy);
    uint8_t *cluster = malloc(count);
    double error = 0.0;
    nas_rng rng;

    memcpy(copy, values, count * sizeof *copy);
    nas_rng_init(&rng, seed, "test", 0);
    cr_assert_eq(nas_quant_share(copy, count, bits, iterations, &rng, cluster, NULL), NAS_OK);
    for (size_t i = 0; i < count; i++) {
        cr_assert_lt(cluster[i], 1 << bits);
        error += (copy[i] - values[i]) * (copy[i] - values[i]);
    }
    free(copy);
    free(cluster);
    return error;
}

Test(nas_quant_levels, separate_groups_are_found_and_become_their_means)
{
    float values[] = {-1.1f, 5.0f, -0.9f, 2.0f, 5.2f, 2.2f, 9.0f, -1.0f};
    const float means[] = {-1.0f, 5.1f, -1.0f, 2.1f, 5.1f, 2.1f, 9.0f, -1.0f};
    uint8_t cluster[8];
    nas_rng rng;

    nas_rng_init(&rng, 1, "test", 0);
    cr_assert_eq(nas_quant_share(values, 8, 2, 20, &rng, cluster, NULL), NAS_OK);
    for (int i = 0; i < 8; i++)
        cr_expect_float_eq(values[i], means[i], 1e-6, "%d", i);
}

Test(nas_quant_levels, more_iterations_and_bits_leave_less_error)
{
    float values[5000];

    test_fill(values, 5000, 3);
    for (int i = 0; i < 5000; i++)
        values[i] *= values[i] * values[i];
    cr_expect_lt(share_error(values, 5000, 3, 20, 7), share_error(values, 5000, 3, 0, 7));
    cr_expect_lt(share_error(values, 5000, 5, 3, 7), share_error(values, 5000, 3, 20, 7) / 4);
    cr_expect_eq(share_error(values, 5000, 4, 3, 7), share_error(values, 5000, 4, 3, 7));
}

Test(nas_quant_levels, fewer_values_than_centres_are_left_alone)
{
    float values[300];

    for (int i = 0; i < 300; i++)
        values[i] = (float)(i % 5) - 2.0f;
    cr_expect_eq(share_error(values, 300, 8, 3, 1), 0.0);
    cr_expect_eq(share_error(values, 1, 8, 3, 1), 0.0);
}

Test(nas_quant_levels, clusters_are_kept_at_their_mean)
{
    float values[] = {1, 2, 3, 10, 20};
    static const uint8_t cluster[] = {0, 0, 0, 255, 255};

    nas_quant_average(values, 5, cluster);
    cr_expect_arr_eq(values, ((float[]){2, 2, 2, 15, 15}), sizeof values);
}
