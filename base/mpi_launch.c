/* What launchers tell in the environment; also without MPI, which must not run N times for one. */
#include <stdlib.h>

#include "base/mpi.h"

int nas_mpi_launched(void)
{
    /* Open MPI, then Slurm's PMI-2; srun tells its tasks, and a batch script not, how many they are. */
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        const int count = text != NULL ? atoi(text) : 0;

        if (count > 0)
            return count;
    }
    return 1;
}
