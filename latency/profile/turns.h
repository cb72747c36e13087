/* Private to this folder: turn after turn, measured here or elsewhere, each once: what a journal
 * knows is not measured again. */
#ifndef NAS_LATENCY_PROFILE_TURNS_H
#define NAS_LATENCY_PROFILE_TURNS_H

#include "latency/profile/deck.h"
#include "latency/profile/journal.h"
#include "latency/profile/profile.h"
#include "latency/profile/session.h"

/** Gets the block times of a turn whose network is `choice`, and what the probe took after it: NAN
 * if that was not asked. */
typedef nas_status nas_turn_taker(void *user, const int *choice, const double *block_ms,
                                  double probe_ms, nas_err *err);

typedef struct nas_turns {
    const nas_space *space;
    const nas_latency_profile_options *options;
    nas_turn_taker *taker;
    void *user;
    nas_deck deck;     /* its choice is that of the next turn                     */
    nas_session session;
    nas_journal *journal;
    int64_t count;     /* turns taken                                             */
    int probes;        /* how often the probe was run                             */
} nas_turns;

/** Takes the journal's turns and opens the way to the next one.  As nas_latency_profile. */
nas_status nas_turns__open(nas_turns *turns, const nas_space *space,
                           const nas_latency_profile_options *options, nas_turn_taker *taker,
                           void *user, nas_err *err);
/** One turn and, after some of them, the probe: it takes a tenth of the time, once it was run a few
 * times. */
nas_status nas_turns__next(nas_turns *turns, nas_err *err);
/** True if the probe was run a few times. */
bool nas_turns__probed(const nas_turns *turns);
void nas_turns__close(nas_turns *turns);

#endif
