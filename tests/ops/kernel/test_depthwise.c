/* Depthwise convolution: by hand, gradients of the reference by differences, and
 * every fast set against the reference over odd shapes, views and epilogues. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernel/kernel.h"
#include "tests/support/numeric.h"

/* Worst seen over all cases below 1.1e-6 (gcc 12, avx2 and portable); a sum of
 * 49 products has an error bound of 49 * 6e-8. */
static const double tolerance = 3e-6;

enum { GUARD = 64 }; /* bytes */

/* One convolution with all that it may read and write. */
typedef struct bundle {
    nas_conv_geom geom;
    size_t nx, ny, nw;
    float *x, *w, *dy, *raw, *y, *dx, *dw, *residual;
    float *scale, *shift, *gate, *w_scale, *bias, *mean, *invstd, *a, *b, *k;
    float *stats, *sums;
} bundle;

static nas_conv_geom geom_of(int n, int h, int w, int c, int k, int stride, int pad)
{
    return (nas_conv_geom){
        .n = n, .h = h, .w = w, .cin = c, .cout = c, .k = k, .stride = stride, .pad = pad,
        .groups = c,
        .oh = (h + 2 * pad - k) / stride + 1,
        .ow = (w + 2 * pad - k) / stride + 1,
    };
}

static float *positive(size_t count, unsigned seed)
{
    float *x = test_floats(count, seed);

    test_fill_range(x, count, seed, 0.5f, 1.5f);
    return x;
}

static bundle bundle_of(nas_conv_geom geom)
{
    const size_t c = (size_t)geom.cin, chunks = (size_t)nas_kernel_chunks(geom.n);
    bundle b = {.geom = geom};

    b.nx = (size_t)geom.n * geom.h * geom.w * c;
    b.ny = (size_t)geom.n * geom.oh * geom.ow * c;
    b.nw = (size_t)geom.k * geom.k * c;
    b.x = test_floats(b.nx, 1);
    test_fill_range(b.x, b.nx, 1, -6, 9); /* both kinks of relu6 and of hswish */
    b.w = test_floats(b.nw, 2);
    b.dy = test_floats(b.ny, 3);
    b.raw = test_floats(b.ny, 4);
    b.y = test_floats(b.ny, 5);
    b.dx = test_floats(b.nx, 6);
    b.dw = test_floats(b.nw, 7);
    b.residual = test_floats(b.ny, 8);
    b.scale = positive(c, 9);
    b.shift = test_floats(c, 10);
    b.gate = test_floats(c * geom.n, 11);
    b.w_scale = positive(c, 12);
    b.bias = test_floats(c, 13);
    b.mean = test_floats(c, 14);
    b.invstd = positive(c, 15);
    b.a = test_floats(c, 16);
    b.b = test_floats(c, 17);
    b.k = test_floats(c, 18);
    b.stats = test_floats(chunks * 2 * c, 19);
    b.sums = test_floats(chunks * 2 * c, 20);
    return b;
}

static void bundle_free(bundle *b)
{
    float *all[] = {b->x,     b->w,    b->dy,   b->raw,     b->y,    b->dx,   b->dw,
                    b->scale, b->gate, b->bias, b->shift,   b->mean, b->a,    b->residual,
                    b->b,     b->k,    b->sums, b->w_scale, b->invstd, b->stats};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Scratch that holds no numbers, with a guard behind it. */
static unsigned char *scratch_new(const nas_kernels *kernels, const nas_conv_geom *geom,
                                  size_t *bytes)
{
    *bytes = kernels->depthwise.scratch(geom, omp_get_max_threads());
    unsigned char *scratch = aligned_alloc(64, (*bytes + GUARD + 63) / 64 * 64);

    cr_assert_not_null(scratch);
    memset(scratch, 0xff, *bytes + GUARD); /* not-a-number */
    return scratch;
}

static void scratch_free(unsigned char *scratch, size_t bytes)
{
    for (int i = 0; i < GUARD; i++)
        cr_assert_eq(scratch[bytes + i], 0xff, "written behind the scratch");
    free(scratch);
}

static void forward(const nas_kernels *kernels, bundle *b, const nas_view *x, const float *w_scale,
                    const nas_conv_out *out)
{
    size_t bytes;
    unsigned char *scratch = scratch_new(kernels, &b->geom, &bytes);

    kernels->depthwise.forward(&b->geom, x, b->w, w_scale, out, scratch);
    scratch_free(scratch, bytes);
}

static void backward(const nas_kernels *kernels, bundle *b, const nas_view *x,
                     const nas_grad_view *dy, const nas_conv_grad *out)
{
    size_t bytes;
    unsigned char *scratch = scratch_new(kernels, &b->geom, &bytes);

    kernels->depthwise.backward(&b->geom, x, b->w, dy, out, scratch);
    scratch_free(scratch, bytes);
}

/* -- by hand --------------------------------------------------------------------- */

Test(ops_kernel_depthwise, three_by_three_by_hand)
{
    const float x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const float w[9] = {0, 0, 0, 0, 1, 10, 0, 0, 0}; /* itself + 10 * right neighbour */
    const float expected[9] = {21, 32, 3, 54, 65, 6, 87, 98, 9};
    const nas_conv_geom geom = geom_of(1, 3, 3, 1, 3, 1, 1);
    const char *const *names = nas_kernels_names();

    for (int i = 0; names[i]; i++) {
        const nas_kernels *kernels = nas_kernels_find(names[i]);
        const nas_view view = {.x = x};
        float y[9];
        const nas_conv_out out = {.y = y};
        void *scratch = aligned_alloc(64, 1 << 20);

        cr_assert_not_null(scratch);
        kernels->depthwise.forward(&geom, &view, w, NULL, &out, scratch);
        for (int j = 0; j < 9; j++)
            cr_assert_float_eq(y[j], expected[j], 1e-5, "%s y[%d] = %g", names[i], j, y[j]);
        free(scratch);
    }
}

/* -- gradients of the reference ------------------------------------------------------ */

static double projected_loss(void *context) /* <y, dy>, so that dL/dy is dy */
{
    bundle *b = context;
    const nas_view view = {b->x, b->scale, b->shift, NULL, NAS_ACT_HSWISH};
    const nas_conv_out out = {.y = b->y};

    forward(nas_kernels_find("reference"), b, &view, NULL, &out);
    return test_dot(b->y, b->dy, b->ny);
}

Test(ops_kernel_depthwise, reference_gradients_match_differences)
{
    const nas_conv_geom cases[] = {geom_of(2, 5, 4, 3, 3, 1, 1), geom_of(1, 7, 6, 2, 5, 2, 2),
                                   geom_of(2, 1, 1, 2, 7, 1, 3), geom_of(1, 4, 5, 2, 3, 1, 0),
                                   geom_of(1, 7, 8, 1, 3, 3, 1)};
    /* worst seen 3e-4: outputs are floats of about 10, differences of 2e-2 */
    const double limit = 1e-3;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bundle b = bundle_of(cases[i]);
        const nas_view view = {b.x, b.scale, b.shift, NULL, NAS_ACT_HSWISH};
        const nas_grad_view dy = {.g = b.dy};
        const nas_conv_grad out = {.dx = b.dx, .sums = b.sums, .mean = b.mean,
                                   .invstd = b.invstd, .dw = b.dw};

        test_fill_range(b.x, b.nx, 1, -0.9f, 0.9f); /* between the kinks */
        memset(b.dw, 0, b.nw * sizeof *b.dw);
        backward(nas_kernels_find("reference"), &b, &view, &dy, &out);
        for (size_t j = 0; j < b.nx; j++)
            b.dx[j] *= b.scale[j % b.geom.cin]; /* from dL/dz to dL/dx */
        cr_assert_lt(test_gradcheck(projected_loss, &b, b.x, b.dx, b.nx, 1e-2, 200), limit);
        cr_assert_lt(test_gradcheck(projected_loss, &b, b.w, b.dw, b.nw, 1e-2, 200), limit);
        bundle_free(&b);
    }
}

/* -- the fast sets against the reference ------------------------------------------------ */

static void assert_near(const char *what, const char *name, const nas_conv_geom *geom,
                        const float *got, const float *expected, size_t count)
{
    const double error = test_error(got, expected, count);

    cr_assert_lt(error, tolerance, "%s of %s: n %d, %dx%dx%d, k %d, stride %d, pad %d: error %g",
                 what, name, geom->n, geom->h, geom->w, geom->cin, geom->k, geom->stride,
                 geom->pad, error);
}

/* The views: plain, act only, and batch norm with every act, without and with gate. */
enum { VIEWS = 8 };

static nas_view view_of(const bundle *b, int i)
{
    const nas_view views[VIEWS] = {
        {b->x, NULL, NULL, NULL, NAS_ACT_NONE},
        {b->x, b->scale, b->shift, NULL, NAS_ACT_RELU6},
        {b->x, b->scale, b->shift, NULL, NAS_ACT_HSWISH},
        {b->x, b->scale, b->shift, b->gate, NAS_ACT_RELU},
        {b->x, b->scale, b->shift, NULL, NAS_ACT_NONE},
        {b->x, NULL, NULL, b->gate, NAS_ACT_HSIGMOID},
        {b->x, b->scale, b->shift, NULL, NAS_ACT_RELU},
        {b->x, b->scale, b->shift, NULL, NAS_ACT_HSIGMOID},
    };

    return views[i];
}

static void compare_forward(const nas_kernels *kernels, bundle *fast, bundle *ref, int form)
{
    const nas_kernels *oracle = nas_kernels_find("reference");
    const nas_view view = view_of(fast, form);
    const float *w_scale = form % 2 ? fast->w_scale : NULL;
    const size_t stats = (size_t)nas_kernel_chunks(fast->geom.n) * 2 * fast->geom.cin;
    nas_conv_out out = {.y = fast->y, .stats = fast->stats};

    forward(kernels, fast, &view, w_scale, &out);
    out = (nas_conv_out){.y = ref->y, .stats = ref->stats};
    forward(oracle, ref, &view, w_scale, &out);
    assert_near("training output", kernels->name, &fast->geom, fast->y, ref->y, fast->ny);
    assert_near("statistics", kernels->name, &fast->geom, fast->stats, ref->stats, stats);

    out = (nas_conv_out){.y = fast->y,
                         .bias = form % 3 ? fast->bias : NULL,
                         .act = (nas_act)(form % 5),
                         .residual = form % 2 ? NULL : fast->residual};
    forward(kernels, fast, &view, w_scale, &out);
    out.y = ref->y;
    forward(oracle, ref, &view, w_scale, &out);
    assert_near("evaluation output", kernels->name, &fast->geom, fast->y, ref->y, fast->ny);
}

/* half 0: both gradients, 1: the input's, 2: the weights'. */
static void compare_backward(const nas_kernels *kernels, bundle *fast, bundle *ref, int form,
                             int half)
{
    const nas_view view = view_of(fast, form);
    const bool masks = view.scale && !view.gate;
    const nas_grad_view dense = {.g = fast->dy};
    const nas_grad_view formed = {fast->dy, fast->raw, fast->a, fast->b, fast->k};
    const size_t sums = (size_t)nas_kernel_chunks(fast->geom.n) * 2 * fast->geom.cin;

    for (int i = 0; i < 2; i++) {
        bundle *b = i ? ref : fast;
        const nas_conv_grad out = {.dx = half == 2 ? NULL : b->dx,
                                   .add = form % 2,
                                   .sums = masks ? b->sums : NULL,
                                   .mean = fast->mean,
                                   .invstd = fast->invstd,
                                   .dw = half == 1 ? NULL : b->dw};

        test_fill(b->dx, b->nx, 21);
        test_fill(b->dw, b->nw, 22);
        test_fill(b->sums, sums, 23);
        backward(i ? nas_kernels_find("reference") : kernels, b, &view,
                 form % 3 ? &formed : &dense, &out);
    }
    assert_near("input gradient", kernels->name, &fast->geom, fast->dx, ref->dx, fast->nx);
    assert_near("weight gradient", kernels->name, &fast->geom, fast->dw, ref->dw, fast->nw);
    assert_near("sums", kernels->name, &fast->geom, fast->sums, ref->sums, sums);
}

static void compare(nas_conv_geom geom, int form)
{
    const char *const *names = nas_kernels_names();
    bundle fast = bundle_of(geom), ref = bundle_of(geom);

    for (int i = 0; names[i]; i++) {
        const nas_kernels *kernels = nas_kernels_find(names[i]);

        compare_forward(kernels, &fast, &ref, form);
        compare_backward(kernels, &fast, &ref, form, form % 3);
        compare_backward(kernels, &fast, &ref, form, 0);
    }
    bundle_free(&fast);
    bundle_free(&ref);
}

Test(ops_kernel_depthwise, agrees_with_reference_over_shapes)
{
    static const int channels[] = {1, 3, 8, 10, 17, 24, 40, 96};
    static const int sides[][2] = {{1, 1}, {2, 3}, {4, 4}, {5, 4}, {7, 7},
                                   {8, 8}, {9, 6}, {13, 11}, {16, 17}, {3, 19}};
    int turn = 0; /* goes through channels, images and views while shapes change */

    for (size_t s = 0; s < sizeof sides / sizeof *sides; s++)
        for (int k = 3; k <= 7; k += 2)
            for (int stride = 1; stride <= 2; stride++, turn++)
                compare(geom_of(1 + turn % 5, sides[s][0], sides[s][1], channels[turn % 8], k,
                                stride, k / 2),
                        (turn / 3) % VIEWS);
}

Test(ops_kernel_depthwise, agrees_with_reference_for_every_view)
{
    for (int form = 0; form < VIEWS; form++) {
        compare(geom_of(2, 9, 10, 24, 5, 1, 2), form);
        compare(geom_of(3, 8, 8, 17, 3, 2, 1), form);
    }
}

Test(ops_kernel_depthwise, agrees_with_reference_for_other_paddings_and_windows)
{
    const nas_conv_geom cases[] = {
        geom_of(2, 9, 9, 10, 3, 1, 0), geom_of(1, 9, 12, 8, 5, 2, 0), geom_of(2, 8, 8, 8, 7, 2, 2),
        geom_of(1, 3, 4, 9, 3, 1, 2),  geom_of(2, 4, 4, 8, 7, 1, 6),  geom_of(1, 6, 6, 8, 5, 2, 4),
        geom_of(2, 6, 6, 5, 1, 1, 0),  geom_of(1, 9, 9, 5, 9, 1, 4),  geom_of(1, 9, 8, 5, 3, 3, 1),
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int form = 0; form < 3; form++)
            compare(cases[i], form);
}

Test(ops_kernel_depthwise, agrees_with_reference_with_more_images_than_chunks)
{
    compare(geom_of(37, 4, 4, 56, 5, 1, 2), 1);
    compare(geom_of(18, 6, 6, 120, 3, 2, 1), 2);
}

/* Without padding every output is about the same large number. */
Test(ops_kernel_depthwise, statistics_keep_digits_far_from_zero)
{
    const char *const *names = nas_kernels_names();

    for (int i = 0; names[i]; i++) {
        bundle b = bundle_of(geom_of(4, 20, 20, 10, 3, 1, 0));
        const nas_kernels *kernels = nas_kernels_find(names[i]);
        const nas_view view = {.x = b.x};
        const nas_conv_out out = {.y = b.y, .stats = b.stats};
        const int pixels = b.geom.oh * b.geom.ow, c = b.geom.cin;

        for (size_t j = 0; j < b.nw; j++)
            b.w[j] = 1;
        test_fill_range(b.x, b.nx, 1, 107, 107.6f); /* mean^2 / var about 4e5 per tap */
        forward(kernels, &b, &view, NULL, &out);
        for (int img = 0; img < 4; img++) /* one image a chunk */
            for (int ch = 0; ch < c; ch++) {
                const float *y = b.y + (size_t)img * pixels * c + ch;
                double mean = 0, squares = 0;

                for (int p = 0; p < pixels; p++)
                    mean += y[(size_t)p * c] / (double)pixels;
                for (int p = 0; p < pixels; p++)
                    squares += pow(y[(size_t)p * c] - mean, 2);
                /* float sums of 324 values about a value of the data: 324 * 6e-8 */
                cr_assert_float_eq(b.stats[(img * 2 + 1) * c + ch] / squares, 1, 2e-5);
                cr_assert_float_eq(b.stats[img * 2 * c + ch] / mean, 1, 3e-7);
            }
        bundle_free(&b);
    }
}

/* -- the same bits on any number of threads --------------------------------------------- */

Test(ops_kernel_depthwise, bits_do_not_depend_on_threads)
{
    const nas_conv_geom cases[] = {geom_of(5, 9, 9, 104, 5, 1, 2), geom_of(19, 4, 4, 56, 7, 1, 3),
                                   geom_of(1, 17, 16, 24, 3, 2, 1)};
    const char *const *names = nas_kernels_names();

    for (int i = 0; names[i]; i++)
        for (size_t j = 0; j < sizeof cases / sizeof *cases; j++) {
            const nas_kernels *kernels = nas_kernels_find(names[i]);
            bundle first = bundle_of(cases[j]), again = bundle_of(cases[j]);
            const size_t sums = (size_t)nas_kernel_chunks(first.geom.n) * 2 * first.geom.cin;

            for (int threads = 1; threads <= 4; threads++) {
                bundle *b = threads == 1 ? &first : &again;
                const nas_view view = view_of(b, 1);
                const nas_grad_view dy = {b->dy, b->raw, b->a, b->b, b->k};
                const nas_conv_out out = {.y = b->y, .stats = b->stats};
                const nas_conv_out evaluation = {.y = b->residual, .bias = b->bias};
                const nas_conv_grad grad = {.dx = b->dx, .sums = b->sums, .mean = b->mean,
                                            .invstd = b->invstd, .dw = b->dw};

                omp_set_num_threads(threads);
                memset(b->dw, 0, b->nw * sizeof *b->dw);
                forward(kernels, b, &view, NULL, &out);
                forward(kernels, b, &view, NULL, &evaluation);
                backward(kernels, b, &view, &dy, &grad);
                if (threads == 1)
                    continue;
                cr_assert_eq(memcmp(first.y, again.y, first.ny * sizeof(float)), 0);
                cr_assert_eq(memcmp(first.stats, again.stats, sums * sizeof(float)), 0);
                cr_assert_eq(memcmp(first.residual, again.residual, first.ny * sizeof(float)), 0);
                cr_assert_eq(memcmp(first.dx, again.dx, first.nx * sizeof(float)), 0);
                cr_assert_eq(memcmp(first.dw, again.dw, first.nw * sizeof(float)), 0);
                cr_assert_eq(memcmp(first.sums, again.sums, sums * sizeof(float)), 0);
            }
            bundle_free(&first);
            bundle_free(&again);
        }
}
