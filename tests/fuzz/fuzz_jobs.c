/* Any text as a job file: never a crash, and what is accepted is what the store takes. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/json.h"
#include "search/jobs/sweep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const nas_job_spec *spec, int index)
{
    const json_t *word;
    size_t i;

    assert(nas_store_name_check(spec->name, "job", NULL) == NAS_OK);
    assert(spec->cores >= 1 && spec->memory_mib >= 0 && spec->retries >= 0);
    assert(json_array_size(spec->args) >= 1 && json_array_size(spec->args) <= NAS_JOB_MAX_ARGS);
    json_array_foreach(spec->args, i, word)
        assert(json_is_object(word) || json_string_length(word) < NAS_JOB_ARG_SIZE);
    assert(spec->need_count <= NAS_JOB_MAX_NEEDS);
    for (int n = 0; n < spec->need_count; n++)
        assert(spec->needs[n].job < 0 && -1 - spec->needs[n].job < index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const nas_job_spec defaults = {.folder = "/", .cores = 1};
    json_t *json;
    nas_sweep sweep;

    if (nas_json_parse(&json, (const char *)data, size, "input", NULL) != NAS_OK)
        return 0;
    if (nas_sweep_from_json(&sweep, json, "input", &defaults, NULL, NULL) == NAS_OK) {
        for (int i = 0; i < sweep.count; i++)
            check(&sweep.specs[i], i);
        nas_sweep_fini(&sweep);
    }
    json_decref(json);
    return 0;
}
