/* torch.save's file.  The zip archive "archive/" holds data.pkl, one file data/<n> a tensor, and
 * version; nothing is compressed, and data begins at multiples of 64 bytes, so that readers can
 * map it.  The pickle uses protocol 2 and only what torch.load takes with weights_only. */
#include "nas/export/torch_file.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/file.h"

enum {
    ALIGN = 64,
    ENTRY_NAME = 32,     /* bytes, "archive/data/<n>"                      */
    TENSOR_PICKLE = 512, /* bytes that one tensor takes in the pickle      */
    LOCAL_HEADER = 30,
    CENTRAL_HEADER = 46,
    EXTRA_HEADER = 4
};

/* Bytes in a block that is large enough. */
typedef struct bytes {
    unsigned char *at;
    size_t size, room;
} bytes;

static void put(bytes *to, const void *data, size_t size)
{
    assert(size <= to->room - to->size);
    memcpy(to->at + to->size, data, size);
    to->size += size;
}

static void put_text(bytes *to, const char *text)
{
    put(to, text, strlen(text));
}

static void put_number(bytes *to, uint64_t value, int size) /* little endian */
{
    for (int i = 0; i < size; i++, value >>= 8)
        put(to, &(unsigned char){(unsigned char)value}, 1);
}

/* -- the pickle -------------------------------------------------------------------------- */

static void pickle_text(bytes *to, const char *text)
{
    put_text(to, "X"); /* BINUNICODE */
    put_number(to, strlen(text), 4);
    put_text(to, text);
}

static void pickle_int(bytes *to, int64_t value)
{
    put_text(to, "J"); /* BININT */
    put_number(to, (uint64_t)value, 4);
}

static void pickle_ordered_dict(bytes *to)
{
    put_text(to, "ccollections\nOrderedDict\n)R"); /* GLOBAL, EMPTY_TUPLE, REDUCE */
}

static void pickle_tuple(bytes *to, int count, const int64_t *values)
{
    put_text(to, "(");
    for (int i = 0; i < count; i++)
        pickle_int(to, values[i]);
    put_text(to, "t");
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks); the storage is told by
 * a persistent id: ("storage", type, key of its file, place, elements). */
static void pickle_tensor(bytes *to, const nas_torch__tensor *tensor, int index)
{
    int64_t stride[4];
    char key[16];

    for (int i = tensor->rank - 1; i >= 0; i--)
        stride[i] = i == tensor->rank - 1 ? 1 : stride[i + 1] * tensor->shape[i + 1];
    snprintf(key, sizeof key, "%d", index);
    pickle_text(to, tensor->name);
    put_text(to, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(to, "storage");
    put_text(to, tensor->f32 != NULL ? "ctorch\nFloatStorage\n" : "ctorch\nLongStorage\n");
    pickle_text(to, key);
    pickle_text(to, "cpu");
    pickle_int(to, (int64_t)tensor->count);
    put_text(to, "tQ"); /* TUPLE, BINPERSID */
    pickle_int(to, 0);
    pickle_tuple(to, tensor->rank, tensor->shape);
    pickle_tuple(to, tensor->rank, stride);
    put_text(to, "\x89"); /* NEWFALSE */
    pickle_ordered_dict(to);
    put_text(to, "tR"); /* TUPLE, REDUCE */
}

static void pickle(bytes *to, const nas_torch__tensor *tensor, int count)
{
    put_text(to, "\x80\x02}("); /* PROTO 2, EMPTY_DICT, MARK */
    pickle_text(to, "state_dict");
    pickle_ordered_dict(to);
    put_text(to, "(");
    for (int i = 0; i < count; i++)
        pickle_tensor(to, &tensor[i], i);
    put_text(to, "uu."); /* SETITEMS twice, STOP */
}

/* -- the archive ------------------------------------------------------------------------- */

typedef struct archive {
    nas_writer *writer;
    bytes central; /* the directory at the end */
    int entries;
} archive;

/* What the local header and the directory say alike, from "version needed" on. */
static void put_facts(bytes *to, uint32_t crc, size_t size, size_t name, size_t extra)
{
    put_number(to, 20, 2); /* version 2.0            */
    put_number(to, 0, 2);  /* flags                  */
    put_number(to, 0, 2);  /* stored                 */
    put_number(to, 0, 2);  /* time 0:00              */
    put_number(to, 33, 2); /* 1 January 1980         */
    put_number(to, crc, 4);
    put_number(to, size, 4);
    put_number(to, size, 4);
    put_number(to, name, 2);
    put_number(to, extra, 2);
}

static void add_entry(archive *to, const char *name, const void *data, size_t size)
{
    const uint64_t offset = nas_writer_offset(to->writer);
    const size_t length = strlen(name);
    const uint64_t begin = offset + LOCAL_HEADER + length + EXTRA_HEADER;
    const size_t fill = (size_t)((ALIGN - begin % ALIGN) % ALIGN);
    const uint32_t crc = (uint32_t)crc32_z(crc32_z(0, NULL, 0), data, size);
    unsigned char room[LOCAL_HEADER + ENTRY_NAME + EXTRA_HEADER + ALIGN];
    bytes local = {room, 0, sizeof room};

    put(&local, "PK\3\4", 4);
    put_facts(&local, crc, size, length, EXTRA_HEADER + fill);
    put_text(&local, name);
    put(&local, "FB", 2); /* an extra field without meaning fills up to the alignment */
    put_number(&local, fill, 2);
    memset(local.at + local.size, 'Z', fill);
    local.size += fill;
    nas_writer_put(to->writer, local.at, local.size);
    nas_writer_put(to->writer, data, size);

    put(&to->central, "PK\1\2", 4);
    put_number(&to->central, 20, 2); /* made by version 2.0 */
    put_facts(&to->central, crc, size, length, 0);
    put_number(&to->central, 0, 2); /* comment, disk, attributes */
    put_number(&to->central, 0, 2);
    put_number(&to->central, 0, 2);
    put_number(&to->central, 0, 4);
    put_number(&to->central, offset, 4);
    put_text(&to->central, name);
    to->entries++;
}

static void end_archive(archive *to)
{
    unsigned char room[22];
    bytes end = {room, 0, sizeof room};

    put(&end, "PK\5\6", 4);
    put_number(&end, 0, 4); /* disks */
    put_number(&end, (uint64_t)to->entries, 2);
    put_number(&end, (uint64_t)to->entries, 2);
    put_number(&end, to->central.size, 4);
    put_number(&end, nas_writer_offset(to->writer), 4);
    put_number(&end, 0, 2); /* comment */
    nas_writer_put(to->writer, to->central.at, to->central.size);
    nas_writer_put(to->writer, end.at, end.size);
}

static void write_entries(archive *to, const nas_torch__tensor *tensor, int count,
                          const bytes *pickled)
{
    static const int64_t none = 0;

    add_entry(to, "archive/data.pkl", pickled->at, pickled->size);
    for (int i = 0; i < count; i++) {
        const nas_torch__tensor *t = &tensor[i];
        char name[ENTRY_NAME];

        snprintf(name, sizeof name, "archive/data/%d", i);
        if (t->f32 != NULL)
            add_entry(to, name, t->f32, t->count * sizeof *t->f32);
        else
            add_entry(to, name, &none, sizeof none);
    }
    add_entry(to, "archive/version", "3\n", 2);
    end_archive(to);
}

nas_status nas_torch__save(const nas_torch__tensor *tensor, int count, const char *path,
                           nas_err *err)
{
    const size_t entries = (size_t)count + 2;
    const size_t pickle_room = (size_t)count * TENSOR_PICKLE + TENSOR_PICKLE;
    const size_t central_room = entries * (CENTRAL_HEADER + ENTRY_NAME);
    bytes pickled = {malloc(pickle_room), 0, pickle_room};
    archive to = {.central = {malloc(central_room), 0, central_room}};
    uint64_t size = pickle_room + 2 * central_room + entries * 2 * ALIGN;
    nas_status status;

    for (int i = 0; i < count; i++)
        size += tensor[i].count * sizeof(float);
    if (pickled.at == NULL || to.central.at == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "%s: out of memory", path);
    else if (size > UINT32_MAX || entries > UINT16_MAX)
        status = nas_fail(err, NAS_E_CONFIG,
                          "%s: more than a plain zip archive of 4 GiB holds; "
                          "a safetensors file does",
                          path);
    else
        status = nas_writer_open(&to.writer, path, err);
    if (status == NAS_OK) {
        pickle(&pickled, tensor, count);
        write_entries(&to, tensor, count, &pickled);
        status = nas_writer_commit(to.writer, err);
    }
    free(pickled.at);
    free(to.central.at);
    return status;
}
