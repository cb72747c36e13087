/* Private to this folder: how a network is timed, the same way for a profile and for its
 * verification. */
#ifndef NAS_LATENCY_PROFILE_BENCH_H
#define NAS_LATENCY_PROFILE_BENCH_H

#include "latency/profile/cores.h"
#include "nas/model/infer.h"

typedef struct nas_bench {
    nas_model *model;    /* every candidate, with random parameters            */
    float *image, *input; /* what is looked at, and where it is put before a run */
    size_t floats;       /* of each                                            */
    double *stamps;      /* [RUNS][slots + 1]                                  */
    double clock_ms;     /* what reading the clock costs                       */
    nas_cores cores;     /* that the threads are bound to                      */
    nas_infer *probe;    /* what nas_bench__probe runs                         */
    long runs, disturbed; /* on the clock; of these, whole ones with an interruption */
} nas_bench;

/** Binds the threads to `cores` (as nas_cores__parse) until nas_bench__fini, which is called after
 * an error, too.  NAS_E_CONFIG, NAS_E_NOMEM. */
nas_status nas_bench__init(nas_bench *bench, const nas_space *space, uint64_t seed,
                           const char *cores, nas_err *err);
void nas_bench__fini(nas_bench *bench);

/** The same network until two turns agree, at most `seconds`: clock speed and caches are those
 * of work.  NAS_E_NOMEM. */
nas_status nas_bench__warm_up(nas_bench *bench, const int *choice, double seconds, nas_err *err);

/** One turn: builds the path `choice`, runs it until its memory is warm, then a few times on
 * the clock.  *total_ms is the median time of a run, block_ms[slots] that of each block, scaled so
 * that these sum up to the median of the runs; of these one is given, the other NULL.  NAS_E_NOMEM. */
nas_status nas_bench__turn(nas_bench *bench, const int *choice, double *total_ms, double *block_ms,
                           nas_err *err);

/** The network that nas_bench__probe runs from now on.  NAS_E_NOMEM. */
nas_status nas_bench__set_probe(nas_bench *bench, const int *choice, nas_err *err);
/** Time of that network, now, as the median of three runs: how fast the machine is. */
double nas_bench__probe(nas_bench *bench);

#endif
