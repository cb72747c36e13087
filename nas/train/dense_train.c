/* Forward, backward and Adam over dense layers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "nas/train/dense.h"
#include "ops/kernel/kernel.h"

static size_t part_size(const nas_dense *net, int layer, int part)
{
    return (part == 0 ? (size_t)net->width[layer] : 1) * (size_t)net->width[layer + 1];
}

static float *part_of(const nas_dense *net, int layer, int part)
{
    return part == 0 ? net->weight[layer] : net->bias[layer];
}

nas_status nas_dense_trainer_init(nas_dense_trainer *t, nas_dense *net, int rows, nas_err *err)
{
    size_t widest = (size_t)net->width[0];
    bool whole = true;

    *t = (nas_dense_trainer){.net = net};
    for (int i = 0; i <= net->layers; i++) {
        const size_t width = (size_t)net->width[i];

        widest = width > widest ? width : widest;
        whole &= (t->kept[i] = malloc((size_t)rows * width * sizeof(float))) != NULL;
        for (int part = 0; part < 2 && i < net->layers; part++) {
            const size_t size = part_size(net, i, part);

            whole &= (t->grad[i][part] = malloc(size * sizeof(float))) != NULL;
            for (int m = 0; m < 2; m++)
                whole &= (t->moment[i][part][m] = calloc(size, sizeof(float))) != NULL;
        }
    }
    for (int d = 0; d < 2; d++)
        whole &= (t->delta[d] = malloc((size_t)rows * widest * sizeof(float))) != NULL;
    return whole ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "predictor: out of memory");
}

void nas_dense_trainer_fini(nas_dense_trainer *t)
{
    for (int i = 0; i <= NAS_DENSE_MAX_LAYERS; i++) {
        free(t->kept[i]);
        for (int part = 0; part < 2 && i < NAS_DENSE_MAX_LAYERS; part++) {
            free(t->grad[i][part]);
            free(t->moment[i][part][0]);
            free(t->moment[i][part][1]);
        }
    }
    free(t->delta[0]);
    free(t->delta[1]);
    *t = (nas_dense_trainer){0};
}

void nas_dense_draw(nas_dense *net, uint64_t seed, const char *stream)
{
    for (int i = 0; i < net->layers; i++) {
        const double bound = 1.0 / sqrt(net->width[i]);
        nas_rng rng;

        nas_rng_init(&rng, seed, stream, (uint64_t)i);
        for (int part = 0; part < 2; part++)
            for (size_t k = 0; k < part_size(net, i, part); k++)
                part_of(net, i, part)[k] = (float)(bound * (2.0 * nas_rng_uniform(&rng) - 1.0));
    }
}

void nas_dense_forward(nas_dense_trainer *t, int rows)
{
    const nas_dense *net = t->net;

    for (int i = 0; i < net->layers; i++)
        nas_kernels_get()->linear(rows, net->width[i], net->width[i + 1], t->kept[i],
                                  net->weight[i], net->bias[i],
                                  i < net->layers - 1 ? NAS_ACT_RELU : NAS_ACT_NONE,
                                  t->kept[i + 1]);
}

void nas_dense_backward(nas_dense_trainer *t, int rows)
{
    const nas_kernels *k = nas_kernels_get();
    const nas_dense *net = t->net;
    float *delta = t->delta[0], *before = t->delta[1];

    for (int i = net->layers - 1; i >= 0; i--) {
        float *held = delta;

        for (int part = 0; part < 2; part++)
            memset(t->grad[i][part], 0, part_size(net, i, part) * sizeof(float));
        k->linear_backward(rows, net->width[i], net->width[i + 1], t->kept[i], net->weight[i],
                           delta, i > 0 ? before : NULL, t->grad[i][0], t->grad[i][1]);
        if (i > 0)
            k->act_backward((size_t)rows * (size_t)net->width[i], NAS_ACT_RELU, t->kept[i], before,
                            before);
        delta = before;
        before = held;
    }
}

void nas_dense_step(nas_dense_trainer *t, double lr, double decay)
{
    t->step++;
    for (int i = 0; i < t->net->layers; i++)
        for (int part = 0; part < 2; part++)
            nas_kernels_get()->adam(part_size(t->net, i, part), part_of(t->net, i, part),
                                    t->grad[i][part], t->moment[i][part][0],
                                    t->moment[i][part][1], (float)lr, 0.9f, 0.999f, 1e-8f,
                                    part == 0 ? (float)decay : 0.0f, t->step);
}
