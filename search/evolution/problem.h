/* What a search may choose from: the architectures of a space at one or several image
 * sizes, what each costs, and the limits on that. */
#ifndef NAS_SEARCH_EVOLUTION_PROBLEM_H
#define NAS_SEARCH_EVOLUTION_PROBLEM_H

#include "latency/lut.h"
#include "search/evaluator.h"

/** What an architecture costs: sums over its blocks, and one peak. */
typedef enum nas_cost {
    NAS_COST_LATENCY,    /* milliseconds                                            */
    NAS_COST_MACS,
    NAS_COST_PARAMETERS,
    NAS_COST_MEMORY,     /* bytes of activations of its largest block (nas/space/memory.h) */
    NAS_COSTS
} nas_cost;

/** How options and results call a cost, and how much of it is one of what they count. */
typedef struct nas_cost_name {
    const char *option, *result; /* "latency", "latency_ms" */
    double unit;                 /* 1; bytes in a MiB       */
} nas_cost_name;
extern const nas_cost_name nas_cost_names[NAS_COSTS];

enum { NAS_MAX_SIZES = 64 };

typedef struct nas_problem {
    const nas_space *space;       /* borrowed                                          */
    int sizes;
    int image_size[NAS_MAX_SIZES]; /* ascending                                        */
    double limit[NAS_COSTS];      /* INFINITY: none; set after nas_problem_init        */
    int first[NAS_MAX_SLOTS + 1]; /* below: private                                    */
    double *value;                /* [NAS_COSTS][sizes][first[slots]]                  */
} nas_problem;

/** `sizes` image sizes (0: the space's own alone) in ascending order; luts[i], of the same
 * space at image_size[i], are read here only.  luts NULL: every latency is 0.  No limits yet.
 * NAS_E_CONFIG if the space has no such image size, NAS_E_NOMEM. */
nas_status nas_problem_init(nas_problem *problem, const nas_space *space, int sizes,
                            const int *image_size, const nas_latency_lut *const *luts,
                            nas_err *err);
void nas_problem_fini(nas_problem *problem);

/** Place of an image size among the problem's; 0 for one that is not there. */
int nas_problem_size(const nas_problem *problem, int image_size);

/** What each candidate costs at the image size of that index, slot after slot: those of slot s
 * begin at first[s].  Borrowed. */
const double *nas_problem_values(const nas_problem *problem, nas_cost cost, int size);
double nas_problem_cost(const nas_problem *problem, nas_cost cost, const nas_candidate *candidate);
/** As _cost, but a peak above its limit is that limit and what each block exceeds it by: it falls
 * with every block that comes nearer, not with the largest alone. */
double nas_problem_strain(const nas_problem *problem, nas_cost cost,
                          const nas_candidate *candidate);
/** Least and greatest of a cost over all architectures and image sizes. */
void nas_problem_range(const nas_problem *problem, nas_cost cost, double *min, double *max);
/** True if every limit is met. */
bool nas_problem_feasible(const nas_problem *problem, const nas_candidate *candidate);

/** A bound: `cost` of an architecture that meets the other limits is at least this (INFINITY: they
 * exclude each other).  Exact beside a limit on the peak; beside limits on sums what networks mixed
 * of several would reach, and so near it. */
double nas_problem_least(const nas_problem *problem, nas_cost cost);
/** NAS_E_INFEASIBLE if a limit is below what anything costs, or limits exclude each other for all
 * that nas_problem_least can tell; the hint says what is in reach. */
nas_status nas_problem_check(const nas_problem *problem, nas_err *err);

/** Draws an image size, then an architecture uniformly. */
void nas_problem_sample(const nas_problem *problem, nas_rng *rng, nas_candidate *candidate);

/** Makes `choice` one of the space: where only the last blocks of a stage may be skipped,
 * everything after the first skipped block is skipped. */
void nas_choice_normalise(const nas_space *space, int *choice);

/** Changes operations of `candidate` until it meets the limits, its image size as it is: again
 * and again the exchange with the least weight[..] lost for what it saves of the costs that are
 * too high, each as a share of its limit.  `weight` (log-probabilities by slot and candidate,
 * rows of NAS_MAX_CANDIDATES; NULL: all equal).  False if no exchange helps any more; with one
 * limit, nothing of that image size meets it then. */
bool nas_candidate_repair(const nas_problem *problem, const double *weight,
                          nas_candidate *candidate);

#endif
