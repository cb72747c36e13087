/* Published image sets, where they are present. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "nas/data/dataset.h"
#include "tests/latency/published.h"
#include "tests/nas/data/packed.h"

static nas_err err;

TestSuite(nas_data_published, .init = scratch_init, .fini = scratch_fini);

/* Unpacks the files that match `patterns` into the scratch folder, or skips the test.
 * Not all files: making and removing 60,000 takes minutes on a busy disk. */
static void unpack(const char *name, const char *patterns)
{
    const char *archive = published(name);
    char command[1200];

    snprintf(command, sizeof command, "mkdir %s && tar -xf '%s' -C %s --wildcards %s",
             scratch("src"), archive, scratch("src"), patterns);
    cr_assert_eq(system(command), 0, "%s", command);
}

static nas_dataset *import(nas_import_report *report)
{
    nas_dataset *data;

    REQUIRE_OK(nas_data_import(scratch("src"), scratch("out"), NULL, report, &err));
    REQUIRE_OK(nas_dataset_open(&data, scratch("out"), &err));
    REQUIRE_OK(nas_dataset_verify(data, &err));
    return data;
}

Test(nas_data_published, part_of_cifar10_as_jpeg)
{
    nas_import_report report;

    unpack("cifar10-jpeg.tar.xz", "'*train/*/00*.jpg' '*test/*/000*.jpg'");
    nas_dataset *data = import(&report);
    cr_assert(data->classes == 10 && data->height == 32 && data->width == 32);
    cr_assert(data->channels == 3 && data->encoding == NAS_DATA_RAW && report.skipped == 0);
    cr_assert_eq(nas_dataset_split(data, "train")->count, 1000);
    cr_assert_eq(nas_dataset_split(data, "test")->count, 100);
    cr_assert_str_eq(data->class_names[9], "truck");
    /* the known statistics of CIFAR-10; an image's mean has a std of 0.12, so that of 1000
     * images lies within 2e-2; JPEG moves it by less than 1e-3 */
    cr_assert_float_eq(data->mean[0], 0.4914, 2e-2);
    cr_assert_float_eq(data->mean[2], 0.4465, 2e-2);
    cr_assert_float_eq(data->std[0], 0.2470, 2e-2);
    nas_dataset_close(data);
}

Test(nas_data_published, tiny_imagenet_with_grey_images)
{
    nas_import_report report;

    unpack("tiny-imagenet-40.tar.xz", "'*train/*_1?.*' '*val/*'");
    nas_dataset *data = import(&report);
    cr_assert(data->classes == 40 && data->height == 64 && data->width == 64);
    cr_assert(data->channels == 3 && data->images == 40 * 10 + 2000);
    cr_assert_str_eq(nas_dataset_test_split(data)->name, "val");
    cr_assert_eq(nas_dataset_test_split(data)->count, 2000);
    nas_dataset_close(data);
}
