/* Walks a chain of operations from the image to the logits and names each one
 * as the published latency tables do. */
#include "latency/key.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The walk along a chain: what comes next sees an image of h x w. */
typedef struct walk {
    nas_latency_grammar grammar;
    int h, w;
    bool first;  /* nothing was passed yet      */
    bool pooled; /* the mean pool was passed    */
} walk;

/* The mean pool has no key where Logits includes it. */
static bool is_folded(nas_latency_grammar grammar, const nas_op_spec *op, const nas_op_spec *next)
{
    return grammar == NAS_LATENCY_RATIO && op->type == NAS_OP_MEAN_POOL && next &&
           next->type == NAS_OP_LINEAR;
}

/* The published names of the fixed convolutions say nothing of kernel and groups, so only
 * convolutions of the usual form may bear them; NULL for all others. */
static const char *short_name(const walk *at, const nas_op_spec *op, bool shortcut,
                              const nas_op_spec *next)
{
    const bool dense = op->type == NAS_OP_CONV && op->groups <= 1 && !shortcut;

    if (dense && at->first && op->kernel == 3)
        return "Conv";
    if (!dense || op->kernel != 1 || op->stride != 1)
        return NULL;
    if (at->pooled)
        return "Conv_2";
    return next && next->type == NAS_OP_MEAN_POOL ? "Conv_1" : NULL;
}

static bool is_hswish(const nas_op_spec *op)
{
    return op->act == NAS_ACT_HSWISH;
}

/* Squeeze-excite of the usual width is "1", as published; any other is named by its width. */
static int se_value(const nas_op_spec *op)
{
    return op->se == nas_make_divisible(op->mid / 4) ? 1 : op->se;
}

/* The ratio that the space asked for, unless rounding changed the width. */
static double expand_ratio(const nas_op_spec *op)
{
    if (lround((double)op->in * op->expand) == op->mid)
        return op->expand;
    return (double)op->mid / op->in;
}

/* Each writes what follows "TYPE-input:HxWxC-output:HxWxC". */
typedef void write_suffix(char *out, size_t size, const nas_latency_entry *e,
                          nas_latency_grammar grammar);

static void suffix_none(char *out, size_t size, const nas_latency_entry *e,
                        nas_latency_grammar grammar)
{
    out[0] = '\0';
}

static void suffix_mbconv(char *out, size_t size, const nas_latency_entry *e,
                          nas_latency_grammar grammar)
{
    const nas_op_spec *op = &e->op;

    /* The ratio dialect cannot say se and hs: such a block keeps its full name there, so
     * that a table made without them does not pass for one that covers it. */
    if (grammar == NAS_LATENCY_RATIO && !op->se && !is_hswish(op))
        snprintf(out, size, "-expand:%g-kernel:%d-stride:%d-idskip:%d", expand_ratio(op),
                 op->kernel, op->stride, e->shortcut);
    else
        snprintf(out, size, "-expand:%d-kernel:%d-stride:%d-idskip:%d-se:%d-hs:%d", op->mid,
                 op->kernel, op->stride, e->shortcut, se_value(op), is_hswish(op));
}

static void suffix_conv(char *out, size_t size, const nas_latency_entry *e,
                        nas_latency_grammar grammar)
{
    const nas_op_spec *op = &e->op;

    snprintf(out, size, "-kernel:%d-stride:%d-groups:%d-idskip:%d-hs:%d", op->kernel, op->stride,
             op->groups, e->shortcut, is_hswish(op));
}

static void suffix_pool(char *out, size_t size, const nas_latency_entry *e,
                        nas_latency_grammar grammar)
{
    snprintf(out, size, "-kernel:%d-stride:%d-idskip:%d", e->op.kernel, e->op.stride, e->shortcut);
}

static void suffix_identity(char *out, size_t size, const nas_latency_entry *e,
                            nas_latency_grammar grammar)
{
    snprintf(out, size, "-idskip:%d", e->shortcut);
}

/* Its type is "own_" and its name; the published dialects have none. */
static void suffix_own(char *out, size_t size, const nas_latency_entry *e,
                       nas_latency_grammar grammar)
{
    snprintf(out, size, "-kernel:%d-stride:%d-idskip:%d", e->op.kernel, e->op.stride, e->shortcut);
}

static const struct {
    const char *name;
    write_suffix *suffix;
} kinds[NAS_OP_TYPES] = {
    [NAS_OP_CONV] = {"Conv", suffix_conv},
    [NAS_OP_MBCONV] = {"expanded_conv", suffix_mbconv},
    [NAS_OP_ZERO] = {NULL, NULL},
    [NAS_OP_IDENTITY] = {"Identity", suffix_identity},
    [NAS_OP_MAX_POOL] = {"MaxPool2D", suffix_pool},
    [NAS_OP_AVG_POOL] = {"AvgPool2D", suffix_pool},
    [NAS_OP_MEAN_POOL] = {"AvgPool2D", suffix_none},
    [NAS_OP_LINEAR] = {"Logits", suffix_none},
    [NAS_OP_OWN] = {"own_", suffix_own},
};

static void write_key(nas_latency_entry *e, nas_latency_grammar grammar, const char *plain)
{
    const nas_op_spec *op = &e->op;
    const nas_op_cost cost = nas_op_cost_at(op, e->h, e->w);
    char output[48], suffix[128];

    if (op->type == NAS_OP_LINEAR)
        snprintf(output, sizeof output, "%d", op->out);
    else
        snprintf(output, sizeof output, "%dx%dx%d", cost.out_h, cost.out_w, op->out);
    if (plain)
        suffix[0] = '\0';
    else
        kinds[op->type].suffix(suffix, sizeof suffix, e, grammar);
    snprintf(e->key, sizeof e->key, "%s%s-input:%dx%dx%d-output:%s%s",
             plain ? plain : kinds[op->type].name,
             op->type == NAS_OP_OWN ? nas_op_spec_name(op) : "", e->h, e->w, op->in, output,
             suffix);
}

/* Fills `e` for `op` where the walk stands.  The short names are for fixed blocks: two
 * candidates of one slot must not share a key. */
static void describe(nas_latency_entry *e, const walk *at, const nas_op_spec *op, bool shortcut,
                     bool fixed, const nas_op_spec *next)
{
    *e = (nas_latency_entry){.op = *op, .shortcut = shortcut, .h = at->h, .w = at->w};
    if (kinds[op->type].name && !is_folded(at->grammar, op, next))
        write_key(e, at->grammar, fixed ? short_name(at, op, shortcut, next) : NULL);
}

static void advance(walk *at, const nas_op_spec *op, const nas_op_spec *next)
{
    at->first = false;
    at->pooled |= op->type == NAS_OP_MEAN_POOL;
    if (op->type == NAS_OP_ZERO || is_folded(at->grammar, op, next))
        return;
    const nas_op_cost cost = nas_op_cost_at(op, at->h, at->w);

    at->h = cost.out_h;
    at->w = cost.out_w;
}

static walk walk_from(nas_latency_grammar grammar, int image_size)
{
    return (walk){.grammar = grammar, .h = image_size, .w = image_size, .first = true};
}

static nas_status alloc_entries(nas_latency_entry **out, int count, nas_err *err)
{
    *out = malloc((count ? (size_t)count : 1) * sizeof **out);
    if (!*out)
        return nas_fail(err, NAS_E_NOMEM, "no memory for %d latency keys", count);
    return NAS_OK;
}

nas_latency_grammar nas_latency_grammar_of(const nas_space *space)
{
    for (int s = 0; s < space->count; s++)
        for (int c = 0; c < space->slots[s].count; c++) {
            const nas_op_spec *op = &space->slots[s].candidates[c];

            if (op->type == NAS_OP_MBCONV && (op->se || is_hswish(op)))
                return NAS_LATENCY_MID;
        }
    return NAS_LATENCY_RATIO;
}

nas_status nas_latency_arch_entries(nas_latency_entry **out, int *count, const nas_arch *arch,
                                    nas_latency_grammar grammar, int image_size, nas_err *err)
{
    walk at = walk_from(grammar, image_size ? image_size : arch->image_size);
    nas_status status = alloc_entries(out, arch->count, err);

    if (status)
        return status;
    for (int i = 0; i < arch->count; i++) {
        const nas_block_spec *block = &arch->blocks[i];
        const nas_op_spec *next = i + 1 < arch->count ? &block[1].op : NULL;

        describe(&(*out)[i], &at, &block->op, block->shortcut, block->stage < 0, next);
        advance(&at, &block->op, next);
    }
    *count = arch->count;
    return NAS_OK;
}

nas_status nas_latency_space_entries(nas_latency_entry **out, int *count, const nas_space *space,
                                     nas_latency_grammar grammar, int image_size, nas_err *err)
{
    walk at = walk_from(grammar, image_size ? image_size : space->image_size);
    int total = 0;

    for (int s = 0; s < space->count; s++)
        total += space->slots[s].count;
    nas_status status = alloc_entries(out, total, err);

    if (status)
        return status;
    *count = 0;
    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];
        const nas_op_spec *next = s + 1 < space->count ? slot[1].candidates : NULL;

        for (int c = 0; c < slot->count; c++)
            describe(&(*out)[(*count)++], &at, &slot->candidates[c], slot->shortcut,
                     slot->stage < 0, next);
        advance(&at, &slot->candidates[0], next); /* all candidates give the same size */
    }
    return NAS_OK;
}

static bool is_known(const nas_latency_entry *entries, int count, const char *key)
{
    for (int i = 0; i < count; i++)
        if (strcmp(entries[i].key, key) == 0)
            return true;
    return false;
}

int nas_latency_entries_unique(nas_latency_entry *entries, int count)
{
    int kept = 0;

    for (int i = 0; i < count; i++)
        if (entries[i].key[0] && !is_known(entries, kept, entries[i].key))
            entries[kept++] = entries[i];
    return kept;
}
