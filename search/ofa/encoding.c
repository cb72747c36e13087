/* Architectures as the inputs of a predictor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/ofa/predictor.h"

/* The distinct values of kernels or ratios, ascending. */
typedef struct values {
    int count;
    float value[NAS_MAX_CANDIDATES];
} values;

static int place_of(const values *v, float value)
{
    int i = 0;

    while (i < v->count && v->value[i] < value)
        i++;
    return i;
}

static nas_status add(values *v, float value, nas_err *err)
{
    const int at = place_of(v, value);

    if (at < v->count && v->value[at] == value)
        return NAS_OK;
    if (v->count == NAS_MAX_CANDIDATES)
        return nas_fail(err, NAS_E_CONFIG, "too many kernels or expand ratios for a predictor");
    memmove(&v->value[at + 1], &v->value[at], (size_t)(v->count - at) * sizeof *v->value);
    v->value[at] = value;
    v->count++;
    return NAS_OK;
}

static bool is_chosen(const nas_slot *slot)
{
    return slot->count > 1;
}

/* All values, and how many blocks there are to choose. */
static nas_status survey(const nas_space *space, values *kernels, values *expands, int *blocks,
                         nas_err *err)
{
    *blocks = 0;
    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];

        *blocks += is_chosen(slot);
        for (int c = 0; is_chosen(slot) && c < slot->count; c++) {
            const nas_op_spec *op = &slot->candidates[c];
            nas_status status;

            if (op->type == NAS_OP_ZERO)
                continue;
            if (op->type != NAS_OP_MBCONV)
                return nas_fail(err, NAS_E_CONFIG,
                                "space %s, slot %d: a predictor knows MBConv blocks, not %s",
                                space->name, s, nas_op_name(op->type));
            if ((status = add(kernels, (float)op->kernel, err)) ||
                (status = add(expands, op->expand, err)))
                return status;
        }
    }
    return NAS_OK;
}

nas_status nas_encoding_init(nas_encoding *e, const nas_space *space, int sizes,
                             const int *image_size, nas_err *err)
{
    values kernels = {0}, expands = {0};
    int blocks, block = 0;
    nas_status status = survey(space, &kernels, &expands, &blocks, err);

    memset(e, 0, sizeof *e);
    if (status != NAS_OK)
        return status;
    e->slots = space->count;
    e->sizes = sizes;
    if (sizes > 0)
        memcpy(e->image_size, image_size, (size_t)sizes * sizeof *image_size);
    e->inputs = blocks * (kernels.count + expands.count) + sizes;
    for (int s = 0; s < space->count; s++)
        e->first[s + 1] = e->first[s] + space->slots[s].count;
    e->input = malloc((size_t)e->first[e->slots] * sizeof *e->input);
    if (e->input == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a predictor's inputs");
    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];

        for (int c = 0; c < slot->count; c++) {
            const nas_op_spec *op = &slot->candidates[c];
            int *input = e->input[e->first[s] + c];

            input[0] = input[1] = -1;
            if (!is_chosen(slot) || op->type == NAS_OP_ZERO)
                continue;
            input[0] = block * kernels.count + place_of(&kernels, (float)op->kernel);
            input[1] = blocks * kernels.count + block * expands.count +
                       place_of(&expands, op->expand);
        }
        block += is_chosen(slot);
    }
    return NAS_OK;
}

nas_status nas_encoding_for(nas_encoding *e, const nas_space *space,
                            const nas_predictor *predictor, nas_err *err)
{
    const nas_status status =
        nas_encoding_init(e, space, predictor->sizes, predictor->image_size, err);

    e->untrained = predictor->untrained;
    if (status == NAS_OK && e->inputs != predictor->net.width[0])
        return nas_fail(err, NAS_E_CONFIG,
                        "the predictor is for another space: it has %d inputs, %s gives %d "
                        "(%d image sizes among them)",
                        predictor->net.width[0], space->name, e->inputs, e->sizes);
    return status;
}

void nas_encoding_fini(nas_encoding *encoding)
{
    free(encoding->input);
    encoding->input = NULL;
}

void nas_encoding_apply(const nas_encoding *e, const nas_candidate *candidate, float *x)
{
    memset(x, 0, (size_t)e->inputs * sizeof *x);
    for (int s = 0; s < e->slots; s++) {
        const int *input = e->input[e->first[s] + candidate->choice[s]];

        if (input[0] >= 0)
            x[input[0]] = x[input[1]] = 1.0f;
    }
    for (int i = 0; i < e->sizes; i++)
        if (e->image_size[i] == candidate->image_size)
            x[e->inputs - e->sizes + i] = 1.0f;
}

nas_status nas_encoding_check_size(const nas_encoding *e, int image_size, nas_err *err)
{
    char known[256] = "";
    size_t used = 0;

    for (int i = e->untrained; i < e->sizes; i++) {
        if (e->image_size[i] == image_size)
            return NAS_OK;
        if (used < sizeof known - 16)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%d",
                                     used > 0 ? ", " : "", e->image_size[i]);
    }
    if (e->sizes == 0)
        return NAS_OK;
    return nas_fail(err, NAS_E_CONFIG,
                    "the predictor knows no images of %d pixels, but of %s", image_size, known);
}
