/* Architectures in files, whichever of the formats they have. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "nas/space/net_config.h"

/* Names an architecture after its file; net.config after the folder it is in. */
static void name_after(char name[64], const char *path)
{
    const char *slash = strrchr(path, '/'), *start = slash ? slash + 1 : path;
    size_t length = strlen(start);

    if (slash != NULL && strncmp(start, "net.config", strlen("net.config")) == 0) {
        for (start = slash; start > path && start[-1] != '/';)
            start--;
        length = (size_t)(slash - start);
    } else {
        const char *end = strstr(start, ".config");
        if (end == NULL)
            end = strstr(start, ".json");
        if (end != NULL)
            length = (size_t)(end - start);
    }
    if (length > 63)
        length = 63;
    for (size_t i = 0; i < length; i++) /* a file name need not be text */
        name[i] = isalnum((unsigned char)start[i]) || strchr("-_.+", start[i]) ? start[i] : '_';
    name[length] = '\0';
}

/* The published networks keep their image size in run.config beside net.config. */
static nas_status read_run_config(nas_arch *arch, const char *path, nas_err *err)
{
    const char *slash = strrchr(path, '/'), *start = slash ? slash + 1 : path;
    int64_t image_size = arch->image_size;
    nas_status status = NAS_OK;
    json_t *json = NULL;
    char *beside;

    if (strncmp(start, "net.config", strlen("net.config")) != 0)
        return NAS_OK;
    beside = strdup(path);
    if (beside == NULL)
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory", path);
    memcpy(beside + (start - path), "run", 3);
    if (nas_path_exists(beside) && !(status = nas_json_load(&json, beside, err)))
        status = nas_json_int(json, beside, "image_size", false, 1, NAS_MAX_IMAGE_SIZE,
                              &image_size, err);
    arch->image_size = (int)image_size;
    arch->size_assumed = json_object_get(json, "image_size") == NULL;
    json_decref(json);
    free(beside);
    return status;
}

nas_status nas_arch_load(nas_arch **out, const char *path, nas_err *err)
{
    nas_arch *arch = NULL;
    json_t *json = NULL;
    nas_status status;

    *out = NULL;
    if ((status = nas_json_load(&json, path, err)) ||
        (status = nas_arch_from_json(&arch, json, path, err)) ||
        (nas_space__is_net_config(json) && (status = read_run_config(arch, path, err))))
        goto done;
    if (arch->name[0] == '\0')
        name_after(arch->name, path);
    *out = arch;
    arch = NULL;

done:
    if (status == NAS_E_IO || status == NAS_E_DATA)
        nas_path_hint(path, "an architecture is a JSON file: nas search ends with one, nas space "
                      "sample SPACE --out FILE draws one", err);
    nas_arch_free(arch);
    json_decref(json);
    return status;
}

nas_status nas_arch_save(const nas_arch *arch, const char *path, nas_err *err)
{
    json_t *json = nas_arch_to_json(arch);
    const nas_status status = json ? nas_json_save(json, path, err)
                                   : nas_fail(err, NAS_E_NOMEM, "%s: no memory", path);

    json_decref(json);
    return status;
}
