/* Any bytes as a checkpoint: refused or read, and then every tensor lies inside. */
#include <stdlib.h>
#include <string.h>

#include "nas/train/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tensor(const nas_safetensors_tensor *t, const unsigned char *begin, size_t size)
{
    const unsigned char *first = t->data;
    const size_t bytes = (size_t)t->count * nas_dtype_size(t->dtype);

    if (first < begin || bytes > size || first + bytes > begin + size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nas_safetensors *file;
    nas_err err;
    /* a copy of its own: aligned, and with nothing readable behind it */
    unsigned char *copy = malloc(size ? size : 1);

    if (!copy)
        return 0;
    memcpy(copy, data, size);
    if (nas_safetensors_parse(&file, copy, size, "fuzz", false, &err) == NAS_OK) {
        for (int i = 0; i < nas_safetensors_count(file); i++)
            check_tensor(nas_safetensors_at(file, i), copy, size);
        nas_safetensors_close(file);
    }
    free(copy);
    return 0;
}
