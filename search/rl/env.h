/* What an agent sees of a task: a chain of decisions, each of a few numbers, and a reward.
 *
 * Nothing here knows what is decided (layers, channels, bits).  An episode is
 *   reset; while not done: observe, bounds, act. */
#ifndef NAS_SEARCH_RL_ENV_H
#define NAS_SEARCH_RL_ENV_H

#include <stdbool.h>

#include "base/status.h"

enum { NAS_ENV_MAX_OBSERVATIONS = 256, NAS_ENV_MAX_ACTIONS = 16, NAS_ENV_MAX_STEPS = 4096 };

/** What came of an action. */
typedef struct nas_env_outcome {
    double reward; /* higher is better; their sum is the episode's                      */
    bool done;     /* that was the last decision                                        */
    bool forced;   /* the constraint changed this action (or, at the end, an earlier one) */
} nas_env_outcome;

typedef struct nas_env {
    void *user;
    int observations, actions; /* numbers of an observation and of an action */
    int steps;                 /* decisions of the longest episode           */
    /** Starts an episode.  The same actions give the same episode. */
    nas_status (*reset)(void *user, nas_err *err);
    /** Writes observation[observations], each of about -1 to 1. */
    void (*observe)(void *user, float *observation);
    /** Limits of the action that is due, low[actions] <= high[actions]. */
    void (*bounds)(void *user, float *low, float *high);
    /** Takes an action within the bounds, changed to what the constraint permits.  An error
     * (NAS_E_INTERRUPTED too) ends the episode: it may be played anew. */
    nas_status (*act)(void *user, const float *action, nas_env_outcome *outcome, nas_err *err);
} nas_env;

#endif
