/* Results for machines (JSON) and for people, made from the same object. */
#include "cli/output.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"

enum { CELL_SIZE = 160, MAX_COLUMNS = 24, MAX_LIST = 12 /* scalars of a list shown */ };

static cli_color chosen_color;

void cli_color_set(cli_color color)
{
    chosen_color = color;
}

bool cli_color_wanted(void)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    if (chosen_color != CLI_COLOR_AUTO)
        return chosen_color == CLI_COLOR_ALWAYS;
    return isatty(STDERR_FILENO) && (no_color == NULL || *no_color == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

void cli_error_print(const nas_err *err)
{
    const char *red = cli_color_wanted() ? "\033[1;31m" : "";
    const char *plain = *red != '\0' ? "\033[0m" : "";
    const char *word = err->status == NAS_E_INTERRUPTED ? "stopped" : "error";
    char text[4 * sizeof err->message];

    nas_text_escape(err->message, text, sizeof text);
    fprintf(stderr, "nas: %s%s:%s %s\n", red, word, plain, text);
    if (err->hint[0] != '\0') {
        nas_text_escape(err->hint, text, sizeof text);
        fprintf(stderr, "  %s\n", text);
    }
}

json_t *cli_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* A scalar as people read it; "" for null. */
static const char *cell(const json_t *value, char out[CELL_SIZE])
{
    if (json_is_string(value))
        nas_text_escape(json_string_value(value), out, CELL_SIZE);
    else if (json_is_integer(value))
        snprintf(out, CELL_SIZE, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(out, CELL_SIZE, "%.5g", json_real_value(value));
    else
        snprintf(out, CELL_SIZE, "%s", json_is_true(value)    ? "yes"
                                       : json_is_false(value) ? "no"
                                                              : "");
    return out;
}

/* Columns on a terminal: bytes less UTF-8 continuation bytes. */
static int width_of(const char *text)
{
    int width = 0;

    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void put_padded(const char *text, int width, bool right)
{
    const int pad = width > width_of(text) ? width - width_of(text) : 0;

    printf("%*s%s%*s", right ? pad : 0, "", text, right ? 0 : pad, "");
}

/* Columns of the terminal that results go to; 0: they go elsewhere, or it does not tell. */
static int terminal_width(void)
{
    struct winsize size;

    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/* How many of the columns fit on the terminal, at least one; says if some do not. */
static int fitting(const int *widths, int columns)
{
    const int most = terminal_width();
    int used = 0, fit = 0;

    if (most == 0)
        return columns;
    while (fit < columns && (fit == 0 || used + 2 + widths[fit] <= most))
        used += 2 + widths[fit++];
    if (fit < columns)
        nas_log(NAS_LOG_INFO, "%d more columns do not fit here; they are there in a wider terminal, "
                "in a pipe, and with --json", columns - fit);
    return fit;
}

static void print_cell(const char *text, int width, bool right, bool last)
{
    fputs("  ", stdout);
    if (last && !right)
        fputs(text, stdout); /* no blanks at the end of a line */
    else
        put_padded(text, width, right);
}

/* Rows are objects; the first one's scalar members are the columns. */
static void print_table(const json_t *rows)
{
    const char *names[MAX_COLUMNS], *key;
    int widths[MAX_COLUMNS], columns = 0;
    bool right[MAX_COLUMNS];
    char text[CELL_SIZE];
    json_t *value, *row;
    size_t i;

    json_object_foreach(json_array_get(rows, 0), key, value)
        if (columns < MAX_COLUMNS && !json_is_object(value) && !json_is_array(value)) {
            names[columns] = key;
            right[columns] = json_is_number(value);
            widths[columns++] = width_of(key);
        }
    for (int c = 0; c < columns; c++)
        json_array_foreach(rows, i, row) {
            const int width = width_of(cell(json_object_get(row, names[c]), text));
            widths[c] = width > widths[c] ? width : widths[c];
        }
    columns = fitting(widths, columns);
    for (int c = 0; c < columns; c++)
        print_cell(names[c], widths[c], right[c], c == columns - 1);
    putchar('\n');
    json_array_foreach(rows, i, row) {
        for (int c = 0; c < columns; c++)
            print_cell(cell(json_object_get(row, names[c]), text), widths[c], right[c],
                       c == columns - 1);
        putchar('\n');
    }
}

static void print_list(const json_t *list)
{
    char text[CELL_SIZE];
    json_t *item;
    size_t i;

    json_array_foreach(list, i, item) {
        if (i == MAX_LIST && json_array_size(list) > MAX_LIST + 1) {
            printf(" ... (%zu)", json_array_size(list));
            return;
        }
        printf("%s%s", i > 0 ? " " : "", cell(item, text));
    }
}

/* A text whole, however long, escaped piece by piece. */
static void put_text(const char *text)
{
    char piece[CELL_SIZE / 4], shown[CELL_SIZE];

    for (size_t size; *text != '\0'; text += size) {
        size = strlen(text);
        if (size >= sizeof piece) /* cut in front of a character, not within one */
            for (size = sizeof piece - 1; size > 1 && ((unsigned char)text[size] & 0xc0) == 0x80;)
                size--;
        memcpy(piece, text, size);
        piece[size] = '\0';
        nas_text_escape(piece, shown, sizeof shown);
        fputs(shown, stdout);
    }
}

/* Scalars and lists first, as "key  value"; then what takes several lines. */
static void print_object(const json_t *object, int indent)
{
    const char *key;
    char text[CELL_SIZE];
    int width = 0;
    json_t *value;

    json_object_foreach((json_t *)object, key, value)
        width = width_of(key) > width ? width_of(key) : width;
    json_object_foreach((json_t *)object, key, value) {
        const bool rows = json_is_array(value) && json_is_object(json_array_get(value, 0));

        if (rows || json_is_object(value))
            continue;
        printf("%*s", indent, "");
        put_padded(key, json_is_null(value) ? 0 : width + 2, false);
        if (json_is_array(value))
            print_list(value);
        else if (json_is_string(value))
            put_text(json_string_value(value));
        else
            fputs(cell(value, text), stdout);
        putchar('\n');
    }
    json_object_foreach((json_t *)object, key, value) {
        if (json_is_object(value)) {
            printf("%*s%s\n", indent, "", key);
            print_object(value, indent + 2);
        } else if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
            printf("%*s%s\n", indent, "", key);
            print_table(value);
        }
    }
}

nas_status cli_flush(nas_err *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return NAS_OK;
    if (errno == EPIPE) { /* the reader had enough: end as every filter does */
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    return nas_fail_errno(err, "standard output");
}

nas_status cli_emit(const cli_context *context, json_t *result, nas_err *err)
{
    if (result == NULL || nas_json_out_of_memory()) {
        json_decref(result);
        return nas_json_out_of_memory()
                   ? nas_fail(err, NAS_E_NOMEM, "%s: out of memory for the result",
                              context->command->name)
                   : nas_fail(err, NAS_E_DATA, "%s: its result holds text that is not UTF-8",
                              context->command->name);
    }
    if (nas_comm_rank(context->comm) > 0) { /* process 0 prints it */
        json_decref(result);
        return NAS_OK;
    }
    bool whole = true;
    if (context->common->json) {
        if ((whole = json_dumpf(result, stdout, JSON_REAL_PRECISION(17)) == 0))
            putchar('\n');
    } else {
        print_object(result, 0);
    }
    json_decref(result);
    const nas_status status = cli_flush(err);
    return whole || status != NAS_OK
               ? status
               : nas_fail(err, nas_json_fault(), "%s: its result cannot be written as JSON",
                          context->command->name);
}

bool cli_shows_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *locale = getenv(names[i]);

        if (locale != NULL && *locale != '\0') /* the first that says anything */
            return strcasestr(locale, "utf-8") != NULL || strcasestr(locale, "utf8") != NULL;
    }
    return false;
}
