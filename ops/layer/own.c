/* Operations of the program's own: their table and their layers. */
#include "ops/layer/own.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "ops/layer/unit.h"

enum { MAX_FLOATS = 1 << 30 };

static struct {
    int count;
    nas_own_op op[NAS_OWN_MAX];
    char name[NAS_OWN_MAX][NAS_OWN_NAME_SIZE];
} table;

static bool is_name(const char *name)
{
    return name != NULL && name[0] >= 'a' && name[0] <= 'z' && strlen(name) < NAS_OWN_NAME_SIZE &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

nas_status nas_own_register(const nas_own_op *op, nas_err *err)
{
    if (!is_name(op->name)) {
        nas_fail(err, NAS_E_CONFIG, "\"%.40s\" is no name for an operation",
                 op->name != NULL ? op->name : "");
        nas_hint(err, "a small letter, then small letters, digits and _; at most %d of them",
                 NAS_OWN_NAME_SIZE - 1);
        return NAS_E_CONFIG;
    }
    if (nas_op_find(op->name) != NAS_OP_TYPES || nas_own_find(op->name) >= 0)
        return nas_fail(err, NAS_E_CONFIG, "there is an operation \"%s\" already", op->name);
    if (table.count == NAS_OWN_MAX)
        return nas_fail(err, NAS_E_CONFIG, "%s: there are %d operations of one's own already",
                        op->name, NAS_OWN_MAX);
    assert(op->plan != NULL && op->forward != NULL && op->backward != NULL);
    snprintf(table.name[table.count], NAS_OWN_NAME_SIZE, "%s", op->name);
    table.op[table.count] = *op;
    table.op[table.count].name = table.name[table.count];
    table.count++;
    return NAS_OK;
}

const nas_own_op *nas_own_get(int own)
{
    return own >= 0 && own < table.count ? &table.op[own] : NULL;
}

int nas_own_find(const char *name)
{
    for (int i = 0; i < table.count; i++)
        if (strcmp(table.name[i], name) == 0)
            return i;
    return -1;
}

nas_own_plan nas_own_plan_at(const nas_op_spec *spec, int h, int w)
{
    const nas_own_op *op = nas_own_get(spec->own);
    const int stride = op->window ? spec->stride : 1;
    const nas_layer layer = {.spec = *spec, .h = h, .w = w, .oh = (h - 1) / stride + 1,
                             .ow = (w - 1) / stride + 1};
    nas_own_plan plan = {.fan_in = 1};

    op->plan(op->user, &layer, &plan);
    return plan;
}

nas_status nas_own_check(const nas_op_spec *spec, nas_err *err)
{
    static const int sizes[] = {1, 32, 224}; /* weights are the same at every size */
    const char *name = nas_own_get(spec->own)->name;
    int64_t weights = 0;

    for (int i = 0; i < 3; i++) {
        const nas_own_plan plan = nas_own_plan_at(spec, sizes[i], sizes[i]);

        if (plan.macs < 0 || plan.kept_floats < 0 || plan.weights < 0 ||
            plan.weights > MAX_FLOATS || plan.kept_floats > MAX_FLOATS)
            return nas_fail(err, NAS_E_CONFIG,
                            "%s: plans %lld MACs, %lld weights and %lld kept floats", name,
                            (long long)plan.macs, (long long)plan.weights,
                            (long long)plan.kept_floats);
        if (plan.fan_in < 1 || plan.weights % plan.fan_in != 0)
            return nas_fail(err, NAS_E_CONFIG, "%s: fan_in is %d, must divide the %lld weights",
                            name, plan.fan_in, (long long)plan.weights);
        if (i > 0 && plan.weights != weights)
            return nas_fail(err, NAS_E_CONFIG, "%s: has %lld weights at %d pixels, %lld at %d",
                            name, (long long)weights, sizes[i - 1], (long long)plan.weights,
                            sizes[i]);
        weights = plan.weights;
    }
    return NAS_OK;
}

/* -- the layer ---------------------------------------------------------------------- */

static nas_own_plan plan_of(const nas_layer *layer)
{
    return nas_own_plan_at(&layer->spec, layer->h, layer->w);
}

static size_t image_in(const nas_layer *layer)
{
    return (size_t)layer->h * (size_t)layer->w * (size_t)layer->spec.in;
}

static size_t image_out(const nas_layer *layer)
{
    return (size_t)layer->oh * (size_t)layer->ow * (size_t)layer->spec.out;
}

static void own_layout(nas_layer *layer)
{
    const nas_op_cost size = nas_op_cost_at(&layer->spec, layer->h, layer->w);
    const nas_own_plan plan = plan_of(layer);

    layer->oh = size.out_h;
    layer->ow = size.out_w;

    if (plan.weights > 0)
        nas_layer__book(layer, "own", "weight", NAS_PARAM_LINEAR,
                        (int)(plan.weights / plan.fan_in), plan.fan_in, 1);
}

static size_t own_kept(const nas_layer *layer, int n)
{
    return nas_arena_round((size_t)n * (size_t)plan_of(layer).kept_floats * sizeof(float));
}

static size_t own_temporary(const nas_layer *layer, int n)
{
    const size_t in = (size_t)n * image_in(layer), out = (size_t)n * image_out(layer);

    return nas_arena_round(in * sizeof(float)) + nas_arena_round(out * sizeof(float)) +
           nas_arena_round((size_t)nas_kernel_chunks(n) * layer->weights * sizeof(float));
}

/* y = op(x), chunk by chunk of images. */
static void apply(const nas_layer *layer, const nas_run *run, const float *params, const float *x,
                  float *y, float *kept)
{
    const nas_own_op *op = nas_own_get(layer->spec.own);
    const size_t in = image_in(layer), out = image_out(layer);
    const size_t keeps = kept != NULL ? (size_t)plan_of(layer).kept_floats : 0;
    const int n = run->n, chunks = nas_kernel_chunks(n);

#pragma omp parallel for schedule(static)
    for (int c = 0; c < chunks; c++) {
        const size_t first = (size_t)(c * n / chunks), end = (size_t)((c + 1) * n / chunks);

        op->forward(op->user, layer, (int)(end - first), params, x + first * in, y + first * out,
                    kept != NULL ? kept + first * keeps : NULL);
    }
}

static void *own_forward(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                         const float *residual, float *y)
{
    const size_t keeps = run->train ? (size_t)run->n * (size_t)plan_of(layer).kept_floats : 0;
    float *kept = keeps > 0 ? nas_arena_floats(run->arena, keeps) : NULL;
    const size_t mark = nas_arena_mark(run->arena), count = (size_t)run->n * image_out(layer);
    float *target = residual != NULL ? nas_arena_floats(run->arena, count) : y;

    apply(layer, run, params, x, target, kept);
    if (residual != NULL) {
        const nas_view view = {.x = target};
        run->kernels->apply(run->n, layer->oh * layer->ow, layer->spec.out, &view, residual, y);
    }
    nas_arena_release(run->arena, mark);
    return kept;
}

/* Each chunk adds to its own part of the weights' gradient; the parts are added in order. */
static void own_backward(const nas_layer *layer, const nas_run *run, const float *params,
                         const float *x, void *saved, float *dy, float *dx, bool add, float *grads)
{
    const nas_own_op *op = nas_own_get(layer->spec.own);
    const size_t in = image_in(layer), out = image_out(layer), weights = layer->weights;
    const size_t keeps = (size_t)plan_of(layer).kept_floats;
    const int n = run->n, chunks = nas_kernel_chunks(n);
    const bool wanted = grads != NULL && weights > 0;
    const float *kept = saved;
    float *to = dx, *parts = NULL;

    if (dx != NULL && add)
        to = nas_arena_floats(run->arena, (size_t)n * in);
    if (wanted) {
        parts = nas_arena_floats(run->arena, (size_t)chunks * weights);
        memset(parts, 0, (size_t)chunks * weights * sizeof *parts);
    }
#pragma omp parallel for schedule(static)
    for (int c = 0; c < chunks; c++) {
        const size_t first = (size_t)(c * n / chunks), end = (size_t)((c + 1) * n / chunks);

        op->backward(op->user, layer, (int)(end - first), params, x + first * in,
                     kept != NULL ? kept + first * keeps : NULL, dy + first * out,
                     to != NULL ? to + first * in : NULL,
                     wanted ? parts + (size_t)c * weights : NULL);
    }
    for (int c = 0; c < chunks && wanted; c++)
        run->kernels->add(weights, parts + (size_t)c * weights, grads);
    if (dx != NULL && add)
        run->kernels->add((size_t)n * in, to, dx);
}

static double own_dot(const nas_layer *layer, const nas_run *run, const float *params,
                      const float *x, void *saved, const float *dy)
{
    const size_t count = (size_t)run->n * image_out(layer);
    float *y = nas_arena_floats(run->arena, count);

    apply(layer, run, params, x, y, NULL);
    return run->kernels->dot(count, y, dy);
}

const nas_layer_class nas_layer__own = {
    .layout = own_layout,
    .kept = own_kept,
    .temporary = own_temporary,
    .forward = own_forward,
    .backward = own_backward,
    .output_dot = own_dot,
};
