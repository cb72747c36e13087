/* Reads golden files. */
#include "tests/support/golden.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

struct golden {
    nas_map map;
    json_t *header, *cases;
    const char *path;
    const unsigned char *data; /* after the header */
};

static _Noreturn void stop(const char *path, const char *what, const char *name)
{
    fprintf(stderr, "%s: %s %s\n", path, what, name);
    abort();
}

golden *golden_open(const char *path)
{
    golden *file = calloc(1, sizeof *file);
    nas_err err = {0};
    uint64_t length;

    if (file == NULL || nas_map_open(&file->map, path, &err) != NAS_OK)
        stop(path, "cannot be opened:", err.message);
    memcpy(&length, file->map.data, sizeof length);
    file->path = path;
    file->data = file->map.data + sizeof length + length;
    if (nas_json_parse(&file->header, (const char *)file->map.data + sizeof length, length, path,
                       &err) != NAS_OK)
        stop(path, "header:", err.message);
    const char *cases = json_string_value(
        json_object_get(json_object_get(file->header, "__metadata__"), "cases"));
    if (cases == NULL || nas_json_parse(&file->cases, cases, strlen(cases), path, &err) != NAS_OK)
        stop(path, "cases:", err.message);
    return file;
}

void golden_close(golden *file)
{
    json_decref(file->header);
    json_decref(file->cases);
    nas_map_close(&file->map);
    free(file);
}

const json_t *golden_cases(const golden *file) { return file->cases; }

const float *golden_floats(const golden *file, const char *scope, const char *name, size_t count)
{
    char full[128];

    snprintf(full, sizeof full, "%s%s%s", scope ? scope : "", scope ? "/" : "", name);
    const json_t *offsets =
        json_object_get(json_object_get(file->header, full), "data_offsets");
    const size_t from = (size_t)json_integer_value(json_array_get(offsets, 0));
    const size_t to = (size_t)json_integer_value(json_array_get(offsets, 1));

    if (offsets == NULL)
        stop(file->path, "has no tensor", full);
    if (to - from != count * sizeof(float) ||
        to > file->map.size - (size_t)(file->data - file->map.data))
        stop(file->path, "another size is expected of", full);
    return (const float *)(const void *)(file->data + from);
}

int golden_int(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_boolean(value) ? json_is_true(value) : (int)json_integer_value(value);
}

double golden_real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}
