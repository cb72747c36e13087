/* What is asked for again and again by who watches a store: how many there are, and the last. */
#include <string.h>

#include "search/store/private.h"

/* Adds up rows (state, count) by the names of `count` states. */
static nas_status count_states(nas_store *store, const char *sql, const char *(*name)(int state),
                               int count, int64_t *out, nas_err *err)
{
    static const char what[] = "count states";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(store, &stmt, what, err, sql, "");

    memset(out, 0, (size_t)count * sizeof *out);
    if (status)
        return status;
    while (!(status = nas_store__step(stmt, what, &row, err)) && row)
        for (int s = 0; s < count; s++)
            if (strcmp(nas_store__text(stmt, 0), name(s)) == 0)
                out[s] = sqlite3_column_int64(stmt, 1);
    sqlite3_finalize(stmt);
    return status;
}

static const char *run_state(int state)
{
    return nas_store_state_name((nas_store_state)state);
}

static const char *job_state(int state)
{
    return nas_job_state_name((nas_job_state)state);
}

nas_status nas_store_run_counts(nas_store *store, int64_t out[NAS_STORE_ANY_STATE], nas_err *err)
{
    return count_states(store, "SELECT state, count(*) FROM run GROUP BY state", run_state,
                        NAS_STORE_ANY_STATE, out, err);
}

nas_status nas_store_job_counts(nas_store *store, int64_t out[NAS_JOB_ANY_STATE], nas_err *err)
{
    return count_states(store, "SELECT state, count(*) FROM job GROUP BY state", job_state,
                        NAS_JOB_ANY_STATE, out, err);
}

nas_status nas_store_metric_last(nas_store *store, int64_t run,
                                 void (*visit)(void *user, const char *name,
                                               const nas_store_point *point),
                                 void *user, nas_err *err)
{
    static const char what[] = "read last metrics";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(
        store, &stmt, what, err,
        "SELECT m.name, m.step, m.epoch, m.value FROM (SELECT name, max(step) AS step FROM metric"
        " WHERE run = ?1 GROUP BY name) AS last JOIN metric AS m"
        " ON m.run = ?1 AND m.name = last.name AND m.step = last.step ORDER BY m.name", "i", run);

    if (status)
        return status;
    while (!(status = nas_store__step(stmt, what, &row, err)) && row) {
        const nas_store_point point = {.step = sqlite3_column_int64(stmt, 1),
                                       .epoch = sqlite3_column_int64(stmt, 2),
                                       .value = nas_store__real(stmt, 3)};

        visit(user, nas_store__text(stmt, 0), &point);
    }
    sqlite3_finalize(stmt);
    return status;
}
