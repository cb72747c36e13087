/* The queue of jobs in the store: what shall run, what runs, and how each attempt ended.
 *
 * The command line adds jobs and asks for changes; one loop (search/jobs) takes them up,
 * starts them and writes down what happened.  Each start of a job is an attempt with the next
 * number.  A process that works for an attempt says so (nas_store_act_for); once a later
 * attempt has begun, or this one was ended, what it writes is refused.
 *
 * Errors and threads as in search/store/store.h; format: docs/reference/jobs.md. */
#ifndef NAS_SEARCH_STORE_JOBS_H
#define NAS_SEARCH_STORE_JOBS_H

#include "search/store/store.h"

typedef enum nas_job_state {
    NAS_JOB_QUEUED,
    NAS_JOB_RUNNING,
    NAS_JOB_DONE,
    NAS_JOB_FAILED,
    NAS_JOB_LOST,          /* its process is gone or gave no sign: not the job's own fault */
    NAS_JOB_PREEMPTED,     /* stopped from outside                                         */
    NAS_JOB_TIMED_OUT,
    NAS_JOB_OUT_OF_MEMORY,
    NAS_JOB_QUARANTINED,   /* failed alike too often                                       */
    NAS_JOB_CANCELLED,
    NAS_JOB_ANY_STATE      /* in filters only                                              */
} nas_job_state;
/** "queued", "running", ..., "cancelled"; "any". */
const char *nas_job_state_name(nas_job_state state);
/** True for all but queued and running. */
bool nas_job_state_ended(nas_job_state state);

enum {
    NAS_JOB_MAX_ARGS = 256,          /* words of a command line                     */
    NAS_JOB_ARG_SIZE = 4096,         /* bytes of one of them, its NUL counted       */
    NAS_JOB_MAX_JOBS = 100000,       /* of one submission                           */
    NAS_JOB_MAX_NEEDS = 1000,        /* jobs that one waits for                     */
    NAS_JOB_TAIL_SIZE = 2048         /* last bytes of stderr that are kept          */
};

/** A job that another waits for. */
typedef struct nas_job_need {
    int64_t job;         /* id; in a submission also -1 - i: the spec at index i, an earlier one */
    bool any;            /* it may have ended in any state; false: it must be done               */
    nas_job_state state; /* where it stands (reading only)                                       */
} nas_job_need;

/* A word of a command line is a string, or an object {"before", "job", "file"}: the text
 * `before`, and behind it the path of that file in the last run of a job, which is known when
 * the word is needed (nas_store_job_words).  In a submission `job` is as in nas_job_need. */

/** What is asked for.  Everything is borrowed. */
typedef struct nas_job_spec {
    const char *name;   /* unique; NULL: "job-<id>" */
    const char *group;  /* NULL: none               */
    const json_t *args; /* array of words: the command line after "nas" */
    const char *folder; /* absolute: where it runs  */
    int cores;          /* at least 1               */
    int64_t memory_mib; /* booked; 0: none          */
    int priority;       /* higher ones first        */
    int64_t time_limit_s, hang_limit_s; /* 0: none  */
    int retries;        /* attempts after failures that may pass */
    const nas_job_need *needs;
    int need_count;
} nas_job_spec;

typedef struct nas_job {
    int64_t id, attempt /* 0: none yet */, memory_mib, time_limit_s, hang_limit_s;
    int64_t created_ms, updated_ms; /* UTC */
    int cores, priority, retries, failures /* of its retries, used up */;
    nas_job_state state;
    bool cancel; /* asked for, and still running */
    bool placed; /* running on a cluster, which needs no loop for it */
    char name[NAS_STORE_NAME_SIZE], group[NAS_STORE_NAME_SIZE];
    char *args, *folder; /* args: JSON text */
} nas_job;

typedef struct nas_jobs {
    int count;
    nas_job *jobs;
} nas_jobs;
void nas_jobs_fini(nas_jobs *jobs);
void nas_job_free(nas_job *job);

/** How an attempt went. */
typedef struct nas_job_attempt {
    int64_t number, pid /* 0: never started */, started_ms, ended_ms /* 0: not yet */;
    int64_t step;       /* of the last sign of life, -1: none */
    int code, signal;   /* exit code, -1: none; the signal that ended it, 0: none */
    double peak_rss_mib; /* NAN: not known */
    int64_t slurm;      /* on a cluster: id of the array, 0: not known; -1: here */
    int task;           /* and the index in it */
    nas_job_state state;
    char cause[NAS_STORE_NAME_SIZE]; /* "data", "crash", "hung", ...; "" while it runs */
    char phase[NAS_STORE_NAME_SIZE], host[256];
    char *tail;         /* last lines of its stderr; "" if there are none */
} nas_job_attempt;

/* ---- for the command line ---- */

/** NAS_E_DATA if the path of the store is not UTF-8, as the command lines of jobs must be. */
nas_status nas_store_jobs_check(nas_store *store, nas_err *err);
/** Adds jobs, all or none.  `ids` (count of them, may be NULL) are theirs.  NAS_E_USAGE for a
 * bad or taken name or group, NAS_E_DATA for more than the limits above, and for a folder or
 * store whose path is not UTF-8. */
nas_status nas_store_jobs_submit(nas_store *store, const nas_job_spec *specs, int count,
                                 int64_t *ids, nas_err *err);
/** What nas_store_jobs_submit would say to these jobs, without adding them.  `store` may be one
 * that was opened to read, or NULL where there is none yet. */
nas_status nas_store_jobs_try(nas_store *store, const nas_job_spec *specs, int count,
                              nas_err *err);
/** `group` NULL: all; `limit` 0: all; newest first. */
nas_status nas_store_jobs_list(nas_store *store, const char *group, nas_job_state state, int limit,
                               nas_jobs *out, nas_err *err);
/** How many jobs there are in each state. */
nas_status nas_store_job_counts(nas_store *store, int64_t out[NAS_JOB_ANY_STATE], nas_err *err);
/** `text` is a name or an id.  NAS_E_USAGE if there is none (names the nearest). */
nas_status nas_store_job_get(nas_store *store, const char *text, nas_job **out, nas_err *err);
/** What a job waits for, with where that stands (malloc'ed, yours). */
nas_status nas_store_job_needs(nas_store *store, int64_t job, nas_job_need **out, int *count,
                               nas_err *err);
/** Attempts, first one first; yours: nas_job_attempts_free. */
nas_status nas_store_job_attempts(nas_store *store, int64_t job, nas_job_attempt **out, int *count,
                                  nas_err *err);
void nas_job_attempts_free(nas_job_attempt *attempts, int count);
/** Ends queued jobs, and asks the loop to stop running ones; ended ones stay as they are. */
nas_status nas_store_jobs_cancel(nas_store *store, const int64_t *jobs, int count, nas_err *err);
/** Queues ended jobs anew, with all of their retries; queued and running ones stay as they
 * are.  NAS_E_USAGE, and nothing is changed, if one is done. */
nas_status nas_store_jobs_retry(nas_store *store, const int64_t *jobs, int count, nas_err *err);
/** `<dir>/jobs/<job>.<attempt>.<stream>`, stream "out" or "err"; malloc'ed, NULL: no memory. */
char *nas_store_job_log(const nas_store *store, int64_t job, int64_t attempt, const char *stream);

/* ---- for the process of a job ---- */

/** From now on this process writes for that attempt of a job: runs that it begins belong to
 * the job, and it is refused ("superseded") as soon as the attempt is no longer running. */
void nas_store_act_for(nas_store *store, int64_t job, int64_t attempt);
/** The newest run of that kind and configuration that an earlier attempt of the job began;
 * NULL if there is none, or nas_store_act_for was not called.  Yours.  This attempt may claim
 * it, also when it is done (but the earlier attempt died before it could say so), and also
 * while the earlier one's process still lives. */
nas_status nas_store_job_run(nas_store *store, const char *kind, const char *config_digest,
                                    nas_store_run **out, nas_err *err);
/** Calls `visit` with the name of each run that the job made, oldest first. */
nas_status nas_store_job_runs(nas_store *store, int64_t job,
                              void (*visit)(void *user, const char *run), void *user,
                              nas_err *err);

/* ---- for the loop ---- */

/** Who runs the jobs of a store: one process at a time. */
typedef struct nas_job_loop {
    int64_t number; /* rises with every loop; 0: there was none yet */
    int64_t pid, started_ms, cores, memory_mib /* its slots */;
    bool alive;     /* on this host, as far as can be seen */
    bool ended;     /* it said that it was ending          */
    char host[256];
} nas_job_loop;
nas_status nas_store_loop_get(nas_store *store, nas_job_loop *out, nas_err *err);
/** Makes this process the loop, with these slots.  NAS_E_FAIL names the process that is it; one
 * of another host that did not end by itself is only replaced with `take_over`. */
nas_status nas_store_loop_claim(nas_store *store, int64_t cores, int64_t memory_mib,
                                bool take_over, int64_t *number, nas_err *err);
/** Says that the loop ends.  With `out` only if it knows of all that the command line changed,
 * and `*out` says whether: what is submitted from then on finds no loop. */
nas_status nas_store_loop_release(nas_store *store, int64_t number, bool *out, nas_err *err);

/** A process that an earlier loop left. */
typedef struct nas_job_orphan {
    int64_t job, attempt, pid; /* pid 0: not there any more */
} nas_job_orphan;
/** Ends the attempts that earlier loops left running, as lost, those on a cluster aside: their jobs
 * are queued again (or cancelled, if that was asked for).  `*out` (malloc'ed, yours) says which. */
nas_status nas_store_jobs_recover(nas_store *store, int64_t loop, nas_job_orphan **out, int *count,
                                  nas_err *err);

/** Jobs for the loop, oldest first: those that the command line changed since the last call,
 * with `all` beside them all that are queued or shall be stopped. */
nas_status nas_store_jobs_news(nas_store *store, int64_t loop, bool all, nas_jobs *out,
                               nas_err *err);
/** True if another process wrote into the store since the last call. */
nas_status nas_store_changed(nas_store *store, bool *out, nas_err *err);
/** False if the database was removed, or another one put into its place, since it was opened. */
bool nas_store_in_place(nas_store *store);
/** The words of a job as its process gets them (yours), from nas_job.args.  NAS_E_DATA, with a
 * message for people, if a file that one of them names is not there. */
nas_status nas_store_job_words(nas_store *store, const char *args, json_t **out, nas_err *err);

typedef enum nas_job_event {
    NAS_JOB_STARTS,  /* attempt is the next one; refused if the job is queued no longer  */
    NAS_JOB_SPAWNED, /* pid                                                              */
    NAS_JOB_PLACED,  /* on a cluster: slurm, host (what is 0 or NULL is kept)            */
    NAS_JOB_STEPPED, /* step, phase, peak_rss_mib                                        */
    NAS_JOB_ENDS     /* the attempt: its state, cause, code, ...; and what the job is then: not
                      * queued but cancelled, if that was asked for meanwhile (news tell)  */
} nas_job_event;

typedef struct nas_job_change {
    nas_job_event event;
    int64_t job, attempt, pid, step;
    nas_job_state attempt_state, job_state;
    const char *cause;
    int code, signal, failures;
    double peak_rss_mib;
    char phase[NAS_STORE_NAME_SIZE];
    char *tail;   /* borrowed, NULL: none */
    const char *batch; /* STARTS, ENDS: on a cluster, as task `task` of this array; NULL: here */
    const char *host;
    int64_t slurm;
    int task;
    bool refused; /* out */
} nas_job_change;

/** Writes changes in order, in one transaction.  NAS_E_FAIL if another loop took over. */
nas_status nas_store_jobs_write(nas_store *store, int64_t loop, nas_job_change *changes, int count,
                                nas_err *err);

/* ---- for the loop of a cluster ---- */

/** A running attempt that is a task of a Slurm array. */
typedef struct nas_job_place {
    int64_t job, attempt;
    int64_t slurm; /* id of the array, 0: not known (yet)   */
    int task;      /* index in it                           */
    char batch[NAS_STORE_NAME_SIZE]; /* its name            */
} nas_job_place;
/** All of them (malloc'ed, yours). */
nas_status nas_store_jobs_places(nas_store *store, nas_job_place **out, int *count, nas_err *err);

/** `<dir>/spool/<job>/<attempt>/<file>`, the directory if `file` is NULL; malloc'ed, NULL: no
 * memory. */
char *nas_store_spool_path(const nas_store *store, int64_t job, int64_t attempt, const char *file);

typedef struct nas_store_taken {
    int64_t records, refused;
} nas_store_taken;
/** Takes what an attempt recorded (docs/reference/spool.md) and was not taken yet, each record
 * exactly once.  A refused one is told and passed over.  NAS_E_DATA for a damaged spool, once
 * what comes before the damage was taken; NAS_E_FAIL if there is something new and the attempt is
 * not the running one. */
nas_status nas_store_spool_take(nas_store *store, int64_t loop, int64_t job, int64_t attempt,
                                nas_store_taken *out, nas_err *err);

#endif
