/* nas search - the main job: a network for these images under a latency target or other limits. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/ranks.h"
#include "cli/search_task.h"
#include "nas/space/memory.h"

#define AT(field) offsetof(cli_search_options, field)

static const nas_option task_table[] = {
    {"--data", NAS_OPT_STRING, AT(data), NULL, 0, 0, NULL, "FILE", "packed images", true},
    {"--space", NAS_OPT_STRING, AT(space), NULL, 0, 0, NULL, "SPACE",
     "name of a built-in space, or its JSON file", true},
    {"--table", NAS_OPT_STRING, AT(table), NULL, 0, 0, NULL, "FILE",
     "latency table, or a folder of tables by image size; needed for --target-ms"},
    {"--target-ms", NAS_OPT_REAL, AT(target_ms), NULL, 1e-6, 1e6, NULL, "MS",
     "latency that the network must not exceed, by the table"},
    CLI_COST_LIMIT_ROWS(AT(limits)),
    {"--objective", NAS_OPT_STRING, AT(objective), NULL, 0, 0, NULL, "COST[,COST...]",
     "latency, macs, parameters, memory: which of these limits training presses for, too; default: "
     "latency if it has a target, otherwise all that are given"},
    CLI_ALLOW_EMULATED(AT(allow_emulated)),
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

static const nas_option method_table[] = {
    {"--method", NAS_OPT_CHOICE, AT(method), "gradient", 0, 0,
     "gradient|reinforce|evolution|random", NULL, "how architectures are chosen"},
    {"--arch-mode", NAS_OPT_CHOICE, AT(arch_mode), "full", 0, 0, "two|full", NULL,
     "candidates that an architecture step compares"},
    {"--latency-loss", NAS_OPT_CHOICE, AT(latency_loss), "mul-log", 0, 0, "mul-log|add-linear",
     NULL, "how the expected latency, and other objectives, enter the loss"},
    {"--epochs", NAS_OPT_INT, AT(epochs), "120", 0, 1e6, NULL, "N",
     "passes that train weights and architecture"},
    {"--warmup-epochs", NAS_OPT_INT, AT(warmup_epochs), "40", 0, 1e6, NULL, "N",
     "passes before them that train weights alone"},
    {"--batch", NAS_OPT_INT, AT(batch), "64", 2, 4096, NULL, "N", "images a step"},
    {"--max-minutes", NAS_OPT_REAL, AT(max_minutes), "0", 0, 1e7, NULL, "MIN",
     "stop training then and choose; 0: no limit"},
    CLI_SYNC_BN(AT(sync_bn)),
    {"--warmup-lr", NAS_OPT_REAL, AT(warmup_lr), "0.05", 0, 100, NULL, "X",
     "first learning rate of the warm-up (cosine)"},
    {"--lr", NAS_OPT_REAL, AT(lr), "0.025", 0, 100, NULL, "X",
     "first learning rate of the search (cosine)"},
    {"--decay", NAS_OPT_REAL, AT(decay), "4e-5", 0, 1, NULL, "X", "weight decay"},
    {"--clip-norm", NAS_OPT_REAL, AT(clip_norm), "1", 0, 1e9, NULL, "X",
     "longest gradient of a weight step; longer ones are shortened; 0: any"},
    {"--label-smoothing", NAS_OPT_REAL, AT(label_smoothing), "0.1", 0, 0.99, NULL, "X",
     "share of the label given to all classes"},
    {"--augment", NAS_OPT_STRING, AT(augment), "cifar", 0, 0, NULL, "PRESET",
     "none, cifar (shift, flip) or imagenet (crop, flip, colour)"},
    {"--valid-fraction", NAS_OPT_REAL, AT(valid_fraction), "0.1", 0.001, 0.9, NULL, "X",
     "of the training images, held out for the architecture"},
    {"--arch-every", NAS_OPT_INT, AT(arch_every), "5", 1, 1e6, NULL, "N",
     "weight steps for each architecture step"},
    {"--arch-lr", NAS_OPT_REAL, AT(arch_lr), "0", 0, 100, NULL, "X",
     "learning rate of the architecture (Adam); 0: by the number of steps"},
    {"--rl-samples", NAS_OPT_INT, AT(rl_samples), "4", 1, 1000, NULL, "N",
     "reinforce: networks an update"},
    {"--derive-samples", NAS_OPT_INT, AT(derive_samples), "10", 1, 10000, NULL, "N",
     "networks judged at the end"},
    {"--score-images", NAS_OPT_INT, AT(score_images), "1000", 1, 1e7, NULL, "N",
     "validation images that judge each"},
    CLI_VERIFY_ROWS(AT(verify)),
    {0},
};

/* Limits as the search counts them; 0: none. */
static void limits_of(double out[NAS_COSTS], const cli_search_options *o)
{
    out[NAS_COST_LATENCY] = o->target_ms;
    out[NAS_COST_MACS] = o->limits.max_macs;
    out[NAS_COST_PARAMETERS] = o->limits.max_parameters;
    out[NAS_COST_MEMORY] = o->limits.max_memory_mib * CLI_MIB;
}

/* The cost of that name; NAS_COSTS: none. */
static nas_cost cost_named(const char *name, size_t length)
{
    nas_cost cost = 0;

    while (cost < NAS_COSTS && (strlen(nas_cost_names[cost].option) != length ||
                                memcmp(name, nas_cost_names[cost].option, length) != 0))
        cost++;
    return cost;
}

static nas_status objectives_of(bool out[NAS_COSTS], const cli_search_options *o, nas_err *err)
{
    double limit[NAS_COSTS];
    size_t length;

    limits_of(limit, o);
    for (int k = 0; k < NAS_COSTS; k++)
        out[k] = o->objective == NULL && limit[k] > 0.0 &&
                 (k == NAS_COST_LATENCY || !out[NAS_COST_LATENCY]);
    for (const char *at = o->objective; at != NULL;
         at = at[length] != '\0' ? at + length + 1 : NULL) {
        length = strcspn(at, ",");
        const nas_cost cost = cost_named(at, length);

        if (cost == NAS_COSTS) {
            nas_fail(err, NAS_E_USAGE, "--objective: '%.*s' is no cost",
                     (int)(length < 40 ? length : 40), at);
            nas_hint(err, "latency, macs, parameters and memory are, several separated by commas");
            return NAS_E_USAGE;
        }
        out[cost] = true;
    }
    return NAS_OK;
}

static nas_status check(const void *options, nas_err *err)
{
    static const char *const flags[NAS_COSTS] = {"--target-ms", "--max-macs", "--max-parameters",
                                                 "--max-memory"};
    const cli_search_options *o = options;
    bool objective[NAS_COSTS], any = false;
    double limit[NAS_COSTS];
    const nas_status status = objectives_of(objective, o, err);

    if (status != NAS_OK)
        return status;
    limits_of(limit, o);
    for (int k = 0; k < NAS_COSTS; k++) {
        any = any || limit[k] > 0.0;
        if (!objective[k] || limit[k] > 0.0)
            continue;
        nas_fail(err, NAS_E_USAGE, "--objective: %s has no limit", nas_cost_names[k].option);
        nas_hint(err, "training presses for what is above its limit: give %s", flags[k]);
        return NAS_E_USAGE;
    }
    if (o->epochs + o->warmup_epochs == 0)
        return nas_fail(err, NAS_E_USAGE,
                        "--epochs and --warmup-epochs: one of them must be at least 1");
    if (!any) {
        nas_fail(err, NAS_E_USAGE, "a limit is required: what may the network cost?");
        nas_hint(err, "say --table FILE --target-ms MS, --max-macs N, --max-parameters N, "
                 "--max-memory MIB, or several of them");
        return NAS_E_USAGE;
    }
    if (o->target_ms > 0.0 && o->table == NULL) {
        nas_fail(err, NAS_E_USAGE, "--target-ms goes by a latency table: --table is required");
        nas_hint(err, "nas profile makes one for this machine");
        return NAS_E_USAGE;
    }
    if (o->verify.top > 0 && !(o->target_ms > 0.0)) {
        nas_fail(err, NAS_E_USAGE, "--verify-top measures whether a target is met: there is none");
        nas_hint(err, "say --target-ms MS");
        return NAS_E_USAGE;
    }
    return NAS_OK;
}

nas_search_config cli_search_config(const cli_search_options *o)
{
    nas_search_config c = nas_search_default(o->target_ms);

    objectives_of(c.objective, o, NULL);
    c.max_macs = o->limits.max_macs;
    c.max_parameters = o->limits.max_parameters;
    c.max_memory_bytes = o->limits.max_memory_mib * CLI_MIB;
    c.method = (nas_search_method)o->method;
    c.arch_mode = (nas_arch_mode)o->arch_mode;
    c.latency_loss = (nas_latency_loss_kind)o->latency_loss;
    c.warmup_epochs = o->warmup_epochs;
    c.epochs = o->epochs;
    c.batch = (int)o->batch;
    c.warmup_lr = o->warmup_lr;
    c.lr = o->lr;
    c.decay = o->decay;
    c.clip_norm = o->clip_norm;
    c.label_smoothing = o->label_smoothing;
    c.augment = o->augment;
    c.valid_fraction = o->valid_fraction;
    c.arch_every = (int)o->arch_every;
    c.arch_lr = o->arch_lr;
    c.rl_samples = (int)o->rl_samples;
    c.derive_samples = (int)o->derive_samples;
    c.score_images = (int)o->score_images;
    c.verify_top = (int)o->verify.top;
    c.sync_bn = o->sync_bn;
    c.comm = cli_ranks();
    c.memory = (nas_memory)o->run.memory;
    c.max_minutes = o->max_minutes;
    c.seed = (uint64_t)o->run.common.seed;
    c.loader_threads = (int)o->run.common.threads;
    return c;
}

/* Adds the fastest network that there is. */
static nas_status show_fastest(json_t *about, const cli_search_task *task, nas_err *err)
{
    int fastest[NAS_MAX_SLOTS];
    double least, most;
    json_t *closest = NULL;
    nas_arch *arch = NULL;
    nas_status status;

    nas_latency_lut_range(task->lut, task->space, &least, &most, fastest, NULL);
    if ((status = nas_space_arch(&arch, task->space, fastest, err)) == NAS_OK &&
        (status = cli_arch_json(&closest, arch, err)) == NAS_OK)
        json_object_update_new(about, json_pack("{s:f, s:f, s:f, s:o}", "target_ms",
                                                task->config.target_ms, "latency_ms", least,
                                                "slowest_ms", most, "closest", closest));
    nas_arch_free(arch);
    return status;
}

/* What no search can meet: shows what is in reach. */
static nas_status emit_closest(const cli_context *context, const cli_search_task *task,
                               const cli_search_options *o, nas_err *err)
{
    nas_problem problem;
    double limit[NAS_COSTS];
    json_t *about = NULL;
    nas_status status = nas_problem_init(
        &problem, task->space, 0, NULL,
        task->lut != NULL ? (const nas_latency_lut *const *)&task->lut : NULL, err);

    limits_of(limit, o);
    for (int k = 0; k < NAS_COSTS; k++)
        problem.limit[k] = limit[k] > 0.0 ? limit[k] : INFINITY;
    if (status == NAS_OK) {
        about = cli_limits_infeasible(&problem, task->lut != NULL);
        status = about == NULL ? nas_fail(err, NAS_E_NOMEM, "search: out of memory") : NAS_OK;
    }
    if (status == NAS_OK && o->target_ms > 0.0)
        status = show_fastest(about, task, err);
    if (status == NAS_OK)
        status = cli_emit(context, json_incref(about), err);
    json_decref(about);
    nas_problem_fini(&problem);
    return status;
}

static nas_status load(void *self, const char *path, nas_err *err)
{
    return nas_search_load(self, path, err);
}

/* The limits with what the network came to, and what training pressed for. */
static json_t *limits_json(const nas_search_config *c, const nas_arch *arch, double latency_ms)
{
    const nas_op_cost cost = nas_arch_cost(arch, 0);
    const double limit[NAS_COSTS] = {c->target_ms, c->max_macs, c->max_parameters,
                                     c->max_memory_bytes};
    const double reached[NAS_COSTS] = {latency_ms, (double)cost.macs, (double)cost.parameters,
                                       (double)nas_arch_memory(arch, 0)};
    const bool pressed = c->method == NAS_SEARCH_GRADIENT || c->method == NAS_SEARCH_REINFORCE;
    json_t *list = json_array();

    for (int k = 0; k < NAS_COSTS; k++)
        if (limit[k] > 0.0)
            json_array_append_new(
                list, json_pack("{s:s, s:f, s:f, s:b}", "cost", nas_cost_names[k].result, "limit",
                                limit[k] / nas_cost_names[k].unit, "reached",
                                reached[k] / nas_cost_names[k].unit, "objective",
                                pressed && c->objective[k]));
    return list;
}

/* The chosen network with the supernet's weights, in the run's files and in `result`. */
static nas_status save_choice(cli_session *session, const cli_search_task *task,
                              const nas_search_result *found, json_t *result, nas_err *err)
{
    nas_arch *arch = NULL;
    nas_model *model = NULL;
    nas_status status;

    if ((status = nas_space_arch(&arch, task->space, found->choice, err)) == NAS_OK &&
        (status = nas_model_new_arch(&model, arch, err)) == NAS_OK) {
        nas_model_inherit(model, nas_search_model(task->search), found->choice);
        if ((status = cli_outcome_record(session->store, session->attempt, "derived", task->space,
                                         found->judgement, found->judged, err)) == NAS_OK)
            status = cli_outcome_save(session, model, arch, found->steps, result, err);
        const nas_op_cost cost = nas_arch_cost(arch, 0);
        json_object_update_new(
            result, json_pack("{s:I, s:I, s:f}", "macs", (json_int_t)cost.macs, "parameters",
                              (json_int_t)cost.parameters, "activation_mib",
                              (double)nas_arch_memory(arch, 0) / CLI_MIB));
        json_object_set_new(result, "limits", limits_json(&task->config, arch, found->latency_ms));
    }
    nas_model_free(model);
    nas_arch_free(arch);
    return status;
}

/* NAS_E_INFEASIBLE: how near the search came. */
static nas_status fail_closest(const cli_search_task *task, const nas_search_result *found,
                               nas_err *err)
{
    if (found->verified == 0)
        return nas_fail(err, NAS_E_INFEASIBLE, "the closest network found takes %.6g ms",
                        found->latency_ms);
    return cli_verified_fail(found->judgement, found->verified, task->config.target_ms, err);
}

/* What the search is made from, by the names of the options. */
static nas_status input_digests(json_t **out, const cli_search_task *task, nas_err *err)
{
    char space[NAS_DIGEST_SIZE], table[NAS_DIGEST_SIZE];
    nas_status status;

    if ((status = nas_space_digest(task->space, space, err)) ||
        (task->table != NULL && (status = nas_latency_table_digest(task->table, table, err))))
        return status;
    *out = json_pack("{s:s, s:s, s:s*}", "data", task->data->digest, "space", space, "table",
                     task->table != NULL ? table : NULL);
    return *out != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "search: out of memory");
}

nas_status cli_search_execute(const cli_context *context, const cli_search_task *task,
                              nas_search_result *found, json_t *result, nas_err *err)
{
    char digest[NAS_DIGEST_SIZE];
    cli_session session;
    json_t *inputs = NULL;
    nas_status status;

    if ((status = input_digests(&inputs, task, err)) == NAS_OK)
        status = cli_session_open(&session, context, inputs, err);
    json_decref(inputs);
    if (status != NAS_OK)
        return status;
    json_object_update_new(result, json_pack("{s:b, s:n}", "feasible", 0, "arch")); /* so far */
    if ((cli_session_leads(&session) && task->table != NULL &&
         (status = cli_table_record(session.store, session.attempt, task->table,
                                    task->table_path, err))) ||
        (status = cli_session_restore(&session, load, task->search, err)) ||
        (status = nas_search_run(task->search, &session.observer, found, err)))
        return cli_session_close(&session, status, NULL, err);
    if (!cli_session_leads(&session))
        return cli_session_close(&session, found->feasible ? NAS_OK : NAS_E_INFEASIBLE, NULL, err);
    if ((status = nas_search_digest(task->search, digest, err)) ||
        (status = save_choice(&session, task, found, result, err)) ||
        (found->verified > 0 &&
         (status = cli_verified_save(&session, task->space, found->judgement, found->verified,
                                     task->config.target_ms, result, err))))
        return cli_session_close(&session, status, NULL, err);
    json_object_update_new(
        result,
        json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:I, s:i, s:f, s:f, s:s}", "feasible",
                  found->feasible, "target_ms",
                  cli_real(task->config.target_ms > 0.0 ? task->config.target_ms : NAN),
                  "latency_ms", cli_real(found->latency_ms), "valid_top1",
                  cli_real(found->valid_top1), "valid_top5",
                  cli_real(found->valid_top5), "valid_loss", cli_real(found->valid_loss), "steps",
                  (json_int_t)found->steps, "judged", found->judged, "seconds", found->seconds,
                  "peak_rss_mib", nas_system_peak_rss_mib(), "digest", digest));
    if (!found->feasible)
        status = fail_closest(task, found, err);
    return cli_session_close(&session, status, result, err);
}

enum { SCORED = 128 };

/* What the search would take; scoring one image of its networks takes score_seconds. */
static void demand_of(cli_demand *demand, const cli_search_task *task, const cli_probe *probe,
                      double score_seconds, const nas_search_config *c)
{
    const nas_model *model = nas_search_model(task->search);
    const double weight = cli_probe_mean(probe, c->arch_every, true);
    const double both = cli_probe_mean(probe, c->arch_every, false);
    const double plain = isnan(weight) ? both : weight, arch = isnan(both) ? plain : both;
    const double mean = plain + (arch - plain) / c->arch_every;
    const double warmup = (double)(c->warmup_epochs * probe->batches);
    const double rest = (double)(c->epochs * probe->batches);
    const double scored = (double)c->score_images *
                          (double)(c->warmup_epochs + c->epochs + c->derive_samples);

    demand->steps = warmup + rest;
    demand->step_seconds = (warmup * plain + rest * mean) / demand->steps;
    demand->seconds = warmup * plain + rest * mean + scored * score_seconds;
    if (c->max_minutes > 0.0)
        demand->seconds = fmin(demand->seconds, 60.0 * c->max_minutes);
    demand->memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0 +
                           3.0 * (double)model->floats * sizeof(float); /* momentum not yet
                                                      touched, and a checkpoint while it is made */
    demand->disk_bytes = cli_demand_run_bytes((double)model->floats);
}

/* The first steps of the same search, but for its warm-up, in which no architecture step comes;
 * then one network is scored on a few images. */
static nas_status dry_run(const cli_context *context, const cli_search_options *o,
                          const nas_search_config *config, nas_err *err)
{
    nas_search_config short_one = *config;
    cli_demand demand = {.folder = o->run.common.store};
    nas_search_result found = {0};
    cli_search_task task;
    cli_probe probe;
    json_t *about = json_object();
    int choice[NAS_MAX_SLOTS] = {0}; /* the first candidates: none of them skips a block */
    double top1;
    nas_status status;

    short_one.epochs += short_one.warmup_epochs;
    short_one.warmup_epochs = 0;
    short_one.verify_top = 0;
    short_one.score_images = config->score_images < SCORED ? config->score_images : SCORED;
    cli_probe_init(&probe, 2 * config->arch_every);
    if ((status = cli_search_prepare(&task, o, &short_one, err)) ||
        (status = cli_demand_space(about, task.space, task.lut, err)) ||
        (status = cli_probe_status(
             &probe, nas_search_run(task.search, &probe.observer, &found, err), err)))
        goto done;
    const double started = nas_clock_seconds();
    if ((status = nas_search_score(task.search, choice, &top1, err)) != NAS_OK)
        goto done;
    demand_of(&demand, &task, &probe,
              (nas_clock_seconds() - started) / (double)short_one.score_images, config);
    status = cli_demand_emit(context, json_incref(about), &demand, err);

done:
    free(found.judgement);
    json_decref(about);
    cli_search_finish(&task);
    return status;
}

static nas_status search_run(const cli_context *context, const void *options, nas_err *err)
{
    const cli_search_options *o = options;
    const nas_search_config config = cli_search_config(o);
    nas_search_result found = {0};
    cli_search_task task;

    if (o->dry_run) {
        const nas_status alone = cli_ranks_alone("--dry-run", err);
        return alone == NAS_OK ? dry_run(context, o, &config, err) : alone;
    }

    json_t *result = json_object();
    nas_status status = cli_search_prepare(&task, o, &config, err);

    if (status == NAS_OK) {
        status = cli_search_execute(context, &task, &found, result, err);
        if (status == NAS_OK || status == NAS_E_INFEASIBLE) {
            const nas_status printed = cli_emit(context, json_incref(result), err);
            status = printed != NAS_OK ? printed : status;
        }
    } else if (status == NAS_E_INFEASIBLE && (task.lut != NULL || o->table == NULL)) {
        const nas_status printed = emit_closest(context, &task, o, NULL);
        status = printed != NAS_OK ? printed : status;
    }
    free(found.judgement);
    cli_search_finish(&task);
    json_decref(result);
    return status;
}

const cli_command cmd_search = {
    .name = "search", .summary = "find a network for images and a device",
    .example = "search --data photos.nasd --space tiny --table here.yaml --target-ms 2",
    .tables = {task_table, method_table, cli_run_table}, .size = sizeof(cli_search_options),
    .stop = CLI_STOP_RESUMES, .shared = true, .check = check, .run = search_run,
};
