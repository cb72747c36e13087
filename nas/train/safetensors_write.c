/* Writing safetensors: largest elements first, so that every tensor is aligned without gaps. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nas/train/safetensors_private.h"

enum { HEADER_ALIGN = 64 };

typedef struct item {
    json_t *info; /* borrowed from the header object */
    nas_dtype dtype;
    uint64_t size; /* bytes */
    const void *data;
} item;

struct nas_safetensors_builder {
    json_t *header, *meta; /* meta is a member of header */
    item *items;
    int count, capacity;
    nas_err error;
};

nas_safetensors_builder *nas_safetensors_builder_new(void)
{
    nas_safetensors_builder *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    b->header = json_object();
    b->meta = json_object();
    if (json_object_set(b->header, NAS_SAFETENSORS__METADATA, b->meta)) {
        nas_safetensors_builder_free(b);
        return NULL;
    }
    return b;
}

void nas_safetensors_builder_free(nas_safetensors_builder *b)
{
    if (!b)
        return;
    json_decref(b->meta);
    json_decref(b->header);
    free(b->items);
    free(b);
}

static bool reserve(nas_safetensors_builder *b)
{
    if (b->count < b->capacity)
        return true;
    const int capacity = b->capacity ? 2 * b->capacity : 64;
    item *grown = realloc(b->items, (size_t)capacity * sizeof *grown);
    if (!grown)
        return false;
    b->items = grown;
    b->capacity = capacity;
    return true;
}

void nas_safetensors_builder_add(nas_safetensors_builder *b, const char *name, nas_dtype dtype,
                                 int rank, const int64_t *shape, const void *data)
{
    uint64_t size = nas_dtype_size(dtype);

    if (!b || b->error.status)
        return;
    if (json_object_get(b->header, name)) {
        nas_fail(&b->error, NAS_E_FAIL, "tensor '%s': the name is taken", name);
        return;
    }
    json_t *dims = json_array();
    for (int i = 0; i < rank; i++) {
        size *= (uint64_t)shape[i];
        json_array_append_new(dims, json_integer(shape[i]));
    }
    json_t *info = json_pack("{s:s, s:o}", "dtype", nas_dtype_name(dtype), "shape", dims);
    if (!info || json_array_size(json_object_get(info, "shape")) != (size_t)rank || !reserve(b) ||
        json_object_set(b->header, name, info))
        nas_fail(&b->error, NAS_E_NOMEM, "tensor '%s': out of memory, or the name is not UTF-8",
                 name);
    else
        b->items[b->count++] = (item){info, dtype, size, data};
    json_decref(info);
}

void nas_safetensors_builder_meta(nas_safetensors_builder *b, const char *key, const char *value)
{
    if (b && !b->error.status && json_object_set_new(b->meta, key, json_string(value)))
        nas_fail(&b->error, NAS_E_NOMEM, "metadata '%s': out of memory, or not UTF-8", key);
}

/* Offsets into the data part, in the order in which the items will be written. */
static bool place(nas_safetensors_builder *b)
{
    uint64_t offset = 0;

    for (size_t align = 8; align >= 1; align /= 2)
        for (int i = 0; i < b->count; i++) {
            const item *it = &b->items[i];

            if (nas_dtype_size(it->dtype) != align)
                continue;
            if (json_object_set_new(it->info, "data_offsets",
                                    json_pack("[I, I]", (json_int_t)offset,
                                              (json_int_t)(offset + it->size))))
                return false;
            offset += it->size;
        }
    return true;
}

/* Calls use(user, data, size) for every item in the order of place(). */
static void each_data(const nas_safetensors_builder *b,
                      void (*use)(void *user, const void *data, size_t size), void *user)
{
    for (size_t align = 8; align >= 1; align /= 2)
        for (int i = 0; i < b->count; i++)
            if (nas_dtype_size(b->items[i].dtype) == align)
                use(user, b->items[i].data, (size_t)b->items[i].size);
}

static void use_hash(void *hash, const void *data, size_t size)
{
    nas_hash_add(hash, data, size);
}

static void use_writer(void *writer, const void *data, size_t size)
{
    nas_writer_put(writer, data, size);
}

static nas_status write_file(const nas_safetensors_builder *b, const char *path, const char *header,
                             nas_err *err)
{
    const size_t length = strlen(header);
    const size_t padded = (8 + length + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN - 8;
    unsigned char prefix[8];
    char spaces[HEADER_ALIGN];
    nas_writer *writer;
    nas_status status;

    if (padded > NAS_SAFETENSORS_HEADER_MAX)
        return nas_fail(err, NAS_E_FAIL, "%s: the header would have %zu bytes, the limit is %d",
                        path, padded, NAS_SAFETENSORS_HEADER_MAX);
    if ((status = nas_writer_open(&writer, path, err)))
        return status;
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    memset(spaces, ' ', sizeof spaces);
    nas_writer_put(writer, prefix, sizeof prefix);
    nas_writer_put(writer, header, length);
    nas_writer_put(writer, spaces, padded - length);
    each_data(b, use_writer, writer);
    return nas_writer_commit(writer, err);
}

nas_status nas_safetensors_builder_write(nas_safetensors_builder *b, const char *path,
                                         char digest[NAS_DIGEST_SIZE], nas_err *err)
{
    char hex[NAS_DIGEST_SIZE];
    char *text = NULL;
    nas_hash *hash = NULL;
    nas_status status = NAS_OK;

    if (b && b->error.status)
        return nas_fail(err, b->error.status, "%s: %s", path, b->error.message);
    if (!b || !place(b) || !(hash = nas_safetensors__hash_header(b->header))) {
        status = nas_fail(err, NAS_E_NOMEM, "%s: header", path);
        goto done;
    }
    each_data(b, use_hash, hash);
    nas_hash_hex(hash, hex);
    nas_safetensors_builder_meta(b, NAS_SAFETENSORS__DIGEST, hex);
    if (b->error.status || !(text = json_dumps(b->header, JSON_COMPACT))) {
        status = nas_fail(err, NAS_E_NOMEM, "%s: header", path);
        goto done;
    }
    if (!(status = write_file(b, path, text, err)) && digest)
        memcpy(digest, hex, sizeof hex);
done:
    free(text);
    nas_hash_free(hash);
    return status;
}
