/* Convolutions on repeatable data, see conv_check.h. */
#include "tests/ops/kernel/conv_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/numeric.h"

enum { GUARD = 64 }; /* floats after scratch that must stay as they are */

/* The inputs of a case; all owned. */
typedef struct inputs {
    float *x, *scale, *shift, *gate, *w, *w_scale, *bias, *residual;
    float *g, *raw, *a, *b, *k, *mean, *invstd;
    nas_view view;
    nas_grad_view grad;
} inputs;

nas_conv_geom conv_geom(int n, int h, int w, int cin, int cout, int k, int stride, int groups)
{
    const int pad = k / 2;

    return (nas_conv_geom){.n = n, .h = h, .w = w, .cin = cin, .cout = cout, .k = k,
                           .stride = stride, .pad = pad, .groups = groups,
                           .oh = (h + 2 * pad - k) / stride + 1,
                           .ow = (w + 2 * pad - k) / stride + 1};
}

static size_t count_x(const nas_conv_geom *g)
{
    return (size_t)g->n * (size_t)g->h * (size_t)g->w * (size_t)g->cin;
}

static size_t count_y(const nas_conv_geom *g)
{
    return (size_t)g->n * (size_t)g->oh * (size_t)g->ow * (size_t)g->cout;
}

static size_t count_w(const nas_conv_geom *g)
{
    return (size_t)(g->k * g->k) * (size_t)(g->cin / g->groups) * (size_t)g->cout;
}

static float *filled(size_t count, unsigned seed, float low, float high)
{
    float *x = test_floats(count, seed);

    test_fill_range(x, count, seed, low, high);
    return x;
}

static inputs inputs_new(const conv_case *c)
{
    const nas_conv_geom *g = &c->geom;
    const size_t cin = (size_t)g->cin, cout = (size_t)g->cout;
    const float spread = c->spread > 0 ? c->spread : 4;
    inputs in = {
        .x = filled(count_x(g), 1, -spread, spread),
        .scale = filled(cin, 2, 0.5f, 1.5f), .shift = test_floats(cin, 3),
        .gate = filled((size_t)g->n * cin, 4, 0.1f, 1),
        .w = test_floats(count_w(g), 5), .w_scale = filled(cout, 6, 0.5f, 2),
        .bias = test_floats(cout, 7), .residual = test_floats(count_y(g), 8),
        .g = test_floats(count_y(g), 9), .raw = test_floats(count_y(g), 10),
        .a = test_floats(cout, 11), .b = test_floats(cout, 12), .k = test_floats(cout, 13),
        .mean = test_floats(cin, 14), .invstd = filled(cin, 15, 0.5f, 2),
    };
    const bool norm = c->view == VIEW_NORM || c->view == VIEW_NORM_GATE;
    const bool gate = c->view == VIEW_GATE || c->view == VIEW_NORM_GATE;

    in.view = (nas_view){.x = in.x, .scale = norm ? in.scale : NULL,
                         .shift = norm ? in.shift : NULL, .gate = gate ? in.gate : NULL,
                         .act = c->view == VIEW_PLAIN ? NAS_ACT_NONE : c->act};
    in.grad = (nas_grad_view){.g = in.g};
    if (c->flags & RUN_GRAD_VIEW)
        in.grad = (nas_grad_view){.g = in.g, .raw = in.raw, .a = in.a, .b = in.b, .k = in.k};
    return in;
}

static void inputs_fini(inputs *in)
{
    float *all[] = {in->x, in->scale, in->shift, in->gate, in->w, in->w_scale, in->bias,
                    in->residual, in->g, in->raw, in->a, in->b, in->k, in->mean, in->invstd};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Scratch of NaN with a guard behind it. */
static float *scratch_new(size_t bytes)
{
    float *scratch = test_floats(bytes / sizeof(float) + GUARD, 1);

    for (size_t i = 0; i < bytes / sizeof(float); i++)
        scratch[i] = NAN;
    for (size_t i = 0; i < GUARD; i++)
        scratch[bytes / sizeof(float) + i] = 12345;
    return scratch;
}

static void scratch_free(float *scratch, size_t bytes)
{
    for (size_t i = 0; i < GUARD; i++)
        cr_assert_eq(scratch[bytes / sizeof(float) + i], 12345, "wrote behind the scratch");
    free(scratch);
}

static nas_conv_out output_of(const conv_case *c, const inputs *in, const conv_result *r)
{
    const int flags = c->flags;

    return (nas_conv_out){.y = r->y, .stats = flags & RUN_STATS ? r->stats : NULL,
                          .bias = flags & RUN_BIAS ? in->bias : NULL, .act = c->out_act,
                          .residual = flags & RUN_RESIDUAL ? in->residual : NULL};
}

static nas_conv_grad grad_of(const conv_case *c, const inputs *in, const conv_result *r)
{
    return (nas_conv_grad){.dx = c->flags & RUN_NO_DX ? NULL : r->dx,
                           .add = c->flags & RUN_ADD, .sums = r->sums, .mean = in->mean,
                           .invstd = in->invstd, .dw = c->flags & RUN_NO_DW ? NULL : r->dw};
}

conv_result conv_run(const conv_kernels *kernels, const conv_case *c, int threads)
{
    const nas_conv_geom *g = &c->geom;
    const size_t chunks = (size_t)nas_kernel_chunks(g->n);
    const size_t bytes = kernels->scratch(g, threads);
    inputs in = inputs_new(c);
    conv_result r = {.y_count = count_y(g), .stats_count = chunks * 2 * (size_t)g->cout,
                     .dx_count = count_x(g), .sums_count = chunks * 2 * (size_t)g->cin,
                     .dw_count = count_w(g)};

    r.y = test_floats(r.y_count, 20);
    r.stats = test_floats(r.stats_count, 21);
    r.dx = test_floats(r.dx_count, 22);
    r.sums = test_floats(r.sums_count, 23);
    r.dw = test_floats(r.dw_count, 24);
    const nas_conv_out out = output_of(c, &in, &r);
    const nas_conv_grad grad = grad_of(c, &in, &r);
    float *scratch = scratch_new(bytes);

    omp_set_num_threads(threads);
    kernels->forward(g, &in.view, in.w, c->flags & RUN_W_SCALE ? in.w_scale : NULL, &out, scratch);
    scratch_free(scratch, bytes);
    scratch = scratch_new(bytes);
    kernels->backward(g, &in.view, in.w, &in.grad, &grad, scratch);
    scratch_free(scratch, bytes);
    inputs_fini(&in);
    return r;
}

void conv_result_fini(conv_result *r)
{
    free(r->y);
    free(r->stats);
    free(r->dx);
    free(r->sums);
    free(r->dw);
}

double conv_result_error(const conv_result *a, const conv_result *b)
{
    double worst = test_error(a->y, b->y, a->y_count);

    worst = fmax(worst, test_error(a->stats, b->stats, a->stats_count));
    worst = fmax(worst, test_error(a->dx, b->dx, a->dx_count));
    worst = fmax(worst, test_error(a->sums, b->sums, a->sums_count));
    return fmax(worst, test_error(a->dw, b->dw, a->dw_count));
}

static bool same(const float *a, const float *b, size_t count)
{
    return memcmp(a, b, count * sizeof *a) == 0;
}

bool conv_result_equal(const conv_result *a, const conv_result *b)
{
    return same(a->y, b->y, a->y_count) && same(a->stats, b->stats, a->stats_count) &&
           same(a->dx, b->dx, a->dx_count) && same(a->sums, b->sums, a->sums_count) &&
           same(a->dw, b->dw, a->dw_count);
}

static void check_case(const conv_kernels *fast, const conv_kernels *reference, const conv_case *c,
                       double tolerance)
{
    const nas_conv_geom *g = &c->geom;
    conv_result expected = conv_run(reference, c, 1), one = conv_run(fast, c, 1);
    const double error = conv_result_error(&one, &expected);

    cr_expect(error <= tolerance,
              "n%d %dx%d %d->%d k%d s%d g%d view %d act %d,%d flags %d: error %g",
              g->n, g->h, g->w, g->cin, g->cout, g->k, g->stride, g->groups, c->view, c->act,
              c->out_act, c->flags, error);
    /* Once a view: threads meet in the sums, not in the activations. */
    for (int threads = 2; threads <= 4 && c->act == NAS_ACT_HSIGMOID; threads++) {
        conv_result more = conv_run(fast, c, threads);

        cr_expect(conv_result_equal(&more, &one),
                  "n%d %dx%d %d->%d k%d: other bits with %d threads",
                  g->n, g->h, g->w, g->cin, g->cout, g->k, threads);
        conv_result_fini(&more);
    }
    conv_result_fini(&expected);
    conv_result_fini(&one);
}

void conv_check(const conv_kernels *fast, const conv_kernels *reference, nas_conv_geom geom,
                double tolerance)
{
    static const int flags[] = {
        RUN_STATS | RUN_GRAD_VIEW,
        RUN_BIAS | RUN_W_SCALE | RUN_ADD,
        RUN_RESIDUAL | RUN_NO_DX,
        RUN_STATS | RUN_W_SCALE | RUN_GRAD_VIEW | RUN_NO_DW,
        RUN_BIAS | RUN_RESIDUAL | RUN_W_SCALE | RUN_GRAD_VIEW | RUN_ADD,
    };
    const int kinds = sizeof flags / sizeof *flags;

    /* Every view with every activation; each with another way to end. */
    for (int view = 0; view < VIEWS; view++)
        for (int act = view == VIEW_PLAIN ? NAS_ACT_HSIGMOID : 0; act <= NAS_ACT_HSIGMOID; act++) {
            const conv_case c = {.geom = geom, .view = view, .act = act,
                                 .out_act = (act + view) % (NAS_ACT_HSIGMOID + 1),
                                 .flags = flags[(act + view + geom.cin) % kinds]};

            check_case(fast, reference, &c, tolerance);
        }
}

/* -- finite differences ---------------------------------------------------------- */

typedef struct difference {
    const conv_kernels *kernels;
    const nas_conv_geom *geom;
    const inputs *in;
    float *y, *scratch;
} difference;

/* <y, g>, of which the gradient by y is g. */
static double projected_loss(void *ctx)
{
    const difference *d = ctx;
    const nas_conv_out out = {.y = d->y};

    d->kernels->forward(d->geom, &d->in->view, d->in->w, NULL, &out, d->scratch);
    return test_dot(d->y, d->in->g, count_y(d->geom));
}

/* Of a normalised view the kernel gives dL/d(scale*x + shift), not dL/dx. */
static void unmask(const conv_case *c, const inputs *in, conv_result *r)
{
    for (size_t i = 0; c->view == VIEW_NORM && i < r->dx_count; i++)
        r->dx[i] *= in->scale[i % (size_t)c->geom.cin];
}

/* Of other views it gives the gradient by the value; the chain to x by hand. */
static void through_view(const conv_case *c, const inputs *in, conv_result *r)
{
    const size_t cin = (size_t)c->geom.cin, hw = (size_t)c->geom.h * (size_t)c->geom.w;

    for (size_t i = 0; c->view != VIEW_NORM && i < r->dx_count; i++) {
        const size_t ch = i % cin;
        const float scale = in->view.scale ? in->view.scale[ch] : 1;
        const float z = in->view.scale ? scale * in->x[i] + in->view.shift[ch] : in->x[i];
        const float gate = in->view.gate ? in->view.gate[i / cin / hw * cin + ch] : 1;

        r->dx[i] *= gate * scale * nas_act_slope(in->view.act, z);
    }
}

double conv_gradient_error(const conv_kernels *kernels, nas_conv_geom geom, conv_view view,
                           nas_act act)
{
    const conv_case c = {.geom = geom, .view = view, .act = act, .flags = RUN_STATS, .spread = 1};
    conv_result with = conv_run(kernels, &c, 1);
    inputs in = inputs_new(&c);
    difference d = {.kernels = kernels, .geom = &geom, .in = &in, .y = with.y};

    /* conv_run's dw was added to the numbers of seed 24. */
    float *before = test_floats(with.dw_count, 24);

    for (size_t i = 0; i < with.dw_count; i++)
        with.dw[i] -= before[i];
    unmask(&c, &in, &with);
    through_view(&c, &in, &with);
    d.scratch = test_floats(kernels->scratch(&geom, 1) / sizeof(float) + 1, 1);
    omp_set_num_threads(1);
    const double by_w = test_gradcheck(projected_loss, &d, in.w, with.dw, with.dw_count, 0.25, 60);
    const double by_x = test_gradcheck(projected_loss, &d, in.x, with.dx, with.dx_count, 0.01, 60);

    free(before);
    free(d.scratch);
    inputs_fini(&in);
    conv_result_fini(&with);
    return fmax(by_w, by_x);
}
