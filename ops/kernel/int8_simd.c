/* Int8 convolutions on vectors of NAS_VL 32-bit sums.
 *
 * Products of 8-bit numbers are summed in pairs: both are widened to 16 bits, two terms lie side
 * by side in 32, and one instruction (pmaddwd) multiplies both and adds them without loss.  (The
 * 8-bit form, pmaddubsw, saturates at two products of 255 * 127.)
 *
 * All but depthwise is a matrix product of a tile of rows, gathered as pairs, by panels of
 * 2 * NAS_VL columns.  Depthwise lays the rows of a band out in pairs, (2i, 2i+1), and lets the
 * filter start at the first or the second of a pair: two versions of it are packed. */
#include <omp.h>

#include "ops/kernel/int8_common.h"
#include "ops/kernel/simd.h"

enum {
    ROWS = 6,                /* of a register tile                            */
    PANEL = 2 * NAS_VL,      /* columns of it                                 */
    TILE_BYTES = 20 << 10,   /* of gathered rows                              */
    BAND_BYTES = 128 << 10,  /* of depthwise rows                             */
    BLOCK = 2                /* vectors of channels that a band task does     */
};

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

/* Sums of channels from c on, activated; of codes, before they are rounded. */
NAS_INLINE vfloat scaled(const ending KIND, const nas_q8_output *out, vint sum, int c)
{
    const vfloat product = __builtin_convertvector(sum, vfloat) * v_load(out->scale + c);
    vfloat v = product + v_load(out->bias + c);

    if (KIND == BENT || KIND == VALUES)
        v = v_act(out->act, v);
    if (KIND == BENT)
        v = v * out->inverse + out->zero;
    return v;
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

/* -- matrix product ------------------------------------------------------------------------- */

typedef struct product {
    int terms, pairs;  /* of a sum                                                     */
    int columns;       /* of a group                                                   */
    int panels;        /* of a group                                                   */
    bool windows;      /* a pixel's terms are a window of the image, not one pixel's   */
    int lines, rows;   /* of a gathered tile: lines of output pixels (windows), pixels */
    int width, height; /* of the image's part that a tile of windows sees, padded      */
    size_t panel;      /* 16-bit numbers of a packed panel                             */
    size_t part, tile; /* 16-bit numbers of that part, and of a tile: a thread's room  */
} product;

static size_t cache_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }
static int least(int a, int b) { return a < b ? a : b; }
static int most(int a, int b) { return a > b ? a : b; }

static product product_of(const nas_conv_geom *g)
{
    product p = {.terms = g->k * g->k * (g->cin / g->groups), .columns = g->cout / g->groups,
                 .windows = g->k > 1 || g->stride > 1 || g->pad > 0};

    p.pairs = (p.terms + 1) / 2;
    p.panels = (p.columns + PANEL - 1) / PANEL;
    p.panel = (size_t)p.pairs * PANEL * 2;
    p.rows = most(ROWS, least(TILE_BYTES / (4 * p.pairs) / ROWS, 16) * ROWS);
    if (p.windows) {
        p.lines = most(1, least(p.rows / g->ow, g->oh));
        p.rows = p.lines * g->ow;
        p.width = g->w + 2 * g->pad;
        p.height = (p.lines - 1) * g->stride + g->k;
        p.part = cache_lines((size_t)p.height * (size_t)p.width * (size_t)g->cin * 2) / 2;
    }
    p.tile = cache_lines((size_t)p.rows * (size_t)p.pairs * 4) / 2;
    return p;
}

static void product_pack(const nas_conv_geom *g, const int8_t *w, int16_t *to)
{
    const product p = product_of(g);

    for (int panel = 0; panel < g->groups * p.panels; panel++) {
        const int group = panel / p.panels, first = panel % p.panels * PANEL;
        for (int t = 0; t < 2 * p.pairs; t += 2)
            for (int j = 0; j < PANEL; j++)
                for (int half = 0; half < 2; half++) {
                    const bool there = first + j < p.columns && t + half < p.terms;
                    const size_t column = (size_t)(group * p.columns + first + j);
                    *to++ = there ? w[(size_t)(t + half) * (size_t)g->cout + column] : 0;
                }
    }
}

/* `count` input values from element `at` on as 16-bit numbers. */
NAS_INLINE void gather_of(const bool CODES, const nas_q8_input *in, const float *gate, size_t at,
                          int count, int16_t *to)
{
    int c = 0;

    for (; c + NAS_VL <= count; c += NAS_VL)
        v_shorts(to + c, v_input(CODES, true, in, gate ? gate + c : NULL, at + (size_t)c, NAS_VL));
    for (; c < count; c++)
        to[c] = (int16_t)(CODES ? in->codes[at + (size_t)c] - in->grid.zero
                                : nas_q8_round(&in->grid, in->x[at + (size_t)c] *
                                                              (gate ? gate[c] : 1)));
}

static void gather(const nas_q8_input *in, const float *gate, size_t at, int count, int16_t *to)
{
    const nas_q8_input own = *in;

    if (in->codes != NULL)
        gather_of(true, &own, gate, at, count, to);
    else
        gather_of(false, &own, gate, at, count, to);
}

/* Pixels from `first` on as they are, `channels` of them from channel c on. */
static void gather_pixels(const nas_conv_geom *g, const nas_q8_input *in, const product *p,
                          int group, size_t first, int rows, int16_t *to)
{
    const size_t pixels = (size_t)g->h * (size_t)g->w, c = (size_t)(group * p->terms);

    for (int r = 0; r < rows; r++, to += 2 * p->pairs) {
        const size_t pixel = first + (size_t)r;
        const float *gate =
            in->gate ? in->gate + pixel / pixels * (size_t)g->cin + c : NULL;
        gather(in, gate, pixel * (size_t)g->cin + c, p->terms, to);
        if (p->terms % 2)
            to[p->terms] = 0;
    }
}

/* The part of an image that `lines` lines of windows from output line i on see. */
static void gather_part(const nas_conv_geom *g, const nas_q8_input *in, const product *p,
                        size_t image, int i, int16_t *to)
{
    const size_t line = (size_t)p->width * (size_t)g->cin, c = (size_t)g->cin;
    const float *gate = in->gate ? in->gate + image * c : NULL;

    memset(to, 0, p->part * sizeof *to);
    for (int a = 0; a < p->height; a++) {
        const int r = i * g->stride - g->pad + a;
        int16_t *at = to + (size_t)a * line + (size_t)g->pad * c;
        const size_t from = (image * (size_t)g->h + (size_t)r) * (size_t)g->w * c;
        if (r < 0 || r >= g->h)
            continue;
        if (gate == NULL)
            gather(in, NULL, from, g->w * g->cin, at);
        for (int s = 0; gate != NULL && s < g->w; s++)
            gather(in, gate, from + (size_t)s * c, g->cin, at + (size_t)s * c);
    }
}

/* Windows of that part: k times k pieces, or k if all channels belong to the group. */
static void gather_windows(const nas_conv_geom *g, const product *p, int group, int rows,
                           const int16_t *part, int16_t *to)
{
    const int per = g->cin / g->groups, run = g->groups == 1 ? g->k : 1;
    const size_t bytes = (size_t)(run * per) * sizeof *to;

    for (int r = 0; r < rows; r++) {
        const int i = r / g->ow * g->stride, j = r % g->ow * g->stride;
        for (int a = 0; a < g->k; a++)
            for (int b = 0; b < g->k; b += run, to += run * per)
                memcpy(to, part + ((size_t)(i + a) * (size_t)p->width + (size_t)(j + b)) *
                                      (size_t)g->cin + (size_t)(group * per), bytes);
        if (p->terms % 2)
            *to++ = 0;
    }
}

/* A register tile: `count` rows of pairs at a by VECTORS of a panel. */
NAS_INLINE void tile_sums(const int count, const int VECTORS, int pairs, const int16_t *a,
                          const int16_t *b, vint sum[ROWS][2])
{
    for (int r = 0; r < count; r++)
        sum[r][0] = sum[r][1] = (vint){0};
    for (int t = 0; t < pairs; t++, b += 2 * PANEL) {
        const vint left = vi_load(b), right = VECTORS > 1 ? vi_load(b + PANEL) : (vint){0};

        for (int r = 0; r < count; r++) {
            int both;
            memcpy(&both, a + 2 * ((ptrdiff_t)r * pairs + t), sizeof both);
            sum[r][0] = v_pairs(sum[r][0], vi_set(both), left);
            if (VECTORS > 1)
                sum[r][1] = v_pairs(sum[r][1], vi_set(both), right);
        }
    }
}

/* `count` rows of a tile, and what becomes of them. */
NAS_INLINE void tile_rows(const int count, const int VECTORS, const ending KIND, int pairs,
                          const int16_t *a, const int16_t *b, const nas_q8_output *out, int c,
                          int width, size_t at, size_t stride)
{
    vint sum[ROWS][2];

    tile_sums(count, VECTORS, pairs, a, b, sum);
    for (int r = 0; r < count; r++, at += stride) {
        if (width == PANEL) {
            finish_two(KIND, out, sum[r][0], sum[r][1], c, c + NAS_VL, at, at + NAS_VL);
            continue;
        }
        finish(KIND, out, sum[r][0], c, at, width);
        if (VECTORS > 1 && width > NAS_VL)
            finish(KIND, out, sum[r][1], c + NAS_VL, at + NAS_VL, width - NAS_VL);
    }
}

NAS_INLINE void multiply(const ending KIND, const nas_conv_geom *g, const product *p,
                         const int16_t *a, const int16_t *b, int c, int width, size_t pixel,
                         int rows, const nas_q8_output *to)
{
    const nas_q8_output out = *to; /* its own: else stores of bytes might change it */
    const size_t stride = (size_t)g->cout;
    size_t at = pixel * stride + (size_t)c;
    const ptrdiff_t step = (ptrdiff_t)p->pairs * 2;

    for (; rows >= ROWS; rows -= ROWS, a += ROWS * step, at += ROWS * stride) {
        if (width > NAS_VL)
            tile_rows(ROWS, 2, KIND, p->pairs, a, b, &out, c, width, at, stride);
        else
            tile_rows(ROWS, 1, KIND, p->pairs, a, b, &out, c, width, at, stride);
    }
    if (rows >= 4) {
        tile_rows(4, 2, KIND, p->pairs, a, b, &out, c, width, at, stride);
        rows -= 4, a += 4 * step, at += 4 * stride;
    }
    for (; rows > 0; rows--, a += step, at += stride)
        tile_rows(1, 2, KIND, p->pairs, a, b, &out, c, width, at, stride);
}

/* Panels [begin, end) of all groups, for one tile of `rows` output pixels from `pixel` on. */
static void product_tile(const nas_conv_geom *g, const product *p, const nas_q8_input *in,
                         const int16_t *packed, const nas_q8_output *f, size_t pixel, int rows,
                         int begin, int end, int16_t *room)
{
    const size_t pixels = (size_t)g->oh * (size_t)g->ow;
    int16_t *tile = room + p->part;
    int held = -1; /* the group whose rows are in the tile */

    if (p->windows)
        gather_part(g, in, p, pixel / pixels, (int)(pixel % pixels) / g->ow, room);
    for (int panel = begin; panel < end; panel++) {
        const int group = panel / p->panels, first = panel % p->panels * PANEL;
        const int width = least(PANEL, p->columns - first);
        const int16_t *b = packed + (size_t)panel * p->panel;

        if (group != held && p->windows)
            gather_windows(g, p, group, rows, room, tile);
        else if (group != held)
            gather_pixels(g, in, p, group, pixel, rows, tile);
        held = group;
        WITH_KIND(ending_of(f), multiply(KIND, g, p, tile, b, group * p->columns + first, width, pixel,
                                    rows, f));
    }
}

static void product_conv(const nas_conv_geom *g, const nas_q8_input *in, const int16_t *packed,
                         const nas_q8_output *out, int16_t *scratch)
{
    const product p = product_of(g);
        const int panels = g->groups * p.panels;
    /* Tiles of windows lie within one image, others anywhere. */
    const size_t all = (size_t)g->n * (size_t)g->oh * (size_t)g->ow;
    const size_t chain = p.windows ? all / (size_t)g->n : all, chains = all / chain;
    const size_t count = (chain + (size_t)p.rows - 1) / (size_t)p.rows;
    const int parts = chains * count >= 8 ? 1 : least((int)(8 / (chains * count)), panels);
    const bool worth = all * (size_t)p.terms * (size_t)g->cout > 200000;

#pragma omp parallel for schedule(dynamic, 1) if (worth)
    for (size_t task = 0; task < chains * count * (size_t)parts; task++) {
        const size_t tile = task / (size_t)parts, first = tile % count * (size_t)p.rows;
        const int rows = chain - first < (size_t)p.rows ? (int)(chain - first) : p.rows;
        const int part = (int)(task % (size_t)parts);

        product_tile(g, &p, in, packed, out, tile / count * chain + first, rows,
                     panels * part / parts, panels * (part + 1) / parts,
                     scratch + (size_t)omp_get_thread_num() * (p.part + p.tile));
    }
}

/* -- depthwise ------------------------------------------------------------------------------ */

typedef struct band {
    int blocks;     /* of BLOCK vectors of channels                                */
    int rows;       /* output rows of a band                                       */
    int bands;      /* of an image                                                 */
    int columns;    /* of a laid out row: with padding                             */
    int pairs;      /* of rows that the filter touches, from either start          */
    int held;       /* pairs of rows of a band                                     */
    size_t filter;  /* 32-bit lanes of one version of the filter of one vector     */
} band;

static int held_pairs(const nas_conv_geom *g, int pairs, int rows)
{
    return (rows - 1) * g->stride / 2 + pairs;
}

static band band_of(const nas_conv_geom *g)
{
    band b = {.columns = g->w + 2 * g->pad, .pairs = (g->k + 2) / 2};
    const int channels = BLOCK * NAS_VL;

    b.blocks = (g->cin + channels - 1) / channels;
    b.rows = g->oh;
    while (b.rows > 1 && held_pairs(g, b.pairs, b.rows) > BAND_BYTES / (b.columns * channels * 4))
        b.rows = (b.rows + 1) / 2;
    b.bands = (g->oh + b.rows - 1) / b.rows;
    b.held = held_pairs(g, b.pairs, b.rows);
    b.filter = (size_t)b.pairs * (size_t)g->k * NAS_VL;
    return b;
}

/* [vector][start 0 or 1][pair of rows][column][lane][2] */
static void depthwise_pack(const nas_conv_geom *g, const int8_t *w, int16_t *to)
{
    const band b = band_of(g);

    for (int v = 0; v < b.blocks * BLOCK; v++)
        for (int start = 0; start < 2; start++)
            for (int pair = 0; pair < b.pairs; pair++)
                for (int s = 0; s < g->k; s++)
                    for (int lane = 0; lane < 2 * NAS_VL; lane++) {
                        const int r = 2 * pair + lane % 2 - start, c = v * NAS_VL + lane / 2;
                        const bool there = r >= 0 && r < g->k && c < g->cin;
                        *to++ = there ? w[(size_t)(r * g->k + s) * (size_t)g->cin + (size_t)c] : 0;
                    }
}

/* One pair of rows: those that are NULL are padding.  to [column][lane]. */
NAS_INLINE void lay_pair(const bool CODES, const bool WHOLE, const nas_conv_geom *g,
                         const nas_q8_input *in, const float *gate, const size_t *row, const bool *there,
                         int n, vint *to)
{
    const vint none = {0};

    for (int s = 0; s < g->pad; s++)
        to[s] = to[g->pad + g->w + s] = none;
    to += g->pad;
    for (int s = 0; s < g->w; s++) {
        const size_t at = (size_t)s * (size_t)g->cin;
        const vint low = there[0] ? v_input(CODES, WHOLE, in, gate, row[0] + at, n) : none;
        const vint high = there[1] ? v_input(CODES, WHOLE, in, gate, row[1] + at, n) : none;
        to[s] = (low & 0xffff) | high << 16;
    }
}

/* Lays out the rows of a band, channels from c on: [pair of rows][column][lane]. */
static void lay_out(const nas_conv_geom *g, const nas_q8_input *from, const band *b, size_t image,
                    int first, int c, vint *to)
{
    const int top = first * g->stride - g->pad, n = g->cin - c;
    const nas_q8_input in = *from;
    const float *gate = in.gate ? in.gate + image * (size_t)g->cin + (size_t)c : NULL;

    for (int pair = 0; pair < b->held; pair++, to += b->columns) {
        size_t row[2] = {0};
        bool there[2];
        for (int i = 0; i < 2; i++) {
            const int r = top + 2 * pair + i;
            there[i] = r >= 0 && r < g->h;
            if (there[i])
                row[i] = (image * (size_t)g->h + (size_t)r) * (size_t)g->w * (size_t)g->cin +
                         (size_t)c;
        }
        if (in.codes != NULL && n >= NAS_VL)
            lay_pair(true, true, g, &in, gate, row, there, n, to);
        else if (in.codes != NULL)
            lay_pair(true, false, g, &in, gate, row, there, n, to);
        else if (n >= NAS_VL)
            lay_pair(false, true, g, &in, gate, row, there, n, to);
        else
            lay_pair(false, false, g, &in, gate, row, there, n, to);
    }
}

/* `count` neighbouring output pixels of one vector of channels. */
NAS_INLINE void pixels(const int count, const ending KIND, const nas_conv_geom *g, const band *b,
                       const vint *x, const vint *filter, const nas_q8_output *f, int c, size_t at)
{
    vint sum[8];

    for (int j = 0; j < count; j++)
        sum[j] = (vint){0};
    for (int pair = 0; pair < b->pairs; pair++, x += b->columns)
        for (int s = 0; s < g->k; s++, filter++)
            for (int j = 0; j < count; j++)
                sum[j] = v_pairs(sum[j], x[j * g->stride + s], *filter);
    const size_t step = (size_t)g->cin;
    if (count == 1 || g->cin - c < NAS_VL) {
        for (int j = 0; j < count; j++)
            finish(KIND, f, sum[j], c, at + (size_t)j * step, g->cin - c);
        return;
    }
    for (int j = 0; j < count; j += 2)
        finish_two(KIND, f, sum[j], sum[j + 1], c, c, at + (size_t)j * step,
                   at + (size_t)(j + 1) * step);
}

/* One row.  The last pixels may be done twice: that is cheaper than a narrow rest. */
NAS_INLINE void row(const ending KIND, const nas_conv_geom *g, const band *b, const vint *x,
                    const vint *filter, const nas_q8_output *to, int c, size_t at)
{
    const int wide = g->ow >= 8 ? 8 : g->ow >= 4 ? 4 : 1;
    const nas_q8_output f = *to; /* its own: else stores of bytes might change it */

    for (int done = 0; done < g->ow; done += wide) {
        const int j = least(done, g->ow - wide);
        const vint *from = x + j * g->stride;
        const size_t first = at + (size_t)j * (size_t)g->cin;

        if (wide == 8)
            pixels(8, KIND, g, b, from, filter, &f, c, first);
        else if (wide == 4)
            pixels(4, KIND, g, b, from, filter, &f, c, first);
        else
            pixels(1, KIND, g, b, from, filter, &f, c, first);
    }
}

static void depthwise_conv(const nas_conv_geom *g, const nas_q8_input *in, const vint *packed,
                           const nas_q8_output *out, vint *scratch)
{
    const band b = band_of(g);
        const int tasks = g->n * b.bands * b.blocks;
    const size_t held = (size_t)b.held * (size_t)b.columns;
    const bool worth = (size_t)tasks * held > 2000;

#pragma omp parallel for schedule(dynamic, 1) if (worth)
    for (int task = 0; task < tasks; task++) {
        const size_t image = (size_t)(task / (b.bands * b.blocks));
        const int block = task % b.blocks, first = task / b.blocks % b.bands * b.rows;
        vint *x = scratch + (size_t)omp_get_thread_num() * held;

        for (int v = block * BLOCK; v < (block + 1) * BLOCK && v * NAS_VL < g->cin; v++) {
            const vint *filter = packed + (size_t)v * 2 * (b.filter / NAS_VL);
            lay_out(g, in, &b, image, first, v * NAS_VL, x);
            for (int i = first; i < least(first + b.rows, g->oh); i++) {
                const int from = (i - first) * g->stride;
                const vint *top = x + (ptrdiff_t)(from / 2) * b.columns;
                const vint *shape = filter + (from % 2 ? b.filter / NAS_VL : 0);
                const size_t to = ((image * (size_t)g->oh + (size_t)i) * (size_t)g->ow) *
                                      (size_t)g->cin + (size_t)(v * NAS_VL);

                WITH_KIND(ending_of(out), row(KIND, g, &b, top, shape, out, v * NAS_VL, to));
            }
        }
    }
}

/* -- the set --------------------------------------------------------------------------------- */

static size_t packed_bytes(const nas_conv_geom *g)
{
    if (nas_q8_is_depthwise(g)) {
        const band b = band_of(g);
        return cache_lines((size_t)b.blocks * BLOCK * 2 * b.filter * sizeof(int));
    }
    const product p = product_of(g);
    return cache_lines((size_t)g->groups * (size_t)p.panels * p.panel * sizeof(int16_t));
}

static void pack(const nas_conv_geom *g, const int8_t *w, void *packed)
{
    if (nas_q8_is_depthwise(g))
        depthwise_pack(g, w, packed);
    else
        product_pack(g, w, packed);
}

static size_t scratch_bytes(const nas_conv_geom *g, int threads)
{
    if (nas_q8_is_depthwise(g)) {
        const band b = band_of(g);
        return (size_t)threads * (size_t)b.held * (size_t)b.columns * sizeof(vint);
    }
    const product p = product_of(g);
    return (size_t)threads * (p.part + p.tile) * sizeof(int16_t);
}

static void conv(const nas_conv_geom *g, const nas_q8_input *in, const void *packed,
                 const nas_q8_output *out, void *scratch)
{
    if (nas_q8_is_depthwise(g))
        depthwise_conv(g, in, packed, out, scratch);
    else
        product_conv(g, in, packed, out, scratch);
}

#define NAS_Q8_STRING_(name) #name
#define NAS_Q8_STRING(name) NAS_Q8_STRING_(name)

extern const nas_q8_kernels NAS_ISA_NAME(nas_q8_kernels);
const nas_q8_kernels NAS_ISA_NAME(nas_q8_kernels) = {NAS_Q8_STRING(NAS_ISA), packed_bytes, pack,
                                                     scratch_bytes, conv};
