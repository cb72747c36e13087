/* nas runs compare - where runs differ in settings and results. */
#include <string.h>

#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/output.h"

/* Puts the scalar members of `from` under `prefix` into the rows' column of a run. */
static void add_column(json_t *rows, const json_t *from, const char *prefix, const char *run)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)from, key, value) {
        char name[96];

        if (json_is_object(value) || json_is_array(value))
            continue;
        snprintf(name, sizeof name, "%s%s", prefix, key);
        json_t *row = json_object_get(rows, name);
        if (row == NULL) {
            row = json_pack("{s:s}", "what", name);
            json_object_set_new(rows, name, row);
        }
        json_object_set(row, run, value);
    }
}

/* Settings on which all agree say nothing; results always show. */
static bool says_something(const json_t *row, const char *name, const json_t *columns)
{
    const json_t *first = json_object_get(row, json_string_value(json_array_get(columns, 0)));
    json_t *column;
    size_t i;

    if (strncmp(name, "config.", 7) != 0)
        return true;
    json_array_foreach(columns, i, column) {
        const json_t *value = json_object_get(row, json_string_value(column));

        if (value == NULL || first == NULL || !json_equal(first, value))
            return true;
    }
    return false;
}

/* A row tells "what" it is about, so that no run's column may be called so. */
static const char *column_name(const char *run)
{
    return strcmp(run, "what") == 0 ? "what (run)" : run;
}

static nas_status check_new(const json_t *columns, const char *run, nas_err *err)
{
    const json_t *column;
    size_t i;

    json_array_foreach(columns, i, column)
        if (strcmp(json_string_value(column), column_name(run)) == 0)
            return nas_fail(err, NAS_E_USAGE, "run %s is named twice", run);
    return NAS_OK;
}

static nas_status compare_run(const cli_context *context, const void *options, nas_err *err)
{
    json_t *rows = json_object(), *columns = json_array(), *list = json_array(), *row;
    nas_store *store = NULL;
    const char *name;
    nas_status status = nas_store_open(&store, context->common->store, NAS_STORE_READ, err);

    for (int i = 0; i < context->count && status == NAS_OK; i++) {
        nas_store_run *run = NULL;

        if ((status = nas_store_run_get(store, context->args[i], &run, err)) == NAS_OK &&
            (status = check_new(columns, run->name, err)) == NAS_OK) {
            json_t *config = cli_stored_json(run->config), *summary = cli_stored_json(run->summary);
            const char *column = column_name(run->name);

            json_array_append_new(columns, json_string(column));
            add_column(rows, config, "config.", column);
            add_column(rows, summary, "", column);
            json_decref(config);
            json_decref(summary);
        }
        nas_store_run_free(run);
    }
    if (status == NAS_OK) {
        json_object_foreach(rows, name, row)
            if (says_something(row, name, columns)) {
                json_t *ordered = json_pack("{s:s}", "what", name), *column;
                size_t i;

                json_array_foreach(columns, i, column) {
                    json_t *value = json_object_get(row, json_string_value(column));
                    if (value != NULL)
                        json_object_set(ordered, json_string_value(column), value);
                    else
                        json_object_set_new(ordered, json_string_value(column), json_null());
                }
                json_array_append_new(list, ordered);
            }
        status = cli_emit(context, json_pack("{s:O, s:O}", "runs", columns, "rows", list), err);
    }
    json_decref(rows);
    json_decref(columns);
    json_decref(list);
    nas_store_close(store);
    return status;
}

const cli_command cmd_runs_compare = {
    .name = "runs compare", .summary = "where runs differ in settings and results",
    .arguments = "RUN RUN...", .example = "runs compare search-1 search-2", .min_args = 2,
    .max_args = 16, .run = compare_run,
};
