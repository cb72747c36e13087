/* Int8 convolutions: the definition against sums by hand, and every set against the definition. */
#include <criterion/criterion.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "ops/kernel/int8.h"

typedef struct int8_case {
    nas_conv_geom geom;
    bool floats, gate, codes_out, residual;
    nas_act act;
    int zero;
} int8_case;

typedef struct buffers {
    size_t inputs, outputs, weights;
    uint8_t *codes, *out_codes;
    float *x, *gate, *residual, *y, *scale, *bias;
    int8_t *w;
} buffers;

static void *room(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);

    cr_assert(p != NULL);
    memset(p, 0, (bytes + 127) / 64 * 64);
    return p;
}

/* Values that meet the limits often: extreme codes, weights and sums, and values on halves. */
static void fill(buffers *b, const nas_conv_geom *g, int zero)
{
    nas_rng rng;

    nas_rng_init(&rng, 7, "int8", (uint64_t)(g->cin * 1000 + g->k * 10 + g->stride));
    b->inputs = (size_t)(g->n * g->h * g->w * g->cin);
    b->outputs = (size_t)(g->n * g->oh * g->ow * g->cout);
    b->weights = (size_t)(g->k * g->k * (g->cin / g->groups) * g->cout);
    b->codes = room(b->inputs);
    b->out_codes = room(b->outputs);
    b->x = room(b->inputs * 4);
    b->gate = room((size_t)(g->n * g->cin) * 4);
    b->residual = room(b->outputs * 4);
    b->y = room(b->outputs * 4);
    b->scale = room(((size_t)g->cout + NAS_Q8_PAD) * 4);
    b->bias = room(((size_t)g->cout + NAS_Q8_PAD) * 4);
    b->w = room(b->weights);
    for (size_t i = 0; i < b->inputs; i++) {
        b->codes[i] = nas_rng_below(&rng, 4) == 0 ? 255 : (uint8_t)nas_rng_below(&rng, 256);
        b->x[i] = (float)(int)nas_rng_below(&rng, 700) / 64.0f - (zero ? 5.0f : 1.0f);
    }
    for (int i = 0; i < g->n * g->cin; i++)
        b->gate[i] = (float)nas_rng_uniform(&rng);
    for (size_t i = 0; i < b->outputs; i++)
        b->residual[i] = (float)nas_rng_normal(&rng);
    for (int i = 0; i < g->cout; i++) {
        b->scale[i] = (float)nas_rng_normal(&rng) * 5e-3f;
        b->bias[i] = (float)nas_rng_normal(&rng) * 20.0f;
    }
    for (size_t i = 0; i < b->weights; i++)
        b->w[i] = nas_rng_below(&rng, 4) == 0 ? 127 : (int8_t)((int)nas_rng_below(&rng, 255) - 127);
}

static void drop(buffers *b)
{
    void *const all[] = {b->codes, b->out_codes, b->x, b->gate, b->residual,
                         b->y,     b->scale,     b->bias, b->w};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static nas_q8_grid grid_of(int zero)
{
    const int levels = zero ? 127 : 255;
    const float range = 4.0f;

    return (nas_q8_grid){.lo = zero ? -range : 0, .hi = range, .step = range / (float)levels,
                         .inverse = (float)levels / range, .zero = zero};
}

static void run(const int8_case *t, const nas_q8_kernels *k, buffers *b)
{
    const nas_conv_geom *g = &t->geom;
    const nas_q8_input in = {.codes = t->floats ? NULL : b->codes, .x = b->x,
                             .gate = t->gate ? b->gate : NULL, .grid = grid_of(t->zero)};
    nas_q8_output out = {.scale = b->scale, .bias = b->bias, .act = t->act,
                         .residual = t->residual ? b->residual : NULL,
                         .y = b->y, .codes = t->codes_out ? b->out_codes : NULL};
    const nas_q8_grid next = grid_of(t->act == NAS_ACT_HSWISH ? 128 : 0);
    void *packed = room(k->packed_bytes(g)), *scratch = room(k->scratch(g, omp_get_max_threads()));

    if (t->codes_out)
        nas_q8_limits(&out, &next, t->act);
    k->pack(g, b->w, packed);
    memset(b->y, 0xee, b->outputs * 4);
    memset(b->out_codes, 0xee, b->outputs);
    k->conv(g, &in, packed, &out, scratch);
    free(packed);
    free(scratch);
}

#define GEOM(n_, h_, w_, in_, out_, k_, s_, groups_)                                         \
    {.n = n_, .h = h_, .w = w_, .cin = in_, .cout = out_, .k = k_, .stride = s_,               \
     .pad = (k_) / 2, .groups = groups_, .oh = ((h_) - 1) / (s_) + 1, .ow = ((w_) - 1) / (s_) + 1}

static int8_case cases[] = {
    {GEOM(1, 5, 7, 24, 144, 1, 1, 1), false, false, true, false, NAS_ACT_RELU6, 0},
    {GEOM(3, 4, 4, 7, 13, 1, 1, 1), true, false, false, true, NAS_ACT_NONE, 128},
    {GEOM(2, 9, 3, 33, 40, 1, 1, 1), true, true, false, true, NAS_ACT_NONE, 128},
    {GEOM(1, 1, 1, 1280, 10, 1, 1, 1), true, false, false, false, NAS_ACT_NONE, 0},
    {GEOM(1, 6, 6, 16, 24, 1, 2, 1), false, false, true, false, NAS_ACT_HSWISH, 128},
    {GEOM(2, 5, 5, 12, 20, 1, 1, 1), true, false, true, false, NAS_ACT_RELU6, 128},
    {GEOM(1, 9, 7, 36, 16, 1, 1, 1), true, false, false, true, NAS_ACT_NONE, 128},
    {GEOM(2, 11, 9, 3, 32, 3, 2, 1), true, false, false, false, NAS_ACT_HSWISH, 128},
    {GEOM(1, 8, 8, 12, 20, 3, 1, 4), false, false, true, false, NAS_ACT_RELU, 0},
    {GEOM(2, 9, 32, 3, 16, 3, 1, 1), true, false, false, false, NAS_ACT_RELU6, 128},
    {GEOM(1, 13, 16, 5, 40, 3, 1, 1), false, false, true, false, NAS_ACT_RELU6, 128},
    {GEOM(1, 7, 31, 6, 20, 5, 2, 1), false, false, false, true, NAS_ACT_NONE, 0},
    {GEOM(2, 4, 25, 7, 9, 3, 1, 1), true, true, true, false, NAS_ACT_HSWISH, 128},
    {GEOM(1, 5, 32, 9, 17, 1, 2, 1), true, false, false, false, NAS_ACT_NONE, 128},
    {GEOM(1, 5, 5, 1, 1, 3, 1, 1), false, false, false, false, NAS_ACT_NONE, 0},
    {GEOM(1, 32, 32, 48, 48, 3, 1, 48), false, false, true, false, NAS_ACT_RELU6, 0},
    {GEOM(2, 9, 13, 19, 19, 5, 1, 19), false, false, true, false, NAS_ACT_HSWISH, 128},
    {GEOM(1, 14, 6, 40, 40, 7, 2, 40), true, false, false, false, NAS_ACT_HSIGMOID, 128},
    {GEOM(1, 3, 3, 8, 8, 7, 1, 8), false, false, true, false, NAS_ACT_NONE, 0},
    {GEOM(1, 64, 90, 17, 17, 3, 2, 17), false, false, false, true, NAS_ACT_RELU, 0},
    {GEOM(1, 10, 10, 6, 6, 3, 3, 6), true, true, false, false, NAS_ACT_NONE, 0},
};
enum { CASES = sizeof cases / sizeof *cases };

static const nas_q8_kernels *definition(void)
{
    return nas_q8_kernels_of(nas_kernels_find("reference"));
}

Test(ops_int8, the_best_set_goes_with_all_kernels_but_those_it_shares_a_name_with)
{
    const nas_q8_kernels *const *all = nas_q8_kernels_all();
    int count = 0;

    for (const char *const *name = nas_kernels_names(); *name != NULL; name++) {
        const nas_q8_kernels *set = nas_q8_kernels_of(nas_kernels_find(*name));
        cr_assert(set == all[0] || strcmp(set->name, *name) == 0, "%s takes %s", *name, set->name);
    }
    while (all[count] != NULL)
        count++;
    cr_assert(count >= 2 && all[count - 1] == definition());
}

Test(ops_int8, every_set_gives_the_bits_of_the_definition)
{
    for (int c = 0; c < CASES; c++)
        for (const nas_q8_kernels *const *set = nas_q8_kernels_all(); *set != NULL; set++) {
            buffers b;
            fill(&b, &cases[c].geom, cases[c].zero);
            run(&cases[c], definition(), &b);
            float *y = room(b.outputs * 4);
            uint8_t *codes = room(b.outputs);
            memcpy(y, b.y, b.outputs * 4);
            memcpy(codes, b.out_codes, b.outputs);
            run(&cases[c], *set, &b);
            cr_assert_arr_eq(b.out_codes, codes, b.outputs, "codes, case %d, %s", c, (*set)->name);
            cr_assert_arr_eq(b.y, y, b.outputs * 4, "values, case %d, %s", c, (*set)->name);
            free(y);
            free(codes);
            drop(&b);
        }
}

Test(ops_int8, any_number_of_threads_gives_the_same_bits)
{
    const nas_q8_kernels *k = nas_q8_kernels_of(nas_kernels_get());

    for (int c = 0; c < CASES; c++) {
        buffers b;
        fill(&b, &cases[c].geom, cases[c].zero);
        omp_set_num_threads(1);
        run(&cases[c], k, &b);
        uint8_t *before = room(b.outputs * 5);
        memcpy(before, b.y, b.outputs * 4);
        memcpy(before + b.outputs * 4, b.out_codes, b.outputs);
        omp_set_num_threads(5);
        run(&cases[c], k, &b);
        cr_assert_arr_eq(b.y, before, b.outputs * 4, "case %d", c);
        cr_assert_arr_eq(b.out_codes, before + b.outputs * 4, b.outputs, "case %d", c);
        free(before);
        drop(&b);
    }
}

/* ---- blocks ---- */

typedef struct block_case {
    int n, h, w, cin, mid, cout, k, stride; /* cin 0: without expand */
    nas_act act;
    bool residual;
} block_case;

static const block_case blocks[] = {
    {1, 16, 16, 24, 144, 24, 3, 1, NAS_ACT_RELU6, true},
    {1, 8, 8, 32, 192, 48, 3, 2, NAS_ACT_RELU6, false},
    {1, 4, 4, 64, 384, 64, 3, 1, NAS_ACT_RELU, true},
    {2, 7, 7, 13, 37, 11, 3, 1, NAS_ACT_HSWISH, true},
    {2, 7, 5, 8, 24, 17, 5, 2, NAS_ACT_HSWISH, false},
    {1, 9, 14, 5, 40, 40, 7, 1, NAS_ACT_RELU6, false},
    {3, 2, 3, 3, 10, 4, 5, 1, NAS_ACT_RELU6, false},
    {1, 1, 1, 16, 33, 8, 3, 1, NAS_ACT_RELU6, true},
    {1, 32, 32, 0, 16, 16, 3, 2, NAS_ACT_RELU6, false},
    {2, 11, 10, 0, 21, 9, 3, 1, NAS_ACT_HSWISH, false},
    {1, 10, 13, 6, 18, 5, 3, 3, NAS_ACT_RELU6, false},
};
enum { BLOCKS = sizeof blocks / sizeof *blocks, LINKS = 3 };

static nas_conv_geom geom_of(const block_case *t, int link)
{
    const nas_conv_geom depthwise = GEOM(t->n, t->h, t->w, t->mid, t->mid, t->k, t->stride, t->mid);
    const nas_conv_geom expand = GEOM(t->n, t->h, t->w, t->cin, t->mid, 1, 1, 1);
    const nas_conv_geom project =
        GEOM(t->n, depthwise.oh, depthwise.ow, t->mid, t->cout, 1, 1, 1);

    return link == 0 ? expand : link == 1 ? depthwise : project;
}

/* Its convolutions one after the other, or (whole) as a block: y of the last, which is its
 * residual; false if the set has no such block. */
static bool run_block(const block_case *t, const nas_q8_kernels *k, bool whole, buffers *b,
                      float *y)
{
    const int first = t->cin > 0 ? 0 : 1, count = LINKS - first;
    nas_conv_geom geom[LINKS];
    nas_q8_link link[LINKS] = {0};
    void *packed[LINKS] = {0};

    for (int i = 0; i < count; i++) {
        geom[i] = geom_of(t, first + i);
        packed[i] = room(k->packed_bytes(&geom[i]));
        k->pack(&geom[i], b[first + i].w, packed[i]);
        link[i] = (nas_q8_link){.geom = geom[i], .packed = packed[i],
                                .grid = grid_of(i == 0 || t->act == NAS_ACT_HSWISH ? 128 : 0)};
    }
    for (int i = 0; i < count; i++) {
        nas_q8_output *out = &link[i].out;
        if (i + 1 < count)
            nas_q8_limits(out, &link[i + 1].grid, t->act);
        else
            *out = (nas_q8_output){.y = y, .residual = t->residual ? y : NULL};
        out->scale = b[first + i].scale;
        out->bias = b[first + i].bias;
    }
    memcpy(y, b[2].residual, b[2].outputs * sizeof *y);
    const int threads = omp_get_max_threads();
    const bool there = !whole || (k->block != NULL && k->block_scratch(geom, count, threads) > 0);
    nas_q8_input in = {.x = b[first].x};
    for (int i = 0; i < count && !whole; i++) {
        void *scratch = room(k->scratch(&geom[i], threads));
        in.grid = link[i].grid;
        link[i].out.codes = i + 1 < count ? b[first + i].out_codes : NULL;
        k->conv(&geom[i], &in, packed[i], &link[i].out, scratch);
        in = (nas_q8_input){.codes = b[first + i].out_codes};
        free(scratch);
    }
    if (whole && there) {
        void *scratch = room(k->block_scratch(geom, count, threads));
        k->block(link, count, b[first].x, scratch);
        free(scratch);
    }
    for (int i = 0; i < count; i++)
        free(packed[i]);
    return there;
}

Test(ops_int8, a_block_gives_the_bits_of_its_convolutions)
{
    for (int c = 0; c < BLOCKS; c++) {
        buffers b[LINKS] = {0};
        for (int i = blocks[c].cin > 0 ? 0 : 1; i < LINKS; i++) {
            const nas_conv_geom geom = geom_of(&blocks[c], i);
            fill(&b[i], &geom, 128);
        }
        float *want = room(b[2].outputs * 4), *got = room(b[2].outputs * 4);
        cr_assert(run_block(&blocks[c], definition(), false, b, want));
        for (const nas_q8_kernels *const *set = nas_q8_kernels_all(); *set != NULL; set++)
            for (int threads = 1; threads < 6; threads += 2) {
                const bool whole = (*set)->block != NULL;
                omp_set_num_threads(threads);
                cr_assert(run_block(&blocks[c], *set, whole, b, got));
                cr_assert_arr_eq(got, want, b[2].outputs * 4, "case %d, %s, %d threads", c,
                                 (*set)->name, threads);
            }
        free(want);
        free(got);
        for (int i = 0; i < LINKS; i++)
            drop(&b[i]);
    }
}

Test(ops_int8, what_is_no_block_says_so)
{
    const block_case t = blocks[0], large = {1, 224, 224, 8, 16, 8, 3, 1, NAS_ACT_RELU6, false};
    const nas_q8_kernels *k = nas_q8_kernels_of(nas_kernels_get());
    nas_conv_geom geom[LINKS] = {geom_of(&t, 0), geom_of(&t, 1), geom_of(&t, 2)};
    const nas_conv_geom wide[LINKS] = {geom_of(&large, 0), geom_of(&large, 1), geom_of(&large, 2)};

    if (k->block == NULL)
        return;
    cr_expect_gt(k->block_scratch(geom, LINKS, 1), 0);
    cr_expect_eq(k->block_scratch(geom, 1, 1), 0);
    cr_expect_eq(k->block_scratch(geom, 2, 1), 0, "no depthwise convolution at its place");
    cr_expect_eq(k->block_scratch(wide, LINKS, 1), 0, "too large for a cache");
    geom[2].stride = 2;
    cr_expect_eq(k->block_scratch(geom, LINKS, 1), 0);
}

Test(ops_int8, two_largest_products_do_not_saturate)
{
    /* 255 * 127 * terms is far above 2^15, where 8-bit multiply-add instructions end. */
    const int8_case t = {.geom = GEOM(1, 1, 1, 64, 16, 1, 1, 1), .act = NAS_ACT_NONE};

    for (const nas_q8_kernels *const *set = nas_q8_kernels_all(); *set != NULL; set++) {
        buffers b;
        fill(&b, &t.geom, 0);
        memset(b.codes, 255, b.inputs);
        memset(b.w, -127 & 0xff, b.weights);
        for (int c = 0; c < 16; c++) {
            b.scale[c] = 1.0f;
            b.bias[c] = 0.5f;
        }
        run(&t, *set, &b);
        for (int c = 0; c < 16; c++)
            cr_assert_float_eq(b.y[c], -255.0f * 127.0f * 64.0f + 0.5f, 0.0f, "%s", (*set)->name);
        drop(&b);
    }
}

Test(ops_int8, a_small_convolution_by_hand)
{
    /* 2x2 image of one channel, codes 1 2 3 4, zero 0; 3x3 filter of 1..9; centre at tap 5:
     * y00 = 5*1 + 6*2 + 8*3 + 9*4 = 77, y01 = 4*1 + 5*2 + 7*3 + 8*4 = 67,
     * y10 = 2*1 + 3*2 + 5*3 + 6*4 = 47, y11 = 1 + 2*2 + 4*3 + 5*4 = 37; out = relu(y/2 - 20) + r */
    const int8_case t = {.geom = GEOM(1, 2, 2, 1, 1, 3, 1, 1), .act = NAS_ACT_RELU,
                         .residual = true};
    const float want[] = {18.5f + 1, 13.5f + 1, 3.5f + 1, 0.0f + 1};
    buffers b;

    fill(&b, &t.geom, 0);
    for (int i = 0; i < 9; i++)
        b.w[i] = (int8_t)(i + 1);
    for (int i = 0; i < 4; i++) {
        b.codes[i] = (uint8_t)(i + 1);
        b.residual[i] = 1.0f;
    }
    b.scale[0] = 0.5f;
    b.bias[0] = -20.0f;
    run(&t, definition(), &b);
    cr_assert_arr_eq(b.y, want, sizeof want);
    drop(&b);
}

Test(ops_int8, halves_round_to_even_and_the_ends_are_cut)
{
    /* step 1: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2, -3 -> 0, 300 -> 255, not-a-number -> 0 */
    const float x[] = {0.5f, 1.5f, 2.5f, -3.0f, 300.0f, 0.0f / 0.0f, 254.5f, 17.0f};
    const float want[] = {0, 2, 2, 0, 255, 0, 254, 17};

    for (const nas_q8_kernels *const *set = nas_q8_kernels_all(); *set != NULL; set++) {
        const nas_conv_geom g = GEOM(8, 1, 1, 1, 1, 1, 1, 1);
        const nas_q8_grid grid = {.lo = 0, .hi = 255, .step = 1, .inverse = 1};
        const nas_q8_kernels *k = *set;
        const int8_t one = 1;
        float scale[1 + NAS_Q8_PAD] = {1}, bias[1 + NAS_Q8_PAD] = {0}, y[8];
        const nas_q8_input in = {.x = x, .grid = grid};
        const nas_q8_output out = {.scale = scale, .bias = bias, .y = y};
        void *packed = room(k->packed_bytes(&g));
        void *scratch = room(k->scratch(&g, omp_get_max_threads()));
        k->pack(&g, &one, packed);
        k->conv(&g, &in, packed, &out, scratch);
        cr_assert_arr_eq(y, want, sizeof want, "%s", k->name);
        free(packed);
        free(scratch);
    }
}
