/* Depthwise convolution straight from its definition, sums in double. */
#include "ops/kernel/ref.h"

size_t nas_ref_depthwise_scratch(const nas_conv_geom *geom, int threads)
{
    (void)geom;
    (void)threads;
    return 0;
}

/* Output (i, j) of channel c of image n, before the epilogue. */
static double output_value(const nas_conv_geom *geom, const nas_view *x, const float *w, int n,
                           int i, int j, int c)
{
    double sum = 0;

    for (int a = 0; a < geom->k; a++)
        for (int b = 0; b < geom->k; b++) {
            const int row = i * geom->stride + a - geom->pad;
            const int col = j * geom->stride + b - geom->pad;

            if (row < 0 || row >= geom->h || col < 0 || col >= geom->w)
                continue; /* padding is zero after the activation */
            const size_t at = (((size_t)n * geom->h + row) * geom->w + col) * geom->cin + c;
            sum += (double)nas_ref__value(x, at, n, c, geom->cin) *
                   w[(size_t)(a * geom->k + b) * geom->cin + c];
        }
    return sum;
}

void nas_ref_depthwise_forward(const nas_conv_geom *geom, const nas_view *x, const float *w,
                               const float *w_scale, const nas_conv_out *out, void *scratch)
{
    size_t at = 0;

    (void)scratch;
    for (int n = 0; n < geom->n; n++)
        for (int i = 0; i < geom->oh; i++)
            for (int j = 0; j < geom->ow; j++)
                for (int c = 0; c < geom->cout; c++, at++) {
                    const double sum = output_value(geom, x, w, n, i, j, c);

                    out->y[at] = nas_ref__output(
                        out, at, c, (float)(w_scale ? sum * w_scale[c] : sum));
                }
    if (out->stats)
        nas_ref__stats(geom->n, geom->oh * geom->ow, geom->cout, out->y, out->stats);
}

/* Gradient of the input value (row, col) of channel c of image n: every output
 * that it had a part in, times the weight of that part. */
static double input_gradient(const nas_conv_geom *geom, const float *w, const nas_grad_view *dy,
                             int n, int row, int col, int c)
{
    double sum = 0;

    for (int a = 0; a < geom->k; a++)
        for (int b = 0; b < geom->k; b++) {
            const int i = row + geom->pad - a, j = col + geom->pad - b;

            if (i < 0 || j < 0 || i % geom->stride || j % geom->stride ||
                i / geom->stride >= geom->oh || j / geom->stride >= geom->ow)
                continue;
            const size_t at =
                (((size_t)n * geom->oh + i / geom->stride) * geom->ow + j / geom->stride) *
                    geom->cout + c;
            sum += (double)nas_ref__grad(dy, at, c) * w[(size_t)(a * geom->k + b) * geom->cin + c];
        }
    return sum;
}

static void backward_input(const nas_conv_geom *geom, const nas_view *x, const float *w,
                           const nas_grad_view *dy, const nas_conv_grad *out)
{
    for (int chunk = 0; chunk < nas_kernel_chunks(geom->n); chunk++) {
        const nas_ref_chunk images = nas_ref__chunk(geom->n, chunk);

        for (int c = 0; c < geom->cin; c++) {
            double sum[2] = {0, 0};

            for (int n = images.begin; n < images.end; n++)
                for (int row = 0; row < geom->h; row++)
                    for (int col = 0; col < geom->w; col++) {
                        const size_t at =
                            (((size_t)n * geom->h + row) * geom->w + col) * geom->cin + c;
                        const double dv = input_gradient(geom, w, dy, n, row, col, c);

                        nas_ref__store_grad(x, out, at, c, (float)dv, sum);
                    }
            nas_ref__store_sums(x, out, chunk, c, geom->cin, sum);
        }
    }
}

/* Gradient of the weight of tap (a, b), channel c. */
static double weight_gradient(const nas_conv_geom *geom, const nas_view *x,
                              const nas_grad_view *dy, int a, int b, int c)
{
    double sum = 0;

    for (int n = 0; n < geom->n; n++)
        for (int i = 0; i < geom->oh; i++)
            for (int j = 0; j < geom->ow; j++) {
                const int row = i * geom->stride + a - geom->pad;
                const int col = j * geom->stride + b - geom->pad;

                if (row < 0 || row >= geom->h || col < 0 || col >= geom->w)
                    continue;
                const size_t from = (((size_t)n * geom->h + row) * geom->w + col) * geom->cin + c;
                const size_t at = (((size_t)n * geom->oh + i) * geom->ow + j) * geom->cout + c;
                sum += (double)nas_ref__value(x, from, n, c, geom->cin) * nas_ref__grad(dy, at, c);
            }
    return sum;
}

void nas_ref_depthwise_backward(const nas_conv_geom *geom, const nas_view *x, const float *w,
                                const nas_grad_view *dy, const nas_conv_grad *out, void *scratch)
{
    (void)scratch;
    if (out->dx)
        backward_input(geom, x, w, dy, out);
    if (out->dw)
        for (int a = 0; a < geom->k; a++)
            for (int b = 0; b < geom->k; b++)
                for (int c = 0; c < geom->cin; c++)
                    out->dw[(size_t)(a * geom->k + b) * geom->cin + c] +=
                        (float)weight_gradient(geom, x, dy, a, b, c);
}
