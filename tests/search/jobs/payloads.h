/* Texts that would make a canary file if a shell ever read them: each of these, in each of these
 * dresses. */
#ifndef NAS_TESTS_SEARCH_JOBS_PAYLOADS_H
#define NAS_TESTS_SEARCH_JOBS_PAYLOADS_H

#include <stdio.h>

static const char *const payload_cores[] = {
    "$(touch %s)", "`touch %s`", "; touch %s ;", "| touch %s", "&& touch %s", "|| touch %s",
    "& touch %s &", "\n touch %s\n", "> %s", ">> %s <<", "<(touch %s)", "${x:=$(touch %s)}",
    "$((a[$(touch %s)]))", "\n#SBATCH --wrap=touch %s\n", "--wrap=touch %s", "-c touch %s",
    "{touch,%s}", "!touch %s", "eval touch %s", "\r\n touch %s", "\xe2\x80\x98; touch %s \xe2\x80\x99",
};
static const char *const payload_dresses[] = {
    "%s", "'%s'", "\"%s\"", "x'%s'y", "';%s;'", "\";%s;\"", "\\'%s", "'\\''%s'\\''", "a%%A %s", "*%s?",
};
enum {
    PAYLOAD_CORES = sizeof payload_cores / sizeof *payload_cores,
    PAYLOAD_DRESSES = sizeof payload_dresses / sizeof *payload_dresses,
    PAYLOADS = PAYLOAD_CORES * PAYLOAD_DRESSES
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static inline void payload_make(char *out, size_t size, int index, const char *canary)
{
    char core[400];

    snprintf(core, sizeof core, payload_cores[index / PAYLOAD_DRESSES], canary);
    snprintf(out, size, payload_dresses[index % PAYLOAD_DRESSES], core);
}
#pragma GCC diagnostic pop

#endif
