/* What is done to an image between the file and the network.
 *
 * Order: geometry (random resized crop, or resize and centre crop, or pad and crop),
 * flip, colour jitter, normalisation, cutout. */
#ifndef NAS_DATA_AUGMENT_H
#define NAS_DATA_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "base/status.h"
#include "nas/data/image.h"

typedef struct nas_augment {
    int size;   /* pixels a side of what comes out; 0: the data's own height and width */
    int resize; /* evaluation: shorter side to `resize` pixels before the centre crop of `size`;
                   0: crop the largest centred square */
    int pad;    /* zero pixels on each side, then a random crop back; 0: off */
    bool flip;  /* mirror left-right with probability 1/2 */
    int cutout; /* side in pixels of a square set to the mean, centre anywhere; 0: off */
    bool random_resized_crop;     /* Szegedy et al. 2015; takes the place of resize and pad */
    double scale_min, scale_max;  /* share of the image's area: 0.08, 1 */
    double ratio_min, ratio_max;  /* width / height, log-uniform: 3/4, 4/3 */
    double brightness, contrast, saturation; /* factor in [max(0, 1-v), 1+v]; 0: off */
    double hue;                   /* turn in [-v, v], v <= 0.5 of the circle; 0: off */
} nas_augment;

/** Fills `*out` with a named preset: "none"; "cifar" (pad size/8, crop, flip);
 * "imagenet" (random resized crop, flip, jitter 0.4 without hue).  `size` as in
 * nas_augment.size (0: 32 is assumed for the padding).  NAS_E_CONFIG for another name. */
nas_status nas_augment_preset(nas_augment *out, const char *name, int size, nas_err *err);

/** Normalisation: table[c][v] = (v/255 - mean[c]) / std[c]. */
typedef struct nas_normal {
    float table[3][256];
    float scale[3], shift[3]; /* the same for pixels between whole values: v*scale + shift */
} nas_normal;
void nas_normal_init(nas_normal *normal, const float *mean, const float *std, int channels);

/** Working memory of one thread; grows, never shrinks. Zero-initialise. */
typedef struct nas_augment_scratch {
    float *floats;
    size_t capacity; /* floats */
    nas_image image; /* after resizing */
} nas_augment_scratch;
void nas_augment_scratch_fini(nas_augment_scratch *scratch);

/** One image into x, float32 [height][width][channels].
 * height, width  what comes out; an image of another size is resized
 * rng            the image's own stream
 * Errors         NAS_E_NOMEM */
nas_status nas_augment_apply(const nas_augment *augment, const nas_normal *normal,
                             const nas_image *in, int height, int width, nas_rng *rng,
                             nas_augment_scratch *scratch, float *x, nas_err *err);

/** Colour jitter in place on values in 0..255, x [pixels][channels]; the four changes in
 * random order (grey images: brightness and contrast only), each cut to 0..255. */
void nas_augment_jitter(const nas_augment *augment, nas_rng *rng, float *x, int pixels,
                        int channels);

#endif
