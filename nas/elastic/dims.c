/* Elastic dimensions of a space: values, limits as masks, samples, corners. */
#include "nas/elastic/dims.h"

#include <stdio.h>
#include <string.h>

static bool is_elastic(const nas_slot *slot)
{
    return slot->count > 1;
}

int nas_elastic_largest(const nas_slot *slot)
{
    int best = 0;

    for (int c = 1; c < slot->count; c++) {
        const nas_op_spec *op = &slot->candidates[c], *b = &slot->candidates[best];

        if (op->type == NAS_OP_MBCONV && op->kernel >= b->kernel && op->mid >= b->mid)
            best = c;
    }
    return best;
}

/* The block must be a part of the largest one. */
static nas_status check_part(const nas_op_spec *op, const nas_op_spec *largest, nas_err *err)
{
    if (op->type != NAS_OP_MBCONV)
        return nas_fail(err, NAS_E_CONFIG, "%s cannot share weights with other operations",
                        nas_op_name(op->type));
    if (op->act != largest->act || (op->se > 0) != (largest->se > 0) ||
        (op->expand == 1.0f) != (largest->expand == 1.0f))
        return nas_fail(err, NAS_E_CONFIG, "its blocks differ in more than kernel and width");
    if (op->kernel > largest->kernel || op->mid > largest->mid || op->se > largest->se)
        return nas_fail(err, NAS_E_CONFIG,
                        "no block of it has both the largest kernel and the largest width");
    return NAS_OK;
}

static nas_status add_kernel(nas_elastic_dims *d, int kernel, nas_err *err)
{
    int at = 0;

    while (at < d->kernels && d->kernel[at] < kernel)
        at++;
    if (at < d->kernels && d->kernel[at] == kernel)
        return NAS_OK;
    if (d->kernels == NAS_ELASTIC_VALUES)
        return nas_fail(err, NAS_E_CONFIG, "more than %d kernels", NAS_ELASTIC_VALUES);
    memmove(&d->kernel[at + 1], &d->kernel[at], (size_t)(d->kernels - at) * sizeof *d->kernel);
    d->kernel[at] = kernel;
    d->kernels++;
    return NAS_OK;
}

static nas_status add_expand(nas_elastic_dims *d, float expand, nas_err *err)
{
    int at = 0;

    while (at < d->expands && d->expand[at] < expand)
        at++;
    if (at < d->expands && d->expand[at] == expand)
        return NAS_OK;
    if (d->expands == NAS_ELASTIC_VALUES)
        return nas_fail(err, NAS_E_CONFIG, "more than %d expand ratios", NAS_ELASTIC_VALUES);
    memmove(&d->expand[at + 1], &d->expand[at], (size_t)(d->expands - at) * sizeof *d->expand);
    d->expand[at] = expand;
    d->expands++;
    return NAS_OK;
}

static nas_status survey_slot(nas_elastic_dims *d, const nas_slot *slot, nas_err *err)
{
    const nas_op_spec *largest = &slot->candidates[nas_elastic_largest(slot)];
    const int blocks = slot->count - nas_slot_has_zero(slot);

    for (int c = 0; c < blocks; c++) {
        const nas_op_spec *op = &slot->candidates[c];
        nas_status status;

        if ((status = check_part(op, largest, err)) ||
            (status = add_kernel(d, op->kernel, err)) ||
            (status = add_expand(d, op->expand, err)))
            return status;
    }
    return NAS_OK;
}

/* How many blocks of the stage that slot s is in can be skipped from s on. */
static int skippable_from(const nas_space *space, int s)
{
    const int stage = space->slots[s].stage;
    int count = 0;

    for (; s < space->count && space->slots[s].stage == stage; s++)
        count += is_elastic(&space->slots[s]) && nas_slot_has_zero(&space->slots[s]);
    return count;
}

nas_status nas_elastic_dims_of(nas_elastic_dims *out, const nas_space *space, nas_err *err)
{
    memset(out, 0, sizeof *out);
    for (int s = 0; s < space->count; s++) {
        const nas_status status =
            is_elastic(&space->slots[s]) ? survey_slot(out, &space->slots[s], err) : NAS_OK;
        if (status != NAS_OK) {
            nas_err_prefix(err, "space %s is not elastic: slot %d", space->name, s);
            return status;
        }
        const int skippable = skippable_from(space, s);
        out->skip = skippable > out->skip ? skippable : out->skip;
    }
    if (out->kernels == 0)
        return nas_fail(err, NAS_E_CONFIG, "space %s is not elastic: there is nothing to choose",
                        space->name);
    return NAS_OK;
}

static bool has_kernel(const nas_elastic_dims *d, int kernel)
{
    for (int i = 0; i < d->kernels; i++)
        if (d->kernel[i] == kernel)
            return true;
    return false;
}

static bool has_expand(const nas_elastic_dims *d, float expand)
{
    for (int i = 0; i < d->expands; i++)
        if (d->expand[i] == expand)
            return true;
    return false;
}

bool nas_elastic_dims_cover(const nas_elastic_dims *outer, const nas_elastic_dims *inner)
{
    for (int i = 0; i < inner->kernels; i++)
        if (!has_kernel(outer, inner->kernel[i]))
            return false;
    for (int i = 0; i < inner->expands; i++)
        if (!has_expand(outer, inner->expand[i]))
            return false;
    return outer->skip >= inner->skip;
}

void nas_elastic_dims_text(const nas_elastic_dims *d, char *out, size_t size)
{
    int used = snprintf(out, size, "kernel");

    for (int i = 0; i < d->kernels && (size_t)used < size; i++)
        used += snprintf(out + used, size - (size_t)used, " %d", d->kernel[i]);
    if ((size_t)used < size)
        used += snprintf(out + used, size - (size_t)used, ", expand");
    for (int i = 0; i < d->expands && (size_t)used < size; i++)
        used += snprintf(out + used, size - (size_t)used, " %g", (double)d->expand[i]);
    if ((size_t)used < size)
        snprintf(out + used, size - (size_t)used, ", skip up to %d", d->skip);
}

/* ---- masks ---- */

static uint64_t slot_mask(const nas_space *space, int s, const nas_elastic_dims *limits)
{
    const nas_slot *slot = &space->slots[s];
    uint64_t mask = 0;

    if (!is_elastic(slot))
        return 1;
    for (int c = 0; c < slot->count; c++) {
        const nas_op_spec *op = &slot->candidates[c];
        const bool allowed = op->type == NAS_OP_ZERO
                                 ? skippable_from(space, s) <= limits->skip
                                 : has_kernel(limits, op->kernel) && has_expand(limits, op->expand);

        mask |= (uint64_t)allowed << c;
    }
    return mask;
}

nas_status nas_elastic_mask_make(nas_elastic_mask *out, const nas_space *space,
                                 const nas_elastic_dims *limits, nas_err *err)
{
    memset(out, 0, sizeof *out);
    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];
        const uint64_t zero = is_elastic(slot) && nas_slot_has_zero(slot)
                                  ? (uint64_t)1 << (slot->count - 1)
                                  : 0;

        out->allowed[s] = slot_mask(space, s, limits);
        if ((out->allowed[s] & ~zero) == 0)
            return nas_fail(err, NAS_E_CONFIG,
                            "space %s, slot %d: no block has a kernel and an expand ratio of those",
                            space->name, s);
    }
    return NAS_OK;
}

nas_status nas_elastic_mask_check(const nas_elastic_mask *mask, const nas_space *space,
                                  const int *choice, nas_err *err)
{
    for (int s = 0; s < space->count; s++) {
        const nas_op_spec *op = &space->slots[s].candidates[choice[s]];

        if (mask->allowed[s] >> choice[s] & 1)
            continue;
        if (op->type == NAS_OP_ZERO)
            nas_fail(err, NAS_E_CONFIG, "block %d: skipping it has not been trained yet", s);
        else
            nas_fail(err, NAS_E_CONFIG,
                     "block %d: kernel %d with expand ratio %g has not been trained yet", s,
                     op->kernel, (double)op->expand);
        nas_hint(err, "go on with the supernet's schedule: nas ofa shrink --from");
        return NAS_E_CONFIG;
    }
    return NAS_OK;
}

nas_status nas_elastic_restrict(nas_space **out, int origin[][NAS_MAX_CANDIDATES],
                                const nas_space *space, const nas_elastic_mask *mask,
                                nas_err *err)
{
    nas_space *part = nas_space_new(err);
    nas_status status = part != NULL ? NAS_OK : NAS_E_NOMEM;
    nas_slot *slots;

    *out = NULL;
    if (part == NULL)
        return status;
    slots = part->slots;
    *part = *space;
    part->slots = slots;
    part->count = 0;
    for (int s = 0; s < space->count && status == NAS_OK; s++) {
        const nas_slot *slot = &space->slots[s];
        nas_op_spec kept[NAS_MAX_CANDIDATES];
        int count = 0;

        for (int c = 0; c < slot->count; c++)
            if (mask->allowed[s] >> c & 1) {
                origin[s][count] = c;
                kept[count++] = slot->candidates[c];
            }
        status = nas_space_add_slot(part, kept, count, slot->shortcut, slot->stage, err);
    }
    if (status == NAS_OK)
        *out = part;
    else
        nas_space_free(part);
    return status;
}

/* ---- samples and corners ---- */

/* The k-th bit that is set. */
static int nth_bit(uint64_t mask, uint32_t k)
{
    while (k-- > 0)
        mask &= mask - 1;
    return __builtin_ctzll(mask);
}

static uint64_t zero_bit(const nas_slot *slot, uint64_t mask)
{
    return is_elastic(slot) && nas_slot_has_zero(slot) ? mask & (uint64_t)1 << (slot->count - 1)
                                                       : 0;
}

/* Slots of the stage at s that the mask lets be skipped; *end is behind the stage. */
static int count_zeros(const nas_space *space, const nas_elastic_mask *mask, int s, int *end)
{
    const int stage = space->slots[s].stage;
    int zeros = 0;

    for (*end = s; *end < space->count && space->slots[*end].stage == stage; ++*end)
        zeros += zero_bit(&space->slots[*end], mask->allowed[*end]) != 0;
    return zeros;
}

/* One stage: how many blocks are skipped is uniform; which ones, where any may be, too. */
static void sample_stage(const nas_space *space, const nas_elastic_mask *mask, int first, int end,
                         int zeros, nas_rng *rng, int *choice)
{
    int skip = (int)nas_rng_below(rng, (uint32_t)zeros + 1), left = zeros;

    for (int s = first; s < end; s++) {
        const uint64_t zero = zero_bit(&space->slots[s], mask->allowed[s]);
        const uint64_t blocks = mask->allowed[s] & ~zero;
        bool skipped = false;

        if (zero != 0) {
            skipped = space->min_depth > 0 ? left <= skip
                                           : nas_rng_below(rng, (uint32_t)left) < (uint32_t)skip;
            if (space->min_depth == 0)
                skip -= skipped;
            left--;
        }
        const uint32_t count = (uint32_t)__builtin_popcountll(blocks);
        choice[s] = skipped ? space->slots[s].count - 1
                            : nth_bit(blocks, nas_rng_below(rng, count));
    }
}

void nas_elastic_sample(const nas_space *space, const nas_elastic_mask *mask, nas_rng *rng,
                        int *choice)
{
    int end;

    for (int s = 0; s < space->count; s = end) {
        const int zeros = count_zeros(space, mask, s, &end);
        sample_stage(space, mask, s, end, zeros, rng, choice);
    }
}

/* The allowed block nearest to the wish: the largest kernel, then width, not above it. */
static int pick(const nas_slot *slot, uint64_t mask, int kernel, float expand)
{
    int best = -1;

    for (int c = 0; c < slot->count; c++) {
        const nas_op_spec *op = &slot->candidates[c];

        if (!(mask >> c & 1) || op->type == NAS_OP_ZERO)
            continue;
        const nas_op_spec *b = best >= 0 ? &slot->candidates[best] : op;
        const bool fits = op->kernel <= kernel && op->expand <= expand;
        const bool best_fits = best >= 0 && b->kernel <= kernel && b->expand <= expand;
        const bool larger = op->kernel >= b->kernel && op->expand >= b->expand;

        if (best < 0 || (fits && !best_fits) || (fits == best_fits && larger == fits))
            best = c;
    }
    return best;
}

static void fill_corner(const nas_space *space, const nas_elastic_mask *mask, int kernel,
                        float expand, bool shallow, nas_elastic_corner *corner)
{
    snprintf(corner->name, sizeof corner->name, "k%d-e%g-%s", kernel, (double)expand,
             shallow ? "shallow" : "deep");
    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];
        const uint64_t zero = zero_bit(slot, mask->allowed[s]);

        if (!is_elastic(slot))
            corner->choice[s] = 0;
        else if (shallow && zero != 0)
            corner->choice[s] = slot->count - 1;
        else
            corner->choice[s] = pick(slot, mask->allowed[s], kernel, expand);
    }
}

int nas_elastic_corners(const nas_space *space, const nas_elastic_dims *limits,
                        const nas_elastic_mask *mask, nas_elastic_corner out[NAS_ELASTIC_CORNERS])
{
    const nas_elastic_dims *l = limits;
    const bool only_kernels = l->expands == 1 && l->skip == 0;
    const int step = only_kernels || l->kernels == 1 ? 1 : l->kernels - 1;
    int count = 0;

    for (int shallow = 0; shallow <= (l->skip > 0); shallow++)
        for (int e = l->expands - 1; e >= 0; e -= l->expands > 1 ? l->expands - 1 : 1)
            for (int k = l->kernels - 1; k >= 0; k -= step)
                fill_corner(space, mask, l->kernel[k], l->expand[e], shallow, &out[count++]);
    return count;
}
