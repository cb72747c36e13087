/* Depthwise convolution for windows of 3, 5 and 7 with stride 1 or 2; what is
 * left goes to the reference.
 *
 * A task is a chunk of images and a group of channels.  It runs down each image
 * with a rolling window of rows that are loaded through the view once, split into
 * vectors of NAS_VL channels, with zeros on both sides for the padding; so it
 * works in the first cache levels whatever the size of the image. */
#include <omp.h>
#include <stdint.h>

#include "ops/kernel/depthwise_task.h"
#include "ops/kernel/ref.h"
#include "ops/kernel/simd_kernels.h"

enum {
    EVAL_TASKS = 8, /* evaluation cuts images into rows until it has so many */
    EVAL_ROWS = 4   /* ... but not below so many rows                        */
};

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

    const row_span span = span_of(task, &plan->x, plan->blocks);

    for (int a = from; a < to; a++) {
        in[a - from] = row_at(task, &plan->x, task->x, top + a);
        w[a - from] = task->w + (size_t)a * k * NAS_VL;
    }
    plan->forward(&span, in, w, to - from, task->row, 1);
}

typedef struct row_moments {
    vfloat sum, squares;
} row_moments;

/* Stores one vector of channels of a pixel, and adds to its moments about `centre`. */
NAS_INLINE void store_pixel(const bool PART, const float *from, vfloat centre, float *to, int n,
                            row_moments *m)
{
    const vfloat value = v_load(from), off = value - centre;

    v_put(PART, to, value, n);
    m->sum += off;
    m->squares += off * off;
}

/* One vector of channels of a row, and its moments; the row `below` floats further is fetched,
 * unless that is 0. */
NAS_INLINE row_moments store_row(const bool PART, const float *from, vfloat centre, int pixels,
                                 int cout, size_t below, float *to, int n)
{
    row_moments m[4] = {{{0}, {0}}};
    int p = 0;

    for (; p + 4 <= pixels; p += 4)
        for (int i = 0; i < 4; i++, from += NAS_VL, to += cout) {
            if (below)
                __builtin_prefetch(to + below, 1);
            store_pixel(PART, from, centre, to, n, &m[i]);
        }
    for (; p < pixels; p++, from += NAS_VL, to += cout)
        store_pixel(PART, from, centre, to, n, &m[0]);
    return (row_moments){(m[0].sum + m[1].sum) + (m[2].sum + m[3].sum),
                         (m[0].squares + m[1].squares) + (m[2].squares + m[3].squares)};
}

/* Stores the row raw; its moments are taken about the first value of its part of the image,
 * which is as near the mean as the data can tell. */
static void finish_training_row(dw_task *task, float *y, bool starts_part)
{
    const dw_plan *plan = task->plan;
    const int pixels = plan->geom->ow, cout = plan->geom->cout, vectors = task->vectors;
    const size_t below = task->ahead ? 0 : (size_t)pixels * cout;

    for (int v = 0; v < vectors; v++) {
        const int c = v * NAS_VL, n = task->channels - c;
        const float *from = task->row + (size_t)v * plan->row_columns * NAS_VL;
        const vfloat centre = v_load(starts_part ? from : task->centre + c);
        const vfloat none = {0};
        const row_moments m =
            n < NAS_VL ? store_row(true, from, centre, pixels, cout, below, y + c, n)
                       : store_row(false, from, centre, pixels, cout, below, y + c, n);

        v_store(task->centre + c, centre);
        v_store(task->part[0] + c, (starts_part ? none : v_load(task->part[0] + c)) + m.sum);
        v_store(task->part[1] + c, (starts_part ? none : v_load(task->part[1] + c)) + m.squares);
    }
    task->part_pixels = (starts_part ? 0 : task->part_pixels) + (float)pixels;
}

/* Merges the moments of a part into those of the chunk (Chan et al. 1979).  Means
 * are kept as distances from the chunk's first value: small numbers keep digits. */
static void merge_part(dw_task *task)
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

/* The outputs that will be written next: they are read before. */
static void fetch_output(const dw_task *task, const float *y, size_t bytes)
{
    if (!task->ahead)
        return;
    task->ahead->stream[0] = (const char *)y;
    task->ahead->end[0] = task->ahead->stream[0] + bytes;
}

/* Output rows [begin, end) of an image. */
static void forward_rows(dw_task *task, const nas_view *x, const nas_conv_out *out, int img,
                         int begin, int end)
{
    const dw_plan *plan = task->plan;
    const nas_conv_geom *geom = plan->geom;

    const size_t row_floats = (size_t)geom->ow * geom->cout;
    const size_t bytes = plan->band * row_floats * sizeof *out->y;

    start_image(task, x, img, begin * geom->stride - geom->pad);
    for (int i = begin; i < end; i += plan->band) {
        const int stop = smaller(i + plan->band, end);

        fetch_output(task, out->y + ((size_t)img * geom->oh + i) * row_floats, bytes);
        fetch_in_product(task->ahead, bytes / 2, (stop - i) * geom->ow, task->vectors);
        load_x(task, x, img, (stop - 1) * geom->stride - geom->pad + geom->k);
        for (int row = i; row < stop; row++) {
            const size_t at = ((size_t)img * geom->oh + row) * row_floats + task->first;

            fetch_in_row(task, bytes / plan->band);
            convolve_row(task, row);
            if (out->stats) {
                finish_training_row(task, out->y + at, row % plan->moment_rows == 0);
                if ((row + 1) % plan->moment_rows == 0 || row + 1 == end)
                    merge_part(task);
                continue;
            }
            const float *residual = out->residual ? out->residual + at : NULL;
            NAS_WITH_ACT(out->act, finish_evaluation_row(ACT, task, residual, out->y + at));
        }
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
            gemm_ahead ahead = {0};
            dw_task task;

            task_init(&task, plan, group, scratch);
            if (plan->product && plan->groups == 1)
                task.ahead = &ahead;
            pick_view(&task, x);
            pick_forward_weights(&task, w, w_scale);
            zero(&task, task.moment[0]);
            zero(&task, task.moment[1]);
            task.pixels = 0;
            begin_products(plan);
            for (int img = images.begin; img < images.end; img++)
                forward_rows(&task, x, out, img, 0, geom->oh);
            end_products(plan);
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
                begin_products(plan);
                forward_rows(&task, x, out, img, (int)((int64_t)geom->oh * piece / pieces),
                             (int)((int64_t)geom->oh * (piece + 1) / pieces));
                end_products(plan);
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
    const dw_plan plan = make_plan(geom, 0);

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
    const float *in[MAX_K], *w[MAX_K];
    const int below = row + geom->pad;

    for (int p = 0; p < s; p++) {
        const dw_phase *phase = &plan->phases[p];
        const row_span span = span_of(task, &plan->dy, phase->blocks);
        int rows = 0;

        for (int a = below % s; a < k && a <= below; a += s)
            if ((below - a) / s < geom->oh) {
                in[rows] = row_at(task, &plan->dy, task->dy, (below - a) / s) +
                           phase->start * NAS_VL;
                w[rows++] = task->w + (size_t)(a * k + phase->weight) * NAS_VL;
            }
        phase->run(&span, in, w, rows, task->row + p * NAS_VL, s);
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

    row_span span = span_of(task, &plan->x, plan->blocks);

    span.out = (size_t)plan->dy.columns * NAS_VL;
    for (int a = 0; a < k; a += taps) {
        int rows = 0;

        for (int i = begin; i < end; i++) {
            const int top = i * geom->stride - geom->pad + a;

            if (top + taps <= 0 || top >= geom->h)
                continue;
            for (int t = 0; t < taps; t++)
                x[rows * taps + t] = top + t < 0 || top + t >= geom->h
                                         ? task->zeros
                                         : row_at(task, &plan->x, task->x, top + t);
            dy[rows++] = row_at(task, &plan->dy, task->dy, i) + plan->dy.lead * NAS_VL;
        }
        plan->weights(&span, x, dy, rows, task->dw + (size_t)a * k * NAS_VL);
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

static void start_backward(dw_task *task, const nas_view *x, const float *w,
                           const nas_grad_view *dy, const nas_conv_grad *out)
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
    clear_margins(task, &plan->dy, plan->geom->ow, task->dy);
    memset(task->dw, 0, (size_t)task->vectors * k * k * NAS_VL * sizeof *task->dw);
    memset(task->zeros, 0,
           (size_t)plan->vectors * plan->x.columns * NAS_VL * sizeof *task->zeros);
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

/* Adds partial weight gradients in the order of the chunks; the threads of a team share. */
static void add_partials(const nas_conv_geom *geom, const float *partials, float *dw)
{
    const int taps = geom->k * geom->k;

#pragma omp for schedule(static)
    for (int tap = 0; tap < taps; tap++)
        for (int chunk = 0; chunk < nas_kernel_chunks(geom->n); chunk++) {
            const float *from = partials + ((size_t)chunk * taps + tap) * geom->cin;

            for (int c = 0; c < geom->cin; c++)
                dw[(size_t)tap * geom->cin + c] += from[c];
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
    const dw_plan plan = make_plan(geom, 0);
    const int chunks = nas_kernel_chunks(geom->n);

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
        if (out->dw)
            add_partials(geom, scratch, out->dw);
    }
}

size_t NAS_ISA_NAME(nas_k_depthwise_scratch)(const nas_conv_geom *geom, int threads)
{
    if (!is_fast(geom))
        return nas_ref_depthwise_scratch(geom, threads);
    const dw_plan plan = make_plan(geom, 0);

    return (partial_floats(geom) + task_floats(&plan) * (size_t)threads) * sizeof(float);
}

#include "ops/kernel/depthwise_expanded.h"
