/* Layers on integers: their weights as codes, batch norm and steps in one scale and one bias a
 * channel.  Between the convolutions of an mbconv, tensors are codes; a layer's input and output
 * are floats, so that shortcuts add what they add elsewhere. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "ops/layer/unit.h"

/* A linear layer as a pointwise convolution of n rows. */
static nas_conv_geom linear_geom(const nas_layer *layer, int n)
{
    return (nas_conv_geom){.n = n, .h = layer->h, .w = layer->w, .cin = layer->spec.in,
                           .cout = layer->spec.out, .k = 1, .stride = 1, .groups = 1,
                           .oh = layer->h, .ow = layer->w};
}

/* The convolutions of a layer, or its linear layer, one after the other. */
static int parts_of(const nas_layer *layer)
{
    return layer->spec.type == NAS_OP_LINEAR ? 1 : layer->units;
}

static nas_conv_geom geom_of(const nas_layer *layer, int part, int n)
{
    nas_conv_geom geom = layer->units > 0 ? layer->unit[part].geom : linear_geom(layer, n);

    geom.n = n;
    return geom;
}

static nas_quant *quant_of(const nas_layer *layer, int part)
{
    return layer->units > 0 ? layer->unit[part].quant : layer->linear_quant;
}

static bool on_integers(const nas_quant *q, const nas_conv_geom *g)
{
    return q != NULL && q->weight_step != NULL && q->weight_bits > 0 && q->weight_bits <= 8 &&
           q->input_bits > 0 && q->input_bits <= 8 && q->probe == NULL &&
           (int64_t)g->k * g->k * (g->cin / g->groups) <= NAS_Q8_MAX_TERMS;
}

bool nas_layer_is_int8(const nas_layer *layer)
{
    for (int i = 0; i < parts_of(layer); i++) {
        const nas_conv_geom geom = geom_of(layer, i, 1);
        if (!on_integers(quant_of(layer, i), &geom))
            return false;
    }
    return parts_of(layer) > 0;
}

static size_t vector_bytes(const nas_conv_geom *g)
{
    return nas_arena_round(((size_t)g->cout + NAS_Q8_PAD) * sizeof(float));
}

size_t nas_layer_int8_bytes(const nas_layer *layer, const nas_kernels *kernels)
{
    const nas_q8_kernels *k = nas_q8_kernels_of(kernels);
    size_t bytes = 0;

    for (int i = 0; i < parts_of(layer); i++) {
        const nas_conv_geom geom = geom_of(layer, i, 1);
        const size_t weights = (size_t)geom.k * (size_t)geom.k *
                               (size_t)(geom.cin / geom.groups) * (size_t)geom.cout;
        bytes += nas_arena_round(k->packed_bytes(&geom)) + 2 * vector_bytes(&geom) +
                 nas_arena_round(weights);
    }
    return bytes;
}

/* Weights as codes; they were rounded to their steps, so this is exact. */
static void encode(const nas_conv_geom *g, const nas_quant *q, const float *w, int8_t *codes)
{
    const int rows = g->k * g->k * (g->cin / g->groups), most = (1 << (q->weight_bits - 1)) - 1;

    for (int r = 0; r < rows; r++)
        for (int o = 0; o < g->cout; o++, w++) {
            const float code = q->weight_step[o] > 0.0f ? rintf(*w / q->weight_step[o]) : 0.0f;
            *codes++ = (int8_t)(code > (float)most ? most : code < (float)-most ? -most : code);
        }
}

static nas_int8_part pack_part(const nas_conv_geom *g, const nas_quant *q,
                               const nas_q8_kernels *kernels, const float *w, unsigned char *to)
{
    float *scale = (float *)to, *bias = (float *)(to + vector_bytes(g));
    unsigned char *weights = to + 2 * vector_bytes(g);
    int8_t *codes = (int8_t *)(weights + nas_arena_round(kernels->packed_bytes(g)));
    const float step = nas_quant_grid(q).step;

    memset(to, 0, 2 * vector_bytes(g));
    encode(g, q, w, codes);
    kernels->pack(g, codes, weights);
    for (int o = 0; o < g->cout; o++)
        scale[o] = step * q->weight_step[o];
    return (nas_int8_part){.weights = weights, .scale = scale, .bias = bias};
}

static void fold(const nas_unit *unit, const float *params, float eps, float *scale, float *bias)
{
    for (int o = 0; o < unit->geom.cout; o++) {
        if (unit->bn) {
            const float by = params[unit->gamma + (size_t)o] /
                             sqrtf(params[unit->var + (size_t)o] + eps);
            scale[o] *= by;
            bias[o] = params[unit->beta + (size_t)o] - params[unit->mean + (size_t)o] * by;
        } else if (unit->bias) {
            bias[o] = params[unit->beta + (size_t)o];
        }
    }
}

/* True if the output of a part is codes; the gate of squeeze-excite is a factor of values. */
static bool gives_codes(const nas_layer *layer, int part)
{
    const int last = parts_of(layer) - 1;

    return part < last && !(part == last - 1 && layer->spec.se > 0);
}

/* How a part's output is rounded for the next one; without `codes` yet. */
static nas_q8_output rounding(const nas_layer *layer, int part)
{
    const nas_q8_grid grid = nas_quant_grid(quant_of(layer, part + 1));
    nas_q8_output out = {0};

    nas_q8_limits(&out, &grid, layer->unit[part].act);
    return out;
}

/* Scale and bias in codes of the next part. */
static void scale_to_codes(const nas_layer *layer, int part, float *scale, float *bias)
{
    const nas_q8_output out = rounding(layer, part);

    for (int o = 0; out.act == NAS_ACT_NONE && o < layer->unit[part].geom.cout; o++) {
        scale[o] *= out.inverse;
        bias[o] = bias[o] * out.inverse + out.zero;
    }
}

void nas_layer_pack_int8(const nas_layer *layer, const nas_kernels *kernels, const float *params,
                         float bn_eps, void *packed, nas_layer *out)
{
    const nas_q8_kernels *k = nas_q8_kernels_of(kernels);
    unsigned char *to = packed;

    assert(nas_layer_is_int8(layer));
    *out = *layer;
    for (int i = 0; i < parts_of(layer); i++) {
        const nas_conv_geom geom = geom_of(layer, i, 1);
        const size_t weight = layer->units > 0 ? layer->unit[i].weight : layer->linear;
        const nas_int8_part part = pack_part(&geom, quant_of(layer, i), k, params + weight, to);
        float *scale = (float *)to, *bias = (float *)(to + vector_bytes(&geom));

        if (layer->units > 0) {
            fold(&layer->unit[i], params, bn_eps, scale, bias);
            if (gives_codes(layer, i))
                scale_to_codes(layer, i, scale, bias);
            out->unit[i].int8 = part;
        } else {
            if (layer->spec.bias)
                memcpy(bias, params + layer->linear_bias, (size_t)geom.cout * sizeof *bias);
            out->linear_int8 = part;
        }
        to += nas_arena_round(k->packed_bytes(&geom)) + 2 * vector_bytes(&geom) +
              nas_arena_round((size_t)geom.k * (size_t)geom.k * (size_t)(geom.cin / geom.groups) *
                              (size_t)geom.cout);
    }
}

/* Bytes that the layer needs to run as one block; 0: its parts run one by one. */
static size_t block_scratch(const nas_layer *layer, const nas_q8_kernels *k, int n, int threads)
{
    nas_conv_geom geom[NAS_LAYER_MAX_UNITS];

    if (k->block == NULL || layer->units < 2 || layer->spec.se > 0)
        return 0;
    for (int i = 0; i < layer->units; i++)
        geom[i] = geom_of(layer, i, n);
    return k->block_scratch(geom, layer->units, threads);
}

size_t nas_layer__int8_scratch(const nas_layer *layer, int n, int threads)
{
    size_t largest = block_scratch(layer, nas_q8_kernels_of(nas_kernels_get()), n, threads);

    for (int i = 0; i < parts_of(layer); i++) {
        const nas_conv_geom geom = geom_of(layer, i, n);
        const size_t bytes = nas_q8_kernels_of(nas_kernels_get())->scratch(&geom, threads);
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

size_t nas_layer__quant_bytes(const nas_layer *layer, int n)
{
    size_t largest = 0;

    for (int i = 0; i < parts_of(layer); i++) {
        const nas_conv_geom g = geom_of(layer, i, n);
        const size_t bytes = nas_arena_round((size_t)n * (size_t)g.h * (size_t)g.w *
                                             (size_t)g.cin * sizeof(float));
        if (quant_of(layer, i) != NULL)
            largest = bytes > largest ? bytes : largest;
    }
    return 3 * largest; /* the input, the input rounded, its gradient */
}

/* -- evaluation ------------------------------------------------------------------------------ */

static void run_part(const nas_layer *layer, int part, const nas_run *run, nas_q8_input in,
                     nas_q8_output out)
{
    const nas_int8_part *p = layer->units > 0 ? &layer->unit[part].int8 : &layer->linear_int8;
    const nas_conv_geom geom = geom_of(layer, part, run->n);

    in.grid = nas_quant_grid(quant_of(layer, part));
    out.scale = p->scale;
    out.bias = p->bias;
    if (out.codes == NULL)
        out.act = layer->units > 0 ? layer->unit[part].act : layer->spec.act;
    nas_q8_kernels_of(run->kernels)->conv(&geom, &in, p->weights, &out, run->scratch);
}

static void run_block(const nas_layer *layer, const nas_run *run, const nas_q8_kernels *k,
                      const float *x, const float *residual, float *y)
{
    const int last = layer->units - 1;
    nas_q8_link link[NAS_LAYER_MAX_UNITS];

    for (int i = 0; i <= last; i++) {
        const nas_int8_part *p = &layer->unit[i].int8;

        link[i] = (nas_q8_link){.geom = geom_of(layer, i, run->n),
                                .grid = nas_quant_grid(quant_of(layer, i)), .packed = p->weights};
        if (i < last)
            link[i].out = rounding(layer, i);
        else
            link[i].out = (nas_q8_output){.y = y, .residual = residual,
                                          .act = layer->unit[i].act};
        link[i].out.scale = p->scale;
        link[i].out.bias = p->bias;
    }
    k->block(link, layer->units, x, run->scratch);
}

/* Gate of the values u [n][pixels][mid]. */
static const float *gate_of(const nas_layer *layer, const nas_run *run, const float *params,
                            const float *u)
{
    const int mid = layer->spec.mid, se = layer->spec.se;
    const nas_view view = {.x = u};
    float *pooled = nas_arena_floats(run->arena, (size_t)run->n * (size_t)mid);
    float *hidden = nas_arena_floats(run->arena, (size_t)run->n * (size_t)se);
    float *gate = nas_arena_floats(run->arena, (size_t)run->n * (size_t)mid);

    run->kernels->mean_pool(run->n, layer->oh * layer->ow, mid, &view, pooled);
    run->kernels->linear(run->n, mid, se, pooled, params + layer->se_reduce,
                         params + layer->se_reduce_bias, NAS_ACT_RELU, hidden);
    run->kernels->linear(run->n, se, mid, hidden, params + layer->se_expand,
                         params + layer->se_expand_bias, NAS_ACT_HSIGMOID, gate);
    return gate;
}

void nas_layer__int8_forward(const nas_layer *layer, const nas_run *run, const float *params,
                             const float *x, const float *residual, float *y)
{
    const nas_q8_kernels *k = nas_q8_kernels_of(run->kernels);
    const int last = parts_of(layer) - 1;
    nas_q8_input in = {.x = x};

    if (block_scratch(layer, k, run->n, 1) > 0) {
        run_block(layer, run, k, x, residual, y);
        return;
    }
    for (int i = 0; i < last; i++) {
        const nas_unit *unit = &layer->unit[i];
        nas_q8_output out = {0};

        if (gives_codes(layer, i)) {
            out = rounding(layer, i);
            out.codes = nas_arena_alloc(run->arena, nas_unit__outputs(unit, run->n));
        } else {
            out.y = nas_unit__raw(unit, run);
        }
        run_part(layer, i, run, in, out);
        in = (nas_q8_input){.codes = out.codes, .x = out.y};
        if (out.codes == NULL)
            in.gate = gate_of(layer, run, params, out.y);
    }
    run_part(layer, last, run, in, (nas_q8_output){.y = y, .residual = residual});
}
