/* Timing a few steps, and saying what all of them would take. */
#include "cli/dry_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/process.h"
#include "base/system.h"
#include "cli/describe.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "search/evolution/problem.h"

static const double patience = 20.0; /* seconds */
static const double mib = 1024.0 * 1024.0;
static const double store_bytes = 12.0 * 1024 * 1024; /* SQLite; 10 MiB were seen */

static void on_progress(void *user, const nas_progress *at)
{
    cli_probe *probe = user;
    const double now = nas_clock_seconds();

    probe->batches = at->batches;
    if (probe->begun++ > 0 && probe->count < probe->wanted) {
        probe->batch[probe->count] = at->batch;
        probe->seconds[probe->count++] = now - probe->last;
    }
    probe->last = now;
}

static bool on_stop(void *user)
{
    const cli_probe *probe = user;

    return cli_stop_requested() || probe->count >= probe->wanted ||
           (probe->count > 0 && nas_clock_seconds() > probe->give_up);
}

void cli_probe_init(cli_probe *probe, int wanted)
{
    *probe = (cli_probe){.wanted = wanted < 1                 ? 1
                                   : wanted > CLI_PROBE_STEPS ? CLI_PROBE_STEPS
                                                              : wanted,
                         .started = nas_clock_seconds(),
                         .give_up = nas_clock_seconds() + patience};
    probe->observer = (nas_observer){.user = probe, .progress = on_progress, .stop = on_stop};
}

static nas_status stop(nas_err *err)
{
    cli_keeps_nothing();
    return nas_fail(err, NAS_E_INTERRUPTED, "dry run: stopped");
}

nas_status cli_probe_status(const cli_probe *probe, nas_status status, nas_err *err)
{
    if (cli_stop_requested())
        return stop(err);
    return status == NAS_E_INTERRUPTED ? NAS_OK : status;
}

double cli_probe_mean(const cli_probe *probe, int every, bool other)
{
    double sum = 0.0;
    int count = 0;

    for (int i = 0; i < probe->count; i++)
        if ((probe->batch[i] % every != 0) == other) {
            sum += probe->seconds[i];
            count++;
        }
    return count > 0 ? sum / count : NAN;
}

double cli_probe_step(const cli_probe *probe)
{
    if (probe->count > 0)
        return cli_probe_mean(probe, 1, false);
    return probe->begun > 0 ? probe->last - probe->started : NAN;
}

/* The program's own message and exit code, as if this one had failed so. */
static nas_status fail_as(nas_process *process, nas_err *err)
{
    static const nas_status known[] = {NAS_E_USAGE, NAS_E_INFEASIBLE, NAS_E_DATA, NAS_E_NOMEM,
                                       NAS_E_IO, NAS_E_INTERRUPTED, NAS_E_CONFIG};
    static const char head[] = "nas: error: ";
    const char *said = nas_process_complaint(process);
    nas_err told = {0};
    nas_status status = NAS_E_FAIL;

    said += strncmp(said, head, strlen(head)) == 0 ? strlen(head) : 0;
    nas_fail(&told, NAS_E_FAIL, "%s", said);
    const int code = nas_process_end(process);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (code == (int)known[i])
            status = known[i];
    return code == 0 ? NAS_OK : nas_fail(err, status, "%s", told.message);
}

nas_status cli_ask(json_t **out, const char *const *argv, double seconds, nas_err *err)
{
    const double deadline = nas_clock_seconds() + seconds, look = 0.2;
    nas_process_event event = NAS_PROCESS_LINE;
    nas_process *process;
    const char *line;
    size_t size;
    nas_status status = nas_process_start(&process, argv, NULL, err);

    *out = json_null();
    if (status != NAS_OK)
        return status;
    while (event != NAS_PROCESS_DONE && status == NAS_OK) {
        status = nas_process_line(process, look, &event, &line, &size, err);
        if (status == NAS_OK && event == NAS_PROCESS_LINE) {
            json_decref(*out);
            *out = cli_stored_json(line);
        }
        if (status == NAS_OK && cli_stop_requested())
            status = stop(err);
        else if (status == NAS_OK && nas_clock_seconds() > deadline)
            status = nas_fail(err, NAS_E_IO, "dry run: no answer of 'nas %s' in %.0f s", argv[1],
                              seconds);
    }
    if (status != NAS_OK) {
        nas_process_end(process);
    } else {
        nas_process_wait(process, deadline - nas_clock_seconds());
        status = fail_as(process, err);
    }
    if (status != NAS_OK)
        json_decref(*out);
    return status;
}

void cli_demand_add(cli_demand *demand, double steps, double step_seconds)
{
    const double before = demand->steps * demand->step_seconds;

    demand->steps += steps;
    demand->step_seconds = (before + steps * step_seconds) / demand->steps;
    demand->seconds += steps * step_seconds;
}

nas_status cli_demand_training(cli_demand *demand, nas_trainer *trainer, int64_t epochs,
                               int64_t batch, double held_out, nas_err *err)
{
    nas_train_result trained;
    cli_probe probe;

    cli_probe_init(&probe, 5);
    const nas_status status = cli_probe_status(
        &probe, nas_trainer_run(trainer, &probe.observer, &trained, err), err);
    if (status != NAS_OK)
        return status;
    const double step = cli_probe_step(&probe);
    cli_demand_add(demand, (double)(epochs * probe.batches), step);
    demand->seconds += (double)epochs * step * held_out / (3.0 * (double)batch);
    return NAS_OK;
}

nas_status cli_demand_space(json_t *about, const nas_space *space, const nas_latency_lut *lut,
                            nas_err *err)
{
    static const struct {
        nas_cost cost;
        const char *least, *most;
    } ranges[] = {{NAS_COST_MACS, "macs_min", "macs_max"},
                  {NAS_COST_PARAMETERS, "parameters_min", "parameters_max"},
                  {NAS_COST_LATENCY, "latency_ms_min", "latency_ms_max"}};
    nas_problem problem = {0};
    char *count = NULL;
    nas_status status;

    if ((status = nas_space_count(space, &count, NULL, err)) ||
        (status = nas_problem_init(&problem, space, 0, NULL, lut != NULL ? &lut : NULL, err)))
        goto done;
    json_object_set_new(about, "architectures", json_string(count));
    for (int i = 0; i < (lut != NULL ? 3 : 2); i++) {
        double least, most;

        nas_problem_range(&problem, ranges[i].cost, &least, &most);
        const bool whole = ranges[i].cost != NAS_COST_LATENCY;
        json_object_set_new(about, ranges[i].least,
                            whole ? json_integer((json_int_t)least) : json_real(least));
        json_object_set_new(about, ranges[i].most,
                            whole ? json_integer((json_int_t)most) : json_real(most));
    }

done:
    nas_problem_fini(&problem);
    free(count);
    return status;
}

double cli_demand_run_bytes(double floats)
{
    return 4 * 2 * sizeof(float) * floats + sizeof(float) * floats;
}

/* Free bytes where `folder` is or, not there yet, would be made. */
static double free_bytes(const char *folder)
{
    char *path = strdup(folder);
    struct statvfs disk;
    double found = NAN;

    while (path != NULL && isnan(found)) {
        char *slash = strrchr(path, '/');

        if (statvfs(*path != '\0' ? path : "/", &disk) == 0)
            found = (double)disk.f_bavail * (double)disk.f_frsize;
        else if (slash != NULL)
            *slash = '\0';
        else if (strcmp(path, ".") != 0)
            strcpy(path, ".");
        else
            break;
    }
    free(path);
    return found;
}

nas_status cli_demand_verify(const cli_context *context, const nas_latency_table *table,
                             const nas_space *space, const nas_latency_verify_options *how,
                             nas_err *err)
{
    nas_latency_verify_options begun = *how;
    nas_latency_verification found = {0};
    cli_demand demand = {0};
    cli_probe probe;

    cli_probe_init(&probe, how->samples);
    begun.observer = &probe.observer;
    nas_status status =
        cli_probe_status(&probe, nas_latency_verify(&found, table, space, &begun, err), err);
    if (status == NAS_OK) {
        cli_demand_add(&demand, (double)how->samples * how->rounds, cli_probe_step(&probe));
        demand.memory_bytes = nas_system_peak_rss_mib() * mib;
        status = cli_demand_emit(context, json_pack("{s:i}", "networks", how->samples), &demand,
                                 err);
    }
    nas_latency_verification_fini(&found);
    return status;
}

/* How much of a run is done; where an agent's episodes come before training, what is left may be
 * somewhat less. */
static json_t *progress_json(const nas_store_run *run, const cli_demand *demand)
{
    const double done = fmin(fmax((double)run->step, 0), demand->steps);

    return json_pack("{s:s, s:o, s:o}", "run", run->name, "steps_done", cli_real(done),
                     "seconds_left", cli_real(demand->seconds * (1 - done / demand->steps)));
}

nas_status cli_demand_emit(const cli_context *context, json_t *about, const cli_demand *demand,
                           nas_err *err)
{
    json_t *config = json_copy((json_t *)context->config); /* NULL: json_pack fails, too */
    json_object_del(config, "dry_run");
    json_t *result = json_pack("{s:b, s:s, s:o, s:I}", "dry_run", 1, "command",
                               context->command->name, "config", config, "threads",
                               (json_int_t)context->common->threads);

    json_object_update(result, about);
    json_decref(about);
    json_object_update_new(
        result,
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "steps", cli_real(demand->steps), "step_seconds",
                  cli_real(demand->step_seconds), "seconds", cli_real(demand->seconds),
                  "memory_mib", cli_real((demand->memory_bytes + store_bytes) / mib),
                  "memory_limit_mib", cli_real((double)nas_system_memory() / mib)));
    if (context->run != NULL)
        json_object_update_new(result, progress_json(context->run, demand));
    if (demand->folder != NULL)
        json_object_update_new(result,
                               json_pack("{s:o, s:o}", "disk_mib",
                                         cli_real(demand->disk_bytes / mib), "disk_free_mib",
                                         cli_real(free_bytes(demand->folder) / mib)));
    return cli_emit(context, result, err);
}
