/* Depthwise convolution for windows of 3, 5 and 7 with stride 1 or 2; what is
 * left goes to the reference.
 *
 * A task is a chunk of images and a group of channels.  It runs down each image
 * with a rolling window of rows that are loaded through the view once, split into
 * vectors of NAS_VL channels, with zeros on both sides for the padding; so it
 * works in the first cache levels whatever the size of the image. */
#include <omp.h>
#include <stdint.h>

#include "ops/kernel/depthwise_rows.h"
#include "ops/kernel/ref.h"
#include "ops/kernel/simd_kernels.h"

enum {
    GROUP = 144,    /* channels that a task takes at most                      */
    BAND = 8,       /* output rows at a time at most, where rows are short    */
    MAX_K = 7,
    EVAL_TASKS = 8, /* evaluation cuts images into rows until it has so many  */
    EVAL_ROWS = 4   /* ... but not below so many rows                         */
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
    dw_window x, dy;
    int blocks; /* of an output row */
    conv_row *forward;
    taps_rows *weights;
    dw_phase phases[2];
    int row_columns; /* of the buffer that a finished row goes to */
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

static dw_plan make_plan(const nas_conv_geom *geom)
{
    const int vectors = ceil_div(geom->cin, NAS_VL), k = geom->k, s = geom->stride;
    const bool keeps_size = s == 1 && geom->pad == k / 2;
    const row_cut cut = row_cut_of(geom->ow, keeps_size);
    const int block = row_cut_block(cut);
    dw_plan plan = {.geom = geom};

    plan.groups = ceil_div(vectors, GROUP / NAS_VL);
    plan.vectors = ceil_div(vectors, plan.groups);
    plan.groups = ceil_div(vectors, plan.vectors);
    plan.band = geom->ow <= 8 ? smaller(geom->oh, BAND) : 1;
    plan.blocks = ceil_div(geom->ow, block);
    plan.forward = conv_row_table[s - 1][k][cut];
    plan.weights = taps_rows_table[s - 1][k][cut];
    plan.row_columns = plan.blocks * block;
    plan.x.lead = geom->pad;
    plan.x.columns = larger(geom->pad + geom->w, s * (plan.blocks * block - 1) + k);
    plan.x.mask = power_of_two((plan.band - 1) * s + k) - 1;
    plan.dy.mask = power_of_two(plan.band + (k - 1) / s) - 1;
    plan_phases(&plan, keeps_size);
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
    float *x, *dy;       /* the rolling windows  */
    float *row;          /* [vectors][row_columns], a finished row */
    float *w;            /* [vectors][k][k], as forward or input gradient want it */
    float *dw;           /* [vectors][k][k]      */
    float *zeros;        /* a row of x that is all padding */
    group_floats scale, shift, gate;            /* of the view       */
    group_floats a, b, k;                       /* of the grad view  */
    group_floats bias;                          /* of the output     */
    group_floats mean, invstd, sum[2];          /* of the input gradient */
    group_floats base, moment[2];               /* of the statistics: mean - base, squares */
    group_floats centre, part[2];               /* ... of a band, about its centre */
    float pixels, part_pixels;                  /* how many those cover */
} dw_task;

static size_t window_floats(const dw_plan *plan, const dw_window *window)
{
    return (size_t)(window->mask + 1) * plan->vectors * window->columns * NAS_VL;
}

static size_t task_floats(const dw_plan *plan)
{
    const int k = plan->geom->k;

    return window_floats(plan, &plan->x) + window_floats(plan, &plan->dy) +
           (size_t)plan->vectors * plan->row_columns * NAS_VL +
           (size_t)plan->vectors * k * k * NAS_VL * 2 + (size_t)plan->x.columns * NAS_VL;
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
    task->first = group * plan->vectors * NAS_VL;
    task->channels = smaller(geom->cin - task->first, plan->vectors * NAS_VL);
    task->vectors = ceil_div(task->channels, NAS_VL);
    task->x = take(&at, window_floats(plan, &plan->x));
    task->dy = take(&at, window_floats(plan, &plan->dy));
    task->row = take(&at, (size_t)plan->vectors * plan->row_columns * NAS_VL);
    task->w = take(&at, taps);
    task->dw = take(&at, taps);
    task->zeros = take(&at, (size_t)plan->x.columns * NAS_VL);
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

/* Vector v of row `row` in a rolling window. */
NAS_INLINE float *row_at(const dw_task *task, const dw_window *window, float *rows, int row, int v)
{
    return rows + (size_t)((row & window->mask) * task->vectors + v) * window->columns * NAS_VL;
}

/* Asks for the group's part of a row of pixels before it is used: rows are as far
 * apart as the tensor is wide, which the processor does not guess. */
NAS_INLINE void prefetch_pixel(const dw_task *task, const float *pixel)
{
    for (int c = 0; c < task->channels; c += 16)
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
    const nas_conv_geom *geom = task->plan->geom;
    const size_t plane = (size_t)task->plan->x.columns * NAS_VL;

    for (int p = 0; p < geom->w; p++, from += geom->cin, to += NAS_VL) {
        prefetch_pixel(task, from + (size_t)geom->w * geom->cin);
        for (int v = 0; v < task->vectors; v++) {
            const int c = v * NAS_VL;
            const vfloat raw = load_channels(from + c, task->channels - c);
            const vfloat z = raw * v_load(task->scale + c) + v_load(task->shift + c);

            v_store(to + v * plane, v_act(act, z) * v_load(task->gate + c));
        }
    }
}

/* Loads the rows of x before `end` that are not there yet. */
static void load_x(dw_task *task, const nas_view *x, int img, int end)
{
    const nas_conv_geom *geom = task->plan->geom;
    const dw_window *window = &task->plan->x;

    for (; task->next_x < smaller(end, geom->h); task->next_x++) {
        const size_t pixel = ((size_t)img * geom->h + task->next_x) * geom->w;
        const float *from = x->x + pixel * geom->cin + task->first;
        float *to = row_at(task, window, task->x, task->next_x, 0) + window->lead * NAS_VL;

        NAS_WITH_ACT(x->act, load_view_row(ACT, task, from, to));
    }
}

NAS_INLINE void load_grad_row(const bool plain, const dw_task *task, const float *g, const float *raw,
                              float *to)
{
    const nas_conv_geom *geom = task->plan->geom;
    const size_t plane = (size_t)task->plan->dy.columns * NAS_VL;

    for (int p = 0; p < geom->ow; p++, to += NAS_VL) {
        prefetch_pixel(task, g + (size_t)(p + geom->ow) * geom->cout);
        if (!plain)
            prefetch_pixel(task, raw + (size_t)(p + geom->ow) * geom->cout);
        for (int v = 0; v < task->vectors; v++) {
            const int c = v * NAS_VL;
            const size_t at = (size_t)p * geom->cout + c;
            vfloat value = load_channels(g + at, task->channels - c);

            if (!plain)
                value = value * v_load(task->a + c) + v_load(task->k + c) +
                        v_load(task->b + c) * load_channels(raw + at, task->channels - c);
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
        float *to = row_at(task, window, task->dy, task->next_dy, 0) + window->lead * NAS_VL;

        if (dy->a)
            load_grad_row(false, task, dy->g + from, dy->raw + from, to);
        else
            load_grad_row(true, task, dy->g + from, NULL, to);
    }
}

static void pick_view(dw_task *task, const nas_view *x)
{
    pick(task, x->scale, 1, task->scale);
    pick(task, x->shift, 0, task->shift);
    pick(task, NULL, 1, task->gate);
    memset(task->x, 0, window_floats(task->plan, &task->plan->x) * sizeof *task->x);
}

/* What changes from image to image. */
static void start_image(dw_task *task, const nas_view *x, int img, int row)
{
    if (x->gate)
        pick(task, x->gate + (size_t)img * task->plan->geom->cin, 1, task->gate);
    task->next_x = row > 0 ? row : 0;
    task->next_dy = 0;
}

/* -- forward --------------------------------------------------------------------------- */

static void pick_forward_weights(dw_task *task, const float *w, const float *w_scale)
{
    const nas_conv_geom *geom = task->plan->geom;
    const int taps = geom->k * geom->k;
    group_floats factor;

    pick(task, w_scale, 1, factor);
    for (int v = 0; v < task->vectors; v++)
        for (int tap = 0; tap < taps; tap++) {
            const int c = v * NAS_VL;
            const float *from = w + (size_t)tap * geom->cin + task->first + c;

            v_store(task->w + (size_t)(v * taps + tap) * NAS_VL,
                    load_channels(from, task->channels - c) * v_load(factor + c));
        }
}

/* Output row i, into task->row. */
static void convolve_row(const dw_task *task, int i)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;
    const int k = geom->k, top = i * geom->stride - geom->pad;
    const int from = larger(0, -top), to = smaller(k, geom->h - top);
    const float *in[MAX_K], *w[MAX_K];

    for (int v = 0; v < task->vectors; v++) {
        for (int a = from; a < to; a++) {
            in[a - from] = row_at(task, &plan->x, task->x, top + a, v);
            w[a - from] = task->w + (size_t)(v * k + a) * k * NAS_VL;
        }
        plan->forward(in, w, to - from, plan->blocks,
                      task->row + (size_t)v * plan->row_columns * NAS_VL, 1);
    }
}

/* Stores the row raw; its moments are taken about the first value of the band,
 * which is as near the mean as the data can tell. */
static void finish_training_row(dw_task *task, float *y, bool starts_band)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;

    for (int v = 0; v < task->vectors; v++) {
        const int c = v * NAS_VL, n = task->channels - c;
        const float *from = task->row + (size_t)v * plan->row_columns * NAS_VL;
        vfloat sum = {0}, squares = {0};

        if (starts_band)
            v_store(task->centre + c, v_load(from));
        const vfloat centre = v_load(task->centre + c);

        for (int p = 0; p < geom->ow; p++) {
            const vfloat value = v_load(from + (size_t)p * NAS_VL), off = value - centre;

            store_channels(y + (size_t)p * geom->cout + c, value, n);
            sum += off;
            squares += off * off;
        }
        v_store(task->part[0] + c, starts_band ? sum : v_load(task->part[0] + c) + sum);
        v_store(task->part[1] + c, starts_band ? squares : v_load(task->part[1] + c) + squares);
    }
    task->part_pixels = (starts_band ? 0 : task->part_pixels) + (float)geom->ow;
}

/* Merges the moments of a band into those of the chunk (Chan et al. 1979).  Means
 * are kept as distances from the chunk's first value: small numbers keep digits. */
static void merge_band(dw_task *task)
{
    const float total = task->pixels + task->part_pixels, inverse = 1.0f / task->part_pixels;
    const float share = task->part_pixels / total, weight = task->pixels * share;

    for (int c = 0; c < task->vectors * NAS_VL; c += NAS_VL) {
        const vfloat centre = v_load(task->centre + c);
        const vfloat base = task->pixels > 0 ? v_load(task->base + c) : centre;
        const vfloat sum = v_load(task->part[0] + c), mean = v_load(task->moment[0] + c);
        const vfloat squares = v_load(task->part[1] + c) - sum * sum * inverse;
        const vfloat delta = (centre - base) + sum * inverse - mean;

        v_store(task->base + c, base);
        v_store(task->moment[0] + c, mean + delta * share);
        v_store(task->moment[1] + c, v_load(task->moment[1] + c) +
                                         v_max(squares, (vfloat){0}) + delta * delta * weight);
    }
    task->pixels = total;
}

NAS_INLINE void finish_evaluation_row(const nas_act act, const dw_task *task, const float *residual,
                                      float *y)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;

    for (int v = 0; v < task->vectors; v++) {
        const int c = v * NAS_VL, n = task->channels - c;
        const float *from = task->row + (size_t)v * plan->row_columns * NAS_VL;
        const vfloat bias = v_load(task->bias + c);

        for (int p = 0; p < geom->ow; p++) {
            const size_t at = (size_t)p * geom->cout + c;
            vfloat value = v_act(act, v_load(from + (size_t)p * NAS_VL) + bias);

            if (residual)
                value += load_channels(residual + at, n);
            store_channels(y + at, value, n);
        }
    }
}

/* Output rows [begin, end) of an image. */
static void forward_rows(dw_task *task, const nas_view *x, const nas_conv_out *out, int img,
                         int begin, int end)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;

    start_image(task, x, img, begin * geom->stride - geom->pad);
    for (int i = begin; i < end; i += plan->band) {
        const int stop = smaller(i + plan->band, end);

        load_x(task, x, img, (stop - 1) * geom->stride - geom->pad + geom->k);
        for (int row = i; row < stop; row++) {
            const size_t at =
                ((size_t)img * geom->oh + row) * geom->ow * geom->cout + task->first;

            convolve_row(task, row);
            if (out->stats) {
                finish_training_row(task, out->y + at, row == i);
                continue;
            }
            const float *residual = out->residual ? out->residual + at : NULL;
            NAS_WITH_ACT(out->act, finish_evaluation_row(ACT, task, residual, out->y + at));
        }
        if (out->stats)
            merge_band(task);
    }
}

static void forward_training(const dw_plan *plan, const nas_view *x, const float *w,
                             const float *w_scale, const nas_conv_out *out, float *scratch)
{
    const nas_conv_geom *geom = plan->geom;
    const int chunks = nas_kernel_chunks(geom->n);

#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (int chunk = 0; chunk < chunks; chunk++)
        for (int group = 0; group < plan->groups; group++) {
            const nas_ref_chunk images = nas_ref__chunk(geom->n, chunk);
            float *stats = out->stats + (size_t)chunk * 2 * geom->cout;
            dw_task task;

            task_init(&task, plan, group, scratch);
            pick_view(&task, x);
            pick_forward_weights(&task, w, w_scale);
            zero(&task, task.moment[0]);
            zero(&task, task.moment[1]);
            task.pixels = 0;
            for (int img = images.begin; img < images.end; img++)
                forward_rows(&task, x, out, img, 0, geom->oh);
            for (int c = 0; c < task.channels; c++)
                task.moment[0][c] += task.base[c];
            put(&task, task.moment[0], stats);
            put(&task, task.moment[1], stats + geom->cout);
        }
}

/* Every output is computed alone here, so rows may be split as well. */
static void forward_evaluation(const dw_plan *plan, const nas_view *x, const float *w,
                               const float *w_scale, const nas_conv_out *out, float *scratch)
{
    const nas_conv_geom *geom = plan->geom;
    const int wanted = ceil_div(EVAL_TASKS, geom->n * plan->groups);
    const int pieces = smaller(wanted, ceil_div(geom->oh, EVAL_ROWS));

#pragma omp parallel for collapse(3) schedule(dynamic, 1)
    for (int img = 0; img < geom->n; img++)
        for (int group = 0; group < plan->groups; group++)
            for (int piece = 0; piece < pieces; piece++) {
                dw_task task;

                task_init(&task, plan, group, scratch);
                pick_view(&task, x);
                pick_forward_weights(&task, w, w_scale);
                pick(&task, out->bias, 0, task.bias);
                forward_rows(&task, x, out, img, (int)((int64_t)geom->oh * piece / pieces),
                             (int)((int64_t)geom->oh * (piece + 1) / pieces));
            }
}

void NAS_ISA_NAME(nas_k_depthwise_forward)(const nas_conv_geom *geom, const nas_view *x,
                                           const float *w, const float *w_scale,
                                           const nas_conv_out *out, void *scratch)
{
    if (!is_fast(geom)) {
        nas_ref_depthwise_forward(geom, x, w, w_scale, out, scratch);
        return;
    }
    const dw_plan plan = make_plan(geom);

    (out->stats ? forward_training : forward_evaluation)(&plan, x, w, w_scale, out, scratch);
}

/* -- backward ---------------------------------------------------------------------------- */

/* Window rows with the taps of each phase together and last tap first, so that
 * the input gradient is a convolution too. */
static void pick_backward_weights(dw_task *task, const float *w)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;
    const int k = geom->k;

    for (int v = 0; v < task->vectors; v++)
        for (int a = 0; a < k; a++)
            for (int p = 0; p < geom->stride; p++) {
                const dw_phase *phase = &plan->phases[p];
                float *to = task->w + ((size_t)(v * k + a) * k + phase->weight) * NAS_VL;

                for (int t = 0; t < phase->taps; t++) {
                    const int b = phase->first + (phase->taps - 1 - t) * geom->stride;
                    const int c = v * NAS_VL;
                    const float *from = w + (size_t)(a * k + b) * geom->cin + task->first + c;

                    v_store(to + t * NAS_VL, load_channels(from, task->channels - c));
                }
            }
}

/* Row `row` of the input gradient, into task->row. */
static void convolve_back_row(const dw_task *task, int row)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;
    const int k = geom->k, s = geom->stride;
    const float *in[MAX_K], *w[MAX_K], *shifted[MAX_K];

    for (int v = 0; v < task->vectors; v++) {
        float *dst = task->row + (size_t)v * plan->row_columns * NAS_VL;
        int rows = 0;

        for (int a = (row + geom->pad) % s; a < k && a <= row + geom->pad; a += s) {
            const int from = (row + geom->pad - a) / s;

            if (from >= geom->oh)
                continue;
            in[rows] = row_at(task, &plan->dy, task->dy, from, v);
            w[rows++] = task->w + (size_t)(v * k + a) * k * NAS_VL;
        }
        for (int p = 0; p < s; p++) {
            const dw_phase *phase = &plan->phases[p];
            const float *phase_w[MAX_K];

            for (int r = 0; r < rows; r++) {
                shifted[r] = in[r] + phase->start * NAS_VL;
                phase_w[r] = w[r] + phase->weight * NAS_VL;
            }
            phase->run(shifted, phase_w, rows, phase->blocks, dst + p * NAS_VL, s);
        }
    }
}

/* Writes the row masked by the activation, and adds to the sums. */
NAS_INLINE void finish_masked_row(const nas_act act, dw_task *task, const float *x, float *g)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;

    for (int v = 0; v < task->vectors; v++) {
        const int c = v * NAS_VL, n = task->channels - c;
        const float *from = task->row + (size_t)v * plan->row_columns * NAS_VL;
        const vfloat scale = v_load(task->scale + c), shift = v_load(task->shift + c);
        const vfloat mean = v_load(task->mean + c);
        vfloat sum = {0}, product = {0};

        for (int p = 0; p < geom->w; p++) {
            const size_t at = (size_t)p * geom->cin + c;
            const vfloat raw = load_channels(x + at, n);
            const vfloat masked =
                v_act_grad(act, raw * scale + shift, v_load(from + (size_t)p * NAS_VL));

            store_channels(g + at, masked, n);
            sum += masked;
            product += masked * (raw - mean);
        }
        v_store(task->sum[0] + c, v_load(task->sum[0] + c) + sum);
        v_store(task->sum[1] + c,
                v_load(task->sum[1] + c) + product * v_load(task->invstd + c));
    }
}

static void finish_plain_row(const dw_task *task, bool add, float *dx)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;

    for (int v = 0; v < task->vectors; v++) {
        const int c = v * NAS_VL, n = task->channels - c;
        const float *from = task->row + (size_t)v * plan->row_columns * NAS_VL;

        for (int p = 0; p < geom->w; p++) {
            float *to = dx + (size_t)p * geom->cin + c;
            const vfloat value = v_load(from + (size_t)p * NAS_VL);

            store_channels(to, add ? load_channels(to, n) + value : value, n);
        }
    }
}

/* Weight gradients of output rows [begin, end). */
static void gather_weights(const dw_task *task, int begin, int end)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;
    const int k = geom->k, taps = taps_of(k);
    const float *x[BAND * 3], *dy[BAND];

    for (int v = 0; v < task->vectors; v++)
        for (int a = 0; a < k; a += taps) {
            int rows = 0;

            for (int i = begin; i < end; i++) {
                const int top = i * geom->stride - geom->pad + a;

                if (top + taps <= 0 || top >= geom->h)
                    continue;
                for (int t = 0; t < taps; t++)
                    x[rows * taps + t] = top + t < 0 || top + t >= geom->h
                                             ? task->zeros
                                             : row_at(task, &plan->x, task->x, top + t, v);
                dy[rows++] = row_at(task, &plan->dy, task->dy, i, v) + plan->dy.lead * NAS_VL;
            }
            plan->weights(x, dy, rows, plan->blocks,
                          task->dw + (size_t)(v * k + a) * k * NAS_VL);
        }
}

static void backward_image(dw_task *task, const nas_view *x, const nas_grad_view *dy,
                           const nas_conv_grad *out, int img)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;
    const bool masks = x->scale && !x->gate;
    int row = 0; /* of the input gradient */

    start_image(task, x, img, 0);
    for (int i = 0; i < geom->oh; i += plan->band) {
        const int stop = smaller(i + plan->band, geom->oh);

        load_dy(task, dy, img, stop);
        if (out->dw) {
            load_x(task, x, img, (stop - 1) * geom->stride - geom->pad + geom->k);
            gather_weights(task, i, stop);
        }
        if (!out->dx)
            continue;
        /* the rows whose last output row is there */
        const int last = stop == geom->oh ? geom->h
                                          : smaller(stop * geom->stride - geom->pad, geom->h);
        for (; row < last; row++) {
            const size_t at = ((size_t)img * geom->h + row) * geom->w * geom->cin + task->first;

            convolve_back_row(task, row);
            if (masks)
                NAS_WITH_ACT(x->act, finish_masked_row(ACT, task, x->x + at, out->dx + at))
            else
                finish_plain_row(task, out->add, out->dx + at);
        }
    }
}

static void start_backward(dw_task *task, const nas_view *x, const float *w, const nas_grad_view *dy,
                           const nas_conv_grad *out)
{
    const dw_plan *plan = task->plan;
    const int k = plan->geom->k;

    pick_view(task, x);
    pick_backward_weights(task, w);
    pick(task, dy->a ? dy->a : NULL, 1, task->a);
    pick(task, dy->a ? dy->b : NULL, 0, task->b);
    pick(task, dy->a ? dy->k : NULL, 0, task->k);
    if (x->scale && !x->gate && out->dx) {
        pick(task, out->mean, 0, task->mean);
        pick(task, out->invstd, 0, task->invstd);
        zero(task, task->sum[0]);
        zero(task, task->sum[1]);
    }
    memset(task->dy, 0, window_floats(plan, &plan->dy) * sizeof *task->dy);
    memset(task->dw, 0, (size_t)task->vectors * k * k * NAS_VL * sizeof *task->dw);
    memset(task->zeros, 0, (size_t)plan->x.columns * NAS_VL * sizeof *task->zeros);
}

/* What a task leaves behind: its sums and its partial weight gradient. */
static void finish_backward(const dw_task *task, const nas_view *x, const nas_conv_grad *out,
                            int chunk, float *partial)
{
    const nas_conv_geom *geom = task->plan->geom;
    const int taps = geom->k * geom->k;

    if (x->scale && !x->gate && out->dx)
        for (int half = 0; half < 2; half++)
            put(task, task->sum[half], out->sums + ((size_t)chunk * 2 + half) * geom->cin);
    if (!out->dw)
        return;
    for (int tap = 0; tap < taps; tap++)
        for (int v = 0; v < task->vectors; v++) {
            const int c = v * NAS_VL;
            float *to = partial + ((size_t)chunk * taps + tap) * geom->cin + task->first + c;

            store_channels(to, v_load(task->dw + (size_t)(v * taps + tap) * NAS_VL),
                           task->channels - c);
        }
}

void NAS_ISA_NAME(nas_k_depthwise_backward)(const nas_conv_geom *geom, const nas_view *x,
                                            const float *w, const nas_grad_view *dy,
                                            const nas_conv_grad *out, void *scratch)
{
    if (!is_fast(geom)) {
        nas_ref_depthwise_backward(geom, x, w, dy, out, scratch);
        return;
    }
    const dw_plan plan = make_plan(geom);
    const int chunks = nas_kernel_chunks(geom->n), taps = geom->k * geom->k;

#pragma omp parallel
    {
#pragma omp for collapse(2) schedule(dynamic, 1)
        for (int chunk = 0; chunk < chunks; chunk++)
            for (int group = 0; group < plan.groups; group++) {
                const nas_ref_chunk images = nas_ref__chunk(geom->n, chunk);
                dw_task task;

                task_init(&task, &plan, group, scratch);
                start_backward(&task, x, w, dy, out);
                for (int img = images.begin; img < images.end; img++)
                    backward_image(&task, x, dy, out, img);
                finish_backward(&task, x, out, chunk, scratch);
            }
        /* partial gradients are added in the order of the chunks */
#pragma omp for schedule(static)
        for (int tap = 0; tap < taps; tap++)
            for (int chunk = 0; chunk < chunks && out->dw; chunk++) {
                const size_t row = (size_t)chunk * taps + tap;
                const float *from = (const float *)scratch + row * geom->cin;

                for (int c = 0; c < geom->cin; c++)
                    out->dw[(size_t)tap * geom->cin + c] += from[c];
            }
    }
}

size_t NAS_ISA_NAME(nas_k_depthwise_scratch)(const nas_conv_geom *geom, int threads)
{
    if (!is_fast(geom))
        return nas_ref_depthwise_scratch(geom, threads);
    const dw_plan plan = make_plan(geom);

    return (partial_floats(geom) + task_floats(&plan) * (size_t)threads) * sizeof(float);
}
