/* nas ofa sample - judges random subnets: the data that a predictor learns from. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/stats.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/subnet.h"

typedef struct sample_options {
    cli_run_options run;
    cli_subnet_options subnet;
    const char *out;
    int64_t count, first;
} sample_options;

#define AT(field) offsetof(sample_options, field)
enum { TRIES = 200, MOST = 10000 };

static const nas_option sample_table[] = {
    CLI_SUBNET_ROWS(AT(subnet)),
    {"--count", NAS_OPT_INT, AT(count), "1000", 1, MOST, NULL, "N", "subnets, all distinct"},
    {"--first", NAS_OPT_INT, AT(first), "0", 0, 1e9, NULL, "N",
     "number of the first draw: to share the work, 0, 1000, 2000 for three of 1000 each"},
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "FILE",
     "samples to write, as nas predictor train reads them", true, true},
    {0},
};

static const nas_option name_table[] = {
    {"--name", NAS_OPT_STRING, offsetof(sample_options, run.name), NULL, 0, 0, NULL, "NAME",
     "name of the run; default: made up", false, true},
    {"--checkpoint-seconds", NAS_OPT_REAL, offsetof(sample_options, run.checkpoint_seconds), "60",
     0, 1e6, NULL, "S", "at least this often", false, true},
    {0},
};

static bool listed(const nas_candidate *list, int64_t count, const nas_candidate *c)
{
    for (int64_t i = 0; i < count; i++)
        if (list[i].image_size == c->image_size &&
            memcmp(list[i].choice, c->choice, sizeof c->choice) == 0)
            return true;
    return false;
}

/* Subnets as Once-for-All draws them; an image size is drawn with each. */
static nas_status draw(nas_candidate *list, const sample_options *o, const nas_supernet *net,
                       nas_err *err)
{
    const nas_space *space = net->space;
    nas_elastic_mask mask;
    const nas_status status = nas_elastic_mask_make(&mask, space, &net->trained, err);

    for (int64_t i = 0; i < o->count && status == NAS_OK; i++) {
        nas_rng rng;
        int tries = 0;

        nas_rng_init(&rng, (uint64_t)o->run.common.seed, "ofa sample", (uint64_t)(o->first + i));
        do {
            list[i] = (nas_candidate){
                .image_size = space->resolutions > 0
                                  ? space->resolution[nas_rng_below(
                                        &rng, (uint32_t)space->resolutions)]
                                  : space->image_size};
            nas_elastic_sample(space, &mask, &rng, list[i].choice);
        } while (listed(list, i, &list[i]) && ++tries < TRIES);
        if (tries == TRIES)
            return nas_fail(err, NAS_E_INFEASIBLE,
                            "space %s has hardly more than %lld subnets that are trained",
                            space->name, (long long)i);
    }
    return status;
}

static nas_status write_samples(const sample_options *o, const nas_space *space,
                                const nas_candidate *list, nas_err *err)
{
    json_t *samples = json_array(), *file = json_pack("{s:o}", "samples", samples);
    nas_status status = NAS_OK;

    for (int64_t i = 0; i < o->count && status == NAS_OK; i++) {
        nas_arch *arch = NULL;

        status = cli_candidate_arch(&arch, space, &list[i], err);
        if (status == NAS_OK)
            json_array_append_new(samples, json_pack("{s:o, s:f}", "arch", nas_arch_to_json(arch),
                                                     "top1", list[i].score));
        nas_arch_free(arch);
    }
    /* on one line: thousands of networks stay within what a reader of JSON takes */
    char *line = status == NAS_OK ? json_dumps(file, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    if (status == NAS_OK)
        status = line != NULL ? nas_file_write(o->out, line, strlen(line), err)
                              : nas_fail(err, NAS_E_NOMEM, "samples: out of memory");
    free(line);
    json_decref(file);
    return status;
}

static nas_status load_checkpoint(void *self, const char *path, nas_err *err)
{
    return nas_judge_load(self, path, err);
}

static nas_status judge_all(cli_session *session, const sample_options *o, cli_subnets *subnets,
                            nas_candidate *list, json_t *result, nas_err *err)
{
    double *top1 = malloc((size_t)o->count * sizeof *top1);
    nas_status status = top1 != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "out of memory");

    if (status == NAS_OK)
        status = cli_session_restore(session, load_checkpoint, subnets->judge, err);
    if (status == NAS_OK) {
        const nas_evaluator e =
            nas_judge_evaluator(subnets->judge, NULL, &session->observer, o->count);
        status = e.score(e.user, list, (int)o->count, err);
    }
    if (status == NAS_OK && (status = write_samples(o, subnets->net->space, list, err)) == NAS_OK) {
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
    free(top1);
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

    if (status != NAS_OK || (status = cli_check_out(o->subnet.model, o->out, err)) ||
        (status = cli_check_out(o->subnet.data, o->out, err)) ||
        (status = nas_file_writable(o->out, err)) ||
        (status = cli_subnets_open(&subnets, &o->subnet, &o->run.common, err)) ||
        (status = draw(list, o, subnets.net, err)) ||
        (status = cli_subnets_inputs(&inputs, &subnets, err)) ||
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
