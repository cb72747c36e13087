/* Event files, read back by a reader of our own that knows the format from its definition. */
#include <dirent.h>
#include <math.h>

#include "base/file.h"
#include "search/report/tensorboard.h"
#include "tests/support/scratch.h"

static nas_err err;

#define ok(call) cr_assert_eq((call), NAS_OK, "%s", err.message)

TestSuite(search_tensorboard, .init = scratch_init, .fini = scratch_fini);

/* ---- a reader ---- */

/* By a table, as others do it. */
static uint32_t crc32c(const void *data, size_t size)
{
    static uint32_t table[256];
    const uint8_t *byte = data;
    uint32_t crc = 0xffffffff;

    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? table[i] >> 1 ^ 0x82f63b78 : table[i] >> 1;
    }
    while (size-- > 0)
        crc = table[(crc ^ *byte++) & 255] ^ crc >> 8;
    return crc ^ 0xffffffff;
}

static uint32_t masked(const void *data, size_t size)
{
    const uint32_t crc = crc32c(data, size);

    return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
}

static uint64_t varint(const uint8_t **at)
{
    uint64_t value = 0;
    int shift = 0;

    do
        value |= (uint64_t)(**at & 127) << shift, shift += 7;
    while (*(*at)++ & 128);
    return value;
}

typedef struct event {
    double wall_time;
    int64_t step;
    char version[32], tag[80];
    float value;
} event;

/* A message's fields into `e`; `depth`: 0 Event, 1 Summary, 2 Value. */
static void read_message(event *e, const uint8_t *at, const uint8_t *end, int depth)
{
    while (at < end) {
        const uint64_t key = varint(&at);
        const int field = (int)(key >> 3), wire = (int)(key & 7);

        if (wire == 0) {
            cr_assert(depth == 0 && field == 2);
            e->step = (int64_t)varint(&at);
        } else if (wire == 1) {
            cr_assert(depth == 0 && field == 1);
            memcpy(&e->wall_time, at, 8);
            at += 8;
        } else if (wire == 5) {
            cr_assert(depth == 2 && field == 2);
            memcpy(&e->value, at, 4);
            at += 4;
        } else {
            const uint64_t size = varint(&at);
            cr_assert(wire == 2 && size <= (uint64_t)(end - at));
            if (depth == 0 && field == 3)
                snprintf(e->version, sizeof e->version, "%.*s", (int)size, at);
            else if (depth == 2 && field == 1)
                snprintf(e->tag, sizeof e->tag, "%.*s", (int)size, at);
            else
                read_message(e, at, at + size, depth + 1);
            at += size;
        }
    }
    cr_assert_eq(at, end);
}

static int read_events(const char *path, event *events, int max)
{
    char *bytes;
    size_t size, at = 0;
    int count = 0;

    ok(nas_file_read(path, 1 << 20, &bytes, &size, &err));
    for (uint64_t length; at < size; at += length + 16) {
        uint32_t head, tail;
        cr_assert_leq(at + 16, size);
        memcpy(&length, bytes + at, 8);
        memcpy(&head, bytes + at + 8, 4);
        cr_assert_eq(head, masked(bytes + at, 8));
        cr_assert_leq(at + 16 + length, size);
        memcpy(&tail, bytes + at + 12 + length, 4);
        cr_assert_eq(tail, masked(bytes + at + 12, length));
        cr_assert_lt(count, max);
        events[count] = (event){.step = -1};
        read_message(&events[count++], (uint8_t *)bytes + at + 12,
                     (uint8_t *)bytes + at + 12 + length, 0);
    }
    cr_assert_eq(at, size);
    free(bytes);
    return count;
}

/* The only file of a folder. */
static const char *only_file(const char *folder)
{
    static char path[512];
    DIR *dir = opendir(folder);
    int count = 0;

    cr_assert_not_null(dir, "%s", folder);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            count++;
        }
    closedir(dir);
    cr_assert_eq(count, 1);
    return path;
}

/* ---- a store ---- */

static nas_store *store;
static nas_store_runs runs;

static nas_store_attempt begin(const char *name)
{
    const nas_store_run_spec spec = {.kind = "search",
                                     .name = name,
                                     .config = "{}",
                                     .version = "0.1.0",
                                     .seed = 1,
                                     .threads = 1};
    nas_store_attempt attempt;

    ok(nas_store_run_begin(store, &spec, &attempt, &err));
    return attempt;
}

static void record(nas_store_attempt run, int64_t step, const char *name, double value)
{
    ok(nas_store_progress(store, run, step, step / 10, &(nas_store_metric){name, value}, 1, &err));
}

static void two_runs(void)
{
    ok(nas_store_open(&store, scratch("store"), NAS_STORE_CREATE, &err));
    const nas_store_attempt a = begin("first"), b = begin("second");
    record(a, 0, "train_loss", 2.5);
    record(a, 10, "valid_top1", 0.25);
    record(a, 10, "train_loss", 1.5);
    record(a, 300, "train_loss", NAN);
    record(a, 200, "valid_top1", 0.5);
    record(b, 7, "lr", 1e-3);
    ok(nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 0, &runs, &err));
}

Test(search_tensorboard, the_checksum_is_castagnoli_s)
{
    cr_assert_eq(crc32c("123456789", 9), 0xe3069283);
}

Test(search_tensorboard, each_metric_is_a_scalar_in_the_order_of_steps)
{
    static const struct {
        int64_t step;
        const char *tag;
        float value;
    } expected[] = {{0, "train_loss", 2.5f},
                    {10, "train_loss", 1.5f},
                    {10, "valid_top1", 0.25f},
                    {200, "valid_top1", 0.5f},
                    {300, "train_loss", NAN}};
    event events[16];
    int64_t scalars;

    two_runs();
    ok(nas_tensorboard_write(store, runs.runs, runs.count, scratch("tb"), &scalars, &err));
    cr_assert_eq(scalars, 6);
    const char *path = only_file(scratch("tb/first"));
    cr_assert_not_null(strstr(path, "/events.out.tfevents."));
    cr_assert_eq(read_events(path, events, 16), 6);
    cr_assert_str_eq(events[0].version, "brain.Event:2");
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(events[i + 1].step, expected[i].step);
        cr_assert_str_eq(events[i + 1].tag, expected[i].tag);
        cr_assert(isnan(expected[i].value) ? isnan(events[i + 1].value)
                                           : events[i + 1].value == expected[i].value);
        cr_assert_geq(events[i + 1].wall_time, events[i].wall_time);
        cr_assert_float_eq(events[i + 1].wall_time, (double)runs.runs[0].created_ms / 1e3, 60);
    }
    cr_assert_eq(read_events(only_file(scratch("tb/second")), events, 16), 2);
    cr_assert_str_eq(events[1].tag, "lr");
}

Test(search_tensorboard, once_more_gives_the_same_file)
{
    char first[512], *a, *b;
    size_t na, nb;
    int64_t scalars;

    two_runs();
    ok(nas_tensorboard_write(store, runs.runs, runs.count, scratch("tb"), &scalars, &err));
    snprintf(first, sizeof first, "%s", only_file(scratch("tb/first")));
    ok(nas_file_read(first, 1 << 20, &a, &na, &err));
    ok(nas_tensorboard_write(store, runs.runs, runs.count, scratch("tb"), &scalars, &err));
    cr_assert_str_eq(only_file(scratch("tb/first")), first);
    ok(nas_file_read(first, 1 << 20, &b, &nb, &err));
    cr_assert_eq(na, nb);
    cr_assert_arr_eq(a, b, na);
    free(a);
    free(b);
}

Test(search_tensorboard, a_folder_that_cannot_be_made_is_an_error)
{
    int64_t scalars;

    two_runs();
    scratch_put("file", "in the way");
    cr_assert_eq(
        nas_tensorboard_write(store, runs.runs, runs.count, scratch("file"), &scalars, &err),
        NAS_E_IO);
}
