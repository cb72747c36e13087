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
}

Test(cli_evolve, out_takes_a_copy_of_what_is_in_the_run)
{
    prepare();
    const char *mine = nas_file("mine.json");
    cr_expect_str_eq(text(NAS_JSON(LIMITED, "--out", mine), "arch"), mine);
    cr_expect_eq(access(mine, R_OK), 0);
    const json_t *shown = NAS_JSON("runs", "show", "evolve-1");
    cr_expect_eq(json_array_size(json_object_get(shown, "artifacts")), 1);
}

Test(cli_evolve, an_out_that_cannot_be_written_is_refused_before_the_search)
{
    prepare();
    expect_exit(NAS(LIMITED, "--out", nas_file("absent/mine.json")), 74, "cannot write");
    expect_exit(NAS("runs", "list"), 74, NULL);
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

/* Lines of the store's evaluations that begin with `text`. */
static int evaluations_like(const char *text)
{
    const process_result *csv = NAS("runs", "export", "evolve-1", "--table", "evaluation");
    int count = 0;

    expect_exit(csv, 0, NULL);
    for (const char *at = csv->out; (at = strstr(at, text)) != NULL; at++)
        count += at == csv->out || at[-1] == '\n';
    return count;
}

Test(cli_evolve, without_a_table_the_latency_in_the_store_is_unknown)
{
    NAS_JSON(EVOLVE, "--max-macs", "9e9", "--population", "20", "--rounds", "1");
    cr_expect_eq(evaluations_like("1,\"predictor\",0,1,,,0."), 1);
    cr_expect_eq(evaluations_like("1,\"predictor\",19,0,,,0."), 1);
    expect_exit(NAS("runs", "export", "evolve-1", "--optuna", nas_file("optuna.db")), 0, NULL);
    expect_exit(NAS("report", "--out", nas_file("report.html")), 0, NULL);
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

Test(cli_evolve, a_front_against_macs_or_memory_needs_no_table)
{
    static const struct {
        const char *against, *member;
    } costs[] = {{"macs", "macs"}, {"parameters", "parameters"}, {"memory", "activation_mib"}};

    for (size_t k = 0; k < sizeof costs / sizeof *costs; k++) {
        const json_t *result = NAS_JSON(EVOLVE, "--pareto", "--points", "5", "--rounds", "1",
                                        "--against", costs[k].against);
        const json_t *front = json_object_get(result, "front"), *point;
        double cost = 0, top1 = -1e9;
        size_t i;

        cr_assert_gt(json_array_size(front), 1, "%s", costs[k].against);
        json_array_foreach(front, i, point) {
            cr_expect_gt(number(point, costs[k].member), cost);
            cr_expect_gt(number(point, "predicted_top1"), top1);
            cr_expect(json_is_null(json_object_get(point, "latency_ms")));
            cost = number(point, costs[k].member);
            top1 = number(point, "predicted_top1");
        }
    }
    expect_exit(NAS(EVOLVE, "--max-macs", "9e9", "--against", "macs"), 2, "--pareto");
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

/* What each way of judging says goes under a name of its own. */
Test(cli_evolve, targets_are_ways_of_judging_of_a_predictor)
{
    prepare();
    NAS_JSON(EVOLVE, "--targets", put_targets(", {\"name\": \"derived\", \"max_macs\": 300000}"));
    cr_expect_eq(evaluations_like("1,\"predictor.fast\",0,1,"), 1);
    cr_expect_eq(evaluations_like("1,\"predictor.derived\",0,1,,"), 1);
    cr_expect_eq(evaluations_like("1,\"derived\""), 0);
}

/* A table in which small blocks are slow: few milliseconds and few MACs exclude each other. */
static const char *make_odd_table(void)
{
    const char *path = nas_file("odd.yaml");
    FILE *from = fopen(make_table(), "r"), *to = fopen(path, "w");
    char line[512];

    cr_assert(from != NULL && to != NULL);
    while (fgets(line, sizeof line, from) != NULL) {
        const char *block = strstr(line, "expand:");
        int expand = 0, kernel = 0;

        if (block != NULL)
            cr_assert_eq(sscanf(block, "expand:%d-kernel:%d", &expand, &kernel), 2);
        fprintf(to, "%.*s: {mean: %g}\n", (int)(strstr(line, ": {") - line), line,
                block != NULL ? 12 - expand - 0.8 * kernel : 1);
    }
    fclose(from);
    fclose(to);
    return path;
}

Test(cli_evolve, a_target_that_turns_out_impossible_leaves_the_others_theirs)
{
    char content[1024];

    table = make_odd_table();
    snprintf(content, sizeof content, "{\"targets\": ["
             "{\"name\": \"bad\", \"table\": \"%s\", \"target_ms\": 25.5, \"max_macs\": 250000},"
             "{\"name\": \"good\", \"table\": \"%s\", \"target_ms\": 30}]}", table, table);
    const process_result *run = NAS(EVOLVE, "--targets", nas_put("targets.json", content), "--json");
    expect_exit(run, 3, "1 of 2 targets cannot be met: target bad: ");
    json_t *told = json_loads(run->out, 0, NULL);
    const json_t *targets = json_object_get(told, "targets");
    cr_assert_eq(json_array_size(targets), 2, "%s", run->out);
    const json_t *bad = json_array_get(targets, 0), *good = json_array_get(targets, 1);
    cr_expect_str_eq(text(bad, "name"), "bad");
    cr_expect(json_is_false(json_object_get(bad, "feasible")));
    cr_expect(json_is_null(json_object_get(bad, "arch")));
    cr_expect_eq(number(bad, "target_ms"), 25.5);
    cr_expect_leq(number(good, "latency_ms"), 30);
    cr_expect_eq(access(text(good, "arch"), R_OK), 0);
    json_decref(told);
    const json_t *shown = NAS_JSON("runs", "show", "evolve-1");
    cr_expect_str_eq(text(shown, "state"), "done");
    cr_expect_eq(json_array_size(json_object_get(json_object_get(shown, "summary"), "targets")), 2);

    run = NAS(EVOLVE, "--table", table, "--target-ms", "25.5", "--max-macs", "250000", "--json");
    expect_exit(run, 3, "was found that meets all limits at once");
    cr_expect_not_null(strstr(run->out, "\"feasible\": false"));
    cr_expect_not_null(strstr(run->out, "\"reachable\""));
}

Test(cli_evolve, limits_that_exclude_each_other_are_refused_at_once)
{
    table = make_odd_table();
    const process_result *run =
        NAS(EVOLVE, "--table", table, "--target-ms", "16", "--max-macs", "260000", "--json");
    expect_exit(run, 3, "meets all limits at once: 16 ms, 260000 MACs");
    json_t *told = json_loads(run->out, 0, NULL);
    const json_t *beside = json_object_get(told, "least_beside_other_limits");
    cr_expect_gt(number(beside, "latency_ms"), 16);
    cr_expect_gt(number(beside, "macs"), 260000);
    json_decref(told);
    expect_exit(NAS("runs", "list"), 74, NULL); /* nothing was begun */
}

Test(cli_evolve, memory_is_a_limit_alone_and_beside_latency)
{
    prepare();
    const json_t *free = NAS_JSON(EVOLVE, "--max-macs", "9e9");
    const double most = number(free, "activation_mib"), top1 = number(free, "predicted_top1");
    const json_t *found = NAS_JSON(EVOLVE, "--max-memory", "0.03");
    cr_expect_gt(most, 0.03);
    cr_expect_leq(number(found, "activation_mib"), 0.03);
    cr_expect_lt(number(found, "predicted_top1"), top1);
    found = NAS_JSON(LIMITED, "--max-memory", "0.03");
    cr_expect_leq(number(found, "activation_mib"), 0.03);
    cr_expect_leq(number(found, "latency_ms"), 1.0);
    expect_exit(NAS(EVOLVE, "--max-memory", "0.01"), 3, "reachable: 0.0234375 to 0.0390625 MiB");
    const json_t *targets = json_object_get(
        NAS_JSON(EVOLVE, "--targets", put_targets(", {\"name\": \"small\", \"max_memory_mib\": "
                                                  "0.03}")), "targets");
    cr_expect_leq(number(json_array_get(targets, 2), "activation_mib"), 0.03);
}

Test(cli_evolve, files_of_fronts_and_targets_have_different_names)
{
    char content[1024], paths[100][256];
    size_t i, k;
    int count = 0;
    const json_t *target, *point;

    prepare();
    snprintf(content, sizeof content, "{\"targets\": [{\"name\": \"a\", \"table\": \"%s\"},"
             "{\"name\": \"a-1\", \"table\": \"%s\"}]}", table, table);
    const json_t *result = NAS_JSON(EVOLVE, "--targets", nas_put("targets.json", content),
                                    "--pareto", "--points", "5", "--rounds", "1");
    json_array_foreach(json_object_get(result, "targets"), i, target) {
        snprintf(paths[count++], sizeof *paths, "%s", text(target, "arch"));
        json_array_foreach(json_object_get(target, "front"), k, point)
            snprintf(paths[count++], sizeof *paths, "%s", text(point, "arch"));
    }
    cr_expect_gt(count, 6);
    for (int a = 0; a < count; a++)
        for (int b = 0; b < a; b++)
            cr_expect_str_neq(paths[a], paths[b]);
}

/* The front with the architectures themselves in place of their files' names. */
static json_t *front_of(const char *predictor_file, const char *threads)
{
    json_t *result = NAS_JSON("evolve", "--space", "ofa-mbv3-1.0", "--predictor", predictor_file,
                              "--table", table, "--pareto", "--points", "3", "--rounds", "1",
                              "--generations", "3", "--refined", "1", "--threads", threads);
    json_t *all = json_deep_copy(json_object_get(result, "front")), *point;
    size_t i;

    cr_assert_gt(json_array_size(all), 1);
    json_array_foreach(all, i, point)
        json_object_set_new(point, "arch", json_load_file(text(point, "arch"), 0, NULL));
    json_array_append_new(all, json_incref(json_object_get(result, "evaluations")));
    return all;
}

Test(cli_evolve, the_front_of_a_large_space_is_the_same_for_any_threads)
{
    const char *learnt = nas_file("learnt.safetensors");
    json_t *list = json_array(), *all = json_pack("{s:o}", "samples", list);

    for (int i = 0; i < 10; i++) {
        char seed[16];
        snprintf(seed, sizeof seed, "%d", i);
        const char *file = nas_file("net.json");
        expect_exit(NAS("space", "sample", "ofa-mbv3-1.0", "--seed", seed, "--out", file), 0, NULL);
        json_array_append_new(list, json_pack("{s:o, s:f}", "arch", json_load_file(file, 0, NULL),
                                              "top1", 0.7 + 0.01 * (i * 7 % 10)));
    }
    cr_assert_eq(json_dump_file(all, nas_file("samples.json"), 0), 0);
    json_decref(all);
    NAS_JSON("predictor", "train", "--space", "ofa-mbv3-1.0", "--samples", nas_file("samples.json"),
             "--out", learnt, "--epochs", "5");
    table = make_table_of("ofa-mbv3-1.0", "expanded_conv-input:1x1x1-output:1x1x1-expand:1-"
                          "kernel:3-stride:1-idskip:0-se:0-hs:0: {mean: 1.0}\n");
    json_t *one = front_of(learnt, "1"), *two = front_of(learnt, "2"), *four = front_of(learnt, "4");
    cr_expect(json_equal(one, two));
    cr_expect(json_equal(one, four));
    json_decref(one);
    json_decref(two);
    json_decref(four);
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
    expect_exit(NAS(EVOLVE, "--targets", put_targets(", {\"name\": \"x\"}")), 65, "no limit");
    expect_exit(NAS(EVOLVE, "--targets", put_targets(", {\"name\": \"x\", \"target_ms\": 1}")), 65,
                "targets.json: x: latency needs");
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
    expect_exit(NAS(LIMITED, "--points", "9"), 2, "--pareto");
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
