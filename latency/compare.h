/* Two tables against each other: entry by entry, and by the networks that they price. */
#ifndef NAS_LATENCY_COMPARE_H
#define NAS_LATENCY_COMPARE_H

#include "latency/table/table.h"

/** b / a of many pairs; NAN where there are none. */
typedef struct nas_latency_ratio {
    double mean;   /* geometric                                              */
    double spread; /* geometric standard deviation: 1 if all ratios are alike */
    double least, median, most;
    double spearman; /* of the pairs                                         */
} nas_latency_ratio;

typedef struct nas_latency_change {
    const char *key; /* borrowed from table a                      */
    double a_ms, b_ms, ratio; /* ratio: b / a, NAN if one of them is 0 */
} nas_latency_change;

typedef struct nas_latency_diff {
    int common, only_a, only_b;
    nas_latency_change *changes; /* [common], the largest ratio first, NAN last */
    const char **missing;        /* [only_a + only_b] keys of one table alone, a's first, each
                                    in the order of its table; borrowed                       */
    nas_latency_ratio ratio;     /* of the common entries; those without a ratio are left out */
    double level;                /* time of the probe, b / a: how much slower the machine was; NAN
                                    if a table has none, or it was of another network or threads */
} nas_latency_diff;

/** The ratios over `level`: what is left of the difference at one speed of the machine. */
nas_latency_ratio nas_latency_ratio_over(const nas_latency_ratio *ratio, double level);

/** Entries of two tables, which must outlive `out` (yours, nas_latency_diff_fini).  NAS_E_NOMEM. */
nas_status nas_latency_diff_init(nas_latency_diff *out, const nas_latency_table *a,
                                 const nas_latency_table *b, nas_err *err);
void nas_latency_diff_fini(nas_latency_diff *diff);

/** Prices `samples` (at least 1) networks drawn from `space`, at its image size, by both tables.
 * NAS_E_INFEASIBLE names keys that a table lacks; NAS_E_NOMEM. */
nas_status nas_latency_diff_networks(nas_latency_ratio *out, const nas_latency_table *a,
                                     const nas_latency_table *b, const nas_space *space,
                                     int samples, uint64_t seed, nas_err *err);

#endif
