/* Slurm's commands: arrays submitted, followed and cancelled.  Always argument vectors; the only
 * text for a shell is the script of an array, into which nothing of a job goes. */
#ifndef NAS_SEARCH_JOBS_SLURM_H
#define NAS_SEARCH_JOBS_SLURM_H

#include <stdbool.h>
#include <stdint.h>

#include "search/jobs/cause.h"

/** What an array asks Slurm for. Strings: NULL is Slurm's own choice. */
typedef struct nas_slurm_options {
    const char *partition, *account, *qos;
    int64_t minutes; /* of a task, then it is queued again; 0: Slurm's choice   */
    int64_t warn_s;  /* so long before that it is told to write a checkpoint    */
    int64_t at_once; /* tasks of one array; 0: any number                       */
} nas_slurm_options;

/** One array of `count` tasks with the same needs. */
typedef struct nas_slurm_array {
    const char *name;            /* letters, digits, '-'            */
    int count, cores;
    int64_t memory_mib;          /* 0: Slurm's choice               */
    const char *program, *batch; /* absolute paths: of `nas`, of the batch file */
    const char *log;
} nas_slurm_array;

/** NAS_E_CONFIG for what cannot stand in a script: names of other than letters, digits and
 * ". _ , : + @ -". */
nas_status nas_slurm_check(const nas_slurm_options *options, nas_err *err);
/** The script of an array (yours).  NAS_E_CONFIG also for a path with a control character. */
nas_status nas_slurm_script(char **out, const nas_slurm_options *options,
                            const nas_slurm_array *array, nas_err *err);
/** NAS_E_IO if Slurm's commands are not here. */
nas_status nas_slurm_available(nas_err *err);
/** sbatch: submits the script at that path.  NAS_E_IO with Slurm's complaint. */
nas_status nas_slurm_submit(const char *script, int64_t *id, nas_err *err);
/** scancel of one task. */
nas_status nas_slurm_cancel(int64_t id, int task, nas_err *err);

typedef enum nas_slurm_state {
    NAS_SLURM_ABSENT,  /* Slurm does not know it (any more) */
    NAS_SLURM_PENDING,
    NAS_SLURM_RUNNING, /* or about to begin or end          */
    NAS_SLURM_ENDED
} nas_slurm_state;

typedef struct nas_slurm_task {
    int64_t id;
    int task;
    nas_slurm_state state;
    nas_job_cause cause; /* ENDED: what its end means if the task itself said nothing */
    char name[NAS_STORE_NAME_SIZE];
} nas_slurm_task;

/** Takes a line of squeue ("id|task|STATE|name"); false if it is not one of ours. */
bool nas_slurm_parse(const char *line, nas_slurm_task *out);
/** All tasks of this user that Slurm knows, by squeue, also those that ended lately (yours). */
nas_status nas_slurm_list(nas_slurm_task **out, int *count, nas_err *err);
/** Asks the accounting (sacct) how a task ended; false if there is none or it does not know. */
bool nas_slurm_ended(int64_t id, int task, nas_job_cause *cause);

#endif
