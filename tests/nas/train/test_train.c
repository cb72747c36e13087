/* Training: the same bits whatever stops it, and on any number of threads. */
#include <criterion/criterion.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "nas/data/synth.h"
#include "nas/train/train.h"
#include "tests/support/scratch.h"

static nas_dataset *data;
static nas_arch *arch;

static const nas_train_config config = {
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
    cr_assert_eq(nas_model_new_arch(&model, arch, NULL), NAS_OK);
    nas_model_reset(model, 7);
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
