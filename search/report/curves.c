/* Metrics over the epochs: loss, accuracy, latency, and whatever else a run recorded. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/report/chart.h"
#include "search/report/private.h"

enum {
    MAX_METRICS = 24,
    MAX_POINTS = 100, /* of one metric; more are thinned */
    COLORS = 4,       /* of the style sheet              */
    FEWEST = 4,       /* epochs that an axis spans       */
    WIDTH = 420,
    HEIGHT = 260
};

typedef struct series {
    char name[NAS_STORE_NAME_SIZE];
    nas_store_point *points; /* by step */
    int count, panel;
} series;

typedef struct metrics {
    series list[MAX_METRICS];
    int count, left_out;
} metrics;

/* Metrics of one kind share a picture; each of the others has its own. */
static const struct {
    const char *part, *title;
} panels[] = {{"episode_top", "Accuracy of the episodes (fraction)"}, {"reward", "Reward"},
              {"loss", "Loss"}, {"top", "Accuracy (fraction)"}, {"latency_ms", "Latency (ms)"}};
enum { PANELS = sizeof panels / sizeof *panels };

static void add_name(void *user, const char *name)
{
    metrics *m = user;

    if (m->count == MAX_METRICS) {
        m->left_out++;
        return;
    }
    series *s = &m->list[m->count];
    snprintf(s->name, sizeof s->name, "%s", name);
    for (s->panel = 0; s->panel < PANELS; s->panel++)
        if (strstr(name, panels[s->panel].part) != NULL)
            break;
    if (s->panel == PANELS)
        s->panel += m->count; /* one of its own */
    m->count++;
}

/* Keeps every n-th point and the last one. */
static void thin(series *s)
{
    const int every = (s->count + MAX_POINTS - 1) / MAX_POINTS;
    int kept = 0;

    for (int i = 0; i < s->count; i++)
        if (i == s->count - 1 || i % every == 0)
            s->points[kept++] = s->points[i];
    s->count = kept;
}

/* Where a point stands: at its epoch, or at its step where an epoch has several points. */
static double place(const nas_store_point *p, bool by_step)
{
    return (double)(by_step ? p->step : p->epoch);
}

/* What its points are counted in, unless that is steps: an agent's episodes stand as epochs. */
static const char *counted_in(const series *s)
{
    return strstr(s->name, "episode") != NULL || strstr(s->name, "reward") != NULL ? "episode"
                                                                                   : "epoch";
}

static bool epochs_repeat(const series *const *list, int count)
{
    for (int s = 0; s < count; s++)
        for (int i = 1; i < list[s]->count; i++)
            if (list[s]->points[i].epoch <= list[s]->points[i - 1].epoch)
                return true;
    return false;
}

static bool known(const series *s, int i)
{
    return i >= 0 && i < s->count && isfinite(s->points[i].value);
}

/* The lines of a series, which a missing value breaks, or (`alone`) the points without neighbours,
 * which are no lines. */
static void draw_part(nas_chart *chart, const series *s, bool by_step, int color, bool alone)
{
    char path[MAX_POINTS * 18 + 16] = "";
    size_t used = 0;

    for (int i = 0; i < s->count; i++)
        if (known(s, i) && (!known(s, i - 1) && !known(s, i + 1)) == alone)
            used += (size_t)snprintf(path + used, sizeof path - used, "%c%.1f %.1f%s",
                                     known(s, i - 1) ? 'L' : 'M',
                                     nas_chart_x(chart, place(&s->points[i], by_step)),
                                     nas_chart_y(chart, s->points[i].value), alone ? "h0" : "");
    if (used == 0)
        return;
    nas_html_open(chart->html, "path");
    nas_html_attr(chart->html, "d", "%s", path);
    nas_html_attr(chart->html, "class", "line c%d%s", color % COLORS, alone ? " alone" : "");
    nas_svg_title(chart->html, "%s", s->name);
    nas_html_close(chart->html, "path");
}

/* The step that comes next in any of the series; false at the end of all. */
static bool next_step(const series *const *list, const int *at, int count, int64_t *step,
                      int64_t *epoch)
{
    bool found = false;

    for (int s = 0; s < count; s++)
        if (at[s] < list[s]->count && (!found || list[s]->points[at[s]].step < *step)) {
            *step = list[s]->points[at[s]].step;
            *epoch = list[s]->points[at[s]].epoch;
            found = true;
        }
    return found;
}

static void table(nas_html *html, const series *const *list, int count, const char *title)
{
    const char *head[MAX_METRICS + 3] = {"Epoch", "Step"};
    int at[MAX_METRICS] = {0};
    int64_t step = 0, epoch = 0;

    for (int s = 0; s < count; s++)
        head[s + 2] = list[s]->name;
    nas_report__details_begin(html, "The same as a table");
    nas_html_table_begin(html, head, "%s", title);
    while (next_step(list, at, count, &step, &epoch)) {
        nas_html_open(html, "tr");
        nas_html_number(html, (double)epoch, 9);
        nas_html_number(html, (double)step, 12);
        for (int s = 0; s < count; s++)
            if (at[s] < list[s]->count && list[s]->points[at[s]].step == step)
                nas_html_number(html, list[s]->points[at[s]++].value, 5);
            else
                nas_html_number(html, NAN, 0);
        nas_html_close(html, "tr");
    }
    nas_html_table_end(html);
    nas_report__details_end(html);
}

static void draw_panel(nas_html *html, const series *const *list, int count, const char *title)
{
    nas_range x = nas_range_empty(), y = nas_range_empty();
    const bool by_step = epochs_repeat(list, count);
    nas_chart chart;

    for (int s = 0; s < count; s++)
        for (int i = 0; i < list[s]->count; i++) {
            nas_range_add(&x, place(&list[s]->points[i], by_step));
            nas_range_add(&y, list[s]->points[i].value);
        }
    if (y.least > y.most) /* all of it is "no value" */
        return;
    if (x.most - x.least < FEWEST) /* no fractions of an epoch on the axis */
        x = x.most <= FEWEST ? (nas_range){0, FEWEST} : (nas_range){x.most - FEWEST, x.most};
    nas_html_open(html, "figure");
    nas_html_open(html, "figcaption");
    for (int s = 0; s < count; s++) {
        char class[8];

        snprintf(class, sizeof class, "key c%d", s % COLORS);
        nas_html_element(html, "span", class, "%s", list[s]->name);
        nas_html_text(html, " ");
    }
    nas_html_close(html, "figcaption");
    nas_chart_begin(&chart, html, WIDTH, HEIGHT, x, y,
                    by_step ? "step" : counted_in(list[0]), title, title);
    for (int s = 0; s < count; s++) {
        draw_part(&chart, list[s], by_step, s, false);
        draw_part(&chart, list[s], by_step, s, true);
    }
    nas_chart_end(&chart);
    table(html, list, count, title);
    nas_html_close(html, "figure");
}

static void draw_panels(nas_html *html, const metrics *m)
{
    nas_html_open(html, "div");
    nas_html_attr(html, "class", "panels");
    for (int panel = 0; panel < PANELS + m->count; panel++) {
        const series *list[MAX_METRICS];
        int count = 0;

        for (int s = 0; s < m->count; s++)
            if (m->list[s].panel == panel)
                list[count++] = &m->list[s];
        if (count > 0)
            draw_panel(html, list, count, panel < PANELS ? panels[panel].title : list[0]->name);
    }
    nas_html_close(html, "div");
    nas_html_trusted(html, "\n");
}

nas_status nas_report__curves(nas_report__page *page, const nas_report__run *run, nas_err *err)
{
    nas_html *html = &page->html;
    metrics m = {0};
    bool thinned = false;
    nas_status status = nas_store_metric_names(page->store, run->about->id, add_name, &m, err);

    for (int s = 0; s < m.count && status == NAS_OK; s++) {
        if ((status = nas_store_metric_get(page->store, run->about->id, m.list[s].name,
                                           &m.list[s].points, &m.list[s].count, err)) != NAS_OK)
            break;
        thinned = thinned || m.list[s].count > MAX_POINTS;
        thin(&m.list[s]);
    }
    if (status == NAS_OK && m.count > 0) {
        nas_html_element(html, "h3", NULL, "Over the epochs");
        draw_panels(html, &m);
        if (thinned)
            nas_html_element(html, "p", NULL, "Of long curves every n-th point is shown.");
        if (m.left_out > 0)
            nas_html_element(html, "p", NULL, "%d more metrics are left out.", m.left_out);
    }
    for (int s = 0; s < m.count; s++)
        free(m.list[s].points);
    return status;
}
