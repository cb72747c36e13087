/* Dropout, cross entropy and the gradient of a plain activation. */
#include <math.h>
#include <stdint.h>

#include "base/rng.h"
#include "ops/kernel/ref.h"

/* Element i, counted from `first`, is kept if word i%4 of the Philox block (i/4, step) under the
 * key `seed` is at least ratio * 2^32: no state, so that the gradient draws the
 * same mask again, on any number of threads. */
void nas_ref_dropout(size_t first, size_t count, float ratio, unsigned long long seed,
                     unsigned long long step, const float *x, float *y)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const double words = 4294967296.0; /* 2^32 */
    const uint64_t limit = (uint64_t)(ratio * words);
    const float scale = ratio < 1.0f ? 1.0f / (1.0f - ratio) : 0.0f;

#pragma omp parallel for schedule(static)
    for (size_t block = first / 4; block < (first + count + 3) / 4; block++) {
        const size_t begin = 4 * block > first ? 4 * block : first;
        const size_t end = 4 * block + 4 < first + count ? 4 * block + 4 : first + count;
        const uint32_t counter[4] = {(uint32_t)block, (uint32_t)((uint64_t)block >> 32),
                                     (uint32_t)step, (uint32_t)(step >> 32)};
        uint32_t word[4];

        nas_philox4x32(counter, key, word);
        for (size_t i = begin; i < end; i++)
            y[i - first] = word[i % 4] >= limit ? x[i - first] * scale : 0.0f;
    }
}

double nas_ref_cross_entropy(int rows, int classes, const float *logits, const float *targets,
                             float *grad)
{
    double loss = 0;

    for (int r = 0; r < rows; r++) {
        const float *z = logits + (size_t)r * classes, *t = targets + (size_t)r * classes;
        double largest = z[0], sum = 0;

        for (int c = 1; c < classes; c++)
            largest = z[c] > largest ? z[c] : largest;
        for (int c = 0; c < classes; c++)
            sum += exp(z[c] - largest);
        const double log_sum = largest + log(sum);

        for (int c = 0; c < classes; c++) {
            if (t[c] != 0.0f) /* so that a target of 0 forgives a logit of -inf */
                loss += t[c] * (log_sum - z[c]);
            if (grad)
                grad[(size_t)r * classes + c] = (float)((exp(z[c] - log_sum) - t[c]) / rows);
        }
    }
    return loss / rows;
}

void nas_ref_act_backward(size_t count, nas_act act, const float *kept, const float *dy, float *g)
{
    /* Of the activations kept as act(z), only hsigmoid moves the kinks: 0 and 1. */
    if (act == NAS_ACT_HSIGMOID)
        for (size_t i = 0; i < count; i++)
            g[i] = kept[i] > 0.0f && kept[i] < 1.0f ? dy[i] / 6.0f : 0.0f;
    else
        for (size_t i = 0; i < count; i++)
            g[i] = dy[i] * nas_act_slope(act, kept[i]);
}
