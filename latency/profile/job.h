/* Private to this folder: what a device is asked to measure
 * (docs/reference/profile-protocol.md). */
#ifndef NAS_LATENCY_PROFILE_JOB_H
#define NAS_LATENCY_PROFILE_JOB_H

#include "latency/profile/cores.h"
#include "nas/space/space.h"

enum { NAS_JOB_MAX_BYTES = 4 << 20 };

typedef struct nas_job {
    int threads;    /* 0: as many as the device has cores      */
    char cores[NAS_CORES_SIZE]; /* "any", or the list that threads are bound to */
    uint64_t seed;  /* of parameters and image                 */
    double warm_seconds; /* at most, before the first request  */
    int probe[NAS_MAX_SLOTS]; /* the network that a probe runs */
} nas_job;

/** The text that _parse reads; malloc'ed, yours.  NAS_E_NOMEM. */
nas_status nas_job__text(char **text, size_t *size, const nas_job *job, const nas_space *space,
                         nas_err *err);

/** Reads a job; `*space` (yours: nas_space_free) is checked and has what measuring needs: image,
 * classes, slots.  NAS_E_DATA with the line, NAS_E_CONFIG, NAS_E_NOMEM. */
nas_status nas_job__parse(nas_job *job, nas_space **space, const char *text, size_t size,
                          nas_err *err);

#endif
