/* Which reader a file is for, and the texts that other programs read. */
#include "latency/table/exchange.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "latency/table/private.h"

static void put_published(FILE *f, const nas_latency_row *row)
{
    fprintf(f, "%s:\n", row->key);
    if (row->stat.count > 0)
        fprintf(f, "  count: %lld\n", (long long)row->stat.count);
    nas_table__put_member(f, "mean", row->stat.mean);
}

static void put_proxyless(FILE *f, const nas_latency_row *row)
{
    put_published(f, row);
    nas_table__put_member(f, "var", row->stat.std * row->stat.std);
}

static void put_ofa(FILE *f, const nas_latency_row *row)
{
    put_published(f, row);
    nas_table__put_member(f, "std", row->stat.std);
}

/* A comma, then the value if there is one. */
static void put_cell(FILE *f, double value)
{
    fputc(',', f);
    if (!isnan(value))
        nas_table__put_real(f, value);
}

static void put_csv_head(FILE *f, const nas_latency_table *table)
{
    fputs("key,count,mean,std,median,p95", f);
    fputs(table->meta.emulated ? ",emulated\n" : "\n", f);
}

static void put_csv_cells(FILE *f, const nas_latency_row *row)
{
    fprintf(f, "%s,", row->key);
    if (row->stat.count > 0)
        fprintf(f, "%lld", (long long)row->stat.count);
    put_cell(f, row->stat.mean);
    put_cell(f, row->stat.std);
    put_cell(f, row->stat.median);
    put_cell(f, row->stat.p95);
}

static void put_csv(FILE *f, const nas_latency_row *row)
{
    put_csv_cells(f, row);
    fputc('\n', f);
}

/* Each entry bears the mark, so that it stays when lines are taken out of the file. */
static void put_emulated_csv(FILE *f, const nas_latency_row *row)
{
    put_csv_cells(f, row);
    fputs(",1\n", f);
}

static const struct {
    const char *program;
    nas_table__form form;
    int grammar; /* -1: any */
} formats[] = {
    [NAS_LATENCY_PROXYLESS] = {"ProxylessNAS", {NULL, put_proxyless, ""}, NAS_LATENCY_RATIO},
    [NAS_LATENCY_OFA] = {"Once-for-All", {NULL, put_ofa, ""}, NAS_LATENCY_MID},
    [NAS_LATENCY_CSV] = {"CSV", {put_csv_head, put_csv, ""}, -1},
};

static const nas_table__form emulated_csv = {put_csv_head, put_emulated_csv, ""};

nas_status nas_latency_table_export(const nas_latency_table *table, nas_latency_format format,
                                    char **text, size_t *size, nas_err *err)
{
    if (formats[format].grammar >= 0 && formats[format].grammar != (int)table->grammar) {
        nas_fail(err, NAS_E_CONFIG,
                 "the table's keys are in the dialect \"%s\", which the code of %s does not know",
                 table->grammar == NAS_LATENCY_MID ? "mid" : "ratio", formats[format].program);
        nas_hint(err, "--format %s or csv fits them",
                 table->grammar == NAS_LATENCY_MID ? "ofa" : "proxyless");
        return NAS_E_CONFIG;
    }
    const bool marked = format == NAS_LATENCY_CSV && table->meta.emulated;

    return nas_table__write(table, marked ? &emulated_csv : &formats[format].form, text, size, err);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), part = strlen(end);

    return length >= part && strcasecmp(text + length - part, end) == 0;
}

nas_status nas_latency_table_import(nas_latency_table **out, const char *path, double clock_mhz,
                                    nas_err *err)
{
    static const char numpy[] = "\x93NUMPY";
    char *text = NULL;
    size_t size;
    nas_status status = nas_file_read(path, NAS_TABLE__MAX_FILE_BYTES, &text, &size, err);

    *out = NULL;
    if (status != NAS_OK)
        return status;
    if (size >= sizeof numpy - 1 && memcmp(text, numpy, sizeof numpy - 1) == 0) {
        if (clock_mhz > 0.0)
            status = nas_latency_table_parse_haq(out, text, size, path, clock_mhz, err);
        else {
            status = nas_fail(err, NAS_E_CONFIG, "%s: counts cycles, not milliseconds", path);
            nas_hint(err, "tell the clock of the device: --clock-mhz MHZ");
        }
    } else if (clock_mhz > 0.0) {
        status = nas_fail(err, NAS_E_CONFIG, "%s: counts milliseconds, which need no clock", path);
        nas_hint(err, "leave --clock-mhz out; it is for HAQ's tables (.npy), which count cycles");
    } else if (ends_with(path, ".csv")) {
        status = nas_latency_table_parse_csv(out, text, size, path, err);
    } else {
        status = nas_latency_table_parse(out, text, size, path, err);
    }
    free(text);
    return status;
}
