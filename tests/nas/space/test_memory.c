/* Peak memory of activations, computed by hand. */
#include <criterion/criterion.h>

#include "nas/space/memory.h"
#include "nas/space/space.h"

static const nas_op_spec mbconv = {.type = NAS_OP_MBCONV, .in = 24, .out = 24, .kernel = 3,
                                   .stride = 1, .mid = 144, .expand = 6, .act = NAS_ACT_RELU6};

Test(space_memory, a_block_holds_what_one_convolution_reads_and_writes)
{
    nas_op_spec op = mbconv;
    const nas_op_spec conv = {.type = NAS_OP_CONV, .in = 3, .out = 32, .kernel = 3, .stride = 2,
                              .groups = 1, .bn = true};

    cr_expect_eq(nas_op_memory(&conv, false, 224, 224),
                 4 * (3 * 224 * 224 + 32 * 112 * 112));
    op.stride = 2; /* the depthwise convolution reads the wide map and writes a quarter of it */
    cr_expect_eq(nas_op_memory(&op, false, 56, 56), 4 * (144 * 56 * 56 + 144 * 28 * 28));
    op.out = 600; /* the last one writes more than was read before */
    cr_expect_eq(nas_op_memory(&op, false, 56, 56), 4 * (144 + 600) * 28 * 28);
    op.out = 24;
    cr_expect_eq(nas_op_memory(&op, false, 57, 57), 4 * (144 * 57 * 57 + 144 * 29 * 29));
}

Test(space_memory, what_is_added_at_the_end_waits)
{
    nas_op_spec op = mbconv;

    cr_expect_eq(nas_op_memory(&op, false, 56, 56), 4 * (144 + 144) * 56 * 56);
    cr_expect_eq(nas_op_memory(&op, true, 56, 56), 4 * (144 + 144 + 24) * 56 * 56);
    op.expand = 1.0f; /* no wide map: the depthwise convolution reads the block's input */
    op.mid = op.in;
    cr_expect_eq(nas_op_memory(&op, false, 56, 56), 4 * (24 + 24) * 56 * 56);
    cr_expect_eq(nas_op_memory(&op, true, 56, 56), 4 * (24 + 24 + 24) * 56 * 56);
}

Test(space_memory, a_skipped_block_needs_nothing)
{
    const nas_op_spec zero = {.type = NAS_OP_ZERO, .in = 24, .out = 24};

    cr_expect_eq(nas_op_memory(&zero, true, 56, 56), 0);
}

/* ProxylessNAS: at 112 pixels a stem and a first block without a wide map, then searched blocks, here
 * all with kernel 3 and ratio 3 or 6. */
Test(space_memory, a_network_needs_what_its_worst_block_needs)
{
    nas_space *space;

    cr_assert_eq(nas_space_load(&space, "proxyless-imagenet", NULL), NAS_OK);
    for (int wide = 0; wide < 2; wide++) {
        nas_arch *arch;
        int choice[NAS_MAX_SLOTS] = {0};

        for (int s = 0; s < space->count; s++)
            for (int c = 0; c < space->slots[s].count && space->slots[s].count > 1; c++)
                if (space->slots[s].candidates[c].kernel == 3 &&
                    space->slots[s].candidates[c].expand == (wide ? 6.0f : 3.0f))
                    choice[s] = c;
        cr_assert_eq(nas_space_arch(&arch, space, choice, NULL), NAS_OK);
        const int64_t stem = arch->blocks[0].op.out, mid = arch->blocks[2].op.mid;
        cr_assert_eq(mid, (wide ? 6 : 3) * arch->blocks[1].op.out);
        const int64_t first = 4 * 2 * stem * 112 * 112;
        const int64_t searched = 4 * mid * (112 * 112 + 56 * 56);
        cr_expect_eq(nas_arch_memory(arch, 0), searched > first ? searched : first);
        cr_expect_eq(nas_arch_memory(arch, 448), 4 * nas_arch_memory(arch, 224));
        nas_arch_free(arch);
    }
    nas_space_free(space);
}
