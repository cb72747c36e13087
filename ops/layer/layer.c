/* What all layers share: the table of classes, parameter layout, initial values
 * and folding of batch norm. */
#include "ops/layer/layer.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "ops/layer/unit.h"

static const nas_layer_class *const classes[NAS_OP_TYPES] = {
    [NAS_OP_CONV] = &nas_layer__conv,         [NAS_OP_MBCONV] = &nas_layer__mbconv,
    [NAS_OP_ZERO] = &nas_layer__zero,         [NAS_OP_IDENTITY] = &nas_layer__identity,
    [NAS_OP_MAX_POOL] = &nas_layer__max_pool, [NAS_OP_AVG_POOL] = &nas_layer__avg_pool,
    [NAS_OP_MEAN_POOL] = &nas_layer__mean_pool, [NAS_OP_LINEAR] = &nas_layer__linear,
    [NAS_OP_OWN] = &nas_layer__own,
};

size_t nas_layer__book(nas_layer *layer, const char *unit, const char *name, nas_param_kind kind,
                       int out, int in, int k)
{
    assert(layer->params < NAS_LAYER_MAX_PARAMS);
    nas_param *param = &layer->param[layer->params++];

    *param = (nas_param){.kind = kind, .out = out, .in = in, .k = k,
                         .offset = nas_layer_floats(layer),
                         .count = (size_t)out * (size_t)in * (size_t)k * (size_t)k};
    snprintf(param->name, sizeof param->name, "%s.%s", unit, name);
    if (kind >= NAS_PARAM_MEAN)
        layer->buffers += param->count;
    else if (kind >= NAS_PARAM_BIAS)
        layer->vectors += param->count;
    else
        layer->weights += param->count;
    assert(kind >= NAS_PARAM_MEAN || layer->buffers == 0);
    assert(kind >= NAS_PARAM_BIAS || layer->vectors == 0);
    return param->offset;
}

nas_status nas_layer_init(nas_layer *layer, const nas_op_spec *spec, int h, int w, nas_err *err)
{
    const nas_status status = nas_op_check(spec, err);

    if (status != NAS_OK)
        return status;
    if (h < 1 || w < 1)
        return nas_fail(err, NAS_E_CONFIG, "%s: input of %dx%d pixels", nas_op_spec_name(spec), h,
                        w);
    *layer = (nas_layer){.spec = *spec, .h = h, .w = w};
    classes[spec->type]->layout(layer);
    if (layer->oh < 1 || layer->ow < 1)
        return nas_fail(err, NAS_E_CONFIG, "%s: an input of %dx%d pixels leaves no output",
                        nas_op_spec_name(spec), h, w);
    return NAS_OK;
}

size_t nas_layer_floats(const nas_layer *layer)
{
    return layer->weights + layer->vectors + layer->buffers;
}

size_t nas_layer_kept(const nas_layer *layer, int n)
{
    return classes[layer->spec.type]->kept(layer, n);
}

size_t nas_layer_temporary(const nas_layer *layer, int n)
{
    const size_t outputs = (size_t)n * (size_t)layer->oh * (size_t)layer->ow *
                           (size_t)layer->spec.out; /* a copy of dy */

    return classes[layer->spec.type]->temporary(layer, n) +
           nas_arena_round(outputs * sizeof(float)) + nas_layer__quant_bytes(layer, n);
}

size_t nas_layer_scratch(const nas_layer *layer, int n, int threads)
{
    size_t largest = 0;

    for (int i = 0; i < layer->units; i++) {
        nas_conv_geom geom = layer->unit[i].geom;
        geom.n = n;
        const size_t bytes =
            nas_unit__kernels(&layer->unit[i], nas_kernels_get())->scratch(&geom, threads);
        if (bytes > largest)
            largest = bytes;
    }
    const nas_layer_class *class = classes[layer->spec.type];
    const size_t own = class->scratch ? class->scratch(layer, n, threads) : 0;
    const size_t int8 = nas_layer_is_int8(layer) ? nas_layer__int8_scratch(layer, n, threads) : 0;

    largest = own > largest ? own : largest;
    return int8 > largest ? int8 : largest;
}

static void fill(float *values, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        values[i] = value;
}

double nas_param_deviation(const nas_param *param)
{
    const double taps = (double)param->k * param->k;

    switch (param->kind) {
    case NAS_PARAM_LINEAR:
        return 1.0 / sqrt(3.0 * param->in);
    case NAS_PARAM_DEPTHWISE:
        return sqrt(2.0 / taps);
    default:
        return sqrt(2.0 / (taps * param->out));
    }
}

static void reset_param(const nas_param *param, float *values, nas_rng *rng)
{
    const double deviation = nas_param_deviation(param);

    switch (param->kind) {
    case NAS_PARAM_GAMMA:
    case NAS_PARAM_VAR:
        fill(values, param->count, 1.0f);
        break;
    case NAS_PARAM_BIAS:
    case NAS_PARAM_BETA:
    case NAS_PARAM_MEAN:
        fill(values, param->count, 0.0f);
        break;
    case NAS_PARAM_LINEAR:
        for (size_t i = 0; i < param->count; i++)
            values[i] = (float)(sqrt(3.0) * deviation * (2.0 * nas_rng_uniform(rng) - 1.0));
        break;
    default:
        for (size_t i = 0; i < param->count; i++)
            values[i] = (float)(deviation * nas_rng_normal(rng));
    }
}

void nas_layer_reset(const nas_layer *layer, float *params, unsigned long long seed,
                     const char *prefix)
{
    for (int i = 0; i < layer->params; i++) {
        char stream[160];
        nas_rng rng;
        snprintf(stream, sizeof stream, "init/%s.%s", prefix, layer->param[i].name);
        nas_rng_init(&rng, seed, stream, 0);
        reset_param(&layer->param[i], params + layer->param[i].offset, &rng);
    }
}

void *nas_layer_forward(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                        const float *residual, float *y)
{
    const size_t mark = nas_arena_mark(run->arena);
    const bool int8 = (layer->units > 0 ? &layer->unit[0].int8 : &layer->linear_int8)->weights;

    if (int8 && !run->train) {
        nas_layer__int8_forward(layer, run, params, x, residual, y);
        nas_arena_release(run->arena, mark);
        return NULL;
    }
    void *saved =
        classes[layer->spec.type]->forward(layer, run, params, x, residual, y);

    if (run->train && run->keep)
        return saved;
    nas_arena_release(run->arena, mark);
    return NULL;
}

void nas_layer_backward(const nas_layer *layer, const nas_run *run, const float *params,
                        const float *x, void *saved, float *dy, float *dx, bool add, float *grads)
{
    const nas_layer_class *class = classes[layer->spec.type];
    const size_t mark = nas_arena_mark(run->arena);

    if (dx == dy && dx != NULL && !class->in_place) {
        const size_t count = (size_t)run->n * (size_t)layer->oh * (size_t)layer->ow *
                             (size_t)layer->spec.out;
        dy = memcpy(nas_arena_floats(run->arena, count), dy, count * sizeof *dy);
    }
    class->backward(layer, run, params, x, saved, dy, dx, add, grads);
    nas_arena_release(run->arena, mark);
}

double nas_layer_output_dot(const nas_layer *layer, const nas_run *run, const float *params,
                            const float *x, void *saved, const float *dy)
{
    const size_t mark = nas_arena_mark(run->arena);
    const double dot = classes[layer->spec.type]->output_dot(layer, run, params, x, saved, dy);

    nas_arena_release(run->arena, mark);
    return dot;
}

double nas_layer_forward_dot(const nas_layer *layer, const nas_run *run, float *params,
                             const float *x, const float *dy)
{
    const nas_layer_class *class = classes[layer->spec.type];
    const size_t mark = nas_arena_mark(run->arena);
    const size_t count =
        (size_t)run->n * (size_t)layer->oh * (size_t)layer->ow * (size_t)layer->spec.out;
    double dot;

    if (class->forward_dot != NULL) {
        dot = class->forward_dot(layer, run, params, x, dy);
    } else {
        float *y = nas_arena_floats(run->arena, count);
        class->forward(layer, run, params, x, NULL, y);
        dot = run->kernels->dot(count, y, dy);
    }
    nas_arena_release(run->arena, mark);
    return dot;
}

size_t nas_layer_moments_floats(const nas_layer *layer, const nas_kernels *kernels)
{
    const nas_layer_class *class = classes[layer->spec.type];

    return class->moments_floats ? class->moments_floats(layer, kernels) : 0;
}

void nas_layer_moments(const nas_layer *layer, const nas_run *run, const float *x, float *moments)
{
    classes[layer->spec.type]->moments(layer, run, x, moments);
}

/* The same layer with biases in place of batch norm. */
static void folded_shape(const nas_layer *layer, nas_layer *folded)
{
    const int units = layer->units;

    *folded = *layer;
    folded->weights = folded->vectors = folded->buffers = 0;
    folded->params = 0;
    for (int i = 0; i < layer->params; i++) { /* weights keep their order and offsets */
        const nas_param *p = &layer->param[i];
        if (p->kind <= NAS_PARAM_BIAS) {
            folded->param[folded->params] = *p;
            folded->param[folded->params].offset = nas_layer_floats(folded);
            *(p->kind < NAS_PARAM_BIAS ? &folded->weights : &folded->vectors) += p->count;
            if (p->offset == layer->se_reduce_bias && p->kind == NAS_PARAM_BIAS)
                folded->se_reduce_bias = folded->param[folded->params].offset;
            if (p->offset == layer->se_expand_bias && p->kind == NAS_PARAM_BIAS)
                folded->se_expand_bias = folded->param[folded->params].offset;
            for (int u = 0; u < units; u++)
                if (layer->unit[u].bias && p->offset == layer->unit[u].beta)
                    folded->unit[u].beta = folded->param[folded->params].offset;
            folded->params++;
        }
    }
    for (int u = 0; u < units; u++) {
        nas_unit *unit = &folded->unit[u];
        if (!unit->bn)
            continue;
        unit->bn = folded->spec.bn = false;
        unit->bias = folded->spec.bias = true;
        unit->beta =
            nas_layer__book(folded, "folded", "bias", NAS_PARAM_BIAS, unit->geom.cout, 1, 1);
    }
}

/* Output channel of weight element i: innermost in every layout of ours. */
static void fold_unit(const nas_unit *from, const float *params, float eps, const nas_unit *to,
                      float *out)
{
    const nas_conv_geom *g = &from->geom;
    const size_t c = (size_t)g->cout;
    const size_t rows = (size_t)g->k * (size_t)g->k * (size_t)(g->cin / g->groups);

    for (size_t o = 0; o < c; o++) {
        const float scale = params[from->gamma + o] / sqrtf(params[from->var + o] + eps);
        for (size_t r = 0; r < rows; r++)
            out[to->weight + r * c + o] = params[from->weight + r * c + o] * scale;
        out[to->beta + o] = params[from->beta + o] - params[from->mean + o] * scale;
    }
}

void nas_layer_fold(const nas_layer *layer, const float *params, float bn_eps, nas_layer *folded,
                    float *folded_params)
{
    folded_shape(layer, folded);
    if (folded_params == NULL)
        return;
    for (int i = 0, j = 0; i < layer->params; i++) {
        const nas_param *from = &layer->param[i];
        if (from->kind > NAS_PARAM_BIAS)
            continue;
        memcpy(folded_params + folded->param[j++].offset, params + from->offset,
               from->count * sizeof *params);
    }
    for (int u = 0; u < layer->units; u++)
        if (layer->unit[u].bn)
            fold_unit(&layer->unit[u], params, bn_eps, &folded->unit[u], folded_params);
}

/* Floats of one unit's packed weights, in whole cache lines; 0: its kernels have no such layout. */
static size_t unit_packed(const nas_unit *unit, const nas_kernels *kernels)
{
    const struct nas_conv_kernels *k = nas_unit__kernels(unit, kernels);

    return k->pack != NULL ? (k->packed_floats(&unit->geom) + 15) / 16 * 16 : 0;
}

size_t nas_layer_packed_floats(const nas_layer *folded, const nas_kernels *kernels)
{
    size_t floats = 0;

    for (int u = 0; u < folded->units; u++)
        floats += unit_packed(&folded->unit[u], kernels);
    return floats;
}

void nas_layer_pack(nas_layer *folded, const nas_kernels *kernels, const float *params,
                    float *packed)
{
    for (int u = 0; u < folded->units; u++) {
        nas_unit *unit = &folded->unit[u];
        const size_t floats = unit_packed(unit, kernels);

        if (floats == 0)
            continue;
        nas_unit__kernels(unit, kernels)->pack(&unit->geom, params + unit->weight, packed);
        unit->packed = packed;
        packed += floats;
    }
}

/* Index in our layout of PyTorch's element [o][i][t] (t = tap). */
static size_t own_index(const nas_param *p, size_t o, size_t i, size_t t)
{
    const size_t out = (size_t)p->out, in = (size_t)p->in;

    return p->kind == NAS_PARAM_DEPTHWISE ? t * out + o : (t * in + i) * out + o;
}

static void torch_copy(const nas_param *p, const float *from, float *to, bool to_torch)
{
    const size_t taps = (size_t)p->k * (size_t)p->k, in = (size_t)p->in;
    size_t torch = 0;

    for (size_t o = 0; o < (size_t)p->out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t t = 0; t < taps; t++, torch++) {
                const size_t own = own_index(p, o, i, t);
                to[to_torch ? torch : own] = from[to_torch ? own : torch];
            }
}

void nas_param_to_torch(const nas_param *param, const float *params, float *torch_values)
{
    torch_copy(param, params + param->offset, torch_values, true);
}

void nas_param_from_torch(const nas_param *param, const float *torch_values, float *params)
{
    torch_copy(param, torch_values, params + param->offset, false);
}
