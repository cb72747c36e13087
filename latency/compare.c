/* Ratios of times, by key and by network. */
#include "latency/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/stats.h"
#include "latency/lut.h"

/* Pairs whose two times are positive; others have no ratio. */
static nas_status summarise(nas_latency_ratio *out, const double *a_ms, const double *b_ms,
                            int count, nas_err *err)
{
    double *logs = malloc(((size_t)count + 1) * sizeof *logs);
    int n = 0;

    *out = (nas_latency_ratio){NAN, NAN, NAN, NAN, NAN, NAN};
    if (logs == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory to compare %d times", count);
    for (int i = 0; i < count; i++)
        if (a_ms[i] > 0.0 && b_ms[i] > 0.0)
            logs[n++] = log(b_ms[i] / a_ms[i]);
    if (n > 0) {
        out->mean = exp(nas_mean(logs, n));
        out->spread = exp(nas_std(logs, n));
        out->least = exp(nas_quantile(logs, n, 0.0));
        out->median = exp(nas_quantile(logs, n, 0.5));
        out->most = exp(nas_quantile(logs, n, 1.0));
    }
    if (count > 0)
        out->spearman = nas_spearman(a_ms, b_ms, count);
    free(logs);
    return NAS_OK;
}

nas_latency_ratio nas_latency_ratio_over(const nas_latency_ratio *r, double level)
{
    return (nas_latency_ratio){r->mean / level,   r->spread,       r->least / level,
                               r->median / level, r->most / level, r->spearman};
}

/* The largest ratio first, those without one last, equal ones by key. */
static int by_ratio(const void *a, const void *b)
{
    const nas_latency_change *x = a, *y = b;

    if (isnan(x->ratio) != isnan(y->ratio))
        return isnan(x->ratio) ? 1 : -1;
    if (!isnan(x->ratio) && x->ratio != y->ratio)
        return x->ratio < y->ratio ? 1 : -1;
    return strcmp(x->key, y->key);
}

/* Appends the keys of `table` that `other` lacks. */
static int list_missing(const char **out, const nas_latency_table *table,
                        const nas_latency_table *other)
{
    int count = 0;

    for (int i = 0; i < table->count; i++)
        if (nas_latency_table_find(other, table->rows[i].key) == NULL)
            out[count++] = table->rows[i].key;
    return count;
}

nas_status nas_latency_diff_init(nas_latency_diff *out, const nas_latency_table *a,
                                 const nas_latency_table *b, nas_err *err)
{
    const size_t all = (size_t)a->count + (size_t)b->count + 1;
    double *columns = malloc(2 * all * sizeof *columns);
    nas_status status = NAS_OK;

    *out = (nas_latency_diff){.changes = calloc(all, sizeof *out->changes),
                              .missing = calloc(all, sizeof *out->missing)};
    if (columns == NULL || out->changes == NULL || out->missing == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "no memory to compare tables of %d and %d entries",
                          a->count, b->count);
        goto done;
    }
    for (int i = 0; i < a->count; i++) {
        const nas_latency_stat *there = nas_latency_table_find(b, a->rows[i].key);
        const double a_ms = a->rows[i].stat.mean;

        if (there == NULL)
            continue;
        columns[out->common] = a_ms;
        columns[all + (size_t)out->common] = there->mean;
        out->changes[out->common++] = (nas_latency_change){
            a->rows[i].key, a_ms, there->mean,
            a_ms > 0.0 && there->mean > 0.0 ? there->mean / a_ms : NAN};
    }
    qsort(out->changes, (size_t)out->common, sizeof *out->changes, by_ratio);
    out->level = nas_latency_meta_level(&a->meta, &b->meta);
    out->only_a = list_missing(out->missing, a, b);
    out->only_b = list_missing(out->missing + out->only_a, b, a);
    status = summarise(&out->ratio, columns, columns + all, out->common, err);

done:
    free(columns);
    if (status != NAS_OK)
        nas_latency_diff_fini(out);
    return status;
}

void nas_latency_diff_fini(nas_latency_diff *diff)
{
    free(diff->changes);
    free(diff->missing);
    *diff = (nas_latency_diff){0};
}

nas_status nas_latency_diff_networks(nas_latency_ratio *out, const nas_latency_table *a,
                                     const nas_latency_table *b, const nas_space *space,
                                     int samples, uint64_t seed, nas_err *err)
{
    double *columns = malloc(2 * (size_t)samples * sizeof *columns);
    nas_latency_lut *lut_a = NULL, *lut_b = NULL;
    nas_status status;

    if (columns == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "no memory to compare %d networks", samples);
        goto done;
    }
    if ((status = nas_latency_lut_new(&lut_a, a, space, 0, err)) != NAS_OK) {
        nas_err_prefix(err, "table A");
        goto done;
    }
    if ((status = nas_latency_lut_new(&lut_b, b, space, 0, err)) != NAS_OK) {
        nas_err_prefix(err, "table B");
        goto done;
    }
    for (int i = 0; i < samples; i++) {
        int choice[NAS_MAX_SLOTS];
        nas_rng rng;

        nas_rng_init(&rng, seed, "latency diff", (uint64_t)i);
        nas_space_sample(space, &rng, choice);
        columns[i] = nas_latency_lut_total(lut_a, choice);
        columns[samples + i] = nas_latency_lut_total(lut_b, choice);
    }
    status = summarise(out, columns, columns + samples, samples, err);

done:
    nas_latency_lut_free(lut_a);
    nas_latency_lut_free(lut_b);
    free(columns);
    return status;
}
