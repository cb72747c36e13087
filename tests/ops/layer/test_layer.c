/* What layer.h promises of every layer: gradients, memory, aliasing, folding,
 * bits that do not depend on the number of threads. */
#include <criterion/criterion.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ops/layer/rig.h"
#include "tests/support/numeric.h"

/* Every type and form of operation, at sizes that no tile divides. */
static const struct layer_case {
    const char *name;
    nas_op_spec spec;
    int n, h, w;
} cases[] = {
    {"conv 3x3 s2 relu6",
     {NAS_OP_CONV, 3, 16, 3, 2, 1, .act = NAS_ACT_RELU6, .bn = true}, 5, 9, 7},
    {"conv 3x3 groups bias hswish",
     {NAS_OP_CONV, 6, 6, 3, 1, 2, .act = NAS_ACT_HSWISH, .bias = true}, 3, 6, 5},
    {"conv 5x5 bn", {NAS_OP_CONV, 4, 4, 5, 1, 1, .bn = true}, 2, 6, 5},
    {"conv 1x1 bn relu", {NAS_OP_CONV, 17, 17, 1, 1, 1, .act = NAS_ACT_RELU, .bn = true}, 18, 5, 3},
    {"conv 1x1 hswish", {NAS_OP_CONV, 24, 10, 1, 1, 1, .act = NAS_ACT_HSWISH}, 3, 1, 1},
    {"conv 1x1 s2 bias", {NAS_OP_CONV, 8, 12, 1, 2, 1, .bias = true}, 2, 5, 6},
    {"depthwise 5x5 hswish",
     {NAS_OP_CONV, 10, 10, 5, 1, 10, .act = NAS_ACT_HSWISH, .bn = true}, 3, 6, 7},
    {"depthwise 7x7 s2", {NAS_OP_CONV, 8, 8, 7, 2, 8, .act = NAS_ACT_HSIGMOID, .bn = true}, 3, 8, 5},
    {"mbconv e1 k3",
     {NAS_OP_MBCONV, 8, 8, 3, 1, .mid = 8, .expand = 1, .act = NAS_ACT_HSWISH}, 3, 5, 6},
    {"mbconv e1 k3 se",
     {NAS_OP_MBCONV, 8, 12, 3, 2, .mid = 8, .expand = 1, .act = NAS_ACT_HSWISH, .se = 8}, 3, 6, 6},
    {"mbconv e3 k5 s2",
     {NAS_OP_MBCONV, 8, 16, 5, 2, .mid = 24, .expand = 3, .act = NAS_ACT_HSWISH}, 4, 7, 6},
    {"mbconv e6 k7", {NAS_OP_MBCONV, 8, 8, 7, 1, .mid = 48, .expand = 6, .act = NAS_ACT_RELU6}, 17, 5, 5},
    {"mbconv large e3 k3 hswish",
     {NAS_OP_MBCONV, 8, 8, 3, 1, .mid = 24, .expand = 3, .act = NAS_ACT_HSWISH}, 3, 8, 8},
    {"mbconv e6 k3 se",
     {NAS_OP_MBCONV, 8, 8, 3, 1, .mid = 48, .expand = 6, .act = NAS_ACT_HSWISH, .se = 16}, 3, 5, 4},
    /* large enough for expand and depthwise convolution to run as one (nas_kernels.expanded) */
    {"mbconv wide e3 k3", {NAS_OP_MBCONV, 8, 8, 3, 1, .mid = 24, .expand = 3}, 3, 8, 9},
    {"mbconv wide e3 k5 s2", {NAS_OP_MBCONV, 9, 12, 5, 2, .mid = 27, .expand = 3}, 18, 9, 8},
    {"mbconv wide e6 k7 s2 relu6",
     {NAS_OP_MBCONV, 6, 10, 7, 2, .mid = 36, .expand = 6, .act = NAS_ACT_RELU6}, 3, 8, 8},
    {"mbconv wide e6 k5 relu se",
     {NAS_OP_MBCONV, 24, 24, 5, 1, .mid = 144, .expand = 6, .act = NAS_ACT_RELU, .se = 8}, 2, 10, 33},
    {"mbconv wide e4 k3 relu of many",
     {NAS_OP_MBCONV, 8, 8, 3, 1, .mid = 32, .expand = 4, .act = NAS_ACT_RELU}, 9, 8, 8},
    /* ... with channels enough for the tile unit, which makes several rows of 5 to 16 pixels at once */
    {"mbconv wide e2 k3 relu6 of 40 channels",
     {NAS_OP_MBCONV, 40, 8, 3, 1, .mid = 80, .expand = 2, .act = NAS_ACT_RELU6}, 1, 8, 8},
    {"mbconv wide e2 k7 relu6 of 32 channels",
     {NAS_OP_MBCONV, 32, 32, 7, 1, .mid = 64, .expand = 2, .act = NAS_ACT_RELU6}, 1, 9, 16},
    {"mbconv wide e2 k5 s2 relu of 32 channels",
     {NAS_OP_MBCONV, 32, 8, 5, 2, .mid = 72, .expand = 2, .act = NAS_ACT_RELU}, 1, 17, 5},
    {"mbconv wide e2 k3 s2 of 100 channels",
     {NAS_OP_MBCONV, 100, 8, 3, 2, .mid = 200, .expand = 2}, 1, 8, 8},
    {"zero", {NAS_OP_ZERO, .in = 9, .out = 9}, 2, 4, 5},
    {"identity", {NAS_OP_IDENTITY, .in = 9, .out = 9}, 2, 4, 5},
    {"max pool 3x3", {NAS_OP_MAX_POOL, 9, 9, .kernel = 3, .stride = 1}, 3, 5, 6},
    {"max pool 3x3 s2", {NAS_OP_MAX_POOL, 8, 8, .kernel = 3, .stride = 2}, 2, 7, 6},
    {"avg pool 3x3", {NAS_OP_AVG_POOL, 9, 9, .kernel = 3, .stride = 1}, 3, 5, 6},
    {"avg pool 5x5 s2", {NAS_OP_AVG_POOL, 8, 8, .kernel = 5, .stride = 2}, 2, 7, 6},
    {"mean pool", {NAS_OP_MEAN_POOL, .in = 19, .out = 19}, 3, 4, 5},
    {"mean pool of one pixel", {NAS_OP_MEAN_POOL, .in = 19, .out = 19}, 3, 1, 1},
    {"linear", {NAS_OP_LINEAR, 24, 10, .bias = true}, 19, 1, 1},
    {"linear dropout hswish",
     {NAS_OP_LINEAR, 16, 16, .act = NAS_ACT_HSWISH, .bias = true, .dropout = 0.3f}, 5, 1, 1},
    {"linear hsigmoid", {NAS_OP_LINEAR, 16, 16, .act = NAS_ACT_HSIGMOID}, 4, 1, 1},
};

enum { CASES = sizeof cases / sizeof *cases };

static const char *context(const struct layer_case *c, const rig *r)
{
    static char text[96];

    snprintf(text, sizeof text, "%s, %s", r->run.kernels->name, c->name);
    return text;
}

/* Runs `check` on a fresh rig for every case under every set of kernels. */
static void for_each_case(void (*check)(const struct layer_case *c, rig *r))
{
    for (const char *const *name = nas_kernels_names(); *name; name++)
        for (int i = 0; i < CASES; i++) {
            rig r;
            rig_init(&r, &cases[i].spec, cases[i].n, cases[i].h, cases[i].w, *name);
            check(&cases[i], &r);
            rig_fini(&r);
        }
}

static float *copy_of(const float *values, size_t count)
{
    float *copy = test_floats(count, 1);

    return memcpy(copy, values, count * sizeof *copy);
}

static bool same_bits(const float *a, const float *b, size_t count)
{
    return memcmp(a, b, count * sizeof *a) == 0;
}

static bool has_type(const struct layer_case *c, nas_op_type type) { return c->spec.type == type; }

/* Where fast kernels do not store the expand output in any memory mode. */
static bool is_wide(const struct layer_case *c) { return strstr(c->name, "wide") != NULL; }

/* Where --memory balanced does not keep it. */
static bool is_large(const struct layer_case *c)
{
    return c->spec.expand > 1 && c->h * c->w >= 64 && !is_wide(c);
}

/* Room for a residual: input and output have the same shape. */
static bool keeps_shape(const rig *r)
{
    return r->layer.oh == r->layer.h && r->layer.ow == r->layer.w &&
           r->layer.spec.in == r->layer.spec.out;
}

/* -- gradients ---------------------------------------------------------------------- */

static double projected_loss(void *context) /* <y, dy>, so that dL/dy is dy */
{
    rig *r = context;

    r->run.keep = false;
    nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    r->run.keep = true;
    return test_dot(r->y, r->dy, r->ys);
}

/* Smooth activations alone: a step across a kink would be compared otherwise.
 * (Those with kinks are compared with PyTorch, on values chosen away from them.) */
static bool is_smooth(const struct layer_case *c)
{
    return c->spec.act != NAS_ACT_RELU && c->spec.act != NAS_ACT_RELU6 &&
           !has_type(c, NAS_OP_MAX_POOL);
}

/* Whether a parameter has no effect: a shift in front of the projection's batch norm. */
static bool is_cancelled(const struct layer_case *c, const nas_param *p)
{
    return has_type(c, NAS_OP_MBCONV) && c->spec.act == NAS_ACT_NONE &&
           strcmp(p->name, "depthwise.beta") == 0;
}

static void check_differences(const struct layer_case *c, rig *r)
{
    const double tolerance = 8e-3, step = 8e-3; /* float32 forward; worst seen 2.3e-3 */

    if (!is_smooth(c))
        return;
    for (int i = 0; i < r->layer.params; i++) { /* relu's and h-sigmoid's inputs off their kinks */
        const nas_param *p = &r->layer.param[i];
        if (strcmp(p->name, "se_reduce.bias") == 0)
            test_fill_range(r->params + p->offset, p->count, 9, 1.0f, 2.0f);
        if (strcmp(p->name, "se_expand.weight") == 0)
            test_fill_range(r->params + p->offset, p->count, 9, -0.4f, 0.4f);
    }
    rig_step(r);
    double error = test_gradcheck(projected_loss, r, r->x, r->dx, r->xs, step, 60);
    cr_expect_lt(error, tolerance, "%s, input: error %.3g", context(c, r), error);
    for (int i = 0; i < r->layer.params; i++) {
        const nas_param *p = &r->layer.param[i];
        if (p->kind >= NAS_PARAM_MEAN || is_cancelled(c, p))
            continue;
        error = test_gradcheck(projected_loss, r, r->params + p->offset, r->grads + p->offset,
                               p->count, step, 40);
        cr_expect_lt(error, tolerance, "%s, %s: error %.3g", context(c, r), p->name, error);
    }
}

Test(ops_layer, gradients_match_differences)
{
    omp_set_num_threads(1); /* thousands of tiny passes: waiting for threads would take longest */
    for_each_case(check_differences);
}

static void check_against_reference(const struct layer_case *c, rig *r)
{
    const double tolerance = 1e-5; /* sums of up to 660 values in another order; worst seen 2.4e-6 */
    rig ref;

    if (!is_wide(c))
        return;
    rig_step(r);
    rig_init(&ref, &c->spec, c->n, c->h, c->w, "reference");
    rig_step(&ref);
    const double y = test_error(r->y, ref.y, r->ys), dx = test_error(r->dx, ref.dx, r->xs);
    cr_expect(y < tolerance && dx < tolerance, "%s: output %.3g, input gradient %.3g",
              context(c, r), y, dx);
    for (int i = 0; i < r->layer.params; i++) {
        const nas_param *p = &r->layer.param[i];
        if (p->kind >= NAS_PARAM_MEAN || is_cancelled(c, p))
            continue;
        const double error = test_error(r->grads + p->offset, ref.grads + p->offset, p->count);
        cr_expect_lt(error, tolerance, "%s, %s: error %.3g", context(c, r), p->name, error);
    }
    rig_fini(&ref);
}

Test(ops_layer, expand_and_depthwise_as_one_agree_with_one_after_the_other)
{
    for_each_case(check_against_reference);
}

static void check_partial_gradients(const struct layer_case *c, rig *r)
{
    rig_step(r);
    float *dx = copy_of(r->dx, r->xs), *grads = copy_of(r->grads, r->floats);
    float *dy = copy_of(r->dy, r->ys);

    void *saved = nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    memset(r->dx, 0, r->xs * sizeof *r->dx);
    nas_layer_backward(&r->layer, &r->run, r->params, r->x, saved, dy, r->dx, false, NULL);
    cr_expect(same_bits(r->dx, dx, r->xs), "%s: input gradient alone", context(c, r));

    memcpy(dy, r->dy, r->ys * sizeof *dy);
    memset(r->grads, 0, r->floats * sizeof *r->grads);
    saved = nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    nas_layer_backward(&r->layer, &r->run, r->params, r->x, saved, dy, NULL, false, r->grads);
    cr_expect(same_bits(r->grads, grads, r->floats), "%s: weight gradient alone", context(c, r));
    free(dx);
    free(grads);
    free(dy);
}

Test(ops_layer, one_half_of_the_gradients_is_the_same_as_in_both)
{
    for_each_case(check_partial_gradients);
}

static void check_adding(const struct layer_case *c, rig *r)
{
    const double tolerance = 1e-6; /* one more rounding of float32; worst seen 2.1e-7 */
    float *expected = test_floats(r->xs, 11), *dy = copy_of(r->dy, r->ys);

    rig_step(r);
    for (size_t i = 0; i < r->xs; i++)
        expected[i] += r->dx[i];
    test_fill(r->dx, r->xs, 11);
    void *saved = nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    nas_layer_backward(&r->layer, &r->run, r->params, r->x, saved, dy, r->dx, true, r->grads);
    double error = test_error(r->dx, expected, r->xs);
    cr_expect_lt(error, tolerance, "%s, input: error %.3g", context(c, r), error);

    float *once = test_floats(r->floats, 1);
    memset(once, 0, r->floats * sizeof *once);
    for (int i = 0; i < 2; i++) { /* r->grads holds two passes, once gets one */
        memcpy(dy, r->dy, r->ys * sizeof *dy);
        saved = nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
        nas_layer_backward(&r->layer, &r->run, r->params, r->x, saved, dy, NULL, false,
                           i ? r->grads : once);
    }
    for (size_t i = 0; i < r->floats; i++)
        once[i] *= 3;
    error = r->floats ? test_error(r->grads, once, r->floats) : 0;
    cr_expect_lt(error, tolerance, "%s, parameters: error %.3g", context(c, r), error);
    free(expected);
    free(once);
    free(dy);
}

Test(ops_layer, gradients_are_added)
{
    for_each_case(check_adding);
}

static void check_in_place_gradient(const struct layer_case *c, rig *r)
{
    const double tolerance = 1e-6; /* the order of one addition */

    if (!keeps_shape(r))
        return;
    float *dy = copy_of(r->dy, r->ys), *dx = copy_of(r->dy, r->xs);
    void *saved = nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    nas_layer_backward(&r->layer, &r->run, r->params, r->x, saved, dy, dx, true, NULL);
    memcpy(dy, r->dy, r->ys * sizeof *dy);
    saved = nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    nas_layer_backward(&r->layer, &r->run, r->params, r->x, saved, dy, dy, true, r->grads);
    const double error = test_error(dy, dx, r->xs);
    cr_expect_lt(error, tolerance, "%s: error %.3g", context(c, r), error);
    free(dy);
    free(dx);
}

Test(ops_layer, input_gradient_may_be_added_to_the_output_gradient_in_place)
{
    for_each_case(check_in_place_gradient);
}

static void check_output_dot(const struct layer_case *c, rig *r)
{
    void *saved = nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    const double expected = test_dot(r->y, r->dy, r->ys);
    const double found =
        nas_layer_output_dot(&r->layer, &r->run, r->params, r->x, saved, r->dy);

    cr_expect_float_eq(found, expected, 1e-5 * (1 + (double)r->ys / 100), "%s: %.9g, not %.9g",
                       context(c, r), found, expected);
}

Test(ops_layer, output_dot_is_the_dot_product_of_the_output)
{
    for_each_case(check_output_dot);
}

static void check_forward_dot(const struct layer_case *c, rig *r)
{
    nas_run run = r->run;

    run.keep = false;
    run.bn_momentum = 0;
    const size_t mark = nas_arena_mark(run.arena);
    nas_layer_forward(&r->layer, &run, r->params, r->x, NULL, r->y);
    const double expected = test_dot(r->y, r->dy, r->ys);
    const double found = nas_layer_forward_dot(&r->layer, &run, r->params, r->x, r->dy);

    cr_expect_float_eq(found, expected, 1e-5 * (1 + (double)r->ys / 100), "%s: %.9g, not %.9g",
                       context(c, r), found, expected);
    cr_expect_eq(nas_arena_mark(run.arena), mark);
}

Test(ops_layer, forward_dot_is_the_dot_product_of_the_output)
{
    for_each_case(check_forward_dot);
}

/* -- outputs ------------------------------------------------------------------------ */

static void check_keep(const struct layer_case *c, rig *r)
{
    nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    float *y = copy_of(r->y, r->ys);
    const size_t mark = nas_arena_mark(&r->arena);

    r->run.keep = false;
    cr_expect_null(nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y));
    cr_expect(same_bits(r->y, y, r->ys), "%s", context(c, r));
    cr_expect_eq(nas_arena_mark(&r->arena), mark, "%s: arena", context(c, r));
    free(y);
}

Test(ops_layer, output_is_the_same_without_keeping)
{
    for_each_case(check_keep);
}

static void check_residual(const struct layer_case *c, rig *r)
{
    const double tolerance = 1e-6; /* one addition, fused or not */

    for (int train = 0; train < 2; train++) {
        r->run.train = r->run.keep = train;
        float *residual = test_floats(r->ys, 12), *expected = test_floats(r->ys, 12);
        nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
        for (size_t i = 0; i < r->ys; i++)
            expected[i] += r->y[i];
        nas_layer_forward(&r->layer, &r->run, r->params, r->x, residual, r->y);
        double error = test_error(r->y, expected, r->ys);
        cr_expect_lt(error, tolerance, "%s, train %d: error %.3g", context(c, r), train, error);
        nas_layer_forward(&r->layer, &r->run, r->params, r->x, residual, residual);
        error = test_error(residual, expected, r->ys);
        cr_expect_lt(error, tolerance, "%s, train %d, in place: error %.3g", context(c, r), train,
                     error);
        free(residual);
        free(expected);
    }
}

Test(ops_layer, residual_is_added_also_in_place)
{
    for_each_case(check_residual);
}

static void check_fold(const struct layer_case *c, rig *r)
{
    nas_layer folded;

    r->run.train = r->run.keep = false;
    nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    float *y = copy_of(r->y, r->ys);
    nas_layer_fold(&r->layer, r->params, r->run.bn_eps, &folded, NULL);
    float *params = test_floats(nas_layer_floats(&folded), 1);
    nas_layer_fold(&r->layer, r->params, r->run.bn_eps, &folded, params);
    cr_expect_eq(folded.buffers, 0, "%s: running statistics are left", context(c, r));
    nas_layer_forward(&folded, &r->run, params, r->x, NULL, r->y);
    const double error = test_error(r->y, y, r->ys);
    cr_expect_lt(error, 1e-5, "%s: error %.3g", context(c, r), error);
    free(params);
    free(y);
}

Test(ops_layer, folding_batch_norm_keeps_the_evaluated_output)
{
    for_each_case(check_fold);
}

/* Of many images expand and depthwise convolution are evaluated as one, of one they are not. */
static void check_alone(const struct layer_case *c, rig *r)
{
    const size_t xs = r->xs / (size_t)c->n, ys = r->ys / (size_t)c->n;
    nas_layer folded;

    if (!is_wide(c) || c->n < 8)
        return;
    r->run.train = r->run.keep = false;
    nas_layer_fold(&r->layer, NULL, r->run.bn_eps, &folded, NULL);
    float *params = test_floats(nas_layer_floats(&folded), 1), *y = test_floats(ys, 1);
    nas_layer_fold(&r->layer, r->params, r->run.bn_eps, &folded, params);
    nas_layer_forward(&folded, &r->run, params, r->x, NULL, r->y);
    r->run.n = 1;
    for (int i = 0; i < c->n; i++) {
        nas_layer_forward(&folded, &r->run, params, r->x + (size_t)i * xs, NULL, y);
        cr_expect(same_bits(y, r->y + (size_t)i * ys, ys), "%s: image %d", context(c, r), i);
    }
    free(params);
    free(y);
}

Test(ops_layer, wide_bottlenecks_evaluate_an_image_alike_alone_and_among_many)
{
    for_each_case(check_alone);
}

static void check_statistics(const struct layer_case *c, rig *r)
{
    float *before = copy_of(r->params, r->floats);
    const size_t trained = r->layer.weights + r->layer.vectors;

    rig_step(r);
    cr_expect(same_bits(before, r->params, r->floats), "%s: momentum 0", context(c, r));
    r->run.bn_momentum = 0.1f;
    rig_step(r);
    cr_expect(same_bits(before, r->params, trained), "%s: weights", context(c, r));
    if (r->layer.buffers > 0)
        cr_expect_not(same_bits(before + trained, r->params + trained, r->layer.buffers),
                      "%s: momentum 0.1", context(c, r));
    free(before);
}

Test(ops_layer, a_pass_writes_running_statistics_alone_and_only_with_momentum)
{
    for_each_case(check_statistics);
}

/* -- parameters ------------------------------------------------------------------------ */

static void check_torch_layout(const struct layer_case *c, rig *r)
{
    float *back = test_floats(r->floats, 1);

    for (int i = 0; i < r->layer.params; i++) {
        const nas_param *p = &r->layer.param[i];
        float *torch_values = test_floats(p->count, 1);
        nas_param_to_torch(p, r->params, torch_values);
        nas_param_from_torch(p, torch_values, back);
        free(torch_values);
    }
    cr_expect(same_bits(back, r->params, r->floats), "%s", context(c, r));
    free(back);
}

Test(ops_layer, parameters_survive_pytorchs_layout)
{
    for_each_case(check_torch_layout);
}

static void check_parameter_count(const struct layer_case *c, rig *r)
{
    const nas_op_cost cost = nas_op_cost_at(&c->spec, c->h, c->w);

    cr_expect_eq(cost.parameters, (int64_t)(r->layer.weights + r->layer.vectors), "%s: %lld",
                 context(c, r), (long long)cost.parameters);
    cr_expect_eq(cost.out_h, r->layer.oh, "%s: rows", context(c, r));
    cr_expect_eq(cost.out_w, r->layer.ow, "%s: columns", context(c, r));
}

Test(ops_layer, cost_model_counts_the_parameters_and_sizes_of_the_layer)
{
    for_each_case(check_parameter_count);
}

Test(ops_layer, initial_values_do_not_depend_on_neighbours)
{
    nas_layer small, large;
    const nas_op_spec one = cases[8].spec; /* mbconv e1 */
    nas_op_spec other = one;

    other.se = 8; /* books other parameters between those of `one` */
    cr_assert_eq(nas_layer_init(&small, &one, 5, 5, NULL), NAS_OK);
    cr_assert_eq(nas_layer_init(&large, &other, 5, 5, NULL), NAS_OK);
    float *a = test_floats(nas_layer_floats(&small), 1), *b = test_floats(nas_layer_floats(&large), 2);
    nas_layer_reset(&small, a, 1, "x");
    nas_layer_reset(&large, b, 1, "x");
    const nas_param *p = &small.param[1], *q = &large.param[1];
    cr_assert_str_eq(p->name, "project.weight");
    cr_assert_str_eq(q->name, "project.weight");
    cr_expect(same_bits(a + p->offset, b + q->offset, p->count));
    nas_layer_reset(&large, b, 2, "x");
    cr_expect_not(same_bits(a + p->offset, b + q->offset, p->count));
    free(a);
    free(b);
}

/* -- memory --------------------------------------------------------------------------- */

/* Highest use of the arena above `from` since the last call of start_peak. */
static size_t start_peak(rig *r) { return r->arena.peak = nas_arena_mark(&r->arena); }

static void check_plan(const struct layer_case *c, rig *r)
{
    const int n = r->run.n;
    const size_t kept = nas_layer_kept(&r->layer, n), temporary = nas_layer_temporary(&r->layer, n);
    const bool room = keeps_shape(r);
    float *dy = copy_of(r->dy, r->ys);
    float *residual = copy_of(r->dy, r->ys);

    size_t start = start_peak(r);
    void *saved = nas_layer_forward(&r->layer, &r->run, r->params, r->x, residual, r->y);
    const size_t after = nas_arena_mark(&r->arena);
    cr_expect_leq(after - start, kept, "%s: kept", context(c, r));
    cr_expect_leq(r->arena.peak - start, kept + temporary, "%s: forward", context(c, r));

    start_peak(r);
    nas_layer_output_dot(&r->layer, &r->run, r->params, r->x, saved, r->dy);
    cr_expect_leq(r->arena.peak - after, temporary, "%s: dot", context(c, r));
    nas_layer_backward(&r->layer, &r->run, r->params, r->x, saved, dy, room ? dy : r->dx, room,
                       r->grads);
    cr_expect_leq(r->arena.peak - after, temporary, "%s: backward", context(c, r));
    cr_expect_eq(nas_arena_mark(&r->arena), after, "%s: balance of backward", context(c, r));

    nas_arena_release(&r->arena, start);
    r->run.keep = false;
    start = start_peak(r);
    nas_layer_forward(&r->layer, &r->run, r->params, r->x, residual, r->y);
    cr_expect_leq(r->arena.peak - start, kept + temporary, "%s: no keep", context(c, r));
    r->run.train = false;
    start = start_peak(r);
    nas_layer_forward(&r->layer, &r->run, r->params, r->x, residual, r->y);
    cr_expect_leq(r->arena.peak - start, temporary, "%s: evaluation", context(c, r));
    cr_expect_eq(nas_arena_mark(&r->arena), start, "%s: balance", context(c, r));
    free(dy);
    free(residual);
}

Test(ops_layer, passes_stay_within_their_plan)
{
    for_each_case(check_plan);
}

static void check_memory_modes(const struct layer_case *c, rig *r)
{
    rig_step(r);
    float *y = copy_of(r->y, r->ys), *dx = copy_of(r->dx, r->xs);
    float *grads = copy_of(r->grads, r->floats), *dy = copy_of(r->dy, r->ys);
    const size_t temporary = nas_layer_temporary(&r->layer, r->run.n);
    size_t least = nas_layer_kept(&r->layer, r->run.n);

    for (r->run.memory = NAS_MEMORY_FAST; r->run.memory <= NAS_MEMORY_LOW; r->run.memory++) {
        const size_t start = nas_arena_mark(&r->arena);
        memset(r->grads, 0, r->floats * sizeof *r->grads);
        memcpy(dy, r->dy, r->ys * sizeof *dy);
        void *saved = nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
        const size_t kept = nas_arena_mark(&r->arena) - start;
        cr_expect_leq(kept, least, "%s, memory %d: keeps more", context(c, r), (int)r->run.memory);
        if (has_type(c, NAS_OP_MBCONV) && r->run.memory > NAS_MEMORY_FAST &&
            (is_large(c) || r->run.memory == NAS_MEMORY_LOW))
            cr_expect_lt(kept, least, "%s, memory %d: keeps all", context(c, r),
                         (int)r->run.memory);
        least = kept;
        start_peak(r);
        nas_layer_backward(&r->layer, &r->run, r->params, r->x, saved, dy, r->dx, false, r->grads);
        cr_expect_leq(r->arena.peak - start - kept, temporary, "%s, memory %d: plan",
                      context(c, r), (int)r->run.memory);
        nas_arena_release(&r->arena, start);
        cr_expect(same_bits(r->y, y, r->ys) && same_bits(r->dx, dx, r->xs) &&
                      same_bits(r->grads, grads, r->floats),
                  "%s, memory %d: bits", context(c, r), (int)r->run.memory);
    }
    free(y);
    free(dx);
    free(grads);
    free(dy);
}

Test(ops_layer, memory_modes_keep_less_and_change_no_bit)
{
    for_each_case(check_memory_modes);
}

/* -- threads ------------------------------------------------------------------------------- */

static void check_threads(const struct layer_case *c, rig *r)
{
    float *y = NULL, *dx = NULL, *grads = NULL, *params = copy_of(r->params, r->floats);
    float *statistics = NULL;

    r->run.bn_momentum = 0.1f;
    for (int threads = 1; threads <= 4; threads++) {
        omp_set_num_threads(threads);
        memcpy(r->params, params, r->floats * sizeof *params);
        memset(r->grads, 0, r->floats * sizeof *r->grads);
        rig_step(r);
        if (threads == 1) {
            y = copy_of(r->y, r->ys);
            dx = copy_of(r->dx, r->xs);
            grads = copy_of(r->grads, r->floats);
            statistics = copy_of(r->params, r->floats);
        }
        cr_expect(same_bits(r->y, y, r->ys), "%s: y, %d threads", context(c, r), threads);
        cr_expect(same_bits(r->dx, dx, r->xs), "%s: dx, %d threads", context(c, r), threads);
        cr_expect(same_bits(r->grads, grads, r->floats), "%s: gradients, %d threads",
                  context(c, r), threads);
        cr_expect(same_bits(r->params, statistics, r->floats), "%s: statistics, %d threads",
                  context(c, r), threads);
    }
    free(y);
    free(dx);
    free(grads);
    free(params);
    free(statistics);
}

Test(ops_layer, bits_do_not_depend_on_the_number_of_threads)
{
    for_each_case(check_threads);
}
