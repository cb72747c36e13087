/* Elements, attributes and the one escape. */
#include "search/report/html.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static void put_bytes(nas_html *html, const char *bytes, size_t size)
{
    if (size > html->room - html->size) {
        const size_t room = 2 * html->room + size + 4096;
        char *grown = html->failed ? NULL : realloc(html->text, room);

        if (grown == NULL) {
            html->failed = true;
            return;
        }
        html->text = grown;
        html->room = room;
    }
    memcpy(html->text + html->size, bytes, size);
    html->size += size;
}

static void put(nas_html *html, const char *text)
{
    put_bytes(html, text, strlen(text));
}

nas_status nas_html_check(const nas_html *html, nas_err *err)
{
    return html->failed ? nas_fail(err, NAS_E_NOMEM, "page: out of memory") : NAS_OK;
}

void nas_html_fini(nas_html *html)
{
    free(html->text);
    *html = (nas_html){0};
}

static void end_tag(nas_html *html)
{
    if (html->in_tag)
        put(html, ">");
    html->in_tag = false;
}

static void put_escaped(nas_html *html, const char *text)
{
    static const struct {
        char character;
        const char *entity;
    } entities[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"},
    };
    char shown[NAS_HTML_TEXT_MAX];

    nas_text_escape(text, shown, sizeof shown);
    for (const char *c = shown; *c != '\0'; c++) {
        size_t i = 0;

        while (i < sizeof entities / sizeof *entities && entities[i].character != *c)
            i++;
        if (i < sizeof entities / sizeof *entities)
            put(html, entities[i].entity);
        else
            put_bytes(html, c, 1);
    }
    if (strlen(shown) + 16 >= sizeof shown) /* no room was left for one more character */
        put(html, "\xe2\x80\xa6");
}

void nas_html_trusted(nas_html *html, const char *text)
{
    end_tag(html);
    put(html, text);
}

void nas_html_open(nas_html *html, const char *tag)
{
    assert(html->depth < NAS_HTML_DEPTH);
    end_tag(html);
    put(html, "<");
    put(html, tag);
    html->open[html->depth++] = tag;
    html->in_tag = true;
}

void nas_html_attr(nas_html *html, const char *name, const char *format, ...)
{
    char value[NAS_HTML_TEXT_MAX];
    va_list list;

    assert(html->in_tag);
    va_start(list, format);
    vsnprintf(value, sizeof value, format, list);
    va_end(list);
    put(html, " ");
    put(html, name);
    put(html, "=\"");
    put_escaped(html, value);
    put(html, "\"");
}

void nas_html_text(nas_html *html, const char *text)
{
    end_tag(html);
    put_escaped(html, text);
}

static void text_list(nas_html *html, const char *format, va_list list)
{
    char text[NAS_HTML_TEXT_MAX];

    vsnprintf(text, sizeof text, format, list);
    nas_html_text(html, text);
}

void nas_html_textf(nas_html *html, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    text_list(html, format, list);
    va_end(list);
}

/* Elements that never hold anything: HTML's own, and the shapes of SVG that we use. */
static bool is_void(const char *tag)
{
    static const char *const names[] = {"meta", "input", "rect", "line", "polyline", "col"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(tag, names[i]) == 0)
            return true;
    return false;
}

void nas_html_close(nas_html *html, const char *tag)
{
    assert(html->depth > 0 && strcmp(html->open[html->depth - 1], tag) == 0);
    html->depth--;
    if (html->in_tag && is_void(tag)) {
        put(html, "/>");
        html->in_tag = false;
        return;
    }
    end_tag(html);
    put(html, "</");
    put(html, tag);
    put(html, ">");
}

void nas_html_element(nas_html *html, const char *tag, const char *class, const char *format, ...)
{
    va_list list;

    nas_html_open(html, tag);
    if (class != NULL)
        nas_html_attr(html, "class", "%s", class);
    va_start(list, format);
    text_list(html, format, list);
    va_end(list);
    nas_html_close(html, tag);
}

void nas_html_table_begin(nas_html *html, const char *const *head, const char *format, ...)
{
    va_list list;

    nas_html_open(html, "div"); /* scrolls where the page is narrow; by the keyboard too */
    nas_html_attr(html, "class", "wide");
    nas_html_attr(html, "tabindex", "0");
    nas_html_open(html, "table");
    nas_html_open(html, "caption");
    va_start(list, format);
    text_list(html, format, list);
    va_end(list);
    nas_html_close(html, "caption");
    nas_html_open(html, "thead");
    nas_html_open(html, "tr");
    for (; *head != NULL; head++) {
        nas_html_open(html, "th");
        nas_html_attr(html, "scope", "col");
        nas_html_text(html, *head);
        nas_html_close(html, "th");
    }
    nas_html_close(html, "tr");
    nas_html_close(html, "thead");
    nas_html_open(html, "tbody");
}

void nas_html_table_end(nas_html *html)
{
    nas_html_close(html, "tbody");
    nas_html_close(html, "table");
    nas_html_close(html, "div");
    nas_html_trusted(html, "\n");
}

void nas_html_cell(nas_html *html, const char *text)
{
    nas_html_element(html, "td", NULL, "%s", text);
}

void nas_html_number(nas_html *html, double value, int digits)
{
    if (isfinite(value))
        nas_html_element(html, "td", "n", "%.*g", digits, value);
    else
        nas_html_element(html, "td", "n", "%s", isnan(value) ? "\xe2\x80\x93" : "\xe2\x88\x9e");
}
