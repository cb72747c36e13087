/* The page of a report: which runs, head and foot, and the sections in their order. */
#include "search/report/report.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "search/report/private.h"

/* The runs that the options name; NULL: they name none. */
static nas_status find_ids(nas_store *store, const nas_report_options *options, int64_t **ids,
                           nas_err *err)
{
    nas_status status = NAS_OK;

    *ids = NULL;
    if (options->count == 0)
        return NAS_OK;
    *ids = calloc((size_t)options->count, sizeof **ids);
    if (*ids == NULL)
        return nas_fail(err, NAS_E_NOMEM, "report: out of memory");
    for (int i = 0; i < options->count && status == NAS_OK; i++) {
        nas_store_run *run = NULL;

        if ((status = nas_store_run_get(store, options->runs[i], &run, err)) == NAS_OK)
            (*ids)[i] = run->id;
        nas_store_run_free(run);
    }
    return status;
}

static void write_head(nas_html *html)
{
    nas_html_trusted(html, "<!doctype html>\n");
    nas_html_open(html, "html");
    nas_html_attr(html, "lang", "en");
    nas_html_open(html, "head");
    nas_html_open(html, "meta");
    nas_html_attr(html, "charset", "utf-8");
    nas_html_close(html, "meta");
    nas_html_open(html, "meta");
    nas_html_attr(html, "name", "viewport");
    nas_html_attr(html, "content", "width=device-width, initial-scale=1");
    nas_html_close(html, "meta");
    nas_html_open(html, "meta"); /* whatever the content: no request leaves the page */
    nas_html_attr(html, "http-equiv", "Content-Security-Policy");
    nas_html_attr(html, "content", "default-src 'none'; style-src 'unsafe-inline'; "
                                   "script-src 'unsafe-inline'");
    nas_html_close(html, "meta");
    nas_html_element(html, "title", NULL, "OnePath report");
    nas_html_open(html, "style");
    nas_html_trusted(html, nas_report__style);
    nas_html_close(html, "style");
    nas_html_close(html, "head");
    nas_html_trusted(html, "\n");
}

static void write_intro(nas_report__page *page)
{
    nas_html *html = &page->html;
    int64_t newest = 0;
    char when[25];

    for (int i = 0; i < page->count; i++)
        if (page->runs[i].about->updated_ms > newest)
            newest = page->runs[i].about->updated_ms;
    nas_clock_format(newest, when);
    nas_html_open(html, "header");
    nas_html_element(html, "h1", NULL, "OnePath report");
    nas_html_open(html, "p");
    nas_html_textf(html, "%d %s of the store ", page->count, page->count == 1 ? "run" : "runs");
    nas_html_element(html, "code", NULL, "%s", nas_store_dir(page->store));
    if (newest > 0)
        nas_html_textf(html, ", last written %.19s UTC", when);
    nas_html_text(html, ".");
    nas_html_close(html, "p");
    nas_html_close(html, "header");
    nas_html_trusted(html, "\n");
}

static nas_status write_run(nas_report__page *page, const nas_report__run *run, nas_err *err)
{
    nas_html *html = &page->html;

    nas_html_open(html, "section");
    nas_html_attr(html, "id", "run-%lld", (long long)run->about->id);
    nas_html_element(html, "h2", NULL, "%s", run->about->name);
    const nas_status status = nas_report__run_sections(page, run, err);
    nas_html_close(html, "section");
    nas_html_trusted(html, "\n");
    return status;
}

static nas_status write_page(nas_report__page *page, nas_err *err)
{
    nas_html *html = &page->html;
    nas_status status;

    write_head(html);
    nas_html_open(html, "body");
    write_intro(page);
    nas_html_open(html, "main");
    nas_report__overview(page);
    if ((status = nas_report__pareto(page, err)) != NAS_OK)
        return status;
    nas_report__cost(page);
    for (int i = 0; i < page->drawn; i++)
        if ((status = write_run(page, &page->runs[i], err)) != NAS_OK)
            return status;
    if ((status = nas_report__difference(page, err)) != NAS_OK)
        return status;
    nas_html_close(html, "main");
    nas_html_open(html, "script");
    nas_html_trusted(html, nas_report__script);
    nas_html_trusted(html, "show(document);\n");
    nas_html_close(html, "script");
    nas_html_close(html, "body");
    nas_html_close(html, "html");
    nas_html_trusted(html, "\n");
    return nas_html_check(html, err);
}

nas_status nas_report_write(nas_store *store, const char *path, const nas_report_options *options,
                            int *runs, nas_err *err)
{
    nas_report__page page = {.store = store};
    nas_store_runs all = {0};
    int64_t *ids = NULL;
    nas_status status;

    if ((status = find_ids(store, options, &ids, err)) ||
        (status = nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 0, &all, err)) ||
        (status = nas_report__page_load(&page, &all, ids, options->count, err)))
        goto done;
    page.drawn = options->count > 0 || options->drawn > page.count ? page.count : options->drawn;
    if ((status = write_page(&page, err)) == NAS_OK)
        status = nas_file_write(path, page.html.text, page.html.size, err);
    if (runs != NULL)
        *runs = page.count;

done:
    nas_report__page_fini(&page);
    nas_store_runs_fini(&all);
    free(ids);
    return status;
}
