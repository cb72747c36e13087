/* Several tables, one an image size. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "latency/table/set.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

TestSuite(latency_set, .init = scratch_init, .fini = scratch_fini);

static nas_err err;

static const char *put_table(const char *name, int image_size)
{
    char text[128];

    snprintf(text, sizeof text, "Conv-input:%dx%dx3-output:8x8x8: {mean: %d}\n", image_size,
             image_size, image_size);
    return scratch_put(name, text);
}

static void expect_pick(const nas_latency_set *set, int image_size)
{
    const nas_latency_table *table;

    REQUIRE_OK(nas_latency_set_pick(&table, set, image_size, &err));
    cr_assert_eq(nas_latency_table_image_size(table), image_size);
}

Test(latency_set, a_folder_gives_the_table_of_each_image_size)
{
    nas_latency_set *set;
    const nas_latency_table *table;

    mkdir(scratch("d"), 0700);
    put_table("d/b.yaml", 160);
    put_table("d/a.yaml", 224);
    put_table("d/c.yaml", 192);
    scratch_put("d/README.md", "not a table");
    REQUIRE_OK(nas_latency_set_load(&set, scratch("d"), &err));
    cr_assert_eq(set->count, 3);
    expect_pick(set, 160);
    expect_pick(set, 192);
    expect_pick(set, 224);
    cr_assert_eq(nas_latency_set_pick(&table, set, 200, &err), NAS_E_INFEASIBLE);
    cr_assert_not_null(strstr(err.message, "200"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "160, 192, 224"), "%s", err.message);
    cr_assert_not_null(strstr(err.hint, "nas profile"));
    nas_latency_set_free(set);
}

Test(latency_set, a_list_gives_the_same)
{
    nas_latency_set *set;
    char list[600];

    snprintf(list, sizeof list, "%s,%s", put_table("x", 96), put_table("y", 64));
    REQUIRE_OK(nas_latency_set_load(&set, list, &err));
    cr_assert_eq(set->count, 2);
    expect_pick(set, 64);
    expect_pick(set, 96);
    nas_latency_set_free(set);
}

Test(latency_set, one_table_serves_every_size)
{
    nas_latency_set *set;
    const nas_latency_table *table;

    REQUIRE_OK(nas_latency_set_load(&set, put_table("a,b.yaml", 96), &err));
    REQUIRE_OK(nas_latency_set_pick(&table, set, 32, &err));
    cr_assert_eq(table, set->tables[0]);
    nas_latency_set_free(set);
    nas_latency_set_free(NULL);
}

Test(latency_set, mistakes_are_named)
{
    nas_latency_set *set;
    char list[600];

    snprintf(list, sizeof list, "%s,%s", put_table("x", 96), put_table("y", 96));
    cr_assert_eq(nas_latency_set_load(&set, list, &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "96 pixels"), "%s", err.message);
    snprintf(list, sizeof list, "%s,%s", put_table("x", 96), scratch("absent"));
    cr_assert_eq(nas_latency_set_load(&set, list, &err), NAS_E_IO);
    cr_assert_not_null(strstr(err.message, "absent"));
    mkdir(scratch("empty"), 0700);
    cr_assert_eq(nas_latency_set_load(&set, scratch("empty"), &err), NAS_E_DATA);
    cr_assert_eq(nas_latency_set_load(&set, "", &err), NAS_E_IO);
}

/* Times of two devices, or of two ways to run one, are not one set. */
Test(latency_set, tables_that_were_measured_differently_are_not_mixed)
{
    static const char *const heads[] = {"device: b, threads: 2, batch: 1",
                                        "device: a, threads: 4, batch: 1",
                                        "device: a, threads: 2, batch: 8"};
    static const char *const says[] = {"another device (b)", "with 4 threads",
                                       "with 8 images a batch"};
    nas_latency_set *set;
    char text[200], list[600];

    scratch_put("x", "onepath: {format: 1, device: a, threads: 2, batch: 1}\n"
                     "Conv-input:96x96x3-output:8x8x8: {mean: 1}\n...\n");
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text,
                 "onepath: {format: 1, %s}\nConv-input:64x64x3-output:8x8x8: {mean: 1}\n...\n",
                 heads[i]);
        snprintf(list, sizeof list, "%s,%s", scratch("x"), scratch_put("y", text));
        cr_assert_eq(nas_latency_set_load(&set, list, &err), NAS_E_CONFIG, "%s", heads[i]);
        cr_assert_not_null(strstr(err.message, says[i]), "%s", err.message);
    }
    snprintf(list, sizeof list, "%s,%s", scratch("x"), put_table("z", 64)); /* it says nothing */
    REQUIRE_OK(nas_latency_set_load(&set, list, &err));
    nas_latency_set_free(set);
}
