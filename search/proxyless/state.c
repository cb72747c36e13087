/* A search's checkpoint: supernet, alphas, position. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nas/train/checkpoint.h"
#include "search/proxyless/private.h"

static json_t *state_json(const nas_search *s)
{
    const double seconds = s->seconds + (s->started > 0.0 ? nas_clock_seconds() - s->started : 0.0);

    return json_pack("{s:I, s:I, s:I, s:b, s:f, s:I, s:b, s:f, s:f, s:b, s:I}", "epoch",
                     (json_int_t)s->epoch, "batch", (json_int_t)s->batch, "arch_steps",
                     (json_int_t)s->arch_steps, "arch_due", s->arch_due, "loss_sum", s->loss_sum,
                     "loss_images", (json_int_t)s->loss_images, "has_baseline", s->has_baseline,
                     "baseline", s->baseline, "seconds", seconds, "out_of_time", s->out_of_time,
                     "left_out", (json_int_t)s->left_out);
}

/* The arrays of the alphas that are state, by name. */
typedef struct array {
    const char *name;
    nas_dtype dtype;
    void *values;
    int64_t count;
} array;

enum { ARRAYS = 4 };

static void arrays_of(const nas_search *s, array out[ARRAYS])
{
    const nas_alphas *a = &s->alphas;

    out[0] = (array){"alphas", NAS_DTYPE_F64, a->alpha, a->total};
    out[1] = (array){"alphas.adam_m", NAS_DTYPE_F64, a->m, a->total};
    out[2] = (array){"alphas.adam_v", NAS_DTYPE_F64, a->v, a->total};
    out[3] = (array){"alphas.adam_steps", NAS_DTYPE_I64, a->steps, a->slots};
}

nas_status nas_search__save(void *self, const char *path, nas_err *err)
{
    const nas_search *s = self;
    json_t *state = state_json(s);
    nas_safetensors_builder *builder = state ? nas_checkpoint_begin("search", state) : NULL;
    array arrays[ARRAYS];

    nas_checkpoint_add_model(builder, s->model, true);
    arrays_of(s, arrays);
    for (int i = 0; builder != NULL && i < ARRAYS; i++)
        nas_safetensors_builder_add(builder, arrays[i].name, arrays[i].dtype, 1, &arrays[i].count,
                                    arrays[i].values);
    const nas_status status = nas_safetensors_builder_write(builder, path, NULL, err);
    nas_safetensors_builder_free(builder);
    json_decref(state);
    return status;
}

static nas_status read_state(nas_search *s, const json_t *state, const char *path, nas_err *err)
{
    nas_search next = *s;
    nas_status status;

    if ((status = nas_json_int(state, path, "epoch", true, 0,
                               s->config.warmup_epochs + s->config.epochs, &next.epoch, err)) ||
        (status = nas_json_int(state, path, "batch", true, 0, s->batches, &next.batch, err)) ||
        (status =
             nas_json_int(state, path, "arch_steps", true, 0, INT64_MAX, &next.arch_steps, err)) ||
        (status = nas_json_bool(state, path, "arch_due", true, &next.arch_due, err)) ||
        (status =
             nas_json_real(state, path, "loss_sum", true, -1e300, 1e300, &next.loss_sum, err)) ||
        (status = nas_json_int(state, path, "loss_images", true, 0, INT64_MAX, &next.loss_images,
                               err)) ||
        (status = nas_json_bool(state, path, "has_baseline", true, &next.has_baseline, err)) ||
        (status =
             nas_json_real(state, path, "baseline", true, -1e300, 1e300, &next.baseline, err)) ||
        (status = nas_json_real(state, path, "seconds", true, 0, 1e12, &next.seconds, err)) ||
        (status = nas_json_bool(state, path, "out_of_time", true, &next.out_of_time, err)) ||
        (status = nas_json_int(state, path, "left_out", false, 0, s->batches, &next.left_out,
                               err)))
        return status;
    *s = next;
    return NAS_OK;
}

nas_status nas_search_load(nas_search *s, const char *path, nas_err *err)
{
    const nas_safetensors_tensor *tensor[ARRAYS];
    nas_safetensors *file = NULL;
    json_t *state = NULL;
    array arrays[ARRAYS];
    nas_status status = nas_checkpoint_open(&file, &state, path, "search", err);

    arrays_of(s, arrays);
    for (int i = 0; i < ARRAYS && status == NAS_OK; i++)
        status = nas_safetensors_expect(file, arrays[i].name, arrays[i].dtype, 1, &arrays[i].count,
                                        &tensor[i], err);
    if (status == NAS_OK &&
        (status = nas_checkpoint_read_model(file, s->model, true, err)) == NAS_OK)
        status = read_state(s, state, path, err);
    for (int i = 0; i < ARRAYS && status == NAS_OK; i++)
        memcpy(arrays[i].values, tensor[i]->data, (size_t)arrays[i].count * 8);
    if (status == NAS_OK)
        nas_alphas_softmax(&s->alphas);
    json_decref(state);
    nas_safetensors_close(file);
    return status;
}

nas_status nas_search_digest(const nas_search *s, char out[NAS_DIGEST_SIZE], nas_err *err)
{
    const int64_t position[] = {s->epoch, s->batch, s->arch_steps};
    nas_hash *hash = nas_hash_new();
    array arrays[ARRAYS];

    if (hash == NULL)
        return nas_fail(err, NAS_E_NOMEM, "digest: out of memory");
    nas_hash_add(hash, s->model->params, s->model->floats * sizeof(float));
    nas_hash_add(hash, s->model->momentum, s->model->floats * sizeof(float));
    arrays_of(s, arrays);
    for (int i = 0; i < ARRAYS; i++)
        nas_hash_add(hash, arrays[i].values, (size_t)arrays[i].count * 8);
    nas_hash_add(hash, position, sizeof position);
    nas_hash_hex(hash, out);
    nas_hash_free(hash);
    return NAS_OK;
}
