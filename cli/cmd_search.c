/* nas search - the main job: a network for these images under a latency target. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

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
     "latency table, or a folder of tables by image size", true},
    {"--target-ms", NAS_OPT_REAL, AT(target_ms), NULL, 1e-6, 1e6, NULL, "MS",
     "latency that the network must not exceed, by the table", true},
    CLI_COST_LIMIT_ROWS(AT(limits)),
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
     NULL, "how the expected latency enters the loss"},
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
    {"--verify-top", NAS_OPT_INT, AT(verify_top), "0", 0, 10000, NULL, "N",
     "measure the N best of them whole on this machine, and choose one that meets the target by "
     "that, too; the result then depends on times"},
    {0},
};

nas_search_config cli_search_config(const cli_search_options *o)
{
    nas_search_config c = nas_search_default(o->target_ms);

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
    c.verify_top = (int)o->verify_top;
    c.sync_bn = o->sync_bn;
    c.comm = cli_ranks();
    c.memory = (nas_memory)o->run.memory;
    c.max_minutes = o->max_minutes;
    c.seed = (uint64_t)o->run.common.seed;
    c.loader_threads = (int)o->run.common.threads;
    return c;
}

/* What no search can meet: shows the fastest network that there is. */
static nas_status emit_closest(const cli_context *context, const nas_space *space,
                               const nas_latency_lut *lut, double target_ms, nas_err *err)
{
    int fastest[NAS_MAX_SLOTS];
    double least, most;
    json_t *about = NULL;
    nas_arch *arch = NULL;
    nas_status status;

    nas_latency_lut_range(lut, space, &least, &most, fastest, NULL);
    if ((status = nas_space_arch(&arch, space, fastest, err)) == NAS_OK &&
        (status = cli_arch_json(&about, arch, err)) == NAS_OK)
        status = cli_emit(context,
                          json_pack("{s:b, s:n, s:f, s:f, s:f, s:o}", "feasible", 0, "arch",
                                    "target_ms", target_ms, "latency_ms", least, "slowest_ms",
                                    most, "closest", about),
                          err);
    nas_arch_free(arch);
    return status;
}

static nas_status load(void *self, const char *path, nas_err *err)
{
    return nas_search_load(self, path, err);
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
    }
    nas_model_free(model);
    nas_arch_free(arch);
    return status;
}

/* Those that were measured whole, the answer first, in the store (as evaluations of their own, with
 * the measured latency) and in `result`. */
static nas_status save_verified(cli_session *session, const cli_search_task *task,
                                const nas_search_result *found, json_t *result, nas_err *err)
{
    const size_t count = (size_t)found->verified;
    nas_candidate *list = calloc(count + 1, sizeof *list);
    json_t *verified = json_array();
    nas_status status = NAS_OK;

    if (list == NULL || verified == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "search: out of memory");
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        list[i] = found->judgement[i];
        list[i].latency_ms = list[i].measured_ms;
        json_array_append_new(
            verified,
            json_pack("{s:f, s:f, s:f, s:b, s:b}", "predicted_ms", found->judgement[i].latency_ms,
                      "measured_ms", list[i].measured_ms, "score", list[i].score, "meets_target",
                      list[i].measured_ms <= task->config.target_ms, "chosen", i == 0));
    }
    status = cli_outcome_record(session->store, session->attempt, "verified", task->space, list,
                                found->verified, err);
    json_object_set_new(result, "measured_ms", json_real(list[0].measured_ms));
    json_object_set(result, "verified", verified);

done:
    json_decref(verified);
    free(list);
    return status;
}

/* NAS_E_INFEASIBLE: how near the search came. */
static nas_status fail_closest(const cli_search_task *task, const nas_search_result *found,
                               nas_err *err)
{
    if (found->verified == 0)
        return nas_fail(err, NAS_E_INFEASIBLE, "the closest network found takes %.6g ms",
                        found->latency_ms);
    nas_fail(err, NAS_E_INFEASIBLE,
             "none of the %d networks measured takes at most %g ms: the fastest takes %.4g, by the "
             "table %.4g", found->verified, task->config.target_ms,
             found->judgement[0].measured_ms, found->latency_ms);
    nas_hint(err, "raise --verify-top, or make the table again: nas latency verify tells how far "
             "it is off");
    return NAS_E_INFEASIBLE;
}

/* What the search is made from, by the names of the options. */
static nas_status input_digests(json_t **out, const cli_search_task *task, nas_err *err)
{
    char space[NAS_DIGEST_SIZE], table[NAS_DIGEST_SIZE];
    nas_status status;

    if ((status = nas_space_digest(task->space, space, err)) ||
        (status = nas_latency_table_digest(task->table, table, err)))
        return status;
    *out = json_pack("{s:s, s:s, s:s}", "data", task->data->digest, "space", space, "table",
                     table);
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
    if ((cli_session_leads(&session) &&
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
         (status = save_verified(&session, task, found, result, err))))
        return cli_session_close(&session, status, NULL, err);
    json_object_update_new(
        result,
        json_pack("{s:b, s:f, s:f, s:o, s:o, s:o, s:I, s:i, s:f, s:f, s:s}", "feasible",
                  found->feasible, "target_ms", task->config.target_ms, "latency_ms",
                  found->latency_ms, "valid_top1", cli_real(found->valid_top1), "valid_top5",
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
    if ((status = cli_search_prepare(&task, o->data, o->space, o->table, o->allow_emulated,
                                     &short_one, err)) ||
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
    nas_status status = cli_search_prepare(&task, o->data, o->space, o->table, o->allow_emulated,
                                            &config, err);

    if (status == NAS_OK) {
        status = cli_search_execute(context, &task, &found, result, err);
        if (status == NAS_OK || status == NAS_E_INFEASIBLE) {
            const nas_status printed = cli_emit(context, json_incref(result), err);
            status = printed != NAS_OK ? printed : status;
        }
    } else if (status == NAS_E_INFEASIBLE && task.lut != NULL) {
        const nas_status printed =
            emit_closest(context, task.space, task.lut, o->target_ms, NULL);
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
    .stop = CLI_STOP_RESUMES, .shared = true, .run = search_run,
};
