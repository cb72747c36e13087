/* The profiler: what every operation of a space costs on this machine.
 *
 * An operation is timed where it will work: inside networks.  In each turn a network is
 * drawn in which every slot takes its next candidate (so all come up equally often), it is
 * built as an inference engine, run until warm, and run with the clock read between its
 * blocks.  So a block finds its input, its weights and the caches as it does in use, and
 * the sum of the means predicts whole networks.  The turns happen here or, via a link, on
 * another device; everything else is the same. */
#ifndef NAS_LATENCY_PROFILE_PROFILE_H
#define NAS_LATENCY_PROFILE_PROFILE_H

#include "latency/table/table.h"
#include "latency/via/via.h"
#include "nas/train/observer.h"

typedef struct nas_latency_profile_options {
    const char *engine;   /* name and version of the program, for the table             */
    double interval;      /* goal: half the 95 % confidence interval, part of the mean   */
    int min_samples;      /* of each key, whatever its interval; at least 2              */
    int max_samples;      /* of the key that has most of them                            */
    double least_seconds; /* even if all is known before: a machine's speed varies       */
    double seconds;       /* time limit; 2 samples of each key are taken regardless      */
    uint64_t seed;        /* of the networks                                             */
    const nas_observer *observer; /* progress and stop; may be NULL                      */
    const nas_via *via;   /* device to measure on; NULL: this one                        */
    int threads;          /* of that device, 0: its cores; here it is OpenMP's number    */
    const char *cores;    /* of it that the threads are bound to, as "0,2-3"; NULL: none */
    bool emulated;        /* the device is an emulator, whatever it says                 */
    const char *journal;  /* file that keeps what is measured until the table is written
                             (by the caller, who removes it then), so that the same call
                             continues; NULL: none                                       */
} nas_latency_profile_options;

/** 1.5 %, 20 to 20000 samples, 2 to 240 s, seed 1. */
nas_latency_profile_options nas_latency_profile_defaults(void);

/** Measures every key of `space` at its image size, one image at a time.  `*out` is yours.
 * A link that is lost is opened again, and goes on with the turn that was in flight.
 * A sample is the median of a few runs of one network; `mean` and `std` leave out samples
 * farther than 3 deviations (by the median deviation) from the median.
 * NAS_E_INTERRUPTED if the observer said stop; NAS_E_IO: the device cannot be reached;
 * NAS_E_DATA: it says what makes no sense, or is another one than the journal's;
 * NAS_E_FAIL: it cannot measure; NAS_E_CONFIG, NAS_E_NOMEM. */
nas_status nas_latency_profile(nas_latency_table **out, const nas_space *space,
                               const nas_latency_profile_options *options, nas_err *err);

/** This machine and process, now, as the description of what is measured here. */
void nas_latency_meta_here(nas_latency_meta *meta, const char *engine);
/** The same of a device that is to measure networks of `space`: it is asked.  Errors as
 * nas_latency_profile. */
nas_status nas_latency_meta_there(nas_latency_meta *meta, const nas_via *via,
                                  const nas_space *space, int threads, const char *cores,
                                  nas_err *err);

#endif
