/* "--verify-top N": the best candidates of a search are measured whole, here or on another device,
 * before one of them is named. */
#ifndef NAS_CLI_VERIFY_TOP_H
#define NAS_CLI_VERIFY_TOP_H

#include "cli/device.h"
#include "cli/run_session.h"
#include "latency/table/set.h"
#include "search/evaluator.h"

/** Embed. */
typedef struct cli_verify_options {
    int64_t top;
    cli_device_options device;
} cli_verify_options;
/** Their rows for a struct that has them at `base`. */
#define CLI_VERIFY_ROWS(base)                                                                      \
    {"--verify-top", NAS_OPT_INT, (base) + offsetof(cli_verify_options, top), "0", 0, 10000, NULL, \
     "N", "measure the N best of them whole, and choose one that meets the target by that, too; "  \
     "the result then depends on times"},                                                          \
    CLI_DEVICE_ROWS((base) + offsetof(cli_verify_options, device))

/** Fill in the first part. */
typedef struct cli_verifier {
    const cli_verify_options *options; /* its `top` 0: nothing is measured              */
    const nas_space *space;            /* of the candidates                             */
    const nas_latency_set *tables;     /* that predicted them; NULL: none               */
    uint64_t seed;
    bool allow_emulated;
    cli_device device;                 /* below: _prepare sets it; do not copy          */
} cli_verifier;

/** NAS_E_USAGE for options of the device without --verify-top. */
nas_status cli_verify_check(const cli_verify_options *options, nas_err *err);
/** Finds the device and, before a search takes hours, looks whether it is that of the tables:
 * NAS_E_CONFIG if it is not, or an emulator that is not allowed; otherwise as nas_latency_verify. */
nas_status cli_verifier_prepare(cli_verifier *verifier, nas_err *err);
/** Measures as nas_latency_verify does, as many threads as the table is for; times are those of
 * now.  `verifier` is borrowed. */
nas_measurer cli_verifier_measurer(const cli_verifier *verifier);

/** Writes down what nas_candidates_verify measured: as evaluations of the run with the measured
 * latency, and as `measured_ms` and `verified` of `result`. */
nas_status cli_verified_save(cli_session *session, const nas_space *space,
                             const nas_candidate *list, int count, double target_ms,
                             json_t *result, nas_err *err);
/** NAS_E_INFEASIBLE: none of them met the target. */
nas_status cli_verified_fail(const nas_candidate *list, int count, double target_ms, nas_err *err);

#endif
