/* --dry-run: says what a command would take, and leaves nothing behind. */
#include <unistd.h>

#include "tests/cli/nas.h"
#include "tests/support/tools.h"

TestSuite(cli_dry_run, .init = nas_begin, .fini = nas_end, .timeout = 300);

static double number(const json_t *object, const char *key)
{
    cr_assert(json_is_number(json_object_get(object, key)), "no number '%s'", key);
    return json_number_value(json_object_get(object, key));
}

/* What every command says. */
static void check_demand(const json_t *demand, int entries)
{
    const json_t *config = json_object_get(demand, "config");

    cr_assert(json_is_true(json_object_get(demand, "dry_run")));
    cr_assert_null(json_object_get(config, "dry_run"));
    cr_assert_eq(json_integer_value(json_object_get(config, "seed")), 1);
    cr_assert_gt(number(demand, "steps"), 0);
    cr_assert_gt(number(demand, "step_seconds"), 0);
    cr_assert_gt(number(demand, "seconds"), 0);
    cr_assert_gt(number(demand, "memory_mib"), 1);
    cr_assert_gt(number(demand, "memory_limit_mib"), number(demand, "memory_mib"));
    cr_assert_eq(nas_count(), entries, "something was left behind");
}

Test(cli_dry_run, a_search_is_foretold_and_not_begun)
{
    const char *data = make_data(), *table = make_table();
    const int entries = nas_count();
    const json_t *demand =
        NAS_JSON("search", "--data", data, "--space", "tiny", "--table", table, "--target-ms",
                 "5", "--warmup-epochs", "1", "--epochs", "3", "--batch", "32", "--dry-run");

    check_demand(demand, entries);
    cr_assert_str_eq(json_string_value(json_object_get(demand, "architectures")), "8000");
    cr_assert_lt(number(demand, "macs_min"), number(demand, "macs_max"));
    cr_assert_lt(number(demand, "parameters_min"), number(demand, "parameters_max"));
    cr_assert_lt(number(demand, "latency_ms_min"), number(demand, "latency_ms_max"));
    cr_assert_gt(number(demand, "disk_mib"), 0);
    cr_assert_gt(number(demand, "disk_free_mib"), number(demand, "disk_mib"));

    const double steps = number(demand, "steps"), least = number(demand, "latency_ms_min");
    const json_t *result =
        NAS_JSON("search", "--data", data, "--space", "tiny", "--table", table, "--target-ms",
                 "5", "--warmup-epochs", "1", "--epochs", "3", "--batch", "32");
    cr_assert_eq(number(result, "steps"), steps);
    cr_assert_geq(number(result, "latency_ms"), least);
}

Test(cli_dry_run, measuring_is_foretold)
{
    const char *table = make_table();
    const int entries = nas_count();

    const json_t *demand = NAS_JSON("bench", "--space", "tiny", "--batch", "4", "--threads", "1",
                                    "--steps", "500", "--dry-run");
    check_demand(demand, entries);
    cr_assert_eq(number(demand, "steps"), 501, "the first is not timed");
#define ON_NETWORKS "--table", table, "--space", "tiny", "--threads", "1",                        \
                    "--samples", "12", "--rounds", "7", "--dry-run"
    demand = NAS_JSON("latency", "verify", ON_NETWORKS);
    check_demand(demand, entries);
    cr_assert_eq(number(demand, "steps"), 12 * 7);
    demand = NAS_JSON("latency", "fit", ON_NETWORKS, "--out", nas_file("fitted.yaml"));
    check_demand(demand, entries);
    cr_assert_eq(number(demand, "steps"), 12 * 7);
    demand = NAS_JSON("latency", "train", "--space", "tiny", "--threads", "1", "--samples", "25",
                      "--sizes", "16,32", "--rounds", "3", "--dry-run", "--out",
                      nas_file("here.latency"));
    check_demand(demand, entries);
    cr_assert_eq(number(demand, "steps"), 25 * 3);
}

Test(cli_dry_run, the_rest_of_a_run_is_foretold)
{
    const char *data = make_data(), *arch = make_arch();

    NAS_JSON("train", "--data", data, "--arch", arch, "--epochs", "4", "--batch", "32", "--name",
             "t", "--quiet");
    const process_result *sql =
        run_tool("sqlite3", nas_file("store/store.db"), "UPDATE run SET state = 'interrupted',"
                 " step = 11, epoch = 1, finished_ms = NULL", NULL);
    cr_assert_eq(sql->code, 0, "%s", sql->err);
    const int entries = nas_count();
    const json_t *demand = NAS_JSON("resume", "--dry-run");
    check_demand(demand, entries);
    cr_assert_str_eq(json_string_value(json_object_get(demand, "run")), "t");
    cr_assert_str_eq(json_string_value(json_object_get(demand, "command")), "train");
    cr_assert_eq(number(demand, "steps"), 4 * 11);
    cr_assert_eq(number(demand, "steps_done"), 11);
    cr_assert_float_eq(number(demand, "seconds_left"), 0.75 * number(demand, "seconds"), 1e-9);
}

Test(cli_dry_run, a_training_and_a_profile_are_foretold)
{
    const char *data = make_data(), *arch = make_arch();
    const int entries = nas_count();

    check_demand(NAS_JSON("train", "--data", data, "--arch", arch, "--epochs", "2", "--dry-run"),
                 entries);
    const json_t *demand = NAS_JSON("profile", "--space", "tiny", "--data", data, "--out",
                                    nas_file("new.yaml"), "--max-seconds", "60", "--dry-run");
    check_demand(demand, entries);
    cr_assert_eq(number(demand, "entries"), 27);
    cr_assert_leq(number(demand, "seconds"), 60);
}

Test(cli_dry_run, pruning_and_quantising_are_foretold)
{
    const char *data = make_data(), *model = nas_file("store/runs/1/model.safetensors");
    const char *out = nas_file("no.safetensors");

    expect_exit(NAS("train", "--data", data, "--arch", make_arch(), "--epochs", "1", "--quiet"), 0,
                NULL);
    const int entries = nas_count();
    const json_t *demand =
        NAS_JSON("prune", "--model", model, "--data", data, "--ratio", "0.5", "--episodes", "50",
                 "--calibration-images", "64", "--finetune-epochs", "2", "--batch", "32", "--out",
                 out, "--dry-run");
    check_demand(demand, entries);
    cr_assert_eq(number(demand, "steps"), 50 + 2 * 11, "360 images in batches of 32");
    cr_assert_leq(number(demand, "budget"), number(demand, "cost_max"));
    demand = NAS_JSON("quantize", "--model", model, "--data", data, "--agent", "random",
                      "--bitops", "0.5", "--episodes", "7", "--out", out, "--dry-run");
    check_demand(demand, entries);
    cr_assert_eq(number(demand, "steps"), 7);
    demand = NAS_JSON("quantize", "--model", model, "--data", data, "--finetune-epochs", "1",
                      "--batch", "32", "--dry-run");
    check_demand(demand, entries);
    cr_assert_eq(number(demand, "steps"), 1 + 11);
    expect_exit(NAS("prune", "--model", model, "--data", data, "--ratio", "0.001", "--dry-run"), 3,
                "the least is");
}

Test(cli_dry_run, phases_of_a_supernet_and_work_with_it_are_foretold)
{
    const char *plan = nas_put("plan.json", "{\"defaults\": {\"batch\": 32, \"lr\": 0.05},"
                                            " \"phases\": [{\"name\": \"one\"}, {\"name\": \"two\","
                                            " \"kernel\": [3, 5, 7], \"subnets\": 2}]}");
    const char *data = make_data(), *net = nas_file("store/runs/1/supernet.safetensors");
    const char *out = nas_file("no.safetensors");
    int entries = nas_count();

#define ON_IMAGES "--data", data, "--score-images", "40", "--recalibrate-images", "128"
    const json_t *demand = NAS_JSON("ofa", "shrink", ON_IMAGES, "--schedule", plan, "--space",
                                    "ofa-tiny", "--dry-run");
    check_demand(demand, entries);
    const json_t *phases = json_object_get(demand, "phases");
    cr_assert_eq(json_array_size(phases), 2);
    cr_assert_eq(number(demand, "steps"), number(json_array_get(phases, 0), "steps") +
                                              number(json_array_get(phases, 1), "steps"));
    NAS_JSON("ofa", "shrink", ON_IMAGES, "--schedule", plan, "--space", "ofa-tiny", "--until",
             "one", "--quiet");

    entries = nas_count();
    demand = NAS_JSON("ofa", "shrink", ON_IMAGES, "--schedule", plan, "--from", net, "--dry-run");
    check_demand(demand, entries);
    cr_assert_eq(json_array_size(json_object_get(demand, "phases")), 1, "one is done");
    expect_exit(NAS("ofa", "shrink", ON_IMAGES, "--schedule", plan, "--from", net, "--until", "one",
                    "--dry-run"), 2, "has done all phases");
    demand = NAS_JSON("ofa", "sample", "--model", net, ON_IMAGES, "--count", "1", "--out", out,
                      "--dry-run");
    check_demand(demand, entries);
    demand = NAS_JSON("ofa", "extract", "--model", net, ON_IMAGES, "--epochs", "2", "--batch", "32",
                      "--out", out, "--dry-run");
    check_demand(demand, entries);
    cr_assert_eq(number(demand, "steps"), 1 + 2 * 11);
    demand = NAS_JSON("ofa", "search", "--model", net, ON_IMAGES, "--max-macs", "900000",
                      "--population", "4", "--generations", "2", "--dry-run");
    check_demand(demand, entries);
    cr_assert_eq(number(demand, "steps"), 4 * 3);
    cr_assert_gt(number(demand, "step_seconds"), 0);
}

Test(cli_dry_run, a_demo_and_a_pipeline_are_foretold)
{
    const char *data = make_data(), *table = make_table();
    char text[2000];

    snprintf(text, sizeof text, "{\"data\": \"%s\", \"space\": \"tiny\", \"table\": \"%s\","
             " \"name\": \"p\", \"stages\": {\"search\": {\"target_ms\": 5, \"epochs\": 3,"
             " \"batch\": 32}, \"train\": {\"epochs\": 2}}}", data, table);
    const char *file = nas_put("p.json", text);
    const int entries = nas_count();

    check_demand(NAS_JSON("demo", "--dry-run"), entries);
    const json_t *told = NAS_JSON("pipeline", file, "--dry-run");
    check_demand(json_object_get(told, "first"), entries);
    const json_t *train = json_object_get(json_object_get(told, "stages"), "train");
    cr_assert_not_null(strstr(json_string_value(json_object_get(train, "command")),
                              "--arch={search:arch.json}"));
    cr_assert_str_eq(json_string_value(json_object_get(train, "job")), "p.train");
}

Test(cli_dry_run, mistakes_are_told_as_by_the_command_itself)
{
    const char *data = make_data(), *table = make_table();

    expect_exit(NAS("search", "--data", data, "--space", "tiny", "--table", table, "--target-ms",
                    "0.0001", "--dry-run"), 3, "choose a target between");
    expect_exit(NAS("train", "--data", data, "--dry-run"), 2, "--arch is required");

    char text[2000];
    snprintf(text, sizeof text, "{\"data\": \"%s\", \"space\": \"tiny\", \"table\": \"%s\","
             " \"stages\": {\"search\": {\"target_ms\": 0.0001}}}", data, table);
    const char *file = nas_put("p.json", text);
    expect_exit(NAS("pipeline", file, "--dry-run"), 3, "stage search: no architecture of tiny");
}

Test(cli_dry_run, jobs_are_checked_without_a_store)
{
    const char *twice = nas_put("f.json", "{\"jobs\": [{\"name\": \"a\", \"run\": [\"space\","
                                          "\"list\"]}, {\"name\": \"b\", \"run\": [\"space\","
                                          "\"list\"]}]}");
    const int entries = nas_count();

    NAS_JSON("jobs", "submit", "--file", twice, "--dry-run");
    expect_exit(NAS("jobs", "submit", "--dry-run", "--name", "7", "--", "space", "list"), 2,
                "only digits");
    expect_exit(NAS("jobs", "submit", "--dry-run", "--after", "x", "--", "space", "list"), 2,
                "no job 'x'");
    cr_assert_eq(nas_count(), entries, "a store was made");
    NAS_JSON("jobs", "submit", "--file", twice);
    expect_exit(NAS("jobs", "submit", "--file", twice, "--dry-run"), 2, "has it already");
    expect_exit(NAS("jobs", "submit", "--dry-run", "--name", "a", "--", "space", "list"), 2,
                "has it already");
}
