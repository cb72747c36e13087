/* Training a network that stays quantised: a quantizer plugged into the ordinary trainer. */
#ifndef NAS_NAS_TRAIN_QUANTISED_TRAIN_H
#define NAS_NAS_TRAIN_QUANTISED_TRAIN_H

#include "nas/quant/quantizer.h"
#include "nas/train/train.h"

typedef struct nas_quantised_training {
    nas_quantizer *quantizer; /* borrowed; a policy was applied */
    double momentum, decay;   /* of the ranges                  */
    nas_train_hooks hooks;    /* for nas_train_config           */
} nas_quantised_training;

/** Fills `training`, which must stay where it is while a trainer has its hooks. */
void nas_quantised_training_init(nas_quantised_training *training, nas_quantizer *quantizer,
                                 double momentum, double decay);

/** The policy in force when a checkpoint was written, [nas_quantizer_count].  NAS_E_DATA. */
nas_status nas_quantised_training_policy(const nas_safetensors *file,
                                         const nas_quantizer *quantizer, nas_bits *bits,
                                         nas_err *err);

#endif
