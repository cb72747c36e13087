/* The epoch loop of supervised training, resumable at any batch. */
#include "nas/train/train.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "nas/data/loader.h"
#include "nas/data/split.h"
#include "nas/train/checkpoint.h"
#include "nas/train/evaluate.h"
#include "nas/train/step.h"

enum { EVAL_BATCH = 128 };

nas_train_config nas_train_default(void)
{
    return (nas_train_config){.epochs = 60, .batch = 64, .lr = 0.05, .momentum = 0.9,
                              .decay = 4e-5, .label_smoothing = 0.1, .augment = "cifar",
                              .valid_fraction = 0.1, .seed = 1, .loader_threads = 1,
                              .memory = NAS_MEMORY_BALANCED};
}

struct nas_trainer {
    nas_model *model;
    nas_train_config config;
    nas_index train, valid;
    nas_loader *train_loader, *valid_loader;
    nas_exec *exec;
    nas_step step;
    int *choice; /* all zero: one candidate a slot */
    int64_t batches;
    /* what a checkpoint holds beside the parameters */
    int64_t epoch, batch;
    double loss_sum, last_loss; /* of this epoch, mean of the one before */
    int64_t loss_images;
};

static nas_status open_loader(nas_loader **out, const nas_dataset *data, const nas_index *index,
                              const nas_trainer *t, bool training, nas_err *err)
{
    nas_loader_options options = {.batch = training ? t->config.batch : EVAL_BATCH,
                                  .threads = t->config.loader_threads, .seed = t->config.seed,
                                  .stream = training ? "train" : "valid", .shuffle = training,
                                  .drop_last = training,
                                  .part = training ? nas_comm_rank(t->config.comm) : 0,
                                  .parts = training ? nas_comm_ranks(t->config.comm) : 0};
    const int size = t->model->image_size;
    const nas_status status =
        nas_augment_preset(&options.augment, training ? t->config.augment : "none", size, err);

    options.augment.size = size;
    return status == NAS_OK
               ? nas_loader_open(out, data, index->items, index->count, &options, err)
               : status;
}

static nas_status split(nas_trainer *t, const nas_dataset *data, nas_err *err)
{
    const nas_data_split *train = nas_dataset_split(data, "train");

    if (train == NULL)
        return nas_fail(err, NAS_E_DATA, "%s: no train split", data->path);
    const double wanted = t->config.valid_fraction * train->count;
    if (wanted < 1.0)
        return nas_index_split(&t->train, train, err);
    return nas_split_make(data, (uint32_t)wanted, t->config.seed, &t->train, &t->valid, err);
}

static nas_status listen(nas_trainer *t, int part, nas_err *err)
{
    const nas_model *teacher = t->config.teacher, *m = t->model;

    if (teacher == NULL)
        return NAS_OK;
    if (teacher->classes == m->classes && teacher->channels == m->channels &&
        teacher->image_size == m->image_size)
        return nas_step_teach(&t->step, teacher, (float)t->config.distill, part, err);
    return nas_fail(err, NAS_E_CONFIG, "the teacher knows %d classes in images of %d x %d pixels "
                    "and %d channels, the network has %d, %d x %d and %d", teacher->classes,
                    teacher->image_size, teacher->image_size, teacher->channels, m->classes,
                    m->image_size, m->image_size, m->channels);
}

nas_status nas_trainer_new(nas_trainer **out, nas_model *model, const nas_dataset *data,
                           const nas_train_config *config, nas_err *err)
{
    nas_trainer *t = calloc(1, sizeof *t);
    nas_status status;
    int part = 0;

    *out = NULL;
    if (t == NULL)
        return nas_fail(err, NAS_E_NOMEM, "training: out of memory");
    t->model = model;
    t->config = *config;
    t->choice = calloc((size_t)model->slots, sizeof *t->choice);
    if (t->choice == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "training: out of memory");
    else if (model->classes != data->classes || model->channels != data->channels)
        status = nas_fail(err, NAS_E_CONFIG,
                          "the network has %d channels and %d classes, %s has %d and %d",
                          model->channels, model->classes, data->path, data->channels,
                          data->classes);
    else if ((status = nas_step_part(&part, config->comm, config->batch, err)) == NAS_OK)
        status = split(t, data, err);
    if (status == NAS_OK && t->train.count < (uint32_t)config->batch) {
        status = nas_fail(err, NAS_E_CONFIG, "batch of %d images, but only %u to train on",
                          config->batch, t->train.count);
        nas_hint(err, "use a smaller batch");
    }
    if (status == NAS_OK &&
        (status = open_loader(&t->train_loader, data, &t->train, t, true, err)) == NAS_OK &&
        (t->valid.count == 0 ||
         (status = open_loader(&t->valid_loader, data, &t->valid, t, false, err)) == NAS_OK) &&
        (status = nas_exec_new(&t->exec, model, part, err)) == NAS_OK &&
        (status = nas_step_init(&t->step, t->exec, part, model->classes, err)) == NAS_OK)
        status = listen(t, part, err);
    if (status != NAS_OK) {
        nas_trainer_free(t);
        return status;
    }
    nas_exec_set_memory(t->exec, config->memory);
    nas_step_join(&t->step, config->comm, config->sync_bn);
    t->batches = nas_loader_batches(t->train_loader);
    *out = t;
    return NAS_OK;
}

void nas_trainer_free(nas_trainer *t)
{
    if (t == NULL)
        return;
    nas_loader_close(t->train_loader);
    nas_loader_close(t->valid_loader);
    nas_step_fini(&t->step);
    nas_exec_free(t->exec);
    nas_index_fini(&t->train);
    nas_index_fini(&t->valid);
    free(t->choice);
    free(t);
}

static nas_status save(void *self, const char *path, nas_err *err)
{
    const nas_trainer *t = self;
    json_t *state = json_pack("{s:I, s:I, s:f, s:f, s:I}", "epoch", (json_int_t)t->epoch, "batch",
                              (json_int_t)t->batch, "loss_sum", t->loss_sum, "last_loss",
                              t->last_loss, "loss_images", (json_int_t)t->loss_images);
    nas_safetensors_builder *builder = state ? nas_checkpoint_begin("train", state) : NULL;

    nas_checkpoint_add_model(builder, t->model, true);
    if (builder != NULL && t->config.hooks != NULL)
        t->config.hooks->add(t->config.hooks->user, builder);
    const nas_status status = nas_safetensors_builder_write(builder, path, NULL, err);
    nas_safetensors_builder_free(builder);
    json_decref(state);
    return status;
}

nas_status nas_trainer_load(nas_trainer *t, const char *path, nas_err *err)
{
    nas_safetensors *file = NULL;
    json_t *state = NULL;
    int64_t epoch = 0, batch = 0, images = 0;
    double sum = 0.0, last = 0.0;
    nas_status status;

    if ((status = nas_checkpoint_open(&file, &state, path, "train", err)) == NAS_OK &&
        (status = nas_json_int(state, path, "epoch", true, 0, t->config.epochs, &epoch, err)) ==
            NAS_OK &&
        (status = nas_json_int(state, path, "batch", true, 0, t->batches, &batch, err)) == NAS_OK &&
        (status = nas_json_real(state, path, "loss_sum", true, -1e300, 1e300, &sum, err)) ==
            NAS_OK &&
        (status = nas_json_real(state, path, "last_loss", true, -1e300, 1e300, &last, err)) ==
            NAS_OK &&
        (status = nas_json_int(state, path, "loss_images", true, 0, INT64_MAX, &images, err)) ==
            NAS_OK &&
        (status = nas_checkpoint_read_model(file, t->model, true, err)) == NAS_OK &&
        (t->config.hooks == NULL ||
         (status = t->config.hooks->read(t->config.hooks->user, file, err)) == NAS_OK)) {
        t->epoch = epoch;
        t->batch = batch;
        t->loss_sum = sum;
        t->last_loss = last;
        t->loss_images = images;
    }
    json_decref(state);
    nas_safetensors_close(file);
    return status;
}

static void train_batch(nas_trainer *t, const nas_batch *batch)
{
    const nas_train_config *c = &t->config;
    const int64_t step = t->epoch * t->batches + t->batch;
    const nas_forward how = {.train = true, .keep = true, .dropout = true,
                             .bn_momentum = t->model->bn_momentum, .seed = c->seed,
                             .step = (uint64_t)step};
    const nas_sgd sgd = {.lr = (float)nas_cosine(c->lr, step, c->epochs * t->batches),
                         .momentum = (float)c->momentum, .decay = (float)c->decay,
                         .nesterov = true};

    t->loss_sum +=
        c->batch * nas_step_weights(&t->step, t->choice, batch->n, batch->x, batch->labels,
                                    (float)c->label_smoothing, &how, &sgd);
    if (c->hooks != NULL)
        c->hooks->stepped(c->hooks->user, (double)sgd.lr);
    t->loss_images += c->batch;
    t->batch++;
}

static nas_status validate(nas_trainer *t, const nas_observer *observer, nas_score *score,
                           nas_err *err)
{
    nas_infer *infer = NULL;
    nas_status status = NAS_OK;

    *score = (nas_score){0};
    if (t->valid_loader != NULL &&
        (status = nas_infer_new(&infer, t->model, t->choice, EVAL_BATCH, err)) == NAS_OK)
        status = nas_evaluate(infer, t->valid_loader, t->model->classes, score,
                              nas_evaluate_stop, (void *)observer, err);
    nas_infer_free(infer);
    return status;
}

/* Within an epoch: behind the batch done last. */
static nas_status checkpoint(nas_trainer *t, const nas_observer *observer, nas_err *err)
{
    return nas_observe_checkpoint(observer, t->epoch * t->batches + t->batch, NAN, save, t, err);
}

static double share(int64_t part, int64_t of) { return of > 0 ? (double)part / (double)of : NAN; }

static nas_status end_epoch(nas_trainer *t, const nas_observer *observer, nas_train_result *result,
                            nas_err *err)
{
    nas_score score;
    nas_status status = validate(t, observer, &score, err);

    if (status == NAS_E_INTERRUPTED) { /* continues behind the epoch's last batch */
        const nas_status saved = checkpoint(t, observer, err);
        return saved != NAS_OK ? saved : status;
    }
    if (status != NAS_OK)
        return status;
    t->last_loss = t->loss_sum / (double)t->loss_images;
    *result = (nas_train_result){.train_loss = t->last_loss,
                                 .valid_top1 = share(score.top1, score.images),
                                 .valid_top5 = share(score.top5, score.images)};
    const nas_metric metrics[] = {
        {"train_loss", result->train_loss},
        {"valid_top1", result->valid_top1},
        {"valid_top5", result->valid_top5},
        {"valid_loss", score.images ? score.loss / (double)score.images : NAN}};
    t->epoch++;
    t->batch = 0;
    t->loss_sum = 0.0;
    t->loss_images = 0;
    result->steps = t->epoch * t->batches;
    if ((status = nas_observe_metrics(observer, result->steps, t->epoch, metrics,
                                      t->valid.count ? 4 : 1, err)) == NAS_OK)
        status = nas_observe_checkpoint(observer, result->steps, result->valid_top1, save, t, err);
    return status;
}

static nas_status run_epoch(nas_trainer *t, const nas_observer *observer, nas_err *err)
{
    const int64_t first = t->batch;
    const double start = nas_clock_seconds();
    const nas_batch *batch;
    nas_status status = NAS_OK;

    nas_loader_start(t->train_loader, t->epoch, t->batch);
    while (t->batch < t->batches && status == NAS_OK) {
        if ((status = nas_loader_next(t->train_loader, &batch, err)) != NAS_OK || batch == NULL)
            break;
        train_batch(t, batch);
        const nas_progress progress = {
            .phase = "train", .epoch = t->epoch, .epochs = t->config.epochs, .batch = t->batch,
            .batches = t->batches, .step = t->epoch * t->batches + t->batch,
            .images_per_second = (double)((t->batch - first) * t->config.batch) /
                                 (nas_clock_seconds() - start),
            .loss = t->loss_sum / (double)t->loss_images, .latency_ms = NAN, .entropy = NAN};
        nas_observe_progress(observer, &progress);
        if (!isfinite(t->loss_sum)) {
            nas_fail(err, NAS_E_FAIL, "training diverged: the loss is not finite at step %lld",
                     (long long)progress.step);
            nas_hint(err, "try a smaller learning rate (lr)");
            return NAS_E_FAIL;
        }
        const bool stop = nas_observe_stop(observer);
        if (stop || (t->batch < t->batches && nas_observe_checkpoint_due(observer)))
            status = checkpoint(t, observer, err);
        if (status == NAS_OK && stop)
            return nas_fail(err, NAS_E_INTERRUPTED, "stopped at epoch %lld, batch %lld",
                            (long long)t->epoch, (long long)t->batch);
    }
    return status;
}

nas_status nas_trainer_run(nas_trainer *t, const nas_observer *observer, nas_train_result *result,
                           nas_err *err)
{
    nas_status status = NAS_OK;

    *result = (nas_train_result){.train_loss = NAN, .valid_top1 = NAN, .valid_top5 = NAN};
    if (t->epoch == t->config.epochs) { /* resumed after its last epoch */
        nas_score score;
        status = validate(t, observer, &score, err);
        result->train_loss = t->last_loss;
        result->valid_top1 = share(score.top1, score.images);
        result->valid_top5 = share(score.top5, score.images);
        result->steps = t->epoch * t->batches;
        return status;
    }
    while (t->epoch < t->config.epochs && status == NAS_OK) {
        if ((status = run_epoch(t, observer, err)) == NAS_OK)
            status = end_epoch(t, observer, result, err);
        if (status == NAS_OK && t->epoch < t->config.epochs && nas_observe_stop(observer))
            return nas_fail(err, NAS_E_INTERRUPTED, "stopped after epoch %lld",
                            (long long)t->epoch);
    }
    return status;
}
