/* Two networks one above the other, on one scale: what differs is framed. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/report/chart.h"
#include "search/report/private.h"

typedef struct side {
    const nas_report__run *run;
    nas_report__network *network;
} side;

static int count_of(const side *s)
{
    return s->network->arch->count;
}

/* Blocks beyond the end of the shorter network differ. */
static bool same_block(const side *a, const side *b, int block)
{
    if (block >= count_of(a) || block >= count_of(b))
        return false;
    const nas_op_spec *x = &a->network->arch->blocks[block].op;
    const nas_op_spec *y = &b->network->arch->blocks[block].op;
    char texts[2][32];

    nas_report__op_text(x, texts[0]);
    nas_report__op_text(y, texts[1]);
    return strcmp(texts[0], texts[1]) == 0 && x->in == y->in && x->out == y->out &&
           x->stride == y->stride;
}

/* What is drawn as height: milliseconds, or millions of multiply-accumulates. */
static double cost_at(const side *s, int block, bool by_latency)
{
    if (block >= count_of(s))
        return NAN;
    return by_latency ? s->network->ms[block] : (double)s->network->op[block].macs / 1e6;
}

static void op_cell(nas_html *html, const side *s, int block)
{
    const nas_op_spec *op = block < count_of(s) ? &s->network->arch->blocks[block].op : NULL;
    char text[32];

    if (op == NULL) {
        nas_html_number(html, NAN, 0);
        return;
    }
    nas_report__op_text(op, text);
    nas_html_element(html, "td", NULL, op->stride > 1 ? "%s, %d to %d /%d" : "%s, %d to %d", text,
                     op->in, op->out, op->stride);
}

static void table(nas_html *html, const side *a, const side *b, const bool *differs, int blocks,
                  bool by_latency)
{
    const char *unit = by_latency ? "ms" : "MACs (M)";
    const char *const head[] = {"Block", a->run->about->name, unit, b->run->about->name, unit,
                                "Difference", "Differs", NULL};

    nas_report__details_begin(html, "The same as a table");
    nas_html_table_begin(html, head, "Block by block; the difference is %s less %s",
                         a->run->about->name, b->run->about->name);
    for (int i = 0; i < blocks; i++) {
        const double x = cost_at(a, i, by_latency), y = cost_at(b, i, by_latency);

        nas_html_open(html, "tr");
        nas_html_element(html, "td", "n", "%d", i);
        op_cell(html, a, i);
        nas_html_number(html, x, 4);
        op_cell(html, b, i);
        nas_html_number(html, y, 4);
        nas_html_number(html, (isnan(x) ? 0 : x) - (isnan(y) ? 0 : y), 4);
        nas_html_cell(html, differs[i] ? "yes" : "");
        nas_html_close(html, "tr");
    }
    nas_html_table_end(html);
    nas_report__details_end(html);
}

static int count_differing(const side *a, const side *b, bool differs[NAS_MAX_BLOCKS])
{
    const int blocks = count_of(a) > count_of(b) ? count_of(a) : count_of(b);
    int count = 0;

    for (int i = 0; i < blocks; i++)
        count += differs[i] = !same_block(a, b, i);
    return count;
}

static void draw(nas_html *html, const side *a, const side *b)
{
    const int blocks = count_of(a) > count_of(b) ? count_of(a) : count_of(b);
    const nas_report__scale scale = nas_report__scale_of(a->network, b->network);
    const side *const both[] = {a, b};
    bool differs[NAS_MAX_BLOCKS];
    const int count = count_differing(a, b, differs);
    char total[64];

    if (count == 0) {
        nas_html_element(html, "p", NULL, "%s and %s ended with the same network.",
                         a->run->about->name, b->run->about->name);
        return;
    }
    nas_html_element(html, "p", NULL, "%d of %d blocks differ, and are framed.", count, blocks);
    nas_html_open(html, "figure");
    nas_html_open(html, "figcaption");
    nas_report__strip_legend(html);
    nas_html_text(html, scale.by_latency ? "latency, on one scale" : "multiply-accumulates, on "
                                                                     "one scale");
    nas_html_close(html, "figcaption");
    for (int i = 0; i < 2; i++) {
        nas_report__total(both[i]->network, scale.by_latency, total);
        nas_html_element(html, "h3", NULL, "%s: %s", both[i]->run->about->name, total);
        nas_report__strip(html, both[i]->network, scale, differs, both[i]->run->about->name);
    }
    table(html, a, b, differs, blocks, scale.by_latency);
    nas_html_close(html, "figure");
}

/* The first network of those drawn, and the first that differs from it, or if there is none the
 * second. */
static nas_status find_sides(nas_report__page *page, side *a, side *b, nas_err *err)
{
    bool differs[NAS_MAX_BLOCKS];
    nas_status status = NAS_OK;

    for (int i = 0; i < page->drawn && status == NAS_OK; i++) {
        side next = {.run = &page->runs[i]};

        status = nas_report__network_find(page, next.run, &next.network, err);
        if (next.network == NULL)
            continue;
        if (a->network == NULL) {
            *a = next;
        } else if (b->network == NULL || count_differing(a, &next, differs) > 0) {
            nas_report__network_free(b->network);
            *b = next;
            if (count_differing(a, b, differs) > 0)
                break;
        } else {
            nas_report__network_free(next.network);
        }
    }
    return status;
}

nas_status nas_report__difference(nas_report__page *page, nas_err *err)
{
    nas_html *html = &page->html;
    side a = {0}, b = {0};
    const nas_status status = find_sides(page, &a, &b, err);

    if (status == NAS_OK && b.network != NULL) {
        nas_html_open(html, "section");
        nas_html_attr(html, "id", "difference");
        nas_html_element(html, "h2", NULL, "Difference of two networks");
        draw(html, &a, &b);
        nas_html_close(html, "section");
        nas_html_trusted(html, "\n");
    }
    nas_report__network_free(a.network);
    nas_report__network_free(b.network);
    return status;
}
