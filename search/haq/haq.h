/* HAQ's two environments: an agent chooses bits, layer by layer, under a budget.
 *
 * Shared weights: one decision a layer, nine features.  Linear: two, the weight's bits first, then
 * the input's, ten features.
 * Source  Wang et al. 2019, HAQ, arXiv:1811.08886, sections 3.1 and 3.2, and its public code. */
#ifndef NAS_SEARCH_HAQ_HAQ_H
#define NAS_SEARCH_HAQ_HAQ_H

#include "search/haq/budget.h"
#include "search/rl/env.h"

typedef struct nas_haq nas_haq;

/** How good a policy is, in 0..1. */
typedef struct nas_haq_judge {
    void *user;
    nas_status (*judge)(void *user, const nas_bits *bits, double *accuracy, nas_err *err);
    double reference; /* accuracy of the floats: the reward is 10 * (accuracy - reference), which
                         is HAQ's 0.1 a percentage point                                        */
} nas_haq_judge;

/** `budget` (with its target set) is borrowed.  NAS_E_NOMEM. */
nas_status nas_haq_new(nas_haq **out, const nas_budget *budget, const nas_haq_judge *judge,
                       nas_err *err);
void nas_haq_free(nas_haq *haq);

/** The environment, for an agent; actions are in [0, 1].  Valid while `haq` is. */
nas_env nas_haq_env(nas_haq *haq);
/** The actions of an episode that mean these bits, [steps]. */
void nas_haq_actions(const nas_budget *budget, const nas_bits *bits, float *actions);
/** The policy at the end of the last episode, [count]; borrowed. */
const nas_bits *nas_haq_bits(const nas_haq *haq);

#endif
