/* The table in memory: rows in order of arrival, found through an open-addressing index. */
#include "latency/table/table.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double max_ms = 1e6; /* a quarter of an hour for one operation: not a measurement */

/* FNV-1a: keys are short and few. */
static uint64_t hash_key(const char *key)
{
    uint64_t hash = 14695981039346656037u;

    for (; *key; key++)
        hash = (hash ^ (unsigned char)*key) * 1099511628211u;
    return hash;
}

/* The index position of `key`, or the empty one where it belongs. */
static int *position(const nas_latency_table *table, const char *key, uint64_t hash)
{
    const uint64_t mask = 2 * (uint64_t)table->capacity - 1;
    uint64_t i = hash & mask;

    for (; table->slots[i] >= 0; i = (i + 1) & mask) {
        const nas_latency_row *row = &table->rows[table->slots[i]];

        if (row->hash == hash && strcmp(row->key, key) == 0)
            break;
    }
    return &table->slots[i];
}

/* `capacity` is a power of two; the index has twice as many places, so one is always empty. */
static nas_status reserve(nas_latency_table *table, int capacity, nas_err *err)
{
    const size_t places = 2 * (size_t)capacity;
    nas_latency_row *rows = realloc(table->rows, (size_t)capacity * sizeof *rows);
    int *slots;

    if (!rows)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a latency table of %d entries", capacity);
    table->rows = rows;
    slots = malloc(places * sizeof *slots);
    if (!slots)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a latency table of %d entries", capacity);
    free(table->slots);
    table->slots = slots;
    table->capacity = capacity;
    memset(slots, 0xff, places * sizeof *slots); /* all -1 */
    for (int i = 0; i < table->count; i++)
        *position(table, rows[i].key, rows[i].hash) = i;
    return NAS_OK;
}

nas_latency_table *nas_latency_table_new(nas_err *err)
{
    nas_latency_table *table = calloc(1, sizeof *table);

    if (!table)
        nas_fail(err, NAS_E_NOMEM, "no memory for a latency table");
    else if (reserve(table, 128, err) != NAS_OK) {
        nas_latency_table_free(table);
        table = NULL;
    }
    return table;
}

void nas_latency_table_free(nas_latency_table *table)
{
    if (!table)
        return;
    for (int i = 0; i < table->count; i++)
        free(table->rows[i].key);
    free(table->rows);
    free(table->slots);
    free(table);
}

/* A letter, then letters, digits and "_.:-": what YAML needs no quotes for; and not what heads a
 * file. */
static bool is_key(const char *key)
{
    const size_t length = strlen(key);

    return length < NAS_LATENCY_KEY_SIZE && isalpha((unsigned char)key[0]) &&
           strcmp(key, "onepath") != 0 &&
           strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-") ==
               length;
}

static bool in_range(double ms)
{
    return ms >= 0.0 && ms <= max_ms;
}

static nas_status check_stat(const char *key, const nas_latency_stat *stat, nas_err *err)
{
    const struct {
        const char *name;
        double ms;
    } optional[] = {{"std", stat->std}, {"median", stat->median}, {"p95", stat->p95}};

    if (stat->count < 0)
        return nas_fail(err, NAS_E_DATA, "%s: count: %lld is negative", key,
                        (long long)stat->count);
    if (!in_range(stat->mean))
        return nas_fail(err, NAS_E_DATA, "%s: mean: %g ms is not in 0..%g", key, stat->mean,
                        max_ms);
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        if (!isnan(optional[i].ms) && !in_range(optional[i].ms))
            return nas_fail(err, NAS_E_DATA, "%s: %s: %g ms is not in 0..%g", key,
                            optional[i].name, optional[i].ms, max_ms);
    return NAS_OK;
}

nas_status nas_latency_table_add(nas_latency_table *table, const char *key,
                                 const nas_latency_stat *stat, nas_err *err)
{
    const uint64_t hash = hash_key(key);
    char *copy;

    if (!is_key(key))
        return nas_fail(err, NAS_E_DATA, "a key must be a letter and at most %d letters, "
                        "digits and _.:-", NAS_LATENCY_KEY_SIZE - 2);
    nas_status status = check_stat(key, stat, err);

    if (status)
        return status;
    if (table->count == NAS_LATENCY_MAX_ENTRIES)
        return nas_fail(err, NAS_E_DATA, "more than %d entries", NAS_LATENCY_MAX_ENTRIES);
    if (*position(table, key, hash) >= 0)
        return nas_fail(err, NAS_E_DATA, "%s: appears twice", key);
    if (table->count == table->capacity && (status = reserve(table, 2 * table->capacity, err)))
        return status;
    copy = strdup(key);
    if (!copy)
        return nas_fail(err, NAS_E_NOMEM, "no memory for key %s", key);
    *position(table, key, hash) = table->count;
    table->rows[table->count++] = (nas_latency_row){copy, hash, *stat};
    if (strstr(key, "-se:"))
        table->grammar = NAS_LATENCY_MID;
    return NAS_OK;
}

const nas_latency_stat *nas_latency_table_find(const nas_latency_table *table, const char *key)
{
    const int row = *position(table, key, hash_key(key));

    return row >= 0 ? &table->rows[row].stat : NULL;
}

double nas_latency_meta_level(const nas_latency_meta *was, const nas_latency_meta *is)
{
    const bool same = was->probe[0] != '\0' && strcmp(was->probe, is->probe) == 0 &&
                      was->threads == is->threads;

    return same && was->probe_ms > 0.0 && is->probe_ms > 0.0 ? is->probe_ms / was->probe_ms : NAN;
}

int nas_latency_table_image_size(const nas_latency_table *table)
{
    int size = 0;

    if (table->meta.image_size)
        return table->meta.image_size;
    for (int i = 0; i < table->count; i++) {
        const char *input = strstr(table->rows[i].key, "-input:");
        int h;

        if (input && sscanf(input, "-input:%5dx", &h) == 1 && h > size)
            size = h;
    }
    return size;
}

void nas_latency_meta_note(nas_latency_meta *meta, const char *what)
{
    char before[sizeof meta->conditions];
    size_t room = sizeof meta->conditions - 1;

    memcpy(before, meta->conditions, sizeof before);
    snprintf(meta->conditions, sizeof meta->conditions, "%s", what);
    room -= strlen(meta->conditions);
    if (room > 2 && strlen(before) > room - 2) {
        before[room - 2] = '\0';
        char *comma = strrchr(before, ',');
        *(comma != NULL ? comma : before) = '\0';
    }
    if (room > 2 && before[0] != '\0')
        snprintf(strchr(meta->conditions, '\0'), room + 1, "; %s", before);
}
