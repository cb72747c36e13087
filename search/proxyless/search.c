/* The epoch loop of a search: warm-up, then weights and architecture in turn. */
#include "search/proxyless/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nas/train/checkpoint.h"
#include "search/proxyless/private.h"

nas_search_config nas_search_default(double target_ms)
{
    return (nas_search_config){
        .method = NAS_SEARCH_GRADIENT, .arch_mode = NAS_ARCH_FULL,
        .latency_loss = NAS_LATENCY_MUL_LOG, .target_ms = target_ms, .warmup_epochs = 40,
        .epochs = 120, .batch = 64, .warmup_lr = 0.05, .lr = 0.025, .momentum = 0.9,
        .decay = 4e-5, .label_smoothing = 0.1, .clip_norm = 1.0, .augment = "cifar",
        .valid_fraction = 0.1, .arch_every = 5, .rl_samples = 4,
        .derive_samples = 10, .score_images = 1000, .recalibrate_batches = 20, .seed = 1,
        .loader_threads = 1, .memory = NAS_MEMORY_BALANCED};
}

double nas_search_arch_lr(int64_t arch_steps)
{
    return fmin(0.1, fmax(1e-3, 4.0 / (double)(arch_steps > 0 ? arch_steps : 1)));
}

/* Validation is shuffled too: its batches make statistics, and a data set lies in class order. */
static nas_status open_loader(nas_loader **out, const nas_search *s, const nas_index *index,
                              const char *stream, const char *augment, bool training, nas_err *err)
{
    nas_loader_options options = {
        .batch = training ? s->config.batch : NAS_SEARCH_EVAL_BATCH, .shuffle = true,
        .drop_last = training, .endless = strcmp(stream, "arch") == 0, .stream = stream,
        .seed = s->config.seed, .threads = s->config.loader_threads,
        .part = training ? nas_comm_rank(s->config.comm) : 0,
        .parts = training ? nas_comm_ranks(s->config.comm) : 0};
    const nas_status status =
        nas_augment_preset(&options.augment, augment, s->space->image_size, err);

    options.augment.size = s->space->image_size;
    return status == NAS_OK
               ? nas_loader_open(out, s->data, index->items, index->count, &options, err)
               : status;
}

/* Limits beside the target: each can be met, and so can all, as far as that can be told. */
static nas_status check_limits(const nas_search *s, nas_err *err)
{
    nas_problem problem;
    nas_status status = nas_search__problem(&problem, s, err);

    if (status == NAS_OK)
        status = nas_problem_check(&problem, err);
    nas_problem_fini(&problem);
    return status;
}

static nas_status check_config(const nas_search *s, nas_err *err)
{
    const nas_search_config *c = &s->config;
    double fastest, slowest;
    int part;

    if (c->batch < 2 || c->epochs < 0 || c->warmup_epochs < 0 || c->epochs + c->warmup_epochs < 1 ||
        c->arch_every < 1 || c->derive_samples < 1 || !(c->target_ms > 0.0))
        return nas_fail(err, NAS_E_CONFIG,
                        "search: batch of at least 2, at least one epoch, a positive target");
    const nas_status status = nas_step_part(&part, c->comm, c->batch, err);
    if (status != NAS_OK)
        return status;
    if (c->comm != NULL && c->verify_top > 0)
        return nas_fail(err, NAS_E_CONFIG, "search: networks are measured by one process alone");
    nas_latency_lut_range(s->lut, s->space, &fastest, &slowest, NULL, NULL);
    if (c->target_ms >= fastest)
        return check_limits(s, err);
    nas_fail(err, NAS_E_INFEASIBLE, "no architecture of %s meets %g ms: the fastest takes %.6g ms",
             s->space->name, c->target_ms, fastest);
    nas_hint(err, "choose a target between %.4g and %.4g ms", fastest, slowest);
    return NAS_E_INFEASIBLE;
}

static nas_status open_data(nas_search *s, nas_err *err)
{
    const nas_data_split *train = nas_dataset_split(s->data, "train");
    const uint32_t batch = (uint32_t)s->config.batch;
    nas_status status;

    if (train == NULL)
        return nas_fail(err, NAS_E_DATA, "%s: no train split", s->data->path);
    const uint32_t valid = (uint32_t)(s->config.valid_fraction * train->count);
    if ((status = nas_split_make(s->data, valid, s->config.seed, &s->train, &s->valid, err)) !=
        NAS_OK)
        return status;
    if (s->train.count < batch || s->valid.count < batch) {
        nas_fail(err, NAS_E_CONFIG,
                 "batch of %u images, but %u to train on and %u held out for validation", batch,
                 s->train.count, s->valid.count);
        nas_hint(err, "use a smaller batch");
        return NAS_E_CONFIG;
    }
    const char *augment = s->config.augment;
    if ((status = open_loader(&s->train_loader, s, &s->train, "train", augment, true, err)) ||
        (status = open_loader(&s->arch_loader, s, &s->valid, "arch", augment, true, err)) ||
        (status = open_loader(&s->valid_loader, s, &s->valid, "valid", "none", false, err)))
        return status;
    s->batches = nas_loader_batches(s->train_loader);
    s->arch_batches = nas_loader_batches(s->arch_loader);
    return NAS_OK;
}

static nas_status open_model(nas_search *s, nas_err *err)
{
    const int part = s->config.batch / nas_comm_ranks(s->config.comm);
    const int largest = part > NAS_SEARCH_EVAL_BATCH ? part : NAS_SEARCH_EVAL_BATCH;
    nas_status status;

    if ((status = nas_model_new(&s->model, s->space, err)) != NAS_OK ||
        (status = nas_exec_new(&s->exec, s->model, largest, err)) != NAS_OK ||
        (status = nas_step_init(&s->step, s->exec, largest, s->space->classes, err)) != NAS_OK ||
        (status = nas_alphas_init(&s->alphas, s->space, s->config.seed, err)) != NAS_OK)
        return status;
    const size_t slots = (size_t)s->alphas.slots, total = (size_t)s->alphas.total;
    s->q = calloc(total, sizeof *s->q);
    s->before = calloc(total, sizeof *s->before);
    s->gate_grad = calloc(slots * NAS_MAX_CANDIDATES, sizeof *s->gate_grad);
    s->rows = calloc(slots, sizeof *s->rows);
    if (!s->q || !s->before || !s->gate_grad || !s->rows)
        return nas_fail(err, NAS_E_NOMEM, "search: out of memory");
    for (int i = 0; i < s->alphas.slots; i++)
        s->rows[i] = s->q + s->alphas.first[i];
    nas_exec_set_memory(s->exec, s->config.memory);
    nas_step_join(&s->step, s->config.comm, s->config.sync_bn);
    nas_model_reset(s->model, s->config.seed);
    return NAS_OK;
}

nas_status nas_search_new(nas_search **out, const nas_space *space, const nas_dataset *data,
                          const nas_latency_lut *lut, const nas_search_config *config, nas_err *err)
{
    nas_search *s = calloc(1, sizeof *s);
    nas_status status;

    *out = NULL;
    if (s == NULL)
        return nas_fail(err, NAS_E_NOMEM, "search: out of memory");
    s->space = space;
    s->data = data;
    s->lut = lut;
    s->config = *config;
    s->loss = nas_latency_loss_default(config->latency_loss, config->target_ms);
    if ((status = check_config(s, err)) == NAS_OK && (status = open_data(s, err)) == NAS_OK)
        status = open_model(s, err);
    if (status != NAS_OK) {
        nas_search_free(s);
        return status;
    }
    *out = s;
    return NAS_OK;
}

void nas_search_free(nas_search *s)
{
    if (s == NULL)
        return;
    nas_loader_close(s->train_loader);
    nas_loader_close(s->arch_loader);
    nas_loader_close(s->valid_loader);
    nas_index_fini(&s->train);
    nas_index_fini(&s->valid);
    nas_alphas_fini(&s->alphas);
    nas_step_fini(&s->step);
    nas_exec_free(s->exec);
    nas_model_free(s->model);
    free(s->q);
    free(s->before);
    free(s->gate_grad);
    free(s->rows);
    free(s);
}

const nas_model *nas_search_model(const nas_search *s) { return s->model; }
const nas_alphas *nas_search_alphas(const nas_search *s) { return &s->alphas; }

static double elapsed(const nas_search *s) { return s->seconds + nas_clock_seconds() - s->started; }

/* Warm-up and search each have a cosine of their own. */
static double learning_rate(const nas_search *s)
{
    const nas_search_config *c = &s->config;
    const int64_t step = s->epoch * s->batches + s->batch, warm = c->warmup_epochs * s->batches;

    return step < warm ? nas_cosine(c->warmup_lr, step, warm)
                       : nas_cosine(c->lr, step - warm, c->epochs * s->batches);
}

static bool learns_architecture(const nas_search *s)
{
    return s->config.method == NAS_SEARCH_GRADIENT || s->config.method == NAS_SEARCH_REINFORCE;
}

/* Paths are drawn from p, which is nearly uniform until the architecture is learned; the
 * one-shot methods draw uniformly over the space all the way. */
static void sample_path(nas_search *s, int64_t step)
{
    nas_rng rng;

    nas_rng_init(&rng, s->config.seed, "weight step", (uint64_t)step);
    if (learns_architecture(s)) {
        nas_alphas_sample(&s->alphas, &rng, &s->path);
        nas_choice_normalise(s->space, s->path.choice);
    } else {
        nas_space_sample(s->space, &rng, s->path.choice);
    }
}

static nas_status weight_step(nas_search *s, nas_err *err)
{
    const nas_search_config *c = &s->config;
    const int64_t step = s->epoch * s->batches + s->batch;
    const nas_forward how = {.train = true, .keep = true, .dropout = true,
                             .bn_momentum = s->model->bn_momentum, .seed = c->seed,
                             .step = (uint64_t)step};
    const nas_sgd sgd = {.lr = (float)learning_rate(s), .momentum = (float)c->momentum,
                         .decay = (float)c->decay, .nesterov = true, .decay_vectors = true,
                         .clip_norm = (float)c->clip_norm};
    const nas_batch *batch;
    const nas_status status = nas_loader_next(s->train_loader, &batch, err);

    if (status != NAS_OK)
        return status;
    sample_path(s, step);
    s->loss_sum +=
        c->batch * nas_step_weights(&s->step, s->path.choice, batch->n, batch->x, batch->labels,
                                    (float)c->label_smoothing, &how, &sgd);
    s->loss_images += c->batch;
    s->batch++;
    if (isfinite(s->loss_sum))
        return NAS_OK;
    nas_fail(err, NAS_E_FAIL, "search diverged: the loss is not finite at step %lld",
             (long long)step);
    nas_hint(err, "try a smaller learning rate (lr)");
    return NAS_E_FAIL;
}

static double expected_latency(nas_search *s)
{
    memcpy(s->q, s->alphas.p, (size_t)s->alphas.total * sizeof *s->q);
    return nas_latency_lut_expected(s->lut, s->rows);
}

static void report(nas_search *s, const nas_observer *observer, double images_per_second)
{
    const nas_search_config *c = &s->config;
    const nas_progress progress = {
        .phase = s->epoch < c->warmup_epochs ? "warm-up" : "search", .epoch = s->epoch,
        .epochs = c->warmup_epochs + c->epochs, .batch = s->batch, .batches = s->batches,
        .step = s->epoch * s->batches + s->batch, .images_per_second = images_per_second,
        .loss = s->loss_sum / (double)s->loss_images, .latency_ms = expected_latency(s),
        .entropy = nas_alphas_entropy(&s->alphas)};

    nas_observe_progress(observer, &progress);
}

/* Within an epoch: behind the batch done last. */
static nas_status checkpoint(nas_search *s, const nas_observer *observer, nas_err *err)
{
    return nas_observe_checkpoint(observer, s->epoch * s->batches + s->batch, NAN,
                                  nas_search__save, s, err);
}

static nas_status interrupted(const nas_search *s, nas_err *err)
{
    return nas_fail(err, NAS_E_INTERRUPTED, "stopped at epoch %lld, batch %lld",
                    (long long)s->epoch, (long long)s->batch);
}

static nas_status run_epoch(nas_search *s, const nas_observer *observer, nas_err *err)
{
    const bool architecture = learns_architecture(s) && s->epoch >= s->config.warmup_epochs;
    const double start = nas_clock_seconds();
    const int64_t first = s->batch;
    nas_status status = NAS_OK;

    nas_loader_start(s->train_loader, s->epoch, s->batch);
    nas_loader_start(s->arch_loader, s->arch_steps / s->arch_batches,
                     s->arch_steps % s->arch_batches);
    while ((s->batch < s->batches || s->arch_due) && !s->out_of_time && status == NAS_OK) {
        if (!s->arch_due && (status = weight_step(s, err)) == NAS_OK)
            s->arch_due = architecture && s->batch % s->config.arch_every == 0;
        if (status == NAS_OK && s->arch_due)
            status = nas_search__arch_step(s, observer, err);
        if (status == NAS_E_INTERRUPTED) {
            const nas_status saved = checkpoint(s, observer, err);
            return saved != NAS_OK ? saved : status;
        }
        if (status != NAS_OK)
            break;
        report(s, observer, (double)((s->batch - first) * s->config.batch) /
                                (nas_clock_seconds() - start));
        s->out_of_time =
            s->config.max_minutes > 0.0 &&
            nas_comm_first(s->config.comm, elapsed(s) > 60.0 * s->config.max_minutes);
        const bool stop = nas_observe_stop(observer);
        if (stop || (s->batch < s->batches && nas_observe_checkpoint_due(observer)))
            status = checkpoint(s, observer, err);
        if (status == NAS_OK && stop)
            status = interrupted(s, err);
    }
    return status;
}

static nas_status end_epoch(nas_search *s, const nas_observer *observer, nas_err *err)
{
    int choice[NAS_MAX_SLOTS];
    nas_score score;
    nas_status status;

    nas_alphas_argmax(&s->alphas, choice);
    nas_choice_normalise(s->space, choice);
    status = nas_search__validate(s, choice, s->config.score_images, observer, &score, err);
    if (status == NAS_E_INTERRUPTED) { /* continues behind the epoch's last batch */
        const nas_status saved = checkpoint(s, observer, err);
        return saved != NAS_OK ? saved : status;
    }
    if (status != NAS_OK)
        return status;
    const double images = (double)score.images;
    const nas_metric metrics[] = {
        {"train_loss", s->loss_sum / (double)s->loss_images},
        {"valid_loss", score.loss / images},
        {"valid_top1", (double)score.top1 / images},
        {"valid_top5", (double)score.top5 / images},
        {"entropy", nas_alphas_entropy(&s->alphas)},
        {"expected_latency_ms", expected_latency(s)},
        {"argmax_latency_ms", nas_latency_lut_total(s->lut, choice)},
    };
    s->epoch++;
    s->batch = 0;
    s->arch_due = false; /* where the time was up */
    s->loss_sum = 0.0;
    s->loss_images = 0;
    const int64_t step = s->epoch * s->batches;
    status = nas_observe_metrics(observer, step, s->epoch, metrics,
                                 (int)(sizeof metrics / sizeof *metrics), err);
    if (status == NAS_OK && observer != NULL && observer->probabilities != NULL)
        status = observer->probabilities(observer->user, s->epoch, s->alphas.slots, s->alphas.count,
                                         s->alphas.p, err);
    return status == NAS_OK
               ? nas_observe_checkpoint(observer, step, NAN, nas_search__save, s, err)
               : status;
}

nas_status nas_search_run(nas_search *s, const nas_observer *observer, nas_search_result *result,
                          nas_err *err)
{
    const int64_t epochs = s->config.warmup_epochs + s->config.epochs;
    nas_status status = NAS_OK;

    *result = (nas_search_result){.valid_loss = NAN, .valid_top1 = NAN, .valid_top5 = NAN};
    s->started = nas_clock_seconds();
    while (s->epoch < epochs && !s->out_of_time && status == NAS_OK) {
        if ((status = run_epoch(s, observer, err)) == NAS_OK)
            status = end_epoch(s, observer, err);
        if (status == NAS_OK && s->epoch < epochs && nas_observe_stop(observer) &&
            (status = checkpoint(s, observer, err)) == NAS_OK)
            status = interrupted(s, err);
    }
    if (status == NAS_OK)
        status = nas_search__derive(s, observer, result, err);
    result->steps = s->epoch * s->batches;
    result->seconds = elapsed(s);
    return status;
}
