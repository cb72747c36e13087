/* What an architecture takes on the device of a table: the sum of its blocks' means. */
#ifndef NAS_LATENCY_PREDICT_H
#define NAS_LATENCY_PREDICT_H

#include "latency/table/table.h"

typedef struct nas_latency_layer {
    char key[NAS_LATENCY_KEY_SIZE];
    double latency_ms;
} nas_latency_layer;

typedef struct nas_latency_report {
    double latency_ms;
    int count;
    nas_latency_layer *layers; /* [count], in order; skipped blocks are not among them */
} nas_latency_report;

/** Predicts `arch` at image_size (0: its own).  `report` is filled on NAS_OK, yours
 * (nas_latency_report_fini).  NAS_E_INFEASIBLE names the keys that the table lacks;
 * NAS_E_NOMEM. */
nas_status nas_latency_predict(nas_latency_report *report, const nas_latency_table *table,
                               const nas_arch *arch, int image_size, nas_err *err);
void nas_latency_report_fini(nas_latency_report *report);

/** Milliseconds of a network (`entries`) that was made from a larger one of as many blocks
 * (`whole`): a block's mean where the table has it, otherwise the larger block's in proportion to
 * MACs.  NAN if the table lacks both of some block. */
double nas_latency_pruned_ms(const nas_latency_table *table, const nas_latency_entry *entries,
                             const nas_latency_entry *whole, int count);

/** Entries that `space` needs at image_size (0: its own) and the table lacks, each key
 * once: `*missing` (malloc'ed, yours), `*count` of them, 0 if it covers the space. */
nas_status nas_latency_check(nas_latency_entry **missing, int *count,
                             const nas_latency_table *table, const nas_space *space,
                             int image_size, nas_err *err);

/** Keeps, of `entries`, those with a key that the table lacks, each key once; returns how
 * many remain. */
int nas_latency_entries_missing(nas_latency_entry *entries, int count,
                                const nas_latency_table *table);

/** NAS_E_INFEASIBLE with the first keys of `missing` and what to do; `what` needs them. */
nas_status nas_latency_fail_missing(const nas_latency_entry *missing, int count, const char *what,
                                    nas_err *err);

#endif
