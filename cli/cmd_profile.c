/* nas profile - measures what each operation of a space costs here or on another device, and
 * writes the table. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/device.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/version.h"
#include "latency/profile/profile.h"

enum { PATH_SIZE = 4096 };

typedef struct profile_options {
    cli_space_options space;
    cli_device_options device;
    const char *out;
    bool emulated, dry_run;
    double interval, max_seconds;
} profile_options;

#define AT(field) offsetof(profile_options, field)

static const nas_option profile_table[] = {
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "TABLE", "table to write (YAML)", true,
     true},
    CLI_DEVICE_ROWS(AT(device)),
    {"--emulated", NAS_OPT_FLAG, AT(emulated), NULL, 0, 0, NULL, NULL,
     "the device is an emulator, whatever it says: mark the table so"},
    {"--interval", NAS_OPT_REAL, AT(interval), "0.015", 0.0001, 1, NULL, "X",
     "goal: half the 95 % confidence interval, as a part of the mean"},
    {"--max-seconds", NAS_OPT_REAL, AT(max_seconds), "240", 0.1, 1e6, NULL, "S",
     "time limit; the goal may be missed then"},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

/* Measures, and writes the table; the journal beside it is removed when that is done. */
static nas_status profile(nas_latency_table **table, const cli_context *context,
                          const profile_options *o, const nas_space *space, nas_err *err)
{
    nas_latency_profile_options how = nas_latency_profile_defaults();
    char journal[PATH_SIZE];
    cli_progress progress;
    cli_device device;
    nas_status status = cli_device_find(&device, &o->device, err);

    if (status != NAS_OK)
        return status;
    if (snprintf(journal, sizeof journal, "%s.part", o->out) >= (int)sizeof journal)
        return nas_fail(err, NAS_E_CONFIG, "--out: the path is too long");
    cli_progress_init(&progress, context->common);
    const nas_observer observer = cli_progress_observer(&progress);
    how.engine = "nas " NAS_VERSION;
    how.interval = o->interval;
    how.seconds = o->max_seconds;
    how.seed = (uint64_t)context->common->seed;
    how.observer = &observer;
    how.via = &device.via;
    how.threads = context->common->threads_given ? (int)context->common->threads : 0;
    how.cores = o->device.cores;
    how.emulated = o->emulated;
    how.journal = journal;
    status = nas_latency_profile(table, space, &how, err);
    cli_progress_end(&progress);
    if (status == NAS_OK && (status = nas_latency_table_save(*table, o->out, err)) == NAS_OK)
        unlink(journal);
    return status;
}

/* What the profile would take: a turn measures one candidate of each slot once, and each needs the
 * least number of samples.  Other devices are not asked. */
static nas_status dry_run(const cli_context *context, const profile_options *o,
                          const nas_space *space, nas_err *err)
{
    nas_latency_profile_options how = nas_latency_profile_defaults();
    nas_latency_entry *entries = NULL;
    nas_latency_table *table = NULL;
    cli_demand demand = {.steps = NAN, .step_seconds = NAN, .seconds = o->max_seconds,
                         .folder = o->out};
    json_t *about = json_object();
    int most = 1, count = 0;
    cli_probe probe;
    nas_via via;
    nas_status status;

    if ((status = nas_via_parse(&via, o->device.via, err)) ||
        (status = cli_demand_space(about, space, NULL, err)) ||
        (status = nas_latency_space_entries(&entries, &count, space,
                                            nas_latency_grammar_of(space), 0, err)))
        goto done;
    json_object_set_new(about, "entries",
                        json_integer(nas_latency_entries_unique(entries, count)));
    for (int s = 0; s < space->count; s++)
        most = space->slots[s].count > most ? space->slots[s].count : most;
    if (via.kind == NULL) {
        cli_probe_init(&probe, 3);
        how.observer = &probe.observer;
        how.cores = o->device.cores;
        if ((status = cli_probe_status(&probe, nas_latency_profile(&table, space, &how, err),
                                       err)) != NAS_OK)
            goto done;
        demand.step_seconds = cli_probe_mean(&probe, 1, false);
        demand.steps = (double)how.min_samples * most;
        demand.seconds = fmin(o->max_seconds,
                              fmax(how.least_seconds, demand.steps * demand.step_seconds));
    }
    demand.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0;
    demand.disk_bytes = (double)count * 2 * NAS_LATENCY_KEY_SIZE; /* the table and its journal */
    status = cli_demand_emit(context, json_incref(about), &demand, err);

done:
    json_decref(about);
    nas_latency_table_free(table);
    free(entries);
    return status;
}

static nas_status profile_run(const cli_context *context, const void *options, nas_err *err)
{
    const profile_options *o = options;
    nas_latency_table *table = NULL;
    nas_space *space = NULL;
    json_t *result = NULL;
    const char *const read[] = {o->space.space, o->space.data};
    nas_status status;

    if ((status = cli_check_output(read, 2, "--out", o->out, o->dry_run, err)) ||
        (status = cli_space_load(&space, &o->space, err)))
        goto done;
    if (o->dry_run) {
        status = dry_run(context, o, space, err);
        goto done;
    }
    if ((status = profile(&table, context, o, space, err)))
        goto done;
    result = cli_table_json(table);
    json_object_set_new(result, "table", json_string(o->out));
    /* Done as soon as it begins: what is measured until then is kept beside the table, and the
     * same command continues. */
    if ((status = cli_table_run(context, "profile", table, o->out, result, err)) != NAS_OK) {
        nas_err_prefix(err, "%s is written, but not recorded", o->out);
        goto done;
    }
    status = cli_emit(context, result, err);
    result = NULL;
    if (table->meta.emulated)
        nas_log(NAS_LOG_WARN, "%s is marked: its times are an emulator's", o->out);
    nas_log(NAS_LOG_INFO, "next: nas search --space %s --table %s --data FILE --target-ms MS",
            o->space.space, o->out);

done:
    json_decref(result);
    nas_latency_table_free(table);
    nas_space_free(space);
    return status;
}

const cli_command cmd_profile = {
    .name = "profile", .summary = "measure the operations of a space, here or on a phone",
    .example = "profile --space proxyless-cifar-0.5 --out here.yaml",
    .tables = {profile_table, cli_space_table}, .size = sizeof(profile_options),
    .stop = CLI_STOP_RESUMES, .run = profile_run,
};
