/* From names and files to a search under limits, by an accuracy predictor or by judging, that can
 * run. */
#ifndef NAS_CLI_EVOLVE_TASK_H
#define NAS_CLI_EVOLVE_TASK_H

#include "cli/limits.h"
#include "cli/load.h"
#include "cli/run_session.h"
#include "cli/verify_top.h"
#include "latency/table/set.h"
#include "search/ofa/predictor.h"

enum { CLI_MAX_TARGETS = 1000, CLI_TARGET_NAME_SIZE = 47 };

/** Options that say what is searched for; embed. */
typedef struct cli_limit_options {
    const char *table, *targets;
    double target_ms; /* 0: none */
    cli_cost_limits cost;
    int64_t points;
    int against; /* nas_cost that --pareto is about */
    bool pareto, allow_emulated;
    cli_verify_options verify;
} cli_limit_options;
/** Their rows for a struct that has them at `base`; `points_help` tells the default of --points. */
#define CLI_LIMIT_ROWS(base, points_help)                                                          \
    {"--table", NAS_OPT_STRING, (base) + offsetof(cli_limit_options, table), NULL, 0, 0, NULL,     \
     "FILE[,FILE...]",                                                                             \
     "latency tables, or a folder of them: one for each image size to choose from"},              \
    {"--target-ms", NAS_OPT_REAL, (base) + offsetof(cli_limit_options, target_ms), "0", 0, 1e6,    \
     NULL, "MS", "latency that the network must not exceed; 0: any"},                              \
    CLI_COST_LIMIT_ROWS((base) + offsetof(cli_limit_options, cost)),                               \
    {"--targets", NAS_OPT_STRING, (base) + offsetof(cli_limit_options, targets), NULL, 0, 0, NULL, \
     "FILE", "JSON list of devices and limits, all of them in one call"},                          \
    CLI_ALLOW_EMULATED((base) + offsetof(cli_limit_options, allow_emulated)),                      \
    CLI_VERIFY_ROWS((base) + offsetof(cli_limit_options, verify)),                                 \
    {"--pareto", NAS_OPT_FLAG, (base) + offsetof(cli_limit_options, pareto), NULL, 0, 0, NULL,     \
     NULL, "the best networks from the cheapest on, not one alone"},                               \
    {"--against", NAS_OPT_CHOICE, (base) + offsetof(cli_limit_options, against), "latency", 0, 0,  \
     "latency|macs|parameters|memory", NULL, "what --pareto weighs accuracy against"},             \
    {"--points", NAS_OPT_INT, (base) + offsetof(cli_limit_options, points), NULL, 2, 200, NULL,    \
     "N", points_help}

/** One device and its limits. */
typedef struct cli_evolve_target {
    char name[CLI_TARGET_NAME_SIZE]; /* "": the only one                      */
    const char *table;              /* as --table, borrowed; NULL: none       */
    double limit[NAS_COSTS];        /* 0: none                                */
    nas_latency_set *tables;        /* NULL: none                             */
    nas_problem problem;
} cli_evolve_target;

typedef struct cli_evolve_task {
    const cli_limit_options *options;
    nas_space *space;
    bool unlimited;                 /* a search may go without limits         */
    int image_size;                 /* of tables that do not tell theirs      */
    nas_predictor *predictor;       /* NULL: networks are judged              */
    nas_encoding encoding;
    nas_predictor_evaluator *evaluator; /* NULL as well                       */
    json_t *file;                   /* of --targets; NULL: none               */
    int count;
    cli_evolve_target *targets;     /* [count] at least one                   */
} cli_evolve_task;

/** NAS_E_USAGE for options that exclude each other; `out` is where a command writes the network of
 * its only target (NULL: into the run). */
nas_status cli_limits_check(const cli_limit_options *options, const char *out, nas_err *err);

/** Loads space and predictor, and the targets: those of the file, or the one of the options; for a
 * front every target needs a table, and need not have a limit.  Where the options name no images,
 * the space is for those of the only table, or of a predictor that knows but one size.  Tables of an
 * emulator are refused unless they are allowed: NAS_E_CONFIG.  Every limit is checked against what
 * the space reaches before anything is searched.  After an error too, what was made is there until
 * cli_evolve_finish.  NAS_E_INFEASIBLE: limits that nothing meets, or a table that does not cover
 * the space. */
nas_status cli_evolve_prepare(cli_evolve_task *task, const cli_space_options *space,
                              const char *predictor, const cli_limit_options *options,
                              nas_err *err);
/** The same in a space that is there (taken over, also after an error), at any of its image sizes,
 * where without any limit the best network is wanted; `predictor` NULL: networks are judged. */
nas_status cli_evolve_prepare_in(cli_evolve_task *task, nas_space *space, const char *predictor,
                                 const cli_limit_options *options, nas_err *err);
void cli_evolve_finish(cli_evolve_task *task);

/** What measures the best networks of the only target, if that is asked for: cli_verifier_prepare. */
nas_status cli_evolve_verifier(cli_verifier *out, const cli_evolve_task *task, int64_t seed,
                               nas_err *err);

/** Puts digests of what the task is made from, by the names of the options, into `inputs`. */
nas_status cli_evolve_inputs(json_t *inputs, const cli_evolve_task *task, nas_err *err);

#endif
