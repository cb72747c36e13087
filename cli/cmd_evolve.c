/* nas evolve - the best network of a space by an accuracy predictor, under limits. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/evolve_run.h"
#include "cli/output.h"

typedef struct evolve_options {
    cli_run_options run;
    cli_space_options space;
    cli_limit_options limits;
    const char *predictor, *out;
    int64_t population, generations, rounds, refined;
    bool dry_run;
} evolve_options;

#define AT(field) offsetof(evolve_options, field)

static const nas_option task_table[] = {
    CLI_SPACE_ROWS(AT(space)),
    {"--predictor", NAS_OPT_STRING, AT(predictor), NULL, 0, 0, NULL, "FILE",
     "accuracy predictor: safetensors, or what torch.save wrote", true},
    CLI_LIMIT_ROWS(AT(limits), "limits of --pareto, each searched; default: 20"),
    {"--out", NAS_OPT_STRING, AT(out), NULL, 0, 0, NULL, "FILE",
     "architecture to write; default: in the run's folder", false, true},
    CLI_DRY_RUN(AT(dry_run)),
    {0},
};

static const nas_option method_table[] = {
    {"--population", NAS_OPT_INT, AT(population), "50", 2, 10000, NULL, "N",
     "networks of a generation"},
    {"--generations", NAS_OPT_INT, AT(generations), "10", 0, 100000, NULL, "N", "of each round"},
    {"--rounds", NAS_OPT_INT, AT(rounds), "8", 1, 10000, NULL, "N",
     "fresh populations, one after another"},
    {"--refined", NAS_OPT_INT, AT(refined), "3", 0, 10000, NULL, "N",
     "networks of a round that exchanges of blocks improve at its end"},
    {"--name", NAS_OPT_STRING, offsetof(evolve_options, run.name), NULL, 0, 0, NULL, "NAME",
     "name of the run; default: made up", false, true},
    {0},
};

enum { POINTS = 20 };

static nas_evolution_config config_of(const evolve_options *o)
{
    nas_evolution_config c = nas_evolution_thorough((uint64_t)o->run.common.seed);

    c.population = (int)o->population;
    c.generations = (int)o->generations;
    c.rounds = (int)o->rounds;
    c.refined = (int)o->refined;
    return c;
}

static int points_of(const evolve_options *o)
{
    return o->limits.points > 0 ? (int)o->limits.points : POINTS;
}

static nas_status take(cli_evolve *search, const nas_candidate *best, const char *suffix,
                       json_t *about, nas_err *err)
{
    const evolve_options *o = search->user;
    char file[CLI_TARGET_NAME_SIZE + 32];

    snprintf(file, sizeof file, "arch%s.json", suffix);
    return cli_evolve_save(search, best, file, o->out, about, err);
}

/* NAS_E_INFEASIBLE too leaves a whole `result`. */
static nas_status evolve_in_run(const cli_context *context, const evolve_options *o,
                                const cli_evolve_task *task, double started, json_t *result,
                                nas_err *err)
{
    char space[NAS_DIGEST_SIZE];
    cli_session session;
    cli_verifier verifier;
    json_t *inputs = json_object();
    nas_status status;

    if ((status = cli_evolve_verifier(&verifier, task, o->run.common.seed, err)) == NAS_OK &&
        (status = nas_space_digest(task->space, space, err)) == NAS_OK &&
        (status = cli_evolve_inputs(inputs, task, err)) == NAS_OK) {
        json_object_set_new(inputs, "space", json_string(space));
        status = cli_session_open(&session, context, inputs, err);
    }
    json_decref(inputs);
    if (status != NAS_OK)
        return status;
    cli_evolve search = {.task = task, .session = &session,
                         .evaluator = &task->evaluator->evaluator, .config = config_of(o),
                         .points = points_of(o), .started = started, .source = "predictor", .score = "predicted_top1",
                         .verifier = &verifier, .take = take, .user = (void *)o};
    search.config.observer = &session.observer;
    status = cli_evolve_run(&search, result, err);
    const bool whole = status == NAS_OK || status == NAS_E_INFEASIBLE;
    return cli_session_close(&session, status, whole ? result : NULL, err);
}

/* What the search would take, by one round for the first target, of at most ten generations. */
static nas_status dry_run(const cli_context *context, const evolve_options *o,
                          const cli_evolve_task *task, nas_err *err)
{
    const nas_problem *problem = &task->targets[0].problem;
    nas_evolution_config c = config_of(o);
    const int all = c.generations;
    const double limits = o->limits.pareto ? (double)points_of(o) : 1.0;
    nas_candidate *list = calloc((size_t)c.population, sizeof *list);
    json_t *about = json_object();
    cli_demand demand = {.folder = o->run.common.store, .disk_bytes = 0.0};
    int64_t evaluations = 0;
    int found;
    nas_status status;

    c.rounds = 1;
    c.generations = all < 10 ? all : 10;
    if (list == NULL || about == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "evolve: out of memory");
        goto done;
    }
    const double started = nas_clock_seconds();
    if ((status = nas_evolution_run(problem, &c, &task->evaluator->evaluator, list, &found,
                                    &evaluations, err)) ||
        (status = cli_demand_space(about, task->space, NULL, err)))
        goto done;
    demand.step_seconds = (nas_clock_seconds() - started) / (double)evaluations;
    demand.steps = ceil((double)evaluations * (all + 1) / (c.generations + 1)) *
                   (double)o->rounds * limits * task->count;
    demand.seconds = demand.steps * demand.step_seconds;
    demand.memory_bytes = nas_system_peak_rss_mib() * 1024.0 * 1024.0;
    status = cli_demand_emit(context, json_incref(about), &demand, err);

done:
    json_decref(about);
    free(list);
    return status;
}

static nas_status evolve_run(const cli_context *context, const void *options, nas_err *err)
{
    const evolve_options *o = options;
    const double started = nas_clock_seconds();
    json_t *result = json_object();
    cli_evolve_task task = {0};
    nas_status status;

    const char *const read[] = {o->predictor, o->space.space, o->space.data, o->limits.table,
                                o->limits.targets};
    if ((status = cli_limits_check(&o->limits, o->out, err)) ||
        (status = cli_check_output(read, 5, "--out", o->out, o->dry_run, err)))
        goto done;
    if ((status = cli_evolve_prepare(&task, &o->space, o->predictor, &o->limits, err)) != NAS_OK) {
        status = status == NAS_E_INFEASIBLE ? cli_evolve_refuse(context, &task) : status;
        goto done;
    }
    if (o->dry_run) {
        status = dry_run(context, o, &task, err);
        goto done;
    }
    status = evolve_in_run(context, o, &task, started, result, err);
    if (status == NAS_OK || status == NAS_E_INFEASIBLE) {
        const nas_status printed = cli_emit(context, json_incref(result), status ? NULL : err);
        status = printed != NAS_OK ? printed : status;
    }

done:
    cli_evolve_finish(&task);
    json_decref(result);
    return status;
}

const cli_command cmd_evolve = {
    .name = "evolve", .summary = "the best network of a space by an accuracy predictor",
    .example = "evolve --space ofa-mbv3-1.2 --predictor acc.pth --table note10 --target-ms 25",
    .tables = {task_table, method_table}, .size = sizeof(evolve_options),
    .stop = CLI_STOP_RESUMES, .run = evolve_run,
};
