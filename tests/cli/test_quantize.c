/* nas quantize from the outside: what a quantised network is good for, and what is refused. */
#include <math.h>
#include <signal.h>
#include <unistd.h>

#include "tests/cli/nas.h"
#include "tests/cli/spoil.h"

TestSuite(cli_quantize, .init = nas_begin, .fini = nas_end, .timeout = 240);

static const char *model_of(const json_t *run)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof paths[0], "%s", json_string_value(json_object_get(run, "model")));
    return path;
}

/* A network trained for an epoch; its path. */
static const char *make_model(void)
{
    return model_of(
        NAS_JSON("train", "--data", make_data(), "--arch", make_arch(), "--epochs", "1", "--quiet"));
}

static double real_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

Test(cli_quantize, a_network_of_eight_bits_is_evaluated_like_any_other)
{
    const char *model = make_model(), *data = nas_file("task.nasd");
    const json_t *run = NAS_JSON("quantize", "--model", model, "--data", data, "--out",
                                 nas_file("net8.safetensors"), "--quiet");

    cr_expect_lt(real_of(run, "size_ratio"), 0.5);
    const json_t *policy = json_object_get(run, "policy");
    cr_assert_gt(json_array_size(policy), 5);
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(policy, 0), "layer")),
                     "block0.conv");
    cr_expect_eq(json_integer_value(json_object_get(json_array_get(policy, 1), "weight_bits")), 8);
    const char *made = model_of(run);
    const double small = real_of(NAS_JSON("eval", "--model", made, "--data", data), "top1");
    const double large = real_of(NAS_JSON("eval", "--model", model, "--data", data), "top1");
    cr_expect_lt(large - small, 0.06, "%g and %g", large, small); /* 100 images */
    cr_expect_eq(real_of(NAS_JSON("eval", "--model", nas_file("net8.safetensors"), "--data", data),
                         "top1"), small);
    const json_t *runs = json_object_get(NAS_JSON("runs", "list"), "runs");
    cr_expect_str_eq(json_string_value(json_object_get(json_array_get(runs, 0), "kind")),
                     "quantize");
}

Test(cli_quantize, an_agent_keeps_its_budget)
{
    const char *model = make_model();
    const json_t *run =
        NAS_JSON("quantize", "--model", model, "--data", nas_file("task.nasd"), "--method",
                 "kmeans", "--agent", "ddpg", "--size-ratio", "0.12", "--episodes", "4",
                 "--warmup-episodes", "2", "--quiet");

    cr_expect_leq(real_of(run, "cost_ratio"), 0.12);
    cr_expect_gt(real_of(run, "cost_ratio"), 0.03);
    cr_expect(isfinite(real_of(run, "reward")) && real_of(run, "measured_ms") > 0);
    const process_result *shown = NAS("runs", "show", json_string_value(json_object_get(run, "run")));
    cr_expect(strstr(shown->out, "episode_top1") && strstr(shown->out, "episode_cost_ratio"), "%s",
              shown->out);
    run = NAS_JSON("quantize", "--model", model, "--data", nas_file("task.nasd"), "--agent",
                   "random", "--bitops", "0.5", "--episodes", "2", "--finetune-epochs", "1",
                   "--quiet");
    cr_expect_leq(real_of(run, "cost_ratio"), 0.5);
    run = NAS_JSON("quantize", "--model", model, "--data", nas_file("task.nasd"), "--agent",
                   "random", "--size-ratio", "0.15", "--input-bits", "8", "--episodes", "2",
                   "--quiet");
    const json_t *layers = json_object_get(run, "policy"), *layer;
    size_t i;
    json_array_foreach(layers, i, layer)
        cr_expect_eq(json_integer_value(json_object_get(layer, "input_bits")), 8);
    cr_expect_gt(i, 2);
    cr_expect_leq(real_of(run, "cost_ratio"), 0.15);
}

/* Also of the episodes, which are over when it goes on. */
Test(cli_quantize, a_run_that_goes_on_in_its_fine_tuning_tells_the_same)
{
    const char *model = make_model(), *data = nas_file("task.nasd");
    const process_options stopped = {.signal_on = "train_loss", .signal = SIGTERM,
                                     .timeout_s = 120};
#define TUNED                                                                              \
    "quantize", "--model", model, "--data", data, "--agent", "ddpg", "--bitops", "0.4",    \
        "--episodes", "4", "--finetune-epochs", "3", "--batch", "32"
    const json_t *run = NAS_JSON(TUNED, "--quiet");
    const double reward = real_of(run, "reward");
    const json_int_t episode = json_integer_value(json_object_get(run, "best_episode"));

    cr_assert(json_is_integer(json_object_get(run, "best_episode")));
    expect_exit(nas_run(&stopped, TUNED, "--name", "s", "--checkpoint-seconds", "0", NULL), 75,
                NULL);
    run = NAS_JSON("resume", "s", "--quiet");
    cr_expect_eq(real_of(run, "reward"), reward);
    cr_expect_eq(json_integer_value(json_object_get(run, "best_episode")), episode);
}

static void expect_same_files(const char *a, const char *b, bool same)
{
    const char *const words[] = {"/usr/bin/cmp", "-s", a, b, NULL};
    process_result compared = process_run(words, NULL);

    cr_expect_eq(compared.code, same ? 0 : 1, "%s and %s", a, b);
    process_free(&compared);
}

/* Steps before judging change what a policy seems worth, and nothing of what comes out: here the
 * agent has one policy to choose from. */
Test(cli_quantize, the_steps_before_a_policy_is_judged_are_forgotten)
{
    const char *model = make_model(), *data = nas_file("task.nasd");
    const char *const steps[] = {"0", "6"}, *const file[] = {nas_file("a"), nas_file("b")};
    double reward[2];

    for (int i = 0; i < 2; i++)
        reward[i] = real_of(
            NAS_JSON("quantize", "--model", model, "--data", data, "--agent", "uniform",
                     "--episodes", "1", "--size-ratio", "0.1", "--input-bits", "3", "--tune-steps",
                     steps[i], "--batch", "32", "--lr", "0.05", "--finetune-epochs", "1", "--out",
                     file[i], "--quiet"), "reward");
    cr_expect_neq(reward[1], reward[0]);
    expect_same_files(file[0], file[1], true);
    expect_exit(NAS("quantize", "--model", model, "--data", data, "--bits", "3", "--batch", "32",
                    "--finetune-epochs", "1", "--out", file[0], "--quiet"), 0, NULL);
    expect_exit(NAS("quantize", "--model", model, "--data", data, "--bits", "3", "--batch", "32",
                    "--finetune-epochs", "1", "--distill", "0.5", "--out", file[1], "--quiet"), 0,
                NULL);
    expect_same_files(file[0], file[1], false);
}

/* One episode is the start itself; it spends what it may, and two runs are the same. */
Test(cli_quantize, an_agent_starts_from_what_harms_the_loss)
{
    const char *model = make_model(), *data = nas_file("task.nasd");
    static const char *const budget[] = {"--size-ratio", "--bitops"};
    static const double ratio[] = {0.12, 0.4};

    for (int i = 0; i < 2; i++) {
        json_t *policy[2];

        for (int k = 0; k < 2; k++) {
            const json_t *run =
                NAS_JSON("quantize", "--model", model, "--data", data, "--agent", "ddpg",
                         "--start", "harm", "--episodes", "1", budget[i], i ? "0.4" : "0.12",
                         "--threads", k ? "1" : "2", "--quiet");
            cr_expect_leq(real_of(run, "cost_ratio"), ratio[i]);
            cr_expect_gt(real_of(run, "cost_ratio"), 0.9 * ratio[i]);
            policy[k] = json_incref(json_object_get(run, "policy"));
        }
        cr_expect(json_equal(policy[0], policy[1]));
        json_decref(policy[0]);
        json_decref(policy[1]);
    }
}

Test(cli_quantize, mistakes_are_named_and_leave_nothing)
{
    const char *model = make_model(), *data = nas_file("task.nasd");
    const int before = nas_count();

#define REFUSED(code, says, ...) \
    expect_exit(NAS("quantize", "--model", model, "--data", data, __VA_ARGS__), code, says)
    REFUSED(2, "at least 2 bits", "--bits", "1");
    REFUSED(2, "needs one budget", "--agent", "ddpg");
    REFUSED(2, "needs one budget", "--agent", "ddpg", "--bitops", "0.5", "--size-ratio", "0.5");
    REFUSED(2, "for an agent", "--size-ratio", "0.5");
    REFUSED(2, "inputs stay floats", "--method", "kmeans", "--input-bits", "8");
    REFUSED(2, "go together", "--agent", "ddpg", "--table", "x.npy");
    REFUSED(2, "--size-ratio", "--agent", "ddpg", "--method", "kmeans", "--bitops", "0.5");
    REFUSED(2, "an agent tries", "--tune-steps", "5");
    REFUSED(2, "first policy of an agent", "--start", "harm");
    REFUSED(2, "first policy of an agent", "--start", "harm", "--agent", "uniform", "--size-ratio",
            "0.2");
    REFUSED(2, "nothing is learnt", "--distill", "0.5");
    REFUSED(2, "neither ranges nor steps", "--method", "kmeans", "--calibration", "kl");
    REFUSED(2, "neither ranges nor steps", "--method", "kmeans", "--steps", "layer");
    REFUSED(2, "not in 1e-06", "--agent", "ddpg", "--size-ratio", "0");
    REFUSED(78, "none to judge on", "--valid-fraction", "0");
    REFUSED(78, "--tune-steps of at most", "--agent", "ddpg", "--bitops", "0.5", "--tune-steps",
            "1000");
    REFUSED(2, "above --bits", "--agent", "ddpg", "--bitops", "0.5", "--least-bits", "5", "--bits",
            "4");
    REFUSED(3, "can be reached", "--agent", "ddpg", "--bitops", "0.001");
    REFUSED(3, "can be reached", "--agent", "ddpg", "--size-ratio", "0.001");
    REFUSED(78, "at least 16", "--calibration-images", "1");
    REFUSED(74, "none.npy", "--agent", "ddpg", "--table", "none.npy", "--ratio", "0.5");
    expect_exit(NAS("quantize", "--model", data, "--data", data), 65, "task.nasd");
    expect_exit(NAS("quantize", "--model", model, "--data", model), 65, "model.safetensors");
    REFUSED(2, "over what is read", "--out", model);
    REFUSED(2, "over what is read", "--out", data);
    REFUSED(2, "--least-bits: is for an agent", "--least-bits", "4");
    REFUSED(2, "--agent-seed: is for an agent", "--agent-seed", "4");
    REFUSED(2, "only --agent ddpg", "--agent", "random", "--bitops", "0.5", "--warmup-episodes",
            "2");
    cr_expect_eq(nas_count(), before);
    const char *made = model_of(
        NAS_JSON("quantize", "--model", model, "--data", data, "--bits", "4", "--quiet"));
    expect_exit(NAS("quantize", "--model", made, "--data", data), 78, "quantised already");
    expect_exit(NAS("train", "--from", made, "--data", data, "--epochs", "1"), 78, "quantised");
}

Test(cli_quantize, a_network_whose_numbers_are_not_finite_is_refused)
{
    const char *model = make_model(), *data = nas_file("task.nasd");
    const char *const files[] = {nas_file("nan.safetensors"), nas_file("inf.safetensors")};

    for (int i = 0; i < 2; i++) {
        cr_assert(spoil_model(model, files[i], i == 0 ? NAN : INFINITY));
        expect_exit(NAS("quantize", "--model", files[i], "--data", data), 65, "block 2, ");
        expect_exit(NAS("prune", "--model", files[i], "--data", data, "--ratio", "0.5"), 65,
                    "not finite");
    }
}

/* A file of which a byte was changed, or whose metadata says what its tensors are not. */
Test(cli_quantize, a_damaged_file_is_refused)
{
    const char *model = make_model(), *data = nas_file("task.nasd");
    const char *made = nas_file("net.safetensors");

    expect_exit(NAS("quantize", "--model", model, "--data", data, "--out", made, "--quiet"), 0,
                NULL);
    FILE *file = fopen(made, "r+b");
    cr_assert_not_null(file);
    fseek(file, -100, SEEK_END);
    const int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 1, file);
    fclose(file);
    expect_exit(NAS("eval", "--model", made, "--data", data), 65, "net.safetensors");
}
