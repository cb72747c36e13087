/* Reading the lines: members by name, numbers within bounds, nothing else. */
#include "latency/profile/lines.h"

#include <stddef.h>
#include <string.h>

#include "base/json.h"

static const char where[] = "line";
static const double max_ms = 1e6;

static nas_status read_text(const json_t *json, const char *key, char *out, size_t size,
                            nas_err *err)
{
    const char *text = "";
    const nas_status status = nas_json_str(json, where, key, true, &text, err);

    if (status != NAS_OK)
        return status;
    if (strlen(text) >= size)
        return nas_fail(err, NAS_E_DATA, "%s.%s: more than %zu bytes", where, key, size - 1);
    snprintf(out, size, "%s", text);
    nas_facts__plain(out);
    return NAS_OK;
}

static nas_status read_facts(nas_line *out, const json_t *json, nas_err *err)
{
    static const char *const known[] = {"onepath_profile", "device", "engine", "kernels",
                                        "governor", "cores", "threads", "load", "mhz", "emulated",
                                        NULL};
    nas_facts *facts = &out->facts;
    int64_t version, cores, threads;
    nas_status status;

    *facts = (nas_facts){.cores = 0};
    if ((status = nas_json_int(json, where, known[0], true, 1, 1, &version, err)) ||
        (status = nas_json_members(json, where, known, err)) ||
        (status = read_text(json, "device", facts->device, sizeof facts->device, err)) ||
        (status = read_text(json, "engine", facts->engine, sizeof facts->engine, err)) ||
        (status = read_text(json, "kernels", facts->kernels, sizeof facts->kernels, err)) ||
        (status = read_text(json, "governor", facts->governor, sizeof facts->governor, err)) ||
        (status = nas_json_int(json, where, "cores", true, 1, 65536, &cores, err)) ||
        (status = nas_json_int(json, where, "threads", true, 1, 65536, &threads, err)) ||
        (status = nas_json_real(json, where, "load", true, -1, 1e6, &facts->load, err)) ||
        (status = nas_json_real(json, where, "mhz", false, 0, 1e6, &facts->mhz, err)) ||
        (status = nas_json_bool(json, where, "emulated", true, &facts->emulated, err)))
        return status;
    facts->cores = (int)cores;
    facts->threads = (int)threads;
    out->kind = NAS_LINE_FACTS;
    return NAS_OK;
}

static nas_status read_number(nas_line *out, const json_t *json, nas_request_kind kind,
                              const char *const *known, nas_err *err)
{
    const nas_status status = nas_json_members(json, where, known, err);

    out->kind = NAS_LINE_ANSWER;
    out->request.kind = kind;
    out->slots = 0;
    return status != NAS_OK ? status
                            : nas_json_int(json, where, known[0], true, 0, INT64_C(1) << 40,
                                           &out->request.number, err);
}

static nas_status read_choice(nas_line *out, const json_t *json, nas_err *err)
{
    const json_t *choice = json_object_get(json, "choice");
    const size_t slots = json_array_size(choice); /* 0 for what is no list */

    if (slots < 1 || slots > NAS_MAX_SLOTS)
        return nas_fail(err, NAS_E_DATA, "%s.choice: must be a list of 1 to %d", where,
                        NAS_MAX_SLOTS);
    for (size_t s = 0; s < slots; s++) {
        const json_t *index = json_array_get(choice, s);
        const json_int_t number = json_integer_value(index);

        if (!json_is_integer(index) || number < 0 || number >= NAS_MAX_CANDIDATES)
            return nas_fail(err, NAS_E_DATA, "%s.choice[%zu]: not in 0..%d", where, s,
                            NAS_MAX_CANDIDATES - 1);
        out->request.choice[s] = (int)number;
    }
    out->slots = (int)slots;
    return NAS_OK;
}

static nas_status read_turn(nas_line *out, const json_t *json, nas_err *err)
{
    static const char *const known[] = {"turn", "choice", "ms", NULL};
    const json_t *ms = json_object_get(json, "ms");
    nas_status status = read_number(out, json, NAS_REQUEST_TURN, known, err);

    if (status != NAS_OK || (status = read_choice(out, json, err)) != NAS_OK)
        return status;
    if (json_array_size(ms) != (size_t)out->slots)
        return nas_fail(err, NAS_E_DATA, "%s.ms: must be a list of the length of 'choice'", where);
    for (size_t s = 0; s < (size_t)out->slots; s++) {
        const json_t *time = json_array_get(ms, s);
        const double value = json_number_value(time);

        if (!json_is_number(time) || !(value >= 0.0 && value <= max_ms))
            return nas_fail(err, NAS_E_DATA, "%s.ms[%zu]: not a number in 0..%g", where, s,
                            max_ms);
        out->answer.block_ms[s] = value;
    }
    return NAS_OK;
}

static nas_status read_network(nas_line *out, const json_t *json, nas_err *err)
{
    static const char *const known[] = {"network", "choice", "ms", "disturbed", NULL};
    int64_t disturbed = 0;
    nas_status status = read_number(out, json, NAS_REQUEST_NETWORK, known, err);

    if (status != NAS_OK || (status = read_choice(out, json, err)) ||
        (status = nas_json_real(json, where, "ms", true, 0, max_ms, &out->answer.ms, err)) ||
        (status = nas_json_int(json, where, "disturbed", true, 0, NAS_BENCH_RUNS, &disturbed,
                               err)))
        return status;
    out->answer.disturbed = (int)disturbed;
    return NAS_OK;
}

static nas_status read_probe(nas_line *out, const json_t *json, nas_err *err)
{
    static const char *const known[] = {"probe", "ms", NULL};
    const nas_status status = read_number(out, json, NAS_REQUEST_PROBE, known, err);

    return status != NAS_OK
               ? status
               : nas_json_real(json, where, "ms", true, 0, max_ms, &out->answer.ms, err);
}

static nas_status read_error(nas_line *out, const json_t *json, nas_err *err)
{
    static const char *const known[] = {"error", NULL};
    const nas_status status = nas_json_members(json, where, known, err);

    out->kind = NAS_LINE_ERROR;
    return status != NAS_OK ? status : read_text(json, "error", out->text, sizeof out->text, err);
}

nas_status nas_line__parse(nas_line *out, const char *text, size_t size, nas_err *err)
{
    static const struct {
        const char *member; /* that tells the kind */
        nas_status (*read)(nas_line *out, const json_t *json, nas_err *err);
    } kinds[] = {{"turn", read_turn}, {"network", read_network}, {"probe", read_probe},
                 {"onepath_profile", read_facts}, {"error", read_error}};
    json_t *json;
    nas_status status = nas_json_parse(&json, text, size, where, err);

    if (status != NAS_OK)
        return status;
    status = nas_fail(err, NAS_E_DATA, "%s: none that nas-profile writes", where);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (json_object_get(json, kinds[i].member) != NULL) {
            status = kinds[i].read(out, json, err);
            break;
        }
    json_decref(json);
    return status;
}
