/* Architecture parameters against numbers computed with the published code. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "search/proxyless/alphas.h"

/* One slot of four candidates: alpha (0.1, -0.2, 0.3, 0.05), gate gradients (0.5, -1, 2, 0.25).
 * Expected values: one step of the public ProxylessNAS code (float32, so 1e-6). */
static const double gates[NAS_MAX_CANDIDATES] = {0.5, -1.0, 2.0, 0.25};
static nas_op_spec ops[4];
static nas_slot slot = {.count = 4, .candidates = ops};
static const nas_space space = {.count = 1, .slots = &slot};
static nas_alphas alphas;

static void setup(void)
{
    static const double start[4] = {0.1, -0.2, 0.3, 0.05};

    cr_assert_eq(nas_alphas_init(&alphas, &space, 1, NULL), NAS_OK);
    memcpy(alphas.alpha, start, sizeof start);
    nas_alphas_softmax(&alphas);
}

static void teardown(void) { nas_alphas_fini(&alphas); }

TestSuite(search_alphas, .init = setup, .fini = teardown);

static void expect(const double *values, const double *expected, int n, double tolerance)
{
    for (int i = 0; i < n; i++)
        cr_expect_float_eq(values[i], expected[i], tolerance, "value %d: %.9f, not %.9f", i,
                           values[i], expected[i]);
}

Test(search_alphas, probabilities_are_the_softmax)
{
    expect(alphas.p, (double[]){0.255529, 0.189301, 0.312104, 0.243067}, 4, 1e-6);
}

Test(search_alphas, full_mode_gradient)
{
    nas_path path = {.choice = {2}, .other = {-1}};
    double q[4];

    nas_alphas_step_probabilities(&alphas, &path, NAS_ARCH_FULL, q);
    nas_alphas_add_gate_gradient(&alphas, q, gates, 1.0);
    expect(alphas.grad, (double[]){-0.0315420, -0.3073177, 0.4296302, -0.0907704}, 4, 1e-6);
}

Test(search_alphas, two_mode_gradient_step_and_rescale)
{
    const nas_path path = {.choice = {2}, .other = {1}};
    double q[4], before[4], kept[2];

    nas_alphas_step_probabilities(&alphas, &path, NAS_ARCH_TWO, q);
    nas_alphas_add_gate_gradient(&alphas, q, gates, 1.0);
    expect(alphas.grad, (double[]){0, -0.7050111, 0.7050111, 0}, 4, 1e-6);
    memcpy(before, alphas.alpha, sizeof before);
    kept[0] = alphas.p[0];
    kept[1] = alphas.p[3];
    nas_alphas_adam(&alphas, 0.1, 0.0, 0.999, 1e-8);
    expect(alphas.alpha, (double[]){0.1, -0.1, 0.2, 0.05}, 4, 1e-6);
    nas_alphas_rescale(&alphas, &path, before);
    expect(alphas.alpha, (double[]){0.1, -0.0802783, 0.2197218, 0.05}, 4, 1e-6);
    cr_expect_float_eq(alphas.p[0], kept[0], 1e-12);
    cr_expect_float_eq(alphas.p[3], kept[1], 1e-12);
}

Test(search_alphas, two_mode_draws_pairs_as_often_as_it_should)
{
    /* P(pair {i,j}) = p_i p_j/(1-p_i) + p_j p_i/(1-p_j); the active one by the softmax of two.
     * 200,000 draws: 5 standard deviations of a frequency are below 0.006. */
    enum { DRAWS = 200000 };
    double seen[4][4] = {{0}};
    const double *p = alphas.p;
    nas_rng rng;
    nas_path path;

    nas_rng_init(&rng, 1, "test", 0);
    for (int i = 0; i < DRAWS; i++) {
        nas_alphas_sample_arch(&alphas, NAS_ARCH_TWO, &rng, &path);
        cr_assert_neq(path.choice[0], path.other[0]);
        cr_assert_eq(path.gates[0], 1u << path.choice[0] | 1u << path.other[0]);
        seen[path.choice[0]][path.other[0]] += 1.0 / DRAWS;
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            if (i == j)
                continue;
            const double pair = p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]);
            cr_expect_float_eq(seen[i][j], pair * p[i] / (p[i] + p[j]), 0.006);
        }
}

Test(search_alphas, full_mode_wants_every_gate)
{
    nas_rng rng;
    nas_path path;

    nas_rng_init(&rng, 1, "test", 0);
    nas_alphas_sample_arch(&alphas, NAS_ARCH_FULL, &rng, &path);
    cr_expect_eq(path.gates[0], 0xfu);
    cr_expect_eq(path.other[0], -1);
}

Test(search_alphas, entropy_and_argmax)
{
    int choice[1];
    double entropy = 0.0;

    for (int i = 0; i < 4; i++)
        entropy -= alphas.p[i] * log(alphas.p[i]);
    cr_expect_float_eq(nas_alphas_entropy(&alphas), entropy, 1e-12);
    nas_alphas_argmax(&alphas, choice);
    cr_expect_eq(choice[0], 2);
}

Test(search_alphas, peaked_probabilities_still_give_two_different_candidates)
{
    nas_rng rng;
    nas_path path;

    alphas.alpha[1] = 900.0;
    nas_alphas_softmax(&alphas);
    nas_rng_init(&rng, 1, "test", 0);
    for (int i = 0; i < 100; i++) {
        nas_alphas_sample_arch(&alphas, NAS_ARCH_TWO, &rng, &path);
        cr_assert_neq(path.choice[0], path.other[0]);
    }
}
