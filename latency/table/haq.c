/* HAQ's table: an array of cycles by layer, bits of the weights and bits of the activations. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latency/table/exchange.h"

enum { PREAMBLE = 10, DIMENSIONS = 3, MAX_BITS = 32 };
enum { START = 128 }; /* of the numbers where we write: NumPy fills up to a multiple of 64 */

typedef struct array {
    int shape[DIMENSIONS];     /* layers, weight bits, activation bits */
    const unsigned char *data; /* int64, little-endian                 */
} array;

/* Steps over `text` after blanks; NULL stays NULL. */
static const char *skip(const char *at, const char *text)
{
    if (at == NULL)
        return NULL;
    at += strspn(at, " ");
    return strncmp(at, text, strlen(text)) == 0 ? at + strlen(text) : NULL;
}

/* A count of 1 to five digits. */
static const char *read_count(const char *at, int *out)
{
    if (at == NULL)
        return NULL;
    at += strspn(at, " ");
    const size_t digits = strspn(at, "0123456789");

    if (digits == 0 || digits > 5)
        return NULL;
    *out = 0;
    for (size_t i = 0; i < digits; i++)
        *out = 10 * *out + (at[i] - '0');
    return at + digits;
}

/* "(53, 8, 8)", or with a comma behind the last. */
static const char *read_shape(const char *at, int shape[DIMENSIONS])
{
    at = skip(at, "(");
    for (int i = 0; i < DIMENSIONS; i++) {
        at = read_count(at, &shape[i]);
        if (i + 1 < DIMENSIONS)
            at = skip(at, ",");
    }
    const char *behind = skip(at, ",");

    return skip(behind != NULL ? behind : at, ")");
}

/* The Python dictionary that describes the array, as NumPy writes it: its three members in the
 * order of the alphabet. */
static bool read_head(const char *text, array *a)
{
    const char *at = skip(text, "{");

    at = skip(skip(skip(at, "'descr':"), "'<i8'"), ",");
    at = skip(skip(skip(at, "'fortran_order':"), "False"), ",");
    at = read_shape(skip(at, "'shape':"), a->shape);
    const char *behind = skip(at, ",");

    at = skip(behind != NULL ? behind : at, "}");
    return at != NULL && at[strspn(at, " \n")] == '\0';
}

static nas_status check(const array *a, size_t bytes, const char *name, nas_err *err)
{
    const int64_t layers = a->shape[0], weight = a->shape[1], activation = a->shape[2];

    if (layers < 1 || weight < 1 || activation < 1 || weight > MAX_BITS || activation > MAX_BITS ||
        layers * weight * activation > NAS_LATENCY_MAX_ENTRIES)
        return nas_fail(err, NAS_E_DATA,
                        "%s: %lld layers with %lld and %lld bits: not a table of at most %d "
                        "entries and %d bits", name, (long long)layers, (long long)weight,
                        (long long)activation, NAS_LATENCY_MAX_ENTRIES, MAX_BITS);
    if (bytes != (size_t)(layers * weight * activation) * sizeof(int64_t))
        return nas_fail(err, NAS_E_DATA, "%s: %zu bytes of numbers, but its shape needs %zu", name,
                        bytes, (size_t)(layers * weight * activation) * sizeof(int64_t));
    return NAS_OK;
}

static nas_status open_array(array *a, const unsigned char *bytes, size_t size, const char *name,
                             nas_err *err)
{
    char head[1024];

    if (size < PREAMBLE || memcmp(bytes, "\x93NUMPY\x01\x00", 8) != 0)
        return nas_fail(err, NAS_E_DATA, "%s: not an array of NumPy's format 1.0", name);
    const size_t length = bytes[8] | (size_t)bytes[9] << 8;

    if (length >= sizeof head || length > size - PREAMBLE)
        return nas_fail(err, NAS_E_DATA, "%s: a header of %zu bytes", name, length);
    memcpy(head, bytes + PREAMBLE, length);
    head[length] = '\0';
    if (strlen(head) != length || !read_head(head, a)) {
        nas_fail(err, NAS_E_DATA,
                 "%s: not an array of little-endian int64 in three dimensions, row by row", name);
        nas_hint(err, "numpy.save(FILE, array.astype('<i8')) writes one");
        return NAS_E_DATA;
    }
    a->data = bytes + PREAMBLE + length;
    return check(a, size - PREAMBLE - length, name, err);
}

static int64_t cycles_at(const array *a, size_t index)
{
    uint64_t value = 0;

    for (int i = 7; i >= 0; i--)
        value = value << 8 | a->data[8 * index + (size_t)i];
    return (int64_t)value;
}

static void name_key(char key[NAS_LATENCY_KEY_SIZE], int layer, int weight, int activation)
{
    snprintf(key, NAS_LATENCY_KEY_SIZE, "HAQ-layer:%d-weight:%d-activation:%d", layer, weight,
             activation);
}

static nas_status fill(nas_latency_table *table, const array *a, double clock_mhz, nas_err *err)
{
    size_t index = 0;

    for (int layer = 0; layer < a->shape[0]; layer++)
        for (int weight = 1; weight <= a->shape[1]; weight++)
            for (int activation = 1; activation <= a->shape[2]; activation++) {
                const double ms = (double)cycles_at(a, index++) / (1e3 * clock_mhz);
                const nas_latency_stat stat = {.mean = ms, .std = NAN, .median = NAN, .p95 = NAN};
                char key[NAS_LATENCY_KEY_SIZE];

                name_key(key, layer, weight, activation);
                const nas_status status = nas_latency_table_add(table, key, &stat, err);

                if (status)
                    return status;
            }
    return NAS_OK;
}

nas_status nas_latency_table_parse_haq(nas_latency_table **out, const char *bytes, size_t size,
                                       const char *name, double clock_mhz, nas_err *err)
{
    nas_latency_table *table = NULL;
    array a;
    nas_status status = open_array(&a, (const unsigned char *)bytes, size, name, err);

    *out = NULL;
    if (status)
        return status;
    table = nas_latency_table_new(err);
    if (!table)
        return NAS_E_NOMEM;
    status = fill(table, &a, clock_mhz, err);
    if (status) {
        nas_err_prefix(err, "%s", name);
        nas_latency_table_free(table);
        return status;
    }
    *out = table;
    return NAS_OK;
}

/* ---- writing ---- */

/* The place that a key names in the array, from 0; false: it names none. */
static bool read_key(const char *key, int at[DIMENSIONS])
{
    char again[NAS_LATENCY_KEY_SIZE];

    if (sscanf(key, "HAQ-layer:%5d-weight:%2d-activation:%2d", &at[0], &at[1], &at[2]) !=
        DIMENSIONS)
        return false;
    name_key(again, at[0], at[1], at[2]);
    at[1]--;
    at[2]--;
    return strcmp(key, again) == 0 && at[0] >= 0 && at[1] >= 0 && at[2] >= 0 &&
           at[0] < NAS_LATENCY_MAX_ENTRIES && at[1] < MAX_BITS && at[2] < MAX_BITS;
}

/* The first of the array's entries that the table lacks, which has fewer. */
static void find_gap(const nas_latency_table *table, const int shape[DIMENSIONS],
                     char key[NAS_LATENCY_KEY_SIZE])
{
    for (int i = 0;; i++) {
        const int rest = i / shape[2];

        name_key(key, rest / shape[1], rest % shape[1] + 1, i % shape[2] + 1);
        if (nas_latency_table_find(table, key) == NULL)
            return;
    }
}

/* The smallest array that holds all entries; NAS_E_CONFIG unless they fill it. */
static nas_status find_shape(const nas_latency_table *table, int shape[DIMENSIONS], nas_err *err)
{
    char key[NAS_LATENCY_KEY_SIZE];
    int at[DIMENSIONS];

    memset(shape, 0, DIMENSIONS * sizeof *shape);
    for (int i = 0; i < table->count; i++) {
        if (!read_key(table->rows[i].key, at)) {
            nas_fail(err, NAS_E_CONFIG, "%s: HAQ's array holds layers by their bits alone",
                     table->rows[i].key);
            nas_hint(err, "keys must be HAQ-layer:L-weight:W-activation:A, L from 0, bits from 1 "
                     "to %d; --format csv takes any", MAX_BITS);
            return NAS_E_CONFIG;
        }
        for (int d = 0; d < DIMENSIONS; d++)
            shape[d] = at[d] + 1 > shape[d] ? at[d] + 1 : shape[d];
    }
    if ((int64_t)shape[0] * shape[1] * shape[2] == table->count)
        return NAS_OK;
    find_gap(table, shape, key);
    nas_fail(err, NAS_E_CONFIG, "the table lacks %s: HAQ's array of %d x %d x %d has no gaps", key,
             shape[0], shape[1], shape[2]);
    return NAS_E_CONFIG;
}

nas_status nas_latency_table_export_haq(const nas_latency_table *table, double clock_mhz,
                                        char **bytes, size_t *size, nas_err *err)
{
    char head[START];
    int shape[DIMENSIONS], at[DIMENSIONS];
    const nas_status status = find_shape(table, shape, err);

    if (status != NAS_OK)
        return status;
    *size = START + (size_t)table->count * sizeof(int64_t);
    *bytes = malloc(*size);
    if (*bytes == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a table of %d entries", table->count);
    const int used = snprintf(head, sizeof head,
                              "{'descr': '<i8', 'fortran_order': False, 'shape': (%d, %d, %d), }",
                              shape[0], shape[1], shape[2]);
    memset(*bytes, ' ', START);
    memcpy(*bytes, "\x93NUMPY\x01", 8); /* and a 0 */
    (*bytes)[8] = START - PREAMBLE;
    (*bytes)[9] = 0;
    memcpy(*bytes + PREAMBLE, head, (size_t)used);
    (*bytes)[START - 1] = '\n';
    for (int i = 0; i < table->count; i++) {
        read_key(table->rows[i].key, at);
        const size_t index = (size_t)((at[0] * shape[1] + at[1]) * shape[2] + at[2]);
        const int64_t cycles = llround(table->rows[i].stat.mean * 1e3 * clock_mhz);

        for (int b = 0; b < 8; b++)
            (*bytes)[START + 8 * index + (size_t)b] = (char)(cycles >> 8 * b);
    }
    return NAS_OK;
}
