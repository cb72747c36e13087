/* Convolution of any k, stride and groups straight from its definition, sums in
 * double; with k = 1 also the reference of the pointwise kernels. */
#include "ops/kernel/ref.h"

size_t nas_ref_conv_scratch(const nas_conv_geom *geom, int threads)
{
    (void)geom;
    (void)threads;
    return 0;
}

/* Position of channel 0 of an input or output pixel. */
static size_t input_at(const nas_conv_geom *g, int n, int row, int col)
{
    return (((size_t)n * g->h + row) * g->w + col) * g->cin;
}

static size_t output_at(const nas_conv_geom *g, int n, int row, int col)
{
    return (((size_t)n * g->oh + row) * g->ow + col) * g->cout;
}

/* Weight of tap (a, b) from input channel `ci` (within its group) to `co`. */
static size_t weight_at(const nas_conv_geom *g, int a, int b, int ci, int co)
{
    return ((size_t)(a * g->k + b) * (g->cin / g->groups) + ci) * g->cout + co;
}

static bool inside(const nas_conv_geom *g, int row, int col)
{
    return row >= 0 && row < g->h && col >= 0 && col < g->w;
}

/* Output (i, j) of channel co of image n, before the epilogue. */
static double output_value(const nas_conv_geom *g, const nas_view *x, const float *w, int n, int i,
                           int j, int co)
{
    const int width = g->cin / g->groups, first = co / (g->cout / g->groups) * width;
    double sum = 0;

    for (int a = 0; a < g->k; a++)
        for (int b = 0; b < g->k; b++) {
            const int row = i * g->stride + a - g->pad, col = j * g->stride + b - g->pad;

            if (!inside(g, row, col))
                continue; /* padding is zero after the activation */
            for (int ci = 0; ci < width; ci++) {
                const size_t at = input_at(g, n, row, col) + first + ci;

                sum += (double)nas_ref__value(x, at, n, first + ci, g->cin) *
                       w[weight_at(g, a, b, ci, co)];
            }
        }
    return sum;
}

void nas_ref_conv_forward(const nas_conv_geom *g, const nas_view *x, const float *w,
                          const float *w_scale, const nas_conv_out *out, void *scratch)
{
    size_t at = 0;

    (void)scratch;
    for (int n = 0; n < g->n; n++)
        for (int i = 0; i < g->oh; i++)
            for (int j = 0; j < g->ow; j++)
                for (int co = 0; co < g->cout; co++, at++) {
                    const double sum = output_value(g, x, w, n, i, j, co);

                    out->y[at] =
                        nas_ref__output(out, at, co, (float)(w_scale ? sum * w_scale[co] : sum));
                }
    if (out->stats)
        nas_ref__stats(g->n, g->oh * g->ow, g->cout, out->y, out->stats);
}

/* The output row (or column) in which tap `a` meets input `row`; -1 if none. */
static int met_by(int row, int a, int pad, int stride, int outputs)
{
    const int at = row + pad - a;

    return at >= 0 && at % stride == 0 && at / stride < outputs ? at / stride : -1;
}

/* Gradient of the input value (row, col) of channel c of image n: every output
 * that it had a part in, times the weight of that part. */
static double input_gradient(const nas_conv_geom *g, const float *w, const nas_grad_view *dy, int n,
                             int row, int col, int c)
{
    const int width = g->cin / g->groups, filters = g->cout / g->groups;
    const int first = c / width * filters;
    double sum = 0;

    for (int a = 0; a < g->k; a++)
        for (int b = 0; b < g->k; b++) {
            const int i = met_by(row, a, g->pad, g->stride, g->oh);
            const int j = met_by(col, b, g->pad, g->stride, g->ow);

            if (i < 0 || j < 0)
                continue;
            for (int co = first; co < first + filters; co++)
                sum += (double)nas_ref__grad(dy, output_at(g, n, i, j) + co, co) *
                       w[weight_at(g, a, b, c % width, co)];
        }
    return sum;
}

static void input_gradients(const nas_conv_geom *g, const nas_view *x, const float *w,
                            const nas_grad_view *dy, const nas_conv_grad *out)
{
    for (int chunk = 0; chunk < nas_kernel_chunks(g->n); chunk++)
        for (int c = 0; c < g->cin; c++) {
            const nas_ref_chunk images = nas_ref__chunk(g->n, chunk);
            double sum[2] = {0, 0};

            for (int n = images.begin; n < images.end; n++)
                for (int row = 0; row < g->h; row++)
                    for (int col = 0; col < g->w; col++)
                        nas_ref__store_grad(x, out, input_at(g, n, row, col) + c, c,
                                            (float)input_gradient(g, w, dy, n, row, col, c), sum);
            nas_ref__store_sums(x, out, chunk, c, g->cin, sum);
        }
}

/* Gradient of the weight of tap (a, b) from channel ci of the group to co. */
static double weight_gradient(const nas_conv_geom *g, const nas_view *x, const nas_grad_view *dy,
                              int a, int b, int ci, int co)
{
    const int c = co / (g->cout / g->groups) * (g->cin / g->groups) + ci;
    double sum = 0;

    for (int n = 0; n < g->n; n++)
        for (int i = 0; i < g->oh; i++)
            for (int j = 0; j < g->ow; j++) {
                const int row = i * g->stride + a - g->pad, col = j * g->stride + b - g->pad;

                if (inside(g, row, col))
                    sum += (double)nas_ref__value(x, input_at(g, n, row, col) + c, n, c, g->cin) *
                           nas_ref__grad(dy, output_at(g, n, i, j) + co, co);
            }
    return sum;
}

void nas_ref_conv_backward(const nas_conv_geom *g, const nas_view *x, const float *w,
                           const nas_grad_view *dy, const nas_conv_grad *out, void *scratch)
{
    (void)scratch;
    if (out->dx)
        input_gradients(g, x, w, dy, out);
    if (out->dw)
        for (int a = 0; a < g->k; a++)
            for (int b = 0; b < g->k; b++)
                for (int ci = 0; ci < g->cin / g->groups; ci++)
                    for (int co = 0; co < g->cout; co++)
                        out->dw[weight_at(g, a, b, ci, co)] +=
                            (float)weight_gradient(g, x, dy, a, b, ci, co);
}
