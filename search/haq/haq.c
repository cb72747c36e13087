/* Episodes of choosing bits. */
#include "search/haq/haq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nas/quant/levels.h"

enum { STATIC_FEATURES = 8 };

struct nas_haq {
    const nas_budget *budget;
    nas_haq_judge judge;
    float (*feature)[STATIC_FEATURES]; /* [count], each column scaled to 0..1 */
    nas_bits *bits, *wanted;           /* [count] in the end, and before they met the budget */
    int step;                          /* of this episode */
    float last;                        /* action before   */
};

/* Depthwise or not, channels in and out, stride, kernel, weights, input pixels, number. */
static void raw_features(const nas_quant_site *s, int index, float *out)
{
    const float values[STATIC_FEATURES] = {
        s->depthwise, (float)s->geom.cin, (float)s->geom.cout, (float)s->geom.stride,
        (float)s->geom.k, (float)s->weights, (float)(s->geom.h * s->geom.w), (float)index};

    for (int f = 0; f < STATIC_FEATURES; f++)
        out[f] = values[f];
}

static void scale_columns(nas_haq *haq)
{
    for (int f = 0; f < STATIC_FEATURES; f++) {
        float low = INFINITY, high = -INFINITY;

        for (int i = 0; i < haq->budget->count; i++) {
            low = fminf(low, haq->feature[i][f]);
            high = fmaxf(high, haq->feature[i][f]);
        }
        for (int i = 0; i < haq->budget->count; i++)
            haq->feature[i][f] = high > low ? (haq->feature[i][f] - low) / (high - low) : 0.0f;
    }
}

nas_status nas_haq_new(nas_haq **out, const nas_budget *budget, const nas_haq_judge *judge,
                       nas_err *err)
{
    nas_haq *haq = calloc(1, sizeof *haq);

    *out = NULL;
    if (haq == NULL)
        return nas_fail(err, NAS_E_NOMEM, "bits: out of memory");
    haq->budget = budget;
    haq->judge = *judge;
    haq->feature = calloc((size_t)budget->count, sizeof *haq->feature);
    haq->bits = calloc((size_t)budget->count, sizeof *haq->bits);
    haq->wanted = calloc((size_t)budget->count, sizeof *haq->wanted);
    if (haq->feature == NULL || haq->bits == NULL || haq->wanted == NULL) {
        nas_haq_free(haq);
        return nas_fail(err, NAS_E_NOMEM, "bits: out of memory");
    }
    for (int i = 0; i < budget->count; i++)
        raw_features(&budget->site[i], i, haq->feature[i]);
    scale_columns(haq);
    *out = haq;
    return NAS_OK;
}

void nas_haq_free(nas_haq *haq)
{
    if (haq == NULL)
        return;
    free(haq->feature);
    free(haq->bits);
    free(haq->wanted);
    free(haq);
}

const nas_bits *nas_haq_bits(const nas_haq *haq) { return haq->bits; }

/* The middle of the interval that is rounded to so many bits. */
static float action_of(const nas_budget *b, int bits)
{
    return ((float)(bits < b->least ? b->least : bits > b->most ? b->most : bits) -
            (float)b->least + 0.5f) / (float)(b->most - b->least + 1);
}

void nas_haq_actions(const nas_budget *b, const nas_bits *bits, float *actions)
{
    for (int i = 0; i < b->count; i++) {
        *actions++ = action_of(b, bits[i].weight);
        if (b->inputs)
            *actions++ = action_of(b, bits[i].input);
    }
}

/* ---- the environment ---- */

static int decisions(const nas_haq *haq) { return haq->budget->inputs ? 2 : 1; }

static nas_status reset(void *user, nas_err *err)
{
    nas_haq *haq = user;

    haq->step = 0;
    haq->last = 0.5f; /* HAQ: 4 bits of 8 */
    for (int i = 0; i < haq->budget->count; i++)
        haq->bits[i] = (nas_bits){haq->budget->most,
                                  haq->budget->inputs ? haq->budget->most : haq->budget->input};
    return NAS_OK;
}

static void observe(void *user, float *observation)
{
    const nas_haq *haq = user;
    const int site = haq->step / decisions(haq);

    for (int f = 0; f < STATIC_FEATURES; f++)
        observation[f] = haq->feature[site][f];
    observation[STATIC_FEATURES] = haq->last;
    if (haq->budget->inputs)
        observation[STATIC_FEATURES + 1] = (float)(haq->step % 2);
}

static void bounds(void *user, float *low, float *high)
{
    *low = 0.0f;
    *high = 1.0f;
}

static nas_status act(void *user, const float *action, nas_env_outcome *outcome, nas_err *err)
{
    nas_haq *haq = user;
    const nas_budget *b = haq->budget;
    const int site = haq->step / decisions(haq);
    const int bits = nas_quant_bits((double)*action, b->least, b->most);
    double accuracy = 0.0;

    *outcome = (nas_env_outcome){0};
    *(haq->step % decisions(haq) == 0 ? &haq->bits[site].weight : &haq->bits[site].input) = bits;
    haq->last = (float)bits / NAS_BUDGET_BITS;
    haq->step++;
    if (haq->step < b->count * decisions(haq))
        return NAS_OK;
    outcome->done = true;
    memcpy(haq->wanted, haq->bits, (size_t)b->count * sizeof *haq->wanted);
    outcome->forced = nas_budget_fit(b, haq->bits);
    nas_budget_give_back(b, haq->wanted, haq->bits);
    const nas_status status = haq->judge.judge(haq->judge.user, haq->bits, &accuracy, err);
    outcome->reward = 10.0 * (accuracy - haq->judge.reference);
    return status;
}

nas_env nas_haq_env(nas_haq *haq)
{
    return (nas_env){.user = haq, .observations = STATIC_FEATURES + 1 + (haq->budget->inputs),
                     .actions = 1, .steps = haq->budget->count * decisions(haq), .reset = reset,
                     .observe = observe, .bounds = bounds, .act = act};
}
