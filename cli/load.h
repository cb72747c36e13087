/* Things that several commands load in the same way. */
#ifndef NAS_CLI_LOAD_H
#define NAS_CLI_LOAD_H

#include <stddef.h>

#include "cli/command.h"
#include "latency/table/set.h"
#include "nas/data/dataset.h"
#include "nas/model/model.h"
#include "nas/space/space.h"

/** Options that name a space and the images it is for; embed after cli_common. */
typedef struct cli_space_options {
    cli_common common;
    const char *space, *data;
    int64_t image_size, classes;
} cli_space_options;
extern const nas_option cli_space_table[];
/** Its rows for a struct that has these options at `base`, not at its head. */
#define CLI_SPACE_ROWS(base)                                                                       \
    {"--space", NAS_OPT_STRING, (base) + offsetof(cli_space_options, space), NULL, 0, 0, NULL,     \
     "SPACE", "name of a built-in space, or its JSON file", true},                                 \
    {"--data", NAS_OPT_STRING, (base) + offsetof(cli_space_options, data), NULL, 0, 0, NULL,       \
     "FILE", "packed images that the space shall be for: their size, channels and classes"},       \
    {"--image-size", NAS_OPT_INT, (base) + offsetof(cli_space_options, image_size), NULL, 1,       \
     NAS_MAX_IMAGE_SIZE, NULL, "PX",                                                               \
     "side of the images; default: theirs, the table's, or what the space was made for"},          \
    {"--classes", NAS_OPT_INT, (base) + offsetof(cli_space_options, classes), NULL, 1, 1e6, NULL,  \
     "N", "classes; default: theirs, or what the space was made for"}

/** Makes a space one for these images: their size where they have one, otherwise its own. */
nas_status cli_space_fit(nas_space *space, const nas_dataset *data, nas_err *err);

/** Loads the space of the options, fitted to the images and the size that they name. */
nas_status cli_space_load(nas_space **out, const cli_space_options *options, nas_err *err);

/** The same for the images that the only table of `set` is for, where the options name none and
 * the space can take them.  A regressor in `set` tells its times. */
nas_status cli_space_load_for(nas_space **out, const cli_space_options *options,
                              nas_latency_set *set, nas_err *err);

/** Loads tables, or a regressor, and picks the table for the space's images; `*set` (yours) owns
 * it. */
nas_status cli_table_load(nas_latency_set **set, const nas_latency_table **table,
                          const char *where, const nas_space *space, nas_err *err);
/** Adds what a regressor in `set` tells of one architecture. */
nas_status cli_table_fill_arch(nas_latency_set *set, const nas_arch *arch, nas_err *err);
/** As cli_table_load, for the space of one architecture. */
nas_status cli_table_load_arch(nas_latency_set **set, const nas_latency_table **table,
                               const char *where, const nas_arch *arch, int image_size,
                               nas_err *err);

/** Whether a network that was loaded from `model` can be worked on with these images: NAS_E_CONFIG
 * where it has other channels or classes, NAS_E_DATA where a parameter is no finite number. */
nas_status cli_model_check(const nas_model *m, const char *model, const nas_dataset *data,
                           nas_err *err);

/** NAS_E_USAGE where a command would write what `option` names over what it reads; NULL is no
 * file. */
nas_status cli_check_out(const char *in, const char *option, const char *out, nas_err *err);
/** The same for all that it reads, and NAS_E_IO where nothing can be written there; `out` may be
 * NULL.  A dry run writes nothing and does not try. */
nas_status cli_check_output(const char *const in[], int count, const char *option,
                            const char *out, bool dry_run, nas_err *err);

/** Option of commands that choose by tables. */
#define CLI_ALLOW_EMULATED(offset)                                                                \
    {"--allow-emulated", NAS_OPT_FLAG, offset, NULL, 0, 0, NULL, NULL,                            \
     "take a table whose times are an emulator's"}
/** NAS_E_CONFIG if a table of the set was made under an emulator, unless that is `allowed`. */
nas_status cli_tables_trust(const nas_latency_set *set, bool allowed, nas_err *err);

/** NAS_E_CONFIG if the table names another device than that one (a name as in a table's meta),
 * which `who` measures on by `where`: its times say nothing of another. */
nas_status cli_table_check_device(const nas_latency_table *table, const char *device,
                                  const char *where, const char *who, nas_err *err);
/** The same for this machine. */
nas_status cli_table_check_here(const nas_latency_table *table, const char *who, nas_err *err);

/** Keeps a table's content, which came from or went to `path`, with a run. */
nas_status cli_table_record(nas_store *store, nas_store_attempt attempt,
                            const nas_latency_table *table, const char *path, nas_err *err);

/** Records what a command found out about a table as a run that is done as soon as it begins:
 * there is nothing to continue.  `result` is what the store keeps; it gets the run's name as
 * `run`. */
nas_status cli_table_run(const cli_context *context, const char *kind,
                         const nas_latency_table *table, const char *path, json_t *result,
                         nas_err *err);

#endif
