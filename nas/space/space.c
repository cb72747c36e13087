/* A space's checks, its fit to a data set, and the way between choices and architectures. */
#include "nas/space/space.h"

#include <stdio.h>
#include <string.h>

/* Candidates of a slot: what each takes and gives must agree. */
static nas_status check_slot(const nas_slot *slot, nas_err *err)
{
    const nas_op_spec *first = &slot->candidates[0];

    for (int k = 0; k < slot->count; k++) {
        const nas_op_spec *op = &slot->candidates[k];
        const bool last = k == slot->count - 1;
        nas_status status = nas_op_check(op, err);

        if (status == NAS_OK && op->type == NAS_OP_ZERO && (!last || k == 0 || !slot->shortcut))
            status = nas_fail(err, NAS_E_CONFIG,
                              "zero must be the last of several candidates, with a shortcut");
        if (status == NAS_OK && (op->in != first->in || op->out != first->out ||
                                 nas_op_cost_at(op, NAS_MAX_IMAGE_SIZE, 1).out_h !=
                                     nas_op_cost_at(first, NAS_MAX_IMAGE_SIZE, 1).out_h))
            status = nas_fail(err, NAS_E_CONFIG,
                              "%d -> %d channels at another stride than candidate 0", op->in,
                              op->out);
        if (status != NAS_OK) {
            nas_err_prefix(err, "candidate %d", k);
            return status;
        }
    }
    return NAS_OK;
}

/* Stages are numbered upwards and stay together; with min_depth only their last blocks
 * may be skipped. */
static nas_status check_stages(const nas_space *space, nas_err *err)
{
    int last = -1, depth = 0;

    for (int i = 0; i < space->count; i++) {
        const nas_slot *slot = &space->slots[i], *before = i ? slot - 1 : NULL;
        const bool same = before != NULL && before->stage == slot->stage;

        if (slot->stage < -1 || (slot->stage >= 0 && !same && slot->stage <= last))
            return nas_fail(err, NAS_E_CONFIG, "slot %d: stage %d must come after %d, in one piece",
                            i, slot->stage, last);
        if (slot->stage >= 0)
            last = slot->stage;
        depth = same ? depth + 1 : 1;
        if (space->min_depth == 0)
            continue;
        if (nas_slot_has_zero(slot) && (slot->stage < 0 || depth <= space->min_depth))
            return nas_fail(err, NAS_E_CONFIG,
                            "slot %d: cannot be skipped, %d blocks of a stage remain (min_depth)",
                            i, space->min_depth);
        if (slot->stage >= 0 && same && nas_slot_has_zero(before) && !nas_slot_has_zero(slot))
            return nas_fail(err, NAS_E_CONFIG,
                            "slot %d: follows a block that can be skipped, so it must be, too "
                            "(min_depth)", i);
    }
    return NAS_OK;
}

static nas_status check_size(const char *what, int size, nas_err *err)
{
    if (size >= 1 && size <= NAS_MAX_IMAGE_SIZE)
        return NAS_OK;
    return nas_fail(err, NAS_E_CONFIG, "%s is %d, must be between 1 and %d", what, size,
                    NAS_MAX_IMAGE_SIZE);
}

/* Every slot's first candidate: one chain that stands for all, as they agree in shape. */
static nas_status check_chain(const nas_space *space, nas_err *err)
{
    const int choice[NAS_MAX_SLOTS] = {0};
    nas_arch *arch = NULL;
    nas_status status = nas_space_arch(&arch, space, choice, err);

    if (status == NAS_OK)
        status = nas_arch_check(arch, err);
    nas_arch_free(arch);
    return status;
}

nas_status nas_space_check(const nas_space *space, nas_err *err)
{
    nas_status status = check_size("image_size", space->image_size, err);

    if (status != NAS_OK)
        return status;
    if (space->count < 1)
        return nas_fail(err, NAS_E_CONFIG, "a space without slots");
    for (int i = 0; i < space->resolutions; i++)
        if ((status = check_size("resolution", space->resolution[i], err)))
            return status;
    for (int i = 0; i < space->count; i++)
        if ((status = check_slot(&space->slots[i], err))) {
            nas_err_prefix(err, "slot %d", i);
            return status;
        }
    if ((status = check_stages(space, err)))
        return status;
    return check_chain(space, err);
}

nas_status nas_space_fit(nas_space *space, int image_size, int channels, int classes, nas_err *err)
{
    nas_slot *first = &space->slots[0], *last = &space->slots[space->count - 1];
    int64_t needed = 1;
    int kept = 0;
    nas_status status = check_size("image_size", image_size, err);

    for (int i = 0; i < space->count && needed <= NAS_MAX_IMAGE_SIZE; i++)
        if (space->slots[i].candidates[0].stride > 1)
            needed *= space->slots[i].candidates[0].stride;
    if (status == NAS_OK && image_size < needed) {
        status = nas_fail(err, NAS_E_CONFIG,
                          "space %s: images of %d px are too small for its strides, which need %d",
                          space->name, image_size, (int)needed);
        nas_hint(err, "take a space with smaller strides, or import larger images (nas data import --size)");
    }
    if (status == NAS_OK && (channels < 1 || channels > 65536 || classes < 1 || classes > 65536))
        status = nas_fail(err, NAS_E_CONFIG, "%d channels and %d classes: must be 1 to 65536",
                          channels, classes);
    if (status != NAS_OK)
        return status;

    space->image_size = image_size;
    space->channels = channels;
    space->classes = classes;
    for (int k = 0; k < first->count; k++)
        first->candidates[k].in = channels;
    for (int k = 0; k < last->count; k++)
        last->candidates[k].out = classes;
    for (int i = 0; i < space->resolutions; i++)
        if (space->resolution[i] <= image_size)
            space->resolution[kept++] = space->resolution[i];
    space->resolutions = kept;
    return nas_space_check(space, err);
}

int nas_space_largest_size(const nas_space *space)
{
    int largest = space->resolutions > 0 ? 0 : space->image_size;

    for (int i = 0; i < space->resolutions; i++)
        if (space->resolution[i] > largest)
            largest = space->resolution[i];
    return largest;
}

bool nas_space_valid(const nas_space *space, const int *choice)
{
    for (int i = 0; i < space->count; i++) {
        const nas_slot *slot = &space->slots[i];
        const bool zero = nas_slot_has_zero(slot) && choice[i] == slot->count - 1;

        if (choice[i] < 0 || choice[i] >= slot->count)
            return false;
        if (space->min_depth > 0 && i > 0 && !zero && slot->stage >= 0 &&
            slot[-1].stage == slot->stage && nas_slot_has_zero(slot - 1) &&
            choice[i - 1] == slot[-1].count - 1)
            return false; /* a block behind a skipped one of its stage */
    }
    return true;
}

nas_status nas_space_of_arch(nas_space **out, const nas_arch *arch, nas_err *err)
{
    nas_space *space = nas_space_new(err);
    nas_status status = NAS_OK;

    *out = NULL;
    if (space == NULL)
        return NAS_E_NOMEM;
    snprintf(space->name, sizeof space->name, "%s", arch->name);
    space->image_size = arch->image_size;
    space->channels = arch->channels;
    space->classes = arch->classes;
    space->bn_momentum = arch->bn_momentum;
    space->bn_eps = arch->bn_eps;
    for (int i = 0; i < arch->count && status == NAS_OK; i++) {
        const nas_block_spec *block = &arch->blocks[i];

        if (block->op.type != NAS_OP_ZERO)
            status = nas_space_add_slot(space, &block->op, 1, block->shortcut, block->stage, err);
    }
    if (status == NAS_OK && (status = nas_space_check(space, err)) == NAS_OK)
        *out = space;
    else
        nas_space_free(space);
    return status;
}

nas_status nas_space_arch(nas_arch **out, const nas_space *space, const int *choice, nas_err *err)
{
    nas_arch *arch;

    *out = NULL;
    if (!nas_space_valid(space, choice))
        return nas_fail(err, NAS_E_CONFIG, "not a choice of space %s", space->name);
    arch = nas_arch_new(space->count, err);
    if (arch == NULL)
        return NAS_E_NOMEM;
    snprintf(arch->name, sizeof arch->name, "%s", space->name);
    arch->image_size = space->image_size;
    arch->channels = space->channels;
    arch->classes = space->classes;
    arch->bn_momentum = space->bn_momentum;
    arch->bn_eps = space->bn_eps;
    for (int i = 0; i < space->count; i++)
        arch->blocks[i] = (nas_block_spec){.op = space->slots[i].candidates[choice[i]],
                                           .shortcut = space->slots[i].shortcut,
                                           .stage = space->slots[i].stage};
    *out = arch;
    return NAS_OK;
}

/* Index of the candidate that is `block`, or -1.  Dropout is a matter of training. */
static int candidate_of(const nas_slot *slot, const nas_block_spec *block)
{
    nas_op_spec op = block->op;

    for (int k = 0; k < slot->count && block->shortcut == slot->shortcut; k++) {
        op.dropout = slot->candidates[k].dropout;
        if (nas_op_equal(&slot->candidates[k], &op))
            return k;
    }
    return -1;
}

nas_status nas_space_choice_of(const nas_space *space, const nas_arch *arch, int *choice,
                               nas_err *err)
{
    int at = 0; /* block of arch that comes next */

    for (int i = 0; i < space->count; i++) {
        const nas_slot *slot = &space->slots[i];
        const int found = at < arch->count ? candidate_of(slot, &arch->blocks[at]) : -1;

        choice[i] = found >= 0 ? found : slot->count - 1;
        at += found >= 0;
        if (found >= 0 || nas_slot_has_zero(slot)) /* a skipped block need not be written */
            continue;
        if (at == arch->count)
            return nas_fail(err, NAS_E_CONFIG, "%s: has fewer blocks than space %s", arch->name,
                            space->name);

        const nas_op_spec *op = &arch->blocks[at].op;
        return nas_fail(err, NAS_E_CONFIG, "%s: block %d (%s, %d -> %d channels) is not in %s",
                        arch->name, at, nas_op_spec_name(op), op->in, op->out, space->name);
    }
    if (at != arch->count || !nas_space_valid(space, choice))
        return nas_fail(err, NAS_E_CONFIG, "%s: %s space %s", arch->name,
                        at != arch->count ? "has more blocks than" : "skips blocks unlike",
                        space->name);
    return NAS_OK;
}

void nas_space_macs_range(const nas_space *space, int image_size, int64_t *min, int64_t *max)
{
    int side = image_size ? image_size : space->image_size;

    *min = *max = 0;
    /* Slots are independent: candidates agree in shape, and where skipping is tied to
     * depth, skipping all that can be is always allowed. */
    for (int i = 0; i < space->count; i++) {
        const nas_slot *slot = &space->slots[i];
        nas_op_cost low = nas_op_cost_at(&slot->candidates[0], side, side), high = low;

        for (int k = 1; k < slot->count; k++) {
            const nas_op_cost cost = nas_op_cost_at(&slot->candidates[k], side, side);

            if (cost.macs < low.macs)
                low = cost;
            if (cost.macs > high.macs)
                high = cost;
        }
        *min += low.macs;
        *max += high.macs;
        side = low.out_h;
    }
}
