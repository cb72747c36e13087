/* CSV: a head line that names the columns, then one entry a line. */
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "latency/table/exchange.h"
#include "latency/table/private.h"

enum { CELL_SIZE = 512, MAX_COLUMNS = 64, KEY = -1, EMULATED = -2, UNIT = -3, OTHER = -4 };

typedef struct csv {
    const char *at, *end;
    const char *name;
    size_t line;
    nas_err *err;
    char cell[CELL_SIZE];
} csv;

/* NAS_E_DATA at the current line. */
__attribute__((format(printf, 2, 3))) static nas_status fail_here(csv *r, const char *format, ...)
{
    char text[512], shown[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    nas_text_escape(text, shown, sizeof shown);
    return nas_fail(r->err, NAS_E_DATA, "%s:%zu: %s", r->name, r->line, shown);
}

static bool at_line_end(const csv *r)
{
    return r->at == r->end || *r->at == '\n' ||
           (*r->at == '\r' && (r->at + 1 == r->end || r->at[1] == '\n'));
}

static nas_status append(csv *r, size_t *used, char c)
{
    if (c == '\0')
        return fail_here(r, "a NUL character");
    if (*used == CELL_SIZE - 1)
        return fail_here(r, "a cell of more than %d bytes", CELL_SIZE - 1);
    r->cell[(*used)++] = c;
    return NAS_OK;
}

/* The next cell of the line into r->cell; one in quotes may hold commas, and "" for a quote.
 * Leaves r->at on the comma or the end of the line. */
static nas_status read_cell(csv *r)
{
    const bool quoted = r->at < r->end && *r->at == '"';
    size_t used = 0;
    nas_status status = NAS_OK;

    for (r->at += quoted; status == NAS_OK; status = append(r, &used, *r->at++)) {
        if (at_line_end(r)) {
            if (quoted)
                return fail_here(r, "quotes that the line does not close");
            break;
        }
        if (!quoted && *r->at == ',')
            break;
        if (quoted && *r->at == '"' && (++r->at == r->end || *r->at != '"'))
            break;
    }
    r->cell[used] = '\0';
    if (status == NAS_OK && !at_line_end(r) && *r->at != ',')
        return fail_here(r, "text behind closing quotes");
    return status;
}

/* Steps over the comma; false at the end of the line. */
static bool next_cell(csv *r)
{
    if (at_line_end(r))
        return false;
    r->at++;
    return true;
}

static void next_line(csv *r)
{
    r->at += r->at < r->end && *r->at == '\r';
    r->at += r->at < r->end;
    r->line++;
}

/* What a column holds: a number of nas_table__entry_fields, KEY, EMULATED, UNIT or OTHER. */
static int column_of(const char *name)
{
    if (strcmp(name, "key") == 0)
        return KEY;
    if (strcmp(name, "emulated") == 0)
        return EMULATED;
    if (strcmp(name, "unit") == 0)
        return UNIT;
    for (int i = 0; i < NAS_TABLE__ENTRY_FIELDS; i++)
        if (strcmp(name, nas_table__entry_fields[i].name) == 0)
            return i;
    return OTHER;
}

static nas_status read_head(csv *r, int columns[MAX_COLUMNS], int *count)
{
    bool has_key = false, has_mean = false;

    *count = 0;
    do {
        const nas_status status = read_cell(r);
        const int column = column_of(r->cell);

        if (status)
            return status;
        if (*count == MAX_COLUMNS)
            return fail_here(r, "more than %d columns", MAX_COLUMNS);
        for (int i = 0; i < *count && column != OTHER; i++)
            if (columns[i] == column)
                return fail_here(r, "column %.40s appears twice", r->cell);
        has_key |= column == KEY;
        has_mean |= strcmp(r->cell, "mean") == 0;
        columns[(*count)++] = column;
    } while (next_cell(r));
    if (has_key && has_mean)
        return NAS_OK;
    fail_here(r, "the head line must name the columns key and mean");
    nas_hint(r->err, "for instance: key,count,mean,std,median,p95");
    return NAS_E_DATA;
}

/* 1, 0 or, for what is neither, -1; an empty cell says no. */
static int yes_or_no(const char *cell)
{
    static const char *const words[] = {"", "0", "no", "false", "1", "yes", "true"};
    const int count = sizeof words / sizeof *words;
    int i = 0;

    while (i < count && strcasecmp(cell, words[i]) != 0)
        i++;
    return i < count ? i >= 4 : -1;
}

static nas_status read_row(csv *r, const int *columns, int count, nas_latency_table *table)
{
    nas_table__entry entry = nas_table__nothing_said;
    char key[CELL_SIZE] = "", why[NAS_TABLE__WHY_SIZE];
    int at = 0;

    do {
        const nas_status status = read_cell(r);

        if (status)
            return status;
        if (at == count)
            return fail_here(r, "more cells than the %d columns of the head line", count);
        const int column = columns[at++];

        if (column == KEY)
            memcpy(key, r->cell, sizeof key);
        if (column == EMULATED) {
            const int said = yes_or_no(r->cell);

            if (said < 0)
                return fail_here(r, "emulated: \"%.40s\" is neither yes nor no", r->cell);
            table->meta.emulated |= said;
        }
        if (column == UNIT && r->cell[0] != '\0' && !nas_table__is_ms(r->cell))
            return fail_here(r, "unit: \"%.40s\", but latencies are in ms", r->cell);
        if (column < 0 || r->cell[0] == '\0') /* an empty cell says nothing */
            continue;
        const nas_table__field *f = &nas_table__entry_fields[column];

        if (!nas_table__read_real(r->cell, (double *)(void *)((char *)&entry + f->offset), why))
            return fail_here(r, "%s: %s", f->name, why);
    } while (next_cell(r));
    if (at < count)
        return fail_here(r, "%d cells, but the head line names %d columns", at, count);
    const nas_status status = nas_table__add(table, key, &entry, r->err);

    if (status)
        nas_err_prefix(r->err, "%s:%zu", r->name, r->line);
    return status;
}

static nas_status read_all(csv *r, nas_latency_table *table)
{
    int columns[MAX_COLUMNS], count;
    nas_status status = read_head(r, columns, &count);

    while (status == NAS_OK && r->at < r->end) {
        next_line(r);
        if (!at_line_end(r))
            status = read_row(r, columns, count, table);
    }
    if (status == NAS_OK && table->count == 0)
        return fail_here(r, "the table has no entries");
    return status;
}

nas_status nas_latency_table_parse_csv(nas_latency_table **out, const char *text, size_t size,
                                       const char *name, nas_err *err)
{
    static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8, as spreadsheets write it */
    csv r = {.at = text, .end = text + size, .name = name, .line = 1, .err = err};
    nas_latency_table *table = nas_latency_table_new(err);

    *out = NULL;
    if (!table)
        return NAS_E_NOMEM;
    if (size >= 3 && memcmp(text, mark, 3) == 0)
        r.at += 3;
    const nas_status status = read_all(&r, table);

    if (status) {
        nas_latency_table_free(table);
        return status;
    }
    *out = table;
    return NAS_OK;
}
