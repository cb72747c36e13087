/* What sums of entries miss: a few factors fitted to networks that were measured whole.
 *
 * Every term is a sum over the blocks of a network or the same for all networks, so what is
 * fitted becomes a table again: each entry gets its part. */
#ifndef NAS_LATENCY_FIT_H
#define NAS_LATENCY_FIT_H

#include "latency/profile/verify.h"

typedef enum nas_latency_term {
    NAS_LATENCY_TIME,        /* ms of the entry                                             */
    NAS_LATENCY_CONSTANT,    /* 1 for each network: what its begin and end cost             */
    NAS_LATENCY_BLOCKS,      /* 1 for each block: what a boundary costs                     */
    NAS_LATENCY_WEIGHTS,     /* parameters, millions: what is fetched afresh                */
    NAS_LATENCY_ACTIVATIONS, /* values in and out, millions: what crosses the boundary      */
    NAS_LATENCY_TERMS
} nas_latency_term;

const char *nas_latency_term_name(nas_latency_term term);

typedef struct nas_latency_fit {
    bool used[NAS_LATENCY_TERMS];
    double factor[NAS_LATENCY_TERMS]; /* ms for each unit; time 1, all others 0: the table itself */
    int networks;
    /* Cross-validated: each network foretold by a fit to others. */
    double mape, within_10;
    double table_mape, table_within_10; /* of the table, as it is                               */
} nas_latency_fit;

/** Fits `count` networks of `space`, measured whole, by least squares of the relative error.  A
 * term is taken in only if that lowers the cross-validated error by a twentieth and leaves every
 * entry of the space a positive time, one after another, the best first: so a table that is right
 * stays as it is.
 * NAS_E_CONFIG for fewer than 10 networks, NAS_E_INFEASIBLE if the table does not cover the
 * space, NAS_E_NOMEM. */
nas_status nas_latency_fit_find(nas_latency_fit *out, const nas_latency_table *table,
                                const nas_space *space, const nas_latency_pair *pairs, int count,
                                nas_err *err);

/** The table with the fit in it: the entries of `space`, none of them with a deviation, as these
 * times were not measured.  The constant is spread over the entries that every network has once,
 * in proportion to their times.  `conditions` says what was done, `fitted_from` to which table.
 * `*out` is yours.  NAS_E_INFEASIBLE if `table` does not cover the space, NAS_E_NOMEM. */
nas_status nas_latency_fit_apply(nas_latency_table **out, const nas_latency_fit *fit,
                                 const nas_latency_table *table, const nas_space *space,
                                 nas_err *err);

#endif
