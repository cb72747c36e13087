/* Import of what cannot be imported: one clear error, and no file left behind. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "nas/data/dataset.h"
#include "tests/nas/data/packed.h"

static nas_import_options options;
static nas_import_report report;
static nas_err err;

static void init(void)
{
    scratch_init();
    folder_make("src", 3, true);
    nas_log_set_level(NAS_LOG_ERROR);
}

TestSuite(nas_data_import_bad, .init = init, .fini = scratch_fini);

static void expect_from(const char *src, nas_status status, const char *message)
{
    const int before = scratch_count();

    cr_assert_eq(nas_data_import(scratch(src), scratch("out"), &options, &report, &err), status,
                 "%s", err.message);
    REQUIRE_IN(err.message, message);
    cr_assert_eq(scratch_count(), before, "a file was left behind");
}

static void expect(nas_status status, const char *message)
{
    expect_from("src", status, message);
}

Test(nas_data_import_bad, text_named_jpg_is_named)
{
    folder_put("src/train/b/07.jpg", "no picture", 10);
    expect(NAS_E_DATA, "src/train/b/07.jpg: not a JPEG or PNG image");
}

Test(nas_data_import_bad, an_empty_file_is_named)
{
    folder_put("src/train/b/07.png", "", 0);
    expect(NAS_E_DATA, "src/train/b/07.png: the file is empty");
}

static void cut(const char *name, off_t by)
{
    FILE *file = fopen(scratch(name), "r");

    fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    fclose(file);
    cr_assert_eq(truncate(scratch(name), size - by), 0);
}

Test(nas_data_import_bad, a_truncated_jpeg_is_named)
{
    cut("src/test/a/00.JPG", 5);
    expect(NAS_E_DATA, "src/test/a/00.JPG: damaged JPEG: ");
}

Test(nas_data_import_bad, a_png_with_a_wrong_checksum_is_named)
{
    FILE *file = fopen(scratch("src/test/c/01.png"), "r+");

    fseek(file, -14, SEEK_END); /* the checksum of the pixels, before the last chunk */
    fputs("XX", file);
    fclose(file);
    expect(NAS_E_DATA, "src/test/c/01.png: damaged PNG: ");
}

Test(nas_data_import_bad, skip_bad_leaves_them_out_and_counts)
{
    nas_dataset *data;

    folder_put("src/train/b/07.jpg", "no picture", 10);
    folder_put("src/train/b/08.jpg", "", 0);
    cut("src/test/a/00.JPG", 5);
    cr_assert_eq(symlink("nowhere", scratch("src/train/c/gone.jpg")), 0);
    options.skip_bad = true;
    REQUIRE_OK(nas_data_import(scratch("src"), scratch("out"), &options, &report, &err));
    cr_assert_eq(report.skipped, 4);
    cr_assert_eq(report.images, 9 + 6 - 1);
    REQUIRE_OK(nas_dataset_open(&data, scratch("out"), &err));
    cr_assert_eq(data->split[1].count, 5);
    nas_dataset_close(data);
}

Test(nas_data_import_bad, skip_bad_does_not_leave_a_class_empty)
{
    options.skip_bad = true;
    folder_put("src/train/d/1.jpg", "no picture", 10);
    expect(NAS_E_DATA, "class d has no image to train on");
}

Test(nas_data_import_bad, a_missing_file_is_named)
{
    cr_assert_eq(symlink("nowhere", scratch("src/train/c/gone.jpg")), 0);
    expect(NAS_E_IO, "src/train/c/gone.jpg: cannot open");
}

Test(nas_data_import_bad, no_directory_no_images_no_test)
{
    expect_from("none", NAS_E_IO, "none: no such directory");
    scratch_put("file", "x");
    expect_from("file", NAS_E_DATA, "file: not a directory of images");
    folder_put("empty/readme", "x", 1);
    expect_from("empty", NAS_E_DATA, "empty: no images found");
    folder_put("folders/train/a/readme", "x", 1);
    folder_put("folders/test/a/readme", "x", 1);
    expect_from("folders", NAS_E_DATA, "");
    cr_assert_eq(rename(scratch("src/test"), scratch("src/other")), 0);
    expect(NAS_E_DATA, "there is train/ but neither test/ nor val/");
    REQUIRE_IN(err.hint, "10 %");
    cr_assert_eq(rename(scratch("src/other"), scratch("src/test")), 0);
    cr_assert_eq(rename(scratch("src/train"), scratch("src/other")), 0);
    expect(NAS_E_DATA, "there is test/ but no train/");
}

Test(nas_data_import_bad, one_class_or_an_unknown_one)
{
    folder_put("one/train/a/1.jpg", "x", 1);
    folder_put("one/test/a/1.jpg", "x", 1);
    expect_from("one", NAS_E_DATA, "1 class of images; from 2 to 65536 are needed");
    folder_put("src/test/zebra/1.jpg", "x", 1);
    expect(NAS_E_DATA, "src/test/zebra: the train split has no class of this name");
}

Test(nas_data_import_bad, a_class_of_one_image_cannot_be_split)
{
    folder_put("flat/a/1.jpg", "x", 1);
    folder_put("flat/b/1.jpg", "x", 1);
    folder_put("flat/b/2.jpg", "x", 1);
    expect_from("flat", NAS_E_DATA, "flat/a: 1 image; a class needs 2");
}

Test(nas_data_import_bad, links_in_circles_are_refused)
{
    cr_assert_eq(symlink("..", scratch("src/train/loop")), 0);
    expect(NAS_E_DATA, "src/train/loop: this folder is reached twice");
    cr_assert_eq(unlink(scratch("src/train/loop")), 0);
    cr_assert_eq(symlink("a", scratch("src/train/twin")), 0);
    expect(NAS_E_DATA, "src/train/twin: this folder is reached twice");
}

Test(nas_data_import_bad, links_to_folders_inside_a_class_are_not_followed)
{
    cr_assert_eq(symlink("../..", scratch("src/train/a/loop")), 0);
    REQUIRE_OK(nas_data_import(scratch("src"), scratch("out"), &options, &report, &err));
    cr_assert(report.images == 15 && report.ignored == 1);
}

Test(nas_data_import_bad, a_class_name_that_is_no_text_is_refused)
{
    folder_put("src/train/bad\nname/1.jpg", "x", 1);
    expect(NAS_E_DATA, "class name \"bad\\x0aname\"");
}

static bool stop(void *user, uint32_t done, uint32_t total)
{
    return false;
}

Test(nas_data_import_bad, stopping_leaves_nothing)
{
    options.progress = stop;
    expect(NAS_E_INTERRUPTED, "stopped");
}

Test(nas_data_import_bad, a_full_disk_is_an_error_and_leaves_nothing)
{
    const struct rlimit limit = {4096, 4096};

    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    expect(NAS_E_IO, "out: cannot write");
}

Test(nas_data_import_bad, sizes_out_of_range)
{
    options.size = -1;
    expect(NAS_E_CONFIG, "image size -1");
    options.size = 5000;
    expect(NAS_E_CONFIG, "image size 5000");
}
