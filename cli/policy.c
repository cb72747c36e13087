/* Bars of what each layer keeps. */
#include "cli/policy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "search/report/policy.h"

enum { CELLS = 20 };

/* Whole cells, and where the terminal can the last one in eighths (U+2588 is full, U+258f an
 * eighth). */
static void draw(double share, char out[3 * CELLS + 1])
{
    const int eighths = (int)nearbyint(share * CELLS * 8);
    size_t used = 0;

    if (!cli_shows_utf8()) {
        snprintf(out, CELLS + 1, "%.*s", (eighths + 4) / 8, "####################");
        return;
    }
    out[0] = '\0';
    for (int at = 0; at < eighths; at += 8) {
        const int part = eighths - at < 8 ? eighths - at : 8;
        used += (size_t)snprintf(out + used, 4, "\xe2\x96%c", 0x90 - part);
    }
}

void cli_policy_show(json_t *result, json_t *summary)
{
    json_t *policy = json_incref(nas_policy_list(summary)), *row;
    char bar[3 * CELLS + 1];
    size_t i;

    if (policy == NULL)
        return;
    json_object_del(summary, "policy");
    json_array_foreach(policy, i, row)
        if (json_is_object(row)) {
            const nas_policy_layer layer = nas_policy_layer_read(row);

            draw(nas_policy_layer_kept(&layer), bar);
            json_object_set_new(row, "bar", json_string(bar));
        }
    json_object_set_new(result, "policy", policy);
}
