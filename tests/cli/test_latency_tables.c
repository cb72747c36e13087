/* nas latency show, diff, import and export from the outside. */
#include <sys/stat.h>

#include "tests/cli/nas.h"
#include "tests/support/tools.h"

TestSuite(cli_latency_tables, .init = nas_begin, .fini = nas_end, .timeout = 120);

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    cr_assert(json_is_number(value), "no number '%s'", key);
    return json_number_value(value);
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    cr_assert_not_null(value, "no string '%s'", key);
    return value;
}

/* The file's content, at most 64 KiB; valid until the next call. */
static const char *content(const char *path)
{
    static char found[65536];
    FILE *file = fopen(path, "r");

    cr_assert_not_null(file, "no %s", path);
    found[fread(found, 1, sizeof found - 1, file)] = '\0';
    fclose(file);
    return found;
}

static const char small[] = "Conv-input:4x4x3-output:4x4x8: {count: 9, mean: 0.5, std: 0.25}\n"
                            "Conv_1-input:4x4x8-output:4x4x9: {mean: 6}\n"
                            "Conv-input:4x4x3-output:4x4x16: {mean: 1.5, median: 1, p95: 2}\n";

Test(cli_latency_tables, show_sorts_by_cost_sums_by_type_and_tells_coverage)
{
    const char *table = make_table(), *other = nas_put("small.yaml", small);
    const json_t *shown = NAS_JSON("latency", "show", "--table", other);
    const json_t *rows = json_object_get(shown, "rows"), *types = json_object_get(shown, "types");

    cr_assert_eq(number(shown, "entries"), 3);
    cr_assert_eq(number(shown, "total_ms"), 8);
    cr_assert_str_eq(text(json_array_get(rows, 0), "key"), "Conv_1-input:4x4x8-output:4x4x9");
    cr_assert_eq(number(json_array_get(rows, 1), "mean_ms"), 1.5);
    cr_assert_eq(number(json_array_get(rows, 2), "std_ms"), 0.25);
    cr_assert(json_is_null(json_object_get(json_array_get(rows, 0), "std_ms")));
    cr_assert_eq(json_array_size(types), 2);
    cr_assert_str_eq(text(json_array_get(types, 1), "type"), "Conv");
    cr_assert_eq(number(json_array_get(types, 1), "entries"), 2);
    cr_assert_eq(number(json_array_get(types, 1), "sum_ms"), 2);
    cr_assert_eq(number(json_array_get(types, 0), "share"), 0.75);
    cr_assert_null(json_object_get(shown, "coverage"));

    shown = NAS_JSON("latency", "show", "--table", table, "--space", "tiny");
    const json_t *coverage = json_object_get(shown, "coverage");
    cr_assert(json_is_true(json_object_get(coverage, "covered")));
    cr_assert_eq(number(coverage, "needed"), number(shown, "entries"));
    shown = NAS_JSON("latency", "show", "--table", other, "--space", "tiny", "--image-size", "16");
    coverage = json_object_get(shown, "coverage");
    cr_assert_eq(number(coverage, "missing_count"), number(coverage, "needed"));
    cr_assert_eq(json_array_size(json_object_get(coverage, "missing")),
                 (size_t)number(coverage, "needed"));
    expect_exit(NAS("latency", "show", "--table", other), 0, NULL);
    expect_exit(NAS("latency", "show", "--table", nas_file("none.yaml")), 74, "none.yaml");
}

Test(cli_latency_tables, diff_tells_ratios_and_what_only_one_has)
{
    const char *a = nas_put("a.yaml", small);
    const char *b = nas_put("b.yaml", "Conv-input:4x4x3-output:4x4x8: {mean: 2}\n"
                                      "Conv-input:4x4x3-output:4x4x16: {mean: 1.5}\n"
                                      "Logits-input:1x1x9-output:10: {mean: 1}\n");
    const json_t *diff = NAS_JSON("latency", "diff", a, b);
    const json_t *first = json_array_get(json_object_get(diff, "changes"), 0);

    cr_assert_eq(number(diff, "common"), 2);
    cr_assert_str_eq(json_string_value(json_array_get(json_object_get(diff, "only_a"), 0)),
                     "Conv_1-input:4x4x8-output:4x4x9");
    cr_assert_str_eq(json_string_value(json_array_get(json_object_get(diff, "only_b"), 0)),
                     "Logits-input:1x1x9-output:10");
    cr_assert_eq(number(first, "ratio"), 4);
    cr_assert_eq(number(first, "a_ms"), 0.5);
    cr_assert_float_eq(number(json_object_get(diff, "ratio"), "mean"), 2, 1e-12);
    cr_assert_float_eq(number(json_object_get(diff, "ratio"), "spearman"), -1, 1e-12);
    cr_assert_null(json_object_get(diff, "networks"));

    const char *table = make_table();
    diff = NAS_JSON("latency", "diff", table, table, "--space", "tiny", "--samples", "20");
    const json_t *networks = json_object_get(diff, "networks");
    cr_assert_eq(number(networks, "samples"), 20);
    cr_assert_eq(number(networks, "mean"), 1);
    cr_assert_float_eq(number(networks, "spearman"), 1, 1e-12);
    expect_exit(NAS("latency", "diff", table, a, "--space", "tiny"), 3, "table B: ");
    expect_exit(NAS("latency", "diff", table), 2, "argument is missing");
    expect_exit(NAS("latency", "diff", table, nas_put("bad.yaml", "x")), 65, "bad.yaml:1");
}

Test(cli_latency_tables, a_table_is_scaled_to_another_image_size)
{
    const char *out = nas_file("24.yaml"), *table = make_table();
    const json_t *made = NAS_JSON("latency", "scale", "--table", table, "--space", "tiny",
                                  "--image-size", "24", "--out", out);
    char *all = NULL;

    cr_assert_eq(number(made, "image_size"), 24);
    cr_assert_eq(strncmp(text(made, "conditions"), "scaled from ", 12), 0);
    expect_exit(NAS("latency", "check", "--table", out, "--space", "tiny"), 0, NULL);
    /* of two tables the nearer one: from 24 to 24 nothing changes */
    cr_assert_gt(asprintf(&all, "%s,%s", table, out), 0);
    expect_exit(NAS("latency", "scale", "--table", all, "--space", "tiny", "--image-size", "24",
                    "--out", nas_file("again.yaml")),
                0, NULL);
    const json_t *diff = NAS_JSON("latency", "diff", out, nas_file("again.yaml"));
    cr_assert_eq(number(json_object_get(diff, "ratio"), "max"), 1);
    expect_exit(NAS("latency", "scale", "--table", all, "--space", "tiny", "--image-size", "24",
                    "--out", table), 2, "over what is read");
    cr_assert_eq(number(diff, "only_a_count") + number(diff, "only_b_count"), 0);
    expect_exit(NAS("latency", "scale", "--table", nas_put("small.yaml", small), "--space", "tiny",
                    "--image-size", "24", "--out", nas_file("none.yaml")),
                3, "lacks");
    cr_assert_null(fopen(nas_file("none.yaml"), "r"));
    free(all);
}

Test(cli_latency_tables, what_is_exported_is_imported_without_loss)
{
    const char *table = nas_put("a.yaml", small), *csv = nas_file("a.csv");
    const char *back = nas_file("back.yaml"), *yaml = nas_file("a-proxyless.yaml");

    cr_assert_eq(number(NAS_JSON("latency", "export", "--table", table, "--format", "csv", "--out",
                                 csv),
                        "entries"),
                 3);
    cr_assert_eq(strncmp(content(csv), "key,count,mean,std,median,p95\n", 30), 0);
    const json_t *made = NAS_JSON("latency", "import", csv, "--out", back, "--device", "A phone",
                                  "--image-size", "8");
    cr_assert_str_eq(text(made, "device"), "A phone");
    cr_assert_str_eq(text(made, "conditions"), "imported from a.csv");
    cr_assert_eq(number(made, "image_size"), 8);
    const json_t *diff = NAS_JSON("latency", "diff", table, back);
    cr_assert_eq(number(diff, "common"), 3);
    cr_assert_eq(number(json_object_get(diff, "ratio"), "min"), 1);
    cr_assert_eq(number(json_object_get(diff, "ratio"), "max"), 1);

    expect_exit(NAS("latency", "export", "--table", back, "--format", "proxyless", "--out", yaml),
                0, NULL);
    cr_assert_not_null(strstr(content(yaml), "  count: 9\n  mean: 0.5\n  var: 0.0625\n"));
    cr_assert_null(strstr(content(yaml), "onepath"), "the code of ProxylessNAS knows no section");
    expect_exit(NAS("latency", "export", "--table", back, "--format", "csv", "--out",
                    nas_file("b.csv")),
                0, NULL);
    char *before = strdup(content(csv));
    cr_assert_str_eq(content(nas_file("b.csv")), before);
    free(before);
    expect_exit(NAS("latency", "export", "--table", back, "--format", "ofa", "--out", yaml), 78,
                "--format proxyless");
    cr_assert_not_null(strstr(content(yaml), "var"), "the old file is intact");
}

Test(cli_latency_tables, nothing_is_written_over_what_is_read)
{
    const char *table = nas_put("a.yaml", small);

    expect_exit(NAS("latency", "export", "--table", table, "--format", "csv", "--out", table), 2,
                "over what is read");
    expect_exit(NAS("latency", "import", table, "--out", table), 2, "over what is read");
    expect_exit(NAS("latency", "scale", "--table", table, "--space", "tiny", "--image-size", "24",
                    "--out", table),
                2, "over what is read");
    const char *space = nas_put("space.json", "{}");
    expect_exit(NAS("profile", "--space", space, "--out", space), 2, "over what is read");
    expect_exit(NAS("profile", "--space", "tiny", "--out", nas_file("."), "--max-seconds", "0.1"),
                74, "not a regular file"); /* before anything is measured */
    cr_assert_str_eq(content(table), small);
}

Test(cli_latency_tables, what_is_no_table_is_refused_and_leaves_nothing)
{
    const char *out = nas_file("out.yaml");

    expect_exit(NAS("latency", "import", nas_put("bad.csv", "key,mean\nx,-1\n"), "--out", out), 65,
                "bad.csv:2: mean: -1");
    expect_exit(NAS("latency", "import", nas_put("cut.npy", "\x93NUMPY\x01"), "--out", out), 78,
                "--clock-mhz");
    expect_exit(NAS("latency", "import", nas_file("cut.npy"), "--out", out, "--clock-mhz", "100"),
                65, "cut.npy");
    expect_exit(NAS("latency", "import", "--out", out), 2, "argument is missing");
    cr_assert_null(fopen(out, "r"));
}

/* What HAQ's code does with the file: numpy.load, then table[layer][weight bits - 1][activation
 * bits - 1]. */
Test(cli_latency_tables, numpy_reads_an_array_of_haq_and_writes_the_same)
{
    const char *in = nas_file("in.npy"), *out = nas_file("out.npy"), *table = nas_file("haq.yaml");

    need_python("numpy");
    expect_exit(RUN_TOOL("/usr/bin/python3", "-c",
                         "import numpy, sys; numpy.save(sys.argv[1], "
                         "(numpy.arange(53 * 64) ** 3 % 1000003 + 7).reshape(53, 8, 8))", in),
                0, NULL);
    NAS_JSON("latency", "import", in, "--out", table, "--clock-mhz", "333");
    const json_t *told = NAS_JSON("latency", "export", "--table", table, "--format", "haq",
                                  "--clock-mhz", "333", "--out", out);
    cr_assert_eq(number(told, "entries"), 53 * 64);
    expect_exit(RUN_TOOL("/usr/bin/python3", "-c",
                         "import numpy, sys; a, b = map(numpy.load, sys.argv[1:]); "
                         "assert a.dtype == b.dtype == 'int64' and (a == b).all(), b; "
                         "assert b[52][7][7] == (53 * 64 - 1) ** 3 % 1000003 + 7; "
                         "assert open(sys.argv[1], 'rb').read() == open(sys.argv[2], 'rb').read()",
                         in, out),
                0, NULL);
    NAS_JSON("latency", "export", "--table", table, "--format", "haq", "--clock-mhz", "100",
             "--out", out); /* another clock: cycles are rounded */
    expect_exit(RUN_TOOL("/usr/bin/python3", "-c",
                         "import numpy, sys; a, b = map(numpy.load, sys.argv[1:]); "
                         "assert (abs(b - a / 3.33) <= .501).all(), b", in, out), 0, NULL);
    expect_exit(NAS("latency", "export", "--table", table, "--format", "haq", "--out", out), 2,
                "go together");
    expect_exit(NAS("latency", "export", "--table", table, "--format", "csv", "--clock-mhz", "9",
                    "--out", out), 2, "go together");
    expect_exit(NAS("latency", "export", "--table", make_table(), "--format", "haq", "--clock-mhz",
                    "9", "--out", out), 78, "layers by their bits alone");
}

/* The table is made up: networks that are measured here are far from it. */
Test(cli_latency_tables, a_table_is_fitted_to_networks_measured_here_and_fitted_once)
{
    const char *table = make_table(), *fitted = nas_file("fitted.yaml");
    const json_t *result =
        NAS_JSON("latency", "fit", "--table", table, "--space", "tiny", "--samples", "20",
                 "--rounds", "3", "--threads", "1", "--out", fitted);

    cr_assert_eq(number(result, "networks"), 20);
    cr_assert(number(result, "mape") <= number(result, "table_mape"));
    cr_assert_str_eq(text(result, "table"), fitted);
    cr_assert_not_null(strstr(content(fitted), "fitted to 20 networks"));
    NAS_JSON("latency", "check", "--table", fitted, "--space", "tiny");
    expect_exit(NAS("latency", "fit", "--table", fitted, "--space", "tiny", "--out",
                    nas_file("twice.yaml")), 78, "fitted already");
    expect_exit(NAS("latency", "fit", "--table", table, "--space", "tiny", "--out", table), 2,
                "--out");
    expect_exit(NAS("latency", "fit", "--table", nas_put("small.yaml", small), "--space", "tiny",
                    "--out", nas_file("twice.yaml")), 3, "lacks");
    expect_exit(NAS("latency", "fit", "--table",
                    nas_put("phone.yaml", "onepath: {format: 1, device: a phone}\n"
                                          "Conv-input:4x4x3-output:4x4x8: {mean: 2}\n...\n"),
                    "--space", "tiny", "--out", nas_file("twice.yaml")), 78, "a phone");
    expect_exit(NAS("latency", "fit", "--table",
                    nas_put("three.yaml", "onepath: {format: 1, threads: 3}\n"
                                          "Conv-input:4x4x3-output:4x4x8: {mean: 2}\n...\n"),
                    "--space", "tiny", "--threads", "1", "--out", nas_file("twice.yaml")), 78,
                "--threads 3");
    expect_exit(NAS("profile", "--space", "tiny", "--cores", "3-2", "--out",
                    nas_file("twice.yaml")), 78, "'3-2'");
    expect_exit(NAS("latency", "verify", "--table", table, "--space", "tiny", "--cores", "1023",
                    "--threads", "1"), 78, "core 1023");
    const char *journal = nas_put("twice.yaml.part", "what was measured\n");
    struct stat before, after;
    cr_assert_eq(stat(journal, &before), 0);
    expect_exit(NAS("profile", "--space", "tiny", "--cores", "1023", "--threads", "1", "--out",
                    nas_file("twice.yaml")), 78, "core 1023");
    cr_assert(stat(journal, &after) == 0 && after.st_size == before.st_size,
              "a mistake cost what was measured");
    expect_exit(NAS("profile", "--space", "tiny", "--cores", "1023", "--threads", "1", "--out",
                    nas_file("twice.yaml"), "--dry-run"), 78, "core 1023");
    cr_assert_null(fopen(nas_file("twice.yaml"), "r"));
}

/* The time of its arch by the same table. */
static void expect_foretold(const json_t *found, const char *table)
{
    char *arch = strdup(text(found, "arch"));
    const double latency_ms = number(found, "latency_ms");

    cr_expect_float_eq(number(NAS_JSON("latency", "predict", "--table", table, "--arch", arch),
                              "latency_ms"), latency_ms, 1e-12);
    free(arch);
}

Test(cli_latency_tables, a_regressor_is_trained_and_goes_where_a_table_goes)
{
    const char *predictor = NAS_SOURCE_DIR "/tests/golden/predictor.safetensors";
    const char *file = nas_file("here.latency"), *data = make_data();
    const json_t *result =
        NAS_JSON("latency", "train", "--space", "tiny", "--samples", "25", "--rounds", "1",
                 "--steps", "300", "--threads", "1", "--out", file);

    cr_assert_eq(number(result, "trained"), 20);
    cr_assert_eq(number(result, "held_out"), 5);
    cr_assert_eq(number(result, "threads"), 1);
    cr_assert_str_eq(text(result, "regressor"), file);
    cr_assert_str_eq(text(result, "space"), "tiny");
    cr_assert(number(result, "mape") < 1.0);

    result = NAS_JSON("latency", "show", "--table", file, "--space", "tiny");
    cr_assert_eq(number(result, "trained"), 20);
    cr_assert_eq(json_object_get(json_object_get(result, "coverage"), "covered"), json_true());
    cr_assert_gt(number(result, "total_ms"), 0.0);
    NAS_JSON("latency", "check", "--table", file, "--space", "tiny");
    expect_exit(NAS("latency", "check", "--table", file, "--space", "proxyless-cifar",
                    "--image-size", "16"), 3, "lacks");
    expect_exit(NAS("latency", "check", "--table", file, "--space", "tiny", "--image-size", "24"),
                3, "there are 16");
    cr_assert_eq(number(NAS_JSON("latency", "verify", "--table", file, "--space", "tiny",
                                 "--samples", "4", "--rounds", "1", "--threads", "1"), "samples"),
                 4);
    expect_foretold(NAS_JSON("evolve", "--space", "tiny", "--predictor", predictor, "--table",
                             file, "--target-ms", "1000"), file);
    expect_foretold(NAS_JSON("search", "--data", data, "--space", "tiny", "--table", file,
                             "--target-ms", "1000", "--epochs", "1", "--warmup-epochs", "1",
                             "--batch", "20", "--threads", "1"),
                    file);
}

Test(cli_latency_tables, a_regressor_that_cannot_be_is_refused)
{
    const char *out = nas_file("no.latency");

    expect_exit(NAS("latency", "train", "--space", "tiny", "--out", out, "--sizes", "32,16"), 2,
                "32,16");
    expect_exit(NAS("latency", "train", "--space", "tiny", "--out", out, "--sizes", "16,"), 2,
                "16,");
    expect_exit(NAS("latency", "train", "--space", "tiny", "--out", out, "--sizes", ""), 2,
                "no ascending list");
    expect_exit(NAS("latency", "train", "--space", "tiny", "--out", out, "--held-out", "0"), 2,
                "leaves 0 to judge on");
    expect_exit(NAS("latency", "train", "--space", "tiny", "--out", out, "--sizes", "16",
                    "--image-size", "16"), 2, "--sizes");
    expect_exit(NAS("latency", "train", "--space", "tiny", "--out", out, "--cores", "1023",
                    "--threads", "1"), 78, "it may use");
    cr_assert_null(fopen(out, "r"));
    expect_exit(NAS("latency", "show", "--table",
                    NAS_SOURCE_DIR "/tests/golden/predictor.safetensors"), 65, "no regressor");
    expect_exit(NAS("latency", "predict", "--table",
                    NAS_SOURCE_DIR "/tests/golden/predictor.safetensors", "--arch", make_arch()),
                65, "nas latency train");
}
