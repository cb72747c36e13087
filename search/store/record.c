/* What a run records beside files: metrics, probabilities, architectures, tables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "search/store/remote.h"

nas_status nas_store_progress(nas_store *store, nas_store_attempt attempt, int64_t step,
                              int64_t epoch, const nas_store_metric *metrics, int count,
                              nas_err *err)
{
    static const char what[] = "record metrics";
    sqlite3_stmt *stmt = NULL;
    bool row;
    nas_status status;

    if (store->remote)
        return nas_store__remote_progress(store, attempt, step, epoch, metrics, count, err);
    if ((status = nas_store__begin_attempt(store, attempt, err)))
        return status;
    if ((status = nas_store__exec(store, what, err, "UPDATE run SET step = ?, epoch = ?, "
                                  "updated_ms = ? WHERE id = ?", "iiii", step, epoch,
                                  nas_clock_utc_ms(), attempt.run)) ||
        (status = nas_store__query(store, &stmt, what, err, "INSERT OR REPLACE INTO metric "
                                   "(run, name, step, epoch, value) VALUES (?, ?, ?, ?, ?)", "")))
        goto done;
    for (int i = 0; i < count && !status; i++)
        if (!(status = nas_store_name_check(metrics[i].name, "metric", err)) &&
            !(status = nas_store__bind(stmt, what, err, "itiid", attempt.run, metrics[i].name, step,
                                       epoch, metrics[i].value)))
            status = nas_store__step(stmt, what, &row, err);
done:
    sqlite3_finalize(stmt);
    return nas_store__end(store, status, err);
}

/* Rows (step, epoch, value) of a query; the statement is finalised. */
static nas_status collect_points(sqlite3_stmt *stmt, nas_store_point **out, int *count,
                                 nas_err *err)
{
    bool row = false;
    nas_status status;

    while (!(status = nas_store__step(stmt, "read points", &row, err)) && row) {
        if ((status = nas_store__grow((void **)out, *count, sizeof **out, err)))
            break;
        (*out)[(*count)++] = (nas_store_point){.step = sqlite3_column_int64(stmt, 0),
                                               .epoch = sqlite3_column_int64(stmt, 1),
                                               .value = nas_store__real(stmt, 2)};
    }
    sqlite3_finalize(stmt);
    if (status) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return status;
}

nas_status nas_store_metric_get(nas_store *store, int64_t run, const char *name,
                                nas_store_point **out, int *count, nas_err *err)
{
    sqlite3_stmt *stmt;
    const nas_status status =
        nas_store__query(store, &stmt, "read metrics", err, "SELECT step, epoch, value FROM metric "
                         "WHERE run = ? AND name = ? ORDER BY step", "it", run, name);

    *out = NULL;
    *count = 0;
    return status ? status : collect_points(stmt, out, count, err);
}

nas_status nas_store_entropy_get(nas_store *store, int64_t run, nas_store_point **out, int *count,
                                 nas_err *err)
{
    sqlite3_stmt *stmt;
    const nas_status status =
        nas_store__query(store, &stmt, "read entropies", err, "SELECT slot, epoch, nats FROM "
                         "entropy WHERE run = ? ORDER BY epoch, slot", "i", run);

    *out = NULL;
    *count = 0;
    return status ? status : collect_points(stmt, out, count, err);
}

nas_status nas_store_metric_names(nas_store *store, int64_t run,
                                  void (*visit)(void *user, const char *name), void *user,
                                  nas_err *err)
{
    static const char what[] = "list metrics";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(store, &stmt, what, err, "SELECT DISTINCT name FROM "
                                         "metric WHERE run = ? ORDER BY name", "i", run);

    while (!status && !(status = nas_store__step(stmt, what, &row, err)) && row)
        visit(user, nas_store__text(stmt, 0));
    sqlite3_finalize(stmt);
    return status;
}

/* One slot: its probabilities and their entropy. */
static nas_status put_slot(sqlite3_stmt *insert_p, sqlite3_stmt *insert_entropy, int64_t run,
                           int64_t epoch, int slot, const double *p, int count, nas_err *err)
{
    static const char what[] = "record probabilities";
    double nats = 0;
    bool row;
    nas_status status = NAS_OK;

    for (int c = 0; c < count && !status; c++) {
        nats -= p[c] > 0 ? p[c] * log(p[c]) : 0;
        if (!(status = nas_store__bind(insert_p, what, err, "iiiid", run, epoch, (int64_t)slot,
                                       (int64_t)c, p[c])))
            status = nas_store__step(insert_p, what, &row, err);
    }
    if (!status && !(status = nas_store__bind(insert_entropy, what, err, "iiid", run, epoch,
                                              (int64_t)slot, nats)))
        status = nas_store__step(insert_entropy, what, &row, err);
    return status;
}

nas_status nas_store_probabilities_put(nas_store *store, nas_store_attempt attempt, int64_t epoch,
                                       int slots, const int *counts, const double *p, nas_err *err)
{
    static const char what[] = "record probabilities";
    sqlite3_stmt *insert_p = NULL, *insert_entropy = NULL;
    nas_status status;

    if (store->remote)
        return nas_store__remote_probabilities(store, attempt, epoch, slots, counts, p, err);
    if ((status = nas_store__begin_attempt(store, attempt, err)))
        return status;
    if ((status = nas_store__exec(store, what, err, "DELETE FROM probability WHERE run = ? AND "
                                  "epoch = ?", "ii", attempt.run, epoch)) ||
        (status = nas_store__exec(store, what, err, "DELETE FROM entropy WHERE run = ? AND "
                                  "epoch = ?", "ii", attempt.run, epoch)) ||
        (status = nas_store__query(store, &insert_p, what, err, "INSERT INTO probability (run, "
                                   "epoch, slot, candidate, p) VALUES (?, ?, ?, ?, ?)", "")) ||
        (status = nas_store__query(store, &insert_entropy, what, err, "INSERT INTO entropy (run, "
                                   "epoch, slot, nats) VALUES (?, ?, ?, ?)", "")))
        goto done;
    for (int s = 0; s < slots && !status; p += counts[s++])
        status = put_slot(insert_p, insert_entropy, attempt.run, epoch, s, p, counts[s], err);
done:
    sqlite3_finalize(insert_p);
    sqlite3_finalize(insert_entropy);
    return nas_store__end(store, status, err);
}

nas_status nas_store_probabilities_get(nas_store *store, int64_t run, int64_t epoch,
                                       nas_store_probability **out, int *count, nas_err *err)
{
    static const char what[] = "read probabilities";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(
        store, &stmt, what, err, "SELECT epoch, slot, candidate, p FROM probability WHERE run = ?1 "
        "AND (?2 < 0 OR epoch = ?2) ORDER BY epoch, slot, candidate", "ii", run, epoch);

    *out = NULL;
    *count = 0;
    while (!status && !(status = nas_store__step(stmt, what, &row, err)) && row) {
        if ((status = nas_store__grow((void **)out, *count, sizeof **out, err)))
            break;
        (*out)[(*count)++] = (nas_store_probability){.epoch = sqlite3_column_int64(stmt, 0),
                                                     .slot = sqlite3_column_int(stmt, 1),
                                                     .candidate = sqlite3_column_int(stmt, 2),
                                                     .p = nas_store__real(stmt, 3)};
    }
    sqlite3_finalize(stmt);
    if (status) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return status;
}

nas_status nas_store_architecture_put(nas_store *store, const nas_store_architecture *architecture,
                                      int64_t *id, nas_err *err)
{
    static const char what[] = "record an architecture";
    int64_t found = 0;
    nas_status status;

    if (store->remote)
        return nas_store__remote_architecture(store, architecture, id, err);
    if ((status = nas_store__check_json(architecture->json, "architecture", err)) ||
        (status = nas_store__begin_as_job(store, err)))
        return status;
    if (!(status = nas_store__exec(store, what, err, "INSERT INTO architecture (digest, json, "
                                   "space, macs, parameters, created_ms) VALUES (?, ?, ?, ?, ?, ?) "
                                   "ON CONFLICT (digest) DO NOTHING", "tttiii",
                                   architecture->digest, architecture->json, architecture->space,
                                   architecture->macs, architecture->parameters,
                                   nas_clock_utc_ms())))
        status = nas_store__int(store, what, &found, err, "SELECT id FROM architecture WHERE "
                                "digest = ?", "t", architecture->digest);
    if (!(status = nas_store__end(store, status, err)) && id)
        *id = found;
    return status;
}

nas_status nas_store_evaluations_put(nas_store *store, nas_store_attempt attempt,
                                     const nas_store_evaluation *evaluations, int count,
                                     nas_err *err)
{
    nas_status status;

    if (store->remote)
        return nas_store__remote_evaluations(store, attempt, evaluations, count, err);
    if ((status = nas_store__begin_attempt(store, attempt, err)))
        return status;
    for (int i = 0; i < count && !status; i++) {
        const nas_store_evaluation *e = &evaluations[i];

        if (!(status = nas_store_name_check(e->source, "source of an evaluation", err)))
            status = nas_store__exec(store, "record evaluations", err,
                                     "INSERT OR REPLACE INTO evaluation (run, source, rank, "
                                     "architecture, latency_ms, loss, top1, top5, selected) "
                                     "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", "itiiddddi", attempt.run,
                                     e->source, e->rank, e->architecture, e->latency_ms, e->loss,
                                     e->top1, e->top5, (int64_t)e->selected);
    }
    return nas_store__end(store, status, err);
}

static nas_status read_judged(sqlite3_stmt *stmt, nas_store_judged *judged, nas_err *err)
{
    *judged = (nas_store_judged){
        .rank = sqlite3_column_int64(stmt, 1), .selected = sqlite3_column_int(stmt, 2) != 0,
        .latency_ms = nas_store__real(stmt, 3), .loss = nas_store__real(stmt, 4),
        .top1 = nas_store__real(stmt, 5), .top5 = nas_store__real(stmt, 6),
        .macs = sqlite3_column_int64(stmt, 8), .parameters = sqlite3_column_int64(stmt, 9)};
    nas_store__copy_text(stmt, 0, judged->source, sizeof judged->source);
    nas_store__copy_text(stmt, 7, judged->digest, sizeof judged->digest);
    return nas_store__dup_text(stmt, 10, &judged->json, err);
}

nas_status nas_store_evaluations_get(nas_store *store, int64_t run, nas_store_judged **out,
                                     int *count, nas_err *err)
{
    static const char what[] = "read evaluations";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(
        store, &stmt, what, err, "SELECT source, rank, selected, latency_ms, loss, top1, top5, "
        "architecture.digest, macs, parameters, json FROM evaluation JOIN architecture "
        "ON architecture.id = architecture WHERE run = ? ORDER BY source, rank", "i", run);

    *out = NULL;
    *count = 0;
    while (!status && !(status = nas_store__step(stmt, what, &row, err)) && row)
        if (!(status = nas_store__grow((void **)out, *count, sizeof **out, err)) &&
            !(status = read_judged(stmt, &(*out)[*count], err)))
            ++*count;
    sqlite3_finalize(stmt);
    if (status) {
        nas_store_judged_free(*out, *count);
        *out = NULL;
        *count = 0;
    }
    return status;
}

void nas_store_judged_free(nas_store_judged *list, int count)
{
    for (int i = 0; i < count; i++)
        free(list[i].json);
    free(list);
}

nas_status nas_store_table_put(nas_store *store, const char *digest, const char *path,
                               const char *device, const char *meta, const char *content,
                               int64_t *id, nas_err *err)
{
    static const char what[] = "record a latency table";
    int64_t found = 0;
    nas_status status;

    if (strlen(content) > NAS_STORE_TEXT_MAX)
        return nas_fail(err, NAS_E_DATA, "latency table %s: larger than %d MiB", path ? path : "",
                        NAS_STORE_TEXT_MAX >> 20);
    if (store->remote)
        return nas_store__remote_table(store, digest, path, device, meta, content, id, err);
    if ((status = nas_store__check_json(meta, "conditions of a latency table", err)) ||
        (status = nas_store__begin_as_job(store, err)))
        return status;
    if (!(status = nas_store__exec(store, what, err, "INSERT INTO latency_table (digest, path, "
                                   "device, meta, content, created_ms) VALUES (?, ?, ?, ?, ?, ?) "
                                   "ON CONFLICT (digest) DO NOTHING", "ttttti", digest, path,
                                   device, meta ? meta : "{}", content, nas_clock_utc_ms())))
        status = nas_store__int(store, what, &found, err, "SELECT id FROM latency_table WHERE "
                                "digest = ?", "t", digest);
    if (!(status = nas_store__end(store, status, err)) && id)
        *id = found;
    return status;
}

nas_status nas_store_run_table(nas_store *store, nas_store_attempt attempt, int64_t table,
                               nas_err *err)
{
    nas_status status;

    if (store->remote)
        return nas_store__remote_run_table(store, attempt, table, err);
    if ((status = nas_store__begin_attempt(store, attempt, err)))
        return status;
    status = nas_store__exec(store, "name the latency table", err, "UPDATE run SET latency_table "
                             "= ? WHERE id = ?", "ii", table, attempt.run);
    return nas_store__end(store, status, err);
}

nas_status nas_store_table_get(nas_store *store, const char *digest, char **content, nas_err *err)
{
    static const char what[] = "read a latency table";
    sqlite3_stmt *stmt;
    bool row = false;
    nas_status status = nas_store__query(store, &stmt, what, err, "SELECT content FROM "
                                         "latency_table WHERE digest = ?", "t", digest);

    *content = NULL;
    if (!status && !(status = nas_store__step(stmt, what, &row, err)))
        status = row ? nas_store__dup_text(stmt, 0, content, err)
                     : nas_fail(err, NAS_E_USAGE, "there is no latency table %s in %s", digest,
                                store->dir);
    sqlite3_finalize(stmt);
    return status;
}
