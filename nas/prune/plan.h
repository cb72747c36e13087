/* Which channels of a network can be taken out, and what is left of it without them.
 *
 * Channels that must go together are a group: what a convolution writes and all who read it, the
 * depthwise convolutions between, and everything that a shortcut adds to it. */
#ifndef NAS_NAS_PRUNE_PLAN_H
#define NAS_NAS_PRUNE_PLAN_H

#include "nas/space/arch.h"

enum { NAS_PRUNE_FIXED = -1 }; /* in place of a group: these channels stay */

/** The channels at one block: what it reads, what is inside an mbconv, what it writes. */
typedef enum nas_prune_axis {
    NAS_PRUNE_IN,
    NAS_PRUNE_MID,
    NAS_PRUNE_OUT,
    NAS_PRUNE_AXES
} nas_prune_axis;

typedef struct nas_prune_group {
    int channels;        /* of the unpruned network                                    */
    int block;           /* that reads it first, with a convolution or a linear layer  */
    nas_prune_axis axis; /* ... and where: NAS_PRUNE_IN or NAS_PRUNE_MID               */
} nas_prune_group;

typedef struct nas_prune_plan {
    const nas_arch *arch; /* borrowed */
    int groups;
    nas_prune_group *group;        /* [groups], in the order in which they are read first */
    int (*at)[NAS_PRUNE_AXES];     /* [blocks] groups, or NAS_PRUNE_FIXED                 */
} nas_prune_plan;

/** Finds the groups of a checked architecture.  The image, the logits and what convolutions in
 * several groups (but depthwise ones) touch stay as they are.  NAS_E_CONFIG if there is nothing
 * to prune; NAS_E_NOMEM. */
nas_status nas_prune_plan_new(nas_prune_plan **out, const nas_arch *arch, nas_err *err);
void nas_prune_plan_free(nas_prune_plan *plan);

/** Block `block` when group g keeps channels[g] of its channels. */
nas_op_spec nas_prune_spec(const nas_prune_plan *plan, int block, const int *channels);
/** The architecture that is left; an ordinary one. */
nas_status nas_prune_arch(nas_arch **out, const nas_prune_plan *plan, const int *channels,
                          nas_err *err);
/** Its cost at the architecture's own image size, without making it. */
nas_op_cost nas_prune_cost(const nas_prune_plan *plan, const int *channels);

#endif
