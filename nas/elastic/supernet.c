/* Supernets in files. */
#include "nas/elastic/supernet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/data/augment.h"

static const char *const kind = "supernet", *const teacher_prefix = "teacher/";

nas_status nas_supernet_new(nas_supernet **out, nas_space *space, int max_batch,
                            nas_memory memory, uint64_t seed, nas_err *err)
{
    nas_supernet *n = calloc(1, sizeof *n);
    nas_status status;

    *out = NULL;
    if (n == NULL) {
        nas_space_free(space);
        return nas_fail(err, NAS_E_NOMEM, "supernet: out of memory");
    }
    n->space = space;
    n->seed = seed;
    snprintf(n->augment, sizeof n->augment, "none");
    if ((status = nas_elastic_new(&n->elastic, space, max_batch, memory, err)) != NAS_OK) {
        nas_supernet_free(n);
        return status;
    }
    nas_elastic_reset(n->elastic, seed);
    *out = n;
    return NAS_OK;
}

void nas_supernet_free(nas_supernet *n)
{
    if (n == NULL)
        return;
    nas_model_free(n->teacher);
    nas_elastic_free(n->elastic);
    nas_space_free(n->space);
    free(n);
}

static nas_status new_teacher(nas_supernet *n, nas_err *err)
{
    int choice[NAS_MAX_SLOTS];
    nas_arch *arch = NULL;

    for (int s = 0; s < n->space->count; s++)
        choice[s] = nas_elastic_largest(&n->space->slots[s]);
    const nas_status status =
        nas_elastic_extract(&n->teacher, &arch, n->elastic, choice, 0, err);
    nas_arch_free(arch);
    return status;
}

nas_status nas_supernet_keep_teacher(nas_supernet *n, nas_err *err)
{
    return n->teacher != NULL ? NAS_OK : new_teacher(n, err);
}

/* ---- image sizes ---- */

static int ascending(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

void nas_supernet_add_sizes(nas_supernet *n, int sizes, const int *size)
{
    for (int i = 0; i < sizes; i++) {
        int k = 0;

        while (k < n->sizes && n->size[k] != size[i])
            k++;
        if (k == n->sizes && k < NAS_SUPERNET_SIZES)
            n->size[n->sizes++] = size[i];
    }
    qsort(n->size, (size_t)n->sizes, sizeof *n->size, ascending);
}

void nas_supernet_narrow(nas_supernet *n)
{
    if (n->sizes == 0 || n->space->resolutions == 0)
        return;
    n->space->resolutions = n->sizes;
    memcpy(n->space->resolution, n->size, (size_t)n->sizes * sizeof *n->size);
}

static nas_status read_sizes(nas_supernet *n, const json_t *state, const char *path, nas_err *err)
{
    const json_t *list = json_object_get(state, "sizes"), *size;
    size_t i;

    if (list == NULL) /* of before they were noted */
        return NAS_OK;
    if (!json_is_array(list) || json_array_size(list) > NAS_SUPERNET_SIZES)
        return nas_fail(err, NAS_E_DATA, "%s: 'sizes' must be a list of at most %d", path,
                        NAS_SUPERNET_SIZES);
    json_array_foreach(list, i, size) {
        const json_int_t value = json_integer_value(size);

        if (value < 1 || value > NAS_MAX_IMAGE_SIZE)
            return nas_fail(err, NAS_E_DATA, "%s: sizes[%zu] is not a size of images", path, i);
        nas_supernet_add_sizes(n, 1, &(int){(int)value});
    }
    return NAS_OK;
}

/* ---- tensors ---- */

void nas_supernet_add_tensors(nas_safetensors_builder *builder, const nas_supernet *n,
                              bool momentum)
{
    nas_elastic_matrix m;

    if (builder == NULL)
        return;
    nas_checkpoint_add_model(builder, nas_elastic_shared(n->elastic), momentum);
    for (int i = 0; nas_elastic_matrix_at(n->elastic, i, &m); i++) {
        const int64_t shape[] = {m.taps, m.taps};
        char name[64];

        nas_safetensors_builder_add(builder, m.name, NAS_DTYPE_F32, 2, shape, m.values);
        snprintf(name, sizeof name, "momentum/%s", m.name);
        if (momentum)
            nas_safetensors_builder_add(builder, name, NAS_DTYPE_F32, 2, shape, m.momentum);
    }
}

/* Reads the matrix `name` into `values`; NULL: only looks whether it is there. */
static nas_status read_matrix(const nas_safetensors *file, const char *name, int taps,
                              float *values, nas_err *err)
{
    const nas_safetensors_tensor *tensor;
    const int64_t shape[] = {taps, taps};
    const nas_status status =
        nas_safetensors_expect(file, name, NAS_DTYPE_F32, 2, shape, &tensor, err);

    if (status == NAS_OK && values != NULL)
        memcpy(values, tensor->data, (size_t)(taps * taps) * sizeof *values);
    return status;
}

nas_status nas_supernet_read_tensors(const nas_safetensors *file, nas_supernet *n, bool momentum,
                                     nas_err *err)
{
    nas_elastic_matrix m;
    nas_status status = NAS_OK;

    for (int writing = 0; writing <= 1 && status == NAS_OK; writing++) {
        if (writing) /* all matrices are there: the model checks its own before it changes */
            status = nas_checkpoint_read_model(file, nas_elastic_shared(n->elastic), momentum, err);
        for (int i = 0; status == NAS_OK && nas_elastic_matrix_at(n->elastic, i, &m); i++) {
            char name[64];

            snprintf(name, sizeof name, "momentum/%s", m.name);
            status = read_matrix(file, m.name, m.taps, writing ? m.values : NULL, err);
            if (status == NAS_OK && momentum)
                status = read_matrix(file, name, m.taps, writing ? m.momentum : NULL, err);
        }
    }
    return status;
}

/* ---- limits ---- */

json_t *nas_elastic_dims_json(const nas_elastic_dims *d)
{
    json_t *kernels = json_array(), *expands = json_array();

    for (int i = 0; i < d->kernels; i++)
        json_array_append_new(kernels, json_integer(d->kernel[i]));
    for (int i = 0; i < d->expands; i++)
        json_array_append_new(expands, json_real((double)d->expand[i]));
    return json_pack("{s:o, s:o, s:i}", "kernel", kernels, "expand", expands, "skip", d->skip);
}

/* A list of ascending numbers. */
static nas_status read_list(const json_t *json, const char *where, const char *key, bool whole,
                            double out[NAS_ELASTIC_VALUES], int *count, nas_err *err)
{
    const json_t *list = json_object_get(json, key);
    const size_t values = json_array_size(list);

    if (list == NULL)
        return NAS_OK;
    if (values < 1 || values > NAS_ELASTIC_VALUES)
        return nas_fail(err, NAS_E_DATA, "%s.%s: must be a list of 1 to %d numbers", where, key,
                        NAS_ELASTIC_VALUES);
    for (size_t i = 0; i < values; i++) {
        const json_t *value = json_array_get(list, i);

        out[i] = json_number_value(value);
        if (!(whole ? json_is_integer(value) : json_is_number(value)) || !(out[i] > 0.0) ||
            out[i] > 1024.0 || (i > 0 && out[i] <= out[i - 1]))
            return nas_fail(err, NAS_E_DATA, "%s.%s[%zu]: must be a %snumber above the one before",
                            where, key, i, whole ? "whole " : "");
    }
    *count = (int)values;
    return NAS_OK;
}

nas_status nas_elastic_dims_read(nas_elastic_dims *dims, const json_t *json, const char *where,
                                 nas_err *err)
{
    nas_elastic_dims read = *dims;
    double kernel[NAS_ELASTIC_VALUES], expand[NAS_ELASTIC_VALUES];
    int kernels = 0, expands = 0;
    int64_t skip = dims->skip;
    nas_status status;

    if ((status = read_list(json, where, "kernel", true, kernel, &kernels, err)) ||
        (status = read_list(json, where, "expand", false, expand, &expands, err)) ||
        (status = nas_json_int(json, where, "skip", false, 0, NAS_MAX_SLOTS, &skip, err)))
        return status;
    for (int i = 0; i < kernels; i++)
        read.kernel[i] = (int)kernel[i];
    for (int i = 0; i < expands; i++)
        read.expand[i] = (float)expand[i];
    read.kernels = kernels > 0 ? kernels : read.kernels;
    read.expands = expands > 0 ? expands : read.expands;
    read.skip = (int)skip;
    *dims = read;
    return NAS_OK;
}

/* ---- files ---- */

static json_t *state_json(const nas_supernet *n)
{
    json_t *phases = json_array(), *sizes = json_array();

    for (int i = 0; i < n->phases; i++)
        json_array_append_new(phases, json_string(n->phase[i]));
    for (int i = 0; i < n->sizes; i++)
        json_array_append_new(sizes, json_integer(n->size[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:I, s:f, s:s, s:s, s:b}", "space",
                     nas_space_to_json(n->space), "phases", phases, "sizes", sizes, "trained",
                     nas_elastic_dims_json(&n->trained), "seed", (json_int_t)n->seed,
                     "valid_fraction", n->valid_fraction, "augment", n->augment, "data", n->data,
                     "teacher", n->teacher != NULL);
}

nas_status nas_supernet_save(const nas_supernet *n, const char *path, nas_err *err)
{
    json_t *state = state_json(n);
    nas_safetensors_builder *builder = state ? nas_checkpoint_begin(kind, state) : NULL;

    nas_supernet_add_tensors(builder, n, false);
    if (n->teacher != NULL)
        nas_checkpoint_add_second(builder, teacher_prefix, n->teacher);
    const nas_status status = nas_safetensors_builder_write(builder, path, NULL, err);
    nas_safetensors_builder_free(builder);
    json_decref(state);
    return status;
}

static nas_status read_phases(nas_supernet *n, const json_t *state, const char *path,
                              nas_err *err)
{
    const json_t *list = json_object_get(state, "phases");

    if (!json_is_array(list) || json_array_size(list) > NAS_MAX_PHASES)
        return nas_fail(err, NAS_E_DATA, "%s: 'phases' must be a list of at most %d", path,
                        NAS_MAX_PHASES);
    for (n->phases = 0; n->phases < (int)json_array_size(list); n->phases++) {
        const char *name = json_string_value(json_array_get(list, (size_t)n->phases));

        if (name == NULL || strlen(name) >= NAS_PHASE_NAME_SIZE)
            return nas_fail(err, NAS_E_DATA, "%s: phases[%d] is not a name", path, n->phases);
        snprintf(n->phase[n->phases], NAS_PHASE_NAME_SIZE, "%s", name);
    }
    return NAS_OK;
}

static nas_status read_state(nas_supernet *n, const json_t *state, const char *path, nas_err *err)
{
    const char *data = "", *augment = "none"; /* files of before they were noted */
    int64_t seed = 0;
    nas_status status;

    if ((status = read_phases(n, state, path, err)) ||
        (status = read_sizes(n, state, path, err)) ||
        (status = nas_json_int(state, path, "seed", true, INT64_MIN, INT64_MAX, &seed, err)) ||
        (status = nas_json_real(state, path, "valid_fraction", true, 0, 1, &n->valid_fraction,
                                err)) ||
        (status = nas_json_str(state, path, "data", false, &data, err)) ||
        (status = nas_json_str(state, path, "augment", false, &augment, err)))
        return status;
    if (nas_augment_preset(&(nas_augment){0}, augment, 0, NULL) != NAS_OK)
        return nas_fail(err, NAS_E_DATA, "%s: 'augment' is \"%.40s\", none that is known", path,
                        augment);
    snprintf(n->augment, sizeof n->augment, "%s", augment);
    snprintf(n->data, sizeof n->data, "%s", data);
    n->seed = (uint64_t)seed;
    if (n->phases == 0)
        return NAS_OK;
    if ((status = nas_elastic_dims_read(&n->trained, json_object_get(state, "trained"), path,
                                        err)) != NAS_OK)
        return status;
    if (n->trained.kernels == 0 || n->trained.expands == 0)
        return nas_fail(err, NAS_E_DATA, "%s: does not say what it was trained for", path);
    return NAS_OK;
}

static nas_status read_file(nas_supernet **out, const nas_safetensors *file, const json_t *state,
                            const char *path, int max_batch, nas_memory memory, nas_err *err)
{
    nas_space *space = NULL;
    bool teacher = false;
    nas_status status;

    if ((status = nas_space_from_json(&space, json_object_get(state, "space"), path, err)) ||
        (status = nas_supernet_new(out, space, max_batch, memory, 0, err)) ||
        (status = read_state(*out, state, path, err)) ||
        (status = nas_json_bool(state, path, "teacher", true, &teacher, err)) ||
        (status = nas_supernet_read_tensors(file, *out, false, err)) || !teacher)
        return status;
    status = new_teacher(*out, err);
    return status == NAS_OK
               ? nas_checkpoint_read_second(file, teacher_prefix, (*out)->teacher, err)
               : status;
}

nas_status nas_supernet_load(nas_supernet **out, const char *path, int max_batch,
                             nas_memory memory, nas_err *err)
{
    nas_safetensors *file = NULL;
    json_t *state = NULL;
    nas_status status = nas_checkpoint_open(&file, &state, path, kind, err);

    *out = NULL;
    if (status == NAS_OK)
        status = read_file(out, file, state, path, max_batch, memory, err);
    if (status == NAS_OK) {
        snprintf((*out)->digest, sizeof (*out)->digest, "%s",
                 nas_safetensors_meta(file, "nas.digest"));
    } else {
        nas_supernet_free(*out);
        *out = NULL;
    }
    json_decref(state);
    nas_safetensors_close(file);
    return status;
}

nas_status nas_supernet_choice(const nas_supernet *n, const nas_arch *arch, int *choice,
                               nas_err *err)
{
    nas_elastic_mask mask;
    nas_status status = nas_space_choice_of(n->space, arch, choice, err);

    if (status == NAS_OK && n->phases == 0)
        return nas_fail(err, NAS_E_CONFIG, "the supernet has not been trained");
    if (status == NAS_OK &&
        (status = nas_elastic_mask_make(&mask, n->space, &n->trained, err)) == NAS_OK)
        status = nas_elastic_mask_check(&mask, n->space, choice, err);
    return status;
}
