/* A packed data set: one mapped file of images, labels, names and splits.
 *
 * The layout is told in docs/reference/dataset.md.  Nothing is copied on
 * opening; images are read where they lie, by as many threads as like to. */
#ifndef NAS_DATA_DATASET_H
#define NAS_DATA_DATASET_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/status.h"

enum {
    NAS_DATA_CHANNELS_MAX = 3,
    NAS_DATA_CLASSES_MAX = 65536,
    NAS_DATA_NAME_MAX = 255,      /* bytes of a class or split name */
    NAS_DATA_SPLITS_MAX = 8,
    NAS_DATA_SIDE_MAX = 65535,    /* pixels */
    NAS_DATA_PIXELS_MAX = 1 << 26 /* of one image: 64 Mpixel */
};

typedef enum nas_data_encoding {
    NAS_DATA_RAW,    /* every image: height*width*channels bytes, rows of interleaved channels */
    NAS_DATA_ENCODED /* every image: a JPEG or PNG file as it was; sizes may differ */
} nas_data_encoding;

/** Images [first, first + count) of the data set. */
typedef struct nas_data_split {
    const char *name; /* "train", "test", "val" */
    uint32_t first, count;
} nas_data_split;

/** Read-only for everybody but dataset.c. */
typedef struct nas_dataset {
    nas_data_encoding encoding;
    int classes;                       /* at least 2 */
    int height, width;                 /* pixels; 0, 0: they differ (encoded only) */
    int channels;                      /* 1 or 3 */
    uint32_t images;                   /* all splits together */
    float mean[NAS_DATA_CHANNELS_MAX]; /* of the train split, per channel, pixel values in [0, 1] */
    float std[NAS_DATA_CHANNELS_MAX];  /* > 0 */
    int splits;
    nas_data_split split[NAS_DATA_SPLITS_MAX];
    const char **class_names;      /* [classes] */
    const uint32_t *labels;        /* [images], each < classes */
    char digest[NAS_DIGEST_SIZE];  /* names the content; checked by nas_dataset_verify */

    char *path;  /* as opened, for messages */
    nas_map map; /* the rest is dataset.c's own */
    const unsigned char *records;
    const uint64_t *index; /* [images + 1] offsets into records; NULL when raw */
} nas_dataset;

/** Opens and checks a packed file: header and tables against their checksum, and
 * every offset, count and label against the file, so that later reads cannot leave
 * it.  The images themselves are checked by nas_dataset_verify only.
 * Errors  NAS_E_IO, NAS_E_DATA (not a packed file, truncated, inconsistent, newer
 *         version), NAS_E_NOMEM */
nas_status nas_dataset_open(nas_dataset **out, const char *path, nas_err *err);
void nas_dataset_close(nas_dataset *data);

/** Reads the whole file and compares it with the digest; NAS_E_DATA if it differs. */
nas_status nas_dataset_verify(const nas_dataset *data, nas_err *err);

/** The split of that name, or NULL. */
const nas_data_split *nas_dataset_split(const nas_dataset *data, const char *name);
/** The split to judge on that no search may touch: "test", else "val". Never NULL. */
const nas_data_split *nas_dataset_test_split(const nas_dataset *data);

/** Bytes of image `i` as stored (borrowed; raw pixels or a JPEG/PNG file). */
const unsigned char *nas_dataset_record(const nas_dataset *data, uint32_t i, size_t *size);

#endif
