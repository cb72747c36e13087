/* Exchange search: how much each gene's change gains and costs is measured at the network at
 * hand; sums of up to three changes foretell the best exchanges, and those are scored. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/evolution/private.h"

typedef nas_evolution__archive archive;

enum { EXCHANGES = 160, GENES = 3, TRIPLE_MOVES = 128 /* more moves: pairs only */ };

/* One gene at another value: slot and candidate, or slot == slots and an image size. */
typedef struct move {
    int slot, value;
    double gain, cost[NAS_COSTS]; /* against the network at hand; of costs without a limit 0 */
} move;

typedef struct exchange {
    double gain; /* foretold */
    int count, moves[GENES];
} exchange;

typedef struct refinement {
    archive *archive;
    nas_candidate *at;
    double slack[NAS_COSTS];  /* what the limits leave */
    int moves;
    move *move;               /* [all genes' values]   */
    nas_candidate *list;      /* [the same, or EXCHANGES if that is more] */
    int64_t *place;           /* [as list]             */
    int exchanges;
    exchange heap[EXCHANGES]; /* the best foretold; the worst of them first */
} refinement;

static void apply(const nas_problem *p, const move *m, nas_candidate *candidate)
{
    if (m->slot == p->space->count)
        candidate->image_size = p->image_size[m->value];
    else
        candidate->choice[m->slot] = m->value;
}

/* All changes of one gene that make another network. */
static void list_moves(refinement *r)
{
    const nas_problem *p = r->archive->problem;
    const size_t bytes = (size_t)p->space->count * sizeof *r->at->choice;

    r->moves = 0;
    for (int s = 0; s <= p->space->count; s++) {
        const int values = s == p->space->count ? p->sizes : p->space->slots[s].count;

        for (int v = 0; v < values; v++) {
            const move m = {.slot = s, .value = v};
            nas_candidate *changed = &r->list[r->moves];

            *changed = *r->at;
            apply(p, &m, changed);
            nas_choice_normalise(p->space, changed->choice);
            if (changed->image_size != r->at->image_size ||
                memcmp(changed->choice, r->at->choice, bytes) != 0)
                r->move[r->moves++] = m;
        }
    }
}

/* True if `a` (or, when NULL, no change at all) is as good as `b` in everything. */
static bool dominates(const nas_problem *p, const move *a, const move *b)
{
    static const move none;
    const move *best = a != NULL ? a : &none;
    bool better = best->gain > b->gain || (a != NULL && a < b); /* of equals the first stays */

    if (best->gain < b->gain)
        return false;
    for (int k = 0; k < NAS_COSTS; k++) {
        if (p->limit[k] == INFINITY)
            continue;
        if (best->cost[k] > b->cost[k])
            return false;
        better |= best->cost[k] < b->cost[k];
    }
    return better;
}

/* Keeps, of each gene, the moves that are not worse than another in all respects. */
static void keep_useful(refinement *r)
{
    const nas_problem *p = r->archive->problem;
    int kept = 0;

    for (int first = 0, end; first < r->moves; first = end) {
        bool useful[NAS_MAX_CANDIDATES];

        for (end = first; end < r->moves && r->move[end].slot == r->move[first].slot; end++)
            continue;
        for (int i = first; i < end; i++) {
            useful[i - first] = r->move[i].cost[NAS_COST_MEMORY] < INFINITY &&
                                !dominates(p, NULL, &r->move[i]);
            for (int j = first; j < end && useful[i - first]; j++)
                useful[i - first] = j == i || !dominates(p, &r->move[j], &r->move[i]);
        }
        for (int i = first; i < end; i++)
            if (useful[i - first])
                r->move[kept++] = r->move[i];
    }
    r->moves = kept;
}

/* What a change costs.  A peak does not add up: it is kept, or the change is of no use. */
static double cost_of(const refinement *r, nas_cost k, const nas_candidate *changed)
{
    const nas_problem *p = r->archive->problem;

    if (p->limit[k] == INFINITY)
        return 0.0;
    if (nas_evolution__is_peak(k))
        return nas_problem_cost(p, k, changed) <= p->limit[k] ? 0.0 : INFINITY;
    return nas_problem_cost(p, k, changed) - nas_problem_cost(p, k, r->at);
}

/* Scores every single change. */
static nas_status measure_moves(refinement *r, nas_evolution__elite *elite, nas_err *err)
{
    archive *a = r->archive;
    const nas_problem *p = a->problem;

    list_moves(r);
    const nas_status status = nas_evolution__archive_score(a, r->list, r->moves, r->place, err);
    if (status != NAS_OK)
        return status;
    for (int i = 0; i < r->moves; i++) {
        r->move[i].gain = a->score[r->place[i]] - r->at->score;
        for (int k = 0; k < NAS_COSTS; k++)
            r->move[i].cost[k] = cost_of(r, (nas_cost)k, &r->list[i]);
        nas_evolution__elite_enter(elite, a, r->place[i]);
    }
    for (int k = 0; k < NAS_COSTS; k++)
        r->slack[k] = p->limit[k] - nas_problem_cost(p, (nas_cost)k, r->at);
    keep_useful(r);
    return NAS_OK;
}

/* ---- exchanges ------------------------------------------------------------------ */

static void sift_down(refinement *r, int i)
{
    for (;;) {
        const int left = 2 * i + 1, right = left + 1;
        int least = i;

        if (left < r->exchanges && r->heap[left].gain < r->heap[least].gain)
            least = left;
        if (right < r->exchanges && r->heap[right].gain < r->heap[least].gain)
            least = right;
        if (least == i)
            return;
        const exchange held = r->heap[i];
        r->heap[i] = r->heap[least];
        r->heap[least] = held;
        i = least;
    }
}

static void keep_exchange(refinement *r, const exchange *e)
{
    if (r->exchanges < EXCHANGES) {
        r->heap[r->exchanges++] = *e;
        for (int i = r->exchanges / 2 - 1; i >= 0 && r->exchanges == EXCHANGES; i--)
            sift_down(r, i); /* once it is full */
    } else if (e->gain > r->heap[0].gain) {
        r->heap[0] = *e;
        sift_down(r, 0);
    }
}

static bool fits(const refinement *r, const double *cost)
{
    for (int k = 0; k < NAS_COSTS; k++)
        if (cost[k] > r->slack[k])
            return false;
    return true;
}

/* Adds, to the moves of `base` with that cost, each later move of another gene. */
static void extend(refinement *r, const exchange *base, const double *cost, int depth)
{
    const int last = base->count > 0 ? base->moves[base->count - 1] : -1;

    for (int i = last + 1; i < r->moves; i++) {
        const move *m = &r->move[i];
        exchange e = *base;
        double sum[NAS_COSTS];

        if (last >= 0 && r->move[last].slot == m->slot)
            continue;
        e.gain += m->gain;
        e.moves[e.count++] = i;
        for (int k = 0; k < NAS_COSTS; k++)
            sum[k] = cost[k] + m->cost[k];
        if (e.count > 1 && fits(r, sum))
            keep_exchange(r, &e);
        if (e.count < depth)
            extend(r, &e, sum, depth);
    }
}

/* Scores the exchanges that promise most. */
static nas_status try_exchanges(refinement *r, nas_evolution__elite *elite, nas_err *err)
{
    const nas_problem *p = r->archive->problem;
    const exchange none = {0};
    const double nothing[NAS_COSTS] = {0};
    nas_status status;

    r->exchanges = 0;
    extend(r, &none, nothing, r->moves <= TRIPLE_MOVES ? GENES : GENES - 1);
    for (int i = 0; i < r->exchanges; i++) {
        r->list[i] = *r->at;
        for (int m = 0; m < r->heap[i].count; m++)
            apply(p, &r->move[r->heap[i].moves[m]], &r->list[i]);
        nas_choice_normalise(p->space, r->list[i].choice);
    }
    status = nas_evolution__archive_score(r->archive, r->list, r->exchanges, r->place, err);
    for (int i = 0; i < r->exchanges && status == NAS_OK; i++)
        nas_evolution__elite_enter(elite, r->archive, r->place[i]);
    return status;
}

static nas_status open_refinement(refinement *r, archive *a, nas_candidate *candidate,
                                  nas_err *err)
{
    const nas_problem *p = a->problem;
    const int genes = p->first[p->space->count] + p->sizes;
    const size_t room = (size_t)(genes > EXCHANGES ? genes : EXCHANGES);

    if (r == NULL)
        return nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
    r->archive = a;
    r->at = candidate;
    r->move = malloc(room * sizeof *r->move);
    r->list = malloc(room * sizeof *r->list);
    r->place = malloc(room * sizeof *r->place);
    if (r->move == NULL || r->list == NULL || r->place == NULL)
        return nas_fail(err, NAS_E_NOMEM, "evolution: out of memory");
    return NAS_OK;
}

nas_status nas_evolution__refine(archive *a, nas_candidate *candidate,
                                 nas_evolution__elite *elite, nas_err *err)
{
    refinement *r = calloc(1, sizeof *r);
    nas_evolution__elite found; /* the best seen from here */
    nas_status status = nas_evolution__elite_init(&found, 1, err);

    if (status != NAS_OK || (status = open_refinement(r, a, candidate, err)) != NAS_OK)
        goto done;
    for (;;) {
        if ((status = measure_moves(r, &found, err)) ||
            (status = try_exchanges(r, &found, err)))
            break;
        if (found.count == 0 || found.best->score <= candidate->score)
            break;
        *candidate = *found.best;
        nas_evolution__elite_enter(elite, a, nas_evolution__archive_find(a, candidate));
    }

done:
    if (r != NULL) {
        free(r->move);
        free(r->list);
        free(r->place);
    }
    free(r);
    nas_evolution__elite_fini(&found);
    return status;
}
