/* Loading, calibrating and judging for `nas quantize`. */
#include "cli/quantize_task.h"

#include <math.h>
#include <stdlib.h>

#include "cli/load.h"
#include "nas/train/checkpoint.h"
#include "nas/train/evaluate.h"

enum { JUDGE_BATCH = 128, LEAST_IMAGES = 16 };
enum { DIVERGED = 1000 }; /* harm where the loss is no number */

static nas_status check_fit(const cli_quantize_task *task, const char *model, nas_err *err)
{
    const nas_model *m = task->model;

    if (m->quant != NULL) {
        nas_fail(err, NAS_E_CONFIG, "%s: is quantised already", model);
        nas_hint(err, "quantise the network of floats that it was made from");
        return NAS_E_CONFIG;
    }
    return cli_model_check(m, model, task->data, err);
}

/* Images as they are. */
static nas_status open_loader(nas_loader **out, const cli_quantize_task *task, const char *stream,
                              const nas_index *index, int batch, int threads, nas_err *err)
{
    const nas_loader_options how = {.augment.size = task->model->image_size, .batch = batch,
                                    .threads = threads, .stream = stream};

    return nas_loader_open(out, task->data, index->items, index->count, &how, err);
}

/* Images that batch statistics are averaged over: as training sees them.  Those of images as they
 * are differ so much that a network of floats loses 3 points by them; and in the order of the file
 * a batch would be of few classes. */
static nas_status open_statistics(nas_loader **out, const cli_quantize_task *task,
                                  const cli_quantize_config *c, int batch, nas_err *err)
{
    nas_loader_options how = {.batch = batch, .seed = c->seed, .threads = c->threads,
                              .stream = "statistics", .shuffle = true};
    const nas_status status =
        nas_augment_preset(&how.augment, c->augment, task->model->image_size, err);

    return status != NAS_OK ? status
                            : nas_loader_open(out, task->data, task->train.items,
                                              task->train.count, &how, err);
}

/* Images of train are in the order of the file, often class after class: one in every few. */
static void spread(nas_index *index, uint32_t wanted)
{
    const uint32_t count = index->count;

    for (uint32_t i = 0; i < wanted && i < count; i++)
        index->items[i] = index->items[(uint64_t)i * count / wanted];
    index->count = wanted < count ? wanted : count;
}

static nas_status split(cli_quantize_task *task, const cli_quantize_config *c, nas_err *err)
{
    const nas_data_split *train = nas_dataset_split(task->data, "train");

    if (train == NULL)
        return nas_fail(err, NAS_E_DATA, "%s: no train split", task->data->path);
    const uint32_t valid = (uint32_t)(c->valid_fraction * train->count);
    if (valid == 0) {
        nas_fail(err, NAS_E_CONFIG, "--valid-fraction %g of %u images leaves none to judge on",
                 c->valid_fraction, train->count);
        nas_hint(err, "give that of the training, as a rule 0.1");
        return NAS_E_CONFIG;
    }
    const nas_status status =
        nas_split_make(task->data, valid, c->seed, &task->train, &task->valid, err);
    if (status != NAS_OK)
        return status;
    spread(&task->train, (uint32_t)c->calibration_images);
    if (task->train.count >= LEAST_IMAGES)
        return NAS_OK;
    nas_fail(err, NAS_E_CONFIG, "too few images to calibrate on: %u, where ranges need at least %d",
             task->train.count, LEAST_IMAGES);
    nas_hint(err, "raise --calibration-images, or use a larger data set");
    return NAS_E_CONFIG;
}

/* The steps of a policy: images of train drawn anew, not those that calibrate alone. */
static nas_status open_tuning(cli_quantize_task *task, const cli_quantize_config *c, nas_err *err)
{
    const uint32_t images = nas_dataset_split(task->data, "train")->count;
    nas_index train = {0}, valid = {0};
    nas_rng rng;

    task->tuning = c->tuning;
    if (c->tuning.steps == 0)
        return NAS_OK;
    nas_status status = nas_split_make(task->data, (uint32_t)(c->valid_fraction * images), c->seed,
                                       &train, &valid, err);
    if (status == NAS_OK) {
        nas_rng_init(&rng, c->seed, "quantize tuning", 0);
        nas_rng_shuffle(&rng, train.items, train.count);
        status = cli_tuning_open(&task->tuning, task->data, &train, task->model->image_size,
                                 "quantize tuning", err);
    }
    nas_index_fini(&train);
    nas_index_fini(&valid);
    return status;
}

/* A network of its own: the layers of the one that is quantised will round. */
static nas_status load_teacher(cli_quantize_task *task, const cli_quantize_config *c,
                               const char *model, nas_err *err)
{
    nas_arch *arch = NULL;
    const nas_status status =
        c->taught ? nas_model_load(&task->teacher, &arch, model, err) : NAS_OK;

    nas_arch_free(arch);
    return status;
}

static nas_status calibrate(cli_quantize_task *task, const cli_quantize_config *c, nas_err *err)
{
    const int count = (int)task->train.count;
    const nas_batch *batch;
    nas_loader *all = NULL;
    nas_status status;

    if (c->quantizer.method != NAS_QUANT_LINEAR)
        return NAS_OK;
    if ((status = open_loader(&all, task, "calibrate", &task->train, count, c->threads,
                              err)) == NAS_OK) {
        nas_loader_start(all, 0, 0);
        if ((status = nas_loader_next(all, &batch, err)) == NAS_OK)
            status = nas_quantizer_calibrate(task->quantizer, batch->n, batch->x, err);
    }
    nas_loader_close(all);
    return status;
}

nas_status cli_quantize_load(cli_quantize_task *task, const char *model, const char *data,
                             const cli_quantize_config *c, nas_err *err)
{
    nas_status status;

    *task = (cli_quantize_task){0};
    if ((status = nas_model_load(&task->model, &task->arch, model, err)) ||
        (status = nas_dataset_open(&task->data, data, err)) ||
        (status = check_fit(task, model, err)) || (status = split(task, c, err)) ||
        (status = open_tuning(task, c, err)) || (status = load_teacher(task, c, model, err)) ||
        (status = nas_quantizer_new(&task->quantizer, task->model, &c->quantizer, err)) ||
        (status = calibrate(task, c, err)))
        return status;
    const int batch = task->train.count < JUDGE_BATCH ? (int)task->train.count : JUDGE_BATCH;
    if ((status = open_statistics(&task->calibration, task, c, batch, err)) ||
        (status = open_loader(&task->judged, task, "valid", &task->valid, JUDGE_BATCH, c->threads,
                              err)))
        return status;
    return nas_exec_new(&task->exec, task->model, batch, err);
}

void cli_quantize_fini(cli_quantize_task *task)
{
    nas_exec_free(task->exec);
    nas_loader_close(task->calibration);
    nas_loader_close(task->judged);
    nas_quantizer_free(task->quantizer);
    nas_index_fini(&task->train);
    nas_index_fini(&task->valid);
    cli_tuning_close(&task->tuning);
    nas_dataset_close(task->data);
    nas_model_free(task->teacher);
    nas_model_free(task->model);
    nas_arch_free(task->arch);
}

static bool below_eight(const nas_bits *bits)
{
    return (bits->weight > 0 && bits->weight < 8) || (bits->input > 0 && bits->input < 8);
}

nas_status cli_quantize_apply(cli_quantize_task *task, const nas_bits *bits,
                              const nas_observer *observer, nas_err *err)
{
    const nas_status status = nas_quantizer_apply(task->quantizer, bits, err);
    bool rough = false;

    for (int i = 0; i < nas_quantizer_count(task->quantizer); i++)
        rough = rough || below_eight(&bits[i]);
    if (status != NAS_OK || !rough)
        return status;
    return nas_recalibrate(task->exec, task->choice, task->calibration,
                           (int)nas_loader_batches(task->calibration), observer, err);
}

/* Mean loss on the calibration images. */
static nas_status calibration_loss(const cli_quantize_task *task, const nas_observer *observer,
                                   double *loss, nas_err *err)
{
    nas_score score = {0};
    nas_infer *infer = NULL;
    nas_status status = nas_infer_new(&infer, task->model, task->choice, JUDGE_BATCH, err);

    if (status == NAS_OK)
        status = nas_evaluate(infer, task->calibration, task->model->classes, &score,
                              nas_evaluate_stop, (void *)observer, err);
    *loss = score.images > 0 ? score.loss / (double)score.images : NAN;
    nas_infer_free(infer);
    return status;
}

/* One row: the bits that `*at` points to, in a policy of floats, for three numbers of bits. */
static nas_status measure_harm(cli_quantize_task *task, const nas_bits *policy, int *at, int least,
                               double before, int64_t weights, double *harm,
                               const nas_observer *observer, nas_err *err)
{
    const int most = least + 2 < NAS_BUDGET_BITS ? least + 2 : NAS_BUDGET_BITS;
    nas_status status = NAS_OK;

    for (int bits = least; bits <= most && status == NAS_OK; bits++) {
        double loss;

        *at = bits;
        if ((status = nas_quantizer_apply(task->quantizer, policy, err)) == NAS_OK &&
            (status = calibration_loss(task, observer, &loss, err)) == NAS_OK)
            harm[bits] = loss > before ? loss - before : loss <= before ? 0.0 : DIVERGED;
    }
    nas_harm_complete(harm, least, most, (double)weights);
    *at = 0;
    return status;
}

nas_status cli_quantize_harm(cli_quantize_task *task, int least, bool inputs, nas_harm *harm,
                             const nas_observer *observer, nas_err *err)
{
    const int count = nas_quantizer_count(task->quantizer);
    const nas_quant_site *site = nas_quantizer_sites(task->quantizer);
    nas_bits *policy = calloc((size_t)count, sizeof *policy);
    double before;
    nas_status status;

    if (policy == NULL)
        return nas_fail(err, NAS_E_NOMEM, "quantisation: out of memory");
    nas_quantizer_restore(task->quantizer);
    status = calibration_loss(task, observer, &before, err);
    for (int i = 0; i < count && status == NAS_OK; i++) {
        status = measure_harm(task, policy, &policy[i].weight, least, before, site[i].weights,
                              harm[i].weight, observer, err);
        if (status == NAS_OK && inputs)
            status = measure_harm(task, policy, &policy[i].input, least, before, site[i].weights,
                                  harm[i].input, observer, err);
    }
    nas_quantizer_restore(task->quantizer);
    free(policy);
    return status;
}

nas_status cli_quantize_tune(cli_quantize_task *task, const nas_train_hooks *hooks,
                             const nas_observer *observer, nas_err *err)
{
    return task->tuning.steps > 0 ? cli_tuning_run(&task->tuning, task->model, task->teacher,
                                                   hooks, observer, err)
                                  : NAS_OK;
}

nas_status cli_quantize_judge(cli_quantize_task *task, const nas_observer *observer, double *top1,
                              nas_err *err)
{
    nas_score score = {0};
    nas_infer *infer = NULL;
    nas_status status = nas_infer_new(&infer, task->model, task->choice, JUDGE_BATCH, err);

    if (status == NAS_OK)
        status = nas_evaluate(infer, task->judged, task->model->classes, &score, nas_evaluate_stop,
                              (void *)observer, err);
    *top1 = score.images > 0 ? (double)score.top1 / (double)score.images : NAN;
    nas_infer_free(infer);
    return status;
}

json_t *cli_quantize_policy(const cli_quantize_task *task)
{
    const nas_quant_site *site = nas_quantizer_sites(task->quantizer);
    json_t *list = json_array();

    for (int i = 0; i < nas_quantizer_count(task->quantizer); i++) {
        const nas_bits bits = nas_quantizer_bits(task->quantizer, i);
        json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:I, s:I}", "layer", site[i].name,
                                              "weight_bits", bits.weight, "input_bits", bits.input,
                                              "weights", (json_int_t)site[i].weights, "macs",
                                              (json_int_t)site[i].macs));
    }
    return list;
}
