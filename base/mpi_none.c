/* In place of mpi.c in a program without MPI: refuses to run once for each process. */
#include <stdlib.h>

#include "base/mpi.h"

nas_status nas_mpi_open(const nas_comm **out, nas_err *err)
{
    *out = NULL;
    nas_fail(err, NAS_E_CONFIG, "started as %d processes, but built without MPI: each would do all of "
             "the work, in one store", nas_mpi_launched());
    nas_hint(err, "build with -DNAS_MPI=ON (scripts/build mpi), or start one process; nas jobs runs "
             "many searches at a time");
    return NAS_E_CONFIG;
}

void nas_mpi_close(void) {}

_Noreturn void nas_mpi_abort(int code) { exit(code); }
