/* Opening a store: new, old, newer, damaged, foreign; names. */
#include "search/store/private.h"
#include "tests/search/store/support.h"

TestSuite(store_open, .init = scratch_init, .fini = scratch_fini);

static int64_t pragma(nas_store *store, const char *sql)
{
    int64_t value = -1;

    ok(nas_store__int(store, "test", &value, &err, sql, ""));
    return value;
}

Test(store_open, a_new_store_is_made_with_safe_settings)
{
    nas_store *store = open_store();

    cr_assert(nas_path_is_dir(scratch("store/runs")));
    cr_assert_str_eq(nas_store_dir(store), scratch("store"));
    cr_assert_eq(pragma(store, "PRAGMA user_version"), nas_store_schema());
    cr_assert_eq(pragma(store, "PRAGMA foreign_keys"), 1);
    cr_assert_eq(pragma(store, "PRAGMA synchronous"), 2);
    cr_assert_eq(pragma(store, "PRAGMA trusted_schema"), 0);
    cr_assert_eq(pragma(store, "SELECT (SELECT journal_mode FROM pragma_journal_mode) = 'delete'"),
                 1);
    cr_assert_eq(pragma(store, "SELECT count(*) FROM pragma_table_list "
                               "WHERE schema = 'main' AND type = 'table' AND NOT strict "
                               "AND name NOT LIKE 'sqlite_%'"), 0);
    nas_store_close(store);
    nas_store_close(NULL);
}

Test(store_open, a_missing_store_is_an_error_unless_it_may_be_made)
{
    nas_store *store;

    cr_assert_eq(nas_store_open(&store, scratch("store"), NAS_STORE_EXISTING, &err), NAS_E_IO);
    cr_assert_eq(nas_store_open(&store, scratch("store"), NAS_STORE_READ, &err), NAS_E_IO);
    says("there is no store");
    cr_assert_not_null(strstr(err.hint, "--store"));
    cr_assert_null(store);
    cr_assert_eq(scratch_count(), 0);
}

Test(store_open, network_file_systems_are_known_by_their_numbers)
{
    nas_store *store = open_store();

    cr_assert_str_eq(nas_store__network_name(0x6969), "NFS");
    cr_assert_str_eq(nas_store__network_name(0xff534d42), "CIFS");
    cr_assert_null(nas_store__network_name(0xef53)); /* ext4 */
    cr_assert_null(nas_store__network_name(0x01021994)); /* tmpfs */
    cr_assert_null(nas_store_network(store), "the tests need a local %s", P_tmpdir);
    nas_store_close(store);
}

Test(store_open, reading_cannot_write)
{
    nas_store *store;
    nas_store_attempt attempt;

    nas_store_close(open_store());
    ok(nas_store_open(&store, scratch("store"), NAS_STORE_READ, &err));
    cr_assert_eq(nas_store_run_begin(store, &(nas_store_run_spec){.kind = "search"}, &attempt,
                                     &err), NAS_E_IO);
    nas_store_close(store);
}

Test(store_open, a_newer_store_is_refused_and_left_alone)
{
    nas_store *store;
    char text[128];

    nas_store_close(open_store());
    snprintf(text, sizeof text, "PRAGMA user_version = %d", nas_store_schema() + 1);
    raw_sql(text);
    for (int mode = NAS_STORE_CREATE; mode <= NAS_STORE_READ; mode++) {
        cr_assert_eq(nas_store_open(&store, scratch("store"), mode, &err), NAS_E_DATA);
        snprintf(text, sizeof text, "made by a newer nas (schema %d, this one knows %d)",
                 nas_store_schema() + 1, nas_store_schema());
        says(text);
    }
}

Test(store_open, a_database_of_another_program_is_refused)
{
    nas_store *store;

    ok(nas_dir_make(scratch("store"), &err));
    raw_sql("CREATE TABLE studies (study_id INTEGER)");
    cr_assert_eq(nas_store_open(&store, scratch("store"), NAS_STORE_CREATE, &err), NAS_E_DATA);
    says("another program");
}

Test(store_open, text_and_damaged_files_are_refused_with_advice)
{
    nas_store *store;
    FILE *file;

    ok(nas_dir_make(scratch("store"), &err));
    scratch_put("store/store.db", "this is a text file and much longer than the header of SQLite "
                                  "is, which has one hundred bytes, all of them looked at first");
    cr_assert_eq(nas_store_open(&store, scratch("store"), NAS_STORE_CREATE, &err), NAS_E_DATA);
    says("store.db");
    cr_assert_not_null(strstr(err.hint, "not a store"), "%s", err.hint);

    cr_assert_eq(unlink(scratch("store/store.db")), 0);
    store = open_store();
    begin(store, "a");
    nas_store_close(store);
    cr_assert_not_null(file = fopen(scratch("store/store.db"), "r+"));
    fseek(file, 100, SEEK_SET); /* the root page of the schema, after the file's header */
    for (int i = 0; i < 2000; i++)
        fputc(0xa5, file);
    fclose(file);
    cr_assert_eq(nas_store_open(&store, scratch("store"), NAS_STORE_CREATE, &err), NAS_E_DATA);
    cr_assert_not_null(strstr(err.hint, "backup"), "%s", err.hint);
}

/* A kept store of schema 1, as it was when that schema was current. */
Test(store_open, a_store_of_version_1_opens_with_all_it_knew)
{
    nas_store *store;
    nas_store_run *run;
    nas_store_point *points;
    nas_store_artifact *artifacts;
    char *sql, *table;
    size_t size;
    int count;

    ok(nas_file_read(NAS_SOURCE_DIR "/tests/golden/store-v1.sql", 1 << 20, &sql, &size, &err));
    ok(nas_dir_make(scratch("store/runs"), &err));
    raw_sql(sql);
    free(sql);
    ok(nas_store_open(&store, scratch("store"), NAS_STORE_EXISTING, &err));
    cr_assert_eq(pragma(store, "PRAGMA user_version"), nas_store_schema());
    ok(nas_store_run_get(store, "first", &run, &err));
    cr_assert_eq(run->seed, 7);
    cr_assert_eq(run->attempt, 2);
    cr_assert_eq(run->state, NAS_STORE_DONE);
    cr_assert_str_eq(run->experiment, "paper");
    cr_assert_str_eq(run->summary, "{\"valid_top1\": 0.5}");
    ok(nas_store_metric_get(store, run->id, "loss", &points, &count, &err));
    cr_assert_eq(count, 2);
    cr_assert_eq(points[1].value, 1.25);
    free(points);
    ok(nas_store_artifact_list(store, run->id, NULL, &artifacts, &count, &err));
    cr_assert_eq(count, 1);
    cr_assert_str_eq(artifacts[0].path, "runs/1/model.safetensors");
    free(artifacts);
    ok(nas_store_table_get(store, "7ab1e", &table, &err));
    cr_assert_str_eq(table, "Logits: {mean: 1}\n");
    free(table);
    nas_store_run_free(run);
    nas_store_close(store);
}

Test(store_open, migrations_run_in_order_and_keep_a_copy)
{
    static const char *const steps[] = {"CREATE TABLE a (x); INSERT INTO a VALUES (1)",
                                        "ALTER TABLE a ADD COLUMN y DEFAULT 2",
                                        "UPDATE a SET x = x + y"};
    nas_store view = {0}, old = {0};
    int64_t x = 0;

    cr_assert_eq(sqlite3_open(scratch("m.db"), &view.db), SQLITE_OK);
    ok(nas_store__migrate(view.db, scratch("m.db"), steps, 1, &err));
    ok(nas_store__migrate(view.db, scratch("m.db"), steps, 3, &err));
    ok(nas_store__int(&view, "test", &x, &err, "SELECT x FROM a", ""));
    cr_assert_eq(x, 3);
    ok(nas_store__int(&view, "test", &x, &err, "PRAGMA user_version", ""));
    cr_assert_eq(x, 3);
    cr_assert_eq(nas_store__migrate(view.db, scratch("m.db"), steps, 2, &err), NAS_E_DATA);

    cr_assert_eq(sqlite3_open(scratch("m.db.v1"), &old.db), SQLITE_OK);
    ok(nas_store__int(&old, "test", &x, &err, "SELECT x FROM a", ""));
    cr_assert_eq(x, 1);
    ok(nas_store__int(&old, "test", &x, &err, "PRAGMA user_version", ""));
    cr_assert_eq(x, 1);
    sqlite3_close(old.db);
    sqlite3_close(view.db);
}

Test(store_open, a_migration_that_fails_changes_nothing)
{
    static const char *const steps[] = {"CREATE TABLE a (x); INSERT INTO a VALUES (1)",
                                        "UPDATE a SET x = 5", "this is no SQL"};
    nas_store view = {0};
    int64_t x = 0;

    cr_assert_eq(sqlite3_open(scratch("m.db"), &view.db), SQLITE_OK);
    ok(nas_store__migrate(view.db, scratch("m.db"), steps, 1, &err));
    cr_assert_neq(nas_store__migrate(view.db, scratch("m.db"), steps, 3, &err), NAS_OK);
    ok(nas_store__int(&view, "test", &x, &err, "SELECT x + (SELECT 10 * user_version "
                      "FROM pragma_user_version) FROM a", ""));
    cr_assert_eq(x, 11);
    sqlite3_close(view.db);
}

Test(store_open, only_plain_names_are_names)
{
    static const char *const good[] = {"a", "A.b_c-9", "7",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    static const char *const bad[] = {"", ".", "..", ".hidden", "-rf", "a/b", "../a", "a b", "a\n",
        "a\x1b[2J", "\xc3\xa4", "a;DROP TABLE run", "a'b", "a%s", "a*",
        "01234567890123456789012345678901234567890123456789012345678901234"};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ok(nas_store_name_check(good[i], "run name", &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(nas_store_name_check(bad[i], "run name", &err), NAS_E_USAGE, "%s", bad[i]);
    cr_assert_eq(nas_store_name_check(NULL, "run name", &err), NAS_E_USAGE);
    says("run name");
}

Test(store_open, a_transaction_of_a_killed_process_is_undone)
{
    nas_store *store = open_store();
    nas_store_run *run;
    nas_store_point *points;
    int fd, count, end;

    begin(store, "whole");
    const pid_t pid = start_helper("die", &fd);
    await_helper(fd);
    cr_assert_eq(waitpid(pid, &end, 0), pid);
    cr_assert(WIFSIGNALED(end));
    cr_assert(nas_path_exists(scratch("store/store.db-journal")), "nothing was cut off");
    ok(nas_store_run_get(store, "whole", &run, &err));
    ok(nas_store_metric_get(store, run->id, "half", &points, &count, &err));
    cr_assert_eq(count, 0);
    nas_store_run_free(run);
    free(points);
    nas_store_close(store);
}
