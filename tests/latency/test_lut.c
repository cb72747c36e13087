/* Expected latency, its gradient, and the range of a space. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "latency/lut.h"
#include "latency/predict.h"
#include "tests/latency/published.h"

static nas_err err;

/* A table that gives every key of the space some time, long for the big ones. */
static nas_latency_table *table_for(const nas_space *space)
{
    nas_latency_table *table = nas_latency_table_new(&err);
    nas_latency_entry *entries;
    nas_rng rng;
    int count;

    cr_assert_not_null(table);
    nas_rng_init(&rng, 3, "table", 0);
    REQUIRE_OK(nas_latency_space_entries(&entries, &count, space, nas_latency_grammar_of(space), 0,
                                         &err));
    count = nas_latency_entries_unique(entries, count);
    for (int i = 0; i < count; i++) {
        const nas_latency_stat stat = {1, 0.1 + nas_rng_uniform(&rng), NAN, NAN, NAN};

        REQUIRE_OK(nas_latency_table_add(table, entries[i].key, &stat, &err));
    }
    free(entries);
    return table;
}

static const char *const names[] = {"tiny", "proxyless-cifar-0.5", "ofa-mbv3-1.0"};

typedef struct fixture {
    nas_space *space;
    nas_latency_table *table;
    nas_latency_lut *lut;
} fixture;

static fixture make(const char *name)
{
    fixture f;

    REQUIRE_OK(nas_space_load(&f.space, name, &err));
    f.table = table_for(f.space);
    REQUIRE_OK(nas_latency_lut_new(&f.lut, f.table, f.space, 0, &err));
    return f;
}

static void drop(fixture *f)
{
    nas_latency_lut_free(f->lut);
    nas_latency_table_free(f->table);
    nas_space_free(f->space);
}

Test(latency_lut, totals_are_the_predictions_of_the_networks)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fixture f = make(names[i]);
        int choice[NAS_MAX_SLOTS];
        nas_rng rng;

        nas_rng_init(&rng, 1, "sample", i);
        for (int n = 0; n < 20; n++) {
            nas_arch *arch;
            nas_latency_report report;

            nas_space_sample(f.space, &rng, choice);
            REQUIRE_OK(nas_space_arch(&arch, f.space, choice, &err));
            REQUIRE_OK(nas_latency_predict(&report, f.table, arch, 0, &err));
            /* the same numbers in the same order, skipped ones as + 0 */
            cr_assert_eq(report.latency_ms, nas_latency_lut_total(f.lut, choice));
            nas_latency_report_fini(&report);
            nas_arch_free(arch);
        }
        drop(&f);
    }
}

Test(latency_lut, the_range_holds_every_network_and_is_reached)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fixture f = make(names[i]);
        int choice[NAS_MAX_SLOTS], fastest[NAS_MAX_SLOTS], slowest[NAS_MAX_SLOTS];
        double min_ms, max_ms;
        nas_rng rng;

        nas_latency_lut_range(f.lut, f.space, &min_ms, &max_ms, fastest, slowest);
        cr_assert(nas_space_valid(f.space, fastest), "%s", names[i]);
        cr_assert(nas_space_valid(f.space, slowest), "%s", names[i]);
        cr_assert_eq(nas_latency_lut_total(f.lut, fastest), min_ms);
        cr_assert_eq(nas_latency_lut_total(f.lut, slowest), max_ms);
        nas_rng_init(&rng, 2, "sample", i);
        for (int n = 0; n < 2000; n++) {
            nas_space_sample(f.space, &rng, choice);
            const double ms = nas_latency_lut_total(f.lut, choice);

            cr_assert(ms >= min_ms - 1e-9 && ms <= max_ms + 1e-9);
        }
        /* no single change that stays in the space makes the fastest faster */
        for (int s = 0; s < f.space->count; s++)
            for (int c = 0; c < f.space->slots[s].count; c++) {
                memcpy(choice, fastest, sizeof choice);
                choice[s] = c;
                cr_assert(!nas_space_valid(f.space, choice) ||
                          nas_latency_lut_total(f.lut, choice) >= min_ms);
            }
        drop(&f);
    }
}

static void softmax(const double *alpha, double *p, int n)
{
    double sum = 0.0;

    for (int i = 0; i < n; i++)
        sum += p[i] = exp(alpha[i]);
    for (int i = 0; i < n; i++)
        p[i] /= sum;
}

Test(latency_lut, the_gradient_to_the_alphas_matches_differences)
{
    fixture f = make("proxyless-cifar-0.5");
    const double h = 1e-6;
    nas_rng rng;

    nas_rng_init(&rng, 5, "alpha", 0);
    for (int s = 0; s < f.lut->slots; s++) {
        const int n = f.lut->candidates[s];
        double alpha[NAS_MAX_CANDIDATES], p[NAS_MAX_CANDIDATES], grad[NAS_MAX_CANDIDATES];

        for (int i = 0; i < n; i++) {
            alpha[i] = nas_rng_normal(&rng);
            grad[i] = 10.0; /* what is there already stays */
        }
        softmax(alpha, p, n);
        nas_latency_lut_slot_grad(f.lut, s, p, 0.7, grad);
        for (int i = 0; i < n; i++) {
            double side[2];

            for (int k = 0; k < 2; k++) {
                const double kept = alpha[i];

                alpha[i] += k ? h : -h;
                softmax(alpha, p, n);
                side[k] = nas_latency_lut_slot(f.lut, s, p);
                alpha[i] = kept;
            }
            /* rounding of central differences: about 1e-16 / 1e-6 */
            cr_assert_float_eq(grad[i] - 10.0, 0.7 * (side[1] - side[0]) / (2 * h), 2e-9);
        }
    }
    drop(&f);
}

Test(latency_lut, two_sampled_candidates_leave_the_others_alone)
{
    fixture f = make("proxyless-cifar-0.5");
    int slot = 0;

    while (f.lut->candidates[slot] < 6)
        slot++;
    double p[NAS_MAX_CANDIDATES] = {[1] = 0.3, [4] = 0.7}, grad[NAS_MAX_CANDIDATES] = {0};
    const double *t = f.lut->ms[slot];

    nas_latency_lut_slot_grad(f.lut, slot, p, 1.0, grad);
    for (int c = 0; c < f.lut->candidates[slot]; c++)
        if (c != 1 && c != 4)
            cr_assert_eq(grad[c], 0.0);
    cr_assert_float_eq(grad[1], 0.3 * 0.7 * (t[1] - t[4]), 1e-15);
    cr_assert_float_eq(grad[4], 0.3 * 0.7 * (t[4] - t[1]), 1e-15);
    drop(&f);
}

Test(latency_lut, expectation_under_one_hot_is_the_total)
{
    fixture f = make("tiny");
    double one_hot[NAS_MAX_SLOTS][NAS_MAX_CANDIDATES] = {{0}};
    const double *p[NAS_MAX_SLOTS];
    int choice[NAS_MAX_SLOTS];
    nas_rng rng;

    nas_rng_init(&rng, 6, "sample", 0);
    nas_space_sample(f.space, &rng, choice);
    for (int s = 0; s < f.space->count; s++) {
        one_hot[s][choice[s]] = 1.0;
        p[s] = f.lut->candidates[s] > 1 ? one_hot[s] : NULL;
    }
    cr_assert_float_eq(nas_latency_lut_expected(f.lut, p), nas_latency_lut_total(f.lut, choice),
                       1e-12);
    drop(&f);
}

Test(latency_lut, a_table_of_another_space_is_refused_with_the_missing_keys)
{
    fixture f = make("tiny");
    nas_space *other;
    nas_latency_lut *lut;
    nas_latency_entry *missing;
    int count;

    REQUIRE_OK(nas_space_load(&other, "ofa-mbv3-1.0", &err));
    cr_assert_eq(nas_latency_lut_new(&lut, f.table, other, 0, &err), NAS_E_INFEASIBLE);
    cr_assert_not_null(strstr(err.message, "expanded_conv-input:"), "%s", err.message);
    cr_assert_not_null(strstr(err.hint, "nas latency check"), "%s", err.hint);
    REQUIRE_OK(nas_latency_check(&missing, &count, f.table, other, 0, &err));
    cr_assert_gt(count, 80);
    free(missing);
    REQUIRE_OK(nas_latency_check(&missing, &count, f.table, f.space, 0, &err));
    cr_assert_eq(count, 0);
    free(missing);
    nas_space_free(other);
    drop(&f);
}
