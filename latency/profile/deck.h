/* Private to this folder: which network comes in which turn.  It depends on space and seed
 * alone, so that the two ends of a link agree on it. */
#ifndef NAS_LATENCY_PROFILE_DECK_H
#define NAS_LATENCY_PROFILE_DECK_H

#include "nas/space/space.h"

/* The candidates of a slot in random order; each is used once before the next shuffle. */
typedef struct nas_deck_slot {
    uint32_t card[NAS_MAX_CANDIDATES];
    uint32_t count, left;
} nas_deck_slot;

typedef struct nas_deck {
    nas_rng rng;
    int slots;
    nas_deck_slot *slot; /* [slots]                              */
    int *choice;         /* [slots]: the network of the last deal */
} nas_deck;

nas_status nas_deck__init(nas_deck *deck, const nas_space *space, uint64_t seed, nas_err *err);
void nas_deck__fini(nas_deck *deck);
/** The network of the next turn; turn 0 after _init. */
void nas_deck__deal(nas_deck *deck);

#endif
