/* Architecture parameters: one alpha a candidate of every slot that has a choice,
 * what is drawn from them, and how gate gradients move them.
 *
 * Source: Cai, Zhu, Han 2019, ProxylessNAS, section 3 and its public code. Fixed on
 * purpose (docs/papers.md): a block whose sampled operation is zero gets its gradient like any
 * other, since the gates of its other candidates can be evaluated all the same. */
#ifndef NAS_SEARCH_PROXYLESS_ALPHAS_H
#define NAS_SEARCH_PROXYLESS_ALPHAS_H

#include <stdint.h>

#include "nas/space/space.h"

typedef enum nas_arch_mode { NAS_ARCH_TWO, NAS_ARCH_FULL } nas_arch_mode;

/** Arrays over all candidates, slot after slot; slot s begins at first[s]. */
typedef struct nas_alphas {
    int slots, total;
    int *count, *first;      /* [slots]; a slot with count 1 is never drawn             */
    double *alpha, *m, *v;   /* [total] parameters and Adam's moments                   */
    double *p;               /* [total] softmax per slot, by nas_alphas_softmax          */
    double *grad;            /* [total]                                                 */
    int64_t *steps;          /* [slots] Adam's own count of each slot                   */
} nas_alphas;

/** Alphas drawn from N(0, 1e-3), stream "alphas". NAS_E_NOMEM. */
nas_status nas_alphas_init(nas_alphas *alphas, const nas_space *space, uint64_t seed, nas_err *err);
void nas_alphas_fini(nas_alphas *alphas);

/** p = softmax(alpha), per slot. */
void nas_alphas_softmax(nas_alphas *alphas);

/** A path drawn for one step. */
typedef struct nas_path {
    int choice[NAS_MAX_SLOTS];
    int other[NAS_MAX_SLOTS];       /* mode two: the second index drawn, -1 otherwise */
    uint64_t gates[NAS_MAX_SLOTS];  /* candidates whose gate gradient the step needs  */
} nas_path;

/** choice ~ p in every slot (weight steps, REINFORCE); gates are all zero. */
void nas_alphas_sample(const nas_alphas *alphas, nas_rng *rng, nas_path *path);
/** As an architecture step needs it.  Full: choice ~ p, all gates.  Two: two distinct
 * indices drawn without replacement from p; the active one drawn from the softmax of
 * just these two. */
void nas_alphas_sample_arch(const nas_alphas *alphas, nas_arch_mode mode, nas_rng *rng,
                            nas_path *path);

/** Probabilities that this step's loss and latency see, [total]: p (full), or the
 * softmax of the two drawn and 0 elsewhere (two). */
void nas_alphas_step_probabilities(const nas_alphas *alphas, const nas_path *path,
                                   nas_arch_mode mode, double *q);

/** ADDS scale * q_i (g_i - sum_j g_j q_j) to grad, where g = gate_grad[slot][candidate]
 * (row length NAS_MAX_CANDIDATES; entries with q_i = 0 are not read). */
void nas_alphas_add_gate_gradient(nas_alphas *alphas, const double *q, const double *gate_grad,
                                  double scale);

/** Adam without weight decay on every slot that has a choice; grad is zeroed afterwards. */
void nas_alphas_adam(nas_alphas *alphas, double lr, double beta1, double beta2, double eps);

/** Mode two, after Adam: shifts the two drawn alphas so that the sum of their exp, and with
 * it the probability of every other candidate, is what it was before the step.  `before`
 * is alpha as it was, [total]. */
void nas_alphas_rescale(nas_alphas *alphas, const nas_path *path, const double *before);

/** Mean entropy of p over the slots with a choice, nats. */
double nas_alphas_entropy(const nas_alphas *alphas);
/** The most probable candidate of every slot (the first at a tie). */
void nas_alphas_argmax(const nas_alphas *alphas, int *choice);

#endif
