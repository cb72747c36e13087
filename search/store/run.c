/* Runs: begin, claim, finish, delete.  Looking them up is in lookup.c. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "search/store/remote.h"

static const char *const state_names[] = {"running", "interrupted", "done", "failed"};

const char *nas_store_state_name(nas_store_state state)
{
    return (unsigned)state < NAS_STORE_ANY_STATE ? state_names[state] : "any";
}

nas_status nas_store__check_spec(const nas_store_run_spec *spec, nas_err *err)
{
    nas_status status;

    if ((status = nas_store__check_json(spec->config, "configuration", err)) ||
        (status = nas_store_name_check(spec->kind, "kind of run", err)) ||
        (spec->experiment &&
         (status = nas_store_name_check(spec->experiment, "experiment", err))) ||
        (spec->name && (status = nas_store_name_check(spec->name, "run name", err))))
        return status;
    if (spec->name && strspn(spec->name, "0123456789") == strlen(spec->name)) {
        nas_fail(err, NAS_E_USAGE, "run name '%s': only digits, which is how ids are written",
                 spec->name);
        nas_hint(err, "put a letter into the name");
        return NAS_E_USAGE;
    }
    return NAS_OK;
}

static nas_status check_name_free(nas_store *store, const char *name, nas_err *err)
{
    int64_t taken = 0;
    const nas_status status = nas_store__int(store, "look for the name", &taken, err,
                                             "SELECT id FROM run WHERE name = ?", "t", name);

    if (status || !taken)
        return status;
    nas_fail(err, NAS_E_USAGE, "run name '%s': run %lld has it already", name, (long long)taken);
    nas_hint(err, "give another --name, or go on with it: nas resume %s", name);
    return NAS_E_USAGE;
}

/* "<kind>-<id>", or with ".1", ".2"... behind it if somebody gave that name to another run. */
static nas_status name_run(nas_store *store, int64_t id, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int64_t n = 0; !status && (n == 0 || sqlite3_changes(store->db) == 0); n++)
        status = nas_store__exec(store, "name the run", err,
                                 "UPDATE OR IGNORE run SET name = kind || '-' || id || "
                                 "CASE ?1 WHEN 0 THEN '' ELSE '.' || ?1 END WHERE id = ?2", "ii",
                                 n, id);
    return status;
}

static nas_status insert_run(nas_store *store, const nas_store_run_spec *spec, int64_t *id,
                             nas_err *err)
{
    static const char what[] = "add a run";
    const nas_store__process self = nas_store__this_process();
    const int64_t now = nas_clock_utc_ms();
    nas_status status;

    if (spec->experiment &&
        (status = nas_store__exec(store, what, err, "INSERT INTO experiment (name, created_ms) "
                                  "VALUES (?, ?) ON CONFLICT DO NOTHING", "ti", spec->experiment,
                                  now)))
        return status;
    /* The name may depend on the id; until it is known a name that nobody can give stands in. */
    status = nas_store__exec(
        store, what, err,
        "INSERT INTO run (name, kind, state, attempt, experiment, parent, config, config_digest,"
        " version, seed, threads, pid, pid_start, host, created_ms, updated_ms, job)"
        " VALUES (coalesce(?, '*new*'), ?, 'running', 1,"
        " (SELECT id FROM experiment WHERE name = ?), nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
        " nullif(?, 0))",
        "tttitttiiiitiii", spec->name, spec->kind, spec->experiment, spec->parent,
        spec->config ? spec->config : "{}", spec->config_digest ? spec->config_digest : "",
        spec->version ? spec->version : "", (int64_t)spec->seed, (int64_t)spec->threads, self.pid,
        self.start, self.host, now, now, store->job);
    if (status)
        return status;
    *id = sqlite3_last_insert_rowid(store->db);
    return spec->name ? NAS_OK : name_run(store, *id, err);
}

/* A run writes into a directory of its own, and not to where a link leads. */
static nas_status check_dir(const nas_store *store, int64_t run, nas_err *err)
{
    const int fd = nas_store__run_dir_open(store, run);

    if (fd < 0)
        return nas_fail_errno(err, "%s/runs/%lld: the directory of the run", store->dir,
                              (long long)run);
    close(fd);
    return NAS_OK;
}

nas_status nas_store_run_begin(nas_store *store, const nas_store_run_spec *spec,
                               nas_store_attempt *out, nas_err *err)
{
    int64_t id = 0;
    char *dir = NULL;
    nas_status status = nas_store__check_spec(spec, err);

    if (status)
        return status;
    if (store->remote)
        return nas_store__remote_run_begin(store, spec, out, err);
    if ((status = nas_store__begin_as_job(store, err)))
        return status;
    if ((spec->name && (status = check_name_free(store, spec->name, err))) ||
        (status = insert_run(store, spec, &id, err)))
        goto done;
    /* Made before the commit: a run that is named has its directory. */
    dir = nas_store_path(store, id, NULL);
    status = dir ? nas_dir_make(dir, err) : nas_fail(err, NAS_E_NOMEM, "run directory");
    if (!status)
        status = check_dir(store, id, err);
done:
    free(dir);
    if ((status = nas_store__end(store, status, err)))
        return status;
    *out = (nas_store_attempt){.run = id, .number = 1};
    return NAS_OK;
}

/* Refuses a run that a living process other than this one holds. */
static nas_status check_free(sqlite3_stmt *row, const nas_store__process *self, nas_err *err)
{
    const char *name = nas_store__text(row, 0);
    const char *state = nas_store__text(row, 1);
    const char *host = nas_store__text(row, 2);
    const int64_t pid = sqlite3_column_int64(row, 3), start = sqlite3_column_int64(row, 4);

    if (strcmp(state, "running") != 0 ||
        (pid == self->pid && start == self->start && strcmp(host, self->host) == 0))
        return NAS_OK;
    if (nas_store__process_alive(host, pid, start)) {
        nas_fail(err, NAS_E_FAIL, "run '%s' is running as process %lld", name, (long long)pid);
        nas_hint(err, "wait for it, or stop it with: kill %lld", (long long)pid);
        return NAS_E_FAIL;
    }
    if (strcmp(host, self->host) != 0)
        nas_log(NAS_LOG_WARN, "run '%s' was last written by process %lld on %s; if that still "
                "runs, it will be refused from now on", name, (long long)pid, host);
    return NAS_OK;
}

/* Whether the process that a run names is an earlier attempt of the job (one whose process was
 * never written down may be it): that may take its time to die, and is refused already.
 * Somebody's `nas resume` is none. */
static nas_status is_attempt(nas_store *store, sqlite3_stmt *run, bool *out, nas_err *err)
{
    int64_t count = 0;
    const nas_status status =
        nas_store__int(store, "look for the run's process", &count, err,
                       "SELECT count(*) FROM job_attempt WHERE job = ? AND number < ? AND (pid = 0 "
                       "OR (pid = ? AND pid_start = ?))", "iiii", store->job, store->job_attempt,
                       sqlite3_column_int64(run, 3), sqlite3_column_int64(run, 4));

    *out = count > 0;
    return status;
}

/* Finds the run, for a transaction that will take or delete it. */
static nas_status find_free(nas_store *store, int64_t run, const nas_store__process *self,
                            bool unfinished, int64_t *attempt, nas_err *err)
{
    static const char what[] = "look for the run";
    sqlite3_stmt *stmt = NULL;
    bool row = false, ours = false;
    nas_status status;

    if ((status = nas_store__query(store, &stmt, what, err, "SELECT name, state, host, pid, "
                                   "pid_start, attempt, job FROM run WHERE id = ?", "i", run)) ||
        (status = nas_store__step(stmt, what, &row, err)))
        goto done;
    if (!row) {
        status = nas_fail(err, NAS_E_USAGE, "there is no run %lld", (long long)run);
    } else if (store->job && sqlite3_column_int64(stmt, 6) == store->job) {
        /* an earlier attempt of the same job may not have lived to say that it was done */
        *attempt = sqlite3_column_int64(stmt, 5);
        if (!(status = is_attempt(store, stmt, &ours, err)) && !ours)
            status = check_free(stmt, self, err);
    } else if (unfinished && strcmp(nas_store__text(stmt, 1), "done") == 0) {
        status = nas_fail(err, NAS_E_USAGE, "run '%s' is done", nas_store__text(stmt, 0));
        nas_hint(err, "see it with: nas runs show %s", nas_store__text(stmt, 0));
    } else {
        *attempt = sqlite3_column_int64(stmt, 5);
        status = check_free(stmt, self, err);
    }
done:
    sqlite3_finalize(stmt);
    return status;
}

nas_status nas_store_run_claim(nas_store *store, int64_t run, nas_store_attempt *out, nas_err *err)
{
    const nas_store__process self = nas_store__this_process();
    int64_t attempt = 0;
    nas_status status;

    if (store->remote)
        return nas_store__remote_run_claim(store, run, out, err);
    if ((status = nas_store__begin_as_job(store, err)))
        return status;
    if (!(status = find_free(store, run, &self, true, &attempt, err)) &&
        !(status = check_dir(store, run, err)))
        status = nas_store__exec(store, "claim the run", err,
                                 "UPDATE run SET attempt = ?, state = 'running', pid = ?, "
                                 "pid_start = ?, host = ?, updated_ms = ?, finished_ms = NULL, "
                                 "error = NULL, job = coalesce(nullif(?, 0), job) WHERE id = ?",
                                 "iiitiii", attempt + 1, self.pid, self.start, self.host,
                                 nas_clock_utc_ms(), store->job, run);
    if ((status = nas_store__end(store, status, err)))
        return status;
    *out = (nas_store_attempt){.run = run, .number = attempt + 1};
    return NAS_OK;
}

nas_status nas_store_run_finish(nas_store *store, nas_store_attempt attempt, nas_store_state state,
                                const char *summary, const char *error, nas_err *err)
{
    const int64_t now = nas_clock_utc_ms();
    nas_status status;

    if (store->remote)
        return nas_store__remote_run_finish(store, attempt, state, summary, error, err);
    if ((status = nas_store__check_json(summary, "summary of a run", err)) ||
        (status = nas_store__begin_attempt(store, attempt, err)))
        return status;
    status = nas_store__exec(store, "finish the run", err,
                             "UPDATE run SET state = ?, summary = coalesce(?, summary), "
                             "error = coalesce(?, error), updated_ms = ?, finished_ms = ? "
                             "WHERE id = ?", "tttiii", nas_store_state_name(state), summary, error,
                             now, now, attempt.run);
    return nas_store__end(store, status, err);
}

nas_status nas_store_run_follow(nas_store *store, nas_store_attempt attempt, const char *summary,
                                const nas_store_run_spec *spec, nas_store_attempt *out,
                                nas_err *err)
{
    const bool together = !store->remote;
    nas_status status = together ? nas_store__begin(store, err) : NAS_OK;

    if (status)
        return status;
    store->nested = together;
    status = nas_store_run_finish(store, attempt, NAS_STORE_DONE, summary, NULL, err);
    if (!status)
        status = nas_store_run_begin(store, spec, out, err);
    store->nested = false;
    return together ? nas_store__end(store, status, err) : status;
}

/* Best effort: what stays is an orphan, and nas_store_gc finds it. */
static void remove_files(nas_store *store, int64_t run)
{
    const int fd = nas_store__run_dir_open(store, run);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    char *path;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(fd, entry->d_name, 0);
    closedir(dir);
    if ((path = nas_store_path(store, run, NULL)) && rmdir(path) && errno != ENOENT)
        nas_log(NAS_LOG_WARN, "%s: could not be removed: %s", path, strerror(errno));
    free(path);
}

nas_status nas_store_run_delete(nas_store *store, int64_t run, nas_err *err)
{
    const nas_store__process self = nas_store__this_process();
    int64_t attempt = 0;
    nas_status status = nas_store__begin(store, err);

    if (status)
        return status;
    if (!(status = find_free(store, run, &self, false, &attempt, err)))
        status = nas_store__exec(store, "delete the run", err, "DELETE FROM run WHERE id = ?", "i",
                                 run);
    if ((status = nas_store__end(store, status, err)))
        return status;
    remove_files(store, run);
    return NAS_OK;
}
