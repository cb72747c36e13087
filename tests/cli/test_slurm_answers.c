/* What the loop of a cluster makes of Slurm's answers, told by programs that stand in for Slurm: what a
 * real one says only for a moment, or only when it is busy. */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cli/nas.h"
#include "tests/support/tools.h"

extern char **environ;

static pid_t loop, task;

static void reap(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
    }
    *pid = 0;
}

static void end(void)
{
    reap(&loop);
    reap(&task);
    nas_end();
}

static void stand_in(const char *name, const char *script)
{
    char text[1024];

    snprintf(text, sizeof text, "#!/bin/sh\n%s\n", script);
    cr_assert_eq(chmod(nas_put(name, text), 0755), 0);
}

/* squeue says what the file `queue` holds, and fails without one; sacct likewise.  scontrol is deaf at
 * first. */
static void begin(void)
{
    char path[4096];

    nas_begin();
    snprintf(path, sizeof path, "%s", nas_file(""));
    setenv("SLURM_HERE", path, 1);
    stand_in("sbatch", "[ \"$1\" = --version ] || { echo \"$2\" >>$SLURM_HERE/submitted; "
                       "wc -l <$SLURM_HERE/submitted; }");
    stand_in("squeue", "cat $SLURM_HERE/queue && echo look >>$SLURM_HERE/looks");
    nas_put("queue", "");
    stand_in("sacct", "cat $SLURM_HERE/accounting");
    stand_in("scancel", ":");
    stand_in("scontrol", "echo \"$@\" >>$SLURM_HERE/asked; "
                         "[ $(wc -l <$SLURM_HERE/asked) -gt 1 ] || { echo busy >&2; exit 1; }");
    snprintf(path, sizeof path, "%s:%s", nas_file(""), getenv("PATH"));
    setenv("PATH", path, 1);
    setenv("NAS_STORE", nas_file("store"), 1);
}

TestSuite(cli_slurm_answers, .init = begin, .fini = end, .timeout = 120);

static void nap(int ms)
{
    usleep((useconds_t)ms * 1000);
}

static int lines_of(const char *name)
{
    FILE *file = fopen(nas_file(name), "r");
    int lines = 0;

    for (int c; file != NULL && (c = getc(file)) != EOF;)
        lines += c == '\n';
    if (file != NULL)
        fclose(file);
    return lines;
}

static void await_lines(const char *name, int lines)
{
    for (int i = 0; i < 600 && lines_of(name) < lines; i++)
        nap(50);
    cr_assert_geq(lines_of(name), lines, "%s: %d", name, lines_of(name));
}

/* What squeue says from now on of task 0 of array 1: a state; the name is that of its batch. */
static void say(const char *state)
{
    char text[512], script[256] = "";
    FILE *file = fopen(nas_file("submitted"), "r");

    cr_assert(file != NULL && fgets(script, sizeof script, file) != NULL);
    fclose(file);
    *strrchr(script, '.') = '\0';
    snprintf(text, sizeof text, "1|0|%s|%s\n", state, strrchr(script, '/') + 1);
    nas_put("queue.new", text);
    cr_assert_eq(rename(nas_file("queue.new"), nas_file("queue")), 0);
}

static pid_t start(const char *const *argv, const char *messages)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, nas_file(messages), O_WRONLY | O_CREAT | O_APPEND,
                                     0600);
    cr_assert_eq(posix_spawn(&pid, NAS_PROGRAM, &actions, NULL, (char *const *)argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void start_loop(void)
{
    loop = start((const char *const[]){NAS_PROGRAM, "jobs", "run", "--on", "slurm", "--watch",
                                       "--poll", "1", NULL}, "loop.err");
}

/* The task of the first array, as its node would run it. */
static void start_task(const char *restarts)
{
    char batch[256] = "";
    FILE *file = fopen(nas_file("submitted"), "r");

    cr_assert(file != NULL && fgets(batch, sizeof batch, file) != NULL);
    fclose(file);
    strcpy(strrchr(batch, '.'), ".json");
    setenv("SLURM_ARRAY_JOB_ID", "1", 1);
    setenv("SLURM_ARRAY_TASK_ID", "0", 1);
    setenv("SLURM_RESTART_COUNT", restarts, 1);
    task = start((const char *const[]){NAS_PROGRAM, "jobs", "task", batch, NULL}, "task.err");
}

static int end_of(pid_t *pid)
{
    int status = 0;

    waitpid(*pid, &status, 0);
    *pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

static void await_state(const char *job, const char *state)
{
    for (int i = 0; i < 300; i++, nap(100))
        if (strcmp(text_of(NAS_JSON("jobs", "why", job), "state"), state) == 0)
            return;
    cr_assert(false, "job %s is not %s: %s", job, state, NAS("jobs", "show", job)->out);
}

static void await_checkpoint(void)
{
    for (int i = 0; i < 600; i++, nap(50))
        if (strstr(RUN_TOOL("ls", nas_file("store/spool/1/1/runs/1"))->out, "checkpoint-") != NULL)
            return;
    cr_assert(false, "no checkpoint");
}

#define SUBMIT(...) expect_exit(NAS("jobs", "submit", "--on", "slurm", __VA_ARGS__), 0, NULL)

/* A task that was warned stays until Slurm has heard that it shall queue it again; and what Slurm calls
 * failed for a moment is not submitted a second time. */
Test(cli_slurm_answers, an_interrupted_task_is_queued_again_and_not_submitted_again)
{
    const char *data = make_data(), *table = make_table();

    SUBMIT("--name", "s", "--", "search", "--data", data, "--space", "tiny", "--table", table,
           "--target-ms", "3", "--batch", "32", "--epochs", "2000", "--checkpoint-seconds", "0.2");
    say("RUNNING");
    start_task("0");
    start_loop();
    await_checkpoint();
    kill(task, SIGUSR1);
    cr_assert_eq(end_of(&task), 75);
    cr_assert_eq(lines_of("asked"), 2, "scontrol was not asked again");
    say("FAILED");
    await_lines("looks", lines_of("looks") + 2);
    say("PENDING");
    await_state("s", "running");
    const json_t *attempts = NULL;
    for (int i = 0; i < 100 && json_array_size(attempts) < 2; i++, nap(100))
        attempts = json_object_get(NAS_JSON("jobs", "show", "s"), "attempts");
    cr_assert_eq(json_array_size(attempts), 2);
    cr_assert_str_eq(text_of(json_array_get(attempts, 0), "cause"), "interrupted");
    cr_assert_str_eq(text_of(json_array_get(attempts, 1), "slurm"), "1_0");
    cr_assert_eq(lines_of("submitted"), 1);
    /* one that Slurm goes on calling failed is not waited for */
    start_task("1");
    say("RUNNING");
    await_lines("looks", lines_of("looks") + 2);
    kill(task, SIGTERM);
    cr_assert_eq(end_of(&task), 75);
    say("FAILED");
    await_lines("submitted", 2);
}

/* While no loop was running, tasks ended and left Slurm's memory: what they wrote counts, and without
 * that what the accounting says, if there is one. */
Test(cli_slurm_answers, what_slurm_has_forgotten_is_told_by_spool_and_accounting_or_lost)
{
    SUBMIT("--name", "told", "--", "space", "list");
    start_task("0");
    cr_assert_eq(end_of(&task), 0);
    SUBMIT("--name", "lost", "--retries", "0", "--", "space", "list");
    expect_exit(NAS("jobs", "run", "--on", "slurm", "--poll", "1"), 1, NULL);
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "told"), "state"), "done");
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "lost"), "state"), "lost");
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "lost"), "cause"), "killed");
    SUBMIT("--name", "big", "--retries", "0", "--", "space", "list");
    nas_put("accounting", "OUT_OF_MEMORY\n");
    expect_exit(NAS("jobs", "run", "--on", "slurm", "--poll", "1"), 1, NULL);
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "big"), "state"), "out_of_memory");
}

/* Nothing is concluded while Slurm does not answer. */
Test(cli_slurm_answers, without_an_answer_nothing_is_lost)
{
    SUBMIT("--name", "s", "--", "space", "list");
    cr_assert_eq(unlink(nas_file("queue")), 0);
    start_loop();
    nap(4500); /* four looks */
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "s"), "state"), "running");
    say("PENDING");
    await_lines("looks", 1);
    start_task("0");
    cr_assert_eq(end_of(&task), 0);
    await_state("s", "done");
    cr_assert_eq(lines_of("submitted"), 1);
}

/* ---- secrets ---- */

static const char canary[] = "canary-of-a-secret-4711";

/* Neither the files of an array nor what its task records hold anything of the environment. */
Test(cli_slurm_answers, secrets_of_the_environment_are_in_no_file_of_the_cluster)
{
    setenv("API_TOKEN", canary, 1);
    SUBMIT("--name", "s", "--", "data", "info", nas_file("none"), "--verbose");
    say("RUNNING");
    start_task("0");
    cr_assert_eq(end_of(&task), 1);
    cr_assert_gt(nas_store_without(canary), 4);
}
