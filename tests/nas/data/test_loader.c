/* The loader: the same batches whatever the threads, wherever it starts. */
#include <criterion/criterion.h>
#include <math.h>
#include <sched.h>

#include "nas/data/loader.h"
#include "nas/data/split.h"
#include "tests/nas/data/packed.h"

enum { TRAIN = 100, BATCH = 24, FLOATS = 16 * 16 * 3 };

static nas_dataset *data;
static nas_loader *loader;
static nas_index items;
static nas_err err;

static void init(void)
{
    scratch_init();
    REQUIRE_OK(nas_dataset_open(&data, packed_synth("d", TRAIN, 20), &err));
    REQUIRE_OK(nas_index_split(&items, nas_dataset_split(data, "train"), &err));
}

static void fini(void)
{
    nas_loader_close(loader);
    nas_index_fini(&items);
    nas_dataset_close(data);
    scratch_fini();
}

TestSuite(nas_data_loader, .init = init, .fini = fini);

static const nas_loader_options standard = {
    .augment = {.pad = 2, .flip = true, .cutout = 5, .brightness = 0.2, .hue = 0.1},
    .batch = BATCH, .seed = 11, .shuffle = true,
};

static void open_loader(const nas_loader_options *options)
{
    nas_loader_close(loader);
    REQUIRE_OK(nas_loader_open(&loader, data, items.items, items.count, options, &err));
}

static const nas_batch *next(void)
{
    const nas_batch *batch;

    REQUIRE_OK(nas_loader_next(loader, &batch, &err));
    return batch;
}

/* Digest of `batches` batches from here, and of what they say of themselves. */
static void digest(int batches, char out[NAS_DIGEST_SIZE])
{
    nas_hash *hash = nas_hash_new();

    for (int i = 0; i < batches; i++) {
        const nas_batch *b = next();

        cr_assert_not_null(b);
        nas_hash_add(hash, b->x, (size_t)b->n * FLOATS * sizeof *b->x);
        nas_hash_add(hash, b->labels, (size_t)b->n * sizeof *b->labels);
        nas_hash_add(hash, &b->epoch, sizeof b->epoch);
        nas_hash_add(hash, &b->index, sizeof b->index);
    }
    nas_hash_hex(hash, out);
    nas_hash_free(hash);
}

/* Which train image x is, when nothing but normalisation was done. */
static uint32_t identify(const float *x)
{
    for (uint32_t i = 0; i < TRAIN; i++) {
        size_t size, k = 0;
        const unsigned char *pixels = nas_dataset_record(data, i, &size);

        while (k < size && lrintf((x[k] * data->std[k % 3] + data->mean[k % 3]) * 255) == pixels[k])
            k++;
        if (k == size)
            return i;
    }
    cr_assert_fail("an image that is not in the data set");
    return 0;
}

Test(nas_data_loader, an_epoch_has_every_image_once_with_its_label)
{
    nas_loader_options o = {.batch = BATCH, .shuffle = true};
    int seen[TRAIN] = {0}, moved = 0, height, width, channels;
    const nas_batch *b;

    open_loader(&o);
    cr_assert_eq(nas_loader_batches(loader), 5);
    nas_loader_shape(loader, &height, &width, &channels);
    cr_assert(height == 16 && width == 16 && channels == 3);
    nas_loader_start(loader, 0, 0);
    for (int k = 0; (b = next()) != NULL; k++) {
        cr_assert(b->epoch == 0 && b->index == k && b->n == (k < 4 ? BATCH : 4));
        cr_assert_eq((uintptr_t)b->x % 64, 0);
        for (int i = 0; i < b->n; i++) {
            const uint32_t image = identify(b->x + i * FLOATS);

            cr_assert_eq(b->labels[i], (int)data->labels[image]);
            seen[image]++;
            moved += image != (uint32_t)(k * BATCH + i);
        }
    }
    for (int i = 0; i < TRAIN; i++)
        cr_assert_eq(seen[i], 1, "image %d", i);
    cr_assert_gt(moved, TRAIN / 2);
    cr_assert_null(next()); /* and it stays at the end */
}

Test(nas_data_loader, batches_have_sizes_of_their_own_wherever_it_starts)
{
    nas_loader_options o = standard;
    int drawn[40], seen[17] = {0};
    float first = 0;
    const nas_batch *b;

    o.augment.size = 16;
    o.sizes = 3;
    o.size[0] = 8;
    o.size[1] = 12;
    o.size[2] = 16;
    open_loader(&o);
    for (int k = 0; k < 40; k++) { /* eight epochs of five batches */
        if (k % 5 == 0)
            nas_loader_start(loader, k / 5, 0);
        b = next();
        drawn[k] = b->height;
        cr_assert_eq(b->width, b->height);
        seen[b->height]++;
        if (k == 13)
            first = b->x[b->n * b->height * b->width * 3 - 1];
    }
    cr_assert_eq(seen[8] + seen[12] + seen[16], 40);
    cr_expect(seen[8] > 4 && seen[12] > 4 && seen[16] > 4);
    o.threads = 3;
    open_loader(&o);
    nas_loader_start(loader, 2, 3);
    b = next();
    cr_expect_eq(b->height, drawn[13]);
    cr_expect_eq(b->x[b->n * b->height * b->width * 3 - 1], first);
    nas_loader_set_size(loader, 12); /* not before the next start */
    cr_expect_eq(next()->height, drawn[14]);
    for (int epoch = 0; epoch < 2; epoch++) {
        nas_loader_start(loader, epoch, 0);
        while ((b = next()) != NULL)
            cr_assert_eq(b->height, 12);
    }
    o.size[2] = 17;
    nas_loader_close(loader);
    cr_expect_eq(nas_loader_open(&loader, data, items.items, items.count, &o, &err),
                 NAS_E_CONFIG);
}

Test(nas_data_loader, without_shuffling_the_list_decides)
{
    const nas_loader_options o = {.batch = 3, .drop_last = true};

    items.count = 5;
    items.items[0] = 77;
    open_loader(&o);
    cr_assert_eq(nas_loader_batches(loader), 1);
    nas_loader_start(loader, 4, 0);
    const nas_batch *b = next();
    cr_assert(identify(b->x) == 77 && identify(b->x + FLOATS) == 1 && b->n == 3);
    cr_assert_null(next());
}

Test(nas_data_loader, threads_do_not_show)
{
    char one[NAS_DIGEST_SIZE], many[NAS_DIGEST_SIZE];

    for (int threads = 1; threads <= 6; threads++) {
        nas_loader_options o = standard;

        o.threads = threads < 6 ? threads : 100000; /* of a machine with too many cores */
        o.ahead = threads % 3 + 1;
        o.endless = true;
        open_loader(&o);
        nas_loader_start(loader, 0, 0);
        digest(13, threads == 1 ? one : many);
        if (threads > 1)
            cr_assert_str_eq(one, many, "%d threads", threads);
    }
}

Test(nas_data_loader, a_restart_anywhere_gives_the_same_batches)
{
    nas_loader_options o = standard;
    char straight[NAS_DIGEST_SIZE], again[NAS_DIGEST_SIZE];

    o.endless = true;
    o.threads = 3;
    open_loader(&o);
    for (int place = 0; place < 12; place++) {
        nas_loader_start(loader, 2, 0);
        for (int i = 0; i < place; i++)
            next();
        digest(3, straight);
        open_loader(&o); /* as after a crash */
        nas_loader_start(loader, 2 + place / 5, place % 5);
        digest(3, again);
        cr_assert_str_eq(straight, again, "batch %d", place);
    }
}

Test(nas_data_loader, starting_over_and_over_drops_what_was_prepared)
{
    nas_loader_options o = standard;
    char first[NAS_DIGEST_SIZE], now[NAS_DIGEST_SIZE];

    o.threads = 3;
    o.ahead = 4;
    open_loader(&o);
    nas_loader_start(loader, 1, 1);
    digest(2, first);
    for (int k = 0; k < 200; k++) {
        nas_loader_start(loader, k, k % 5);
        if (k % 3 == 0)
            next();
    }
    nas_loader_start(loader, 1, 1);
    digest(2, now);
    cr_assert_str_eq(first, now);
    nas_loader_start(loader, 1, 5);
    cr_assert_null(next());
}

Test(nas_data_loader, epochs_seeds_and_streams_differ)
{
    nas_loader_options o = standard;
    char seen[4][NAS_DIGEST_SIZE];

    for (int k = 0; k < 4; k++) {
        o.seed = k == 1 ? 12 : 11;
        o.stream = k == 2 ? "valid" : NULL;
        open_loader(&o);
        nas_loader_start(loader, 0, 0);
        if (k == 3)
            nas_loader_start(loader, 1, 0);
        digest(1, seen[k]);
        for (int i = 0; i < k; i++)
            cr_assert_str_neq(seen[i], seen[k]);
    }
}

Test(nas_data_loader, the_same_image_is_augmented_anew_in_every_epoch)
{
    nas_loader_options o = standard;
    float *before = malloc(BATCH * FLOATS * sizeof *before);
    int same = 0;

    o.shuffle = false;
    open_loader(&o);
    nas_loader_start(loader, 0, 0);
    memcpy(before, next()->x, BATCH * FLOATS * sizeof *before);
    nas_loader_start(loader, 1, 0);
    const nas_batch *b = next();
    for (size_t i = 0; i < BATCH * FLOATS; i += FLOATS)
        same += memcmp(before + i, b->x + i, FLOATS * sizeof *before) == 0;
    cr_assert_eq(same, 0);
    free(before);
}

Test(nas_data_loader, a_batch_stays_until_the_next_call)
{
    nas_loader_options o = standard;
    char before[NAS_DIGEST_SIZE], after[NAS_DIGEST_SIZE];

    o.threads = 2;
    o.ahead = 1;
    open_loader(&o);
    nas_loader_start(loader, 0, 0);
    for (int k = 0; k < 4; k++) {
        const nas_batch *b = next();

        nas_digest(b->x, (size_t)b->n * FLOATS * sizeof *b->x, before);
        for (int i = 0; i < 200; i++)
            sched_yield(); /* time for the threads to write where they should not */
        nas_digest(b->x, (size_t)b->n * FLOATS * sizeof *b->x, after);
        cr_assert_str_eq(before, after);
    }
}

Test(nas_data_loader, closing_at_any_moment_is_fine)
{
    nas_loader_options o = standard;

    o.threads = 3;
    for (int k = 0; k < 30; k++) {
        open_loader(&o);
        if (k % 3 > 0)
            nas_loader_start(loader, 0, 0);
        if (k % 3 > 1)
            next();
    }
    nas_loader_close(NULL);
}

Test(nas_data_loader, grey_images_have_one_channel)
{
    uint8_t labels[24] = {0, 0, 8, 1, 0, 0, 0, 8, 0, 1, 0, 1, 0, 1, 0, 1};
    uint8_t images[16 + 8 * 36] = {0, 0, 8, 3, 0, 0, 0, 8, 0, 0, 0, 6, 0, 0, 0, 6};
    static const char *const names[] = {
        "src/train-images-idx3-ubyte", "src/train-labels-idx1-ubyte",
        "src/t10k-images-idx3-ubyte", "src/t10k-labels-idx1-ubyte",
    };
    nas_loader_options o = {.batch = 4, .augment = {.pad = 1, .flip = true, .contrast = 0.5,
                                                    .hue = 0.1, .cutout = 2}};
    int height, width, channels;

    for (size_t i = 16; i < sizeof images; i++)
        images[i] = (uint8_t)i;
    for (int k = 0; k < 4; k++)
        folder_put(names[k], k % 2 ? labels : images, k % 2 ? 16 : sizeof images);
    REQUIRE_OK(nas_data_import(scratch("src"), scratch("grey"), NULL, NULL, &err));
    nas_dataset_close(data);
    REQUIRE_OK(nas_dataset_open(&data, scratch("grey"), &err));
    items.count = 8;
    open_loader(&o);
    nas_loader_shape(loader, &height, &width, &channels);
    cr_assert(height == 6 && width == 6 && channels == 1);
    nas_loader_start(loader, 0, 0);
    cr_assert_eq(next()->labels[1], 1);
    cr_assert_not_null(next());
    cr_assert_null(next());
}

/* ---- encoded images ---- */

static void open_encoded(void)
{
    REQUIRE_OK(nas_data_import(folder_make("src", 9, false), scratch("e"), NULL, NULL, &err));
    nas_dataset_close(data);
    REQUIRE_OK(nas_dataset_open(&data, scratch("e"), &err));
    cr_assert_eq(data->encoding, NAS_DATA_ENCODED);
    items.count = 27;
}

Test(nas_data_loader, files_are_decoded_and_resized_by_the_threads)
{
    nas_loader_options o = {.batch = 10, .shuffle = true, .endless = true};
    char one[NAS_DIGEST_SIZE], many[NAS_DIGEST_SIZE];
    int height, width, channels;

    open_encoded();
    REQUIRE_OK(nas_augment_preset(&o.augment, "imagenet", 16, &err));
    for (int threads = 1; threads <= 3; threads++) {
        o.threads = threads;
        open_loader(&o);
        nas_loader_shape(loader, &height, &width, &channels);
        cr_assert(height == 16 && width == 16 && channels == 3);
        nas_loader_start(loader, 0, 0);
        digest(7, threads == 1 ? one : many);
    }
    cr_assert_str_eq(one, many);
}

Test(nas_data_loader, a_damaged_image_is_named_again_and_again)
{
    const nas_loader_options o = {.batch = 10, .threads = 3, .augment = {.size = 8}};
    nas_data__header *header;
    const nas_batch *batch;
    size_t size;

    open_encoded();
    char *bytes = packed_read(scratch("e"), &size, &header);
    memset(bytes + sizeof *header + data->index[13] + 40, 0x55, 200);
    memset(bytes + sizeof *header + data->index[15] + 40, 0x55, 50);
    REQUIRE_OK(nas_file_write(scratch("bad"), bytes, size, &err));
    free(bytes);
    nas_dataset_close(data);
    REQUIRE_OK(nas_dataset_open(&data, scratch("bad"), &err));
    open_loader(&o);
    nas_loader_start(loader, 0, 0);
    cr_assert_eq(next()->index, 0);
    for (int k = 0; k < 3; k++) {
        cr_assert_eq(nas_loader_next(loader, &batch, &err), NAS_E_DATA);
        cr_assert_null(batch);
        REQUIRE_IN(err.message, "bad: image 13: damaged ");
    }
    nas_loader_start(loader, 0, 2);
    cr_assert_eq(next()->index, 2);
}

Test(nas_data_loader, options_that_make_no_sense_are_refused)
{
    const nas_loader_options bad[] = {
        {.batch = 0}, {.batch = 101, .drop_last = true}, {.batch = 1, .threads = -1},
        {.batch = 1, .ahead = 1000}, {.batch = 1, .augment = {.size = -3}},
        {.batch = 1, .augment = {.size = 100000}}, {.batch = 1, .augment = {.pad = -1}},
        {.batch = 1, .augment = {.hue = 0.6}}, {.batch = 1, .augment = {.contrast = -1}},
        {.batch = 1, .augment = {.random_resized_crop = true}},
    };
    const nas_loader_options fine = {.batch = 1};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(nas_loader_open(&loader, data, items.items, TRAIN, &bad[i], &err),
                     NAS_E_CONFIG, "case %zu", i);
    cr_assert_eq(nas_loader_open(&loader, data, items.items, 0, &fine, &err), NAS_E_CONFIG);
    open_encoded();
    cr_assert_eq(nas_loader_open(&loader, data, items.items, 9, &fine, &err), NAS_E_CONFIG);
    REQUIRE_IN(err.hint, "--size");
}

/* What each of several processes is served. */
Test(nas_data_loader, the_parts_of_a_batch_are_those_of_the_whole)
{
    enum { PARTS = 3, SHARE = BATCH / PARTS };
    static float whole[BATCH * FLOATS];
    int labels[BATCH];
    nas_loader_options o = standard;

    o.drop_last = true;
    open_loader(&o);
    nas_loader_start(loader, 1, 2);
    const nas_batch *b = next();
    memcpy(whole, b->x, sizeof whole);
    memcpy(labels, b->labels, sizeof labels);
    o.parts = PARTS;
    for (o.part = 0; o.part < PARTS; o.part++) {
        open_loader(&o);
        cr_assert_eq(nas_loader_batches(loader), 4);
        nas_loader_start(loader, 1, 2);
        b = next();
        cr_assert_eq(b->n, SHARE);
        cr_assert_arr_eq(b->x, whole + o.part * SHARE * FLOATS, SHARE * FLOATS * sizeof *whole);
        cr_assert_arr_eq(b->labels, labels + o.part * SHARE, SHARE * sizeof *labels);
    }
    o.part = 0;
    o.parts = 5;
    cr_assert_eq(nas_loader_open(&(nas_loader *){NULL}, data, items.items, items.count, &o, &err),
                 NAS_E_CONFIG);
}
