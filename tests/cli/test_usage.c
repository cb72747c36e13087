/* What the command line says of itself, and to those who mistype. */
#include "tests/cli/nas.h"

TestSuite(cli_usage, .init = nas_begin, .fini = nas_end, .timeout = 120);

Test(cli_usage, without_a_command_it_shows_the_overview_and_fails)
{
    const process_result *result = nas_run(NULL, NULL, NULL);

    expect_exit(result, 2, "Usage: nas COMMAND");
    cr_assert_str_empty(result->out);
}

Test(cli_usage, version_is_on_stdout)
{
    const process_result *result = NAS("--version");

    expect_exit(result, 0, NULL);
    cr_assert_eq(strncmp(result->out, "nas ", 4), 0);
}

/* Each line "  NAME  summary" below "Commands:". */
Test(cli_usage, every_command_has_help_with_json)
{
    char *list = strdup(NAS("help")->out), *line = strstr(list, "Commands:\n");
    int count = 0;

    cr_assert_not_null(line);
    for (line = strtok(line + 10, "\n"); line != NULL && line[0] == ' ';
         line = strtok(NULL, "\n")) {
        char name[32] = "", sub[32] = "", usage[96];
        const int words = line[2 + strcspn(line + 2, " ") + 1] != ' '
                              ? sscanf(line, "%31s %31s", name, sub)
                              : sscanf(line, "%31s", name);
        const process_result *result = words == 2 ? NAS("help", name, sub) : NAS("help", name);

        snprintf(usage, sizeof usage, "Usage: nas %s%s%s", name, words == 2 ? " " : "", sub);
        expect_exit(result, 0, NULL);
        cr_assert_not_null(strstr(result->out, usage), "no '%s' in:\n%s", usage, result->out);
        cr_assert_not_null(strstr(result->out, "--json"), "%s", usage);
        char *by_help = strdup(result->out);
        result = words == 2 ? NAS(name, sub, "--help") : NAS(name, "-h");
        expect_exit(result, 0, NULL);
        cr_assert_str_eq(result->out, by_help);
        free(by_help);
        count++;
    }
    cr_assert_geq(count, 26);
    free(list);
}

Test(cli_usage, a_mistyped_command_names_the_nearest)
{
    expect_exit(NAS("serach"), 2, "did you mean 'nas search'?");
    expect_exit(NAS("data", "improt"), 2, "did you mean 'nas data import'?");
    expect_exit(NAS("data"), 2, "nas help data");
    expect_exit(NAS("xyzzyplugh"), 2, "nas help");
    expect_exit(NAS("help", "serach"), 2, "did you mean 'nas search'?");
    expect_exit(NAS("--json", "search"), 2, "options follow the command");
}

Test(cli_usage, a_mistyped_option_names_the_nearest)
{
    expect_exit(NAS("search", "--targt-ms", "3"), 2, "did you mean --target-ms?");
    expect_exit(NAS("space", "count", "tiny", "--jsn"), 2, "did you mean --json?");
}

Test(cli_usage, what_is_missing_or_too_much_is_named)
{
    expect_exit(NAS("search"), 2, "--data is required");
    expect_exit(NAS("space", "count"), 2, "usage: nas space count NAME");
    expect_exit(NAS("space", "count", "tiny", "more"), 2, "unexpected argument 'more'");
    expect_exit(NAS("train", "--data", "x"), 2, "--arch is required, or --from");
    expect_exit(NAS("bench", "--batch"), 2, "--batch needs a value");
    expect_exit(NAS("bench", "--batch", "many"), 2, "'many' is not a whole number");
    expect_exit(NAS("bench", "--batch", "0"), 2, "is not in 1..4096");
    expect_exit(NAS("bench", "--mode", "fast"), 2, "weight|two|full|forward");
}

Test(cli_usage, a_config_file_stands_below_the_command_line)
{
    const char *config = nas_put("c.json", "{ // steps and batch\n\"steps\": 1, \"batch\": 2,"
                                               " \"space\": \"tiny\" /* small */ }");
    const json_t *result = NAS_JSON("bench", "--config", config, "--batch", "3");

    cr_assert_eq(json_integer_value(json_object_get(result, "steps")), 1);
    cr_assert_eq(json_integer_value(json_object_get(result, "batch")), 3);
    cr_assert_str_eq(json_string_value(json_object_get(result, "space")), "tiny");
}

Test(cli_usage, a_wrong_config_file_is_exit_78)
{
    static const struct {
        const char *content, *says;
    } cases[] = {
        {"{\"step\": 1}", "did you mean 'steps'?"},
        {"{\"step\": 1}", "c.json: config: "},
        {"{\"steps\": \"one\"}", "should be a whole number"},
        {"{\"steps\": 0}", "is not in 1..100000"},
        {"{\"steps\": 1, \"steps\": 2}", "duplicate"},
        {"{\"steps\": 1", "c.json:1"},
        {"[1]", "should be an object"},
        {"", "c.json"},
        {"\xff\xfe", "c.json"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_exit(NAS("bench", "--space", "tiny", "--config",
                        nas_put("c.json", cases[i].content)),
                    78, cases[i].says);
    expect_exit(NAS("bench", "--config", nas_file("none.json")), 74, "No such file");
}

Test(cli_usage, results_that_cannot_be_written_are_exit_74)
{
    const process_options full = {.stdout_path = "/dev/full"};

    expect_exit(nas_run(&full, "space", "list", NULL), 74, "standard output");
    expect_exit(nas_run(&full, "space", "list", "--json", NULL), 74, "No space left");
    expect_exit(nas_run(&full, "help", NULL), 74, NULL);
}

Test(cli_usage, names_cannot_write_to_the_terminal)
{
    const process_result *result = NAS("data", "info", "\033[31mred");

    expect_exit(result, 74, "red");
    cr_assert_null(strchr(result->err, '\033'));
}

Test(cli_usage, the_reference_page_is_what_the_binary_says)
{
    FILE *file = fopen(NAS_SOURCE_DIR "/docs/reference/options.md", "r");
    static char page[1 << 18];

    cr_assert_not_null(file);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    cr_assert_str_eq(NAS("help", "--markdown")->out, page,
                     "run: nas help --markdown > docs/reference/options.md");
}
