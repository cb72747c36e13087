/* Ctrl-C and SIGTERM: the first asks, the second ends. */
#ifndef NAS_CLI_SIGNALS_H
#define NAS_CLI_SIGNALS_H

#include <stdbool.h>

/** Makes broken pipes and file-size limits errors of write instead of signals. */
void cli_signals_init(void);
/** From now on the first SIGINT or SIGTERM only sets a flag, and says so; the second ends the
 * process at once with exit code 130 or 143, unless it is `patient`: a job's process may be asked
 * by several (Slurm and its task, mpirun, the kernel for a loop that died), who kill it if it takes
 * long.  A patient one hears SIGUSR1, too, which mpirun hands on at once. */
void cli_signals_catch(bool patient);
/** True once a signal came. */
bool cli_stop_requested(void);
/** Of a command that else writes checkpoints: what a signal ends now has kept nothing to go on
 * from, so its exit code is that of a signal. */
void cli_keeps_nothing(void);
bool cli_kept_nothing(void);
/** 128 + the signal that came, 0 if none did. */
int cli_signal_exit_code(void);

#endif
