/* The packed file's reader: what it tells, and what it refuses. */
#include <criterion/criterion.h>
#include <stddef.h>

#include "nas/data/dataset.h"
#include "tests/nas/data/packed.h"

static nas_dataset *data;
static nas_err err;

static void fini(void)
{
    nas_dataset_close(data);
    scratch_fini();
}

TestSuite(nas_data_dataset, .init = scratch_init, .fini = fini);

Test(nas_data_dataset, tells_what_was_packed)
{
    size_t size;

    REQUIRE_OK(nas_dataset_open(&data, packed_synth("d", 12, 8), &err));
    REQUIRE_OK(nas_dataset_verify(data, &err));
    cr_assert(data->encoding == NAS_DATA_RAW && data->classes == 4 && data->images == 20);
    cr_assert(data->height == 16 && data->width == 16 && data->channels == 3);
    cr_assert(data->splits == 2 && data->split[0].first == 0 && data->split[0].count == 12);
    cr_assert_eq(nas_dataset_split(data, "test")->first, 12);
    cr_assert_eq(nas_dataset_split(data, "test")->count, 8);
    cr_assert_eq(nas_dataset_test_split(data), nas_dataset_split(data, "test"));
    cr_assert_null(nas_dataset_split(data, "val"));
    cr_assert_str_eq(data->class_names[1], "disc-coarse");
    cr_assert_eq(strlen(data->digest), 32);
    cr_assert_eq(nas_dataset_record(data, 1, &size), nas_dataset_record(data, 0, &size) + 768);
    cr_assert_eq(size, 768);
}

Test(nas_data_dataset, mean_and_std_are_those_of_the_train_pixels)
{
    double sum[3] = {0}, square[3] = {0};
    size_t size;

    REQUIRE_OK(nas_dataset_open(&data, packed_synth("d", 12, 8), &err));
    for (uint32_t i = 0; i < 12; i++) {
        const unsigned char *pixels = nas_dataset_record(data, i, &size);

        for (size_t k = 0; k < size; k++) {
            sum[k % 3] += pixels[k] / 255.0;
            square[k % 3] += pixels[k] / 255.0 * (pixels[k] / 255.0);
        }
    }
    for (int c = 0; c < 3; c++) {
        const double mean = sum[c] / (12 * 256), variance = square[c] / (12 * 256) - mean * mean;

        cr_assert_float_eq(data->mean[c], mean, 1e-6); /* float */
        cr_assert_float_eq(data->std[c] * data->std[c], variance, 1e-6);
    }
}

static char *bytes;
static size_t size;
static nas_data__header *header;

static void expect_refused(const char *what)
{
    const char *path = scratch("bad");

    REQUIRE_OK(nas_file_write(path, bytes, size, &err));
    cr_assert_eq(nas_dataset_open(&data, path, &err), NAS_E_DATA, "%s", what);
    REQUIRE_IN(err.message, "bad: ");
    cr_assert_null(data);
}

Test(nas_data_dataset, every_cut_file_is_refused)
{
    bytes = packed_read(packed_synth("d", 4, 4), &size, &header);
    const size_t whole = size;

    for (size = 1; size < whole; size += size < 300 || whole - size < 200 ? 1 : 97)
        expect_refused("cut");
    free(bytes);
}

Test(nas_data_dataset, every_changed_byte_of_header_and_tables_is_refused)
{
    bytes = packed_read(packed_synth("d", 4, 4), &size, &header);
    const size_t tables = (size_t)nas_data__tables(header->record_bytes);

    for (size_t i = 0; i < size; i = i + 1 == sizeof *header ? tables : i + 1) {
        bytes[i] ^= 0x21;
        expect_refused("changed");
        bytes[i] ^= 0x21;
    }
    free(bytes);
}

Test(nas_data_dataset, verify_finds_a_changed_pixel)
{
    bytes = packed_read(packed_synth("d", 4, 4), &size, &header);
    bytes[sizeof *header + 77]++;
    REQUIRE_OK(nas_file_write(scratch("bad"), bytes, size, &err));
    free(bytes);
    REQUIRE_OK(nas_dataset_open(&data, scratch("bad"), &err));
    cr_assert_eq(nas_dataset_verify(data, &err), NAS_E_DATA);
    REQUIRE_IN(err.message, "digest");
}

/* Each field in turn, with a right checksum: as a hostile file would have it. */
Test(nas_data_dataset, hostile_fields_are_refused)
{
    static const uint32_t small[] = {0, 1, 2, 3, 5, 9, 0x7fffffff, 0x80000000, 0xffffffff};
    static const uint64_t large[] = {0, 1, 7, 1u << 20, UINT64_MAX / 2, UINT64_MAX - 7, UINT64_MAX};
    static const double real[] = {-1, 2, 0.0 / 0.0, 1.0 / 0.0};

    bytes = packed_read(packed_synth("d", 4, 4), &size, &header);
    char *good = malloc(size);
    memcpy(good, bytes, size);
    for (size_t at = offsetof(nas_data__header, version); at < 40; at += 4)
        for (size_t k = 0; k < sizeof small / sizeof *small; k++) {
            memcpy(bytes + at, &small[k], 4);
            if (memcmp(bytes + at, good + at, 4) != 0) {
                packed_sign(bytes, size);
                expect_refused("u32");
            }
            memcpy(bytes, good, sizeof *header);
        }
    for (size_t at = offsetof(nas_data__header, record_bytes); at < 64; at += 8)
        for (size_t k = 0; k < sizeof large / sizeof *large; k++) {
            memcpy(bytes + at, &large[k], 8);
            packed_sign(bytes, size);
            expect_refused("u64");
            memcpy(bytes, good, sizeof *header);
        }
    for (size_t at = offsetof(nas_data__header, mean); at < 112; at += 8)
        for (size_t k = 0; k < sizeof real / sizeof *real; k++) {
            memcpy(bytes + at, &real[k], 8);
            packed_sign(bytes, size);
            expect_refused("real");
            memcpy(bytes, good, sizeof *header);
        }
    free(good);
    free(bytes);
}

static void expect_hostile(size_t at, uint64_t value, size_t bytes_of_value)
{
    char kept[8];

    memcpy(kept, bytes + at, bytes_of_value);
    memcpy(bytes + at, &value, bytes_of_value);
    packed_sign(bytes, size);
    expect_refused("table");
    memcpy(bytes + at, kept, bytes_of_value);
}

Test(nas_data_dataset, hostile_tables_are_refused)
{
    bytes = packed_read(packed_synth("d", 4, 4), &size, &header);
    const size_t ranges = (size_t)nas_data__tables(header->record_bytes), labels = ranges + 32;

    for (size_t at = ranges; at < labels; at += 8) {
        expect_hostile(at, UINT64_MAX, 8);
        expect_hostile(at, 3, 8);
    }
    for (size_t at = labels; at < labels + 8 * 4; at += 4)
        expect_hostile(at, 4, 4);
    expect_hostile(labels + 32, 0, 1);        /* an empty class name */
    expect_hostile(labels + 33, '\n', 1);     /* a control character */
    expect_hostile(labels + 33, 0xff, 1);     /* not UTF-8 */
    expect_hostile(size - 1, 'x', 1);         /* no end of the last name */
    expect_hostile(size - 11, 'x', 1);        /* "train" and "test" run together */
    free(bytes);
}

/* Ranges whose sum comes round to the right number of images. */
Test(nas_data_dataset, ranges_that_overflow_are_refused)
{
    const uint64_t far = (uint64_t)1 << 40;

    bytes = packed_read(packed_synth("d", 4, 4), &size, &header);
    const uint64_t ranges[] = {0, far, far, 8 - far};
    memcpy(bytes + nas_data__tables(header->record_bytes), ranges, sizeof ranges);
    packed_sign(bytes, size);
    expect_refused("ranges");
    free(bytes);
}

Test(nas_data_dataset, hostile_index_is_refused)
{
    const char *root = folder_make("src", 4, false);

    REQUIRE_OK(nas_data_import(root, scratch("d"), NULL, NULL, &err));
    bytes = packed_read(scratch("d"), &size, &header);
    cr_assert_eq(header->encoding, NAS_DATA_ENCODED);
    const size_t index = (size_t)nas_data__tables(header->record_bytes) + 32;
    for (size_t i = 0; i <= header->images; i++) {
        expect_hostile(index + 8 * i, UINT64_MAX, 8);
        expect_hostile(index + 8 * i, i == 0 ? 1 : 0, 8);
    }
    free(bytes);
}

Test(nas_data_dataset, other_files_and_newer_versions_are_told_apart)
{
    cr_assert_eq(nas_dataset_open(&data, scratch_put("t", "hello"), &err), NAS_E_DATA);
    REQUIRE_IN(err.message, "not a packed data set");
    REQUIRE_IN(err.hint, "nas data import");
    cr_assert_eq(nas_dataset_open(&data, scratch("none"), &err), NAS_E_IO);
    bytes = packed_read(packed_synth("d", 4, 4), &size, &header);
    header->version = 2;
    expect_refused("version");
    REQUIRE_IN(err.message, "newer");
    free(bytes);
}
