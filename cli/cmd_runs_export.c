/* nas runs export - what the store knows, for other programs: JSON lines, CSV, TensorBoard's
 * events, Optuna's studies. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "search/report/optuna.h"
#include "search/report/tensorboard.h"

typedef struct export_options {
    cli_common common;
    const char *out, *tensorboard, *optuna;
    int format, table;
} export_options;

enum { FORMAT_CSV, FORMAT_JSONL, TABLE_METRIC = 1 };
#define TABLES "run|metric|evaluation|artifact|probability|entropy"

static const nas_option export_table[] = {
    {"--format", NAS_OPT_CHOICE, offsetof(export_options, format), "csv", 0, 0, "csv|jsonl", NULL,
     "csv: one table; jsonl: all of them, one object a line"},
    {"--table", NAS_OPT_CHOICE, offsetof(export_options, table), "metric", 0, 0, TABLES, NULL,
     "what csv shows"},
    {"--out", NAS_OPT_STRING, offsetof(export_options, out), NULL, 0, 0, NULL, "FILE",
     "file to write; default: stdout", false, true},
    {"--tensorboard", NAS_OPT_STRING, offsetof(export_options, tensorboard), NULL, 0, 0, NULL,
     "DIR", "instead: metrics as TensorBoard's events, a folder a run there", false, true},
    {"--optuna", NAS_OPT_STRING, offsetof(export_options, optuna), NULL, 0, 0, NULL, "FILE",
     "instead: judged networks as Optuna's studies, a database there", false, true},
    {0},
};

typedef struct sink {
    nas_writer *writer; /* NULL: to `out`   */
    FILE *out;          /* on its way to stdout */
    const char *table;  /* csv              */
    json_t *list;       /* NULL: text comes */
    int64_t rows;
    bool jsonl, begun;
} sink;

static void put(sink *to, const char *text, size_t size)
{
    if (to->writer != NULL)
        nas_writer_put(to->writer, text, size);
    else
        fwrite(text, 1, size, to->out);
}

static void put_text(sink *to, const char *text)
{
    put(to, text, strlen(text));
}

/* RFC 4180, and no text that a spreadsheet would run as a formula. */
static void put_csv_text(sink *to, const char *text)
{
    put_text(to, "\"");
    if (*text != '\0' && strchr("=+-@\t\r\n", *text) != NULL)
        put_text(to, "'");
    for (; *text != '\0'; text++)
        put(to, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    put_text(to, "\"");
}

static void put_csv_value(sink *to, const json_t *value)
{
    char number[40] = "";

    if (json_is_string(value)) {
        put_csv_text(to, json_string_value(value));
        return;
    }
    if (json_is_integer(value))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, sizeof number, "%.17g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(number, sizeof number, "%d", json_is_true(value));
    put_text(to, number);
}

static void put_csv_row(sink *to, const json_t *row)
{
    const char *key, *between = "";
    json_t *value;

    if (!to->begun)
        json_object_foreach((json_t *)row, key, value) {
            put_text(to, between);
            put_text(to, key);
            between = ",";
        }
    put_text(to, to->begun ? "" : "\n");
    to->begun = true;
    between = "";
    json_object_foreach((json_t *)row, key, value) {
        put_text(to, between);
        put_csv_value(to, value);
        between = ",";
    }
    put_text(to, "\n");
}

static nas_status visit(void *user, const char *table, const json_t *row, nas_err *err)
{
    sink *to = user;

    if (!to->jsonl && strcmp(table, to->table) != 0)
        return NAS_OK;
    to->rows++;
    if (!to->jsonl && to->list == NULL) {
        put_csv_row(to, row);
        return NAS_OK;
    }
    json_t *line = json_pack("{s:s}", "table", table);
    json_object_update(line, (json_t *)row);
    if (to->list != NULL)
        return json_array_append_new(to->list, line) == 0
                   ? NAS_OK
                   : nas_fail(err, nas_json_fault(), "export: out of memory");
    char *text = json_dumps(line, JSON_REAL_PRECISION(17) | JSON_COMPACT);
    json_decref(line);
    if (text == NULL)
        return nas_fail(err, NAS_E_NOMEM, "export: out of memory");
    put_text(to, text);
    put_text(to, "\n");
    free(text);
    return NAS_OK;
}

/* Whoever reads stdout may be slow, and the store is locked for writers while it is read: rows go
 * to a file first. */
static nas_status copy_to_stdout(FILE *from, nas_err *err)
{
    char block[1 << 16];
    size_t size;

    if (fflush(from) != 0 || fseek(from, 0, SEEK_SET) != 0)
        return nas_fail_errno(err, "runs export: a temporary file");
    while ((size = fread(block, 1, sizeof block, from)) > 0)
        if (fwrite(block, 1, size, stdout) != size)
            break;
    return ferror(from) ? nas_fail_errno(err, "runs export: a temporary file") : cli_flush(err);
}

/* CSV or JSON lines; `run` NULL: of all runs.  With --json stdout is one object: of the rows, or
 * of the file that they are in. */
static nas_status export_rows(const cli_context *context, const export_options *o,
                              nas_store *store, const nas_store_run *run, nas_err *err)
{
    static const char *const tables[] = {"run", "metric", "evaluation", "artifact", "probability",
                                         "entropy"};
    sink to = {.table = tables[o->table], .jsonl = o->format == FORMAT_JSONL,
               .list = context->common->json && o->out == NULL ? json_array() : NULL};
    nas_status status = o->out != NULL ? nas_writer_open(&to.writer, o->out, err) : NAS_OK;

    if (status == NAS_OK && to.writer == NULL && to.list == NULL && (to.out = tmpfile()) == NULL)
        status = nas_fail_errno(err, "runs export: a temporary file");
    if (status != NAS_OK)
        return status;
    status = nas_store_export(store, run != NULL ? run->id : 0, visit, &to, err);
    if (to.out != NULL) {
        status = status == NAS_OK ? copy_to_stdout(to.out, err) : status;
        fclose(to.out);
        return status;
    }
    if (to.list != NULL && status == NAS_OK)
        return cli_emit(context, json_pack("{s:o}", "rows", to.list), err);
    json_decref(to.list);
    if (to.writer == NULL)
        return status;
    if (status != NAS_OK) {
        nas_writer_abort(to.writer);
        return status;
    }
    status = nas_writer_commit(to.writer, err);
    return status == NAS_OK && context->common->json
               ? cli_emit(context, json_pack("{s:s, s:I}", "out", o->out, "rows",
                                             (json_int_t)to.rows), err)
               : status;
}

/* TensorBoard and Optuna; `run` NULL: all runs. */
static nas_status export_views(const cli_context *context, const export_options *o,
                               nas_store *store, const nas_store_run *run, nas_err *err)
{
    nas_store_runs all = {0};
    int64_t events = 0, trials = 0;
    nas_status status =
        run == NULL ? nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 0, &all, err) : NAS_OK;
    const nas_store_run *runs = run != NULL ? run : all.runs;
    const int count = run != NULL ? 1 : all.count;

    if (status == NAS_OK && o->tensorboard != NULL)
        status = nas_tensorboard_write(store, runs, count, o->tensorboard, &events, err);
    if (status == NAS_OK && o->optuna != NULL)
        status = nas_optuna_write(store, runs, count, o->optuna, &trials, err);
    if (status == NAS_OK)
        status = cli_emit(context,
                          json_pack("{s:s*, s:s*, s:i, s:I, s:I}", "tensorboard", o->tensorboard,
                                    "optuna", o->optuna, "runs", count, "events",
                                    (json_int_t)events, "trials", (json_int_t)trials),
                          err);
    nas_store_runs_fini(&all);
    return status;
}

static nas_status check_places(const export_options *o, const nas_store *store, nas_err *err)
{
    const char *const place[] = {o->out, o->optuna, o->tensorboard};
    nas_status status = NAS_OK;

    for (int i = 0; i < 3 && status == NAS_OK; i++)
        if (place[i] != NULL)
            status = nas_store_check_output(store, place[i], place[i] == o->tensorboard, err);
    return status;
}

static nas_status export_run(const cli_context *context, const void *options, nas_err *err)
{
    const export_options *o = options;
    const bool views = o->tensorboard != NULL || o->optuna != NULL;
    nas_store *store = NULL;
    nas_store_run *run = NULL;
    nas_status status;

    if (views && (o->format != FORMAT_CSV || o->table != TABLE_METRIC))
        return nas_fail(err, NAS_E_USAGE, "runs export: --format and --table are for --out");
    if (views && o->out != NULL) {
        nas_fail(err, NAS_E_USAGE, "runs export: --out is for csv and jsonl");
        nas_hint(err, "--tensorboard and --optuna name what they write themselves");
        return NAS_E_USAGE;
    }
    if ((status = nas_store_open(&store, o->common.store, NAS_STORE_READ, err)) == NAS_OK &&
        (context->count == 0 ||
         (status = nas_store_run_get(store, context->args[0], &run, err)) == NAS_OK) &&
        (status = check_places(o, store, err)) == NAS_OK)
        status = views ? export_views(context, o, store, run, err)
                       : export_rows(context, o, store, run, err);
    nas_store_run_free(run);
    nas_store_close(store);
    return status;
}

const cli_command cmd_runs_export = {
    .name = "runs export", .summary = "metrics and results as CSV, JSON lines, TensorBoard, Optuna",
    .arguments = "[RUN]", .example = "runs export search-1 --format csv --out metrics.csv",
    .tables = {export_table}, .size = sizeof(export_options), .max_args = 1, .run = export_run,
};
