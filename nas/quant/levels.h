/* Rounding of weights and the choice of ranges: arithmetic on arrays, no network.
 *
 * Source  Wang et al. 2019, HAQ, arXiv:1811.08886, sections 3.3 and 3.4; Migacz 2017, "8-bit
 *         inference with TensorRT" (the divergence search). */
#ifndef NAS_NAS_QUANT_LEVELS_H
#define NAS_NAS_QUANT_LEVELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "base/status.h"

/** The bits that an action in [0, 1] means: round((most - least + 1) * action + least - 0.5),
 * halves to even, within least..most. */
int nas_quant_bits(double action, int least, int most);

/** Counts of |values| that are not 0, in equal bins from 0 to their maximum. */
typedef struct nas_histogram {
    double most;      /* the maximum */
    int bins;
    double *count;    /* [bins] */
} nas_histogram;

enum { NAS_HISTOGRAM_BINS = 1024 };

/** Of min(sqrt(values counted), NAS_HISTOGRAM_BINS) bins; yours: nas_histogram_fini.  Zeros and
 * values that are not finite are passed over.  NAS_E_NOMEM. */
nas_status nas_histogram_init(nas_histogram *out, const float *values, size_t count, nas_err *err);
void nas_histogram_fini(nas_histogram *histogram);

/** The upper limit whose rounding to `levels` steps above 0 changes the distribution least: the
 * least Kullback-Leibler divergence of the distribution cut there to the one rounded to `levels`
 * groups of bins.  The maximum, if there are not more bins than levels. */
double nas_histogram_threshold(const nas_histogram *histogram, int levels);

/** Steps of weights w[rows][out], one a column, for `bits` bits (2..8):
 *    step[c] = limit * m[c] / (2^(bits-1) - 1),  m[c] = max |w| of the column or, without
 *    `per_channel`, of all,
 * where limit is 1, or with `kl` and fewer than 5 bits (as in HAQ) the threshold of all
 * |w| / m[c].  A column of zeros gets step 0.  NAS_E_NOMEM. */
nas_status nas_quant_steps(const float *w, size_t rows, size_t out, int bits, bool per_channel,
                           bool kl, float *step, nas_err *err);
/** to[r][c] = step[c] * clamp(round(w / step[c]), +-(2^(bits-1) - 1)); to may be w. */
void nas_quant_weights(const float *w, size_t rows, size_t out, int bits, const float *step,
                       float *to);

/** Weight sharing: 2^bits centres of `count` values by k-means++ (one start, from `rng`; of more
 * than 65,536 values it sees equally spaced ones) and `iterations` of Lloyd's; each value becomes
 * the mean of its cluster, whose number is in cluster[count].  A centre that loses its values
 * stays where it is; of fewer different values than centres, each is its own.  NAS_E_NOMEM. */
nas_status nas_quant_share(float *values, size_t count, int bits, int iterations, nas_rng *rng,
                           uint8_t *cluster, nas_err *err);
/** Each value becomes the mean of its cluster's values now: what keeps weights shared in training
 * (Han et al. 2016, arXiv:1510.00149, section 3). */
void nas_quant_average(float *values, size_t count, const uint8_t *cluster);

#endif
