/* One source for every instruction set: GCC vectors of NAS_VL floats.
 *
 * The files named *_simd.c are compiled once for each set with NAS_VL (4, 8 or
 * 16) and NAS_ISA (portable, avx2, avx512) defined, -ffp-contract=fast so that
 * a*b+c is one fused operation, and the set's -m flags; NAS_ISA_NAME(x) keeps
 * their symbols apart. */
#ifndef NAS_OPS_KERNEL_SIMD_H
#define NAS_OPS_KERNEL_SIMD_H

#include <string.h>

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

NAS_INLINE vfloat v_min(vfloat a, vfloat b) { return v_select(a < b, a, b); }
NAS_INLINE vfloat v_max(vfloat a, vfloat b) { return v_select(a > b, a, b); }

#endif
