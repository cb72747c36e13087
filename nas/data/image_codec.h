/* What image.c and the decoders know of each other.  Private to nas/data. */
#ifndef NAS_DATA_IMAGE_CODEC_H
#define NAS_DATA_IMAGE_CODEC_H

#include <stdbool.h>

#include "nas/data/image.h"

/* As nas_image_decode; with `probe`, only sizes and channels are filled in. */
typedef nas_status nas_data__codec(nas_image *out, const void *bytes, size_t size, int channels,
                                   bool probe, nas_err *err);
nas_data__codec nas_data__jpeg_read, nas_data__png_read;

/* NAS_E_DATA if an image of this size is not taken: no pixel was decoded yet. */
nas_status nas_data__image_check(unsigned height, unsigned width, nas_err *err);

#endif
