/* A search with everything that it needs, put together from names and files. */
#ifndef NAS_CLI_SEARCH_TASK_H
#define NAS_CLI_SEARCH_TASK_H

#include "cli/limits.h"
#include "cli/run_session.h"
#include "cli/verify_top.h"
#include "latency/table/set.h"
#include "search/proxyless/search.h"

typedef struct cli_search_options {
    cli_run_options run;
    const char *data, *space, *table, *augment, *objective;
    cli_cost_limits limits;
    double target_ms, max_minutes, warmup_lr, lr, decay, clip_norm, label_smoothing;
    double valid_fraction, arch_lr;
    bool allow_emulated, dry_run, sync_bn;
    int method, arch_mode, latency_loss;
    int64_t epochs, warmup_epochs, batch, arch_every, rl_samples, derive_samples, score_images;
    cli_verify_options verify;
} cli_search_options;

/** Of options that were parsed. */
nas_search_config cli_search_config(const cli_search_options *options);

typedef struct cli_search_task {
    nas_search_config config;
    nas_dataset *data;
    nas_space *space;              /* fitted to the data            */
    nas_latency_set *tables;       /* this and the next NULL without a table */
    const nas_latency_table *table; /* the one for the images' size */
    const char *table_path;        /* borrowed; NULL: none          */
    nas_latency_lut *lut;
    cli_verifier verifier;         /* borrows from the task: do not copy */
    nas_search *search;
} cli_search_task;

/** Loads, fits and checks.  After an error too, what was made is there (others NULL) until
 * cli_search_finish.  A table of an emulator is refused unless that is allowed, and with --verify-top
 * that of another device than the one which measures: NAS_E_CONFIG.
 * Without a table latency is not known.
 * NAS_E_INFEASIBLE: the table does not cover the space (there is one, but lut is NULL), or
 * nothing in the space meets the limits. */
nas_status cli_search_prepare(cli_search_task *task, const cli_search_options *options,
                              const nas_search_config *config, nas_err *err);
void cli_search_finish(cli_search_task *task);

/** Runs the prepared task as a run of the store; fills `found` (its judgement is yours) and
 * the members of `result` that every search ends with. */
nas_status cli_search_execute(const cli_context *context, const cli_search_task *task,
                              nas_search_result *found, json_t *result, nas_err *err);

#endif
