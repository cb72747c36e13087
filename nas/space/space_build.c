/* Puts a space together, layer after layer. */
#include "nas/space/space_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

nas_space *nas_space_new(nas_err *err)
{
    nas_space *space = calloc(1, sizeof *space);
    nas_slot *slots = calloc(NAS_MAX_SLOTS, sizeof *slots);

    if (space == NULL || slots == NULL) {
        nas_fail(err, NAS_E_NOMEM, "no memory for a space");
        free(space);
        free(slots);
        return NULL;
    }
    space->slots = slots;
    return space;
}

void nas_space_free(nas_space *space)
{
    if (space == NULL)
        return;
    for (int i = 0; i < space->count; i++)
        free(space->slots[i].candidates);
    free(space->slots);
    free(space);
}

int nas_space__channels(const nas_space *space)
{
    return space->count ? space->slots[space->count - 1].candidates[0].out : space->channels;
}

nas_status nas_space_add_slot(nas_space *space, const nas_op_spec *candidates, int count,
                              bool shortcut, int stage, nas_err *err)
{
    nas_slot *slot = &space->slots[space->count];

    if (space->count == NAS_MAX_SLOTS)
        return nas_fail(err, NAS_E_CONFIG, "more than %d slots", NAS_MAX_SLOTS);
    if (count < 1 || count > NAS_MAX_CANDIDATES)
        return nas_fail(err, NAS_E_CONFIG, "%d candidates, must be between 1 and %d", count,
                        NAS_MAX_CANDIDATES);
    *slot = (nas_slot){.count = count, .shortcut = shortcut, .stage = stage};
    slot->candidates = malloc((size_t)count * sizeof *candidates);
    if (slot->candidates == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a slot of %d candidates", count);
    memcpy(slot->candidates, candidates, (size_t)count * sizeof *candidates);
    space->count++;
    return NAS_OK;
}

static int next_stage(const nas_space *space)
{
    int last = -1;

    for (int i = 0; i < space->count; i++)
        if (space->slots[i].stage > last)
            last = space->slots[i].stage;
    return last + 1;
}

static nas_op_spec stage_candidate(const nas_space__stage *stage, int in, int stride, int kernel,
                                   float expand)
{
    const int mid = (int)fmin(rint((double)in * (double)expand), 1 << 30);

    return (nas_op_spec){
        .type = NAS_OP_MBCONV, .in = in, .out = stage->width, .kernel = kernel, .stride = stride,
        .mid = mid, .expand = expand, .act = stage->act,
        .se = stage->se ? nas_make_divisible(mid / 4) : 0,
    };
}

nas_status nas_space__add_stage(nas_space *space, const nas_space__stage *stage, nas_err *err)
{
    const int number = next_stage(space);
    nas_op_spec candidates[NAS_MAX_CANDIDATES + 1]; /* 8 kernels x 8 expand ratios, and zero */
    nas_status status = NAS_OK;

    for (int block = 0; block < stage->blocks && status == NAS_OK; block++) {
        const int in = nas_space__channels(space), stride = block ? 1 : stage->stride;
        const bool shortcut = stride == 1 && in == stage->width;
        int count = 0;

        for (int k = 0; k < stage->kernels; k++)
            for (int e = 0; e < stage->expands; e++)
                candidates[count++] =
                    stage_candidate(stage, in, stride, stage->kernel[k], stage->expand[e]);
        if (stage->zero && shortcut && block >= space->min_depth)
            candidates[count++] = (nas_op_spec){.type = NAS_OP_ZERO, .in = in, .out = in};
        status = nas_space_add_slot(space, candidates, count, shortcut, number, err);
    }
    return status;
}
