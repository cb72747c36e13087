/* Linear levels: bits of an action, ranges, steps. */
#include "nas/quant/levels.h"

#include <math.h>
#include <stdlib.h>

int nas_quant_bits(double action, int least, int most)
{
    const double bits = nearbyint((most - least + 1) * action + least - 0.5);

    return bits < least ? least : bits > most ? most : (int)bits;
}

/* Zeros are exact whatever the limit.  Behind a ReLU they are half of all: counted, they would
 * pay for every group wider than a bin, and the limit would end near zero. */
static bool counts(double v) { return v > 0.0 && isfinite(v); }

nas_status nas_histogram_init(nas_histogram *out, const float *values, size_t count, nas_err *err)
{
    double seen = 0.0;

    *out = (nas_histogram){0};
    for (size_t i = 0; i < count; i++) {
        const double v = fabs((double)values[i]);
        seen += counts(v);
        if (counts(v) && v > out->most)
            out->most = v;
    }
    const double root = floor(sqrt(seen));
    out->bins = root < 1 ? 1 : root > NAS_HISTOGRAM_BINS ? NAS_HISTOGRAM_BINS : (int)root;
    out->count = calloc((size_t)out->bins, sizeof *out->count);
    if (out->count == NULL)
        return nas_fail(err, NAS_E_NOMEM, "histogram: out of memory");
    for (size_t i = 0; i < count; i++) {
        const double v = fabs((double)values[i]), at = v / out->most * out->bins;
        if (counts(v))
            out->count[at >= out->bins ? out->bins - 1 : (int)at]++;
    }
    return NAS_OK;
}

void nas_histogram_fini(nas_histogram *histogram)
{
    free(histogram->count);
    *histogram = (nas_histogram){0};
}

/* Divergence of the first `kept` bins, the rest counted into the last of them, to the same bins
 * shared out evenly, where they are not empty, within `levels` groups. */
static double divergence(const nas_histogram *h, int kept, int levels, double rest, double total)
{
    const double inside = total - rest;
    double sum = 0.0;

    for (int g = 0; g < levels; g++) {
        const int begin = (int)((int64_t)g * kept / levels);
        const int end = (int)((int64_t)(g + 1) * kept / levels);
        double group = 0.0;
        int filled = 0;

        for (int i = begin; i < end; i++) {
            group += h->count[i];
            filled += h->count[i] > 0.0;
        }
        for (int i = begin; i < end; i++) {
            const double p = (h->count[i] + (i == kept - 1 ? rest : 0.0)) / total;
            const double q = h->count[i] > 0.0 ? group / filled / inside : 1e-10;
            if (p > 0.0)
                sum += p * log(p / q);
        }
    }
    return sum;
}

double nas_histogram_threshold(const nas_histogram *h, int levels)
{
    double total = 0.0, seen = 0.0, least = INFINITY;
    int best = h->bins;

    for (int i = 0; i < h->bins; i++)
        total += h->count[i];
    for (int kept = 1; kept <= h->bins && total > 0.0; kept++) {
        seen += h->count[kept - 1];
        if (kept < levels || seen == 0.0)
            continue;
        const double d = divergence(h, kept, levels, total - seen, total);
        if (d < least) {
            least = d;
            best = kept;
        }
    }
    return h->most * best / h->bins;
}

/* The share of their maximum at which normalised weights are cut best. */
static nas_status best_limit(const float *w, size_t rows, size_t out, const float *most, int levels,
                             double *limit, nas_err *err)
{
    nas_histogram histogram = {0};
    float *share = malloc(rows * out * sizeof *share);
    nas_status status;

    if (share == NULL)
        return nas_fail(err, NAS_E_NOMEM, "weights: out of memory");
    for (size_t i = 0; i < rows * out; i++)
        share[i] = most[i % out] > 0.0f ? w[i] / most[i % out] : 0.0f;
    status = nas_histogram_init(&histogram, share, rows * out, err);
    if (status == NAS_OK && histogram.most > 0.0)
        *limit = nas_histogram_threshold(&histogram, levels);
    nas_histogram_fini(&histogram);
    free(share);
    return status;
}

nas_status nas_quant_steps(const float *w, size_t rows, size_t out, int bits, bool per_channel,
                           bool kl, float *step, nas_err *err)
{
    const int levels = (1 << (bits - 1)) - 1;
    double limit = 1.0;
    float all = 0.0f;
    nas_status status = NAS_OK;

    for (size_t c = 0; c < out; c++)
        step[c] = 0.0f;
    for (size_t i = 0; i < rows * out; i++)
        step[i % out] = fmaxf(step[i % out], fabsf(w[i]));
    for (size_t c = 0; c < out; c++)
        all = fmaxf(all, step[c]);
    for (size_t c = 0; c < out && !per_channel; c++)
        step[c] = all;
    if (kl && bits < 5)
        status = best_limit(w, rows, out, step, levels, &limit, err);
    for (size_t c = 0; c < out; c++)
        step[c] = (float)(limit * (double)step[c] / levels);
    return status;
}

void nas_quant_weights(const float *w, size_t rows, size_t out, int bits, const float *step,
                       float *to)
{
    const float most = (float)((1 << (bits - 1)) - 1);

    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < out; c++, w++, to++) {
            const float code = step[c] > 0.0f ? rintf(*w / step[c]) : 0.0f;
            *to = step[c] * fmaxf(-most, fminf(code, most));
        }
}
