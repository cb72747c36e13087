/* TensorBoard's event file: records of length, checksum, a protobuf message Event, checksum.
 *   Event   { 1 double wall_time; 2 int64 step; 3 string file_version; 5 Summary }
 *   Summary { 1 Value { 1 string tag; 2 float simple_value } }, repeated */
#include "search/report/tensorboard.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { RECORD_MAX = 256 /* bytes: a tag has at most 64 */ };

/* -- records ------------------------------------------------------------------------------ */

typedef struct message {
    uint8_t bytes[RECORD_MAX];
    size_t size;
} message;

static void put_bytes(message *m, const void *data, size_t size)
{
    memcpy(m->bytes + m->size, data, size);
    m->size += size;
}

static void put_varint(message *m, uint64_t value)
{
    for (; value > 127; value >>= 7)
        put_bytes(m, &(uint8_t){(uint8_t)(value | 128)}, 1);
    put_bytes(m, &(uint8_t){(uint8_t)value}, 1);
}

/* Wire types: 0 whole number, 1 eight bytes, 2 bytes of a length, 5 four bytes. */
static void put_key(message *m, int field, int wire)
{
    put_varint(m, (uint64_t)(field << 3 | wire));
}

static void put_text(message *m, int field, const void *text, size_t size)
{
    put_key(m, field, 2);
    put_varint(m, size);
    put_bytes(m, text, size);
}

/* CRC-32C (Castagnoli), bit by bit: these files are small. */
static uint32_t crc32c(const void *data, size_t size)
{
    const uint8_t *byte = data;
    uint32_t crc = ~0u;

    for (size_t i = 0; i < size; i++) {
        crc ^= byte[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* Rotated and shifted, so that a checksum of data that holds checksums is still one. */
static uint32_t masked(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_record(nas_writer *writer, const message *m)
{
    const uint64_t length = m->size;
    const uint32_t head = masked(crc32c(&length, sizeof length));
    const uint32_t tail = masked(crc32c(m->bytes, m->size));

    nas_writer_put(writer, &length, sizeof length); /* little endian, as this machine is */
    nas_writer_put(writer, &head, sizeof head);
    nas_writer_put(writer, m->bytes, m->size);
    nas_writer_put(writer, &tail, sizeof tail);
}

static void put_version(nas_writer *writer, double wall_time)
{
    static const char version[] = "brain.Event:2";
    message m = {.size = 0};

    put_key(&m, 1, 1);
    put_bytes(&m, &wall_time, sizeof wall_time);
    put_text(&m, 3, version, sizeof version - 1);
    put_record(writer, &m);
}

static void put_scalar(nas_writer *writer, double wall_time, int64_t step, const char *tag,
                       float value)
{
    message one = {.size = 0}, summary = {.size = 0}, m = {.size = 0};

    put_text(&one, 1, tag, strlen(tag));
    put_key(&one, 2, 5);
    put_bytes(&one, &value, sizeof value);
    put_text(&summary, 1, one.bytes, one.size);
    put_key(&m, 1, 1);
    put_bytes(&m, &wall_time, sizeof wall_time);
    put_key(&m, 2, 0);
    put_varint(&m, (uint64_t)step);
    put_text(&m, 5, summary.bytes, summary.size);
    put_record(writer, &m);
}

/* -- a run -------------------------------------------------------------------------------- */

typedef struct scalar {
    int64_t step;
    int metric; /* number of its name */
    float value;
} scalar;

typedef struct scalars {
    char (*names)[NAS_STORE_NAME_SIZE];
    int metrics, count;
    scalar *list;
    bool no_memory;
} scalars;

static void keep_name(void *user, const char *name)
{
    scalars *all = user;
    void *more = realloc(all->names, ((size_t)all->metrics + 1) * sizeof *all->names);

    if (more == NULL) {
        all->no_memory = true;
        return;
    }
    all->names = more;
    /* a name that comes from a database is checked before others read it */
    if (nas_store_name_check(name, "metric", NULL) == NAS_OK)
        snprintf(all->names[all->metrics++], NAS_STORE_NAME_SIZE, "%s", name);
}

static nas_status add_metric(scalars *all, nas_store *store, int64_t run, int metric, nas_err *err)
{
    nas_store_point *points;
    int count;
    const nas_status status =
        nas_store_metric_get(store, run, all->names[metric], &points, &count, err);

    if (status != NAS_OK)
        return status;
    scalar *more = realloc(all->list, ((size_t)all->count + (size_t)count + 1) * sizeof *more);
    if (more == NULL) {
        free(points);
        return nas_fail(err, NAS_E_NOMEM, "events: out of memory");
    }
    all->list = more;
    for (int i = 0; i < count; i++)
        more[all->count++] = (scalar){points[i].step, metric, (float)points[i].value};
    free(points);
    return NAS_OK;
}

static int by_step(const void *a, const void *b)
{
    const scalar *x = a, *y = b;

    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return x->metric - y->metric;
}

static nas_status read_run(scalars *all, nas_store *store, const nas_store_run *run, nas_err *err)
{
    nas_status status = nas_store_metric_names(store, run->id, keep_name, all, err);

    if (status == NAS_OK && all->no_memory)
        return nas_fail(err, NAS_E_NOMEM, "events: out of memory");
    for (int m = 0; m < all->metrics && status == NAS_OK; m++)
        status = add_metric(all, store, run->id, m, err);
    if (status == NAS_OK && all->count > 0)
        qsort(all->list, (size_t)all->count, sizeof *all->list, by_step);
    return status;
}

/* When each step was done is not kept: it is taken as if steps had taken equally long. */
static double time_of(const nas_store_run *run, int64_t step, int64_t last)
{
    const double took = (double)(run->updated_ms - run->created_ms);

    return ((double)run->created_ms + (last > 0 ? took * (double)step / (double)last : 0)) / 1e3;
}

static nas_status write_run(const scalars *all, const nas_store_run *run, const char *path,
                            nas_err *err)
{
    const int64_t last = all->count > 0 ? all->list[all->count - 1].step : 0;
    nas_writer *writer;
    const nas_status status = nas_writer_open(&writer, path, err);

    if (status != NAS_OK)
        return status;
    put_version(writer, (double)run->created_ms / 1e3);
    for (int i = 0; i < all->count; i++) {
        const scalar *s = &all->list[i];
        put_scalar(writer, time_of(run, s->step, last), s->step, all->names[s->metric], s->value);
    }
    return nas_writer_commit(writer, err);
}

static nas_status export_run(nas_store *store, const nas_store_run *run, const char *dir,
                             int64_t *events, nas_err *err)
{
    char file[64], *folder = nas_path_join(dir, run->name), *path = NULL;
    scalars all = {0};
    nas_status status;

    snprintf(file, sizeof file, "events.out.tfevents.%010" PRId64 ".onepath",
             run->created_ms / 1000);
    if (folder == NULL || (path = nas_path_join(folder, file)) == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "events: out of memory");
    else if ((status = nas_store_name_check(run->name, "run", err)) == NAS_OK &&
             (status = read_run(&all, store, run, err)) == NAS_OK &&
             (status = nas_dir_make(folder, err)) == NAS_OK)
        status = write_run(&all, run, path, err);
    *events += all.count;
    free(all.names);
    free(all.list);
    free(path);
    free(folder);
    return status;
}

nas_status nas_tensorboard_write(nas_store *store, const nas_store_run *runs, int count,
                                 const char *dir, int64_t *events, nas_err *err)
{
    nas_status status = NAS_OK;

    *events = 0;
    for (int r = 0; r < count && status == NAS_OK; r++)
        status = export_run(store, &runs[r], dir, events, err);
    return status;
}
