/* A whole inverted residual block on integers.  Included by int8_simd.c alone.
 *
 * Between its convolutions nothing is stored as codes: the wide tensor exists for BLOCK vectors of
 * channels at a time, laid out as the depthwise convolution reads it, in the cache of the thread
 * that made it, and the depthwise output as the terms that the last product reads:
 * [GROUP of channels][pixel][channel]. */
#ifndef NAS_OPS_KERNEL_INT8_BLOCK_H
#define NAS_OPS_KERNEL_INT8_BLOCK_H

#include "ops/kernel/int8_depthwise.h"
#include "ops/kernel/int8_product.h"

enum {
    GROUP = BLOCK * NAS_VL, /* channels of a task                           */
    HELD_BYTES = 256 << 10, /* of laid out lines that a thread may have     */
    STRIP = 4 * ROWS        /* pixels of a task of the last product         */
};

/* How the block runs and how its scratch is cut up. */
typedef struct block {
    const nas_conv_geom *expand, *depthwise, *project; /* expand: NULL if there is none */
    lines l;
    int whole;            /* pixels of a line of the input, whole cells                 */
    int wide;             /* terms of a pixel of the input: channels, whole words       */
    size_t next;          /* terms of a GROUP of the depthwise output                   */
    size_t input, middle; /* terms of the input, and of the depthwise output            */
    size_t room;          /* vectors of a thread: sums of a line, BLOCK laid out images */
} block;

static size_t room_for_terms(size_t count)
{
    return cache_lines(count * sizeof(term) + PIECE * sizeof(term)) / sizeof(term);
}

static block block_of(const nas_conv_geom *geom, int count)
{
    const nas_conv_geom *dw = &geom[count - 2];
    block b = {.expand = count > 2 ? &geom[0] : NULL, .depthwise = dw,
               .project = &geom[count - 1], .l = lines_of(dw)};
    const size_t n = (size_t)dw->n;

    b.whole = (dw->w + CELL - 1) / CELL * CELL;
    b.wide = (geom[0].cin + WORD - 1) / WORD * WORD;
    b.next = n * (size_t)dw->oh * (size_t)dw->ow * GROUP;
    if (b.expand != NULL)
        b.input = room_for_terms(n * (size_t)dw->h * (size_t)b.whole * (size_t)b.wide);
    b.middle = room_for_terms(b.next * (size_t)b.l.blocks);
    b.room = (size_t)dw->ow + (size_t)BLOCK * (size_t)dw->h * (size_t)b.l.length;
    return b;
}

static bool is_plain_product(const nas_conv_geom *g)
{
    return g->k == 1 && g->stride == 1 && g->pad == 0 && g->groups == 1;
}

static size_t block_scratch(const nas_conv_geom *geom, int count, int threads)
{
    if (count < 2 || count > 3 || !nas_q8_is_depthwise(&geom[count - 2]) ||
        !is_plain_product(&geom[count - 1]) || (count == 3 && !is_plain_product(&geom[0])))
        return 0;
    const block b = block_of(geom, count);
    if ((size_t)BLOCK * (size_t)b.depthwise->h * (size_t)b.l.length * sizeof(vint) > HELD_BYTES)
        return 0;
    return (b.input + b.middle) * sizeof(term) + (size_t)threads * b.room * sizeof(vint);
}

/* One line of the input, as words; pixels that make its cells whole are 0. */
static void gather_line(const block *b, const nas_q8_input *in, size_t line, term *input)
{
    const int channels = b->expand->cin, width = b->expand->w;
    const size_t at = line * (size_t)width * (size_t)channels;
    term *to = input + line * (size_t)b->whole * (size_t)b->wide;

    if (channels == b->wide)
        gather(in, NULL, at, width * channels, to);
    for (int s = 0; s < width && channels < b->wide; s++) {
        term *pixel = to + (size_t)s * (size_t)b->wide;
        gather(in, NULL, at + (size_t)s * (size_t)channels, channels, pixel);
        for (int c = channels; c < b->wide; c++)
            pixel[c] = 0;
    }
    memset(to + (size_t)width * (size_t)b->wide, 0,
           (size_t)(b->whole - width) * (size_t)b->wide * sizeof *to);
}

/* Where cells of an image's pixels go, one after the other: the lines have padding between. */
typedef struct place {
    ptrdiff_t at; /* of the next cell                 */
    int left;     /* cells of this line from there on */
} place;

NAS_INLINE ptrdiff_t next_place(const block *b, place *p)
{
    const ptrdiff_t at = p->at++;

    if (--p->left == 0) {
        p->left = b->whole / CELL;
        p->at += b->l.length - p->left;
    }
    return at;
}

/* `count` pixels from the input at a become count/CELL cells of each vector. */
NAS_INLINE void expand_tile(const int count, const ending KIND, const block *b,
                            const nas_q8_output *out, int zero, const left *l, const term *a,
                            const term *panel, int c, size_t held, place *p, cell *x)
{
    vint sum[TALL][2];

    tile_sums(count, BLOCK, l, a, panel, sum);
    for (int r = 0; r < count; r += CELL) {
        cell *to = x + next_place(b, p);

        for (int v = 0; v < BLOCK; v++) {
            vint code[CELL];
            for (int i = 0; i < CELL; i++)
                code[i] = v_nearest(scaled(KIND, out, sum[r + i][v], c + v * NAS_VL));
            to[(size_t)v * held] = v_cut_cell(code, out->least, out->most, zero);
        }
    }
}

NAS_INLINE void expand_tiles(const ending KIND, const block *b, const nas_q8_output *to, int zero,
                             const left *from, const term *panel, int c, size_t held, cell *x)
{
    const nas_q8_output out = *to; /* its own: else stores might change it */
    const left l = *from;
    const term *a = l.at;
    place p = {.at = b->l.lead, .left = b->whole / CELL};
    int rows = b->depthwise->h * b->whole;

    for (; rows >= TALL; rows -= TALL, a += TALL * l.step)
        expand_tile(TALL, KIND, b, &out, zero, &l, a, panel, c, held, &p, x);
    for (; TALL > 2 * CELL && rows >= 2 * CELL; rows -= 2 * CELL, a += 2 * CELL * l.step)
        expand_tile(2 * CELL, KIND, b, &out, zero, &l, a, panel, c, held, &p, x);
    for (; rows > 0; rows -= CELL, a += CELL * l.step)
        expand_tile(CELL, KIND, b, &out, zero, &l, a, panel, c, held, &p, x);
}

/* Vector 0 of the GROUP of columns from c on, in the panel that has them. */
static const term *columns_from(const void *packed, int wide, int c)
{
    return (const term *)packed + (size_t)(c / PANEL) * (HEAD + (size_t)wide * PANEL) +
           (size_t)(c % PANEL) * WORD;
}

/* The last pixels of lines of whole cells are none: they become the value 0. */
static void clear_rest(const block *b, int zero, cell *x)
{
    const vint none[CELL] = {{0}};
    const cell padding = v_cell(none, zero);
    const int bits = 32 / CELL * (b->depthwise->w % CELL), last = b->l.lead + b->whole / CELL - 1;
    const int keep = (int)((1u << bits) - 1);

    for (int line = 0; line < BLOCK * b->depthwise->h; line++) {
        cell *at = x + (ptrdiff_t)line * b->l.length + last;
        *at = (*at & keep) | (padding & ~keep);
    }
}

/* The wide tensor of one image, channels from c on, as lines. */
static void expand_image(const block *b, const nas_q8_link *link, int zero, const term *input,
                         size_t image, int c, cell *x)
{
    const nas_conv_geom *g = b->depthwise;
    const size_t held = (size_t)g->h * (size_t)b->l.length;
    const left l = plain_rows(input + image * (size_t)(g->h * b->whole) * (size_t)b->wide,
                              b->wide / WORD, link->grid.zero);
    const term *panel = columns_from(link->packed, b->wide, c);

    for (int v = 0; v < BLOCK; v++)
        lay_padding(g, &b->l, g->h, zero, x + (size_t)v * held);
    WITH_KIND(link->out.act == NAS_ACT_NONE ? ROUNDED : BENT,
              expand_tiles(KIND, b, &link->out, zero, &l, panel, c, held, x));
    if (g->w % CELL != 0)
        clear_rest(b, zero, x);
}

/* A line of sums becomes terms, GROUP of them a pixel. */
NAS_INLINE void finish_terms(const ending KIND, const nas_q8_output *to, int zero, int count,
                             const vint *sum, int c, term *at)
{
    const nas_q8_output out = *to;
    const vfloat scale = v_load(out.scale + c), bias = v_load(out.bias + c);
    vint code[SPAN];
    int j = 0;

    for (; j + SPAN <= count; j += SPAN, at += SPAN * GROUP) {
        for (int i = 0; i < SPAN; i++)
            code[i] = v_nearest(rescaled(KIND, &out, sum[j + i], scale, bias));
        v_cut_terms(at, code, SPAN, out.least, out.most, zero);
    }
    if (j == count)
        return;
    for (int i = 0; i < SPAN; i++)
        code[i] = v_nearest(rescaled(KIND, &out, sum[least(j + i, count - 1)], scale, bias));
    v_cut_terms(at, code, count - j, out.least, out.most, zero);
}

/* The depthwise output of one image, channels from c on: [pixel][channel of GROUP]. */
static void middle_block(const block *b, const nas_q8_link *link, int zero, int c, vint *room,
                         term *middle)
{
    const nas_conv_geom *g = b->depthwise;
    const size_t held = (size_t)g->h * (size_t)b->l.length;

    for (int v = 0; v < BLOCK && c < g->cin; v++, c += NAS_VL)
        for (int i = 0; i < g->oh; i++) {
            term *to = middle + (ptrdiff_t)i * g->ow * GROUP + v * NAS_VL;

            line_sums(g, &b->l, i, link->grid.zero, room + g->ow + (size_t)v * held, 0,
                      filter_of(&b->l, link->packed, c / NAS_VL), room);
            WITH_KIND(link->out.act == NAS_ACT_NONE ? ROUNDED : BENT,
                      finish_terms(KIND, &link->out, zero, g->ow, room, c, to));
        }
}

/* `rows` pixels of the output from `first` on, panels [from, to) of its channels. */
static void project_strip(const block *b, const nas_q8_link *link, const term *middle,
                          size_t first, int rows, int from, int to)
{
    const nas_conv_geom *g = b->project;
    const left l = {.at = middle + first * GROUP, .step = GROUP, .next = (ptrdiff_t)b->next,
                    .words = (g->cin + WORD - 1) / WORD, .run = GROUP / WORD,
                    .zero = link->grid.zero};
    const size_t size = HEAD + (size_t)l.words * WORD * PANEL;
    const term *packed = link->packed;

    for (int panel = from; panel < to; panel++)
        WITH_KIND(ending_of(&link->out),
                  multiply(KIND, g, &l, packed + (size_t)panel * size, panel * PANEL,
                           least(PANEL, g->cout - panel * PANEL), first, rows, &link->out));
}

static void run_block(const nas_q8_link *link, int count, const float *x, void *scratch)
{
    const nas_conv_geom geom[3] = {link[0].geom, link[1].geom, link[count - 1].geom};
    const block b = block_of(geom, count);
    const nas_q8_input in = {.x = x, .grid = link[0].grid};
    const nas_q8_link *dw = &link[count - 2], *last = &link[count - 1];
    term *input = scratch, *middle = input + b.input;
    vint *rooms = (vint *)(middle + b.middle);
    const size_t pixels = b.next / GROUP;
    const size_t strips = (pixels + STRIP - 1) / STRIP;
    const int panels = (b.project->cout + PANEL - 1) / PANEL;
    const int parts = strips >= 8 ? 1 : least((int)(8 / strips), panels);
    const bool worth = pixels * (size_t)b.project->cin * (size_t)b.project->cout > 100000;

#pragma omp parallel if (worth)
    {
        vint *room = rooms + (size_t)omp_get_thread_num() * b.room;

        if (b.expand != NULL) {
#pragma omp for schedule(static)
            for (int line = 0; line < b.expand->n * b.expand->h; line++)
                gather_line(&b, &in, (size_t)line, input);
        }
#pragma omp for schedule(static)
        for (int task = 0; task < b.depthwise->n * b.l.blocks; task++) {
            const size_t image = (size_t)(task / b.l.blocks);
            const int nth = task % b.l.blocks, c = nth * GROUP;
            const size_t held = (size_t)b.depthwise->h * (size_t)b.l.length;

            if (b.expand != NULL)
                expand_image(&b, &link[0], dw->grid.zero, input, image, c, room + b.depthwise->ow);
            for (int v = 0; b.expand == NULL && v < BLOCK && c + v * NAS_VL < b.depthwise->cin; v++)
                lay_lines(b.depthwise, &b.l, &in, image, 0, b.depthwise->h, c + v * NAS_VL,
                          room + b.depthwise->ow + (size_t)v * held);
            middle_block(&b, dw, last->grid.zero, c, room,
                         middle + (size_t)nth * b.next +
                             image * (size_t)(b.depthwise->oh * b.depthwise->ow) * GROUP);
        }
#pragma omp for schedule(static)
        for (size_t task = 0; task < strips * (size_t)parts; task++) {
            const size_t first = task / (size_t)parts * STRIP;
            const int part = (int)(task % (size_t)parts);

            project_strip(&b, last, middle, first,
                          pixels - first < STRIP ? (int)(pixels - first) : STRIP,
                          panels * part / parts, panels * (part + 1) / parts);
        }
    }
}

#endif
