/* The keys that scripts rely on, and what results do where they cannot go. */
#include "tests/cli/nas.h"
#include "tests/support/tools.h"

TestSuite(cli_results, .init = nas_begin, .fini = nas_end, .timeout = 240);

/* Every key of the list "a b c" is in the object. */
static void expect_keys(const json_t *object, const char *list)
{
    char *copy = strdup(list);

    for (char *key = strtok(copy, " "); key != NULL; key = strtok(NULL, " "))
        cr_assert_not_null(json_object_get(object, key), "no '%s'", key);
    free(copy);
}

static const char *text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void expect_in_file(const char *path, const char *part)
{
    char *content = calloc(1, 1 << 20);
    FILE *file = fopen(path, "r");

    cr_assert(content != NULL && file != NULL);
    cr_assert_gt(fread(content, 1, (1 << 20) - 1, file), 0);
    fclose(file);
    cr_assert_not_null(strstr(content, part), "no '%s' in %s", part, path);
    free(content);
}

Test(cli_results, data_info)
{
    const json_t *info = NAS_JSON("data", "info", make_data());

    expect_keys(info, "classes height width channels splits digest");
    cr_assert_eq(json_integer_value(json_object_get(info, "height")), 16);
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(info, "splits"), "train")),
                 400);
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(info, "splits"), "test")), 100);
}

Test(cli_results, the_same_seed_makes_the_same_data)
{
    char digest[64];

    snprintf(digest, sizeof digest, "%s", text(NAS_JSON("data", "info", make_data()), "digest"));
    expect_exit(NAS("data", "synth", "--out", nas_file("again.nasd"), "--size", "16", "--train",
                    "400", "--test", "100", "--threads", "1"),
                0, NULL);
    cr_assert_str_eq(text(NAS_JSON("data", "info", nas_file("again.nasd")), "digest"), digest);
}

Test(cli_results, counts_are_exact)
{
    const json_t *count = NAS_JSON("space", "count", "proxyless-imagenet");

    cr_assert_str_eq(text(count, "architectures"), "221502229807900608"); /* 6^6 * 7^15 */
    cr_assert_float_eq(json_real_value(json_object_get(count, "log10")), 17.345378102515713, 1e-12);
}

Test(cli_results, every_built_in_space_is_listed_and_shown)
{
    static const char *const names[] = {"proxyless-imagenet", "proxyless-cifar",
                                        "proxyless-cifar-0.5", "ofa-mbv3-1.0", "ofa-mbv3-1.2",
                                        "tiny"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *json = nas_file("space.json");

        expect_keys(NAS_JSON("space", "show", names[i], "--out", json),
                    "architectures log10 slots macs_min macs_max digest");
        char digest[64];
        snprintf(digest, sizeof digest, "%s", text(NAS_JSON("space", "show", names[i]), "digest"));
        cr_assert_str_eq(text(NAS_JSON("space", "show", json), "digest"), digest,
                         "%s from its own file", names[i]);
    }
    cr_assert_geq(json_array_size(json_object_get(NAS_JSON("space", "list"), "spaces")), 6);
}

Test(cli_results, a_sample_is_an_architecture)
{
    FILE *file = fopen(nas_file("a.json"), "w");

    fputs(NAS("space", "sample", "tiny", "--seed", "3")->out, file);
    fclose(file);
    expect_keys(NAS_JSON("inspect", nas_file("a.json")), "kind macs parameters digest");
    cr_assert_str_eq(text(NAS_JSON("inspect", nas_file("a.json")), "kind"), "architecture");
}

Test(cli_results, predictions_are_the_sum_of_their_layers)
{
    const char *table = make_table(), *arch = make_arch();
    const json_t *report = NAS_JSON("latency", "predict", "--table", table, "--arch", arch);
    json_t *layer;
    double sum = 0;
    size_t i;

    expect_keys(report, "latency_ms layers");
    json_array_foreach(json_object_get(report, "layers"), i, layer) {
        expect_keys(layer, "key latency_ms");
        sum += json_real_value(json_object_get(layer, "latency_ms"));
    }
    cr_assert_gt(i, 4);
    cr_assert_float_eq(json_real_value(json_object_get(report, "latency_ms")), sum, 1e-12);
    expect_exit(NAS("latency", "check", "--table", table, "--space", "tiny"), 0, NULL);
}

Test(cli_results, a_profile_covers_its_space_and_is_verified)
{
    const char *table = nas_file("here.yaml");

    expect_keys(NAS_JSON("profile", "--space", "tiny", "--out", table, "--max-seconds", "0.2"),
                "table entries device threads engine conditions");
    expect_exit(NAS("latency", "check", "--table", table, "--space", "tiny"), 0, NULL);
    const json_t *verified = NAS_JSON("latency", "verify", "--table", table, "--space", "tiny",
                                      "--samples", "3", "--rounds", "1");
    expect_keys(verified, "mape rmse_ms spearman kendall pairs level mape_as_measured "
                          "within_10_as_measured bias_as_measured rmse_ms_as_measured");
    const double level = json_number_value(json_object_get(verified, "level"));
    cr_assert_eq(json_array_size(json_object_get(verified, "pairs")), 3);
    expect_keys(json_array_get(json_object_get(verified, "pairs"), 0),
                "predicted_ms measured_ms as_measured_ms");
    const json_t *first = json_array_get(json_object_get(verified, "pairs"), 0);
    cr_assert_gt(level, 0.0);
    cr_assert_float_eq(level * json_number_value(json_object_get(first, "measured_ms")),
                       json_number_value(json_object_get(first, "as_measured_ms")), 1e-9);

    const json_t *operations = json_object_get(verified, "operations"), *operation;
    double share = 0.0, error = 0.0;
    size_t i;
    json_array_foreach(operations, i, operation) {
        const double part = json_number_value(json_object_get(operation, "share"));

        share += part;
        error += part * json_number_value(json_object_get(operation, "error"));
    }
    cr_assert_gt(i, 2);
    cr_assert_float_eq(share, 1.0, 1e-9);
    cr_assert_float_eq(error, json_number_value(json_object_get(verified, "bias")), 1e-9);
    const process_result *said = NAS("latency", "verify", "--table", table, "--space", "tiny",
                                     "--samples", "3", "--rounds", "1");
    expect_exit(said, 0, "at the table's speed: mean error");
    expect_exit(said, 0, "as measured (now all takes ");
    expect_exit(NAS("report", "--out", nas_file("report.html")), 0, NULL);
    expect_in_file(nas_file("report.html"), "Measured times are given at the table");
    const json_t *shown = NAS_JSON("runs", "show", "verify-2");
    expect_keys(json_object_get(shown, "summary"), "mape pairs operations run");
}

Test(cli_results, a_verification_is_in_the_report)
{
    const char *table = make_table(), *out = nas_file("report.html");

    NAS_JSON("latency", "verify", "--table", table, "--space", "tiny", "--samples", "3",
             "--rounds", "1");
    expect_exit(NAS("report", "--out", out), 0, NULL);
    expect_in_file(out, "3 networks measured whole");
    expect_in_file(out, "Error by operation");
    expect_in_file(out, "<td>mbconv 3x3 e");
}

Test(cli_results, a_table_is_checked_for_the_images_that_it_is_for)
{
    const char *table = nas_file("24.yaml");

    NAS_JSON("profile", "--space", "tiny", "--image-size", "24", "--out", table, "--max-seconds",
             "0.1");
    const json_t *checked = NAS_JSON("latency", "check", "--table", table, "--space", "tiny");
    cr_assert_eq(json_integer_value(json_object_get(checked, "image_size")), 24);
    NAS_JSON("latency", "verify", "--table", table, "--space", "tiny", "--samples", "2",
             "--rounds", "1");
    expect_exit(NAS("latency", "check", "--table", table, "--space", "tiny", "--image-size", "16"),
                3, "lacks");
}

Test(cli_results, benches_know_the_peer_s_supernets)
{
    static const char *const modes[] = {"weight", "two", "full", "forward"};

    for (size_t i = 0; i < 4; i++) {
        const json_t *bench = NAS_JSON("bench", "--space", "tiny", "--mode", modes[i], "--batch",
                                       "4", "--threads", "2", "--steps", "2");

        expect_keys(bench, "engine space mode batch threads images_per_second step_seconds "
                           "step_seconds_min peak_rss_mib parameters");
        cr_assert_str_eq(text(bench, "mode"), modes[i]);
        cr_assert_gt(json_real_value(json_object_get(bench, "images_per_second")), 0);
    }
    const json_t *half = NAS_JSON("bench", "--space", "proxyless-cifar-0.5", "--mode", "forward",
                                  "--batch", "1", "--steps", "1");
    cr_assert_eq(json_integer_value(json_object_get(half, "parameters")), 4275922);
}

static double real(const json_t *object, const char *key)
{
    return json_real_value(json_object_get(object, key));
}

Test(cli_results, a_bench_counts_the_arithmetic_of_the_paths_it_draws)
{
    const json_t *space = NAS_JSON("space", "show", "tiny");
    const double least = (double)json_integer_value(json_object_get(space, "macs_min"));
    const double most = (double)json_integer_value(json_object_get(space, "macs_max"));
    const struct {
        const char *mode;
        double flop; /* of a MAC of the path */
    } modes[] = {{"forward", 2}, {"weight", 6}};

    for (size_t i = 0; i < 2; i++) {
        const json_t *bench = NAS_JSON("bench", "--space", "tiny", "--mode", modes[i].mode,
                                       "--batch", "4", "--threads", "2", "--steps", "5", "--peak");
        const double macs = real(bench, "gflops") * 1e9 / real(bench, "images_per_second") /
                            modes[i].flop;

        cr_assert_geq(macs, least * 0.999);
        cr_assert_leq(macs, most * 1.001);
        cr_assert_gt(real(bench, "sgemm_gflops"), 1);
        cr_assert_gt(real(bench, "fraction_of_sgemm"), 0);
        cr_assert_lt(real(bench, "fraction_of_sgemm"), 3);
    }
}

Test(cli_results, the_doctor_is_well_without_a_store)
{
    const json_t *doctor = NAS_JSON("doctor");

    expect_keys(doctor, "ok machine engine build checks");
    cr_assert(json_is_true(json_object_get(doctor, "ok")));
    cr_assert_gt(json_array_size(json_object_get(json_object_get(doctor, "engine"),
                                                 "kernel_sets")),
                 0);
}

Test(cli_results, inspect_knows_each_of_our_files)
{
    const char *data = make_data(), *table = make_table(), *arch = make_arch();
    const char *space = nas_file("space.json");

    NAS("space", "show", "tiny", "--out", space);
    cr_assert_str_eq(text(NAS_JSON("inspect", data), "kind"), "data set");
    cr_assert_str_eq(text(NAS_JSON("inspect", table), "kind"), "latency table");
    cr_assert_str_eq(text(NAS_JSON("inspect", arch), "kind"), "architecture");
    cr_assert_str_eq(text(NAS_JSON("inspect", space), "kind"), "space");
}

/* `line` in a shell, with nas as $0 and the test's store. */
static int shell(const char *line)
{
    const char *argv[] = {"/bin/sh", "-c", line, NAS_PROGRAM, nas_file("store"), NULL};
    const process_options options = {.timeout_s = 60};
    process_result result = process_run(argv, &options);
    const int code = result.code;

    process_free(&result);
    return code;
}

Test(cli_results, closed_ends_and_pipes_are_taken_as_they_are)
{
    expect_exit(NAS("jobs", "submit", "--", "space", "list"), 0, NULL);
    cr_assert_eq(shell("\"$0\" jobs list --store \"$1\" >&-"), 74, "a closed stdout");
    cr_assert_eq(shell("\"$0\" help >&-"), 74);
    cr_assert_eq(shell("\"$0\" completion bash >/dev/full"), 74, "a full disk");
    cr_assert_eq(shell("\"$0\" help --markdown | head -n 1 | grep -q Commands"), 0);
    cr_assert_eq(shell("\"$0\" jobs list --store \"$1\" 2>&- >/dev/null"), 0, "a closed stderr");
}

/* A table as wide as what it goes to: a terminal of 40 columns, or a pipe. */
Test(cli_results, a_narrow_terminal_shows_the_columns_that_fit)
{
    char command[1024];

    need_tool("script");
    expect_exit(NAS("jobs", "submit", "--", "space", "list"), 0, NULL);
    const char *piped = NAS("jobs", "list")->out;
    cr_assert_not_null(strstr(piped, "command"), "%s", piped);
    cr_assert_null(strstr(piped, " \n"), "blanks at the end of a line: %s", piped);
    snprintf(command, sizeof command, "stty cols 40 && '%s' jobs list --store '%s' 2>/dev/null",
             NAS_PROGRAM, nas_file("store"));
    const char *shown = RUN_TOOL("script", "-qec", command, "/dev/null")->out;
    cr_assert_not_null(strstr(shown, "name"), "%s", shown);
    cr_assert_null(strstr(shown, "command"), "%s", shown);
    for (const char *line = strtok(strdup(shown), "\r\n"); line != NULL; line = strtok(NULL, "\r\n"))
        cr_assert_leq(strlen(line), 40, "%s", line);
}
