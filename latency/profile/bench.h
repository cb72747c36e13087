/* Private to this folder: how a network is timed, the same way for a profile and for its
 * verification. */
#ifndef NAS_LATENCY_PROFILE_BENCH_H
#define NAS_LATENCY_PROFILE_BENCH_H

#include "latency/profile/job.h"
#include "latency/profile/request.h"
#include "nas/model/infer.h"

typedef struct nas_bench {
    nas_model *model;    /* every candidate, with random parameters            */
    float *image, *input; /* what is looked at, and where it is put before a run */
    size_t floats;       /* of each                                            */
    double *stamps;      /* [NAS_BENCH_RUNS][slots + 1]                        */
    double clock_ms;     /* what reading the clock costs                       */
    nas_cores cores;     /* that the threads are bound to                      */
    nas_infer *probe;    /* the job's                                          */
} nas_bench;

/** Binds the threads to the job's cores until nas_bench__fini, which is called after an error, too.
 * NAS_E_CONFIG, NAS_E_NOMEM. */
nas_status nas_bench__init(nas_bench *bench, const nas_space *space, const nas_job *job,
                           nas_err *err);
void nas_bench__fini(nas_bench *bench);

/** The probe until two of its times agree, at most `seconds`: clock speed and caches are those of
 * work. */
void nas_bench__warm_up(nas_bench *bench, double seconds);

/** Measures what is asked for.  A network is built, run until its memory is warm, then a few times
 * on the clock: its time is the median of a run, its blocks' those of each, scaled so that they sum
 * up to the median of the runs.  The probe is built already.  NAS_E_NOMEM. */
nas_status nas_bench__answer(nas_bench *bench, const nas_request *request, nas_answer *answer,
                             nas_err *err);

#endif
