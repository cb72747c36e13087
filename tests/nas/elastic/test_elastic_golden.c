/* Parts of an elastic block against PyTorch: forward, gradients of the whole, sorting. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "nas/elastic/elastic.h"
#include "tests/support/golden.h"
#include "tests/support/numeric.h"

enum { BATCH = 4, SIDE = 8, IN = 6, OUT = 8, CLASSES = 5 };

/* PyTorch computed in float64: float32 rounding of a block of this size. */
static const double tolerance = 1e-4;

static nas_err err;
static golden *file;
static nas_elastic *elastic;
static nas_op_spec candidates[9], fixed[2];
static nas_slot slots[3];
static nas_space space;

static void make_space(void)
{
    static const struct {
        float expand;
        int mid, se;
    } width[] = {{2, 12, 8}, {3, 18, 8}, {4, 24, 16}};

    for (int k = 0; k < 3; k++)
        for (int e = 0; e < 3; e++)
            candidates[3 * k + e] = (nas_op_spec){
                .type = NAS_OP_MBCONV, .in = IN, .out = OUT, .kernel = 3 + 2 * k, .stride = 1,
                .mid = width[e].mid, .expand = width[e].expand, .se = width[e].se,
                .act = NAS_ACT_HSWISH};
    fixed[0] = (nas_op_spec){.type = NAS_OP_MEAN_POOL, .in = OUT, .out = OUT};
    fixed[1] = (nas_op_spec){.type = NAS_OP_LINEAR, .in = OUT, .out = CLASSES, .bias = true};
    slots[0] = (nas_slot){.count = 9, .candidates = candidates, .stage = 0};
    slots[1] = (nas_slot){.count = 1, .candidates = &fixed[0], .stage = -1};
    slots[2] = (nas_slot){.count = 1, .candidates = &fixed[1], .stage = -1};
    space = (nas_space){.name = "golden", .image_size = SIDE, .channels = IN, .classes = CLASSES,
                        .bn_momentum = 0.1f, .bn_eps = 1e-3f, .count = 3, .slots = slots};
}

static void read_shared(void)
{
    const nas_model *m = nas_elastic_shared(elastic);
    nas_elastic_matrix matrix;

    for (int s = 0; s < 3; s++)
        for (int i = 0; i < m->slot[s].layer[0].params; i++) {
            const nas_param *p = &m->slot[s].layer[0].param[i];
            nas_param_from_torch(p, golden_floats(file, NULL, p->name, p->count),
                                 m->params + m->slot[s].offset[0]);
        }
    for (int i = 0; nas_elastic_matrix_at(elastic, i, &matrix); i++) {
        const size_t count = (size_t)(matrix.taps * matrix.taps);
        char name[64];
        snprintf(name, sizeof name, "matrix.%s", strrchr(matrix.name, '.') + 1);
        memcpy(matrix.values, golden_floats(file, NULL, name, count), count * sizeof(float));
    }
}

static void setup(void)
{
    make_space();
    file = golden_open(NAS_SOURCE_DIR "/tests/golden/elastic.safetensors");
    cr_assert_eq(nas_elastic_new(&elastic, &space, BATCH, NAS_MEMORY_BALANCED, &err), NAS_OK, "%s",
                 err.message);
    read_shared();
}

static void teardown(void)
{
    nas_elastic_free(elastic);
    golden_close(file);
}

TestSuite(nas_elastic_golden, .init = setup, .fini = teardown);

/* Compares one parameter, or the gradients of it, with a tensor of the file. */
static void expect_param(const nas_param *p, const float *block, const char *scope,
                         const char *suffix)
{
    char name[64];
    float *torch = malloc(p->count * sizeof *torch);

    snprintf(name, sizeof name, "%s%s", p->name, suffix);
    nas_param_to_torch(p, block, torch);
    const double error = test_error(torch, golden_floats(file, scope, name, p->count), p->count);
    cr_expect_lt(error, tolerance, "%s/%s: %g", scope, name, error);
    free(torch);
}

static void expect_gradients(const char *part)
{
    const nas_model *m = nas_elastic_shared(elastic);
    nas_elastic_matrix matrix;

    for (int s = 0; s < 3; s++)
        for (int i = 0; i < m->slot[s].layer[0].params; i++) {
            const nas_param *p = &m->slot[s].layer[0].param[i];
            const bool buffer = p->kind >= NAS_PARAM_MEAN;
            const float *block = buffer ? m->params : nas_elastic_grads(elastic);
            expect_param(p, block + m->slot[s].offset[0], part, buffer ? ".after" : ".grad");
        }
    for (int i = 0; nas_elastic_matrix_at(elastic, i, &matrix); i++) {
        const size_t count = (size_t)(matrix.taps * matrix.taps);
        const float *grads = nas_elastic_matrix_grads(elastic, i);
        char name[64];
        snprintf(name, sizeof name, "matrix.%s.grad", strrchr(matrix.name, '.') + 1);
        const float *expected = golden_floats(file, part, name, count);
        for (size_t k = 0; k < count; k++)
            cr_assert_float_eq(grads[k], expected[k], 1e-4, "%s/%s", part, name);
    }
}

Test(nas_elastic_golden, parts_compute_and_learn_as_in_pytorch)
{
    const nas_forward how = {.train = true, .keep = true, .bn_momentum = 0.1f};
    const nas_backward want = {.weights = true};
    const json_t *parts = golden_cases(file), *part;
    const float *x = golden_floats(file, NULL, "x", BATCH * SIDE * SIDE * IN);
    size_t k;

    cr_assert_gt(json_array_size(parts), 4);
    json_array_foreach(parts, k, part) {
        const char *name = json_string_value(json_object_get(part, "name"));
        const int choice[3] = {3 * (golden_int(part, "kernel") / 2 - 1) +
                               golden_int(part, "mid") / 6 - 2};
        float dy[BATCH * CLASSES];

        read_shared();
        nas_elastic_zero_grads(elastic);
        nas_elastic_load(elastic, choice);
        const float *y = nas_exec_forward(nas_elastic_exec(elastic), choice, BATCH, x, &how);
        cr_expect_lt(test_error(y, golden_floats(file, name, "y", BATCH * CLASSES),
                                BATCH * CLASSES),
                     tolerance, "%s", name);
        memcpy(dy, golden_floats(file, NULL, "dy", BATCH * CLASSES), sizeof dy);
        nas_exec_backward(nas_elastic_exec(elastic), dy, &want);
        nas_elastic_add_grads(elastic, choice);
        nas_elastic_keep_statistics(elastic, choice);
        expect_gradients(name);
    }
}

static void expect_sorted(const char *scope)
{
    const nas_model *m = nas_elastic_shared(elastic);

    for (int i = 0; i < m->slot[0].layer[0].params; i++) {
        const nas_param *p = &m->slot[0].layer[0].param[i];
        expect_param(p, m->params + m->slot[0].offset[0], scope, "");
    }
}

Test(nas_elastic_golden, channels_sort_as_in_pytorch)
{
    const nas_elastic_dims largest = {.expands = 1, .expand = {4}},
                           both = {.expands = 2, .expand = {2, 4}};

    cr_assert_eq(nas_elastic_sort(elastic, &largest, &err), NAS_OK);
    expect_sorted("sorted");
    read_shared();
    cr_assert_eq(nas_elastic_sort(elastic, &both, &err), NAS_OK);
    expect_sorted("bucketed");
}
