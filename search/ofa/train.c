/* Training a predictor: which samples train, what they teach, and how well that went. */
#include "search/ofa/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"

enum { LEAST_SAMPLES = 10 };

typedef struct trainer {
    const nas_predictor_config *config;
    const nas_encoding *encoding;
    const nas_candidate *samples;
    nas_predictor *p;
    uint32_t *order;      /* [count]: those that train first, then the held-out ones */
    int count, trained;
    double mean, std;     /* of the scores that train */
    nas_dense_trainer net;
} trainer;

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
    for (int r = 0; r < count; r++)
        nas_encoding_apply(t->encoding, &t->samples[rows[r]],
                           t->net.kept[0] + (size_t)r * (size_t)t->p->net.width[0]);
    nas_dense_forward(&t->net, count);
}

/* What the network says of a row that went forward. */
static double said(const trainer *t, int row)
{
    return (double)t->net.kept[t->p->net.layers][row];
}

/* Gradients of the mean squared error of the rows that went forward. */
static void backward(trainer *t, const uint32_t *rows, int count)
{
    for (int r = 0; r < count; r++)
        t->net.delta[0][r] = (float)(2.0 / count * (said(t, r) - standardised(t, rows[r])));
    nas_dense_backward(&t->net, count);
}

static void report(const trainer *t, const nas_observer *observer, int64_t epoch, int64_t batch,
                   int64_t batches)
{
    const nas_progress at = {.phase = "predictor", .epoch = epoch, .epochs = t->config->epochs,
                             .batch = batch, .batches = batches, .step = t->net.step,
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
            const double done = (double)t->net.step / (double)(batches * c->epochs);

            forward(t, t->order + from, rows);
            backward(t, t->order + from, rows);
            nas_dense_step(&t->net, 0.5 * c->lr * (1.0 + cos(M_PI * done)), c->decay);
            report(t, observer, epoch, from / c->batch + 1, batches);
        }
        status = nas_observe_go_on(observer, "training a predictor", err);
    }
    return status;
}

/* The last layer gives accuracies, not standardised ones. */
static void unscale(trainer *t)
{
    nas_dense *net = &t->p->net;
    const int last = net->layers - 1;

    for (int k = 0; k < net->width[last]; k++)
        net->weight[last][k] *= (float)t->std;
    net->bias[last][0] = (float)(net->bias[last][0] * t->std + t->mean);
}

/* Infinite weights can hide behind a ReLU, and huge ones are finite: a predictor that is twice as
 * far off as the mean, on what it was trained with, has learnt nothing. */
static bool has_diverged(trainer *t)
{
    double squares = 0.0;

    if (!nas_dense_is_finite(&t->p->net))
        return true;
    for (int i = 0; i < t->trained; i++) {
        forward(t, t->order + i, 1);
        squares += pow(said(t, 0) - standardised(t, t->order[i]), 2.0);
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
        pairs[i] = said(t, 0);
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
    int width[NAS_DENSE_MAX_LAYERS + 1] = {encoding->inputs};
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
    if (t.order == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "predictor: out of memory");
        goto done;
    }
    if ((status = nas_dense_trainer_init(&t.net, &t.p->net, config->batch, err)) != NAS_OK)
        goto done;
    split(&t);
    nas_dense_draw(&t.p->net, config->seed, "predictor weights");
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
    nas_dense_trainer_fini(&t.net);
    free(t.order);
    if (status == NAS_OK)
        *out = t.p;
    else
        nas_predictor_free(t.p);
    return status;
}
