/* The real `nas`, run from the outside; one folder and one store a test. */
#ifndef NAS_TESTS_CLI_NAS_H
#define NAS_TESTS_CLI_NAS_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/process.h"

/** .init and .fini of every suite: the test's folder. */
void nas_begin(void);
void nas_end(void);
/** A path in the folder; stays valid for the whole test. */
const char *nas_file(const char *name);
/** Writes a text there and returns its path. */
const char *nas_put(const char *name, const char *content);
/** Entries of the folder. */
int nas_count(void);
/** Files of the store that are not empty; none may hold `secret`. */
int nas_store_without(const char *secret);

/** Runs `nas` with the arguments up to NULL, and the test's own store; keeps the result until
 * the next call. */
process_result *nas_run(const process_options *options, ...) __attribute__((sentinel));
#define NAS(...) nas_run(NULL, __VA_ARGS__, NULL)

/** The same, must exit with 0; its stdout as JSON (yours until the next call). */
json_t *nas_json(const char *first, ...) __attribute__((sentinel));
#define NAS_JSON(...) nas_json(__VA_ARGS__, "--json", NULL)

/** Asserts the exit code, and that stderr holds `text` (NULL: anything). */
void expect_exit(const process_result *result, int code, const char *text);

/** Makes small things of the test's folder: images (synth), a table made up for them that
 * covers `tiny`, an architecture.  Each returns its path. */
const char *make_data(void);
const char *make_table(void);
/** The same for another space, in the grammar that `entry`, a line of a table, is of. */
const char *make_table_of(const char *space, const char *entry);
const char *make_arch(void);

#endif
