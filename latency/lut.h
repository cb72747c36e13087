/* A space's latencies by slot and candidate: what the search asks for in every step.  The same
 * arithmetic serves whatever else blocks cost and networks sum up; `ms` are its units then. */
#ifndef NAS_LATENCY_LUT_H
#define NAS_LATENCY_LUT_H

#include "latency/table/table.h"

typedef struct nas_latency_lut {
    int slots;       /* as the space                                              */
    int *candidates; /* [slots]                                                   */
    double **ms;     /* [slots][candidates]: 0 for zero and for what has no key   */
    double fixed_ms; /* sum over the slots with one candidate                     */
} nas_latency_lut;

/** Looks up every candidate of `space` at image_size (0: its own).  `*out` is yours.
 * NAS_E_INFEASIBLE names the keys that the table lacks; NAS_E_NOMEM. */
nas_status nas_latency_lut_new(nas_latency_lut **out, const nas_latency_table *table,
                               const nas_space *space, int image_size, nas_err *err);
/** One of any cost: value[candidate], slot after slot as in `space` (copied); `*out` is yours.
 * NAS_E_NOMEM. */
nas_status nas_latency_lut_of(nas_latency_lut **out, const nas_space *space, const double *value,
                              nas_err *err);
void nas_latency_lut_free(nas_latency_lut *lut);

/** Milliseconds of the network that takes choice[slot] in every slot. */
double nas_latency_lut_total(const nas_latency_lut *lut, const int *choice);

/** The mean of one slot under probabilities p[candidates]: sum_j p_j t_j. */
double nas_latency_lut_slot(const nas_latency_lut *lut, int slot, const double *p);

/** Its gradient to the alphas behind p = softmax(alpha), times dloss = dL/dE:
 * ADDS dloss * p_i (t_i - sum_j p_j t_j) to grad[candidates].  A p that is a softmax over
 * two candidates and 0 elsewhere (mode `two`) gives exactly 0 elsewhere.
 * Source: Cai et al. 2019, ProxylessNAS, section 3.2. */
void nas_latency_lut_slot_grad(const nas_latency_lut *lut, int slot, const double *p,
                               double dloss, double *grad);

/** Expected latency E: fixed_ms plus the mean of every slot with several candidates;
 * p[slot] is read for those only. */
double nas_latency_lut_expected(const nas_latency_lut *lut, const double *const *p);

/** The fastest and the slowest network of the space that the LUT was made for, min_depth
 * respected.  fastest[slots] and slowest[slots] (either may be NULL) get their choices. */
void nas_latency_lut_range(const nas_latency_lut *lut, const nas_space *space, double *min_ms,
                           double *max_ms, int *fastest, int *slowest);

#endif
