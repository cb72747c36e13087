/* Parameters by name in a safetensors file. */
#include "nas/train/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nas/train/quantised_file.h"

nas_safetensors_builder *nas_checkpoint_begin(const char *kind, const json_t *state)
{
    nas_safetensors_builder *builder = nas_safetensors_builder_new();
    char *text = json_dumps(state, JSON_COMPACT | JSON_REAL_PRECISION(17));

    if (builder == NULL || text == NULL) {
        nas_safetensors_builder_free(builder);
        free(text);
        return NULL;
    }
    nas_safetensors_builder_meta(builder, "nas.kind", kind);
    nas_safetensors_builder_meta(builder, "nas.state", text);
    free(text);
    return builder;
}

nas_status nas_checkpoint_open(nas_safetensors **out, json_t **state, const char *path,
                               const char *kind, nas_err *err)
{
    nas_status status = nas_safetensors_open(out, path, true, err);

    *state = NULL;
    if (status != NAS_OK)
        return status;
    const char *found = nas_safetensors_meta(*out, "nas.kind");
    const char *text = nas_safetensors_meta(*out, "nas.state");
    if (found == NULL || text == NULL || strcmp(found, kind) != 0)
        status = nas_fail(err, NAS_E_DATA, "%s: is a %s file, not a %s file", path,
                          found ? found : "foreign", kind);
    else
        status = nas_json_parse(state, text, strlen(text), path, err);
    if (status != NAS_OK) {
        nas_safetensors_close(*out);
        *out = NULL;
    }
    return status;
}

/* Shape in our layout. */
static int param_shape(const nas_param *param, int64_t shape[4])
{
    switch (param->kind) {
    case NAS_PARAM_POINTWISE:
    case NAS_PARAM_LINEAR:
        shape[0] = param->in;
        shape[1] = param->out;
        return 2;
    case NAS_PARAM_DEPTHWISE:
        shape[0] = shape[1] = param->k;
        shape[2] = param->out;
        return 3;
    case NAS_PARAM_CONV:
        shape[0] = shape[1] = param->k;
        shape[2] = param->in;
        shape[3] = param->out;
        return 4;
    default:
        shape[0] = param->out;
        return 1;
    }
}

nas_status nas_checkpoint__each(const nas_model *model, const char *before, bool momentum,
                                nas_checkpoint__visit *visit, void *user, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int s = 0; s < model->slots; s++)
        for (int c = 0; c < model->slot[s].count; c++) {
            const nas_layer *layer = &model->slot[s].layer[c];
            const size_t base = model->slot[s].offset[c];
            char prefix[32], name[96];
            nas_model_prefix(s, c, prefix);
            for (int i = 0; i < layer->params && status == NAS_OK; i++) {
                const nas_param *param = &layer->param[i];
                snprintf(name, sizeof name, "%s%s.%s", before, prefix, param->name);
                status = visit(user, name, param, model->params + base + param->offset, err);
                if (!momentum || status != NAS_OK || param->kind >= NAS_PARAM_MEAN)
                    continue;
                snprintf(name, sizeof name, "momentum/%s%s.%s", before, prefix, param->name);
                status = visit(user, name, param, model->momentum + base + param->offset, err);
            }
        }
    return status;
}

nas_status nas_checkpoint__add(void *user, const char *name, const nas_param *param,
                               float *values, nas_err *err)
{
    int64_t shape[4];
    const int rank = param_shape(param, shape);

    nas_safetensors_builder_add(user, name, NAS_DTYPE_F32, rank, shape, values);
    return NAS_OK;
}

void nas_checkpoint_add_model(nas_safetensors_builder *builder, const nas_model *model,
                              bool momentum)
{
    if (builder != NULL)
        nas_checkpoint__each(model, "", momentum, nas_checkpoint__add, builder, NULL);
}

void nas_checkpoint_add_second(nas_safetensors_builder *builder, const char *prefix,
                               const nas_model *model)
{
    if (builder != NULL)
        nas_checkpoint__each(model, prefix, false, nas_checkpoint__add, builder, NULL);
}

nas_status nas_checkpoint__expect(void *user, const char *name, const nas_param *param,
                                  float *values, nas_err *err)
{
    const nas_safetensors_tensor *tensor;
    int64_t shape[4];
    const int rank = param_shape(param, shape);

    return nas_safetensors_expect(user, name, NAS_DTYPE_F32, rank, shape, &tensor, err);
}

nas_status nas_checkpoint__copy(void *user, const char *name, const nas_param *param,
                                float *values, nas_err *err)
{
    memcpy(values, nas_safetensors_find(user, name)->data, param->count * sizeof *values);
    return NAS_OK;
}

static nas_status read_params(const nas_safetensors *file, const char *prefix, nas_model *model,
                              bool momentum, nas_err *err)
{
    void *user = (void *)file;
    const nas_status status =
        nas_checkpoint__each(model, prefix, momentum, nas_checkpoint__expect, user, err);

    return status == NAS_OK ? nas_checkpoint__each(model, prefix, momentum, nas_checkpoint__copy,
                                                   user, err)
                            : status;
}

nas_status nas_checkpoint_read_model(const nas_safetensors *file, nas_model *model, bool momentum,
                                     nas_err *err)
{
    return read_params(file, "", model, momentum, err);
}

nas_status nas_checkpoint_read_second(const nas_safetensors *file, const char *prefix,
                                      nas_model *model, nas_err *err)
{
    return read_params(file, prefix, model, false, err);
}

nas_status nas_model_save(const nas_model *model, const nas_arch *arch, const char *path,
                          nas_err *err)
{
    if (model->quant != NULL)
        return nas_quantised_save(model, arch, path, err);
    json_t *state = nas_arch_to_json(arch);
    nas_safetensors_builder *builder = state ? nas_checkpoint_begin("model", state) : NULL;

    nas_checkpoint_add_model(builder, model, false);
    const nas_status status = nas_safetensors_builder_write(builder, path, NULL, err);
    nas_safetensors_builder_free(builder);
    json_decref(state);
    return status;
}

/* A float network or a quantised one. */
static nas_status open_model(nas_safetensors **out, json_t **state, bool *quantised,
                             const char *path, nas_err *err)
{
    static const char other[] = "quantised";
    const nas_status status = nas_checkpoint_open(out, state, path, "model", err);
    nas_safetensors *file = NULL;

    if (status != NAS_E_DATA || nas_safetensors_open(&file, path, true, NULL) != NAS_OK)
        return status;
    const char *kind = nas_safetensors_meta(file, "nas.kind");
    *quantised = kind != NULL && strcmp(kind, other) == 0;
    nas_safetensors_close(file);
    return *quantised ? nas_checkpoint_open(out, state, path, other, err) : status;
}

nas_status nas_model_load(nas_model **out, nas_arch **arch, const char *path, nas_err *err)
{
    nas_safetensors *file = NULL;
    nas_model *model = NULL;
    nas_arch *own = NULL;
    json_t *state = NULL;
    bool quantised = false;
    nas_status status;

    if ((status = open_model(&file, &state, &quantised, path, err)) == NAS_OK &&
        (status = nas_arch_from_json(&own, state, path, err)) == NAS_OK && out != NULL &&
        (status = nas_model_new_arch(&model, own, err)) == NAS_OK)
        status = quantised ? nas_quantised_read(file, path, model, err)
                           : nas_checkpoint_read_model(file, model, false, err);
    if (status == NAS_OK && out != NULL) {
        *out = model;
        model = NULL;
    }
    if (status == NAS_OK && arch != NULL) {
        *arch = own;
        own = NULL;
    }
    if (status == NAS_E_IO)
        nas_path_hint(path, "a trained network is model.safetensors of a run: nas runs show RUN "
                      "names it", err);
    nas_model_free(model);
    nas_arch_free(own);
    json_decref(state);
    nas_safetensors_close(file);
    return status;
}
