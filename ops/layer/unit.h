/* The convolution unit (convolution, batch norm or bias, activation): what conv
 * and mbconv layers are made of.  Private to ops/layer. */
#ifndef NAS_OPS_LAYER_UNIT_H
#define NAS_OPS_LAYER_UNIT_H

#include "ops/layer/layer.h"

/** What a unit keeps for backward; all in the arena. */
typedef struct nas_unit_kept {
    float *raw;                           /* [n][oh][ow][cout] before batch norm    */
    float *mean, *invstd, *scale, *shift; /* [cout]; NULL without batch norm        */
} nas_unit_kept;

/** Adds a unit to a layer and books its weight; vectors and buffers follow with
 * _book_vectors and _book_buffers once all weights of the layer are booked. */
nas_unit *nas_unit__add(nas_layer *layer, const char *name, int h, int w, int in, int out, int k,
                        int stride, int groups, bool bn, bool bias, nas_act act);

void nas_unit__book_vectors(nas_layer *layer, nas_unit *unit, const char *name);
void nas_unit__book_buffers(nas_layer *layer, nas_unit *unit, const char *name);

/** Appends a parameter to the layer; returns its offset.  Weights first, then
 * vectors, then buffers. */
size_t nas_layer__book(nas_layer *layer, const char *unit, const char *name, nas_param_kind kind,
                       int out, int in, int k);

const struct nas_conv_kernels *nas_unit__kernels(const nas_unit *unit, const nas_kernels *kernels);
size_t nas_unit__outputs(const nas_unit *unit, int n); /* floats of its output */
size_t nas_unit__kept_bytes(const nas_unit *unit, int n);
size_t nas_unit__sums_bytes(const nas_unit *unit, int n);

/** Room in the arena for a raw output, and for the vectors of batch norm. */
float *nas_unit__raw(const nas_unit *unit, const nas_run *run);
nas_unit_kept nas_unit__vectors(const nas_unit *unit, const nas_run *run);
/** Training: fills kept->raw and, with batch norm, the statistics. */
void nas_unit__forward(const nas_unit *unit, const nas_run *run, float *params, const nas_view *in,
                       nas_unit_kept *kept);
/** What follows the convolution in training: kept->mean to shift from its statistics of chunks,
 * and the running statistics. */
void nas_unit__normalise(const nas_unit *unit, const nas_run *run, float *params,
                         const float *stats, nas_unit_kept *kept);
/** The raw output once more, into kept->raw; the statistics stay as they are. */
void nas_unit__again(const nas_unit *unit, const nas_run *run, const float *params,
                     const nas_view *in, const nas_unit_kept *kept);
/** How the next reader sees a kept output. */
nas_view nas_unit__view(const nas_unit *unit, const nas_unit_kept *kept);
/** What evaluation multiplies each filter with because of batch norm's running statistics, in the
 * arena; NULL: nothing.  *bias: what it then adds, or NULL. */
const float *nas_unit__running_scale(const nas_unit *unit, const nas_run *run, const float *params,
                                     const float **bias);
/** Evaluation: y = act(conv(in) with batch norm folded) [+ residual]. */
void nas_unit__evaluate(const nas_unit *unit, const nas_run *run, const float *params,
                        const nas_view *in, const float *residual, float *y);

/** Backward of the convolution, from what `grad` sees of its output; `in` is how its input was
 * read in the forward pass. */
void nas_unit__backward(const nas_unit *unit, const nas_run *run, const float *params,
                        const nas_view *in, const nas_grad_view *grad, const nas_conv_grad *out);

/** Turns g (masked gradient of the normalised output) and its sums into the grad
 * view of the raw output, adding the gradients of gamma and beta (bias) to grads. */
nas_grad_view nas_unit__grad_view(const nas_unit *unit, const nas_run *run, const float *params,
                                  const nas_unit_kept *kept, const float *g, const float *sums,
                                  float *grads);
/** Sums buffer [chunks][2][c] in the arena. */
float *nas_unit__sums(const nas_run *run, int channels);
/** The last unit of a layer: dy is the gradient of its activated output. Overwrites
 * dy by the masked gradient. */
nas_grad_view nas_unit__last_grad(const nas_unit *unit, const nas_run *run, const float *params,
                                  const nas_unit_kept *kept, float *dy, float *grads);

/** sum of dy * the unit's activated output, [n][oh][ow][cout] each. */
double nas_unit__output_dot(const nas_unit *unit, const nas_run *run, const nas_unit_kept *kept,
                            const float *dy);
/** The same of a forward pass of a unit with batch norm, made for this alone: `kept` has room for
 * its vectors, and where the kernels can do without it `raw` is not written. */
double nas_unit__forward_dot(const nas_unit *unit, const nas_run *run, float *params,
                             const nas_view *in, nas_unit_kept *kept, const float *dy);

/** Batch norm of several processes (run->comm): as the kernels bn_forward and bn_backward, with the
 * statistics of all their images; the gradients of gamma and beta are this process's part. */
void nas_unit__sync_forward(const nas_unit *unit, const nas_run *run, float *params,
                            const float *stats, nas_unit_kept *kept);
void nas_unit__sync_backward(const nas_unit *unit, const nas_run *run, const float *params,
                             const nas_unit_kept *kept, const float *sums, float *grads, float *a,
                             float *b, float *k);

/** Bytes of the arena that rounding needs beside all else while a layer runs, forward or back. */
size_t nas_layer__quant_bytes(const nas_layer *layer, int n);
/** Evaluation on integers. */
void nas_layer__int8_forward(const nas_layer *layer, const nas_run *run, const float *params,
                             const float *x, const float *residual, float *y);
/** Bytes of kernel scratch that it needs; of the arena it needs no more than floats do. */
size_t nas_layer__int8_scratch(const nas_layer *layer, int n, int threads);

/** One entry a type: how its layers are laid out and run.  See layer.h. */
typedef struct nas_layer_class {
    void (*layout)(nas_layer *layer);
    size_t (*kept)(const nas_layer *layer, int n);
    size_t (*temporary)(const nas_layer *layer, int n);
    size_t (*scratch)(const nas_layer *layer, int n, int threads); /* beside its units'; or NULL */
    void *(*forward)(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                     const float *residual, float *y);
    void (*backward)(const nas_layer *layer, const nas_run *run, const float *params,
                     const float *x, void *saved, float *dy, float *dx, bool add, float *grads);
    double (*output_dot)(const nas_layer *layer, const nas_run *run, const float *params,
                         const float *x, void *saved, const float *dy);
    /* As nas_layer_forward_dot; NULL: a forward pass and a dot product. */
    double (*forward_dot)(const nas_layer *layer, const nas_run *run, float *params, const float *x,
                          const float *dy);
    /* As nas_layer_moments_floats and nas_layer_moments; both NULL: none. */
    size_t (*moments_floats)(const nas_layer *layer, const nas_kernels *kernels);
    void (*moments)(const nas_layer *layer, const nas_run *run, const float *x, float *moments);
    bool in_place; /* backward may be given dx == dy: it reads dy before it adds to dx */
} nas_layer_class;

extern const nas_layer_class nas_layer__conv, nas_layer__mbconv, nas_layer__linear,
    nas_layer__zero, nas_layer__identity, nas_layer__max_pool, nas_layer__avg_pool,
    nas_layer__mean_pool, nas_layer__own;

#endif
