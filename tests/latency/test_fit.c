/* Fits to networks whose times are made up: what is in them is known. */
#include "latency/fit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "latency/lut.h"
#include "latency/predict.h"
#include "tests/latency/published.h"
#include "tests/support/table.h"

TestSuite(latency_fit);

enum { NETWORKS = 60 };

static nas_err err;
static nas_latency_pair pairs[NETWORKS];

typedef struct world {
    nas_space *space;
    nas_latency_table *table;
    nas_latency_lut *lut;
} world;

static world world_of(const char *name)
{
    world w;

    REQUIRE_OK(nas_space_load(&w.space, name, &err));
    w.table = test_table(w.space);
    w.table->meta.threads = 2;
    REQUIRE_OK(nas_latency_lut_new(&w.lut, w.table, w.space, 0, &err));
    return w;
}

static void close_world(world *w)
{
    nas_latency_lut_free(w->lut);
    nas_latency_table_free(w->table);
    nas_space_free(w->space);
}

static int blocks_of(const world *w, const int *choice)
{
    int blocks = 0;

    for (int s = 0; s < w->space->count; s++)
        blocks += w->space->slots[s].candidates[choice[s]].type != NAS_OP_ZERO;
    return blocks;
}

/* Networks that take scale * table + constant + block for each block, give or take `noise`. */
static void measure(const world *w, double scale, double constant, double block, double noise)
{
    for (int i = 0; i < NETWORKS; i++) {
        nas_rng rng;

        nas_rng_init(&rng, 5, "test fit", (uint64_t)i);
        nas_space_sample(w->space, &rng, pairs[i].choice);
        pairs[i].predicted_ms = nas_latency_lut_total(w->lut, pairs[i].choice);
        pairs[i].measured_ms = (scale * pairs[i].predicted_ms + constant +
                                block * blocks_of(w, pairs[i].choice)) *
                               (1.0 + noise * nas_rng_normal(&rng));
    }
}

static nas_latency_fit fit_of(const world *w)
{
    nas_latency_fit fit;

    REQUIRE_OK(nas_latency_fit_find(&fit, w->table, w->space, pairs, NETWORKS, &err));
    return fit;
}

static void expect(const nas_latency_fit *fit, nas_latency_term term, double factor)
{
    cr_assert(fit->used[term], "%s is not used", nas_latency_term_name(term));
    cr_assert_float_eq(fit->factor[term], factor, 1e-6 * fabs(factor) + 1e-9, "%s: %g",
                       nas_latency_term_name(term), fit->factor[term]);
}

Test(latency_fit, planted_factors_are_found_exactly)
{
    world w = world_of("proxyless-cifar-0.5");

    measure(&w, 1.2, -0.05, 0.004, 0.0);
    const nas_latency_fit fit = fit_of(&w);
    expect(&fit, NAS_LATENCY_TIME, 1.2);
    /* The mean pool is no entry: Logits has it. */
    expect(&fit, NAS_LATENCY_CONSTANT, -0.05 + 0.004);
    expect(&fit, NAS_LATENCY_BLOCKS, 0.004);
    cr_assert_lt(fit.mape, 1e-9);
    cr_assert_eq(fit.within_10, 1.0);
    cr_assert_gt(fit.table_mape, 0.05);
    close_world(&w);
}

/* The fit is in the entries: whatever adds them up has it, and the gradient of the search too. */
Test(latency_fit, fitted_table_foretells_networks_that_were_not_measured)
{
    world w = world_of("proxyless-cifar-0.5");
    nas_latency_table *fitted, *again;
    char digest[NAS_DIGEST_SIZE], *text;
    size_t size;

    measure(&w, 1.2, -0.05, 0.004, 0.0);
    const nas_latency_fit fit = fit_of(&w);
    REQUIRE_OK(nas_latency_fit_apply(&fitted, &fit, w.table, w.space, &err));
    for (int i = 0; i < 50; i++) {
        int choice[NAS_MAX_SLOTS];
        nas_latency_report report;
        nas_arch *arch;
        nas_rng rng;

        nas_rng_init(&rng, 6, "second draw", (uint64_t)i);
        nas_space_sample(w.space, &rng, choice);
        REQUIRE_OK(nas_space_arch(&arch, w.space, choice, &err));
        REQUIRE_OK(nas_latency_predict(&report, fitted, arch, 0, &err));
        cr_assert_float_eq(report.latency_ms,
                           1.2 * nas_latency_lut_total(w.lut, choice) - 0.05 +
                               0.004 * blocks_of(&w, choice), 1e-9);
        nas_latency_report_fini(&report);
        nas_arch_free(arch);
    }
    REQUIRE_OK(nas_latency_table_digest(w.table, digest, &err));
    cr_assert_str_eq(fitted->meta.fitted_from, digest);
    cr_assert_eq(fitted->meta.threads, 2);
    REQUIRE_OK(nas_latency_table_text(fitted, &text, &size, &err));
    REQUIRE_OK(nas_latency_table_parse(&again, text, size, "again", &err));
    cr_assert_str_eq(again->meta.fitted_from, digest);
    nas_latency_table_free(again);
    nas_latency_table_free(fitted);
    free(text);
    close_world(&w);
}

Test(latency_fit, table_that_is_right_stays_as_it_is)
{
    world w = world_of("proxyless-cifar-0.5");

    measure(&w, 1.0, 0.0, 0.0, 0.02); /* what is left is noise, which no term foretells */
    const nas_latency_fit fit = fit_of(&w);
    for (int t = 0; t < NAS_LATENCY_TERMS; t++) {
        cr_assert(!fit.used[t], "%s is used", nas_latency_term_name((nas_latency_term)t));
        cr_assert_eq(fit.factor[t], t == NAS_LATENCY_TIME ? 1.0 : 0.0);
    }
    cr_assert_eq(fit.mape, fit.table_mape);
    close_world(&w);
}

/* With noise the error that is told is that of networks that were not fitted. */
Test(latency_fit, error_that_is_told_holds_for_others)
{
    world w = world_of("proxyless-cifar-0.5");
    const double mean = 0.02 * sqrt(2.0 / 3.14159265358979); /* of |noise| */

    measure(&w, 1.3, 0.05, 0.0, 0.02);
    const nas_latency_fit fit = fit_of(&w);
    cr_assert_gt(fit.table_mape, 0.2);
    cr_assert(fit.mape > 0.7 * mean && fit.mape < 1.4 * mean, "%g", fit.mape);
    cr_assert_float_eq(fit.factor[NAS_LATENCY_TIME], 1.3, 0.1);
    close_world(&w);
}

/* Small networks that take next to nothing would need entries of less than nothing. */
Test(latency_fit, no_entry_becomes_negative)
{
    world w = world_of("proxyless-cifar-0.5");
    nas_latency_table *fitted;

    measure(&w, 1.0, -0.5, 0.0, 0.0);
    const nas_latency_fit fit = fit_of(&w);
    REQUIRE_OK(nas_latency_fit_apply(&fitted, &fit, w.table, w.space, &err));
    for (int i = 0; i < fitted->count; i++)
        cr_assert_gt(fitted->rows[i].stat.mean, 0.0, "%s", fitted->rows[i].key);
    nas_latency_table_free(fitted);
    close_world(&w);
}

Test(latency_fit, too_few_networks_and_other_spaces_are_told)
{
    world w = world_of("tiny");
    nas_space *other;
    nas_latency_fit fit;

    measure(&w, 1.0, 0.0, 0.0, 0.0);
    cr_assert_eq(nas_latency_fit_find(&fit, w.table, w.space, pairs, 9, &err), NAS_E_CONFIG);
    REQUIRE_OK(nas_space_load(&other, "proxyless-cifar-0.5", &err));
    cr_assert_eq(nas_latency_fit_find(&fit, w.table, other, pairs, NETWORKS, &err),
                 NAS_E_INFEASIBLE);
    nas_space_free(other);
    close_world(&w);
}
