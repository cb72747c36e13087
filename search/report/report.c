/* The page: which runs, head and foot, and the sections in their order. */
#include "search/report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "search/report/private.h"

/* ---- the runs ---- */

static json_t *load_object(const char *text)
{
    json_t *json = text != NULL ? json_loads(text, 0, NULL) : NULL;

    if (json_is_object(json))
        return json;
    json_decref(json);
    return json_object();
}

/* True if the options name this run. */
static bool wanted(const int64_t *ids, int count, int64_t id)
{
    for (int i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return count == 0;
}

static nas_status find_ids(nas_store *store, const nas_report_options *options, int64_t **ids,
                           nas_err *err)
{
    nas_status status = NAS_OK;

    *ids = calloc((size_t)options->count + 1, sizeof **ids);
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

static nas_status load_runs(nas_report__page *page, const nas_store_runs *all,
                            const nas_report_options *options, nas_err *err)
{
    int64_t *ids = NULL;
    nas_status status = find_ids(page->store, options, &ids, err);

    page->runs = calloc((size_t)all->count + 1, sizeof *page->runs);
    if (status == NAS_OK && page->runs == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "report: out of memory");
    for (int i = 0; i < all->count && status == NAS_OK; i++) {
        if (!wanted(ids, options->count, all->runs[i].id))
            continue;
        nas_report__run *run = &page->runs[page->count++];
        run->about = &all->runs[i];
        run->config = load_object(run->about->config);
        run->summary = load_object(run->about->summary);
        status = nas_store_evaluations_get(page->store, run->about->id, &run->judged,
                                           &run->judged_count, err);
    }
    page->drawn = options->count > 0 || options->drawn > page->count ? page->count : options->drawn;
    free(ids);
    return status;
}

static void free_runs(nas_report__page *page)
{
    for (int i = 0; i < page->count; i++) {
        json_decref(page->runs[i].config);
        json_decref(page->runs[i].summary);
        nas_store_judged_free(page->runs[i].judged, page->runs[i].judged_count);
    }
    free(page->runs);
}

static const json_t *member(const nas_report__run *run, const char *key)
{
    const json_t *value = json_object_get(run->summary, key);

    return value != NULL ? value : json_object_get(run->config, key);
}

double nas_report__number(const nas_report__run *run, const char *key)
{
    const json_t *value = member(run, key);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *nas_report__string(const nas_report__run *run, const char *key)
{
    const char *text = json_string_value(member(run, key));

    return text != NULL ? text : "";
}

double nas_report__seconds(const nas_report__run *run)
{
    const nas_store_run *about = run->about;
    const double told = nas_report__number(run, "seconds");

    if (isfinite(told) || about->finished_ms < about->created_ms)
        return told;
    return (double)(about->finished_ms - about->created_ms) / 1000;
}

/* ---- what sections share ---- */

void nas_report__details_begin(nas_html *html, const char *what)
{
    nas_html_open(html, "details");
    nas_html_element(html, "summary", NULL, "%s", what);
}

void nas_report__details_end(nas_html *html)
{
    nas_html_close(html, "details");
    nas_html_trusted(html, "\n");
}

void nas_report__nothing(nas_html *html, const char *why)
{
    nas_html_element(html, "p", "nothing", "%s", why);
}

/* ---- the page ---- */

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
    nas_status status;

    nas_html_open(html, "section");
    nas_html_attr(html, "id", "run-%lld", (long long)run->about->id);
    nas_html_element(html, "h2", NULL, "%s", run->about->name);
    if (run->about->error != NULL)
        nas_html_element(html, "p", "error", "Ended with: %s", run->about->error);
    if ((status = nas_report__verified(page, run, err)) == NAS_OK &&
        (status = nas_report__curves(page, run, err)) == NAS_OK &&
        (status = nas_report__heat(page, run, err)) == NAS_OK)
        status = nas_report__drawing(page, run, err);
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
    nas_html_close(html, "main");
    nas_html_open(html, "script");
    nas_html_trusted(html, nas_report__script);
    nas_html_close(html, "script");
    nas_html_close(html, "body");
    nas_html_close(html, "html");
    nas_html_trusted(html, "\n");
    return NAS_OK;
}

nas_status nas_report_write(nas_store *store, const char *path, const nas_report_options *options,
                            int *runs, nas_err *err)
{
    nas_report__page page = {.store = store};
    nas_store_runs all = {0};
    nas_writer *writer = NULL;
    nas_status status;

    if ((status = nas_store_run_list(store, NULL, NAS_STORE_ANY_STATE, 0, &all, err)) ||
        (status = load_runs(&page, &all, options, err)) ||
        (status = nas_writer_open(&writer, path, err)))
        goto done;
    page.html.writer = writer;
    status = write_page(&page, err);
    if (status == NAS_OK) {
        status = nas_writer_commit(writer, err);
        writer = NULL;
    }
    if (runs != NULL)
        *runs = page.count;

done:
    if (writer != NULL)
        nas_writer_abort(writer);
    free_runs(&page);
    nas_store_runs_fini(&all);
    return status;
}
