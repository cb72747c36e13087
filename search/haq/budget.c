/* Costs of policies. */
#include "search/haq/budget.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const nas_latency_stat *entry(const nas_latency_table *table, int layer, int w, int a,
                                     char key[NAS_LATENCY_KEY_SIZE])
{
    snprintf(key, NAS_LATENCY_KEY_SIZE, "HAQ-layer:%d-weight:%d-activation:%d", layer, w, a);
    return nas_latency_table_find(table, key);
}

static double site_cost(const nas_budget *b, int i, nas_bits bits)
{
    const int input = bits.input > 0 ? bits.input : NAS_BUDGET_BITS;

    switch (b->kind) {
    case NAS_BUDGET_SIZE:
        return (double)b->site[i].weights * bits.weight;
    case NAS_BUDGET_BITOPS:
        return (double)b->site[i].macs * bits.weight * input;
    case NAS_BUDGET_TABLE:
        return b->table[i][bits.weight - 1][input - 1];
    }
    return 0.0;
}

double nas_budget_cost(const nas_budget *budget, const nas_bits *bits)
{
    double sum = 0.0;

    for (int i = 0; i < budget->count; i++)
        sum += site_cost(budget, i, bits[i]);
    return sum;
}

double nas_budget_full(const nas_budget *b)
{
    const nas_bits eight = {NAS_BUDGET_BITS, NAS_BUDGET_BITS};
    double sum = 0.0;

    for (int i = 0; i < b->count; i++)
        sum += b->kind == NAS_BUDGET_SIZE ? 32.0 * (double)b->site[i].weights
                                          : site_cost(b, i, eight);
    return sum;
}

bool nas_budget_pinned(const nas_budget *b, int site)
{
    return b->pin_ends && (site == 0 || site == b->count - 1);
}

/* The bits of a pinned site. */
static nas_bits pinned_bits(const nas_budget *b)
{
    return (nas_bits){NAS_BUDGET_BITS, b->inputs || b->input > 0 ? NAS_BUDGET_BITS : 0};
}

/* The cost if every site that is not pinned had the same bits. */
static double cost_at(const nas_budget *b, int bits)
{
    double sum = 0.0;

    for (int i = 0; i < b->count; i++) {
        const nas_bits own = {bits, b->inputs ? bits : b->input};
        sum += site_cost(b, i, nas_budget_pinned(b, i) ? pinned_bits(b) : own);
    }
    return sum;
}

nas_status nas_budget_load(nas_budget *budget, const nas_latency_table *table, const char *name,
                           nas_err *err)
{
    const bool given = !budget->inputs && budget->input > 0 && budget->input < budget->least;
    const int low = given ? budget->input : budget->least; /* of inputs */
    char key[NAS_LATENCY_KEY_SIZE];

    budget->table = calloc((size_t)budget->count, sizeof *budget->table);
    if (budget->table == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: out of memory", name);
    for (int i = 0; i < budget->count; i++)
        for (int w = budget->least; w <= NAS_BUDGET_BITS; w++)
            for (int a = low; a <= NAS_BUDGET_BITS; a++) {
                const nas_latency_stat *stat = entry(table, i, w, a, key);
                if (stat == NULL) {
                    nas_fail(err, NAS_E_INFEASIBLE, "%s: no entry %s (%s); the network has %d "
                             "layers", name, key, budget->site[i].name, budget->count);
                    nas_hint(err, "a table needs every layer of the network with %d to %d bits",
                             low, NAS_BUDGET_BITS);
                    return NAS_E_INFEASIBLE;
                }
                budget->table[i][w - 1][a - 1] = stat->mean;
            }
    if (entry(table, budget->count, NAS_BUDGET_BITS, NAS_BUDGET_BITS, key) != NULL) {
        nas_fail(err, NAS_E_INFEASIBLE, "%s: is of another network: it has %s, but this one has %d "
                 "layers", name, key, budget->count);
        nas_hint(err, "a table is of one network: layers as `nas quantize --json` names them in "
                 "`policy`");
        return NAS_E_INFEASIBLE;
    }
    const double few = cost_at(budget, budget->least), full = nas_budget_full(budget);
    if (few <= full && full > 0.0)
        return NAS_OK;
    nas_fail(err, NAS_E_DATA, "%s: %d bits everywhere cost %g, %d cost %g", name, budget->least, few,
             NAS_BUDGET_BITS, full);
    nas_hint(err, "costs grow with bits: an array is [layer][weight bits - 1][input bits - 1]");
    return NAS_E_DATA;
}

nas_status nas_budget_set(nas_budget *b, double ratio, nas_err *err)
{
    static const char *const names[] = {"size", "bit operations", "table"};
    const double full = nas_budget_full(b), least = cost_at(b, b->least) / full;

    b->target = ratio * full;
    if (ratio >= least)
        return NAS_OK;
    nas_fail(err, NAS_E_INFEASIBLE, "%s: a ratio of %g cannot be reached: with %d bits everywhere%s "
             "it is %.6g", names[b->kind], ratio, b->least,
             b->pin_ends ? " but in the first and last layer" : "", least);
    nas_hint(err, "from %.6g to %.6g can be reached with %d to %d bits", least,
             cost_at(b, b->most) / full, b->least, b->most);
    return NAS_E_INFEASIBLE;
}

void nas_budget_pin(const nas_budget *b, nas_bits *bits)
{
    for (int i = 0; i < b->count; i++)
        if (nas_budget_pinned(b, i))
            bits[i] = pinned_bits(b);
}

/* Whether bits of inputs cost anything. */
static bool inputs_pay(const nas_budget *b) { return b->inputs && b->kind != NAS_BUDGET_SIZE; }

/* Takes one bit, if there is one to take. */
static bool take(int *bits, int least)
{
    const bool there = *bits > least;

    *bits -= there;
    return there;
}

bool nas_budget_fit(const nas_budget *b, nas_bits *bits)
{
    bool forced = false, any = true;

    nas_budget_pin(b, bits);
    while (any && nas_budget_cost(b, bits) > b->target) {
        any = false;
        for (int i = b->count - 1; i >= 0 && nas_budget_cost(b, bits) > b->target; i--) {
            if (nas_budget_pinned(b, i))
                continue;
            if (inputs_pay(b)) {
                any |= take(&bits[i].input, b->least);
                if (nas_budget_cost(b, bits) <= b->target)
                    return true;
            }
            any |= take(&bits[i].weight, b->least);
        }
        forced |= any;
    }
    return forced;
}

/* Gives one bit back, if it is wanted and the target is still met. */
static bool give(const nas_budget *b, nas_bits *bits, int *one, int wanted)
{
    if (*one >= wanted)
        return false;
    ++*one;
    if (nas_budget_cost(b, bits) <= b->target)
        return true;
    --*one;
    return false;
}

void nas_budget_give_back(const nas_budget *b, const nas_bits *wanted, nas_bits *bits)
{
    for (bool any = true; any;) {
        any = false;
        for (int i = 0; i < b->count; i++) {
            if (nas_budget_pinned(b, i))
                continue;
            any |= give(b, bits, &bits[i].weight, wanted[i].weight);
            if (inputs_pay(b))
                any |= give(b, bits, &bits[i].input, wanted[i].input);
        }
    }
}
