/* JSON on jansson: loading with comments, checked look-ups, exact writing. */
#include "base/json.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/options.h"

enum { MAX_FILE = 64 << 20 };

static const char *const type_names[] = {
    [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list", [JSON_STRING] = "a string",
    [JSON_INTEGER] = "a whole number", [JSON_REAL] = "a number", [JSON_TRUE] = "true",
    [JSON_FALSE] = "false", [JSON_NULL] = "null",
};

/* Code that builds a value does not look at every member that it adds. So when one could not be
 * added, nothing is built or dumped any more, and whoever writes the value hears of it. */
static atomic_bool refused;

static void *take_memory(size_t size)
{
    void *block = atomic_load(&refused) ? NULL : malloc(size);

    if (block == NULL)
        atomic_store(&refused, true);
    return block;
}

void nas_json_fail_fast(void)
{
    json_set_alloc_funcs(take_memory, free);
}

bool nas_json_out_of_memory(void)
{
    return atomic_load(&refused);
}

nas_status nas_json_fault(void)
{
    return nas_json_out_of_memory() ? NAS_E_NOMEM : NAS_E_DATA;
}

/* The first byte after the comment at `text`; NULL if it has no end. */
static char *comment_end(char *text, char *end)
{
    if (text[1] == '/') {
        char *newline = memchr(text, '\n', (size_t)(end - text));
        return newline != NULL ? newline : end;
    }
    char *close = memmem(text + 2, (size_t)(end - text - 2), "*/", 2);
    return close != NULL ? close + 2 : NULL;
}

static char *string_end(char *text, char *end)
{
    for (text++; text < end && *text != '"' && *text != '\n'; text++)
        if (*text == '\\' && text + 1 < end)
            text++;
    return text < end ? text + 1 : end;
}

static int line_of(const char *text, const char *at)
{
    int line = 1;

    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

/* Overwrites comments by blanks, so that lines and columns stay what they were. */
static nas_status blank_comments(char *text, size_t size, const char *name, nas_err *err)
{
    char *const end = text + size;

    for (char *at = text; at < end;) {
        if (*at == '"') {
            at = string_end(at, end);
        } else if (*at == '/' && at + 1 < end && (at[1] == '/' || at[1] == '*')) {
            char *stop = comment_end(at, end);
            if (stop == NULL)
                return nas_fail(err, NAS_E_DATA, "%s:%d: the comment that begins here has no end",
                                name, line_of(text, at));
            for (; at < stop; at++)
                if (*at != '\n')
                    *at = ' ';
        } else {
            at++;
        }
    }
    return NAS_OK;
}

/* Parses `text`, which it may change. */
static nas_status parse(json_t **out, char *text, size_t size, const char *name, nas_err *err)
{
    static const char mark[] = "\xef\xbb\xbf"; /* editors of some systems begin files with it */
    json_error_t error;
    const nas_status status = blank_comments(text, size, name, err);

    *out = NULL;
    if (status != NAS_OK)
        return status;
    if (size >= sizeof mark - 1 && memcmp(text, mark, sizeof mark - 1) == 0)
        memset(text, ' ', sizeof mark - 1);
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (*out != NULL)
        return NAS_OK;
    if (json_error_code(&error) == json_error_out_of_memory || nas_json_out_of_memory())
        return nas_fail(err, NAS_E_NOMEM, "%s: out of memory", name);
    return nas_fail(err, NAS_E_DATA, "%s:%d:%d: %s", name, error.line, error.column, error.text);
}

nas_status nas_json_load(json_t **out, const char *path, nas_err *err)
{
    char *text;
    size_t size;
    nas_status status = nas_file_read(path, MAX_FILE, &text, &size, err);

    *out = NULL;
    if (status == NAS_OK)
        status = parse(out, text, size, path, err);
    free(text);
    return status;
}

nas_status nas_json_parse(json_t **out, const char *text, size_t size, const char *name,
                          nas_err *err)
{
    char *copy = malloc(size + 1);

    *out = NULL;
    if (copy == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: out of memory", name);
    memcpy(copy, text, size);
    const nas_status status = parse(out, copy, size, name, err);
    free(copy);
    return status;
}

static int put_piece(const char *piece, size_t size, void *writer)
{
    nas_writer_put(writer, piece, size);
    return 0;
}

nas_status nas_json_save(const json_t *json, const char *path, nas_err *err)
{
    nas_writer *writer;
    const nas_status status = nas_writer_open(&writer, path, err);

    if (status != NAS_OK)
        return status;
    if (json_dump_callback(json, put_piece, writer,
                           JSON_INDENT(2) | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY) != 0) {
        nas_writer_abort(writer);
        return nas_fail(err, NAS_E_NOMEM, "%s: cannot write as JSON: out of memory", path);
    }
    nas_writer_put(writer, "\n", 1);
    return nas_writer_commit(writer, err);
}

static bool listed(const char *const *list, const char *key)
{
    for (; *list != NULL; list++)
        if (strcmp(*list, key) == 0)
            return true;
    return false;
}

nas_status nas_json_members(const json_t *json, const char *where, const char *const *known,
                            nas_err *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(json))
        return nas_fail(err, NAS_E_DATA, "%s: must be an object", where);
    json_object_foreach((json_t *)json, key, value) {
        if (listed(known, key))
            continue;
        const char *near = nas_nearest(key, known);
        nas_fail(err, NAS_E_DATA, "%s: unknown member \"%.40s\"", where, key);
        if (near != NULL)
            nas_hint(err, "did you mean \"%s\"?", near);
        return NAS_E_DATA;
    }
    return NAS_OK;
}

/* "where.key: " in front of every message about one member. */
static nas_status complain(nas_err *err, const char *where, const char *key, const char *problem)
{
    const bool named = where != NULL && where[0] != '\0';

    return nas_fail(err, NAS_E_DATA, "%s%s%s: %s", named ? where : "", named ? "." : "", key,
                    problem);
}

/* Finds member `key`, of one of the `types` (bits, 1 << JSON_XXX, named `noun`).
 * NAS_OK with NULL when it is missing and need not be there. */
static nas_status member(const json_t *obj, const char *where, const char *key, bool required,
                         unsigned types, const char *noun, json_t **out, nas_err *err)
{
    char problem[128];

    *out = NULL;
    if (!json_is_object(obj))
        return complain(err, where, key, "missing: what should hold it is not an object");
    json_t *value = json_object_get(obj, key);
    if (value == NULL)
        return required ? complain(err, where, key, "missing") : NAS_OK;
    if (!(types >> json_typeof(value) & 1)) {
        snprintf(problem, sizeof problem, "should be %s, not %s", noun,
                 type_names[json_typeof(value)]);
        return complain(err, where, key, problem);
    }
    *out = value;
    return NAS_OK;
}

nas_status nas_json_int(const json_t *obj, const char *where, const char *key, bool required,
                        int64_t min, int64_t max, int64_t *out, nas_err *err)
{
    json_t *value;
    const nas_status status =
        member(obj, where, key, required, 1u << JSON_INTEGER, "a whole number", &value, err);

    if (status != NAS_OK || value == NULL)
        return status;
    const int64_t found = json_integer_value(value);
    if (found < min || found > max) {
        char problem[128];

        snprintf(problem, sizeof problem, "%lld is not in %lld..%lld", (long long)found,
                 (long long)min, (long long)max);
        return complain(err, where, key, problem);
    }
    *out = found;
    return NAS_OK;
}

nas_status nas_json_real(const json_t *obj, const char *where, const char *key, bool required,
                         double min, double max, double *out, nas_err *err)
{
    json_t *value;
    const nas_status status =
        member(obj, where, key, required, 1u << JSON_INTEGER | 1u << JSON_REAL, "a number", &value,
               err);

    if (status != NAS_OK || value == NULL)
        return status;
    const double found = json_number_value(value);
    if (!(found >= min && found <= max)) {
        char problem[128];

        snprintf(problem, sizeof problem, "%g is not in %g..%g", found, min, max);
        return complain(err, where, key, problem);
    }
    *out = found;
    return NAS_OK;
}

nas_status nas_json_bool(const json_t *obj, const char *where, const char *key, bool required,
                         bool *out, nas_err *err)
{
    json_t *value;
    const nas_status status = member(obj, where, key, required, 1u << JSON_TRUE | 1u << JSON_FALSE,
                                     "true or false", &value, err);

    if (status == NAS_OK && value != NULL)
        *out = json_is_true(value);
    return status;
}

nas_status nas_json_str(const json_t *obj, const char *where, const char *key, bool required,
                        const char **out, nas_err *err)
{
    json_t *value;
    const nas_status status =
        member(obj, where, key, required, 1u << JSON_STRING, "a string", &value, err);

    if (status == NAS_OK && value != NULL)
        *out = json_string_value(value);
    return status;
}
