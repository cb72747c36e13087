/* Colour jitter as torchvision's ColorJitter does it, on floats in 0..255. */
#include <math.h>

#include "nas/data/augment.h"

static float clamp(float v)
{
    return v < 0 ? 0 : v > 255 ? 255 : v;
}

/* ITU-R 601 luma, as PIL's conversion to grey */
static float grey(const float *rgb)
{
    return 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

static void brightness(float factor, float *x, int pixels, int channels)
{
    for (int i = 0; i < pixels * channels; i++)
        x[i] = clamp(factor * x[i]);
}

/* Away from or towards the mean grey of the image. */
static void contrast(float factor, float *x, int pixels, int channels)
{
    double sum = 0;

    for (int i = 0; i < pixels; i++)
        sum += channels == 3 ? grey(x + 3 * i) : x[i];
    const float mean = (float)(sum / pixels);
    for (int i = 0; i < pixels * channels; i++)
        x[i] = clamp(mean + factor * (x[i] - mean));
}

/* Away from or towards each pixel's own grey. */
static void saturation(float factor, float *x, int pixels, int channels)
{
    for (int i = 0; channels == 3 && i < pixels; i++, x += 3) {
        const float own = grey(x);

        for (int c = 0; c < 3; c++)
            x[c] = clamp(own + factor * (x[c] - own));
    }
}

/* Turns the hue by `turn` of the circle: to HSV, add, and back (Smith 1978). */
static void hue(float turn, float *x, int pixels, int channels)
{
    for (int i = 0; channels == 3 && i < pixels; i++, x += 3) {
        const float high = fmaxf(x[0], fmaxf(x[1], x[2])), low = fminf(x[0], fminf(x[1], x[2]));
        const float chroma = high - low;
        float h; /* in sixths of the circle */

        if (chroma <= 0)
            continue; /* grey has no hue */
        if (high == x[0])
            h = (x[1] - x[2]) / chroma;
        else if (high == x[1])
            h = 2 + (x[2] - x[0]) / chroma;
        else
            h = 4 + (x[0] - x[1]) / chroma;
        h += 6 * turn;
        for (int c = 0; c < 3; c++) {
            /* red, green and blue are the same trapezoid, two sixths apart */
            const float k = fmodf(5.0f - 2.0f * (float)c + h + 12.0f, 6.0f);

            x[c] = high - chroma * fmaxf(0, fminf(1, fminf(k, 4 - k)));
        }
    }
}

void nas_augment_jitter(const nas_augment *augment, nas_rng *rng, float *x, int pixels,
                        int channels)
{
    enum { CHANGES = 4 };
    const struct {
        void (*apply)(float amount, float *x, int pixels, int channels);
        double reach, centre;
    } changes[CHANGES] = {
        {brightness, augment->brightness, 1},
        {contrast, augment->contrast, 1},
        {saturation, augment->saturation, 1},
        {hue, augment->hue, 0},
    };
    uint32_t order[CHANGES] = {0, 1, 2, 3};

    nas_rng_shuffle(rng, order, CHANGES);
    for (int i = 0; i < CHANGES; i++) {
        const double reach = changes[order[i]].reach, centre = changes[order[i]].centre;
        /* a factor stays above 0; a turn goes both ways */
        const double low = centre > 0 ? fmax(centre - reach, 0) : -reach;
        const double amount = low + (centre + reach - low) * nas_rng_uniform(rng);

        if (reach > 0)
            changes[order[i]].apply((float)amount, x, pixels, channels);
    }
}
