/* Expected costs in the loss: gradients against finite differences through the softmax, sums and
 * peaks against networks drawn one by one. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "search/proxyless/alphas.h"
#include "search/proxyless/objective.h"
#include "tests/support/table.h"

static nas_space *space;
static nas_latency_lut *lut;
static nas_problem problem;
static nas_alphas alphas;
static const double *rows[NAS_MAX_SLOTS];

static void setup(void)
{
    nas_rng rng;

    cr_assert_eq(nas_space_load(&space, "tiny", NULL), NAS_OK);
    lut = test_lut(space);
    cr_assert_eq(nas_problem_init(&problem, space, 0, NULL, (const nas_latency_lut *const *)&lut,
                                  NULL), NAS_OK);
    cr_assert_eq(nas_alphas_init(&alphas, space, 1, NULL), NAS_OK);
    nas_rng_init(&rng, 3, "test", 0);
    for (int i = 0; i < alphas.total; i++)
        alphas.alpha[i] = nas_rng_normal(&rng);
    nas_alphas_softmax(&alphas);
    for (int s = 0; s < alphas.slots; s++)
        rows[s] = alphas.p + alphas.first[s];
    for (int k = 0; k < NAS_COSTS; k++) { /* all of them exceeded by what the alphas expect */
        double least, most;
        nas_problem_range(&problem, (nas_cost)k, &least, &most);
        problem.limit[k] = least + 0.2 * (most - least);
    }
}

static void teardown(void)
{
    nas_alphas_fini(&alphas);
    nas_problem_fini(&problem);
    nas_latency_lut_free(lut);
    nas_space_free(space);
}

TestSuite(search_objective, .init = setup, .fini = teardown);

static nas_objectives objectives_of(unsigned set, nas_latency_loss_kind kind)
{
    nas_objectives objectives;
    bool wanted[NAS_COSTS];

    for (int k = 0; k < NAS_COSTS; k++)
        wanted[k] = set >> k & 1;
    cr_assert_eq(nas_objectives_init(&objectives, &problem, wanted, kind, NULL), NAS_OK);
    return objectives;
}

static double loss_with(const nas_objectives *o, double ce, int at, double alpha)
{
    const double before = alphas.alpha[at];

    alphas.alpha[at] = alpha;
    nas_alphas_softmax(&alphas);
    const double loss = nas_objectives_loss_at(o, ce, rows).loss;
    alphas.alpha[at] = before;
    nas_alphas_softmax(&alphas);
    return loss;
}

/* Every set of the four costs, in both forms of the loss. */
Test(search_objective, gradients_match_differences_for_every_set_of_costs)
{
    const double ce = 1.7, h = 1e-5;

    for (int kind = 0; kind < NAS_LATENCY_LOSS_KINDS; kind++)
        for (unsigned set = 1; set < 1u << NAS_COSTS; set++) {
            nas_objectives o = objectives_of(set, (nas_latency_loss_kind)kind);
            const nas_objectives_loss loss = nas_objectives_loss_at(&o, ce, rows);
            double largest = 0.0;

            memset(alphas.grad, 0, (size_t)alphas.total * sizeof *alphas.grad);
            for (int s = 0; s < alphas.slots; s++)
                nas_objectives_slot_grad(&o, &loss, s, rows[s], alphas.grad + alphas.first[s]);
            for (int i = 0; i < alphas.total; i++) {
                const double difference = (loss_with(&o, ce, i, alphas.alpha[i] + h) -
                                           loss_with(&o, ce, i, alphas.alpha[i] - h)) / (2 * h);
                largest = fmax(largest, fabs(difference));
                /* double, h 1e-5: rounding alone is 1e-16 / 1e-5 */
                cr_assert_float_eq(alphas.grad[i], difference, 1e-9, "%s, set %u, alpha %d",
                                   nas_latency_loss_name((nas_latency_loss_kind)kind), set, i);
            }
            cr_assert_gt(largest, 1e-4, "set %u: something to compare", set);
            const double d_ce = (nas_objectives_loss_at(&o, ce + h, rows).loss -
                                 nas_objectives_loss_at(&o, ce - h, rows).loss) / (2 * h);
            cr_assert_float_eq(loss.d_ce, d_ce, 1e-9);
            nas_objectives_fini(&o);
        }
}

Test(search_objective, latency_alone_is_the_published_loss)
{
    for (int kind = 0; kind < NAS_LATENCY_LOSS_KINDS; kind++) {
        nas_objectives o = objectives_of(1u << NAS_COST_LATENCY, (nas_latency_loss_kind)kind);
        const nas_latency_loss published =
            nas_latency_loss_default((nas_latency_loss_kind)kind, problem.limit[NAS_COST_LATENCY]);
        const double expected = nas_latency_lut_expected(lut, rows);
        const nas_latency_loss_value value = nas_latency_loss_at(&published, 2.0, expected);
        const nas_objectives_loss loss = nas_objectives_loss_at(&o, 2.0, rows);

        cr_assert_eq(loss.loss, value.loss);
        cr_assert_eq(loss.d_ce, value.d_ce);
        cr_assert_eq(loss.d_cost[0], value.d_latency);
        nas_objectives_fini(&o);
    }
}

Test(search_objective, several_are_the_documented_sum_and_product)
{
    const unsigned set = 1u << NAS_COST_MACS | 1u << NAS_COST_PARAMETERS;
    double sum = 1.7, product = 0.2 * 1.7;
    nas_objectives linear = objectives_of(set, NAS_LATENCY_ADD_LINEAR);
    nas_objectives log_form = objectives_of(set, NAS_LATENCY_MUL_LOG);

    for (int i = 0; i < 2; i++) {
        const double e = nas_objective_expected(&linear.list[i], rows) / linear.list[i].limit;
        sum += 0.1 * (e - 1.0);
        product *= pow(log(20.0 * e) / log(20.0), 0.3);
    }
    cr_expect_float_eq(nas_objectives_loss_at(&linear, 1.7, rows).loss, sum, 1e-12);
    cr_expect_float_eq(nas_objectives_loss_at(&log_form, 1.7, rows).loss, product, 1e-12);
    nas_objectives_fini(&linear);
    nas_objectives_fini(&log_form);
}

/* Means over networks that are drawn as paths are. */
Test(search_objective, expectations_are_those_of_the_networks_drawn)
{
    enum { DRAWN = 20000 };
    nas_objectives o = objectives_of((1u << NAS_COSTS) - 1, NAS_LATENCY_MUL_LOG);
    double sum[NAS_COSTS] = {0.0};
    nas_rng rng;

    nas_rng_init(&rng, 5, "test", 0);
    for (int n = 0; n < DRAWN; n++) {
        nas_candidate drawn = {0};
        nas_path path;

        nas_alphas_sample(&alphas, &rng, &path);
        memcpy(drawn.choice, path.choice, sizeof drawn.choice);
        for (int k = 0; k < NAS_COSTS; k++)
            sum[k] += fmax(nas_problem_cost(&problem, (nas_cost)k, &drawn),
                           k == NAS_COST_MEMORY ? problem.limit[k] : 0.0) / DRAWN;
    }
    for (int k = 0; k < NAS_COST_MEMORY; k++) /* a mean of 20000: within 1 % */
        cr_expect_float_eq(nas_objective_expected(&o.list[k], rows) / sum[k], 1.0, 0.01, "%s: %g",
                           nas_cost_names[k].option, sum[k]);
    const double bound = nas_objective_expected(&o.list[NAS_COST_MEMORY], rows);
    cr_expect_geq(bound, 0.99 * sum[NAS_COST_MEMORY]);
    cr_expect_lt(bound, 3.0 * sum[NAS_COST_MEMORY], "a bound, but not an empty one");
    nas_objectives_fini(&o);
}

Test(search_objective, what_is_within_its_limit_does_not_pull)
{
    for (int k = 0; k < NAS_COSTS; k++) {
        double least;
        nas_problem_range(&problem, (nas_cost)k, &least, &problem.limit[k]);
    }
    nas_objectives o = objectives_of((1u << NAS_COSTS) - 1, NAS_LATENCY_ADD_LINEAR);
    const nas_objectives_loss loss = nas_objectives_loss_at(&o, 1.0, rows);

    for (int i = 0; i < o.count; i++)
        cr_expect_eq(loss.d_cost[i], 0.0);
    nas_objectives_fini(&o);
}

Test(search_objective, the_reward_falls_with_each_cost_above_its_limit_alone)
{
    nas_candidate drawn = {0};
    nas_rng rng;

    nas_rng_init(&rng, 9, "test", 0);
    nas_space_sample(space, &rng, drawn.choice);
    for (int k = 0; k < NAS_COSTS; k++)
        problem.limit[k] = nas_problem_cost(&problem, (nas_cost)k, &drawn) * (k % 2 ? 0.5 : 1.5);
    nas_objectives o = objectives_of((1u << NAS_COSTS) - 1, NAS_LATENCY_MUL_LOG);
    cr_expect_float_eq(nas_objectives_reward(&o, &problem, &drawn), pow(0.5, 0.2), 1e-12);
    nas_objectives_fini(&o);
}
