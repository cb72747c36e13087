/* Whole searches on a small generated task: the target is met, the same seed gives the same
 * bits on any thread count and after any stop, and bad configurations are refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nas/data/import.h"
#include "nas/data/synth.h"
#include "search/evolution/problem.h"
#include "search/proxyless/search.h"
#include "tests/support/scratch.h"
#include "tests/support/table.h"

static nas_space *space;
static nas_dataset *data;
static nas_latency_lut *lut;
static double fastest, slowest;

static void setup(void)
{
    const nas_synth_options synth = {.size = 16, .classes = 4, .train = 480, .test = 40, .seed = 1,
                                     .threads = 1};

    scratch_init();
    cr_assert_eq(nas_data_synth(scratch("task.nasd"), &synth, NULL), NAS_OK);
    cr_assert_eq(nas_dataset_open(&data, scratch("task.nasd"), NULL), NAS_OK);
    cr_assert_eq(nas_space_load(&space, "tiny", NULL), NAS_OK);
    cr_assert_eq(nas_space_fit(space, 16, 3, 4, NULL), NAS_OK);
    lut = test_lut(space);
    nas_latency_lut_range(lut, space, &fastest, &slowest, NULL, NULL);
}

static void teardown(void)
{
    nas_latency_lut_free(lut);
    nas_space_free(space);
    nas_dataset_close(data);
    scratch_fini();
}

TestSuite(search_proxyless, .init = setup, .fini = teardown);

static nas_search_config config(nas_search_method method, nas_arch_mode mode)
{
    nas_search_config c = nas_search_default(0.5 * (fastest + slowest));

    c.method = method;
    c.arch_mode = mode;
    c.warmup_epochs = 1;
    c.epochs = 2;
    c.batch = 32;
    c.arch_every = 2;
    c.valid_fraction = 0.2;
    c.derive_samples = 3;
    c.score_images = 96;
    c.recalibrate_batches = 3;
    c.seed = 7;
    return c;
}

/* An observer that stops after a number of batches and keeps the last checkpoint. */
typedef struct stopper {
    int64_t left;
    int checkpoints;
} stopper;

static void count_batch(void *user, const nas_progress *progress) { ((stopper *)user)->left--; }
static bool stop(void *user) { return ((stopper *)user)->left <= 0; }

static nas_status keep_checkpoint(void *user, int64_t step, double score, nas_save_fn *save,
                                  void *self, nas_err *err)
{
    ((stopper *)user)->checkpoints++;
    return save(self, scratch("checkpoint"), err);
}

typedef struct outcome {
    char digest[NAS_DIGEST_SIZE];
    nas_search_result result;
} outcome;

/* Runs to the end, stopping and loading again each time `pieces` batches are done. */
static outcome run(const nas_search_config *c, int threads, int64_t pieces)
{
    outcome out;
    nas_err err = {0};
    nas_status status;
    bool again = false;

    omp_set_num_threads(threads);
    do {
        nas_search *search;
        stopper s = {.left = pieces};
        const nas_observer observer = {.user = &s, .progress = count_batch, .stop = stop,
                                       .checkpoint = keep_checkpoint};
        cr_assert_eq(nas_search_new(&search, space, data, lut, c, &err), NAS_OK, "%s", err.message);
        if (again)
            cr_assert_eq(nas_search_load(search, scratch("checkpoint"), &err), NAS_OK, "%s",
                         err.message);
        status = nas_search_run(search, &observer, &out.result, &err);
        cr_assert(status == NAS_OK || status == NAS_E_INTERRUPTED, "%s", err.message);
        cr_assert_eq(nas_search_digest(search, out.digest, NULL), NAS_OK);
        nas_search_free(search);
        again = true;
    } while (status == NAS_E_INTERRUPTED);
    free(out.result.judgement);
    return out;
}

static void expect_same(const outcome *a, const outcome *b)
{
    cr_expect_str_eq(a->digest, b->digest);
    for (int s = 0; s < space->count; s++)
        cr_expect_eq(a->result.choice[s], b->result.choice[s]);
    cr_expect_eq(a->result.valid_top1, b->result.valid_top1);
    cr_expect_eq(a->result.valid_loss, b->result.valid_loss);
}

static void meets_target_and_repeats(nas_search_method method, nas_arch_mode mode)
{
    const nas_search_config c = config(method, mode);
    const outcome one = run(&c, 1, INT64_MAX), two = run(&c, 2, INT64_MAX);
    const outcome four = run(&c, 4, INT64_MAX), stopped = run(&c, 2, 11);

    cr_expect(one.result.feasible);
    cr_expect_leq(one.result.latency_ms, c.target_ms);
    cr_expect(nas_space_valid(space, one.result.choice));
    expect_same(&one, &two);
    expect_same(&one, &four);
    expect_same(&one, &stopped);
}

Test(search_proxyless, gradient_full_same_bits_on_any_threads_and_after_stops)
{
    meets_target_and_repeats(NAS_SEARCH_GRADIENT, NAS_ARCH_FULL);
}

Test(search_proxyless, gradient_two_same_bits_on_any_threads_and_after_stops)
{
    meets_target_and_repeats(NAS_SEARCH_GRADIENT, NAS_ARCH_TWO);
}

/* Only the last blocks of the stage may be skipped: paths differ from what was drawn. */
Test(search_proxyless, gradient_two_same_bits_where_stages_may_end_early)
{
    scratch_put("deep.json", "{\"image_size\": 16, \"classes\": 4, \"min_depth\": 1, \"layers\": ["
                             "{\"op\": \"conv\", \"out\": 8, \"kernel\": 3, \"stride\": 2},"
                             "{\"blocks\": 5, \"width\": 8, \"kernel\": 3, \"expand\": [2, 4]},"
                             "{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 4}]}");
    nas_latency_lut_free(lut);
    nas_space_free(space);
    cr_assert_eq(nas_space_load(&space, scratch("deep.json"), NULL), NAS_OK);
    lut = test_lut(space);
    nas_latency_lut_range(lut, space, &fastest, &slowest, NULL, NULL);
    meets_target_and_repeats(NAS_SEARCH_GRADIENT, NAS_ARCH_TWO);
}

Test(search_proxyless, reinforce_same_bits_on_any_threads_and_after_stops)
{
    meets_target_and_repeats(NAS_SEARCH_REINFORCE, NAS_ARCH_FULL);
}

Test(search_proxyless, a_stop_in_the_step_in_which_the_time_is_up_loses_nothing)
{
    nas_search_config c = config(NAS_SEARCH_GRADIENT, NAS_ARCH_TWO);
    nas_err err = {0};

    c.max_minutes = 1e-9;
    const outcome straight = run(&c, 1, INT64_MAX);
    cr_expect_eq(straight.result.steps, 1);
    for (int64_t left = 1; left < 3; left++) { /* in the step, and in the validation behind it */
        stopper s = {.left = left};
        const nas_observer observer = {.user = &s, .progress = count_batch, .stop = stop,
                                       .checkpoint = keep_checkpoint};
        nas_search_result result;
        nas_search *search;

        cr_assert_eq(nas_search_new(&search, space, data, lut, &c, &err), NAS_OK);
        cr_assert_eq(nas_search_run(search, &observer, &result, &err), NAS_E_INTERRUPTED);
        nas_search_free(search);
        cr_assert_eq(nas_search_new(&search, space, data, lut, &c, &err), NAS_OK);
        cr_assert_eq(nas_search_load(search, scratch("checkpoint"), &err), NAS_OK);
        cr_assert_eq(nas_search_run(search, NULL, &result, &err), NAS_OK);
        cr_expect_eq(result.steps, 1);
        cr_expect_eq(result.valid_loss, straight.result.valid_loss);
        free(result.judgement);
        nas_search_free(search);
    }
}

/* Says stop when it is asked for the time after `left` others. */
static bool stop_when_asked(void *user) { return --((stopper *)user)->left <= 0; }

Test(search_proxyless, a_stop_is_heard_within_a_batch_in_every_phase)
{
    /* the epoch's last batch, its validation, an architecture step, choosing, batch statistics, the last judgement */
    static const struct {
        int64_t asked;
        const char *where;
    } stops[] = {{12, "batch 12"}, {1, "judging a network"}, {5, "comparing candidates"},
                 {112, "choosing the network"},
                 {8, "averaging batch statistics"}, {10, "judging the network"}};
    const nas_search_config c = config(NAS_SEARCH_GRADIENT, NAS_ARCH_FULL);
    outcome straight = run(&c, 2, INT64_MAX), stopped;
    nas_search *search;
    nas_err err;

    for (size_t i = 0; i <= sizeof stops / sizeof *stops; i++) {
        const bool last = i == sizeof stops / sizeof *stops;
        stopper s = {.left = last ? INT64_MAX : stops[i].asked};
        const nas_observer observer = {.user = &s, .stop = stop_when_asked,
                                       .checkpoint = keep_checkpoint};

        cr_assert_eq(nas_search_new(&search, space, data, lut, &c, NULL), NAS_OK);
        if (i > 0)
            cr_assert_eq(nas_search_load(search, scratch("checkpoint"), NULL), NAS_OK);
        const nas_status status = nas_search_run(search, &observer, &stopped.result, &err);
        cr_assert_eq(status, last ? NAS_OK : NAS_E_INTERRUPTED, "%zu: %s", i, err.message);
        if (!last)
            cr_expect(strstr(err.message, stops[i].where) != NULL, "%zu: %s", i, err.message);
        cr_assert_eq(nas_search_digest(search, stopped.digest, NULL), NAS_OK);
        nas_search_free(search);
    }
    free(stopped.result.judgement);
    expect_same(&straight, &stopped);
}

Test(search_proxyless, evolution_and_random_meet_the_target)
{
    for (int method = NAS_SEARCH_EVOLUTION; method <= NAS_SEARCH_RANDOM; method++) {
        const nas_search_config c = config((nas_search_method)method, NAS_ARCH_FULL);
        const outcome o = run(&c, 2, INT64_MAX);
        cr_expect(o.result.feasible);
        cr_expect_leq(o.result.latency_ms, c.target_ms);
    }
}

/* One IDX split of `images` flat grey pictures of 16 px, class after class. */
static void put_flat_pictures(const char *name, int images)
{
    enum { PIXELS = 256 };
    const unsigned char label_head[] = {0, 0, 8, 1, 0, 0, (unsigned char)(images >> 8),
                                        (unsigned char)images};
    const unsigned char image_head[] = {0, 0, 8, 3, 0, 0, (unsigned char)(images >> 8),
                                        (unsigned char)images, 0, 0, 0, 16, 0, 0, 0, 16};
    char path[64];

    snprintf(path, sizeof path, "flat/%s-images-idx3-ubyte", name);
    FILE *pictures = fopen(scratch(path), "wb");
    snprintf(path, sizeof path, "flat/%s-labels-idx1-ubyte", name);
    FILE *labels = fopen(scratch(path), "wb");
    cr_assert(pictures != NULL && labels != NULL);
    fwrite(image_head, 1, sizeof image_head, pictures);
    fwrite(label_head, 1, sizeof label_head, labels);
    for (int i = 0; i < images; i++) {
        const int label = 4 * i / images;
        fputc(label, labels);
        for (int p = 0; p < PIXELS; p++)
            fputc(40 + 60 * label + (i + p) % 5, pictures);
    }
    cr_assert_eq(fclose(pictures) | fclose(labels), 0);
}

static nas_status keep_top1(void *user, int64_t step, int64_t epoch, const nas_metric *metrics,
                            int count, nas_err *err)
{
    for (int i = 0; i < count; i++)
        if (strcmp(metrics[i].name, "valid_top1") == 0)
            *(double *)user = metrics[i].value;
    return NAS_OK;
}

/* Batch statistics of one class alone would take away all that tells these classes apart. */
Test(search_proxyless, networks_are_judged_on_batches_of_all_classes)
{
    nas_search_config c = config(NAS_SEARCH_RANDOM, NAS_ARCH_FULL);
    double top1 = 0.0;
    const nas_observer observer = {.user = &top1, .metrics = keep_top1};
    nas_search_result result;
    nas_search *search;

    c.valid_fraction = 0.4;
    c.score_images = 128;
    nas_dataset_close(data);
    cr_assert_eq(nas_dir_make(scratch("flat"), NULL), NAS_OK);
    put_flat_pictures("train", 2000);
    put_flat_pictures("t10k", 40);
    cr_assert_eq(nas_data_import(scratch("flat"), scratch("flat.nasd"), NULL, NULL, NULL), NAS_OK);
    cr_assert_eq(nas_dataset_open(&data, scratch("flat.nasd"), NULL), NAS_OK);
    cr_assert_eq(nas_space_fit(space, 16, 1, 4, NULL), NAS_OK);
    cr_assert_eq(nas_search_new(&search, space, data, lut, &c, NULL), NAS_OK);
    cr_assert_eq(nas_search_run(search, &observer, &result, NULL), NAS_OK);
    cr_expect_gt(top1, 0.5, "%g", top1);
    cr_expect_gt(result.judgement[0].score, 0.5, "%g", result.judgement[0].score);
    free(result.judgement);
    nas_search_free(search);
}

Test(search_proxyless, another_seed_gives_other_bits)
{
    nas_search_config c = config(NAS_SEARCH_GRADIENT, NAS_ARCH_FULL);
    const outcome a = run(&c, 2, INT64_MAX);

    c.seed = 8;
    const outcome b = run(&c, 2, INT64_MAX);
    cr_expect_str_neq(a.digest, b.digest);
}

Test(search_proxyless, latency_pulls_towards_fast_networks)
{
    nas_search_config c = config(NAS_SEARCH_GRADIENT, NAS_ARCH_FULL);
    nas_search *search;
    nas_search_result result;
    const double *rows[NAS_MAX_SLOTS];

    c.latency_loss = NAS_LATENCY_ADD_LINEAR;
    c.target_ms = fastest * 1.01; /* far below what the supernet starts from */
    c.epochs = 4;
    c.arch_lr = 0.1;
    cr_assert_eq(nas_search_new(&search, space, data, lut, &c, NULL), NAS_OK);
    const nas_alphas *a = nas_search_alphas(search);
    for (int s = 0; s < a->slots; s++)
        rows[s] = a->p + a->first[s];
    const double before = nas_latency_lut_expected(lut, rows);
    cr_assert_eq(nas_search_run(search, NULL, &result, NULL), NAS_OK);
    cr_expect_lt(nas_latency_lut_expected(lut, rows), 0.9 * before);
    cr_expect(result.feasible);
    free(result.judgement);
    nas_search_free(search);
}

/* What is left of a cost between its least and its greatest, of which `share` may be had. */
static double between(nas_cost cost, double share)
{
    nas_problem problem;
    double least, most;

    cr_assert_eq(nas_problem_init(&problem, space, 0, NULL, NULL, NULL), NAS_OK);
    nas_problem_range(&problem, cost, &least, &most);
    nas_problem_fini(&problem);
    return least + share * (most - least);
}

Test(search_proxyless, every_method_keeps_the_limits_beside_the_target)
{
    for (nas_search_method method = NAS_SEARCH_GRADIENT; method <= NAS_SEARCH_RANDOM; method++) {
        nas_search_config c = config(method, NAS_ARCH_FULL);
        nas_problem problem;
        nas_search *search;
        nas_search_result result;

        c.epochs = 1;
        c.max_macs = between(NAS_COST_MACS, 0.4);
        c.max_parameters = between(NAS_COST_PARAMETERS, 0.5);
        c.max_memory_bytes = between(NAS_COST_MEMORY, 0.7);
        cr_assert_eq(nas_search_new(&search, space, data, lut, &c, NULL), NAS_OK);
        cr_assert_eq(nas_search_run(search, NULL, &result, NULL), NAS_OK);
        cr_assert_eq(nas_problem_init(&problem, space, 0, NULL, NULL, NULL), NAS_OK);
        problem.limit[NAS_COST_MACS] = c.max_macs;
        problem.limit[NAS_COST_PARAMETERS] = c.max_parameters;
        problem.limit[NAS_COST_MEMORY] = c.max_memory_bytes;
        cr_expect(result.feasible && result.latency_ms <= c.target_ms);
        for (int i = 0; i < result.judged; i++)
            cr_expect(nas_problem_feasible(&problem, &result.judgement[i]), "method %d, network %d",
                      (int)method, i);
        nas_problem_fini(&problem);
        free(result.judgement);
        nas_search_free(search);
    }
}

/* What is expected of the only objective: before the architecture is learned, and at the end. */
typedef struct expectation {
    bool begun;
    double first, last;
} expectation;

static nas_status keep_expected(void *user, int64_t step, int64_t epoch, const nas_metric *metrics,
                                int count, nas_err *err)
{
    expectation *e = user;

    for (int i = 0; i < count; i++)
        if (strncmp(metrics[i].name, "expected_", 9) == 0)
            e->last = metrics[i].value;
    e->first = e->begun ? e->first : e->last;
    e->begun = true;
    return NAS_OK;
}

static double *limit_of(nas_search_config *c, nas_cost cost)
{
    double *const limits[NAS_COSTS] = {&c->target_ms, &c->max_macs, &c->max_parameters,
                                       &c->max_memory_bytes};
    return limits[cost];
}

/* A search without a table that presses for one cost alone; expectations in shares of its limit. */
static expectation pressed(nas_cost cost)
{
    nas_search_config c = config(NAS_SEARCH_GRADIENT, NAS_ARCH_FULL);
    const double limit = between(cost, 0.25), unit = nas_cost_names[cost].unit;
    expectation e = {0};
    const nas_observer observer = {.user = &e, .metrics = keep_expected};
    nas_problem problem;
    nas_search_result result;
    nas_search *search;

    c.target_ms = 0.0;
    c.objective[NAS_COST_LATENCY] = false;
    c.objective[cost] = true;
    *limit_of(&c, cost) = limit;
    c.latency_loss = NAS_LATENCY_ADD_LINEAR;
    c.epochs = 3;
    c.arch_every = 1;
    c.arch_lr = 0.2;
    omp_set_num_threads(1);
    cr_assert_eq(nas_search_new(&search, space, data, NULL, &c, NULL), NAS_OK);
    cr_assert_eq(nas_search_run(search, &observer, &result, NULL), NAS_OK);
    cr_assert_eq(nas_problem_init(&problem, space, 0, NULL, NULL, NULL), NAS_OK);
    cr_expect(result.feasible);
    cr_expect(isnan(result.latency_ms) && isnan(result.judgement[0].latency_ms));
    cr_expect_leq(nas_problem_cost(&problem, cost, &result.judgement[0]), limit);
    nas_problem_fini(&problem);
    free(result.judgement);
    nas_search_free(search);
    return (expectation){.first = e.first * unit / limit, .last = e.last * unit / limit};
}

Test(search_proxyless, any_cost_can_be_what_the_gradient_presses_for)
{
    for (nas_cost cost = NAS_COST_MACS; cost < NAS_COSTS; cost++) {
        const expectation e = pressed(cost);

        cr_expect(e.first > 1.2 && e.last < 1.05, "%s: %g to %g", nas_cost_names[cost].option,
                  e.first, e.last);
    }
}

/* MACs expected at the end of a search by REINFORCE. */
static double macs_of(bool objective, uint64_t seed)
{
    nas_search_config c = config(NAS_SEARCH_REINFORCE, NAS_ARCH_FULL);
    nas_problem problem;
    nas_search_result result;
    nas_search *search;
    double sum = 0.0;

    c.seed = seed;
    c.target_ms = 0.0;
    c.objective[NAS_COST_LATENCY] = false;
    c.objective[NAS_COST_MACS] = objective;
    c.max_macs = between(NAS_COST_MACS, 0.05);
    c.epochs = 3;
    c.arch_every = 1;
    c.arch_lr = 0.05;
    c.rl_samples = 16;
    omp_set_num_threads(1);
    cr_assert_eq(nas_search_new(&search, space, data, NULL, &c, NULL), NAS_OK);
    cr_assert_eq(nas_search_run(search, NULL, &result, NULL), NAS_OK);
    cr_assert_eq(nas_problem_init(&problem, space, 0, NULL, NULL, NULL), NAS_OK);
    const nas_alphas *a = nas_search_alphas(search);
    const double *macs = nas_problem_values(&problem, NAS_COST_MACS, 0);
    for (int i = 0; i < a->total; i++)
        sum += a->p[i] * macs[i];
    nas_problem_fini(&problem);
    free(result.judgement);
    nas_search_free(search);
    return sum;
}

/* Of several searches: accuracy alone moves one of them as far. */
Test(search_proxyless, any_cost_can_be_part_of_the_reward)
{
    double with = 0.0, without = 0.0;

    for (uint64_t seed = 1; seed <= 6; seed++) {
        with += macs_of(true, seed);
        without += macs_of(false, seed);
    }
    cr_expect_lt(with, 0.97 * without, "%g, %g where accuracy alone counts", with, without);
}

static void presses_for_all_and_repeats(nas_search_method method)
{
    nas_search_config c = config(method, NAS_ARCH_FULL);
    nas_search_config latency_alone;

    for (nas_cost cost = NAS_COST_MACS; cost < NAS_COSTS; cost++)
        *limit_of(&c, cost) = between(cost, 0.4);
    latency_alone = c;
    for (nas_cost cost = NAS_COST_MACS; cost < NAS_COSTS; cost++)
        c.objective[cost] = true;
    const outcome one = run(&c, 1, INT64_MAX), two = run(&c, 2, INT64_MAX);
    const outcome stopped = run(&c, 2, 11), other = run(&latency_alone, 2, INT64_MAX);

    cr_expect(one.result.feasible);
    expect_same(&one, &two);
    expect_same(&one, &stopped);
    cr_expect_str_neq(one.digest, other.digest);
}

Test(search_proxyless, several_objectives_same_bits_on_any_threads_and_after_stops)
{
    presses_for_all_and_repeats(NAS_SEARCH_GRADIENT);
    presses_for_all_and_repeats(NAS_SEARCH_REINFORCE);
}

Test(search_proxyless, objectives_without_limits_or_times_are_refused)
{
    nas_search_config none = config(NAS_SEARCH_GRADIENT, NAS_ARCH_FULL), wrong = none;
    nas_search *search;
    nas_err err;

    wrong.objective[NAS_COST_MEMORY] = true;
    cr_assert_eq(nas_search_new(&search, space, data, lut, &wrong, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "memory has no limit") != NULL, "%s", err.message);
    cr_assert_eq(nas_search_new(&search, space, data, NULL, &none, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "needs a latency table") != NULL, "%s", err.message);
    none.target_ms = 0.0;
    none.objective[NAS_COST_LATENCY] = false;
    cr_assert_eq(nas_search_new(&search, space, data, lut, &none, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "no limit") != NULL, "%s", err.message);
}

Test(search_proxyless, limits_out_of_reach_are_told_before_anything_is_trained)
{
    nas_search_config c = config(NAS_SEARCH_GRADIENT, NAS_ARCH_FULL);
    nas_search *search;
    nas_err err = {.status = NAS_OK};

    c.max_parameters = 0.9 * between(NAS_COST_PARAMETERS, 0.0);
    cr_assert_eq(nas_search_new(&search, space, data, lut, &c, &err), NAS_E_INFEASIBLE);
    cr_assert_not_null(strstr(err.hint, "reachable"), "%s", err.hint);
}

/* A device on which a network takes its prediction times a factor by its place in the list. */
typedef struct device {
    const double *factor;
    int measured;
} device;

static nas_status measure(void *user, nas_candidate *list, int count, const nas_observer *observer,
                          nas_err *err)
{
    device *d = user;

    d->measured = count;
    for (int i = 0; i < count; i++)
        list[i].measured_ms = d->factor[i] * nas_latency_lut_total(lut, list[i].choice);
    return nas_observe_go_on(observer, "measuring", err);
}

/* The result of a random search that measures its two best of three. */
static nas_search_result verified(const double *factor, int top, device *d)
{
    nas_search_config c = config(NAS_SEARCH_RANDOM, NAS_ARCH_FULL);
    nas_search_result result;
    nas_search *search;

    *d = (device){.factor = factor};
    c.verify_top = top;
    c.measurer = (nas_measurer){.user = d, .measure = measure};
    cr_assert_eq(nas_search_new(&search, space, data, lut, &c, NULL), NAS_OK);
    cr_assert_eq(nas_search_run(search, NULL, &result, NULL), NAS_OK);
    nas_search_free(search);
    return result;
}

static void expect_choice(const nas_search_result *result, const nas_candidate *candidate)
{
    cr_assert_eq(memcmp(result->choice, candidate->choice,
                        (size_t)space->count * sizeof *result->choice), 0);
}

Test(search_proxyless, the_best_network_that_meets_the_target_as_measured_is_chosen)
{
    static const double honest[] = {1, 1, 1}, flattered[] = {100, 1, 1};
    device d;
    const nas_search_result plain = verified(honest, 0, &d);

    cr_assert_eq(d.measured, 0, "not asked for");
    cr_assert_eq(plain.verified, 0);
    const nas_search_result same = verified(honest, 2, &d);
    cr_assert_eq(d.measured, 2);
    cr_assert_eq(same.verified, 2);
    expect_choice(&same, &plain.judgement[0]);
    cr_assert_eq(same.judgement[0].measured_ms, same.latency_ms);
    cr_assert_eq(same.judgement[2].measured_ms, 0.0);

    const nas_search_result other = verified(flattered, 2, &d);
    cr_assert(other.feasible);
    expect_choice(&other, &plain.judgement[1]);
    expect_choice(&other, &other.judgement[0]);
    cr_assert_float_eq(other.judgement[1].measured_ms, 100 * plain.judgement[0].latency_ms, 1e-9);
    cr_assert_eq(other.latency_ms, plain.judgement[1].latency_ms);
    free(plain.judgement);
    free(same.judgement);
    free(other.judgement);
}

Test(search_proxyless, where_no_measured_network_meets_the_target_the_fastest_is_told)
{
    static const double slow[] = {1000, 1000, 100};
    device d;
    const nas_search_result result = verified(slow, 50, &d);

    cr_assert_eq(d.measured, 3, "there are no more");
    cr_assert_not(result.feasible);
    cr_assert_eq(result.verified, 3);
    for (int i = 1; i < 3; i++)
        cr_assert_lt(result.judgement[0].measured_ms, result.judgement[i].measured_ms);
    expect_choice(&result, &result.judgement[0]);
    free(result.judgement);
}

Test(search_proxyless, a_target_below_the_fastest_network_is_infeasible)
{
    nas_search_config c = config(NAS_SEARCH_GRADIENT, NAS_ARCH_FULL);
    nas_search *search;
    nas_err err;

    c.target_ms = 0.5 * fastest;
    cr_expect_eq(nas_search_new(&search, space, data, lut, &c, &err), NAS_E_INFEASIBLE);
    cr_expect_null(search);
    cr_expect(strstr(err.hint, "choose a target between") != NULL);
}

Test(search_proxyless, a_batch_larger_than_the_data_is_refused)
{
    nas_search_config c = config(NAS_SEARCH_GRADIENT, NAS_ARCH_FULL);
    nas_search *search;

    c.batch = 4000;
    cr_expect_eq(nas_search_new(&search, space, data, lut, &c, NULL), NAS_E_CONFIG);
}

Test(search_proxyless, a_checkpoint_of_something_else_is_refused)
{
    const nas_search_config c = config(NAS_SEARCH_GRADIENT, NAS_ARCH_FULL);
    nas_search *search;
    nas_err err;

    cr_assert_eq(nas_search_new(&search, space, data, lut, &c, NULL), NAS_OK);
    cr_expect_eq(nas_search_load(search, scratch("task.nasd"), &err), NAS_E_DATA);
    cr_expect_eq(nas_search_load(search, scratch("missing"), &err), NAS_E_IO);
    nas_search_free(search);
}
