/* What a table predicted against what was measured, of runs that measured whole networks, and how
 * wrong it is by operation. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/stats.h"
#include "search/report/chart.h"
#include "search/report/private.h"

enum { MAX_PAIRS = 1000, MAX_OPERATIONS = 60, ROW = 20, LEFT = 170, HALF = 260 };

/* The pairs of a run, as columns: predicted[count], measured[count]. */
typedef struct pairs {
    double *predicted, *measured;
    int count, left_out;
} pairs;

static double member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool is_time(double ms)
{
    return isfinite(ms) && ms > 0.0;
}

/* The list that nas latency verify, or nas search --verify-top, left in the run's summary. */
static const json_t *find_list(const nas_report__run *run)
{
    const json_t *list = json_object_get(run->summary, "pairs");

    return list != NULL ? list : json_object_get(run->summary, "verified");
}

static nas_status read_pairs(pairs *out, const nas_report__run *run, nas_err *err)
{
    const json_t *list = find_list(run);
    const size_t size = json_array_size(list);
    double *columns = size > 0 ? malloc(2 * MAX_PAIRS * sizeof *columns) : NULL;

    *out = (pairs){.predicted = columns};
    if (size == 0)
        return NAS_OK;
    if (columns == NULL)
        return nas_fail(err, NAS_E_NOMEM, "report: out of memory");
    out->measured = columns + MAX_PAIRS;
    for (size_t i = 0; i < size; i++) {
        const json_t *pair = json_array_get(list, i);
        const double predicted = member(pair, "predicted_ms");
        const double measured = member(pair, "measured_ms");

        if (!is_time(predicted) || !is_time(measured))
            continue;
        if (out->count == MAX_PAIRS) {
            out->left_out++;
            continue;
        }
        out->predicted[out->count] = predicted;
        out->measured[out->count++] = measured;
    }
    return NAS_OK;
}

/* As a part of what was measured; below 0 where the prediction is too low. */
static double error_of(const pairs *p, int i)
{
    return (p->predicted[i] - p->measured[i]) / p->measured[i];
}

/* A part as percent with sign. */
static void percent(double part, char out[32])
{
    snprintf(out, 32, isfinite(part) ? "%+.1f %%" : "\xe2\x80\x93", 100.0 * part);
}

static void scatter(nas_html *html, const pairs *p)
{
    nas_range both = nas_range_empty(); /* the same on both axes: what is right is a diagonal */
    nas_chart chart;
    char error[32];

    for (int i = 0; i < p->count; i++) {
        nas_range_add(&both, p->predicted[i]);
        nas_range_add(&both, p->measured[i]);
    }
    nas_chart_begin(&chart, html, 560, 460, both, both, "predicted, ms", "measured, ms",
                    "Predicted against measured latency");
    nas_svg_line(html, nas_chart_x(&chart, chart.x.least), nas_chart_y(&chart, chart.y.least),
                 nas_chart_x(&chart, chart.x.most), nas_chart_y(&chart, chart.y.most), "limit");
    for (int i = 0; i < p->count; i++) {
        percent(error_of(p, i), error);
        nas_html_open(html, "circle");
        nas_html_attr(html, "cx", "%.1f", nas_chart_x(&chart, p->predicted[i]));
        nas_html_attr(html, "cy", "%.1f", nas_chart_y(&chart, p->measured[i]));
        nas_html_attr(html, "r", "4");
        nas_html_attr(html, "class", "front");
        nas_svg_title(html, "predicted %.4g ms, measured %.4g ms: %s", p->predicted[i],
                      p->measured[i], error);
        nas_html_close(html, "circle");
    }
    nas_chart_end(&chart);
}

static void pair_table(nas_html *html, const pairs *p)
{
    static const char *const head[] = {"Predicted ms", "Measured ms", "Error", NULL};
    char error[32];

    nas_report__details_begin(html, "The same as a table");
    nas_html_table_begin(html, head, "Networks in the order in which the run tells them");
    for (int i = 0; i < p->count; i++) {
        percent(error_of(p, i), error);
        nas_html_open(html, "tr");
        nas_html_number(html, p->predicted[i], 5);
        nas_html_number(html, p->measured[i], 5);
        nas_html_element(html, "td", "n", "%s", error);
        nas_html_close(html, "tr");
    }
    nas_html_table_end(html);
    nas_report__details_end(html);
}

/* The whole comparison in a sentence. */
static void sentence(nas_html *html, const pairs *p)
{
    double mape = 0.0, bias = 0.0;
    int close = 0;

    for (int i = 0; i < p->count; i++) {
        const double error = error_of(p, i);

        mape += fabs(error) / p->count;
        bias += error / p->count;
        close += fabs(error) <= 0.1;
    }
    const double spearman = nas_spearman(p->predicted, p->measured, p->count);
    const double kendall = nas_kendall(p->predicted, p->measured, p->count);

    nas_html_open(html, "p");
    nas_html_textf(html, "%d %s measured whole: mean error %.2g %%, on average %.2g %% too %s, %d "
                   "within 10 %%.", p->count, p->count == 1 ? "network" : "networks",
                   100.0 * mape, 100.0 * fabs(bias), bias < 0.0 ? "low" : "high", close);
    if (isfinite(spearman) && isfinite(kendall))
        nas_html_textf(html, " Rank correlation: Spearman %.3f, Kendall %.3f.", spearman, kendall);
    nas_html_text(html, " On the dashed line the table is right.");
    nas_html_close(html, "p");
}

/* How fast the machine was beside what it was when the table was made, if the run tells. */
static void speed(nas_html *html, const json_t *summary)
{
    const double level = member(summary, "level"), mape = member(summary, "mape_as_measured");

    if (isfinite(level) && isfinite(mape))
        nas_html_element(html, "p", NULL, "Measured times are given at the table's speed. When they "
                         "were taken, everything took %.3g times as long; as measured, the mean "
                         "error is %.2g %%.", level, 100.0 * mape);
}

/* ---- by operation ---- */

static void operation_bars(nas_html *html, const json_t *list, int count)
{
    double most = 0.0;
    char text[32];

    for (int i = 0; i < count; i++)
        most = fmax(most, fabs(member(json_array_get(list, (size_t)i), "error")));
    if (!isfinite(most) || most <= 0.0)
        most = 1.0;
    nas_svg_begin(html, LEFT + 2 * HALF + 140, count * ROW + 4, "Error by operation");
    nas_svg_line(html, LEFT + 70 + HALF, 0, LEFT + 70 + HALF, count * ROW + 4, "grid");
    for (int i = 0; i < count; i++) {
        const json_t *op = json_array_get(list, (size_t)i);
        const char *name = json_string_value(json_object_get(op, "operation"));
        const double error = member(op, "error"), y = i * ROW + 2;
        const double width = isfinite(error) ? fabs(error) / most * HALF : 0.0;
        const double at = LEFT + 70 + HALF - (error < 0.0 ? width : 0.0);

        nas_svg_text(html, LEFT - 8, y + 12, "end", name != NULL ? name : "");
        nas_svg_rect(html, at, y, width, ROW - 4, "bar");
        nas_html_close(html, "rect");
        percent(error, text);
        nas_svg_text(html, error < 0.0 ? at - 6 : at + width + 6, y + 12,
                     error < 0.0 ? "end" : "start", text);
    }
    nas_svg_end(html);
}

static void operation_table(nas_html *html, const json_t *list, int count)
{
    static const char *const head[] = {"Operation", "Networks", "Part of the predicted time",
                                       "Error", NULL};
    char text[32];

    nas_report__details_begin(html, "The same as a table");
    nas_html_table_begin(html, head, "Operations, the costliest first");
    for (int i = 0; i < count; i++) {
        const json_t *op = json_array_get(list, (size_t)i);
        const char *name = json_string_value(json_object_get(op, "operation"));

        percent(member(op, "error"), text);
        nas_html_open(html, "tr");
        nas_html_cell(html, name != NULL ? name : "");
        nas_html_number(html, member(op, "networks"), 6);
        nas_html_number(html, member(op, "share"), 3);
        nas_html_element(html, "td", "n", "%s", text);
        nas_html_close(html, "tr");
    }
    nas_html_table_end(html);
    nas_report__details_end(html);
}

static void operations(nas_html *html, const json_t *list)
{
    const size_t size = json_array_size(list);
    const int count = size < MAX_OPERATIONS ? (int)size : MAX_OPERATIONS;

    if (count == 0)
        return;
    nas_html_element(html, "h3", NULL, "Error by operation");
    nas_html_element(html, "p", NULL, "The error of the networks with it, each counted by the part "
                     "of its predicted time that the operation makes up. To the left the table is "
                     "too low.");
    nas_html_open(html, "figure");
    operation_bars(html, list, count);
    operation_table(html, list, count);
    nas_html_close(html, "figure");
    if (size > MAX_OPERATIONS)
        nas_html_element(html, "p", NULL, "%zu more, which take less time, are left out.",
                         size - MAX_OPERATIONS);
}

nas_status nas_report__verified(nas_report__page *page, const nas_report__run *run, nas_err *err)
{
    nas_html *html = &page->html;
    pairs p;
    const nas_status status = read_pairs(&p, run, err);

    if (status == NAS_OK && p.count > 0) {
        nas_html_element(html, "h3", NULL, "Predicted against measured");
        sentence(html, &p);
        speed(html, run->summary);
        nas_html_open(html, "figure");
        scatter(html, &p);
        pair_table(html, &p);
        nas_html_close(html, "figure");
        if (p.left_out > 0)
            nas_html_element(html, "p", NULL, "%d more networks are left out.", p.left_out);
        operations(html, json_object_get(run->summary, "operations"));
    }
    free(p.predicted);
    return status;
}
