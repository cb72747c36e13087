/* A task with a known answer, for agents: share out a budget.
 *
 * Step t of 8 chooses a share x in [0, 1]; the shares may sum to 2.5 at most (what is over is cut
 * off, "forced").  At the end the reward is the sum of v[t] * (x[t] - x[t]^2 / 2), over its
 * optimum, so that the best reward is 1.  By Lagrange v[t] * (1 - x[t]) is the same number for all
 * shares above 0, here 0.4312; the shares are 0.569, 0, 0.692, 0.138, 0.641, 0, 0.461 and 0.  All
 * shares alike (2.5 / 8) give 0.8003 of the optimum. */
#ifndef NAS_TESTS_SEARCH_RL_SHARES_H
#define NAS_TESTS_SEARCH_RL_SHARES_H

#include "search/rl/env.h"

enum { SHARES_STEPS = 8 };
static const double shares_value[SHARES_STEPS] = {1.0, 0.3, 1.4, 0.5, 1.2, 0.2, 0.8, 0.4};
static const double shares_budget = 2.5, shares_optimum = 1.9109856;

typedef struct shares {
    nas_env env;
    int step;
    double left, sum, taken[SHARES_STEPS];
    int acts; /* of all episodes                                            */
    int interrupt_at; /* this act asks to stop, once; 0: none does */
} shares;

static nas_status shares_reset(void *user, nas_err *err)
{
    shares *s = user;

    s->step = 0;
    s->left = shares_budget;
    s->sum = 0.0;
    return NAS_OK;
}

static void shares_observe(void *user, float *x)
{
    const shares *s = user;

    for (int i = 0; i < SHARES_STEPS; i++)
        x[i] = i == s->step ? 1.0f : 0.0f;
    x[SHARES_STEPS] = (float)(s->left / shares_budget);
}

static void shares_bounds(void *user, float *low, float *high)
{
    *low = 0.0f;
    *high = 1.0f;
}

static nas_status shares_act(void *user, const float *action, nas_env_outcome *out, nas_err *err)
{
    shares *s = user;
    const double wanted = (double)action[0], x = wanted < s->left ? wanted : s->left;
    if (++s->acts == s->interrupt_at)
        return nas_fail(err, NAS_E_INTERRUPTED, "stopped");
    s->taken[s->step] = x;
    s->left -= x;
    s->sum += shares_value[s->step] * (x - 0.5 * x * x) / shares_optimum;
    out->forced = x < wanted;
    out->done = ++s->step == SHARES_STEPS;
    out->reward = out->done ? s->sum : 0.0;
    return NAS_OK;
}

static inline void shares_init(shares *s)
{
    *s = (shares){.env = {.user = s, .observations = SHARES_STEPS + 1, .actions = 1,
                          .steps = SHARES_STEPS, .reset = shares_reset,
                          .observe = shares_observe, .bounds = shares_bounds,
                          .act = shares_act}};
}

#endif
