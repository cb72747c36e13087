/* Runs one convolution of a set of kernels on repeatable data, in every way that
 * kernel.h allows, so that two sets (or two thread counts) can be compared. */
#ifndef NAS_TESTS_OPS_KERNEL_CONV_CHECK_H
#define NAS_TESTS_OPS_KERNEL_CONV_CHECK_H

#include "ops/kernel/kernel.h"

typedef struct nas_conv_kernels conv_kernels;

typedef enum conv_view {
    VIEW_PLAIN,
    VIEW_ACT,
    VIEW_NORM,
    VIEW_GATE,
    VIEW_NORM_GATE,
    VIEWS
} conv_view;

/** What a run does besides the bare convolution. */
enum {
    RUN_STATS = 1,      /* training: raw output and statistics                 */
    RUN_BIAS = 2,       /* evaluation                                          */
    RUN_RESIDUAL = 4,   /* evaluation                                          */
    RUN_W_SCALE = 8,    /* filters scaled                                      */
    RUN_GRAD_VIEW = 16, /* backward: the gradient comes as a*g + b*raw + k     */
    RUN_ADD = 32,       /* backward: dx += (only where the view is not masked) */
    RUN_NO_DX = 64,
    RUN_NO_DW = 128
};

typedef struct conv_case {
    nas_conv_geom geom;
    conv_view view;
    nas_act act, out_act;
    int flags;
    float spread; /* inputs lie in [-spread, spread); 0: 4, beyond all kinks */
} conv_case;

/** Everything one forward and one backward wrote; freed by conv_result_fini. */
typedef struct conv_result {
    size_t y_count, stats_count, dx_count, sums_count, dw_count;
    float *y, *stats, *dx, *sums, *dw;
} conv_result;

/** Fills in oh and ow. */
nas_conv_geom conv_geom(int n, int h, int w, int cin, int cout, int k, int stride, int groups);

/** Runs forward and backward with scratch for `threads` threads that holds NaN
 * before, and fails the test if the kernels write outside of it. */
conv_result conv_run(const conv_kernels *kernels, const conv_case *c, int threads);
void conv_result_fini(conv_result *result);

/** Largest error of `a` against `b` over all outputs, each relative to its
 * largest element. */
double conv_result_error(const conv_result *a, const conv_result *b);
bool conv_result_equal(const conv_result *a, const conv_result *b);

/** Fails the test if the kernels of `fast` are further than `tolerance` from
 * those of the reference, or change bits with the thread count, in any view and
 * epilogue on this geometry. */
void conv_check(const conv_kernels *fast, const conv_kernels *reference, nas_conv_geom geom,
                double tolerance);

/** Worst error of backward against central differences of forward, of input and
 * weights, with inputs between the kinks of hswish. */
double conv_gradient_error(const conv_kernels *kernels, nas_conv_geom geom, conv_view view,
                           nas_act act);

#endif
