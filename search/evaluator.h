/* What a search algorithm sees of the world: architectures in, scores out. */
#ifndef NAS_SEARCH_EVALUATOR_H
#define NAS_SEARCH_EVALUATOR_H

#include "base/status.h"

typedef struct nas_evaluator {
    void *user;
    /** Score of the architecture `choice` (one index a slot), higher is better. */
    nas_status (*score)(void *user, const int *choice, double *score, nas_err *err);
} nas_evaluator;

#endif
