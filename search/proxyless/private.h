/* The state of a search; private to search/proxyless. */
#ifndef NAS_SEARCH_PROXYLESS_PRIVATE_H
#define NAS_SEARCH_PROXYLESS_PRIVATE_H

#include "nas/data/loader.h"
#include "nas/data/split.h"
#include "nas/train/evaluate.h"
#include "search/evolution/evolution.h"
#include "search/proxyless/objective.h"
#include "search/proxyless/search.h"

enum { NAS_SEARCH_EVAL_BATCH = 128 };

struct nas_search {
    const nas_space *space;
    const nas_dataset *data;
    const nas_latency_lut *lut; /* NULL: no latency is known              */
    nas_search_config config;
    nas_problem problem;        /* what the network is chosen from, with all limits */
    nas_objectives objectives;

    nas_index train, valid;
    nas_loader *train_loader, *arch_loader, *valid_loader;
    int64_t batches, arch_batches; /* of an epoch of each loader */

    nas_model *model;
    nas_exec *exec;
    nas_step step;
    nas_alphas alphas;
    nas_path path;
    double *q, *before;   /* [total] of the alphas                      */
    double *gate_grad;    /* [slots][NAS_MAX_CANDIDATES]                */
    const double **rows;  /* [slots] into q                             */

    /* what a checkpoint holds beside parameters and alphas */
    int64_t epoch, batch;       /* epochs count warm-up and search together */
    int64_t arch_steps;         /* done so far                              */
    bool arch_due;              /* one follows the batch done last          */
    double loss_sum;            /* of this epoch                            */
    int64_t loss_images;
    bool has_baseline;
    double baseline;            /* REINFORCE                                */
    double seconds;             /* of earlier attempts                      */
    bool out_of_time;
    int64_t left_out;           /* batches of the epoch in which the time was up */
    double started;             /* monotonic: this attempt                   */
};

/** One architecture step on the next validation batch, no longer due then.  NAS_E_INTERRUPTED
 * when the observer says stop: nothing has changed then, and it is still due. */
nas_status nas_search__arch_step(nas_search *s, const nas_observer *observer, nas_err *err);
/** Chooses the network after training; NAS_E_INFEASIBLE where several limits hold and no network
 * meets them all; fills the result but steps and seconds. */
nas_status nas_search__derive(nas_search *s, const nas_observer *observer,
                              nas_search_result *result, nas_err *err);
/** Scores a path on validation images with batch statistics; at most `images`.
 * NAS_E_INTERRUPTED when the observer says stop. */
nas_status nas_search__validate(nas_search *s, const int *choice, int64_t images,
                                const nas_observer *observer, nas_score *score, nas_err *err);
nas_status nas_search__save(void *self, const char *path, nas_err *err);

#endif
