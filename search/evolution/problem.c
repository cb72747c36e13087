/* Costs as arrays, limits, and repair of what exceeds them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nas/space/memory.h"
#include "search/evolution/private.h"

const nas_cost_name nas_cost_names[NAS_COSTS] = {
    [NAS_COST_LATENCY] = {"latency", "latency_ms", 1.0},
    [NAS_COST_MACS] = {"macs", "macs", 1.0},
    [NAS_COST_PARAMETERS] = {"parameters", "parameters", 1.0},
    [NAS_COST_MEMORY] = {"memory", "activation_mib", 1 << 20}};

bool nas_evolution__is_peak(nas_cost cost) { return cost == NAS_COST_MEMORY; }

static double *values(const nas_problem *p, nas_cost cost, int size)
{
    const size_t row = (size_t)p->first[p->space->count];

    return p->value + ((size_t)cost * (size_t)p->sizes + (size_t)size) * row;
}

const double *nas_problem_values(const nas_problem *p, nas_cost cost, int size)
{
    return values(p, cost, size);
}

/* Candidates of a slot agree in the size that they put out. */
static void fill(nas_problem *p, int size, const nas_latency_lut *lut)
{
    double *latency = values(p, NAS_COST_LATENCY, size);
    double *macs = values(p, NAS_COST_MACS, size);
    double *parameters = values(p, NAS_COST_PARAMETERS, size);
    double *memory = values(p, NAS_COST_MEMORY, size);
    int side = p->image_size[size];

    for (int s = 0; s < p->space->count; s++) {
        const nas_slot *slot = &p->space->slots[s];
        int side_out = side;

        for (int c = 0; c < slot->count; c++) {
            const nas_op_cost cost = nas_op_cost_at(&slot->candidates[c], side, side);

            latency[p->first[s] + c] = lut != NULL ? lut->ms[s][c] : 0.0;
            macs[p->first[s] + c] = (double)cost.macs;
            parameters[p->first[s] + c] = (double)cost.parameters;
            memory[p->first[s] + c] =
                (double)nas_op_memory(&slot->candidates[c], slot->shortcut, side, side);
            side_out = cost.out_h;
        }
        side = side_out;
    }
}

static bool has_size(const nas_space *space, int image_size)
{
    if (image_size == space->image_size)
        return true;
    for (int i = 0; i < space->resolutions; i++)
        if (space->resolution[i] == image_size)
            return true;
    return false;
}

nas_status nas_problem_init(nas_problem *p, const nas_space *space, int sizes,
                            const int *image_size, const nas_latency_lut *const *luts,
                            nas_err *err)
{
    memset(p, 0, sizeof *p);
    p->space = space;
    p->sizes = sizes > 0 ? sizes : 1;
    for (int k = 0; k < NAS_COSTS; k++)
        p->limit[k] = INFINITY;
    for (int i = 0; i < p->sizes; i++) {
        p->image_size[i] = sizes > 0 ? image_size[i] : space->image_size;
        if (!has_size(space, p->image_size[i]))
            return nas_fail(err, NAS_E_CONFIG, "space %s has no networks for images of %d pixels",
                            space->name, p->image_size[i]);
    }
    for (int s = 0; s < space->count; s++)
        p->first[s + 1] = p->first[s] + space->slots[s].count;
    p->value = malloc((size_t)NAS_COSTS * (size_t)p->sizes * (size_t)p->first[space->count] *
                      sizeof *p->value);
    if (p->value == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory for the costs of space %s", space->name);
    for (int i = 0; i < p->sizes; i++)
        fill(p, i, luts != NULL ? luts[i] : NULL);
    return NAS_OK;
}

void nas_problem_fini(nas_problem *problem)
{
    free(problem->value);
    problem->value = NULL;
}

int nas_problem_size(const nas_problem *p, int image_size)
{
    int i = p->sizes - 1;

    while (i > 0 && p->image_size[i] != image_size)
        i--;
    return i;
}

double nas_problem_cost(const nas_problem *p, nas_cost cost, const nas_candidate *candidate)
{
    const double *value =
        nas_problem_values(p, cost, nas_problem_size(p, candidate->image_size));
    const bool peak = nas_evolution__is_peak(cost);
    double total = 0.0;

    for (int s = 0; s < p->space->count; s++) {
        const double own = value[p->first[s] + candidate->choice[s]];

        total = peak ? fmax(total, own) : total + own;
    }
    return total;
}

double nas_problem_strain(const nas_problem *p, nas_cost cost, const nas_candidate *candidate)
{
    const double whole = nas_problem_cost(p, cost, candidate), limit = p->limit[cost];

    if (!nas_evolution__is_peak(cost) || whole <= limit)
        return whole;
    const double *value =
        nas_problem_values(p, cost, nas_problem_size(p, candidate->image_size));
    double strain = limit;
    for (int s = 0; s < p->space->count; s++)
        strain += fmax(0.0, value[p->first[s] + candidate->choice[s]] - limit);
    return strain;
}

void nas_problem_range(const nas_problem *p, nas_cost cost, double *min, double *max)
{
    const bool peak = nas_evolution__is_peak(cost);

    *min = INFINITY;
    *max = 0.0;
    for (int i = 0; i < p->sizes; i++) {
        double least = 0.0, most = 0.0;

        for (int s = 0; s < p->space->count; s++) {
            const double *value = nas_problem_values(p, cost, i) + p->first[s];
            const int count = p->space->slots[s].count;
            const bool zero = nas_slot_has_zero(&p->space->slots[s]);
            double low = value[0], high = value[0];

            for (int c = 1; c < count - zero; c++) {
                low = fmin(low, value[c]);
                high = fmax(high, value[c]);
            }
            low = zero ? 0.0 : low; /* what can be skipped can be skipped always */
            least = peak ? fmax(least, low) : least + low;
            most = peak ? fmax(most, high) : most + high;
        }
        *min = fmin(*min, least);
        *max = fmax(*max, most);
    }
}

bool nas_problem_feasible(const nas_problem *p, const nas_candidate *candidate)
{
    for (int k = 0; k < NAS_COSTS; k++)
        if (p->limit[k] < INFINITY && nas_problem_cost(p, (nas_cost)k, candidate) > p->limit[k])
            return false;
    return true;
}

void nas_problem_sample(const nas_problem *p, nas_rng *rng, nas_candidate *candidate)
{
    const uint32_t size = p->sizes > 1 ? nas_rng_below(rng, (uint32_t)p->sizes) : 0;

    candidate->image_size = p->image_size[size];
    nas_space_sample(p->space, rng, candidate->choice);
}

void nas_choice_normalise(const nas_space *space, int *choice)
{
    bool skipping = false;

    if (space->min_depth == 0)
        return;
    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];
        const int last = slot->count - 1;
        const bool zero = nas_slot_has_zero(slot) && slot->count > 1;

        if (s == 0 || slot->stage != space->slots[s - 1].stage)
            skipping = false;
        if (zero && choice[s] == last)
            skipping = true;
        else if (skipping && zero)
            choice[s] = last;
    }
}

/* What one exchange would do. */
typedef struct exchange {
    nas_candidate candidate;
    double rate; /* weight lost for the share of a limit saved */
} exchange;

/* Shares of the limits that `to` saves where `from` exceeds them; negative if it exceeds
 * another limit, or one by more, so that repair goes one way only. */
static double saving(const nas_problem *p, const nas_candidate *from, const nas_candidate *to)
{
    double saved = 0.0;

    for (int k = 0; k < NAS_COSTS; k++) {
        if (p->limit[k] == INFINITY)
            continue;
        const double before = nas_problem_strain(p, (nas_cost)k, from);
        const double after = nas_problem_strain(p, (nas_cost)k, to);

        if (after > p->limit[k] && after > before)
            return -1.0;
        if (before > p->limit[k])
            saved += (before - after) / p->limit[k];
    }
    return saved;
}

static void try_exchange(const nas_problem *p, const double *weight,
                         const nas_candidate *candidate, int slot, int op, exchange *best)
{
    nas_candidate changed = *candidate;
    double lost = 1.0;

    changed.choice[slot] = op;
    nas_choice_normalise(p->space, changed.choice);
    const double saved = saving(p, candidate, &changed);
    if (saved <= 0.0)
        return;
    if (weight != NULL) {
        const double *row = weight + (size_t)slot * NAS_MAX_CANDIDATES;
        lost = fmax(row[candidate->choice[slot]] - row[op], 1e-6);
    }
    if (lost / saved < best->rate) {
        best->candidate = changed;
        best->rate = lost / saved;
    }
}

bool nas_candidate_repair(const nas_problem *p, const double *weight, nas_candidate *candidate)
{
    nas_choice_normalise(p->space, candidate->choice);
    while (!nas_problem_feasible(p, candidate)) {
        exchange best = {.rate = INFINITY};

        for (int s = 0; s < p->space->count; s++)
            for (int c = 0; c < p->space->slots[s].count; c++)
                if (c != candidate->choice[s])
                    try_exchange(p, weight, candidate, s, c, &best);
        if (best.rate == INFINITY)
            return false;
        *candidate = best.candidate;
    }
    return true;
}
