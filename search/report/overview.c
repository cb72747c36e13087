/* All runs at a glance, and what each took. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "search/report/chart.h"
#include "search/report/private.h"

enum { MAX_BARS = 40, BAR_HEIGHT = 20, BAR_LEFT = 190, BAR_WIDTH = 640, SHOWN_NAME = 22 };

/* A cell with the run's name; a link where the run has pictures below. */
static void name_cell(nas_report__page *page, int i)
{
    const nas_store_run *about = page->runs[i].about;

    nas_html_open(&page->html, "th");
    nas_html_attr(&page->html, "scope", "row");
    if (i < page->drawn || page->now_ms > 0) {
        nas_html_open(&page->html, "a");
        nas_html_attr(&page->html, "href", "#run-%lld", (long long)about->id);
    }
    nas_html_text(&page->html, about->name);
    if (i < page->drawn || page->now_ms > 0)
        nas_html_close(&page->html, "a");
    nas_html_close(&page->html, "th");
}

/* Epochs that are done; NAN before the first. */
static double epochs_of(const nas_store_run *about)
{
    return about->epoch >= 0 ? (double)about->epoch : NAN;
}

static void overview_row(nas_report__page *page, int i)
{
    const nas_report__run *run = &page->runs[i];
    const double judged = nas_report__number(run, "top1");
    nas_html *html = &page->html;
    char when[25], state[64];

    nas_clock_format(run->about->created_ms, when);
    nas_html_open(html, "tr");
    name_cell(page, i);
    nas_html_cell(html, run->about->kind);
    nas_report__state_text(page, run->about, state);
    nas_html_cell(html, state);
    nas_html_element(html, "td", NULL, "%.10s %.5s", when, when + 11);
    nas_html_cell(html, nas_report__string(run, "space"));
    nas_html_number(html, epochs_of(run->about), 6);
    nas_html_number(html, nas_report__number(run, "target_ms"), 4);
    nas_html_number(html, nas_report__number(run, "latency_ms"), 4);
    nas_html_number(html, isfinite(judged) ? judged : nas_report__number(run, "valid_top1"), 4);
    nas_html_number(html, nas_report__number(run, "macs") / 1e6, 4);
    nas_html_number(html, nas_report__number(run, "parameters") / 1e6, 4);
    nas_html_close(html, "tr");
}

void nas_report__overview(nas_report__page *page)
{
    static const char *const head[] = {"Run", "Kind", "State", "Began (UTC)", "Space", "Epochs",
                                       "Target ms", "Latency ms", "Top-1", "MACs (M)",
                                       "Parameters (M)", NULL};
    nas_html *html = &page->html;

    nas_html_open(html, "section");
    nas_html_attr(html, "id", "runs");
    nas_html_element(html, "h2", NULL, "Runs");
    if (page->count == 0) {
        nas_report__nothing(html, "The store holds no run yet.");
    } else {
        nas_html_table_begin(html, head, "Newest first; results are those that each run ended "
                             "with, top-1 a fraction of its own images");
        for (int i = 0; i < page->count; i++)
            overview_row(page, i);
        nas_html_table_end(html);
    }
    if (page->drawn < page->count && page->now_ms == 0)
        nas_html_element(html, "p", NULL, "Curves, probabilities and networks are drawn for the "
                         "newest %d; nas report --out FILE RUN... draws those that it is told.",
                         page->drawn);
    nas_html_close(html, "section");
    nas_html_trusted(html, "\n");
}

static void cost_bars(nas_report__page *page, double most)
{
    const int bars = page->count < MAX_BARS ? page->count : MAX_BARS;
    nas_html *html = &page->html;
    char text[48];

    nas_svg_begin(html, BAR_LEFT + BAR_WIDTH + 80, bars * BAR_HEIGHT + 4, "Seconds of each run");
    for (int i = 0; i < bars; i++) {
        const double seconds = nas_report__seconds(&page->runs[i]), y = i * BAR_HEIGHT + 2;
        const double width = seconds > 0 ? seconds / most * BAR_WIDTH : 0;
        const char *name = page->runs[i].about->name;

        nas_svg_rect(html, BAR_LEFT, y, width, BAR_HEIGHT - 4, "bar");
        nas_html_close(html, "rect");
        snprintf(text, sizeof text, "%.*s%s", SHOWN_NAME, name,
                 strlen(name) > SHOWN_NAME ? "\xe2\x80\xa6" : "");
        nas_svg_text(html, BAR_LEFT - 8, y + 12, "end", text);
        snprintf(text, sizeof text, isfinite(seconds) ? "%.4g s" : "not known", seconds);
        nas_svg_text(html, BAR_LEFT + width + 6, y + 12, "start", text);
    }
    nas_svg_end(html);
    if (bars < page->count)
        nas_html_element(html, "p", NULL, "The newest %d are drawn; the table has all.", bars);
}

static void cost_table(nas_report__page *page)
{
    static const char *const head[] = {"Run", "Seconds", "Epochs", "Seconds an epoch",
                                       "Peak memory MiB", "Threads", "Attempts", NULL};
    nas_html *html = &page->html;

    nas_report__details_begin(html, "The same as a table");
    nas_html_table_begin(html, head, "Wall-clock time of each run");
    for (int i = 0; i < page->count; i++) {
        const nas_report__run *run = &page->runs[i];
        const double seconds = nas_report__seconds(run);

        nas_html_open(html, "tr");
        name_cell(page, i);
        nas_html_number(html, seconds, 5);
        nas_html_number(html, epochs_of(run->about), 6);
        nas_html_number(html, run->about->epoch > 0 ? seconds / epochs_of(run->about) : NAN, 4);
        nas_html_number(html, nas_report__number(run, "peak_rss_mib"), 4);
        nas_html_number(html, run->about->threads, 4);
        nas_html_number(html, (double)run->about->attempt, 4);
        nas_html_close(html, "tr");
    }
    nas_html_table_end(html);
    nas_report__details_end(html);
}

void nas_report__cost(nas_report__page *page)
{
    nas_html *html = &page->html;
    double most = 0;

    for (int i = 0; i < page->count; i++)
        most = fmax(most, nas_report__seconds(&page->runs[i])); /* passes NAN over */
    nas_html_open(html, "section");
    nas_html_attr(html, "id", "cost");
    nas_html_element(html, "h2", NULL, "What each run took");
    if (most > 0) {
        cost_bars(page, most);
        cost_table(page);
    } else {
        nas_report__nothing(html, "No run has ended yet.");
    }
    nas_html_close(html, "section");
    nas_html_trusted(html, "\n");
}
