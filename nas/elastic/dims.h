/* Which dimensions of a space are elastic, and how much of each a subnet may use: what one
 * phase of progressive shrinking allows, its samples and its corners.
 *
 * Every space of MBConv blocks says so by its candidates: several kernels, several expand
 * ratios, blocks that may be skipped, several image sizes. */
#ifndef NAS_NAS_ELASTIC_DIMS_H
#define NAS_NAS_ELASTIC_DIMS_H

#include "nas/space/space.h"

enum { NAS_ELASTIC_VALUES = 8 };

/** Values of each dimension.  As limits: what is allowed. */
typedef struct nas_elastic_dims {
    int kernels, expands;
    int kernel[NAS_ELASTIC_VALUES];    /* ascending                                       */
    float expand[NAS_ELASTIC_VALUES];  /* ascending                                       */
    int skip;                          /* so many of the last blocks of a stage that can be
                                          skipped may be                                  */
} nas_elastic_dims;

/** All that the space has.  NAS_E_CONFIG if a slot with several candidates is not elastic:
 * its operations are MBConv blocks that agree in everything but kernel and width (and a skip),
 * and one of them has the largest kernel and the largest width. */
nas_status nas_elastic_dims_of(nas_elastic_dims *out, const nas_space *space, nas_err *err);
/** True if `outer` allows all that `inner` does. */
bool nas_elastic_dims_cover(const nas_elastic_dims *outer, const nas_elastic_dims *inner);
/** "kernel 3 5 7, expand 4 6, skip up to 1". */
void nas_elastic_dims_text(const nas_elastic_dims *dims, char *out, size_t size);

/** The candidates that limits allow, one bit each, by slot. */
typedef struct nas_elastic_mask {
    uint64_t allowed[NAS_MAX_SLOTS];
} nas_elastic_mask;

/** NAS_E_CONFIG names the first slot in which nothing is allowed. */
nas_status nas_elastic_mask_make(nas_elastic_mask *out, const nas_space *space,
                                 const nas_elastic_dims *limits, nas_err *err);
/** NAS_OK if the limits allow every block of `choice`; otherwise NAS_E_CONFIG, which names it. */
nas_status nas_elastic_mask_check(const nas_elastic_mask *mask, const nas_space *space,
                                  const int *choice, nas_err *err);
/** The space of what is allowed, for searches (yours), and the way back: candidate c of its slot
 * s is origin[s][c] of `space`. */
nas_status nas_elastic_restrict(nas_space **out, int origin[][NAS_MAX_CANDIDATES],
                                const nas_space *space, const nas_elastic_mask *mask,
                                nas_err *err);

/** Draws as Once-for-All does: the depth of every stage uniformly, then kernel and expand ratio of
 * every block (nas_space_sample is uniform over architectures instead). */
void nas_elastic_sample(const nas_space *space, const nas_elastic_mask *mask, nas_rng *rng,
                        int *choice);

/** One end of every dimension, in all blocks. */
typedef struct nas_elastic_corner {
    char name[32]; /* "k3-e6-shallow" */
    int choice[NAS_MAX_SLOTS];
} nas_elastic_corner;
enum { NAS_ELASTIC_CORNERS = 16 };

/** Cross product of least and greatest value of each dimension that the limits leave elastic
 * (all kernels where only they are); the largest network first.  Returns how many. */
int nas_elastic_corners(const nas_space *space, const nas_elastic_dims *limits,
                        const nas_elastic_mask *mask,
                        nas_elastic_corner out[NAS_ELASTIC_CORNERS]);
/** Index of the slot's candidate with the largest kernel and width: the shared weights. */
int nas_elastic_largest(const nas_slot *slot);

#endif
