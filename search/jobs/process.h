/* One attempt as a process: spawned, its output kept, its steps read, its end seen. */
#ifndef NAS_SEARCH_JOBS_PROCESS_H
#define NAS_SEARCH_JOBS_PROCESS_H

#include <uv.h>

#include "search/jobs/worker.h"

typedef struct nas_jobs__process nas_jobs__process;

/* A stream that a process writes to a log file, up to a number of bytes. */
typedef struct nas_jobs__log {
    uv_pipe_t pipe;
    char *path;
    int fd;          /* -1: nothing was written yet, or it cannot be                     */
    int64_t size;    /* of the file                                                      */
    int64_t room;    /* bytes that may still be kept, -1: it was cut                     */
    int64_t missing; /* bytes behind its end that could not be written: the disk is full */
} nas_jobs__log;

struct nas_jobs__process {
    int64_t job, attempt, pid;
    char name[NAS_STORE_NAME_SIZE];
    uv_process_t handle;
    nas_jobs__log out, err;
    uv_pipe_t steps;
    int open;        /* handles that are not closed yet */
    bool spawned, exited;
    int64_t exited_ms;
    int code, signal;
    int64_t memory_kills; /* of the system, when it began             */
    bool memory_short;    /* the kernel ended some process for memory meanwhile */

    char tail[NAS_JOB_TAIL_SIZE]; /* the last bytes of stderr */
    size_t tail_size;
    char line[NAS_WORKER_LINE_SIZE];
    size_t line_size;
    int64_t step;
    double peak_rss_mib;
    char phase[NAS_STORE_NAME_SIZE];
    bool stepped;    /* since somebody cleared it */
    bool unsaved;    /* likewise                  */
    nas_jobs__process *next;
};

/** What to start; everything is borrowed. */
typedef struct nas_jobs__command {
    int64_t job, attempt;
    const char *name, *folder, *store;
    char *const *argv;
    char *out_path, *err_path; /* taken over */
    int64_t log_bytes;
    const char *refused; /* why it cannot be started at all; NULL: it can */
} nas_jobs__command;

/** uv_loop_init for a program that is continued by its next start, whenever it ends: `what` it is. */
nas_status nas_jobs__uv_init(uv_loop_t *uv, const char *what, nas_err *err);
/** "nas", the words `args` of a job, and `threads` as --threads unless the words say it; borrows
 * from both, free the list alone.  NULL: no memory. */
char **nas_jobs__argv(const json_t *args, const char *threads);
/** Starts a process in a group of its own.  NULL: no memory.  When it cannot be started
 * `spawned` stays false, `tail` says why, and nas_jobs__process_ended comes true as usual. */
nas_jobs__process *nas_jobs__process_start(uv_loop_t *loop, const nas_jobs__command *command);
/** True once it is gone and all that it wrote is read: then free it. */
bool nas_jobs__process_ended(const nas_jobs__process *process);
void nas_jobs__process_free(nas_jobs__process *process);
/** MiB of memory that it holds now, itself alone; 0 if that cannot be seen. */
int64_t nas_jobs__process_memory_mib(const nas_jobs__process *process);
/** Sends a signal to its whole group. */
void nas_jobs__process_signal(const nas_jobs__process *process, int number);
/** Stops to read, for one that ended while others hold its pipes. */
void nas_jobs__process_hang_up(nas_jobs__process *process);

#endif
