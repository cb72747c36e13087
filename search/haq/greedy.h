/* A policy without an agent: from what rounding each layer alone does to the loss.
 *
 * Source  the knapsack of mixed precision by sensitivities, as in HAWQ-V3 (Yao et al. 2021,
 *         arXiv:2011.10680, section 3.4), solved greedily. */
#ifndef NAS_SEARCH_HAQ_GREEDY_H
#define NAS_SEARCH_HAQ_GREEDY_H

#include "search/haq/budget.h"

/** How much the loss grows when the weight, or the input, of one site alone has so many bits;
 * [least..8], none greater than the one before. */
typedef struct nas_harm {
    double weight[NAS_BUDGET_BITS + 1], input[NAS_BUDGET_BITS + 1];
} nas_harm;

/** Makes such a row of what was measured for `least` to `measured` bits: noise is taken out by
 * the least so far, further bits have a quarter each (half the step), and of what does no harm
 * that could be measured, a site of a larger `weight` does more. */
void nas_harm_complete(double *harm, int least, int measured, double weight);

/** Fills bits[count] within the budget: all begin with the fewest; each time the weight or input
 * gets a bit whose loss shrinks most for what that costs, until none fits.  Inputs that cost
 * nothing have all bits. */
void nas_budget_greedy(const nas_budget *budget, const nas_harm *harm, nas_bits *bits);

#endif
