/* Several tables of one device, each for networks of one image size; or a regressor, which is a
 * table for each of its sizes. */
#ifndef NAS_LATENCY_TABLE_SET_H
#define NAS_LATENCY_TABLE_SET_H

#include "latency/regress/regressor.h"

enum { NAS_LATENCY_MAX_TABLES = 64 };

typedef struct nas_latency_set {
    int count;
    nas_latency_table *tables[NAS_LATENCY_MAX_TABLES]; /* image size ascending */
    nas_regressor *regressor; /* that tells the tables' times; NULL: they were read */
    int paths;
    char *path[NAS_LATENCY_MAX_TABLES + 1]; /* files that it was read from */
} nas_latency_set;

/** Loads `where`: a table's file, a directory (each *.yaml in it), files separated by commas, or
 * a regressor's file, whose tables are empty until nas_latency_set_fill.  NAS_E_CONFIG if two are
 * for the same image size or tell another device, number of threads or batch, or a regressor is not
 * alone; otherwise as nas_latency_table_load. */
nas_status nas_latency_set_load(nas_latency_set **out, const char *where, nas_err *err);
void nas_latency_set_free(nas_latency_set *set);

/** Adds what a regressor tells of `space`, at every image size of the set that the space can take;
 * nothing where the tables were read.  NAS_E_DATA, NAS_E_NOMEM. */
nas_status nas_latency_set_fill(nas_latency_set *set, const nas_space *space, nas_err *err);

/** The table for networks of `image_size`, borrowed: the only one that was read, or the one of
 * exactly that size.  NAS_E_INFEASIBLE names the sizes that there are. */
nas_status nas_latency_set_pick(const nas_latency_table **out, const nas_latency_set *set,
                                int image_size, nas_err *err);

#endif
