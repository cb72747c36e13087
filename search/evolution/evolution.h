/* Choosing architectures under limits: random search and evolution (Real et al. 2019;
 * Cai et al. 2020, Once-for-All, section 3.4), with an exchange search at its end.
 *
 * Nothing here knows how a score comes about (search/evaluator.h). */
#ifndef NAS_SEARCH_EVOLUTION_EVOLUTION_H
#define NAS_SEARCH_EVOLUTION_EVOLUTION_H

#include "nas/train/observer.h"
#include "search/evolution/problem.h"

/** For qsort: better score first, lower latency at a tie. */
int nas_candidate_best_first(const void *a, const void *b);

typedef struct nas_evolution_config {
    int population, generations;
    double parent_share;   /* of the population that breeds                           */
    double mutation_share; /* of the children made by mutation, others by crossover   */
    double mutation_rate;  /* chance that a slot is drawn anew                        */
    int rounds;            /* fresh populations, one after another                    */
    int refined;           /* best networks of each round that exchanges then improve */
    uint64_t seed;
    const nas_observer *observer; /* asked to stop after every generation; NULL: never */
} nas_evolution_config;

/** For scores that cost a pass over images: one small population, no exchanges. */
nas_evolution_config nas_evolution_default(uint64_t seed);
/** For scores that cost microseconds. */
nas_evolution_config nas_evolution_thorough(uint64_t seed);

/** Random search: `count` distinct feasible architectures, scored, best first in
 * `out[count]`; fewer (`*found`) where the space has no more.  NAS_E_INFEASIBLE when none. */
nas_status nas_random_search(const nas_problem *problem, uint64_t seed, int count,
                             const nas_evaluator *evaluator, nas_candidate *out, int *found,
                             nas_err *err);

/** Evolution: no architecture is scored twice; `out[population]` are the best of all that
 * meet the limits, best first; `*evaluations` how many were scored.  NAS_E_INFEASIBLE when
 * nothing meets the limits, NAS_E_INTERRUPTED when it was asked to stop. */
nas_status nas_evolution_run(const nas_problem *problem, const nas_evolution_config *config,
                             const nas_evaluator *evaluator, nas_candidate *out, int *found,
                             int64_t *evaluations, nas_err *err);

/** What accuracy costs: the best of the problem under each of `points` limits of `cost`, from the
 * least that can be met to the problem's own (or the most that a network costs), among all that
 * were scored under any of them: `out[points]`, cost and score both ascending, so that none is at
 * least as cheap and as good as another.  A limit at which the others cannot be met is passed
 * over.  Otherwise as nas_evolution_run. */
nas_status nas_evolution_front(const nas_problem *problem, nas_cost cost,
                               const nas_evolution_config *config,
                               const nas_evaluator *evaluator, int points, nas_candidate *out,
                               int *found, int64_t *evaluations, nas_err *err);

/** Measures networks whole, sorted with the best first, and puts the answer in front: the best one
 * that takes at most target_ms (INFINITY: any), or the fastest if none does.  NAS_E_INTERRUPTED, and
 * what the measurer fails with. */
nas_status nas_candidates_verify(const nas_measurer *measurer, nas_candidate *list, int count,
                                 double target_ms, const nas_observer *observer, nas_err *err);

#endif
