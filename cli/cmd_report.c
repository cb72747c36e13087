/* nas report - what the store remembers, as one HTML file to look at. */
#include <stddef.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "search/report/report.h"

typedef struct report_options {
    cli_common common;
    const char *out;
    int64_t drawn;
} report_options;

static const nas_option report_table[] = {
    {"--out", NAS_OPT_STRING, offsetof(report_options, out), NULL, 0, 0, NULL, "FILE",
     "HTML file to write", true, true},
    {"--drawn", NAS_OPT_INT, offsetof(report_options, drawn), "12", 0, 10000, NULL, "N",
     "without RUN: the newest N get curves and pictures of their own"},
    {0},
};

static nas_status report_run(const cli_context *context, const void *options, nas_err *err)
{
    const report_options *o = options;
    const nas_report_options what = {.runs = context->args, .count = context->count,
                                     .drawn = (int)o->drawn};
    nas_store *store = NULL;
    int runs;
    nas_status status = nas_store_open(&store, o->common.store, NAS_STORE_READ, err);

    if (status == NAS_OK &&
        (status = nas_store_check_output(store, o->out, false, err)) == NAS_OK &&
        (status = nas_report_write(store, o->out, &what, &runs, err)) == NAS_OK)
        status = cli_emit(context, json_pack("{s:s, s:i}", "report", o->out, "runs", runs), err);
    nas_store_close(store);
    return status;
}

const cli_command cmd_report = {
    .name = "report", .summary = "the store as one HTML file: Pareto front, curves, networks",
    .arguments = "[RUN...]", .example = "report --out report.html", .tables = {report_table},
    .size = sizeof(report_options), .max_args = CLI_MAX_ARGS, .run = report_run,
};
