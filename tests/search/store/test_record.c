/* What runs record: metrics, probabilities, architectures, tables; and exporting it. */
#include <sys/resource.h>

#include "tests/search/store/support.h"

TestSuite(store_record, .init = scratch_init, .fini = scratch_fini);

static void collect_names(void *user, const char *name)
{
    strcat(strcat(user, name), " ");
}

Test(store_record, metrics_come_back_by_step_and_a_repeated_step_replaces)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");
    nas_store_point *points;
    char names[64] = "";
    int count;

    ok(nas_store_progress(store, a, 10, 1, (nas_store_metric[]){{"loss", 0.1}, {"acc", NAN}}, 2,
                          &err));
    ok(nas_store_progress(store, a, 2, 0, (nas_store_metric[]){{"loss", 5e-324}}, 1, &err));
    ok(nas_store_progress(store, a, 10, 1, (nas_store_metric[]){{"loss", INFINITY}}, 1, &err));
    ok(nas_store_metric_get(store, a.run, "loss", &points, &count, &err));
    cr_assert_eq(count, 2);
    cr_assert_eq(points[0].step, 2);
    cr_assert_eq(points[0].value, 5e-324);
    cr_assert_eq(points[1].step, 10);
    cr_assert_eq(points[1].epoch, 1);
    cr_assert(isinf(points[1].value));
    free(points);
    ok(nas_store_metric_get(store, a.run, "acc", &points, &count, &err));
    cr_assert_eq(count, 1);
    cr_assert(isnan(points[0].value));
    free(points);
    ok(nas_store_metric_names(store, a.run, collect_names, names, &err));
    cr_assert_str_eq(names, "acc loss ");
    nas_store_close(store);
}

Test(store_record, a_batch_with_one_bad_metric_is_not_recorded_at_all)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");
    nas_store_point *points;
    nas_store_run *run;
    int count;

    cr_assert_eq(nas_store_progress(store, a, 1, 0, (nas_store_metric[]){{"loss", 1}, {"b d", 2}},
                                    2, &err), NAS_E_USAGE);
    ok(nas_store_metric_get(store, a.run, "loss", &points, &count, &err));
    cr_assert_eq(count, 0);
    ok(nas_store_run_get(store, "a", &run, &err));
    cr_assert_eq(run->step, -1);
    nas_store_run_free(run);
    free(points);
    nas_store_close(store);
}

Test(store_record, a_full_disk_changes_nothing_and_is_called_so)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");
    static nas_store_metric many[4000];
    static char names[4000][16];
    const struct rlimit small = {.rlim_cur = 128 << 10, .rlim_max = RLIM_INFINITY};
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    nas_store_point *points;
    int count;

    for (int i = 0; i < 4000; i++) {
        snprintf(names[i], sizeof names[i], "m%d", i);
        many[i] = (nas_store_metric){names[i], i};
    }
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_assert_eq(nas_store_progress(store, a, 1, 0, many, 4000, &err), NAS_E_IO);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    says("store.db: "); /* while recording, or at the commit */
    cr_assert_not_null(strstr(err.hint, "nothing was changed"), "%s", err.hint);
    ok(nas_store_metric_get(store, a.run, "m0", &points, &count, &err));
    cr_assert_eq(count, 0);
    ok(nas_store_progress(store, a, 1, 0, many, 4000, &err));
    free(points);
    nas_store_close(store);
}

Test(store_record, probabilities_and_their_entropy)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");
    const double first[] = {1, 0, 0.25, 0.25, 0.25, 0.25}, second[] = {0.5, 0.5, 1, 0, 0, 0};
    nas_store_probability *p;
    nas_store_point *entropy;
    int count;

    ok(nas_store_probabilities_put(store, a, 0, 2, (int[]){2, 4}, second, &err));
    ok(nas_store_probabilities_put(store, a, 0, 2, (int[]){2, 4}, first, &err)); /* replaces */
    ok(nas_store_probabilities_put(store, a, 1, 2, (int[]){2, 4}, second, &err));
    ok(nas_store_probabilities_get(store, a.run, 0, &p, &count, &err));
    cr_assert_eq(count, 6);
    for (int i = 0; i < 6; i++) {
        cr_assert_eq(p[i].p, first[i]);
        cr_assert_eq(p[i].slot, i >= 2);
        cr_assert_eq(p[i].candidate, i < 2 ? i : i - 2);
    }
    free(p);
    ok(nas_store_probabilities_get(store, a.run, -1, &p, &count, &err));
    cr_assert_eq(count, 12);
    free(p);
    ok(nas_store_entropy_get(store, a.run, &entropy, &count, &err));
    cr_assert_eq(count, 4);
    cr_assert_eq(entropy[0].value, 0);
    cr_assert_float_eq(entropy[1].value, log(4), 1e-15); /* uniform over four */
    cr_assert_float_eq(entropy[2].value, log(2), 1e-15);
    cr_assert_eq(entropy[3].epoch, 1);
    cr_assert_eq(entropy[3].step, 1); /* the slot */
    free(entropy);
    nas_store_close(store);
}

Test(store_record, architectures_and_tables_are_kept_once)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");
    const nas_store_architecture arch = {.digest = "aa", .json = "{\"blocks\": []}",
                                         .space = "tiny", .macs = 1000, .parameters = 10};
    int64_t one, two, three;
    char *content;

    ok(nas_store_architecture_put(store, &arch, &one, &err));
    begin(store, "b"); /* another insert in between: the id must not be the last row's */
    ok(nas_store_architecture_put(store, &arch, &two, &err));
    cr_assert_eq(one, two);
    cr_assert_eq(nas_store_architecture_put(
                     store, &(nas_store_architecture){.digest = "bb", .json = "{"}, NULL, &err),
                 NAS_E_DATA);

    ok(nas_store_table_put(store, "t1", "here.yaml", "this machine", "{\"threads\": 1}", "a: 1\n",
                           &one, &err));
    ok(nas_store_table_put(store, "t2", NULL, NULL, NULL, "b: 2\n", &two, &err));
    ok(nas_store_table_put(store, "t1", "copy.yaml", NULL, NULL, "a: 1\n", &three, &err));
    cr_assert_eq(one, three);
    cr_assert_neq(one, two);
    ok(nas_store_run_table(store, a, one, &err));
    cr_assert_eq(nas_store_run_table(store, a, 99, &err), NAS_E_DATA);
    ok(nas_store_table_get(store, "t2", &content, &err));
    cr_assert_str_eq(content, "b: 2\n");
    free(content);
    cr_assert_eq(nas_store_table_get(store, "t3", &content, &err), NAS_E_USAGE);
    nas_store_close(store);
}

typedef struct exported {
    int rows[6];
    double loss_0;
    bool nan_is_null;
} exported;

static nas_status count_row(void *user, const char *table, const json_t *row, nas_err *e)
{
    static const char *const tables[] = {"run", "metric", "evaluation", "artifact", "probability",
                                         "entropy"};
    exported *seen = user;

    for (int t = 0; t < 6; t++)
        seen->rows[t] += strcmp(table, tables[t]) == 0;
    if (strcmp(table, "metric") == 0)
        seen->nan_is_null |= json_is_null(json_object_get(row, "value"));
    if (strcmp(table, "evaluation") == 0) {
        seen->loss_0 = json_real_value(json_object_get(row, "loss"));
        cr_assert_str_eq(json_string_value(json_object_get(row, "architecture")), "aa");
    }
    return NAS_OK;
}

static nas_status refuse(void *user, const char *table, const json_t *row, nas_err *e)
{
    return nas_fail(e, NAS_E_IO, "pipe closed");
}

Test(store_record, evaluations_come_back_with_their_architectures_and_a_run_with_its_table)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a");
    const nas_store_architecture arch = {.digest = "aa", .json = "{\"b\":1}", .macs = 5,
                                         .parameters = 7};
    nas_store_evaluation e[2] = {
        {.source = "derived", .rank = 1, .latency_ms = 2, .loss = NAN, .top1 = 0.5, .top5 = NAN},
        {.source = "derived", .rank = 0, .latency_ms = 3, .loss = 1, .top1 = 0.25, .selected = true}};
    nas_store_judged *list;
    nas_store_run *run;
    int64_t table;
    int count;

    ok(nas_store_architecture_put(store, &arch, &e[0].architecture, &err));
    e[1].architecture = e[0].architecture;
    ok(nas_store_evaluations_put(store, a, e, 2, &err));
    ok(nas_store_evaluations_get(store, a.run, &list, &count, &err));
    cr_assert_eq(count, 2);
    cr_assert(list[0].rank == 0 && list[0].selected && list[0].latency_ms == 3);
    cr_assert(list[1].rank == 1 && !list[1].selected && isnan(list[1].loss) && list[1].top1 == 0.5);
    cr_assert_str_eq(list[1].source, "derived");
    cr_assert_str_eq(list[1].digest, "aa");
    cr_assert_str_eq(list[1].json, "{\"b\":1}");
    cr_assert(list[1].macs == 5 && list[1].parameters == 7);
    nas_store_judged_free(list, count);
    ok(nas_store_table_put(store, "t1", "here.yaml", "cpu", NULL, "a: {mean: 1}", &table, &err));
    ok(nas_store_run_table(store, a, table, &err));
    ok(nas_store_run_get(store, "a", &run, &err));
    cr_assert_str_eq(run->latency_table, "t1");
    nas_store_run_free(run);
    nas_store_close(store);
}

Test(store_record, export_gives_every_row_of_a_run)
{
    nas_store *store = open_store();
    const nas_store_attempt a = begin(store, "a"), b = begin(store, "b");
    const nas_store_architecture arch = {.digest = "aa", .json = "{}", .macs = 1, .parameters = 1};
    nas_store_evaluation e = {.source = "derived", .loss = 0.1, .latency_ms = NAN};
    exported seen = {0};

    ok(nas_store_architecture_put(store, &arch, &e.architecture, &err));
    ok(nas_store_evaluations_put(store, a, &e, 1, &err));
    ok(nas_store_evaluations_put(store, a, &e, 1, &err)); /* the same rank: replaced */
    ok(nas_store_progress(store, a, 1, 0, (nas_store_metric[]){{"x", NAN}, {"y", 1}}, 2, &err));
    ok(nas_store_progress(store, b, 1, 0, (nas_store_metric[]){{"x", 1}}, 1, &err));
    ok(nas_store_probabilities_put(store, a, 0, 1, (int[]){2}, (double[]){0.5, 0.5}, &err));
    ok(nas_store_export(store, a.run, count_row, &seen, &err));
    cr_assert_arr_eq(seen.rows, ((int[]){1, 2, 1, 0, 2, 1}), sizeof seen.rows);
    cr_assert_eq(seen.loss_0, 0.1);
    cr_assert(seen.nan_is_null);
    seen = (exported){0};
    ok(nas_store_export(store, 0, count_row, &seen, &err));
    cr_assert_eq(seen.rows[0], 2);
    cr_assert_eq(seen.rows[1], 3);
    cr_assert_eq(nas_store_export(store, 0, refuse, NULL, &err), NAS_E_IO);
    says("pipe closed");
    nas_store_close(store);
}
