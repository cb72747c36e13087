/* All int8 convolutions but depthwise: a matrix product of a tile of rows, gathered as words, by
 * panels of PANEL columns.  Included by int8_simd.c alone. */
#ifndef NAS_OPS_KERNEL_INT8_PRODUCT_H
#define NAS_OPS_KERNEL_INT8_PRODUCT_H

#include <omp.h>

#include "ops/kernel/int8_simd.h"

enum {
    TILE_BYTES = 20 << 10,            /* of gathered rows                              */
    PIECE = 16 / (int)sizeof(term),   /* terms that are copied at once                 */
    HEAD = WEIGHT_SUMS * PANEL * WORD /* terms that the sums of a panel's weights take */
};

typedef struct product {
    int terms, words;  /* of a sum                                                     */
    int run, filled;   /* words of a run of a sum's terms, and terms in it: of all, or  */
    bool direct;       /* of a row of a window, which is read from the image's part     */
    int columns;       /* of a group                                                   */
    int panels;        /* of a group                                                   */
    bool windows;      /* a pixel's terms are a window of the image, not one pixel's   */
    int lines, rows;   /* of a gathered tile: lines of output pixels (windows), pixels */
    int width, height; /* of the image's part that a tile of windows sees, padded      */
    size_t panel;      /* terms of a packed panel                                      */
    size_t part, tile; /* terms of that part, and of a tile: a thread's room           */
} product;

static product product_of(const nas_conv_geom *g)
{
    product p = {.terms = g->k * g->k * (g->cin / g->groups), .columns = g->cout / g->groups,
                 .windows = g->k > 1 || g->stride > 1 || g->pad > 0};

    p.direct = DIRECT && p.windows && g->groups == 1 && g->ow >= ROWS &&
               g->ow % ROWS % 4 <= g->ow / 8; /* the last rows of a line are done one by one */
    p.filled = p.direct ? g->k * g->cin : p.terms;
    p.run = (p.filled + WORD - 1) / WORD;
    p.words = p.terms / p.filled * p.run;
    p.panels = (p.columns + PANEL - 1) / PANEL;
    p.panel = HEAD + (size_t)p.words * PANEL * WORD;
    p.rows = most(ROWS, least(TILE_BYTES / (4 * p.words) / ROWS, 16) * ROWS);
    if (p.windows) {
        p.lines = most(1, least(p.rows / g->ow, g->oh));
        p.rows = p.lines * g->ow;
        p.width = g->w + 2 * g->pad;
        p.height = (p.lines - 1) * g->stride + g->k;
        p.part = cache_lines((size_t)p.height * (size_t)p.width * (size_t)g->cin * sizeof(term) +
                             PIECE * sizeof(term)) / sizeof(term);
    }
    p.tile = cache_lines((size_t)p.rows * (size_t)p.words * 4 + PIECE * sizeof(term)) /
             sizeof(term);
    return p;
}

/* Its weights [word][column][term], behind their sums if these are packed. */
static void pack_panel(const nas_conv_geom *g, const product *p, int panel, const int8_t *w,
                       term *to)
{
    const int group = panel / p->panels, first = panel % p->panels * PANEL;
    int sum[PANEL] = {0};
    term *at = to + HEAD;

    for (int t = 0; t < WORD * p->words; t += WORD)
        for (int j = 0; j < PANEL; j++)
            for (int i = 0; i < WORD; i++) {
                const int run = t / (WORD * p->run), nth = t % (WORD * p->run) + i;
                const bool there = first + j < p->columns && nth < p->filled;
                const size_t row = (size_t)(run * p->filled + nth) * (size_t)g->cout;
                const size_t column = (size_t)(group * p->columns + first + j);
                const term value = there ? w[row + column] : 0;
                sum[j] += value;
                *at++ = value;
            }
    if (HEAD > 0)
        memcpy(to, sum, sizeof sum);
}

static void product_pack(const nas_conv_geom *g, const int8_t *w, term *to)
{
    const product p = product_of(g);

    for (int panel = 0; panel < g->groups * p.panels; panel++, to += p.panel)
        pack_panel(g, &p, panel, w, to);
}

/* `count` input values from element `at` on as terms. */
NAS_INLINE void gather_of(const bool CODES, const nas_q8_input *in, const float *gate, size_t at,
                          int count, term *to)
{
    const int zero = in->grid.zero;
    int c = CODES ? put_codes(to, in->codes + at, count) : 0;

    for (; c + NAS_VL <= count; c += NAS_VL)
        v_put_levels(to + c, v_input(CODES, true, in, gate ? gate + c : NULL, at + (size_t)c, NAS_VL),
                     zero);
    for (; c < count; c++)
        to[c] = term_of(CODES ? in->codes[at + (size_t)c] - zero
                              : nas_q8_round(&in->grid, in->x[at + (size_t)c] *
                                                            (gate ? gate[c] : 1)), zero);
}

static void gather(const nas_q8_input *in, const float *gate, size_t at, int count, term *to)
{
    const nas_q8_input own = *in;

    if (in->codes != NULL)
        gather_of(true, &own, gate, at, count, to);
    else
        gather_of(false, &own, gate, at, count, to);
}

/* Pixels from `first` on as they are, `channels` of them from channel c on. */
static void gather_pixels(const nas_conv_geom *g, const nas_q8_input *in, const product *p,
                          int group, size_t first, int rows, term *to)
{
    const size_t pixels = (size_t)g->h * (size_t)g->w, c = (size_t)(group * p->terms);

    if (in->gate == NULL && p->terms == g->cin && p->terms == WORD * p->words) {
        gather(in, NULL, first * (size_t)g->cin, rows * p->terms, to);
        return;
    }
    for (int r = 0; r < rows; r++, to += WORD * p->words) {
        const size_t pixel = first + (size_t)r;
        const float *gate =
            in->gate ? in->gate + pixel / pixels * (size_t)g->cin + c : NULL;
        gather(in, gate, pixel * (size_t)g->cin + c, p->terms, to);
        for (int t = p->terms; t < WORD * p->words; t++)
            to[t] = 0;
    }
}

/* The part of an image that `lines` lines of windows from output line i on see. */
static void gather_part(const nas_conv_geom *g, const nas_q8_input *in, const product *p,
                        size_t image, int i, term *to)
{
    const size_t line = (size_t)p->width * (size_t)g->cin, c = (size_t)g->cin;
    const float *gate = in->gate ? in->gate + image * c : NULL;

    memset(to, term_of(0, in->grid.zero), p->part * sizeof *to);
    for (int a = 0; a < p->height; a++) {
        const int r = i * g->stride - g->pad + a;
        term *at = to + (size_t)a * line + (size_t)g->pad * c;
        const size_t from = (image * (size_t)g->h + (size_t)r) * (size_t)g->w * c;
        if (r < 0 || r >= g->h)
            continue;
        if (gate == NULL)
            gather(in, NULL, from, g->w * g->cin, at);
        for (int s = 0; gate != NULL && s < g->w; s++)
            gather(in, gate, from + (size_t)s * c, g->cin, at + (size_t)s * c);
    }
}

/* Copies whole PIECEs: up to one too many is read and written. */
NAS_INLINE void copy_pieces(term *to, const term *from, int count)
{
    for (int i = 0; i < count; i += PIECE)
        memcpy(to + i, from + i, PIECE * sizeof *to);
}

/* Windows of that part: k times k pieces, or k if all channels belong to the group. */
static void gather_windows(const nas_conv_geom *g, const product *p, int group, int rows,
                           const term *part, term *to)
{
    /* Its own: else stores of bytes might change them. */
    const int per = g->cin / g->groups, run = g->groups == 1 ? g->k : 1, k = g->k, ow = g->ow;
    const int terms = p->terms, padded = WORD * p->words, count = run * per;
    const size_t pixel = (size_t)g->cin, line = (size_t)p->width * pixel;
    const size_t right = (size_t)g->stride * pixel, down = (size_t)g->stride * line;
    const term *from = part + (size_t)(group * per);

    for (int r = 0, j = 0; r < rows; r++) {
        const term *window = from + (size_t)j * right;
        for (int a = 0; a < k; a++, window += line)
            for (int b = 0; b < k; b += run, to += count)
                copy_pieces(to, window + (size_t)b * pixel, count);
        for (int t = terms; t < padded; t++)
            *to++ = 0;
        if (++j == ow)
            j = 0, from += down;
    }
}

/* Rows of words: blocks of `run` words, `next` terms from one to the next; rows are `step` terms
 * apart.  One block is an ordinary matrix. */
typedef struct left {
    const term *at;
    ptrdiff_t step, next;
    int words, run;
    int zero; /* of the input's grid */
} left;

static left plain_rows(const term *at, int words, int zero)
{
    return (left){.at = at, .step = WORD * (ptrdiff_t)words, .words = words, .run = words,
                  .zero = zero};
}

/* A register tile: `count` rows by VECTORS of a panel. */
NAS_INLINE void tile_sums(const int count, const int VECTORS, const left *l, const term *a,
                          const term *b, vint sum[TALL][2])
{
    const vint first = HEAD > 0 ? v_lack(vi_load(b), l->zero) : (vint){0};
    const vint second = HEAD > 0 ? v_lack(vi_load(b + WORD * NAS_VL), l->zero) : (vint){0};

    for (int r = 0; r < count; r++)
        sum[r][0] = first, sum[r][1] = second;
    b += HEAD;
    for (int done = 0; done < l->words; done += l->run, a += l->next) {
        const int run = least(l->run, l->words - done);

        tile_run(count, VECTORS, l->step, run, a, b, sum);
        b += (ptrdiff_t)run * WORD * PANEL;
    }
}

/* `count` rows of a tile, and what becomes of them. */
NAS_INLINE void tile_rows(const int count, const int VECTORS, const ending KIND, const left *l,
                          const term *a, const term *b, const nas_q8_output *out, int c,
                          int width, size_t at, size_t stride)
{
    vint sum[TALL][2];

    tile_sums(count, VECTORS, l, a, b, sum);
    for (int r = 0; r < count; r++, at += stride) {
        if (width == PANEL) {
            finish_two(KIND, out, sum[r][0], sum[r][1], c, c + NAS_VL, at, at + NAS_VL);
            continue;
        }
        finish(KIND, out, sum[r][0], c, at, width);
        if (VECTORS > 1 && width > NAS_VL)
            finish(KIND, out, sum[r][1], c + NAS_VL, at + NAS_VL, width - NAS_VL);
    }
}

/* `rows` rows by the panel of columns c to c + width. */
NAS_INLINE void multiply(const ending KIND, const nas_conv_geom *g, const left *from,
                         const term *b, int c, int width, size_t pixel, int rows,
                         const nas_q8_output *to)
{
    const left l = *from;
    const nas_q8_output out = *to; /* its own: else stores of bytes might change it */
    const size_t stride = (size_t)g->cout;
    const ptrdiff_t step = l.step;
    const term *a = l.at;
    size_t at = pixel * stride + (size_t)c;

    for (; (int)TALL > (int)ROWS && width <= NAS_VL && rows >= TALL;
         rows -= TALL, a += TALL * step, at += TALL * stride)
        tile_rows(TALL, 1, KIND, &l, a, b, &out, c, width, at, stride);
    for (; rows >= ROWS; rows -= ROWS, a += ROWS * step, at += ROWS * stride) {
        if (width > NAS_VL)
            tile_rows(ROWS, 2, KIND, &l, a, b, &out, c, width, at, stride);
        else
            tile_rows(ROWS, 1, KIND, &l, a, b, &out, c, width, at, stride);
    }
    if (ROWS > 4 && rows >= 4) {
        tile_rows(4, 2, KIND, &l, a, b, &out, c, width, at, stride);
        rows -= 4, a += 4 * step, at += 4 * stride;
    }
    for (; rows > 0; rows--, a += step, at += stride)
        tile_rows(1, 2, KIND, &l, a, b, &out, c, width, at, stride);
}

/* Lines of windows in an image's part by a panel. */
NAS_INLINE void multiply_lines(const ending KIND, const nas_conv_geom *g, const product *p,
                               const term *part, int zero, const term *b, int c, int width,
                               size_t pixel, int rows, const nas_q8_output *f)
{
    const ptrdiff_t step = (ptrdiff_t)g->stride * g->cin, line = (ptrdiff_t)p->width * g->cin;

    for (int done = 0; done < rows; done += g->ow, part += g->stride * line) {
        const left l = {.at = part, .step = step, .next = line, .words = p->words, .run = p->run,
                        .zero = zero};
        multiply(KIND, g, &l, b, c, width, pixel + (size_t)done, g->ow, f);
    }
}

/* Panels [begin, end) of all groups, for one tile of `rows` output pixels from `pixel` on. */
static void product_tile(const nas_conv_geom *g, const product *p, const nas_q8_input *in,
                         const term *packed, const nas_q8_output *f, size_t pixel, int rows,
                         int begin, int end, term *room)
{
    const size_t pixels = (size_t)g->oh * (size_t)g->ow;
    term *tile = room + p->part;
    int held = -1; /* the group whose rows are in the tile */

    if (p->windows)
        gather_part(g, in, p, pixel / pixels, (int)(pixel % pixels) / g->ow, room);
    for (int panel = begin; panel < end; panel++) {
        const int group = panel / p->panels, first = panel % p->panels * PANEL;
        const int width = least(PANEL, p->columns - first);
        const term *b = packed + (size_t)panel * p->panel;

        if (p->direct) {
            WITH_KIND(ending_of(f), multiply_lines(KIND, g, p, room, in->grid.zero, b, first, width,
                                                   pixel, rows, f));
            continue;
        }
        if (group != held && p->windows)
            gather_windows(g, p, group, rows, room, tile);
        else if (group != held)
            gather_pixels(g, in, p, group, pixel, rows, tile);
        held = group;
        const left l = plain_rows(tile, p->words, in->grid.zero);
        WITH_KIND(ending_of(f), multiply(KIND, g, &l, b, group * p->columns + first, width, pixel,
                                         rows, f));
    }
}

static void product_conv(const nas_conv_geom *g, const nas_q8_input *in, const term *packed,
                         const nas_q8_output *out, term *scratch)
{
    const product p = product_of(g);
    const int panels = g->groups * p.panels;
    /* Tiles of windows lie within one image, others anywhere. */
    const size_t all = (size_t)g->n * (size_t)g->oh * (size_t)g->ow;
    const size_t chain = p.windows ? all / (size_t)g->n : all, chains = all / chain;
    const size_t count = (chain + (size_t)p.rows - 1) / (size_t)p.rows;
    const bool worth = all * (size_t)p.terms * (size_t)g->cout > 200000;
    const int team = worth ? omp_get_max_threads() : 1; /* each part gathers its rows again */
    const int most_parts = chains * count >= 8 ? 1 : (int)(8 / (chains * count));
    const int parts = least(least(most_parts, panels), team);

#pragma omp parallel for schedule(dynamic, 1) if (worth)
    for (size_t task = 0; task < chains * count * (size_t)parts; task++) {
        const size_t tile = task / (size_t)parts, first = tile % count * (size_t)p.rows;
        const int rows = chain - first < (size_t)p.rows ? (int)(chain - first) : p.rows;
        const int part = (int)(task % (size_t)parts);

        product_tile(g, &p, in, packed, out, tile / count * chain + first, rows,
                     panels * part / parts, panels * (part + 1) / parts,
                     scratch + (size_t)omp_get_thread_num() * (p.part + p.tile));
    }
}

#endif
