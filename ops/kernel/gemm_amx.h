/* Matrix products of floats on the tile unit of x86 (AMX), which multiplies numbers of 8
 * significant bits (bfloat16) and adds in float32.  Included by gemm_simd.c alone.
 *
 * A float is the sum of three such numbers, a = a1 + a2 + a3, exactly: 24 bits are three times 8.
 * Of the nine products of two floats six are made,
 *   a1*b1 + a1*b2 + a2*b1 + a1*b3 + a2*b2 + a3*b1
 * (Henry, Tang, Heinecke 2019, "Leveraging the bfloat16 artificial intelligence datatype for
 * higher-precision computations").  The other three are at most 2^-21 of the product and 2^-24.8 of
 * it on average, below half a unit in the last place; sums of fused multiplications lose more by
 * rounding one term after the other (docs/performance.md).  What is smaller than 2^-126 counts as
 * zero; a product with infinity becomes not-a-number.
 *
 * The k terms of a sum are taken BLOCK_K at a time, in tiles of DEPTH.  A left block is
 * [rows][PARTS][terms], a right operand [piece][tile of terms][PARTS][tile of columns], a piece
 * being two or three tiles of columns side by side.  The unit wants right tiles in pairs of rows. */
#ifndef NAS_OPS_KERNEL_GEMM_AMX_H
#define NAS_OPS_KERNEL_GEMM_AMX_H

#include <stdint.h>

#include "ops/kernel/gemm_simd.h"

enum {
    SIDE = 16,           /* rows and columns of a tile of sums                            */
    DEPTH = 32,          /* terms that one instruction adds to each                       */
    TILE = SIDE * DEPTH, /* numbers of a tile of an operand                               */
    PARTS = 3,           /* of a float                                                    */
    PRODUCTS = 6,        /* of parts                                                      */
    BLOCK_ROWS = 32,     /* rows of a left operand that are split at a time, and terms:   */
    BLOCK_K = GEMM_PLANES_K /* 18 KiB, and so many has a piece, of a cache of 48          */
};

typedef uint16_t half; /* the upper half of a float */

/* -- a float in three parts ------------------------------------------------------------ */

typedef struct split {
    __m512i part[PARTS]; /* in the upper halves */
} split;

/* Each part is cut from what is left, so that this is exact. */
NAS_INLINE split split_of(__m512 x)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000u);
    split s;

    for (int i = 0; i < PARTS - 1; i++) {
        s.part[i] = _mm512_and_si512(_mm512_castps_si512(x), upper);
        x = _mm512_sub_ps(x, _mm512_castsi512_ps(s.part[i]));
    }
    s.part[PARTS - 1] = _mm512_castps_si512(x);
    return s;
}

/* The upper halves of a, then those of b. */
NAS_INLINE __m512i join_halves(__m512i a, __m512i b)
{
    const __m512i odd = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35,
                                         33, 31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3,
                                         1);

    return _mm512_permutex2var_epi16(a, odd, b);
}

/* Pairs of upper halves, of a and of b. */
NAS_INLINE __m512i pair_halves(__m512i a, __m512i b)
{
    const __m512i alternating =
        _mm512_set_epi16(63, 31, 61, 29, 59, 27, 57, 25, 55, 23, 53, 21, 51, 19, 49, 17, 47, 15, 45,
                         13, 43, 11, 41, 9, 39, 7, 37, 5, 35, 3, 33, 1);

    return _mm512_permutex2var_epi16(a, alternating, b);
}

/* The first n (any number) lanes from memory, zero in the others. */
NAS_INLINE __m512 load_some(const float *p, int n)
{
    return n >= NAS_VL ? (__m512)v_load(p) : n > 0 ? (__m512)v_load_n(p, n) : _mm512_setzero_ps();
}

/* -- operands ---------------------------------------------------------------------------- */

NAS_INLINE int least_of(int a, int b) { return a < b ? a : b; }

/* Tiles of k terms. */
NAS_INLINE int depth_of(int k) { return (k + DEPTH - 1) / DEPTH; }

/* Tiles of columns of the piece at tile `at` of `tiles`: two, but three at the end of an odd
 * number. */
NAS_INLINE int piece_of(int tiles, int at)
{
    return tiles - at == 3 ? 3 : tiles - at == 1 ? 1 : 2;
}

/* Splits `rows` rows of k terms into to[rows][PARTS][whole tiles of terms]. */
static void split_rows(int rows, int k, const float *from, ptrdiff_t ld, half *to)
{
    const ptrdiff_t plane = depth_of(k) * DEPTH;

    for (int r = 0; r < rows; r++, from += ld, to += PARTS * plane)
        for (int p = 0; p < k; p += DEPTH) {
            const bool whole = k - p >= DEPTH;
            const split a = split_of(whole ? (__m512)v_load(from + p) : load_some(from + p, k - p));
            const split b = split_of(whole ? (__m512)v_load(from + p + NAS_VL)
                                           : load_some(from + p + NAS_VL, k - p - NAS_VL));

            for (int i = 0; i < PARTS; i++)
                _mm512_store_si512(to + i * plane + p, join_halves(a.part[i], b.part[i]));
        }
}

NAS_INLINE void pair_rows(const bool WHOLE, const float *from, ptrdiff_t ld, int rows, int columns,
                          half *to, ptrdiff_t apart)
{
    for (int p = 0; p < DEPTH; p += 2, from += 2 * ld, to += 2 * SIDE) {
        const split a = split_of(WHOLE ? (__m512)v_load(from)
                                       : load_some(from, p < rows ? columns : 0));
        const split b = split_of(WHOLE ? (__m512)v_load(from + ld)
                                       : load_some(from + ld, p + 1 < rows ? columns : 0));

        for (int i = 0; i < PARTS; i++)
            _mm512_storeu_si512(to + i * apart, pair_halves(a.part[i], b.part[i]));
    }
}

/* One tile of each part of DEPTH rows by SIDE columns, of which `rows` by `columns` exist, in
 * pairs of rows; to + i*apart is that of part i. */
static void pair_tile(const float *from, ptrdiff_t ld, int rows, int columns, half *to,
                      ptrdiff_t apart)
{
    if (rows >= DEPTH && columns >= SIDE)
        pair_rows(true, from, ld, rows, columns, to, apart);
    else
        pair_rows(false, from, ld, rows, columns, to, apart);
}

/* -- products ---------------------------------------------------------------------------- */

/* Where sums go: [rows][columns] at c. */
typedef struct amx_out {
    float *c;
    ptrdiff_t ldc;
    int rows, columns;
    bool add;
    const gemm_planes *planes; /* or NULL: where they go instead ...                 */
    const gemm_masked *masked; /* or NULL: what they are finished with ...            */
    int row, column;           /* ... (0, 0) being its row `row` and column `column`  */
} amx_out;

NAS_INLINE void out_rows(const amx_out *o, const float *sums, int r, int j)
{
    const int rows = least_of(o->rows - r, SIDE), n = least_of(o->columns - j, SIDE);
    float *c = o->c + r * o->ldc + j;

    for (int i = 0; i < rows; i++, c += o->ldc, sums += SIDE)
        v_store_n(c, v_load(sums), n);
}

NAS_INLINE void out_planes(const amx_out *o, const float *sums, int r, int j)
{
    const gemm_planes *p = o->planes;
    const int end = o->row + least_of(o->rows, r + SIDE);
    const vfloat scale = v_load(p->scale + j), shift = v_load(p->shift + j);
    const vfloat low = v_set(p->low), high = v_set(p->high);

    for (int i = o->row + r; i < end;) {
        const int run = i / p->run, stop = least_of((run + 1) * p->run, end);
        float *to = p->to + (size_t)(j / NAS_VL) * p->plane + (size_t)run * p->skip + i * NAS_VL;

        for (; i < stop; i++, to += NAS_VL, sums += SIDE)
            v_store(to, v_min(high, v_max(low, v_load(sums) * scale + shift)));
    }
}

NAS_INLINE void masked_tile(const bool PART, const amx_out *o, const float *sums, int r, int j)
{
    const gemm_masked *m = o->masked;
    const int rows = least_of(o->rows - r, SIDE), n = o->columns - j, c = o->column + j;
    const vfloat low = v_set(m->low), high = v_set(m->high), none = {0};
    const vfloat scale = v_get(PART, m->scale + c, n), shift = v_get(PART, m->shift + c, n);
    const vfloat mean = v_get(PART, m->mean + c, n);
    const float *raw = m->raw + (o->row + r) * m->ld + c;
    float *g = m->g + (o->row + r) * m->ld + c;
    vfloat sum_g = {0}, sum_gy = {0};

    for (int i = 0; i < rows; i++, raw += m->ld, g += m->ld, sums += SIDE) {
        const vfloat y = v_get(PART, raw, n), z = scale * y + shift;
        const vfloat masked = v_select((z > low) & (z < high), v_load(sums), none);

        v_put(PART, g, masked, n);
        if (m->values)
            v_put(PART, m->values + (o->row + r + i) * m->ldv + c, v_min(high, v_max(low, z)), n);
        sum_g += masked;
        sum_gy += masked * (y - mean);
    }
    v_put(PART, m->sum_g + c, v_get(PART, m->sum_g + c, n) + sum_g, n);
    v_put(PART, m->sum_gy + c, v_get(PART, m->sum_gy + c, n) + sum_gy, n);
}

static void out_masked(const amx_out *o, const float *sums, int r, int j)
{
    if (o->columns - j >= SIDE)
        masked_tile(false, o, sums, r, j);
    else
        masked_tile(true, o, sums, r, j);
}

/* Sixteen rows of sixteen numbers of 32 bits. */
static void transpose(__m512i v[SIDE])
{
    __m512i t[SIDE];

    for (int i = 0; i < SIDE; i += 4) {
        const __m512i a = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        const __m512i b = _mm512_unpackhi_epi32(v[i], v[i + 1]);
        const __m512i c = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]);
        const __m512i d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);

        t[i] = _mm512_unpacklo_epi64(a, c);
        t[i + 1] = _mm512_unpackhi_epi64(a, c);
        t[i + 2] = _mm512_unpacklo_epi64(b, d);
        t[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    for (int i = 0; i < 4; i++) {
        const __m512i a = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
        const __m512i b = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
        const __m512i c = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
        const __m512i d = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);

        v[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        v[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
        v[i + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
        v[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
}

/* What the sums of row r and column j on are added to; zero where nothing is. */
static void in_tile(const amx_out *o, float *sums, int r, int j)
{
    const int rows = least_of(o->rows - r, SIDE), n = least_of(o->columns - j, SIDE);
    const float *c = o->c + r * o->ldc + j;

    for (int i = 0; i < SIDE; i++)
        _mm512_store_ps(sums + i * SIDE, load_some(c + i * o->ldc, i < rows ? n : 0));
}

/* The sums of row r and column j on; of their elements those that exist. */
NAS_INLINE void out_tile(const amx_out *o, const float *sums, int r, int j)
{
    if (r >= o->rows)
        return;
    if (o->planes)
        out_planes(o, sums, r, j);
    else if (o->masked)
        out_masked(o, sums, r, j);
    else
        out_rows(o, sums, r, j);
}

/* Left operand of a product: part i of terms [32t, 32t + 32) of row group g (16 rows) at
 * data + g*group + i*plane + t*step, rows `stride` bytes apart. */
typedef struct amx_left {
    const half *data;
    ptrdiff_t group, plane, step;
    size_t stride;
} amx_left;

/* What is fetched ahead, bit by bit between instructions of the tile unit. */
typedef struct amx_ahead {
    gemm_ahead *streams;
    size_t step[4]; /* bytes for each tile of sums and product of parts */
    size_t due[4];  /* not yet asked for                                */
} amx_ahead;

/* `depth`: tiles that the terms of the whole product take. */
static amx_ahead ahead_of(gemm_ahead *streams, int depth)
{
    amx_ahead ahead = {.streams = streams};

    for (int i = 0; streams && i < 4; i++)
        ahead.step[i] = streams->step[i] * SIDE / (size_t)(GEMM_ROWS(1) * PRODUCTS * depth);
    return ahead;
}

NAS_INLINE void fetch_tile_at(const half *b)
{
    for (int i = 0; i < TILE; i += 32)
        __builtin_prefetch(b + i);
}

/* After the instructions of one product of parts of `tiles` tiles of sums. */
NAS_INLINE void fetch_some(amx_ahead *ahead, size_t tiles)
{
    for (int i = 0; ahead->streams && i < 4; i++)
        for (ahead->due[i] += tiles * ahead->step[i]; ahead->due[i] >= 64; ahead->due[i] -= 64) {
            if (ahead->streams->stream[i] >= ahead->streams->end[i])
                continue;
            __builtin_prefetch(ahead->streams->stream[i], 0, 2);
            ahead->streams->stream[i] += 64;
        }
}

/* The compiler does not know that loading a tile reads memory: all that was stored is there now. */
#define STORED() __asm__ volatile("" ::: "memory")

/* Sums begin with what they are added to, so that an element is the same wherever it lies. */
#define BEGIN(tile, r, j)                                                    \
    if (!o->add) {                                                           \
        _tile_zero(tile);                                                    \
    } else if (straight) {                                                   \
        _tile_loadd(tile, o->c + (r) * o->ldc + (j), (size_t)o->ldc * 4);    \
    } else {                                                                 \
        in_tile(o, sums, r, j);                                              \
        STORED();                                                            \
        _tile_loadd(tile, sums, 64);                                         \
    }
#define END(tile, r, j)                                                      \
    if (straight) {                                                          \
        _tile_stored(tile, o->c + (r) * o->ldc + (j), (size_t)o->ldc * 4);   \
    } else {                                                                 \
        _tile_stored(tile, sums, 64);                                        \
        out_tile(o, sums, r, j);                                             \
    }

/* Asks for `rows` rows of two tiles of sums of c. */
NAS_INLINE void fetch_sums(const amx_out *o, int r, int rows, int j)
{
    const float *c = o->c + r * o->ldc + j;

    for (int i = 0; i < rows && r + i < o->rows; i++, c += o->ldc) {
        __builtin_prefetch(c, 1);
        __builtin_prefetch(c + SIDE, 1);
    }
}

/* Whether `rows` rows from r and `columns` columns from j exist and are stored as they are. */
NAS_INLINE bool is_straight(const amx_out *o, int r, int rows, int j, int columns)
{
    return !o->planes && !o->masked && r + rows <= o->rows && j + columns <= o->columns;
}

/* Two tiles of rows by two of columns, from row r and column j on.  Products of parts are made
 * least first; meanwhile the next right tiles are asked for. */
NAS_INLINE void multiply_2x2(const amx_left *a, const half *b, int depth, const amx_out *o, int r,
                             int j, amx_ahead *ahead)
{
    const bool straight = is_straight(o, r, 2 * SIDE, j, 2 * SIDE);
    const half *left = a->data + r / SIDE * a->group, *below = left + a->group;
    _Alignas(64) float sums[SIDE * SIDE];

#define LEFT(part)                                       \
    _tile_loadd(4, left + (part) * a->plane, a->stride); \
    _tile_loadd(5, below + (part) * a->plane, a->stride);
#define RIGHT(part)                                  \
    _tile_loadd(6, b + (part) * 2 * TILE, 64);       \
    _tile_loadd(7, b + ((part) * 2 + 1) * TILE, 64);
#define MULTIPLY(next)                             \
    _tile_dpbf16ps(0, 4, 6);                       \
    _tile_dpbf16ps(1, 4, 7);                       \
    _tile_dpbf16ps(2, 5, 6);                       \
    _tile_dpbf16ps(3, 5, 7);                       \
    fetch_some(ahead, 4);                          \
    fetch_tile_at(b + (PARTS * 2 + (next)) * TILE);
    STORED();
    BEGIN(0, r, j)
    BEGIN(1, r, j + SIDE)
    BEGIN(2, r + SIDE, j)
    BEGIN(3, r + SIDE, j + SIDE)
    for (; depth > 0; depth--, left += a->step, below += a->step, b += PARTS * 2 * TILE) {
        LEFT(0) RIGHT(2) MULTIPLY(4)
        RIGHT(1) MULTIPLY(5)
        LEFT(1) MULTIPLY(2)
        RIGHT(0) MULTIPLY(3)
        LEFT(2) MULTIPLY(0)
        LEFT(0) MULTIPLY(1)
    }
    END(0, r, j)
    END(1, r, j + SIDE)
    END(2, r + SIDE, j)
    END(3, r + SIDE, j + SIDE)
#undef LEFT
#undef RIGHT
#undef MULTIPLY
}

/* One tile of rows by N (1 to 3) of columns. */
NAS_INLINE void multiply_1xn(const int N, const amx_left *a, const half *b, int depth,
                             const amx_out *o, int r, int j, amx_ahead *ahead)
{
    const bool straight = is_straight(o, r, SIDE, j, N * SIDE);
    const half *left = a->data + r / SIDE * a->group;
    _Alignas(64) float sums[SIDE * SIDE];

#define EACH(first, second, third) \
    first;                         \
    if (N > 1) {                   \
        second;                    \
    }                              \
    if (N > 2) {                   \
        third;                     \
    }
#define LEFT(part) _tile_loadd(4, left + (part) * a->plane, a->stride);
#define RIGHT(part)                                        \
    EACH(_tile_loadd(5, b + (part) * N * TILE, 64),        \
         _tile_loadd(6, b + ((part) * N + 1) * TILE, 64),  \
         _tile_loadd(7, b + ((part) * N + 2) * TILE, 64))
#define MULTIPLY                                                                       \
    EACH(_tile_dpbf16ps(0, 4, 5), _tile_dpbf16ps(1, 4, 6), _tile_dpbf16ps(2, 4, 7))    \
    fetch_some(ahead, N);
    STORED();
    EACH(BEGIN(0, r, j), BEGIN(1, r, j + SIDE), BEGIN(2, r, j + 2 * SIDE))
    for (; depth > 0; depth--, left += a->step, b += PARTS * N * TILE) {
        LEFT(0) RIGHT(2) MULTIPLY
        RIGHT(1) MULTIPLY
        LEFT(1) MULTIPLY
        RIGHT(0) MULTIPLY
        LEFT(2) MULTIPLY
        LEFT(0) MULTIPLY
    }
    EACH(END(0, r, j), END(1, r, j + SIDE), END(2, r, j + 2 * SIDE))
#undef EACH
#undef LEFT
#undef RIGHT
#undef MULTIPLY
}

/* All rows of o by `tiles` tiles of columns from column j on.  Sums to be added to are asked for
 * before the tiles that are made before them. */
NAS_INLINE void multiply_piece(const amx_left *a, const half *b, int depth, int tiles,
                               const amx_out *o, int j, amx_ahead *ahead)
{
    for (int r = 0, take; r < o->rows; r += take * SIDE) {
        take = tiles == 2 && r + SIDE < o->rows ? 2 : 1;
        if (o->add && !o->planes) {
            if (r + take * SIDE < o->rows)
                fetch_sums(o, r + take * SIDE, 2 * SIDE, j);
            else if (j + tiles * SIDE < o->columns)
                fetch_sums(o, 0, 2 * SIDE, j + tiles * SIDE);
        }
        if (take == 2)
            multiply_2x2(a, b, depth, o, r, j, ahead);
        else if (tiles == 1)
            multiply_1xn(1, a, b, depth, o, r, j, ahead);
        else if (tiles == 2)
            multiply_1xn(2, a, b, depth, o, r, j, ahead);
        else
            multiply_1xn(3, a, b, depth, o, r, j, ahead);
    }
}

/* -- whole products ------------------------------------------------------------------------ */

/* Numbers that `terms` terms of one tile of columns take in a right operand. */
NAS_INLINE ptrdiff_t column_size(int terms) { return (ptrdiff_t)depth_of(terms) * PARTS * TILE; }

/* Columns [column, column + SIDE) of DEPTH rows of b from row p on, scaled. */
static void scaled_tile(int k, int n, const gemm_right *b, const gemm_scales *scales, int p,
                        int column, float to[DEPTH][SIDE])
{
    const int columns = least_of(n - column, SIDE);
    const __m512i steps =
        _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                           _mm512_set1_epi32((int)b->col));
    const vfloat factors =
        scales->column ? (vfloat)load_some(scales->column + column, columns) : v_set(1);

    for (int r = 0; r < DEPTH; r++) {
        const float *from = b->data + (p + r) * b->row + column * b->col;
        __m512 value = _mm512_setzero_ps();

        if (p + r < k)
            value = b->col == 1 ? load_some(from, columns)
                                : _mm512_mask_i32gather_ps(value, (__mmask16)((1u << columns) - 1),
                                                           steps, from, sizeof *from);
        v_store(to[r],
                (vfloat)value * factors * v_set(scales->row && p + r < k ? scales->row[p + r] : 1));
    }
}

/* The piece of `tiles` tiles of columns from tile `at` on. */
static void pack_piece(int k, int n, const gemm_right *b, const gemm_scales *scales, int at,
                       int tiles, half *to)
{
    _Alignas(64) float square[DEPTH][SIDE];

    for (int p = 0; p < k; p += DEPTH, to += PARTS * tiles * TILE)
        for (int i = 0; i < tiles; i++) {
            scaled_tile(k, n, b, scales, p, (at + i) * SIDE, square);
            pair_tile(square[0], SIDE, DEPTH, SIDE, to + i * TILE, tiles * TILE);
        }
}

static void pack_tiles(int k, int n, const gemm_right *b, const gemm_scales *scales, half *packed)
{
    const int tiles = (n + SIDE - 1) / SIDE, pieces = tiles > 1 ? tiles / 2 : 1;

#pragma omp parallel for schedule(static) if (gemm_packed_count(k, n) > 32768)
    for (int i = 0; i < pieces; i++)
        pack_piece(k, n, b, scales, 2 * i, piece_of(tiles, 2 * i), packed + 2 * i * column_size(k));
}

/* Columns of A*B from column j on, b being packed in tiles, into `out`, which stands at (0, j). */
static void multiply_tiles(int k, const gemm_left *a, const gemm_right *b, amx_out out, int j,
                           gemm_ahead *streams)
{
    _Alignas(64) half parts[BLOCK_ROWS * PARTS * BLOCK_K];
    const half *right = (const half *)b->data + j / SIDE * column_size(k);
    const int tiles = (out.columns + SIDE - 1) / SIDE, rows = out.rows;
    const gemm_masked *masked = out.masked;
    const bool add = out.add;
    float *c = out.c;
    amx_ahead ahead = ahead_of(streams, depth_of(k));

    for (int r = 0; r < rows; r += BLOCK_ROWS)
        for (int p = 0; p < k; p += BLOCK_K) {
            const int terms = least_of(k - p, BLOCK_K), depth = depth_of(terms);
            const ptrdiff_t plane = depth * DEPTH;
            const amx_left left = {.data = parts,
                                   .group = SIDE * PARTS * plane,
                                   .plane = plane,
                                   .step = DEPTH,
                                   .stride = (size_t)(PARTS * plane) * sizeof *parts};

            out.rows = least_of(rows - r, BLOCK_ROWS);
            out.c = out.planes ? NULL : c + r * out.ldc;
            out.row = r;
            out.add = add || p > 0;
            out.masked = p + BLOCK_K < k ? NULL : masked;
            split_rows(out.rows, terms, a->data + r * a->ld + p, a->ld, parts);
            for (int at = 0, take; at < tiles; at += take) {
                take = piece_of(tiles, at);
                multiply_piece(&left, right + at * column_size(k) + take * column_size(p), depth,
                               take, &out, at * SIDE, &ahead);
            }
        }
}

/* `count` columns of `terms` rows as left operand [tile of columns][tile of terms][PARTS]. */
static void split_columns(int terms, int count, const float *from, ptrdiff_t ld, half *to)
{
    __m512i v[SIDE];

    for (int c = 0; c < count; c += SIDE)
        for (int p = 0; p < terms; p += DEPTH, to += PARTS * TILE) {
            pair_tile(from + p * ld + c, ld, terms - p, count - c, to, TILE);
            for (int i = 0; i < PARTS; i++) {
                for (int r = 0; r < SIDE; r++)
                    v[r] = _mm512_load_si512(to + i * TILE + r * DEPTH);
                transpose(v);
                for (int r = 0; r < SIDE; r++)
                    _mm512_store_si512(to + i * TILE + r * DEPTH, v[r]);
            }
        }
}

/* `terms` rows of `tiles` tiles of columns, of which `count` columns exist, as a piece. */
static void split_piece(int terms, int tiles, int count, const float *from, ptrdiff_t ld, half *to)
{
    for (int p = 0; p < terms; p += DEPTH, to += PARTS * tiles * TILE)
        for (int i = 0; i < tiles; i++)
            pair_tile(from + p * ld + i * SIDE, ld, terms - p, count - i * SIDE, to + i * TILE,
                      tiles * TILE);
}

/* Whether multiply_outer is worth it: turning takes long for few columns to multiply with. */
NAS_INLINE bool is_outer(int m, int n, int rows) { return rows >= SIDE && m >= 64 && n >= 64; }

/* C[m][n] = X'*G or C += X'*G over `rows` rows of both. */
static void multiply_outer(int rows, int m, int n, const gemm_left *x, const gemm_right *g,
                           float *c, ptrdiff_t ldc, bool add, gemm_ahead *streams)
{
    enum { COLUMNS = 192 }; /* of X turned at a time */
    _Alignas(64) half turned[COLUMNS * PARTS * BLOCK_K], piece[BLOCK_K * PARTS * 3 * SIDE];
    const int tiles = (n + SIDE - 1) / SIDE;
    amx_ahead ahead = ahead_of(streams, depth_of(rows));

    for (int p = 0; p < rows; p += BLOCK_K)
        for (int first = 0; first < m; first += COLUMNS) {
            const int terms = least_of(rows - p, BLOCK_K), depth = depth_of(terms);
            const amx_left left = {.data = turned,
                                   .group = column_size(terms),
                                   .plane = TILE,
                                   .step = PARTS * TILE,
                                   .stride = DEPTH * sizeof *turned};
            const amx_out out = {.c = c + first * ldc,
                                 .ldc = ldc,
                                 .rows = least_of(m - first, COLUMNS),
                                 .columns = n,
                                 .add = add || p > 0};

            split_columns(terms, out.rows, x->data + p * x->ld + first, x->ld, turned);
            for (int at = 0, take; at < tiles; at += take) {
                take = piece_of(tiles, at);
                split_piece(terms, take, n - at * SIDE, g->data + p * g->row + at * SIDE, g->row,
                            piece);
                multiply_piece(&left, piece, depth, take, &out, at * SIDE, &ahead);
            }
        }
}

#endif
