/* A spool: a file of checksummed records, appended by one writer and read by another process,
 * maybe on another host (docs/reference/spool.md). */
#ifndef NAS_SEARCH_STORE_SPOOL_H
#define NAS_SEARCH_STORE_SPOOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { NAS_SPOOL_RECORD_MAX = 64 << 20 /* bytes of one line */ };

/** Where a reader stands; all zero: at the beginning. */
typedef struct nas_spool_place {
    int64_t bytes, records;
} nas_spool_place;

/** Takes one record; a status other than NAS_OK ends the reading. */
typedef nas_status nas_spool_visit(void *user, const json_t *record, nas_err *err);

/** Visits the whole records of `text`, which begins at `place` of its file, and moves `place`
 * behind each that was taken.  Stops without complaint at a torn one.  NAS_E_DATA for a damaged
 * one, or if the first record is not that of this job and attempt; `name` is for messages. */
nas_status nas_spool_parse(const char *text, size_t size, const char *name, int64_t job,
                           int64_t attempt, nas_spool_place *place, nas_spool_visit *visit,
                           void *user, nas_err *err);
/** The same for a file, from `place` on; `most` bytes (but at least one record) a call, 0: all.
 * A file that is not there is empty.  Links and what is no plain file: NAS_E_DATA. */
nas_status nas_spool_read(const char *path, int64_t job, int64_t attempt, size_t most,
                          nas_spool_place *place, nas_spool_visit *visit, void *user,
                          nas_err *err);

/** The latest attempt of a job that has a directory in `job_dir`; 0: none. */
int64_t nas_spool_latest_attempt(const char *job_dir);

typedef struct nas_spool nas_spool;

/** Opens a spool to append, and makes it if it is not there.  What is in it goes to `visit`
 * first (NULL: to nobody); a torn end is cut off.  One writer a file, for good. */
nas_status nas_spool_open(nas_spool **out, const char *path, int64_t job, int64_t attempt,
                          nas_spool_visit *visit, void *user, nas_err *err);
/** Appends a record (taken over; NULL is no memory).  `sync`: on return it and all before it
 * are on the disk.  After a failure nothing of it is left in the file. */
nas_status nas_spool_put(nas_spool *spool, json_t *record, bool sync, nas_err *err);
void nas_spool_close(nas_spool *spool);

#endif
