/* The two forms of the loss, with derivatives by hand. */
#include "latency/loss.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

static const double least_ref_units = 20.0;

static nas_latency_loss_value mul_log(const nas_latency_loss *loss, double ce, double ms)
{
    const double unit_ms = fmin(1.0, loss->ref_ms / least_ref_units);
    const double ln_ref = log(loss->ref_ms / unit_ms);
    const double ln_e = log(fmax(ms / unit_ms, exp(1.0)));
    const double factor = loss->a * pow(ln_e / ln_ref, loss->b);
    const bool held = ln_e <= 1.0;

    return (nas_latency_loss_value){
        .loss = factor * ce,
        .d_ce = factor,
        .d_latency = held ? 0.0 : ce * factor * loss->b / (ln_e * ms),
    };
}

static nas_latency_loss_value add_linear(const nas_latency_loss *loss, double ce, double ms)
{
    return (nas_latency_loss_value){
        .loss = ce + loss->lambda * (ms - loss->ref_ms) / loss->ref_ms,
        .d_ce = 1.0,
        .d_latency = loss->lambda / loss->ref_ms,
    };
}

static const struct {
    const char *name;
    nas_latency_loss_value (*at)(const nas_latency_loss *loss, double ce, double ms);
} kinds[NAS_LATENCY_LOSS_KINDS] = {
    [NAS_LATENCY_MUL_LOG] = {"mul-log", mul_log},
    [NAS_LATENCY_ADD_LINEAR] = {"add-linear", add_linear},
};

nas_latency_loss nas_latency_loss_default(nas_latency_loss_kind kind, double ref_ms)
{
    return (nas_latency_loss){.kind = kind, .ref_ms = ref_ms, .a = 0.2, .b = 0.3, .lambda = 0.1};
}

nas_latency_loss_kind nas_latency_loss_find(const char *name)
{
    nas_latency_loss_kind kind = 0;

    while (kind < NAS_LATENCY_LOSS_KINDS && strcmp(name, kinds[kind].name) != 0)
        kind++;
    return kind;
}

const char *nas_latency_loss_name(nas_latency_loss_kind kind)
{
    return kinds[kind].name;
}

nas_latency_loss_value nas_latency_loss_at(const nas_latency_loss *loss, double ce, double ms)
{
    assert(loss->ref_ms > 0.0);
    return kinds[loss->kind].at(loss, ce, ms);
}
