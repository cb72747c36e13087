/* The convolution unit: geometry, batch norm's bookkeeping, forward and the
 * gradient view that its backward kernels read. */
#include "ops/layer/unit.h"

#include <assert.h>
#include <math.h>
#include <string.h>

nas_unit *nas_unit__add(nas_layer *layer, const char *name, int h, int w, int in, int out, int k,
                        int stride, int groups, bool bn, bool bias, nas_act act)
{
    assert(layer->units < NAS_LAYER_MAX_UNITS);
    nas_unit *unit = &layer->unit[layer->units++];
    const int pad = k / 2;

    *unit = (nas_unit){
        .geom = {.h = h, .w = w, .cin = in, .cout = out, .k = k, .stride = stride, .pad = pad,
                 .groups = groups, .oh = (h + 2 * pad - k) / stride + 1,
                 .ow = (w + 2 * pad - k) / stride + 1},
        .bn = bn, .bias = bias, .act = act,
    };
    const nas_param_kind kind = k == 1 && stride == 1 && groups == 1 ? NAS_PARAM_POINTWISE
                                : groups == in && in == out          ? NAS_PARAM_DEPTHWISE
                                                                     : NAS_PARAM_CONV;
    unit->weight = nas_layer__book(layer, name, "weight", kind, out, in / groups, k);
    return unit;
}

void nas_unit__book_vectors(nas_layer *layer, nas_unit *unit, const char *name)
{
    const int c = unit->geom.cout;

    if (unit->bn) {
        unit->gamma = nas_layer__book(layer, name, "gamma", NAS_PARAM_GAMMA, c, 1, 1);
        unit->beta = nas_layer__book(layer, name, "beta", NAS_PARAM_BETA, c, 1, 1);
    } else if (unit->bias) {
        unit->beta = nas_layer__book(layer, name, "bias", NAS_PARAM_BIAS, c, 1, 1);
    }
}

void nas_unit__book_buffers(nas_layer *layer, nas_unit *unit, const char *name)
{
    if (!unit->bn)
        return;
    unit->mean = nas_layer__book(layer, name, "mean", NAS_PARAM_MEAN, unit->geom.cout, 1, 1);
    unit->var = nas_layer__book(layer, name, "var", NAS_PARAM_VAR, unit->geom.cout, 1, 1);
}

static bool is_pointwise(const nas_conv_geom *g)
{
    return g->k == 1 && g->stride == 1 && g->groups == 1;
}

const struct nas_conv_kernels *nas_unit__kernels(const nas_unit *unit, const nas_kernels *kernels)
{
    const nas_conv_geom *g = &unit->geom;

    if (is_pointwise(g))
        return &kernels->pointwise;
    return g->groups == g->cin && g->cin == g->cout ? &kernels->depthwise : &kernels->conv;
}

size_t nas_unit__outputs(const nas_unit *unit, int n)
{
    return (size_t)n * (size_t)unit->geom.oh * (size_t)unit->geom.ow * (size_t)unit->geom.cout;
}

size_t nas_unit__sums_bytes(const nas_unit *unit, int n)
{
    const size_t pair = 2 * (size_t)unit->geom.cout;

    return nas_arena_round((size_t)nas_kernel_chunks(n) * pair * sizeof(float)) +
           nas_arena_round(pair * sizeof(double)) +
           nas_arena_round(pair * sizeof(float)); /* of several processes: sync.c */
}

size_t nas_unit__kept_bytes(const nas_unit *unit, int n)
{
    const size_t vectors = unit->bn ? 4 * nas_arena_round((size_t)unit->geom.cout * 4) : 0;

    return nas_arena_round(nas_unit__outputs(unit, n) * sizeof(float)) + vectors;
}

float *nas_unit__sums(const nas_run *run, int channels)
{
    return nas_arena_floats(run->arena, (size_t)nas_kernel_chunks(run->n) * 2 * (size_t)channels);
}

float *nas_unit__raw(const nas_unit *unit, const nas_run *run)
{
    return nas_arena_floats(run->arena, nas_unit__outputs(unit, run->n));
}

nas_unit_kept nas_unit__vectors(const nas_unit *unit, const nas_run *run)
{
    const size_t c = (size_t)unit->geom.cout;
    nas_unit_kept kept = {0};

    if (!unit->bn)
        return kept;
    kept.mean = nas_arena_floats(run->arena, c);
    kept.invstd = nas_arena_floats(run->arena, c);
    kept.scale = nas_arena_floats(run->arena, c);
    kept.shift = nas_arena_floats(run->arena, c);
    return kept;
}

static size_t input_count(const nas_unit *unit, int n)
{
    const nas_conv_geom *g = &unit->geom;

    return (size_t)n * (size_t)g->h * (size_t)g->w * (size_t)g->cin;
}

/* The input as the view shows it, in memory. */
static float *materialise(const nas_unit *unit, const nas_run *run, const nas_view *in)
{
    const nas_conv_geom *g = &unit->geom;
    float *x = nas_arena_floats(run->arena, input_count(unit, run->n));

    run->kernels->apply(run->n, g->h * g->w, g->cin, in, NULL, x);
    return x;
}

/* What the convolution reads: the input itself, or the input rounded, in the arena. */
static nas_view rounded(const nas_unit *unit, const nas_run *run, const nas_view *in)
{
    const nas_quant *q = unit->quant;

    if (q == NULL || (q->probe == NULL && q->input_bits == 0))
        return *in;
    float *x = materialise(unit, run, in);
    const size_t count = input_count(unit, run->n);
    if (q->probe != NULL) {
        q->probe->see(q->probe->user, q, count, x);
    } else {
        const nas_q8_grid grid = nas_quant_grid(q);
        nas_quant_round(&grid, count, x, x);
    }
    return (nas_view){.x = x};
}

void nas_unit__again(const nas_unit *unit, const nas_run *run, const float *params,
                     const nas_view *in, const nas_unit_kept *kept)
{
    const size_t mark = nas_arena_mark(run->arena);
    const nas_view view = rounded(unit, run, in);
    const nas_conv_out out = {.y = kept->raw, .act = NAS_ACT_NONE,
                              .bias = unit->bias && !unit->bn ? params + unit->beta : NULL};
    nas_conv_geom geom = unit->geom;

    geom.n = run->n;
    nas_unit__kernels(unit, run->kernels)
        ->forward(&geom, &view, params + unit->weight, NULL, &out, run->scratch);
    nas_arena_release(run->arena, mark);
}

void nas_unit__normalise(const nas_unit *unit, const nas_run *run, float *params,
                         const float *stats, nas_unit_kept *kept)
{
    const bool update = run->bn_momentum > 0.0f;
    const nas_conv_geom *geom = &unit->geom;

    if (run->comm != NULL) {
        nas_unit__sync_forward(unit, run, params, stats, kept);
        return;
    }
    run->kernels->bn_forward(run->n, geom->oh * geom->ow, geom->cout, stats, params + unit->gamma,
                             params + unit->beta, run->bn_eps, run->bn_momentum,
                             update ? params + unit->mean : NULL,
                             update ? params + unit->var : NULL, kept->mean, kept->invstd,
                             kept->scale, kept->shift);
}

void nas_unit__forward(const nas_unit *unit, const nas_run *run, float *params, const nas_view *in,
                       nas_unit_kept *kept)
{
    const size_t mark = nas_arena_mark(run->arena);
    nas_conv_geom geom = unit->geom;

    if (!unit->bn) {
        nas_unit__again(unit, run, params, in, kept);
        return;
    }
    geom.n = run->n;
    const nas_conv_out out = {.y = kept->raw, .stats = nas_unit__sums(run, geom.cout)};
    const nas_view view = rounded(unit, run, in);
    nas_unit__kernels(unit, run->kernels)
        ->forward(&geom, &view, params + unit->weight, NULL, &out, run->scratch);
    nas_unit__normalise(unit, run, params, out.stats, kept);
    nas_arena_release(run->arena, mark);
}

nas_view nas_unit__view(const nas_unit *unit, const nas_unit_kept *kept)
{
    return (nas_view){.x = kept->raw, .scale = kept->scale, .shift = kept->shift, .act = unit->act};
}

const float *nas_unit__running_scale(const nas_unit *unit, const nas_run *run, const float *params,
                                     const float **bias)
{
    const size_t c = (size_t)unit->geom.cout;
    const float *mean = params + unit->mean, *var = params + unit->var;

    *bias = unit->bias ? params + unit->beta : NULL;
    if (!unit->bn)
        return NULL;
    float *scale = nas_arena_floats(run->arena, c), *shift = nas_arena_floats(run->arena, c);
    for (size_t i = 0; i < c; i++) {
        scale[i] = params[unit->gamma + i] / sqrtf(var[i] + run->bn_eps);
        shift[i] = params[unit->beta + i] - mean[i] * scale[i];
    }
    *bias = shift;
    return scale;
}

void nas_unit__evaluate(const nas_unit *unit, const nas_run *run, const float *params,
                        const nas_view *in, const float *residual, float *y)
{
    const size_t mark = nas_arena_mark(run->arena);
    const size_t count = nas_unit__outputs(unit, run->n);
    const bool in_place = residual == y; /* kernels would overwrite it before adding it */
    nas_conv_geom geom = unit->geom;
    nas_conv_out out = {.y = in_place ? nas_arena_floats(run->arena, count) : y,
                        .act = unit->act, .residual = in_place ? NULL : residual,
                        .packed = unit->packed};

    geom.n = run->n;
    if (run->tap != NULL)
        run->tap(run->tap_user, unit, in);
    const float *scale = nas_unit__running_scale(unit, run, params, &out.bias);
    const nas_view view = rounded(unit, run, in);
    nas_unit__kernels(unit, run->kernels)
        ->forward(&geom, &view, params + unit->weight, scale, &out, run->scratch);
    if (in_place)
        run->kernels->add(count, out.y, y);
    nas_arena_release(run->arena, mark);
}

/* The input was rounded: the gradient of the rounded values goes straight through to the view's,
 * but for those that were cut. */
static void backward_rounded(const nas_unit *unit, const nas_run *run, const float *params,
                             const nas_view *in, const nas_grad_view *grad,
                             const nas_conv_grad *out)
{
    const size_t mark = nas_arena_mark(run->arena), count = input_count(unit, run->n);
    const nas_q8_grid grid = nas_quant_grid(unit->quant);
    nas_conv_geom geom = unit->geom;
    float *x = materialise(unit, run, in), *values = nas_arena_floats(run->arena, count);
    float *dx = out->dx != NULL ? nas_arena_floats(run->arena, count) : NULL;
    const nas_view plain = {.x = values};
    const nas_conv_grad inner = {.dx = dx, .dw = out->dw};

    geom.n = run->n;
    nas_quant_round(&grid, count, x, values);
    nas_unit__kernels(unit, run->kernels)
        ->backward(&geom, &plain, params + unit->weight, grad, &inner, run->scratch);
    if (dx != NULL) {
        unit->quant->range_grad += nas_quant_pass(unit->quant, count, x, dx);
        if (in->scale != NULL && in->gate == NULL)
            run->kernels->mask(run->n, geom.h * geom.w, geom.cin, in, out->mean, out->invstd, dx,
                               out->dx, out->sums);
        else if (out->add)
            run->kernels->add(count, dx, out->dx);
        else
            memcpy(out->dx, dx, count * sizeof *dx);
    }
    nas_arena_release(run->arena, mark);
}

void nas_unit__backward(const nas_unit *unit, const nas_run *run, const float *params,
                        const nas_view *in, const nas_grad_view *grad, const nas_conv_grad *out)
{
    nas_conv_geom geom = unit->geom;

    geom.n = run->n;
    if (unit->quant != NULL && unit->quant->input_bits > 0)
        backward_rounded(unit, run, params, in, grad, out);
    else
        nas_unit__kernels(unit, run->kernels)
            ->backward(&geom, in, params + unit->weight, grad, out, run->scratch);
}

nas_grad_view nas_unit__grad_view(const nas_unit *unit, const nas_run *run, const float *params,
                                  const nas_unit_kept *kept, const float *g, const float *sums,
                                  float *grads)
{
    const size_t c = (size_t)unit->geom.cout;
    nas_grad_view view = {.g = g};

    if (!unit->bn) {
        if (unit->bias && grads != NULL)
            for (int chunk = 0; chunk < nas_kernel_chunks(run->n); chunk++)
                for (size_t i = 0; i < c; i++)
                    grads[unit->beta + i] += sums[(size_t)chunk * 2 * c + i];
        return view;
    }
    float *a = nas_arena_floats(run->arena, c);
    float *b = nas_arena_floats(run->arena, c);
    float *k = nas_arena_floats(run->arena, c);
    if (run->comm != NULL)
        nas_unit__sync_backward(unit, run, params, kept, sums, grads, a, b, k);
    else
        run->kernels->bn_backward(run->n, unit->geom.oh * unit->geom.ow, unit->geom.cout, sums,
                                  params + unit->gamma, kept->mean, kept->invstd,
                                  grads ? grads + unit->gamma : NULL,
                                  grads ? grads + unit->beta : NULL, a, b, k);
    view.raw = kept->raw;
    view.a = a;
    view.b = b;
    view.k = k;
    return view;
}

nas_grad_view nas_unit__last_grad(const nas_unit *unit, const nas_run *run, const float *params,
                                  const nas_unit_kept *kept, float *dy, float *grads)
{
    const nas_conv_geom *g = &unit->geom;
    const nas_view view = nas_unit__view(unit, kept);
    const float *mean = kept->mean, *invstd = kept->invstd;
    float *sums = NULL;

    if (unit->bn || unit->bias)
        sums = nas_unit__sums(run, g->cout);
    if (!unit->bn && unit->bias) { /* only the plain sums are of use: no statistics */
        float *zeros = nas_arena_floats(run->arena, (size_t)g->cout);
        memset(zeros, 0, (size_t)g->cout * sizeof *zeros);
        mean = invstd = zeros;
    }
    if (sums != NULL || unit->act != NAS_ACT_NONE)
        run->kernels->mask(run->n, g->oh * g->ow, g->cout, &view, mean, invstd, dy, dy, sums);
    return nas_unit__grad_view(unit, run, params, kept, dy, sums, grads);
}

double nas_unit__output_dot(const nas_unit *unit, const nas_run *run, const nas_unit_kept *kept,
                            const float *dy)
{
    const nas_view view = nas_unit__view(unit, kept);

    return run->kernels->view_dot(run->n, unit->geom.oh * unit->geom.ow, unit->geom.cout, &view,
                                  dy);
}

double nas_unit__forward_dot(const nas_unit *unit, const nas_run *run, float *params,
                             const nas_view *in, nas_unit_kept *kept, const float *dy)
{
    const size_t mark = nas_arena_mark(run->arena), c = (size_t)unit->geom.cout;
    const int chunks = nas_kernel_chunks(run->n);
    nas_conv_geom geom = unit->geom;
    double dot = 0;

    geom.n = run->n;
    if (run->kernels->pointwise_dots == NULL || !is_pointwise(&geom) || unit->quant != NULL ||
        unit->act != NAS_ACT_NONE) {
        nas_unit__forward(unit, run, params, in, kept);
        return nas_unit__output_dot(unit, run, kept, dy);
    }
    float *stats = nas_unit__sums(run, geom.cout), *dots = nas_unit__sums(run, geom.cout);
    run->kernels->pointwise_dots(&geom, in, params + unit->weight, dy, stats, dots, run->scratch);
    nas_unit__normalise(unit, run, params, stats, kept);
    for (size_t i = 0; i < c; i++) {
        double product = 0, sum = 0;

        for (int chunk = 0; chunk < chunks; chunk++) {
            product += dots[(size_t)chunk * 2 * c + i];
            sum += dots[((size_t)chunk * 2 + 1) * c + i];
        }
        dot += kept->scale[i] * product + kept->shift[i] * sum;
    }
    nas_arena_release(run->arena, mark);
    return dot;
}
