/* What a policy of bits costs, and the walk that makes it fit a budget.
 *
 * Source  Wang et al. 2019, HAQ, arXiv:1811.08886, section 3.2, and its public code. */
#ifndef NAS_SEARCH_HAQ_BUDGET_H
#define NAS_SEARCH_HAQ_BUDGET_H

#include "latency/table/table.h"
#include "nas/quant/quantizer.h"

typedef enum nas_budget_kind {
    NAS_BUDGET_SIZE,   /* bits of all weights; ratios are to 32 each                   */
    NAS_BUDGET_BITOPS, /* sum of MACs * weight bits * input bits; ratios are to 8 by 8 */
    NAS_BUDGET_TABLE   /* sum over a table by site and bits; ratios are to 8 by 8      */
} nas_budget_kind;

enum { NAS_BUDGET_BITS = 8 };

/** Costs of `count` sites.  A site that is pinned keeps its bits whatever they cost. */
typedef struct nas_budget {
    nas_budget_kind kind;
    int count;
    const nas_quant_site *site;
    double (*table)[NAS_BUDGET_BITS][NAS_BUDGET_BITS]; /* [count][weight bits - 1][input bits - 1] */
    int least, most;                                   /* bits that may be chosen */
    bool inputs;                                       /* inputs are chosen, too  */
    int input;          /* bits of inputs that are not chosen; 0: they stay floats      */
    bool pin_ends;      /* HAQ's linear environment: first and last site stay at 8 by 8 */
    double target;      /* cost that a policy may have; INFINITY: any                   */
} nas_budget;

/** Fills budget->table (yours: free) from entries "HAQ-layer:I-weight:W-activation:A" (latency
 * import, or NumPy's array).  NAS_E_INFEASIBLE names the first entry that is missing, or one of
 * a layer that the network has not; NAS_E_DATA if fewer bits are not cheaper. */
nas_status nas_budget_load(nas_budget *budget, const nas_latency_table *table, const char *name,
                           nas_err *err);

double nas_budget_cost(const nas_budget *budget, const nas_bits *bits);
/** What ratios are to: the cost of floats (size), or of 8 by 8 bits. */
double nas_budget_full(const nas_budget *budget);
/** Sets the target to `ratio` of the full cost.  NAS_E_INFEASIBLE with the reachable range if no
 * policy is as cheap. */
nas_status nas_budget_set(nas_budget *budget, double ratio, nas_err *err);

bool nas_budget_pinned(const nas_budget *budget, int site);
/** Bits of pinned sites become 8 by 8. */
void nas_budget_pin(const nas_budget *budget, nas_bits *bits);
/** Takes a bit from one site after the other, from the last to the first and again, first of the
 * input (unless it costs nothing), then of the weight, until the target is met.  Returns whether
 * any bit was taken. */
bool nas_budget_fit(const nas_budget *budget, nas_bits *bits);
/** The walk may have taken more than it had to, by as much as a bit of a large layer.  Gives bits
 * back that fit, at most as many as `wanted` (what the walk began with), from the first site to
 * the last and again. */
void nas_budget_give_back(const nas_budget *budget, const nas_bits *wanted, nas_bits *bits);

#endif
