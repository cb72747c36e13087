/* SQLite behind five verbs: bind, query, step, exec, transaction; and its errors in our words. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "search/store/private.h"

/* What each primary result code means to a person. */
static const struct {
    int code;
    nas_status status;
    const char *hint;
} meanings[] = {
    {SQLITE_NOMEM, NAS_E_NOMEM, "free memory and run again"},
    {SQLITE_FULL, NAS_E_IO, "the disk is full: free space and run again, nothing was changed"},
    {SQLITE_IOERR, NAS_E_IO, "check the disk and its free space; nothing was changed"},
    {SQLITE_CANTOPEN, NAS_E_IO, "check that the directory exists and can be written"},
    {SQLITE_READONLY, NAS_E_IO, "the store or its directory is write-protected"},
    {SQLITE_PERM, NAS_E_IO, "check the permissions of the store"},
    {SQLITE_CORRUPT, NAS_E_DATA, "see `nas store verify`; restore a backup or use another --store"},
    {SQLITE_NOTADB, NAS_E_DATA, "this is not a store: use another --store, or restore a backup"},
    {SQLITE_BUSY, NAS_E_FAIL, "another process keeps the store locked: wait for it and run again"},
    {SQLITE_LOCKED, NAS_E_FAIL, "another part of this program uses the store"},
    {SQLITE_TOOBIG, NAS_E_DATA, "a text is too long for the store"},
    {SQLITE_CONSTRAINT, NAS_E_DATA, "the value does not fit the store's rules"},
};

/* SQLite calls it a damaged database when the disk cannot be read: that is not known, and may
 * pass. */
static int code_of(sqlite3 *db)
{
    const int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    int reason = 0;

    if ((code & 0xff) == SQLITE_CORRUPT &&
        sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &reason) == SQLITE_OK &&
        reason != 0)
        return SQLITE_IOERR_READ;
    return code;
}

nas_status nas_store__fail(sqlite3 *db, const char *what, nas_err *err)
{
    const int code = code_of(db);
    const char *path = db ? sqlite3_db_filename(db, "main") : NULL;
    const char *text = code == SQLITE_IOERR_READ ? sqlite3_errstr(code)
                       : db                      ? sqlite3_errmsg(db)
                                                 : "out of memory";

    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].code == (code & 0xff)) {
            nas_fail(err, meanings[i].status, "store %s%s%s: %s (SQLite %d)", path ? path : "",
                     path && *path ? ": " : "", what, text, code);
            nas_hint(err, "%s", meanings[i].hint);
            return meanings[i].status;
        }
    return nas_fail(err, NAS_E_FAIL, "store %s%s%s: %s (SQLite %d)", path ? path : "",
                    path && *path ? ": " : "", what, text, code);
}

static int bind_one(sqlite3_stmt *stmt, int index, char type, va_list *args)
{
    if (type == 'i')
        return sqlite3_bind_int64(stmt, index, va_arg(*args, int64_t));
    if (type == 'd')
        return sqlite3_bind_double(stmt, index, va_arg(*args, double)); /* NAN is bound as NULL */
    return sqlite3_bind_text(stmt, index, va_arg(*args, const char *), -1, SQLITE_STATIC);
}

static nas_status bind_all(sqlite3_stmt *stmt, const char *what, nas_err *err, const char *types,
                           va_list *args)
{
    for (int i = 0; types[i]; i++)
        if (bind_one(stmt, i + 1, types[i], args) != SQLITE_OK)
            return nas_store__fail(sqlite3_db_handle(stmt), what, err);
    return NAS_OK;
}

nas_status nas_store__bind(sqlite3_stmt *stmt, const char *what, nas_err *err, const char *types,
                           ...)
{
    va_list args;

    sqlite3_reset(stmt);
    va_start(args, types);
    const nas_status status = bind_all(stmt, what, err, types, &args);
    va_end(args);
    return status;
}

static nas_status query(nas_store *store, sqlite3_stmt **stmt, const char *what, nas_err *err,
                        const char *sql, const char *types, va_list *args)
{
    *stmt = NULL;
    if (!store->db) {
        nas_fail(err, NAS_E_CONFIG, "%s: on a cluster a job sees no store but its spool", what);
        nas_hint(err, "run this command where the store is");
        return NAS_E_CONFIG;
    }
    if (sqlite3_prepare_v2(store->db, sql, -1, stmt, NULL) != SQLITE_OK)
        return nas_store__fail(store->db, what, err);
    const nas_status status = bind_all(*stmt, what, err, types, args);
    if (status) {
        sqlite3_finalize(*stmt);
        *stmt = NULL;
    }
    return status;
}

nas_status nas_store__query(nas_store *store, sqlite3_stmt **stmt, const char *what, nas_err *err,
                            const char *sql, const char *types, ...)
{
    va_list args;

    va_start(args, types);
    const nas_status status = query(store, stmt, what, err, sql, types, &args);
    va_end(args);
    return status;
}

nas_status nas_store__step(sqlite3_stmt *stmt, const char *what, bool *row, nas_err *err)
{
    const int rc = sqlite3_step(stmt);

    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE
               ? NAS_OK : nas_store__fail(sqlite3_db_handle(stmt), what, err);
}

nas_status nas_store__exec(nas_store *store, const char *what, nas_err *err, const char *sql,
                           const char *types, ...)
{
    sqlite3_stmt *stmt;
    bool row;
    va_list args;

    va_start(args, types);
    nas_status status = query(store, &stmt, what, err, sql, types, &args);
    va_end(args);
    if (!status)
        status = nas_store__step(stmt, what, &row, err);
    sqlite3_finalize(stmt);
    return status;
}

nas_status nas_store__int(nas_store *store, const char *what, int64_t *out, nas_err *err,
                          const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt;
    bool row;
    va_list args;

    va_start(args, types);
    nas_status status = query(store, &stmt, what, err, sql, types, &args);
    va_end(args);
    if (!status && !(status = nas_store__step(stmt, what, &row, err)) && row)
        *out = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return status;
}

nas_status nas_store__script(sqlite3 *db, const char *what, const char *sql, nas_err *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? NAS_OK
                                                                : nas_store__fail(db, what, err);
}

nas_status nas_store__begin(nas_store *store, nas_err *err)
{
    return nas_store__script(store->db, "begin", store->nested ? "SAVEPOINT part"
                                                               : "BEGIN IMMEDIATE", err);
}

nas_status nas_store__end(nas_store *store, nas_status status, nas_err *err)
{
    if (store->nested) {
        if (!sqlite3_get_autocommit(store->db)) /* else the whole was rolled back */
            sqlite3_exec(store->db, status ? "ROLLBACK TO part; RELEASE part" : "RELEASE part",
                         NULL, NULL, NULL);
        return status;
    }
    if (!status)
        status = nas_store__script(store->db, "commit", "COMMIT", err);
    /* Some errors (full disk) have rolled back already; then there is nothing to do. */
    if (status && !sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

nas_status nas_store__begin_attempt(nas_store *store, nas_store_attempt attempt, nas_err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    nas_status status = nas_store__begin_as_job(store, err);

    if (status)
        return status;
    if ((status = nas_store__query(store, &stmt, "check the attempt", err,
                                   "SELECT attempt, state, name, pid, host FROM run WHERE id = ?",
                                   "i", attempt.run)) ||
        (status = nas_store__step(stmt, "check the attempt", &row, err)))
        goto done;
    if (!row)
        status = nas_fail(err, NAS_E_FAIL, "run %lld was deleted", (long long)attempt.run);
    else if (sqlite3_column_int64(stmt, 0) != attempt.number)
        status = nas_fail(err, NAS_E_FAIL,
                          "run '%s': attempt %lld was superseded by attempt %lld (process %lld on "
                          "%s)", nas_store__text(stmt, 2), (long long)attempt.number,
                          (long long)sqlite3_column_int64(stmt, 0),
                          (long long)sqlite3_column_int64(stmt, 3), nas_store__text(stmt, 4));
    else if (strcmp(nas_store__text(stmt, 1), "running") != 0)
        status = nas_fail(err, NAS_E_FAIL, "run '%s': attempt %lld has ended (%s)",
                          nas_store__text(stmt, 2), (long long)attempt.number,
                          nas_store__text(stmt, 1));
done:
    sqlite3_finalize(stmt);
    return status ? nas_store__end(store, status, err) : NAS_OK;
}

const char *nas_store__text(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);

    return text ? text : "";
}

void nas_store__copy_text(sqlite3_stmt *stmt, int column, char *out, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    const size_t length = text ? strnlen(text, size - 1) : 0;

    if (length)
        memcpy(out, text, length);
    out[length] = '\0';
}

nas_status nas_store__dup_text(sqlite3_stmt *stmt, int column, char **out, nas_err *err)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);

    *out = text ? strdup(text) : NULL;
    return *out || sqlite3_column_type(stmt, column) == SQLITE_NULL
               ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "store: a text of %d bytes",
                                   sqlite3_column_bytes(stmt, column));
}

double nas_store__real(sqlite3_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt, column) == SQLITE_NULL ? NAN
                                                            : sqlite3_column_double(stmt, column);
}

nas_status nas_store__check_json(const char *text, const char *what, nas_err *err)
{
    json_error_t where;
    json_t *json = text ? json_loads(text, 0, &where) : NULL;

    if (text && !json)
        return json_error_code(&where) == json_error_out_of_memory || nas_json_out_of_memory()
                   ? nas_fail(err, NAS_E_NOMEM, "%s", what)
                   : nas_fail(err, NAS_E_DATA, "%s: not JSON: line %d: %s", what, where.line,
                              where.text);
    json_decref(json);
    return NAS_OK;
}

nas_status nas_store__grow(void **items, int count, size_t size, nas_err *err)
{
    if (count & (count - 1)) /* capacity is the next power of two: full only there */
        return NAS_OK;
    if (count >= 1 << 28)
        return nas_fail(err, NAS_E_DATA, "store: more than %d rows in one answer", count);
    void *grown = realloc(*items, (size_t)(count ? 2 * count : 1) * size);
    if (!grown)
        return nas_fail(err, NAS_E_NOMEM, "store: list of %d rows", count);
    *items = grown;
    return NAS_OK;
}
