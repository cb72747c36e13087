/* Training an accuracy predictor from architectures whose accuracy is known. */
#ifndef NAS_SEARCH_OFA_TRAIN_H
#define NAS_SEARCH_OFA_TRAIN_H

#include "nas/train/observer.h"
#include "search/ofa/predictor.h"

typedef struct nas_predictor_config {
    int hidden, layers; /* width and number of the hidden layers             */
    int64_t epochs;
    int batch;
    double lr, decay;   /* Adam; lr follows a cosine to 0                    */
    double held_out;    /* share of the samples that judges and never trains */
    uint64_t seed;
} nas_predictor_config;

/** How well the held-out samples are foretold; NAN where there are too few. */
typedef struct nas_predictor_fit {
    int trained, held_out; /* samples                                         */
    double rmse, spearman, kendall;
} nas_predictor_fit;

/** Trains on samples[count], whose score is their accuracy, with mean squared error and Adam;
 * targets are standardised while it trains.  The same seed gives the same bits for any number of
 * threads.  NAS_E_DATA: fewer than 10 samples, or scores that are not finite; NAS_E_FAIL: it
 * diverged; NAS_E_INTERRUPTED
 * when `observer` (may be NULL) asks to stop; NAS_E_NOMEM.
 * Source: Cai et al. 2020, Once-for-All, section 3.4; settings of its public code. */
nas_status nas_predictor_train(nas_predictor **out, const nas_encoding *encoding,
                               const nas_candidate *samples, int count,
                               const nas_predictor_config *config, const nas_observer *observer,
                               nas_predictor_fit *fit, nas_err *err);

#endif
