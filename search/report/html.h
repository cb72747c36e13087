/* Writing HTML and SVG, in memory: elements that nest and text that is only text.
 *
 * Everything but nas_html_trusted goes through one escape, so no name of a run, metric or file
 * can become markup.  The document is well-formed XML but for its doctype and script. */
#ifndef NAS_SEARCH_REPORT_HTML_H
#define NAS_SEARCH_REPORT_HTML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { NAS_HTML_DEPTH = 32, NAS_HTML_TEXT_MAX = 4096 /* bytes shown of one text */ };

/** Begin with {0}. */
typedef struct nas_html {
    char *text;                      /* what is written; not terminated; NULL: nothing yet */
    size_t size, room;
    bool failed;                     /* for want of memory             */
    const char *open[NAS_HTML_DEPTH]; /* elements not closed yet       */
    int depth;
    bool in_tag;                     /* attributes may still follow    */
} nas_html;

/** NAS_E_NOMEM if something could not be written. */
nas_status nas_html_check(const nas_html *html, nas_err *err);
void nas_html_fini(nas_html *html);

/** Writes text of our own as it is: the doctype, the style sheet, the script. */
void nas_html_trusted(nas_html *html, const char *text);

/** `<tag`; `tag` is a literal. */
void nas_html_open(nas_html *html, const char *tag);
/** ` name="value"`, formatted and escaped; only directly after nas_html_open. */
void nas_html_attr(nas_html *html, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** Text inside the innermost element, escaped; control characters and invalid UTF-8 are shown
 * as \xNN, what is beyond NAS_HTML_TEXT_MAX as an ellipsis. */
void nas_html_text(nas_html *html, const char *text);
void nas_html_textf(nas_html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Closes the innermost element, which must be `tag`. */
void nas_html_close(nas_html *html, const char *tag);
/** An element with text and, unless `class` is NULL, a class. */
void nas_html_element(nas_html *html, const char *tag, const char *class, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** A table: begin with the caption (formatted), then rows of cells, then end.  `head` holds the
 * columns' names, NULL-terminated. */
void nas_html_table_begin(nas_html *html, const char *const *head, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void nas_html_table_end(nas_html *html);
void nas_html_cell(nas_html *html, const char *text);
/** A number of `digits` significant digits, or an en dash for NAN. */
void nas_html_number(nas_html *html, double value, int digits);

#endif
