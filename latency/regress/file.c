/* A regressor's file: safetensors, with what it is and how good it is in the metadata. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "latency/regress/regressor.h"

static const char section[] = "nas.regressor"; /* of the metadata */
enum { FORMAT = 1, MAX_COUNT = 1 << 20 };

#define TEXT(name) {#name, offsetof(nas_latency_meta, name), sizeof(((nas_latency_meta *)0)->name)}

static const struct {
    const char *name;
    size_t offset, size;
} texts[] = {
    TEXT(device), TEXT(engine), TEXT(conditions), TEXT(created), TEXT(space),
};

static const struct {
    const char *name;
    size_t offset;
} counts[] = {
    {"cores", offsetof(nas_latency_meta, cores)},
    {"threads", offsetof(nas_latency_meta, threads)},
    {"batch", offsetof(nas_latency_meta, batch)},
    {"emulated", offsetof(nas_latency_meta, emulated)},
};

static const struct {
    const char *name;
    size_t offset;
    double min, max;
} measures[] = {
    {"mape", offsetof(nas_regressor_fit, mape), 0, 1e9},
    {"within_10", offsetof(nas_regressor_fit, within_10), 0, 1},
    {"bias", offsetof(nas_regressor_fit, bias), -1, 1e9},
    {"rmse_ms", offsetof(nas_regressor_fit, rmse_ms), 0, 1e9},
    {"spearman", offsetof(nas_regressor_fit, spearman), -1.000001, 1.000001},
    {"kendall", offsetof(nas_regressor_fit, kendall), -1.000001, 1.000001},
};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* ------------------------------------------------------------------ reading */

static nas_status read_sizes(nas_regressor *r, const json_t *json, const char *name, nas_err *err)
{
    const json_t *list = json_object_get(json, "image_sizes");
    const size_t count = json_array_size(list);

    if (count < 1 || count > NAS_REGRESSOR_MAX_SIZES)
        return nas_fail(err, NAS_E_DATA, "%s: its image_sizes must be a list of 1 to %d", name,
                        NAS_REGRESSOR_MAX_SIZES);
    for (size_t i = 0; i < count; i++) {
        const json_int_t size = json_integer_value(json_array_get(list, i));

        if (size < 1 || size > NAS_MAX_IMAGE_SIZE || (i > 0 && size <= r->image_size[i - 1]))
            return nas_fail(err, NAS_E_DATA, "%s: its image_sizes are no ascending sizes", name);
        r->image_size[r->sizes++] = (int)size;
    }
    return NAS_OK;
}

/* Lists beside the image sizes; a file of before they were kept has none. */
static nas_status read_probes(nas_regressor *r, const json_t *json, const char *name, nas_err *err)
{
    const json_t *digests = json_object_get(json, "probe"), *times = json_object_get(json, "probe_ms");

    if (digests == NULL && times == NULL)
        return NAS_OK;
    if (json_array_size(digests) != (size_t)r->sizes || json_array_size(times) != (size_t)r->sizes)
        return nas_fail(err, NAS_E_DATA, "%s: its probe and probe_ms must be lists of %d", name,
                        r->sizes);
    for (int i = 0; i < r->sizes; i++) {
        const char *digest = json_string_value(json_array_get(digests, (size_t)i));
        const double ms = json_number_value(json_array_get(times, (size_t)i));

        if (digest == NULL || strlen(digest) >= sizeof r->probe[i].digest ||
            !json_is_number(json_array_get(times, (size_t)i)) || !(ms >= 0.0 && ms <= 1e6))
            return nas_fail(err, NAS_E_DATA, "%s: probe %d is no digest with a time of 0 to 1e6 ms",
                            name, i);
        strcpy(r->probe[i].digest, digest);
        r->probe[i].ms = ms;
    }
    return NAS_OK;
}

static nas_status read_text(nas_regressor *r, const json_t *json, const char *name, size_t i,
                            nas_err *err)
{
    const char *text = "";
    const nas_status status = nas_json_str(json, name, texts[i].name, false, &text, err);

    if (status != NAS_OK)
        return status;
    if (strlen(text) >= texts[i].size)
        return nas_fail(err, NAS_E_DATA, "%s: its %s is longer than %zu bytes", name,
                        texts[i].name, texts[i].size - 1);
    strcpy((char *)&r->meta + texts[i].offset, text);
    return NAS_OK;
}

static nas_status read_about(nas_regressor *r, const json_t *json, const char *name, nas_err *err)
{
    int64_t format = 0, trained = 0, held_out = 0;
    nas_status status;

    if ((status = nas_json_int(json, name, "format", true, 1, FORMAT, &format, err)) ||
        (status = nas_json_int(json, name, "trained", true, 0, MAX_COUNT, &trained, err)) ||
        (status = nas_json_int(json, name, "held_out", true, 0, MAX_COUNT, &held_out, err)))
        return status;
    r->fit = (nas_regressor_fit){.trained = (int)trained, .held_out = (int)held_out};
    for (size_t i = 0; i < COUNT_OF(texts) && status == NAS_OK; i++)
        status = read_text(r, json, name, i, err);
    for (size_t i = 0; i < COUNT_OF(counts) && status == NAS_OK; i++) {
        int64_t value = 0;

        status = nas_json_int(json, name, counts[i].name, false, 0, MAX_COUNT, &value, err);
        *(int *)(void *)((char *)&r->meta + counts[i].offset) = (int)value;
    }
    for (size_t i = 0; i < COUNT_OF(measures) && status == NAS_OK; i++) {
        double value = NAN;

        if (!json_is_null(json_object_get(json, measures[i].name)))
            status = nas_json_real(json, name, measures[i].name, false, measures[i].min,
                                   measures[i].max, &value, err);
        *(double *)(void *)((char *)&r->fit + measures[i].offset) = value;
    }
    if (status == NAS_OK)
        status = read_sizes(r, json, name, err);
    return status == NAS_OK ? read_probes(r, json, name, err) : status;
}

/* The least and greatest features. */
static nas_status read_range(nas_regressor *r, const nas_safetensors *file, const char *name,
                             nas_err *err)
{
    const int64_t shape[] = {2, NAS_LATENCY_FEATURES};
    const nas_safetensors_tensor *range;
    const nas_status status =
        nas_safetensors_expect(file, "range", NAS_DTYPE_F32, 2, shape, &range, err);

    if (status != NAS_OK)
        return status;
    memcpy(r->low, range->data, sizeof r->low);
    memcpy(r->high, (const float *)range->data + NAS_LATENCY_FEATURES, sizeof r->high);
    for (int i = 0; i < NAS_LATENCY_FEATURES; i++)
        if (!isfinite(r->low[i]) || !isfinite(r->high[i]) || r->low[i] > r->high[i])
            return nas_fail(err, NAS_E_DATA, "%s: feature %d has no range", name, i);
    return NAS_OK;
}

static nas_status read_net(nas_regressor *r, const nas_safetensors *file, const char *name,
                           nas_err *err)
{
    const nas_safetensors_tensor *list[2 * NAS_DENSE_MAX_LAYERS];
    int count = 0;

    for (int i = 0; i < nas_safetensors_count(file); i++) {
        const nas_safetensors_tensor *t = nas_safetensors_at(file, i);

        if (strcmp(t->name, "range") == 0)
            continue;
        if (count == (int)COUNT_OF(list))
            return nas_fail(err, NAS_E_DATA, "%s: more tensors than a regressor has", name);
        list[count++] = t;
    }
    const nas_status status = nas_dense_read(&r->net, list, count, name, err);
    if (status == NAS_OK && r->net.width[0] != NAS_LATENCY_FEATURES)
        return nas_fail(err, NAS_E_DATA, "%s: has %d inputs, a regressor %d", name,
                        r->net.width[0], NAS_LATENCY_FEATURES);
    return status;
}

static nas_status read_file(nas_regressor *r, const nas_safetensors *file, const char *name,
                            nas_err *err)
{
    const char *text = nas_safetensors_meta(file, section);
    json_t *json = NULL;
    nas_status status;

    if (text == NULL)
        return nas_fail(err, NAS_E_DATA, "%s: is no regressor of latency: it has no %s", name,
                        section);
    if ((status = nas_json_parse(&json, text, strlen(text), name, err)) == NAS_OK &&
        (status = read_about(r, json, name, err)) == NAS_OK &&
        (status = read_range(r, file, name, err)) == NAS_OK)
        status = read_net(r, file, name, err);
    json_decref(json);
    return status;
}

nas_status nas_regressor_parse(nas_regressor **out, const void *data, size_t size,
                               const char *name, nas_err *err)
{
    nas_regressor *r = calloc(1, sizeof *r);
    nas_safetensors *file = NULL;
    nas_status status = r != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "%s: no memory", name);

    *out = NULL;
    if (status == NAS_OK &&
        (status = nas_safetensors_parse(&file, data, size, name, false, err)) == NAS_OK)
        status = read_file(r, file, name, err);
    nas_safetensors_close(file);
    if (status == NAS_E_DATA)
        nas_hint(err, "nas latency train makes one (docs/reference/latency-regressor.md)");
    if (status != NAS_OK) {
        nas_regressor_free(r);
        return status;
    }
    nas_digest(data, size, r->digest);
    *out = r;
    return NAS_OK;
}

nas_status nas_regressor_load(nas_regressor **out, const char *path, nas_err *err)
{
    nas_map map;
    nas_status status = nas_map_open(&map, path, err);

    *out = NULL;
    if (status != NAS_OK)
        return status;
    status = nas_regressor_parse(out, map.data, map.size, path, err);
    nas_map_close(&map);
    return status;
}

/* Eight bytes of length, then a JSON object; no YAML has a NUL.  What is no plain file, as a pipe,
 * can be read but once: it is a table. */
bool nas_regressor_is(const char *path)
{
    unsigned char head[9] = "";
    struct stat about;
    FILE *file = stat(path, &about) == 0 && S_ISREG(about.st_mode) ? fopen(path, "rbe") : NULL;

    if (file == NULL)
        return false;
    const size_t size = fread(head, 1, sizeof head, file);
    fclose(file);
    return size == sizeof head && head[7] == '\0' && head[8] == '{';
}

/* ------------------------------------------------------------------ writing */

static json_t *about(const nas_regressor *r)
{
    json_t *json = json_pack("{s:i, s:i, s:i}", "format", FORMAT, "trained", r->fit.trained,
                             "held_out", r->fit.held_out);
    json_t *sizes = json_array(), *digests = json_array(), *times = json_array();

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        json_object_set_new(json, texts[i].name,
                            json_string((const char *)&r->meta + texts[i].offset));
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        json_object_set_new(
            json, counts[i].name,
            json_integer(*(const int *)(const void *)((const char *)&r->meta + counts[i].offset)));
    for (size_t i = 0; i < COUNT_OF(measures); i++) {
        const double value =
            *(const double *)(const void *)((const char *)&r->fit + measures[i].offset);

        json_object_set_new(json, measures[i].name,
                            isfinite(value) ? json_real(value) : json_null());
    }
    for (int i = 0; i < r->sizes; i++) {
        json_array_append_new(sizes, json_integer(r->image_size[i]));
        json_array_append_new(digests, json_string(r->probe[i].digest));
        json_array_append_new(times, json_real(r->probe[i].ms));
    }
    json_object_set_new(json, "image_sizes", sizes);
    json_object_set_new(json, "probe", digests);
    json_object_set_new(json, "probe_ms", times);
    return json;
}

nas_status nas_regressor_save(const nas_regressor *r, const char *path, nas_err *err)
{
    const int64_t shape[] = {2, NAS_LATENCY_FEATURES};
    float range[2 * NAS_LATENCY_FEATURES], *room = NULL;
    nas_safetensors_builder *file = nas_safetensors_builder_new();
    json_t *json = about(r);
    char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    nas_status status = text != NULL ? nas_dense_write(&r->net, file, &room, err)
                                     : nas_fail(err, NAS_E_NOMEM, "%s: no memory", path);

    memcpy(range, r->low, sizeof r->low);
    memcpy(range + NAS_LATENCY_FEATURES, r->high, sizeof r->high);
    if (status == NAS_OK) {
        nas_safetensors_builder_add(file, "range", NAS_DTYPE_F32, 2, shape, range);
        nas_safetensors_builder_meta(file, section, text);
        status = nas_safetensors_builder_write(file, path, NULL, err);
    }
    nas_safetensors_builder_free(file);
    json_decref(json);
    free(text);
    free(room);
    return status;
}
