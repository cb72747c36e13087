/* Scales, ticks and the few SVG elements that the pictures are made of. */
#include "search/report/chart.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { LEFT = 62, RIGHT = 14, TOP = 14, BOTTOM = 42, TICKS = 5 };

nas_range nas_range_empty(void)
{
    return (nas_range){INFINITY, -INFINITY};
}

void nas_range_add(nas_range *range, double value)
{
    if (!isfinite(value))
        return;
    range->least = fmin(range->least, value);
    range->most = fmax(range->most, value);
}

/* 1, 2 or 5 times a power of ten, about a TICKS-th of the span. */
static double tick_step(double span)
{
    const double rough = span / TICKS, power = pow(10, floor(log10(rough)));
    const double digits = rough / power;

    return power * (digits < 1.5 ? 1 : digits < 3.5 ? 2 : digits < 7.5 ? 5 : 10);
}

/* Widens a range to whole ticks; returns the distance between two. */
static double round_range(nas_range *range)
{
    if (range->least > range->most)
        *range = (nas_range){0, 1};
    double span = range->most - range->least;
    const double size = fmax(fabs(range->least), fabs(range->most));
    if (!(span > size * 1e-9)) { /* one value, or as good as one */
        span = size > 0 ? size * 0.2 : 1;
        range->least -= span / 2;
        range->most += span / 2;
    }
    const double step = tick_step(span);
    if (!isfinite(step) || !(step > 0)) { /* beyond what a picture can show */
        *range = (nas_range){0, 1};
        return 0.2;
    }
    range->least = floor(range->least / step + 1e-6) * step;
    range->most = ceil(range->most / step - 1e-6) * step;
    return step;
}

/* Where in a range, 0 to 1: what lies outside is drawn at the edge. */
static double place(const nas_range *range, double value)
{
    return fmin(fmax((value - range->least) / (range->most - range->least), 0), 1);
}

double nas_chart_x(const nas_chart *chart, double value)
{
    return LEFT + place(&chart->x, value) * (chart->width - LEFT - RIGHT);
}

double nas_chart_y(const nas_chart *chart, double value)
{
    return TOP + (1 - place(&chart->y, value)) * (chart->height - TOP - BOTTOM);
}

void nas_svg_begin(nas_html *html, int width, int height, const char *title)
{
    nas_html_open(html, "svg");
    nas_html_attr(html, "viewBox", "0 0 %d %d", width, height);
    nas_html_attr(html, "width", "%d", width);
    nas_html_attr(html, "height", "%d", height);
    nas_html_attr(html, "role", "group");
    nas_html_attr(html, "aria-label", "%s", title);
}

void nas_svg_end(nas_html *html)
{
    nas_html_close(html, "svg");
    nas_html_trusted(html, "\n");
}

void nas_svg_rect(nas_html *html, double x, double y, double width, double height,
                  const char *class)
{
    nas_html_open(html, "rect");
    nas_html_attr(html, "x", "%.1f", x);
    nas_html_attr(html, "y", "%.1f", y);
    nas_html_attr(html, "width", "%.1f", width);
    nas_html_attr(html, "height", "%.1f", height);
    nas_html_attr(html, "class", "%s", class);
}

void nas_svg_text(nas_html *html, double x, double y, const char *anchor, const char *text)
{
    nas_html_open(html, "text");
    nas_html_attr(html, "x", "%.1f", x);
    nas_html_attr(html, "y", "%.1f", y);
    nas_html_attr(html, "text-anchor", "%s", anchor);
    nas_html_text(html, text);
    nas_html_close(html, "text");
}

void nas_svg_line(nas_html *html, double x1, double y1, double x2, double y2, const char *class)
{
    nas_html_open(html, "line");
    nas_html_attr(html, "x1", "%.1f", x1);
    nas_html_attr(html, "y1", "%.1f", y1);
    nas_html_attr(html, "x2", "%.1f", x2);
    nas_html_attr(html, "y2", "%.1f", y2);
    nas_html_attr(html, "class", "%s", class);
    nas_html_close(html, "line");
}

void nas_svg_title(nas_html *html, const char *format, ...)
{
    char text[NAS_HTML_TEXT_MAX];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    nas_html_element(html, "title", NULL, "%s", text);
}

static void tick_text(double value, double step, char out[32])
{
    /* 0 that came out of a subtraction is 0 */
    snprintf(out, 32, "%.6g", fabs(value) < step * 1e-6 ? 0 : value);
}

static void draw_ticks(const nas_chart *chart, double x_step, double y_step)
{
    const double bottom = chart->height - BOTTOM;
    char text[32];

    for (int i = 0; chart->x.least + i * x_step <= chart->x.most + x_step / 2; i++) {
        const double value = chart->x.least + i * x_step, x = nas_chart_x(chart, value);

        tick_text(value, x_step, text);
        nas_svg_line(chart->html, x, TOP, x, bottom, "grid");
        nas_svg_text(chart->html, x, bottom + 16, "middle", text);
    }
    for (int i = 0; chart->y.least + i * y_step <= chart->y.most + y_step / 2; i++) {
        const double value = chart->y.least + i * y_step, y = nas_chart_y(chart, value);

        tick_text(value, y_step, text);
        nas_svg_line(chart->html, LEFT, y, chart->width - RIGHT, y, "grid");
        nas_svg_text(chart->html, LEFT - 6, y + 4, "end", text);
    }
}

void nas_chart_begin(nas_chart *chart, nas_html *html, int width, int height, nas_range x,
                     nas_range y, const char *x_label, const char *y_label, const char *title)
{
    *chart = (nas_chart){.html = html, .x = x, .y = y, .width = width, .height = height};
    const double x_step = round_range(&chart->x), y_step = round_range(&chart->y);

    nas_svg_begin(html, width, height, title);
    draw_ticks(chart, x_step, y_step);
    nas_svg_text(html, (LEFT + width - RIGHT) / 2.0, height - 8, "middle", x_label);
    nas_html_open(html, "g");
    nas_html_attr(html, "transform", "translate(12 %.1f) rotate(-90)",
                  (TOP + height - BOTTOM) / 2.0);
    nas_svg_text(html, 0, 0, "middle", y_label);
    nas_html_close(html, "g");
}

void nas_chart_end(nas_chart *chart)
{
    nas_svg_end(chart->html);
}

void nas_chart_limit(nas_chart *chart, double x, const char *label)
{
    const double at = nas_chart_x(chart, x);
    const bool left = at > chart->width / 2.0; /* the label stays inside */

    nas_svg_line(chart->html, at, TOP, at, chart->height - BOTTOM, "limit");
    nas_svg_text(chart->html, left ? at - 5 : at + 5, TOP + 11, left ? "end" : "start", label);
}
