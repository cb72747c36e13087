/* HAQ's table: an array of cycles by layer, bits of the weights and bits of the activations. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "latency/table/exchange.h"

enum { PREAMBLE = 10, DIMENSIONS = 3, MAX_BITS = 32 };

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
    if (strlen(head) != length || !read_head(head, a))
        return nas_fail(err, NAS_E_DATA,
                        "%s: not an array of little-endian int64 in three dimensions, row by row",
                        name);
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

static nas_status fill(nas_latency_table *table, const array *a, double clock_mhz, nas_err *err)
{
    size_t index = 0;

    for (int layer = 0; layer < a->shape[0]; layer++)
        for (int weight = 1; weight <= a->shape[1]; weight++)
            for (int activation = 1; activation <= a->shape[2]; activation++) {
                const double ms = (double)cycles_at(a, index++) / (1e3 * clock_mhz);
                const nas_latency_stat stat = {.mean = ms, .std = NAN, .median = NAN, .p95 = NAN};
                char key[NAS_LATENCY_KEY_SIZE];

                snprintf(key, sizeof key, "HAQ-layer:%d-weight:%d-activation:%d", layer, weight,
                         activation);
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
