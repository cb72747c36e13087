/* Training: the same bits whatever stops it, and on any number of threads. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "nas/data/synth.h"
#include "nas/train/step.h"
#include "nas/train/train.h"
#include "tests/support/scratch.h"

static nas_dataset *data;
static nas_arch *arch;

static nas_train_config config = {
    .epochs = 2, .batch = 32, .lr = 0.05, .momentum = 0.9, .decay = 4e-5, .label_smoothing = 0.1,
    .augment = "cifar", .valid_fraction = 0.5, .seed = 7, .loader_threads = 2};

static void setup(void)
{
    const nas_synth_options synth = {.size = 16, .classes = 4, .train = 320, .test = 40, .seed = 1,
                                     .threads = 1};
    int choice[NAS_MAX_SLOTS];
    nas_space *space;
    nas_rng rng;

    scratch_init();
    cr_assert_eq(nas_data_synth(scratch("task.nasd"), &synth, NULL), NAS_OK);
    cr_assert_eq(nas_dataset_open(&data, scratch("task.nasd"), NULL), NAS_OK);
    cr_assert_eq(nas_space_load(&space, "tiny", NULL), NAS_OK);
    cr_assert_eq(nas_space_fit(space, 16, 3, 4, NULL), NAS_OK);
    nas_rng_init(&rng, 1, "test", 0);
    nas_space_sample(space, &rng, choice);
    cr_assert_eq(nas_space_arch(&arch, space, choice, NULL), NAS_OK);
    nas_space_free(space);
}

static void teardown(void)
{
    nas_arch_free(arch);
    nas_dataset_close(data);
    scratch_fini();
}

TestSuite(nas_train, .init = setup, .fini = teardown);

static nas_model *fresh(uint64_t seed)
{
    nas_model *model;

    cr_assert_eq(nas_model_new_arch(&model, arch, NULL), NAS_OK);
    nas_model_reset(model, seed);
    return model;
}

/* An observer that says stop when it is asked for the time after `left` others. */
static bool stop(void *user) { return --*(int64_t *)user <= 0; }

static nas_status keep_checkpoint(void *user, int64_t step, double score, nas_save_fn *save,
                                  void *self, nas_err *err)
{
    return save(self, scratch("checkpoint"), err);
}

typedef struct outcome {
    char digest[NAS_DIGEST_SIZE];
    nas_train_result result;
    nas_status status;
    nas_err err;
} outcome;

/* One attempt; continues from the checkpoint if `again`. */
static outcome attempt(int threads, bool again, int64_t asked)
{
    const nas_observer observer = {.user = &asked, .stop = stop, .checkpoint = keep_checkpoint};
    nas_trainer *trainer;
    nas_model *model;
    outcome out = {.status = NAS_OK};

    omp_set_num_threads(threads);
    model = fresh(7);
    cr_assert_eq(nas_trainer_new(&trainer, model, data, &config, &out.err), NAS_OK, "%s",
                 out.err.message);
    if (again)
        cr_assert_eq(nas_trainer_load(trainer, scratch("checkpoint"), &out.err), NAS_OK, "%s",
                     out.err.message);
    out.status = nas_trainer_run(trainer, &observer, &out.result, &out.err);
    nas_digest(model->params, model->floats * sizeof *model->params, out.digest);
    nas_trainer_free(trainer);
    nas_model_free(model);
    return out;
}

static void expect_same(const outcome *a, const outcome *b)
{
    cr_assert_eq(a->status, NAS_OK);
    cr_assert_eq(b->status, NAS_OK);
    cr_expect_str_eq(a->digest, b->digest);
    cr_expect_eq(a->result.train_loss, b->result.train_loss);
    cr_expect_eq(a->result.valid_top1, b->result.valid_top1);
    cr_expect_eq(a->result.steps, b->result.steps);
}

Test(nas_train, threads_do_not_change_the_result)
{
    const outcome one = attempt(1, false, INT64_MAX), two = attempt(2, false, INT64_MAX);
    const outcome four = attempt(4, false, INT64_MAX);

    expect_same(&one, &two);
    expect_same(&one, &four);
}

Test(nas_train, a_stop_is_heard_within_a_batch_and_continued_to_the_same_bits)
{
    /* 160 images are five batches, 160 held out are two: a batch in the middle, the last one,
     * the validation, between the epochs, the last validation */
    static const struct {
        int64_t asked;
        const char *where;
    } stops[] = {{3, "batch 3"}, {2, "batch 5"}, {2, "judging"}, {3, "after epoch 1"},
                 {6, "judging"}};
    const outcome straight = attempt(2, false, INT64_MAX);

    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        const outcome o = attempt(2, i > 0, stops[i].asked);

        cr_assert_eq(o.status, NAS_E_INTERRUPTED, "%zu: %s", i, o.err.message);
        cr_expect(strstr(o.err.message, stops[i].where) != NULL, "%zu: %s", i, o.err.message);
    }
    const outcome stopped = attempt(2, true, INT64_MAX);
    expect_same(&straight, &stopped);
}

Test(nas_train, a_teacher_is_heard_in_proportion)
{
    enum { BATCH = 8, CLASSES = 4 };
    const int choice[NAS_MAX_SLOTS] = {0}, labels[BATCH] = {0, 1, 2, 3, 3, 2, 1, 0};
    const nas_forward how = {.train = true, .keep = true};
    const nas_sgd still = {.lr = 0.0f};
    nas_model *model = fresh(7), *teacher = fresh(8);
    float images[BATCH * 16 * 16 * 3], targets[BATCH * CLASSES], p[BATCH * CLASSES];
    float q[BATCH * CLASSES];
    nas_infer *infer;
    nas_exec *exec;
    nas_step step;
    nas_rng rng;

    nas_rng_init(&rng, 1, "images", 0);
    for (size_t i = 0; i < sizeof images / sizeof *images; i++)
        images[i] = (float)nas_rng_normal(&rng);
    cr_assert_eq(nas_exec_new(&exec, model, BATCH, NULL), NAS_OK);
    cr_assert_eq(nas_infer_new(&infer, teacher, choice, BATCH, NULL), NAS_OK);
    nas_softmax(nas_exec_forward(exec, choice, BATCH, images, &how), BATCH, CLASSES, p);
    nas_softmax(nas_infer_run(infer, BATCH, images), BATCH, CLASSES, q);
    nas_targets(labels, BATCH, CLASSES, 0.1f, targets);
    for (int share = 0; share <= 4; share++) {
        double wanted = 0.0;

        for (int i = 0; i < BATCH * CLASSES; i++)
            wanted -= ((1.0 - 0.25 * share) * (double)targets[i] + 0.25 * share * (double)q[i]) *
                      log((double)p[i]) / BATCH;
        cr_assert_eq(nas_step_init(&step, exec, BATCH, CLASSES, NULL), NAS_OK);
        cr_assert_eq(nas_step_teach(&step, teacher, 0.25f * (float)share, BATCH, NULL), NAS_OK);
        cr_expect_float_eq(nas_step_weights(&step, choice, BATCH, images, labels, 0.1f, &how,
                                            &still), wanted, 1e-5);
        nas_step_fini(&step);
    }
    nas_infer_free(infer);
    nas_exec_free(exec);
    nas_model_free(model);
    nas_model_free(teacher);
}

Test(nas_train, with_a_teacher_too_threads_and_stops_change_nothing)
{
    nas_model *teacher = fresh(8);
    const outcome alone = attempt(2, false, INT64_MAX);

    config.teacher = teacher;
    config.distill = 0.5;
    const outcome one = attempt(1, false, INT64_MAX), four = attempt(4, false, INT64_MAX);
    cr_expect_str_neq(one.digest, alone.digest);
    expect_same(&one, &four);
    cr_assert_eq(attempt(2, false, 3).status, NAS_E_INTERRUPTED);
    const outcome again = attempt(2, true, INT64_MAX);
    expect_same(&one, &again);
    nas_model_free(teacher);
}

Test(nas_train, a_teacher_of_other_classes_is_refused)
{
    nas_arch *other = nas_arch_copy(arch, NULL);
    nas_model *model = fresh(7), *teacher;
    nas_trainer *trainer;
    nas_err err;

    cr_assert_neq(other, NULL);
    other->classes = other->blocks[other->count - 1].op.out = 5;
    cr_assert_eq(nas_model_new_arch(&teacher, other, NULL), NAS_OK);
    config.teacher = teacher;
    cr_expect_eq(nas_trainer_new(&trainer, model, data, &config, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "the teacher knows 5 classes") != NULL, "%s", err.message);
    nas_model_free(teacher);
    nas_arch_free(other);
    nas_model_free(model);
}
