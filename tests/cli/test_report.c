/* nas report from the outside: the file, the runs it is told, what is not there. */
#include "tests/cli/nas.h"

TestSuite(cli_report, .init = nas_begin, .fini = nas_end, .timeout = 240);

/* The file's content, at most 1 MiB; yours. */
static char *read_page(const char *path)
{
    char *text = calloc(1, (1 << 20) + 1);
    FILE *file = fopen(path, "r");

    cr_assert(text != NULL && file != NULL, "no %s", path);
    cr_assert_gt(fread(text, 1, 1 << 20, file), 0);
    fclose(file);
    return text;
}

Test(cli_report, a_search_becomes_one_file_of_html)
{
    const char *out = nas_file("report.html"), *data = make_data(), *table = make_table();

    expect_exit(NAS("search", "--data", data, "--space", "tiny", "--table", table, "--target-ms",
                    "1.0", "--warmup-epochs", "1", "--epochs", "1", "--batch", "32", "--name",
                    "mine"),
                0, NULL);
    const json_t *result = NAS_JSON("report", "--out", out);
    cr_assert_str_eq(json_string_value(json_object_get(result, "report")), out);
    cr_assert_eq(json_integer_value(json_object_get(result, "runs")), 1);
    char *page = read_page(out);
    cr_assert_eq(strncmp(page, "<!doctype html>\n", 16), 0);
    cr_assert_not_null(strstr(page, "target 1 ms"));
    cr_assert_not_null(strstr(page, "Probabilities after epoch 2"));
    cr_assert_not_null(strstr(page, "ms by the run&#39;s table"), "heights are latencies");
    cr_assert_null(strstr(page, "http:"));
    free(page);
    expect_exit(NAS("report", "--out", out, "mine"), 0, NULL);
    expect_exit(NAS("report", "--out", nas_file("other.html"), "mien"), 2, "mine");
    cr_assert_null(fopen(nas_file("other.html"), "r"));
}

Test(cli_report, the_demo_ends_with_its_report_and_the_next_command)
{
    const json_t *result = NAS_JSON("demo", "--rivals", "2", "--train-images", "1000",
                                    "--warmup-epochs", "1", "--search-epochs", "1",
                                    "--train-epochs", "1", "--profile-seconds", "0.2");
    char *page = read_page(json_string_value(json_object_get(result, "report")));

    cr_assert_eq(json_array_size(json_object_get(result, "networks")), 3);
    cr_assert_eq(strncmp(json_string_value(json_object_get(result, "next")), "nas train ", 10), 0);
    cr_assert_not_null(strstr(page, "Judged as &quot;demo&quot;"));
    cr_assert_not_null(strstr(page, "Networks judged as &quot;demo&quot;, fastest first"));
    cr_assert_not_null(strstr(page, ", chosen</title>"));
    free(page);
}

Test(cli_report, what_is_missing_is_named)
{
    expect_exit(NAS("report", "--out", nas_file("report.html")), 74, "there is no store");
    expect_exit(NAS("report"), 2, "--out");
    cr_assert_eq(nas_count(), 0);
}
