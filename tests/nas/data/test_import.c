/* Import of image folders: what comes in comes out. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "nas/data/dataset.h"
#include "nas/data/image.h"
#include "tests/nas/data/packed.h"

static nas_dataset *data;
static nas_import_report report;
static nas_err err;

static void fini(void)
{
    nas_dataset_close(data);
    scratch_fini();
}

TestSuite(nas_data_import, .init = scratch_init, .fini = fini);

static void import(const char *src, int size)
{
    const nas_import_options options = {.size = size};

    nas_dataset_close(data);
    REQUIRE_OK(nas_data_import(src, scratch("out.nasd"), &options, &report, &err));
    REQUIRE_OK(nas_dataset_open(&data, scratch("out.nasd"), &err));
    REQUIRE_OK(nas_dataset_verify(data, &err));
}

static void put_png(const char *name, png_kind kind, int width, int height)
{
    static picture p;

    picture_png(&p, kind, width, height, false);
    picture_save(&p, scratch(name));
}

Test(nas_data_import, images_of_one_size_become_pixels_in_sorted_order)
{
    size_t size;

    import(folder_make("src", 4, true), 0);
    cr_assert_str_eq(report.format, "image folders");
    cr_assert_eq(report.images, 18);
    cr_assert_not(report.split_made);
    cr_assert(data->encoding == NAS_DATA_RAW && data->width == 20 && data->height == 12);
    cr_assert(data->classes == 3 && !strcmp(data->class_names[2], "c"));
    for (uint32_t i = 0; i < 18; i++) {
        const unsigned char *pixels = nas_dataset_record(data, i, &size);
        const uint32_t class = i < 12 ? i / 4 : (i - 12) / 2, file = i < 12 ? i % 4 : i % 2;

        cr_assert_eq(data->labels[i], class);
        if (file % 2) /* PNG: exact */
            cr_assert_eq(pixels[3], picture_value(PNG_RGB8, 1, 0, 0));
        else /* JPEG: nearly */
            cr_assert_leq(abs(pixels[0] - (int)(80 * class)) + abs(pixels[1] - (int)(9 * file)), 8);
    }
}

Test(nas_data_import, images_of_many_sizes_stay_files)
{
    size_t size;
    nas_image image = {0};

    import(folder_make("src", 4, false), 0);
    cr_assert(data->encoding == NAS_DATA_ENCODED && data->height == 0 && data->width == 0);
    const unsigned char *bytes = nas_dataset_record(data, 6, &size); /* b/02.JPG */
    REQUIRE_OK(nas_image_decode(&image, bytes, size, 3, &err));
    cr_assert(image.width == 20 + 3 * 2 + 1 && image.height == 12);
    nas_image_fini(&image);
}

Test(nas_data_import, size_resizes_and_crops_the_centre)
{
    size_t size;

    import(folder_make("src", 4, false), 6);
    cr_assert(data->encoding == NAS_DATA_RAW && data->height == 6 && data->width == 6);
    const unsigned char *pixels = nas_dataset_record(data, 8, &size); /* c/00.JPG: flat */
    for (size_t i = 0; i < size; i += 3)
        cr_assert_leq(abs(pixels[i] - 160), 4);
}

Test(nas_data_import, the_same_bytes_come_out_for_any_number_of_threads)
{
    const char *root = folder_make("src", 9, false);
    char digest[2][NAS_DIGEST_SIZE];

    for (int size = 0; size <= 8; size += 8) {
        for (int threads = 1; threads <= 3; threads += 2) {
            const nas_import_options options = {.size = size, .threads = threads};
            char *bytes;
            size_t length;

            REQUIRE_OK(nas_data_import(root, scratch("o"), &options, NULL, &err));
            REQUIRE_OK(nas_file_read(scratch("o"), SIZE_MAX, &bytes, &length, &err));
            nas_digest(bytes, length, digest[threads / 2]);
            free(bytes);
        }
        cr_assert_str_eq(digest[0], digest[1]);
    }
}

Test(nas_data_import, grey_among_colour_becomes_colour_and_grey_alone_stays_grey)
{
    size_t size;

    put_png("src/train/a/1.png", PNG_GREY8, 6, 6);
    put_png("src/train/b/1.png", PNG_GREY16, 6, 6);
    put_png("src/val/a/1.png", PNG_GREY8, 6, 6);
    import(scratch("src"), 0);
    cr_assert_eq(data->channels, 1);
    cr_assert_str_eq(nas_dataset_test_split(data)->name, "val");
    cr_assert_eq(nas_dataset_record(data, 0, &size)[7], picture_value(PNG_GREY8, 1, 1, 0));
    cr_assert_eq(size, 36);

    put_png("src/val/b/1.png", PNG_RGB8, 6, 6);
    import(scratch("src"), 0);
    cr_assert_eq(data->channels, 3);
    const unsigned char *pixels = nas_dataset_record(data, 0, &size);
    for (int c = 0; c < 3; c++)
        cr_assert_eq(pixels[3 * 7 + c], picture_value(PNG_GREY8, 1, 1, 0));
}

Test(nas_data_import, one_level_of_classes_gives_a_tenth_to_test)
{
    char name[64];
    int tests[2] = {0};

    for (int class = 0; class < 2; class++)
        for (int i = 0; i < (class ? 30 : 3); i++) {
            snprintf(name, sizeof name, "src/%s/deep/%02d.png", class ? "dog" : "cat", i);
            put_png(name, PNG_RGB8, 5 + i, 5 + i);
        }
    import(scratch("src"), 5);
    cr_assert(report.split_made);
    cr_assert_eq(data->split[0].count, 2 + 27);
    for (uint32_t i = 0; i < data->images; i++)
        tests[data->labels[i]] += i >= data->split[1].first;
    cr_assert(tests[0] == 1 && tests[1] == 3);
}

Test(nas_data_import, test_and_val_are_both_kept)
{
    folder_make("src", 2, true);
    put_png("src/val/b/1.png", PNG_RGB8, 20, 12);
    import(scratch("src"), 0);
    cr_assert_eq(data->splits, 3);
    cr_assert_eq(nas_dataset_split(data, "val")->count, 1);
    cr_assert_eq(data->labels[nas_dataset_split(data, "val")->first], 1);
    cr_assert_str_eq(nas_dataset_test_split(data)->name, "test");
}

Test(nas_data_import, other_and_hidden_files_are_counted_or_left_alone)
{
    folder_make("src", 2, true);
    folder_put("src/train/a/notes.txt", "x", 1);
    folder_put("src/train/readme", "x", 1);
    folder_put("src/train/a/.hidden.jpg", "x", 1);
    import(scratch("src"), 0);
    cr_assert_eq(report.images, 12);
    cr_assert_eq(report.ignored, 2);
}

Test(nas_data_import, content_decides_not_the_ending)
{
    folder_make("src", 2, true);
    put_png("src/train/a/zz.jpg", PNG_RGB8, 20, 12);
    import(scratch("src"), 0);
    cr_assert_eq(report.images, 13);
}

Test(nas_data_import, linked_files_and_class_folders_are_read)
{
    folder_make("src", 2, true);
    cr_assert_eq(symlink("00.JPG", scratch("src/train/a/link.jpg")), 0);
    cr_assert_eq(rename(scratch("src/train/b"), scratch("elsewhere")), 0);
    cr_assert_eq(symlink("../../elsewhere", scratch("src/train/b")), 0);
    import(scratch("src"), 0);
    cr_assert_eq(report.images, 13);
}

static bool count_calls(void *user, uint32_t done, uint32_t total)
{
    cr_assert(done >= 1 && done <= total && total == 12);
    ++*(int *)user;
    return true;
}

Test(nas_data_import, progress_is_told)
{
    int calls = 0;
    const nas_import_options options = {.progress = count_calls, .progress_user = &calls};

    REQUIRE_OK(nas_data_import(folder_make("src", 2, true), scratch("o"), &options, NULL, &err));
    cr_assert_geq(calls, 1);
}
