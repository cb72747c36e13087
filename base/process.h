/* Running other programs: an argument vector (never a shell), their output line by line. */
#ifndef NAS_BASE_PROCESS_H
#define NAS_BASE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

enum { NAS_PROCESS_MAX_LINE = 64 << 10 }; /* bytes; a longer line is refused */

typedef struct nas_process nas_process;

/** Starts argv (NULL-terminated; argv[0] is searched in PATH) with the file `input` as its
 * stdin (NULL: empty).  `*out` is yours (nas_process_end).  NAS_E_IO, NAS_E_NOMEM. */
nas_status nas_process_start(nas_process **out, const char *const *argv, const char *input,
                             nas_err *err);
/** The same, but its stdin is what nas_process_say says, until nas_process_end. */
nas_status nas_process_talk(nas_process **out, const char *const *argv, nas_err *err);

/** Puts `text` on its stdin.  If it listens no more, or to no more than a few texts at a time, it is
 * lost: what comes back tells. */
void nas_process_say(nas_process *process, const char *text, size_t size);

typedef enum nas_process_event {
    NAS_PROCESS_LINE,  /* *line is one, without its line end, valid until the next call */
    NAS_PROCESS_QUIET, /* nothing came for that long                                     */
    NAS_PROCESS_DONE   /* the output is over; an unfinished last line is dropped          */
} nas_process_event;

/** Waits for at most `seconds`.  NAS_E_DATA for a line that is too long, NAS_E_IO. */
nas_status nas_process_line(nas_process *process, double seconds, nas_process_event *event,
                            const char **line, size_t *size, nas_err *err);

/** The end of what it wrote on stderr so far, on one line; valid until the next call. */
const char *nas_process_complaint(nas_process *process);

/** Waits for at most `seconds` until it has exited; true if it has. */
bool nas_process_wait(nas_process *process, double seconds);

/** Ends it if it still runs (SIGTERM, after two seconds SIGKILL) and frees; returns the exit
 * code, 128 + signal.  NULL: 0. */
int nas_process_end(nas_process *process);

/** Runs argv to its end, at most `seconds`, and keeps up to size - 1 bytes of its stdout in
 * `out` (NULL: none).  NAS_E_IO with the program's complaint if it cannot be started, takes too
 * long or exits with anything but 0. */
nas_status nas_process_run(const char *const *argv, const char *input, double seconds, char *out,
                           size_t size, nas_err *err);

#endif
