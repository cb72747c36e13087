/* Feasible sampling, repair, random search, evolution. */
#include "search/evolution/evolution.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>


static bool is_zero(const nas_slot *slot, int candidate)
{
    return slot->candidates[candidate].type == NAS_OP_ZERO;
}

void nas_choice_normalise(const nas_space *space, int *choice)
{
    bool skipping = false;

    if (space->min_depth == 0)
        return;
    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];
        const int last = slot->count - 1;
        if (s == 0 || slot->stage != space->slots[s - 1].stage)
            skipping = false;
        if (slot->count > 1 && is_zero(slot, choice[s]))
            skipping = true;
        else if (skipping && slot->count > 1 && is_zero(slot, last))
            choice[s] = last;
    }
}

/* What one exchange would do. */
typedef struct exchange {
    int choice[NAS_MAX_SLOTS];
    double rate; /* weight lost per millisecond saved */
} exchange;

static void try_exchange(const nas_space *space, const nas_latency_lut *lut, const double *weight,
                         const int *choice, double latency, int slot, int candidate, exchange *best)
{
    int changed[NAS_MAX_SLOTS];
    double lost = 1.0;

    memcpy(changed, choice, (size_t)space->count * sizeof *changed);
    changed[slot] = candidate;
    nas_choice_normalise(space, changed);
    const double saved = latency - nas_latency_lut_total(lut, changed);
    if (saved <= 0.0)
        return;
    if (weight != NULL) {
        const double *row = weight + (size_t)slot * NAS_MAX_CANDIDATES;
        lost = fmax(row[choice[slot]] - row[candidate], 1e-6);
    }
    if (lost / saved < best->rate) {
        memcpy(best->choice, changed, (size_t)space->count * sizeof *changed);
        best->rate = lost / saved;
    }
}

bool nas_choice_repair(const nas_space *space, const nas_latency_lut *lut, double limit_ms,
                       const double *weight, int *choice)
{
    nas_choice_normalise(space, choice);
    for (double latency; (latency = nas_latency_lut_total(lut, choice)) > limit_ms;) {
        exchange best = {.rate = INFINITY};
        for (int s = 0; s < space->count; s++)
            for (int c = 0; c < space->slots[s].count; c++)
                if (c != choice[s])
                    try_exchange(space, lut, weight, choice, latency, s, c, &best);
        if (best.rate == INFINITY)
            return false;
        memcpy(choice, best.choice, (size_t)space->count * sizeof *choice);
    }
    return true;
}

/* ---- architectures already scored ---------------------------------------------- */

typedef struct pool {
    const nas_space *space;
    const nas_latency_lut *lut;
    const nas_evaluator *evaluator;
    double limit_ms;
    int64_t scored, capacity;
    nas_candidate *all; /* [scored] every architecture so far, in order of scoring */
} pool;

static bool known(const pool *p, const int *choice)
{
    for (int64_t i = 0; i < p->scored; i++)
        if (memcmp(p->all[i].choice, choice, (size_t)p->space->count * sizeof *choice) == 0)
            return true;
    return false;
}

/* Scores a feasible architecture that is new; *is_new says whether it was. */
static nas_status add(pool *p, const int *choice, bool *is_new, nas_err *err)
{
    nas_candidate candidate = {.latency_ms = nas_latency_lut_total(p->lut, choice)};

    *is_new = candidate.latency_ms <= p->limit_ms && !known(p, choice);
    if (!*is_new)
        return NAS_OK;
    if (p->scored == p->capacity) {
        const int64_t capacity = p->capacity ? 2 * p->capacity : 64;
        nas_candidate *all = realloc(p->all, (size_t)capacity * sizeof *all);
        if (all == NULL)
            return nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
        p->all = all;
        p->capacity = capacity;
    }
    memcpy(candidate.choice, choice, (size_t)p->space->count * sizeof *choice);
    const nas_status status =
        p->evaluator->score(p->evaluator->user, choice, &candidate.score, err);
    if (status == NAS_OK)
        p->all[p->scored++] = candidate;
    return status;
}

int nas_candidate_best_first(const void *a, const void *b)
{
    const nas_candidate *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->latency_ms > y->latency_ms) - (x->latency_ms < y->latency_ms);
}

static nas_status infeasible(const pool *p, nas_err *err)
{
    double fastest, slowest;

    nas_latency_lut_range(p->lut, p->space, &fastest, &slowest, NULL, NULL);
    nas_fail(err, NAS_E_INFEASIBLE, "no architecture of %s takes at most %g ms", p->space->name,
             p->limit_ms);
    nas_hint(err, "its networks take %.4g to %.4g ms by this table", fastest, slowest);
    return NAS_E_INFEASIBLE;
}

/* A feasible architecture: drawn uniformly, repaired where it is too slow. */
static bool draw(const pool *p, nas_rng *rng, int *choice)
{
    for (int attempt = 0; attempt < 50; attempt++) {
        nas_space_sample(p->space, rng, choice);
        if (nas_latency_lut_total(p->lut, choice) <= p->limit_ms)
            return true;
    }
    return nas_choice_repair(p->space, p->lut, p->limit_ms, NULL, choice);
}

static nas_status fill(pool *p, nas_rng *rng, int count, nas_err *err)
{
    int choice[NAS_MAX_SLOTS];
    bool is_new;
    nas_status status = NAS_OK;

    for (int tries = 0; p->scored < count && tries < 20 * count && status == NAS_OK; tries++) {
        if (!draw(p, rng, choice))
            break;
        status = add(p, choice, &is_new, err);
    }
    return status == NAS_OK && p->scored == 0 ? infeasible(p, err) : status;
}

static void give_best(pool *p, int count, nas_candidate *out, int *found)
{
    qsort(p->all, (size_t)p->scored, sizeof *p->all, nas_candidate_best_first);
    *found = p->scored < count ? (int)p->scored : count;
    memcpy(out, p->all, (size_t)*found * sizeof *out);
}

nas_status nas_random_search(const nas_space *space, const nas_latency_lut *lut, double limit_ms,
                             uint64_t seed, int count, const nas_evaluator *evaluator,
                             nas_candidate *out, int *found, nas_err *err)
{
    pool p = {.space = space, .lut = lut, .evaluator = evaluator, .limit_ms = limit_ms};
    nas_rng rng;

    *found = 0;
    nas_rng_init(&rng, seed, "random search", 0);
    const nas_status status = fill(&p, &rng, count, err);
    if (status == NAS_OK)
        give_best(&p, count, out, found);
    free(p.all);
    return status;
}

nas_evolution_config nas_evolution_default(double limit_ms, uint64_t seed)
{
    return (nas_evolution_config){.population = 24, .generations = 8, .parent_share = 0.25,
                                  .mutation_share = 0.5, .mutation_rate = 0.1,
                                  .limit_ms = limit_ms, .seed = seed};
}

static void mutate(const nas_space *space, double rate, nas_rng *rng, int *choice)
{
    int fresh[NAS_MAX_SLOTS];

    nas_space_sample(space, rng, fresh);
    for (int s = 0; s < space->count; s++)
        if (nas_rng_uniform(rng) < rate)
            choice[s] = fresh[s];
    nas_choice_normalise(space, choice);
}

static void cross(const nas_space *space, const int *other, nas_rng *rng, int *choice)
{
    for (int s = 0; s < space->count; s++)
        if (nas_rng_uniform(rng) < 0.5)
            choice[s] = other[s];
    nas_choice_normalise(space, choice);
}

static nas_status breed(pool *p, const nas_evolution_config *c, int generation, nas_err *err)
{
    const int parents = (int)fmax(2.0, c->parent_share * c->population);
    const uint32_t breeding = (uint32_t)(p->scored < parents ? p->scored : parents);
    nas_rng rng;
    nas_status status = NAS_OK;
    int children = 0;

    qsort(p->all, (size_t)p->scored, sizeof *p->all, nas_candidate_best_first);
    nas_candidate *best = malloc(breeding * sizeof *best);
    if (best == NULL)
        return nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
    memcpy(best, p->all, breeding * sizeof *best);
    nas_rng_init(&rng, c->seed, "evolution", (uint64_t)generation);
    for (int tries = 0; children < c->population && tries < 50 * c->population && status == NAS_OK;
         tries++) {
        int choice[NAS_MAX_SLOTS];
        bool is_new;
        memcpy(choice, best[nas_rng_below(&rng, breeding)].choice, sizeof choice);
        if (nas_rng_uniform(&rng) < c->mutation_share)
            mutate(p->space, c->mutation_rate, &rng, choice);
        else
            cross(p->space, best[nas_rng_below(&rng, breeding)].choice, &rng, choice);
        if ((status = add(p, choice, &is_new, err)) == NAS_OK)
            children += is_new;
    }
    free(best);
    return status;
}

nas_status nas_evolution_run(const nas_space *space, const nas_latency_lut *lut,
                             const nas_evolution_config *config, const nas_evaluator *evaluator,
                             nas_candidate *out, int *found, int64_t *evaluations, nas_err *err)
{
    pool p = {.space = space, .lut = lut, .evaluator = evaluator, .limit_ms = config->limit_ms};
    nas_rng rng;

    *found = 0;
    nas_rng_init(&rng, config->seed, "evolution population", 0);
    nas_status status = fill(&p, &rng, config->population, err);
    for (int g = 0; g < config->generations && status == NAS_OK; g++)
        status = breed(&p, config, g, err);
    if (status == NAS_OK)
        give_best(&p, config->population, out, found);
    *evaluations = p.scored;
    free(p.all);
    return status;
}
