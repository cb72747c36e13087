/* Whatever a file holds: a table or one clear error with the line, never a crash. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "latency/table/table.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

TestSuite(latency_table_bad, .init = scratch_init, .fini = scratch_fini);

static nas_err err;

static nas_status parse(const char *text, size_t size)
{
    nas_latency_table *table = NULL;
    const nas_status status = nas_latency_table_parse(&table, text, size, "t.yaml", &err);

    cr_assert_eq(status == NAS_OK, table != NULL);
    nas_latency_table_free(table);
    return status;
}

static const struct {
    const char *text, *message; /* message: what must be said, with path and line */
} bad[] = {
    {"", "t.yaml:1: expected a latency table"},
    {"# only a comment\n", "expected a latency table"},
    {"a", "t.yaml:1: expected a mapping"},
    {"- a\n- b\n", "t.yaml:1: expected a mapping"},
    {"{}", "t.yaml:1: the table has no entries"},
    {"a: 3\n", "t.yaml:1: expected a mapping"},
    {"a: [1, 2]\n", "t.yaml:1: expected a mapping"},
    {"a:\n", "t.yaml:1: expected a mapping"},
    {"a:\n  count: 1\n", "mean is missing"},
    {"a:\n  mean: x\n", "t.yaml:2: a: mean: \"x\" is not a number"},
    {"a:\n  mean:\n", "t.yaml:2: a: mean: \"\" is not a number"},
    {"a:\n  mean: 1.5 ms\n", "t.yaml:2: a: mean: \"1.5 ms\" is not a number"},
    {"a:\n  mean: nan\n", "t.yaml:2: a: mean: \"nan\" is not a number"},
    {"a:\n  mean: .nan\n", "t.yaml:2: a: mean"},
    {"a:\n  mean: inf\n", "t.yaml:2: a: mean: \"inf\" is not a number"},
    {"a:\n  mean: .inf\n", "t.yaml:2: a: mean"},
    {"a:\n  mean: 1e999\n", "t.yaml:2: a: mean: 1e999 must be finite"},
    {"a:\n  mean: 0x10\n", "t.yaml:2: a: mean: \"0x10\" is not a number"},
    {"a:\n  mean: -1\n", "t.yaml:2: a: mean: -1 must be finite and not negative"},
    {"a:\n  mean: 1e7\n", "t.yaml:1: a: mean: 1e+07 ms is not in 0..1e+06"},
    {"a:\n  mean: 1\n  unit: us\n", "t.yaml:3: a: unit: \"us\", but latencies are in ms"},
    {"a:\n  unit: [s]\n  mean: 1\n", "t.yaml:2: expected a single value"},
    {"a:\n  unit: \"[s]\"\n  mean: 1\n", "t.yaml:2: a: unit: \"[s]\""},
    {"a:\n  mean: 1\n  std: -2\n", "t.yaml:3: a: std: -2"},
    {"a:\n  mean: 1\n  count: 1.5\n", "a: count: 1.5 is not a whole number"},
    {"a:\n  mean: 1\n  count: 1e16\n", "a: count"},
    {"a:\n  mean: 1\n  mean: 2\n", "t.yaml:3: a: mean appears twice"},
    {"a:\n  mean: [1]\n", "t.yaml:2: expected a single value"},
    {"a:\n  mean: {x: 1}\n", "t.yaml:2: expected a single value"},
    {"a:\n  mean: 1\n  other: [[[[1]]]]\n", "t.yaml:3: expected a single value"},
    {"a:\n  [x]: 1\n", "t.yaml:2: a: a field's name"},
    {"a: {mean: 1}\nb: {mean: 1}\na: {mean: 1}\n", "t.yaml:3: a: appears twice"},
    {"[a]: {mean: 1}\n", "t.yaml:1: a key must be a single word"},
    {"a b: {mean: 1}\n", "t.yaml:1: a key must be"},
    {"'': {mean: 1}\n", "t.yaml:1: a key must be"},
    {"\"a\\0b\": {mean: 1}\n", "t.yaml:1: a NUL character"},
    {"a: &x {mean: 1}\n", "t.yaml:1: anchors and tags"},
    {"a: &x {mean: 1}\nb: *x\n", "anchors and tags"},
    {"a: *x\n", "t.yaml:1: aliases"},
    {"a: {mean: !!float 1}\n", "t.yaml:1: anchors and tags"},
    {"&k a: {mean: 1}\n", "t.yaml:1: anchors and tags"},
    {"!x {a: {mean: 1}}\n", "t.yaml:1: anchors and tags"},
    {"a: {mean: 1}\n---\nb: {mean: 1}\n", "t.yaml:2: expected nothing after the table"},
    {"a: {mean: 1\n", "not a latency table"},
    {"a:\n\tmean: 1\n", "t.yaml:2: not a latency table"},
    {"a: {mean: 1}\n\x01\n", "not a latency table"},
    {"a: {mean: 1}\n\xff\xfe\n", "not a latency table"},
    {"onepath: {format: 1}\n...\n", "the table has no entries"},
    {"onepath: {}\na: {mean: 1}\n...\n", "t.yaml:1: onepath: format is missing"},
    {"onepath: {format: 2}\na: {mean: 1}\n...\n", "onepath: format 2 is newer"},
    {"onepath: {format: 1.5}\na: {mean: 1}\n...\n", "not a whole number"},
    {"onepath: {format: 1, cores: -1}\na: {mean: 1}\n...\n", "cores: -1 must be"},
    {"onepath: {format: 1, cores: 1e9}\na: {mean: 1}\n...\n", "cores: 1e9 is not"},
    {"onepath:\n  format: 1\n  created: 123456789012345678901234567890123\na: {mean: 1}\n...\n",
     "t.yaml:3: onepath: created: more than 31 bytes"},
    {"onepath:\n  format: 1\n  probe_ms: 0\na: {mean: 1}\n...\n",
     "t.yaml:3: onepath: probe_ms: 0 is not a time above 0"},
    {"onepath: {format: 1, probe_ms: -1}\na: {mean: 1}\n...\n", "probe_ms: -1 must be"},
    {"onepath: {format: 1, probe_ms: nan}\na: {mean: 1}\n...\n", "probe_ms: \"nan\" is not"},
    {"onepath: {format: 1, probe_ms: 1e999}\na: {mean: 1}\n...\n", "1e999 must be finite"},
    {"onepath: {format: 1, probe_ms: 2e6}\na: {mean: 1}\n...\n", "2e6 is not a time above 0"},
    {"onepath: {format: 1, probe_ms: 1, probe_ms: 1}\na: {mean: 1}\n...\n", "appears twice"},
    {"onepath: {format: 1, probe: 012345678901234567890123456789012}\na: {mean: 1}\n...\n",
     "onepath: probe: more than 32 bytes"},
    {"onepath: [1]\na: {mean: 1}\n...\n", "t.yaml:1: expected a mapping"},
    {"onepath: {format: 1}\na: {mean: 1}\n", "it does not end with"},
    {"onepath: {format: 1}\nonepath: {format: 1}\na: {mean: 1}\n...\n", "appears twice"},
};

Test(latency_table_bad, each_mistake_has_its_message_and_line)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(parse(bad[i].text, strlen(bad[i].text)), NAS_E_DATA, "%s", bad[i].text);
        cr_expect_not_null(strstr(err.message, bad[i].message), "\"%s\" gives \"%s\", not \"%s\"",
                           bad[i].text, err.message, bad[i].message);
    }
}

Test(latency_table_bad, other_fields_and_missing_count_are_fine)
{
    const char text[] = "a:\n  mean: 1\n  unit: \"[ms]\"\nb: {mean: 0, var: 4, count: 2}\n";
    nas_latency_table *table;

    REQUIRE_OK(nas_latency_table_parse(&table, text, sizeof text - 1, "t.yaml", &err));
    cr_assert_eq(nas_latency_table_find(table, "a")->count, 0);
    cr_assert_eq(nas_latency_table_find(table, "b")->std, 2.0);
    nas_latency_table_free(table);
}

Test(latency_table_bad, a_table_of_ours_cut_anywhere_is_refused)
{
    nas_latency_table *table = nas_latency_table_new(&err);
    const nas_latency_stat stat = {10, 1.2345678901234567, 0.25, 1.5, 2.5};
    char *text;
    size_t size;

    for (int i = 0; i < 3; i++)
        REQUIRE_OK(nas_latency_table_add(table, (const char *[]){"a", "b", "c"}[i], &stat, &err));
    snprintf(table->meta.device, sizeof table->meta.device, "a \"device\"");
    REQUIRE_OK(nas_latency_table_text(table, &text, &size, &err));
    REQUIRE_OK(parse(text, size));
    for (size_t cut = 0; cut < size - 1; cut++) /* only the last line's end may be missing */
        cr_assert_eq(parse(text, cut), NAS_E_DATA, "accepted after %zu of %zu bytes", cut, size);
    free(text);
    nas_latency_table_free(table);
}

Test(latency_table_bad, binary_garbage_is_refused)
{
    nas_rng rng;

    nas_rng_init(&rng, 1, "garbage", 0);
    for (int round = 0; round < 2000; round++) {
        char text[200];
        const size_t size = 1 + nas_rng_below(&rng, sizeof text - 1);

        for (size_t i = 0; i < size; i++)
            text[i] = (char)nas_rng_u32(&rng);
        cr_assert_eq(parse(text, size), NAS_E_DATA);
    }
}

Test(latency_table_bad, damaged_tables_never_crash)
{
    const char good[] = "onepath:\n  format: 1\n  device: \"x\"\na: {mean: 1.5, count: 3}\n"
                        "b:\n  mean: 2\n  std: 0.5\n...\n";
    static const char spice[] = "\"'{}[]:,&*!|>%@`#-?\n\t 0a\x80\xff";
    nas_rng rng;

    nas_rng_init(&rng, 2, "damage", 0);
    for (int round = 0; round < 20000; round++) {
        char text[sizeof good];

        memcpy(text, good, sizeof good);
        for (int hit = 0; hit < 3; hit++)
            text[nas_rng_below(&rng, sizeof good - 1)] =
                spice[nas_rng_below(&rng, sizeof spice)];
        const nas_status status = parse(text, sizeof good - 1);

        cr_assert(status == NAS_OK || (status == NAS_E_DATA && err.message[0]));
    }
}

Test(latency_table_bad, deep_nesting_is_refused_at_once)
{
    const size_t size = 1000000;
    char *text = malloc(size);

    cr_assert_not_null(text);
    memset(text, '[', size);
    cr_assert_eq(parse(text, size), NAS_E_DATA);
    memcpy(text, "a: {mean: ", 10);
    cr_assert_eq(parse(text, size), NAS_E_DATA);
    free(text);
}

Test(latency_table_bad, a_missing_file_and_a_folder_say_their_path)
{
    nas_latency_table *table;

    cr_assert_eq(nas_latency_table_load(&table, scratch("no.yaml"), &err), NAS_E_IO);
    cr_assert_not_null(strstr(err.message, "no.yaml"));
    cr_assert_neq(nas_latency_table_load(&table, scratch(""), &err), NAS_OK);
}

Test(latency_table_bad, hostile_names_are_escaped_in_messages)
{
    const char text[] = "\"\\e[31mred\": 1\n";

    cr_assert_eq(parse(text, sizeof text - 1), NAS_E_DATA);
    cr_assert_null(strchr(err.message, '\x1b'));
}
