/* Colour jitter: one change at a time, its amount recovered from one pixel and checked
 * on the others. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "nas/data/augment.h"

enum { DRAWS = 200 };
static const float colours[][3] = {
    {100, 60, 80}, {50, 120, 90}, {70, 90, 110}, {90, 90, 90}, {40, 50, 45},
};
enum { PIXELS = sizeof colours / sizeof *colours };
static float x[PIXELS][3];

static void jitter(const nas_augment *a, uint64_t index)
{
    nas_rng rng;

    memcpy(x, colours, sizeof x);
    nas_rng_init(&rng, 1, "test", index);
    nas_augment_jitter(a, &rng, &x[0][0], PIXELS, 3);
}

static double grey(const float *rgb)
{
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
}

/* All factors lie in the range, and come near both ends. */
static void check_range(double low, double high, double smallest, double largest)
{
    const double near = (high - low) / 20;

    cr_assert(smallest >= low - 1e-4 && largest <= high + 1e-4, "%g..%g", smallest, largest);
    cr_assert(smallest < low + near && largest > high - near, "%g..%g", smallest, largest);
}

Test(nas_data_jitter, brightness_is_one_factor_for_all)
{
    const nas_augment a = {.brightness = 0.4};
    double smallest = 9, largest = 0;

    for (int k = 0; k < DRAWS; k++) {
        jitter(&a, (uint64_t)k);
        const double factor = x[0][0] / colours[0][0];

        for (int i = 0; i < PIXELS * 3; i++)
            cr_assert_float_eq(x[i / 3][i % 3], factor * colours[i / 3][i % 3], 1e-3);
        smallest = fmin(smallest, factor);
        largest = fmax(largest, factor);
    }
    check_range(0.6, 1.4, smallest, largest);
}

Test(nas_data_jitter, contrast_keeps_the_mean_grey)
{
    const nas_augment a = {.contrast = 0.5};
    double mean = 0, smallest = 9, largest = 0;

    for (int i = 0; i < PIXELS; i++)
        mean += grey(colours[i]) / PIXELS;
    for (int k = 0; k < DRAWS; k++) {
        jitter(&a, (uint64_t)k);
        const double factor = (x[0][0] - mean) / (colours[0][0] - mean);

        for (int i = 0; i < PIXELS * 3; i++)
            cr_assert_float_eq(x[i / 3][i % 3], mean + factor * (colours[i / 3][i % 3] - mean),
                               1e-2);
        smallest = fmin(smallest, factor);
        largest = fmax(largest, factor);
    }
    check_range(0.5, 1.5, smallest, largest);
}

Test(nas_data_jitter, saturation_keeps_each_pixels_grey)
{
    const nas_augment a = {.saturation = 0.7};
    double smallest = 9, largest = 0;

    for (int k = 0; k < DRAWS; k++) {
        jitter(&a, (uint64_t)k);
        const double factor = (x[0][0] - x[0][1]) / (colours[0][0] - colours[0][1]);

        for (int i = 0; i < PIXELS; i++) {
            cr_assert_float_eq(grey(x[i]), grey(colours[i]), 1e-2);
            cr_assert_float_eq(x[i][0] - x[i][2], factor * (colours[i][0] - colours[i][2]), 1e-2);
        }
        smallest = fmin(smallest, factor);
        largest = fmax(largest, factor);
    }
    check_range(0.3, 1.7, smallest, largest);
}

static double highest(const float *rgb)
{
    return fmax(rgb[0], fmax(rgb[1], rgb[2]));
}

static double lowest(const float *rgb)
{
    return fmin(rgb[0], fmin(rgb[1], rgb[2]));
}

/* Hue as a share of the circle (Smith 1978). */
static double hue_of(const float *rgb)
{
    const double high = highest(rgb), chroma = high - lowest(rgb);

    if (high == rgb[0])
        return fmod((rgb[1] - rgb[2]) / chroma / 6 + 1, 1);
    return high == rgb[1] ? ((rgb[2] - rgb[0]) / chroma + 2) / 6
                          : ((rgb[0] - rgb[1]) / chroma + 4) / 6;
}

Test(nas_data_jitter, hue_turns_all_colours_by_the_same_angle)
{
    const nas_augment a = {.hue = 0.25};
    double smallest = 9, largest = -9;

    for (int k = 0; k < DRAWS; k++) {
        jitter(&a, (uint64_t)k);
        const double turn = remainder(hue_of(x[0]) - hue_of(colours[0]), 1);

        for (int i = 0; i < PIXELS; i++) {
            cr_assert_float_eq(highest(x[i]), highest(colours[i]), 1e-3); /* these two stay */
            cr_assert_float_eq(lowest(x[i]), lowest(colours[i]), 1e-3);
            if (i != 3) /* grey has no hue */
                cr_assert_float_eq(remainder(hue_of(x[i]) - hue_of(colours[i]) - turn, 1), 0, 1e-4);
        }
        smallest = fmin(smallest, turn);
        largest = fmax(largest, turn);
    }
    check_range(-0.25, 0.25, smallest, largest);
}

Test(nas_data_jitter, values_stay_within_0_and_255)
{
    const nas_augment a = {.brightness = 3, .contrast = 3, .saturation = 3, .hue = 0.5};
    int at_end = 0;

    for (int k = 0; k < DRAWS; k++) {
        jitter(&a, (uint64_t)k);
        for (int i = 0; i < PIXELS * 3; i++) {
            cr_assert(x[i / 3][i % 3] >= 0 && x[i / 3][i % 3] <= 255);
            at_end += x[i / 3][i % 3] == 0 || x[i / 3][i % 3] == 255;
        }
    }
    cr_assert_gt(at_end, DRAWS);
}

Test(nas_data_jitter, grey_images_change_in_brightness_and_contrast_alone)
{
    const nas_augment a = {.saturation = 3, .hue = 0.5};
    float one[] = {10, 20, 30};
    nas_rng rng;

    nas_rng_init(&rng, 1, "test", 0);
    nas_augment_jitter(&a, &rng, one, 3, 1);
    cr_assert(one[0] == 10 && one[1] == 20 && one[2] == 30);
}
