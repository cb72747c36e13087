/* nas runs - what the store remembers: lists, shows, compares and deletes runs. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/output.h"

typedef struct list_options {
    cli_common common;
    const char *kind;
    int state;
    int64_t limit;
} list_options;

static const nas_option list_table[] = {
    {"--kind", NAS_OPT_STRING, offsetof(list_options, kind), NULL, 0, 0, NULL, "KIND",
     "only these: search, train, ..."},
    {"--state", NAS_OPT_CHOICE, offsetof(list_options, state), "any", 0, 0,
     "running|interrupted|done|failed|any", NULL, "only these"},
    {"--limit", NAS_OPT_INT, offsetof(list_options, limit), "0", 0, 1e9, NULL, "N",
     "the newest N; 0: all"},
    {0},
};

static nas_status list_run(const cli_context *context, const void *options, nas_err *err)
{
    const list_options *o = options;
    nas_store *store = NULL;
    nas_store_runs runs = {0};
    nas_status status;

    if ((status = nas_store_open(&store, o->common.store, NAS_STORE_READ, err)) == NAS_OK &&
        (status = nas_store_run_list(store, o->kind, (nas_store_state)o->state, (int)o->limit,
                                     &runs, err)) == NAS_OK) {
        json_t *rows = json_array();

        for (int i = 0; i < runs.count; i++)
            json_array_append_new(rows, cli_run_json(&runs.runs[i]));
        status = cli_emit(context, json_pack("{s:o}", "runs", rows), err);
    }
    nas_store_runs_fini(&runs);
    nas_store_close(store);
    return status;
}

const cli_command cmd_runs_list = {
    .name = "runs list", .summary = "the runs of the store, newest first", .tables = {list_table},
    .size = sizeof(list_options), .run = list_run,
};

/* ---- show ---- */

enum { TREND_CELLS = 24 };

/* Eight heights of bar; cell i shows the mean of its share of the points. */
static void trend(const nas_store_point *points, int count, char out[3 * TREND_CELLS + 1])
{
    double least = INFINITY, most = -INFINITY;
    const int cells = count < TREND_CELLS ? count : TREND_CELLS;
    size_t used = 0;

    for (int i = 0; i < count; i++)
        if (isfinite(points[i].value)) {
            least = fmin(least, points[i].value);
            most = fmax(most, points[i].value);
        }
    for (int c = 0; c < cells; c++) {
        const int first = (int)((int64_t)c * count / cells);
        const int end = (int)((int64_t)(c + 1) * count / cells);
        double sum = 0;

        for (int i = first; i < end; i++)
            sum += points[i].value;
        const double mean = sum / (end - first);
        const int height = most > least ? (int)((mean - least) / (most - least) * 7.999) : 3;
        if (isfinite(mean)) /* U+2581 ... U+2588 */
            used += (size_t)snprintf(out + used, 4, "\xe2\x96%c", 0x81 + height);
        else
            out[used++] = ' ';
    }
    out[used] = '\0';
}

typedef struct metric_list {
    nas_store *store;
    int64_t run;
    json_t *rows;
    bool people; /* with a trend */
    nas_status status;
    nas_err *err;
} metric_list;

static void add_metric(void *user, const char *name)
{
    metric_list *list = user;
    nas_store_point *points = NULL;
    char bars[3 * TREND_CELLS + 1];
    double least = INFINITY, most = -INFINITY;
    int count = 0;

    if (list->status != NAS_OK ||
        (list->status = nas_store_metric_get(list->store, list->run, name, &points, &count,
                                             list->err)) != NAS_OK ||
        count == 0)
        return;
    for (int i = 0; i < count; i++) {
        least = fmin(least, points[i].value); /* fmin and fmax pass NAN over */
        most = fmax(most, points[i].value);
    }
    json_t *row = json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "metric", name, "points", count,
                            "first", cli_real(points[0].value), "last",
                            cli_real(points[count - 1].value), "min", cli_real(least), "max",
                            cli_real(most));
    if (list->people) {
        trend(points, count, bars);
        json_object_set_new(row, "trend", json_string(bars));
    }
    json_array_append_new(list->rows, row);
    free(points);
}

static nas_status metrics_json(json_t **out, nas_store *store, int64_t run, bool people,
                               nas_err *err)
{
    metric_list list = {store, run, json_array(), people, NAS_OK, err};
    const nas_status status = nas_store_metric_names(store, run, add_metric, &list, err);

    *out = list.rows;
    return status != NAS_OK ? status : list.status;
}

static nas_status artifacts_json(json_t **out, nas_store *store, int64_t run, nas_err *err)
{
    nas_store_artifact *artifacts = NULL;
    int count = 0;
    const nas_status status = nas_store_artifact_list(store, run, NULL, &artifacts, &count, err);

    *out = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(*out, json_pack("{s:s, s:s, s:I, s:I, s:o, s:s}", "kind",
                                              artifacts[i].kind, "path", artifacts[i].path, "step",
                                              (json_int_t)artifacts[i].step, "bytes",
                                              (json_int_t)artifacts[i].bytes, "score",
                                              cli_real(artifacts[i].score), "digest",
                                              artifacts[i].digest));
    free(artifacts);
    return status;
}

/* Text kept as JSON, as an object again; null when there is none. */
static json_t *parsed(const char *text)
{
    json_t *json = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

    return json != NULL ? json : json_null();
}

static nas_status show_run(const cli_context *context, const void *options, nas_err *err)
{
    nas_store *store = NULL;
    nas_store_run *run = NULL;
    json_t *metrics = NULL, *artifacts = NULL;
    nas_status status;

    if ((status = nas_store_open(&store, context->common->store, NAS_STORE_READ, err)) ||
        (status = nas_store_run_get(store, context->args[0], &run, err)) ||
        (status = metrics_json(&metrics, store, run->id, !context->common->json, err)) ||
        (status = artifacts_json(&artifacts, store, run->id, err)))
        goto done;
    json_t *result = cli_run_json(run);
    json_object_set_new(result, "error", run->error != NULL ? json_string(run->error)
                                                            : json_null());
    json_object_set_new(result, "config", parsed(run->config));
    json_object_set_new(result, "summary", parsed(run->summary));
    json_object_set(result, "metrics", metrics);
    json_object_set(result, "artifacts", artifacts);
    status = cli_emit(context, result, err);

done:
    json_decref(metrics);
    json_decref(artifacts);
    nas_store_run_free(run);
    nas_store_close(store);
    return status;
}

const cli_command cmd_runs_show = {
    .name = "runs show", .summary = "one run: settings, metrics, result, files",
    .arguments = "RUN", .example = "runs show search-1", .min_args = 1, .max_args = 1,
    .run = show_run,
};

/* ---- compare ---- */

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

static nas_status compare_run(const cli_context *context, const void *options, nas_err *err)
{
    json_t *rows = json_object(), *columns = json_array(), *list = json_array(), *row;
    nas_store *store = NULL;
    const char *name;
    nas_status status = nas_store_open(&store, context->common->store, NAS_STORE_READ, err);

    for (int i = 0; i < context->count && status == NAS_OK; i++) {
        nas_store_run *run = NULL;

        if ((status = nas_store_run_get(store, context->args[i], &run, err)) == NAS_OK) {
            json_t *config = parsed(run->config), *summary = parsed(run->summary);

            json_array_append_new(columns, json_string(run->name));
            add_column(rows, config, "config.", run->name);
            add_column(rows, summary, "", run->name);
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

/* ---- delete ---- */

static nas_status delete_run(const cli_context *context, const void *options, nas_err *err)
{
    nas_store *store = NULL;
    json_t *deleted = json_array();
    nas_status status = nas_store_open(&store, context->common->store, NAS_STORE_EXISTING, err);

    for (int i = 0; i < context->count && status == NAS_OK; i++) {
        nas_store_run *run = NULL;

        if ((status = nas_store_run_get(store, context->args[i], &run, err)) == NAS_OK &&
            (status = nas_store_run_delete(store, run->id, err)) == NAS_OK)
            json_array_append_new(deleted, json_string(run->name));
        nas_store_run_free(run);
    }
    if (status == NAS_OK)
        status = cli_emit(context, json_pack("{s:O}", "deleted", deleted), err);
    json_decref(deleted);
    nas_store_close(store);
    return status;
}

const cli_command cmd_runs_delete = {
    .name = "runs delete", .summary = "remove runs and their files for good",
    .arguments = "RUN...", .min_args = 1, .max_args = CLI_MAX_ARGS, .run = delete_run,
};
