/* Architectures: checks, own JSON, digests. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/json.h"
#include "nas/space/space.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

TestSuite(nas_arch, .init = scratch_init, .fini = scratch_fini);

static nas_err err;

/* 4 px: stem, a block with a shortcut, a skipped one, pool, classifier. */
static const char *const small =
    "{\"name\": \"small\", \"image_size\": 4, \"channels\": 1, \"classes\": 3, \"blocks\": ["
    "{\"op\": \"conv\", \"out\": 8, \"kernel\": 3, \"stride\": 2, \"act\": \"relu\"},"
    "{\"op\": \"mbconv\", \"out\": 8, \"kernel\": 5, \"expand\": 2.5, \"se\": 4,"
    " \"act\": \"h_swish\", \"shortcut\": true, \"stage\": 0},"
    "{\"op\": \"zero\", \"shortcut\": true, \"stage\": 0},"
    "{\"op\": \"mean_pool\"}, {\"op\": \"linear\", \"out\": 3, \"dropout\": 0.1}]}";

static nas_arch *read_text(const char *text)
{
    nas_arch *arch = NULL;
    json_t *json;

    REQUIRE_OK(nas_json_parse(&json, text, strlen(text), "arch.json", &err));
    REQUIRE_OK(nas_arch_from_json(&arch, json, "arch.json", &err));
    json_decref(json);
    return arch;
}

/* `small` with one piece of its text replaced: refused, and the message names the place. */
static void expect_refused(const char *piece, const char *by, nas_status status, const char *reason)
{
    const char *at = strstr(small, piece);
    nas_arch *arch = NULL;
    char text[2048];
    json_t *json;

    cr_assert_not_null(at, "%s", piece);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - small), small, by, at + strlen(piece));
    REQUIRE_OK(nas_json_parse(&json, text, strlen(text), "arch.json", &err));
    cr_assert_eq(nas_arch_from_json(&arch, json, "arch.json", &err), status, "%s: %s", by,
                 err.message);
    cr_assert_null(arch);
    cr_assert_eq(strncmp(err.message, "arch.json", 9), 0, "%s", err.message);
    cr_assert_not_null(strstr(err.message, reason), "%s", err.message);
    json_decref(json);
}

Test(nas_arch, own_json_fills_what_follows_from_the_rest)
{
    nas_arch *arch = read_text(small);
    const nas_op_spec *mbconv = &arch->blocks[1].op;

    cr_assert_str_eq(arch->name, "small");
    cr_assert_eq(arch->count, 5);
    cr_assert_eq(arch->blocks[0].op.in, 1);
    cr_assert(arch->blocks[0].op.bn && !arch->blocks[0].op.bias);
    cr_assert_eq(mbconv->in, 8);
    cr_assert_eq(mbconv->mid, 20);
    cr_assert_eq(mbconv->stride, 1);
    cr_assert(arch->blocks[1].shortcut && !arch->blocks[0].shortcut);
    cr_assert_eq(arch->blocks[2].op.out, 8);
    cr_assert_eq(arch->blocks[2].stage, 0);
    cr_assert_eq(arch->blocks[4].stage, -1);
    cr_assert(arch->blocks[4].op.bias);
    cr_assert_eq(arch->blocks[4].op.dropout, 0.1f);
    cr_assert_eq(arch->bn_eps, 1e-3f);
    /* 2x2: 9*8*4, then 8*20*4 + 20*25*4 + 2*20*4 + 20*8*4, then 8*3 */
    cr_assert_eq(nas_arch_cost(arch, 0).macs, 288 + 640 + 2000 + 160 + 640 + 24);
    nas_arch_free(arch);
}

Test(nas_arch, saving_and_loading_keeps_every_field)
{
    nas_arch *arch = read_text(small), *again;
    const char *path = scratch("small.json");

    arch->bn_eps = 1e-5f;
    arch->bn_momentum = 0.123456789f; /* needs all nine digits */
    arch->blocks[4].op.dropout = 0.3f;
    REQUIRE_OK(nas_arch_save(arch, path, &err));
    REQUIRE_OK(nas_arch_load(&again, path, &err));
    cr_assert_eq(memcmp(arch->blocks, again->blocks, sizeof *arch->blocks * 5), 0);
    cr_assert_str_eq(again->name, arch->name);
    cr_assert_eq(again->image_size, 4);
    cr_assert_eq(again->channels, 1);
    cr_assert_eq(again->classes, 3);
    cr_assert_eq(again->bn_eps, 1e-5f);
    cr_assert_eq(again->bn_momentum, 0.123456789f);
    nas_arch_free(arch);
    nas_arch_free(again);
}

Test(nas_arch, a_copy_stands_alone)
{
    nas_arch *arch = read_text(small), *copy = nas_arch_copy(arch, &err);

    nas_arch_free(arch);
    REQUIRE_OK(nas_arch_check(copy, &err));
    cr_assert_str_eq(copy->name, "small");
    nas_arch_free(copy);
}

Test(nas_arch, the_digest_is_of_the_network_not_of_how_it_is_written)
{
    nas_arch *arch = read_text(small), *other = read_text(small);
    char a[NAS_DIGEST_SIZE], b[NAS_DIGEST_SIZE];

    strcpy(other->name, "renamed");
    other->blocks[1].stage = 7;
    other->blocks[1].op.expand = 2.51f;
    memmove(&other->blocks[2], &other->blocks[3], 2 * sizeof *other->blocks); /* no zero */
    other->count = 4;
    REQUIRE_OK(nas_arch_digest(arch, a, &err));
    REQUIRE_OK(nas_arch_digest(other, b, &err));
    cr_assert_str_eq(a, b);
    other->blocks[1].op.se = 8;
    REQUIRE_OK(nas_arch_digest(other, b, &err));
    cr_assert_str_neq(a, b);
    nas_arch_free(arch);
    nas_arch_free(other);
}

Test(nas_arch, wrong_members_are_refused_by_name)
{
    expect_refused("\"image_size\": 4,", "", NAS_E_DATA, "image_size");
    expect_refused("\"image_size\": 4", "\"image_size\": 4097", NAS_E_DATA, "image_size");
    expect_refused("\"image_size\": 4", "\"image_size\": \"4\"", NAS_E_DATA, "image_size");
    expect_refused("\"classes\": 3", "\"classes\": -3", NAS_E_DATA, "classes");
    expect_refused("\"name\": \"small\"", "\"nmae\": \"small\"", NAS_E_DATA, "\"nmae\"");
    cr_assert_str_eq(err.hint, "did you mean \"name\"?");
    expect_refused("\"name\": \"small\"", "\"format\": \"onepath.space\"", NAS_E_DATA,
                   "onepath.space");
    expect_refused("\"name\": \"small\"", "\"version\": 2", NAS_E_DATA, "newer");
    expect_refused("\"small\"",
                   "\"0123456789012345678901234567890123456789012345678901234567890123\"",
                   NAS_E_DATA, "name");
    expect_refused("\"blocks\"", "\"bn\": {\"eps\": -1}, \"blocks\"", NAS_E_DATA, "bn.eps");
    expect_refused("\"op\": \"conv\"", "\"op\": \"konv\"", NAS_E_DATA, "blocks[0]");
    cr_assert_str_eq(err.hint, "did you mean \"conv\"?");
    expect_refused("\"conv\", \"out\": 8", "\"conv\", \"out\": 0", NAS_E_DATA,
                   "blocks[0].out: must be at least 1");
    expect_refused("\"op\": \"conv\", ", "", NAS_E_DATA, "blocks[0].op");
    expect_refused("\"kernel\": 5", "\"kernel\": 5.5", NAS_E_DATA, "blocks[1].kernel");
    expect_refused("\"kernel\": 5", "\"kernel\": 1e30", NAS_E_DATA, "blocks[1].kernel");
    expect_refused("\"kernel\": 5, ", "", NAS_E_DATA, "blocks[1].kernel");
    expect_refused("\"expand\": 2.5, ", "", NAS_E_DATA, "\"expand\" or \"mid\"");
    expect_refused("\"expand\": 2.5", "\"expand\": 999999", NAS_E_CONFIG, "blocks[1]: mbconv: mid");
    expect_refused("\"act\": \"h_swish\"", "\"act\": \"gelu\"", NAS_E_DATA, "gelu");
    expect_refused("\"se\": 4", "\"se\": true", NAS_E_DATA, "blocks[1].se");
    expect_refused("\"op\": \"zero\"", "\"op\": \"zero\", \"kernel\": 3", NAS_E_DATA, "\"kernel\"");
    expect_refused("{\"op\": \"mean_pool\"}", "7", NAS_E_DATA, "blocks[3]: must be an object");
}

Test(nas_arch, blocks_that_do_not_fit_together_are_refused_by_number)
{
    expect_refused("\"op\": \"zero\", ", "\"op\": \"zero\", \"in\": 9, \"out\": 9, ", NAS_E_CONFIG,
                   "block 2: takes 9 channels, but 8 reach it");
    expect_refused("{\"op\": \"zero\", \"shortcut\": true", "{\"op\": \"zero\"", NAS_E_CONFIG,
                   "block 2: zero without a shortcut");
    expect_refused("\"expand\": 2.5", "\"expand\": 2.5, \"stride\": 2", NAS_E_CONFIG,
                   "block 1: a shortcut needs");
    expect_refused("{\"op\": \"mean_pool\"}, ", "", NAS_E_CONFIG, "block 3: linear needs a 1x1");
    expect_refused(", {\"op\": \"linear\", \"out\": 3, \"dropout\": 0.1}", "", NAS_E_CONFIG,
                   "the last block must be linear");
    expect_refused("\"classes\": 3", "\"classes\": 4", NAS_E_CONFIG, "linear with 4 outputs");
}

Test(nas_arch, too_many_blocks_or_none_are_refused)
{
    json_t *json = json_pack("{s:i, s:i, s:[]}", "image_size", 4, "classes", 3, "blocks");
    nas_arch *arch;

    cr_assert_eq(nas_arch_from_json(&arch, json, "x", &err), NAS_E_DATA);
    for (int i = 0; i < 257; i++)
        json_array_append_new(json_object_get(json, "blocks"),
                              json_pack("{s:s}", "op", "identity"));
    cr_assert_eq(nas_arch_from_json(&arch, json, "x", &err), NAS_E_DATA);
    cr_assert_not_null(strstr(err.message, "x.blocks"));
    json_decref(json);
}

Test(nas_arch, a_missing_file_is_an_io_error)
{
    nas_arch *arch;

    cr_assert_eq(nas_arch_load(&arch, scratch("none.json"), &err), NAS_E_IO);
    cr_assert_null(arch);
}
