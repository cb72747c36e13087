/* Optuna databases: what is in them, and what Optuna itself reads. */
#include <jansson.h>
#include <math.h>
#include <sqlite3.h>

#include "base/file.h"
#include "search/report/optuna.h"
#include "tests/support/scratch.h"
#include "tests/support/tools.h"

static nas_err err;

#define ok(call) cr_assert_eq((call), NAS_OK, "%s", err.message)

TestSuite(search_optuna, .init = scratch_init, .fini = scratch_fini, .timeout = 120);

static nas_store *store;
static nas_store_runs runs;

/* A network whose searched block is the text given. */
static int64_t architecture(const char *digest, const char *block)
{
    char json[1024];
    int64_t id;

    snprintf(json, sizeof json,
             "{\"format\": \"onepath.architecture\", \"version\": 1, \"name\": \"n\","
             " \"image_size\": 8, \"channels\": 3, \"classes\": 2, \"blocks\": ["
             "{\"op\": \"conv\", \"out\": 8, \"kernel\": 3}, %s, {\"op\": \"mean_pool\"},"
             "{\"op\": \"linear\", \"out\": 2}]}",
             block);
    ok(nas_store_architecture_put(
        store,
        &(nas_store_architecture){
            .digest = digest, .json = json, .space = "tiny", .macs = 1000, .parameters = 10},
        &id, &err));
    return id;
}

static void judged_networks(void)
{
    const nas_store_run_spec spec = {.kind = "search",
                                     .name = "s1",
                                     .config = "{}",
                                     .version = "0.1.0",
                                     .seed = 1,
                                     .threads = 1};
    nas_store_attempt run;

    ok(nas_store_open(&store, scratch("store"), NAS_STORE_CREATE, &err));
    const int64_t wide = architecture("a", "{\"op\": \"mbconv\", \"out\": 8, \"kernel\": 5,"
                                           " \"expand\": 6, \"stage\": 0, \"shortcut\": true}");
    const int64_t skip = architecture("b", "{\"op\": \"zero\", \"stage\": 0, \"shortcut\": true}");
    const nas_store_evaluation list[] = {
        {wide, "derived", 0, 5.5, 0.9, 0.75, 0.95, true},
        {skip, "derived", 1, 2.5, 1.5, 0.5, NAN, false},
        {skip, "derived", 2, 2.5, NAN, NAN, NAN, false}, /* not judged to the end */
        {wide, "trained", 0, NAN, 0.4, 0.875, 1.0, true},
    };

    ok(nas_store_run_begin(store, &spec, &run, &err));
    ok(nas_store_evaluations_put(store, run, list, 4, &err));
    ok(nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 0, &runs, &err));
}

static void export_all(void)
{
    int64_t trials;

    judged_networks();
    ok(nas_optuna_write(store, runs.runs, runs.count, scratch("o.db"), &trials, &err));
    cr_assert_eq(trials, 4);
}

/* All rows of a query, columns joined by '|', rows by newlines. */
static const char *rows(const char *sql)
{
    static char text[4096];
    sqlite3 *db;
    sqlite3_stmt *stmt;

    text[0] = '\0';
    cr_assert_eq(sqlite3_open_v2(scratch("o.db"), &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    while (sqlite3_step(stmt) == SQLITE_ROW)
        for (int c = 0; c < sqlite3_column_count(stmt); c++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s",
                     sqlite3_column_text(stmt, c) ? (char *)sqlite3_column_text(stmt, c) : "null",
                     c < sqlite3_column_count(stmt) - 1 ? "|" : "\n");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return text;
}

Test(search_optuna, a_study_is_a_run_and_a_way_of_judging)
{
    export_all();
    cr_assert_str_eq(rows("SELECT * FROM studies"), "1|s1/derived\n2|s1/trained\n");
    cr_assert_str_eq(rows("SELECT study_id, objective, direction FROM study_directions"),
                     "1|0|MAXIMIZE\n1|1|MINIMIZE\n2|0|MAXIMIZE\n");
    cr_assert_str_eq(rows("SELECT study_id, \"key\", value_json FROM study_system_attributes"),
                     "1|study:metric_names|[\"top1\",\"latency_ms\"]\n"
                     "2|study:metric_names|[\"top1\"]\n");
    cr_assert_str_eq(rows("PRAGMA integrity_check"), "ok\n");
    cr_assert_str_eq(rows("PRAGMA foreign_key_check"), "");
}

Test(search_optuna, a_trial_is_a_network_with_its_values_and_operations)
{
    export_all();
    cr_assert_str_eq(rows("SELECT trial_id, number, study_id, state FROM trials"),
                     "1|0|1|COMPLETE\n2|1|1|COMPLETE\n3|2|1|FAIL\n4|0|2|COMPLETE\n");
    cr_assert_str_eq(rows("SELECT trial_id, objective, value, value_type FROM trial_values"),
                     "1|0|0.75|FINITE\n1|1|5.5|FINITE\n2|0|0.5|FINITE\n2|1|2.5|FINITE\n"
                     "4|0|0.875|FINITE\n");
    cr_assert_str_eq(rows("SELECT trial_id, param_name, param_value, json_extract("
                          "distribution_json, '$.attributes.choices') FROM trial_params"),
                     "1|block01|0.0|[\"5x5 e6\",\"skip\"]\n2|block01|1.0|[\"5x5 e6\",\"skip\"]\n"
                     "3|block01|1.0|[\"5x5 e6\",\"skip\"]\n4|block01|0.0|[\"5x5 e6\"]\n");
    cr_assert_str_eq(
        rows("SELECT \"key\", value_json FROM trial_user_attributes WHERE trial_id = 2 "
             "ORDER BY \"key\""),
        "digest|\"b\"\nloss|1.5\nmacs|1000\nparameters|10\nrank|1\nselected|false\n"
        "top5|null\n");
    cr_assert_str_eq(rows("SELECT count(*) FROM trials WHERE datetime_start LIKE "
                          "'20__-__-__ __:__:__.______'"),
                     "4\n");
}

Test(search_optuna, the_file_appears_whole_or_not_at_all)
{
    int64_t trials;

    judged_networks();
    cr_assert_eq(
        nas_optuna_write(store, runs.runs, runs.count, scratch("none/o.db"), &trials, &err),
        NAS_E_IO);
    cr_assert_eq(scratch_count(), 1);
    ok(nas_optuna_write(store, NULL, 0, scratch("o.db"), &trials, &err));
    cr_assert_eq(trials, 0);
    cr_assert_str_eq(rows("SELECT count(*) FROM studies"), "0\n");
    ok(nas_optuna_write(store, runs.runs, runs.count, scratch("o.db"), &trials, &err));
    ok(nas_optuna_write(store, runs.runs, runs.count, scratch("o.db"), &trials, &err));
    cr_assert_gt(trials, 0);
    /* studies that this export has not are somebody's */
    cr_assert_eq(nas_optuna_write(store, NULL, 0, scratch("o.db"), &trials, &err), NAS_E_USAGE);
    cr_assert(strstr(err.message, "would be lost") != NULL, "%s", err.message);
}

Test(search_optuna, optuna_reads_it)
{
    need_python("optuna");
    export_all();
    const process_result *says = RUN_TOOL(
        "/usr/bin/python3", NAS_SOURCE_DIR "/tests/search/report/optuna_read.py", scratch("o.db"));
    cr_assert_eq(says->code, 0, "%s", says->err);
    json_t *first = json_loads(says->out, JSON_DISABLE_EOF_CHECK, NULL);
    cr_assert_not_null(first, "%s", says->out);
    cr_assert_str_eq(json_string_value(json_object_get(first, "name")), "s1/derived");
    cr_assert_eq(json_integer_value(json_object_get(first, "trials")), 3);
    cr_assert_eq(json_integer_value(json_object_get(first, "complete")), 2);
    cr_assert_eq(json_array_size(json_object_get(first, "best")), 2); /* neither beats the other */
    const json_t *params = json_array_get(json_object_get(first, "params"), 1);
    cr_assert_str_eq(json_string_value(json_object_get(params, "block01")), "skip");
    json_decref(first);
}
