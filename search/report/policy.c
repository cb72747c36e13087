/* What each layer keeps of its channels or bits, and what that made of the network. */
#include "search/report/policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "search/report/chart.h"
#include "search/report/private.h"

enum { MAX_LAYERS = 300, ROW = 22, LEFT = 230, WIDTH = 420, RIGHT = 130, SHOWN_NAME = 36 };

static double member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

json_t *nas_policy_list(const json_t *summary)
{
    json_t *list = json_object_get(summary, "policy");

    return json_is_array(list) ? list : NULL;
}

nas_policy_layer nas_policy_layer_read(const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "layer"));

    return (nas_policy_layer){
        .name = name != NULL ? name : "", .channels = member(row, "channels"),
        .of = member(row, "of"), .share = member(row, "share"),
        .weight_bits = member(row, "weight_bits"), .input_bits = member(row, "input_bits"),
        .weights = member(row, "weights"), .macs = member(row, "macs")};
}

static double share_of_bits(double bits)
{
    return bits == 0.0 ? 1.0 : fmin(fmax(bits / 8.0, 0.0), 1.0); /* NAN: 0 */
}

double nas_policy_layer_kept(const nas_policy_layer *layer)
{
    return isfinite(layer->share) ? fmin(fmax(layer->share, 0.0), 1.0)
                                  : share_of_bits(layer->weight_bits);
}

/* ---- the picture ---- */

static void bits_text(double bits, char out[24])
{
    if (isnan(bits))
        snprintf(out, 24, "\xe2\x80\x93");
    else
        snprintf(out, 24, bits == 0.0 ? "floats" : "%.4g bits", bits);
}

static void bar(nas_html *html, double y, double height, double share, const char *class)
{
    nas_svg_rect(html, LEFT, y, share * WIDTH, height, class);
    nas_html_close(html, "rect");
}

/* A bar for the channels, or one for the weights and one for the inputs. */
static void draw_layer(nas_html *html, const nas_policy_layer *layer, double y, bool bits)
{
    char name[SHOWN_NAME + 8], left[64], weight[24], input[24];

    snprintf(name, sizeof name, "%.*s", SHOWN_NAME, layer->name);
    nas_svg_text(html, LEFT - 8, y + 14, "end", name);
    nas_svg_rect(html, LEFT, y + 2, WIDTH, ROW - 4, "whole");
    nas_svg_title(html, "%s", layer->name);
    nas_html_close(html, "rect");
    if (bits) {
        bits_text(layer->weight_bits, weight);
        bits_text(layer->input_bits, input);
        snprintf(left, sizeof left, "%s, %s", weight, input);
        bar(html, y + 3, (ROW - 6) / 2.0, share_of_bits(layer->weight_bits), "bar");
        bar(html, y + ROW / 2.0, (ROW - 6) / 2.0, share_of_bits(layer->input_bits), "open");
    } else {
        snprintf(left, sizeof left, "%.6g of %.6g (%.0f %%)", layer->channels, layer->of,
                 100.0 * nas_policy_layer_kept(layer));
        bar(html, y + 3, ROW - 6, nas_policy_layer_kept(layer), "bar");
    }
    nas_svg_text(html, LEFT + WIDTH + 8, y + 14, "start", left);
}

static void picture(nas_html *html, const json_t *list, int count, bool bits)
{
    nas_html_open(html, "figcaption");
    if (bits) {
        nas_html_element(html, "span", "key c0", "weights");
        nas_html_element(html, "span", "key c1", "inputs");
        nas_html_text(html, " the whole width is 8 bits, or floats");
    } else {
        nas_html_text(html, "Channels that are left, as a share of those there were");
    }
    nas_html_close(html, "figcaption");
    nas_svg_begin(html, LEFT + WIDTH + RIGHT, count * ROW + 2,
                  bits ? "Bits of each layer" : "Channels that each layer keeps");
    for (int i = 0; i < count; i++) {
        const nas_policy_layer layer = nas_policy_layer_read(json_array_get(list, (size_t)i));

        draw_layer(html, &layer, i * ROW + 1, bits);
    }
    nas_svg_end(html);
}

/* ---- the tables ---- */

static void bits_cell(nas_html *html, double bits)
{
    if (bits == 0.0)
        nas_html_cell(html, "floats");
    else
        nas_html_number(html, bits, 4);
}

static void table(nas_html *html, const json_t *list, int count, bool bits)
{
    static const char *const of_bits[] = {"Layer", "Weight bits", "Input bits", "Weights",
                                          "MACs (M)", NULL};
    static const char *const of_channels[] = {"Layer", "Channels", "Of", "Share", NULL};

    nas_report__details_begin(html, "The same as a table");
    nas_html_table_begin(html, bits ? of_bits : of_channels,
                         bits ? "Bits of each layer" : "Channels that each layer keeps");
    for (int i = 0; i < count; i++) {
        const nas_policy_layer layer = nas_policy_layer_read(json_array_get(list, (size_t)i));

        nas_html_open(html, "tr");
        nas_html_cell(html, layer.name);
        if (bits) {
            bits_cell(html, layer.weight_bits);
            bits_cell(html, layer.input_bits);
            nas_html_number(html, layer.weights, 12);
            nas_html_number(html, layer.macs / 1e6, 4);
        } else {
            nas_html_number(html, layer.channels, 9);
            nas_html_number(html, layer.of, 9);
            nas_html_number(html, layer.share, 3);
        }
        nas_html_close(html, "tr");
    }
    nas_html_table_end(html);
    nas_report__details_end(html);
}

/* What the run tells of the network before and after; `when` NULL, or a setting without which the
 * row means something else. */
static const struct {
    const char *what, *before, *after, *when;
    double unit;
} measures[] = {
    {"Top-1, held-out images", "top1_before", "top1", NULL, 1},
    {"Top-1 before tuning", "top1_before", "top1_pruned", NULL, 1},
    {"Top-1, held-out images", "float_valid_top1", "valid_top1", NULL, 1},
    {"MACs (M)", "macs_before", "macs", NULL, 1e6},
    {"Parameters (M)", "parameters_before", "parameters", NULL, 1e6},
    {"Size (KiB)", "float_size_bytes", "size_bytes", NULL, 1024},
    {"Latency by the table (ms)", "cost_before", "cost", "target_ms", 1},
    {"Latency measured here (ms)", "measured_ms_before", "measured_ms", NULL, 1},
};

static void before_and_after(nas_html *html, const nas_report__run *run)
{
    static const char *const head[] = {"Measure", "Before", "After", "After / before", NULL};

    nas_html_table_begin(html, head, "Before and after");
    for (size_t i = 0; i < sizeof measures / sizeof *measures; i++) {
        const double before = member(run->summary, measures[i].before) / measures[i].unit;
        const double after = member(run->summary, measures[i].after) / measures[i].unit;

        if (!isfinite(before) || !isfinite(after) ||
            (measures[i].when != NULL && isnan(member(run->config, measures[i].when))))
            continue;
        nas_html_open(html, "tr");
        nas_html_element(html, "td", NULL, "%s", measures[i].what);
        nas_html_number(html, before, 5);
        nas_html_number(html, after, 5);
        nas_html_number(html, before > 0 ? after / before : NAN, 3);
        nas_html_close(html, "tr");
    }
    nas_html_table_end(html);
}

/* Who chose the policy. */
static void sentence(nas_html *html, const json_t *summary)
{
    const char *agent = json_string_value(json_object_get(summary, "agent"));
    const double reward = member(summary, "reward"), budget = member(summary, "budget_ratio");

    if (agent == NULL)
        return;
    nas_html_open(html, "p");
    nas_html_textf(html, "Chosen by %s in %.9g episodes", agent, member(summary, "episodes"));
    if (isfinite(reward))
        nas_html_textf(html, "; the best, number %.9g, had a reward of %.4g",
                       member(summary, "best_episode") + 1, reward);
    if (isfinite(budget))
        nas_html_textf(html, "; of the whole cost %.3g is left, %.3g may be",
                       member(summary, "cost_ratio"), budget);
    nas_html_text(html, ".");
    nas_html_close(html, "p");
}

void nas_report__policy(nas_report__page *page, const nas_report__run *run)
{
    const json_t *list = nas_policy_list(run->summary);
    const size_t size = json_array_size(list);
    const int count = size < MAX_LAYERS ? (int)size : MAX_LAYERS;
    nas_html *html = &page->html;

    if (count == 0)
        return;
    const bool bits = isnan(nas_policy_layer_read(json_array_get(list, 0)).share);
    nas_html_element(html, "h3", NULL, bits ? "Bits, layer by layer" : "Channels, layer by layer");
    sentence(html, run->summary);
    before_and_after(html, run);
    nas_html_open(html, "figure");
    nas_html_attr(html, "class", "policy");
    picture(html, list, count, bits);
    table(html, list, count, bits);
    nas_html_close(html, "figure");
    if (size > MAX_LAYERS)
        nas_html_element(html, "p", NULL, "%zu more layers are left out.", size - MAX_LAYERS);
}
