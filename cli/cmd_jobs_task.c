/* nas jobs task - what the script of a Slurm array runs on the node. */
#include <stdlib.h>

#include "cli/commands.h"
#include "search/jobs/task.h"

/* A number that Slurm gives by the environment; -1 if it does not. */
static int64_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    const long long number = text != NULL ? strtoll(text, &end, 10) : -1;

    return text != NULL && end > text && *end == '\0' && number >= 0 ? number : -1;
}

static nas_status task_run(const cli_context *context, const void *options, nas_err *err)
{
    const int64_t task = number_of("SLURM_ARRAY_TASK_ID"), restarts =
        number_of("SLURM_RESTART_COUNT"), array = number_of("SLURM_ARRAY_JOB_ID");
    char requeue[64];

    if (task < 0) {
        nas_fail(err, NAS_E_USAGE, "SLURM_ARRAY_TASK_ID is not set: this is no task of an array");
        nas_hint(err, "Slurm runs this command: nas jobs run --on slurm");
        return NAS_E_USAGE;
    }
    snprintf(requeue, sizeof requeue, "%lld_%lld", (long long)array, (long long)task);
    return nas_task_run(context->args[0], task, restarts > 0 ? restarts : 0,
                        array > 0 ? requeue : NULL, err);
}

const cli_command cmd_jobs_task = {
    .name = "jobs task", .summary = "run one task of a Slurm array (its script does this)",
    .arguments = "BATCH", .min_args = 1, .max_args = 1, .run = task_run,
};
