/* The kernel table: every arithmetic loop of the engine, as plain functions on
 * plain floats.  Kernels cannot fail and allocate nothing; shapes were checked
 * by the layers above.
 *
 * float32, NHWC: a tensor is [n][h][w][c] with c innermost.  Weights:
 *   pointwise  [cin][cout]             (transposed from PyTorch's [cout][cin])
 *   depthwise  [k*k][c]                (tap-major, channels innermost)
 *   general    [k*k][cin/groups][cout] (tap, input channel, output channel)
 *   linear     [in][out]
 * so that every inner loop runs over contiguous output channels.
 *
 * Batch norm without normalised tensors.  A convolution writes its raw output
 * and, on the way, the sums that batch norm needs; whoever reads the tensor
 * applies act(scale*x + shift) while loading (`nas_view`).  Backward the same
 * way: what is stored is g = dL/d(normalised output), masked by the activation;
 * whoever reads it forms the gradient of the raw output as a*g + b*raw + k
 * while loading (`nas_grad_view`).
 *
 * Same bits on any thread count: work is cut into chunks by shape alone
 * (nas_kernel_chunks), one thread does a chunk from front to back, and partial
 * sums are added in chunk order. */
#ifndef NAS_OPS_KERNEL_KERNEL_H
#define NAS_OPS_KERNEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

typedef enum nas_act {
    NAS_ACT_NONE,
    NAS_ACT_RELU,
    NAS_ACT_RELU6,
    NAS_ACT_HSWISH,  /* x * relu6(x + 3) / 6 */
    NAS_ACT_HSIGMOID /* relu6(x + 3) / 6     */
} nas_act;

/** Geometry of a convolution.  pad on all four sides; oh = (h + 2*pad - k)/stride + 1. */
typedef struct nas_conv_geom {
    int n, h, w;     /* images, input rows, input columns  */
    int cin, cout;   /* channels                           */
    int k, stride, pad;
    int groups;      /* cin and cout are multiples of it   */
    int oh, ow;      /* output rows, columns               */
} nas_conv_geom;

/** An activation tensor as its reader sees it:
 *    value[n][p][c] = act(scale[c] * x[n][p][c] + shift[c]) * gate[n][c]
 * scale and shift are both NULL or both set (NULL: 1 and 0); gate NULL: 1. */
typedef struct nas_view {
    const float *x;
    const float *scale, *shift; /* [c]    */
    const float *gate;          /* [n][c] */
    nas_act act;
} nas_view;

/** A raw tensor that is never stored: the pointwise convolution of a plain tensor,
 * computed where it is read, raw[n][p][c] = sum over i of x[n][p][i] * w[i][c]. */
typedef struct nas_product {
    const float *x; /* [n][p][cin]        */
    int cin;
    const float *w; /* [cin][c]           */
} nas_product;

/** The gradient of a raw tensor as its reader sees it:
 *    value[n][p][c] = a[c]*g[n][p][c] + b[c]*raw[n][p][c] + k[c]
 * a NULL: the value is g itself and raw, b, k are not read. */
typedef struct nas_grad_view {
    const float *g, *raw;
    const float *a, *b, *k; /* [c] */
} nas_grad_view;

/** What a forward convolution does with its output, one of two:
 * training  (stats != NULL) writes raw sums and, for each chunk of images,
 *           statistics of each output channel: stats[chunk][0][c] = mean of the
 *           chunk, stats[chunk][1][c] = sum of squared deviations from it
 *           (centred or shifted while accumulating: mean^2/var may be 1e5);
 * otherwise writes act(y + bias) [+ residual], bias [cout] or NULL,
 *           residual shaped as y or NULL (added after the activation). */
typedef struct nas_conv_out {
    float *y;
    float *stats;
    const float *bias;
    nas_act act;
    const float *residual;
    const float *packed; /* evaluation: the weights as `pack` laid them out (w is not read), or NULL */
} nas_conv_out;

/** What a backward convolution does with the gradient of its input value v:
 * - view with scale and without gate (a batch-normalised unit): writes
 *     g = dv * act'(scale*x + shift)
 *   and, for each chunk, sums[chunk][0][c] = sum of g and
 *   sums[chunk][1][c] = sum of g * (x - mean[c]) * invstd[c];
 * - otherwise dx = dv, or dx += dv when `add` is set (dv is with respect to the
 *   value after the gate; sums is not read).
 * dx NULL: the input gradient is not wanted.
 * dw NULL: the weight gradient is not wanted; otherwise it is ADDED to dw, which
 * is shaped as the weights. */
typedef struct nas_conv_grad {
    float *dx;
    bool add;
    float *sums;
    const float *mean, *invstd; /* [cin] */
    float *dw;
} nas_conv_grad;

/** Batch norm of a product, in training.  Its statistics follow from those of x:
 * mean = x_mean * w, var[c] = w[c]' * x_cov * w[c]. */
typedef struct nas_product_bn {
    const float *x_mean, *x_cov;         /* [cin], [cin][cin]                      */
    const float *mean, *invstd, *beta;   /* [c]                                    */
    const float *scale, *shift;          /* [c], gamma*invstd and beta - mean*scale */
    nas_act act;                         /* NONE, RELU or RELU6                    */
} nas_product_bn; /* forward reads scale (NULL: 1), shift and act alone */

/** Gradients of a depthwise convolution over a product and of what is before it: dx = or
 * (add) += that of the product's x (NULL: not wanted); the others are ADDED, all of them NULL
 * where they are not wanted. */
typedef struct nas_expanded_grad {
    float *dx; /* [n][p][cin] */
    bool add;
    float *dw;              /* of the depthwise weights                  */
    float *dproduct;        /* of the product's w, [cin][c]              */
    float *dgamma, *dbeta;  /* of the batch norm between them, [c]       */
} nas_expanded_grad;

enum { NAS_KERNEL_MAX_CHUNKS = 16 };

/** Number of chunks that a batch of n images is cut into by every training
 * kernel: min(n, 16).  Chunk i covers the images [i*n/chunks, (i+1)*n/chunks);
 * statistics, sums and partial weight gradients are kept per chunk.  (Evaluation
 * may split finer: there every output element is computed alone.) */
int nas_kernel_chunks(int n);

/** One set of kernels: the naive reference, or one compiled for an instruction
 * set.  Every function overwrites its outputs unless it says "adds". */
typedef struct nas_kernels {
    const char *name; /* "reference", "portable", "avx2", "avx512", "amx" */

    /* -- convolutions: pointwise (k 1, stride 1, groups 1), depthwise
     *    (groups == cin == cout), and everything else ------------------------ */
    struct nas_conv_kernels {
        /** Bytes of scratch (64-byte aligned, given by the caller, contents
         * unspecified) that forward and backward need for this geometry at
         * `threads` threads. */
        size_t (*scratch)(const nas_conv_geom *geom, int threads);
        /** y = conv(view, w).  `w_scale` [cout] or NULL multiplies the filters
         * (batch norm folded for evaluation). */
        void (*forward)(const nas_conv_geom *geom, const nas_view *x, const float *w,
                        const float *w_scale, const nas_conv_out *out, void *scratch);
        /** Gradients of input and weights from that of the raw output, one pass. */
        void (*backward)(const nas_conv_geom *geom, const nas_view *x, const float *w,
                         const nas_grad_view *dy, const nas_conv_grad *out, void *scratch);
        /** Floats of the layout of the weights that evaluation reads fastest, and the copy of
         * w [cin][cout] into it (64-byte aligned); both NULL if w is it.  For weights that
         * serve many times. */
        size_t (*packed_floats)(const nas_conv_geom *geom);
        void (*pack)(const nas_conv_geom *geom, const float *w, float *packed);
    } pointwise, depthwise, conv;

    /* -- expand, batch norm, activation and depthwise convolution as one -------- */
    /** For an inverted bottleneck in training: the wide expand output exists only as rows in
     * cache, forward and backward.  `geom` is that of the depthwise convolution, cin the
     * channels before the expansion. */
    struct nas_expanded_kernels {
        /** Whether these are faster than the two convolutions one after the other; decided by
         * the shape alone.  NULL in sets without them. */
        bool (*worth)(const nas_conv_geom *geom, int cin, nas_act act);
        size_t (*scratch)(const nas_conv_geom *geom, int cin, int threads);
        /** Mean [c] and covariance [c][c] (divided by the number of pixels) of a plain tensor of
         * n images of hw pixels; `scratch` is that of any convolution over it. */
        void (*moments)(int n, int hw, int c, const float *x, float *x_mean, float *x_cov,
                        void *scratch);
        /** From the moments of x: mean and biased variance of each channel of the product. */
        void (*statistics)(const nas_conv_geom *geom, const nas_product *product,
                           const float *x_mean, const float *x_cov, float *mean, float *var,
                           void *scratch);
        /** y = conv(act(scale*product + shift), w), with stats or neither of stats, bias and
         * residual. */
        void (*forward)(const nas_conv_geom *geom, const nas_product *product,
                        const nas_product_bn *bn, const float *w, const nas_conv_out *out,
                        void *scratch);
        void (*backward)(const nas_conv_geom *geom, const nas_product *product,
                         const nas_product_bn *bn, const float *w, const nas_grad_view *dy,
                         const nas_expanded_grad *out, void *scratch);
    } expanded;

    /* -- batch norm ---------------------------------------------------------- */
    /** Merges stats[chunks][2][c] of a tensor of n images of hw pixels
     * (Chan et al. 1979, in double, in chunk order) into mean
     * and invstd = 1/sqrt(var + eps), biased variance, and the view's
     * scale = gamma*invstd, shift = beta - mean*scale.  If running_mean is not
     * NULL: running = (1-momentum)*running + momentum*(mean | unbiased var). */
    void (*bn_forward)(int n, int hw, int c, const float *stats, const float *gamma,
                       const float *beta, float eps, float momentum, float *running_mean,
                       float *running_var, float *mean, float *invstd, float *scale, float *shift);
    /** Merges sums[chunks][2][c] of n images of hw pixels into the gradients of
     * gamma and beta (ADDS; both may be NULL) and the coefficients a, b, k of
     * the grad view of the raw tensor. */
    void (*bn_backward)(int n, int hw, int c, const float *sums, const float *gamma,
                        const float *mean, const float *invstd, float *dgamma, float *dbeta,
                        float *a, float *b, float *k);

    /** Of a pointwise convolution in training whose output y is not wanted: `stats` as in
     * nas_conv_out, and for each chunk dots[chunk][0][c] = sum of dy*y and dots[chunk][1][c] = sum
     * of dy [n][h][w][cout]. Scratch as pointwise.  NULL: there is none. */
    void (*pointwise_dots)(const nas_conv_geom *geom, const nas_view *x, const float *w,
                           const float *dy, float *stats, float *dots, void *scratch);

    /* -- elementwise over [n][hw][c] ------------------------------------------ */
    /** y = view (+ residual, shaped as y, or NULL).  y may alias residual. */
    void (*apply)(int n, int hw, int c, const nas_view *x, const float *residual, float *y);
    /** y = the gradient view.  y may alias its g or raw. */
    void (*apply_grad)(int n, int hw, int c, const nas_grad_view *dy, float *y);
    /** g = dy * act'(view) for a view without gate, and sums[chunk][2][c] as in
     * nas_conv_grad (sums NULL: not wanted).  g may alias dy. */
    void (*mask)(int n, int hw, int c, const nas_view *x, const float *mean,
                 const float *invstd, const float *dy, float *g, float *sums);
    /** y += x over `count` floats. */
    void (*add)(size_t count, const float *x, float *y);
    /** Sum over all elements of x*y: partial sums of fixed chunks in double. */
    double (*dot)(size_t count, const float *x, const float *y);
    /** Sum over all elements of y * the view, which has no gate: likewise. */
    double (*view_dot)(int n, int hw, int c, const nas_view *x, const float *y);

    /* -- pooling --------------------------------------------------------------- */
    /** y[n][c] = mean over hw of the view. */
    void (*mean_pool)(int n, int hw, int c, const nas_view *x, float *y);
    /** For the input value v of mean_pool: as nas_conv_grad (mask and sums when
     * the view has scale and no gate, dx or dx += otherwise); dw is not read. */
    void (*mean_pool_backward)(int n, int hw, int c, const nas_view *x, const float *dy,
                               const nas_conv_grad *out);
    /** k x k windows; max (padding never wins) or mean (padding not counted);
     * `geom` with cin == cout == groups.  arg [n][oh][ow][c] keeps the winner's
     * tap for backward (max only; NULL: not wanted). Input is a plain tensor. */
    void (*max_pool)(const nas_conv_geom *geom, const float *x, float *y, unsigned char *arg);
    void (*max_pool_backward)(const nas_conv_geom *geom, const float *dy, const unsigned char *arg,
                              float *dx); /* adds */
    void (*avg_pool)(const nas_conv_geom *geom, const float *x, float *y);
    void (*avg_pool_backward)(const nas_conv_geom *geom, const float *dy, float *dx); /* adds */

    /* -- squeeze-excite's gate -------------------------------------------------- */
    /** For v = u*gate with u = act(scale*x+shift) (the view, its gate set):
     * dgate[n][c] = sum over hw of dv*u. */
    void (*gate_grad)(int n, int hw, int c, const nas_view *x, const float *dv, float *dgate);
    /** g = (dv*gate[n][c] + dpool[n][c]/hw) * act'(..) and sums, as in nas_conv_grad.
     * dpool is the gradient of the pooled mean of u.  g may alias dv. */
    void (*gate_mask)(int n, int hw, int c, const nas_view *x, const float *mean,
                      const float *invstd, const float *dv, const float *dpool, float *g,
                      float *sums);

    /* -- linear: small dense layers over rows ------------------------------------ */
    /** y[rows][out] = act(x[rows][in] * w + bias); bias may be NULL. */
    void (*linear)(int rows, int in, int out, const float *x, const float *w, const float *bias,
                   nas_act act, float *y);
    /** dx = dy * w' (overwrites; NULL: skip), dw += x' * dy, db += column sums
     * (each NULL: skip).  dy is with respect to the value before the activation. */
    void (*linear_backward)(int rows, int in, int out, const float *x, const float *w,
                            const float *dy, float *dx, float *dw, float *db);
    /** g = dy * act'(z), from what was kept of the forward pass: act(z), or for
     * hswish (whose slope act(z) does not tell) z itself.  g may alias dy. */
    void (*act_backward)(size_t count, nas_act act, const float *kept, const float *dy, float *g);

    /* -- dropout, loss ------------------------------------------------------------ */
    /** y = x * mask / (1 - ratio) with a counter-based mask keyed by (seed, step), of
     * which x sees the values from number `first` on: the same call with dy gives the
     * gradient.  y may alias x. */
    void (*dropout)(size_t first, size_t count, float ratio, unsigned long long seed,
                    unsigned long long step, const float *x, float *y);
    /** Mean cross-entropy over rows of logits[rows][classes] against
     * targets[rows][classes] (soft labels, each row sums to 1); grad (NULL: skip)
     * = d loss / d logits.  Returns the loss. */
    double (*cross_entropy)(int rows, int classes, const float *logits, const float *targets,
                            float *grad);

    /* -- optimizers, one fused pass over `count` weights ----------------------------- */
    /** PyTorch's SGD: d = grad + decay*w; m = momentum*m + d;
     * w -= lr * (nesterov ? d + momentum*m : m).  m starts at 0. */
    void (*sgd)(size_t count, float *w, const float *grad, float *m, float lr, float momentum,
                float decay, bool nesterov);
    /** PyTorch's Adam (decay added to the gradient), step >= 1. */
    void (*adam)(size_t count, float *w, const float *grad, float *m, float *v, float lr,
                 float beta1, float beta2, float eps, float decay, long step);
} nas_kernels;

/** The kernels in use: the best set this CPU runs, unless NAS_KERNELS or
 * nas_kernels_use names another.  Chosen once; never changes bits by threads. */
const nas_kernels *nas_kernels_get(void);
/** Selects a set by name; false if unknown or not runnable here. */
bool nas_kernels_use(const char *name);
/** Names of the sets that run here, best first, NULL-terminated. */
const char *const *nas_kernels_names(void);
/** A set by name, NULL if unknown or not runnable here. */
const nas_kernels *nas_kernels_find(const char *name);

/** act and act' of one value; the definition all kernels agree with.
 * Derivatives at kinks are PyTorch's: relu'(0) = 0, relu6'(0) = relu6'(6) = 0,
 * hswish'(-3) = 0 side, hsigmoid'(+-3) = 0. */
float nas_act_value(nas_act act, float x);
float nas_act_slope(nas_act act, float x);

#endif
