/* nas predictor - makes the accuracy predictor that nas evolve searches with. */
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/samples.h"
#include "search/ofa/train.h"

typedef struct train_options {
    cli_space_options space;
    const char *samples, *out;
    int64_t hidden, layers, epochs, batch;
    double lr, decay, held_out;
    bool dry_run;
} train_options;

#define AT(field) offsetof(train_options, field)

static const nas_option train_table[] = {
    {"--samples", NAS_OPT_STRING, AT(samples), NULL, 0, 0, NULL, "FILE[,FILE...]",
     "JSON lists of architectures and their top-1 accuracy", true},
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "FILE", "predictor to write", true, true},
    {"--hidden", NAS_OPT_INT, AT(hidden), "400", 1, NAS_DENSE_MAX_WIDTH, NULL, "N",
     "width of the hidden layers"},
    {"--layers", NAS_OPT_INT, AT(layers), "3", 1, NAS_DENSE_MAX_LAYERS - 1, NULL, "N",
     "hidden layers"},
    {"--epochs", NAS_OPT_INT, AT(epochs), "100", 1, 1e6, NULL, "N", "passes over the samples"},
    {"--batch", NAS_OPT_INT, AT(batch), "64", 1, 65536, NULL, "N", "samples a step"},
    {"--lr", NAS_OPT_REAL, AT(lr), "1e-3", 0, 10, NULL, "X",
     "first learning rate of Adam; follows a cosine to 0"},
    {"--decay", NAS_OPT_REAL, AT(decay), "1e-4", 0, 1, NULL, "X", "weight decay"},
    {"--held-out", NAS_OPT_REAL, AT(held_out), "0.2", 0, 0.9, NULL, "X",
     "share of the samples that judges the predictor and does not train it"},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

static nas_predictor_config config_of(const train_options *o)
{
    return (nas_predictor_config){
        .hidden = (int)o->hidden, .layers = (int)o->layers, .epochs = o->epochs,
        .batch = (int)o->batch, .lr = o->lr, .decay = o->decay, .held_out = o->held_out,
        .seed = (uint64_t)o->space.common.seed};
}

/* What the training would take, by its first epoch. */
static nas_status dry_run(const cli_context *context, const nas_encoding *encoding,
                          const cli_samples *s, const nas_predictor_config *config, nas_err *err)
{
    nas_predictor *predictor = NULL;
    nas_predictor_fit fit;
    cli_probe probe;

    cli_probe_init(&probe, CLI_PROBE_STEPS);
    const nas_status status = cli_probe_status(
        &probe, nas_predictor_train(&predictor, encoding, s->list, s->count, config,
                                    &probe.observer, &fit, err), err);
    nas_predictor_free(predictor);
    if (status != NAS_OK)
        return status;
    const cli_demand demand = {
        .steps = (double)(config->epochs * probe.batches),
        .step_seconds = cli_probe_mean(&probe, 1, false),
        .seconds = (double)(config->epochs * probe.batches) * cli_probe_mean(&probe, 1, false),
        .memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0};
    return cli_demand_emit(context, json_pack("{s:i}", "samples", s->count), &demand, err);
}

static nas_status train_run(const cli_context *context, const void *options, nas_err *err)
{
    const train_options *o = options;
    const nas_predictor_config config = config_of(o);
    const double started = nas_clock_seconds();
    cli_progress progress;
    cli_samples s = {0};
    nas_space *space = NULL;
    nas_encoding encoding = {0};
    nas_predictor *predictor = NULL;
    nas_predictor_fit fit;
    nas_status status;

    cli_progress_init(&progress, context->common);
    const nas_observer observer = cli_progress_observer(&progress);
    const char *const read[] = {o->space.space, o->space.data};
    if ((status = cli_samples_check_out(o->samples, o->out, err)) ||
        (status = cli_check_output(read, 2, "--out", o->out, o->dry_run, err)) ||
        (status = cli_space_load(&space, &o->space, err)) ||
        (status = cli_samples_read(&s, space, o->samples, err)) ||
        (status = nas_encoding_init(&encoding, space, s.sizes, s.image_size, err)))
        goto done;
    if (o->dry_run) {
        status = dry_run(context, &encoding, &s, &config, err);
        goto done;
    }
    if ((status = nas_predictor_train(&predictor, &encoding, s.list, s.count, &config, &observer,
                                      &fit, err)) ||
        (status = nas_predictor_save(predictor, o->out, err)))
        goto done;
    status = cli_emit(context,
                      json_pack("{s:s, s:i, s:i, s:i, s:o, s:o, s:o, s:f}", "predictor", o->out,
                                "trained", fit.trained, "held_out", fit.held_out, "repeated",
                                s.repeated, "rmse", cli_real(fit.rmse), "spearman",
                                cli_real(fit.spearman), "kendall", cli_real(fit.kendall),
                                "seconds", nas_clock_seconds() - started),
                      err);

done:
    nas_predictor_free(predictor);
    nas_encoding_fini(&encoding);
    nas_space_free(space);
    cli_samples_fini(&s);
    return status;
}

const cli_command cmd_predictor_train = {
    .name = "predictor train", .summary = "learn to foretell accuracy from judged architectures",
    .example = "predictor train --space ofa-mbv3-1.0 --samples judged.json --out acc.safetensors",
    .tables = {cli_space_table, train_table}, .size = sizeof(train_options), .stop = CLI_STOP_ENDS,
    .run = train_run,
};
