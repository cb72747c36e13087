/* How good a subnet is, without training it: batch norm re-calibrated, then scored on held-out
 * images (Cai et al. 2020, Once-for-All).  It remembers what it judged, so that work which is
 * stopped goes on where it was. */
#ifndef NAS_SEARCH_OFA_JUDGE_H
#define NAS_SEARCH_OFA_JUDGE_H

#include "nas/data/split.h"
#include "nas/elastic/supernet.h"
#include "nas/train/evaluate.h"
#include "search/evaluator.h"

enum { NAS_JUDGE_BATCH = 128 }; /* images; what the supernet must be able to run */

typedef struct nas_judge_config {
    int64_t recalibrate_images; /* of the training ones, for the statistics of batch norm    */
    int64_t score_images;       /* at most so many of the held-out ones; 0: all              */
    const char *augment;        /* preset of the re-calibration's images                     */
    uint64_t seed;
    int loader_threads;
} nas_judge_config;

typedef struct nas_judge nas_judge;

/** `train` and `valid` are lists of images of `data` (copied).  Everything else is borrowed. */
nas_status nas_judge_new(nas_judge **out, nas_supernet *supernet, const nas_dataset *data,
                         const nas_index *train, const nas_index *valid,
                         const nas_judge_config *config, nas_err *err);
void nas_judge_free(nas_judge *judge);

/** The images that the supernet was not trained on, and the others: the split that is named in
 * it.  NAS_E_DATA, NAS_E_CONFIG, NAS_E_NOMEM. */
nas_status nas_judge_split(const nas_supernet *supernet, const nas_dataset *data, nas_index *train,
                           nas_index *valid, nas_err *err);

/** NAS_E_CONFIG if the supernet was trained on other images than `data`: of these it may know
 * those that judge. */
nas_status nas_judge_check_data(const nas_supernet *supernet, const nas_dataset *data,
                                nas_err *err);

/** Batch norm's statistics of the subnet `choice` for images of `image_size`: it lies where the
 * supernet runs subnets (nas_elastic_work) afterwards, ready to be used. */
nas_status nas_judge_recalibrate(nas_judge *judge, const int *choice, int image_size,
                                 const nas_observer *observer, nas_err *err);
/** Re-calibrates and scores. */
nas_status nas_judge_score(nas_judge *judge, const int *choice, int image_size,
                           const nas_observer *observer, nas_score *score, nas_err *err);

/** As an evaluator (score: top-1) that judges no network twice.  Candidates are of a space whose candidate c of
 * slot s is origin[s][c] of the supernet's (borrowed; NULL: of its own).  After every one it
 * reports progress ("judging", `expected` of them) and writes checkpoints when they are due;
 * NAS_E_INTERRUPTED, after one, when the observer says stop. */
nas_evaluator nas_judge_evaluator(nas_judge *judge, const int (*origin)[NAS_MAX_CANDIDATES],
                                  const nas_observer *observer, int64_t expected);
/** How many it had to judge, and did not remember. */
int64_t nas_judge_fresh(const nas_judge *judge);
/** Reads a checkpoint of the same work: those that it remembers are not judged again. */
nas_status nas_judge_load(nas_judge *judge, const char *path, nas_err *err);

#endif
