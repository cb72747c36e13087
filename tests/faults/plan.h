/* What the fault battery and the shim, which it preloads into `nas`, agree about. */
#ifndef NAS_TESTS_FAULTS_PLAN_H
#define NAS_TESTS_FAULTS_PLAN_H

#include <stdatomic.h>
#include <stdbool.h>

/** Calls that can be made to fail; each kind is counted over all threads of a process. */
typedef enum fault_kind {
    FAULT_CHANGE, /* what changes a disk: write, sync, truncate, create, rename, remove, mkdir */
    FAULT_READ,   /* what reads a file or opens one to read                                    */
    FAULT_ALLOC,  /* memory: malloc and its kin, and mmap by the program itself                */
    FAULT_KINDS
} fault_kind;

enum { FAULT_KILL = -1, FAULT_NONE = 0 }; /* beside errnos */

/** Lies in a file that both map: FAULT_PLAN names it.  Outlives the process that is killed. */
typedef struct fault_plan {
    int kind, action;   /* fault_kind; errno, FAULT_KILL or FAULT_NONE (only count) */
    long at;            /* the call that fails, from 1; 0: none                     */
    bool persistent;    /* and all after it                                         */
    bool tree;          /* also in the processes that this one starts               */
    long disk_bytes;    /* > 0: of what is written, removed or not, no more fits on the disk */
    long refusals;      /* > 0: after so many hits there is no fault any more */
    atomic_long calls[FAULT_KINDS], bytes;
    atomic_long hits;   /* calls that were made to fail */
    char where[128];    /* the first of them            */
} fault_plan;

#define FAULT_PLAN_VARIABLE "NAS_FAULT_PLAN"

#endif
