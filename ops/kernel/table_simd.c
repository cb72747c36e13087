/* The set of fast kernels of one instruction set; where none is worth having,
 * the reference one. */
#include "ops/kernel/ref.h"
#include "ops/kernel/simd_kernels.h"

#define NAS_STRING_(x) #x
#define NAS_STRING(x) NAS_STRING_(x)
#define NAS_SET NAS_ISA_PASTE(nas_kernels, NAS_ISA)
#define NAS_SIMD_TABLE(name)                                                         \
    {NAS_ISA_NAME(nas_k_##name##_scratch), NAS_ISA_NAME(nas_k_##name##_forward),     \
     NAS_ISA_NAME(nas_k_##name##_backward)}

extern const nas_kernels NAS_SET;

const nas_kernels NAS_SET = {
    .name = NAS_STRING(NAS_ISA),
    .pointwise = {NAS_ISA_NAME(nas_k_pointwise_scratch), NAS_ISA_NAME(nas_k_pointwise_forward),
                  NAS_ISA_NAME(nas_k_pointwise_backward),
                  NAS_ISA_NAME(nas_k_pointwise_packed_floats), NAS_ISA_NAME(nas_k_pointwise_pack)},
    .depthwise = NAS_SIMD_TABLE(depthwise),
    .conv = NAS_SIMD_TABLE(conv),
    .expanded = {NAS_ISA_NAME(nas_k_expanded_worth), NAS_ISA_NAME(nas_k_expanded_scratch),
                 NAS_ISA_NAME(nas_k_expanded_moments), NAS_ISA_NAME(nas_k_expanded_statistics),
                 NAS_ISA_NAME(nas_k_expanded_forward), NAS_ISA_NAME(nas_k_expanded_backward)},
    .bn_forward = nas_ref_bn_forward,
    .bn_backward = nas_ref_bn_backward,
    .pointwise_dots = NAS_ISA_NAME(nas_k_pointwise_dots),
    .apply = NAS_ISA_NAME(nas_k_apply),
    .apply_grad = NAS_ISA_NAME(nas_k_apply_grad),
    .mask = NAS_ISA_NAME(nas_k_mask),
    .add = NAS_ISA_NAME(nas_k_add),
    .dot = NAS_ISA_NAME(nas_k_dot),
    .view_dot = NAS_ISA_NAME(nas_k_view_dot),
    .mean_pool = NAS_ISA_NAME(nas_k_mean_pool),
    .mean_pool_backward = NAS_ISA_NAME(nas_k_mean_pool_backward),
    .max_pool = nas_ref_max_pool,
    .max_pool_backward = nas_ref_max_pool_backward,
    .avg_pool = nas_ref_avg_pool,
    .avg_pool_backward = nas_ref_avg_pool_backward,
    .gate_grad = NAS_ISA_NAME(nas_k_gate_grad),
    .gate_mask = NAS_ISA_NAME(nas_k_gate_mask),
    .linear = NAS_ISA_NAME(nas_k_linear),
    .linear_backward = NAS_ISA_NAME(nas_k_linear_backward),
    .act_backward = nas_ref_act_backward,
    .dropout = nas_ref_dropout,
    .cross_entropy = nas_ref_cross_entropy,
    .sgd = NAS_ISA_NAME(nas_k_sgd),
    .adam = nas_ref_adam,
};
