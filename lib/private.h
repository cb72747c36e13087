/* What the files of libnas share: options that may be of another version, and the way from a
 * caller's watch to the observer of the rooms below. */
#ifndef NAS_LIB_PRIVATE_H
#define NAS_LIB_PRIVATE_H

#include <stdbool.h>

#include "nas/model/model.h"
#include "nas/train/observer.h"

#include "include/nas.h" /* behind base/status.h, whose types it repeats */

/* As the command line has them, so that no product of them overflows. */
enum { NAS_LIB_MAX_EPOCHS = 1000000, NAS_LIB_MAX_BATCH = 4096 };

struct nas_network {
    nas_arch *arch;
    nas_model *model; /* one candidate a slot */
};

/** Copies the caller's struct of `given` bytes (its own `size`) over the defaults in `options`,
 * whose first member is its size.  NULL: the defaults stay.  NAS_E_USAGE if it was not
 * initialised. */
nas_status nas_lib__options(void *options, size_t size, const void *given, nas_err *err);
/** The caller's struct: `defaults` as far as its version of it goes. */
void nas_lib__init(void *options, size_t size, const void *defaults, size_t known);

/** An observer that tells `watch` (may be NULL) and keeps a checkpoint at a path (or NULL). */
typedef struct nas_lib__observer {
    const nas_watch *watch;
    const char *checkpoint;
    double next; /* when one is due */
    nas_observer observer;
} nas_lib__observer;
void nas_lib__observe(nas_lib__observer *o, const nas_watch *watch, const char *checkpoint);

/** Threads of loaders: as many as are set. */
int nas_lib__threads(void);

#endif
