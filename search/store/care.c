/* Care of a store: verify, collect orphans, backup. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/system.h"
#include "search/store/private.h"

/* One walk over a store: what it counts and whom it tells. */
typedef struct walk {
    nas_store *store;
    nas_store_health *health;
    nas_store_problem_fn *report;
    void *user;
    bool remove; /* orphans */
} walk;

static void problem(walk *w, const char *what, const char *where, const char *why)
{
    w->health->problems++;
    if (w->report)
        w->report(w->user, what, where, why);
}

/* ---- database ---- */

static nas_status check_integrity(walk *w, nas_err *err)
{
    sqlite3_stmt *stmt;
    bool row = false;
    nas_err damage;
    nas_status status = nas_store__query(w->store, &stmt, "verify", &damage,
                                         "PRAGMA integrity_check", "");

    while (!status && !(status = nas_store__step(stmt, "verify", &row, &damage)) && row)
        if (strcmp(nas_store__text(stmt, 0), "ok") != 0)
            problem(w, "database", "store.db", nas_store__text(stmt, 0));
    sqlite3_finalize(stmt);
    if (status == NAS_E_DATA) { /* damage that stops the check is a finding too */
        problem(w, "database", "store.db", damage.message);
        return NAS_OK;
    }
    if (status && err)
        *err = damage;
    return status;
}

static nas_status check_references(walk *w, nas_err *err)
{
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(w->store, &stmt, "verify", err,
                                         "PRAGMA foreign_key_check", "");

    while (!status && !(status = nas_store__step(stmt, "verify", &row, err)) && row) {
        char why[128];

        snprintf(why, sizeof why, "row %lld names a row of '%.40s' that is not there",
                 (long long)sqlite3_column_int64(stmt, 1), nas_store__text(stmt, 2));
        problem(w, "reference", nas_store__text(stmt, 0), why);
    }
    sqlite3_finalize(stmt);
    return status;
}

/* ---- files ---- */

static nas_status check_artifacts(walk *w, nas_err *err)
{
    nas_store_artifact *artifacts = NULL;
    nas_err why;
    int count = 0;
    nas_status status = nas_store_artifact_list(w->store, 0, NULL, &artifacts, &count, err);

    for (int i = 0; i < count && !status; i++) {
        const nas_status found = nas_store_artifact_check(w->store, &artifacts[i], &why);

        if (found == NAS_E_NOMEM)
            status = nas_fail(err, found, "%s", why.message);
        else if (found)
            problem(w, found == NAS_E_IO ? "missing" : "changed", artifacts[i].path, why.message);
        w->health->artifacts++;
        w->health->bytes += artifacts[i].bytes;
    }
    free(artifacts);
    return status;
}

static void orphan(walk *w, int dir_fd, const char *name, const char *where, const char *why)
{
    struct stat info;

    if (fstatat(dir_fd, name, &info, AT_SYMLINK_NOFOLLOW))
        return; /* gone meanwhile */
    const bool directory = S_ISDIR(info.st_mode);
    const bool kept = w->remove && unlinkat(dir_fd, name, directory ? AT_REMOVEDIR : 0) != 0;

    w->health->orphans++;
    w->health->kept += kept;
    w->health->orphan_bytes += directory ? 0 : (int64_t)info.st_size;
    if (w->report)
        w->report(w->user, "orphan", where, kept ? strerror(errno) : why);
}

static bool is_dot(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Files of one run's directory that no row names; all of them when there is no such run. */
static nas_status walk_run(walk *w, int64_t run, bool known, nas_err *err)
{
    const int fd = nas_store__run_dir_open(w->store, run);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    nas_status status = NAS_OK;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return NAS_OK; /* not a directory: walk_runs has reported it */
    }
    for (const struct dirent *entry; !status && (entry = readdir(dir));) {
        int64_t named = 0;
        char where[512];

        if (is_dot(entry->d_name))
            continue;
        if (known)
            status = nas_store__int(w->store, "look for a file", &named, err, "SELECT 1 FROM "
                                    "artifact WHERE run = ? AND file = ?", "it", run,
                                    entry->d_name);
        snprintf(where, sizeof where, "runs/%lld/%s", (long long)run, entry->d_name);
        if (!status && !named)
            orphan(w, fd, entry->d_name, where,
                   known ? "no record of this file" : "its run was deleted");
    }
    closedir(dir);
    return status;
}

/* Nobody here can tell of a process on another host. */
static bool may_live(const char *host, int64_t pid, int64_t pid_start)
{
    char here[256];

    nas_system_host(here, sizeof here);
    return strcmp(here, host) != 0 || nas_store__process_alive(host, pid, pid_start);
}

/* 1 for a known run, 2 for one that may live, 0 for none. */
static nas_status run_standing(nas_store *store, int64_t run, int *out, nas_err *err)
{
    static const char what[] = "look for the run";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(store, &stmt, what, err, "SELECT state, host, pid, "
                                         "pid_start FROM run WHERE id = ?", "i", run);

    if (!status && !(status = nas_store__step(stmt, what, &row, err)))
        *out = !row ? 0
               : strcmp(nas_store__text(stmt, 0), "running") == 0 &&
                       may_live(nas_store__text(stmt, 1),
                                sqlite3_column_int64(stmt, 2), sqlite3_column_int64(stmt, 3))
                   ? 2 : 1;
    sqlite3_finalize(stmt);
    return status;
}

static nas_status walk_entry(walk *w, int runs_fd, const char *name, nas_err *err)
{
    char *end, where[512];
    const int64_t run = strtoll(name, &end, 10);
    int standing = 0;
    nas_status status;

    snprintf(where, sizeof where, "runs/%s", name);
    if (*end || name[0] < '1' || name[0] > '9') {
        orphan(w, runs_fd, name, where, "not a run's directory");
        return NAS_OK;
    }
    if ((status = run_standing(w->store, run, &standing, err)) ||
        standing == 2 || /* it may be about to name the file it writes */
        (status = walk_run(w, run, standing > 0, err)))
        return status;
    if (standing == 0)
        orphan(w, runs_fd, name, where, "its run was deleted");
    return NAS_OK;
}

static nas_status walk_runs(walk *w, nas_err *err)
{
    char *path = nas_path_join(w->store->dir, "runs");
    DIR *dir = path ? opendir(path) : NULL;
    nas_status status = NAS_OK;

    if (!path)
        status = nas_fail(err, NAS_E_NOMEM, "runs");
    else if (!dir && errno != ENOENT)
        status = nas_fail_errno(err, "%s", path);
    for (const struct dirent *entry; dir && !status && (entry = readdir(dir));)
        if (!is_dot(entry->d_name))
            status = walk_entry(w, dirfd(dir), entry->d_name, err);
    if (dir)
        closedir(dir);
    free(path);
    return status;
}

nas_status nas_store_verify(nas_store *store, nas_store_health *out, nas_store_problem_fn *report,
                            void *user, nas_err *err)
{
    walk w = {.store = store, .health = out, .report = report, .user = user};
    nas_status status;

    *out = (nas_store_health){0};
    if ((status = check_integrity(&w, err)) || out->problems)
        return status; /* nothing that a damaged database says about files can be trusted */
    if ((status = nas_store__int(store, "verify", &out->runs, err, "SELECT count(*) FROM run",
                                 "")) ||
        (status = check_references(&w, err)) || (status = check_artifacts(&w, err)))
        return status;
    return walk_runs(&w, err);
}

nas_status nas_store_gc(nas_store *store, bool dry, nas_store_health *out,
                        nas_store_problem_fn *report, void *user, nas_err *err)
{
    walk w = {.store = store, .health = out, .report = report, .user = user, .remove = !dry};

    *out = (nas_store_health){0};
    return walk_runs(&w, err);
}

/* ---- backup ---- */

enum { PATIENCE = 5 }; /* tenths of a second */

nas_status nas_store__copy_database(const char *path, const char *copy, nas_err *err)
{
    sqlite3 *from = NULL, *to = NULL;
    sqlite3_backup *backup = NULL;
    nas_status status = NAS_OK;

    if (sqlite3_open_v2(path, &from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL)) {
        status = nas_store__fail(from, path, err);
        goto done;
    }
    sqlite3_busy_timeout(from, 10000);
    if (sqlite3_open_v2(copy, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) ||
        !(backup = sqlite3_backup_init(to, "main", from, "main"))) {
        status = nas_store__fail(to, "backup", err);
        goto done;
    }
    sqlite3_backup_step(backup, -1);
    /* finish reports an error of step, on the destination's handle */
    if (sqlite3_backup_finish(backup) != SQLITE_OK)
        status = nas_store__fail(to, "backup", err);
done:
    sqlite3_close(to);
    sqlite3_close(from);
    return status;
}

/* What the store says of a file now: whether it names it at all, and as the backup has it. */
static nas_status look_again(nas_store *store, const nas_store_artifact *a, bool *named,
                             bool *same, nas_err *err)
{
    static const char look[] = "look for a file";
    sqlite3_stmt *stmt;
    nas_status status = nas_store__query(store, &stmt, look, err, "SELECT digest FROM artifact "
                                         "WHERE run = ? AND file = ?", "it", a->run, a->file);

    *named = *same = false;
    if (!status && !(status = nas_store__step(stmt, look, named, err)) && *named)
        *same = strcmp(nas_store__text(stmt, 0), a->digest) == 0;
    sqlite3_finalize(stmt);
    return status;
}

/* A file that is not what the backup names: one that went or was written anew meanwhile is no
 * damage.  *lost counts the others; *why tells of the last one.  `copied` NULL: is not there. */
static nas_status settle(nas_store *store, nas_store *copy, const nas_store_artifact *a,
                         const char *copied, const nas_err *found, int *lost, nas_err *why,
                         nas_err *err)
{
    nas_store_artifact now = *a;
    bool named, same;
    nas_status status = look_again(store, a, &named, &same, err);

    /* a file that is written anew is there shortly before the store says so */
    for (int i = 0; i < PATIENCE && !status && named && same && *lost == 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        status = look_again(store, a, &named, &same, err);
    }
    if (status)
        return status;
    if (named && same) {
        ++*lost;
        *why = *found;
    }
    if (copied == NULL)
        return nas_store__exec(copy, "leave out a file", err, "DELETE FROM artifact WHERE id = ?",
                               "i", a->id);
    if (named && same)
        return NAS_OK;
    if ((status = nas_store__digest_file(copied, &now.bytes, now.digest, err)))
        return status;
    return nas_store__exec(copy, "note a file", err, "UPDATE artifact SET bytes = ?, digest = ? "
                           "WHERE id = ?", "iti", now.bytes, now.digest, a->id);
}

/* Copies a file the backup names. */
static nas_status copy_artifact(nas_store *store, nas_store *copy, const nas_store_artifact *a,
                                int *lost, nas_err *why, nas_err *err)
{
    char *from = nas_path_join(store->dir, a->path), *to = nas_path_join(copy->dir, a->path);
    char *dir = nas_store_path(copy, a->run, NULL);
    nas_map map = {0};
    struct stat info;
    nas_err found;
    nas_status status = from && to && dir ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "%s", a->path);

    if (status)
        goto done;
    const bool gone = lstat(from, &info) != 0 && (errno == ENOENT || errno == ENOTDIR);
    if (gone || nas_path_is_link(from)) {
        nas_fail(&found, NAS_E_DATA, "%s: %s", from, gone ? "is missing" : "is a link");
        status = settle(store, copy, a, NULL, &found, lost, why, err);
        goto done;
    }
    if (!(status = nas_dir_make(dir, err)) && !(status = nas_map_open(&map, from, err))) {
        status = nas_file_write(to, map.data, map.size, err);
        nas_map_close(&map);
    }
    if (!status && nas_store_artifact_check(copy, a, &found))
        status = settle(store, copy, a, to, &found, lost, why, err);
done:
    free(from);
    free(to);
    free(dir);
    return status;
}

static nas_status copy_files(nas_store *store, nas_store *copy, int *lost, nas_err *why,
                             nas_err *err)
{
    nas_store_artifact *artifacts = NULL;
    int count = 0;
    nas_status status = nas_store_artifact_list(copy, 0, NULL, &artifacts, &count, err);

    for (int i = 0; i < count && !status; i++)
        status = copy_artifact(store, copy, &artifacts[i], lost, why, err);
    free(artifacts);
    return status;
}

/* SQLite tells of a page that it could not read as of damage. */
static void note_unreadable(void *user, const char *what, const char *where, const char *why)
{
    bool *unreadable = user;

    *unreadable = *unreadable || strstr(why, "error code=") != NULL;
}

static nas_status check_copy(nas_store *copy, const char *dir, nas_err *err)
{
    nas_store_health health = {0};
    bool unreadable = false;
    walk w = {.store = copy, .health = &health, .report = note_unreadable, .user = &unreadable};
    const nas_status status = check_integrity(&w, err);

    if (status || !health.problems)
        return status;
    if (unreadable) {
        nas_fail(err, NAS_E_IO, "%s: the copy of the database cannot be read", dir);
        nas_hint(err, "do it again, or give a directory on another disk");
        return NAS_E_IO;
    }
    nas_fail(err, NAS_E_DATA, "%s: the store's database is damaged, and so would be its copy", dir);
    nas_hint(err, "nas store verify tells more");
    return NAS_E_DATA;
}

/* The new name lasts only when its directory is on the disk. */
static nas_status rename_durably(const char *from, const char *to, const char *dir, nas_err *err)
{
    if (rename(from, to))
        return nas_fail_errno(err, "%s", to);
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const nas_status status = fd >= 0 && fsync(fd) == 0 ? NAS_OK : nas_fail_errno(err, "%s", dir);
    if (fd >= 0)
        close(fd);
    return status;
}

nas_status nas_store_backup(nas_store *store, const char *dir, nas_err *err)
{
    char *partial = nas_path_join(dir, "store.db.partial"), *final = nas_path_join(dir, "store.db");
    nas_store copy = {.dir = (char *)dir};
    nas_err why = {0};
    int lost = 0;
    nas_status status = nas_store_check_output(store, dir, true, err);

    if (status)
        goto done;
    if (!partial || !final) {
        status = nas_fail(err, NAS_E_NOMEM, "backup to %s", dir);
        goto done;
    }
    if (nas_path_exists(final)) {
        status = nas_fail(err, NAS_E_USAGE, "%s: there is a store already", dir);
        nas_hint(err, "give a new directory");
        goto done;
    }
    /* The database gets its name last: a directory with a store.db is a whole backup. */
    if ((status = nas_dir_make(dir, err)))
        goto done;
    if (unlink(partial) && errno != ENOENT) {
        status = nas_fail_errno(err, "%s", partial);
        goto done;
    }
    if ((status = nas_store__copy_database(sqlite3_db_filename(store->db, "main"), partial, err)))
        goto done;
    if (sqlite3_open_v2(partial, &copy.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL))
        status = nas_store__fail(copy.db, "open", err);
    else if (!(status = check_copy(&copy, dir, err)))
        status = copy_files(store, &copy, &lost, &why, err);
    sqlite3_close(copy.db);
    if (!status && !(status = rename_durably(partial, final, dir, err)) && lost > 0) {
        status = nas_fail(err, NAS_E_DATA, "%s: is a whole backup but for %d files that the store "
                          "has lost or has damaged, such as %s", dir, lost, why.message);
        nas_hint(err, "nas store verify lists them");
    }
done:
    free(partial);
    free(final);
    return status;
}
