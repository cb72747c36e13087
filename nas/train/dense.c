/* Dense layers: their memory, their part of a file, and what they compute. */
#include "nas/train/dense.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/kernel/kernel.h"

/* "<layer>.<part>"; layers have even numbers, the ReLUs between them the odd ones. */
static void name_part(char out[32], int layer, const char *part)
{
    snprintf(out, 32, "%d.%s", 2 * layer, part);
}

static const nas_safetensors_tensor *find(const nas_safetensors_tensor *const *list, int count,
                                          int layer, const char *part)
{
    char name[32];

    name_part(name, layer, part);
    for (int i = 0; i < count; i++)
        if (strcmp(list[i]->name, name) == 0)
            return list[i];
    return NULL;
}

static bool all_finite(const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* to[column][row] = from[row][column] */
static void transpose(int rows, int columns, const float *from, float *to)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            to[(ptrdiff_t)c * rows + r] = from[(ptrdiff_t)r * columns + c];
}

static size_t weights_of(const nas_dense *net, int layer)
{
    return (size_t)net->width[layer] * (size_t)net->width[layer + 1];
}

/* One more layer, of zeros; false: no memory. */
static bool add_layer(nas_dense *net, int out)
{
    const int layer = net->layers++;

    net->width[layer + 1] = out;
    net->weight[layer] = calloc(weights_of(net, layer), sizeof(float));
    net->bias[layer] = calloc((size_t)out, sizeof(float));
    return net->weight[layer] != NULL && net->bias[layer] != NULL;
}

nas_status nas_dense_init(nas_dense *net, int layers, const int *width, nas_err *err)
{
    *net = (nas_dense){.width = {width[0]}};
    for (int i = 0; i < layers; i++)
        if (!add_layer(net, width[i + 1]))
            return nas_fail(err, NAS_E_NOMEM, "no memory for a predictor");
    return NAS_OK;
}

void nas_dense_fini(nas_dense *net)
{
    for (int i = 0; i < net->layers; i++) {
        free(net->weight[i]);
        free(net->bias[i]);
    }
    *net = (nas_dense){0};
}

static nas_status read_layer(nas_dense *net, const nas_safetensors_tensor *weight,
                             const nas_safetensors_tensor *bias, const char *name, nas_err *err)
{
    const int layer = net->layers;

    if (weight == NULL || bias == NULL || weight->rank != 2 || bias->rank != 1 ||
        weight->dtype != NAS_DTYPE_F32 || bias->dtype != NAS_DTYPE_F32 ||
        weight->shape[0] != bias->shape[0])
        return nas_fail(err, NAS_E_DATA,
                        "%s: a layer lacks its weight [out][in] or its bias [out] of float32",
                        name);
    if (weight->shape[0] < 1 || weight->shape[0] > NAS_DENSE_MAX_WIDTH || weight->shape[1] < 1 ||
        weight->shape[1] > NAS_DENSE_MAX_WIDTH ||
        (layer > 0 && weight->shape[1] != net->width[layer]))
        return nas_fail(err, NAS_E_DATA,
                        "%s: a layer does not fit the one before it, or is too wide", name);
    if (!all_finite(weight->data, (size_t)weight->count) ||
        !all_finite(bias->data, (size_t)bias->count))
        return nas_fail(err, NAS_E_DATA, "%s: a weight is no finite number", name);
    const int out = (int)weight->shape[0], in = (int)weight->shape[1];

    net->width[layer] = in;
    if (!add_layer(net, out))
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for a predictor", name);
    transpose(out, in, weight->data, net->weight[layer]);
    memcpy(net->bias[layer], bias->data, (size_t)out * sizeof(float));
    return NAS_OK;
}

nas_status nas_dense_read(nas_dense *net, const nas_safetensors_tensor *const *list, int count,
                          const char *name, nas_err *err)
{
    nas_status status = NAS_OK;

    *net = (nas_dense){0};
    if (count > 2 * NAS_DENSE_MAX_LAYERS)
        return nas_fail(err, NAS_E_DATA, "%s: more tensors than a predictor has", name);
    for (int layer = 0; 2 * layer < count && status == NAS_OK; layer++)
        status = read_layer(net, find(list, count, layer, "weight"),
                            find(list, count, layer, "bias"), name, err);
    if (status == NAS_OK && (count == 0 || net->width[net->layers] != 1))
        status = nas_fail(err, NAS_E_DATA, "%s: its last layer has not one output", name);
    return status;
}

nas_status nas_dense_write(const nas_dense *net, nas_safetensors_builder *file, float **room,
                           nas_err *err)
{
    size_t total = 1;

    for (int i = 0; i < net->layers; i++)
        total += weights_of(net, i);
    float *to = *room = malloc(total * sizeof *to);
    if (to == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory to write a predictor");
    for (int i = 0; i < net->layers; i++) {
        const int64_t in = net->width[i], out = net->width[i + 1], shape[] = {out, in};
        char name[32];

        transpose((int)in, (int)out, net->weight[i], to);
        name_part(name, i, "weight");
        nas_safetensors_builder_add(file, name, NAS_DTYPE_F32, 2, shape, to);
        name_part(name, i, "bias");
        nas_safetensors_builder_add(file, name, NAS_DTYPE_F32, 1, &out, net->bias[i]);
        to += weights_of(net, i);
    }
    return NAS_OK;
}

int nas_dense_widest(const nas_dense *net)
{
    int widest = 1;

    for (int i = 1; i <= net->layers; i++)
        widest = net->width[i] > widest ? net->width[i] : widest;
    return widest;
}

bool nas_dense_is_finite(const nas_dense *net)
{
    for (int i = 0; i < net->layers; i++)
        if (!all_finite(net->weight[i], weights_of(net, i)) ||
            !all_finite(net->bias[i], (size_t)net->width[i + 1]))
            return false;
    return true;
}

void nas_dense_run(const nas_dense *net, int rows, const float *x, float *scratch, float *y)
{
    const size_t half = (size_t)rows * (size_t)nas_dense_widest(net);

    for (int i = 0; i < net->layers; i++) {
        const bool last = i == net->layers - 1;
        float *to = last ? y : scratch + (i % 2 ? half : 0);

        nas_kernels_get()->linear(rows, net->width[i], net->width[i + 1], x, net->weight[i],
                                  net->bias[i], last ? NAS_ACT_NONE : NAS_ACT_RELU, to);
        x = to;
    }
}
