/* Layers of rounded numbers against PyTorch: outputs, gradients, ranges' gradients; and the same
 * layers on integers. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/quant/levels.h"
#include "tests/ops/layer/rig.h"
#include "tests/support/golden_op.h"
#include "tests/support/numeric.h"

/* As of the float layers (tests/ops/layer/test_layer_golden.c): no rounding is near a half. */
static const double tolerance = 5e-6;

typedef struct quantised_case {
    const golden *file;
    const char *name;
    rig r;
    nas_quant quant[NAS_LAYER_MAX_UNITS];
    int inputs;
    const float *ranges;
} quantised_case;

static bool is_linear(const quantised_case *c) { return c->r.layer.spec.type == NAS_OP_LINEAR; }

static void case_init(quantised_case *c, const golden *file, size_t index, const char *kernels)
{
    const json_t *json = json_array_get(golden_cases(file), index);
    const nas_op_spec spec = golden_op(json_object_get(json, "op"));
    rig *r = &c->r;

    *c = (quantised_case){.file = file, .name = json_string_value(json_object_get(json, "name"))};
    rig_init(r, &spec, golden_int(json, "n"), golden_int(json, "h"), golden_int(json, "w"),
             kernels);
    c->inputs = is_linear(c) ? 1 : r->layer.units;
    c->ranges = golden_floats(file, c->name, "ranges", (size_t)c->inputs);
    for (int i = 0; i < c->inputs; i++) {
        c->quant[i] = (nas_quant){
            .weight_bits = 8, .range = c->ranges[i],
            .input_bits =
                (int)json_integer_value(json_array_get(json_object_get(json, "bits"), (size_t)i)),
            .full_wave = json_is_true(json_array_get(json_object_get(json, "full_wave"),
                                                     (size_t)i))};
        *(is_linear(c) ? &r->layer.linear_quant : &r->layer.unit[i].quant) = &c->quant[i];
    }
    nas_arena_fini(&r->arena); /* rounding needs more */
    cr_assert_eq(nas_arena_init(&r->arena, 1 << 24, NULL), NAS_OK);
    memcpy(r->x, golden_floats(file, c->name, "x", r->xs), r->xs * sizeof *r->x);
    memcpy(r->dy, golden_floats(file, c->name, "dy", r->ys), r->ys * sizeof *r->dy);
    for (int i = 0; i < r->layer.params; i++) {
        const nas_param *p = &r->layer.param[i];
        nas_param_from_torch(p, golden_floats(file, c->name, p->name, p->count), r->params);
    }
}

static void case_fini(quantised_case *c)
{
    for (int i = 0; i < c->inputs; i++)
        free(c->quant[i].weight_step);
    rig_fini(&c->r);
}

static void expect(const quantised_case *c, const char *what, const float *found,
                   const float *expected, size_t count, double limit)
{
    const double error = test_error(found, expected, count);

    cr_expect_lt(error, limit, "%s, %s, %s: error %.3g", c->r.run.kernels->name, c->name, what,
                 error);
}

static void check_training(quantised_case *c)
{
    rig *r = &c->r;

    rig_step(r);
    expect(c, "y", r->y, golden_floats(c->file, c->name, "y", r->ys), r->ys, tolerance);
    expect(c, "dx", r->dx, golden_floats(c->file, c->name, "dx", r->xs), r->xs, tolerance);
    for (int i = 0; i < r->layer.params; i++) {
        const nas_param *p = &r->layer.param[i];
        char name[64];
        if (p->kind >= NAS_PARAM_MEAN)
            continue;
        float *found = test_floats(p->count, 1);
        snprintf(name, sizeof name, "%s.grad", p->name);
        nas_param_to_torch(p, r->grads, found);
        expect(c, name, found, golden_floats(c->file, c->name, name, p->count), p->count,
               tolerance);
        free(found);
    }
    float ranges[NAS_LAYER_MAX_UNITS];
    for (int i = 0; i < c->inputs; i++)
        ranges[i] = (float)c->quant[i].range_grad;
    expect(c, "ranges", ranges, golden_floats(c->file, c->name, "ranges.grad", (size_t)c->inputs),
           (size_t)c->inputs, 2e-5);
}

static void check_evaluation(quantised_case *c)
{
    rig *r = &c->r;

    r->run.train = r->run.keep = false;
    nas_layer_forward(&r->layer, &r->run, r->params, r->x, NULL, r->y);
    expect(c, "eval", r->y, golden_floats(c->file, c->name, "eval", r->ys), r->ys, tolerance);
}

/* Rounds the full weights as PyTorch does, then runs the layer on integers. */
static void check_integers(quantised_case *c)
{
    rig *r = &c->r;
    nas_layer packed;

    for (int i = 0, site = 0; i < r->layer.params; i++) {
        const nas_param *p = &r->layer.param[i];
        char name[64];
        if (p->kind > NAS_PARAM_LINEAR || strncmp(p->name, "se_", 3) == 0)
            continue;
        const size_t out = (size_t)p->out, rows = p->count / out;
        float *step = c->quant[site++].weight_step = malloc(out * sizeof *step);
        float *given = test_floats(p->count, 1), *found = test_floats(p->count, 1);
        memcpy(given, r->params + p->offset, p->count * sizeof *given);
        snprintf(name, sizeof name, "%s.full", p->name);
        nas_param_from_torch(p, golden_floats(c->file, c->name, name, p->count), r->params);
        cr_assert_eq(nas_quant_steps(r->params + p->offset, rows, out, 8, true, false, step, NULL),
                     NAS_OK);
        nas_quant_weights(r->params + p->offset, rows, out, 8, step, found);
        expect(c, name, found, given, p->count, 1e-6);
        memcpy(r->params + p->offset, found, p->count * sizeof *found);
        free(given);
        free(found);
    }
    cr_assert(nas_layer_is_int8(&r->layer));
    void *room = aligned_alloc(64, nas_arena_round(nas_layer_int8_bytes(&r->layer,
                                                                        r->run.kernels)));
    void *scratch = aligned_alloc(64, nas_arena_round(nas_layer_scratch(&r->layer, r->run.n, 4)));
    void *before = r->run.scratch;
    nas_layer_pack_int8(&r->layer, r->run.kernels, r->params, r->run.bn_eps, room, &packed);
    r->run.train = r->run.keep = false;
    r->run.scratch = scratch;
    nas_layer_forward(&packed, &r->run, r->params, r->x, NULL, r->y);
    expect(c, "integers", r->y, golden_floats(c->file, c->name, "eval", r->ys), r->ys, tolerance);
    r->run.scratch = before;
    free(scratch);
    free(room);
}

static void for_each_case(void (*check)(quantised_case *c))
{
    golden *file = golden_open(NAS_SOURCE_DIR "/tests/golden/quantised.safetensors");
    const size_t cases = json_array_size(golden_cases(file));

    cr_assert_geq(cases, 7);
    for (const char *const *name = nas_kernels_names(); *name; name++)
        for (size_t i = 0; i < cases; i++) {
            quantised_case c;
            cr_assert(nas_kernels_use(*name));
            case_init(&c, file, i, *name);
            check(&c);
            case_fini(&c);
        }
    golden_close(file);
}

Test(nas_quant_layers, training_gives_pytorchs_outputs_and_gradients)
{
    for_each_case(check_training);
}

Test(nas_quant_layers, evaluation_gives_pytorchs_outputs) { for_each_case(check_evaluation); }

Test(nas_quant_layers, integers_give_pytorchs_outputs) { for_each_case(check_integers); }
