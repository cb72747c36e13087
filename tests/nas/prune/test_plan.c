/* Which channels belong together, and what they cost. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/json.h"
#include "nas/prune/plan.h"
#include "tests/nas/export/network.h"

static nas_err err;

static nas_arch *arch_of(const char *blocks)
{
    char text[2048];
    json_t *json = NULL;
    nas_arch *arch = NULL;

    snprintf(text, sizeof text,
             "{\"format\": \"onepath.architecture\", \"version\": 1, \"name\": \"t\","
             " \"image_size\": 16, \"channels\": 3, \"classes\": 5,"
             " \"bn\": {\"momentum\": 0.1, \"eps\": 0.001}, \"blocks\": [%s]}", blocks);
    cr_assert_eq(nas_json_parse(&json, text, strlen(text), "test", &err), NAS_OK);
    cr_assert_eq(nas_arch_from_json(&arch, json, "test", &err), NAS_OK, "%s", err.message);
    json_decref(json);
    return arch;
}

#define STEM "{\"op\": \"conv\", \"out\": 16, \"kernel\": 3, \"act\": \"relu\"}"
#define HEAD "{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 5}"

static void expect_at(const nas_prune_plan *plan, int block, int in, int mid, int out)
{
    cr_expect_eq(plan->at[block][NAS_PRUNE_IN], in, "block %d reads", block);
    cr_expect_eq(plan->at[block][NAS_PRUNE_MID], mid, "block %d inside", block);
    cr_expect_eq(plan->at[block][NAS_PRUNE_OUT], out, "block %d writes", block);
}

Test(nas_prune_plan, shortcuts_share_channels_and_depthwise_convolutions_follow)
{
    nas_arch *arch = arch_of(
        STEM ", {\"op\": \"mbconv\", \"out\": 8, \"kernel\": 3, \"expand\": 1, \"act\": \"relu6\"},"
        "{\"op\": \"mbconv\", \"out\": 8, \"kernel\": 3, \"expand\": 6, \"act\": \"relu6\","
        " \"shortcut\": true},"
        "{\"op\": \"conv\", \"out\": 8, \"kernel\": 5, \"groups\": 8, \"act\": \"relu\"},"
        "{\"op\": \"conv\", \"out\": 24, \"kernel\": 1, \"act\": \"relu\"}," HEAD);
    nas_prune_plan *plan;

    cr_assert_eq(nas_prune_plan_new(&plan, arch, &err), NAS_OK, "%s", err.message);
    cr_assert_eq(plan->groups, 4);
    expect_at(plan, 0, NAS_PRUNE_FIXED, NAS_PRUNE_FIXED, 0);
    expect_at(plan, 1, 0, 0, 1); /* no expansion: inside is what it reads */
    expect_at(plan, 2, 1, 2, 1); /* a shortcut: writes what it reads      */
    cr_expect_eq(plan->at[3][NAS_PRUNE_OUT], 1);
    cr_expect_eq(plan->at[4][NAS_PRUNE_OUT], 3);
    cr_expect_eq(plan->at[6][NAS_PRUNE_IN], 3);
    cr_expect_eq(plan->at[6][NAS_PRUNE_OUT], NAS_PRUNE_FIXED);

    const int channels[] = {8, 4, 24, 16};
    const nas_op_spec depthwise = nas_prune_spec(plan, 3, channels);
    const nas_op_spec mbconv = nas_prune_spec(plan, 2, channels);
    cr_expect(depthwise.in == 4 && depthwise.out == 4 && depthwise.groups == 4);
    cr_expect(mbconv.in == 4 && mbconv.mid == 24 && mbconv.out == 4);
    nas_prune_plan_free(plan);
    nas_arch_free(arch);
}

Test(nas_prune_plan, a_pruned_architecture_is_an_ordinary_one_with_the_foretold_cost)
{
    network net = network_of_text(network_every_op);
    nas_prune_plan *plan;
    nas_arch *small, *again = NULL;
    int channels[64];

    cr_assert_eq(nas_prune_plan_new(&plan, net.arch, &err), NAS_OK, "%s", err.message);
    for (int g = 0; g < plan->groups; g++)
        channels[g] = (plan->group[g].channels + 1) / 2;
    cr_assert_eq(nas_prune_arch(&small, plan, channels, &err), NAS_OK, "%s", err.message);
    const nas_op_cost cost = nas_arch_cost(small, 0), told = nas_prune_cost(plan, channels);
    cr_expect_eq(cost.macs, told.macs);
    cr_expect_eq(cost.parameters, told.parameters);
    cr_expect_lt(cost.macs, nas_arch_cost(net.arch, 0).macs);
    json_t *json = nas_arch_to_json(small);
    cr_assert_eq(nas_arch_from_json(&again, json, "again", &err), NAS_OK, "%s", err.message);
    cr_expect_eq(nas_arch_cost(again, 0).macs, cost.macs);
    json_decref(json);
    nas_arch_free(again);
    nas_arch_free(small);
    nas_prune_plan_free(plan);
    network_free(&net);
}

Test(nas_prune_plan, nothing_to_prune_is_an_error)
{
    nas_arch *arch = arch_of("{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 5}");
    nas_prune_plan *plan;

    cr_expect_eq(nas_prune_plan_new(&plan, arch, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "nothing to prune"), "%s", err.message);
    cr_expect_null(plan);
    nas_arch_free(arch);
}
