/* Spawns nas serve and waits for its first line. */
#include "tests/cli/server.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/cli/nas.h"

extern char **environ;

pid_t server_pid;
int server_port;
char server_token[80];

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void server_start(void) { server_start_for("10"); }

void server_start_for(const char *view_minutes)
{
    const char *argv[] = {NAS_PROGRAM, "serve", "--port", "0", "--json", "--store",
                          nas_file("store"), "--view-minutes", view_minutes, NULL};
    posix_spawn_file_actions_t actions;
    char line[1024] = "";
    size_t used = 0;
    int ends[2];

    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    cr_assert_eq(posix_spawn(&server_pid, argv[0], &actions, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    while (strchr(line, '\n') == NULL && used < sizeof line - 1) {
        const ssize_t got = read(ends[0], line + used, sizeof line - 1 - used);

        cr_assert_gt(got, 0, "it ended before it was ready");
        used += (size_t)got;
    }
    close(ends[0]);
    json_t *ready = json_loads(line, 0, NULL);
    cr_assert_not_null(ready, "%s", line);
    server_port = (int)json_integer_value(json_object_get(ready, "port"));
    const char *open_at = json_string_value(json_object_get(ready, "open"));
    const char *hash = strstr(open_at, "#token=");
    cr_assert(server_port > 0 && hash != NULL);
    snprintf(server_token, sizeof server_token, "%s", hash + 7);
    json_decref(ready);
}

int server_await_code(void)
{
    int status;

    cr_assert_eq(waitpid(server_pid, &status, 0), server_pid);
    server_pid = 0;
    cr_assert(WIFEXITED(status), "status %d", status);
    return WEXITSTATUS(status);
}

void server_await_end(void)
{
    const double begun = seconds();

    cr_assert_eq(server_await_code(), 0);
    cr_assert_lt(seconds() - begun, 5.0);
}

void server_stop(void)
{
    cr_assert_eq(kill(server_pid, SIGTERM), 0);
    server_await_end();
}

void server_kill(void)
{
    if (server_pid > 0) {
        kill(server_pid, SIGKILL);
        waitpid(server_pid, NULL, 0);
    }
    server_pid = 0;
}
