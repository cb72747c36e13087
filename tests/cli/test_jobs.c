/* Jobs from the outside: the real loop, real processes, and what is left when they die. */
#include <dirent.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cli/jobs.h"

TestSuite(cli_jobs, .init = nas_begin, .fini = jobs_end, .timeout = 120);

static void await_state(const char *job, const char *state)
{
    for (int i = 0; i < 600; i++) {
        if (strcmp(text_of(NAS_JSON("jobs", "why", job), "state"), state) == 0)
            return;
        nap(50);
    }
    cr_assert(false, "job %s is %s, not %s: %s", job,
              text_of(NAS_JSON("jobs", "why", job), "state"), state,
              NAS("jobs", "why", job)->out);
}

/* Gone, or dead and not yet collected by whoever is process 1 here. */
static bool is_gone(pid_t pid)
{
    char path[64], text[256] = "";

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return true;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    const char *state = strrchr(text, ')');
    return state == NULL || state[2] == 'Z' || state[2] == 'X';
}

static void await_end(pid_t pid)
{
    for (int i = 0; i < 100 && !is_gone(pid); i++)
        nap(50);
    cr_assert(is_gone(pid), "process %d lives on", (int)pid);
}

static json_t *result_of(const char *job)
{
    const char *path = text_of(NAS_JSON("jobs", "logs", job), "out");
    json_t *result = json_load_file(path, 0, NULL);

    cr_assert_not_null(result, "no result in '%s'", path);
    return result;
}

/* ---- running ---- */

Test(cli_jobs, jobs_run_after_what_they_need_and_their_output_is_kept)
{
    expect_exit(NAS("jobs", "submit", "--name", "one", "--", "space", "count", "tiny", "--json"),
                0, "nas jobs run");
    expect_exit(NAS("jobs", "submit", "--name", "two", "--after", "one", "--cores", "2", "--",
                    "space", "list"), 0, NULL);
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "two"), "why"),
                     "it waits for job one, which is queued");
    const json_t *tally = NAS_JSON("jobs", "run", "--cores", "2");
    cr_assert_eq(json_integer_value(json_object_get(tally, "done")), 2);
    cr_assert_eq(json_integer_value(json_object_get(tally, "attempts")), 2);
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "two"), "state"), "done");
    json_t *result = result_of("one");
    cr_assert_str_eq(text_of(result, "architectures"), "8000");
    json_decref(result);
    cr_assert_not_null(strstr(NAS("jobs", "logs", "two")->out, "proxyless-cifar"));
}

/* A network is searched twice, each one is trained, and a report is made of all. */
Test(cli_jobs, a_file_describes_a_whole_pipeline)
{
    const char *data = make_data(), *table = make_table(), *page = nas_file("report.html");
    json_t *file = json_pack(
        "{s:s, s:[{s:s, s:[s], s:{s:s, s:s, s:s, s:i, s:i, s:i, s:i}, s:{s:[i, i]}},"
        " {s:s, s:[s, s], s:{s:s, s:s, s:i, s:i}, s:{s:[i, i]}}, {s:s, s:[s], s:{s:s}, s:[s]}]}",
        "group", "p", "jobs", "name", "search", "run", "search", "options", "data", data, "space",
        "tiny", "table", table, "target_ms", 3, "epochs", 1, "warmup_epochs", 1, "batch", 32,
        "grid", "seed", 1, 2, "name", "train", "run", "train", "--json", "options", "data", data,
        "arch", "{search:arch.json}", "epochs", 1, "batch", 32, "grid", "seed", 1, 2, "name",
        "report", "run", "report", "options", "out", page, "after_any", "train");

    cr_assert_eq(json_dump_file(file, nas_file("f.json"), 0), 0);
    json_decref(file);
    NAS_JSON("jobs", "submit", "--file", nas_file("f.json"));
    cr_assert_eq(json_integer_value(json_object_get(NAS_JSON("jobs", "run", "--cores", "2"),
                                                    "done")), 5);
    cr_assert_eq(access(page, R_OK), 0);
    json_t *trained = result_of("p.train-2");
    char *run = strdup(text_of(trained, "run"));
    json_decref(trained);
    const json_t *config = json_object_get(NAS_JSON("runs", "show", run), "config");
    char arch[256], expected[300];
    snprintf(arch, sizeof arch, "%s", text_of((json_t *)config, "arch"));
    const json_t *runs = json_object_get(NAS_JSON("jobs", "show", "p.search-2"), "runs");
    const json_t *id = json_object_get(
        NAS_JSON("runs", "show", json_string_value(json_array_get(runs, 0))), "id");
    snprintf(expected, sizeof expected, "%s/runs/%lld/arch.json", nas_file("store"),
             (long long)json_integer_value(id));
    cr_assert_str_eq(arch, expected);
    free(run);
}

/* What it uses was not made: that is said, tried again, and given up. */
Test(cli_jobs, a_job_whose_file_is_not_there_says_so)
{
    NAS_JSON("jobs", "submit", "--file",
             nas_put("f.json", "{\"jobs\": [{\"name\": \"a\", \"run\": [\"space\", \"list\"]},"
                               "{\"name\": \"b\", \"run\": [\"inspect\", \"{a:arch.json}\"],"
                               "\"retries\": 1}]}"));
    expect_exit(NAS("jobs", "run"), 1, NULL);
    json_t *why = NAS_JSON("jobs", "why", "b");
    cr_assert_str_eq(text_of(why, "cause"), "not-started");
    cr_assert_eq(json_integer_value(json_object_get(why, "attempt")), 2);
    cr_assert_not_null(strstr(text_of(json_array_get(json_object_get(why, "tail"), 0), "stderr"),
                              "job 1 left no arch.json"));
}

Test(cli_jobs, mistakes_are_found_when_a_job_is_submitted)
{
    expect_exit(NAS("jobs", "submit"), 2, "there is no command to run");
    expect_exit(NAS("jobs", "submit", "--", "serach"), 2, "did you mean 'nas search'?");
    expect_exit(NAS("jobs", "submit", "--", "space", "count"), 2, "an argument is missing");
    expect_exit(NAS("jobs", "submit", "--", "bench", "--bach", "1"), 2, "did you mean --batch?");
    expect_exit(NAS("jobs", "submit", "--", "jobs", "run"), 2, "cannot be a job");
    expect_exit(NAS("jobs", "submit", "--", "space", "list", "--store", "s"), 2,
                "a job has the store in which it is queued");
    expect_exit(NAS("jobs", "submit", "--", "space", "list", "--store=s"), 2, "--store: a job");
    expect_exit(NAS("jobs", "submit", "--after", "x", "--", "space", "list"), 2,
                "there is no job 'x'");
    expect_exit(NAS("jobs", "submit", "--file", nas_put("f.json", "{\"jobs\": [{\"name\": \"a\","
                    "\"run\": [\"space\", \"list\"], \"options\": {\"limit\": 3}}]}")), 2,
                "job a: unknown option '--limit'");
    expect_exit(NAS("jobs", "submit", "--file", nas_put("f.json", "{\"jobs\": 1}")), 65,
                "jobs: should be a list");
    cr_assert_eq(json_array_size(json_object_get(NAS_JSON("jobs", "list"), "jobs")), 0);
}

Test(cli_jobs, a_dry_run_shows_and_queues_nothing)
{
    const char *file = nas_put("f.json", "{\"group\": \"g\", \"jobs\": [{\"name\": \"s\", \"run\":"
                                         "[\"space\", \"sample\", \"tiny\"], \"grid\": {\"seed\":"
                                         "[1, 2, 3]}}]}");
    const json_t *result = NAS_JSON("jobs", "submit", "--file", file, "--dry-run");

    cr_assert_eq(json_array_size(json_object_get(result, "jobs")), 3);
    cr_assert_neq(access(nas_file("store"), F_OK), 0, "a dry run made the store");
    NAS_JSON("jobs", "submit", "--file", file);
    cr_assert_eq(json_array_size(json_object_get(NAS_JSON("jobs", "list", "--group", "g"),
                                                 "jobs")), 3);
    cr_assert_eq(json_integer_value(json_object_get(NAS_JSON("jobs", "run"), "done")), 3);
}

/* A latency table that a job measures is the job's, too. */
Test(cli_jobs, runs_of_every_kind_belong_to_their_job)
{
    SUBMIT("--name", "p", "--", "profile", "--space", "tiny", "--out", nas_file("p.yaml"),
           "--max-seconds", "1");
    NAS_JSON("jobs", "run");
    cr_assert_eq(json_array_size(json_object_get(NAS_JSON("jobs", "show", "p"), "runs")), 1);
}

Test(cli_jobs, a_failure_is_explained_and_what_waits_for_it_stays)
{
    const char *bad = nas_put("bad.nasd", "this is no data set");

    SUBMIT("--name", "bad", "--", "data", "info", bad);
    SUBMIT("--name", "next", "--after", "bad", "--", "space", "list");
    SUBMIT("--name", "report", "--after-any", "bad", "--", "space", "list");
    expect_exit(NAS("jobs", "run"), 1, "1 jobs did not get done, and 1 wait");
    json_t *why = NAS_JSON("jobs", "why", "bad");
    cr_assert_str_eq(text_of(why, "state"), "failed");
    cr_assert_str_eq(text_of(why, "cause"), "data");
    cr_assert_eq(json_integer_value(json_object_get(why, "exit_code")), 65);
    cr_assert_eq(json_integer_value(json_object_get(why, "attempt")), 1); /* not retried */
    cr_assert_not_null(strstr(text_of(json_array_get(json_object_get(why, "tail"), 0), "stderr"),
                              "bad.nasd"));
    why = NAS_JSON("jobs", "why", "next");
    cr_assert_str_eq(text_of(why, "why"), "it waits for job bad, which is failed");
    cr_assert_not_null(strstr(text_of(why, "hint"), "nas jobs retry bad"));
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "report"), "state"), "done");
    NAS_JSON("jobs", "cancel", "next");
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "next"), "state"), "cancelled");
    NAS_JSON("jobs", "retry", "next", "bad");
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "bad"), "state"), "queued");
    expect_exit(NAS("jobs", "retry", "report"), 2, "is done");
}

/* 200 words that a shell would obey, in a place where any text is good. */
Test(cli_jobs, words_reach_a_job_as_they_are_and_no_shell_sees_them)
{
    static const char *const tricks[] = {
        "$(touch CANARY)", "`touch CANARY`", "; touch CANARY", "| touch CANARY", "&& touch CANARY",
        "\n touch CANARY", "' ; touch CANARY '", "\" ; touch CANARY \"", "\n#SBATCH -o CANARY\n",
        "> CANARY", "--help", "-x", "${IFS}touch${IFS}CANARY", "%s%n%d", "\u2019; touch CANARY",
        "*", "~", "$HOME", "../../etc/passwd", "a\tb\\",
    };
    enum { VARIANTS = 10, TRICKS = sizeof tricks / sizeof *tricks };
    json_t *words = json_array();
    char word[64], job[32], folder[256];

    for (int i = 0; i < VARIANTS * TRICKS; i++) { /* each behind another beginning */
        snprintf(word, sizeof word, "%.*s%s", i / TRICKS, "a'b\"c$d{e", tricks[i % TRICKS]);
        json_array_append_new(words, json_string(word));
    }
    json_t *file = json_pack("{s:s, s:[{s:s, s:[s, s], s:{s:o}}]}", "group", "g", "jobs", "name",
                             "t", "run", "runs", "list", "grid", "kind", words);
    cr_assert_eq(json_dump_file(file, nas_file("f.json"), 0), 0);
    snprintf(folder, sizeof folder, "%s", nas_file("f.json"));
    *strrchr(folder, '/') = '\0';
    cr_assert_eq(chdir(folder), 0);
    NAS_JSON("jobs", "submit", "--file", nas_file("f.json"));
    const int files = nas_count();
    cr_assert_eq(json_integer_value(json_object_get(NAS_JSON("jobs", "run", "--cores", "4",
                                                             "--quiet"), "done")),
                 VARIANTS * TRICKS);
    cr_assert_eq(nas_count(), files);
    for (int i = 0; i < VARIANTS * TRICKS; i += 7) {
        snprintf(job, sizeof job, "g.t-%d", i + 1);
        snprintf(word, sizeof word, "--kind=%s",
                 json_string_value(json_array_get(words, (size_t)i)));
        const json_t *args = json_object_get(NAS_JSON("jobs", "show", job), "args");
        cr_assert_str_eq(json_string_value(json_array_get(args, 2)), word);
    }
    json_decref(file);
}

/* Of two words that differ by one byte one is cut within a character. */
Test(cli_jobs, a_long_command_line_is_cut_between_characters)
{
    char word[1024];

    for (int shift = 0; shift < 2; shift++) {
        memset(word, 'x', sizeof word);
        for (size_t i = (size_t)shift; i + 2 < sizeof word; i += 2)
            memcpy(word + i, "\u00e4", 2);
        word[1020 + shift] = '\0';
        SUBMIT("--", "data", "info", word);
    }
    cr_assert_eq(json_array_size(json_object_get(NAS_JSON("jobs", "list"), "jobs")), 2);
}

/* Whether it lives cannot be seen, so that nothing is said to be lost. */
Test(cli_jobs, a_loop_of_another_host_is_not_taken_for_dead)
{
    sqlite3 *db;

    SUBMIT("--name", "r", "--", "space", "list");
    SUBMIT("--name", "q", "--", "space", "list");
    cr_assert_eq(sqlite3_open(nas_file("store/store.db"), &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "INSERT INTO job_loop (id, number, cores, memory_mib, pid, "
                                  "pid_start, host, started_ms, ended) VALUES (1, 1, 4, 1000, 42, "
                                  "1, 'elsewhere', 0, 0); UPDATE job SET state = 'running' WHERE "
                                  "name = 'r'", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "r"), "state"), "running");
    cr_assert_not_null(strstr(text_of(NAS_JSON("jobs", "why", "r"), "why"),
                              "a loop on elsewhere, not visible from here"));
    cr_assert_not_null(strstr(text_of(NAS_JSON("jobs", "why", "q"), "why"),
                              "a loop on elsewhere, not visible from here"));
    cr_assert(json_is_false(json_object_get(json_object_get(NAS_JSON("jobs", "list"), "loop"),
                                            "visible")));
    const json_t *list = NAS_JSON("jobs", "list", "--limit", "1");
    cr_assert_eq(json_array_size(json_object_get(list, "jobs")), 1);
    cr_assert_eq(json_object_size(json_object_get(list, "states")), 2, "states are of all");
    cr_assert_eq(sqlite3_exec(db, "UPDATE job_loop SET ended = 1", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    cr_assert_str_eq(text_of(NAS_JSON("jobs", "why", "r"), "state"), "lost");
    cr_assert_eq(json_array_size(json_object_get(NAS_JSON("jobs", "list", "--state", "lost"),
                                                 "jobs")), 1);
    cr_assert_eq(json_array_size(json_object_get(NAS_JSON("jobs", "list", "--state", "running"),
                                                 "jobs")), 0);
}

/* ---- stopping ---- */

Test(cli_jobs, a_killed_loop_is_continued_to_the_same_network)
{
    const long_search search = make_long_search("2", 4);
    const char *data = search.data, *table = search.table;

    SUBMIT("--name", "s", "--", SEARCH("--epochs", search.epochs, "--json", "--name",
                                                                  "disturbed"));
    for (int kill_number = 1; kill_number <= 2; kill_number++) {
        start_loop();
        await_process("s");
        nap(700);
        const pid_t worker = process_of("s");
        cr_assert_eq(stop_loop(SIGKILL), 128 + SIGKILL);
        await_end(worker); /* nobody is left behind */
    }
    json_t *why = NAS_JSON("jobs", "why", "s");
    cr_assert_str_eq(text_of(why, "state"), "lost");
    cr_assert_str_eq(text_of(why, "hint"), "nas jobs run queues it again and goes on");
    const json_t *tally = NAS_JSON("jobs", "run");
    cr_assert_eq(json_integer_value(json_object_get(tally, "done")), 1);
    json_t *result = result_of("s");
    cr_assert_str_eq(text_of(result, "digest"), search.digest);
    cr_assert_str_eq(text_of(result, "run"), "disturbed");
    json_decref(result);
    const json_t *attempts = json_object_get(NAS_JSON("jobs", "show", "s"), "attempts");
    cr_assert_eq(json_array_size(attempts), 3);
    cr_assert_str_eq(text_of(json_array_get(attempts, 0), "cause"), "loop-died");
    cr_assert_eq((int)json_array_size(json_object_get(NAS_JSON("runs", "list"), "runs")),
                 search.runs + 1);
    expect_exit(NAS("store", "verify"), 0, NULL);
}

enum { CHAINS = 3 }; /* searches, each with the training of its network behind it */

/* Queues them as the jobs GROUP.search-1 ... GROUP.train-3. */
static void submit_chains(const char *group)
{
    json_t *file = json_pack(
        "{s:[{s:s, s:[s, s], s:{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:f, s:i}, s:{s:[i, i, i]}},"
        " {s:s, s:[s, s], s:{s:s, s:s, s:i, s:i, s:f}, s:{s:[i, i, i]}}]}",
        "jobs", "name", "search", "run", "search", "--json", "options", "data", make_data(),
        "space", "tiny", "table", make_table(), "target_ms", 3, "epochs", 2, "warmup_epochs", 1,
        "batch", 32, "checkpoint_seconds", 0.05, "score_images", 50, "grid", "seed", 1, 2, 3, "name",
        "train", "run", "train", "--json", "options", "data", nas_file("task.nasd"), "arch",
        "{search:arch.json}", "epochs", 6, "batch", 32, "checkpoint_seconds", 0.05, "grid", "seed",
        1, 2, 3);

    cr_assert_eq(json_dump_file(file, nas_file("chains.json"), 0), 0);
    json_decref(file);
    NAS_JSON("jobs", "submit", "--file", nas_file("chains.json"), "--group", group);
}

/* What a job of a group made: digest of a search, loss of a training, to the last bit; yours. */
static json_t *made_by(const char *group, int job)
{
    char name[64];

    snprintf(name, sizeof name, "%s.%s-%d", group, job < CHAINS ? "search" : "train",
             1 + job % CHAINS);
    json_t *result = result_of(name);
    json_t *made = json_incref(json_object_get(result, job < CHAINS ? "digest" : "train_loss"));
    json_decref(result);
    cr_assert_not_null(made, "%s", name);
    return made;
}

/* Every job got done once, and made one run; at least one was lost.  Attempts of all jobs. */
static size_t expect_done_once(const char *group)
{
    const json_t *jobs = json_object_get(NAS_JSON("jobs", "list", "--group", group), "jobs");
    char names[2 * CHAINS][64];
    size_t all = 0;

    cr_assert_eq(json_array_size(jobs), 2 * CHAINS);
    for (size_t i = 0; i < 2 * CHAINS; i++)
        snprintf(names[i], sizeof names[i], "%s", text_of(json_array_get(jobs, i), "name"));
    for (size_t i = 0; i < 2 * CHAINS; i++) {
        json_t *job = NAS_JSON("jobs", "show", names[i]);
        const json_t *attempts = json_object_get(job, "attempts");
        const size_t count = json_array_size(attempts);

        cr_assert_str_eq(text_of(job, "state"), "done");
        cr_assert_eq(json_array_size(json_object_get(job, "runs")), 1, "%s", names[i]);
        for (size_t k = 0; k + 1 < count; k++)
            cr_assert_str_eq(text_of(json_array_get(attempts, k), "cause"), "loop-died");
        cr_assert_str_eq(text_of(json_array_get(attempts, count - 1), "state"), "done");
        all += count;
    }
    return all;
}

/* One loop is killed in the middle, the other one goes on. */
static void expect_same_with(const char *group, const char *killed, const char *next)
{
    char name[64];

    submit_chains(group);
    start_loop_of(killed);
    snprintf(name, sizeof name, "%s.search-1", group);
    await_state(name, "done");
    nap(150);
    cr_assert_eq(stop_loop(SIGKILL), 128 + SIGKILL);
    const json_t *tally = NAS_JSON("jobs", "run", "--cores", next);
    const json_int_t left = json_integer_value(json_object_get(tally, "done"));
    const json_int_t started = json_integer_value(json_object_get(tally, "attempts"));
    cr_assert(left > 0 && left < 2 * CHAINS && started == left, "%d, %d", (int)left, (int)started);
    cr_assert_gt(expect_done_once(group), 2 * CHAINS, "nothing was lost");
    for (int i = 0; i < 2 * CHAINS; i++) {
        json_t *made = made_by(group, i), *straight = made_by("straight", i);

        cr_assert(json_equal(made, straight), "job %d of %s", i, group);
        json_decref(made);
        json_decref(straight);
    }
}

Test(cli_jobs, a_killed_loop_is_continued_by_one_of_more_or_fewer_processes)
{
    submit_chains("straight");
    NAS_JSON("jobs", "run", "--cores", "2");
    cr_assert_eq(expect_done_once("straight"), 2 * CHAINS);
    expect_same_with("more", "1", "2");
    expect_same_with("fewer", "2", "1");
    expect_exit(NAS("store", "verify"), 0, NULL);
}

Test(cli_jobs, a_killed_job_is_lost_and_goes_on_from_its_checkpoint)
{
    const long_search search = make_long_search("2", 4);
    const char *data = search.data, *table = search.table;

    SUBMIT("--name", "s", "--", SEARCH("--epochs", search.epochs, "--json"));
    start_loop();
    await_process("s");
    nap(600);
    kill(process_of("s"), SIGKILL);
    await_state("s", "done");
    json_t *result = result_of("s");
    cr_assert_str_eq(text_of(result, "digest"), search.digest);
    json_decref(result);
    const json_t *first =
        json_array_get(json_object_get(NAS_JSON("jobs", "show", "s"), "attempts"), 0);
    cr_assert_str_eq(text_of((json_t *)first, "state"), "lost");
    cr_assert_str_eq(text_of((json_t *)first, "cause"), "killed");
}

Test(cli_jobs, a_stopped_loop_lets_jobs_write_checkpoints_and_queues_them_again)
{
    const char *data = make_data(), *table = make_table();

    SUBMIT("--name", "s", "--retries", "0", "--",
             SEARCH("--epochs", "2000"));
    start_loop();
    const pid_t worker = await_process("s");
    nap(500);
    cr_assert_eq(stop_loop(SIGTERM), 75);
    cr_assert(is_gone(worker));
    json_t *why = NAS_JSON("jobs", "why", "s");
    cr_assert_str_eq(text_of(why, "state"), "queued");
    cr_assert_str_eq(text_of(why, "cause"), "loop-ended");
    cr_assert_eq(json_integer_value(json_object_get(why, "exit_code")), 75);
    cr_assert(json_is_null(json_object_get(NAS_JSON("jobs", "list"), "loop")));
}

/* The system and the shell both say that a terminal closes. */
Test(cli_jobs, a_terminal_that_closes_leaves_jobs_time_for_a_checkpoint)
{
    const char *data = make_data(), *table = make_table();

    SUBMIT("--name", "s", "--", SEARCH("--epochs", "2000"));
    start_loop();
    await_process("s");
    nap(600);
    kill(background, SIGHUP);
    nap(1);
    cr_assert_eq(stop_loop(SIGHUP), 75);
    const json_t *first =
        json_array_get(json_object_get(NAS_JSON("jobs", "show", "s"), "attempts"), 0);
    cr_assert_str_eq(text_of((json_t *)first, "cause"), "loop-ended");
    cr_assert_eq(json_integer_value(json_object_get(first, "exit_code")), 75);
}

Test(cli_jobs, a_time_limit_ends_a_job_with_a_checkpoint)
{
    const char *data = make_data(), *table = make_table();

    SUBMIT("--name", "s", "--time-limit", "1", "--",
             SEARCH("--epochs", "2000"));
    expect_exit(NAS("jobs", "run"), 1, NULL);
    json_t *why = NAS_JSON("jobs", "why", "s");
    cr_assert_str_eq(text_of(why, "state"), "timed_out");
    cr_assert_eq(json_integer_value(json_object_get(why, "exit_code")), 75);
    cr_assert_not_null(strstr(text_of(why, "hint"), "goes on from its checkpoint"));
}

/* A search holds some 20 MiB. */
Test(cli_jobs, more_memory_than_a_job_asked_for_ends_it_with_a_checkpoint)
{
    const char *data = make_data(), *table = make_table();

    SUBMIT("--name", "s", "--memory-mib", "3", "--", SEARCH("--epochs", "2000"));
    expect_exit(NAS("jobs", "run"), 1, NULL);
    json_t *why = NAS_JSON("jobs", "why", "s");
    cr_assert_str_eq(text_of(why, "state"), "out_of_memory");
    cr_assert_str_eq(text_of(why, "cause"), "memory-limit");
    cr_assert_eq(json_integer_value(json_object_get(why, "exit_code")), 75);
    cr_assert_eq(json_integer_value(json_object_get(why, "attempt")), 1);
    cr_assert_not_null(strstr(text_of(why, "hint"), "more --memory-mib"));
}

/* A stopped process uses no processor and ignores SIGTERM: only the missing steps tell. */
Test(cli_jobs, a_job_without_steps_is_hung_and_killed)
{
    const char *data = make_data(), *table = make_table();

    SUBMIT("--name", "s", "--hang-limit", "1", "--retries", "0", "--",
             SEARCH("--epochs", "2000"));
    start_loop();
    await_process("s");
    nap(500);
    kill(process_of("s"), SIGSTOP);
    await_state("s", "lost");
    json_t *why = NAS_JSON("jobs", "why", "s");
    cr_assert_str_eq(text_of(why, "cause"), "hung");
    cr_assert_eq(json_integer_value(json_object_get(why, "signal")), SIGKILL);
    cr_assert_gt(json_integer_value(json_object_get(why, "step")), 0);
    cr_assert_neq(strcmp(text_of(why, "phase"), ""), 0);
}

/* Else its hang limit would end it whatever it does. */
Test(cli_jobs, work_that_counts_no_steps_gives_signs_of_life)
{
    const char *table = make_table();

    SUBMIT("--name", "e", "--", "evolve", "--space", "tiny", "--predictor",
           NAS_SOURCE_DIR "/tests/golden/predictor.safetensors", "--table", table, "--target-ms",
           "1.0", "--rounds", "2");
    NAS_JSON("jobs", "run");
    cr_assert_eq(json_integer_value(json_object_get(NAS_JSON("jobs", "why", "e"), "step")), 0);
}

Test(cli_jobs, a_group_is_cancelled_whether_it_runs_or_waits)
{
    const char *data = make_data(), *table = make_table();

    for (int i = 0; i < 3; i++)
        SUBMIT("--group", "g", "--cores", "2", "--",
                 SEARCH("--epochs", "2000"));
    start_loop();
    await_process("job-1");
    json_t *names = json_object_get(NAS_JSON("jobs", "cancel", "--group", "g"), "cancelled");
    cr_assert_eq(json_array_size(names), 3);
    for (int i = 1; i <= 3; i++) {
        char job[16];

        snprintf(job, sizeof job, "job-%d", i);
        await_state(job, "cancelled");
    }
    cr_assert_eq(stop_loop(SIGTERM), 75);
    cr_assert_eq(json_array_size(json_object_get(NAS_JSON("jobs", "show", "job-2"), "attempts")),
                 0);
    expect_exit(NAS("jobs", "cancel", "--group", "none"), 2, "no job in group 'none'");
    expect_exit(NAS("jobs", "cancel"), 2, "give names of jobs, or --group");
}

/* ---- the loop itself ---- */

/* Entries of a folder of /proc; -1 if it is not there. */
static int entries(const char *what)
{
    char path[64];
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)background, what);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -1;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void expect_no_children(void)
{
    char path[64], text[256] = "";

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)background, (int)background);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return; /* this kernel does not tell */
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    cr_assert_str_empty(text);
}

Test(cli_jobs, a_watching_loop_takes_new_jobs_refuses_a_second_loop_and_leaks_nothing)
{
    const char *file = nas_put("f.json", "{\"jobs\": [{\"name\": \"n\", \"run\": [\"space\","
                                         "\"list\"], \"grid\": {\"seed\": [1, 2, 3, 4, 5, 6, 7, 8,"
                                         "9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]}}]}");
    char text[64];

    start_loop();
    SUBMIT("--name", "first", "--", "space", "list");
    await_state("first", "done");
    nap(400); /* the last pipes close */
    const int descriptors = entries("fd");
    snprintf(text, sizeof text, "process %d on ", (int)background);
    expect_exit(NAS("jobs", "run"), 1, text);
    NAS_JSON("jobs", "submit", "--file", file, "--group", "g");
    for (int i = 1; i <= 20; i++) {
        char job[16];

        snprintf(job, sizeof job, "g.n-%d", i);
        await_state(job, "done");
    }
    nap(400);
    expect_no_children();
    cr_assert_eq(entries("fd"), descriptors);
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(NAS_JSON("jobs", "list"),
                                                                    "loop"), "pid")), background);
    cr_assert_eq(stop_loop(SIGTERM), 75);
}

Test(cli_jobs, what_asks_for_too_much_is_left_and_explained)
{
    SUBMIT("--name", "big", "--cores", "3", "--", "space", "list");
    expect_exit(NAS("jobs", "run", "--cores", "2"), 1, "1 wait");
    start_loop();
    nap(300);
    cr_assert_not_null(strstr(text_of(NAS_JSON("jobs", "why", "big"), "why"),
                              "it asks for 3 cores"));
}
