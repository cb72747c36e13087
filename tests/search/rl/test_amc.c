/* AMC's tables for constant actions and its published policy on MobileNet-V1; budgets and walls. */
#include <criterion/criterion.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "nas/space/memory.h"
#include "search/rl/agent.h"
#include "search/rl/amc.h"
#include "tests/support/allocations.h"

static nas_err err;
static nas_arch *arch;
static nas_prune_plan *plan;

static void setup(void)
{
    cr_assert_eq(nas_arch_load(&arch, NAS_SOURCE_DIR "/examples/architectures/mobilenet-v1.json",
                               &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_prune_plan_new(&plan, arch, &err), NAS_OK, "%s", err.message);
}

static void teardown(void)
{
    nas_prune_plan_free(plan);
    nas_arch_free(arch);
}

TestSuite(search_amc, .init = setup, .fini = teardown);

enum { GROUPS = 14, BIAS = 1000 /* of the classifier, which the published count has as MACs */ };

static nas_status judge(void *user, const int *channels, double *accuracy, nas_err *e)
{
    *accuracy = 0.7;
    return NAS_OK;
}

static nas_amc *start(double limit, bool published)
{
    const nas_amc_config config = {.measure = NAS_AMC_MACS, .limit = limit, .lowest = 0.2,
                                   .published = published};
    nas_amc *amc;

    cr_assert_eq(nas_amc_new(&amc, plan, &config, judge, NULL, &err), NAS_OK, "%s", err.message);
    return amc;
}

/* An episode of one action; returns the last outcome. */
static nas_env_outcome play(nas_amc *amc, double action)
{
    const nas_env *env = nas_amc_env(amc);
    const float a = (float)action;
    nas_env_outcome outcome = {0};
    float x[NAS_ENV_MAX_OBSERVATIONS];
    bool forced = false;

    cr_assert_eq(env->reset(env->user, &err), NAS_OK);
    for (int i = 0; i < env->steps; i++) {
        env->observe(env->user, x);
        for (int f = 0; f < env->observations; f++)
            cr_expect(x[f] >= 0.0f && x[f] <= 1.0f, "step %d, feature %d: %g", i, f, (double)x[f]);
        outcome = (nas_env_outcome){0};
        cr_assert_eq(env->act(env->user, &a, &outcome, &err), NAS_OK);
        forced |= outcome.forced;
        cr_expect_eq(outcome.done, i == env->steps - 1);
    }
    outcome.forced = forced;
    return outcome;
}

Test(search_amc, mobilenet_v1_has_the_published_size)
{
    cr_expect_eq(nas_arch_cost(arch, 0).macs + BIAS, 568741352);
    cr_expect_eq(plan->groups, GROUPS);
}

/* Channels that each of the 15 prunable layers reads, by the public code for constant actions at
 * half of the MACs; the first reads the image. */
Test(search_amc, constant_actions_give_the_published_channels)
{
    static const struct {
        double action, ratio;
        int channels[GROUPS];
    } cases[] = {
        {1.0, 0.501055,
         {32, 64, 128, 128, 256, 256, 512, 368, 104, 104, 104, 104, 208, 208}},
        {0.7, 0.500247, {24, 48, 96, 96, 184, 184, 360, 360, 360, 360, 360, 360, 720, 352}},
        {0.5, 0.262857, {16, 32, 64, 64, 128, 128, 256, 256, 256, 256, 256, 256, 512, 512}},
        {0.2, 0.056541, {8, 16, 32, 32, 56, 56, 104, 104, 104, 104, 104, 104, 208, 208}},
    };
    const double total = (double)nas_arch_cost(arch, 0).macs + BIAS;
    nas_amc *amc = start(0.5 * total - BIAS, true);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        play(amc, cases[i].action);
        for (int g = 0; g < GROUPS; g++)
            cr_expect_eq(nas_amc_channels(amc)[g], cases[i].channels[g], "%g: group %d: %d, not %d",
                         cases[i].action, g, nas_amc_channels(amc)[g], cases[i].channels[g]);
        /* the public code prunes the bias's count along with the weights */
        const double bias = BIAS * nas_amc_channels(amc)[GROUPS - 1] / 1024.0;
        const double macs = (double)nas_prune_cost(plan, nas_amc_channels(amc)).macs + bias;
        cr_expect_float_eq(macs / total, cases[i].ratio, 1e-6, "%g: %g", cases[i].action,
                           macs / total);
    }
    nas_amc_free(amc);
}

Test(search_amc, the_published_policy_has_its_published_cost)
{
    static const int policy[GROUPS] = {24,  48,  96,  80,  192, 200, 328,
                                       352, 368, 360, 328, 400, 736, 752};
    const int64_t macs = nas_prune_cost(plan, policy).macs + BIAS;
    nas_arch *small;

    cr_expect_eq((macs + 500) / 1000, 293871);
    cr_expect_float_eq((double)macs / 568741352.0, 0.516704, 1e-6);
    cr_assert_eq(nas_prune_arch(&small, plan, policy, &err), NAS_OK, "%s", err.message);
    cr_expect_eq(nas_arch_cost(small, 0).macs + BIAS, macs);
    nas_arch_free(small);
}

Test(search_amc, our_wall_never_exceeds_the_budget)
{
    const double total = (double)nas_arch_cost(arch, 0).macs;

    for (int percent = 10; percent <= 100; percent += 10) {
        nas_amc *amc = start(total * percent / 100, false);
        const nas_env_outcome outcome = play(amc, 1.0);
        const double cost = nas_amc_cost(amc, nas_amc_channels(amc));

        cr_expect_leq(cost, total * percent / 100);
        cr_expect_gt(cost, total * (percent - 5) / 100, "%d %%: %g", percent, cost / total);
        cr_expect_eq(outcome.forced, percent < 100);
        cr_expect_eq(outcome.reward, 0.7);
        nas_amc_free(amc);
    }
}

Test(search_amc, what_is_left_of_the_budget_is_spent_on_all_in_proportion)
{
    const double total = (double)nas_arch_cost(arch, 0).macs;

    for (int percent = 20; percent <= 100; percent += 20) {
        nas_amc *amc = start(total * percent / 100, false);

        cr_expect_not(play(amc, 0.2).forced);
        const int *channels = nas_amc_channels(amc);
        const double cost = nas_amc_cost(amc, channels);
        cr_expect_leq(cost, total * percent / 100);
        cr_expect_gt(cost, total * (percent - 4) / 100, "%d %%: %g", percent, cost / total);
        for (int g = 1; g < GROUPS; g++) /* each a multiple of 8 of some 32 to 1024 */
            cr_expect_float_eq((double)channels[g] / plan->group[g].channels,
                               (double)channels[GROUPS - 1] / plan->group[GROUPS - 1].channels,
                               0.13, "%d %%: group %d", percent, g);
        nas_amc_free(amc);
    }
}

Test(search_amc, parameters_are_a_budget_as_well)
{
    const double total = (double)nas_arch_cost(arch, 0).parameters;
    const nas_amc_config config = {.measure = NAS_AMC_PARAMETERS, .limit = 0.4 * total,
                                   .lowest = 0.2};
    nas_amc *amc;

    cr_assert_eq(nas_amc_new(&amc, plan, &config, judge, NULL, &err), NAS_OK);
    play(amc, 1.0);
    cr_expect_leq(nas_amc_cost(amc, nas_amc_channels(amc)), 0.4 * total);
    cr_expect_gt(nas_amc_cost(amc, nas_amc_channels(amc)), 0.35 * total);
    nas_amc_free(amc);
}

/* A table of the unpruned network: a millisecond a million MACs, and 0.01 for each layer. */
static nas_latency_table *table_of_plan(void)
{
    nas_latency_table *table = nas_latency_table_new(&err);
    nas_latency_entry *entries;
    int count, h = arch->image_size;

    cr_assert_not_null(table);
    cr_assert_eq(nas_latency_arch_entries(&entries, &count, arch, table->grammar, 0, &err), NAS_OK);
    cr_assert_eq(count, arch->count);
    for (int i = 0; i < count; i++) {
        const nas_op_cost cost = nas_op_cost_at(&arch->blocks[i].op, h, h);
        const nas_latency_stat stat = {.mean = 0.01 + (double)cost.macs / 1e6};

        if (entries[i].key[0] != '\0' && nas_latency_table_find(table, entries[i].key) == NULL)
            cr_assert_eq(nas_latency_table_add(table, entries[i].key, &stat, &err), NAS_OK, "%s",
                         err.message);
        h = cost.out_h;
    }
    free(entries);
    return table;
}

static nas_amc *start_with_table(const nas_latency_table *table, double share)
{
    const double whole = 569.0 + 0.01 * arch->count;
    const nas_amc_config config = {.measure = NAS_AMC_LATENCY, .limit = share * whole,
                                   .table = table, .lowest = 0.2};
    nas_amc *amc;

    cr_assert_eq(nas_amc_new(&amc, plan, &config, judge, NULL, &err), NAS_OK, "%s", err.message);
    return amc;
}

Test(search_amc, a_table_of_the_unpruned_layers_is_a_budget)
{
    nas_latency_table *table = table_of_plan();
    nas_amc *amc = start_with_table(table, 0.5);
    double least, most;

    nas_amc_range(amc, &least, &most);
    cr_expect_float_eq(most, 569.0, 0.5);
    play(amc, 1.0);
    const double cost = nas_amc_cost(amc, nas_amc_channels(amc));
    cr_expect_leq(cost, 0.5 * (569.0 + 0.01 * arch->count));
    cr_expect_gt(cost, 0.45 * most);
    nas_amc_free(amc);
    nas_latency_table_free(table);
}

/* Each in turn is the tightest: by memory the first layers decide, by parameters the last. */
Test(search_amc, budgets_hold_together_whichever_is_the_tightest)
{
    static const double shares[][NAS_AMC_MEASURES] = {
        [0] = {[NAS_AMC_MACS] = 0.4, [NAS_AMC_PARAMETERS] = 0.9, [NAS_AMC_MEMORY] = 0.95},
        [1] = {[NAS_AMC_MACS] = 0.9, [NAS_AMC_PARAMETERS] = 0.3, [NAS_AMC_LATENCY] = 0.95},
        [2] = {[NAS_AMC_MACS] = 0.9, [NAS_AMC_LATENCY] = 0.35, [NAS_AMC_MEMORY] = 0.9},
        [3] = {[NAS_AMC_MACS] = 0.9, [NAS_AMC_PARAMETERS] = 0.9, [NAS_AMC_MEMORY] = 0.5},
    };
    static const nas_amc_measure tightest[] = {NAS_AMC_MACS, NAS_AMC_PARAMETERS, NAS_AMC_LATENCY,
                                               NAS_AMC_MEMORY};
    nas_latency_table *table = table_of_plan();
    nas_amc *whole = start_with_table(table, 1.0), *amc;
    int all[GROUPS];

    for (int g = 0; g < GROUPS; g++)
        all[g] = plan->group[g].channels;
    cr_expect_eq(nas_amc_cost_of(whole, NAS_AMC_MEMORY, all), (double)nas_arch_memory(arch, 0));
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        nas_amc_config config = {.measure = NAS_AMC_MACS, .table = table, .lowest = 0.2};

        for (int m = 0; m < NAS_AMC_MEASURES; m++)
            config.beside[m] = shares[i][m] * nas_amc_cost_of(whole, (nas_amc_measure)m, all);
        config.limit = config.beside[NAS_AMC_MACS];
        cr_assert_eq(nas_amc_new(&amc, plan, &config, judge, NULL, &err), NAS_OK, "%s", err.message);
        for (double action = 0.2; action <= 1.0; action += 0.4) {
            play(amc, action);
            for (int m = 0; m < NAS_AMC_MEASURES; m++) {
                const double cost =
                    nas_amc_cost_of(amc, (nas_amc_measure)m, nas_amc_channels(amc));

                cr_expect(config.beside[m] == 0.0 || cost <= config.beside[m], "%zu, %d: %g", i, m,
                          cost / config.beside[m]);
                cr_expect(m != (int)tightest[i] || cost > 0.85 * config.beside[m],
                          "%zu, %d: spent %g", i, m, cost / config.beside[m]);
            }
        }
        nas_amc_free(amc);
    }
    const nas_amc_config low = {.measure = NAS_AMC_MACS, .limit = 1e12, .lowest = 0.2,
                                .beside = {[NAS_AMC_MEMORY] = 1e3}};
    cr_expect_eq(nas_amc_new(&amc, plan, &low, judge, NULL, &err), NAS_E_INFEASIBLE);
    cr_expect(strstr(err.message, "0.000953674 MiB of activations") != NULL, "%s", err.message);
    nas_amc_free(whole);
    nas_latency_table_free(table);
}

/* A cost that cannot be told meets no budget: the episode fails instead. */
Test(search_amc, without_memory_no_policy_slips_past_the_budget)
{
    nas_latency_table *table = table_of_plan();
    nas_amc *amc = start_with_table(table, 0.5);
    const nas_env *env = nas_amc_env(amc);
    const float all = 1.0f;
    nas_env_outcome outcome = {0};

    for (int after = 0; after < 3; after++) {
        cr_assert_eq(env->reset(env->user, &err), NAS_OK);
        allocation_refused = allocations + after;
        cr_expect_eq(env->act(env->user, &all, &outcome, &err), NAS_E_NOMEM, "call %d", after);
        allocation_refused = -1;
    }
    cr_expect_eq(play(amc, 1.0).reward, 0.7);
    nas_amc_free(amc);
    nas_latency_table_free(table);
}

Test(search_amc, a_budget_out_of_reach_is_refused_with_the_range)
{
    const nas_amc_config config = {.measure = NAS_AMC_MACS, .limit = 1e6, .lowest = 0.2};
    nas_amc *amc;

    cr_expect_eq(nas_amc_new(&amc, plan, &config, judge, NULL, &err), NAS_E_INFEASIBLE);
    cr_expect_null(amc);
    cr_expect(strstr(err.message, "the least is 3.2") && strstr(err.message, "5.6874e+08"), "%s",
              err.message);
}

Test(search_amc, the_guaranteed_reward_weighs_errors_by_the_logarithm_of_macs)
{
    const nas_amc_config config = {.measure = NAS_AMC_MACS, .limit = 0.0, .lowest = 0.2,
                                   .guaranteed = true};
    nas_amc *amc;

    cr_assert_eq(nas_amc_new(&amc, plan, &config, judge, NULL, &err), NAS_OK);
    const nas_env_outcome outcome = play(amc, 1.0);
    cr_expect_not(outcome.forced);
    cr_expect_float_eq(outcome.reward, -0.3 * log(568740352.0), 1e-9);
    nas_amc_free(amc);
}

/* Stem, 7 streams, 16 inner widths of 16 expanding blocks, and what the head writes. */
Test(search_amc, mobilenet_v2_shares_channels_along_its_shortcuts)
{
    nas_arch *v2;
    nas_prune_plan *shared;

    cr_assert_eq(nas_arch_load(&v2, NAS_SOURCE_DIR
                               "/examples/architectures/mobilenet-v2-cifar.json", &err), NAS_OK);
    cr_assert_eq(nas_prune_plan_new(&shared, v2, &err), NAS_OK);
    cr_expect_eq(shared->groups, 1 + 7 + 16 + 1);
    nas_prune_plan_free(shared);
    nas_arch_free(v2);
}

/* Accuracy falls with the square of what goes, the faster the nearer to the image. */
static nas_status judge_by_depth(void *user, const int *channels, double *accuracy, nas_err *e)
{
    static const double weight[] = {9, 7, 5, 6, 4, 5, 2, 2, 3, 1.2, 1, 1.5, 0.5, 0.4};
    const nas_prune_plan *p = user;
    double harm = 0.0;

    for (int g = 0; g < p->groups; g++) {
        const double gone = 1.0 - (double)channels[g] / p->group[g].channels;
        harm += weight[g] * gone * gone * (1.0 + gone);
    }
    *accuracy = 0.1 + 0.67 * exp(-0.09 * harm);
    return NAS_OK;
}

/* Each layer by itself had better keep all: that drives the policy against the wall, where the last
 * layers pay for it.  It must come back from there, within 100 episodes. */
Test(search_amc, ddpg_finds_better_than_the_same_share_everywhere, .timeout = 120)
{
    nas_arch *small;
    nas_prune_plan *groups;
    nas_amc *amc;
    double reward[4];

    omp_set_num_threads(1);
    cr_assert_eq(nas_arch_load(&small, NAS_SOURCE_DIR
                               "/examples/architectures/mobilenet-v2-small.json", &err), NAS_OK);
    cr_assert_eq(nas_prune_plan_new(&groups, small, &err), NAS_OK);
    cr_assert_eq(groups->groups, 14);
    const nas_amc_config half = {.measure = NAS_AMC_MACS, .lowest = 0.2,
                                 .limit = 0.5 * (double)nas_arch_cost(small, 0).macs};
    cr_assert_eq(nas_amc_new(&amc, groups, &half, judge_by_depth, groups, &err), NAS_OK);
    for (int seed = 0; seed < 4; seed++) { /* 0: what it is compared with */
        nas_agent_config config = nas_agent_amc(seed > 0 ? NAS_AGENT_DDPG : NAS_AGENT_UNIFORM,
                                                groups->groups, (uint64_t)seed);
        nas_agent *agent;

        config.warmup = 25;
        cr_assert_eq(nas_agent_new(&agent, nas_amc_env(amc), &config, &err), NAS_OK);
        cr_assert_eq(nas_agent_run(agent, 100, NULL, NULL, &err), NAS_OK, "%s", err.message);
        reward[seed] = nas_agent_best(agent).reward;
        nas_agent_free(agent);
        cr_expect(seed == 0 || reward[seed] > reward[0] + 0.01, "seed %d: %g, all alike %g", seed,
                  reward[seed], reward[0]);
        cr_log_info("seed %d: %g", seed, reward[seed]);
    }
    nas_amc_free(amc);
    nas_prune_plan_free(groups);
    nas_arch_free(small);
}
