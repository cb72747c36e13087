/* Supervised training of one architecture: what `nas train` runs. */
#ifndef NAS_NAS_TRAIN_TRAIN_H
#define NAS_NAS_TRAIN_TRAIN_H

#include "nas/data/dataset.h"
#include "nas/model/model.h"
#include "nas/train/observer.h"
#include "nas/train/safetensors.h"

/** What else happens in a training: to the parameters after each step, and in checkpoints. */
typedef struct nas_train_hooks {
    void *user;
    void (*stepped)(void *user, double lr);
    void (*add)(void *user, nas_safetensors_builder *builder);
    nas_status (*read)(void *user, const nas_safetensors *file, nas_err *err);
} nas_train_hooks;

typedef struct nas_train_config {
    int64_t epochs;
    int batch;
    double lr, momentum, decay, label_smoothing; /* SGD with Nesterov, cosine to 0 */
    const nas_model *teacher; /* borrowed, one candidate a slot, same images and classes; NULL:
                                 none                                                        */
    double distill;       /* its share of the targets, 0 to 1 (nas_step_teach)     */
    const char *augment;  /* preset: "none", "cifar", "imagenet"                   */
    double valid_fraction; /* of train, held out by class; 0: none                 */
    uint64_t seed;
    int loader_threads;
    nas_memory memory;
    const nas_train_hooks *hooks; /* borrowed; NULL: none                          */
    const nas_comm *comm;  /* processes that train together, each on its part of every batch,
                              which they must divide; NULL: alone.  The observers of all say
                              "stop" at the same time; that of process 0 keeps the checkpoints */
    bool sync_bn;          /* of several: batch norm sees whole batches            */
} nas_train_config;

/** What `nas train` does when nothing else is said. */
nas_train_config nas_train_default(void);

typedef struct nas_train_result {
    double train_loss;              /* of the last epoch                   */
    double valid_top1, valid_top5;  /* NAN without validation images       */
    int64_t steps;
} nas_train_result;

typedef struct nas_trainer nas_trainer;

/** `model` (one candidate a slot) and `data` are borrowed; their sizes must fit. */
nas_status nas_trainer_new(nas_trainer **out, nas_model *model, const nas_dataset *data,
                           const nas_train_config *config, nas_err *err);
void nas_trainer_free(nas_trainer *trainer);

/** Continues from a checkpoint that a trainer with the same config wrote. */
nas_status nas_trainer_load(nas_trainer *trainer, const char *path, nas_err *err);

/** Trains to the end.  NAS_E_INTERRUPTED after a checkpoint when the observer says stop. */
nas_status nas_trainer_run(nas_trainer *trainer, const nas_observer *observer,
                           nas_train_result *result, nas_err *err);

#endif
