/* Any text as a schedule: never a crash, and what is accepted keeps the rules and is written as
 * what it was read from. */
#include <assert.h>
#include <stdint.h>

#include "search/ofa/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static nas_space *space;
    static nas_ofa_schedule schedule, again;
    json_t *json;

    if (space == NULL && nas_space_load(&space, "ofa-tiny", NULL) != NAS_OK)
        return 0;
    if (nas_json_parse(&json, (const char *)data, size, "input", NULL) != NAS_OK)
        return 0;
    if (nas_ofa_schedule_from_json(&schedule, json, "input", space, NULL) == NAS_OK) {
        json_t *written = nas_ofa_schedule_json(&schedule);

        assert(nas_ofa_schedule_check(&schedule, space, NULL) == NAS_OK);
        assert(nas_ofa_schedule_from_json(&again, written, "again", space, NULL) == NAS_OK);
        json_t *written_again = nas_ofa_schedule_json(&again);
        assert(json_equal(written, written_again));
        json_decref(written);
        json_decref(written_again);
    }
    json_decref(json);
    return 0;
}
