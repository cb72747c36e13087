/* nas ofa sample - judges random subnets: the data that a predictor learns from. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/stats.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/samples.h"
#include "cli/subnet.h"
#include "search/ofa/draw.h"

typedef struct sample_options {
    cli_run_options run;
    cli_subnet_options subnet;
    const char *out;
    int64_t count, first;
    bool dry_run;
} sample_options;

#define AT(field) offsetof(sample_options, field)
enum { MOST = 10000 };

static const nas_option sample_table[] = {
    CLI_SUBNET_ROWS(AT(subnet)),
    {"--count", NAS_OPT_INT, AT(count), "1000", 1, MOST, NULL, "N", "subnets, all distinct"},
    {"--first", NAS_OPT_INT, AT(first), "0", 0, 1e6, NULL, "N",
     "so many of the list are others' work: to share it, 0, 1000, 2000 for three of 1000 each"},
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "FILE",
     "samples to write, as nas predictor train reads them", true, true},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

static const nas_option name_table[] = {
    {"--name", NAS_OPT_STRING, offsetof(sample_options, run.name), NULL, 0, 0, NULL, "NAME",
     "name of the run; default: made up", false, true},
    {"--checkpoint-seconds", NAS_OPT_REAL, offsetof(sample_options, run.checkpoint_seconds), "60",
     0, 1e6, NULL, "S", "at least this often", false, true},
    {0},
};

/* How the subnets are judged: files that tell the same belong together. */
static json_t *judged_json(const sample_options *o, const cli_subnets *subnets)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I}", "supernet", subnets->net->digest, "data",
                     subnets->data->digest, "recalibrate_images",
                     (json_int_t)o->subnet.recalibrate_images, "score_images",
                     (json_int_t)o->subnet.score_images, "seed",
                     (json_int_t)o->run.common.seed);
}

static nas_status draw(nas_candidate *list, const sample_options *o, const nas_supernet *net,
                       nas_err *err)
{
    nas_elastic_mask mask;
    const nas_status status = nas_elastic_mask_make(&mask, net->space, &net->trained, err);

    return status == NAS_OK ? nas_ofa_draw(list, net->space, &mask, (uint64_t)o->run.common.seed,
                                           o->first, o->count, err)
                            : status;
}

static nas_status load_checkpoint(void *self, const char *path, nas_err *err)
{
    return nas_judge_load(self, path, err);
}

static nas_status judge_all(cli_session *session, const sample_options *o, cli_subnets *subnets,
                            nas_candidate *list, json_t *result, nas_err *err)
{
    double *top1 = malloc((size_t)o->count * sizeof *top1);
    json_t *judged = judged_json(o, subnets);
    nas_status status =
        top1 != NULL && judged != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "out of memory");

    if (status == NAS_OK)
        status = cli_session_restore(session, load_checkpoint, subnets->judge, err);
    if (status == NAS_OK) {
        const nas_evaluator e =
            nas_judge_evaluator(subnets->judge, NULL, &session->observer, o->count);
        status = e.score(e.user, list, (int)o->count, err);
    }
    if (status == NAS_OK && (status = cli_samples_write(o->out, subnets->net->space, list, o->count,
                                                         judged, err)) == NAS_OK) {
        for (int64_t i = 0; i < o->count; i++)
            top1[i] = list[i].score;
        json_object_update_new(
            result,
            json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:f}", "run", session->name, "samples",
                      o->out, "count", (json_int_t)o->count, "top1_mean",
                      nas_mean(top1, (int)o->count), "top1_min",
                      nas_quantile(top1, (int)o->count, 0), "top1_max",
                      nas_quantile(top1, (int)o->count, 1), "seconds",
                      nas_clock_seconds() - session->started));
    }
    json_decref(judged);
    free(top1);
    return status;
}

/* What judging all of them takes, by the first ones. */
static nas_status dry_run(const cli_context *context, const sample_options *o,
                          cli_subnets *subnets, nas_candidate *list, nas_err *err)
{
    cli_demand demand = {.folder = o->run.common.store};
    json_t *about = json_object();
    nas_status status;
    cli_probe probe;

    cli_probe_init(&probe, 3);
    const nas_evaluator e = nas_judge_evaluator(subnets->judge, NULL, &probe.observer, o->count);
    if ((status = cli_demand_space(about, subnets->net->space, NULL, err)) == NAS_OK &&
        (status = cli_probe_status(&probe, e.score(e.user, list, (int)o->count, err), err)) ==
            NAS_OK) {
        cli_demand_add(&demand, (double)o->count, cli_probe_step(&probe));
        demand.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0;
        status = cli_demand_emit(context, json_incref(about), &demand, err);
    }
    json_decref(about);
    return status;
}

static nas_status sample_run(const cli_context *context, const void *options, nas_err *err)
{
    const sample_options *o = options;
    nas_candidate *list = malloc((size_t)o->count * sizeof *list);
    json_t *result = json_object(), *inputs = NULL;
    cli_subnets subnets = {0};
    cli_session session;
    nas_status status =
        list != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "samples: out of memory");

    const char *const read[] = {o->subnet.model, o->subnet.data};
    if (status != NAS_OK ||
        (status = cli_check_output(read, 2, "--out", o->out, o->dry_run, err)) ||
        (status = cli_subnets_open(&subnets, &o->subnet, &o->run.common, false, err)) ||
        (status = draw(list, o, subnets.net, err)))
        goto done;
    if (o->dry_run) {
        status = dry_run(context, o, &subnets, list, err);
        goto done;
    }
    if ((status = cli_subnets_inputs(&inputs, &subnets, err)) ||
        (status = cli_session_open(&session, context, inputs, err)))
        goto done;
    status = judge_all(&session, o, &subnets, list, result, err);
    status = cli_session_close(&session, status, status == NAS_OK ? result : NULL, err);
    if (status == NAS_OK)
        status = cli_emit(context, json_incref(result), err);

done:
    json_decref(inputs);
    json_decref(result);
    cli_subnets_close(&subnets);
    free(list);
    return status;
}

const cli_command cmd_ofa_sample = {
    .name = "ofa sample", .summary = "judge random subnets, for an accuracy predictor to learn",
    .example = "ofa sample --model .nas/runs/6/supernet.safetensors --data photos.nasd --out "
               "judged.json",
    .tables = {sample_table, name_table}, .size = sizeof(sample_options),
    .stop = CLI_STOP_RESUMES, .run = sample_run,
};
