/* Blocks as features, and what a regressor says of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "latency/regress/private.h"

/* Sizes act as factors: as logarithms their effects add up. */
static float log_of(double count)
{
    return (float)log2(1.0 + count);
}

void nas_regress__features(const nas_latency_entry *entry, float out[NAS_LATENCY_FEATURES])
{
    const nas_op_spec *op = &entry->op;
    const nas_op_cost cost = nas_op_cost_at(op, entry->h, entry->w);
    const double in = (double)entry->h * entry->w, mid = (double)cost.out_h * cost.out_w;
    const float sizes[] = {
        log_of(in), log_of(op->in), log_of(op->out), log_of(op->mid),
        (float)op->kernel, (float)op->stride, log_of(op->groups), log_of(op->se),
        (float)(op->mid > op->in), (float)(op->act == NAS_ACT_HSWISH), (float)entry->shortcut,
        log_of((double)cost.macs), log_of((double)cost.parameters),
        log_of(in * (op->in + op->mid) + mid * (op->mid + op->out)), /* values read and written */
    };
    enum { SIZES = sizeof sizes / sizeof *sizes };

    _Static_assert(SIZES + NAS_OP_TYPES == NAS_LATENCY_FEATURES, "one input a type");
    memset(out, 0, NAS_LATENCY_FEATURES * sizeof *out);
    memcpy(out, sizes, sizeof sizes);
    out[SIZES + op->type] = 1.0f;
}

void nas_regress__scale(const nas_regressor *r, const float *features, float *out)
{
    for (int i = 0; i < NAS_LATENCY_FEATURES; i++) {
        const float width = r->high[i] - r->low[i];

        out[i] = width > 0.0f ? 2.0f * (features[i] - r->low[i]) / width - 1.0f : 0.0f;
    }
}

static bool is_known(const nas_regressor *r, const nas_latency_entry *entry, const float *features)
{
    if (entry->key[0] == '\0' || entry->op.type == NAS_OP_OWN)
        return false;
    for (int i = 0; i < NAS_LATENCY_FEATURES; i++)
        if (features[i] < r->low[i] || features[i] > r->high[i])
            return false;
    return true;
}

nas_status nas_regressor_ms(const nas_regressor *r, const nas_latency_entry *entries, int count,
                            double *ms, nas_err *err)
{
    float *scratch = malloc(2 * (size_t)nas_dense_widest(&r->net) * sizeof *scratch);

    if (scratch == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory to foretell latencies");
    for (int i = 0; i < count; i++) {
        float features[NAS_LATENCY_FEATURES], x[NAS_LATENCY_FEATURES], y;

        nas_regress__features(&entries[i], features);
        nas_regress__scale(r, features, x);
        nas_dense_run(&r->net, 1, x, scratch, &y);
        ms[i] = is_known(r, &entries[i], features) ? exp((double)y) : NAN;
    }
    free(scratch);
    return NAS_OK;
}

nas_latency_table *nas_regressor_table(const nas_regressor *r, int image_size, nas_err *err)
{
    nas_latency_table *table = nas_latency_table_new(err);

    if (table == NULL)
        return NULL;
    table->meta = r->meta;
    table->meta.image_size = image_size;
    memcpy(table->meta.fitted_from, r->digest, sizeof r->digest);
    for (int i = 0; i < r->sizes; i++)
        if (r->image_size[i] == image_size) {
            memcpy(table->meta.probe, r->probe[i].digest, sizeof table->meta.probe);
            table->meta.probe_ms = r->probe[i].ms;
        }
    return table;
}

nas_status nas_regressor_fill(const nas_regressor *r, nas_latency_table *table,
                              const nas_space *space, nas_err *err)
{
    nas_latency_entry *entries = NULL;
    double *ms = NULL;
    int count;
    nas_status status = nas_latency_space_entries(&entries, &count, space,
                                                  nas_latency_grammar_of(space),
                                                  table->meta.image_size, err);

    if (status != NAS_OK)
        return status;
    count = nas_latency_entries_unique(entries, count);
    ms = malloc(((size_t)count + 1) * sizeof *ms);
    status = ms != NULL ? nas_regressor_ms(r, entries, count, ms, err)
                        : nas_fail(err, NAS_E_NOMEM, "no memory to foretell latencies");
    for (int i = 0; i < count && status == NAS_OK; i++) {
        const nas_latency_stat stat = {.mean = ms[i], .std = NAN, .median = NAN, .p95 = NAN};

        if (!isnan(ms[i]) && nas_latency_table_find(table, entries[i].key) == NULL)
            status = nas_latency_table_add(table, entries[i].key, &stat, err);
    }
    free(ms);
    free(entries);
    return status;
}
