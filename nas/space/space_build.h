/* Private to nas/space: putting a space together, layer after layer.  The tables of
 * the built-in spaces and the JSON reader both end here. */
#ifndef NAS_NAS_SPACE_BUILD_H
#define NAS_NAS_SPACE_BUILD_H

#include "nas/space/space.h"

/** Channels that leave the last slot so far. */
int nas_space__channels(const nas_space *space);

/** Blocks of one output width with the same MBConv candidates: every kernel with every
 * expand ratio, kernels outside, then zero if the block may be skipped. */
typedef struct nas_space__stage {
    int width, blocks;
    int stride;           /* of the first block                                    */
    int kernels, expands; /* how many                                              */
    int kernel[8];
    float expand[8];
    nas_act act;
    bool se;              /* squeeze-excite of make_divisible(mid / 4) channels    */
    bool zero;            /* blocks with a shortcut may be skipped                 */
} nas_space__stage;

/** Appends the slots of a stage; a block has a shortcut where stride is 1 and the width
 * stays.  With the space's min_depth set, the first min_depth blocks have no zero. */
nas_status nas_space__add_stage(nas_space *space, const nas_space__stage *stage, nas_err *err);

/** Builds a built-in space; *out is NULL if there is none of that name. */
nas_status nas_space__builtin(nas_space **out, const char *name, nas_err *err);

#endif
