/* A picture with two axes: frame, ticks and labels in SVG; the caller draws inside. */
#ifndef NAS_SEARCH_REPORT_CHART_H
#define NAS_SEARCH_REPORT_CHART_H

#include "search/report/html.h"

/** Smallest and largest value seen; begin with nas_range_empty. */
typedef struct nas_range {
    double least, most;
} nas_range;
nas_range nas_range_empty(void);
/** Values that are not finite are passed over. */
void nas_range_add(nas_range *range, double value);

typedef struct nas_chart {
    nas_html *html;
    nas_range x, y; /* data at the edges of the frame */
    int width, height;
} nas_chart;

/** Opens the <svg> (with `title` as its accessible name) and draws frame and ticks.  The ranges
 * are widened to round numbers; an empty one becomes 0..1. */
void nas_chart_begin(nas_chart *chart, nas_html *html, int width, int height, nas_range x,
                     nas_range y, const char *x_label, const char *y_label, const char *title);
void nas_chart_end(nas_chart *chart);
/** Pixels of a value. */
double nas_chart_x(const nas_chart *chart, double value);
double nas_chart_y(const nas_chart *chart, double value);
/** A dashed vertical line with a label. */
void nas_chart_limit(nas_chart *chart, double x, const char *label);

/** <svg> of that size in pixels, scaled down on narrow pages; close with nas_svg_end. */
void nas_svg_begin(nas_html *html, int width, int height, const char *title);
void nas_svg_end(nas_html *html);
/** A rectangle, left open for more attributes or a <title>: close it ("rect" or "g"). */
void nas_svg_rect(nas_html *html, double x, double y, double width, double height,
                  const char *class);
/** A text; `anchor` is "start", "middle" or "end". */
void nas_svg_text(nas_html *html, double x, double y, const char *anchor, const char *text);
/** A line from (x1, y1) to (x2, y2). */
void nas_svg_line(nas_html *html, double x1, double y1, double x2, double y2, const char *class);
/** The tooltip of the element that is open. */
void nas_svg_title(nas_html *html, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
