/* Pictures for tests, written with libpng and libjpeg, into memory or files. */
#ifndef NAS_TESTS_NAS_DATA_PICTURES_H
#define NAS_TESTS_NAS_DATA_PICTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PICTURE_MAX = 1 << 20 };

typedef struct picture {
    uint8_t bytes[PICTURE_MAX];
    size_t size;
} picture;

typedef enum png_kind {
    PNG_GREY1, PNG_GREY2, PNG_GREY8, PNG_GREY16, PNG_GREY_ALPHA, PNG_RGB8, PNG_RGB16, PNG_RGBA,
    PNG_PALETTE, PNG_PALETTE_CLEAR /* with transparent entries */, PNG_KINDS
} png_kind;

/* Whether this kind has colour. */
bool png_kind_colour(png_kind kind);
/* What pixel (x, y) of picture_png holds after decoding, channel c of 3 (grey: all equal). */
uint8_t picture_value(png_kind kind, int x, int y, int c);
void picture_png(picture *out, png_kind kind, int width, int height, bool interlaced);

/* One flat colour of `inks` components: 1 grey, 3 RGB, 4 CMYK as Adobe stores it. */
void picture_jpeg(picture *out, const uint8_t *colour, int inks, int width, int height,
                  bool progressive);

/* Writes bytes to a file, making the folders above it. */
void picture_save(const picture *p, const char *path);

#endif
