/* The drawing of a network: a box a block; its color the kernel, its height what it costs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latency/key.h"
#include "latency/table/table.h"
#include "search/report/chart.h"
#include "search/report/private.h"

enum { BOX = 46, GAP = 4, BASE = 190, TALLEST = 150, SHORTEST = 6, HEIGHT = 240 };

typedef struct costs {
    bool by_latency;             /* else there is no table that knows every block */
    double ms[NAS_MAX_BLOCKS];   /* NAN: not known      */
    nas_op_cost op[NAS_MAX_BLOCKS];
} costs;

/* Latencies by the table that the run was made with, if it covers the network. */
static nas_status find_latencies(nas_report__page *page, const nas_report__run *run,
                                 const nas_arch *arch, costs *c, nas_err *err)
{
    nas_latency_table *table = NULL;
    nas_latency_entry *entries = NULL;
    char *text = NULL;
    int count = 0;
    nas_status status = NAS_OK;

    for (int b = 0; b < arch->count; b++)
        c->ms[b] = NAN;
    if (run->about->latency_table[0] == '\0' ||
        nas_store_table_get(page->store, run->about->latency_table, &text, NULL) != NAS_OK ||
        nas_latency_table_parse(&table, text, strlen(text), "latency table", NULL) != NAS_OK)
        goto done;
    status = nas_latency_arch_entries(&entries, &count, arch, table->grammar, 0, err);
    c->by_latency = status == NAS_OK && count == arch->count;
    for (int b = 0; b < count && c->by_latency; b++) {
        const nas_latency_stat *stat = nas_latency_table_find(table, entries[b].key);

        if (entries[b].key[0] == '\0')
            c->ms[b] = 0;
        else if (stat != NULL)
            c->ms[b] = stat->mean;
        else
            c->by_latency = false;
    }

done:
    free(entries);
    nas_latency_table_free(table);
    free(text);
    return status;
}

static void find_costs(const nas_arch *arch, costs *c)
{
    int h = arch->image_size, w = arch->image_size;

    for (int b = 0; b < arch->count; b++) {
        c->op[b] = nas_op_cost_at(&arch->blocks[b].op, h, w);
        h = c->op[b].out_h;
        w = c->op[b].out_w;
    }
}

static double weight(const costs *c, int block)
{
    return c->by_latency ? c->ms[block] : (double)c->op[block].macs;
}

static const char *color_of(const nas_op_spec *op)
{
    if (op->type == NAS_OP_ZERO)
        return "box skip";
    if (op->type != NAS_OP_MBCONV)
        return "box other";
    return op->kernel <= 3 ? "box k3" : op->kernel <= 5 ? "box k5" : "box k7";
}

static void draw_block(nas_html *html, const nas_arch *arch, const costs *c, int b, double most)
{
    const nas_op_spec *op = &arch->blocks[b].op;
    const double x = GAP + b * (BOX + GAP), share = most > 0 ? weight(c, b) / most : 0;
    const double height = SHORTEST + share * (TALLEST - SHORTEST);
    char text[32], line[64];

    nas_report__op_text(op, text);
    nas_svg_rect(html, x, BASE - height, BOX, height, color_of(op));
    if (c->by_latency)
        nas_svg_title(html, "block %d: %s, %d to %d channels, %.4g ms", b, text, op->in, op->out,
                      c->ms[b]);
    else
        nas_svg_title(html, "block %d: %s, %d to %d channels, %.4g M MACs", b, text, op->in,
                      op->out, (double)c->op[b].macs / 1e6);
    nas_html_close(html, "rect");
    snprintf(line, sizeof line, op->stride > 1 ? "%d /%d" : "%d", op->out, op->stride);
    nas_svg_text(html, x + BOX / 2.0, BASE - height - 5, "middle",
                 op->type == NAS_OP_ZERO ? "" : line);
    char *second = strchr(text, ' '); /* "5x5 e6" in two lines */
    if (second != NULL)
        *second++ = '\0';
    nas_svg_text(html, x + BOX / 2.0, BASE + 16, "middle", text);
    nas_svg_text(html, x + BOX / 2.0, BASE + 31, "middle", second != NULL ? second : "");
}

static void table(nas_html *html, const nas_arch *arch, const costs *c)
{
    static const char *const head[] = {"Block", "Operation", "Kernel", "Expand", "In", "Out",
                                       "Stride", "Output", "MACs (M)", "Parameters", "ms", NULL};

    nas_report__details_begin(html, "The same as a table");
    nas_html_table_begin(html, head, "Blocks from the image to the classes");
    for (int b = 0; b < arch->count; b++) {
        const nas_op_spec *op = &arch->blocks[b].op;

        nas_html_open(html, "tr");
        nas_html_element(html, "td", "n", "%d", b);
        nas_html_cell(html, op->type == NAS_OP_ZERO ? "skip" : nas_op_spec_name(op));
        nas_html_number(html, op->kernel > 0 ? op->kernel : NAN, 6);
        nas_html_number(html, op->type == NAS_OP_MBCONV ? (double)op->expand : NAN, 3);
        nas_html_number(html, op->in, 6);
        nas_html_number(html, op->out, 6);
        nas_html_number(html, op->stride > 0 ? op->stride : NAN, 6);
        nas_html_element(html, "td", NULL, "%dx%d", c->op[b].out_w, c->op[b].out_h);
        nas_html_number(html, (double)c->op[b].macs / 1e6, 4);
        nas_html_number(html, (double)c->op[b].parameters, 12);
        nas_html_number(html, c->by_latency ? c->ms[b] : NAN, 4);
        nas_html_close(html, "tr");
    }
    nas_html_table_end(html);
    nas_report__details_end(html);
}

static void draw(nas_html *html, const nas_arch *arch, const costs *c)
{
    double most = 0, total = 0;

    for (int b = 0; b < arch->count; b++) {
        most = fmax(most, weight(c, b));
        total += weight(c, b);
    }
    nas_html_open(html, "figure");
    nas_html_open(html, "figcaption");
    nas_html_element(html, "span", "key k3", "3x3");
    nas_html_element(html, "span", "key k5", "5x5");
    nas_html_element(html, "span", "key k7", "7x7");
    nas_html_element(html, "span", "key other", "not searched");
    if (c->by_latency)
        nas_html_textf(html, " height: share of %.4g ms by the run's table", total);
    else
        nas_html_textf(html, " height: share of %.4g M multiply-accumulates", total / 1e6);
    nas_html_text(html, "; above: channels out /stride; below: kernel, expand ratio");
    nas_html_close(html, "figcaption");
    nas_html_open(html, "div");
    nas_html_attr(html, "class", "wide");
    nas_html_attr(html, "tabindex", "0");
    nas_svg_begin(html, GAP + arch->count * (BOX + GAP), HEIGHT, "The network, block by block");
    for (int b = 0; b < arch->count; b++)
        draw_block(html, arch, c, b, most);
    nas_svg_end(html);
    nas_html_close(html, "div");
    table(html, arch, c);
    nas_html_close(html, "figure");
}

nas_status nas_report__drawing(nas_report__page *page, const nas_report__run *run, nas_err *err)
{
    nas_arch *arch = NULL;
    costs *c = calloc(1, sizeof *c);
    nas_status status = c != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "report: out of memory");

    if (status != NAS_OK || (status = nas_report__network(page, run, &arch, err)) != NAS_OK)
        goto done;
    nas_html_element(&page->html, "h3", NULL, "The network");
    if (arch == NULL) {
        nas_report__nothing(&page->html, "The run has no network that can be read.");
        goto done;
    }
    find_costs(arch, c);
    if ((status = find_latencies(page, run, arch, c, err)) == NAS_OK)
        draw(&page->html, arch, c);

done:
    nas_arch_free(arch);
    free(c);
    return status;
}
