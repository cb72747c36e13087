/* Machines that are simulated: whose speed changes, and how, is known. */
#include "latency/profile/levels.h"

#include <criterion/criterion.h>
#include <math.h>

#include "base/rng.h"
#include "base/stats.h"

enum { SLOTS = 6, KEYS = 18, TURNS = 400 };

static double key_ms(int key) { return 0.05 + 0.03 * (key % 7) + 0.2 * (key == 4); }

/* A turn of the simulated machine: each slot has three keys of its own; every time is its key's,
 * times `level`, give or take 3 %. */
static void add_turn(nas_levels *levels, nas_rng *rng, double level)
{
    int key[SLOTS];
    double ms[SLOTS];

    for (int s = 0; s < SLOTS; s++) {
        key[s] = 3 * s + (int)nas_rng_below(rng, 3);
        ms[s] = key_ms(key[s]) * level * (1.0 + 0.03 * nas_rng_normal(rng));
    }
    cr_assert_eq(nas_levels__add(levels, key, ms, NULL), NAS_OK);
}

/* The first part of every `period` turns is slow. */
static nas_levels machine(int period, int slow, double level)
{
    nas_levels levels = {.slots = SLOTS, .keys = KEYS, .limit = 1.08};
    nas_rng rng;

    nas_rng_init(&rng, 1, "machine", 0);
    for (int t = 0; t < TURNS; t++)
        add_turn(&levels, &rng, t % period < slow ? level : 1.0);
    cr_assert_eq(nas_levels__judge(&levels, NULL), NAS_OK);
    return levels;
}

static void check_machine(int period, int slow, double level)
{
    nas_levels levels = machine(period, slow, level);
    double typical;

    for (int t = 0; t < TURNS; t++) {
        const bool is_slow = t % period < slow;

        cr_assert_eq(nas_levels__usual(&levels, t), !is_slow, "turn %d of %d/%d: %g", t, slow,
                     period, levels.level[t]);
        /* Six times of 3 % noise: 1.4 % of deviation, the largest of 400 about 4 of these. */
        cr_assert_float_eq(levels.level[t], is_slow ? level : 1.0, 0.07 * level);
    }
    const int rest = TURNS % period < slow ? TURNS % period : slow;
    cr_assert_float_eq(nas_levels__disturbed(&levels, &typical),
                       (double)(TURNS / period * slow + rest) / TURNS, 1e-12);
    cr_assert_float_eq(typical, level, 0.02 * level);
    nas_levels__fini(&levels);
}

Test(latency_levels, turns_of_a_slower_machine_are_told_from_the_others)
{
    check_machine(50, 20, 1.45); /* now and then */
    check_machine(50, 40, 1.40); /* most of the time */
    check_machine(400, 280, 1.3); /* once, and long */
    check_machine(7, 3, 2.5);
}

Test(latency_levels, machine_that_is_quiet_has_one_level)
{
    nas_levels levels = machine(50, 0, 1.0);
    double typical;

    cr_assert_eq(nas_levels__disturbed(&levels, &typical), 0.0);
    cr_assert_eq(typical, 1.0);
    /* Level 1 is the middle of the turns, not their fast end. */
    cr_assert_float_eq(nas_quantile(levels.level, TURNS, 0.5), 1.0, 2e-3);
    nas_levels__fini(&levels);
}

Test(latency_levels, halving_keeps_the_younger_turns)
{
    nas_levels levels = {.slots = 2, .keys = 2, .limit = 1.08};

    for (int t = 0; t < 5; t++)
        cr_assert_eq(nas_levels__add(&levels, (const int[]){0, -1}, (const double[]){t, 100}, NULL),
                     NAS_OK);
    nas_levels__halve(&levels);
    cr_assert_eq(levels.count, 3);
    cr_assert_eq(levels.ms[0], 2.0);
    cr_assert_eq(levels.ms[4], 4.0);
    nas_levels__fini(&levels);
}

Test(latency_levels, values_without_a_key_and_no_turns_at_all_are_fine)
{
    nas_levels levels = {.slots = 2, .keys = 1, .limit = 1.08};

    cr_assert_eq(nas_levels__judge(&levels, NULL), NAS_OK);
    cr_assert_eq(nas_levels__add(&levels, (const int[]){0, -1}, (const double[]){2, 0}, NULL),
                 NAS_OK);
    cr_assert_eq(nas_levels__judge(&levels, NULL), NAS_OK);
    cr_assert_eq(levels.level[0], 1.0);
    nas_levels__fini(&levels);
}
