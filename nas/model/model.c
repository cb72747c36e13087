/* Layout and copying of a supernet's parameters. */
#include "nas/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void nas_model_prefix(int slot, int candidate, char out[32])
{
    snprintf(out, 32, "slot%d.op%d", slot, candidate);
}

static size_t round_floats(size_t floats) { return nas_arena_round(floats * 4) / 4; }

/* Lays out the candidates of one slot behind those before it. */
static nas_status lay_slot(nas_model *model, nas_model_slot *slot, const nas_slot *from, int index,
                           int h, int w, nas_err *err)
{
    slot->count = from->count;
    slot->shortcut = from->shortcut;
    slot->layer = calloc((size_t)from->count, sizeof *slot->layer);
    slot->offset = calloc((size_t)from->count, sizeof *slot->offset);
    if (slot->layer == NULL || slot->offset == NULL)
        return nas_fail(err, NAS_E_NOMEM, "supernet: out of memory");
    for (int c = 0; c < from->count; c++) {
        nas_layer *layer = &slot->layer[c];
        const nas_status status = nas_layer_init(layer, &from->candidates[c], h, w, err);
        if (status != NAS_OK) {
            nas_err_prefix(err, "slot %d, candidate %d", index, c);
            return status;
        }
        if (c > 0 && (layer->oh != slot->out_h || layer->ow != slot->out_w ||
                      layer->spec.out != slot->out_c))
            return nas_fail(err, NAS_E_CONFIG, "slot %d: candidate %d gives another output size",
                            index, c);
        slot->out_h = layer->oh;
        slot->out_w = layer->ow;
        slot->out_c = layer->spec.out;
        slot->offset[c] = model->floats;
        model->floats += round_floats(nas_layer_floats(layer));
        model->parameters += (int64_t)(layer->weights + layer->vectors);
    }
    slot->in_h = h;
    slot->in_w = w;
    slot->in_c = from->candidates[0].in;
    return NAS_OK;
}

/* Zeroed pages that cost nothing until they are written. */
static float *map_floats(size_t floats)
{
    void *p = mmap(NULL, floats * sizeof(float), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

nas_status nas_model_new(nas_model **out, const nas_space *space, nas_err *err)
{
    nas_model *model = calloc(1, sizeof *model);
    nas_status status = NAS_OK;
    int h = space->image_size, w = space->image_size;

    *out = NULL;
    if (model == NULL)
        return nas_fail(err, NAS_E_NOMEM, "supernet: out of memory");
    snprintf(model->name, sizeof model->name, "%s", space->name);
    model->image_size = space->image_size;
    model->channels = space->channels;
    model->classes = space->classes;
    model->bn_eps = space->bn_eps;
    model->bn_momentum = space->bn_momentum;
    model->slots = space->count;
    model->slot = calloc((size_t)space->count, sizeof *model->slot);
    if (model->slot == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "supernet: out of memory");
        goto done;
    }
    for (int s = 0; s < space->count && status == NAS_OK; s++) {
        status = lay_slot(model, &model->slot[s], &space->slots[s], s, h, w, err);
        h = model->slot[s].out_h;
        w = model->slot[s].out_w;
    }
    if (status != NAS_OK)
        goto done;
    model->params = map_floats(model->floats);
    model->momentum = map_floats(model->floats);
    if (model->params == NULL || model->momentum == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "supernet: %zu MiB of parameters: out of memory",
                          model->floats * 2 * sizeof(float) >> 20);
done:
    if (status == NAS_OK)
        *out = model;
    else
        nas_model_free(model);
    return status;
}

nas_status nas_model_resize(nas_model *model, int image_size, nas_err *err)
{
    int h = image_size, w = image_size;

    for (int s = 0; s < model->slots; s++) {
        nas_model_slot *slot = &model->slot[s];

        for (int c = 0; c < slot->count; c++) {
            const nas_op_spec spec = slot->layer[c].spec;
            const nas_status status = nas_layer_init(&slot->layer[c], &spec, h, w, err);
            if (status != NAS_OK)
                return status;
        }
        slot->in_h = h;
        slot->in_w = w;
        slot->out_h = h = slot->layer[0].oh;
        slot->out_w = w = slot->layer[0].ow;
    }
    model->image_size = image_size;
    return NAS_OK;
}

nas_status nas_model_new_arch(nas_model **out, const nas_arch *arch, nas_err *err)
{
    nas_space space = {.image_size = arch->image_size, .channels = arch->channels,
                       .classes = arch->classes, .bn_momentum = arch->bn_momentum,
                       .bn_eps = arch->bn_eps, .count = arch->count};
    nas_status status = nas_arch_check(arch, err);

    *out = NULL;
    if (status != NAS_OK)
        return status;
    snprintf(space.name, sizeof space.name, "%s", arch->name);
    space.slots = calloc((size_t)arch->count, sizeof *space.slots);
    if (space.slots == NULL)
        return nas_fail(err, NAS_E_NOMEM, "network: out of memory");
    for (int i = 0; i < arch->count; i++)
        space.slots[i] = (nas_slot){.count = 1, .candidates = &arch->blocks[i].op,
                                    .shortcut = arch->blocks[i].shortcut,
                                    .stage = arch->blocks[i].stage};
    status = nas_model_new(out, &space, err);
    free(space.slots);
    return status;
}

void nas_model_free(nas_model *model)
{
    if (model == NULL)
        return;
    for (int s = 0; model->slot != NULL && s < model->slots; s++) {
        free(model->slot[s].layer);
        free(model->slot[s].offset);
    }
    if (model->params != NULL)
        munmap(model->params, model->floats * sizeof(float));
    if (model->momentum != NULL)
        munmap(model->momentum, model->floats * sizeof(float));
    for (int i = 0; i < model->quants; i++)
        free(model->quant[i].weight_step);
    free(model->quant);
    free(model->slot);
    free(model);
}

int nas_model_inherit(nas_model *to, const nas_model *supernet, const int *choice)
{
    int copied = 0;

    for (int s = 0; s < to->slots && s < supernet->slots; s++) {
        const nas_layer *a = &to->slot[s].layer[0];
        const nas_layer *b = &supernet->slot[s].layer[choice[s]];
        if (!nas_op_equal(&a->spec, &b->spec))
            continue;
        memcpy(to->params + to->slot[s].offset[0],
               supernet->params + supernet->slot[s].offset[choice[s]],
               nas_layer_floats(a) * sizeof(float));
        copied++;
    }
    return copied;
}

int64_t nas_model_path_parameters(const nas_model *model, const int *choice)
{
    int64_t sum = 0;

    for (int s = 0; s < model->slots; s++) {
        const nas_layer *layer = &model->slot[s].layer[choice[s]];
        sum += (int64_t)(layer->weights + layer->vectors);
    }
    return sum;
}
