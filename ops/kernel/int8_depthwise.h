/* Depthwise int8 convolutions.  Included by int8_simd.c alone.
 *
 * The lines of an image are laid out, for one vector of channels, in cells of CELL neighbouring
 * pixels, and the filter starts at any pixel of a cell: as many versions of it are packed. */
#ifndef NAS_OPS_KERNEL_INT8_DEPTHWISE_H
#define NAS_OPS_KERNEL_INT8_DEPTHWISE_H

#include <omp.h>

#include "ops/kernel/int8_simd.h"

enum { BAND_BYTES = 128 << 10 /* of laid out lines */ };

typedef struct lines {
    int lead;      /* cells of padding before a line                           */
    int length;    /* of a line, in cells                                      */
    int taps;      /* cells that a row of the filter touches, from any start   */
    size_t filter; /* cells of one version of the filter                       */
    size_t packed; /* cells of all versions, and of the sums of the filter's rows (CELL_SUMS) */
    int blocks;    /* of BLOCK vectors of channels                             */
} lines;

static lines lines_of(const nas_conv_geom *g)
{
    lines l = {.lead = (g->pad + CELL - 1) / CELL, .taps = (g->k + 2 * CELL - 2) / CELL};
    const int last = ((g->ow - 1) * g->stride - g->pad) / CELL + l.lead + l.taps;

    l.length = most(last, l.lead + (g->w + CELL - 1) / CELL);
    l.filter = (size_t)g->k * (size_t)l.taps;
    l.packed = CELL * l.filter + CELL_SUMS * (size_t)g->k;
    l.blocks = (g->cin + BLOCK * NAS_VL - 1) / (BLOCK * NAS_VL);
    return l;
}

/* A row of the filter for one vector of channels, from pixel `start` of a cell on:
 * [cell][lane][pixel]; and the sums of the row. */
static void pack_row(const nas_conv_geom *g, const lines *l, int vector, int start, const int8_t *w,
                     cell_term *to, int sum[NAS_VL])
{
    for (int lane = 0; lane < NAS_VL; lane++)
        sum[lane] = 0;
    for (int tap = 0; tap < l->taps; tap++)
        for (int lane = 0; lane < NAS_VL; lane++)
            for (int i = 0; i < CELL; i++) {
                const int s = CELL * tap + i - start, c = vector * NAS_VL + lane;
                const bool there = s >= 0 && s < g->k && c < g->cin;
                const int8_t value = there ? w[(size_t)s * (size_t)g->cin + (size_t)c] : 0;
                sum[lane] += value;
                *to++ = value;
            }
}

/* [vector]([start][row][cell], and the sums of each row) */
static void depthwise_pack(const nas_conv_geom *g, const int8_t *w, cell *to)
{
    const lines l = lines_of(g);

    for (int v = 0; v < l.blocks * BLOCK; v++, to += l.packed)
        for (int start = 0; start < CELL; start++)
            for (int r = 0; r < g->k; r++) {
                cell *row = to + (size_t)start * l.filter + (size_t)(r * l.taps);
                int sum[NAS_VL];

                pack_row(g, &l, v, start, w + (size_t)(r * g->k) * (size_t)g->cin,
                         (cell_term *)row, sum);
                if (CELL_SUMS)
                    memcpy(to + CELL * l.filter + r, sum, sizeof sum);
            }
}

static const cell *filter_of(const lines *l, const cell *packed, int vector)
{
    return packed + (size_t)vector * l->packed;
}

/* ---- laying out ---- */

/* What is no pixel in `count` lines: the value 0. */
static void lay_padding(const nas_conv_geom *g, const lines *l, int count, int zero, cell *to)
{
    const int end = l->lead + (g->w + CELL - 1) / CELL;
    const vint none[CELL] = {{0}};
    const cell padding = v_cell(none, zero);

    for (int r = 0; r < count; r++, to += l->length) {
        for (int i = 0; i < l->lead; i++)
            to[i] = padding;
        for (int i = end; i < l->length; i++)
            to[i] = padding;
    }
}

/* The pixels of a line, n channels of them from element `at` on. */
NAS_INLINE void lay_line_of(const bool CODES, const bool WHOLE, const nas_conv_geom *g,
                            const nas_q8_input *in, const float *gate, size_t at, int n, cell *to)
{
    const size_t step = (size_t)g->cin;

    for (int s = 0; s < g->w; s += CELL, at += CELL * step, to++) {
        vint level[CELL];

        if (CODES && WHOLE && s + CELL <= g->w && put_cell(to, in->codes + at, step))
            continue;
        for (int i = 0; i < CELL; i++)
            level[i] = s + i < g->w
                           ? v_input(CODES, WHOLE, in, gate, at + (size_t)i * step, n) : (vint){0};
        *to = v_cell(level, in->grid.zero);
    }
}

/* Lines [first, end) of an image, channels from c on: [line][cell][lane]. */
static void lay_lines(const nas_conv_geom *g, const lines *l, const nas_q8_input *from,
                      size_t image, int first, int end, int c, cell *to)
{
    const nas_q8_input in = *from;
    const float *gate = in.gate ? in.gate + image * (size_t)g->cin + (size_t)c : NULL;
    const size_t line = (size_t)g->w * (size_t)g->cin;
    size_t at = (image * (size_t)g->h + (size_t)first) * line + (size_t)c;
    const int n = g->cin - c;

    lay_padding(g, l, end - first, in.grid.zero, to);
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

/* `COUNT` neighbouring outputs, of which the first begins at pixel START of the cell at x; filter:
 * its first version, of `rows` rows; WIDTH: of those, or 0 for any.  `lack` is added to each. */
NAS_INLINE void sums(const int COUNT, const int STRIDE, const int START, const int WIDTH,
                     const lines *l, int rows, const cell *x, const cell *filter, vint lack,
                     vint *to)
{
    const int taps = WIDTH > 0 ? (WIDTH + 2 * CELL - 2) / CELL : l->taps;
    vint sum[8];

    for (int j = 0; j < COUNT; j++)
        sum[j] = lack;
    for (int r = 0; r < rows; r++, x += l->length)
        for (int tap = 0; tap < taps; tap++, filter++) {
            cell w[CELL];

            for (int start = 0; start < CELL; start++)
                w[start] = filter[(size_t)start * l->filter];
            for (int j = 0; j < COUNT; j++) {
                const int from = START + j * STRIDE;
                if (WIDTH > 0 && tap * CELL >= from % CELL + WIDTH)
                    continue; /* this version of the filter has ended */
                sum[j] = v_cells(sum[j], x[from / CELL + tap], w[from % CELL]);
            }
        }
    for (int j = 0; j < COUNT; j++)
        to[j] = sum[j];
}

typedef void sums_kernel(const lines *l, int rows, const cell *x, const cell *filter, vint lack,
                         vint *to);

#define SUMS(count, stride, start, width)                                                        \
    static void sums_##count##_##stride##_##start##_##width(                                     \
        const lines *l, int rows, const cell *x, const cell *filter, vint lack, vint *to)        \
    {                                                                                            \
        sums(count, stride, start, width, l, rows, x, filter, lack, to);                         \
    }
#define SUMS_OF(start, width)                                                                    \
    SUMS(8, 1, start, width) SUMS(8, 2, start, width) SUMS(4, 1, start, width)                   \
    SUMS(4, 2, start, width) SUMS(1, 1, start, width)
#define SUMS_FROM(start) SUMS_OF(start, 0) SUMS_OF(start, 3)
SUMS_FROM(0)
#if NAS_Q8_CELL > 1
SUMS_FROM(1)
#endif
#if NAS_Q8_CELL > 2
SUMS_FROM(2)
SUMS_FROM(3)
#endif

/* [start][any filter, 3x3][8 outputs with stride 1, 2; 4 likewise; one, of any stride]. */
#define NAMES_OF(start, width)                                                                   \
    {sums_8_1_##start##_##width, sums_8_2_##start##_##width, sums_4_1_##start##_##width,         \
     sums_4_2_##start##_##width, sums_1_1_##start##_##width}
#define NAMES(start) {NAMES_OF(start, 0), NAMES_OF(start, 3)}
static sums_kernel *const sums_from[CELL][2][5] = {
    NAMES(0),
#if NAS_Q8_CELL > 1
    NAMES(1),
#endif
#if NAS_Q8_CELL > 2
    NAMES(2), NAMES(3),
#endif
};
#undef SUMS
#undef SUMS_OF
#undef SUMS_FROM
#undef NAMES_OF
#undef NAMES

/* Lines of the input that the output line i sees, from the filter's line `begin` on. */
typedef struct seen {
    int top, begin, rows;
} seen;

static seen lines_seen(const nas_conv_geom *g, int i)
{
    seen s = {.top = i * g->stride - g->pad};

    s.begin = most(0, -s.top);
    s.rows = least(g->k, g->h - s.top) - s.begin;
    return s;
}

/* What the sums of those lines lack. */
NAS_INLINE vint line_lack(const lines *l, const seen *s, const cell *filter, int zero)
{
    vint weights = {0};

    for (int r = s->begin; CELL_SUMS && r < s->begin + s->rows; r++)
        weights += vi_load(filter + CELL * l->filter + r);
    return CELL_SUMS ? v_lack(weights, zero) : weights;
}

/* Sums of the output line i from lines laid out from `first` on, of codes with that zero.  The last
 * outputs may be done twice: that is cheaper than a narrow rest. */
static void line_sums(const nas_conv_geom *g, const lines *l, int i, int zero, const cell *x,
                      int first, const cell *filter, vint *to)
{
    const seen s = lines_seen(g, i);
    const vint lack = line_lack(l, &s, filter, zero);
    const int wide = g->stride > 2 || g->ow < 4 ? 1 : g->ow < 8 ? 4 : 8;

    x += (ptrdiff_t)(s.top + s.begin - first) * l->length;
    filter += (ptrdiff_t)s.begin * l->taps;
    for (int done = 0; done < g->ow; done += wide) {
        const int j = least(done, g->ow - wide);
        const int from = j * g->stride - g->pad + CELL * l->lead;
        const int kind = wide == 1 ? 4 : 2 * (wide == 4) + g->stride - 1;

        sums_from[from % CELL][g->k == 3][kind](l, s.rows, x + from / CELL, filter, lack, to + j);
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
           held_lines(g, b.rows) > BAND_BYTES / (l->length * BLOCK * (int)sizeof(cell)))
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
                           const nas_q8_input *in, const cell *packed, const nas_q8_output *out,
                           size_t image, int first, int vector, vint *room)
{
    const int end = least(first + b->rows, g->oh), c = vector * NAS_VL;
    const int top = most(0, first * g->stride - g->pad);
    const int bottom = least(g->h, (end - 1) * g->stride - g->pad + g->k);
    const cell *filter = filter_of(l, packed, vector);
    cell *x = (cell *)(room + g->ow);

    lay_lines(g, l, in, image, top, bottom, c, x);
    for (int i = first; i < end; i++) {
        const size_t at = (image * (size_t)g->oh + (size_t)i) * (size_t)g->ow * (size_t)g->cin;

        line_sums(g, l, i, in->grid.zero, x, top, filter, room);
        WITH_KIND(ending_of(out), finish_line(KIND, g, room, out, c, at + (size_t)c));
    }
}

/* Vectors that a thread needs: of sums and of laid out lines. */
static size_t band_room(const nas_conv_geom *g, const lines *l, const band *b)
{
    const size_t laid = (size_t)b->held * (size_t)l->length * sizeof(cell);

    return (size_t)g->ow + (laid + sizeof(vint) - 1) / sizeof(vint);
}

static void depthwise_conv(const nas_conv_geom *g, const nas_q8_input *in, const cell *packed,
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
