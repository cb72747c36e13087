/* AMC's environment: observation, rounding and action wall. */
#include "search/rl/amc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latency/predict.h"
#include "nas/space/memory.h"

enum { MULTIPLE = 8, FEATURES = 10, STATIC_FEATURES = 7, FACTOR_BITS = 12 };

struct nas_amc {
    nas_env env;
    nas_amc_config config;
    const nas_prune_plan *plan;
    nas_amc_judge *judge;
    void *user;
    int step;
    int *channels;   /* [groups] decided, and the least of the groups behind   */
    int *trial;      /* [groups] scratch                                       */
    double *wanted;  /* [groups] shares before they are rounded                */
    double *share;   /* [groups] scratch of the published wall                 */
    float *features; /* [groups][STATIC_FEATURES], 0 to 1 over the groups      */
    float *rest;     /* [groups] share of the MACs of what is read behind      */
    double previous, accuracy, total_macs;
    nas_latency_entry *entries; /* of the unpruned network; latency only       */
    int entry_count;
};

static int full(const nas_amc *a, int group) { return a->plan->group[group].channels; }

/* A multiple of 8, rounded up, but down where that is more than there are; all stay all. */
static int allowed(const nas_amc *a, int group, int wanted)
{
    const int most = full(a, group), up = (wanted + MULTIPLE - 1) / MULTIPLE * MULTIPLE;

    if (wanted >= most || most < MULTIPLE)
        return most;
    return up <= most ? up : most / MULTIPLE * MULTIPLE;
}

static int rounded(const nas_amc *a, int group, double share)
{
    const int wanted = (int)nearbyint(full(a, group) * share); /* halves to even */

    return allowed(a, group, wanted < 1 ? 1 : wanted);
}

static int least(const nas_amc *a, int group) { return rounded(a, group, a->config.lowest); }

/* -- costs ------------------------------------------------------------------------------------ */

static double latency(const nas_amc *a, const int *channels)
{
    nas_latency_entry *entries = NULL;
    nas_arch *arch = NULL;
    double sum = -1.0;
    int count = 0;

    if (nas_prune_arch(&arch, a->plan, channels, NULL) == NAS_OK &&
        nas_latency_arch_entries(&entries, &count, arch, a->config.table->grammar, 0, NULL) ==
            NAS_OK)
        sum = nas_latency_pruned_ms(a->config.table, entries, a->entries, count);
    free(entries);
    nas_arch_free(arch);
    return sum;
}

static double memory(const nas_amc *a, const int *channels)
{
    nas_arch *arch = NULL;
    const bool made = nas_prune_arch(&arch, a->plan, channels, NULL) == NAS_OK;
    const double bytes = made ? (double)nas_arch_memory(arch, 0) : -1.0;

    nas_arch_free(arch);
    return bytes;
}

static double macs(const nas_amc *a, const int *channels)
{
    return (double)nas_prune_cost(a->plan, channels).macs;
}

static double parameters(const nas_amc *a, const int *channels)
{
    return (double)nas_prune_cost(a->plan, channels).parameters;
}

static const struct {
    double (*of)(const nas_amc *a, const int *channels);
    const char *unit; /* of messages, */
    double size;      /* and its size */
} measures[NAS_AMC_MEASURES] = {
    [NAS_AMC_MACS] = {macs, "MACs", 1.0},
    [NAS_AMC_PARAMETERS] = {parameters, "parameters", 1.0},
    [NAS_AMC_LATENCY] = {latency, "ms", 1.0},
    [NAS_AMC_MEMORY] = {memory, "MiB of activations", 1024.0 * 1024.0},
};

double nas_amc_cost_of(const nas_amc *a, nas_amc_measure measure, const int *channels)
{
    return measures[measure].of(a, channels);
}

double nas_amc_cost(const nas_amc *a, const int *channels)
{
    return nas_amc_cost_of(a, a->config.measure, channels);
}

/* INFINITY: none. */
static double limit_of(const nas_amc *a, nas_amc_measure measure)
{
    const double beside = a->config.beside[measure] > 0.0 ? a->config.beside[measure] : INFINITY;

    return measure == a->config.measure ? fmin(a->config.limit, beside) : beside;
}

typedef enum fit { FIT_UNKNOWN = -1, FIT_NOT, FIT_ALL } fit;

/* Whether channels meet the budget and what holds beside it; FIT_UNKNOWN: no memory. */
static fit fits(const nas_amc *a, const int *channels)
{
    for (int m = 0; m < NAS_AMC_MEASURES; m++) {
        const double limit = limit_of(a, (nas_amc_measure)m);
        const double cost =
            limit < INFINITY ? nas_amc_cost_of(a, (nas_amc_measure)m, channels) : 0.0;

        if (cost < 0.0)
            return FIT_UNKNOWN;
        if (cost > limit)
            return FIT_NOT;
    }
    return FIT_ALL;
}

static void range_of(const nas_amc *a, nas_amc_measure measure, double *low, double *high)
{
    for (int g = 0; g < a->plan->groups; g++)
        a->trial[g] = least(a, g);
    *low = nas_amc_cost_of(a, measure, a->trial);
    for (int g = 0; g < a->plan->groups; g++)
        a->trial[g] = full(a, g);
    *high = nas_amc_cost_of(a, measure, a->trial);
}

void nas_amc_range(const nas_amc *a, double *low, double *high)
{
    range_of(a, a->config.measure, low, high);
}

/* MACs with widths that are no whole numbers, as the published wall counts them. */
static double real_macs(const nas_prune_plan *plan, const double *share)
{
    int h = plan->arch->image_size, w = h;
    double sum = 0.0;

    for (int b = 0; b < plan->arch->count; b++) {
        const nas_op_spec *op = &plan->arch->blocks[b].op;
        double width[NAS_PRUNE_AXES] = {op->in, op->mid, op->out};
        const nas_op_cost cost = nas_op_cost_at(op, h, w);
        const double before = (double)h * w, after = (double)cost.out_h * cost.out_w;
        const double window = (double)op->kernel * op->kernel * after;

        for (int a = 0; a < NAS_PRUNE_AXES; a++)
            if (plan->at[b][a] != NAS_PRUNE_FIXED)
                width[a] *= share[plan->at[b][a]];
        const double in = width[NAS_PRUNE_IN], mid = width[NAS_PRUNE_MID],
                     out = width[NAS_PRUNE_OUT];
        if (op->type == NAS_OP_MBCONV)
            sum += (op->expand == 1.0f ? 0.0 : in * mid * before) + mid * window +
                   mid * out * after + 2.0 * mid * op->se;
        else if (op->type == NAS_OP_CONV && op->groups == op->in && op->groups > 1)
            sum += in * window;
        else if (op->type == NAS_OP_CONV)
            sum += in / op->groups * out * window;
        else if (op->type == NAS_OP_LINEAR)
            sum += in * out;
        h = cost.out_h;
        w = cost.out_w;
    }
    return sum;
}

/* The published wall: the largest share with which the network meets the budget if all that
 * follows gets the least.  MACs are a*x^2 + b*x + c of one group's share x. */
static double published_wall(const nas_amc *a, int group)
{
    double f[3];

    for (int g = 0; g < a->plan->groups; g++)
        a->share[g] = g < group ? (double)a->channels[g] / full(a, g) : a->config.lowest;
    for (int i = 0; i < 3; i++) {
        a->share[group] = i;
        f[i] = real_macs(a->plan, a->share);
    }
    const double square = 0.5 * (f[2] - 2.0 * f[1] + f[0]), linear = f[1] - f[0] - square;
    const double left = a->config.limit - f[0];
    if (square <= 1e-9 * f[1])
        return left / linear;
    return (sqrt(fmax(linear * linear + 4.0 * square * left, 0.0)) - linear) / (2.0 * square);
}

/* Gives channels up until the budget is met with the least of all that follows; -1: no memory. */
static int within_budget(const nas_amc *a, int group, int wanted)
{
    const int end = least(a, group);
    int now = wanted;

    memcpy(a->trial, a->channels, (size_t)a->plan->groups * sizeof *a->trial);
    for (;;) {
        a->trial[group] = now;
        if (now <= end)
            return now;
        const fit now_fits = fits(a, a->trial);
        if (now_fits != FIT_NOT)
            return now_fits == FIT_ALL ? now : -1;
        now = (now - 1) / MULTIPLE * MULTIPLE;
        now = now < end ? end : now;
    }
}

/* Spends what the decisions left of the budget on all groups in proportion: with the largest
 * factor that a few halvings find. */
static nas_status spend_rest(nas_amc *a, nas_err *err)
{
    double within = 1.0, beyond = 1.0 / a->config.lowest;

    for (int i = 0; i < FACTOR_BITS; i++) {
        const double factor = 0.5 * (within + beyond);

        for (int g = 0; g < a->plan->groups; g++)
            a->trial[g] = rounded(a, g, a->wanted[g] * factor);
        const fit all = fits(a, a->trial);
        if (all == FIT_UNKNOWN)
            return nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
        if (all == FIT_NOT) {
            beyond = factor;
            continue;
        }
        within = factor;
        memcpy(a->channels, a->trial, (size_t)a->plan->groups * sizeof *a->channels);
    }
    return NAS_OK;
}

/* -- the environment -------------------------------------------------------------------------- */

static nas_status reset(void *user, nas_err *err)
{
    nas_amc *a = user;

    a->step = 0;
    a->previous = 1.0; /* the image keeps its channels */
    for (int g = 0; g < a->plan->groups; g++)
        a->channels[g] = least(a, g);
    return NAS_OK;
}

/* Share of the MACs that the decisions so far have saved. */
static double saved(const nas_amc *a)
{
    for (int g = 0; g < a->plan->groups; g++)
        a->trial[g] = g < a->step ? a->channels[g] : full(a, g);
    return 1.0 - (double)nas_prune_cost(a->plan, a->trial).macs / a->total_macs;
}

static void observe(void *user, float *x)
{
    const nas_amc *a = user;

    memcpy(x, a->features + (ptrdiff_t)a->step * STATIC_FEATURES,
           STATIC_FEATURES * sizeof *x);
    x[STATIC_FEATURES] = (float)saved(a);
    x[STATIC_FEATURES + 1] = a->rest[a->step];
    x[STATIC_FEATURES + 2] = (float)a->previous;
}

static void bounds(void *user, float *low, float *high)
{
    *low = 0.0f;
    *high = 1.0f;
}

static double reward_of(const nas_amc *a)
{
    if (!a->config.guaranteed)
        return a->accuracy;
    return -(1.0 - a->accuracy) * log((double)nas_prune_cost(a->plan, a->channels).macs);
}

static nas_status act(void *user, const float *action, nas_env_outcome *outcome, nas_err *err)
{
    nas_amc *a = user;
    const int group = a->step;
    const double wanted = fmax((double)action[0], a->config.lowest);
    nas_status status = NAS_OK;
    int count = rounded(a, group, wanted);

    if (a->config.published) {
        const double wall = fmax(published_wall(a, group), a->config.lowest);
        outcome->forced = wanted > wall;
        count = rounded(a, group, fmin(wanted, wall));
    } else if (!a->config.guaranteed) {
        const int free = count;
        if ((count = within_budget(a, group, free)) < 0)
            return nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
        outcome->forced = count < free;
    }
    a->channels[group] = count;
    a->wanted[group] = outcome->forced ? (double)count / full(a, group) : wanted;
    a->previous = (double)count / full(a, group);
    outcome->done = ++a->step == a->plan->groups;
    if (outcome->done && !a->config.guaranteed && !a->config.published)
        status = spend_rest(a, err);
    if (outcome->done && status == NAS_OK &&
        (status = a->judge(a->user, a->channels, &a->accuracy, err)) == NAS_OK)
        outcome->reward = reward_of(a);
    return status;
}

/* -- its life --------------------------------------------------------------------------------- */

/* The layer that reads a group first: index, linear?, channels read and written, stride, kernel,
 * weights; then each column from 0 to 1. */
static void describe(nas_amc *a)
{
    const nas_prune_plan *p = a->plan;

    for (int g = 0; g < p->groups; g++) {
        const nas_prune_group *group = &p->group[g];
        const nas_op_spec *op = &p->arch->blocks[group->block].op;
        const bool window = op->type == NAS_OP_CONV;
        const bool expands = op->type == NAS_OP_MBCONV && group->axis == NAS_PRUNE_IN;
        const int out = expands ? op->mid : op->out;
        const int kernel = window ? op->kernel : 1;
        const float values[STATIC_FEATURES] = {
            (float)g, op->type == NAS_OP_LINEAR, (float)group->channels, (float)out,
            op->type == NAS_OP_LINEAR ? 0.0f : window ? (float)op->stride : 1.0f, (float)kernel,
            (float)group->channels * (float)out * (float)(kernel * kernel)};

        memcpy(a->features + (ptrdiff_t)g * STATIC_FEATURES, values, sizeof values);
    }
    for (int f = 0; f < STATIC_FEATURES; f++) {
        float low = INFINITY, high = -INFINITY;

        for (int g = 0; g < p->groups; g++) {
            low = fminf(low, a->features[g * STATIC_FEATURES + f]);
            high = fmaxf(high, a->features[g * STATIC_FEATURES + f]);
        }
        for (int g = 0; g < p->groups; g++) {
            float *x = &a->features[g * STATIC_FEATURES + f];
            *x = high > low ? (*x - low) / (high - low) : 0.0f;
        }
    }
}

/* MACs of the blocks behind the one that reads group g first. */
static void sum_rest(nas_amc *a)
{
    const nas_arch *arch = a->plan->arch;
    int h = arch->image_size, w = h;

    a->total_macs = (double)nas_arch_cost(arch, 0).macs;
    for (int b = 0; b < arch->count; b++) {
        const nas_op_cost cost = nas_op_cost_at(&arch->blocks[b].op, h, w);

        for (int g = 0; g < a->plan->groups; g++)
            if (a->plan->group[g].block < b)
                a->rest[g] += (float)((double)cost.macs / a->total_macs);
        h = cost.out_h;
        w = cost.out_w;
    }
}

/* The unpruned network must be in the table: its layers stand for the pruned ones. */
static nas_status open_table(nas_amc *a, nas_err *err)
{
    const nas_latency_table *table = a->config.table;
    nas_latency_report report;
    nas_status status = nas_latency_predict(&report, table, a->plan->arch, 0, err);

    if (status != NAS_OK)
        return status;
    nas_latency_report_fini(&report);
    return nas_latency_arch_entries(&a->entries, &a->entry_count, a->plan->arch, table->grammar, 0,
                                    err);
}

/* What all groups at their least meet, they meet together. */
static nas_status check_budget(nas_amc *a, nas_err *err)
{
    for (int m = 0; m < NAS_AMC_MEASURES && !a->config.guaranteed; m++) {
        const double limit = limit_of(a, (nas_amc_measure)m);
        double low, high;

        if (!(limit < INFINITY))
            continue;
        range_of(a, (nas_amc_measure)m, &low, &high);
        if (low < 0.0)
            return nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
        if (limit >= low)
            continue;
        const double size = measures[m].size;
        nas_fail(err, NAS_E_INFEASIBLE, "no network of %g %s can be reached by pruning: the least is "
                 "%.6g, the unpruned network has %.6g", limit / size, measures[m].unit, low / size,
                 high / size);
        nas_hint(err, "give a budget within that range, or a lower --least");
        return NAS_E_INFEASIBLE;
    }
    return NAS_OK;
}

nas_status nas_amc_new(nas_amc **out, const nas_prune_plan *plan, const nas_amc_config *config,
                       nas_amc_judge *judge, void *user, nas_err *err)
{
    const size_t groups = (size_t)plan->groups;
    nas_amc *a = calloc(1, sizeof *a);
    nas_status status = NAS_OK;

    *out = NULL;
    if (a == NULL)
        return nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
    a->env = (nas_env){.user = a, .observations = FEATURES, .actions = 1, .steps = plan->groups,
                       .reset = reset, .observe = observe, .bounds = bounds, .act = act};
    a->config = *config;
    a->plan = plan;
    a->judge = judge;
    a->user = user;
    a->channels = calloc(groups, sizeof *a->channels);
    a->trial = calloc(groups, sizeof *a->trial);
    a->wanted = calloc(groups, sizeof *a->wanted);
    a->share = calloc(groups, sizeof *a->share);
    a->features = calloc(groups * STATIC_FEATURES, sizeof *a->features);
    a->rest = calloc(groups, sizeof *a->rest);
    if (!a->channels || !a->trial || !a->wanted || !a->share || !a->features || !a->rest)
        status = nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
    else if (config->table != NULL)
        status = open_table(a, err);
    if (status == NAS_OK && (status = check_budget(a, err)) == NAS_OK) {
        describe(a);
        sum_rest(a);
        status = reset(a, err);
    }
    if (status == NAS_OK)
        *out = a;
    else
        nas_amc_free(a);
    return status;
}

void nas_amc_free(nas_amc *a)
{
    if (a == NULL)
        return;
    free(a->channels);
    free(a->trial);
    free(a->wanted);
    free(a->share);
    free(a->features);
    free(a->rest);
    free(a->entries);
    free(a);
}

const nas_env *nas_amc_env(const nas_amc *a) { return &a->env; }
const int *nas_amc_channels(const nas_amc *a) { return a->channels; }
double nas_amc_accuracy(const nas_amc *a) { return a->accuracy; }
