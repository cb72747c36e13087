/* Any bytes as an accuracy predictor, in either kind of file: refused or read, and then every
 * tensor lies inside and the network runs. */
#include <stdlib.h>
#include <string.h>

#include "nas/train/torch_file.h"
#include "search/ofa/predictor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads each float: a sanitizer sees one that lies outside. */
static void touch(const uint8_t *data, size_t size)
{
    nas_torch_file *file;
    nas_err err;

    if (nas_torch_file_parse(&file, data, size, "fuzz", &err) != NAS_OK)
        return;
    for (int i = 0; i < nas_torch_file_count(file); i++) {
        const nas_safetensors_tensor *t = nas_torch_file_at(file, i);
        volatile float sum = 0.0f;

        for (int64_t k = 0; k < t->count; k++)
            sum += ((const float *)t->data)[k];
    }
    nas_torch_file_free(file);
}

static void run(const nas_predictor *p)
{
    float *x = calloc((size_t)p->net.width[0], sizeof *x), y;
    float *scratch = malloc(2 * (size_t)nas_dense_widest(&p->net) * sizeof *scratch);

    if (x != NULL && scratch != NULL)
        nas_dense_run(&p->net, 1, x, scratch, &y);
    free(x);
    free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nas_predictor *predictor;
    nas_err err;
    uint8_t *copy = malloc(size ? size : 1); /* aligned, and with nothing readable behind it */

    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    touch(copy, size);
    if (nas_predictor_parse(&predictor, copy, size, "fuzz", &err) == NAS_OK)
        run(predictor);
    nas_predictor_free(predictor);
    free(copy);
    return 0;
}
