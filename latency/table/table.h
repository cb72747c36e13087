/* A latency table: what each key costs on one device, and how that was measured.
 *
 * On disk it is YAML in the form of the published ProxylessNAS and OFA tables
 * (docs/reference/latency-table.md). */
#ifndef NAS_LATENCY_TABLE_TABLE_H
#define NAS_LATENCY_TABLE_TABLE_H

#include <stdint.h>

#include "base/hash.h"
#include "latency/key.h"

enum { NAS_LATENCY_MAX_ENTRIES = 65536 };

/** A measurement, in milliseconds.  What a file does not say is NAN (count: 0). */
typedef struct nas_latency_stat {
    int64_t count; /* samples */
    double mean, std, median, p95;
} nas_latency_stat;

/** How a table came to be; what is unknown is "" or 0. */
typedef struct nas_latency_meta {
    char device[128];     /* processor's name                            */
    char engine[64];      /* what ran the operations, with its version   */
    char conditions[256]; /* governor, load, warm-up, ...                */
    char created[32];     /* UTC                                         */
    char space[64];       /* the space it was made for                   */
    int cores, threads, batch, image_size;
    int emulated; /* 1: an emulator's times, which say nothing about a device */
    char fitted_from[NAS_DIGEST_SIZE]; /* the table that was fitted to networks; "": none */
    char probe[NAS_DIGEST_SIZE]; /* a network that was run whole beside the operations; "": none */
    double probe_ms;             /* its time: how fast the machine was; 0: unknown              */
} nas_latency_meta;

typedef struct nas_latency_row {
    char *key;
    uint64_t hash;
    nas_latency_stat stat;
} nas_latency_row;

typedef struct nas_latency_table {
    nas_latency_meta meta;
    nas_latency_grammar grammar; /* NAS_LATENCY_MID as soon as a key says "-se:"  */
    int count;
    nas_latency_row *rows; /* [count], in the order of nas_latency_table_add */
    int capacity;          /* below: private                                 */
    int *slots;            /* [2 * capacity] row numbers by hash, -1: empty  */
} nas_latency_table;

nas_latency_table *nas_latency_table_new(nas_err *err); /* NULL: no memory */
void nas_latency_table_free(nas_latency_table *table);

/** Adds an entry; the key is copied.  NAS_E_DATA if the key is no key or known already,
 * or if a value is negative, infinite or above 1e6 ms; NAS_E_NOMEM. */
nas_status nas_latency_table_add(nas_latency_table *table, const char *key,
                                 const nas_latency_stat *stat, nas_err *err);

/** The entry of a key, borrowed; NULL if there is none. */
const nas_latency_stat *nas_latency_table_find(const nas_latency_table *table, const char *key);

/** Side of the images whose networks it tells: what its meta says, otherwise the largest
 * input among its keys; 0 if no key names one. */
int nas_latency_table_image_size(const nas_latency_table *table);

/** How many times as long all took when `is` was measured as when `was` was, by the probe; NAN if
 * one of them has none, or it was of another network or number of threads. */
double nas_latency_meta_level(const nas_latency_meta *was, const nas_latency_meta *is);

/** Puts "what; " in front of the conditions, of which only phrases (commas end them) stay that fit
 * as a whole. */
void nas_latency_meta_note(nas_latency_meta *meta, const char *what);

/** Reads a published table or one of ours.  NAS_E_IO; NAS_E_DATA with path:line; NAS_E_NOMEM. */
nas_status nas_latency_table_load(nas_latency_table **out, const char *path, nas_err *err);
/** As _load, from memory; `name` stands for the path in messages. */
nas_status nas_latency_table_parse(nas_latency_table **out, const char *text, size_t size,
                                   const char *name, nas_err *err);

/** The file that _save writes (malloc'ed, yours): meta, then the entries sorted by key. */
nas_status nas_latency_table_text(const nas_latency_table *table, char **text, size_t *size,
                                  nas_err *err);
/** Writes atomically; reading it again gives the same bits.  NAS_E_IO, NAS_E_NOMEM. */
nas_status nas_latency_table_save(const nas_latency_table *table, const char *path, nas_err *err);
/** Digest of that text: same measurements and meta, same digest. */
nas_status nas_latency_table_digest(const nas_latency_table *table, char out[NAS_DIGEST_SIZE],
                                    nas_err *err);

#endif
