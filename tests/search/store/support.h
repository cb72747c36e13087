/* A store in a folder of its own, files for its runs, and a second process. */
#ifndef NAS_TESTS_SEARCH_STORE_SUPPORT_H
#define NAS_TESTS_SEARCH_STORE_SUPPORT_H

#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "search/store/store.h"
#include "tests/support/scratch.h"

static nas_err err;

#define ok(call) cr_assert_eq((call), NAS_OK, "%s", err.message)
#define says(text) cr_assert_not_null(strstr(err.message, text), "message: %s", err.message)

static inline nas_store *open_store(void)
{
    nas_store *store;

    ok(nas_store_open(&store, scratch("store"), NAS_STORE_CREATE, &err));
    return store;
}

static inline nas_store_attempt begin(nas_store *store, const char *name)
{
    const nas_store_run_spec spec = {.kind = "search", .name = name, .config = "{\"epochs\": 3}",
                                     .config_digest = "c0ffee", .version = "0.1.0", .seed = 7,
                                     .threads = 2};
    nas_store_attempt attempt;

    ok(nas_store_run_begin(store, &spec, &attempt, &err));
    return attempt;
}

/* A file in the run's directory. */
static inline void put_file(nas_store *store, int64_t run, const char *name, const char *content)
{
    char *path = nas_store_path(store, run, name);

    ok(nas_file_write(path, content, strlen(content), &err));
    free(path);
}

static inline bool has_file(nas_store *store, int64_t run, const char *name)
{
    char *path = nas_store_path(store, run, name);
    const bool there = nas_path_exists(path);

    free(path);
    return there;
}

/* Changes a database behind the store's back. */
static inline void raw_sql_in(const char *path, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;

    cr_assert_eq(sqlite3_open(scratch(path), &db), SQLITE_OK);
    sqlite3_exec(db, sql, NULL, NULL, &message);
    cr_assert_null(message, "%s: %s", sql, message);
    sqlite3_close(db);
}

static inline void raw_sql(const char *sql)
{
    raw_sql_in("store/store.db", sql);
}

/* Starts the helper program: store_helper DIR WORD. */
static inline pid_t start_helper(const char *word, int *out_fd)
{
    extern char **environ;
    char *const argv[] = {STORE_HELPER, (char *)scratch("store"), (char *)word, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    pid_t pid;

    cr_assert_eq(pipe(ends), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    cr_assert_eq(posix_spawn(&pid, STORE_HELPER, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    *out_fd = ends[0];
    return pid;
}

/* Waits until the helper says that it is ready. */
static inline void await_helper(int fd)
{
    char byte;

    cr_assert_eq(read(fd, &byte, 1), 1, "the helper ended too early");
}

#endif
