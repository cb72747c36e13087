/* What goes into a bug report, and what must not. */
#ifndef NAS_CLI_BUG_REPORT_H
#define NAS_CLI_BUG_REPORT_H

#include "cli/command.h"

/** What names a secret or a person, taken out of texts: values of environment variables that are
 * called like secrets, the home directory, the names of user and host, credentials in addresses,
 * and what follows "password=" and the like. */
typedef struct cli_redaction {
    int count;
    struct {
        const char *text, *instead; /* borrowed from the environment */
    } word[256];
    char host[256];
} cli_redaction;

void cli_redaction_init(cli_redaction *redaction);
/** A copy of `text` with all of that replaced (malloc'ed, yours); NULL: no memory. */
char *cli_redact(const cli_redaction *redaction, const char *text);
/** The same with every text inside `json`, in place.  NAS_E_NOMEM. */
nas_status cli_redact_json(const cli_redaction *redaction, json_t *json, nas_err *err);

/** Writes `doctor` (what `nas doctor` prints) with the program's own environment, the last runs and
 * the last failed jobs of the store to `path`, redacted; readable for its owner alone. */
nas_status cli_bug_report(const cli_context *context, const json_t *doctor, const char *path,
                          nas_err *err);

#endif
