/* What DDPG is compared with: random actions, one action for all, and an evolution strategy. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/rl/private.h"

static void fini(nas_agent *agent) { free(agent->state); }

static nas_status take(nas_agent *agent, void *state, nas_err *err)
{
    agent->state = state;
    return state != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "agent: out of memory");
}

/* -- random ----------------------------------------------------------------------------------- */

static void random_choose(nas_agent *agent, const nas_rl__played *played, int step,
                          const float *state, float *action)
{
    for (int i = 0; i < agent->env->actions; i++)
        action[i] = (float)nas_rng_uniform(&agent->rng);
}

const nas_rl__class nas_rl__random = {.name = "random", .choose = random_choose};

/* -- uniform: the interval in which the largest free action lies ------------------------------ */

typedef struct interval {
    double low, high;
} interval;

static nas_status uniform_init(nas_agent *agent, nas_err *err)
{
    interval *v = malloc(sizeof *v);

    if (v != NULL)
        *v = (interval){0.0, 1.0};
    return take(agent, v, err);
}

/* The end first: it may need no force at all. */
static double uniform_action(const nas_agent *agent)
{
    const interval *v = agent->state;

    return agent->played == 0 ? v->high : 0.5 * (v->low + v->high);
}

static void uniform_choose(nas_agent *agent, const nas_rl__played *played, int step,
                           const float *state, float *action)
{
    for (int i = 0; i < agent->env->actions; i++)
        action[i] = (float)uniform_action(agent);
}

static void uniform_learn(nas_agent *agent, const nas_rl__played *played)
{
    interval *v = agent->state;
    const double action = uniform_action(agent);

    *(played->forced ? &v->high : &v->low) = action;
}

static void uniform_add(const nas_agent *agent, nas_safetensors_builder *builder)
{
    const nas_rl__array array = {"interval", NAS_DTYPE_F64, 2, agent->state};

    nas_rl__add(builder, &array, 1);
}

static nas_status uniform_read(nas_agent *agent, const nas_safetensors *file, nas_err *err)
{
    const nas_rl__array array = {"interval", NAS_DTYPE_F64, 2, agent->state};

    return nas_rl__read(file, &array, 1, err);
}

const nas_rl__class nas_rl__uniform = {
    .name = "uniform", .init = uniform_init, .fini = fini, .choose = uniform_choose,
    .learn = uniform_learn, .add = uniform_add, .read = uniform_read, .free_only = true};

/* -- evolution -------------------------------------------------------------------------------- */

typedef struct population {
    int genes;
    float *child;    /* [genes]             */
    float *policy;   /* [population][genes] */
    double *rewards; /* [population]        */
} population;

static void evolution_fini(nas_agent *agent)
{
    population *p = agent->state;

    if (p == NULL)
        return;
    free(p->child);
    free(p->policy);
    free(p->rewards);
    free(p);
}

static nas_status evolution_init(nas_agent *agent, nas_err *err)
{
    const size_t size = (size_t)agent->config.population;
    population *p = calloc(1, sizeof *p);
    nas_status status = take(agent, p, err);

    if (status != NAS_OK)
        return status;
    p->genes = agent->env->steps * agent->env->actions;
    p->child = calloc((size_t)p->genes, sizeof *p->child);
    p->policy = calloc(size * (size_t)p->genes, sizeof *p->policy);
    p->rewards = calloc(size, sizeof *p->rewards);
    if (p->child == NULL || p->policy == NULL || p->rewards == NULL)
        return nas_fail(err, NAS_E_NOMEM, "agent: out of memory");
    return NAS_OK;
}

/* The better of two. */
static const float *parent(nas_agent *agent)
{
    const population *p = agent->state;
    const uint32_t size = (uint32_t)agent->config.population;
    const uint32_t a = nas_rng_below(&agent->rng, size), b = nas_rng_below(&agent->rng, size);

    return p->policy + (size_t)(p->rewards[a] >= p->rewards[b] ? a : b) * (size_t)p->genes;
}

static void breed(nas_agent *agent)
{
    const population *p = agent->state;
    nas_rng *rng = &agent->rng;

    if (agent->played < agent->config.population) {
        for (int i = 0; i < p->genes; i++)
            p->child[i] = (float)nas_rng_uniform(rng);
        return;
    }
    const float *const parents[] = {parent(agent), parent(agent)};
    for (int i = 0; i < p->genes; i++) {
        const double gene = (double)parents[nas_rng_below(rng, 2)][i];
        p->child[i] = (float)nas_rl__truncated_normal(rng, gene, agent->config.mutation);
    }
}

static void evolution_choose(nas_agent *agent, const nas_rl__played *played, int step,
                             const float *state, float *action)
{
    const population *p = agent->state;
    const int actions = agent->env->actions;

    if (step == 0)
        breed(agent);
    memcpy(action, p->child + (ptrdiff_t)step * actions, (size_t)actions * sizeof *action);
}

/* The child takes the place of the worst if it is not worse. */
static void evolution_learn(nas_agent *agent, const nas_rl__played *played)
{
    population *p = agent->state;
    int64_t place = agent->played;

    memcpy(p->child, played->actions, /* which the first episode was given */
           (size_t)(played->steps * agent->env->actions) * sizeof *p->child);

    if (place >= agent->config.population) {
        place = 0;
        for (int i = 1; i < agent->config.population; i++)
            if (p->rewards[i] < p->rewards[place])
                place = i;
        if (played->reward < p->rewards[place])
            return;
    }
    p->rewards[place] = played->reward;
    memcpy(p->policy + place * p->genes, p->child, (size_t)p->genes * sizeof *p->child);
}

static void evolution_list(const nas_agent *agent, nas_rl__array out[2])
{
    const population *p = agent->state;
    const int64_t size = agent->config.population;

    out[0] = (nas_rl__array){"population.policy", NAS_DTYPE_F32, size * p->genes, p->policy};
    out[1] = (nas_rl__array){"population.rewards", NAS_DTYPE_F64, size, p->rewards};
}

static void evolution_add(const nas_agent *agent, nas_safetensors_builder *builder)
{
    nas_rl__array arrays[2];

    evolution_list(agent, arrays);
    nas_rl__add(builder, arrays, 2);
}

static nas_status evolution_read(nas_agent *agent, const nas_safetensors *file, nas_err *err)
{
    nas_rl__array arrays[2];

    evolution_list(agent, arrays);
    return nas_rl__read(file, arrays, 2, err);
}

const nas_rl__class nas_rl__evolution = {
    .name = "evolution", .init = evolution_init, .fini = evolution_fini,
    .choose = evolution_choose, .learn = evolution_learn, .add = evolution_add,
    .read = evolution_read};
