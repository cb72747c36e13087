/* Damaged, cut and hostile image files: all are refused, none crashes. */
#include <criterion/criterion.h>
#include <zlib.h>

#include "nas/data/image.h"
#include "tests/nas/data/pictures.h"

static picture file;
static nas_image image;
static nas_err err;
static const uint8_t rgb[] = {200, 100, 50};

static void fini(void)
{
    nas_image_fini(&image);
}

TestSuite(nas_data_image_bad, .fini = fini);

static void expect_bad(size_t size, const char *why)
{
    /* an exact copy, so that a sanitizer sees every byte read past the end */
    uint8_t *copy = malloc(size > 0 ? size : 1);

    memcpy(copy, file.bytes, size);
    cr_assert_eq(nas_image_decode(&image, copy, size, 3, &err), NAS_E_DATA, "%s %zu of %zu", why,
                 size, file.size);
    cr_assert_neq(err.message[0], '\0');
    free(copy);
}

Test(nas_data_image_bad, every_cut_jpeg_is_refused)
{
    for (int progressive = 0; progressive < 2; progressive++) {
        picture_jpeg(&file, rgb, 3, 40, 24, progressive);
        for (size_t size = 0; size < file.size; size++)
            expect_bad(size, "jpeg");
    }
}

Test(nas_data_image_bad, every_cut_png_is_refused)
{
    for (int interlaced = 0; interlaced < 2; interlaced++) {
        picture_png(&file, PNG_RGB8, 19, 11, interlaced);
        for (size_t size = 0; size < file.size; size++)
            expect_bad(size, "png");
    }
}

Test(nas_data_image_bad, every_changed_byte_of_a_png_is_refused)
{
    picture_png(&file, PNG_RGB8, 19, 11, false);
    for (size_t i = 0; i < file.size; i++) {
        file.bytes[i] ^= 0x10;
        expect_bad(file.size, "changed byte");
        file.bytes[i] ^= 0x10;
    }
}

Test(nas_data_image_bad, changed_bytes_of_a_jpeg_do_not_crash)
{
    picture_jpeg(&file, rgb, 3, 40, 24, true);
    for (size_t i = 0; i < file.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            file.bytes[i] ^= (uint8_t)(1 << bit);
            const nas_status status = nas_image_decode(&image, file.bytes, file.size, 3, &err);
            cr_assert(status == NAS_OK || status == NAS_E_DATA);
            file.bytes[i] ^= (uint8_t)(1 << bit);
        }
}

Test(nas_data_image_bad, other_content_is_named)
{
    strcpy((char *)file.bytes, "This is not a picture");
    file.size = 21;
    expect_bad(21, "text");
    cr_assert_str_eq(err.message, "not a JPEG or PNG image");
    expect_bad(0, "empty");
    cr_assert_str_eq(err.message, "the file is empty");
}

static void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (24 - 8 * i));
}

Test(nas_data_image_bad, a_small_file_of_a_huge_image_is_refused)
{
    picture_png(&file, PNG_RGB8, 8, 8, false);
    put_u32(file.bytes + 16, 60000);
    put_u32(file.bytes + 20, 60000);
    put_u32(file.bytes + 29, (uint32_t)crc32(0, file.bytes + 12, 17));
    expect_bad(file.size, "bomb");
    cr_assert_not_null(strstr(err.message, "60000 x 60000 pixels"), "%s", err.message);

    picture_jpeg(&file, rgb, 3, 8, 8, false);
    for (size_t i = 2; i + 9 < file.size; i++) /* start of frame: height and width */
        if (file.bytes[i] == 0xff && file.bytes[i + 1] == 0xc0) {
            memset(file.bytes + i + 5, 0xf0, 4);
            break;
        }
    expect_bad(file.size, "bomb");
    cr_assert_not_null(strstr(err.message, "61680 x 61680 pixels"), "%s", err.message);
}

Test(nas_data_image_bad, a_colour_image_is_not_made_grey)
{
    picture_png(&file, PNG_RGB8, 8, 8, false);
    cr_assert_eq(nas_image_decode(&image, file.bytes, file.size, 1, &err), NAS_E_DATA);
    picture_jpeg(&file, rgb, 3, 8, 8, false);
    cr_assert_eq(nas_image_decode(&image, file.bytes, file.size, 1, &err), NAS_E_DATA);
}
