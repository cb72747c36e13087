/* A task of depthwise convolution: what follows from the geometry, its part of
 * the scratch, and the rolling windows of rows.  Included by depthwise_simd.c
 * alone. */
#ifndef NAS_OPS_KERNEL_DEPTHWISE_TASK_H
#define NAS_OPS_KERNEL_DEPTHWISE_TASK_H

#include <math.h>
#include <omp.h>
#include <stdint.h>

#include "ops/kernel/depthwise_rows.h"
#include "ops/kernel/gemm_simd.h"
#include "ops/kernel/ref.h"

enum {
    GROUP = 256,      /* channels that a task takes at most: memory likes long runs */
    GROUP_LEAST = 48, /* ... and at least, if there are so many, ...                */
    WINDOW = 49152,   /* ... so that a rolling window has so many floats at most:
                       * two of them then share 512 KiB of cache                    */
    BAND = 8,         /* output rows at a time at most, where rows are short        */
    MOMENT_PIXELS = 128, /* pixels whose moments are taken about one value, about   */
    MAX_K = 7,
    PRODUCT_WINDOW = NAS_VL == 16 ? 49152 : 32768 /* ... in place of WINDOW, where a product's w
                                                   * needs cache too: those with vectors of 16 have
                                                   * 1 MiB and more                             */
};

/* A phase of the input gradient: with stride 2 the even and the odd columns of
 * the input meet different taps of a window row, first, first + stride, ... */
typedef struct dw_phase {
    int first, taps;
    int start;  /* pixel of the padded dy row that output column 0 starts at */
    int weight; /* vectors of the window row that lie before the phase       */
    int blocks;
    conv_row *run;
} dw_phase;

/* A rolling window of rows: row r lies in slot r & mask, [vectors][columns]. */
typedef struct dw_window {
    int mask, columns;
    int lead; /* zero columns before the first pixel */
} dw_window;

/* All that follows from the geometry. */
typedef struct dw_plan {
    const nas_conv_geom *geom;
    int groups, vectors; /* vectors: of a group */
    int band;            /* output rows at a time */
    int moment_rows;     /* ... whose moments are taken about one value */
    dw_window x, dy;
    int blocks; /* of an output row */
    conv_row *forward;
    taps_rows *weights;
    dw_phase phases[2];
    int row_columns; /* of the buffer that a finished row goes to */
    int cin;         /* channels that x is a product of, or 0: x is stored */
    const nas_product *product; /* that x is, or NULL */
    const float *packed;        /* its w, packed group by group (pack_product) */
} dw_plan;

static int smaller(int a, int b) { return a < b ? a : b; }
static int larger(int a, int b) { return a > b ? a : b; }
static int ceil_div(int a, int b) { return (a + b - 1) / b; }

static int power_of_two(int at_least)
{
    int p = 1;

    while (p < at_least)
        p *= 2;
    return p;
}

static bool is_fast(const nas_conv_geom *geom)
{
    return (geom->k == 3 || geom->k == 5 || geom->k == 7) && geom->stride <= 2 &&
           geom->pad < geom->k;
}

/* Input gradient: column j*stride + p of the input, pixel j of phase p. */
static void plan_phases(dw_plan *plan, bool keeps_size)
{
    const nas_conv_geom *geom = plan->geom;
    const int s = geom->stride, width = ceil_div(geom->w, s);
    const row_cut cut = row_cut_of(width, keeps_size);
    int before[2], lead = 0;

    for (int p = 0; p < s; p++) {
        dw_phase *phase = &plan->phases[p];

        phase->first = (p + geom->pad) % s;
        phase->taps = ceil_div(geom->k - phase->first, s);
        phase->weight = p ? plan->phases[0].taps : 0;
        phase->blocks = ceil_div(width, row_cut_block(cut));
        phase->run = conv_row_table[0][phase->taps][cut];
        before[p] = phase->taps - 1 - (p + geom->pad - phase->first) / s;
        lead = larger(lead, before[p]);
    }
    plan->dy.lead = lead;
    plan->dy.columns = lead + plan->row_columns;
    for (int p = 0; p < s; p++) {
        dw_phase *phase = &plan->phases[p];
        const int columns = phase->blocks * row_cut_block(cut);

        phase->start = lead - before[p];
        plan->dy.columns = larger(plan->dy.columns, phase->start + columns + phase->taps - 1);
        plan->row_columns = larger(plan->row_columns, columns * s);
    }
}

/* Cuts the channels into groups of about the same size. */
static void plan_groups(dw_plan *plan)
{
    const int vectors = ceil_div(plan->geom->cin, NAS_VL);
    const int floats = plan->cin ? PRODUCT_WINDOW : WINDOW;
    const int fitting = floats / ((plan->x.mask + 1) * plan->x.columns * NAS_VL);
    const int most = smaller(larger(fitting, GROUP_LEAST / NAS_VL), GROUP / NAS_VL);

    plan->vectors = ceil_div(vectors, ceil_div(vectors, most));
    plan->groups = ceil_div(vectors, plan->vectors);
}

/* cin: channels of the tensor that x is a product of, 0 if x is stored. */
static dw_plan make_plan(const nas_conv_geom *geom, int cin)
{
    const int k = geom->k, s = geom->stride;
    const bool keeps_size = s == 1 && geom->pad == k / 2;
    const row_cut cut = row_cut_of(geom->ow, keeps_size);
    const int block = row_cut_block(cut);
    dw_plan plan = {.geom = geom, .cin = cin};

    plan.band = geom->ow <= 8 ? smaller(geom->oh, BAND) : 1;
    plan.moment_rows = larger(plan.band, MOMENT_PIXELS / geom->ow);
    plan.blocks = ceil_div(geom->ow, block);
    plan.forward = conv_row_table[s - 1][k][cut];
    plan.weights = taps_rows_table[s - 1][k][cut];
    plan.row_columns = plan.blocks * block;
    plan.x.lead = geom->pad;
    plan.x.columns = larger(geom->pad + geom->w, s * (plan.blocks * block - 1) + k);
    plan.x.mask = power_of_two((plan.band - 1) * s + k) - 1;
    plan.dy.mask = power_of_two(plan.band + (k - 1) / s) - 1;
    plan_phases(&plan, keeps_size);
    plan_groups(&plan);
    return plan;
}

/* -- a task ------------------------------------------------------------------------ */

typedef float group_floats[GROUP];

/* A chunk of images and a group of channels, with its part of the scratch. */
typedef struct dw_task {
    const dw_plan *plan;
    int first, channels; /* of the group         */
    int vectors;
    int next_x, next_dy; /* rows not yet loaded  */
    gemm_ahead *ahead;   /* fetched while windows are convolved and products made, or NULL */
    float *x, *dy;       /* the rolling windows  */
    float *row;          /* [vectors][row_columns], a finished row */
    float *w;            /* [vectors][k][k], as forward or input gradient want it */
    float *dw;           /* [vectors][k][k]      */
    float *zeros;        /* a row of x that is all padding */
    const float *packed; /* the group's columns of the product's w */
    group_floats scale, shift, gate;            /* of the view       */
    group_floats a, b, k;                       /* of the grad view  */
    group_floats bias;                          /* of the output     */
    group_floats mean, invstd, sum[2];          /* of the input gradient */
    group_floats base, moment[2];               /* of the statistics: mean - base, squares */
    group_floats centre, part[2];               /* ... of some rows, about their centre */
    float pixels, part_pixels;                  /* how many those cover */
} dw_task;

static size_t window_floats(const dw_plan *plan, const dw_window *window)
{
    return (size_t)(window->mask + 1) * plan->vectors * window->columns * NAS_VL;
}

/* Floats of the packed w of the product, of each group. */
static size_t packed_floats(const dw_plan *plan)
{
    return gemm_packed_count(plan->cin, plan->vectors * NAS_VL);
}

/* Of the product's w. */
static gemm_format product_format(const dw_plan *plan)
{
    return plan->cin <= GEMM_PLANES_K && gemm_has_tiles(plan->cin, plan->vectors * NAS_VL)
               ? GEMM_TILES
               : GEMM_PANELS;
}

/* Packs the product's w for all groups. */
static void pack_product(dw_plan *plan, const nas_product *product, float *packed)
{
    const int group = plan->vectors * NAS_VL, mid = plan->geom->cin;

    for (int i = 0; i < plan->groups; i++) {
        const gemm_right w = {.data = product->w + i * group, .row = mid, .col = 1};

        gemm_pack(plan->cin, smaller(group, mid - i * group), &w, NULL,
                  product_format(plan), packed + (size_t)i * packed_floats(plan));
    }
    plan->product = product;
    plan->packed = packed;
}

static size_t task_floats(const dw_plan *plan)
{
    const int k = plan->geom->k;

    return window_floats(plan, &plan->x) + window_floats(plan, &plan->dy) +
           (size_t)plan->vectors * plan->row_columns * NAS_VL +
           (size_t)plan->vectors * k * k * NAS_VL * 2 +
           (size_t)plan->vectors * plan->x.columns * NAS_VL;
}

/* Partial weight gradients [chunks][k*k][c], rounded up to whole vectors. */
static size_t partial_floats(const nas_conv_geom *geom)
{
    const size_t floats =
        (size_t)nas_kernel_chunks(geom->n) * geom->k * geom->k * geom->cin;

    return (floats + 15) / 16 * 16;
}

static float *take(float **from, size_t floats)
{
    float *taken = *from;

    *from += floats;
    return taken;
}

/* Starts a task on group `group`, in this thread's scratch. */
static void task_init(dw_task *task, const dw_plan *plan, int group, float *scratch)
{
    const nas_conv_geom *geom = plan->geom;
    const size_t taps = (size_t)plan->vectors * geom->k * geom->k * NAS_VL;
    float *at = scratch + partial_floats(geom) + task_floats(plan) * omp_get_thread_num();

    task->plan = plan;
    task->ahead = NULL;
    task->first = group * plan->vectors * NAS_VL;
    task->channels = smaller(geom->cin - task->first, plan->vectors * NAS_VL);
    task->vectors = ceil_div(task->channels, NAS_VL);
    task->x = take(&at, window_floats(plan, &plan->x));
    task->dy = take(&at, window_floats(plan, &plan->dy));
    task->row = take(&at, (size_t)plan->vectors * plan->row_columns * NAS_VL);
    task->w = take(&at, taps);
    task->dw = take(&at, taps);
    task->zeros = take(&at, (size_t)plan->vectors * plan->x.columns * NAS_VL);
    if (plan->product)
        task->packed = plan->packed + (size_t)group * packed_floats(plan);
}

/* The group's part of a [c] array, or `otherwise` for all. */
static void pick(const dw_task *task, const float *from, float otherwise, group_floats to)
{
    for (int c = 0; c < task->vectors * NAS_VL; c++)
        to[c] = !from ? otherwise : c < task->channels ? from[task->first + c] : 0;
}

/* Writes the group's part of a [c] array. */
static void put(const dw_task *task, const group_floats from, float *to)
{
    memcpy(to + task->first, from, (size_t)task->channels * sizeof *to);
}

static void zero(const dw_task *task, group_floats to)
{
    memset(to, 0, (size_t)task->vectors * NAS_VL * sizeof *to);
}

/* Row `row` in a rolling window. */
static float *row_at(const dw_task *task, const dw_window *window, float *rows, int row)
{
    return rows + (size_t)(row & window->mask) * task->vectors * window->columns * NAS_VL;
}

/* How the inner loops get from a window through task->w to task->row. */
static row_span span_of(const dw_task *task, const dw_window *window, int blocks)
{
    const int k = task->plan->geom->k;

    return (row_span){.vectors = task->vectors,
                      .blocks = blocks,
                      .in = (size_t)window->columns * NAS_VL,
                      .w = (size_t)k * k * NAS_VL,
                      .out = (size_t)task->plan->row_columns * NAS_VL,
                      .ahead = task->ahead};
}

/* -- what is fetched meanwhile ------------------------------------------------------ */

/* Asked for all at once, lines would wait for each other: a core has some ten under way.  So a part
 * of them is asked for with each register tile of a product and each block of a convolved row. */

/* `bytes` of each stream during `steps` steps. */
static void fetch_evenly(gemm_ahead *ahead, size_t bytes, int steps)
{
    const size_t step = (bytes / (size_t)larger(1, steps) + 63) / 64 * 64;

    if (ahead)
        ahead->step[0] = ahead->step[1] = step;
}

/* ... during a product of `rows` rows and `vectors` vectors of columns. */
static void fetch_in_product(gemm_ahead *ahead, size_t bytes, int rows, int vectors)
{
    fetch_evenly(ahead, bytes, rows * vectors / GEMM_ROWS(1));
}

/* ... while a row is convolved. */
static void fetch_in_row(const dw_task *task, size_t bytes)
{
    fetch_evenly(task->ahead, bytes, task->plan->blocks * task->vectors);
}


/* Asks for the group's part of a row of pixels before it is used: rows are as far
 * apart as the tensor is wide, which the processor does not guess. */
NAS_INLINE void prefetch_pixel(int channels, const float *pixel)
{
    for (int c = 0; c < channels; c += 16)
        __builtin_prefetch(pixel + c);
}

/* -- rows into the rolling windows -------------------------------------------------- */

NAS_INLINE vfloat load_channels(const float *p, int n)
{
    return __builtin_expect(n >= NAS_VL, 1) ? v_load(p) : v_load_n(p, n);
}

NAS_INLINE void store_channels(float *p, vfloat v, int n)
{
    if (__builtin_expect(n >= NAS_VL, 1))
        v_store(p, v);
    else
        v_store_n(p, v, n);
}

NAS_INLINE void load_view_row(const nas_act act, const dw_task *task, const float *from, float *to)
{
    const size_t plane = (size_t)task->plan->x.columns * NAS_VL;
    const int pixels = task->plan->geom->w, cin = task->plan->geom->cin;
    const int vectors = task->vectors, channels = task->channels;

    for (int p = 0; p < pixels; p++, from += cin, to += NAS_VL) {
        prefetch_pixel(channels, from + (size_t)pixels * cin);
        for (int v = 0; v < vectors; v++) {
            const int c = v * NAS_VL;
            const vfloat raw = load_channels(from + c, channels - c);
            const vfloat z = raw * v_load(task->scale + c) + v_load(task->shift + c);

            v_store(to + v * plane, v_act(act, z) * v_load(task->gate + c));
        }
    }
}

/* Around rows of x in a thread. */
static void begin_products(const dw_plan *plan)
{
    if (plan->product)
        gemm_begin();
}

static void end_products(const dw_plan *plan)
{
    if (plan->product)
        gemm_end();
}

/* Rows of the product that are made at once from row `row` on, of which those before `end` are
 * needed: the tile unit likes 32 pixels.  One that is not needed yet takes a slot that is free. */
static int product_rows(const dw_task *task, int row, int end)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;
    const int slots = plan->x.mask + 1, wanted = 32 / geom->w;
    const int spare = slots > (plan->band - 1) * geom->stride + geom->k;
    const int there = smaller(smaller(end + spare, geom->h) - row, slots - (row & plan->x.mask));

    if (product_format(plan) != GEMM_TILES)
        return 1;
    return larger(1, smaller(wanted, there));
}

/* `rows` rows of the product from pixel `pixel` on, activated, into the window at `to`. */
static void multiply_rows(const dw_task *task, nas_act act, size_t pixel, int rows, float *to)
{
    const dw_plan *plan = task->plan;
    const int w = plan->geom->w;
    const size_t plane = (size_t)plan->x.columns * NAS_VL;
    const gemm_left left = {.data = plan->product->x + pixel * plan->cin, .ld = plan->cin};
    const size_t row = (size_t)task->vectors * plane;
    const gemm_right right = {.data = task->packed, .format = product_format(plan)};
    const gemm_planes planes = {.to = to, .plane = plane,
                                .run = w, .skip = row - (size_t)w * NAS_VL,
                                .scale = task->scale, .shift = task->shift,
                                .low = act == NAS_ACT_NONE ? -INFINITY : 0,
                                .high = act == NAS_ACT_RELU6 ? 6 : INFINITY};

    gemm_to_planes(rows * w, task->channels, plan->cin, &left, &right, &planes, task->ahead);
}

/* Loads the rows of x before `end` that are not there yet. */
static void load_x(dw_task *task, const nas_view *x, int img, int end)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;

    for (int rows = 1; task->next_x < smaller(end, geom->h); task->next_x += rows) {
        const size_t pixel = ((size_t)img * geom->h + task->next_x) * geom->w;
        float *to = row_at(task, &plan->x, task->x, task->next_x) + plan->x.lead * NAS_VL;

        if (plan->product) {
            rows = product_rows(task, task->next_x, end);
            multiply_rows(task, x->act, pixel, rows, to);
            continue;
        }
        const float *from = x->x + pixel * geom->cin + task->first;
        NAS_WITH_ACT(x->act, load_view_row(ACT, task, from, to));
    }
}

NAS_INLINE void load_grad_row(const bool plain, const dw_task *task, const float *g,
                              const float *raw, float *to)
{
    const size_t plane = (size_t)task->plan->dy.columns * NAS_VL;
    const int pixels = task->plan->geom->ow, cout = task->plan->geom->cout;
    const int vectors = task->vectors, channels = task->channels;

    for (int p = 0; p < pixels; p++, to += NAS_VL) {
        if (channels < cout) {
            prefetch_pixel(channels, g + (size_t)(p + pixels) * cout);
            if (!plain)
                prefetch_pixel(channels, raw + (size_t)(p + pixels) * cout);
        }
        for (int v = 0; v < vectors; v++) {
            const int c = v * NAS_VL;
            const size_t at = (size_t)p * cout + c;
            vfloat value = load_channels(g + at, channels - c);

            if (!plain)
                value = v_grad(v_load(task->a + c), value, v_load(task->b + c),
                               load_channels(raw + at, channels - c), v_load(task->k + c));
            v_store(to + v * plane, value);
        }
    }
}

static void load_dy(dw_task *task, const nas_grad_view *dy, int img, int end)
{
    const nas_conv_geom *geom = task->plan->geom;
    const dw_window *window = &task->plan->dy;

    for (; task->next_dy < end; task->next_dy++) {
        const size_t pixel = ((size_t)img * geom->oh + task->next_dy) * geom->ow;
        const size_t from = pixel * geom->cout + task->first;
        float *to = row_at(task, window, task->dy, task->next_dy) + window->lead * NAS_VL;

        if (dy->a)
            load_grad_row(false, task, dy->g + from, dy->raw + from, to);
        else
            load_grad_row(true, task, dy->g + from, NULL, to);
    }
}

/* Zeros left and right of the `width` pixels of each row of a window. */
static void clear_margins(const dw_task *task, const dw_window *window, int width, float *rows)
{
    const int right = window->lead + width;
    const size_t count = (size_t)(window->mask + 1) * task->vectors;

    for (size_t i = 0; i < count; i++, rows += (size_t)window->columns * NAS_VL) {
        memset(rows, 0, (size_t)window->lead * NAS_VL * sizeof *rows);
        memset(rows + (size_t)right * NAS_VL, 0,
               (size_t)(window->columns - right) * NAS_VL * sizeof *rows);
    }
}

static void pick_view(dw_task *task, const nas_view *x)
{
    pick(task, x->scale, 1, task->scale);
    pick(task, x->shift, 0, task->shift);
    pick(task, NULL, 1, task->gate);
    clear_margins(task, &task->plan->x, task->plan->geom->w, task->x);
}

/* What changes from image to image. */
static void start_image(dw_task *task, const nas_view *x, int img, int row)
{
    if (x->gate)
        pick(task, x->gate + (size_t)img * task->plan->geom->cin, 1, task->gate);
    task->next_x = row > 0 ? row : 0;
    task->next_dy = 0;
}

#endif
