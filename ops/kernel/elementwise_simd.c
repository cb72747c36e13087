/* Passes over whole tensors: bound by memory, so each touches a tensor once,
 * front to back.  Sums are collected over blocks of pixels and then added up, so
 * that no float takes thousands of additions. */
#include <stdint.h>

#include "ops/kernel/simd_kernels.h"

enum {
    SUM_CHANNELS = 512, /* channels that a task sums at a time, on its stack   */
    SUM_PIXELS = 64,    /* pixels of a block                                   */
    ROWS = 8,           /* ... of which a mask takes so many at a time         */
    PIECE = 16384,      /* floats of a piece where no sum ties pixels together */
    PIECES_WORTH = 4    /* fewer are not worth waking the other threads        */
};

static int smaller(int a, int b) { return a < b ? a : b; }

/* A vector of the up to NAS_VL channels that remain; the common case first. */
NAS_INLINE vfloat load_some(const float *p, int n)
{
    return __builtin_expect(n >= NAS_VL, 1) ? v_load(p) : v_load_n(p, n);
}

NAS_INLINE void store_some(float *p, vfloat v, int n)
{
    if (__builtin_expect(n >= NAS_VL, 1))
        v_store(p, v);
    else
        v_store_n(p, v, n);
}

/* p[0..n-1] += v */
NAS_INLINE void add_some(float *p, vfloat v, int n) { store_some(p, load_some(p, n) + v, n); }

/* What the activation of the view is applied to, from the raw value. */
NAS_INLINE vfloat view_z(const nas_view *view, vfloat raw, int c, int n)
{
    return view->scale ? raw * load_some(view->scale + c, n) + load_some(view->shift + c, n) : raw;
}

/* -- the view itself --------------------------------------------------------- */

/* Pixels [from, to) of image img. */
NAS_INLINE void apply_pixels(const nas_act act, const nas_view *x, const float *residual, float *y,
                             int img, size_t from, size_t to, int channels)
{
    const float *gate = x->gate ? x->gate + (size_t)img * channels : NULL;

    for (size_t p = from; p < to; p++)
        for (int c = 0; c < channels; c += NAS_VL) {
            const int n = channels - c;
            const size_t at = p * channels + c;
            vfloat v = v_act(act, view_z(x, load_some(x->x + at, n), c, n));

            if (gate)
                v *= load_some(gate + c, n);
            if (residual)
                v += load_some(residual + at, n);
            store_some(y + at, v, n);
        }
}

void NAS_ISA_NAME(nas_k_apply)(int n, int hw, int c, const nas_view *x, const float *residual,
                               float *y)
{
    const int pixels = PIECE / c > 0 ? PIECE / c : 1;
    const int pieces = (hw + pixels - 1) / pixels;

#pragma omp parallel for collapse(2) schedule(static) if (n * pieces >= PIECES_WORTH)
    for (int img = 0; img < n; img++)
        for (int piece = 0; piece < pieces; piece++) {
            const size_t start = (size_t)img * hw;
            const size_t from = start + (size_t)piece * pixels;
            const size_t to = start + smaller((piece + 1) * pixels, hw);

            NAS_WITH_ACT(x->act, apply_pixels(ACT, x, residual, y, img, from, to, c));
        }
}

NAS_INLINE void grad_pixels(const bool sum, const nas_grad_view *dy, float *y, size_t from,
                            size_t to, int channels)
{
    for (size_t p = from; p < to; p++)
        for (int c = 0; c < channels; c += NAS_VL) {
            const int n = channels - c;
            const size_t at = p * channels + c;
            vfloat v = load_some(dy->g + at, n);

            if (sum)
                v = v_grad(load_some(dy->a + c, n), v, load_some(dy->b + c, n),
                           load_some(dy->raw + at, n), load_some(dy->k + c, n));
            store_some(y + at, v, n);
        }
}

void NAS_ISA_NAME(nas_k_apply_grad)(int n, int hw, int c, const nas_grad_view *dy, float *y)
{
    const int pixels = PIECE / c > 0 ? PIECE / c : 1;
    const size_t all = (size_t)n * hw;
    const int64_t pieces = (int64_t)((all + pixels - 1) / pixels);

#pragma omp parallel for schedule(static) if (pieces >= PIECES_WORTH)
    for (int64_t piece = 0; piece < pieces; piece++) {
        const size_t from = (size_t)piece * pixels;
        const size_t to = all - from < (size_t)pixels ? all : from + pixels;

        if (dy->a)
            grad_pixels(true, dy, y, from, to, c);
        else
            grad_pixels(false, dy, y, from, to, c);
    }
}

/* -- masks and their sums ---------------------------------------------------- */

/* Where the gradient dv of the activation's output comes from. */
typedef enum mask_source {
    SOURCE_DENSE, /* dy[n][p][c]                               */
    SOURCE_GATED, /* dy[n][p][c]*gate[n][c] + dpool[n][c]/hw   */
    SOURCE_POOLED /* dpool[n][c]/hw                            */
} mask_source;

typedef struct mask_pass {
    int n, hw, channels;
    const nas_view *x;
    const float *mean, *invstd;
    const float *dy, *dpool;
    float *g, *sums; /* sums may be NULL */
} mask_pass;

/* One vector of channels of `count` pixels from `row` on, of image img. */
NAS_INLINE void mask_vector(const nas_act act, const mask_source source, const int count,
                            const bool PART, const mask_pass *pass, int img, size_t row,
                            int channel, int n, float *sum0, float *sum1)
{
    const size_t of_image = (size_t)img * pass->channels + channel;
    const vfloat share = v_set(1.0f / (float)pass->hw), one = v_set(1), none = {0};
    const nas_view x = *pass->x;
    const vfloat scale = x.scale ? v_get(PART, x.scale + channel, n) : one;
    const vfloat shift = x.scale ? v_get(PART, x.shift + channel, n) : none;
    const vfloat gate = source == SOURCE_GATED ? v_get(PART, x.gate + of_image, n) : one;
    const vfloat pooled =
        source != SOURCE_DENSE ? v_get(PART, pass->dpool + of_image, n) * share : none;
    const vfloat mean = pass->sums ? v_get(PART, pass->mean + channel, n) : none;
    const vfloat invstd = pass->sums ? v_get(PART, pass->invstd + channel, n) : none;
    const float *raws = x.x + row * pass->channels + channel;
    const float *dy = source != SOURCE_POOLED ? pass->dy + row * pass->channels + channel : NULL;
    float *to = pass->g + row * pass->channels + channel;
    vfloat s0 = v_get(PART, sum0, n), s1 = v_get(PART, sum1, n);

    for (int r = 0; r < count; r++) {
        const size_t at = (size_t)r * pass->channels;
        const vfloat raw = v_get(PART, raws + at, n);
        vfloat dv = pooled;

        if (source == SOURCE_DENSE)
            dv = v_get(PART, dy + at, n);
        if (source == SOURCE_GATED)
            dv += v_get(PART, dy + at, n) * gate;
        const vfloat g = v_act_grad(act, raw * scale + shift, dv);

        v_put(PART, to + at, g, n);
        s0 += g;
        s1 += g * ((raw - mean) * invstd);
    }
    v_put(PART, sum0, s0, n);
    v_put(PART, sum1, s1, n);
}

/* Channels [first, first + width): constants and sums of a vector are loaded once for all rows. */
NAS_INLINE void mask_rows(const nas_act act, const mask_source source, const int count,
                          const mask_pass *pass, int img, size_t row, int first, int width,
                          float *sum0, float *sum1)
{
    int c = 0;

    for (; c + NAS_VL <= width; c += NAS_VL)
        mask_vector(act, source, count, false, pass, img, row, first + c, NAS_VL, sum0 + c,
                    sum1 + c);
    if (c < width)
        mask_vector(act, source, count, true, pass, img, row, first + c, width - c, sum0 + c,
                    sum1 + c);
}

/* Pixels [from, to) of image img. */
NAS_INLINE void mask_block(const nas_act act, const mask_source source, const mask_pass *pass,
                           int img, size_t from, size_t to, int first, int width, float *sum0,
                           float *sum1)
{
    size_t p = from;

    for (; p + ROWS <= to; p += ROWS)
        mask_rows(act, source, ROWS, pass, img, p, first, width, sum0, sum1);
    for (; p < to; p++)
        mask_rows(act, source, 1, pass, img, p, first, width, sum0, sum1);
}

/* to[0..width-1] += from[0..width-1] */
static void add_row(int width, const float *from, float *to)
{
    for (int c = 0; c < width; c += NAS_VL)
        add_some(to + c, load_some(from + c, width - c), width - c);
}

/* Images [begin, end), whose sums go to sums[2][channels]. */
NAS_INLINE void mask_images(const nas_act act, const mask_source source, const mask_pass *pass,
                            int begin, int end, int first, int width, float *sums)
{
    float block[2][SUM_CHANNELS];

    if (sums)
        for (int half = 0; half < 2; half++)
            memset(sums + (size_t)half * pass->channels + first, 0, (size_t)width * sizeof *sums);
    for (int img = begin; img < end; img++)
        for (int p = 0; p < pass->hw; p += SUM_PIXELS) {
            const size_t start = (size_t)img * pass->hw;

            for (int half = 0; half < 2; half++)
                memset(block[half], 0, (size_t)width * sizeof *block[half]);
            mask_block(act, source, pass, img, start + p,
                       start + smaller(p + SUM_PIXELS, pass->hw), first, width, block[0],
                       block[1]);
            if (sums)
                for (int half = 0; half < 2; half++)
                    add_row(width, block[half], sums + (size_t)half * pass->channels + first);
        }
}

NAS_INLINE void mask_all(const mask_source source, const mask_pass *pass)
{
    const int chunks = nas_kernel_chunks(pass->n), channels = pass->channels;

#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (int chunk = 0; chunk < chunks; chunk++)
        for (int first = 0; first < channels; first += SUM_CHANNELS) {
            const int begin = (int)((int64_t)chunk * pass->n / chunks);
            const int end = (int)((int64_t)(chunk + 1) * pass->n / chunks);
            const int width = smaller(SUM_CHANNELS, channels - first);
            float *sums = pass->sums ? pass->sums + (size_t)chunk * 2 * channels : NULL;

            NAS_WITH_ACT(pass->x->act,
                         mask_images(ACT, source, pass, begin, end, first, width, sums));
        }
}

void NAS_ISA_NAME(nas_k_mask)(int n, int hw, int c, const nas_view *x, const float *mean,
                              const float *invstd, const float *dy, float *g, float *sums)
{
    const mask_pass pass = {n, hw, c, x, mean, invstd, dy, NULL, g, sums};

    mask_all(SOURCE_DENSE, &pass);
}

void NAS_ISA_NAME(nas_k_gate_mask)(int n, int hw, int c, const nas_view *x, const float *mean,
                                   const float *invstd, const float *dv, const float *dpool,
                                   float *g, float *sums)
{
    const mask_pass pass = {n, hw, c, x, mean, invstd, dv, dpool, g, sums};

    mask_all(SOURCE_GATED, &pass);
}

/* -- sums over an image -------------------------------------------------------- */

/* sum[width] of the view (ungated; times dv where given) over pixels [from, to). */
NAS_INLINE void sum_block(const nas_act act, const nas_view *x, const float *dv, size_t from,
                          size_t to, int channels, int first, int width, float *sum)
{
    for (size_t p = from; p < to; p++)
        for (int c = 0; c < width; c += NAS_VL) {
            const int n = width - c;
            const size_t at = p * channels + first + c;
            vfloat v = v_act(act, view_z(x, load_some(x->x + at, n), first + c, n));

            if (dv)
                v *= load_some(dv + at, n);
            add_some(sum + c, v, n);
        }
}

/* y[n][c] = sum over an image of the view (ungated), times dv where given. */
static void sum_images(int n, int hw, int channels, const nas_view *x, const float *dv, float *y)
{
#pragma omp parallel for collapse(2) schedule(static)
    for (int img = 0; img < n; img++)
        for (int first = 0; first < channels; first += SUM_CHANNELS) {
            const int width = smaller(SUM_CHANNELS, channels - first);
            const size_t start = (size_t)img * hw;
            float *to = y + (size_t)img * channels + first;
            float block[SUM_CHANNELS];

            memset(to, 0, (size_t)width * sizeof *to);
            for (int p = 0; p < hw; p += SUM_PIXELS) {
                memset(block, 0, (size_t)width * sizeof *block);
                NAS_WITH_ACT(x->act, sum_block(ACT, x, dv, start + p,
                                               start + smaller(p + SUM_PIXELS, hw), channels,
                                               first, width, block));
                add_row(width, block, to);
            }
        }
}

void NAS_ISA_NAME(nas_k_gate_grad)(int n, int hw, int c, const nas_view *x, const float *dv,
                                   float *dgate)
{
    sum_images(n, hw, c, x, dv, dgate);
}

void NAS_ISA_NAME(nas_k_mean_pool)(int n, int hw, int c, const nas_view *x, float *y)
{
    sum_images(n, hw, c, x, NULL, y);
    for (size_t i = 0; i < (size_t)n * c; i++)
        y[i] = (x->gate ? y[i] * x->gate[i] : y[i]) / (float)hw;
}

void NAS_ISA_NAME(nas_k_mean_pool_backward)(int n, int hw, int c, const nas_view *x,
                                            const float *dy, const nas_conv_grad *out)
{
    if (x->scale && !x->gate) {
        const mask_pass pass = {n, hw, c, x, out->mean, out->invstd, NULL, dy, out->dx, out->sums};

        mask_all(SOURCE_POOLED, &pass);
        return;
    }
#pragma omp parallel for schedule(static)
    for (int img = 0; img < n; img++)
        for (int p = 0; p < hw; p++) {
            float *dx = out->dx + ((size_t)img * hw + p) * c;

            for (int i = 0; i < c; i += NAS_VL) {
                vfloat dv = load_some(dy + (size_t)img * c + i, c - i) / (float)hw;

                if (out->add)
                    dv += load_some(dx + i, c - i);
                store_some(dx + i, dv, c - i);
            }
        }
}

/* -- flat vectors ------------------------------------------------------------------ */

void NAS_ISA_NAME(nas_k_add)(size_t count, const float *x, float *y)
{
    const size_t pieces = (count + PIECE - 1) / PIECE;

#pragma omp parallel for schedule(static) if (pieces >= PIECES_WORTH)
    for (size_t piece = 0; piece < pieces; piece++) {
        const size_t from = piece * PIECE;

        add_row((int)(count - from < PIECE ? count - from : PIECE), x + from, y + from);
    }
}

/* The sum of a vector's lanes, in their order. */
static float lanes_of(vfloat v)
{
    float total = 0;

    for (int j = 0; j < NAS_VL; j++)
        total += v[j];
    return total;
}

enum { PARTS = 64, STEP = 1024 }; /* of sums over all elements: parts, and floats summed as such */

/* Sum of x*y over a count small enough for float. */
static float dot_piece(size_t count, const float *x, const float *y)
{
    vfloat sum[4] = {{0}};
    size_t i = 0;

    for (; i + 4 * NAS_VL <= count; i += 4 * NAS_VL)
        for (int j = 0; j < 4; j++)
            sum[j] += v_load(x + i + j * NAS_VL) * v_load(y + i + j * NAS_VL);
    for (; i < count; i += NAS_VL) {
        const int n = count - i < NAS_VL ? (int)(count - i) : NAS_VL;

        sum[0] += load_some(x + i, n) * load_some(y + i, n);
    }
    return lanes_of((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

double NAS_ISA_NAME(nas_k_dot)(size_t count, const float *x, const float *y)
{
    double part[PARTS], total = 0;

#pragma omp parallel for schedule(static) if (count >= PIECES_WORTH * PIECE)
    for (int i = 0; i < PARTS; i++) {
        const size_t from = count / PARTS * i, to = i + 1 < PARTS ? count / PARTS * (i + 1) : count;

        part[i] = 0;
        for (size_t at = from; at < to; at += STEP)
            part[i] += dot_piece(to - at < STEP ? to - at : STEP, x + at, y + at);
    }
    for (int i = 0; i < PARTS; i++)
        total += part[i];
    return total;
}

/* One vector of channels of `pixels` pixels. */
NAS_INLINE vfloat view_dot_vector(const nas_act ACT, const bool PART, const float *x, vfloat scale,
                                  vfloat shift, const float *y, int channels, int pixels, int lanes)
{
    vfloat sum[4] = {{0}};
    int p = 0;

    for (; p + 4 <= pixels; p += 4)
        for (int j = 0; j < 4; j++, x += channels, y += channels)
            sum[j] += v_act(ACT, v_get(PART, x, lanes) * scale + shift) * v_get(PART, y, lanes);
    for (; p < pixels; p++, x += channels, y += channels)
        sum[0] += v_act(ACT, v_get(PART, x, lanes) * scale + shift) * v_get(PART, y, lanes);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Pixels [from, from + pixels): few enough for float. */
NAS_INLINE float view_dot_piece(const nas_act ACT, const nas_view *x, const float *y, size_t from,
                                int pixels, int channels)
{
    const vfloat one = v_set(1);
    const float *raw = x->x + from * channels;
    vfloat sum = {0};

    y += from * channels;
    for (int c = 0; c < channels; c += NAS_VL) {
        const int n = channels - c;
        const vfloat scale = x->scale ? load_some(x->scale + c, n) : one;
        const vfloat shift = x->scale ? load_some(x->shift + c, n) : (vfloat){0};

        sum += n >= NAS_VL ? view_dot_vector(ACT, false, raw + c, scale, shift, y + c, channels,
                                             pixels, NAS_VL)
                           : view_dot_vector(ACT, true, raw + c, scale, shift, y + c, channels,
                                             pixels, n);
    }
    return lanes_of(sum);
}

double NAS_ISA_NAME(nas_k_view_dot)(int n, int hw, int c, const nas_view *x, const float *y)
{
    const size_t all = (size_t)n * hw, step = STEP / c > 4 ? STEP / c / 4 * 4 : 4;
    double part[PARTS], total = 0;

#pragma omp parallel for schedule(static) if (all * c >= PIECES_WORTH * PIECE)
    for (int i = 0; i < PARTS; i++) {
        const size_t from = all * i / PARTS, to = all * (i + 1) / PARTS;

        part[i] = 0;
        for (size_t at = from; at < to; at += step) {
            const int pixels = to - at < step ? (int)(to - at) : (int)step;

            NAS_WITH_ACT(x->act, part[i] += view_dot_piece(ACT, x, y, at, pixels, c));
        }
    }
    for (int i = 0; i < PARTS; i++)
        total += part[i];
    return total;
}
