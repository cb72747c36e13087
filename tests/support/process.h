/* Runs a program from the outside and keeps what it printed. */
#ifndef NAS_TESTS_SUPPORT_PROCESS_H
#define NAS_TESTS_SUPPORT_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

enum { PROCESS_MAX_ARGS = 40 };

typedef struct process_result {
    int code;         /* exit code; 128 + signal if one ended it; -1 if it ran out of time */
    char *out, *err;  /* NUL-terminated, at most 1 MiB each is kept                       */
} process_result;

typedef struct process_options {
    double timeout_s;            /* 0: 60                                             */
    long file_size_limit;        /* bytes that it may write to one file; 0: no limit  */
    const char *stdout_path;     /* NULL: kept in `out`                               */
    const char *const *environment; /* "NAME=value" added to ours, NULL-terminated    */
    const char *signal_on;       /* this text on stderr makes us send `signal`, once  */
    int signal;
} process_options;

/** argv[0] is a path.  The result stays valid until process_free. */
process_result process_run(const char *const *argv, const process_options *options);
void process_free(process_result *result);

#endif
