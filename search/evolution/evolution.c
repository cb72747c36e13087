/* Random search, evolution, and the front of accuracy and what it costs. */
#include "search/evolution/evolution.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/evolution/private.h"

typedef nas_evolution__archive archive;
typedef nas_evolution__elite elite;

int nas_candidate_best_first(const void *a, const void *b)
{
    const nas_candidate *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->latency_ms > y->latency_ms) - (x->latency_ms < y->latency_ms);
}

/* Shares of the limits that are exceeded; 0: feasible, also where rounding makes it close. */
static double excess(const nas_problem *p, const nas_candidate *candidate)
{
    double sum = 0.0;

    for (int k = 0; k < NAS_COSTS; k++) {
        if (p->limit[k] == INFINITY)
            continue;
        const double cost = nas_problem_strain(p, (nas_cost)k, candidate);
        if (cost > p->limit[k])
            sum += fmax(DBL_EPSILON, cost / p->limit[k] - 1.0);
    }
    return sum;
}

/* Draws one gene anew: an operation, or now and then the image size. */
static void change(const nas_problem *p, nas_rng *rng, nas_candidate *candidate)
{
    const uint32_t slot = nas_rng_below(rng, (uint32_t)p->space->count + 1);

    if (slot == (uint32_t)p->space->count) {
        candidate->image_size = p->image_size[nas_rng_below(rng, (uint32_t)p->sizes)];
        return;
    }
    candidate->choice[slot] = (int)nas_rng_below(rng, (uint32_t)p->space->slots[slot].count);
    nas_choice_normalise(p->space, candidate->choice);
}

/* Makes a candidate feasible by random changes that each take it nearer to the limits: close
 * to what it was, and different every time.  Where that gets stuck, by repair. */
static bool shrink(const nas_problem *p, nas_rng *rng, nas_candidate *candidate)
{
    double over = excess(p, candidate);

    for (int tries = 20 * (p->space->count + 1); over > 0.0 && tries > 0; tries--) {
        nas_candidate changed = *candidate;

        change(p, rng, &changed);
        const double now = excess(p, &changed);
        if (now < over) {
            *candidate = changed;
            over = now;
        }
    }
    for (int i = nas_problem_size(p, candidate->image_size); over > 0.0 && i >= 0; i--) {
        candidate->image_size = p->image_size[i];
        over = nas_candidate_repair(p, NULL, candidate) ? 0.0 : over;
    }
    return over == 0.0;
}

/* A feasible architecture, drawn uniformly where that is not too rare. */
static bool draw(const nas_problem *p, nas_rng *rng, nas_candidate *candidate)
{
    for (int attempt = 0; attempt < 50; attempt++) {
        nas_problem_sample(p, rng, candidate);
        if (nas_problem_feasible(p, candidate))
            return true;
    }
    return shrink(p, rng, candidate);
}

static bool listed(const nas_problem *p, const nas_candidate *list, int count,
                   const nas_candidate *candidate)
{
    for (int i = 0; i < count; i++)
        if (list[i].image_size == candidate->image_size &&
            memcmp(list[i].choice, candidate->choice,
                   (size_t)p->space->count * sizeof *candidate->choice) == 0)
            return true;
    return false;
}

/* Scores list[count] and enters what may stay. */
static nas_status judge(archive *a, const nas_candidate *list, int count, elite *best,
                        nas_err *err)
{
    int64_t *place = malloc(((size_t)count + 1) * sizeof *place);
    nas_status status = place != NULL ? nas_evolution__archive_score(a, list, count, place, err)
                                      : nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");

    for (int i = 0; i < count && status == NAS_OK; i++)
        nas_evolution__elite_enter(best, a, place[i]);
    free(place);
    return status;
}

/* Distinct feasible architectures; they need not be new to the archive. */
static nas_status populate(archive *a, nas_rng *rng, int count, elite *best, nas_err *err)
{
    nas_candidate *list = malloc((size_t)count * sizeof *list);
    int found = 0;

    if (list == NULL)
        return nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
    for (int tries = 0; found < count && tries < 20 * count; tries++) {
        nas_candidate candidate = {.score = 0.0};
        if (!draw(a->problem, rng, &candidate))
            break;
        if (!listed(a->problem, list, found, &candidate))
            list[found++] = candidate;
    }
    const nas_status status =
        found > 0 ? judge(a, list, found, best, err)
                  : nas_fail(err, NAS_E_INFEASIBLE,
                             "no architecture of %s was found that meets all limits at once",
                             a->problem->space->name);
    if (found == 0)
        nas_hint(err, "each alone can be met: give up some of one of them");
    free(list);
    return status;
}

static void mutate(const nas_problem *p, double rate, nas_rng *rng, nas_candidate *candidate)
{
    nas_candidate fresh;

    nas_problem_sample(p, rng, &fresh);
    for (int s = 0; s < p->space->count; s++)
        if (nas_rng_uniform(rng) < rate)
            candidate->choice[s] = fresh.choice[s];
    if (nas_rng_uniform(rng) < rate)
        candidate->image_size = fresh.image_size;
    nas_choice_normalise(p->space, candidate->choice);
}

static void cross(const nas_problem *p, const nas_candidate *other, nas_rng *rng,
                  nas_candidate *candidate)
{
    for (int s = 0; s < p->space->count; s++)
        if (nas_rng_uniform(rng) < 0.5)
            candidate->choice[s] = other->choice[s];
    if (nas_rng_uniform(rng) < 0.5)
        candidate->image_size = other->image_size;
    nas_choice_normalise(p->space, candidate->choice);
}

/* One generation: children that nobody has scored, made feasible where they are not. */
static nas_status breed(archive *a, const nas_evolution_config *c, nas_rng *rng, elite *best,
                        nas_candidate *children, nas_err *err)
{
    const nas_problem *p = a->problem;
    const int parents = (int)fmax(2.0, c->parent_share * c->population);
    const uint32_t breeding = (uint32_t)(best->count < parents ? best->count : parents);
    int count = 0;

    for (int tries = 0; count < c->population && tries < 20 * c->population; tries++) {
        nas_candidate *child = &children[count];

        *child = best->best[nas_rng_below(rng, breeding)];
        if (nas_rng_uniform(rng) < c->mutation_share)
            mutate(p, c->mutation_rate, rng, child);
        else
            cross(p, &best->best[nas_rng_below(rng, breeding)], rng, child);
        if (shrink(p, rng, child) && nas_evolution__archive_find(a, child) < 0 &&
            !listed(p, children, count, child))
            count++;
    }
    return judge(a, children, count, best, err);
}

static nas_status run_round(archive *a, const nas_evolution_config *c, int round, elite *best,
                            nas_candidate *children, nas_err *err)
{
    nas_rng rng;

    nas_rng_init(&rng, c->seed, "evolution", (uint64_t)round);
    nas_status status = populate(a, &rng, c->population, best, err);
    for (int g = 0; g < c->generations && status == NAS_OK; g++)
        if ((status = nas_observe_go_on(c->observer, "searching", err)) == NAS_OK)
            status = breed(a, c, &rng, best, children, err);
    /* refining enters better ones in front: walk over what the round had found */
    const int refined = best->count < c->refined ? best->count : c->refined;
    memcpy(children, best->best, (size_t)refined * sizeof *children);
    for (int i = 0; i < refined && status == NAS_OK; i++)
        if ((status = nas_observe_go_on(c->observer, "searching", err)) == NAS_OK)
            status = nas_evolution__refine(a, &children[i], best, err);
    return status;
}

/* All rounds; what they find enters `best`. */
static nas_status run_rounds(archive *a, const nas_evolution_config *c, elite *best, nas_err *err)
{
    const size_t room = (size_t)(c->population > c->refined ? c->population : c->refined);
    nas_candidate *children = malloc(room * sizeof *children);
    nas_status status =
        children != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");

    for (int round = 0; round < c->rounds && status == NAS_OK; round++) {
        elite own;

        if ((status = nas_evolution__elite_init(&own, c->population, err)) != NAS_OK)
            break;
        status = run_round(a, c, round, &own, children, err);
        if (status == NAS_E_INFEASIBLE && best->count > 0)
            status = NAS_OK; /* of no use, but the rounds before it were */
        for (int i = 0; i < own.count && status == NAS_OK; i++)
            nas_evolution__elite_enter(best, a, nas_evolution__archive_find(a, &own.best[i]));
        nas_evolution__elite_fini(&own);
    }
    free(children);
    return status;
}

nas_evolution_config nas_evolution_default(uint64_t seed)
{
    return (nas_evolution_config){.population = 24, .generations = 8, .parent_share = 0.25,
                                  .mutation_share = 0.5, .mutation_rate = 0.1, .rounds = 1,
                                  .seed = seed};
}

nas_evolution_config nas_evolution_thorough(uint64_t seed)
{
    return (nas_evolution_config){.population = 50, .generations = 10, .parent_share = 0.25,
                                  .mutation_share = 0.5, .mutation_rate = 0.1, .rounds = 8,
                                  .refined = 3, .seed = seed};
}

nas_status nas_random_search(const nas_problem *problem, uint64_t seed, int count,
                             const nas_evaluator *evaluator, nas_candidate *out, int *found,
                             nas_err *err)
{
    archive a;
    elite best = {.keep = count, .best = out};
    nas_rng rng;
    nas_status status = nas_problem_check(problem, err);

    *found = 0;
    if (status != NAS_OK ||
        (status = nas_evolution__archive_init(&a, problem, evaluator, err)) != NAS_OK)
        return status;
    nas_rng_init(&rng, seed, "random search", 0);
    status = populate(&a, &rng, count, &best, err);
    *found = best.count;
    nas_evolution__archive_fini(&a);
    return status;
}

nas_status nas_evolution_run(const nas_problem *problem, const nas_evolution_config *config,
                             const nas_evaluator *evaluator, nas_candidate *out, int *found,
                             int64_t *evaluations, nas_err *err)
{
    archive a;
    elite best = {.keep = config->population, .best = out};
    nas_status status = nas_problem_check(problem, err);

    *found = 0;
    *evaluations = 0;
    if (status != NAS_OK ||
        (status = nas_evolution__archive_init(&a, problem, evaluator, err)) != NAS_OK)
        return status;
    status = run_rounds(&a, config, &best, err);
    *found = best.count;
    *evaluations = a.count;
    nas_evolution__archive_fini(&a);
    return status;
}

/* What was scored and meets the limits, for the front. */
typedef struct judged {
    double cost, score;
    int64_t place; /* in the archive */
} judged;

/* For qsort: the better first at a tie. */
static int cheapest_first(const void *a, const void *b)
{
    const judged *x = a, *y = b;

    if (x->cost != y->cost)
        return x->cost < y->cost ? -1 : 1;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->place > y->place) - (x->place < y->place);
}

/* Of all that was scored, under whatever limit, the best under each of limits[points]. */
static nas_status pick_front(const archive *a, const nas_problem *problem, nas_cost cost,
                             const double *limits, int points, nas_candidate *out, int *found,
                             nas_err *err)
{
    judged *list = malloc(((size_t)a->count + 1) * sizeof *list);
    const judged *best = NULL, *last = NULL;
    int64_t count = 0, next = 0;

    if (list == NULL)
        return nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
    for (int64_t i = 0; i < a->count; i++) {
        nas_candidate candidate;

        nas_evolution__archive_get(a, i, &candidate);
        if (nas_problem_feasible(problem, &candidate))
            list[count++] = (judged){nas_problem_cost(problem, cost, &candidate),
                                     candidate.score, i};
    }
    qsort(list, (size_t)count, sizeof *list, cheapest_first);
    for (int i = 0; i < points; i++) {
        for (; next < count && list[next].cost <= limits[i]; next++)
            if (best == NULL || list[next].score > best->score)
                best = &list[next];
        if (best != last)
            nas_evolution__archive_get(a, best->place, &out[(*found)++]);
        last = best;
    }
    free(list);
    return NAS_OK;
}

/* Accuracy rises steeply at first: steps of equal ratio, where there is one. */
static void front_limits(const nas_problem *problem, nas_cost cost, int points, double *limits)
{
    double least, most;

    nas_problem_range(problem, cost, &least, &most);
    most = fmin(most, problem->limit[cost]);
    for (int i = 0; i < points; i++) {
        const double share = (i + 0.5) / (points - 0.5);

        limits[i] = least > 0.0 ? least * pow(most / least, share) : most * share;
    }
    limits[points - 1] = most;
}

/* Searches under each limit; NAS_E_INFEASIBLE when nothing was found under any. */
static nas_status search_limits(archive *a, nas_cost cost, const nas_evolution_config *config,
                                const double *limits, int points, nas_err *err)
{
    const nas_problem *whole = a->problem;
    nas_problem limited = *whole; /* borrows its values */
    nas_status status = NAS_OK;
    bool any = false;

    a->problem = &limited;
    for (int i = 0; i < points && (status == NAS_OK || status == NAS_E_INFEASIBLE); i++) {
        nas_candidate at;
        elite best = {.keep = 1, .best = &at};

        limited.limit[cost] = limits[i];
        status = run_rounds(a, config, &best, err);
        any |= status == NAS_OK;
    }
    a->problem = whole;
    return status == NAS_E_INFEASIBLE && any ? NAS_OK : status;
}

nas_status nas_evolution_front(const nas_problem *problem, nas_cost cost,
                               const nas_evolution_config *config,
                               const nas_evaluator *evaluator, int points, nas_candidate *out,
                               int *found, int64_t *evaluations, nas_err *err)
{
    double *limits;
    archive a;
    nas_status status = nas_problem_check(problem, err);

    *found = 0;
    *evaluations = 0;
    if (status != NAS_OK ||
        (status = nas_evolution__archive_init(&a, problem, evaluator, err)) != NAS_OK)
        return status;
    limits = malloc((size_t)points * sizeof *limits);
    if (limits == NULL) {
        status = nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
    } else {
        front_limits(problem, cost, points, limits);
        status = search_limits(&a, cost, config, limits, points, err);
        if (status == NAS_OK)
            status = pick_front(&a, problem, cost, limits, points, out, found, err);
    }
    *evaluations = a.count;
    free(limits);
    nas_evolution__archive_fini(&a);
    return status;
}
