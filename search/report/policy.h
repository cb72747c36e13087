/* Policies, layer by layer, as `nas prune` and `nas quantize` leave them in a run's summary. */
#ifndef NAS_SEARCH_REPORT_POLICY_H
#define NAS_SEARCH_REPORT_POLICY_H

#include <jansson.h>

/** What a policy says of one layer; NAN: nothing. */
typedef struct nas_policy_layer {
    const char *name;               /* borrowed; "": it has none            */
    double channels, of, share;     /* kept of a group of channels          */
    double weight_bits, input_bits; /* 0: floats                            */
    double weights, macs;           /* of a layer with bits; macs: an image */
} nas_policy_layer;

/** Member "policy" of a summary (may be NULL or anything); NULL if it is no list. */
json_t *nas_policy_list(const json_t *summary);
/** A row of such a list, whatever it holds. */
nas_policy_layer nas_policy_layer_read(const json_t *row);
/** How much is left, 0 to 1: the share of the channels, or the weights' bits of 8 (floats: 1). */
double nas_policy_layer_kept(const nas_policy_layer *layer);

#endif
