/* One training step of one path, and the pieces around it that training and
 * search share: targets, loss, learning-rate schedule. */
#ifndef NAS_NAS_TRAIN_STEP_H
#define NAS_NAS_TRAIN_STEP_H

#include "nas/model/exec.h"
#include "nas/model/infer.h"

/** Cosine from lr to 0: lr/2 * (1 + cos(pi * step / steps)). */
double nas_cosine(double lr, int64_t step, int64_t steps);

/** targets[n][classes] = (1 - smoothing) * onehot + smoothing / classes. */
void nas_targets(const int *labels, int n, int classes, float smoothing, float *targets);

/** out[n][classes]: softmax of each row, summed in double. */
void nas_softmax(const float *logits, int n, int classes, float *out);

/** Sum over n rows of the plain cross-entropy, in double. */
double nas_cross_entropy_sum(const float *logits, const int *labels, int n, int classes);

/** How many of the n rows have their label as the largest logit, and among the five
 * largest; the lower class wins a tie. */
void nas_count_hits(const float *logits, const int *labels, int n, int classes, int64_t *top1,
                    int64_t *top5);

/** Buffers of a step; sized for max_batch images. */
typedef struct nas_step {
    nas_exec *exec; /* borrowed */
    int classes;
    float *targets, *dlogits; /* [max_batch][classes] */
    nas_infer *teacher;       /* owned; NULL: labels alone */
    float *taught;            /* [max_batch][classes], its answer */
    float distill;
    const nas_comm *comm;     /* NULL: alone */
    bool sync_bn;
} nas_step;

nas_status nas_step_init(nas_step *step, nas_exec *exec, int max_batch, int classes, nas_err *err);
void nas_step_fini(nas_step *step);
/** From now on the targets of nas_step_weights are (1 - distill) of the labels and distill of what
 * `teacher` (one candidate a slot, copied, batch norm by running statistics) says of the same
 * images (Hinton et al. 2015, temperature 1).  NAS_E_NOMEM. */
nas_status nas_step_teach(nas_step *step, const nas_model *teacher, float distill, int max_batch,
                          nas_err *err);
/** From now on the images are this process's part of a batch, all parts of the same size; losses
 * and weight steps are those of the whole batch, and every process makes the same.  Batch norm sees
 * the whole batch (sync_bn), or each process its part.  `comm` is borrowed; NULL: alone. */
void nas_step_join(nas_step *step, const nas_comm *comm, bool sync_bn);

/** Images of a batch that each process gets: an equal part of at least two.  NAS_E_CONFIG. */
nas_status nas_step_part(int *part, const nas_comm *comm, int batch, nas_err *err);

/** Forward (batch statistics, running statistics updated with `bn_momentum`), loss with
 * label smoothing, gradient, SGD on the path `choice`.  Returns the loss. */
double nas_step_weights(nas_step *step, const int *choice, int n, const float *images,
                        const int *labels, float smoothing, const nas_forward *how,
                        const nas_sgd *sgd);

/** Forward without touching running statistics, plain cross-entropy, and the gradients
 * `want` of it; these are this process's part, to be summed.  Returns the loss. */
double nas_step_gates(nas_step *step, const int *choice, int n, const float *images,
                      const int *labels, const nas_backward *want);

/** Loss and hits of n images, forward as `how` says; of this process's images alone. */
typedef struct nas_score {
    double loss; /* sum over images */
    int64_t images, top1, top5;
} nas_score;
void nas_step_score(nas_step *step, const int *choice, int n, const float *images,
                    const int *labels, const nas_forward *how, nas_score *score);
/** Adds up what the processes scored. */
void nas_score_sum(const nas_comm *comm, nas_score *score);

#endif
