/* From names and files to a search by an accuracy predictor that can run. */
#ifndef NAS_CLI_EVOLVE_TASK_H
#define NAS_CLI_EVOLVE_TASK_H

#include "cli/load.h"
#include "cli/run_session.h"
#include "latency/table/set.h"
#include "search/ofa/predictor.h"

enum { CLI_MAX_TARGETS = 1000, CLI_TARGET_NAME_SIZE = 49 };

/** One device and its limits. */
typedef struct cli_evolve_target {
    char name[CLI_TARGET_NAME_SIZE]; /* "": the only one                      */
    const char *table;              /* as --table, borrowed; NULL: none       */
    double limit[NAS_COSTS];        /* 0: none                                */
    nas_latency_set *tables;        /* NULL: none                             */
    nas_problem problem;
} cli_evolve_target;

typedef struct cli_evolve_task {
    bool emulated;                  /* tables of an emulator are welcome      */
    nas_space *space;
    nas_predictor *predictor;
    nas_encoding encoding;
    nas_predictor_evaluator *evaluator;
    json_t *file;                   /* of --targets; NULL: none               */
    int count;
    cli_evolve_target *targets;     /* [count] at least one                   */
} cli_evolve_task;

/** Loads space and predictor, and the targets: those of the file `targets`, or when that is
 * NULL the one of `table` and `limit`; for a `front` every target needs a table, and need not
 * have a limit.  Where the options name no images, the space is for those of the only table, or
 * of a predictor that knows but one size.  Tables of an emulator are refused unless `emulated`:
 * NAS_E_CONFIG.  Every limit is checked against what the space reaches before anything is
 * searched.  After an error too, what was made is there until cli_evolve_finish.
 * NAS_E_INFEASIBLE: a limit nothing meets, or a table that does not cover the space. */
nas_status cli_evolve_prepare(cli_evolve_task *task, const cli_space_options *space,
                              const char *predictor, const char *targets, const char *table,
                              const double limit[NAS_COSTS], bool front, bool emulated,
                              nas_err *err);
void cli_evolve_finish(cli_evolve_task *task);

/** Digests of what the task is made from, by the names of the options (yours). */
nas_status cli_evolve_inputs(json_t **out, const cli_evolve_task *task, nas_err *err);

#endif
