/* Operations that a program adds: names, plan, gradients, and the same bits on any threads. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "ops/layer/own.h"
#include "tests/ops/layer/rig.h"

/* y[o][c] = w[c] * x[o*stride][c]^2, keeping x: as small as an operation with all parts can be. */
static void square_plan(void *user, const nas_layer *layer, nas_own_plan *plan)
{
    plan->macs = 2 * (int64_t)layer->oh * layer->ow * layer->spec.out;
    plan->weights = layer->spec.in;
    plan->kept_floats = (int64_t)layer->h * layer->w * layer->spec.in;
}

static size_t source(const nas_layer *layer, int image, int row, int column)
{
    const int s = layer->spec.stride;

    return (((size_t)image * (size_t)layer->h + (size_t)(row * s)) * (size_t)layer->w +
            (size_t)(column * s)) * (size_t)layer->spec.in;
}

static void square_forward(void *user, const nas_layer *layer, int n, const float *weights,
                           const float *x, float *y, float *kept)
{
    const size_t count = (size_t)n * (size_t)layer->h * (size_t)layer->w * (size_t)layer->spec.in;

    if (kept != NULL)
        memcpy(kept, x, count * sizeof *x);
    for (int i = 0; i < n; i++)
        for (int r = 0; r < layer->oh; r++)
            for (int q = 0; q < layer->ow; q++)
                for (int c = 0; c < layer->spec.out; c++) {
                    const float value = x[source(layer, i, r, q) + (size_t)c];
                    *y++ = weights[c] * value * value;
                }
}

static void square_backward(void *user, const nas_layer *layer, int n, const float *weights,
                            const float *x, const float *kept, const float *dy, float *dx,
                            float *dweights)
{
    const size_t count = (size_t)n * (size_t)layer->h * (size_t)layer->w * (size_t)layer->spec.in;

    if (dx != NULL)
        memset(dx, 0, count * sizeof *dx);
    for (int i = 0; i < n; i++)
        for (int r = 0; r < layer->oh; r++)
            for (int q = 0; q < layer->ow; q++)
                for (int c = 0; c < layer->spec.out; c++, dy++) {
                    const size_t at = source(layer, i, r, q) + (size_t)c;
                    if (dx != NULL)
                        dx[at] = 2.0f * weights[c] * kept[at] * *dy;
                    if (dweights != NULL)
                        dweights[c] += kept[at] * kept[at] * *dy;
                }
}

static const nas_own_op square = {.name = "square", .window = true, .plan = square_plan,
                                  .forward = square_forward, .backward = square_backward};

static nas_op_spec square_spec(void)
{
    nas_err err;

    cr_assert_eq(nas_own_register(&square, &err), NAS_OK, "%s", err.message);
    return (nas_op_spec){.type = NAS_OP_OWN, .own = nas_own_find("square"), .in = 5, .out = 5,
                         .kernel = 1, .stride = 2};
}

Test(ops_own, cost_and_name_come_from_the_plan)
{
    const nas_op_spec spec = square_spec();
    const nas_op_cost cost = nas_op_cost_at(&spec, 7, 9);

    cr_assert_str_eq(nas_op_spec_name(&spec), "square");
    cr_assert_eq(cost.macs, 2 * 4 * 5 * 5);
    cr_assert_eq(cost.parameters, 5);
    cr_assert(cost.out_h == 4 && cost.out_w == 5);
}

Test(ops_own, names_that_are_none_or_taken_are_refused)
{
    static const char *const names[] = {"conv", "own", "square", "Square", "", "a-b", NULL,
                                        "a_name_of_twenty_four_ch"};
    nas_own_op op = square;

    square_spec();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        nas_err err;
        op.name = names[i];
        cr_assert_eq(nas_own_register(&op, &err), NAS_E_CONFIG, "%s", names[i]);
        cr_assert_neq(err.message[0], '\0');
    }
}

static void uneven_plan(void *user, const nas_layer *layer, nas_own_plan *plan)
{
    plan->weights = layer->h;
}

Test(ops_own, a_plan_that_cannot_be_and_channels_that_it_cannot_give_are_refused)
{
    nas_op_spec spec = square_spec();
    nas_own_op op = square;
    nas_err err;

    spec.out = 6;
    cr_assert_eq(nas_op_check(&spec, &err), NAS_E_CONFIG);
    op.name = "uneven";
    op.plan = uneven_plan;
    cr_assert_eq(nas_own_register(&op, &err), NAS_OK);
    spec.out = 5;
    cr_assert_eq(nas_op_check(&spec, &err), NAS_OK);
    spec.own = nas_own_find("uneven");
    cr_assert_eq(nas_op_check(&spec, &err), NAS_E_CONFIG);
    cr_assert(strstr(err.message, "weights at 1 pixels") != NULL, "%s", err.message);
    spec.own = 17;
    cr_assert_eq(nas_op_check(&spec, &err), NAS_E_CONFIG);
}

/* dL/dv by central differences of <y, dy>; y is a polynomial of degree 2, so only rounding
 * counts: worst seen 4e-4 at h = 1e-2. */
static double difference(rig *r, float *value)
{
    const float old = *value, h = 1e-2f;
    double loss[2];

    for (int side = 0; side < 2; side++) {
        *value = side == 0 ? old - h : old + h;
        nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
        nas_arena_release(&r->arena, 0);
        loss[side] = r->run.kernels->dot(r->ys, r->y, r->dy);
    }
    *value = old;
    return (loss[1] - loss[0]) / (2.0 * (double)h);
}

Test(ops_own, gradients_match_differences)
{
    const nas_op_spec spec = square_spec();
    rig r;

    rig_init(&r, &spec, 18, 5, 3, "reference"); /* 16 chunks, some of two images */
    rig_step(&r);
    for (size_t i = 0; i < r.xs; i += 7)
        cr_assert_float_eq(r.dx[i], difference(&r, &r.x[i]), 2e-3, "dx[%zu]", i);
    for (size_t i = 0; i < r.floats; i++)
        cr_assert_float_eq(r.grads[i], difference(&r, &r.params[i]), 2e-3, "dw[%zu]", i);
    rig_fini(&r);
}

Test(ops_own, shortcut_sum_dot_and_evaluation_agree)
{
    const nas_op_spec spec = square_spec();
    rig r;

    rig_init(&r, &spec, 3, 5, 5, "reference");
    void *saved = nas_layer_forward(&r.layer, &r.run, r.params, r.x, NULL, r.y);
    const double dot = r.run.kernels->dot(r.ys, r.y, r.dy);
    cr_assert_eq(nas_layer_output_dot(&r.layer, &r.run, r.params, r.x, saved, r.dy), dot);
    r.run.train = r.run.keep = false;
    float *sum = nas_arena_floats(&r.arena, r.ys);
    memcpy(sum, r.dy, r.ys * sizeof *sum);
    nas_layer_forward(&r.layer, &r.run, r.params, r.x, sum, sum);
    for (size_t i = 0; i < r.ys; i++)
        cr_assert_eq(sum[i], r.y[i] + r.dy[i]);
    rig_fini(&r);
}

Test(ops_own, one_thread_and_four_give_the_same_bits)
{
    const nas_op_spec spec = square_spec();
    rig one, four;

    rig_init(&one, &spec, 37, 9, 7, "reference");
    rig_init(&four, &spec, 37, 9, 7, "reference");
    omp_set_num_threads(1);
    rig_step(&one);
    omp_set_num_threads(4);
    rig_step(&four);
    cr_assert_eq(memcmp(one.dx, four.dx, one.xs * sizeof(float)), 0);
    cr_assert_eq(memcmp(one.grads, four.grads, one.floats * sizeof(float)), 0);
    rig_fini(&one);
    rig_fini(&four);
}
