/* A layer with all that it needs to run: parameters, data, arena and scratch. */
#ifndef NAS_TESTS_OPS_LAYER_RIG_H
#define NAS_TESTS_OPS_LAYER_RIG_H

#include "ops/layer/layer.h"

typedef struct rig {
    nas_layer layer;
    nas_run run; /* train, keep, running statistics left alone; change as needed */
    nas_arena arena;
    size_t xs, ys, floats;  /* of input, output and parameter block */
    float *params, *grads;  /* grads are zero                        */
    float *x, *y, *dy, *dx; /* x and dy in [-1, 1)                   */
} rig;

/** A layer under the kernels `kernels`, for up to 4 threads; parameters are those
 * of nas_layer_reset with gammas, betas, biases and running statistics moved away
 * from their initial values.  Aborts on failure. */
void rig_init(rig *r, const nas_op_spec *spec, int n, int h, int w, const char *kernels);
void rig_fini(rig *r);

/** Forward (into r->y, no residual) and backward from a copy of r->dy, which gives
 * r->dx and adds to r->grads; the arena is as it was. */
void rig_step(rig *r);

#endif
