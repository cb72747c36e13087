/* How a long computation talks to the outside: events out, "stop?" in.
 *
 * Training and search know neither the store nor the terminal nor signals; the
 * command line plugs those in, tests plug in fakes.  Any member may be NULL. */
#ifndef NAS_NAS_TRAIN_OBSERVER_H
#define NAS_NAS_TRAIN_OBSERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/** Where it stands; NAN where a number has no meaning. */
typedef struct nas_progress {
    const char *phase; /* "warm-up", "search", "train", "derive", ... */
    int64_t epoch, epochs;
    int64_t batch, batches; /* of this epoch            */
    int64_t step;           /* batches since the start  */
    double images_per_second;
    double loss, latency_ms, entropy;
} nas_progress;

typedef struct nas_metric {
    const char *name; /* "train_loss", "valid_top1", "expected_latency_ms", ... */
    double value;
} nas_metric;

/** Writes the state of a computation to a file, complete or not at all. */
typedef nas_status nas_save_fn(void *self, const char *path, nas_err *err);

typedef struct nas_observer {
    void *user;
    /** After every batch; must be cheap. */
    void (*progress)(void *user, const nas_progress *progress);
    /** At the end of an epoch. */
    nas_status (*metrics)(void *user, int64_t step, int64_t epoch, const nas_metric *metrics,
                          int count, nas_err *err);
    /** Operation probabilities after an epoch: counts[slots] values each, one slot after
     * the other (a search only). */
    nas_status (*probabilities)(void *user, int64_t epoch, int slots, const int *counts,
                                const double *p, nas_err *err);
    /** Asks for a checkpoint: calls save(self, path) with a path of its choice.  `score` is
     * higher for better ones, NAN for none. */
    nas_status (*checkpoint)(void *user, int64_t step, double score, nas_save_fn *save, void *self,
                             nas_err *err);
    /** True once the computation shall write a checkpoint and end (NAS_E_INTERRUPTED). */
    bool (*stop)(void *user);
    /** True when a checkpoint between epochs' ends is due. */
    bool (*checkpoint_due)(void *user);
} nas_observer;

void nas_observe_progress(const nas_observer *observer, const nas_progress *progress);
nas_status nas_observe_metrics(const nas_observer *observer, int64_t step, int64_t epoch,
                               const nas_metric *metrics, int count, nas_err *err);
nas_status nas_observe_checkpoint(const nas_observer *observer, int64_t step, double score,
                                  nas_save_fn *save, void *self, nas_err *err);
bool nas_observe_stop(const nas_observer *observer);
/** NAS_E_INTERRUPTED "stopped while <doing>" once it shall stop, otherwise NAS_OK. */
nas_status nas_observe_go_on(const nas_observer *observer, const char *doing, nas_err *err);
bool nas_observe_checkpoint_due(const nas_observer *observer);

/* What follows other work of the same run: its steps count on from those. */
typedef struct nas_later {
    const nas_observer *observer;
    int64_t steps; /* of what came before */
} nas_later;

/** Tells later->observer, which both outlive; probabilities have no steps and pass as they are. */
nas_observer nas_observe_later(nas_later *later);

#endif
