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

static nas_status read_turn(nas_line *out, const json_t *json, nas_err *err)
{
    static const char *const known[] = {"turn", "choice", "ms", NULL};
    const json_t *choice = json_object_get(json, "choice"), *ms = json_object_get(json, "ms");
    nas_status status;

    if ((status = nas_json_members(json, where, known, err)) ||
        (status = nas_json_int(json, where, "turn", true, 0, INT64_C(1) << 40, &out->turn, err)))
        return status;
    const size_t slots = json_array_size(choice); /* 0 for what is no list */
    if (slots < 1 || slots > NAS_MAX_SLOTS || json_array_size(ms) != slots)
        return nas_fail(err, NAS_E_DATA, "%s: 'choice' and 'ms' must be lists of one length in "
                        "1..%d", where, NAS_MAX_SLOTS);
    for (size_t s = 0; s < slots; s++) {
        const json_t *index = json_array_get(choice, s), *time = json_array_get(ms, s);
        const json_int_t number = json_integer_value(index);
        const double value = json_number_value(time);

        if (!json_is_integer(index) || number < 0 || number >= NAS_MAX_CANDIDATES)
            return nas_fail(err, NAS_E_DATA, "%s.choice[%zu]: not in 0..%d", where, s,
                            NAS_MAX_CANDIDATES - 1);
        if (!json_is_number(time) || !(value >= 0.0 && value <= max_ms))
            return nas_fail(err, NAS_E_DATA, "%s.ms[%zu]: not a number in 0..%g", where, s,
                            max_ms);
        out->choice[s] = (int)number;
        out->ms[s] = value;
    }
    out->slots = (int)slots;
    out->kind = NAS_LINE_TURN;
    return NAS_OK;
}

static nas_status read_error(nas_line *out, const json_t *json, nas_err *err)
{
    static const char *const known[] = {"error", NULL};
    const nas_status status = nas_json_members(json, where, known, err);

    out->kind = NAS_LINE_ERROR;
    return status != NAS_OK ? status : read_text(json, "error", out->text, sizeof out->text, err);
}

static nas_status read_end(nas_line *out, const json_t *json, nas_err *err)
{
    static const char *const known[] = {"end", NULL};
    bool end;
    const nas_status status = nas_json_members(json, where, known, err);

    out->kind = NAS_LINE_END;
    return status != NAS_OK ? status : nas_json_bool(json, where, "end", true, &end, err);
}

nas_status nas_line__parse(nas_line *out, const char *text, size_t size, nas_err *err)
{
    static const struct {
        const char *member; /* that tells the kind */
        nas_status (*read)(nas_line *out, const json_t *json, nas_err *err);
    } kinds[] = {{"turn", read_turn}, {"onepath_profile", read_facts}, {"error", read_error},
                 {"end", read_end}};
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
