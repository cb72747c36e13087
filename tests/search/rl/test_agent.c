/* Agents of every kind on tasks with a known optimum (regulator.h, shares.h); stopping. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "search/rl/ddpg.h"
#include "tests/search/rl/regulator.h"
#include "tests/search/rl/shares.h"
#include "tests/support/scratch.h"

/* These networks are too small to be shared out: threads would only wait for each other. */
static void setup(void)
{
    scratch_init();
    omp_set_num_threads(1);
}

TestSuite(search_rl, .init = setup, .fini = scratch_fini);

static nas_err err;

/* Small networks and quick steps: a test has no hours. */
static nas_agent_config quick(nas_agent_kind kind, int steps, uint64_t seed)
{
    nas_agent_config config = nas_agent_amc(kind, steps, seed);

    config.hidden = 48;
    config.actor_lr = 1e-3;
    config.critic_lr = 3e-3;
    config.restraint = 0.0; /* some of the best actions are at their bounds */
    return config;
}

static nas_agent *start(const nas_env *env, const nas_agent_config *config)
{
    nas_agent *agent;

    cr_assert_eq(nas_agent_new(&agent, env, config, &err), NAS_OK, "%s", err.message);
    return agent;
}

static double best_of(const nas_env *env, const nas_agent_config *config, int64_t episodes)
{
    nas_agent *agent = start(env, config);

    cr_assert_eq(nas_agent_run(agent, episodes, NULL, NULL, &err), NAS_OK, "%s", err.message);
    const double reward = nas_agent_best(agent).reward;
    nas_agent_free(agent);
    return reward;
}

/* Rewards of every step, learnt by looking ahead: 600 episodes, 3600 steps. */
Test(search_rl, ddpg_drives_the_regulator_on_five_seeds_of_five)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        nas_agent_config config = quick(NAS_AGENT_DDPG, 4 * REGULATOR_STEPS, seed);
        regulator task;

        config.hidden = 64;
        config.updates = 2;
        config.warmup = 50;
        config.sigma_decay = 0.98;
        config.target_rate = 0.02;
        config.whole_reward = false;
        regulator_init(&task);
        const double cost = best_of(&task.env, &config, 600) / regulator_optimum;
        cr_expect_lt(cost, 1.02, "seed %d: %g of the optimal cost", (int)seed, cost);
        cr_expect_gt(cost, 1.0 - 1e-6); /* 1.002 to 1.012 seen; nothing is below the optimum */
    }
}

/* One reward at the end and a constraint, as AMC has them: 500 episodes, 4000 steps. */
Test(search_rl, ddpg_shares_out_a_budget_on_five_seeds_of_five)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        nas_agent_config config = quick(NAS_AGENT_DDPG, SHARES_STEPS, seed);
        shares task;

        config.sigma_decay = 0.99;
        shares_init(&task);
        const double reward = best_of(&task.env, &config, 500);
        cr_expect_gt(reward, 0.985, "seed %d: %g of 1", (int)seed, reward); /* 0.990 and more */
        cr_expect_leq(reward, 1.0 + 1e-6);
    }
}

Test(search_rl, what_it_is_compared_with_does_as_well_as_it_can)
{
    nas_agent_config config = quick(NAS_AGENT_UNIFORM, SHARES_STEPS, 1);
    shares task;

    shares_init(&task);
    cr_expect_float_eq(best_of(&task.env, &config, 20), 0.8003, 1e-3); /* shares.h */
    config.kind = NAS_AGENT_RANDOM;
    const double random = best_of(&task.env, &config, 600);
    config.kind = NAS_AGENT_EVOLUTION;
    const double evolution = best_of(&task.env, &config, 600);
    cr_expect(random > 0.85 && random < 0.97, "random: %g", random);
    cr_expect(evolution > 0.985 && evolution <= 1.0 + 1e-6, "evolution: %g", evolution);
}

/* -- the same bits ---------------------------------------------------------------------------- */

enum { EPISODES = 40 };

/* Keeps the last checkpoint; asks to stop in episode `stop_at`. */
typedef struct keeper {
    nas_observer observer;
    char path[256];
    int checkpoints;
} keeper;

static nas_status keep(void *user, int64_t step, double score, nas_save_fn *save, void *self,
                       nas_err *e)
{
    keeper *k = user;

    k->checkpoints++;
    return save(self, k->path, e);
}

static void keeper_init(keeper *k, const char *name)
{
    *k = (keeper){.observer = {.user = k, .checkpoint = keep}};
    snprintf(k->path, sizeof k->path, "%s", scratch(name));
}

static nas_agent_config early(nas_agent_kind kind)
{
    nas_agent_config config = quick(kind, SHARES_STEPS, 3);

    config.warmup = 10;
    config.replay = 100; /* the ring goes round */
    config.population = 8;
    return config;
}

static void expect_same_file(const char *a, const char *b, const char *what)
{
    char command[600];

    snprintf(command, sizeof command, "cmp -s '%s' '%s'", a, b);
    cr_expect_eq(system(command), 0, "%s: other bits", what);
}

/* Interrupted in the middle of an episode, loaded by another agent, run to the end. */
static void stop_and_go_on(nas_agent_kind kind)
{
    const nas_agent_config config = early(kind);
    const char *name = nas_agent_name(kind);
    keeper whole, halves;
    shares task;

    shares_init(&task);
    keeper_init(&whole, "whole");
    keeper_init(&halves, "halves");
    nas_agent *agent = start(&task.env, &config);
    cr_assert_eq(nas_agent_run(agent, EPISODES, &whole.observer, NULL, &err), NAS_OK);
    nas_agent_free(agent);
    cr_expect_eq(whole.checkpoints, 1);

    shares_init(&task);
    task.interrupt_at = 25 * SHARES_STEPS + 4;
    agent = start(&task.env, &config);
    cr_assert_eq(nas_agent_run(agent, EPISODES, &halves.observer, NULL, &err), NAS_E_INTERRUPTED);
    cr_expect_eq(nas_agent_episodes(agent), 25);
    nas_agent_free(agent);
    agent = start(&task.env, &config);
    cr_assert_eq(nas_agent_load(agent, halves.path, &err), NAS_OK, "%s", err.message);
    cr_expect_eq(nas_agent_episodes(agent), 25);
    cr_assert_eq(nas_agent_run(agent, EPISODES, &halves.observer, NULL, &err), NAS_OK);
    nas_agent_free(agent);
    expect_same_file(whole.path, halves.path, name);
}

Test(search_rl, an_agent_that_was_stopped_goes_on_to_the_same_bits)
{
    for (int kind = 0; kind < NAS_AGENT_KINDS; kind++)
        stop_and_go_on((nas_agent_kind)kind);
}

Test(search_rl, threads_change_no_bit_and_the_seed_does)
{
    nas_agent_config config = early(NAS_AGENT_DDPG);
    keeper one, three;
    double reward[2];
    shares task;

    config.hidden = 160; /* large enough for the kernels to share out */
    keeper_init(&one, "one");
    keeper_init(&three, "three");
    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(i == 0 ? 1 : 3);
        shares_init(&task);
        nas_agent *agent = start(&task.env, &config);
        cr_assert_eq(nas_agent_run(agent, 20, i == 0 ? &one.observer : &three.observer, NULL, &err),
                     NAS_OK);
        reward[0] = nas_agent_best(agent).reward;
        nas_agent_free(agent);
    }
    expect_same_file(one.path, three.path, "threads");
    config.seed++;
    reward[1] = best_of(&task.env, &config, 20);
    cr_expect_neq(reward[0], reward[1]);
}

Test(search_rl, the_best_episode_can_be_played_again_from_a_checkpoint)
{
    const nas_agent_config config = early(NAS_AGENT_EVOLUTION);
    nas_env_outcome outcome;
    keeper k;
    shares task;

    shares_init(&task);
    keeper_init(&k, "best");
    nas_agent *agent = start(&task.env, &config);
    cr_assert_eq(nas_agent_run(agent, EPISODES, &k.observer, NULL, &err), NAS_OK);
    const nas_agent_episode before = nas_agent_best(agent);
    const double reward = before.reward;
    const int64_t number = before.number;
    nas_agent_free(agent);

    agent = start(&task.env, &config);
    cr_expect_eq(nas_agent_best(agent).number, -1);
    cr_assert_eq(nas_agent_load(agent, k.path, &err), NAS_OK);
    const nas_agent_episode best = nas_agent_best(agent);
    cr_expect_eq(best.number, number);
    cr_expect_eq(best.reward, reward);
    cr_assert_eq(nas_agent_replay(&task.env, &best, &outcome, &err), NAS_OK);
    cr_expect_eq(task.sum, reward);
    cr_expect(outcome.done);
    nas_agent_free(agent);
}

static nas_status count_episode(void *user, const nas_agent_episode *e, nas_err *unused)
{
    double *last = user; /* next number, best reward */

    cr_expect_eq(e->number, (int64_t)last[0]++);
    cr_expect_eq(e->steps, SHARES_STEPS);
    cr_expect_eq(e->best, e->reward > last[1]);
    if (e->best)
        last[1] = e->reward;
    return NAS_OK;
}

Test(search_rl, a_watcher_is_told_of_every_episode)
{
    const nas_agent_config config = early(NAS_AGENT_RANDOM);
    double last[2] = {0.0, -INFINITY};
    const nas_agent_watch watch = {.user = last, .episode = count_episode};
    shares task;

    shares_init(&task);
    nas_agent *agent = start(&task.env, &config);
    cr_assert_eq(nas_agent_run(agent, EPISODES, NULL, &watch, &err), NAS_OK);
    cr_expect_eq(last[0], EPISODES);
    cr_expect_eq(last[1], nas_agent_best(agent).reward);
    nas_agent_free(agent);
}

Test(search_rl, a_checkpoint_of_another_agent_is_refused)
{
    nas_agent_config config = early(NAS_AGENT_DDPG);
    keeper k;
    shares task;

    shares_init(&task);
    keeper_init(&k, "other");
    nas_agent *agent = start(&task.env, &config);
    cr_assert_eq(nas_agent_run(agent, 2, &k.observer, NULL, &err), NAS_OK);
    nas_agent_free(agent);
    config.hidden++;
    agent = start(&task.env, &config);
    cr_expect_eq(nas_agent_load(agent, k.path, &err), NAS_E_DATA);
    cr_expect_eq(nas_agent_episodes(agent), 0);
    nas_agent_free(agent);
    config.kind = NAS_AGENT_RANDOM;
    agent = start(&task.env, &config);
    cr_expect_eq(nas_agent_load(agent, k.path, &err), NAS_E_DATA);
    cr_expect(strstr(err.message, "ddpg"), "%s", err.message);
    nas_agent_free(agent);
}

static void observe_nothing(void *user, float *x)
{
    for (int i = 0; i <= SHARES_STEPS; i++)
        x[i] = NAN;
}

/* Learnt weights that are no numbers any more ask for no number: an error, not a search for one. */
Test(search_rl, a_policy_that_went_astray_is_an_error, .timeout = 20)
{
    nas_agent_config config = early(NAS_AGENT_DDPG);
    shares task;

    config.warmup = 0;
    shares_init(&task);
    task.env.observe = observe_nothing;
    nas_agent *agent = start(&task.env, &config);
    cr_expect_eq(nas_agent_run(agent, 1, NULL, NULL, &err), NAS_E_FAIL);
    cr_expect(strstr(err.message, "not within 0 to 1"), "%s", err.message);
    nas_agent_free(agent);
}

/* Else the next transition would be stored outside the memory of them. */
Test(search_rl, a_checkpoint_with_impossible_counters_is_refused)
{
    const nas_agent_config config = early(NAS_AGENT_DDPG);
    const int64_t counts[] = {INT64_MAX, -1};
    shares task;

    shares_init(&task);
    for (size_t i = 0; i < 2; i++) {
        nas_agent *agent = start(&task.env, &config);
        ((nas_rl__ddpg_agent *)agent->state)->stored = counts[i];
        cr_assert_eq(nas_agent_save(agent, scratch("counters"), &err), NAS_OK);
        nas_agent_free(agent);
        agent = start(&task.env, &config);
        cr_expect_eq(nas_agent_load(agent, scratch("counters"), &err), NAS_E_DATA);
        nas_agent_free(agent);
    }
}

Test(search_rl, settings_out_of_range_are_refused)
{
    nas_agent_config config = early(NAS_AGENT_DDPG);
    nas_agent *agent;
    shares task;

    shares_init(&task);
    config.hidden = 0;
    cr_expect_eq(nas_agent_new(&agent, &task.env, &config, &err), NAS_E_CONFIG);
    cr_expect_null(agent);
    config = early(NAS_AGENT_DDPG);
    task.env.actions = NAS_ENV_MAX_ACTIONS + 1;
    cr_expect_eq(nas_agent_new(&agent, &task.env, &config, &err), NAS_E_CONFIG);
    for (int kind = 0; kind < NAS_AGENT_KINDS; kind++)
        cr_expect_eq((int)nas_agent_find(nas_agent_name((nas_agent_kind)kind)), kind);
    cr_expect_eq(nas_agent_find("ppo"), NAS_AGENT_KINDS);
}
