/* Training a supernet, one phase of a schedule at a time: progressive shrinking (Cai et al.
 * 2020, Once-for-All, section 3.3) or the sandwich rule (Yu et al. 2020, BigNAS). */
#ifndef NAS_SEARCH_OFA_SHRINK_H
#define NAS_SEARCH_OFA_SHRINK_H

#include "search/ofa/judge.h"
#include "search/ofa/schedule.h"

/** One corner of what the phase allows, at one image size, re-calibrated. */
typedef struct nas_corner_score {
    char name[48]; /* "k3-e6-shallow-r32" */
    double top1, loss;
} nas_corner_score;
enum { NAS_CORNER_SCORES = 2 * NAS_ELASTIC_CORNERS };

typedef struct nas_shrink_result {
    double train_loss;  /* of the last epoch       */
    double mean_top1;   /* over the corners        */
    int corners;
    nas_corner_score corner[NAS_CORNER_SCORES];
    int64_t steps;
} nas_shrink_result;

/** What nas_shrink_new would refuse of images and batch, without doing anything.  NAS_E_CONFIG,
 * NAS_E_DATA, NAS_E_NOMEM. */
nas_status nas_shrink_check(const nas_supernet *supernet, const nas_dataset *data,
                            const nas_phase *phase, nas_err *err);

typedef struct nas_shrink nas_shrink;

/** Begins a phase: fades kernels if it is the first and says so, keeps the largest network as
 * teacher where the phase wants one and there is none, sorts channels where it makes the width
 * elastic, and forgets momentum.  `supernet` must be planned for the phase's batch and
 * NAS_JUDGE_BATCH images; it and `data` are borrowed. */
nas_status nas_shrink_new(nas_shrink **out, nas_supernet *supernet, const nas_dataset *data,
                          const nas_phase *phase, const nas_judge_config *config, nas_err *err);
void nas_shrink_free(nas_shrink *shrink);

/** Continues from a checkpoint of the same phase. */
nas_status nas_shrink_load(nas_shrink *shrink, const char *path, nas_err *err);

/** Trains to the phase's end and enters it in the supernet.  NAS_E_INTERRUPTED after a checkpoint
 * when the observer says stop. */
nas_status nas_shrink_run(nas_shrink *shrink, const nas_observer *observer,
                          nas_shrink_result *result, nas_err *err);

#endif
