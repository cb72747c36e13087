/* posix_spawn and two pipes that are read together, so that neither fills up. */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { TAIL = 480 };
static const double grace_seconds = 2.0;

typedef struct tail {
    char text[TAIL];
    size_t size;
} tail;

struct nas_process {
    pid_t pid;
    bool exited; /* waited for; `code` says how */
    int code;
    int in;          /* its stdin, a socket; -1: not ours */
    int out, err;    /* -1: at its end */
    char *buffer;    /* [NAS_PROCESS_MAX_LINE + 1] */
    size_t used, at; /* bytes in it; where the next line begins */
    tail complaint;
    char shown[TAIL + 1];
};

extern char **environ;

static int exit_code(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Signals that we ignore have their usual meaning in the child.  Its stdin is `in` or, for -1, the
 * file `input`. */
static int spawn(pid_t *pid, const char *const *argv, int in, const char *input, int out, int err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t usual;

    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    sigaddset(&usual, SIGXFSZ);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_init(&actions);
    if (in >= 0)
        posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input ? input : "/dev/null",
                                         O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    const int failed = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)argv,
                                    environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return failed;
}

static void close_pipe(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* A socket, not a pipe: writing to a program that is gone must not end this one. */
static nas_status begin(nas_process **out, const char *const *argv, bool talk, const char *input,
                        nas_err *err)
{
    nas_process *p = calloc(1, sizeof *p);
    char *buffer = malloc(NAS_PROCESS_MAX_LINE + 1);
    int ins[2] = {-1, -1}, outs[2] = {-1, -1}, errs[2] = {-1, -1}, failed = 0;

    *out = NULL;
    if (p == NULL || buffer == NULL) {
        free(p);
        free(buffer);
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory to run it", argv[0]);
    }
    if ((talk && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ins) != 0) ||
        pipe2(outs, O_CLOEXEC) != 0 || pipe2(errs, O_CLOEXEC) != 0)
        failed = errno;
    else
        failed = spawn(&p->pid, argv, ins[1], input, outs[1], errs[1]);
    close_pipe(&ins[1]);
    close_pipe(&outs[1]);
    close_pipe(&errs[1]);
    if (failed != 0) {
        close_pipe(&ins[0]);
        close_pipe(&outs[0]);
        close_pipe(&errs[0]);
        free(buffer);
        free(p);
        errno = failed;
        return nas_fail_errno(err, "cannot run %.200s", argv[0]);
    }
    fcntl(outs[0], F_SETFL, O_NONBLOCK);
    fcntl(errs[0], F_SETFL, O_NONBLOCK);
    p->in = ins[0];
    p->out = outs[0];
    p->err = errs[0];
    p->buffer = buffer;
    *out = p;
    return NAS_OK;
}

nas_status nas_process_start(nas_process **out, const char *const *argv, const char *input,
                             nas_err *err)
{
    return begin(out, argv, false, input, err);
}

nas_status nas_process_talk(nas_process **out, const char *const *argv, nas_err *err)
{
    return begin(out, argv, true, NULL, err);
}

void nas_process_say(nas_process *p, const char *text, size_t size)
{
    while (size > 0) {
        const ssize_t sent = send(p->in, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno != EINTR)
            return;
        text += sent > 0 ? sent : 0;
        size -= sent > 0 ? (size_t)sent : 0;
    }
}

/* The last bytes of a text that grows. */
static void append_tail(tail *t, const char *text, size_t size)
{
    const size_t skip = size > TAIL ? size - TAIL : 0;
    const size_t over = t->size + size - skip > TAIL ? t->size + size - skip - TAIL : 0;

    memmove(t->text, t->text + over, t->size - over);
    t->size -= over;
    memcpy(t->text + t->size, text + skip, size - skip);
    t->size += size - skip;
}

/* On one line, without blanks at its end. */
static void show_tail(const tail *t, char shown[TAIL + 1])
{
    size_t end = t->size;

    memcpy(shown, t->text, t->size);
    for (size_t i = 0; i < t->size; i++)
        if (strchr("\r\n", shown[i]) != NULL)
            shown[i] = ' ';
    while (end > 0 && shown[end - 1] == ' ')
        end--;
    shown[end] = '\0';
}

static void take_complaint(nas_process *p)
{
    char piece[TAIL];
    const ssize_t got = read(p->err, piece, sizeof piece);

    if (got > 0)
        append_tail(&p->complaint, piece, (size_t)got);
    else if (got == 0 || (errno != EINTR && errno != EAGAIN))
        close_pipe(&p->err);
}

static nas_status take_output(nas_process *p, nas_err *err)
{
    if (p->at > 0) {
        memmove(p->buffer, p->buffer + p->at, p->used - p->at);
        p->used -= p->at;
        p->at = 0;
    }
    if (p->used == NAS_PROCESS_MAX_LINE)
        return nas_fail(err, NAS_E_DATA, "a line of more than %d bytes", NAS_PROCESS_MAX_LINE);
    const ssize_t got = read(p->out, p->buffer + p->used, NAS_PROCESS_MAX_LINE - p->used);
    if (got > 0)
        p->used += (size_t)got;
    else if (got == 0)
        close_pipe(&p->out);
    else if (errno != EINTR && errno != EAGAIN)
        return nas_fail_errno(err, "cannot read what a program says");
    return NAS_OK;
}

static bool next_line(nas_process *p, const char **line, size_t *size)
{
    char *start = p->buffer + p->at, *end = memchr(start, '\n', p->used - p->at);

    if (end == NULL)
        return false;
    p->at = (size_t)(end + 1 - p->buffer);
    if (end > start && end[-1] == '\r')
        end--;
    *end = '\0';
    *line = start;
    *size = (size_t)(end - start);
    return true;
}

static bool has_exited(nas_process *p)
{
    int status;

    if (!p->exited && waitpid(p->pid, &status, WNOHANG) == p->pid) {
        p->exited = true;
        p->code = exit_code(status);
    }
    return p->exited;
}

nas_status nas_process_line(nas_process *p, double seconds, nas_process_event *event,
                            const char **line, size_t *size, nas_err *err)
{
    const double deadline = nas_clock_seconds() + seconds;
    const int step_ms = 50;

    for (;;) {
        /* A daemon that it left behind may hold the pipes for ever: its own exit is the end. */
        const bool exited = has_exited(p);
        struct pollfd fds[2] = {{p->out, POLLIN, 0}, {p->err, POLLIN, 0}};

        *event = NAS_PROCESS_LINE;
        if (next_line(p, line, size))
            return NAS_OK;
        if (poll(fds, 2, step_ms) < 0 && errno != EINTR)
            return nas_fail_errno(err, "cannot wait for a program");
        if (fds[1].revents != 0)
            take_complaint(p);
        if (fds[0].revents != 0) {
            const nas_status status = take_output(p, err);

            if (status != NAS_OK)
                return status;
            continue;
        }
        *event = NAS_PROCESS_DONE;
        if (fds[1].revents == 0 && (exited || (p->out < 0 && p->err < 0)))
            return NAS_OK;
        *event = NAS_PROCESS_QUIET;
        if (nas_clock_seconds() >= deadline)
            return NAS_OK;
    }
}

const char *nas_process_complaint(nas_process *p)
{
    show_tail(&p->complaint, p->shown);
    return p->shown;
}

/* Gives it until `deadline` to exit. */
static bool await_exit(nas_process *p, double deadline)
{
    const struct timespec moment = {.tv_nsec = 2000000};

    while (!has_exited(p) && nas_clock_seconds() < deadline)
        nanosleep(&moment, NULL);
    return p->exited;
}

bool nas_process_wait(nas_process *p, double seconds)
{
    return await_exit(p, nas_clock_seconds() + seconds);
}

int nas_process_end(nas_process *p)
{
    if (p == NULL)
        return 0;
    close_pipe(&p->in);
    close_pipe(&p->out);
    close_pipe(&p->err);
    if (!has_exited(p))
        kill(p->pid, SIGTERM);
    if (!await_exit(p, nas_clock_seconds() + grace_seconds)) {
        kill(p->pid, SIGKILL);
        await_exit(p, INFINITY);
    }
    const int code = p->code;
    free(p->buffer);
    free(p);
    return code;
}

nas_status nas_process_run(const char *const *argv, const char *input, double seconds, char *out,
                           size_t size, nas_err *err)
{
    const double deadline = nas_clock_seconds() + seconds;
    nas_process_event event = NAS_PROCESS_LINE;
    char complaint[TAIL + 1];
    tail said = {.size = 0};
    nas_process *p;
    size_t used = 0;
    nas_status status = nas_process_start(&p, argv, input, err);

    if (status != NAS_OK)
        return status;
    while (event == NAS_PROCESS_LINE) {
        const char *line;
        size_t length;

        status = nas_process_line(p, deadline - nas_clock_seconds(), &event, &line, &length, err);
        if (status != NAS_OK) {
            nas_process_end(p);
            nas_err_prefix(err, "%.100s", argv[0]);
            return status;
        }
        if (event == NAS_PROCESS_LINE) {
            append_tail(&said, line, length);
            append_tail(&said, " ", 1);
        }
        if (event == NAS_PROCESS_LINE && out != NULL && used + length + 2 <= size) {
            memcpy(out + used, line, length);
            out[used + length] = '\n';
            used += length + 1;
        }
    }
    if (out != NULL)
        out[used] = '\0';
    const bool late = event == NAS_PROCESS_QUIET || !await_exit(p, deadline);
    show_tail(p->complaint.size > 0 ? &p->complaint : &said, complaint); /* some use stdout */
    const int code = nas_process_end(p);
    if (late)
        return nas_fail(err, NAS_E_IO, "%.100s: no end after %.0f s: %s", argv[0], seconds,
                        complaint);
    if (code != 0)
        return nas_fail(err, NAS_E_IO, "%.100s: exit code %d: %s", argv[0], code, complaint);
    return NAS_OK;
}
