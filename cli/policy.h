/* Policies, layer by layer: what `nas prune` and `nas quantize` leave in a run's summary. */
#ifndef NAS_CLI_POLICY_H
#define NAS_CLI_POLICY_H

#include <jansson.h>

/** Moves the list "policy" of object `summary` (may be null) to `result`, where it becomes a table;
 * each row gets a bar of what is left (nas_policy_layer_kept). */
void cli_policy_show(json_t *result, json_t *summary);

#endif
