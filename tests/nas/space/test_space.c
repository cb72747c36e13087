/* Choices in spaces: sampling, validity, the way to architectures and back, fit. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "nas/space/space.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

static nas_err err;

static nas_space *load(const char *name)
{
    nas_space *space;

    REQUIRE_OK(nas_space_load(&space, name, &err));
    return space;
}

static nas_space *parse(const char *text)
{
    nas_space *space;
    json_t *json;

    REQUIRE_OK(nas_json_parse(&json, text, strlen(text), "text", &err));
    REQUIRE_OK(nas_space_from_json(&space, json, "text", &err));
    json_decref(json);
    return space;
}

/* One stage of 1 + up to 2 more blocks with 2 candidates: 2 + 4 + 8 networks. */
static const char *const elastic =
    "{\"image_size\": 8, \"classes\": 2, \"min_depth\": 1, \"layers\": ["
    "{\"blocks\": 3, \"width\": 8, \"stride\": 2, \"kernel\": [3, 5], \"expand\": 2},"
    "{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 2}]}";

Test(nas_space, every_built_in_space_is_sound_and_described)
{
    int count = 0;

    for (const char *const *name = nas_space_names(); *name != NULL; name++, count++) {
        nas_space *space = load(*name);

        REQUIRE_OK(nas_space_check(space, &err));
        cr_assert_str_eq(space->name, *name);
        cr_assert_gt(strlen(nas_space_summary(*name)), 10);
        nas_space_free(space);
    }
    cr_assert_geq(count, 6);
    cr_assert_null(nas_space_summary("none"));
}

Test(nas_space, proxyless_has_the_published_slots)
{
    nas_space *space = load("proxyless-imagenet");
    int searched = 0, six = 0, alphas = 0;

    for (int i = 0; i < space->count; i++)
        if (space->slots[i].count > 1) {
            searched++;
            six += space->slots[i].count == 6;
            alphas += space->slots[i].count;
            cr_assert_eq(space->slots[i].shortcut, space->slots[i].count == 7);
        }
    cr_assert_eq(searched, 21);
    cr_assert_eq(six, 6);
    cr_assert_eq(alphas, 141);
    static const int order[6][2] = {{3, 3}, {3, 6}, {5, 3}, {5, 6}, {7, 3}, {7, 6}};
    for (int k = 0; k < 6; k++) {
        cr_assert_eq(space->slots[3].candidates[k].kernel, order[k][0]);
        cr_assert_eq(space->slots[3].candidates[k].expand, (float)order[k][1]);
    }
    cr_assert(nas_slot_has_zero(&space->slots[3]) && !nas_slot_has_zero(&space->slots[2]));
    nas_space_free(space);
}

Test(nas_space, ofa_has_25_resolutions_and_skips_the_last_two_blocks_only)
{
    nas_space *space = load("ofa-mbv3-1.0");
    int zeros = 0;

    cr_assert_eq(space->resolutions, 25);
    cr_assert_eq(space->resolution[24], 224);
    for (int i = 0; i < space->count; i++)
        zeros += nas_slot_has_zero(&space->slots[i]);
    cr_assert_eq(zeros, 10);
    nas_space_free(space);
}

Test(nas_space, samples_are_valid_and_repeat_with_the_seed)
{
    for (const char *const *name = nas_space_names(); *name != NULL; name++) {
        nas_space *space = load(*name);
        int first[NAS_MAX_SLOTS], again[NAS_MAX_SLOTS], differ = 0;

        for (uint64_t i = 0; i < 200; i++) {
            nas_rng rng;

            nas_rng_init(&rng, 7, "sample", i);
            nas_space_sample(space, &rng, first);
            cr_assert(nas_space_valid(space, first), "%s, sample %d", *name, (int)i);
            nas_rng_init(&rng, 7, "sample", i);
            nas_space_sample(space, &rng, again);
            cr_assert_eq(memcmp(first, again, sizeof *first * (size_t)space->count), 0);
            nas_rng_init(&rng, 8, "sample", i);
            nas_space_sample(space, &rng, again);
            differ += memcmp(first, again, sizeof *first * (size_t)space->count) != 0;
        }
        cr_assert_geq(differ, 198, "%s: another seed gave the same %d times", *name, 200 - differ);
        nas_space_free(space);
    }
}

/* chi-square over every network of a space against equal probabilities */
static double uniformity(const nas_space *space, int networks, int samples)
{
    int *seen = calloc(4096, sizeof *seen), found = 0;
    double sum = 0;
    nas_rng rng;

    nas_rng_init(&rng, 3, "uniformity", 0);
    for (int n = 0; n < samples; n++) {
        int choice[NAS_MAX_SLOTS], code = 0;

        nas_space_sample(space, &rng, choice);
        for (int i = 0; i < space->count; i++)
            code = code * space->slots[i].count + choice[i];
        seen[code]++;
    }
    for (int code = 0; code < 4096; code++)
        if (seen[code] > 0) {
            const double expected = (double)samples / networks;

            sum += (seen[code] - expected) * (seen[code] - expected) / expected;
            found++;
        }
    free(seen);
    cr_assert_eq(found, networks, "%d of %d networks were drawn", found, networks);
    return sum;
}

Test(nas_space, samples_are_uniform_over_networks_of_any_depth)
{
    nas_space *space = parse(elastic);
    char *decimal;

    REQUIRE_OK(nas_space_count(space, &decimal, NULL, &err));
    cr_assert_str_eq(decimal, "14");
    /* 13 degrees of freedom: above 34.5 once in a thousand; the seed is fixed */
    cr_assert_lt(uniformity(space, 14, 14000), 34.5);
    space->min_depth = 0; /* each zero on its own: 2 * 3 * 3 */
    free(decimal);
    REQUIRE_OK(nas_space_count(space, &decimal, NULL, &err));
    cr_assert_str_eq(decimal, "18");
    cr_assert_lt(uniformity(space, 18, 18000), 40.8); /* 17 degrees */
    free(decimal);
    nas_space_free(space);
}

Test(nas_space, the_largest_space_is_counted_to_the_last_digit)
{
    nas_op_spec candidates[64];
    nas_slot slots[NAS_MAX_SLOTS];
    nas_space space = {.name = "largest", .count = NAS_MAX_SLOTS, .slots = slots};
    double log10_count;
    char *decimal;

    for (int k = 0; k < 64; k++)
        candidates[k] = (nas_op_spec){.type = NAS_OP_IDENTITY, .in = 8, .out = 8};
    for (int i = 0; i < NAS_MAX_SLOTS; i++)
        slots[i] = (nas_slot){.count = 64, .candidates = candidates, .stage = 0};
    REQUIRE_OK(nas_space_count(&space, &decimal, &log10_count, &err)); /* 2^1536 */
    cr_assert_eq(strlen(decimal), 463);
    cr_assert_eq(strncmp(decimal, "24103124269210325885", 20), 0);
    cr_assert_str_eq(decimal + 443, "86857004760339316736");
    cr_assert_float_eq(log10_count, 1536 * 0.30102999566398120, 1e-9);
    free(decimal);
}

Test(nas_space, depth_is_kept_by_valid_choices)
{
    nas_space *space = parse(elastic);
    nas_arch *arch;

    cr_assert(nas_space_valid(space, (int[]){1, 0, 1, 0, 0}));
    cr_assert(nas_space_valid(space, (int[]){1, 0, 2, 0, 0}));
    cr_assert(nas_space_valid(space, (int[]){1, 2, 2, 0, 0}));
    cr_assert_not(nas_space_valid(space, (int[]){1, 2, 0, 0, 0}), "a block behind a skipped one");
    cr_assert_not(nas_space_valid(space, (int[]){2, 0, 0, 0, 0}));
    cr_assert_not(nas_space_valid(space, (int[]){-1, 0, 0, 0, 0}));
    cr_assert_eq(nas_space_arch(&arch, space, (int[]){1, 2, 0, 0, 0}, &err), NAS_E_CONFIG);
    cr_assert_null(arch);
    nas_space_free(space);
}

Test(nas_space, choices_and_architectures_go_both_ways)
{
    for (const char *const *name = nas_space_names(); *name != NULL; name++) {
        nas_space *space = load(*name);

        for (uint64_t n = 0; n < 20; n++) {
            int choice[NAS_MAX_SLOTS], back[NAS_MAX_SLOTS];
            nas_arch *arch;
            nas_rng rng;

            nas_rng_init(&rng, 1, "both", n);
            nas_space_sample(space, &rng, choice);
            REQUIRE_OK(nas_space_arch(&arch, space, choice, &err));
            REQUIRE_OK(nas_arch_check(arch, &err));
            REQUIRE_OK(nas_space_choice_of(space, arch, back, &err));
            cr_assert_eq(memcmp(choice, back, sizeof *choice * (size_t)space->count), 0);
            nas_arch_free(arch);
        }
        nas_space_free(space);
    }
}

Test(nas_space, what_is_not_in_the_space_is_named)
{
    nas_space *space = parse(elastic);
    int choice[NAS_MAX_SLOTS] = {0};
    nas_arch *arch;

    REQUIRE_OK(nas_space_arch(&arch, space, (int[]){0, 0, 2, 0, 0}, &err));
    arch->blocks[4].op.dropout = 0.2f; /* how it is trained, not what it is */
    REQUIRE_OK(nas_space_choice_of(space, arch, choice, &err));
    cr_assert_eq(choice[2], 2);
    arch->blocks[1].op.kernel = 7;
    cr_assert_eq(nas_space_choice_of(space, arch, choice, &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "block 1 (mbconv, 8 -> 8 channels)"), "%s", err.message);
    arch->blocks[1].op.kernel = 3;
    arch->count = 4;
    cr_assert_eq(nas_space_choice_of(space, arch, choice, &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "fewer blocks"), "%s", err.message);
    nas_arch_free(arch);
    nas_space_free(space);
}

Test(nas_space, fit_follows_the_data_set)
{
    nas_space *space = load("proxyless-cifar");
    int choice[NAS_MAX_SLOTS] = {0};
    nas_arch *arch;

    REQUIRE_OK(nas_space_fit(space, 28, 1, 47, &err));
    REQUIRE_OK(nas_space_arch(&arch, space, choice, &err));
    REQUIRE_OK(nas_arch_check(arch, &err));
    cr_assert_eq(arch->image_size, 28);
    cr_assert_eq(arch->blocks[0].op.in, 1);
    cr_assert_eq(arch->blocks[arch->count - 1].op.out, 47);
    nas_arch_free(arch);
    nas_space_free(space);

    space = load("proxyless-imagenet");
    cr_assert_eq(nas_space_fit(space, 31, 3, 10, &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "too small for its strides, which need 32"));
    REQUIRE_OK(nas_space_fit(space, 32, 3, 10, &err));
    cr_assert_eq(nas_space_fit(space, 4097, 3, 10, &err), NAS_E_CONFIG);
    cr_assert_eq(nas_space_fit(space, 32, 0, 10, &err), NAS_E_CONFIG);
    cr_assert_eq(nas_space_fit(space, 32, 3, 65537, &err), NAS_E_CONFIG);
    nas_space_free(space);
}

Test(nas_space, fit_keeps_the_resolutions_that_the_images_have)
{
    nas_space *space = load("ofa-mbv3-1.0");

    REQUIRE_OK(nas_space_fit(space, 160, 3, 10, &err));
    cr_assert_eq(space->resolutions, 9);
    cr_assert_eq(space->resolution[8], 160);
    REQUIRE_OK(nas_space_fit(space, 64, 3, 10, &err));
    cr_assert_eq(space->resolutions, 0);
    nas_space_free(space);
}

Test(nas_space, tiny_takes_small_images_of_any_size)
{
    for (int size = 4; size <= 96; size++) {
        nas_space *space = load("tiny");

        REQUIRE_OK(nas_space_fit(space, size, size % 2 ? 1 : 3, 5, &err));
        nas_space_free(space);
    }
}

/* `--space` takes the file of one network, too: to profile it, for example. */
Test(nas_space, an_architecture_is_a_space_of_one, .init = scratch_init, .fini = scratch_fini)
{
    nas_space *tiny, *space;
    nas_arch *arch, *again;
    int choice[NAS_MAX_SLOTS] = {0};
    char *count;

    cr_assert_eq(nas_space_load(&tiny, "tiny", NULL), NAS_OK);
    choice[4] = tiny->slots[4].count - 1; /* skipped */
    cr_assert_eq(nas_space_arch(&arch, tiny, choice, NULL), NAS_OK);
    cr_assert_eq(nas_arch_save(arch, scratch("net.json"), NULL), NAS_OK);
    cr_assert_eq(nas_space_load(&space, scratch("net.json"), NULL), NAS_OK);
    cr_assert_eq(nas_space_count(space, &count, NULL, NULL), NAS_OK);
    cr_expect_str_eq(count, "1");
    cr_expect_eq(space->count, tiny->count - 1);
    memset(choice, 0, sizeof choice);
    cr_assert_eq(nas_space_arch(&again, space, choice, NULL), NAS_OK);
    char one[NAS_DIGEST_SIZE], two[NAS_DIGEST_SIZE];
    cr_assert_eq(nas_arch_digest(arch, one, NULL), NAS_OK);
    cr_assert_eq(nas_arch_digest(again, two, NULL), NAS_OK);
    cr_expect_str_eq(one, two);
    free(count);
    nas_arch_free(arch);
    nas_arch_free(again);
    nas_space_free(space);
    nas_space_free(tiny);
}

Test(nas_space, built_in_families_come_in_any_width)
{
    static const struct {
        const char *name;
        int stem, second_stage;
    } widths[] = {{"ofa-mbv3-1.0", 16, 40}, {"ofa-mbv3-0.75", 16, 32},
                  {"ofa-proxyless-1.0", 32, 40}, {"ofa-cifar-2", 32, 64}};

    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        nas_space *space;

        cr_assert_eq(nas_space_load(&space, widths[i].name, NULL), NAS_OK, "%s", widths[i].name);
        cr_expect_str_eq(space->name, widths[i].name);
        cr_expect_eq(space->slots[0].candidates[0].out, widths[i].stem, "%s", widths[i].name);
        cr_expect_eq(space->slots[6].candidates[0].out, widths[i].second_stage, "%s: %d",
                     widths[i].name, space->slots[6].candidates[0].out);
        nas_space_free(space);
    }
    static const char *const wrong[] = {"ofa-mbv3-0", "ofa-mbv3-99", "ofa-mbv3-1.0x", "ofa-1.0",
                                        "ofa-mbv3-", "-1", "nan-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        nas_space *space;

        cr_expect_neq(nas_space_load(&space, wrong[i], NULL), NAS_OK, "%s", wrong[i]);
    }
}

Test(nas_space, a_space_with_resolutions_is_for_none_above_them)
{
    nas_space *many = load("ofa-tiny"), *one = load("tiny");

    REQUIRE_OK(nas_space_fit(many, 24, 3, 10, &err));
    REQUIRE_OK(nas_space_fit(one, 24, 3, 10, &err));
    cr_expect_eq(nas_space_largest_size(many), 16);
    cr_expect_eq(nas_space_largest_size(one), 24);
    nas_space_free(many);
    nas_space_free(one);
}
