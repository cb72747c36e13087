/* Reading safetensors.  The file is somebody else's: nothing in it is used unchecked. */
#include "nas/train/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "nas/train/safetensors_private.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[NAS_DTYPE_COUNT] = {
    [NAS_DTYPE_F64] = {"F64", 8}, [NAS_DTYPE_I64] = {"I64", 8}, [NAS_DTYPE_U64] = {"U64", 8},
    [NAS_DTYPE_F32] = {"F32", 4}, [NAS_DTYPE_I32] = {"I32", 4}, [NAS_DTYPE_U32] = {"U32", 4},
    [NAS_DTYPE_F16] = {"F16", 2}, [NAS_DTYPE_BF16] = {"BF16", 2}, [NAS_DTYPE_I16] = {"I16", 2},
    [NAS_DTYPE_U16] = {"U16", 2}, [NAS_DTYPE_I8] = {"I8", 1}, [NAS_DTYPE_U8] = {"U8", 1},
    [NAS_DTYPE_BOOL] = {"BOOL", 1},
};

struct nas_safetensors {
    nas_map map; /* empty when the memory is the caller's */
    char *name;  /* for messages */
    json_t *header;
    nas_safetensors_tensor *tensors; /* by name */
    int count;
    const unsigned char *data; /* the data part */
    uint64_t data_size;
};

const char *nas_dtype_name(nas_dtype dtype)
{
    return dtypes[dtype].name;
}

size_t nas_dtype_size(nas_dtype dtype)
{
    return dtypes[dtype].size;
}

nas_hash *nas_safetensors__hash_header(json_t *header)
{
    json_t *meta = json_object_get(header, NAS_SAFETENSORS__METADATA);
    json_t *digest = json_incref(json_object_get(meta, NAS_SAFETENSORS__DIGEST));
    nas_hash *hash = nas_hash_new();

    json_object_del(meta, NAS_SAFETENSORS__DIGEST);
    char *text = json_dumps(header, JSON_COMPACT | JSON_SORT_KEYS);
    const bool restored = !digest ||
                          json_object_set_new(meta, NAS_SAFETENSORS__DIGEST, digest) == 0;
    if (text && restored && hash) {
        nas_hash_add(hash, text, strlen(text));
    } else {
        nas_hash_free(hash);
        hash = NULL;
    }
    free(text);
    return hash;
}

/* `file` is only for messages. */
static nas_status bad(const nas_safetensors *file, const char *tensor, const char *why,
                      nas_err *err)
{
    nas_fail(err, NAS_E_DATA, "%s: %s%.100s%s%s", file->name, tensor ? "tensor '" : "",
             tensor ? tensor : "", tensor ? "': " : "", why);
    nas_hint(err, "the file is damaged or not a safetensors file; take another copy");
    return NAS_E_DATA;
}

/* A member that must be a whole number of at least 0. */
static bool read_natural(const json_t *json, int64_t *out)
{
    *out = json_is_integer(json) ? json_integer_value(json) : -1;
    return *out >= 0;
}

static bool read_dtype(const json_t *json, nas_dtype *out)
{
    for (int d = 0; json_is_string(json) && d < NAS_DTYPE_COUNT; d++)
        if (strcmp(dtypes[d].name, json_string_value(json)) == 0) {
            *out = (nas_dtype)d;
            return true;
        }
    return false;
}

/* Dimensions and their product, which must not overflow. */
static bool read_shape(const json_t *json, nas_safetensors_tensor *t)
{
    int64_t bytes;

    if (!json_is_array(json) || json_array_size(json) > NAS_SAFETENSORS_RANK)
        return false;
    t->rank = (int)json_array_size(json);
    t->count = 1;
    for (int i = 0; i < t->rank; i++)
        if (!read_natural(json_array_get(json, (size_t)i), &t->shape[i]) ||
            __builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return false;
    return !__builtin_mul_overflow(t->count, (int64_t)dtypes[t->dtype].size, &bytes);
}

static nas_status read_tensor(const nas_safetensors *file, const char *name, const json_t *json,
                              nas_safetensors_tensor *t, nas_err *err)
{
    const json_t *offsets = json_object_get(json, "data_offsets");
    int64_t begin, end;

    t->name = name;
    if (!read_dtype(json_object_get(json, "dtype"), &t->dtype))
        return bad(file, name, "unknown dtype", err);
    if (!read_shape(json_object_get(json, "shape"), t))
        return bad(file, name, "impossible shape", err);
    if (json_array_size(offsets) != 2 || !read_natural(json_array_get(offsets, 0), &begin) ||
        !read_natural(json_array_get(offsets, 1), &end) || begin > end ||
        (uint64_t)end > file->data_size)
        return bad(file, name, "data_offsets outside the file", err);
    if (end - begin != t->count * (int64_t)dtypes[t->dtype].size)
        return bad(file, name, "data_offsets do not fit dtype and shape", err);
    t->data = file->data + begin;
    if ((uintptr_t)t->data % dtypes[t->dtype].size != 0)
        return bad(file, name, "not aligned to its dtype", err);
    return NAS_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const nas_safetensors_tensor *)a)->name,
                  ((const nas_safetensors_tensor *)b)->name);
}

static const unsigned char *data_end(const nas_safetensors_tensor *t)
{
    return (const unsigned char *)t->data + (size_t)t->count * dtypes[t->dtype].size;
}

static int by_place(const void *a, const void *b)
{
    const nas_safetensors_tensor *x = a, *y = b;

    if (x->data != y->data)
        return (const unsigned char *)x->data < (const unsigned char *)y->data ? -1 : 1;
    return (data_end(x) > data_end(y)) - (data_end(x) < data_end(y)); /* empty ones first */
}

/* The tensors must cover the data part exactly: no gap, no overlap.  Leaves them by name. */
static nas_status check_cover(nas_safetensors *file, nas_err *err)
{
    const unsigned char *at = file->data;

    qsort(file->tensors, (size_t)file->count, sizeof *file->tensors, by_place);
    for (int i = 0; i < file->count; at = data_end(&file->tensors[i++]))
        if (file->tensors[i].data != at)
            return bad(file, file->tensors[i].name,
                       (const unsigned char *)file->tensors[i].data < at
                           ? "overlaps another tensor" : "a gap in the data before it", err);
    if (at != file->data + file->data_size)
        return bad(file, NULL, "data behind the last tensor", err);
    qsort(file->tensors, (size_t)file->count, sizeof *file->tensors, by_name);
    return NAS_OK;
}

static nas_status read_header(nas_safetensors *file, const unsigned char *bytes, size_t size,
                              nas_err *err)
{
    uint64_t length = 0;
    json_error_t where;
    char why[JSON_ERROR_TEXT_LENGTH + 64];

    if (size < 8)
        return bad(file, NULL, "shorter than its 8-byte prefix", err);
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)bytes[i] << (8 * i);
    if (length > size - 8 || length > NAS_SAFETENSORS_HEADER_MAX)
        return bad(file, NULL, "impossible header length", err);
    if (length < 2 || bytes[8] != '{')
        return bad(file, NULL, "the header is no JSON object", err);
    file->header = json_loadb((const char *)bytes + 8, (size_t)length, JSON_REJECT_DUPLICATES,
                              &where);
    if (!file->header &&
        (json_error_code(&where) == json_error_out_of_memory || nas_json_out_of_memory()))
        return nas_fail(err, NAS_E_NOMEM, "%s: header", file->name);
    if (!file->header) {
        snprintf(why, sizeof why, "header, byte %d: %s", where.position + 8, where.text);
        return bad(file, NULL, why, err);
    }
    file->data = bytes + 8 + length;
    file->data_size = size - 8 - length;
    return NAS_OK;
}

static nas_status read_tensors(nas_safetensors *file, nas_err *err)
{
    const char *key;
    json_t *value;
    nas_status status;

    file->tensors = calloc(json_object_size(file->header) + 1, sizeof *file->tensors);
    if (!file->tensors)
        return nas_fail(err, NAS_E_NOMEM, "%s: header", file->name);
    json_object_foreach(file->header, key, value)
        if (strcmp(key, NAS_SAFETENSORS__METADATA) != 0) {
            if ((status = read_tensor(file, key, value, &file->tensors[file->count], err)))
                return status;
            file->count++;
        }
    return check_cover(file, err);
}

static nas_status check_meta(nas_safetensors *file, nas_err *err)
{
    json_t *meta = json_object_get(file->header, NAS_SAFETENSORS__METADATA), *value;
    const char *key;

    if (meta && !json_is_object(meta))
        return bad(file, NULL, "__metadata__ is no object", err);
    json_object_foreach(meta, key, value)
        if (!json_is_string(value))
            return bad(file, NULL, "__metadata__ holds something other than strings", err);
    return NAS_OK;
}

static nas_status check_digest(nas_safetensors *file, bool need, nas_err *err)
{
    const char *recorded = nas_safetensors_meta(file, NAS_SAFETENSORS__DIGEST);
    char actual[NAS_DIGEST_SIZE];
    nas_hash *hash;

    if (!recorded)
        return need ? bad(file, NULL, "no digest in it: not written by nas", err) : NAS_OK;
    if (!(hash = nas_safetensors__hash_header(file->header)))
        return nas_fail(err, NAS_E_NOMEM, "%s: header", file->name);
    nas_hash_add(hash, file->data, file->data_size);
    nas_hash_hex(hash, actual);
    nas_hash_free(hash);
    /* hash_header has put the digest back: ask again, the string may have moved */
    if (strcmp(nas_safetensors_meta(file, NAS_SAFETENSORS__DIGEST), actual) != 0)
        return bad(file, NULL, "its content does not match its digest", err);
    return NAS_OK;
}

static nas_status read_all(nas_safetensors *file, const void *data, size_t size, bool need_digest,
                           nas_err *err)
{
    nas_status status;

    if ((status = read_header(file, data, size, err)) || (status = check_meta(file, err)) ||
        (status = read_tensors(file, err)))
        return status;
    return check_digest(file, need_digest, err);
}

nas_status nas_safetensors_parse(nas_safetensors **out, const void *data, size_t size,
                                 const char *name, bool need_digest, nas_err *err)
{
    nas_safetensors *file = calloc(1, sizeof *file);
    nas_status status;

    *out = NULL;
    if (!file || !(file->name = strdup(name))) {
        free(file);
        return nas_fail(err, NAS_E_NOMEM, "%s", name);
    }
    if ((status = read_all(file, data, size, need_digest, err))) {
        nas_safetensors_close(file);
        return status;
    }
    *out = file;
    return NAS_OK;
}

nas_status nas_safetensors_open(nas_safetensors **out, const char *path, bool need_digest,
                                nas_err *err)
{
    nas_map map;
    nas_status status = nas_map_open(&map, path, err);

    *out = NULL;
    if (status)
        return status;
    if ((status = nas_safetensors_parse(out, map.data, map.size, path, need_digest, err)))
        nas_map_close(&map);
    else
        (*out)->map = map;
    return status;
}

void nas_safetensors_close(nas_safetensors *file)
{
    if (!file)
        return;
    json_decref(file->header);
    nas_map_close(&file->map);
    free(file->tensors);
    free(file->name);
    free(file);
}

int nas_safetensors_count(const nas_safetensors *file)
{
    return file->count;
}

const nas_safetensors_tensor *nas_safetensors_at(const nas_safetensors *file, int index)
{
    return &file->tensors[index];
}

const nas_safetensors_tensor *nas_safetensors_find(const nas_safetensors *file, const char *name)
{
    const nas_safetensors_tensor key = {.name = name};

    return bsearch(&key, file->tensors, (size_t)file->count, sizeof key, by_name);
}

nas_status nas_safetensors_expect(const nas_safetensors *file, const char *name, nas_dtype dtype,
                                  int rank, const int64_t *shape,
                                  const nas_safetensors_tensor **out, nas_err *err)
{
    const nas_safetensors_tensor *t = nas_safetensors_find(file, name);

    if (!t)
        return nas_fail(err, NAS_E_DATA, "%s: there is no tensor '%s'", file->name, name);
    if (t->dtype != dtype)
        return nas_fail(err, NAS_E_DATA, "%s: tensor '%s' is %s, not %s", file->name, name,
                        dtypes[t->dtype].name, dtypes[dtype].name);
    if (t->rank != rank)
        return nas_fail(err, NAS_E_DATA, "%s: tensor '%s' has %d dimensions, not %d", file->name,
                        name, t->rank, rank);
    for (int i = 0; i < rank; i++)
        if (t->shape[i] != shape[i])
            return nas_fail(err, NAS_E_DATA, "%s: tensor '%s' has %lld in dimension %d, not %lld",
                            file->name, name, (long long)t->shape[i], i, (long long)shape[i]);
    *out = t;
    return NAS_OK;
}

const char *nas_safetensors_meta(const nas_safetensors *file, const char *key)
{
    return json_string_value(
        json_object_get(json_object_get(file->header, NAS_SAFETENSORS__METADATA), key));
}

void nas_safetensors_each_meta(const nas_safetensors *file,
                               void (*visit)(void *user, const char *key, const char *value),
                               void *user)
{
    const char *key;
    json_t *value;

    json_object_foreach(json_object_get(file->header, NAS_SAFETENSORS__METADATA), key, value)
        visit(user, key, json_string_value(value));
}
