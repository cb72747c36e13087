/* A loop beside a test, and what it says of jobs. */
#include "tests/cli/jobs.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

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

void start_loop_of(const char *cores)
{
    const char *const argv[] = {NAS_PROGRAM, "jobs", "run", "--watch", "--cores", cores, "--grace",
                                "1", NULL};
    posix_spawn_file_actions_t actions;

    setenv("NAS_STORE", nas_file("store"), 1);
    setenv("GOMP_SPINCOUNT", "1000", 1);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, nas_file("loop.out"),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, nas_file("loop.err"),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_eq(posix_spawn(&background, NAS_PROGRAM, &actions, NULL, (char *const *)argv,
                             environ), 0);
    posix_spawn_file_actions_destroy(&actions);
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

const char *text_of(json_t *object, const char *key)
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
