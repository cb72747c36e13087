/* Operation probabilities over the epochs: a row a block, a column an operation, and a slider.
 *
 * The last epoch is drawn here; the script redraws from the frames, one letter a cell, of which
 * the ALPHABET gives the level. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "search/report/chart.h"
#include "search/report/private.h"

enum { LEVELS = 64, MAX_FRAMES = 100, LEFT = 66, TOP = 22, CELL_WIDTH = 52, CELL_HEIGHT = 19,
       BAR_WIDTH = 80, SINCE_WIDTH = 90, MAX_CELLS = 16 << 20 /* over all epochs */ };
#define ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"

typedef struct heat {
    int rows, columns, epochs;    /* rows: slots that have a choice     */
    int slot[NAS_MAX_SLOTS];      /* [rows]                             */
    int count[NAS_MAX_SLOTS];     /* [rows] candidates                  */
    int row_of[NAS_MAX_SLOTS];    /* by slot, -1: fixed                 */
    int64_t *epoch;               /* [epochs]                           */
    double *p;                    /* [epochs][rows][columns]            */
    nas_space *space;             /* names the operations; NULL: unknown */
    bool too_many;                /* for one picture                    */
} heat;

static bool usable(const nas_store_probability *q)
{
    return q->slot >= 0 && q->slot < NAS_MAX_SLOTS && q->candidate >= 0 &&
           q->candidate < NAS_MAX_CANDIDATES;
}

static double *cell(const heat *h, int epoch, int row)
{
    return h->p + ((size_t)epoch * (size_t)h->rows + (size_t)row) * (size_t)h->columns;
}

/* Rows, columns and epochs of what the store holds. */
static void measure(heat *h, const nas_store_probability *list, int count)
{
    int candidates[NAS_MAX_SLOTS] = {0};

    for (int i = 0; i < count; i++) {
        if (usable(&list[i]) && list[i].candidate >= candidates[list[i].slot])
            candidates[list[i].slot] = list[i].candidate + 1;
        h->epochs += i == 0 || list[i].epoch != list[i - 1].epoch;
    }
    for (int s = 0; s < NAS_MAX_SLOTS; s++) {
        h->row_of[s] = candidates[s] > 1 ? h->rows : -1;
        if (candidates[s] <= 1)
            continue;
        h->slot[h->rows] = s;
        h->count[h->rows++] = candidates[s];
        h->columns = candidates[s] > h->columns ? candidates[s] : h->columns;
    }
}

static nas_status fill(heat *h, const nas_store_probability *list, int count, nas_err *err)
{
    int epoch = -1;

    measure(h, list, count);
    if ((int64_t)h->epochs * h->rows * h->columns > MAX_CELLS) {
        h->too_many = true;
        return NAS_OK;
    }
    h->epoch = calloc((size_t)h->epochs + 1, sizeof *h->epoch);
    h->p = calloc((size_t)h->epochs * (size_t)h->rows * (size_t)h->columns + 1, sizeof *h->p);
    if (h->epoch == NULL || h->p == NULL)
        return nas_fail(err, NAS_E_NOMEM, "report: out of memory");
    for (int i = 0; i < count; i++) {
        if (i == 0 || list[i].epoch != list[i - 1].epoch)
            h->epoch[++epoch] = list[i].epoch;
        if (usable(&list[i]) && h->row_of[list[i].slot] >= 0 && isfinite(list[i].p))
            cell(h, epoch, h->row_of[list[i].slot])[list[i].candidate] =
                fmin(fmax(list[i].p, 0), 1);
    }
    return NAS_OK;
}

/* The run's space if it is a built-in one (a path in a store is not followed) and fits. */
static nas_space *find_space(const heat *h, const char *name)
{
    nas_space *space = NULL;

    if (nas_space_is_builtin(name))
        nas_space_load(&space, name, NULL);
    for (int r = 0; r < h->rows && space != NULL; r++)
        if (h->slot[r] >= space->count || space->slots[h->slot[r]].count != h->count[r]) {
            nas_space_free(space);
            space = NULL;
        }
    return space;
}

static void op_name(const heat *h, int row, int candidate, char out[32])
{
    if (h->space != NULL)
        nas_report__op_text(&h->space->slots[h->slot[row]].candidates[candidate], out);
    else
        snprintf(out, 32, "op %d", candidate + 1);
}

/* What a column is called: as in the first row that has the most operations. */
static void column_name(const heat *h, int column, char out[32])
{
    int row = 0;

    while (h->count[row] < h->columns)
        row++;
    op_name(h, row, column, out);
}

static int most_probable(const heat *h, int epoch, int row)
{
    const double *p = cell(h, epoch, row);
    int best = 0;

    for (int c = 1; c < h->count[row]; c++)
        best = p[c] > p[best] ? c : best;
    return best;
}

/* Entropy as a share of that of an even choice: 1 undecided, 0 decided. */
static double openness(const heat *h, int epoch, int row)
{
    const double *p = cell(h, epoch, row);
    double nats = 0;

    for (int c = 0; c < h->count[row]; c++)
        nats -= p[c] > 0 ? p[c] * log(p[c]) : 0;
    return fmin(nats / log(h->count[row]), 1);
}

/* The epoch since which the operation that leads at the end has always led. */
static int64_t decided_since(const heat *h, int row)
{
    const int last = most_probable(h, h->epochs - 1, row);
    int e = h->epochs - 1;

    while (e > 0 && most_probable(h, e - 1, row) == last)
        e--;
    return h->epoch[e];
}

/* ---- drawing ---- */

static void draw_row(nas_html *html, const heat *h, int row)
{
    const int last = h->epochs - 1, best = most_probable(h, last, row);
    const double y = TOP + row * CELL_HEIGHT, *p = cell(h, last, row);
    char text[32];

    snprintf(text, sizeof text, "block %d", h->slot[row]);
    nas_svg_text(html, LEFT - 6, y + 14, "end", text);
    for (int c = 0; c < h->count[row]; c++) {
        op_name(h, row, c, text);
        nas_svg_rect(html, LEFT + c * CELL_WIDTH, y, CELL_WIDTH - 2, CELL_HEIGHT - 2,
                     c == best ? "cell top" : "cell");
        nas_html_attr(html, "fill-opacity", "%.2f", p[c]);
        nas_svg_title(html, "block %d, %s: %.2f", h->slot[row], text, p[c]);
        nas_html_close(html, "rect");
    }
    nas_svg_rect(html, LEFT + h->columns * CELL_WIDTH + 8, y + 4, BAR_WIDTH, CELL_HEIGHT - 10,
                 "whole");
    nas_html_close(html, "rect");
    nas_svg_rect(html, LEFT + h->columns * CELL_WIDTH + 8, y + 4,
                 openness(h, last, row) * BAR_WIDTH, CELL_HEIGHT - 10, "open");
    nas_html_close(html, "rect");
    snprintf(text, sizeof text, "epoch %lld", (long long)decided_since(h, row));
    nas_svg_text(html, LEFT + h->columns * CELL_WIDTH + BAR_WIDTH + 20, y + 14, "start", text);
}

static void draw(nas_html *html, const heat *h)
{
    char text[32];

    nas_svg_begin(html, LEFT + h->columns * CELL_WIDTH + BAR_WIDTH + 20 + SINCE_WIDTH,
                  TOP + h->rows * CELL_HEIGHT + 4, "Probability of each operation in each block");
    for (int c = 0; c < h->columns; c++) {
        column_name(h, c, text);
        nas_svg_text(html, LEFT + c * CELL_WIDTH + CELL_WIDTH / 2.0, TOP - 8, "middle", text);
    }
    nas_svg_text(html, LEFT + h->columns * CELL_WIDTH + 8, TOP - 8, "start", "entropy");
    nas_svg_text(html, LEFT + h->columns * CELL_WIDTH + BAR_WIDTH + 20, TOP - 8, "start",
                 "leader since");
    for (int r = 0; r < h->rows; r++)
        draw_row(html, h, r);
    nas_svg_end(html);
}

static char letter(double share)
{
    return ALPHABET[lround(share * (LEVELS - 1))];
}

/* One element an epoch: a word a row, the cells and then the entropy. */
static void write_frames(nas_html *html, const heat *h)
{
    const int every = (h->epochs + MAX_FRAMES - 1) / MAX_FRAMES;

    nas_html_open(html, "div");
    nas_html_attr(html, "class", "frames");
    nas_html_attr(html, "hidden", "hidden");
    for (int e = 0; e < h->epochs; e++) {
        if (e % every != 0 && e != h->epochs - 1)
            continue;
        nas_html_open(html, "i");
        nas_html_attr(html, "data-epoch", "%lld", (long long)h->epoch[e]);
        for (int r = 0; r < h->rows; r++) {
            char word[NAS_MAX_CANDIDATES + 3];
            int used = 0;

            for (int c = 0; c < h->count[r]; c++)
                word[used++] = letter(cell(h, e, r)[c]);
            word[used++] = letter(openness(h, e, r));
            word[used++] = ' ';
            word[used] = '\0';
            nas_html_text(html, word);
        }
        nas_html_close(html, "i");
    }
    nas_html_close(html, "div");
}

/* Shown by the script only: without it there is nothing to slide. */
static void write_slider(nas_html *html, const heat *h, const nas_store_run *about)
{
    nas_html_open(html, "p");
    nas_html_attr(html, "class", "slider");
    nas_html_attr(html, "hidden", "hidden");
    nas_html_open(html, "label");
    nas_html_attr(html, "for", "slider-%lld", (long long)about->id);
    nas_html_text(html, "epoch ");
    nas_html_element(html, "output", NULL, "%lld", (long long)h->epoch[h->epochs - 1]);
    nas_html_close(html, "label");
    nas_html_open(html, "input");
    nas_html_attr(html, "id", "slider-%lld", (long long)about->id);
    nas_html_attr(html, "type", "range");
    nas_html_attr(html, "min", "0");
    nas_html_close(html, "input");
    nas_html_close(html, "p");
}

static void table(nas_html *html, const heat *h)
{
    static char names[NAS_MAX_CANDIDATES][32];
    const char *head[NAS_MAX_CANDIDATES + 5] = {"Block"};
    const int last = h->epochs - 1;
    int columns = 1;
    char text[32];

    for (int c = 0; c < h->columns; c++) {
        column_name(h, c, names[c]);
        head[columns++] = names[c];
    }
    head[columns++] = "Entropy (share of an even choice)";
    head[columns++] = "Leads";
    head[columns++] = "Since epoch";
    nas_report__details_begin(html, "The same as a table");
    nas_html_table_begin(html, head, "Probabilities after epoch %lld", (long long)h->epoch[last]);
    for (int r = 0; r < h->rows; r++) {
        nas_html_open(html, "tr");
        nas_html_element(html, "td", "n", "%d", h->slot[r]);
        for (int c = 0; c < h->columns; c++)
            nas_html_number(html, c < h->count[r] ? cell(h, last, r)[c] : NAN, 3);
        nas_html_number(html, openness(h, last, r), 3);
        op_name(h, r, most_probable(h, last, r), text);
        nas_html_cell(html, text);
        nas_html_number(html, (double)decided_since(h, r), 9);
        nas_html_close(html, "tr");
    }
    nas_html_table_end(html);
    nas_report__details_end(html);
}

nas_status nas_report__heat(nas_report__page *page, const nas_report__run *run, nas_err *err)
{
    nas_html *html = &page->html;
    nas_store_probability *list = NULL;
    heat h = {0};
    int count = 0;
    nas_status status =
        nas_store_probabilities_get(page->store, run->about->id, -1, &list, &count, err);

    if (status != NAS_OK || (status = fill(&h, list, count, err)) != NAS_OK)
        goto done;
    if (h.rows == 0)
        goto done;
    nas_html_element(html, "h3", NULL, "Which operation, block by block");
    if (h.too_many) {
        nas_report__nothing(html, "The run has recorded too many probabilities to draw; nas runs "
                            "export --table probability has all.");
        goto done;
    }
    h.space = find_space(&h, nas_report__string(run, "space"));
    nas_html_open(html, "figure");
    nas_html_attr(html, "class", "heat");
    nas_html_element(html, "figcaption", NULL, "The stronger the color, the likelier; framed: the "
                     "leader. Entropy: a full bar is an even choice, none a decision.");
    write_slider(html, &h, run->about);
    draw(html, &h);
    write_frames(html, &h);
    table(html, &h);
    nas_html_close(html, "figure");

done:
    nas_space_free(h.space);
    free(h.epoch);
    free(h.p);
    free(list);
    return status;
}
