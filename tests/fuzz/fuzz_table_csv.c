/* Fuzz target: any bytes as a latency table in CSV.  What is accepted must survive writing and
 * reading again unchanged. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "latency/table/exchange.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nas_latency_table *table = NULL, *again = NULL;
    char *text = NULL, *text_again = NULL;
    size_t length, length_again;

    if (nas_latency_table_parse_csv(&table, (const char *)data, size, "input", NULL) != NAS_OK)
        return 0;
    if (nas_latency_table_export(table, NAS_LATENCY_CSV, &text, &length, NULL) != NAS_OK ||
        nas_latency_table_parse_csv(&again, text, length, "again", NULL) != NAS_OK ||
        nas_latency_table_export(again, NAS_LATENCY_CSV, &text_again, &length_again, NULL) !=
            NAS_OK ||
        length != length_again || memcmp(text, text_again, length) != 0)
        abort();
    free(text_again);
    free(text);
    nas_latency_table_free(again);
    nas_latency_table_free(table);
    return 0;
}
