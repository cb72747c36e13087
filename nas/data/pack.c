/* The writer of packed files: blocks of images are decoded by all threads and written
 * in order, so that the file does not depend on the number of threads. */
#include "nas/data/pack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/system.h"
#include "nas/data/format.h"

enum {
    BLOCK_BYTES = 64 << 20, /* of decoded images in memory at a time, about */
    BLOCK_MAX = 512,
    BLOCK_FILES = 64 /* images in a block when they stay files */
};

typedef struct sums {
    uint64_t value[NAS_DATA_CHANNELS_MAX], square[NAS_DATA_CHANNELS_MAX], pixels;
} sums;

/* One image of a block. */
typedef struct slot {
    nas_data__item item;
    nas_image sized; /* after resizing; memory kept from block to block */
    sums sums;
    nas_status status;
    nas_err err;
} slot;

typedef struct pack {
    const nas_data__source *source;
    const nas_import_options *options;
    bool encoded;
    int threads;
    uint32_t block, kept, skipped;
    slot *slots;     /* [block] */
    uint32_t *labels; /* [images]; the first `kept` are written */
    uint64_t *index;  /* [images + 1]; encoded only */
    uint32_t split_kept[NAS_DATA_SPLITS_MAX];
    uint64_t record_bytes;
    sums train;
    nas_writer *writer;
    nas_hash *digest;
} pack;

static void sum_pixels(const nas_image *image, sums *out)
{
    const size_t pixels = (size_t)image->height * (size_t)image->width;
    const int channels = image->channels;

    *out = (sums){.pixels = pixels};
    for (int c = 0; c < channels; c++)
        for (size_t i = 0; i < pixels; i++) {
            const uint32_t v = image->pixels[i * (size_t)channels + (size_t)c];

            out->value[c] += v;
            out->square[c] += (uint64_t)v * v;
        }
}

static void add_sums(sums *into, const sums *more)
{
    into->pixels += more->pixels;
    for (int c = 0; c < NAS_DATA_CHANNELS_MAX; c++) {
        into->value[c] += more->value[c];
        into->square[c] += more->square[c];
    }
}

static nas_status resize(slot *s, int size, nas_err *err)
{
    const nas_image *in = &s->item.image;
    const nas_box box = nas_box_centre(in->height, in->width, size, size, 1);
    float *scratch = malloc(nas_resample_scratch(in, &box, size, size) * sizeof *scratch);
    nas_status status = NAS_OK;

    if (scratch == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory to resize an image");
    status = nas_image_reserve(&s->sized, size, size, in->channels, err);
    if (status == NAS_OK)
        nas_image_resample(in, &box, scratch, &s->sized);
    free(scratch);
    return status;
}

/* Fetches image `i` into its slot: what the threads do. */
static void prepare(const pack *p, uint32_t i, slot *s)
{
    const nas_data__source *from = p->source;
    const nas_image *image = &s->item.image;
    const int size = p->options->size;

    s->status = from->fetch(from, i, &s->item, &s->err);
    if (s->status == NAS_OK && from->height > 0 &&
        (image->height != from->height || image->width != from->width))
        s->status = nas_fail(&s->err, NAS_E_DATA, "%s: image %u changed while it was read",
                             from->path, i);
    if (s->status == NAS_OK && size > 0)
        s->status = resize(s, size, &s->err);
    if (s->status == NAS_OK)
        sum_pixels(size > 0 ? &s->sized : image, &s->sums);
    if (p->encoded || size > 0)
        nas_image_fini(&s->item.image); /* may be large, and only the bytes are kept */
    if (!p->encoded) {
        free(s->item.bytes);
        s->item.bytes = NULL;
    }
}

static void put(pack *p, const void *bytes, size_t size)
{
    nas_writer_put(p->writer, bytes, size);
    nas_hash_add(p->digest, bytes, size);
}

static int split_of(const nas_data__source *source, uint32_t i)
{
    int split = 0;

    while (i >= source->split_counts[split])
        i -= source->split_counts[split++];
    return split;
}

/* Writes one prepared image, or leaves it out. */
static nas_status keep(pack *p, uint32_t i, slot *s, nas_err *err)
{
    const int split = split_of(p->source, i);
    const nas_image *image = p->options->size > 0 ? &s->sized : &s->item.image;

    if (s->status != NAS_OK) {
        if (!p->options->skip_bad || (s->status != NAS_E_DATA && s->status != NAS_E_IO)) {
            if (err != NULL)
                *err = s->err;
            return s->status;
        }
        nas_log(NAS_LOG_WARN, "left out: %s", s->err.message);
        p->skipped++;
        return NAS_OK;
    }
    const void *bytes = p->encoded ? (const void *)s->item.bytes : image->pixels;
    const size_t size = p->encoded ? s->item.size
                                   : (size_t)image->height * (size_t)image->width *
                                         (size_t)image->channels;
    put(p, bytes, size);
    p->record_bytes += size;
    p->labels[p->kept++] = p->source->labels[i];
    if (p->encoded)
        p->index[p->kept] = p->record_bytes;
    p->split_kept[split]++;
    if (split == 0)
        add_sums(&p->train, &s->sums);
    return NAS_OK;
}

static nas_status write_records(pack *p, nas_err *err)
{
    const uint32_t images = p->source->images;
    const nas_import_options *o = p->options;
    nas_status status = NAS_OK;

    for (uint32_t first = 0; first < images && status == NAS_OK; first += p->block) {
        const int n = (int)(images - first < p->block ? images - first : p->block);

#pragma omp parallel for schedule(dynamic) num_threads(p->threads)
        for (int k = 0; k < n; k++)
            prepare(p, first + (uint32_t)k, &p->slots[k]);
        for (int k = 0; k < n; k++) {
            if (status == NAS_OK)
                status = keep(p, first + (uint32_t)k, &p->slots[k], err);
            free(p->slots[k].item.bytes);
            p->slots[k].item.bytes = NULL;
        }
        if (status == NAS_OK && o->progress != NULL &&
            !o->progress(o->progress_user, first + (uint32_t)n, images))
            status = nas_fail(err, NAS_E_INTERRUPTED, "%s: stopped; nothing was written",
                              p->source->path);
    }
    return status;
}

/* What is left must still be a data set that can be trained and judged on. */
static nas_status check_kept(const pack *p, nas_err *err)
{
    const nas_data__source *s = p->source;
    nas_status status = NAS_OK;
    bool *seen = calloc((size_t)s->classes, sizeof *seen);

    if (seen == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for its classes", s->path);
    for (int i = 0; i < s->splits && status == NAS_OK; i++)
        if (p->split_kept[i] == 0)
            status = nas_fail(err, NAS_E_DATA, "%s: no image left for the %s split", s->path,
                              s->split_names[i]);
    for (uint32_t i = 0; i < p->split_kept[0]; i++)
        seen[p->labels[i]] = true;
    for (int c = 0; c < s->classes && status == NAS_OK; c++)
        if (!seen[c])
            status = nas_fail(err, NAS_E_DATA, "%s: class %s has no image to train on", s->path,
                              s->class_names[c]);
    free(seen);
    return status;
}

/* Tables are built in memory, since the checksum needs them after the digest. */
static nas_status make_tables(const pack *p, char **out, size_t *size, size_t *name_bytes,
                              nas_err *err)
{
    const nas_data__source *s = p->source;
    const size_t index = p->encoded ? ((size_t)p->kept + 1) * sizeof *p->index : 0;
    const size_t labels = (size_t)p->kept * sizeof *p->labels;
    size_t names = 0;

    for (int c = 0; c < s->classes; c++)
        names += strlen(s->class_names[c]) + 1;
    for (int i = 0; i < s->splits; i++)
        names += strlen(s->split_names[i]) + 1;
    *name_bytes = names;
    *size = (size_t)s->splits * sizeof(nas_data__range) + index + labels + names;

    char *next = *out = malloc(*size);
    if (next == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for the tables", s->path);
    uint64_t first = 0;
    for (int i = 0; i < s->splits; i++) {
        const nas_data__range range = {first, p->split_kept[i]};

        next = (char *)mempcpy(next, &range, sizeof range);
        first += range.count;
    }
    if (index > 0)
        next = (char *)mempcpy(next, p->index, index);
    next = (char *)mempcpy(next, p->labels, labels);
    for (int c = 0; c < s->classes; c++)
        next = stpcpy(next, s->class_names[c]) + 1;
    for (int i = 0; i < s->splits; i++)
        next = stpcpy(next, s->split_names[i]) + 1;
    return NAS_OK;
}

static void set_statistics(nas_data__header *h, const sums *train)
{
    const double count = (double)train->pixels;

    for (uint32_t c = 0; c < h->channels; c++) {
        const double mean = (double)train->value[c] / count;
        const double variance = (double)train->square[c] / count - mean * mean;

        h->mean[c] = mean / 255;
        h->std[c] = sqrt(fmax(variance, 1)) / 255; /* a flat channel must not divide by 0 */
    }
}

static nas_status write_tables(pack *p, nas_err *err)
{
    static const char zero[8];
    const nas_data__source *s = p->source;
    const int size = p->options->size;
    nas_data__header h = {
        .magic = NAS_DATA_MAGIC,
        .version = NAS_DATA_VERSION,
        .encoding = p->encoded ? NAS_DATA_ENCODED : NAS_DATA_RAW,
        .classes = (uint32_t)s->classes,
        .splits = (uint32_t)s->splits,
        .height = (uint32_t)(size > 0 ? size : s->height),
        .width = (uint32_t)(size > 0 ? size : s->width),
        .channels = (uint32_t)s->channels,
        .images = p->kept,
        .record_bytes = p->record_bytes,
    };
    char hex[NAS_DIGEST_SIZE], *tables = NULL;
    size_t table_bytes, name_bytes;
    nas_hash *checksum = nas_hash_new();
    nas_status status;

    if (checksum == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "%s: no memory to hash", s->path);
        goto done;
    }
    if ((status = make_tables(p, &tables, &table_bytes, &name_bytes, err)))
        goto done;
    put(p, zero, (size_t)(nas_data__tables(p->record_bytes) - sizeof h - p->record_bytes));
    put(p, tables, table_bytes);
    h.name_bytes = name_bytes;
    h.file_bytes = nas_writer_offset(p->writer);
    set_statistics(&h, &p->train);

    nas_hash_add(p->digest, &h, NAS_DATA_DIGESTED);
    nas_hash_hex(p->digest, hex);
    memcpy(h.digest, hex, sizeof h.digest);
    nas_hash_add(checksum, &h, NAS_DATA_CHECKED);
    nas_hash_add(checksum, tables, table_bytes);
    nas_hash_hex(checksum, hex);
    memcpy(h.checksum, hex, sizeof h.checksum);
    nas_writer_put_at(p->writer, 0, &h, sizeof h);
done:
    nas_hash_free(checksum);
    free(tables);
    return status;
}

/* Images a block may hold: enough for all threads, not more than fits well in memory. */
static uint32_t block_size(const pack *p)
{
    const int size = p->options->size;

    if (p->encoded || size > 0)
        return BLOCK_FILES;
    const size_t record = (size_t)p->source->height * (size_t)p->source->width * 3;
    const size_t fit = BLOCK_BYTES / record;
    return fit > BLOCK_MAX ? BLOCK_MAX : fit > (size_t)p->threads ? (uint32_t)fit
                                                                  : (uint32_t)p->threads;
}

nas_status nas_data__source_check(const nas_data__source *s, nas_err *err)
{
    char shown[4 * NAS_DATA_NAME_MAX + 1];

    if (s->classes < 2 || s->classes > NAS_DATA_CLASSES_MAX)
        return nas_fail(err, NAS_E_DATA, "%s: %d class%s of images; from 2 to %d are needed",
                        s->path, s->classes, s->classes == 1 ? "" : "es", NAS_DATA_CLASSES_MAX);
    for (int c = 0; c < s->classes; c++) {
        nas_text_escape(s->class_names[c], shown, sizeof shown);
        if (*shown == '\0' || strlen(s->class_names[c]) > NAS_DATA_NAME_MAX ||
            strcmp(shown, s->class_names[c]) != 0) {
            nas_fail(err, NAS_E_DATA,
                     "%s: the class name \"%s\" is not UTF-8 text of 1 to %d bytes without control "
                     "characters", s->path, shown, NAS_DATA_NAME_MAX);
            nas_hint(err, "give its folder another name");
            return NAS_E_DATA;
        }
    }
    return NAS_OK;
}

static nas_status pack_init(pack *p, const char *out, nas_err *err)
{
    static const char empty[sizeof(nas_data__header)];
    const uint32_t images = p->source->images;
    nas_status status;

    if ((status = nas_writer_open(&p->writer, out, err)))
        return status;
    p->threads = p->options->threads > 0 ? p->options->threads : nas_system_cores();
    p->block = block_size(p);
    p->slots = calloc(p->block, sizeof *p->slots);
    p->labels = malloc((size_t)images * sizeof *p->labels);
    p->index = calloc((size_t)images + 1, sizeof *p->index);
    p->digest = nas_hash_new();
    if (!p->slots || !p->labels || !p->index || !p->digest)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for %u images", p->source->path, images);
    nas_writer_put(p->writer, empty, sizeof empty); /* not hashed: the header comes last */
    return NAS_OK;
}

static void pack_fini(pack *p)
{
    for (uint32_t k = 0; p->slots != NULL && k < p->block; k++) {
        nas_image_fini(&p->slots[k].item.image);
        nas_image_fini(&p->slots[k].sized);
    }
    free(p->slots);
    free(p->labels);
    free(p->index);
    nas_hash_free(p->digest);
    nas_writer_abort(p->writer);
}

nas_status nas_data__pack(const nas_data__source *source, const char *out,
                          const nas_import_options *options, uint32_t *kept, uint32_t *skipped,
                          nas_err *err)
{
    pack p = {.source = source, .options = options,
              .encoded = options->size == 0 && source->height == 0};
    nas_status status;

    if ((status = nas_data__source_check(source, err)) || (status = pack_init(&p, out, err)) ||
        (status = write_records(&p, err)) || (status = check_kept(&p, err)) ||
        (status = write_tables(&p, err)))
        goto done;
    *kept = p.kept;
    *skipped = p.skipped;
    nas_writer *writer = p.writer;
    p.writer = NULL;
    status = nas_writer_commit(writer, err);
done:
    pack_fini(&p);
    return status;
}
