/* An operation as golden files write it. */
#ifndef NAS_TESTS_SUPPORT_GOLDEN_OP_H
#define NAS_TESTS_SUPPORT_GOLDEN_OP_H

#include "ops/layer/op.h"
#include "tests/support/golden.h"

static inline nas_op_spec golden_op(const json_t *op)
{
    const char *act = json_string_value(json_object_get(op, "act"));

    return (nas_op_spec){
        .type = nas_op_find(json_string_value(json_object_get(op, "type"))),
        .in = golden_int(op, "in"),
        .out = golden_int(op, "out"),
        .kernel = golden_int(op, "kernel"),
        .stride = golden_int(op, "stride"),
        .groups = golden_int(op, "groups"),
        .mid = golden_int(op, "mid"),
        .expand = (float)golden_int(op, "expand"),
        .act = act ? (nas_act)nas_act_find(act) : NAS_ACT_NONE,
        .se = golden_int(op, "se"),
        .bn = golden_int(op, "bn"),
        .bias = golden_int(op, "bias"),
    };
}

#endif
