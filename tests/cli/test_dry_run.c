/* --dry-run: says what a command would take, and leaves nothing behind. */
#include <unistd.h>

#include "tests/cli/nas.h"

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

Test(cli_dry_run, mistakes_are_told_as_by_the_command_itself)
{
    const char *data = make_data(), *table = make_table();

    expect_exit(NAS("search", "--data", data, "--space", "tiny", "--table", table, "--target-ms",
                    "0.0001", "--dry-run"), 3, "choose --target-ms between");
    expect_exit(NAS("train", "--data", data, "--dry-run"), 2, "--arch is required");
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
