/* A run while it happens: the store, the progress line and the signals behind the one
 * observer that training and search talk to. */
#ifndef NAS_CLI_RUN_SESSION_H
#define NAS_CLI_RUN_SESSION_H

#include "cli/command.h"
#include "cli/progress.h"
#include "nas/train/observer.h"

/** Options of commands that make a run; embed after cli_common. */
typedef struct cli_run_options {
    cli_common common;
    const char *name;
    double checkpoint_seconds;
    int memory; /* nas_memory */
} cli_run_options;
extern const nas_option cli_run_table[];
/** "--memory": choices in the order of nas_memory, default, and help. */
#define CLI_MEMORY_CHOICES "fast|balanced|low"
#define CLI_MEMORY_DEFAULT "balanced"
#define CLI_MEMORY_HELP "less memory for more recomputation; the results stay the same"

/** "--sync-bn" of commands that several processes share. */
#define CLI_SYNC_BN(at)                                                                            \
    {"--sync-bn", NAS_OPT_FLAG, at, NULL, 0, 0, NULL, NULL,                                        \
     "mpirun, srun: batch norm sees whole batches, not each process's part"}

typedef struct cli_session {
    const cli_context *context;
    nas_store *store; /* NULL in all but the first of several processes              */
    nas_store_attempt attempt;
    bool continues; /* a run that was begun earlier */
    bool finished;  /* cli_session_open_child: it had ended well already, there is nothing to do */
    char name[NAS_STORE_NAME_SIZE];
    nas_observer observer; /* hand it to the computation */
    cli_progress progress;
    int64_t step;          /* of the last progress */
    double checkpoint_seconds, next_checkpoint;
    double saved, save_seconds; /* the last checkpoint: when it was written, what it took */
    double started;        /* monotonic seconds */
} cli_session;

/** Several processes (context->comm): each opens, restores and closes the session, of which the first
 * alone has the store and writes; their observers say "stop" together.  What else goes to the store
 * is written where cli_session_leads.  All must have the same program, kernels, settings and inputs:
 * NAS_E_CONFIG.
 *
 * Begins a run of the context's command, or claims the one that it continues: that of `nas
 * resume`, or that of an earlier attempt of the same job.  `inputs`
 * (borrowed) holds the digest of what each option that names an input stands for,
 * {"data": "0123..."}; NULL is no memory.  A run is continued with the same ones and the same
 * settings; otherwise NAS_E_DATA says which differ, and the run stays as it is. */
nas_status cli_session_open(cli_session *session, const cli_context *context,
                            const json_t *inputs, nas_err *err);
/** As _open, for a run that starts from another one, `parent` (0: none). */
nas_status cli_session_open_from(cli_session *session, const cli_context *context, int64_t parent,
                                 const json_t *inputs, nas_err *err);

/** As _open, for one of several runs that a command makes: `name` is the run's (NULL: made up),
 * `parent` the run that it starts from (0: none).  Where an earlier attempt of the same job has
 * finished this run, session->finished is set, name and attempt.run tell which it is, and closing it
 * changes nothing. */
nas_status cli_session_open_child(cli_session *session, const cli_context *context,
                                  const char *name, int64_t parent, const json_t *inputs,
                                  nas_err *err);

/** As _open_child, for the run behind `before`, which `result` ends: in one step, so that a process
 * that is killed leaves one of them unfinished for `nas resume`.  After an error `before` is still
 * open; closing it otherwise changes nothing. */
nas_status cli_session_open_next(cli_session *session, cli_session *before, const json_t *result,
                                 const cli_context *context, const char *name,
                                 const json_t *inputs, nas_err *err);

/** True in the process that keeps the run. */
bool cli_session_leads(const cli_session *session);

/** The settings that a run was begun with (yours), as cli_parse takes them. */
nas_status cli_session_config(json_t **out, const nas_store_run *run, nas_err *err);

/** Loads the newest checkpoint that is whole; each that is not is told and passed over.
 * Without any the computation starts at its beginning. */
nas_status cli_session_restore(cli_session *session,
                               nas_status (*load)(void *self, const char *path, nas_err *err),
                               void *self, nas_err *err);

/** Path of a file of the run (malloc'ed, yours); NULL: no memory. */
char *cli_session_path(const cli_session *session, const char *file);
/** Registers a finished file of the run. */
nas_status cli_session_artifact(cli_session *session, const char *kind, const char *file,
                                int64_t step, nas_err *err);

/** Records how it ended and frees; `result` (borrowed, may be NULL) is what the store keeps.
 * Returns `status`, or that of the store when all else went well.  After an interruption
 * `err` says how to continue. */
nas_status cli_session_close(cli_session *session, nas_status status, const json_t *result,
                             nas_err *err);

#endif
