/* The learner: replay memory, one update of critic and actor, and the agent around it. */
#include "search/rl/ddpg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernel/kernel.h"

static void *zeros(int64_t count, size_t size)
{
    return calloc((size_t)(count > 0 ? count : 1), size);
}

static bool learner_init(nas_rl__learner *l, int in, int hidden, int out, bool sigmoid, int batch)
{
    float **block[] = {&l->params, &l->target, &l->moment1, &l->moment2, &l->grads};
    bool whole = true;

    l->net = nas_rl__net_make(in, hidden, out, sigmoid);
    for (size_t i = 0; i < sizeof block / sizeof *block; i++)
        whole &= (*block[i] = zeros((int64_t)l->net.floats, sizeof(float))) != NULL;
    return nas_rl__tape_init(&l->tape, &l->net, batch) && whole;
}

static void learner_fini(nas_rl__learner *l)
{
    free(l->params);
    free(l->target);
    free(l->moment1);
    free(l->moment2);
    free(l->grads);
    nas_rl__tape_fini(&l->tape);
}

static void learner_reset(nas_rl__learner *l, int split, uint64_t seed, const char *name)
{
    nas_rng rng;

    nas_rng_init(&rng, seed, name, 0);
    nas_rl__net_reset(&l->net, split, &rng, l->params);
    memcpy(l->target, l->params, l->net.floats * sizeof *l->target);
}

static bool replay_init(nas_rl__replay *r, int64_t size, int observations, int actions)
{
    r->size = size;
    r->states = zeros(size * observations, sizeof(float));
    r->actions = zeros(size * actions, sizeof(float));
    r->next = zeros(size * observations, sizeof(float));
    r->rewards = zeros(size, sizeof(double));
    r->done = zeros(size, sizeof(double));
    return r->states && r->actions && r->next && r->rewards && r->done;
}

nas_status nas_rl__ddpg_new(nas_rl__ddpg_agent **out, int observations, int actions,
                            const nas_agent_config *c, nas_err *err)
{
    const int inputs = observations + actions;
    nas_rl__ddpg_agent *d = calloc(1, sizeof *d);
    bool whole = d != NULL;

    *out = NULL;
    if (whole) {
        d->observations = observations;
        d->actions = actions;
        whole &= learner_init(&d->actor, observations, c->hidden, actions, true, c->batch);
        whole &= learner_init(&d->critic, inputs, c->hidden, 1, false, c->batch);
        whole &= replay_init(&d->replay, c->replay, observations, actions);
        whole &= (d->rows = zeros(c->batch, sizeof *d->rows)) != NULL;
        whole &= (d->targets = zeros(c->batch, sizeof *d->targets)) != NULL;
        whole &= (d->dx = zeros((int64_t)c->batch * inputs, sizeof *d->dx)) != NULL;
    }
    if (!whole) {
        nas_rl__ddpg_free(d);
        return nas_fail(err, NAS_E_NOMEM, "agent: out of memory");
    }
    *out = d;
    return NAS_OK;
}

void nas_rl__ddpg_free(nas_rl__ddpg_agent *d)
{
    if (d == NULL)
        return;
    learner_fini(&d->actor);
    learner_fini(&d->critic);
    free(d->replay.states);
    free(d->replay.actions);
    free(d->replay.next);
    free(d->replay.rewards);
    free(d->replay.done);
    free(d->rows);
    free(d->targets);
    free(d->dx);
    free(d);
}

void nas_rl__ddpg_reset(nas_rl__ddpg_agent *d, uint64_t seed)
{
    learner_reset(&d->actor, d->observations, seed, "rl actor");
    learner_reset(&d->critic, d->observations, seed, "rl critic");
}

void nas_rl__ddpg_policy(nas_rl__ddpg_agent *d, const float *state, float *action)
{
    const nas_rl__tape *tape = &d->actor.tape;

    memcpy(tape->y[0], state, (size_t)d->observations * sizeof *state);
    nas_rl__net_forward(&d->actor.net, d->actor.params, 1, tape);
    memcpy(action, tape->y[NAS_RL__LAYERS], (size_t)d->actions * sizeof *action);
}

static void copy_row(float *to, int64_t to_row, const float *from, int64_t from_row, int width)
{
    memcpy(to + to_row * width, from + from_row * width, (size_t)width * sizeof *to);
}

void nas_rl__ddpg_store(nas_rl__ddpg_agent *d, const float *state, const float *action,
                        double reward, const float *next, bool done)
{
    nas_rl__replay *r = &d->replay;
    const int64_t row = d->stored++ % r->size;

    copy_row(r->states, row, state, 0, d->observations);
    copy_row(r->actions, row, action, 0, d->actions);
    copy_row(r->next, row, next, 0, d->observations);
    r->rewards[row] = reward;
    r->done[row] = done ? 1.0 : 0.0;
}

/* Draws `count` different rows (Floyd's algorithm; any order will do). */
static void draw_rows(nas_rl__ddpg_agent *d, int count, int kept, uint64_t seed)
{
    nas_rng rng;

    nas_rng_init(&rng, seed, "rl batch", (uint64_t)d->updates);
    for (int i = 0; i < count; i++) {
        const int newest = kept - count + i;
        int row = (int)nas_rng_below(&rng, (uint32_t)newest + 1);

        for (int j = 0; j < i; j++)
            if (d->rows[j] == row) {
                row = newest;
                break;
            }
        d->rows[i] = row;
    }
}

/* Input of the critic: rows of states beside actions; states NULL: they are there already. */
static void critic_input(const nas_rl__ddpg_agent *d, int count, const float *states,
                         const float *actions)
{
    const int inputs = d->observations + d->actions;
    float *x = d->critic.tape.y[0];

    for (int i = 0; i < count; i++) {
        if (states != NULL)
            memcpy(x + (ptrdiff_t)i * inputs, states + (ptrdiff_t)i * d->observations,
                   (size_t)d->observations * sizeof *x);
        memcpy(x + (ptrdiff_t)i * inputs + d->observations, actions + (ptrdiff_t)i * d->actions,
               (size_t)d->actions * sizeof *x);
    }
}

/* Values Q(states, mu(states)) of the networks' parameters given; in the critic's y[3]. */
static void value_of_policy(nas_rl__ddpg_agent *d, int count, const float *actor,
                            const float *critic)
{
    const nas_rl__tape *a = &d->actor.tape;

    nas_rl__net_forward(&d->actor.net, actor, count, a);
    critic_input(d, count, a->y[0], a->y[NAS_RL__LAYERS]);
    nas_rl__net_forward(&d->critic.net, critic, count, &d->critic.tape);
}

static void set_targets(nas_rl__ddpg_agent *d, int count, const nas_agent_config *c)
{
    const nas_rl__replay *r = &d->replay;
    double mean = 0.0;

    for (int i = 0; i < count; i++)
        mean += r->rewards[d->rows[i]] / count;
    d->baseline += d->updates == 0 ? mean : c->baseline_rate * (mean - d->baseline);
    for (int i = 0; i < count; i++)
        copy_row(d->actor.tape.y[0], i, r->next, d->rows[i], d->observations);
    value_of_policy(d, count, d->actor.target, d->critic.target);
    for (int i = 0; i < count; i++) {
        const int row = d->rows[i];
        const double next = (double)d->critic.tape.y[NAS_RL__LAYERS][i];

        d->targets[i] =
            r->rewards[row] - d->baseline + c->discount * (1.0 - r->done[row]) * next;
    }
}

static void adam(nas_rl__learner *l, double lr, int64_t step)
{
    nas_kernels_get()->adam(l->net.floats, l->params, l->grads, l->moment1, l->moment2, (float)lr,
                            0.9f, 0.999f, 1e-8f, 0.0f, (long)step);
}

static void improve_critic(nas_rl__ddpg_agent *d, int count, double lr)
{
    const nas_rl__tape *tape = &d->critic.tape;
    float *actions = d->dx; /* free until the actor needs it */

    for (int i = 0; i < count; i++) {
        copy_row(d->actor.tape.y[0], i, d->replay.states, d->rows[i], d->observations);
        copy_row(actions, i, d->replay.actions, d->rows[i], d->actions);
    }
    critic_input(d, count, d->actor.tape.y[0], actions);
    nas_rl__net_forward(&d->critic.net, d->critic.params, count, tape);
    for (int i = 0; i < count; i++)
        tape->delta[0][i] =
            (float)(2.0 / count * ((double)tape->y[NAS_RL__LAYERS][i] - d->targets[i]));
    nas_rl__net_backward(&d->critic.net, d->critic.params, count, tape, 0.0f, d->critic.grads,
                         NULL);
    adam(&d->critic, lr, d->updates + 1);
}

/* The actor's input are the states already. */
static void improve_actor(nas_rl__ddpg_agent *d, int count, const nas_agent_config *c)
{
    const int inputs = d->observations + d->actions;

    value_of_policy(d, count, d->actor.params, d->critic.params);
    for (int i = 0; i < count; i++)
        d->critic.tape.delta[0][i] = -1.0f / (float)count;
    nas_rl__net_backward(&d->critic.net, d->critic.params, count, &d->critic.tape, 0.0f, NULL,
                         d->dx);
    for (int i = 0; i < count; i++)
        memcpy(d->actor.tape.delta[0] + (ptrdiff_t)i * d->actions,
               d->dx + (ptrdiff_t)i * inputs + d->observations,
               (size_t)d->actions * sizeof *d->dx);
    nas_rl__net_backward(&d->actor.net, d->actor.params, count, &d->actor.tape,
                         (float)(c->restraint / count), d->actor.grads, NULL);
    adam(&d->actor, c->actor_lr, d->updates + 1);
}

static void follow(nas_rl__learner *l, double rate)
{
    for (size_t i = 0; i < l->net.floats; i++)
        l->target[i] += (float)rate * (l->params[i] - l->target[i]);
}

void nas_rl__ddpg_update(nas_rl__ddpg_agent *d, const nas_agent_config *c)
{
    const int kept = (int)(d->stored < d->replay.size ? d->stored : d->replay.size);
    const int count = kept < c->batch ? kept : c->batch;

    draw_rows(d, count, kept, c->seed);
    set_targets(d, count, c);
    improve_critic(d, count, c->critic_lr);
    improve_actor(d, count, c);
    follow(&d->critic, c->target_rate);
    follow(&d->actor, c->target_rate);
    d->updates++;
}

/* -- as an agent ------------------------------------------------------------------------------ */

static nas_status init(nas_agent *agent, nas_err *err)
{
    nas_rl__ddpg_agent *d;
    const nas_status status = nas_rl__ddpg_new(&d, agent->env->observations, agent->env->actions,
                                               &agent->config, err);

    if (status == NAS_OK)
        nas_rl__ddpg_reset(d, agent->config.seed);
    agent->state = d;
    return status;
}

static void fini(nas_agent *agent) { nas_rl__ddpg_free(agent->state); }

static void choose(nas_agent *agent, const nas_rl__played *played, int step, const float *state,
                   float *action)
{
    const nas_agent_config *c = &agent->config;
    nas_rl__ddpg_agent *d = agent->state;

    if (agent->played < c->warmup) {
        for (int i = 0; i < d->actions; i++)
            action[i] = (float)nas_rng_uniform(&agent->rng);
        return;
    }
    const double sigma = c->sigma * pow(c->sigma_decay, (double)(agent->played - c->warmup));
    nas_rl__ddpg_policy(d, state, action);
    for (int i = 0; i < d->actions; i++)
        action[i] = (float)nas_rl__truncated_normal(&agent->rng, (double)action[i], sigma);
}

static void learn(nas_agent *agent, const nas_rl__played *played)
{
    const nas_agent_config *c = &agent->config;
    nas_rl__ddpg_agent *d = agent->state;
    const int last = played->steps - 1;

    for (int i = 0; i <= last; i++) {
        const float *state = played->states + (ptrdiff_t)i * d->observations;

        nas_rl__ddpg_store(d, state, played->actions + (ptrdiff_t)i * d->actions,
                           c->whole_reward ? played->reward : played->rewards[i],
                           state + d->observations, i == last);
        for (int u = 0; u < c->updates && agent->played >= c->warmup; u++)
            nas_rl__ddpg_update(d, c);
    }
}

enum { ARRAYS = 16 };
#define MOST_COUNTED (INT64_C(1) << 52) /* by no run that ends */

static int list_learner(const char *const names[4], nas_rl__learner *l, nas_rl__array *out)
{
    float *const block[] = {l->params, l->target, l->moment1, l->moment2};

    for (int i = 0; i < 4; i++)
        out[i] = (nas_rl__array){names[i], NAS_DTYPE_F32, (int64_t)l->net.floats, block[i]};
    return 4;
}

static int list(nas_rl__ddpg_agent *d, nas_rl__array out[ARRAYS])
{
    static const char *const actor[] = {"actor", "actor.target", "actor.moment1", "actor.moment2"};
    static const char *const critic[] = {"critic", "critic.target", "critic.moment1",
                                         "critic.moment2"};
    nas_rl__replay *r = &d->replay;
    int count = list_learner(actor, &d->actor, out);

    count += list_learner(critic, &d->critic, out + count);
    const nas_rl__array rest[] = {
        {"replay.states", NAS_DTYPE_F32, r->size * d->observations, r->states},
        {"replay.actions", NAS_DTYPE_F32, r->size * d->actions, r->actions},
        {"replay.next", NAS_DTYPE_F32, r->size * d->observations, r->next},
        {"replay.rewards", NAS_DTYPE_F64, r->size, r->rewards},
        {"replay.done", NAS_DTYPE_F64, r->size, r->done},
        {"baseline", NAS_DTYPE_F64, 1, &d->baseline},
        {"updates", NAS_DTYPE_I64, 1, &d->updates},
        {"stored", NAS_DTYPE_I64, 1, &d->stored},
    };
    memcpy(out + count, rest, sizeof rest);
    return ARRAYS;
}

static void add(const nas_agent *agent, nas_safetensors_builder *builder)
{
    nas_rl__array arrays[ARRAYS];

    nas_rl__add(builder, arrays, list(agent->state, arrays));
}

static nas_status read(nas_agent *agent, const nas_safetensors *file, nas_err *err)
{
    nas_rl__ddpg_agent *d = agent->state;
    nas_rl__array arrays[ARRAYS];
    const nas_status status = nas_rl__read(file, arrays, list(d, arrays), err);

    if (status == NAS_OK && (d->stored < 0 || d->stored > MOST_COUNTED || d->updates < 0 ||
                             d->updates > MOST_COUNTED))
        return nas_fail(err, NAS_E_DATA, "the agent's counters cannot be: %lld, %lld",
                        (long long)d->stored, (long long)d->updates);
    return status;
}

const nas_rl__class nas_rl__ddpg = {.name = "ddpg", .init = init, .fini = fini, .choose = choose,
                                    .learn = learn, .add = add, .read = read};
