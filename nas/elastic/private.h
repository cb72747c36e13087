/* What the files of this folder share. */
#ifndef NAS_NAS_ELASTIC_PRIVATE_H
#define NAS_NAS_ELASTIC_PRIVATE_H

#include "nas/elastic/elastic.h"
#include "nas/elastic/kernel.h"

struct nas_elastic {
    const nas_space *space;
    nas_elastic_dims dims;
    nas_model *shared;                       /* one candidate a slot: the largest   */
    nas_elastic_kernels kernels[NAS_MAX_SLOTS]; /* count 1: only one size           */
    size_t matrix_floats;
    float *matrix, *matrix_momentum, *matrix_grads;
    float *grads;                            /* [shared->floats]                    */
    float *scratch;                          /* of kernel transformations           */
    nas_model *work;                         /* NULL: subnets are not run           */
    nas_exec *exec;
};

/** The shared layer of a slot, its block, and the parameter of that name (must be there). */
const nas_layer *nas_elastic__layer(const nas_elastic *elastic, int slot);
float *nas_elastic__params(const nas_elastic *elastic, int slot);
const nas_param *nas_elastic__param(const nas_layer *layer, const char *name);

#endif
