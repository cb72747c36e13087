/* A regression of latency: what blocks take by their shapes, learnt from networks that were
 * measured whole, for spaces of which not every entry can be measured.
 *
 * A block's time is e^f(its features), f a small dense network that all blocks share; a network
 * takes the sum of its blocks.  So what is foretold of a space is a table, and serves whatever
 * tables serve.  Files: docs/reference/latency-regressor.md. */
#ifndef NAS_LATENCY_REGRESS_REGRESSOR_H
#define NAS_LATENCY_REGRESS_REGRESSOR_H

#include "latency/profile/verify.h"
#include "nas/train/dense.h"

enum {
    NAS_LATENCY_FEATURES = 23, /* of a block                                       */
    NAS_REGRESSOR_MAX_SIZES = 64,
    NAS_REGRESSOR_LEAST = 20   /* networks: fewer teach nothing                    */
};

/** How well the networks are foretold that did not train; correlations are NAN where all of them
 * are alike. */
typedef struct nas_regressor_fit {
    int trained, held_out; /* networks */
    double mape, within_10, bias, rmse_ms, spearman, kendall;
} nas_regressor_fit;

/** The network that was run whole beside those of a size, and its time: how fast the machine was. */
typedef struct nas_regressor_probe {
    char digest[NAS_DIGEST_SIZE]; /* as of a table's meta; "": unknown */
    double ms;                    /* 0: unknown                        */
} nas_regressor_probe;

typedef struct nas_regressor {
    nas_latency_meta meta;                 /* its image size is 0: see below                 */
    int sizes, image_size[NAS_REGRESSOR_MAX_SIZES]; /* of the networks it learnt from, ascending */
    nas_regressor_probe probe[NAS_REGRESSOR_MAX_SIZES]; /* of each size                      */
    float low[NAS_LATENCY_FEATURES];       /* of all blocks of the spaces it was trained in: */
    float high[NAS_LATENCY_FEATURES];      /* it is asked about none outside                 */
    nas_dense net;                         /* scaled features -> log of milliseconds         */
    nas_regressor_fit fit;
    char digest[NAS_DIGEST_SIZE];          /* of its file; "" before it has one               */
} nas_regressor;

/** Networks of one image size, with their times. */
typedef struct nas_regressor_lesson {
    const nas_space *space; /* at that size */
    const nas_latency_pair *pairs;
    int count;
    nas_regressor_probe probe;
} nas_regressor_lesson;

typedef struct nas_regressor_config {
    int hidden, layers; /* width and number of the hidden layers              */
    int64_t steps;      /* of Adam, each over all networks                    */
    double lr, decay;   /* the rate follows a cosine to 0                     */
    double held_out;    /* share of the networks that judges and never trains */
    uint64_t seed;
} nas_regressor_config;

/** Two layers of 64, 2000 steps from 3e-3, a fifth held out, seed 1. */
nas_regressor_config nas_regressor_defaults(void);

/** Measures networks of `space` on this machine, as nas_latency_verify does, spread evenly over
 * its range of multiply-accumulates; what they were foretold to take (predicted_ms, and all
 * measures that compare) says nothing here. */
nas_status nas_regressor_measure(nas_latency_verification *out, const nas_space *space,
                                 const nas_latency_verify_options *options, nas_err *err);

/** Trains on lessons in ascending order of image size; `meta` tells where their times are from.
 * The loss is the mean square of the error of a network's log-latency.  Same lessons and seed, same
 * bits for any number of threads.  `*out` is yours.  NAS_E_CONFIG: fewer than NAS_REGRESSOR_LEAST
 * networks, too few held out (2), or operations that a program added; NAS_E_DATA: a time that is
 * not positive; NAS_E_FAIL: it diverged; NAS_E_INTERRUPTED when `observer` (may be NULL) says stop;
 * NAS_E_NOMEM. */
nas_status nas_regressor_train(nas_regressor **out, const nas_latency_meta *meta,
                               const nas_regressor_lesson *lessons, int count,
                               const nas_regressor_config *config, const nas_observer *observer,
                               nas_err *err);
void nas_regressor_free(nas_regressor *regressor);

/** True if this is a file that is to be read as a regressor and not as a table. */
bool nas_regressor_is(const char *path);
/** NAS_E_IO, NAS_E_NOMEM; NAS_E_DATA says what is not as a regressor has it. */
nas_status nas_regressor_load(nas_regressor **out, const char *path, nas_err *err);
/** As _load, from memory aligned to 8 bytes; `name` stands for the path in messages. */
nas_status nas_regressor_parse(nas_regressor **out, const void *data, size_t size,
                               const char *name, nas_err *err);
/** Writes it atomically.  NAS_E_IO, NAS_E_NOMEM. */
nas_status nas_regressor_save(const nas_regressor *regressor, const char *path, nas_err *err);

/** ms[count] of the entries; NAN for one without a key, or whose features are not all within what
 * the regressor was trained on.  NAS_E_NOMEM. */
nas_status nas_regressor_ms(const nas_regressor *regressor, const nas_latency_entry *entries,
                            int count, double *ms, nas_err *err);

/** An empty table with the regressor's description, for images of `image_size`; its `fitted_from`
 * is the regressor's digest.  NULL: no memory. */
nas_latency_table *nas_regressor_table(const nas_regressor *regressor, int image_size,
                                       nas_err *err);
/** Adds to it what `space` needs at the table's image size, it lacks, and the regressor can tell.
 * NAS_E_DATA if a time is no table's; NAS_E_NOMEM. */
nas_status nas_regressor_fill(const nas_regressor *regressor, nas_latency_table *table,
                              const nas_space *space, nas_err *err);

#endif
