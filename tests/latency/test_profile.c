/* The profiler on a space that takes seconds, and what it says about whole networks.
 * Other programs share the machine with the tests, so times are compared with wide margins. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "latency/predict.h"
#include "latency/profile/lines.h"
#include "latency/profile/probe.h"
#include "latency/profile/profile.h"
#include "latency/profile/verify.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

static nas_err err;

/* One thread: several that wait for each other crawl while other tests have the cores. */
static void one_thread(void)
{
    omp_set_num_threads(1);
}

static void in_scratch(void)
{
    one_thread();
    scratch_init();
}

TestSuite(latency_profile, .init = one_thread);
TestSuite(latency_verify, .init = one_thread);

static nas_latency_profile_options quick(void)
{
    nas_latency_profile_options options = nas_latency_profile_defaults();

    options.engine = "test";
    options.least_seconds = 0;
    options.seconds = 1.5;
    return options;
}

static nas_space *load(const char *name)
{
    nas_space *space;

    REQUIRE_OK(nas_space_load(&space, name, &err));
    return space;
}

static nas_latency_table *profile(const nas_space *space,
                                  const nas_latency_profile_options *options)
{
    nas_latency_table *table;

    REQUIRE_OK(nas_latency_profile(&table, space, options, &err));
    return table;
}

static double mean_of(const nas_latency_table *table, const char *key)
{
    const nas_latency_stat *stat = nas_latency_table_find(table, key);

    cr_assert_not_null(stat, "no entry %s", key);
    return stat->mean;
}

Test(latency_profile, table_covers_the_space_and_says_how_it_was_made)
{
    nas_space *space = load("tiny");
    const nas_latency_profile_options options = quick();
    nas_latency_table *table = profile(space, &options), *again;
    nas_latency_entry *missing;
    char *text;
    size_t size;
    int count;

    REQUIRE_OK(nas_latency_check(&missing, &count, table, space, 0, &err));
    cr_assert_eq(count, 0, "%s", count ? missing[0].key : "");
    for (int i = 0; i < table->count; i++) {
        const nas_latency_stat *stat = &table->rows[i].stat;

        cr_assert_geq(stat->count, 2);
        cr_assert(stat->mean > 0.0 && stat->mean < 1000.0, "%s: %g", table->rows[i].key,
                  stat->mean);
        cr_assert(stat->std >= 0.0 && stat->median > 0.0 && stat->p95 >= stat->median);
    }
    cr_assert_gt(strlen(table->meta.device), 0);
    cr_assert_eq(strncmp(table->meta.engine, "test, ", 6), 0);
    cr_assert_str_eq(table->meta.space, "tiny");
    cr_assert(table->meta.threads >= 1 && table->meta.cores >= 1 && table->meta.batch == 1);
    cr_assert_eq(table->meta.image_size, space->image_size);
    cr_assert(table->meta.probe_ms > 0.0 && strlen(table->meta.probe) == NAS_DIGEST_SIZE - 1);
    cr_assert_not_null(strstr(table->meta.conditions, "probe "), "%s", table->meta.conditions);
    REQUIRE_OK(nas_latency_table_text(table, &text, &size, &err));
    REQUIRE_OK(nas_latency_table_parse(&again, text, size, "again", &err));
    cr_assert_eq(again->count, table->count);
    nas_latency_table_free(again);
    free(text);
    free(missing);
    nas_latency_table_free(table);
    nas_space_free(space);
}

/* Six times the channels and a window of 25 taps, not 9: far more than twice the work. */
Test(latency_profile, bigger_operations_take_longer)
{
    nas_space *space = load("proxyless-cifar-0.5");
    const nas_latency_profile_options options = quick();
    nas_latency_table *table = profile(space, &options);
    const char *form = "expanded_conv-input:32x32x16-output:32x32x16-expand:%d-kernel:%d"
                       "-stride:1-idskip:1";
    char small[NAS_LATENCY_KEY_SIZE], big[NAS_LATENCY_KEY_SIZE];

    snprintf(small, sizeof small, form, 3, 3);
    snprintf(big, sizeof big, form, 6, 7);
    cr_assert_gt(mean_of(table, big), 1.3 * mean_of(table, small));
    nas_latency_table_free(table);
    nas_space_free(space);
}

Test(latency_profile, time_limit_is_kept)
{
    nas_space *space = load("tiny");
    nas_latency_profile_options options = quick();

    options.seconds = 0.3;
    options.interval = 1e-9; /* never reached */
    options.max_samples = 1 << 30;
    const double begin = nas_clock_seconds();
    nas_latency_table *table = profile(space, &options);
    const double seconds = nas_clock_seconds() - begin;

    cr_assert(seconds >= 0.3, "%g s", seconds);
    cr_assert_lt(seconds, 5.0); /* a turn more, at worst while the machine does other things */
    nas_latency_table_free(table);
    nas_space_free(space);
}

/* Without a goal that could be missed, it is over long before the limit: how many turns that takes
 * is up to the other programs, which make some of them useless. */
/* Where the machine was slow for a while its turns do not count at first, and may count later: then
 * there are more than it takes.  One undisturbed profile out of a few shows the rule. */
Test(latency_profile, ends_when_every_key_is_known_well_enough)
{
    enum { PROFILES = 5 };
    nas_space *space = load("tiny");
    nas_latency_profile_options options = quick();
    int64_t least = INT64_MAX;

    options.seconds = 60;
    options.interval = 1e9;
    options.min_samples = 5;
    for (int n = 0; n < PROFILES && least > 12; n++) {
        nas_latency_table *table = profile(space, &options);

        least = INT64_MAX;
        for (int i = 0; i < table->count; i++)
            least = table->rows[i].stat.count < least ? table->rows[i].stat.count : least;
        nas_latency_table_free(table);
    }
    cr_assert(least >= 5 && least <= 12, "%lld", (long long)least);
    nas_space_free(space);
}

static bool stop_at_once(void *user)
{
    return ++*(int *)user >= 3;
}

Test(latency_profile, stops_when_asked_and_leaves_nothing)
{
    nas_space *space = load("tiny");
    int asked = 0;
    const nas_observer observer = {.user = &asked, .stop = stop_at_once};
    nas_latency_profile_options options = quick();
    nas_latency_table *table;

    options.observer = &observer;
    options.seconds = 60;
    cr_assert_eq(nas_latency_profile(&table, space, &options, &err), NAS_E_INTERRUPTED);
    cr_assert_null(table);
    cr_assert_eq(asked, 3);
    nas_space_free(space);
}

/* Rewrites a journal so that its younger half took ten times as long. */
static void slow_down(const char *path, int turns)
{
    static nas_line parsed;
    static char line[1 << 16];
    char *text;
    size_t size;
    FILE *in = fopen(path, "r"), *out = open_memstream(&text, &size);

    cr_assert(in != NULL && out != NULL);
    for (int i = 0; fgets(line, sizeof line, in) != NULL; i++) {
        if (i < 2) { /* the job and the device */
            fputs(line, out);
            continue;
        }
        REQUIRE_OK(nas_line__parse(&parsed, line, strcspn(line, "\n"), &err));
        for (int s = 0; s < parsed.slots; s++)
            parsed.answer.block_ms[s] *= parsed.request.number < turns / 2 ? 1.0 : 10.0;
        nas_line__put_answer(out, &parsed.request, parsed.slots, &parsed.answer);
    }
    fclose(in);
    fclose(out);
    out = fopen(path, "w");
    cr_assert_eq(fwrite(text, 1, size, out), size);
    fclose(out);
    free(text);
}

/* "..., cores any, load 0.1, 70 networks, ..., repeats 0" */
static int networks_of(const nas_latency_table *table)
{
    const char *load = strstr(table->meta.conditions, "load ");
    int networks;

    cr_assert(load != NULL && sscanf(load, "load %*[^,], %d networks", &networks) == 1, "%s",
              table->meta.conditions);
    return networks;
}

/* A phone that gets hot.  The second time nothing is left to measure: the journal tells all. */
Test(latency_profile, device_that_becomes_slow_is_told, .init = in_scratch, .fini = scratch_fini)
{
    nas_space *space = load("tiny");
    nas_latency_profile_options options = quick();
    double percent = 0.0;

    options.interval = 1e9;
    options.seconds = 60;
    options.journal = scratch("t.yaml.part");
    nas_latency_table *table = profile(space, &options);
    slow_down(options.journal, networks_of(table));
    nas_latency_table_free(table);
    options.seconds = 0;
    table = profile(space, &options);
    const char *speed = strstr(table->meta.conditions, "speed ");
    cr_assert(speed != NULL && sscanf(speed, "speed %lf", &percent) == 1);
    cr_assert_gt(percent, 100.0, "%s", table->meta.conditions);
    cr_assert_eq(table->meta.probe_ms, 0.0, "without a turn there is no probe");
    cr_assert_null(strstr(table->meta.conditions, "probe"));
    nas_latency_table_free(table);
    nas_space_free(space);
}

/* What a journal tells was measured at a time of which no probe is known: a few turns more, each
 * with one, tell how fast the machine is beside it. */
Test(latency_profile, continued_after_its_last_turn_it_still_runs_the_probe, .init = in_scratch,
     .fini = scratch_fini)
{
    nas_space *space = load("tiny");
    nas_latency_profile_options options = quick();
    int networks[2];

    options.interval = 1e9;
    options.min_samples = 5;
    options.seconds = 60;
    options.journal = scratch("t.yaml.part");
    for (int run = 0; run < 2; run++) {
        nas_latency_table *table = profile(space, &options);

        cr_assert_gt(table->meta.probe_ms, 0.0);
        networks[run] = networks_of(table);
        nas_latency_table_free(table);
    }
    cr_assert_geq(networks[1], networks[0] + 5);
    nas_space_free(space);
}

/* Alone on the machine 0.01 and 0.99.  Other programs can spoil one measurement, but not each of
 * several; a prediction that is wrong is wrong every time. */
Test(latency_verify, pairs_spread_over_the_range_and_agree)
{
    enum { TRIES = 8 };
    nas_space *space = load("tiny");
    const nas_latency_profile_options options = quick();
    const nas_latency_verify_options how = {.samples = 10, .rounds = 5, .seed = 3};
    bool agree = false;

    for (int try = 0; try < TRIES && !agree; try++) {
        nas_latency_table *table = profile(space, &options);
        nas_latency_verification v;

        REQUIRE_OK(nas_latency_verify(&v, table, space, &how, &err));
        cr_assert_eq(v.count, 10);
        cr_assert_gt(v.pairs[9].predicted_ms, 1.5 * v.pairs[0].predicted_ms);
        for (int i = 0; i < v.count; i++)
            cr_assert_gt(v.pairs[i].measured_ms, 0.0);
        agree = v.errors.mape < 0.5 && v.spearman > 0.5;
        nas_latency_verification_fini(&v);
        nas_latency_table_free(table);
    }
    cr_assert(agree, "predictions and measurements differ in each of %d tries", TRIES);
    nas_space_free(space);
}

/* The table of a device where everything takes `ms`. */
static nas_latency_table *table_of(const nas_space *space, double ms)
{
    nas_latency_table *table = nas_latency_table_new(&err);
    const nas_latency_stat stat = {1, ms, NAN, NAN, NAN};
    nas_latency_entry *entries;
    int count;

    REQUIRE_OK(nas_latency_space_entries(&entries, &count, space, nas_latency_grammar_of(space), 0,
                                         &err));
    count = nas_latency_entries_unique(entries, count);
    for (int i = 0; i < count; i++)
        REQUIRE_OK(nas_latency_table_add(table, entries[i].key, &stat, &err));
    free(entries);
    return table;
}

Test(latency_verify, measures_are_what_they_are_called)
{
    nas_space *space = load("tiny");
    nas_latency_table *table = table_of(space, 1000.0); /* far from this machine */
    const nas_latency_verify_options how = {.samples = 4, .rounds = 1, .seed = 3};
    nas_latency_verification v;
    double mape = 0.0, bias = 0.0, squares = 0.0;

    REQUIRE_OK(nas_latency_verify(&v, table, space, &how, &err));
    for (int i = 0; i < v.count; i++) {
        const double error = v.pairs[i].predicted_ms - v.pairs[i].measured_ms;

        mape += fabs(error) / v.pairs[i].measured_ms / v.count;
        bias += error / v.pairs[i].measured_ms / v.count;
        squares += error * error / v.count;
    }
    cr_assert_float_eq(v.errors.mape, mape, 1e-9 * mape);
    cr_assert_float_eq(v.errors.bias, bias, 1e-9 * fabs(bias));
    cr_assert_float_eq(v.errors.rmse_ms, sqrt(squares), 1e-9 * v.errors.rmse_ms);
    cr_assert_eq(v.errors.within_10, 0.0);
    cr_assert(isnan(v.level), "the table does not tell its speed");
    cr_assert_eq(memcmp(&v.errors, &v.as_measured, sizeof v.errors), 0);
    nas_latency_verification_fini(&v);
    nas_latency_table_free(table);
    nas_space_free(space);
}

/* A table of this space, made on one thread with a probe that took a millionth of a millisecond:
 * this machine is slower, whatever else it does. */
static nas_latency_table *table_with_probe(const nas_space *space)
{
    nas_latency_table *table = table_of(space, 1e-6);
    int choice[NAS_MAX_SLOTS];

    REQUIRE_OK(nas_probe__find(space, choice, table->meta.probe, &err));
    table->meta.threads = 1;
    table->meta.probe_ms = 1e-6;
    return table;
}

Test(latency_verify, errors_are_those_at_the_speed_of_the_table)
{
    nas_space *space = load("tiny");
    nas_latency_table *table = table_with_probe(space);
    const nas_latency_verify_options how = {.samples = 4, .rounds = 1, .seed = 3};
    nas_latency_verification v;
    double bias = 0.0, as_measured = 0.0;

    REQUIRE_OK(nas_latency_verify(&v, table, space, &how, &err));
    cr_assert_gt(v.level, 100.0);
    for (int i = 0; i < v.count; i++) {
        const nas_latency_pair *p = &v.pairs[i];

        cr_assert_float_eq(p->measured_ms * v.level, p->as_measured_ms, 1e-9 * p->as_measured_ms);
        bias += (p->predicted_ms / p->measured_ms - 1.0) / v.count;
        as_measured += (p->predicted_ms / p->as_measured_ms - 1.0) / v.count;
    }
    cr_assert_float_eq(v.errors.bias, bias, 1e-9 * fabs(bias));
    cr_assert_float_eq(v.as_measured.bias, as_measured, 1e-9);
    cr_assert_lt(as_measured, -0.9, "too low by far for now");
    cr_assert_gt(v.errors.bias, 0.0, "the probe is the slowest, and less than any sum");
    nas_latency_verification_fini(&v);
    nas_latency_table_free(table);
    nas_space_free(space);
}

Test(latency_verify, speed_of_another_network_or_with_other_threads_says_nothing)
{
    nas_space *space = load("tiny");
    const nas_latency_verify_options how = {.samples = 2, .rounds = 1, .seed = 3};

    for (int what = 0; what < 3; what++) {
        nas_latency_table *table = table_with_probe(space);
        nas_latency_verification v;

        if (what == 0)
            table->meta.probe[0] ^= 1;
        else if (what == 1)
            table->meta.threads = 2;
        else
            table->meta.probe_ms = 0.0;
        REQUIRE_OK(nas_latency_verify(&v, table, space, &how, &err));
        cr_expect(isnan(v.level), "%d", what);
        cr_expect_eq(v.pairs[0].measured_ms, v.pairs[0].as_measured_ms);
        nas_latency_verification_fini(&v);
        nas_latency_table_free(table);
    }
    nas_space_free(space);
}

Test(latency_verify, networks_that_are_given_are_measured_in_their_order)
{
    nas_space *space = load("tiny");
    const nas_latency_profile_options options = quick();
    nas_latency_table *table = profile(space, &options);
    int choice[3][NAS_MAX_SLOTS];
    nas_latency_verify_options how = {.samples = 3, .rounds = 3, .seed = 3};
    nas_latency_verification drawn, given;

    REQUIRE_OK(nas_latency_verify(&drawn, table, space, &how, &err));
    for (int i = 0; i < 3; i++)
        memcpy(choice[i], drawn.pairs[2 - i].choice, sizeof choice[i]);
    how.choice = (const int(*)[NAS_MAX_SLOTS])choice;
    REQUIRE_OK(nas_latency_verify(&given, table, space, &how, &err));
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(given.pairs[i].predicted_ms, drawn.pairs[2 - i].predicted_ms);
        cr_assert_eq(memcmp(given.pairs[i].choice, choice[i], sizeof choice[i]), 0);
        cr_assert_gt(given.pairs[i].measured_ms, 0.0);
    }
    nas_latency_verification_fini(&drawn);
    nas_latency_verification_fini(&given);
    nas_latency_table_free(table);
    nas_space_free(space);
}

Test(latency_verify, table_of_another_space_is_told)
{
    nas_space *tiny = load("tiny"), *other = load("proxyless-cifar-0.5");
    nas_latency_profile_options options = quick();
    const nas_latency_verify_options how = {.samples = 4, .rounds = 1, .seed = 3};
    nas_latency_verification v;

    options.interval = 1e9;
    nas_latency_table *table = profile(tiny, &options);
    cr_assert_eq(nas_latency_verify(&v, table, other, &how, &err), NAS_E_INFEASIBLE);
    cr_assert_not_null(strstr(err.message, "expanded_conv"), "%s", err.message);
    nas_latency_table_free(table);
    nas_space_free(other);
    nas_space_free(tiny);
}
