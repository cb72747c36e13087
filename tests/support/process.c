/* posix_spawn, two pipes and a deadline. */
#include "tests/support/process.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { KEEP = 1 << 20, MAX_ENVIRONMENT = 256 };

typedef struct stream {
    int fd;
    char *text;
    size_t size;
} stream;

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Reads what is there; false at the end. */
static bool take(stream *from)
{
    char buffer[4096];
    const ssize_t got = read(from->fd, buffer, sizeof buffer);

    if (got <= 0)
        return got < 0 && errno == EINTR;
    const size_t room = KEEP - from->size, keep = (size_t)got < room ? (size_t)got : room;
    memcpy(from->text + from->size, buffer, keep);
    from->size += keep;
    from->text[from->size] = '\0';
    return true;
}

static char **merged_environment(const char *const *more)
{
    static char *list[MAX_ENVIRONMENT];
    int count = 0;

    for (; more != NULL && *more != NULL; more++)
        list[count++] = (char *)*more;
    for (char **e = environ; *e != NULL && count < MAX_ENVIRONMENT - 1; e++) {
        const size_t name = strcspn(*e, "=") + 1;
        bool replaced = strncmp(*e, "NAS_STORE=", 10) == 0; /* tests say which store they mean */

        for (int i = 0; i < count && !replaced; i++)
            replaced = strncmp(list[i], *e, name) == 0;
        if (!replaced)
            list[count++] = *e;
    }
    list[count] = NULL;
    return list;
}

/* Limits are inherited: set around the spawn, in a process that only runs this test. */
static pid_t spawn(const char *const *argv, const process_options *o, int out, int err)
{
    posix_spawn_file_actions_t actions;
    struct rlimit before, limit;
    pid_t pid = -1;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (o->stdout_path != NULL)
        posix_spawn_file_actions_addopen(&actions, 1, o->stdout_path, O_WRONLY | O_CREAT, 0600);
    else
        posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, err, 2);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    if (o->file_size_limit > 0)
        limit.rlim_cur = (rlim_t)o->file_size_limit;
    setrlimit(RLIMIT_FSIZE, &limit);
    const int failed = posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)argv,
                                   merged_environment(o->environment));
    setrlimit(RLIMIT_FSIZE, &before);
    posix_spawn_file_actions_destroy(&actions);
    cr_assert_eq(failed, 0, "%s: %s", argv[0], strerror(failed));
    return pid;
}

process_result process_run(const char *const *argv, const process_options *options)
{
    static const process_options none;
    const process_options *o = options != NULL ? options : &none;
    const double deadline = seconds() + (o->timeout_s > 0 ? o->timeout_s : 60);
    stream streams[2] = {{.text = calloc(1, KEEP + 1)}, {.text = calloc(1, KEEP + 1)}};
    int pipes[2][2], status = 0;
    bool open[2] = {true, true}, signalled = false, late = false;

    cr_assert(streams[0].text != NULL && streams[1].text != NULL);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pipe2(pipes[i], O_CLOEXEC), 0);
        streams[i].fd = pipes[i][0];
    }
    const pid_t pid = spawn(argv, o, pipes[0][1], pipes[1][1]);
    close(pipes[0][1]);
    close(pipes[1][1]);
    while ((open[0] || open[1]) && !late) {
        struct pollfd fds[2] = {{open[0] ? streams[0].fd : -1, POLLIN, 0},
                                {open[1] ? streams[1].fd : -1, POLLIN, 0}};

        poll(fds, 2, 50);
        for (int i = 0; i < 2; i++)
            if (fds[i].revents != 0)
                open[i] = take(&streams[i]);
        if (o->signal_on != NULL && !signalled && strstr(streams[1].text, o->signal_on) != NULL) {
            signalled = true;
            kill(pid, o->signal);
        }
        late = seconds() > deadline;
    }
    if (late)
        kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    close(streams[0].fd);
    close(streams[1].fd);
    return (process_result){.code = late                  ? -1
                                    : WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                                          : WEXITSTATUS(status),
                            .out = streams[0].text, .err = streams[1].text};
}

void process_free(process_result *result)
{
    free(result->out);
    free(result->err);
    result->out = result->err = NULL;
}
