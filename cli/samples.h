/* Files of judged networks, from which an accuracy predictor learns
 * (docs/reference/predictor.md). */
#ifndef NAS_CLI_SAMPLES_H
#define NAS_CLI_SAMPLES_H

#include "base/json.h"
#include "search/evolution/problem.h"

/** Architectures of a space with known accuracy. */
typedef struct cli_samples {
    nas_candidate *list; /* [count] score: the accuracy, each network once */
    int count, repeated; /* repeated: left out, because another file has them as well */
    int sizes, image_size[NAS_MAX_SIZES]; /* that occur, ascending */
} cli_samples;

/** Reads `files` (paths separated by commas), parts of one set.  NAS_E_DATA where they were not
 * judged in the same way, or a network is there twice that was not judged to be the same.  After an
 * error too it needs _fini. */
nas_status cli_samples_read(cli_samples *out, const nas_space *space, const char *files,
                            nas_err *err);
void cli_samples_fini(cli_samples *samples);
/** NAS_E_USAGE if `out` is one of `files`. */
nas_status cli_samples_check_out(const char *files, const char *out, nas_err *err);

/** Writes a file; `judged` (borrowed) tells how they were judged. */
nas_status cli_samples_write(const char *path, const nas_space *space, const nas_candidate *list,
                             int64_t count, json_t *judged, nas_err *err);

#endif
