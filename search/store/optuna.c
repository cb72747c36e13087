/* Optuna's relational storage, schema v3.2.0.a, filled by plain SQL. */
#include "search/store/optuna.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "search/store/private.h"

struct nas_optuna {
    nas_store store; /* only its database is used: a handle for the helpers of this folder */
    int64_t study, trial, number; /* ids of the last ones; trials of the study so far */
    nas_optuna_study about;
};

/* Optuna reads every one of them, and refuses a file without them. */
static const char schema[] =
    "CREATE TABLE alembic_version(version_num VARCHAR(32) NOT NULL PRIMARY KEY);"
    "INSERT INTO alembic_version VALUES('v3.2.0.a');"
    "CREATE TABLE version_info(version_info_id INTEGER NOT NULL PRIMARY KEY"
    " CHECK(version_info_id = 1), schema_version INTEGER, library_version VARCHAR(256));"
    "INSERT INTO version_info VALUES(1, 12, '3.2.0');"
    "CREATE TABLE studies(study_id INTEGER NOT NULL PRIMARY KEY,"
    " study_name VARCHAR(512) NOT NULL);"
    "CREATE UNIQUE INDEX ix_studies_study_name ON studies(study_name);"
    "CREATE TABLE study_directions(study_direction_id INTEGER NOT NULL PRIMARY KEY,"
    " direction VARCHAR(8) NOT NULL, study_id INTEGER NOT NULL REFERENCES studies(study_id),"
    " objective INTEGER NOT NULL, UNIQUE(study_id, objective));"
    "CREATE TABLE study_user_attributes(study_user_attribute_id INTEGER NOT NULL PRIMARY KEY,"
    " study_id INTEGER REFERENCES studies(study_id), \"key\" VARCHAR(512), value_json TEXT,"
    " UNIQUE(study_id, \"key\"));"
    "CREATE TABLE study_system_attributes(study_system_attribute_id INTEGER NOT NULL PRIMARY KEY,"
    " study_id INTEGER REFERENCES studies(study_id), \"key\" VARCHAR(512), value_json TEXT,"
    " UNIQUE(study_id, \"key\"));"
    "CREATE TABLE trials(trial_id INTEGER NOT NULL PRIMARY KEY, number INTEGER,"
    " study_id INTEGER REFERENCES studies(study_id), state VARCHAR(8) NOT NULL,"
    " datetime_start DATETIME, datetime_complete DATETIME);"
    "CREATE INDEX ix_trials_study_id ON trials(study_id);"
    "CREATE TABLE trial_user_attributes(trial_user_attribute_id INTEGER NOT NULL PRIMARY KEY,"
    " trial_id INTEGER REFERENCES trials(trial_id), \"key\" VARCHAR(512), value_json TEXT,"
    " UNIQUE(trial_id, \"key\"));"
    "CREATE TABLE trial_system_attributes(trial_system_attribute_id INTEGER NOT NULL PRIMARY KEY,"
    " trial_id INTEGER REFERENCES trials(trial_id), \"key\" VARCHAR(512), value_json TEXT,"
    " UNIQUE(trial_id, \"key\"));"
    "CREATE TABLE trial_params(param_id INTEGER NOT NULL PRIMARY KEY,"
    " trial_id INTEGER REFERENCES trials(trial_id), param_name VARCHAR(512), param_value FLOAT,"
    " distribution_json TEXT, UNIQUE(trial_id, param_name));"
    "CREATE TABLE trial_values(trial_value_id INTEGER NOT NULL PRIMARY KEY,"
    " trial_id INTEGER NOT NULL REFERENCES trials(trial_id), objective INTEGER NOT NULL,"
    " value FLOAT, value_type VARCHAR(7) NOT NULL, UNIQUE(trial_id, objective));"
    "CREATE TABLE trial_intermediate_values("
    "trial_intermediate_value_id INTEGER NOT NULL PRIMARY KEY,"
    " trial_id INTEGER NOT NULL REFERENCES trials(trial_id), step INTEGER NOT NULL,"
    " intermediate_value FLOAT, intermediate_value_type VARCHAR(7) NOT NULL,"
    " UNIQUE(trial_id, step));"
    "CREATE TABLE trial_heartbeats(trial_heartbeat_id INTEGER NOT NULL PRIMARY KEY,"
    " trial_id INTEGER NOT NULL UNIQUE REFERENCES trials(trial_id), heartbeat DATETIME NOT NULL);"
    "PRAGMA application_id = 1851880303; BEGIN";

enum { APPLICATION = 0x6e61736f }; /* "naso": PRAGMA application_id below */

static const char what[] = "Optuna export";

nas_status nas_optuna_new(nas_optuna **out, nas_err *err)
{
    nas_optuna *optuna = calloc(1, sizeof *optuna);
    nas_status status;

    *out = NULL;
    if (optuna == NULL || sqlite3_open(":memory:", &optuna->store.db) != SQLITE_OK)
        status = nas_fail(err, NAS_E_NOMEM, "%s: out of memory", what);
    else
        status = nas_store__script(optuna->store.db, what, schema, err);
    if (status == NAS_OK)
        *out = optuna;
    else
        nas_optuna_free(optuna);
    return status;
}

void nas_optuna_free(nas_optuna *optuna)
{
    if (optuna != NULL)
        sqlite3_close(optuna->store.db);
    free(optuna);
}

/* Runs `sql`, whose parameters are the id, the key and the JSON text of `value`. */
static nas_status put_json(nas_optuna *optuna, const char *sql, int64_t id, const char *key,
                           const json_t *value, nas_err *err)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    const nas_status status =
        text != NULL ? nas_store__exec(&optuna->store, what, err, sql, "itt", id, key, text)
                     : nas_fail(err, NAS_E_NOMEM, "%s: out of memory", what);

    free(text);
    return status;
}

nas_status nas_optuna_study_add(nas_optuna *optuna, const nas_optuna_study *study, nas_err *err)
{
    const int64_t id = ++optuna->study;
    json_t *names = json_array();
    nas_status status;

    optuna->number = 0;
    optuna->about = *study;
    status = nas_store__exec(&optuna->store, what, err, "INSERT INTO studies VALUES(?, ?)", "it",
                             id, study->name);
    for (int64_t i = 0; i < study->objectives && status == NAS_OK; i++) {
        json_array_append_new(names, json_string(study->metric[i]));
        status = nas_store__exec(&optuna->store, what, err,
                                 "INSERT INTO study_directions VALUES(NULL, ?, ?, ?)", "tii",
                                 study->maximize[i] ? "MAXIMIZE" : "MINIMIZE", id, i);
    }
    if (status == NAS_OK)
        status = put_json(optuna, "INSERT INTO study_system_attributes VALUES(NULL, ?, ?, ?)", id,
                          "study:metric_names", names, err);
    json_decref(names);
    return status;
}

static const char *date(int64_t ms, char out[40])
{
    const time_t seconds = (time_t)(ms / 1000);
    struct tm utc = {0};
    char text[32];

    gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc);
    snprintf(out, 40, "%s.%03d000", text, (int)(ms % 1000));
    return out;
}

static nas_status put_params(nas_optuna *optuna, const nas_optuna_trial *trial, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int i = 0; i < trial->params && status == NAS_OK; i++) {
        const nas_optuna_param *p = &trial->param[i];
        json_t *distribution = json_pack("{s:s, s:{s:O}}", "name", "CategoricalDistribution",
                                         "attributes", "choices", p->choices);
        char *text = distribution != NULL ? json_dumps(distribution, JSON_COMPACT) : NULL;

        status = text != NULL
                     ? nas_store__exec(&optuna->store, what, err,
                                       "INSERT INTO trial_params VALUES(NULL, ?, ?, ?, ?)", "itdt",
                                       optuna->trial, p->name, (double)p->choice, text)
                     : nas_fail(err, NAS_E_NOMEM, "%s: out of memory", what);
        free(text);
        json_decref(distribution);
    }
    return status;
}

nas_status nas_optuna_trial_add(nas_optuna *optuna, const nas_optuna_trial *trial, nas_err *err)
{
    const int64_t id = ++optuna->trial;
    const char *key;
    json_t *value;
    char start[40], complete[40];
    bool failed = false;
    nas_status status;

    for (int i = 0; i < optuna->about.objectives; i++)
        failed = failed || !isfinite(trial->values[i]);
    status =
        nas_store__exec(&optuna->store, what, err, "INSERT INTO trials VALUES(?, ?, ?, ?, ?, ?)",
                        "iiittt", id, optuna->number++, optuna->study, failed ? "FAIL" : "COMPLETE",
                        date(trial->start_ms, start), date(trial->complete_ms, complete));
    for (int64_t i = 0; i < optuna->about.objectives && status == NAS_OK && !failed; i++)
        status = nas_store__exec(&optuna->store, what, err,
                                 "INSERT INTO trial_values VALUES(NULL, ?, ?, ?, 'FINITE')", "iid",
                                 id, i, trial->values[i]);
    if (status == NAS_OK)
        status = put_params(optuna, trial, err);
    json_object_foreach ((json_t *)trial->attributes, key, value)
        if (status == NAS_OK)
            status = put_json(optuna, "INSERT INTO trial_user_attributes VALUES(NULL, ?, ?, ?)", id,
                              key, value, err);
    return status;
}

/* An earlier export may have got studies of others since, or be of other runs: they stay. */
static nas_status check_studies(nas_optuna *optuna, const char *path, nas_err *err)
{
    nas_store there = {0};
    sqlite3_stmt *stmt = NULL;
    bool row = false;
    nas_status status = NAS_OK;

    if (sqlite3_open_v2(path, &there.db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) ==
            SQLITE_OK &&
        nas_store__query(&there, &stmt, what, NULL, "SELECT study_name FROM studies", "") ==
            NAS_OK)
        while (status == NAS_OK && nas_store__step(stmt, what, &row, NULL) == NAS_OK && row) {
            const char *name = nas_store__text(stmt, 0);
            int64_t known = 0;

            status = nas_store__int(&optuna->store, what, &known, err,
                                    "SELECT count(*) FROM studies WHERE study_name = ?", "t",
                                    name);
            if (status == NAS_OK && known == 0) {
                status = nas_fail(err, NAS_E_USAGE, "%s: has study '%.100s', which this export has "
                                  "not: it would be lost", path, name);
                nas_hint(err, "name another file; Optuna can copy studies from one into the other");
            }
        }
    sqlite3_finalize(stmt);
    sqlite3_close(there.db);
    return status;
}

/* Nothing is there, or an earlier export: SQLite keeps an application's number at byte 68. */
static nas_status check_place(nas_optuna *optuna, const char *path, nas_err *err)
{
    static const unsigned char ours[] = {APPLICATION >> 24, APPLICATION >> 16 & 255,
                                         APPLICATION >> 8 & 255, APPLICATION & 255};
    unsigned char head[72] = {0};
    FILE *file = fopen(path, "rbe");

    if (file == NULL)
        return NAS_OK; /* writing says what is wrong, if anything is */
    const size_t got = fread(head, 1, sizeof head, file);
    fclose(file);
    if (got == sizeof head && memcmp(head + 68, ours, sizeof ours) == 0)
        return check_studies(optuna, path, err);
    nas_fail(err, NAS_E_USAGE, "%s is there, and is no earlier export for Optuna", path);
    nas_hint(err, "name another file; Optuna can copy studies from one into the other");
    return NAS_E_USAGE;
}

nas_status nas_optuna_save(nas_optuna *optuna, const char *path, nas_err *err)
{
    sqlite3_int64 size = 0;
    nas_status status = check_place(optuna, path, err);

    if (status != NAS_OK ||
        (status = nas_store__script(optuna->store.db, what, "COMMIT", err)) != NAS_OK)
        return status;
    unsigned char *bytes = sqlite3_serialize(optuna->store.db, "main", &size, 0);
    status = bytes != NULL ? nas_file_write(path, bytes, (size_t)size, err)
                           : nas_fail(err, NAS_E_NOMEM, "%s: out of memory", what);
    sqlite3_free(bytes);
    return status;
}
