/* Tables from and for other programs (docs/reference/latency-table.md, "Exchange"). */
#ifndef NAS_LATENCY_TABLE_EXCHANGE_H
#define NAS_LATENCY_TABLE_EXCHANGE_H

#include "latency/table/table.h"

/** What a table can be written as, beside our own form. */
typedef enum nas_latency_format {
    NAS_LATENCY_PROXYLESS, /* YAML: count, mean, var; keys of the dialect "ratio" */
    NAS_LATENCY_OFA,       /* YAML: count, mean, std; keys of the dialect "mid"   */
    NAS_LATENCY_CSV        /* key,count,mean,std,median,p95[,emulated]; any keys  */
} nas_latency_format;

/** The text of `table` in a format (malloc'ed, yours), entries sorted by key.  NAS_E_CONFIG if
 * its keys are of the other dialect: no program that reads the format would find them;
 * NAS_E_NOMEM. */
nas_status nas_latency_table_export(const nas_latency_table *table, nas_latency_format format,
                                    char **text, size_t *size, nas_err *err);

/** The file of HAQ's table (malloc'ed, yours), cycle counts of a clock of `clock_mhz` (positive) that
 * are rounded to whole ones: what nas_latency_table_parse_haq reads, to the byte as NumPy writes it.
 * NAS_E_CONFIG if the keys are not those of layers and bits, or if one of the array is missing;
 * NAS_E_NOMEM. */
nas_status nas_latency_table_export_haq(const nas_latency_table *table, double clock_mhz,
                                        char **bytes, size_t *size, nas_err *err);

/** Reads `path` by its content and name: HAQ's array (".npy" inside), CSV (named *.csv), else
 * YAML, as nas_latency_table_load.  `clock_mhz` is for HAQ's, which count cycles: without it
 * (0) they are NAS_E_CONFIG, as are others with it.  NAS_E_IO, NAS_E_DATA, NAS_E_NOMEM. */
nas_status nas_latency_table_import(nas_latency_table **out, const char *path, double clock_mhz,
                                    nas_err *err);

/** CSV with a head line that names the columns: `key` and `mean` at least.  `name` stands for
 * the path in messages.  NAS_E_DATA with name:line, NAS_E_NOMEM. */
nas_status nas_latency_table_parse_csv(nas_latency_table **out, const char *text, size_t size,
                                       const char *name, nas_err *err);

/** HAQ's table: NPY version 1, little-endian int64 [layers][weight bits][activation bits], in
 * cycles of a clock of `clock_mhz` (positive).  Keys: "HAQ-layer:L-weight:W-activation:A",
 * layers from 0, bits from 1.  NAS_E_DATA, NAS_E_NOMEM. */
nas_status nas_latency_table_parse_haq(nas_latency_table **out, const char *bytes, size_t size,
                                       const char *name, double clock_mhz, nas_err *err);

#endif
