/* Batch norm's merging of chunk sums, and the elementwise passes and the
 * squeeze-excite gate by definition. */
#include <math.h>

#include "ops/kernel/ref.h"

/* -- batch norm -------------------------------------------------------------- */

/* What each chunk weighs when it joins those before it (Chan et al. 1979). */
typedef struct merge_weights {
    double mean[NAS_KERNEL_MAX_CHUNKS];    /* of its mean's distance from theirs   */
    double squares[NAS_KERNEL_MAX_CHUNKS]; /* of the square of that distance       */
} merge_weights;

static merge_weights weights_of(int n, int hw)
{
    merge_weights w;
    double count = 0;

    for (int chunk = 0; chunk < nas_kernel_chunks(n); chunk++) {
        const nas_ref_chunk images = nas_ref__chunk(n, chunk);
        const double added = (double)(images.end - images.begin) * hw;

        w.mean[chunk] = added / (count + added);
        w.squares[chunk] = count * w.mean[chunk];
        count += added;
    }
    return w;
}

/* Mean and sum of squared deviations of channel c over all chunks. */
static void merge_stats(const merge_weights *w, int chunks, int channels, const float *stats, int c,
                        double *mean, double *squares)
{
    *mean = *squares = 0;
    for (int chunk = 0; chunk < chunks; chunk++) {
        const float *of = stats + (size_t)chunk * 2 * channels + c;
        const double delta = of[0] - *mean;

        *squares += of[channels] + delta * delta * w->squares[chunk];
        *mean += delta * w->mean[chunk];
    }
}

void nas_ref_bn_forward(int n, int hw, int c, const float *stats, const float *gamma,
                        const float *beta, float eps, float momentum, float *running_mean,
                        float *running_var, float *mean, float *invstd, float *scale, float *shift)
{
    const double count = (double)n * hw;
    const merge_weights weights = weights_of(n, hw);
    const int chunks = nas_kernel_chunks(n);

    for (int i = 0; i < c; i++) {
        double m, squares;

        merge_stats(&weights, chunks, c, stats, i, &m, &squares);
        const double s = 1.0 / sqrt(squares / count + (double)eps);
        mean[i] = (float)m;
        invstd[i] = (float)s;
        scale[i] = (float)(gamma[i] * s);
        shift[i] = (float)(beta[i] - m * gamma[i] * s);
        if (running_mean) {
            const double unbiased = squares / (count > 1 ? count - 1 : 1);

            running_mean[i] = (float)((1.0 - momentum) * running_mean[i] + momentum * m);
            running_var[i] = (float)((1.0 - momentum) * running_var[i] + momentum * unbiased);
        }
    }
}

/* With M pixels, xhat = (x - mean)*invstd and the sums s0 of g and s1 of g*xhat:
 * draw = gamma*invstd * (g - s0/M - xhat*s1/M)   (Ioffe and Szegedy 2015). */
void nas_ref_bn_backward(int n, int hw, int c, const float *sums, const float *gamma,
                         const float *mean, const float *invstd, float *dgamma, float *dbeta,
                         float *a, float *b, float *k)
{
    const double count = (double)n * hw;

    for (int i = 0; i < c; i++) {
        double s0 = 0, s1 = 0;

        for (int chunk = 0; chunk < nas_kernel_chunks(n); chunk++) {
            s0 += sums[(size_t)chunk * 2 * c + i];
            s1 += sums[((size_t)chunk * 2 + 1) * c + i];
        }
        const double slope = (double)gamma[i] * invstd[i];
        const double of_raw = -slope * invstd[i] * s1 / count;
        a[i] = (float)slope;
        b[i] = (float)of_raw;
        k[i] = (float)(-slope * s0 / count - of_raw * mean[i]);
        if (dgamma)
            dgamma[i] += (float)s1;
        if (dbeta)
            dbeta[i] += (float)s0;
    }
}

/* -- elementwise --------------------------------------------------------------- */

void nas_ref_apply(int n, int hw, int c, const nas_view *x, const float *residual, float *y)
{
    size_t at = 0;

    for (int img = 0; img < n; img++)
        for (int p = 0; p < hw; p++)
            for (int i = 0; i < c; i++, at++) {
                const float value = nas_ref__value(x, at, img, i, c);

                y[at] = residual ? value + residual[at] : value;
            }
}

void nas_ref_apply_grad(int n, int hw, int c, const nas_grad_view *dy, float *y)
{
    const size_t count = (size_t)n * (size_t)hw * (size_t)c;

    for (size_t i = 0; i < count; i++)
        y[i] = nas_ref__grad(dy, i, (int)(i % (size_t)c));
}

/* g = dv * act'(z), dv being dy, or dy*gate + dpool/hw where the view has a gate. */
static void mask_and_sum(int n, int hw, int c, const nas_view *x, const float *mean,
                         const float *invstd, const float *dy, const float *dpool, float *g,
                         float *sums)
{
    for (int chunk = 0; chunk < nas_kernel_chunks(n); chunk++) {
        const nas_ref_chunk images = nas_ref__chunk(n, chunk);

        for (int i = 0; i < c; i++) {
            double sum[2] = {0, 0};

            for (int img = images.begin; img < images.end; img++) {
                const size_t of_image = (size_t)img * c + i;

                for (int p = 0; p < hw; p++) {
                    const size_t at = ((size_t)img * hw + p) * c + i;
                    const float dv =
                        dpool ? dy[at] * x->gate[of_image] + dpool[of_image] / (float)hw : dy[at];

                    g[at] = dv * nas_act_slope(x->act, nas_ref__z(x, at, i));
                    if (sums) {
                        sum[0] += g[at];
                        sum[1] += (double)g[at] * (x->x[at] - mean[i]) * invstd[i];
                    }
                }
            }
            if (sums) {
                sums[(size_t)chunk * 2 * c + i] = (float)sum[0];
                sums[((size_t)chunk * 2 + 1) * c + i] = (float)sum[1];
            }
        }
    }
}

void nas_ref_mask(int n, int hw, int c, const nas_view *x, const float *mean, const float *invstd,
                  const float *dy, float *g, float *sums)
{
    mask_and_sum(n, hw, c, x, mean, invstd, dy, NULL, g, sums);
}

void nas_ref_gate_mask(int n, int hw, int c, const nas_view *x, const float *mean,
                       const float *invstd, const float *dv, const float *dpool, float *g,
                       float *sums)
{
    mask_and_sum(n, hw, c, x, mean, invstd, dv, dpool, g, sums);
}

void nas_ref_gate_grad(int n, int hw, int c, const nas_view *x, const float *dv, float *dgate)
{
    for (int img = 0; img < n; img++)
        for (int i = 0; i < c; i++) {
            double sum = 0;

            for (int p = 0; p < hw; p++) {
                const size_t at = ((size_t)img * hw + p) * c + i;

                sum += (double)dv[at] * nas_act_value(x->act, nas_ref__z(x, at, i));
            }
            dgate[(size_t)img * c + i] = (float)sum;
        }
}

void nas_ref_add(size_t count, const float *x, float *y)
{
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

double nas_ref_dot(size_t count, const float *x, const float *y)
{
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (double)x[i] * y[i];
    return sum;
}

double nas_ref_view_dot(int n, int hw, int c, const nas_view *x, const float *y)
{
    const size_t count = (size_t)n * hw * c;
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (double)y[i] * nas_act_value(x->act, nas_ref__z(x, i, (int)(i % (size_t)c)));
    return sum;
}
