/* Private to this folder: what the text formats of a table have in common. */
#ifndef NAS_LATENCY_TABLE_PRIVATE_H
#define NAS_LATENCY_TABLE_PRIVATE_H

#include <stdio.h>

#include "latency/table/table.h"

enum { NAS_TABLE__MAX_FILE_BYTES = 64 << 20, NAS_TABLE__WHY_SIZE = 96 };

typedef enum nas_table__type {
    NAS_TABLE__TEXT,
    NAS_TABLE__INTEGER,
    NAS_TABLE__REAL,
    NAS_TABLE__TIME /* a real of more than 0, in ms */
} nas_table__type;

/* A member of a struct by the name that files give it. */
typedef struct nas_table__field {
    const char *name;
    nas_table__type type;
    size_t offset, size; /* of the member; size: of TEXT */
} nas_table__field;

/* One entry as files write it; NAN: not said. */
typedef struct nas_table__entry {
    double count, mean, var, std, median, p95;
} nas_table__entry;

enum { NAS_TABLE__ENTRY_FIELDS = 6 };
extern const nas_table__field nas_table__entry_fields[NAS_TABLE__ENTRY_FIELDS]; /* all REAL */
extern const nas_table__entry nas_table__nothing_said;

/** A decimal number, not negative and finite; otherwise false, and `why` tells. */
bool nas_table__read_real(const char *text, double *out, char why[NAS_TABLE__WHY_SIZE]);

/** Whether a unit that a file names is ours: "ms" or "[ms]". */
bool nas_table__is_ms(const char *unit);

/** Checks what the file said and adds it.  NAS_E_DATA, NAS_E_NOMEM. */
nas_status nas_table__add(nas_latency_table *table, const char *key,
                          const nas_table__entry *entry, nas_err *err);

/** The shortest text that reads back to the same bits; with a point, without which readers
 * of YAML 1.1 take 1e-05 for a word. */
void nas_table__put_real(FILE *f, double value);
/** A line "  name: value" of a YAML entry; none where the value is NAN. */
void nas_table__put_member(FILE *f, const char *name, double value);

/** How a text is made of a table. */
typedef struct nas_table__form {
    void (*head)(FILE *f, const nas_latency_table *table); /* NULL: none */
    void (*row)(FILE *f, const nas_latency_row *row);
    const char *foot;
} nas_table__form;

/** The text of a table (malloc'ed, yours), rows sorted by key.  NAS_E_NOMEM. */
nas_status nas_table__write(const nas_latency_table *table, const nas_table__form *form,
                            char **text, size_t *size, nas_err *err);

#endif
