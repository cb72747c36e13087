/* CIFAR and IDX files written by hand. */
#include <criterion/criterion.h>
#include <unistd.h>
#include <zlib.h>

#include "nas/data/dataset.h"
#include "tests/nas/data/packed.h"

static nas_dataset *data;
static nas_import_report report;
static nas_err err;

static void fini(void)
{
    nas_dataset_close(data);
    scratch_fini();
}

TestSuite(nas_data_import_binary, .init = scratch_init, .fini = fini);

/* `n` records with labels first, first + 1, ... modulo classes. */
static void put_cifar(const char *name, int n, int first, int classes, int label_bytes)
{
    static uint8_t bytes[200 * 3074];
    uint8_t *next = bytes;

    for (int i = 0; i < n; i++) {
        if (label_bytes == 2)
            *next++ = 19; /* coarse */
        *next++ = (uint8_t)((first + i) % classes);
        for (int k = 0; k < 3072; k++)
            *next++ = (uint8_t)(k / 1024 * 100 + k % 97 + i);
    }
    folder_put(name, bytes, (size_t)(next - bytes));
}

static void import(void)
{
    nas_dataset_close(data);
    REQUIRE_OK(nas_data_import(scratch("src"), scratch("out"), NULL, &report, &err));
    REQUIRE_OK(nas_dataset_open(&data, scratch("out"), &err));
    REQUIRE_OK(nas_dataset_verify(data, &err));
}

static void expect_bad(const char *message)
{
    cr_assert_eq(nas_data_import(scratch("src"), scratch("bad"), NULL, NULL, &err), NAS_E_DATA,
                 "%s", err.message);
    REQUIRE_IN(err.message, message);
    cr_assert_not(nas_path_exists(scratch("bad")));
}

Test(nas_data_import_binary, cifar10_planes_become_pixels)
{
    size_t size;

    put_cifar("src/data_batch_1.bin", 12, 0, 10, 1);
    put_cifar("src/data_batch_2.bin", 5, 3, 10, 1);
    put_cifar("src/test_batch.bin", 4, 7, 10, 1);
    import();
    cr_assert_str_eq(report.format, "CIFAR-10 binary");
    cr_assert(data->classes == 10 && data->split[0].count == 17 && data->split[1].count == 4);
    cr_assert_eq(data->labels[12], 3);
    cr_assert_eq(data->labels[17], 7);
    cr_assert_str_eq(data->class_names[9], "9");
    const unsigned char *pixels = nas_dataset_record(data, 2, &size);
    for (int p = 0; p < 1024; p++)
        for (int c = 0; c < 3; c++)
            cr_assert_eq(pixels[3 * p + c],
                         (uint8_t)(c * 100 + (c * 1024 + p) % 97 + 2));

    scratch_put("src/batches.meta.txt", "airplane\nb\nc\nd\ne\nf\ng\nh\ni\ntruck\n\n");
    import();
    cr_assert_str_eq(data->class_names[0], "airplane");
    cr_assert_str_eq(data->class_names[9], "truck");
}

Test(nas_data_import_binary, cifar100_takes_the_fine_label)
{
    put_cifar("src/train.bin", 120, 0, 100, 2);
    put_cifar("src/test.bin", 3, 97, 100, 2);
    import();
    cr_assert_str_eq(report.format, "CIFAR-100 binary");
    cr_assert(data->classes == 100 && data->labels[119] == 19 && data->labels[120] == 97);
}

Test(nas_data_import_binary, bad_cifar_files_are_named)
{
    put_cifar("src/data_batch_1.bin", 12, 0, 10, 1);
    cr_assert_eq(nas_data_import(scratch("src"), scratch("bad"), NULL, NULL, &err), NAS_E_IO);
    REQUIRE_IN(err.message, "test_batch.bin: cannot open");
    put_cifar("src/test_batch.bin", 2, 0, 11, 2); /* records of another size */
    expect_bad("test_batch.bin: 6148 bytes are no whole number");
    put_cifar("src/test_batch.bin", 2, 10, 11, 1);
    expect_bad("test_batch.bin: image 0 has label 10");
    folder_put("src/test_batch.bin", "", 0);
    expect_bad("test_batch.bin: 0 bytes");
    put_cifar("src/test_batch.bin", 2, 0, 10, 1);
    scratch_put("src/batches.meta.txt", "a\nb\n");
    expect_bad("batches.meta.txt: 2 names for 10 classes");
    unlink(scratch("src/batches.meta.txt"));
    put_cifar("src/data_batch_1.bin", 3, 0, 10, 1);
    expect_bad("class 3 has no image to train on");
}

/* An IDX file of `n` images of 3 x 2 pixels, or of `n` labels. */
static size_t make_idx(uint8_t *out, bool images, int n, int classes)
{
    const uint8_t head[] = {0, 0, 8, images ? 3 : 1, 0, 0, 0, (uint8_t)n, 0, 0, 0, 3, 0, 0, 0, 2};
    const size_t start = images ? 16 : 8, size = start + (size_t)n * (images ? 6 : 1);

    memcpy(out, head, start);
    for (size_t i = start; i < size; i++)
        out[i] = (uint8_t)(images ? 7 * (i - start) : (i - start) % (size_t)classes);
    return size;
}

static void put_idx(const char *name, bool images, int n, bool zipped)
{
    uint8_t bytes[2000];
    const size_t size = make_idx(bytes, images, n, 4);

    folder_put(name, bytes, size);
    if (zipped) {
        gzFile file = gzopen(scratch(name), "wb");
        cr_assert_eq(gzwrite(file, bytes, (unsigned)size), (int)size);
        gzclose(file);
    }
}

Test(nas_data_import_binary, idx_files_plain_and_zipped)
{
    size_t size;

    put_idx("src/train-images-idx3-ubyte", true, 9, false);
    put_idx("src/train-labels-idx1-ubyte.gz", false, 9, true);
    put_idx("src/t10k-images.idx3-ubyte.gz", true, 5, true);
    put_idx("src/t10k-labels.idx1-ubyte", false, 5, false);
    import();
    cr_assert_str_eq(report.format, "IDX (MNIST)");
    cr_assert(data->classes == 4 && data->height == 3 && data->width == 2 && data->channels == 1);
    cr_assert(data->split[0].count == 9 && data->split[1].count == 5 && data->labels[9] == 0);
    cr_assert_eq(nas_dataset_record(data, 3, &size)[2], 7 * (3 * 6 + 2));
    cr_assert_eq(size, 6);
}

Test(nas_data_import_binary, bad_idx_files_are_named)
{
    uint8_t bytes[2000];

    put_idx("src/train-images-idx3-ubyte", true, 9, false);
    expect_bad("there is no train-labels-idx1-ubyte");
    put_idx("src/train-labels-idx1-ubyte", false, 8, false);
    expect_bad("9 train images with 8 labels");
    put_idx("src/train-labels-idx1-ubyte", true, 9, false);
    expect_bad("train-labels-idx1-ubyte: not an IDX file");
    put_idx("src/train-labels-idx1-ubyte", false, 9, false);
    folder_put("src/train-images-idx3-ubyte", bytes, make_idx(bytes, true, 9, 4) - 1);
    expect_bad("train-images-idx3-ubyte: the file ends too early");
    folder_put("src/train-images-idx3-ubyte", bytes, 10);
    expect_bad("ends too early");
    make_idx(bytes, true, 9, 4);
    memset(bytes + 4, 0xff, 12); /* a product that would overflow */
    folder_put("src/train-images-idx3-ubyte", bytes, 100);
    expect_bad("train-images-idx3-ubyte: a size of");
    memset(bytes + 4, 0, 12);
    folder_put("src/train-images-idx3-ubyte", bytes, 100);
    expect_bad("a size of 0 bytes");
    unlink(scratch("src/train-images-idx3-ubyte"));
    put_idx("src/train-images-idx3-ubyte.gz", true, 9, true);
    cr_assert_eq(truncate(scratch("src/train-images-idx3-ubyte.gz"), 30), 0);
    expect_bad("train-images-idx3-ubyte.gz: ");
}
