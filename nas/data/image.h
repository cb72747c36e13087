/* Pictures in memory: decoding of JPEG and PNG, and antialiased resizing. */
#ifndef NAS_DATA_IMAGE_H
#define NAS_DATA_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/** 8-bit pixels, rows of interleaved channels: pixels[(y*width + x)*channels + c]. */
typedef struct nas_image {
    int height, width, channels; /* channels: 1 grey, 3 red-green-blue */
    uint8_t *pixels;
    size_t capacity; /* bytes that `pixels` owns; 0: borrowed */
} nas_image;

/** Makes room for height x width x channels; keeps memory that is large enough.
 * `image` was zeroed or reserved before.  NAS_E_NOMEM. */
nas_status nas_image_reserve(nas_image *image, int height, int width, int channels, nas_err *err);
void nas_image_fini(nas_image *image);

/** Reads only what a JPEG or PNG says of itself: sizes, and channels 1 or 3. */
nas_status nas_image_probe(nas_image *out, const void *bytes, size_t size, nas_err *err);

/** Decodes a JPEG (baseline, progressive, grey, YCbCr, RGB, CMYK, YCCK) or a PNG (any;
 * alpha is dropped, 16 bits are scaled to 8), told apart by content.
 * channels  1 or 3 (grey is repeated; colour to grey is an error), 0: as the file has it
 * out       reserved as needed; unspecified after an error
 * Errors    NAS_E_DATA for everything wrong with the bytes, damage that the libraries
 *           would paper over included; NAS_E_NOMEM.  Messages do not name the file:
 *           the caller knows it (nas_err_prefix). */
nas_status nas_image_decode(nas_image *out, const void *bytes, size_t size, int channels,
                            nas_err *err);

/** A rectangle in pixels of the image; may start and end between pixels. */
typedef struct nas_box {
    double x, y, width, height;
} nas_box;

/** The largest centred box of the shape (aspect) width:height, times `zoom` (0, 1]. */
nas_box nas_box_centre(int image_height, int image_width, int height, int width, double zoom);

/** Floats of scratch that nas_image_resample needs. */
size_t nas_resample_scratch(const nas_image *in, const nas_box *box, int height, int width);

/** Resizes `box` of `in` to fill `out`, which was reserved with the size wanted and the
 * channels of `in`.  Triangle filter that widens when it shrinks (antialiased bilinear),
 * rounded to whole values; pixels outside the box are not seen.
 * `scratch` holds nas_resample_scratch floats. */
void nas_image_resample(const nas_image *in, const nas_box *box, float *scratch, nas_image *out);

#endif
