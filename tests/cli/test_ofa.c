/* nas ofa from the outside: phases as runs, stops, subnets in and out, and what is refused. */
#include "tests/cli/nas.h"

#include <math.h>
#include <signal.h>
#include <unistd.h>

TestSuite(cli_ofa, .init = nas_begin, .fini = nas_end, .timeout = 240);

/* Three phases of a few steps each. */
static const char *const schedule =
    "{\"defaults\": {\"batch\": 32, \"lr\": 0.05}, \"phases\": [{\"name\": \"teacher\"},"
    " {\"name\": \"kernel\", \"kernel\": [3, 5, 7], \"distill\": \"cross-entropy\"},"
    " {\"name\": \"depth\", \"kernel\": [3, 5, 7], \"skip\": 1, \"subnets\": 2}]}";

static const char *data, *plan;

static void prepare(void)
{
    data = make_data();
    plan = nas_put("plan.json", schedule);
}

#define SHRINK "ofa", "shrink", "--data", data, "--schedule", plan, "--score-images", "40", \
               "--recalibrate-images", "128"
#define FRESH SHRINK, "--space", "ofa-tiny"
#define QUICK "--score-images", "40", "--recalibrate-images", "128", "--data", data

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    cr_assert_not_null(value, "no string '%s'", key);
    return value;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    cr_assert(json_is_number(value), "no number '%s'", key);
    return json_number_value(value);
}

static void digest_of(const char *file, char out[64])
{
    const json_t *about = NAS_JSON("inspect", file);

    snprintf(out, 64, "%s", text(json_object_get(about, "metadata"), "nas.digest"));
}

static int state_of(const char *run, char *parent)
{
    const json_t *shown = NAS_JSON("runs", "show", run);
    const json_t *from = json_object_get(shown, "parent");

    snprintf(parent, 16, "%lld", (long long)json_integer_value(from));
    return strcmp(text(shown, "state"), "done") == 0;
}

Test(cli_ofa, a_stopped_and_a_killed_chain_goes_on_to_the_same_bits)
{
    char straight[64], again[64], parent[16];

    prepare();
    const json_t *end = NAS_JSON(FRESH, "--name", "straight");
    cr_expect_str_eq(text(end, "run"), "straight-depth");
    cr_assert_eq(json_array_size(json_object_get(end, "phases")), 3);
    const json_t *last = json_array_get(json_object_get(end, "phases"), 2);
    cr_expect_eq(json_array_size(json_object_get(last, "corners")), 8);
    cr_expect(isfinite(number(last, "corners_top1")));
    digest_of(text(end, "supernet"), straight);
    cr_expect(state_of("straight-teacher", parent) && strcmp(parent, "0") == 0);
    cr_expect(state_of("straight-kernel", parent) && strcmp(parent, "1") == 0);
    cr_expect(state_of("straight-depth", parent) && strcmp(parent, "2") == 0);

    const process_options stop = {.signal_on = "phase 2 of 3", .signal = SIGTERM};
    expect_exit(nas_run(&stop, FRESH, "--name", "again", NULL), 75, "nas resume again-kernel");
    const process_options kill = {.signal_on = "phase 3 of 3", .signal = SIGKILL};
    expect_exit(nas_run(&kill, "resume", NULL), 128 + SIGKILL, NULL);
    end = NAS_JSON("resume", "--threads", "1");
    cr_expect_str_eq(text(end, "run"), "again-depth");
    const json_t *phases = json_object_get(end, "phases");
    cr_assert_eq(json_array_size(phases), 3); /* those of the earlier attempts too */
    cr_expect_str_eq(text(json_array_get(phases, 0), "run"), "again-teacher");
    cr_expect_str_eq(text(json_array_get(phases, 1), "run"), "again-kernel");
    cr_expect(isfinite(number(json_array_get(phases, 1), "corners_top1")));
    digest_of(text(end, "supernet"), again);
    cr_expect_str_eq(straight, again);
    cr_expect(state_of("again-depth", parent) && strcmp(parent, "5") == 0, "%s", parent);

    /* a name that a later phase cannot have, before the first one is trained */
    expect_exit(NAS("train", "--data", data, "--arch", make_arch(), "--epochs", "1", "--name",
                    "third-kernel"), 0, NULL);
    expect_exit(NAS(FRESH, "--name", "third"), 2, "third-kernel");
    expect_exit(NAS(FRESH, "--name", "a23456789-123456789-123456789-123456789-123456789-12345678"),
                2, "run name");
}

/* The phase before is that of the same store, wherever that is now. */
Test(cli_ofa, a_chain_goes_on_in_a_store_that_was_moved)
{
    const process_options stop = {.signal_on = "phase 2 of 3", .signal = SIGTERM};
    char straight[64], again[64];

    prepare();
    digest_of(text(NAS_JSON(FRESH, "--name", "straight"), "supernet"), straight);
    expect_exit(nas_run(&stop, FRESH, "--name", "moved", NULL), 75, NULL);
    cr_assert_eq(rename(nas_file("store"), nas_file("elsewhere")), 0);
    digest_of(text(NAS_JSON("resume", "--store", nas_file("elsewhere")), "supernet"), again);
    cr_expect_str_eq(straight, again);
}

/* Sizes that no phase has seen are as strange to a supernet as kernels that none has. */
Test(cli_ofa, subnets_have_image_sizes_that_were_trained)
{
    prepare();
    plan = nas_put("small.json", "{\"phases\": [{\"rule\": \"uniform\", \"subnets\": 1, "
                                 "\"expand\": [3, 6], \"resolutions\": [12]}]}");
    char *net = strdup(text(NAS_JSON(FRESH), "supernet"));
    const char *out = nas_file("out.safetensors"), *drawn = nas_file("drawn.json");

    expect_exit(NAS("ofa", "sample", "--model", net, "--count", "4", "--out", drawn, QUICK), 0,
                NULL);
    json_t *file = json_load_file(drawn, 0, NULL);
    const json_t *sample, *list = json_object_get(file, "samples");
    size_t i;
    json_array_foreach(list, i, sample)
        cr_expect_eq(number(json_object_get(sample, "arch"), "image_size"), 12);
    cr_expect_eq(i, 4);
    json_decref(file);
    expect_exit(NAS("ofa", "extract", "--model", net, "--image-size", "16", "--out", out, QUICK),
                78, "trained on images of 12");
    cr_expect_eq(number(NAS_JSON("ofa", "extract", "--model", net, "--out", out, QUICK),
                        "image_size"), 12);
    free(net);
}

Test(cli_ofa, a_chain_can_be_done_in_parts)
{
    char whole[64], parts[64], *half;

    prepare();
    digest_of(text(NAS_JSON(FRESH), "supernet"), whole);
    half = strdup(text(NAS_JSON(FRESH, "--until", "kernel"), "supernet"));
    digest_of(text(NAS_JSON(SHRINK, "--from", half), "supernet"), parts);
    cr_expect_str_eq(whole, parts);
    expect_exit(NAS(SHRINK, "--from", half, "--space", "tiny"), 78, "is a supernet of space");
    expect_exit(NAS(SHRINK, "--from", half, "--until", "kernel"), 2, "has done all phases");
    const char *other = nas_file("other.nasd");
    expect_exit(NAS("data", "synth", "--out", other, "--size", "24", "--quiet"), 0, NULL);
    expect_exit(NAS("ofa", "shrink", "--from", half, "--schedule", plan, "--data", other), 78,
                "16 pixels");
    const char *skipping = nas_put("skips.json", "{\"phases\": [{\"name\": \"teacher\"},"
                                                 " {\"name\": \"depth\", \"skip\": 1}]}");
    expect_exit(NAS("ofa", "shrink", "--from", half, "--schedule", skipping, "--data", data), 78,
                "phase 2 was kernel");
    free(half);
}

Test(cli_ofa, what_makes_no_sense_is_refused_before_anything_is_done)
{
    prepare();
    expect_exit(NAS("ofa", "shrink", "--data", data), 2, "--space is required");
    expect_exit(NAS("ofa", "shrink", "--space", "ofa-tiny"), 2, "--data is required");
    expect_exit(NAS(FRESH, "--until", "width"), 2, "no phase");
    expect_exit(NAS("ofa", "shrink", "--data", data, "--space", "ofa-tiny", "--preset", "oaf"), 78,
                "oaf");
    expect_exit(NAS(FRESH, "--from", data), 65, NULL);
    const char *sizes = nas_put("sizes.json", "{\"phases\": [{\"resolutions\": [12, 32]}]}");
    expect_exit(NAS("ofa", "shrink", "--data", data, "--space", "ofa-tiny", "--schedule", sizes),
                78, "32 pixels");
    const char *skips = nas_put("skips.json", "{\"phases\": [{}, {\"skip\": 2}]}");
    expect_exit(NAS("ofa", "shrink", "--data", data, "--space", "ofa-tiny", "--schedule", skips),
                78, "skips a phase");
    expect_exit(NAS(FRESH, "--preset", "ofa"), 2, "--preset and --schedule");
    const char *big = nas_put("big.json", "{\"phases\": [{}, {\"skip\": 1, \"batch\": 4000}]}");
    expect_exit(NAS("ofa", "shrink", "--data", data, "--space", "ofa-tiny", "--schedule", big), 78,
                "phase-2: batch of 4000 images");
    const char *few = nas_file("few.nasd"); /* a thousandth of them is no image */
    expect_exit(NAS("data", "synth", "--out", few, "--size", "16", "--train", "400", "--quiet"), 0,
                NULL);
    expect_exit(NAS("ofa", "shrink", "--data", few, "--space", "ofa-tiny", "--schedule", plan,
                    "--valid-fraction", "0.001"), 78, "validation images");
    expect_exit(NAS("runs", "list"), 74, NULL); /* no store was made */
}

/* What was held out is known of the images that the supernet was trained on, and of no others. */
Test(cli_ofa, other_images_than_those_of_the_training_are_refused)
{
    const char *other = nas_file("other.nasd"), *out = nas_file("out");

    prepare();
    char *net = strdup(text(NAS_JSON(FRESH, "--until", "teacher"), "supernet"));
    expect_exit(NAS("data", "synth", "--out", other, "--size", "16", "--seed", "2", "--quiet"), 0,
                NULL);
    expect_exit(NAS("ofa", "search", "--model", net, "--data", other), 78, "held out");
    expect_exit(NAS("ofa", "sample", "--model", net, "--data", other, "--out", out), 78, "held out");
    expect_exit(NAS("ofa", "extract", "--model", net, "--data", other, "--out", out), 78,
                "held out");
    expect_exit(NAS("ofa", "shrink", "--from", net, "--data", other, "--schedule", plan), 78,
                "held out");
    expect_exit(NAS("eval", "--model", net, "--data", other), 0, NULL); /* its test images */
    expect_exit(NAS(SHRINK, "--from", net, "--valid-fraction", "0.2"), 78, "--valid-fraction");
    expect_exit(NAS("ofa", "extract", "--model", net, "--out", out, "--lr", "0.1", QUICK), 2,
                "--lr is of fine-tuning");
    expect_exit(NAS("ofa", "extract", "--model", net, "--out", out, "--epochs", "1", "--batch",
                    "4096", QUICK), 78, "4096 images");
    expect_exit(NAS("runs", "show", "2"), 2, NULL); /* nothing was begun */
    cr_expect_eq(access(out, F_OK), -1);
    free(net);
}

Test(cli_ofa, a_schedule_is_shown_and_read_again)
{
    const process_result *shown =
        NAS("ofa", "shrink", "--space", "ofa-tiny", "--preset", "ofa", "--show-schedule");

    expect_exit(shown, 0, NULL);
    const char *file = nas_put("ofa.json", shown->out);
    char *before = strdup(shown->out);
    shown = NAS("ofa", "shrink", "--space", "ofa-tiny", "--schedule", file, "--show-schedule");
    expect_exit(shown, 0, NULL);
    cr_expect_str_eq(shown->out, before);
    free(before);
}

/* The image size and top-1 of the test split, by nas eval. */
static double eval(const char *model, const char *arch)
{
    return arch != NULL ? number(NAS_JSON("eval", "--model", model, "--data", data, "--arch", arch),
                                 "loss")
                        : number(NAS_JSON("eval", "--model", model, "--data", data), "loss");
}

Test(cli_ofa, subnets_are_found_judged_and_taken_out)
{
    const char *judged, *model, *config;
    char *net, *arch;

    prepare();
    net = strdup(text(NAS_JSON(FRESH), "supernet"));
    const json_t *found = NAS_JSON("ofa", "search", "--model", net, "--max-macs", "700000",
                                   "--population", "4", "--generations", "1", QUICK);
    cr_expect_leq(number(found, "macs"), 700000);
    cr_expect_geq(number(found, "evaluations"), 4);
    cr_expect(isfinite(number(found, "valid_top1")));
    arch = strdup(text(found, "arch"));
    const process_result *refused = NAS("ofa", "search", "--model", net, "--max-macs", "5",
                                        "--json", QUICK);
    expect_exit(refused, 3, "reachable");
    cr_expect_not_null(strstr(refused->out, "\"feasible\": false"));
    expect_exit(NAS("ofa", "search", "--model", net, "--target-ms", "5", QUICK), 2, "table");

    model = nas_file("net.safetensors");
    config = nas_file("net.config");
    const json_t *taken = NAS_JSON("ofa", "extract", "--model", net, "--arch", arch, "--out", model,
                                   "--net-config", config, "--data", data);
    cr_expect(isfinite(number(taken, "valid_top1")));
    cr_expect_eq(access(config, R_OK), 0);
    cr_expect_eq(eval(model, NULL), eval(net, arch)); /* in place and taken out: the same */
    cr_expect(eval(net, NULL) != eval(net, arch));
    taken = NAS_JSON("ofa", "extract", "--model", net, "--arch", arch, "--out", model, "--epochs",
                     "1", QUICK);
    cr_expect_eq(number(taken, "epochs"), 1);
    cr_expect_str_eq(text(NAS_JSON("runs", "show", text(taken, "run")), "state"), "done");

    judged = nas_file("judged.json");
    const json_t *sampled = NAS_JSON("ofa", "sample", "--model", net, "--count", "12", "--out",
                                     judged, QUICK);
    cr_expect_eq(number(sampled, "count"), 12);
    const char *predictor = nas_file("p.safetensors");
    NAS_JSON("predictor", "train", "--space", "ofa-tiny", "--data", data, "--samples", judged,
             "--epochs", "3", "--out", predictor);
    free(net);
    net = strdup(text(NAS_JSON(FRESH, "--until", "teacher"), "supernet"));
    expect_exit(NAS("ofa", "search", "--model", net, "--max-macs", "700000", "--predictor",
                    predictor, QUICK), 78, "make one with nas ofa sample and nas predictor train");
    free(net);
    free(arch);
}

#define SEARCH "ofa", "search", "--model", net, "--population", "4", "--generations", "1", QUICK

/* Targets that lie side by side are judged once; each gives what it gives alone. */
Test(cli_ofa, many_targets_and_a_front_are_found_in_one_call)
{
    char content[1024];
    json_t *point;
    size_t i;
    double latency = 0, top1 = -1;

    prepare();
    char *net = strdup(text(NAS_JSON(FRESH), "supernet"));
    const char *table = make_table_of("ofa-tiny", "expanded_conv-input:1x1x1-output:1x1x1-expand:1-"
                                      "kernel:3-stride:1-idskip:0-se:0-hs:0: {mean: 1.0}\n");
    const json_t *alone = NAS_JSON(SEARCH, "--max-macs", "700000", "--max-memory", "0.05");
    const double best = number(alone, "valid_top1");
    cr_expect_leq(number(alone, "activation_mib"), 0.05);
    snprintf(content, sizeof content, "{\"targets\": ["
             "{\"name\": \"board\", \"max_macs\": 700000, \"max_memory_mib\": 0.05},"
             "{\"name\": \"phone\", \"table\": \"%s\", \"target_ms\": 1000}]}", table);
    const char *file = nas_put("targets.json", content);
    const json_t *targets = json_object_get(NAS_JSON(SEARCH, "--targets", file), "targets");
    cr_assert_eq(json_array_size(targets), 2);
    const json_t *board = json_array_get(targets, 0), *phone = json_array_get(targets, 1);
    cr_expect_str_eq(text(board, "name"), "board");
    cr_expect_eq(number(board, "valid_top1"), best);
    cr_expect_leq(number(phone, "latency_ms"), 1000);
    const char *models[] = {text(board, "model"), text(phone, "model")};
    for (int m = 0; m < 2; m++)
        cr_expect_eq(access(models[m], R_OK), 0, "%s", models[m]);
    cr_expect_str_neq(models[0], models[1]);
    expect_exit(NAS(SEARCH, "--targets", file, "--max-macs", "9e9"), 2, "--targets");
    expect_exit(NAS(SEARCH, "--points", "3"), 2, "--pareto");

    const json_t *result = NAS_JSON(SEARCH, "--table", table, "--pareto", "--points", "3");
    json_array_foreach(json_object_get(result, "front"), i, point) {
        cr_expect_gt(number(point, "latency_ms"), latency);
        cr_expect_gt(number(point, "valid_top1"), top1);
        cr_expect_eq(access(text(point, "arch"), R_OK), 0);
        latency = number(point, "latency_ms");
        top1 = number(point, "valid_top1");
    }
    cr_expect_gt(i, 0);
    cr_expect_eq(top1, number(result, "valid_top1"));
    free(net);
}

/* Tables of both image sizes of the space: among the best are subnets of either. */
Test(cli_ofa, the_best_subnets_are_measured_at_their_image_sizes)
{
    char tables[600];
    json_t *one;
    size_t i, of_size[2] = {0, 0};

    prepare();
    char *net = strdup(text(NAS_JSON(FRESH), "supernet"));
    const char *small = nas_file("small.yaml"), *large = nas_file("large.yaml");
#define PROFILE "profile", "--space", "ofa-tiny", "--max-seconds", "0.2", "--interval", "1"
    NAS_JSON(PROFILE, "--image-size", "12", "--out", small);
    NAS_JSON(PROFILE, "--image-size", "16", "--out", large);
    snprintf(tables, sizeof tables, "%s,%s", small, large);
    const json_t *found = NAS_JSON(SEARCH, "--table", tables, "--target-ms", "1000",
                                   "--verify-top", "4");
    const json_t *verified = json_object_get(found, "verified");
    cr_assert_eq(json_array_size(verified), 4);
    json_array_foreach(verified, i, one) {
        cr_expect_gt(number(one, "measured_ms"), 0);
        cr_expect(json_is_true(json_object_get(one, "meets_target")));
        of_size[number(one, "image_size") == 16]++;
    }
    cr_expect(of_size[0] > 0 && of_size[1] > 0, "%zu and %zu", of_size[0], of_size[1]);
    cr_expect_eq(number(json_array_get(verified, 0), "measured_ms"), number(found, "measured_ms"));
    cr_expect_eq(number(json_array_get(verified, 0), "predicted_ms"), number(found, "latency_ms"));
    const process_result *none = NAS(SEARCH, "--table", tables, "--target-ms", "1000",
                                     "--verify-top", "4", "--pareto");
    expect_exit(none, 2, "--pareto");
    free(net);
}

Test(cli_ofa, sampling_goes_on_where_it_was_stopped)
{
    const process_options stop = {.signal_on = "run ofa-sample", .signal = SIGTERM};
    char *net;

    prepare();
    net = strdup(text(NAS_JSON(FRESH, "--until", "teacher"), "supernet"));
    expect_exit(NAS("ofa", "sample", "--model", net, "--count", "5", "--out", nas_file("a.json"),
                    QUICK), 3, "hardly more than 2"); /* one network at two sizes */
    free(net);
    net = strdup(text(NAS_JSON(FRESH), "supernet"));
    expect_exit(NAS("ofa", "sample", "--model", net, "--count", "6", "--out", nas_file("a.json"),
                    QUICK), 0, NULL);
    expect_exit(nas_run(&stop, "ofa", "sample", "--model", net, "--count", "6", "--out",
                        nas_file("./b.json"), QUICK, NULL), 75, "nas resume");
    nas_put("b.json", "{}"); /* as if it had been killed after it wrote its result */
    expect_exit(NAS("resume"), 0, NULL);
    json_t *a = json_load_file(nas_file("a.json"), 0, NULL);
    json_t *b = json_load_file(nas_file("b.json"), 0, NULL);
    cr_assert(a != NULL && b != NULL);
    cr_expect(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    free(net);
}

#define SAMPLE "ofa", "sample", "--model", net, QUICK
#define LEARN "predictor", "train", "--space", "ofa-tiny", "--data", data, "--epochs", "3", "--samples"

Test(cli_ofa, parts_that_jobs_judge_side_by_side_are_one_set)
{
    char jobs[2048], files[1024], whole[64], parts[64];

    prepare();
    char *net = strdup(text(NAS_JSON(FRESH), "supernet"));
    NAS_JSON(SAMPLE, "--count", "12", "--out", nas_file("whole.json"));
    snprintf(jobs, sizeof jobs, "{\"jobs\": [{\"name\": \"part\", \"run\": [\"ofa\", \"sample\"],"
             " \"options\": {\"model\": \"%s\", \"data\": \"%s\", \"count\": 4, \"score_images\": 40,"
             " \"recalibrate_images\": 128, \"out\": \"%s-{first}.json\"},"
             " \"grid\": {\"first\": [0, 4, 8]}, \"cores\": 1}]}", net, data, nas_file("part"));
    expect_exit(NAS("jobs", "submit", "--file", nas_put("jobs.json", jobs)), 0, NULL);
    expect_exit(NAS("jobs", "run", "--cores", "2"), 0, NULL);
    snprintf(files, sizeof files, "%s-0.json,%s-4.json,%s-8.json", nas_file("part"),
             nas_file("part"), nas_file("part"));
    NAS_JSON(LEARN, nas_file("whole.json"), "--out", nas_file("a.safetensors"));
    const json_t *made = NAS_JSON(LEARN, files, "--out", nas_file("b.safetensors"));
    cr_expect_eq(number(made, "repeated"), 0);
    digest_of(nas_file("a.safetensors"), whole);
    digest_of(nas_file("b.safetensors"), parts);
    cr_expect_str_eq(whole, parts);

    /* what two parts have in common counts once */
    NAS_JSON(SAMPLE, "--count", "6", "--first", "6", "--out", nas_file("late.json"));
    snprintf(files, sizeof files, "%s-0.json,%s-4.json,%s", nas_file("part"), nas_file("part"),
             nas_file("late.json"));
    made = NAS_JSON(LEARN, files, "--out", nas_file("c.safetensors"));
    cr_expect_eq(number(made, "repeated"), 2);
    cr_expect_eq(number(made, "trained") + number(made, "held_out"), 12);
    free(net);
}

Test(cli_ofa, samples_that_were_judged_differently_are_not_mixed)
{
    char files[1024];

    prepare();
    char *net = strdup(text(NAS_JSON(FRESH), "supernet"));
    const char *one = nas_file("one.json"), *two = nas_file("two.json");
    const char *out = nas_file("p.safetensors");
    NAS_JSON(SAMPLE, "--count", "6", "--out", one);
    NAS_JSON(SAMPLE, "--count", "6", "--first", "6", "--score-images", "60", "--out", two);
    snprintf(files, sizeof files, "%s,%s", one, two);
    expect_exit(NAS(LEARN, files, "--out", out), 65, "another score_images");
    NAS_JSON(SAMPLE, "--count", "6", "--first", "6", "--seed", "2", "--out", two);
    expect_exit(NAS(LEARN, files, "--out", out), 65, "another seed");
    char *other = strdup(text(NAS_JSON(FRESH, "--seed", "2"), "supernet"));
    NAS_JSON("ofa", "sample", "--model", other, "--count", "6", "--first", "6", "--out", two,
             QUICK);
    expect_exit(NAS(LEARN, files, "--out", out), 65, "another supernet");
    json_t *bare = json_load_file(two, 0, NULL);
    json_object_del(bare, "judged");
    cr_assert_eq(json_dump_file(bare, two, 0), 0);
    json_decref(bare);
    expect_exit(NAS(LEARN, files, "--out", out), 65, "says nothing about how");
    expect_exit(NAS(LEARN, files, "--out", two), 2, NULL);
    cr_expect_eq(access(out, R_OK), -1);
    free(other);
    free(net);
}

Test(cli_ofa, networks_that_are_not_trained_or_not_there_are_refused)
{
    const char *small, *out = nas_file("net.safetensors");
    char *net;

    prepare();
    net = strdup(text(NAS_JSON(FRESH, "--until", "teacher"), "supernet"));
    small = nas_file("small.json");
    expect_exit(NAS("space", "sample", "ofa-tiny", "--out", small), 0, NULL);
    expect_exit(NAS("ofa", "extract", "--model", net, "--arch", small, "--out", out, QUICK), 78,
                NULL);
    expect_exit(NAS("ofa", "extract", "--model", net, "--arch", make_arch(), "--out", out, QUICK),
                78, "is not in ofa-tiny");
    expect_exit(NAS("ofa", "extract", "--model", net, "--image-size", "64", "--out", out, QUICK),
                78, "64 pixels");
    expect_exit(NAS("ofa", "extract", "--model", net, "--out", net, QUICK), 2, "write");
    expect_exit(NAS("ofa", "extract", "--model", net, "--out", data, QUICK), 2, "write");
    expect_exit(NAS("ofa", "extract", "--model", net, "--out", out, "--net-config", data, QUICK),
                2, "write");
    expect_exit(NAS("ofa", "extract", "--model", net, "--out", out, "--net-config", out, QUICK), 2,
                "write");
    expect_exit(NAS("ofa", "sample", "--model", net, "--out", data, QUICK), 2, "write");
    const process_options stop = {.signal_on = "judging the subnet", .signal = SIGTERM};
    expect_exit(nas_run(&stop, "ofa", "extract", "-v", "--model", net, "--out", out, "--data", data,
                        "--recalibrate-images", "100000", NULL), 128 + SIGTERM,
                "the same command again"); /* no checkpoint: there is nothing to resume */
    expect_exit(NAS("train", "--from", net, "--data", data), 65, "supernet");
    cr_expect_eq(access(out, R_OK), -1);
    free(net);
}

Test(cli_ofa, a_supernet_that_was_ruined_is_told_of_with_nulls)
{
    prepare();
    const char *hot = nas_put("hot.json", /* its last step is the one too many */
                              "{\"phases\": [{\"batch\": 90, \"lr\": 50, \"warmup_lr\": 50,"
                              " \"decay\": 1, \"momentum\": 0.99}]}");
    const json_t *end = NAS_JSON("ofa", "shrink", "--space", "ofa-tiny", "--schedule", hot, QUICK);
    const json_t *phase = json_array_get(json_object_get(end, "phases"), 0);
    const json_t *corners = json_object_get(phase, "corners");
    cr_assert_eq(json_array_size(corners), 2); /* one network at two sizes */
    cr_expect(json_is_null(json_object_get(json_array_get(corners, 0), "loss")));
    char *net = strdup(text(end, "supernet"));
    const char *out = nas_file("net.safetensors");
    const json_t *taken = NAS_JSON("ofa", "extract", "--model", net, "--out", out, QUICK);
    cr_expect(json_is_null(json_object_get(taken, "valid_loss")));
    cr_expect_gt(number(taken, "macs"), 0);
    free(net);
}
