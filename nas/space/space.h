/* A search space: a chain of slots, each with one (fixed) or several candidate
 * operations; a supernet is made from it, an architecture is a choice in it. */
#ifndef NAS_NAS_SPACE_SPACE_H
#define NAS_NAS_SPACE_SPACE_H

#include "base/rng.h"
#include "nas/space/arch.h"

enum { NAS_MAX_SLOTS = NAS_MAX_BLOCKS, NAS_MAX_CANDIDATES = 64 };

typedef struct nas_slot {
    int count;               /* candidates; 1: fixed                                   */
    nas_op_spec *candidates; /* [count]; a zero op, if any, is the last one            */
    bool shortcut;
    int stage;               /* -1 outside stages (stem, first block, head)            */
} nas_slot;

/** True if the slot may be skipped: its last candidate is zero. */
static inline bool nas_slot_has_zero(const nas_slot *slot)
{
    return slot->candidates[slot->count - 1].type == NAS_OP_ZERO;
}

typedef struct nas_space {
    char name[64];
    int image_size, channels, classes;
    float bn_momentum, bn_eps;
    int count;
    nas_slot *slots;   /* [count]                                                      */
    /* Depth as OFA means it: in a stage, only the last blocks may be skipped, and at
     * least min_depth remain.  0: each zero op is chosen on its own (ProxylessNAS). */
    int min_depth;
    int resolutions;   /* how many, 0: only image_size                                 */
    int resolution[64];/* OFA: image sizes that belong to the space                    */
} nas_space;

/** The largest image size that belongs to the space: of its resolutions, if it has any. */
int nas_space_largest_size(const nas_space *space);

/** A built-in name ("proxyless-cifar", ...; nas_space_names) or a path of a JSON file. */
nas_status nas_space_load(nas_space **out, const char *name_or_path, nas_err *err);
void nas_space_free(nas_space *space);
/** An empty space with room for NAS_MAX_SLOTS slots.  NULL: no memory. */
nas_space *nas_space_new(nas_err *err);
/** Appends a slot with a copy of `count` candidates.  NAS_E_CONFIG if there are too many. */
nas_status nas_space_add_slot(nas_space *space, const nas_op_spec *candidates, int count,
                              bool shortcut, int stage, nas_err *err);
/** Built-in names, NULL-terminated, and one line about each. */
const char *const *nas_space_names(void);
const char *nas_space_summary(const char *name);
/** Whether nas_space_load takes it for a built-in space, of any width: "ofa-mbv3-0.75". */
bool nas_space_is_builtin(const char *name);
nas_status nas_space_check(const nas_space *space, nas_err *err);
/** docs/reference/space.md.  NAS_E_DATA for a wrong text, NAS_E_CONFIG for a space that
 * makes no sense; both say where. */
nas_status nas_space_from_json(nas_space **out, const json_t *json, const char *where,
                               nas_err *err);
json_t *nas_space_to_json(const nas_space *space); /* every slot spelled out; NULL: no memory */
/** Digest of that JSON without the name. */
nas_status nas_space_digest(const nas_space *space, char out[NAS_DIGEST_SIZE], nas_err *err);

/** The space of one architecture: a slot with one candidate for each of its blocks but the skipped
 * ones. */
nas_status nas_space_of_arch(nas_space **out, const nas_arch *arch, nas_err *err);

/** Adapts a space (in place) to a data set: image size, channels, classes.  Fixed
 * parts follow (first convolution's input channels, classifier's outputs); resolutions
 * above the image size leave the space.  NAS_E_CONFIG if the size is too small for the
 * strides; after an error the space can only be freed. */
nas_status nas_space_fit(nas_space *space, int image_size, int channels, int classes, nas_err *err);

/** Exact number of architectures as a decimal string (malloc'ed, yours), and its log10
 * (either may be NULL).  An architecture is a choice of operations: resolutions do not
 * multiply the count. */
nas_status nas_space_count(const nas_space *space, char **decimal, double *log10_count,
                           nas_err *err);

/** choice[slot] = candidate index for every slot (0 for fixed ones). */
/** Draws an architecture uniformly over the space's architectures. */
void nas_space_sample(const nas_space *space, nas_rng *rng, int *choice);
/** True if the choice is one of the space (indices in range, depth rule kept). */
bool nas_space_valid(const nas_space *space, const int *choice);
nas_status nas_space_arch(nas_arch **out, const nas_space *space, const int *choice, nas_err *err);
/** Finds the choice that gives `arch`, whose skipped blocks may be zeros or missing;
 * NAS_E_CONFIG names the first block that is not in the space. */
nas_status nas_space_choice_of(const nas_space *space, const nas_arch *arch, int *choice,
                               nas_err *err);
/** Cheapest and dearest MACs over the space at image_size (0: its own). */
void nas_space_macs_range(const nas_space *space, int image_size, int64_t *min, int64_t *max);

#endif
