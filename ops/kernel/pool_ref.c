/* Pooling: the mean over the whole image, and k x k maxima and means.  The
 * windowed ones have no faster version: parallel over images, channels inside. */
#include "ops/kernel/ref.h"

/* -- mean over the image ------------------------------------------------------- */

void nas_ref_mean_pool(int n, int hw, int c, const nas_view *x, float *y)
{
    for (int img = 0; img < n; img++)
        for (int i = 0; i < c; i++) {
            double sum = 0;

            for (int p = 0; p < hw; p++)
                sum += nas_ref__value(x, ((size_t)img * hw + p) * c + i, img, i, c);
            y[(size_t)img * c + i] = (float)(sum / hw);
        }
}

void nas_ref_mean_pool_backward(int n, int hw, int c, const nas_view *x, const float *dy,
                                const nas_conv_grad *out)
{
    for (int chunk = 0; chunk < nas_kernel_chunks(n); chunk++) {
        const nas_ref_chunk images = nas_ref__chunk(n, chunk);

        for (int i = 0; i < c; i++) {
            double sum[2] = {0, 0};

            for (int img = images.begin; img < images.end; img++)
                for (int p = 0; p < hw; p++)
                    nas_ref__store_grad(x, out, ((size_t)img * hw + p) * c + i, i,
                                        dy[(size_t)img * c + i] / (float)hw, sum);
            nas_ref__store_sums(x, out, chunk, i, c, sum);
        }
    }
}

/* -- windows --------------------------------------------------------------------- */

/* The part of a window that lies in the image: rows and columns [from, to). */
typedef struct window {
    int row_from, row_to, col_from, col_to;
    int row, col; /* where tap 0 would lie */
} window;

static window window_at(const nas_conv_geom *geom, int i, int j)
{
    const int row = i * geom->stride - geom->pad, col = j * geom->stride - geom->pad;

    return (window){
        .row_from = row < 0 ? 0 : row,
        .row_to = row + geom->k > geom->h ? geom->h : row + geom->k,
        .col_from = col < 0 ? 0 : col,
        .col_to = col + geom->k > geom->w ? geom->w : col + geom->k,
        .row = row,
        .col = col,
    };
}

/* A window wholly in the padding (pad >= k) has no winner: 0, and a tap that
 * is none. */
enum { NO_TAP = 255 };

/* One output pixel of all channels; `x` is the image, `y` and `arg` the pixel. */
static void max_pixel(const nas_conv_geom *geom, window at, const float *x, float *y,
                      unsigned char *arg)
{
    const int channels = geom->cin;
    bool first = true;

    for (int c = 0; c < channels; c++) {
        y[c] = 0;
        if (arg)
            arg[c] = NO_TAP;
    }
    for (int row = at.row_from; row < at.row_to; row++)
        for (int col = at.col_from; col < at.col_to; col++) {
            const float *from = x + ((size_t)row * geom->w + col) * channels;
            const int tap = (row - at.row) * geom->k + col - at.col;

            for (int c = 0; c < channels; c++) {
                /* the first maximum wins, and a NaN is never lost, as in PyTorch */
                if (!first && !(from[c] > y[c]) && from[c] == from[c])
                    continue;
                y[c] = from[c];
                if (arg)
                    arg[c] = (unsigned char)tap;
            }
            first = false;
        }
}

void nas_ref_max_pool(const nas_conv_geom *geom, const float *x, float *y, unsigned char *arg)
{
#pragma omp parallel for schedule(static)
    for (int n = 0; n < geom->n; n++)
        for (int i = 0; i < geom->oh; i++)
            for (int j = 0; j < geom->ow; j++) {
                const size_t to = (((size_t)n * geom->oh + i) * geom->ow + j) * geom->cin;

                max_pixel(geom, window_at(geom, i, j),
                          x + (size_t)n * geom->h * geom->w * geom->cin, y + to,
                          arg ? arg + to : NULL);
            }
}

void nas_ref_max_pool_backward(const nas_conv_geom *geom, const float *dy,
                               const unsigned char *arg, float *dx)
{
    const int channels = geom->cin;

#pragma omp parallel for schedule(static)
    for (int n = 0; n < geom->n; n++)
        for (int i = 0; i < geom->oh; i++)
            for (int j = 0; j < geom->ow; j++) {
                const window at = window_at(geom, i, j);
                const size_t from = (((size_t)n * geom->oh + i) * geom->ow + j) * channels;
                float *image = dx + (size_t)n * geom->h * geom->w * channels;

                for (int c = 0; c < channels; c++) {
                    const int tap = arg[from + c];
                    const int row = at.row + tap / geom->k, col = at.col + tap % geom->k;

                    if (tap != NO_TAP)
                        image[((size_t)row * geom->w + col) * channels + c] += dy[from + c];
                }
            }
}

static float share_of(window at)
{
    const int count = (at.row_to - at.row_from) * (at.col_to - at.col_from);

    return count > 0 ? 1.0f / (float)count : 0.0f;
}

void nas_ref_avg_pool(const nas_conv_geom *geom, const float *x, float *y)
{
    const int channels = geom->cin;

#pragma omp parallel for schedule(static)
    for (int n = 0; n < geom->n; n++)
        for (int i = 0; i < geom->oh; i++)
            for (int j = 0; j < geom->ow; j++) {
                const window at = window_at(geom, i, j);
                const float share = share_of(at);
                float *to = y + (((size_t)n * geom->oh + i) * geom->ow + j) * channels;

                for (int c = 0; c < channels; c++)
                    to[c] = 0;
                for (int row = at.row_from; row < at.row_to; row++)
                    for (int col = at.col_from; col < at.col_to; col++) {
                        const float *from =
                            x + (((size_t)n * geom->h + row) * geom->w + col) * channels;

                        for (int c = 0; c < channels; c++)
                            to[c] += from[c];
                    }
                for (int c = 0; c < channels; c++)
                    to[c] *= share;
            }
}

void nas_ref_avg_pool_backward(const nas_conv_geom *geom, const float *dy, float *dx)
{
    const int channels = geom->cin;

#pragma omp parallel for schedule(static)
    for (int n = 0; n < geom->n; n++)
        for (int i = 0; i < geom->oh; i++)
            for (int j = 0; j < geom->ow; j++) {
                const window at = window_at(geom, i, j);
                const float share = share_of(at);
                const float *from = dy + (((size_t)n * geom->oh + i) * geom->ow + j) * channels;

                for (int row = at.row_from; row < at.row_to; row++)
                    for (int col = at.col_from; col < at.col_to; col++) {
                        float *to = dx + (((size_t)n * geom->h + row) * geom->w + col) * channels;

                        for (int c = 0; c < channels; c++)
                            to[c] += share * from[c];
                    }
            }
}
