/* The small supernet of tests/golden/supernet.safetensors, with PyTorch's weights. */
#ifndef NAS_TESTS_NAS_MODEL_GOLDEN_SUPERNET_H
#define NAS_TESTS_NAS_MODEL_GOLDEN_SUPERNET_H

#include "nas/model/model.h"
#include "tests/support/golden.h"

enum { GOLDEN_SLOTS = 7, GOLDEN_CANDIDATES = 4, GOLDEN_BATCH = 4, GOLDEN_CLASSES = 5 };

typedef struct golden_supernet {
    golden *file;
    nas_op_spec specs[GOLDEN_SLOTS][GOLDEN_CANDIDATES];
    nas_slot slots[GOLDEN_SLOTS];
    nas_space space;
    nas_model *model;
    size_t images;       /* floats of `x`                                 */
    const float *x;      /* [GOLDEN_BATCH][side][side][3]                 */
    int labels[GOLDEN_BATCH];
    float targets[GOLDEN_BATCH * GOLDEN_CLASSES];
} golden_supernet;

/** Aborts on failure. */
void golden_supernet_init(golden_supernet *net);
void golden_supernet_fini(golden_supernet *net);

/** Sets all parameters and running statistics to the golden ones, momentum to 0. */
void golden_supernet_reset(golden_supernet *net);

/** The path called `name`: its candidates, and the other one of mode two (-1: none). */
void golden_supernet_path(const golden_supernet *net, const char *name, int choice[GOLDEN_SLOTS],
                          int others[GOLDEN_SLOTS]);

#endif
