/* Elastic dimensions: what spaces have, limits, samples, corners. */
#include <criterion/criterion.h>
#include <string.h>

#include "nas/elastic/dims.h"

static nas_err err;
static nas_space *space;
static nas_elastic_dims dims;

static void use(const char *name)
{
    cr_assert_eq(nas_space_load(&space, name, &err), NAS_OK, "%s", err.message);
    cr_assert_eq(nas_elastic_dims_of(&dims, space, &err), NAS_OK, "%s", err.message);
}

static void teardown(void) { nas_space_free(space); }

TestSuite(nas_elastic_dims, .fini = teardown);

Test(nas_elastic_dims, spaces_say_what_is_elastic_in_them)
{
    static const struct {
        const char *name;
        int kernels, expands, skip;
    } spaces[] = {{"ofa-mbv3-1.0", 3, 3, 2},   {"ofa-mbv3-0.75", 3, 3, 2},
                  {"ofa-proxyless-1.3", 3, 3, 2}, {"ofa-cifar", 3, 3, 2},
                  {"ofa-cifar-0.5", 3, 3, 2},  {"ofa-tiny", 3, 3, 2},
                  {"proxyless-cifar", 3, 2, 3}, {"tiny", 2, 2, 1}};

    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        use(spaces[i].name);
        cr_expect_eq(dims.kernels, spaces[i].kernels, "%s", spaces[i].name);
        cr_expect_eq(dims.expands, spaces[i].expands, "%s", spaces[i].name);
        cr_expect_eq(dims.skip, spaces[i].skip, "%s: %d", spaces[i].name, dims.skip);
        nas_space_free(space);
        space = NULL;
    }
}

Test(nas_elastic_dims, blocks_that_cannot_share_weights_are_named)
{
    nas_op_spec two[2];

    use("ofa-tiny");
    memcpy(two, space->slots[2].candidates, sizeof two);
    two[1].act = NAS_ACT_RELU6;
    memcpy(space->slots[2].candidates, two, sizeof two);
    cr_expect_eq(nas_elastic_dims_of(&dims, space, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "slot 2") != NULL, "%s", err.message);
    two[1] = two[0];
    two[0].mid *= 16; /* as wide as none, but with kernel 3 */
    memcpy(space->slots[2].candidates, two, sizeof two);
    cr_expect_eq(nas_elastic_dims_of(&dims, space, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "largest") != NULL, "%s", err.message);
}

static nas_elastic_dims limits(int least_kernel, float least_expand, int skip)
{
    nas_elastic_dims out = {.skip = skip};

    for (int i = 0; i < dims.kernels; i++)
        if (dims.kernel[i] >= least_kernel)
            out.kernel[out.kernels++] = dims.kernel[i];
    for (int i = 0; i < dims.expands; i++)
        if (dims.expand[i] >= least_expand)
            out.expand[out.expands++] = dims.expand[i];
    return out;
}

static int depth_of(const int *choice, int stage)
{
    int depth = 0;

    for (int s = 0; s < space->count; s++)
        depth += space->slots[s].stage == stage &&
                 space->slots[s].candidates[choice[s]].type != NAS_OP_ZERO;
    return depth;
}

Test(nas_elastic_dims, samples_keep_to_the_limits_and_reach_all_of_them)
{
    int seen_kernel[8] = {0}, seen_expand[8] = {0}, seen_depth[5] = {0};
    nas_elastic_mask mask;
    nas_rng rng;

    use("ofa-cifar");
    const nas_elastic_dims half = limits(5, 4.0f, 1);
    cr_assert_eq(nas_elastic_mask_make(&mask, space, &half, &err), NAS_OK);
    nas_rng_init(&rng, 1, "test", 0);
    for (int i = 0; i < 3000; i++) {
        int choice[NAS_MAX_SLOTS];

        nas_elastic_sample(space, &mask, &rng, choice);
        cr_assert(nas_space_valid(space, choice));
        cr_assert_eq(nas_elastic_mask_check(&mask, space, choice, &err), NAS_OK);
        seen_depth[depth_of(choice, 1)]++;
        const nas_op_spec *op = &space->slots[2].candidates[choice[2]];
        seen_kernel[op->kernel]++;
        seen_expand[(int)op->expand]++;
    }
    cr_expect_eq(seen_depth[2] + seen_kernel[3] + seen_expand[3], 0);
    /* of 3000: deviation of a fair coin is 27 */
    cr_expect_float_eq(seen_depth[3], 1500, 140);
    cr_expect_float_eq(seen_kernel[5], 1500, 140);
    cr_expect_float_eq(seen_expand[4], 1500, 140);
}

Test(nas_elastic_dims, blocks_skipped_one_by_one_are_as_many_as_in_any_order)
{
    int seen[5] = {0}, first = 0;
    nas_elastic_mask mask;
    nas_rng rng;

    use("proxyless-cifar"); /* the last three of four blocks may each be skipped */
    cr_assert_eq(nas_elastic_mask_make(&mask, space, &dims, &err), NAS_OK);
    nas_rng_init(&rng, 1, "test", 0);
    for (int i = 0; i < 4000; i++) {
        int choice[NAS_MAX_SLOTS];

        nas_elastic_sample(space, &mask, &rng, choice);
        cr_assert(nas_space_valid(space, choice));
        seen[depth_of(choice, 0)]++;
        first += space->slots[3].candidates[choice[3]].type == NAS_OP_ZERO;
    }
    for (int d = 1; d <= 4; d++)
        cr_expect_float_eq(seen[d], 1000, 140, "%d: %d", d, seen[d]);
    cr_expect_float_eq(first, 2000, 160);
}

Test(nas_elastic_dims, a_restricted_space_leads_back)
{
    static int origin[NAS_MAX_SLOTS][NAS_MAX_CANDIDATES];
    int choice[NAS_MAX_SLOTS], whole[NAS_MAX_SLOTS];
    nas_elastic_mask mask;
    nas_space *part;
    nas_rng rng;

    use("ofa-cifar");
    const nas_elastic_dims half = limits(5, 4.0f, 1);
    cr_assert_eq(nas_elastic_mask_make(&mask, space, &half, &err), NAS_OK);
    cr_assert_eq(nas_elastic_restrict(&part, origin, space, &mask, &err), NAS_OK);
    cr_expect_eq(nas_space_check(part, &err), NAS_OK, "%s", err.message);
    nas_rng_init(&rng, 1, "test", 0);
    nas_space_sample(part, &rng, choice);
    for (int s = 0; s < space->count; s++) {
        whole[s] = origin[s][choice[s]];
        cr_expect(nas_op_equal(&part->slots[s].candidates[choice[s]],
                               &space->slots[s].candidates[whole[s]]));
    }
    cr_expect_eq(nas_elastic_mask_check(&mask, space, whole, &err), NAS_OK);
    whole[2] = 0; /* kernel 3, expand 3 */
    cr_expect_eq(nas_elastic_mask_check(&mask, space, whole, &err), NAS_E_CONFIG);
    cr_expect(strstr(err.message, "block 2") != NULL, "%s", err.message);
    nas_space_free(part);
}

Test(nas_elastic_dims, corners_are_the_ends_of_what_is_elastic)
{
    nas_elastic_corner corner[NAS_ELASTIC_CORNERS];
    nas_elastic_mask mask;

    use("ofa-cifar");
    const struct {
        nas_elastic_dims limits;
        int corners;
        const char *first, *last;
    } cases[] = {{limits(7, 6, 0), 1, "k7-e6-deep", "k7-e6-deep"},
                 {limits(3, 6, 0), 3, "k7-e6-deep", "k3-e6-deep"},
                 {limits(3, 6, 1), 4, "k7-e6-deep", "k3-e6-shallow"},
                 {limits(3, 3, 2), 8, "k7-e6-deep", "k3-e3-shallow"}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(nas_elastic_mask_make(&mask, space, &cases[i].limits, &err), NAS_OK);
        const int count = nas_elastic_corners(space, &cases[i].limits, &mask, corner);
        cr_assert_eq(count, cases[i].corners, "%zu: %d", i, count);
        cr_expect_str_eq(corner[0].name, cases[i].first);
        cr_expect_str_eq(corner[count - 1].name, cases[i].last);
        for (int k = 0; k < count; k++)
            cr_expect_eq(nas_elastic_mask_check(&mask, space, corner[k].choice, &err), NAS_OK);
    }
    cr_expect_eq(space->slots[2].candidates[corner[7].choice[2]].kernel, 3);
    cr_expect_eq(depth_of(corner[7].choice, 0), 2);
    cr_expect_eq(depth_of(corner[0].choice, 0), 4);
}
