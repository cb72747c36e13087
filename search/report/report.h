/* The report: what a store remembers, as one HTML file to look at.
 *
 * The file is complete in itself (style, script and pictures are inside), needs no network, and
 * shows the same bytes for the same store.  Under each picture is a table of what it draws. */
#ifndef NAS_SEARCH_REPORT_REPORT_H
#define NAS_SEARCH_REPORT_REPORT_H

#include "search/store/store.h"

enum { NAS_REPORT_DRAWN = 12 }; /* runs with pictures of their own unless runs are named */

typedef struct nas_report_options {
    const char *const *runs; /* names or ids; NULL: all of the store */
    int count;               /* of them                              */
    int drawn;               /* of all runs, the newest so many get curves, heat map and network;
                                runs that are named all do           */
} nas_report_options;

/** Writes the report of `store` to `path`, complete or not at all; `runs` (may be NULL) gets how
 * many it shows.  NAS_E_USAGE if a named run is not there, NAS_E_IO, NAS_E_NOMEM. */
nas_status nas_report_write(nas_store *store, const char *path, const nas_report_options *options,
                            int *runs, nas_err *err);

#endif
