/* The op registry: one entry an operation that a network can be made of.
 *
 * Spaces, cost model, latency keys, training, inference and export all find an
 * operation here; a new one is one new entry (ops/layer/op.c and its file). */
#ifndef NAS_OPS_LAYER_OP_H
#define NAS_OPS_LAYER_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "ops/kernel/kernel.h"

typedef enum nas_op_type {
    NAS_OP_CONV,      /* convolution [-> batch norm] [-> activation]                    */
    NAS_OP_MBCONV,    /* [1x1 expand ->] depthwise [-> squeeze-excite] -> 1x1 linear     */
    NAS_OP_ZERO,      /* output 0: with a shortcut, the block is skipped                 */
    NAS_OP_IDENTITY,  /* output = input                                                  */
    NAS_OP_MAX_POOL,
    NAS_OP_AVG_POOL,
    NAS_OP_MEAN_POOL, /* mean over the whole image: 1x1 output                           */
    NAS_OP_LINEAR,    /* [dropout ->] dense [-> activation]; input is flattened 1x1      */
    NAS_OP_OWN,       /* one that the program added (ops/layer/own.h): `own` says which     */
    NAS_OP_TYPES
} nas_op_type;

/** Everything that defines one operation; unused fields are 0. */
typedef struct nas_op_spec {
    nas_op_type type;
    int in, out;                /* channels (features of linear)                        */
    int kernel, stride, groups; /* pad is kernel/2: odd kernels keep the size at stride 1 */
    int mid;                    /* mbconv: channels of the depthwise convolution        */
    float expand;               /* mbconv: ratio as configs write it; 1: no expand conv  */
    nas_act act;                /* conv, linear: at the end; mbconv: inside             */
    int se;                     /* mbconv: hidden channels of squeeze-excite, 0: none   */
    bool bn, bias;              /* conv; linear: bias                                   */
    float dropout;              /* linear: ratio applied to its input when training     */
    int own;                    /* NAS_OP_OWN: its number                               */
} nas_op_spec;

/** What an operation costs at one input size. */
typedef struct nas_op_cost {
    int64_t macs;       /* multiply-accumulates an image, as the field counts them:
                           convolutions, squeeze-excite and linear; BN, activation,
                           pooling and additions count 0                             */
    int64_t parameters; /* trained scalars: weights, BN gamma and beta, biases       */
    int out_h, out_w;
} nas_op_cost;

/** Name of a type in JSON files and registries: "conv", "mbconv", "zero", ... */
const char *nas_op_name(nas_op_type type);
/** Name of the operation that a specification is of: NAS_OP_OWN has one for each `own`. */
const char *nas_op_spec_name(const nas_op_spec *spec);
/** Type by name; NAS_OP_TYPES if unknown. */
nas_op_type nas_op_find(const char *name);

/** Name of an activation ("none", "relu", "relu6", "h_swish", "h_sigmoid") and back;
 * nas_act_find returns -1 if unknown. */
const char *nas_act_name(nas_act act);
int nas_act_find(const char *name);

/** Checks that the fields make sense together (sizes within caps, kernel odd,
 * groups divide, zero/identity keep channels and size, ...).  NAS_E_CONFIG. */
nas_status nas_op_check(const nas_op_spec *spec, nas_err *err);

/** Cost at an input of h x w. The spec was checked. */
nas_op_cost nas_op_cost_at(const nas_op_spec *spec, int h, int w);

/** True if both define the same operation. */
bool nas_op_equal(const nas_op_spec *a, const nas_op_spec *b);

/** The field's rounding of channel counts: nearest multiple of 8 (halves up),
 * at least 8, and never more than 10 % below v. */
int nas_make_divisible(double v);

#endif
