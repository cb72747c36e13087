/* One trial: a fresh folder, `nas` in it with or without a fault, and what came of it. */
#ifndef NAS_TESTS_FAULTS_TRIAL_H
#define NAS_TESTS_FAULTS_TRIAL_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

#include "tests/faults/plan.h"

/** Where everything is; set up once by trial_init. */
typedef struct trial_place {
    const char *nas, *shim;    /* absolute paths                                    */
    char root[256];            /* removed by trial_fini                             */
    char work[300];            /* the folder in which `nas` runs                    */
    fault_plan *plan;          /* of the next trial_run with a fault                */
} trial_place;
extern trial_place place;

void trial_init(const char *nas, const char *shim);
void trial_fini(void);

/** Makes place.work a copy of place.root/NAME. */
void trial_copy(const char *name);
/** Makes place.root/NAME a copy of place.work. */
void trial_keep(const char *name);

enum { TRIAL_LATE = -1 }; /* exit code of what had to be killed after a minute */

typedef struct trial_end {
    int code;       /* exit code; 128 + signal; TRIAL_LATE */
    double seconds;
    char *out, *err; /* of this program until the next trial_run */
} trial_end;

/** Runs a command line (words parted by blanks) in place.work; `faulty`: under place.plan. */
trial_end trial_run(const char *command, bool faulty);
/** The same, in two halves: starts it, and waits for its end. */
pid_t trial_start(const char *command, bool faulty);
trial_end trial_wait(pid_t pid);
/** True if it has ended and trial_wait will not wait. */
bool trial_ended(pid_t pid);

/** Sets place.plan: the calls counted, and what happens at the `at`th of `kind`. */
void trial_plan(fault_kind kind, int action, long at, bool persistent, bool tree);

/** Ends this program with a message: the battery itself is broken. */
_Noreturn void trial_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
