/* The parts of int8 kernels that are written for pairs of 16-bit terms, for every instruction set
 * but 64-bit ARM's (int8_neon.h) and AVX-512 with VNNI (int8_vnni.h).  Included by int8_simd.h
 * alone.
 *
 * Products of 8-bit numbers are summed in pairs: both are widened to 16 bits, two terms lie side
 * by side in 32, and one instruction (pmaddwd) multiplies both and adds them without loss.  (The
 * 8-bit form, pmaddubsw, saturates at two products of 255 * 127.) */
#ifndef NAS_OPS_KERNEL_INT8_PAIRS_H
#define NAS_OPS_KERNEL_INT8_PAIRS_H

#define NAS_Q8_CELL 2

typedef int16_t term, cell_term; /* a code less its zero, so that sums lack nothing */
typedef vint cell;

enum {
    ROWS = 6, TALL = ROWS, BLOCK = 2, WORD = 2, CELL = NAS_Q8_CELL, SPAN = 2, WEIGHT_SUMS = 0,
    CELL_SUMS = 0, DIRECT = 1
};

/* A level (a code less its zero) as a term. */
static inline term term_of(int level, int zero) { return (term)level; }

/* What sums of such terms lack, given the sums of their weights. */
NAS_INLINE vint v_lack(vint weights, int zero) { return (vint){0}; }

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

/* Adds `run` pairs of `count` rows, `step` terms apart, times VECTORS of a panel to their sums. */
NAS_INLINE void tile_run(const int count, const int VECTORS, ptrdiff_t step, int run, const term *a,
                         const term *b, vint sum[TALL][2])
{
    for (int t = 0; t < run; t++, b += WORD * PANEL) {
        const vint first = vi_load(b), second = VECTORS > 1 ? vi_load(b + PANEL) : (vint){0};

        for (int r = 0; r < count; r++) {
            int both;
            memcpy(&both, a + r * step + WORD * t, sizeof both);
            sum[r][0] = v_pairs(sum[r][0], vi_set(both), first);
            if (VECTORS > 1)
                sum[r][1] = v_pairs(sum[r][1], vi_set(both), second);
        }
    }
}

NAS_INLINE vint v_cells(vint sum, cell x, cell w) { return v_pairs(sum, x, w); }

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

NAS_INLINE void v_put_levels(term *to, vint levels, int zero) { v_shorts(to, levels); }

NAS_INLINE cell v_cell(const vint level[CELL], int zero)
{
    return (level[0] & 0xffff) | level[1] << 16;
}

/* Codes, cut to least..most, as a cell. */
NAS_INLINE cell v_cut_cell(const vint code[CELL], int least, int most, int zero)
{
    return v_cut_pair(code[0], code[1], least, most, zero);
}

/* Codes of `count` pixels, at most SPAN, cut likewise, as terms: [pixel][channel of BLOCK vectors];
 * code[1] of one pixel is its own again. */
NAS_INLINE void v_cut_terms(term *to, const vint code[SPAN], int count, int least, int most,
                            int zero)
{
    v_cut_shorts(to, count < SPAN ? to : to + BLOCK * NAS_VL, code[0], code[1], least, most, zero);
}

/* Quicker ways from codes to terms and cells: there are none. */
NAS_INLINE int put_codes(term *to, const uint8_t *codes, int count) { return 0; }
NAS_INLINE bool put_cell(cell *to, const uint8_t *codes, size_t step) { return false; }

#endif
