/* One source for every instruction set: GCC vectors of NAS_VL floats.
 *
 * The files named *_simd.c are compiled once for each set with NAS_VL (4, 8 or
 * 16) and NAS_ISA (portable, avx2, avx512, amx) defined, -ffp-contract=fast so that
 * a*b+c is one fused operation, and the set's -m flags; NAS_ISA_NAME(x) keeps
 * their symbols apart. */
#ifndef NAS_OPS_KERNEL_SIMD_H
#define NAS_OPS_KERNEL_SIMD_H

#include <string.h>

#if defined __AVX2__
#include <immintrin.h>
#endif

#include "ops/kernel/kernel.h"

#define NAS_ISA_PASTE_(a, b) a##_##b
#define NAS_ISA_PASTE(a, b) NAS_ISA_PASTE_(a, b)
#define NAS_ISA_NAME(name) NAS_ISA_PASTE(name, NAS_ISA)

#define NAS_INLINE static inline __attribute__((always_inline))

typedef float vfloat __attribute__((vector_size(NAS_VL * 4)));
typedef int vint __attribute__((vector_size(NAS_VL * 4)));

NAS_INLINE vfloat v_load(const float *p)
{
    vfloat v;
    memcpy(&v, p, sizeof v);
    return v;
}

NAS_INLINE void v_store(float *p, vfloat v) { memcpy(p, &v, sizeof v); }

NAS_INLINE vfloat v_set(float x) { return x - (vfloat){0}; }

/* Lanes of a where the mask is all ones, of b where it is zero. */
NAS_INLINE vfloat v_select(vint mask, vfloat a, vfloat b)
{
    return (vfloat)(((vint)a & mask) | ((vint)b & ~mask));
}

/* v_min and v_max give the second operand if either is not a number. */
#if NAS_VL == 16 && defined __AVX512F__
NAS_INLINE vfloat v_min(vfloat a, vfloat b) { return (vfloat)_mm512_min_ps((__m512)a, (__m512)b); }
NAS_INLINE vfloat v_max(vfloat a, vfloat b) { return (vfloat)_mm512_max_ps((__m512)a, (__m512)b); }

/* The first n (0..NAS_VL) lanes from memory, zero in the others. */
NAS_INLINE vfloat v_load_n(const float *p, int n)
{
    return (vfloat)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

NAS_INLINE void v_store_n(float *p, vfloat v, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#elif NAS_VL == 8 && defined __AVX2__
NAS_INLINE vfloat v_min(vfloat a, vfloat b) { return (vfloat)_mm256_min_ps((__m256)a, (__m256)b); }
NAS_INLINE vfloat v_max(vfloat a, vfloat b) { return (vfloat)_mm256_max_ps((__m256)a, (__m256)b); }

NAS_INLINE __m256i v_first_lanes_(int n)
{
    static const int lanes[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

    return _mm256_loadu_si256((const __m256i *)(lanes + 8 - n));
}

/* The first n (0..NAS_VL) lanes from memory, zero in the others. */
NAS_INLINE vfloat v_load_n(const float *p, int n)
{
    return (vfloat)_mm256_maskload_ps(p, v_first_lanes_(n));
}

NAS_INLINE void v_store_n(float *p, vfloat v, int n)
{
    _mm256_maskstore_ps(p, v_first_lanes_(n), (__m256)v);
}
#else
NAS_INLINE vfloat v_min(vfloat a, vfloat b) { return v_select(a < b, a, b); }
NAS_INLINE vfloat v_max(vfloat a, vfloat b) { return v_select(a > b, a, b); }

/* The first n (0..NAS_VL) lanes from memory, zero in the others. */
NAS_INLINE vfloat v_load_n(const float *p, int n)
{
    vfloat v = {0};

    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}

NAS_INLINE void v_store_n(float *p, vfloat v, int n) { memcpy(p, &v, (size_t)n * sizeof *p); }
#endif

/* Lanes [0, n) of memory; n is read only where PART is set. */
NAS_INLINE vfloat v_get(const bool PART, const float *p, int n)
{
    return PART ? v_load_n(p, n) : v_load(p);
}

NAS_INLINE void v_put(const bool PART, float *p, vfloat v, int n)
{
    if (PART)
        v_store_n(p, v, n);
    else
        v_store(p, v);
}

/* The value of a gradient view, rounded alike in every kernel: with all operands loaded, both
 * products and sums stand in one basic block, and there the compiler fuses both or none. */
NAS_INLINE vfloat v_grad(vfloat a, vfloat g, vfloat b, vfloat raw, vfloat k)
{
    return a * g + (b * raw + k);
}

/* nas_act_value of each lane; not-a-number passes through. */
NAS_INLINE vfloat v_act(const nas_act act, vfloat x)
{
    const vfloat zero = {0}, six = v_set(6);

    switch (act) {
    case NAS_ACT_NONE: return x;
    case NAS_ACT_RELU: return v_max(zero, x);
    case NAS_ACT_RELU6: return v_min(six, v_max(zero, x));
    case NAS_ACT_HSWISH: return x * (v_min(six, v_max(zero, x + 3)) * (1.0f / 6));
    case NAS_ACT_HSIGMOID: return v_min(six, v_max(zero, x + 3)) * (1.0f / 6);
    }
    return x;
}

/* g * nas_act_slope of each lane of z. */
NAS_INLINE vfloat v_act_grad(const nas_act act, vfloat z, vfloat g)
{
    const vfloat zero = {0};

    switch (act) {
    case NAS_ACT_NONE: return g;
    case NAS_ACT_RELU: return v_select(z > 0, g, zero);
    case NAS_ACT_RELU6: return v_select((z > 0) & (z < 6), g, zero);
    case NAS_ACT_HSWISH:
        g = v_select(z <= 3, g * (z * (1.0f / 3) + 0.5f), g);
        return v_select(z > -3, g, zero);
    case NAS_ACT_HSIGMOID: return v_select((z > -3) & (z < 3), g * (1.0f / 6), zero);
    }
    return g;
}

/* Runs `call` with ACT being `act` as a constant, so that the loops in it are
 * compiled once for each activation and hold no branch. */
#define NAS_WITH_ACT_(value, call)  \
    case value: {                   \
        const nas_act ACT = value;  \
        call;                       \
        break;                      \
    }
#define NAS_WITH_ACT(act, call)                   \
    switch (act) {                                \
        NAS_WITH_ACT_(NAS_ACT_NONE, call)         \
        NAS_WITH_ACT_(NAS_ACT_RELU, call)         \
        NAS_WITH_ACT_(NAS_ACT_RELU6, call)        \
        NAS_WITH_ACT_(NAS_ACT_HSWISH, call)       \
        NAS_WITH_ACT_(NAS_ACT_HSIGMOID, call)     \
    }

#endif
