/* What a page is made from: the runs, with what the store knows of each, and the helpers that
 * sections share. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "search/report/private.h"

enum { SILENT_MS = 120000 }; /* of a run that runs: it writes after each epoch, and between them */

static json_t *load_object(const char *text)
{
    json_t *json = text != NULL ? json_loads(text, 0, NULL) : NULL;

    if (json_is_object(json))
        return json;
    json_decref(json);
    return json_object();
}

static bool wanted(const int64_t *ids, int count, int64_t id)
{
    for (int i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return ids == NULL;
}

nas_status nas_report__page_load(nas_report__page *page, const nas_store_runs *all,
                                 const int64_t *ids, int count, nas_err *err)
{
    nas_status status = NAS_OK;

    page->runs = calloc((size_t)all->count + 1, sizeof *page->runs);
    if (page->runs == NULL)
        return nas_fail(err, NAS_E_NOMEM, "report: out of memory");
    for (int i = 0; i < all->count && status == NAS_OK; i++) {
        if (!wanted(ids, count, all->runs[i].id))
            continue;
        nas_report__run *run = &page->runs[page->count++];
        run->about = &all->runs[i];
        run->config = load_object(run->about->config);
        run->summary = load_object(run->about->summary);
        status = nas_store_evaluations_get(page->store, run->about->id, &run->judged,
                                           &run->judged_count, err);
    }
    return status;
}

void nas_report__page_fini(nas_report__page *page)
{
    for (int i = 0; i < page->count; i++) {
        json_decref(page->runs[i].config);
        json_decref(page->runs[i].summary);
        nas_store_judged_free(page->runs[i].judged, page->runs[i].judged_count);
    }
    free(page->runs);
    nas_html_fini(&page->html);
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

void nas_report__state_text(const nas_report__page *page, const nas_store_run *about, char out[64])
{
    const bool killed = about->state == NAS_STORE_RUNNING && !about->alive;
    const bool silent = about->state == NAS_STORE_RUNNING && !killed && page->now_ms > 0 &&
                        page->now_ms - about->updated_ms > SILENT_MS;
    char when[25];

    nas_clock_format(about->updated_ms, when);
    if (silent)
        snprintf(out, 64, "running, silent since %.10s %.8s", when, when + 11);
    else
        snprintf(out, 64, "%s", killed ? "killed" : nas_store_state_name(about->state));
}

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

nas_status nas_report__run_sections(nas_report__page *page, const nas_report__run *run,
                                    nas_err *err)
{
    nas_html *html = &page->html;
    const size_t before = html->size;
    nas_status status;

    if (run->about->error != NULL)
        nas_html_element(html, "p", "error", "Ended with: %s", run->about->error);
    nas_report__policy(page, run);
    nas_report__limits(page, run);
    if ((status = nas_report__verified(page, run, err)) == NAS_OK &&
        (status = nas_report__curves(page, run, err)) == NAS_OK &&
        (status = nas_report__heat(page, run, err)) == NAS_OK)
        status = nas_report__drawing(page, run, err);
    if (status == NAS_OK && html->size == before)
        nas_report__nothing(html, run->about->state == NAS_STORE_RUNNING
                                      ? "Nothing to draw yet."
                                      : "The run has left nothing that could be drawn.");
    return status;
}
