/* nas ofa search - the best subnets of a supernet under limits, by judging subnets or by a
 * predictor. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/evolve_run.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "cli/subnet.h"

typedef struct search_options {
    cli_run_options run;
    cli_subnet_options subnet;
    cli_limit_options limits;
    const char *predictor;
    int64_t population, generations;
    bool dry_run;
} search_options;

#define AT(field) offsetof(search_options, field)

static const nas_option search_table[] = {
    CLI_SUBNET_ROWS(AT(subnet)),
    {"--predictor", NAS_OPT_STRING, AT(predictor), NULL, 0, 0, NULL, "FILE",
     "accuracy predictor to search by; default: subnets are judged on held-out images"},
    CLI_LIMIT_ROWS(AT(limits), "limits of --pareto, each searched; default: 20 with a predictor, "
                               "otherwise 6"),
    CLI_DRY_RUN(AT(dry_run)),
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

enum { FORETOLD_POINTS = 20, JUDGED_POINTS = 6 };

/* A search on its way. */
typedef struct task {
    const search_options *options;
    cli_subnets subnets;
    int origin[NAS_MAX_SLOTS][NAS_MAX_CANDIDATES]; /* of the candidates that are trained */
    cli_evolve_task found;                         /* what is to be found                */
    cli_verifier verifier;                         /* of the best                        */
} task;

static nas_status prepare(task *t, nas_err *err)
{
    const search_options *o = t->options;
    nas_elastic_mask mask;
    nas_space *space = NULL;
    nas_status status;

    if ((status = cli_limits_check(&o->limits, NULL, err)) ||
        (status = cli_subnets_open(&t->subnets, &o->subnet, &o->run.common, false, err)))
        return status;
    const nas_supernet *net = t->subnets.net;
    if (net->phases == 0)
        return nas_fail(err, NAS_E_CONFIG, "%s: has not been trained", o->subnet.model);
    if ((status = nas_elastic_mask_make(&mask, net->space, &net->trained, err)) ||
        (status = nas_elastic_restrict(&space, t->origin, net->space, &mask, err)))
        return status;
    status = cli_evolve_prepare_in(&t->found, space, o->predictor, &o->limits, err);
    if (status == NAS_E_CONFIG && o->predictor != NULL && err != NULL && err->hint[0] == '\0')
        nas_hint(err, "a predictor must be of the subnets that %s is trained for: make one with nas "
                 "ofa sample and nas predictor train, or train the other phases (nas ofa shrink "
                 "--from)", o->subnet.model);
    return status;
}

/* The best of a target as a model, judged as it would be deployed. */
static nas_status take(cli_evolve *search, const nas_candidate *best, const char *suffix,
                       json_t *about, nas_err *err)
{
    task *t = search->user;
    int choice[NAS_MAX_SLOTS];
    nas_model *model = NULL;
    nas_arch *arch = NULL;
    nas_score score;

    for (int s = 0; s < t->found.space->count; s++)
        choice[s] = t->origin[s][best->choice[s]];
    nas_status status = cli_subnet_take(&model, &arch, &score, &t->subnets, choice,
                                        best->image_size, &search->session->observer, err);
    if (status == NAS_OK)
        status = cli_outcome_save_one(search->session, model, arch, suffix, 0, about, err);
    if (status == NAS_OK)
        json_object_set_new(about, "valid_top1",
                            cli_real((double)score.top1 / (double)score.images));
    nas_model_free(model);
    nas_arch_free(arch);
    return status;
}

static nas_status load_checkpoint(void *self, const char *path, nas_err *err)
{
    return nas_judge_load(self, path, err);
}

static bool judges(const task *t) { return t->found.predictor == NULL; }

/* Limits that --pareto searches one by one. */
static int points_of(const task *t)
{
    const int64_t points = t->options->limits.points;

    return points > 0 ? (int)points : judges(t) ? JUDGED_POINTS : FORETOLD_POINTS;
}

/* Subnets that are looked at, at most: those that were judged before are not judged again. */
static int64_t most_of(const task *t)
{
    const search_options *o = t->options;

    return (int64_t)t->found.count * (o->limits.pareto ? points_of(t) : 1) * o->population *
           (o->generations + 1);
}

static nas_evolution_config config_of(const task *t)
{
    const uint64_t seed = (uint64_t)t->options->run.common.seed;
    nas_evolution_config config = judges(t) ? nas_evolution_default(seed)
                                            : nas_evolution_thorough(seed);

    config.population = (int)t->options->population;
    config.generations = (int)t->options->generations;
    return config;
}

static nas_evaluator evaluator_of(const task *t, const nas_observer *observer)
{
    return judges(t) ? nas_judge_evaluator(t->subnets.judge,
                                           (const int(*)[NAS_MAX_CANDIDATES])t->origin, observer,
                                           most_of(t))
                     : t->found.evaluator->evaluator;
}

/* What the search takes, by the first subnets of its first generation. */
static nas_status dry_run(const cli_context *context, const task *t, nas_err *err)
{
    const nas_problem *problem = &t->found.targets[0].problem;
    nas_evolution_config config = config_of(t);
    nas_candidate *list = calloc((size_t)config.population, sizeof *list);
    json_t *about = json_object();
    cli_demand demand = {.folder = t->options->run.common.store};
    const double started = nas_clock_seconds();
    int64_t evaluations = 0;
    int found;
    cli_probe probe;
    nas_status status;

    cli_probe_init(&probe, 3);
    const nas_evaluator evaluator = evaluator_of(t, &probe.observer);
    config.generations = 0;
    config.rounds = 1;
    status = list == NULL || about == NULL
                 ? nas_fail(err, NAS_E_NOMEM, "search: out of memory")
                 : nas_evolution_run(problem, &config, &evaluator, list, &found, &evaluations, err);
    if (judges(t))
        status = cli_probe_status(&probe, status, err);
    if (status == NAS_OK &&
        (status = cli_demand_space(about, t->found.space, NULL, err)) == NAS_OK) {
        const double took = nas_clock_seconds() - started;

        cli_demand_add(&demand, (double)most_of(t) * config_of(t).rounds,
                       judges(t) ? cli_probe_step(&probe) : took / (double)evaluations);
        demand.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0;
        status = cli_demand_emit(context, json_incref(about), &demand, err);
    }
    json_decref(about);
    free(list);
    return status;
}

static nas_status search_in_run(task *t, cli_session *session, json_t *result, nas_err *err)
{
    const nas_evaluator evaluator = evaluator_of(t, &session->observer);
    cli_evolve search = {.task = &t->found, .session = session, .evaluator = &evaluator,
                         .config = config_of(t), .points = points_of(t),
                         .started = session->started,
                         .source = judges(t) ? "supernet" : "predictor",
                         .score = judges(t) ? "valid_top1" : "predicted_top1", .verifier = &t->verifier,
                         .take = take, .user = t};
    nas_status status = NAS_OK;

    search.config.observer = judges(t) ? NULL : &session->observer; /* the judge asks for itself */
    if (judges(t))
        status = cli_session_restore(session, load_checkpoint, t->subnets.judge, err);
    return status == NAS_OK ? cli_evolve_run(&search, result, err) : status;
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
    if ((status = prepare(t, err)) != NAS_OK) {
        status = status == NAS_E_INFEASIBLE ? cli_evolve_refuse(context, &t->found) : status;
        goto done;
    }
    if (t->options->dry_run) {
        status = dry_run(context, t, err);
        goto done;
    }
    if ((status = cli_evolve_verifier(&t->verifier, &t->found, t->options->run.common.seed, err)) ||
        (status = cli_subnets_inputs(&inputs, &t->subnets, err)) ||
        (status = cli_evolve_inputs(inputs, &t->found, err)) ||
        (status = cli_session_open(&session, context, inputs, err)))
        goto done;
    status = search_in_run(t, &session, result, err);
    const bool whole = status == NAS_OK || status == NAS_E_INFEASIBLE;
    status = cli_session_close(&session, status, whole ? result : NULL, err);
    if (status == NAS_OK || status == NAS_E_INFEASIBLE) {
        const nas_status printed = cli_emit(context, json_incref(result), status ? NULL : err);
        status = printed != NAS_OK ? printed : status;
    }

done:
    if (t != NULL) {
        cli_evolve_finish(&t->found);
        cli_subnets_close(&t->subnets);
    }
    free(t);
    json_decref(inputs);
    json_decref(result);
    return status;
}

const cli_command cmd_ofa_search = {
    .name = "ofa search", .summary = "the best subnets of a supernet under limits",
    .example = "ofa search --model .nas/runs/6/supernet.safetensors --data photos.nasd --table "
               "phone.yaml --target-ms 5",
    .tables = {search_table, method_table}, .size = sizeof(search_options),
    .stop = CLI_STOP_RESUMES, .run = search_run,
};
