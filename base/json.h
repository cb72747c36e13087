/* JSON on jansson: loading with comments, checked look-ups, exact writing.
 *
 * Look-ups name what they read ("blocks[3].kernel"), so that errors do too. */
#ifndef NAS_BASE_JSON_H
#define NAS_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/** From here on the first request of JSON for memory that is refused is its last one that could be
 * met: values that lack members for want of memory are never written.  Call it before any other
 * use of JSON. */
void nas_json_fail_fast(void);
/** True once memory was refused: what cannot be read or written as JSON is that for this reason. */
bool nas_json_out_of_memory(void);
/** What it means that a text could not become JSON: NAS_E_NOMEM then, otherwise NAS_E_DATA. */
nas_status nas_json_fault(void);

/** Loads a file (at most 64 MiB); // and slash-star comments are allowed; duplicate
 * keys are an error.  NAS_E_IO, NAS_E_DATA with path:line:column, NAS_E_NOMEM. */
nas_status nas_json_load(json_t **out, const char *path, nas_err *err);
nas_status nas_json_parse(json_t **out, const char *text, size_t size, const char *name,
                          nas_err *err);
/** Writes atomically, indented by 2, reals with 17 digits, keys in insertion order. */
nas_status nas_json_save(const json_t *json, const char *path, nas_err *err);

/** NAS_E_DATA unless `json` is an object with members of the NULL-terminated list alone; names
 * the nearest known one. */
nas_status nas_json_members(const json_t *json, const char *where, const char *const *known,
                            nas_err *err);

/** Each reads member `key` of object `obj` into `*out`.  A missing member keeps
 * `*out` when `required` is false.  Wrong type or out of [min, max]: NAS_E_DATA
 * with "where.key: ...".  `where` says what `obj` is, for messages. */
nas_status nas_json_int(const json_t *obj, const char *where, const char *key, bool required,
                        int64_t min, int64_t max, int64_t *out, nas_err *err);
nas_status nas_json_real(const json_t *obj, const char *where, const char *key, bool required,
                         double min, double max, double *out, nas_err *err);
nas_status nas_json_bool(const json_t *obj, const char *where, const char *key, bool required,
                         bool *out, nas_err *err);
/** Borrowed string. */
nas_status nas_json_str(const json_t *obj, const char *where, const char *key, bool required,
                        const char **out, nas_err *err);

#endif
