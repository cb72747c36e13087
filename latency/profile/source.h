/* Private to this folder: who measures: this process or a program at the other end of a link. */
#ifndef NAS_LATENCY_PROFILE_SOURCE_H
#define NAS_LATENCY_PROFILE_SOURCE_H

#include "latency/profile/facts.h"
#include "latency/profile/job.h"
#include "latency/profile/request.h"
#include "latency/via/via.h"
#include "nas/train/observer.h"

typedef struct nas_source nas_source;
struct nas_source {
    /** Gets ready for requests about the job's space, warm, and says what measures.  May be called
     * again after NAS_E_IO. */
    nas_status (*open)(nas_source *source, const nas_job *job, nas_facts *facts, nas_err *err);
    /** NAS_E_IO: the link is lost; NAS_E_INTERRUPTED: the observer said stop. */
    nas_status (*ask)(nas_source *source, const nas_request *request, nas_answer *answer,
                      nas_err *err);
    void (*free)(nas_source *source);
};

/** This process, as `engine`.  NULL: no memory. */
nas_source *nas_source__local(const nas_space *space, const char *engine, nas_err *err);
/** nas-profile on another device.  NULL: no memory. */
nas_source *nas_source__remote(const nas_space *space, const nas_via *via,
                               const nas_observer *observer, nas_err *err);

#endif
