/* A task with a known optimum, for agents: drive a number to 0 with little effort.
 *
 * x starts at 1; step t of 6 chooses u in [-1, 1], pays x^2 + u^2 and moves x to x + u; the end
 * pays x^2 once more.  The linear-quadratic regulator solves it: P = 1 at the end and
 * P <- 1 + P / (1 + P) a step backwards, so that the cost of the optimum is P = 377/233, a ratio of Fibonacci numbers,
 * with u = -P / (1 + P) * x.  Doing nothing costs 7. */
#ifndef NAS_TESTS_SEARCH_RL_REGULATOR_H
#define NAS_TESTS_SEARCH_RL_REGULATOR_H

#include "search/rl/env.h"

enum { REGULATOR_STEPS = 6 };
static const double regulator_optimum = -377.0 / 233.0;

typedef struct regulator {
    nas_env env;
    int step;
    double x;
} regulator;

static nas_status regulator_reset(void *user, nas_err *err)
{
    regulator *r = user;

    r->step = 0;
    r->x = 1.0;
    return NAS_OK;
}

static void regulator_observe(void *user, float *observation)
{
    const regulator *r = user;

    observation[0] = (float)r->x;
    observation[1] = (float)r->step / REGULATOR_STEPS;
}

static void regulator_bounds(void *user, float *low, float *high)
{
    *low = -1.0f;
    *high = 1.0f;
}

static nas_status regulator_act(void *user, const float *action, nas_env_outcome *out,
                                nas_err *err)
{
    regulator *r = user;
    const double u = (double)action[0];

    out->reward = -r->x * r->x - u * u;
    r->x += u;
    out->done = ++r->step == REGULATOR_STEPS;
    if (out->done)
        out->reward -= r->x * r->x;
    return NAS_OK;
}

static inline void regulator_init(regulator *r)
{
    *r = (regulator){.env = {.user = r, .observations = 2, .actions = 1,
                             .steps = REGULATOR_STEPS, .reset = regulator_reset,
                             .observe = regulator_observe, .bounds = regulator_bounds,
                             .act = regulator_act}};
}

#endif
