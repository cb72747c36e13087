/* What the layers of the unpruned network read: samples of it, summed up as x'x. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "nas/prune/private.h"

struct nas_prune__capture {
    nas_pruner *pruner;
    int points;
    uint64_t seed;
    int64_t images; /* before this batch */
    nas_arena arena;
    size_t mark;
    float *buffer[2], *rows, *product; /* rows [batch*points][widest], product [widest^2] */
    void *scratch;
    int block, n; /* that is running */
};

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t columns(const nas_prune__reader *r) { return (size_t)r->taps * (size_t)r->in; }

nas_status nas_prune__capture_new(nas_prune__capture **out, nas_pruner *pruner, int batch,
                                  int points, uint64_t seed, nas_err *err)
{
    const nas_model *model = pruner->model;
    nas_prune__capture *c = calloc(1, sizeof *c);
    size_t widest = 1, largest = 1, temporary = 0, scratch = 0;
    nas_status status = NAS_OK;

    *out = NULL;
    if (c == NULL)
        return nas_fail(err, NAS_E_NOMEM, "calibration: out of memory");
    c->pruner = pruner;
    c->points = points;
    c->seed = seed;
    for (int i = 0; i < pruner->readers; i++)
        widest = larger(widest, columns(&pruner->reader[i]));
    for (int s = 0; s < model->slots; s++) {
        const nas_model_slot *slot = &model->slot[s];

        largest = larger(largest, (size_t)slot->out_h * (size_t)slot->out_w * (size_t)slot->out_c);
        temporary = larger(temporary, nas_layer_temporary(slot->layer, batch) +
                                          nas_layer_kept(slot->layer, batch));
        scratch = larger(scratch,
                         nas_layer_scratch(slot->layer, batch, omp_get_max_threads()));
    }
    c->rows = malloc((size_t)batch * (size_t)points * widest * sizeof *c->rows);
    c->product = malloc(widest * widest * sizeof *c->product);
    c->scratch = aligned_alloc(NAS_ALIGN, nas_arena_round(scratch + 1));
    if (!c->rows || !c->product || !c->scratch)
        status = nas_fail(err, NAS_E_NOMEM, "calibration: out of memory");
    else
        status = nas_arena_init(
            &c->arena,
            temporary + 2 * nas_arena_round(largest * (size_t)batch * sizeof(float)), err);
    if (status != NAS_OK) {
        nas_prune__capture_free(c);
        return status;
    }
    for (int i = 0; i < 2; i++)
        c->buffer[i] = nas_arena_floats(&c->arena, largest * (size_t)batch);
    c->mark = nas_arena_mark(&c->arena);
    *out = c;
    return NAS_OK;
}

void nas_prune__capture_free(nas_prune__capture *c)
{
    if (c == NULL)
        return;
    nas_arena_fini(&c->arena);
    free(c->rows);
    free(c->product);
    free(c->scratch);
    free(c);
}

/* One row: what the window of output (oy, ox) of image i reads; 0 outside the image. */
static void sample(const nas_conv_geom *g, const nas_view *in, int i, int oy, int ox, float *row)
{
    for (int t = 0; t < g->k * g->k; t++, row += g->cin) {
        const int y = oy * g->stride - g->pad + t / g->k, x = ox * g->stride - g->pad + t % g->k;

        if (y < 0 || y >= g->h || x < 0 || x >= g->w) {
            memset(row, 0, (size_t)g->cin * sizeof *row);
            continue;
        }
        const float *from = in->x + (((size_t)i * (size_t)g->h + (size_t)y) * (size_t)g->w +
                                     (size_t)x) * (size_t)g->cin;
        for (int c = 0; c < g->cin; c++) {
            float v = from[c];
            if (in->scale != NULL)
                v = in->scale[c] * v + in->shift[c];
            v = nas_act_value(in->act, v);
            row[c] = in->gate != NULL ? v * in->gate[(size_t)i * (size_t)g->cin + (size_t)c] : v;
        }
    }
}

/* Adds x'x of the rows: in float a batch, in double over batches. */
static void add_rows(nas_prune__capture *c, nas_prune__reader *r, int rows)
{
    const size_t width = columns(r);

    memset(c->product, 0, width * width * sizeof *c->product);
    nas_kernels_get()->linear_backward(rows, (int)width, (int)width, c->rows, NULL, c->rows, NULL,
                                       c->product, NULL);
    for (size_t i = 0; i < width * width; i++)
        r->gram[i] += (double)c->product[i];
}

static void add_samples(nas_prune__capture *c, nas_prune__reader *r, const nas_conv_geom *g,
                        const nas_view *in)
{
    const int places = g->oh * g->ow, points = places < c->points ? places : c->points;

    for (int i = 0; i < c->n; i++) {
        nas_rng rng;

        nas_rng_init(&rng, c->seed, "prune points", (uint64_t)(c->images + i));
        for (int p = 0; p < points; p++) {
            const int place = places == points ? p : (int)nas_rng_below(&rng, (uint32_t)places);
            sample(g, in, i, place / g->ow, place % g->ow,
                   c->rows + ((size_t)i * (size_t)points + (size_t)p) * columns(r));
        }
    }
    add_rows(c, r, c->n * points);
}

static void tap(void *user, const nas_unit *unit, const nas_view *in)
{
    nas_prune__capture *c = user;

    for (int i = 0; i < c->pruner->readers; i++)
        if (c->pruner->reader[i].unit == unit)
            add_samples(c, &c->pruner->reader[i], &unit->geom, in);
}

/* A linear layer reads its block's input: a 1x1 image. */
static void tap_linear(nas_prune__capture *c, const float *x)
{
    for (int i = 0; i < c->pruner->readers; i++) {
        nas_prune__reader *r = &c->pruner->reader[i];
        const nas_conv_geom g = {.h = 1, .w = 1, .cin = r->in, .k = 1, .stride = 1, .oh = 1,
                                 .ow = 1};
        const nas_view in = {.x = x};

        if (r->unit == NULL && r->block == c->block)
            add_samples(c, r, &g, &in);
    }
}

void nas_prune__capture_batch(nas_prune__capture *c, int n, const float *x)
{
    const nas_model *model = c->pruner->model;
    const nas_run run = {.kernels = nas_kernels_get(), .arena = &c->arena, .scratch = c->scratch,
                         .n = n, .bn_eps = model->bn_eps, .tap = tap, .tap_user = c};
    int turn = 0;

    c->n = n;
    for (c->block = 0; c->block < model->slots; c->block++) {
        const nas_model_slot *slot = &model->slot[c->block];
        float *y = c->buffer[turn ^= 1];

        nas_arena_release(&c->arena, c->mark);
        tap_linear(c, x);
        nas_layer_forward(slot->layer, &run, model->params + slot->offset[0], x,
                          slot->shortcut ? x : NULL, y);
        x = y;
    }
    c->images += n;
}
