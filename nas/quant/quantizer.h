/* Quantises a trained network layer by layer, and back: a policy (bits of each site) in, rounded
 * weights and ranges out; and keeps weights rounded while an ordinary trainer trains them.
 *
 * Straight-through: the network holds rounded weights w_q = Q(w) and computes with them; what a
 * step of the optimizer changes of w_q is changed of w, which is kept here.
 * Source  Wang et al. 2019, HAQ, arXiv:1811.08886, section 3; Choi et al. 2018, PACT,
 *         arXiv:1805.06085 (trained ranges); Han et al. 2016, arXiv:1510.00149 (shared weights). */
#ifndef NAS_NAS_QUANT_QUANTIZER_H
#define NAS_NAS_QUANT_QUANTIZER_H

#include "nas/quant/sites.h"

typedef enum nas_quant_method {
    NAS_QUANT_LINEAR, /* equal steps; inputs are rounded, too */
    NAS_QUANT_KMEANS  /* shared weights; inputs stay floats   */
} nas_quant_method;

/** Where values are cut: at their maximum, or where the distribution changes least. */
typedef enum nas_calibration {
    NAS_CALIBRATION_AUTO, /* by divergence below 6 bits (weights: 5), else the maximum */
    NAS_CALIBRATION_MAX,
    NAS_CALIBRATION_KL    /* by divergence, but weights of 5 bits and more             */
} nas_calibration;

typedef struct nas_quantizer_config {
    nas_quant_method method;
    nas_calibration calibration; /* linear */
    bool per_channel; /* linear: a step for each output channel, not one for all        */
    int iterations;   /* kmeans: of Lloyd's                                             */
    uint64_t seed;    /* kmeans: of the first centres                                   */
} nas_quantizer_config;

/** Bits of a site; 0: floats. */
typedef struct nas_bits {
    int weight; /* linear 2..8, kmeans 1..8          */
    int input;  /* linear 2..8 or 0, kmeans always 0 */
} nas_bits;

typedef struct nas_quantizer nas_quantizer;

/** Attaches records to `model` (borrowed), whose parameters are the floats to quantise, and keeps
 * a copy of these.  NAS_E_CONFIG if it has no site, NAS_E_NOMEM. */
nas_status nas_quantizer_new(nas_quantizer **out, nas_model *model,
                             const nas_quantizer_config *config, nas_err *err);
void nas_quantizer_free(nas_quantizer *q);

int nas_quantizer_count(const nas_quantizer *q);
const nas_quant_site *nas_quantizer_sites(const nas_quantizer *q);

/** Learns the distributions of all inputs from n images, run as floats (linear; kmeans needs
 * none).  Before the first nas_quantizer_apply.  NAS_E_NOMEM. */
nas_status nas_quantizer_calibrate(nas_quantizer *q, int n, const float *images, nas_err *err);

/** Quantises the float parameters with bits[count]: the parameters of the model become these,
 * rounded.  NAS_E_NOMEM. */
nas_status nas_quantizer_apply(nas_quantizer *q, const nas_bits *bits, nas_err *err);
/** The parameters of the model become the floats that it began with; nothing is rounded. */
void nas_quantizer_restore(nas_quantizer *q);
/** The policy in force. */
nas_bits nas_quantizer_bits(const nas_quantizer *q, int site);

/** How ranges are trained. */
typedef struct nas_range_sgd {
    double lr, momentum, decay;
} nas_range_sgd;
/** After a step of SGD on the model's parameters: rounds (shares) the weights anew, and moves the
 * ranges by the gradients that backward passes added up. */
void nas_quantizer_step(nas_quantizer *q, const nas_range_sgd *sgd);

/** What a checkpoint must hold beside the model's parameters, for nas_quantizer_step to go on to
 * the same bits: `visit` is called for each array, which a writer copies out and a reader fills.
 * All are there from the first nas_quantizer_apply on. */
typedef enum nas_quantizer_type { NAS_QUANTIZER_F32, NAS_QUANTIZER_F64, NAS_QUANTIZER_U8 }
    nas_quantizer_type;
typedef nas_status nas_quantizer_visit(void *user, const char *name, nas_quantizer_type type,
                                       int64_t count, void *data, nas_err *err);
nas_status nas_quantizer_state(nas_quantizer *q, nas_quantizer_visit *visit, void *user,
                               nas_err *err);
/** The array of that name holds these numbers of each site. */
#define NAS_QUANTIZER_SITES "quantizer.sites"
enum { NAS_QUANTIZER_NUMBERS = 4 };
/** The policy that such an array is of.  NAS_E_DATA if it holds other numbers than bits. */
nas_status nas_quantizer_read_bits(const nas_quantizer *q, const double *numbers, nas_bits *bits,
                                   nas_err *err);
/** After the arrays were filled: the ranges and steps of the records follow them. */
void nas_quantizer_refresh(nas_quantizer *q);

#endif
