/* CIFAR-10 and CIFAR-100 binary files, and IDX files (MNIST), gzipped or not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/file.h"
#include "nas/data/image_codec.h"
#include "nas/data/import_sources.h"
#include "nas/data/pack.h"

/* A pipe may never have a writer, and nobody could stop the import then. */
static nas_status check_regular(const char *path, nas_err *err)
{
    return !nas_path_exists(path) || nas_path_is_regular(path)
               ? NAS_OK
               : nas_fail(err, NAS_E_DATA, "%s: is not a regular file", path);
}

enum {
    FILES_MAX = 6,
    NAMES_BYTES_MAX = 1 << 20,
    FILE_BYTES_MAX = 1 << 30, /* unpacked */
    CIFAR_SIDE = 32,
    CIFAR_PLANE = CIFAR_SIDE * CIFAR_SIDE
};

/* All files of one import, in memory; images are where `pixels` says. */
typedef struct binary {
    nas_data__source source;
    unsigned char *files[FILES_MAX];
    const unsigned char **pixels; /* [images] */
    uint32_t *labels;             /* [images] */
    char **names;                 /* [classes] */
    char *text;                   /* what the names point into */
} binary;

static void binary_fini(binary *b)
{
    for (int i = 0; i < FILES_MAX; i++)
        free(b->files[i]);
    free(b->pixels);
    free(b->labels);
    free(b->names);
    free(b->text);
}

/* Makes room for `more` images; the lists grow file by file. */
static nas_status grow(binary *b, uint32_t more, nas_err *err)
{
    const size_t images = (size_t)b->source.images + more;
    const unsigned char **pixels = realloc(b->pixels, images * sizeof *pixels);

    if (pixels != NULL)
        b->pixels = pixels;
    uint32_t *labels = realloc(b->labels, images * sizeof *labels);
    if (labels != NULL)
        b->labels = labels;
    if (pixels == NULL || labels == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for %zu images", b->source.path, images);
    return NAS_OK;
}

static void add_image(binary *b, int split, const unsigned char *pixels, uint32_t label)
{
    b->pixels[b->source.images] = pixels;
    b->labels[b->source.images++] = label;
    b->source.split_counts[split]++;
}

/* Numbered classes, when no file names them. */
static nas_status number_classes(binary *b, nas_err *err)
{
    enum { WIDTH = 6 }; /* "65535" */
    const size_t classes = (size_t)b->source.classes;

    b->names = malloc(classes * sizeof *b->names);
    b->text = malloc(classes * WIDTH);
    if (b->names == NULL || b->text == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for class names", b->source.path);
    for (size_t c = 0; c < classes; c++) {
        b->names[c] = b->text + c * WIDTH;
        snprintf(b->names[c], WIDTH, "%hu", (unsigned short)c);
    }
    return NAS_OK;
}

/* One name a line; a file with another number of names is not used. */
static nas_status read_names(binary *b, const char *file, nas_err *err)
{
    const int classes = b->source.classes;
    char *path = nas_path_join(b->source.path, file), *rest = NULL;
    size_t size;
    int n = 0;
    nas_status status = NAS_OK;

    b->names = calloc((size_t)classes, sizeof *b->names);
    if (path == NULL || b->names == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "%s: no memory for class names", b->source.path);
    else
        status = nas_file_read(path, NAMES_BYTES_MAX, &b->text, &size, err);
    if (status == NAS_OK) {
        for (char *name = strtok_r(b->text, "\r\n", &rest); name != NULL;
             name = strtok_r(NULL, "\r\n", &rest), n++)
            if (n < classes)
                b->names[n] = name;
        if (n != classes)
            status = nas_fail(err, NAS_E_DATA, "%s: %d names for %d classes", path, n, classes);
    }
    free(path);
    return status;
}

static nas_status pack_binary(binary *b, const char *out, const nas_import_options *options,
                              nas_import_report *report, nas_err *err)
{
    b->source.labels = b->labels;
    b->source.class_names = (const char *const *)b->names;
    b->source.splits = 2;
    b->source.split_names[0] = "train";
    b->source.split_names[1] = "test";
    b->source.user = b;
    return nas_data__pack(&b->source, out, options, &report->images, &report->skipped, err);
}

/* ---- CIFAR ---- */

/* Planes of red, green and blue become interleaved. */
static nas_status fetch_cifar(const nas_data__source *source, uint32_t i, nas_data__item *item,
                              nas_err *err)
{
    const binary *b = source->user;
    const unsigned char *planes = b->pixels[i];
    const nas_status status = nas_image_reserve(&item->image, CIFAR_SIDE, CIFAR_SIDE, 3, err);

    for (int p = 0; status == NAS_OK && p < CIFAR_PLANE; p++)
        for (int c = 0; c < 3; c++)
            item->image.pixels[3 * p + c] = planes[c * CIFAR_PLANE + p];
    return status;
}

typedef struct cifar {
    const char *train[FILES_MAX]; /* ends with NULL */
    const char *test, *names;
    int classes, label_bytes; /* the last label byte counts */
} cifar;

static nas_status read_cifar(binary *b, int slot, const cifar *kind, const char *file, int split,
                             nas_err *err)
{
    const size_t record = (size_t)kind->label_bytes + 3 * CIFAR_PLANE;
    char *path = nas_path_join(b->source.path, file), *bytes;
    size_t size;
    nas_status status;

    if (path == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory", b->source.path);
    if ((status = check_regular(path, err)) ||
        (status = nas_file_read(path, FILE_BYTES_MAX, &bytes, &size, err)))
        goto done;
    b->files[slot] = (unsigned char *)bytes;
    if (size == 0 || size % record != 0) {
        status = nas_fail(err, NAS_E_DATA, "%s: %zu bytes are no whole number of %zu-byte images",
                          path, size, record);
        nas_hint(err, "the file is truncated or of another kind: download it again");
        goto done;
    }
    if ((status = grow(b, (uint32_t)(size / record), err)))
        goto done;
    for (const unsigned char *next = b->files[slot], *end = next + size; next < end;
         next += record) {
        const uint32_t label = next[kind->label_bytes - 1];

        if (label >= (uint32_t)kind->classes) {
            status = nas_fail(err, NAS_E_DATA, "%s: image %zu has label %u; there are %d classes",
                              path, (size_t)(next - b->files[slot]) / record, label,
                              kind->classes);
            goto done;
        }
        add_image(b, split, next + kind->label_bytes, label);
    }
done:
    free(path);
    return status;
}

static nas_status import_cifar(const cifar *kind, const char *src, const char *out,
                               const nas_import_options *options, nas_import_report *report,
                               nas_err *err)
{
    binary b = {.source = {.path = src, .classes = kind->classes, .height = CIFAR_SIDE,
                           .width = CIFAR_SIDE, .channels = 3, .fetch = fetch_cifar}};
    nas_status status = NAS_OK;
    int slot = 0;

    for (; kind->train[slot] != NULL && status == NAS_OK; slot++)
        if (slot == 0 || nas_data__has(src, kind->train[slot])) /* fewer batches are fine */
            status = read_cifar(&b, slot, kind, kind->train[slot], 0, err);
    if (status == NAS_OK)
        status = read_cifar(&b, slot, kind, kind->test, 1, err);
    if (status == NAS_OK)
        status = nas_data__has(src, kind->names) ? read_names(&b, kind->names, err)
                                                 : number_classes(&b, err);
    if (status == NAS_OK)
        status = pack_binary(&b, out, options, report, err);
    binary_fini(&b);
    return status;
}

static const cifar cifar10 = {
    .train = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
              "data_batch_5.bin"},
    .test = "test_batch.bin", .names = "batches.meta.txt", .classes = 10, .label_bytes = 1,
};
static const cifar cifar100 = {
    .train = {"train.bin"}, .test = "test.bin", .names = "fine_label_names.txt", .classes = 100,
    .label_bytes = 2, /* coarse, fine */
};

static bool is_cifar10(const char *src)
{
    return nas_data__has(src, cifar10.train[0]);
}

static bool is_cifar100(const char *src)
{
    return nas_data__has(src, cifar100.train[0]) && nas_data__has(src, cifar100.test);
}

static nas_status import_cifar10(const char *src, const char *out,
                                 const nas_import_options *options, nas_import_report *report,
                                 nas_err *err)
{
    return import_cifar(&cifar10, src, out, options, report, err);
}

static nas_status import_cifar100(const char *src, const char *out,
                                  const nas_import_options *options, nas_import_report *report,
                                  nas_err *err)
{
    return import_cifar(&cifar100, src, out, options, report, err);
}

const nas_data__format nas_data__cifar10 = {"CIFAR-10 binary", is_cifar10, import_cifar10};
const nas_data__format nas_data__cifar100 = {"CIFAR-100 binary", is_cifar100, import_cifar100};

/* ---- IDX ---- */

typedef struct idx {
    const unsigned char *body;
    uint32_t dims[3];
} idx;

static const char *const idx_names[2][2] = {
    {"train-images%cidx3-ubyte%s", "train-labels%cidx1-ubyte%s"},
    {"t10k-images%cidx3-ubyte%s", "t10k-labels%cidx1-ubyte%s"},
};

/* The path under which the file is there, in any of its spellings; NULL if it is not. */
static char *find_idx(const char *src, const char *pattern)
{
    static const struct {
        char dash;
        const char *end;
    } spellings[] = {{'-', ""}, {'.', ""}, {'-', ".gz"}, {'.', ".gz"}};
    char name[64];

    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
        snprintf(name, sizeof name, pattern, spellings[i].dash, spellings[i].end);
        if (nas_data__has(src, name))
            return nas_path_join(src, name);
    }
    return NULL;
}

/* Reads exactly `size` bytes. */
static nas_status read_exactly(gzFile file, const char *path, void *out, size_t size, nas_err *err)
{
    const int got = gzread(file, out, (unsigned)size);

    if (got >= 0 && (size_t)got == size)
        return NAS_OK;
    nas_fail(err, NAS_E_DATA, "%s: %s", path,
             got < 0 ? "damaged gzip data" : "the file ends too early");
    nas_hint(err, "download it again");
    return NAS_E_DATA;
}

/* Reads a file of bytes with `dims` dimensions; *out is malloc'ed.  zlib reads plain
 * files as they are. */
static nas_status read_idx_file(const char *path, int dims, idx *shape, unsigned char **out,
                                nas_err *err)
{
    unsigned char head[16];
    uint64_t size = 1;
    nas_status status;
    if ((status = check_regular(path, err)) != NAS_OK)
        return status;
    gzFile file = gzopen(path, "rb");
    if (file == NULL)
        return nas_fail_errno(err, "%s: cannot open", path);
    if ((status = read_exactly(file, path, head, 4 + 4 * (size_t)dims, err)))
        goto done;
    if (head[0] != 0 || head[1] != 0 || head[2] != 0x08 || head[3] != dims) {
        status = nas_fail(err, NAS_E_DATA, "%s: not an IDX file of bytes in %d dimensions", path,
                          dims);
        goto done;
    }
    for (int d = 0; d < dims; d++) { /* big-endian */
        const unsigned char *at = head + 4 + 4 * d;

        shape->dims[d] =
            (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        size = size <= FILE_BYTES_MAX ? size * shape->dims[d] : size;
    }
    if (size < 1 || size > FILE_BYTES_MAX) {
        status = nas_fail(err, NAS_E_DATA, "%s: a size of %llu bytes; 1 to %d are read", path,
                          (unsigned long long)size, FILE_BYTES_MAX);
        goto done;
    }
    *out = malloc(size);
    if (*out == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "%s: no memory for %llu bytes", path,
                          (unsigned long long)size);
    else
        status = read_exactly(file, path, *out, size, err);
    shape->body = *out;
done:
    gzclose(file);
    return status;
}

static nas_status read_idx(binary *b, const char *pattern, int dims, int slot, idx *shape,
                           nas_err *err)
{
    char *path = find_idx(b->source.path, pattern);
    nas_status status;

    if (path == NULL) {
        char name[64];

        snprintf(name, sizeof name, pattern, '-', "");
        return nas_fail(err, NAS_E_DATA, "%s: there is no %s", b->source.path, name);
    }
    status = read_idx_file(path, dims, shape, &b->files[slot], err);
    free(path);
    return status;
}

static nas_status read_idx_split(binary *b, int split, nas_err *err)
{
    nas_data__source *s = &b->source;
    idx images, labels;
    nas_status status;

    if ((status = read_idx(b, idx_names[split][0], 3, 2 * split, &images, err)) ||
        (status = read_idx(b, idx_names[split][1], 1, 2 * split + 1, &labels, err)))
        return status;
    if (images.dims[0] != labels.dims[0])
        return nas_fail(err, NAS_E_DATA, "%s: %u %s images with %u labels", s->path,
                        images.dims[0], split ? "test" : "train", labels.dims[0]);
    if (split > 0 &&
        (images.dims[1] != (uint32_t)s->height || images.dims[2] != (uint32_t)s->width))
        return nas_fail(err, NAS_E_DATA, "%s: test images of %u x %u pixels; train: %d x %d",
                        s->path, images.dims[2], images.dims[1], s->width, s->height);
    if ((status = nas_data__image_check(images.dims[1], images.dims[2], err))) {
        nas_err_prefix(err, "%s", s->path);
        return status;
    }
    s->height = (int)images.dims[1];
    s->width = (int)images.dims[2];
    if ((status = grow(b, images.dims[0], err)))
        return status;
    for (uint32_t i = 0; i < images.dims[0]; i++) {
        const int label = labels.body[i];

        add_image(b, split, images.body + (size_t)i * images.dims[1] * images.dims[2],
                  (uint32_t)label);
        s->classes = label >= s->classes ? label + 1 : s->classes;
    }
    return NAS_OK;
}

static nas_status fetch_idx(const nas_data__source *source, uint32_t i, nas_data__item *item,
                            nas_err *err)
{
    const binary *b = source->user;

    item->image = (nas_image){source->height, source->width, 1, (uint8_t *)b->pixels[i], 0};
    return NAS_OK;
}

static bool is_idx(const char *src)
{
    char *path = find_idx(src, idx_names[0][0]);
    const bool found = path != NULL;

    free(path);
    return found;
}

static nas_status import_idx(const char *src, const char *out, const nas_import_options *options,
                             nas_import_report *report, nas_err *err)
{
    binary b = {.source = {.path = src, .channels = 1, .fetch = fetch_idx}};
    nas_status status;

    if ((status = read_idx_split(&b, 0, err)) == NAS_OK &&
        (status = read_idx_split(&b, 1, err)) == NAS_OK &&
        (status = number_classes(&b, err)) == NAS_OK)
        status = pack_binary(&b, out, options, report, err);
    binary_fini(&b);
    return status;
}

const nas_data__format nas_data__idx = {"IDX (MNIST)", is_idx, import_idx};
