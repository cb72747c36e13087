/* A network's parameters as floats, and their rounded form in the network. */
#include "nas/quant/quantizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nas/model/infer.h"
#include "nas/quant/levels.h"

struct nas_quantizer {
    nas_model *model;
    nas_quantizer_config config;
    int count;
    nas_quant_site *site;
    float *origin;     /* [model->floats]: what the network began with                   */
    float *full;       /* [weights]: weights before rounding (linear), site after site    */
    uint8_t *cluster;  /* [weights] (kmeans)                                              */
    float *step;       /* [steps]: a step a channel (linear), site after site             */
    double *state;     /* [count][STATE]                                                  */
    size_t weights, steps;
    nas_histogram *input; /* [count]; bins 0: not calibrated                              */
};

/* Numbers of a site that a checkpoint holds. */
enum { WEIGHT_BITS, INPUT_BITS, RANGE, VELOCITY, STATE = NAS_QUANTIZER_NUMBERS };

static float *weights_of(const nas_quantizer *q, int i)
{
    const nas_quant_site *site = &q->site[i];

    return q->model->params + q->model->slot[site->slot].offset[0] + site->weight->offset;
}

static size_t channels_of(const nas_quant_site *site) { return (size_t)site->weight->out; }
static size_t rows_of(const nas_quant_site *site)
{
    return site->weight->count / channels_of(site);
}

nas_status nas_quantizer_new(nas_quantizer **out, nas_model *model,
                             const nas_quantizer_config *config, nas_err *err)
{
    nas_quantizer *q = calloc(1, sizeof *q);
    nas_status status;

    *out = NULL;
    if (q == NULL)
        return nas_fail(err, NAS_E_NOMEM, "quantisation: out of memory");
    q->model = model;
    q->config = *config;
    if ((status = nas_quant_attach(model, err)) != NAS_OK ||
        (status = nas_quant_sites(&q->site, &q->count, model, err)) != NAS_OK)
        goto done;
    if (q->count == 0) {
        status = nas_fail(err, NAS_E_CONFIG, "the network has no layer that could be quantised");
        goto done;
    }
    for (int i = 0; i < q->count; i++) {
        q->weights += q->site[i].weight->count;
        q->steps += channels_of(&q->site[i]);
    }
    const bool linear = config->method == NAS_QUANT_LINEAR;
    q->origin = malloc(model->floats * sizeof *q->origin);
    q->full = linear ? calloc(q->weights, sizeof *q->full) : NULL;
    q->step = linear ? calloc(q->steps, sizeof *q->step) : NULL;
    q->cluster = linear ? NULL : calloc(q->weights, 1);
    q->state = calloc((size_t)q->count * STATE, sizeof *q->state);
    q->input = calloc((size_t)q->count, sizeof *q->input);
    if (q->origin == NULL || q->state == NULL || q->input == NULL ||
        (linear ? q->full == NULL || q->step == NULL : q->cluster == NULL))
        status = nas_fail(err, NAS_E_NOMEM, "quantisation: out of memory");
    else
        memcpy(q->origin, model->params, model->floats * sizeof *q->origin);

done:
    if (status == NAS_OK)
        *out = q;
    else
        nas_quantizer_free(q);
    return status;
}

void nas_quantizer_free(nas_quantizer *q)
{
    if (q == NULL)
        return;
    for (int i = 0; i < q->count && q->input != NULL; i++)
        nas_histogram_fini(&q->input[i]);
    free(q->origin);
    free(q->full);
    free(q->cluster);
    free(q->step);
    free(q->state);
    free(q->input);
    free(q->site);
    free(q);
}

int nas_quantizer_count(const nas_quantizer *q) { return q->count; }
const nas_quant_site *nas_quantizer_sites(const nas_quantizer *q) { return q->site; }

/* ---- calibration ---- */

typedef struct watch {
    nas_quantizer *q;
    nas_status status;
    nas_err *err;
} watch;

static void see(void *user, const nas_quant *quant, size_t count, const float *values)
{
    watch *w = user;
    nas_histogram *input = &w->q->input[quant - w->q->model->quant];

    nas_histogram_fini(input);
    if (w->status == NAS_OK)
        w->status = nas_histogram_init(input, values, count, w->err);
}

nas_status nas_quantizer_calibrate(nas_quantizer *q, int n, const float *images, nas_err *err)
{
    const int choice[NAS_MAX_SLOTS] = {0};
    watch w = {.q = q, .err = err};
    const nas_quant_probe probe = {.user = &w, .see = see};
    nas_infer *infer = NULL;

    nas_quantizer_restore(q);
    for (int i = 0; i < q->count; i++)
        q->site[i].quant->probe = &probe;
    nas_status status = nas_infer_new(&infer, q->model, choice, n, err);
    if (status == NAS_OK) {
        nas_infer_run(infer, n, images);
        status = w.status;
    }
    nas_infer_free(infer);
    for (int i = 0; i < q->count; i++)
        q->site[i].quant->probe = NULL;
    return status;
}

/* Where inputs are cut; a layer whose inputs were all zero takes 1. */
static double input_range(const nas_quantizer *q, int i, int bits)
{
    const nas_histogram *h = &q->input[i];
    const int levels = (1 << (q->site[i].full_wave ? bits - 1 : bits)) - 1;
    const bool kl = q->config.calibration == NAS_CALIBRATION_KL ||
                    (q->config.calibration == NAS_CALIBRATION_AUTO && bits < 6);
    const double range = h->bins > 0 && kl ? nas_histogram_threshold(h, levels) : h->most;

    return range > 0.0 ? range : 1.0;
}

/* ---- a policy ---- */

/* The records say what the state says. */
void nas_quantizer_refresh(nas_quantizer *q)
{
    size_t at = 0;

    for (int i = 0; i < q->count; i++) {
        const double *state = q->state + (size_t)i * STATE;
        nas_quant *quant = q->site[i].quant;

        quant->weight_bits = (int)state[WEIGHT_BITS];
        quant->input_bits = (int)state[INPUT_BITS];
        quant->range = (float)state[RANGE];
        quant->range_grad = 0.0;
        if (quant->weight_step != NULL)
            memcpy(quant->weight_step, q->step + at, channels_of(&q->site[i]) * sizeof *q->step);
        at += channels_of(&q->site[i]);
    }
}

static nas_status round_linear(nas_quantizer *q, int i, size_t weight, size_t step, nas_err *err)
{
    const nas_quant_site *site = &q->site[i];
    const size_t rows = rows_of(site), out = channels_of(site);
    const int bits = (int)q->state[(size_t)i * STATE + WEIGHT_BITS];
    float *w = weights_of(q, i);

    memcpy(q->full + weight, w, site->weight->count * sizeof *w);
    if (bits == 0) {
        free(site->quant->weight_step);
        site->quant->weight_step = NULL;
        return NAS_OK;
    }
    if (site->quant->weight_step == NULL &&
        (site->quant->weight_step = malloc(out * sizeof *w)) == NULL)
        return nas_fail(err, NAS_E_NOMEM, "quantisation: out of memory");
    const nas_status status = nas_quant_steps(w, rows, out, bits, q->config.per_channel,
                                              q->config.calibration != NAS_CALIBRATION_MAX,
                                              q->step + step, err);
    if (status == NAS_OK)
        nas_quant_weights(w, rows, out, bits, q->step + step, w);
    return status;
}

static nas_status share(nas_quantizer *q, int i, size_t weight, nas_err *err)
{
    const nas_quant_site *site = &q->site[i];
    const int bits = (int)q->state[(size_t)i * STATE + WEIGHT_BITS];
    nas_rng rng;

    if (bits == 0)
        return NAS_OK;
    nas_rng_init(&rng, q->config.seed, "quant.kmeans", (uint64_t)i);
    return nas_quant_share(weights_of(q, i), site->weight->count, bits, q->config.iterations, &rng,
                           q->cluster + weight, err);
}

nas_status nas_quantizer_apply(nas_quantizer *q, const nas_bits *bits, nas_err *err)
{
    const bool linear = q->config.method == NAS_QUANT_LINEAR;
    nas_status status = NAS_OK;
    size_t weight = 0, step = 0;

    memcpy(q->model->params, q->origin, q->model->floats * sizeof *q->origin);
    for (int i = 0; i < q->count && status == NAS_OK; i++) {
        double *state = q->state + (size_t)i * STATE;

        state[WEIGHT_BITS] = bits[i].weight;
        state[INPUT_BITS] = linear ? bits[i].input : 0;
        state[RANGE] = linear && bits[i].input > 0 ? input_range(q, i, bits[i].input) : 1.0;
        state[VELOCITY] = 0.0;
        status = linear ? round_linear(q, i, weight, step, err) : share(q, i, weight, err);
        weight += q->site[i].weight->count;
        step += channels_of(&q->site[i]);
    }
    nas_quantizer_refresh(q);
    return status;
}

void nas_quantizer_restore(nas_quantizer *q)
{
    memcpy(q->model->params, q->origin, q->model->floats * sizeof *q->origin);
    memset(q->state, 0, (size_t)q->count * STATE * sizeof *q->state);
    for (int i = 0; i < q->count; i++)
        q->state[(size_t)i * STATE + RANGE] = 1.0;
    nas_quantizer_refresh(q);
}

nas_bits nas_quantizer_bits(const nas_quantizer *q, int site)
{
    return (nas_bits){.weight = q->site[site].quant->weight_bits,
                      .input = q->site[site].quant->input_bits};
}

/* ---- training ---- */

/* The step that SGD took from the rounded weights is taken from the full ones. */
static void round_again(nas_quantizer *q, int i, size_t weight, size_t step)
{
    const nas_quant_site *site = &q->site[i];
    const size_t rows = rows_of(site), out = channels_of(site);
    const float most = (float)((1 << (site->quant->weight_bits - 1)) - 1);
    const float *steps = q->step + step;
    float *w = weights_of(q, i), *full = q->full + weight;

#pragma omp parallel for if (rows * out > 32768)
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < out; c++) {
            const size_t at = r * out + c;
            float rounded[2]; /* before the step, and after it */

            for (int k = 0; k < 2; k++) {
                const float code = steps[c] > 0.0f ? rintf(full[at] / steps[c]) : 0.0f;
                rounded[k] = steps[c] * fmaxf(-most, fminf(code, most));
                if (k == 0)
                    full[at] += w[at] - rounded[0];
            }
            w[at] = rounded[1];
        }
}

static void move_range(nas_quantizer *q, int i, const nas_range_sgd *sgd)
{
    double *state = q->state + (size_t)i * STATE;
    nas_quant *quant = q->site[i].quant;
    const double least = 1e-3;

    if (quant->input_bits == 0)
        return;
    state[VELOCITY] = sgd->momentum * state[VELOCITY] + quant->range_grad +
                      sgd->decay * state[RANGE];
    state[RANGE] = fmax(least, state[RANGE] - sgd->lr * state[VELOCITY]);
    quant->range = (float)state[RANGE];
    quant->range_grad = 0.0;
}

void nas_quantizer_step(nas_quantizer *q, const nas_range_sgd *sgd)
{
    size_t weight = 0, step = 0;

    for (int i = 0; i < q->count; i++) {
        const bool rounded = q->site[i].quant->weight_bits > 0;

        if (rounded && q->config.method == NAS_QUANT_LINEAR)
            round_again(q, i, weight, step);
        else if (rounded)
            nas_quant_average(weights_of(q, i), q->site[i].weight->count, q->cluster + weight);
        move_range(q, i, sgd);
        weight += q->site[i].weight->count;
        step += channels_of(&q->site[i]);
    }
}

nas_status nas_quantizer_read_bits(const nas_quantizer *q, const double *numbers, nas_bits *bits,
                                   nas_err *err)
{
    const bool linear = q->config.method == NAS_QUANT_LINEAR;

    for (int i = 0; i < q->count; i++, numbers += STATE) {
        const double weight = numbers[WEIGHT_BITS], input = numbers[INPUT_BITS];

        bits[i] = (nas_bits){0};
        if (!(weight >= 0 && weight <= 8 && input >= 0 && input <= 8) ||
            weight != trunc(weight) || input != trunc(input) ||
            (linear && (weight == 1 || input == 1)))
            return nas_fail(err, NAS_E_DATA, "%s: %g and %g bits", q->site[i].name, weight, input);
        bits[i] = (nas_bits){(int)weight, (int)input};
    }
    return NAS_OK;
}

nas_status nas_quantizer_state(nas_quantizer *q, nas_quantizer_visit *visit, void *user,
                               nas_err *err)
{
    nas_status status = visit(user, NAS_QUANTIZER_SITES, NAS_QUANTIZER_F64,
                              (int64_t)q->count * STATE, q->state, err);

    if (status == NAS_OK && q->config.method == NAS_QUANT_KMEANS)
        return visit(user, "quantizer.clusters", NAS_QUANTIZER_U8, (int64_t)q->weights, q->cluster,
                     err);
    if (status == NAS_OK &&
        (status = visit(user, "quantizer.weights", NAS_QUANTIZER_F32, (int64_t)q->weights, q->full,
                        err)) == NAS_OK)
        status = visit(user, "quantizer.steps", NAS_QUANTIZER_F32, (int64_t)q->steps, q->step, err);
    return status;
}
