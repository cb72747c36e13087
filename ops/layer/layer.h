/* A layer: one operation of the registry at one input size, ready to run.
 *
 * Order of life: nas_layer_init lays out its parameters and plans its bytes;
 * forward and backward then take all memory from the run's arena and cannot
 * fail.  A layer owns nothing: its parameters are a block of floats that the
 * model keeps, so a layer may be copied. */
#ifndef NAS_OPS_LAYER_LAYER_H
#define NAS_OPS_LAYER_LAYER_H

#include "base/arena.h"
#include "base/comm.h"
#include "ops/layer/op.h"
#include "ops/layer/quant.h"

typedef enum nas_param_kind {
    NAS_PARAM_POINTWISE, /* [in][out]                */
    NAS_PARAM_DEPTHWISE, /* [k*k][channels]          */
    NAS_PARAM_CONV,      /* [k*k][in/groups][out]    */
    NAS_PARAM_LINEAR,    /* [in][out]                */
    NAS_PARAM_BIAS,
    NAS_PARAM_GAMMA,
    NAS_PARAM_BETA,
    NAS_PARAM_MEAN, /* running statistics: state, not trained */
    NAS_PARAM_VAR
} nas_param_kind;

/** One named tensor inside a layer's block. */
typedef struct nas_param {
    char name[32]; /* "expand.weight", "project.gamma", ... */
    nas_param_kind kind;
    int out, in, k;       /* PyTorch's shape is [out][in][k][k], or [out][in], or [out] */
    size_t offset, count; /* floats, from the start of the layer's block */
} nas_param;

enum { NAS_LAYER_MAX_PARAMS = 20, NAS_LAYER_MAX_UNITS = 3 };

/** A convolution or linear layer on integers (nas_layer_pack_int8). */
typedef struct nas_int8_part {
    const void *weights;       /* NULL: it is run on floats                             */
    const float *scale, *bias; /* [out]: of the sums, with batch norm and steps in them */
} nas_int8_part;

/** A convolution with what follows it: batch norm or bias, and an activation. */
typedef struct nas_unit {
    nas_conv_geom geom; /* n is set when it runs */
    bool bn, bias;
    nas_act act;
    size_t weight, gamma, beta, mean, var; /* offsets in the block; bias is at `beta` */
    const float *packed; /* evaluation: its weights in the kernels' layout, or NULL; the owner
                            of a folded layer sets it (nas_layer_pack) */
    nas_quant *quant;    /* borrowed; NULL: nothing is rounded */
    nas_int8_part int8;
} nas_unit;

/** Parameters of a layer's block, in this order: weights (decayed), vectors
 * (gamma, beta, biases), buffers (running statistics, not trained). */
typedef struct nas_layer {
    nas_op_spec spec;
    int h, w, oh, ow;
    size_t weights, vectors, buffers; /* floats of each part */
    int params;
    nas_param param[NAS_LAYER_MAX_PARAMS];
    int units;
    nas_unit unit[NAS_LAYER_MAX_UNITS];
    size_t se_reduce, se_reduce_bias, se_expand, se_expand_bias; /* offsets: mbconv */
    size_t linear, linear_bias;                                  /* offsets: linear */
    nas_quant *linear_quant; /* as nas_unit.quant */
    nas_int8_part linear_int8;
} nas_layer;

/** What a training pass keeps for backward, and what it computes again instead. */
typedef enum nas_memory {
    NAS_MEMORY_FAST,     /* every raw convolution output                                  */
    NAS_MEMORY_BALANCED, /* mbconv: not the expand output of images from 64 pixels on (one
                            pointwise forward again)                                       */
    NAS_MEMORY_LOW       /* mbconv: none of them (the whole forward pass again)           */
} nas_memory;

/** How layers are run. */
typedef struct nas_run {
    const nas_kernels *kernels;
    nas_arena *arena;  /* activations kept and temporaries                        */
    void *scratch;     /* nas_layer_scratch of the largest layer                   */
    int n;             /* images                                                  */
    bool train;        /* batch statistics; else running statistics               */
    bool dropout;      /* train: apply dropout                                    */
    bool keep;         /* train: keep what backward needs                          */
    float bn_eps;
    float bn_momentum; /* train: weight of the batch in the running statistics; 0: leave them */
    unsigned long long seed, step; /* key of dropout's mask                       */
    int before;        /* images of the same batch that other processes have before these */
    const nas_comm *comm; /* train: batch statistics are those of all processes' images, n each;
                             NULL: of these                                        */
    nas_memory memory; /* changes no bit of any result                             */
    const float *moments; /* of the layer's input, if known (nas_layer_moments); or NULL */
    /* Evaluation: sees what each convolution is about to read; NULL: nobody does. */
    void (*tap)(void *user, const nas_unit *unit, const nas_view *in);
    void *tap_user;
} nas_run;

/** Checks `spec` and the input size, lays out parameters.  NAS_E_CONFIG. */
nas_status nas_layer_init(nas_layer *layer, const nas_op_spec *spec, int h, int w, nas_err *err);

/** Floats of the layer's block (weights + vectors + buffers). */
size_t nas_layer_floats(const nas_layer *layer);

/** Bytes that a forward pass keeps in the arena for backward (train, keep), that
 * a pass needs at most beside them while it runs, and of kernel scratch; enough for every
 * nas_memory (kept is that of NAS_MEMORY_FAST). */
size_t nas_layer_kept(const nas_layer *layer, int n);
size_t nas_layer_temporary(const nas_layer *layer, int n);
size_t nas_layer_scratch(const nas_layer *layer, int n, int threads);

/** Standard deviation of a weight's initial values: sqrt(2/(k*k*out)) of convolutions,
 * sqrt(2/(k*k)) of depthwise ones, 1/sqrt(3*in) of linear ones. */
double nas_param_deviation(const nas_param *param);

/** Initial values: convolutions N(0, deviation), linear U(+-1/sqrt(in)), gamma 1, beta 0,
 * biases 0, running mean 0 and variance 1.  Each tensor draws from the stream (seed,
 * "prefix.name"), so it does not depend on its neighbours. */
void nas_layer_reset(const nas_layer *layer, float *params, unsigned long long seed,
                     const char *prefix);

/** y = op(x) [+ residual], x [n][h][w][in], y and residual [n][oh][ow][out] (plain
 * tensors; residual NULL: none; y may alias residual, not x).  `params` is the layer's block; only
 * its running statistics are written.  Returns what backward needs (train, keep;
 * in the arena), else NULL with the arena as it was. */
void *nas_layer_forward(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                        const float *residual, float *y);

/** Floats of the moments of its input that a layer takes in training, 0: none; layers with the
 * same input take the same.  Computing them once (x as in forward; into `moments`) and handing them
 * on in nas_run spares each of several candidates the pass. */
size_t nas_layer_moments_floats(const nas_layer *layer, const nas_kernels *kernels);
void nas_layer_moments(const nas_layer *layer, const nas_run *run, const float *x, float *moments);

/** Gradients from dy = dL/d op(x).  dx = or (add) += gradient of x, NULL: not wanted.
 * Where add is set, dx may be dy itself (a shortcut's gradient).  Gradients of the
 * parameters are ADDED to grads, shaped as the block; NULL: not wanted.
 * dy is scratch after the call (it is overwritten unless dx aliases it). */
void nas_layer_backward(const nas_layer *layer, const nas_run *run, const float *params,
                        const float *x, void *saved, float *dy, float *dx, bool add, float *grads);

/** sum over all elements of dy * op(x), from what a forward pass kept. */
double nas_layer_output_dot(const nas_layer *layer, const nas_run *run, const float *params,
                            const float *x, void *saved, const float *dy);

/** The same of a forward pass (train, not keep) made for this alone. */
double nas_layer_forward_dot(const nas_layer *layer, const nas_run *run, float *params,
                             const float *x, const float *dy);

/** Batch norm folded into the convolutions for inference: `folded` has the same
 * shape with biases instead of batch norm; folded_params holds
 * nas_layer_floats(folded) floats.  Call with folded_params NULL for the shape. */
void nas_layer_fold(const nas_layer *layer, const float *params, float bn_eps, nas_layer *folded,
                    float *folded_params);

/** Floats that the weights of a folded layer take in the layout in which `kernels` evaluate
 * fastest, and the copy of them into `packed` (64-byte aligned), which the layer then reads
 * from; `packed` must live as long as the layer is run, with these kernels. */
size_t nas_layer_packed_floats(const nas_layer *folded, const nas_kernels *kernels);
void nas_layer_pack(nas_layer *folded, const nas_kernels *kernels, const float *params,
                    float *packed);

/** True if the layer can be run on integers: all of its convolutions (its linear layer) have
 * rounded inputs and weights with steps. */
bool nas_layer_is_int8(const nas_layer *layer);
/** Bytes of its weights, scales and biases on integers. */
size_t nas_layer_int8_bytes(const nas_layer *layer, const nas_kernels *kernels);
/** Makes `out`, a copy of `layer` that nas_layer_forward evaluates on integers, with the same
 * `params`.  `packed` (64-byte aligned) must live as long as it is run, with these kernels. */
void nas_layer_pack_int8(const nas_layer *layer, const nas_kernels *kernels, const float *params,
                         float bn_eps, void *packed, nas_layer *out);

/** Copies one parameter to or from PyTorch's layout ([out][in][k][k], ...). */
void nas_param_to_torch(const nas_param *param, const float *params, float *torch_values);
void nas_param_from_torch(const nas_param *param, const float *torch_values, float *params);

#endif
