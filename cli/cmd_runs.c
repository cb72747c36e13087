/* nas runs - what the store remembers: lists, shows and deletes runs. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/output.h"
#include "cli/policy.h"

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
    {"--limit", NAS_OPT_INT, offsetof(list_options, limit), "1000", 0, 1e9, NULL, "N",
     "the newest N; 0: all"},
    {0},
};

static nas_status list_run(const cli_context *context, const void *options, nas_err *err)
{
    const list_options *o = options;
    const int limit = (int)o->limit;
    nas_store *store = NULL;
    nas_store_runs runs = {0};
    nas_status status;

    if ((status = nas_store_open(&store, o->common.store, NAS_STORE_READ, err)) == NAS_OK &&
        (status = nas_store_run_list(store, o->kind, (nas_store_state)o->state,
                                     limit > 0 ? limit + 1 : 0, &runs, err)) == NAS_OK) {
        json_t *rows = json_array();
        const bool more = limit > 0 && runs.count > limit;

        for (int i = 0; i < runs.count - more; i++)
            json_array_append_new(rows, cli_run_json(&runs.runs[i]));
        json_t *result = json_pack("{s:o}", "runs", rows);
        if (context->common->json) /* people are told on stderr */
            json_object_set_new(result, "more", json_boolean(more));
        status = cli_emit(context, result, err);
        if (more)
            nas_log(NAS_LOG_INFO, "the newest %d; --limit 0 shows all", limit);
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

/* Eight heights of bar, U+2581 to U+2588 or what ASCII has for them; cell i shows the mean of its
 * share of the points, those that are no numbers left out. */
static void trend(const nas_store_point *points, int count, char out[3 * TREND_CELLS + 1])
{
    double least = INFINITY, most = -INFINITY;
    const int cells = count < TREND_CELLS ? count : TREND_CELLS;
    const bool utf8 = cli_shows_utf8();
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
        int counted = 0;

        for (int i = first; i < end; i++)
            if (isfinite(points[i].value)) {
                sum += points[i].value;
                counted++;
            }
        const double mean = sum / counted; /* NAN without any */
        const int height = counted > 0 && most > least
                               ? (int)((mean - least) / (most - least) * 7.999)
                               : 3;
        if (!isfinite(mean))
            out[used++] = ' ';
        else if (utf8)
            used += (size_t)snprintf(out + used, 4, "\xe2\x96%c", 0x81 + height);
        else
            out[used++] = "_.,-~=*#"[height];
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
    json_object_set_new(result, "config", cli_stored_json(run->config));
    json_object_set_new(result, "summary", cli_stored_json(run->summary));
    if (!context->common->json) /* drawn, and a table of its own */
        cli_policy_show(result, json_object_get(result, "summary"));
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

/* ---- delete ---- */

static nas_status named_before(nas_store_run *const *run, int at, nas_err *err)
{
    for (int i = 0; i < at; i++)
        if (run[i]->id == run[at]->id)
            return nas_fail(err, NAS_E_USAGE, "run %s is named twice", run[at]->name);
    return NAS_OK;
}

static nas_status delete_run(const cli_context *context, const void *options, nas_err *err)
{
    nas_store *store = NULL;
    json_t *deleted = json_array();
    nas_store_run *run[CLI_MAX_ARGS] = {NULL};
    nas_status status = nas_store_open(&store, context->common->store, NAS_STORE_EXISTING, err);

    for (int i = 0; i < context->count && status == NAS_OK; i++) /* all of them are there */
        if ((status = nas_store_run_get(store, context->args[i], &run[i], err)) == NAS_OK)
            status = named_before(run, i, err);
    for (int i = 0; i < context->count && status == NAS_OK; i++)
        if ((status = nas_store_run_delete(store, run[i]->id, err)) == NAS_OK)
            json_array_append_new(deleted, json_string(run[i]->name));
    if (status != NAS_OK && json_array_size(deleted) > 0)
        nas_hint(err, "%zu runs are deleted, up to %s", json_array_size(deleted),
                 json_string_value(json_array_get(deleted, json_array_size(deleted) - 1)));
    for (int i = 0; i < context->count; i++)
        nas_store_run_free(run[i]);
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
