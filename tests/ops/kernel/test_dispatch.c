/* The choice of a set of kernels, and the definitions that all sets share. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernel/kernel.h"

Test(ops_dispatch, reference_and_portable_run_everywhere)
{
    cr_assert_str_eq(nas_kernels_find("reference")->name, "reference");
    cr_assert_str_eq(nas_kernels_find("portable")->name, "portable");
    cr_assert_null(nas_kernels_find("no such set"));
}

Test(ops_dispatch, best_set_is_the_default)
{
    unsetenv("NAS_KERNELS");
    cr_assert_str_eq(nas_kernels_get()->name, nas_kernels_names()[0]);
}

Test(ops_dispatch, environment_names_the_set)
{
    setenv("NAS_KERNELS", "portable", 1);
    cr_assert_str_eq(nas_kernels_get()->name, "portable");
}

Test(ops_dispatch, unknown_name_in_environment_falls_back)
{
    setenv("NAS_KERNELS", "mmx", 1);
    cr_assert_str_eq(nas_kernels_get()->name, nas_kernels_names()[0]);
}

Test(ops_dispatch, use_changes_the_set_and_refuses_unknown_ones)
{
    cr_assert(nas_kernels_use("reference"));
    cr_assert_not(nas_kernels_use("mmx"));
    cr_assert_str_eq(nas_kernels_get()->name, "reference");
}

Test(ops_dispatch, every_set_is_complete)
{
    for (const char *const *name = nas_kernels_names(); *name; name++) {
        /* All members are pointers: none may be missing but packing, `expanded` and
         * `pointwise_dots`, which are offers. */
        nas_kernels set = *nas_kernels_find(*name);
        struct nas_conv_kernels *conv[] = {&set.pointwise, &set.depthwise, &set.conv};
        void *members[sizeof set / sizeof(void *)];

        for (size_t i = 0; i < sizeof conv / sizeof *conv; i++) {
            cr_expect_eq(conv[i]->pack == NULL, conv[i]->packed_floats == NULL);
            conv[i]->pack = nas_kernels_find("portable")->pointwise.pack;
            conv[i]->packed_floats = nas_kernels_find("portable")->pointwise.packed_floats;
        }
        if (set.expanded.worth == NULL)
            set.expanded = nas_kernels_find("portable")->expanded;
        set.pointwise_dots = nas_kernels_find("portable")->pointwise_dots;
        memcpy(members, &set, sizeof members);
        for (size_t i = 0; i < sizeof members / sizeof *members; i++)
            cr_expect_not_null(members[i], "%s, member %zu", *name, i);
    }
}

Test(ops_dispatch, chunks_are_images_up_to_sixteen)
{
    cr_expect_eq(nas_kernel_chunks(1), 1);
    cr_expect_eq(nas_kernel_chunks(15), 15);
    cr_expect_eq(nas_kernel_chunks(64), 16);
}

Test(ops_dispatch, activations_by_hand)
{
    static const struct {
        nas_act act;
        float x, value, slope;
    } cases[] = {
        {NAS_ACT_NONE, -2, -2, 1},      {NAS_ACT_RELU, -1, 0, 0},    {NAS_ACT_RELU, 0, 0, 0},
        {NAS_ACT_RELU, 7, 7, 1},        {NAS_ACT_RELU6, 0, 0, 0},    {NAS_ACT_RELU6, 3, 3, 1},
        {NAS_ACT_RELU6, 6, 6, 0},       {NAS_ACT_RELU6, 7, 6, 0},    {NAS_ACT_HSWISH, -3, 0, 0},
        {NAS_ACT_HSWISH, -4, 0, 0},     {NAS_ACT_HSWISH, 0, 0, 0.5f}, {NAS_ACT_HSWISH, 4, 4, 1},
        {NAS_ACT_HSIGMOID, -3, 0, 0},   {NAS_ACT_HSIGMOID, 3, 1, 0},
        {NAS_ACT_HSIGMOID, 0, 0.5f, 1.0f / 6},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_float_eq(nas_act_value(cases[i].act, cases[i].x), cases[i].value, 1e-7f);
        cr_expect_float_eq(nas_act_slope(cases[i].act, cases[i].x), cases[i].slope, 1e-7f);
    }
    cr_expect(isnan(nas_act_value(NAS_ACT_RELU, NAN)), "not-a-number must not be hidden");
    cr_expect(isnan(nas_act_value(NAS_ACT_RELU6, NAN)), "not-a-number must not be hidden");
}
