/* Pooling windows: by hand, and gradients by differences. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernel/kernel.h"
#include "tests/support/numeric.h"

static nas_conv_geom geom_of(int n, int h, int w, int c, int k, int stride, int pad)
{
    return (nas_conv_geom){.n = n, .h = h, .w = w, .cin = c, .cout = c, .k = k, .stride = stride,
                           .pad = pad, .groups = c, .oh = (h + 2 * pad - k) / stride + 1,
                           .ow = (w + 2 * pad - k) / stride + 1};
}

static const float image[9] = {-1, -2, -3, -4, -9, -6, -7, -8, -5};

Test(ops_pool, max_by_hand_never_takes_padding)
{
    const nas_conv_geom geom = geom_of(1, 3, 3, 1, 3, 2, 1);
    const float expected[4] = {-1, -2, -4, -5};
    const unsigned char winner[4] = {4, 3, 1, 4};
    float y[4], dx[9] = {0};
    const float dy[4] = {1, 10, 100, 1000};
    const float gradient[9] = {1, 10, 0, 100, 0, 0, 0, 0, 1000};
    unsigned char arg[4];

    nas_kernels_get()->max_pool(&geom, image, y, arg);
    cr_expect_arr_eq(y, expected, sizeof y);
    cr_expect_arr_eq(arg, winner, sizeof arg);
    nas_kernels_get()->max_pool_backward(&geom, dy, arg, dx);
    cr_expect_arr_eq(dx, gradient, sizeof dx);
    nas_kernels_get()->max_pool_backward(&geom, dy, arg, dx);
    cr_expect_float_eq(dx[8], 2000, 0, "it adds");
    memset(y, 0, sizeof y);
    nas_kernels_get()->max_pool(&geom, image, y, NULL);
    cr_expect_arr_eq(y, expected, sizeof y);
}

Test(ops_pool, average_by_hand_does_not_count_padding)
{
    const nas_conv_geom geom = geom_of(1, 3, 3, 1, 3, 2, 1);
    const float expected[4] = {-16.0f / 4, -20.0f / 4, -28.0f / 4, -28.0f / 4};
    float y[4];

    nas_kernels_get()->avg_pool(&geom, image, y);
    for (int i = 0; i < 4; i++)
        cr_expect_float_eq(y[i], expected[i], 1e-6);
}

typedef struct pool {
    nas_conv_geom geom;
    void (*forward)(const nas_conv_geom *geom, const float *x, float *y);
    float *x, *y, *dy;
    size_t count; /* of y */
} pool;

static void max_without_winners(const nas_conv_geom *geom, const float *x, float *y)
{
    nas_kernels_get()->max_pool(geom, x, y, NULL);
}

static double pool_loss(void *context) /* <y, dy> */
{
    const pool *p = context;

    p->forward(&p->geom, p->x, p->y);
    return test_dot(p->y, p->dy, p->count);
}

Test(ops_pool, gradients_match_differences)
{
    const nas_conv_geom cases[] = {geom_of(2, 5, 6, 3, 3, 2, 1), geom_of(1, 4, 4, 2, 2, 2, 0),
                                   geom_of(3, 7, 3, 1, 3, 1, 1), geom_of(1, 1, 1, 5, 7, 1, 3)};
    const double limit = 1e-3; /* rounding of y, 4 * 6e-8 / 2e-3 */

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const nas_conv_geom *g = &cases[i];
        const size_t nx = (size_t)g->n * g->h * g->w * g->cin;
        const size_t ny = (size_t)g->n * g->oh * g->ow * g->cin;
        pool p = {*g, max_without_winners, test_floats(nx, 1), test_floats(ny, 2),
                  test_floats(ny, 3), ny};
        unsigned char *arg = malloc(ny);
        float *dx = calloc(nx, sizeof *dx);

        cr_assert(arg && dx);
        for (size_t j = 0; j < nx; j++) /* 0.02 apart, so that no step changes a winner */
            p.x[j] = 0.02f * (float)(j * 37 % nx);
        nas_kernels_get()->max_pool(g, p.x, p.y, arg);
        nas_kernels_get()->max_pool_backward(g, p.dy, arg, dx);
        cr_expect_lt(test_gradcheck(pool_loss, &p, p.x, dx, nx, 1e-3, nx), limit);
        memset(dx, 0, nx * sizeof *dx);
        p.forward = nas_kernels_get()->avg_pool;
        nas_kernels_get()->avg_pool_backward(g, p.dy, dx);
        cr_expect_lt(test_gradcheck(pool_loss, &p, p.x, dx, nx, 1e-3, nx), limit);
        free(p.x);
        free(p.y);
        free(p.dy);
        free(arg);
        free(dx);
    }
}
