/* The reference kernels: the definitions of kernel.h as plain loops, in double
 * where sums are long; the oracle of the fast ones.  Private to ops/kernel. */
#ifndef NAS_OPS_KERNEL_REF_H
#define NAS_OPS_KERNEL_REF_H

#include "ops/kernel/kernel.h"

#define NAS_REF_CONV(name)                                                                  \
    size_t nas_ref_##name##_scratch(const nas_conv_geom *geom, int threads);                \
    void nas_ref_##name##_forward(const nas_conv_geom *geom, const nas_view *x,             \
                                  const float *w, const float *w_scale,                     \
                                  const nas_conv_out *out, void *scratch);                  \
    void nas_ref_##name##_backward(const nas_conv_geom *geom, const nas_view *x,            \
                                   const float *w, const nas_grad_view *dy,                 \
                                   const nas_conv_grad *out, void *scratch);
NAS_REF_CONV(depthwise)
NAS_REF_CONV(conv)
#undef NAS_REF_CONV

void nas_ref_bn_forward(int n, int hw, int c, const float *stats, const float *gamma,
                        const float *beta, float eps, float momentum, float *running_mean,
                        float *running_var, float *mean, float *invstd, float *scale,
                        float *shift);
void nas_ref_bn_backward(int n, int hw, int c, const float *sums, const float *gamma,
                         const float *mean, const float *invstd, float *dgamma, float *dbeta,
                         float *a, float *b, float *k);

void nas_ref_apply(int n, int hw, int c, const nas_view *x, const float *residual, float *y);
void nas_ref_apply_grad(int n, int hw, int c, const nas_grad_view *dy, float *y);
void nas_ref_mask(int n, int hw, int c, const nas_view *x, const float *mean,
                  const float *invstd, const float *dy, float *g, float *sums);
void nas_ref_add(size_t count, const float *x, float *y);
double nas_ref_dot(size_t count, const float *x, const float *y);
double nas_ref_view_dot(int n, int hw, int c, const nas_view *x, const float *y);

void nas_ref_mean_pool(int n, int hw, int c, const nas_view *x, float *y);
void nas_ref_mean_pool_backward(int n, int hw, int c, const nas_view *x, const float *dy,
                                const nas_conv_grad *out);
void nas_ref_max_pool(const nas_conv_geom *geom, const float *x, float *y, unsigned char *arg);
void nas_ref_max_pool_backward(const nas_conv_geom *geom, const float *dy,
                               const unsigned char *arg, float *dx);
void nas_ref_avg_pool(const nas_conv_geom *geom, const float *x, float *y);
void nas_ref_avg_pool_backward(const nas_conv_geom *geom, const float *dy, float *dx);

void nas_ref_gate_grad(int n, int hw, int c, const nas_view *x, const float *dv, float *dgate);
void nas_ref_gate_mask(int n, int hw, int c, const nas_view *x, const float *mean,
                       const float *invstd, const float *dv, const float *dpool, float *g,
                       float *sums);

void nas_ref_linear(int rows, int in, int out, const float *x, const float *w,
                    const float *bias, nas_act act, float *y);
void nas_ref_linear_backward(int rows, int in, int out, const float *x, const float *w,
                             const float *dy, float *dx, float *dw, float *db);
void nas_ref_act_backward(size_t count, nas_act act, const float *kept, const float *dy,
                          float *g);

void nas_ref_dropout(size_t first, size_t count, float ratio, unsigned long long seed,
                     unsigned long long step, const float *x, float *y);
double nas_ref_cross_entropy(int rows, int classes, const float *logits, const float *targets,
                             float *grad);

void nas_ref_sgd(size_t count, float *w, const float *grad, float *m, float lr, float momentum,
                 float decay, bool nesterov);
void nas_ref_adam(size_t count, float *w, const float *grad, float *m, float *v, float lr,
                  float beta1, float beta2, float eps, float decay, long step);

/* -- what the reference kernels share ------------------------------------------ */

/** The images [begin, end) of a chunk. */
typedef struct nas_ref_chunk {
    int begin, end;
} nas_ref_chunk;

static inline nas_ref_chunk nas_ref__chunk(int n, int chunk)
{
    const long chunks = nas_kernel_chunks(n);

    return (nas_ref_chunk){(int)((long)chunk * n / chunks), (int)((long)(chunk + 1) * n / chunks)};
}

/** What the activation of a view is applied to; `i` is the element, `c` its channel. */
static inline float nas_ref__z(const nas_view *view, size_t i, int c)
{
    return view->scale ? view->scale[c] * view->x[i] + view->shift[c] : view->x[i];
}

/** The value of a view: element i is channel c of image `img`. */
static inline float nas_ref__value(const nas_view *view, size_t i, int img, int c, int channels)
{
    const float value = nas_act_value(view->act, nas_ref__z(view, i, c));

    return view->gate ? value * view->gate[(size_t)img * channels + c] : value;
}

/** The value of a grad view at element i, channel c. */
static inline float nas_ref__grad(const nas_grad_view *dy, size_t i, int c)
{
    return dy->a ? dy->a[c] * dy->g[i] + dy->b[c] * dy->raw[i] + dy->k[c] : dy->g[i];
}

/** Whether an input gradient is masked and summed, or just stored (nas_conv_grad). */
static inline bool nas_ref__masks(const nas_view *view) { return view->scale && !view->gate; }

/** Stores the gradient dv of one input value as nas_conv_grad says; adds to
 * sum[0..1] what belongs into out->sums if the view is masked. */
static inline void nas_ref__store_grad(const nas_view *view, const nas_conv_grad *out, size_t i,
                                       int c, float dv, double sum[2])
{
    if (nas_ref__masks(view)) {
        const float g = dv * nas_act_slope(view->act, nas_ref__z(view, i, c));

        out->dx[i] = g;
        sum[0] += g;
        sum[1] += (double)g * (view->x[i] - out->mean[c]) * out->invstd[c];
    } else {
        out->dx[i] = out->add ? out->dx[i] + dv : dv;
    }
}

/** Stores the sums that nas_ref__store_grad collected over a chunk. */
static inline void nas_ref__store_sums(const nas_view *view, const nas_conv_grad *out, int chunk,
                                       int c, int channels, const double sum[2])
{
    if (!nas_ref__masks(view))
        return;
    out->sums[(size_t)chunk * 2 * channels + c] = (float)sum[0];
    out->sums[((size_t)chunk * 2 + 1) * channels + c] = (float)sum[1];
}

/** stats[chunk][2][channels] of y [n][hw][channels], in two passes. */
static inline void nas_ref__stats(int n, int hw, int channels, const float *y, float *stats)
{
    for (int chunk = 0; chunk < nas_kernel_chunks(n); chunk++) {
        const nas_ref_chunk images = nas_ref__chunk(n, chunk);
        const size_t begin = (size_t)images.begin * hw, end = (size_t)images.end * hw;

        for (int c = 0; c < channels; c++) {
            double mean = 0, squares = 0;

            for (size_t p = begin; p < end; p++)
                mean += y[p * channels + c];
            mean /= (double)(end - begin);
            for (size_t p = begin; p < end; p++) {
                const double d = y[p * channels + c] - mean;

                squares += d * d;
            }
            stats[(size_t)chunk * 2 * channels + c] = (float)mean;
            stats[((size_t)chunk * 2 + 1) * channels + c] = (float)squares;
        }
    }
}

/** The epilogue of a forward convolution's value at element i, channel c. */
static inline float nas_ref__output(const nas_conv_out *out, size_t i, int c, float value)
{
    if (out->stats)
        return value;
    value = nas_act_value(out->act, out->bias ? value + out->bias[c] : value);
    return out->residual ? value + out->residual[i] : value;
}

#endif
