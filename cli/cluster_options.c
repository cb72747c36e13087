/* Options of --on slurm. */
#include "cli/cluster_options.h"

#define AT(field) offsetof(cli_cluster_options, field)

const nas_option cli_cluster_table[] = {
    {"--on", NAS_OPT_CHOICE, AT(on), "local", 0, 0, "local|slurm", NULL,
     "where jobs run: on this machine, or as tasks of Slurm"},
    {"--partition", NAS_OPT_STRING, AT(partition), NULL, 0, 0, NULL, "NAME",
     "Slurm: partition; default: the cluster's"},
    {"--account", NAS_OPT_STRING, AT(account), NULL, 0, 0, NULL, "NAME",
     "Slurm: account that is charged; default: the user's"},
    {"--qos", NAS_OPT_STRING, AT(qos), NULL, 0, 0, NULL, "NAME",
     "Slurm: quality of service; default: the user's"},
    {"--minutes", NAS_OPT_INT, AT(minutes), "0", 0, 1e6, NULL, "MIN",
     "Slurm: time of a task, after which it is queued again; 0: the partition's"},
    {"--warn", NAS_OPT_INT, AT(warn), "120", 1, 65535, NULL, "S",
     "Slurm: seconds before that time is over, to write a checkpoint"},
    {"--at-once", NAS_OPT_INT, AT(at_once), "0", 0, 1e6, NULL, "N",
     "Slurm: tasks of one array that run at a time; 0: as many as there is room for"},
    {"--array-max", NAS_OPT_INT, AT(array_max), "1000", 1, 1e6, NULL, "N",
     "Slurm: tasks of one array (see MaxArraySize in slurm.conf)"},
    {"--poll", NAS_OPT_INT, AT(poll), "5", 1, 3600, NULL, "S",
     "Slurm: seconds between two looks at it"},
    {"--log-kib", NAS_OPT_INT, AT(log_kib), "65536", 1, 1 << 30, NULL, "KIB",
     "kept of what an attempt writes to stdout, and to stderr"},
    {"--grace", NAS_OPT_INT, AT(grace), "15", 0, 86400, NULL, "S",
     "seconds that a job has to write a checkpoint when it must stop"},
    {0},
};

nas_status cli_cluster_check(const cli_cluster_options *o, nas_err *err)
{
    if (o->on == CLI_ON_SLURM || (!o->partition && !o->account && !o->qos && o->minutes == 0 &&
                                  o->at_once == 0))
        return NAS_OK;
    return nas_fail(err, NAS_E_USAGE, "--partition, --account, --qos, --minutes and --at-once are "
                    "for --on slurm");
}

nas_cluster_options cli_cluster_settings(const cli_cluster_options *o)
{
    return (nas_cluster_options){
        .slurm = {.partition = o->partition, .account = o->account, .qos = o->qos,
                  .minutes = o->minutes, .warn_s = o->warn, .at_once = o->at_once},
        .log_bytes = o->log_kib << 10, .grace_ms = 1000 * o->grace, .poll_ms = 1000 * o->poll,
        .array_max = o->array_max};
}
