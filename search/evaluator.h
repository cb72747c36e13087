/* What a search algorithm sees of the world: architectures in, scores out. */
#ifndef NAS_SEARCH_EVALUATOR_H
#define NAS_SEARCH_EVALUATOR_H

#include "nas/space/space.h"
#include "nas/train/observer.h"

/** An architecture and what is known about it. */
typedef struct nas_candidate {
    int choice[NAS_MAX_SLOTS]; /* one index a slot                      */
    int image_size;            /* pixels; 0: the space's own            */
    double latency_ms, score;  /* score: higher is better               */
    double measured_ms;        /* of the whole network; 0: not measured */
} nas_candidate;

typedef struct nas_evaluator {
    void *user;
    /** Sets the score of list[0..count-1]; reads choice and image_size. */
    nas_status (*score)(void *user, nas_candidate *list, int count, nas_err *err);
} nas_evaluator;

/** Runs whole networks on the device that they are meant for. */
typedef struct nas_measurer {
    void *user;
    /** Sets measured_ms of list[0..count-1]; reads choice and image_size.  NAS_E_INTERRUPTED when
     * the observer says stop. */
    nas_status (*measure)(void *user, nas_candidate *list, int count,
                          const nas_observer *observer, nas_err *err);
} nas_measurer;

#endif
