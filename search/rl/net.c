/* Forward and backward of a small dense network over the engine's kernels. */
#include "search/rl/net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernel/kernel.h"

nas_rl__net nas_rl__net_make(int in, int hidden, int out, bool sigmoid)
{
    nas_rl__net net = {.width = {in, hidden, hidden, out}, .sigmoid = sigmoid};

    for (int i = 0; i < NAS_RL__LAYERS; i++) {
        net.weight[i] = net.floats;
        net.floats += (size_t)net.width[i] * (size_t)net.width[i + 1];
        net.bias[i] = net.floats;
        net.floats += (size_t)net.width[i + 1];
    }
    return net;
}

static float draw(nas_rng *rng, int inputs)
{
    return (float)((2.0 * nas_rng_uniform(rng) - 1.0) / sqrt(inputs));
}

void nas_rl__net_reset(const nas_rl__net *net, int split, nas_rng *rng, float *params)
{
    for (int i = 0; i < NAS_RL__LAYERS; i++) {
        const int in = net->width[i], out = net->width[i + 1], first = i == 0 ? split : in;

        for (int r = 0; r < in; r++)
            for (int c = 0; c < out; c++)
                params[net->weight[i] + (size_t)(r * out + c)] =
                    draw(rng, r < first ? first : in - first);
        for (int c = 0; c < out; c++)
            params[net->bias[i] + (size_t)c] =
                draw(rng, first) + (first < in ? draw(rng, in - first) : 0.0f);
    }
}

bool nas_rl__tape_init(nas_rl__tape *tape, const nas_rl__net *net, int rows)
{
    int widest = 0;
    bool whole = true;

    for (int i = 0; i <= NAS_RL__LAYERS; i++) {
        widest = net->width[i] > widest ? net->width[i] : widest;
        tape->y[i] = malloc((size_t)rows * (size_t)net->width[i] * sizeof(float));
        whole &= tape->y[i] != NULL;
    }
    for (int i = 0; i < 2; i++) {
        tape->delta[i] = malloc((size_t)rows * (size_t)widest * sizeof(float));
        whole &= tape->delta[i] != NULL;
    }
    return whole;
}

void nas_rl__tape_fini(nas_rl__tape *tape)
{
    for (int i = 0; i <= NAS_RL__LAYERS; i++)
        free(tape->y[i]);
    free(tape->delta[0]);
    free(tape->delta[1]);
}

void nas_rl__net_forward(const nas_rl__net *net, const float *params, int rows,
                         const nas_rl__tape *tape)
{
    const int last = NAS_RL__LAYERS - 1;

    for (int i = 0; i <= last; i++)
        nas_kernels_get()->linear(rows, net->width[i], net->width[i + 1], tape->y[i],
                                  params + net->weight[i], params + net->bias[i],
                                  i < last ? NAS_ACT_RELU : NAS_ACT_NONE, tape->y[i + 1]);
    for (int i = 0; net->sigmoid && i < rows * net->width[last + 1]; i++)
        tape->y[last + 1][i] = 1.0f / (1.0f + expf(-tape->y[last + 1][i]));
}

/* What the sigmoid is y of; at most 16 where y is rounded to 1. */
static float argument_of(float y)
{
    return logf((y + 1e-7f) / (1.0f - y + 1e-7f));
}

void nas_rl__net_backward(const nas_rl__net *net, const float *params, int rows,
                          const nas_rl__tape *tape, float restraint, float *grads, float *dx)
{
    const nas_kernels *k = nas_kernels_get();
    const float *y = tape->y[NAS_RL__LAYERS];
    float *delta = tape->delta[0], *before = tape->delta[1];

    for (int i = 0; net->sigmoid && i < rows * net->width[NAS_RL__LAYERS]; i++)
        delta[i] = delta[i] * y[i] * (1.0f - y[i]) + restraint * argument_of(y[i]);
    if (grads != NULL)
        memset(grads, 0, net->floats * sizeof *grads);
    for (int i = NAS_RL__LAYERS - 1; i >= 0; i--) {
        float *to = i > 0 ? before : dx, *held = delta;

        k->linear_backward(rows, net->width[i], net->width[i + 1], tape->y[i],
                           params + net->weight[i], delta, to,
                           grads ? grads + net->weight[i] : NULL,
                           grads ? grads + net->bias[i] : NULL);
        if (i > 0)
            k->act_backward((size_t)rows * (size_t)net->width[i], NAS_ACT_RELU, tape->y[i], before,
                            before);
        delta = before;
        before = held;
    }
}
