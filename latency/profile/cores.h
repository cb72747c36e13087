/* Private to this folder: which cores the threads of a measurement run on. */
#ifndef NAS_LATENCY_PROFILE_CORES_H
#define NAS_LATENCY_PROFILE_CORES_H

#include <sched.h>

#include "base/status.h"

enum { NAS_MAX_CORES = 64, NAS_CORES_SIZE = 64 };

typedef struct nas_cores {
    int count; /* 0: where the system puts them */
    int core[NAS_MAX_CORES];
    char text[NAS_CORES_SIZE]; /* as it was given */
    cpu_set_t before;          /* _bind: where the threads were */
} nas_cores;

/** Reads "any" (or NULL), or numbers and ranges with commas between them: "4-7", "0,2".
 * NAS_E_CONFIG. */
nas_status nas_cores__parse(nas_cores *out, const char *text, nas_err *err);

/** Binds each OpenMP thread to a core of its own, in the order of the list.  NAS_E_CONFIG if
 * there are more threads than cores in it, or a core that this process may not use; then the
 * threads are where they were, and there is nothing to release. */
nas_status nas_cores__bind(nas_cores *cores, nas_err *err);
/** Lets OpenMP's threads run where they did before, if they were bound. */
void nas_cores__release(nas_cores *cores);

#endif
