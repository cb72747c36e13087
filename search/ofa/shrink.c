/* The epoch loop of a phase: a few subnets a step, gradients summed, one step. */
#include "search/ofa/shrink.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nas/data/loader.h"

struct nas_shrink {
    nas_supernet *net;
    const nas_dataset *data;
    nas_phase phase;
    nas_judge_config config;
    nas_elastic_mask mask;
    nas_elastic_corner corner[NAS_ELASTIC_CORNERS];
    int corners;
    nas_index train, valid;
    nas_loader *loader;
    nas_judge *judge;
    nas_exec *teacher; /* NULL: the phase has none */
    float *targets, *soft, *teacher_logits, *dlogits, *dsoft; /* [batch][classes] */
    int64_t batches;
    /* what a checkpoint holds beside the weights */
    int64_t epoch, batch, loss_images;
    double loss_sum, last_loss;
};

/* The largest network as it was: in the first phase of all it has learnt nothing to teach. */
static bool has_teacher(const nas_shrink *s)
{
    return s->phase.rule != NAS_RULE_SANDWICH && s->phase.distill != NAS_DISTILL_NONE &&
           s->net->phases > 0;
}

/* ---- beginning ---- */

static nas_status check_batch(const nas_phase *p, const nas_index *train, nas_err *err)
{
    if (train->count >= (uint32_t)p->batch)
        return NAS_OK;
    nas_fail(err, NAS_E_CONFIG, "phase %s: batch of %lld images, but only %u to train on", p->name,
             (long long)p->batch, train->count);
    nas_hint(err, "--show-schedule prints it; with a smaller \"batch\" --schedule reads it");
    return NAS_E_CONFIG;
}

nas_status nas_shrink_check(const nas_supernet *supernet, const nas_dataset *data,
                            const nas_phase *phase, nas_err *err)
{
    nas_index train = {0}, valid = {0};
    nas_status status = nas_judge_split(supernet, data, &train, &valid, err);

    if (status == NAS_OK)
        status = check_batch(phase, &train, err);
    nas_index_fini(&train);
    nas_index_fini(&valid);
    return status;
}

static nas_status open_loader(nas_shrink *s, nas_err *err)
{
    const nas_phase *p = &s->phase;
    const int size = s->net->space->image_size;
    nas_loader_options options = {.batch = (int)p->batch, .threads = s->config.loader_threads,
                                  .seed = s->config.seed, .stream = p->name, .shuffle = true,
                                  .drop_last = true};
    nas_status status = nas_augment_preset(&options.augment, p->augment, size, err);
    nas_augment *a = &options.augment;

    if (status != NAS_OK)
        return status;
    a->size = size;
    a->brightness = p->brightness >= 0 ? p->brightness : a->brightness;
    a->contrast = p->contrast >= 0 ? p->contrast : a->contrast;
    a->saturation = p->saturation >= 0 ? p->saturation : a->saturation;
    a->hue = p->hue >= 0 ? p->hue : a->hue;
    options.sizes = p->sizes;
    memcpy(options.size, p->size, sizeof options.size);
    status = nas_loader_open(&s->loader, s->data, s->train.items, s->train.count, &options, err);
    if (status == NAS_OK)
        s->batches = nas_loader_batches(s->loader);
    return status;
}

static nas_status allocate(nas_shrink *s, nas_err *err)
{
    const size_t count = (size_t)s->phase.batch * (size_t)s->net->space->classes;
    float **all[] = {&s->targets, &s->soft, &s->teacher_logits, &s->dlogits, &s->dsoft};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if ((*all[i] = malloc(count * sizeof(float))) == NULL)
            return nas_fail(err, NAS_E_NOMEM, "phase %s: out of memory", s->phase.name);
    return NAS_OK;
}

/* What a phase does to the weights before its first step. */
static nas_status prepare_weights(nas_shrink *s, nas_err *err)
{
    nas_supernet *n = s->net;
    const bool first = n->phases == 0;
    const bool widens = !first && s->phase.limits.expands > n->trained.expands;
    nas_status status = NAS_OK;

    if (first && s->phase.faded_kernels)
        nas_elastic_fade_kernels(n->elastic);
    if (has_teacher(s) && (status = nas_supernet_keep_teacher(n, err)) != NAS_OK)
        return status;
    if (widens && (status = nas_elastic_sort(n->elastic, &n->trained, err)) != NAS_OK)
        return status;
    nas_elastic_clear_momentum(n->elastic);
    if (!has_teacher(s))
        return NAS_OK;
    status = nas_model_resize(n->teacher, n->space->image_size, err); /* planned for the largest */
    return status == NAS_OK ? nas_exec_new(&s->teacher, n->teacher, (int)s->phase.batch, err)
                            : status;
}

nas_status nas_shrink_new(nas_shrink **out, nas_supernet *supernet, const nas_dataset *data,
                          const nas_phase *phase, const nas_judge_config *config, nas_err *err)
{
    nas_shrink *s = calloc(1, sizeof *s);
    nas_status status;

    *out = NULL;
    if (s == NULL)
        return nas_fail(err, NAS_E_NOMEM, "phase %s: out of memory", phase->name);
    s->net = supernet;
    s->data = data;
    s->phase = *phase;
    s->config = *config;
    s->config.augment = phase->augment;
    if ((status = nas_elastic_mask_make(&s->mask, supernet->space, &phase->limits, err)) ||
        (status = nas_judge_split(supernet, data, &s->train, &s->valid, err)) ||
        (status = check_batch(phase, &s->train, err)) || (status = open_loader(s, err)) ||
        (status = nas_judge_new(&s->judge, supernet, data, &s->train, &s->valid, &s->config,
                                err)) ||
        (status = allocate(s, err)) || (status = prepare_weights(s, err))) {
        nas_shrink_free(s);
        return status;
    }
    s->corners = nas_elastic_corners(supernet->space, &phase->limits, &s->mask, s->corner);
    *out = s;
    return NAS_OK;
}

void nas_shrink_free(nas_shrink *s)
{
    if (s == NULL)
        return;
    nas_exec_free(s->teacher);
    nas_judge_free(s->judge);
    nas_loader_close(s->loader);
    nas_index_fini(&s->train);
    nas_index_fini(&s->valid);
    free(s->targets);
    free(s->soft);
    free(s->teacher_logits);
    free(s->dlogits);
    free(s->dsoft);
    free(s);
}

/* ---- checkpoints ---- */

static nas_status save(void *self, const char *path, nas_err *err)
{
    const nas_shrink *s = self;
    json_t *state = json_pack("{s:s, s:I, s:I, s:f, s:f, s:I}", "phase", s->phase.name, "epoch",
                              (json_int_t)s->epoch, "batch", (json_int_t)s->batch, "loss_sum",
                              s->loss_sum, "last_loss", s->last_loss, "loss_images",
                              (json_int_t)s->loss_images);
    nas_safetensors_builder *builder = state ? nas_checkpoint_begin("shrink", state) : NULL;

    nas_supernet_add_tensors(builder, s->net, true);
    const nas_status status = nas_safetensors_builder_write(builder, path, NULL, err);
    nas_safetensors_builder_free(builder);
    json_decref(state);
    return status;
}

static int64_t all_epochs(const nas_phase *p) { return p->warmup_epochs + p->epochs; }

static nas_status read_state(nas_shrink *s, const json_t *state, const char *path, nas_err *err)
{
    const char *name = "";
    nas_shrink next = *s;
    nas_status status;

    if ((status = nas_json_str(state, path, "phase", true, &name, err)) ||
        (status = nas_json_int(state, path, "epoch", true, 0, all_epochs(&s->phase), &next.epoch,
                               err)) ||
        (status = nas_json_int(state, path, "batch", true, 0, s->batches, &next.batch, err)) ||
        (status = nas_json_real(state, path, "loss_sum", true, -1e300, 1e300, &next.loss_sum,
                                err)) ||
        (status = nas_json_real(state, path, "last_loss", true, -1e300, 1e300, &next.last_loss,
                                err)) ||
        (status = nas_json_int(state, path, "loss_images", true, 0, INT64_MAX, &next.loss_images,
                               err)))
        return status;
    if (strcmp(name, s->phase.name) != 0)
        return nas_fail(err, NAS_E_DATA, "%s: is of phase %.64s, not %s", path, name,
                        s->phase.name);
    *s = next;
    return NAS_OK;
}

nas_status nas_shrink_load(nas_shrink *s, const char *path, nas_err *err)
{
    nas_safetensors *file = NULL;
    json_t *state = NULL;
    nas_shrink before = *s;
    nas_status status = nas_checkpoint_open(&file, &state, path, "shrink", err);

    if (status == NAS_OK && (status = read_state(s, state, path, err)) == NAS_OK &&
        (status = nas_supernet_read_tensors(file, s->net, true, err)) != NAS_OK)
        *s = before;
    json_decref(state);
    nas_safetensors_close(file);
    return status;
}

/* ---- a step ---- */

static double learning_rate(const nas_shrink *s, int64_t step)
{
    const nas_phase *p = &s->phase;
    const int64_t warm = p->warmup_epochs * s->batches;

    return step < warm ? p->warmup_lr + (p->lr - p->warmup_lr) * (double)step / (double)warm
                       : nas_cosine(p->lr, step - warm, p->epochs * s->batches);
}

/* Mean over all elements of the squared difference, and its gradient. */
static double mean_square(const float *logits, const float *wanted, size_t count, float *grad)
{
    double sum = 0.0;

    for (size_t i = 0; i < count; i++) {
        const float d = logits[i] - wanted[i];

        sum += (double)d * d;
        grad[i] = 2.0f * d / (float)count;
    }
    return sum / (double)count;
}

/* Loss of a subnet's logits and, in s->dlogits, its gradient: of the labels with weight `hard`,
 * of the teacher's answer with weight `taught`. */
static double loss_of(nas_shrink *s, const float *logits, int n, float hard, float taught)
{
    const nas_kernels *ops = nas_kernels_get();
    const int classes = s->net->space->classes;
    const size_t count = (size_t)n * (size_t)classes;
    double loss = hard * ops->cross_entropy(n, classes, logits, s->targets, s->dlogits);

    for (size_t i = 0; i < count; i++)
        s->dlogits[i] *= hard;
    if (taught == 0.0f)
        return loss;
    loss += taught * (s->phase.distill == NAS_DISTILL_MSE
                          ? mean_square(logits, s->teacher_logits, count, s->dsoft)
                          : ops->cross_entropy(n, classes, logits, s->soft, s->dsoft));
    for (size_t i = 0; i < count; i++)
        s->dlogits[i] += taught * s->dsoft[i];
    return loss;
}

/* Remembers an answer to learn from. */
static void keep_answer(nas_shrink *s, const float *logits, int n)
{
    const int classes = s->net->space->classes;

    memcpy(s->teacher_logits, logits, (size_t)n * (size_t)classes * sizeof *logits);
    nas_softmax(logits, n, classes, s->soft);
}

/* One subnet's gradients, added to the others. */
static double run_subnet(nas_shrink *s, const int *choice, const nas_batch *batch, int64_t draw,
                         bool dropout, float hard, float taught, bool teaches)
{
    nas_elastic *e = s->net->elastic;
    const nas_forward how = {.train = true, .keep = true, .dropout = dropout,
                             .bn_momentum = s->net->space->bn_momentum, .seed = s->config.seed,
                             .step = (uint64_t)draw};
    const nas_backward want = {.weights = true};

    nas_elastic_load(e, choice);
    const float *logits = nas_exec_forward(nas_elastic_exec(e), choice, batch->n, batch->x, &how);
    if (teaches)
        keep_answer(s, logits, batch->n);
    const double loss = loss_of(s, logits, batch->n, hard, taught);
    nas_exec_backward(nas_elastic_exec(e), s->dlogits, &want);
    nas_elastic_add_grads(e, choice);
    nas_elastic_keep_statistics(e, choice);
    return loss;
}

static void draw_subnet(const nas_shrink *s, int64_t draw, int *choice)
{
    char stream[64];
    nas_rng rng;

    snprintf(stream, sizeof stream, "subnet.%s", s->phase.name);
    nas_rng_init(&rng, s->config.seed, stream, (uint64_t)draw);
    nas_elastic_sample(s->net->space, &s->mask, &rng, choice);
}

/* The largest learns from the labels, all others from it (BigNAS, section 3.2), or as it does. */
static double sandwich_step(nas_shrink *s, const nas_batch *batch, int64_t step)
{
    const bool distils = s->phase.distill != NAS_DISTILL_NONE;
    const float taught = distils ? (float)s->phase.distill_ratio : 0.0f;
    double sum = 0.0;

    for (int64_t j = 0; j < s->phase.subnets; j++) {
        const int64_t draw = step * s->phase.subnets + j;
        const bool largest = j == 0;
        int drawn[NAS_MAX_SLOTS];
        const int *choice = drawn;

        if (largest)
            choice = s->corner[0].choice;
        else if (j == 1)
            choice = s->corner[s->corners - 1].choice;
        else
            draw_subnet(s, draw, drawn);
        sum += run_subnet(s, choice, batch, draw, largest, largest || !distils,
                          largest ? 0.0f : taught, largest);
    }
    return sum;
}

/* Random subnets alone. */
static double drawn_step(nas_shrink *s, const nas_batch *batch, int64_t step)
{
    static const nas_forward how = {.train = true};
    static const int only[NAS_MAX_SLOTS];
    const float taught = s->teacher != NULL ? (float)s->phase.distill_ratio : 0.0f;
    double sum = 0.0;

    if (s->teacher != NULL)
        keep_answer(s, nas_exec_forward(s->teacher, only, batch->n, batch->x, &how), batch->n);
    for (int64_t j = 0; j < s->phase.subnets; j++) {
        const int64_t draw = step * s->phase.subnets + j;
        int choice[NAS_MAX_SLOTS];

        draw_subnet(s, draw, choice);
        sum += run_subnet(s, choice, batch, draw, true, 1.0f, taught, false);
    }
    return sum;
}

static nas_status train_batch(nas_shrink *s, const nas_batch *batch, nas_err *err)
{
    const nas_phase *p = &s->phase;
    const int64_t step = s->epoch * s->batches + s->batch;
    const nas_sgd sgd = {.lr = (float)learning_rate(s, step), .momentum = (float)p->momentum,
                         .decay = (float)p->decay, .nesterov = true};
    nas_status status;

    if ((status = nas_elastic_resize(s->net->elastic, batch->height, err)) != NAS_OK ||
        (s->teacher != NULL && s->net->teacher->image_size != batch->height &&
         ((status = nas_model_resize(s->net->teacher, batch->height, err)) != NAS_OK ||
          (status = nas_exec_fit(s->teacher, err)) != NAS_OK)))
        return status;
    nas_targets(batch->labels, batch->n, s->net->space->classes, (float)p->label_smoothing,
                s->targets);
    nas_elastic_zero_grads(s->net->elastic);
    const double loss = p->rule == NAS_RULE_SANDWICH ? sandwich_step(s, batch, step)
                                                     : drawn_step(s, batch, step);
    nas_elastic_sgd(s->net->elastic, &sgd, &p->limits);
    s->loss_sum += batch->n * loss / (double)p->subnets;
    s->loss_images += batch->n;
    s->batch++;
    if (isfinite(s->loss_sum))
        return NAS_OK;
    nas_fail(err, NAS_E_FAIL, "phase %s diverged: the loss is not finite at step %lld", p->name,
             (long long)step);
    nas_hint(err, "give the phase a smaller lr (--schedule)");
    return NAS_E_FAIL;
}

/* ---- epochs ---- */

/* The phase's smallest and largest images. */
static nas_status score_corners(nas_shrink *s, const nas_observer *observer,
                                nas_shrink_result *result, nas_err *err)
{
    const nas_phase *p = &s->phase;
    const int sizes[] = {p->size[p->sizes - 1], p->size[0]};
    nas_status status = NAS_OK;

    result->corners = 0;
    result->mean_top1 = 0.0;
    for (int r = 0; r < (p->sizes > 1 ? 2 : 1); r++)
        for (int c = 0; c < s->corners && status == NAS_OK; c++) {
            nas_corner_score *to = &result->corner[result->corners];
            nas_score score;

            status = nas_judge_score(s->judge, s->corner[c].choice, sizes[r], observer, &score,
                                     err);
            if (status != NAS_OK)
                break;
            snprintf(to->name, sizeof to->name, "%s-r%d", s->corner[c].name, sizes[r]);
            to->top1 = (double)score.top1 / (double)score.images;
            to->loss = score.loss / (double)score.images;
            result->mean_top1 += to->top1;
            result->corners++;
        }
    if (result->corners > 0)
        result->mean_top1 /= result->corners;
    return status;
}

/* Within an epoch: behind the batch done last. */
static nas_status checkpoint(nas_shrink *s, const nas_observer *observer, nas_err *err)
{
    return nas_observe_checkpoint(observer, s->epoch * s->batches + s->batch, NAN, save, s, err);
}

static bool validates(const nas_shrink *s, int64_t epoch)
{
    const nas_phase *p = &s->phase;

    return epoch == all_epochs(p) || (p->validate_every > 0 && epoch % p->validate_every == 0);
}

static nas_status report_epoch(nas_shrink *s, const nas_observer *observer,
                               const nas_shrink_result *result, nas_err *err)
{
    char name[NAS_CORNER_SCORES][64];
    nas_metric metrics[NAS_CORNER_SCORES + 2] = {{"train_loss", s->last_loss}};
    int count = 1;

    if (validates(s, s->epoch)) {
        metrics[count++] = (nas_metric){"corners_top1", result->mean_top1};
        for (int c = 0; c < result->corners; c++) {
            snprintf(name[c], sizeof name[c], "top1.%s", result->corner[c].name);
            metrics[count++] = (nas_metric){name[c], result->corner[c].top1};
        }
    }
    return nas_observe_metrics(observer, s->epoch * s->batches, s->epoch, metrics, count, err);
}

static nas_status end_epoch(nas_shrink *s, const nas_observer *observer, nas_shrink_result *result,
                            nas_err *err)
{
    nas_status status = validates(s, s->epoch + 1) ? score_corners(s, observer, result, err)
                                                   : NAS_OK;

    if (status == NAS_E_INTERRUPTED) { /* continues behind the epoch's last batch */
        const nas_status saved = checkpoint(s, observer, err);
        return saved != NAS_OK ? saved : status;
    }
    if (status != NAS_OK)
        return status;
    s->last_loss = s->loss_sum / (double)s->loss_images;
    const double score = validates(s, s->epoch + 1) ? result->mean_top1 : NAN;
    s->epoch++;
    s->batch = 0;
    s->loss_sum = 0.0;
    s->loss_images = 0;
    if ((status = report_epoch(s, observer, result, err)) == NAS_OK)
        status = nas_observe_checkpoint(observer, s->epoch * s->batches, score, save, s, err);
    return status;
}

static void report_batch(const nas_shrink *s, const nas_observer *observer, int64_t first,
                         double start)
{
    const nas_progress progress = {
        .phase = s->phase.name, .epoch = s->epoch, .epochs = all_epochs(&s->phase),
        .batch = s->batch, .batches = s->batches, .step = s->epoch * s->batches + s->batch,
        .images_per_second = (double)((s->batch - first) * s->phase.batch) /
                             (nas_clock_seconds() - start),
        .loss = s->loss_sum / (double)s->loss_images, .latency_ms = NAN, .entropy = NAN};

    nas_observe_progress(observer, &progress);
}

static nas_status run_epoch(nas_shrink *s, const nas_observer *observer, nas_err *err)
{
    const int64_t first = s->batch;
    const double start = nas_clock_seconds();
    const nas_batch *batch;
    nas_status status = NAS_OK;

    nas_loader_start(s->loader, s->epoch, s->batch);
    while (s->batch < s->batches && status == NAS_OK) {
        if ((status = nas_loader_next(s->loader, &batch, err)) != NAS_OK || batch == NULL ||
            (status = train_batch(s, batch, err)) != NAS_OK)
            break;
        report_batch(s, observer, first, start);
        const bool stop = nas_observe_stop(observer);
        if (stop || (s->batch < s->batches && nas_observe_checkpoint_due(observer)))
            status = checkpoint(s, observer, err);
        if (status == NAS_OK && stop)
            return nas_fail(err, NAS_E_INTERRUPTED, "phase %s stopped at epoch %lld, batch %lld",
                            s->phase.name, (long long)s->epoch, (long long)s->batch);
    }
    return status;
}

/* The supernet has done this phase. */
static void enter_phase(nas_shrink *s)
{
    nas_supernet *n = s->net;

    n->trained = s->phase.limits;
    if (n->phases == 0 || n->sizes > 0) /* else those of the phases before are not known */
        nas_supernet_add_sizes(n, s->phase.sizes, s->phase.size);
    snprintf(n->augment, sizeof n->augment, "%s", s->phase.augment);
    snprintf(n->phase[n->phases++], NAS_PHASE_NAME_SIZE, "%s", s->phase.name);
}

nas_status nas_shrink_run(nas_shrink *s, const nas_observer *observer, nas_shrink_result *result,
                          nas_err *err)
{
    const int64_t epochs = all_epochs(&s->phase);
    nas_status status = NAS_OK;

    *result = (nas_shrink_result){.mean_top1 = NAN};
    if (s->epoch == epochs) /* resumed after its last epoch */
        status = score_corners(s, observer, result, err);
    while (s->epoch < epochs && status == NAS_OK) {
        if ((status = run_epoch(s, observer, err)) == NAS_OK)
            status = end_epoch(s, observer, result, err);
        if (status == NAS_OK && s->epoch < epochs && nas_observe_stop(observer))
            return nas_fail(err, NAS_E_INTERRUPTED, "phase %s stopped after epoch %lld",
                            s->phase.name, (long long)s->epoch);
    }
    result->train_loss = s->last_loss;
    result->steps = s->epoch * s->batches;
    if (status == NAS_OK)
        enter_phase(s);
    return status;
}
