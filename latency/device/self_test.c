/* A small network with every operation, odd sizes and all kernel sizes: what each set of kernels
 * makes of it against the reference kernels, which are the loops of the definitions. */
#include "latency/device/self_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/model/infer.h"

enum { SIDE = 23, CHANNELS = 3, CLASSES = 7, IMAGES = 2 };

/* Sums in another order and fused multiplications differ by rounding: at most 2e-6 of the
 * largest output were seen with AVX2 and NEON; a wrong kernel differs by about 1. */
static const double tolerance = 1e-4;

static nas_op_spec mbconv(int in, int out, int kernel, int stride, int expand, nas_act act, int se)
{
    return (nas_op_spec){.type = NAS_OP_MBCONV, .in = in, .out = out, .kernel = kernel,
                         .stride = stride, .mid = in * expand, .expand = (float)expand,
                         .act = act, .se = se};
}

static nas_op_spec pool(nas_op_type type, int channels, int stride)
{
    return (nas_op_spec){.type = type, .in = channels, .out = channels, .kernel = 3,
                         .stride = stride};
}

static nas_status make_space(nas_space *space, nas_err *err)
{
    const struct {
        nas_op_spec op;
        bool shortcut;
    } blocks[] = {
        {{.type = NAS_OP_CONV, .in = CHANNELS, .out = 13, .kernel = 3, .stride = 2, .groups = 1,
          .act = NAS_ACT_RELU6, .bn = true}, false},
        {mbconv(13, 13, 3, 1, 1, NAS_ACT_RELU6, 0), true},
        {mbconv(13, 24, 5, 1, 3, NAS_ACT_RELU, 0), false},
        {pool(NAS_OP_AVG_POOL, 24, 1), true},
        {mbconv(24, 24, 7, 1, 6, NAS_ACT_HSWISH, 36), true},
        {{.type = NAS_OP_CONV, .in = 24, .out = 24, .kernel = 3, .stride = 1, .groups = 4,
          .act = NAS_ACT_HSIGMOID, .bn = true}, true},
        {mbconv(24, 40, 7, 2, 4, NAS_ACT_RELU6, 24), false},
        {pool(NAS_OP_MAX_POOL, 40, 1), false},
        {mbconv(40, 40, 3, 2, 6, NAS_ACT_HSWISH, 0), false},
        {{.type = NAS_OP_IDENTITY, .in = 40, .out = 40}, false},
        {{.type = NAS_OP_CONV, .in = 40, .out = 67, .kernel = 1, .stride = 1, .groups = 1,
          .act = NAS_ACT_RELU6, .bn = true}, false},
        {{.type = NAS_OP_MEAN_POOL, .in = 67, .out = 67}, false},
        {{.type = NAS_OP_LINEAR, .in = 67, .out = CLASSES, .bias = true}, false},
    };
    nas_status status = NAS_OK;

    space->image_size = SIDE;
    space->channels = CHANNELS;
    space->classes = CLASSES;
    space->bn_eps = 1e-3f;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks && status == NAS_OK; i++)
        status = nas_space_add_slot(space, &blocks[i].op, 1, blocks[i].shortcut, -1, err);
    return status != NAS_OK ? status : nas_space_check(space, err);
}

static nas_status run_with(const char *kernels, const nas_model *model, const float *images,
                           float *out, nas_err *err)
{
    const int choice[NAS_MAX_SLOTS] = {0};
    nas_infer *infer;

    nas_kernels_use(kernels);
    const nas_status status = nas_infer_new(&infer, model, choice, IMAGES, err);
    if (status != NAS_OK)
        return status;
    memcpy(out, nas_infer_run(infer, IMAGES, images), sizeof(float) * IMAGES * CLASSES);
    nas_infer_free(infer);
    return NAS_OK;
}

/* Largest difference, as a part of the largest value. */
static double difference(const float *a, const float *b)
{
    double worst = 0.0, largest = 0.0;

    for (int i = 0; i < IMAGES * CLASSES; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i]))
            return INFINITY;
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)a[i]));
    }
    return largest > 0.0 ? worst / largest : INFINITY;
}

static nas_status compare(const nas_model *model, nas_err *err)
{
    static float images[IMAGES * SIDE * SIDE * CHANNELS];
    float expected[IMAGES * CLASSES], found[IMAGES * CLASSES];
    nas_status status;
    nas_rng rng;

    nas_rng_init(&rng, 1, "self-test", 0);
    for (size_t i = 0; i < sizeof images / sizeof *images; i++)
        images[i] = (float)nas_rng_normal(&rng);
    if ((status = run_with("reference", model, images, expected, err)) != NAS_OK)
        return status;
    for (const char *const *name = nas_kernels_names(); *name != NULL; name++) {
        nas_status this = run_with(*name, model, images, found, err);
        const double off = this == NAS_OK ? difference(expected, found) : INFINITY;

        if (this == NAS_OK && off > tolerance)
            this = nas_fail(err, NAS_E_FAIL, "self-test: %s kernels are off by %g", *name, off);
        printf("%-10s %s  (off by %.1e of the largest output)\n", *name,
               this == NAS_OK ? "right" : "WRONG", off);
        status = status == NAS_OK ? this : status;
    }
    return status;
}

nas_status nas_device__self_test(nas_err *err)
{
    nas_space *space = nas_space_new(err);
    nas_model *model = NULL;
    nas_status status = NAS_E_NOMEM;

    if (space != NULL && (status = make_space(space, err)) == NAS_OK &&
        (status = nas_model_new(&model, space, err)) == NAS_OK) {
        nas_model_reset(model, 1);
        status = compare(model, err);
    }
    nas_model_free(model);
    nas_space_free(space);
    return status;
}
