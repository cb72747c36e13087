/* The epoch loop of a search: warm-up, then weights and architecture in turn. */
#include "search/proxyless/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nas/train/checkpoint.h"
#include "search/proxyless/private.h"

nas_search_config nas_search_default(double target_ms)
{
    return (nas_search_config){
        .method = NAS_SEARCH_GRADIENT, .arch_mode = NAS_ARCH_FULL,
        .latency_loss = NAS_LATENCY_MUL_LOG, .target_ms = target_ms,
        .objective = {[NAS_COST_LATENCY] = true}, .warmup_epochs = 40,
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

/* Costs and limits.  Each limit can be met, and so can all, as far as that can be told. */
static nas_status open_problem(nas_search *s, nas_err *err)
{
    const nas_search_config *c = &s->config;
    const double limit[NAS_COSTS] = {[NAS_COST_LATENCY] = c->target_ms,
                                     [NAS_COST_MACS] = c->max_macs,
                                     [NAS_COST_PARAMETERS] = c->max_parameters,
                                     [NAS_COST_MEMORY] = c->max_memory_bytes};
    nas_status status = nas_problem_init(&s->problem, s->space, 0, NULL,
                                         s->lut != NULL ? &s->lut : NULL, err);

    for (int k = 0; k < NAS_COSTS; k++)
        s->problem.limit[k] = limit[k] > 0.0 ? limit[k] : INFINITY;
    if (status == NAS_OK && (status = nas_problem_check(&s->problem, err)) == NAS_OK)
        status = nas_objectives_init(&s->objectives, &s->problem, c->objective, c->latency_loss,
                                     err);
    return status;
}

/* What every method needs of costs: a limit, one for each objective, times for the target. */
static nas_status check_limits(const nas_search *s, nas_err *err)
{
    const nas_search_config *c = &s->config;
    const bool given[NAS_COSTS] = {[NAS_COST_LATENCY] = c->target_ms > 0.0,
                                   [NAS_COST_MACS] = c->max_macs > 0.0,
                                   [NAS_COST_PARAMETERS] = c->max_parameters > 0.0,
                                   [NAS_COST_MEMORY] = c->max_memory_bytes > 0.0};
    bool any = false;

    for (int k = 0; k < NAS_COSTS; k++) {
        if (c->objective[k] && !given[k])
            return nas_fail(err, NAS_E_CONFIG, "search: the objective %s has no limit",
                            nas_cost_names[k].option);
        any = any || given[k];
    }
    if (!any)
        return nas_fail(err, NAS_E_CONFIG, "search: no limit is given");
    if (s->lut == NULL && (given[NAS_COST_LATENCY] || c->verify_top > 0))
        return nas_fail(err, NAS_E_CONFIG, "search: a target of latency needs a latency table");
    if (c->verify_top > 0 && !given[NAS_COST_LATENCY])
        return nas_fail(err, NAS_E_CONFIG, "search: networks are measured for a target of latency");
    return NAS_OK;
}

static nas_status check_config(const nas_search *s, nas_err *err)
{
    const nas_search_config *c = &s->config;
    double fastest, slowest;
    int part;
    nas_status status;

    if (c->batch < 2 || c->epochs < 0 || c->warmup_epochs < 0 || c->epochs + c->warmup_epochs < 1 ||
        c->arch_every < 1 || c->derive_samples < 1)
        return nas_fail(err, NAS_E_CONFIG, "search: batch of at least 2, at least one epoch");
    if ((status = check_limits(s, err)) || (status = nas_step_part(&part, c->comm, c->batch, err)))
        return status;
    if (c->comm != NULL && c->verify_top > 0)
        return nas_fail(err, NAS_E_CONFIG, "search: networks are measured by one process alone");
    if (!(c->target_ms > 0.0))
        return NAS_OK;
    nas_latency_lut_range(s->lut, s->space, &fastest, &slowest, NULL, NULL);
    if (c->target_ms >= fastest)
        return NAS_OK;
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
    if ((status = check_config(s, err)) == NAS_OK && (status = open_problem(s, err)) == NAS_OK &&
        (status = open_data(s, err)) == NAS_OK)
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
    nas_objectives_fini(&s->objectives);
    nas_problem_fini(&s->problem);
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

/* From here on s->rows are the probabilities that paths are drawn from. */
static void see_probabilities(nas_search *s)
{
    memcpy(s->q, s->alphas.p, (size_t)s->alphas.total * sizeof *s->q);
}

/* NAN without a table. */
static double expected_latency(nas_search *s)
{
    see_probabilities(s);
    return s->lut != NULL ? nas_latency_lut_expected(s->lut, s->rows) : NAN;
}

enum { COST_NAME = 32, MAX_METRICS = 5 + 2 * NAS_COSTS };

/* What an epoch ended with. */
typedef struct metrics {
    int count;
    nas_metric list[MAX_METRICS];
    char name[MAX_METRICS][COST_NAME]; /* those that are made here */
} metrics;

static void add_metric(metrics *m, const char *name, double value)
{
    m->list[m->count++] = (nas_metric){name, value};
}

static void add_cost(metrics *m, const char *of, nas_cost cost, double value)
{
    char *name = m->name[m->count];

    snprintf(name, COST_NAME, "%s_%s", of, nas_cost_names[cost].result);
    add_metric(m, name, value / nas_cost_names[cost].unit);
}

/* Expected costs, and those of the likeliest network: of all objectives, and of latency wherever it
 * is known. */
static void add_costs(metrics *m, nas_search *s, const int *likeliest)
{
    nas_candidate candidate = {0};

    memcpy(candidate.choice, likeliest, sizeof candidate.choice);
    if (s->lut != NULL && !s->config.objective[NAS_COST_LATENCY]) {
        add_cost(m, "expected", NAS_COST_LATENCY, expected_latency(s));
        add_cost(m, "argmax", NAS_COST_LATENCY, nas_latency_lut_total(s->lut, likeliest));
    }
    see_probabilities(s);
    for (int i = 0; i < s->objectives.count; i++) {
        const nas_objective *o = &s->objectives.list[i];

        add_cost(m, "expected", o->cost, nas_objective_expected(o, s->rows));
        add_cost(m, "argmax", o->cost, nas_problem_cost(&s->problem, o->cost, &candidate));
    }
}

static void list_metrics(metrics *m, nas_search *s, const int *likeliest, const nas_score *score)
{
    const double images = (double)score->images;

    m->count = 0;
    add_metric(m, "train_loss", s->loss_sum / (double)s->loss_images);
    add_metric(m, "valid_loss", score->loss / images);
    add_metric(m, "valid_top1", (double)score->top1 / images);
    add_metric(m, "valid_top5", (double)score->top5 / images);
    add_metric(m, "entropy", nas_alphas_entropy(&s->alphas));
    add_costs(m, s, likeliest);
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

/* Weight steps, between epochs. */
static int64_t steps_done(const nas_search *s)
{
    return s->epoch * s->batches - s->left_out;
}

static nas_status end_epoch(nas_search *s, const nas_observer *observer, nas_err *err)
{
    int choice[NAS_MAX_SLOTS];
    metrics m;
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
    list_metrics(&m, s, choice, &score);
    s->epoch++;
    s->left_out = s->batches - s->batch; /* 0 but where the time was up */
    s->batch = 0;
    s->arch_due = false; /* where the time was up */
    s->loss_sum = 0.0;
    s->loss_images = 0;
    status = nas_observe_metrics(observer, steps_done(s), s->epoch, m.list, m.count, err);
    if (status == NAS_OK && observer != NULL && observer->probabilities != NULL)
        status = observer->probabilities(observer->user, s->epoch, s->alphas.slots, s->alphas.count,
                                         s->alphas.p, err);
    return status == NAS_OK
               ? nas_observe_checkpoint(observer, s->epoch * s->batches, NAN, nas_search__save, s,
                                        err)
               : status;
}

nas_status nas_search_run(nas_search *s, const nas_observer *observer, nas_search_result *result,
                          nas_err *err)
{
    const int64_t epochs = s->config.warmup_epochs + s->config.epochs;
    nas_status status = NAS_OK;

    *result = (nas_search_result){.valid_loss = NAN, .valid_top1 = NAN, .valid_top5 = NAN};
    s->started = nas_clock_seconds();
    /* an epoch in which the time was up, and then a stop, still has its end to come */
    while (s->epoch < epochs && (!s->out_of_time || s->batch > 0) && status == NAS_OK) {
        if ((status = run_epoch(s, observer, err)) == NAS_OK)
            status = end_epoch(s, observer, err);
        if (status == NAS_OK && s->epoch < epochs && nas_observe_stop(observer) &&
            (status = checkpoint(s, observer, err)) == NAS_OK)
            status = interrupted(s, err);
    }
    if (status == NAS_OK)
        status = nas_search__derive(s, observer, result, err);
    result->steps = steps_done(s);
    result->seconds = elapsed(s);
    return status;
}
