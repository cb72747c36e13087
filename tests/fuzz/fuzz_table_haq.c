/* Fuzz target: any bytes as a latency table of HAQ (NPY). */
#include <stdint.h>

#include "latency/table/exchange.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nas_latency_table *table = NULL;

    if (nas_latency_table_parse_haq(&table, (const char *)data, size, "input", 100.0, NULL) ==
        NAS_OK)
        nas_latency_table_free(table);
    return 0;
}
