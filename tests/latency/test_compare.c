/* Two tables against each other: entries, ratios, networks. */
#include "latency/compare.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/latency/published.h"
#include "tests/support/table.h"

TestSuite(latency_compare);

static nas_err err;

static nas_latency_table *parse(const char *text)
{
    nas_latency_table *table = NULL;

    REQUIRE_OK(nas_latency_table_parse(&table, text, strlen(text), "t.yaml", &err));
    return table;
}

Test(latency_compare, entries_are_paired_by_key_and_their_ratios_summed_up)
{
    nas_latency_table *a = parse("w: {mean: 1}\nx: {mean: 2}\ny: {mean: 3}\nz: {mean: 0}\n");
    nas_latency_table *b = parse("z: {mean: 1}\ny: {mean: 24}\nx: {mean: 4}\nv: {mean: 9}\n");
    nas_latency_diff diff;

    REQUIRE_OK(nas_latency_diff_init(&diff, a, b, &err));
    cr_assert_eq(diff.common, 3);
    cr_assert_eq(diff.only_a, 1);
    cr_assert_str_eq(diff.missing[0], "w");
    cr_assert_eq(diff.only_b, 1);
    cr_assert_str_eq(diff.missing[1], "v");
    cr_assert_str_eq(diff.changes[0].key, "y");
    cr_assert_eq(diff.changes[0].ratio, 8.0);
    cr_assert_eq(diff.changes[1].ratio, 2.0);
    cr_assert_str_eq(diff.changes[2].key, "z");
    cr_assert(isnan(diff.changes[2].ratio), "0 ms has no ratio");
    cr_assert_float_eq(diff.ratio.mean, 4.0, 1e-12); /* of 2 and 8 */
    cr_assert_float_eq(diff.ratio.spread, exp(log(2.0) * sqrt(2.0)), 1e-12);
    cr_assert_float_eq(diff.ratio.least, 2.0, 1e-12);
    cr_assert_float_eq(diff.ratio.median, 4.0, 1e-12);
    cr_assert_float_eq(diff.ratio.most, 8.0, 1e-12);
    cr_assert_float_eq(diff.ratio.spearman, 1.0, 1e-12); /* 0, 2, 3 and 1, 4, 24 */
    cr_assert(isnan(diff.level), "no table tells its speed");
    nas_latency_diff_fini(&diff);
    nas_latency_table_free(a);
    nas_latency_table_free(b);
}

static const char monday[] = "onepath: {format: 1, threads: 2, probe: p, probe_ms: 10}\n"
                             "x: {mean: 1}\ny: {mean: 2}\n...\n";

static double level_with(const char *head)
{
    char text[200];
    nas_latency_diff diff;

    snprintf(text, sizeof text, "onepath: {format: 1, %s}\nx: {mean: 1.2}\ny: {mean: 2.4}\n...\n",
             head);
    nas_latency_table *a = parse(monday), *b = parse(text);
    REQUIRE_OK(nas_latency_diff_init(&diff, a, b, &err));
    const double level = diff.level;
    const nas_latency_ratio left = nas_latency_ratio_over(&diff.ratio, level);

    if (!isnan(level)) {
        cr_assert_float_eq(left.mean * level, diff.ratio.mean, 1e-12);
        cr_assert_float_eq(left.most * level, diff.ratio.most, 1e-12);
        cr_assert_float_eq(left.median * level, 1.2, 1e-12);
        cr_assert_eq(left.spread, diff.ratio.spread);
    }
    nas_latency_diff_fini(&diff);
    nas_latency_table_free(a);
    nas_latency_table_free(b);
    return level;
}

/* The same machine at another hour: all of the difference is the level. */
Test(latency_compare, level_is_told_by_the_probe_of_the_same_network_and_threads)
{
    cr_assert_float_eq(level_with("threads: 2, probe: p, probe_ms: 12"), 1.2, 1e-12);
    cr_assert(isnan(level_with("threads: 2, probe: q, probe_ms: 12")));
    cr_assert(isnan(level_with("threads: 1, probe: p, probe_ms: 12")));
    cr_assert(isnan(level_with("threads: 2, probe_ms: 12")));
    cr_assert(isnan(level_with("threads: 2, probe: p")));
}

Test(latency_compare, tables_without_common_entries_have_no_ratio)
{
    nas_latency_table *a = parse("w: {mean: 1}\n"), *b = parse("v: {mean: 9}\n");
    nas_latency_diff diff;

    REQUIRE_OK(nas_latency_diff_init(&diff, a, b, &err));
    cr_assert_eq(diff.common, 0);
    cr_assert(isnan(diff.ratio.mean) && isnan(diff.ratio.spearman));
    nas_latency_diff_fini(&diff);
    nas_latency_table_free(a);
    nas_latency_table_free(b);
}

Test(latency_compare, networks_are_priced_by_both_tables)
{
    nas_space *space;
    nas_latency_ratio ratio;

    REQUIRE_OK(nas_space_load(&space, "tiny", &err));
    nas_latency_table *a = test_table(space), *b = test_table(space);
    for (int i = 0; i < b->count; i++)
        b->rows[i].stat.mean *= 2.0; /* exact: ties stay ties */
    REQUIRE_OK(nas_latency_diff_networks(&ratio, a, b, space, 50, 1, &err));
    cr_assert_float_eq(ratio.mean, 2.0, 1e-9);
    cr_assert_float_eq(ratio.spread, 1.0, 1e-9);
    cr_assert_float_eq(ratio.spearman, 1.0, 1e-9);
    nas_latency_table *empty = parse("v: {mean: 9}\n");
    cr_assert_eq(nas_latency_diff_networks(&ratio, a, empty, space, 50, 1, &err),
                 NAS_E_INFEASIBLE);
    cr_assert_eq(strncmp(err.message, "table B: ", 9), 0, "%s", err.message);
    nas_latency_table_free(empty);
    nas_latency_table_free(a);
    nas_latency_table_free(b);
    nas_space_free(space);
}
