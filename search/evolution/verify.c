/* Trust, then verify: choosing by prediction alone picks the networks that the table flatters. */
#include <assert.h>
#include <string.h>

#include "search/evolution/evolution.h"

nas_status nas_candidates_verify(const nas_measurer *m, nas_candidate *list, int count,
                                 double target_ms, const nas_observer *observer, nas_err *err)
{
    assert(m->measure != NULL && count > 0);
    const nas_status status = m->measure(m->user, list, count, observer, err);
    int answer = 0;

    if (status != NAS_OK)
        return status;
    while (answer < count && list[answer].measured_ms > target_ms)
        answer++;
    if (answer == count)
        for (int i = answer = 0; i < count; i++)
            answer = list[i].measured_ms < list[answer].measured_ms ? i : answer;
    const nas_candidate first = list[answer];

    memmove(list + 1, list, (size_t)answer * sizeof *list);
    list[0] = first;
    return NAS_OK;
}
