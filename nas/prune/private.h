/* Private to nas/prune: the layers whose inputs are pruned, and what was captured of them. */
#ifndef NAS_NAS_PRUNE_PRIVATE_H
#define NAS_NAS_PRUNE_PRIVATE_H

#include "nas/prune/pruner.h"

/** A convolution or linear layer that reads a group. */
typedef struct nas_prune__reader {
    int block, group;
    const nas_param *weight; /* [taps][in][out] */
    const nas_unit *unit;    /* NULL: linear    */
    int taps, in, out;
    double *gram;            /* [taps*in][taps*in] sum of x'x over samples; NULL: not captured */
    float **solved;          /* [in + 1] weights [taps][d][out] for the best d channels; NULL: not
                                yet, or not captured */
} nas_prune__reader;

struct nas_pruner {
    const nas_model *model;
    const nas_prune_plan *plan;
    int **rank; /* [groups] channels, the most important first */
    int readers;
    nas_prune__reader *reader;
};

/** Adds the samples of a batch to the grams. `x` [n][..] is the batch; `first` counts images. */
typedef struct nas_prune__capture nas_prune__capture;
nas_status nas_prune__capture_new(nas_prune__capture **out, nas_pruner *pruner, int batch,
                                  int points, uint64_t seed, nas_err *err);
void nas_prune__capture_free(nas_prune__capture *capture);
void nas_prune__capture_batch(nas_prune__capture *capture, int n, const float *x);

#endif
