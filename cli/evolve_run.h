/* Searching for the targets of a task in a run of the store, and what is told about them. */
#ifndef NAS_CLI_EVOLVE_RUN_H
#define NAS_CLI_EVOLVE_RUN_H

#include "cli/evolve_task.h"
#include "cli/verify_top.h"
#include "search/evolution/evolution.h"

/** A search on its way: fill in the first part. */
typedef struct cli_evolve {
    const cli_evolve_task *task;
    cli_session *session;
    const nas_evaluator *evaluator;
    nas_evolution_config config;
    int points;         /* limits of a front                                              */
    const cli_verifier *verifier; /* --verify-top                                         */
    double started;     /* monotonic seconds                                              */
    const char *source; /* what the store calls networks that were judged so              */
    const char *score;  /* what the result calls their scores                             */
    /** Writes the best network of a target into the run; its files have `suffix` in their names.
     * Sets members of `about`. */
    nas_status (*take)(struct cli_evolve *search, const nas_candidate *best, const char *suffix,
                       json_t *about, nas_err *err);
    void *user;
    /* what it found out */
    int64_t evaluations;
    int infeasible;     /* targets that nothing was found for                             */
    nas_err why;        /* for the first of them                                          */
} cli_evolve;

/** Searches for each target and fills `result`.  NAS_E_INFEASIBLE, when limits of a target turn out
 * to exclude each other, leaves a whole `result` too. */
nas_status cli_evolve_run(cli_evolve *search, json_t *result, nas_err *err);

/** Writes a network into the run as `file`, and to `path` if that is not NULL, and sets `arch` of
 * `about`. */
nas_status cli_evolve_save(cli_evolve *search, const nas_candidate *candidate, const char *file,
                           const char *path, json_t *about, nas_err *err);

/** Tells about the first target whose limits nothing meets; NAS_E_INFEASIBLE unless that fails. */
nas_status cli_evolve_refuse(const cli_context *context, const cli_evolve_task *task);

#endif
