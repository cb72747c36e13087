/* Which layers of a network are quantised, and what bits cost.
 *
 * A site is a convolution or a linear layer with its input, in the order of the network.  The two
 * small linear layers of a squeeze-excite gate stay floats. */
#ifndef NAS_NAS_QUANT_SITES_H
#define NAS_NAS_QUANT_SITES_H

#include "nas/model/model.h"

typedef struct nas_quant_site {
    char name[40];           /* "block3.expand", "block20.linear"                     */
    int slot;
    const nas_param *weight; /* in the slot's layer; borrowed                         */
    nas_conv_geom geom;      /* of one image; a linear layer is a pointwise convolution */
    bool depthwise;
    bool full_wave;          /* its input may be negative                             */
    int64_t weights, macs;   /* macs: of one image                                    */
    nas_quant *quant;        /* the record in the model; NULL: not attached           */
} nas_quant_site;

/** Sites of a network (one candidate a slot) in order; `*out` is yours (free).  NAS_E_NOMEM. */
nas_status nas_quant_sites(nas_quant_site **out, int *count, const nas_model *model, nas_err *err);

/** Gives the network a record for each site (nas_model.quant), all floats; nothing is done if it
 * has them.  NAS_E_NOMEM. */
nas_status nas_quant_attach(nas_model *model, nas_err *err);

/** Bytes of the parameters in a file: weights of sites at their bits (with the steps or values
 * that they need), all else as floats.  A network without records: 4 each. */
int64_t nas_quant_size_bytes(const nas_model *model);

#endif
