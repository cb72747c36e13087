/* Latency tables as YAML, on libyaml's events: a mapping of mappings of scalars, nothing else.
 *
 * Our own files carry a section "onepath:" and end with "...", so that a file cut
 * anywhere is recognised; published ones have neither. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/file.h"
#include "base/log.h"
#include "latency/table/private.h"

enum { FORMAT = 1 };

static const char section[] = "onepath";

/* ------------------------------------------------------------------ fields */

typedef struct raw_meta {
    int format;
    nas_latency_meta meta;
} raw_meta;

#define META_TEXT(name)                                                                            \
    {#name, NAS_TABLE__TEXT, offsetof(raw_meta, meta.name),                                        \
     sizeof(((nas_latency_meta *)0)->name)}
#define META_INTEGER(name) {#name, NAS_TABLE__INTEGER, offsetof(raw_meta, meta.name), 0}

static const nas_table__field meta_fields[] = {
    {"format", NAS_TABLE__INTEGER, offsetof(raw_meta, format), 0},
    META_TEXT(device),
    META_INTEGER(cores),
    META_INTEGER(threads),
    META_INTEGER(batch),
    META_INTEGER(image_size),
    META_TEXT(engine),
    META_TEXT(conditions),
    META_TEXT(created),
    META_TEXT(space),
    META_INTEGER(emulated),
    META_TEXT(fitted_from),
    META_TEXT(probe),
    {"probe_ms", NAS_TABLE__TIME, offsetof(raw_meta, meta.probe_ms), 0},
};

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

/* ------------------------------------------------------------------ reader */

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one looked at; type 0: none */
    const char *name;
    nas_err *err;
} reader;

/* NAS_E_DATA at the current event. */
__attribute__((format(printf, 2, 3))) static nas_status fail_here(reader *r, const char *format,
                                                                  ...)
{
    char text[512], shown[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    nas_text_escape(text, shown, sizeof shown);
    return nas_fail(r->err, NAS_E_DATA, "%s:%zu: %s", r->name, r->event.start_mark.line + 1,
                    shown);
}

static nas_status fail_parser(reader *r)
{
    const yaml_parser_t *p = &r->parser;

    if (p->error == YAML_MEMORY_ERROR)
        return nas_fail(r->err, NAS_E_NOMEM, "%s: no memory to read it", r->name);
    return nas_fail(r->err, NAS_E_DATA, "%s:%zu: not a latency table: %s", r->name,
                    (p->error == YAML_READER_ERROR ? p->mark.line : p->problem_mark.line) + 1,
                    p->problem ? p->problem : "cannot be read as YAML");
}

/* Moves on to the next event; anchors, aliases, tags and NUL bytes have no place here. */
static nas_status next(reader *r)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;

    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event))
        return fail_parser(r);
    switch (r->event.type) {
    case YAML_ALIAS_EVENT:
        return fail_here(r, "aliases are not allowed in a latency table");
    case YAML_SCALAR_EVENT:
        anchor = r->event.data.scalar.anchor;
        tag = r->event.data.scalar.tag;
        if (memchr(r->event.data.scalar.value, '\0', r->event.data.scalar.length))
            return fail_here(r, "a NUL character");
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = r->event.data.mapping_start.anchor;
        tag = r->event.data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor || tag)
        return fail_here(r, "anchors and tags are not allowed in a latency table");
    return NAS_OK;
}

static nas_status expect(reader *r, yaml_event_type_t type, const char *what)
{
    nas_status status = next(r);

    if (status == NAS_OK && r->event.type != type)
        return fail_here(r, "expected %s", what);
    return status;
}

static const char *scalar(const reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

static nas_status read_real(reader *r, const char *owner, const char *name, double *out)
{
    char why[NAS_TABLE__WHY_SIZE];

    return nas_table__read_real(scalar(r), out, why)
               ? NAS_OK
               : fail_here(r, "%.96s: %s: %s", owner, name, why);
}

static nas_status read_value(reader *r, const char *owner, const nas_table__field *f, char *member)
{
    double value;
    nas_status status;

    if (f->type == NAS_TABLE__TEXT) {
        if (r->event.data.scalar.length >= f->size)
            return fail_here(r, "%.96s: %s: more than %zu bytes", owner, f->name, f->size - 1);
        snprintf(member, f->size, "%s", scalar(r));
        return NAS_OK;
    }
    status = read_real(r, owner, f->name, &value);
    if (status == NAS_OK && f->type == NAS_TABLE__TIME && !(value > 0.0 && value <= 1e6))
        return fail_here(r, "%.96s: %s: %.40s is not a time above 0 and up to 1e6 ms", owner,
                         f->name, scalar(r));
    if (status != NAS_OK)
        return status;
    if (f->type != NAS_TABLE__INTEGER) {
        *(double *)(void *)member = value;
        return NAS_OK;
    }
    if (value > 1e6 || value != floor(value))
        return fail_here(r, "%.96s: %s: %.40s is not a whole number in 0..1e6", owner, f->name,
                         scalar(r));
    *(int *)(void *)member = (int)value;
    return NAS_OK;
}

/* Tables of others may say their unit: it has to be ours. */
static nas_status check_unit(reader *r, const char *owner)
{
    if (nas_table__is_ms(scalar(r)))
        return NAS_OK;
    return fail_here(r, "%.96s: unit: \"%.40s\", but latencies are in ms", owner, scalar(r));
}

/* Reads a mapping of scalars into the struct at `base`; other fields than `fields` are
 * passed over. */
static nas_status read_fields(reader *r, const char *owner, const nas_table__field *fields,
                              int count, void *base)
{
    unsigned seen = 0;
    nas_status status = expect(r, YAML_MAPPING_START_EVENT, "a mapping of fields");

    while (status == NAS_OK && (status = next(r)) == NAS_OK &&
           r->event.type != YAML_MAPPING_END_EVENT) {
        int i = 0;

        if (r->event.type != YAML_SCALAR_EVENT)
            return fail_here(r, "%.96s: a field's name must be a plain word", owner);
        while (i < count && strcmp(scalar(r), fields[i].name) != 0)
            i++;
        if (i < count && seen & 1u << i)
            return fail_here(r, "%.96s: %s appears twice", owner, fields[i].name);
        const bool unit = i == count && strcmp(scalar(r), "unit") == 0;
        status = expect(r, YAML_SCALAR_EVENT, "a single value");
        if (status == NAS_OK && unit) {
            status = check_unit(r, owner);
        } else if (status == NAS_OK && i < count) {
            seen |= 1u << i;
            status = read_value(r, owner, &fields[i], (char *)base + fields[i].offset);
        }
    }
    return status;
}

static nas_status read_meta(reader *r, nas_latency_meta *meta)
{
    raw_meta raw = {.format = 0};
    nas_status status = read_fields(r, section, meta_fields, COUNT_OF(meta_fields), &raw);

    if (status)
        return status;
    if (raw.format == 0)
        return fail_here(r, "%s: format is missing", section);
    if (raw.format > FORMAT) {
        status = fail_here(r, "%s: format %d is newer than this program (%d)", section, raw.format,
                           FORMAT);
        nas_hint(r->err, "use the version of nas that wrote it, or profile again");
        return status;
    }
    if (raw.meta.image_size > NAS_MAX_IMAGE_SIZE)
        return fail_here(r, "%s: image_size %d is above %d", section, raw.meta.image_size,
                         NAS_MAX_IMAGE_SIZE);
    *meta = raw.meta;
    return NAS_OK;
}

static nas_status read_entry(reader *r, const char *key, nas_latency_table *table)
{
    const size_t line = r->event.start_mark.line + 1;
    nas_table__entry entry = nas_table__nothing_said;
    nas_status status =
        read_fields(r, key, nas_table__entry_fields, NAS_TABLE__ENTRY_FIELDS, &entry);

    if (status)
        return status;
    status = nas_table__add(table, key, &entry, r->err);
    if (status)
        nas_err_prefix(r->err, "%s:%zu", r->name, line);
    return status;
}

/* The root mapping; the current event is its start. */
static nas_status read_root(reader *r, nas_latency_table *table, bool *own)
{
    nas_status status = NAS_OK;

    while (status == NAS_OK && (status = next(r)) == NAS_OK &&
           r->event.type != YAML_MAPPING_END_EVENT) {
        char key[NAS_LATENCY_KEY_SIZE];

        if (r->event.type != YAML_SCALAR_EVENT)
            return fail_here(r, "a key must be a single word");
        if (r->event.data.scalar.length >= sizeof key)
            return fail_here(r, "a key of more than %zu characters", sizeof key - 1);
        memcpy(key, scalar(r), r->event.data.scalar.length + 1);
        if (strcmp(key, section) != 0)
            status = read_entry(r, key, table);
        else if (*own)
            return fail_here(r, "%s appears twice", section);
        else {
            *own = true;
            status = read_meta(r, &table->meta);
        }
    }
    if (status == NAS_OK && table->count == 0)
        return fail_here(r, "the table has no entries");
    return status;
}

static nas_status read_document(reader *r, nas_latency_table *table)
{
    bool own = false;
    nas_status status;

    if ((status = expect(r, YAML_STREAM_START_EVENT, "YAML")) ||
        (status = expect(r, YAML_DOCUMENT_START_EVENT, "a latency table, found nothing")) ||
        (status = expect(r, YAML_MAPPING_START_EVENT, "a mapping of keys to measurements")) ||
        (status = read_root(r, table, &own)) ||
        (status = expect(r, YAML_DOCUMENT_END_EVENT, "the end of the table")))
        return status;
    if (own && r->event.data.document_end.implicit) {
        status = fail_here(r, "the file is cut off: it does not end with \"...\"");
        nas_hint(r->err, "copy the table again, or make it again with nas profile");
        return status;
    }
    return expect(r, YAML_STREAM_END_EVENT, "nothing after the table");
}

nas_status nas_latency_table_parse(nas_latency_table **out, const char *text, size_t size,
                                   const char *name, nas_err *err)
{
    reader r = {.name = name, .err = err};
    nas_latency_table *table = nas_latency_table_new(err);
    nas_status status;

    *out = NULL;
    if (!table)
        return NAS_E_NOMEM;
    if (!yaml_parser_initialize(&r.parser)) {
        nas_latency_table_free(table);
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory to read it", name);
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
    status = read_document(&r, table);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    if (status) {
        nas_latency_table_free(table);
        return status;
    }
    *out = table;
    return NAS_OK;
}

nas_status nas_latency_table_load(nas_latency_table **out, const char *path, nas_err *err)
{
    char *text = NULL;
    size_t size;
    nas_status status = nas_file_read(path, NAS_TABLE__MAX_FILE_BYTES, &text, &size, err);

    *out = NULL;
    if (status == NAS_OK)
        status = nas_latency_table_parse(out, text, size, path, err);
    free(text);
    if (status == NAS_E_IO || status == NAS_E_DATA)
        nas_path_hint(path, "nas profile measures a table, nas latency import reads those of "
                      "others", err);
    return status;
}

/* ------------------------------------------------------------------ writer */

/* In double quotes.  What is not printable ASCII becomes "?": it only describes, and YAML's
 * readers disagree on it. */
static void put_text(FILE *f, const char *name, const char *value)
{
    fprintf(f, "  %s: \"", name);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            fputc('\\', f);
        fputc(*value >= ' ' && *value <= '~' ? *value : '?', f);
    }
    fputs("\"\n", f);
}

static void put_meta(FILE *f, const nas_latency_table *table)
{
    const raw_meta raw = {.format = FORMAT, .meta = table->meta};

    fprintf(f, "%s:\n", section);
    for (int i = 0; i < COUNT_OF(meta_fields); i++) {
        const nas_table__field *field = &meta_fields[i];
        const char *member = (const char *)&raw + field->offset;

        if ((member == (const char *)&raw.meta.emulated && raw.meta.emulated == 0) ||
            ((member == raw.meta.fitted_from || member == raw.meta.probe) && *member == '\0'))
            continue; /* said only where it is so */
        if (field->type == NAS_TABLE__TEXT)
            put_text(f, field->name, member);
        else if (field->type == NAS_TABLE__INTEGER)
            fprintf(f, "  %s: %d\n", field->name, *(const int *)(const void *)member);
        else if (raw.meta.probe_ms > 0.0)
            nas_table__put_member(f, field->name, raw.meta.probe_ms);
    }
}

static void put_row(FILE *f, const nas_latency_row *row)
{
    fprintf(f, "%s:\n  count: %lld\n", row->key, (long long)row->stat.count);
    nas_table__put_member(f, "mean", row->stat.mean);
    nas_table__put_member(f, "std", row->stat.std);
    nas_table__put_member(f, "median", row->stat.median);
    nas_table__put_member(f, "p95", row->stat.p95);
}

nas_status nas_latency_table_text(const nas_latency_table *table, char **text, size_t *size,
                                  nas_err *err)
{
    static const nas_table__form form = {.head = put_meta, .row = put_row, .foot = "...\n"};

    return nas_table__write(table, &form, text, size, err);
}

nas_status nas_latency_table_save(const nas_latency_table *table, const char *path, nas_err *err)
{
    char *text;
    size_t size;
    nas_status status = nas_latency_table_text(table, &text, &size, err);

    if (status)
        return status;
    status = nas_file_write(path, text, size, err);
    free(text);
    return status;
}

nas_status nas_latency_table_digest(const nas_latency_table *table, char out[NAS_DIGEST_SIZE],
                                    nas_err *err)
{
    char *text;
    size_t size;
    nas_status status = nas_latency_table_text(table, &text, &size, err);

    if (status)
        return status;
    nas_digest(text, size, out);
    free(text);
    return NAS_OK;
}
