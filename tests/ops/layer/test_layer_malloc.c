/* A step of a layer allocates nothing. */
#include <criterion/criterion.h>

#include "tests/ops/layer/rig.h"
#include "tests/support/allocations.h"

Test(ops_layer_malloc, training_and_evaluation_allocate_nothing)
{
    static const nas_op_spec specs[] = {
        {NAS_OP_CONV, 3, 16, 3, 2, 1, .act = NAS_ACT_RELU6, .bn = true},
        {NAS_OP_CONV, 16, 16, 1, 1, 1, .act = NAS_ACT_RELU, .bias = true},
        {NAS_OP_MBCONV, 8, 8, 5, 1, .mid = 48, .expand = 6, .act = NAS_ACT_HSWISH, .se = 16},
        {NAS_OP_IDENTITY, .in = 9, .out = 9},
        {NAS_OP_ZERO, .in = 9, .out = 9},
        {NAS_OP_MAX_POOL, 9, 9, .kernel = 3, .stride = 2},
        {NAS_OP_AVG_POOL, 9, 9, .kernel = 3, .stride = 2},
        {NAS_OP_MEAN_POOL, .in = 19, .out = 19},
        {NAS_OP_LINEAR, 16, 10, .act = NAS_ACT_HSWISH, .bias = true, .dropout = 0.5f},
    };

    for (const char *const *name = nas_kernels_names(); *name; name++)
        for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
            const int side = specs[i].type == NAS_OP_LINEAR ? 1 : 6;
            rig r;

            rig_init(&r, &specs[i], 3, side, side, *name);
            cr_assert_gt(allocations, 0); /* the counters count */
            const long before = allocations;
            rig_step(&r);
            r.run.train = r.run.keep = false;
            nas_layer_forward(&r.layer, &r.run, r.params, r.x, NULL, r.y);
            cr_expect_eq(allocations, before, "%s, %s: %ld allocations", *name,
                         nas_op_name(specs[i].type), allocations - before);
            rig_fini(&r);
        }
}
