/* nas prune - takes channels out of a trained network until it meets a budget: an agent chooses
 * how many of each layer, what is left is tuned, and an ordinary smaller network comes out. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/limits.h"
#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/prune_task.h"
#include "nas/quant/sites.h"
#include "nas/train/checkpoint.h"
#include "nas/train/train.h"
#include "search/rl/agent.h"

typedef struct prune_options {
    cli_run_options run;
    const char *model, *data, *out, *table, *augment;
    double ratio, target_ms, memory_mib, least, lr, decay, distill, valid_fraction;
    int64_t macs, params, episodes, warmup, agent_seed;
    int64_t calibration_images, calibration_points, judge_images;
    int64_t tune_steps, finetune_epochs, batch;
    int agent, reward;
    bool allow_emulated, dry_run;
} prune_options;

enum { REWARD_BUDGET, REWARD_GUARANTEED };

#define AT(field) offsetof(prune_options, field)

static const nas_option prune_table[] = {
    {"--model", NAS_OPT_STRING, AT(model), NULL, 0, 0, NULL, "FILE",
     "trained network: model.safetensors of a run", true},
    {"--data", NAS_OPT_STRING, AT(data), NULL, 0, 0, NULL, "FILE",
     "packed images it was trained on", true},
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "FILE",
     "copy of the pruned network, which the run keeps", false, true},
    {"--ratio", NAS_OPT_REAL, AT(ratio), NULL, 1e-6, 1, NULL, "R",
     "budget: this share of the network's MACs"},
    {"--macs", NAS_OPT_INT, AT(macs), NULL, 1, 1e15, NULL, "N", "budget: MACs of an image"},
    {"--params", NAS_OPT_INT, AT(params), NULL, 1, 1e12, NULL, "N", "budget: parameters"},
    {"--table", NAS_OPT_STRING, AT(table), NULL, 0, 0, NULL, "FILE",
     "latency table, for --target-ms; layers that it lacks count by MACs"},
    {"--target-ms", NAS_OPT_REAL, AT(target_ms), NULL, 1e-6, 1e6, NULL, "MS",
     "budget: latency by the table"},
    {"--max-memory", NAS_OPT_REAL, AT(memory_mib), NULL, 1e-6, 1e9, NULL, "MIB",
     "budget: activations (float32, one image) at once"},
    CLI_ALLOW_EMULATED(AT(allow_emulated)),
    {"--reward", NAS_OPT_CHOICE, AT(reward), "budget", 0, 0, "budget|guaranteed", NULL,
     "accuracy within the budget; or, without one, errors times the logarithm of MACs"},
    {"--agent", NAS_OPT_CHOICE, AT(agent), "ddpg", 0, 0, "ddpg|random|uniform|evolution", NULL,
     "who chooses how many channels each layer keeps"},
    {"--episodes", NAS_OPT_INT, AT(episodes), "100", 1, 1e6, NULL, "N", "policies that it tries"},
    {"--warmup-episodes", NAS_OPT_INT, AT(warmup), NULL, 1, 1e6, NULL, "N",
     "ddpg: of these, at the start, at random; default: a quarter, at most 100"},
    {"--agent-seed", NAS_OPT_INT, AT(agent_seed), NULL, 1, 9007199254740992.0, NULL, "N",
     "of the agent's choices alone; default: --seed, which draws the images held out, too"},
    {"--least", NAS_OPT_REAL, AT(least), "0.2", 0.01, 1, NULL, "R",
     "share of its channels that every layer keeps"},
    {"--calibration-images", NAS_OPT_INT, AT(calibration_images), "1024", 64, 1e6, NULL, "N",
     "of train, by which weights are reconstructed"},
    {"--calibration-points", NAS_OPT_INT, AT(calibration_points), "10", 1, 1000, NULL, "N",
     "places of each image and layer that are looked at"},
    {"--judge-images", NAS_OPT_INT, AT(judge_images), "2000", 1, 1e6, NULL, "N",
     "of those held out, by which policies are judged"},
    {"--tune-steps", NAS_OPT_INT, AT(tune_steps), "0", 0, 1e6, NULL, "N",
     "steps of fine-tuning that each policy gets before it is judged"},
    {"--valid-fraction", NAS_OPT_REAL, AT(valid_fraction), "0.1", 0.0001, 0.9, NULL, "X",
     "of the training images, held out to judge on"},
    {"--finetune-epochs", NAS_OPT_INT, AT(finetune_epochs), "0", 0, 1e6, NULL, "N",
     "passes over the images that train what is left"},
    {"--batch", NAS_OPT_INT, AT(batch), "64", 2, 4096, NULL, "N", "images a step of fine-tuning"},
    {"--lr", NAS_OPT_REAL, AT(lr), "0.05", 0, 100, NULL, "X",
     "first learning rate of fine-tuning; follows a cosine to 0"},
    {"--decay", NAS_OPT_REAL, AT(decay), "4e-5", 0, 1, NULL, "X", "weight decay"},
    {"--distill", NAS_OPT_REAL, AT(distill), "0", 0, 1, NULL, "X",
     "share of the unpruned network's answers in what fine-tuning learns, beside the labels"},
    {"--augment", NAS_OPT_STRING, AT(augment), "cifar", 0, 0, NULL, "PRESET",
     "of fine-tuning: none, cifar or imagenet"},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

/* A command line's work. */
typedef struct work {
    const prune_options *o;
    cli_prune_task task;
    cli_session session;
    nas_agent *agent;
    nas_trainer *trainer; /* NULL: no fine-tuning */
    nas_arch *arch;       /* what is left         */
    nas_model *model;
    json_t *result;
} work;

static nas_status check(const void *options, nas_err *err)
{
    const prune_options *o = options;
    const bool given = o->ratio > 0 || o->macs > 0 || o->params > 0 || o->target_ms > 0 ||
                       o->memory_mib > 0;
    const bool wanted = o->reward == REWARD_BUDGET;

    if (given != wanted) {
        nas_fail(err, NAS_E_USAGE, wanted ? "a budget is needed"
                                          : "--reward guaranteed has no budget");
        nas_hint(err, wanted ? "say --ratio R or --macs N, --params N, --table FILE --target-ms "
                               "MS, --max-memory MIB, or several of them"
                             : "leave --ratio, --macs, --params, --target-ms and --max-memory out");
        return NAS_E_USAGE;
    }
    if (o->reward == REWARD_GUARANTEED && o->agent == (int)NAS_AGENT_UNIFORM) {
        nas_fail(err, NAS_E_USAGE, "--agent uniform looks for the largest share within a budget, "
                 "and --reward guaranteed has none");
        nas_hint(err, "say --agent ddpg, or a budget");
        return NAS_E_USAGE;
    }
    if (o->warmup > 0 && o->agent != (int)NAS_AGENT_DDPG)
        return nas_fail(err, NAS_E_USAGE, "--warmup-episodes: only --agent ddpg has them");
    if (o->ratio > 0 && o->macs > 0)
        return nas_fail(err, NAS_E_USAGE,
                        "--ratio and --macs are the same budget: say one of them");
    if ((o->table != NULL) != (o->target_ms > 0))
        return nas_fail(err, NAS_E_USAGE, "--table and --target-ms go together");
    if (o->distill > 0.0 && o->finetune_epochs == 0 && o->tune_steps == 0) {
        nas_fail(err, NAS_E_USAGE, "--distill: without training nothing is learnt");
        nas_hint(err, "say --finetune-epochs N, too");
        return NAS_E_USAGE;
    }
    return NAS_OK;
}

/* The first budget that is given is the one that costs are told of. */
static cli_prune_config config_of(const prune_options *o)
{
    static const nas_amc_measure order[] = {NAS_AMC_LATENCY, NAS_AMC_PARAMETERS, NAS_AMC_MACS,
                                            NAS_AMC_MEMORY};
    const double limit[NAS_AMC_MEASURES] = {
        [NAS_AMC_MACS] = o->macs > 0 ? (double)o->macs : o->ratio,
        [NAS_AMC_PARAMETERS] = (double)o->params,
        [NAS_AMC_LATENCY] = o->target_ms,
        [NAS_AMC_MEMORY] = o->memory_mib * CLI_MIB};
    nas_amc_config amc = {.measure = NAS_AMC_MACS, .lowest = o->least,
                          .guaranteed = o->reward == REWARD_GUARANTEED};

    memcpy(amc.beside, limit, sizeof amc.beside);
    for (int i = (int)(sizeof order / sizeof *order) - 1; i >= 0; i--)
        if (limit[order[i]] > 0.0)
            amc.measure = order[i];
    return (cli_prune_config){
        .amc = amc,
        .relative = o->ratio > 0, .table = o->table, .allow_emulated = o->allow_emulated,
        .calibration_images = (int)o->calibration_images,
        .calibration_points = (int)o->calibration_points, .judge_images = (int)o->judge_images,
        .tuning = {.steps = (int)o->tune_steps, .batch = (int)o->batch, .lr = o->lr,
                   .decay = o->decay, .distill = o->distill, .augment = o->augment,
                   .seed = (uint64_t)o->run.common.seed, .threads = (int)o->run.common.threads},
        .valid_fraction = o->valid_fraction, .seed = (uint64_t)o->run.common.seed,
        .threads = (int)o->run.common.threads};
}

/* ---- the agent's part ---- */

static const char pruned_file[] = "pruned.safetensors", policy_file[] = "policy.json";

static nas_status load_agent(void *self, const char *path, nas_err *err)
{
    return nas_agent_load(self, path, err);
}

/* What an episode came to, beside its reward. */
static nas_status on_episode(void *user, const nas_agent_episode *episode, nas_err *err)
{
    work *w = user;
    const int *channels = nas_amc_channels(w->task.amc);
    const nas_metric metrics[] = {
        {"episode_top1", nas_amc_accuracy(w->task.amc)},
        {"episode_cost", nas_amc_cost(w->task.amc, channels)},
        {"episode_macs", (double)nas_prune_cost(w->task.plan, channels).macs}};

    return nas_observe_metrics(&w->session.observer, episode->number + 1, episode->number + 1,
                               metrics, 3, err);
}

static nas_status new_agent(work *w, nas_err *err)
{
    const prune_options *o = w->o;
    const nas_env *env = nas_amc_env(w->task.amc);
    const int64_t seed = o->agent_seed > 0 ? o->agent_seed : o->run.common.seed;
    nas_agent_config config = nas_agent_amc((nas_agent_kind)o->agent, env->steps, (uint64_t)seed);
    const int64_t quarter = o->episodes / 4;

    if (o->reward == REWARD_GUARANTEED) /* its rewards are larger by that */
        config.restraint *= log((double)nas_arch_cost(w->task.arch, 0).macs);
    config.warmup = o->warmup > 0 ? o->warmup : quarter < config.warmup ? quarter : config.warmup;
    return nas_agent_new(&w->agent, env, &config, err);
}

/* Every limit, with what the unpruned network has and what is left; NULL: no memory. */
static json_t *limits_json(const work *w, const int *channels)
{
    static const nas_cost costs[NAS_AMC_MEASURES] = {
        [NAS_AMC_MACS] = NAS_COST_MACS, [NAS_AMC_PARAMETERS] = NAS_COST_PARAMETERS,
        [NAS_AMC_LATENCY] = NAS_COST_LATENCY, [NAS_AMC_MEMORY] = NAS_COST_MEMORY};
    json_t *list = json_array();

    for (int m = 0; m < NAS_AMC_MEASURES; m++) {
        const nas_cost_name *name = &nas_cost_names[costs[m]];
        const double limit = w->task.config.amc.beside[m];
        const double reached =
            limit > 0.0 ? nas_amc_cost_of(w->task.amc, (nas_amc_measure)m, channels) : 0.0;

        if (limit > 0.0)
            json_array_append_new(list, json_pack("{s:s, s:f, s:f}", "cost", name->result, "limit",
                                                  limit / name->unit, "reached",
                                                  reached / name->unit));
    }
    return list;
}

/* The policy is kept as soon as it is known, with the network before it is tuned. */
static nas_status keep_policy(work *w, double before, const nas_agent_episode *best, nas_err *err)
{
    const int *channels = nas_amc_channels(w->task.amc);
    const nas_op_cost full = nas_arch_cost(w->task.arch, 0);
    double least, most;

    nas_amc_range(w->task.amc, &least, &most);
    const double cost = nas_amc_cost(w->task.amc, channels);
    json_t *policy = json_pack(
        "{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:o, s:o}", "agent",
        nas_agent_name((nas_agent_kind)w->o->agent), "episodes", (json_int_t)w->o->episodes,
        "best_episode", (json_int_t)best->number, "reward", best->reward, "top1_before", before,
        "top1_pruned", nas_amc_accuracy(w->task.amc), "budget", w->task.config.amc.limit, "cost",
        cost, "cost_before", most, "macs_before",
        (json_int_t)full.macs, "parameters_before", (json_int_t)full.parameters, "limits",
        limits_json(w, channels), "policy", cli_prune_policy(&w->task, channels));
    char *model_path = cli_session_path(&w->session, pruned_file);
    char *policy_path = cli_session_path(&w->session, policy_file);
    nas_status status = NAS_E_NOMEM;

    if (policy == NULL || model_path == NULL || policy_path == NULL || cost < 0.0 || most < 0.0)
        nas_fail(err, status, "pruning: out of memory");
    else if ((status = nas_json_save(policy, policy_path, err)) == NAS_OK &&
             (status = cli_session_artifact(&w->session, "policy", policy_file, w->o->episodes,
                                            err)) == NAS_OK &&
             (status = nas_model_save(w->model, w->arch, model_path, err)) == NAS_OK)
        status =
            cli_session_artifact(&w->session, "pruned", pruned_file, w->o->episodes, err);
    json_decref(policy);
    free(model_path);
    free(policy_path);
    return status;
}

static nas_status choose(work *w, nas_err *err)
{
    const nas_agent_watch watch = {.user = w, .episode = on_episode};
    nas_env_outcome outcome;
    double before;
    nas_status status;

    if ((status = cli_prune_judge(&w->task, w->task.model, &before, err)) ||
        (status = cli_prune_calibrate(&w->task, err)) || (status = new_agent(w, err)) ||
        (status = cli_session_restore(&w->session, load_agent, w->agent, err)) ||
        (status = nas_agent_run(w->agent, w->o->episodes, &w->session.observer, &watch, err)))
        return status;
    const nas_agent_episode best = nas_agent_best(w->agent);
    if ((status = nas_agent_replay(nas_amc_env(w->task.amc), &best, &outcome, err)) ||
        (status = nas_pruner_apply(w->task.pruner, nas_amc_channels(w->task.amc), &w->arch,
                                   &w->model, err)))
        return status;
    return keep_policy(w, before, &best, err);
}

/* ---- what is left ---- */

/* A run that goes on behind its policy: *done is whether there is one. */
static nas_status take_up(work *w, bool *done, nas_err *err)
{
    nas_store_artifact *list = NULL;
    int count = 0;
    nas_status status = NAS_OK;

    *done = false;
    if (!w->session.continues ||
        (status = nas_store_artifact_list(w->session.store, w->session.attempt.run, "pruned",
                                          &list, &count, err)) != NAS_OK ||
        count == 0) {
        free(list);
        return status;
    }
    free(list);
    char *path = cli_session_path(&w->session, pruned_file);
    if (path == NULL)
        return nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
    status = nas_model_load(&w->model, &w->arch, path, err);
    free(path);
    *done = status == NAS_OK;
    return status;
}

/* The newest checkpoint may still be the agent's: then tuning starts at its beginning. */
static nas_status load_training(void *self, const char *path, nas_err *err)
{
    nas_safetensors *file;
    json_t *state;

    if (nas_checkpoint_open(&file, &state, path, "agent", NULL) == NAS_OK) {
        nas_safetensors_close(file);
        json_decref(state);
        return NAS_OK;
    }
    return nas_trainer_load(self, path, err);
}

static nas_status new_trainer(work *w, nas_model *model, nas_err *err)
{
    const prune_options *o = w->o;
    const nas_train_config config = {
        .epochs = o->finetune_epochs, .batch = (int)o->batch, .lr = o->lr, .momentum = 0.9,
        .decay = o->decay, .augment = o->augment, .valid_fraction = o->valid_fraction,
        .teacher = o->distill > 0.0 ? w->task.model : NULL, .distill = o->distill,
        .seed = (uint64_t)o->run.common.seed, .loader_threads = (int)o->run.common.threads,
        .memory = (nas_memory)o->run.memory};

    return nas_trainer_new(&w->trainer, model, w->task.data, &config, err);
}

/* What stands in the way of fine-tuning is said before the agent's work. */
static nas_status check_trainer(work *w, nas_err *err)
{
    const nas_status status =
        w->o->finetune_epochs > 0 ? new_trainer(w, w->task.model, err) : NAS_OK;

    nas_trainer_free(w->trainer);
    w->trainer = NULL;
    return status;
}

/* Steps count on from the agent's episodes: a step names a checkpoint. */
static nas_status tune(work *w, nas_train_result *trained, nas_err *err)
{
    nas_later later = {&w->session.observer, w->o->episodes};
    const nas_observer observer = nas_observe_later(&later);
    nas_status status;

    if ((status = new_trainer(w, w->model, err)) ||
        (status = cli_session_restore(&w->session, load_training, w->trainer, err)))
        return status;
    return nas_trainer_run(w->trainer, &observer, trained, err);
}

static nas_status report(work *w, const nas_train_result *trained, nas_err *err)
{
    char *path = cli_session_path(&w->session, policy_file);
    const bool tuned = w->o->finetune_epochs > 0;
    json_t *policy = NULL;
    double top1, before_ms, ms;
    nas_status status = path != NULL ? nas_json_load(&policy, path, err)
                                     : nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");

    free(path);
    if (status != NAS_OK || (status = cli_prune_judge(&w->task, w->model, &top1, err)) ||
        (status = cli_measure_ms(&before_ms, w->task.model, err)) ||
        (status = cli_measure_ms(&ms, w->model, err)) ||
        (status = cli_outcome_save(&w->session, w->model, w->arch,
                                   w->o->episodes + (tuned ? trained->steps : 0), w->result,
                                   err)) ||
        (w->o->out != NULL &&
         (status = nas_model_save(w->model, w->arch, w->o->out, err)))) {
        json_decref(policy);
        return status;
    }
    json_object_update_new(w->result, policy);
    json_object_update_new(
        w->result,
        json_pack("{s:f, s:o, s:I, s:I, s:f, s:f, s:f, s:f}", "top1", top1, "train_loss",
                  cli_real(tuned ? trained->train_loss : NAN), "float_size_bytes",
                  (json_int_t)nas_quant_size_bytes(w->task.model), "size_bytes",
                  (json_int_t)nas_quant_size_bytes(w->model), "measured_ms_before", before_ms,
                  "measured_ms", ms, "seconds", nas_clock_seconds() - w->session.started,
                  "peak_rss_mib", nas_system_peak_rss_mib()));
    if (w->o->out != NULL)
        json_object_set_new(w->result, "out", json_string(w->o->out));
    return NAS_OK;
}

/* What the run is made from, by the names of the options. */
static nas_status input_digests(json_t **out, const work *w, nas_err *err)
{
    char weights[NAS_DIGEST_SIZE], table[NAS_DIGEST_SIZE];
    nas_status status;

    nas_digest(w->task.model->params, w->task.model->floats * sizeof(float), weights);
    *out = json_pack("{s:s, s:s}", "data", w->task.data->digest, "model", weights);
    if (*out == NULL)
        return nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
    if (w->task.config.amc.table == NULL)
        return NAS_OK;
    if ((status = nas_latency_table_digest(w->task.config.amc.table, table, err)) == NAS_OK)
        json_object_set_new(*out, "table", json_string(table));
    return status;
}

static nas_status prune(work *w, const cli_context *context, nas_err *err)
{
    const int64_t parent = cli_model_run(context->common->store, w->o->model);
    nas_train_result trained = {0};
    json_t *inputs = NULL;
    bool chosen = false;
    nas_status status;

    if ((status = input_digests(&inputs, w, err)) == NAS_OK)
        status = cli_session_open_from(&w->session, context, parent, inputs, err);
    json_decref(inputs);
    if (status != NAS_OK)
        return status;
    cli_warn_trained_on(&w->session, parent, w->o->valid_fraction);
    w->task.observer = &w->session.observer;
    if ((w->o->table == NULL ||
         (status = cli_table_record(w->session.store, w->session.attempt,
                                    w->task.config.amc.table, w->o->table, err)) == NAS_OK) &&
        (status = take_up(w, &chosen, err)) == NAS_OK &&
        (chosen || (status = choose(w, err)) == NAS_OK) &&
        (w->o->finetune_epochs == 0 || (status = tune(w, &trained, err)) == NAS_OK))
        status = report(w, &trained, err);
    return cli_session_close(&w->session, status, status == NAS_OK ? w->result : NULL, err);
}

/* ---- what it would take ---- */

/* The best policy so far, and the first steps of tuning what it leaves. */
static nas_status time_tuning(work *w, cli_demand *demand, nas_err *err)
{
    const prune_options *o = w->o;
    const nas_agent_episode best = nas_agent_best(w->agent);
    nas_env_outcome outcome;
    nas_status status;

    if ((status = nas_agent_replay(nas_amc_env(w->task.amc), &best, &outcome, err)) ||
        (status = nas_pruner_apply(w->task.pruner, nas_amc_channels(w->task.amc), &w->arch,
                                   &w->model, err)) ||
        (status = new_trainer(w, w->model, err)))
        return status;
    return cli_demand_training(demand, w->trainer, o->finetune_epochs, o->batch,
                               o->valid_fraction * nas_dataset_split(w->task.data, "train")->count,
                               err);
}

/* The first episodes of the same agent. */
static nas_status time_episodes(work *w, cli_demand *demand, nas_err *err)
{
    cli_probe probe;
    nas_status status;

    cli_probe_init(&probe, 3);
    w->task.observer = &probe.observer;
    status = cli_probe_status(&probe, nas_agent_run(w->agent, w->o->episodes, &probe.observer,
                                                    NULL, err), err);
    w->task.observer = NULL;
    cli_demand_add(demand, (double)w->o->episodes, cli_probe_step(&probe));
    return status;
}

static nas_status dry_run(const cli_context *context, work *w, nas_err *err)
{
    const nas_op_cost full = nas_arch_cost(w->task.arch, 0);
    const double floats = (double)w->task.model->floats, started = nas_clock_seconds();
    cli_demand demand = {.folder = w->o->run.common.store,
                         .disk_bytes = cli_demand_run_bytes(floats) + sizeof(float) * floats};
    double top1, least, most;
    nas_status status;

    if ((status = cli_prune_judge(&w->task, w->task.model, &top1, err)) ||
        (status = cli_prune_calibrate(&w->task, err)) || (status = new_agent(w, err)))
        return status;
    demand.seconds = nas_clock_seconds() - started;
    if ((status = time_episodes(w, &demand, err)) ||
        (w->o->finetune_epochs > 0 && (status = time_tuning(w, &demand, err))))
        return status;
    demand.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0;
    nas_amc_range(w->task.amc, &least, &most);
    return cli_demand_emit(context,
                           json_pack("{s:I, s:I, s:f, s:f, s:f}", "macs", (json_int_t)full.macs,
                                     "parameters", (json_int_t)full.parameters, "budget",
                                     w->task.config.amc.limit, "cost_min", least, "cost_max",
                                     most),
                           &demand, err);
}

static nas_status prune_run(const cli_context *context, const void *options, nas_err *err)
{
    const prune_options *o = options;
    const cli_prune_config config = config_of(o);
    work w = {.o = o, .result = json_object()};
    const char *const read[] = {o->model, o->data, o->table};
    nas_status status = cli_check_output(read, 3, "--out", o->out, o->dry_run, err);

    if (status == NAS_OK &&
        (status = cli_prune_load(&w.task, o->model, o->data, &config, err)) == NAS_OK &&
        (status = check_trainer(&w, err)) == NAS_OK) {
        if (o->dry_run)
            status = dry_run(context, &w, err);
        else if ((status = prune(&w, context, err)) == NAS_OK)
            status = cli_emit(context, json_incref(w.result), err);
    }
    json_decref(w.result);
    nas_trainer_free(w.trainer);
    nas_agent_free(w.agent);
    nas_model_free(w.model);
    nas_arch_free(w.arch);
    cli_prune_fini(&w.task);
    return status;
}

const cli_command cmd_prune = {
    .name = "prune", .summary = "take channels out of a trained network, under a budget",
    .example = "prune --model .nas/runs/2/model.safetensors --data photos.nasd --ratio 0.5 "
               "--finetune-epochs 20",
    .tables = {prune_table, cli_run_table}, .size = sizeof(prune_options),
    .stop = CLI_STOP_RESUMES, .check = check, .run = prune_run,
};
