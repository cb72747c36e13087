/* From names on the command line to spaces and tables. */
#include "cli/load.h"

#include <stddef.h>

#define AT(field) offsetof(cli_space_options, field)

const nas_option cli_space_table[] = {
    {"--space", NAS_OPT_STRING, AT(space), NULL, 0, 0, NULL, "SPACE",
     "name of a built-in space, or its JSON file", true},
    {"--data", NAS_OPT_STRING, AT(data), NULL, 0, 0, NULL, "FILE",
     "packed images that the space shall be for: their size, channels and classes"},
    {"--image-size", NAS_OPT_INT, AT(image_size), NULL, 1, NAS_MAX_IMAGE_SIZE, NULL, "PX",
     "side of the images; default: theirs, or what the space was made for"},
    {0},
};

nas_status cli_space_fit(nas_space *space, const nas_dataset *data, nas_err *err)
{
    const bool square = data->height > 0 && data->height == data->width;

    return nas_space_fit(space, square ? data->height : space->image_size, data->channels,
                         data->classes, err);
}

nas_status cli_space_load(nas_space **out, const cli_space_options *options, nas_err *err)
{
    nas_dataset *data = NULL;
    nas_status status = nas_space_load(out, options->space, err);

    if (status == NAS_OK && options->data != NULL &&
        (status = nas_dataset_open(&data, options->data, err)) == NAS_OK)
        status = cli_space_fit(*out, data, err);
    if (status == NAS_OK && options->image_size > 0)
        status = nas_space_fit(*out, (int)options->image_size, (*out)->channels, (*out)->classes,
                               err);
    nas_dataset_close(data);
    return status;
}

nas_status cli_table_load(nas_latency_set **set, const nas_latency_table **table,
                          const char *where, int image_size, nas_err *err)
{
    const nas_status status = nas_latency_set_load(set, where, err);

    return status == NAS_OK ? nas_latency_set_pick(table, *set, image_size, err) : status;
}
