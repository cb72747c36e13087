/* Whether a table tells the truth: networks measured whole against their prediction.
 *
 * A machine that is shared, or gets warm, can be slower by tens of percents for minutes, in
 * everything alike.  A table of `nas profile` knows what one network, its probe, took then; the
 * same one is run beside the turns here, and the ratio is the level.  Times over it are those of
 * the table's speed.  That takes out nothing but what changed in between: the probe is a whole
 * network both times, so sums that are wrong by a constant are as wrong as before. */
#ifndef NAS_LATENCY_PROFILE_VERIFY_H
#define NAS_LATENCY_PROFILE_VERIFY_H

#include "latency/table/table.h"
#include "latency/via/via.h"
#include "nas/train/observer.h"

typedef struct nas_latency_pair {
    double predicted_ms;
    double measured_ms;    /* at the table's speed, where it is known; otherwise as measured */
    double as_measured_ms;
    int choice[NAS_MAX_SLOTS]; /* the network */
} nas_latency_pair;

typedef struct nas_latency_errors {
    double mape;      /* mean of |predicted - measured| / measured   */
    double within_10; /* part of the pairs that are at most 10 % off */
    double bias;      /* mean of (predicted - measured) / measured   */
    double rmse_ms;
} nas_latency_errors;

typedef struct nas_latency_verification {
    int count;
    nas_latency_pair *pairs; /* [count]                                              */
    char device[128];        /* where they were measured                             */
    int threads;             /* there                                                */
    bool emulated;           /* times are an emulator's                              */
    char probe[NAS_DIGEST_SIZE]; /* the network that was the probe, as in a table's meta */
    double probe_ms;         /* its time now                                         */
    double level;            /* that over the table's: 1.1 is slower now;
                                NAN if the table has none, or that of other networks or threads */
    nas_latency_errors errors;      /* of measured_ms                                */
    nas_latency_errors as_measured; /* of as_measured_ms                             */
    double spearman, kendall; /* NAN for fewer than two different values             */
    double disturbed;        /* part of the runs that other programs interrupted; such runs are
                                repeated, but not for ever                            */
    double slowed, slowdown; /* part of the turns in which the machine was slower than it can be,
                                and how many times as long they took                         */
} nas_latency_verification;

typedef struct nas_latency_verify_options {
    int samples;   /* networks: random ones, moved towards the fastest or the slowest until
                      their predictions spread evenly over the range                     */
    const int (*choice)[NAS_MAX_SLOTS]; /* [samples] measures these instead; NULL: draws */
    int rounds;    /* turns of each network, those of all interleaved                    */
    uint64_t seed; /* of the networks                                                    */
    const char *stream; /* of random numbers that they are drawn from; NULL: that of a
                           verification, which no other purpose shall use                */
    const nas_via *via; /* device to measure on; NULL: this one                          */
    int threads;        /* of that device, 0: its cores; here it is OpenMP's number      */
    const char *cores;  /* that the threads are bound to, as "0,2-3"; NULL: none         */
    const nas_observer *observer; /* may be NULL                                         */
} nas_latency_verify_options;

/** Measures networks of `space` at its image size, here or on a device, of which it warns if the
 * table was made on another one or with another number of threads; a network's time is the median
 * over its turns, each over the level that the probe tells around it, of those in which this did not
 * change.
 * It gets up to nine times `rounds` more turns until half of these are such and their mean is known
 * to 2.5 % (95 % confidence).  `out` is filled on NAS_OK, yours (nas_latency_verification_fini).
 * A link that is lost is opened again, and goes on with what was in flight.
 * NAS_E_INFEASIBLE names keys that the table lacks; NAS_E_INTERRUPTED, NAS_E_CONFIG,
 * NAS_E_NOMEM; of a device as nas_latency_profile. */
nas_status nas_latency_verify(nas_latency_verification *out, const nas_latency_table *table,
                              const nas_space *space, const nas_latency_verify_options *options,
                              nas_err *err);
void nas_latency_verification_fini(nas_latency_verification *verification);

#endif
