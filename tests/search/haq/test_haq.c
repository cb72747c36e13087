/* HAQ's environments: costs of the published table, the walk under a budget, episodes. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "latency/table/exchange.h"
#include "search/haq/greedy.h"
#include "search/haq/haq.h"
#include "search/rl/agent.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

enum { SITES = 5, PUBLISHED = 53 };

static nas_err err;

/* Five layers: weights 10, 20, 30, 40, 50; MACs ten times as many. */
static nas_quant_site *made_up(int count)
{
    nas_quant_site *site = calloc((size_t)count, sizeof *site);

    for (int i = 0; i < count; i++) {
        site[i].weights = 10 * (i + 1);
        site[i].macs = 100 * (i + 1);
        site[i].geom = (nas_conv_geom){.h = 4, .w = 4, .cin = i + 1, .cout = i + 2, .k = 3,
                                       .stride = 1 + i % 2};
    }
    return site;
}

/* In thousands of cycles: the clock is one of 1 MHz. */
Test(search_haq, the_published_table_costs_what_it_should)
{
    nas_latency_table *table = NULL;
    nas_quant_site *site = made_up(PUBLISHED);
    nas_budget b = {.kind = NAS_BUDGET_TABLE, .count = PUBLISHED, .site = site, .least = 1,
                    .most = 8, .inputs = true};
    nas_bits bits[PUBLISHED];

    cr_assert_eq(nas_latency_table_import(&table, published("haq_qmobilenetv2_latency_table.npy"),
                                          1.0, &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_budget_load(&b, table, "published", &err), NAS_OK, "%s", err.message);
    cr_expect_float_eq(nas_budget_full(&b), 39624.933, 1e-6);
    for (int i = 0; i < PUBLISHED; i++)
        bits[i] = (nas_bits){2, 2};
    cr_expect_float_eq(nas_budget_cost(&b, bits), 7063.425, 1e-6);
    cr_expect_float_eq(b.table[1][0][0], 401.408, 1e-9);
    cr_expect_float_eq(b.table[1][7][7], 3212.832, 1e-9);
    b.count = PUBLISHED + 1; /* one layer more than the table has */
    free(b.table);
    cr_expect_eq(nas_budget_load(&b, table, "published", &err), NAS_E_INFEASIBLE);
    cr_expect_not_null(strstr(err.message, "layer:53"), "%s", err.message);
    free(b.table);
    b.count = PUBLISHED - 1;
    cr_expect_eq(nas_budget_load(&b, table, "published", &err), NAS_E_INFEASIBLE);
    free(b.table);
    nas_latency_table_free(table);
    free(site);
}

/* One layer as NumPy writes it: cost = base + slope * (weight bits + input bits). */
static void write_table(const char *path, int64_t base, int64_t slope)
{
    const char head[] = "{'descr': '<i8', 'fortran_order': False, 'shape': (1, 8, 8), }";
    unsigned char file[128 + 64 * 8];
    int64_t *cost = (int64_t *)(file + 128);

    memset(file, ' ', sizeof file);
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(file + 10, head, sizeof head - 1);
    file[127] = '\n';
    for (int w = 0; w < 8; w++)
        for (int a = 0; a < 8; a++)
            cost[w * 8 + a] = base + slope * (w + a + 2);
    FILE *out = fopen(path, "wb");
    cr_assert_not_null(out);
    cr_assert_eq(fwrite(file, sizeof file, 1, out), 1);
    fclose(out);
}

Test(search_haq, a_table_by_which_fewer_bits_cost_more_is_refused)
{
    static const int64_t tables[][2] = {{1000, 100}, {0, 0}, {10000, -100}};
    const char *path = scratch("table.npy");

    for (int i = 0; i < 3; i++) {
        nas_latency_table *table = NULL;
        nas_quant_site *site = made_up(1);
        nas_budget b = {.kind = NAS_BUDGET_TABLE, .count = 1, .site = site, .least = 2, .most = 8,
                        .inputs = true};

        write_table(path, tables[i][0], tables[i][1]);
        cr_assert_eq(nas_latency_table_import(&table, path, 1.0, &err), NAS_OK, "%s", err.message);
        cr_expect_eq(nas_budget_load(&b, table, "table", &err), i == 0 ? NAS_OK : NAS_E_DATA,
                     "table %d: %s", i, err.message);
        free(b.table);
        nas_latency_table_free(table);
        free(site);
    }
}

/* Inputs of fewer bits than an agent may choose have costs of their own. */
Test(search_haq, a_table_tells_what_given_inputs_cost)
{
    nas_latency_table *table = NULL;
    nas_quant_site *site = made_up(1);
    nas_budget b = {.kind = NAS_BUDGET_TABLE, .count = 1, .site = site, .least = 4, .most = 8,
                    .input = 2};
    const char *path = scratch("table.npy");
    const nas_bits bits = {5, 2};

    write_table(path, 1000, 100000);
    cr_assert_eq(nas_latency_table_import(&table, path, 1.0, &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_budget_load(&b, table, "table", &err), NAS_OK, "%s", err.message);
    cr_expect_float_eq(nas_budget_cost(&b, &bits), 701.0, 1e-9);
    free(b.table);
    nas_latency_table_free(table);
    free(site);
}

/* The policies that HAQ's README gives, by its own way of counting. */
Test(search_haq, the_published_policy_costs_what_it_should)
{
    static const int policy[PUBLISHED][2] = { /* weight, input; the image's -1 reads 7 bits */
        {8, 7}, {7, 7}, {5, 6}, {4, 6}, {5, 6}, {5, 7}, {5, 6}, {7, 4}, {4, 6}, {4, 6}, {7, 7},
        {5, 6}, {4, 6}, {7, 3}, {5, 7}, {4, 7}, {7, 3}, {5, 7}, {4, 7}, {7, 7}, {4, 7}, {4, 7},
        {6, 4}, {6, 7}, {4, 7}, {7, 4}, {6, 7}, {5, 7}, {7, 4}, {6, 7}, {5, 7}, {7, 4}, {6, 7},
        {6, 7}, {6, 4}, {5, 7}, {6, 7}, {6, 4}, {5, 7}, {6, 7}, {7, 7}, {4, 7}, {7, 7}, {7, 7},
        {4, 7}, {7, 7}, {7, 7}, {4, 7}, {7, 7}, {7, 7}, {4, 7}, {7, 7}, {8, 8}};
    nas_latency_table *table = NULL;
    nas_quant_site *site = made_up(PUBLISHED);
    nas_budget b = {.kind = NAS_BUDGET_TABLE, .count = PUBLISHED, .site = site, .least = 1,
                    .most = 8, .inputs = true};
    nas_bits bits[PUBLISHED];

    cr_assert_eq(nas_latency_table_import(&table, published("haq_qmobilenetv2_latency_table.npy"),
                                          1.0, &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_budget_load(&b, table, "published", &err), NAS_OK, "%s", err.message);
    for (int i = 0; i < PUBLISHED; i++)
        bits[i] = (nas_bits){policy[i][0], policy[i][1]};
    cr_expect_float_eq(nas_budget_cost(&b, bits), 23433.397, 1e-6);
    cr_expect_float_eq(nas_budget_cost(&b, bits) / nas_budget_full(&b), 0.59138, 1e-5);
    free(b.table);
    nas_latency_table_free(table);
    free(site);
}

/* ResNet-50: its first layer, then bottlenecks, the first of each stage with a projection. */
Test(search_haq, the_published_sizes_of_resnet_50_are_what_they_should_be)
{
    enum { LAYERS = 54 };
    static const int policy[LAYERS] = {6, 6, 5, 5, 5, 5, 4, 5, 5, 4, 5, 5, 5, 5, 5, 5, 3, 5,
                                       4, 3, 5, 4, 3, 4, 4, 4, 2, 5, 4, 3, 3, 5, 3, 2, 5, 3,
                                       2, 4, 3, 2, 5, 3, 2, 5, 3, 4, 2, 5, 2, 3, 4, 2, 3, 4};
    static const int blocks[] = {3, 4, 6, 3};
    nas_quant_site site[LAYERS] = {{.weights = 3 * 64 * 49}};
    const nas_budget b = {.kind = NAS_BUDGET_SIZE, .count = LAYERS, .site = site, .least = 1,
                          .most = 8};
    nas_bits bits[LAYERS];
    int n = 1, in = 64;

    for (int stage = 0; stage < 4; stage++)
        for (int block = 0, width = 64 << stage; block < blocks[stage]; block++) {
            const int out = 4 * width;

            site[n++].weights = in * width;
            site[n++].weights = 9 * width * width;
            site[n++].weights = width * out;
            if (block == 0)
                site[n++].weights = in * out;
            in = out;
        }
    site[n++].weights = 2048 * 1000;
    cr_assert_eq(n, LAYERS);
    for (int i = 0; i < LAYERS; i++)
        bits[i] = (nas_bits){policy[i], 0};
    cr_expect_eq(nas_budget_full(&b), 32.0 * 25502912);
    cr_expect_float_eq(nas_budget_cost(&b, bits) / nas_budget_full(&b), 0.0995816, 1e-7);
}

/* 150 weights of 8 bits are 1,200; 1,000 may be.  From the last: 50, 40, 30, 20, 10, then 50. */
Test(search_haq, bits_are_taken_from_the_last_layer_on)
{
    nas_quant_site *site = made_up(SITES);
    nas_budget b = {.kind = NAS_BUDGET_SIZE, .count = SITES, .site = site, .least = 1, .most = 8,
                    .target = 1000.0};
    nas_bits bits[SITES];

    for (int i = 0; i < SITES; i++)
        bits[i] = (nas_bits){8, 0};
    cr_expect(nas_budget_fit(&b, bits));
    static const int expected[] = {7, 7, 7, 7, 6};
    for (int i = 0; i < SITES; i++)
        cr_expect_eq(bits[i].weight, expected[i], "layer %d: %d", i, bits[i].weight);
    cr_expect_float_eq(nas_budget_cost(&b, bits), 1000.0, 1e-9);
    cr_expect_not(nas_budget_fit(&b, bits), "it fits already");
    free(site);
}

/* Linear: the input first, and the budget is looked at before the weight; the ends stay. */
Test(search_haq, inputs_lose_bits_before_weights_and_the_ends_stay)
{
    nas_quant_site *site = made_up(SITES);
    nas_budget b = {.kind = NAS_BUDGET_BITOPS, .count = SITES, .site = site, .least = 2, .most = 8,
                    .inputs = true, .pin_ends = true};
    nas_bits bits[SITES];

    for (int i = 0; i < SITES; i++)
        bits[i] = (nas_bits){8, 8};
    b.target = nas_budget_full(&b) - 400 * 8; /* one bit of the input of layer 3 */
    cr_expect(nas_budget_fit(&b, bits));
    cr_expect_eq(bits[3].input, 7);
    cr_expect_eq(bits[3].weight, 8);
    cr_expect_eq(bits[2].input, 8);
    b.target -= 1; /* not enough: and then the weight of layer 3 */
    bits[3].input = 8;
    nas_budget_fit(&b, bits);
    cr_expect_eq(bits[3].input, 7);
    cr_expect_eq(bits[3].weight, 7);
    b.target = 0; /* all there is */
    bits[0] = bits[4] = (nas_bits){3, 3};
    nas_budget_fit(&b, bits);
    for (int i = 0; i < SITES; i++) {
        const int left = i == 0 || i == 4 ? 8 : 2;
        cr_expect_eq(bits[i].weight, left);
        cr_expect_eq(bits[i].input, left);
    }
    free(site);
}

/* Bytes are of weights: inputs would lose bits for nothing. */
Test(search_haq, inputs_do_not_pay_for_bytes)
{
    nas_quant_site *site = made_up(SITES);
    nas_budget b = {.kind = NAS_BUDGET_SIZE, .count = SITES, .site = site, .least = 2, .most = 8,
                    .inputs = true, .pin_ends = true, .target = 900.0};
    nas_bits bits[SITES];

    for (int i = 0; i < SITES; i++)
        bits[i] = (nas_bits){8, 7};
    cr_expect(nas_budget_fit(&b, bits));
    for (int i = 0; i < SITES; i++) {
        const bool end = i == 0 || i == SITES - 1;
        cr_expect_eq(bits[i].input, end ? 8 : 7, "layer %d: %d", i, bits[i].input);
        cr_expect(end ? bits[i].weight == 8 : bits[i].weight < 8);
    }
    cr_expect_leq(nas_budget_cost(&b, bits), 900.0);
    free(site);
}

Test(search_haq, what_the_walk_took_too_much_is_given_back)
{
    nas_quant_site *site = made_up(SITES);
    nas_budget b = {.kind = NAS_BUDGET_SIZE, .count = SITES, .site = site, .least = 1, .most = 8,
                    .target = 900.0};
    const nas_bits wanted[SITES] = {{8, 0}, {8, 0}, {8, 0}, {8, 0}, {8, 0}};
    nas_bits bits[SITES] = {{7, 0}, {6, 0}, {6, 0}, {6, 0}, {5, 0}}; /* 70+120+180+240+250 */

    nas_budget_give_back(&b, wanted, bits); /* 40 are left: one of 10, one of 20, none of 30 */
    static const int expected[] = {8, 7, 6, 6, 5};
    for (int i = 0; i < SITES; i++)
        cr_expect_eq(bits[i].weight, expected[i], "layer %d: %d", i, bits[i].weight);
    b.target = INFINITY;
    nas_budget_give_back(&b, wanted, bits);
    for (int i = 0; i < SITES; i++)
        cr_expect_eq(bits[i].weight, 8);
    free(site);
}

Test(search_haq, inputs_that_are_given_stay_and_weights_pay)
{
    nas_quant_site *site = made_up(SITES);
    nas_budget b = {.kind = NAS_BUDGET_BITOPS, .count = SITES, .site = site, .least = 2, .most = 8,
                    .input = 6, .pin_ends = true};
    nas_bits bits[SITES];

    for (int i = 0; i < SITES; i++)
        bits[i] = (nas_bits){8, 6};
    b.target = 0;
    cr_expect(nas_budget_fit(&b, bits));
    for (int i = 0; i < SITES; i++) {
        const bool end = i == 0 || i == SITES - 1;
        cr_expect_eq(bits[i].weight, end ? 8 : 2);
        cr_expect_eq(bits[i].input, end ? 8 : 6);
    }
    const double least = nas_budget_cost(&b, bits) / nas_budget_full(&b);
    cr_expect_eq(nas_budget_set(&b, least * 0.999, &err), NAS_E_INFEASIBLE);
    cr_expect_eq(nas_budget_set(&b, least * 1.001, &err), NAS_OK, "%s", err.message);
    free(site);
}

Test(search_haq, a_budget_below_the_least_is_refused_with_the_range)
{
    nas_quant_site *site = made_up(SITES);
    nas_budget b = {.kind = NAS_BUDGET_SIZE, .count = SITES, .site = site, .least = 2, .most = 8};

    cr_expect_eq(nas_budget_set(&b, 0.06, &err), NAS_E_INFEASIBLE);
    cr_expect_not_null(strstr(err.hint, "from 0.0625 to 0.25"), "%s", err.hint);
    cr_expect_eq(nas_budget_set(&b, 0.0625, &err), NAS_OK);
    free(site);
}

Test(search_haq, the_noise_of_few_episodes_fades_as_far_as_that_of_600)
{
    nas_agent_config config = nas_agent_haq(NAS_AGENT_DDPG, SITES, 1);
    const double last = pow(0.99, 580);

    nas_agent_fade(&config, 100);
    cr_expect_float_eq(pow(config.sigma_decay, 80), last, 1e-9);
    config = nas_agent_haq(NAS_AGENT_DDPG, SITES, 1);
    nas_agent_fade(&config, 800);
    cr_expect_eq(config.sigma_decay, 0.99);
    nas_agent_fade(&config, 20); /* nothing but warm-up */
    cr_expect_eq(config.sigma_decay, 0.99);
}

/* What a policy is worth: 1 less 0.01 for each bit away from the layer's number + 3. */
static nas_status judge(void *user, const nas_bits *bits, double *accuracy, nas_err *e)
{
    int *calls = user, away = 0;

    for (int i = 0; i < SITES; i++)
        away += abs(bits[i].weight - (i + 3));
    ++*calls;
    *accuracy = 1.0 - 0.01 * away;
    return NAS_OK;
}

Test(search_haq, an_episode_asks_for_each_layer_and_rewards_at_its_end)
{
    nas_quant_site *site = made_up(SITES);
    int calls = 0;
    const nas_haq_judge judging = {.user = &calls, .judge = judge, .reference = 0.5};
    nas_budget b = {.kind = NAS_BUDGET_SIZE, .count = SITES, .site = site, .least = 1, .most = 8,
                    .target = INFINITY};
    float observation[16];
    nas_env_outcome outcome;
    nas_haq *haq;

    cr_assert_eq(nas_haq_new(&haq, &b, &judging, &err), NAS_OK);
    const nas_env env = nas_haq_env(haq);
    cr_assert_eq(env.observations, 9);
    cr_assert_eq(env.steps, SITES);
    cr_assert_eq(env.reset(env.user, &err), NAS_OK);
    for (int i = 0; i < SITES; i++) {
        const float action = (float)(i + 2.5) / 8.0f; /* i + 3 bits */
        env.observe(env.user, observation);
        for (int f = 0; f < env.observations; f++)
            cr_assert(observation[f] >= 0.0f && observation[f] <= 1.0f, "%d", f);
        cr_expect_float_eq(observation[7], (float)i / 4, 1e-6);
        cr_assert_eq(env.act(env.user, &action, &outcome, &err), NAS_OK);
        cr_expect_eq(outcome.done, i == SITES - 1);
    }
    cr_expect_eq(calls, 1);
    cr_expect_float_eq(outcome.reward, 5.0, 1e-9);
    cr_expect_not(outcome.forced);
    for (int i = 0; i < SITES; i++)
        cr_expect_eq(nas_haq_bits(haq)[i].weight, i + 3);
    nas_haq_free(haq);
    b.inputs = true;
    cr_assert_eq(nas_haq_new(&haq, &b, &judging, &err), NAS_OK);
    cr_expect_eq(nas_haq_env(haq).observations, 10);
    cr_expect_eq(nas_haq_env(haq).steps, 2 * SITES);
    nas_haq_free(haq);
    free(site);
}

static void fill_harm(nas_harm *harm, double at_least)
{
    *harm = (nas_harm){.weight[2] = at_least, .input[2] = at_least};
    nas_harm_complete(harm->weight, 2, 2, 1.0);
    nas_harm_complete(harm->input, 2, 2, 1.0);
}

Test(search_haq, harm_shrinks_with_bits_and_noise_is_taken_out)
{
    double row[NAS_BUDGET_BITS + 1] = {[2] = 8.0, [3] = 2.0, [4] = 3.0};

    nas_harm_complete(row, 2, 4, 0.0);
    static const double expected[] = {0, 0, 8.0, 2.0, 2.0, 0.5, 0.125};
    for (int bits = 2; bits <= 6; bits++)
        cr_expect_float_eq(row[bits], expected[bits], 1e-12, "%d bits", bits);
    double none[NAS_BUDGET_BITS + 1] = {0};
    nas_harm_complete(none, 2, 4, 10.0);
    for (int bits = 3; bits <= 8; bits++)
        cr_expect_lt(none[bits], none[bits - 1], "a bit is always worth something");
}

/* Weights 10, 20, 30, 40, 50 at 2 bits are 300.  Of 130 more, bits of site 0 are worth 7.5 / 10 and
 * then a quarter each: 3 of them come before site 4's first, 0.75 / 50, and 3 behind; its second
 * would cost 50 of the 40 left.  Of the others, with 0.0075 each, the lightest is the best. */
Test(search_haq, greedy_bits_go_where_they_help_most_for_what_they_cost)
{
    nas_quant_site *site = made_up(SITES);
    nas_budget b = {.kind = NAS_BUDGET_SIZE, .count = SITES, .site = site, .least = 2, .most = 8,
                    .input = 4, .target = 430.0};
    nas_harm harm[SITES];
    nas_bits bits[SITES];

    for (int i = 0; i < SITES; i++)
        fill_harm(&harm[i], i == 0 ? 10.0 : i == 4 ? 1.0 : 0.01);
    nas_budget_greedy(&b, harm, bits);
    static const int expected[] = {8, 3, 2, 2, 3};
    for (int i = 0; i < SITES; i++) {
        cr_expect_eq(bits[i].weight, expected[i], "site %d: %d", i, bits[i].weight);
        cr_expect_eq(bits[i].input, 4);
    }
    b.inputs = true; /* they cost nothing here */
    nas_budget_greedy(&b, harm, bits);
    cr_expect_eq(bits[2].input, 8);
    b.kind = NAS_BUDGET_BITOPS;
    b.pin_ends = true;
    b.target = 0.5 * nas_budget_full(&b);
    nas_budget_greedy(&b, harm, bits);
    cr_expect_leq(nas_budget_cost(&b, bits), b.target);
    cr_expect(bits[0].weight == 8 && bits[0].input == 8, "the ends stay");
    cr_expect_gt(bits[1].weight, 2);
    free(site);
}

/* The judge's best policy, given to agents that would not begin with it. */
Test(search_haq, an_agent_begins_with_the_policy_it_is_given)
{
    static const nas_agent_kind kinds[] = {NAS_AGENT_DDPG, NAS_AGENT_EVOLUTION, NAS_AGENT_RANDOM};

    for (int k = 0; k < 3; k++) {
        nas_quant_site *site = made_up(SITES);
        int calls = 0;
        const nas_haq_judge judging = {.user = &calls, .judge = judge};
        const nas_budget b = {.kind = NAS_BUDGET_SIZE, .count = SITES, .site = site, .least = 2,
                              .most = 8, .target = INFINITY};
        nas_bits best[SITES];
        float actions[SITES];
        nas_agent *agent;
        nas_haq *haq;

        for (int i = 0; i < SITES; i++)
            best[i] = (nas_bits){i + 3, 0};
        nas_haq_actions(&b, best, actions);
        cr_assert_eq(nas_haq_new(&haq, &b, &judging, &err), NAS_OK);
        const nas_env env = nas_haq_env(haq);
        const nas_agent_config config = nas_agent_haq(kinds[k], env.steps, 1);
        cr_assert_eq(nas_agent_new(&agent, &env, &config, &err), NAS_OK);
        nas_agent_start(agent, actions);
        cr_assert_eq(nas_agent_run(agent, 1, NULL, NULL, &err), NAS_OK);
        cr_expect_float_eq(nas_agent_best(agent).reward, 10.0, 1e-9, "agent %d", k);
        cr_assert_eq(nas_agent_run(agent, 3, NULL, NULL, &err), NAS_OK);
        cr_expect_eq(nas_agent_best(agent).number, 0);
        nas_agent_free(agent);
        nas_haq_free(haq);
        free(site);
    }
}

Test(search_haq, an_agent_finds_better_bits_than_the_same_everywhere)
{
    static const nas_agent_kind kinds[] = {NAS_AGENT_UNIFORM, NAS_AGENT_EVOLUTION};
    double reward[2];

    for (int k = 0; k < 2; k++) {
        nas_quant_site *site = made_up(SITES);
        int calls = 0;
        const nas_haq_judge judging = {.user = &calls, .judge = judge};
        nas_budget b = {.kind = NAS_BUDGET_SIZE, .count = SITES, .site = site, .least = 1,
                        .most = 8};
        nas_agent *agent;
        nas_haq *haq;

        cr_assert_eq(nas_budget_set(&b, 0.2, &err), NAS_OK);
        cr_assert_eq(nas_haq_new(&haq, &b, &judging, &err), NAS_OK);
        const nas_env env = nas_haq_env(haq);
        const nas_agent_config config = nas_agent_haq(kinds[k], env.steps, 1);
        cr_assert_eq(nas_agent_new(&agent, &env, &config, &err), NAS_OK);
        cr_assert_eq(nas_agent_run(agent, 120, NULL, NULL, &err), NAS_OK);
        reward[k] = nas_agent_best(agent).reward;
        nas_agent_free(agent);
        nas_haq_free(haq);
        free(site);
    }
    cr_expect_gt(reward[1], reward[0] + 0.2, "%g and %g", reward[1], reward[0]);
}
