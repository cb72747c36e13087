/* nas evolve from the outside: limits, several devices, the front, and what is refused. */
#include "tests/cli/nas.h"

#include <signal.h>
#include <unistd.h>

TestSuite(cli_evolve, .init = nas_begin, .fini = nas_end, .timeout = 240);

static const char predictor[] = NAS_SOURCE_DIR "/tests/golden/predictor.safetensors";
static const char *table;

/* make_table gives 0.1 ms and more to each of ten blocks; three can be skipped. */
static void prepare(void)
{
    table = make_table();
}

#define EVOLVE "evolve", "--space", "tiny", "--predictor", predictor
#define LIMITED EVOLVE, "--table", table, "--target-ms", "1.0"

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    cr_assert(json_is_number(value), "no number '%s'", key);
    return json_number_value(value);
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    cr_assert_not_null(value, "no string '%s'", key);
    return value;
}

Test(cli_evolve, ends_with_a_network_that_meets_its_target)
{
    prepare();
    const json_t *found = NAS_JSON(LIMITED);
    const double predicted = number(found, "latency_ms");
    char *arch = strdup(text(found, "arch"));

    cr_expect_leq(predicted, 1.0);
    cr_expect(json_is_number(json_object_get(found, "predicted_top1")));
    cr_expect_gt(number(found, "evaluations"), 100);
    cr_expect_gt(number(found, "seconds"), 0);
    cr_expect_gt(number(found, "macs"), 0);
    cr_expect_gt(number(found, "parameters"), 0);
    cr_expect_eq(number(found, "image_size"), 16);
    cr_expect_float_eq(number(NAS_JSON("latency", "predict", "--table", table, "--arch", arch),
                              "latency_ms"),
                       predicted, 1e-12);
    free(arch);

    const json_t *shown = NAS_JSON("runs", "show", "evolve-1");
    cr_expect_str_eq(text(shown, "state"), "done");
    cr_expect_eq(json_array_size(json_object_get(shown, "artifacts")), 1);
    expect_exit(NAS(LIMITED, "--out", nas_file("mine.json")), 0, NULL);
    cr_expect_eq(access(nas_file("mine.json"), R_OK), 0);
}

Test(cli_evolve, a_table_of_an_emulator_is_refused_unless_allowed)
{
    char content[16384];

    prepare();
    FILE *from = fopen(table, "r"), *to = fopen(nas_file("emulated.yaml"), "w");
    cr_assert(from != NULL && to != NULL);
    content[fread(content, 1, sizeof content - 1, from)] = '\0';
    fprintf(to, "onepath:\n  format: 1\n  emulated: 1\n%s...\n", content);
    fclose(from);
    fclose(to);
    table = nas_file("emulated.yaml");
    expect_exit(NAS(LIMITED), 78, "emulator");
    expect_exit(NAS(LIMITED, "--allow-emulated"), 0, NULL);
}

/* 8000 networks: few enough to find the best one always. */
Test(cli_evolve, finds_the_best_there_is_in_a_small_space_for_any_seed_and_threads)
{
    prepare();
    const double best = number(NAS_JSON(LIMITED, "--rounds", "40"), "predicted_top1");

    cr_expect_eq(number(NAS_JSON(LIMITED, "--seed", "7"), "predicted_top1"), best);
    cr_expect_eq(number(NAS_JSON(LIMITED, "--threads", "1"), "predicted_top1"), best);
    cr_expect_eq(number(NAS_JSON(LIMITED, "--threads", "2"), "predicted_top1"), best);
}

Test(cli_evolve, other_limits_need_no_table)
{
    const json_t *found = NAS_JSON(EVOLVE, "--max-macs", "300000", "--max-parameters", "12000");

    cr_expect_leq(number(found, "macs"), 300000);
    cr_expect_leq(number(found, "parameters"), 12000);
    cr_expect(json_is_null(json_object_get(found, "latency_ms")));
}

Test(cli_evolve, a_limit_out_of_reach_is_refused_with_the_range)
{
    prepare();
    expect_exit(NAS(EVOLVE, "--table", table, "--target-ms", "0.01"), 3, "reachable: ");
    const process_result *refused = NAS(EVOLVE, "--max-macs", "10", "--json");
    expect_exit(refused, 3, "reachable: ");
    json_t *told = json_loads(refused->out, 0, NULL);
    const json_t *macs = json_object_get(json_object_get(told, "reachable"), "macs");
    cr_assert_eq(json_array_size(macs), 2, "%s", refused->out);
    cr_expect_eq(json_number_value(json_array_get(macs, 0)), 246656);
    cr_expect(json_is_false(json_object_get(told, "feasible")));
    json_decref(told);
    expect_exit(NAS("runs", "list"), 74, NULL); /* no store was made for that */
}

Test(cli_evolve, the_front_climbs_to_the_best)
{
    prepare();
    const json_t *result = NAS_JSON(LIMITED, "--pareto", "--points", "6");
    const json_t *front = json_object_get(result, "front"), *point;
    double latency = 0, top1 = -1e9;
    size_t i;

    cr_assert_gt(json_array_size(front), 2);
    json_array_foreach(front, i, point) {
        cr_expect_gt(number(point, "latency_ms"), latency);
        cr_expect_gt(number(point, "predicted_top1"), top1);
        cr_expect_eq(access(text(point, "arch"), R_OK), 0);
        latency = number(point, "latency_ms");
        top1 = number(point, "predicted_top1");
    }
    cr_expect_leq(latency, 1.0);
    cr_expect_eq(top1, number(result, "predicted_top1"));
}

static const char *put_targets(const char *extra)
{
    char content[1024];

    snprintf(content, sizeof content,
             "{\"targets\": [{\"name\": \"fast\", \"table\": \"%s\", \"target_ms\": 0.9},\n"
             "  {\"name\": \"slow\", \"table\": \"%s\", \"target_ms\": 1.2}%s]}", table, table,
             extra);
    return nas_put("targets.json", content);
}

Test(cli_evolve, many_targets_give_what_each_alone_gives)
{
    prepare();
    const double alone = number(NAS_JSON(EVOLVE, "--table", table, "--target-ms", "0.9"),
                                "predicted_top1");
    const char *file = put_targets(", {\"name\": \"tiny\", \"max_macs\": 300000}");
    const json_t *targets = json_object_get(NAS_JSON(EVOLVE, "--targets", file), "targets");

    cr_assert_eq(json_array_size(targets), 3);
    const json_t *fast = json_array_get(targets, 0);
    cr_expect_str_eq(text(fast, "name"), "fast");
    cr_expect_eq(number(fast, "predicted_top1"), alone);
    cr_expect_leq(number(json_array_get(targets, 1), "latency_ms"), 1.2);
    cr_expect_leq(number(json_array_get(targets, 2), "macs"), 300000);
}

Test(cli_evolve, wrong_targets_are_refused_before_anything_is_searched)
{
    prepare();
    expect_exit(NAS(EVOLVE, "--targets", put_targets(", {\"name\": \"x\", \"max_macs\": 9}")), 3,
                "target x");
    expect_exit(NAS(EVOLVE, "--targets", put_targets(", {\"name\": \"fast\", \"max_macs\": 9e9}")),
                65, "twice");
    expect_exit(NAS(EVOLVE, "--targets", put_targets(", {\"name\": \"x\", \"max_mac\": 9e9}")), 65,
                "max_macs");
    expect_exit(NAS(EVOLVE, "--targets", put_targets(", {\"name\": \"x\"}")), 2, "no limit");
    expect_exit(NAS(EVOLVE, "--targets", put_targets(", {\"name\": \"../x\", \"max_macs\": 9e9}")),
                65, "is not a name");
    expect_exit(NAS(EVOLVE, "--targets", nas_put("t.json", "{\"targets\": []}")), 65, "1 to");
    expect_exit(NAS(EVOLVE, "--targets", nas_put("t.json", "[1]")), 65, "object");
    expect_exit(NAS(EVOLVE, "--targets", put_targets(""), "--target-ms", "1"), 2, "--targets");
    expect_exit(NAS("runs", "list"), 74, NULL);
}

Test(cli_evolve, what_does_not_fit_is_refused)
{
    prepare();
    expect_exit(NAS(EVOLVE), 2, "no limit");
    expect_exit(NAS(EVOLVE, "--target-ms", "1"), 2, "table");
    expect_exit(NAS(EVOLVE, "--pareto", "--max-macs", "9e9"), 2, "table");
    expect_exit(NAS("evolve", "--space", "ofa-mbv3-1.0", "--predictor", predictor, "--max-macs",
                    "9e9"),
                78, "another space");
    expect_exit(NAS("evolve", "--space", "tiny", "--predictor",
                    NAS_SOURCE_DIR "/tests/golden/predictor.pth", "--max-macs", "9e9"),
                78, "another space");
    expect_exit(NAS("evolve", "--space", "tiny", "--predictor", table, "--max-macs", "9e9"), 65,
                NULL);
    expect_exit(NAS("evolve", "--space", "tiny", "--predictor", nas_file("absent"), "--max-macs",
                    "9e9"),
                74, NULL);
    expect_exit(NAS("evolve", "--space", "ofa-mbv3-1.2", "--predictor", predictor, "--table",
                    table, "--target-ms", "1"),
                78, NULL);
}

Test(cli_evolve, a_stopped_search_is_run_again_by_resume)
{
    prepare();
    const process_options stopped = {.signal_on = "run evolve-1", .signal = SIGTERM};

    expect_exit(nas_run(&stopped, LIMITED, "--rounds", "1000", NULL), 75, "nas resume evolve-1");
    const json_t *resumed = NAS_JSON("resume");
    const double top1 = number(resumed, "predicted_top1");
    const double evaluations = number(resumed, "evaluations");
    const json_t *whole = NAS_JSON(LIMITED, "--rounds", "1000");
    cr_expect_eq(number(whole, "predicted_top1"), top1);
    cr_expect_eq(number(whole, "evaluations"), evaluations);
}
