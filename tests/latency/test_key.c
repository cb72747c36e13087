/* Keys, in both dialects, of every operation of the registry. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "latency/key.h"
#include "tests/latency/published.h"

static nas_err err;

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

static const nas_op_spec stem = {
    .type = NAS_OP_CONV, .in = 3, .out = 8, .kernel = 3, .stride = 2, .groups = 1, .bn = true};
static const nas_op_spec head = {
    .type = NAS_OP_CONV, .in = 16, .out = 64, .kernel = 1, .stride = 1, .groups = 1, .bn = true};
static const nas_op_spec mix = {.type = NAS_OP_CONV, .in = 64, .out = 96, .kernel = 1,
                                .stride = 1, .groups = 1, .act = NAS_ACT_HSWISH};
static const nas_op_spec mean_pool = {.type = NAS_OP_MEAN_POOL, .in = 64, .out = 64};
static const nas_op_spec logits = {.type = NAS_OP_LINEAR, .in = 64, .out = 10, .bias = true};

static const nas_op_spec zero = {.type = NAS_OP_ZERO, .in = 16, .out = 16};

static nas_op_spec mbconv(int in, int out, int kernel, int stride, float expand, int mid)
{
    return (nas_op_spec){.type = NAS_OP_MBCONV, .in = in, .out = out, .kernel = kernel,
                         .stride = stride, .groups = 1, .expand = expand, .mid = mid,
                         .act = NAS_ACT_RELU6};
}

/* Compares the keys of a chain of fixed blocks (or, from `searched` on, searched ones). */
static void expect_keys(const nas_block_spec *blocks, int count, nas_latency_grammar grammar,
                        const char *const *keys)
{
    nas_block_spec copy[16];
    const nas_arch arch = {.image_size = 32, .count = count, .blocks = copy};
    nas_latency_entry *entries;
    int found;

    memcpy(copy, blocks, (size_t)count * sizeof *blocks);
    REQUIRE_OK(nas_latency_arch_entries(&entries, &found, &arch, grammar, 0, &err));
    cr_assert_eq(found, count);
    for (int i = 0; i < count; i++)
        cr_expect_str_eq(entries[i].key, keys[i]);
    free(entries);
}

Test(latency_key, the_ratio_dialect_counts_pooling_with_logits)
{
    const nas_block_spec blocks[] = {
        {stem, false, -1},           {mbconv(8, 16, 3, 1, 1, 8), false, -1},
        {mbconv(16, 16, 7, 1, 6, 96), true, 0}, {zero, true, 0},
        {mbconv(16, 16, 5, 2, 3, 48), false, 1}, {head, false, -1},
        {mean_pool, false, -1},      {logits, false, -1},
    };
    const char *const keys[] = {
        "Conv-input:32x32x3-output:16x16x8",
        "expanded_conv-input:16x16x8-output:16x16x16-expand:1-kernel:3-stride:1-idskip:0",
        "expanded_conv-input:16x16x16-output:16x16x16-expand:6-kernel:7-stride:1-idskip:1",
        "",
        "expanded_conv-input:16x16x16-output:8x8x16-expand:3-kernel:5-stride:2-idskip:0",
        "Conv_1-input:8x8x16-output:8x8x64",
        "",
        "Logits-input:8x8x64-output:10",
    };

    expect_keys(blocks, COUNT_OF(blocks), NAS_LATENCY_RATIO, keys);
}

Test(latency_key, the_mid_dialect_names_pooling_and_feature_mix)
{
    nas_op_spec se = mbconv(16, 16, 5, 2, 4, 64);
    nas_op_spec logits96 = logits;

    se.se = 16;
    se.act = NAS_ACT_HSWISH;
    logits96.in = 96;
    const nas_block_spec blocks[] = {
        {stem, false, -1},     {mbconv(8, 16, 3, 1, 1, 8), false, -1}, {se, false, 0},
        {head, false, -1},     {mean_pool, false, -1},                 {mix, false, -1},
        {logits96, false, -1},
    };
    const char *const keys[] = {
        "Conv-input:32x32x3-output:16x16x8",
        "expanded_conv-input:16x16x8-output:16x16x16-expand:8-kernel:3-stride:1-idskip:0-se:0-hs:0",
        "expanded_conv-input:16x16x16-output:8x8x16-expand:64-kernel:5-stride:2-idskip:0-se:1-hs:1",
        "Conv_1-input:8x8x16-output:8x8x64",
        "AvgPool2D-input:8x8x64-output:1x1x64",
        "Conv_2-input:1x1x64-output:1x1x96",
        "Logits-input:1x1x96-output:10",
    };

    expect_keys(blocks, COUNT_OF(blocks), NAS_LATENCY_MID, keys);
}

Test(latency_key, a_block_that_the_ratio_dialect_cannot_say_does_not_pass_for_another)
{
    nas_op_spec se = mbconv(16, 16, 5, 1, 4, 64), hs = se, odd = se;

    se.se = 16;
    hs.act = NAS_ACT_HSWISH;
    odd.se = 24; /* not the usual width */
    const nas_block_spec blocks[] = {{se, false, 0}, {hs, false, 0}, {odd, true, 0}};
    const char *const keys[] = {
        "expanded_conv-input:32x32x16-output:32x32x16"
        "-expand:64-kernel:5-stride:1-idskip:0-se:1-hs:0",
        "expanded_conv-input:32x32x16-output:32x32x16"
        "-expand:64-kernel:5-stride:1-idskip:0-se:0-hs:1",
        "expanded_conv-input:32x32x16-output:32x32x16"
        "-expand:64-kernel:5-stride:1-idskip:1-se:24-hs:0",
    };

    expect_keys(blocks, COUNT_OF(blocks), NAS_LATENCY_RATIO, keys);
}

Test(latency_key, odd_ratios_and_rounded_widths_stay_apart)
{
    const nas_block_spec blocks[] = {{mbconv(16, 16, 3, 1, 2.5f, 40), false, 0},
                                     {mbconv(16, 16, 3, 1, 3, 56), false, 0}};
    const char *const keys[] = {
        "expanded_conv-input:32x32x16-output:32x32x16-expand:2.5-kernel:3-stride:1-idskip:0",
        "expanded_conv-input:32x32x16-output:32x32x16-expand:3.5-kernel:3-stride:1-idskip:0",
    };

    expect_keys(blocks, COUNT_OF(blocks), NAS_LATENCY_RATIO, keys);
}

Test(latency_key, every_operation_can_be_a_candidate)
{
    const nas_op_spec grouped = {.type = NAS_OP_CONV, .in = 16, .out = 16, .kernel = 5,
                                 .stride = 2, .groups = 4, .act = NAS_ACT_HSWISH};
    const nas_op_spec point = {.type = NAS_OP_CONV, .in = 16, .out = 16, .kernel = 1, .stride = 1,
                               .groups = 1};
    const nas_op_spec max = {.type = NAS_OP_MAX_POOL, .in = 16, .out = 16, .kernel = 3,
                             .stride = 1};
    const nas_op_spec avg = {.type = NAS_OP_AVG_POOL, .in = 16, .out = 16, .kernel = 3,
                             .stride = 2};
    const nas_op_spec same = {.type = NAS_OP_IDENTITY, .in = 16, .out = 16};
    const nas_block_spec blocks[] = {
        {grouped, false, 0}, {point, true, 0}, {max, true, 0}, {avg, false, 0},
        {same, true, 0},     {point, false, 0}, {mean_pool, false, -1},
    };
    const char *const keys[] = {
        "Conv-input:32x32x16-output:16x16x16-kernel:5-stride:2-groups:4-idskip:0-hs:1",
        "Conv-input:16x16x16-output:16x16x16-kernel:1-stride:1-groups:1-idskip:1-hs:0",
        "MaxPool2D-input:16x16x16-output:16x16x16-kernel:3-stride:1-idskip:1",
        "AvgPool2D-input:16x16x16-output:8x8x16-kernel:3-stride:2-idskip:0",
        "Identity-input:8x8x16-output:8x8x16-idskip:1",
        "Conv-input:8x8x16-output:8x8x16-kernel:1-stride:1-groups:1-idskip:0-hs:0",
        "AvgPool2D-input:8x8x64-output:1x1x64",
    };

    expect_keys(blocks, COUNT_OF(blocks), NAS_LATENCY_RATIO, keys);
}

Test(latency_key, an_unusual_stem_does_not_pass_for_the_usual_one)
{
    nas_op_spec wide = stem;

    wide.kernel = 5;
    const nas_block_spec blocks[] = {{wide, false, -1}};
    const char *const keys[] = {
        "Conv-input:32x32x3-output:16x16x8-kernel:5-stride:2-groups:1-idskip:0-hs:0"};

    expect_keys(blocks, 1, NAS_LATENCY_RATIO, keys);
}

static const struct {
    const char *space;
    nas_latency_grammar grammar;
    int entries; /* each key once */
} spaces[] = {
    /* 11 kinds of place x 6 candidates, stem, first block, head, logits */
    {"proxyless-imagenet", NAS_LATENCY_RATIO, 70},
    /* 10 kinds of place x 9 candidates, stem, first block, final expand, pool, mix, logits */
    {"ofa-mbv3-1.2", NAS_LATENCY_MID, 96},
};

Test(latency_key, a_space_needs_each_entry_once)
{
    for (int i = 0; i < COUNT_OF(spaces); i++) {
        nas_space *space;
        nas_latency_entry *entries;
        int all, unique;

        REQUIRE_OK(nas_space_load(&space, spaces[i].space, &err));
        cr_assert_eq(nas_latency_grammar_of(space), spaces[i].grammar);
        REQUIRE_OK(nas_latency_space_entries(&entries, &all, space, spaces[i].grammar, 224, &err));
        unique = nas_latency_entries_unique(entries, all);
        cr_assert_eq(unique, spaces[i].entries, "%s: %d", spaces[i].space, unique);
        for (int a = 0; a < unique; a++)
            for (int b = 0; b < a; b++)
                cr_assert_str_neq(entries[a].key, entries[b].key);
        free(entries);
        nas_space_free(space);
    }
}

Test(latency_key, each_entry_says_what_to_measure)
{
    nas_space *space;
    nas_latency_entry *entries;
    int count;

    REQUIRE_OK(nas_space_load(&space, "proxyless-imagenet", &err));
    REQUIRE_OK(nas_latency_space_entries(&entries, &count, space, NAS_LATENCY_RATIO, 224, &err));
    count = nas_latency_entries_unique(entries, count);
    cr_assert_eq(entries[0].op.type, NAS_OP_CONV);
    cr_assert_eq(entries[0].h, 224);
    cr_assert_eq(entries[count - 1].op.type, NAS_OP_LINEAR);
    cr_assert_eq(entries[count - 1].h, 7); /* with the mean over 7x7 */
    for (int i = 0; i < count; i++)
        cr_assert_eq(entries[i].shortcut, strstr(entries[i].key, "idskip:1") != NULL);
    free(entries);
    nas_space_free(space);
}
