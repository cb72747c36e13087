/* Which limits can be met, each alone and all together. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "search/evolution/private.h"

static const struct {
    const char *verb, *unit; /* as messages have them */
    double scale;            /* of the unit           */
    int digits;
} costs[NAS_COSTS] = {
    [NAS_COST_LATENCY] = {"takes", "ms", 1.0, 6},
    [NAS_COST_MACS] = {"computes", "MACs", 1.0, 15},
    [NAS_COST_PARAMETERS] = {"has", "parameters", 1.0, 15},
    [NAS_COST_MEMORY] = {"needs", "MiB of activations", 1.0 / (1 << 20), 6},
};

/* Steps towards a bound (of a peak to less than a byte), and towards the weights of a mix. */
enum { HALVINGS = 32, THIRDS = 20 };
/* Of rounding in sums of shares. */
static const double tolerance = 1e-9;

/* Limits at one image size: shares of the limits on sums, mixed with weights that add up to 1,
 * are above 1 only if no architecture meets them all (weak duality).  Of an architecture that
 * meets the limits every share is at most 1, and so is every mix. */
typedef struct mix {
    const nas_problem *problem;
    const double *limit; /* [NAS_COSTS] */
    int size, count;
    nas_cost of[NAS_COSTS]; /* the sums with a limit */
    double weight[NAS_COSTS];
} mix;

/* Least mix that candidate c of slot s may have; INFINITY: its block is above the peak. */
static double share(const mix *m, int s, int c)
{
    const nas_problem *p = m->problem;
    const int at = p->first[s] + c;
    double sum = 0.0;

    if (nas_problem_values(p, NAS_COST_MEMORY, m->size)[at] > m->limit[NAS_COST_MEMORY])
        return INFINITY;
    for (int i = 0; i < m->count; i++)
        sum += m->weight[i] * nas_problem_values(p, m->of[i], m->size)[at] / m->limit[m->of[i]];
    return sum;
}

/* The least that the mix can be: slot by slot, because what is skipped costs nothing. */
static double least_mix(const mix *m)
{
    double sum = 0.0;

    for (int s = 0; s < m->problem->space->count; s++) {
        double least = INFINITY;

        for (int c = 0; c < m->problem->space->slots[s].count; c++)
            least = fmin(least, share(m, s, c));
        sum += least;
    }
    return sum;
}

/* Greatest of the least mixes, over the weights from number i on, which add up to `left`.  It is
 * concave in each of them. */
static double greatest_mix(mix *m, int i, double left)
{
    double low = 0.0, high = left, best;

    m->weight[i] = left;
    if (i >= m->count - 1 || i == NAS_COSTS - 1)
        return least_mix(m);
    best = greatest_mix(m, i + 1, 0.0);
    m->weight[i] = 0.0;
    best = fmax(best, greatest_mix(m, i + 1, left));
    for (int step = 0; step < THIRDS; step++) {
        const double a = low + (high - low) / 3.0, b = high - (high - low) / 3.0;

        m->weight[i] = a;
        const double at_a = greatest_mix(m, i + 1, left - a);
        m->weight[i] = b;
        const double at_b = greatest_mix(m, i + 1, left - b);
        if (at_a > at_b)
            high = b;
        else
            low = a;
        best = fmax(best, fmax(at_a, at_b));
    }
    return best;
}

/* False if, for certain, nothing meets all of the limits. */
static bool may_meet(const nas_problem *p, const double limit[NAS_COSTS])
{
    for (int size = 0; size < p->sizes; size++) {
        mix m = {.problem = p, .limit = limit, .size = size};

        for (int k = 0; k < NAS_COSTS; k++)
            if (!nas_evolution__is_peak((nas_cost)k) && limit[k] < INFINITY)
                m.of[m.count++] = (nas_cost)k;
        if (greatest_mix(&m, 0, 1.0) <= 1.0 + tolerance)
            return true;
    }
    return false;
}

double nas_problem_least(const nas_problem *p, nas_cost cost)
{
    double limit[NAS_COSTS], low, high;

    memcpy(limit, p->limit, sizeof limit);
    nas_problem_range(p, cost, &low, &high);
    limit[cost] = high;
    if (!may_meet(p, limit))
        return INFINITY;
    limit[cost] = low = fmax(low, tolerance * high); /* shares of 0 are none */
    if (may_meet(p, limit))
        return low;
    for (int i = 0; i < HALVINGS; i++) {
        limit[cost] = 0.5 * (low + high);
        if (may_meet(p, limit))
            high = limit[cost];
        else
            low = limit[cost];
    }
    return nas_evolution__is_peak(cost) ? floor(high) : high; /* bytes */
}

/* Writes "5 ms, 300000 MACs" and the like. */
static void list_limits(const nas_problem *p, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (int k = 0; k < NAS_COSTS; k++)
        if (p->limit[k] < INFINITY && used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%.*g %s", used > 0 ? ", " : "",
                                     costs[k].digits, p->limit[k] * costs[k].scale, costs[k].unit);
}

/* What each cost can be where the others stay within their limits. */
static void list_least(const nas_problem *p, char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (int k = 0; k < NAS_COSTS; k++) {
        const double least =
            p->limit[k] < INFINITY ? nas_problem_least(p, (nas_cost)k) : INFINITY;

        if (least < INFINITY && used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%.6g %s", used > 0 ? ", or " : "",
                                     least * costs[k].scale, costs[k].unit);
    }
}

static nas_status check_together(const nas_problem *p, nas_err *err)
{
    char text[256];

    if (may_meet(p, p->limit))
        return NAS_OK;
    list_limits(p, text, sizeof text);
    nas_fail(err, NAS_E_INFEASIBLE, "no architecture of %s meets all limits at once: %s",
             p->space->name, text);
    list_least(p, text, sizeof text);
    if (text[0] != '\0')
        nas_hint(err, "reachable while the others hold: from %s on", text);
    else
        nas_hint(err, "each alone can be met: give up some of more than one of them");
    return NAS_E_INFEASIBLE;
}

nas_status nas_problem_check(const nas_problem *p, nas_err *err)
{
    for (int k = 0; k < NAS_COSTS; k++) {
        double min, max;

        nas_problem_range(p, (nas_cost)k, &min, &max);
        if (min <= p->limit[k])
            continue;
        nas_fail(err, NAS_E_INFEASIBLE, "no architecture of %s %s at most %.*g %s",
                 p->space->name, costs[k].verb, costs[k].digits, p->limit[k] * costs[k].scale,
                 costs[k].unit);
        nas_hint(err, "reachable: %.*g to %.*g %s", costs[k].digits, min * costs[k].scale,
                 costs[k].digits, max * costs[k].scale, costs[k].unit);
        return NAS_E_INFEASIBLE;
    }
    return check_together(p, err);
}
