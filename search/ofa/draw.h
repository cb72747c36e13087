/* The list of random subnets that an accuracy predictor learns from: endless but for the space, without
 * any network twice, the same for whoever draws a part of it. */
#ifndef NAS_SEARCH_OFA_DRAW_H
#define NAS_SEARCH_OFA_DRAW_H

#include "nas/elastic/dims.h"
#include "search/evaluator.h"

/** Writes number first, first + 1, ... of the seed's list into out[count]: subnets as Once-for-All
 * draws them, each at an image size drawn with it.  NAS_E_INFEASIBLE: the space has hardly so
 * many. */
nas_status nas_ofa_draw(nas_candidate *out, const nas_space *space, const nas_elastic_mask *mask,
                        uint64_t seed, int64_t first, int64_t count, nas_err *err);

#endif
