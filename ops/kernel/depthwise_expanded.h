/* Expand, batch norm, activation and depthwise convolution as one, for training:
 * the wide expand output exists only as rows in the rolling windows of
 * depthwise_task.h.  Included by depthwise_simd.c alone.
 *
 * With E = X*W, m = mean of X and C = covariance of X (N pixels), batch norm's
 * statistics of E are m*W and w'Cw; no pass over E is needed.  Backward, with g the
 * masked gradient of the normalised E, its gradient is
 *   dE = s*g - s*sum(g)/N - (E - m*W)*q,   q = invstd^2 * sum(g*(z - beta)) / N
 * (s: scale, z: normalised E; Ioffe & Szegedy 2015), and as E is a product,
 *   dX = (s*g)*W' - (X - m)*Q - const,     Q = W*diag(q)*W'
 *   dW = s*(T - m*sum(g)) - N*C*W*q,       T = X'*g
 * so that g is needed only row by row, and E not at all. */
#ifndef NAS_OPS_KERNEL_DEPTHWISE_EXPANDED_H
#define NAS_OPS_KERNEL_DEPTHWISE_EXPANDED_H

#include "ops/kernel/depthwise_task.h"
#include "ops/kernel/tile_simd.h"

enum {
    WORTH_PIXELS = 64,     /* of an image, below which the statistics of x cost too much */
    WORTH_CHANNELS = 256,  /* of x, above which a partial T for each chunk takes too much */
    MOMENT_ROWS = 128,     /* pixels of x taken at a time for the statistics              */
    CORRECTION_ROWS = 128, /* ... and for the correction of dx                            */
    Q_ROWS = 16,           /* of Q at a time                                              */
    SPREAD_PIXELS = 96,    /* ... of g, about                                             */
    CHANNELS = 64          /* of the weight gradients at a time                           */
};

static bool expanded_is_worth(const nas_conv_geom *geom, int cin, nas_act act)
{
    const bool slope_follows_from_value =
        act == NAS_ACT_NONE || act == NAS_ACT_RELU || act == NAS_ACT_RELU6;

    return is_fast(geom) && slope_follows_from_value && geom->h * geom->w >= WORTH_PIXELS &&
           cin <= WORTH_CHANNELS && 2 * cin <= geom->cin;
}

/* -- statistics ------------------------------------------------------------------------ */

/* Moments of x in one chunk: its mean, and the sum of (x - mean)(x - mean)'. */
typedef struct chunk_moments {
    float *mean;    /* [ld]      */
    float *squares; /* [cin][ld] */
} chunk_moments;

static int moments_ld(int cin) { return gemm_round(cin); }

static size_t moments_floats(int cin) { return (size_t)(cin + 1) * (size_t)moments_ld(cin); }

static chunk_moments moments_at(float *from, int cin, int chunk)
{
    float *mean = from + (size_t)chunk * moments_floats(cin);

    return (chunk_moments){.mean = mean, .squares = mean + moments_ld(cin)};
}

static void gather_mean(const float *x, int rows, int cin, float *mean)
{
    for (int c = 0; c < cin; c += NAS_VL) {
        const int n = smaller(cin - c, NAS_VL);
        const vfloat base = load_channels(x + c, n); /* small numbers keep digits */
        vfloat sum[4] = {{0}};

        for (int r = 0; r < rows; r++)
            sum[r % 4] += load_channels(x + (size_t)r * cin + c, n) - base;
        v_store(mean + c, base + ((sum[0] + sum[1]) + (sum[2] + sum[3])) * (1.0f / (float)rows));
    }
}

/* `tile` holds MOMENT_ROWS rows. */
static void gather_moments(const float *x, int rows, int cin, chunk_moments to, float *tile)
{
    const int ld = moments_ld(cin);
    const gemm_left left = {.data = tile, .ld = ld, .transposed = true};
    const gemm_right right = {.data = tile, .row = ld, .col = 1};

    gather_mean(x, rows, cin, to.mean);
    for (int begin = 0, take; begin < rows; begin += take) {
        take = smaller(rows - begin, MOMENT_ROWS);
        for (int r = 0; r < take; r++)
            for (int c = 0; c < cin; c += NAS_VL)
                v_store(tile + (size_t)r * ld + c,
                        load_channels(x + (size_t)(begin + r) * cin + c, cin - c) -
                            v_load(to.mean + c));
        gemm(cin, ld, take, &left, &right, to.squares, ld, begin > 0, NULL);
    }
}

static int chunk_images(int n, int chunk)
{
    const nas_ref_chunk images = nas_ref__chunk(n, chunk);

    return images.end - images.begin;
}

/* Row `row` of the covariance, from the moments of the chunks in their order. */
static void merge_moments(int n, int hw, int cin, float *partial, const float *x_mean, int row,
                          float *x_cov)
{
    enum { BLOCK = 64 };
    double sum[BLOCK];

    for (int begin = 0, count; begin < cin; begin += count) {
        count = smaller(BLOCK, cin - begin);
        memset(sum, 0, sizeof sum);
        for (int chunk = 0; chunk < nas_kernel_chunks(n); chunk++) {
            const chunk_moments m = moments_at(partial, cin, chunk);
            const float *squares = m.squares + (size_t)row * moments_ld(cin) + begin;
            const double off =
                (double)chunk_images(n, chunk) * hw * ((double)m.mean[row] - x_mean[row]);

            for (int c = 0; c < count; c++)
                sum[c] += (double)squares[c] +
                          off * ((double)m.mean[begin + c] - x_mean[begin + c]);
        }
        for (int c = 0; c < count; c++)
            x_cov[begin + c] = (float)(sum[c] / ((double)n * hw));
    }
}

/* to = x_cov * w, [cin][geom->cin]. */
static void covariance_times_w(const nas_conv_geom *geom, const nas_product *product,
                               const float *x_cov, float *to)
{
    const gemm_left left = {.data = x_cov, .ld = product->cin};
    const gemm_right right = {.data = product->w, .row = geom->cin, .col = 1};
    const int step = 2 * NAS_VL, panels = ceil_div(geom->cin, step);

#pragma omp parallel for schedule(static)
    for (int panel = 0; panel < panels; panel++) {
        const int c = panel * step;

        gemm_strip(product->cin, product->cin, &left, &right, to, geom->cin, c,
                   smaller(step, geom->cin - c), false, NULL);
    }
}

static size_t largest(size_t a, size_t b) { return a > b ? a : b; }

static void expanded_moments(int n, int hw, int cin, const float *x, float *x_mean, float *x_cov,
                             float *scratch)
{
    const int chunks = nas_kernel_chunks(n);
    float *tiles = scratch + (size_t)chunks * moments_floats(cin);

#pragma omp parallel for schedule(dynamic, 1)
    for (int chunk = 0; chunk < chunks; chunk++) {
        const size_t first = (size_t)nas_ref__chunk(n, chunk).begin * hw;

        gemm_begin();
        gather_moments(x + first * cin, chunk_images(n, chunk) * hw, cin,
                       moments_at(scratch, cin, chunk),
                       tiles + (size_t)omp_get_thread_num() * MOMENT_ROWS * moments_ld(cin));
        gemm_end();
    }
    for (int c = 0; c < cin; c++) {
        double sum = 0;

        for (int chunk = 0; chunk < chunks; chunk++)
            sum += (double)chunk_images(n, chunk) * moments_at(scratch, cin, chunk).mean[c];
        x_mean[c] = (float)(sum / n);
    }
#pragma omp parallel for schedule(static)
    for (int row = 0; row < cin; row++)
        merge_moments(n, hw, cin, scratch, x_mean, row, x_cov + (size_t)row * cin);
}

static void expanded_statistics(const nas_conv_geom *geom, const nas_product *product,
                                const float *x_mean, const float *x_cov, float *mean, float *var,
                                float *cw)
{
    const int mid = geom->cin;

    covariance_times_w(geom, product, x_cov, cw);
    for (int c = 0; c < mid; c++)
        mean[c] = var[c] = 0;
    for (int i = 0; i < product->cin; i++) {
        const float *w = product->w + (size_t)i * mid;

        for (int c = 0; c < mid; c++) {
            mean[c] += x_mean[i] * w[c];
            var[c] += w[c] * cw[(size_t)i * mid + c];
        }
    }
    for (int c = 0; c < mid; c++)
        var[c] = var[c] > 0 ? var[c] : 0;
}

/* -- backward -------------------------------------------------------------------------- */

/* What the tasks of a backward pass share, and its parts of the scratch. */
typedef struct expanded_job {
    dw_plan plan;
    const nas_view *view;
    const nas_product_bn *bn;
    const float *w;
    const nas_grad_view *dy;
    const nas_expanded_grad *out;
    float *scratch;  /* of the tasks                                                       */
    float *sums;     /* [chunks][2][c]: of g and of g*value; then [2][c]: sum(g) and q      */
    float *t;        /* [chunks][cin][c], partial sums of X'g                               */
    float *cw;       /* [cin][c]: C*W                                                       */
    float *qw;       /* [c][cin] packed: diag(q)*W'                                         */
    float *q, *q_packed; /* [cin][cin]: -Q                                                  */
    float *constant; /* [cin], of dx                                                        */
    float *packed;   /* W of the groups, packed                                             */
    float *back;     /* diag(s)*W' of the groups, packed                                    */
    float *tiles;    /* a thread's: g of `rows` rows                                       */
    size_t tile, back_group; /* floats of one                                               */
    int rows;        /* of g taken at a time                                                */
} expanded_job;

/* Lays the parts out in `scratch` (NULL: only counts); returns how many floats they take. */
static size_t expanded_layout(expanded_job *job, float *scratch, int threads)
{
    const nas_conv_geom *geom = job->plan.geom;
    const size_t chunks = (size_t)nas_kernel_chunks(geom->n), mid = (size_t)geom->cin;
    const size_t cin = (size_t)job->plan.cin, group = (size_t)job->plan.vectors * NAS_VL;

    job->rows = smaller(geom->h, larger(1, SPREAD_PIXELS / geom->w));
    job->tile = (size_t)job->rows * (size_t)geom->w * group;
    job->back_group = gemm_packed_count((int)group, job->plan.cin);
    const struct {
        float **part;
        size_t floats;
    } parts[] = {
        {&job->scratch, partial_floats(geom) + task_floats(&job->plan) * (size_t)threads},
        {&job->sums, (chunks + 1) * 2 * mid},
        {&job->t, chunks * cin * mid},
        {&job->cw, cin * mid},
        {&job->qw, gemm_packed_count(geom->cin, job->plan.cin)},
        {&job->q, cin * cin},
        {&job->q_packed, gemm_packed_count(job->plan.cin, job->plan.cin)},
        {&job->constant, cin},
        {&job->packed, packed_floats(&job->plan) * (size_t)job->plan.groups},
        {&job->back, job->back_group * (size_t)job->plan.groups},
        {&job->tiles, job->tile * (size_t)threads},
    };
    size_t at = 0;

    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        *parts[i].part = scratch ? scratch + at : NULL;
        at += (parts[i].floats + 15) / 16 * 16; /* whole cache lines */
    }
    return at;
}

/* diag(factor)*W' of channels [first, first + count), packed as right operand. */
static gemm_right pack_scaled(const expanded_job *job, int first, int count, const float *factor,
                              float *packed)
{
    const gemm_right w = {.data = job->plan.product->w + first, .row = 1,
                          .col = job->plan.geom->cin};

    return gemm_pack(count, job->plan.cin, &w, &(gemm_scales){.row = factor + first},
                     gemm_best(count, job->plan.cin), packed);
}

/* Masks a finished row of the depthwise gradient into g [w][vectors] and adds to the
 * sums.  The mask follows from the activated values, which are in the window. */
NAS_INLINE void mask_expanded_row(const nas_act act, dw_task *task, int row, float *g)
{
    const dw_plan *plan = task->plan;
    const int step = task->vectors * NAS_VL;
    const float *values = row_at(task, &plan->x, task->x, row) + plan->x.lead * NAS_VL;

    for (int v = 0; v < task->vectors; v++) {
        const float *from = task->row + (size_t)v * plan->row_columns * NAS_VL;
        const float *value = values + (size_t)v * plan->x.columns * NAS_VL;
        float *to = g + (size_t)v * NAS_VL;
        vfloat sum = {0}, product = {0};

        for (int p = 0; p < plan->geom->w; p++, to += step) {
            const vfloat z = v_load(value + (size_t)p * NAS_VL);
            const vfloat masked = v_act_grad(act, z, v_load(from + (size_t)p * NAS_VL));

            v_store(to, masked);
            sum += masked;
            product += masked * z;
        }
        v_store(task->sum[0] + v * NAS_VL, v_load(task->sum[0] + v * NAS_VL) + sum);
        v_store(task->sum[1] + v * NAS_VL, v_load(task->sum[1] + v * NAS_VL) + product);
    }
}

/* What load_dy will read next: as many rows as are spread at a time, and as are loaded. */
static void fetch_dy(const expanded_job *job, const dw_task *task, int img)
{
    const nas_conv_geom *geom = job->plan.geom;
    const size_t rows = (size_t)larger(job->rows, job->plan.band);
    const size_t row = (size_t)geom->ow * geom->cout;
    const size_t next = (size_t)img * geom->oh + task->next_dy, all = (size_t)geom->n * geom->oh;
    const size_t end = next + rows < all ? next + rows : all;
    const float *from[2] = {job->dy->g, job->dy->a ? job->dy->raw : job->dy->g};

    for (int i = 0; task->ahead && i < 2; i++) {
        const char *start = (const char *)(from[i] + next * row);

        if (task->ahead->stream[i] < start)
            task->ahead->stream[i] = start;
        task->ahead->end[i] = (const char *)(from[i] + end * row);
    }
}

/* Rows [row, row + rows) of g go into T and into dx. */
static void spread(const expanded_job *job, const dw_task *task, const float *g, const float *back,
                   float *t, int img, int row, int rows)
{
    const dw_plan *plan = &job->plan;
    const nas_conv_geom *geom = plan->geom;
    const int step = task->vectors * NAS_VL, cin = plan->cin, pixels = rows * geom->w;
    const size_t first = ((size_t)img * geom->h + row) * geom->w;

    if (t) {
        const gemm_left x = {.data = plan->product->x + first * cin, .ld = cin, .transposed = true};
        const gemm_right right = {.data = g, .row = step, .col = 1};

        gemm(cin, task->channels, pixels, &x, &right, t + task->first, geom->cin, true,
             task->ahead);
    }
    if (job->out->dx) {
        const gemm_left left = {.data = g, .ld = step};
        const gemm_right right = {.data = back, .format = gemm_best(task->channels, cin)};

        gemm(pixels, cin, task->channels, &left, &right, job->out->dx + first * cin, cin,
             job->out->add || task->first > 0, task->ahead);
    }
}

static void expanded_image(const expanded_job *job, dw_task *task, float *g, const float *back,
                           float *t, int img)
{
    const dw_plan *plan = &job->plan;
    const nas_conv_geom *geom = plan->geom;
    const size_t step = (size_t)geom->w * task->vectors * NAS_VL;
    const size_t bytes = (size_t)geom->ow * geom->cout * sizeof *g; /* of a row of dy */
    int row = 0, held = 0; /* of the input gradient: finished, and not yet spread */

    start_image(task, job->view, img, 0);
    for (int i = 0; i < geom->oh; i += plan->band) {
        const int stop = smaller(i + plan->band, geom->oh);

        load_dy(task, job->dy, img, stop);
        fetch_dy(job, task, img);
        fetch_in_product(task->ahead, plan->band * bytes / 3, plan->band * geom->ow, task->vectors);
        load_x(task, job->view, img, (stop - 1) * geom->stride - geom->pad + geom->k);
        if (job->out->dw)
            gather_weights(task, i, stop);
        const int last = stop == geom->oh ? geom->h
                                          : smaller(stop * geom->stride - geom->pad, geom->h);
        for (; row < last; row++) {
            load_x(task, job->view, img, row + 1);
            fetch_in_row(task, bytes / 3);
            convolve_back_row(task, row);
            NAS_WITH_ACT(job->bn->act, mask_expanded_row(ACT, task, row, g + held * step));
            if (++held == job->rows || row + 1 == geom->h) {
                fetch_in_product(task->ahead, held * bytes / 3, held * geom->w,
                                 ceil_div(plan->cin, NAS_VL));
                spread(job, task, g, back, t, img, row + 1 - held, held);
                held = 0;
            }
        }
    }
}

/* All channels of a chunk of images: groups one after another, because they add to
 * the same dx. */
static void expanded_chunk(const expanded_job *job, int chunk)
{
    const dw_plan *plan = &job->plan;
    const nas_conv_geom *geom = plan->geom;
    const nas_ref_chunk images = nas_ref__chunk(geom->n, chunk);
    const size_t taps = (size_t)plan->cin * geom->cin;
    float *t = job->out->dproduct ? job->t + (size_t)chunk * taps : NULL;
    float *sums = job->sums + (size_t)chunk * 2 * geom->cin;
    float *g = job->tiles + (size_t)omp_get_thread_num() * job->tile;

    if (t)
        memset(t, 0, taps * sizeof *t);
    for (int group = 0; group < plan->groups; group++) {
        const nas_conv_grad none = {.dw = job->out->dw};
        gemm_ahead ahead = {0};
        dw_task task;

        task_init(&task, plan, group, job->scratch);
        if (plan->groups == 1)
            task.ahead = &ahead;
        start_backward(&task, job->view, job->w, job->dy, &none);
        zero(&task, task.sum[0]);
        zero(&task, task.sum[1]);
        for (int img = images.begin; img < images.end; img++)
            expanded_image(job, &task, g, job->back + (size_t)group * job->back_group, t, img);
        finish_backward(&task, job->view, &none, chunk, job->scratch);
        put(&task, task.sum[0], sums);
        put(&task, task.sum[1], sums + geom->cin);
    }
}

/* sum(g) and q of each channel, from the sums of the chunks in their order. */
static void merge_g_sums(const expanded_job *job, float *sum_g, float *q)
{
    const nas_conv_geom *geom = job->plan.geom;
    const nas_product_bn *bn = job->bn;
    const double all = (double)geom->n * geom->h * geom->w;

    for (int c = 0; c < geom->cin; c++) {
        double sum = 0, product = 0;

        for (int chunk = 0; chunk < nas_kernel_chunks(geom->n); chunk++) {
            sum += job->sums[(size_t)chunk * 2 * geom->cin + c];
            product += job->sums[((size_t)chunk * 2 + 1) * geom->cin + c];
        }
        sum_g[c] = (float)sum;
        q[c] = (float)((product - bn->beta[c] * sum) * bn->invstd[c] * bn->invstd[c] / all);
    }
}

/* dx += -(X - m)*Q - W*(s*sum(g))/N. */
static void correct_dx(const expanded_job *job, const float *sum_g, const float *q)
{
    const dw_plan *plan = &job->plan;
    const nas_conv_geom *geom = plan->geom;
    const nas_product *product = plan->product;
    const nas_product_bn *bn = job->bn;
    const int cin = plan->cin, mid = geom->cin, pixels = geom->n * geom->h * geom->w;
    const gemm_right qw = pack_scaled(job, 0, mid, q, job->qw);
    const gemm_right negative = {.data = job->q, .row = cin, .col = 1};

#pragma omp parallel for schedule(static)
    for (int i = 0; i < cin; i += Q_ROWS) {
        const gemm_left w = {.data = product->w + (size_t)i * mid, .ld = mid};
        float *row = job->q + (size_t)i * cin;
        const int rows = smaller(Q_ROWS, cin - i);

        gemm_begin();
        gemm(rows, cin, mid, &w, &qw, row, cin, false, NULL);
        gemm_end();
        for (int j = 0; j < rows * cin; j++)
            row[j] = -row[j];
    }
    const gemm_right right =
        gemm_pack(cin, cin, &negative, NULL, gemm_best(cin, cin), job->q_packed);

    for (int i = 0; i < cin; i++) {
        double sum = 0, shift = 0;

        for (int c = 0; c < mid; c++)
            sum += (double)bn->scale[c] * sum_g[c] * product->w[(size_t)i * mid + c];
        for (int j = 0; j < cin; j++)
            shift += (double)bn->x_mean[j] * job->q[(size_t)j * cin + i];
        job->constant[i] = (float)(-shift - sum / pixels);
    }
#pragma omp parallel for schedule(static)
    for (int first = 0; first < pixels; first += CORRECTION_ROWS) {
        const gemm_left x = {.data = product->x + (size_t)first * cin, .ld = cin};
        float *dx = job->out->dx + (size_t)first * cin;
        const int rows = smaller(CORRECTION_ROWS, pixels - first);

        gemm_begin();
        gemm(rows, cin, cin, &x, &right, dx, cin, true, NULL);
        gemm_end();
        for (int r = 0; r < rows; r++)
            for (int i = 0; i < cin; i++)
                dx[(size_t)r * cin + i] += job->constant[i];
    }
}

/* Gradients of the product's w and of batch norm, channels [first, first + count). */
static void add_product_grads(const expanded_job *job, const float *sum_g, const float *q,
                              int first, int count)
{
    const nas_conv_geom *geom = job->plan.geom;
    const nas_product_bn *bn = job->bn;
    const int cin = job->plan.cin, mid = geom->cin, chunks = nas_kernel_chunks(geom->n);
    const float all = (float)((double)geom->n * geom->h * geom->w);
    float t[CHANNELS], wt[CHANNELS] = {0};

    for (int i = 0; i < cin; i++) {
        const size_t at = (size_t)i * mid + first;

        memcpy(t, job->t + at, (size_t)count * sizeof *t);
        for (int chunk = 1; chunk < chunks; chunk++)
            for (int c = 0; c < count; c++)
                t[c] += job->t[(size_t)chunk * cin * mid + at + c];
        for (int c = 0; c < count; c++) {
            t[c] -= bn->x_mean[i] * sum_g[first + c];
            wt[c] += t[c] * job->plan.product->w[at + c];
            job->out->dproduct[at + c] +=
                bn->scale[first + c] * t[c] - all * q[first + c] * job->cw[at + c];
        }
    }
    for (int c = 0; c < count; c++) {
        job->out->dgamma[first + c] += wt[c] * bn->invstd[first + c];
        job->out->dbeta[first + c] += sum_g[first + c];
    }
}

static void expanded_backward(const expanded_job *job)
{
    const dw_plan *plan = &job->plan;
    const nas_conv_geom *geom = plan->geom;
    const int chunks = nas_kernel_chunks(geom->n), mid = geom->cin;
    float *sum_g = job->sums + (size_t)chunks * 2 * mid, *q = sum_g + mid;

    for (int group = 0; group < plan->groups && job->out->dx; group++) {
        const int first = group * plan->vectors * NAS_VL;

        pack_scaled(job, first, smaller(plan->vectors * NAS_VL, mid - first), job->bn->scale,
                    job->back + (size_t)group * job->back_group);
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (int chunk = 0; chunk < chunks; chunk++) {
        gemm_begin();
        expanded_chunk(job, chunk);
        gemm_end();
    }
    merge_g_sums(job, sum_g, q);
    if (job->out->dx)
        correct_dx(job, sum_g, q);
    if (!job->out->dproduct)
        return;
#pragma omp parallel
    add_partials(geom, job->scratch, job->out->dw);
    covariance_times_w(geom, plan->product, job->bn->x_cov, job->cw);
#pragma omp parallel for schedule(static)
    for (int c = 0; c < mid; c += CHANNELS)
        add_product_grads(job, sum_g, q, c, smaller(CHANNELS, mid - c));
}

/* -- the kernels ------------------------------------------------------------------------- */

static nas_view view_of(const nas_product_bn *bn)
{
    return (nas_view){.scale = bn->scale, .shift = bn->shift, .act = bn->act};
}

bool NAS_ISA_NAME(nas_k_expanded_worth)(const nas_conv_geom *geom, int cin, nas_act act)
{
    return expanded_is_worth(geom, cin, act);
}

size_t NAS_ISA_NAME(nas_k_expanded_scratch)(const nas_conv_geom *geom, int cin, int threads)
{
    const size_t cw = (size_t)cin * geom->cin;
    const size_t moments = (size_t)nas_kernel_chunks(geom->n) * moments_floats(cin) +
                           (size_t)threads * MOMENT_ROWS * moments_ld(cin);
    expanded_job job = {.plan = make_plan(geom, cin)};
    const size_t backward = expanded_layout(&job, NULL, threads);

    return largest(backward, largest(moments, cw)) * sizeof(float);
}

void NAS_ISA_NAME(nas_k_expanded_moments)(int n, int hw, int c, const float *x, float *x_mean,
                                          float *x_cov, void *scratch)
{
    expanded_moments(n, hw, c, x, x_mean, x_cov, scratch);
}

void NAS_ISA_NAME(nas_k_expanded_statistics)(const nas_conv_geom *geom, const nas_product *product,
                                             const float *x_mean, const float *x_cov, float *mean,
                                             float *var, void *scratch)
{
    expanded_statistics(geom, product, x_mean, x_cov, mean, var, scratch);
}

void NAS_ISA_NAME(nas_k_expanded_forward)(const nas_conv_geom *geom, const nas_product *product,
                                          const nas_product_bn *bn, const float *w,
                                          const nas_conv_out *out, void *scratch)
{
    const nas_view view = view_of(bn);
    dw_plan plan = make_plan(geom, product->cin);

    /* the packed weights lie behind what the tasks take */
    pack_product(&plan, product,
                 (float *)scratch + partial_floats(geom) +
                     task_floats(&plan) * (size_t)omp_get_max_threads());
    (out->stats ? forward_training : forward_evaluation)(&plan, &view, w, NULL, out, scratch);
}

void NAS_ISA_NAME(nas_k_expanded_backward)(const nas_conv_geom *geom, const nas_product *product,
                                           const nas_product_bn *bn, const float *w,
                                           const nas_grad_view *dy, const nas_expanded_grad *out,
                                           void *scratch)
{
    const nas_view view = view_of(bn);
    expanded_job job = {.plan = make_plan(geom, product->cin), .view = &view, .bn = bn, .w = w,
                        .dy = dy, .out = out};

    expanded_layout(&job, scratch, omp_get_max_threads());
    pack_product(&job.plan, product, job.packed);
    expanded_backward(&job);
}

#endif
