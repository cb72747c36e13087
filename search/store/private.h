/* Shared by the files of this folder: the handle, and SQL with bound parameters. */
#ifndef NAS_SEARCH_STORE_PRIVATE_H
#define NAS_SEARCH_STORE_PRIVATE_H

#include <sqlite3.h>

#include "search/store/jobs.h"

typedef struct nas_store__remote nas_store__remote;

struct nas_store {
    char *dir;
    sqlite3 *db;               /* NULL: it is a spool                */
    nas_store__remote *remote; /* NULL: it is a database             */
    bool nested;               /* transactions are parts of a larger one, see nas_store__begin */
    char **late;               /* nested: files to be removed after the larger one */
    int late_count;
    int64_t job, job_attempt; /* nas_store_act_for; 0: for no job */
    int64_t data_version;     /* nas_store_changed                */
};

enum { NAS_STORE__APPLICATION_ID = 0x4f6e5061 }; /* "OnPa" */

/** Records what SQLite says about its last failure: `what` is the operation in words. */
nas_status nas_store__fail(sqlite3 *db, const char *what, nas_err *err);

/** Binds by `types`, one letter a parameter: i int64_t, d double (NAN becomes NULL),
 * t text that outlives the statement (NULL allowed). */
nas_status nas_store__bind(sqlite3_stmt *stmt, const char *what, nas_err *err, const char *types,
                           ...);
/** Prepares and binds.  `*stmt` is the caller's (sqlite3_finalize), NULL on failure. */
nas_status nas_store__query(nas_store *store, sqlite3_stmt **stmt, const char *what, nas_err *err,
                            const char *sql, const char *types, ...);
/** One step: `*row` says whether there is one. */
nas_status nas_store__step(sqlite3_stmt *stmt, const char *what, bool *row, nas_err *err);
/** Prepares, binds and runs a statement that gives no rows. */
nas_status nas_store__exec(nas_store *store, const char *what, nas_err *err, const char *sql,
                           const char *types, ...);
/** The first column of the first row as an integer; `*out` is kept when there is no row. */
nas_status nas_store__int(nas_store *store, const char *what, int64_t *out, nas_err *err,
                          const char *sql, const char *types, ...);
/** Several statements without parameters. */
nas_status nas_store__script(sqlite3 *db, const char *what, const char *sql, nas_err *err);

/** A transaction that takes the write lock at once, and its end: commit when `status` is
 * NAS_OK and the commit succeeds, otherwise everything is rolled back.  They do not nest, except
 * that while store->nested is true they are savepoints within the transaction around them. */
nas_status nas_store__begin(nas_store *store, nas_err *err);
nas_status nas_store__end(nas_store *store, nas_status status, nas_err *err);
/** nas_store__begin for a write of an attempt: refuses one that was superseded or has ended.
 * On failure no transaction is open. */
nas_status nas_store__begin_attempt(nas_store *store, nas_store_attempt attempt, nas_err *err);

/** Refuses, within a transaction, what acts for an attempt of a job that does not run. */
nas_status nas_store__check_job(nas_store *store, nas_err *err);
/** Names and configuration of a new run: NAS_E_USAGE, NAS_E_DATA. */
nas_status nas_store__check_spec(const nas_store_run_spec *spec, nas_err *err);
/** nas_store__begin and nas_store__check_job; on failure no transaction is open. */
nas_status nas_store__begin_as_job(nas_store *store, nas_err *err);
/** The same for a write of the job loop: refused when another loop has taken over. */
nas_status nas_store__begin_as_loop(nas_store *store, int64_t number, nas_err *err);

/** A text; "" for NULL, which a store of somebody else may have in any column. */
const char *nas_store__text(sqlite3_stmt *stmt, int column);
/** Copies a text column (NULL: "") to a fixed buffer; longer text is cut. */
void nas_store__copy_text(sqlite3_stmt *stmt, int column, char *out, size_t size);
/** Copies a text column to the heap; a NULL column gives NULL. */
nas_status nas_store__dup_text(sqlite3_stmt *stmt, int column, char **out, nas_err *err);
/** A real column, NAN for NULL. */
double nas_store__real(sqlite3_stmt *stmt, int column);

/** NAS_E_DATA unless `text` is NULL or a JSON object or array; `what` says whose. */
nas_status nas_store__check_json(const char *text, const char *what, nas_err *err);

/** True for well-formed UTF-8. */
bool nas_store__is_utf8(const char *text);

/** Makes room for one more in a growing array of `size`-byte elements. */
nas_status nas_store__grow(void **items, int count, size_t size, nas_err *err);

/** Steps of schema versions: steps[v] brings version v to v + 1. */
extern const char *const nas_store__migrations[];
extern const int nas_store__schema;
/** Brings the database from its version to `count`, all or nothing; keeps a copy of an older
 * one first at `<path>.v<N>`.  NAS_E_DATA if it is newer or not a store at all. */
nas_status nas_store__migrate(sqlite3 *db, const char *path, const char *const *steps, int count,
                              nas_err *err);

/** This process, as a row names it. */
typedef struct nas_store__process {
    char host[256];
    int64_t pid, start;
} nas_store__process;
nas_store__process nas_store__this_process(void);
/** True when the process that holds a run still lives on this host. */
bool nas_store__process_alive(const char *host, int64_t pid, int64_t pid_start);
/** Start of a process in clock ticks since boot, 0 when there is no such process. */
int64_t nas_store__process_start(int64_t pid);

/** Name of a network file system by its statfs(2) number, NULL if it is none. */
const char *nas_store__network_name(uint64_t type);
/** Opens the directory of a run without following a link; -1 with errno. */
int nas_store__run_dir_open(const nas_store *store, int64_t run);
/** Size and digest of a file. */
nas_status nas_store__digest_file(const char *path, int64_t *bytes, char digest[NAS_DIGEST_SIZE],
                                  nas_err *err);
/** Copies the database at `path`, as of one moment, to the new file `copy` through SQLite:
 * opening and closing it in any other way would drop this process's locks on it. */
nas_status nas_store__copy_database(const char *path, const char *copy, nas_err *err);

#endif
