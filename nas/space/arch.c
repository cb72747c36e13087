/* An architecture's life, check, cost, files and digest. */
#include "nas/space/arch.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "nas/space/net_config.h"

nas_arch *nas_arch_new(int count, nas_err *err)
{
    nas_arch *arch = calloc(1, sizeof *arch);
    nas_block_spec *blocks = calloc((size_t)(count > 0 ? count : 1), sizeof *blocks);

    if (arch == NULL || blocks == NULL) {
        nas_fail(err, NAS_E_NOMEM, "no memory for an architecture of %d blocks", count);
        free(arch);
        free(blocks);
        return NULL;
    }
    arch->count = count;
    arch->blocks = blocks;
    return arch;
}

nas_arch *nas_arch_copy(const nas_arch *arch, nas_err *err)
{
    nas_arch *copy = nas_arch_new(arch->count, err);

    if (copy != NULL) {
        nas_block_spec *blocks = copy->blocks;

        *copy = *arch;
        copy->blocks = blocks;
        memcpy(blocks, arch->blocks, (size_t)arch->count * sizeof *blocks);
    }
    return copy;
}

void nas_arch_free(nas_arch *arch)
{
    if (arch != NULL)
        free(arch->blocks);
    free(arch);
}

/* One block where `channels` at side x side reach it; both become those behind it. */
static nas_status check_block(const nas_block_spec *block, int *channels, int *side, nas_err *err)
{
    const nas_op_spec *op = &block->op;
    const nas_status status = nas_op_check(op, err);

    if (status != NAS_OK)
        return status;
    if (op->in != *channels)
        return nas_fail(err, NAS_E_CONFIG, "takes %d channels, but %d reach it", op->in, *channels);
    if (op->type == NAS_OP_LINEAR && *side != 1)
        return nas_fail(err, NAS_E_CONFIG, "linear needs a 1x1 image, a mean_pool before it");
    if (op->type == NAS_OP_ZERO && !block->shortcut)
        return nas_fail(err, NAS_E_CONFIG, "zero without a shortcut cuts the network");

    const int side_out = nas_op_cost_at(op, *side, *side).out_h;
    if (block->shortcut && (op->in != op->out || op->stride > 1 || side_out != *side))
        return nas_fail(err, NAS_E_CONFIG, "a shortcut needs the same channels and stride 1");
    *channels = op->out;
    *side = side_out;
    return NAS_OK;
}

nas_status nas_arch_check(const nas_arch *arch, nas_err *err)
{
    int channels = arch->channels, side = arch->image_size;

    if (arch->count < 1 || arch->count > NAS_MAX_BLOCKS)
        return nas_fail(err, NAS_E_CONFIG, "%d blocks, must be between 1 and %d", arch->count,
                        NAS_MAX_BLOCKS);
    if (side < 1 || side > NAS_MAX_IMAGE_SIZE)
        return nas_fail(err, NAS_E_CONFIG, "image_size is %d, must be between 1 and %d", side,
                        NAS_MAX_IMAGE_SIZE);
    for (int i = 0; i < arch->count; i++) {
        const nas_status status = check_block(&arch->blocks[i], &channels, &side, err);

        if (status != NAS_OK) {
            nas_err_prefix(err, "block %d", i);
            return status;
        }
    }
    if (arch->blocks[arch->count - 1].op.type != NAS_OP_LINEAR || channels != arch->classes)
        return nas_fail(err, NAS_E_CONFIG, "the last block must be linear with %d outputs",
                        arch->classes);
    return NAS_OK;
}

nas_op_cost nas_arch_cost(const nas_arch *arch, int image_size)
{
    const int side = image_size ? image_size : arch->image_size;
    nas_op_cost sum = {.out_h = side, .out_w = side};

    for (int i = 0; i < arch->count; i++) {
        const nas_op_cost cost = nas_op_cost_at(&arch->blocks[i].op, sum.out_h, sum.out_w);

        sum.macs += cost.macs;
        sum.parameters += cost.parameters;
        sum.out_h = cost.out_h;
        sum.out_w = cost.out_w;
    }
    return sum;
}

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
