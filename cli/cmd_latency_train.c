/* nas latency train - a regression of latency from networks that are measured whole. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/version.h"
#include "latency/profile/profile.h"
#include "latency/regress/regressor.h"

typedef struct latency_train_options {
    cli_space_options space;
    const char *out, *sizes, *cores;
    int64_t samples, rounds, hidden, layers, steps;
    double lr, held_out;
    bool dry_run;
} latency_train_options;

enum { PROBED = 10 }; /* turns at each image size that a dry run takes */

#define AT(field) offsetof(latency_train_options, field)

static const nas_option latency_train_table[] = {
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "FILE",
     "regressor to write: it goes where a latency table goes", true, true},
    {"--samples", NAS_OPT_INT, AT(samples), "200", NAS_REGRESSOR_LEAST, 10000, NULL, "N",
     "networks to measure whole, of all image sizes together"},
    {"--sizes", NAS_OPT_STRING, AT(sizes), NULL, 0, 0, NULL, "LIST",
     "image sizes to measure networks at, as 160,192,224; default: the space's own"},
    {"--rounds", NAS_OPT_INT, AT(rounds), "5", 1, 1000, NULL, "N", "turns of each of them"},
    {"--cores", NAS_OPT_STRING, AT(cores), "any", 0, 0, NULL, "LIST",
     "cores to bind the threads to, one each: 0,2-3"},
    {"--held-out", NAS_OPT_REAL, AT(held_out), "0.2", 0, 0.9, NULL, "X",
     "share of the networks that judges the regressor and does not train it"},
    {"--hidden", NAS_OPT_INT, AT(hidden), "64", 1, NAS_DENSE_MAX_WIDTH, NULL, "N",
     "width of the hidden layers"},
    {"--layers", NAS_OPT_INT, AT(layers), "2", 1, NAS_DENSE_MAX_LAYERS - 1, NULL, "N",
     "hidden layers"},
    {"--steps", NAS_OPT_INT, AT(steps), "2000", 1, 1e7, NULL, "N",
     "steps of Adam, each over all networks"},
    {"--lr", NAS_OPT_REAL, AT(lr), "3e-3", 0, 10, NULL, "X",
     "first learning rate; follows a cosine to 0"},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

/* The networks of one image size. */
typedef struct measured {
    nas_space *space;
    nas_latency_verification found;
} measured;

typedef struct work {
    const latency_train_options *options;
    int sizes, size[NAS_REGRESSOR_MAX_SIZES]; /* 0: the space's own */
    measured of[NAS_REGRESSOR_MAX_SIZES];
    double slowed; /* part of the turns */
} work;

/* Whether the networks are enough to train and to judge, before any is measured. */
static nas_status check_split(const latency_train_options *o, nas_err *err)
{
    const int64_t held_out = (int64_t)(o->held_out * (double)o->samples);

    if (o->samples >= NAS_REGRESSOR_LEAST && held_out >= 2 && o->samples - held_out >= 2)
        return NAS_OK;
    nas_fail(err, NAS_E_USAGE, "--samples %lld, of which --held-out %g leaves %lld to judge on: it "
             "takes %d and 2", (long long)o->samples, o->held_out, (long long)held_out,
             NAS_REGRESSOR_LEAST);
    nas_hint(err, "say more --samples, or another --held-out");
    return NAS_E_USAGE;
}

/* "160,192,224": ascending. */
static nas_status read_sizes(work *w, nas_err *err)
{
    const char *text = w->options->sizes;

    if (text == NULL) {
        w->size[w->sizes++] = (int)w->options->space.image_size;
        return NAS_OK;
    }
    if (w->options->space.image_size > 0)
        return nas_fail(err, NAS_E_USAGE, "--sizes names the image sizes: it goes without "
                        "--image-size");
    do {
        char *end;
        const long size = strtol(text, &end, 10);

        if (end == text || size > NAS_MAX_IMAGE_SIZE || w->sizes == NAS_REGRESSOR_MAX_SIZES ||
            size <= (w->sizes > 0 ? w->size[w->sizes - 1] : 0) || (*end != ',' && *end != '\0') ||
            (*end == ',' && end[1] == '\0')) {
            nas_fail(err, NAS_E_USAGE, "--sizes '%.64s' is no ascending list of image sizes",
                     w->options->sizes);
            nas_hint(err, "as in 160,192,224; at most %d of up to %d pixels",
                     NAS_REGRESSOR_MAX_SIZES, NAS_MAX_IMAGE_SIZE);
            return NAS_E_USAGE;
        }
        w->size[w->sizes++] = (int)size;
        text = *end == ',' ? end + 1 : end;
    } while (*text != '\0');
    return NAS_OK;
}

static nas_status load_spaces(work *w, nas_err *err)
{
    nas_status status = read_sizes(w, err);

    for (int i = 0; i < w->sizes && status == NAS_OK; i++) {
        cli_space_options options = w->options->space;

        options.image_size = w->size[i];
        status = cli_space_load(&w->of[i].space, &options, err);
    }
    return status;
}

/* Each size gets its share of the networks, drawn from a stream of its own. */
static int samples_of(const work *w, int i)
{
    const int64_t samples = w->options->samples;

    return (int)(samples * (i + 1) / w->sizes - samples * i / w->sizes);
}

static nas_status measure_size(work *w, int i, const nas_observer *observer, nas_err *err)
{
    const latency_train_options *o = w->options;
    char stream[32];

    snprintf(stream, sizeof stream, "regressor %d", w->of[i].space->image_size);
    const nas_latency_verify_options how = {.samples = samples_of(w, i),
                                            .rounds = (int)o->rounds,
                                            .seed = (uint64_t)o->space.common.seed,
                                            .cores = o->cores, .stream = stream,
                                            .observer = observer};
    return nas_regressor_measure(&w->of[i].found, w->of[i].space, &how, err);
}

static nas_status measure(work *w, const nas_observer *observer, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int i = 0; i < w->sizes && status == NAS_OK; i++) {
        status = measure_size(w, i, observer, err);
        w->slowed += w->of[i].found.slowed / w->sizes;
    }
    return status;
}

/* What measuring takes, by the first turns at each size; the training behind it takes seconds. */
static nas_status dry_run(work *w, const cli_context *context, nas_err *err)
{
    cli_demand demand = {0};
    nas_status status = NAS_OK;

    for (int i = 0; i < w->sizes && status == NAS_OK; i++) {
        const int samples = samples_of(w, i);
        cli_probe probe;

        cli_probe_init(&probe, samples < PROBED ? samples : PROBED);
        status = cli_probe_status(&probe, measure_size(w, i, &probe.observer, err), err);
        cli_demand_add(&demand, (double)samples * (double)w->options->rounds,
                       cli_probe_step(&probe));
    }
    if (status != NAS_OK)
        return status;
    demand.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0;
    return cli_demand_emit(context, json_pack("{s:I}", "networks", (json_int_t)w->options->samples),
                           &demand, err);
}

static nas_status train(nas_regressor **out, const work *w, const nas_observer *observer,
                        nas_err *err)
{
    const latency_train_options *o = w->options;
    nas_regressor_config config = nas_regressor_defaults();
    nas_regressor_lesson lessons[NAS_REGRESSOR_MAX_SIZES];
    nas_latency_meta meta;
    char turns[96];

    config.hidden = (int)o->hidden;
    config.layers = (int)o->layers;
    config.steps = o->steps;
    config.lr = o->lr;
    config.held_out = o->held_out;
    config.seed = (uint64_t)o->space.common.seed;
    nas_latency_meta_here(&meta, "nas " NAS_VERSION);
    snprintf(meta.space, sizeof meta.space, "%s", w->of[0].space->name);
    snprintf(turns, sizeof turns, "cores %.32s, %.0f %% of the turns slowed", o->cores,
             100.0 * w->slowed);
    nas_latency_meta_note(&meta, turns);
    for (int i = 0; i < w->sizes; i++) {
        const nas_latency_verification *found = &w->of[i].found;

        lessons[i] = (nas_regressor_lesson){.space = w->of[i].space, .pairs = found->pairs,
                                            .count = found->count,
                                            .probe = {.ms = found->probe_ms}};
        memcpy(lessons[i].probe.digest, found->probe, sizeof found->probe);
    }
    return nas_regressor_train(out, &meta, lessons, w->sizes, &config, observer, err);
}

static nas_status latency_train_run(const cli_context *context, const void *options, nas_err *err)
{
    const latency_train_options *o = options;
    const double started = nas_clock_seconds();
    work *w = calloc(1, sizeof *w);
    nas_regressor *regressor = NULL;
    cli_progress progress;
    nas_status status;

    if (w == NULL)
        return nas_fail(err, NAS_E_NOMEM, "latency train: out of memory");
    w->options = o;
    cli_progress_init(&progress, context->common);
    const nas_observer observer = cli_progress_observer(&progress);
    if (o->dry_run) {
        if ((status = load_spaces(w, err)) == NAS_OK)
            status = dry_run(w, context, err);
        goto done;
    }
    const char *const read[] = {o->space.space, o->space.data};
    if ((status = check_split(o, err)) ||
        (status = cli_check_output(read, 2, "--out", o->out, false, err)) ||
        (status = load_spaces(w, err)) ||
        (status = measure(w, &observer, err)) ||
        (status = train(&regressor, w, &observer, err)) ||
        (status = nas_regressor_save(regressor, o->out, err)))
        goto done;
    cli_progress_end(&progress);
    json_t *result = cli_regressor_json(regressor);
    json_object_set_new(result, "regressor", json_string(o->out));
    json_object_set_new(result, "slowed", cli_real(w->slowed));
    json_object_set_new(result, "seconds", json_real(nas_clock_seconds() - started));
    status = cli_emit(context, result, err);

done:
    cli_progress_end(&progress);
    for (int i = 0; i < w->sizes; i++) {
        nas_latency_verification_fini(&w->of[i].found);
        nas_space_free(w->of[i].space);
    }
    free(w);
    nas_regressor_free(regressor);
    return status;
}

const cli_command cmd_latency_train = {
    .name = "latency train", .summary = "learn latencies from networks that are measured whole",
    .example = "latency train --space ofa-mbv3-1.2 --sizes 160,192,224 --out here.latency",
    .tables = {latency_train_table, cli_space_table}, .size = sizeof(latency_train_options),
    .stop = CLI_STOP_ENDS, .run = latency_train_run,
};
