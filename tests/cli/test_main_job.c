/* The main job as a user does it: search, stop, resume, train, evaluate, look back. */
#include "tests/cli/nas.h"

#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <unistd.h>

TestSuite(cli_main_job, .init = nas_begin, .fini = nas_end, .timeout = 280);

static const char *data, *table;

static void prepare(void)
{
    data = make_data();
    table = make_table();
}

/* make_table gives 0.1 ms and more to each of ten blocks; skips save up to three of them. */
#define SEARCH                                                                                     \
    "search", "--data", data, "--space", "tiny", "--table", table, "--target-ms", "1.0",           \
        "--warmup-epochs", "1", "--epochs", "2", "--batch", "32", "--arch-every", "2"

static char *member(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    cr_assert_not_null(value, "no string '%s'", key);
    return strdup(value);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    cr_assert(json_is_number(value), "no number '%s'", key);
    return json_number_value(value);
}

Test(cli_main_job, a_search_meets_its_target_and_its_network_is_trained_and_judged)
{
    prepare();
    const json_t *found = NAS_JSON(SEARCH);
    char *arch = member(found, "arch"), *model = member(found, "model");

    cr_assert_leq(number(found, "latency_ms"), 1.0);
    cr_assert(number(found, "valid_top1") >= 0 && number(found, "valid_top1") <= 1);
    cr_assert_gt(number(found, "seconds"), 0);
    cr_assert_gt(number(found, "peak_rss_mib"), 1);
    const double predicted = number(found, "latency_ms");
    cr_assert_float_eq(number(NAS_JSON("latency", "predict", "--table", table, "--arch", arch),
                              "latency_ms"),
                       predicted, 1e-12);

    const json_t *trained = NAS_JSON("train", "--data", data, "--arch", arch, "--from", model,
                                     "--epochs", "2", "--name", "finish");
    free(model);
    model = member(trained, "model");
    const json_t *judged = NAS_JSON("eval", "--model", model, "--data", data, "--split", "test",
                                    "--logits", nas_file("logits.safetensors"));
    cr_assert_eq(number(judged, "images"), 100);
    cr_assert_leq(number(judged, "top1"), number(judged, "top5"));
    cr_assert_gt(number(judged, "loss"), 0);
    cr_assert_gt(number(judged, "latency_ms"), 0);
    cr_assert_gt(number(judged, "macs"), 0);
    cr_assert_gt(number(judged, "parameters"), 0);
    cr_assert_float_eq(number(NAS_JSON("eval", "--model", model, "--data", data, "--table", table),
                              "latency_ms"),
                       predicted, 1e-12);
    cr_assert_eq(number(NAS_JSON("inspect", nas_file("logits.safetensors")), "elements"),
                 100 * 10 + 100);
    expect_exit(NAS("eval", "--model", model, "--data", data, "--split", "tset"), 78, "train");

    const json_t *list = NAS_JSON("runs", "list");
    cr_assert_eq(json_array_size(json_object_get(list, "runs")), 2);
    cr_assert(json_is_false(json_object_get(list, "more")));
    list = NAS_JSON("runs", "list", "--limit", "1");
    cr_assert_eq(json_array_size(json_object_get(list, "runs")), 1);
    cr_assert(json_is_true(json_object_get(list, "more")));
    const json_t *shown = NAS_JSON("runs", "show", "finish");
    cr_assert_eq(json_array_size(json_object_get(shown, "artifacts")), 4);
    cr_assert_gt(json_array_size(json_object_get(shown, "metrics")), 1);
    cr_assert_eq(number(json_object_get(shown, "config"), "epochs"), 2);
    expect_exit(NAS("runs", "compare", "search-1", "finish"), 0, NULL);
    expect_exit(NAS("runs", "compare", "finish", "finish"), 2, "named twice");
    expect_exit(NAS("runs", "show", "finsh"), 2, "finish");
    expect_exit(NAS("runs", "delete", "finish", "nope"), 2, "nope"); /* and finish stays */
    expect_exit(NAS("report", "--out", nas_file("store/store.db")), 2, "the store's own");
    expect_exit(NAS("space", "show", "tiny", "--out", nas_file("store/store.db")), 2, "is a store");
    expect_exit(NAS("runs", "export", "--out", nas_file("store/runs/1/arch.json")), 2,
                "the store's own");
    cr_assert_gt(json_array_size(json_object_get(NAS_JSON("runs", "export"), "rows")), 1);
    const process_result *csv = NAS("runs", "export", "finish");
    expect_exit(csv, 0, NULL);
    cr_assert_not_null(strstr(csv->out, "train_loss"));
    cr_assert(json_is_true(json_object_get(NAS_JSON("store", "verify"), "ok")));
    expect_exit(NAS("store", "backup", nas_file("copy")), 0, NULL);
    expect_exit(NAS("store", "backup", nas_file("copy")), 2, "already");
    expect_exit(NAS("runs", "delete", "finish"), 0, NULL);
    cr_assert_eq(json_array_size(json_object_get(NAS_JSON("runs", "list"), "runs")), 1);
    cr_assert_eq(number(NAS_JSON("store", "gc", "--dry-run"), "orphans"), 0);
    cr_assert_eq(json_array_size(json_object_get(
                     NAS_JSON("runs", "list", "--store", nas_file("copy")), "runs")),
                 2);
    free(arch);
    free(model);
}

Test(cli_main_job, macs_parameters_and_memory_are_limits_beside_the_target)
{
    prepare();
    const json_t *found = NAS_JSON(SEARCH);
    const double macs = number(found, "macs");
    char limit[64];

    snprintf(limit, sizeof limit, "%.0f", 0.95 * macs);
    found = NAS_JSON(SEARCH, "--max-macs", limit, "--max-parameters", "9e9", "--max-memory", "1e3");
    cr_assert_leq(number(found, "macs"), 0.95 * macs);
    cr_assert_leq(number(found, "latency_ms"), 1.0);
    cr_assert_gt(number(found, "parameters"), 0);
    cr_assert_gt(number(found, "activation_mib"), 0);
    const process_result *refused = NAS(SEARCH, "--max-memory", "1e-4", "--json");
    expect_exit(refused, 3, "reachable");
    cr_assert_not_null(strstr(refused->out, "\"feasible\": false"), "%s", refused->out);
}

Test(cli_main_job, training_presses_for_macs_and_memory_without_a_table)
{
    prepare();
#define PRESS "search", "--data", data, "--space", "tiny", "--warmup-epochs", "1", "--epochs", "2",  \
              "--batch", "32", "--max-macs", "4e5", "--max-memory", "0.03", "--latency-loss",      \
              "add-linear", "--arch-every", "2", "--name"
    const json_t *found = NAS_JSON(PRESS, "both");
    const json_t *limits = json_object_get(found, "limits"), *memory = json_array_get(limits, 1);
    char *digest = member(found, "digest");

    cr_assert(json_is_null(json_object_get(found, "latency_ms")));
    cr_assert_eq(json_array_size(limits), 2);
    cr_assert_leq(number(json_array_get(limits, 0), "reached"), 4e5);
    cr_assert_eq(number(json_array_get(limits, 0), "reached"), number(found, "macs"));
    cr_assert_str_eq(json_string_value(json_object_get(memory, "cost")), "activation_mib");
    cr_assert_eq(number(memory, "reached"), number(found, "activation_mib"));
    cr_assert(json_is_true(json_object_get(memory, "objective")));

    found = NAS_JSON(PRESS, "macs", "--objective", "macs");
    limits = json_object_get(found, "limits");
    cr_assert(json_is_true(json_object_get(json_array_get(limits, 0), "objective")));
    cr_assert(json_is_false(json_object_get(json_array_get(limits, 1), "objective")));
    const json_t *shown = NAS_JSON("runs", "show", "both");
    const json_t *metrics = json_object_get(shown, "metrics");
    double before = 0.0;
    bool timed = false;
    for (size_t i = 0; i < json_array_size(metrics); i++) {
        const json_t *metric = json_array_get(metrics, i);
        const char *name = json_string_value(json_object_get(metric, "metric"));

        timed = timed || strstr(name, "latency") != NULL;
        if (strcmp(name, "expected_macs") == 0) {
            before = number(metric, "first");
            cr_assert_lt(number(metric, "last"), before);
        }
    }
    cr_assert(before > 4e5 && !timed);
    cr_assert_gt(number(NAS_JSON(PRESS, "dry", "--dry-run"), "steps"), 0);

    const process_options stop = {.signal_on = "epoch 2", .signal = SIGTERM};
    expect_exit(nas_run(&stop, PRESS, "stopped", NULL), 75, NULL);
    cr_assert_str_eq(json_string_value(json_object_get(NAS_JSON("resume", "stopped"), "digest")),
                     digest);
    free(digest);
    expect_exit(NAS("report", "--out", nas_file("report.html")), 0, NULL);
    const process_result *low =
        NAS("search", "--data", data, "--space", "tiny", "--max-macs", "1e5", "--json");
    expect_exit(low, 3, "reachable");
    cr_assert_not_null(strstr(low->out, "\"reachable\""), "%s", low->out);
}

Test(cli_main_job, the_best_networks_are_measured_before_one_is_chosen)
{
    prepare();
    const json_t *found = NAS_JSON("search", "--data", data, "--space", "tiny", "--table", table,
                                   "--target-ms", "1000", "--warmup-epochs", "1", "--epochs", "1",
                                   "--batch", "32", "--derive-samples", "4", "--verify-top", "3");
    const json_t *verified = json_object_get(found, "verified");
    const json_t *first = json_array_get(verified, 0);

    cr_assert_eq(json_array_size(verified), 3);
    cr_assert(json_is_true(json_object_get(first, "chosen")));
    cr_assert(json_is_true(json_object_get(first, "meets_target")));
    cr_assert_eq(number(first, "measured_ms"), number(found, "measured_ms"));
    cr_assert_eq(number(first, "predicted_ms"), number(found, "latency_ms"));
    for (size_t i = 0; i < 3; i++) {
        cr_assert_gt(number(json_array_get(verified, i), "measured_ms"), 0);
        cr_assert_eq(json_is_true(json_object_get(json_array_get(verified, i), "chosen")), i == 0);
    }
    const double measured_ms = number(found, "measured_ms");
    const json_t *shown = NAS_JSON("runs", "show", "search-1");
    const json_t *kept = json_object_get(json_object_get(shown, "summary"), "verified");
    cr_assert_eq(json_array_size(kept), 3);
    const process_result *csv = NAS("runs", "export", "search-1", "--table", "evaluation");
    expect_exit(csv, 0, NULL);
    const char *row = strstr(csv->out, "\"verified\",0,1,"); /* rank, selected, latency_ms */
    cr_assert_not_null(row, "%s", csv->out);
    cr_assert_eq(strtod(row + strlen("\"verified\",0,1,"), NULL), measured_ms);
    cr_assert_null(json_object_get(NAS_JSON(SEARCH), "verified"), "not asked for");
}

Test(cli_main_job, a_measured_network_above_the_target_is_no_answer)
{
    prepare();
    const char *fast = nas_file("fast.yaml"); /* flatters: everything takes a nanosecond */
    FILE *in = fopen(table, "r"), *out = fopen(fast, "w");
    cr_assert(in != NULL && out != NULL);
    for (char line[400]; fgets(line, sizeof line, in) != NULL;)
        fprintf(out, "%.*s: {mean: 1e-6}\n", (int)(strstr(line, ": {") - line), line);
    fclose(in);
    fclose(out);
    const process_result *result =
        NAS("search", "--data", data, "--space", "tiny", "--table", fast, "--target-ms", "0.0001",
            "--warmup-epochs", "1", "--epochs", "1", "--batch", "32", "--verify-top", "2",
            "--json");
    expect_exit(result, 3, "none of the 2 networks measured");
    json_t *found = json_loads(result->out, 0, NULL);
    cr_assert(json_is_false(json_object_get(found, "feasible")));
    cr_assert_gt(number(found, "measured_ms"), 0.0001);
    json_decref(found);

    out = fopen(fast, "a");
    fputs("onepath: {format: 1, device: \"A phone\"}\n...\n", out);
    fclose(out);
    expect_exit(NAS("search", "--data", data, "--space", "tiny", "--table", fast, "--target-ms",
                    "1", "--verify-top", "2"),
                78, "the table is of \"A phone\"");
}

Test(cli_main_job, threads_do_not_change_the_result)
{
    prepare();
    char *one = member(NAS_JSON(SEARCH, "--threads", "1"), "digest");
    char *four = member(NAS_JSON(SEARCH, "--threads", "4"), "digest");
    char *other = member(NAS_JSON(SEARCH, "--seed", "2"), "digest");

    cr_assert_str_eq(one, four);
    cr_assert_str_neq(one, other);
    free(one);
    free(four);
    free(other);
}

Test(cli_main_job, a_stopped_and_a_killed_run_continue_to_the_same_bits)
{
    static const struct {
        const char *when;
        int signal, code;
    } stops[] = {
        {"run s", SIGTERM, 75}, {"epoch 1", SIGKILL, 128 + SIGKILL}, {"epoch 2", SIGINT, 75}};

    prepare();
    char *straight = member(NAS_JSON(SEARCH), "digest");
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        const process_options stop = {.signal_on = stops[i].when, .signal = stops[i].signal};
        const process_result *result = i == 0
                                           ? nas_run(&stop, SEARCH, "--name", "stopped", NULL)
                                           : nas_run(&stop, "resume", "stopped", NULL);

        expect_exit(result, stops[i].code, stops[i].code == 75 ? "nas resume stopped" : NULL);
        cr_assert_eq(strstr(result->err, "continues at step") != NULL, i > 0, "%s", result->err);
    }
    const json_t *resumed = NAS_JSON("resume"); /* finds it by itself */
    cr_assert_str_eq(json_string_value(json_object_get(resumed, "run")), "stopped");
    cr_assert_str_eq(json_string_value(json_object_get(resumed, "digest")), straight);
    expect_exit(NAS("resume", "stopped"), 2, "done");
    expect_exit(NAS("resume"), 2, NULL);
    free(straight);
}

/* "tiny-0.5" looks like a file; older stores have it as one. */
Test(cli_main_job, a_stopped_run_of_a_space_with_a_dot_continues_from_another_directory)
{
    const process_options stop = {.signal_on = "run s", .signal = SIGTERM};
    char *was = getcwd(NULL, 0);
    sqlite3 *db;

    prepare();
    cr_assert_eq(chdir(nas_file(".")), 0);
    for (int old = 0; old < 2; old++) {
        expect_exit(nas_run(&stop, "search", "--data", "task.nasd", "--space", "tiny-0.5",
                            "--max-macs", "1e9", "--warmup-epochs", "0", "--epochs", "1",
                            "--method", "random", "--batch", "32", "--name", old ? "s2" : "s1", NULL),
                    75, NULL);
        if (old) {
            cr_assert_eq(sqlite3_open(nas_file("store/store.db"), &db), SQLITE_OK);
            cr_assert_eq(sqlite3_exec(db, "UPDATE run SET config = replace(config, '\"tiny-0.5', "
                                          "'\"/gone/tiny-0.5')", NULL, NULL, NULL), SQLITE_OK);
            cr_assert_gt(sqlite3_changes(db), 0);
            sqlite3_close(db);
        }
        cr_assert_eq(chdir("/"), 0);
        expect_exit(NAS("resume"), 0, NULL);
        cr_assert_eq(chdir(nas_file(".")), 0);
    }
    cr_assert_eq(chdir(was), 0);
    free(was);
}

Test(cli_main_job, a_damaged_checkpoint_falls_back_loudly)
{
    char path[160];

    prepare();
    char *straight = member(NAS_JSON(SEARCH), "digest");
    const process_options stop = {.signal_on = "epoch 2", .signal = SIGTERM};
    expect_exit(nas_run(&stop, SEARCH, "--name", "bad", NULL), 75, NULL);
    const json_t *files = json_object_get(NAS_JSON("runs", "show", "bad"), "artifacts");
    snprintf(path, sizeof path, "store/%s",
             json_string_value(json_object_get(json_array_get(files, 0), "path")));
    nas_put(path, "damage");
    const process_result *result = NAS("resume", "bad", "--json");
    expect_exit(result, 0, "is damaged");
    json_t *resumed = json_loads(result->out, 0, NULL);
    cr_assert_str_eq(json_string_value(json_object_get(resumed, "digest")), straight);
    json_decref(resumed);
    free(straight);
}

Test(cli_main_job, what_has_changed_since_a_run_began_stops_its_resume)
{
    const process_options stop = {.signal_on = "epoch 1", .signal = SIGTERM};

    prepare();
    char *straight = member(NAS_JSON(SEARCH), "digest");
    expect_exit(nas_run(&stop, SEARCH, "--name", "kept", NULL), 75, NULL);
    expect_exit(NAS("data", "synth", "--out", data, "--size", "16", "--train", "400", "--test",
                    "100", "--seed", "2"),
                0, NULL);
    expect_exit(NAS("resume"), 65, "task.nasd: is not the --data that run kept was begun with");
    make_data();
    FILE *file = fopen(table, "a"); /* a search uses none of this, but the table is another one */
    fputs("Conv-input:1x1x1-output:1x1x1: {mean: 1.0}\n", file);
    fclose(file);
    expect_exit(NAS("resume"), 65, "table.yaml: is not the --table that run kept");
    make_table();
    const json_t *resumed = NAS_JSON("resume"); /* refused, it is still the one to continue */
    cr_assert_str_eq(json_string_value(json_object_get(resumed, "digest")), straight);
    free(straight);
}

Test(cli_main_job, an_architecture_that_has_changed_stops_the_resume_of_its_training)
{
    const process_options stop = {.signal_on = "epoch 1", .signal = SIGTERM};

    prepare();
    const char *arch = make_arch();
    expect_exit(nas_run(&stop, "train", "--data", data, "--arch", arch, "--epochs", "3", NULL), 75,
                "nas resume train-1");
    expect_exit(NAS("space", "sample", "tiny", "--out", arch, "--index", "1"), 0, NULL);
    expect_exit(NAS("resume"), 65, "net.json: is not the --arch that run train-1");
    make_arch();
    expect_exit(NAS("resume"), 0, "continues at step");
}
