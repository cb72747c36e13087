/* The architectures scored so far: genomes and scores in arrays, found by hash. */
#include <stdlib.h>
#include <string.h>

#include "search/evolution/private.h"

enum { BATCH = 256, FIRST_CAPACITY = 256 };

nas_status nas_evolution__archive_init(nas_evolution__archive *a, const nas_problem *problem,
                                       const nas_evaluator *evaluator, nas_err *err)
{
    *a = (nas_evolution__archive){
        .problem = problem, .evaluator = evaluator, .width = problem->space->count + 1};
    a->batch = malloc(BATCH * sizeof *a->batch);
    return a->batch != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
}

void nas_evolution__archive_fini(nas_evolution__archive *a)
{
    free(a->genome);
    free(a->score);
    free(a->bucket);
    free(a->batch);
}

static void encode(const nas_evolution__archive *a, const nas_candidate *candidate,
                   uint8_t *genome)
{
    const int slots = a->width - 1;

    for (int s = 0; s < slots; s++)
        genome[s] = (uint8_t)candidate->choice[s];
    genome[slots] = (uint8_t)nas_problem_size(a->problem, candidate->image_size);
}

/* FNV-1a. */
static uint64_t hash(const uint8_t *genome, int width)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (int i = 0; i < width; i++)
        h = (h ^ genome[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

/* The bucket that holds the genome, or the empty one where it belongs. */
static int64_t *bucket_of(const nas_evolution__archive *a, const uint8_t *genome)
{
    const uint64_t mask = 2 * (uint64_t)a->capacity - 1;
    const size_t width = (size_t)a->width;
    uint64_t i = hash(genome, a->width) & mask;

    while (a->bucket[i] >= 0 &&
           memcmp(a->genome + (size_t)a->bucket[i] * width, genome, width) != 0)
        i = (i + 1) & mask;
    return &a->bucket[i];
}

int64_t nas_evolution__archive_find(const nas_evolution__archive *a,
                                    const nas_candidate *candidate)
{
    uint8_t genome[NAS_MAX_SLOTS + 1];

    if (a->capacity == 0)
        return -1;
    encode(a, candidate, genome);
    return *bucket_of(a, genome);
}

static nas_status grow(nas_evolution__archive *a, nas_err *err)
{
    const int64_t capacity = a->capacity > 0 ? 2 * a->capacity : FIRST_CAPACITY;
    uint8_t *genome = realloc(a->genome, (size_t)capacity * (size_t)a->width);
    double *score = realloc(a->score, (size_t)capacity * sizeof *score);
    int64_t *bucket = malloc(2 * (size_t)capacity * sizeof *bucket);

    a->genome = genome != NULL ? genome : a->genome;
    a->score = score != NULL ? score : a->score;
    if (genome == NULL || score == NULL || bucket == NULL) {
        free(bucket);
        return nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
    }
    free(a->bucket);
    a->bucket = bucket;
    a->capacity = capacity;
    memset(bucket, -1, 2 * (size_t)capacity * sizeof *bucket);
    for (int64_t i = 0; i < a->count; i++)
        *bucket_of(a, genome + (size_t)i * (size_t)a->width) = i;
    return NAS_OK;
}

/* Scores the last `count` of the archive. */
static nas_status score_last(nas_evolution__archive *a, int count, nas_err *err)
{
    const nas_status status = a->evaluator->score(a->evaluator->user, a->batch, count, err);

    for (int i = 0; i < count && status == NAS_OK; i++)
        a->score[a->count - count + i] = a->batch[i].score;
    return status;
}

nas_status nas_evolution__archive_score(nas_evolution__archive *a, const nas_candidate *list,
                                        int count, int64_t *place, nas_err *err)
{
    uint8_t genome[NAS_MAX_SLOTS + 1];
    int pending = 0;
    nas_status status = NAS_OK;

    for (int i = 0; i < count && status == NAS_OK; i++) {
        if (a->count == a->capacity && (status = grow(a, err)) != NAS_OK)
            return status;
        encode(a, &list[i], genome);
        int64_t *bucket = bucket_of(a, genome);

        if (*bucket < 0) {
            *bucket = a->count++;
            memcpy(a->genome + (size_t)*bucket * (size_t)a->width, genome, (size_t)a->width);
            a->batch[pending] = list[i];
            a->batch[pending++].latency_ms =
                nas_problem_cost(a->problem, NAS_COST_LATENCY, &list[i]);
        }
        place[i] = *bucket;
        if (pending == BATCH) {
            status = score_last(a, pending, err);
            pending = 0;
        }
    }
    return status == NAS_OK && pending > 0 ? score_last(a, pending, err) : status;
}

void nas_evolution__archive_get(const nas_evolution__archive *a, int64_t place,
                                nas_candidate *out)
{
    const uint8_t *genome = a->genome + (size_t)place * (size_t)a->width;

    memset(out, 0, sizeof *out);
    for (int s = 0; s < a->width - 1; s++)
        out->choice[s] = genome[s];
    out->image_size = a->problem->image_size[genome[a->width - 1]];
    out->score = a->score[place];
    out->latency_ms = nas_problem_cost(a->problem, NAS_COST_LATENCY, out);
}

nas_status nas_evolution__elite_init(nas_evolution__elite *e, int keep, nas_err *err)
{
    *e = (nas_evolution__elite){.keep = keep, .best = malloc((size_t)keep * sizeof *e->best)};
    return e->best != NULL ? NAS_OK : nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
}

void nas_evolution__elite_fini(nas_evolution__elite *e)
{
    free(e->best);
}

static bool same(const nas_evolution__archive *a, const nas_candidate *x, const nas_candidate *y)
{
    return x->image_size == y->image_size &&
           memcmp(x->choice, y->choice, (size_t)(a->width - 1) * sizeof *x->choice) == 0;
}

void nas_evolution__elite_enter(nas_evolution__elite *e, const nas_evolution__archive *a,
                                int64_t place)
{
    nas_candidate candidate;
    int at = e->count;

    if (e->count == e->keep && a->score[place] <= e->best[e->count - 1].score)
        return;
    nas_evolution__archive_get(a, place, &candidate);
    if (!nas_problem_feasible(a->problem, &candidate))
        return;
    while (at > 0 && nas_candidate_best_first(&candidate, &e->best[at - 1]) < 0)
        at--;
    for (int i = at - 1; i >= 0 && e->best[i].score == candidate.score &&
                         e->best[i].latency_ms == candidate.latency_ms; i--)
        if (same(a, &e->best[i], &candidate))
            return;
    if (at == e->keep)
        return;
    e->count += e->count < e->keep;
    memmove(&e->best[at + 1], &e->best[at], (size_t)(e->count - at - 1) * sizeof *e->best);
    e->best[at] = candidate;
}
