/* Private to nas/space: operations as JSON, and what the three JSON readers of
 * this folder share. */
#ifndef NAS_NAS_SPACE_OP_JSON_H
#define NAS_NAS_SPACE_OP_JSON_H

#include <jansson.h>

#include "ops/layer/op.h"

enum { NAS_WHERE_SIZE = 320 };

/** Names a part of a JSON text for messages ("net.json: blocks[3]"); cut if too long. */
const char *nas_space__where(char out[NAS_WHERE_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** NAS_E_DATA unless `json` is an object whose keys are all in one of two NULL-terminated
 * lists (`more` may be NULL); names the nearest known key. */
nas_status nas_space__members(const json_t *json, const char *where, const char *const *known,
                              const char *const *more, nas_err *err);

/** Reads {"op": "mbconv", ...}. `in`: channels that reach it, where the object does not
 * say. `more`: members that the object may have besides the operation's own, or NULL. */
nas_status nas_space__op_read(nas_op_spec *out, const json_t *json, const char *where, int in,
                              const char *const *more, nas_err *err);
/** Every member that the type has, none left to defaults.  NULL: no memory. */
json_t *nas_space__op_write(const nas_op_spec *spec);

/** Reads member "act"; a missing one keeps *out. */
nas_status nas_space__act_read(const json_t *json, const char *where, nas_act *out, nas_err *err);

/** An integer where the value is one, else the shortest decimal that reads back as `value`. */
json_t *nas_space__number(float value);

/** The settings at the top of spaces and architectures. */
typedef struct nas_space__head {
    const char *name; /* borrowed from the JSON; NULL: not given; fits in 63 bytes */
    int image_size, channels, classes;
    float bn_momentum, bn_eps;
} nas_space__head;
extern const char *const nas_space__head_members[];
nas_status nas_space__head_read(nas_space__head *out, const json_t *json, const char *where,
                                const char *format, nas_err *err);
json_t *nas_space__head_write(const nas_space__head *head, const char *format);

/** {"momentum": m, "eps": e}, as net.config has it too. */
nas_status nas_space__bn_read(const json_t *json, const char *where, float *momentum, float *eps,
                              nas_err *err);
json_t *nas_space__bn_write(float momentum, float eps);

/** Digest of the compact text of `json` (taken over; NULL counts as no memory). */
nas_status nas_space__digest(json_t *json, char *out, nas_err *err);

#endif
