/* SGD in one pass over weights, gradients and momentum: bound by memory. */
#include "ops/kernel/simd_kernels.h"

enum {
    PIECE = 16384,   /* weights that a thread takes at a time               */
    PIECES_WORTH = 4 /* fewer are not worth waking the other threads        */
};

typedef struct sgd_rule {
    float lr, momentum, decay;
    bool nesterov;
} sgd_rule;

NAS_INLINE void sgd_lanes(sgd_rule rule, float *w, const float *grad, float *m, int n)
{
    const vfloat weight = v_load_n(w, n);
    const vfloat d = v_load_n(grad, n) + rule.decay * weight;
    const vfloat moved = rule.momentum * v_load_n(m, n) + d;

    v_store_n(m, moved, n);
    v_store_n(w, weight - rule.lr * (rule.nesterov ? d + rule.momentum * moved : moved), n);
}

static void sgd_piece(sgd_rule rule, size_t count, float *w, const float *grad, float *m)
{
    size_t i = 0;

    for (; i + NAS_VL <= count; i += NAS_VL)
        sgd_lanes(rule, w + i, grad + i, m + i, NAS_VL);
    if (i < count)
        sgd_lanes(rule, w + i, grad + i, m + i, (int)(count - i));
}

void NAS_ISA_NAME(nas_k_sgd)(size_t count, float *w, const float *grad, float *m, float lr,
                             float momentum, float decay, bool nesterov)
{
    const sgd_rule rule = {lr, momentum, decay, nesterov};
    const size_t pieces = (count + PIECE - 1) / PIECE;

#pragma omp parallel for schedule(static) if (pieces >= PIECES_WORTH)
    for (size_t piece = 0; piece < pieces; piece++) {
        const size_t from = piece * PIECE;

        sgd_piece(rule, count - from < PIECE ? count - from : PIECE, w + from, grad + from,
                  m + from);
    }
}
