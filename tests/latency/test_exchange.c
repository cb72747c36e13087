/* Tables for and from other programs: what comes back is what went out, and what is no table is
 * refused with the place. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "latency/table/exchange.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

TestSuite(latency_exchange, .init = scratch_init, .fini = scratch_fini);

static nas_err err;

static nas_latency_table *import(const char *path, double clock_mhz)
{
    nas_latency_table *table = NULL;

    REQUIRE_OK(nas_latency_table_import(&table, path, clock_mhz, &err));
    return table;
}

/* Writes `table` in a format under `name` and reads that again. */
static nas_latency_table *round_trip(const nas_latency_table *table, nas_latency_format format,
                                     const char *name)
{
    char *text;
    size_t size;

    REQUIRE_OK(nas_latency_table_export(table, format, &text, &size, &err));
    REQUIRE_OK(nas_file_write(scratch(name), text, size, &err));
    free(text);
    return import(scratch(name), 0.0);
}

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void expect_same(const nas_latency_table *a, const nas_latency_table *b, bool all)
{
    cr_assert_eq(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        const nas_latency_stat *x = &a->rows[i].stat;
        const nas_latency_stat *y = nas_latency_table_find(b, a->rows[i].key);

        cr_assert_not_null(y, "%s is lost", a->rows[i].key);
        cr_assert(x->count == y->count && x->mean == y->mean && same(x->std, y->std), "%s",
                  a->rows[i].key);
        cr_assert(!all || (same(x->median, y->median) && same(x->p95, y->p95)), "%s",
                  a->rows[i].key);
    }
}

static const char own[] =
    "Conv-input:4x4x3-output:4x4x8: {count: 7, mean: 0.1, std: 0.30000000000000004, median: 1e-7,"
    " p95: 3}\n"
    "Conv_1-input:4x4x8-output:4x4x16: {mean: 1e-05}\n";

Test(latency_exchange, csv_keeps_every_bit)
{
    nas_latency_table *table = import(scratch_put("t.yaml", own), 0.0);
    nas_latency_table *again = round_trip(table, NAS_LATENCY_CSV, "t.csv");

    expect_same(table, again, true);
    scratch_expect("t.csv", "key,count,mean,std,median,p95\n"
                            "Conv-input:4x4x3-output:4x4x8,7,0.1,0.30000000000000004,1.0e-07,3\n"
                            "Conv_1-input:4x4x8-output:4x4x16,,1.0e-05,,,\n");
    nas_latency_table_free(again);
    nas_latency_table_free(table);
}

Test(latency_exchange, csv_keeps_the_mark_of_an_emulator)
{
    nas_latency_table *table = import(scratch_put("t.yaml", own), 0.0);

    cr_assert_eq(table->meta.emulated, 0);
    table->meta.emulated = 1;
    nas_latency_table *again = round_trip(table, NAS_LATENCY_CSV, "t.csv");
    cr_assert_eq(again->meta.emulated, 1);
    expect_same(table, again, true);
    nas_latency_table_free(again);
    again = import(scratch_put("no.csv", "key,emulated,mean\nConv-input:4x4x3-output:4x4x8,0,1\n"),
                   0.0);
    cr_assert_eq(again->meta.emulated, 0);
    nas_latency_table_free(again);
    again = import(scratch_put("F.CSV", "key,emulated,mean\nA,False,1\nB,no,1\nC,,1\n"), 0.0);
    cr_assert_eq(again->meta.emulated, 0);
    nas_latency_table_free(again);
    again = import(scratch_put("y.csv", "key,emulated,mean\nA,,1\nB,TRUE,1\n"), 0.0);
    cr_assert_eq(again->meta.emulated, 1);
    nas_latency_table_free(again);
    nas_latency_table_free(table);
}

Test(latency_exchange, proxyless_tables_have_variances_and_keep_means_and_deviations)
{
    nas_latency_table *table = import(scratch_put("t.yaml", own), 0.0);
    nas_latency_table *again = round_trip(table, NAS_LATENCY_PROXYLESS, "p.yaml");

    expect_same(table, again, false);
    scratch_expect("p.yaml", "Conv-input:4x4x3-output:4x4x8:\n  count: 7\n  mean: 0.1\n"
                             "  var: 0.09000000000000002\n"
                             "Conv_1-input:4x4x8-output:4x4x16:\n  mean: 1.0e-05\n");
    nas_latency_table_free(again);
    nas_latency_table_free(table);
}

Test(latency_exchange, the_other_dialect_is_refused)
{
    nas_latency_table *table = import(scratch_put("t.yaml", own), 0.0);
    char *text;
    size_t size;

    cr_assert_eq(nas_latency_table_export(table, NAS_LATENCY_OFA, &text, &size, &err),
                 NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "dialect \"ratio\""));
    cr_assert_not_null(strstr(err.hint, "proxyless"));
    nas_latency_table_free(table);
}

/* The file's bytes are those of the published one, whose entries are sorted by key. */
Test(latency_exchange, a_published_ofa_table_comes_out_as_it_went_in)
{
    nas_latency_table *table = import(published("latency/note10/224.yaml"), 0.0);
    char *text, *before;
    size_t size, size_before;

    REQUIRE_OK(nas_latency_table_export(table, NAS_LATENCY_OFA, &text, &size, &err));
    REQUIRE_OK(nas_file_read(published("latency/note10/224.yaml"), 1 << 20, &before, &size_before,
                             &err));
    cr_assert_eq(size, size_before);
    cr_assert_eq(memcmp(text, before, size), 0);
    free(text);
    free(before);
    nas_latency_table_free(table);
}

Test(latency_exchange, a_published_proxyless_table_keeps_its_predictions)
{
    nas_latency_table *table = import(published("latency/pixel1_proxyless_mobile.yaml"), 0.0);
    nas_latency_table *yaml = round_trip(table, NAS_LATENCY_PROXYLESS, "p.yaml");
    nas_latency_table *csv = round_trip(table, NAS_LATENCY_CSV, "p.csv");

    cr_assert_eq(yaml->count, 72);
    expect_same(table, yaml, true);
    expect_same(table, csv, true);
    cr_assert_eq(csv->grammar, table->grammar);
    nas_latency_table_free(csv);
    nas_latency_table_free(yaml);
    nas_latency_table_free(table);
}

static const struct {
    const char *text, *message;
} bad[] = {
    {"", "t.csv:1: the head line must name the columns key and mean"},
    {"key\n", "t.csv:1: the head line"},
    {"key,mean\n", "the table has no entries"},
    {"key,mean,mean\na,1,2\n", "t.csv:1: column mean appears twice"},
    {"key,mean,emulated\na,1,maybe\n", "t.csv:2: emulated: \"maybe\" is neither yes nor no"},
    {"key,mean\na\n", "t.csv:2: 1 cells, but the head line names 2"},
    {"key,mean\na,1,2\n", "t.csv:2: more cells than the 2 columns"},
    {"key,mean\na,1\na,2\n", "t.csv:3: a: appears twice"},
    {"key,mean\na,\n", "t.csv:2: a: mean is missing"},
    {"key,mean\na,x\n", "t.csv:2: mean: \"x\" is not a number"},
    {"key,mean\na,nan\n", "t.csv:2: mean: \"nan\" is not a number"},
    {"key,mean\na,-1\n", "t.csv:2: mean: -1 must be finite and not negative"},
    {"key,mean\na,1e7\n", "t.csv:2: a: mean: 1e+07 ms is not in 0..1e+06"},
    {"key,mean,count\na,1,1.5\n", "t.csv:2: a: count: 1.5 is not a whole number"},
    {"key,mean,unit\na,1,ms\nb,1,us\n", "t.csv:3: unit: \"us\", but latencies are in ms"},
    {"key,mean\n,1\n", "t.csv:2: a key must be a letter"},
    {"key,mean\n=1+1,1\n", "t.csv:2: a key must be a letter"},
    {"key,mean\n\"a,1\n", "t.csv:2: quotes that the line does not close"},
    {"key,mean\n\"a", "t.csv:2: quotes that the line does not close"},
    {"key,mean\n\"a\"b,1\n", "t.csv:2: text behind closing quotes"},
    {"key;mean\na;1\n", "t.csv:1: the head line"},
};

Test(latency_exchange, csv_that_is_no_table_is_refused_with_its_line)
{
    nas_latency_table *table = NULL;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(nas_latency_table_parse_csv(&table, bad[i].text, strlen(bad[i].text), "t.csv",
                                                 &err),
                     NAS_E_DATA, "%s", bad[i].text);
        cr_assert_not_null(strstr(err.message, bad[i].message), "%s, not %s", err.message,
                           bad[i].message);
    }
    cr_assert_eq(nas_latency_table_parse_csv(&table, "key,mean\na\0b,1", 14, "t.csv", &err),
                 NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "t.csv:2: a NUL character"));
    char *wide = calloc(1, 4000);
    memset(wide, ',', 100);
    cr_assert_eq(nas_latency_table_parse_csv(&table, wide, 100, "t.csv", &err), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "more than 64 columns"));
    memset(wide, 'k', 4000);
    cr_assert_eq(nas_latency_table_parse_csv(&table, wide, 4000, "t.csv", &err), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "a cell of more than 511 bytes"));
    free(wide);
}

Test(latency_exchange, csv_of_a_spreadsheet_is_read)
{
    static const char text[] =
        "\xef\xbb\xbfnote,\"mean\",key\r\n\"a, \"\"b\"\"\",1.5,a\r\n\r\n,\"2\",b";
    nas_latency_table *table = NULL;

    REQUIRE_OK(nas_latency_table_parse_csv(&table, text, sizeof text - 1, "t.csv", &err));
    cr_assert_eq(table->count, 2);
    cr_assert_eq(nas_latency_table_find(table, "a")->mean, 1.5);
    cr_assert_eq(nas_latency_table_find(table, "b")->mean, 2.0);
    cr_assert(isnan(nas_latency_table_find(table, "b")->std));
    nas_latency_table_free(table);
}

/* ---- HAQ ---- */

/* An NPY file of format 1.0 in memory: the header, then 8 bytes a number, each 1000 * index. */
static size_t npy(char *out, const char *header, int numbers)
{
    const size_t length = strlen(header);
    char *at = out + 10 + length;

    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)(length & 255);
    out[9] = (char)(length >> 8);
    memcpy(out + 10, header, length);
    memset(at, 0, 8 * (size_t)numbers);
    for (int i = 0; i < numbers; i++) {
        at[8 * i] = (char)(1000 * i & 255);
        at[8 * i + 1] = (char)(1000 * i >> 8);
    }
    return 10 + length + 8 * (size_t)numbers;
}

Test(latency_exchange, haq_cycles_become_milliseconds_of_the_clock)
{
    nas_latency_table *table = NULL;
    char bytes[512];
    const size_t size =
        npy(bytes, "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3, 2), }  \n", 12);

    REQUIRE_OK(nas_latency_table_parse_haq(&table, bytes, size, "t.npy", 2.0, &err));
    cr_assert_eq(table->count, 12);
    cr_assert_eq(nas_latency_table_find(table, "HAQ-layer:0-weight:1-activation:1")->mean, 0.0);
    cr_assert_eq(nas_latency_table_find(table, "HAQ-layer:0-weight:2-activation:1")->mean, 1.0);
    cr_assert_eq(nas_latency_table_find(table, "HAQ-layer:1-weight:3-activation:2")->mean, 5.5);
    nas_latency_table_free(table);
}

/* Sums of HAQ's published table at 8 and at 2 bits everywhere, in cycles. */
Test(latency_exchange, the_published_haq_table_gives_the_published_sums)
{
    nas_latency_table *table = import(published("haq_qmobilenetv2_latency_table.npy"), 1.0);
    double at_8 = 0.0, at_2 = 0.0;
    char key[64];

    cr_assert_eq(table->count, 53 * 64);
    for (int layer = 0; layer < 53; layer++) {
        snprintf(key, sizeof key, "HAQ-layer:%d-weight:8-activation:8", layer);
        at_8 += nas_latency_table_find(table, key)->mean;
        snprintf(key, sizeof key, "HAQ-layer:%d-weight:2-activation:2", layer);
        at_2 += nas_latency_table_find(table, key)->mean;
    }
    cr_assert_float_eq(at_8, 39624.933, 1e-6); /* sums of 53 exact thousandths */
    cr_assert_float_eq(at_2, 7063.425, 1e-6);
    cr_assert_float_eq(
        nas_latency_table_find(table, "HAQ-layer:1-weight:1-activation:1")->mean, 401.408, 1e-9);
    nas_latency_table_free(table);
}

/* As numpy.save writes it: the numbers begin at a multiple of 64 bytes. */
Test(latency_exchange, an_array_of_haq_comes_out_as_it_went_in)
{
    static const char head[] =
        "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3, 2), }";
    static const double clocks[] = {1.0, 100.0, 0.3, 799.7, 1e6};
    char padded[128 - 10 + 1], bytes[512];
    nas_latency_table *table = NULL;
    char *again;
    size_t length;

    snprintf(padded, sizeof padded, "%-*s\n", (int)sizeof padded - 2, head);
    const size_t size = npy(bytes, padded, 12);
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        REQUIRE_OK(nas_latency_table_parse_haq(&table, bytes, size, "t.npy", clocks[i], &err));
        REQUIRE_OK(nas_latency_table_export_haq(table, clocks[i], &again, &length, &err));
        cr_assert_eq(length, size);
        cr_expect(memcmp(again, bytes, size) == 0, "%g MHz", clocks[i]);
        free(again);
        nas_latency_table_free(table);
    }
}

Test(latency_exchange, what_is_no_array_of_layers_and_bits_is_not_exported_as_haqs)
{
    static const struct {
        const char *text, *message;
    } wrong[] = {
        {"Conv_1-input:1x1x2-output:1x1x3: {mean: 1}", "Conv_1-input"},
        {"HAQ-layer:0-weight:0-activation:1: {mean: 1}", "weight:0"},
        {"HAQ-layer:0-weight:33-activation:1: {mean: 1}", "weight:33"},
        {"HAQ-layer:00-weight:1-activation:1: {mean: 1}", "layer:00"},
        {"HAQ-layer:0-weight:1-activation:1-x:1: {mean: 1}", "x:1"},
        {"HAQ-layer:123456-weight:1-activation:1: {mean: 1}", "layer:123456"},
        {"HAQ-layer:0-weight:1-activation:2: {mean: 1}", "lacks HAQ-layer:0-weight:1-activation:1"},
        {"HAQ-layer:65535-weight:32-activation:32: {mean: 1}", "lacks HAQ-layer:0-weight:1"},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        nas_latency_table *table;
        char *bytes;
        size_t size;

        REQUIRE_OK(nas_latency_table_parse(&table, wrong[i].text, strlen(wrong[i].text), "t", &err));
        cr_assert_eq(nas_latency_table_export_haq(table, 1.0, &bytes, &size, &err), NAS_E_CONFIG,
                     "%s", wrong[i].text);
        cr_expect(strstr(err.message, wrong[i].message) != NULL, "%s", err.message);
        nas_latency_table_free(table);
    }
}

static const struct {
    const char *header, *message;
    int numbers;
} bad_arrays[] = {
    {"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3, 2), }", "not an array of", 12},
    {"{'descr': '>i8', 'fortran_order': False, 'shape': (2, 3, 2), }", "not an array of", 12},
    {"{'descr': '<i8', 'fortran_order': True, 'shape': (2, 3, 2), }", "not an array of", 12},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (12,), }", "not an array of", 12},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3, 2, 1), }", "not an array of", 12},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3, 2), } x", "not an array of", 12},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (-2, 3, 2), }", "not an array of", 12},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (999999, 3, 2), }", "not an array", 12},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3, 2)", "not an array of", 12},
    {"{'descr': '<i8'", "not an array of", 12},
    {"", "not an array of", 0},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (0, 3, 2), }", "not a table of", 0},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (1, 33, 1), }", "not a table of", 33},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (99999, 32, 32), }", "not a table", 12},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3, 2), }", "its shape needs 96", 11},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3, 2), }", "its shape needs 96", 13},
};

Test(latency_exchange, arrays_that_are_no_table_of_haq_are_refused)
{
    nas_latency_table *table = NULL;
    char bytes[1024];

    for (size_t i = 0; i < sizeof bad_arrays / sizeof *bad_arrays; i++) {
        const size_t size = npy(bytes, bad_arrays[i].header, bad_arrays[i].numbers);

        cr_assert_eq(nas_latency_table_parse_haq(&table, bytes, size, "t.npy", 1.0, &err),
                     NAS_E_DATA, "%s", bad_arrays[i].header);
        cr_assert_not_null(strstr(err.message, bad_arrays[i].message), "%s: %s",
                           bad_arrays[i].header, err.message);
    }
    size_t size = npy(bytes, "{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1, 2), }", 2);
    bytes[size - 1] = (char)0x80; /* below zero */
    cr_assert_eq(nas_latency_table_parse_haq(&table, bytes, size, "t.npy", 1.0, &err), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "t.npy: HAQ-layer:0-weight:1-activation:2"));
    bytes[6] = 2; /* another version of the format */
    cr_assert_eq(nas_latency_table_parse_haq(&table, bytes, size, "t.npy", 1.0, &err), NAS_E_DATA);
    for (size_t cut = 0; cut < size; cut++) {
        char *exact = malloc(cut + 1); /* what is read behind the end is seen by the sanitizer */

        memcpy(exact, bytes, cut);
        cr_assert_eq(nas_latency_table_parse_haq(&table, exact, cut, "t.npy", 1.0, &err),
                     NAS_E_DATA);
        free(exact);
    }
}
