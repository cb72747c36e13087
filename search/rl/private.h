/* Private to search/rl: what an agent of any kind is made of.  Actions are in units of their
 * bounds here, 0 to 1. */
#ifndef NAS_SEARCH_RL_PRIVATE_H
#define NAS_SEARCH_RL_PRIVATE_H

#include "base/rng.h"
#include "nas/train/safetensors.h"
#include "search/rl/agent.h"

/** An episode as it was played. */
typedef struct nas_rl__played {
    int steps;
    float *states;  /* [steps + 1][observations]; the last one is zero */
    float *actions; /* [steps][actions]                                */
    double *rewards;
    double reward; /* their sum */
    bool forced;
} nas_rl__played;

/** One entry a kind.  `choose` and `learn` see the agent's config, env and number of episodes
 * played; what changes by learning is in `state`. */
typedef struct nas_rl__class {
    const char *name;
    nas_status (*init)(nas_agent *agent, nas_err *err);
    void (*fini)(nas_agent *agent);
    /** The action of `step` in this episode, whose earlier ones are in `played`. */
    void (*choose)(nas_agent *agent, const nas_rl__played *played, int step, const float *state,
                   float *action);
    void (*learn)(nas_agent *agent, const nas_rl__played *played);
    /** State to and from a checkpoint; read leaves the agent as it is unless NAS_OK. */
    void (*add)(const nas_agent *agent, nas_safetensors_builder *builder);
    nas_status (*read)(nas_agent *agent, const nas_safetensors *file, nas_err *err);
    bool free_only; /* an episode that the constraint changed counts less than any other */
} nas_rl__class;

struct nas_agent {
    const nas_rl__class *class;
    nas_agent_config config;
    const nas_env *env;
    nas_rng rng; /* of this episode */
    void *state; /* of the class    */
    int64_t played;
    nas_rl__played now;
    nas_agent_episode best;
    float *best_actions, *first_actions;
    bool starts; /* with first_actions */
};

/** Normal with mean `mu` and deviation `sigma`, cut to [0, 1], which holds mu; NaN if mu is. */
double nas_rl__truncated_normal(nas_rng *rng, double mu, double sigma);

/** One array of a checkpoint. */
typedef struct nas_rl__array {
    const char *name;
    nas_dtype dtype;
    int64_t count;
    void *data;
} nas_rl__array;

void nas_rl__add(nas_safetensors_builder *builder, const nas_rl__array *arrays, int count);
/** All of them or, with an error, none. */
nas_status nas_rl__read(const nas_safetensors *file, const nas_rl__array *arrays, int count,
                        nas_err *err);

extern const nas_rl__class nas_rl__ddpg, nas_rl__random, nas_rl__uniform, nas_rl__evolution;

#endif
