/* The table in memory and as text. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "latency/table/table.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

TestSuite(latency_table, .init = scratch_init, .fini = scratch_fini);

static nas_err err;

static nas_latency_stat stat_of(double mean)
{
    return (nas_latency_stat){.count = 10, .mean = mean, .std = 0.5, .median = NAN, .p95 = NAN};
}

/* 1000 entries of random doubles: many need all 17 digits. */
static nas_latency_table *random_table(void)
{
    nas_latency_table *table = nas_latency_table_new(&err);
    nas_rng rng;

    cr_assert_not_null(table);
    nas_rng_init(&rng, 7, "test", 0);
    for (int i = 0; i < 1000; i++) {
        char key[32];
        const double scale = exp(30.0 * nas_rng_uniform(&rng) - 20.0);
        const nas_latency_stat stat = {
            .count = nas_rng_below(&rng, 1000),
            .mean = scale * nas_rng_uniform(&rng),
            .std = scale * nas_rng_uniform(&rng),
            .median = scale * nas_rng_uniform(&rng),
            .p95 = i % 2 ? scale * nas_rng_uniform(&rng) : NAN,
        };

        snprintf(key, sizeof key, "expanded_conv-%u-%d", nas_rng_u32(&rng), i);
        REQUIRE_OK(nas_latency_table_add(table, key, &stat, &err));
    }
    table->meta = (nas_latency_meta){
        .device = "A \"quoted\": #cpu \\ 100 %",
        .engine = "engine 1",
        .conditions = "- x: [y]",
        .created = "2026-11-22T10:11:03.123Z",
        .space = "tiny",
        .cores = 2,
        .threads = 1,
        .batch = 1,
        .image_size = 32,
        .probe = "68b6",
        .probe_ms = 1.0 / 3.0,
    };
    return table;
}

static void expect_same_bits(double a, double b)
{
    cr_assert((isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0, "%a is not %a", a, b);
}

Test(latency_table, finds_what_was_added)
{
    nas_latency_table *table = random_table();

    for (int i = 0; i < table->count; i++)
        cr_assert_eq(nas_latency_table_find(table, table->rows[i].key), &table->rows[i].stat);
    cr_assert_null(nas_latency_table_find(table, "expanded_conv"));
    cr_assert_null(nas_latency_table_find(table, ""));
    nas_latency_table_free(table);
    nas_latency_table_free(NULL);
}

Test(latency_table, a_saved_table_loads_to_the_same_bits)
{
    nas_latency_table *table = random_table(), *again;
    char digest[NAS_DIGEST_SIZE], digest_again[NAS_DIGEST_SIZE];

    REQUIRE_OK(nas_latency_table_save(table, scratch("t.yaml"), &err));
    REQUIRE_OK(nas_latency_table_load(&again, scratch("t.yaml"), &err));
    cr_assert_eq(again->count, table->count);
    for (int i = 0; i < table->count; i++) {
        const nas_latency_stat *a = &table->rows[i].stat;
        const nas_latency_stat *b = nas_latency_table_find(again, table->rows[i].key);

        cr_assert_not_null(b, "%s is lost", table->rows[i].key);
        cr_assert_eq(a->count, b->count);
        expect_same_bits(a->mean, b->mean);
        expect_same_bits(a->std, b->std);
        expect_same_bits(a->median, b->median);
        expect_same_bits(a->p95, b->p95);
    }
    cr_assert_arr_eq(&again->meta, &table->meta, sizeof table->meta);
    REQUIRE_OK(nas_latency_table_digest(table, digest, &err));
    REQUIRE_OK(nas_latency_table_digest(again, digest_again, &err));
    cr_assert_str_eq(digest, digest_again);
    again->rows[3].stat.mean = nextafter(again->rows[3].stat.mean, 1e6);
    REQUIRE_OK(nas_latency_table_digest(again, digest_again, &err));
    cr_assert_str_neq(digest, digest_again);
    nas_latency_table_free(again);
    nas_latency_table_free(table);
}

Test(latency_table, the_text_is_sorted_and_as_documented)
{
    nas_latency_table *table = nas_latency_table_new(&err);
    const nas_latency_stat b = {1, 2.0, 1e-5, NAN, NAN}, a = {30, 0.1, NAN, 0.25, 1.5};
    char *text;
    size_t size;

    REQUIRE_OK(nas_latency_table_add(table, "B-input:8x8x3-output:10", &b, &err));
    REQUIRE_OK(nas_latency_table_add(table, "A", &a, &err));
    table->meta.batch = 1;
    REQUIRE_OK(nas_latency_table_text(table, &text, &size, &err));
    cr_assert_eq(size, strlen(text));
    cr_assert_str_eq(text, "onepath:\n  format: 1\n  device: \"\"\n  cores: 0\n  threads: 0\n"
                           "  batch: 1\n  image_size: 0\n  engine: \"\"\n  conditions: \"\"\n"
                           "  created: \"\"\n  space: \"\"\n"
                           "A:\n  count: 30\n  mean: 0.1\n  median: 0.25\n  p95: 1.5\n"
                           "B-input:8x8x3-output:10:\n  count: 1\n  mean: 2\n  std: 1.0e-05\n"
                           "...\n");
    free(text);
    nas_latency_table_free(table);
}

Test(latency_table, refuses_what_is_no_measurement)
{
    nas_latency_table *table = nas_latency_table_new(&err);
    const double bad[] = {-1.0, NAN, INFINITY, 1.1e6};
    nas_latency_stat stat = stat_of(1.0);

    for (int i = 0; i < 4; i++) {
        stat.mean = bad[i];
        cr_assert_eq(nas_latency_table_add(table, "a", &stat, &err), NAS_E_DATA);
        cr_assert_not_null(strstr(err.message, "mean"), "%s", err.message);
    }
    stat = stat_of(1.0);
    stat.p95 = -1.0;
    cr_assert_eq(nas_latency_table_add(table, "a", &stat, &err), NAS_E_DATA);
    stat = stat_of(1.0);
    stat.count = -1;
    cr_assert_eq(nas_latency_table_add(table, "a", &stat, &err), NAS_E_DATA);
    cr_assert_eq(table->count, 0);
    nas_latency_table_free(table);
}

Test(latency_table, refuses_what_is_no_key)
{
    nas_latency_table *table = nas_latency_table_new(&err);
    const nas_latency_stat stat = stat_of(1.0);
    const char *const bad[] = {"", "a b", "1", "-a", "a\n", "a#b", "a\x80", "[a", "&a"};
    char longest[NAS_LATENCY_KEY_SIZE + 1];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(nas_latency_table_add(table, bad[i], &stat, &err), NAS_E_DATA, "%s", bad[i]);
    memset(longest, 'a', sizeof longest);
    longest[NAS_LATENCY_KEY_SIZE] = '\0';
    cr_assert_eq(nas_latency_table_add(table, longest, &stat, &err), NAS_E_DATA);
    longest[NAS_LATENCY_KEY_SIZE - 1] = '\0';
    REQUIRE_OK(nas_latency_table_add(table, longest, &stat, &err));
    cr_assert_eq(nas_latency_table_add(table, longest, &stat, &err), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "twice"));
    nas_latency_table_free(table);
}

Test(latency_table, knows_its_dialect_and_image_size)
{
    nas_latency_table *table = nas_latency_table_new(&err);
    const nas_latency_stat stat = stat_of(1.0);

    cr_assert_eq(nas_latency_table_image_size(table), 0);
    REQUIRE_OK(nas_latency_table_add(table, "Conv-input:96x96x3-output:48x48x8", &stat, &err));
    REQUIRE_OK(nas_latency_table_add(table, "Logits-input:3x3x8-output:1000", &stat, &err));
    cr_assert_eq(nas_latency_table_image_size(table), 96);
    cr_assert_eq(table->grammar, NAS_LATENCY_RATIO);
    REQUIRE_OK(nas_latency_table_add(table, "expanded_conv-se:0-hs:0", &stat, &err));
    cr_assert_eq(table->grammar, NAS_LATENCY_MID);
    table->meta.image_size = 64;
    cr_assert_eq(nas_latency_table_image_size(table), 64);
    nas_latency_table_free(table);
}

Test(latency_table, what_is_not_ascii_in_the_meta_is_replaced)
{
    nas_latency_table *table = random_table(), *again;

    strcpy(table->meta.device, "\t\x7f caf\xc3\xa9 \xff");
    REQUIRE_OK(nas_latency_table_save(table, scratch("t.yaml"), &err));
    REQUIRE_OK(nas_latency_table_load(&again, scratch("t.yaml"), &err));
    cr_assert_str_eq(again->meta.device, "?? caf?? ?");
    nas_latency_table_free(again);
    nas_latency_table_free(table);
}

Test(latency_table, a_failed_save_leaves_the_old_file)
{
    nas_latency_table *table = random_table();

    scratch_put("file", "old");
    cr_assert_eq(nas_latency_table_save(table, scratch("file/t.yaml"), &err), NAS_E_IO);
    scratch_expect("file", "old");
    nas_latency_table_free(table);
}

Test(latency_table, a_note_leaves_whole_phrases_of_the_conditions)
{
    nas_latency_meta meta = {.conditions = "governor unknown, load 0.1"};
    char what[251];

    nas_latency_meta_note(&meta, "scaled");
    cr_expect_str_eq(meta.conditions, "scaled; governor unknown, load 0.1");
    memset(what, 'x', sizeof what - 1);
    what[227] = '\0';
    nas_latency_meta_note(&meta, what);
    cr_expect_str_eq(meta.conditions + 227, "; scaled; governor unknown", "load does not fit");
    what[227] = 'x';
    what[250] = '\0';
    nas_latency_meta_note(&meta, what);
    cr_expect_str_eq(meta.conditions, what, "nothing fits");
}
