/* PNG decoding on libpng: any depth, palette, alpha or interlace to 8-bit grey or RGB. */
#include <png.h>
#include <stdio.h>
#include <string.h>

#include "nas/data/dataset.h"
#include "nas/data/image_codec.h"

enum { CHUNK_BYTES_MAX = 8 << 20 }; /* of text, profiles and the like */

typedef struct source {
    const unsigned char *next;
    size_t left;
    char text[160]; /* why libpng gave up */
} source;

static void on_error(png_structp png, png_const_charp text)
{
    source *s = png_get_error_ptr(png);

    snprintf(s->text, sizeof s->text, "%s", text);
    png_longjmp(png, 1);
}

/* libpng warns of odd side information; what hurts pixels is an error anyway. */
static void on_warning(png_structp png, png_const_charp text)
{
}

static void give_bytes(png_structp png, png_bytep out, size_t size)
{
    source *s = png_get_io_ptr(png);

    if (size > s->left)
        png_error(png, "the file ends too early");
    memcpy(out, s->next, size);
    s->next += size;
    s->left -= size;
}

/* Whatever the file has becomes 8 bits of `channels` channels. */
static void set_transforms(png_structp png, png_infop info, int own, int channels)
{
    if (png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    else if (png_get_bit_depth(png, info) < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    png_set_scale_16(png);
    png_set_strip_alpha(png);
    if (own < channels)
        png_set_gray_to_rgb(png);
}

/* All that may longjmp, apart from the caller's setjmp, so that no local is clobbered. */
static nas_status decode(png_structp png, png_infop info, nas_image *out, int channels, bool probe,
                         nas_err *err)
{
    nas_status status;

    png_set_user_limits(png, NAS_DATA_SIDE_MAX, NAS_DATA_SIDE_MAX);
    png_set_chunk_malloc_max(png, CHUNK_BYTES_MAX);
    png_read_info(png, info);

    const unsigned height = png_get_image_height(png, info), width = png_get_image_width(png, info);
    const int own = png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR ? 3 : 1;
    if ((status = nas_data__image_check(height, width, err)))
        return status;
    if (probe) {
        *out = (nas_image){(int)height, (int)width, own, NULL, 0};
        return NAS_OK;
    }
    if (channels == 1 && own == 3)
        return nas_fail(err, NAS_E_DATA, "a colour image among grey ones");
    if (channels == 0)
        channels = own;
    if ((status = nas_image_reserve(out, (int)height, (int)width, channels, err)))
        return status;
    set_transforms(png, info, own, channels);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != (size_t)width * (size_t)channels)
        png_error(png, "unexpected row size");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < out->height; y++)
            png_read_row(png, out->pixels + (size_t)y * width * (size_t)channels, NULL);
    png_read_end(png, NULL); /* a file without its end is truncated */
    return NAS_OK;
}

nas_status nas_data__png_read(nas_image *out, const void *bytes, size_t size, int channels,
                              bool probe, nas_err *err)
{
    source from = {bytes, size, ""};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &from, on_error, on_warning);
    png_infop info = png != NULL ? png_create_info_struct(png) : NULL;
    nas_status status;

    if (info == NULL) {
        png_destroy_read_struct(&png, NULL, NULL);
        return nas_fail(err, NAS_E_NOMEM, "no memory to read a PNG");
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        return nas_fail(err, NAS_E_DATA, "damaged PNG: %s", from.text);
    }
    png_set_read_fn(png, &from, give_bytes);
    status = decode(png, info, out, channels, probe, err);
    png_destroy_read_struct(&png, &info, NULL);
    return status;
}
