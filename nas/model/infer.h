/* The inference engine: one network with batch norm folded into its convolutions.
 * It is what `nas eval` runs and what `nas profile` measures. */
#ifndef NAS_NAS_MODEL_INFER_H
#define NAS_NAS_MODEL_INFER_H

#include "nas/model/model.h"

typedef struct nas_infer nas_infer;

/** Folds the path `choice` of `model` (copied: the model may change afterwards) and
 * plans for at most `max_batch` images at the current number of threads. */
nas_status nas_infer_new(nas_infer **out, const nas_model *model, const int *choice, int max_batch,
                         nas_err *err);
/** Only the slots first..first+count-1: for timing a block alone. */
nas_status nas_infer_new_part(nas_infer **out, const nas_model *model, const int *choice, int first,
                              int count, int max_batch, nas_err *err);
void nas_infer_free(nas_infer *infer);

/** Output [n][..] of `input` [n][..]; the whole network: logits of images.  Valid
 * until the next call. */
const float *nas_infer_run(nas_infer *infer, int n, const float *input);
/** As nas_infer_run; stamp[0] gets the time (nas_clock_seconds) before the first block,
 * stamp[i] that after the i-th: one more than there are blocks. */
const float *nas_infer_run_stamped(nas_infer *infer, int n, const float *input, double *stamp);
/** Floats of input and of output for one image. */
size_t nas_infer_input_floats(const nas_infer *infer);
size_t nas_infer_output_floats(const nas_infer *infer);

#endif
