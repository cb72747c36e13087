/* Initial values of a supernet: candidates of a slot start as crops of the largest one, and
 * a residual branch starts at zero.  Both let paths that share nothing but their neighbours
 * agree from the first step on (docs/papers.md). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nas/model/model.h"

/* Standard deviation of a tap beside that of the next ring inwards, outside the smallest kernel. */
static const double ring_fade = 0.3;

static float *layer_params(const nas_model *model, int slot, int candidate)
{
    return model->params + model->slot[slot].offset[candidate];
}

static const nas_param *find_param(const nas_layer *layer, const nas_param *like)
{
    for (int i = 0; i < layer->params; i++)
        if (layer->param[i].kind == like->kind && strcmp(layer->param[i].name, like->name) == 0)
            return &layer->param[i];
    return NULL;
}

/* The candidate of the same type with the most parameters, the first of equals. */
static int largest_relative(const nas_model_slot *slot, int candidate)
{
    int best = candidate;

    for (int c = 0; c < slot->count; c++) {
        const size_t size = nas_layer_floats(&slot->layer[c]);
        const size_t most = nas_layer_floats(&slot->layer[best]);
        if (slot->layer[c].spec.type == slot->layer[candidate].spec.type &&
            slot->layer[c].spec.type != NAS_OP_OWN && /* whose weights are its own affair */
            (size > most || (size == most && c < best)))
            best = c;
    }
    return best;
}

static int smallest_kernel(const nas_model_slot *slot, const nas_layer *relative,
                           const nas_param *like)
{
    int least = like->k;

    for (int c = 0; c < slot->count; c++) {
        const nas_param *p = find_param(&slot->layer[c], like);
        if (slot->layer[c].spec.type == relative->spec.type && p != NULL && p->k < least)
            least = p->k;
    }
    return least;
}

/* How much of its value a tap keeps: less for every ring outside the smallest kernel. */
static double tap_share(int k, int y, int x, int least)
{
    const int dy = abs(2 * y - (k - 1)), dx = abs(2 * x - (k - 1));
    const int outside = ((dy > dx ? dy : dx) - (least - 1) + 1) / 2;

    return outside > 0 ? pow(ring_fade, outside) : 1.0;
}

/* to = the first rows and columns and the middle taps of from, with the deviation that `to`
 * has by itself.  Both are [k*k][rows][out]; they may be the same tensor. */
static void crop(const nas_param *to, float *values, const nas_param *from, const float *source,
                 int least)
{
    const size_t rows = to->kind == NAS_PARAM_DEPTHWISE ? 1 : (size_t)to->in;
    const size_t from_rows = from->kind == NAS_PARAM_DEPTHWISE ? 1 : (size_t)from->in;
    const size_t cols = (size_t)to->out, from_cols = (size_t)from->out;
    const int edge = (from->k - to->k) / 2;
    double energy = 0.0;

    for (int t = 0; t < to->k * to->k; t++)
        energy += pow(tap_share(to->k, t / to->k, t % to->k, least), 2.0);
    const double scale =
        nas_param_deviation(to) / nas_param_deviation(from) * to->k / sqrt(energy);
    for (int t = 0; t < to->k * to->k; t++) {
        const int y = t / to->k, x = t % to->k;
        const float factor = (float)(scale * tap_share(to->k, y, x, least));
        const size_t tap = (size_t)((y + edge) * from->k + x + edge);

        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < cols; c++)
                values[((size_t)t * rows + r) * cols + c] =
                    factor * source[(tap * from_rows + r) * from_cols + c];
    }
}

void nas_param_fade(const nas_param *param, float *values, int least)
{
    crop(param, values, param, values, least);
}

/* Weights of `layer` from those of its largest relative, where they fit into them. */
static void nest(const nas_model_slot *slot, const nas_layer *layer, float *params,
                 const nas_layer *relative, const float *source)
{
    for (int i = 0; i < layer->params; i++) {
        const nas_param *to = &layer->param[i], *from = find_param(relative, to);

        if (to->kind > NAS_PARAM_LINEAR || from == NULL || from->k < to->k || from->in < to->in ||
            from->out < to->out)
            continue;
        crop(to, params + to->offset, from, source + from->offset,
             smallest_kernel(slot, relative, to));
    }
}

/* A block with a shortcut starts as the shortcut; behind an activation it would stay there. */
static void silence(const nas_layer *layer, float *params)
{
    const nas_unit *last = layer->units > 0 ? &layer->unit[layer->units - 1] : NULL;

    if (last != NULL && last->bn && last->act == NAS_ACT_NONE)
        memset(params + last->gamma, 0, (size_t)layer->spec.out * sizeof *params);
}

void nas_model_reset(nas_model *model, uint64_t seed)
{
    for (int s = 0; s < model->slots; s++) {
        const nas_model_slot *slot = &model->slot[s];

        for (int c = 0; c < slot->count; c++) {
            char prefix[32];
            nas_model_prefix(s, c, prefix);
            nas_layer_reset(&slot->layer[c], layer_params(model, s, c), seed, prefix);
        }
        for (int own = 0; own < 2; own++) /* the largest ones last: the others read them */
            for (int c = 0; c < slot->count; c++) {
                const int r = largest_relative(slot, c);
                if (slot->count > 1 && (r == c) == own)
                    nest(slot, &slot->layer[c], layer_params(model, s, c), &slot->layer[r],
                         layer_params(model, s, r));
            }
        for (int c = 0; c < slot->count && slot->shortcut; c++)
            silence(&slot->layer[c], layer_params(model, s, c));
    }
}
