/* The search: a path-binarised supernet trained on the task itself, architecture
 * parameters moved by gradient or REINFORCE under a latency target or other limits
 * (search/proxyless/objective.h), and one network derived that meets them all.
 *
 * Source: ProxylessNAS (Cai, Zhu, Han 2019).  One-shot evolution and random search
 * train the same supernet with uniformly drawn paths and choose afterwards. */
#ifndef NAS_SEARCH_PROXYLESS_SEARCH_H
#define NAS_SEARCH_PROXYLESS_SEARCH_H

#include "latency/loss.h"
#include "latency/lut.h"
#include "nas/data/dataset.h"
#include "nas/model/model.h"
#include "nas/train/observer.h"
#include "search/evolution/evolution.h"
#include "search/proxyless/alphas.h"

typedef enum nas_search_method {
    NAS_SEARCH_GRADIENT,
    NAS_SEARCH_REINFORCE,
    NAS_SEARCH_EVOLUTION,
    NAS_SEARCH_RANDOM
} nas_search_method;

typedef struct nas_search_config {
    nas_search_method method;
    nas_arch_mode arch_mode;           /* gradient                                        */
    nas_latency_loss_kind latency_loss;
    double target_ms;                  /* hard for the derived network, as the next; 0: any */
    double max_macs, max_parameters;
    double max_memory_bytes;           /* activations at once (nas/space/memory.h)         */
    bool objective[NAS_COSTS];         /* gradient, REINFORCE: which of these limits the training
                                          presses for, too; each is given                  */
    int64_t warmup_epochs, epochs;     /* weights alone; weights and architecture          */
    int batch;
    double warmup_lr, lr, momentum, decay, label_smoothing; /* SGD, Nesterov, cosine       */
    double clip_norm;                  /* longest gradient of a weight step; 0: any        */
    const char *augment;               /* preset                                          */
    double valid_fraction;             /* of train, for alphas and validation, by class    */
    int arch_every;                    /* weight steps between architecture steps          */
    double arch_lr;                    /* Adam, betas 0 and 0.999; 0: nas_search_arch_lr   */
    int rl_samples;                    /* REINFORCE: networks an update                    */
    int derive_samples;                /* networks judged at the end (best of N)           */
    int score_images;                  /* validation images that judge each of them        */
    int verify_top;                    /* of them, the best so many are measured whole and must
                                          meet the target by that, too; 0: none.  What is found
                                          then depends on time                              */
    nas_measurer measurer;             /* for verify_top                                   */
    int recalibrate_batches;           /* batch norm of the chosen one                     */
    double max_minutes;                /* of searching; 0: no limit                        */
    uint64_t seed;
    int loader_threads;
    nas_memory memory;                 /* changes no result                               */
    const nas_comm *comm;              /* processes that search together, each on its part of every
                                          batch; NULL: alone.  They must divide the batch; the
                                          observers of all say "stop" at the same time, and that of
                                          process 0 keeps the checkpoints, which fit them all   */
    bool sync_bn;                      /* of several: batch norm sees whole batches        */
} nas_search_config;

/** Published settings where they exist, sized for small machines (docs/papers.md); the objective is
 * latency. */
nas_search_config nas_search_default(double target_ms);

/** Learning rate of the alphas when none is given: the published 1e-3 at 4,000 steps or more,
 * larger for shorter searches so that alphas can still travel 4 units, at most 0.1. */
double nas_search_arch_lr(int64_t arch_steps);

typedef struct nas_search_result {
    int choice[NAS_MAX_SLOTS]; /* the network; the closest one when not feasible   */
    bool feasible;             /* it meets the limits, and measured_ms, if it was measured,
                                  the target                                      */
    double latency_ms;         /* by the table; NAN without one                   */
    double valid_loss, valid_top1, valid_top5; /* after re-calibration            */
    int64_t steps;
    double seconds;            /* of searching, over all attempts                 */
    int judged;                /* architectures judged at the end: the answer, then the best
                                  first                                            */
    int verified;              /* the first so many of them were measured          */
    nas_candidate *judgement;  /* [judged], score = top-1; yours (free)           */
} nas_search_result;

typedef struct nas_search nas_search;

/** All borrowed; `space` was fitted to `data`, `lut` made for that space (NULL: no latency is
 * known, and there is no target for it).
 * NAS_E_CONFIG; NAS_E_INFEASIBLE when no network of the space meets the limits (the
 * hint shows the reachable range); NAS_E_NOMEM. */
nas_status nas_search_new(nas_search **out, const nas_space *space, const nas_dataset *data,
                          const nas_latency_lut *lut, const nas_search_config *config,
                          nas_err *err);
void nas_search_free(nas_search *search);

/** Continues from a checkpoint of a search with the same configuration. */
nas_status nas_search_load(nas_search *search, const char *path, nas_err *err);

/** Runs to the end.  NAS_E_INTERRUPTED after a checkpoint when the observer says stop. */
nas_status nas_search_run(nas_search *search, const nas_observer *observer,
                          nas_search_result *result, nas_err *err);

/** The supernet (borrowed), e.g. to inherit weights from. */
const nas_model *nas_search_model(const nas_search *search);
const nas_alphas *nas_search_alphas(const nas_search *search);

/** Judges `choice` as the derivation does: top-1 on the validation images with batch
 * statistics.  For comparisons with networks that the search did not choose. */
nas_status nas_search_score(nas_search *search, const int *choice, double *top1, nas_err *err);

/** Digest of weights, alphas and position: equal for equal searches. */
nas_status nas_search_digest(const nas_search *search, char out[NAS_DIGEST_SIZE], nas_err *err);

#endif
