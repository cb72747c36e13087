/* Rounding to levels, and its gradient. */
#include "ops/layer/quant.h"

#include <stdint.h>

#include "ops/kernel/int8_common.h"

nas_q8_grid nas_quant_grid(const nas_quant *q)
{
    const int levels = (1 << (q->full_wave ? q->input_bits - 1 : q->input_bits)) - 1;

    return (nas_q8_grid){.lo = q->full_wave ? -q->range : 0.0f, .hi = q->range,
                         .step = q->range / (float)levels, .inverse = (float)levels / q->range,
                         .zero = q->full_wave ? 128 : 0};
}

void nas_quant_round(const nas_q8_grid *grid, size_t count, const float *x, float *y)
{
    const nas_q8_grid g = *grid;

    /* nas_q8_round, but that the code stays a float */
#pragma omp parallel for simd if (count > 32768)
    for (size_t i = 0; i < count; i++) {
        const float low = x[i] > g.lo ? x[i] : g.lo;
        const float t = (low < g.hi ? low : g.hi) * g.inverse + NAS_Q8_MAGIC;
        y[i] = (t - NAS_Q8_MAGIC) * g.step;
    }
}

double nas_quant_pass(const nas_quant *q, size_t count, const float *x, float *g)
{
    enum { PIECE = 1 << 14, PIECES = 64 }; /* fixed: sums are added in one order */
    const float hi = q->range, lo = q->full_wave ? -hi : 0.0f, below = q->full_wave ? -1.0f : 0.0f;
    double total = 0.0;

    for (size_t first = 0; first < count; first += (size_t)PIECE * PIECES) {
        double sum[PIECES] = {0};

#pragma omp parallel for schedule(static)
        for (int piece = 0; piece < PIECES; piece++) {
            size_t i = first + (size_t)piece * PIECE;
            const size_t end = i + PIECE < count ? i + PIECE : count;
            for (; i < end; i++) {
                if (x[i] > hi)
                    sum[piece] += (double)g[i];
                else if (x[i] < lo)
                    sum[piece] += (double)(below * g[i]);
                else
                    continue;
                g[i] = 0.0f;
            }
        }
        for (int piece = 0; piece < PIECES; piece++)
            total += sum[piece];
    }
    return total;
}
