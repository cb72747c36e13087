/* The writer: text is only text, numbers, tables. */
#include "search/report/html.h"

#include <math.h>

#include "tests/search/report/support.h"

TestSuite(search_report_html);

/* What was written, as a string, until the next call. */
static const char *end(nas_html *html)
{
    static char *text;

    cr_assert_eq(html->depth, 0);
    ok(nas_html_check(html, &err));
    free(text);
    text = strndup(html->text, html->size);
    nas_html_fini(html);
    return text;
}

Test(search_report_html, text_and_attributes_are_escaped)
{
    nas_html html = {0};

    nas_html_open(&html, "p");
    nas_html_attr(&html, "title", "\"'><%s", "script>&");
    nas_html_text(&html, "<b a='1' c=\"2\">&amp;</b>");
    nas_html_close(&html, "p");
    cr_assert_str_eq(end(&html), "<p title=\"&quot;&#39;&gt;&lt;script&gt;&amp;\">"
                                 "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;amp;&lt;/b&gt;</p>");
}

Test(search_report_html, control_characters_and_bad_utf8_are_shown)
{
    nas_html html = {0};

    nas_html_element(&html, "p", NULL, "%s", "a\x1b[31m\r\n\x7f\xc2\x85 \xff\xc0\xbc \xe2\x82\xac");
    cr_assert_str_eq(end(&html), "<p>a\\x1b[31m\\x0d\\x0a\\x7f\\xc2\\x85 \\xff\\xc0\\xbc "
                                 "\xe2\x82\xac</p>");
}

Test(search_report_html, long_text_ends_in_an_ellipsis)
{
    static char emoji[10001];
    nas_html html = {0};

    for (int i = 0; i < 10000; i += 4)
        memcpy(emoji + i, "\xf0\x9f\x98\x80", 4);
    nas_html_text(&html, emoji);
    const char *text = end(&html);
    cr_assert(strlen(text) > 4000 && strlen(text) < 4110, "%zu bytes", strlen(text));
    cr_assert_eq(strlen(text) % 4, 3, "whole characters and the ellipsis");
    cr_assert_str_eq(text + strlen(text) - 3, "\xe2\x80\xa6");
}

Test(search_report_html, elements_without_content_close_themselves)
{
    nas_html html = {0};

    nas_html_open(&html, "p");
    nas_html_open(&html, "rect");
    nas_html_close(&html, "rect");
    nas_html_open(&html, "i");
    nas_html_close(&html, "i");
    nas_html_close(&html, "p");
    cr_assert_str_eq(end(&html), "<p><rect/><i></i></p>");
}

Test(search_report_html, numbers_that_are_none_show_a_dash)
{
    nas_html html = {0};

    nas_html_number(&html, 0.123456, 3);
    nas_html_number(&html, NAN, 3);
    cr_assert_str_eq(end(&html), "<td class=\"n\">0.123</td><td class=\"n\">\xe2\x80\x93</td>");
}
