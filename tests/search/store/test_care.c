/* Verify, gc and backup. */
#include "tests/search/store/support.h"

TestSuite(store_care, .init = scratch_init, .fini = scratch_fini);

typedef struct findings {
    int count;
    char what[8][32], where[8][128];
} findings;

static void note(void *user, const char *what, const char *where, const char *why)
{
    findings *f = user;

    cr_assert_lt(f->count, 8);
    snprintf(f->what[f->count], sizeof f->what[0], "%s", what);
    snprintf(f->where[f->count++], sizeof f->where[0], "%s", where);
    cr_assert_neq(why[0], '\0');
}

/* A finished run with a file "model" and one "report". */
static nas_store *open_example(void)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");

    put_file(store, a.run, "model", "weights");
    put_file(store, a.run, "report", "<html>");
    ok(nas_store_artifact_put(store, a, "model", "model", 1, &err));
    ok(nas_store_artifact_put(store, a, "report", "report", 1, &err));
    ok(nas_store_progress(store, a, 1, 0, &(nas_store_metric){"loss", 2}, 1, &err));
    ok(nas_store_run_finish(store, a, NAS_STORE_DONE, "{}", NULL, &err));
    return store;
}

static findings verify(nas_store *store, nas_store_health *health)
{
    findings found = {0};

    ok(nas_store_verify(store, health, note, &found, &err));
    return found;
}

Test(store_care, a_sound_store_has_no_findings)
{
    nas_store *store = open_example();
    nas_store_health health;

    cr_assert_eq(verify(store, &health).count, 0);
    cr_assert_eq(health.runs, 1);
    cr_assert_eq(health.artifacts, 2);
    cr_assert_eq(health.bytes, 13);
    nas_store_close(store);
}

Test(store_care, a_flipped_byte_and_a_missing_file_are_found)
{
    nas_store *store = open_example();
    nas_store_health health;

    put_file(store, 1, "model", "weighTs");
    cr_assert_eq(unlink(scratch("store/runs/1/report")), 0);
    const findings found = verify(store, &health);
    cr_assert_eq(found.count, 2);
    cr_assert_eq(health.problems, 2);
    cr_assert_str_eq(found.what[0], "missing");
    cr_assert_str_eq(found.where[0], "runs/1/report");
    cr_assert_str_eq(found.what[1], "changed");
    cr_assert_str_eq(found.where[1], "runs/1/model");
    nas_store_close(store);
}

Test(store_care, broken_references_are_found)
{
    nas_store *store = open_example();
    nas_store_health health;

    raw_sql("PRAGMA foreign_keys = OFF; INSERT INTO metric VALUES (99, 'loss', 0, 0, 1)");
    const findings found = verify(store, &health);
    cr_assert_eq(found.count, 1);
    cr_assert_str_eq(found.what[0], "reference");
    cr_assert_str_eq(found.where[0], "metric");
    nas_store_close(store);
}

Test(store_care, damage_of_the_database_is_found)
{
    nas_store *store = open_example();
    nas_store_health health;

    raw_sql("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = "
            "(SELECT rootpage FROM sqlite_schema WHERE name = 'metric') WHERE name = 'entropy'");
    nas_store_close(store);
    store = open_store();
    const findings found = verify(store, &health);
    cr_assert_gt(found.count, 0);
    cr_assert_str_eq(found.what[0], "database");
    nas_store_close(store);
}

Test(store_care, orphans_are_listed_and_collected_and_living_runs_left_alone)
{
    nas_store *store = open_example();
    nas_store_health health;
    findings found = {0};

    put_file(store, 1, "left-over.tmp", "12345");
    ok(nas_dir_make(scratch("store/runs/77"), &err)); /* of a deleted run */
    put_file(store, 77, "model", "x");
    const nas_store_attempt alive = begin(store, "alive"), far = begin(store, "far");
    put_file(store, alive.run, "being-written", "x");
    put_file(store, far.run, "being-written", "x");
    raw_sql("UPDATE run SET host = 'another' WHERE name = 'far'");

    found = verify(store, &health);
    cr_assert_eq(found.count, 3);
    cr_assert_eq(health.problems, 0);
    cr_assert_eq(health.orphans, 3);
    cr_assert_eq(health.orphan_bytes, 6);

    found = (findings){0};
    ok(nas_store_gc(store, true, &health, note, &found, &err));
    cr_assert_eq(health.orphans, 3);
    cr_assert(has_file(store, 1, "left-over.tmp"));
    ok(nas_store_gc(store, false, &health, NULL, NULL, &err));
    cr_assert_eq(health.orphans, 3);
    cr_assert_not(has_file(store, 1, "left-over.tmp"));
    cr_assert_not(nas_path_exists(scratch("store/runs/77")));
    cr_assert(has_file(store, alive.run, "being-written"));
    cr_assert(has_file(store, far.run, "being-written")); /* nobody here knows */
    cr_assert(has_file(store, 1, "model"));
    cr_assert_eq(verify(store, &health).count, 0);
    nas_store_close(store);
}

Test(store_care, links_are_removed_and_not_followed)
{
    nas_store *store = open_example();
    nas_store_health health;

    ok(nas_dir_make(scratch("precious"), &err));
    scratch_put("precious/file", "keep me");
    cr_assert_eq(symlink(scratch("precious"), scratch("store/runs/55")), 0);
    cr_assert_eq(symlink(scratch("precious/file"), scratch("store/runs/1/link")), 0);
    ok(nas_store_gc(store, false, &health, NULL, NULL, &err));
    cr_assert_eq(health.orphans, 2);
    scratch_expect("precious/file", "keep me");
    cr_assert_not(has_file(store, 1, "link"));
    cr_assert_neq(access(scratch("store/runs/55"), F_OK), 0);
    nas_store_close(store);
}

Test(store_care, a_backup_is_a_whole_store)
{
    nas_store *store = open_example(), *copy;
    nas_store_health health;
    nas_store_run *run;
    nas_store_point *points;
    int count;

    ok(nas_store_backup(store, scratch("backup"), &err));
    cr_assert_eq(nas_store_backup(store, scratch("backup"), &err), NAS_E_USAGE);
    says("there is a store already");
    ok(nas_store_run_delete(store, 1, &err));
    nas_store_close(store);

    ok(nas_store_open(&copy, scratch("backup"), NAS_STORE_EXISTING, &err));
    cr_assert_eq(verify(copy, &health).count, 0);
    cr_assert_eq(health.artifacts, 2);
    ok(nas_store_run_get(copy, "a", &run, &err));
    ok(nas_store_metric_get(copy, run->id, "loss", &points, &count, &err));
    cr_assert_eq(points[0].value, 2);
    scratch_expect("backup/runs/1/model", "weights");
    free(points);
    nas_store_run_free(run);
    nas_store_close(copy);
}

/* ... and says so: the store still names it. */
Test(store_care, a_backup_leaves_out_what_is_lost)
{
    nas_store *store = open_example(), *copy;
    nas_store_health health;

    cr_assert_eq(unlink(scratch("store/runs/1/report")), 0);
    cr_assert_eq(nas_store_backup(store, scratch("backup"), &err), NAS_E_DATA);
    says("but for 1 files");
    ok(nas_store_open(&copy, scratch("backup"), NAS_STORE_EXISTING, &err));
    cr_assert_eq(verify(copy, &health).count, 0);
    cr_assert_eq(health.artifacts, 1);
    nas_store_close(copy);
    nas_store_close(store);
}

Test(store_care, a_backup_tells_of_damage)
{
    nas_store *store = open_example(), *copy;
    nas_store_health health;

    scratch_put("store/runs/1/report", "something else");
    cr_assert_eq(nas_store_backup(store, scratch("backup"), &err), NAS_E_DATA);
    says("but for 1 files");
    ok(nas_store_open(&copy, scratch("backup"), NAS_STORE_EXISTING, &err));
    cr_assert_eq(verify(copy, &health).count, 1);
    nas_store_close(copy);
    cr_assert_eq(nas_store_backup(store, scratch("store/runs/copy"), &err), NAS_E_USAGE);
    says("the store's own");
    nas_store_close(store);
}

Test(store_care, outputs_are_not_written_over_the_store)
{
    nas_store *store = open_example();
    static const struct {
        const char *path;
        bool folder, refused;
    } cases[] = {{"store/store.db", false, true},   {"store/store.db-wal", false, true},
                 {"store/serve.token", false, true}, {"store/runs/1/model", false, true},
                 {"store/./runs/new", false, true},  {"store", true, true},
                 {"store/report.html", false, false}, {"report.html", false, false},
                 {"storehouse", true, false}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(nas_store_check_output(store, scratch(cases[i].path), cases[i].folder, &err),
                     cases[i].refused ? NAS_E_USAGE : NAS_OK, "%s", cases[i].path);
    nas_store_close(store);
}

Test(store_care, a_backup_that_was_cut_off_is_no_store_and_can_be_done_again)
{
    nas_store *store = open_example(), *copy;

    ok(nas_dir_make(scratch("backup"), &err));
    scratch_put("backup/store.db.partial", "half");
    cr_assert_eq(nas_store_open(&copy, scratch("backup"), NAS_STORE_EXISTING, &err), NAS_E_IO);
    ok(nas_store_backup(store, scratch("backup"), &err));
    ok(nas_store_open(&copy, scratch("backup"), NAS_STORE_EXISTING, &err));
    nas_store_close(copy);
    nas_store_close(store);
}
