/* A second process for the tests of the store: store_helper DIR WORD.
 * It writes one byte to stdout when it has got to where the test wants it. */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "search/store/store.h"

static void ready(void)
{
    if (write(1, "r", 1) != 1)
        _exit(2);
}

static int fail(const nas_err *err)
{
    fprintf(stderr, "store_helper: %s\n", err->message);
    return 1;
}

/* Begins a run and lives until it is killed. */
static int hold(nas_store *store)
{
    const nas_store_run_spec spec = {.kind = "search", .name = "held"};
    nas_store_attempt attempt;
    nas_err err;

    if (nas_store_run_begin(store, &spec, &attempt, &err))
        return fail(&err);
    ready();
    for (;;)
        pause();
}

/* A run of its own with 50 steps of metrics, while others do the same. */
static int work(nas_store *store)
{
    const nas_store_run_spec spec = {.kind = "search"};
    nas_store_attempt attempt;
    nas_err err;

    if (nas_store_run_begin(store, &spec, &attempt, &err))
        return fail(&err);
    for (int step = 0; step < 50; step++)
        if (nas_store_progress(store, attempt, step, 0,
                               &(nas_store_metric){"loss", 1.0 / (step + 1)}, 1, &err))
            return fail(&err);
    if (nas_store_run_finish(store, attempt, NAS_STORE_DONE, "{}", NULL, &err))
        return fail(&err);
    ready();
    return 0;
}

/* Dies in the middle of a transaction that is partly in the database file already. */
static int die(const char *dir)
{
    char path[512];
    sqlite3 *db;

    snprintf(path, sizeof path, "%s/store.db", dir);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db, "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE;"
                         "UPDATE run SET name = 'half';"
                         "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n "
                         "WHERE i < 5000) INSERT INTO metric SELECT 1, 'half', i, 0, i FROM n",
                     NULL, NULL, NULL) != SQLITE_OK)
        return 1;
    ready();
    raise(SIGKILL);
    return 1;
}

int main(int argc, char **argv)
{
    nas_store *store;
    nas_err err;

    if (argc != 3 || prctl(PR_SET_PDEATHSIG, SIGKILL)) /* never outlive a failed test */
        return 2;
    if (strcmp(argv[2], "die") == 0)
        return die(argv[1]);
    if (nas_store_open(&store, argv[1], NAS_STORE_CREATE, &err))
        return fail(&err);
    const int code = strcmp(argv[2], "hold") == 0 ? hold(store) : work(store);
    nas_store_close(store);
    return code;
}
