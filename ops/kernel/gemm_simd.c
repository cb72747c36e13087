/* The register-tiled matrix product, see gemm_simd.h. */
#include "ops/kernel/gemm_simd.h"

/* A tile of C and what it is made of. */
typedef struct tile {
    int k;
    const float *a;
    ptrdiff_t lda;
    const float *b;
    ptrdiff_t ldb;
    float *c;
    ptrdiff_t ldc;
    int tail; /* columns of the last vector that exist */
    bool add;
    const gemm_planes *planes; /* where the tile goes instead, c being its place there, or NULL */
    const gemm_masked *masked; /* ... what it is finished with, c being its place in g, or NULL */
    int row, column;           /* ... its first                                                 */
} tile;

/* Stores a tile; PART: not all columns of the last vector exist. */
NAS_INLINE void tile_store(const int MR, const int NV, const bool PART, const bool ADD,
                           vfloat sum[12][3], const tile *t)
{
    const ptrdiff_t ldc = t->ldc;
    const int tail = t->tail;
    float *c = t->c;

    for (int r = 0; r < MR; r++, c += ldc)
        for (int j = 0; j < NV; j++) {
            float *to = c + j * NAS_VL;

            if (PART && j == NV - 1)
                v_store_n(to, ADD ? v_load_n(to, tail) + sum[r][j] : sum[r][j], tail);
            else
                v_store(to, ADD ? v_load(to) + sum[r][j] : sum[r][j]);
        }
}

NAS_INLINE void tile_store_planes(const int MR, const int NV, vfloat sum[12][3], const tile *t)
{
    const gemm_planes *p = t->planes;
    const float *scales = p->scale + t->column, *shifts = p->shift + t->column;
    const vfloat low = v_set(p->low), high = v_set(p->high);
    const size_t plane = p->plane;
    float *to = t->c;

    for (int j = 0; j < NV; j++) {
        const vfloat scale = v_load(scales + j * NAS_VL), shift = v_load(shifts + j * NAS_VL);

        for (int r = 0; r < MR; r++)
            v_store(to + (size_t)j * plane + r * NAS_VL,
                    v_min(high, v_max(low, sum[r][j] * scale + shift)));
    }
}

NAS_INLINE void tile_store_masked(const int MR, const int NV, const bool PART, vfloat sum[12][3],
                                  const tile *t)
{
    const gemm_masked *m = t->masked;
    const vfloat low = v_set(m->low), high = v_set(m->high), none = {0};

    for (int j = 0; j < NV; j++) {
        const bool part = PART && j == NV - 1;
        const int c = t->column + j * NAS_VL, n = t->tail;
        const vfloat scale = v_get(part, m->scale + c, n), shift = v_get(part, m->shift + c, n);
        const vfloat mean = v_get(part, m->mean + c, n);
        const float *raw = m->raw + t->row * m->ld + c;
        float *g = t->c + j * NAS_VL;
        vfloat sum_g = {0}, sum_gy = {0};

        for (int r = 0; r < MR; r++, raw += m->ld, g += m->ld) {
            const vfloat y = v_get(part, raw, n), z = scale * y + shift;
            const vfloat masked = v_select((z > low) & (z < high), sum[r][j], none);

            v_put(part, g, masked, n);
            if (m->values)
                v_put(part, m->values + (t->row + r) * m->ldv + c, v_min(high, v_max(low, z)), n);
            sum_g += masked;
            sum_gy += masked * (y - mean);
        }
        v_put(part, m->sum_g + c, v_get(part, m->sum_g + c, n) + sum_g, n);
        v_put(part, m->sum_gy + c, v_get(part, m->sum_gy + c, n) + sum_gy, n);
    }
}

/* MR rows by NV vectors of C, all in registers while k (at least 1) runs. */
NAS_INLINE void tile_multiply(const int MR, const int NV, const bool TRANSPOSED, const tile *t)
{
    const ptrdiff_t row = TRANSPOSED ? 1 : t->lda, next = TRANSPOSED ? t->lda : 1, ldb = t->ldb;
    const float *a = t->a, *b = t->b;
    vfloat sum[12][3];
    int p = t->k;

    for (int r = 0; r < MR; r++)
        for (int j = 0; j < NV; j++)
            sum[r][j] = (vfloat){0};
    do {
        vfloat right[3];

        for (int j = 0; j < NV; j++)
            right[j] = v_load(b + j * NAS_VL);
        for (int r = 0; r < MR; r++) {
            const vfloat left = v_set(a[r * row]);

            for (int j = 0; j < NV; j++)
                sum[r][j] += left * right[j];
        }
        a += next;
        b += ldb;
    } while (--p > 0);
    if (!TRANSPOSED && t->planes)
        tile_store_planes(MR, NV, sum, t);
    else if (!TRANSPOSED && t->masked)
        t->tail < NAS_VL ? tile_store_masked(MR, NV, true, sum, t)
                         : tile_store_masked(MR, NV, false, sum, t);
    else if (t->tail < NAS_VL)
        t->add ? tile_store(MR, NV, true, true, sum, t) : tile_store(MR, NV, true, false, sum, t);
    else
        t->add ? tile_store(MR, NV, false, true, sum, t) : tile_store(MR, NV, false, false, sum, t);
}

#if NAS_VL == 16
/* Lanes of a and b (from 16 on) by their numbers. */
NAS_INLINE vfloat pick(vfloat a, vint lanes, vfloat b)
{
    return (vfloat)_mm512_permutex2var_ps((__m512)a, (__m512i)lanes, (__m512)b);
}

/* The same of a paired B: each vector holds eight columns of two steps of k. */
NAS_INLINE void tile_multiply_paired(const int MR, const tile *t)
{
    const vint even = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30}, odd = even + 1;
    const float *a = t->a, *b = t->b;
    vfloat sum[12][3];

    for (int r = 0; r < MR; r++)
        for (int j = 0; j < 3; j++)
            sum[r][j] = (vfloat){0};
    for (int p = t->k; p > 0; p -= 2, a += 2, b += 3 * NAS_VL) {
        vfloat right[3];

        for (int j = 0; j < 3; j++)
            right[j] = v_load(b + j * NAS_VL);
        for (int r = 0; r < MR; r++) {
            double two;

            memcpy(&two, a + r * t->lda, sizeof two);
            const vfloat left = (vfloat)_mm512_set1_pd(two);

            for (int j = 0; j < 3; j++)
                sum[r][j] += left * right[j];
        }
    }
    for (int r = 0; r < MR; r++) {
        const vfloat none = {0};

        sum[r][0] = pick(sum[r][0], even, sum[r][1]) + pick(sum[r][0], odd, sum[r][1]);
        sum[r][1] = pick(sum[r][2], even, none) + pick(sum[r][2], odd, none);
    }
    t->add ? tile_store(MR, 2, true, true, sum, t) : tile_store(MR, 2, true, false, sum, t);
}
#endif

typedef void multiply_fn(const tile *t);

/* The tiles by [transposed][vectors - 1][rows - 1]; heights above GEMM_ROWS are
 * never asked for, so the smaller set is compiled for them. */
#define TILE(mr, nv, tr)                                                 \
    static void tile_##mr##_##nv##_##tr(const tile *t)                   \
    {                                                                    \
        tile_multiply(mr <= GEMM_ROWS(nv) ? mr : 1, nv, tr, t);          \
    }
#define TILES_OF(nv, tr)                                                              \
    TILE(1, nv, tr) TILE(2, nv, tr) TILE(3, nv, tr) TILE(4, nv, tr) TILE(5, nv, tr)   \
    TILE(6, nv, tr) TILE(7, nv, tr) TILE(8, nv, tr) TILE(9, nv, tr) TILE(10, nv, tr)  \
    TILE(11, nv, tr) TILE(12, nv, tr)
TILES_OF(1, 0)
TILES_OF(2, 0)
TILES_OF(3, 0)
TILES_OF(1, 1)
TILES_OF(2, 1)
TILES_OF(3, 1)

#define NAMES_OF(nv, tr)                                                                    \
    {tile_1_##nv##_##tr, tile_2_##nv##_##tr, tile_3_##nv##_##tr, tile_4_##nv##_##tr,        \
     tile_5_##nv##_##tr, tile_6_##nv##_##tr, tile_7_##nv##_##tr, tile_8_##nv##_##tr,        \
     tile_9_##nv##_##tr, tile_10_##nv##_##tr, tile_11_##nv##_##tr, tile_12_##nv##_##tr}
static multiply_fn *const register_tiles[2][3][12] = {
    {NAMES_OF(1, 0), NAMES_OF(2, 0), NAMES_OF(3, 0)},
    {NAMES_OF(1, 1), NAMES_OF(2, 1), NAMES_OF(3, 1)},
};

#if NAS_VL == 16
#define PAIRED(mr) \
    static void tile_paired_##mr(const tile *t) { tile_multiply_paired(mr, t); }
PAIRED(1) PAIRED(2) PAIRED(3) PAIRED(4) PAIRED(5) PAIRED(6) PAIRED(7) PAIRED(8)
static multiply_fn *const paired_tiles[] = {tile_paired_1, tile_paired_2, tile_paired_3,
                                            tile_paired_4, tile_paired_5, tile_paired_6,
                                            tile_paired_7, tile_paired_8};
#else
static multiply_fn *const *const paired_tiles = NULL;
#endif

/* The rows of one strip of C, t being the tile at its top. */
static void strip_multiply(int rows, const gemm_left *a, tile t, int vectors,
                           multiply_fn *const *kernels, gemm_ahead *ahead)
{
    const int full = GEMM_ROWS(vectors);
    const ptrdiff_t row = a->transposed ? 1 : a->ld;

    for (int left = rows, take; left > 0; left -= take) {
        /* Two halves rather than a whole tile and a thin one. */
        take = left >= 2 * full || left == full ? full : left > full ? (left + 1) / 2 : left;
        if (ahead)
            gemm_fetch(ahead);
        kernels[take - 1](&t);
        t.a += take * row;
        t.c += take * t.ldc;
        t.row += take;
    }
}

#ifdef __AMX_BF16__
#include "ops/kernel/gemm_amx.h"
#endif

/* Rows [begin, end) of the panel of b at column j, padded to whole vectors. */
static void pack_panel(int begin, int end, const gemm_right *b, int j, int width,
                       const gemm_scales *scales, float *to)
{
    const int padded = gemm_round(width);

    for (int p = begin; p < end; p++, to += padded) {
        const float *from = b->data + p * b->row + j * b->col;
        const float factor = scales->row ? scales->row[p] : 1;

        if (b->col == 1 && scales->column == NULL && scales->row == NULL) {
            for (int i = 0; i < padded; i += NAS_VL)
                v_store(to + i, width - i >= NAS_VL ? v_load(from + i)
                                                    : v_load_n(from + i, width - i));
            continue;
        }
        for (int i = 0; i < padded; i++)
            to[i] = i < width ? from[i * b->col] * factor *
                                    (scales->column ? scales->column[j + i] : 1)
                              : 0;
    }
}

void gemm_strip(int rows, int k, const gemm_left *a, const gemm_right *b, float *c, ptrdiff_t ldc,
                int j, int width, bool add, gemm_ahead *ahead)
{
#ifdef __AMX_BF16__
    if (b->format == GEMM_TILES) {
        const amx_out out = {.c = c + j, .ldc = ldc, .rows = rows, .columns = width, .add = add};

        multiply_tiles(k, a, b, out, j, ahead);
        return;
    }
#endif
    enum { BLOCK = 64 };
    const int vectors = (width + NAS_VL - 1) / NAS_VL;
    const ptrdiff_t next = a->transposed ? a->ld : 1;
    tile t = {
        .k = k,
        .a = a->data,
        .lda = a->ld,
        .b = b->data + (b->row ? (ptrdiff_t)j : (ptrdiff_t)k * j),
        .ldb = b->row ? b->row : vectors * NAS_VL,
        .c = c + j,
        .ldc = ldc,
        .tail = width - (vectors - 1) * NAS_VL,
        .add = add,
    };
    multiply_fn *const *kernels = register_tiles[a->transposed][vectors - 1];
    float packed[BLOCK * 3 * NAS_VL];

    if (b->format == GEMM_PAIRS) {
        strip_multiply(rows, a, t, 3, paired_tiles, ahead);
        return;
    }
    if (b->row == 0 || (b->col == 1 && t.tail == NAS_VL)) {
        strip_multiply(rows, a, t, vectors, kernels, ahead);
        return;
    }
    t.b = packed; /* b cannot be read by whole vectors as it lies */
    t.ldb = vectors * NAS_VL;
    for (int p = 0; p < k; p += BLOCK, t.a += BLOCK * next, t.add = true) {
        t.k = k - p < BLOCK ? k - p : BLOCK;
        pack_panel(p, p + t.k, b, j, width, &(gemm_scales){NULL, NULL}, packed);
        strip_multiply(rows, a, t, vectors, kernels, ahead);
    }
}

void gemm(int rows, int n, int k, const gemm_left *a, const gemm_right *b, float *c, ptrdiff_t ldc,
          bool add, gemm_ahead *ahead)
{
#ifdef __AMX_BF16__
    if (a->transposed && b->row && b->col == 1 && is_outer(rows, n, k)) {
        multiply_outer(k, rows, n, a, b, c, ldc, add, ahead);
        return;
    }
#endif
    for (int j = 0, width; j < n; j += width) {
        width = gemm_strip_width(b, n - j, GEMM_WIDE);
        gemm_strip(rows, k, a, b, c, ldc, j, width, add, ahead);
    }
}

void gemm_to_masked(int rows, int n, int k, const gemm_left *a, const gemm_right *b,
                    const gemm_masked *masked, gemm_ahead *ahead)
{
    for (int j = 0, width; j < n; j += width) {
        width = gemm_strip_width(b, n - j, GEMM_WIDE);
#ifdef __AMX_BF16__
        if (b->format == GEMM_TILES) {
            const amx_out out = {.c = masked->g + j, .ldc = masked->ld, .rows = rows,
                                 .columns = width, .masked = masked, .column = j};

            multiply_tiles(k, a, b, out, j, ahead);
            continue;
        }
#endif
        const int vectors = (width + NAS_VL - 1) / NAS_VL;
        const tile t = {.k = k, .a = a->data, .lda = a->ld,
                        .b = b->data + (ptrdiff_t)k * j, .ldb = vectors * NAS_VL,
                        .c = masked->g + j, .ldc = masked->ld,
                        .tail = width - (vectors - 1) * NAS_VL, .masked = masked, .column = j};

        strip_multiply(rows, a, t, vectors, register_tiles[0][vectors - 1], ahead);
    }
}

void gemm_to_planes(int rows, int n, int k, const gemm_left *a, const gemm_right *b,
                    const gemm_planes *planes, gemm_ahead *ahead)
{
#ifdef __AMX_BF16__
    if (b->format == GEMM_TILES) {
        const amx_out out = {.rows = rows, .columns = n, .planes = planes};

        multiply_tiles(k, a, b, out, 0, ahead);
        return;
    }
#endif
    tile t = {.k = k, .a = a->data, .lda = a->ld, .ldc = NAS_VL, .planes = planes};

    for (int j = 0, width, vectors; j < n; j += width) {
        width = gemm_panel(n - j);
        vectors = (width + NAS_VL - 1) / NAS_VL;
        t.column = j;
        t.b = b->data + (ptrdiff_t)k * j;
        t.ldb = vectors * NAS_VL;
        t.c = planes->to + (size_t)(j / NAS_VL) * planes->plane;
        strip_multiply(rows, a, t, vectors, register_tiles[0][vectors - 1], ahead);
    }
}

static void pack_panels(int k, int n, const gemm_right *b, const gemm_scales *scales, float *packed)
{
    const int block = 16; /* rows: whole cache lines, also where b is transposed */

#pragma omp parallel for schedule(static) if (gemm_packed_count(k, n) > 32768)
    for (int begin = 0; begin < k; begin += block)
        for (int j = 0, width; j < n; j += width) {
            width = gemm_panel(n - j);
            pack_panel(begin, begin + block < k ? begin + block : k, b, j, width, scales,
                       packed + (size_t)k * (size_t)j + (size_t)begin * (size_t)gemm_round(width));
        }
}

static void pack_pairs(int k, int n, const gemm_right *b, const gemm_scales *scales, float *packed)
{
    enum { ROW = 3 * NAS_VL };

    memset(packed, 0, (size_t)(k / 2) * ROW * sizeof *packed);
    for (int p = 0; p < k; p++)
        for (int j = 0; j < n; j++)
            packed[(size_t)(p / 2) * ROW + 2 * j + p % 2] =
                b->data[p * b->row + j * b->col] * (scales->column ? scales->column[j] : 1) *
                (scales->row ? scales->row[p] : 1);
}

gemm_right gemm_pack(int k, int n, const gemm_right *b, const gemm_scales *scales,
                     gemm_format format, float *packed)
{
    const gemm_scales none = {NULL, NULL};

    if (scales == NULL)
        scales = &none;
    switch (format) {
    case GEMM_PANELS: pack_panels(k, n, b, scales, packed); break;
    case GEMM_PAIRS: pack_pairs(k, n, b, scales, packed); break;
    case GEMM_TILES:
#ifdef __AMX_BF16__
        pack_tiles(k, n, b, scales, (half *)packed);
#endif
        break;
    }
    return (gemm_right){.data = packed, .format = format};
}

void gemm_begin(void)
{
#ifdef __AMX_BF16__
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1,
                .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

    _tile_loadconfig(&config);
#endif
}

void gemm_end(void)
{
#ifdef __AMX_BF16__
    _tile_release();
#endif
}
