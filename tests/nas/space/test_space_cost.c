/* MACs, parameters and sizes of the built-in spaces: values computed with the published
 * code (ProxylessNAS, Once-for-All), and the totals of the PyTorch supernets. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nas/space/space.h"
#include "tests/latency/published.h"

static nas_err err;

static nas_space *load(const char *name)
{
    nas_space *space;

    REQUIRE_OK(nas_space_load(&space, name, &err));
    REQUIRE_OK(nas_space_check(space, &err));
    return space;
}

/* In every searched slot the candidate kernel x kernel, expand; the first `depth` blocks of
 * each stage only. */
static nas_arch *uniform(const nas_space *space, int kernel, float expand, int depth)
{
    int choice[NAS_MAX_SLOTS] = {0}, block = 0;
    nas_arch *arch;

    for (int i = 0; i < space->count; i++) {
        const nas_slot *slot = &space->slots[i];

        block = i > 0 && slot[-1].stage == slot->stage ? block + 1 : 0;
        for (int k = 0; k < slot->count; k++)
            if (nas_slot_has_zero(slot) && block >= depth)
                choice[i] = slot->count - 1;
            else if (slot->candidates[k].kernel == kernel && slot->candidates[k].expand == expand)
                choice[i] = k;
    }
    REQUIRE_OK(nas_space_arch(&arch, space, choice, &err));
    REQUIRE_OK(nas_arch_check(arch, &err));
    return arch;
}

static void expect_cost(const nas_arch *arch, int size, double mega_macs, double mega_parameters)
{
    const nas_op_cost cost = nas_arch_cost(arch, size);

    /* the published numbers have three decimals of a million, and four */
    cr_assert_float_eq((double)cost.macs / 1e6, mega_macs, 0.0005001, "%s: %lld MACs, not %.3fM",
                       arch->name, (long long)cost.macs, mega_macs);
    if (mega_parameters > 0)
        cr_assert_float_eq((double)cost.parameters / 1e6, mega_parameters, 0.00005001,
                           "%s: %lld parameters", arch->name, (long long)cost.parameters);
}

Test(nas_space_cost, proxyless_networks_cost_what_the_published_code_counts)
{
    static const struct { int kernel; float expand; int depth; double macs; } golden[] = {
        {3, 3, 9, 257.422}, {3, 6, 9, 472.621}, {5, 3, 9, 284.216}, {5, 6, 9, 526.209},
        {7, 3, 9, 324.407}, {7, 6, 9, 606.591}, {3, 3, 1, 102.529},
    };
    nas_space *space = load("proxyless-imagenet");

    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        nas_arch *arch = uniform(space, golden[i].kernel, golden[i].expand, golden[i].depth);

        expect_cost(arch, 0, golden[i].macs, 0);
        nas_arch_free(arch);
    }
    nas_space_free(space);
}

Test(nas_space_cost, ofa_networks_cost_what_the_published_code_counts)
{
    static const struct {
        const char *space;
        int kernel, depth, size;
        float expand;
        double macs, parameters;
    } golden[] = {
        {"ofa-mbv3-1.0", 7, 4, 224, 6, 566.171, 7.6648},
        {"ofa-mbv3-1.0", 3, 2, 224, 3, 121.279, 3.4108},
        {"ofa-mbv3-1.0", 3, 2, 160, 3, 63.241, 3.4108},
        {"ofa-mbv3-1.0", 3, 2, 128, 3, 41.476, 3.4108},
        {"ofa-mbv3-1.2", 7, 4, 224, 6, 843.101, 10.7016},
        {"ofa-mbv3-1.2", 3, 2, 224, 3, 193.078, 4.6025},
        {"ofa-mbv3-1.2", 3, 2, 160, 3, 100.321, 4.6025},
    };

    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        nas_space *space = load(golden[i].space);
        nas_arch *arch = uniform(space, golden[i].kernel, golden[i].expand, golden[i].depth);

        expect_cost(arch, golden[i].size, golden[i].macs, golden[i].parameters);
        nas_arch_free(arch);
        nas_space_free(space);
    }
}

Test(nas_space_cost, supernets_have_the_weights_of_the_pytorch_ones)
{
    static const struct { const char *name; int64_t parameters; } golden[] = {
        {"proxyless-cifar", 14765978}, {"proxyless-cifar-0.5", 4275922},
        {"proxyless-imagenet", 16034168},
    };

    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        nas_space *space = load(golden[i].name);
        int64_t sum = 0;

        for (int s = 0; s < space->count; s++)
            for (int k = 0; k < space->slots[s].count; k++)
                sum += nas_op_cost_at(&space->slots[s].candidates[k], 1, 1).parameters;
        cr_assert_eq(sum, golden[i].parameters, "%s: %lld", golden[i].name, (long long)sum);
        nas_space_free(space);
    }
}

Test(nas_space_cost, macs_range_is_that_of_the_cheapest_and_dearest_network)
{
    nas_space *space = load("ofa-mbv3-1.0");
    nas_arch *small = uniform(space, 3, 3, 2), *large = uniform(space, 7, 6, 4);
    int64_t min, max;

    nas_space_macs_range(space, 160, &min, &max);
    cr_assert_eq(min, nas_arch_cost(small, 160).macs);
    cr_assert_eq(max, nas_arch_cost(large, 160).macs);
    nas_arch_free(small);
    nas_arch_free(large);
    nas_space_free(space);
}

Test(nas_space_cost, counts_are_exact)
{
    static const struct { const char *name, *count; } golden[] = {
        {"proxyless-imagenet", "221502229807900608"},     /* 6^6 * 7^15 */
        {"proxyless-cifar", "221502229807900608"},
        {"proxyless-cifar-0.5", "221502229807900608"},
        {"ofa-mbv3-1.0", "21758655492572485851"},         /* 7371^5 */
        {"ofa-mbv3-1.2", "21758655492572485851"},
        {"ofa-proxyless-1.3", "195827899433152372659"},   /* 7371^5 * 9 */
        {"tiny", "8000"},                                 /* 4^3 * 5^3 */
    };

    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        nas_space *space = load(golden[i].name);
        char *decimal;
        double log10_count;

        REQUIRE_OK(nas_space_count(space, &decimal, &log10_count, &err));
        cr_assert_str_eq(decimal, golden[i].count);
        cr_assert_float_eq(log10_count, log10(strtod(golden[i].count, NULL)), 1e-12);
        free(decimal);
        nas_space_free(space);
    }
}

Test(nas_space_cost, published_networks_cost_what_is_published)
{
    static const struct { const char *file; double macs, parameters; int size; } golden[] = {
        {"proxyless/proxyless_mobile.config.json", 320.428, 4.0805, 224},
        {"proxyless/proxyless_cpu.config.json", 439.244, 4.3616, 224},
        {"proxyless/proxyless_gpu.config.json", 465.260, 7.1198, 224},
        {"proxyless/proxyless_mobile_14.config.json", 580.883, 6.8576, 224},
        {"ofa/note10_lat-30ms_top1-78.4_finetune-75/net.config.json", 339.352816, 7.465896, 224},
        {"ofa/note10_lat-16ms_top1-75.5_finetune-25/net.config.json", 162.464, 0, 192},
        {"ofa/flops-389M_top1-79.1_finetune-75/net.config.json", 389.487856, 0, 224},
        {"ofa/pixel1_lat-79ms_top1-78.7_finetune-75/net.config.json", 355.469648, 0, 224},
        {"ofa/cpu_lat-11ms_top1-72.0_finetune-25/net.config.json", 160.315, 0, 144},
    };

    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        nas_arch *arch;

        REQUIRE_OK(nas_arch_load(&arch, published(golden[i].file), &err));
        cr_assert_eq(arch->image_size, golden[i].size, "%s", golden[i].file);
        expect_cost(arch, 0, golden[i].macs, golden[i].parameters);
        nas_arch_free(arch);
    }
}

Test(nas_space_cost, published_ofa_networks_are_in_their_spaces)
{
    static const struct { const char *file, *space; } published_in[] = {
        {"ofa/note10_lat-30ms_top1-78.4_finetune-75/net.config.json", "ofa-mbv3-1.2"},
        {"ofa/note10_lat-16ms_top1-75.5_finetune-25/net.config.json", "ofa-mbv3-1.0"},
        {"ofa/flops-389M_top1-79.1_finetune-75/net.config.json", "ofa-mbv3-1.2"},
        {"ofa/pixel1_lat-79ms_top1-78.7_finetune-75/net.config.json", "ofa-mbv3-1.2"},
        {"ofa/cpu_lat-11ms_top1-72.0_finetune-25/net.config.json", "ofa-proxyless-1.3"},
    };

    for (size_t i = 0; i < sizeof published_in / sizeof *published_in; i++) {
        nas_space *space = load(published_in[i].space);
        int choice[NAS_MAX_SLOTS];
        nas_arch *arch, *again;

        REQUIRE_OK(nas_arch_load(&arch, published(published_in[i].file), &err));
        REQUIRE_OK(nas_space_choice_of(space, arch, choice, &err));
        REQUIRE_OK(nas_space_arch(&again, space, choice, &err));
        cr_assert_eq(nas_arch_cost(again, 0).macs, nas_arch_cost(arch, again->image_size).macs);
        cr_assert_eq(nas_arch_cost(again, 0).parameters, nas_arch_cost(arch, 0).parameters);
        nas_arch_free(arch);
        nas_arch_free(again);
        nas_space_free(space);
    }
}

Test(nas_space_cost, a_network_of_other_widths_is_not_in_the_space)
{
    nas_space *space = load("proxyless-imagenet");
    int choice[NAS_MAX_SLOTS];
    nas_arch *arch;

    /* its first stage is 32 wide, the space's 24 */
    REQUIRE_OK(nas_arch_load(&arch, published("proxyless/proxyless_mobile.config.json"), &err));
    cr_assert_eq(nas_space_choice_of(space, arch, choice, &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "proxyless_mobile: block 2 (mbconv, 16 -> 32"), "%s",
                       err.message);
    nas_arch_free(arch);
    nas_space_free(space);
}
