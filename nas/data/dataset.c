/* Packed data sets: opening, and the checks that make later reads safe. */
#include "nas/data/dataset.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "nas/data/format.h"

/* Every complaint about a file's inside has this form and this advice. */
static nas_status damaged(const nas_dataset *data, nas_err *err, const char *what)
{
    const nas_status status =
        nas_fail(err, NAS_E_DATA, "%s: damaged data set: %s", data->path, what);

    nas_hint(err, "copy it again, or make it again with `nas data import` or `nas data synth`");
    return status;
}

static nas_status check_kind(const nas_dataset *data, const nas_data__header *h, nas_err *err)
{
    if (data->map.size < sizeof *h || memcmp(h->magic, NAS_DATA_MAGIC, sizeof h->magic) != 0) {
        nas_fail(err, NAS_E_DATA, "%s: not a packed data set", data->path);
        nas_hint(err, "make one from images with `nas data import SRC --out FILE.nasd`");
        return NAS_E_DATA;
    }
    if (h->version > NAS_DATA_VERSION)
        return nas_fail(err, NAS_E_DATA,
                        "%s: format version %u is newer than the %d that this program reads",
                        data->path, h->version, NAS_DATA_VERSION);
    return h->version == NAS_DATA_VERSION ? NAS_OK : damaged(data, err, "version 0");
}

static bool size_ok(const nas_data__header *h)
{
    if (h->height == 0 && h->width == 0)
        return h->encoding == NAS_DATA_ENCODED;
    return h->height >= 1 && h->height <= NAS_DATA_SIDE_MAX && h->width >= 1 &&
           h->width <= NAS_DATA_SIDE_MAX &&
           (uint64_t)h->height * h->width <= NAS_DATA_PIXELS_MAX;
}

static bool statistics_ok(const nas_data__header *h)
{
    for (uint32_t c = 0; c < h->channels; c++)
        if (!(h->mean[c] >= 0 && h->mean[c] <= 1 && h->std[c] >= 1e-3 && h->std[c] <= 1))
            return false; /* NaN fails too */
    return true;
}

/* The counts and sizes of the header against each other and the file. Returns what is
 * wrong, or NULL.  No sum here can overflow: every term is below 2^61. */
static const char *header_fault(const nas_data__header *h, uint64_t size)
{
    static const unsigned char zero[sizeof h->zero];
    const uint64_t record = (uint64_t)h->height * h->width * h->channels;

    if (h->file_bytes != size)
        return "its size is not what the header says (truncated?)";
    if (h->encoding > NAS_DATA_ENCODED || memcmp(h->zero, zero, sizeof zero) != 0)
        return "unknown encoding or flags";
    if (h->classes < 2 || h->classes > NAS_DATA_CLASSES_MAX)
        return "number of classes";
    if (h->splits < 2 || h->splits > NAS_DATA_SPLITS_MAX || h->images < 1)
        return "number of splits or images";
    if ((h->channels != 1 && h->channels != 3) || !size_ok(h))
        return "image size";
    if (!statistics_ok(h))
        return "mean or standard deviation";
    if (h->record_bytes > size || h->name_bytes > size)
        return "size of the images or names";
    if (h->encoding == NAS_DATA_RAW && h->record_bytes != h->images * record)
        return "size of the images";

    uint64_t end = nas_data__tables(h->record_bytes) + h->splits * sizeof(nas_data__range) +
                   (uint64_t)h->images * sizeof(uint32_t) + h->name_bytes;
    if (h->encoding == NAS_DATA_ENCODED)
        end += ((uint64_t)h->images + 1) * sizeof(uint64_t);
    return end == size ? NULL : "size of the tables";
}

static nas_status check_sum(const nas_dataset *data, const nas_data__header *h, nas_err *err)
{
    const uint64_t tables = nas_data__tables(h->record_bytes);
    char sum[NAS_DIGEST_SIZE];
    nas_hash *hash = nas_hash_new();

    if (hash == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory to check it", data->path);
    nas_hash_add(hash, h, NAS_DATA_CHECKED);
    nas_hash_add(hash, data->map.data + tables, data->map.size - tables);
    nas_hash_hex(hash, sum);
    nas_hash_free(hash);
    if (memcmp(sum, h->checksum, sizeof h->checksum) != 0)
        return damaged(data, err, "the checksum of header and tables does not match");
    return NAS_OK;
}

/* One zero-ended name of the text that ends at `end`; NULL if it is not a proper one. */
static const char *next_name(const char **text, const char *end)
{
    char shown[4 * NAS_DATA_NAME_MAX + 1];
    const char *name = *text;
    const char *stop = memchr(name, '\0', (size_t)(end - name));

    if (stop == NULL || stop == name || stop - name > NAS_DATA_NAME_MAX)
        return NULL;
    nas_text_escape(name, shown, sizeof shown);
    *text = stop + 1;
    return strcmp(shown, name) == 0 ? name : NULL;
}

static nas_status read_names(nas_dataset *data, const char *text, const char *end, nas_err *err)
{
    data->class_names = calloc((size_t)data->classes, sizeof *data->class_names);
    if (data->class_names == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for its class names", data->path);
    for (int i = 0; i < data->classes; i++)
        if ((data->class_names[i] = next_name(&text, end)) == NULL)
            return damaged(data, err, "a class name");
    for (int i = 0; i < data->splits; i++) {
        const char *name = next_name(&text, end);

        if (name == NULL || nas_dataset_split(data, name) != NULL)
            return damaged(data, err, "a split's name");
        data->split[i].name = name;
    }
    if (text != end)
        return damaged(data, err, "bytes after the last name");
    return nas_dataset_split(data, "train") ? NAS_OK : damaged(data, err, "no train split");
}

static nas_status read_splits(nas_dataset *data, const nas_data__range *range, nas_err *err)
{
    uint64_t next = 0;

    for (int i = 0; i < data->splits; i++) {
        if (range[i].first != next || range[i].count < 1 || range[i].count > data->images - next)
            return damaged(data, err, "the ranges of the splits");
        data->split[i].first = (uint32_t)range[i].first;
        data->split[i].count = (uint32_t)range[i].count;
        next += range[i].count;
    }
    return next == data->images ? NAS_OK : damaged(data, err, "the splits leave images out");
}

static nas_status check_index(const nas_dataset *data, uint64_t record_bytes, nas_err *err)
{
    if (data->index[0] != 0 || data->index[data->images] != record_bytes)
        return damaged(data, err, "the index of the images");
    for (uint32_t i = 0; i < data->images; i++)
        if (data->index[i] >= data->index[i + 1])
            return damaged(data, err, "the index of the images");
    return NAS_OK;
}

static nas_status check_labels(const nas_dataset *data, nas_err *err)
{
    for (uint32_t i = 0; i < data->images; i++)
        if (data->labels[i] >= (uint32_t)data->classes)
            return damaged(data, err, "a label without a class");
    return NAS_OK;
}

static nas_status read_tables(nas_dataset *data, const nas_data__header *h, nas_err *err)
{
    const unsigned char *next = data->map.data + nas_data__tables(h->record_bytes);
    const nas_data__range *ranges = (const void *)next;
    const char *end = (const char *)data->map.data + data->map.size;
    nas_status status;

    next += h->splits * sizeof *ranges;
    if (h->encoding == NAS_DATA_ENCODED) {
        data->index = (const void *)next;
        next += ((size_t)h->images + 1) * sizeof *data->index;
    }
    data->labels = (const void *)next;
    next += (size_t)h->images * sizeof *data->labels;

    if ((status = read_splits(data, ranges, err)) ||
        (status = read_names(data, (const char *)next, end, err)) ||
        (status = data->index ? check_index(data, h->record_bytes, err) : NAS_OK))
        return status;
    return check_labels(data, err);
}

static nas_status open_mapped(nas_dataset *data, nas_err *err)
{
    nas_data__header h = {0};
    const char *fault;
    nas_status status;

    memcpy(&h, data->map.data, data->map.size < sizeof h ? data->map.size : sizeof h);
    if ((status = check_kind(data, &h, err)))
        return status;
    if ((fault = header_fault(&h, data->map.size)) != NULL)
        return damaged(data, err, fault);
    if ((status = check_sum(data, &h, err)))
        return status;
    data->encoding = (nas_data_encoding)h.encoding;
    data->classes = (int)h.classes;
    data->height = (int)h.height;
    data->width = (int)h.width;
    data->channels = (int)h.channels;
    data->images = h.images;
    data->splits = (int)h.splits;
    for (int c = 0; c < data->channels; c++) {
        data->mean[c] = (float)h.mean[c];
        data->std[c] = (float)h.std[c];
    }
    memcpy(data->digest, h.digest, sizeof h.digest);
    data->records = data->map.data + sizeof h;
    return read_tables(data, &h, err);
}

nas_status nas_dataset_open(nas_dataset **out, const char *path, nas_err *err)
{
    nas_dataset *data = calloc(1, sizeof *data);
    nas_status status;

    *out = NULL;
    if (data == NULL || (data->path = strdup(path)) == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "%s: no memory to open it", path);
        goto done;
    }
    if ((status = nas_map_open(&data->map, path, err)) || (status = open_mapped(data, err))) {
        nas_path_hint(path, nas_path_is_dir(path)
                                ? "pack a folder of images first: nas data import DIR --out "
                                  "FILE.nasd"
                                : "nas data import DIR --out FILE.nasd makes one from images, nas "
                                  "data synth draws one", err);
        goto done;
    }
    *out = data;
    data = NULL;
done:
    nas_dataset_close(data);
    return status;
}

void nas_dataset_close(nas_dataset *data)
{
    if (data == NULL)
        return;
    nas_map_close(&data->map);
    free(data->class_names);
    free(data->path);
    free(data);
}

nas_status nas_dataset_verify(const nas_dataset *data, nas_err *err)
{
    char digest[NAS_DIGEST_SIZE];
    nas_hash *hash = nas_hash_new();

    if (hash == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory to verify it", data->path);
    nas_hash_add(hash, data->records, data->map.size - sizeof(nas_data__header));
    nas_hash_add(hash, data->map.data, NAS_DATA_DIGESTED);
    nas_hash_hex(hash, digest);
    nas_hash_free(hash);
    return strcmp(digest, data->digest) == 0 ? NAS_OK
                                             : damaged(data, err, "the digest does not match");
}

const nas_data_split *nas_dataset_split(const nas_dataset *data, const char *name)
{
    for (int i = 0; i < data->splits; i++)
        if (data->split[i].name != NULL && strcmp(data->split[i].name, name) == 0)
            return &data->split[i];
    return NULL;
}

const nas_data_split *nas_dataset_test_split(const nas_dataset *data)
{
    const nas_data_split *test = nas_dataset_split(data, "test");

    if (test == NULL)
        test = nas_dataset_split(data, "val");
    for (int i = 0; test == NULL; i++) /* there are two splits at least */
        if (strcmp(data->split[i].name, "train") != 0)
            test = &data->split[i];
    return test;
}

const unsigned char *nas_dataset_record(const nas_dataset *data, uint32_t i, size_t *size)
{
    if (data->index != NULL) {
        *size = (size_t)(data->index[i + 1] - data->index[i]);
        return data->records + data->index[i];
    }
    *size = (size_t)data->height * (size_t)data->width * (size_t)data->channels;
    return data->records + i * *size;
}
