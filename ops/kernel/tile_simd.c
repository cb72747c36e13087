/* Tiles before and after their matrix product, see tile_simd.h.
 *
 * Loops over rows keep four partial sums: one alone would wait for the latency
 * of each addition.  The order of additions depends on the tile alone. */
#include "ops/kernel/tile_simd.h"

enum { WAYS = 4 };

/* One vector of ROWS rows of a view (by value: stores could change the caller's,
 * for all the compiler knows). */
NAS_INLINE void view_vector(const nas_act ACT, const int ROWS, const bool PART, nas_view x,
                            const float *gate, int channels, size_t at, int c, int lanes, float *to,
                            int ld)
{
    const vfloat one = v_set(1), none = {0};
    const vfloat scale = x.scale ? v_get(PART, x.scale + c, lanes) : one;
    const vfloat shift = x.scale ? v_get(PART, x.shift + c, lanes) : none;
    const vfloat factor = gate ? v_get(PART, gate + c, lanes) : one;

    for (int r = 0; r < ROWS; r++) {
        const vfloat value = v_get(PART, x.x + at + (size_t)r * (size_t)channels, lanes);

        v_put(PART, to + r * ld, v_act(ACT, scale * value + shift) * factor, lanes);
    }
}

/* Channels [c, c + count) of ROWS rows of one image, the first at row `row`. */
NAS_INLINE void view_rows(const nas_act ACT, const int ROWS, nas_view x, const float *gate,
                          int channels, size_t row, int c, int count, float *to, int ld)
{
    const size_t at = row * (size_t)channels + (size_t)c;
    int i = 0;

    for (; i + NAS_VL <= count; i += NAS_VL)
        view_vector(ACT, ROWS, false, x, gate, channels, at + (size_t)i, c + i, NAS_VL, to + i, ld);
    if (i < count)
        view_vector(ACT, ROWS, true, x, gate, channels, at + (size_t)i, c + i, count - i, to + i,
                    ld);
}

NAS_INLINE void view_tile(const nas_act ACT, nas_view x, int hw, int channels, size_t first,
                          int rows, float *to, int ld)
{
    int r = 0;

    for (; !x.gate && r + WAYS <= rows; r += WAYS)
        view_rows(ACT, WAYS, x, NULL, channels, first + (size_t)r, 0, channels, to + r * ld, ld);
    for (; r < rows; r++) {
        const size_t row = first + (size_t)r;
        const float *gate = x.gate ? x.gate + row / (size_t)hw * (size_t)channels : NULL;

        view_rows(ACT, 1, x, gate, channels, row, 0, channels, to + r * ld, ld);
    }
}

void tile_view(const nas_view *x, int hw, int channels, size_t first, int rows, float *to, int ld)
{
    NAS_WITH_ACT(x->act, view_tile(ACT, *x, hw, channels, first, rows, to, ld))
}

void tile_pixel(const nas_view *x, int channels, size_t pixel, int img, int c, int count, float *to)
{
    const float *gate = x->gate ? x->gate + (size_t)img * (size_t)channels : NULL;

    NAS_WITH_ACT(x->act, view_rows(ACT, 1, *x, gate, channels, pixel, c, count, to, 0))
}

/* One vector of ROWS rows of a gradient view. */
NAS_INLINE void grad_vector(const int ROWS, const bool PART, const bool SUM, nas_grad_view dy,
                            size_t at, int channels, int c, int lanes, float *to, int ld)
{
    const vfloat a = SUM ? v_get(PART, dy.a + c, lanes) : (vfloat){0};
    const vfloat b = SUM ? v_get(PART, dy.b + c, lanes) : (vfloat){0};
    const vfloat k = SUM ? v_get(PART, dy.k + c, lanes) : (vfloat){0};

    for (int r = 0; r < ROWS; r++, at += (size_t)channels) {
        const vfloat g = v_get(PART, dy.g + at, lanes);

        v_store(to + r * ld, SUM ? v_grad(a, g, b, v_get(PART, dy.raw + at, lanes), k) : g);
    }
}

/* Channels [c, c + count) of ROWS rows, the first of which begins at `at`. */
NAS_INLINE void grad_rows(const int ROWS, const bool SUM, nas_grad_view dy, size_t at, int channels,
                          int c, int count, float *to, int ld)
{
    int i = 0;

    at += (size_t)c;
    for (; i + NAS_VL <= count; i += NAS_VL)
        grad_vector(ROWS, false, SUM, dy, at + (size_t)i, channels, c + i, NAS_VL, to + i, ld);
    if (i < count)
        grad_vector(ROWS, true, SUM, dy, at + (size_t)i, channels, c + i, count - i, to + i, ld);
}

NAS_INLINE void grad_tile(const bool SUM, nas_grad_view dy, int channels, size_t first, int rows,
                          int c, int count, float *to, int ld)
{
    size_t at = first * (size_t)channels;
    int r = 0;

    for (; r + WAYS <= rows; r += WAYS, at += WAYS * (size_t)channels)
        grad_rows(WAYS, SUM, dy, at, channels, c, count, to + r * ld, ld);
    for (; r < rows; r++, at += (size_t)channels)
        grad_rows(1, SUM, dy, at, channels, c, count, to + r * ld, ld);
}

void tile_grad(const nas_grad_view *dy, int channels, size_t first, int rows, int c, int count,
               float *to, int ld)
{
    if (dy->a)
        grad_tile(true, *dy, channels, first, rows, c, count, to, ld);
    else
        grad_tile(false, *dy, channels, first, rows, c, count, to, ld);
}

NAS_INLINE vfloat total(const vfloat sum[WAYS]) { return (sum[0] + sum[1]) + (sum[2] + sum[3]); }

/* Merges one vector of channels of `rows` rows at y into mean and m2, of which
 * `before` rows are known: Chan et al. 1979, the sums being shifted by the mean
 * so far (by the first row at the beginning) so that they lose no digits. */
NAS_INLINE void stats_vector(const bool PART, const float *y, int channels, int rows, size_t before,
                             float *mean, float *m2, int lanes)
{
    const vfloat shift = v_get(PART, before ? mean : y, lanes);
    const vfloat known = before ? v_get(PART, m2, lanes) : (vfloat){0};
    const float all = (float)(before + (size_t)rows);
    vfloat sum[WAYS] = {{0}}, squares[WAYS] = {{0}};
    int r = 0;

    for (; r + WAYS <= rows; r += WAYS)
        for (int way = 0; way < WAYS; way++) {
            const vfloat d = v_get(PART, y + (size_t)(r + way) * (size_t)channels, lanes) - shift;

            sum[way] += d;
            squares[way] += d * d;
        }
    for (; r < rows; r++) {
        const vfloat d = v_get(PART, y + (size_t)r * (size_t)channels, lanes) - shift;

        sum[0] += d;
        squares[0] += d * d;
    }
    const vfloat d = total(sum) * (1 / (float)rows);
    const vfloat own = v_max((vfloat){0}, total(squares) - total(sum) * d);

    v_put(PART, mean, shift + d * ((float)rows / all), lanes);
    v_put(PART, m2, known + own + d * d * ((float)before * ((float)rows / all)), lanes);
}

NAS_INLINE void finish_vector(const nas_act ACT, const bool PART, nas_conv_out out,
                              const float *factor, size_t at, int channels, int rows, int c,
                              int lanes)
{
    const vfloat scale = factor ? v_get(PART, factor + c, lanes) : v_set(1);
    const vfloat bias = out.bias ? v_get(PART, out.bias + c, lanes) : (vfloat){0};

    for (int r = 0; r < rows; r++, at += (size_t)channels) {
        vfloat value = v_act(ACT, scale * v_get(PART, out.y + at, lanes) + bias);

        if (out.residual)
            value += v_get(PART, out.residual + at, lanes);
        v_put(PART, out.y + at, value, lanes);
    }
}

NAS_INLINE void output_vector(const bool PART, const nas_conv_out *out, const float *scale,
                              float *stats, size_t before, int channels, size_t at, int rows, int c,
                              int lanes)
{
    if (stats)
        stats_vector(PART, out->y + at, channels, rows, before, stats + c, stats + channels + c,
                     lanes);
    else if (scale || out->bias || out->residual || out->act != NAS_ACT_NONE)
        NAS_WITH_ACT(out->act,
                     finish_vector(ACT, PART, *out, scale, at, channels, rows, c, lanes))
}

void tile_output(const nas_conv_out *out, const float *scale, float *stats, size_t before,
                 int channels, size_t first, int rows, int c, int width)
{
    const size_t at = first * (size_t)channels + (size_t)c;
    int i = 0;

    for (; i + NAS_VL <= width; i += NAS_VL)
        output_vector(false, out, scale, stats, before, channels, at + (size_t)i, rows, c + i,
                      NAS_VL);
    if (i < width)
        output_vector(true, out, scale, stats, before, channels, at + (size_t)i, rows, c + i,
                      width - i);
}

NAS_INLINE void dots_vector(const bool PART, const float *y, const float *dy, int channels,
                            int rows, float *dots, int lanes)
{
    vfloat product[WAYS] = {{0}}, sum[WAYS] = {{0}};
    int r = 0;

    for (; r + WAYS <= rows; r += WAYS)
        for (int way = 0; way < WAYS; way++, y += channels, dy += channels) {
            const vfloat g = v_get(PART, dy, lanes);

            product[way] += g * v_get(PART, y, lanes);
            sum[way] += g;
        }
    for (; r < rows; r++, y += channels, dy += channels) {
        const vfloat g = v_get(PART, dy, lanes);

        product[0] += g * v_get(PART, y, lanes);
        sum[0] += g;
    }
    v_put(PART, dots, v_get(PART, dots, lanes) + total(product), lanes);
    dots += channels;
    v_put(PART, dots, v_get(PART, dots, lanes) + total(sum), lanes);
}

void tile_dots(const float *y, const float *dy, int channels, int rows, int c, int width,
               float *dots)
{
    const int end = c + width;

    for (; c + NAS_VL <= end; c += NAS_VL)
        dots_vector(false, y + c, dy + c, channels, rows, dots + c, NAS_VL);
    if (c < end)
        dots_vector(true, y + c, dy + c, channels, rows, dots + c, end - c);
}

/* Constants and running sums of one vector of channels. */
typedef struct mask_sums {
    vfloat scale, shift, mean;
    vfloat g[WAYS], gx[WAYS];
} mask_sums;

NAS_INLINE void mask_row(const nas_act ACT, const bool PART, const float *x, float *dx, int lanes,
                         mask_sums *s, const int way)
{
    const vfloat raw = v_get(PART, x, lanes);
    const vfloat g = v_act_grad(ACT, s->scale * raw + s->shift, v_get(PART, dx, lanes));

    v_put(PART, dx, g, lanes);
    s->g[way] += g;
    s->gx[way] += g * (raw - s->mean);
}

NAS_INLINE void mask_vector(const nas_act ACT, const bool PART, const nas_view *x,
                            const nas_conv_grad *out, float *sums, int channels, size_t at,
                            int rows, int c, int lanes)
{
    mask_sums s = {.scale = v_get(PART, x->scale + c, lanes),
                   .shift = v_get(PART, x->shift + c, lanes),
                   .mean = v_get(PART, out->mean + c, lanes)};
    const size_t step = (size_t)channels;
    const float *raw = x->x + at;
    float *dx = out->dx + at;
    int r = 0;

    for (; r + WAYS <= rows; r += WAYS)
        for (int way = 0; way < WAYS; way++, raw += step, dx += step)
            mask_row(ACT, PART, raw, dx, lanes, &s, way);
    for (; r < rows; r++, raw += step, dx += step)
        mask_row(ACT, PART, raw, dx, lanes, &s, 0);
    v_put(PART, sums + c, v_get(PART, sums + c, lanes) + total(s.g), lanes);
    sums += channels;
    v_put(PART, sums + c,
        v_get(PART, sums + c, lanes) + total(s.gx) * v_get(PART, out->invstd + c, lanes), lanes);
}

NAS_INLINE void mask_strip(const nas_act ACT, const nas_view *x, const nas_conv_grad *out,
                           float *sums, int channels, size_t at, int rows, int c, int width)
{
    int i = 0;

    for (; i + NAS_VL <= width; i += NAS_VL)
        mask_vector(ACT, false, x, out, sums, channels, at + (size_t)i, rows, c + i, NAS_VL);
    if (i < width)
        mask_vector(ACT, true, x, out, sums, channels, at + (size_t)i, rows, c + i, width - i);
}

void tile_mask(const nas_view *x, const nas_conv_grad *out, float *sums, int channels,
               size_t first, int rows, int c, int width)
{
    const size_t at = first * (size_t)channels + (size_t)c;

    NAS_WITH_ACT(x->act, mask_strip(ACT, x, out, sums, channels, at, rows, c, width))
}

void tile_reduce(size_t count, int parts, const float *partial, float *to)
{
    enum { BLOCK = 1024 };

#pragma omp parallel for schedule(static) if (count * (size_t)parts > 65536)
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        const size_t end = begin + BLOCK < count ? begin + BLOCK : count;

        for (int part = 0; part < parts; part++)
            for (size_t i = begin; i < end; i++)
                to[i] += partial[(size_t)part * count + i];
    }
}

void tile_reduce_turned(int rows, int columns, int parts, const float *partial, float *to)
{
    enum { BLOCK = 16 };
    const size_t all = (size_t)rows * (size_t)columns;

#pragma omp parallel for schedule(static) if (all * (size_t)parts > 65536)
    for (int first = 0; first < rows; first += BLOCK) {
        const int count = rows - first < BLOCK ? rows - first : BLOCK;

        for (int c = 0; c < columns; c++) {
            const float *from = partial + (size_t)c * (size_t)rows + first;
            float sum[BLOCK] = {0};

            for (int i = 0; i < count; i++)
                sum[i] = to[(size_t)(first + i) * (size_t)columns + c];
            for (int part = 0; part < parts; part++)
                for (int i = 0; i < count; i++)
                    sum[i] += from[(size_t)part * all + i];
            for (int i = 0; i < count; i++)
                to[(size_t)(first + i) * (size_t)columns + c] = sum[i];
        }
    }
}
