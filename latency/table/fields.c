/* Numbers and entries between text and table, the same for every format. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "latency/table/private.h"

#define ENTRY_FIELD(name) {#name, NAS_TABLE__REAL, offsetof(nas_table__entry, name), 0}

const nas_table__field nas_table__entry_fields[NAS_TABLE__ENTRY_FIELDS] = {
    ENTRY_FIELD(count), ENTRY_FIELD(mean),   ENTRY_FIELD(var),
    ENTRY_FIELD(std),   ENTRY_FIELD(median), ENTRY_FIELD(p95),
};

const nas_table__entry nas_table__nothing_said = {NAN, NAN, NAN, NAN, NAN, NAN};

bool nas_table__is_ms(const char *unit)
{
    return strcmp(unit, "ms") == 0 || strcmp(unit, "[ms]") == 0;
}

bool nas_table__read_real(const char *text, double *out, char why[NAS_TABLE__WHY_SIZE])
{
    char *end;
    const double value = strtod(text, &end);
    const bool decimal = *text && text[strspn(text, "+-.0123456789eE")] == '\0';

    if (!decimal || *end)
        snprintf(why, NAS_TABLE__WHY_SIZE, "\"%.40s\" is not a number", text);
    else if (!isfinite(value) || value < 0.0)
        snprintf(why, NAS_TABLE__WHY_SIZE, "%.40s must be finite and not negative", text);
    else {
        *out = value;
        return true;
    }
    return false;
}

nas_status nas_table__add(nas_latency_table *table, const char *key,
                          const nas_table__entry *entry, nas_err *err)
{
    if (isnan(entry->mean))
        return nas_fail(err, NAS_E_DATA, "%.96s: mean is missing", key);
    if (!isnan(entry->count) && (entry->count > 1e15 || entry->count != floor(entry->count)))
        return nas_fail(err, NAS_E_DATA, "%.96s: count: %g is not a whole number", key,
                        entry->count);
    const nas_latency_stat stat = {
        .count = isnan(entry->count) ? 0 : (int64_t)entry->count,
        .mean = entry->mean,
        .std = isnan(entry->std) ? sqrt(entry->var) : entry->std,
        .median = entry->median,
        .p95 = entry->p95,
    };

    return nas_latency_table_add(table, key, &stat, err);
}

void nas_table__put_real(FILE *f, double value)
{
    char text[40];
    int precision = 15;

    do
        snprintf(text, sizeof text, "%.*g", precision, value);
    while (strtod(text, NULL) != value && ++precision <= 17);
    const char *e = strchr(text, 'e');

    if (strchr(text, '.') || !e)
        fputs(text, f);
    else
        fprintf(f, "%.*s.0%s", (int)(e - text), text, e);
}

void nas_table__put_member(FILE *f, const char *name, double value)
{
    if (isnan(value))
        return;
    fprintf(f, "  %s: ", name);
    nas_table__put_real(f, value);
    fputc('\n', f);
}

static int by_key(const void *a, const void *b)
{
    const nas_latency_row *const *x = a, *const *y = b;

    return strcmp((*x)->key, (*y)->key);
}

nas_status nas_table__write(const nas_latency_table *table, const nas_table__form *form,
                            char **text, size_t *size, nas_err *err)
{
    const nas_latency_row **rows = malloc(((size_t)table->count + 1) * sizeof *rows);
    FILE *f = open_memstream(text, size);
    bool failed = !rows || !f;

    if (!failed) {
        for (int i = 0; i < table->count; i++)
            rows[i] = &table->rows[i];
        qsort(rows, (size_t)table->count, sizeof *rows, by_key);
        if (form->head)
            form->head(f, table);
        for (int i = 0; i < table->count; i++)
            form->row(f, rows[i]);
        fputs(form->foot, f);
        failed = ferror(f);
    }
    free(rows);
    if (f && fclose(f) != 0)
        failed = true;
    if (!failed)
        return NAS_OK;
    if (f)
        free(*text);
    return nas_fail(err, NAS_E_NOMEM, "no memory for the text of a latency table");
}
