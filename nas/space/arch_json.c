/* An architecture as our own JSON (docs/reference/arch.md), and its digest. */
#include <string.h>

#include "base/json.h"
#include "nas/space/arch.h"
#include "nas/space/net_config.h"
#include "nas/space/op_json.h"

static const char *const format = "onepath.architecture";
static const char *const own_members[] = {"blocks", NULL};
static const char *const block_members[] = {"shortcut", "stage", NULL};

static nas_status read_block(nas_block_spec *block, const json_t *json, const char *where, int in,
                             nas_err *err)
{
    int64_t stage = -1;
    nas_status status;

    if ((status = nas_space__op_read(&block->op, json, where, in, block_members, err)) ||
        (status = nas_json_bool(json, where, "shortcut", false, &block->shortcut, err)) ||
        (status = nas_json_int(json, where, "stage", false, -1, NAS_MAX_BLOCKS, &stage, err)))
        return status;
    block->stage = (int)stage;
    return NAS_OK;
}

static nas_status read_own(nas_arch **out, const json_t *json, const char *where, nas_err *err)
{
    const json_t *blocks = json_object_get(json, "blocks");
    nas_space__head head;
    nas_status status;

    if ((status = nas_space__members(json, where, nas_space__head_members, own_members, err)) ||
        (status = nas_space__head_read(&head, json, where, format, err)))
        return status;
    if (!json_is_array(blocks) || json_array_size(blocks) < 1 ||
        json_array_size(blocks) > NAS_MAX_BLOCKS)
        return nas_fail(err, NAS_E_DATA, "%s.blocks: must be a list of 1 to %d blocks", where,
                        NAS_MAX_BLOCKS);

    nas_arch *arch = nas_arch_new((int)json_array_size(blocks), err);
    if (arch == NULL)
        return NAS_E_NOMEM;
    *out = arch;
    if (head.name != NULL)
        strcpy(arch->name, head.name);
    arch->image_size = head.image_size;
    arch->channels = head.channels;
    arch->classes = head.classes;
    arch->bn_momentum = head.bn_momentum;
    arch->bn_eps = head.bn_eps;
    for (int i = 0, in = head.channels; i < arch->count && status == NAS_OK; i++) {
        char inside[NAS_WHERE_SIZE];

        nas_space__where(inside, "%s: blocks[%d]", where, i);
        status = read_block(&arch->blocks[i], json_array_get(blocks, (size_t)i), inside, in, err);
        in = arch->blocks[i].op.out;
    }
    return status;
}

nas_status nas_arch_from_json(nas_arch **out, const json_t *json, const char *where, nas_err *err)
{
    nas_arch *arch = NULL;
    nas_status status = nas_space__is_net_config(json)
                            ? nas_space__net_config_read(&arch, json, where, err)
                            : read_own(&arch, json, where, err);

    *out = NULL;
    if (status == NAS_OK && (status = nas_arch_check(arch, err)))
        nas_err_prefix(err, "%s", where);
    if (status != NAS_OK) {
        nas_arch_free(arch);
        return status;
    }
    *out = arch;
    return NAS_OK;
}

static json_t *write_block(const nas_block_spec *block)
{
    json_t *json = nas_space__op_write(&block->op);

    if (json_object_set_new(json, "shortcut", json_boolean(block->shortcut)) |
        json_object_set_new(json, "stage", json_integer(block->stage))) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *nas_arch_to_json(const nas_arch *arch)
{
    const nas_space__head head = {.name = arch->name, .image_size = arch->image_size,
                                  .channels = arch->channels, .classes = arch->classes,
                                  .bn_momentum = arch->bn_momentum, .bn_eps = arch->bn_eps};
    json_t *json = nas_space__head_write(&head, format), *blocks = json_array();
    int failed = 0;

    for (int i = 0; i < arch->count; i++)
        failed |= json_array_append_new(blocks, write_block(&arch->blocks[i]));
    if (json_object_set_new(json, "blocks", blocks) | failed) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* What does not change the network is left out: names, stages, skipped blocks, and
 * how an expand ratio was written. */
nas_status nas_arch_digest(const nas_arch *arch, char out[NAS_DIGEST_SIZE], nas_err *err)
{
    nas_arch *plain = nas_arch_copy(arch, err);
    int count = 0;

    if (plain == NULL)
        return NAS_E_NOMEM;
    plain->name[0] = '\0';
    for (int i = 0; i < arch->count; i++) {
        nas_block_spec block = arch->blocks[i];

        if (block.op.type == NAS_OP_ZERO && block.shortcut)
            continue;
        block.stage = -1;
        if (block.op.type == NAS_OP_MBCONV && block.op.expand != 1.0f)
            block.op.expand = 0.0f;
        plain->blocks[count++] = block;
    }
    plain->count = count;

    const nas_status status = nas_space__digest(nas_arch_to_json(plain), out, err);
    nas_arch_free(plain);
    return status;
}
