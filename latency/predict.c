/* Prediction and coverage: both look up every key that a network or a space needs. */
#include "latency/predict.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int nas_latency_entries_missing(nas_latency_entry *entries, int count,
                                const nas_latency_table *table)
{
    int kept = 0;

    for (int i = 0; i < count; i++)
        if (!nas_latency_table_find(table, entries[i].key))
            entries[kept++] = entries[i];
    return nas_latency_entries_unique(entries, kept);
}

nas_status nas_latency_fail_missing(const nas_latency_entry *missing, int count, const char *what,
                                    nas_err *err)
{
    enum { SHOWN = 3 };
    char keys[3 * (NAS_LATENCY_KEY_SIZE + 2)] = "", more[32] = "";
    size_t used = 0;

    for (int i = 0; i < count && i < SHOWN; i++)
        used += (size_t)snprintf(keys + used, sizeof keys - used, "%s%s", i ? ", " : "",
                                 missing[i].key);
    if (count > SHOWN)
        snprintf(more, sizeof more, " and %d more", count - SHOWN);
    nas_fail(err, NAS_E_INFEASIBLE, "the latency table lacks %d %s that %s needs: %s%s", count,
             count == 1 ? "entry" : "entries", what, keys, more);
    nas_hint(err, "see all with nas latency check; nas profile measures them on this machine");
    return NAS_E_INFEASIBLE;
}

/* Fills the report from entries whose keys are all known. */
static nas_status add_up(nas_latency_report *report, const nas_latency_table *table,
                         const nas_latency_entry *entries, int count, nas_err *err)
{
    *report = (nas_latency_report){.layers = malloc(((size_t)count + 1) * sizeof *report->layers)};
    if (!report->layers)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a prediction of %d layers", count);
    for (int i = 0; i < count; i++) {
        nas_latency_layer *layer = &report->layers[report->count];

        if (entries[i].key[0] == '\0')
            continue;
        memcpy(layer->key, entries[i].key, sizeof layer->key);
        layer->latency_ms = nas_latency_table_find(table, layer->key)->mean;
        report->latency_ms += layer->latency_ms;
        report->count++;
    }
    return NAS_OK;
}

static bool covers(const nas_latency_table *table, const nas_latency_entry *entries, int count)
{
    for (int i = 0; i < count; i++)
        if (entries[i].key[0] && !nas_latency_table_find(table, entries[i].key))
            return false;
    return true;
}

nas_status nas_latency_predict(nas_latency_report *report, const nas_latency_table *table,
                               const nas_arch *arch, int image_size, nas_err *err)
{
    nas_latency_entry *entries = NULL;
    int count;
    nas_status status =
        nas_latency_arch_entries(&entries, &count, arch, table->grammar, image_size, err);

    if (status)
        return status;
    if (covers(table, entries, count))
        status = add_up(report, table, entries, count, err);
    else {
        count = nas_latency_entries_missing(entries, count, table);
        status = nas_latency_fail_missing(entries, count, "the architecture", err);
    }
    free(entries);
    return status;
}

void nas_latency_report_fini(nas_latency_report *report)
{
    free(report->layers);
    *report = (nas_latency_report){0};
}

static int64_t macs_of(const nas_latency_entry *entry)
{
    return nas_op_cost_at(&entry->op, entry->h, entry->w).macs;
}

/* NULL: not in the table, or a block that takes no time. */
static const nas_latency_stat *stat_of(const nas_latency_table *table,
                                       const nas_latency_entry *entry)
{
    return entry->key[0] != '\0' ? nas_latency_table_find(table, entry->key) : NULL;
}

double nas_latency_pruned_ms(const nas_latency_table *table, const nas_latency_entry *entries,
                             const nas_latency_entry *whole, int count)
{
    double sum = 0.0;

    for (int i = 0; i < count; i++) {
        const nas_latency_stat *own = stat_of(table, &entries[i]);
        const nas_latency_stat *before = stat_of(table, &whole[i]);
        const int64_t macs = macs_of(&whole[i]);

        if (own != NULL)
            sum += own->mean;
        else if (before != NULL)
            sum += macs > 0 ? before->mean * (double)macs_of(&entries[i]) / (double)macs
                            : before->mean;
        else if (whole[i].key[0] != '\0')
            return NAN;
    }
    return sum;
}

nas_status nas_latency_check(nas_latency_entry **missing, int *count,
                             const nas_latency_table *table, const nas_space *space,
                             int image_size, nas_err *err)
{
    nas_status status =
        nas_latency_space_entries(missing, count, space, table->grammar, image_size, err);

    if (status == NAS_OK)
        *count = nas_latency_entries_missing(*missing, *count, table);
    return status;
}
