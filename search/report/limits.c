/* What a network was allowed to cost, what it came to, and what training pressed for. */
#include "search/report/private.h"

static void row(nas_html *html, const json_t *limit)
{
    const char *cost = json_string_value(json_object_get(limit, "cost"));

    nas_html_open(html, "tr");
    nas_html_cell(html, cost != NULL ? cost : "");
    nas_html_number(html, json_number_value(json_object_get(limit, "limit")), 6);
    nas_html_number(html, json_number_value(json_object_get(limit, "reached")), 6);
    nas_html_cell(html, json_is_true(json_object_get(limit, "objective")) ? "yes" : "");
    nas_html_close(html, "tr");
}

void nas_report__limits(nas_report__page *page, const nas_report__run *run)
{
    static const char *const head[] = {"Cost", "Limit", "Reached", "Objective", NULL};
    const json_t *list = json_object_get(run->summary, "limits"), *limit;
    nas_html *html = &page->html;
    size_t i;

    if (json_array_size(list) == 0)
        return;
    nas_html_element(html, "h3", NULL, "Limits");
    nas_html_table_begin(html, head, "What the network may cost; of a search, training "
                         "pressed for the objectives");
    json_array_foreach(list, i, limit)
        row(html, limit);
    nas_html_table_end(html);
}
