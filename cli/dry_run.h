/* --dry-run: what a command would take.  A few steps are taken and timed with the command's own
 * code; nothing is written, the store is not opened. */
#ifndef NAS_CLI_DRY_RUN_H
#define NAS_CLI_DRY_RUN_H

#include "cli/command.h"
#include "latency/lut.h"
#include "latency/profile/verify.h"
#include "nas/train/train.h"

/** Option of commands that can say what they would take. */
#define CLI_DRY_RUN(offset)                                                                        \
    {"--dry-run", NAS_OPT_FLAG, offset, NULL, 0, 0, NULL, NULL,                                    \
     "say what it would take (size, time, memory, disk), and do nothing", false, true}

enum { CLI_PROBE_STEPS = 64 };

/** An observer that times steps and stops the computation after some of them. */
typedef struct cli_probe {
    nas_observer observer;
    int wanted, count;               /* steps; the first one is not timed         */
    double started, last, give_up;   /* monotonic seconds                         */
    double seconds[CLI_PROBE_STEPS]; /* [count] of each                           */
    int64_t batch[CLI_PROBE_STEPS];  /* [count] number of the batch in its epoch  */
    int64_t batches;                 /* of an epoch                               */
    int64_t begun;                   /* steps that began: those timed and the first */
} cli_probe;

/** Times `wanted` steps (at most CLI_PROBE_STEPS, at least 1), or as many as 20 s allow.  A step is
 * what lies between two calls of `progress`. */
void cli_probe_init(cli_probe *probe, int wanted);
/** What came of a computation that was run with the probe: NAS_OK where the probe stopped it or it
 * ended; NAS_E_INTERRUPTED after a signal. */
nas_status cli_probe_status(const cli_probe *probe, nas_status status, nas_err *err);
/** Mean seconds of the steps for which batch % every == 0, or (`other`) of the others; NAN where
 * there are none. */
double cli_probe_mean(const cli_probe *probe, int every, bool other);
/** Mean seconds of all steps; where there was one only, that one's, with what came before it. */
double cli_probe_step(const cli_probe *probe);

/** Runs this program with `argv` (argv[0]: "/proc/self/exe"; NULL-terminated) for at most `seconds`;
 * `*out` (yours) is what it answers with --json.  What that fails with is what this fails with, by
 * status and message; NAS_E_INTERRUPTED after a signal, NAS_E_IO if it takes too long. */
nas_status cli_ask(json_t **out, const char *const *argv, double seconds, nas_err *err);

/** What a command would take; NAN: unknown. */
typedef struct cli_demand {
    double seconds;      /* of the whole command                                        */
    double steps, step_seconds;
    double memory_bytes; /* about, without the store                                     */
    double disk_bytes;   /* in the folder below, at most about                          */
    const char *folder;  /* NULL: none                                                  */
} cli_demand;

/** Ranges of MACs and parameters over a space, with its latencies if `lut` is not NULL, as
 * members of `about`. */
nas_status cli_demand_space(json_t *about, const nas_space *space, const nas_latency_lut *lut,
                            nas_err *err);
/** Adds so many steps of that length. */
void cli_demand_add(cli_demand *demand, double steps, double step_seconds);
/** Adds what a training takes, by its first steps, which it does: `epochs` of `batch` images a step;
 * the network is scored on `held_out` images after each.  Scoring an image counts as a third of
 * training on it: forward alone. */
nas_status cli_demand_training(cli_demand *demand, nas_trainer *trainer, int64_t epochs,
                               int64_t batch, double held_out, nas_err *err);
/** What measuring networks whole takes, by its first turns, which it does; printed. */
nas_status cli_demand_verify(const cli_context *context, const nas_latency_table *table,
                             const nas_space *space, const nas_latency_verify_options *how,
                             nas_err *err);
/** Prints the settings, `about` (taken over) and the demand; of a run that is continued also how
 * much of it is done, and about how long the rest takes. */
nas_status cli_demand_emit(const cli_context *context, json_t *about, const cli_demand *demand,
                           nas_err *err);
/** Bytes of the files that a run with this many parameters keeps: two checkpoints, the best one,
 * the next one while it is written, and the network. */
double cli_demand_run_bytes(double floats);

#endif
