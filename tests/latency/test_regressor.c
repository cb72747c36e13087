/* Regressors of latency, trained on networks whose times are sums of a known table: no clock is
 * read. */
#include "latency/regress/regressor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "latency/lut.h"
#include "latency/predict.h"
#include "latency/table/set.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"
#include "tests/support/table.h"

TestSuite(latency_regressor, .init = scratch_init, .fini = scratch_fini);

enum { NETWORKS = 120 };

static nas_err err;
static nas_latency_pair pairs[2][NETWORKS];

static const nas_latency_meta meta = {.device = "imagined", .engine = "none", .cores = 4,
                                      .threads = 2, .batch = 1, .space = "tiny",
                                      .conditions = "sums of a table"};

/* Networks of `space` that take what `table` says, give or take `noise`. */
static nas_regressor_lesson lesson_of(const nas_space *space, const nas_latency_table *table,
                                      double noise, nas_latency_pair *to)
{
    nas_latency_lut *lut;

    REQUIRE_OK(nas_latency_lut_new(&lut, table, space, 0, &err));
    for (int i = 0; i < NETWORKS; i++) {
        nas_rng rng;

        nas_rng_init(&rng, 5, "test regressor", (uint64_t)i);
        nas_space_sample(space, &rng, to[i].choice);
        to[i].measured_ms =
            nas_latency_lut_total(lut, to[i].choice) * (1.0 + noise * nas_rng_normal(&rng));
    }
    nas_latency_lut_free(lut);
    return (nas_regressor_lesson){.space = space, .pairs = to, .count = NETWORKS};
}

static nas_regressor *train_on(const nas_regressor_lesson *lessons, int count, uint64_t seed)
{
    nas_regressor_config config = nas_regressor_defaults();
    nas_regressor *r;

    config.steps = 300;
    config.seed = seed;
    REQUIRE_OK(nas_regressor_train(&r, &meta, lessons, count, &config, NULL, &err));
    return r;
}

/* One trained in a space at one size, on sums of `table` (NULL: tests/support/table.h). */
static nas_regressor *regressor_of(const char *name, const nas_latency_table *table, double noise)
{
    nas_latency_table *made = NULL;
    nas_space *space;

    REQUIRE_OK(nas_space_load(&space, name, &err));
    if (table == NULL)
        table = made = test_table(space);
    const nas_regressor_lesson lesson = lesson_of(space, table, noise, pairs[0]);
    nas_regressor *r = train_on(&lesson, 1, 1);
    nas_latency_table_free(made);
    nas_space_free(space);
    return r;
}

/* Mean relative error of the networks of another draw: what the regressor tells of the space, as a
 * table, against `truth`. */
static double error_of(const nas_regressor *r, const nas_space *space,
                       const nas_latency_table *truth)
{
    nas_latency_table *told = nas_regressor_table(r, space->image_size, &err);
    nas_latency_lut *a, *b;
    double error = 0.0;

    cr_assert_not_null(told);
    REQUIRE_OK(nas_regressor_fill(r, told, space, &err));
    REQUIRE_OK(nas_latency_lut_new(&a, told, space, 0, &err));
    REQUIRE_OK(nas_latency_lut_new(&b, truth, space, 0, &err));
    for (int i = 0; i < 200; i++) {
        int choice[NAS_MAX_SLOTS];
        nas_rng rng;

        nas_rng_init(&rng, 6, "second draw", (uint64_t)i);
        nas_space_sample(space, &rng, choice);
        const double ms = nas_latency_lut_total(b, choice);
        error += fabs(nas_latency_lut_total(a, choice) - ms) / ms / 200.0;
    }
    nas_latency_lut_free(a);
    nas_latency_lut_free(b);
    nas_latency_table_free(told);
    return error;
}

/* Worst seen 0.5 %; where every network were taken for the mean, it would be 10 %. */
Test(latency_regressor, whole_networks_teach_what_their_blocks_take)
{
    nas_regressor *r = regressor_of("proxyless-cifar-0.5", NULL, 0.0);
    nas_space *space;

    REQUIRE_OK(nas_space_load(&space, "proxyless-cifar-0.5", &err));
    nas_latency_table *truth = test_table(space);
    cr_expect_lt(r->fit.mape, 0.015, "%g of the held-out", r->fit.mape);
    cr_expect_gt(r->fit.spearman, 0.98, "%g", r->fit.spearman);
    cr_expect_eq(r->fit.within_10, 1.0);
    cr_expect_eq(r->fit.trained, 96);
    cr_expect_eq(r->fit.held_out, 24);
    cr_expect_lt(fabs(r->fit.bias), 0.01);
    const double error = error_of(r, space, truth);
    cr_expect_lt(error, 0.015, "%g of a second draw", error);
    nas_latency_table_free(truth);
    nas_space_free(space);
    nas_regressor_free(r);
}

/* The held-out error is what is said of times that are off by 5 % themselves: 4 % on average. */
Test(latency_regressor, noise_is_neither_learnt_nor_hidden)
{
    nas_regressor *r = regressor_of("proxyless-cifar-0.5", NULL, 0.05);
    nas_space *space;

    REQUIRE_OK(nas_space_load(&space, "proxyless-cifar-0.5", &err));
    nas_latency_table *truth = test_table(space);
    const double error = error_of(r, space, truth);
    cr_expect(r->fit.mape > 0.02 && r->fit.mape < 0.08, "%g of the held-out", r->fit.mape);
    cr_expect_lt(error, 0.03, "%g of the times without noise", error);
    nas_latency_table_free(truth);
    nas_space_free(space);
    nas_regressor_free(r);
}

/* Times of a phone, which no formula of the test made: worst seen 0.8 %. */
Test(latency_regressor, published_table_is_learnt_from_its_sums)
{
    nas_latency_table *table;
    nas_space *space;

    REQUIRE_OK(nas_latency_table_load(&table, published("latency/pixel1_proxyless_mobile.yaml"),
                                      &err));
    nas_regressor *r = regressor_of("proxyless-imagenet", table, 0.0);
    REQUIRE_OK(nas_space_load(&space, "proxyless-imagenet", &err));
    cr_expect_lt(r->fit.mape, 0.02, "%g of the held-out", r->fit.mape);
    const double error = error_of(r, space, table);
    cr_expect_lt(error, 0.02, "%g of a second draw", error);
    nas_latency_table_free(table);
    nas_space_free(space);
    nas_regressor_free(r);
}

static void expect_same_net(const nas_regressor *a, const nas_regressor *b)
{
    for (int i = 0; i < a->net.layers; i++) {
        const size_t out = (size_t)a->net.width[i + 1] * sizeof(float);

        cr_expect_eq(memcmp(a->net.weight[i], b->net.weight[i], (size_t)a->net.width[i] * out), 0);
        cr_expect_eq(memcmp(a->net.bias[i], b->net.bias[i], out), 0);
    }
    cr_expect_eq(memcmp(a->low, b->low, sizeof a->low), 0);
    cr_expect_eq(memcmp(a->high, b->high, sizeof a->high), 0);
}

Test(latency_regressor, same_lessons_and_seed_give_the_same_bits)
{
    nas_space *space;
    nas_regressor *r[3];

    REQUIRE_OK(nas_space_load(&space, "tiny", &err));
    nas_latency_table *table = test_table(space);
    const nas_regressor_lesson lesson = lesson_of(space, table, 0.01, pairs[0]);
    for (int i = 0; i < 3; i++) {
        omp_set_num_threads(1 + 3 * i);
        r[i] = train_on(&lesson, 1, i < 2 ? 1 : 2);
        cr_expect_eq(omp_get_max_threads(), 1 + 3 * i, "threads are as before");
    }
    expect_same_net(r[0], r[1]);
    cr_expect_eq(r[0]->fit.mape, r[1]->fit.mape);
    cr_expect_neq(r[0]->fit.mape, r[2]->fit.mape, "another seed");
    for (int i = 0; i < 3; i++)
        nas_regressor_free(r[i]);
    nas_latency_table_free(table);
    nas_space_free(space);
}

/* ---- files ---- */

Test(latency_regressor, a_file_is_the_regressor_again)
{
    nas_regressor *r = regressor_of("tiny", NULL, 0.01), *again;
    const char *path = scratch("r.latency"), *table = scratch("t.yaml");

    REQUIRE_OK(nas_regressor_save(r, path, &err));
    cr_expect(nas_regressor_is(path));
    REQUIRE_OK(nas_regressor_load(&again, path, &err));
    expect_same_net(r, again);
    cr_expect_eq(memcmp(&r->fit, &again->fit, sizeof r->fit), 0);
    cr_expect_str_eq(again->meta.device, "imagined");
    cr_expect_str_eq(again->meta.conditions, r->meta.conditions);
    cr_expect_eq(again->meta.threads, 2);
    cr_expect_eq(again->sizes, 1);
    cr_expect_eq(again->image_size[0], r->image_size[0]);
    cr_expect_eq(strlen(again->digest), 32);

    nas_latency_table *told = nas_regressor_table(again, 16, &err);
    REQUIRE_OK(nas_latency_table_add(told, "Logits-input:1x1x8-output:3",
                                     &(nas_latency_stat){.mean = 1.0}, &err));
    REQUIRE_OK(nas_latency_table_save(told, table, &err));
    cr_expect_not(nas_regressor_is(table), "a table is none");
    cr_expect_str_eq(told->meta.fitted_from, again->digest);
    nas_latency_table_free(told);
    nas_regressor_free(r);
    nas_regressor_free(again);
}

/* Writes a regressor after `spoil`, and expects that it is refused with `why`. */
static void expect_refused(void (*spoil)(nas_regressor *r), const char *why)
{
    nas_regressor *r = regressor_of("tiny", NULL, 0.0), *again = NULL;
    const char *path = scratch("bad.latency");

    spoil(r);
    REQUIRE_OK(nas_regressor_save(r, path, &err));
    cr_expect_eq(nas_regressor_load(&again, path, &err), NAS_E_DATA, "%s", why);
    cr_expect_not_null(strstr(err.message, why), "%s, not %s", err.message, why);
    cr_expect_null(again);
    cr_expect_neq(err.hint[0], '\0');
    nas_regressor_free(r);
}

static void nan_weight(nas_regressor *r) { r->net.weight[1][3] = NAN; }
static void inverted_range(nas_regressor *r) { r->low[2] = r->high[2] + 1.0f; }
static void infinite_range(nas_regressor *r) { r->high[5] = INFINITY; }
static void size_twice(nas_regressor *r) { r->image_size[r->sizes++] = r->image_size[0]; }
static void no_size(nas_regressor *r) { r->sizes = 0; }
static void negative_error(nas_regressor *r) { r->fit.mape = -0.5; }
static void more_than_all(nas_regressor *r) { r->fit.within_10 = 1.5; }
static void endless_probe(nas_regressor *r) { r->probe[0].ms = 1e7; }
static void negative_probe(nas_regressor *r) { r->probe[0].ms = -1.0; }
static void no_threads(nas_regressor *r) { r->meta.threads = -4; }

Test(latency_regressor, what_makes_no_sense_is_refused)
{
    expect_refused(nan_weight, "no finite number");
    expect_refused(inverted_range, "feature 2 has no range");
    expect_refused(infinite_range, "feature 5 has no range");
    expect_refused(size_twice, "ascending");
    expect_refused(no_size, "image_sizes");
    expect_refused(negative_error, "mape");
    expect_refused(more_than_all, "within_10");
    expect_refused(no_threads, "threads");
    expect_refused(endless_probe, "probe 0 is no");
    expect_refused(negative_probe, "probe 0 is no");
}

Test(latency_regressor, a_damaged_file_is_refused)
{
    nas_regressor *r = regressor_of("tiny", NULL, 0.0), *again = NULL;
    const char *path = scratch("r.latency");
    char *data;
    size_t size;

    REQUIRE_OK(nas_regressor_save(r, path, &err));
    REQUIRE_OK(nas_file_read(path, 1 << 20, &data, &size, &err));
    for (size_t at = 0; at < size; at += 61) {
        cr_assert_neq(nas_regressor_parse(&again, data, at, "cut", &err), NAS_OK, "at %zu", at);
        data[at] ^= 1;
        cr_assert_neq(nas_regressor_parse(&again, data, size, "flipped", &err), NAS_OK, "at %zu",
                      at);
        data[at] ^= 1;
    }
    REQUIRE_OK(nas_regressor_parse(&again, data, size, "whole", &err));
    nas_regressor_free(again);
    nas_regressor_free(r);
    free(data);
}

/* Numbers of a file can be finite and still tell times that no block takes. */
Test(latency_regressor, absurd_times_are_refused)
{
    nas_regressor *r = regressor_of("tiny", NULL, 0.0);
    nas_latency_table *told = nas_regressor_table(r, 16, &err);
    nas_space *space;

    REQUIRE_OK(nas_space_load(&space, "tiny", &err));
    r->net.bias[r->net.layers - 1][0] = 1e6f;
    cr_expect_eq(nas_regressor_fill(r, told, space, &err), NAS_E_DATA);
    nas_latency_table_free(told);
    nas_space_free(space);
    nas_regressor_free(r);
}

/* ---- in place of a table ---- */

Test(latency_regressor, it_stands_for_a_table_of_each_of_its_sizes)
{
    static const int sizes[] = {16, 32};
    nas_regressor_lesson lessons[2];
    nas_latency_set *set;
    nas_space *space[2];
    const nas_latency_table *table;
    const char *path = scratch("two.latency"), *yaml = scratch("t.yaml");
    char both[600];

    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(nas_space_load(&space[i], "tiny", &err));
        REQUIRE_OK(nas_space_fit(space[i], sizes[i], 3, 10, &err));
        nas_latency_table *truth = test_table(space[i]);
        lessons[i] = lesson_of(space[i], truth, 0.0, pairs[i]);
        lessons[i].probe = (nas_regressor_probe){.digest = {(char)('a' + i)}, .ms = 1.5 * (i + 1)};
        REQUIRE_OK(nas_latency_table_save(truth, yaml, &err));
        nas_latency_table_free(truth);
    }
    nas_regressor *r = train_on(lessons, 2, 1);
    REQUIRE_OK(nas_regressor_save(r, path, &err));
    REQUIRE_OK(nas_latency_set_load(&set, path, &err));
    cr_assert_eq(set->count, 2);
    REQUIRE_OK(nas_latency_set_fill(set, space[0], &err));
    REQUIRE_OK(nas_latency_set_fill(set, space[1], &err)); /* again: nothing is there twice */
    for (int i = 0; i < 2; i++) {
        nas_latency_entry *missing;
        int count;

        REQUIRE_OK(nas_latency_set_pick(&table, set, sizes[i], &err));
        REQUIRE_OK(nas_latency_check(&missing, &count, table, space[i], 0, &err));
        cr_expect_eq(count, 0, "%d px", sizes[i]);
        cr_expect_eq(table->meta.probe[0], 'a' + i);
        cr_expect_eq(table->meta.probe_ms, 1.5 * (i + 1));
        free(missing);
    }
    cr_expect_eq(nas_latency_set_pick(&table, set, 24, &err), NAS_E_INFEASIBLE);
    cr_expect_not_null(strstr(err.message, "16, 32"), "%s", err.message);
    cr_expect_not_null(strstr(err.hint, "nas latency train"), "%s", err.hint);
    nas_latency_set_free(set);
    for (int order = 0; order < 2; order++) {
        snprintf(both, sizeof both, "%s,%s", order ? path : yaml, order ? yaml : path);
        cr_expect_eq(nas_latency_set_load(&set, both, &err), NAS_E_CONFIG, "%s", both);
    }
    nas_regressor_free(r);
    nas_space_free(space[0]);
    nas_space_free(space[1]);
}

/* What it never saw anything like is not told, as a table does not tell what it lacks. */
Test(latency_regressor, blocks_outside_of_what_it_was_trained_on_are_missing)
{
    nas_regressor *r = regressor_of("proxyless-cifar-0.5", NULL, 0.0);
    nas_space *wider;
    nas_latency_table *told = nas_regressor_table(r, 32, &err);
    nas_latency_lut *lut = NULL;

    REQUIRE_OK(nas_space_load(&wider, "proxyless-cifar", &err));
    REQUIRE_OK(nas_regressor_fill(r, told, wider, &err));
    cr_expect_gt(told->count, 0, "its narrow blocks are within");
    cr_expect_eq(nas_latency_lut_new(&lut, told, wider, 0, &err), NAS_E_INFEASIBLE);
    nas_latency_table_free(told);
    nas_space_free(wider);
    nas_regressor_free(r);
}

/* ---- training that cannot be ---- */

static bool stop_at_once(void *user) { return true; }

Test(latency_regressor, too_little_and_senseless_lessons_are_refused)
{
    nas_regressor_config config = nas_regressor_defaults();
    const nas_observer stopping = {.stop = stop_at_once};
    nas_regressor *r;
    nas_space *space;

    REQUIRE_OK(nas_space_load(&space, "tiny", &err));
    nas_latency_table *table = test_table(space);
    nas_regressor_lesson lesson = lesson_of(space, table, 0.0, pairs[0]);
    config.steps = 3;
    cr_expect_eq(nas_regressor_train(&r, &meta, &lesson, 1, &config, &stopping, &err),
                 NAS_E_INTERRUPTED);
    lesson.count = NAS_REGRESSOR_LEAST - 1;
    cr_expect_eq(nas_regressor_train(&r, &meta, &lesson, 1, &config, NULL, &err), NAS_E_CONFIG);
    lesson.count = NETWORKS;
    config.held_out = 0.0;
    cr_expect_eq(nas_regressor_train(&r, &meta, &lesson, 1, &config, NULL, &err), NAS_E_CONFIG);
    config.held_out = 0.2;
    config.lr = 1e4;
    cr_expect_eq(nas_regressor_train(&r, &meta, &lesson, 1, &config, NULL, &err), NAS_E_FAIL);
    static const double bad[] = {0.0, -1.0, NAN, INFINITY};
    for (int i = 0; i < 4; i++) {
        pairs[0][7].measured_ms = bad[i];
        cr_expect_eq(nas_regressor_train(&r, &meta, &lesson, 1, &config, NULL, &err), NAS_E_DATA);
        cr_expect_null(r);
    }
    nas_latency_table_free(table);
    nas_space_free(space);
}

/* Measured here, for a moment: it only has to hold together. */
Test(latency_regressor, networks_are_measured_over_the_range_of_work)
{
    const nas_latency_verify_options how = {.samples = 8, .rounds = 1, .seed = 1, .stream = "x"};
    nas_latency_verification found;
    nas_space *space;

    omp_set_num_threads(1);
    REQUIRE_OK(nas_space_load(&space, "tiny", &err));
    REQUIRE_OK(nas_regressor_measure(&found, space, &how, &err));
    cr_assert_eq(found.count, 8);
    for (int i = 0; i < found.count; i++)
        cr_expect_gt(found.pairs[i].measured_ms, 0.0);
    cr_expect_gt(found.pairs[7].predicted_ms, 2.0 * found.pairs[0].predicted_ms,
                 "the last has more work than the first");
    nas_latency_verification_fini(&found);
    nas_space_free(space);
}
