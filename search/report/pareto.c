/* Latency against top-1: one picture for each way of judging, because only accuracies that were
 * judged in the same way can be compared. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/report/chart.h"
#include "search/report/private.h"

enum { MAX_POINTS = 1000, MAX_LIVE_POINTS = 300, /* of one picture */
       MAX_SOURCES = 16, MAX_LIMITS = 4, BLOCKS_SIZE = NAS_HTML_TEXT_MAX };

typedef struct point {
    const nas_report__run *run;
    const nas_store_judged *judged;
    bool front; /* no other is at least as fast and as good, and better in one of the two */
} point;

typedef struct front {
    const char *source;
    point *points; /* by latency, then the better first */
    int count, left_out;
    int first_id;  /* of the table's rows */
    int64_t largest; /* parameters, of all points */
} front;

/* What each run thinks best comes first, so that a cut leaves every run its best ones. */
static int by_rank(const void *a, const void *b)
{
    const point *x = a, *y = b;

    if (x->judged->rank != y->judged->rank)
        return x->judged->rank < y->judged->rank ? -1 : 1;
    return (x->run > y->run) - (x->run < y->run);
}

static int by_latency(const void *a, const void *b)
{
    const nas_store_judged *x = ((const point *)a)->judged, *y = ((const point *)b)->judged;

    if (x->latency_ms != y->latency_ms)
        return x->latency_ms < y->latency_ms ? -1 : 1;
    return x->top1 != y->top1 ? (x->top1 < y->top1 ? 1 : -1) : by_rank(a, b);
}

/* Latency is not known where a search had no table. */
static bool drawable(const nas_store_judged *judged)
{
    return isfinite(judged->latency_ms) && isfinite(judged->top1);
}

static void collect(front *f, const nas_report__page *page)
{
    for (int r = 0; r < page->count; r++)
        for (int i = 0; i < page->runs[r].judged_count; i++) {
            const nas_store_judged *judged = &page->runs[r].judged[i];

            if (strcmp(judged->source, f->source) == 0 && drawable(judged))
                f->points[f->count++] = (point){.run = &page->runs[r], .judged = judged};
        }
    const int most = page->now_ms > 0 ? MAX_LIVE_POINTS : MAX_POINTS;
    if (f->count > most) {
        qsort(f->points, (size_t)f->count, sizeof *f->points, by_rank);
        f->left_out = f->count - most;
        f->count = most;
    }
    qsort(f->points, (size_t)f->count, sizeof *f->points, by_latency);
    for (int i = 0; i < f->count; i++)
        if (f->points[i].judged->parameters > f->largest)
            f->largest = f->points[i].judged->parameters;
    const nas_store_judged *best = NULL;
    for (int i = 0; i < f->count; i++) {
        const nas_store_judged *at = f->points[i].judged;

        f->points[i].front = best == NULL || at->top1 > best->top1 ||
                             (at->top1 == best->top1 && at->latency_ms == best->latency_ms);
        best = f->points[i].front ? at : best;
    }
}

/* "5x5e6 3x3e3 - ...": every block in few letters; the script makes boxes of the words. */
static void blocks_text(const nas_store_judged *judged, char out[BLOCKS_SIZE])
{
    json_t *json = json_loads(judged->json, 0, NULL);
    nas_arch *arch = NULL;
    size_t used = 0;

    snprintf(out, BLOCKS_SIZE, "cannot be read");
    if (json != NULL && nas_arch_from_json(&arch, json, "architecture", NULL) == NAS_OK)
        for (int b = 0; b < arch->count && used + 40 < BLOCKS_SIZE; b++) {
            char op[32];

            nas_report__op_text(&arch->blocks[b].op, op);
            for (char *c = op; *c != '\0'; c++)
                *c = (char)(*c == ' ' ? '.' : *c);
            used += (size_t)snprintf(out + used, BLOCKS_SIZE - used, "%s%s", b > 0 ? " " : "", op);
        }
    nas_arch_free(arch);
    json_decref(json);
}

/* Distinct targets of the runs that the points come from. */
static int find_limits(const front *f, double limits[MAX_LIMITS + 1])
{
    int count = 0;

    for (int i = 0; i < f->count && count <= MAX_LIMITS; i++) {
        const double target = nas_report__number(f->points[i].run, "target_ms");
        int k = 0;

        while (k < count && limits[k] != target)
            k++;
        if (k == count && isfinite(target))
            limits[count++] = target;
    }
    return count;
}

/* Its area is the network's size. */
static double radius(const front *f, const nas_store_judged *judged)
{
    return f->largest > 0 ? 2.5 + 5 * sqrt((double)judged->parameters / (double)f->largest) : 4;
}

static void draw_point(nas_chart *chart, const front *f, int i)
{
    const point *p = &f->points[i];
    nas_html *html = chart->html;

    nas_html_open(html, "a");
    nas_html_attr(html, "href", "#n%d", f->first_id + i);
    if (!p->front && !p->judged->selected) /* can be thousands: not on the way of the Tab key */
        nas_html_attr(html, "tabindex", "-1");
    nas_html_open(html, "circle");
    nas_html_attr(html, "cx", "%.1f", nas_chart_x(chart, p->judged->latency_ms));
    nas_html_attr(html, "cy", "%.1f", nas_chart_y(chart, p->judged->top1));
    nas_html_attr(html, "r", "%.1f", radius(f, p->judged));
    nas_html_attr(html, "class", "%s%s", p->front ? "front" : "beaten",
                  p->judged->selected ? " selected" : "");
    nas_svg_title(html, "%s: %.4g ms, top-1 %.4g, %.4g M parameters%s", p->run->about->name,
                  p->judged->latency_ms, p->judged->top1, (double)p->judged->parameters / 1e6,
                  p->judged->selected ? ", chosen" : "");
    nas_html_close(html, "circle");
    nas_html_close(html, "a");
}

/* From each point of the front straight on to the latency at which the next one is better. */
static void draw_front_line(nas_chart *chart, const front *f)
{
    const nas_store_judged *last = NULL;

    for (int i = 0; i < f->count; i++) {
        const nas_store_judged *at = f->points[i].judged;

        if (!f->points[i].front)
            continue;
        if (last != NULL) {
            const double x = nas_chart_x(chart, at->latency_ms), y = nas_chart_y(chart, last->top1);

            nas_svg_line(chart->html, nas_chart_x(chart, last->latency_ms), y, x, y, "step");
            nas_svg_line(chart->html, x, y, x, nas_chart_y(chart, at->top1), "step");
        }
        last = at;
    }
}

/* What was chosen lies on top, then the front. */
static int layer_of(const point *p)
{
    return p->judged->selected ? 2 : p->front ? 1 : 0;
}

static void draw(nas_html *html, const front *f)
{
    nas_range x = nas_range_empty(), y = nas_range_empty();
    double limits[MAX_LIMITS + 1];
    nas_chart chart;
    char text[64];

    const int targets = find_limits(f, limits);
    for (int i = 0; i < f->count; i++) {
        nas_range_add(&x, f->points[i].judged->latency_ms);
        nas_range_add(&y, f->points[i].judged->top1);
    }
    for (int i = 0; i < targets && targets <= MAX_LIMITS; i++)
        nas_range_add(&x, limits[i]);
    const bool measured = strcmp(f->source, "verified") == 0; /* by nas search --verify-top */
    nas_chart_begin(&chart, html, 860, 420, x, y,
                    measured ? "measured latency, ms" : "latency by the run's table, ms", "top-1",
                    "Latency against accuracy");
    draw_front_line(&chart, f);
    for (int layer = 0; layer < 3; layer++)
        for (int i = 0; i < f->count; i++)
            if (layer_of(&f->points[i]) == layer)
                draw_point(&chart, f, i);
    for (int i = 0; i < targets && targets <= MAX_LIMITS; i++) {
        snprintf(text, sizeof text, "target %.4g ms", limits[i]);
        nas_chart_limit(&chart, limits[i], text);
    }
    nas_chart_end(&chart);
    if (targets > MAX_LIMITS)
        nas_html_element(html, "p", NULL, "The runs have more than %d different targets; they "
                         "stand in the table of the runs.", MAX_LIMITS);
}

static void table(nas_html *html, const front *f)
{
    static const char *const head[] = {"Run", "Latency ms", "Top-1", "Front", "Chosen", "MACs (M)",
                                       "Parameters (M)", "Blocks", NULL};
    char blocks[BLOCKS_SIZE];

    nas_report__details_begin(html, "The same as a table");
    nas_html_table_begin(html, head, "Networks judged as \"%s\", fastest first", f->source);
    for (int i = 0; i < f->count; i++) {
        const nas_store_judged *at = f->points[i].judged;

        blocks_text(at, blocks);
        nas_html_open(html, "tr");
        nas_html_attr(html, "id", "n%d", f->first_id + i);
        nas_html_cell(html, f->points[i].run->about->name);
        nas_html_number(html, at->latency_ms, 5);
        nas_html_number(html, at->top1, 4);
        nas_html_cell(html, f->points[i].front ? "yes" : "");
        nas_html_cell(html, at->selected ? "yes" : "");
        nas_html_number(html, (double)at->macs / 1e6, 4);
        nas_html_number(html, (double)at->parameters / 1e6, 4);
        nas_html_element(html, "td", "blocks", "%s", blocks);
        nas_html_close(html, "tr");
        nas_html_trusted(html, "\n");
    }
    nas_html_table_end(html);
    nas_report__details_end(html);
}

static void legend(nas_html *html)
{
    nas_html_open(html, "p");
    nas_html_attr(html, "class", "legend");
    nas_html_element(html, "i", "dot front", "%s", "");
    nas_html_text(html, " nothing is faster and better  ");
    nas_html_element(html, "i", "dot beaten", "%s", "");
    nas_html_text(html, " something is  ");
    nas_html_element(html, "i", "dot selected", "%s", "");
    nas_html_text(html, " chosen by its run; the larger, the more parameters. A click on a network "
                        "shows its blocks.");
    nas_html_close(html, "p");
}

static void picture(nas_html *html, const front *f)
{
    nas_html_open(html, "div");
    nas_html_attr(html, "class", "pareto");
    nas_html_element(html, "h3", NULL, "Judged as \"%s\"", f->source);
    legend(html);
    draw(html, f);
    nas_html_open(html, "div"); /* the script shows here what was clicked */
    nas_html_attr(html, "class", "picked");
    nas_html_attr(html, "aria-live", "polite");
    nas_html_close(html, "div");
    if (f->left_out > 0)
        nas_html_element(html, "p", NULL, "%d more are left out here, those that their runs "
                         "rank last; nas runs export --table evaluation has all.", f->left_out);
    table(html, f);
    nas_html_close(html, "div");
    nas_html_trusted(html, "\n");
}

/* The ways of judging that give a picture, in the order in which the runs show them; `sources`
 * has room for one a judgement. */
static int find_sources(const nas_report__page *page, const char **sources)
{
    int count = 0;

    for (int r = 0; r < page->count; r++)
        for (int i = 0; i < page->runs[r].judged_count; i++) {
            const nas_store_judged *judged = &page->runs[r].judged[i];
            int k = 0;

            if (!drawable(judged))
                continue;

            while (k < count && strcmp(sources[k], judged->source) != 0)
                k++;
            if (k == count)
                sources[count++] = judged->source;
        }
    return count;
}

nas_status nas_report__pareto(nas_report__page *page, nas_err *err)
{
    nas_html *html = &page->html;
    size_t all = 0;
    int id = 0;

    for (int r = 0; r < page->count; r++)
        all += (size_t)page->runs[r].judged_count;
    point *points = calloc(all + 1, sizeof *points);
    const char **sources = malloc((all + 1) * sizeof *sources);
    if (points == NULL || sources == NULL) {
        free(points);
        free(sources);
        return nas_fail(err, NAS_E_NOMEM, "report: out of memory");
    }
    const int count = find_sources(page, sources);
    nas_html_open(html, "section");
    nas_html_attr(html, "id", "pareto");
    nas_html_element(html, "h2", NULL, "Latency against accuracy");
    for (int s = 0; s < count && s < MAX_SOURCES; s++) {
        front f = {.source = sources[s], .points = points, .first_id = id};

        collect(&f, page);
        picture(html, &f);
        id += f.count;
    }
    if (count > MAX_SOURCES)
        nas_html_element(html, "p", NULL, "%d more ways of judging are left out here; nas runs "
                         "export --table evaluation has all.", count - MAX_SOURCES);
    if (count == 0)
        nas_report__nothing(html, "No network has been judged yet: a search does so at its end.");
    nas_html_close(html, "section");
    nas_html_trusted(html, "\n");
    free(points);
    free(sources);
    return NAS_OK;
}
