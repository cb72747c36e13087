/* Names, checks and costs of operations, against values computed by hand. */
#include <criterion/criterion.h>
#include <string.h>

#include "ops/layer/op.h"

static const nas_op_spec conv = {
    .type = NAS_OP_CONV, .in = 4, .out = 6, .kernel = 3, .stride = 2, .groups = 2, .bn = true,
    .bias = true, .act = NAS_ACT_RELU6,
};
static const nas_op_spec mbconv = {
    .type = NAS_OP_MBCONV, .in = 8, .out = 16, .kernel = 5, .stride = 2, .mid = 24, .expand = 3,
    .se = 8, .act = NAS_ACT_HSWISH,
};

static const nas_op_spec plain = {.type = NAS_OP_ZERO, .in = 8, .out = 8};

static void expect_refused(nas_op_spec spec, const char *reason)
{
    nas_err err;

    cr_assert_eq(nas_op_check(&spec, &err), NAS_E_CONFIG, "accepted in spite of: %s", reason);
    cr_assert_not_null(strstr(err.message, reason), "%s", err.message);
}

Test(ops_op, names_and_types_go_both_ways)
{
    for (int type = 0; type < NAS_OP_TYPES; type++)
        cr_assert_eq((int)nas_op_find(nas_op_name((nas_op_type)type)), type);
    cr_assert_eq(nas_op_find("convolution"), NAS_OP_TYPES);
    for (int act = NAS_ACT_NONE; act <= NAS_ACT_HSIGMOID; act++)
        cr_assert_eq(nas_act_find(nas_act_name((nas_act)act)), act);
    cr_assert_eq(nas_act_find("gelu"), -1);
}

Test(ops_op, conv_cost_counts_groups_and_odd_sizes)
{
    const nas_op_cost cost = nas_op_cost_at(&conv, 7, 6); /* -> 4 x 3 */

    cr_assert_eq(cost.out_h, 4);
    cr_assert_eq(cost.out_w, 3);
    cr_assert_eq(cost.macs, 2 * 6 * 9 * 12);
    cr_assert_eq(cost.parameters, 2 * 6 * 9 + 12 + 6);
}

Test(ops_op, mbconv_cost_sums_its_four_parts)
{
    const nas_op_cost cost = nas_op_cost_at(&mbconv, 8, 8); /* -> 4 x 4 */

    cr_assert_eq(cost.macs, 8 * 24 * 64 + 24 * 25 * 16 + 2 * 24 * 8 + 24 * 16 * 16);
    cr_assert_eq(cost.parameters, 8 * 24 + 48 + 24 * 25 + 48 + 2 * 24 * 8 + 8 + 24 + 24 * 16 + 32);
}

Test(ops_op, mbconv_without_expansion_has_no_first_convolution)
{
    nas_op_spec spec = mbconv;

    spec.mid = 8;
    spec.expand = 1;
    spec.se = 0;
    cr_assert_eq(nas_op_cost_at(&spec, 8, 8).macs, 8 * 25 * 16 + 8 * 16 * 16);
    cr_assert_eq(nas_op_cost_at(&spec, 8, 8).parameters, 8 * 25 + 16 + 8 * 16 + 32);
    spec.expand = 1.001f; /* the same width behind an expand convolution */
    cr_assert_eq(nas_op_cost_at(&spec, 8, 8).macs, 8 * 8 * 64 + 8 * 25 * 16 + 8 * 16 * 16);
}

Test(ops_op, what_has_no_weights_is_free_and_pools_shrink)
{
    const nas_op_spec zero = {.type = NAS_OP_ZERO, .in = 8, .out = 8};
    const nas_op_spec max = {.type = NAS_OP_MAX_POOL, .in = 8, .out = 8, .kernel = 3, .stride = 2};
    const nas_op_spec mean = {.type = NAS_OP_MEAN_POOL, .in = 8, .out = 8};
    const nas_op_spec linear = {.type = NAS_OP_LINEAR, .in = 8, .out = 10, .bias = true};

    cr_assert_eq(nas_op_cost_at(&zero, 7, 7).macs + nas_op_cost_at(&zero, 7, 7).parameters, 0);
    cr_assert_eq(nas_op_cost_at(&zero, 7, 7).out_h, 7);
    cr_assert_eq(nas_op_cost_at(&max, 7, 7).out_h, 4);
    cr_assert_eq(nas_op_cost_at(&mean, 7, 7).out_h, 1);
    cr_assert_eq(nas_op_cost_at(&linear, 1, 1).macs, 80);
    cr_assert_eq(nas_op_cost_at(&linear, 1, 1).parameters, 90);
}

Test(ops_op, check_accepts_the_good_and_says_what_is_bad)
{
    nas_op_spec s = conv;

    cr_assert_eq(nas_op_check(&conv, NULL), NAS_OK);
    cr_assert_eq(nas_op_check(&mbconv, NULL), NAS_OK);
#define REFUSE(base, change, reason) (s = (base), change, expect_refused(s, reason))
    REFUSE(conv, s.type = NAS_OP_TYPES, "unknown");
    REFUSE(conv, s.in = 0, "in is 0");
    REFUSE(conv, s.out = 65537, "out is 65537");
    REFUSE(conv, s.kernel = 2, "must be odd");
    REFUSE(conv, s.kernel = 33, "kernel is 33");
    REFUSE(conv, s.stride = 0, "stride is 0");
    REFUSE(conv, s.groups = 3, "3 groups do not divide");
    REFUSE(conv, s.act = (nas_act)9, "act is 9");
    REFUSE(conv, (s.in = s.out = 65536, s.groups = 1), "more than 2^30 parameters");
    REFUSE(mbconv, s.mid = 0, "mid is 0");
    REFUSE(mbconv, s.se = -1, "se is -1");
    REFUSE(mbconv, s.expand = 0, "expand is 0");
    REFUSE(mbconv, s.expand = 1, "but mid is 24");
    REFUSE(mbconv, s.expand = 0.0f / 0.0f, "expand is");
    REFUSE(plain, s.out = 4, "8 channels into 4");
    REFUSE(plain, (s.type = NAS_OP_MAX_POOL, s.kernel = 17, s.stride = 1), "kernel is 17");
    REFUSE(plain, (s.type = NAS_OP_IDENTITY, s.stride = 2), "stride is 2");
    REFUSE(plain, (s.type = NAS_OP_LINEAR, s.dropout = 1), "dropout is 1");
}

Test(ops_op, the_largest_operation_at_the_largest_image_does_not_overflow)
{
    const nas_op_spec largest = {.type = NAS_OP_CONV, .in = 32768, .out = 32768, .kernel = 1,
                                 .stride = 1, .groups = 1};

    cr_assert_eq(nas_op_check(&largest, NULL), NAS_OK);
    cr_assert_eq(nas_op_cost_at(&largest, 4096, 4096).macs, INT64_C(1) << 54);
}

Test(ops_op, equal_compares_what_the_type_has)
{
    nas_op_spec other = mbconv;

    other.groups = 7; /* no setting of mbconv */
    other.expand = 2.9f; /* another way to write mid = 24 */
    cr_assert(nas_op_equal(&mbconv, &other));
    other.expand = 1;
    cr_assert_not(nas_op_equal(&mbconv, &other));
    for (int change = 0; change < 6; change++) {
        other = mbconv;
        *(int *[]){&other.in, &other.out, &other.kernel, &other.stride, &other.mid,
                   &other.se}[change] += 2;
        cr_assert_not(nas_op_equal(&mbconv, &other), "change %d", change);
    }
    other = conv;
    other.bn = false;
    cr_assert_not(nas_op_equal(&conv, &other));
    cr_assert_not(nas_op_equal(&conv, &mbconv));
}

Test(ops_op, channel_counts_round_to_eights_and_never_lose_a_tenth)
{
    static const double in[] = {0, 1, 8, 11.9, 12, 16, 19.2, 20.8, 28.8, 31.2, 41.6, 134.4, 249.6};
    static const int out[] = {8, 8, 8, 16, 16, 16, 24, 24, 32, 32, 40, 136, 248};

    for (size_t i = 0; i < sizeof in / sizeof *in; i++)
        cr_assert_eq(nas_make_divisible(in[i]), out[i], "%g -> %d", in[i],
                     nas_make_divisible(in[i]));
}
