/* Shrinking: the same bits whatever stops it and on any number of threads, through every phase;
 * and what a supernet's file keeps. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "nas/data/synth.h"
#include "search/ofa/shrink.h"
#include "tests/support/scratch.h"

enum { BATCH = 32 };

static nas_err err;
static nas_dataset *data;
static nas_space *space;
static nas_ofa_schedule schedule;
static const nas_judge_config config = {.recalibrate_images = 128, .score_images = 64, .seed = 7,
                                        .loader_threads = 2};

static void use(const char *preset)
{
    cr_assert_eq(nas_ofa_schedule_preset(&schedule, preset, space, &err), NAS_OK);
    nas_ofa_schedule_scale(&schedule, 0.001);
    for (int i = 0; i < schedule.count; i++)
        schedule.phase[i].batch = BATCH;
}

static void setup(void)
{
    const nas_synth_options synth = {.size = 16, .classes = 4, .train = 192, .test = 40, .seed = 1,
                                     .threads = 1};

    scratch_init();
    cr_assert_eq(nas_data_synth(scratch("task.nasd"), &synth, NULL), NAS_OK);
    cr_assert_eq(nas_dataset_open(&data, scratch("task.nasd"), NULL), NAS_OK);
    cr_assert_eq(nas_space_load(&space, "ofa-tiny", NULL), NAS_OK);
    cr_assert_eq(nas_space_fit(space, 16, 3, 4, NULL), NAS_OK);
}

static void teardown(void)
{
    nas_space_free(space);
    nas_dataset_close(data);
    scratch_fini();
}

TestSuite(search_ofa_shrink, .init = setup, .fini = teardown);

static nas_supernet *begin(void)
{
    json_t *json = nas_space_to_json(space);
    nas_supernet *net;
    nas_space *own;

    cr_assert_eq(nas_space_from_json(&own, json, "space", &err), NAS_OK);
    json_decref(json);
    cr_assert_eq(nas_supernet_new(&net, own, NAS_JUDGE_BATCH, NAS_MEMORY_BALANCED, 7, &err),
                 NAS_OK);
    net->valid_fraction = 0.5;
    return net;
}

/* An observer that says stop when it is asked for the time after `left` others. */
static bool stop(void *user) { return --*(int64_t *)user <= 0; }

static nas_status keep_checkpoint(void *user, int64_t step, double score, nas_save_fn *save,
                                  void *self, nas_err *e)
{
    return save(self, scratch("checkpoint"), e);
}

typedef struct outcome {
    char digest[NAS_DIGEST_SIZE];
    nas_shrink_result result;
} outcome;

/* Runs a phase on what is in the file `from` (NULL: a fresh one) to the end, stopped
 * after `patience` questions, then twice as many, and so on; writes the supernet to `to`. */
static outcome run_phase(int phase, int threads, const char *from, const char *to, int64_t patience)
{
    nas_status status = NAS_E_INTERRUPTED;
    outcome out;

    omp_set_num_threads(threads);
    for (int attempt = 0; status == NAS_E_INTERRUPTED; attempt++) {
        int64_t asked = patience < INT64_MAX ? patience << attempt : patience;
        const nas_observer observer = {.user = &asked, .stop = stop, .checkpoint = keep_checkpoint};
        nas_supernet *net = NULL;
        nas_shrink *shrink;

        cr_assert_lt(attempt, 12);
        if (from == NULL)
            net = begin();
        else
            cr_assert_eq(nas_supernet_load(&net, scratch(from), NAS_JUDGE_BATCH,
                                           NAS_MEMORY_BALANCED, &err), NAS_OK, "%s", err.message);
        cr_assert_eq(nas_shrink_new(&shrink, net, data, &schedule.phase[phase], &config, &err),
                     NAS_OK, "%s", err.message);
        if (attempt > 0)
            cr_assert_eq(nas_shrink_load(shrink, scratch("checkpoint"), &err), NAS_OK, "%s",
                         err.message);
        status = nas_shrink_run(shrink, &observer, &out.result, &err);
        if (status == NAS_OK) {
            cr_assert_eq(nas_supernet_save(net, scratch(to), &err), NAS_OK);
        } else {
            cr_assert_eq(status, NAS_E_INTERRUPTED, "%s", err.message);
        }
        nas_shrink_free(shrink);
        nas_supernet_free(net);
    }
    nas_supernet *net;
    cr_assert_eq(nas_supernet_load(&net, scratch(to), 0, NAS_MEMORY_BALANCED, &err), NAS_OK);
    memcpy(out.digest, net->digest, sizeof out.digest);
    cr_assert_eq(net->phases, phase + 1);
    cr_assert_str_eq(net->augment, schedule.phase[phase].augment); /* subnets are judged so, too */
    nas_supernet_free(net);
    return out;
}

static void expect_same(const outcome *a, const outcome *b, const char *what)
{
    cr_assert_str_eq(a->digest, b->digest, "%s", what);
    cr_expect_eq(a->result.train_loss, b->result.train_loss, "%s", what);
    cr_expect_eq(a->result.mean_top1, b->result.mean_top1, "%s", what);
}

Test(search_ofa_shrink, every_phase_is_the_same_however_it_is_run)
{
    static const int corners[] = {2, 6, 8, 8, 16, 16};

    use("taught");
    cr_assert_eq(schedule.count, 6);
    for (int i = 0; i < schedule.count; i++) {
        char from[16], to[16];

        snprintf(from, sizeof from, "net%d", i);
        snprintf(to, sizeof to, "net%d", i + 1);
        const char *source = i > 0 ? from : NULL;
        const outcome straight = run_phase(i, 2, source, to, INT64_MAX);
        const outcome stopped = run_phase(i, 1, source, "other", 3);

        expect_same(&straight, &stopped, schedule.phase[i].name);
        cr_expect_eq(straight.result.corners, corners[i]);
        cr_expect(isfinite(straight.result.train_loss));
    }
}

Test(search_ofa_shrink, sandwich_too)
{
    use("sandwich");
    cr_assert_eq(schedule.count, 1);
    schedule.phase[0].distill = NAS_DISTILL_MSE;
    const outcome straight = run_phase(0, 2, NULL, "a", INT64_MAX);
    const outcome stopped = run_phase(0, 1, NULL, "b", 3);

    expect_same(&straight, &stopped, "sandwich");
}

/* What a sandwich learns from is what its phase says: three ways, three networks. */
Test(search_ofa_shrink, a_sandwich_may_do_without_a_teacher)
{
    outcome way[3];

    use("sandwich");
    way[0] = run_phase(0, 2, NULL, "a", INT64_MAX);
    schedule.phase[0].distill_ratio = 0.5;
    way[1] = run_phase(0, 2, NULL, "b", INT64_MAX);
    schedule.phase[0].distill = NAS_DISTILL_NONE;
    way[2] = run_phase(0, 2, NULL, "c", INT64_MAX);
    cr_expect_str_neq(way[0].digest, way[1].digest);
    cr_expect_str_neq(way[1].digest, way[2].digest);
    schedule.phase[0].distill_ratio = 1.0; /* says nothing then */
    const outcome again = run_phase(0, 2, NULL, "d", INT64_MAX);
    expect_same(&way[2], &again, "no teacher");
}

Test(search_ofa_shrink, uniform_phases_train_what_they_allow_and_no_ends)
{
    nas_phase *phase = &schedule.phase[0];

    use("sandwich");
    phase->distill = NAS_DISTILL_NONE;
    const outcome sandwich = run_phase(0, 1, NULL, "a", INT64_MAX);
    phase->rule = NAS_RULE_UNIFORM;
    const outcome straight = run_phase(0, 1, NULL, "b", INT64_MAX);
    const outcome stopped = run_phase(0, 1, NULL, "c", 3);
    expect_same(&straight, &stopped, "uniform");
    cr_expect_str_neq(straight.digest, sandwich.digest);

    use("taught");
    const outcome progressive = run_phase(0, 1, NULL, "d", INT64_MAX);
    phase->rule = NAS_RULE_UNIFORM; /* with one network to draw they are the same */
    const outcome uniform = run_phase(0, 1, NULL, "e", INT64_MAX);
    expect_same(&progressive, &uniform, "the largest network alone");
}

Test(search_ofa_shrink, uniform_phases_learn_from_the_largest_network_as_it_was)
{
    nas_supernet *net;

    use("taught");
    run_phase(0, 1, NULL, "a", INT64_MAX);
    nas_phase *phase = &schedule.phase[1];
    phase->rule = NAS_RULE_UNIFORM;
    phase->limits = schedule.phase[schedule.count - 1].limits;
    const outcome taught = run_phase(1, 1, "a", "b", INT64_MAX);
    phase->distill = NAS_DISTILL_NONE;
    const outcome labels = run_phase(1, 1, "a", "c", INT64_MAX);
    cr_expect_str_neq(taught.digest, labels.digest);
    cr_assert_eq(nas_supernet_load(&net, scratch("b"), 0, NAS_MEMORY_BALANCED, &err), NAS_OK);
    cr_expect_not_null(net->teacher);
    nas_supernet_free(net);
}

Test(search_ofa_shrink, kernels_fade_as_the_first_phase_begins_and_never_again)
{
    use("taught");
    const outcome plain = run_phase(0, 1, NULL, "a", INT64_MAX);
    const outcome next = run_phase(1, 1, "a", "b", INT64_MAX);
    schedule.phase[0].faded_kernels = schedule.phase[1].faded_kernels = true;
    const outcome straight = run_phase(0, 1, NULL, "c", INT64_MAX);
    const outcome stopped = run_phase(0, 1, NULL, "d", 3);
    const outcome again = run_phase(1, 1, "a", "e", INT64_MAX);

    cr_expect_str_neq(straight.digest, plain.digest);
    expect_same(&straight, &stopped, "faded");
    expect_same(&next, &again, "second phase");
}

/* What was never trained has nothing to teach, in its own phase or in later ones. */
Test(search_ofa_shrink, a_first_phase_has_no_teacher_whatever_it_says)
{
    nas_supernet *net;

    use("taught");
    const outcome plain = run_phase(0, 1, NULL, "a", INT64_MAX);
    schedule.phase[0].distill = NAS_DISTILL_CROSS_ENTROPY;
    const outcome said = run_phase(0, 1, NULL, "b", INT64_MAX);
    expect_same(&plain, &said, "first phase");
    cr_assert_eq(nas_supernet_load(&net, scratch("b"), 0, NAS_MEMORY_BALANCED, &err), NAS_OK);
    cr_expect_null(net->teacher);
    nas_supernet_free(net);
}

/* Its own loss goes down: on what it learns from, in a few epochs. */
Test(search_ofa_shrink, a_teacher_learns)
{
    use("taught");
    schedule.phase[0].epochs = 25;
    const outcome longer = run_phase(0, 2, NULL, "a", INT64_MAX);
    schedule.phase[0].epochs = 1;
    const outcome shorter = run_phase(0, 2, NULL, "b", INT64_MAX);

    cr_expect_lt(longer.result.train_loss, shorter.result.train_loss - 0.05, "%g %g",
                 longer.result.train_loss, shorter.result.train_loss);
}

Test(search_ofa_shrink, a_checkpoint_of_another_phase_or_kind_is_refused)
{
    nas_supernet *net = begin(), *other;
    nas_shrink *shrink;
    int64_t asked = 2;
    const nas_observer observer = {.user = &asked, .stop = stop, .checkpoint = keep_checkpoint};
    nas_shrink_result result;

    use("sandwich");
    cr_assert_eq(nas_shrink_new(&shrink, net, data, &schedule.phase[0], &config, &err), NAS_OK);
    cr_assert_eq(nas_shrink_run(shrink, &observer, &result, &err), NAS_E_INTERRUPTED);
    nas_shrink_free(shrink);
    use("taught");
    cr_assert_eq(nas_shrink_new(&shrink, net, data, &schedule.phase[0], &config, &err), NAS_OK);
    cr_expect_eq(nas_shrink_load(shrink, scratch("checkpoint"), &err), NAS_E_DATA);
    cr_expect(strstr(err.message, "sandwich") != NULL, "%s", err.message);
    nas_shrink_free(shrink);
    cr_expect_eq(nas_supernet_load(&other, scratch("checkpoint"), 0, NAS_MEMORY_BALANCED, &err),
                 NAS_E_DATA);
    cr_expect_null(other);
    nas_supernet_free(net);
}

/* ---- judging ---- */

static nas_status judge_some(nas_supernet *net, int count, int64_t patience, bool load,
                             double *top1, int64_t *fresh)
{
    int64_t asked = patience;
    const nas_observer observer = {.user = &asked, .stop = stop, .checkpoint = keep_checkpoint};
    nas_judge_config how = config;
    nas_index train = {0}, valid = {0};
    nas_candidate list[8];
    nas_elastic_mask mask;
    nas_judge *judge;
    nas_rng rng;

    how.augment = "none";
    cr_assert_eq(nas_elastic_mask_make(&mask, space, nas_elastic_dims_all(net->elastic), &err),
                 NAS_OK);
    cr_assert_eq(nas_judge_split(net, data, &train, &valid, &err), NAS_OK);
    cr_assert_eq(nas_judge_new(&judge, net, data, &train, &valid, &how, &err), NAS_OK);
    if (load)
        cr_assert_eq(nas_judge_load(judge, scratch("checkpoint"), &err), NAS_OK, "%s",
                     err.message);
    const nas_evaluator e = nas_judge_evaluator(judge, NULL, &observer, count);
    memset(list, 0, sizeof list);
    for (int i = 0; i < count; i++) {
        nas_rng_init(&rng, 3, "test", (uint64_t)i);
        nas_elastic_sample(space, &mask, &rng, list[i].choice);
        list[i].image_size = i % 2 ? 12 : 16;
    }
    const nas_status status = e.score(e.user, list, count, &err);
    for (int i = 0; i < count; i++)
        top1[i] = list[i].score;
    *fresh = nas_judge_fresh(judge);
    nas_judge_free(judge);
    nas_index_fini(&train);
    nas_index_fini(&valid);
    return status;
}

Test(search_ofa_shrink, judging_goes_on_where_it_was_stopped)
{
    nas_supernet *net = begin();
    double straight[8], stopped[8];
    int64_t fresh, all = 0;
    nas_status status;

    cr_assert_eq(judge_some(net, 8, INT64_MAX, false, straight, &fresh), NAS_OK);
    cr_expect_eq(fresh, 8);
    for (int i = 0;; i++) {
        status = judge_some(net, 8, 5 + 4 * i, i > 0, stopped, &fresh);
        if (status == NAS_OK)
            break;
        cr_assert_eq(status, NAS_E_INTERRUPTED, "%s", err.message);
        cr_assert_lt(i, 20);
        all += fresh;
    }
    cr_expect_eq(all + fresh, 8);
    cr_expect(memcmp(straight, stopped, sizeof straight) == 0);
    nas_supernet_free(net);
}

Test(search_ofa_shrink, archs_that_were_not_trained_yet_are_refused)
{
    nas_supernet *net;
    nas_arch *arch;
    int choice[NAS_MAX_SLOTS] = {0}, found[NAS_MAX_SLOTS];

    use("taught");
    run_phase(0, 2, NULL, "net", INT64_MAX);
    cr_assert_eq(nas_supernet_load(&net, scratch("net"), 0, NAS_MEMORY_BALANCED, &err), NAS_OK);
    cr_assert_eq(nas_space_arch(&arch, space, choice, &err), NAS_OK);
    cr_expect_eq(nas_supernet_choice(net, arch, found, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "has not been trained") != NULL, "%s", err.message);
    nas_arch_free(arch);
    for (int s = 0; s < space->count; s++)
        choice[s] = nas_elastic_largest(&space->slots[s]);
    cr_assert_eq(nas_space_arch(&arch, space, choice, &err), NAS_OK);
    cr_expect_eq(nas_supernet_choice(net, arch, found, &err), NAS_OK);
    nas_arch_free(arch);
    nas_supernet_free(net);
}
