/* Every layer against PyTorch: output, gradients, running statistics, evaluation. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ops/layer/rig.h"
#include "tests/support/golden_op.h"
#include "tests/support/numeric.h"

/* Relative to the largest element of the expected tensor.  The golden values are
 * float64; the worst seen is 1.2e-6, reference, portable and avx2 kernels, gcc 12. */
static const double tolerance = 5e-6;

typedef struct golden_case {
    const golden *file;
    const char *name;
    const json_t *json;
    nas_op_spec spec;
    int n, h, w;
} golden_case;

static golden_case read_case(const golden *file, size_t index)
{
    const json_t *json = json_array_get(golden_cases(file), index);

    return (golden_case){.file = file,
                         .name = json_string_value(json_object_get(json, "name")),
                         .json = json,
                         .spec = golden_op(json_object_get(json, "op")),
                         .n = golden_int(json, "n"),
                         .h = golden_int(json, "h"),
                         .w = golden_int(json, "w")};
}

static void expect(const golden_case *c, const char *kernels, const char *what, const float *found,
                   const float *expected, size_t count)
{
    const double error = test_error(found, expected, count);

    cr_expect_lt(error, tolerance, "%s, %s, %s: error %.3g", kernels, c->name, what, error);
}

/* Our values of a parameter against the golden tensor "name.suffix". */
static void expect_param(const golden_case *c, const char *kernels, const nas_param *param,
                         const char *suffix, const float *block)
{
    char name[64];
    float *torch_values = test_floats(param->count, 1);

    snprintf(name, sizeof name, "%s.%s", param->name, suffix);
    nas_param_to_torch(param, block, torch_values);
    expect(c, kernels, name, torch_values, golden_floats(c->file, c->name, name, param->count),
           param->count);
    free(torch_values);
}

static void rig_load(rig *r, const golden_case *c, const char *kernels)
{
    rig_init(r, &c->spec, c->n, c->h, c->w, kernels);
    memcpy(r->x, golden_floats(c->file, c->name, "x", r->xs), r->xs * sizeof *r->x);
    memcpy(r->dy, golden_floats(c->file, c->name, "dy", r->ys), r->ys * sizeof *r->dy);
    for (int i = 0; i < r->layer.params; i++) {
        const nas_param *p = &r->layer.param[i];
        nas_param_from_torch(p, golden_floats(c->file, c->name, p->name, p->count), r->params);
    }
}

static void check_training(const golden_case *c, const char *kernels)
{
    rig r;

    rig_load(&r, c, kernels);
    r.run.bn_momentum = 0.1f;
    rig_step(&r);
    expect(c, kernels, "y", r.y, golden_floats(c->file, c->name, "y", r.ys), r.ys);
    expect(c, kernels, "dx", r.dx, golden_floats(c->file, c->name, "dx", r.xs), r.xs);
    for (int i = 0; i < r.layer.params; i++) {
        const nas_param *p = &r.layer.param[i];
        if (p->kind >= NAS_PARAM_MEAN)
            expect_param(c, kernels, p, "after", r.params);
        else
            expect_param(c, kernels, p, "grad", r.grads);
    }
    rig_fini(&r);
}

static void check_evaluation(const golden_case *c, const char *kernels)
{
    rig r;

    if (!golden_int(c->json, "eval"))
        return;
    rig_load(&r, c, kernels);
    r.run.train = r.run.keep = false;
    nas_layer_forward(&r.layer, &r.run, r.params, r.x, NULL, r.y);
    expect(c, kernels, "eval", r.y, golden_floats(c->file, c->name, "eval", r.ys), r.ys);
    rig_fini(&r);
}

static void for_each_case(void (*check)(const golden_case *c, const char *kernels))
{
    golden *file = golden_open(NAS_SOURCE_DIR "/tests/golden/layers.safetensors");
    const size_t cases = json_array_size(golden_cases(file));

    cr_assert_gt(cases, 40);
    for (const char *const *name = nas_kernels_names(); *name; name++)
        for (size_t i = 0; i < cases; i++) {
            const golden_case c = read_case(file, i);
            check(&c, *name);
        }
    golden_close(file);
}

Test(ops_layer_golden, training_gives_pytorchs_outputs_and_gradients)
{
    for_each_case(check_training);
}

Test(ops_layer_golden, evaluation_gives_pytorchs_outputs)
{
    for_each_case(check_evaluation);
}
