/* nas prune from the outside: budgets, an ordinary network at the end, stopping, bad input. */
#include "tests/cli/nas.h"

#include <signal.h>

static const char *data, *model;

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    cr_assert(json_is_number(value), "no number '%s'", key);
    return json_number_value(value);
}

static void train(const char *arch)
{
    const json_t *trained = NAS_JSON("train", "--data", data, "--arch", arch, "--epochs", "2",
                                     "--batch", "32");
    model = strdup(json_string_value(json_object_get(trained, "model")));
}

static void begin(void)
{
    nas_begin();
    data = make_data();
    train(make_arch());
}

TestSuite(cli_prune, .init = begin, .fini = nas_end, .timeout = 280);

#define PRUNE(...)                                                                                 \
    "prune", "--model", model, "--data", data, "--calibration-images", "128", "--episodes", "6",   \
        __VA_ARGS__

Test(cli_prune, half_of_the_macs_go_and_an_ordinary_network_stays)
{
    const char *out = nas_file("small.safetensors");
    const json_t *result = NAS_JSON(PRUNE("--ratio", "0.5", "--name", "half", "--out", out,
                                          "--finetune-epochs", "1", "--batch", "32"));
    const double macs = number(result, "macs"), top1 = number(result, "top1");
    const json_t *policy = json_object_get(result, "policy");

    cr_expect_leq(macs, 0.5 * number(result, "macs_before"));
    cr_expect_leq(number(result, "cost"), number(result, "budget"));
    cr_expect(top1 >= 0 && top1 <= 1);
    cr_assert_gt(json_array_size(policy), 3);
    const json_t *row = json_array_get(policy, 0);
    cr_expect_leq(number(row, "channels"), number(row, "of"));
    cr_expect_lt(number(result, "size_bytes"), number(result, "float_size_bytes"));
    cr_expect(number(result, "measured_ms") > 0 && number(result, "measured_ms_before") > 0);

    const json_t *judged = NAS_JSON("eval", "--model", out, "--data", data);
    cr_expect_eq(number(judged, "macs"), macs);
    expect_exit(NAS("export", "--model", out, "--onnx", nas_file("small.onnx")), 0, NULL);

    setenv("LC_ALL", "C.UTF-8", 1);
    const process_result *shown = NAS("runs", "show", "half");
    expect_exit(shown, 0, NULL);
    cr_expect(strstr(shown->out, "best_reward") && strstr(shown->out, "episode_macs"), "%s",
              shown->out);
    cr_expect(strstr(shown->out, "\xe2\x96\x88") && strstr(shown->out, "block 1"),
              "no bars: %s", shown->out);
    const json_t *kept = NAS_JSON("runs", "show", "half");
    cr_expect_gt(json_array_size(json_object_get(json_object_get(kept, "summary"), "policy")), 3);
    cr_expect_eq(number(kept, "parent"), 1, "the run that trained the network");
}

Test(cli_prune, every_agent_meets_every_budget)
{
    static const char *const agents[] = {"ddpg", "random", "uniform", "evolution"};

    for (size_t i = 0; i < sizeof agents / sizeof *agents; i++) {
        const json_t *result = NAS_JSON(PRUNE("--ratio", "0.6", "--agent", agents[i]));
        cr_expect_leq(number(result, "macs"), 0.6 * number(result, "macs_before"), "%s",
                      agents[i]);
        cr_expect_str_eq(json_string_value(json_object_get(result, "agent")), agents[i]);
    }
    const json_t *result = NAS_JSON(PRUNE("--params", "9000"));
    cr_expect_leq(number(result, "parameters"), 9000);
    result = NAS_JSON(PRUNE("--reward", "guaranteed"));
    cr_expect_lt(number(result, "reward"), 0);
}

Test(cli_prune, a_latency_table_is_a_budget)
{
    const char *table = make_table();
    const json_t *free_one = NAS_JSON(PRUNE("--table", table, "--target-ms", "1000"));
    const double before = number(free_one, "cost_before");
    char target[32];

    snprintf(target, sizeof target, "%.6f", 0.7 * before);
    const json_t *result = NAS_JSON(PRUNE("--table", table, "--target-ms", target));
    cr_expect_leq(number(result, "cost"), 0.7 * before + 1e-6);
    cr_expect_lt(number(result, "macs"), number(result, "macs_before"));
}

Test(cli_prune, budgets_hold_together)
{
    const char *table = make_table();
    const json_t *result = NAS_JSON(PRUNE("--table", table, "--target-ms", "1000", "--ratio", "0.6",
                                          "--params", "9000", "--max-memory", "0.03", "--name",
                                          "all"));
    const json_t *limits = json_object_get(result, "limits");

    cr_assert_eq(json_array_size(limits), 4);
    for (size_t i = 0; i < 4; i++)
        cr_expect_leq(number(json_array_get(limits, i), "reached"),
                      number(json_array_get(limits, i), "limit"), "limit %zu", i);
    cr_expect_leq(number(result, "macs"), 0.6 * number(result, "macs_before"));
    cr_expect_leq(number(result, "parameters"), 9000);
    cr_expect_eq(number(result, "budget"), 1000);
    expect_exit(NAS(PRUNE("--ratio", "0.6", "--max-memory", "1e-4")), 3,
                "no network of 0.0001 MiB of activations");
}

/* Held out by another seed, images that judge are images that the network was trained on. */
Test(cli_prune, another_seed_than_the_trainings_is_warned_of)
{
    const char *warned = "held other images out (--seed 1 --valid-fraction 0.1)";
    const process_result *same = NAS(PRUNE("--ratio", "0.7"));

    expect_exit(same, 0, NULL);
    cr_expect_null(strstr(same->err, "held other"), "%s", same->err);
    expect_exit(NAS(PRUNE("--ratio", "0.7", "--seed", "5")), 0, warned);
    expect_exit(NAS(PRUNE("--ratio", "0.7", "--valid-fraction", "0.2")), 0, warned);
    expect_exit(NAS("quantize", "--model", model, "--data", data, "--seed", "5"), 0, warned);
    expect_exit(NAS("train", "--from", model, "--data", data, "--epochs", "1", "--seed", "5"), 0,
                warned);
}

/* So agents of several seeds are judged on images that the network has never seen. */
Test(cli_prune, an_agent_has_a_seed_of_its_own)
{
    static const char *const seeds[] = {"1", "2"};
    json_t *own = json_incref(json_object_get(NAS_JSON(PRUNE("--ratio", "0.7")), "policy"));

    for (int i = 0; i < 2; i++) {
        const json_t *policy =
            json_object_get(NAS_JSON(PRUNE("--ratio", "0.7", "--agent-seed", seeds[i])), "policy");
        cr_expect_eq(json_equal(own, policy), i == 0, "seed %s", seeds[i]);
    }
    json_decref(own);
    const process_result *run = NAS(PRUNE("--ratio", "0.7", "--agent-seed", "2"));
    cr_expect_null(strstr(run->err, "held other"), "%s", run->err);
    run = NAS("quantize", "--model", model, "--data", data, "--agent", "random", "--size-ratio",
              "0.15", "--episodes", "2", "--agent-seed", "2");
    expect_exit(run, 0, NULL);
    cr_expect_null(strstr(run->err, "held other"), "%s", run->err);
}

static char *file_digest(const json_t *result)
{
    const char *path = json_string_value(json_object_get(result, "model"));
    char command[1200], digest[64] = "";

    snprintf(command, sizeof command, "sha256sum '%s'", path);
    FILE *pipe = popen(command, "r");
    cr_assert_eq(fscanf(pipe, "%63s", digest), 1);
    pclose(pipe);
    return strdup(digest);
}

#define LONG(...)                                                                                  \
    PRUNE("--ratio", "0.6", "--finetune-epochs", "2", "--batch", "32", "--warmup-episodes", "2",   \
          "--tune-steps", "2", "--distill", "0.5", __VA_ARGS__)

Test(cli_prune, a_stopped_and_a_killed_run_continue_to_the_same_bits)
{
    static const struct {
        const char *when;
        int signal, code;
    } stops[] = {{"epoch 3", SIGTERM, 75},
                 {"epoch 5", SIGKILL, 128 + SIGKILL},
                 {"train_loss", SIGTERM, 75}};
    char *whole = file_digest(NAS_JSON(LONG("--name", "whole")));

    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        const process_options options = {.signal_on = stops[i].when, .signal = stops[i].signal,
                                         .timeout_s = 120};
        char name[16];

        snprintf(name, sizeof name, "stop%zu", i);
        expect_exit(nas_run(&options, LONG("--name", name, "--checkpoint-seconds", "0"), NULL),
                    stops[i].code, NULL);
        char *again = file_digest(NAS_JSON("resume", name));
        cr_expect_str_eq(again, whole, "stopped at \"%s\"", stops[i].when);
        free(again);
    }
    free(whole);
}

static int runs(void)
{
    return (int)json_array_size(json_object_get(NAS_JSON("runs", "list"), "runs"));
}

Test(cli_prune, what_makes_no_sense_is_refused_with_the_reason)
{
    const char *nothing = nas_put(
        "nothing.json",
        "{\"format\": \"onepath.architecture\", \"version\": 1, \"name\": \"n\","
        " \"image_size\": 16, \"channels\": 3, \"classes\": 10, \"bn\": {\"momentum\": 0.1, \"eps\": 0.001},"
        " \"blocks\": [{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 10}]}");
    const char *few = nas_file("few.nasd");
    const char *table = nas_put("table.yaml", "Conv-input:1x1x1-output:1x1x1: {mean: 1.0}\n");

    expect_exit(NAS(PRUNE("--quiet")), 2, "a budget is needed");
    expect_exit(NAS(PRUNE("--ratio", "0.5", "--macs", "1000")), 2, "say one of them");
    expect_exit(NAS(PRUNE("--ratio", "0.5", "--reward", "guaranteed")), 2, "has no budget");
    expect_exit(NAS(PRUNE("--target-ms", "1")), 2, "go together");
    expect_exit(NAS(PRUNE("--ratio", "0.5", "--out", model)), 2, "over what is read");
    expect_exit(NAS(PRUNE("--ratio", "0.5", "--out", data)), 2, "over what is read");
    expect_exit(NAS(PRUNE("--ratio", "0.001")), 3, "the least is");
    expect_exit(NAS(PRUNE("--reward", "guaranteed", "--agent", "uniform")), 2, "has none");
    expect_exit(NAS(PRUNE("--ratio", "0.5", "--agent", "random", "--warmup-episodes", "2")), 2,
                "only --agent ddpg");
    expect_exit(NAS(PRUNE("--ratio", "0.5", "--warmup-episodes", "0")), 2, "--warmup-episodes");
    expect_exit(NAS(PRUNE("--ratio", "0.5", "--tune-steps", "100000")), 78, "--tune-steps of at most");
    expect_exit(NAS(PRUNE("--ratio", "0.5", "--distill", "0.5")), 2, "nothing is learnt");
    const int before = runs();
    expect_exit(NAS(PRUNE("--ratio", "0.5", "--finetune-epochs", "1", "--batch", "4000")), 78,
                "to train on");
    cr_expect_eq(runs(), before, "found out when the agent had done its work");
    expect_exit(NAS(PRUNE("--ratio", "0.5", "--valid-fraction", "0.0001")), 78, "none to judge on");
    expect_exit(NAS(PRUNE("--table", table, "--target-ms", "1")), 3, "lacks");
    expect_exit(NAS("quantize", "--model", model, "--data", data, "--out", nas_file("q.safetensors"),
                    "--quiet"), 0, NULL);
    expect_exit(NAS("prune", "--model", nas_file("q.safetensors"), "--data", data, "--ratio", "0.5"),
                78, "is quantised");
    expect_exit(NAS("data", "synth", "--out", few, "--size", "16", "--train", "60", "--test", "20",
                    "--quiet"), 0, NULL);
    expect_exit(NAS("prune", "--model", model, "--data", few, "--ratio", "0.5"), 78,
                "calibration needs 64");
    train(nothing);
    expect_exit(NAS(PRUNE("--ratio", "0.5")), 78, "nothing to prune");
}
