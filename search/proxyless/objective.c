/* Expected costs, their part in the loss and in the reward. */
#include "search/proxyless/objective.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

/* What each candidate adds to the expectation. */
static nas_status fill(nas_objective *o, const nas_problem *problem, nas_err *err)
{
    const double *value = nas_problem_values(problem, o->cost, 0);
    const int total = problem->first[problem->space->count];

    if (o->cost != NAS_COST_MEMORY)
        return nas_latency_lut_of(&o->lut, problem->space, value, err);
    double *excess = malloc((size_t)total * sizeof *excess);
    if (excess == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory for the costs of a space");
    for (int i = 0; i < total; i++)
        excess[i] = fmax(0.0, value[i] - o->limit);
    const nas_status status = nas_latency_lut_of(&o->lut, problem->space, excess, err);
    if (status == NAS_OK)
        o->lut->fixed_ms += o->limit;
    free(excess);
    return status;
}

nas_status nas_objectives_init(nas_objectives *objectives, const nas_problem *problem,
                               const bool wanted[NAS_COSTS], nas_latency_loss_kind kind,
                               nas_err *err)
{
    nas_status status = NAS_OK;

    *objectives = (nas_objectives){0};
    for (int k = 0; k < NAS_COSTS && status == NAS_OK; k++) {
        nas_objective *o = &objectives->list[objectives->count];
        const double limit = problem->limit[k];

        if (!wanted[k])
            continue;
        assert(limit < INFINITY && problem->sizes == 1);
        o->cost = (nas_cost)k;
        o->limit = limit;
        o->unit = k == NAS_COST_LATENCY ? 1.0 : limit;
        o->loss = nas_latency_loss_default(kind, limit / o->unit);
        if (objectives->count > 0)
            o->loss.a = 1.0; /* once for all */
        objectives->count++;
        status = fill(o, problem, err);
    }
    return status;
}

void nas_objectives_fini(nas_objectives *objectives)
{
    for (int i = 0; i < objectives->count; i++)
        nas_latency_lut_free(objectives->list[i].lut);
    *objectives = (nas_objectives){0};
}

double nas_objective_expected(const nas_objective *o, const double *const *p)
{
    return nas_latency_lut_expected(o->lut, p);
}

nas_objectives_loss nas_objectives_loss_at(const nas_objectives *objectives, double ce,
                                           const double *const *p)
{
    nas_objectives_loss all = {.loss = ce, .d_ce = 1.0};

    for (int i = 0; i < objectives->count; i++) {
        const nas_objective *o = &objectives->list[i];
        const double expected = nas_objective_expected(o, p);
        const nas_latency_loss_value own =
            nas_latency_loss_at(&o->loss, all.loss, expected / o->unit);

        for (int before = 0; before < i; before++)
            all.d_cost[before] *= own.d_ce;
        all.d_ce *= own.d_ce;
        all.d_cost[i] = expected <= o->limit ? 0.0 : own.d_latency / o->unit;
        all.loss = own.loss;
    }
    return all;
}

void nas_objectives_slot_grad(const nas_objectives *objectives, const nas_objectives_loss *loss,
                              int slot, const double *p, double *grad)
{
    for (int i = 0; i < objectives->count; i++)
        nas_latency_lut_slot_grad(objectives->list[i].lut, slot, p, loss->d_cost[i], grad);
}

double nas_objectives_reward(const nas_objectives *objectives, const nas_problem *problem,
                             const nas_candidate *candidate)
{
    double reward = 1.0;

    for (int i = 0; i < objectives->count; i++) {
        const nas_objective *o = &objectives->list[i];
        const double cost = nas_problem_cost(problem, o->cost, candidate);

        reward *= pow(fmin(1.0, o->limit / fmax(cost, 1e-9)), 0.1);
    }
    return reward;
}
