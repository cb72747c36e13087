/* A whole inverted residual block on integers.  Included by int8_simd.c alone.
 *
 * Between its convolutions nothing is stored as codes: the wide tensor exists for BLOCK vectors of
 * channels at a time, laid out as the depthwise convolution reads it, in the cache of the thread
 * that made it, and the depthwise output as the pairs of 16 bits that the last product reads:
 * [BLOCK vectors of channels][pixel][channel]. */
#ifndef NAS_OPS_KERNEL_INT8_BLOCK_H
#define NAS_OPS_KERNEL_INT8_BLOCK_H

#include "ops/kernel/int8_depthwise.h"
#include "ops/kernel/int8_product.h"

enum {
    HELD_BYTES = 256 << 10, /* of laid out lines that a thread may have     */
    STRIP = 4 * ROWS        /* pixels of a task of the last product         */
};

/* How the block runs and how its scratch is cut up. */
typedef struct block {
    const nas_conv_geom *expand, *depthwise, *project; /* expand: NULL if there is none */
    lines l;
    int even;             /* pixels of a line of the input, with one more if they are odd   */
    int wide;             /* 16-bit numbers of a pixel of the input: channels, even         */
    size_t next;          /* 16-bit numbers of BLOCK vectors of the depthwise output        */
    size_t input, middle; /* 16-bit numbers of the input, and of the depthwise output       */
    size_t room;          /* vectors of a thread: sums of a line, BLOCK laid out images     */
} block;

static block block_of(const nas_conv_geom *geom, int count)
{
    const nas_conv_geom *dw = &geom[count - 2];
    block b = {.expand = count > 2 ? &geom[0] : NULL, .depthwise = dw,
               .project = &geom[count - 1], .l = lines_of(dw)};
    const size_t n = (size_t)dw->n;

    b.even = (dw->w + 1) / 2 * 2;
    b.wide = (geom[0].cin + 1) / 2 * 2;
    b.next = n * (size_t)dw->oh * (size_t)dw->ow * PANEL;
    if (b.expand != NULL)
        b.input = cache_lines(n * (size_t)dw->h * (size_t)b.even * (size_t)b.wide * 2) / 2;
    b.middle = cache_lines(b.next * (size_t)b.l.blocks * 2) / 2;
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
    return (b.input + b.middle) * sizeof(int16_t) + (size_t)threads * b.room * sizeof(vint);
}

/* One line of the input, as pairs; a pixel that makes it even is 0. */
static void gather_line(const block *b, const nas_q8_input *in, size_t line, int16_t *input)
{
    const int channels = b->expand->cin;
    int16_t *to = input + line * (size_t)b->even * (size_t)b->wide;

    for (int s = 0; s < b->even; s++, to += b->wide) {
        const size_t at = (line * (size_t)b->expand->w + (size_t)s) * (size_t)channels;

        if (s < b->expand->w)
            gather(in, NULL, at, channels, to);
        else
            memset(to, 0, (size_t)b->wide * sizeof *to);
        if (channels < b->wide)
            to[channels] = 0;
    }
}

/* Where pairs of an image's pixels go, one after the other: the lines have padding between. */
typedef struct place {
    ptrdiff_t at; /* of the next pair, in vectors */
    int left;     /* pairs of this line from there on */
} place;

NAS_INLINE ptrdiff_t next_place(const block *b, place *p)
{
    const ptrdiff_t at = p->at++;

    if (--p->left == 0) {
        p->left = b->even / 2;
        p->at += b->l.length - p->left;
    }
    return at;
}

/* `count` pixels from the input at a become count/2 pairs of each vector. */
NAS_INLINE void expand_tile(const int count, const ending KIND, const block *b,
                            const nas_q8_output *out, int zero, const left *l, const int16_t *a,
                            const int16_t *panel, int c, size_t held, place *p, vint *x)
{
    vint sum[ROWS][2];

    tile_sums(count, BLOCK, l, a, panel, sum);
    for (int r = 0; r < count; r += 2) {
        vint *to = x + next_place(b, p);

        for (int v = 0; v < BLOCK; v++)
            to[(size_t)v * held] =
                v_cut_pair(v_nearest(scaled(KIND, out, sum[r][v], c + v * NAS_VL)),
                           v_nearest(scaled(KIND, out, sum[r + 1][v], c + v * NAS_VL)),
                           out->least, out->most, zero);
    }
}

NAS_INLINE void expand_tiles(const ending KIND, const block *b, const nas_q8_output *to, int zero,
                             const int16_t *a, const int16_t *panel, int c, size_t held, vint *x)
{
    const nas_q8_output out = *to; /* its own: else stores might change it */
    const left l = plain_rows(a, b->wide / 2, 0);
    place p = {.at = b->l.lead, .left = b->even / 2};
    int rows = b->depthwise->h * b->even;

    for (; rows >= ROWS; rows -= ROWS, a += ROWS * l.step)
        expand_tile(ROWS, KIND, b, &out, zero, &l, a, panel, c, held, &p, x);
    if (rows == 4)
        expand_tile(4, KIND, b, &out, zero, &l, a, panel, c, held, &p, x);
    else if (rows == 2)
        expand_tile(2, KIND, b, &out, zero, &l, a, panel, c, held, &p, x);
}

/* The wide tensor of one image, channels from c on, as lines. */
static void expand_image(const block *b, const nas_q8_link *link, int zero, const int16_t *input,
                         size_t image, int c, vint *x)
{
    const nas_conv_geom *g = b->depthwise;
    const size_t held = (size_t)g->h * (size_t)b->l.length;
    const int16_t *a = input + image * (size_t)(g->h * b->even) * (size_t)b->wide;
    const int16_t *panel = (const int16_t *)link->packed + (size_t)c * (size_t)b->wide;

    for (int v = 0; v < BLOCK; v++)
        lay_padding(g, &b->l, g->h, zero, x + (size_t)v * held);
    WITH_KIND(link->out.act == NAS_ACT_NONE ? ROUNDED : BENT,
              expand_tiles(KIND, b, &link->out, zero, a, panel, c, held, x));
    if (g->w % 2 == 0)
        return;
    for (int line = 0; line < BLOCK * g->h; line++) /* the pixel that made lines even is none */
        x[(ptrdiff_t)line * b->l.length + b->l.lead + b->even / 2 - 1] &= 0xffff;
}

/* A line of sums becomes 16-bit numbers, PANEL of them a pixel. */
NAS_INLINE void finish_shorts(const ending KIND, const nas_q8_output *to, int zero, int count,
                              const vint *sum, int c, int16_t *at)
{
    const nas_q8_output out = *to;
    const vfloat scale = v_load(out.scale + c), bias = v_load(out.bias + c);
    int j = 0;

    for (; j + 2 <= count; j += 2, at += 2 * PANEL)
        v_cut_shorts(at, at + PANEL, v_nearest(rescaled(KIND, &out, sum[j], scale, bias)),
                     v_nearest(rescaled(KIND, &out, sum[j + 1], scale, bias)), out.least, out.most,
                     zero);
    if (j < count) {
        const vint last = v_nearest(rescaled(KIND, &out, sum[j], scale, bias));
        v_cut_shorts(at, at, last, last, out.least, out.most, zero);
    }
}

/* The depthwise output of one image, channels from c on: [pixel][BLOCK vectors]. */
static void middle_block(const block *b, const nas_q8_link *link, int zero, int c, vint *room,
                         int16_t *middle)
{
    const nas_conv_geom *g = b->depthwise;
    const size_t held = (size_t)g->h * (size_t)b->l.length;

    for (int v = 0; v < BLOCK && c < g->cin; v++, c += NAS_VL)
        for (int i = 0; i < g->oh; i++) {
            int16_t *to = middle + (ptrdiff_t)i * g->ow * PANEL + v * NAS_VL;

            line_sums(g, &b->l, i, room + g->ow + (size_t)v * held, 0,
                      filter_of(&b->l, link->packed, c / NAS_VL), room);
            WITH_KIND(link->out.act == NAS_ACT_NONE ? ROUNDED : BENT,
                      finish_shorts(KIND, &link->out, zero, g->ow, room, c, to));
        }
}

/* `rows` pixels of the output from `first` on, panels [from, to) of its channels. */
static void project_strip(const block *b, const nas_q8_link *link, const int16_t *middle,
                          size_t first, int rows, int from, int to)
{
    const nas_conv_geom *g = b->project;
    const left l = {.at = middle + first * PANEL, .step = PANEL, .next = (ptrdiff_t)b->next,
                    .words = (g->cin + 1) / 2, .run = PANEL / 2};
    const size_t size = (size_t)l.words * 2 * PANEL;
    const int16_t *packed = link->packed;

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
    int16_t *input = scratch, *middle = input + b.input;
    vint *rooms = (vint *)(middle + b.middle);
    const size_t pixels = b.next / PANEL;
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
            const int nth = task % b.l.blocks, c = nth * PANEL;
            const size_t held = (size_t)b.depthwise->h * (size_t)b.l.length;

            if (b.expand != NULL)
                expand_image(&b, &link[0], dw->grid.zero, input, image, c, room + b.depthwise->ow);
            for (int v = 0; b.expand == NULL && v < BLOCK && c + v * NAS_VL < b.depthwise->cin; v++)
                lay_lines(b.depthwise, &b.l, &in, image, 0, b.depthwise->h, c + v * NAS_VL,
                          room + b.depthwise->ow + (size_t)v * held);
            middle_block(&b, dw, last->grid.zero, c, room,
                         middle + (size_t)nth * b.next +
                             image * (size_t)(b.depthwise->oh * b.depthwise->ow) * PANEL);
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
