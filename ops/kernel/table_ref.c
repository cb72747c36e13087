/* The set of reference kernels. */
#include "ops/kernel/ref.h"

extern const nas_kernels nas_kernels_reference;

#define NAS_REF_TABLE(name) \
    {nas_ref_##name##_scratch, nas_ref_##name##_forward, nas_ref_##name##_backward}

const nas_kernels nas_kernels_reference = {
    .name = "reference",
    .pointwise = NAS_REF_TABLE(conv), /* the general one, with k = 1 */
    .depthwise = NAS_REF_TABLE(depthwise),
    .conv = NAS_REF_TABLE(conv),
    .bn_forward = nas_ref_bn_forward,
    .bn_backward = nas_ref_bn_backward,
    .apply = nas_ref_apply,
    .apply_grad = nas_ref_apply_grad,
    .mask = nas_ref_mask,
    .add = nas_ref_add,
    .dot = nas_ref_dot,
    .view_dot = nas_ref_view_dot,
    .mean_pool = nas_ref_mean_pool,
    .mean_pool_backward = nas_ref_mean_pool_backward,
    .max_pool = nas_ref_max_pool,
    .max_pool_backward = nas_ref_max_pool_backward,
    .avg_pool = nas_ref_avg_pool,
    .avg_pool_backward = nas_ref_avg_pool_backward,
    .gate_grad = nas_ref_gate_grad,
    .gate_mask = nas_ref_gate_mask,
    .linear = nas_ref_linear,
    .linear_backward = nas_ref_linear_backward,
    .act_backward = nas_ref_act_backward,
    .dropout = nas_ref_dropout,
    .cross_entropy = nas_ref_cross_entropy,
    .sgd = nas_ref_sgd,
    .adam = nas_ref_adam,
};
