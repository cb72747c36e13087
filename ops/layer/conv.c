/* The conv layer: one unit, its output materialised. */
#include "ops/layer/unit.h"

static void layout(nas_layer *layer)
{
    const nas_op_spec *s = &layer->spec;
    nas_unit *unit = nas_unit__add(layer, "conv", layer->h, layer->w, s->in, s->out, s->kernel,
                                   s->stride, s->groups, s->bn, s->bias, s->act);

    nas_unit__book_vectors(layer, unit, "conv");
    nas_unit__book_buffers(layer, unit, "conv");
    layer->oh = unit->geom.oh;
    layer->ow = unit->geom.ow;
}

static size_t kept_bytes(const nas_layer *layer, int n)
{
    return nas_arena_round(sizeof(nas_unit_kept)) + nas_unit__kept_bytes(&layer->unit[0], n);
}

/* The output once more: for output_dot. */
static size_t temporary_bytes(const nas_layer *layer, int n)
{
    return nas_arena_round(nas_unit__outputs(&layer->unit[0], n) * sizeof(float)) +
           nas_unit__sums_bytes(&layer->unit[0], n) +
           8 * nas_arena_round((size_t)layer->spec.out * sizeof(float));
}

static void *forward(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                     const float *residual, float *y)
{
    const nas_unit *unit = &layer->unit[0];
    const nas_view in = {.x = x};

    if (!run->train) {
        nas_unit__evaluate(unit, run, params, &in, residual, y);
        return NULL;
    }
    nas_unit_kept *kept = nas_arena_alloc(run->arena, sizeof *kept);
    *kept = nas_unit__vectors(unit, run);
    kept->raw = nas_unit__raw(unit, run);
    nas_unit__forward(unit, run, params, &in, kept);
    const nas_view view = nas_unit__view(unit, kept);
    run->kernels->apply(run->n, layer->oh * layer->ow, layer->spec.out, &view, residual, y);
    return kept;
}

static void backward(const nas_layer *layer, const nas_run *run, const float *params,
                     const float *x, void *saved, float *dy, float *dx, bool add, float *grads)
{
    const nas_unit *unit = &layer->unit[0];
    const nas_view in = {.x = x};
    const nas_grad_view grad = nas_unit__last_grad(unit, run, params, saved, dy, grads);
    const nas_conv_grad out = {.dx = dx, .add = add, .dw = grads ? grads + unit->weight : NULL};
    if (dx != NULL || grads != NULL)
        nas_unit__backward(unit, run, params, &in, &grad, &out);
}

static double output_dot(const nas_layer *layer, const nas_run *run, const float *params,
                         const float *x, void *saved, const float *dy)
{
    return nas_unit__output_dot(&layer->unit[0], run, saved, dy);
}

const nas_layer_class nas_layer__conv = {
    .layout = layout,
    .kept = kept_bytes,
    .temporary = temporary_bytes,
    .forward = forward,
    .backward = backward,
    .output_dot = output_dot,
};
