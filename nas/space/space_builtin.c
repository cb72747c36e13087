/* The built-in spaces, as tables.
 *
 * Widths, strides and candidates: ProxylessNAS (Cai et al. 2019, arXiv:1812.00332) and
 * Once-for-All (Cai et al. 2020, arXiv:1908.09791) as their published code has them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/space/space_build.h"

typedef enum layer_kind {
    END,
    CONV,  /* `size` x `size` convolution with batch norm and activation      */
    FIRST, /* fixed MBConv `size` x `size` without expansion                  */
    STAGE, /* `size` searched blocks                                          */
    HEAD,  /* as CONV, but at stride 1 and never narrower than written        */
    POOL,  /* mean over the image                                             */
    MIX    /* 1x1 convolution without batch norm, width as HEAD               */
} layer_kind;

typedef struct layer {
    layer_kind kind;
    int width, size;
    nas_act act;
    bool se, shortcut;
} layer;

typedef struct family {
    const layer *layers; /* then always the linear classifier */
    int kernels, expands;
    int kernel[4];
    float expand[4];
    int min_depth;
    float dropout, bn_eps;
    int sizes[3]; /* image sizes that belong to it: from, to, step; 0: only the space's own */
} family;

typedef struct builtin {
    const char *name;
    const family *family;
    double width;         /* multiplies the widths */
    int image_size, classes;
    int strides[8];       /* of each CONV and STAGE in order */
    const char *summary;
} builtin;

static const layer proxyless_layers[] = {
    {CONV, 32, 3, .act = NAS_ACT_RELU6},
    {FIRST, 16, 3, .act = NAS_ACT_RELU6},
    {STAGE, 24, 4, .act = NAS_ACT_RELU6},
    {STAGE, 40, 4, .act = NAS_ACT_RELU6},
    {STAGE, 80, 4, .act = NAS_ACT_RELU6},
    {STAGE, 96, 4, .act = NAS_ACT_RELU6},
    {STAGE, 192, 4, .act = NAS_ACT_RELU6},
    {STAGE, 320, 1, .act = NAS_ACT_RELU6},
    {HEAD, 1280, 1, .act = NAS_ACT_RELU6},
    {.kind = POOL},
    {.kind = END},
};

static const layer ofa_mbv3_layers[] = {
    {CONV, 16, 3, .act = NAS_ACT_HSWISH},
    {FIRST, 16, 3, .act = NAS_ACT_RELU, .shortcut = true},
    {STAGE, 24, 4, .act = NAS_ACT_RELU},
    {STAGE, 40, 4, .act = NAS_ACT_RELU, .se = true},
    {STAGE, 80, 4, .act = NAS_ACT_HSWISH},
    {STAGE, 112, 4, .act = NAS_ACT_HSWISH, .se = true},
    {STAGE, 160, 4, .act = NAS_ACT_HSWISH, .se = true},
    {HEAD, 960, 1, .act = NAS_ACT_HSWISH},
    {.kind = POOL},
    {MIX, 1280, 1, .act = NAS_ACT_HSWISH},
    {.kind = END},
};

/* MobileNetV3's blocks at widths and strides for small images. */
static const layer ofa_cifar_layers[] = {
    {CONV, 16, 3, .act = NAS_ACT_HSWISH},
    {FIRST, 16, 3, .act = NAS_ACT_RELU, .shortcut = true},
    {STAGE, 16, 4, .act = NAS_ACT_RELU},
    {STAGE, 32, 4, .act = NAS_ACT_RELU, .se = true},
    {STAGE, 64, 4, .act = NAS_ACT_HSWISH, .se = true},
    {HEAD, 384, 1, .act = NAS_ACT_HSWISH},
    {.kind = POOL},
    {MIX, 512, 1, .act = NAS_ACT_HSWISH},
    {.kind = END},
};

static const layer ofa_tiny_layers[] = {
    {CONV, 8, 3, .act = NAS_ACT_HSWISH},
    {STAGE, 8, 3, .act = NAS_ACT_RELU},
    {STAGE, 16, 3, .act = NAS_ACT_HSWISH, .se = true},
    {HEAD, 48, 1, .act = NAS_ACT_HSWISH},
    {.kind = POOL},
    {MIX, 64, 1, .act = NAS_ACT_HSWISH},
    {.kind = END},
};

/* Small enough for an epoch a second, with enough depth and stride for choices to matter. */
static const layer tiny_layers[] = {
    {CONV, 8, 3, .act = NAS_ACT_RELU6},
    {STAGE, 16, 2, .act = NAS_ACT_RELU6},
    {STAGE, 24, 2, .act = NAS_ACT_RELU6},
    {STAGE, 32, 2, .act = NAS_ACT_RELU6},
    {HEAD, 64, 1, .act = NAS_ACT_RELU6},
    {.kind = POOL},
    {.kind = END},
};

static const family proxyless = {
    .layers = proxyless_layers, .kernels = 3, .kernel = {3, 5, 7}, .expands = 2, .expand = {3, 6},
    .bn_eps = 1e-3f,
};
static const family ofa_mbv3 = {
    .layers = ofa_mbv3_layers, .kernels = 3, .kernel = {3, 5, 7}, .expands = 3,
    .expand = {3, 4, 6}, .min_depth = 2, .dropout = 0.1f, .bn_eps = 1e-5f,
    .sizes = {128, 224, 4},
};
static const family ofa_proxyless = {
    .layers = proxyless_layers, .kernels = 3, .kernel = {3, 5, 7}, .expands = 3,
    .expand = {3, 4, 6}, .min_depth = 2, .dropout = 0.1f, .bn_eps = 1e-3f,
    .sizes = {128, 224, 4},
};
static const family ofa_cifar = {
    .layers = ofa_cifar_layers, .kernels = 3, .kernel = {3, 5, 7}, .expands = 3,
    .expand = {3, 4, 6}, .min_depth = 2, .dropout = 0.1f, .bn_eps = 1e-5f, .sizes = {24, 32, 4},
};
static const family ofa_tiny = {
    .layers = ofa_tiny_layers, .kernels = 3, .kernel = {3, 5, 7}, .expands = 3,
    .expand = {3, 4, 6}, .min_depth = 1, .dropout = 0.1f, .bn_eps = 1e-5f, .sizes = {12, 16, 4},
};
static const family tiny = {
    .layers = tiny_layers, .kernels = 2, .kernel = {3, 5}, .expands = 2, .expand = {2, 4},
    .bn_eps = 1e-3f,
};

/* name, family, width, image size, classes, summary, strides */
#define SPACES(X) \
    X("proxyless-imagenet", proxyless, 1.0, 224, 1000, \
      "ProxylessNAS for 224 px: 21 blocks, MBConv 3/5/7 x 3/6 or skip", 2, 2, 2, 2, 1, 2, 1) \
    X("proxyless-cifar", proxyless, 1.0, 32, 10, \
      "ProxylessNAS with the strides that 32 px images want", 1, 1, 2, 2, 1, 2, 1) \
    X("proxyless-cifar-0.5", proxyless, 0.5, 32, 10, \
      "proxyless-cifar at half the width", 1, 1, 2, 2, 1, 2, 1) \
    X("ofa-mbv3-1.0", ofa_mbv3, 1.0, 224, 1000, \
      "Once-for-All on MobileNetV3: elastic kernel, expand ratio, depth, resolution", \
      2, 2, 2, 2, 1, 2) \
    X("ofa-mbv3-1.2", ofa_mbv3, 1.2, 224, 1000, \
      "Once-for-All on MobileNetV3, 1.2 times as wide", 2, 2, 2, 2, 1, 2) \
    X("ofa-proxyless-1.3", ofa_proxyless, 1.3, 224, 1000, \
      "Once-for-All on the ProxylessNAS backbone, 1.3 times as wide", 2, 2, 2, 2, 1, 2, 1) \
    X("ofa-cifar", ofa_cifar, 1.0, 32, 10, \
      "Once-for-All for 32 px images: 12 blocks, elastic in everything", 1, 2, 2, 2) \
    X("ofa-tiny", ofa_tiny, 1.0, 16, 10, \
      "Once-for-All in small: 6 blocks, to try things out", 1, 2, 2) \
    X("tiny", tiny, 1.0, 16, 10, \
      "6 small blocks for images of any size: a search takes seconds", 1, 2, 2, 1)

#define ENTRY(NAME, FAMILY, WIDTH, IMAGE, CLASSES, SUMMARY, ...) \
    {NAME, &FAMILY, WIDTH, IMAGE, CLASSES, {__VA_ARGS__}, SUMMARY},
#define NAME_ONLY(NAME, ...) NAME,

static const builtin builtins[] = {SPACES(ENTRY)};
static const char *const names[] = {SPACES(NAME_ONLY) NULL};
enum { BUILTINS = sizeof builtins / sizeof *builtins };

const char *const *nas_space_names(void)
{
    return names;
}

static const builtin *find(const char *name)
{
    for (int i = 0; i < BUILTINS; i++)
        if (strcmp(builtins[i].name, name) == 0)
            return &builtins[i];
    return NULL;
}

/* Length of a name without "-1.2" at its end; *width is that number, 0 if there is none. */
static size_t stem(const char *name, double *width)
{
    const char *dash = strrchr(name, '-');
    char *end = NULL;

    *width = dash != NULL && dash[1] >= '0' && dash[1] <= '9' ? strtod(dash + 1, &end) : 0.0;
    if (end == NULL || *end != '\0')
        *width = 0.0;
    return *width > 0.0 ? (size_t)(dash - name) : strlen(name);
}

/* The entry of that name, or another width of one: "ofa-mbv3-0.75". */
static bool find_width(builtin *out, const char *name)
{
    const builtin *entry = find(name);
    double width, own;
    const size_t length = stem(name, &width);

    for (int i = 0; entry == NULL && i < BUILTINS && width >= 0.1 && width <= 10.0; i++)
        if (stem(builtins[i].name, &own) == length && strncmp(builtins[i].name, name, length) == 0)
            entry = &builtins[i];
    if (entry == NULL)
        return false;
    *out = *entry;
    if (find(name) == NULL)
        out->width = width;
    return true;
}

bool nas_space_is_builtin(const char *name)
{
    builtin found;

    return find_width(&found, name);
}

const char *nas_space_summary(const char *name)
{
    const builtin *entry = find(name);

    return entry ? entry->summary : NULL;
}

static nas_status add_fixed(nas_space *space, nas_op_spec op, bool shortcut, nas_err *err)
{
    op.in = nas_space__channels(space);
    if (op.out == 0)
        op.out = op.in;
    if (op.type == NAS_OP_MBCONV)
        op.mid = op.in;
    return nas_space_add_slot(space, &op, 1, shortcut, -1, err);
}

static nas_status add_layer(nas_space *space, const family *f, const layer *l, int width,
                            int stride, nas_err *err)
{
    nas_op_spec op = {.type = NAS_OP_CONV, .out = width, .kernel = l->size, .stride = stride,
                      .groups = 1, .act = l->act, .bn = true};
    nas_space__stage stage = {.width = width, .blocks = l->size, .stride = stride,
                              .kernels = f->kernels, .expands = f->expands, .act = l->act,
                              .se = l->se, .zero = true};

    switch (l->kind) {
    case STAGE:
        memcpy(stage.kernel, f->kernel, sizeof f->kernel);
        memcpy(stage.expand, f->expand, sizeof f->expand);
        return nas_space__add_stage(space, &stage, err);
    case POOL:
        op = (nas_op_spec){.type = NAS_OP_MEAN_POOL};
        break;
    case FIRST:
        op = (nas_op_spec){.type = NAS_OP_MBCONV, .out = width, .kernel = l->size, .stride = 1,
                           .expand = 1, .act = l->act};
        break;
    case MIX:
        op.bn = false;
        break;
    default:
        break;
    }
    return add_fixed(space, op, l->shortcut, err);
}

static nas_status add_layers(nas_space *space, const builtin *entry, nas_err *err)
{
    const int *stride = entry->strides;
    nas_status status = NAS_OK;

    for (const layer *l = entry->family->layers; l->kind != END && status == NAS_OK; l++) {
        const bool head = l->kind == HEAD || l->kind == MIX;
        const double scale = head && entry->width < 1 ? 1 : entry->width;
        const bool strided = l->kind == CONV || l->kind == STAGE;

        status = add_layer(space, entry->family, l, nas_make_divisible(l->width * scale),
                           strided ? *stride++ : 1, err);
    }
    if (status == NAS_OK)
        status = add_fixed(space, (nas_op_spec){.type = NAS_OP_LINEAR, .out = entry->classes,
                                                .bias = true, .dropout = entry->family->dropout},
                           false, err);
    return status;
}

nas_status nas_space__builtin(nas_space **out, const char *name, nas_err *err)
{
    builtin found;
    const builtin *entry = &found;
    nas_space *space;
    nas_status status;

    *out = NULL;
    if (!find_width(&found, name))
        return NAS_OK;
    space = nas_space_new(err);
    if (space == NULL)
        return NAS_E_NOMEM;
    snprintf(space->name, sizeof space->name, "%s", name);
    space->image_size = entry->image_size;
    space->channels = 3;
    space->classes = entry->classes;
    space->bn_momentum = 0.1f;
    space->bn_eps = entry->family->bn_eps;
    space->min_depth = entry->family->min_depth;
    const int *sizes = entry->family->sizes;
    for (int size = sizes[0]; size > 0 && size <= sizes[1]; size += sizes[2])
        space->resolution[space->resolutions++] = size;
    status = add_layers(space, entry, err);
    if (status != NAS_OK) {
        nas_space_free(space);
        return status;
    }
    *out = space;
    return NAS_OK;
}
