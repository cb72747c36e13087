/* Least squares of few terms, each of which has to earn its place. */
#include "latency/fit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/spd.h"
#include "latency/predict.h"

enum { FOLDS = 10, MIN_NETWORKS = 10 };

static const double worth = 0.95; /* of the error before, at most */

const char *nas_latency_term_name(nas_latency_term term)
{
    static const char *const names[NAS_LATENCY_TERMS] = {"time", "constant", "blocks", "weights",
                                                         "activations"};

    return names[term];
}

/* ------------------------------------------------------------------ terms */

/* The candidates of a space, slot after slot, and what they add to each term of a network. */
typedef struct ground {
    const nas_space *space;
    nas_latency_entry *entries; /* [count]                              */
    double (*term)[NAS_LATENCY_TERMS]; /* [count]                       */
    int first[NAS_MAX_SLOTS], count;   /* of a slot's candidates        */
    double *row;                /* [networks][NAS_LATENCY_TERMS]        */
} ground;

/* Whether entry `i` is one that every network has, and has once. */
static bool is_common(const ground *g, int slot, int i)
{
    if (g->space->slots[slot].count > 1 || g->entries[i].key[0] == '\0')
        return false;
    for (int k = 0; k < g->count; k++)
        if (k != i && strcmp(g->entries[k].key, g->entries[i].key) == 0)
            return false;
    return true;
}

static void describe_entry(const nas_latency_entry *entry, const nas_latency_table *table,
                           double term[NAS_LATENCY_TERMS])
{
    const nas_op_cost cost = nas_op_cost_at(&entry->op, entry->h, entry->w);
    const double in = (double)entry->h * entry->w * entry->op.in;
    const double out = (double)cost.out_h * cost.out_w * entry->op.out;

    if (entry->key[0] == '\0')
        return; /* takes no time */
    term[NAS_LATENCY_TIME] = nas_latency_table_find(table, entry->key)->mean;
    term[NAS_LATENCY_BLOCKS] = 1.0;
    term[NAS_LATENCY_WEIGHTS] = 1e-6 * (double)cost.parameters;
    term[NAS_LATENCY_ACTIVATIONS] = 1e-6 * (in + out);
}

/* The constant is spread over the entries that all networks have. */
static void spread_constant(ground *g)
{
    double common_ms = 0.0;

    for (int pass = 0; pass < 2; pass++)
        for (int s = 0; s < g->space->count; s++) {
            double *term = g->term[g->first[s]];

            if (!is_common(g, s, g->first[s]))
                continue;
            if (pass == 0)
                common_ms += term[NAS_LATENCY_TIME];
            else if (common_ms > 0.0)
                term[NAS_LATENCY_CONSTANT] = term[NAS_LATENCY_TIME] / common_ms;
        }
}

static nas_status survey(ground *g, const nas_latency_table *table, const nas_space *space,
                         nas_err *err)
{
    nas_latency_entry *missing = NULL;
    int lacking;
    nas_status status = nas_latency_check(&missing, &lacking, table, space, 0, err);

    *g = (ground){.space = space};
    if (status == NAS_OK && lacking > 0)
        status = nas_latency_fail_missing(missing, lacking, "the space", err);
    free(missing);
    if (status != NAS_OK ||
        (status = nas_latency_space_entries(&g->entries, &g->count, space, table->grammar, 0,
                                            err)) != NAS_OK)
        return status;
    g->term = calloc((size_t)g->count + 1, sizeof *g->term);
    if (g->term == NULL)
        return nas_fail(err, NAS_E_NOMEM, "fit: no memory for %d entries", g->count);
    for (int s = 1; s < space->count; s++)
        g->first[s] = g->first[s - 1] + space->slots[s - 1].count;
    for (int i = 0; i < g->count; i++)
        describe_entry(&g->entries[i], table, g->term[i]);
    spread_constant(g);
    return NAS_OK;
}

static void leave(ground *g)
{
    free(g->entries);
    free(g->term);
    free(g->row);
}

static nas_status describe_networks(ground *g, const nas_latency_pair *pairs, int count,
                                    nas_err *err)
{
    g->row = calloc((size_t)count * NAS_LATENCY_TERMS, sizeof *g->row);
    if (g->row == NULL)
        return nas_fail(err, NAS_E_NOMEM, "fit: no memory for %d networks", count);
    for (int n = 0; n < count; n++)
        for (int s = 0; s < g->space->count; s++)
            for (int t = 0; t < NAS_LATENCY_TERMS; t++)
                g->row[n * NAS_LATENCY_TERMS + t] +=
                    g->term[g->first[s] + pairs[n].choice[s]][t];
    return NAS_OK;
}

static double apply_terms(const double *factor, const double *term)
{
    double ms = 0.0;

    for (int t = 0; t < NAS_LATENCY_TERMS; t++)
        ms += factor[t] * term[t];
    return ms;
}

/* ------------------------------------------------------------------ least squares */

/* The factors of the used terms that bring the networks outside of `fold` (-1: all) nearest to
 * what was measured, relative to it; the table itself is the starting point. */
static bool fit_networks(const ground *g, const nas_latency_pair *pairs, int count, int fold,
                         const bool *used, double *factor)
{
    double a[NAS_LATENCY_TERMS * NAS_LATENCY_TERMS] = {0}, b[NAS_LATENCY_TERMS] = {0};
    double size[NAS_LATENCY_TERMS] = {0};
    int term[NAS_LATENCY_TERMS], terms = 0;

    for (int t = 0; t < NAS_LATENCY_TERMS; t++) {
        factor[t] = t == NAS_LATENCY_TIME;
        if (used[t])
            term[terms++] = t;
    }
    for (int n = 0; n < count; n++) /* each term in units of its mean */
        for (int i = 0; i < terms; i++)
            size[i] += fabs(g->row[n * NAS_LATENCY_TERMS + term[i]]) / pairs[n].measured_ms / count;
    for (int n = 0; n < count; n++) {
        const double *row = g->row + n * NAS_LATENCY_TERMS, ms = pairs[n].measured_ms;

        for (int i = 0; i < terms && n % FOLDS != fold; i++) {
            const double x = row[term[i]] / ms / size[i];

            b[i] += x * (1.0 - row[NAS_LATENCY_TIME] / ms) / count;
            for (int j = 0; j < terms; j++)
                a[i * terms + j] += x * row[term[j]] / ms / size[j] / count;
        }
    }
    for (int i = 0; i < terms; i++)
        if (!(size[i] > 0.0))
            return false;
    if (!nas_spd_solve(terms, 1, a, b))
        return false;
    for (int i = 0; i < terms; i++)
        factor[term[i]] += b[i] / size[i];
    return true;
}

static bool keeps_times_positive(const ground *g, const double *factor)
{
    for (int i = 0; i < g->count; i++)
        if (g->term[i][NAS_LATENCY_TIME] > 0.0 && !(apply_terms(factor, g->term[i]) > 0.0))
            return false;
    return true;
}

/* Fits these terms and cross-validates; false if they make no sense. */
static bool try_terms(nas_latency_fit *fit, const ground *g, const nas_latency_pair *pairs,
                      int count)
{
    int within = 0;

    fit->mape = 0.0;
    for (int fold = 0; fold < FOLDS; fold++) {
        if (!fit_networks(g, pairs, count, fold, fit->used, fit->factor))
            return false;
        for (int n = fold; n < count; n += FOLDS) {
            const double ms = apply_terms(fit->factor, g->row + n * NAS_LATENCY_TERMS);
            const double error = fabs(ms / pairs[n].measured_ms - 1.0);

            fit->mape += error / count;
            within += error <= 0.1;
        }
    }
    fit->within_10 = (double)within / count;
    return fit_networks(g, pairs, count, -1, fit->used, fit->factor) &&
           keeps_times_positive(g, fit->factor);
}

nas_status nas_latency_fit_find(nas_latency_fit *out, const nas_latency_table *table,
                                const nas_space *space, const nas_latency_pair *pairs, int count,
                                nas_err *err)
{
    ground g = {.space = NULL};
    nas_status status;
    bool better = true;

    *out = (nas_latency_fit){.networks = count};
    if (count < MIN_NETWORKS)
        return nas_fail(err, NAS_E_CONFIG, "fit: %d networks are too few, it takes %d", count,
                        MIN_NETWORKS);
    if ((status = survey(&g, table, space, err)) ||
        (status = describe_networks(&g, pairs, count, err)))
        goto done;
    try_terms(out, &g, pairs, count); /* without any term: the table itself */
    out->table_mape = out->mape;
    out->table_within_10 = out->within_10;
    while (better) {
        const nas_latency_fit before = *out;

        better = false;
        for (int t = 0; t < NAS_LATENCY_TERMS; t++) {
            nas_latency_fit with = before;

            with.used[t] = true;
            if (before.used[t] || !try_terms(&with, &g, pairs, count) ||
                !(with.mape <= worth * before.mape) || (better && with.mape >= out->mape))
                continue;
            *out = with;
            better = true;
        }
    }

done:
    leave(&g);
    return status;
}

/* ------------------------------------------------------------------ the table */

static nas_status describe(nas_latency_table *out, const nas_latency_fit *fit,
                           const nas_latency_table *table, const nas_space *space, nas_err *err)
{
    char terms[120] = "", what[160];

    for (int t = 0; t < NAS_LATENCY_TERMS; t++)
        if (fit->used[t])
            snprintf(terms + strlen(terms), sizeof terms - strlen(terms), " %s %.4g",
                     nas_latency_term_name((nas_latency_term)t), fit->factor[t]);
    out->meta = table->meta;
    snprintf(out->meta.space, sizeof out->meta.space, "%s", space->name);
    snprintf(what, sizeof what, "fitted to %d networks:%s", fit->networks,
             terms[0] ? terms : " no term");
    nas_latency_meta_note(&out->meta, what);
    return nas_latency_table_digest(table, out->meta.fitted_from, err);
}

nas_status nas_latency_fit_apply(nas_latency_table **out, const nas_latency_fit *fit,
                                 const nas_latency_table *table, const nas_space *space,
                                 nas_err *err)
{
    nas_latency_table *made = nas_latency_table_new(err);
    ground g = {.space = NULL};
    nas_status status = NAS_E_NOMEM;

    *out = NULL;
    if (made == NULL || (status = survey(&g, table, space, err)) != NAS_OK)
        goto done;
    for (int i = 0; i < g.count && status == NAS_OK; i++) {
        const nas_latency_stat stat = {.mean = fmax(0.0, apply_terms(fit->factor, g.term[i])),
                                       .std = NAN, .median = NAN, .p95 = NAN};

        if (g.entries[i].key[0] != '\0' && !nas_latency_table_find(made, g.entries[i].key))
            status = nas_latency_table_add(made, g.entries[i].key, &stat, err);
    }
    if (status == NAS_OK)
        status = describe(made, fit, table, space, err);
    if (status == NAS_OK) {
        *out = made;
        made = NULL;
    }

done:
    nas_latency_table_free(made);
    leave(&g);
    return status;
}
