/* A loop beside a test, and what it says of jobs. */
#include "tests/cli/jobs.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

extern char **environ;

pid_t background;

void jobs_end(void)
{
    if (background > 0) {
        kill(background, SIGKILL);
        waitpid(background, NULL, 0);
    }
    nas_end();
}

void nap(int ms)
{
    usleep((useconds_t)ms * 1000);
}

void start_loop_with(const char *const *words)
{
    enum { OWN = 4, MOST = 16 };
    const char *argv[MOST] = {NAS_PROGRAM, "jobs", "run", "--watch"};
    posix_spawn_file_actions_t actions;

    for (int i = 0; words[i] != NULL; i++) {
        cr_assert_lt(OWN + i, MOST - 1);
        argv[OWN + i] = words[i];
    }
    setenv("NAS_STORE", nas_file("store"), 1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, nas_file("loop.out"),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, nas_file("loop.err"),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
    cr_assert_eq(posix_spawn(&background, NAS_PROGRAM, &actions, NULL, (char *const *)argv,
                             environ), 0);
    posix_spawn_file_actions_destroy(&actions);
}

void start_loop_of(const char *cores)
{
    setenv("GOMP_SPINCOUNT", "1000", 1);
    start_loop_with((const char *const[]){"--cores", cores, "--grace", "1", NULL});
}

void start_loop(void)
{
    start_loop_of("2");
}

int stop_loop(int number)
{
    int status;

    kill(background, number);
    waitpid(background, &status, 0);
    background = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

pid_t process_of(const char *job)
{
    const json_t *attempts = json_object_get(NAS_JSON("jobs", "show", job), "attempts");
    const json_t *last = json_array_get(attempts, json_array_size(attempts) - 1);

    return (pid_t)json_integer_value(json_object_get(last, "pid"));
}

pid_t await_process(const char *job)
{
    for (int i = 0; i < 600; i++, nap(20)) {
        const pid_t pid = process_of(job);

        if (pid > 0)
            return pid;
    }
    cr_assert(false, "job %s does not start", job);
    return 0;
}

const char *digest_here(const char *data, const char *table, const char *epochs,
                        const char *threads)
{
    static char digest[64];
    const process_result *result = nas_run(&(process_options){.timeout_s = 200},
                                           SEARCH("--epochs", epochs, "--threads", threads,
                                                  "--json"), NULL);

    expect_exit(result, 0, NULL);
    json_t *found = json_loads(result->out, 0, NULL);
    snprintf(digest, sizeof digest, "%s", text_of(found, "digest"));
    json_decref(found);
    return digest;
}

long_search make_long_search(const char *threads, double seconds)
{
    long_search made = {.data = make_data(), .table = make_table()};
    double took = 0;

    for (int epochs = 24; took < seconds; epochs *= 2, made.runs++) {
        const double begin = nas_clock_seconds();

        snprintf(made.epochs, sizeof made.epochs, "%d", epochs);
        snprintf(made.digest, sizeof made.digest, "%s",
                 digest_here(made.data, made.table, made.epochs, threads));
        took = nas_clock_seconds() - begin;
    }
    return made;
}
