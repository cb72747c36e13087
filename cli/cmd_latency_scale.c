/* nas latency scale - a table for an image size that was not measured. */
#include <math.h>
#include <stddef.h>

#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/load.h"
#include "cli/output.h"
#include "latency/scale.h"

typedef struct scale_options {
    cli_space_options space;
    const char *table, *out;
} scale_options;

#define SCALE(field) offsetof(scale_options, field)

static const nas_option scale_table[] = {
    {"--table", NAS_OPT_STRING, SCALE(table), NULL, 0, 0, NULL, "FILE",
     "latency table, or a folder of tables, of which the nearest in size is taken", true},
    {"--space", NAS_OPT_STRING, SCALE(space.space), NULL, 0, 0, NULL, "SPACE",
     "name of a built-in space, or its JSON file, whose entries are scaled", true},
    {"--image-size", NAS_OPT_INT, SCALE(space.image_size), NULL, 1, NAS_MAX_IMAGE_SIZE, NULL, "PX",
     "side of the images that the new table is for", true},
    {"--out", NAS_OPT_STRING, SCALE(out), NULL, 0, 0, NULL, "TABLE", "table to write (YAML)", true,
     true},
    {0},
};

/* The table whose image size is nearest, as a ratio; the larger one of two. */
static const nas_latency_table *nearest(const nas_latency_set *set, int image_size)
{
    const nas_latency_table *best = set->tables[0];
    double least = INFINITY;

    for (int i = 0; i < set->count; i++) {
        const int size = nas_latency_table_image_size(set->tables[i]);
        const double far = fabs(log((double)size / image_size));

        if (far <= least) {
            least = far;
            best = set->tables[i];
        }
    }
    return best;
}

static nas_status scale_run(const cli_context *context, const void *options, nas_err *err)
{
    const scale_options *o = options;
    nas_latency_set *set = NULL;
    nas_latency_table *scaled = NULL;
    nas_space *space = NULL;
    json_t *result = NULL;
    const char *const read[] = {o->space.space, o->space.data};
    nas_status status;

    if ((status = cli_check_output(read, 2, "--out", o->out, false, err)) ||
        (status = nas_latency_set_load(&set, o->table, err)) ||
        (status = cli_check_output((const char *const *)set->path, set->paths, "--out", o->out,
                                   false, err)) ||
        (status = cli_space_load(&space, &o->space, err)) ||
        (status = nas_latency_set_fill(set, space, err)) ||
        (status = nas_latency_scale(&scaled, nearest(set, space->image_size), space, err)) ||
        (status = nas_latency_table_save(scaled, o->out, err)))
        goto done;
    result = cli_table_json(scaled);
    json_object_set_new(result, "table", json_string(o->out));
    status = cli_emit(context, result, err);

done:
    nas_latency_table_free(scaled);
    nas_space_free(space);
    nas_latency_set_free(set);
    return status;
}

const cli_command cmd_latency_scale = {
    .name = "latency scale", .summary = "a table for an image size that was not measured",
    .example = "latency scale --table note10 --space ofa-mbv3-1.2 --image-size 220 --out 220.yaml",
    .tables = {scale_table}, .size = sizeof(scale_options), .run = scale_run,
};
