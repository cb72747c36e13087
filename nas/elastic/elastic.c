/* Layout of the supernet, copies of its parts, and gradients on their way back. */
#include "nas/elastic/elastic.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/elastic/private.h"

const nas_layer *nas_elastic__layer(const nas_elastic *e, int slot)
{
    return &e->shared->slot[slot].layer[0];
}

float *nas_elastic__params(const nas_elastic *e, int slot)
{
    return e->shared->params + e->shared->slot[slot].offset[0];
}

const nas_param *nas_elastic__param(const nas_layer *layer, const char *name)
{
    for (int i = 0; i < layer->params; i++)
        if (strcmp(layer->param[i].name, name) == 0)
            return &layer->param[i];
    assert(false);
    return NULL;
}

/* ---- layout ---- */

/* The largest network, at full depth. */
static nas_status new_shared(nas_elastic *e, nas_err *err)
{
    int choice[NAS_MAX_SLOTS];
    nas_arch *arch = NULL;
    nas_status status;

    for (int s = 0; s < e->space->count; s++)
        choice[s] = nas_elastic_largest(&e->space->slots[s]);
    status = nas_space_arch(&arch, e->space, choice, err);
    if (status == NAS_OK)
        status = nas_model_new_arch(&e->shared, arch, err);
    nas_arch_free(arch);
    return status;
}

/* Distinct kernel sizes of a slot, descending, and where their matrices lie. */
static void lay_kernels(nas_elastic *e, int s)
{
    const nas_slot *slot = &e->space->slots[s];
    nas_elastic_kernels *k = &e->kernels[s];

    if (slot->count == 1)
        return;
    for (int d = e->dims.kernels - 1; d >= 0; d--)
        for (int c = 0; c < slot->count; c++)
            if (slot->candidates[c].type == NAS_OP_MBCONV &&
                slot->candidates[c].kernel == e->dims.kernel[d]) {
                k->size[k->count++] = e->dims.kernel[d];
                break;
            }
    for (int i = 1; i < k->count; i++) {
        const size_t taps = (size_t)k->size[i] * (size_t)k->size[i];

        k->offset[i - 1] = e->matrix_floats;
        e->matrix_floats += taps * taps;
    }
}

static nas_status allocate(nas_elastic *e, nas_err *err)
{
    size_t scratch = 1;

    for (int s = 0; s < e->space->count; s++) {
        lay_kernels(e, s);
        if (e->kernels[s].count > 0) {
            const size_t need = nas_elastic_kernel_scratch(
                &e->kernels[s], nas_elastic__layer(e, s)->spec.mid);
            scratch = need > scratch ? need : scratch;
        }
    }
    e->matrix = calloc(e->matrix_floats + 1, sizeof *e->matrix);
    e->matrix_momentum = calloc(e->matrix_floats + 1, sizeof *e->matrix);
    e->matrix_grads = calloc(e->matrix_floats + 1, sizeof *e->matrix);
    e->grads = calloc(e->shared->floats, sizeof *e->grads);
    e->scratch = malloc(scratch * sizeof *e->scratch);
    if (!e->matrix || !e->matrix_momentum || !e->matrix_grads || !e->grads || !e->scratch)
        return nas_fail(err, NAS_E_NOMEM, "supernet: out of memory");
    return NAS_OK;
}

/* One subnet runs at a time: the candidates of a slot take turns in one place. */
static nas_status new_work(nas_elastic *e, int max_batch, nas_memory memory, nas_err *err)
{
    nas_status status = nas_model_new(&e->work, e->space, err);

    for (int s = 0; status == NAS_OK && s < e->work->slots; s++)
        for (int c = 1; c < e->work->slot[s].count; c++)
            e->work->slot[s].offset[c] = e->work->slot[s].offset[0];
    if (status == NAS_OK && (status = nas_exec_new(&e->exec, e->work, max_batch, err)) == NAS_OK)
        nas_exec_set_memory(e->exec, memory);
    return status;
}

nas_status nas_elastic_new(nas_elastic **out, const nas_space *space, int max_batch,
                           nas_memory memory, nas_err *err)
{
    nas_elastic *e = calloc(1, sizeof *e);
    nas_status status;

    *out = NULL;
    if (e == NULL)
        return nas_fail(err, NAS_E_NOMEM, "supernet: out of memory");
    e->space = space;
    if ((status = nas_elastic_dims_of(&e->dims, space, err)) == NAS_OK &&
        (status = new_shared(e, err)) == NAS_OK && (status = allocate(e, err)) == NAS_OK &&
        max_batch > 0)
        status = new_work(e, max_batch, memory, err);
    if (status == NAS_OK)
        *out = e;
    else
        nas_elastic_free(e);
    return status;
}

void nas_elastic_free(nas_elastic *e)
{
    if (e == NULL)
        return;
    nas_exec_free(e->exec);
    nas_model_free(e->work);
    nas_model_free(e->shared);
    free(e->matrix);
    free(e->matrix_momentum);
    free(e->matrix_grads);
    free(e->grads);
    free(e->scratch);
    free(e);
}

void nas_elastic_reset(nas_elastic *e, uint64_t seed)
{
    nas_elastic_matrix m;

    nas_model_reset(e->shared, seed);
    for (int i = 0; nas_elastic_matrix_at(e, i, &m); i++)
        for (int t = 0; t < m.taps * m.taps; t++)
            m.values[t] = t % (m.taps + 1) == 0 ? 1.0f : 0.0f;
}

void nas_elastic_fade_kernels(nas_elastic *e)
{
    for (int s = 0; s < e->space->count; s++) {
        const nas_elastic_kernels *k = &e->kernels[s];

        if (k->count < 2)
            continue;
        const nas_param *p = nas_elastic__param(nas_elastic__layer(e, s), "depthwise.weight");
        nas_param_fade(p, nas_elastic__params(e, s) + p->offset, k->size[k->count - 1]);
    }
}

const nas_space *nas_elastic_space(const nas_elastic *e) { return e->space; }
const nas_elastic_dims *nas_elastic_dims_all(const nas_elastic *e) { return &e->dims; }
nas_model *nas_elastic_shared(nas_elastic *e) { return e->shared; }
nas_exec *nas_elastic_exec(nas_elastic *e) { return e->exec; }
const nas_model *nas_elastic_work(const nas_elastic *e) { return e->work; }
const float *nas_elastic_grads(const nas_elastic *e) { return e->grads; }

/* Finds matrix `index`: its slot and place there. */
static bool find_matrix(const nas_elastic *e, int index, int *slot, int *place)
{
    for (int s = 0; s < e->space->count; s++) {
        const int count = e->kernels[s].count > 1 ? e->kernels[s].count - 1 : 0;

        if (index < count) {
            *slot = s;
            *place = index;
            return true;
        }
        index -= count;
    }
    return false;
}

bool nas_elastic_matrix_at(const nas_elastic *e, int index, nas_elastic_matrix *out)
{
    int slot, place;
    char prefix[32];

    if (!find_matrix(e, index, &slot, &place))
        return false;
    const nas_elastic_kernels *k = &e->kernels[slot];
    nas_model_prefix(slot, 0, prefix);
    snprintf(out->name, sizeof out->name, "%.24s.kernel%dto%d", prefix, k->size[place],
             k->size[place + 1]);
    out->taps = k->size[place + 1] * k->size[place + 1];
    out->values = e->matrix + k->offset[place];
    out->momentum = e->matrix_momentum + k->offset[place];
    return true;
}

const float *nas_elastic_matrix_grads(const nas_elastic *e, int index)
{
    int slot, place;

    return find_matrix(e, index, &slot, &place)
               ? e->matrix_grads + e->kernels[slot].offset[place]
               : NULL;
}

/* ---- copies ---- */

static size_t rows_of(const nas_param *p)
{
    switch (p->kind) {
    case NAS_PARAM_POINTWISE:
    case NAS_PARAM_LINEAR:
        return (size_t)p->in;
    case NAS_PARAM_CONV:
        return (size_t)(p->k * p->k * p->in);
    default:
        return 1;
    }
}

static int kernel_index(const nas_elastic_kernels *k, int size)
{
    int i = 0;

    while (i < k->count - 1 && k->size[i] != size)
        i++;
    return i;
}

/* The part of the shared weights that `layer`, an operation of slot s, is: into params. */
static void copy_part(const nas_elastic *e, int s, const nas_layer *layer, float *params)
{
    const nas_layer *shared = nas_elastic__layer(e, s);
    const float *from_block = nas_elastic__params(e, s);

    for (int i = 0; i < layer->params; i++) {
        const nas_param *to = &layer->param[i];
        const nas_param *from = nas_elastic__param(shared, to->name);
        const float *source = from_block + from->offset;
        float *values = params + to->offset;

        if (to->kind == NAS_PARAM_DEPTHWISE && e->kernels[s].count > 0) {
            nas_elastic_kernel_forward(&e->kernels[s], e->matrix,
                                       kernel_index(&e->kernels[s], to->k), to->out, source,
                                       from->out, e->scratch, values);
            continue;
        }
        if (to->count == from->count) {
            memcpy(values, source, to->count * sizeof *values);
            continue;
        }
        for (size_t r = 0; r < rows_of(to); r++)
            memcpy(values + r * (size_t)to->out, source + r * (size_t)from->out,
                   (size_t)to->out * sizeof *values);
    }
}

void nas_elastic_load(nas_elastic *e, const int *choice)
{
    for (int s = 0; s < e->space->count; s++)
        copy_part(e, s, &e->work->slot[s].layer[choice[s]],
                  e->work->params + e->work->slot[s].offset[choice[s]]);
}

void nas_elastic_keep_statistics(nas_elastic *e, const int *choice)
{
    for (int s = 0; s < e->space->count; s++) {
        const nas_layer *layer = &e->work->slot[s].layer[choice[s]];
        const float *from = e->work->params + e->work->slot[s].offset[choice[s]];

        for (int i = 0; i < layer->params; i++) {
            const nas_param *p = &layer->param[i];

            if (p->kind < NAS_PARAM_MEAN)
                continue;
            memcpy(nas_elastic__params(e, s) +
                       nas_elastic__param(nas_elastic__layer(e, s), p->name)->offset,
                   from + p->offset, p->count * sizeof *from);
        }
    }
}

nas_status nas_elastic_resize(nas_elastic *e, int image_size, nas_err *err)
{
    if (e->work->image_size == image_size)
        return NAS_OK;
    const nas_status status = nas_model_resize(e->work, image_size, err);
    return status != NAS_OK ? status : nas_exec_fit(e->exec, err);
}

/* ---- training ---- */

void nas_elastic_zero_grads(nas_elastic *e)
{
    memset(e->grads, 0, e->shared->floats * sizeof *e->grads);
    memset(e->matrix_grads, 0, e->matrix_floats * sizeof *e->matrix_grads);
}

void nas_elastic_clear_momentum(nas_elastic *e)
{
    memset(e->shared->momentum, 0, e->shared->floats * sizeof *e->shared->momentum);
    memset(e->matrix_momentum, 0, e->matrix_floats * sizeof *e->matrix_momentum);
}

/* The way back of copy_part, for gradients. */
static void add_part(nas_elastic *e, int s, const nas_layer *layer, const float *grads)
{
    const nas_layer *shared = nas_elastic__layer(e, s);
    const float *weights = nas_elastic__params(e, s);
    float *into_block = e->grads + (weights - e->shared->params);

    for (int i = 0; i < layer->params; i++) {
        const nas_param *from = &layer->param[i];
        const nas_param *to = nas_elastic__param(shared, from->name);
        const float *source = grads + from->offset;
        float *into = into_block + to->offset;

        if (from->kind >= NAS_PARAM_MEAN)
            continue;
        if (from->kind == NAS_PARAM_DEPTHWISE && e->kernels[s].count > 0) {
            nas_elastic_kernel_backward(&e->kernels[s], e->matrix,
                                        kernel_index(&e->kernels[s], from->k), from->out,
                                        weights + to->offset, to->out, e->scratch, source, into,
                                        e->matrix_grads);
            continue;
        }
        const size_t rows = from->kind == NAS_PARAM_DEPTHWISE ? (size_t)(from->k * from->k)
                                                              : rows_of(from);
        for (size_t r = 0; r < rows; r++)
            for (int c = 0; c < from->out; c++)
                into[r * (size_t)to->out + (size_t)c] += source[r * (size_t)from->out + (size_t)c];
    }
}

void nas_elastic_add_grads(nas_elastic *e, const int *choice)
{
    for (int s = 0; s < e->space->count; s++) {
        const float *grads = nas_exec_grads(e->exec, s);

        if (grads != NULL)
            add_part(e, s, &e->work->slot[s].layer[choice[s]], grads);
    }
}

/* Matrices that lead to the kernels of `dims`. */
static bool matrix_in_use(const nas_elastic_dims *dims, const nas_elastic_kernels *k, int i)
{
    return dims->kernel[0] <= k->size[i + 1];
}

void nas_elastic_sgd(nas_elastic *e, const nas_sgd *sgd, const nas_elastic_dims *dims)
{
    const nas_kernels *ops = nas_kernels_get();

    for (int s = 0; s < e->space->count; s++) {
        const nas_layer *layer = nas_elastic__layer(e, s);
        const nas_elastic_kernels *k = &e->kernels[s];
        float *params = nas_elastic__params(e, s);
        const size_t at = (size_t)(params - e->shared->params);
        float *momentum = e->shared->momentum + at;
        const float *grads = e->grads + at;

        ops->sgd(layer->weights, params, grads, momentum, sgd->lr, sgd->momentum, sgd->decay,
                 sgd->nesterov);
        ops->sgd(layer->vectors, params + layer->weights, grads + layer->weights,
                 momentum + layer->weights, sgd->lr, sgd->momentum,
                 sgd->decay_vectors ? sgd->decay : 0.0f, sgd->nesterov);
        for (int i = 0; i < k->count - 1; i++) {
            const size_t taps = (size_t)(k->size[i + 1] * k->size[i + 1]), o = k->offset[i];

            if (matrix_in_use(dims, k, i))
                ops->sgd(taps * taps, e->matrix + o, e->matrix_grads + o, e->matrix_momentum + o,
                         sgd->lr, sgd->momentum, sgd->decay, sgd->nesterov);
        }
    }
}

/* ---- extraction ---- */

nas_status nas_elastic_extract(nas_model **out, nas_arch **arch, const nas_elastic *e,
                               const int *choice, int image_size, nas_err *err)
{
    nas_status status = nas_space_arch(arch, e->space, choice, err);

    *out = NULL;
    if (status != NAS_OK)
        return status;
    if (image_size > 0)
        (*arch)->image_size = image_size;
    status = nas_model_new_arch(out, *arch, err);
    for (int s = 0; status == NAS_OK && s < e->space->count; s++)
        copy_part(e, s, &(*out)->slot[s].layer[0], (*out)->params + (*out)->slot[s].offset[0]);
    if (status != NAS_OK) {
        nas_arch_free(*arch);
        *arch = NULL;
    }
    return status;
}
