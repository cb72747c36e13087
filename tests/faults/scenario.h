/* What the battery disturbs: command lines, the folders they start from, and what proves that
 * nothing was lost. */
#ifndef NAS_TESTS_FAULTS_SCENARIO_H
#define NAS_TESTS_FAULTS_SCENARIO_H

#include <stdbool.h>

typedef struct scenario {
    const char *name;
    const char *folder;  /* that it starts from: "inputs", "store", "queue", "supernet"... */
    const char *command;
    const char *proof;   /* a command whose stdout proves the result; NULL: that of `command` */
    const char *file;    /* and a file that does, the last one of a pattern; NULL: none      */
    bool run;            /* makes a run, which `nas resume` continues                       */
    bool changes;        /* has something to lose: it is killed, too                        */
    bool times;          /* its result holds times and cannot be compared                   */
    bool waits;          /* for a disk that can be used again, longer than a trial takes     */
    const char *kept;    /* if it waits: a proof that needs no log, which a full disk cuts   */
    int repeated;        /* exit code of what was done already, beside 0                    */
    int judged;          /* that of what takes a fault of its own for what it was to tell: damage of
                            what cannot be read, a process that cannot be started */
} scenario;

extern const scenario scenarios[];
extern const int scenario_count;

/** Makes the folders. */
void scenario_prepare(const char *source);

#endif
