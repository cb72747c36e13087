/* Runs: begin, claim, finish, look up, delete; one attempt at a time. */
#include "tests/search/store/support.h"

TestSuite(store_run, .init = scratch_init, .fini = scratch_fini);

static nas_store_run *get(nas_store *store, const char *text)
{
    nas_store_run *run;

    ok(nas_store_run_get(store, text, &run, &err));
    return run;
}

Test(store_run, a_new_run_is_recorded_with_its_directory)
{
    nas_store *store = open_store();
    const nas_store_run_spec spec = {.kind = "train", .experiment = "paper", .config = "{\"a\":1}",
                                     .config_digest = "d1", .version = "0.1.0", .threads = 4,
                                     .seed = UINT64_MAX, .parent = begin(store, "first").run};
    nas_store_attempt attempt;

    ok(nas_store_run_begin(store, &spec, &attempt, &err));
    cr_assert_eq(attempt.number, 1);
    nas_store_run *run = get(store, "train-2");
    cr_assert_eq(run->id, attempt.run);
    cr_assert_eq(run->parent, spec.parent);
    cr_assert_eq(run->seed, UINT64_MAX);
    cr_assert_eq(run->threads, 4);
    cr_assert_eq(run->state, NAS_STORE_RUNNING);
    cr_assert(run->alive);
    cr_assert_eq(run->pid, getpid());
    cr_assert_eq(run->step, -1);
    cr_assert_str_eq(run->kind, "train");
    cr_assert_str_eq(run->experiment, "paper");
    cr_assert_str_eq(run->config, "{\"a\":1}");
    cr_assert_str_eq(run->config_digest, "d1");
    cr_assert_str_eq(run->version, "0.1.0");
    cr_assert_null(run->summary);
    cr_assert_gt(run->created_ms, 1600000000000);
    cr_assert_eq(run->finished_ms, 0);
    cr_assert(nas_path_is_dir(scratch("store/runs/2")));
    nas_store_run_free(run);
    nas_store_run_free(NULL);
    nas_store_close(store);
}

Test(store_run, one_run_ends_and_the_next_begins_together_or_not_at_all)
{
    nas_store *store = open_store();
    const nas_store_attempt first = begin(store, "first");
    nas_store_run_spec spec = {.kind = "train", .name = "first", .parent = first.run};
    nas_store_attempt next;

    cr_assert_eq(nas_store_run_follow(store, first, "{\"a\": 1}", &spec, &next, &err), NAS_E_USAGE);
    says("run 1 has it already");
    nas_store_run *run = get(store, "first");
    cr_assert_eq(run->state, NAS_STORE_RUNNING);
    cr_assert_null(run->summary);
    nas_store_run_free(run);
    spec.name = "second";
    ok(nas_store_run_follow(store, first, "{\"a\": 1}", &spec, &next, &err));
    run = get(store, "first");
    cr_assert_eq(run->state, NAS_STORE_DONE);
    cr_assert_str_eq(run->summary, "{\"a\": 1}");
    nas_store_run_free(run);
    run = get(store, "second");
    cr_assert_eq(run->id, next.run);
    cr_assert_eq(run->parent, first.run);
    cr_assert_eq(run->state, NAS_STORE_RUNNING);
    nas_store_run_free(run);
    cr_assert_eq(nas_store_run_follow(store, first, "{}", &spec, &next, &err), NAS_E_FAIL);
    says("has ended");
    nas_store_close(store);
}

Test(store_run, bad_and_taken_names_are_refused)
{
    static const char *const bad[] = {"../../etc", "a b", "", "x'); DROP TABLE run; --", "12"};
    nas_store *store = open_store();
    nas_store_attempt attempt;
    nas_store_runs runs;

    begin(store, "mine");
    cr_assert_eq(nas_store_run_begin(store, &(nas_store_run_spec){.kind = "search", .name = "mine"},
                                     &attempt, &err), NAS_E_USAGE);
    says("run 1 has it already");
    cr_assert_not_null(strstr(err.hint, "nas resume mine"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(nas_store_run_begin(
                         store, &(nas_store_run_spec){.kind = "search", .name = bad[i]}, &attempt,
                         &err), NAS_E_USAGE, "%s", bad[i]);
    cr_assert_eq(nas_store_run_begin(
                     store, &(nas_store_run_spec){.kind = "search", .config = "{not json"},
                     &attempt, &err), NAS_E_DATA);
    ok(nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 0, &runs, &err));
    cr_assert_eq(runs.count, 1);
    nas_store_runs_fini(&runs);
    nas_store_close(store);
}

Test(store_run, a_given_name_does_not_stop_later_runs)
{
    nas_store *store = open_store();
    nas_store_attempt attempt;

    begin(store, "search-2"); /* what the next one would be called */
    ok(nas_store_run_begin(store, &(nas_store_run_spec){.kind = "search"}, &attempt, &err));
    nas_store_run *run = get(store, "2");
    cr_assert_str_eq(run->name, "search-2.1");
    nas_store_run_free(run);
    nas_store_close(store);
}

Test(store_run, claiming_starts_the_next_attempt_and_shuts_the_old_one_out)
{
    nas_store *mine = open_store(), *theirs = open_store();
    const nas_store_attempt first = begin(mine, "a");
    nas_store_attempt second;

    put_file(mine, first.run, "model", "m");
    ok(nas_store_progress(mine, first, 1, 0, &(nas_store_metric){"loss", 2}, 1, &err));
    ok(nas_store_run_claim(theirs, first.run, &second, &err));
    cr_assert_eq(second.number, 2);

    cr_assert_eq(nas_store_progress(mine, first, 2, 0, &(nas_store_metric){"loss", 1}, 1, &err),
                 NAS_E_FAIL);
    says("attempt 1 was superseded by attempt 2");
    cr_assert_eq(nas_store_checkpoint(mine, first, "model", 1, NAN, &err), NAS_E_FAIL);
    cr_assert_eq(nas_store_artifact_put(mine, first, "model", "model", 1, &err), NAS_E_FAIL);
    cr_assert_eq(nas_store_probabilities_put(mine, first, 0, 1, (int[]){1}, (double[]){1}, &err),
                 NAS_E_FAIL);
    cr_assert_eq(nas_store_evaluations_put(mine, first, NULL, 0, &err), NAS_E_FAIL);
    cr_assert_eq(nas_store_run_table(mine, first, 1, &err), NAS_E_FAIL);
    cr_assert_eq(nas_store_run_finish(mine, first, NAS_STORE_DONE, "{}", NULL, &err), NAS_E_FAIL);
    ok(nas_store_progress(theirs, second, 2, 0, &(nas_store_metric){"loss", 1}, 1, &err));

    nas_store_run *run = get(mine, "a");
    cr_assert_eq(run->state, NAS_STORE_RUNNING);
    cr_assert_eq(run->attempt, 2);
    cr_assert_eq(run->step, 2);
    nas_store_run_free(run);
    nas_store_close(mine);
    nas_store_close(theirs);
}

Test(store_run, an_attempt_that_ended_writes_no_more)
{
    nas_store *store = open_store();
    const nas_store_attempt first = begin(store, "a");
    nas_store_attempt second;

    ok(nas_store_run_finish(store, first, NAS_STORE_INTERRUPTED, NULL, NULL, &err));
    cr_assert_eq(nas_store_progress(store, first, 2, 0, NULL, 0, &err), NAS_E_FAIL);
    says("has ended (interrupted)");
    ok(nas_store_run_claim(store, first.run, &second, &err));
    ok(nas_store_run_finish(store, second, NAS_STORE_DONE, "{\"top1\": 0.5}", NULL, &err));
    nas_store_run *run = get(store, "a");
    cr_assert_eq(run->state, NAS_STORE_DONE);
    cr_assert_not(run->alive);
    cr_assert_str_eq(run->summary, "{\"top1\": 0.5}");
    cr_assert_gt(run->finished_ms, 0);
    cr_assert_eq(nas_store_run_claim(store, first.run, &second, &err), NAS_E_USAGE);
    says("run 'a' is done");
    nas_store_run_free(run);
    nas_store_close(store);
}

Test(store_run, a_run_of_a_living_process_cannot_be_taken_and_of_a_dead_one_can)
{
    nas_store *store = open_store();
    nas_store_run *run;
    nas_store_attempt attempt;
    char text[64];
    int fd;

    const pid_t pid = start_helper("hold", &fd);
    await_helper(fd);
    run = get(store, "held");
    cr_assert(run->alive);
    cr_assert_eq(run->pid, pid);
    snprintf(text, sizeof text, "is running as process %d", (int)pid);
    cr_assert_eq(nas_store_run_claim(store, run->id, &attempt, &err), NAS_E_FAIL);
    says(text);
    cr_assert_eq(nas_store_run_delete(store, run->id, &err), NAS_E_FAIL);
    says(text);
    nas_store_run_free(run);
    cr_assert_eq(nas_store_run_get(store, NULL, &run, &err), NAS_E_USAGE);
    says("some are running");

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    run = get(store, NULL);
    cr_assert_str_eq(run->name, "held");
    cr_assert_eq(run->state, NAS_STORE_RUNNING);
    cr_assert_not(run->alive);
    ok(nas_store_run_claim(store, run->id, &attempt, &err));
    cr_assert_eq(attempt.number, 2);
    nas_store_run_free(run);
    nas_store_close(store);
}

Test(store_run, a_process_id_that_was_given_again_is_not_the_process)
{
    nas_store *store = open_store();
    const nas_store_attempt attempt = begin(store, "a");

    raw_sql("UPDATE run SET pid = 1, pid_start = pid_start + 1"); /* process 1 always lives */
    nas_store_run *run = get(store, "a");
    cr_assert_not(run->alive);
    ok(nas_store_run_claim(store, attempt.run, &(nas_store_attempt){0}, &err));
    nas_store_run_free(run);
    nas_store_close(store);
}

Test(store_run, the_newest_unfinished_run_is_found)
{
    nas_store *store = open_store();
    nas_store_run *run;

    cr_assert_eq(nas_store_run_get(store, NULL, &run, &err), NAS_E_USAGE);
    says("no unfinished run");
    cr_assert_null(run);
    ok(nas_store_run_finish(store, begin(store, "old"), NAS_STORE_INTERRUPTED, NULL, NULL, &err));
    ok(nas_store_run_finish(store, begin(store, "new"), NAS_STORE_INTERRUPTED, NULL, NULL, &err));
    ok(nas_store_run_finish(store, begin(store, "bad"), NAS_STORE_FAILED, NULL, "no", &err));
    ok(nas_store_run_finish(store, begin(store, "done"), NAS_STORE_DONE, "{}", NULL, &err));
    begin(store, "alive");
    run = get(store, NULL);
    cr_assert_str_eq(run->name, "new");
    nas_store_run_free(run);
    nas_store_close(store);
}

Test(store_run, a_mistyped_name_gets_the_nearest)
{
    nas_store *store = open_store();
    nas_store_run *run;

    begin(store, "cifar-big");
    cr_assert_eq(nas_store_run_get(store, "cifar-bug", &run, &err), NAS_E_USAGE);
    says("there is no run 'cifar-bug'");
    cr_assert_str_eq(err.hint, "did you mean 'cifar-big'?");
    cr_assert_eq(nas_store_run_get(store, "9", &run, &err), NAS_E_USAGE);
    cr_assert_eq(nas_store_run_get(store, "' OR 1=1 --", &run, &err), NAS_E_USAGE);
    cr_assert_eq(nas_store_run_get(store, "", &run, &err), NAS_E_USAGE);
    cr_assert_eq(nas_store_run_get(store, "99999999999999999999999", &run, &err), NAS_E_USAGE);
    nas_store_close(store);
}

Test(store_run, lists_are_newest_first_and_filtered)
{
    nas_store *store = open_store();
    nas_store_runs runs;
    nas_store_attempt attempt;

    begin(store, "a");
    ok(nas_store_run_begin(store, &(nas_store_run_spec){.kind = "train", .name = "b"}, &attempt,
                           &err));
    ok(nas_store_run_finish(store, attempt, NAS_STORE_FAILED, NULL, "it broke", &err));
    begin(store, "c");
    ok(nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 2, &runs, &err));
    cr_assert_eq(runs.count, 2);
    cr_assert_str_eq(runs.runs[0].name, "c");
    cr_assert_str_eq(runs.runs[1].name, "b");
    cr_assert_str_eq(runs.runs[1].error, "it broke");
    nas_store_runs_fini(&runs);
    ok(nas_store_run_list(store, "search", NAS_STORE_ANY_STATE, 0, &runs, &err));
    cr_assert_eq(runs.count, 2);
    nas_store_runs_fini(&runs);
    ok(nas_store_run_list(store, NULL, NAS_STORE_FAILED, 0, &runs, &err));
    cr_assert_eq(runs.count, 1);
    nas_store_runs_fini(&runs);
    ok(nas_store_run_list(store, "eval", NAS_STORE_ANY_STATE, 0, &runs, &err));
    cr_assert_eq(runs.count, 0);
    nas_store_runs_fini(&runs);
    nas_store_close(store);
}

Test(store_run, deleting_takes_rows_and_files_and_the_id_is_not_used_again)
{
    nas_store *store = open_store();
    const nas_store_attempt attempt = begin(store, "a");
    nas_store_run_spec child = {.kind = "train", .parent = attempt.run};
    nas_store_attempt of_child;
    nas_store_point *points;
    int count;

    ok(nas_store_run_begin(store, &child, &of_child, &err));
    put_file(store, attempt.run, "model", "m");
    ok(nas_store_artifact_put(store, attempt, "model", "model", 1, &err));
    ok(nas_store_progress(store, attempt, 1, 0, &(nas_store_metric){"loss", 2}, 1, &err));
    ok(nas_store_run_delete(store, attempt.run, &err));
    cr_assert_not(nas_path_exists(scratch("store/runs/1")));
    ok(nas_store_metric_get(store, attempt.run, "loss", &points, &count, &err));
    cr_assert_eq(count, 0);
    nas_store_run *run = get(store, "train-2");
    cr_assert_eq(run->parent, 0);
    nas_store_run_free(run);
    cr_assert_eq(nas_store_run_delete(store, attempt.run, &err), NAS_E_USAGE);
    cr_assert_eq(nas_store_progress(store, attempt, 2, 0, NULL, 0, &err), NAS_E_FAIL);
    says("was deleted");
    ok(nas_store_run_delete(store, of_child.run, &err));
    cr_assert_eq(begin(store, "b").run, 3);
    free(points);
    nas_store_close(store);
}

Test(store_run, processes_that_write_at_once_lose_nothing)
{
    enum { HELPERS = 4 };
    nas_store *store = open_store();
    nas_store_runs runs;
    pid_t pids[HELPERS];
    int fds[HELPERS], end;

    for (int i = 0; i < HELPERS; i++)
        pids[i] = start_helper("work", &fds[i]);
    for (int i = 0; i < HELPERS; i++) {
        waitpid(pids[i], &end, 0);
        cr_assert(WIFEXITED(end) && WEXITSTATUS(end) == 0);
    }
    ok(nas_store_run_list(store, NULL, NAS_STORE_DONE, 0, &runs, &err));
    cr_assert_eq(runs.count, HELPERS);
    for (int i = 0; i < runs.count; i++) {
        nas_store_point *points;
        int count;

        ok(nas_store_metric_get(store, runs.runs[i].id, "loss", &points, &count, &err));
        cr_assert_eq(count, 50);
        cr_assert_float_eq(points[49].value, 0.02, 1e-15); /* 1/50 */
        free(points);
    }
    nas_store_runs_fini(&runs);
    nas_store_close(store);
}
