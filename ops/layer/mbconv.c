/* The mbconv layer (Sandler et al. 2018; squeeze-excite as in Howard et al. 2019):
 * [1x1 expand, BN, act] -> depthwise, BN, act [-> squeeze-excite] -> 1x1 linear, BN.
 *
 * Only raw convolution outputs are kept; normalised and activated values exist
 * tile by tile inside the kernels that read them.  Where the kernels find it worth
 * while (nas_kernels.expanded), training does not keep the raw expand output
 * either: what stands for it are mean and covariance of the block's input. */
#include <string.h>

#include "ops/layer/unit.h"

enum {
    LARGE = 64, /* pixels: where computing the expand output again is cheap beside its memory */
    MANY = 8    /* images: of fewer, evaluation shares out rows, and those of the expand output
                   that two shares need would be computed twice */
};

typedef struct mbconv_kept {
    nas_unit_kept expand, depthwise, project;
    float *pooled, *hidden, *gate; /* squeeze-excite: [n][mid], [n][se], [n][mid] */
    float *x_mean, *x_cov;         /* of the input, [in] and behind it [in][in], if `is_expanded` */
} mbconv_kept;

static bool has_expand(const nas_layer *layer) { return layer->units == 3; }
static const nas_unit *expand_of(const nas_layer *layer) { return &layer->unit[0]; }
static const nas_unit *depthwise_of(const nas_layer *layer)
{
    return &layer->unit[layer->units - 2];
}
static const nas_unit *project_of(const nas_layer *layer)
{
    return &layer->unit[layer->units - 1];
}

/* Whether expand and depthwise convolution may run as one in training. */
static bool is_expanded(const nas_layer *layer, const nas_kernels *kernels)
{
    return has_expand(layer) && depthwise_of(layer)->quant == NULL &&
           kernels->expanded.worth != NULL &&
           kernels->expanded.worth(&depthwise_of(layer)->geom, layer->spec.in, layer->spec.act);
}

static void layout(nas_layer *layer)
{
    static const char *const names[] = {"expand", "depthwise", "project"};
    const nas_op_spec *s = &layer->spec;
    const int first = s->expand == 1.0f ? 1 : 0;
    const bool se = s->se > 0;

    if (first == 0)
        nas_unit__add(layer, names[0], layer->h, layer->w, s->in, s->mid, 1, 1, 1, true, false,
                      s->act);
    nas_unit *dw = nas_unit__add(layer, names[1], layer->h, layer->w, s->mid, s->mid, s->kernel,
                                 s->stride, s->mid, true, false, s->act);
    layer->oh = dw->geom.oh;
    layer->ow = dw->geom.ow;
    nas_unit__add(layer, names[2], layer->oh, layer->ow, s->mid, s->out, 1, 1, 1, true, false,
                  NAS_ACT_NONE);
    if (se) {
        layer->se_reduce =
            nas_layer__book(layer, "se_reduce", "weight", NAS_PARAM_LINEAR, s->se, s->mid, 1);
        layer->se_expand =
            nas_layer__book(layer, "se_expand", "weight", NAS_PARAM_LINEAR, s->mid, s->se, 1);
    }
    for (int i = 0; i < layer->units; i++)
        nas_unit__book_vectors(layer, &layer->unit[i], names[first + i]);
    if (se) {
        layer->se_reduce_bias =
            nas_layer__book(layer, "se_reduce", "bias", NAS_PARAM_BIAS, s->se, 1, 1);
        layer->se_expand_bias =
            nas_layer__book(layer, "se_expand", "bias", NAS_PARAM_BIAS, s->mid, 1, 1);
    }
    for (int i = 0; i < layer->units; i++)
        nas_unit__book_buffers(layer, &layer->unit[i], names[first + i]);
}

static size_t se_bytes(const nas_layer *layer, int n)
{
    const size_t mid = (size_t)n * (size_t)layer->spec.mid, se = (size_t)n * (size_t)layer->spec.se;

    return layer->spec.se > 0 ? 2 * nas_arena_round(mid * sizeof(float)) +
                                    nas_arena_round(se * sizeof(float))
                              : 0;
}

static size_t kept_bytes(const nas_layer *layer, int n)
{
    const size_t in = (size_t)layer->spec.in;
    size_t bytes = nas_arena_round(sizeof(mbconv_kept)) + se_bytes(layer, n) +
                   nas_arena_round((in + in * in) * sizeof(float));

    for (int i = 0; i < layer->units; i++)
        bytes += nas_unit__kept_bytes(&layer->unit[i], n);
    return bytes;
}

/* Backward: gradients of the depthwise and of the expand output, and these two outputs
 * themselves where they are computed again. */
static size_t temporary_bytes(const nas_layer *layer, int n)
{
    size_t bytes = 3 * se_bytes(layer, n);

    for (int i = 0; i < layer->units; i++)
        bytes += 2 * nas_arena_round(nas_unit__outputs(&layer->unit[i], n) * sizeof(float)) +
                 nas_unit__sums_bytes(&layer->unit[i], n) +
                 8 * nas_arena_round((size_t)layer->unit[i].geom.cout * sizeof(float));
    return bytes;
}

static size_t scratch_bytes(const nas_layer *layer, int n, int threads)
{
    const nas_kernels *kernels = nas_kernels_get();
    nas_conv_geom geom = depthwise_of(layer)->geom;

    geom.n = n;
    return is_expanded(layer, kernels)
               ? kernels->expanded.scratch(&geom, layer->spec.in, threads)
               : 0;
}

static void book_gate(const nas_layer *layer, const nas_run *run, mbconv_kept *kept)
{
    kept->pooled = nas_arena_floats(run->arena, (size_t)run->n * (size_t)layer->spec.mid);
    kept->hidden = nas_arena_floats(run->arena, (size_t)run->n * (size_t)layer->spec.se);
    kept->gate = nas_arena_floats(run->arena, (size_t)run->n * (size_t)layer->spec.mid);
}

/* gate = h_sigmoid(expand(relu(reduce(mean(u))))) of the view u. */
static void squeeze_excite(const nas_layer *layer, const nas_run *run, const float *params,
                           const nas_view *u, const mbconv_kept *kept)
{
    const nas_kernels *k = run->kernels;
    const int mid = layer->spec.mid, se = layer->spec.se;

    k->mean_pool(run->n, layer->oh * layer->ow, mid, u, kept->pooled);
    k->linear(run->n, mid, se, kept->pooled, params + layer->se_reduce,
              params + layer->se_reduce_bias, NAS_ACT_RELU, kept->hidden);
    k->linear(run->n, se, mid, kept->hidden, params + layer->se_expand,
              params + layer->se_expand_bias, NAS_ACT_HSIGMOID, kept->gate);
}

static nas_product product_of(const nas_layer *layer, const float *params, const float *x)
{
    return (nas_product){.x = x, .cin = layer->spec.in, .w = params + expand_of(layer)->weight};
}

/* Evaluation of both convolutions as one: the same bits. */
static void evaluate_expanded(const nas_layer *layer, const nas_run *run, const float *params,
                              const float *x, float *d)
{
    const nas_unit *dw = depthwise_of(layer);
    const size_t mark = nas_arena_mark(run->arena), mid = (size_t)layer->spec.mid;
    const size_t taps = (size_t)dw->geom.k * (size_t)dw->geom.k;
    const nas_product product = product_of(layer, params, x);
    nas_product_bn bn = {.act = layer->spec.act};
    nas_conv_out out = {.y = d, .act = dw->act};
    const float *w = params + dw->weight;
    nas_conv_geom geom = dw->geom;

    geom.n = run->n;
    bn.scale = nas_unit__running_scale(expand_of(layer), run, params, &bn.shift);
    const float *scale = nas_unit__running_scale(dw, run, params, &out.bias);
    if (scale != NULL) {
        float *scaled = nas_arena_floats(run->arena, taps * mid);

        for (size_t i = 0; i < taps * mid; i++)
            scaled[i] = w[i] * scale[i % mid];
        w = scaled;
    }
    run->kernels->expanded.forward(&geom, &product, &bn, w, &out, run->scratch);
    nas_arena_release(run->arena, mark);
}

/* ... one after the other. */
static void evaluate_wide(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                          float *d)
{
    nas_view in = {.x = x};

    if (has_expand(layer)) {
        float *e = nas_arena_floats(run->arena, nas_unit__outputs(expand_of(layer), run->n));
        nas_unit__evaluate(expand_of(layer), run, params, &in, NULL, e);
        in.x = e;
    }
    nas_unit__evaluate(depthwise_of(layer), run, params, &in, NULL, d);
}

static void evaluate(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                     const float *residual, float *y)
{
    const nas_unit *dw = depthwise_of(layer);
    const bool as_one = run->n >= MANY && run->tap == NULL && is_expanded(layer, run->kernels);
    float *d = nas_arena_floats(run->arena, nas_unit__outputs(dw, run->n));
    nas_view in = {.x = d};

    if (as_one)
        evaluate_expanded(layer, run, params, x, d);
    else
        evaluate_wide(layer, run, params, x, d);
    if (layer->spec.se > 0) {
        mbconv_kept gate;
        book_gate(layer, run, &gate);
        squeeze_excite(layer, run, params, &in, &gate);
        in.gate = gate.gate;
    }
    nas_unit__evaluate(project_of(layer), run, params, &in, residual, y);
}

static nas_view gated_view(const nas_layer *layer, const mbconv_kept *kept)
{
    nas_view view = nas_unit__view(depthwise_of(layer), &kept->depthwise);

    view.gate = kept->gate;
    return view;
}

static nas_view expand_view(const nas_layer *layer, const mbconv_kept *kept, const float *x)
{
    return has_expand(layer) ? nas_unit__view(expand_of(layer), &kept->expand)
                             : (nas_view){.x = x};
}

static nas_product_bn product_bn_of(const nas_layer *layer, const float *params,
                                    const mbconv_kept *kept)
{
    const nas_unit_kept *e = &kept->expand;

    return (nas_product_bn){.x_mean = kept->x_mean, .x_cov = kept->x_cov, .mean = e->mean,
                            .invstd = e->invstd, .beta = params + expand_of(layer)->beta,
                            .scale = e->scale, .shift = e->shift, .act = layer->spec.act};
}

/* Raw outputs that are not kept (nas_memory): room for them at the top of the arena. */
static void book_again(const nas_layer *layer, const nas_run *run, mbconv_kept *kept)
{
    if (has_expand(layer) && kept->expand.raw == NULL && kept->x_cov == NULL)
        kept->expand.raw = nas_unit__raw(expand_of(layer), run);
    if (kept->depthwise.raw == NULL)
        kept->depthwise.raw = nas_unit__raw(depthwise_of(layer), run);
    if (kept->project.raw == NULL)
        kept->project.raw = nas_unit__raw(project_of(layer), run);
}

/* Books what is kept first and what is not last, so that the latter can be given back. */
static mbconv_kept *book(const nas_layer *layer, const nas_run *run)
{
    const nas_memory memory = run->keep ? run->memory : NAS_MEMORY_FAST;
    mbconv_kept *kept = nas_arena_alloc(run->arena, sizeof *kept);

    memset(kept, 0, sizeof *kept);
    if (has_expand(layer))
        kept->expand = nas_unit__vectors(expand_of(layer), run);
    kept->depthwise = nas_unit__vectors(depthwise_of(layer), run);
    kept->project = nas_unit__vectors(project_of(layer), run);
    if (layer->spec.se > 0)
        book_gate(layer, run, kept);
    /* Its backward pass needs the sums over all images in its midst: not with other processes'. */
    if (run->comm == NULL && is_expanded(layer, run->kernels)) {
        const size_t in = (size_t)layer->spec.in;

        kept->x_mean = nas_arena_floats(run->arena, in + in * in);
        kept->x_cov = kept->x_mean + in;
    }
    if (memory < NAS_MEMORY_LOW) {
        kept->project.raw = nas_unit__raw(project_of(layer), run);
        kept->depthwise.raw = nas_unit__raw(depthwise_of(layer), run);
    }
    if (has_expand(layer) && kept->x_cov == NULL &&
        memory <= (layer->h * layer->w < LARGE ? NAS_MEMORY_BALANCED : NAS_MEMORY_FAST))
        kept->expand.raw = nas_unit__raw(expand_of(layer), run);
    return kept;
}

static size_t moments_floats(const nas_layer *layer, const nas_kernels *kernels)
{
    const size_t in = (size_t)layer->spec.in;

    return is_expanded(layer, kernels) ? in + in * in : 0;
}

static void moments(const nas_layer *layer, const nas_run *run, const float *x, float *to)
{
    const int in = layer->spec.in;

    run->kernels->expanded.moments(run->n, layer->h * layer->w, in, x, to, to + in, run->scratch);
}

/* Statistics of the expand output, and with them the depthwise output. */
static void forward_expanded(const nas_layer *layer, const nas_run *run, float *params,
                             const float *x, mbconv_kept *kept)
{
    const nas_unit *ex = expand_of(layer), *dw = depthwise_of(layer);
    const int chunks = nas_kernel_chunks(run->n), mid = layer->spec.mid;
    const size_t mark = nas_arena_mark(run->arena), row = (size_t)mid;
    const nas_product product = product_of(layer, params, x);
    float *stats = nas_unit__sums(run, mid), *mean = stats, *var = stats + row;
    nas_conv_geom geom = dw->geom;

    geom.n = run->n;
    if (run->moments)
        memcpy(kept->x_mean, run->moments, moments_floats(layer, run->kernels) * sizeof(float));
    else
        moments(layer, run, x, kept->x_mean);
    run->kernels->expanded.statistics(&geom, &product, kept->x_mean, kept->x_cov, mean, var,
                                      run->scratch);
    /* Every chunk as if it had mean and variance of the batch. */
    for (int chunk = chunks; chunk-- > 0;) {
        const int first = (int)((long long)chunk * run->n / chunks);
        const int end = (int)((long long)(chunk + 1) * run->n / chunks);
        const float pixels = (float)(end - first) * (float)(layer->h * layer->w);
        float *to = stats + (size_t)chunk * 2 * row;

        for (size_t c = 0; c < row; c++) {
            to[c] = mean[c];
            to[row + c] = var[c] * pixels;
        }
    }
    nas_unit__normalise(ex, run, params, stats, &kept->expand);
    const nas_product_bn bn = product_bn_of(layer, params, kept);
    const nas_conv_out out = {.y = kept->depthwise.raw, .stats = stats};
    run->kernels->expanded.forward(&geom, &product, &bn, params + dw->weight, &out, run->scratch);
    nas_unit__normalise(dw, run, params, stats, &kept->depthwise);
    nas_arena_release(run->arena, mark);
}

/* Both convolutions, one after the other. */
static void forward_wide(const nas_layer *layer, const nas_run *run, float *params,
                         const float *x, mbconv_kept *kept)
{
    const nas_view plain = {.x = x};

    if (has_expand(layer))
        nas_unit__forward(expand_of(layer), run, params, &plain, &kept->expand);
    const nas_view in = expand_view(layer, kept, x);
    nas_unit__forward(depthwise_of(layer), run, params, &in, &kept->depthwise);
}

/* All but the projection, of which the view is returned. */
static nas_view forward_depthwise(const nas_layer *layer, const nas_run *run, float *params,
                                  const float *x, mbconv_kept *kept)
{
    (kept->x_cov ? forward_expanded : forward_wide)(layer, run, params, x, kept);
    nas_view in = nas_unit__view(depthwise_of(layer), &kept->depthwise);
    if (layer->spec.se > 0)
        squeeze_excite(layer, run, params, &in, kept);
    in.gate = kept->gate;
    return in;
}

static double forward_dot(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                          const float *dy)
{
    mbconv_kept *kept = book(layer, run);

    book_again(layer, run, kept);
    const nas_view in = forward_depthwise(layer, run, params, x, kept);
    return nas_unit__forward_dot(project_of(layer), run, params, &in, &kept->project, dy);
}

static void *forward(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                     const float *residual, float *y)
{
    if (!run->train) {
        evaluate(layer, run, params, x, residual, y);
        return NULL;
    }
    mbconv_kept *kept = book(layer, run);
    const mbconv_kept booked = *kept;
    const size_t mark = nas_arena_mark(run->arena);
    book_again(layer, run, kept);
    const nas_view in = forward_depthwise(layer, run, params, x, kept);

    nas_unit__forward(project_of(layer), run, params, &in, &kept->project);
    const nas_view out = nas_unit__view(project_of(layer), &kept->project);
    run->kernels->apply(run->n, layer->oh * layer->ow, layer->spec.out, &out, residual, y);
    nas_arena_release(run->arena, mark);
    kept->expand.raw = booked.expand.raw;
    kept->depthwise.raw = booked.depthwise.raw;
    kept->project.raw = booked.project.raw;
    return kept;
}

/* Computes what was not kept again: the same kernels on the same values give the same bits. */
static void compute_again(const nas_layer *layer, const nas_run *run, const float *params,
                          const float *x, mbconv_kept *kept)
{
    const bool expand = has_expand(layer) && kept->expand.raw == NULL && kept->x_cov == NULL;
    const bool depthwise = kept->depthwise.raw == NULL, project = kept->project.raw == NULL;
    const nas_view plain = {.x = x};

    book_again(layer, run, kept);
    if (expand)
        nas_unit__again(expand_of(layer), run, params, &plain, &kept->expand);
    if (depthwise && kept->x_cov) {
        const nas_product product = product_of(layer, params, x);
        const nas_product_bn bn = product_bn_of(layer, params, kept);
        const nas_conv_out out = {.y = kept->depthwise.raw, .act = NAS_ACT_NONE};
        nas_conv_geom geom = depthwise_of(layer)->geom;

        geom.n = run->n;
        run->kernels->expanded.forward(&geom, &product, &bn, params + depthwise_of(layer)->weight,
                                       &out, run->scratch);
    } else if (depthwise) {
        const nas_view in = expand_view(layer, kept, x);
        nas_unit__again(depthwise_of(layer), run, params, &in, &kept->depthwise);
    }
    if (project) {
        const nas_view in = gated_view(layer, kept);
        nas_unit__again(project_of(layer), run, params, &in, &kept->project);
    }
}

/* dv: gradient of the gated values, turned in place into the masked gradient of
 * the depthwise output. */
static void squeeze_excite_backward(const nas_layer *layer, const nas_run *run,
                                    const float *params, const mbconv_kept *kept, float *dv,
                                    float *sums, float *grads)
{
    const nas_kernels *k = run->kernels;
    const int mid = layer->spec.mid, se = layer->spec.se, hw = layer->oh * layer->ow, n = run->n;
    const nas_view view = gated_view(layer, kept);
    const size_t mids = (size_t)n * (size_t)mid, ses = (size_t)n * (size_t)se;
    float *dgate = nas_arena_floats(run->arena, mids);
    float *dhidden = nas_arena_floats(run->arena, ses);
    float *dpool = nas_arena_floats(run->arena, mids);

    k->gate_grad(n, hw, mid, &view, dv, dgate);
    /* h_sigmoid's slope follows from its value: 1/6 strictly between 0 and 1. */
    for (size_t i = 0; i < mids; i++)
        dgate[i] = kept->gate[i] > 0.0f && kept->gate[i] < 1.0f ? dgate[i] * (1.0f / 6.0f) : 0.0f;
    k->linear_backward(n, se, mid, kept->hidden, params + layer->se_expand, dgate, dhidden,
                       grads ? grads + layer->se_expand : NULL,
                       grads ? grads + layer->se_expand_bias : NULL);
    k->act_backward(ses, NAS_ACT_RELU, kept->hidden, dhidden, dhidden);
    k->linear_backward(n, mid, se, kept->pooled, params + layer->se_reduce, dhidden, dpool,
                       grads ? grads + layer->se_reduce : NULL,
                       grads ? grads + layer->se_reduce_bias : NULL);
    k->gate_mask(n, hw, mid, &view, kept->depthwise.mean, kept->depthwise.invstd, dv, dpool, dv,
                 sums);
}

/* From the gradient of the depthwise output to that of the layer's input. */
static void backward_expanded(const nas_layer *layer, const nas_run *run, const float *params,
                              const float *x, const mbconv_kept *kept, const nas_grad_view *dy,
                              float *dx, bool add, float *grads)
{
    const nas_unit *ex = expand_of(layer), *dw = depthwise_of(layer);
    const nas_product product = product_of(layer, params, x);
    const nas_product_bn bn = product_bn_of(layer, params, kept);
    nas_expanded_grad out = {.dx = dx, .add = add};
    nas_conv_geom geom = dw->geom;

    if (dx == NULL && grads == NULL)
        return;
    geom.n = run->n;
    if (grads) {
        out.dw = grads + dw->weight;
        out.dproduct = grads + ex->weight;
        out.dgamma = grads + ex->gamma;
        out.dbeta = grads + ex->beta;
    }
    run->kernels->expanded.backward(&geom, &product, &bn, params + dw->weight, dy, &out,
                                    run->scratch);
}

static void backward(const nas_layer *layer, const nas_run *run, const float *params,
                     const float *x, void *saved, float *dy, float *dx, bool add, float *grads)
{
    mbconv_kept *kept = saved;
    const nas_unit *pw = project_of(layer), *dw = depthwise_of(layer), *ex = expand_of(layer);
    const bool expand = has_expand(layer);
    const nas_view plain = {.x = x};

    compute_again(layer, run, params, x, kept);
    const size_t mark = nas_arena_mark(run->arena);
    nas_grad_view grad = nas_unit__last_grad(pw, run, params, &kept->project, dy, grads);
    nas_view in = gated_view(layer, kept);
    float *gd = nas_arena_floats(run->arena, nas_unit__outputs(dw, run->n));
    float *sums = nas_unit__sums(run, layer->spec.mid);
    nas_conv_grad out = {.dx = gd, .sums = sums, .mean = kept->depthwise.mean,
                         .invstd = kept->depthwise.invstd,
                         .dw = grads ? grads + pw->weight : NULL};
    nas_unit__backward(pw, run, params, &in, &grad, &out);
    if (layer->spec.se > 0)
        squeeze_excite_backward(layer, run, params, kept, gd, sums, grads);

    grad = nas_unit__grad_view(dw, run, params, &kept->depthwise, gd, sums, grads);
    if (kept->x_cov) {
        backward_expanded(layer, run, params, x, kept, &grad, dx, add, grads);
        return;
    }
    if (expand && run->memory == NAS_MEMORY_LOW) { /* the next wide tensor takes gd's place */
        run->kernels->apply_grad(run->n, layer->oh * layer->ow, layer->spec.mid, &grad,
                                 kept->depthwise.raw);
        nas_arena_release(run->arena, mark);
        grad = (nas_grad_view){.g = kept->depthwise.raw};
        sums = nas_unit__sums(run, layer->spec.mid);
    }
    in = expand_view(layer, kept, x);
    out = (nas_conv_grad){.dx = dx, .add = add, .dw = grads ? grads + dw->weight : NULL};
    if (expand) {
        out.dx = nas_arena_floats(run->arena, nas_unit__outputs(ex, run->n));
        out.sums = sums;
        out.mean = kept->expand.mean;
        out.invstd = kept->expand.invstd;
        out.add = false;
    }
    if (out.dx != NULL || grads != NULL)
        nas_unit__backward(dw, run, params, &in, &grad, &out);
    if (!expand)
        return;

    grad = nas_unit__grad_view(ex, run, params, &kept->expand, out.dx, sums, grads);
    out = (nas_conv_grad){.dx = dx, .add = add, .dw = grads ? grads + ex->weight : NULL};
    if (dx != NULL || grads != NULL)
        nas_unit__backward(ex, run, params, &plain, &grad, &out);
}

static double output_dot(const nas_layer *layer, const nas_run *run, const float *params,
                         const float *x, void *saved, const float *dy)
{
    mbconv_kept kept = *(mbconv_kept *)saved;

    if (kept.project.raw == NULL)
        compute_again(layer, run, params, x, &kept);
    return nas_unit__output_dot(project_of(layer), run, &kept.project, dy);
}

const nas_layer_class nas_layer__mbconv = {
    .layout = layout,
    .kept = kept_bytes,
    .temporary = temporary_bytes,
    .scratch = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .output_dot = output_dot,
    .forward_dot = forward_dot,
    .moments_floats = moments_floats,
    .moments = moments,
    .in_place = true,
};
