/* The way to a device, and the program that measures there. */
#include "cli/device.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/dry_run.h"
#include "cli/progress.h"

enum { SIZE = sizeof((cli_device *)NULL)->program };

/* Where a build and an installation keep the program for phones, from where this one is. */
static nas_status find_program(char *out, nas_err *err)
{
    static const char *const places[] = {"../../aarch64/latency/device/nas-profile",
                                         "../libexec/onepath/nas-profile-aarch64"};
    char here[SIZE];
    const ssize_t length = readlink("/proc/self/exe", here, sizeof here - 1);

    here[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(here, '/');
    for (size_t i = 0; slash != NULL && i < sizeof places / sizeof *places; i++) {
        slash[1] = '\0';
        if (snprintf(out, SIZE, "%s%s", here, places[i]) < SIZE && nas_path_exists(out))
            return NAS_OK;
    }
    nas_fail(err, NAS_E_CONFIG, "there is no nas-profile for another device here");
    nas_hint(err, "build it: scripts/setup --aarch64 && scripts/build aarch64; or --program FILE");
    return NAS_E_CONFIG;
}

nas_status cli_device_find(cli_device *out, const cli_device_options *options, nas_err *err)
{
    nas_status status = nas_via_parse(&out->via, options->via, err);

    if (status == NAS_OK && !cli_device_remote(out) && options->program != NULL) {
        nas_fail(err, NAS_E_USAGE, "--program runs on another device: --via does not name one");
        nas_hint(err, "say --via ssh:HOST, adb or exec:COMMAND");
        return NAS_E_USAGE;
    }
    if (status != NAS_OK || !cli_device_remote(out))
        return status;
    out->via.program = options->program != NULL ? options->program : out->program;
    return options->program != NULL ? NAS_OK : find_program(out->program, err);
}

bool cli_device_remote(const cli_device *device) { return device->via.kind != NULL; }

nas_status cli_device_verify(nas_latency_verification *found, const cli_context *context,
                             const cli_device *device, const nas_latency_table *table,
                             const nas_space *space, nas_latency_verify_options how, bool dry_run,
                             nas_err *err)
{
    cli_progress progress;

    cli_progress_init(&progress, context->common);
    const nas_observer observer = cli_progress_observer(&progress);
    how.seed = (uint64_t)context->common->seed;
    how.via = &device->via;
    how.observer = &observer;
    const nas_status status = dry_run ? cli_demand_verify(context, table, space, &how, err)
                                      : nas_latency_verify(found, table, space, &how, err);
    cli_progress_end(&progress);
    return status;
}
