/* One loop a store, one attempt a job: who is refused, and what an earlier loop leaves. */
#include "search/store/private.h"
#include "tests/search/store/support.h"

TestSuite(store_jobs_loop, .init = scratch_init, .fini = scratch_fini);

static int64_t submit(nas_store *store, const char *name)
{
    json_t *args = json_pack("[s, s]", "space", "list");
    const nas_job_spec spec = {.name = name, .args = args, .folder = "/", .cores = 1};
    int64_t id;

    ok(nas_store_jobs_submit(store, &spec, 1, &id, &err));
    json_decref(args);
    return id;
}

static int64_t claim(nas_store *store)
{
    int64_t number = 0;

    ok(nas_store_loop_claim(store, 2, 1000, false, &number, &err));
    return number;
}

static bool start(nas_store *store, int64_t loop, int64_t job, int64_t attempt)
{
    nas_job_change change = {.event = NAS_JOB_STARTS, .job = job, .attempt = attempt};

    ok(nas_store_jobs_write(store, loop, &change, 1, &err));
    return !change.refused;
}

static nas_job *job_of(nas_store *store, int64_t id)
{
    char text[32];
    nas_job *job;

    snprintf(text, sizeof text, "%lld", (long long)id);
    ok(nas_store_job_get(store, text, &job, &err));
    return job;
}

static nas_job_state state_of(nas_store *store, int64_t id)
{
    nas_job *job = job_of(store, id);
    const nas_job_state state = job->state;

    nas_job_free(job);
    return state;
}

Test(store_jobs_loop, a_second_loop_is_refused_by_the_name_of_the_first)
{
    nas_store *store = open_store();
    nas_job_loop loop;
    int64_t number;
    char text[300], host[256];

    ok(nas_store_loop_get(store, &loop, &err));
    cr_assert_eq(loop.number, 0);
    cr_assert_eq(claim(store), 1);
    cr_assert_eq(nas_store_loop_claim(store, 2, 1000, true, &number, &err), NAS_E_FAIL);
    gethostname(host, sizeof host);
    snprintf(text, sizeof text, "process %d on %s runs the jobs of this store", (int)getpid(),
             host);
    says(text);
    ok(nas_store_loop_release(store, 1, NULL, &err));
    cr_assert_eq(claim(store), 2);
    nas_store_close(store);
}

Test(store_jobs_loop, a_loop_does_not_leave_what_it_has_not_seen)
{
    nas_store *store = open_store();
    const int64_t loop = claim(store);
    nas_jobs jobs;
    bool left;

    submit(store, "a");
    ok(nas_store_loop_release(store, loop, &left, &err));
    cr_assert_not(left);
    ok(nas_store_jobs_news(store, loop, false, &jobs, &err));
    nas_jobs_fini(&jobs);
    ok(nas_store_loop_release(store, loop, &left, &err));
    cr_assert(left);
    cr_assert_eq(claim(store), loop + 1);
    nas_store_close(store);
}

Test(store_jobs_loop, a_dead_loop_is_replaced_and_one_of_another_host_only_when_asked)
{
    nas_store *store = open_store();
    int64_t number;

    claim(store);
    raw_sql("UPDATE job_loop SET pid_start = pid_start + 1"); /* that process is gone */
    cr_assert_eq(claim(store), 2);
    raw_sql("UPDATE job_loop SET host = 'elsewhere', pid = 4242");
    cr_assert_eq(nas_store_loop_claim(store, 2, 1000, false, &number, &err), NAS_E_FAIL);
    says("process 4242 on elsewhere");
    cr_assert_not_null(strstr(err.hint, "--take-over"));
    ok(nas_store_loop_claim(store, 2, 1000, true, &number, &err));
    cr_assert_eq(number, 3);
    nas_store_close(store);
}

Test(store_jobs_loop, a_loop_that_was_taken_over_writes_no_more)
{
    nas_store *store = open_store();
    const int64_t id = submit(store, "a");
    const int64_t loop = claim(store);
    nas_job_change change = {.event = NAS_JOB_STARTS, .job = id, .attempt = 1};
    nas_job_orphan *orphans;
    nas_jobs jobs;
    int count;

    raw_sql("UPDATE job_loop SET number = 7, pid = 99, host = 'there'");
    cr_assert_eq(nas_store_jobs_write(store, loop, &change, 1, &err), NAS_E_FAIL);
    says("process 99 on there has taken");
    cr_assert_eq(nas_store_jobs_recover(store, loop, &orphans, &count, &err), NAS_E_FAIL);
    cr_assert_eq(nas_store_jobs_news(store, loop, true, &jobs, &err), NAS_E_FAIL);
    cr_assert_eq(state_of(store, id), NAS_JOB_QUEUED);
    nas_store_close(store);
}

Test(store_jobs_loop, only_a_queued_job_starts_and_only_its_next_attempt)
{
    nas_store *store = open_store();
    const int64_t id = submit(store, "a"), other = submit(store, "b"), loop = claim(store);

    cr_assert_not(start(store, loop, id, 2));
    cr_assert(start(store, loop, id, 1));
    cr_assert_not(start(store, loop, id, 2));
    ok(nas_store_jobs_cancel(store, &other, 1, &err));
    cr_assert_not(start(store, loop, other, 1));
    cr_assert_eq(state_of(store, other), NAS_JOB_CANCELLED);
    nas_store_close(store);
}

Test(store_jobs_loop, an_attempt_is_written_down_from_start_to_end)
{
    nas_store *store = open_store();
    const int64_t id = submit(store, "a"), loop = claim(store);
    nas_job_change changes[] = {
        {.event = NAS_JOB_STARTS, .job = id, .attempt = 1},
        {.event = NAS_JOB_SPAWNED, .job = id, .attempt = 1, .pid = getpid()},
        {.event = NAS_JOB_STEPPED, .job = id, .attempt = 1, .step = 5, .phase = "warm-up",
         .peak_rss_mib = 10},
        {.event = NAS_JOB_ENDS, .job = id, .attempt = 1, .step = 9, .phase = "search",
         .peak_rss_mib = 12.5, .attempt_state = NAS_JOB_OUT_OF_MEMORY, .cause = "memory",
         .job_state = NAS_JOB_QUEUED, .code = 71, .failures = 1, .tail = (char *)"no memory\n"},
        {.event = NAS_JOB_STARTS, .job = id, .attempt = 2},
    };
    nas_job_attempt *attempts;
    int count;

    ok(nas_store_jobs_write(store, loop, changes, 5, &err));
    ok(nas_store_job_attempts(store, id, &attempts, &count, &err));
    cr_assert_eq(count, 2);
    cr_assert_eq(attempts[0].state, NAS_JOB_OUT_OF_MEMORY);
    cr_assert_eq(attempts[0].pid, getpid());
    cr_assert_eq(attempts[0].code, 71);
    cr_assert_eq(attempts[0].step, 9);
    cr_assert_eq(attempts[0].peak_rss_mib, 12.5);
    cr_assert_str_eq(attempts[0].phase, "search");
    cr_assert_str_eq(attempts[0].tail, "no memory\n");
    cr_assert_geq(attempts[0].ended_ms, attempts[0].started_ms);
    cr_assert_eq(attempts[1].state, NAS_JOB_RUNNING);
    cr_assert_eq(attempts[1].ended_ms, 0);
    nas_job_attempts_free(attempts, count);
    nas_job *job = job_of(store, id);
    cr_assert_eq(job->failures, 1);
    cr_assert_eq(job->attempt, 2);
    nas_job_free(job);
    nas_store_close(store);
}

/* The word is text before, a path behind; a file that is not there is an error with words. */
Test(store_jobs_loop, words_name_files_of_the_last_run_of_a_job)
{
    static const char args[] = "[\"inspect\",{\"before\":\"--x=\",\"job\":1,\"file\":\"net\"}]";
    nas_store *store = open_store();
    const int64_t id = submit(store, "a"), loop = claim(store);
    char *path, expected[300];
    json_t *words;

    cr_assert_eq(nas_store_job_words(store, args, &words, &err), NAS_E_DATA);
    says("job 1 left no net");
    cr_assert(start(store, loop, id, 1));
    nas_store_act_for(store, id, 1);
    put_file(store, begin(store, "old").run, "net", "1");
    put_file(store, begin(store, "new").run, "net", "2");
    ok(nas_store_job_words(store, args, &words, &err));
    path = realpath(scratch("store/runs/2/net"), NULL);
    snprintf(expected, sizeof expected, "--x=%s", path);
    cr_assert_str_eq(json_string_value(json_array_get(words, 0)), "inspect");
    cr_assert_str_eq(json_string_value(json_array_get(words, 1)), expected);
    free(path);
    json_decref(words);
    nas_store_close(store);
}

/* Command lines are JSON: what is no UTF-8 cannot be in one. */
Test(store_jobs_loop, paths_of_jobs_are_utf8)
{
    static const char args[] = "[\"inspect\",{\"before\":\"\",\"job\":1,\"file\":\"net\"}]";
    nas_store *store;
    json_t *words = json_pack("[s, s]", "space", "list"), *resolved;
    nas_job_spec spec = {.args = words, .folder = "/", .cores = 1};

    ok(nas_store_open(&store, scratch("caf\xe9"), NAS_STORE_CREATE, &err));
    cr_assert_eq(nas_store_jobs_check(store, &err), NAS_E_DATA);
    cr_assert_eq(nas_store_jobs_submit(store, &spec, 1, NULL, &err), NAS_E_DATA);
    says("the path of the store is not UTF-8");
    nas_store_act_for(store, 1, 1);
    raw_sql_in("caf\xe9/store.db", "INSERT INTO job (id, name, sweep, args, folder, cores, "
               "memory_mib, priority, time_limit_s, hang_limit_s, retries, state, attempt, "
               "created_ms, updated_ms) VALUES (1, 'a', '', '[]', '/', 1, 0, 0, 0, 0, 0, "
               "'running', 1, 0, 0)");
    put_file(store, begin(store, "r").run, "net", "1");
    cr_assert_eq(nas_store_job_words(store, args, &resolved, &err), NAS_E_DATA);
    says("is not UTF-8");
    nas_store_close(store);

    store = open_store();
    spec.folder = "/caf\xe9";
    cr_assert_eq(nas_store_jobs_submit(store, &spec, 1, NULL, &err), NAS_E_DATA);
    says("the path of the job's directory is not UTF-8");
    json_decref(words);
    nas_store_close(store);
}

Test(store_jobs_loop, news_are_told_once)
{
    nas_store *store = open_store(), *cli = open_store();
    const int64_t loop = claim(store), id = submit(cli, "a");
    nas_jobs jobs;
    bool changed;

    ok(nas_store_changed(store, &changed, &err));
    ok(nas_store_jobs_news(store, loop, false, &jobs, &err));
    cr_assert_eq(jobs.count, 1);
    nas_jobs_fini(&jobs);
    ok(nas_store_jobs_news(store, loop, false, &jobs, &err));
    cr_assert_eq(jobs.count, 0);
    ok(nas_store_changed(store, &changed, &err));
    ok(nas_store_changed(store, &changed, &err));
    cr_assert_not(changed);
    cr_assert(start(store, loop, id, 1));
    ok(nas_store_jobs_cancel(cli, &id, 1, &err));
    ok(nas_store_changed(store, &changed, &err));
    cr_assert(changed);
    ok(nas_store_jobs_news(store, loop, false, &jobs, &err));
    cr_assert_eq(jobs.count, 1);
    cr_assert(jobs.jobs[0].cancel && jobs.jobs[0].state == NAS_JOB_RUNNING);
    nas_jobs_fini(&jobs);
    nas_store_close(store);
    nas_store_close(cli);
}

/* Whatever the loop made of its end, which it decided before it read of the cancelling. */
Test(store_jobs_loop, a_job_that_was_cancelled_is_not_queued_again)
{
    nas_store *store = open_store(), *cli = open_store();
    const int64_t loop = claim(store);
    nas_jobs jobs;

    for (int all = 0; all < 2; all++) {
        const int64_t id = submit(cli, all ? "a" : "b");
        nas_job_change lost = {.event = NAS_JOB_ENDS, .job = id, .attempt = 1, .cause = "killed",
                               .attempt_state = NAS_JOB_LOST, .job_state = NAS_JOB_QUEUED};

        cr_assert(start(store, loop, id, 1));
        ok(nas_store_jobs_news(store, loop, false, &jobs, &err));
        nas_jobs_fini(&jobs);
        ok(nas_store_jobs_cancel(cli, &id, 1, &err));
        ok(nas_store_jobs_write(store, loop, &lost, 1, &err));
        cr_assert_eq(state_of(store, id), NAS_JOB_CANCELLED);
        ok(nas_store_jobs_news(store, loop, all, &jobs, &err)); /* the loop would start it else */
        cr_assert_eq(jobs.count, 1);
        cr_assert_eq(jobs.jobs[0].state, NAS_JOB_CANCELLED);
        nas_jobs_fini(&jobs);
    }
    nas_store_close(store);
    nas_store_close(cli);
}

Test(store_jobs_loop, what_a_dead_loop_left_is_lost_and_queued_again)
{
    nas_store *store = open_store();
    const int64_t a = submit(store, "a"), b = submit(store, "b"), c = submit(store, "c");
    int64_t loop = claim(store);
    nas_job_change spawned = {.event = NAS_JOB_SPAWNED, .job = a, .attempt = 1, .pid = getpid()};
    nas_job_attempt *attempts;
    nas_job_orphan *orphans;
    int count;

    cr_assert(start(store, loop, a, 1) && start(store, loop, b, 1));
    ok(nas_store_jobs_write(store, loop, &spawned, 1, &err));
    ok(nas_store_jobs_cancel(store, &b, 1, &err));
    ok(nas_store_loop_release(store, loop, NULL, &err));
    loop = claim(store);
    ok(nas_store_jobs_recover(store, loop, &orphans, &count, &err));
    cr_assert_eq(count, 2);
    cr_assert(orphans[0].job == a && orphans[0].pid == getpid());
    cr_assert(orphans[1].job == b && orphans[1].pid == 0);
    free(orphans);
    cr_assert_eq(state_of(store, a), NAS_JOB_QUEUED);
    cr_assert_eq(state_of(store, b), NAS_JOB_CANCELLED);
    cr_assert_eq(state_of(store, c), NAS_JOB_QUEUED);
    ok(nas_store_job_attempts(store, a, &attempts, &count, &err));
    cr_assert_eq(attempts[0].state, NAS_JOB_LOST);
    cr_assert_str_eq(attempts[0].cause, "loop-died");
    nas_job_attempts_free(attempts, count);
    cr_assert(start(store, loop, a, 2));
    nas_store_close(store);
}

/* The worker of the first attempt lives on, while the second one has taken its place. */
Test(store_jobs_loop, a_superseded_attempt_is_refused_every_write)
{
    nas_store *loop_store = open_store(), *zombie = open_store(), *worker = open_store();
    const int64_t id = submit(loop_store, "a");
    int64_t loop = claim(loop_store);
    nas_store_attempt old, next;
    nas_store_run *run;
    nas_job_orphan *orphans;
    int count;

    cr_assert(start(loop_store, loop, id, 1));
    nas_store_act_for(zombie, id, 1);
    old = begin(zombie, "r");
    ok(nas_store_progress(zombie, old, 1, 0, NULL, 0, &err));

    ok(nas_store_loop_release(loop_store, loop, NULL, &err));
    loop = claim(loop_store);
    ok(nas_store_jobs_recover(loop_store, loop, &orphans, &count, &err));
    free(orphans);
    cr_assert_eq(nas_store_progress(zombie, old, 2, 0, NULL, 0, &err), NAS_E_FAIL);
    says("was superseded: the job is queued");
    cr_assert(start(loop_store, loop, id, 2));
    cr_assert_eq(nas_store_progress(zombie, old, 2, 0, NULL, 0, &err), NAS_E_FAIL);
    says("job 'a': attempt 1 was superseded by attempt 2");
    cr_assert_eq(nas_store_run_claim(zombie, old.run, &next, &err), NAS_E_FAIL);
    cr_assert_eq(nas_store_run_begin(zombie, &(nas_store_run_spec){.kind = "search"}, &next, &err),
                 NAS_E_FAIL);
    cr_assert_eq(nas_store_run_finish(zombie, old, NAS_STORE_DONE, "{}", NULL, &err), NAS_E_FAIL);
    const nas_store_architecture net = {.digest = "d", .json = "{}", .space = "tiny"};
    cr_assert_eq(nas_store_architecture_put(zombie, &net, NULL, &err), NAS_E_FAIL);
    cr_assert_eq(nas_store_table_put(zombie, "d", "t.yaml", "cpu", NULL, "x", NULL, &err),
                 NAS_E_FAIL);
    says("was superseded by attempt 2");

    nas_store_act_for(worker, id, 2);
    ok(nas_store_job_run(worker, "search", "other settings", &run, &err));
    cr_assert_null(run);
    ok(nas_store_job_run(worker, "search", "c0ffee", &run, &err));
    cr_assert_str_eq(run->name, "r");
    ok(nas_store_run_claim(worker, run->id, &next, &err));
    cr_assert_eq(next.number, 2);
    ok(nas_store_run_finish(worker, next, NAS_STORE_DONE, "{}", NULL, &err));
    /* done, but the loop does not know: the next attempt may take it once more, others not */
    ok(nas_store_run_claim(worker, run->id, &next, &err));
    ok(nas_store_run_finish(worker, next, NAS_STORE_DONE, "{}", NULL, &err));
    cr_assert_eq(nas_store_run_claim(loop_store, run->id, &next, &err), NAS_E_USAGE);
    says("is done");
    nas_store_run_free(run);
    nas_store_close(loop_store);
    nas_store_close(zombie);
    nas_store_close(worker);
}

Test(store_jobs_loop, a_run_that_a_job_goes_on_with_is_its_own)
{
    nas_store *store = open_store();
    const int64_t id = submit(store, "a"), loop = claim(store);
    const nas_store_attempt before = begin(store, "r");
    nas_store_attempt attempt;
    nas_store_run *run;

    ok(nas_store_run_finish(store, before, NAS_STORE_INTERRUPTED, NULL, NULL, &err));
    cr_assert(start(store, loop, id, 1));
    nas_store_act_for(store, id, 1);
    ok(nas_store_run_claim(store, before.run, &attempt, &err));
    ok(nas_store_job_run(store, "search", "c0ffee", &run, &err));
    cr_assert_not_null(run);
    nas_store_run_free(run);
    nas_store_close(store);
}

/* Without a job the process that holds a run must be dead; within one it need not be. */
Test(store_jobs_loop, the_next_attempt_need_not_wait_for_the_death_of_the_one_before)
{
    nas_store *store = open_store(), *other = open_store();
    const int64_t id = submit(store, "a"), loop = claim(store);
    nas_store_attempt attempt;
    char text[256];

    cr_assert(start(store, loop, id, 1));
    nas_store_act_for(store, id, 1);
    attempt = begin(store, "r");
    snprintf(text, sizeof text, "UPDATE run SET pid = %d, pid_start = %lld;"
             "UPDATE job_attempt SET pid = 1, pid_start = 1", (int)getppid(),
             (long long)nas_store__process_start(getppid()));
    raw_sql(text); /* a process that lives, is not this one, and no attempt */
    cr_assert_eq(nas_store_run_claim(other, attempt.run, &attempt, &err), NAS_E_FAIL);
    says("is running as process");
    raw_sql("UPDATE job_attempt SET state = 'lost'; UPDATE job SET state = 'queued'");
    cr_assert(start(store, loop, id, 2));
    nas_store_act_for(store, id, 2);
    cr_assert_eq(nas_store_run_claim(store, attempt.run, &attempt, &err), NAS_E_FAIL);
    says("is running as process");
    raw_sql("UPDATE job_attempt SET pid = run.pid, pid_start = run.pid_start FROM run "
            "WHERE number = 1");
    ok(nas_store_run_claim(store, attempt.run, &attempt, &err));
    cr_assert_eq(attempt.number, 2);
    nas_store_close(store);
    nas_store_close(other);
}
