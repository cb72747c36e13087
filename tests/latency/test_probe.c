/* The network that tells the speed of the machine, and what its times say of a simulated one. */
#include "latency/profile/probe.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/latency/published.h"

static nas_err err;

/* Turns of one key that take 10 ms at level 1, and a probe of 4 ms around each of them; both times
 * `level` of their moment. */
static void run(nas_levels *levels, nas_probes *probes, const double *level, int turns)
{
    *levels = (nas_levels){.slots = 1, .keys = 1, .limit = 1.06};
    REQUIRE_OK(nas_probes__add(probes, 0, 4.0 * level[0], &err));
    for (int t = 0; t < turns; t++) {
        REQUIRE_OK(nas_levels__add(levels, &(int){0}, &(double){10.0 * level[t]}, &err));
        REQUIRE_OK(nas_probes__add(probes, t + 1, 4.0 * level[t], &err));
    }
    REQUIRE_OK(nas_levels__judge(levels, &err));
}

Test(latency_probe, network_has_the_most_macs_and_belongs_to_the_space)
{
    const char *const *names = nas_space_names();

    for (int n = 0; names[n] != NULL; n++) {
        nas_space *space;
        nas_arch *arch;
        int choice[NAS_MAX_SLOTS];
        int64_t least, most;
        char digest[NAS_DIGEST_SIZE], again[NAS_DIGEST_SIZE];

        REQUIRE_OK(nas_space_load(&space, names[n], &err));
        REQUIRE_OK(nas_probe__find(space, choice, digest, &err));
        cr_expect(nas_space_valid(space, choice), "%s", names[n]);
        nas_space_macs_range(space, 0, &least, &most);
        REQUIRE_OK(nas_space_arch(&arch, space, choice, &err));
        cr_expect_eq(nas_arch_cost(arch, 0).macs, most, "%s", names[n]);
        REQUIRE_OK(nas_arch_digest(arch, again, &err));
        cr_expect_str_eq(digest, again);
        nas_arch_free(arch);
        nas_space_free(space);
    }
}

Test(latency_probe, time_is_that_of_level_one)
{
    double level[60];
    nas_levels levels;
    nas_probes probes = {0};

    for (int t = 0; t < 60; t++)
        level[t] = t % 20 < 12 ? 1.3 : 1.0; /* slow most of the time */
    run(&levels, &probes, level, 60);
    cr_assert_float_eq(nas_probes__ms(&probes, &levels), 4.0, 1e-12);
    nas_levels__fini(&levels);
    nas_probes__fini(&probes);
}

/* A probe with a slow turn on either side was not run at a known speed. */
Test(latency_probe, times_beside_a_disturbed_turn_do_not_count)
{
    const double level[] = {1, 1, 1, 1, 1, 1, 1, 1, 1.5, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    nas_levels levels;
    nas_probes probes = {0};

    run(&levels, &probes, level, 18);
    for (int i = 0; i < probes.count; i++) {
        const int turn = probes.times[i].turn;

        probes.times[i].ms = turn == 8 || turn == 9 ? 100.0 : 4.0 + 0.01 * turn;
    }
    /* What is left: 0 to 18 without 8 and 9, of which the middle is 10. */
    cr_assert_float_eq(nas_probes__ms(&probes, &levels), 4.1, 1e-9);
    nas_levels__fini(&levels);
    nas_probes__fini(&probes);
}

Test(latency_probe, where_few_count_all_are_taken_to_level_one)
{
    double level[21];
    nas_levels levels;
    nas_probes probes = {0};

    for (int t = 0; t < 21; t++)
        level[t] = t % 5 < 4 ? 1.4 : 1.0; /* no two turns in a row are fast */
    run(&levels, &probes, level, 21);
    probes.count = 0;
    for (int t = 1; t < 20; t += 5) /* in the slow stretches alone */
        REQUIRE_OK(nas_probes__add(&probes, t, 4.0 * 1.4, &err));
    cr_assert_float_eq(nas_probes__ms(&probes, &levels), 4.0, 0.02);
    nas_levels__fini(&levels);
    nas_probes__fini(&probes);
}

Test(latency_probe, without_a_time_there_is_none)
{
    nas_levels levels = {.slots = 1, .keys = 1, .limit = 1.06};
    nas_probes probes = {0};

    cr_assert(isnan(nas_probes__ms(&probes, &levels)));
    cr_assert_eq(nas_probes__change(&probes), 0.0);
}

Test(latency_probe, forgotten_turns_take_their_probes_along)
{
    nas_probes probes = {0};

    for (int t = 0; t <= 6; t++)
        REQUIRE_OK(nas_probes__add(&probes, t, t, &err));
    nas_probes__forget(&probes, 3);
    cr_assert_eq(probes.count, 3);
    cr_assert_eq(probes.times[0].turn, 1); /* after the first turn that is kept */
    cr_assert_eq(probes.times[0].ms, 4.0);
    cr_assert_eq(probes.times[2].turn, 3);
    cr_assert_eq(probes.times[2].ms, 6.0);
    nas_probes__fini(&probes);
}

/* Minute 1 against minute 10. */
Test(latency_probe, machine_that_does_not_get_as_fast_again_has_changed)
{
    double ms[90];

    for (int t = 0; t < 90; t++)
        ms[t] = t < 40 ? 4.0 : 5.0;
    cr_assert_float_eq(nas_levels__change(ms, 90), 0.25, 1e-12);
    for (int t = 0; t < 90; t++)
        ms[t] = t % 30 < 22 ? 5.0 : 4.0; /* slow most of the time, but at last as at first */
    cr_assert_eq(nas_levels__change(ms, 90), 0.0);
    cr_assert_eq(nas_levels__change(ms + 30, 23), 0.0, "too few to tell");
}
