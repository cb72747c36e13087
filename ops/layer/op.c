/* What each operation is called, which settings it has, and what it costs.
 *
 * MACs are counted as the ProxylessNAS and OFA sources do (docs/reference/space.md). */
#include "ops/layer/op.h"

#include <assert.h>
#include <string.h>

#include "ops/layer/own.h"

enum {
    MAX_CHANNELS = 65536,
    MAX_KERNEL = 31, MAX_POOL_KERNEL = 15, /* max_pool counts its taps in a byte */
    MAX_STRIDE = 16,
    /* Keeps every sum over a network's MACs inside int64: 2^30 weights x 4096 x 4096
     * pixels x 256 blocks is 2^62. */
    MAX_PARAMETERS = 1 << 30
};

/* Settings that an operation has besides its channels. */
enum { KERNEL = 1, GROUPS = 2, MID = 4, ACT = 8, BN = 16, BIAS = 32, DROPOUT = 64, WIDENS = 128 };

typedef struct op_entry {
    const char *name;
    unsigned settings; /* KERNEL: with stride; WIDENS: out may differ from in */
    void (*cost)(const nas_op_spec *spec, int64_t hw_in, int64_t hw_out, nas_op_cost *cost);
} op_entry;

static void conv_cost(const nas_op_spec *s, int64_t hw_in, int64_t hw_out, nas_op_cost *cost)
{
    const int64_t weights = (int64_t)s->in / s->groups * s->out * s->kernel * s->kernel;

    cost->macs = weights * hw_out;
    cost->parameters = weights + (s->bn ? 2 * (int64_t)s->out : 0) + (s->bias ? s->out : 0);
}

static void mbconv_cost(const nas_op_spec *s, int64_t hw_in, int64_t hw_out, nas_op_cost *cost)
{
    const int64_t mid = s->mid, depthwise = mid * s->kernel * s->kernel, project = mid * s->out;
    const int64_t expand = s->expand == 1.0f ? 0 : s->in * mid;
    const int64_t excite = 2 * mid * s->se;

    cost->macs = expand * hw_in + (depthwise + project) * hw_out + excite;
    cost->parameters = expand + depthwise + project + 2 * (mid + s->out) + (expand ? 2 * mid : 0) +
                       excite + (s->se ? s->se + mid : 0);
}

static void linear_cost(const nas_op_spec *s, int64_t hw_in, int64_t hw_out, nas_op_cost *cost)
{
    cost->macs = (int64_t)s->in * s->out;
    cost->parameters = cost->macs + (s->bias ? s->out : 0);
}

static const op_entry registry[NAS_OP_TYPES] = {
    [NAS_OP_CONV] = {"conv", KERNEL | GROUPS | ACT | BN | BIAS | WIDENS, conv_cost},
    [NAS_OP_MBCONV] = {"mbconv", KERNEL | MID | ACT | WIDENS, mbconv_cost},
    [NAS_OP_ZERO] = {"zero", 0, NULL},
    [NAS_OP_IDENTITY] = {"identity", 0, NULL},
    [NAS_OP_MAX_POOL] = {"max_pool", KERNEL, NULL},
    [NAS_OP_AVG_POOL] = {"avg_pool", KERNEL, NULL},
    [NAS_OP_MEAN_POOL] = {"mean_pool", 0, NULL},
    [NAS_OP_LINEAR] = {"linear", ACT | BIAS | DROPOUT | WIDENS, linear_cost},
    [NAS_OP_OWN] = {"own", 0, NULL}, /* settings_of, nas_own_plan_at */
};

static const char *const act_names[] = {
    [NAS_ACT_NONE] = "none",       [NAS_ACT_RELU] = "relu",         [NAS_ACT_RELU6] = "relu6",
    [NAS_ACT_HSWISH] = "h_swish",  [NAS_ACT_HSIGMOID] = "h_sigmoid",
};
enum { ACTS = sizeof act_names / sizeof *act_names };

const char *nas_op_name(nas_op_type type)
{
    return (unsigned)type < NAS_OP_TYPES ? registry[type].name : "unknown";
}

const char *nas_op_spec_name(const nas_op_spec *spec)
{
    const nas_own_op *own = spec->type == NAS_OP_OWN ? nas_own_get(spec->own) : NULL;

    return own != NULL ? own->name : nas_op_name(spec->type);
}

static unsigned settings_of(const nas_op_spec *spec)
{
    if (spec->type != NAS_OP_OWN)
        return registry[spec->type].settings;

    const nas_own_op *own = nas_own_get(spec->own);

    return (own->window ? KERNEL : 0u) | (own->widens ? WIDENS : 0u);
}

nas_op_type nas_op_find(const char *name)
{
    int type = 0;

    while (type < NAS_OP_TYPES && strcmp(registry[type].name, name) != 0)
        type++;
    return (nas_op_type)type;
}

const char *nas_act_name(nas_act act)
{
    return (unsigned)act < ACTS ? act_names[act] : "unknown";
}

int nas_act_find(const char *name)
{
    for (int act = 0; act < ACTS; act++)
        if (strcmp(act_names[act], name) == 0)
            return act;
    return -1;
}

static nas_status check_range(const char *op, const char *what, int value, int min, int max,
                              nas_err *err)
{
    if (value >= min && value <= max)
        return NAS_OK;
    return nas_fail(err, NAS_E_CONFIG, "%s: %s is %d, must be between %d and %d", op, what, value,
                    min, max);
}

static nas_status check_window(const nas_op_spec *s, const char *name, nas_err *err)
{
    const int most = s->type == NAS_OP_MAX_POOL ? MAX_POOL_KERNEL : MAX_KERNEL;
    nas_status status;

    if ((status = check_range(name, "kernel", s->kernel, 1, most, err)) ||
        (status = check_range(name, "stride", s->stride, 1, MAX_STRIDE, err)))
        return status;
    if (s->kernel % 2 == 0)
        return nas_fail(err, NAS_E_CONFIG, "%s: kernel is %d, must be odd", name, s->kernel);
    return NAS_OK;
}

static nas_status check_groups(const nas_op_spec *s, const char *name, nas_err *err)
{
    nas_status status = check_range(name, "groups", s->groups, 1, MAX_CHANNELS, err);

    if (status == NAS_OK && (s->in % s->groups || s->out % s->groups))
        return nas_fail(err, NAS_E_CONFIG, "%s: %d groups do not divide %d -> %d channels", name,
                        s->groups, s->in, s->out);
    return status;
}

static nas_status check_mid(const nas_op_spec *s, const char *name, nas_err *err)
{
    nas_status status;

    if ((status = check_range(name, "mid", s->mid, 1, MAX_CHANNELS, err)) ||
        (status = check_range(name, "se", s->se, 0, MAX_CHANNELS, err)))
        return status;
    if (!(s->expand > 0.0f && s->expand <= 1024.0f)) /* also refuses NaN */
        return nas_fail(err, NAS_E_CONFIG, "%s: expand is %g, must be above 0 and at most 1024",
                        name, (double)s->expand);
    if (s->expand == 1.0f && s->mid != s->in)
        return nas_fail(err, NAS_E_CONFIG, "%s: expand 1 keeps %d channels, but mid is %d", name,
                        s->in, s->mid);
    return NAS_OK;
}

nas_status nas_op_check(const nas_op_spec *spec, nas_err *err)
{
    nas_status status;

    if ((unsigned)spec->type >= NAS_OP_TYPES)
        return nas_fail(err, NAS_E_CONFIG, "operation %d is unknown", (int)spec->type);

    if (spec->type == NAS_OP_OWN && nas_own_get(spec->own) == NULL)
        return nas_fail(err, NAS_E_CONFIG, "operation %d of the program's own is not registered",
                        spec->own);

    const char *name = nas_op_spec_name(spec);
    const unsigned has = settings_of(spec);

    if ((status = check_range(name, "in", spec->in, 1, MAX_CHANNELS, err)) ||
        (status = check_range(name, "out", spec->out, 1, MAX_CHANNELS, err)) ||
        (has & KERNEL && (status = check_window(spec, name, err))) ||
        (has & GROUPS && (status = check_groups(spec, name, err))) ||
        (has & MID && (status = check_mid(spec, name, err))) ||
        (has & ACT && (status = check_range(name, "act", (int)spec->act, 0, ACTS - 1, err))))
        return status;
    if (!(has & WIDENS) && spec->in != spec->out)
        return nas_fail(err, NAS_E_CONFIG, "%s: cannot turn %d channels into %d", name,
                        spec->in, spec->out);
    if (!(has & KERNEL) && spec->stride > 1)
        return nas_fail(err, NAS_E_CONFIG, "%s: stride is %d, must be 1", name,
                        spec->stride);
    if (has & DROPOUT && !(spec->dropout >= 0.0f && spec->dropout < 1.0f))
        return nas_fail(err, NAS_E_CONFIG, "%s: dropout is %g, must be at least 0 and below 1",
                        name, (double)spec->dropout);
    if (spec->type == NAS_OP_OWN && (status = nas_own_check(spec, err)) != NAS_OK)
        return status;
    if (nas_op_cost_at(spec, 1, 1).parameters > MAX_PARAMETERS)
        return nas_fail(err, NAS_E_CONFIG, "%s: more than 2^30 parameters", name);
    return NAS_OK;
}

nas_op_cost nas_op_cost_at(const nas_op_spec *spec, int h, int w)
{
    assert((unsigned)spec->type < NAS_OP_TYPES);

    const op_entry *entry = &registry[spec->type];
    const bool pools_all = spec->type == NAS_OP_MEAN_POOL || spec->type == NAS_OP_LINEAR;
    const int stride = settings_of(spec) & KERNEL ? spec->stride : 1;
    nas_op_cost cost = {.out_h = pools_all ? 1 : (h - 1) / stride + 1,
                        .out_w = pools_all ? 1 : (w - 1) / stride + 1};

    if (spec->type == NAS_OP_OWN) {
        const nas_own_plan plan = nas_own_plan_at(spec, h, w);
        cost.macs = plan.macs;
        cost.parameters = plan.weights;
    } else if (entry->cost != NULL) {
        entry->cost(spec, (int64_t)h * w, (int64_t)cost.out_h * cost.out_w, &cost);
    }
    return cost;
}

bool nas_op_equal(const nas_op_spec *a, const nas_op_spec *b)
{
    if (a->type != b->type || (unsigned)a->type >= NAS_OP_TYPES || a->in != b->in ||
        a->out != b->out || (a->type == NAS_OP_OWN && a->own != b->own))
        return false;

    const unsigned has = settings_of(a);

    /* Two ways to write the same width ("expand 3" or "mid 72") are one operation. */
    return (!(has & KERNEL) || (a->kernel == b->kernel && a->stride == b->stride)) &&
           (!(has & GROUPS) || a->groups == b->groups) &&
           (!(has & MID) || (a->mid == b->mid && a->se == b->se &&
                             (a->expand == 1.0f) == (b->expand == 1.0f))) &&
           (!(has & ACT) || a->act == b->act) && (!(has & BN) || a->bn == b->bn) &&
           (!(has & BIAS) || a->bias == b->bias) && (!(has & DROPOUT) || a->dropout == b->dropout);
}

int nas_make_divisible(double v)
{
    if (!(v > 8.0))
        return 8;
    if (v > 1e9) /* far above any width that nas_op_check accepts */
        v = 1e9;

    const int nearest = (int)(v + 4.0) / 8 * 8;

    return nearest < 0.9 * v ? nearest + 8 : nearest;
}
