/* The same walk through a space at two image sizes, side by side. */
#include "latency/scale.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latency/predict.h"

/* What the time of an operation grows with. */
static double work(const nas_latency_entry *e)
{
    const nas_op_cost cost = nas_op_cost_at(&e->op, e->h, e->w);

    return cost.macs > 0 ? (double)cost.macs : (double)e->h * e->w;
}

static nas_status add_scaled(nas_latency_table *table, const nas_latency_table *from,
                             const nas_latency_entry *here, const nas_latency_entry *there,
                             nas_err *err)
{
    const nas_latency_stat *same = nas_latency_table_find(from, here->key);
    nas_latency_stat scaled = {.std = NAN, .median = NAN, .p95 = NAN};

    if (here->key[0] == '\0' || nas_latency_table_find(table, here->key) != NULL)
        return NAS_OK;
    if (same == NULL)
        scaled.mean = nas_latency_table_find(from, there->key)->mean * work(here) / work(there);
    return nas_latency_table_add(table, here->key, same != NULL ? same : &scaled, err);
}

/* Those of `there` whose time is asked for because `from` does not know it for `here`. */
static int keep_needed(nas_latency_entry *there, const nas_latency_entry *here, int count,
                       const nas_latency_table *from)
{
    int kept = 0;

    for (int i = 0; i < count; i++)
        if (here[i].key[0] != '\0' && nas_latency_table_find(from, here[i].key) == NULL)
            there[kept++] = there[i];
    return nas_latency_entries_missing(there, kept, from);
}

static void describe(nas_latency_meta *meta, const nas_latency_table *from, int size,
                     const nas_space *space)
{
    char what[64];

    *meta = from->meta;
    meta->image_size = space->image_size;
    meta->probe[0] = '\0'; /* it was one of the table's size */
    meta->probe_ms = 0.0;
    snprintf(meta->space, sizeof meta->space, "%s", space->name);
    snprintf(what, sizeof what, "scaled from %d px by work", size);
    nas_latency_meta_note(meta, what);
}

/* Fills an empty table; here[count] and there[count] are the space at its size and at that of
 * `from`. */
static nas_status fill(nas_latency_table *table, const nas_latency_table *from,
                       const nas_latency_entry *here, nas_latency_entry *there, int count,
                       const char *space, nas_err *err)
{
    nas_latency_entry *needed = malloc(((size_t)count + 1) * sizeof *needed);
    nas_status status = NAS_OK;

    if (needed == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory to scale %d entries", count);
    memcpy(needed, there, (size_t)count * sizeof *needed);
    const int missing = keep_needed(needed, here, count, from);

    if (missing > 0)
        status = nas_latency_fail_missing(needed, missing, space, err);
    for (int i = 0; i < count && status == NAS_OK; i++)
        status = add_scaled(table, from, &here[i], &there[i], err);
    free(needed);
    return status;
}

nas_status nas_latency_scale(nas_latency_table **out, const nas_latency_table *from,
                             const nas_space *space, nas_err *err)
{
    const int size = nas_latency_table_image_size(from);
    nas_latency_entry *here = NULL, *there = NULL;
    nas_latency_table *table = NULL;
    int count;
    nas_status status;

    *out = NULL;
    if (size == 0)
        return nas_fail(err, NAS_E_CONFIG, "the table does not tell its image size");
    if ((status = nas_latency_space_entries(&here, &count, space, from->grammar, 0, err)) ||
        (status = nas_latency_space_entries(&there, &count, space, from->grammar, size, err)))
        goto done;
    table = nas_latency_table_new(err);
    status = table != NULL ? fill(table, from, here, there, count, space->name, err) : NAS_E_NOMEM;
    if (status == NAS_OK) {
        describe(&table->meta, from, size, space);
        *out = table;
        table = NULL;
    }

done:
    nas_latency_table_free(table);
    free(here);
    free(there);
    return status;
}
