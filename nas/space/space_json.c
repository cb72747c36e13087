/* Spaces as JSON (docs/reference/space.md), their digest, and loading by name or path. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/options.h"
#include "nas/space/op_json.h"
#include "nas/space/space_build.h"

static const char *const format = "onepath.space";
static const char *const own_members[] = {"min_depth", "resolutions", "layers", NULL};
static const char *const slot_members[] = {"shortcut", "stage", NULL};
static const char *const choice_members[] = {"candidates", "shortcut", "stage", NULL};
static const char *const stage_members[] = {"width", "blocks", "stride", "kernel", "expand",
                                            "act",   "se",     "skip",   NULL};
static const char *const range_members[] = {"from", "to", "step", NULL};

/* -- reading ------------------------------------------------------------------------- */

static nas_status read_place(const json_t *json, const char *where, bool *shortcut, int *stage,
                             nas_err *err)
{
    int64_t number = -1;
    nas_status status;

    *shortcut = false;
    if ((status = nas_json_bool(json, where, "shortcut", false, shortcut, err)) ||
        (status = nas_json_int(json, where, "stage", false, -1, NAS_MAX_SLOTS, &number, err)))
        return status;
    *stage = (int)number;
    return NAS_OK;
}

static nas_status located(nas_status status, const char *where, nas_err *err)
{
    if (status != NAS_OK)
        nas_err_prefix(err, "%s", where);
    return status;
}

/* {"op": ...}: a slot with one operation. */
static nas_status read_fixed(nas_space *space, const json_t *json, const char *where, nas_err *err)
{
    nas_op_spec op;
    bool shortcut;
    int stage;
    nas_status status;

    if ((status = nas_space__op_read(&op, json, where, nas_space__channels(space), slot_members,
                                     err)) ||
        (status = read_place(json, where, &shortcut, &stage, err)))
        return status;
    return located(nas_space_add_slot(space, &op, 1, shortcut, stage, err), where, err);
}

/* {"candidates": [...]}: a slot with several. */
static nas_status read_choice(nas_space *space, const json_t *json, const char *where, nas_err *err)
{
    const json_t *list = json_object_get(json, "candidates");
    const size_t count = json_array_size(list);
    nas_op_spec candidates[NAS_MAX_CANDIDATES];
    bool shortcut;
    int stage;
    nas_status status;

    if ((status = nas_space__members(json, where, choice_members, NULL, err)) ||
        (status = read_place(json, where, &shortcut, &stage, err)))
        return status;
    if (count < 1 || count > NAS_MAX_CANDIDATES)
        return nas_fail(err, NAS_E_DATA, "%s.candidates: must be a list of 1 to %d operations",
                        where, NAS_MAX_CANDIDATES);
    for (size_t k = 0; k < count; k++) {
        char inside[NAS_WHERE_SIZE];

        nas_space__where(inside, "%s.candidates[%zu]", where, k);
        status = nas_space__op_read(&candidates[k], json_array_get(list, k), inside,
                                    nas_space__channels(space), NULL, err);
        if (status != NAS_OK)
            return status;
    }
    return located(nas_space_add_slot(space, candidates, (int)count, shortcut, stage, err), where,
                   err);
}

/* A list of 1 to 8 numbers, or one number, in [min, max]. */
static nas_status read_numbers(const json_t *json, const char *where, const char *key, double min,
                               double max, bool whole, double out[8], int *count, nas_err *err)
{
    const json_t *list = json_object_get(json, key);
    const bool single = json_is_number(list);

    *count = single ? 1 : (int)(json_array_size(list) <= 8 ? json_array_size(list) : 0);
    if (*count == 0)
        return nas_fail(err, NAS_E_DATA, "%s.%s: must be a list of 1 to 8 numbers", where, key);
    for (int i = 0; i < *count; i++) {
        const json_t *value = single ? list : json_array_get(list, (size_t)i);

        out[i] = json_number_value(value);
        if (!(whole ? json_is_integer(value) : json_is_number(value)) || out[i] < min ||
            out[i] > max)
            return nas_fail(err, NAS_E_DATA, "%s.%s[%d]: must be a %snumber from %g to %g", where,
                            key, i, whole ? "whole " : "", min, max);
    }
    return NAS_OK;
}

/* {"blocks": n, ...}: n slots. */
static nas_status read_stage(nas_space *space, const json_t *json, const char *where, nas_err *err)
{
    int64_t width = 0, blocks = 0, stride = 1;
    double kernel[8], expand[8];
    nas_space__stage stage = {.act = NAS_ACT_RELU6, .zero = true};
    nas_status status;

    if ((status = nas_space__members(json, where, stage_members, NULL, err)) ||
        (status = nas_json_int(json, where, "width", true, 1, 65536, &width, err)) ||
        (status = nas_json_int(json, where, "blocks", true, 1, NAS_MAX_SLOTS, &blocks, err)) ||
        (status = nas_json_int(json, where, "stride", false, 1, 16, &stride, err)) ||
        (status = read_numbers(json, where, "kernel", 1, 31, true, kernel, &stage.kernels, err)) ||
        (status = read_numbers(json, where, "expand", 0.01, 1024, false, expand, &stage.expands,
                               err)) ||
        (status = nas_space__act_read(json, where, &stage.act, err)) ||
        (status = nas_json_bool(json, where, "se", false, &stage.se, err)) ||
        (status = nas_json_bool(json, where, "skip", false, &stage.zero, err)))
        return status;
    stage.width = (int)width;
    stage.blocks = (int)blocks;
    stage.stride = (int)stride;
    for (int i = 0; i < 8; i++) {
        stage.kernel[i] = i < stage.kernels ? (int)kernel[i] : 0;
        stage.expand[i] = i < stage.expands ? (float)expand[i] : 0;
    }
    if (stage.kernels * stage.expands + stage.zero > NAS_MAX_CANDIDATES)
        return nas_fail(err, NAS_E_DATA, "%s: more than %d candidates", where, NAS_MAX_CANDIDATES);
    return located(nas_space__add_stage(space, &stage, err), where, err);
}

static nas_status read_layers(nas_space *space, const json_t *json, const char *where, nas_err *err)
{
    const json_t *layers = json_object_get(json, "layers"), *layer;
    size_t i;

    if (!json_is_array(layers) || json_array_size(layers) == 0)
        return nas_fail(err, NAS_E_DATA, "%s.layers: must be a list with something in it", where);
    json_array_foreach((json_t *)layers, i, layer) {
        char inside[NAS_WHERE_SIZE];
        nas_status status;

        nas_space__where(inside, "%s: layers[%zu]", where, i);
        if (json_object_get(layer, "op") != NULL)
            status = read_fixed(space, layer, inside, err);
        else if (json_object_get(layer, "candidates") != NULL)
            status = read_choice(space, layer, inside, err);
        else if (json_object_get(layer, "blocks") != NULL)
            status = read_stage(space, layer, inside, err);
        else
            return nas_fail(err, NAS_E_DATA,
                            "%s: needs \"op\" (a fixed layer), \"candidates\" (a slot) or "
                            "\"blocks\" (a stage)", inside);
        if (status != NAS_OK)
            return status;
    }
    return NAS_OK;
}

static nas_status read_range(nas_space *space, const json_t *range, const char *where, nas_err *err)
{
    const int most = (int)(sizeof space->resolution / sizeof *space->resolution);
    int64_t from = 0, to = 0, step = 0;
    nas_status status;

    if ((status = nas_space__members(range, where, range_members, NULL, err)) ||
        (status = nas_json_int(range, where, "from", true, 1, NAS_MAX_IMAGE_SIZE, &from, err)) ||
        (status = nas_json_int(range, where, "to", true, from, NAS_MAX_IMAGE_SIZE, &to, err)) ||
        (status = nas_json_int(range, where, "step", true, 1, NAS_MAX_IMAGE_SIZE, &step, err)))
        return status;
    if ((to - from) / step >= most)
        return nas_fail(err, NAS_E_DATA, "%s: more than %d resolutions", where, most);
    for (int64_t size = from; size <= to; size += step)
        space->resolution[space->resolutions++] = (int)size;
    return NAS_OK;
}

/* A list of sizes, or {"from": 128, "to": 224, "step": 4}. */
static nas_status read_resolutions(nas_space *space, const json_t *json, const char *where,
                                   nas_err *err)
{
    const size_t most = sizeof space->resolution / sizeof *space->resolution;
    const json_t *list = json_object_get(json, "resolutions");
    char inside[NAS_WHERE_SIZE];

    nas_space__where(inside, "%s: resolutions", where);
    if (list == NULL)
        return NAS_OK;
    if (json_is_object(list))
        return read_range(space, list, inside, err);
    if (!json_is_array(list) || json_array_size(list) > most)
        return nas_fail(err, NAS_E_DATA, "%s: must be a list of at most %zu sizes", inside, most);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *size = json_array_get(list, i);

        if (!json_is_integer(size) || json_integer_value(size) < 1 ||
            json_integer_value(size) > NAS_MAX_IMAGE_SIZE)
            return nas_fail(err, NAS_E_DATA, "%s[%zu]: must be a whole number from 1 to %d", inside,
                            i, NAS_MAX_IMAGE_SIZE);
        space->resolution[space->resolutions++] = (int)json_integer_value(size);
        if (i > 0 && space->resolution[i] <= space->resolution[i - 1])
            return nas_fail(err, NAS_E_DATA, "%s[%zu]: must be above the one before", inside, i);
    }
    return NAS_OK;
}

nas_status nas_space_from_json(nas_space **out, const json_t *json, const char *where, nas_err *err)
{
    nas_space *space = nas_space_new(err);
    int64_t min_depth = 0;
    nas_space__head head;
    nas_status status;

    *out = NULL;
    if (space == NULL)
        return NAS_E_NOMEM;
    if ((status = nas_space__members(json, where, nas_space__head_members, own_members, err)) ||
        (status = nas_space__head_read(&head, json, where, format, err)) ||
        (status = nas_json_int(json, where, "min_depth", false, 0, NAS_MAX_SLOTS, &min_depth, err)))
        goto done;
    snprintf(space->name, sizeof space->name, "%s", head.name ? head.name : "");
    space->image_size = head.image_size;
    space->channels = head.channels;
    space->classes = head.classes;
    space->bn_momentum = head.bn_momentum;
    space->bn_eps = head.bn_eps;
    space->min_depth = (int)min_depth;
    if ((status = read_resolutions(space, json, where, err)) ||
        (status = read_layers(space, json, where, err)))
        goto done;
    if ((status = nas_space_check(space, err))) {
        nas_err_prefix(err, "%s", where);
        goto done;
    }
    *out = space;
    space = NULL;

done:
    nas_space_free(space);
    return status;
}

static nas_status load_arch(nas_space **out, const char *path, nas_err *err)
{
    nas_arch *arch;
    nas_status status = nas_arch_load(&arch, path, err);

    *out = NULL;
    if (status == NAS_OK)
        status = nas_space_of_arch(out, arch, err);
    nas_arch_free(arch);
    return status;
}

nas_status nas_space_load(nas_space **out, const char *name_or_path, nas_err *err)
{
    json_t *json = NULL;
    nas_status status = nas_space__builtin(out, name_or_path, err);

    if (status != NAS_OK || *out != NULL)
        return status;
    if (!nas_path_exists(name_or_path) && strpbrk(name_or_path, "/.") == NULL) {
        const char *near = nas_nearest(name_or_path, nas_space_names());

        nas_fail(err, NAS_E_CONFIG, "%s: neither a built-in space nor a file", name_or_path);
        if (near != NULL)
            nas_hint(err, "did you mean \"%s\"?", near);
        else
            nas_hint(err, "`nas space list` shows the built-in ones");
        return NAS_E_CONFIG;
    }
    status = nas_json_load(&json, name_or_path, err);
    if (json_object_get(json, "blocks") != NULL && json_object_get(json, "layers") == NULL)
        status = load_arch(out, name_or_path, err);
    else if (status == NAS_OK)
        status = nas_space_from_json(out, json, name_or_path, err);
    if (status == NAS_E_IO || status == NAS_E_DATA)
        nas_path_hint(name_or_path, "a space is a JSON file: nas space show tiny prints one to "
                      "begin with", err);
    json_decref(json);
    return status;
}

/* -- writing ------------------------------------------------------------------------- */

static json_t *write_slot(const nas_slot *slot)
{
    json_t *json, *list;
    int failed = 0;

    if (slot->count == 1) {
        json = nas_space__op_write(&slot->candidates[0]);
    } else {
        list = json_array();
        for (int k = 0; k < slot->count; k++)
            failed |= json_array_append_new(list, nas_space__op_write(&slot->candidates[k]));
        json = json_pack("{s:o}", "candidates", list);
    }
    failed |= json_object_set_new(json, "shortcut", json_boolean(slot->shortcut));
    failed |= json_object_set_new(json, "stage", json_integer(slot->stage));
    if (failed) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *nas_space_to_json(const nas_space *space)
{
    const nas_space__head head = {.name = space->name, .image_size = space->image_size,
                                  .channels = space->channels, .classes = space->classes,
                                  .bn_momentum = space->bn_momentum, .bn_eps = space->bn_eps};
    json_t *json = nas_space__head_write(&head, format);
    json_t *layers = json_array(), *resolutions = json_array();
    int failed = json_object_set_new(json, "min_depth", json_integer(space->min_depth));

    for (int i = 0; i < space->resolutions; i++)
        failed |= json_array_append_new(resolutions, json_integer(space->resolution[i]));
    for (int i = 0; i < space->count; i++)
        failed |= json_array_append_new(layers, write_slot(&space->slots[i]));
    failed |= json_object_set_new(json, "resolutions", resolutions);
    failed |= json_object_set_new(json, "layers", layers);
    if (failed) {
        json_decref(json);
        return NULL;
    }
    return json;
}

nas_status nas_space_digest(const nas_space *space, char out[NAS_DIGEST_SIZE], nas_err *err)
{
    json_t *json = nas_space_to_json(space);

    json_object_del(json, "name");
    return nas_space__digest(json, out, err);
}
