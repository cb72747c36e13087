/* nas doctor --report: a bug report that helps, with nothing in it that is nobody's business. */
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cli/nas.h"

TestSuite(cli_doctor, .init = nas_begin, .fini = nas_end, .timeout = 120);

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;

    cr_assert_not_null(file, "%s", path);
    cr_assert_gt(getdelim(&text, &size, '\0', file), 0);
    fclose(file);
    return text;
}

/* What a careless user has around: in the environment, in paths, in the errors of runs. */
Test(cli_doctor, planted_secrets_do_not_reach_the_report)
{
    static const struct {
        const char *name, *value;
    } planted[] = {
        {"GITHUB_TOKEN", "ghp_0123456789abcdef"},
        {"AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG"},
        {"MY_PASSWORD", "correct horse"},          {"db_passwd", "hunter2-hunter2"},
        {"NAS_AUTH", "bearer-eyJhbGciOi"},         {"SESSION_COOKIE", "sid=4711-0815"},
        {"UNRELATED", "nobody-asked-for-this"},
    };
    const char *report = nas_file("report.json"), *home = nas_file("home");
    char from[200];
    struct stat info;

    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++)
        cr_assert_eq(setenv(planted[i].name, planted[i].value, 1), 0);
    cr_assert_eq(setenv("HOME", home, 1), 0);
    cr_assert_eq(setenv("USER", "mallory", 1), 0);
    cr_assert_eq(setenv("NAS_NOTE",
                        "https://mallory:letmein@example.org/x?token=abc123 api_key: zzz999", 1),
                 0);
    /* an error of a job, which names a file in the home directory and a secret */
    snprintf(from, sizeof from, "%s/ghp_0123456789abcdef/none.nasd", home);
    expect_exit(NAS("jobs", "submit", "--name", "j", "--retries", "0", "--", "data", "info", from),
                0, NULL);
    /* an option whose value is the next word, and a header that names its scheme first */
    expect_exit(NAS("jobs", "submit", "--name", "k", "--retries", "0", "--", "profile", "--space",
                    "tiny", "--out", nas_file("none/t.yaml"), "--via",
                    "exec:curl --api-token tok4711 -H 'Authorization: Bearer zzz888'"), 0, NULL);
    /* in quotes, in quotes within quotes, with an escaped blank, unfinished, and as words of a list */
    expect_exit(NAS("jobs", "submit", "--name", "l", "--retries", "0", "--", "profile", "--space",
                    "tiny", "--out", nas_file("none/t.yaml"), "--via",
                    "exec:sh -c \"login --password 'qqone qqtwo' --pass-phrase \\\"qqthree qq\\\\four\\\""
                    " --secret qqfive\\ qqsix; x='--auth' 'qqseven'\" \"--token\",\"qqeight\""
                    " '{\"private_key\": \"qqnine qqten\"}' --credential=\"qqeleven qqtwelve"), 0, NULL);
    expect_exit(NAS("jobs", "run"), 1, NULL);

    expect_exit(NAS("doctor", "--report", report), 0, "read");
    char *text = read_text(report);
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++)
        cr_assert_null(strstr(text, planted[i].value), "%s in: %s", planted[i].name, text);
    static const char *const gone[] = {"mallory", "letmein", "abc123",
                                       "zzz999",  "tok4711", "zzz888", "qq"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        cr_assert_null(strstr(text, gone[i]), "%s in: %s", gone[i], text);
    cr_assert_null(strstr(text, home));
    cr_assert_not_null(strstr(text, "~/[secret]/none.nasd"), "%s", text);
    cr_assert_eq(stat(report, &info), 0);
    cr_assert_eq(info.st_mode & 077, 0);
    free(text);
}

Test(cli_doctor, the_word_behind_an_option_that_has_a_secret_is_one)
{
    const char *report = nas_file("report.json");

    /* no command takes it, but what is in a store may be of a later version */
    expect_exit(NAS("jobs", "submit", "--name", "j", "--retries", "0", "--", "data", "info",
                    nas_file("none.nasd")), 0, NULL);
    expect_exit(NAS("jobs", "run"), 1, NULL);
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(nas_file("store/store.db"), &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "UPDATE job SET args = '[\"data\",\"--api-token\",\"qq 1\","
                                  "\"--password\",\"--token\",\"qq2\",\"--size\",\"9\"]'",
                              NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
    expect_exit(NAS("doctor", "--report", report), 0, NULL);
    char *text = read_text(report);
    cr_assert_null(strstr(text, "qq"), "%s", text);
    cr_assert_not_null(strstr(text, "\"9\""), "%s", text);
    free(text);
}

Test(cli_doctor, the_report_tells_what_helps)
{
    const char *report = nas_file("report.json"), *data = make_data(), *arch = make_arch();

    NAS_JSON("train", "--data", data, "--arch", arch, "--epochs", "1", "--name", "told");
    json_t *said = json_deep_copy(NAS_JSON("doctor", "--report", report));
    json_t *told = json_load_file(report, 0, NULL);
    cr_assert_str_eq(json_string_value(json_object_get(said, "report")), report);
    cr_assert_not_null(told);
    cr_assert(json_equal(json_object_get(told, "build"), json_object_get(said, "build")));
    cr_assert(json_equal(json_object_get(told, "engine"), json_object_get(said, "engine")));
    const json_t *run = json_array_get(json_object_get(told, "runs"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(run, "name")), "told");
    cr_assert_str_eq(json_string_value(json_object_get(run, "host")), "[host]");
    cr_assert_not_null(json_object_get(json_object_get(told, "environment"), "NAS_STORE"));
    cr_assert_null(json_object_get(json_object_get(told, "environment"), "PATH"));
    json_decref(said);
    json_decref(told);
}

Test(cli_doctor, small_plots_are_utf8_or_ascii_as_the_locale_says)
{
    const char *data = make_data(), *arch = make_arch();

    NAS_JSON("train", "--data", data, "--arch", arch, "--epochs", "3", "--name", "t");
    setenv("LC_ALL", "C.UTF-8", 1);
    cr_assert_not_null(strstr(NAS("runs", "show", "t")->out, "\xe2\x96\x88"));
    setenv("LC_ALL", "C", 1);
    const char *out = NAS("runs", "show", "t")->out;
    cr_assert_not_null(strstr(out, "trend"));
    cr_assert_not_null(strstr(out, "#"), "the highest bar: %s", out);
    for (; *out != '\0'; out++)
        cr_assert((unsigned char)*out < 0x80);
}
