/* Augmentation: every way ends in a window of 8-bit pixels that is copied, mirrored and
 * normalised in one pass; only colour jitter needs floats before. */
#include "nas/data/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

nas_status nas_augment_preset(nas_augment *out, const char *name, int size, nas_err *err)
{
    const struct {
        const char *name;
        nas_augment augment;
    } presets[] = {
        {"none", {.size = size}},
        {"cifar", {.size = size, .pad = size > 0 ? (size + 7) / 8 : 4, .flip = true}},
        {"imagenet",
         {.size = size, .flip = true, .random_resized_crop = true, .scale_min = 0.08,
          .scale_max = 1, .ratio_min = 3.0 / 4, .ratio_max = 4.0 / 3, .brightness = 0.4,
          .contrast = 0.4, .saturation = 0.4}},
    };

    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(name, presets[i].name) == 0) {
            *out = presets[i].augment;
            return NAS_OK;
        }
    nas_fail(err, NAS_E_CONFIG, "no augmentation is called \"%s\"", name);
    nas_hint(err, "there are none, cifar and imagenet");
    return NAS_E_CONFIG;
}

void nas_normal_init(nas_normal *normal, const float *mean, const float *std, int channels)
{
    *normal = (nas_normal){0};
    for (int c = 0; c < channels; c++) {
        for (int v = 0; v < 256; v++)
            normal->table[c][v] = (float)((v / 255.0 - mean[c]) / std[c]);
        normal->scale[c] = (float)(1 / (255.0 * std[c]));
        normal->shift[c] = (float)(-(double)mean[c] / std[c]);
    }
}

void nas_augment_scratch_fini(nas_augment_scratch *scratch)
{
    free(scratch->floats);
    nas_image_fini(&scratch->image);
    *scratch = (nas_augment_scratch){0};
}

/* ---- geometry ---- */

/* A box of random area and shape (Szegedy et al. 2015; torchvision's RandomResizedCrop). */
static nas_box random_box(const nas_augment *a, const nas_image *in, nas_rng *rng)
{
    enum { TRIES = 10 };
    const double area = (double)in->height * in->width;
    const double low = log(a->ratio_min), high = log(a->ratio_max);

    for (int i = 0; i < TRIES; i++) {
        const double share = a->scale_min + (a->scale_max - a->scale_min) * nas_rng_uniform(rng);
        const double ratio = exp(low + (high - low) * nas_rng_uniform(rng));
        const double width = rint(sqrt(area * share * ratio));
        const double height = rint(sqrt(area * share / ratio));

        if (width < 1 || height < 1 || width > in->width || height > in->height)
            continue;
        const double y = nas_rng_below(rng, (uint32_t)(in->height - height) + 1);
        const double x = nas_rng_below(rng, (uint32_t)(in->width - width) + 1);
        return (nas_box){x, y, width, height};
    }
    /* the whole image, or as much of it as the ratios allow */
    const double ratio = fmin(fmax((double)in->width / in->height, a->ratio_min), a->ratio_max);
    const double height = fmin(in->height, in->width / ratio), width = height * ratio;
    return (nas_box){(in->width - width) / 2, (in->height - height) / 2, width, height};
}

static nas_status resample(const nas_image *in, const nas_box *box, int height, int width,
                           nas_augment_scratch *scratch, nas_err *err)
{
    const size_t need = nas_resample_scratch(in, box, height, width);

    if (need > scratch->capacity) {
        free(scratch->floats);
        scratch->floats = malloc(need * sizeof *scratch->floats);
        scratch->capacity = scratch->floats != NULL ? need : 0;
        if (scratch->floats == NULL)
            return nas_fail(err, NAS_E_NOMEM, "no memory to resize an image");
    }
    const nas_status status =
        nas_image_reserve(&scratch->image, height, width, in->channels, err);
    if (status == NAS_OK)
        nas_image_resample(in, box, scratch->floats, &scratch->image);
    return status;
}

/* Evaluation: how much of the largest centred box the crop keeps. */
static double crop_zoom(const nas_augment *a, int height, int width)
{
    const int shorter = height < width ? height : width;

    return a->resize > shorter ? (double)shorter / a->resize : 1;
}

/* ---- pixels ---- */

/* Where the output lies in the image: row and column of its corner, mirrored or not. */
typedef struct window {
    int y, x;
    bool mirror;
} window;

/* x[i][j] = table[pixel of the window]; black outside of the image. */
static void read_window(const nas_image *in, const window *w, const float table[3][256],
                        float *x)
{
    const int height = in->height, width = in->width, channels = in->channels;
    const int left = w->x < 0 ? -w->x : 0, right = w->x > 0 ? width - w->x : width;
    const int step = w->mirror ? -channels : channels;

    for (int i = 0; i < height; i++, x += (size_t)width * (size_t)channels) {
        const int row = i + w->y;
        const bool inside = row >= 0 && row < height;
        float *to = x + (w->mirror ? (size_t)(width - 1) * (size_t)channels : 0);

        for (int j = 0; j < width; j++, to += step) {
            static const uint8_t black[3];
            const bool seen = inside && j >= left && j < right;
            const uint8_t *from =
                seen ? in->pixels + ((size_t)row * (size_t)width + (size_t)(j + w->x)) *
                                        (size_t)channels
                     : black;

            for (int c = 0; c < channels; c++)
                to[c] = table[c][from[c]];
        }
    }
}

/* Values as they are, for read_window ahead of jitter. */
static void plain_table(float table[3][256])
{
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++)
            table[c][v] = (float)v;
}

static bool has_jitter(const nas_augment *a)
{
    return a->brightness > 0 || a->contrast > 0 || a->saturation > 0 || a->hue > 0;
}

/* DeVries & Taylor 2017: a square whose centre is anywhere, cut at the image's edge. */
static void cut_out(int side, int height, int width, int channels, nas_rng *rng, float *x)
{
    const int top = (int)nas_rng_below(rng, (uint32_t)height) - side / 2;
    const int left = (int)nas_rng_below(rng, (uint32_t)width) - side / 2;
    const int first = left > 0 ? left : 0, end = left + side < width ? left + side : width;

    for (int i = top > 0 ? top : 0; i < top + side && i < height; i++)
        if (end > first)
            memset(x + ((size_t)i * (size_t)width + (size_t)first) * (size_t)channels, 0,
                   (size_t)(end - first) * (size_t)channels * sizeof *x);
}

static void read_with_jitter(const nas_augment *a, const nas_normal *normal, const nas_image *in,
                             const window *w, nas_rng *rng, float *x)
{
    const int pixels = in->height * in->width, channels = in->channels;
    float table[3][256];

    plain_table(table);
    read_window(in, w, table, x);
    nas_augment_jitter(a, rng, x, pixels, channels);
    for (int i = 0; i < pixels; i++)
        for (int c = 0; c < channels; c++, x++)
            *x = *x * normal->scale[c] + normal->shift[c];
}

nas_status nas_augment_apply(const nas_augment *augment, const nas_normal *normal,
                             const nas_image *in, int height, int width, nas_rng *rng,
                             nas_augment_scratch *scratch, float *x, nas_err *err)
{
    const double zoom = crop_zoom(augment, height, width);
    window w = {0};

    if (augment->random_resized_crop || zoom < 1 || in->height != height || in->width != width) {
        const nas_box box = augment->random_resized_crop
                                ? random_box(augment, in, rng)
                                : nas_box_centre(in->height, in->width, height, width, zoom);
        const nas_status status = resample(in, &box, height, width, scratch, err);

        if (status != NAS_OK)
            return status;
        in = &scratch->image;
    }
    if (augment->pad > 0) {
        const uint32_t places = 2 * (uint32_t)augment->pad + 1;

        w.y = (int)nas_rng_below(rng, places) - augment->pad;
        w.x = (int)nas_rng_below(rng, places) - augment->pad;
    }
    w.mirror = augment->flip && nas_rng_uniform(rng) < 0.5;
    if (has_jitter(augment))
        read_with_jitter(augment, normal, in, &w, rng, x);
    else
        read_window(in, &w, normal->table, x);
    if (augment->cutout > 0)
        cut_out(augment->cutout, height, width, in->channels, rng, x);
    return NAS_OK;
}
