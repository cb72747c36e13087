/* Sampling from, and updating of, the architecture parameters. */
#include "search/proxyless/alphas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

nas_status nas_alphas_init(nas_alphas *alphas, const nas_space *space, uint64_t seed, nas_err *err)
{
    nas_rng rng;

    *alphas = (nas_alphas){.slots = space->count};
    for (int s = 0; s < space->count; s++)
        alphas->total += space->slots[s].count;
    const size_t slots = (size_t)alphas->slots, total = (size_t)alphas->total;
    alphas->count = calloc(slots, sizeof *alphas->count);
    alphas->first = calloc(slots, sizeof *alphas->first);
    alphas->steps = calloc(slots, sizeof *alphas->steps);
    alphas->alpha = calloc(5 * total, sizeof *alphas->alpha);
    if (!alphas->count || !alphas->first || !alphas->steps || !alphas->alpha) {
        nas_alphas_fini(alphas);
        return nas_fail(err, NAS_E_NOMEM, "architecture parameters: out of memory");
    }
    alphas->m = alphas->alpha + total;
    alphas->v = alphas->m + total;
    alphas->p = alphas->v + total;
    alphas->grad = alphas->p + total;
    for (int s = 0, first = 0; s < space->count; first += alphas->count[s], s++) {
        alphas->count[s] = space->slots[s].count;
        alphas->first[s] = first;
    }
    nas_rng_init(&rng, seed, "alphas", 0);
    for (size_t i = 0; i < total; i++)
        alphas->alpha[i] = 1e-3 * nas_rng_normal(&rng);
    nas_alphas_softmax(alphas);
    return NAS_OK;
}

void nas_alphas_fini(nas_alphas *alphas)
{
    free(alphas->count);
    free(alphas->first);
    free(alphas->steps);
    free(alphas->alpha);
    *alphas = (nas_alphas){0};
}

static void softmax(const double *alpha, int n, double *p)
{
    double largest = alpha[0], sum = 0.0;

    for (int i = 1; i < n; i++)
        largest = fmax(largest, alpha[i]);
    for (int i = 0; i < n; i++)
        sum += p[i] = exp(alpha[i] - largest);
    for (int i = 0; i < n; i++)
        p[i] /= sum;
}

void nas_alphas_softmax(nas_alphas *alphas)
{
    for (int s = 0; s < alphas->slots; s++)
        softmax(alphas->alpha + alphas->first[s], alphas->count[s], alphas->p + alphas->first[s]);
}

static void softmax_of_two(double a, double b, double q[2])
{
    const double pair[2] = {a, b};

    softmax(pair, 2, q);
}

void nas_alphas_sample(const nas_alphas *alphas, nas_rng *rng, nas_path *path)
{
    for (int s = 0; s < alphas->slots; s++) {
        const int n = alphas->count[s];
        path->choice[s] =
            n > 1 ? nas_rng_categorical(rng, alphas->p + alphas->first[s], n) : 0;
        path->other[s] = -1;
        path->gates[s] = 0;
    }
}

static void sample_two(const nas_alphas *alphas, int s, nas_rng *rng, nas_path *path)
{
    const double *p = alphas->p + alphas->first[s], *alpha = alphas->alpha + alphas->first[s];
    const int n = alphas->count[s];
    double rest[NAS_MAX_CANDIDATES], q[2];
    int pair[2];

    pair[0] = nas_rng_categorical(rng, p, n);
    double left = 0.0;
    for (int i = 0; i < n; i++)
        left += rest[i] = i == pair[0] ? 0.0 : p[i];
    for (int i = 0; i < n; i++) /* p is so peaked that nothing is left: any other one */
        rest[i] = left > 0.0 ? rest[i] / left : i == pair[0] ? 0.0 : 1.0 / (n - 1);
    pair[1] = nas_rng_categorical(rng, rest, n);
    softmax_of_two(alpha[pair[0]], alpha[pair[1]], q);
    const int active = nas_rng_categorical(rng, q, 2);
    path->choice[s] = pair[active];
    path->other[s] = pair[1 - active];
    path->gates[s] = (uint64_t)1 << pair[0] | (uint64_t)1 << pair[1];
}

void nas_alphas_sample_arch(const nas_alphas *alphas, nas_arch_mode mode, nas_rng *rng,
                            nas_path *path)
{
    if (mode == NAS_ARCH_FULL)
        nas_alphas_sample(alphas, rng, path);
    for (int s = 0; s < alphas->slots; s++) {
        const int n = alphas->count[s];
        if (n == 1) {
            path->choice[s] = 0;
            path->other[s] = -1;
            path->gates[s] = 0;
        } else if (mode == NAS_ARCH_FULL) {
            path->gates[s] = ~(uint64_t)0 >> (64 - n);
        } else {
            sample_two(alphas, s, rng, path);
        }
    }
}

void nas_alphas_step_probabilities(const nas_alphas *alphas, const nas_path *path,
                                   nas_arch_mode mode, double *q)
{
    memcpy(q, alphas->p, (size_t)alphas->total * sizeof *q);
    for (int s = 0; mode == NAS_ARCH_TWO && s < alphas->slots; s++) {
        const double *alpha = alphas->alpha + alphas->first[s];
        double *own = q + alphas->first[s], pair[2];
        if (alphas->count[s] == 1)
            continue;
        softmax_of_two(alpha[path->choice[s]], alpha[path->other[s]], pair);
        memset(own, 0, (size_t)alphas->count[s] * sizeof *own);
        own[path->choice[s]] = pair[0];
        own[path->other[s]] = pair[1];
    }
}

void nas_alphas_add_gate_gradient(nas_alphas *alphas, const double *q, const double *gate_grad,
                                  double scale)
{
    for (int s = 0; s < alphas->slots; s++) {
        const double *g = gate_grad + (size_t)s * NAS_MAX_CANDIDATES;
        const double *own = q + alphas->first[s];
        double mean = 0.0;

        if (alphas->count[s] == 1)
            continue;
        for (int i = 0; i < alphas->count[s]; i++)
            if (own[i] > 0.0)
                mean += g[i] * own[i];
        for (int i = 0; i < alphas->count[s]; i++)
            if (own[i] > 0.0)
                alphas->grad[alphas->first[s] + i] += scale * own[i] * (g[i] - mean);
    }
}

void nas_alphas_adam(nas_alphas *alphas, double lr, double beta1, double beta2, double eps)
{
    for (int s = 0; s < alphas->slots; s++) {
        if (alphas->count[s] == 1)
            continue;
        const double t = (double)++alphas->steps[s];
        const double c1 = 1.0 - pow(beta1, t), c2 = 1.0 - pow(beta2, t);
        for (int i = alphas->first[s]; i < alphas->first[s] + alphas->count[s]; i++) {
            const double g = alphas->grad[i];
            alphas->m[i] = beta1 * alphas->m[i] + (1.0 - beta1) * g;
            alphas->v[i] = beta2 * alphas->v[i] + (1.0 - beta2) * g * g;
            alphas->alpha[i] -= lr * (alphas->m[i] / c1) / (sqrt(alphas->v[i] / c2) + eps);
        }
    }
    memset(alphas->grad, 0, (size_t)alphas->total * sizeof *alphas->grad);
    nas_alphas_softmax(alphas);
}

void nas_alphas_rescale(nas_alphas *alphas, const nas_path *path, const double *before)
{
    for (int s = 0; s < alphas->slots; s++) {
        if (path->other[s] < 0)
            continue;
        const int a = alphas->first[s] + path->choice[s], b = alphas->first[s] + path->other[s];
        const double shift = log(exp(alphas->alpha[a]) + exp(alphas->alpha[b])) -
                             log(exp(before[a]) + exp(before[b]));
        alphas->alpha[a] -= shift;
        alphas->alpha[b] -= shift;
    }
    nas_alphas_softmax(alphas);
}

double nas_alphas_entropy(const nas_alphas *alphas)
{
    double sum = 0.0;
    int slots = 0;

    for (int s = 0; s < alphas->slots; s++) {
        slots += alphas->count[s] > 1;
        for (int i = alphas->first[s]; i < alphas->first[s] + alphas->count[s]; i++)
            if (alphas->p[i] > 0.0)
                sum -= alphas->p[i] * log(alphas->p[i]);
    }
    return slots > 0 ? sum / slots : 0.0;
}

void nas_alphas_argmax(const nas_alphas *alphas, int *choice)
{
    for (int s = 0; s < alphas->slots; s++) {
        const double *p = alphas->p + alphas->first[s];
        choice[s] = 0;
        for (int i = 1; i < alphas->count[s]; i++)
            if (p[i] > p[choice[s]])
                choice[s] = i;
    }
}
