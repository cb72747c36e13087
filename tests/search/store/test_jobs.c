/* Jobs as people change them: submitted, listed, cancelled, queued again. */
#include "search/store/jobs.h"
#include "tests/search/store/support.h"

TestSuite(store_jobs, .init = scratch_init, .fini = scratch_fini);

static json_t *args; /* ["space", "list"] */

static nas_job_spec spec(const char *name)
{
    if (!args)
        args = json_pack("[s, s]", "space", "list");
    return (nas_job_spec){.name = name, .args = args, .folder = "/", .cores = 1, .retries = 3};
}

static int64_t submit(nas_store *store, nas_job_spec s)
{
    int64_t id;

    ok(nas_store_jobs_submit(store, &s, 1, &id, &err));
    return id;
}

static nas_job_state state_of(nas_store *store, const char *name)
{
    nas_job *job;

    ok(nas_store_job_get(store, name, &job, &err));
    const nas_job_state state = job->state;
    nas_job_free(job);
    return state;
}

Test(store_jobs, a_job_comes_back_as_it_was_submitted)
{
    nas_store *store = open_store();
    nas_job_spec s = spec("first");
    nas_job *job;

    s.group = "g";
    s.cores = 3;
    s.memory_mib = 500;
    s.priority = -2;
    s.time_limit_s = 60;
    s.hang_limit_s = 30;
    cr_assert_eq(submit(store, s), 1);
    ok(nas_store_job_get(store, "first", &job, &err));
    cr_assert_eq(job->id, 1);
    cr_assert_eq(job->state, NAS_JOB_QUEUED);
    cr_assert_eq(job->attempt, 0);
    cr_assert_eq(job->cores, 3);
    cr_assert_eq(job->memory_mib, 500);
    cr_assert_eq(job->priority, -2);
    cr_assert_eq(job->time_limit_s, 60);
    cr_assert_eq(job->hang_limit_s, 30);
    cr_assert_eq(job->retries, 3);
    cr_assert_str_eq(job->group, "g");
    cr_assert_str_eq(job->args, "[\"space\",\"list\"]");
    cr_assert_str_eq(job->folder, "/");
    nas_job_free(job);
    submit(store, spec(NULL));
    ok(nas_store_job_get(store, "job-2", &job, &err));
    nas_job_free(job);
    cr_assert_eq(nas_store_job_get(store, "fist", &job, &err), NAS_E_USAGE);
    cr_assert_str_eq(err.hint, "did you mean 'first'?");
    nas_store_close(store);
}

Test(store_jobs, a_submission_is_all_or_nothing)
{
    nas_store *store = open_store();
    nas_job_spec specs[] = {spec("a"), spec("b"), spec("a")};
    nas_jobs jobs;

    cr_assert_eq(nas_store_jobs_submit(store, specs, 3, NULL, &err), NAS_E_USAGE);
    says("job name 'a': job 1 has it already");
    ok(nas_store_jobs_list(store, NULL, NAS_JOB_ANY_STATE, 0, &jobs, &err));
    cr_assert_eq(jobs.count, 0);
    nas_store_close(store);
}

static void expect_refused(nas_store *store, nas_job_spec s, json_t *bad_args, nas_status status)
{
    if (bad_args)
        s.args = bad_args;
    cr_assert_eq(nas_store_jobs_submit(store, &s, 1, NULL, &err), status);
    json_decref(bad_args);
}

Test(store_jobs, what_is_no_job_is_refused)
{
    nas_store *store = open_store();
    nas_job_spec needy = spec("a");
    char long_word[NAS_JOB_ARG_SIZE + 1];

    memset(long_word, 'x', sizeof long_word);
    long_word[sizeof long_word - 1] = '\0';
    expect_refused(store, spec("../x"), NULL, NAS_E_USAGE);
    expect_refused(store, spec("17"), NULL, NAS_E_USAGE);
    expect_refused(store, spec("a"), json_array(), NAS_E_DATA);
    expect_refused(store, spec("a"), json_pack("[i]", 5), NAS_E_DATA);
    expect_refused(store, spec("a"), json_pack("[s#]", "a\0b", 3), NAS_E_DATA);
    says("without NUL");
    expect_refused(store, spec("a"), json_pack("[s]", long_word), NAS_E_DATA);
    expect_refused(store, spec("a"), json_pack("[{s:s, s:i, s:s}]", "before", "", "job", -1,
                                               "file", "../x"), NAS_E_DATA);
    needy.needs = &(nas_job_need){.job = 99};
    needy.need_count = 1;
    expect_refused(store, needy, NULL, NAS_E_DATA); /* no such job */
    needy.needs = &(nas_job_need){.job = -1 - 0};
    expect_refused(store, needy, NULL, NAS_E_DATA); /* itself */
    nas_store_close(store);
}

Test(store_jobs, needs_name_jobs_of_the_store_and_of_the_submission)
{
    nas_store *store = open_store();
    const int64_t old = submit(store, spec("old"));
    const nas_job_need needs[] = {{.job = old, .any = true}, {.job = -1 - 0}};
    nas_job_spec specs[] = {spec("x"), spec("y")};
    nas_job_need *read;
    int64_t ids[2];
    int count;

    specs[1].needs = needs;
    specs[1].need_count = 2;
    ok(nas_store_jobs_submit(store, specs, 2, ids, &err));
    ok(nas_store_job_needs(store, ids[1], &read, &count, &err));
    cr_assert_eq(count, 2);
    cr_assert(read[0].job == old && read[0].any && read[0].state == NAS_JOB_QUEUED);
    cr_assert(read[1].job == ids[0] && !read[1].any);
    free(read);
    nas_store_close(store);
}

Test(store_jobs, lists_are_newest_first_and_filtered)
{
    nas_store *store = open_store();
    nas_job_spec grouped = spec("c");
    nas_jobs jobs;

    grouped.group = "g";
    submit(store, spec("a"));
    submit(store, spec("b"));
    submit(store, grouped);
    ok(nas_store_jobs_list(store, NULL, NAS_JOB_ANY_STATE, 2, &jobs, &err));
    cr_assert_eq(jobs.count, 2);
    cr_assert_str_eq(jobs.jobs[0].name, "c");
    cr_assert_str_eq(jobs.jobs[1].name, "b");
    nas_jobs_fini(&jobs);
    ok(nas_store_jobs_list(store, "g", NAS_JOB_QUEUED, 0, &jobs, &err));
    cr_assert_eq(jobs.count, 1);
    nas_jobs_fini(&jobs);
    ok(nas_store_jobs_list(store, NULL, NAS_JOB_DONE, 0, &jobs, &err));
    cr_assert_eq(jobs.count, 0);
    nas_store_close(store);
}

Test(store_jobs, a_queued_job_is_cancelled_at_once_and_can_be_queued_again)
{
    nas_store *store = open_store();
    const int64_t id = submit(store, spec("a"));

    ok(nas_store_jobs_cancel(store, &id, 1, &err));
    cr_assert_eq(state_of(store, "a"), NAS_JOB_CANCELLED);
    ok(nas_store_jobs_cancel(store, &id, 1, &err));
    ok(nas_store_jobs_retry(store, &id, 1, &err));
    cr_assert_eq(state_of(store, "a"), NAS_JOB_QUEUED);
    raw_sql("UPDATE job SET state = 'done'");
    cr_assert_eq(nas_store_jobs_retry(store, &id, 1, &err), NAS_E_USAGE);
    says("is done");
    nas_store_close(store);
}

Test(store_jobs, a_store_of_version_1_takes_jobs_after_its_migration)
{
    nas_store *store;
    char *sql;
    size_t size;

    ok(nas_file_read(NAS_SOURCE_DIR "/tests/golden/store-v1.sql", 1 << 20, &sql, &size, &err));
    ok(nas_dir_make(scratch("store/runs"), &err));
    raw_sql(sql);
    free(sql);
    cr_assert_eq(nas_store_open(&store, scratch("store"), NAS_STORE_READ, &err), NAS_E_DATA);
    says("older than this program's");
    ok(nas_store_open(&store, scratch("store"), NAS_STORE_EXISTING, &err));
    cr_assert(nas_path_exists(scratch("store/store.db.v1")));
    cr_assert_eq(submit(store, spec(NULL)), 1);
    nas_store_close(store);
}

Test(store_jobs, a_store_of_version_2_opens_with_all_it_knew)
{
    nas_store *store;
    nas_job *job;
    nas_job_attempt *attempts;
    nas_job_loop loop;
    char *sql;
    size_t size;
    int count;

    ok(nas_file_read(NAS_SOURCE_DIR "/tests/golden/store-v2.sql", 1 << 20, &sql, &size, &err));
    ok(nas_dir_make(scratch("store/runs"), &err));
    raw_sql(sql);
    free(sql);
    ok(nas_store_open(&store, scratch("store"), NAS_STORE_EXISTING, &err));
    ok(nas_store_job_get(store, "g.second", &job, &err));
    cr_assert_eq(job->state, NAS_JOB_FAILED);
    cr_assert_eq(job->failures, 1);
    ok(nas_store_job_attempts(store, job->id, &attempts, &count, &err));
    cr_assert_eq(count, 2);
    cr_assert_eq(attempts[1].code, 74);
    cr_assert_str_eq(attempts[1].cause, "io");
    cr_assert_str_eq(attempts[0].tail, "nas: error: disk\n");
    nas_job_attempts_free(attempts, count);
    nas_job_free(job);
    ok(nas_store_loop_get(store, &loop, &err));
    cr_assert(loop.number == 3 && loop.ended && loop.cores == 2);
    nas_store_close(store);
}
