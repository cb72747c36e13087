/* The drawing of a network: a box a block; its color the kernel, its height what it costs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/report/chart.h"
#include "search/report/private.h"

enum { BOX = 46, GAP = 4, BASE = 190, TALLEST = 150, SHORTEST = 6, HEIGHT = 240 };

static double weight(const nas_report__network *n, int block, bool by_latency)
{
    return by_latency ? n->ms[block] : (double)n->op[block].macs;
}

nas_report__scale nas_report__scale_of(const nas_report__network *a, const nas_report__network *b)
{
    nas_report__scale scale = {.by_latency = a->by_latency && (b == NULL || b->by_latency)};

    for (int i = 0; i < a->arch->count; i++)
        scale.most = fmax(scale.most, weight(a, i, scale.by_latency));
    for (int i = 0; b != NULL && i < b->arch->count; i++)
        scale.most = fmax(scale.most, weight(b, i, scale.by_latency));
    return scale;
}

void nas_report__total(const nas_report__network *network, bool by_latency, char out[64])
{
    double total = 0;

    for (int i = 0; i < network->arch->count; i++)
        total += weight(network, i, by_latency);
    if (by_latency)
        snprintf(out, 64, "%.4g ms by the run's table", total);
    else
        snprintf(out, 64, "%.4g M multiply-accumulates", total / 1e6);
}

static const char *color_of(const nas_op_spec *op)
{
    if (op->type == NAS_OP_ZERO)
        return "box skip";
    if (op->type != NAS_OP_MBCONV)
        return "box other";
    return op->kernel <= 3 ? "box k3" : op->kernel <= 5 ? "box k5" : "box k7";
}

static void draw_block(nas_html *html, const nas_report__network *n, int b, nas_report__scale scale,
                       bool marked)
{
    const nas_op_spec *op = &n->arch->blocks[b].op;
    const double share = scale.most > 0 ? weight(n, b, scale.by_latency) / scale.most : 0;
    const double x = GAP + b * (BOX + GAP), height = SHORTEST + share * (TALLEST - SHORTEST);
    char text[32], line[64];

    nas_report__op_text(op, text);
    nas_svg_rect(html, x, BASE - height, BOX, height, color_of(op));
    if (n->by_latency)
        nas_svg_title(html, "block %d: %s, %d to %d channels, %.4g ms", b, text, op->in, op->out,
                      n->ms[b]);
    else
        nas_svg_title(html, "block %d: %s, %d to %d channels, %.4g M MACs", b, text, op->in,
                      op->out, (double)n->op[b].macs / 1e6);
    nas_html_close(html, "rect");
    if (marked) {
        nas_svg_rect(html, x - 1, BASE - height - 18, BOX + 2, height + 54, "differs");
        nas_html_close(html, "rect");
    }
    snprintf(line, sizeof line, op->stride > 1 ? "%d /%d" : "%d", op->out, op->stride);
    nas_svg_text(html, x + BOX / 2.0, BASE - height - 5, "middle",
                 op->type == NAS_OP_ZERO ? "" : line);
    char *second = strpbrk(text, " _"); /* "5x5 e6" in two lines */
    if (second != NULL)
        *second++ = '\0';
    nas_svg_text(html, x + BOX / 2.0, BASE + 16, "middle", text);
    nas_svg_text(html, x + BOX / 2.0, BASE + 31, "middle", second != NULL ? second : "");
}

void nas_report__strip(nas_html *html, const nas_report__network *network,
                       nas_report__scale scale, const bool *marked, const char *title)
{
    nas_html_open(html, "div");
    nas_html_attr(html, "class", "wide");
    nas_html_attr(html, "tabindex", "0");
    nas_html_attr(html, "role", "group");
    nas_html_attr(html, "aria-label", "%s, scrollable", title);
    nas_svg_begin(html, GAP + network->arch->count * (BOX + GAP), HEIGHT, title);
    for (int b = 0; b < network->arch->count; b++)
        draw_block(html, network, b, scale, marked != NULL && marked[b]);
    nas_svg_end(html);
    nas_html_close(html, "div");
}

void nas_report__strip_legend(nas_html *html)
{
    nas_html_element(html, "span", "key k3", "3x3");
    nas_html_element(html, "span", "key k5", "5x5");
    nas_html_element(html, "span", "key k7", "7x7");
    nas_html_element(html, "span", "key other", "not searched");
    nas_html_text(html, " above: channels out /stride; below: kernel, expand ratio; height: ");
}

static void table(nas_html *html, const nas_report__network *n)
{
    static const char *const head[] = {"Block", "Operation", "Kernel", "Expand", "In", "Out",
                                       "Stride", "Output", "MACs (M)", "Parameters", "ms", NULL};

    nas_report__details_begin(html, "The same as a table");
    nas_html_table_begin(html, head, "Blocks from the image to the classes");
    for (int b = 0; b < n->arch->count; b++) {
        const nas_op_spec *op = &n->arch->blocks[b].op;

        nas_html_open(html, "tr");
        nas_html_element(html, "td", "n", "%d", b);
        nas_html_cell(html, op->type == NAS_OP_ZERO ? "skip" : nas_op_spec_name(op));
        nas_html_number(html, op->kernel > 0 ? op->kernel : NAN, 6);
        nas_html_number(html, op->type == NAS_OP_MBCONV ? (double)op->expand : NAN, 3);
        nas_html_number(html, op->in, 6);
        nas_html_number(html, op->out, 6);
        nas_html_number(html, op->stride > 0 ? op->stride : NAN, 6);
        nas_html_element(html, "td", NULL, "%dx%d", n->op[b].out_w, n->op[b].out_h);
        nas_html_number(html, (double)n->op[b].macs / 1e6, 4);
        nas_html_number(html, (double)n->op[b].parameters, 12);
        nas_html_number(html, n->by_latency ? n->ms[b] : NAN, 4);
        nas_html_close(html, "tr");
    }
    nas_html_table_end(html);
    nas_report__details_end(html);
}

nas_status nas_report__drawing(nas_report__page *page, const nas_report__run *run, nas_err *err)
{
    nas_html *html = &page->html;
    nas_report__network *n = NULL;
    const nas_status status = nas_report__network_find(page, run, &n, err);
    char total[64];

    if (status != NAS_OK || (n == NULL && run->judged_count == 0))
        return status;
    nas_html_element(html, "h3", NULL, "The network");
    if (n == NULL) {
        nas_report__nothing(html, "The run has no network that can be read.");
        return NAS_OK;
    }
    const nas_report__scale scale = nas_report__scale_of(n, NULL);
    nas_report__total(n, scale.by_latency, total);
    nas_html_open(html, "figure");
    nas_html_open(html, "figcaption");
    nas_report__strip_legend(html);
    nas_html_textf(html, "share of %s", total);
    nas_html_close(html, "figcaption");
    nas_report__strip(html, n, scale, NULL, "The network, block by block");
    table(html, n);
    nas_html_close(html, "figure");
    nas_report__network_free(n);
    return NAS_OK;
}
