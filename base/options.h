/* The option table: one entry an option serves the parser, --help, the config
 * file's check, the stored configuration, completion and the documents. */
#ifndef NAS_BASE_OPTIONS_H
#define NAS_BASE_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/status.h"

typedef enum nas_option_type {
    NAS_OPT_FLAG,   /* bool   */
    NAS_OPT_INT,    /* int64_t */
    NAS_OPT_REAL,   /* double */
    NAS_OPT_STRING, /* const char *: borrowed from argv or the config */
    NAS_OPT_CHOICE  /* int: index into `choices`, "a|b|c" */
} nas_option_type;

typedef struct nas_option {
    const char *flag;    /* "--target-ms"; the config key is "target_ms" */
    nas_option_type type;
    size_t offset;       /* of the field in the options struct */
    const char *standard; /* default as text; NULL: zero / not set */
    double min, max;     /* for INT and REAL; both 0: no limits */
    const char *choices; /* for CHOICE */
    const char *unit;    /* metavariable and unit: "MS", "N", "FILE"; NULL for flags */
    const char *help;    /* one line */
    bool required;
    bool result_neutral; /* changes no results (paths, verbosity): not part of a run's identity */
} nas_option;

/** A table ends with an entry whose flag is NULL. Fills `options` (a struct of
 * `size` bytes, zeroed first) with the defaults, then from `config` (object or
 * NULL; unknown keys are NAS_E_CONFIG), then from argv[0..argc-1].  Arguments
 * that are not options are collected in positional[0..*n_positional-1], at most
 * `max_positional` (more: NAS_E_USAGE).  "--flag=value" and "--flag value";
 * "--no-flag" for flags; "--" ends options.  Several tables may be chained by
 * calling with a NULL-terminated array `tables`.  An unknown option names the
 * nearest one.  A required option that neither `config` nor argv gives is
 * NAS_E_USAGE.  Strings are borrowed: argv and `config` must outlive the struct. */
nas_status nas_options_parse(const nas_option *const *tables, void *options, size_t size,
                             const json_t *config, int argc, const char *const *argv,
                             const char **positional, int max_positional, int *n_positional,
                             nas_err *err);

/** The merged values as a JSON object that, given as a config, sets the same values
 * again.  Options that have no default and were not given are left out.  NULL: no memory. */
json_t *nas_options_json(const nas_option *const *tables, const void *options);
/** What stands for the value in help and messages: "MS", "two|full"; "" for a flag. */
const char *nas_option_value(const nas_option *option);
/** The help of an option with what else a reader wants to know of it: "... (default 4)",
 * "... (required)"; cut to `size`. */
void nas_option_describe(const nas_option *option, char *out, size_t size);
/** The option part of --help. */
void nas_options_help(const nas_option *const *tables, FILE *out);
/** The candidate of `names` (NULL-terminated) nearest to `text` by edit distance,
 * or NULL when none is near. */
const char *nas_nearest(const char *text, const char *const *names);

#endif
