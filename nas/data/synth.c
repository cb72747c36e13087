/* The generated task: shapes (the global cue) filled with textures (the local one). */
#include "nas/data/synth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "nas/data/pack.h"

enum { SHAPES = 5, TEXTURES = 4, CLASSES_MAX = SHAPES * TEXTURES, CLUTTER = 2, NAME_SIZE = 32 };
static const double two_pi = 6.283185307179586;
static const double noise = 0.05; /* standard deviation, of full scale */

/* ---- shapes: signed distance to the edge (below 0: inside) of a shape of size 1 ---- */

static double disc(double x, double y)
{
    return hypot(x, y) - 0.9;
}

static double square(double x, double y)
{
    return fmax(fabs(x), fabs(y)) - 0.8;
}

static double triangle(double x, double y)
{
    const double half = 0.8660254037844386; /* sin 60 degrees */

    return fmax(-y, half * fabs(x) + y / 2) - 0.55;
}

static double ring(double x, double y)
{
    return fabs(hypot(x, y) - 0.68) - 0.3;
}

static double cross(double x, double y)
{
    x = fabs(x);
    y = fabs(y);
    return fmin(fmax(x - 1, y - 0.4), fmax(x - 0.4, y - 1));
}

/* ---- textures: -1..1 at a place in pixels ---- */

static double fine(double x, double y)
{
    return sin(two_pi * x / 2.8);
}

static double coarse(double x, double y)
{
    return sin(two_pi * x / 4.6);
}

static double checks(double x, double y)
{
    return sin(two_pi * x / 4) * sin(two_pi * y / 4);
}

static double waves(double x, double y)
{
    return sin(two_pi * (x / 3.6 + 0.3 * sin(two_pi * y / 7)));
}

typedef struct pattern {
    const char *name;
    double (*at)(double x, double y);
} pattern;

static const pattern shapes[SHAPES] = {
    {"disc", disc}, {"square", square}, {"triangle", triangle}, {"ring", ring}, {"cross", cross},
};
static const pattern textures[TEXTURES] = {
    {"fine", fine}, {"coarse", coarse}, {"checks", checks}, {"waves", waves},
};

/* Neighbouring classes differ in texture alone, every second in shape; beyond ten the
 * shapes come again in the other two textures. */
static const pattern *shape_of(uint32_t label)
{
    return &shapes[label / 2 % SHAPES];
}

static const pattern *texture_of(uint32_t label)
{
    return &textures[label % 2 + 2 * (label / (2 * SHAPES))];
}

/* ---- drawing ---- */

/* One textured figure: where, how large, how turned, in which two colours. */
typedef struct figure {
    const pattern *shape, *texture;
    double x, y, size;        /* pixels */
    double turn[2], grain[2]; /* cosine and sine of how shape and texture are turned */
    double phase_x, phase_y;  /* pixels */
    double colour[2][3];      /* 0..1: where the texture is -1 and 1 */
} figure;

static double between(nas_rng *rng, double low, double high)
{
    return low + (high - low) * nas_rng_uniform(rng);
}

/* Two colours that are far enough apart for the texture to be seen. */
static void draw_colours(nas_rng *rng, double colour[2][3])
{
    for (int c = 0; c < 3; c++) {
        const double middle = between(rng, 0.3, 0.7), swing = between(rng, 0.12, 0.3);
        const double sign = nas_rng_uniform(rng) < 0.5 ? -1 : 1;

        colour[0][c] = middle - sign * swing;
        colour[1][c] = middle + sign * swing;
    }
}

/* Turned by at most `most` radians to either side. */
static void draw_turn(nas_rng *rng, double most, double turn[2])
{
    const double angle = between(rng, -most, most);

    turn[0] = cos(angle);
    turn[1] = sin(angle);
}

static figure draw_figure(nas_rng *rng, const pattern *shape, const pattern *texture, double side,
                          double size)
{
    const double room = fmax(side / 2 - 0.9 * size, 0); /* the figure stays in the image */
    figure f = {.shape = shape, .texture = texture, .size = size};

    f.x = side / 2 + between(rng, -room, room);
    f.y = side / 2 + between(rng, -room, room);
    draw_turn(rng, 0.3, f.turn); /* upright enough for a square to be no diamond */
    draw_turn(rng, two_pi / 2, f.grain);
    f.phase_x = between(rng, 0, 16);
    f.phase_y = between(rng, 0, 16);
    draw_colours(rng, f.colour);
    return f;
}

/* Paints the figure over pixel (px, py), edges softened over one pixel. */
static void paint(const figure *f, double px, double py, double rgb[3])
{
    const double x = px - f->x, y = py - f->y;
    const double *turn = f->turn, *grain = f->grain;
    const double u = (turn[0] * x + turn[1] * y) / f->size;
    const double v = (turn[0] * y - turn[1] * x) / f->size;
    const double cover = fmin(fmax(0.5 - f->size * f->shape->at(u, v), 0), 1);

    if (cover == 0)
        return;
    const double t = f->texture->at(grain[0] * x + grain[1] * y + f->phase_x,
                                    grain[0] * y - grain[1] * x + f->phase_y);
    for (int c = 0; c < 3; c++) {
        const double own = f->colour[0][c] + (f->colour[1][c] - f->colour[0][c]) * (t + 1) / 2;

        rgb[c] += cover * (own - rgb[c]);
    }
}

/* A background that changes slowly, small figures of any shape and texture, and over
 * them the one that counts. */
static void draw(nas_rng *rng, uint32_t label, int side, uint8_t *pixels)
{
    figure figures[CLUTTER + 1];
    double ground[2][3];
    const double lean = between(rng, 0, two_pi), dx = cos(lean) / side, dy = sin(lean) / side;

    draw_colours(rng, ground);
    for (int k = 0; k < CLUTTER; k++) {
        const pattern *shape = &shapes[nas_rng_below(rng, SHAPES)];
        const pattern *texture = &textures[nas_rng_below(rng, TEXTURES)];

        figures[k] =
            draw_figure(rng, shape, texture, 1.2 * side, side * between(rng, 0.10, 0.16));
        figures[k].x -= 0.1 * side;
        figures[k].y -= 0.1 * side;
    }
    figures[CLUTTER] = draw_figure(rng, shape_of(label), texture_of(label), side,
                                   side * between(rng, 0.36, 0.46));
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            const double t = 0.5 + dx * (x - side / 2) + dy * (y - side / 2);
            double rgb[3];

            for (int c = 0; c < 3; c++)
                rgb[c] = ground[0][c] + (ground[1][c] - ground[0][c]) * t;
            for (int k = 0; k <= CLUTTER; k++)
                paint(&figures[k], x + 0.5, y + 0.5, rgb);
            for (int c = 0; c < 3; c++) {
                const double v = rgb[c] + noise * nas_rng_normal(rng);

                *pixels++ = (uint8_t)(255 * fmin(fmax(v, 0), 1) + 0.5);
            }
        }
}

static nas_status fetch(const nas_data__source *source, uint32_t i, nas_data__item *item,
                        nas_err *err)
{
    const uint64_t *seed = source->user;
    const nas_status status =
        nas_image_reserve(&item->image, source->height, source->width, 3, err);
    nas_rng rng;

    if (status != NAS_OK)
        return status;
    nas_rng_init(&rng, *seed, "data.synth", i);
    draw(&rng, source->labels[i], source->height, item->image.pixels);
    return NAS_OK;
}

static nas_status check(const nas_synth_options *o, nas_err *err)
{
    if (o->size < 16 || o->size > 256)
        return nas_fail(err, NAS_E_CONFIG, "image size %d is not in 16..256 pixels", o->size);
    if (o->classes < 2 || o->classes > CLASSES_MAX)
        return nas_fail(err, NAS_E_CONFIG, "%d classes; from 2 to %d can be drawn", o->classes,
                        CLASSES_MAX);
    if (o->train < (uint32_t)o->classes || o->test < (uint32_t)o->classes ||
        o->train > 10000000 || o->test > 10000000)
        return nas_fail(err, NAS_E_CONFIG,
                        "%u train and %u test images; each from the number of classes to 10000000",
                        o->train, o->test);
    return NAS_OK;
}

nas_status nas_data_synth(const char *out, const nas_synth_options *options, nas_err *err)
{
    nas_synth_options o = options != NULL ? *options : (nas_synth_options){0};
    char text[CLASSES_MAX][NAME_SIZE];
    const char *names[CLASSES_MAX];
    nas_status status;

    o.size = o.size != 0 ? o.size : 24;
    o.classes = o.classes != 0 ? o.classes : 10;
    o.train = o.train != 0 ? o.train : 4000;
    o.test = o.test != 0 ? o.test : 1000;
    if ((status = check(&o, err)))
        return status;

    const uint32_t images = o.train + o.test, classes = (uint32_t)o.classes;
    uint32_t *labels = malloc(images * sizeof *labels), kept, skipped;
    if (labels == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for %u labels", out, images);
    for (uint32_t i = 0; i < images; i++)
        labels[i] = (i < o.train ? i : i - o.train) % classes;
    for (uint32_t c = 0; c < classes; c++) {
        snprintf(text[c], NAME_SIZE, "%s-%s", shape_of(c)->name, texture_of(c)->name);
        names[c] = text[c];
    }
    const nas_data__source source = {
        .path = out, .classes = o.classes, .class_names = names, .splits = 2,
        .split_names = {"train", "test"}, .split_counts = {o.train, o.test}, .images = images,
        .labels = labels, .height = o.size, .width = o.size, .channels = 3, .fetch = fetch,
        .user = &o.seed,
    };
    const nas_import_options packing = {.threads = o.threads, .progress = o.progress,
                                        .progress_user = o.progress_user};
    status = nas_data__pack(&source, out, &packing, &kept, &skipped, err);
    free(labels);
    return status;
}
