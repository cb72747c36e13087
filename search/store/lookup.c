/* Runs as they are shown: one by name, lists. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "search/store/remote.h"

#define RUN_QUERY                                                                              \
    "SELECT run.id, run.attempt, run.parent, run.pid, run.step, run.epoch, run.created_ms,"    \
    " run.updated_ms, run.finished_ms, run.seed, run.threads, run.state, run.name, run.kind,"  \
    " experiment.name, run.host, run.version, run.config_digest, run.config, run.summary,"     \
    " run.error, run.pid_start, latency_table.digest FROM run"                                 \
    " LEFT JOIN experiment ON experiment.id = run.experiment"                                  \
    " LEFT JOIN latency_table ON latency_table.id = run.latency_table "

static void fini(nas_store_run *run)
{
    free(run->config);
    free(run->summary);
    free(run->error);
}

static nas_store_state state_from_name(const char *name)
{
    for (int s = 0; s < NAS_STORE_ANY_STATE; s++)
        if (strcmp(name, nas_store_state_name(s)) == 0)
            return s;
    return NAS_STORE_FAILED; /* the schema's CHECK allows no other */
}

static nas_status read_run(sqlite3_stmt *stmt, nas_store_run *run, nas_err *err)
{
    char state[16];
    nas_status status;

    *run = (nas_store_run){
        .id = sqlite3_column_int64(stmt, 0), .attempt = sqlite3_column_int64(stmt, 1),
        .parent = sqlite3_column_int64(stmt, 2), .pid = sqlite3_column_int64(stmt, 3),
        .step = sqlite3_column_int64(stmt, 4), .epoch = sqlite3_column_int64(stmt, 5),
        .created_ms = sqlite3_column_int64(stmt, 6), .updated_ms = sqlite3_column_int64(stmt, 7),
        .finished_ms = sqlite3_column_int64(stmt, 8),
        .seed = (uint64_t)sqlite3_column_int64(stmt, 9), .threads = sqlite3_column_int(stmt, 10),
    };
    nas_store__copy_text(stmt, 11, state, sizeof state);
    nas_store__copy_text(stmt, 12, run->name, sizeof run->name);
    nas_store__copy_text(stmt, 13, run->kind, sizeof run->kind);
    nas_store__copy_text(stmt, 14, run->experiment, sizeof run->experiment);
    nas_store__copy_text(stmt, 15, run->host, sizeof run->host);
    nas_store__copy_text(stmt, 16, run->version, sizeof run->version);
    nas_store__copy_text(stmt, 17, run->config_digest, sizeof run->config_digest);
    nas_store__copy_text(stmt, 22, run->latency_table, sizeof run->latency_table);
    run->state = state_from_name(state);
    run->alive = run->state == NAS_STORE_RUNNING &&
                 nas_store__process_alive(run->host, run->pid, sqlite3_column_int64(stmt, 21));
    if ((status = nas_store__dup_text(stmt, 18, &run->config, err)) ||
        (status = nas_store__dup_text(stmt, 19, &run->summary, err)) ||
        (status = nas_store__dup_text(stmt, 20, &run->error, err)))
        fini(run);
    else if (run->config == NULL) {
        status = nas_fail(err, NAS_E_DATA, "run %lld has no settings", (long long)run->id);
        fini(run);
    }
    return status;
}

/* Runs every row of a prepared query into `out`; the statement is finalised. */
static nas_status collect(sqlite3_stmt *stmt, nas_store_runs *out, nas_err *err)
{
    bool row = false;
    nas_status status;

    while (!(status = nas_store__step(stmt, "list runs", &row, err)) && row)
        if ((status = nas_store__grow((void **)&out->runs, out->count, sizeof *out->runs, err)) ||
            (status = read_run(stmt, &out->runs[out->count], err)))
            break;
        else
            out->count++;
    sqlite3_finalize(stmt);
    if (status)
        nas_store_runs_fini(out);
    return status;
}

nas_status nas_store_run_list(nas_store *store, const char *kind, nas_store_state state, int limit,
                              nas_store_runs *out, nas_err *err)
{
    sqlite3_stmt *stmt;
    const char *state_text = state == NAS_STORE_ANY_STATE ? NULL : nas_store_state_name(state);
    const nas_status status = nas_store__query(
        store, &stmt, "list runs", err,
        RUN_QUERY "WHERE (?1 IS NULL OR run.kind = ?1) AND (?2 IS NULL OR run.state = ?2)"
                  " ORDER BY run.id DESC LIMIT ?3",
        "tti", kind, state_text, (int64_t)(limit > 0 ? limit : -1));

    *out = (nas_store_runs){0};
    return status ? status : collect(stmt, out, err);
}

nas_status nas_store_run_list_before(nas_store *store, int64_t before, int limit,
                                     nas_store_runs *out, nas_err *err)
{
    sqlite3_stmt *stmt;
    const nas_status status =
        nas_store__query(store, &stmt, "list runs", err,
                         RUN_QUERY "WHERE run.id < ?1 ORDER BY run.id DESC LIMIT ?2", "ii",
                         before > 0 ? before : INT64_MAX, (int64_t)limit);

    *out = (nas_store_runs){0};
    return status ? status : collect(stmt, out, err);
}

void nas_store_runs_fini(nas_store_runs *runs)
{
    for (int i = 0; i < runs->count; i++)
        fini(&runs->runs[i]);
    free(runs->runs);
    *runs = (nas_store_runs){0};
}

void nas_store_run_free(nas_store_run *run)
{
    if (run)
        fini(run);
    free(run);
}

/* NAS_E_USAGE with the nearest name there is. */
static nas_status not_found(nas_store *store, const char *text, nas_err *err)
{
    nas_store_runs all;
    nas_err ignored;
    const char **names = NULL, *nearest = NULL;

    nas_fail(err, NAS_E_USAGE, "there is no run '%.64s' in %s", text, store->dir);
    nas_hint(err, "see them with: nas runs list");
    if (nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 1000, &all, &ignored))
        return NAS_E_USAGE;
    if ((names = calloc((size_t)all.count + 1, sizeof *names))) {
        for (int i = 0; i < all.count; i++)
            names[i] = all.runs[i].name;
        if ((nearest = nas_nearest(text, names)))
            nas_hint(err, "did you mean '%s'?", nearest);
    }
    free(names);
    nas_store_runs_fini(&all);
    return NAS_E_USAGE;
}

/* The newest that was cut off and that no living process holds. */
static nas_status newest_unfinished(nas_store *store, nas_store_runs *out, nas_err *err)
{
    sqlite3_stmt *stmt;
    nas_store_runs all = {0};
    nas_status status = nas_store__query(store, &stmt, "list runs", err,
                                         RUN_QUERY "WHERE run.state IN ('running', 'interrupted')"
                                                   " ORDER BY run.id DESC LIMIT 1000", "");
    if (status || (status = collect(stmt, &all, err)))
        return status;
    for (int i = 0; i < all.count; i++)
        if (!all.runs[i].alive) {
            const nas_store_run found = all.runs[i];

            all.runs[i] = all.runs[0];
            all.runs[0] = found;
            *out = all;
            return NAS_OK;
        }
    const int running = all.count;
    nas_store_runs_fini(&all);
    nas_fail(err, NAS_E_USAGE, "no unfinished run in %s%s", store->dir,
             running ? " (but some are running)" : "");
    nas_hint(err, "see them with: nas runs list");
    return NAS_E_USAGE;
}

nas_status nas_store_run_get(nas_store *store, const char *text, nas_store_run **out, nas_err *err)
{
    sqlite3_stmt *stmt;
    nas_store_runs found = {0};
    nas_status status;

    *out = NULL;
    if (store->remote)
        return nas_store__remote_run_get(store, text, out, err);
    if (!text) {
        status = newest_unfinished(store, &found, err);
    } else if (!(status = nas_store__query(store, &stmt, "look for the run", err,
                                           RUN_QUERY "WHERE run.name = ?1 OR run.id = "
                                                     "CASE WHEN ?1 NOT GLOB '*[^0-9]*' "
                                                     "THEN CAST(?1 AS INTEGER) END", "t", text)) &&
               !(status = collect(stmt, &found, err)) && !found.count) {
        status = not_found(store, text, err);
    }
    if (status)
        return status;
    if (!(*out = malloc(sizeof **out)))
        status = nas_fail(err, NAS_E_NOMEM, "run '%.64s'", text ? text : "");
    else
        **out = found.runs[0];
    if (*out)
        found.runs[0] = (nas_store_run){0}; /* moved to *out */
    nas_store_runs_fini(&found);
    return status;
}
