/* Robust statistics: a shared machine interrupts now and then, always to the slow side. */
#include "latency/profile/samples.h"

#include <math.h>
#include <stdlib.h>

#include "base/stats.h"

nas_status nas_samples__add(nas_samples *samples, double ms, nas_err *err)
{
    if (samples->count == samples->capacity) {
        const int capacity = samples->capacity ? 2 * samples->capacity : 64;
        double *grown = realloc(samples->ms, 2 * (size_t)capacity * sizeof *grown);

        if (grown == NULL)
            return nas_fail(err, NAS_E_NOMEM, "profile: no memory for %d samples", capacity);
        samples->ms = grown;
        samples->capacity = capacity;
    }
    samples->ms[samples->count++] = ms;
    return NAS_OK;
}

void nas_samples__fini(nas_samples *samples)
{
    free(samples->ms);
    *samples = (nas_samples){0};
}

/* The samples within 3 deviations of the median, one after another in `kept`. */
static int keep_usual(const nas_samples *samples, double median, double *kept)
{
    const double normal = 1.4826; /* standard deviation over median absolute deviation */
    int count = 0;

    for (int i = 0; i < samples->count; i++)
        kept[i] = fabs(samples->ms[i] - median);
    const double limit = 3.0 * normal * nas_quantile(kept, samples->count, 0.5);
    for (int i = 0; i < samples->count; i++)
        if (fabs(samples->ms[i] - median) <= limit)
            kept[count++] = samples->ms[i];
    return count;
}

nas_latency_stat nas_samples__stat(const nas_samples *samples)
{
    const double median = nas_quantile(samples->ms, samples->count, 0.5);
    double *kept = samples->ms + samples->capacity;
    const int count = keep_usual(samples, median, kept);

    return (nas_latency_stat){.count = samples->count, .mean = nas_mean(kept, count),
                              .std = nas_std(kept, count), .median = median,
                              .p95 = nas_quantile(samples->ms, samples->count, 0.95)};
}

double nas_samples__interval(const nas_samples *samples)
{
    const nas_latency_stat stat = nas_samples__stat(samples);

    return stat.mean > 0.0 ? 1.96 * stat.std / sqrt(samples->count) / stat.mean : 0.0;
}

double nas_samples__drift(const nas_samples *samples)
{
    const int half = samples->count / 2;

    if (half < 2)
        return 1.0;
    return nas_quantile(samples->ms + half, samples->count - half, 0.5) /
           nas_quantile(samples->ms, half, 0.5);
}
