/* Counting the architectures of a space exactly, and drawing one uniformly. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nas/space/space.h"

/* A natural number in base 10^9, lowest limb first: 64 candidates in 256 slots make
 * 463 digits, 52 limbs. */
enum { BASE = 1000000000, LIMBS = 53, LIMB_DIGITS = 9 };

typedef struct big {
    uint32_t limb[LIMBS];
} big;

/* a = a * factor + b; factor is at most NAS_MAX_CANDIDATES. */
static void big_multiply_add(big *a, uint32_t factor, const big *b)
{
    uint64_t carry = 0;

    for (int i = 0; i < LIMBS; i++) {
        carry += (uint64_t)a->limb[i] * factor + b->limb[i];
        a->limb[i] = (uint32_t)(carry % BASE);
        carry /= BASE;
    }
}

static char *big_decimal(const big *a)
{
    char text[LIMBS * LIMB_DIGITS + 1], *start = text;

    for (int i = 0; i < LIMBS; i++)
        snprintf(text + i * LIMB_DIGITS, LIMB_DIGITS + 1, "%09u", a->limb[LIMBS - 1 - i]);
    while (start[0] == '0' && start[1] != '\0')
        start++;
    return strdup(start);
}

static double log10_of(const char *decimal)
{
    char leading[20];

    snprintf(leading, sizeof leading, "%.17s", decimal);
    return log10(strtod(leading, NULL)) + (double)(strlen(decimal) - strlen(leading));
}

/* Whether skipping this slot ends its stage (OFA's depth) rather than just the slot. */
static bool ends_stage(const nas_space *space, int slot)
{
    return space->min_depth > 0 && nas_slot_has_zero(&space->slots[slot]);
}

static bool is_stage_end(const nas_space *space, int slot)
{
    return slot + 1 == space->count || space->slots[slot].stage < 0 ||
           space->slots[slot + 1].stage != space->slots[slot].stage;
}

nas_status nas_space_count(const nas_space *space, char **decimal, double *log10_count,
                           nas_err *err)
{
    static const big zero;
    big ways = {{1}};     /* to go on from the slot at hand, its stage not ended before */
    big after = {{1}};    /* to go on behind the stage at hand                          */
    char *text;

    for (int i = space->count - 1; i >= 0; i--) {
        const bool ends = ends_stage(space, i);

        if (is_stage_end(space, i))
            after = ways;
        big_multiply_add(&ways, (uint32_t)(space->slots[i].count - ends), ends ? &after : &zero);
    }
    text = big_decimal(&ways);
    if (text == NULL)
        return nas_fail(err, NAS_E_NOMEM, "no memory for a count");
    if (log10_count != NULL)
        *log10_count = log10_of(text);
    if (decimal != NULL)
        *decimal = text;
    else
        free(text);
    return NAS_OK;
}

void nas_space_sample(const nas_space *space, nas_rng *rng, int *choice)
{
    double ways[NAS_MAX_SLOTS]; /* of the rest of the stage; infinity is fine: never ends here */
    bool ended = false;

    for (int i = space->count - 1; i >= 0; i--) {
        const bool ends = ends_stage(space, i);
        const double behind = is_stage_end(space, i) ? 1 : ways[i + 1];

        ways[i] = (space->slots[i].count - ends) * behind + ends;
    }
    for (int i = 0; i < space->count; i++) {
        const int count = space->slots[i].count;

        /* One of ways[i] continuations of this stage is to end it here. */
        if (!ended && ends_stage(space, i))
            ended = nas_rng_uniform(rng) * ways[i] < 1;
        if (ended)
            choice[i] = count - 1;
        else if (count == 1)
            choice[i] = 0;
        else
            choice[i] = (int)nas_rng_below(rng, (uint32_t)(count - ends_stage(space, i)));
        if (is_stage_end(space, i))
            ended = false;
    }
}
