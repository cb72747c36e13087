/* Several image sizes, several limits, exchanges and the front, with scores of our own. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "nas/space/memory.h"
#include "search/evolution/evolution.h"
#include "tests/support/table.h"

enum { SIZES = 3, MOST = 60000 };
static const int sizes[SIZES] = {160, 192, 224};

static nas_space *space;
static nas_latency_lut *luts[SIZES];
static nas_problem problem;
static nas_candidate *seen; /* [MOST] what was scored */
static int64_t scored;

static nas_latency_lut *lut_at(int size)
{
    nas_latency_entry *entries;
    nas_latency_table *table = nas_latency_table_new(NULL);
    nas_latency_lut *lut;
    int count;

    cr_assert_eq(nas_latency_space_entries(&entries, &count, space, nas_latency_grammar_of(space),
                                           size, NULL), NAS_OK);
    count = nas_latency_entries_unique(entries, count);
    for (int i = 0; i < count; i++) {
        const nas_op_cost cost = nas_op_cost_at(&entries[i].op, entries[i].h, entries[i].w);
        const nas_latency_stat stat = {.count = 1, .mean = 0.01 + 1e-7 * (double)cost.macs};
        cr_assert_eq(nas_latency_table_add(table, entries[i].key, &stat, NULL), NAS_OK);
    }
    free(entries);
    cr_assert_eq(nas_latency_lut_new(&lut, table, space, size, NULL), NAS_OK);
    nas_latency_table_free(table);
    return lut;
}

static void setup(void)
{
    cr_assert_eq(nas_space_load(&space, "ofa-mbv3-1.0", NULL), NAS_OK);
    for (int i = 0; i < SIZES; i++)
        luts[i] = lut_at(sizes[i]);
    cr_assert_eq(nas_problem_init(&problem, space, SIZES, sizes,
                                  (const nas_latency_lut *const *)luts, NULL), NAS_OK);
    seen = calloc(MOST, sizeof *seen);
    cr_assert_not_null(seen);
    scored = 0;
}

static void teardown(void)
{
    nas_problem_fini(&problem);
    for (int i = 0; i < SIZES; i++)
        nas_latency_lut_free(luts[i]);
    nas_space_free(space);
    free(seen);
}

TestSuite(search_problem, .init = setup, .fini = teardown);

/* Kernels, ratios and the image size help, the further behind the more, with less and less to
 * gain: no choice is best for its own sake. */
static nas_status benefit(void *user, nas_candidate *list, int count, nas_err *err)
{
    for (int i = 0; i < count; i++) {
        double sum = 0.01 * list[i].image_size;

        for (int s = 0; s < space->count; s++) {
            const nas_op_spec *op = &space->slots[s].candidates[list[i].choice[s]];
            if (space->slots[s].count > 1)
                sum += 0.01 * (s + 3) * (op->kernel + 2.0 * (double)op->expand);
        }
        list[i].score = sqrt(sum);
        if (scored < MOST)
            seen[scored++] = list[i];
    }
    return NAS_OK;
}

static const nas_evaluator evaluator = {.score = benefit};

static void run(const nas_evolution_config *config, nas_candidate *best, int *found)
{
    int64_t evaluations;
    nas_err err;

    scored = 0;
    cr_assert_eq(nas_evolution_run(&problem, config, &evaluator, best, found, &evaluations, &err),
                 NAS_OK, "%s", err.message);
    cr_expect_eq(evaluations, scored);
}

Test(search_problem, costs_are_those_of_the_network)
{
    nas_rng rng;
    nas_candidate candidate;

    nas_rng_init(&rng, 1, "test", 0);
    for (int i = 0; i < 20; i++) {
        nas_arch *arch;
        nas_problem_sample(&problem, &rng, &candidate);
        cr_assert_eq(nas_space_arch(&arch, space, candidate.choice, NULL), NAS_OK);
        const nas_op_cost cost = nas_arch_cost(arch, candidate.image_size);
        const int at = nas_problem_size(&problem, candidate.image_size);
        cr_expect_eq(nas_problem_cost(&problem, NAS_COST_MACS, &candidate), (double)cost.macs);
        cr_expect_eq(nas_problem_cost(&problem, NAS_COST_PARAMETERS, &candidate),
                     (double)cost.parameters);
        cr_expect_eq(nas_problem_cost(&problem, NAS_COST_LATENCY, &candidate),
                     nas_latency_lut_total(luts[at], candidate.choice));
        cr_expect_eq(nas_problem_cost(&problem, NAS_COST_MEMORY, &candidate),
                     (double)nas_arch_memory(arch, candidate.image_size));
        nas_arch_free(arch);
    }
}

Test(search_problem, the_range_spans_all_image_sizes)
{
    double min, max, least, most, unused;

    nas_problem_range(&problem, NAS_COST_LATENCY, &min, &max);
    nas_latency_lut_range(luts[0], space, &least, &unused, NULL, NULL);
    nas_latency_lut_range(luts[SIZES - 1], space, &unused, &most, NULL, NULL);
    cr_expect_float_eq(min, least, 1e-9);
    cr_expect_float_eq(max, most, 1e-9);
    /* published sizes of OFA-MobileNetV3 1.0: k3 e3 d2 at 160, k7 e6 d4 at 224 */
    nas_problem_range(&problem, NAS_COST_MACS, &min, &max);
    cr_expect_float_eq(min, 63.241e6, 500);
    cr_expect_float_eq(max, 566.171e6, 500);
    nas_problem_range(&problem, NAS_COST_MEMORY, &min, &max);
    for (int i = 0; i < 200; i++) {
        nas_candidate candidate;
        nas_rng rng;

        nas_rng_init(&rng, 1, "range", (uint64_t)i);
        nas_problem_sample(&problem, &rng, &candidate);
        cr_expect_geq(nas_problem_cost(&problem, NAS_COST_MEMORY, &candidate), min);
        cr_expect_leq(nas_problem_cost(&problem, NAS_COST_MEMORY, &candidate), max);
    }
}

Test(search_problem, a_size_that_the_space_has_not_is_refused)
{
    nas_problem wrong;
    const int odd[] = {161};
    nas_err err;

    cr_expect_eq(nas_problem_init(&wrong, space, 1, odd, NULL, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "161") != NULL);
    nas_problem_fini(&wrong);
}

Test(search_problem, all_limits_hold_and_nothing_is_scored_twice)
{
    nas_evolution_config config = nas_evolution_thorough(2);
    nas_candidate best[50];
    int found;

    config.rounds = 2;
    problem.limit[NAS_COST_LATENCY] = 25.0;
    problem.limit[NAS_COST_MACS] = 150e6;
    problem.limit[NAS_COST_PARAMETERS] = 4.5e6;
    run(&config, best, &found);
    cr_assert_eq(found, 50);
    for (int i = 0; i < found; i++) {
        cr_expect(nas_problem_feasible(&problem, &best[i]));
        cr_expect(nas_space_valid(space, best[i].choice));
        cr_expect(i == 0 || best[i].score <= best[i - 1].score);
    }
    cr_assert_lt(scored, MOST);
    for (int64_t i = 0; i < scored; i += 7) /* every pair would take a minute */
        for (int64_t j = 0; j < scored; j++)
            cr_assert(i == j || seen[i].image_size != seen[j].image_size ||
                      memcmp(seen[i].choice, seen[j].choice,
                             (size_t)space->count * sizeof(int)) != 0);
}

Test(search_problem, exchanges_leave_nothing_that_two_changes_would_improve)
{
    nas_evolution_config config = nas_evolution_thorough(3);
    nas_candidate best[50];
    int found;

    config.rounds = 1;
    problem.limit[NAS_COST_LATENCY] = 22.0;
    run(&config, best, &found);
    for (int a = 0; a < space->count; a++)
        for (int x = 0; x < space->slots[a].count; x++)
            for (int b = a; b < space->count; b++)
                for (int y = 0; y < space->slots[b].count; y++) {
                    nas_candidate other = best[0];
                    other.choice[a] = x;
                    other.choice[b] = y;
                    nas_choice_normalise(space, other.choice);
                    if (!nas_problem_feasible(&problem, &other))
                        continue;
                    benefit(NULL, &other, 1, NULL);
                    cr_assert_leq(other.score, best[0].score + 1e-12);
                }
}

/* Beside a peak the least of a sum is exact: slot by slot, the cheapest of what may be there. */
static double least_by_hand(double peak)
{
    double best = INFINITY;

    for (int i = 0; i < SIZES; i++) {
        double sum = 0.0;
        int side = sizes[i];

        for (int s = 0; s < space->count; s++) {
            const nas_slot *slot = &space->slots[s];
            double least = INFINITY;

            for (int c = 0; c < slot->count; c++)
                if ((double)nas_op_memory(&slot->candidates[c], slot->shortcut, side, side) <= peak)
                    least = fmin(least, luts[i]->ms[s][c]);
            sum += least;
            side = nas_op_cost_at(&slot->candidates[0], side, side).out_h;
        }
        best = fmin(best, sum);
    }
    return best;
}

Test(search_problem, a_peak_bounds_what_else_can_be_reached)
{
    double min, max;

    nas_problem_range(&problem, NAS_COST_MEMORY, &min, &max);
    for (int i = 0; i <= 10; i++) {
        const double by_hand = least_by_hand(min + 0.1 * i * (max - min));

        problem.limit[NAS_COST_MEMORY] = min + 0.1 * i * (max - min);
        cr_expect_float_eq(nas_problem_least(&problem, NAS_COST_LATENCY), by_hand, 1e-6 * by_hand);
        problem.limit[NAS_COST_LATENCY] = 0.999 * by_hand;
        cr_expect_eq(nas_problem_check(&problem, NULL), NAS_E_INFEASIBLE);
        problem.limit[NAS_COST_LATENCY] = 1.001 * by_hand;
        cr_expect_eq(nas_problem_check(&problem, NULL), NAS_OK);
    }
}

Test(search_problem, the_search_keeps_a_peak_beside_other_limits)
{
    nas_evolution_config config = nas_evolution_thorough(5);
    nas_candidate best[50];
    double min, max;
    int found;

    config.rounds = 2;
    nas_problem_range(&problem, NAS_COST_MEMORY, &min, &max);
    problem.limit[NAS_COST_MEMORY] = min + 0.05 * (max - min);
    problem.limit[NAS_COST_LATENCY] = 30.0;
    run(&config, best, &found);
    cr_assert_eq(found, 50);
    for (int i = 0; i < found; i++)
        cr_expect(nas_problem_feasible(&problem, &best[i]));
    for (int s = 0; s < space->count; s++) /* no single change improves it */
        for (int c = 0; c < space->slots[s].count; c++) {
            nas_candidate other = best[0];
            other.choice[s] = c;
            nas_choice_normalise(space, other.choice);
            if (!nas_problem_feasible(&problem, &other))
                continue;
            benefit(NULL, &other, 1, NULL);
            cr_assert_leq(other.score, best[0].score + 1e-12);
        }
    nas_candidate repaired = {.image_size = sizes[0]};
    nas_rng rng;
    nas_rng_init(&rng, 1, "repair", 0);
    problem.limit[NAS_COST_LATENCY] = INFINITY;
    problem.limit[NAS_COST_MEMORY] = min;
    for (int i = 0; i < 20; i++) { /* several blocks are too large, one after the other shrinks */
        nas_space_sample(space, &rng, repaired.choice);
        cr_assert(nas_candidate_repair(&problem, NULL, &repaired));
        cr_assert_eq(nas_problem_cost(&problem, NAS_COST_MEMORY, &repaired), min);
    }
}

Test(search_problem, exchanges_improve_what_evolution_finds)
{
    nas_evolution_config config = nas_evolution_default(4);
    nas_candidate plain[24], refined[24];
    int found;

    problem.limit[NAS_COST_LATENCY] = 20.0;
    run(&config, plain, &found);
    config.refined = 1;
    run(&config, refined, &found);
    cr_expect_gt(refined[0].score, plain[0].score);
}

/* A device on which the larger operation is the faster one. */
Test(search_problem, limits_that_exclude_each_other_are_said_to)
{
    nas_evolution_config config = nas_evolution_default(1);
    nas_candidate best[24];
    nas_problem odd;
    double most;
    int found;
    int64_t evaluations;
    nas_err err;

    for (int s = 0; s < space->count; s++)
        for (int c = 0; c < space->slots[s].count; c++)
            if (luts[0]->ms[s][c] > 0.0)
                luts[0]->ms[s][c] = 100.0 - luts[0]->ms[s][c];
    cr_assert_eq(nas_problem_init(&odd, space, 1, sizes, (const nas_latency_lut *const *)luts,
                                  NULL), NAS_OK);
    nas_problem_range(&odd, NAS_COST_LATENCY, &odd.limit[NAS_COST_LATENCY], &most);
    nas_problem_range(&odd, NAS_COST_PARAMETERS, &odd.limit[NAS_COST_PARAMETERS], &most);
    odd.limit[NAS_COST_LATENCY] += 1e-6;
    cr_expect_eq(nas_evolution_run(&odd, &config, &evaluator, best, &found, &evaluations, &err),
                 NAS_E_INFEASIBLE);
    cr_expect(strstr(err.message, "all limits at once") != NULL, "%s", err.message);
    cr_expect(strstr(err.hint, "ms, or ") != NULL, "%s", err.hint);
    cr_expect_eq(scored, 0); /* at once */
    const double least = nas_problem_least(&odd, NAS_COST_LATENCY);
    odd.limit[NAS_COST_LATENCY] = 0.999 * least;
    cr_expect_eq(nas_problem_check(&odd, NULL), NAS_E_INFEASIBLE);
    odd.limit[NAS_COST_LATENCY] = least; /* the smallest network alone is left */
    cr_expect_eq(nas_problem_check(&odd, NULL), NAS_OK);
    odd.limit[NAS_COST_PARAMETERS] *= 1.0 + 1e-9;
    odd.limit[NAS_COST_LATENCY] *= 1.0 + 1e-6;
    cr_expect_eq(nas_evolution_run(&odd, &config, &evaluator, best, &found, &evaluations, &err),
                 NAS_OK, "%s", err.message);
    nas_problem_fini(&odd);
}

Test(search_problem, the_front_climbs_and_reaches_the_limit)
{
    nas_evolution_config config = nas_evolution_thorough(1);
    nas_candidate front[8], best[50];
    int count, found;
    int64_t evaluations;

    config.rounds = 1;
    problem.limit[NAS_COST_LATENCY] = 30.0;
    cr_assert_eq(nas_evolution_front(&problem, NAS_COST_LATENCY, &config, &evaluator, 8, front,
                                     &count, &evaluations, NULL), NAS_OK);
    cr_assert_gt(count, 5);
    for (int i = 0; i < count; i++) {
        cr_expect_leq(front[i].latency_ms, 30.0);
        cr_expect(i == 0 || (front[i].score > front[i - 1].score &&
                             front[i].latency_ms > front[i - 1].latency_ms));
    }
    run(&config, best, &found);
    cr_expect_geq(front[count - 1].score, best[0].score);
}
