/* Decoding of whole JPEG and PNG files, and resizing. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "nas/data/image.h"
#include "tests/nas/data/pictures.h"

static picture file;
static nas_image image;
static nas_err err;

static void fini(void)
{
    nas_image_fini(&image);
}

TestSuite(nas_data_image, .fini = fini);

static void check_png(png_kind kind, int width, int height, bool interlaced, int channels)
{
    const int own = png_kind_colour(kind) ? 3 : 1;

    picture_png(&file, kind, width, height, interlaced);
    cr_assert_eq(nas_image_decode(&image, file.bytes, file.size, channels, &err), NAS_OK,
                 "kind %d: %s", kind, err.message);
    cr_assert_eq(image.channels, channels ? channels : own, "kind %d", kind);
    cr_assert(image.width == width && image.height == height);
    for (int i = 0; i < width * height * image.channels; i++) {
        const int c = i % image.channels, x = i / image.channels % width;
        const int y = i / image.channels / width;

        cr_assert_eq(image.pixels[i], picture_value(kind, x, y, c), "kind %d at %d,%d,%d: %d",
                     kind, x, y, c, image.pixels[i]);
    }
}

Test(nas_data_image, png_of_every_kind_gives_its_pixels)
{
    for (int kind = 0; kind < PNG_KINDS; kind++)
        for (int interlaced = 0; interlaced < 2; interlaced++) {
            check_png(kind, 5, 4, interlaced, 0);
            check_png(kind, 13, 11, interlaced, 3);
            if (!png_kind_colour(kind))
                check_png(kind, 1, 9, interlaced, 1);
        }
}

static void check_flat(const uint8_t *want, int channels, int tolerance)
{
    cr_assert_eq(image.channels, channels);
    for (int i = 0; i < image.width * image.height * channels; i++)
        cr_assert_leq(abs(image.pixels[i] - want[i % channels]), tolerance, "%d, not %d",
                      image.pixels[i], want[i % channels]);
}

Test(nas_data_image, jpeg_grey_colour_cmyk_and_progressive)
{
    /* tolerance: YCbCr of 8 bits cannot hold every colour */
    const uint8_t grey[] = {77, 77, 77}, rgb[] = {200, 100, 50}, cmyk[] = {200, 100, 50, 128};
    const uint8_t inked[] = {100, 50, 25}; /* cmyk[c] * 128 / 255 */

    for (int progressive = 0; progressive < 2; progressive++) {
        picture_jpeg(&file, grey, 1, 17, 9, progressive);
        cr_assert_eq(nas_image_decode(&image, file.bytes, file.size, 0, &err), NAS_OK);
        check_flat(grey, 1, 1);
        cr_assert_eq(nas_image_decode(&image, file.bytes, file.size, 3, &err), NAS_OK);
        check_flat(grey, 3, 1);
        picture_jpeg(&file, rgb, 3, 17, 9, progressive);
        cr_assert_eq(nas_image_decode(&image, file.bytes, file.size, 0, &err), NAS_OK);
        check_flat(rgb, 3, 3);
        picture_jpeg(&file, cmyk, 4, 17, 9, progressive);
        cr_assert_eq(nas_image_decode(&image, file.bytes, file.size, 0, &err), NAS_OK);
        check_flat(inked, 3, 3);
    }
}

Test(nas_data_image, probe_tells_size_and_colour_without_pixels)
{
    const uint8_t rgb[] = {1, 2, 3};

    picture_png(&file, PNG_GREY16, 7, 3, false);
    cr_assert_eq(nas_image_probe(&image, file.bytes, file.size, &err), NAS_OK);
    cr_assert(image.width == 7 && image.height == 3 && image.channels == 1 && !image.pixels);
    picture_jpeg(&file, rgb, 3, 20, 10, false);
    cr_assert_eq(nas_image_probe(&image, file.bytes, file.size, &err), NAS_OK);
    cr_assert(image.width == 20 && image.height == 10 && image.channels == 3);
}

Test(nas_data_image, memory_is_kept_for_smaller_images)
{
    cr_assert_eq(nas_image_reserve(&image, 20, 30, 3, &err), NAS_OK);
    const uint8_t *pixels = image.pixels;
    cr_assert_eq(nas_image_reserve(&image, 10, 30, 3, &err), NAS_OK);
    cr_assert_eq(image.pixels, pixels);
    cr_assert_eq(image.capacity, 20 * 30 * 3);
}

/* ---- resizing ---- */

static uint8_t shrunk[64 * 64 * 3];
static float scratch[1 << 16];

static void resample(const uint8_t *pixels, int height, int width, int channels, nas_box box,
                     int out_height, int out_width)
{
    const nas_image in = {height, width, channels, (uint8_t *)pixels, 0};
    nas_image out = {out_height, out_width, channels, shrunk, 0};

    cr_assert_leq(nas_resample_scratch(&in, &box, out_height, out_width),
                  sizeof scratch / sizeof *scratch);
    nas_image_resample(&in, &box, scratch, &out);
}

Test(nas_data_image, resizing_to_the_same_size_changes_nothing)
{
    uint8_t pixels[7 * 5 * 3];

    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(97 * i);
    resample(pixels, 7, 5, 3, (nas_box){0, 0, 5, 7}, 7, 5);
    cr_assert_arr_eq(shrunk, pixels, sizeof pixels);
}

Test(nas_data_image, resizing_follows_hand_computed_values)
{
    const uint8_t pair[] = {0, 100}, four[] = {10, 20, 30, 40};
    const uint8_t up[] = {0, 25, 75, 100};

    resample(pair, 1, 2, 1, (nas_box){0, 0, 2, 1}, 1, 4);
    cr_assert_arr_eq(shrunk, up, 4);
    resample(pair, 2, 1, 1, (nas_box){0, 0, 1, 2}, 4, 1);
    cr_assert_arr_eq(shrunk, up, 4);
    /* 4 -> 2: radius 2 about 1 and 3: weights 3,3,1 of 7: (30+60+30)/7 and (20+90+120)/7 */
    resample(four, 1, 4, 1, (nas_box){0, 0, 4, 1}, 1, 2);
    cr_assert_eq(shrunk[0], 17);
    cr_assert_eq(shrunk[1], 33);
}

Test(nas_data_image, pixels_outside_the_box_are_not_seen)
{
    uint8_t pixels[8 * 8];

    for (int i = 0; i < 64; i++) {
        const int y = i / 8, x = i % 8;
        pixels[i] = x >= 2 && x < 6 && y >= 3 && y < 7 ? 50 : 250;
    }
    resample(pixels, 8, 8, 1, (nas_box){2, 3, 4, 4}, 3, 5);
    for (int i = 0; i < 15; i++)
        cr_assert_eq(shrunk[i], 50);
}

Test(nas_data_image, flat_images_stay_flat_at_any_size)
{
    static uint8_t pixels[40 * 50 * 3];

    memset(pixels, 201, sizeof pixels);
    for (int size = 1; size <= 64; size += 7) {
        const nas_box box = nas_box_centre(40, 50, size, 64 - size / 2, 0.83);

        cr_assert(box.x >= 0 && box.y >= 0 && box.x + box.width <= 50 && box.y + box.height <= 40);
        resample(pixels, 40, 50, 3, box, size, 64 - size / 2);
        for (int i = 0; i < size * (64 - size / 2) * 3; i++)
            cr_assert_eq(shrunk[i], 201, "size %d: %d", size, shrunk[i]);
    }
}

Test(nas_data_image, centre_box_is_the_largest_of_its_shape)
{
    const nas_box box = nas_box_centre(100, 300, 20, 40, 1);

    cr_assert(box.height == 100 && box.width == 200 && box.x == 50 && box.y == 0);
}
