/* Private to this folder: one network of a space that is run beside the turns.  It is the same for
 * a profile and for its verification, so its times tell how fast the machine was in each. */
#ifndef NAS_LATENCY_PROFILE_PROBE_H
#define NAS_LATENCY_PROFILE_PROBE_H

#include "base/hash.h"
#include "latency/profile/levels.h"
#include "nas/space/space.h"

typedef struct nas_probe_time {
    int turn; /* before which it was run, and after the one before it */
    double ms;
} nas_probe_time;

typedef struct nas_probes {
    int count, capacity;
    nas_probe_time *times; /* [count], in order of time */
} nas_probes;

/** The network: in each slot the candidate of most MACs, of several the first.  So it needs no
 * table.  `digest` is that of its architecture.  NAS_E_NOMEM. */
nas_status nas_probe__find(const nas_space *space, int *choice, char digest[NAS_DIGEST_SIZE],
                           nas_err *err);

nas_status nas_probes__add(nas_probes *probes, int turn, double ms, nas_err *err);
void nas_probes__fini(nas_probes *probes);
/** The oldest `turns` turns are forgotten, and what was run before them or the one after. */
void nas_probes__forget(nas_probes *probes, int turns);

/** The probe's time at level 1 of turns that are judged: the median of its times, each over the
 * mean level of the turns beside it; of those between turns that nothing disturbed, or of all
 * where these are fewer than five.  NAN if there is none, or no memory. */
double nas_probes__ms(const nas_probes *probes, const nas_levels *levels);
/** nas_levels__change of its times; NAN: no memory. */
double nas_probes__change(const nas_probes *probes);

#endif
