/* Private to this folder: the samples of one key, and what they say. */
#ifndef NAS_LATENCY_PROFILE_SAMPLES_H
#define NAS_LATENCY_PROFILE_SAMPLES_H

#include "latency/table/table.h"

typedef struct nas_samples {
    int count, capacity;
    double *ms; /* [2 * capacity]: in the order in which they were taken; room to work */
} nas_samples;

nas_status nas_samples__add(nas_samples *samples, double ms, nas_err *err);
void nas_samples__fini(nas_samples *samples);

/** Mean and deviation of the samples within 3 deviations (by the median absolute deviation)
 * of the median, median and 95 % quantile of all.  count >= 1. */
nas_latency_stat nas_samples__stat(const nas_samples *samples);
/** Half the 95 % confidence interval of the mean, as a part of it. */
double nas_samples__interval(const nas_samples *samples);
/** Median of the younger half over that of the older half; 1 for fewer than 4 samples. */
double nas_samples__drift(const nas_samples *samples);

#endif
