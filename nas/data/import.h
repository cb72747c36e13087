/* Import of images as people have them into one packed file.
 *
 * Understood: image folders (train/<class>/... with test/ or val/ beside it, or one
 * level of class folders; JPEG and PNG), CIFAR-10 and CIFAR-100 binary, IDX (MNIST). */
#ifndef NAS_DATA_IMPORT_H
#define NAS_DATA_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/** Called between blocks of images; returning false stops (NAS_E_INTERRUPTED). */
typedef bool nas_data_progress(void *user, uint32_t done, uint32_t total);

typedef struct nas_import_options {
    int size;      /* pixels: shorter side, then centre crop to size x size; 0: as they are */
    bool skip_bad; /* leave unreadable images out (each is named in the log) */
    int threads;   /* 0: the cores this process may use; does not change the result */
    nas_data_progress *progress; /* NULL: none */
    void *progress_user;
} nas_import_options;

typedef struct nas_import_report {
    const char *format; /* "image folders", "CIFAR-10 binary", ... */
    uint32_t images;    /* written, all splits together */
    uint32_t skipped;   /* unreadable images left out */
    uint32_t ignored;   /* files in image folders that are not JPEG or PNG by name */
    bool split_made;    /* no test images were given: 10 % per class were split off */
} nas_import_report;

/** Imports `src` (a directory) into the packed file `out`, which appears complete or
 * not at all.  The same input gives the same bytes: files and classes are sorted by
 * name.  Grey and colour images together become colour.  Images of one size, or any
 * with options->size, are stored as pixels; others as the files they are, after they
 * were decoded once to see that they can be.
 * options  may be NULL: all zero
 * report   may be NULL
 * Errors   NAS_E_IO, NAS_E_DATA naming the file, NAS_E_NOMEM, NAS_E_INTERRUPTED */
nas_status nas_data_import(const char *src, const char *out, const nas_import_options *options,
                           nas_import_report *report, nas_err *err);

#endif
