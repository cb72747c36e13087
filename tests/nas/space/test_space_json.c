/* Spaces as JSON: round trips, the example, and texts that are wrong. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "nas/space/space.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

TestSuite(nas_space_json, .init = scratch_init, .fini = scratch_fini);

static nas_err err;

static const char *const small =
    "{\"name\": \"small\", \"image_size\": 16, \"channels\": 3, \"classes\": 5,"
    " \"min_depth\": 0, \"resolutions\": [12, 16], \"layers\": ["
    "{\"op\": \"conv\", \"out\": 8, \"kernel\": 3},"
    "{\"blocks\": 3, \"width\": 16, \"stride\": 2, \"kernel\": [3, 5], \"expand\": [3, 6]},"
    "{\"candidates\": [{\"op\": \"max_pool\", \"kernel\": 3}, {\"op\": \"zero\"}],"
    " \"shortcut\": true, \"stage\": 1},"
    "{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 5}]}";

static nas_space *read_text(const char *text)
{
    nas_space *space;
    json_t *json;

    REQUIRE_OK(nas_json_parse(&json, text, strlen(text), "space.json", &err));
    REQUIRE_OK(nas_space_from_json(&space, json, "space.json", &err));
    json_decref(json);
    return space;
}

static void expect_refused(const char *piece, const char *by, nas_status status, const char *reason)
{
    const char *at = strstr(small, piece);
    nas_space *space;
    char text[4096];
    json_t *json;

    cr_assert_not_null(at, "%s", piece);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - small), small, by, at + strlen(piece));
    REQUIRE_OK(nas_json_parse(&json, text, strlen(text), "space.json", &err));
    cr_assert_eq(nas_space_from_json(&space, json, "space.json", &err), status, "%s: %s", by,
                 err.message);
    cr_assert_null(space);
    cr_assert_eq(strncmp(err.message, "space.json", 10), 0, "%s", err.message);
    cr_assert_not_null(strstr(err.message, reason), "%s", err.message);
    json_decref(json);
}

Test(nas_space_json, stages_become_slots)
{
    nas_space *space = read_text(small);

    cr_assert_eq(space->count, 7);
    cr_assert_eq(space->slots[1].count, 4);
    cr_assert_eq(space->slots[1].candidates[0].in, 8);
    cr_assert_eq(space->slots[1].candidates[0].stride, 2);
    cr_assert_eq(space->slots[1].candidates[3].mid, 48);
    cr_assert_not(space->slots[1].shortcut);
    cr_assert_eq(space->slots[2].count, 5);
    cr_assert(space->slots[2].shortcut && nas_slot_has_zero(&space->slots[2]));
    cr_assert_eq(space->slots[2].candidates[0].act, NAS_ACT_RELU6);
    cr_assert_eq(space->slots[3].stage, 0);
    cr_assert_eq(space->slots[4].stage, 1);
    cr_assert_eq(space->slots[4].candidates[0].in, 16);
    cr_assert_eq(space->slots[5].stage, -1);
    cr_assert_eq(space->resolutions, 2);
    nas_space_free(space);
}

/* Two spaces whose JSON is the same. */
static void expect_same(const nas_space *a, const nas_space *b)
{
    json_t *ja = nas_space_to_json(a), *jb = nas_space_to_json(b);

    cr_assert(json_equal(ja, jb), "%s", a->name);
    json_decref(ja);
    json_decref(jb);
}

Test(nas_space_json, every_built_in_space_survives_a_round_trip)
{
    const char *path = scratch("space.json");

    for (const char *const *name = nas_space_names(); *name != NULL; name++) {
        nas_space *space, *again;
        char a[NAS_DIGEST_SIZE], b[NAS_DIGEST_SIZE];

        REQUIRE_OK(nas_space_load(&space, *name, &err));
        json_t *json = nas_space_to_json(space);
        REQUIRE_OK(nas_json_save(json, path, &err));
        json_decref(json);
        REQUIRE_OK(nas_space_load(&again, path, &err));
        expect_same(space, again);
        for (int i = 0; i < space->count; i++)
            cr_assert_eq(memcmp(space->slots[i].candidates, again->slots[i].candidates,
                                (size_t)space->slots[i].count * sizeof(nas_op_spec)), 0);
        REQUIRE_OK(nas_space_digest(space, a, &err));
        strcpy(again->name, "renamed");
        REQUIRE_OK(nas_space_digest(again, b, &err));
        cr_assert_str_eq(a, b);
        again->slots[4].candidates[0].kernel += 2;
        REQUIRE_OK(nas_space_digest(again, b, &err));
        cr_assert_str_neq(a, b);
        nas_space_free(space);
        nas_space_free(again);
    }
}

Test(nas_space_json, the_example_is_a_space)
{
    nas_space *space;
    char *decimal;

    REQUIRE_OK(nas_space_load(&space, NAS_SOURCE_DIR "/examples/spaces/my-space.json", &err));
    REQUIRE_OK(nas_space_count(space, &decimal, NULL, &err));
    cr_assert_str_eq(decimal, "3600"); /* 4 * 5 * 5, 3 * 3, 4 */
    free(decimal);
    nas_space_free(space);
}

Test(nas_space_json, resolutions_may_be_a_range)
{
    nas_space *space = read_text("{\"image_size\": 8, \"classes\": 2, \"resolutions\": "
                                 "{\"from\": 4, \"to\": 9, \"step\": 2}, \"layers\": ["
                                 "{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 2}]}");

    cr_assert_eq(space->resolutions, 3);
    cr_assert_eq(space->resolution[2], 8);
    nas_space_free(space);
    expect_refused("[12, 16]", "{\"from\": 1, \"to\": 65, \"step\": 1}", NAS_E_DATA,
                   "more than 64");
    expect_refused("[12, 16]", "{\"from\": 9, \"to\": 8, \"step\": 1}", NAS_E_DATA,
                   "resolutions.to");
    expect_refused("[12, 16]", "[12, 4097]", NAS_E_DATA, "resolutions[1]");
    expect_refused("[12, 16]", "12", NAS_E_DATA, "resolutions");
}

Test(nas_space_json, wrong_members_are_refused_by_name)
{
    expect_refused("\"layers\"", "\"layer\"", NAS_E_DATA, "\"layer\"");
    cr_assert_str_eq(err.hint, "did you mean \"layers\"?");
    expect_refused("\"image_size\": 16,", "", NAS_E_DATA, "image_size");
    expect_refused("\"channels\": 3", "\"channels\": 1e9", NAS_E_DATA, "channels");
    expect_refused("\"min_depth\": 0", "\"min_depth\": -1", NAS_E_DATA, "min_depth");
    expect_refused("\"blocks\": 3", "\"blocks\": 257", NAS_E_DATA, "layers[1].blocks");
    expect_refused("\"blocks\": 3", "\"blocks\": 253", NAS_E_CONFIG, "more than 256 slots");
    expect_refused("\"blocks\": 3", "\"blocks\": \"3\"", NAS_E_DATA, "layers[1].blocks");
    expect_refused("\"blocks\": 3, ", "", NAS_E_DATA, "layers[1]: needs");
    expect_refused("\"width\": 16", "\"width\": 65537", NAS_E_DATA, "layers[1].width");
    expect_refused("\"stride\": 2", "\"stried\": 2", NAS_E_DATA, "\"stried\"");
    expect_refused("[3, 5]", "[]", NAS_E_DATA, "layers[1].kernel");
    expect_refused("[3, 5]", "[3, \"5\"]", NAS_E_DATA, "layers[1].kernel[1]");
    expect_refused("[3, 5]", "[3, 5.5]", NAS_E_DATA, "layers[1].kernel[1]");
    expect_refused("[3, 5]", "[3, 4]", NAS_E_CONFIG, "candidate 2: mbconv: kernel is 4");
    expect_refused("[3, 5]", "[1,1,1,1,1,1,1,1,1]", NAS_E_DATA, "layers[1].kernel");
    expect_refused("[3, 6]", "[3, -6]", NAS_E_DATA, "layers[1].expand[1]");
    expect_refused("[3, 6]", "[3, 1024.5]", NAS_E_DATA, "layers[1].expand[1]");
    expect_refused("\"expand\": [3, 6]", "\"expand\": 3, \"act\": \"selu\"", NAS_E_DATA,
                   "layers[1]: unknown activation");
    expect_refused("{\"op\": \"zero\"}", "{\"op\": \"nought\"}", NAS_E_DATA,
                   "layers[2].candidates[1]");
    expect_refused("\"candidates\": [{\"op\": \"max_pool\", \"kernel\": 3}, {\"op\": \"zero\"}]",
                   "\"candidates\": []", NAS_E_DATA, "layers[2].candidates");
    expect_refused("\"shortcut\": true", "\"shortcut\": 1", NAS_E_DATA, "layers[2].shortcut");
    expect_refused("{\"op\": \"conv\", \"out\": 8, \"kernel\": 3}", "[]", NAS_E_DATA, "layers[0]");
}

Test(nas_space_json, spaces_that_make_no_sense_are_refused)
{
    expect_refused("{\"op\": \"max_pool\", \"kernel\": 3}",
                   "{\"op\": \"max_pool\", \"kernel\": 3, \"stride\": 2}", NAS_E_CONFIG,
                   "slot 4: candidate 1");
    expect_refused("{\"op\": \"max_pool\", \"kernel\": 3}",
                   "{\"op\": \"conv\", \"out\": 24, \"kernel\": 3}", NAS_E_CONFIG, "slot 4");
    expect_refused("{\"op\": \"zero\"}]", "{\"op\": \"zero\"}, {\"op\": \"identity\"}]",
                   NAS_E_CONFIG, "zero must be the last");
    expect_refused("\"shortcut\": true", "\"shortcut\": false", NAS_E_CONFIG, "with a shortcut");
    expect_refused("\"stage\": 1", "\"stage\": -1, \"stage2\": 0", NAS_E_DATA, "stage2");
    expect_refused("\"min_depth\": 0", "\"min_depth\": 1", NAS_E_CONFIG,
                   "slot 4: cannot be skipped");
    expect_refused("{\"op\": \"mean_pool\"}", "{\"op\": \"mean_pool\", \"stage\": 0}", NAS_E_CONFIG,
                   "slot 5: stage 0");
    expect_refused("{\"op\": \"mean_pool\"}, ", "", NAS_E_CONFIG, "linear needs a 1x1");
    expect_refused("\"classes\": 5", "\"classes\": 6", NAS_E_CONFIG, "6 outputs");
}

Test(nas_space_json, every_truncation_is_an_error_and_nothing_crashes)
{
    for (size_t size = 0; size < strlen(small); size++) {
        json_t *json;

        cr_assert_eq(nas_json_parse(&json, small, size, "cut", &err), NAS_E_DATA);
    }
}

Test(nas_space_json, values_of_every_wrong_type_are_refused)
{
    static const char *const values[] = {"null", "[]", "{}", "\"x\"", "-1", "1e300", "true",
                                         "[[[[[[[[1]]]]]]]]"};

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        json_t *json, *value, *member;
        void *next;
        const char *key;
        nas_space *space;

        REQUIRE_OK(nas_json_parse(&json, small, strlen(small), "x", &err));
        value = json_loads(values[i], JSON_DECODE_ANY, NULL);
        json_object_foreach_safe(json, next, key, member) {
            const bool list = i == 1 && strcmp(key, "resolutions") == 0; /* none: allowed */
            json_t *changed = json_deep_copy(json);
            json_object_set(changed, key, value);
            const bool text = i == 3 && strcmp(key, "name") == 0;
            const bool ok = nas_space_from_json(&space, changed, "x", &err) == NAS_OK;

            cr_assert_eq(ok, list || text, "%s = %s", key, values[i]);
            nas_space_free(space);
            json_decref(changed);
        }
        json_decref(value);
        json_decref(json);
    }
}

Test(nas_space_json, names_and_paths_that_lead_nowhere_are_told_apart)
{
    nas_space *space;

    cr_assert_eq(nas_space_load(&space, "proxyles-cifar", &err), NAS_E_CONFIG);
    cr_assert_str_eq(err.hint, "did you mean \"proxyless-cifar\"?", "%s", err.hint);
    cr_assert_eq(nas_space_load(&space, "./none.json", &err), NAS_E_IO);
    cr_assert_null(space);
}
