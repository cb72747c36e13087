/* Bars of what each layer keeps. */
#include "cli/policy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CELLS = 20 };

/* Whole cells, and the last one in eighths (U+2588 is full, U+258f an eighth). */
static void draw(double share, char out[3 * CELLS + 1])
{
    const int eighths = (int)nearbyint(fmin(fmax(share, 0.0), 1.0) * CELLS * 8);
    size_t used = 0;

    out[0] = '\0';
    for (int at = 0; at < eighths; at += 8) {
        const int part = eighths - at < 8 ? eighths - at : 8;
        used += (size_t)snprintf(out + used, 4, "\xe2\x96%c", 0x90 - part);
    }
}

static double share_of(const json_t *row)
{
    const json_t *share = json_object_get(row, "share");
    const json_t *bits = json_object_get(row, "weight_bits");

    if (json_is_number(share))
        return json_number_value(share);
    return json_is_number(bits) ? json_number_value(bits) / 8.0 : 0.0;
}

void cli_policy_show(json_t *result, json_t *summary)
{
    json_t *policy = json_incref(json_object_get(summary, "policy")), *row;
    char bar[3 * CELLS + 1];
    size_t i;

    if (!json_is_array(policy)) {
        json_decref(policy);
        return;
    }
    json_object_del(summary, "policy");
    json_array_foreach(policy, i, row)
        if (json_is_object(row)) {
            draw(share_of(row), bar);
            json_object_set_new(row, "bar", json_string(bar));
        }
    json_object_set_new(result, "policy", policy);
}
