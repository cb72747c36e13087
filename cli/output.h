/* What a command prints: one result on stdout, errors on stderr. */
#ifndef NAS_CLI_OUTPUT_H
#define NAS_CLI_OUTPUT_H

#include "cli/command.h"

/** A JSON real; null when `value` is not finite. */
json_t *cli_real(double value);

/** Prints `result` (taken over; NULL counts as no memory): with --json as one object on one
 * line, numbers unrounded; otherwise for people, objects as lines and arrays of objects as
 * tables.  NAS_E_NOMEM, NAS_E_IO. */
nas_status cli_emit(const cli_context *context, json_t *result, nas_err *err);

/** Checks that everything written to stdout arrived.  NAS_E_IO. */
nas_status cli_flush(nas_err *err);

/** "nas: error: message" and the hint on stderr, escaped. */
void cli_error_print(const nas_err *err);

void cli_color_set(cli_color color);
/** True if stderr shall have colours. */
bool cli_color_wanted(void);
/** True where the terminal, as the locale says it, shows UTF-8. */
bool cli_shows_utf8(void);

#endif
