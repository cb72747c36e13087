/* Pictures for tests. */
#include "tests/nas/data/pictures.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jpeglib.h>
#include <png.h>

static const struct {
    int type, depth;
} kinds[PNG_KINDS] = {
    [PNG_GREY1] = {PNG_COLOR_TYPE_GRAY, 1},
    [PNG_GREY2] = {PNG_COLOR_TYPE_GRAY, 2},
    [PNG_GREY8] = {PNG_COLOR_TYPE_GRAY, 8},
    [PNG_GREY16] = {PNG_COLOR_TYPE_GRAY, 16},
    [PNG_GREY_ALPHA] = {PNG_COLOR_TYPE_GRAY_ALPHA, 8},
    [PNG_RGB8] = {PNG_COLOR_TYPE_RGB, 8},
    [PNG_RGB16] = {PNG_COLOR_TYPE_RGB, 16},
    [PNG_RGBA] = {PNG_COLOR_TYPE_RGB_ALPHA, 8},
    [PNG_PALETTE] = {PNG_COLOR_TYPE_PALETTE, 8},
    [PNG_PALETTE_CLEAR] = {PNG_COLOR_TYPE_PALETTE, 8},
};

bool png_kind_colour(png_kind kind)
{
    return kinds[kind].type & PNG_COLOR_MASK_COLOR;
}

/* An arbitrary pattern; depth below 8 has few levels. */
uint8_t picture_value(png_kind kind, int x, int y, int c)
{
    const int v = 37 * x + 91 * y + (png_kind_colour(kind) ? 53 * c : 0) + 11;

    switch (kind) {
    case PNG_GREY1: return (uint8_t)(v & 1 ? 255 : 0);
    case PNG_GREY2: return (uint8_t)(85 * (v & 3));
    default: return (uint8_t)v;
    }
}

static void put_bytes(png_structp png, png_bytep bytes, size_t size)
{
    picture *out = png_get_io_ptr(png);

    assert(out->size + size <= sizeof out->bytes);
    memcpy(out->bytes + out->size, bytes, size);
    out->size += size;
}

static void put_nothing(png_structp png)
{
}

/* One row as PNG stores it. */
static void make_row(png_kind kind, int width, int y, uint8_t *row)
{
    const int depth = kinds[kind].depth, channels = png_kind_colour(kind) ? 3 : 1;
    const bool alpha = kinds[kind].type & PNG_COLOR_MASK_ALPHA;

    memset(row, 0, (size_t)width * 8);
    for (int x = 0; x < width; x++) {
        if (kinds[kind].type == PNG_COLOR_TYPE_PALETTE) {
            row[x] = (uint8_t)(37 * x + 91 * y + 11); /* the palette does the rest */
        } else if (depth < 8) {
            const int level = picture_value(kind, x, y, 0) >> (8 - depth);

            row[x * depth / 8] |= (uint8_t)(level << (8 - depth - x * depth % 8));
        } else {
            for (int c = 0; c < channels; c++) {
                const uint8_t v = picture_value(kind, x, y, c);

                *row++ = v;
                if (depth == 16)
                    *row++ = v; /* v * 257 */
            }
            if (alpha)
                *row++ = (uint8_t)(x * 50);
        }
    }
}

void picture_png(picture *out, png_kind kind, int width, int height, bool interlaced)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_color palette[256];
    uint8_t clear[256], row[8 * 1024];

    assert(width <= 1024);
    out->size = 0;
    png_set_write_fn(png, out, put_bytes, put_nothing);
    png_set_IHDR(png, info, (unsigned)width, (unsigned)height, kinds[kind].depth, kinds[kind].type,
                 interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE,
                 PNG_FILTER_TYPE_BASE);
    for (int i = 0; i < 256; i++) {
        palette[i] = (png_color){(uint8_t)i, (uint8_t)(i + 53), (uint8_t)(i + 106)};
        clear[i] = (uint8_t)(255 - i);
    }
    if (kinds[kind].type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, palette, 256);
    if (kind == PNG_PALETTE_CLEAR)
        png_set_tRNS(png, info, clear, 256, NULL);
    png_write_info(png, info);
    const int passes = interlaced ? png_set_interlace_handling(png) : 1;
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < height; y++) {
            make_row(kind, width, y, row);
            png_write_row(png, row);
        }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
}

void picture_jpeg(picture *out, const uint8_t *colour, int inks, int width, int height,
                  bool progressive)
{
    static const J_COLOR_SPACE spaces[] = {0, JCS_GRAYSCALE, 0, JCS_RGB, JCS_CMYK};
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    uint8_t row[4 * 1024];

    assert(width <= 1024);
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, &size);
    jpeg.image_width = (unsigned)width;
    jpeg.image_height = (unsigned)height;
    jpeg.input_components = inks;
    jpeg.in_color_space = spaces[inks];
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    if (progressive)
        jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int x = 0; x < width * inks; x++)
        row[x] = colour[x % inks];
    for (int y = 0; y < height; y++)
        jpeg_write_scanlines(&jpeg, (JSAMPROW[]){row}, 1);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    assert(size <= sizeof out->bytes);
    memcpy(out->bytes, bytes, size);
    out->size = size;
    free(bytes);
}

void picture_save(const picture *p, const char *path)
{
    char folder[512];
    FILE *file;

    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strchr(folder + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(folder, 0777);
        *slash = '/';
    }
    file = fopen(path, "w");
    assert(file != NULL);
    const size_t written = fwrite(p->bytes, 1, p->size, file);
    assert(written == p->size);
    (void)written;
    fclose(file);
}
