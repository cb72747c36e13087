/* What agents of every kind share: settings, the loop over episodes, the best of them, and
 * checkpoints (docs/reference/checkpoint.md). */
#include "search/rl/agent.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/train/checkpoint.h"
#include "search/rl/private.h"

static const nas_rl__class *const classes[NAS_AGENT_KINDS] = {
    [NAS_AGENT_DDPG] = &nas_rl__ddpg,
    [NAS_AGENT_RANDOM] = &nas_rl__random,
    [NAS_AGENT_UNIFORM] = &nas_rl__uniform,
    [NAS_AGENT_EVOLUTION] = &nas_rl__evolution,
};

const char *nas_agent_name(nas_agent_kind kind)
{
    return (unsigned)kind < NAS_AGENT_KINDS ? classes[kind]->name : "unknown";
}

nas_agent_kind nas_agent_find(const char *name)
{
    int kind = 0;

    while (kind < NAS_AGENT_KINDS && strcmp(classes[kind]->name, name) != 0)
        kind++;
    return (nas_agent_kind)kind;
}

nas_agent_config nas_agent_amc(nas_agent_kind kind, int steps, uint64_t seed)
{
    return (nas_agent_config){
        .kind = kind, .seed = seed, .warmup = 100, .sigma = 0.5, .sigma_decay = 0.95,
        .hidden = 300, .actor_lr = 1e-4, .critic_lr = 1e-3, .discount = 1.0, .target_rate = 0.01,
        .batch = 64, .replay = 100 * (int64_t)steps, .updates = 1, .baseline_rate = 0.5,
        .restraint = 0.1, .whole_reward = true, .population = 16, .mutation = 0.1};
}

nas_agent_config nas_agent_haq(nas_agent_kind kind, int steps, uint64_t seed)
{
    nas_agent_config config = nas_agent_amc(kind, steps, seed);

    config.warmup = 20;
    config.sigma_decay = 0.99;
    config.restraint = 1.0; /* rewards are ten times as large */
    config.replay = 128 * (int64_t)steps;
    return config;
}

void nas_agent_fade(nas_agent_config *config, int64_t episodes)
{
    const double published = 580.0, own = (double)(episodes - config->warmup);

    if (own > 0.0 && own < published)
        config->sigma_decay = pow(config->sigma_decay, published / own);
}

double nas_rl__truncated_normal(nas_rng *rng, double mu, double sigma)
{
    double x;

    do /* mu is inside: at least one of three draws falls on its wider side; or NaN, which stays */
        x = mu + sigma * nas_rng_normal(rng);
    while (sigma > 0.0 && (x < 0.0 || x > 1.0));
    return x;
}

static nas_status check(const nas_env *env, const nas_agent_config *c, nas_err *err)
{
    const bool fits = env->observations >= 1 && env->observations <= NAS_ENV_MAX_OBSERVATIONS &&
                      env->actions >= 1 && env->actions <= NAS_ENV_MAX_ACTIONS &&
                      env->steps >= 1 && env->steps <= NAS_ENV_MAX_STEPS;
    const bool sane = (unsigned)c->kind < NAS_AGENT_KINDS && c->warmup >= 0 &&
                      c->sigma >= 0.0 && c->sigma <= 10.0 && c->sigma_decay >= 0.0 &&
                      c->sigma_decay <= 1.0 && c->hidden >= 1 && c->hidden <= 4096 &&
                      c->batch >= 1 && c->batch <= 4096 && c->replay >= 1 &&
                      c->replay <= 10000000 && c->updates >= 0 && c->restraint >= 0.0 &&
                      c->population >= 2 && c->population <= 4096 && c->mutation >= 0.0 &&
                      c->mutation <= 10.0;

    if (!fits)
        return nas_fail(err, NAS_E_CONFIG,
                        "agent: %d decisions of %d numbers with %d observations cannot be learnt",
                        env->steps, env->actions, env->observations);
    return sane ? NAS_OK : nas_fail(err, NAS_E_CONFIG, "agent: a setting is out of its range");
}

nas_status nas_agent_new(nas_agent **out, const nas_env *env, const nas_agent_config *config,
                         nas_err *err)
{
    const size_t states = (size_t)(env->steps + 1) * (size_t)env->observations;
    const size_t actions = (size_t)env->steps * (size_t)env->actions;
    nas_status status = check(env, config, err);
    nas_agent *a;

    *out = NULL;
    if (status != NAS_OK)
        return status;
    if ((a = calloc(1, sizeof *a)) == NULL)
        return nas_fail(err, NAS_E_NOMEM, "agent: out of memory");
    a->class = classes[config->kind];
    a->config = *config;
    a->env = env;
    a->now.states = calloc(states, sizeof *a->now.states);
    a->now.actions = calloc(actions, sizeof *a->now.actions);
    a->now.rewards = calloc((size_t)env->steps, sizeof *a->now.rewards);
    a->best_actions = calloc(actions, sizeof *a->best_actions);
    a->first_actions = calloc(actions, sizeof *a->first_actions);
    a->best = (nas_agent_episode){.number = -1, .reward = -INFINITY, .actions = a->best_actions};
    if (!a->now.states || !a->now.actions || !a->now.rewards || !a->best_actions ||
        !a->first_actions)
        status = nas_fail(err, NAS_E_NOMEM, "agent: out of memory");
    else if (a->class->init != NULL)
        status = a->class->init(a, err);
    if (status == NAS_OK)
        *out = a;
    else
        nas_agent_free(a);
    return status;
}

void nas_agent_free(nas_agent *a)
{
    if (a == NULL)
        return;
    if (a->class->fini != NULL)
        a->class->fini(a);
    free(a->now.states);
    free(a->now.actions);
    free(a->now.rewards);
    free(a->best_actions);
    free(a->first_actions);
    free(a);
}

void nas_agent_start(nas_agent *a, const float *actions)
{
    const int count = a->env->steps * a->env->actions;

    memcpy(a->first_actions, actions, (size_t)count * sizeof *actions);
    a->starts = true;
}

/* From units of the bounds to what the environment takes. */
static nas_status act(const nas_env *env, const float *unit, nas_env_outcome *outcome, nas_err *err)
{
    float low[NAS_ENV_MAX_ACTIONS], high[NAS_ENV_MAX_ACTIONS], action[NAS_ENV_MAX_ACTIONS];

    env->bounds(env->user, low, high);
    for (int i = 0; i < env->actions; i++) {
        if (!(unit[i] >= 0.0f && unit[i] <= 1.0f))
            return nas_fail(err, NAS_E_FAIL, "the agent's action is %g, not within 0 to 1",
                            (double)unit[i]);
        action[i] = low[i] + (high[i] - low[i]) * unit[i];
    }
    *outcome = (nas_env_outcome){0};
    const nas_status status = env->act(env->user, action, outcome, err);
    if (status == NAS_OK && !isfinite(outcome->reward))
        return nas_fail(err, NAS_E_FAIL, "an action's reward is no finite number");
    return status;
}

static nas_status play(nas_agent *a, nas_err *err)
{
    const nas_env *env = a->env;
    nas_rl__played *now = &a->now;
    nas_env_outcome outcome = {0};
    nas_status status = env->reset(env->user, err);

    nas_rng_init(&a->rng, a->config.seed, "rl episode", (uint64_t)a->played);
    now->forced = false;
    now->reward = 0.0;
    for (now->steps = 0; status == NAS_OK && !outcome.done; now->steps++) {
        float *state = now->states + (ptrdiff_t)now->steps * env->observations;
        float *action = now->actions + (ptrdiff_t)now->steps * env->actions;

        assert(now->steps < env->steps);
        env->observe(env->user, state);
        a->class->choose(a, now, now->steps, state, action);
        if (a->starts && a->played == 0)
            memcpy(action, a->first_actions + (ptrdiff_t)now->steps * env->actions,
                   (size_t)env->actions * sizeof *action);
        status = act(env, action, &outcome, err);
        now->rewards[now->steps] = outcome.reward;
        now->reward += outcome.reward;
        now->forced |= outcome.forced;
    }
    if (status == NAS_OK)
        memset(now->states + (ptrdiff_t)now->steps * env->observations, 0,
               (size_t)env->observations * sizeof *now->states);
    return status;
}

/* Keeps the best; describes the episode. */
static nas_agent_episode judge(nas_agent *a)
{
    const nas_rl__played *now = &a->now;
    nas_agent_episode e = {.number = a->played, .steps = now->steps, .actions = now->actions,
                           .reward = now->reward, .forced = now->forced};
    const bool ranks = a->class->free_only && a->best.number >= 0 && a->best.forced != e.forced;

    e.best = ranks ? a->best.forced : e.reward > a->best.reward;
    if (e.best) {
        a->best = e;
        a->best.actions = a->best_actions;
        memcpy(a->best_actions, now->actions,
               (size_t)(now->steps * a->env->actions) * sizeof *now->actions);
    }
    return e;
}

static nas_status save(void *self, const char *path, nas_err *err)
{
    return nas_agent_save(self, path, err);
}

static nas_status stop_here(nas_agent *a, const nas_observer *observer, nas_err *err)
{
    const nas_status status =
        nas_observe_checkpoint(observer, a->played, a->best.reward, save, a, err);

    return status != NAS_OK ? status
                            : nas_fail(err, NAS_E_INTERRUPTED, "stopped after episode %lld",
                                       (long long)a->played);
}

static nas_status end_episode(nas_agent *a, const nas_observer *observer,
                              const nas_agent_watch *watch, nas_err *err)
{
    const nas_agent_episode e = judge(a);
    const nas_metric metrics[] = {{"reward", e.reward}, {"best_reward", a->best.reward}};
    nas_status status = NAS_OK;

    if (a->class->learn != NULL)
        a->class->learn(a, &a->now);
    a->played++;
    if (watch != NULL && watch->episode != NULL)
        status = watch->episode(watch->user, &e, err);
    if (status == NAS_OK)
        status = nas_observe_metrics(observer, a->played, a->played, metrics, 2, err);
    return status;
}

nas_status nas_agent_run(nas_agent *a, int64_t episodes, const nas_observer *observer,
                         const nas_agent_watch *watch, nas_err *err)
{
    nas_status status = NAS_OK;

    while (a->played < episodes) {
        if (nas_observe_stop(observer))
            return stop_here(a, observer, err);
        if ((status = play(a, err)) == NAS_E_INTERRUPTED)
            return stop_here(a, observer, err); /* this episode is played anew */
        if (status != NAS_OK || (status = end_episode(a, observer, watch, err)) != NAS_OK)
            return status;
        const nas_progress progress = {.phase = "episodes", .epoch = a->played,
                                       .epochs = episodes, .step = a->played, .loss = NAN,
                                       .latency_ms = NAN, .entropy = NAN};
        nas_observe_progress(observer, &progress);
        if ((a->played == episodes || nas_observe_checkpoint_due(observer)) &&
            (status = nas_observe_checkpoint(observer, a->played, a->best.reward, save, a,
                                             err)) != NAS_OK)
            return status;
    }
    return NAS_OK;
}

nas_agent_episode nas_agent_best(const nas_agent *a) { return a->best; }
int64_t nas_agent_episodes(const nas_agent *a) { return a->played; }

nas_status nas_agent_replay(const nas_env *env, const nas_agent_episode *episode,
                            nas_env_outcome *outcome, nas_err *err)
{
    nas_status status = env->reset(env->user, err);

    for (int i = 0; i < episode->steps && status == NAS_OK; i++)
        status = act(env, episode->actions + (ptrdiff_t)i * env->actions, outcome, err);
    return status;
}

/* -- checkpoints ------------------------------------------------------------------------------ */

void nas_rl__add(nas_safetensors_builder *builder, const nas_rl__array *arrays, int count)
{
    for (int i = 0; i < count; i++)
        nas_safetensors_builder_add(builder, arrays[i].name, arrays[i].dtype, 1, &arrays[i].count,
                                    arrays[i].data);
}

nas_status nas_rl__read(const nas_safetensors *file, const nas_rl__array *arrays, int count,
                        nas_err *err)
{
    const nas_safetensors_tensor *found;
    nas_status status = NAS_OK;

    for (int i = 0; i < count && status == NAS_OK; i++)
        status = nas_safetensors_expect(file, arrays[i].name, arrays[i].dtype, 1,
                                        &arrays[i].count, &found, err);
    for (int i = 0; i < count && status == NAS_OK; i++)
        memcpy(arrays[i].data, nas_safetensors_find(file, arrays[i].name)->data,
               (size_t)arrays[i].count * nas_dtype_size(arrays[i].dtype));
    return status;
}

/* The best episode's actions, which are as long as the longest episode's. */
static nas_rl__array best_array(const nas_agent *a)
{
    return (nas_rl__array){"best.actions", NAS_DTYPE_F32,
                           (int64_t)a->env->steps * a->env->actions, a->best_actions};
}

nas_status nas_agent_save(const nas_agent *a, const char *path, nas_err *err)
{
    const bool any = a->best.number >= 0;
    json_t *state = json_pack("{s:s, s:I, s:I, s:i, s:b, s:f}", "agent", a->class->name, "episodes",
                              (json_int_t)a->played, "best", (json_int_t)a->best.number,
                              "best_steps", a->best.steps, "best_forced", (int)a->best.forced,
                              "best_reward", any ? a->best.reward : 0.0);
    nas_safetensors_builder *builder = state ? nas_checkpoint_begin("agent", state) : NULL;
    const nas_rl__array best = best_array(a);

    if (builder != NULL) {
        nas_rl__add(builder, &best, 1);
        if (a->class->add != NULL)
            a->class->add(a, builder);
    }
    const nas_status status = nas_safetensors_builder_write(builder, path, NULL, err);
    nas_safetensors_builder_free(builder);
    json_decref(state);
    return status;
}

/* The checkpoint's own numbers, checked; nothing is changed unless NAS_OK. */
static nas_status read_state(nas_agent *a, const json_t *state, const char *path, int64_t *played,
                             nas_agent_episode *best, nas_err *err)
{
    const char *name = json_string_value(json_object_get(state, "agent"));
    int64_t steps = 0;
    nas_status status;

    if (name == NULL || strcmp(name, a->class->name) != 0)
        return nas_fail(err, NAS_E_DATA, "%s: is of the agent %s, not %s", path,
                        name ? name : "?", a->class->name);
    if ((status = nas_json_int(state, path, "episodes", true, 0, INT64_MAX, played, err)) ||
        (status = nas_json_int(state, path, "best", true, -1, *played - 1, &best->number, err)) ||
        (status = nas_json_int(state, path, "best_steps", true, best->number < 0 ? 0 : 1,
                               a->env->steps, &steps, err)) ||
        (status = nas_json_real(state, path, "best_reward", true, -1e300, 1e300, &best->reward,
                                err)))
        return status;
    best->steps = (int)steps;
    best->forced = json_is_true(json_object_get(state, "best_forced"));
    if (best->number < 0)
        best->reward = -INFINITY;
    return NAS_OK;
}

nas_status nas_agent_load(nas_agent *a, const char *path, nas_err *err)
{
    const nas_rl__array array = best_array(a);
    nas_agent_episode best = {.actions = a->best_actions};
    nas_safetensors *file = NULL;
    json_t *state = NULL;
    int64_t played = 0;
    nas_status status;

    if ((status = nas_checkpoint_open(&file, &state, path, "agent", err)) == NAS_OK &&
        (status = read_state(a, state, path, &played, &best, err)) == NAS_OK &&
        (a->class->read == NULL || (status = a->class->read(a, file, err)) == NAS_OK) &&
        (status = nas_rl__read(file, &array, 1, err)) == NAS_OK) {
        a->played = played;
        a->best = best;
    }
    json_decref(state);
    nas_safetensors_close(file);
    return status;
}
