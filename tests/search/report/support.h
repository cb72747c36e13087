/* A page in a file, and whether it is well-formed. */
#ifndef NAS_TESTS_SEARCH_REPORT_SUPPORT_H
#define NAS_TESTS_SEARCH_REPORT_SUPPORT_H

#include <sqlite3.h>

#include "base/file.h"
#include "tests/support/scratch.h"

static nas_err err;

#define ok(call) cr_assert_eq((call), NAS_OK, "%s", err.message)

/* Changes the database of scratch("store") behind the store's back. */
static inline void raw_sql(const char *sql)
{
    sqlite3 *db;
    char *message = NULL;

    cr_assert_eq(sqlite3_open(scratch("store/store.db"), &db), SQLITE_OK);
    sqlite3_exec(db, sql, NULL, NULL, &message);
    cr_assert_null(message, "%s: %s", sql, message);
    sqlite3_close(db);
}

/* The file's content, until the next call. */
static inline const char *content(const char *path)
{
    static char *text;
    size_t size;

    free(text);
    ok(nas_file_read(path, 64 << 20, &text, &size, &err));
    cr_assert_eq(strlen(text), size, "a NUL in the file");
    return text;
}

static inline int occurrences(const char *text, const char *part)
{
    int count = 0;

    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        count++;
    return count;
}

/* An entity of ours at `at`; anything else begins with a bare '&'. */
static inline bool is_entity(const char *at)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(at, known[i], strlen(known[i])) == 0)
            return true;
    return false;
}

/* Reads one tag at `at` ('<'): checks quoting, pushes or pops; returns what follows it. */
static inline const char *check_tag(const char *at, char stack[][16], int *depth)
{
    char name[16] = "";
    const bool closing = at[1] == '/';
    const char *c = at + 1 + closing;
    const size_t length = strcspn(c, " />");

    cr_assert(length > 0 && length < sizeof name, "no tag: %.60s", at);
    memcpy(name, c, length);
    for (c += length; *c == ' ';) {
        c += 1 + strcspn(c + 1, "=<>\"");
        cr_assert(c[0] == '=' && c[1] == '"', "an attribute without quotes: %.80s", at);
        c += 2 + strcspn(c + 2, "\"<>");
        cr_assert_eq(*c, '"', "markup in an attribute: %.200s", at);
        c++;
    }
    const bool empty = *c == '/';
    c += empty;
    cr_assert_eq(*c, '>', "a tag that does not end: %.80s", at);
    if (closing) {
        cr_assert_gt(*depth, 0);
        cr_assert_str_eq(stack[--*depth], name, "</%s> closes <%s>: %.80s", name, stack[*depth],
                         at);
    } else if (!empty) {
        cr_assert_lt(*depth, 64);
        strcpy(stack[(*depth)++], name);
    }
    return c + 1;
}

/* Elements nest, attributes are quoted, every '&' begins an entity; style and script are passed
 * over. */
static inline void expect_well_formed(const char *text)
{
    char stack[64][16];
    int depth = 0;

    cr_assert_eq(strncmp(text, "<!doctype html>\n", 16), 0);
    for (const char *c = text + 16; *c != '\0';) {
        cr_assert(*c != '&' || is_entity(c), "a bare &: %.60s", c);
        cr_assert(*c != '>', "a bare >: %.60s", c);
        c = *c == '<' ? check_tag(c, stack, &depth) : c + 1;
        if (depth > 0 && (strcmp(stack[depth - 1], "style") == 0 ||
                          strcmp(stack[depth - 1], "script") == 0) && *c != '<')
            while (strncmp(c, "</s", 3) != 0)
                c++;
    }
    cr_assert_eq(depth, 0);
}

#endif
