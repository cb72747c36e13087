/* Agents: they play episodes of an environment (search/rl/env.h) and look for the actions with the
 * highest reward.  DDPG learns a policy; the others are what it is compared with.
 *
 * An agent's state is whole between episodes: saved and loaded there, it goes on to the same
 * bits. */
#ifndef NAS_SEARCH_RL_AGENT_H
#define NAS_SEARCH_RL_AGENT_H

#include <stdint.h>

#include "nas/train/observer.h"
#include "search/rl/env.h"

typedef enum nas_agent_kind {
    NAS_AGENT_DDPG,      /* Lillicrap et al. 2016, as AMC and HAQ use it                        */
    NAS_AGENT_RANDOM,    /* every action uniform within its bounds                              */
    NAS_AGENT_UNIFORM,   /* one number for all actions: the largest that no constraint changes,
                            by bisection over the episodes                                      */
    NAS_AGENT_EVOLUTION, /* best of two parents each, crossover, Gaussian mutation, elitist     */
    NAS_AGENT_KINDS
} nas_agent_kind;

/** Settings; nas_agent_amc and nas_agent_haq give the published ones. */
typedef struct nas_agent_config {
    nas_agent_kind kind;
    uint64_t seed;
    int64_t warmup;            /* ddpg: episodes of random actions before the policy acts      */
    double sigma, sigma_decay; /* ddpg: deviation of the truncated normal noise, as a share of
                                  the bounds' width, times decay^(episode - warmup)            */
    int hidden;                /* ddpg: outputs of each of the two hidden layers               */
    double actor_lr, critic_lr, discount, target_rate; /* ddpg; target_rate is tau             */
    int batch;                 /* ddpg: transitions of an update                               */
    int64_t replay;            /* ddpg: transitions that are remembered                        */
    int updates;               /* ddpg: for each transition after the warm-up                  */
    double baseline_rate;      /* ddpg: of the moving mean reward                              */
    double restraint;          /* ddpg: the actor is to keep restraint/2 * x^2 small as well, x
                                  what its sigmoids are of, in units of the reward; without it
                                  actions that the constraint cuts off grow until the sigmoids
                                  are flat, and nothing is learnt any more                     */
    bool whole_reward;         /* ddpg: every transition gets the whole reward of its episode  */
    int population;            /* evolution                                                    */
    double mutation;           /* evolution: deviation, as a share of the bounds' width        */
} nas_agent_config;

/** Published settings for episodes of `steps` decisions, but for the restraint, which is ours.
 * Source: AMC (He et al. 2018) and HAQ (Wang et al. 2019), their public code. */
nas_agent_config nas_agent_amc(nas_agent_kind kind, int steps, uint64_t seed);
nas_agent_config nas_agent_haq(nas_agent_kind kind, int steps, uint64_t seed);

/** HAQ's noise fades over 600 episodes; over fewer `episodes` in all (warm-up included) it is to
 * fade as far, or all of them are played at random. */
void nas_agent_fade(nas_agent_config *config, int64_t episodes);

/** "ddpg", "random", "uniform", "evolution"; and back, NAS_AGENT_KINDS if unknown. */
const char *nas_agent_name(nas_agent_kind kind);
nas_agent_kind nas_agent_find(const char *name);

/** An episode that was played. */
typedef struct nas_agent_episode {
    int64_t number;       /* from 0 */
    int steps;
    const float *actions; /* [steps][actions] as the agent wanted them: played again, they give
                             the same episode */
    double reward;        /* their sum */
    bool forced;          /* the constraint changed one of them */
    bool best;            /* better than all before */
} nas_agent_episode;

/** Told of every episode, while the environment still stands at its end; members may be NULL. */
typedef struct nas_agent_watch {
    void *user;
    nas_status (*episode)(void *user, const nas_agent_episode *episode, nas_err *err);
} nas_agent_watch;

typedef struct nas_agent nas_agent;

/** `env` is borrowed.  NAS_E_CONFIG, NAS_E_NOMEM. */
nas_status nas_agent_new(nas_agent **out, const nas_env *env, const nas_agent_config *config,
                         nas_err *err);
void nas_agent_free(nas_agent *agent);

/** The first episode plays these actions, [steps][actions] as shares of their bounds' width,
 * whatever the agent would choose (uniform would go astray).  Of no effect once it has played. */
void nas_agent_start(nas_agent *agent, const float *actions);

/** Plays until `episodes` have been played in all.  The observer gets metrics "reward" and
 * "best_reward" after each and is asked for checkpoints between them; NAS_E_INTERRUPTED after a
 * checkpoint when it says stop (the environment should ask it as well).  Both may be NULL. */
nas_status nas_agent_run(nas_agent *agent, int64_t episodes, const nas_observer *observer,
                         const nas_agent_watch *watch, nas_err *err);

/** The best episode so far: highest reward (uniform: among those without force, if any), the
 * first of equals; number -1 before the first.  Borrowed until the next run. */
nas_agent_episode nas_agent_best(const nas_agent *agent);
int64_t nas_agent_episodes(const nas_agent *agent); /* played so far */

/** Plays the actions of an episode once more; the environment then stands at its end. */
nas_status nas_agent_replay(const nas_env *env, const nas_agent_episode *episode,
                            nas_env_outcome *outcome, nas_err *err);

/** A checkpoint of kind "agent"; loading needs an agent of the same configuration.
 * NAS_E_IO, NAS_E_DATA, NAS_E_NOMEM. */
nas_status nas_agent_save(const nas_agent *agent, const char *path, nas_err *err);
nas_status nas_agent_load(nas_agent *agent, const char *path, nas_err *err);

#endif
