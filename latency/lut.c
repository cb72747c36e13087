/* The table turned into arrays, and the arithmetic of expected latency. */
#include "latency/lut.h"

#include <stdlib.h>
#include <string.h>

#include "latency/predict.h"

static nas_status alloc_lut(nas_latency_lut **out, const nas_space *space, int total, nas_err *err)
{
    nas_latency_lut *lut = calloc(1, sizeof *lut);
    double *values = malloc(((size_t)total + 1) * sizeof *values);

    if (lut) {
        lut->slots = space->count;
        lut->candidates = malloc(((size_t)space->count + 1) * sizeof *lut->candidates);
        lut->ms = malloc(((size_t)space->count + 1) * sizeof *lut->ms);
    }
    if (!lut || !values || !lut->candidates || !lut->ms) {
        if (lut) {
            free(lut->candidates);
            free(lut->ms);
        }
        free(lut);
        free(values);
        return nas_fail(err, NAS_E_NOMEM, "no memory for the costs of a space");
    }
    lut->ms[0] = values; /* one block, cut into slots */
    for (int s = 0; s < space->count; s++) {
        lut->candidates[s] = space->slots[s].count;
        lut->ms[s] = values;
        values += space->slots[s].count;
    }
    *out = lut;
    return NAS_OK;
}

void nas_latency_lut_free(nas_latency_lut *lut)
{
    if (!lut)
        return;
    free(lut->ms[0]);
    free(lut->ms);
    free(lut->candidates);
    free(lut);
}

static void add_up_fixed(nas_latency_lut *lut)
{
    for (int s = 0; s < lut->slots; s++)
        if (lut->candidates[s] == 1)
            lut->fixed_ms += lut->ms[s][0];
}

nas_status nas_latency_lut_of(nas_latency_lut **out, const nas_space *space, const double *value,
                              nas_err *err)
{
    int total = 0;

    for (int s = 0; s < space->count; s++)
        total += space->slots[s].count;
    const nas_status status = alloc_lut(out, space, total, err);
    if (status != NAS_OK)
        return status;
    memcpy((*out)->ms[0], value, (size_t)total * sizeof *value);
    add_up_fixed(*out);
    return NAS_OK;
}

static void fill(nas_latency_lut *lut, const nas_latency_table *table,
                 const nas_latency_entry *entry)
{
    for (int s = 0; s < lut->slots; s++)
        for (int c = 0; c < lut->candidates[s]; c++, entry++)
            lut->ms[s][c] = entry->key[0] ? nas_latency_table_find(table, entry->key)->mean : 0.0;
    add_up_fixed(lut);
}

nas_status nas_latency_lut_new(nas_latency_lut **out, const nas_latency_table *table,
                               const nas_space *space, int image_size, nas_err *err)
{
    nas_latency_entry *entries = NULL, *missing = NULL;
    int count, lacking;
    nas_status status;

    if ((status = nas_latency_check(&missing, &lacking, table, space, image_size, err)))
        goto done;
    if (lacking > 0) {
        status = nas_latency_fail_missing(missing, lacking, "the space", err);
        goto done;
    }
    if ((status = nas_latency_space_entries(&entries, &count, space, table->grammar, image_size,
                                            err)) ||
        (status = alloc_lut(out, space, count, err)))
        goto done;
    fill(*out, table, entries);

done:
    free(entries);
    free(missing);
    return status;
}

double nas_latency_lut_total(const nas_latency_lut *lut, const int *choice)
{
    double total = 0.0;

    for (int s = 0; s < lut->slots; s++)
        total += lut->ms[s][choice[s]];
    return total;
}

double nas_latency_lut_slot(const nas_latency_lut *lut, int slot, const double *p)
{
    double mean = 0.0;

    for (int c = 0; c < lut->candidates[slot]; c++)
        mean += p[c] * lut->ms[slot][c];
    return mean;
}

void nas_latency_lut_slot_grad(const nas_latency_lut *lut, int slot, const double *p,
                               double dloss, double *grad)
{
    const double mean = nas_latency_lut_slot(lut, slot, p);

    for (int c = 0; c < lut->candidates[slot]; c++)
        grad[c] += dloss * p[c] * (lut->ms[slot][c] - mean);
}

double nas_latency_lut_expected(const nas_latency_lut *lut, const double *const *p)
{
    double expected = lut->fixed_ms;

    for (int s = 0; s < lut->slots; s++)
        if (lut->candidates[s] > 1)
            expected += nas_latency_lut_slot(lut, s, p[s]);
    return expected;
}

static bool has_zero(const nas_slot *slot)
{
    return slot->candidates[slot->count - 1].type == NAS_OP_ZERO;
}

/* Whether the slot may be skipped where only the last blocks of a stage may: at least
 * min_depth of its stage stand before it, and all after it can be skipped too. */
static bool may_skip(const nas_space *space, int slot)
{
    const int stage = space->slots[slot].stage;
    int before = 0;

    if (!has_zero(&space->slots[slot]))
        return false;
    if (space->min_depth == 0)
        return true;
    for (int s = 0; s < space->count; s++) {
        if (space->slots[s].stage != stage)
            continue;
        before += s < slot;
        if (s > slot && !has_zero(&space->slots[s]))
            return false;
    }
    return before >= space->min_depth;
}

/* The operation of the least (sign 1) or greatest (sign -1) latency; zero only if alone. */
static int extreme(const nas_latency_lut *lut, const nas_slot *slot, int s, double sign)
{
    const int count = slot->count > 1 ? slot->count - has_zero(slot) : 1;
    int best = 0;

    for (int c = 1; c < count; c++)
        if (sign * lut->ms[s][c] < sign * lut->ms[s][best])
            best = c;
    return best;
}

void nas_latency_lut_range(const nas_latency_lut *lut, const nas_space *space, double *min_ms,
                           double *max_ms, int *fastest, int *slowest)
{
    *min_ms = *max_ms = 0.0;
    for (int s = 0; s < lut->slots; s++) {
        const nas_slot *slot = &space->slots[s];
        /* A skipped block costs 0 and allows those after it to be skipped: always least. */
        const int low = may_skip(space, s) ? slot->count - 1 : extreme(lut, slot, s, 1.0);
        const int high = extreme(lut, slot, s, -1.0);

        *min_ms += lut->ms[s][low];
        *max_ms += lut->ms[s][high];
        if (fastest)
            fastest[s] = low;
        if (slowest)
            slowest[s] = high;
    }
}
