/* Keys: the names under which a latency table knows an operation at a size.
 *
 * The grammar is that of the published tables (docs/reference/latency-table.md). */
#ifndef NAS_LATENCY_KEY_H
#define NAS_LATENCY_KEY_H

#include "nas/space/space.h"

enum { NAS_LATENCY_KEY_SIZE = 256 }; /* bytes with the NUL; no key is longer */

/** The two dialects of the published tables. */
typedef enum nas_latency_grammar {
    NAS_LATENCY_RATIO, /* ProxylessNAS: "expand" is the ratio; Logits includes the pooling   */
    NAS_LATENCY_MID    /* OFA: "expand" is the number of middle channels, then se and hs;
                          pooling is an entry of its own                                      */
} nas_latency_grammar;

/** One thing to measure: what a key stands for. */
typedef struct nas_latency_entry {
    char key[NAS_LATENCY_KEY_SIZE]; /* "": costs nothing (zero; pooling counted with Logits) */
    nas_op_spec op;
    bool shortcut; /* x + op(x)                                                              */
    int h, w;      /* input; linear at more than 1x1: the mean over the image comes first    */
} nas_latency_entry;

/** The dialect in which a table for `space` is written: NAS_LATENCY_MID if some MBConv of
 * it has squeeze-excite or h-swish. */
nas_latency_grammar nas_latency_grammar_of(const nas_space *space);

/** One entry a block, in order.  image_size 0: the architecture's own.
 * `*out` (malloc'ed) is yours.  NAS_E_NOMEM. */
nas_status nas_latency_arch_entries(nas_latency_entry **out, int *count, const nas_arch *arch,
                                    nas_latency_grammar grammar, int image_size, nas_err *err);

/** One entry a candidate, slot after slot.  image_size 0: the space's own.
 * `*out` (malloc'ed) is yours.  NAS_E_NOMEM. */
nas_status nas_latency_space_entries(nas_latency_entry **out, int *count, const nas_space *space,
                                     nas_latency_grammar grammar, int image_size, nas_err *err);

/** Keeps the first entry of each key and none without a key, in place and in order;
 * returns how many remain: what a profile has to measure. */
int nas_latency_entries_unique(nas_latency_entry *entries, int count);

#endif
