/* nas jobs run - the job loop: runs what is queued. */
#include <stddef.h>

#include "base/clock.h"
#include "base/system.h"
#include "cli/cluster_options.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "search/jobs/loop.h"

typedef struct loop_options {
    cli_cluster_options cluster;
    int64_t cores, memory_mib;
    bool watch, take_over;
} loop_options;

#define AT(field) offsetof(loop_options, field)

static const nas_option loop_table[] = {
    {"--watch", NAS_OPT_FLAG, AT(watch), NULL, 0, 0, NULL, NULL,
     "stay when the queue is empty, and take what is submitted"},
    {"--cores", NAS_OPT_INT, AT(cores), NULL, 1, 4096, NULL, "N",
     "that jobs may take up together; default: the cores it may use"},
    {"--memory-mib", NAS_OPT_INT, AT(memory_mib), NULL, 1, 1 << 30, NULL, "MIB",
     "that jobs may take up together; default: the memory it may use"},
    {"--take-over", NAS_OPT_FLAG, AT(take_over), NULL, 0, 0, NULL, NULL,
     "although the loop of another host did not end by itself"},
    {0},
};

static json_t *tally_json(const nas_jobs_tally *tally, double seconds)
{
    json_t *result = json_pack("{s:I, s:i, s:f, s:o}", "attempts", (json_int_t)tally->attempts,
                               "waiting", tally->waiting, "seconds", seconds, "peak_rss_mib",
                               cli_real(tally->peak_rss_mib));

    for (int s = NAS_JOB_DONE; s < NAS_JOB_ANY_STATE; s++)
        json_object_set_new(result, nas_job_state_name(s), json_integer(tally->ended[s]));
    return result;
}

/* Scripts shall see by the exit code that something is to be looked at. */
static nas_status check_ends(const nas_jobs_tally *tally, nas_err *err)
{
    int64_t bad = 0;

    for (int s = NAS_JOB_DONE + 1; s < NAS_JOB_ANY_STATE; s++)
        bad += s == NAS_JOB_CANCELLED ? 0 : tally->ended[s];
    if (bad == 0 && tally->waiting == 0)
        return NAS_OK;
    nas_fail(err, NAS_E_FAIL, "%lld jobs did not get done, and %d wait for what does not come",
             (long long)bad, tally->waiting);
    nas_hint(err, "nas jobs list shows them, nas jobs why JOB explains, nas jobs retry queues "
             "again");
    return NAS_E_FAIL;
}

static nas_status check_place(const loop_options *o, nas_err *err)
{
    if (o->cluster.on == CLI_ON_SLURM && (o->cores > 0 || o->memory_mib > 0))
        return nas_fail(err, NAS_E_USAGE, "--cores and --memory-mib of the loop are for --on "
                        "local: on a cluster Slurm has the slots");
    return cli_cluster_check(&o->cluster, err);
}

static nas_status run_jobs(nas_store *store, const loop_options *o, nas_jobs_tally *tally,
                           nas_err *err)
{
    if (o->cluster.on == CLI_ON_SLURM) {
        nas_cluster_options cluster = cli_cluster_settings(&o->cluster);

        cluster.watch = o->watch;
        cluster.take_over = o->take_over;
        return nas_cluster_run(store, &cluster, tally, err);
    }
    const nas_jobs_options jobs = {
        .cores = o->cores > 0 ? (int)o->cores : nas_system_cores(),
        .memory_mib = o->memory_mib > 0 ? o->memory_mib : (int64_t)(nas_system_memory() >> 20),
        .log_bytes = o->cluster.log_kib << 10, .grace_ms = 1000 * o->cluster.grace,
        .watch = o->watch, .take_over = o->take_over};
    return nas_jobs_run(store, &jobs, tally, err);
}

static nas_status loop_run(const cli_context *context, const void *options, nas_err *err)
{
    const loop_options *o = options;
    const double begun = nas_clock_seconds();
    nas_jobs_tally tally;
    nas_store *store = NULL;
    nas_status status = check_place(o, err);

    if (status == NAS_OK)
        status = nas_store_open(&store, context->common->store, NAS_STORE_CREATE, err);
    if (status == NAS_OK &&
        ((status = run_jobs(store, o, &tally, err)) == NAS_OK || status == NAS_E_INTERRUPTED)) {
        json_t *result = tally_json(&tally, nas_clock_seconds() - begun);
        const nas_status emitted = cli_emit(context, result, status == NAS_OK ? err : NULL);

        status = status != NAS_OK ? status : emitted;
        if (status == NAS_OK)
            status = check_ends(&tally, err);
        else if (status == NAS_E_INTERRUPTED && o->cluster.on == CLI_ON_LOCAL)
            nas_hint(err, "to continue: nas jobs run");
    }
    nas_store_close(store);
    return status;
}

const cli_command cmd_jobs_run = {
    .name = "jobs run", .summary = "run what is queued, until nothing is left or for good",
    .example = "jobs run --watch --cores 8", .tables = {loop_table, cli_cluster_table},
    .size = sizeof(loop_options), .run = loop_run,
};
