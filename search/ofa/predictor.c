/* The predictor's file and its arithmetic. */
#include "search/ofa/predictor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nas/train/torch_file.h"
#include "ops/kernel/kernel.h"

enum { MAX_TENSORS = 2 * NAS_PREDICTOR_MAX_LAYERS };

/* The tensors of a file of either kind. */
typedef struct tensors {
    const char *name; /* of the file */
    int count;
    const nas_safetensors_tensor *list[MAX_TENSORS];
} tensors;

static nas_status bad(const tensors *t, const char *what, nas_err *err)
{
    nas_fail(err, NAS_E_DATA, "%s: %s", t->name, what);
    nas_hint(err, "a predictor has 0.weight, 0.bias, 2.weight, ... (docs/reference/predictor.md)");
    return NAS_E_DATA;
}

static nas_status add(tensors *t, const nas_safetensors_tensor *tensor, nas_err *err)
{
    if (t->count == MAX_TENSORS)
        return bad(t, "more tensors than a predictor has", err);
    t->list[t->count++] = tensor;
    return NAS_OK;
}

/* "<layer>.<part>"; layers have even numbers, the ReLUs between them the odd ones. */
static const nas_safetensors_tensor *find(const tensors *t, int layer, const char *part)
{
    char name[32];

    snprintf(name, sizeof name, "%d.%s", 2 * layer, part);
    for (int i = 0; i < t->count; i++)
        if (strcmp(t->list[i]->name, name) == 0)
            return t->list[i];
    return NULL;
}

static bool all_finite(const nas_safetensors_tensor *t)
{
    const float *x = t->data;

    for (int64_t i = 0; i < t->count; i++)
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

/* One more layer, of zeros; false: no memory. */
static bool add_layer(nas_predictor *p, int out)
{
    const int layer = p->layers++;

    p->width[layer + 1] = out;
    p->weight[layer] = calloc((size_t)p->width[layer] * (size_t)out, sizeof(float));
    p->bias[layer] = calloc((size_t)out, sizeof(float));
    return p->weight[layer] != NULL && p->bias[layer] != NULL;
}

static nas_status read_layer(nas_predictor *p, const tensors *t, int layer, nas_err *err)
{
    const nas_safetensors_tensor *weight = find(t, layer, "weight"), *bias = find(t, layer, "bias");

    if (weight == NULL || bias == NULL || weight->rank != 2 || bias->rank != 1 ||
        weight->dtype != NAS_DTYPE_F32 || bias->dtype != NAS_DTYPE_F32 ||
        weight->shape[0] != bias->shape[0])
        return bad(t, "a layer lacks its weight [out][in] or its bias [out] of float32", err);
    if (weight->shape[0] < 1 || weight->shape[0] > NAS_PREDICTOR_MAX_WIDTH ||
        weight->shape[1] < 1 || weight->shape[1] > NAS_PREDICTOR_MAX_WIDTH ||
        (layer > 0 && weight->shape[1] != p->width[layer]))
        return bad(t, "a layer does not fit the one before it, or is too wide", err);
    if (!all_finite(weight) || !all_finite(bias))
        return bad(t, "a weight is no finite number", err);
    const int out = (int)weight->shape[0], in = (int)weight->shape[1];

    p->width[layer] = in;
    if (!add_layer(p, out))
        return nas_fail(err, NAS_E_NOMEM, "%s: no memory for a predictor", t->name);
    transpose(out, in, weight->data, p->weight[layer]);
    memcpy(p->bias[layer], bias->data, (size_t)out * sizeof(float));
    return NAS_OK;
}

static nas_status read_layers(nas_predictor *p, const tensors *t, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int layer = 0; 2 * layer < t->count && status == NAS_OK; layer++)
        status = read_layer(p, t, layer, err);
    if (status == NAS_OK && (t->count == 0 || p->width[p->layers] != 1))
        status = bad(t, "its last layer has not one output", err);
    return status;
}

/* "128,160,192": ascending. */
static nas_status read_sizes(nas_predictor *p, const tensors *t, const char *text, nas_err *err)
{
    while (*text != '\0') {
        char *end;
        const long size = strtol(text, &end, 10);
        const long before = p->sizes > 0 ? p->image_size[p->sizes - 1] : 0;

        if (end == text || size <= before || size > NAS_MAX_IMAGE_SIZE ||
            p->sizes == NAS_MAX_SIZES || (*end != ',' && *end != '\0'))
            return bad(t, "its nas.image_sizes is no ascending list of sizes", err);
        p->image_size[p->sizes++] = (int)size;
        text = *end == ',' ? end + 1 : end;
    }
    return NAS_OK;
}

/* Without a word about it, a file has the image sizes of the published predictor; it was
 * trained on 160 to 224, what it says of smaller ones is noise. */
static const char published_sizes[] = "112,128,144,160,176,192,208,224";
enum { PUBLISHED_UNTRAINED = 3 };

static nas_status read_file(nas_predictor *p, const void *data, size_t size, tensors *t,
                            nas_err *err)
{
    nas_torch_file *torch = NULL;
    nas_safetensors *file = NULL;
    const char *sizes = NULL;
    nas_status status;

    if (nas_torch_file_is(data, size)) {
        status = nas_torch_file_parse(&torch, data, size, t->name, err);
        for (int i = 0; status == NAS_OK && i < nas_torch_file_count(torch); i++)
            status = add(t, nas_torch_file_at(torch, i), err);
    } else {
        status = nas_safetensors_parse(&file, data, size, t->name, false, err);
        for (int i = 0; status == NAS_OK && i < nas_safetensors_count(file); i++)
            status = add(t, nas_safetensors_at(file, i), err);
        if (status == NAS_OK)
            sizes = nas_safetensors_meta(file, "nas.image_sizes");
    }
    if (status == NAS_OK && (status = read_layers(p, t, err)) == NAS_OK)
        status = read_sizes(p, t, sizes != NULL ? sizes : published_sizes, err);
    p->untrained = sizes != NULL ? 0 : PUBLISHED_UNTRAINED;
    nas_torch_file_free(torch);
    nas_safetensors_close(file);
    return status;
}

nas_status nas_predictor_parse(nas_predictor **out, const void *data, size_t size,
                               const char *name, nas_err *err)
{
    nas_predictor *p = calloc(1, sizeof *p);
    tensors t = {.name = name};
    nas_status status = p != NULL ? read_file(p, data, size, &t, err)
                                  : nas_fail(err, NAS_E_NOMEM, "%s: no memory", name);

    *out = NULL;
    if (status != NAS_OK) {
        nas_predictor_free(p);
        return status;
    }
    nas_digest(data, size, p->digest);
    *out = p;
    return NAS_OK;
}

nas_status nas_predictor_load(nas_predictor **out, const char *path, nas_err *err)
{
    nas_map map;
    nas_status status = nas_map_open(&map, path, err);

    *out = NULL;
    if (status != NAS_OK)
        return status;
    status = nas_predictor_parse(out, map.data, map.size, path, err);
    nas_map_close(&map);
    return status;
}

nas_predictor *nas_predictor_new(int layers, const int *width, nas_err *err)
{
    nas_predictor *p = calloc(1, sizeof *p);
    bool whole = p != NULL;

    if (whole)
        p->width[0] = width[0];
    for (int i = 0; i < layers && whole; i++)
        whole = add_layer(p, width[i + 1]);
    if (whole)
        return p;
    nas_predictor_free(p);
    nas_fail(err, NAS_E_NOMEM, "no memory for a predictor");
    return NULL;
}

nas_status nas_predictor_save(const nas_predictor *p, const char *path, nas_err *err)
{
    nas_safetensors_builder *file = nas_safetensors_builder_new();
    float *weight[NAS_PREDICTOR_MAX_LAYERS] = {NULL};
    char name[32], sizes[8 * NAS_MAX_SIZES] = "";
    nas_status status = NAS_OK;

    for (int i = 0; i < p->layers && status == NAS_OK; i++) {
        const int64_t in = p->width[i], out = p->width[i + 1], shape[] = {out, in};

        weight[i] = malloc((size_t)(in * out) * sizeof(float));
        if (weight[i] == NULL) {
            status = nas_fail(err, NAS_E_NOMEM, "%s: no memory for a predictor", path);
            break;
        }
        transpose((int)in, (int)out, p->weight[i], weight[i]);
        snprintf(name, sizeof name, "%d.weight", 2 * i);
        nas_safetensors_builder_add(file, name, NAS_DTYPE_F32, 2, shape, weight[i]);
        snprintf(name, sizeof name, "%d.bias", 2 * i);
        nas_safetensors_builder_add(file, name, NAS_DTYPE_F32, 1, &out, p->bias[i]);
    }
    for (int i = 0; i < p->sizes; i++)
        snprintf(sizes + strlen(sizes), sizeof sizes - strlen(sizes), "%s%d", i > 0 ? "," : "",
                 p->image_size[i]);
    nas_safetensors_builder_meta(file, "nas.image_sizes", sizes);
    if (status == NAS_OK)
        status = nas_safetensors_builder_write(file, path, NULL, err);
    nas_safetensors_builder_free(file);
    for (int i = 0; i < p->layers; i++)
        free(weight[i]);
    return status;
}

void nas_predictor_free(nas_predictor *p)
{
    if (p == NULL)
        return;
    for (int i = 0; i < p->layers; i++) {
        free(p->weight[i]);
        free(p->bias[i]);
    }
    free(p);
}

int nas_predictor_widest(const nas_predictor *p)
{
    int widest = 1;

    for (int i = 1; i <= p->layers; i++)
        widest = p->width[i] > widest ? p->width[i] : widest;
    return widest;
}

void nas_predictor_run(const nas_predictor *p, int rows, const float *x, float *scratch, float *y)
{
    const size_t half = (size_t)rows * (size_t)nas_predictor_widest(p);

    for (int i = 0; i < p->layers; i++) {
        const bool last = i == p->layers - 1;
        float *to = last ? y : scratch + (i % 2 ? half : 0);

        nas_kernels_get()->linear(rows, p->width[i], p->width[i + 1], x, p->weight[i], p->bias[i],
                                  last ? NAS_ACT_NONE : NAS_ACT_RELU, to);
        x = to;
    }
}

enum { ROWS = 64 }; /* that are run at once */

static nas_status score(void *user, nas_candidate *list, int count, nas_err *err)
{
    nas_predictor_evaluator *e = user;
    const int inputs = e->encoding->inputs;

    for (int from = 0; from < count; from += ROWS) {
        const int rows = count - from < ROWS ? count - from : ROWS;

        for (int r = 0; r < rows; r++)
            nas_encoding_apply(e->encoding, &list[from + r], e->x + (size_t)r * (size_t)inputs);
        nas_predictor_run(e->predictor, rows, e->x, e->scratch, e->y);
        for (int r = 0; r < rows; r++) {
            list[from + r].score = (double)e->y[r];
            if (!isfinite(e->y[r]))
                return nas_fail(err, NAS_E_DATA, "the predictor's numbers overflow");
        }
    }
    return NAS_OK;
}

nas_status nas_predictor_evaluator_new(nas_predictor_evaluator **out,
                                       const nas_predictor *predictor,
                                       const nas_encoding *encoding, nas_err *err)
{
    nas_predictor_evaluator *e = calloc(1, sizeof *e);

    *out = e;
    if (e == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a predictor");
    e->evaluator = (nas_evaluator){.user = e, .score = score};
    e->predictor = predictor;
    e->encoding = encoding;
    e->x = malloc(ROWS * (size_t)encoding->inputs * sizeof(float));
    e->scratch = malloc(2 * ROWS * (size_t)nas_predictor_widest(predictor) * sizeof(float));
    e->y = malloc(ROWS * sizeof(float));
    if (e->x != NULL && e->scratch != NULL && e->y != NULL)
        return NAS_OK;
    nas_predictor_evaluator_free(e);
    *out = NULL;
    return nas_fail(err, NAS_E_NOMEM, "no memory for a predictor");
}

void nas_predictor_evaluator_free(nas_predictor_evaluator *e)
{
    if (e == NULL)
        return;
    free(e->x);
    free(e->scratch);
    free(e->y);
    free(e);
}
