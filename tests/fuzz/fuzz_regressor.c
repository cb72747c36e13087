/* Any bytes as a regressor of latency: refused or read, and then it tells a space's times. */
#include <stdlib.h>
#include <string.h>

#include "latency/regress/regressor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const nas_regressor *r)
{
    nas_latency_table *table = nas_regressor_table(r, r->image_size[0], NULL);
    nas_space *space = NULL;

    if (table != NULL && nas_space_load(&space, "tiny", NULL) == NAS_OK)
        (void)nas_regressor_fill(r, table, space, NULL);
    nas_space_free(space);
    nas_latency_table_free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nas_regressor *regressor;
    nas_err err;
    uint8_t *copy = malloc(size ? size : 1); /* aligned, and with nothing readable behind it */

    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    if (nas_regressor_parse(&regressor, copy, size, "fuzz", &err) == NAS_OK)
        ask(regressor);
    nas_regressor_free(regressor);
    free(copy);
    return 0;
}
