/* Convolution of any k, stride and groups: the inputs of a tile of outputs are
 * gathered as rows of k*k*cin/groups values, and the rest is matrix products. */
#include <omp.h>

#include "ops/kernel/gemm_simd.h"
#include "ops/kernel/simd_kernels.h"
#include "ops/kernel/tile_simd.h"

/* A call, as its tiles see it; sizes in floats. */
typedef struct job {
    const nas_conv_geom *g;
    const nas_view *x;
    int inputs, filters, taps; /* channels of a group in and out; k*k*inputs */
    int ldt, ldy, rows;        /* row strides of the tiles, rows of a tile   */
    int parts;                 /* partial weight gradients                   */
    size_t weights;            /* elements of w                              */
    size_t group;              /* the packed weights of one group            */
    size_t packed, tiles;      /* those of all groups; a thread's tiles      */
    float *w, *partials, *tile;
} job;

static job job_of(const nas_conv_geom *g, const nas_view *x, float *scratch)
{
    job j = {.g = g, .x = x, .inputs = g->cin / g->groups, .filters = g->cout / g->groups};
    const size_t pixels = (size_t)g->oh * (size_t)g->ow * (size_t)g->n;

    j.taps = g->k * g->k * j.inputs;
    j.ldt = tile_ld(j.taps);
    j.ldy = tile_ld(j.filters);
    j.rows = tile_rows(2 * j.ldt + j.ldy);
    j.weights = (size_t)j.taps * (size_t)g->cout;
    j.parts = tile_parts(g->n, j.weights, pixels * (size_t)(j.inputs + g->cout));
    const size_t to = gemm_packed_count(j.taps, j.filters);
    const size_t back = gemm_packed_count(j.filters, j.taps);

    j.group = to > back ? to : back;
    j.packed = tile_lines((size_t)g->groups * j.group);
    j.tiles = (size_t)j.rows * (size_t)(2 * j.ldt + j.ldy);
    j.w = scratch;
    if (scratch) {
        j.partials = scratch + j.packed;
        j.tile = j.partials + tile_lines((size_t)j.parts * j.weights);
    }
    return j;
}

size_t NAS_ISA_NAME(nas_k_conv_scratch)(const nas_conv_geom *geom, int threads)
{
    const job j = job_of(geom, NULL, NULL);

    return (j.packed + tile_lines((size_t)j.parts * j.weights) + (size_t)threads * j.tiles) *
           sizeof(float);
}

static float *my_tiles(const job *j) { return j->tile + (size_t)omp_get_thread_num() * j->tiles; }

/* The window of an output pixel: its first input pixel (which may be outside) and
 * the columns of taps that are inside. */
typedef struct window {
    int img, i, j;   /* the output pixel               */
    int row, col;    /* its first input pixel          */
    int first, last; /* taps [first, last) of each row */
} window;

static void window_place(const nas_conv_geom *g, window *v)
{
    v->row = v->i * g->stride - g->pad;
    v->col = v->j * g->stride - g->pad;
    v->first = v->col < 0 ? -v->col : 0;
    v->last = g->w - v->col < g->k ? g->w - v->col : g->k;
    if (v->first > g->k)
        v->first = g->k;
    if (v->last < v->first)
        v->last = v->first;
}

static window window_of(const nas_conv_geom *g, size_t row)
{
    const size_t hw = (size_t)g->oh * (size_t)g->ow;
    const int at = (int)(row % hw);
    window v = {.img = (int)(row / hw), .i = at / g->ow, .j = at % g->ow};

    window_place(g, &v);
    return v;
}

/* Moves on to the next output pixel; cheaper than window_of. */
static void window_next(const nas_conv_geom *g, window *v)
{
    if (++v->j == g->ow) {
        v->j = 0;
        if (++v->i == g->oh) {
            v->i = 0;
            v->img++;
        }
    }
    window_place(g, v);
}

/* Index of input pixel (row a, column b) of a window, counted over all images. */
static size_t pixel_of(const nas_conv_geom *g, const window *v, int a, int b)
{
    return ((size_t)v->img * (size_t)g->h + (size_t)(v->row + a)) * (size_t)g->w +
           (size_t)(v->col + b);
}

/* Few floats, or many; vectors overlap rather than leave a remainder. */
static void copy(float *to, const float *from, int count)
{
    int i = 0;

    for (; i + NAS_VL <= count; i += NAS_VL)
        v_store(to + i, v_load(from + i));
    if (i < count && i > 0)
        v_store(to + count - NAS_VL, v_load(from + count - NAS_VL));
    else
        for (; i < count; i++)
            to[i] = from[i];
}

static void zero(float *to, int count) { memset(to, 0, (size_t)count * sizeof *to); }

/* One row of taps inside the image: contiguous if all channels are wanted as
 * they are. */
static void gather_taps(const job *j, const window *v, int a, int group, float *to)
{
    const nas_conv_geom *g = j->g;

    if (g->groups == 1 && tile_is_plain(j->x)) {
        copy(to, j->x->x + pixel_of(g, v, a, v->first) * (size_t)g->cin,
             (v->last - v->first) * g->cin);
        return;
    }
    for (int b = v->first; b < v->last; b++, to += j->inputs)
        tile_pixel(j->x, g->cin, pixel_of(g, v, a, b), v->img, group * j->inputs, j->inputs, to);
}

/* How many windows from v on, at most `most`, are inside the image and in the same row. */
static int windows_inside(const nas_conv_geom *g, const window *v, int most)
{
    const int last = (g->w - g->k + g->pad) / g->stride; /* output column */

    if (v->row < 0 || v->row + g->k > g->h || v->first > 0 || v->j > last)
        return 0;
    return last + 1 - v->j < most ? last + 1 - v->j : most;
}

/* Windows inside the image, of a plain tensor. */
static void gather_inside(const job *j, const window *v, int count, float *to)
{
    const nas_conv_geom *g = j->g;
    const float *from = j->x->x + pixel_of(g, v, 0, 0) * (size_t)g->cin;
    const size_t line = (size_t)g->w * (size_t)g->cin;
    const int floats = g->k * g->cin;

    for (int i = 0; i < count; i++, to += j->ldt, from += g->stride * g->cin)
        for (int a = 0; a < g->k; a++)
            copy(to + a * floats, from + (size_t)a * line, floats);
}

/* A window that may lie partly outside. */
static void gather_window(const job *j, const window *v, int group, float *to)
{
    const int k = j->g->k, inputs = j->inputs;

    for (int a = 0; a < k; a++) {
        float *line = to + a * k * inputs;

        if (v->row + a < 0 || v->row + a >= j->g->h || v->first == v->last) {
            zero(line, k * inputs);
            continue;
        }
        if (v->first > 0)
            zero(line, v->first * inputs);
        gather_taps(j, v, a, group, line + v->first * inputs);
        if (v->last < k)
            zero(line + v->last * inputs, (k - v->last) * inputs);
    }
}

/* The input values of output rows [first, first + rows), a row of taps each. */
static void gather(const job *j, size_t first, int rows, int group, float *to)
{
    const bool plain = j->g->groups == 1 && tile_is_plain(j->x);
    window v = window_of(j->g, first);

    for (int r = 0, count; r < rows; r += count, to += count * j->ldt) {
        count = plain ? windows_inside(j->g, &v, rows - r) : 0;
        if (count > 0) {
            gather_inside(j, &v, count, to);
            v.j += count - 1;
        } else {
            gather_window(j, &v, group, to);
            count = 1;
        }
        window_next(j->g, &v);
    }
}

/* Adds the gradients of a tile of taps to those of the inputs. */
static void scatter(const job *j, size_t first, int rows, int group, const float *taps, float *dx)
{
    const nas_conv_geom *g = j->g;
    window v = window_of(g, first);

    for (int r = 0; r < rows; r++, taps += j->ldt, window_next(g, &v))
        for (int a = 0; a < g->k; a++) {
            if (v.row + a < 0 || v.row + a >= g->h)
                continue;
            for (int b = v.first; b < v.last; b++) {
                const float *from = taps + (a * g->k + b) * j->inputs;
                float *to = dx + pixel_of(g, &v, a, b) * (size_t)g->cin + group * j->inputs;

                for (int c = 0; c < j->inputs; c++)
                    to[c] += from[c];
            }
        }
}

/* Packs the filters of each group, [taps][filters] or transposed. */
static void pack(const job *j, const float *w, const float *w_scale, bool transposed)
{
    for (int group = 0; group < j->g->groups; group++) {
        const int c = group * j->filters;
        float *to = j->w + (size_t)group * j->group;

        if (transposed)
            gemm_pack(j->filters, j->taps,
                      &(gemm_right){.data = w + c, .row = 1, .col = j->g->cout}, NULL,
                      gemm_best(j->filters, j->taps), to);
        else
            gemm_pack(j->taps, j->filters,
                      &(gemm_right){.data = w + c, .row = j->g->cout, .col = 1},
                      &(gemm_scales){.column = w_scale ? w_scale + c : NULL},
                      gemm_best(j->taps, j->filters), to);
    }
}

static void forward_tile(const job *j, const nas_conv_out *out, float *stats, size_t before,
                         size_t first, int rows)
{
    const int cout = j->g->cout;
    float *taps = my_tiles(j);

    for (int group = 0; group < j->g->groups; group++) {
        const gemm_left left = {.data = taps, .ld = j->ldt};
        const gemm_right right = {.data = j->w + (size_t)group * j->group,
                                  .format = gemm_best(j->taps, j->filters)};
        const int base = group * j->filters;
        float *y = out->y + first * (size_t)cout + base;

        gather(j, first, rows, group, taps);
        for (int c = 0, width; c < j->filters; c += width) {
            width = gemm_strip_width(&right, j->filters - c, GEMM_WIDE);
            gemm_strip(rows, j->taps, &left, &right, y, cout, c, width, false, NULL);
            tile_output(out, NULL, stats, before, cout, first, rows, base + c, width);
        }
    }
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Tiles of output rows [begin, end), which are one chunk if stats are wanted. */
static void forward_range(const job *j, const nas_conv_out *out, float *stats, size_t begin,
                          size_t end)
{
    gemm_begin();
    for (size_t first = begin; first < end; first += (size_t)j->rows)
        forward_tile(j, out, stats, first - begin, first,
                     (int)least(end - first, (size_t)j->rows));
    gemm_end();
}

void NAS_ISA_NAME(nas_k_conv_forward)(const nas_conv_geom *geom, const nas_view *x, const float *w,
                                      const float *w_scale, const nas_conv_out *out, void *scratch)
{
    const job j = job_of(geom, x, scratch);
    const size_t hw = (size_t)geom->oh * (size_t)geom->ow, all = (size_t)geom->n * hw;

    pack(&j, w, w_scale, false);
    if (out->stats) {
#pragma omp parallel for schedule(dynamic, 1)
        for (int chunk = 0; chunk < nas_kernel_chunks(geom->n); chunk++)
            forward_range(&j, out, out->stats + (size_t)chunk * 2 * (size_t)geom->cout,
                          (size_t)tile_chunk(geom->n, chunk) * hw,
                          (size_t)tile_chunk(geom->n, chunk + 1) * hw);
        return;
    }
#pragma omp parallel for schedule(dynamic, 1) if (all * j.weights > 100000)
    for (size_t first = 0; first < all; first += (size_t)j.rows)
        forward_range(&j, out, NULL, first, least(all, first + (size_t)j.rows));
}

/* One tile of output rows: adds to the input's gradients (not yet masked) and to
 * the part `dw` of the weights', which `fresh` begins. */
static void backward_tile(const job *j, const nas_grad_view *dy, float *dx, float *dw, bool fresh,
                          size_t first, int rows)
{
    float *taps = my_tiles(j), *tap_grads = taps + (size_t)j->rows * (size_t)j->ldt;
    float *grads = tap_grads + (size_t)j->rows * (size_t)j->ldt;

    for (int group = 0; group < j->g->groups; group++) {
        const int base = group * j->filters;

        tile_grad(dy, j->g->cout, first, rows, base, j->filters, grads, j->ldy);
        if (dx) {
            const gemm_left left = {.data = grads, .ld = j->ldy};
            const gemm_right right = {.data = j->w + (size_t)group * j->group,
                                      .format = gemm_best(j->filters, j->taps)};

            gemm(rows, j->taps, j->filters, &left, &right, tap_grads, j->ldt, false, NULL);
            scatter(j, first, rows, group, tap_grads, dx);
        }
        if (dw) {
            const gemm_left left = {.data = taps, .ld = j->ldt, .transposed = true};
            const gemm_right right = {.data = grads, .row = j->ldy, .col = 1};

            gather(j, first, rows, group, taps);
            gemm(j->taps, j->filters, rows, &left, &right, dw + base, j->g->cout, !fresh, NULL);
        }
    }
}

/* Masks the finished gradients of the inputs of a chunk. */
static void mask_chunk(const job *j, const nas_conv_grad *out, int chunk)
{
    enum { ROWS = 64 };
    const int cin = j->g->cin;
    const size_t hw = (size_t)j->g->h * (size_t)j->g->w;
    const size_t end = (size_t)tile_chunk(j->g->n, chunk + 1) * hw;
    float *sums = out->sums + (size_t)chunk * 2 * (size_t)cin;

    zero(sums, 2 * cin);
    for (size_t first = (size_t)tile_chunk(j->g->n, chunk) * hw; first < end; first += ROWS)
        tile_mask(j->x, out, sums, cin, first, (int)least(end - first, ROWS), 0, cin);
}

static void backward_chunk(const job *j, const nas_grad_view *dy, const nas_conv_grad *out,
                           int chunk, float *dw, bool fresh)
{
    const nas_conv_geom *g = j->g;
    const size_t images = (size_t)tile_chunk(g->n, chunk);
    const size_t past = (size_t)tile_chunk(g->n, chunk + 1);
    const size_t hw = (size_t)g->oh * (size_t)g->ow, input = (size_t)g->h * (size_t)g->w;
    const bool masked = tile_is_masked(j->x);

    if (out->dx && (masked || !out->add))
        memset(out->dx + images * input * (size_t)g->cin, 0,
               (past - images) * input * (size_t)g->cin * sizeof *out->dx);
    for (size_t first = images * hw; first < past * hw; first += (size_t)j->rows)
        backward_tile(j, dy, out->dx, dw, fresh && first == images * hw, first,
                      (int)least(past * hw - first, (size_t)j->rows));
    if (out->dx && masked)
        mask_chunk(j, out, chunk);
}

void NAS_ISA_NAME(nas_k_conv_backward)(const nas_conv_geom *geom, const nas_view *x, const float *w,
                                       const nas_grad_view *dy, const nas_conv_grad *out,
                                       void *scratch)
{
    const job j = job_of(geom, x, scratch);
    const int chunks = nas_kernel_chunks(geom->n), parts = out->dw ? j.parts : chunks;

    if (out->dx)
        pack(&j, w, NULL, true);
#pragma omp parallel for schedule(dynamic, 1)
    for (int part = 0; part < parts; part++) {
        float *dw = out->dw ? j.partials + (size_t)part * j.weights : NULL;
        const int begin = part * chunks / parts, end = (part + 1) * chunks / parts;

        gemm_begin();
        for (int chunk = begin; chunk < end; chunk++)
            backward_chunk(&j, dy, out, chunk, dw, chunk == begin);
        gemm_end();
    }
    if (out->dw)
        tile_reduce(j.weights, parts, j.partials, out->dw);
}
