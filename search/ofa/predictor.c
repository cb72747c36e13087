/* The predictor's file and its arithmetic. */
#include "search/ofa/predictor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "nas/train/torch_file.h"

enum { MAX_TENSORS = 2 * NAS_DENSE_MAX_LAYERS };

/* The tensors of a file of either kind. */
typedef struct tensors {
    const char *name; /* of the file */
    int count;
    const nas_safetensors_tensor *list[MAX_TENSORS];
} tensors;

static void hint(nas_err *err)
{
    nas_hint(err, "a predictor has 0.weight, 0.bias, 2.weight, ... (docs/reference/predictor.md)");
}

static nas_status bad(const tensors *t, const char *what, nas_err *err)
{
    nas_fail(err, NAS_E_DATA, "%s: %s", t->name, what);
    hint(err);
    return NAS_E_DATA;
}

static nas_status add(tensors *t, const nas_safetensors_tensor *tensor, nas_err *err)
{
    if (t->count == MAX_TENSORS)
        return bad(t, "more tensors than a predictor has", err);
    t->list[t->count++] = tensor;
    return NAS_OK;
}

static nas_status read_layers(nas_predictor *p, const tensors *t, nas_err *err)
{
    const nas_status status = nas_dense_read(&p->net, t->list, t->count, t->name, err);

    if (status == NAS_E_DATA)
        hint(err);
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

    if (p == NULL)
        nas_fail(err, NAS_E_NOMEM, "no memory for a predictor");
    else if (nas_dense_init(&p->net, layers, width, err) == NAS_OK)
        return p;
    nas_predictor_free(p);
    return NULL;
}

nas_status nas_predictor_save(const nas_predictor *p, const char *path, nas_err *err)
{
    nas_safetensors_builder *file = nas_safetensors_builder_new();
    char sizes[8 * NAS_MAX_SIZES] = "";
    float *room = NULL;
    nas_status status = nas_dense_write(&p->net, file, &room, err);

    for (int i = 0; i < p->sizes; i++)
        snprintf(sizes + strlen(sizes), sizeof sizes - strlen(sizes), "%s%d", i > 0 ? "," : "",
                 p->image_size[i]);
    nas_safetensors_builder_meta(file, "nas.image_sizes", sizes);
    if (status == NAS_OK)
        status = nas_safetensors_builder_write(file, path, NULL, err);
    nas_safetensors_builder_free(file);
    free(room);
    return status;
}

void nas_predictor_free(nas_predictor *p)
{
    if (p == NULL)
        return;
    nas_dense_fini(&p->net);
    free(p);
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
        nas_dense_run(&e->predictor->net, rows, e->x, e->scratch, e->y);
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
    e->scratch = malloc(2 * ROWS * (size_t)nas_dense_widest(&predictor->net) * sizeof(float));
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
