/* nas profile - measures what each operation of a space costs here, and writes the table. */
#include <stddef.h>
#include <string.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/version.h"
#include "latency/profile/profile.h"

typedef struct profile_options {
    cli_space_options space;
    const char *out, *via;
    double interval, max_seconds;
} profile_options;

#define AT(field) offsetof(profile_options, field)

static const nas_option profile_table[] = {
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "TABLE", "table to write (YAML)", true,
     true},
    {"--via", NAS_OPT_STRING, AT(via), "local", 0, 0, NULL, "DEVICE",
     "where to measure: local, this machine"},
    {"--interval", NAS_OPT_REAL, AT(interval), "0.015", 0.0001, 1, NULL, "X",
     "goal: half the 95 % confidence interval, as a part of the mean"},
    {"--max-seconds", NAS_OPT_REAL, AT(max_seconds), "240", 0.1, 1e6, NULL, "S",
     "time limit; the goal may be missed then"},
    {0},
};

static nas_status profile_run(const cli_context *context, const void *options, nas_err *err)
{
    const profile_options *o = options;
    nas_latency_profile_options how = nas_latency_profile_defaults();
    nas_latency_table *table = NULL;
    nas_space *space = NULL;
    cli_progress progress;
    nas_status status;

    if (strcmp(o->via, "local") != 0) {
        nas_fail(err, NAS_E_CONFIG, "--via %.60s: this version measures on this machine only",
                 o->via);
        nas_hint(err, "run 'nas profile' on the device itself and bring its table");
        return NAS_E_CONFIG;
    }
    cli_progress_init(&progress, context->common);
    const nas_observer observer = cli_progress_observer(&progress);
    how.engine = "nas " NAS_VERSION;
    how.interval = o->interval;
    how.seconds = o->max_seconds;
    how.seed = (uint64_t)context->common->seed;
    how.observer = &observer;
    if ((status = cli_space_load(&space, &o->space, err)) == NAS_OK)
        status = nas_latency_profile(&table, space, &how, err);
    cli_progress_end(&progress);
    if (status == NAS_OK && (status = nas_latency_table_save(table, o->out, err)) == NAS_OK) {
        json_t *result = cli_table_json(table);

        json_object_set_new(result, "table", json_string(o->out));
        status = cli_emit(context, result, err);
        nas_log(NAS_LOG_INFO, "next: nas search --space %s --table %s --data FILE --target-ms MS",
                o->space.space, o->out);
    }
    nas_latency_table_free(table);
    nas_space_free(space);
    return status;
}

const cli_command cmd_profile = {
    .name = "profile", .summary = "measure the operations of a space on this machine",
    .example = "profile --space proxyless-cifar-0.5 --out here.yaml",
    .tables = {profile_table, cli_space_table}, .size = sizeof(profile_options),
    .stop = CLI_STOP_ENDS, .run = profile_run,
};
