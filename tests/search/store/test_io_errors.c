/* Every call that SQLite makes for every operation of the store fails: once, from then on, for want
 * of room, and after it was carried out.  Each time the store is in the old state or in the new
 * one, the operation says so, and the same handle does it when it is asked again. */
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "base/log.h"
#include "search/store/private.h"
#include "tests/search/store/faulty_vfs.h"
#include "tests/search/store/support.h"

/* In memory if there is room: thousands of folders are made and removed. */
static void init_in_memory(void)
{
    snprintf(scratch_folder, sizeof scratch_folder, "/dev/shm/nas-test-XXXXXX");
    if (!mkdtemp(scratch_folder))
        scratch_init();
}

TestSuite(store_io_errors, .init = init_in_memory, .fini = scratch_fini);

static const faulty_plan plans[] = {
    {.name = "an error, once", .calls = FAULTY_ALL},
    {.name = "errors from then on", .calls = FAULTY_ALL, .persistent = true},
    {.name = "no room from then on", .calls = FAULTY_WRITE, .full = true, .persistent = true},
    {.name = "an error after the work", .late = true,
     .calls = FAULTY_WRITE | FAULTY_SYNC | FAULTY_TRUNCATE | FAULTY_DELETE},
};

enum { MAX_CALLS = 3000, /* of one operation: more is a test that does not end */
       OLD = 1, GOING = 2,                             /* runs of the store that is disturbed */
       A = 1, B, RUNS, FAILED, TASK, LOOP = 1 };       /* its jobs, and its loop              */

/* What an operation found out, to be the same after a fault. */
static char answer[256];

#define ANSWER(...) snprintf(answer, sizeof answer, __VA_ARGS__)

/* ---- runs ---- */

static const nas_store_attempt going = {GOING, 1};

static nas_status run_begin(nas_store *store, nas_err *e)
{
    const nas_store_run_spec spec = {.kind = "train", .name = "new", .experiment = "x",
                                     .config = "{}", .parent = OLD};
    nas_store_attempt attempt = {0};
    const nas_status status = nas_store_run_begin(store, &spec, &attempt, e);

    ANSWER("%lld", (long long)attempt.run);
    return status;
}

static nas_status run_claim(nas_store *store, nas_err *e)
{
    nas_store_attempt attempt = {0};
    const nas_status status = nas_store_run_claim(store, GOING, &attempt, e);

    ANSWER("%lld", (long long)attempt.number);
    return status;
}

static nas_status run_finish(nas_store *store, nas_err *e)
{
    return nas_store_run_finish(store, going, NAS_STORE_DONE, "{\"top1\": 1}", NULL, e);
}

static nas_status run_follow(nas_store *store, nas_err *e)
{
    const nas_store_run_spec spec = {.kind = "train", .name = "next", .config = "{}"};
    nas_store_attempt attempt;

    return nas_store_run_follow(store, going, "{}", &spec, &attempt, e);
}

static nas_status run_delete(nas_store *store, nas_err *e)
{
    return nas_store_run_delete(store, OLD, e);
}

static nas_status run_read(nas_store *store, nas_err *e)
{
    nas_store_run *run = NULL;
    nas_store_runs runs = {0};
    nas_store_point *points = NULL;
    nas_store_artifact *files = NULL;
    int64_t counts[NAS_STORE_ANY_STATE];
    int point_count = 0, file_count = 0;
    nas_status status;

    if ((status = nas_store_run_get(store, "going", &run, e)) ||
        (status = nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 0, &runs, e)) ||
        (status = nas_store_run_counts(store, counts, e)) ||
        (status = nas_store_metric_get(store, GOING, "loss", &points, &point_count, e)) ||
        (status = nas_store_artifact_list(store, 0, NULL, &files, &file_count, e)))
        goto done;
    ANSWER("step %d, %d runs, %d done, %d points, %d files", (int)run->step, runs.count,
           (int)counts[NAS_STORE_DONE], point_count, file_count);
done:
    nas_store_run_free(run);
    nas_store_runs_fini(&runs);
    free(points);
    free(files);
    return status;
}

static nas_status progress(nas_store *store, nas_err *e)
{
    return nas_store_progress(store, going, 20, 2,
                              (nas_store_metric[]){{"loss", 0.5}, {"top1", 0.25}, {"top5", 1}}, 3, e);
}

static nas_status probabilities(nas_store *store, nas_err *e)
{
    return nas_store_probabilities_put(store, going, 1, 2, (int[]){2, 1},
                                       (double[]){0.25, 0.75, 1}, e);
}

static nas_status architecture(nas_store *store, nas_err *e)
{
    const nas_store_architecture a = {.digest = "a7c", .json = "{}", .macs = 5, .parameters = 6};

    return nas_store_architecture_put(store, &a, NULL, e);
}

static nas_status evaluations(nas_store *store, nas_err *e)
{
    const nas_store_evaluation list[] = {
        {.architecture = 1, .source = "derived", .top1 = 0.5, .latency_ms = NAN},
        {.architecture = 1, .source = "derived", .rank = 1, .top1 = 0.25, .selected = true}};

    return nas_store_evaluations_put(store, going, list, 2, e);
}

static nas_status table(nas_store *store, nas_err *e)
{
    int64_t id;

    return nas_store_table_put(store, "7ab1e", "x.yaml", "here", "{}", "Logits: {mean: 1}\n", &id, e);
}

static nas_status run_table(nas_store *store, nas_err *e)
{
    return nas_store_run_table(store, going, 1, e);
}

static nas_status artifact(nas_store *store, nas_err *e)
{
    return nas_store_artifact_put(store, going, "model", "model", 20, e);
}

/* The fourth: one of the others goes. */
static nas_status checkpoint(nas_store *store, nas_err *e)
{
    return nas_store_checkpoint(store, going, "ck-4", 4, 0.5, e);
}

static nas_status count_rows(void *user, const char *name, const json_t *row, nas_err *e)
{
    ++*(int *)user;
    return NAS_OK;
}

static nas_status export(nas_store *store, nas_err *e)
{
    int rows = 0;
    const nas_status status = nas_store_export(store, 0, count_rows, &rows, e);

    ANSWER("%d rows", rows);
    return status;
}

/* ---- jobs ---- */

static nas_status submit(nas_store *store, nas_err *e)
{
    json_t *args = json_pack("[s, s]", "space", "list");
    const nas_job_need need = {.job = -1};
    const nas_job_spec specs[] = {
        {.name = "n1", .group = "g", .args = args, .folder = "/", .cores = 1},
        {.name = "n2", .group = "g", .args = args, .folder = "/", .cores = 1, .needs = &need,
         .need_count = 1}};
    const nas_status status = nas_store_jobs_submit(store, specs, 2, NULL, e);

    json_decref(args);
    return status;
}

static nas_status cancel(nas_store *store, nas_err *e)
{
    return nas_store_jobs_cancel(store, (int64_t[]){A, B, RUNS}, 3, e);
}

static nas_status retry(nas_store *store, nas_err *e)
{
    return nas_store_jobs_retry(store, (int64_t[]){FAILED}, 1, e);
}

static nas_status jobs_read(nas_store *store, nas_err *e)
{
    nas_jobs jobs = {0};
    nas_job *job = NULL;
    nas_job_need *needs = NULL;
    nas_job_attempt *attempts = NULL;
    nas_job_loop loop;
    int need_count = 0, attempt_count = 0;
    nas_status status;

    if ((status = nas_store_jobs_list(store, NULL, NAS_JOB_ANY_STATE, 0, &jobs, e)) ||
        (status = nas_store_job_get(store, "b", &job, e)) ||
        (status = nas_store_job_needs(store, B, &needs, &need_count, e)) ||
        (status = nas_store_job_attempts(store, FAILED, &attempts, &attempt_count, e)) ||
        (status = nas_store_loop_get(store, &loop, e)))
        goto done;
    ANSWER("%d jobs, b is %d and needs %d, %d attempts, loop %d", jobs.count, (int)job->state,
           need_count, attempt_count, (int)loop.number);
done:
    nas_jobs_fini(&jobs);
    nas_job_free(job);
    free(needs);
    nas_job_attempts_free(attempts, attempt_count);
    return status;
}

static nas_status loop_claim(nas_store *store, nas_err *e)
{
    int64_t number = 0;
    const nas_status status = nas_store_loop_claim(store, 2, 100, true, &number, e);

    ANSWER("loop %d", (int)number);
    return status;
}

static nas_status loop_release(nas_store *store, nas_err *e)
{
    return nas_store_loop_release(store, LOOP, NULL, e);
}

static nas_status loop_write(nas_store *store, nas_err *e)
{
    nas_job_change changes[] = {
        {.event = NAS_JOB_STARTS, .job = A, .attempt = 1},
        {.event = NAS_JOB_STEPPED, .job = RUNS, .attempt = 1, .step = 5, .phase = "warm-up"},
        {.event = NAS_JOB_ENDS, .job = RUNS, .attempt = 1, .cause = "done", .tail = (char *)"x",
         .attempt_state = NAS_JOB_DONE, .job_state = NAS_JOB_DONE}};
    const nas_status status = nas_store_jobs_write(store, LOOP, changes, 3, e);

    ANSWER("%d", changes[0].refused);
    return status;
}

static nas_status loop_news(nas_store *store, nas_err *e)
{
    nas_jobs jobs = {0};
    const nas_status status = nas_store_jobs_news(store, LOOP, true, &jobs, e);

    ANSWER("%d", jobs.count);
    nas_jobs_fini(&jobs);
    return status;
}

static nas_status loop_recover(nas_store *store, nas_err *e)
{
    nas_job_orphan *orphans = NULL;
    int count = 0;
    const nas_status status = nas_store_jobs_recover(store, LOOP, &orphans, &count, e);

    ANSWER("%d", count);
    free(orphans);
    return status;
}

static nas_status spool_take(nas_store *store, nas_err *e)
{
    nas_store_taken taken = {0};
    const nas_status status = nas_store_spool_take(store, LOOP, TASK, 1, &taken, e);

    ANSWER("%d taken, %d refused", (int)taken.records, (int)taken.refused);
    return status;
}

/* ---- the whole store ---- */

static nas_status open_in(nas_store_mode mode, nas_err *e)
{
    nas_store *store = NULL;
    const nas_status status = nas_store_open(&store, scratch("store"), mode, e);

    nas_store_close(store);
    return status;
}

static nas_status create(nas_store *store, nas_err *e)
{
    return open_in(NAS_STORE_CREATE, e);
}

static nas_status open_to_read(nas_store *store, nas_err *e)
{
    return open_in(NAS_STORE_READ, e);
}

/* What cannot be read counts as damage here; of a store that it could read it finds none. */
static nas_status verify(nas_store *store, nas_err *e)
{
    nas_store_health health;

    return nas_store_verify(store, &health, NULL, NULL, e);
}

static nas_status gc(nas_store *store, nas_err *e)
{
    nas_store_health health = {0};
    const nas_status status = nas_store_gc(store, true, &health, NULL, NULL, e);

    ANSWER("%d", health.orphans);
    return status;
}

/* One that is there is whole. */
static nas_status backup(nas_store *store, nas_err *e)
{
    return nas_path_exists(scratch("copy/store.db")) ? NAS_OK
                                                     : nas_store_backup(store, scratch("copy"), e);
}

typedef struct operation {
    const char *name, *folder; /* that it starts from; NULL: there is no store */
    nas_status (*run)(nas_store *store, nas_err *e);
    bool opens; /* the store by itself */
} operation;

static const operation operations[] = {
    {"create a store", NULL, .run = create, .opens = true},
    {"open a store", "base", .run = create, .opens = true},
    {"open a store to read it", "base", .run = open_to_read, .opens = true},
    {"migrate a store of version 1", "v1", .run = create, .opens = true},
    {"migrate a store of version 2", "v2", .run = create, .opens = true},
    {"begin a run", "base", .run = run_begin},
    {"claim a run", "base", .run = run_claim},
    {"finish a run", "base", .run = run_finish},
    {"finish a run and begin the next", "base", .run = run_follow},
    {"delete a run", "base", .run = run_delete},
    {"read runs", "base", .run = run_read},
    {"record metrics", "base", .run = progress},
    {"record probabilities", "base", .run = probabilities},
    {"add an architecture", "base", .run = architecture},
    {"record evaluations", "base", .run = evaluations},
    {"add a table", "base", .run = table},
    {"note a run's table", "base", .run = run_table},
    {"record a file", "base", .run = artifact},
    {"record a checkpoint", "base", .run = checkpoint},
    {"export", "base", .run = export},
    {"submit jobs", "base", .run = submit},
    {"cancel jobs", "base", .run = cancel},
    {"retry a job", "base", .run = retry},
    {"read jobs", "base", .run = jobs_read},
    {"claim the loop", "ended", .run = loop_claim},
    {"release the loop", "base", .run = loop_release},
    {"start and end jobs", "base", .run = loop_write},
    {"read what is new", "base", .run = loop_news},
    {"recover jobs", "base", .run = loop_recover},
    {"take in a spool", "base", .run = spool_take},
    {"verify", "base", .run = verify},
    {"look for orphans", "base", .run = gc},
    {"back up", "base", .run = backup},
};

/* ---- folders ---- */

static const char *copy_from, *copy_to;

static int copy_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    char to[512], bytes[1 << 16];
    ssize_t size;

    snprintf(to, sizeof to, "%s%s", copy_to, path + strlen(copy_from));
    if (kind == FTW_D)
        return mkdir(to, 0700);
    const int in = open(path, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    while ((size = read(in, bytes, sizeof bytes)) > 0)
        if (write(out, bytes, (size_t)size) != size)
            size = -1;
    close(in);
    close(out);
    return size != 0;
}

static void drop(const char *name)
{
    nftw(scratch(name), scratch__remove, 8, FTW_DEPTH | FTW_PHYS);
}

static void copy(const char *from, const char *to)
{
    copy_from = scratch(from);
    copy_to = scratch(to);
    cr_assert_eq(nftw(copy_from, copy_entry, 8, FTW_PHYS), 0);
}

static void keep_as(const char *name)
{
    cr_assert_eq(rename(scratch("store"), scratch(name)), 0);
}

static int64_t add_job(nas_store *store, const char *name, const nas_job_need *need)
{
    json_t *args = json_pack("[s]", "search");
    const nas_job_spec spec = {.name = name, .args = args, .folder = "/", .cores = 1, .retries = 3,
                               .needs = need, .need_count = need != NULL};
    int64_t id;

    ok(nas_store_jobs_submit(store, &spec, 1, &id, &err));
    json_decref(args);
    return id;
}

/* A task whose run came to its end, and nobody has taken in what it recorded. */
static void make_spool(nas_store *store)
{
    char *path = nas_store_spool_path(store, TASK, 1, NULL), name[512];
    nas_store *spool;

    ok(nas_dir_make(path, &err));
    snprintf(name, sizeof name, NAS_STORE_SPOOL "%s", path);
    ok(nas_store_open(&spool, name, NAS_STORE_CREATE, &err));
    const nas_store_attempt attempt = begin(spool, NULL);
    ok(nas_store_progress(spool, attempt, 10, 1, &(nas_store_metric){"loss", 0.1}, 1, &err));
    put_file(spool, attempt.run, "arch.json", "{}");
    ok(nas_store_artifact_put(spool, attempt, "arch", "arch.json", 10, &err));
    ok(nas_store_run_finish(spool, attempt, NAS_STORE_DONE, "{}", NULL, &err));
    nas_store_close(spool);
    free(path);
}

static void make_jobs(nas_store *store)
{
    nas_job_change changes[] = {
        {.event = NAS_JOB_STARTS, .job = RUNS, .attempt = 1},
        {.event = NAS_JOB_STARTS, .job = FAILED, .attempt = 1},
        {.event = NAS_JOB_ENDS, .job = FAILED, .attempt = 1, .cause = "data", .code = 65,
         .attempt_state = NAS_JOB_FAILED, .job_state = NAS_JOB_FAILED},
        {.event = NAS_JOB_STARTS, .job = TASK, .attempt = 1, .batch = "nas-1-1"}};
    int64_t loop;

    cr_assert_eq(add_job(store, "a", NULL), A);
    cr_assert_eq(add_job(store, "b", &(nas_job_need){.job = A}), B);
    cr_assert_eq(add_job(store, "runs", NULL), RUNS);
    cr_assert_eq(add_job(store, "failed", NULL), FAILED);
    cr_assert_eq(add_job(store, "task", NULL), TASK);
    ok(nas_store_loop_claim(store, 2, 100, false, &loop, &err));
    cr_assert_eq(loop, LOOP);
    ok(nas_store_jobs_write(store, loop, changes, 4, &err));
    make_spool(store);
}

static void make_base(void)
{
    nas_store *store = open_store();
    const nas_store_attempt old = begin(store, "old");
    char name[16];

    put_file(store, old.run, "model", "weights");
    ok(nas_store_artifact_put(store, old, "model", "model", 1, &err));
    ok(nas_store_progress(store, old, 1, 0, &(nas_store_metric){"loss", 2}, 1, &err));
    ok(nas_store_run_finish(store, old, NAS_STORE_DONE, "{}", NULL, &err));
    begin(store, "going");
    for (int i = 1; i <= 4; i++) {
        snprintf(name, sizeof name, "ck-%d", i);
        put_file(store, GOING, name, name);
        if (i < 4)
            ok(nas_store_checkpoint(store, going, name, i, 0.1 * i, &err));
    }
    put_file(store, GOING, "model", "weights");
    ok(nas_store_progress(store, going, 10, 1, &(nas_store_metric){"loss", 1}, 1, &err));
    ok(nas_store_architecture_put(store, &(nas_store_architecture){.digest = "d", .json = "{}"},
                                  NULL, &err));
    ok(table(store, &err));
    make_jobs(store);
    nas_store_close(store);
    keep_as("base");
}

static void make_ended(void)
{
    copy("base", "ended");
    raw_sql_in("ended/store.db", "UPDATE job_loop SET ended = 1");
}

/* As it was when that schema was current; its files are not kept. */
static void make_old(const char *name)
{
    char path[512], *sql;
    size_t size;

    snprintf(path, sizeof path, NAS_SOURCE_DIR "/tests/golden/store-%s.sql", name);
    ok(nas_file_read(path, 1 << 20, &sql, &size, &err));
    ok(nas_dir_make(scratch("store/runs"), &err));
    raw_sql(sql);
    raw_sql("DELETE FROM artifact");
    free(sql);
    keep_as(name);
}

/* ---- states ---- */

static bool is_volatile(const char *column)
{
    const size_t length = strlen(column);

    return length > 3 && strcmp(column + length - 3, "_ms") == 0;
}

static void dump_table(sqlite3 *db, const char *name, FILE *out)
{
    char *sql = sqlite3_mprintf("SELECT * FROM %Q", name);
    sqlite3_stmt *stmt;

    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        for (int i = 0; i < sqlite3_column_count(stmt); i++)
            if (!is_volatile(sqlite3_column_name(stmt, i)))
                fprintf(out, "%s.%s %s\n", name, sqlite3_column_name(stmt, i),
                        sqlite3_column_text(stmt, i));
    cr_assert_eq(sqlite3_finalize(stmt), SQLITE_OK);
    sqlite3_free(sql);
}

/* All that the database holds but for times, as another connection sees it; yours.  None (NULL) is
 * as good as an empty one. */
static char *state_of(sqlite3 *db)
{
    char *text;
    size_t size;
    sqlite3_stmt *stmt;
    FILE *out = open_memstream(&text, &size);

    if (db) {
        cr_assert_eq(sqlite3_prepare_v2(db, "SELECT name FROM sqlite_schema WHERE type = 'table' "
                                        "ORDER BY name", -1, &stmt, NULL), SQLITE_OK,
                     "%s", sqlite3_errmsg(db));
        while (sqlite3_step(stmt) == SQLITE_ROW)
            dump_table(db, (const char *)sqlite3_column_text(stmt, 0), out);
        cr_assert_eq(sqlite3_finalize(stmt), SQLITE_OK);
    }
    fclose(out);
    return text;
}

static sqlite3 *open_view(void)
{
    sqlite3 *db = NULL;

    if (nas_path_exists(scratch("store/store.db")))
        cr_assert_eq(sqlite3_open(scratch("store/store.db"), &db), SQLITE_OK);
    return db;
}

/* ---- trials ---- */

/* An operation undisturbed. */
typedef struct golden {
    char *before, *after, answer[sizeof answer];
    sqlite3_int64 memory;
} golden;

static nas_store *start(const operation *op)
{
    nas_store *store = NULL;

    drop("store");
    drop("copy");
    if (op->folder)
        copy(op->folder, "store");
    if (!op->opens)
        ok(nas_store_open(&store, scratch("store"), NAS_STORE_EXISTING, &err));
    answer[0] = '\0';
    return store;
}

static golden golden_of(const operation *op)
{
    nas_store *store = start(op);
    sqlite3 *view = open_view();
    golden g = {.before = state_of(view)};

    sqlite3_close(view);
    cr_assert_eq(op->run(store, &err), NAS_OK, "%s: %s", op->name, err.message);
    g.after = state_of(view = open_view());
    strcpy(g.answer, answer);
    sqlite3_close(view);
    nas_store_close(store);
    g.memory = sqlite3_memory_used();
    return g;
}

/* `store` is closed; NULL: the one in that folder, if there is one. */
static void expect_sound(nas_store *store, const char *folder, const char *when)
{
    nas_store_health health;

    if (!store && !nas_path_exists(scratch(folder)))
        return;
    if (!store)
        ok(nas_store_open(&store, scratch(folder), NAS_STORE_CREATE, &err));
    ok(nas_store_verify(store, &health, NULL, NULL, &err));
    cr_expect_eq(health.problems, 0, "%s: damaged", when);
    nas_store_close(store);
}

/* What came of the operation is told as it is, and the same handle can do what was not done. */
static void expect_old_or_new(const operation *op, const golden *g, nas_store *store,
                              nas_status status, const char *when)
{
    sqlite3 *view = open_view();
    char *state = state_of(view);
    const bool is_old = strcmp(state, g->before) == 0, is_new = strcmp(state, g->after) == 0;

    free(state);
    cr_expect(is_old || is_new, "%s: neither the old state nor the new one", when);
    if (status)
        cr_expect(status == NAS_E_IO && err.message[0] && err.hint[0], "%s: status %d: %s", when,
                  status, err.message);
    else
        cr_expect(is_new && strcmp(answer, g->answer) == 0, "%s: it is not done; answer '%s'", when,
                  answer);
    if (is_old) {
        cr_expect_eq(op->run(store, &err), NAS_OK, "%s, again: %s", when, err.message);
        cr_expect_str_eq(answer, g->answer, "%s, again: answer '%s'", when, answer);
        if (!view)
            view = open_view();
        state = state_of(view);
        cr_expect_str_eq(state, g->after, "%s, again: not the new state", when);
        free(state);
    }
    sqlite3_close(view);
}

/* False if the operation makes fewer calls than that. */
static bool try_call(const operation *op, const golden *g, const faulty_plan *plan, long call)
{
    char when[256];
    nas_store *store = start(op);

    faulty_begin(plan, call);
    err = (nas_err){0};
    const nas_status status = op->run(store, &err);
    const bool struck = faulty_end() > 0;
    snprintf(when, sizeof when, "%s, %s at %s", op->name, plan->name, faulty_where());
    expect_old_or_new(op, g, store, status, when);
    expect_sound(store, "store", when);
    expect_sound(NULL, "copy", when);
    cr_expect_eq(faulty_files(), 0, "%s: left a file open", when);
    cr_expect_leq(sqlite3_memory_used(), g->memory, "%s: leaks", when);
    return struck;
}

/* One of so many calls fails; NAS_FAULT_STRIDE=1: each of them, in a minute or two. */
static long stride(void)
{
    const char *text = getenv("NAS_FAULT_STRIDE");

    return text && atol(text) > 0 ? atol(text) : 8;
}

Test(store_io_errors, calls_of_each_operation_fail)
{
    const long every = stride();
    long trials = 0;

    nas_log_set_level(NAS_LOG_ERROR);
    faulty_install();
    make_base();
    make_ended();
    make_old("v1");
    make_old("v2");
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        const operation *op = &operations[i];
        golden g = golden_of(op);

        for (size_t p = 0; p < sizeof plans / sizeof *plans; p++) {
            long call = 1 + (long)(i + p) % every;

            for (; try_call(op, &g, &plans[p], call); call += every, trials++)
                cr_assert_lt(call, MAX_CALLS, "%s does not end", op->name);
        }
        free(g.before);
        free(g.after);
    }
    cr_assert_gt(trials, 1000 / every, "only %ld calls failed", trials);
}
