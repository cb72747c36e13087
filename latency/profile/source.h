/* Private to this folder: where turns are measured: on this machine or at the other end of a
 * link. */
#ifndef NAS_LATENCY_PROFILE_SOURCE_H
#define NAS_LATENCY_PROFILE_SOURCE_H

#include "latency/profile/facts.h"
#include "latency/profile/job.h"
#include "latency/via/via.h"
#include "nas/train/observer.h"

typedef struct nas_source nas_source;
struct nas_source {
    /** Begins with turn job->first, whose network is `choice`, and says of what.  May be called
     * again after `next` failed with NAS_E_IO. */
    nas_status (*open)(nas_source *source, const nas_job *job, const int *choice, nas_facts *facts,
                       nas_err *err);
    /** Block times of the next turn, whose network is `choice`.  NAS_E_IO: the link is lost;
     * NAS_E_INTERRUPTED: the observer said stop. */
    nas_status (*next)(nas_source *source, int64_t turn, const int *choice, double *block_ms,
                       nas_err *err);
    /** Time of the probe (latency/profile/probe.h), now; NULL: it has none. */
    double (*probe)(nas_source *source);
    void (*free)(nas_source *source); /* NULL is no source */
};

/** This process, as `engine`.  NULL: no memory. */
nas_source *nas_source__local(const nas_space *space, const char *engine, nas_err *err);
/** nas-profile on another device.  NULL: no memory. */
nas_source *nas_source__remote(const nas_space *space, const nas_via *via,
                               const nas_observer *observer, nas_err *err);

#endif
