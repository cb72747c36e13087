/* What an architecture is trained for beside accuracy: expected costs, each against its limit.
 *
 * MACs and parameters are sums over blocks as latency is, so E = sum_s sum_j p_sj t_sj has the same
 * form and the same gradient (ProxylessNAS, eq. 2 and 3) with t the candidates' MACs or parameters.
 * Memory is a peak; its E is the limit and what the blocks are expected to exceed it by,
 *   E = limit + sum_s sum_j p_sj max(0, m_sj - limit),
 * at least the expectation of max(peak, limit).  So every block above the limit is pulled at, where
 * a maximum would pull at the largest alone.
 *
 * Several enter the loss one after another, each on the loss of those before it:
 *   mul-log     L = a * CE * prod_k (ln E_k / ln ref_k)^b
 *   add-linear  L = CE + sum_k lambda * (E_k - ref_k) / ref_k
 * Latency is counted as latency/loss.h says, all others in twentieths of their limit. */
#ifndef NAS_SEARCH_PROXYLESS_OBJECTIVE_H
#define NAS_SEARCH_PROXYLESS_OBJECTIVE_H

#include "latency/loss.h"
#include "search/evolution/problem.h"

typedef struct nas_objective {
    nas_cost cost;
    double limit;
    nas_latency_lut *lut;  /* E: what each candidate adds to it        */
    nas_latency_loss loss; /* on E / unit                              */
    double unit;
} nas_objective;

typedef struct nas_objectives {
    int count;
    nas_objective list[NAS_COSTS];
} nas_objectives;

/** Those costs of the problem that are `wanted`: each has a finite limit, there is one image size.
 * NAS_E_NOMEM; nas_objectives_fini, also after an error. */
nas_status nas_objectives_init(nas_objectives *objectives, const nas_problem *problem,
                               const bool wanted[NAS_COSTS], nas_latency_loss_kind kind,
                               nas_err *err);
void nas_objectives_fini(nas_objectives *objectives);

/** E under the probabilities p[slot][candidate]. */
double nas_objective_expected(const nas_objective *objective, const double *const *p);

typedef struct nas_objectives_loss {
    double loss;
    double d_ce;               /* dL/dCE                                                     */
    double d_cost[NAS_COSTS];  /* dL/dE by place in the list, 0 once E is within its limit:
                                  from there on only accuracy counts                         */
} nas_objectives_loss;

nas_objectives_loss nas_objectives_loss_at(const nas_objectives *objectives, double ce,
                                           const double *const *p);

/** ADDS the gradient to the alphas behind p[slot] to grad[candidates]. */
void nas_objectives_slot_grad(const nas_objectives *objectives, const nas_objectives_loss *loss,
                              int slot, const double *p, double *grad);

/** What accuracy is multiplied by in the reward of one network: prod_k min(1, limit / cost)^0.1,
 * of its true costs (MnasNet's form); being cheaper than the limit earns nothing. */
double nas_objectives_reward(const nas_objectives *objectives, const nas_problem *problem,
                             const nas_candidate *candidate);

#endif
