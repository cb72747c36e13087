/* nas latency fit - a table that takes into account what sums of entries miss. */
#include <stddef.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/device.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/output.h"
#include "latency/fit.h"
#include "latency/profile/profile.h"

typedef struct fit_options {
    cli_space_options space;
    cli_device_options device;
    const char *table, *out;
    int64_t samples, rounds;
    bool dry_run;
} fit_options;

static const nas_option fit_table[] = {
    {"--table", NAS_OPT_STRING, offsetof(fit_options, table), NULL, 0, 0, NULL, "FILE",
     "latency table that was measured on this machine or the device of --via, or a folder of tables "
     "by image size", true},
    {"--out", NAS_OPT_STRING, offsetof(fit_options, out), NULL, 0, 0, NULL, "TABLE",
     "table to write (YAML)", true, true},
    {"--samples", NAS_OPT_INT, offsetof(fit_options, samples), "50", 10, 10000, NULL, "N",
     "networks to measure whole"},
    {"--rounds", NAS_OPT_INT, offsetof(fit_options, rounds), "9", 1, 1000, NULL, "N",
     "turns of each of them"},
    CLI_DEVICE_ROWS(offsetof(fit_options, device)),
    CLI_DRY_RUN(offsetof(fit_options, dry_run)),
    {0},
};

/* Whether the device is that of the table. */
static nas_status check_device(const nas_latency_table *table, const nas_space *space,
                               const cli_device *device, int threads, const char *cores,
                               nas_err *err)
{
    nas_latency_meta is;

    if (!cli_device_remote(device))
        return cli_table_check_here(table, "latency fit", err);
    const nas_status status = nas_latency_meta_there(&is, &device->via, space, threads, cores, err);
    return status != NAS_OK ? status
                            : cli_table_check_device(table, is.device, device->via.text,
                                                     "latency fit", err);
}

/* Networks are measured now: the table must be as what they are compared with, and not be fitted
 * already. */
static nas_status check_table(const nas_latency_table *table, int threads, nas_err *err)
{
    if (table->meta.fitted_from[0] != '\0') {
        nas_fail(err, NAS_E_CONFIG, "the table is fitted already, to networks of %s",
                 table->meta.space);
        nas_hint(err, "fit the table that was measured");
        return NAS_E_CONFIG;
    }
    if (table->meta.threads > 0 && table->meta.threads != threads) {
        nas_fail(err, NAS_E_CONFIG, "the table was made with %d threads, this is with %d",
                 table->meta.threads, threads);
        nas_hint(err, "add --threads %d", table->meta.threads);
        return NAS_E_CONFIG;
    }
    return NAS_OK;
}

static json_t *fit_json(const nas_latency_fit *fit, const nas_latency_table *table)
{
    json_t *result = cli_table_json(table), *terms = json_object();

    for (int t = 0; t < NAS_LATENCY_TERMS; t++)
        if (fit->used[t])
            json_object_set_new(terms, nas_latency_term_name((nas_latency_term)t),
                                cli_real(fit->factor[t]));
    json_object_set_new(result, "networks", json_integer(fit->networks));
    json_object_set_new(result, "terms", terms);
    json_object_set_new(result, "table_mape", cli_real(fit->table_mape));
    json_object_set_new(result, "table_within_10", cli_real(fit->table_within_10));
    json_object_set_new(result, "mape", cli_real(fit->mape));
    json_object_set_new(result, "within_10", cli_real(fit->within_10));
    return result;
}

static nas_status measure(nas_latency_verification *found, const cli_context *context,
                          const fit_options *o, const nas_latency_table *table,
                          const nas_space *space, nas_err *err)
{
    cli_device device;
    nas_status status = cli_device_find(&device, &o->device, err);

    if (status != NAS_OK)
        return status;
    const int threads = context->common->threads_given || !cli_device_remote(&device)
                            ? (int)context->common->threads : table->meta.threads;
    if ((status = check_table(table, threads, err)) ||
        (status = check_device(table, space, &device, threads, o->device.cores, err)))
        return status;
    const nas_latency_verify_options how = {.samples = (int)o->samples, .rounds = (int)o->rounds,
                                            .threads = threads, .cores = o->device.cores,
                                            .stream = "fit"};
    return cli_device_verify(found, context, &device, table, space, how, o->dry_run, err);
}

static nas_status fit_run(const cli_context *context, const void *options, nas_err *err)
{
    const fit_options *o = options;
    nas_latency_set *set = NULL;
    const nas_latency_table *table;
    nas_latency_table *fitted = NULL;
    nas_space *space = NULL;
    nas_latency_verification found = {0};
    nas_latency_fit fit;
    const char *const read[] = {o->space.space, o->space.data};
    nas_status status;

    if ((status = cli_check_output(read, 2, "--out", o->out, o->dry_run, err)) ||
        (status = nas_latency_set_load(&set, o->table, err)) ||
        (status = cli_check_output((const char *const *)set->path, set->paths, "--out", o->out,
                                   o->dry_run, err)) ||
        (status = cli_space_load_for(&space, &o->space, set, err)) ||
        (status = nas_latency_set_pick(&table, set, space->image_size, err)) ||
        (status = measure(&found, context, o, table, space, err)) || o->dry_run ||
        (status = nas_latency_fit_find(&fit, table, space, found.pairs, found.count, err)) ||
        (status = nas_latency_fit_apply(&fitted, &fit, table, space, err)) ||
        (status = nas_latency_table_save(fitted, o->out, err)))
        goto done;
    json_t *result = fit_json(&fit, fitted);
    json_object_set_new(result, "table", json_string(o->out));
    status = cli_emit(context, result, err);

done:
    nas_latency_verification_fini(&found);
    nas_latency_table_free(fitted);
    nas_space_free(space);
    nas_latency_set_free(set);
    return status;
}

const cli_command cmd_latency_fit = {
    .name = "latency fit", .summary = "correct a table by networks that are measured whole",
    .example = "latency fit --table here.yaml --space proxyless-cifar-0.5 --out fitted.yaml",
    .tables = {fit_table, cli_space_table}, .size = sizeof(fit_options), .stop = CLI_STOP_ENDS,
    .run = fit_run,
};
