/* Options that limit what a network costs beside its latency, the same for every search, and what is
 * told of limits that nothing meets. */
#ifndef NAS_CLI_LIMITS_H
#define NAS_CLI_LIMITS_H

#include "base/options.h"
#include "search/evolution/problem.h"

enum { CLI_MIB = 1 << 20 };

/** Embed; 0: none. */
typedef struct cli_cost_limits {
    double max_macs, max_parameters, max_memory_mib;
} cli_cost_limits;

/** Their rows for a struct that has them at `base`. */
#define CLI_COST_LIMIT_ROWS(base)                                                                  \
    {"--max-macs", NAS_OPT_REAL, (base) + offsetof(cli_cost_limits, max_macs), "0", 0, 1e15,       \
     NULL, "N", "multiply-accumulates that it must not exceed; 0: any"},                           \
    {"--max-parameters", NAS_OPT_REAL, (base) + offsetof(cli_cost_limits, max_parameters), "0",    \
     0, 1e12, NULL, "N", "parameters that it must not exceed; 0: any"},                            \
    {"--max-memory", NAS_OPT_REAL, (base) + offsetof(cli_cost_limits, max_memory_mib), "0", 0,     \
     1e9, NULL, "MIB",                                                                             \
     "activations (float32, one image) that must never be more at once; 0: any"}

/** What each cost could be (of latency, if it is `timed`); where every limit alone can be met, also
 * from where on beside the other limits.  NULL: no memory. */
json_t *cli_limits_infeasible(const nas_problem *problem, bool timed);

#endif
