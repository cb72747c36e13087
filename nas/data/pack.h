/* From a source of images to a packed file.  Private to nas/data: every import and the
 * generated task are such a source. */
#ifndef NAS_DATA_PACK_H
#define NAS_DATA_PACK_H

#include "nas/data/dataset.h"
#include "nas/data/image.h"
#include "nas/data/import.h"

/* What one fetch gives: the decoded image, and for files also their bytes. */
typedef struct nas_data__item {
    nas_image image;
    char *bytes; /* malloc'ed; NULL if the source has no files */
    size_t size;
} nas_data__item;

/* Images 0..images-1, ordered by split.  All of it outlives the packing. */
typedef struct nas_data__source nas_data__source;
struct nas_data__source {
    const char *path; /* for messages */
    int classes;
    const char *const *class_names;
    int splits;
    const char *split_names[NAS_DATA_SPLITS_MAX];   /* the first is "train" */
    uint32_t split_counts[NAS_DATA_SPLITS_MAX];
    uint32_t images;
    const uint32_t *labels; /* [images] */
    int height, width;      /* of every image; 0, 0: they differ, and fetch gives bytes */
    int channels;           /* of every image that fetch gives */

    /* Image `i` into item->image, which may be borrowed or reserved; called by several
     * threads at once.  The error names the image. */
    nas_status (*fetch)(const nas_data__source *source, uint32_t i, nas_data__item *item,
                        nas_err *err);
    void *user;
};

/* Whether there are at least two classes with proper names; _pack asks this too. */
nas_status nas_data__source_check(const nas_data__source *source, nas_err *err);

/* Writes `source` to the packed file `out`, resized if options->size is set. `kept` and
 * `skipped` count the images.  The bytes depend on source, size and skip_bad alone. */
nas_status nas_data__pack(const nas_data__source *source, const char *out,
                          const nas_import_options *options, uint32_t *kept, uint32_t *skipped,
                          nas_err *err);

#endif
