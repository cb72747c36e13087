/* Choosing under a limit, with a score that tests can compute themselves. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "search/evolution/evolution.h"
#include "tests/support/table.h"

static nas_space *space;
static nas_latency_lut *lut;
static nas_problem problem;
static double fastest, slowest;
static int64_t scored;

static void setup(void)
{
    cr_assert_eq(nas_space_load(&space, "ofa-mbv3-1.0", NULL), NAS_OK);
    lut = test_lut(space);
    nas_latency_lut_range(lut, space, &fastest, &slowest, NULL, NULL);
    cr_assert_eq(nas_problem_init(&problem, space, 0, NULL,
                                  (const nas_latency_lut *const *)&lut, NULL), NAS_OK);
    scored = 0;
}

static void teardown(void)
{
    nas_problem_fini(&problem);
    nas_latency_lut_free(lut);
    nas_space_free(space);
}

TestSuite(search_evolution, .init = setup, .fini = teardown);

/* More kernel pixels are better; nothing else counts. */
static nas_status kernels(void *user, nas_candidate *list, int count, nas_err *err)
{
    for (int i = 0; i < count; i++) {
        scored++;
        list[i].score = 0.0;
        for (int s = 0; s < space->count; s++)
            list[i].score += space->slots[s].candidates[list[i].choice[s]].kernel;
    }
    return NAS_OK;
}

static const nas_evaluator evaluator = {.score = kernels};

Test(search_evolution, everything_found_is_feasible_valid_and_in_order)
{
    const double limit = 0.5 * (fastest + slowest);
    nas_evolution_config config = nas_evolution_default(3);
    nas_candidate best[24];
    int found;
    int64_t evaluations;

    problem.limit[NAS_COST_LATENCY] = limit;
    cr_assert_eq(nas_evolution_run(&problem, &config, &evaluator, best, &found, &evaluations,
                                   NULL), NAS_OK);
    cr_expect_eq(found, 24);
    cr_expect_eq(evaluations, scored);
    for (int i = 0; i < found; i++) {
        cr_expect(nas_space_valid(space, best[i].choice));
        cr_expect_leq(best[i].latency_ms, limit);
        cr_expect_float_eq(best[i].latency_ms, nas_latency_lut_total(lut, best[i].choice), 0.0);
        for (int j = 0; j < i; j++) {
            cr_expect_geq(best[j].score, best[i].score);
            cr_expect(memcmp(best[j].choice, best[i].choice,
                             (size_t)space->count * sizeof(int)) != 0);
        }
    }
}

Test(search_evolution, evolution_beats_random_search_of_the_same_size)
{
    const double limit = 0.4 * fastest + 0.6 * slowest;
    nas_evolution_config config = nas_evolution_default(3);
    nas_candidate best[24], *drawn;
    int found;
    int64_t evaluations;

    problem.limit[NAS_COST_LATENCY] = limit;
    cr_assert_eq(nas_evolution_run(&problem, &config, &evaluator, best, &found, &evaluations,
                                   NULL), NAS_OK);
    drawn = calloc((size_t)evaluations, sizeof *drawn);
    cr_assert_not_null(drawn);
    cr_assert_eq(nas_random_search(&problem, 3, (int)evaluations, &evaluator, drawn, &found,
                                   NULL), NAS_OK);
    cr_expect_gt(best[0].score, drawn[0].score);
    free(drawn);
}

Test(search_evolution, repair_meets_every_limit_that_can_be_met)
{
    nas_candidate candidate = {.image_size = 0};
    nas_rng rng;

    nas_rng_init(&rng, 1, "test", 0);
    for (int i = 0; i < 200; i++) {
        const double limit = fastest + nas_rng_uniform(&rng) * (slowest - fastest);
        problem.limit[NAS_COST_LATENCY] = limit;
        nas_problem_sample(&problem, &rng, &candidate);
        cr_assert(nas_candidate_repair(&problem, NULL, &candidate));
        cr_assert_leq(nas_latency_lut_total(lut, candidate.choice), limit);
        cr_assert(nas_space_valid(space, candidate.choice));
    }
    problem.limit[NAS_COST_LATENCY] = fastest * (1.0 + 1e-12);
    cr_expect(nas_candidate_repair(&problem, NULL, &candidate));
    problem.limit[NAS_COST_LATENCY] = 0.999 * fastest;
    cr_expect_not(nas_candidate_repair(&problem, NULL, &candidate));
}

Test(search_evolution, repair_gives_up_the_least_weight)
{
    static double weight[NAS_MAX_SLOTS * NAS_MAX_CANDIDATES];
    nas_candidate candidate = {.image_size = 0};
    int dear = -1;

    nas_latency_lut_range(lut, space, &fastest, &slowest, NULL, candidate.choice);
    for (int s = 0; s < space->count; s++) /* only the first searched slot may change cheaply */
        if (space->slots[s].count > 1) {
            dear = dear < 0 ? s : dear;
            weight[s * NAS_MAX_CANDIDATES + candidate.choice[s]] = s == dear ? 0.0 : 1e6;
        }
    const int before = candidate.choice[dear];
    problem.limit[NAS_COST_LATENCY] = nas_latency_lut_total(lut, candidate.choice) - 1e-9;
    cr_assert(nas_candidate_repair(&problem, weight, &candidate));
    cr_expect_neq(candidate.choice[dear], before);
}

Test(search_evolution, an_impossible_limit_says_what_is_possible)
{
    nas_candidate best[4];
    int found;
    nas_err err;

    problem.limit[NAS_COST_LATENCY] = 0.5 * fastest;
    cr_expect_eq(nas_random_search(&problem, 1, 4, &evaluator, best, &found, &err),
                 NAS_E_INFEASIBLE);
    cr_expect(strstr(err.hint, "reachable") != NULL);
    problem.limit[NAS_COST_LATENCY] = INFINITY;
    problem.limit[NAS_COST_MACS] = 1e6;
    cr_expect_eq(nas_problem_check(&problem, &err), NAS_E_INFEASIBLE);
    cr_expect(strstr(err.message, "1000000 MACs") != NULL, "%s", err.message);
    cr_expect_eq(scored, 0);
}

Test(search_evolution, the_same_seed_finds_the_same)
{
    nas_evolution_config config = nas_evolution_default(5);
    nas_candidate a[24], b[24];
    int found;
    int64_t evaluations;

    config.refined = 2;
    problem.limit[NAS_COST_LATENCY] = 0.5 * (fastest + slowest);
    nas_evolution_run(&problem, &config, &evaluator, a, &found, &evaluations, NULL);
    nas_evolution_run(&problem, &config, &evaluator, b, &found, &evaluations, NULL);
    for (int i = 0; i < found; i++)
        cr_expect(memcmp(a[i].choice, b[i].choice, (size_t)space->count * sizeof(int)) == 0);
    config.seed = 6;
    nas_evolution_run(&problem, &config, &evaluator, b, &found, &evaluations, NULL);
    cr_expect(memcmp(a, b, sizeof a) != 0);
}

/* Big kernels count, and what it costs in latency changes from block to block: what is scored
 * under one limit is often the best under another. */
static nas_status uneven(void *user, nas_candidate *list, int count, nas_err *err)
{
    for (int i = 0; i < count; i++) {
        list[i].score = 0.0;
        for (int s = 0; s < space->count; s++) {
            const nas_op_spec *op = &space->slots[s].candidates[list[i].choice[s]];
            list[i].score += op->kernel * (1.0 + 0.37 * (s % 5)) +
                             sin(s + op->kernel * (double)list[i].choice[(s + 1) % space->count]);
        }
    }
    return NAS_OK;
}

Test(search_evolution, no_network_of_the_front_is_beaten_by_another)
{
    enum { POINTS = 40 };
    static const nas_evaluator rugged = {.score = uneven};
    nas_evolution_config config = nas_evolution_default(0);
    nas_candidate front[POINTS];
    int found;
    int64_t evaluations;

    config.population = 8; /* searches badly: later limits find what earlier ones missed */
    config.generations = 3;
    for (config.seed = 0; config.seed < 8; config.seed++) {
        cr_assert_eq(nas_evolution_front(&problem, NAS_COST_LATENCY, &config, &rugged, POINTS,
                                         front, &found, &evaluations, NULL), NAS_OK);
        cr_expect_gt(found, 5);
        for (int i = 1; i < found; i++) {
            cr_expect_gt(front[i].latency_ms, front[i - 1].latency_ms);
            cr_expect_gt(front[i].score, front[i - 1].score);
        }
    }
}

/* Another limit makes the fast ones impossible: fast blocks are made to have the most MACs. */
Test(search_evolution, the_front_begins_where_all_limits_can_be_met)
{
    nas_evolution_config config = nas_evolution_default(1);
    nas_candidate front[10];
    double least, most;
    int found;
    int64_t evaluations;
    nas_err err;

    nas_problem_fini(&problem);
    for (int s = 0; s < space->count; s++)
        for (int c = 0; c < space->slots[s].count; c++)
            lut->ms[s][c] = 10.0 - lut->ms[s][c];
    cr_assert_eq(nas_problem_init(&problem, space, 0, NULL, (const nas_latency_lut *const *)&lut,
                                  NULL), NAS_OK);
    nas_problem_range(&problem, NAS_COST_MACS, &least, &most);
    problem.limit[NAS_COST_MACS] = least + 0.3 * (most - least);
    config.population = 8;
    config.generations = 2;
    cr_assert_eq(nas_evolution_front(&problem, NAS_COST_LATENCY, &config, &evaluator, 10, front,
                                     &found, &evaluations, &err), NAS_OK, "%s", err.message);
    cr_assert_gt(found, 0);
    for (int i = 0; i < found; i++)
        cr_expect(nas_problem_feasible(&problem, &front[i]));

    nas_problem_range(&problem, NAS_COST_LATENCY, &least, &most);
    problem.limit[NAS_COST_MACS] = 1.01 * problem.limit[NAS_COST_MACS];
    problem.limit[NAS_COST_LATENCY] = least; /* the fastest have the most MACs */
    cr_expect_eq(nas_evolution_front(&problem, NAS_COST_LATENCY, &config, &evaluator, 10, front,
                                     &found, &evaluations, &err), NAS_E_INFEASIBLE);
    cr_expect_eq(found, 0);
}

Test(search_evolution, a_front_from_no_latency_at_all_has_limits_in_steps)
{
    enum { POINTS = 8 };
    nas_evolution_config config = nas_evolution_default(1);
    nas_candidate front[POINTS];
    int found;
    int64_t evaluations;

    nas_problem_fini(&problem);
    for (int s = 0; s < space->count; s++) { /* the least of every block costs nothing */
        double low = INFINITY;

        for (int c = 0; c < space->slots[s].count; c++)
            low = fmin(low, lut->ms[s][c]);
        for (int c = 0; c < space->slots[s].count; c++)
            lut->ms[s][c] -= low;
    }
    cr_assert_eq(nas_problem_init(&problem, space, 0, NULL, (const nas_latency_lut *const *)&lut,
                                  NULL), NAS_OK);
    nas_problem_range(&problem, NAS_COST_LATENCY, &fastest, &slowest);
    cr_assert_eq(fastest, 0.0);
    cr_assert_eq(nas_evolution_front(&problem, NAS_COST_LATENCY, &config, &evaluator, POINTS, front,
                                     &found, &evaluations, NULL), NAS_OK);
    cr_assert_gt(found, POINTS / 2);
    cr_expect_leq(front[0].latency_ms, 0.1 * slowest);
}

Test(search_evolution, a_front_is_against_any_cost_and_needs_no_latency)
{
    enum { POINTS = 10 };
    nas_evolution_config config = nas_evolution_default(1);
    nas_candidate front[POINTS];
    int found;
    int64_t evaluations;

    nas_problem_fini(&problem);
    cr_assert_eq(nas_problem_init(&problem, space, 0, NULL, NULL, NULL), NAS_OK);
    for (nas_cost cost = NAS_COST_MACS; cost < NAS_COSTS; cost++) {
        double least, most, last = 0.0;

        nas_problem_range(&problem, cost, &least, &most);
        problem.limit[cost] = 0.5 * (least + most);
        cr_assert_eq(nas_evolution_front(&problem, cost, &config, &evaluator, POINTS, front, &found,
                                         &evaluations, NULL), NAS_OK);
        cr_assert_gt(found, 1, "cost %d", (int)cost);
        for (int i = 0; i < found; i++) {
            const double now = nas_problem_cost(&problem, cost, &front[i]);
            cr_expect(now > last && now <= problem.limit[cost], "cost %d, point %d", (int)cost, i);
            cr_expect(i == 0 || front[i].score > front[i - 1].score);
            last = now;
        }
        problem.limit[cost] = INFINITY;
    }
}
