/* The fast kernels as one instruction set compiles them (NAS_ISA, see simd.h);
 * what is not here has only its reference version.  Private to ops/kernel. */
#ifndef NAS_OPS_KERNEL_SIMD_KERNELS_H
#define NAS_OPS_KERNEL_SIMD_KERNELS_H

#include "ops/kernel/kernel.h"
#include "ops/kernel/simd.h"

#define NAS_SIMD_CONV(name)                                                                  \
    size_t NAS_ISA_NAME(nas_k_##name##_scratch)(const nas_conv_geom *geom, int threads);     \
    void NAS_ISA_NAME(nas_k_##name##_forward)(const nas_conv_geom *geom, const nas_view *x,  \
                                              const float *w, const float *w_scale,          \
                                              const nas_conv_out *out, void *scratch);       \
    void NAS_ISA_NAME(nas_k_##name##_backward)(const nas_conv_geom *geom, const nas_view *x, \
                                               const float *w, const nas_grad_view *dy,      \
                                               const nas_conv_grad *out, void *scratch);
NAS_SIMD_CONV(pointwise)
size_t NAS_ISA_NAME(nas_k_pointwise_packed_floats)(const nas_conv_geom *geom);
void NAS_ISA_NAME(nas_k_pointwise_pack)(const nas_conv_geom *geom, const float *w, float *packed);
void NAS_ISA_NAME(nas_k_pointwise_dots)(const nas_conv_geom *geom, const nas_view *x,
                                        const float *w, const float *dy, float *stats, float *dots,
                                        void *scratch);
NAS_SIMD_CONV(depthwise)
NAS_SIMD_CONV(conv)
#undef NAS_SIMD_CONV

bool NAS_ISA_NAME(nas_k_expanded_worth)(const nas_conv_geom *geom, int cin, nas_act act);
size_t NAS_ISA_NAME(nas_k_expanded_scratch)(const nas_conv_geom *geom, int cin, int threads);
void NAS_ISA_NAME(nas_k_expanded_moments)(int n, int hw, int c, const float *x, float *x_mean,
                                          float *x_cov, void *scratch);
void NAS_ISA_NAME(nas_k_expanded_statistics)(const nas_conv_geom *geom, const nas_product *product,
                                             const float *x_mean, const float *x_cov, float *mean,
                                             float *var, void *scratch);
void NAS_ISA_NAME(nas_k_expanded_forward)(const nas_conv_geom *geom, const nas_product *product,
                                          const nas_product_bn *bn, const float *w,
                                          const nas_conv_out *out, void *scratch);
void NAS_ISA_NAME(nas_k_expanded_backward)(const nas_conv_geom *geom, const nas_product *product,
                                           const nas_product_bn *bn, const float *w,
                                           const nas_grad_view *dy, const nas_expanded_grad *out,
                                           void *scratch);

void NAS_ISA_NAME(nas_k_apply)(int n, int hw, int c, const nas_view *x, const float *residual,
                               float *y);
void NAS_ISA_NAME(nas_k_apply_grad)(int n, int hw, int c, const nas_grad_view *dy, float *y);
void NAS_ISA_NAME(nas_k_mask)(int n, int hw, int c, const nas_view *x, const float *mean,
                              const float *invstd, const float *dy, float *g, float *sums);
void NAS_ISA_NAME(nas_k_add)(size_t count, const float *x, float *y);
double NAS_ISA_NAME(nas_k_dot)(size_t count, const float *x, const float *y);
double NAS_ISA_NAME(nas_k_view_dot)(int n, int hw, int c, const nas_view *x, const float *y);

void NAS_ISA_NAME(nas_k_mean_pool)(int n, int hw, int c, const nas_view *x, float *y);
void NAS_ISA_NAME(nas_k_mean_pool_backward)(int n, int hw, int c, const nas_view *x,
                                            const float *dy, const nas_conv_grad *out);

void NAS_ISA_NAME(nas_k_gate_grad)(int n, int hw, int c, const nas_view *x, const float *dv,
                                   float *dgate);
void NAS_ISA_NAME(nas_k_gate_mask)(int n, int hw, int c, const nas_view *x, const float *mean,
                                   const float *invstd, const float *dv, const float *dpool,
                                   float *g, float *sums);

void NAS_ISA_NAME(nas_k_linear)(int rows, int in, int out, const float *x, const float *w,
                                const float *bias, nas_act act, float *y);
void NAS_ISA_NAME(nas_k_linear_backward)(int rows, int in, int out, const float *x,
                                         const float *w, const float *dy, float *dx, float *dw,
                                         float *db);

void NAS_ISA_NAME(nas_k_sgd)(size_t count, float *w, const float *grad, float *m, float lr,
                             float momentum, float decay, bool nesterov);

#endif
