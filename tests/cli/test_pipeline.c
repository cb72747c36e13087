/* nas pipeline from the outside: the example end to end, crashes, and what its file may not say. */
#include "tests/cli/nas.h"

#include <signal.h>
#include <unistd.h>

static const char example[] = NAS_SOURCE_DIR "/examples/pipelines/tiny.json";

/* The example names its files relative to where it is run. */
static void begin(void)
{
    nas_begin();
    make_data();
    cr_assert_eq(rename(make_table(), nas_file("tiny.yaml")), 0);
    char *folder = strdup(nas_file("tiny.yaml"));
    *strrchr(folder, '/') = '\0';
    cr_assert_eq(chdir(folder), 0);
    free(folder);
}

TestSuite(cli_pipeline, .init = begin, .fini = nas_end, .timeout = 280);

/* The chain of the example in as few steps as there can be. */
static const char short_stages[] =
    "\"search\": {\"target_ms\": 5, \"epochs\": 1, \"warmup_epochs\": 1, \"batch\": 32},"
    "\"train\": {\"epochs\": 2, \"batch\": 32},"
    "\"prune\": {\"ratio\": 0.7, \"episodes\": 4, \"calibration_images\": 128},"
    "\"quantize\": {\"bits\": 8}";

static const char *put_stages(const char *name, const char *stages)
{
    char text[2000];

    snprintf(text, sizeof text, "{\"data\": \"task.nasd\", \"space\": \"tiny\", \"table\": "
             "\"tiny.yaml\", /* short */ \"stages\": {%s}}", stages);
    return nas_put(name, text);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    cr_assert(json_is_number(value), "no number '%s'", key);
    return json_number_value(value);
}

static const json_t *row(const json_t *result, size_t i)
{
    return json_array_get(json_object_get(result, "stages"), i);
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    cr_assert_not_null(value, "no text '%s'", key);
    return value;
}

static void expect_chain(const json_t *result)
{
    static const char *const names[] = {"search", "train", "prune", "quantize"};
    double seconds = 0;

    cr_assert_eq(json_array_size(json_object_get(result, "stages")), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *at = row(result, i);

        cr_expect_str_eq(text(at, "stage"), names[i]);
        cr_expect_str_eq(text(at, "state"), "done");
        cr_expect(number(at, "top1") >= 0 && number(at, "top1") <= 1);
        cr_expect_gt(number(at, "measured_ms"), 0);
        cr_expect_gt(number(at, "core_seconds"), 0);
        seconds += number(at, "core_seconds");
    }
    cr_expect_float_eq(number(result, "core_seconds"), seconds, 1e-9);
    cr_expect_eq(number(row(result, 0), "macs"), number(row(result, 1), "macs"));
    cr_expect_leq(number(row(result, 2), "macs"), 0.7 * number(row(result, 1), "macs"));
    cr_expect_lt(number(row(result, 2), "predicted_ms"), number(row(result, 1), "predicted_ms"));
    cr_expect_eq(number(row(result, 3), "parameters"), number(row(result, 2), "parameters"));
    cr_expect_lt(number(row(result, 3), "size_bytes"), 0.6 * number(row(result, 2), "size_bytes"));
    cr_expect(json_is_null(json_object_get(row(result, 3), "predicted_ms")),
              "tables are of floats");
}

/* What the table says of a stage is what the commands say of its run. */
static void expect_as_eval(const json_t *at)
{
    char path[512], run[64];

    snprintf(run, sizeof run, "%s", text(at, "run"));
    const double top1 = number(at, "top1"), macs = number(at, "macs");
    const json_t *shown = NAS_JSON("runs", "show", run);
    snprintf(path, sizeof path, "%s/runs/%d/model.safetensors", nas_file("store"),
             (int)number(shown, "id"));
    const json_t *judged = NAS_JSON("eval", "--model", path, "--data", "task.nasd");
    cr_expect_eq(number(judged, "top1"), top1, "%s", run);
    cr_expect_eq(number(judged, "macs"), macs, "%s", run);
}

Test(cli_pipeline, the_example_runs_end_to_end_and_again_does_nothing_twice)
{
    const process_options patient = {.timeout_s = 200};
    char *first = strdup(nas_run(&patient, "pipeline", example, "--json", NULL)->out);
    json_t *result = json_loads(first, 0, NULL);

    cr_assert_not_null(result, "%s", first);
    expect_chain(result);
    for (size_t i = 0; i < 4; i++)
        expect_as_eval(row(result, i));
    const json_t *list = json_object_get(NAS_JSON("runs", "list"), "runs");
    cr_assert_eq(json_array_size(list), 4);
    for (size_t i = 0; i < 3; i++) /* newest first: each has the one before as its parent */
        cr_expect_eq(number(json_array_get(list, i), "parent"),
                     number(json_array_get(list, i + 1), "id"));

    const json_t *again = NAS_JSON("pipeline", example);
    expect_chain(again);
    for (size_t i = 0; i < 4; i++) {
        cr_expect_str_eq(text(row(again, i), "run"), text(row(result, i), "run"));
        cr_expect_eq(number(row(again, i), "top1"), number(row(result, i), "top1"));
        cr_expect_eq(number(row(again, i), "core_seconds"), number(row(result, i), "core_seconds"));
    }
    cr_expect_eq(json_array_size(json_object_get(NAS_JSON("runs", "list"), "runs")), 4);
    json_decref(result);
    free(first);
}

Test(cli_pipeline, stopped_and_killed_it_goes_on_where_it_was)
{
    const process_options stopped = {.signal_on = "search: done", .signal = SIGTERM},
                          killed = {.signal_on = "train: done", .signal = SIGKILL};
    const char *file = put_stages("chain.json", short_stages);

    expect_exit(nas_run(&stopped, "pipeline", file, NULL), 75, "nas pipeline");
    expect_exit(nas_run(&killed, "pipeline", file, NULL), 128 + SIGKILL, NULL);
    expect_chain(NAS_JSON("pipeline", file));
    const json_t *jobs = json_object_get(NAS_JSON("jobs", "list"), "jobs");
    cr_assert_eq(json_array_size(jobs), 4);
    cr_expect_eq(json_array_size(json_object_get(NAS_JSON("runs", "list"), "runs")), 4);
}

Test(cli_pipeline, the_loop_of_others_can_run_it)
{
    const char *file = put_stages("chain.json", short_stages);
    const json_t *queued = NAS_JSON("pipeline", file, "--submit-only");

    cr_expect_str_eq(text(queued, "pipeline"), "chain");
    cr_expect_str_eq(text(row(queued, 3), "job"), "chain.quantize");
    cr_expect_str_eq(text(row(queued, 3), "state"), "queued");
    cr_expect_str_eq(text(row(NAS_JSON("pipeline", file, "--submit-only"), 0), "state"), "queued");
    expect_exit(NAS("jobs", "run"), 0, NULL);
    expect_chain(NAS_JSON("pipeline", file));

    file = put_stages("chain.json", "\"search\": {\"target_ms\": 5}");
    expect_exit(NAS("pipeline", file), 78, "already, with other stages");
}

Test(cli_pipeline, a_chain_starts_anywhere_and_a_failed_stage_is_tried_again)
{
    const json_t *trained = NAS_JSON("train", "--data", "task.nasd", "--arch", make_arch(),
                                     "--epochs", "1", "--batch", "32");
    static const char late[] = "\"prune\": {\"model\": \"%s\", %s, \"episodes\": 2, "
                               "\"calibration_images\": 128}, \"quantize\": {\"bits\": 8}";
    char stages[700], *model = strdup(text(trained, "model"));

    snprintf(stages, sizeof stages, late, model, "\"macs\": 1");
    const char *file = put_stages("late.json", stages);
    for (int i = 1; i <= 2; i++) { /* no network of one MAC */
        const process_result *result = NAS("pipeline", file);

        expect_exit(result, 1, "late.prune did not get done: it is failed");
        cr_expect_not_null(strstr(result->out, "queued"), "%s", result->out);
        cr_expect_eq(json_array_size(json_object_get(NAS_JSON("jobs", "show", "late.prune"),
                                                     "attempts")), i);
    }
    snprintf(stages, sizeof stages, late, model, "\"ratio\": 0.7");
    expect_exit(NAS("pipeline", put_stages("late.json", stages)), 78, "with other options");
    const json_t *result = NAS_JSON("pipeline", put_stages("later.json", stages));
    cr_expect_eq(number(row(result, 1), "macs"), number(row(result, 0), "macs"));
    cr_expect_gt(number(row(result, 0), "predicted_ms"), 0);
    free(model);
}

/* For the stages that have none of their own. */
Test(cli_pipeline, a_seed_is_passed_on)
{
    const char *path = put_stages("chain.json", "\"search\": {\"target_ms\": 5, \"seed\": 3}, "
                                                "\"train\": {\"epochs\": 2}");

    expect_exit(NAS("pipeline", path, "--seed", "7", "--submit-only"), 0, NULL);
    cr_expect_not_null(strstr(NAS("jobs", "show", "chain.search")->out, "--seed=3"));
    cr_expect_not_null(strstr(NAS("jobs", "show", "chain.train")->out, "--seed=7"));
    expect_exit(NAS("pipeline", path, "--seed", "8", "--submit-only"), 78, "already");
}

Test(cli_pipeline, what_is_wrong_in_its_file_is_said_before_anything_is_queued)
{
    static const struct {
        const char *stages;
        int code;
        const char *message;
    } cases[] = {
        {"", 78, "at least one"},
        {"\"serch\": {\"target_ms\": 5}", 78, "unknown stage 'serch'"},
        {"\"train\": {\"arch\": \"tiny.yaml\"}, \"search\": {\"target_ms\": 5}", 78,
         "'search' comes too late"},
        {"\"search\": {\"target_ms\": 5}, \"search\": {\"target_ms\": 6}", 65, "uplicate"},
        {"\"search\": 5", 78, "search: should be an object of options"},
        {"\"search\": {\"target_ms\": 5, \"epoch\": 2}", 78, "did you mean 'epochs'"},
        {"\"search\": {\"target_ms\": 5, \"epochs\": [2]}", 78, "epochs: should be"},
        {"\"search\": {\"target_ms\": 5, \"epochs\": -2}", 78, "chain.search: --epochs"},
        {"\"search\": {\"epochs\": 2}", 78, "a limit is required"},
        {"\"search\": {\"objective\": \"macs\", \"target_ms\": 5}", 78, "macs has no limit"},
        {"\"search\": {\"target_ms\": 5, \"data\": \"other.nasd\"}", 78,
         "data: is set by the pipeline"},
        {"\"search\": {\"target_ms\": 5, \"dry_run\": true}", 78, "dry_run"},
        {"\"search\": {\"target_ms\": 5, \"store\": \"x\"}", 78, "--store"},
        {"\"train\": {\"epochs\": 2}", 78, "needs 'arch' or 'from'"},
        {"\"train\": {\"arch\": \"none.json\"}", 78, "there is no none.json"},
        {"\"prune\": {\"ratio\": 0.5}", 78, "--model is required"},
        {"\"quantize\": {\"model\": \"none.safetensors\"}", 78, "none.safetensors"},
        {"\"search\": {\"target_ms\": 5}, \"train\": {\"epochs\": 2}, "
         "\"quantize\": {\"bits\": 1}", 78, "at least 2 bits"},
        {"\"train\": {\"from\": \"{search:model.safetensors}\"}", 65, "no job 'search'"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_exit(NAS("pipeline", put_stages("chain.json", cases[i].stages)), cases[i].code,
                    cases[i].message);
    expect_exit(NAS("pipeline", nas_file("none.json")), 74, "none.json");
    expect_exit(NAS("pipeline", nas_put("chain.json", "{\"data\": \"none.nasd\", \"stages\": {}}")),
                78, "none.nasd");
    expect_exit(NAS("pipeline", nas_put("chain.json", "{\"stages\": {}, \"date\": 1}")), 65,
                "did you mean");
    expect_exit(NAS("pipeline", nas_put("chain.json", "{\"data\": \"tiny.yaml\", \"stages\": {}}")),
                65, "tiny.yaml");
    expect_exit(NAS("pipeline", put_stages("my chain.json", "\"search\": {\"target_ms\": 5}")), 78,
                "name: ");
    expect_exit(NAS("jobs", "list"), 74, "there is no store");
    expect_exit(NAS("jobs", "submit", "--", "pipeline", "chain.json"), 2, "cannot be a job");
}
