/* The embedded default: a generated classification task on which architecture matters.
 *
 * An image shows one shape filled with a texture, over clutter.  The class is
 * the combination of a global cue (which shape) and a local one (which texture), each
 * of which alone says little, under random place, size, turn, colour and noise: a
 * network needs fine filters and a wide view, so depth and kernel size pay. */
#ifndef NAS_DATA_SYNTH_H
#define NAS_DATA_SYNTH_H

#include <stdint.h>

#include "base/status.h"
#include "nas/data/import.h"

typedef struct nas_synth_options {
    int size;       /* pixels a side, 16..256; 0: 24 */
    int classes;    /* 2..20; 0: 10 */
    uint32_t train; /* images; 0: 4000 */
    uint32_t test;  /* images; 0: 1000 */
    uint64_t seed;
    int threads;    /* 0: the cores this process may use; does not change the result */
    nas_data_progress *progress; /* NULL: none */
    void *progress_user;
} nas_synth_options;

/** Draws the task and packs it into the file `out` (RGB, raw; splits "train" and
 * "test", balanced).  The same options give the same bytes.
 * Errors  NAS_E_CONFIG (out of range), NAS_E_IO, NAS_E_NOMEM, NAS_E_INTERRUPTED */
nas_status nas_data_synth(const char *out, const nas_synth_options *options, nas_err *err);

#endif
