/* The store's rows as JSON objects, for whoever writes CSV or JSON. */
#include <math.h>

#include "base/json.h"
#include "search/store/private.h"

/* Each query takes ?1, the run or 0 for all; the columns' names are the keys. */
static const struct {
    const char *table, *sql;
} exports[] = {
    {"run", "SELECT run.id, run.name, run.kind, run.state, run.attempt, experiment.name AS "
            "experiment, run.parent, latency_table.digest AS latency_table, run.config_digest, "
            "run.version, run.seed, run.threads, run.step, run.epoch, run.host, run.created_ms, "
            "run.updated_ms, run.finished_ms, run.config, run.summary, run.error FROM run "
            "LEFT JOIN experiment ON experiment.id = run.experiment "
            "LEFT JOIN latency_table ON latency_table.id = run.latency_table "
            "WHERE ?1 IN (0, run.id) ORDER BY run.id"},
    {"metric", "SELECT run, name, step, epoch, value FROM metric WHERE ?1 IN (0, run) "
               "ORDER BY run, name, step"},
    {"evaluation", "SELECT run, source, rank, selected, latency_ms, loss, top1, top5, "
                   "architecture.digest AS architecture, space, macs, parameters, json "
                   "FROM evaluation JOIN architecture ON architecture.id = architecture "
                   "WHERE ?1 IN (0, run) ORDER BY run, source, rank"},
    {"artifact", "SELECT run, kind, step, 'runs/' || run || '/' || file AS path, bytes, digest, "
                 "score, created_ms FROM artifact WHERE ?1 IN (0, run) ORDER BY run, id"},
    {"probability", "SELECT run, epoch, slot, candidate, p FROM probability WHERE ?1 IN (0, run) "
                    "ORDER BY run, epoch, slot, candidate"},
    {"entropy", "SELECT run, epoch, slot, nats FROM entropy WHERE ?1 IN (0, run) "
                "ORDER BY run, epoch, slot"},
};

static json_t *column_json(sqlite3_stmt *stmt, int column)
{
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER: return json_integer(sqlite3_column_int64(stmt, column));
    case SQLITE_TEXT: return json_string((const char *)sqlite3_column_text(stmt, column));
    case SQLITE_FLOAT:
        if (isfinite(sqlite3_column_double(stmt, column)))
            return json_real(sqlite3_column_double(stmt, column));
        return json_null();
    default: return json_null();
    }
}

static nas_status row_json(sqlite3_stmt *stmt, json_t **out, nas_err *err)
{
    *out = json_object();
    for (int c = 0; *out && c < sqlite3_column_count(stmt); c++)
        /* NULL from column_json (no memory, text that is not UTF-8) makes the call fail */
        if (json_object_set_new(*out, sqlite3_column_name(stmt, c), column_json(stmt, c))) {
            json_decref(*out);
            *out = NULL;
            return nas_fail(err, nas_json_fault(), "store: column %s is not UTF-8 text",
                            sqlite3_column_name(stmt, c));
        }
    return *out ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "export");
}

nas_status nas_store_export(nas_store *store, int64_t run,
                            nas_status (*visit)(void *user, const char *table, const json_t *row,
                                                nas_err *err),
                            void *user, nas_err *err)
{
    nas_status status = NAS_OK;

    for (size_t t = 0; t < sizeof exports / sizeof *exports && !status; t++) {
        sqlite3_stmt *stmt;
        bool row = false;

        status = nas_store__query(store, &stmt, "export", err, exports[t].sql, "i", run);
        while (!status && !(status = nas_store__step(stmt, "export", &row, err)) && row) {
            json_t *object = NULL;

            if (!(status = row_json(stmt, &object, err)))
                status = visit(user, exports[t].table, object, err);
            json_decref(object);
        }
        sqlite3_finalize(stmt);
    }
    return status;
}
