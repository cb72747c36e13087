/* Pointwise convolution: matrix products over tiles of rows ([n*h*w][cin] by
 * [cin][cout]) that stay in the second-level cache from the reading of the view
 * to the statistics or the mask. */
#include <math.h>
#include <omp.h>

#include "ops/kernel/gemm_simd.h"
#include "ops/kernel/simd_kernels.h"
#include "ops/kernel/tile_simd.h"

/* How scratch is cut up, in floats. */
typedef struct layout {
    int ldx, ldy;          /* row strides of the tiles                     */
    int rows, rows_back;   /* rows of a tile, forward and backward         */
    int parts;             /* partial weight gradients                     */
    int sums;              /* of a tile: two of each input channel         */
    size_t packed;         /* the packed weights, of either direction      */
    size_t partial, tiles; /* one partial weight gradient; a thread's tiles */
} layout;

static layout layout_of(const nas_conv_geom *g)
{
    const size_t weights = (size_t)g->cin * (size_t)g->cout;
    const size_t pixels = (size_t)g->n * (size_t)g->h * (size_t)g->w;
    const size_t to = gemm_packed_count(g->cin, g->cout), back = gemm_packed_count(g->cout, g->cin);
    layout l = {.ldx = tile_ld(g->cin), .ldy = tile_ld(g->cout)};

    l.rows = tile_rows(l.ldx + l.ldy);
    l.rows_back = tile_rows(l.ldx + l.ldy);
    l.parts = tile_parts(g->n, weights, pixels * (size_t)(g->cin + g->cout));
    l.packed = tile_lines(to > back ? to : back);
    l.partial = weights;
    const size_t one = (size_t)l.rows * (size_t)(l.ldx + l.ldy);
    const size_t two = (size_t)l.rows_back * (size_t)(l.ldx + l.ldy);
    l.sums = 2 * tile_ld(g->cin);
    l.tiles = (one > two ? one : two) + (size_t)l.sums;
    return l;
}

size_t NAS_ISA_NAME(nas_k_pointwise_scratch)(const nas_conv_geom *geom, int threads)
{
    const layout l = layout_of(geom);

    return (l.packed + tile_lines((size_t)l.parts * l.partial) + (size_t)threads * l.tiles) *
           sizeof(float);
}

/* A call, as its tiles see it. */
typedef struct job {
    const nas_conv_geom *g;
    const nas_view *x;
    gemm_right w;         /* packed, or as they are if there are few rows */
    const float *w_scale; /* still to be applied to the results, or NULL  */
    layout l;
    float *partials, *tiles;
} job;

static job job_of(const nas_conv_geom *g, const nas_view *x, void *scratch)
{
    job j = {.g = g, .x = x, .l = layout_of(g), .w.data = scratch};

    j.partials = (float *)scratch + j.l.packed;
    j.tiles = j.partials + tile_lines((size_t)j.l.parts * j.l.partial);
    return j;
}

static float *my_tiles(const job *j)
{
    return j->tiles + (size_t)omp_get_thread_num() * j->l.tiles;
}

static int least(int a, int b) { return a < b ? a : b; }

/* Adds to what is fetched during `products` vector products (12 a register tile)
 * the tile of `rows` rows of `channels` floats at p. */
static void fetch_tile(gemm_ahead *ahead, int stream, const float *p, int rows, int channels,
                       size_t products)
{
    const size_t bytes = (size_t)rows * (size_t)channels * sizeof *p;

    ahead->stream[stream] = (const char *)p;
    ahead->end[stream] = ahead->stream[stream] + bytes;
    ahead->step[stream] = (12 * bytes / products + 63) / 64 * 64;
}

/* Panels block, block + blocks, ... of one tile of output rows; wide: see gemm_strip_width. */
static void forward_tile(const job *j, const nas_conv_out *out, float *stats, size_t before,
                         size_t first, int rows, int block, int blocks, int wide)
{
    const nas_conv_geom *g = j->g;
    gemm_left left = {.data = j->x->x + first * (size_t)g->cin, .ld = g->cin};
    float *y = out->y + first * (size_t)g->cout;

    const size_t products = (size_t)rows * (size_t)gemm_round(g->cout) / NAS_VL;
    gemm_ahead ahead = {0};

    fetch_tile(&ahead, 0, left.data + (size_t)rows * (size_t)g->cin, rows, g->cin, products);
    fetch_tile(&ahead, 1, y + (size_t)rows * (size_t)g->cout, rows, g->cout, products);
    if (!tile_is_plain(j->x)) {
        float *values = my_tiles(j);

        tile_view(j->x, g->h * g->w, g->cin, first, rows, values, j->l.ldx);
        left = (gemm_left){.data = values, .ld = j->l.ldx};
    }
    for (int c = 0, panel = 0, width; c < g->cout; c += width, panel++) {
        width = gemm_strip_width(&j->w, g->cout - c, wide);
        if (panel % blocks != block)
            continue;
        gemm_strip(rows, g->cin, &left, &j->w, y, g->cout, c, width, false, &ahead);
        tile_output(out, j->w_scale, stats, before, g->cout, first, rows, c, width);
    }
}

/* Training: one thread takes a chunk from front to back. */
static void forward_chunk(const job *j, const nas_conv_out *out, int chunk)
{
    const size_t hw = (size_t)j->g->h * (size_t)j->g->w;
    const size_t begin = (size_t)tile_chunk(j->g->n, chunk) * hw;
    const size_t end = (size_t)tile_chunk(j->g->n, chunk + 1) * hw;
    float *stats = out->stats + (size_t)chunk * 2 * (size_t)j->g->cout;

    gemm_begin();
    for (size_t first = begin; first < end; first += (size_t)j->l.rows) {
        const int rows = end - first < (size_t)j->l.rows ? (int)(end - first) : j->l.rows;

        forward_tile(j, out, stats, first - begin, first, rows, 0, 1, GEMM_WIDE);
    }
    gemm_end();
}

/* Vectors of columns of a panel that threads share out if there are few tiles.  Rows of what is in
 * tiles are split for each panel, so there are as few as will do. */
static int shared_width(const job *j, bool few)
{
    const int vectors = (j->g->cout + NAS_VL - 1) / NAS_VL, threads = omp_get_max_threads();

    if (j->w.format != GEMM_TILES)
        return 2;
    return few ? least(GEMM_WIDE, (vectors + 2 * threads - 1) / (2 * threads) * 2) : GEMM_WIDE;
}

/* Evaluation: every element is computed alone, so tiles are shared out freely,
 * and where there are few, groups of their panels are. */
static void forward_eval(const job *j, const nas_conv_out *out)
{
    const nas_conv_geom *g = j->g;
    const size_t all = (size_t)g->n * (size_t)g->h * (size_t)g->w, step = (size_t)j->l.rows;
    const size_t tiles = (all + step - 1) / step;
    const int wide = shared_width(j, tiles < 8);
    const int panels = (g->cout + wide * NAS_VL - 1) / (wide * NAS_VL);
    const int blocks = tiles >= 8 ? 1 : least((int)(8 / tiles), panels);
    const bool worth = all * (size_t)g->cin * (size_t)g->cout > 100000;

#pragma omp parallel for schedule(dynamic, 1) if (worth)
    for (size_t task = 0; task < tiles * (size_t)blocks; task++) {
        const size_t first = task / (size_t)blocks * step;
        const int rows = all - first < step ? (int)(all - first) : (int)step;

        if (j->w.format == GEMM_TILES)
            gemm_begin();
        forward_tile(j, out, NULL, 0, first, rows, (int)(task % (size_t)blocks), blocks, wide);
        if (j->w.format == GEMM_TILES)
            gemm_end();
    }
}

/* Of weights that are packed before: in tiles they take half as much memory again, for which
 * networks wait that see one image at a time, and those of a few channels gain nothing. */
static gemm_format ahead_format(const nas_conv_geom *geom)
{
    const gemm_format best = gemm_best(geom->cin, geom->cout);

    return best == GEMM_TILES ? GEMM_PANELS : best;
}

size_t NAS_ISA_NAME(nas_k_pointwise_packed_floats)(const nas_conv_geom *geom)
{
    return gemm_packed_count(geom->cin, geom->cout);
}

void NAS_ISA_NAME(nas_k_pointwise_pack)(const nas_conv_geom *geom, const float *w, float *packed)
{
    const gemm_right given = {.data = w, .row = geom->cout, .col = 1};

    gemm_pack(geom->cin, geom->cout, &given, NULL, ahead_format(geom), packed);
}

void NAS_ISA_NAME(nas_k_pointwise_forward)(const nas_conv_geom *geom, const nas_view *x,
                                           const float *w, const float *w_scale,
                                           const nas_conv_out *out, void *scratch)
{
    const size_t all = (size_t)geom->n * (size_t)geom->h * (size_t)geom->w;
    const gemm_right given = {.data = w, .row = geom->cout, .col = 1};
    job j = job_of(geom, x, scratch);

    if (out->packed)
        j.w = (gemm_right){.data = out->packed, .format = ahead_format(geom)};
    else if (all < 128 /* below that packing takes longer than it saves */ && !(out->stats && w_scale))
        j.w = given;
    else
        j.w = gemm_pack(geom->cin, geom->cout, &given,
                        &(gemm_scales){.column = out->stats ? w_scale : NULL},
                        gemm_best(geom->cin, geom->cout), scratch);
    if (out->stats == NULL) {
        j.w_scale = w_scale;
        forward_eval(&j, out);
        return;
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (int chunk = 0; chunk < nas_kernel_chunks(geom->n); chunk++)
        forward_chunk(&j, out, chunk);
}

/* One tile of an output that nobody wants, but for its statistics and products with dy. */
static void dots_tile(const job *j, const float *dy, float *stats, float *dots, size_t before,
                      size_t first, int rows)
{
    const nas_conv_geom *g = j->g;
    const size_t products = (size_t)rows * (size_t)gemm_round(g->cout) / NAS_VL;
    float *values = my_tiles(j), *y = values + (size_t)j->l.rows * (size_t)j->l.ldx;
    const nas_conv_out out = {.y = y};
    gemm_left left = {.data = j->x->x + first * (size_t)g->cin, .ld = g->cin};
    gemm_ahead ahead = {0};

    dy += first * (size_t)g->cout;
    fetch_tile(&ahead, 0, left.data + (size_t)rows * (size_t)g->cin, rows, g->cin, products);
    fetch_tile(&ahead, 1, dy + (size_t)rows * (size_t)g->cout, rows, g->cout, products);
    if (!tile_is_plain(j->x)) {
        tile_view(j->x, g->h * g->w, g->cin, first, rows, values, j->l.ldx);
        left = (gemm_left){.data = values, .ld = j->l.ldx};
    }
    for (int c = 0, width; c < g->cout; c += width) {
        width = gemm_strip_width(&j->w, g->cout - c, GEMM_WIDE);
        gemm_strip(rows, g->cin, &left, &j->w, y, g->cout, c, width, false, &ahead);
        tile_output(&out, NULL, stats, before, g->cout, 0, rows, c, width);
        tile_dots(y, dy, g->cout, rows, c, width, dots);
    }
}

void NAS_ISA_NAME(nas_k_pointwise_dots)(const nas_conv_geom *geom, const nas_view *x,
                                        const float *w, const float *dy, float *stats, float *dots,
                                        void *scratch)
{
    const gemm_right given = {.data = w, .row = geom->cout, .col = 1};
    const size_t hw = (size_t)geom->h * (size_t)geom->w, pair = 2 * (size_t)geom->cout;
    job j = job_of(geom, x, scratch);
    const size_t step = (size_t)j.l.rows;

    j.w = gemm_pack(geom->cin, geom->cout, &given, NULL, gemm_best(geom->cin, geom->cout), scratch);
    memset(dots, 0, (size_t)nas_kernel_chunks(geom->n) * pair * sizeof *dots);
#pragma omp parallel for schedule(dynamic, 1)
    for (int chunk = 0; chunk < nas_kernel_chunks(geom->n); chunk++) {
        const size_t begin = (size_t)tile_chunk(geom->n, chunk) * hw;
        const size_t end = (size_t)tile_chunk(geom->n, chunk + 1) * hw;

        gemm_begin();
        for (size_t first = begin; first < end; first += step)
            dots_tile(&j, dy, stats + (size_t)chunk * pair, dots + (size_t)chunk * pair,
                      first - begin, first, end - first < step ? (int)(end - first) : (int)step);
        gemm_end();
    }
}

/* Whether partial weight gradients are [cout][cin]: their rows are the fewer channels, so that
 * their columns fill whole vectors. */
static bool is_turned(const nas_conv_geom *g) { return g->cout < g->cin; }

/* What the next tile, from row `next`, will read. */
static void fetch_backward(const job *j, const nas_grad_view *dy, const nas_conv_grad *out,
                           size_t next, int rows, gemm_ahead *ahead)
{
    const nas_conv_geom *g = j->g;
    const size_t dx = (size_t)rows * (size_t)gemm_round(g->cin) / NAS_VL;
    const size_t dw = (size_t)g->cin * (size_t)gemm_round(g->cout) / NAS_VL;
    const size_t products = (out->dx ? dx : 0) + (out->dw ? dw : 0);

    fetch_tile(ahead, 0, dy->g + next * (size_t)g->cout, rows, g->cout, products);
    fetch_tile(ahead, 1, j->x->x + next * (size_t)g->cin, rows, g->cin, products);
    if (out->dx)
        fetch_tile(ahead, 2, out->dx + next * (size_t)g->cin, rows, g->cin, products);
    if (dy->a)
        fetch_tile(ahead, 3, dy->raw + next * (size_t)g->cout, rows, g->cout, products);
}

/* Whether masks are applied where the input's gradient is made: those which bounds tell. */
static bool is_fused(const job *j, const float *sums)
{
    const nas_act act = j->x->act;

    return sums && j->w.format != GEMM_PAIRS && (act == NAS_ACT_RELU || act == NAS_ACT_RELU6);
}

/* The input's masked gradient of a tile whose output gradients are `left`, and the input's values
 * if they are wanted. */
static void masked_tile(const job *j, const nas_conv_grad *out, const gemm_left *left, float *sums,
                        float *values, size_t first, int rows, gemm_ahead *ahead)
{
    const nas_conv_geom *g = j->g;
    float *own = my_tiles(j) + j->l.tiles - (size_t)j->l.sums, *product = own + j->l.sums / 2;
    const gemm_masked masked = {.raw = j->x->x + first * (size_t)g->cin,
                                .scale = j->x->scale,
                                .shift = j->x->shift,
                                .mean = out->mean,
                                .low = 0,
                                .high = j->x->act == NAS_ACT_RELU6 ? 6 : INFINITY,
                                .ld = g->cin,
                                .ldv = j->l.ldx,
                                .g = out->dx + first * (size_t)g->cin,
                                .values = values,
                                .sum_g = own,
                                .sum_gy = product};

    memset(own, 0, (size_t)j->l.sums * sizeof *own);
    gemm_to_masked(rows, g->cin, g->cout, left, &j->w, &masked, ahead);
    for (int c = 0; c < g->cin; c++) {
        sums[c] += own[c];
        sums[g->cin + c] += product[c] * out->invstd[c];
    }
}

/* One tile of rows: its gradients of the raw output, from them the input's
 * gradient, and its share of the weights', which `fresh` begins. */
static void backward_tile(const job *j, const nas_grad_view *dy, const nas_conv_grad *out,
                          float *sums, float *dw, bool fresh, size_t first, int rows)
{
    const nas_conv_geom *g = j->g;
    float *values = my_tiles(j), *grads = values + (size_t)j->l.rows_back * (size_t)j->l.ldx;
    const gemm_left left = {.data = grads, .ld = j->l.ldy};

    gemm_ahead ahead = {0};

    fetch_backward(j, dy, out, first + (size_t)rows, rows, &ahead);
    tile_grad(dy, g->cout, first, rows, 0, g->cout, grads, j->l.ldy);
    if (is_fused(j, sums))
        masked_tile(j, out, &left, sums, dw ? values : NULL, first, rows, &ahead);
    for (int c = 0, width; !is_fused(j, sums) && out->dx && c < g->cin; c += width) {
        width = gemm_strip_width(&j->w, g->cin - c, GEMM_WIDE);
        gemm_strip(rows, g->cout, &left, &j->w, out->dx + first * (size_t)g->cin, g->cin, c, width,
                   out->add && !sums, &ahead);
        if (sums)
            tile_mask(j->x, out, sums, g->cin, first, rows, c, width);
    }
    if (dw) {
        const float *narrow = is_turned(g) ? grads : values, *wide = is_turned(g) ? values : grads;
        const int narrow_ld = is_turned(g) ? j->l.ldy : j->l.ldx;
        const gemm_left rows_of = {.data = narrow, .ld = narrow_ld, .transposed = true};
        const gemm_right right = {.data = wide, .row = j->l.ldx + j->l.ldy - narrow_ld, .col = 1};
        const int few = least(g->cin, g->cout), many = g->cin + g->cout - few;

        if (!is_fused(j, sums))
            tile_view(j->x, g->h * g->w, g->cin, first, rows, values, j->l.ldx);
        gemm(few, many, rows, &rows_of, &right, dw, many, !fresh, &ahead);
    }
}

static void backward_chunk(const job *j, const nas_grad_view *dy, const nas_conv_grad *out,
                           int chunk, float *dw, bool fresh)
{
    const size_t hw = (size_t)j->g->h * (size_t)j->g->w, step = (size_t)j->l.rows_back;
    const size_t begin = (size_t)tile_chunk(j->g->n, chunk) * hw;
    const size_t end = (size_t)tile_chunk(j->g->n, chunk + 1) * hw;
    float *sums = NULL;

    if (out->dx && tile_is_masked(j->x)) {
        sums = out->sums + (size_t)chunk * 2 * (size_t)j->g->cin;
        memset(sums, 0, 2 * (size_t)j->g->cin * sizeof *sums);
    }
    gemm_begin();
    for (size_t first = begin; first < end; first += step)
        backward_tile(j, dy, out, sums, dw, fresh && first == begin, first,
                      end - first < step ? (int)(end - first) : (int)step);
    gemm_end();
}

void NAS_ISA_NAME(nas_k_pointwise_backward)(const nas_conv_geom *geom, const nas_view *x,
                                            const float *w, const nas_grad_view *dy,
                                            const nas_conv_grad *out, void *scratch)
{
    job j = job_of(geom, x, scratch);
    const gemm_right transposed = {.data = w, .row = 1, .col = geom->cout};
    const int chunks = nas_kernel_chunks(geom->n), parts = out->dw ? j.l.parts : chunks;

    if (out->dx)
        j.w = gemm_pack(geom->cout, geom->cin, &transposed, NULL, gemm_best(geom->cout, geom->cin),
                        scratch);
#pragma omp parallel for schedule(dynamic, 1)
    for (int part = 0; part < parts; part++) {
        float *dw = out->dw ? j.partials + (size_t)part * j.l.partial : NULL;
        const int begin = part * chunks / parts, end = (part + 1) * chunks / parts;

        for (int chunk = begin; chunk < end; chunk++)
            backward_chunk(&j, dy, out, chunk, dw, chunk == begin);
    }
    if (out->dw && is_turned(geom))
        tile_reduce_turned(geom->cin, geom->cout, parts, j.partials, out->dw);
    else if (out->dw)
        tile_reduce(j.l.partial, parts, j.partials, out->dw);
}
