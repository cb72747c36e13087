/* The int8 convolution as its definition says, and the choice among the sets. */
#include <math.h>
#if defined __aarch64__
#include <sys/auxv.h>
#endif

#include "ops/kernel/int8_common.h"

static size_t packed_bytes(const nas_conv_geom *g)
{
    return (size_t)g->k * (size_t)g->k * (size_t)(g->cin / g->groups) * (size_t)g->cout;
}

static void pack(const nas_conv_geom *g, const int8_t *w, void *packed)
{
    memcpy(packed, w, packed_bytes(g));
}

static size_t scratch_bytes(const nas_conv_geom *g, int threads) { return 0; }

static float activate(nas_act act, float x)
{
    const float top = x + 3, gate = top > 0 ? top < 6 ? top : 6 : 0;

    switch (act) {
    case NAS_ACT_HSWISH: return x * (gate * (1.0f / 6));
    case NAS_ACT_HSIGMOID: return gate * (1.0f / 6);
    default: return nas_act_value(act, x);
    }
}

static int input_at(const nas_conv_geom *g, const nas_q8_input *in, int image, int r, int s, int c)
{
    const size_t at = (((size_t)image * (size_t)g->h + (size_t)r) * (size_t)g->w + (size_t)s) *
                          (size_t)g->cin + (size_t)c;

    if (in->codes != NULL)
        return in->codes[at] - in->grid.zero;
    const float gate = in->gate ? in->gate[(size_t)image * (size_t)g->cin + (size_t)c] : 1.0f;
    return nas_q8_round(&in->grid, in->x[at] * gate);
}

static int sum_at(const nas_conv_geom *g, const nas_q8_input *in, const int8_t *w, int image,
                  int i, int j, int o)
{
    const int per = g->cin / g->groups, first = o / (g->cout / g->groups) * per;
    int sum = 0;

    for (int a = 0; a < g->k; a++)
        for (int b = 0; b < g->k; b++) {
            const int r = i * g->stride + a - g->pad, s = j * g->stride + b - g->pad;

            if (r < 0 || r >= g->h || s < 0 || s >= g->w)
                continue;
            for (int c = 0; c < per; c++)
                sum += input_at(g, in, image, r, s, first + c) *
                       w[((size_t)(a * g->k + b) * (size_t)per + (size_t)c) * (size_t)g->cout +
                         (size_t)o];
        }
    return sum;
}

static uint8_t code_of(const nas_q8_output *out, float v)
{
    const float scaled = out->act == NAS_ACT_NONE ? v : v * out->inverse + out->zero;
    const float rounded = rintf(scaled);

    if (!(rounded > (float)out->least)) /* also not-a-number */
        return (uint8_t)out->least;
    return (uint8_t)(rounded < (float)out->most ? (int)rounded : out->most);
}

static void conv(const nas_conv_geom *g, const nas_q8_input *in, const void *packed,
                 const nas_q8_output *out, void *scratch)
{
    const size_t pixels = (size_t)g->oh * (size_t)g->ow, all = (size_t)g->n * pixels;

#pragma omp parallel for
    for (size_t p = 0; p < all; p++)
        for (int o = 0; o < g->cout; o++) {
            const int image = (int)(p / pixels), at = (int)(p % pixels);
            const int sum = sum_at(g, in, packed, image, at / g->ow, at % g->ow, o);
            const size_t to = p * (size_t)g->cout + (size_t)o;
            const float product = (float)sum * out->scale[o];
            float v = activate(out->act, product + out->bias[o]);

            if (out->residual != NULL)
                v += out->residual[to];
            if (out->codes != NULL)
                out->codes[to] = code_of(out, v);
            else
                out->y[to] = v;
        }
}

static const nas_q8_kernels reference = {
    .name = "reference", .packed_bytes = packed_bytes, .pack = pack, .scratch = scratch_bytes,
    .conv = conv};

void nas_q8_limits(nas_q8_output *out, const nas_q8_grid *grid, nas_act act)
{
    const bool cuts = act == NAS_ACT_RELU || act == NAS_ACT_RELU6;
    const float lo = cuts ? 0.0f : grid->lo;
    const float hi = act == NAS_ACT_RELU6 && grid->hi > 6.0f ? 6.0f : grid->hi;

    out->act = cuts ? NAS_ACT_NONE : act;
    out->inverse = grid->inverse;
    out->zero = (float)grid->zero;
    out->least = grid->zero + nas_q8_round(grid, lo);
    out->most = grid->zero + nas_q8_round(grid, hi);
}

/* ---- the sets ---- */

static bool runs_anywhere(void) { return true; }

#if defined __aarch64__
extern const nas_q8_kernels nas_q8_kernels_dotprod, nas_q8_kernels_neon;

static bool has_dotprod(void) { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#else
extern const nas_q8_kernels nas_q8_kernels_portable;
#endif
#ifdef NAS_X86_SETS
extern const nas_q8_kernels nas_q8_kernels_avx512vnni, nas_q8_kernels_avx2;

static bool has_avx512vnni(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vnni");
}

static bool has_avx2(void) { return __builtin_cpu_supports("avx2"); }
#endif

/* Best first. */
static const struct {
    const nas_q8_kernels *kernels;
    bool (*runs)(void);
} sets[] = {
#if defined __aarch64__
    {&nas_q8_kernels_dotprod, has_dotprod},
    {&nas_q8_kernels_neon, runs_anywhere},
#else
#ifdef NAS_X86_SETS
    {&nas_q8_kernels_avx512vnni, has_avx512vnni},
    {&nas_q8_kernels_avx2, has_avx2},
#endif
    {&nas_q8_kernels_portable, runs_anywhere},
#endif
    {&reference, runs_anywhere},
};

enum { SETS = sizeof sets / sizeof *sets };

const nas_q8_kernels *nas_q8_kernels_of(const nas_kernels *kernels)
{
    int i = 0;

    while (i < SETS && strcmp(sets[i].kernels->name, kernels->name) != 0)
        i++;
    if (i == SETS) /* no namesake */
        for (i = 0; !sets[i].runs(); i++)
            ; /* the last ones run anywhere */
    return sets[i].kernels;
}

const nas_q8_kernels *const *nas_q8_kernels_all(void)
{
    static const nas_q8_kernels *all[SETS + 1];
    int count = 0;

    /* Every caller writes the same pointers. */
    for (int i = 0; i < SETS; i++)
        if (sets[i].runs())
            all[count++] = sets[i].kernels;
    return all;
}
