/* The walk through a network that finds what belongs together. */
#include "nas/prune/plan.h"

#include <stdbool.h>
#include <stdlib.h>

typedef struct walk {
    nas_prune_plan *plan;
    bool *fixed, *read; /* [groups so far] */
    int now;            /* group of what reaches the next block */
} walk;

static int new_group(walk *w, int channels)
{
    const int g = w->plan->groups++;

    w->plan->group[g] = (nas_prune_group){.channels = channels};
    return g;
}

static void fix(walk *w, int g)
{
    if (g != NAS_PRUNE_FIXED)
        w->fixed[g] = true;
}

static void reads(walk *w, int g, int block, nas_prune_axis axis)
{
    if (g == NAS_PRUNE_FIXED || w->read[g])
        return;
    w->read[g] = true;
    w->plan->group[g].block = block;
    w->plan->group[g].axis = axis;
}

/* What a block writes: channels of its own, unless a shortcut adds them to what it reads. */
static int written(walk *w, const nas_block_spec *block)
{
    return block->shortcut ? w->now : new_group(w, block->op.out);
}

static void visit(walk *w, int index)
{
    const nas_block_spec *block = &w->plan->arch->blocks[index];
    const nas_op_spec *op = &block->op;
    int *at = w->plan->at[index];

    at[NAS_PRUNE_IN] = at[NAS_PRUNE_MID] = w->now;
    switch (op->type) {
    case NAS_OP_CONV:
        if (op->groups > 1 && op->groups == op->in && op->in == op->out)
            break; /* depthwise: the channels go through */
        reads(w, w->now, index, NAS_PRUNE_IN);
        at[NAS_PRUNE_OUT] = written(w, block);
        if (op->groups > 1) {
            fix(w, w->now);
            fix(w, at[NAS_PRUNE_OUT]);
        }
        w->now = at[NAS_PRUNE_OUT];
        break;
    case NAS_OP_MBCONV:
        if (op->expand != 1.0f) {
            reads(w, w->now, index, NAS_PRUNE_IN);
            at[NAS_PRUNE_MID] = new_group(w, op->mid);
        }
        reads(w, at[NAS_PRUNE_MID], index, NAS_PRUNE_MID);
        w->now = written(w, block);
        break;
    case NAS_OP_LINEAR:
        reads(w, w->now, index, NAS_PRUNE_IN);
        w->now = written(w, block);
        break;
    default: /* zero, identity, pools */
        break;
    }
    at[NAS_PRUNE_OUT] = w->now;
}

/* Keeps the groups that may change; what nobody reads is the network's output. */
static void settle(walk *w)
{
    nas_prune_plan *p = w->plan;
    int kept = 0;

    fix(w, w->now);
    for (int g = 0; g < p->groups; g++) {
        const int to = w->fixed[g] || !w->read[g] ? NAS_PRUNE_FIXED : kept;

        for (int b = 0; b < p->arch->count; b++)
            for (int a = 0; a < NAS_PRUNE_AXES; a++)
                if (p->at[b][a] == g)
                    p->at[b][a] = to;
        if (to != NAS_PRUNE_FIXED)
            p->group[kept++] = p->group[g];
    }
    p->groups = kept;
}

nas_status nas_prune_plan_new(nas_prune_plan **out, const nas_arch *arch, nas_err *err)
{
    const size_t most = 2 * (size_t)arch->count; /* a block writes two groups at most */
    nas_prune_plan *p = calloc(1, sizeof *p);
    walk w = {.plan = p, .now = NAS_PRUNE_FIXED};
    nas_status status = NAS_OK;

    *out = NULL;
    if (p == NULL)
        return nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
    p->arch = arch;
    p->group = calloc(most, sizeof *p->group);
    p->at = calloc((size_t)arch->count, sizeof *p->at);
    w.fixed = calloc(most, sizeof *w.fixed);
    w.read = calloc(most, sizeof *w.read);
    if (!p->group || !p->at || !w.fixed || !w.read) {
        status = nas_fail(err, NAS_E_NOMEM, "pruning: out of memory");
        goto done;
    }
    for (int b = 0; b < arch->count; b++)
        visit(&w, b);
    settle(&w);
    if (p->groups == 0) {
        status = nas_fail(err, NAS_E_CONFIG, "network %s: there is nothing to prune", arch->name);
        nas_hint(err, "channels between two convolutions, or before a linear layer, can be pruned");
    }

done:
    free(w.fixed);
    free(w.read);
    if (status == NAS_OK)
        *out = p;
    else
        nas_prune_plan_free(p);
    return status;
}

void nas_prune_plan_free(nas_prune_plan *p)
{
    if (p == NULL)
        return;
    free(p->group);
    free(p->at);
    free(p);
}

static int width(int group, const int *channels, int full)
{
    return group == NAS_PRUNE_FIXED ? full : channels[group];
}

nas_op_spec nas_prune_spec(const nas_prune_plan *p, int block, const int *channels)
{
    nas_op_spec op = p->arch->blocks[block].op;
    const int *at = p->at[block];
    const bool depthwise = op.type == NAS_OP_CONV && op.groups > 1 && op.groups == op.in;

    op.in = width(at[NAS_PRUNE_IN], channels, op.in);
    op.out = width(at[NAS_PRUNE_OUT], channels, op.out);
    if (op.type == NAS_OP_MBCONV)
        op.mid = width(at[NAS_PRUNE_MID], channels, op.mid);
    if (depthwise)
        op.groups = op.in;
    return op;
}

nas_status nas_prune_arch(nas_arch **out, const nas_prune_plan *p, const int *channels,
                          nas_err *err)
{
    nas_arch *arch = nas_arch_copy(p->arch, err);

    *out = NULL;
    if (arch == NULL)
        return NAS_E_NOMEM;
    for (int b = 0; b < arch->count; b++)
        arch->blocks[b].op = nas_prune_spec(p, b, channels);
    const nas_status status = nas_arch_check(arch, err);
    if (status == NAS_OK)
        *out = arch;
    else
        nas_arch_free(arch);
    return status;
}

nas_op_cost nas_prune_cost(const nas_prune_plan *p, const int *channels)
{
    nas_op_cost sum = {.out_h = p->arch->image_size, .out_w = p->arch->image_size};

    for (int b = 0; b < p->arch->count; b++) {
        const nas_op_spec op = nas_prune_spec(p, b, channels);
        const nas_op_cost cost = nas_op_cost_at(&op, sum.out_h, sum.out_w);

        sum.macs += cost.macs;
        sum.parameters += cost.parameters;
        sum.out_h = cost.out_h;
        sum.out_w = cost.out_w;
    }
    return sum;
}
