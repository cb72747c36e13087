/* What `nas prune` works with: a network, its groups of channels, images to calibrate and to judge
 * on (held out of train), and AMC's environment over them. */
#ifndef NAS_CLI_PRUNE_TASK_H
#define NAS_CLI_PRUNE_TASK_H

#include "base/json.h"
#include "cli/tuning.h"
#include "latency/table/set.h"
#include "nas/data/dataset.h"
#include "nas/prune/pruner.h"
#include "search/rl/amc.h"

typedef struct cli_prune_config {
    nas_amc_config amc;     /* all its limits stand in `beside`                   */
    bool relative;          /* that of MACs is a share of the unpruned network's  */
    const char *table;      /* NULL: none */
    bool allow_emulated;
    int calibration_images, calibration_points, judge_images;
    cli_tuning tuning;      /* before a policy is judged; not opened yet           */
    double valid_fraction;
    uint64_t seed;
    int threads;
} cli_prune_config;

typedef struct cli_prune_task {
    cli_prune_config config;
    nas_arch *arch;
    nas_model *model;
    nas_dataset *data;
    nas_latency_set *tables;
    nas_prune_plan *plan;
    nas_pruner *pruner;
    nas_loader *calibration, *judged;
    nas_amc *amc;
    const nas_observer *observer; /* asked to stop while judging; NULL: nobody */
} cli_prune_task;

/** Loads and checks; images are not looked at yet.  After an error too it needs _fini.
 * NAS_E_CONFIG: nothing to prune, too few images, other sizes; NAS_E_INFEASIBLE: budget out of
 * reach, or a table that lacks a layer. */
nas_status cli_prune_load(cli_prune_task *task, const char *model, const char *data,
                          const cli_prune_config *config, nas_err *err);
void cli_prune_fini(cli_prune_task *task);

/** Captures what the layers read, for the reconstruction of their weights. */
nas_status cli_prune_calibrate(cli_prune_task *task, nas_err *err);
/** Top-1 of the held-out images. */
nas_status cli_prune_judge(const cli_prune_task *task, const nas_model *model, double *top1,
                           nas_err *err);

/** What `channels` keeps of each group, for people and scripts: a list of {"layer" that reads it
 * first, "channels", "of", "share"}.  NULL: no memory. */
json_t *cli_prune_policy(const cli_prune_task *task, const int *channels);

#endif
