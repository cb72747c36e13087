/* The schema and its history.  A step, once released, never changes: a new version is a
 * new step at the end (and a page of docs/reference/store.md). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "search/store/private.h"

/* Every list that is shown has its index; digests and names are unique.  JSON is checked before
 * it is written (nas_store__check_json): SQLite 3.40 calls json_valid() in a schema unsafe. */
static const char version_1[] =
    "CREATE TABLE experiment ("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL) STRICT;"

    "CREATE TABLE latency_table ("
    " id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, path TEXT, device TEXT,"
    " meta TEXT NOT NULL, content TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL) STRICT;"

    "CREATE TABLE run ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT," /* ids name directories: never used twice */
    " name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
    " state TEXT NOT NULL CHECK (state IN ('running', 'interrupted', 'done', 'failed')),"
    " attempt INTEGER NOT NULL CHECK (attempt >= 1),"
    " experiment INTEGER REFERENCES experiment ON DELETE SET NULL,"
    " parent INTEGER REFERENCES run ON DELETE SET NULL,"
    " latency_table INTEGER REFERENCES latency_table ON DELETE SET NULL,"
    " config TEXT NOT NULL, config_digest TEXT NOT NULL,"
    " version TEXT NOT NULL, seed INTEGER NOT NULL, threads INTEGER NOT NULL,"
    " step INTEGER NOT NULL DEFAULT -1, epoch INTEGER NOT NULL DEFAULT -1,"
    " pid INTEGER NOT NULL, pid_start INTEGER NOT NULL, host TEXT NOT NULL,"
    " created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, finished_ms INTEGER,"
    " summary TEXT, error TEXT) STRICT;"
    "CREATE INDEX run_by_kind ON run (kind, id);"
    "CREATE INDEX run_by_state ON run (state, id);"
    "CREATE INDEX run_by_experiment ON run (experiment);"
    "CREATE INDEX run_by_parent ON run (parent);"
    "CREATE INDEX run_by_table ON run (latency_table);"

    "CREATE TABLE metric ("
    " run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, name TEXT NOT NULL,"
    " step INTEGER NOT NULL, epoch INTEGER NOT NULL, value REAL,"
    " PRIMARY KEY (run, name, step)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE probability ("
    " run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, epoch INTEGER NOT NULL,"
    " slot INTEGER NOT NULL, candidate INTEGER NOT NULL, p REAL,"
    " PRIMARY KEY (run, epoch, slot, candidate)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE entropy ("
    " run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, epoch INTEGER NOT NULL,"
    " slot INTEGER NOT NULL, nats REAL, PRIMARY KEY (run, epoch, slot)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE architecture ("
    " id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE,"
    " json TEXT NOT NULL, space TEXT,"
    " macs INTEGER NOT NULL, parameters INTEGER NOT NULL, created_ms INTEGER NOT NULL) STRICT;"

    "CREATE TABLE evaluation ("
    " run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, source TEXT NOT NULL,"
    " rank INTEGER NOT NULL, architecture INTEGER NOT NULL REFERENCES architecture,"
    " latency_ms REAL, loss REAL, top1 REAL, top5 REAL,"
    " selected INTEGER NOT NULL CHECK (selected IN (0, 1)),"
    " PRIMARY KEY (run, source, rank)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX evaluation_by_architecture ON evaluation (architecture);"

    "CREATE TABLE artifact ("
    " id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,"
    " kind TEXT NOT NULL, file TEXT NOT NULL, step INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL CHECK (bytes >= 0), digest TEXT NOT NULL, score REAL,"
    " created_ms INTEGER NOT NULL, UNIQUE (run, file)) STRICT;"
    "CREATE INDEX artifact_by_step ON artifact (run, kind, step);";

/* Jobs.  `unseen` marks what the command line changed and the loop has not read yet. */
static const char version_2[] =
    "CREATE TABLE job ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT," /* ids name log files: never used twice */
    " name TEXT NOT NULL UNIQUE, sweep TEXT NOT NULL, args TEXT NOT NULL, folder TEXT NOT NULL,"
    " cores INTEGER NOT NULL CHECK (cores >= 1),"
    " memory_mib INTEGER NOT NULL CHECK (memory_mib >= 0), priority INTEGER NOT NULL,"
    " time_limit_s INTEGER NOT NULL, hang_limit_s INTEGER NOT NULL, retries INTEGER NOT NULL,"
    " state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'lost',"
    " 'preempted', 'timed_out', 'out_of_memory', 'quarantined', 'cancelled')),"
    " attempt INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,"
    " cancel INTEGER NOT NULL DEFAULT 0 CHECK (cancel IN (0, 1)),"
    " unseen INTEGER NOT NULL DEFAULT 1 CHECK (unseen IN (0, 1)),"
    " created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX job_by_state ON job (state, id);"
    "CREATE INDEX job_by_sweep ON job (sweep, id);"
    "CREATE INDEX job_unseen ON job (id) WHERE unseen = 1;"

    "CREATE TABLE job_need ("
    " job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE,"
    " needs INTEGER NOT NULL REFERENCES job ON DELETE CASCADE,"
    " ended INTEGER NOT NULL CHECK (ended IN (0, 1)),"
    " PRIMARY KEY (job, needs)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX job_need_by_needed ON job_need (needs);"

    "CREATE TABLE job_attempt ("
    " job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE, number INTEGER NOT NULL,"
    " state TEXT NOT NULL, cause TEXT NOT NULL DEFAULT '',"
    " pid INTEGER NOT NULL DEFAULT 0, pid_start INTEGER NOT NULL DEFAULT 0, host TEXT NOT NULL,"
    " started_ms INTEGER NOT NULL, ended_ms INTEGER,"
    " step INTEGER NOT NULL DEFAULT -1, phase TEXT NOT NULL DEFAULT '',"
    " code INTEGER NOT NULL DEFAULT -1, signal INTEGER NOT NULL DEFAULT 0,"
    " peak_rss_mib REAL, tail TEXT NOT NULL DEFAULT '',"
    " PRIMARY KEY (job, number)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE job_loop ("
    " id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL,"
    " cores INTEGER NOT NULL, memory_mib INTEGER NOT NULL,"
    " pid INTEGER NOT NULL, pid_start INTEGER NOT NULL, host TEXT NOT NULL,"
    " started_ms INTEGER NOT NULL, ended INTEGER NOT NULL CHECK (ended IN (0, 1))) STRICT;"

    "ALTER TABLE run ADD COLUMN job INTEGER REFERENCES job ON DELETE SET NULL;"
    "CREATE INDEX run_by_job ON run (job);";

/* Tasks of a cluster: where they run, and how far their spools were taken in; `number` counts
 * the runs of a job. */
static const char version_3[] =
    "ALTER TABLE job_attempt ADD COLUMN batch TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE job_attempt ADD COLUMN slurm INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job_attempt ADD COLUMN task INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job_attempt ADD COLUMN spool_bytes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE job_attempt ADD COLUMN spool_records INTEGER NOT NULL DEFAULT 0;"

    "CREATE TABLE job_run ("
    " job INTEGER NOT NULL REFERENCES job ON DELETE CASCADE, number INTEGER NOT NULL,"
    " run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE, attempt INTEGER NOT NULL,"
    " PRIMARY KEY (job, number)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX job_run_by_run ON job_run (run);";

const char *const nas_store__migrations[] = {version_1, version_2, version_3};
const int nas_store__schema = sizeof nas_store__migrations / sizeof *nas_store__migrations;

int nas_store_schema(void)
{
    return nas_store__schema;
}

/* Says what the file is: our version, 0 for an empty one, or an error. */
static nas_status read_version(sqlite3 *db, const char *path, int known, int64_t *version,
                               nas_err *err)
{
    nas_store view = {.db = db};
    int64_t application = 0, objects = 0;
    nas_status status;

    if ((status = nas_store__int(&view, "open", &application, err, "PRAGMA application_id", "")) ||
        (status = nas_store__int(&view, "open", version, err, "PRAGMA user_version", "")) ||
        (status = nas_store__int(&view, "open", &objects, err,
                                 "SELECT count(*) FROM sqlite_schema", "")))
        return status;
    if (application == 0 && *version == 0 && objects == 0)
        return NAS_OK;
    if (application != NAS_STORE__APPLICATION_ID) {
        status = nas_fail(err, NAS_E_DATA, "%s: a database of another program, not a store", path);
        nas_hint(err, "use another --store");
    } else if (*version > known) {
        status = nas_fail(err, NAS_E_DATA,
                          "%s: made by a newer nas (schema %lld, this one knows %d)", path,
                          (long long)*version, known);
        nas_hint(err, "update nas, or use another --store");
    } else if (*version < 1) {
        status = nas_fail(err, NAS_E_DATA, "%s: not a schema version: %lld", path,
                          (long long)*version);
    }
    return status;
}

static nas_status keep_copy(const char *path, int64_t version, nas_err *err)
{
    char copy[4096];

    if (snprintf(copy, sizeof copy, "%s.v%lld", path, (long long)version) >= (int)sizeof copy)
        return nas_fail(err, NAS_E_IO, "%s: path too long", path);
    if (unlink(copy) && errno != ENOENT) /* left by a migration that was cut off */
        return nas_fail_errno(err, "%s", copy);
    const nas_status status = nas_store__copy_database(path, copy, err);
    if (!status)
        nas_log(NAS_LOG_INFO, "store %s: schema %lld is brought up to date; the old one stays in "
                "%s", path, (long long)version, copy);
    return status;
}

nas_status nas_store__migrate(sqlite3 *db, const char *path, const char *const *steps, int count,
                              nas_err *err)
{
    nas_store view = {.db = db};
    int64_t version = 0;
    char pragma[64];
    nas_status status = read_version(db, path, count, &version, err);

    if (status || version == count)
        return status;
    if ((status = nas_store__begin(&view, err)))
        return status;
    /* Another process may have migrated while we waited for the lock. */
    if ((status = read_version(db, path, count, &version, err)) || version == count ||
        (version > 0 && (status = keep_copy(path, version, err))))
        goto done;
    for (; version < count && !status; version++)
        status = nas_store__script(db, "migrate", steps[version], err);
    if (!status) {
        snprintf(pragma, sizeof pragma, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                 NAS_STORE__APPLICATION_ID, count);
        status = nas_store__script(db, "migrate", pragma, err);
    }
done:
    return nas_store__end(&view, status, err);
}
