/* The elastic supernet of Once-for-All: one set of weights, in which every architecture of a
 * space is a part (Cai et al. 2020, section 3).
 *
 * The shared weights are those of the largest network.  A subnet is run by copying its part of
 * them (first channels, transformed kernels) into an ordinary network, and its gradients are
 * added back: weights are small beside activations, the engine needs no second kind of layer,
 * and a subnet that is extracted is the subnet in place, to the bit. */
#ifndef NAS_NAS_ELASTIC_ELASTIC_H
#define NAS_NAS_ELASTIC_ELASTIC_H

#include "nas/elastic/dims.h"
#include "nas/model/exec.h"

typedef struct nas_elastic nas_elastic;

/** Lays out the supernet of an elastic space (borrowed), all zero, and plans to run subnets on
 * at most `max_batch` images (0: they are not run here, only extracted) of up to the space's
 * size.  NAS_E_CONFIG if the space is not elastic, NAS_E_NOMEM. */
nas_status nas_elastic_new(nas_elastic **out, const nas_space *space, int max_batch,
                           nas_memory memory, nas_err *err);
void nas_elastic_free(nas_elastic *elastic);
/** Initial values: the largest network as nas_model_reset makes it; every kernel is at first the
 * centre of the next larger one. */
void nas_elastic_reset(nas_elastic *elastic, uint64_t seed);
/** Directly after that: kernels with smaller ones in them fade outwards (nas_param_fade), so that
 * subnets of all kernel sizes begin nearly alike. */
void nas_elastic_fade_kernels(nas_elastic *elastic);

const nas_space *nas_elastic_space(const nas_elastic *elastic);
const nas_elastic_dims *nas_elastic_dims_all(const nas_elastic *elastic);
/** The largest network, with the shared weights and their momentum. */
nas_model *nas_elastic_shared(nas_elastic *elastic);

/** Matrices between kernels, one after the other by slot. */
typedef struct nas_elastic_matrix {
    char name[48];  /* "slot3.op0.kernel7to5" */
    int taps;       /* of the smaller kernel: it is [taps][taps] */
    float *values, *momentum;
} nas_elastic_matrix;
/** Matrix 0, 1, ...; false behind the last. */
bool nas_elastic_matrix_at(const nas_elastic *elastic, int index, nas_elastic_matrix *out);

/* ---- running subnets ---- */

/** The network that subnets are run in; its slots are the space's. */
nas_exec *nas_elastic_exec(nas_elastic *elastic);
const nas_model *nas_elastic_work(const nas_elastic *elastic);
/** Image size of what is run from here on. */
nas_status nas_elastic_resize(nas_elastic *elastic, int image_size, nas_err *err);
/** Copies the subnet `choice`, running statistics included, to where it is run. */
void nas_elastic_load(nas_elastic *elastic, const int *choice);
/** Copies its running statistics back: all subnets share their first channels'. */
void nas_elastic_keep_statistics(nas_elastic *elastic, const int *choice);

/* ---- training ---- */

void nas_elastic_zero_grads(nas_elastic *elastic);
/** Adds the gradients of the exec's last backward pass, which was of the subnet `choice`. */
void nas_elastic_add_grads(nas_elastic *elastic, const int *choice);
/** One step on all shared weights, with what was added since _zero_grads; matrices that
 * `dims` makes no use of stay as they are. */
void nas_elastic_sgd(nas_elastic *elastic, const nas_sgd *sgd, const nas_elastic_dims *dims);
/** Sum of gradients added, shaped as the shared model's parameters; of a matrix (for tests). */
const float *nas_elastic_grads(const nas_elastic *elastic);
const float *nas_elastic_matrix_grads(const nas_elastic *elastic, int index);
void nas_elastic_clear_momentum(nas_elastic *elastic);

/** Sorts the channels inside every block by importance (sum of absolute weights that read them),
 * so that the first ones are the ones to keep; then the hidden units of squeeze-excite.
 * What the largest network computes stays, but for rounding.  Channels stay on their side of
 * every width that an expand ratio of `trained` ends at. */
nas_status nas_elastic_sort(nas_elastic *elastic, const nas_elastic_dims *trained, nas_err *err);

/* ---- extraction ---- */

/** The subnet as a network of its own, for images of `image_size` (0: the space's); its running
 * statistics are the shared ones, to be re-calibrated. */
nas_status nas_elastic_extract(nas_model **out, nas_arch **arch, const nas_elastic *elastic,
                               const int *choice, int image_size, nas_err *err);

#endif
