/* The processes that mpirun or srun started together (-DNAS_MPI=ON; mpi_none.c stands in without). */
#ifndef NAS_BASE_MPI_H
#define NAS_BASE_MPI_H

#include "base/comm.h"
#include "base/status.h"

/** How many processes the launcher started, as it tells in the environment; 1: none did. */
int nas_mpi_launched(void);

/** Meets the others, once in the life of a process; *out (borrowed) serves until nas_mpi_close.
 * NAS_E_CONFIG if this program was built without MPI, or the launcher speaks another dialect. */
nas_status nas_mpi_open(const nas_comm **out, nas_err *err);
/** Waits for the others and parts. */
void nas_mpi_close(void);
/** Ends all processes, this one with `code`. */
_Noreturn void nas_mpi_abort(int code);

#endif
