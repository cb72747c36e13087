/* The parts of int8 kernels that x86 processors with AVX-512 and VNNI have instructions for.
 * Included by int8_simd.h alone.
 *
 * Terms are codes, four of them side by side in 32 bits: one instruction (vpdpbusd) multiplies four
 * unsigned codes by four signed weights and adds all to a sum, and nothing saturates.  What the
 * sums lack is -zero times the sum of the weights, which is packed with them. */
#ifndef NAS_OPS_KERNEL_INT8_VNNI_H
#define NAS_OPS_KERNEL_INT8_VNNI_H

#define NAS_Q8_CELL 4

typedef int8_t term, cell_term; /* a weight, or the bits of a code, which are read as unsigned */
typedef vint cell;

/* A task takes one vector of channels: it has as many as two of AVX2. */
enum {
    ROWS = 8, TALL = 16, BLOCK = 1, WORD = 4, CELL = NAS_Q8_CELL, SPAN = 4, WEIGHT_SUMS = 1,
    CELL_SUMS = 1, DIRECT = 1
};

static inline term term_of(int level, int zero) { return (term)(level + zero); }

NAS_INLINE vint v_lack(vint weights, int zero) { return weights * -zero; }

NAS_INLINE vint v_cells(vint sum, cell x, cell w)
{
    return (vint)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)w);
}

/* Adds `run` words of `count` rows, `step` terms apart, times VECTORS of a panel to their sums.
 * Four rows share a pointer: one for each would be more than there are registers. */
NAS_INLINE void tile_run(const int count, const int VECTORS, ptrdiff_t step, int run, const term *a,
                         const term *b, vint sum[TALL][2])
{
    const term *row[TALL / 4];

    for (int r = 0; r < count; r += 4)
        row[r / 4] = a + r * step;
    for (int t = 0; t < run; t++, b += WORD * PANEL) {
        const vint first = vi_load(b), second = VECTORS > 1 ? vi_load(b + WORD * NAS_VL) : first;

        for (int r = 0; r < count; r++) {
            int word;
            memcpy(&word, row[r / 4] + r % 4 * step, sizeof word);
            const vint all = (vint)_mm512_set1_epi32(word);
            sum[r][0] = v_cells(sum[r][0], all, first);
            if (VECTORS > 1)
                sum[r][1] = v_cells(sum[r][1], all, second);
        }
        for (int r = 0; r < count; r += 4)
            row[r / 4] += WORD;
    }
}

/* The nearest integers, halves to even; not-a-number far below every code. */
NAS_INLINE vint v_nearest(vfloat v) { return (vint)_mm512_cvtps_epi32((__m512)v); }

NAS_INLINE vint v_widen(const uint8_t *p)
{
    return (vint)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}

/* Two vectors, cut to least..most, as bytes at two places. */
NAS_INLINE void v_bytes(uint8_t *first, uint8_t *second, vint a, vint b, int least, int most)
{
    const __m512i low = _mm512_set1_epi32(least), high = _mm512_set1_epi32(most);
    const __m512i one = _mm512_min_epi32(_mm512_max_epi32((__m512i)a, low), high);
    const __m512i two = _mm512_min_epi32(_mm512_max_epi32((__m512i)b, low), high);

    _mm_storeu_si128((__m128i *)first, _mm512_cvtepi32_epi8(one));
    _mm_storeu_si128((__m128i *)second, _mm512_cvtepi32_epi8(two));
}

/* ---- terms and cells ---- */

NAS_INLINE void v_put_levels(term *to, vint levels, int zero)
{
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8((__m512i)(levels + zero)));
}

/* Codes are terms as they are. */
NAS_INLINE int put_codes(term *to, const uint8_t *codes, int count)
{
    memcpy(to, codes, (size_t)count);
    return count;
}

/* Four vectors, saturated to bytes: four lanes of each, one vector after the other, then the next
 * four lanes. */
NAS_INLINE __m512i v_four_(const vint v[4])
{
    return _mm512_packus_epi16(_mm512_packs_epi32((__m512i)v[0], (__m512i)v[1]),
                               _mm512_packs_epi32((__m512i)v[2], (__m512i)v[3]));
}

NAS_INLINE __m512i v_cut_(const vint v[4], int least, int most)
{
    return _mm512_min_epu8(_mm512_max_epu8(v_four_(v), _mm512_set1_epi8((char)least)),
                           _mm512_set1_epi8((char)most));
}

/* From there to the four bytes of each lane. */
NAS_INLINE cell v_by_lane_(__m512i four)
{
    const __m128i order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);

    return (cell)_mm512_shuffle_epi8(four, _mm512_broadcast_i32x4(order));
}

/* Dwords 0, 4, 8, 12, then 1, 5, 9, 13 and so on: there and back. */
NAS_INLINE __m512i v_turn_(__m512i v)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);

    return _mm512_permutexvar_epi32(order, v);
}

NAS_INLINE cell v_cell(const vint level[CELL], int zero)
{
    const vint code[CELL] = {level[0] + zero, level[1] + zero, level[2] + zero, level[3] + zero};

    return v_by_lane_(v_four_(code));
}

/* Codes, cut to least..most, as a cell. */
NAS_INLINE cell v_cut_cell(const vint code[CELL], int least, int most, int zero)
{
    return v_by_lane_(v_cut_(code, least, most));
}

/* Codes of `count` pixels, at most SPAN, cut likewise, as terms: [pixel][channel]. */
NAS_INLINE void v_cut_terms(term *to, const vint code[SPAN], int count, int least, int most,
                            int zero)
{
    const __m512i terms = v_turn_(v_cut_(code, least, most));

    if (count == SPAN)
        _mm512_storeu_si512(to, terms);
    else
        _mm512_mask_storeu_epi32(to, (__mmask16)((1u << 4 * count) - 1), terms);
}

/* Codes of four pixels, `step` apart. */
NAS_INLINE bool put_cell(cell *to, const uint8_t *codes, size_t step)
{
    __m512i pixels = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)codes));

    pixels = _mm512_inserti32x4(pixels, _mm_loadu_si128((const __m128i *)(codes + step)), 1);
    pixels = _mm512_inserti32x4(pixels, _mm_loadu_si128((const __m128i *)(codes + 2 * step)), 2);
    pixels = _mm512_inserti32x4(pixels, _mm_loadu_si128((const __m128i *)(codes + 3 * step)), 3);
    *to = v_by_lane_(v_turn_(pixels));
    return true;
}

#endif
