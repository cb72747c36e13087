/* Choosing architectures under a latency limit: feasible sampling, repair, random
 * search and evolution (Real et al. 2019; Cai et al. 2020, Once-for-All, section 3.4).
 *
 * Nothing here knows how a score comes about (search/evaluator.h). */
#ifndef NAS_SEARCH_EVOLUTION_EVOLUTION_H
#define NAS_SEARCH_EVOLUTION_EVOLUTION_H

#include "base/rng.h"
#include "latency/lut.h"
#include "search/evaluator.h"

/** An architecture that was scored. */
typedef struct nas_candidate {
    int choice[NAS_MAX_SLOTS];
    double latency_ms, score;
} nas_candidate;

/** For qsort: better score first, lower latency at a tie. */
int nas_candidate_best_first(const void *a, const void *b);

/** Makes `choice` one of the space: where only the last blocks of a stage may be skipped,
 * everything after the first skipped block is skipped. */
void nas_choice_normalise(const nas_space *space, int *choice);

/** Changes `choice` until it takes at most limit_ms: again and again the exchange with the
 * best weight[..] lost per millisecond saved.  `weight` (log-probabilities by slot and
 * candidate, rows of NAS_MAX_CANDIDATES; NULL: all equal).  False if the space has nothing
 * that fast. */
bool nas_choice_repair(const nas_space *space, const nas_latency_lut *lut, double limit_ms,
                       const double *weight, int *choice);

typedef struct nas_evolution_config {
    int population, generations;
    double parent_share;   /* of the population that breeds                 */
    double mutation_share; /* of the children made by mutation, others by crossover */
    double mutation_rate;  /* chance that a slot is drawn anew              */
    double limit_ms;
    uint64_t seed;
} nas_evolution_config;

nas_evolution_config nas_evolution_default(double limit_ms, uint64_t seed);

/** Random search: `count` distinct feasible architectures, scored, best first in
 * `out[count]`; fewer (`*found`) where the space has no more.  NAS_E_INFEASIBLE when none. */
nas_status nas_random_search(const nas_space *space, const nas_latency_lut *lut, double limit_ms,
                             uint64_t seed, int count, const nas_evaluator *evaluator,
                             nas_candidate *out, int *found, nas_err *err);

/** Evolution: no architecture is scored twice; `out[population]` are the best of all that
 * were scored, best first; `*evaluations` how many those were. */
nas_status nas_evolution_run(const nas_space *space, const nas_latency_lut *lut,
                             const nas_evolution_config *config, const nas_evaluator *evaluator,
                             nas_candidate *out, int *found, int64_t *evaluations, nas_err *err);

#endif
