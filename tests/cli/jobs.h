/* Tests of jobs: a loop beside the test, and what it says of them. */
#ifndef NAS_TESTS_CLI_JOBS_H
#define NAS_TESTS_CLI_JOBS_H

#include <sys/types.h>

#include "tests/cli/nas.h"

extern pid_t background; /* the loop of this test, 0: none */

/** Ends the loop and the test; .fini of the suite. */
void jobs_end(void);

void nap(int ms);

/** `nas jobs run --watch` with these words, up to NULL, beside the test; what it says is added to
 * loop.out and loop.err. */
void start_loop_with(const char *const *words);
/** For processes here, with as many cores; with two. */
void start_loop_of(const char *cores);
void start_loop(void);
/** By a signal; its exit code. */
int stop_loop(int number);

/** "" if it is not there. */
const char *text_of(const json_t *object, const char *key);
/** The process of the job's last attempt; 0 before it has one. */
pid_t process_of(const char *job);
pid_t await_process(const char *job);

/* For people: what follows "--" belongs to the job. */
#define SUBMIT(...) expect_exit(NAS("jobs", "submit", __VA_ARGS__), 0, NULL)

#define SEARCH(...)                                                                        \
    "search", "--data", data, "--space", "tiny", "--table", table, "--target-ms", "3",     \
        "--batch", "32", "--warmup-epochs", "1", "--checkpoint-seconds", "0.2", __VA_ARGS__

/** Digest of SEARCH with so many epochs, run here without a disturbance. */
const char *digest_here(const char *data, const char *table, const char *epochs,
                        const char *threads);

/* SEARCH with epochs enough to be disturbed. */
typedef struct long_search {
    const char *data, *table;
    char epochs[16], digest[64]; /* undisturbed */
    int runs;                    /* that were made to find out */
} long_search;

/** Of at least so many seconds on this machine. */
long_search make_long_search(const char *threads, double seconds);

#endif
