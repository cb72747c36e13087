/* Batches made in background threads, in a fixed order.
 *
 * Batch b of epoch e holds the same bits for the same (data, list, options, seed),
 * whatever the number of threads and wherever the loader was started. */
#ifndef NAS_DATA_LOADER_H
#define NAS_DATA_LOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "nas/data/augment.h"
#include "nas/data/dataset.h"

typedef struct nas_loader_options {
    nas_augment augment; /* zeroed: none */
    int batch;           /* images, at least 1 */
    int threads;         /* workers; 0: 1; more than 256 are taken as 256 */
    int ahead;           /* batches kept ready beside the one in use; 0: 2 */
    uint64_t seed;
    const char *stream;  /* name in the random streams, so that two loaders differ; NULL: "data" */
    bool shuffle;        /* a new order every epoch; otherwise the list's own */
    bool drop_last;      /* leave out the last, smaller batch */
    bool endless;        /* the next epoch follows by itself */
    /* Image sizes, none above augment.size: each batch has one of them, drawn by (seed, epoch,
     * batch); pad and cutout shrink along.  0: augment.size alone. */
    int sizes, size[64];
    /* Several processes: of each batch the images of part `part` of `parts`, 0 <= part < parts, as
     * they are in the whole batch; parts must divide batch, with drop_last.  0, 0: all of it. */
    int part, parts;
} nas_loader_options;

typedef struct nas_batch {
    int n;             /* images: options.batch (a part: its share), or fewer in the last one */
    const float *x;    /* [n][height][width][channels], normalised; 64-byte aligned */
    const int *labels; /* [n] */
    int64_t epoch, index;
    int height, width; /* of these images */
} nas_batch;

typedef struct nas_loader nas_loader;

/** Serves the images items[0..count-1] of `data` (copied; `data` must outlive the
 * loader), in batches.  Memory and threads are taken here and in the first batches;
 * after that nothing is allocated.  nas_loader_start must follow.
 * Errors  NAS_E_CONFIG (options make no sense for these images, empty list),
 *         NAS_E_NOMEM, NAS_E_FAIL (no thread) */
nas_status nas_loader_open(nas_loader **out, const nas_dataset *data, const uint32_t *items,
                           uint32_t count, const nas_loader_options *options, nas_err *err);
void nas_loader_close(nas_loader *loader);

/** Batches of one epoch. */
int64_t nas_loader_batches(const nas_loader *loader);
/** What the network will see at most: height, width and channels of x. */
void nas_loader_shape(const nas_loader *loader, int *height, int *width, int *channels);

/** Continues at batch `first_batch` (0..batches) of `epoch` (>= 0), now and at any
 * later time; what was prepared for another place is dropped. */
void nas_loader_start(nas_loader *loader, int64_t epoch, int64_t first_batch);

/** Gives every batch from the next nas_loader_start on images of `size` pixels (at most
 * augment.size); 0: as the options say. */
void nas_loader_set_size(nas_loader *loader, int size);

/** The next batch, waiting for it if need be; valid until the next call on `loader`.
 * *out is NULL after the last batch of the epoch (never when endless): start again.
 * Errors  NAS_E_DATA naming the image that cannot be decoded; NAS_E_NOMEM.  The
 *         same error comes again until nas_loader_start. */
nas_status nas_loader_next(nas_loader *loader, const nas_batch **out, nas_err *err);

#endif
