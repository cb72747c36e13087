/* Calls of an observer's members that are set. */
#include "nas/train/observer.h"

#include <stddef.h>

void nas_observe_progress(const nas_observer *observer, const nas_progress *progress)
{
    if (observer != NULL && observer->progress != NULL)
        observer->progress(observer->user, progress);
}

nas_status nas_observe_metrics(const nas_observer *observer, int64_t step, int64_t epoch,
                               const nas_metric *metrics, int count, nas_err *err)
{
    if (observer == NULL || observer->metrics == NULL)
        return NAS_OK;
    return observer->metrics(observer->user, step, epoch, metrics, count, err);
}

nas_status nas_observe_checkpoint(const nas_observer *observer, int64_t step, double score,
                                  nas_save_fn *save, void *self, nas_err *err)
{
    if (observer == NULL || observer->checkpoint == NULL)
        return NAS_OK;
    return observer->checkpoint(observer->user, step, score, save, self, err);
}

bool nas_observe_stop(const nas_observer *observer)
{
    return observer != NULL && observer->stop != NULL && observer->stop(observer->user);
}

nas_status nas_observe_go_on(const nas_observer *observer, const char *doing, nas_err *err)
{
    return nas_observe_stop(observer)
               ? nas_fail(err, NAS_E_INTERRUPTED, "stopped while %s", doing)
               : NAS_OK;
}

bool nas_observe_checkpoint_due(const nas_observer *observer)
{
    return observer != NULL && observer->checkpoint_due != NULL &&
           observer->checkpoint_due(observer->user);
}

/* ---- steps that count on ---- */

static void later_progress(void *user, const nas_progress *at)
{
    const nas_later *later = user;
    nas_progress moved = *at;

    moved.step += later->steps;
    nas_observe_progress(later->observer, &moved);
}

static nas_status later_metrics(void *user, int64_t step, int64_t epoch, const nas_metric *metrics,
                                int count, nas_err *err)
{
    const nas_later *later = user;

    return nas_observe_metrics(later->observer, step + later->steps, epoch, metrics, count, err);
}

static nas_status later_probabilities(void *user, int64_t epoch, int slots, const int *counts,
                                      const double *p, nas_err *err)
{
    const nas_observer *observer = ((const nas_later *)user)->observer;

    return observer->probabilities != NULL
               ? observer->probabilities(observer->user, epoch, slots, counts, p, err)
               : NAS_OK;
}

static nas_status later_checkpoint(void *user, int64_t step, double score, nas_save_fn *save,
                                   void *self, nas_err *err)
{
    const nas_later *later = user;

    return nas_observe_checkpoint(later->observer, step + later->steps, score, save, self, err);
}

static bool later_stop(void *user)
{
    return nas_observe_stop(((const nas_later *)user)->observer);
}

static bool later_checkpoint_due(void *user)
{
    return nas_observe_checkpoint_due(((const nas_later *)user)->observer);
}

nas_observer nas_observe_later(nas_later *later)
{
    return (nas_observer){.user = later, .progress = later_progress, .metrics = later_metrics,
                          .probabilities = later_probabilities, .checkpoint = later_checkpoint,
                          .stop = later_stop, .checkpoint_due = later_checkpoint_due};
}
