/* Accuracy of a network on images, and batch norm's re-calibration. */
#ifndef NAS_NAS_TRAIN_EVALUATE_H
#define NAS_NAS_TRAIN_EVALUATE_H

#include "nas/data/loader.h"
#include "nas/model/infer.h"
#include "nas/train/observer.h"
#include "nas/train/step.h"

/** Scores every image the loader serves in epoch 0 with the inference engine.  `visit`
 * (NULL: none) sees the logits of each batch in order, e.g. to write them to a file. */
nas_status nas_evaluate(nas_infer *infer, nas_loader *loader, int classes, nas_score *score,
                        nas_status (*visit)(void *user, const nas_batch *batch,
                                            const float *logits, nas_err *err),
                        void *user, nas_err *err);
/** Scores all images of a split with a network of one candidate a slot; `visit` as above. */
nas_status nas_evaluate_split(nas_score *score, const nas_model *model, const nas_dataset *data,
                              const nas_data_split *split, int threads,
                              nas_status (*visit)(void *user, const nas_batch *batch,
                                                  const float *logits, nas_err *err),
                              void *user, nas_err *err);
/** A `visit` that ends the evaluation with NAS_E_INTERRUPTED once its user, a const
 * nas_observer, says stop. */
nas_status nas_evaluate_stop(void *observer, const nas_batch *batch, const float *logits,
                             nas_err *err);

/** Replaces the running statistics of the path `choice` by the average of the batch
 * statistics over at most `batches` batches of the loader's epoch 0 (Cai et al. 2020,
 * Once-for-All: needed before any path of a supernet is judged); of several processes, over whole
 * batches.  NAS_E_INTERRUPTED when the
 * observer (may be NULL) says stop: the statistics are half done then. */
nas_status nas_recalibrate(nas_exec *exec, const int *choice, nas_loader *loader, int batches,
                           const nas_observer *observer, nas_err *err);

#endif
