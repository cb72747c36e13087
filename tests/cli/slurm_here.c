/* Starts and ends the daemons by the script that users have, too. */
#include "tests/cli/slurm_here.h"

#include "tests/cli/nas.h"
#include "tests/support/tools.h"

static bool started;

static const char *run_script(const char *action)
{
    const char *const argv[] = {NAS_SOURCE_DIR "/scripts/slurm-here", action, nas_file("slurm"), "3",
                                NULL};
    static process_result result;

    process_free(&result);
    /* not kept: its daemons would hold the pipe */
    result = process_run(argv, &(process_options){.stdout_path = "/dev/null"});
    return result.code == 0 ? NULL : result.err;
}

void slurm_need(void)
{
    need_tool("sbatch");
    const char *problem = run_script("start");
    if (problem != NULL)
        cr_skip_test("no Slurm can be started here: %s", problem);
    started = true;
    setenv("SLURM_CONF", nas_file("slurm/slurm.conf"), 1);
}

void slurm_end(void)
{
    if (!started)
        return;
    RUN_TOOL("scancel", "--full", "--me", "--signal=KILL");
    run_script("stop");
}
