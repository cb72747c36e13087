/* One target after the other: search, write down, tell. */
#include "cli/evolve_run.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/system.h"
#include "cli/outcome.h"
#include "cli/output.h"
#include "nas/space/memory.h"


nas_status cli_evolve_save(cli_evolve *e, const nas_candidate *candidate, const char *file,
                           const char *path, json_t *about, nas_err *err)
{
    char *inside = cli_session_path(e->session, file);
    nas_arch *arch = NULL;
    nas_status status;

    if (inside == NULL)
        return nas_fail(err, NAS_E_NOMEM, "search: out of memory");
    if ((status = cli_candidate_arch(&arch, e->task->space, candidate, err)) == NAS_OK &&
        (status = nas_arch_save(arch, inside, err)) == NAS_OK &&
        (status = cli_session_artifact(e->session, "arch", file, 0, err)) == NAS_OK &&
        (path == NULL || (status = nas_arch_save(arch, path, err)) == NAS_OK))
        json_object_set_new(about, "arch", json_string(path != NULL ? path : inside));
    nas_arch_free(arch);
    free(inside);
    return status;
}

/* What is known of a network without looking at its files. */
static nas_status describe(const cli_evolve *e, const nas_candidate *candidate, json_t **about,
                           nas_err *err)
{
    nas_arch *arch = NULL;
    const nas_status status = cli_candidate_arch(&arch, e->task->space, candidate, err);

    *about = NULL;
    if (status != NAS_OK)
        return status;
    const nas_op_cost cost = nas_arch_cost(arch, 0);
    *about = json_pack("{s:b, s:o, s:o, s:i, s:I, s:I, s:f}", "feasible", 1, e->score,
                       cli_real(candidate->score), "latency_ms", cli_real(candidate->latency_ms),
                       "image_size", arch->image_size, "macs", (json_int_t)cost.macs, "parameters",
                       (json_int_t)cost.parameters, "activation_mib",
                       (double)nas_arch_memory(arch, 0) / CLI_MIB);
    nas_arch_free(arch);
    return *about != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "search: out of memory");
}

/* The networks of one target, best first: `*out` (yours) and how many.  Without a table their
 * latency is NAN: not known. */
static nas_status find(cli_evolve *e, const cli_evolve_target *target, nas_candidate **out,
                       int *found, nas_err *err)
{
    const bool front = e->task->options->pareto;
    const int room = front ? e->points : e->config.population;
    int64_t evaluations = 0;
    nas_status status;

    *found = 0;
    *out = calloc((size_t)room, sizeof **out);
    if (*out == NULL)
        return nas_fail(err, NAS_E_NOMEM, "search: out of memory");
    status = front ? nas_evolution_front(&target->problem,
                                         (nas_cost)e->task->options->against, &e->config,
                                         e->evaluator, room, *out, found, &evaluations, err)
                   : nas_evolution_run(&target->problem, &e->config, e->evaluator, *out, found,
                                       &evaluations, err);
    e->evaluations += evaluations;
    if (status != NAS_OK && target->name[0] != '\0')
        nas_err_prefix(err, "target %s", target->name);
    qsort(*out, (size_t)*found, sizeof **out, nas_candidate_best_first);
    for (int i = 0; i < *found && target->tables == NULL; i++)
        (*out)[i].latency_ms = NAN;
    return status;
}

/* Every network of the front, cheapest first.  Its files have names that no target gives. */
static nas_status save_front(cli_evolve *e, const cli_evolve_target *target,
                             const nas_candidate *list, int count, json_t *result, nas_err *err)
{
    json_t *front = json_array(), *about;
    nas_status status = NAS_OK;

    json_object_set_new(result, "front", front);
    for (int i = count - 1; i >= 0 && status == NAS_OK; i--) {
        char file[CLI_TARGET_NAME_SIZE + 32];

        snprintf(file, sizeof file, "front%s%s-%d.json", target->name[0] != '\0' ? "-" : "",
                 target->name, count - i);
        if ((status = describe(e, &list[i], &about, err)) == NAS_OK)
            status = cli_evolve_save(e, &list[i], file, NULL, about, err);
        json_array_append_new(front, about);
    }
    return status;
}

/* Writes down what was found for a target. */
static nas_status keep(cli_evolve *e, const cli_evolve_target *target, const nas_candidate *list,
                       int count, json_t **about, nas_err *err)
{
    const bool named = target->name[0] != '\0';
    char suffix[CLI_TARGET_NAME_SIZE + 1], source[CLI_TARGET_NAME_SIZE + 32];
    nas_status status;

    snprintf(suffix, sizeof suffix, "%s%s", named ? "-" : "", target->name);
    snprintf(source, sizeof source, "%s%s%s", e->source, named ? "." : "", target->name);
    if ((status = describe(e, list, about, err)) ||
        (status = e->take(e, list, suffix, *about, err)) ||
        (e->task->options->pareto &&
         (status = save_front(e, target, list, count, *about, err))))
        return status;
    nas_log(NAS_LOG_INFO, "%s%s%s %.5f for images of %d pixels", target->name, named ? ": " : "",
            e->score, list->score, list->image_size);
    return cli_outcome_record(e->session->store, e->session->attempt, source, e->task->space,
                              list, count, err);
}

/* How many of the best are measured: the answer is in front then. */
static nas_status verify(const cli_evolve *e, const cli_evolve_target *target,
                         nas_candidate *list, int count, int *verified, nas_err *err)
{
    const int64_t top = e->verifier->options->top;
    const nas_measurer measurer = cli_verifier_measurer(e->verifier);

    *verified = top < count ? (int)top : count;
    if (*verified == 0)
        return NAS_OK;
    return nas_candidates_verify(&measurer, list, *verified,
                                 target->problem.limit[NAS_COST_LATENCY], &e->session->observer,
                                 err);
}

/* Those that were measured, in the store and in `about`; none of them may meet the target. */
static nas_status keep_verified(cli_evolve *e, const cli_evolve_target *target,
                                const nas_candidate *list, int verified, json_t *about,
                                nas_err *err)
{
    const double target_ms = target->problem.limit[NAS_COST_LATENCY];

    if (verified > 0 && list[0].measured_ms > target_ms) {
        json_object_set_new(about, "feasible", json_false());
        e->infeasible++;
        cli_verified_fail(list, verified, target_ms, &e->why);
    }
    return verified == 0 ? NAS_OK
                         : cli_verified_save(e->session, e->task->space, list, verified, target_ms,
                                             about, err);
}

/* Searches for one target; `*about` (yours) tells the best network, or that there is none. */
static nas_status run_target(cli_evolve *e, const cli_evolve_target *target, json_t **about,
                             nas_err *err)
{
    nas_candidate *list;
    int count, verified;
    nas_status status = find(e, target, &list, &count, err);

    *about = NULL;
    if (status == NAS_OK) {
        if ((status = verify(e, target, list, count, &verified, err)) == NAS_OK &&
            (status = keep(e, target, list, count, about, err)) == NAS_OK)
            status = keep_verified(e, target, list, verified, *about, err);
    } else if (status == NAS_E_INFEASIBLE) {
        if (e->infeasible++ == 0 && err != NULL)
            e->why = *err;
        *about = cli_limits_infeasible(&target->problem, target->tables != NULL);
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
static nas_status record_table(cli_evolve *e, const json_t *about, nas_err *err)
{
    const cli_evolve_target *target = e->task->targets;
    const int size = (int)json_integer_value(json_object_get(about, "image_size"));
    const nas_latency_table *table;
    nas_status status;

    if (target->tables == NULL || e->infeasible > 0)
        return NAS_OK;
    status = nas_latency_set_pick(&table, target->tables, size, err);
    return status == NAS_OK ? cli_table_record(e->session->store, e->session->attempt, table,
                                               target->table, err)
                            : status;
}

static nas_status run_all(cli_evolve *e, json_t *result, nas_err *err)
{
    json_t *list = e->task->options->targets != NULL ? json_array() : NULL, *about;
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
    return status;
}

nas_status cli_evolve_run(cli_evolve *e, json_t *result, nas_err *err)
{
    json_object_set_new(result, "run", json_string(e->session->name));
    const nas_status status = run_all(e, result, err);
    json_object_set_new(result, "evaluations", json_integer((json_int_t)e->evaluations));
    json_object_set_new(result, "seconds", json_real(nas_clock_seconds() - e->started));
    json_object_set_new(result, "peak_rss_mib", json_real(nas_system_peak_rss_mib()));
    if (status != NAS_OK || e->infeasible == 0)
        return status;
    if (err != NULL)
        *err = e->why;
    if (e->task->count > 1)
        nas_err_prefix(err, "%d of %d targets cannot be met", e->infeasible, e->task->count);
    return NAS_E_INFEASIBLE;
}

nas_status cli_evolve_refuse(const cli_context *context, const cli_evolve_task *task)
{
    for (int i = 0; i < task->count; i++) {
        const cli_evolve_target *t = &task->targets[i];

        if (t->problem.value == NULL || nas_problem_check(&t->problem, NULL) == NAS_OK)
            continue;
        json_t *about = cli_limits_infeasible(&t->problem, t->tables != NULL);
        if (t->name[0] != '\0')
            json_object_set_new(about, "name", json_string(t->name));
        const nas_status printed = cli_emit(context, about, NULL);
        return printed != NAS_OK ? printed : NAS_E_INFEASIBLE;
    }
    return NAS_E_INFEASIBLE;
}
