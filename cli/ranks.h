/* One of several processes that mpirun or srun started: how they begin, fail and end together. */
#ifndef NAS_CLI_RANKS_H
#define NAS_CLI_RANKS_H

#include "cli/command.h"

/** Meets the other processes if a launcher started more than one; before a command does anything.
 * NAS_E_CONFIG as nas_mpi_open. */
nas_status cli_ranks_open(nas_err *err);
/** The others; NULL: this process is alone. */
const nas_comm *cli_ranks(void);

/** NAS_E_USAGE if there are others: `what` is done by one process. */
nas_status cli_ranks_alone(const char *what, nas_err *err);

/** Where each process did something that may fail for itself alone, before the common work: tells the
 * others how it went.  Returns NAS_OK if all went well, otherwise the status of the first that
 * failed, in which alone `err` has a message.  A process that never comes here, for it failed
 * before, comes to it with cli_ranks_close. */
nas_status cli_ranks_agree(nas_status status, nas_err *err);
/** From here on, where they agreed for the last time, no process waits for how another one stands. */
void cli_ranks_begin(void);

/** The end of this process: prints `err` unless another one does.  A failure after
 * cli_ranks_begin ends the others.  Returns the exit status. */
nas_status cli_ranks_close(nas_status status, nas_err *err);

#endif
