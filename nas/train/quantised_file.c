/* Weights as codes of their bits, one after the other without gaps, and what they stand for. */
#include "nas/train/quantised_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/quant/sites.h"

enum { MOST_VALUES = 256 };

/* ---- codes ---- */

static size_t packed_bytes(size_t count, int bits) { return (count * (size_t)bits + 7) / 8; }

/* The lowest bit of a code comes first. */
static void put_code(uint8_t *to, size_t index, int bits, unsigned code)
{
    for (int b = 0; b < bits; b++) {
        const size_t at = index * (size_t)bits + (size_t)b;
        to[at / 8] = (uint8_t)(to[at / 8] | (code >> b & 1u) << at % 8);
    }
}

static unsigned get_code(const uint8_t *from, size_t index, int bits)
{
    unsigned code = 0;

    for (int b = 0; b < bits; b++) {
        const size_t at = index * (size_t)bits + (size_t)b;
        code |= (unsigned)(from[at / 8] >> at % 8 & 1) << b;
    }
    return code;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* The different values among `count`, sorted; -1 if there are more than `most`. */
static int distinct(const float *values, size_t count, int most, float *out)
{
    int found = 0;

    for (size_t i = 0; i < count; i++) {
        const float *hit = bsearch(&values[i], out, (size_t)found, sizeof *out, by_value);
        if (hit != NULL)
            continue;
        if (found == most)
            return -1;
        out[found++] = values[i];
        qsort(out, (size_t)found, sizeof *out, by_value);
    }
    return found;
}

/* ---- the tensors of one site ---- */

typedef struct site_names {
    char codes[112], meaning[112];
} site_names;

static void names_of(const char *name, bool linear, site_names *out)
{
    snprintf(out->codes, sizeof out->codes, "%s.codes", name);
    snprintf(out->meaning, sizeof out->meaning, "%s.%s", name, linear ? "step" : "values");
}

/* What stays alive until the file is written. */
typedef struct writing {
    nas_safetensors_builder *builder;
    const nas_model *model;
    const nas_quant_site *site;
    int count, done;     /* sites; those that were added */
    uint8_t **codes;     /* [count] */
    float *values;       /* [count][MOST_VALUES] */
} writing;

static nas_status add_site(writing *w, const char *name, const nas_quant_site *site,
                           const float *values, nas_err *err)
{
    const nas_quant *quant = site->quant;
    const size_t count = site->weight->count, out = (size_t)site->weight->out;
    const int bits = quant->weight_bits, shift = (1 << (bits - 1)) - 1;
    const int64_t bytes = (int64_t)packed_bytes(count, bits);
    float *list = w->values + (size_t)w->done * MOST_VALUES;
    uint8_t *codes = w->codes[w->done] = calloc((size_t)bytes, 1);
    int64_t meanings = (int64_t)out;
    site_names names;

    if (codes == NULL)
        return nas_fail(err, NAS_E_NOMEM, "model file: out of memory");
    names_of(name, quant->weight_step != NULL, &names);
    if (quant->weight_step != NULL) {
        for (size_t i = 0; i < count; i++) {
            const float step = quant->weight_step[i % out];
            const float whole = step > 0.0f ? rintf(values[i] / step) : 0.0f;
            const int code = fabsf(whole) <= (float)shift ? (int)whole : shift + 1;

            if (code > shift)
                return nas_fail(err, NAS_E_CONFIG, "%s: a weight is none of its %d-bit numbers",
                                site->name, bits);
            put_code(codes, i, bits, (unsigned)(code + shift));
        }
        nas_safetensors_builder_add(w->builder, names.meaning, NAS_DTYPE_F32, 1, &meanings,
                                    quant->weight_step);
    } else {
        const int found = distinct(values, count, 1 << bits, list);
        if (found < 0)
            return nas_fail(err, NAS_E_CONFIG, "%s: more than %d different weights", site->name,
                            1 << bits);
        for (size_t i = 0; i < count; i++) {
            const float *hit = bsearch(&values[i], list, (size_t)found, sizeof *list, by_value);
            put_code(codes, i, bits, (unsigned)(hit - list));
        }
        meanings = found;
        nas_safetensors_builder_add(w->builder, names.meaning, NAS_DTYPE_F32, 1, &meanings, list);
    }
    nas_safetensors_builder_add(w->builder, names.codes, NAS_DTYPE_U8, 1, &bytes, codes);
    return NAS_OK;
}

/* The site of a parameter that is quantised; sites come in the order of the parameters they are,
 * but a layer's other tensors lie between them. */
static const nas_quant_site *site_of(const nas_quant_site *site, int count, const nas_param *param)
{
    for (int i = 0; i < count; i++)
        if (site[i].weight == param)
            return site[i].quant->weight_bits > 0 ? &site[i] : NULL;
    return NULL;
}

static nas_status add_tensor(void *user, const char *name, const nas_param *param, float *values,
                             nas_err *err)
{
    writing *w = user;
    const nas_quant_site *site = site_of(w->site, w->count, param);

    if (site == NULL)
        return nas_checkpoint__add(w->builder, name, param, values, err);
    const nas_status status = add_site(w, name, site, values, err);
    w->done++;
    return status;
}

static json_t *sites_json(const nas_quant_site *site, int count)
{
    json_t *list = json_array();

    for (int i = 0; i < count; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:i, s:i, s:b, s:f}", "layer", site[i].name, "weight_bits",
                            site[i].quant->weight_bits, "input_bits", site[i].quant->input_bits,
                            "full_wave", site[i].quant->full_wave, "range",
                            (double)site[i].quant->range));
    return list;
}

nas_status nas_quantised_save(const nas_model *model, const nas_arch *arch, const char *path,
                              nas_err *err)
{
    writing w = {.model = model};
    nas_quant_site *site = NULL;
    json_t *state = nas_arch_to_json(arch), *list = NULL;
    char *text = NULL;
    nas_status status = nas_quant_sites(&site, &w.count, model, err);

    if (status != NAS_OK)
        goto done;
    w.site = site;
    w.codes = calloc((size_t)w.count + 1, sizeof *w.codes);
    w.values = calloc((size_t)w.count + 1, MOST_VALUES * sizeof *w.values);
    w.builder = state != NULL ? nas_checkpoint_begin("quantised", state) : NULL;
    list = sites_json(site, w.count);
    text = list != NULL ? json_dumps(list, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (w.codes == NULL || w.values == NULL || w.builder == NULL || text == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "model file: out of memory");
        goto done;
    }
    nas_safetensors_builder_meta(w.builder, "nas.quantisation", text);
    if ((status = nas_checkpoint__each(model, "", false, add_tensor, &w, err)) == NAS_OK)
        status = nas_safetensors_builder_write(w.builder, path, NULL, err);

done:
    nas_safetensors_builder_free(w.builder);
    for (int i = 0; i < w.count && w.codes != NULL; i++)
        free(w.codes[i]);
    free(w.codes);
    free(w.values);
    free(site);
    free(text);
    json_decref(list);
    json_decref(state);
    return status;
}

/* ---- reading ---- */

static nas_status read_record(const json_t *json, const char *path, const nas_quant_site *site,
                              nas_err *err)
{
    int64_t weight_bits = 0, input_bits = 0;
    double range = 0;
    bool full_wave = false;
    char where[1024];
    nas_status status;

    snprintf(where, sizeof where, "%.900s: nas.quantisation: %s", path, site->name);
    if ((status = nas_json_int(json, where, "weight_bits", true, 0, 8, &weight_bits, err)) ||
        (status = nas_json_int(json, where, "input_bits", true, 0, 8, &input_bits, err)) ||
        (status = nas_json_bool(json, where, "full_wave", true, &full_wave, err)) ||
        (status = nas_json_real(json, where, "range", true, 1e-30, 1e30, &range, err)))
        return status;
    if (input_bits == 1)
        return nas_fail(err, NAS_E_DATA, "%s: input_bits is 1, must be 0 or 2 to 8", where);
    site->quant->weight_bits = (int)weight_bits;
    site->quant->input_bits = (int)input_bits;
    site->quant->full_wave = full_wave;
    site->quant->range = (float)range;
    return NAS_OK;
}

static nas_status read_records(const nas_safetensors *file, const char *path,
                               const nas_quant_site *site, int count, nas_err *err)
{
    const char *text = nas_safetensors_meta(file, "nas.quantisation");
    json_t *list = NULL;
    nas_status status;

    if (text == NULL)
        return nas_fail(err, NAS_E_DATA, "%s: no nas.quantisation in its metadata", path);
    if ((status = nas_json_parse(&list, text, strlen(text), path, err)) != NAS_OK)
        return status;
    if (!json_is_array(list) || json_array_size(list) != (size_t)count)
        status = nas_fail(err, NAS_E_DATA, "%s: nas.quantisation is not a list of its %d layers",
                          path, count);
    for (int i = 0; i < count && status == NAS_OK; i++)
        status = read_record(json_array_get(list, (size_t)i), path, &site[i], err);
    json_decref(list);
    return status;
}

typedef struct reading {
    const nas_safetensors *file;
    const char *path;
    const nas_quant_site *site;
    int count;
} reading;

static nas_status check_steps(const reading *r, const char *name, const float *steps, size_t count,
                              nas_err *err)
{
    for (size_t i = 0; i < count; i++)
        if (!(steps[i] >= 0.0f && steps[i] < 1e30f))
            return nas_fail(err, NAS_E_DATA, "%s: %s[%zu] is %g, must be 0 or above", r->path,
                            name, i, (double)steps[i]);
    return NAS_OK;
}

static nas_status read_site(const reading *r, const char *name, const nas_quant_site *site,
                            float *values, nas_err *err)
{
    nas_quant *quant = site->quant;
    const size_t count = site->weight->count, out = (size_t)site->weight->out;
    const int bits = quant->weight_bits, shift = (1 << (bits - 1)) - 1;
    const int64_t bytes = (int64_t)packed_bytes(count, bits), steps = (int64_t)out;
    const nas_safetensors_tensor *codes, *meaning;
    site_names names;
    nas_status status;

    names_of(name, true, &names);
    const bool linear = nas_safetensors_find(r->file, names.meaning) != NULL;
    names_of(name, linear, &names);
    if ((status = nas_safetensors_expect(r->file, names.codes, NAS_DTYPE_U8, 1, &bytes, &codes,
                                         err)) != NAS_OK)
        return status;
    meaning = nas_safetensors_find(r->file, names.meaning);
    if (meaning == NULL || meaning->dtype != NAS_DTYPE_F32 || meaning->rank != 1 ||
        (linear ? meaning->count != steps || bits < 2 : meaning->count > 1 << bits))
        return nas_fail(err, NAS_E_DATA, "%s: %s: not the floats that codes of %d bits need",
                        r->path, names.meaning, bits);
    const float *list = meaning->data;
    if (linear && (status = check_steps(r, names.meaning, list, out, err)) != NAS_OK)
        return status;
    if (linear && (quant->weight_step = malloc(out * sizeof *list)) == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: out of memory", r->path);
    if (linear)
        memcpy(quant->weight_step, list, out * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        const int code = (int)get_code(codes->data, i, bits);
        if (linear ? code > 2 * shift : code >= meaning->count)
            return nas_fail(err, NAS_E_DATA, "%s: %s: code %d of weight %zu stands for nothing",
                            r->path, names.codes, code, i);
        values[i] = linear ? list[i % out] * (float)(code - shift) : list[code];
    }
    return NAS_OK;
}

static nas_status read_tensor(void *user, const char *name, const nas_param *param, float *values,
                              nas_err *err)
{
    const reading *r = user;
    const nas_quant_site *site = site_of(r->site, r->count, param);
    nas_status status;

    if (site != NULL)
        return read_site(r, name, site, values, err);
    status = nas_checkpoint__expect((void *)r->file, name, param, values, err);
    return status == NAS_OK ? nas_checkpoint__copy((void *)r->file, name, param, values, err)
                            : status;
}

nas_status nas_quantised_read(const nas_safetensors *file, const char *path, nas_model *model,
                              nas_err *err)
{
    reading r = {.file = file, .path = path};
    nas_quant_site *site = NULL;
    nas_status status;

    if ((status = nas_quant_attach(model, err)) == NAS_OK &&
        (status = nas_quant_sites(&site, &r.count, model, err)) == NAS_OK &&
        (status = read_records(file, path, site, r.count, err)) == NAS_OK) {
        r.site = site;
        status = nas_checkpoint__each(model, "", false, read_tensor, &r, err);
    }
    free(site);
    return status;
}
