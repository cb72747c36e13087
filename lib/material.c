/* Images, architectures and spaces. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "lib/private.h"
#include "nas/data/dataset.h"
#include "nas/data/import.h"
#include "nas/data/synth.h"

nas_status nas_dataset_import(const char *source, const char *path, int pixels, nas_err *err)
{
    const nas_import_options options = {.size = pixels};

    return nas_data_import(source, path, &options, NULL, err);
}

nas_status nas_dataset_synth(const char *path, int pixels, int classes, uint32_t train,
                             uint32_t test, uint64_t seed, nas_err *err)
{
    const nas_synth_options options = {.size = pixels, .classes = classes, .train = train,
                                       .test = test, .seed = seed};

    return nas_data_synth(path, &options, err);
}

int nas_dataset_classes(const nas_dataset *data)
{
    return data->classes;
}

const char *nas_dataset_class(const nas_dataset *data, int index)
{
    return index >= 0 && index < data->classes ? data->class_names[index] : NULL;
}

uint32_t nas_dataset_images(const nas_dataset *data, const char *split)
{
    const nas_data_split *found = nas_dataset_split(data, split);

    return found != NULL ? found->count : 0;
}

nas_status nas_arch_parse(nas_arch **out, const char *json, const char *name, nas_err *err)
{
    json_t *value = NULL;
    nas_status status = nas_json_parse(&value, json, strlen(json), name, err);

    *out = NULL;
    if (status == NAS_OK)
        status = nas_arch_from_json(out, value, name, err);
    json_decref(value);
    return status;
}

nas_status nas_arch_text(char **out, const nas_arch *arch, nas_err *err)
{
    json_t *json = nas_arch_to_json(arch);

    *out = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    return *out != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "architecture: out of memory");
}

int64_t nas_arch_macs(const nas_arch *arch)
{
    return nas_arch_cost(arch, 0).macs;
}

int64_t nas_arch_parameters(const nas_arch *arch)
{
    return nas_arch_cost(arch, 0).parameters;
}

int nas_arch_image_size(const nas_arch *arch)
{
    return arch->image_size;
}

nas_status nas_space_parse(nas_space **out, const char *json, const char *name, nas_err *err)
{
    json_t *value = NULL;
    nas_status status = nas_json_parse(&value, json, strlen(json), name, err);

    *out = NULL;
    if (status == NAS_OK)
        status = nas_space_from_json(out, value, name, err);
    json_decref(value);
    return status;
}

nas_status nas_space_fit_data(nas_space *space, const nas_dataset *data, nas_err *err)
{
    const bool square = data->height > 0 && data->height == data->width;

    return nas_space_fit(space, square ? data->height : space->image_size, data->channels,
                         data->classes, err);
}

nas_status nas_space_fit_pixels(nas_space *space, int pixels, nas_err *err)
{
    return nas_space_fit(space, pixels, space->channels, space->classes, err);
}

nas_status nas_space_draw(nas_arch **out, const nas_space *space, uint64_t seed, uint64_t index,
                          nas_err *err)
{
    int choice[NAS_MAX_SLOTS];
    nas_rng rng;

    *out = NULL;
    nas_rng_init(&rng, seed, "library/draw", index);
    nas_space_sample(space, &rng, choice);
    return nas_space_arch(out, space, choice, err);
}
