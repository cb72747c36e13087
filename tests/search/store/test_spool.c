/* Spools: what is whole counts, what is torn waits, what is wrong is refused; and the way of a
 * run through a spool into the store. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "search/store/jobs.h"
#include "search/store/spool.h"
#include "tests/search/store/support.h"

TestSuite(search_store_spool, .init = scratch_init, .fini = scratch_fini);

/* ---- the file ---- */

typedef struct seen {
    int count;
    json_int_t last;
} seen;

static nas_status see(void *user, const json_t *record, nas_err *e)
{
    seen *s = user;

    s->count++;
    s->last = json_integer_value(json_object_get(record, "n"));
    return NAS_OK;
}

static const char *make_spool(int records)
{
    const char *path = scratch("spool");
    nas_spool *spool;

    ok(nas_spool_open(&spool, path, 7, 2, NULL, NULL, &err));
    for (int i = 1; i <= records; i++)
        ok(nas_spool_put(spool, json_pack("{s:i, s:s}", "n", i, "text", "a\nb\"c"), i == records,
                         &err));
    nas_spool_close(spool);
    return path;
}

static seen read_all(const char *path, nas_status expected)
{
    nas_spool_place place = {0};
    seen s = {0};

    cr_assert_eq(nas_spool_read(path, 7, 2, 0, &place, see, &s, &err), expected, "%s", err.message);
    return s;
}

static char *content_of(const char *path, size_t *size)
{
    char *text;

    ok(nas_file_read(path, 1 << 20, &text, size, &err));
    return text;
}

Test(search_store_spool, records_are_read_once_and_in_order)
{
    const char *path = make_spool(3);
    nas_spool_place place = {0};
    seen s = {0};
    nas_spool *spool;

    ok(nas_spool_read(path, 7, 2, 0, &place, see, &s, &err));
    cr_assert_eq(s.count, 3);
    ok(nas_spool_read(path, 7, 2, 0, &place, see, &s, &err));
    cr_assert_eq(s.count, 3); /* nothing new */
    ok(nas_spool_open(&spool, path, 7, 2, see, &s, &err));
    cr_assert_eq(s.count, 6); /* who goes on writing reads it first */
    ok(nas_spool_put(spool, json_pack("{s:i}", "n", 4), false, &err));
    nas_spool_close(spool);
    ok(nas_spool_read(path, 7, 2, 0, &place, see, &s, &err));
    cr_assert_eq(s.count, 7);
    cr_assert_eq(s.last, 4);
    cr_assert_eq(place.records, 5); /* the first names the file */
}

/* After a cut at any byte the whole records count, and the writer goes on behind them. */
Test(search_store_spool, a_torn_end_is_no_damage)
{
    const char *path = make_spool(3);
    size_t size;
    char *text = content_of(path, &size);

    for (size_t cut = 0; cut < size; cut++) {
        ok(nas_file_write(path, text, cut, &err));
        const seen before = read_all(path, NAS_OK);
        nas_spool *spool;
        ok(nas_spool_open(&spool, path, 7, 2, NULL, NULL, &err));
        ok(nas_spool_put(spool, json_pack("{s:i}", "n", 99), false, &err));
        nas_spool_close(spool);
        const seen after = read_all(path, NAS_OK);
        cr_assert_eq(after.count, before.count + 1, "cut at %zu", cut);
        cr_assert_eq(after.last, 99);
    }
    free(text);
}

/* Any wrong byte is found: the record and everything behind it is not taken. */
Test(search_store_spool, a_wrong_byte_is_damage)
{
    const char *path = make_spool(3);
    size_t size;
    char *text = content_of(path, &size);
    const size_t last = (size_t)((char *)memrchr(text, '\n', size - 1) + 1 - text);

    for (size_t i = 0; i < last - 1; i += 3) {
        if (text[i] == '\n') /* then what follows it is the torn end */
            continue;
        text[i] ^= 1;
        ok(nas_file_write(path, text, size, &err));
        const seen s = read_all(path, NAS_E_DATA);
        cr_assert_lt(s.count, 3, "byte %zu", i);
        text[i] ^= 1;
    }
    free(text);
}

Test(search_store_spool, the_spool_of_another_attempt_and_links_are_refused)
{
    const char *path = make_spool(1);
    nas_spool_place place = {0};
    char link[256];

    cr_assert_eq(nas_spool_read(path, 7, 3, 0, &place, see, NULL, &err), NAS_E_DATA);
    says("not the spool");
    cr_assert_eq(nas_spool_read(path, 8, 2, 0, &place, see, NULL, &err), NAS_E_DATA);
    snprintf(link, sizeof link, "%s", scratch("link"));
    cr_assert_eq(symlink(path, link), 0);
    cr_assert_eq(nas_spool_read(link, 7, 2, 0, &place, see, NULL, &err), NAS_E_DATA);
    says("not a plain file");
    cr_assert_eq(nas_spool_read(scratch(""), 7, 2, 0, &place, see, NULL, &err), NAS_E_DATA);
    ok(nas_spool_read(scratch("missing"), 7, 2, 0, &place, see, NULL, &err));
}

Test(search_store_spool, pieces_end_between_records)
{
    const char *path = scratch("long");
    nas_spool *spool;
    nas_spool_place place = {0};
    seen s = {0};
    char *text = calloc(1, 700001);

    memset(text, 'x', 700000); /* three of them are more than two pieces of 1 MiB */
    ok(nas_spool_open(&spool, path, 7, 2, NULL, NULL, &err));
    for (int i = 1; i <= 5; i++)
        ok(nas_spool_put(spool, json_pack("{s:i, s:s}", "n", i, "text", text), false, &err));
    nas_spool_close(spool);
    for (int calls = 0; s.count < 5; calls++) {
        const int before = s.count;

        ok(nas_spool_read(path, 7, 2, 1, &place, see, &s, &err));
        cr_assert_gt(s.count, before);
        cr_assert_lt(calls, 5);
    }
    cr_assert_eq(s.last, 5);
    free(text);
}

/* ---- through the store ---- */

static nas_store *store;
static int64_t loop_number, job;

/* A store with a loop and one job, whose attempt 1 runs as a task. */
static void begin_job(void)
{
    json_t *args = json_pack("[s]", "search");
    const nas_job_spec spec = {.name = "j", .args = args, .folder = "/", .cores = 1, .retries = 3};

    store = open_store();
    ok(nas_store_jobs_submit(store, &spec, 1, &job, &err));
    ok(nas_store_loop_claim(store, 1, 1, false, &loop_number, &err));
    json_decref(args);
}

static char *begin_attempt(int64_t attempt)
{
    nas_job_change change = {.event = NAS_JOB_STARTS, .job = job, .attempt = attempt,
                             .batch = "nas-1-1", .task = 3};
    char *path = nas_store_spool_path(store, job, attempt, NULL);

    ok(nas_store_jobs_write(store, loop_number, &change, 1, &err));
    cr_assert_not(change.refused);
    ok(nas_dir_make(path, &err));
    return path;
}

static void end_attempt(int64_t attempt)
{
    nas_job_change change = {.event = NAS_JOB_ENDS, .job = job, .attempt = attempt, .cause = "killed",
                             .attempt_state = NAS_JOB_LOST, .job_state = NAS_JOB_QUEUED, .batch = ""};

    ok(nas_store_jobs_write(store, loop_number, &change, 1, &err));
}

static nas_store *open_remote(const char *folder)
{
    nas_store *remote;
    char path[512];

    snprintf(path, sizeof path, NAS_STORE_SPOOL "%s", folder);
    ok(nas_store_open(&remote, path, NAS_STORE_CREATE, &err));
    return remote;
}

static nas_store_taken take(int64_t attempt)
{
    nas_store_taken taken;

    ok(nas_store_spool_take(store, loop_number, job, attempt, &taken, &err));
    return taken;
}

static void checkpoint(nas_store *remote, nas_store_attempt attempt, int step, double score)
{
    char name[64];

    snprintf(name, sizeof name, "checkpoint-%d", step);
    put_file(remote, attempt.run, name, name);
    ok(nas_store_checkpoint(remote, attempt, name, step, score, &err));
}

static int checkpoints(nas_store *s, int64_t run)
{
    nas_store_artifact *list;
    int count;

    ok(nas_store_artifact_list(s, run, "checkpoint", &list, &count, &err));
    for (int i = 0; i < count; i++)
        ok(nas_store_artifact_check(s, &list[i], &err));
    free(list);
    return count;
}

/* Everything that a search records, as it would to a database. */
static void record_all(nas_store *remote, nas_store_attempt attempt)
{
    const nas_store_metric metrics[] = {{"loss", 0.1}, {"top1", NAN}};
    const nas_store_architecture architecture = {.digest = "a7c", .json = "{}", .macs = 5,
                                                 .parameters = 6};
    const double p[] = {0.25, 0.75, 1};
    int64_t id, table;

    ok(nas_store_progress(remote, attempt, 10, 1, metrics, 2, &err));
    ok(nas_store_probabilities_put(remote, attempt, 1, 2, (int[]){2, 1}, p, &err));
    ok(nas_store_architecture_put(remote, &architecture, &id, &err));
    const nas_store_evaluation evaluation = {.architecture = id, .source = "derived", .loss = 1.5,
                                             .latency_ms = NAN, .top1 = 0.5, .top5 = 1,
                                             .selected = true};
    ok(nas_store_evaluations_put(remote, attempt, &evaluation, 1, &err));
    ok(nas_store_table_put(remote, "7ab1e", "x.yaml", "here", "{}", "Logits: {mean: 1}\n", &table,
                           &err));
    ok(nas_store_run_table(remote, attempt, table, &err));
}

Test(search_store_spool, a_run_goes_through_the_spool_into_the_store)
{
    begin_job();
    char *folder = begin_attempt(1);
    nas_store *remote = open_remote(folder);
    const nas_store_attempt attempt = begin(remote, NULL);
    nas_store_run *run;
    nas_store_point *points;
    nas_store_judged *judged;
    char *content;
    int count;

    record_all(remote, attempt);
    put_file(remote, attempt.run, "arch.json", "{}");
    ok(nas_store_artifact_put(remote, attempt, "arch", "arch.json", 10, &err));
    char summary[512];
    snprintf(summary, sizeof summary, "{\"arch\":\"%s/runs/1/arch.json\",\"top1\":0.5}", folder);
    ok(nas_store_run_finish(remote, attempt, NAS_STORE_DONE, summary, NULL, &err));
    nas_store_close(remote);

    cr_assert_eq(take(1).records, 9);
    cr_assert_eq(take(1).records, 0);
    ok(nas_store_run_get(store, "search-job1", &run, &err));
    cr_assert_eq(run->state, NAS_STORE_DONE);
    cr_assert_eq(run->seed, 7);
    cr_assert_str_eq(run->config_digest, "c0ffee");
    cr_assert_str_eq(run->latency_table, "7ab1e");
    cr_assert_null(strstr(run->summary, "spool"), "%s", run->summary);
    cr_assert_not_null(strstr(run->summary, "runs/1/arch.json"));
    ok(nas_store_metric_get(store, run->id, "loss", &points, &count, &err));
    cr_assert(count == 1 && points[0].value == 0.1 && points[0].step == 10);
    free(points);
    ok(nas_store_evaluations_get(store, run->id, &judged, &count, &err));
    cr_assert(count == 1 && judged[0].loss == 1.5 && isnan(judged[0].latency_ms));
    nas_store_judged_free(judged, count);
    ok(nas_store_entropy_get(store, run->id, &points, &count, &err));
    cr_assert_eq(count, 2);
    free(points);
    ok(nas_store_table_get(store, "7ab1e", &content, &err));
    free(content);
    cr_assert(has_file(store, run->id, "arch.json"));
    nas_store_run_free(run);
    nas_store_close(store);
    free(folder);
}

/* The loop may die between any two records, and the tasks write on meanwhile. */
Test(search_store_spool, every_record_counts_once_whenever_the_loop_looks)
{
    begin_job();
    char *folder = begin_attempt(1);
    nas_store *remote = open_remote(folder);
    const nas_store_attempt attempt = begin(remote, "r");
    int64_t records = 0;

    for (int step = 1; step <= 6; step++) {
        ok(nas_store_progress(remote, attempt, step, step, NULL, 0, &err));
        checkpoint(remote, attempt, step, step == 2 ? 9 : 1);
        if (step % 2 == 0) {
            records += take(1).records;
            ok(nas_store_loop_release(store, loop_number, NULL, &err));
            nas_store_close(store); /* the next loop goes on */
            store = open_store();
            ok(nas_store_loop_claim(store, 1, 1, true, &loop_number, &err));
        }
    }
    cr_assert_eq(records, 13); /* the begin, six steps, six checkpoints, of which some are gone */
    cr_assert_eq(checkpoints(store, 1), 3); /* the last two and the best */
    cr_assert_eq(checkpoints(remote, 1), 3);
    nas_store_close(remote);
    nas_store_close(store);
    free(folder);
}

Test(search_store_spool, the_next_attempt_goes_on_and_the_zombie_is_fenced)
{
    const nas_store_metric late = {"loss", 666};
    nas_store_run *found;
    nas_store_point *points;
    int count;
    nas_store_taken taken;

    begin_job();
    char *first = begin_attempt(1);
    nas_store *zombie = open_remote(first);
    const nas_store_attempt old = begin(zombie, "r");
    checkpoint(zombie, old, 5, NAN);
    take(1);
    end_attempt(1);
    char *second = begin_attempt(2);
    nas_store *remote = open_remote(second);
    ok(nas_store_job_run(remote, "search", "c0ffee", &found, &err));
    cr_assert_not_null(found);
    cr_assert_str_eq(found->config, "{\"epochs\": 3}");
    nas_store_attempt now;
    ok(nas_store_run_claim(remote, found->id, &now, &err));
    cr_assert_eq(checkpoints(remote, now.run), 1); /* in its own folder, with the right content */

    /* the zombie sees that it is one ... */
    cr_assert_eq(nas_store_progress(zombie, old, 6, 2, &late, 1, &err), NAS_E_FAIL);
    says("superseded");
    /* ... and if it did not, the store would not take what it writes */
    nas_spool *raw;
    char path[512];
    snprintf(path, sizeof path, "%s/records", first);
    ok(nas_spool_open(&raw, path, job, 1, NULL, NULL, &err));
    ok(nas_spool_put(raw, json_pack("{s:s, s:i, s:i, s:i, s:{s:f}}", "op", "progress", "run", 1,
                                    "step", 6, "epoch", 2, "metrics", "loss", 666.0),
                     true, &err));
    nas_spool_close(raw);
    cr_assert_eq(nas_store_spool_take(store, loop_number, job, 1, &taken, &err), NAS_E_FAIL);
    says("superseded");

    ok(nas_store_run_finish(remote, now, NAS_STORE_DONE, "{}", NULL, &err));
    take(2);
    ok(nas_store_metric_get(store, 1, "loss", &points, &count, &err));
    cr_assert_eq(count, 0);
    cr_assert_eq(checkpoints(store, 1), 1);
    nas_store_run_free(found);
    nas_store_close(remote);
    nas_store_close(zombie);
    nas_store_close(store);
    free(first);
    free(second);
}

/* Records as an attacker would write them, each well-formed: refused one by one, and the good
 * one behind them counts. */
Test(search_store_spool, hostile_records_are_refused_and_change_nothing)
{
    static const char *const records[] = {
        "{\"op\":\"drop\"}",
        "{}",
        "{\"op\":7}",
        "{\"op\":\"begin\",\"run\":1}",
        "{\"op\":\"begin\",\"run\":9,\"kind\":\"../x\",\"name\":\"a\",\"config\":\"{}\",\"digest\":\"\","
        "\"version\":\"\",\"seed\":\"1\",\"threads\":1}",
        "{\"op\":\"begin\",\"run\":9,\"kind\":\"x\",\"name\":\"a\",\"config\":\"{\",\"digest\":\"\","
        "\"version\":\"\",\"seed\":\"1\",\"threads\":1}",
        "{\"op\":\"begin\",\"run\":9,\"kind\":\"x\",\"name\":\"a\",\"config\":\"{}\",\"digest\":\"\","
        "\"version\":\"\",\"seed\":\"1\",\"threads\":-1}",
        "{\"op\":\"progress\",\"run\":2,\"step\":1,\"epoch\":1,\"metrics\":{}}",
        "{\"op\":\"progress\",\"run\":1,\"step\":1,\"epoch\":1,\"metrics\":{\"a b\":1}}",
        "{\"op\":\"probabilities\",\"run\":1,\"epoch\":1,\"counts\":[2],\"p\":[1]}",
        "{\"op\":\"probabilities\",\"run\":1,\"epoch\":1,\"counts\":[-1,2],\"p\":[1]}",
        "{\"op\":\"probabilities\",\"run\":1,\"epoch\":1,\"counts\":[9223372036854775807],\"p\":[]}",
        "{\"op\":\"evaluations\",\"run\":1,\"list\":[{\"architecture\":\"none\",\"source\":\"s\","
        "\"rank\":0}]}",
        "{\"op\":\"file\",\"run\":1,\"kind\":\"arch\",\"file\":\"../../../store.db\",\"step\":1,"
        "\"bytes\":1,\"digest\":\"x\"}",
        "{\"op\":\"file\",\"run\":1,\"kind\":\"arch\",\"file\":\"link\",\"step\":1,\"bytes\":6,"
        "\"digest\":\"x\"}",
        "{\"op\":\"file\",\"run\":1,\"kind\":\"arch\",\"file\":\"real\",\"step\":1,\"bytes\":4,"
        "\"digest\":\"ffffffffffffffffffffffffffffffff\"}",
        "{\"op\":\"file\",\"run\":1,\"kind\":\"arch\",\"file\":\"missing\",\"step\":1,\"bytes\":4,"
        "\"digest\":\"x\"}",
        "{\"op\":\"finish\",\"run\":1,\"state\":\"running\"}",
        "{\"op\":\"finish\",\"run\":1,\"state\":\"done\",\"summary\":\"{\"}",
        "{\"op\":\"run_table\",\"run\":1,\"table\":\"none\"}",
        "{\"op\":\"table\",\"digest\":\"d\",\"content\":7}",
        "{\"op\":\"architecture\",\"digest\":\"d\",\"json\":\"{\",\"macs\":1,\"parameters\":1}",
    };
    enum { COUNT = sizeof records / sizeof *records };
    nas_spool *raw;
    char path[512];

    begin_job();
    char *folder = begin_attempt(1);
    nas_store *remote = open_remote(folder);
    const nas_store_attempt attempt = begin(remote, "r");
    put_file(remote, attempt.run, "real", "abcd");
    snprintf(path, sizeof path, "%s/runs/1/link", folder);
    cr_assert_eq(symlink("/etc/passwd", path), 0);
    nas_store_close(remote);
    snprintf(path, sizeof path, "%s/records", folder);
    ok(nas_spool_open(&raw, path, job, 1, NULL, NULL, &err));
    for (int i = 0; i < COUNT; i++)
        ok(nas_spool_put(raw, json_loads(records[i], 0, NULL), false, &err));
    ok(nas_spool_put(raw, json_loads("{\"op\":\"progress\",\"run\":1,\"step\":3,\"epoch\":1,"
                                     "\"metrics\":{\"loss\":1}}", 0, NULL), true, &err));
    nas_spool_close(raw);
    const nas_store_taken taken = take(1);
    cr_assert_eq(taken.refused, COUNT, "%d", (int)taken.refused);
    cr_assert_eq(taken.records, 2);
    nas_store_run *run;
    nas_store_runs runs;
    ok(nas_store_run_get(store, "r", &run, &err));
    cr_assert_eq(run->step, 3);
    cr_assert_eq(run->state, NAS_STORE_RUNNING);
    nas_store_run_free(run);
    ok(nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 0, &runs, &err));
    cr_assert_eq(runs.count, 1);
    nas_store_runs_fini(&runs);
    cr_assert_not(has_file(store, 1, "link"));
    nas_store_close(store);
    free(folder);
}

Test(search_store_spool, a_taken_name_becomes_another)
{
    begin_job();
    begin(store, "r");
    char *folder = begin_attempt(1);
    nas_store *remote = open_remote(folder);
    nas_store_run *run;

    begin(remote, "r");
    nas_store_close(remote);
    cr_assert_eq(take(1).records, 1);
    ok(nas_store_run_get(store, "search-2", &run, &err));
    nas_store_run_free(run);
    nas_store_close(store);
    free(folder);
}

/* A spool is no database: what needs one says so. */
Test(search_store_spool, other_uses_of_a_spool_are_refused)
{
    nas_store_runs runs;
    nas_store *remote;

    begin_job();
    char *folder = begin_attempt(1);
    remote = open_remote(folder);
    cr_assert_eq(nas_store_run_list(remote, NULL, NAS_STORE_ANY_STATE, 0, &runs, &err),
                 NAS_E_CONFIG);
    says("cluster");
    nas_store_close(remote);
    cr_assert_eq(nas_store_open(&remote, NAS_STORE_SPOOL "/tmp", NAS_STORE_CREATE, &err),
                 NAS_E_USAGE);
    nas_store_close(store);
    free(folder);
}
