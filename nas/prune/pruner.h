/* Takes channels out of a trained network: the least important ones, after which the weights that
 * read the others are set so that the layer's output changes least (He et al. 2018, AMC, section
 * 3.2; He et al. 2017, channel pruning). */
#ifndef NAS_NAS_PRUNE_PRUNER_H
#define NAS_NAS_PRUNE_PRUNER_H

#include "nas/data/loader.h"
#include "nas/model/model.h"
#include "nas/prune/plan.h"
#include "nas/train/observer.h"

enum { NAS_PRUNE_LEAST_IMAGES = 64 }; /* of a calibration */

typedef struct nas_pruner nas_pruner;

/** Ranks the channels of each group by the sum of |w| of all weights that read them.  `model` (one
 * candidate a slot, made from plan's architecture) and `plan` are borrowed.  NAS_E_NOMEM. */
nas_status nas_pruner_new(nas_pruner **out, const nas_model *model, const nas_prune_plan *plan,
                          nas_err *err);
void nas_pruner_free(nas_pruner *pruner);

/** Captures what each layer reads when the unpruned network sees at most `images` images of the
 * loader's epoch 0, at `points` random places of each image and layer.  From then on weights
 * are reconstructed; without it they are kept as they are.  NAS_E_CONFIG with fewer than
 * NAS_PRUNE_LEAST_IMAGES images; NAS_E_INTERRUPTED when the observer (may be NULL) says stop. */
nas_status nas_pruner_calibrate(nas_pruner *pruner, nas_loader *loader, int images, int points,
                                uint64_t seed, const nas_observer *observer, nas_err *err);

/** The network that keeps channels[g] (at least 1) of each group; `*arch` and `*model` are yours.
 * Solutions are kept: the same number of channels of a layer is solved once.  NAS_E_NOMEM;
 * NAS_E_FAIL if a layer's inputs hold no finite numbers. */
nas_status nas_pruner_apply(nas_pruner *pruner, const int *channels, nas_arch **arch,
                            nas_model **model, nas_err *err);

#endif
