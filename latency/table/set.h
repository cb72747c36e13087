/* Several tables of one device, each for networks of one image size. */
#ifndef NAS_LATENCY_TABLE_SET_H
#define NAS_LATENCY_TABLE_SET_H

#include "latency/table/table.h"

enum { NAS_LATENCY_MAX_TABLES = 64 };

typedef struct nas_latency_set {
    int count;
    nas_latency_table *tables[NAS_LATENCY_MAX_TABLES]; /* image size ascending */
} nas_latency_set;

/** Loads `where`: a table's file, a directory (each *.yaml in it), or files separated by
 * commas.  NAS_E_CONFIG if two are for the same image size; otherwise as
 * nas_latency_table_load. */
nas_status nas_latency_set_load(nas_latency_set **out, const char *where, nas_err *err);
void nas_latency_set_free(nas_latency_set *set);

/** The table for networks of `image_size`, borrowed: the only one there is, or the one of
 * exactly that size.  NAS_E_INFEASIBLE names the sizes that there are. */
nas_status nas_latency_set_pick(const nas_latency_table **out, const nas_latency_set *set,
                                int image_size, nas_err *err);

#endif
