/* Pictures in memory: room, choice of the decoder, resizing. */
#include "nas/data/image.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nas/data/dataset.h"
#include "nas/data/image_codec.h"

nas_status nas_image_reserve(nas_image *image, int height, int width, int channels, nas_err *err)
{
    const size_t size = (size_t)height * (size_t)width * (size_t)channels;

    if (image->capacity < size) {
        uint8_t *pixels = malloc(size);

        if (pixels == NULL)
            return nas_fail(err, NAS_E_NOMEM, "no memory for an image of %d x %d pixels", width,
                            height);
        nas_image_fini(image);
        image->pixels = pixels;
        image->capacity = size;
    }
    image->height = height;
    image->width = width;
    image->channels = channels;
    return NAS_OK;
}

void nas_image_fini(nas_image *image)
{
    if (image->capacity > 0)
        free(image->pixels);
    *image = (nas_image){0};
}

nas_status nas_data__image_check(unsigned height, unsigned width, nas_err *err)
{
    if (height < 1 || width < 1 || height > NAS_DATA_SIDE_MAX || width > NAS_DATA_SIDE_MAX ||
        (uint64_t)height * width > NAS_DATA_PIXELS_MAX)
        return nas_fail(err, NAS_E_DATA,
                        "an image of %u x %u pixels; at most %d a side and %d in all are read",
                        width, height, NAS_DATA_SIDE_MAX, NAS_DATA_PIXELS_MAX);
    return NAS_OK;
}

static const struct {
    const char *start;
    size_t size;
    nas_data__codec *read;
} codecs[] = {
    {"\xff\xd8\xff", 3, nas_data__jpeg_read},
    {"\x89PNG\r\n\x1a\n", 8, nas_data__png_read},
};

static nas_status read_any(nas_image *out, const void *bytes, size_t size, int channels,
                           bool probe, nas_err *err)
{
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (size >= codecs[i].size && memcmp(bytes, codecs[i].start, codecs[i].size) == 0)
            return codecs[i].read(out, bytes, size, channels, probe, err);
    return nas_fail(err, NAS_E_DATA, size == 0 ? "the file is empty" : "not a JPEG or PNG image");
}

nas_status nas_image_probe(nas_image *out, const void *bytes, size_t size, nas_err *err)
{
    *out = (nas_image){0};
    return read_any(out, bytes, size, 0, true, err);
}

nas_status nas_image_decode(nas_image *out, const void *bytes, size_t size, int channels,
                            nas_err *err)
{
    return read_any(out, bytes, size, channels, false, err);
}

nas_box nas_box_centre(int image_height, int image_width, int height, int width, double zoom)
{
    const double scale =
        zoom * fmin((double)image_height / height, (double)image_width / width);
    const double box_height = scale * height, box_width = scale * width;

    return (nas_box){(image_width - box_width) / 2, (image_height - box_height) / 2, box_width,
                     box_height};
}

/* One axis of a resize: pixels [from, to) of the input become `n`. */
typedef struct axis {
    double start, scale, reach; /* input pixels: box edge, per output pixel, filter radius */
    int from, to, n;
    int taps; /* the most weights one output pixel has */
} axis;

static axis axis_of(double start, double length, int limit, int n)
{
    axis a = {.start = start, .scale = length / n, .n = n};
    /* 1e-6: a box that ends on a pixel's edge must not see the next one for rounding */
    const int from = (int)floor(start + 1e-6), to = (int)ceil(start + length - 1e-6);

    a.from = from < 0 ? 0 : from < limit ? from : limit - 1;
    a.to = to > limit ? limit : to > a.from ? to : a.from + 1;
    a.reach = fmax(a.scale, 1.0);
    a.taps = (int)ceil(2 * a.reach) + 2;
    return a;
}

/* Weights of output pixel `i`, summing to 1; returns the first input pixel. */
static int axis_weights(const axis *a, int i, float *weights, int *count)
{
    const double centre = a->start + (i + 0.5) * a->scale;
    int first = (int)floor(centre - a->reach), last = (int)ceil(centre + a->reach);
    double sum = 0;

    first = first < a->from ? a->from : first < a->to ? first : a->to - 1;
    last = last > a->to ? a->to : last > first ? last : first + 1;
    *count = last - first;
    assert(*count <= a->taps);
    for (int k = 0; k < *count; k++) {
        const double w = 1 - fabs(first + k + 0.5 - centre) / a->reach;

        weights[k] = w > 0 ? (float)w : 0;
        sum += weights[k];
    }
    for (int k = 0; k < *count; k++)
        weights[k] = sum > 0 ? (float)(weights[k] / sum) : 1.0f / (float)*count;
    return first;
}

size_t nas_resample_scratch(const nas_image *in, const nas_box *box, int height, int width)
{
    const axis x = axis_of(box->x, box->width, in->width, width);
    const axis y = axis_of(box->y, box->height, in->height, height);

    /* weights of all columns with their first pixel and count; of one row; one summed row */
    return (size_t)x.n * (size_t)(x.taps + 2) + (size_t)y.taps +
           (size_t)(x.to - x.from) * (size_t)in->channels;
}

/* One output row from the summed input row; `columns` as nas_image_resample filled it. */
static void shrink_row(const axis *x, const float *columns, const float *row, int channels,
                       uint8_t *out)
{
    for (int j = 0; j < x->n; j++, columns += x->taps + 2) {
        const int first = (int)columns[0], count = (int)columns[1];

        for (int c = 0; c < channels; c++) {
            float sum = 0;

            for (int k = 0; k < count; k++)
                sum += columns[2 + k] * row[(first - x->from + k) * channels + c];
            *out++ = (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum + 0.5f);
        }
    }
}

/* Rows are summed first, since that runs along memory; then each sum is shrunk. */
void nas_image_resample(const nas_image *in, const nas_box *box, float *scratch, nas_image *out)
{
    const axis x = axis_of(box->x, box->width, in->width, out->width);
    const axis y = axis_of(box->y, box->height, in->height, out->height);
    const int channels = in->channels, wide = (x.to - x.from) * channels;
    float *columns = scratch, *weights = columns + (size_t)x.n * (size_t)(x.taps + 2);
    float *row = weights + y.taps;

    assert(channels == out->channels);
    for (int j = 0; j < x.n; j++) {
        float *column = columns + (size_t)j * (size_t)(x.taps + 2);
        int count;

        column[0] = (float)axis_weights(&x, j, column + 2, &count); /* whole: below 2^16 */
        column[1] = (float)count;
    }
    for (int i = 0; i < y.n; i++) {
        int count;
        const int first = axis_weights(&y, i, weights, &count);

        memset(row, 0, (size_t)wide * sizeof *row);
        for (int k = 0; k < count; k++) {
            const uint8_t *line =
                in->pixels + ((size_t)(first + k) * (size_t)in->width + (size_t)x.from) * channels;

            for (int j = 0; j < wide; j++)
                row[j] += weights[k] * line[j];
        }
        shrink_row(&x, columns, row, channels,
                   out->pixels + (size_t)i * (size_t)out->width * (size_t)channels);
    }
}
