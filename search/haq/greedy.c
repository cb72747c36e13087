/* A policy from what each layer does alone: bit by bit to where it helps most for what it costs. */
#include "search/haq/greedy.h"

#include <math.h>
#include <stddef.h>

/* One more bit for a weight or an input. */
typedef struct offer {
    int *bits; /* NULL: none */
    double worth;
} offer;

static void consider(const nas_budget *b, const nas_bits *all, int *bits, const double *harm,
                     double now, offer *best)
{
    if (*bits >= b->most)
        return;
    ++*bits;
    const double cost = nas_budget_cost(b, all);
    --*bits;
    const double worth = (harm[*bits] - harm[*bits + 1]) / fmax(cost - now, 1e-9 * now);
    if (cost <= b->target && (best->bits == NULL || worth > best->worth))
        *best = (offer){bits, worth};
}

void nas_budget_greedy(const nas_budget *b, const nas_harm *harm, nas_bits *bits)
{
    const bool inputs_cost = b->inputs && b->kind != NAS_BUDGET_SIZE;

    for (int i = 0; i < b->count; i++)
        bits[i] = (nas_bits){b->least, inputs_cost ? b->least : b->inputs ? b->most : b->input};
    nas_budget_pin(b, bits);
    for (;;) {
        const double now = nas_budget_cost(b, bits);
        offer best = {0};

        for (int i = 0; i < b->count; i++) {
            if (nas_budget_pinned(b, i))
                continue;
            consider(b, bits, &bits[i].weight, harm[i].weight, now, &best);
            if (inputs_cost)
                consider(b, bits, &bits[i].input, harm[i].input, now, &best);
        }
        if (best.bits == NULL)
            return;
        ++*best.bits;
    }
}

void nas_harm_complete(double *harm, int least, int measured, double weight)
{
    for (int bits = least; bits <= NAS_BUDGET_BITS; bits++) {
        if (bits > measured)
            harm[bits] = 0.25 * harm[bits - 1];
        else if (bits > least)
            harm[bits] = fmin(harm[bits], harm[bits - 1]);
    }
    for (int bits = least; bits <= NAS_BUDGET_BITS; bits++)
        harm[bits] += 1e-9 * weight * pow(4.0, -bits);
}
