/* Life of a process: calloc -> uv_spawn -> on_exit and the end of its pipes, in any order ->
 * uv_close of each handle -> on_closed; when the last one is closed it has ended.  libuv holds
 * the handles until on_closed, so it is freed after that only, also when uv_spawn failed. */
#include "search/jobs/process.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEPS_FD = 3, BUFFER_SIZE = 64 << 10 };

/* libuv aborts when it cannot enlarge a table.  Its loops may end at any instant: they say why, and
 * their processes are told by the kernel. */
static void *realloc_or_end(void *old, size_t size)
{
    static const char text[] = "nas: error: jobs: out of memory\n  the next start goes on\n";
    void *block = realloc(old, size);

    if (!block && size > 0) {
        const ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
        (void)ignored;
        _exit(NAS_E_NOMEM);
    }
    return block;
}

nas_status nas_jobs__uv_init(uv_loop_t *uv, const char *what, nas_err *err)
{
    uv_replace_allocator(malloc, realloc_or_end, calloc, free);
    const int failed = uv_loop_init(uv);

    return failed == 0 ? NAS_OK
                       : nas_fail(err, failed == UV_ENOMEM ? NAS_E_NOMEM : NAS_E_FAIL, "%s: %s",
                                  what, uv_strerror(failed));
}

static void on_closed(uv_handle_t *handle)
{
    nas_jobs__process *p = handle->data;

    p->open--;
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

/* One buffer is enough: what was read is used before anything else is read. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    static char bytes[BUFFER_SIZE];

    *buffer = uv_buf_init(bytes, sizeof bytes);
}

/* ---- logs ---- */

/* Writes behind the end as much as goes; returns how much.  A passing error is met by a second
 * try. */
static size_t append(nas_jobs__log *log, const char *bytes, size_t size)
{
    size_t done = 0;
    int failures = 0;

    for (int tries = 0; log->fd < 0 && tries < 2; tries++)
        log->fd = open(log->path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    while (done < size && failures < 2) {
        const ssize_t put = pwrite(log->fd, bytes + done, size - done, log->size);

        failures += put < 0 && errno != EINTR;
        done += put > 0 ? (size_t)put : 0;
        log->size += put > 0 ? put : 0;
    }
    return done;
}

/* The whole line, or what is written next goes over the part of it. */
static bool append_line(nas_jobs__log *log, const char *line)
{
    const size_t length = strlen(line), done = append(log, line, length);

    if (done < length)
        log->size -= (int64_t)done;
    return done == length;
}

/* Where something is missing a line says so, once there is room for it; true if nothing has to be
 * said any more. */
static bool tell_missing(nas_jobs__log *log)
{
    char line[80];

    if (log->missing == 0)
        return true;
    snprintf(line, sizeof line, "\n[%lld bytes are missing: they could not be written]\n",
             (long long)log->missing);
    if (!append_line(log, line))
        return false;
    log->missing = 0;
    return true;
}

/* Keeps what there is room for; behind it a line says that there was more.  A full disk is no
 * reason to fail: the log goes on when it has room again. */
static void log_put(nas_jobs__log *log, const char *bytes, size_t size)
{
    if (log->room < 0)
        return;
    const size_t wanted = (int64_t)size > log->room ? (size_t)log->room : size;
    const size_t done = tell_missing(log) ? append(log, bytes, wanted) : 0;
    log->room -= (int64_t)done;
    if (log->missing == 0 && done == wanted && wanted < size &&
        append_line(log, "\n[the rest was cut]\n"))
        log->room = -1;
    else
        log->missing += (int64_t)(size - done);
}

static void tail_put(nas_jobs__process *p, const char *bytes, size_t size)
{
    const size_t room = sizeof p->tail - 1;

    if (size > room) {
        bytes += size - room;
        size = room;
    }
    if (p->tail_size + size > room) {
        const size_t drop = p->tail_size + size - room;

        memmove(p->tail, p->tail + drop, p->tail_size - drop);
        p->tail_size -= drop;
    }
    memcpy(p->tail + p->tail_size, bytes, size);
    p->tail_size += size;
    p->tail[p->tail_size] = '\0';
}

static void on_log(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    nas_jobs__process *p = stream->data;
    nas_jobs__log *log = (uv_pipe_t *)stream == &p->out.pipe ? &p->out : &p->err;

    if (got < 0) {
        tell_missing(log);
        close_handle((uv_handle_t *)stream);
        return;
    }
    log_put(log, buffer->base, (size_t)got);
    if (log == &p->err)
        tail_put(p, buffer->base, (size_t)got);
}

/* ---- steps ---- */

static void take_line(nas_jobs__process *p)
{
    char phase[NAS_STORE_NAME_SIZE] = "";
    long long step;
    double rss;

    p->line[p->line_size] = '\0';
    if (sscanf(p->line, "%lld %lf %64s", &step, &rss, phase) < 2 || step < 0 || !(rss >= 0) ||
        !isfinite(rss))
        return;
    p->stepped = true; /* a worker writes only when a piece of work is done */
    p->unsaved = p->unsaved || step != p->step || strcmp(phase, p->phase) != 0;
    p->step = step;
    p->peak_rss_mib = rss;
    if (nas_store_name_check(phase, "phase", NULL) == NAS_OK)
        snprintf(p->phase, sizeof p->phase, "%s", phase);
}

static void on_steps(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    nas_jobs__process *p = stream->data;

    if (got < 0)
        close_handle((uv_handle_t *)stream);
    for (ssize_t i = 0; i < got; i++) {
        if (buffer->base[i] == '\n') {
            take_line(p);
            p->line_size = 0;
        } else if (p->line_size < sizeof p->line - 1) {
            p->line[p->line_size++] = buffer->base[i];
        }
    }
}

/* ---- command line ---- */

/* True if the user chose it: "--flag X" or "--flag=X", in front of a "--". */
static bool has_option(const json_t *args, const char *flag)
{
    const size_t length = strlen(flag);
    const json_t *arg;
    size_t i;

    json_array_foreach(args, i, arg) {
        const char *text = json_string_value(arg);

        if (!text || strcmp(text, "--") == 0)
            return false;
        if (strncmp(text, flag, length) == 0 && (text[length] == '\0' || text[length] == '='))
            return true;
    }
    return false;
}

char **nas_jobs__argv(const json_t *args, const char *threads)
{
    const size_t count = json_array_size(args);
    bool given = has_option(args, "--threads");
    char **argv = calloc(count + 4, sizeof *argv);
    size_t used = 0;

    if (!argv)
        return NULL;
    argv[used++] = (char *)"nas";
    for (size_t i = 0; i <= count; i++) {
        const char *arg = i < count ? json_string_value(json_array_get(args, i)) : NULL;

        if (!given && (i == count || (arg && strcmp(arg, "--") == 0))) {
            argv[used++] = (char *)"--threads";
            argv[used++] = (char *)threads;
            given = true;
        }
        argv[used++] = (char *)arg;
    }
    return argv;
}

/* ---- beginning and end ---- */

/* Times since boot that the kernel ended a process because memory ran out; 0: not known. */
static int64_t count_memory_kills(void)
{
    FILE *file = fopen("/proc/vmstat", "re");
    char line[128];
    long long count = 0;

    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "oom_kill %lld", &count) == 1)
            break;
    if (file)
        fclose(file);
    return count;
}

static void on_exit_status(uv_process_t *handle, int64_t code, int number)
{
    nas_jobs__process *p = handle->data;

    p->exited = true;
    p->exited_ms = (int64_t)uv_now(handle->loop);
    p->code = number ? -1 : (int)code;
    p->signal = number;
    p->memory_short = (number == SIGKILL || code == 128 + SIGKILL) &&
                      count_memory_kills() > p->memory_kills;
    kill(-(pid_t)p->pid, SIGKILL); /* what it started must not outlive it */
    close_handle((uv_handle_t *)handle);
}

/* Our environment with these two in it; free the list alone.  NULL: no memory. */
static char **make_environment(char *job, char *store)
{
    extern char **environ;
    size_t count = 0, used = 0;

    while (environ[count])
        count++;
    char **list = calloc(count + 3, sizeof *list);
    if (!list)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "NAS_STORE=", 10) != 0 &&
            strncmp(environ[i], NAS_WORKER_VARIABLE "=", sizeof NAS_WORKER_VARIABLE) != 0)
            list[used++] = environ[i];
    list[used++] = job;
    list[used] = store;
    return list;
}

static int spawn(nas_jobs__process *p, uv_loop_t *loop, const nas_jobs__command *command)
{
    char job[96], *store = NULL;
    char **environment = NULL;
    int failed = UV_ENOMEM;
    uv_stdio_container_t stdio[STEPS_FD + 1] = {{.flags = UV_IGNORE}};
    uv_pipe_t *const pipes[] = {&p->out.pipe, &p->err.pipe, &p->steps};

    for (int i = 0; i < STEPS_FD; i++) {
        stdio[i + 1].flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_WRITABLE_PIPE);
        stdio[i + 1].data.stream = (uv_stream_t *)pipes[i];
    }
    snprintf(job, sizeof job, NAS_WORKER_VARIABLE "=%lld %lld %d %d", (long long)command->job,
             (long long)command->attempt, STEPS_FD, (int)getpid());
    if (asprintf(&store, "NAS_STORE=%s", command->store) < 0)
        return UV_ENOMEM;
    if ((environment = make_environment(job, store))) {
        const uv_process_options_t options = {
            .exit_cb = on_exit_status, .file = "/proc/self/exe", .args = (char **)command->argv,
            .env = environment, .cwd = command->folder,
            .flags = UV_PROCESS_DETACHED, /* a session and group of its own */
            .stdio_count = STEPS_FD + 1, .stdio = stdio};

        p->memory_kills = count_memory_kills();
        p->handle.data = p;
        p->open++; /* uv_spawn makes the handle one that must be closed, also if it fails */
        failed = uv_spawn(loop, &p->handle, &options);
    }
    free(environment);
    free(store);
    return failed;
}

nas_jobs__process *nas_jobs__process_start(uv_loop_t *loop, const nas_jobs__command *command)
{
    nas_jobs__process *p = calloc(1, sizeof *p);

    if (!p) {
        free(command->out_path);
        free(command->err_path);
        return NULL;
    }
    p->job = command->job;
    p->attempt = command->attempt;
    p->step = -1;
    p->peak_rss_mib = NAN;
    snprintf(p->name, sizeof p->name, "%s", command->name);
    p->out = (nas_jobs__log){.path = command->out_path, .fd = -1, .room = command->log_bytes};
    p->err = (nas_jobs__log){.path = command->err_path, .fd = -1, .room = command->log_bytes};
    uv_pipe_t *const pipes[] = {&p->out.pipe, &p->err.pipe, &p->steps};
    for (int i = 0; i < 3; i++) {
        uv_pipe_init(loop, pipes[i], 0);
        pipes[i]->data = p;
    }
    p->open = 3;
    const int failed = command->refused ? 0 : spawn(p, loop, command);
    if (command->refused || failed) {
        p->exited = true;
        p->code = -1; /* none */
        snprintf(p->tail, sizeof p->tail, "cannot start in %.1000s: %.500s\n", command->folder,
                 command->refused ? command->refused : uv_strerror(failed));
        if (p->open > 3)
            close_handle((uv_handle_t *)&p->handle);
        nas_jobs__process_hang_up(p);
        return p;
    }
    p->spawned = true;
    p->pid = p->handle.pid;
    uv_read_start((uv_stream_t *)&p->out.pipe, on_alloc, on_log);
    uv_read_start((uv_stream_t *)&p->err.pipe, on_alloc, on_log);
    uv_read_start((uv_stream_t *)&p->steps, on_alloc, on_steps);
    return p;
}

bool nas_jobs__process_ended(const nas_jobs__process *process)
{
    return process->exited && process->open == 0;
}

void nas_jobs__process_free(nas_jobs__process *p)
{
    if (!p)
        return;
    if (p->out.fd >= 0)
        close(p->out.fd);
    if (p->err.fd >= 0)
        close(p->err.fd);
    free(p->out.path);
    free(p->err.path);
    free(p);
}

int64_t nas_jobs__process_memory_mib(const nas_jobs__process *process)
{
    char path[64];
    long long pages = 0, shared = 0; /* shared: of files, which memory can do without */

    if (!process->spawned || process->exited)
        return 0;
    snprintf(path, sizeof path, "/proc/%lld/statm", (long long)process->pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*d %lld %lld", &pages, &shared) != 2)
        pages = shared = 0;
    fclose(file);
    return (pages - shared) * sysconf(_SC_PAGESIZE) >> 20;
}

void nas_jobs__process_signal(const nas_jobs__process *process, int number)
{
    if (process->spawned && !process->exited)
        kill(-(pid_t)process->pid, number);
}

void nas_jobs__process_hang_up(nas_jobs__process *process)
{
    close_handle((uv_handle_t *)&process->out.pipe);
    close_handle((uv_handle_t *)&process->err.pipe);
    close_handle((uv_handle_t *)&process->steps);
}
