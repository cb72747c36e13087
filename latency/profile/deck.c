/* Dealing networks in which all candidates of a slot come up equally often. */
#include "latency/profile/deck.h"

#include <stdlib.h>

nas_status nas_deck__init(nas_deck *deck, const nas_space *space, uint64_t seed, nas_err *err)
{
    const size_t slots = (size_t)space->count;

    *deck = (nas_deck){.slots = space->count};
    nas_rng_init(&deck->rng, seed, "profile", 0);
    deck->slot = calloc(slots, sizeof *deck->slot);
    deck->choice = calloc(slots, sizeof *deck->choice);
    if (deck->slot == NULL || deck->choice == NULL)
        return nas_fail(err, NAS_E_NOMEM, "profile: no memory for %zu slots", slots);
    for (size_t s = 0; s < slots; s++) {
        deck->slot[s].count = (uint32_t)space->slots[s].count;
        for (uint32_t c = 0; c < deck->slot[s].count; c++)
            deck->slot[s].card[c] = c;
    }
    return NAS_OK;
}

void nas_deck__fini(nas_deck *deck)
{
    free(deck->slot);
    free(deck->choice);
    *deck = (nas_deck){0};
}

void nas_deck__deal(nas_deck *deck)
{
    for (int s = 0; s < deck->slots; s++) {
        nas_deck_slot *slot = &deck->slot[s];

        if (slot->left == 0) {
            nas_rng_shuffle(&deck->rng, slot->card, slot->count);
            slot->left = slot->count;
        }
        deck->choice[s] = (int)slot->card[--slot->left];
    }
}
