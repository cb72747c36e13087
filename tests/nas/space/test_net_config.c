/* net.config of ProxylessNAS and Once-for-All, read and written. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "nas/space/space.h"
#include "tests/latency/published.h"
#include "tests/support/scratch.h"

TestSuite(nas_net_config, .init = scratch_init, .fini = scratch_fini);

static nas_err err;

#define CONV(in, out, more) \
    "{\"name\": \"ConvLayer\", \"kernel_size\": 1, \"in_channels\": " #in \
    ", \"out_channels\": " #out more "}"
#define MBCONV(in, out, more) \
    "{\"name\": \"MBInvertedConvLayer\", \"in_channels\": " #in ", \"out_channels\": " #out \
    ", \"kernel_size\": 5, \"stride\": 1, " more "}"
#define IDENTITY "{\"name\": \"IdentityLayer\", \"in_channels\": [8], \"out_channels\": [8]}"

static const char *const small =
    "{\"name\": \"ProxylessNASNets\", \"bn\": {\"momentum\": 0.1, \"eps\": 0.001},"
    "\"first_conv\": " CONV(3, 8, ", \"act_func\": \"relu6\", \"stride\": 2") ","
    "\"blocks\": ["
    "{\"name\": \"MobileInvertedResidualBlock\", \"mobile_inverted_conv\": "
    MBCONV(8, 8, "\"expand_ratio\": 1") ", \"shortcut\": null},"
    "{\"conv\": " MBCONV(8, 8, "\"expand_ratio\": 2.5, \"mid_channels\": null") ","
    " \"shortcut\": " IDENTITY "},"
    "{\"conv\": {\"name\": \"ZeroLayer\", \"stride\": 1}, \"shortcut\": null},"
    "{\"conv\": " MBCONV(8, 16, "\"expand_ratio\": 3, \"mid_channels\": 32, \"use_se\": true") ","
    " \"shortcut\": null}],"
    "\"feature_mix_layer\": " CONV(16, 32, ", \"act_func\": null") ","
    "\"classifier\": {\"name\": \"LinearLayer\", \"in_features\": 32, \"out_features\": 10,"
    " \"dropout_rate\": 0.2, \"act_func\": null}}";

static nas_status read_text(nas_arch **arch, const char *text)
{
    nas_status status;
    json_t *json;

    REQUIRE_OK(nas_json_parse(&json, text, strlen(text), "net.config", &err));
    status = nas_arch_from_json(arch, json, "net.config", &err);
    json_decref(json);
    return status;
}

static void expect_refused(const char *piece, const char *by, nas_status status, const char *reason)
{
    const char *at = strstr(small, piece);
    nas_arch *arch;
    char text[4096];

    cr_assert_not_null(at, "%s", piece);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - small), small, by, at + strlen(piece));
    cr_assert_eq(read_text(&arch, text), status, "%s: %s", by, err.message);
    cr_assert_null(arch);
    cr_assert_eq(strncmp(err.message, "net.config", 10), 0, "%s", err.message);
    cr_assert_not_null(strstr(err.message, reason), "%s", err.message);
}

Test(nas_net_config, every_form_of_a_block_is_read)
{
    nas_arch *arch;

    REQUIRE_OK(read_text(&arch, small));
    cr_assert_eq(arch->count, 8);
    cr_assert_eq(arch->image_size, 224);
    cr_assert_eq(arch->classes, 10);
    const nas_block_spec *block = arch->blocks;
    cr_assert_eq(block[0].op.stride, 2);
    cr_assert_eq(block[1].op.mid, 8);
    cr_assert_eq(block[1].op.expand, 1.0f);
    cr_assert_eq(block[1].stage, -1);
    cr_assert_eq(block[2].op.mid, 20, "null: input times ratio");
    cr_assert_eq(block[2].op.act, NAS_ACT_RELU6);
    cr_assert(block[2].shortcut && !block[1].shortcut);
    cr_assert_eq(block[3].op.type, NAS_OP_ZERO);
    cr_assert(block[3].shortcut, "the original code skips such a block");
    cr_assert_eq(block[4].op.mid, 32);
    cr_assert_eq(block[4].op.se, 8);
    cr_assert_eq(block[4].stage, 0);
    cr_assert_eq(block[5].op.act, NAS_ACT_NONE);
    cr_assert_eq(block[6].op.type, NAS_OP_MEAN_POOL);
    cr_assert_eq(block[7].op.dropout, 0.2f);
    nas_arch_free(arch);
}

Test(nas_net_config, what_we_cannot_build_is_refused_by_name)
{
    expect_refused("ProxylessNASNets", "PyramidTreeNet", NAS_E_CONFIG, "PyramidTreeNet");
    expect_refused("\"stride\": 2", "\"stride\": 2, \"dilation\": 2", NAS_E_CONFIG, "first_conv");
    expect_refused("\"relu6\"", "\"tanh\"", NAS_E_CONFIG, "first_conv.act_func");
    expect_refused("\"relu6\"", "7", NAS_E_DATA, "first_conv.act_func");
    expect_refused("\"stride\": 2", "\"has_shuffle\": true", NAS_E_CONFIG, "has_shuffle");
    expect_refused("\"stride\": 2", "\"ops_order\": \"bn_act_weight\"", NAS_E_CONFIG, "ops_order");
    expect_refused("\"ZeroLayer\", \"stride\": 1", "\"ZeroLayer\", \"stride\": 2", NAS_E_CONFIG,
                   "blocks[2].conv.stride");
    expect_refused("\"IdentityLayer\"", "\"ConvLayer\"", NAS_E_CONFIG, "blocks[1].shortcut");
    expect_refused("MBInvertedConvLayer", "DilatedConv", NAS_E_CONFIG, "blocks[0]");
    expect_refused("\"expand_ratio\": 1", "\"expand\": 1", NAS_E_DATA, "expand_ratio");
    expect_refused("\"expand_ratio\": 1", "\"expand_ratio\": 1e308", NAS_E_DATA, "expand_ratio");
    expect_refused("\"mid_channels\": 32", "\"mid_channels\": -32", NAS_E_DATA, "mid_channels");
    expect_refused("\"mid_channels\": 32", "\"mid_channels\": 70000", NAS_E_CONFIG, "mid is 70000");
    expect_refused("\"classifier\"", "\"klassifier\"", NAS_E_DATA, "classifier");
    expect_refused("\"blocks\": [", "\"blocks\": 1, \"b\": [", NAS_E_DATA, "blocks");
    expect_refused("\"in_features\": 32", "\"in_features\": 33", NAS_E_CONFIG, "block 7");
}

/* Compact text of `arch` as our own JSON without the name. */
static char *text_of(const nas_arch *arch)
{
    json_t *json = nas_arch_to_json(arch);

    json_object_del(json, "name");
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

static void expect_round_trip(const nas_arch *arch, const char *name)
{
    const char *path = scratch("again.config");
    nas_arch *again;
    json_t *json;

    REQUIRE_OK(nas_arch_to_net_config(&json, arch, &err));
    cr_assert_str_eq(json_string_value(json_object_get(json, "name")), name);
    REQUIRE_OK(nas_json_save(json, path, &err));
    REQUIRE_OK(nas_arch_load(&again, path, &err));
    again->image_size = arch->image_size; /* is not in the format */

    char *before = text_of(arch), *after = text_of(again);
    cr_assert_str_eq(before, after);
    free(before);
    free(after);
    json_decref(json);
    nas_arch_free(again);
}

Test(nas_net_config, published_files_survive_a_round_trip)
{
    static const struct { const char *file, *name; } files[] = {
        {"proxyless/proxyless_mobile.config.json", "ProxylessNASNets"},
        {"proxyless/proxyless_cpu.config.json", "ProxylessNASNets"},
        {"proxyless/proxyless_gpu.config.json", "ProxylessNASNets"},
        {"proxyless/proxyless_mobile_14.config.json", "ProxylessNASNets"},
        {"ofa/note10_lat-30ms_top1-78.4_finetune-75/net.config.json", "MobileNetV3"},
        {"ofa/note10_lat-16ms_top1-75.5_finetune-25/net.config.json", "MobileNetV3"},
        {"ofa/flops-389M_top1-79.1_finetune-75/net.config.json", "MobileNetV3"},
        {"ofa/pixel1_lat-79ms_top1-78.7_finetune-75/net.config.json", "MobileNetV3"},
        {"ofa/cpu_lat-11ms_top1-72.0_finetune-25/net.config.json", "ProxylessNASNets"},
    };

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        nas_arch *arch;

        REQUIRE_OK(nas_arch_load(&arch, published(files[i].file), &err));
        expect_round_trip(arch, files[i].name);
        nas_arch_free(arch);
    }
}

Test(nas_net_config, plain_blocks_have_the_members_of_the_first_code_alone)
{
    nas_arch *arch;
    json_t *json, *published_json, *mine, *theirs;
    const char *path = published("proxyless/proxyless_mobile.config.json");
    size_t i;

    REQUIRE_OK(nas_arch_load(&arch, path, &err));
    cr_assert_str_eq(arch->name, "proxyless_mobile");
    REQUIRE_OK(nas_json_load(&published_json, path, &err));
    REQUIRE_OK(nas_arch_to_net_config(&json, arch, &err));
    mine = json_object_get(json, "blocks");
    json_array_foreach(json_object_get(published_json, "blocks"), i, theirs)
        cr_assert(json_equal(json_array_get(mine, i), theirs), "block %zu", i);
    cr_assert(json_equal(json_object_get(json, "first_conv"),
                         json_object_get(published_json, "first_conv")));
    json_decref(json);
    json_decref(published_json);
    nas_arch_free(arch);
}

Test(nas_net_config, sampled_networks_of_every_built_in_space_survive_a_round_trip)
{
    for (const char *const *name = nas_space_names(); *name != NULL; name++) {
        int choice[NAS_MAX_SLOTS];
        nas_space *space;
        nas_arch *arch;
        nas_rng rng;

        REQUIRE_OK(nas_space_load(&space, *name, &err));
        nas_rng_init(&rng, 1, "test", 0);
        nas_space_sample(space, &rng, choice);
        REQUIRE_OK(nas_space_arch(&arch, space, choice, &err));
        for (int i = 0, stage = -1; i < arch->count; i++) {
            /* the format has no stages: the reader puts one where a block has no shortcut */
            const bool searched = arch->blocks[i].op.type == NAS_OP_MBCONV ||
                                  arch->blocks[i].op.type == NAS_OP_ZERO;
            stage += searched && i > 1 && !arch->blocks[i].shortcut;
            arch->blocks[i].stage = searched ? stage : -1;
        }
        const bool mix = arch->blocks[arch->count - 2].op.type == NAS_OP_CONV;
        expect_round_trip(arch, mix ? "MobileNetV3" : "ProxylessNASNets");
        nas_arch_free(arch);
        nas_space_free(space);
    }
}

Test(nas_net_config, what_the_format_cannot_hold_is_refused)
{
    int choice[NAS_MAX_SLOTS] = {0};
    nas_space *space;
    nas_arch *arch;
    json_t *json;

    REQUIRE_OK(nas_space_load(&space, "ofa-mbv3-1.0", &err));
    REQUIRE_OK(nas_space_arch(&arch, space, choice, &err));
    arch->blocks[6].op.se += 8;
    cr_assert_eq(nas_arch_to_net_config(&json, arch, &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "block 6"), "%s", err.message);
    arch->blocks[6].op.se = 0;
    arch->blocks[3].op.type = NAS_OP_MAX_POOL;
    cr_assert_eq(nas_arch_to_net_config(&json, arch, &err), NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "block 3"), "%s", err.message);
    arch->count = 2;
    cr_assert_eq(nas_arch_to_net_config(&json, arch, &err), NAS_E_CONFIG);
    cr_assert_null(json);
    nas_arch_free(arch);
    nas_space_free(space);
}

Test(nas_net_config, image_size_and_name_come_from_the_folder)
{
    nas_arch *arch;
    char path[300];

    REQUIRE_OK(nas_dir_make(scratch("my net"), &err));
    snprintf(path, sizeof path, "%s/net.config", scratch("my net"));
    REQUIRE_OK(nas_file_write(path, small, strlen(small), &err));
    REQUIRE_OK(nas_arch_load(&arch, path, &err));
    cr_assert_eq(arch->image_size, 224);
    cr_assert_str_eq(arch->name, "my_net");
    nas_arch_free(arch);
    snprintf(path, sizeof path, "%s/run.config", scratch("my net"));
    REQUIRE_OK(nas_file_write(path, "{\"image_size\": 96}", 18, &err));
    snprintf(path, sizeof path, "%s/net.config", scratch("my net"));
    REQUIRE_OK(nas_arch_load(&arch, path, &err));
    cr_assert_eq(arch->image_size, 96);
    nas_arch_free(arch);
}
