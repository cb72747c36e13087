/* nas evolve - the best network of a space by an accuracy predictor, under limits. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/system.h"
#include "cli/commands.h"
#include "cli/dry_run.h"
#include "cli/evolve_task.h"
#include "cli/outcome.h"
#include "cli/output.h"

typedef struct evolve_options {
    cli_run_options run;
    cli_space_options space;
    const char *predictor, *table, *targets, *out;
    double target_ms, max_macs, max_parameters;
    int64_t population, generations, rounds, refined, points;
    bool pareto, allow_emulated, dry_run;
} evolve_options;

#define AT(field) offsetof(evolve_options, field)

static const nas_option task_table[] = {
    CLI_SPACE_ROWS(AT(space)),
    {"--predictor", NAS_OPT_STRING, AT(predictor), NULL, 0, 0, NULL, "FILE",
     "accuracy predictor: safetensors, or what torch.save wrote", true},
    {"--table", NAS_OPT_STRING, AT(table), NULL, 0, 0, NULL, "FILE[,FILE...]",
     "latency tables, or a folder of them: one for each image size to choose from"},
    {"--target-ms", NAS_OPT_REAL, AT(target_ms), "0", 0, 1e6, NULL, "MS",
     "latency that the network must not exceed; 0: any"},
    {"--max-macs", NAS_OPT_REAL, AT(max_macs), "0", 0, 1e15, NULL, "N",
     "multiply-accumulates that it must not exceed; 0: any"},
    {"--max-parameters", NAS_OPT_REAL, AT(max_parameters), "0", 0, 1e12, NULL, "N",
     "parameters that it must not exceed; 0: any"},
    {"--targets", NAS_OPT_STRING, AT(targets), NULL, 0, 0, NULL, "FILE",
     "JSON list of devices and limits, all of them in one call"},
    CLI_ALLOW_EMULATED(AT(allow_emulated)),
    {"--pareto", NAS_OPT_FLAG, AT(pareto), NULL, 0, 0, NULL, NULL,
     "the best networks from the fastest on, not one alone"},
    {"--points", NAS_OPT_INT, AT(points), NULL, 2, 200, NULL, "N",
     "latency limits of --pareto, each searched; default: 20"},
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

/* A search on its way. */
typedef struct evolve {
    const evolve_options *options;
    const cli_evolve_task *task;
    cli_session session;
    int64_t evaluations;
    int infeasible; /* targets that nothing was found for                     */
    nas_err why;    /* for the first of them                                  */
    double started; /* monotonic seconds */
} evolve;

/* Writes a network into the run as `file`, and to `path` if that is not NULL; `*about` (yours)
 * tells about it. */
static nas_status save(evolve *e, const nas_candidate *candidate, const char *file,
                       const char *path, json_t **about, nas_err *err)
{
    char *inside = cli_session_path(&e->session, file);
    nas_arch *arch = NULL;
    nas_status status;

    *about = NULL;
    if (inside == NULL)
        return nas_fail(err, NAS_E_NOMEM, "evolve: out of memory");
    if ((status = cli_candidate_arch(&arch, e->task->space, candidate, err)) ||
        (status = nas_arch_save(arch, inside, err)) ||
        (status = cli_session_artifact(&e->session, "arch", file, 0, err)) ||
        (path != NULL && (status = nas_arch_save(arch, path, err))))
        goto done;
    const nas_op_cost cost = nas_arch_cost(arch, 0);
    *about = json_pack(
        "{s:b, s:s, s:o, s:o, s:i, s:I, s:I}", "feasible", 1, "arch", path != NULL ? path : inside,
        "predicted_top1", cli_real(candidate->score), "latency_ms",
        cli_real(candidate->latency_ms), "image_size", arch->image_size, "macs",
        (json_int_t)cost.macs, "parameters", (json_int_t)cost.parameters);
    if (*about == NULL)
        status = nas_fail(err, NAS_E_NOMEM, "evolve: out of memory");

done:
    nas_arch_free(arch);
    free(inside);
    return status;
}

static nas_evolution_config config_of(const evolve *e)
{
    const evolve_options *o = e->options;
    nas_evolution_config c = nas_evolution_thorough((uint64_t)o->run.common.seed);

    c.population = (int)o->population;
    c.generations = (int)o->generations;
    c.rounds = (int)o->rounds;
    c.refined = (int)o->refined;
    c.observer = &e->session.observer;
    return c;
}

/* The networks of one target, best first: `*out` (yours) and how many.  Without a table their
 * latency is NAN: not known. */
static nas_status find(evolve *e, const cli_evolve_target *target, nas_candidate **out, int *found,
                       nas_err *err)
{
    const evolve_options *o = e->options;
    const nas_evolution_config config = config_of(e);
    const nas_evaluator *evaluator = &e->task->evaluator->evaluator;
    const int points = o->points > 0 ? (int)o->points : POINTS;
    const int room = o->pareto ? points : config.population;
    int64_t evaluations = 0;
    nas_status status;

    *found = 0;
    *out = calloc((size_t)room, sizeof **out);
    if (*out == NULL)
        return nas_fail(err, NAS_E_NOMEM, "evolve: out of memory");
    if (o->pareto)
        status = nas_evolution_front(&target->problem, &config, evaluator, room, *out, found,
                                     &evaluations, err);
    else
        status = nas_evolution_run(&target->problem, &config, evaluator, *out, found,
                                   &evaluations, err);
    e->evaluations += evaluations;
    if (status != NAS_OK && target->name[0] != '\0')
        nas_err_prefix(err, "target %s", target->name);
    qsort(*out, (size_t)*found, sizeof **out, nas_candidate_best_first);
    for (int i = 0; i < *found && target->tables == NULL; i++)
        (*out)[i].latency_ms = NAN;
    return status;
}

/* Every network of the front, fastest first.  Its files have names that no target gives. */
static nas_status save_front(evolve *e, const cli_evolve_target *target,
                             const nas_candidate *list, int count, json_t *result, nas_err *err)
{
    json_t *front = json_array();
    nas_status status = NAS_OK;

    json_object_set_new(result, "front", front);
    for (int i = count - 1; i >= 0 && status == NAS_OK; i--) {
        char file[CLI_TARGET_NAME_SIZE + 32];
        json_t *about;

        snprintf(file, sizeof file, "front%s%s-%d.json", target->name[0] != '\0' ? "-" : "",
                 target->name, count - i);
        status = save(e, &list[i], file, NULL, &about, err);
        json_array_append_new(front, about);
    }
    return status;
}

/* What no search can meet, and what each cost alone could reach. */
static json_t *infeasible_json(const cli_evolve_target *target)
{
    static const char *const names[NAS_COSTS] = {"latency_ms", "macs", "parameters"};
    json_t *reachable = json_object();

    for (int k = target->tables != NULL ? 0 : NAS_COST_MACS; k < NAS_COSTS; k++) {
        double min, max;

        nas_problem_range(&target->problem, (nas_cost)k, &min, &max);
        json_object_set_new(reachable, names[k], json_pack("[f, f]", min, max));
    }
    return json_pack("{s:b, s:n, s:o}", "feasible", 0, "arch", "reachable", reachable);
}

/* Writes down what was found for a target. */
static nas_status keep(evolve *e, const cli_evolve_target *target, const nas_candidate *list,
                       int count, json_t **about, nas_err *err)
{
    const bool named = target->name[0] != '\0';
    char file[CLI_TARGET_NAME_SIZE + 32], source[CLI_TARGET_NAME_SIZE + 32];
    nas_status status;

    snprintf(file, sizeof file, "arch%s%s.json", named ? "-" : "", target->name);
    snprintf(source, sizeof source, "predictor%s%s", named ? "." : "", target->name);
    if ((status = save(e, list, file, e->options->out, about, err)) ||
        (e->options->pareto && (status = save_front(e, target, list, count, *about, err))))
        return status;
    nas_log(NAS_LOG_INFO, "%s%spredicted top-1 %.5f for images of %d pixels", target->name,
            named ? ": " : "", list->score, list->image_size);
    return cli_outcome_record(e->session.store, e->session.attempt, source, e->task->space, list,
                              count, err);
}

/* Searches for one target; `*about` (yours) tells the best network, or that there is none. */
static nas_status run_target(evolve *e, const cli_evolve_target *target, json_t **about,
                             nas_err *err)
{
    nas_candidate *list;
    int count;
    nas_status status = find(e, target, &list, &count, err);

    *about = NULL;
    if (status == NAS_OK) {
        status = keep(e, target, list, count, about, err);
    } else if (status == NAS_E_INFEASIBLE) {
        if (e->infeasible++ == 0 && err != NULL)
            e->why = *err;
        *about = infeasible_json(target);
        status = NAS_OK; /* of this target alone: the others have their turn */
    }
    if (*about != NULL && target->name[0] != '\0')
        json_object_set_new(*about, "name", json_string(target->name));
    if (*about != NULL && target->limit[NAS_COST_LATENCY] > 0.0)
        json_object_set_new(*about, "target_ms", json_real(target->limit[NAS_COST_LATENCY]));
    free(list);
    return status;
}

/* The table of the network's image size stands for the run's device. */
static nas_status record_table(evolve *e, const json_t *about, nas_err *err)
{
    const cli_evolve_target *target = e->task->targets;
    const int size = (int)json_integer_value(json_object_get(about, "image_size"));
    const nas_latency_table *table;
    nas_status status;

    if (target->tables == NULL || e->infeasible > 0)
        return NAS_OK;
    status = nas_latency_set_pick(&table, target->tables, size, err);
    return status == NAS_OK ? cli_table_record(e->session.store, e->session.attempt, table,
                                               target->table, err)
                            : status;
}

static nas_status run_all(evolve *e, json_t *result, nas_err *err)
{
    json_t *list = e->options->targets != NULL ? json_array() : NULL, *about;
    nas_status status = NAS_OK;

    if (list != NULL)
        json_object_set_new(result, "targets", list);
    for (int i = 0; i < e->task->count && status == NAS_OK; i++) {
        status = run_target(e, &e->task->targets[i], &about, err);
        if (list != NULL) {
            json_array_append_new(list, about);
            continue;
        }
        if (status == NAS_OK)
            status = record_table(e, about, err);
        json_object_update(result, about);
        json_decref(about);
    }
    if (status != NAS_OK || e->infeasible == 0)
        return status;
    if (err != NULL)
        *err = e->why;
    if (e->task->count > 1)
        nas_err_prefix(err, "%d of %d targets cannot be met", e->infeasible, e->task->count);
    return NAS_E_INFEASIBLE;
}

/* NAS_E_INFEASIBLE too leaves a whole `result`. */
static nas_status evolve_in_run(evolve *e, const cli_context *context, json_t *result,
                                nas_err *err)
{
    json_t *inputs = NULL;
    nas_status status;

    if ((status = cli_evolve_inputs(&inputs, e->task, err)) == NAS_OK)
        status = cli_session_open(&e->session, context, inputs, err);
    json_decref(inputs);
    if (status != NAS_OK)
        return status;
    json_object_set_new(result, "run", json_string(e->session.name));
    status = run_all(e, result, err);
    json_object_set_new(result, "evaluations", json_integer((json_int_t)e->evaluations));
    json_object_set_new(result, "seconds",
                        json_real(nas_clock_seconds() - e->started));
    json_object_set_new(result, "peak_rss_mib", json_real(nas_system_peak_rss_mib()));
    const bool whole = status == NAS_OK || status == NAS_E_INFEASIBLE;
    return cli_session_close(&e->session, status, whole ? result : NULL, err);
}

/* Tells about the target that no network can meet; NAS_E_INFEASIBLE unless that fails. */
static nas_status emit_infeasible(const cli_context *context, const cli_evolve_task *task)
{
    for (int i = 0; i < task->count; i++) {
        const cli_evolve_target *t = &task->targets[i];

        if (t->problem.value == NULL || nas_problem_check(&t->problem, NULL) == NAS_OK)
            continue;
        json_t *about = infeasible_json(t);
        if (t->name[0] != '\0')
            json_object_set_new(about, "name", json_string(t->name));
        const nas_status printed = cli_emit(context, about, NULL);
        return printed != NAS_OK ? printed : NAS_E_INFEASIBLE;
    }
    return NAS_E_INFEASIBLE;
}

static nas_status check_options(const evolve_options *o, nas_err *err)
{
    const bool limited = o->target_ms > 0 || o->max_macs > 0 || o->max_parameters > 0;

    if (o->targets != NULL && (o->table != NULL || o->out != NULL || limited))
        return nas_fail(err, NAS_E_USAGE, "--targets names tables and limits itself, and writes "
                        "into the run: it goes without --table, limits and --out");
    if (o->points > 0 && !o->pareto)
        return nas_fail(err, NAS_E_USAGE, "--points is how many limits --pareto searches: it goes "
                        "with --pareto");
    return NAS_OK;
}

/* What the search would take, by one round for the first target, of at most ten generations. */
static nas_status dry_run(const cli_context *context, const evolve *e, nas_err *err)
{
    const evolve_options *o = e->options;
    const nas_problem *problem = &e->task->targets[0].problem;
    nas_evolution_config c = config_of(e);
    const int all = c.generations;
    const double limits = o->pareto ? (double)(o->points > 0 ? o->points : POINTS) : 1.0;
    nas_candidate *list = calloc((size_t)c.population, sizeof *list);
    json_t *about = json_object();
    cli_demand demand = {.folder = o->run.common.store, .disk_bytes = 0.0};
    int64_t evaluations = 0;
    int found;
    nas_status status;

    c.rounds = 1;
    c.generations = all < 10 ? all : 10;
    c.observer = NULL;
    if (list == NULL || about == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "evolve: out of memory");
        goto done;
    }
    const double started = nas_clock_seconds();
    if ((status = nas_evolution_run(problem, &c, &e->task->evaluator->evaluator, list, &found,
                                    &evaluations, err)) ||
        (status = cli_demand_space(about, e->task->space, NULL, err)))
        goto done;
    demand.step_seconds = (nas_clock_seconds() - started) / (double)evaluations;
    demand.steps = ceil((double)evaluations * (all + 1) / (c.generations + 1)) *
                   (double)o->rounds * limits * e->task->count;
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
    const double limit[NAS_COSTS] = {[NAS_COST_LATENCY] = o->target_ms,
                                     [NAS_COST_MACS] = o->max_macs,
                                     [NAS_COST_PARAMETERS] = o->max_parameters};
    json_t *result = json_object();
    cli_evolve_task task = {0};
    evolve e = {.options = o, .task = &task, .started = nas_clock_seconds()};
    nas_status status;

    if ((status = check_options(o, err)) ||
        (o->out != NULL && ((status = cli_check_out(o->predictor, o->out, err)) ||
                            (!o->dry_run && (status = nas_file_writable(o->out, err))))))
        goto done;
    if ((status = cli_evolve_prepare(&task, &o->space, o->predictor, o->targets, o->table, limit,
                                     o->pareto, o->allow_emulated, err)) != NAS_OK) {
        status = status == NAS_E_INFEASIBLE ? emit_infeasible(context, &task) : status;
        goto done;
    }
    if (o->dry_run) {
        status = dry_run(context, &e, err);
        goto done;
    }
    status = evolve_in_run(&e, context, result, err);
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
