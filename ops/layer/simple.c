/* Layers without convolution: linear, zero, identity and the pools. */
#include <string.h>

#include "ops/layer/unit.h"

static size_t floats_in(const nas_layer *layer, int n)
{
    return (size_t)n * (size_t)layer->h * (size_t)layer->w * (size_t)layer->spec.in;
}

static size_t floats_out(const nas_layer *layer, int n)
{
    return (size_t)n * (size_t)layer->oh * (size_t)layer->ow * (size_t)layer->spec.out;
}

static size_t none(const nas_layer *layer, int n) { return 0; }

static void same_size(nas_layer *layer)
{
    layer->oh = layer->h;
    layer->ow = layer->w;
}

/* Where to compute the output: y itself, or beside it when a residual, which may
 * lie in y, is still to be added by finish_output. */
static float *output_target(const nas_layer *layer, const nas_run *run, const float *residual,
                            float *y)
{
    return residual != NULL ? nas_arena_floats(run->arena, floats_out(layer, run->n)) : y;
}

static void finish_output(const nas_layer *layer, const nas_run *run, const float *target,
                          nas_act act, const float *residual, float *y)
{
    const nas_view view = {.x = target, .act = act};

    if (target != y)
        run->kernels->apply(run->n, layer->oh * layer->ow, layer->spec.out, &view, residual, y);
}

/* -- zero and identity: y aliases residual where the caller works in place ------- */

static void *zero_forward(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                          const float *residual, float *y)
{
    const size_t bytes = floats_out(layer, run->n) * sizeof *y;

    if (residual == NULL)
        memset(y, 0, bytes);
    else if (y != residual)
        memcpy(y, residual, bytes);
    return NULL;
}

static void zero_backward(const nas_layer *layer, const nas_run *run, const float *params,
                          const float *x, void *saved, float *dy, float *dx, bool add, float *grads)
{
    if (dx != NULL && !add)
        memset(dx, 0, floats_in(layer, run->n) * sizeof *dx);
}

static double zero_dot(const nas_layer *layer, const nas_run *run, const float *params,
                       const float *x, void *saved, const float *dy)
{
    return 0.0;
}

static void *identity_forward(const nas_layer *layer, const nas_run *run, float *params,
                              const float *x, const float *residual, float *y)
{
    const nas_view view = {.x = x};

    run->kernels->apply(run->n, layer->oh * layer->ow, layer->spec.out, &view, residual, y);
    return NULL;
}

static void identity_backward(const nas_layer *layer, const nas_run *run, const float *params,
                              const float *x, void *saved, float *dy, float *dx, bool add,
                              float *grads)
{
    if (dx == NULL)
        return;
    if (add)
        run->kernels->add(floats_in(layer, run->n), dy, dx);
    else
        memcpy(dx, dy, floats_in(layer, run->n) * sizeof *dx);
}

static double identity_dot(const nas_layer *layer, const nas_run *run, const float *params,
                           const float *x, void *saved, const float *dy)
{
    return run->kernels->dot(floats_out(layer, run->n), x, dy);
}

/* -- pools ------------------------------------------------------------------------ */

static nas_conv_geom pool_geom(const nas_layer *layer, int n)
{
    const nas_op_spec *s = &layer->spec;

    return (nas_conv_geom){.n = n, .h = layer->h, .w = layer->w, .cin = s->in, .cout = s->in,
                           .k = s->kernel, .stride = s->stride, .pad = s->kernel / 2,
                           .groups = s->in, .oh = layer->oh, .ow = layer->ow};
}

static void pool_layout(nas_layer *layer)
{
    const nas_op_spec *s = &layer->spec;

    layer->oh = (layer->h + 2 * (s->kernel / 2) - s->kernel) / s->stride + 1;
    layer->ow = (layer->w + 2 * (s->kernel / 2) - s->kernel) / s->stride + 1;
}

/* Pool gradients only add: without `add` they start from zeros. */
static void start_gradient(const nas_layer *layer, const nas_run *run, float *dx, bool add)
{
    if (!add)
        memset(dx, 0, floats_in(layer, run->n) * sizeof *dx);
}

static size_t pool_temporary(const nas_layer *layer, int n)
{
    return nas_arena_round(floats_in(layer, n) * sizeof(float)) +
           nas_arena_round(floats_out(layer, n) * sizeof(float));
}

static size_t max_pool_kept(const nas_layer *layer, int n)
{
    return nas_arena_round(floats_out(layer, n));
}

static void *max_pool_forward(const nas_layer *layer, const nas_run *run, float *params,
                              const float *x, const float *residual, float *y)
{
    const nas_conv_geom geom = pool_geom(layer, run->n);
    unsigned char *winner = NULL;

    if (run->train)
        winner = nas_arena_alloc(run->arena, floats_out(layer, run->n));
    const size_t mark = nas_arena_mark(run->arena);
    float *target = output_target(layer, run, residual, y);
    run->kernels->max_pool(&geom, x, target, winner);
    finish_output(layer, run, target, NAS_ACT_NONE, residual, y);
    nas_arena_release(run->arena, mark);
    return winner;
}

static void max_pool_backward(const nas_layer *layer, const nas_run *run, const float *params,
                              const float *x, void *saved, float *dy, float *dx, bool add,
                              float *grads)
{
    const nas_conv_geom geom = pool_geom(layer, run->n);

    if (dx == NULL)
        return;
    start_gradient(layer, run, dx, add);
    run->kernels->max_pool_backward(&geom, dy, saved, dx);
}

static void *avg_pool_forward(const nas_layer *layer, const nas_run *run, float *params,
                              const float *x, const float *residual, float *y)
{
    const nas_conv_geom geom = pool_geom(layer, run->n);
    const size_t mark = nas_arena_mark(run->arena);
    float *target = output_target(layer, run, residual, y);

    run->kernels->avg_pool(&geom, x, target);
    finish_output(layer, run, target, NAS_ACT_NONE, residual, y);
    nas_arena_release(run->arena, mark);
    return NULL;
}

static void avg_pool_backward(const nas_layer *layer, const nas_run *run, const float *params,
                              const float *x, void *saved, float *dy, float *dx, bool add,
                              float *grads)
{
    const nas_conv_geom geom = pool_geom(layer, run->n);

    if (dx == NULL)
        return;
    start_gradient(layer, run, dx, add);
    run->kernels->avg_pool_backward(&geom, dy, dx);
}

/* Not kept: pooled once more. */
static double pool_dot(const nas_layer *layer, const nas_run *run, const float *params,
                       const float *x, void *saved, const float *dy)
{
    const nas_conv_geom geom = pool_geom(layer, run->n);
    float *y = nas_arena_floats(run->arena, floats_out(layer, run->n));

    if (layer->spec.type == NAS_OP_MAX_POOL)
        run->kernels->max_pool(&geom, x, y, NULL);
    else
        run->kernels->avg_pool(&geom, x, y);
    return run->kernels->dot(floats_out(layer, run->n), y, dy);
}

static void mean_pool_layout(nas_layer *layer) { layer->oh = layer->ow = 1; }

static void *mean_pool_forward(const nas_layer *layer, const nas_run *run, float *params,
                               const float *x, const float *residual, float *y)
{
    const nas_view view = {.x = x};
    const size_t mark = nas_arena_mark(run->arena);
    float *target = output_target(layer, run, residual, y);

    run->kernels->mean_pool(run->n, layer->h * layer->w, layer->spec.in, &view, target);
    finish_output(layer, run, target, NAS_ACT_NONE, residual, y);
    nas_arena_release(run->arena, mark);
    return NULL;
}

static void mean_pool_backward(const nas_layer *layer, const nas_run *run, const float *params,
                               const float *x, void *saved, float *dy, float *dx, bool add,
                               float *grads)
{
    const nas_view view = {.x = x};
    const nas_conv_grad out = {.dx = dx, .add = add};

    if (dx != NULL)
        run->kernels->mean_pool_backward(run->n, layer->h * layer->w, layer->spec.in, &view, dy,
                                         &out);
}

static double mean_pool_dot(const nas_layer *layer, const nas_run *run, const float *params,
                            const float *x, void *saved, const float *dy)
{
    float *y = nas_arena_floats(run->arena, floats_out(layer, run->n));

    mean_pool_forward(layer, run, NULL, x, NULL, y);
    return run->kernels->dot(floats_out(layer, run->n), y, dy);
}

/* -- linear --------------------------------------------------------------------------- */

typedef struct linear_kept {
    const float *x; /* as it is multiplied: rounded, after dropout            */
    float *z;       /* what act_backward reads: the activated values, of h-swish
                       those before it; NULL without an activation            */
} linear_kept;

static void linear_layout(nas_layer *layer)
{
    const nas_op_spec *s = &layer->spec;

    same_size(layer);
    layer->linear = nas_layer__book(layer, "linear", "weight", NAS_PARAM_LINEAR, s->out, s->in, 1);
    if (s->bias)
        layer->linear_bias =
            nas_layer__book(layer, "linear", "bias", NAS_PARAM_BIAS, s->out, 1, 1);
}

static size_t linear_kept_bytes(const nas_layer *layer, int n)
{
    return nas_arena_round(sizeof(linear_kept)) +
           (layer->linear_quant ? 2 : 1) * nas_arena_round(floats_in(layer, n) * sizeof(float)) +
           nas_arena_round(floats_out(layer, n) * sizeof(float));
}

static void linear_apply(const nas_layer *layer, const nas_run *run, const float *params,
                         const float *x, nas_act act, float *y)
{
    const nas_op_spec *s = &layer->spec;

    run->kernels->linear(run->n * layer->h * layer->w, s->in, s->out, x, params + layer->linear,
                         s->bias ? params + layer->linear_bias : NULL, act, y);
}

/* The input, or the input rounded, in the arena. */
static const float *linear_input(const nas_layer *layer, const nas_run *run, const float *x)
{
    const nas_quant *q = layer->linear_quant;
    const size_t count = floats_in(layer, run->n);

    if (q != NULL && q->probe != NULL)
        q->probe->see(q->probe->user, q, count, x);
    if (q == NULL || q->probe != NULL || q->input_bits == 0)
        return x;
    float *values = nas_arena_floats(run->arena, count);
    const nas_q8_grid grid = nas_quant_grid(q);
    nas_quant_round(&grid, count, x, values);
    return values;
}

/* The mask of an image is its own in the whole batch, whoever sees it. */
static void drop(const nas_layer *layer, const nas_run *run, const float *x, float *y)
{
    run->kernels->dropout(floats_in(layer, run->before), floats_in(layer, run->n),
                          layer->spec.dropout, run->seed, run->step, x, y);
}

static void *linear_forward(const nas_layer *layer, const nas_run *run, float *params,
                            const float *x, const float *residual, float *y)
{
    const nas_op_spec *s = &layer->spec;
    const nas_act late = s->act == NAS_ACT_HSWISH ? s->act : NAS_ACT_NONE;
    linear_kept *kept = NULL;

    if (run->train) {
        kept = nas_arena_alloc(run->arena, sizeof *kept);
        x = linear_input(layer, run, x);
        *kept = (linear_kept){.x = x};
        if (run->dropout && s->dropout > 0.0f) {
            float *dropped = nas_arena_floats(run->arena, floats_in(layer, run->n));
            drop(layer, run, x, dropped);
            kept->x = x = dropped;
        }
        if (s->act != NAS_ACT_NONE) {
            kept->z = nas_arena_floats(run->arena, floats_out(layer, run->n));
            linear_apply(layer, run, params, x, late ? NAS_ACT_NONE : s->act, kept->z);
            finish_output(layer, run, kept->z, late, residual, y);
            return kept;
        }
    }
    const size_t mark = nas_arena_mark(run->arena);
    float *target = output_target(layer, run, residual, y);
    if (!run->train)
        x = linear_input(layer, run, x);
    linear_apply(layer, run, params, x, s->act, target);
    finish_output(layer, run, target, NAS_ACT_NONE, residual, y);
    nas_arena_release(run->arena, mark);
    return kept;
}

static void linear_backward(const nas_layer *layer, const nas_run *run, const float *params,
                            const float *x, void *saved, float *dy, float *dx, bool add,
                            float *grads)
{
    const nas_op_spec *s = &layer->spec;
    const linear_kept *kept = saved;
    float *to = dx;

    if (kept->z != NULL)
        run->kernels->act_backward(floats_out(layer, run->n), s->act, kept->z, dy, dy);
    if (dx != NULL && add)
        to = nas_arena_floats(run->arena, floats_in(layer, run->n));
    run->kernels->linear_backward(run->n * layer->h * layer->w, s->in, s->out, kept->x,
                                  params + layer->linear, dy, to,
                                  grads ? grads + layer->linear : NULL,
                                  grads && s->bias ? grads + layer->linear_bias : NULL);
    if (dx == NULL)
        return;
    if (run->dropout && s->dropout > 0.0f)
        drop(layer, run, to, to);
    if (layer->linear_quant != NULL && layer->linear_quant->input_bits > 0)
        layer->linear_quant->range_grad +=
            nas_quant_pass(layer->linear_quant, floats_in(layer, run->n), x, to);
    if (add)
        run->kernels->add(floats_in(layer, run->n), to, dx);
}

static double linear_dot(const nas_layer *layer, const nas_run *run, const float *params,
                         const float *x, void *saved, const float *dy)
{
    const linear_kept *kept = saved;
    float *y = nas_arena_floats(run->arena, floats_out(layer, run->n));

    linear_apply(layer, run, params, kept->x, layer->spec.act, y);
    return run->kernels->dot(floats_out(layer, run->n), y, dy);
}

const nas_layer_class nas_layer__zero = {
    .layout = same_size,
    .kept = none,
    .temporary = none,
    .forward = zero_forward,
    .backward = zero_backward,
    .output_dot = zero_dot,
};
const nas_layer_class nas_layer__identity = {
    .layout = same_size,
    .kept = none,
    .temporary = none,
    .forward = identity_forward,
    .backward = identity_backward,
    .output_dot = identity_dot,
};
const nas_layer_class nas_layer__max_pool = {
    .layout = pool_layout,
    .kept = max_pool_kept,
    .temporary = pool_temporary,
    .forward = max_pool_forward,
    .backward = max_pool_backward,
    .output_dot = pool_dot,
};
const nas_layer_class nas_layer__avg_pool = {
    .layout = pool_layout,
    .kept = none,
    .temporary = pool_temporary,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
    .output_dot = pool_dot,
};
const nas_layer_class nas_layer__mean_pool = {
    .layout = mean_pool_layout,
    .kept = none,
    .temporary = pool_temporary,
    .forward = mean_pool_forward,
    .backward = mean_pool_backward,
    .output_dot = mean_pool_dot,
};
const nas_layer_class nas_layer__linear = {
    .layout = linear_layout,
    .kept = linear_kept_bytes,
    .temporary = pool_temporary,
    .forward = linear_forward,
    .backward = linear_backward,
    .output_dot = linear_dot,
};
