/* Augmentation, checked by what it did to images in which every pixel is known. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>

#include "nas/data/augment.h"
#include "tests/nas/data/packed.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE };

/* Normalisation that changes nothing but the scale: x = v / 255. */
static nas_normal plain;
static nas_augment_scratch scratch_memory;
static uint8_t pixels[64 * 64 * 3];
static float x[64 * 64 * 3];
static nas_image image;
static nas_err err;

static void init(void)
{
    const float zero[3] = {0, 0, 0}, one[3] = {1, 1, 1};

    nas_normal_init(&plain, zero, one, 3);
    /* pixel (row, column) = (10 row + 20, 10 column + 20, 200) */
    image = (nas_image){SIDE, SIDE, 3, pixels, 0};
    for (int i = 0; i < PIXELS; i++) {
        pixels[3 * i] = (uint8_t)(10 * (i / SIDE) + 20);
        pixels[3 * i + 1] = (uint8_t)(10 * (i % SIDE) + 20);
        pixels[3 * i + 2] = 200;
    }
}

static void fini(void)
{
    nas_augment_scratch_fini(&scratch_memory);
}

TestSuite(nas_data_augment, .init = init, .fini = fini);

static void apply(const nas_augment *a, int height, int width, uint64_t index)
{
    nas_rng rng;

    nas_rng_init(&rng, 3, "test", index);
    REQUIRE_OK(nas_augment_apply(a, &plain, &image, height, width, &rng, &scratch_memory, x,
                                 &err));
}

static int value(int row, int column, int c)
{
    return (int)lrintf(x[3 * (row * SIDE + column) + c] * 255);
}

Test(nas_data_augment, without_any_the_image_is_normalised)
{
    const float mean[3] = {0.5f, 0.25f, 0.1f}, std[3] = {0.2f, 0.3f, 0.4f};
    const nas_augment none = {0};
    nas_normal normal;
    nas_rng rng;

    nas_normal_init(&normal, mean, std, 3);
    nas_rng_init(&rng, 1, "test", 0);
    REQUIRE_OK(nas_augment_apply(&none, &normal, &image, SIDE, SIDE, &rng, &scratch_memory, x,
                                 &err));
    for (int i = 0; i < PIXELS * 3; i++) {
        const int c = i % 3;

        cr_assert_float_eq(x[i], (pixels[i] / 255.0 - mean[c]) / std[c], 1e-6);
        cr_assert_float_eq(pixels[i] * normal.scale[c] + normal.shift[c], x[i], 1e-5);
    }
}

Test(nas_data_augment, flip_mirrors_half_of_the_images)
{
    const nas_augment a = {.flip = true};
    int mirrored = 0;

    for (int k = 0; k < 400; k++) {
        apply(&a, SIDE, SIDE, (uint64_t)k);
        const bool flipped = value(0, 0, 1) != 20;

        mirrored += flipped;
        for (int i = 0; i < PIXELS; i++) {
            const int row = i / SIDE, column = i % SIDE;

            cr_assert_eq(value(row, column, 0), 10 * row + 20);
            cr_assert_eq(value(row, column, 1), 10 * (flipped ? SIDE - 1 - column : column) + 20);
            cr_assert_eq(value(row, column, 2), 200);
        }
    }
    cr_assert(mirrored > 150 && mirrored < 250, "%d of 400", mirrored); /* 5 sigma */
}

/* Row and column of the crop's corner, from the one pixel that is always inside. */
static void find_shift(int pad, int *dy, int *dx)
{
    *dy = (value(pad, pad, 0) - 20) / 10 - pad;
    *dx = (value(pad, pad, 1) - 20) / 10 - pad;
}

Test(nas_data_augment, pad_crop_moves_by_at_most_pad_and_fills_with_black)
{
    enum { PAD = 2, PLACES = 2 * PAD + 1 };
    const nas_augment a = {.pad = PAD};
    int seen[PLACES][PLACES] = {{0}};

    for (int k = 0; k < 500; k++) {
        int dy, dx;

        apply(&a, SIDE, SIDE, (uint64_t)k);
        find_shift(PAD, &dy, &dx);
        cr_assert(abs(dy) <= PAD && abs(dx) <= PAD);
        seen[dy + PAD][dx + PAD]++;
        for (int i = 0; i < PIXELS; i++) {
            const int row = i / SIDE + dy, column = i % SIDE + dx;
            const bool in = row >= 0 && row < SIDE && column >= 0 && column < SIDE;

            cr_assert_eq(value(i / SIDE, i % SIDE, 0), in ? 10 * row + 20 : 0);
            cr_assert_eq(value(i / SIDE, i % SIDE, 1), in ? 10 * column + 20 : 0);
        }
    }
    for (int i = 0; i < PLACES * PLACES; i++)
        cr_assert_gt(seen[i / PLACES][i % PLACES], 4, "place %d", i); /* 20 expected */
}

Test(nas_data_augment, a_mirrored_crop_is_the_crop_mirrored)
{
    const nas_augment crop = {.pad = 2}, both = {.pad = 2, .flip = true};
    float straight[PIXELS * 3];
    int mirrored = 0;

    for (int k = 0; k < 50; k++) {
        apply(&crop, SIDE, SIDE, (uint64_t)k); /* the crop is drawn first: the same one */
        memcpy(straight, x, sizeof straight);
        apply(&both, SIDE, SIDE, (uint64_t)k);
        if (memcmp(straight, x, sizeof straight) == 0)
            continue;
        mirrored++;
        for (int i = 0; i < PIXELS; i++)
            for (int c = 0; c < 3; c++)
                cr_assert_eq(x[3 * i + c],
                             straight[3 * (i / SIDE * SIDE + SIDE - 1 - i % SIDE) + c]);
    }
    cr_assert(mirrored > 10 && mirrored < 40);
}

Test(nas_data_augment, cutout_blanks_one_square_cut_at_the_edge)
{
    enum { CUT = 4 };
    const nas_augment a = {.cutout = CUT};
    int whole = 0;

    for (int k = 0; k < 200; k++) {
        int top = SIDE, bottom = -1, left = SIDE, right = -1, blank = 0;

        apply(&a, SIDE, SIDE, (uint64_t)k);
        for (int i = 0; i < PIXELS; i++) {
            const int row = i / SIDE, column = i % SIDE;

            if (value(row, column, 2) != 0) {
                cr_assert_eq(value(row, column, 0), 10 * row + 20);
                continue;
            }
            blank++;
            top = row < top ? row : top;
            bottom = row > bottom ? row : bottom;
            left = column < left ? column : left;
            right = column > right ? column : right;
        }
        cr_assert_eq(blank, (bottom - top + 1) * (right - left + 1));
        cr_assert(blank >= CUT * CUT / 4 && blank <= CUT * CUT);
        whole += blank == CUT * CUT;
    }
    /* the centre is anywhere: rows 2..6 of 8 keep the whole square, so (5/8)^2 = 78 of 200 */
    cr_assert(whole > 45 && whole < 112, "%d", whole);
}

/* A large ramp: row in channel 0, column in channel 1, four levels a pixel. */
static void make_ramp(int height, int width)
{
    image = (nas_image){height, width, 3, pixels, 0};
    for (int i = 0; i < height * width; i++) {
        pixels[3 * i] = (uint8_t)(4 * (i / width));
        pixels[3 * i + 1] = (uint8_t)(4 * (i % width));
        pixels[3 * i + 2] = 255;
    }
}

Test(nas_data_augment, random_resized_crop_stays_in_its_ranges)
{
    const nas_augment a = {.size = SIDE, .random_resized_crop = true, .scale_min = 0.25,
                           .scale_max = 0.6, .ratio_min = 0.75, .ratio_max = 4.0 / 3};
    double smallest = 1, largest = 0;

    make_ramp(60, 48);
    for (int k = 0; k < 300; k++) {
        apply(&a, SIDE, SIDE, (uint64_t)k);
        /* the ramp between the second and the last but one pixel gives the box's size */
        const double height = (value(SIDE - 2, 3, 0) - value(1, 3, 0)) / 4.0 * SIDE / (SIDE - 3);
        const double width = (value(3, SIDE - 2, 1) - value(3, 1, 1)) / 4.0 * SIDE / (SIDE - 3);
        const double share = height * width / (60 * 48), ratio = width / height;

        cr_assert(share > 0.22 && share < 0.65, "share %g", share); /* rounded pixels */
        cr_assert(ratio > 0.70 && ratio < 1.43, "ratio %g", ratio);
        cr_assert_eq(value(4, 4, 2), 255);
        smallest = fmin(smallest, share);
        largest = fmax(largest, share);
    }
    cr_assert(smallest < 0.3 && largest > 0.55);
}

Test(nas_data_augment, a_crop_that_never_fits_falls_back_to_the_centre)
{
    const nas_augment a = {.size = SIDE, .random_resized_crop = true, .scale_min = 1,
                           .scale_max = 1, .ratio_min = 1, .ratio_max = 1};

    make_ramp(60, 20); /* a square of the whole area is 35 wide: more than 20 */
    apply(&a, SIDE, SIDE, 1);
    cr_assert_float_eq((value(3, 3, 0) + value(4, 3, 0)) / 2.0, 4 * 29.5, 1.5);
    cr_assert_float_eq(value(7, 3, 0) - value(0, 3, 0), 4 * 20 * 7 / 8.0, 6);
}

Test(nas_data_augment, evaluation_crops_the_centre_of_the_resized_image)
{
    const nas_augment a = {.size = SIDE, .resize = 12};

    make_ramp(60, 48); /* shorter side 48 -> 12, so 8 of them are the middle 32 pixels */
    apply(&a, SIDE, SIDE, 0);
    for (int i = 1; i < SIDE - 1; i++) {
        cr_assert_leq(abs(value(i, 3, 0) - 4 * (60 - 32) / 2 - (4 * 4 * i + 6)), 1);
        cr_assert_leq(abs(value(3, i, 1) - 4 * (48 - 32) / 2 - (4 * 4 * i + 6)), 1);
    }
}

Test(nas_data_augment, presets_have_their_names)
{
    nas_augment a;

    REQUIRE_OK(nas_augment_preset(&a, "none", 0, &err));
    cr_assert(!a.flip && a.pad == 0 && !a.random_resized_crop);
    REQUIRE_OK(nas_augment_preset(&a, "cifar", 32, &err));
    cr_assert(a.flip && a.pad == 4 && a.size == 32);
    REQUIRE_OK(nas_augment_preset(&a, "imagenet", 224, &err));
    cr_assert(a.flip && a.random_resized_crop && a.size == 224 && a.scale_min == 0.08);
    cr_assert_eq(nas_augment_preset(&a, "cifra", 0, &err), NAS_E_CONFIG);
    REQUIRE_IN(err.hint, "cifar");
}
