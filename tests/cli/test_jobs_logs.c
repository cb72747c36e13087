/* What is kept of the output of jobs, and how it is shown. */
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/cli/jobs.h"

TestSuite(cli_jobs_logs, .init = nas_begin, .fini = jobs_end, .timeout = 120);

Test(cli_jobs_logs, log_text_cannot_write_to_the_terminal)
{
    SUBMIT("--name", "a", "--retries", "0", "--", "data", "info",
             "\033[31mred");
    expect_exit(NAS("jobs", "run"), 1, NULL);
    cr_assert_not_null(strstr(NAS("jobs", "logs", "a")->out, "red"));
    cr_assert_null(strchr(NAS("jobs", "logs", "a")->out, '\033'));
    cr_assert_null(strchr(NAS("jobs", "why", "a")->out, '\033'));
    cr_assert_null(strchr(NAS("jobs", "list")->out, '\033'));
}

Test(cli_jobs_logs, a_log_is_cut_where_its_room_ends)
{
    SUBMIT("--name", "a", "--", "space", "show", "proxyless-cifar");
    NAS_JSON("jobs", "run", "--log-kib", "1");
    const char *log = NAS("jobs", "logs", "a", "--stream", "out")->out;
    cr_assert_not_null(strstr(log, "[the rest was cut]"));
    cr_assert_lt(strlen(log), 1100);
}

/* The bytes that a file may have, as far as the loop is concerned. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    cr_assert_eq(prlimit(background, RLIMIT_FSIZE, NULL, &limit), 0);
    limit.rlim_cur = bytes;
    cr_assert_eq(prlimit(background, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* A file as text; yours. */
static char *read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;

    cr_assert_not_null(file, "%s", path);
    if (getdelim(&text, &size, '\0', file) < 0)
        text = calloc(1, 1);
    fclose(file);
    return text;
}

static void await_text(const char *path, const char *wanted)
{
    bool found = false;

    for (int i = 0; i < 600 && !found; i++, nap(20)) {
        char *text = access(path, R_OK) == 0 ? read_text(path) : strdup("");

        found = strstr(text, wanted) != NULL;
        free(text);
    }
    cr_assert(found, "no '%s' in %s", wanted, path);
}

/* A line for each step, and one more for those that nobody could write. */
Test(cli_jobs_logs, a_log_goes_on_when_the_disk_has_room_again_and_tells_what_is_missing)
{
    static const char mark[] = " bytes are missing: they could not be written]\n";
    const char *data = make_data(), *table = make_table();
    int begun, ended, missing = 0;

    SUBMIT("--name", "s", "--", SEARCH("--epochs", "2000", "--checkpoint-seconds", "0", "-v"));
    start_loop();
    await_process("s");
    char *path = strdup(nas_file("store/jobs/1.1.err"));
    await_text(path, " took ");
    limit_files(1);
    nap(1000);
    limit_files(RLIM_INFINITY);
    await_text(path, mark);
    nap(300);
    cr_assert_eq(stop_loop(SIGTERM), 75);

    char *text = read_text(path), *at = strstr(text, mark);
    while (at[-1] != '[')
        at--;
    cr_assert_eq(sscanf(at, "%d", &missing), 1);
    cr_assert_gt(missing, 100);
    cr_assert_not_null(strstr(at, " took "), "nothing behind it");
    cr_assert_null(strstr(strstr(at, mark) + 1, mark), "told twice");
    begun = ended = 0;
    for (char *line = text; (line = strstr(line, "checkpoint at step ")) != NULL; line++) {
        const int step = atoi(line + sizeof "checkpoint at step " - 1);

        /* asked to stop while it writes one, it writes that of the last step again */
        const bool again = step == ended && strstr(line + 1, "checkpoint at step ") == NULL;

        cr_assert(step == ended + 1 || again || (line > at && begun++ == 0), "step %d after %d: %s",
                  step, ended, line);
        ended = step;
    }
    cr_assert_eq(begun, 1);
    free(text);
    free(path);
}

Test(cli_jobs_logs, a_log_is_shown_behind_a_nul_and_with_whole_characters)
{
    SUBMIT("--name", "a", "--", "space", "list");
    NAS_JSON("jobs", "run");
    FILE *log = fopen(text_of(NAS_JSON("jobs", "logs", "a"), "out"), "w");
    char expected[4001] = "";

    fwrite("x\0y\n", 1, 4, log);
    for (size_t i = 0; i < 4000; i += 2)
        memcpy(expected + i, "\u00e4", 3);
    fputs(expected, log);
    fclose(log);
    const char *shown = NAS("jobs", "logs", "a", "--stream", "out")->out;
    cr_assert_eq(strncmp(shown, "x\\x00y\n", 7), 0, "%.20s", shown);
    cr_assert_str_eq(shown + 7, expected);
}

/* Begun before the job is, it shows all of it, and ends with it. */
Test(cli_jobs_logs, a_log_is_followed_to_the_end_of_its_job)
{
    char command[600];

    for (int json = 0; json < 2; json++) {
        const char *name = json ? "b" : "a";

        SUBMIT("--name", name, "--", "bench", "--space", "tiny", "--steps", "30");
        snprintf(command, sizeof command, "(sleep 1; NAS_STORE=%s %s jobs run) >%s 2>&1 &",
                 nas_file("store"), NAS_PROGRAM, nas_file("loop.log"));
        cr_assert_eq(system(command), 0);
        const process_result *result = json ? NAS("jobs", "logs", name, "--follow", "--json")
                                            : NAS("jobs", "logs", name, "--follow");
        expect_exit(result, 0, "waits for a loop");
        cr_assert_not_null(strstr(result->out, "images_per_second"), "%s", result->out);
        if (!json)
            continue;
        char *copy = strdup(result->out), *rest = copy, *last = NULL;
        for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0'; last = line) {
            json_t *object = json_loads(line, 0, NULL);
            cr_assert(json_is_object(object), "%s", line);
            json_decref(object);
        }
        cr_assert_not_null(strstr(last, "\"state\":\"done\""), "%s", last);
        free(copy);
    }
    const process_result *again = NAS("jobs", "logs", "a", "--follow"); /* ended: as without it */
    cr_assert_not_null(strstr(again->out, "images_per_second"));
}
