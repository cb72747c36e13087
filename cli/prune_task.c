/* Loading, splitting and judging for nas prune. */
#include "cli/prune_task.h"

#include <stdio.h>
#include <string.h>

#include "cli/describe.h"
#include "cli/load.h"
#include "nas/data/split.h"
#include "nas/train/checkpoint.h"
#include "nas/train/evaluate.h"

enum { BATCH = 128 };

static nas_status open_loader(nas_loader **out, const cli_prune_task *t, const nas_index *index,
                              uint32_t most, nas_err *err)
{
    nas_loader_options options = {.batch = BATCH, .threads = t->config.threads,
                                  .seed = t->config.seed, .stream = "prune"};

    options.augment.size = t->arch->image_size;
    return nas_loader_open(out, t->data, index->items, index->count < most ? index->count : most,
                           &options, err);
}

/* Those that judge are held out of train, class by class; the others calibrate, drawn anew. */
static nas_status split(cli_prune_task *t, nas_err *err)
{
    const nas_data_split *split = nas_dataset_split(t->data, "train");
    nas_index train = {0}, valid = {0};
    nas_status status;

    if (split == NULL)
        return nas_fail(err, NAS_E_DATA, "%s: no train split", t->data->path);
    const double held_out = t->config.valid_fraction * split->count;
    const uint32_t judged = held_out < t->config.judge_images ? (uint32_t)held_out
                                                              : (uint32_t)t->config.judge_images;
    if (judged < 1) {
        nas_fail(err, NAS_E_CONFIG, "--valid-fraction %g of %u images leaves none to judge on",
                 t->config.valid_fraction, split->count);
        nas_hint(err, "give that of the training, as a rule 0.1");
        return NAS_E_CONFIG;
    }
    if ((status = nas_split_make(t->data, judged, t->config.seed, &train, &valid, err)) ==
        NAS_OK) {
        nas_rng rng;

        nas_rng_init(&rng, t->config.seed, "prune calibration", 0);
        nas_rng_shuffle(&rng, train.items, train.count);
        if (train.count < NAS_PRUNE_LEAST_IMAGES) {
            status = nas_fail(err, NAS_E_CONFIG, "%s: calibration needs %d training images, there "
                              "are %u", t->data->path, NAS_PRUNE_LEAST_IMAGES, train.count);
            nas_hint(err, "use a larger data set, or a smaller --valid-fraction than %g",
                     t->config.valid_fraction);
        } else if ((status = open_loader(&t->calibration, t, &train,
                                       (uint32_t)t->config.calibration_images, err)) == NAS_OK &&
                 (status = open_loader(&t->judged, t, &valid, valid.count, err)) == NAS_OK)
            status = cli_tuning_open(&t->config.tuning, t->data, &train, t->arch->image_size,
                                     "prune tuning", err);
    }
    nas_index_fini(&train);
    nas_index_fini(&valid);
    return status;
}

/* What a policy is worth shows when the network has had some steps to recover. */
static nas_status judge_channels(void *user, const int *channels, double *accuracy, nas_err *err)
{
    const cli_prune_task *t = user;
    nas_model *small = NULL;
    nas_arch *arch = NULL;
    nas_status status = nas_pruner_apply(t->pruner, channels, &arch, &small, err);

    if (status == NAS_OK && t->config.tuning.steps > 0)
        status = cli_tuning_run(&t->config.tuning, small, t->model, NULL, t->observer, err);
    if (status == NAS_OK)
        status = cli_prune_judge(t, small, accuracy, err);
    nas_model_free(small);
    nas_arch_free(arch);
    return status;
}

/* The environment; a budget that is a share becomes one in units. */
static nas_status open_environment(cli_prune_task *t, nas_err *err)
{
    nas_amc_config *amc = &t->config.amc;
    nas_status status;

    if (t->config.table != NULL) {
        if ((status = cli_table_load_arch(&t->tables, &amc->table, t->config.table, t->arch,
                                          t->arch->image_size, err)) ||
            (status = cli_tables_trust(t->tables, t->config.allow_emulated, err)))
            return status;
    }
    if (t->config.relative) {
        const nas_op_cost full = nas_arch_cost(t->arch, 0);
        amc->beside[NAS_AMC_MACS] *= (double)full.macs;
    }
    amc->limit = amc->beside[amc->measure];
    return nas_amc_new(&t->amc, t->plan, amc, judge_channels, t, err);
}

nas_status cli_prune_load(cli_prune_task *t, const char *model, const char *data,
                          const cli_prune_config *config, nas_err *err)
{
    nas_status status;

    *t = (cli_prune_task){.config = *config};
    if ((status = nas_model_load(&t->model, &t->arch, model, err)) ||
        (status = nas_dataset_open(&t->data, data, err)))
        return status;
    if ((status = cli_model_check(t->model, model, t->data, err)) != NAS_OK)
        return status;
    if (t->model->quant != NULL) {
        nas_fail(err, NAS_E_CONFIG, "%s: is quantised: what is left would be floats", model);
        nas_hint(err, "prune the network of floats that it was made from, then quantise");
        return NAS_E_CONFIG;
    }
    if ((status = nas_prune_plan_new(&t->plan, t->arch, err)) ||
        (status = open_environment(t, err)) ||
        (status = nas_pruner_new(&t->pruner, t->model, t->plan, err)))
        return status;
    return split(t, err);
}

void cli_prune_fini(cli_prune_task *t)
{
    nas_amc_free(t->amc);
    nas_loader_close(t->calibration);
    nas_loader_close(t->judged);
    cli_tuning_close(&t->config.tuning);
    nas_pruner_free(t->pruner);
    nas_prune_plan_free(t->plan);
    nas_latency_set_free(t->tables);
    nas_dataset_close(t->data);
    nas_model_free(t->model);
    nas_arch_free(t->arch);
}

nas_status cli_prune_calibrate(cli_prune_task *t, nas_err *err)
{
    return nas_pruner_calibrate(t->pruner, t->calibration, t->config.calibration_images,
                                t->config.calibration_points, t->config.seed, t->observer, err);
}

nas_status cli_prune_judge(const cli_prune_task *t, const nas_model *model, double *top1,
                           nas_err *err)
{
    const int choice[NAS_MAX_SLOTS] = {0};
    nas_infer *infer = NULL;
    nas_score score;
    nas_status status = nas_infer_new(&infer, model, choice, BATCH, err);

    if (status == NAS_OK)
        status = nas_evaluate(infer, t->judged, model->classes, &score, nas_evaluate_stop,
                              (void *)t->observer, err);
    if (status == NAS_OK)
        *top1 = (double)score.top1 / (double)score.images;
    nas_infer_free(infer);
    return status;
}

json_t *cli_prune_policy(const cli_prune_task *t, const int *channels)
{
    json_t *rows = json_array();

    for (int g = 0; g < t->plan->groups; g++) {
        const nas_prune_group *group = &t->plan->group[g];
        char op[64], layer[128];

        cli_op_text(&t->arch->blocks[group->block].op, op);
        snprintf(layer, sizeof layer, "block %d %s%s", group->block, op,
                 group->axis == NAS_PRUNE_MID ? ", inside" : "");
        json_array_append_new(rows, json_pack("{s:s, s:i, s:i, s:f}", "layer", layer, "channels",
                                              channels[g], "of", group->channels, "share",
                                              (double)channels[g] / group->channels));
    }
    return rows;
}
