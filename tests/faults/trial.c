/* Folders are copied and removed by cp and rm; output goes through files. */
#include "tests/faults/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { MAX_WORDS = 64, LIMIT_S = 60 };

trial_place place;
static char plan_path[300], out_path[300], err_path[300];

void trial_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("faults: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    trial_fini();
    exit(99);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs a tool to its end. */
static void tool(const char *const *argv)
{
    pid_t pid;
    int status;

    if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ) != 0 ||
        waitpid(pid, &status, 0) != pid || status != 0)
        trial_die("%s failed", argv[0]);
}

void trial_init(const char *nas, const char *shim)
{
    /* in memory if there is room: a sync is not what is tested here */
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : P_tmpdir;

    place.nas = nas;
    place.shim = shim;
    snprintf(place.root, sizeof place.root, "%s/nas-faults-XXXXXX", base);
    if (mkdtemp(place.root) == NULL)
        trial_die("%s: %s", place.root, strerror(errno));
    snprintf(place.work, sizeof place.work, "%s/work", place.root);
    snprintf(plan_path, sizeof plan_path, "%s/plan", place.root);
    snprintf(out_path, sizeof out_path, "%s/out", place.root);
    snprintf(err_path, sizeof err_path, "%s/err", place.root);
    const int fd = open(plan_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *place.plan) != 0)
        trial_die("%s: %s", plan_path, strerror(errno));
    place.plan = mmap(NULL, sizeof *place.plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (place.plan == MAP_FAILED)
        trial_die("no memory");
    setenv("GOMP_SPINCOUNT", "1000", 1); /* also keeps nas from starting over */
    setenv("OMP_NUM_THREADS", "1", 1);
    setenv("NAS_STORE", "store", 1);
    setenv("LC_ALL", "C.UTF-8", 1);
}

void trial_fini(void)
{
    if (place.root[0] != '\0')
        tool((const char *const[]){"rm", "-rf", place.root, NULL});
}

static void copy(const char *from, const char *to)
{
    tool((const char *const[]){"rm", "-rf", to, NULL});
    tool((const char *const[]){"cp", "-a", from, to, NULL});
}

void trial_copy(const char *name)
{
    char from[600];

    snprintf(from, sizeof from, "%s/%s", place.root, name);
    copy(from, place.work);
}

void trial_keep(const char *name)
{
    char to[600];

    snprintf(to, sizeof to, "%s/%s", place.root, name);
    copy(place.work, to);
}

static void split(char *words, const char **argv)
{
    int count = 0;

    argv[count++] = place.nas;
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
        if (count == MAX_WORDS - 1)
            trial_die("too many words");
        argv[count++] = word;
    }
    argv[count] = NULL;
}

pid_t trial_start(const char *command, bool faulty)
{
    const char *argv[MAX_WORDS];
    char words[2048], preload[600];
    posix_spawn_file_actions_t actions;
    pid_t pid;

    snprintf(words, sizeof words, "%s", command);
    split(words, argv);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, place.work);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (faulty) {
        snprintf(preload, sizeof preload, "%s", place.shim);
        setenv("LD_PRELOAD", preload, 1);
        setenv(FAULT_PLAN_VARIABLE, plan_path, 1);
    }
    const int failed = posix_spawn(&pid, place.nas, &actions, NULL, (char *const *)argv, environ);
    unsetenv("LD_PRELOAD");
    unsetenv(FAULT_PLAN_VARIABLE);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        trial_die("%s: %s", place.nas, strerror(failed));
    return pid;
}

/* A whole file as text; "" if there is none. */
static char *slurp(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t size = 0;

    if (file == NULL || getdelim(&text, &size, '\0', file) < 0) {
        free(text);
        text = calloc(1, 1);
    }
    if (file != NULL)
        fclose(file);
    return text;
}

bool trial_ended(pid_t pid)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

trial_end trial_wait(pid_t pid)
{
    static trial_end last;
    const double begun = now();
    bool late = false;
    int status;

    while (waitpid(pid, &status, WNOHANG) != pid) {
        if (now() - begun > LIMIT_S && !late) {
            late = true;
            kill(pid, SIGKILL);
        }
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
    free(last.out);
    free(last.err);
    last = (trial_end){.code = late ? TRIAL_LATE
                               : WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                                     : WEXITSTATUS(status),
                       .seconds = now() - begun, .out = slurp(out_path), .err = slurp(err_path)};
    return last;
}

trial_end trial_run(const char *command, bool faulty)
{
    return trial_wait(trial_start(command, faulty));
}

void trial_plan(fault_kind kind, int action, long at, bool persistent, bool tree)
{
    *place.plan = (fault_plan){.kind = kind, .action = action, .at = at, .persistent = persistent,
                               .tree = tree};
}
