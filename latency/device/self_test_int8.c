/* The convolutions on 8-bit integers that a block is made of, with every set of kernels that runs
 * here: to the bits of the definition. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "latency/device/self_test.h"
#include "ops/kernel/int8.h"

enum { SIDE = 9, OUT_SIDE = 5, CHANNELS = 27, COLUMNS = 21, MAX_TERMS = 9 * CHANNELS };

/* Odd sizes: no vector and no tile comes out even. */
static const nas_conv_geom cases[] = {
    {.n = 1, .h = SIDE, .w = SIDE, .cin = CHANNELS, .cout = COLUMNS, .k = 1, .stride = 1,
     .groups = 1, .oh = SIDE, .ow = SIDE},
    {.n = 1, .h = SIDE, .w = SIDE, .cin = CHANNELS, .cout = CHANNELS, .k = 5, .stride = 1, .pad = 2,
     .groups = CHANNELS, .oh = SIDE, .ow = SIDE},
    {.n = 1, .h = SIDE, .w = SIDE, .cin = CHANNELS, .cout = COLUMNS, .k = 3, .stride = 2, .pad = 1,
     .groups = 1, .oh = OUT_SIDE, .ow = OUT_SIDE},
};

typedef struct operands {
    uint8_t codes[SIDE * SIDE * CHANNELS];
    int8_t weights[MAX_TERMS * COLUMNS];
    float scale[CHANNELS + NAS_Q8_PAD], bias[CHANNELS + NAS_Q8_PAD];
} operands;

static void fill(operands *o)
{
    nas_rng rng;

    nas_rng_init(&rng, 1, "self-test of integers", 0);
    for (size_t i = 0; i < sizeof o->codes; i++)
        o->codes[i] = (uint8_t)nas_rng_below(&rng, 256);
    for (size_t i = 0; i < sizeof o->weights; i++)
        o->weights[i] = (int8_t)((int)nas_rng_below(&rng, 255) - 127);
    for (size_t i = 0; i < sizeof o->scale / sizeof *o->scale; i++) {
        o->scale[i] = 1e-3f * (float)nas_rng_normal(&rng);
        o->bias[i] = (float)nas_rng_normal(&rng);
    }
}

static nas_status convolve(const nas_q8_kernels *kernels, const nas_conv_geom *g, int zero,
                           const operands *o, float *y, nas_err *err)
{
    const nas_q8_input in = {.codes = o->codes, .grid = {.step = 1, .inverse = 1, .zero = zero}};
    const nas_q8_output out = {.scale = o->scale, .bias = o->bias, .y = y};
    const size_t scratch = kernels->scratch(g, omp_get_max_threads());
    unsigned char *packed = aligned_alloc(64, (kernels->packed_bytes(g) + 63) / 64 * 64);
    unsigned char *room = aligned_alloc(64, (scratch + 127) / 64 * 64);
    nas_status status = NAS_OK;

    if (packed != NULL && room != NULL) {
        kernels->pack(g, o->weights, packed);
        kernels->conv(g, &in, packed, &out, room);
    } else {
        status = nas_fail(err, NAS_E_NOMEM, "self-test: no memory for a convolution");
    }
    free(packed);
    free(room);
    return status;
}

static nas_status compare(const nas_q8_kernels *kernels, const nas_q8_kernels *definition,
                          const operands *o, bool *same, nas_err *err)
{
    static float expected[SIDE * SIDE * CHANNELS], found[SIDE * SIDE * CHANNELS];
    nas_status status = NAS_OK;

    *same = true;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        const nas_conv_geom *g = &cases[i / 2];
        const int zero = i % 2 ? 128 : 0;

        if ((status = convolve(definition, g, zero, o, expected, err)) != NAS_OK ||
            (status = convolve(kernels, g, zero, o, found, err)) != NAS_OK)
            return status;
        if (memcmp(expected, found, (size_t)(g->oh * g->ow * g->cout) * sizeof *found) != 0)
            *same = false;
    }
    return NAS_OK;
}

nas_status nas_device__self_test_int8(nas_err *err)
{
    static operands o;
    const nas_q8_kernels *const *all = nas_q8_kernels_all();
    nas_status status = NAS_OK;
    int count = 0;

    fill(&o);
    while (all[count] != NULL)
        count++;
    for (int i = 0; i < count; i++) {
        bool same;
        nas_status this = compare(all[i], all[count - 1], &o, &same, err);

        if (this == NAS_OK && !same)
            this = nas_fail(err, NAS_E_FAIL, "self-test: %s kernels for integers are wrong",
                            all[i]->name);
        printf("int8 %-10s %s\n", all[i]->name, this == NAS_OK ? "right" : "WRONG");
        status = status == NAS_OK ? this : status;
    }
    return status;
}
