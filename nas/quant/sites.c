/* Walks a network for its convolutions and linear layers. */
#include "nas/quant/sites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool may_be_negative(nas_act act) { return act == NAS_ACT_NONE || act == NAS_ACT_HSWISH; }

/* Operations without weights whose output is negative only where their input is. */
static bool keeps_sign(nas_op_type type)
{
    return type == NAS_OP_ZERO || type == NAS_OP_IDENTITY || type == NAS_OP_MAX_POOL ||
           type == NAS_OP_AVG_POOL || type == NAS_OP_MEAN_POOL;
}

/* The parameter that a weight's offset means. */
static const nas_param *weight_at(const nas_layer *layer, size_t offset)
{
    for (int i = 0; i < layer->params; i++)
        if (layer->param[i].offset == offset && layer->param[i].kind <= NAS_PARAM_LINEAR)
            return &layer->param[i];
    return NULL;
}

static void put(nas_quant_site *site, const nas_model *model, int s, const nas_conv_geom *geom,
                const nas_param *weight, bool negative)
{
    const int pixels = geom->oh * geom->ow;

    *site = (nas_quant_site){.slot = s, .weight = weight, .geom = *geom, .full_wave = negative,
                             .depthwise = weight->kind == NAS_PARAM_DEPTHWISE,
                             .weights = (int64_t)weight->count,
                             .macs = (int64_t)weight->count * pixels};
    site->geom.n = 1;
    snprintf(site->name, sizeof site->name, "block%d.%.*s", s, (int)strcspn(weight->name, "."),
             weight->name);
}

/* Sites of one slot; `*negative`: whether its input may be, then whether its output may. */
static int walk_slot(nas_quant_site *to, const nas_model *model, int s, bool *negative)
{
    const nas_layer *layer = &model->slot[s].layer[0];
    const nas_op_spec *spec = &layer->spec;
    bool input = *negative, output = *negative || !keeps_sign(spec->type);
    int count = 0;

    for (int u = 0; u < layer->units; u++) {
        const nas_unit *unit = &layer->unit[u];
        nas_quant_site *site = &to[count++];
        put(site, model, s, &unit->geom, weight_at(layer, unit->weight), input);
        site->quant = unit->quant;
        input = output = may_be_negative(unit->act);
    }
    if (spec->type == NAS_OP_LINEAR) {
        const nas_conv_geom geom = {.h = layer->h, .w = layer->w, .cin = spec->in,
                                    .cout = spec->out, .k = 1, .stride = 1, .groups = 1,
                                    .oh = layer->h, .ow = layer->w};
        put(&to[count], model, s, &geom, weight_at(layer, layer->linear), input);
        to[count++].quant = layer->linear_quant;
        output = may_be_negative(spec->act);
    }
    *negative = output || (model->slot[s].shortcut && *negative);
    return count;
}

nas_status nas_quant_sites(nas_quant_site **out, int *count, const nas_model *model, nas_err *err)
{
    bool negative = true; /* images are normalised */

    *count = 0;
    *out = calloc((size_t)model->slots * NAS_LAYER_MAX_UNITS + 1, sizeof **out);
    if (*out == NULL)
        return nas_fail(err, NAS_E_NOMEM, "quantisation: out of memory");
    for (int s = 0; s < model->slots; s++)
        *count += walk_slot(*out + *count, model, s, &negative);
    return NAS_OK;
}

static nas_quant **record_of(nas_model *model, const nas_quant_site *site)
{
    nas_layer *layer = &model->slot[site->slot].layer[0];

    for (int u = 0; u < layer->units; u++)
        if (layer->unit[u].weight == site->weight->offset)
            return &layer->unit[u].quant;
    return &layer->linear_quant;
}

nas_status nas_quant_attach(nas_model *model, nas_err *err)
{
    nas_quant_site *sites = NULL;
    int count = 0;
    nas_status status;

    if (model->quant != NULL)
        return NAS_OK;
    if ((status = nas_quant_sites(&sites, &count, model, err)) != NAS_OK)
        return status;
    model->quant = calloc((size_t)count + 1, sizeof *model->quant);
    if (model->quant == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "quantisation: out of memory");
    for (int i = 0; i < count && status == NAS_OK; i++) {
        model->quant[i] = (nas_quant){.full_wave = sites[i].full_wave, .range = 1.0f};
        *record_of(model, &sites[i]) = &model->quant[i];
        model->quants++;
    }
    free(sites);
    return status;
}

int64_t nas_quant_size_bytes(const nas_model *model)
{
    int64_t bytes = 0;
    int q = 0;

    for (int s = 0; s < model->slots; s++) {
        const nas_layer *layer = &model->slot[s].layer[0];
        bytes += 4 * (int64_t)nas_layer_floats(layer);
        const int sites = layer->units + (layer->spec.type == NAS_OP_LINEAR);
        for (int i = 0; i < sites && model->quant != NULL; i++, q++) {
            const nas_quant *quant = &model->quant[q];
            const nas_unit *unit = &layer->unit[i];
            const nas_param *weight =
                weight_at(layer, layer->units > 0 ? unit->weight : layer->linear);
            const int64_t count = (int64_t)weight->count;
            if (quant->weight_bits > 0)
                bytes += (count * quant->weight_bits + 7) / 8 - 4 * count +
                         4 * (quant->weight_step ? weight->out : 1LL << quant->weight_bits);
        }
    }
    return bytes;
}
