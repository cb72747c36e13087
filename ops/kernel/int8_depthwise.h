/* Depthwise int8 convolutions.  Included by int8_simd.c alone.
 *
 * The lines of an image are laid out, for one vector of channels, in pairs of neighbouring pixels,
 * (2i, 2i+1), and the filter starts at the first or at the second of a pair: two versions of it are
 * packed. */
#ifndef NAS_OPS_KERNEL_INT8_DEPTHWISE_H
#define NAS_OPS_KERNEL_INT8_DEPTHWISE_H

#include <omp.h>

#include "ops/kernel/int8_simd.h"

enum {
    BAND_BYTES = 128 << 10, /* of laid out lines                            */
    BLOCK = 2               /* vectors of channels that a task does         */
};

typedef struct lines {
    int lead;      /* pairs of padding before a line                       */
    int length;    /* of a line, in pairs                                  */
    int taps;      /* pairs that a row of the filter touches, from either start */
    size_t filter; /* vectors of one version of the filter                 */
    int blocks;    /* of BLOCK vectors of channels                         */
} lines;

static lines lines_of(const nas_conv_geom *g)
{
    lines l = {.lead = (g->pad + 1) / 2, .taps = (g->k + 2) / 2};
    const int last = ((g->ow - 1) * g->stride - g->pad) / 2 + l.lead + l.taps;

    l.length = most(last, l.lead + (g->w + 1) / 2);
    l.filter = (size_t)g->k * (size_t)l.taps;
    l.blocks = (g->cin + BLOCK * NAS_VL - 1) / (BLOCK * NAS_VL);
    return l;
}

/* [vector][start 0 or 1][row][pair][lane][2] */
static void depthwise_pack(const nas_conv_geom *g, const int8_t *w, int16_t *to)
{
    const lines l = lines_of(g);

    for (int v = 0; v < l.blocks * BLOCK; v++)
        for (int start = 0; start < 2; start++)
            for (int r = 0; r < g->k; r++)
                for (int pair = 0; pair < l.taps; pair++)
                    for (int lane = 0; lane < 2 * NAS_VL; lane++) {
                        const int s = 2 * pair + lane % 2 - start, c = v * NAS_VL + lane / 2;
                        const bool there = s >= 0 && s < g->k && c < g->cin;
                        *to++ = there ? w[(size_t)(r * g->k + s) * (size_t)g->cin + (size_t)c] : 0;
                    }
}

static const vint *filter_of(const lines *l, const vint *packed, int vector)
{
    return packed + (size_t)vector * 2 * l->filter;
}

/* ---- laying out ---- */

/* What is no pixel in `count` lines: zeros. */
static void lay_padding(const nas_conv_geom *g, const lines *l, int count, vint *to)
{
    const int end = l->lead + (g->w + 1) / 2;

    for (int r = 0; r < count; r++, to += l->length) {
        for (int i = 0; i < l->lead; i++)
            to[i] = (vint){0};
        for (int i = end; i < l->length; i++)
            to[i] = (vint){0};
    }
}

/* The pixels of a line, n channels of them from element `at` on. */
NAS_INLINE void lay_line_of(const bool CODES, const bool WHOLE, const nas_conv_geom *g,
                            const nas_q8_input *in, const float *gate, size_t at, int n, vint *to)
{
    const size_t step = (size_t)g->cin;

    for (int s = 0; s < g->w; s += 2, at += 2 * step) {
        const vint low = v_input(CODES, WHOLE, in, gate, at, n);
        const vint high =
            s + 1 < g->w ? v_input(CODES, WHOLE, in, gate, at + step, n) : (vint){0};
        *to++ = (low & 0xffff) | high << 16;
    }
}

/* Lines [first, end) of an image, channels from c on: [line][pair][lane]. */
static void lay_lines(const nas_conv_geom *g, const lines *l, const nas_q8_input *from,
                      size_t image, int first, int end, int c, vint *to)
{
    const nas_q8_input in = *from;
    const float *gate = in.gate ? in.gate + image * (size_t)g->cin + (size_t)c : NULL;
    const size_t line = (size_t)g->w * (size_t)g->cin;
    size_t at = (image * (size_t)g->h + (size_t)first) * line + (size_t)c;
    const int n = g->cin - c;

    lay_padding(g, l, end - first, to);
    for (int r = first; r < end; r++, at += line, to += l->length) {
        if (in.codes != NULL && n >= NAS_VL)
            lay_line_of(true, true, g, &in, gate, at, n, to + l->lead);
        else if (in.codes != NULL)
            lay_line_of(true, false, g, &in, gate, at, n, to + l->lead);
        else if (n >= NAS_VL)
            lay_line_of(false, true, g, &in, gate, at, n, to + l->lead);
        else
            lay_line_of(false, false, g, &in, gate, at, n, to + l->lead);
    }
}

/* ---- sums ---- */

/* `COUNT` neighbouring outputs, of which the first begins at half START of the pair at x; filter:
 * its first version, of `rows` rows. */
NAS_INLINE void sums(const int COUNT, const int STRIDE, const int START, const lines *l, int rows,
                     const vint *x, const vint *filter, vint *to)
{
    vint sum[8];

    for (int j = 0; j < COUNT; j++)
        sum[j] = (vint){0};
    for (int r = 0; r < rows; r++, x += l->length)
        for (int tap = 0; tap < l->taps; tap++, filter++) {
            const vint w[2] = {filter[0], filter[l->filter]};

            for (int j = 0; j < COUNT; j++) {
                const int from = START + j * STRIDE;
                sum[j] = v_pairs(sum[j], x[from / 2 + tap], w[from % 2]);
            }
        }
    for (int j = 0; j < COUNT; j++)
        to[j] = sum[j];
}

#define SUMS(count, stride, start)                                                              \
    static void sums_##count##_##stride##_##start(const lines *l, int rows, const vint *x,      \
                                                  const vint *filter, vint *to)                  \
    {                                                                                            \
        sums(count, stride, start, l, rows, x, filter, to);                                      \
    }
SUMS(8, 1, 0)
SUMS(8, 1, 1)
SUMS(8, 2, 0)
SUMS(8, 2, 1)
SUMS(4, 1, 0)
SUMS(4, 1, 1)
SUMS(4, 2, 0)
SUMS(4, 2, 1)
SUMS(1, 1, 0)
SUMS(1, 1, 1)
#undef SUMS

typedef void sums_kernel(const lines *l, int rows, const vint *x, const vint *filter, vint *to);

/* [outputs: 8, 4][stride - 1][start]; any stride: one output after the other. */
static sums_kernel *const many_sums[2][2][2] = {
    {{sums_8_1_0, sums_8_1_1}, {sums_8_2_0, sums_8_2_1}},
    {{sums_4_1_0, sums_4_1_1}, {sums_4_2_0, sums_4_2_1}}};
static sums_kernel *const one_sum[2] = {sums_1_1_0, sums_1_1_1};

/* Sums of the output line i from lines laid out from `first` on.  The last outputs may be done
 * twice: that is cheaper than a narrow rest. */
static void line_sums(const nas_conv_geom *g, const lines *l, int i, const vint *x, int first,
                      const vint *filter, vint *to)
{
    const int top = i * g->stride - g->pad;
    const int begin = most(0, -top), rows = least(g->k, g->h - top) - begin;
    const int wide = g->stride > 2 || g->ow < 4 ? 1 : g->ow < 8 ? 4 : 8;

    x += (ptrdiff_t)(top + begin - first) * l->length;
    filter += (ptrdiff_t)begin * l->taps;
    for (int done = 0; done < g->ow; done += wide) {
        const int j = least(done, g->ow - wide);
        const int from = j * g->stride - g->pad + 2 * l->lead;
        sums_kernel *kernel =
            wide == 1 ? one_sum[from % 2] : many_sums[wide == 4][g->stride - 1][from % 2];

        kernel(l, rows, x + from / 2, filter, to + j);
    }
}

/* ---- a convolution by itself ---- */

typedef struct band {
    int rows;  /* output lines of a band */
    int bands; /* of an image            */
    int held;  /* lines that it lays out */
} band;

static int held_lines(const nas_conv_geom *g, int rows)
{
    return least((rows - 1) * g->stride + g->k, g->h);
}

static band band_of(const nas_conv_geom *g, const lines *l)
{
    band b = {.rows = g->oh};

    while (b.rows > 1 &&
           held_lines(g, b.rows) > BAND_BYTES / (l->length * BLOCK * (int)sizeof(vint)))
        b.rows = (b.rows + 1) / 2;
    b.bands = (g->oh + b.rows - 1) / b.rows;
    b.held = held_lines(g, b.rows);
    return b;
}

/* What becomes of a line of sums: elements from `at` on. */
NAS_INLINE void finish_line(const ending KIND, const nas_conv_geom *g, const vint *sum,
                            const nas_q8_output *to, int c, size_t at)
{
    const nas_q8_output f = *to; /* its own: else stores of bytes might change it */
    const size_t step = (size_t)g->cin;
    int j = 0;

    for (; j + 2 <= g->ow && g->cin - c >= NAS_VL; j += 2, at += 2 * step)
        finish_two(KIND, &f, sum[j], sum[j + 1], c, c, at, at + step);
    for (; j < g->ow; j++, at += step)
        finish(KIND, &f, sum[j], c, at, g->cin - c);
}

/* Output lines from `first` on, one vector of channels. */
static void depthwise_band(const nas_conv_geom *g, const lines *l, const band *b,
                           const nas_q8_input *in, const vint *packed, const nas_q8_output *out,
                           size_t image, int first, int vector, vint *room)
{
    const int end = least(first + b->rows, g->oh), c = vector * NAS_VL;
    const int top = most(0, first * g->stride - g->pad);
    const int bottom = least(g->h, (end - 1) * g->stride - g->pad + g->k);
    vint *x = room + g->ow;

    lay_lines(g, l, in, image, top, bottom, c, x);
    for (int i = first; i < end; i++) {
        const size_t at = (image * (size_t)g->oh + (size_t)i) * (size_t)g->ow * (size_t)g->cin;

        line_sums(g, l, i, x, top, filter_of(l, packed, vector), room);
        WITH_KIND(ending_of(out), finish_line(KIND, g, room, out, c, at + (size_t)c));
    }
}

static size_t band_room(const nas_conv_geom *g, const lines *l, const band *b)
{
    return (size_t)g->ow + (size_t)b->held * (size_t)l->length;
}

static void depthwise_conv(const nas_conv_geom *g, const nas_q8_input *in, const vint *packed,
                           const nas_q8_output *out, vint *scratch)
{
    const lines l = lines_of(g);
    const band b = band_of(g, &l);
    const int tasks = g->n * b.bands * l.blocks;
    const size_t room = band_room(g, &l, &b);
    const bool worth = (size_t)tasks * room > 2000;

#pragma omp parallel for schedule(static) if (worth)
    for (int task = 0; task < tasks; task++) {
        const int block = task % l.blocks, first = task / l.blocks % b.bands * b.rows;

        for (int v = block * BLOCK; v < (block + 1) * BLOCK && v * NAS_VL < g->cin; v++)
            depthwise_band(g, &l, &b, in, packed, out, (size_t)(task / (b.bands * l.blocks)), first,
                           v, scratch + (size_t)omp_get_thread_num() * room);
    }
}

#endif
