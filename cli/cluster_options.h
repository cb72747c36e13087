/* --on slurm and what comes with it, for the commands that hand jobs over. */
#ifndef NAS_CLI_CLUSTER_OPTIONS_H
#define NAS_CLI_CLUSTER_OPTIONS_H

#include "cli/command.h"
#include "search/jobs/cluster.h"

typedef enum cli_on { CLI_ON_LOCAL, CLI_ON_SLURM } cli_on;

/** The head of an options struct whose command takes cli_cluster_table. */
typedef struct cli_cluster_options {
    cli_common common;
    int on; /* cli_on */
    const char *partition, *account, *qos;
    int64_t minutes, warn, at_once, array_max, poll, log_kib, grace;
} cli_cluster_options;
extern const nas_option cli_cluster_table[];

/** NAS_E_USAGE if options of a cluster are given without --on slurm. */
nas_status cli_cluster_check(const cli_cluster_options *options, nas_err *err);
nas_cluster_options cli_cluster_settings(const cli_cluster_options *options);

#endif
