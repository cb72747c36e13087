/* Private to search/rl: deep deterministic policy gradient (Lillicrap et al. 2016) with AMC's
 * moving baseline. */
#ifndef NAS_SEARCH_RL_DDPG_H
#define NAS_SEARCH_RL_DDPG_H

#include "search/rl/net.h"
#include "search/rl/private.h"

/** A network, its slow copy, and Adam's state. */
typedef struct nas_rl__learner {
    nas_rl__net net;
    float *params, *target, *moment1, *moment2, *grads; /* [net.floats] */
    nas_rl__tape tape;
} nas_rl__learner;

typedef struct nas_rl__replay {
    int64_t size; /* kept at most; the ring's next place is stored % size */
    float *states, *actions, *next; /* [size][..] */
    double *rewards, *done;         /* done: 1 for the last of an episode */
} nas_rl__replay;

typedef struct nas_rl__ddpg_agent {
    int observations, actions;
    nas_rl__learner actor, critic; /* state -> action; state and action -> value */
    nas_rl__replay replay;
    double baseline;               /* moving mean reward                         */
    int64_t updates, stored;       /* done; transitions ever                     */
    int *rows;                     /* [batch] of the replay in this update       */
    float *dx;                     /* [batch][observations + actions]            */
    double *targets;               /* [batch]                                    */
} nas_rl__ddpg_agent;

nas_status nas_rl__ddpg_new(nas_rl__ddpg_agent **out, int observations, int actions,
                            const nas_agent_config *config, nas_err *err);
void nas_rl__ddpg_free(nas_rl__ddpg_agent *ddpg);
/** Weights from config->seed. */
void nas_rl__ddpg_reset(nas_rl__ddpg_agent *ddpg, uint64_t seed);
/** The policy's action for one state. */
void nas_rl__ddpg_policy(nas_rl__ddpg_agent *ddpg, const float *state, float *action);
void nas_rl__ddpg_store(nas_rl__ddpg_agent *ddpg, const float *state, const float *action,
                        double reward, const float *next, bool done);
/** One step of critic and actor on config->batch transitions (all, if there are fewer) drawn
 * without repetition:
 *   target = r - b + discount * (1 - done) * Q'(s', mu'(s')),  b += rate * (mean r - b),
 *   critic minimises (Q(s, a) - target)^2, actor maximises Q(s, mu(s)) - restraint/2 * x^2 with x
 *   what the sigmoid mu(s) is of, then
 *   params' += target_rate * (params - params'). */
void nas_rl__ddpg_update(nas_rl__ddpg_agent *ddpg, const nas_agent_config *config);

#endif
