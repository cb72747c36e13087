/* Options of commands that can measure on another device, and the way there. */
#ifndef NAS_CLI_DEVICE_H
#define NAS_CLI_DEVICE_H

#include <stddef.h>

#include "cli/command.h"
#include "latency/profile/verify.h"
#include "latency/via/via.h"

/** Embed. */
typedef struct cli_device_options {
    const char *via, *program, *cores;
} cli_device_options;
/** Their rows for a struct that has them at `base`.  The way to a device is no part of what a run is. */
#define CLI_DEVICE_ROWS(base)                                                                      \
    {"--via", NAS_OPT_STRING, (base) + offsetof(cli_device_options, via), "local", 0, 0, NULL,     \
     "DEVICE", "where to measure: local (here), exec:COMMAND, ssh:HOST, adb or adb:SERIAL", false, \
     true},                                                                                        \
    {"--program", NAS_OPT_STRING, (base) + offsetof(cli_device_options, program), NULL, 0, 0,      \
     NULL, "FILE",                                                                                 \
     "nas-profile for that device; default: the one for aarch64 that was built beside nas", false, \
     true},                                                                                        \
    {"--cores", NAS_OPT_STRING, (base) + offsetof(cli_device_options, cores), "any", 0, 0, NULL,   \
     "LIST", "cores to bind the threads to, one each: 0,2-3", false, true}

typedef struct cli_device {
    nas_via via;        /* points into this struct: do not copy it */
    char program[4096];
} cli_device;

/** Reads --via, and finds the program that goes with it.  NAS_E_USAGE; NAS_E_CONFIG if there is
 * none. */
nas_status cli_device_find(cli_device *out, const cli_device_options *options, nas_err *err);
/** True if it is not this machine. */
bool cli_device_remote(const cli_device *device);

/** nas_latency_verify there, with the command's seed and progress, which `how` need not have; or,
 * for `dry_run`, what it would take. */
nas_status cli_device_verify(nas_latency_verification *found, const cli_context *context,
                             const cli_device *device, const nas_latency_table *table,
                             const nas_space *space, nas_latency_verify_options how, bool dry_run,
                             nas_err *err);

#endif
