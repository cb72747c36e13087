/* nas bench ops - every convolution kernel on every shape of the spaces, against what the machine
 * can do at most. */
#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "nas/model/model.h"
#include "ops/kernel/peak.h"

typedef struct ops_options {
    cli_common common;
    const char *space;
    int64_t batch;
    double seconds;
} ops_options;

#define AT(field) offsetof(ops_options, field)

static const nas_option ops_table[] = {
    {"--space", NAS_OPT_STRING, AT(space), NULL, 0, 0, NULL, "SPACE",
     "a built-in space, or its JSON file; default: all that are built in"},
    {"--batch", NAS_OPT_INT, AT(batch), "0", 0, 4096, NULL, "N",
     "images; 0: 64, or 16 where they are 128 pixels or larger"},
    {"--seconds", NAS_OPT_REAL, AT(seconds), "0.03", 0.001, 60, NULL, "S",
     "at least this long for each kernel and shape"},
    {0},
};

enum { MAX_SHAPES = 4096 };

typedef enum pass { FORWARD, BACKWARD, EVALUATE, PASSES } pass;
static const char *const pass_names[] = {"forward", "backward", "evaluate"};

/* Buffers of the largest shape, and what they are measured against. */
typedef struct ops_bench {
    const nas_kernels *kernels;
    nas_peak peak;
    nas_conv_geom shape[MAX_SHAPES];
    int shapes;
    float *x, *y, *g, *dx, *w, *dw, *stats, *vectors;
    void *scratch;
} ops_bench;

static bool same_shape(const nas_conv_geom *a, const nas_conv_geom *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void add_shape(ops_bench *b, nas_conv_geom geom, int n)
{
    geom.n = n;
    for (int i = 0; i < b->shapes; i++)
        if (same_shape(&b->shape[i], &geom))
            return;
    if (b->shapes < MAX_SHAPES)
        b->shape[b->shapes++] = geom;
}

static nas_status add_space(ops_bench *b, const char *name, int batch, nas_err *err)
{
    nas_space *space = NULL;
    nas_model *model = NULL;
    nas_status status = nas_space_load(&space, name, err);

    if (status == NAS_OK && (status = nas_model_new(&model, space, err)) == NAS_OK) {
        const int n = batch > 0 ? batch : model->image_size >= 128 ? 16 : 64;
        for (int s = 0; s < model->slots; s++)
            for (int c = 0; c < model->slot[s].count; c++)
                for (int u = 0; u < model->slot[s].layer[c].units; u++)
                    add_shape(b, model->slot[s].layer[c].unit[u].geom, n);
    }
    nas_model_free(model);
    nas_space_free(space);
    return status;
}

static size_t inputs(const nas_conv_geom *g)
{
    return (size_t)g->n * (size_t)g->h * (size_t)g->w * (size_t)g->cin;
}

static size_t outputs(const nas_conv_geom *g)
{
    return (size_t)g->n * (size_t)g->oh * (size_t)g->ow * (size_t)g->cout;
}

static size_t weights(const nas_conv_geom *g)
{
    return (size_t)g->k * (size_t)g->k * (size_t)(g->cin / g->groups) * (size_t)g->cout;
}

static bool is_pointwise(const nas_conv_geom *g)
{
    return g->k == 1 && g->stride == 1 && g->groups == 1;
}

static bool is_depthwise(const nas_conv_geom *g)
{
    return g->groups == g->cin && g->cin == g->cout;
}

static const struct nas_conv_kernels *kernels_of(const ops_bench *b, const nas_conv_geom *g)
{
    return is_pointwise(g)   ? &b->kernels->pointwise
           : is_depthwise(g) ? &b->kernels->depthwise
                             : &b->kernels->conv;
}

/* Taps inside the image along one axis, over all output positions. */
static int64_t taps(int in, int out, const nas_conv_geom *g)
{
    int64_t count = 0;

    for (int o = 0; o < out; o++)
        for (int t = 0; t < g->k; t++) {
            const int i = o * g->stride + t - g->pad;
            count += i >= 0 && i < in;
        }
    return count;
}

/* Useful operations of a pass: padding does not count; backward gives both gradients. */
static double flops(const nas_conv_geom *g, pass p)
{
    const double macs = (double)g->n * (double)taps(g->h, g->oh, g) * (double)taps(g->w, g->ow, g) *
                        (g->cin / g->groups) * g->cout;

    return 2.0 * macs * (p == BACKWARD ? 2 : 1);
}

/* Bytes that must move at least: every tensor once. */
static double bytes(const nas_conv_geom *g, pass p)
{
    const double x = (double)inputs(g), y = (double)outputs(g), w = (double)weights(g);

    return 4.0 * (p == BACKWARD ? 2 * x + 2 * y + 2 * w : x + y + w);
}

static void run(const ops_bench *b, const nas_conv_geom *g, pass p)
{
    const struct nas_conv_kernels *k = kernels_of(b, g);
    const float *v = b->vectors;
    const nas_view normalised = {.x = b->x, .scale = v, .shift = v, .act = NAS_ACT_RELU6};
    const nas_view plain = {.x = b->x};
    const nas_grad_view dy = {.g = b->g, .raw = b->y, .a = v, .b = v, .k = v};
    const nas_conv_out train = {.y = b->y, .stats = b->stats};
    const nas_conv_out evaluate = {.y = b->y, .bias = v, .act = NAS_ACT_RELU6};
    const nas_conv_grad grad = {.dx = b->dx, .sums = b->stats, .mean = v, .invstd = v, .dw = b->dw};

    if (p == FORWARD)
        k->forward(g, &normalised, b->w, NULL, &train, b->scratch);
    else if (p == BACKWARD)
        k->backward(g, &normalised, b->w, &dy, &grad, b->scratch);
    else
        k->forward(g, &plain, b->w, NULL, &evaluate, b->scratch);
}

/* Best of the runs that fit into `seconds`, at least three. */
static double time_pass(const ops_bench *b, const nas_conv_geom *g, pass p, double seconds)
{
    const double end = nas_clock_seconds() + seconds;
    double best = INFINITY;

    run(b, g, p);
    for (int i = 0; i < 3 || nas_clock_seconds() < end; i++) {
        const double start = nas_clock_seconds();
        run(b, g, p);
        best = fmin(best, nas_clock_seconds() - start);
    }
    return best;
}

static json_t *measure(const ops_bench *b, const nas_conv_geom *g, pass p, double seconds)
{
    const double time = time_pass(b, g, p, seconds);
    const double by_arithmetic = flops(g, p) * 1e-9 / b->peak.gflops;
    const double by_memory = bytes(g, p) * 1e-9 / b->peak.gigabytes;

    return json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:s, s:f}", "kernel",
        is_pointwise(g)   ? "pointwise"
        : is_depthwise(g) ? "depthwise"
                          : "conv",
        "pass", pass_names[p], "batch", g->n, "height", g->h, "width", g->w, "in", g->cin, "out",
        g->cout, "k", g->k, "stride", g->stride, "ms", time * 1e3, "gflops",
        flops(g, p) * 1e-9 / time, "gigabytes_per_second", bytes(g, p) * 1e-9 / time, "limit",
        by_arithmetic > by_memory ? "arithmetic" : "memory", "fraction_of_limit",
        fmax(by_arithmetic, by_memory) / time);
}

static float *floats(size_t count, float value)
{
    float *p = aligned_alloc(NAS_ALIGN, nas_arena_round((count + 16) * sizeof *p));

    for (size_t i = 0; p != NULL && i < count; i++)
        p[i] = value;
    return p;
}

static nas_status prepare(ops_bench *b, nas_err *err)
{
    size_t x = 0, y = 0, w = 0, c = 0, scratch = 0;

    for (int i = 0; i < b->shapes; i++) {
        const nas_conv_geom *g = &b->shape[i];
        const size_t need = kernels_of(b, g)->scratch(g, omp_get_max_threads());
        x = inputs(g) > x ? inputs(g) : x;
        y = outputs(g) > y ? outputs(g) : y;
        w = weights(g) > w ? weights(g) : w;
        c = (size_t)g->cin > c ? (size_t)g->cin : c;
        c = (size_t)g->cout > c ? (size_t)g->cout : c;
        scratch = need > scratch ? need : scratch;
    }
    b->x = floats(x, 0.5f);
    b->dx = floats(x, 0);
    b->y = floats(y, 0.5f);
    b->g = floats(y, 0.5f);
    b->w = floats(w, 0.01f);
    b->dw = floats(w, 0);
    b->vectors = floats(c, 0.5f);
    b->stats = floats(2 * NAS_KERNEL_MAX_CHUNKS * c, 0);
    b->scratch = aligned_alloc(NAS_ALIGN, nas_arena_round(scratch + 1));
    if (!b->x || !b->dx || !b->y || !b->g || !b->w || !b->dw || !b->vectors || !b->stats ||
        !b->scratch)
        return nas_fail(err, NAS_E_NOMEM, "bench ops: out of memory");
    return nas_peak_measure(&b->peak, err);
}

static void finish(ops_bench *b)
{
    float *const all[] = {b->x, b->dx, b->y, b->g, b->w, b->dw, b->vectors, b->stats};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    free(b->scratch);
    free(b);
}

static nas_status ops_run(const cli_context *context, const void *options, nas_err *err)
{
    const ops_options *o = options;
    ops_bench *b = calloc(1, sizeof *b);
    json_t *rows = json_array();
    nas_status status = NAS_OK;

    if (b == NULL || rows == NULL) {
        free(b);
        json_decref(rows);
        return nas_fail(err, NAS_E_NOMEM, "bench ops: out of memory");
    }
    b->kernels = nas_kernels_get();
    if (o->space != NULL)
        status = add_space(b, o->space, (int)o->batch, err);
    for (const char *const *name = nas_space_names(); o->space == NULL && *name != NULL &&
                                                      status == NAS_OK; name++)
        status = add_space(b, *name, (int)o->batch, err);
    if (status == NAS_OK && (status = prepare(b, err)) == NAS_OK)
        for (int i = 0; i < b->shapes; i++)
            for (int p = 0; p < PASSES; p++)
                json_array_append_new(rows, measure(b, &b->shape[i], (pass)p, o->seconds));
    if (status == NAS_OK)
        status = cli_emit(context,
                          json_pack("{s:s, s:I, s:f, s:f, s:O}", "kernels", b->kernels->name,
                                    "threads", (json_int_t)o->common.threads, "peak_gflops",
                                    b->peak.gflops, "peak_gigabytes_per_second", b->peak.gigabytes,
                                    "ops", rows),
                          err);
    json_decref(rows);
    finish(b);
    return status;
}

const cli_command cmd_bench_ops = {
    .name = "bench ops", .summary = "each convolution kernel against the machine's limits",
    .example = "bench ops --space proxyless-cifar --json",
    .tables = {ops_table}, .size = sizeof(ops_options), .run = ops_run,
};
