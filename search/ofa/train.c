/* Forward, backward and Adam over the predictor's layers. */
#include "search/ofa/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "ops/kernel/kernel.h"

enum { LEAST_SAMPLES = 10 };

typedef struct trainer {
    const nas_predictor_config *config;
    const nas_encoding *encoding;
    const nas_candidate *samples;
    nas_predictor *p;
    uint32_t *order;      /* [count]: those that train first, then the held-out ones */
    int count, trained;
    double mean, std;     /* of the scores that train */
    float *grad[NAS_PREDICTOR_MAX_LAYERS][2];      /* of weight and bias         */
    float *moment[NAS_PREDICTOR_MAX_LAYERS][2][2]; /* Adam's first and second    */
    float *kept[NAS_PREDICTOR_MAX_LAYERS + 1];     /* [batch][width]: activations */
    float *delta[2];      /* [batch][widest]: gradients of two layers in turn    */
    long step;
} trainer;

static size_t part_size(const nas_predictor *p, int layer, int part)
{
    return (part == 0 ? (size_t)p->width[layer] : 1) * (size_t)p->width[layer + 1];
}

static float *part_of(const nas_predictor *p, int layer, int part)
{
    return part == 0 ? p->weight[layer] : p->bias[layer];
}

static bool reserve(trainer *t)
{
    const size_t rows = (size_t)t->config->batch;
    size_t widest = (size_t)t->p->width[0];
    bool whole = true;

    for (int i = 0; i <= t->p->layers; i++) {
        const size_t width = (size_t)t->p->width[i];

        widest = width > widest ? width : widest;
        whole &= (t->kept[i] = malloc(rows * width * sizeof(float))) != NULL;
        for (int part = 0; part < 2 && i < t->p->layers; part++) {
            const size_t size = part_size(t->p, i, part);

            whole &= (t->grad[i][part] = malloc(size * sizeof(float))) != NULL;
            for (int m = 0; m < 2; m++)
                whole &= (t->moment[i][part][m] = calloc(size, sizeof(float))) != NULL;
        }
    }
    for (int d = 0; d < 2; d++)
        whole &= (t->delta[d] = malloc(rows * widest * sizeof(float))) != NULL;
    return whole;
}

static void release(trainer *t)
{
    for (int i = 0; i <= t->p->layers; i++) {
        free(t->kept[i]);
        for (int part = 0; part < 2 && i < t->p->layers; part++) {
            free(t->grad[i][part]);
            free(t->moment[i][part][0]);
            free(t->moment[i][part][1]);
        }
    }
    free(t->delta[0]);
    free(t->delta[1]);
}

/* PyTorch's default for a linear layer: uniform in +-1/sqrt(inputs). */
static void draw_weights(trainer *t)
{
    for (int i = 0; i < t->p->layers; i++) {
        const double bound = 1.0 / sqrt(t->p->width[i]);
        nas_rng rng;

        nas_rng_init(&rng, t->config->seed, "predictor weights", (uint64_t)i);
        for (int part = 0; part < 2; part++)
            for (size_t k = 0; k < part_size(t->p, i, part); k++)
                part_of(t->p, i, part)[k] = (float)(bound * (2.0 * nas_rng_uniform(&rng) - 1.0));
    }
}

/* Splits the samples and measures the scores of those that train. */
static void split(trainer *t)
{
    nas_rng rng;
    double sum = 0.0, squares = 0.0;

    for (int i = 0; i < t->count; i++)
        t->order[i] = (uint32_t)i;
    nas_rng_init(&rng, t->config->seed, "predictor split", 0);
    nas_rng_shuffle(&rng, t->order, (uint32_t)t->count);
    t->trained = t->count - (int)(t->config->held_out * t->count);
    for (int i = 0; i < t->trained; i++)
        sum += t->samples[t->order[i]].score;
    t->mean = sum / t->trained;
    for (int i = 0; i < t->trained; i++)
        squares += pow(t->samples[t->order[i]].score - t->mean, 2.0);
    t->std = squares > 0.0 ? sqrt(squares / t->trained) : 1.0;
}

/* What the network learns to say of a sample. */
static double standardised(const trainer *t, uint32_t row)
{
    return (t->samples[row].score - t->mean) / t->std;
}

static void forward(trainer *t, const uint32_t *rows, int count)
{
    const nas_predictor *p = t->p;

    for (int r = 0; r < count; r++)
        nas_encoding_apply(t->encoding, &t->samples[rows[r]],
                           t->kept[0] + (size_t)r * (size_t)p->width[0]);
    for (int i = 0; i < p->layers; i++)
        nas_kernels_get()->linear(count, p->width[i], p->width[i + 1], t->kept[i], p->weight[i],
                                  p->bias[i], i < p->layers - 1 ? NAS_ACT_RELU : NAS_ACT_NONE,
                                  t->kept[i + 1]);
}

/* Gradients of the mean squared error of the rows that went forward. */
static void backward(trainer *t, const uint32_t *rows, int count)
{
    const nas_kernels *k = nas_kernels_get();
    const nas_predictor *p = t->p;
    float *delta = t->delta[0], *before = t->delta[1];

    for (int r = 0; r < count; r++) {
        const double error = (double)t->kept[p->layers][r] - standardised(t, rows[r]);
        delta[r] = (float)(2.0 / count * error);
    }
    for (int i = p->layers - 1; i >= 0; i--) {
        float *held = delta;

        for (int part = 0; part < 2; part++)
            memset(t->grad[i][part], 0, part_size(p, i, part) * sizeof(float));
        k->linear_backward(count, p->width[i], p->width[i + 1], t->kept[i], p->weight[i], delta,
                           i > 0 ? before : NULL, t->grad[i][0], t->grad[i][1]);
        if (i > 0)
            k->act_backward((size_t)count * (size_t)p->width[i], NAS_ACT_RELU, t->kept[i], before,
                            before);
        delta = before;
        before = held;
    }
}

static void step(trainer *t, double lr)
{
    t->step++;
    for (int i = 0; i < t->p->layers; i++)
        for (int part = 0; part < 2; part++)
            nas_kernels_get()->adam(part_size(t->p, i, part), part_of(t->p, i, part),
                                    t->grad[i][part], t->moment[i][part][0],
                                    t->moment[i][part][1], (float)lr, 0.9f, 0.999f, 1e-8f,
                                    part == 0 ? (float)t->config->decay : 0.0f, t->step);
}

static void report(const trainer *t, const nas_observer *observer, int64_t epoch, int64_t batch,
                   int64_t batches)
{
    const nas_progress at = {.phase = "predictor", .epoch = epoch, .epochs = t->config->epochs,
                             .batch = batch, .batches = batches, .step = t->step,
                             .images_per_second = NAN, .loss = NAN, .latency_ms = NAN,
                             .entropy = NAN};

    nas_observe_progress(observer, &at);
}

static nas_status run_epochs(trainer *t, const nas_observer *observer, nas_err *err)
{
    const nas_predictor_config *c = t->config;
    const int64_t batches = (t->trained + c->batch - 1) / c->batch;
    nas_status status = NAS_OK;

    for (int64_t epoch = 0; epoch < c->epochs && status == NAS_OK; epoch++) {
        nas_rng rng;

        nas_rng_init(&rng, c->seed, "predictor epoch", (uint64_t)epoch);
        nas_rng_shuffle(&rng, t->order, (uint32_t)t->trained);
        for (int from = 0; from < t->trained; from += c->batch) {
            const int rows = t->trained - from < c->batch ? t->trained - from : c->batch;
            const double done = (double)t->step / (double)(batches * c->epochs);

            forward(t, t->order + from, rows);
            backward(t, t->order + from, rows);
            step(t, 0.5 * c->lr * (1.0 + cos(M_PI * done)));
            report(t, observer, epoch, from / c->batch + 1, batches);
        }
        status = nas_observe_go_on(observer, "training a predictor", err);
    }
    return status;
}

/* The last layer gives accuracies, not standardised ones. */
static void unscale(trainer *t)
{
    const int last = t->p->layers - 1;

    for (size_t k = 0; k < part_size(t->p, last, 0); k++)
        t->p->weight[last][k] *= (float)t->std;
    t->p->bias[last][0] = (float)(t->p->bias[last][0] * t->std + t->mean);
}

/* Infinite weights can hide behind a ReLU, and huge ones are finite: a predictor that is twice as
 * far off as the mean, on what it was trained with, has learnt nothing. */
static bool has_diverged(trainer *t)
{
    double squares = 0.0;

    for (int i = 0; i < t->p->layers; i++)
        for (int part = 0; part < 2; part++)
            for (size_t k = 0; k < part_size(t->p, i, part); k++)
                if (!isfinite(part_of(t->p, i, part)[k]))
                    return true;
    for (int i = 0; i < t->trained; i++) {
        forward(t, t->order + i, 1);
        squares += pow((double)t->kept[t->p->layers][0] - standardised(t, t->order[i]), 2.0);
    }
    return !(squares <= 4.0 * t->trained);
}

static nas_status judge(trainer *t, nas_predictor_fit *fit, nas_err *err)
{
    const int count = t->count - t->trained;
    double *pairs = malloc(2 * ((size_t)count + 1) * sizeof *pairs), squares = 0.0;

    *fit = (nas_predictor_fit){.trained = t->trained, .held_out = count, .rmse = NAN,
                               .spearman = NAN, .kendall = NAN};
    if (pairs == NULL)
        return nas_fail(err, NAS_E_NOMEM, "predictor: out of memory");
    for (int i = 0; i < count; i++) {
        const uint32_t *row = t->order + t->trained + i;

        forward(t, row, 1);
        pairs[i] = (double)t->kept[t->p->layers][0];
        pairs[count + i] = t->samples[*row].score;
        squares += pow(pairs[i] - pairs[count + i], 2.0);
    }
    if (count > 1) {
        fit->rmse = sqrt(squares / count);
        fit->spearman = nas_spearman(pairs, pairs + count, count);
        fit->kendall = nas_kendall(pairs, pairs + count, count);
    }
    free(pairs);
    return NAS_OK;
}

static nas_status check(const nas_candidate *samples, int count, nas_err *err)
{
    if (count < LEAST_SAMPLES)
        return nas_fail(err, NAS_E_DATA, "%d samples: a predictor needs at least %d", count,
                        LEAST_SAMPLES);
    for (int i = 0; i < count; i++)
        if (!isfinite(samples[i].score))
            return nas_fail(err, NAS_E_DATA, "sample %d has no accuracy", i);
    return NAS_OK;
}

nas_status nas_predictor_train(nas_predictor **out, const nas_encoding *encoding,
                               const nas_candidate *samples, int count,
                               const nas_predictor_config *config, const nas_observer *observer,
                               nas_predictor_fit *fit, nas_err *err)
{
    trainer t = {.config = config, .encoding = encoding, .samples = samples, .count = count};
    int width[NAS_PREDICTOR_MAX_LAYERS + 1] = {encoding->inputs};
    nas_status status = check(samples, count, err);

    *out = NULL;
    if (status != NAS_OK)
        return status;
    for (int i = 0; i < config->layers; i++)
        width[i + 1] = config->hidden;
    width[config->layers + 1] = 1;
    if ((t.p = nas_predictor_new(config->layers + 1, width, err)) == NULL)
        return NAS_E_NOMEM;
    t.p->sizes = encoding->sizes;
    memcpy(t.p->image_size, encoding->image_size, sizeof t.p->image_size);
    t.order = malloc((size_t)count * sizeof *t.order);
    if (t.order == NULL || !reserve(&t)) {
        status = nas_fail(err, NAS_E_NOMEM, "predictor: out of memory");
        goto done;
    }
    split(&t);
    draw_weights(&t);
    if ((status = run_epochs(&t, observer, err)) != NAS_OK)
        goto done;
    if (has_diverged(&t)) {
        status = nas_fail(err, NAS_E_FAIL, "training diverged: the predictor is far off on the "
                          "samples that it was trained with");
        nas_hint(err, "lower the learning rate (--lr)");
        goto done;
    }
    unscale(&t);
    status = judge(&t, fit, err);

done:
    release(&t);
    free(t.order);
    if (status == NAS_OK)
        *out = t.p;
    else
        nas_predictor_free(t.p);
    return status;
}
