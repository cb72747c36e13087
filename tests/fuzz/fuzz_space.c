/* Any text as a space, an architecture or a net.config: never a crash, and what is
 * accepted can be written, read back and counted. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "nas/space/space.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_space(const json_t *json)
{
    int choice[NAS_MAX_SLOTS];
    int64_t min, max;
    char *decimal = NULL;
    nas_arch *arch = NULL;
    nas_space *space;
    nas_rng rng;

    if (nas_space_from_json(&space, json, "input", NULL) != NAS_OK)
        return;
    nas_rng_init(&rng, 1, "fuzz", 0);
    nas_space_sample(space, &rng, choice);
    assert(nas_space_valid(space, choice));
    assert(nas_space_arch(&arch, space, choice, NULL) == NAS_OK);
    assert(nas_arch_check(arch, NULL) == NAS_OK);
    assert(nas_space_count(space, &decimal, NULL, NULL) == NAS_OK);
    nas_space_macs_range(space, 0, &min, &max);
    assert(min >= 0 && min <= nas_arch_cost(arch, 0).macs && nas_arch_cost(arch, 0).macs <= max);
    nas_space_fit(space, 64, 3, 10, NULL);
    free(decimal);
    nas_arch_free(arch);
    nas_space_free(space);
}

static void use_arch(const json_t *json)
{
    char before[NAS_DIGEST_SIZE], after[NAS_DIGEST_SIZE];
    json_t *text, *config = NULL;
    nas_arch *arch, *again;

    if (nas_arch_from_json(&arch, json, "input", NULL) != NAS_OK)
        return;
    text = nas_arch_to_json(arch);
    assert(nas_arch_from_json(&again, text, "again", NULL) == NAS_OK);
    assert(nas_arch_digest(arch, before, NULL) == NAS_OK);
    assert(nas_arch_digest(again, after, NULL) == NAS_OK);
    assert(strcmp(before, after) == 0);
    assert(nas_arch_cost(arch, 0).macs >= 0);
    if (nas_arch_to_net_config(&config, arch, NULL) == NAS_OK) {
        nas_arch *third;

        assert(nas_arch_from_json(&third, config, "config", NULL) == NAS_OK);
        assert(nas_arch_cost(third, arch->image_size).macs == nas_arch_cost(arch, 0).macs);
        nas_arch_free(third);
    }
    json_decref(config);
    json_decref(text);
    nas_arch_free(again);
    nas_arch_free(arch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json;

    if (nas_json_parse(&json, (const char *)data, size, "input", NULL) != NAS_OK)
        return 0;
    use_space(json);
    use_arch(json);
    json_decref(json);
    return 0;
}
