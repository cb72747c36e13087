/* Initial values of a supernet: candidates are crops of their largest relative, with the
 * deviation each would have alone, and residual branches start at zero. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nas/model/model.h"

static nas_model *model;

static void open_model(void)
{
    nas_space *space;

    cr_assert_eq(nas_space_load(&space, "proxyless-cifar-0.5", NULL), NAS_OK);
    cr_assert_eq(nas_model_new(&model, space, NULL), NAS_OK);
    nas_model_reset(model, 3);
    nas_space_free(space);
}

static void close_model(void) { nas_model_free(model); }

TestSuite(nas_model_init, .init = open_model, .fini = close_model);

/* Candidates of a block in this space, in the published order. */
enum { K3E3, K3E6, K5E3, K5E6, K7E3, K7E6 };
enum { BLOCK = 3 }; /* the second of its stage: has a shortcut */

typedef struct tensor {
    const nas_param *param;
    const float *values;
} tensor;

static tensor find(int slot, int candidate, const char *name)
{
    const nas_layer *layer = &model->slot[slot].layer[candidate];

    for (int i = 0; i < layer->params; i++)
        if (strcmp(layer->param[i].name, name) == 0)
            return (tensor){&layer->param[i],
                            model->params + model->slot[slot].offset[candidate] +
                                layer->param[i].offset};
    cr_assert_fail("slot %d has no %s", slot, name);
    return (tensor){0};
}

static double deviation(tensor t)
{
    double squares = 0;

    for (size_t i = 0; i < t.param->count; i++)
        squares += (double)t.values[i] * t.values[i];
    return sqrt(squares / (double)t.param->count);
}

Test(nas_model_init, weights_have_the_deviation_of_their_own_shape)
{
    static const char *const names[] = {"expand.weight", "depthwise.weight", "project.weight"};

    for (int c = K3E3; c <= K7E6; c++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const tensor t = find(BLOCK, c, names[i]);
            const double taps = t.param->k * t.param->k;
            const double expected = sqrt(2.0 / (i == 1 ? taps : taps * t.param->out));
            /* at least 576 normal values, of unequal weight in the kernels: 4 sigma are 20 % */
            cr_expect_float_eq(deviation(t), expected, 0.2 * expected, "%d %s: %g, not %g", c,
                               names[i], deviation(t), expected);
        }
}

/* values[i] / source[i] is the same number for all i of a crop. */
static void expect_ratio(double *ratio, float value, float source)
{
    if (isnan(*ratio))
        *ratio = (double)value / source;
    cr_expect_float_eq(value, *ratio * source, 1e-6 * fabs(*ratio * source));
}

Test(nas_model_init, candidates_are_crops_of_the_largest)
{
    const tensor e6 = find(BLOCK, K7E6, "expand.weight"), e3 = find(BLOCK, K3E3, "expand.weight");
    const tensor p6 = find(BLOCK, K7E6, "project.weight"), p3 = find(BLOCK, K5E3, "project.weight");
    const tensor d7 = find(BLOCK, K7E6, "depthwise.weight");
    const tensor d3 = find(BLOCK, K3E3, "depthwise.weight");
    double expand = NAN, project = NAN, middle = NAN;

    for (int r = 0; r < e3.param->in; r++)
        for (int c = 0; c < e3.param->out; c++)
            expect_ratio(&expand, e3.values[r * e3.param->out + c],
                         e6.values[r * e6.param->out + c]);
    for (size_t i = 0; i < p3.param->count; i++)
        expect_ratio(&project, p3.values[i], p6.values[i]);
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 3; x++)
            for (int c = 0; c < d3.param->out; c++)
                expect_ratio(&middle, d3.values[(y * 3 + x) * d3.param->out + c],
                             d7.values[((y + 2) * 7 + x + 2) * d7.param->out + c]);
}

Test(nas_model_init, outer_rings_of_kernels_are_faint)
{
    const tensor d = find(BLOCK, K7E6, "depthwise.weight");
    double squares[4] = {0};
    int taps[4] = {0};

    for (int t = 0; t < 49; t++) {
        const int dy = abs(t / 7 - 3), dx = abs(t % 7 - 3), ring = dy > dx ? dy : dx;
        taps[ring]++;
        for (int c = 0; c < d.param->out; c++)
            squares[ring] += pow(d.values[t * d.param->out + c], 2.0);
    }
    for (int ring = 2; ring < 4; ring++)
        cr_expect_float_eq(sqrt(squares[ring] / taps[ring] * taps[1] / squares[1]),
                           ring == 2 ? 0.3 : 0.09, ring == 2 ? 0.04 : 0.012);
}

Test(nas_model_init, blocks_with_a_shortcut_start_as_the_shortcut)
{
    for (int s = 0; s < model->slots; s++)
        for (int c = 0; c < model->slot[s].count; c++) {
            const nas_layer *layer = &model->slot[s].layer[c];
            if (layer->units == 0 || !layer->unit[layer->units - 1].bn)
                continue;
            const float *gamma = model->params + model->slot[s].offset[c] +
                                 layer->unit[layer->units - 1].gamma;
            for (int i = 0; i < layer->spec.out; i++)
                cr_expect_eq(gamma[i], model->slot[s].shortcut ? 0.0f : 1.0f);
        }
}

Test(nas_model_init, the_same_seed_gives_the_same_bits_and_another_others)
{
    const size_t size = model->floats * sizeof(float);
    float *first = malloc(size);

    memcpy(first, model->params, size);
    nas_model_reset(model, 3);
    cr_expect_eq(memcmp(first, model->params, size), 0);
    nas_model_reset(model, 4);
    cr_expect_neq(memcmp(first, model->params, size), 0);
    free(first);
}
