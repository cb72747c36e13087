/* Which network the probe is, and what its times say of the machine. */
#include "latency/profile/probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"

enum { ENOUGH_TIMES = 5, FIRST_TIMES = 64 };

nas_status nas_probe__find(const nas_space *space, int *choice, char digest[NAS_DIGEST_SIZE],
                           nas_err *err)
{
    nas_arch *arch;
    int h = space->image_size, w = h;

    for (int s = 0; s < space->count; s++) {
        const nas_slot *slot = &space->slots[s];
        nas_op_cost most = nas_op_cost_at(&slot->candidates[0], h, w);

        choice[s] = 0;
        for (int c = 1; c < slot->count; c++) {
            const nas_op_cost cost = nas_op_cost_at(&slot->candidates[c], h, w);

            if (cost.macs > most.macs) {
                most = cost;
                choice[s] = c;
            }
        }
        h = most.out_h;
        w = most.out_w;
    }
    nas_status status = nas_space_arch(&arch, space, choice, err);
    if (status == NAS_OK) {
        status = nas_arch_digest(arch, digest, err);
        nas_arch_free(arch);
    }
    return status;
}

nas_status nas_probes__add(nas_probes *p, int turn, double ms, nas_err *err)
{
    if (p->count == p->capacity) {
        const int capacity = p->capacity > 0 ? 2 * p->capacity : FIRST_TIMES;
        nas_probe_time *grown = realloc(p->times, (size_t)capacity * sizeof *grown);

        if (grown == NULL)
            return nas_fail(err, NAS_E_NOMEM, "profile: no memory for %d probes", capacity);
        p->times = grown;
        p->capacity = capacity;
    }
    p->times[p->count++] = (nas_probe_time){turn, ms};
    return NAS_OK;
}

void nas_probes__fini(nas_probes *p)
{
    free(p->times);
    *p = (nas_probes){0};
}

void nas_probes__forget(nas_probes *p, int turns)
{
    int kept = 0;

    for (int i = 0; i < p->count; i++)
        if (p->times[i].turn > turns)
            p->times[kept++] = (nas_probe_time){p->times[i].turn - turns, p->times[i].ms};
    p->count = kept;
}

/* The turns beside a probe: one at the first and after the last turn. */
static void find_neighbours(const nas_levels *l, int turn, int *before, int *after)
{
    *before = turn > 0 ? turn - 1 : turn;
    *after = turn < l->count ? turn : turn - 1;
}

double nas_probes__ms(const nas_probes *p, const nas_levels *l)
{
    double *usual = malloc(2 * ((size_t)p->count + 1) * sizeof *usual), ms = NAN;
    int count = 0;

    if (usual == NULL || p->count == 0 || l->count == 0)
        goto done;
    double *all = usual + p->count;
    for (int i = 0; i < p->count; i++) {
        int before, after;

        find_neighbours(l, p->times[i].turn, &before, &after);
        all[i] = p->times[i].ms / (0.5 * (l->level[before] + l->level[after]));
        if (nas_levels__usual(l, before) && nas_levels__usual(l, after))
            usual[count++] = all[i];
    }
    ms = count >= ENOUGH_TIMES ? nas_quantile(usual, count, 0.5) : nas_quantile(all, p->count, 0.5);

done:
    free(usual);
    return ms;
}

double nas_probes__change(const nas_probes *p)
{
    double *ms = malloc(((size_t)p->count + 1) * sizeof *ms), change = NAN;

    for (int i = 0; ms != NULL && i < p->count; i++)
        ms[i] = p->times[i].ms;
    if (ms != NULL)
        change = nas_levels__change(ms, p->count);
    free(ms);
    return change;
}
