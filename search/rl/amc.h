/* Channel pruning as decisions, group by group (AMC: He et al. 2018): an action is the share of a
 * group's channels that stays, a budget bounds it, and the accuracy of what is left is the reward.
 *
 * What a network with these channels is worth comes from a judge, so nothing here runs one. */
#ifndef NAS_SEARCH_RL_AMC_H
#define NAS_SEARCH_RL_AMC_H

#include "latency/table/table.h"
#include "nas/prune/plan.h"
#include "search/rl/env.h"

typedef enum nas_amc_measure {
    NAS_AMC_MACS,
    NAS_AMC_PARAMETERS,
    NAS_AMC_LATENCY, /* milliseconds                                        */
    NAS_AMC_MEMORY,  /* bytes of activations at once (nas/space/memory.h)   */
    NAS_AMC_MEASURES
} nas_amc_measure;

typedef struct nas_amc_config {
    nas_amc_measure measure;        /* what the budget counts                                  */
    double limit;                   /* the most of that                                        */
    double beside[NAS_AMC_MEASURES]; /* limits that hold together with the budget; 0: none     */
    const nas_latency_table *table; /* borrowed; NULL: none, and no NAS_AMC_LATENCY            */
    double lowest;                  /* share of a group that stays in any case; published: 0.2 */
    bool guaranteed;                /* reward -error * ln(MACs) (accuracy-guaranteed), and no
                                       budget; otherwise the accuracy, within the budget        */
    bool published;                 /* the published wall, which exceeds the budget by what is
                                       rounded up (for comparison; MACs only)                   */
} nas_amc_config;

/** Accuracy (0 to 1) of the network that keeps channels[g] of each group. */
typedef nas_status nas_amc_judge(void *user, const int *channels, double *accuracy, nas_err *err);

typedef struct nas_amc nas_amc;

/** `plan` and the table are borrowed.  NAS_E_INFEASIBLE: the budget is below what can be reached
 * (the range is told), or the table lacks a layer of the unpruned network; NAS_E_NOMEM. */
nas_status nas_amc_new(nas_amc **out, const nas_prune_plan *plan, const nas_amc_config *config,
                       nas_amc_judge *judge, void *user, nas_err *err);
void nas_amc_free(nas_amc *amc);

const nas_env *nas_amc_env(const nas_amc *amc);
/** Channels of each group as the last episode decided, and how good they were judged. */
const int *nas_amc_channels(const nas_amc *amc);
double nas_amc_accuracy(const nas_amc *amc);

/** What a measure says of channels[groups], and that of the budget; milliseconds come from the table where it has the
 * pruned layer, otherwise from the unpruned layer's in proportion to MACs.  -1: no memory. */
double nas_amc_cost_of(const nas_amc *amc, nas_amc_measure measure, const int *channels);
double nas_amc_cost(const nas_amc *amc, const int *channels);
/** Costs, by the measure of the budget, of the smallest network that can be reached, and of the unpruned one. */
void nas_amc_range(const nas_amc *amc, double *least, double *most);

#endif
