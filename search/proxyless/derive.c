/* After training: which network it is to be, and how good that one is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/proxyless/private.h"

nas_status nas_search__validate(nas_search *s, const int *choice, int64_t images,
                                const nas_observer *observer, nas_score *score, nas_err *err)
{
    const int rank = nas_comm_rank(s->config.comm), ranks = nas_comm_ranks(s->config.comm);
    const nas_forward how = {.train = true};
    const nas_batch *batch;
    int64_t seen = 0;
    nas_status status = NAS_OK;

    *score = (nas_score){0};
    nas_loader_start(s->valid_loader, 0, 0);
    /* Several processes take turns, so that each batch is judged whole, as one process does. */
    for (int turn = 0; seen < images && status == NAS_OK &&
                       (status = nas_loader_next(s->valid_loader, &batch, err)) == NAS_OK &&
                       batch != NULL; turn = (turn + 1) % ranks) {
        if (turn == rank)
            nas_step_score(&s->step, choice, batch->n, batch->x, batch->labels, &how, score);
        seen += batch->n;
        if (turn == ranks - 1)
            status = nas_observe_go_on(observer, "judging a network", err);
    }
    if (status == NAS_OK)
        nas_score_sum(s->config.comm, score);
    return status;
}

static nas_status score_choice(nas_search *s, const int *choice, const nas_observer *observer,
                               double *top1, nas_err *err)
{
    nas_score score;
    const nas_status status =
        nas_search__validate(s, choice, s->config.score_images, observer, &score, err);

    *top1 = score.images > 0 ? (double)score.top1 / (double)score.images : 0.0;
    return status;
}

nas_status nas_search_score(nas_search *s, const int *choice, double *top1, nas_err *err)
{
    return score_choice(s, choice, NULL, top1, err);
}

/* The evaluator that the choosing algorithms see, with progress. */
typedef struct judge {
    nas_search *search;
    const nas_observer *observer;
    int64_t judged, expected;
} judge;

static nas_status judge_one(judge *j, nas_candidate *candidate, nas_err *err)
{
    const nas_status status =
        score_choice(j->search, candidate->choice, j->observer, &candidate->score, err);
    const nas_progress progress = {
        .phase = "derive", .epoch = j->search->epoch, .epochs = j->search->epoch,
        .batch = ++j->judged, .batches = j->expected,
        .step = j->search->epoch * j->search->batches, .images_per_second = NAN, .loss = NAN,
        .latency_ms = j->search->lut != NULL ? candidate->latency_ms : NAN,
        .entropy = nas_alphas_entropy(&j->search->alphas)};

    nas_observe_progress(j->observer, &progress);
    return status == NAS_OK ? nas_observe_go_on(j->observer, "choosing the network", err) : status;
}

static nas_status judge_score(void *user, nas_candidate *list, int count, nas_err *err)
{
    nas_status status = NAS_OK;

    for (int i = 0; i < count && status == NAS_OK; i++)
        status = judge_one(user, &list[i], err);
    return status;
}

static bool listed(const nas_candidate *list, int n, const int *choice, int slots)
{
    for (int i = 0; i < n; i++)
        if (memcmp(list[i].choice, choice, (size_t)slots * sizeof *choice) == 0)
            return true;
    return false;
}

/* The arg-max network and samples of p, each repaired where it misses a limit by giving
 * up the least probability for what it saves; all distinct. */
static nas_status best_of_samples(nas_search *s, judge *j, nas_candidate *list, int *found,
                                  nas_err *err)
{
    const nas_alphas *a = &s->alphas;
    double *weight = calloc((size_t)a->slots * NAS_MAX_CANDIDATES, sizeof *weight);
    nas_rng rng;
    nas_path path;
    nas_status status = NAS_OK;

    *found = 0;
    if (weight == NULL)
        return nas_fail(err, NAS_E_NOMEM, "derivation: out of memory");
    for (int i = 0; i < a->slots; i++)
        for (int c = 0; c < a->count[i]; c++)
            weight[i * NAS_MAX_CANDIDATES + c] = log(fmax(a->p[a->first[i] + c], 1e-300));
    nas_rng_init(&rng, s->config.seed, "derive", 0);
    for (int i = 0; i < 20 * s->config.derive_samples && *found < s->config.derive_samples &&
                    status == NAS_OK; i++) {
        if (i == 0)
            nas_alphas_argmax(a, path.choice);
        else
            nas_alphas_sample(a, &rng, &path);
        nas_candidate *candidate = &list[*found];
        memset(candidate, 0, sizeof *candidate);
        memcpy(candidate->choice, path.choice, (size_t)a->slots * sizeof *path.choice);
        if (!nas_candidate_repair(&s->problem, weight, candidate) ||
            listed(list, *found, candidate->choice, a->slots))
            continue;
        candidate->latency_ms = nas_problem_cost(&s->problem, NAS_COST_LATENCY, candidate);
        status = judge_one(j, candidate, err);
        *found += 1;
    }
    free(weight);
    qsort(list, (size_t)*found, sizeof *list, nas_candidate_best_first);
    return status;
}

static nas_status choose(nas_search *s, judge *j, nas_candidate *list, int *found, nas_err *err)
{
    const nas_search_config *c = &s->config;
    const nas_evaluator evaluator = {.user = j, .score = judge_score};
    nas_evolution_config evolution = nas_evolution_default(c->seed);
    int64_t evaluations;
    nas_status status;

    evolution.population = c->derive_samples;
    if (c->method == NAS_SEARCH_RANDOM)
        status = nas_random_search(&s->problem, c->seed, c->derive_samples, &evaluator, list, found,
                                   err);
    else if (c->method == NAS_SEARCH_EVOLUTION)
        status = nas_evolution_run(&s->problem, &evolution, &evaluator, list, found, &evaluations,
                                   err);
    else
        status = best_of_samples(s, j, list, found, err);
    if (status == NAS_OK && *found == 0) {
        nas_fail(err, NAS_E_INFEASIBLE, "derivation: none of the networks drawn could be made to "
                 "meet all limits together");
        nas_hint(err, "raise one of them, or draw more: --derive-samples");
        return NAS_E_INFEASIBLE;
    }
    for (int i = 0; i < *found && s->lut == NULL; i++)
        list[i].latency_ms = NAN; /* not known */
    return status;
}

/* Batch norm of the chosen network, then its accuracy as it would be deployed. */
static nas_status judge_final(nas_search *s, const nas_observer *observer,
                              nas_search_result *result, nas_err *err)
{
    nas_infer *infer = NULL;
    nas_score score = {0};
    nas_status status = nas_recalibrate(s->exec, result->choice, s->train_loader,
                                        s->config.recalibrate_batches, observer, err);

    if (status == NAS_OK &&
        (status = nas_infer_new(&infer, s->model, result->choice, NAS_SEARCH_EVAL_BATCH, err)) ==
            NAS_OK)
        status = nas_evaluate(infer, s->valid_loader, s->space->classes, &score,
                              nas_evaluate_stop, (void *)observer, err);
    nas_infer_free(infer);
    if (status != NAS_OK)
        return status;
    result->valid_loss = score.loss / (double)score.images;
    result->valid_top1 = (double)score.top1 / (double)score.images;
    result->valid_top5 = (double)score.top5 / (double)score.images;
    return NAS_OK;
}

nas_status nas_search__derive(nas_search *s, const nas_observer *observer,
                              nas_search_result *result, nas_err *err)
{
    judge j = {.search = s, .observer = observer, .expected = s->config.derive_samples};
    nas_candidate *list = calloc((size_t)s->config.derive_samples, sizeof *list);
    int found = 0;

    if (list == NULL)
        return nas_fail(err, NAS_E_NOMEM, "derivation: out of memory");
    nas_status status = choose(s, &j, list, &found, err);
    const int verified = s->config.verify_top < found ? s->config.verify_top : found;
    if (status == NAS_OK && verified > 0)
        status = nas_candidates_verify(&s->config.measurer, list, verified, s->config.target_ms,
                                       observer, err);
    if (status == NAS_OK) {
        memcpy(result->choice, list[0].choice, sizeof result->choice);
        result->latency_ms = list[0].latency_ms;
        result->feasible = nas_problem_feasible(&s->problem, &list[0]) &&
                           list[0].measured_ms <= s->problem.limit[NAS_COST_LATENCY];
        status = judge_final(s, observer, result, err);
    }
    if (status != NAS_OK) {
        free(list);
        return status;
    }
    result->judged = found;
    result->verified = verified;
    result->judgement = list;
    return NAS_OK;
}
