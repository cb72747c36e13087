/* What int8 kernels are made of: vectors of NAS_VL 32-bit sums, and what becomes of them.  Included
 * by int8_simd.c alone.
 *
 * Products of 8-bit numbers are summed in pairs: both are widened to 16 bits, two terms lie side
 * by side in 32, and one instruction (pmaddwd) multiplies both and adds them without loss.  (The
 * 8-bit form, pmaddubsw, saturates at two products of 255 * 127.) */
#ifndef NAS_OPS_KERNEL_INT8_SIMD_H
#define NAS_OPS_KERNEL_INT8_SIMD_H

#include "ops/kernel/int8_common.h"
#include "ops/kernel/simd.h"

static inline size_t cache_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }
static inline int least(int a, int b) { return a < b ? a : b; }
static inline int most(int a, int b) { return a > b ? a : b; }

NAS_INLINE vint vi_load(const void *p)
{
    vint v;
    memcpy(&v, p, sizeof v);
    return v;
}

NAS_INLINE vint vi_set(int x) { return x - (vint){0}; }

/* sum + a.low * b.low + a.high * b.high, of the 16-bit halves of each lane. */
NAS_INLINE vint v_pairs(vint sum, vint a, vint b)
{
#if NAS_VL == 8 && defined __AVX2__
    return sum + (vint)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif NAS_VL == 4 && defined __SSE2__
    return sum + (vint)__builtin_ia32_pmaddwd128((short __attribute__((vector_size(16))))a,
                                                 (short __attribute__((vector_size(16))))b);
#else
    return sum + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}

/* The nearest integers, halves to even. */
NAS_INLINE vint v_nearest(vfloat v)
{
#if NAS_VL == 8 && defined __AVX2__
    return (vint)_mm256_cvtps_epi32((__m256)v);
#elif NAS_VL == 4 && defined __SSE2__
    return (vint)__builtin_ia32_cvtps2dq(v);
#else
    const vfloat cut = v_min(v_max(v, v_set(-4e6f)), v_set(4e6f)); /* far from every code */

    return (vint)(cut + NAS_Q8_MAGIC) - NAS_Q8_MAGIC_BITS;
#endif
}

/* Codes less their zero. */
NAS_INLINE vint v_round(const nas_q8_grid *grid, vfloat v)
{
    return v_nearest(v_min(v_max(v, v_set(grid->lo)), v_set(grid->hi)) * grid->inverse);
}

/* NAS_VL bytes as lanes, and lanes as bytes (0..255) and as 16-bit numbers.  The portable forms are
 * right everywhere; compilers make single steps of them, so the sets have forms of their own. */
#if NAS_VL == 8 && defined __AVX2__
NAS_INLINE vint v_widen(const uint8_t *p)
{
    return (vint)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}

NAS_INLINE __m128i v_halves_(vint v)
{
    return _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v),
                           _mm256_extracti128_si256((__m256i)v, 1));
}

/* Two vectors, cut to least..most, as bytes at two places. */
NAS_INLINE void v_bytes(uint8_t *first, uint8_t *second, vint a, vint b, int least, int most)
{
    const __m128i small = _mm_packus_epi16(v_halves_(a), v_halves_(b));
    const __m128i cut = _mm_min_epu8(_mm_max_epu8(small, _mm_set1_epi8((char)least)),
                                     _mm_set1_epi8((char)most));

    _mm_storel_epi64((__m128i *)first, cut);
    _mm_storeh_pd((double *)second, (__m128d)cut);
}

NAS_INLINE void v_shorts(int16_t *to, vint v) { _mm_storeu_si128((__m128i *)to, v_halves_(v)); }

/* Two vectors, cut to least..most, less zero, as 16-bit numbers: a's 0-3, b's 0-3, a's 4-7, b's. */
NAS_INLINE __m256i v_cut_(vint a, vint b, int least, int most, int zero)
{
    const __m256i both = _mm256_packs_epi32((__m256i)a, (__m256i)b);
    const __m256i cut = _mm256_min_epi16(_mm256_max_epi16(both, _mm256_set1_epi16((short)least)),
                                         _mm256_set1_epi16((short)most));

    return _mm256_sub_epi16(cut, _mm256_set1_epi16((short)zero));
}

NAS_INLINE vint v_cut_pair(vint low, vint high, int least, int most, int zero)
{
    const __m256i order = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 0,
                                           1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);

    return (vint)_mm256_shuffle_epi8(v_cut_(low, high, least, most, zero), order);
}

NAS_INLINE void v_cut_shorts(int16_t *first, int16_t *second, vint a, vint b, int least, int most,
                             int zero)
{
    const __m256i cut = _mm256_permute4x64_epi64(v_cut_(a, b, least, most, zero), 0xd8);

    _mm_storeu_si128((__m128i *)first, _mm256_castsi256_si128(cut));
    _mm_storeu_si128((__m128i *)second, _mm256_extracti128_si256(cut, 1));
}
#else
NAS_INLINE vint v_widen(const uint8_t *p)
{
    vint v;

    for (int i = 0; i < NAS_VL; i++)
        v[i] = p[i];
    return v;
}

NAS_INLINE void v_bytes(uint8_t *first, uint8_t *second, vint a, vint b, int least, int most)
{
    for (int i = 0; i < NAS_VL; i++) {
        first[i] = (uint8_t)(a[i] < least ? least : a[i] > most ? most : a[i]);
        second[i] = (uint8_t)(b[i] < least ? least : b[i] > most ? most : b[i]);
    }
}

NAS_INLINE void v_shorts(int16_t *to, vint v)
{
    for (int i = 0; i < NAS_VL; i++)
        to[i] = (int16_t)v[i];
}

NAS_INLINE vint v_cut_(vint v, int least, int most, int zero)
{
    const vint below = v < least, above = v > most;

    return ((v & ~below & ~above) | (below & least) | (above & most)) - zero;
}

/* Two vectors, cut to least..most, less zero: the low and the high halves of lanes. */
NAS_INLINE vint v_cut_pair(vint low, vint high, int least, int most, int zero)
{
    return (v_cut_(low, least, most, zero) & 0xffff) | v_cut_(high, least, most, zero) << 16;
}

/* The same as 16-bit numbers at two places. */
NAS_INLINE void v_cut_shorts(int16_t *first, int16_t *second, vint a, vint b, int least, int most,
                             int zero)
{
    v_shorts(first, v_cut_(a, least, most, zero));
    v_shorts(second, v_cut_(b, least, most, zero));
}
#endif

/* `n` values of the input from element `at` on, less the zero; the lanes behind them are 0.
 * CODES and WHOLE (n is at least NAS_VL) are constants. */
NAS_INLINE vint v_input(const bool CODES, const bool WHOLE, const nas_q8_input *in, const float *gate,
                        size_t at, int n)
{
    if (CODES && WHOLE)
        return v_widen(in->codes + at) - in->grid.zero;
    if (CODES) {
        vint lanes = {0};
        for (int i = 0; i < n; i++)
            lanes[i] = in->codes[at + (size_t)i] - in->grid.zero;
        return lanes;
    }
    vfloat x = WHOLE ? v_load(in->x + at) : v_load_n(in->x + at, n);
    if (gate != NULL)
        x *= WHOLE ? v_load(gate) : v_load_n(gate, n);
    return v_round(&in->grid, x); /* every grid has 0 */
}

/* What is made of sums; a constant where the loops are. */
typedef enum ending {
    ROUNDED, /* codes, as they come                      */
    BENT,    /* codes of an activation that is no limit  */
    PLAIN,   /* values without activation, with residual */
    VALUES   /* values, as the output says               */
} ending;

static ending ending_of(const nas_q8_output *out)
{
    return out->codes == NULL ? (out->act == NAS_ACT_NONE ? PLAIN : VALUES)
                              : out->act == NAS_ACT_NONE ? ROUNDED : BENT;
}

/* Sums, activated; of codes, before they are rounded. */
NAS_INLINE vfloat rescaled(const ending KIND, const nas_q8_output *out, vint sum, vfloat scale,
                           vfloat bias)
{
    const vfloat product = __builtin_convertvector(sum, vfloat) * scale;
    vfloat v = product + bias;

    if (KIND == BENT || KIND == VALUES)
        v = v_act(out->act, v);
    if (KIND == BENT)
        v = v * out->inverse + out->zero;
    return v;
}

/* The same of channels from c on. */
NAS_INLINE vfloat scaled(const ending KIND, const nas_q8_output *out, vint sum, int c)
{
    return rescaled(KIND, out, sum, v_load(out->scale + c), v_load(out->bias + c));
}

/* Sums of n channels from c on become output elements from `at` on. */
NAS_INLINE void finish(const ending KIND, const nas_q8_output *out, vint sum, int c, size_t at,
                       int n)
{
    vfloat v = scaled(KIND, out, sum, c);

    if (KIND == PLAIN || KIND == VALUES) {
        if (out->residual != NULL)
            v += n >= NAS_VL ? v_load(out->residual + at) : v_load_n(out->residual + at, n);
        n >= NAS_VL ? v_store(out->y + at, v) : v_store_n(out->y + at, v, n);
        return;
    }
    const vint code = v_nearest(v);
    for (int i = 0; i < n && i < NAS_VL; i++)
        out->codes[at + (size_t)i] =
            (uint8_t)(code[i] < out->least ? out->least : code[i] > out->most ? out->most : code[i]);
}

/* Two whole vectors: of channels from c and d on, elements from `at` and `to` on. */
NAS_INLINE void finish_two(const ending KIND, const nas_q8_output *out, vint a, vint b, int c,
                           int d, size_t at, size_t to)
{
    if (KIND == PLAIN || KIND == VALUES) {
        finish(KIND, out, a, c, at, NAS_VL);
        finish(KIND, out, b, d, to, NAS_VL);
        return;
    }
    v_bytes(out->codes + at, out->codes + to, v_nearest(scaled(KIND, out, a, c)),
            v_nearest(scaled(KIND, out, b, d)), out->least, out->most);
}

/* Runs `call` with KIND being `kind` as a constant. */
#define WITH_KIND_(value, call)     \
    case value: {                   \
        const ending KIND = value;  \
        call;                       \
        break;                      \
    }
#define WITH_KIND(kind, call)       \
    switch (kind) {                 \
        WITH_KIND_(ROUNDED, call)   \
        WITH_KIND_(BENT, call)      \
        WITH_KIND_(PLAIN, call)     \
        WITH_KIND_(VALUES, call)    \
    }

#endif
