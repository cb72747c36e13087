/* The library itself: version, threads, messages, options, and callbacks. */
#include <omp.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/system.h"
#include "lib/private.h"
#include "lib/version.h"

static const double checkpoint_seconds = 60.0;

/* When the library is loaded: a program's stderr is its own. */
__attribute__((constructor)) static void begin(void)
{
    nas_log_set_level(NAS_LOG_WARN);
}

const char *nas_version(void)
{
    return NAS_LIB_VERSION;
}

void nas_threads_set(int threads)
{
    omp_set_num_threads(threads > 0 ? threads : nas_system_cores());
}

void nas_messages_set(int level)
{
    nas_log_set_level(level <= 0   ? NAS_LOG_ERROR
                      : level == 1 ? NAS_LOG_WARN
                      : level == 2 ? NAS_LOG_INFO
                                   : NAS_LOG_DEBUG);
}

int nas_lib__threads(void)
{
    return omp_get_max_threads();
}

void nas_lib__init(void *options, size_t size, const void *defaults, size_t known)
{
    memset(options, 0, size);
    memcpy(options, defaults, size < known ? size : known);
    memcpy(options, &size, sizeof size < size ? sizeof size : size);
}

nas_status nas_lib__options(void *options, size_t size, const void *given, nas_err *err)
{
    size_t of_given;

    if (given == NULL)
        return NAS_OK;
    memcpy(&of_given, given, sizeof of_given);
    if (of_given < sizeof of_given || of_given > 4096) {
        nas_fail(err, NAS_E_USAGE, "the options were not initialised");
        nas_hint(err, "call the _init function of the struct first");
        return NAS_E_USAGE;
    }
    memcpy(options, given, of_given < size ? of_given : size);
    return NAS_OK;
}

/* -- watching ------------------------------------------------------------------------- */

/* What runs has room for as many threads as it began with: a callback does not change them. */
static void on_progress(void *user, const nas_progress *p)
{
    const int threads = omp_get_max_threads();
    const nas_lib__observer *o = user;
    const nas_stage stage = {.phase = p->phase, .epoch = p->epoch, .epochs = p->epochs,
                             .batch = p->batch, .batches = p->batches, .step = p->step,
                             .images_per_second = p->images_per_second, .loss = p->loss,
                             .latency_ms = p->latency_ms, .entropy = p->entropy};

    o->watch->progress(o->watch->user, &stage);
    omp_set_num_threads(threads);
}

static nas_status on_metrics(void *user, int64_t step, int64_t epoch, const nas_metric *metrics,
                             int count, nas_err *err)
{
    const nas_lib__observer *o = user;
    const int threads = omp_get_max_threads();

    for (int i = 0; i < count; i++)
        o->watch->metric(o->watch->user, epoch, metrics[i].name, metrics[i].value);
    omp_set_num_threads(threads);
    return NAS_OK;
}

static bool on_stop(void *user)
{
    const nas_lib__observer *o = user;
    const int threads = omp_get_max_threads();
    const bool stops = o->watch->stop(o->watch->user) != 0;

    omp_set_num_threads(threads);
    return stops;
}

static nas_status on_checkpoint(void *user, int64_t step, double score, nas_save_fn *save,
                                void *self, nas_err *err)
{
    nas_lib__observer *o = user;

    o->next = nas_clock_seconds() + checkpoint_seconds;
    return save(self, o->checkpoint, err);
}

static bool on_due(void *user)
{
    const nas_lib__observer *o = user;

    return nas_clock_seconds() >= o->next;
}

void nas_lib__observe(nas_lib__observer *o, const nas_watch *watch, const char *checkpoint)
{
    *o = (nas_lib__observer){.watch = watch, .checkpoint = checkpoint,
                             .next = nas_clock_seconds() + checkpoint_seconds};
    o->observer.user = o;
    if (watch != NULL) {
        o->observer.progress = watch->progress != NULL ? on_progress : NULL;
        o->observer.metrics = watch->metric != NULL ? on_metrics : NULL;
        o->observer.stop = watch->stop != NULL ? on_stop : NULL;
    }
    if (checkpoint != NULL) {
        o->observer.checkpoint = on_checkpoint;
        o->observer.checkpoint_due = on_due;
    }
}
