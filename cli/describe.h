/* JSON objects that describe things; commands that show the same thing share them.
 * NULL: no memory. */
#ifndef NAS_CLI_DESCRIBE_H
#define NAS_CLI_DESCRIBE_H

#include "cli/command.h"
#include "latency/regress/regressor.h"
#include "nas/data/dataset.h"
#include "nas/space/space.h"

/** What `nas data info` tells. */
json_t *cli_dataset_json(const nas_dataset *data);
/** Name, input, architectures, range of MACs, one entry a slot. */
nas_status cli_space_json(json_t **out, const nas_space *space, nas_err *err);
/** Name, input, MACs, parameters, digest, one entry a block. */
nas_status cli_arch_json(json_t **out, const nas_arch *arch, nas_err *err);
/** Origin and size of a table. */
json_t *cli_table_json(const nas_latency_table *table);
/** Origin of a regressor, and how good it is. */
json_t *cli_regressor_json(const nas_regressor *regressor);
/** A run without its configuration and results. */
json_t *cli_run_json(const nas_store_run *run);

/** Text that the store keeps as JSON (config, summary), as JSON again; null if there is none. */
json_t *cli_stored_json(const char *text);

/** "mbconv 7x7 e6", "skip", ...: an operation in few letters. */
void cli_op_text(const nas_op_spec *op, char out[64]);

#endif
