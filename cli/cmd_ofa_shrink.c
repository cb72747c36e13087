/* nas ofa shrink - trains a supernet, phase by phase: each phase is a run that starts from the one
 * before it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/output.h"
#include "cli/run_session.h"
#include "cli/subnet.h"
#include "search/jobs/worker.h"
#include "search/ofa/shrink.h"

typedef struct shrink_options {
    cli_run_options run;
    const char *data, *space, *preset, *schedule, *from, *until;
    double valid_fraction, epochs_scale;
    int64_t recalibrate_images, score_images;
    bool show_schedule, dry_run;
} shrink_options;

#define AT(field) offsetof(shrink_options, field)

static const nas_option shrink_table[] = {
    {"--data", NAS_OPT_STRING, AT(data), NULL, 0, 0, NULL, "FILE", "packed images"},
    {"--space", NAS_OPT_STRING, AT(space), NULL, 0, 0, NULL, "SPACE",
     "name of a built-in space, or its JSON file; default: that of --from"},
    {"--preset", NAS_OPT_STRING, AT(preset), NULL, 0, 0, NULL, "NAME",
     "schedule: ofa (as published), cifar-small, taught, sandwich or uniform; default: ofa"},
    {"--schedule", NAS_OPT_STRING, AT(schedule), NULL, 0, 0, NULL, "FILE",
     "schedule of one's own, instead of a preset"},
    {"--from", NAS_OPT_STRING, AT(from), NULL, 0, 0, NULL, "FILE",
     "supernet that has done the first phases; default: a fresh one"},
    {"--until", NAS_OPT_STRING, AT(until), NULL, 0, 0, NULL, "PHASE",
     "last phase to do; default: the schedule's"},
    {"--epochs-scale", NAS_OPT_REAL, AT(epochs_scale), "1", 1e-6, 1000, NULL, "X",
     "multiplies the epochs of every phase"},
    {"--valid-fraction", NAS_OPT_REAL, AT(valid_fraction), NULL, 0.001, 0.9, NULL, "X",
     "of the training images, held out to judge subnets; default: 0.1, or that of --from"},
    CLI_JUDGE_ROWS(AT(recalibrate_images), AT(score_images)),
    {"--show-schedule", NAS_OPT_FLAG, AT(show_schedule), NULL, 0, 0, NULL, NULL,
     "print the schedule as JSON and do nothing"},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

static const double VALID_FRACTION = 0.1;

/* A chain of phases on its way. */
typedef struct chain {
    const cli_context *context;
    const shrink_options *options;
    nas_dataset *data;
    nas_ofa_schedule schedule;
    char *from;     /* supernet that the next phase starts from; NULL: none */
    json_t *phases; /* what each ended with                                 */
    int count;      /* of phases that were run or found finished here       */
    cli_session session[2]; /* of the last one, and that of the one before; by turns */
    cli_context child[2];   /* what they were opened with                            */
    json_t *about;  /* what the last one ended with; NULL: found finished   */
} chain;

/* The run of the last phase is open until the next one is begun. */
static cli_session *last_session(chain *c) { return &c->session[c->count % 2]; }

/* ---- what it is made from ---- */

static nas_status load_fitted(nas_space **out, const shrink_options *o, const nas_dataset *data,
                              nas_err *err)
{
    const nas_status status = nas_space_load(out, o->space, err);

    return status == NAS_OK && data != NULL ? cli_space_fit(*out, data, err) : status;
}

/* A supernet continues with its own space and images of its own size. */
static nas_status check_space(const chain *c, const nas_supernet *net, nas_err *err)
{
    char own[NAS_DIGEST_SIZE], other[NAS_DIGEST_SIZE];
    nas_space *space = NULL;
    nas_status status = NAS_OK;

    if (c->data->height > 0 && c->data->height == c->data->width &&
        c->data->height != net->space->image_size)
        return nas_fail(err, NAS_E_CONFIG, "%s: is of images of %d pixels, those of %s are of %d",
                        c->from, net->space->image_size, c->data->path, c->data->height);
    if ((status = nas_judge_check_data(net, c->data, err)) != NAS_OK)
        return status;
    if (c->options->valid_fraction > 0.0 && c->options->valid_fraction != net->valid_fraction)
        return nas_fail(err, NAS_E_CONFIG, "--valid-fraction: %s was begun with %g, and goes on "
                        "with it", c->from, net->valid_fraction);
    if (c->options->space == NULL)
        return NAS_OK;
    if ((status = load_fitted(&space, c->options, c->data, err)) == NAS_OK &&
        (status = nas_space_digest(space, own, err)) == NAS_OK &&
        (status = nas_space_digest(net->space, other, err)) == NAS_OK && strcmp(own, other) != 0) {
        status = nas_fail(err, NAS_E_CONFIG, "%s: is a supernet of space %s, not of %s", c->from,
                          net->space->name, space->name);
        nas_hint(err, "leave --space out to go on with its own");
    }
    nas_space_free(space);
    return status;
}

static nas_status load_net(nas_supernet **net, const chain *c, int batch, nas_err *err)
{
    const shrink_options *o = c->options;
    const int largest = batch > NAS_JUDGE_BATCH ? batch : NAS_JUDGE_BATCH;
    const nas_memory memory = (nas_memory)o->run.memory;
    nas_space *space = NULL;
    nas_status status;

    *net = NULL;
    if (c->from != NULL) {
        status = nas_supernet_load(net, c->from, largest, memory, err);
        return status == NAS_OK ? check_space(c, *net, err) : status;
    }
    if ((status = load_fitted(&space, o, c->data, err)) != NAS_OK) {
        nas_space_free(space);
        return status;
    }
    status = nas_supernet_new(net, space, largest, memory, (uint64_t)o->run.common.seed, err);
    if (status == NAS_OK) {
        (*net)->valid_fraction = o->valid_fraction > 0.0 ? o->valid_fraction : VALID_FRACTION;
        snprintf((*net)->data, sizeof (*net)->data, "%s", c->data->digest);
    }
    return status;
}

static nas_status load_schedule(chain *c, const nas_space *space, nas_err *err)
{
    const shrink_options *o = c->options;
    const char *preset = o->preset != NULL ? o->preset : nas_ofa_schedule_presets[0];
    const nas_status status = o->schedule != NULL
                                  ? nas_ofa_schedule_load(&c->schedule, o->schedule, space, err)
                                  : nas_ofa_schedule_preset(&c->schedule, preset, space, err);
    bool found = o->until == NULL;

    if (status != NAS_OK)
        return status;
    for (int i = 0; i < c->schedule.count && !found; i++)
        if (strcmp(c->schedule.phase[i].name, o->until) == 0) {
            found = true;
            c->schedule.count = i + 1;
        }
    if (!found)
        return nas_fail(err, NAS_E_USAGE, "--until: no phase of the schedule is called '%.64s'",
                        o->until);
    if (o->epochs_scale != 1.0)
        nas_ofa_schedule_scale(&c->schedule, o->epochs_scale);
    return NAS_OK;
}

static nas_status schedule_digest(const chain *c, int phase, char out[NAS_DIGEST_SIZE],
                                  nas_err *err)
{
    json_t *json = nas_ofa_schedule_json(&c->schedule);
    char *text = json != NULL ? json_dumps(json_array_get(json_object_get(json, "phases"),
                                                          (size_t)phase),
                                           JSON_COMPACT | JSON_SORT_KEYS |
                                               JSON_REAL_PRECISION(17))
                              : NULL;

    if (text != NULL)
        nas_digest(text, strlen(text), out);
    free(text);
    json_decref(json);
    return text != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "schedule: out of memory");
}

static nas_status make_inputs(json_t **out, const chain *c, const nas_supernet *net, int phase,
                              nas_err *err)
{
    char space[NAS_DIGEST_SIZE], schedule[NAS_DIGEST_SIZE];
    nas_status status;

    if ((status = nas_space_digest(net->space, space, err)) ||
        (status = schedule_digest(c, phase, schedule, err)))
        return status;
    *out = json_pack("{s:s, s:s, s:s}", "data", c->data->digest, "space", space, "schedule",
                     schedule);
    if (*out != NULL && c->from != NULL)
        json_object_set_new(*out, "from", json_string(net->digest));
    return *out != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "schedule: out of memory");
}

/* ---- one phase ---- */

static json_t *phase_json(const nas_phase *phase, const nas_supernet *net,
                          const nas_shrink_result *r, const cli_session *session)
{
    json_t *corners = json_array();

    for (int i = 0; i < r->corners; i++)
        json_array_append_new(corners, json_pack("{s:s, s:o, s:o}", "name", r->corner[i].name,
                                                 "top1", cli_real(r->corner[i].top1), "loss",
                                                 cli_real(r->corner[i].loss)));
    return json_pack("{s:s, s:s, s:i, s:I, s:I, s:o, s:o, s:o, s:f}", "phase", phase->name, "run",
                     session->name, "phases", net->phases, "epochs",
                     (json_int_t)(phase->epochs + phase->warmup_epochs), "steps",
                     (json_int_t)r->steps, "train_loss", cli_real(r->train_loss), "corners_top1",
                     cli_real(r->mean_top1), "corners", corners, "seconds",
                     nas_clock_seconds() - session->started);
}

static nas_status load_checkpoint(void *self, const char *path, nas_err *err)
{
    return nas_shrink_load(self, path, err);
}

static const char supernet_file[] = "supernet.safetensors";

static nas_status new_shrink(nas_shrink **out, const chain *c, nas_supernet *net,
                             const nas_phase *phase, nas_err *err)
{
    const shrink_options *o = c->options;
    const nas_judge_config config = {
        .recalibrate_images = o->recalibrate_images, .score_images = o->score_images,
        .seed = (uint64_t)o->run.common.seed, .loader_threads = (int)o->run.common.threads};

    return nas_shrink_new(out, net, c->data, phase, &config, err);
}

/* Trains a phase in a run that was opened; `*about` (yours) tells how it ended. */
static nas_status train_phase(chain *c, nas_supernet *net, const nas_phase *phase,
                              cli_session *session, const char *path, json_t **about, nas_err *err)
{
    nas_shrink *shrink = NULL;
    nas_shrink_result result;
    nas_status status;

    if ((status = new_shrink(&shrink, c, net, phase, err)) == NAS_OK &&
        (status = cli_session_restore(session, load_checkpoint, shrink, err)) == NAS_OK &&
        (status = nas_shrink_run(shrink, &session->observer, &result, err)) == NAS_OK &&
        (status = nas_supernet_save(net, path, err)) == NAS_OK &&
        (status = cli_session_artifact(session, "supernet", supernet_file, result.steps, err)) ==
            NAS_OK)
        *about = phase_json(phase, net, &result, session);
    nas_shrink_free(shrink);
    return status;
}

/* What run `id` ended with, if it was a phase (yours; otherwise NULL), and the run that it starts
 * from. */
static nas_status phase_of_run(json_t **about, int64_t *parent, nas_store *store, int64_t id,
                               nas_err *err)
{
    nas_store_run *run = NULL;
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)id);
    const nas_status status = nas_store_run_get(store, text, &run, err);
    *about = NULL;
    *parent = 0;
    if (status != NAS_OK)
        return status == NAS_E_USAGE ? NAS_OK : status; /* it was deleted */
    *parent = run->parent;
    *about = run->summary != NULL ? json_loads(run->summary, 0, NULL) : NULL;
    nas_store_run_free(run);
    if (json_object_get(*about, "phase") == NULL) {
        json_decref(*about);
        *about = NULL;
    }
    return NAS_OK;
}

/* A chain that goes on ends as if it had not stopped: with what the phases before ended with. */
static nas_status recall_phases(chain *c, const cli_session *session, nas_err *err)
{
    json_t *about = NULL;
    int64_t run = session->attempt.run, parent;
    nas_status status = phase_of_run(&about, &parent, session->store, run, err);

    if (status == NAS_OK && session->finished && about != NULL)
        json_array_append(c->phases, about);
    json_decref(about);
    if (json_array_size(c->phases) > (session->finished ? 1 : 0))
        return status; /* begun here */
    while (status == NAS_OK && parent > 0 && parent < run) {
        run = parent;
        status = phase_of_run(&about, &parent, session->store, run, err);
        if (about != NULL)
            json_array_insert_new(c->phases, 0, about);
    }
    return status;
}

/* The settings with which this phase alone would be begun: from the supernet before it. */
static nas_status child_context(cli_context *out, json_t **config, const chain *c, nas_err *err)
{
    *out = *c->context;
    *config = json_deep_copy(c->context->config);
    if (*config == NULL ||
        (c->from != NULL && json_object_set_new(*config, "from", json_string(c->from)) != 0))
        return nas_fail(err, NAS_E_NOMEM, "phase: out of memory");
    out->config = *config;
    if (c->count > 0)
        out->run = NULL; /* only the first one is what `nas resume` continues */
    return NAS_OK;
}

enum { PHASE_RUN_NAME_SIZE = NAS_STORE_NAME_SIZE + NAS_PHASE_NAME_SIZE + 1 };

static void phase_run_name(char out[PHASE_RUN_NAME_SIZE], const char *prefix,
                           const nas_phase *phase)
{
    snprintf(out, PHASE_RUN_NAME_SIZE, "%.*s-%s", NAS_STORE_NAME_SIZE, prefix, phase->name);
}

/* Opens the run of a phase, which ends that of the phase before. */
static nas_status open_phase(chain *c, cli_session *session, const nas_supernet *net, int index,
                             nas_err *err)
{
    const char *prefix = c->options->run.name;
    char full[PHASE_RUN_NAME_SIZE];
    const char *name = prefix != NULL ? full : NULL;
    cli_context *context = &c->child[session - c->session];
    json_t *inputs = NULL, *config = NULL;
    nas_status status;

    phase_run_name(full, prefix != NULL ? prefix : "", &c->schedule.phase[index]);
    if ((status = make_inputs(&inputs, c, net, index, err)) == NAS_OK &&
        (status = child_context(context, &config, c, err)) == NAS_OK)
        status = c->count > 0
                     ? cli_session_open_next(session, last_session(c), c->about, context, name,
                                             inputs, err)
                     : cli_session_open_child(session, context, name, 0, inputs, err);
    context->config = c->context->config; /* the settings are written down */
    json_decref(config);
    json_decref(inputs);
    return status;
}

/* Ends the run of the last phase, where the next one did not. */
static nas_status end_phase(chain *c, nas_err *err)
{
    nas_status status = NAS_OK;

    if (c->count > 0)
        status = cli_session_close(last_session(c), NAS_OK, c->about, err);
    json_decref(c->about);
    c->about = NULL;
    return status;
}

/* Runs a phase in a run of its own; what comes next starts from it. */
static nas_status run_phase(chain *c, nas_supernet *net, int index, nas_err *err)
{
    const nas_phase *phase = &c->schedule.phase[index];
    cli_session *session = &c->session[(c->count + 1) % 2];
    json_t *about = NULL;
    char *path = NULL;
    nas_status status = open_phase(c, session, net, index, err);

    if (status != NAS_OK)
        return status;
    json_decref(c->about);
    c->about = NULL;
    nas_log(NAS_LOG_INFO, "phase %d of %d: %s", index + 1, c->schedule.count, phase->name);
    if ((path = cli_session_path(session, supernet_file)) == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "phase: out of memory");
    else if ((status = recall_phases(c, session, err)) == NAS_OK && !session->finished)
        status = train_phase(c, net, phase, session, path, &about, err);
    if (status == NAS_OK) {
        free(c->from);
        c->from = realpath(path, NULL);
        if (c->from == NULL)
            status = nas_fail_errno(err, "%s", path);
    }
    free(path);
    c->about = about;
    if (status != NAS_OK) {
        c->count = 0; /* nothing is open */
        return cli_session_close(session, status, about, err);
    }
    c->count++;
    if (about != NULL)
        json_array_append(c->phases, about);
    return NAS_OK;
}

/* ---- all of them ---- */

/* The phases' runs must not fail for their names, hours later.  A job finds those that it has
 * finished. */
static nas_status check_names(const chain *c, int next, nas_err *err)
{
    const char *prefix = c->options->run.name, *dir = c->options->run.common.store;
    nas_store *store = NULL;
    nas_status status = NAS_OK;

    if (prefix == NULL || c->context->run != NULL)
        return NAS_OK;
    if (!nas_worker_is() && nas_store_open(&store, dir, NAS_STORE_READ, NULL) != NAS_OK)
        store = NULL; /* there is none yet, or its own error follows */
    for (int i = next; i < c->schedule.count && status == NAS_OK; i++) {
        char name[PHASE_RUN_NAME_SIZE];
        nas_store_run *run = NULL;

        phase_run_name(name, prefix, &c->schedule.phase[i]);
        status = nas_store_name_check(name, "run name", err);
        if (status == NAS_OK && store != NULL &&
            nas_store_run_get(store, name, &run, NULL) == NAS_OK) {
            status = nas_fail(err, NAS_E_USAGE, "--name: there is a run '%s' already", name);
            nas_hint(err, "nas resume %s, if it has stopped; otherwise give another name", name);
        }
        nas_store_run_free(run);
    }
    nas_store_close(store);
    return status;
}

static nas_status fail_done(const chain *c, nas_err *err)
{
    nas_fail(err, NAS_E_USAGE, "%s: has done all phases of the schedule%s%s", c->options->from,
             c->options->until != NULL ? " up to " : "",
             c->options->until != NULL ? c->options->until : "");
    nas_hint(err, "next: nas ofa search, or nas ofa extract");
    return NAS_E_USAGE;
}

static nas_status run_next(chain *c, bool *done, nas_err *err)
{
    nas_supernet *net = NULL;
    int next = 0;
    nas_status status = load_net(&net, c, NAS_JUDGE_BATCH, err);

    if (status == NAS_OK && c->schedule.count == 0)
        status = load_schedule(c, net->space, err);
    if (status == NAS_OK && net->phases > c->schedule.count && c->options->until != NULL)
        status = fail_done(c, err);
    if (status == NAS_OK)
        status = nas_ofa_schedule_next(&next, &c->schedule, net, err);
    *done = next >= c->schedule.count;
    for (int i = next; i < c->schedule.count && c->count == 0 && status == NAS_OK; i++)
        status = nas_shrink_check(net, c->data, &c->schedule.phase[i], err); /* before any run */
    if (status == NAS_OK && c->count == 0)
        status = check_names(c, next, err);
    if (status == NAS_OK && !*done && c->schedule.phase[next].batch > NAS_JUDGE_BATCH) {
        nas_supernet_free(net); /* planned for too small batches */
        status = load_net(&net, c, (int)c->schedule.phase[next].batch, err);
    }
    if (status == NAS_OK && !*done)
        status = run_phase(c, net, next, err);
    nas_supernet_free(net);
    return status;
}

static nas_status run_chain(chain *c, nas_err *err)
{
    const double started = nas_clock_seconds();
    bool done = false;
    nas_status status = NAS_OK;

    while (!done && status == NAS_OK)
        status = run_next(c, &done, err);
    const bool any = c->count > 0;
    const nas_status ended = end_phase(c, status == NAS_OK ? err : NULL);
    status = status != NAS_OK ? status : ended;
    if (status != NAS_OK)
        return status;
    if (!any)
        return fail_done(c, err);
    return cli_emit(c->context,
                    json_pack("{s:s, s:s, s:O, s:f, s:f}", "run", last_session(c)->name,
                              "supernet", c->from, "phases", c->phases, "seconds",
                              nas_clock_seconds() - started, "peak_rss_mib",
                              nas_system_peak_rss_mib()),
                    err);
}

/* ---- what they would take ---- */

/* Images that run forward, and not more, to judge a phase's corners. */
static double judged_images(const chain *c, const nas_supernet *net, const nas_phase *phase)
{
    const shrink_options *o = c->options;
    const double held_out = net->valid_fraction * nas_dataset_split(c->data, "train")->count;
    const double scored =
        o->score_images > 0 ? fmin(held_out, (double)o->score_images) : held_out;
    const double times = phase->validate_every > 0
                             ? ceil((double)(phase->epochs + phase->warmup_epochs) /
                                    (double)phase->validate_every)
                             : 1.0;
    nas_elastic_corner corner[NAS_ELASTIC_CORNERS];
    nas_elastic_mask mask;

    if (nas_elastic_mask_make(&mask, net->space, &phase->limits, NULL) != NAS_OK)
        return 0.0;
    return times * (phase->sizes > 1 ? 2.0 : 1.0) *
           nas_elastic_corners(net->space, &phase->limits, &mask, corner) *
           (scored + (double)o->recalibrate_images);
}

/* Adds a phase, by its first steps; an image that is judged counts as a third of training one
 * subnet on it. */
static nas_status time_phase(const chain *c, nas_supernet *net, const nas_phase *phase,
                             json_t *rows, cli_demand *demand, nas_err *err)
{
    const double before = demand->seconds, epochs = (double)(phase->epochs + phase->warmup_epochs);
    nas_shrink *shrink = NULL;
    nas_shrink_result result;
    cli_probe probe;
    nas_status status = new_shrink(&shrink, c, net, phase, err);

    cli_probe_init(&probe, 3);
    if (status == NAS_OK)
        status = cli_probe_status(&probe, nas_shrink_run(shrink, &probe.observer, &result, err),
                                  err);
    nas_shrink_free(shrink);
    if (status != NAS_OK)
        return status;
    net->trained = phase->limits; /* the next ones have a teacher, and sort what this one trained */
    snprintf(net->phase[net->phases++], NAS_PHASE_NAME_SIZE, "%s", phase->name);
    const double step = cli_probe_step(&probe), steps = epochs * (double)probe.batches;
    cli_demand_add(demand, steps, step);
    demand->seconds += judged_images(c, net, phase) * step /
                       (3.0 * (double)(phase->batch * phase->subnets));
    json_array_append_new(rows, json_pack("{s:s, s:f, s:f, s:o, s:o}", "phase", phase->name,
                                          "epochs", epochs, "steps", steps, "step_seconds",
                                          cli_real(step), "seconds",
                                          cli_real(demand->seconds - before)));
    return NAS_OK;
}

/* The phases that are not done, one after another on weights as they are now: what they cost does
 * not depend on these. */
static nas_status dry_run(chain *c, nas_err *err)
{
    cli_demand demand = {.folder = c->options->run.common.store};
    json_t *rows = json_array(), *about = json_pack("{s:O}", "phases", rows);
    nas_supernet *net = NULL;
    int64_t batch = NAS_JUDGE_BATCH;
    int next = 0;
    nas_status status;

    if ((status = load_net(&net, c, NAS_JUDGE_BATCH, err)) ||
        (status = load_schedule(c, net->space, err)) ||
        (status = nas_ofa_schedule_next(&next, &c->schedule, net, err)))
        goto done;
    if (next >= c->schedule.count) {
        status = fail_done(c, err);
        goto done;
    }
    for (int i = next; i < c->schedule.count; i++)
        batch = c->schedule.phase[i].batch > batch ? c->schedule.phase[i].batch : batch;
    nas_supernet_free(net);
    if ((status = load_net(&net, c, (int)batch, err)) ||
        (status = cli_demand_space(about, net->space, NULL, err)))
        goto done;
    for (int i = next; i < c->schedule.count && status == NAS_OK; i++)
        status = time_phase(c, net, &c->schedule.phase[i], rows, &demand, err);
    if (status != NAS_OK)
        goto done;
    demand.disk_bytes = (c->schedule.count - next) *
                        cli_demand_run_bytes((double)nas_elastic_shared(net->elastic)->floats);
    demand.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0;
    status = cli_demand_emit(c->context, json_incref(about), &demand, err);

done:
    json_decref(about);
    json_decref(rows);
    nas_supernet_free(net);
    return status;
}

/* Prints the schedule; a space is enough for that. */
static nas_status show_schedule(chain *c, nas_err *err)
{
    nas_space *space = NULL;
    nas_supernet *net = NULL;
    nas_status status = c->from != NULL
                            ? nas_supernet_load(&net, c->from, 0, NAS_MEMORY_BALANCED, err)
                            : load_fitted(&space, c->options, c->data, err);

    if (status == NAS_OK)
        status = load_schedule(c, net != NULL ? net->space : space, err);
    if (status == NAS_OK) {
        json_t *json = nas_ofa_schedule_json(&c->schedule);

        if (json == NULL || json_dumpf(json, stdout, JSON_INDENT(2)) != 0)
            status = nas_fail(err, NAS_E_NOMEM, "schedule: out of memory");
        putchar('\n');
        json_decref(json);
        status = status == NAS_OK ? cli_flush(err) : status;
    }
    nas_space_free(space);
    nas_supernet_free(net);
    return status;
}

/* The supernet that the phases start from.  A run that goes on finds that of the phase before in
 * its own store, which may have been moved or be a copy. */
static nas_status find_from(chain *c, nas_err *err)
{
    const int64_t before = c->context->run != NULL ? c->context->run->parent : 0;
    nas_store *store = NULL;
    char *own = NULL;

    if (before > 0 &&
        nas_store_open(&store, c->options->run.common.store, NAS_STORE_READ, NULL) == NAS_OK)
        own = nas_store_path(store, before, supernet_file);
    nas_store_close(store);
    c->from = own != NULL && nas_path_exists(own) ? own : strdup(c->options->from);
    if (c->from != own)
        free(own);
    return c->from != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "out of memory");
}

static nas_status shrink_run(const cli_context *context, const void *options, nas_err *err)
{
    const shrink_options *o = options;
    chain c = {.context = context, .options = o, .phases = json_array()};
    nas_status status = NAS_OK;

    if (o->space == NULL && o->from == NULL)
        status = nas_fail(err, NAS_E_USAGE, "--space is required, or --from");
    else if (o->preset != NULL && o->schedule != NULL && context->run == NULL)
        status = nas_fail(err, NAS_E_USAGE, "--preset and --schedule: each names the schedule");
    else if (o->data == NULL && !o->show_schedule)
        status = nas_fail(err, NAS_E_USAGE, "--data is required");
    else if (o->data != NULL)
        status = nas_dataset_open(&c.data, o->data, err);
    if (status == NAS_OK && o->from != NULL)
        status = find_from(&c, err);
    if (status == NAS_OK)
        status = o->show_schedule ? show_schedule(&c, err)
                 : o->dry_run     ? dry_run(&c, err)
                                  : run_chain(&c, err);
    nas_dataset_close(c.data);
    json_decref(c.phases);
    free(c.from);
    return status;
}

const cli_command cmd_ofa_shrink = {
    .name = "ofa shrink", .summary = "train one supernet for all architectures of a space",
    .example = "ofa shrink --data photos.nasd --space ofa-cifar --preset cifar-small",
    .tables = {shrink_table, cli_run_table}, .size = sizeof(shrink_options),
    .stop = CLI_STOP_RESUMES, .run = shrink_run,
};
