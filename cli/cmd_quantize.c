/* nas quantize - a trained network with fewer bits: weights, and inputs of its layers. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/quantize_task.h"
#include "nas/train/checkpoint.h"
#include "latency/table/exchange.h"
#include "nas/train/quantised_train.h"
#include "search/haq/haq.h"
#include "search/rl/agent.h"

typedef struct quantize_options {
    cli_run_options run;
    const char *model, *data, *out, *table;
    int64_t bits, input_bits, least_bits, episodes, warmup_episodes, agent_seed;
    int64_t calibration_images, tune_steps, finetune_epochs, batch, iterations;
    int method, calibration, steps, agent, start;
    double size_ratio, bitops, ratio;
    double lr, decay, distill, valid_fraction;
    const char *augment;
    bool dry_run;
} quantize_options;

enum { AGENT_NONE, AGENT_FIRST /* then in the order of nas_agent_kind */ };

#define AT(field) offsetof(quantize_options, field)

static const nas_option quantize_table[] = {
    {"--model", NAS_OPT_STRING, AT(model), NULL, 0, 0, NULL, "FILE",
     "trained network of floats: model.safetensors of a run", true},
    {"--data", NAS_OPT_STRING, AT(data), NULL, 0, 0, NULL, "FILE",
     "packed images it was trained on", true},
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "FILE",
     "copy of the quantised network, which the run keeps", false, true},
    {"--bits", NAS_OPT_INT, AT(bits), "8", 1, 8, NULL, "N",
     "of every weight and (linear) of every input; linear: at least 2; with --agent: at most, but "
     "(linear) 8 in the first and the last layer"},
    {"--input-bits", NAS_OPT_INT, AT(input_bits), NULL, 2, 8, NULL, "N",
     "linear: of every input, whatever --bits says; an agent then chooses those of weights alone, "
     "and the first and the last layer have 8"},
    {"--agent", NAS_OPT_CHOICE, AT(agent), "none", 0, 0, "none|ddpg|random|uniform|evolution", NULL,
     "who chooses the bits of each layer, under --size-ratio, --bitops or --table"},
    {"--episodes", NAS_OPT_INT, AT(episodes), "100", 1, 1e6, NULL, "N", "policies that it tries"},
    {"--warmup-episodes", NAS_OPT_INT, AT(warmup_episodes), NULL, 1, 1e6, NULL, "N",
     "ddpg: of these, at the start, at random; default: a quarter, at most 20"},
    {"--start", NAS_OPT_CHOICE, AT(start), "none", 0, 0, "none|harm", NULL,
     "the agent's first policy; harm: bits go where rounding a layer alone harms most"},
    {"--agent-seed", NAS_OPT_INT, AT(agent_seed), NULL, 1, 9007199254740992.0, NULL, "N",
     "of the agent's choices alone; default: --seed, which draws the images held out, too"},
    {"--least-bits", NAS_OPT_INT, AT(least_bits), NULL, 1, 8, NULL, "N",
     "that it may choose; default: 2"},
    {"--size-ratio", NAS_OPT_REAL, AT(size_ratio), NULL, 1e-6, 1, NULL, "R",
     "weights may take this share of their bytes as floats"},
    {"--bitops", NAS_OPT_REAL, AT(bitops), NULL, 1e-6, 1, NULL, "R",
     "MACs times bits may be this share of that at 8 by 8 bits"},
    {"--table", NAS_OPT_STRING, AT(table), NULL, 0, 0, NULL, "FILE",
     "cost by layer and bits: HAQ's array (.npy), or such a table imported; with --ratio"},
    {"--ratio", NAS_OPT_REAL, AT(ratio), NULL, 1e-6, 1, NULL, "R",
     "cost by the table may be this share of that at 8 by 8 bits"},
    {"--method", NAS_OPT_CHOICE, AT(method), "linear", 0, 0, "linear|kmeans", NULL,
     "equal steps, run on integers; or shared weights, for size alone"},
    {"--steps", NAS_OPT_CHOICE, AT(steps), "channel", 0, 0, "channel|layer", NULL,
     "linear: one step for each output channel, or for a layer"},
    {"--calibration", NAS_OPT_CHOICE, AT(calibration), "auto", 0, 0, "auto|max|kl", NULL,
     "linear: cut values at the largest seen, or where the distribution changes least; auto: the "
     "latter below 6 bits"},
    {"--calibration-images", NAS_OPT_INT, AT(calibration_images), "512", 1, 4096, NULL, "N",
     "of train that ranges and batch statistics are taken from"},
    {"--iterations", NAS_OPT_INT, AT(iterations), "50", 0, 10000, NULL, "N",
     "kmeans: of Lloyd's algorithm"},
    {"--tune-steps", NAS_OPT_INT, AT(tune_steps), "0", 0, 1e6, NULL, "N",
     "with --agent: steps of fine-tuning that each policy gets before it is judged"},
    {"--finetune-epochs", NAS_OPT_INT, AT(finetune_epochs), "0", 0, 1e6, NULL, "N",
     "passes over the images with rounded numbers"},
    {"--batch", NAS_OPT_INT, AT(batch), "64", 2, 4096, NULL, "N", "images a step"},
    {"--lr", NAS_OPT_REAL, AT(lr), "0.01", 0, 100, NULL, "X",
     "first learning rate of fine-tuning; follows a cosine to 0"},
    {"--decay", NAS_OPT_REAL, AT(decay), "4e-5", 0, 1, NULL, "X", "weight decay"},
    {"--distill", NAS_OPT_REAL, AT(distill), "0", 0, 1, NULL, "X",
     "share of the network of floats' answers in what fine-tuning learns, beside the labels"},
    {"--augment", NAS_OPT_STRING, AT(augment), "cifar", 0, 0, NULL, "PRESET",
     "what the network was trained with, for batch statistics and fine-tuning: none, cifar or "
     "imagenet"},
    {"--valid-fraction", NAS_OPT_REAL, AT(valid_fraction), "0.1", 0, 0.9, NULL, "X",
     "of the training images, held out to judge on"},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

/* A command line's work. */
typedef struct work {
    const quantize_options *o;
    cli_quantize_task task;
    cli_session session;
    nas_budget budget;    /* with an agent */
    nas_haq *haq;
    nas_env env;
    nas_agent *agent;     /* NULL: the same bits everywhere */
    nas_trainer *trainer; /* NULL: no fine-tuning           */
    nas_quantised_training training;
    nas_bits *bits;       /* [sites]: the policy                            */
    bool tuned;           /* a checkpoint of fine-tuning was loaded         */
    double float_top1, float_ms, episode_top1;
    json_t *result;
} work;

static int64_t least_bits(const quantize_options *o)
{
    return o->least_bits > 0 ? o->least_bits : 2;
}

/* Options that would do nothing where they are given. */
static nas_status check_effects(const quantize_options *o, nas_err *err)
{
    const char *const of_agents = o->agent_seed > 0  ? "--agent-seed"
                                  : o->least_bits > 0 ? "--least-bits"
                                                      : NULL;

    if (o->agent == AGENT_NONE && of_agents != NULL) {
        nas_fail(err, NAS_E_USAGE, "%s: is for an agent, which chooses the bits of each layer",
                 of_agents);
        nas_hint(err, "say --agent ddpg and a budget, or --bits N for the same everywhere");
        return NAS_E_USAGE;
    }
    if (o->warmup_episodes > 0 && o->agent != AGENT_FIRST + NAS_AGENT_DDPG)
        return nas_fail(err, NAS_E_USAGE, "--warmup-episodes: only --agent ddpg has them");
    if (o->agent == AGENT_NONE && o->tune_steps > 0) {
        nas_fail(err, NAS_E_USAGE, "--tune-steps: is of the policies that an agent tries");
        nas_hint(err, "say --finetune-epochs N, or --agent ddpg");
        return NAS_E_USAGE;
    }
    if (o->start != 0 && (o->agent == AGENT_NONE || o->agent == AGENT_FIRST + NAS_AGENT_UNIFORM)) {
        nas_fail(err, NAS_E_USAGE, "--start: is the first policy of an agent that may choose any");
        nas_hint(err, "say --agent ddpg or --agent evolution");
        return NAS_E_USAGE;
    }
    if (o->distill > 0.0 && o->finetune_epochs == 0 && o->tune_steps == 0) {
        nas_fail(err, NAS_E_USAGE, "--distill: without training nothing is learnt");
        nas_hint(err, "say --finetune-epochs N, too");
        return NAS_E_USAGE;
    }
    if (o->method != NAS_QUANT_KMEANS)
        return NAS_OK;
    if (o->input_bits > 0)
        return nas_fail(err, NAS_E_USAGE, "--input-bits: with --method kmeans inputs stay floats");
    if (o->calibration != NAS_CALIBRATION_AUTO || o->steps != 0) {
        nas_fail(err, NAS_E_USAGE, "%s: with --method kmeans there are neither ranges nor steps",
                 o->steps != 0 ? "--steps" : "--calibration");
        nas_hint(err, "leave it out, or say --method linear");
        return NAS_E_USAGE;
    }
    return NAS_OK;
}

static nas_status check_budget(const quantize_options *o, nas_err *err)
{
    const int given = (o->size_ratio > 0) + (o->bitops > 0) + (o->table != NULL);

    if (o->agent == AGENT_NONE && given > 0) {
        nas_fail(err, NAS_E_USAGE, "a budget is for an agent, which chooses the bits of each layer");
        nas_hint(err, "say --agent ddpg, or --bits N for the same everywhere");
        return NAS_E_USAGE;
    }
    if (o->agent != AGENT_NONE && given != 1) {
        nas_fail(err, NAS_E_USAGE, "--agent needs one budget, but there %s %d",
                 given == 1 ? "is" : "are", given);
        nas_hint(err, "say --size-ratio R, --bitops R, or --table FILE --ratio R");
        return NAS_E_USAGE;
    }
    if ((o->table != NULL) != (o->ratio > 0))
        return nas_fail(err, NAS_E_USAGE, "--table and --ratio go together");
    if (o->method == NAS_QUANT_KMEANS && (o->bitops > 0 || o->table != NULL))
        return nas_fail(err, NAS_E_USAGE, "--method kmeans makes a network smaller, not faster: "
                        "its budget is --size-ratio");
    if (o->agent != AGENT_NONE && least_bits(o) > o->bits)
        return nas_fail(err, NAS_E_USAGE, "--least-bits %lld is above --bits %lld",
                        (long long)least_bits(o), (long long)o->bits);
    return NAS_OK;
}

static nas_status check(const void *options, nas_err *err)
{
    const quantize_options *o = options;
    nas_status status;

    if ((status = check_budget(o, err)) || (status = check_effects(o, err)))
        return status;
    if (o->method == NAS_QUANT_LINEAR &&
        (o->bits < 2 || (o->agent != AGENT_NONE && least_bits(o) < 2)))
        return nas_fail(err, NAS_E_USAGE, "--method linear needs at least 2 bits: minus, zero, "
                        "plus");
    return NAS_OK;
}

/* ---- the agent ---- */

static nas_status judge(void *user, const nas_bits *bits, double *accuracy, nas_err *err)
{
    work *w = user;
    const nas_observer *observer = &w->session.observer;
    nas_status status;

    if ((status = cli_quantize_apply(&w->task, bits, observer, err)) ||
        (status = cli_quantize_tune(&w->task, &w->training.hooks, observer, err)) ||
        (status = cli_quantize_judge(&w->task, observer, accuracy, err)))
        return status;
    w->episode_top1 = *accuracy;
    return NAS_OK;
}

/* What an episode came to, beside its reward. */
static nas_status on_episode(void *user, const nas_agent_episode *episode, nas_err *err)
{
    const work *w = user;
    const nas_metric metrics[] = {
        {"episode_top1", w->episode_top1},
        {"episode_cost_ratio", nas_budget_cost(&w->budget, nas_haq_bits(w->haq)) /
                                   nas_budget_full(&w->budget)}};

    return nas_observe_metrics(&w->session.observer, episode->number + 1, episode->number + 1,
                               metrics, 2, err);
}

static nas_status load_budget(work *w, nas_err *err)
{
    const quantize_options *o = w->o;
    const double ratio = o->table != NULL ? o->ratio : o->bitops > 0 ? o->bitops : o->size_ratio;
    nas_latency_table *table = NULL;
    nas_status status = NAS_OK;

    w->budget = (nas_budget){
        .kind = o->table != NULL ? NAS_BUDGET_TABLE
                : o->bitops > 0  ? NAS_BUDGET_BITOPS
                                 : NAS_BUDGET_SIZE,
        .count = nas_quantizer_count(w->task.quantizer),
        .site = nas_quantizer_sites(w->task.quantizer), .least = (int)least_bits(o),
        .most = (int)o->bits, .inputs = o->method == NAS_QUANT_LINEAR && o->input_bits == 0,
        .input = (int)o->input_bits,
        .pin_ends = o->method == NAS_QUANT_LINEAR};
    if (o->table != NULL && /* ratios do not depend on the clock */
        (status = nas_latency_table_import(&table, o->table, 1.0, err)) == NAS_OK)
        status = nas_budget_load(&w->budget, table, o->table, err);
    nas_latency_table_free(table);
    return status == NAS_OK ? nas_budget_set(&w->budget, ratio, err) : status;
}

static uint64_t agent_seed(const quantize_options *o)
{
    return (uint64_t)(o->agent_seed > 0 ? o->agent_seed : o->run.common.seed);
}

static nas_status load_agent(work *w, nas_err *err)
{
    const quantize_options *o = w->o;
    const nas_haq_judge judging = {.user = w, .judge = judge, .reference = w->float_top1};
    nas_status status;

    if (o->agent == AGENT_NONE)
        return NAS_OK;
    if ((status = nas_haq_new(&w->haq, &w->budget, &judging, err)) != NAS_OK)
        return status;
    w->env = nas_haq_env(w->haq);
    nas_agent_config config = nas_agent_haq((nas_agent_kind)(o->agent - AGENT_FIRST), w->env.steps,
                                            agent_seed(o));
    if (o->warmup_episodes > 0)
        config.warmup = o->warmup_episodes;
    else if (config.warmup > o->episodes / 4)
        config.warmup = o->episodes / 4;
    nas_agent_fade(&config, o->episodes);
    return nas_agent_new(&w->agent, &w->env, &config, err);
}

/* Gives an agent that has not played yet its first policy. */
static nas_status start_agent(work *w, nas_err *err)
{
    const nas_budget *b = &w->budget;
    nas_harm *harm = NULL;
    float *actions = NULL;
    nas_bits *bits = NULL;
    nas_status status = NAS_E_NOMEM;

    if (w->agent == NULL || w->o->start == 0 || nas_agent_episodes(w->agent) > 0)
        return NAS_OK;
    harm = calloc((size_t)b->count, sizeof *harm);
    bits = calloc((size_t)b->count, sizeof *bits);
    actions = calloc((size_t)w->env.steps, sizeof *actions);
    if (harm == NULL || bits == NULL || actions == NULL)
        nas_fail(err, status, "quantisation: out of memory");
    else
        status = cli_quantize_harm(&w->task, b->least, b->inputs, harm, &w->session.observer, err);
    if (status == NAS_OK) {
        nas_budget_greedy(b, harm, bits);
        nas_haq_actions(b, bits, actions);
        nas_agent_start(w->agent, actions);
    }
    free(harm);
    free(bits);
    free(actions);
    return status;
}

static const char episode_file[] = "episode.json";

/* Which episode the policy is of; a run that goes on in its fine-tuning tells of it, too. */
static nas_status keep_episode(work *w, const nas_agent_episode *best, nas_err *err)
{
    json_t *episode = json_pack("{s:I, s:f}", "best_episode", (json_int_t)best->number, "reward",
                                best->reward);
    char *path = cli_session_path(&w->session, episode_file);
    nas_status status = NAS_E_NOMEM;

    if (episode == NULL || path == NULL)
        nas_fail(err, status, "quantisation: out of memory");
    else if ((status = nas_json_save(episode, path, err)) == NAS_OK)
        status = cli_session_artifact(&w->session, "episode", episode_file, w->o->episodes, err);
    json_decref(episode);
    free(path);
    return status;
}

/* Members best_episode and reward of the result; runs of older versions may not have kept them. */
static void tell_episode(work *w)
{
    char *path = cli_session_path(&w->session, episode_file);
    json_t *episode = NULL;

    if (path != NULL && nas_path_exists(path) && nas_json_load(&episode, path, NULL) == NAS_OK)
        json_object_update(w->result, episode);
    json_decref(episode);
    free(path);
}

/* The best policy of all episodes. */
static nas_status choose_bits(work *w, nas_err *err)
{
    const nas_agent_watch watch = {.user = w, .episode = on_episode};
    nas_env_outcome outcome;
    nas_status status;

    if (w->agent == NULL || w->tuned)
        return NAS_OK;
    if ((status = start_agent(w, err)) ||
        (status = nas_agent_run(w->agent, w->o->episodes, &w->session.observer, &watch, err)))
        return status;
    const nas_agent_episode best = nas_agent_best(w->agent);
    if ((status = nas_agent_replay(&w->env, &best, &outcome, err)) != NAS_OK)
        return status;
    memcpy(w->bits, nas_haq_bits(w->haq), (size_t)w->budget.count * sizeof *w->bits);
    return keep_episode(w, &best, err);
}

/* ---- the network ---- */

static nas_status load(work *w, nas_err *err)
{
    const quantize_options *o = w->o;
    const uint64_t seed = (uint64_t)o->run.common.seed;
    const cli_quantize_config config = {
        .quantizer = {.method = (nas_quant_method)o->method,
                      .calibration = (nas_calibration)o->calibration,
                      .per_channel = o->steps == 0, .iterations = (int)o->iterations,
                      .seed = seed},
        .calibration_images = (int)o->calibration_images, .augment = o->augment,
        .tuning = {.steps = (int)o->tune_steps, .batch = (int)o->batch, .lr = o->lr,
                   .decay = o->decay, .distill = o->distill, .augment = o->augment, .seed = seed,
                   .threads = (int)o->run.common.threads},
        .taught = o->distill > 0.0, .valid_fraction = o->valid_fraction, .seed = seed,
        .threads = (int)o->run.common.threads};
    nas_train_config training = {
        .epochs = o->finetune_epochs, .batch = (int)o->batch, .lr = o->lr, .momentum = 0.9,
        .decay = o->decay, .augment = o->augment, .valid_fraction = o->valid_fraction,
        .seed = seed, .loader_threads = config.threads, .memory = (nas_memory)o->run.memory,
        .distill = o->distill, .hooks = &w->training.hooks};
    nas_status status = cli_quantize_load(&w->task, o->model, o->data, &config, err);

    if (status != NAS_OK)
        return status;
    training.teacher = w->task.teacher;
    const int count = nas_quantizer_count(w->task.quantizer);
    w->bits = calloc((size_t)count, sizeof *w->bits);
    if (w->bits == NULL)
        return nas_fail(err, NAS_E_NOMEM, "quantisation: out of memory");
    for (int i = 0; i < count; i++)
        w->bits[i] = (nas_bits){(int)o->bits, (int)(o->input_bits ? o->input_bits : o->bits)};
    if (o->agent != AGENT_NONE && (status = load_budget(w, err)) != NAS_OK)
        return status;
    nas_quantised_training_init(&w->training, w->task.quantizer, 0.9, o->decay);
    return o->finetune_epochs > 0
               ? nas_trainer_new(&w->trainer, w->task.model, w->task.data, &training, err)
               : NAS_OK;
}

/* A checkpoint of the agent, or of fine-tuning with the policy that it goes on with. */
static nas_status restore(void *self, const char *path, nas_err *err)
{
    work *w = self;
    nas_safetensors *file = NULL;
    nas_status status = nas_safetensors_open(&file, path, true, err);

    if (status != NAS_OK)
        return status;
    const char *kind = nas_safetensors_meta(file, "nas.kind");
    const bool tuning = kind != NULL && strcmp(kind, "train") == 0;
    if (tuning)
        status = nas_quantised_training_policy(file, w->task.quantizer, w->bits, err);
    nas_safetensors_close(file);
    if (!tuning && w->agent != NULL)
        return nas_agent_load(w->agent, path, err);
    if (status != NAS_OK || w->trainer == NULL ||
        (status = nas_quantizer_apply(w->task.quantizer, w->bits, err)) != NAS_OK)
        return status;
    status = nas_trainer_load(w->trainer, path, err);
    w->tuned = status == NAS_OK;
    return status;
}

/* Fine-tuning counts its steps on from the agent's episodes: a step names a checkpoint. */
static nas_status finetune(work *w, nas_train_result *trained, nas_err *err)
{
    nas_later later = {&w->session.observer, w->agent != NULL ? w->o->episodes : 0};
    const nas_observer observer = nas_observe_later(&later);

    return w->trainer != NULL ? nas_trainer_run(w->trainer, &observer, trained, err) : NAS_OK;
}

static nas_status copy_out(const work *w, nas_err *err)
{
    return w->o->out != NULL ? nas_model_save(w->task.model, w->task.arch, w->o->out, err) : NAS_OK;
}

static void describe(work *w, const nas_train_result *trained, double top1, double ms,
                     int64_t float_bytes)
{
    static const char *const calibrations[] = {"auto", "max", "kl"};
    const int64_t bytes = nas_quant_size_bytes(w->task.model);
    if (w->agent != NULL) {
        tell_episode(w);
        json_object_update_new(
            w->result,
            json_pack("{s:s, s:I, s:f, s:f}", "agent",
                      nas_agent_name((nas_agent_kind)(w->o->agent - AGENT_FIRST)), "episodes",
                      (json_int_t)w->o->episodes, "budget_ratio",
                      w->budget.target / nas_budget_full(&w->budget), "cost_ratio",
                      nas_budget_cost(&w->budget, w->bits) / nas_budget_full(&w->budget)));
    }
    json_object_update_new(
        w->result,
        json_pack("{s:s, s:s, s:I, s:I, s:f, s:o, s:o, s:f, s:f, s:I, s:f, s:f, s:o}", "method",
                  w->o->method == NAS_QUANT_LINEAR ? "linear" : "kmeans", "calibration",
                  calibrations[w->o->calibration], "size_bytes", (json_int_t)bytes,
                  "float_size_bytes", (json_int_t)float_bytes, "size_ratio",
                  (double)bytes / (double)float_bytes, "float_valid_top1", cli_real(w->float_top1),
                  "valid_top1", cli_real(top1), "measured_ms_before", w->float_ms, "measured_ms",
                  ms, "steps", (json_int_t)trained->steps, "seconds",
                  nas_clock_seconds() - w->session.started, "peak_rss_mib",
                  nas_system_peak_rss_mib(), "policy", cli_quantize_policy(&w->task)));
}

static nas_status quantise(work *w, nas_err *err)
{
    const nas_observer *observer = &w->session.observer;
    const int64_t float_bytes = nas_quant_size_bytes(w->task.model);
    nas_train_result trained = {0};
    double top1, ms;
    nas_status status;

    if ((status = cli_quantize_judge(&w->task, observer, &w->float_top1, err)) ||
        (status = cli_measure_ms(&w->float_ms, w->task.model, err)) ||
        (status = load_agent(w, err)) ||
        ((w->trainer != NULL || w->agent != NULL) &&
         (status = cli_session_restore(&w->session, restore, w, err))) ||
        (status = choose_bits(w, err)) ||
        (!w->tuned && (status = cli_quantize_apply(&w->task, w->bits, observer, err))) ||
        (status = finetune(w, &trained, err)) ||
        (status = cli_quantize_judge(&w->task, observer, &top1, err)) ||
        (status = cli_measure_ms(&ms, w->task.model, err)) ||
        (status = cli_outcome_save(&w->session, w->task.model, w->task.arch, trained.steps,
                                   w->result, err)) ||
        (status = copy_out(w, err)))
        return status;
    describe(w, &trained, top1, ms, float_bytes);
    return NAS_OK;
}

/* ---- what it would take ---- */

/* The first episodes of the same agent; without one the one policy. */
static nas_status time_policies(work *w, cli_demand *demand, nas_err *err)
{
    const double started = nas_clock_seconds();
    cli_probe probe;
    nas_status status;

    if (w->agent == NULL) {
        status = cli_quantize_apply(&w->task, w->bits, NULL, err);
        cli_demand_add(demand, 1, nas_clock_seconds() - started);
        return status;
    }
    if ((status = start_agent(w, err)) != NAS_OK)
        return status;
    demand->seconds += nas_clock_seconds() - started;
    cli_probe_init(&probe, 3);
    w->session.observer = probe.observer;
    status = cli_probe_status(&probe, nas_agent_run(w->agent, w->o->episodes, &probe.observer,
                                                    NULL, err), err);
    cli_demand_add(demand, (double)w->o->episodes, cli_probe_step(&probe));
    return status;
}

static nas_status dry_run(const cli_context *context, work *w, nas_err *err)
{
    const quantize_options *o = w->o;
    const nas_op_cost cost = nas_arch_cost(w->task.arch, 0);
    const double started = nas_clock_seconds();
    cli_demand demand = {.folder = o->run.common.store,
                         .disk_bytes = cli_demand_run_bytes((double)w->task.model->floats)};
    nas_status status;

    if ((status = cli_quantize_judge(&w->task, NULL, &w->float_top1, err)) ||
        (status = load_agent(w, err)))
        return status;
    demand.seconds = 2.0 * (nas_clock_seconds() - started); /* before and after */
    if ((status = time_policies(w, &demand, err)) ||
        (w->trainer != NULL &&
         (status = cli_demand_training(
              &demand, w->trainer, o->finetune_epochs, o->batch,
              o->valid_fraction * nas_dataset_split(w->task.data, "train")->count, err))))
        return status;
    demand.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0;
    return cli_demand_emit(context,
                           json_pack("{s:I, s:I, s:i}", "macs", (json_int_t)cost.macs,
                                     "parameters", (json_int_t)cost.parameters, "layers",
                                     nas_quantizer_count(w->task.quantizer)),
                           &demand, err);
}

/* The quantised network is made from the images and from the parameters of the one of floats. */
static json_t *inputs(const work *w)
{
    char weights[NAS_DIGEST_SIZE], table[NAS_DIGEST_SIZE];

    nas_digest(w->task.model->params, w->task.model->floats * sizeof(float), weights);
    json_t *all = json_pack("{s:s, s:s}", "data", w->task.data->digest, "model", weights);
    if (all != NULL && w->budget.table != NULL) {
        nas_digest(w->budget.table, (size_t)w->budget.count * sizeof *w->budget.table, table);
        json_object_set_new(all, "table", json_string(table));
    }
    return all;
}

static nas_status quantize_run(const cli_context *context, const void *options, nas_err *err)
{
    work w = {.o = options, .result = json_object()};
    const char *const read[] = {w.o->model, w.o->data, w.o->table};
    nas_status status = cli_check_output(read, 3, "--out", w.o->out, w.o->dry_run, err);

    if (status != NAS_OK || (status = load(&w, err)) != NAS_OK)
        goto done;
    if (w.o->dry_run) {
        status = dry_run(context, &w, err);
        goto done;
    }
    json_t *from = inputs(&w);
    const int64_t parent = cli_model_run(context->common->store, w.o->model);
    status = cli_session_open_from(&w.session, context, parent, from, err);
    json_decref(from);
    if (status != NAS_OK)
        goto done;
    cli_warn_trained_on(&w.session, parent, w.o->valid_fraction);
    status = quantise(&w, err);
    status = cli_session_close(&w.session, status, status == NAS_OK ? w.result : NULL, err);
    if (status == NAS_OK)
        status = cli_emit(context, json_incref(w.result), err);

done:
    json_decref(w.result);
    nas_trainer_free(w.trainer);
    nas_agent_free(w.agent);
    nas_haq_free(w.haq);
    free(w.budget.table);
    cli_quantize_fini(&w.task);
    free(w.bits);
    return status;
}

const cli_command cmd_quantize = {
    .name = "quantize", .summary = "fewer bits for the weights and activations of a trained network",
    .example = "quantize --model .nas/runs/2/model.safetensors --data photos.nasd --bits 8 "
               "--finetune-epochs 2",
    .tables = {quantize_table, cli_run_table}, .size = sizeof(quantize_options),
    .stop = CLI_STOP_RESUMES, .check = check, .run = quantize_run,
};
