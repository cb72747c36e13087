/* Files of runs: what is recorded about them, and which checkpoints stay. */
#include "tests/search/store/support.h"

TestSuite(store_files, .init = scratch_init, .fini = scratch_fini);

static void checkpoint(nas_store *store, nas_store_attempt a, int step, double score)
{
    char name[32], content[32];

    snprintf(name, sizeof name, "ck-%d", step);
    snprintf(content, sizeof content, "state of step %d", step);
    put_file(store, a.run, name, content);
    ok(nas_store_checkpoint(store, a, name, step, score, &err));
}

/* The kept steps, in the order in which resume tries them: "5 4 1 ". */
static const char *kept(nas_store *store, int64_t run)
{
    static char text[128];
    nas_store_artifact *list;
    int count;

    text[0] = '\0';
    ok(nas_store_artifact_list(store, run, "checkpoint", &list, &count, &err));
    for (int i = 0; i < count; i++) {
        sprintf(text + strlen(text), "%d ", (int)list[i].step);
        ok(nas_store_artifact_check(store, &list[i], &err));
    }
    free(list);
    return text;
}

Test(store_files, a_file_is_recorded_with_size_and_digest)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");
    nas_store_artifact *list;
    char digest[NAS_DIGEST_SIZE];
    int count;

    put_file(store, a.run, "model.safetensors", "weights");
    ok(nas_store_artifact_put(store, a, "model", "model.safetensors", 12, &err));
    ok(nas_store_artifact_list(store, a.run, NULL, &list, &count, &err));
    cr_assert_eq(count, 1);
    nas_digest("weights", 7, digest);
    cr_assert_str_eq(list[0].digest, digest);
    cr_assert_eq(list[0].bytes, 7);
    cr_assert_eq(list[0].step, 12);
    cr_assert(isnan(list[0].score));
    cr_assert_str_eq(list[0].kind, "model");
    cr_assert_str_eq(list[0].path, "runs/1/model.safetensors");
    ok(nas_store_artifact_check(store, &list[0], &err));

    put_file(store, a.run, "model.safetensors", "Weights");
    cr_assert_eq(nas_store_artifact_check(store, &list[0], &err), NAS_E_DATA);
    says("its content changed");
    put_file(store, a.run, "model.safetensors", "more weights");
    cr_assert_eq(nas_store_artifact_check(store, &list[0], &err), NAS_E_DATA);
    says("12 bytes, but 7 were recorded");
    ok(nas_store_artifact_put(store, a, "model", "model.safetensors", 13, &err)); /* replaces */
    free(list);
    ok(nas_store_artifact_list(store, a.run, "model", &list, &count, &err));
    cr_assert_eq(count, 1);
    cr_assert_eq(list[0].step, 13);
    free(list);
    nas_store_close(store);
}

Test(store_files, missing_files_and_paths_out_of_the_run_are_refused)
{
    static const char *const bad[] = {"../../store.db", "/etc/passwd", "a/b", ".", "..", ""};
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");

    cr_assert_eq(nas_store_artifact_put(store, a, "model", "nothing", 0, &err), NAS_E_IO);
    says("runs/1/nothing");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(nas_store_artifact_put(store, a, "model", bad[i], 0, &err), NAS_E_USAGE);
        cr_assert_eq(nas_store_checkpoint(store, a, bad[i], 0, NAN, &err), NAS_E_USAGE);
    }
    nas_store_close(store);
}

Test(store_files, a_row_of_a_hostile_store_leads_nowhere)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");
    nas_store_artifact *list;
    int count;

    scratch_put("precious", "keep me");
    put_file(store, a.run, "ck-1", "1");
    ok(nas_store_checkpoint(store, a, "ck-1", 1, NAN, &err));
    raw_sql("INSERT INTO artifact (id, run, kind, file, step, bytes, digest, created_ms) "
            "VALUES (-5, 1, 'checkpoint', '../../../precious', 0, 7, '', 0)");
    cr_assert_eq(nas_store_artifact_list(store, a.run, NULL, &list, &count, &err), NAS_E_DATA);
    says("is no file name");
    put_file(store, a.run, "ck-2", "2"); /* retention would drop the hostile row's file */
    cr_assert_eq(nas_store_checkpoint(store, a, "ck-2", 2, NAN, &err), NAS_E_DATA);
    cr_assert(nas_path_exists(scratch("precious")));
    nas_store_close(store);
}

Test(store_files, links_are_neither_read_nor_written_through)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");
    nas_store_artifact *list;
    nas_store_attempt next;
    int count;

    scratch_put("precious", "1");
    put_file(store, a.run, "ck-1", "1");
    ok(nas_store_checkpoint(store, a, "ck-1", 1, NAN, &err));
    cr_assert_eq(unlink(scratch("store/runs/1/ck-1")), 0);
    cr_assert_eq(symlink(scratch("precious"), scratch("store/runs/1/ck-1")), 0);
    ok(nas_store_artifact_list(store, a.run, NULL, &list, &count, &err));
    cr_assert_eq(nas_store_artifact_check(store, &list[0], &err), NAS_E_DATA);
    says("symbolic link");
    free(list);
    cr_assert_eq(symlink(scratch("precious"), scratch("store/runs/1/new")), 0);
    cr_assert_eq(nas_store_artifact_put(store, a, "model", "new", 1, &err), NAS_E_DATA);
    cr_assert_eq(nas_store_backup(store, scratch("copy"), &err), NAS_E_DATA);
    says("is a link");
    cr_assert_not(nas_path_exists(scratch("copy/runs/1/ck-1")));

    cr_assert_eq(rename(scratch("store/runs/1"), scratch("elsewhere")), 0);
    cr_assert_eq(symlink(scratch("elsewhere"), scratch("store/runs/1")), 0);
    cr_assert_eq(nas_store_run_claim(store, a.run, &next, &err), NAS_E_IO);
    says("runs/1");
    nas_store_close(store);
}

Test(store_files, the_last_two_checkpoints_and_the_best_stay)
{
    static const struct {
        double score;
        const char *kept;
    } steps[] = {{0.5, "0 "}, {0.9, "1 0 "}, {0.7, "2 1 "}, {0.9, "3 2 1 "}, {NAN, "4 3 1 "},
                 {0.95, "5 4 "}, {0.1, "6 5 "}, {0.2, "7 6 5 "}};
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a"), other = begin(store, "b");

    checkpoint(store, other, 0, 2.0); /* of another run: neither best nor dropped here */
    for (int i = 0; i < (int)(sizeof steps / sizeof *steps); i++) {
        checkpoint(store, a, i, steps[i].score);
        cr_assert_str_eq(kept(store, a.run), steps[i].kept);
    }
    for (int i = 0; i < 8; i++) {
        char name[32];

        snprintf(name, sizeof name, "ck-%d", i);
        cr_assert_eq(has_file(store, a.run, name), i >= 5, "%s", name);
    }
    cr_assert_str_eq(kept(store, other.run), "0 ");
    nas_store_close(store);
}

Test(store_files, after_a_fall_back_the_new_checkpoints_come_first)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");

    checkpoint(store, a, 5, 0.5);
    checkpoint(store, a, 10, 0.1);
    checkpoint(store, a, 20, 0.1);
    checkpoint(store, a, 6, 0.1); /* 20 and 10 were damaged, the run went on from 5 */
    cr_assert_str_eq(kept(store, a.run), "6 20 5 ");
    checkpoint(store, a, 7, 0.1);
    cr_assert_str_eq(kept(store, a.run), "7 6 5 ");
    nas_store_close(store);
}
