/* Files of runs: registered once they are complete, kept or dropped, compared. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "search/store/remote.h"

/* What retention keeps: these many of the highest step, and the best. */
#define KEEP_LAST "2"

static nas_status read_artifact(sqlite3_stmt *stmt, nas_store_artifact *out, nas_err *err)
{
    const char *file = (const char *)sqlite3_column_text(stmt, 7);

    *out = (nas_store_artifact){
        .id = sqlite3_column_int64(stmt, 0), .run = sqlite3_column_int64(stmt, 1),
        .step = sqlite3_column_int64(stmt, 2), .bytes = sqlite3_column_int64(stmt, 3),
        .created_ms = sqlite3_column_int64(stmt, 4), .score = nas_store__real(stmt, 5),
    };
    /* The row may come from somebody else's store: the name must not lead out of it. */
    if (nas_store_name_check(file, "file", NULL))
        return nas_fail(err, NAS_E_DATA, "store: file %lld of run %lld: '%.64s' is no file name",
                        (long long)out->id, (long long)out->run, file ? file : "");
    nas_store__copy_text(stmt, 6, out->kind, sizeof out->kind);
    nas_store__copy_text(stmt, 7, out->file, sizeof out->file);
    nas_store__copy_text(stmt, 8, out->digest, sizeof out->digest);
    snprintf(out->path, sizeof out->path, "runs/%lld/%s", (long long)out->run, out->file);
    return NAS_OK;
}

/* Artifacts that an SQL clause picks, with ?1 the run and ?2 the kind. */
static nas_status list_where(nas_store *store, const char *where, int64_t run, const char *kind,
                             nas_store_artifact **out, int *count, nas_err *err)
{
    static const char what[] = "list files";
    char sql[1024];
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status;

    *out = NULL;
    *count = 0;
    snprintf(sql, sizeof sql, "SELECT id, run, step, bytes, created_ms, score, kind, file, digest "
             "FROM artifact %s", where);
    status = nas_store__query(store, &stmt, what, err, sql, "it", run, kind);
    while (!status && !(status = nas_store__step(stmt, what, &row, err)) && row)
        if (!(status = nas_store__grow((void **)out, *count, sizeof **out, err)) &&
            !(status = read_artifact(stmt, &(*out)[*count], err)))
            (*count)++;
    sqlite3_finalize(stmt);
    if (status) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return status;
}

/* XXH3-128 and size of a file.  A link is none of ours: a store that came from somebody else
 * shall not have us read what is beside it. */
nas_status nas_store__digest_file(const char *path, int64_t *bytes, char digest[NAS_DIGEST_SIZE],
                                  nas_err *err)
{
    nas_map map;
    const nas_status status =
        nas_path_is_link(path)
            ? nas_fail(err, NAS_E_DATA, "%s: a symbolic link, which no file of a run is", path)
            : nas_map_open(&map, path, err);

    if (status)
        return status;
    *bytes = (int64_t)map.size;
    nas_digest(map.data, map.size, digest);
    nas_map_close(&map);
    return NAS_OK;
}

nas_status nas_store_artifact_check(const nas_store *store, const nas_store_artifact *artifact,
                                    nas_err *err)
{
    char *path = nas_path_join(store->dir, artifact->path), digest[NAS_DIGEST_SIZE];
    int64_t bytes;
    nas_status status;

    if (!path)
        return nas_fail(err, NAS_E_NOMEM, "%s", artifact->path);
    if (!(status = nas_store__digest_file(path, &bytes, digest, err))) {
        if (bytes != artifact->bytes)
            status = nas_fail(err, NAS_E_DATA, "%s: %lld bytes, but %lld were recorded", path,
                              (long long)bytes, (long long)artifact->bytes);
        else if (strcmp(digest, artifact->digest) != 0)
            status = nas_fail(err, NAS_E_DATA, "%s: its content changed (digest %s, recorded %s)",
                              path, digest, artifact->digest);
        if (status)
            nas_hint(err, "restore it from a backup, or go on from an earlier checkpoint");
    }
    free(path);
    return status;
}

/* Names in the open transaction a complete file. */
static nas_status put(nas_store *store, nas_store_attempt attempt, const char *kind,
                      const char *file, int64_t step, double score, int64_t bytes,
                      const char *digest, nas_err *err)
{
    const int64_t now = nas_clock_utc_ms();
    nas_status status = nas_store__exec(
        store, "record a file", err, "INSERT OR REPLACE INTO artifact (run, kind, file, step, "
        "bytes, digest, score, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", "ittiitdi",
        attempt.run, kind, file, step, bytes, digest, score, now);

    return status ? status : nas_store__exec(store, "record a file", err, "UPDATE run SET "
                                             "updated_ms = ? WHERE id = ?", "ii", now, attempt.run);
}

/* What must be right before the transaction: names, and the file itself. */
static nas_status examine(nas_store *store, nas_store_attempt attempt, const char *kind,
                          const char *file, int64_t *bytes, char digest[NAS_DIGEST_SIZE],
                          nas_err *err)
{
    char *path = NULL;
    nas_status status;

    if ((status = nas_store_name_check(kind, "kind of file", err)) ||
        (status = nas_store_name_check(file, "file of a run", err)))
        return status;
    if (!(path = nas_store_path(store, attempt.run, file)))
        return nas_fail(err, NAS_E_NOMEM, "%s", file);
    status = nas_store__digest_file(path, bytes, digest, err);
    free(path);
    return status;
}

nas_status nas_store_artifact_put(nas_store *store, nas_store_attempt attempt, const char *kind,
                                  const char *file, int64_t step, nas_err *err)
{
    char digest[NAS_DIGEST_SIZE];
    int64_t bytes = 0;
    nas_status status;

    if ((status = examine(store, attempt, kind, file, &bytes, digest, err)))
        return status;
    if (store->remote)
        return nas_store__remote_file(store, attempt, kind, file, step, NAN, bytes, digest, err);
    if ((status = nas_store__begin_attempt(store, attempt, err)))
        return status;
    status = put(store, attempt, kind, file, step, NAN, bytes, digest, err);
    return nas_store__end(store, status, err);
}

/* Checkpoints that retention drops.  The last are those written last: after a fall-back to an
 * earlier one, those of a higher step are the broken ones. */
static const char dropped_checkpoints[] =
    "WHERE run = ?1 AND kind = ?2 AND id NOT IN"
    " (SELECT id FROM artifact WHERE run = ?1 AND kind = ?2 ORDER BY id DESC LIMIT " KEEP_LAST ")"
    " AND id NOT IN (SELECT id FROM artifact WHERE run = ?1 AND kind = ?2 AND score IS NOT NULL"
    "  ORDER BY score DESC, step, id LIMIT 1)";

nas_status nas_store_checkpoint(nas_store *store, nas_store_attempt attempt, const char *file,
                                int64_t step, double score, nas_err *err)
{
    char digest[NAS_DIGEST_SIZE];
    int64_t bytes = 0;
    nas_store_artifact *dropped = NULL;
    int count = 0;
    nas_status status;

    if ((status = examine(store, attempt, "checkpoint", file, &bytes, digest, err)))
        return status;
    if (store->remote)
        return nas_store__remote_file(store, attempt, "checkpoint", file, step, score, bytes,
                                      digest, err);
    if ((status = nas_store__begin_attempt(store, attempt, err)))
        return status;
    if (!(status = put(store, attempt, "checkpoint", file, step, score, bytes, digest, err)))
        status = list_where(store, dropped_checkpoints, attempt.run, "checkpoint", &dropped, &count,
                            err);
    for (int i = 0; i < count && !status; i++)
        status = nas_store__exec(store, "drop an old checkpoint", err, "DELETE FROM artifact "
                                 "WHERE id = ?", "i", dropped[i].id);
    status = nas_store__end(store, status, err);
    for (int i = 0; i < count && !status; i++) { /* only now: the commit is the moment */
        char *path = nas_path_join(store->dir, dropped[i].path);

        if (path && store->nested && !nas_store__grow((void **)&store->late, store->late_count,
                                                      sizeof *store->late, NULL)) {
            store->late[store->late_count++] = path;
            continue;
        }
        if (path && unlink(path) && errno != ENOENT)
            nas_log(NAS_LOG_WARN, "%s: could not be removed: %s", path, strerror(errno));
        free(path);
    }
    free(dropped);
    return status;
}

nas_status nas_store_artifact_list(nas_store *store, int64_t run, const char *kind,
                                   nas_store_artifact **out, int *count, nas_err *err)
{
    if (store->remote)
        return nas_store__remote_file_list(store, run, kind, out, count, err);
    return list_where(store, "WHERE ?1 IN (0, run) AND (?2 IS NULL OR kind = ?2) ORDER BY id DESC",
                      run, kind, out, count, err);
}
