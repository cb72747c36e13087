/* The one line that tells where a long computation stands. */
#ifndef NAS_CLI_PROGRESS_H
#define NAS_CLI_PROGRESS_H

#include "cli/command.h"
#include "nas/train/observer.h"

typedef struct cli_progress {
    bool quiet, terminal, shown; /* shown: an unfinished line stands on the terminal */
    double next, begun;          /* monotonic seconds: of the next line, of the phase */
    char phase[32];
    int64_t first;               /* batches done when the phase began                */
} cli_progress;

void cli_progress_init(cli_progress *progress, const cli_common *common);
/** At most ten times a second on a terminal, else once in 30 s. */
void cli_progress_show(cli_progress *progress, const nas_progress *at);
/** A nas_data_progress; `user` is the cli_progress.  False once a signal came. */
bool cli_progress_images(void *user, uint32_t done, uint32_t total);
/** An observer for work without a run: shows progress, stops after a signal. */
nas_observer cli_progress_observer(cli_progress *progress);
/** Clears the line, so that other output begins on a line of its own. */
void cli_progress_end(cli_progress *progress);

#endif
