/* Operations as JSON: one table of members serves reading, writing and checking. */
#include "nas/space/op_json.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/options.h"
#include "ops/layer/own.h"

/* Bits of operation types. */
#define BIT(type) (1u << NAS_OP_##type)
#define POOLS (BIT(MAX_POOL) | BIT(AVG_POOL))
#define WINDOWS (BIT(CONV) | BIT(MBCONV) | POOLS)
#define ALL ((1u << NAS_OP_TYPES) - 1)
#define AT(field) offsetof(nas_op_spec, field)

typedef enum member_kind { INT, REAL, FLAG, ACT } member_kind;

typedef struct op_member {
    const char *key;
    member_kind kind;
    size_t offset;     /* in nas_op_spec */
    unsigned types;    /* operations that have it */
    unsigned required; /* of those, the ones that cannot do without */
    int standard;      /* value when it is missing */
} op_member;

static const op_member members[] = {
    {"in", INT, AT(in), ALL, 0, 0}, /* missing: what reaches the operation */
    {"out", INT, AT(out), ALL, BIT(CONV) | BIT(MBCONV) | BIT(LINEAR), 0}, /* missing: in */
    {"kernel", INT, AT(kernel), WINDOWS | BIT(OWN), WINDOWS, 0},
    {"stride", INT, AT(stride), WINDOWS | BIT(OWN), 0, 1},
    {"groups", INT, AT(groups), BIT(CONV), 0, 1},
    {"expand", REAL, AT(expand), BIT(MBCONV), 0, 0}, /* missing: mid / in */
    {"mid", INT, AT(mid), BIT(MBCONV), 0, 0},        /* missing: in * expand */
    {"se", INT, AT(se), BIT(MBCONV), 0, 0},
    {"act", ACT, AT(act), BIT(CONV) | BIT(MBCONV) | BIT(LINEAR), 0, NAS_ACT_NONE},
    {"bn", FLAG, AT(bn), BIT(CONV), 0, true},
    {"bias", FLAG, AT(bias), BIT(CONV), 0, false},
    {"bias", FLAG, AT(bias), BIT(LINEAR), 0, true},
    {"dropout", REAL, AT(dropout), BIT(LINEAR), 0, 0},
};
enum { MEMBERS = sizeof members / sizeof *members, MOST_MEMBERS = 24 /* of one object */ };

const char *nas_space__where(char out[NAS_WHERE_SIZE], const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(out, NAS_WHERE_SIZE, format, args);
    va_end(args);
    return out;
}

static nas_status unknown(const char *where, const char *what, const char *name,
                          const char *const *known, nas_err *err)
{
    const char *near = nas_nearest(name, known);

    nas_fail(err, NAS_E_DATA, "%s: unknown %s \"%.40s\"", where, what, name);
    if (near != NULL)
        nas_hint(err, "did you mean \"%s\"?", near);
    return NAS_E_DATA;
}

nas_status nas_space__members(const json_t *json, const char *where, const char *const *known,
                              const char *const *more, nas_err *err)
{
    const char *all[MOST_MEMBERS + 1];
    int count = 0;

    for (; *known != NULL; known++)
        all[count++] = *known;
    for (; more != NULL && *more != NULL; more++)
        all[count++] = *more;
    assert(count <= MOST_MEMBERS);
    all[count] = NULL;
    return nas_json_members(json, where, all, err);
}

nas_status nas_space__act_read(const json_t *json, const char *where, nas_act *out, nas_err *err)
{
    const char *name = nas_act_name(*out);
    nas_status status = nas_json_str(json, where, "act", false, &name, err);

    if (status != NAS_OK)
        return status;

    const int act = nas_act_find(name);
    if (act < 0) {
        nas_fail(err, NAS_E_DATA, "%s: unknown activation \"%.40s\"", where, name);
        nas_hint(err, "known: none, relu, relu6, h_swish, h_sigmoid");
        return NAS_E_DATA;
    }
    *out = (nas_act)act;
    return NAS_OK;
}

static nas_status read_member(nas_op_spec *spec, const op_member *m, const json_t *json,
                              const char *where, nas_err *err)
{
    void *field = (char *)spec + m->offset;
    const bool required = m->required & 1u << spec->type;
    int64_t integer = m->standard;
    double real = m->standard;
    nas_status status = NAS_OK;

    switch (m->kind) {
    case INT:
        status = nas_json_int(json, where, m->key, required, 0, 1 << 30, &integer, err);
        *(int *)field = (int)integer;
        break;
    case REAL:
        status = nas_json_real(json, where, m->key, required, 0, 1e6, &real, err);
        *(float *)field = (float)real;
        break;
    case FLAG:
        *(bool *)field = m->standard;
        status = nas_json_bool(json, where, m->key, required, field, err);
        break;
    case ACT:
        *(nas_act *)field = (nas_act)m->standard;
        status = nas_space__act_read(json, where, field, err);
        break;
    }
    return status;
}

/* True if operations of this specification have that member in their JSON. */
static bool has_member(const op_member *m, const nas_op_spec *spec)
{
    return m->types & 1u << spec->type &&
           (spec->type != NAS_OP_OWN || m->types == ALL || nas_own_get(spec->own)->window);
}

static nas_status read_type(nas_op_spec *out, const json_t *json, const char *where, nas_err *err)
{
    const char *names[NAS_OP_OWN + NAS_OWN_MAX + 1] = {NULL}, *name = NULL;
    int count = 0;
    nas_status status = nas_json_str(json, where, "op", true, &name, err);

    if (status != NAS_OK)
        return status;
    for (; count < NAS_OP_OWN; count++)
        names[count] = nas_op_name((nas_op_type)count);
    for (int own = 0; nas_own_get(own) != NULL; own++)
        names[count++] = nas_own_get(own)->name;
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            *out = i < NAS_OP_OWN ? (nas_op_spec){.type = (nas_op_type)i}
                                  : (nas_op_spec){.type = NAS_OP_OWN, .own = i - NAS_OP_OWN};
            return NAS_OK;
        }
    return unknown(where, "operation", name, names, err);
}

/* What a missing "in", "out", "mid" or "expand" follows from. */
static nas_status complete(nas_op_spec *spec, const json_t *json, const char *where, int in,
                           nas_err *err)
{
    if (spec->in == 0)
        spec->in = in;
    if (spec->out == 0 && json_object_get(json, "out") != NULL)
        return nas_fail(err, NAS_E_DATA, "%s.out: must be at least 1", where);
    if (spec->out == 0)
        spec->out = spec->in;
    if (spec->type != NAS_OP_MBCONV)
        return NAS_OK;
    if (spec->mid == 0 && spec->expand == 0.0f)
        return nas_fail(err, NAS_E_DATA, "%s: mbconv needs \"expand\" or \"mid\"", where);
    if (spec->mid == 0) /* the cap keeps the cast defined; nas_op_check refuses it */
        spec->mid = (int)fmin(rint((double)spec->in * (double)spec->expand), 1 << 30);
    if (spec->expand == 0.0f && spec->in > 0)
        spec->expand = (float)spec->mid / (float)spec->in;
    return NAS_OK;
}

nas_status nas_space__op_read(nas_op_spec *out, const json_t *json, const char *where, int in,
                              const char *const *more, nas_err *err)
{
    const char *known[MEMBERS + 2] = {"op"};
    nas_op_spec spec = {0};
    nas_status status;
    int count = 1;

    if (!json_is_object(json))
        return nas_fail(err, NAS_E_DATA, "%s: must be an object", where);
    if ((status = read_type(&spec, json, where, err)))
        return status;
    for (int i = 0; i < MEMBERS; i++)
        if (has_member(&members[i], &spec)) {
            known[count++] = members[i].key;
            if ((status = read_member(&spec, &members[i], json, where, err)))
                return status;
        }
    if ((status = nas_space__members(json, where, known, more, err)) ||
        (status = complete(&spec, json, where, in, err)))
        return status;
    if ((status = nas_op_check(&spec, err)))
        nas_err_prefix(err, "%s", where);
    *out = spec;
    return status;
}

json_t *nas_space__op_write(const nas_op_spec *spec)
{
    json_t *json = json_object();
    int failed = json_object_set_new(json, "op", json_string(nas_op_spec_name(spec)));

    for (int i = 0; i < MEMBERS; i++) {
        const op_member *m = &members[i];
        const void *field = (const char *)spec + m->offset;
        json_t *value = NULL;

        if (!has_member(m, spec))
            continue;
        switch (m->kind) {
        case INT: value = json_integer(*(const int *)field); break;
        case REAL: value = nas_space__number(*(const float *)field); break;
        case FLAG: value = json_boolean(*(const bool *)field); break;
        case ACT: value = json_string(nas_act_name(*(const nas_act *)field)); break;
        }
        failed |= json_object_set_new(json, m->key, value);
    }
    if (failed) {
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *nas_space__number(float value)
{
    char text[32];

    if (value == truncf(value) && fabsf(value) < 1e9f)
        return json_integer((json_int_t)value);
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return json_real(strtod(text, NULL));
}

nas_status nas_space__bn_read(const json_t *json, const char *where, float *momentum, float *eps,
                              nas_err *err)
{
    static const char *const known[] = {"momentum", "eps", NULL};
    const json_t *bn = json_object_get(json, "bn");
    double m = (double)*momentum, e = (double)*eps;
    char inside[NAS_WHERE_SIZE];
    nas_status status;

    if (bn == NULL)
        return NAS_OK;
    nas_space__where(inside, "%s: bn", where);
    if ((status = nas_space__members(bn, inside, known, NULL, err)) ||
        (status = nas_json_real(bn, inside, "momentum", false, 0, 1, &m, err)) ||
        (status = nas_json_real(bn, inside, "eps", false, 1e-12, 1, &e, err)))
        return status;
    *momentum = (float)m;
    *eps = (float)e;
    return NAS_OK;
}

json_t *nas_space__bn_write(float momentum, float eps)
{
    return json_pack("{s:o, s:o}", "momentum", nas_space__number(momentum), "eps",
                     nas_space__number(eps));
}

const char *const nas_space__head_members[] = {"format", "version", "name", "image_size",
                                               "channels", "classes", "bn", NULL};

static nas_status read_format(const json_t *json, const char *where, const char *format,
                              nas_err *err)
{
    const char *given = format;
    int64_t version = 1;
    nas_status status;

    if ((status = nas_json_str(json, where, "format", false, &given, err)) ||
        (status = nas_json_int(json, where, "version", false, 1, INT32_MAX, &version, err)))
        return status;
    if (strcmp(given, format) != 0)
        return nas_fail(err, NAS_E_DATA, "%s: this is \"%.40s\", not \"%s\"", where, given, format);
    if (version != 1)
        return nas_fail(err, NAS_E_DATA, "%s: written by a newer program (version %lld)", where,
                        (long long)version);
    return NAS_OK;
}

nas_status nas_space__head_read(nas_space__head *out, const json_t *json, const char *where,
                                const char *format, nas_err *err)
{
    int64_t image_size = 0, channels = 3, classes = 0;
    nas_status status;

    *out = (nas_space__head){.bn_momentum = 0.1f, .bn_eps = 1e-3f};
    if ((status = read_format(json, where, format, err)) ||
        (status = nas_json_str(json, where, "name", false, &out->name, err)) ||
        (status = nas_json_int(json, where, "image_size", true, 1, 4096, &image_size, err)) ||
        (status = nas_json_int(json, where, "channels", false, 1, 65536, &channels, err)) ||
        (status = nas_json_int(json, where, "classes", true, 1, 65536, &classes, err)) ||
        (status = nas_space__bn_read(json, where, &out->bn_momentum, &out->bn_eps, err)))
        return status;
    if (out->name != NULL && strlen(out->name) > 63)
        return nas_fail(err, NAS_E_DATA, "%s.name: longer than 63 bytes", where);
    out->image_size = (int)image_size;
    out->channels = (int)channels;
    out->classes = (int)classes;
    return NAS_OK;
}

json_t *nas_space__head_write(const nas_space__head *head, const char *format)
{
    return json_pack("{s:s, s:i, s:s, s:i, s:i, s:i, s:o}", "format", format, "version", 1, "name",
                     head->name, "image_size", head->image_size, "channels", head->channels,
                     "classes", head->classes, "bn",
                     nas_space__bn_write(head->bn_momentum, head->bn_eps));
}

nas_status nas_space__digest(json_t *json, char *out, nas_err *err)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(9))
                      : NULL;

    json_decref(json);
    if (text == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a digest");
    nas_digest(text, strlen(text), out);
    free(text);
    return NAS_OK;
}
