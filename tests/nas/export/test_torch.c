/* net.config and its weights: names, files, and what PyTorch computes from them. */
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"
#include "nas/export/torch.h"
#include "nas/train/safetensors.h"
#include "tests/nas/export/network.h"
#include "tests/support/numeric.h"
#include "tests/support/scratch.h"

static nas_err err;

#define ok(call) cr_assert_eq((call), NAS_OK, "%s", err.message)

TestSuite(nas_torch, .init = scratch_init, .fini = scratch_fini, .timeout = 200);

/* Squeeze-excite, h-swish, an expansion of 1, a skipped block, a feature mix. */
static const char mixed[] =
    "{\"format\": \"onepath.architecture\", \"version\": 1, \"name\": \"mixed\","
    " \"image_size\": 20, \"channels\": 3, \"classes\": 6,"
    " \"bn\": {\"momentum\": 0.1, \"eps\": 1e-5}, \"blocks\": ["
    "{\"op\": \"conv\", \"out\": 16, \"kernel\": 3, \"stride\": 2, \"act\": \"h_swish\"},"
    "{\"op\": \"mbconv\", \"out\": 16, \"kernel\": 3, \"expand\": 1, \"act\": \"relu\","
    " \"shortcut\": true},"
    "{\"op\": \"mbconv\", \"out\": 24, \"kernel\": 5, \"stride\": 2, \"mid\": 40, \"se\": 16,"
    " \"act\": \"h_swish\"},"
    "{\"op\": \"zero\", \"shortcut\": true},"
    "{\"op\": \"conv\", \"out\": 48, \"kernel\": 1, \"act\": \"h_swish\"},"
    "{\"op\": \"mean_pool\"},"
    "{\"op\": \"conv\", \"out\": 64, \"kernel\": 1, \"bn\": false, \"act\": \"h_swish\"},"
    "{\"op\": \"linear\", \"out\": 6}]}";

Test(nas_torch, names_and_shapes_are_those_of_the_published_code)
{
    static const struct {
        const char *name;
        int rank;
        int64_t shape[4];
    } cases[] = {
        {"first_conv.conv.weight", 4, {16, 3, 3, 3}},
        {"first_conv.bn.weight", 1, {16}},
        {"first_conv.bn.bias", 1, {16}},
        {"first_conv.bn.running_mean", 1, {16}},
        {"first_conv.bn.running_var", 1, {16}},
        {"blocks.0.mobile_inverted_conv.depth_conv.conv.weight", 4, {16, 1, 3, 3}},
        {"blocks.0.mobile_inverted_conv.point_linear.conv.weight", 4, {16, 16, 1, 1}},
        {"blocks.1.mobile_inverted_conv.inverted_bottleneck.conv.weight", 4, {40, 16, 1, 1}},
        {"blocks.1.mobile_inverted_conv.inverted_bottleneck.bn.running_var", 1, {40}},
        {"blocks.1.mobile_inverted_conv.depth_conv.se.fc.reduce.weight", 4, {16, 40, 1, 1}},
        {"blocks.1.mobile_inverted_conv.depth_conv.se.fc.expand.bias", 1, {40}},
        {"blocks.1.mobile_inverted_conv.point_linear.bn.bias", 1, {24}},
        {"final_expand_layer.conv.weight", 4, {48, 24, 1, 1}},
        {"final_expand_layer.bn.weight", 1, {48}},
        {"feature_mix_layer.conv.weight", 4, {64, 48, 1, 1}},
        {"classifier.linear.weight", 2, {6, 64}},
        {"classifier.linear.bias", 1, {6}},
    };
    network net = network_of_text(mixed);
    nas_safetensors *file;
    const nas_safetensors_tensor *t;

    ok(nas_torch_write(net.model, net.arch, NULL, scratch("w.safetensors"), &err));
    ok(nas_safetensors_open(&file, scratch("w.safetensors"), false, &err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ok(nas_safetensors_expect(file, cases[i].name, NAS_DTYPE_F32, cases[i].rank, cases[i].shape,
                                  &t, &err));
    ok(nas_safetensors_expect(file, "first_conv.bn.num_batches_tracked", NAS_DTYPE_I64, 0, NULL, &t,
                              &err));
    cr_assert_null(nas_safetensors_find(file, "feature_mix_layer.bn.weight"));
    nas_safetensors_close(file);
    network_free(&net);
}

Test(nas_torch, one_head_convolution_is_the_feature_mix)
{
    network net = network_of_space("tiny", 16, 5, 1);
    nas_safetensors *file;

    ok(nas_torch_write(net.model, net.arch, NULL, scratch("w.safetensors"), &err));
    ok(nas_safetensors_open(&file, scratch("w.safetensors"), false, &err));
    cr_assert_not_null(nas_safetensors_find(file, "feature_mix_layer.bn.weight"));
    cr_assert_null(nas_safetensors_find(file, "final_expand_layer.conv.weight"));
    nas_safetensors_close(file);
    network_free(&net);
}

Test(nas_torch, the_written_config_is_the_network)
{
    network net = network_of_text(mixed);
    char a[NAS_DIGEST_SIZE], b[NAS_DIGEST_SIZE];
    nas_arch *arch;

    ok(nas_torch_write(net.model, net.arch, scratch("net.config"), NULL, &err));
    ok(nas_arch_load(&arch, scratch("net.config"), &err));
    arch->image_size = 20; /* which the format does not hold */
    ok(nas_arch_digest(arch, a, &err));
    ok(nas_arch_digest(net.arch, b, &err));
    cr_assert_str_eq(a, b);
    cr_assert_eq(scratch_count(), 1);
    nas_arch_free(arch);
    network_free(&net);
}

Test(nas_torch, a_pth_file_is_a_zip_archive_with_aligned_tensors)
{
    network net = network_of_text(mixed);
    char *bytes;
    size_t size;

    ok(nas_torch_write(net.model, net.arch, NULL, scratch("w.pth"), &err));
    ok(nas_file_read(scratch("w.pth"), 64 << 20, &bytes, &size, &err));
    cr_assert_eq(memcmp(bytes, "PK\3\4", 4), 0);
    cr_assert_eq(memcmp(bytes + 30, "archive/data.pkl", 16), 0);
    const char *weight = memmem(bytes, size, "archive/data/0", 14);
    cr_assert_not_null(weight);
    const size_t extra = (unsigned char)weight[-2] + 256u * (unsigned char)weight[-1];
    const char *data = weight + 14 + extra;
    cr_assert_eq((data - bytes) % 64, 0);
    float first; /* [0][0][0][0] of the first convolution is the first in our layout too */
    memcpy(&first, data, sizeof first);
    cr_assert_eq(first, net.model->params[net.model->slot[0].offset[0]]);
    free(bytes);
    network_free(&net);
}

Test(nas_torch, what_net_config_cannot_hold_is_refused)
{
    network net = network_of_text(network_every_op);

    cr_assert_eq(
        nas_torch_write(net.model, net.arch, scratch("net.config"), scratch("w.pth"), &err),
        NAS_E_CONFIG);
    cr_assert_not_null(strstr(err.message, "net.config"), "%s", err.message);
    cr_assert_eq(scratch_count(), 0);
    network_free(&net);
}

Test(nas_torch, what_cannot_be_written_leaves_nothing)
{
    network net = network_of_text(mixed);

    cr_assert_eq(nas_torch_write(net.model, net.arch, NULL, scratch("none/w.pth"), &err), NAS_E_IO);
    cr_assert_eq(nas_torch_write(net.model, net.arch, NULL, scratch("none/w.st"), &err), NAS_E_IO);
    cr_assert_eq(nas_torch_write(net.model, net.arch, scratch("none/c"), NULL, &err), NAS_E_IO);
    cr_assert_eq(scratch_count(), 0);
    network_free(&net);
}

/* 1e-4: as for ONNX. */
static void expect_torch(const network *net, const char *weights)
{
    enum { IMAGES = 5 };
    const size_t floats = (size_t)(net->arch->image_size * net->arch->image_size * 3);
    float *images = test_floats(IMAGES * floats, 9);
    float *ours = network_logits(net, IMAGES, images, scratch("images.f32"));
    char size[16];

    snprintf(size, sizeof size, "%d", net->arch->image_size);
    ok(nas_torch_write(net->model, net->arch, scratch("net.config"), scratch(weights), &err));
    const process_result *result = run_tool(
        "/usr/bin/python3", NAS_SOURCE_DIR "/tests/nas/export/torch_run.py", scratch("net.config"),
        scratch(weights), scratch("images.f32"), scratch("logits.f32"), "5", "3", size, size, NULL);
    cr_assert_eq(result->code, 0, "%s", result->err);
    expect_logits(net, IMAGES, ours, scratch("logits.f32"), 1e-4);
    free(ours);
    free(images);
}

Test(nas_torch, pytorch_loads_a_pth_file_and_agrees)
{
    network net = network_of_text(mixed);

    need_python("torch");
    expect_torch(&net, "w.pth");
    network_free(&net);
}

Test(nas_torch, pytorch_loads_safetensors_and_agrees)
{
    network net = network_of_space("proxyless-cifar-0.5", 32, 10, 2);

    need_python("torch");
    expect_torch(&net, "w.safetensors");
    network_free(&net);
}

Test(nas_torch, pytorch_agrees_on_a_once_for_all_network)
{
    network net = network_of_space("ofa-mbv3-1.0", 64, 100, 3);

    need_python("torch");
    expect_torch(&net, "w.pt");
    network_free(&net);
}
