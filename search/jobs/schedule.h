/* The scheduler's decisions: events in, actions out.
 *
 * It knows neither processes nor clocks nor the store: whoever drives it (search/jobs/loop.c,
 * or a simulation) says what happened and when, and carries out what it asks for.  The same
 * events give the same actions.
 *
 * Times are milliseconds of one monotonic clock.  After each event take the actions with
 * nas_schedule_next until there are none.  Only nas_schedule_add can fail. */
#ifndef NAS_SEARCH_JOBS_SCHEDULE_H
#define NAS_SEARCH_JOBS_SCHEDULE_H

#include "search/jobs/cause.h"

typedef struct nas_schedule nas_schedule;

typedef struct nas_schedule_limits {
    int cores;          /* slots                                                        */
    int64_t memory_mib; /* slots                                                        */
    int64_t grace_ms;   /* from SIGTERM to SIGKILL                                      */
    int64_t patience_ms; /* smaller jobs pass one that does not fit for this long at most */
} nas_schedule_limits;

nas_status nas_schedule_new(nas_schedule **out, const nas_schedule_limits *limits, nas_err *err);
void nas_schedule_free(nas_schedule *schedule);

/* ---- events ---- */

/** A queued job; of one that is known already only that it has its retries again is news.
 * `attempt`, `failures`: so far. */
nas_status nas_schedule_add(nas_schedule *schedule, const nas_job *job, const nas_job_need *needs,
                            int need_count, nas_err *err);
/** A queued job was ended by someone else, a running one shall be. */
void nas_schedule_cancel(nas_schedule *schedule, int64_t job, int64_t now_ms);
/** Its attempt got further; `step` is a number that a later attempt goes on counting. */
void nas_schedule_step(nas_schedule *schedule, int64_t job, int64_t attempt, int64_t step,
                       int64_t now_ms);
/** Its process holds so much memory; beyond the job's memory_mib (0: any) it must end. */
void nas_schedule_memory(nas_schedule *schedule, int64_t job, int64_t attempt, int64_t used_mib,
                         int64_t now_ms);
/** Its process is gone, or (NAS_CAUSE_NOT_STARTED) never was.  `cause` is what the exit means
 * by itself; that of another attempt than the current one is ignored. */
void nas_schedule_exit(nas_schedule *schedule, int64_t job, int64_t attempt, nas_job_cause cause,
                       int code, int signal, int64_t now_ms);
/** A start that was asked for could not be carried out: as if it had not been asked for. */
void nas_schedule_unstart(nas_schedule *schedule, int64_t job, int64_t attempt);
/** Starts nothing until told otherwise. */
void nas_schedule_hold(nas_schedule *schedule, bool hold);
/** Starts nothing any more and asks everything to stop; `now`: without grace. */
void nas_schedule_stop(nas_schedule *schedule, bool now, int64_t now_ms);
/** Time passed, or anything above happened: starts what can start, ends what must end. */
void nas_schedule_tick(nas_schedule *schedule, int64_t now_ms);

/* ---- actions ---- */

typedef enum nas_schedule_what {
    NAS_SCHEDULE_START, /* spawn attempt `attempt` of the job    */
    NAS_SCHEDULE_TERM,  /* SIGTERM to its process group          */
    NAS_SCHEDULE_KILL,  /* SIGKILL to its process group          */
    NAS_SCHEDULE_END    /* write down how the attempt ended      */
} nas_schedule_what;

typedef struct nas_schedule_action {
    nas_schedule_what what;
    int64_t job, attempt;
    nas_job_cause cause;     /* END                                                  */
    nas_job_state job_state; /* END: queued (again) or ended                         */
    int failures;            /* END: retries used up so far                          */
    int64_t delay_ms;        /* END, queued: it waits so long                        */
} nas_schedule_action;

/** Takes the next action; false if there is none. */
bool nas_schedule_next(nas_schedule *schedule, nas_schedule_action *out);

/* ---- questions ---- */

/** Milliseconds until a tick is due by itself; -1: never. */
int64_t nas_schedule_wait(const nas_schedule *schedule, int64_t now_ms);
/** True if nothing runs and nothing that waits can ever start without a change from outside. */
bool nas_schedule_idle(const nas_schedule *schedule);
int nas_schedule_running(const nas_schedule *schedule);
/** Jobs that wait, whether or not they can start. */
int nas_schedule_waiting(const nas_schedule *schedule);

#endif
