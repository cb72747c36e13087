/* What the files of this folder share: the architectures scored so far, and lists of the
 * best of them. */
#ifndef NAS_SEARCH_EVOLUTION_PRIVATE_H
#define NAS_SEARCH_EVOLUTION_PRIVATE_H

#include "search/evolution/evolution.h"

/** True of a cost that is a block's, not the sum of all. */
bool nas_evolution__is_peak(nas_cost cost);

/** Every architecture that was scored, each once, in order of scoring. */
typedef struct nas_evolution__archive {
    const nas_problem *problem;
    const nas_evaluator *evaluator;
    int width; /* bytes of one genome: a choice a slot, then the image size's index */
    int64_t count, capacity;
    uint8_t *genome;   /* [count][width]                               */
    double *score;     /* [count]                                      */
    int64_t *bucket;   /* [2 * capacity] place by hash, -1: empty      */
    nas_candidate *batch; /* what is being scored                      */
} nas_evolution__archive;

nas_status nas_evolution__archive_init(nas_evolution__archive *a, const nas_problem *problem,
                                       const nas_evaluator *evaluator, nas_err *err);
void nas_evolution__archive_fini(nas_evolution__archive *a);
/** Place of an architecture, -1 if it was not scored yet. */
int64_t nas_evolution__archive_find(const nas_evolution__archive *a,
                                    const nas_candidate *candidate);
/** Scores those of list[count] that are new, in batches; place[i] is where list[i] is then. */
nas_status nas_evolution__archive_score(nas_evolution__archive *a, const nas_candidate *list,
                                        int count, int64_t *place, nas_err *err);
/** What is at a place, with latency and score. */
void nas_evolution__archive_get(const nas_evolution__archive *a, int64_t place,
                                nas_candidate *out);

/** The best distinct feasible architectures, best first. */
typedef struct nas_evolution__elite {
    int count, keep;
    nas_candidate *best; /* [keep] */
} nas_evolution__elite;

nas_status nas_evolution__elite_init(nas_evolution__elite *e, int keep, nas_err *err);
void nas_evolution__elite_fini(nas_evolution__elite *e);
/** Enters what is at a place of the archive if it meets the limits and is good enough. */
void nas_evolution__elite_enter(nas_evolution__elite *e, const nas_evolution__archive *a,
                                int64_t place);

/** Improves `candidate` (of the archive, feasible) by exchanges of up to three genes until none
 * helps; each improvement enters `elite`. */
nas_status nas_evolution__refine(nas_evolution__archive *a, nas_candidate *candidate,
                                 nas_evolution__elite *elite, nas_err *err);

#endif
