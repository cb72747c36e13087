/* The generated task. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "nas/data/dataset.h"
#include "nas/data/synth.h"
#include "tests/nas/data/packed.h"

static nas_err err;

TestSuite(nas_data_synth, .init = scratch_init, .fini = scratch_fini);

static void digest_of(nas_synth_options options, char digest[NAS_DIGEST_SIZE])
{
    nas_dataset *data;

    options.train = 40;
    options.test = 20;
    REQUIRE_OK(nas_data_synth(scratch("d"), &options, &err));
    REQUIRE_OK(nas_dataset_open(&data, scratch("d"), &err));
    memcpy(digest, data->digest, NAS_DIGEST_SIZE);
    nas_dataset_close(data);
}

Test(nas_data_synth, options_decide_and_threads_do_not)
{
    char a[NAS_DIGEST_SIZE], b[NAS_DIGEST_SIZE];

    digest_of((nas_synth_options){.seed = 1, .threads = 1}, a);
    digest_of((nas_synth_options){.seed = 1, .threads = 3}, b);
    cr_assert_str_eq(a, b);
    digest_of((nas_synth_options){.seed = 2}, b);
    cr_assert_str_neq(a, b);
    digest_of((nas_synth_options){.seed = 1, .size = 16}, b);
    cr_assert_str_neq(a, b);
}

Test(nas_data_synth, classes_are_balanced_and_images_differ)
{
    const nas_synth_options options = {.classes = 20, .train = 200, .test = 40};
    uint32_t count[20] = {0};
    size_t size;
    nas_dataset *data;

    REQUIRE_OK(nas_data_synth(scratch("d"), &options, &err));
    REQUIRE_OK(nas_dataset_open(&data, scratch("d"), &err));
    REQUIRE_OK(nas_dataset_verify(data, &err));
    cr_assert(data->classes == 20 && data->height == 24 && data->channels == 3);
    for (uint32_t i = 0; i < 200; i++)
        count[data->labels[i]]++;
    for (int c = 0; c < 20; c++) {
        cr_assert_eq(count[c], 10);
        for (int k = 0; k < c; k++)
            cr_assert_str_neq(data->class_names[c], data->class_names[k]);
    }
    /* a test image is no copy of a train image with the same number */
    cr_assert_arr_neq(nas_dataset_record(data, 0, &size), nas_dataset_record(data, 200, &size),
                      24 * 24 * 3);
    nas_dataset_close(data);
}

/* What keeps the task from being solved by colour: class means are alike. */
Test(nas_data_synth, mean_colour_does_not_tell_the_class)
{
    const nas_synth_options options = {.classes = 10, .train = 1000, .test = 10};
    double mean[10] = {0};
    nas_dataset *data;

    REQUIRE_OK(nas_data_synth(scratch("d"), &options, &err));
    REQUIRE_OK(nas_dataset_open(&data, scratch("d"), &err));
    for (uint32_t i = 0; i < 1000; i++) {
        size_t size;
        const unsigned char *pixels = nas_dataset_record(data, i, &size);

        for (size_t k = 0; k < size; k++)
            mean[data->labels[i]] += pixels[k] / (100.0 * (double)size);
    }
    for (int c = 0; c < 10; c++) /* 100 images a class, std of an image's mean about 15 */
        cr_assert_float_eq(mean[c], 127.5, 8, "class %d: %g", c, mean[c]);
    nas_dataset_close(data);
}

Test(nas_data_synth, impossible_tasks_are_refused)
{
    const nas_synth_options bad[] = {
        {.size = 8}, {.size = 1000}, {.classes = 1}, {.classes = 21}, {.train = 5}, {.test = 9},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(nas_data_synth(scratch("d"), &bad[i], &err), NAS_E_CONFIG, "case %zu", i);
    cr_assert_eq(nas_data_synth(scratch("none/d"), NULL, &err), NAS_E_IO);
}
