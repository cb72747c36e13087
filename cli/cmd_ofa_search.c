/* nas ofa search - the best subnet of a supernet under limits, by judging subnets or by a
 * predictor. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/subnet.h"
#include "latency/table/set.h"
#include "search/evolution/evolution.h"
#include "search/ofa/predictor.h"

typedef struct search_options {
    cli_run_options run;
    cli_subnet_options subnet;
    const char *predictor, *table;
    double target_ms, max_macs, max_parameters;
    int64_t population, generations;
    bool allow_emulated;
} search_options;

#define AT(field) offsetof(search_options, field)

static const nas_option search_table[] = {
    CLI_SUBNET_ROWS(AT(subnet)),
    {"--predictor", NAS_OPT_STRING, AT(predictor), NULL, 0, 0, NULL, "FILE",
     "accuracy predictor to search by; default: subnets are judged on held-out images"},
    {"--table", NAS_OPT_STRING, AT(table), NULL, 0, 0, NULL, "FILE[,FILE...]",
     "latency tables, or a folder of them: one for each image size to choose from"},
    {"--target-ms", NAS_OPT_REAL, AT(target_ms), "0", 0, 1e6, NULL, "MS",
     "latency that the network must not exceed; 0: any"},
    {"--max-macs", NAS_OPT_REAL, AT(max_macs), "0", 0, 1e15, NULL, "N",
     "multiply-accumulates that it must not exceed; 0: any"},
    {"--max-parameters", NAS_OPT_REAL, AT(max_parameters), "0", 0, 1e12, NULL, "N",
     "parameters that it must not exceed; 0: any"},
    CLI_ALLOW_EMULATED(AT(allow_emulated)),
    {0},
};

static const nas_option method_table[] = {
    {"--population", NAS_OPT_INT, AT(population), "24", 2, 10000, NULL, "N",
     "subnets of a generation"},
    {"--generations", NAS_OPT_INT, AT(generations), "8", 0, 100000, NULL, "N",
     "after the first one"},
    {"--name", NAS_OPT_STRING, offsetof(search_options, run.name), NULL, 0, 0, NULL, "NAME",
     "name of the run; default: made up", false, true},
    {"--checkpoint-seconds", NAS_OPT_REAL, offsetof(search_options, run.checkpoint_seconds), "60",
     0, 1e6, NULL, "S", "at least this often", false, true},
    {0},
};

/* A search on its way. */
typedef struct task {
    const search_options *options;
    cli_subnets subnets;
    nas_space *space; /* what of the supernet's is trained */
    int origin[NAS_MAX_SLOTS][NAS_MAX_CANDIDATES];
    nas_latency_set *tables;
    nas_problem problem;
    nas_predictor *predictor;
    nas_encoding encoding;
    nas_predictor_evaluator *foretold;
} task;

/* ---- getting ready ---- */

/* The image sizes of the tables, with their latencies. */
static nas_status timed_problem(task *t, nas_err *err)
{
    nas_latency_lut *luts[NAS_LATENCY_MAX_TABLES] = {NULL};
    int sizes[NAS_LATENCY_MAX_TABLES];
    const int largest = nas_space_largest_size(t->space);
    nas_status status = NAS_OK;

    for (int i = 0; i < t->tables->count && status == NAS_OK; i++) {
        const int size = nas_latency_table_image_size(t->tables->tables[i]);

        sizes[i] = size > 0 ? size : largest;
        if (sizes[i] > largest) {
            status = nas_fail(err, NAS_E_CONFIG,
                              "a table for images of %d pixels: the supernet's largest are of %d",
                              sizes[i], largest);
            nas_hint(err, "measure one with nas profile --image-size %d", largest);
            break;
        }
        status = nas_latency_lut_new(&luts[i], t->tables->tables[i], t->space, sizes[i], err);
    }
    if (status == NAS_OK)
        status = nas_problem_init(&t->problem, t->space, t->tables->count, sizes,
                                  (const nas_latency_lut *const *)luts, err);
    for (int i = 0; i < t->tables->count; i++)
        nas_latency_lut_free(luts[i]);
    return status;
}

static nas_status make_problem(task *t, nas_err *err)
{
    const search_options *o = t->options;
    const double limit[NAS_COSTS] = {[NAS_COST_LATENCY] = o->target_ms,
                                     [NAS_COST_MACS] = o->max_macs,
                                     [NAS_COST_PARAMETERS] = o->max_parameters};
    const nas_status status =
        t->tables != NULL ? timed_problem(t, err)
                          : nas_problem_init(&t->problem, t->space, t->space->resolutions,
                                             t->space->resolution, NULL, err);

    if (status != NAS_OK)
        return status;
    for (int k = 0; k < NAS_COSTS; k++)
        if (limit[k] > 0.0)
            t->problem.limit[k] = limit[k];
    return nas_problem_check(&t->problem, err);
}

static nas_status load_predictor(task *t, nas_err *err)
{
    nas_status status = nas_predictor_load(&t->predictor, t->options->predictor, err);

    if (status == NAS_OK &&
        (status = nas_encoding_for(&t->encoding, t->space, t->predictor, err)) == NAS_OK)
        status = nas_predictor_evaluator_new(&t->foretold, t->predictor, &t->encoding, err);
    for (int i = 0; status == NAS_OK && i < t->problem.sizes; i++)
        status = nas_encoding_check_size(&t->encoding, t->problem.image_size[i], err);
    return status;
}

static nas_status prepare(task *t, nas_err *err)
{
    const search_options *o = t->options;
    nas_elastic_mask mask;
    nas_status status;

    if (o->target_ms > 0 && o->table == NULL)
        return nas_fail(err, NAS_E_USAGE, "--target-ms needs a latency table (--table)");
    if ((status = cli_subnets_open(&t->subnets, &o->subnet, &o->run.common, err)))
        return status;
    const nas_supernet *net = t->subnets.net;
    if (net->phases == 0)
        return nas_fail(err, NAS_E_CONFIG, "%s: has not been trained", o->subnet.model);
    if ((status = nas_elastic_mask_make(&mask, net->space, &net->trained, err)) ||
        (status = nas_elastic_restrict(&t->space, t->origin, net->space, &mask, err)) ||
        (o->table != NULL && ((status = nas_latency_set_load(&t->tables, o->table, err)) ||
                              (status = cli_tables_trust(t->tables, o->allow_emulated, err)))) ||
        (status = make_problem(t, err)))
        return status;
    return o->predictor != NULL ? load_predictor(t, err) : NAS_OK;
}

static void finish(task *t)
{
    nas_predictor_evaluator_free(t->foretold);
    nas_encoding_fini(&t->encoding);
    nas_predictor_free(t->predictor);
    nas_problem_fini(&t->problem);
    nas_latency_set_free(t->tables);
    nas_space_free(t->space);
    cli_subnets_close(&t->subnets);
}

static nas_status make_inputs(json_t **out, const task *t, nas_err *err)
{
    nas_status status = cli_subnets_inputs(out, &t->subnets, err);
    nas_hash *hash = t->tables != NULL ? nas_hash_new() : NULL;
    char digest[NAS_DIGEST_SIZE];

    if (status == NAS_OK && t->predictor != NULL)
        json_object_set_new(*out, "predictor", json_string(t->predictor->digest));
    if (status == NAS_OK && t->tables != NULL && hash == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "search: out of memory");
    for (int i = 0; t->tables != NULL && i < t->tables->count && status == NAS_OK; i++)
        if ((status = nas_latency_table_digest(t->tables->tables[i], digest, err)) == NAS_OK)
            nas_hash_add(hash, digest, strlen(digest));
    if (status == NAS_OK && hash != NULL) {
        nas_hash_hex(hash, digest);
        json_object_set_new(*out, "table", json_string(digest));
    }
    nas_hash_free(hash);
    return status;
}

/* ---- searching ---- */

static nas_status load_checkpoint(void *self, const char *path, nas_err *err)
{
    return nas_judge_load(self, path, err);
}

/* Evolves; list[population], best first. */
static nas_status evolve(task *t, cli_session *session, nas_candidate *list, int *found,
                         int64_t *evaluations, nas_err *err)
{
    const search_options *o = t->options;
    const bool judges = t->foretold == NULL;
    nas_evolution_config config = judges
                                      ? nas_evolution_default((uint64_t)o->run.common.seed)
                                      : nas_evolution_thorough((uint64_t)o->run.common.seed);
    const nas_evaluator evaluator =
        judges ? nas_judge_evaluator(t->subnets.judge, (const int(*)[NAS_MAX_CANDIDATES])t->origin,
                                     &session->observer, o->population * (o->generations + 1))
               : t->foretold->evaluator;
    nas_status status = NAS_OK;

    config.population = (int)o->population;
    config.generations = (int)o->generations;
    config.observer = judges ? NULL : &session->observer; /* the judge asks for itself */
    if (judges)
        status = cli_session_restore(session, load_checkpoint, t->subnets.judge, err);
    return status == NAS_OK ? nas_evolution_run(&t->problem, &config, &evaluator, list, found,
                                                evaluations, err)
                            : status;
}

/* The answer as a model, judged as it would be deployed. */
static nas_status take_best(task *t, cli_session *session, const nas_candidate *best,
                            json_t *result, nas_err *err)
{
    const int size = best->image_size;
    int choice[NAS_MAX_SLOTS];
    nas_model *model = NULL;
    nas_arch *arch = NULL;
    nas_score score;

    for (int s = 0; s < t->space->count; s++)
        choice[s] = t->origin[s][best->choice[s]];
    nas_status status = cli_subnet_take(&model, &arch, &score, &t->subnets, choice, size,
                                        &session->observer, err);
    if (status == NAS_OK &&
        (status = cli_outcome_save(session, model, arch, 0, result, err)) == NAS_OK) {
        json_object_set_new(result, "image_size", json_integer(size));
        json_object_set_new(result, "valid_top1",
                            cli_real((double)score.top1 / (double)score.images));
        if (t->predictor != NULL)
            json_object_set_new(result, "predicted_top1", cli_real(best->score));
        json_object_set_new(result, "latency_ms",
                            cli_real(t->tables != NULL ? best->latency_ms : NAN));
    }
    nas_model_free(model);
    nas_arch_free(arch);
    return status;
}

static nas_status search_in_run(task *t, cli_session *session, json_t *result, nas_err *err)
{
    const char *source = t->predictor != NULL ? "predictor" : "supernet";
    nas_candidate *list = calloc((size_t)t->options->population, sizeof *list);
    int64_t evaluations = 0;
    int found = 0;
    nas_status status = list != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "search: out of memory");

    if (status == NAS_OK)
        status = evolve(t, session, list, &found, &evaluations, err);
    for (int i = 0; i < found && t->tables == NULL; i++)
        list[i].latency_ms = NAN;
    if (status == NAS_OK &&
        (status = cli_outcome_record(session->store, session->attempt, source, t->space, list,
                                     found, err)) == NAS_OK)
        status = take_best(t, session, &list[0], result, err);
    json_object_set_new(result, "evaluations", json_integer((json_int_t)evaluations));
    json_object_set_new(result, "seconds", json_real(nas_clock_seconds() - session->started));
    json_object_set_new(result, "peak_rss_mib", json_real(nas_system_peak_rss_mib()));
    free(list);
    return status;
}

static nas_status search_run(const cli_context *context, const void *options, nas_err *err)
{
    task *t = calloc(1, sizeof *t);
    json_t *result = json_object(), *inputs = NULL;
    cli_session session;
    nas_status status = t != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "search: out of memory");

    if (status != NAS_OK)
        goto done;
    t->options = options;
    if ((status = prepare(t, err)) || (status = make_inputs(&inputs, t, err)) ||
        (status = cli_session_open(&session, context, inputs, err)))
        goto done;
    status = search_in_run(t, &session, result, err);
    status = cli_session_close(&session, status, status == NAS_OK ? result : NULL, err);
    if (status == NAS_OK)
        status = cli_emit(context, json_incref(result), err);

done:
    if (t != NULL)
        finish(t);
    free(t);
    json_decref(inputs);
    json_decref(result);
    return status;
}

const cli_command cmd_ofa_search = {
    .name = "ofa search", .summary = "the best subnet of a supernet under limits",
    .example = "ofa search --model .nas/runs/6/supernet.safetensors --data photos.nasd --table "
               "phone.yaml --target-ms 5",
    .tables = {search_table, method_table}, .size = sizeof(search_options),
    .stop = CLI_STOP_RESUMES, .run = search_run,
};
