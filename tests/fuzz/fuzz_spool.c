/* Any text as a spool: never a crash; what is taken lies before what was not, and is numbered. */
#include <assert.h>
#include <stdint.h>

#include "search/store/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static nas_status count(void *user, const json_t *record, nas_err *err)
{
    int64_t *visited = user;

    assert(json_is_object(record));
    ++*visited;
    return NAS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nas_spool_place place = {0};
    int64_t visited = 0;

    nas_spool_parse((const char *)data, size, "input", 7, 2, &place, count, &visited, NULL);
    assert(place.bytes >= 0 && place.bytes <= (int64_t)size);
    assert(place.records == (place.records ? visited + 1 : 0));
    return 0;
}
