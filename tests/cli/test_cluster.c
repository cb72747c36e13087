/* Jobs on a real Slurm of three virtual nodes on this machine (scripts/slurm-here): a sweep, its
 * cancellation, preemption, the time limit, and the death of a node. */
#include <signal.h>
#include <unistd.h>

#include "tests/cli/jobs.h"
#include "tests/cli/slurm_here.h"
#include "tests/search/jobs/payloads.h"
#include "tests/support/tools.h"

static void end(void)
{
    slurm_end();
    jobs_end();
}

TestSuite(cli_cluster, .init = nas_begin, .fini = end, .timeout = 290);

static void start_slurm_loop(void)
{
    start_loop_with((const char *const[]){"--on", "slurm", "--poll", "1", "--warn", "60", NULL});
}

static json_t *last_attempt(const char *job)
{
    const json_t *attempts = json_object_get(NAS_JSON("jobs", "show", job), "attempts");

    return json_array_get(attempts, json_array_size(attempts) - 1);
}

static const char *said(void)
{
    static char text[4096];
    FILE *file = fopen(nas_file("loop.err"), "r");

    text[file != NULL ? fread(text, 1, sizeof text - 1, file) : 0] = '\0';
    if (file != NULL)
        fclose(file);
    return text;
}

static void await_state(const char *job, const char *state)
{
    for (int i = 0; i < 600; i++, nap(200))
        if (strcmp(text_of(NAS_JSON("jobs", "why", job), "state"), state) == 0)
            return;
    cr_assert(false, "job %s is not %s: %s\n%s", job, state, NAS("jobs", "show", job)->out, said());
}

/* Until attempt `number` has written a checkpoint into its spool. */
static void await_checkpoint(const char *job, int number)
{
    char path[512];
    const json_int_t id = json_integer_value(json_object_get(NAS_JSON("jobs", "show", job), "id"));

    snprintf(path, sizeof path, "%s/spool/%lld/%d/runs/1", nas_file("store"), (long long)id, number);
    for (int i = 0; i < 600; i++, nap(50)) {
        const process_result *seen = RUN_TOOL("ls", path);

        if (seen->code == 0 && strstr(seen->out, "checkpoint-") != NULL)
            return;
    }
    cr_assert(false, "job %s: no checkpoint in %s\n%s", job, path, said());
}

static char *slurm_id(const char *job)
{
    static char id[64];

    snprintf(id, sizeof id, "%s", text_of(last_attempt(job), "slurm"));
    cr_assert_not_null(strchr(id, '_'), "job %s is no task: '%s'", job, id);
    return id;
}

/* Whether Slurm lets the job wait now. */
static bool pending(const char *job)
{
    const process_result *seen = RUN_TOOL("squeue", "-h", "-j", slurm_id(job), "-o", "%T");

    return strncmp(seen->out, "PENDING", 7) == 0;
}

/* A job that Slurm has queued again waits for two minutes, unless somebody says otherwise: after
 * the second in which its first start was revoked, or Slurm takes the new one for revoked, too.
 * After a node's death Slurm may start it without being asked, and it may be over by then. */
static void hurry(const char *job)
{
    char which[96];

    snprintf(which, sizeof which, "jobid=%s", slurm_id(job));
    for (int i = 0; i < 100 && !pending(job); i++, nap(200))
        cr_assert_lt(i, 99, "job %s is not queued again\n%s", job, said());
    nap(2000);
    const process_result *result = RUN_TOOL("scontrol", "update", which, "StartTime=now");
    cr_assert(result->code == 0 || !pending(job), "scontrol update %s: %s", which, result->err);
}

/* For one core: the jobs get one. */
static long_search make_job(void)
{
    return make_long_search("1", 5);
}

static void submit_long(const char *name, const long_search *search)
{
    const char *data = search->data, *table = search->table;

    SUBMIT("--name", name, "--", SEARCH("--epochs", search->epochs));
}

static const char *digest_of(const char *job)
{
    static char digest[64];
    const json_t *runs = json_object_get(NAS_JSON("jobs", "show", job), "runs");
    const json_t *run = NAS_JSON("runs", "show", json_string_value(json_array_get(runs, 0)));

    snprintf(digest, sizeof digest, "%s",
             text_of(json_object_get(run, "summary"), "digest"));
    return digest;
}

Test(cli_cluster, a_sweep_is_one_array_and_ends_as_on_one_machine)
{
    slurm_need();
    const char *data = make_data(), *table = make_table();
    json_t *file = json_pack(
        "{s:s, s:[{s:s, s:[s], s:{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:f}, s:{s:[i, i, i]}},"
        " {s:s, s:[s, s], s:{s:s, s:s, s:i, s:i}, s:{s:[i, i, i]}}]}",
        "group", "g", "jobs", "name", "s", "run", "search", "options", "data", data, "space",
        "tiny", "table", table, "target_ms", 3, "epochs", 2, "warmup_epochs", 1, "batch", 32,
        "checkpoint_seconds", 0.2, "grid", "seed", 1, 2, 3, "name", "t", "run", "train", "--json",
        "options", "data", data, "arch", "{s:arch.json}", "epochs", 1, "batch", 32, "grid", "seed",
        1, 2, 3);
    char slurm_of_first[64], digest[64];

    snprintf(digest, sizeof digest, "%s", digest_here(data, table, "2", "1"));
    cr_assert_eq(json_dump_file(file, nas_file("f.json"), 0), 0);
    json_decref(file);
    const process_result *shown = NAS("jobs", "submit", "--file", nas_file("f.json"), "--on",
                                      "slurm", "--partition", "main", "--dry-run");
    expect_exit(shown, 0, NULL);
    cr_assert_not_null(strstr(shown->out, "#SBATCH --array=0-2\n"));
    cr_assert_not_null(strstr(shown->out, "#SBATCH --partition=main\n"));
    expect_exit(NAS("jobs", "submit", "--file", nas_file("f.json"), "--on", "slurm"), 0,
                "3 jobs are array");
    snprintf(slurm_of_first, sizeof slurm_of_first, "%s", slurm_id("g.s-1"));
    *strchr(slurm_of_first, '_') = '\0';
    cr_assert_eq(strncmp(slurm_id("g.s-3"), slurm_of_first, strlen(slurm_of_first)), 0);
    expect_exit(NAS("jobs", "run"), 78, "tasks of Slurm");
    json_t *tally = NAS_JSON("jobs", "run", "--on", "slurm", "--poll", "1");
    cr_assert_eq(json_integer_value(json_object_get(tally, "done")), 6);
    cr_assert_str_eq(digest_of("g.s-1"), digest);
    cr_assert_str_eq(text_of(last_attempt("g.t-3"), "cause"), "done");
    cr_assert_not_null(strstr(NAS("jobs", "logs", "g.t-1")->out, "valid_top1"));
    json_t *verified = NAS_JSON("store", "verify");
    cr_assert_eq(json_integer_value(json_object_get(verified, "problems")), 0);
    cr_assert_eq(json_integer_value(json_object_get(verified, "orphans")), 0);
}

Test(cli_cluster, cancelled_jobs_leave_the_cluster)
{
    slurm_need();
    const char *data = make_data(), *table = make_table();

    SUBMIT("--name", "runs", "--group", "g", "--", SEARCH("--epochs", "2000"));
    SUBMIT("--name", "waits", "--group", "g", "--cores", "2", "--memory-mib", "4000", "--",
           SEARCH("--epochs", "2000"));
    start_slurm_loop();
    await_checkpoint("runs", 1);
    expect_exit(NAS("jobs", "cancel", "--group", "g"), 0, NULL);
    await_state("runs", "cancelled");
    await_state("waits", "cancelled");
    for (int i = 0; i < 100 && RUN_TOOL("squeue", "-h")->out[0] != '\0'; i++)
        nap(200);
    cr_assert_str_eq(RUN_TOOL("squeue", "-h")->out, "");
    /* one that a user takes from Slurm by hand is cancelled, too */
    SUBMIT("--name", "by-hand", "--", SEARCH("--epochs", "2000"));
    await_checkpoint("by-hand", 1);
    cr_assert_eq(RUN_TOOL("scancel", slurm_id("by-hand"))->code, 0);
    await_state("by-hand", "cancelled");
    cr_assert_eq(stop_loop(SIGTERM), 75);
}

/* Also over the death of the loop: the task goes on meanwhile, and the next loop finds it. */
Test(cli_cluster, a_preempted_job_goes_on_to_the_same_network)
{
    slurm_need();
    const long_search search = make_job();

    submit_long("s", &search);
    start_slurm_loop();
    await_checkpoint("s", 1);
    cr_assert_eq(RUN_TOOL("sbatch", "--partition=urgent", "--nodes=3", "--exclusive",
                          "--output=/dev/null", "--wrap=sleep 1")->code, 0);
    nap(300);
    cr_assert_eq(stop_loop(SIGKILL), 128 + SIGKILL);
    start_slurm_loop();
    hurry("s");
    await_state("s", "done");
    cr_assert_str_eq(digest_of("s"), search.digest);
    const json_t *attempts = json_object_get(NAS_JSON("jobs", "show", "s"), "attempts");
    cr_assert_geq(json_array_size(attempts), 2);
    cr_assert_str_eq(text_of(json_array_get(attempts, 0), "cause"), "interrupted");
    cr_assert_eq(json_integer_value(json_object_get(json_array_get(attempts, 0), "exit_code")), 75);
}

/* What Slurm does shortly before the time of a task is over (--signal), done now. */
Test(cli_cluster, a_warned_job_queues_itself_again)
{
    slurm_need();
    const long_search search = make_job();
    char first[64];

    submit_long("s", &search);
    start_slurm_loop();
    await_checkpoint("s", 1);
    snprintf(first, sizeof first, "%s", slurm_id("s"));
    cr_assert_eq(RUN_TOOL("scancel", "--batch", "--signal=USR1", first)->code, 0);
    hurry("s");
    await_state("s", "done");
    cr_assert_str_eq(digest_of("s"), search.digest);
    const json_t *attempts = json_object_get(NAS_JSON("jobs", "show", "s"), "attempts");
    cr_assert_eq(json_array_size(attempts), 2, "%s", said());
    cr_assert_str_eq(text_of(json_array_get(attempts, 1), "slurm"), first,
                     "submitted again, not queued again: %s", said());
}

/* The node's daemon dies, its job lives on as a zombie; Slurm starts it again elsewhere. */
Test(cli_cluster, after_a_node_died_the_new_attempt_wins_and_the_zombie_ends)
{
    slurm_need();
    const long_search search = make_job();
    char node[32], path[512], what[64];

    submit_long("s", &search);
    start_slurm_loop();
    await_checkpoint("s", 1);
    snprintf(node, sizeof node, "%.3s", RUN_TOOL("squeue", "-h", "-o", "%N")->out);
    node[strcspn(node, "\n")] = '\0';
    snprintf(path, sizeof path, "%s/run/slurmd-%s", nas_file("slurm"), node);
    FILE *file = fopen(path, "r");
    int pid = 0;
    cr_assert(file != NULL && fscanf(file, "%d", &pid) == 1 && pid > 1, "node '%s'", node);
    fclose(file);
    kill(pid, SIGKILL);
    snprintf(what, sizeof what, "nodename=%s", node);
    cr_assert_eq(RUN_TOOL("scontrol", "update", what, "state=down", "reason=test")->code, 0);
    hurry("s");
    await_state("s", "done");
    cr_assert_str_eq(digest_of("s"), search.digest);
    const json_t *attempts = json_object_get(NAS_JSON("jobs", "show", "s"), "attempts");
    cr_assert_eq(json_array_size(attempts), 2);
    cr_assert_str_eq(text_of(json_array_get(attempts, 0), "state"), "lost");
    cr_assert_eq(json_integer_value(json_object_get(NAS_JSON("store", "verify"), "problems")), 0);
}

/* More than 200 words that a shell would obey travel to a node and back. */
Test(cli_cluster, no_word_of_a_job_reaches_a_shell)
{
    slurm_need();
    json_t *words = json_pack("[s, s]", "runs", "delete");
    char canary[256];

    snprintf(canary, sizeof canary, "%s", nas_file("canary"));
    for (int i = 0; i < PAYLOADS; i++) {
        char payload[512];

        payload_make(payload, sizeof payload, i, canary);
        if (payload[0] != '-')
            json_array_append_new(words, json_string(payload));
    }
    cr_assert_gt(json_array_size(words), 200);
    json_t *file = json_pack("{s:[{s:s, s:o, s:i}]}", "jobs", "name", "evil", "run", words,
                             "retries", 0);
    cr_assert_eq(json_dump_file(file, nas_file("f.json"), 0), 0);
    json_decref(file);
    expect_exit(NAS("jobs", "submit", "--file", nas_file("f.json"), "--on", "slurm"), 0, NULL);
    expect_exit(NAS("jobs", "run", "--on", "slurm", "--poll", "1"), 1, NULL);
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "evil"), "state"), "failed");
    cr_assert_neq(access(canary, F_OK), 0);
    /* nor do options of the cluster */
    expect_exit(NAS("jobs", "submit", "--on", "slurm", "--partition", "x\n#SBATCH --wrap=id", "--",
                    "space", "list"), 78, "--partition");
    expect_exit(NAS("jobs", "submit", "--on", "slurm", "--partition", "nowhere", "--retries", "0",
                    "--name", "p", "--", "space", "list"), 0, "invalid partition");
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "p"), "cause"), "not-started");
}
