/* nas latency import, export - tables from and for other programs. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/load.h"
#include "cli/output.h"
#include "latency/table/exchange.h"

typedef struct exchange_options {
    cli_common common;
    const char *table, *out, *device;
    int64_t image_size;
    double clock_mhz;
    int format;
} exchange_options;

#define AT(field) offsetof(exchange_options, field)

static const nas_option import_table[] = {
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "TABLE", "table to write (YAML)", true,
     true},
    {"--device", NAS_OPT_STRING, AT(device), NULL, 0, 0, NULL, "NAME",
     "what it was measured on; default: what the file says"},
    {"--image-size", NAS_OPT_INT, AT(image_size), NULL, 1, NAS_MAX_IMAGE_SIZE, NULL, "PX",
     "side of the images; default: what the file or the largest input of its keys says"},
    {"--clock-mhz", NAS_OPT_REAL, AT(clock_mhz), "0", 0, 1e6, NULL, "MHZ",
     "clock of the device, for tables of HAQ, which count cycles"},
    {0},
};

/* Copies a text of the options into the table's description. */
static nas_status set_text(char *out, size_t size, const char *text, const char *what,
                           nas_err *err)
{
    if (strlen(text) >= size)
        return nas_fail(err, NAS_E_USAGE, "%s: more than %zu bytes", what, size - 1);
    snprintf(out, size, "%s", text);
    return NAS_OK;
}

static nas_status describe(nas_latency_table *table, const exchange_options *o, const char *source,
                           nas_err *err)
{
    nas_latency_meta *m = &table->meta;
    const char *slash = strrchr(source, '/');

    if (m->conditions[0] == '\0')
        snprintf(m->conditions, sizeof m->conditions, "imported from %.200s",
                 slash != NULL ? slash + 1 : source);
    m->image_size = o->image_size > 0 ? (int)o->image_size : nas_latency_table_image_size(table);
    return o->device != NULL ? set_text(m->device, sizeof m->device, o->device, "--device", err)
                             : NAS_OK;
}

static nas_status import_run(const cli_context *context, const void *options, nas_err *err)
{
    const exchange_options *o = options;
    nas_latency_table *table = NULL;
    json_t *result = NULL;
    nas_status status;

    if ((status = cli_check_out(context->args[0], "--out", o->out, err)) ||
        (status = nas_latency_table_import(&table, context->args[0], o->clock_mhz, err)) ||
        (status = describe(table, o, context->args[0], err)) ||
        (status = nas_latency_table_save(table, o->out, err)))
        goto done;
    result = cli_table_json(table);
    json_object_set_new(result, "table", json_string(o->out));
    status = cli_emit(context, result, err);

done:
    nas_latency_table_free(table);
    return status;
}

const cli_command cmd_latency_import = {
    .name = "latency import", .summary = "a table of ProxylessNAS, OFA or HAQ, or CSV, as ours",
    .arguments = "SRC",
    .example = "latency import phone.csv --out phone.yaml --device \"My phone\"",
    .tables = {import_table}, .size = sizeof(exchange_options), .min_args = 1, .max_args = 1,
    .run = import_run,
};

static const nas_option export_table[] = {
    {"--table", NAS_OPT_STRING, AT(table), NULL, 0, 0, NULL, "FILE", "latency table", true},
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "FILE", "file to write", true, true},
    {"--format", NAS_OPT_CHOICE, AT(format), NULL, 0, 0, "proxyless|ofa|csv|haq", NULL,
     "YAML as the code of ProxylessNAS or of Once-for-All reads it, CSV, or HAQ's array (.npy)",
     true},
    {"--clock-mhz", NAS_OPT_REAL, AT(clock_mhz), "0", 0, 1e6, NULL, "MHZ",
     "clock of the device, for --format haq, which counts cycles"},
    {0},
};

enum { HAQ = NAS_LATENCY_CSV + 1 }; /* place among the choices, behind nas_latency_format */

static nas_status check_export(const void *options, nas_err *err)
{
    const exchange_options *o = options;

    if ((o->format == HAQ) == (o->clock_mhz > 0.0))
        return NAS_OK;
    nas_fail(err, NAS_E_USAGE, "HAQ's array counts cycles, all other formats milliseconds");
    nas_hint(err, "--format haq and --clock-mhz MHZ go together");
    return NAS_E_USAGE;
}

static nas_status make_text(char **text, size_t *size, const nas_latency_table *table,
                            const exchange_options *o, nas_err *err)
{
    return o->format == HAQ
               ? nas_latency_table_export_haq(table, o->clock_mhz, text, size, err)
               : nas_latency_table_export(table, (nas_latency_format)o->format, text, size, err);
}

static nas_status export_run(const cli_context *context, const void *options, nas_err *err)
{
    static const char *const names[] = {"proxyless", "ofa", "csv", "haq"};
    const exchange_options *o = options;
    nas_latency_table *table = NULL;
    char *text = NULL;
    size_t size;
    nas_status status;

    if ((status = cli_check_out(o->table, "--out", o->out, err)) ||
        (status = nas_latency_table_load(&table, o->table, err)) ||
        (status = make_text(&text, &size, table, o, err)) ||
        (status = nas_file_write(o->out, text, size, err)))
        goto done;
    status = cli_emit(context, json_pack("{s:s, s:s, s:i}", "out", o->out, "format",
                                         names[o->format], "entries", table->count), err);

done:
    free(text);
    nas_latency_table_free(table);
    return status;
}

const cli_command cmd_latency_export = {
    .name = "latency export", .summary = "a table for other programs",
    .example = "latency export --table here.yaml --format csv --out here.csv",
    .tables = {export_table}, .size = sizeof(exchange_options), .check = check_export,
    .run = export_run,
};
