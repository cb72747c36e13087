/* Tables for image sizes that were not measured. */
#include "latency/scale.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "latency/compare.h"
#include "tests/latency/published.h"
#include "tests/support/table.h"

TestSuite(latency_scale);

static nas_err err;

static nas_space *load(const char *name, int size)
{
    nas_space *space;

    REQUIRE_OK(nas_space_load(&space, name, &err));
    REQUIRE_OK(nas_space_fit(space, size, space->channels, space->classes, &err));
    return space;
}

/* A device whose time is work alone: a nanosecond for each multiply-accumulate, and for each pixel
 * of what has none. */
static nas_latency_table *table_of_work(const nas_space *space)
{
    nas_latency_table *table = test_table(space);
    nas_latency_entry *entries;
    int count;

    REQUIRE_OK(nas_latency_space_entries(&entries, &count, space, table->grammar, 0, &err));
    for (int i = 0; i < count; i++) {
        const nas_op_cost cost = nas_op_cost_at(&entries[i].op, entries[i].h, entries[i].w);
        const double work =
            cost.macs > 0 ? (double)cost.macs : (double)entries[i].h * entries[i].w;

        for (int k = 0; k < table->count; k++)
            if (strcmp(table->rows[k].key, entries[i].key) == 0)
                table->rows[k].stat = (nas_latency_stat){9, 1e-6 * work, 0.5, 0.5, 0.5};
    }
    free(entries);
    table->meta.image_size = space->image_size;
    return table;
}

/* The mid dialect has an entry for the pooling, which has no multiply-accumulates. */
Test(latency_scale, a_device_whose_time_is_work_is_predicted_exactly)
{
    nas_space *small = load("ofa-mbv3-1.0", 96), *large = load("ofa-mbv3-1.0", 144);
    nas_latency_table *from = table_of_work(small), *truth = table_of_work(large), *scaled;
    nas_latency_diff diff;

    strcpy(from->meta.device, "a phone");
    strcpy(from->meta.conditions, "cool");
    REQUIRE_OK(nas_latency_scale(&scaled, from, large, &err));
    REQUIRE_OK(nas_latency_diff_init(&diff, truth, scaled, &err));
    cr_assert_eq(diff.common, truth->count);
    cr_assert_eq(diff.only_a + diff.only_b, 0);
    for (int i = 0; i < diff.common; i++)
        cr_assert_float_eq(diff.changes[i].ratio, 1.0, 1e-12, "%s", diff.changes[i].key);
    cr_assert_eq(nas_latency_table_image_size(scaled), 144);
    cr_assert_str_eq(scaled->meta.device, "a phone");
    cr_assert_str_eq(scaled->meta.conditions, "scaled from 96 px by work; cool");
    for (int i = 0; i < scaled->count; i++)
        if (nas_latency_table_find(from, scaled->rows[i].key) == NULL)
            cr_assert(scaled->rows[i].stat.count == 0 && isnan(scaled->rows[i].stat.std));
    nas_latency_diff_fini(&diff);
    nas_latency_table_free(scaled);
    nas_latency_table_free(truth);
    nas_latency_table_free(from);
    nas_space_free(small);
    nas_space_free(large);
}

Test(latency_scale, an_entry_for_the_size_itself_is_taken_as_it_is)
{
    nas_space *small = load("tiny", 16), *large = load("tiny", 32);
    nas_latency_table *from = table_of_work(small), *truth = table_of_work(large), *scaled;
    const nas_latency_stat known = {.count = 3, .mean = 77, .std = 1, .median = 2, .p95 = 3};
    const char *key = truth->rows[1].key;

    REQUIRE_OK(nas_latency_table_add(from, key, &known, &err));
    REQUIRE_OK(nas_latency_scale(&scaled, from, large, &err));
    cr_assert_eq(nas_latency_table_find(scaled, key)->mean, 77.0);
    cr_assert_eq(nas_latency_table_find(scaled, key)->count, 3);
    nas_latency_table_free(scaled);
    nas_latency_table_free(truth);
    nas_latency_table_free(from);
    nas_space_free(small);
    nas_space_free(large);
}

Test(latency_scale, what_the_table_lacks_is_named)
{
    nas_space *space = load("tiny", 32);
    nas_latency_table *table = nas_latency_table_new(&err), *scaled = NULL;
    const nas_latency_stat stat = {.mean = 1};

    REQUIRE_OK(nas_latency_table_add(table, "x", &stat, &err));
    cr_assert_eq(nas_latency_scale(&scaled, table, space, &err), NAS_E_CONFIG);
    table->meta.image_size = 16;
    cr_assert_eq(nas_latency_scale(&scaled, table, space, &err), NAS_E_INFEASIBLE);
    cr_assert_not_null(strstr(err.message, "-input:16x16x3-"), "%s", err.message);
    cr_assert_null(scaled);
    nas_latency_table_free(table);
    nas_space_free(space);
}

/* The published tables of one phone judge it: of networks of the next smaller size the scaled
 * table is on average 0.3 %, at most 0.7 % off (docs/results.md). */
Test(latency_scale, the_published_tables_of_neighbouring_sizes_predict_each_other)
{
    nas_space *space = load("ofa-mbv3-1.2", 208);
    nas_latency_table *from = NULL, *truth = NULL, *scaled;
    nas_latency_ratio ratio;

    REQUIRE_OK(nas_latency_table_load(&from, published("latency/note10/224.yaml"), &err));
    REQUIRE_OK(nas_latency_table_load(&truth, published("latency/note10/208.yaml"), &err));
    REQUIRE_OK(nas_latency_scale(&scaled, from, space, &err));
    REQUIRE_OK(nas_latency_diff_networks(&ratio, truth, scaled, space, 200, 1, &err));
    cr_assert_float_eq(ratio.mean, 1.0, 0.004);
    cr_assert(ratio.least > 0.993 && ratio.most < 1.004, "%g %g", ratio.least, ratio.most);
    cr_assert_gt(ratio.spearman, 0.999);
    nas_latency_table_free(scaled);
    nas_latency_table_free(truth);
    nas_latency_table_free(from);
    nas_space_free(space);
}
