/* Private to this folder: what was measured, turn by turn, and how fast the machine was then.
 *
 * A machine that is shared is slower by tens of percents for seconds or minutes (a neighbour on
 * the same core, a lower clock), and then in everything alike.  So a turn is taken as the product
 * of what was run and a level: 1 while nothing disturbs the machine. */
#ifndef NAS_LATENCY_PROFILE_LEVELS_H
#define NAS_LATENCY_PROFILE_LEVELS_H

#include <stdbool.h>

#include "base/status.h"

typedef struct nas_levels {
    int slots, keys;     /* values of a turn; things that they are times of        */
    double limit;        /* turns at one level differ by at most that: 1.06 is 6 %  */
    int count, capacity; /* turns                                                  */
    int *key;            /* [count][slots]: -1: no value                           */
    double *ms;          /* [count][slots]                                         */
    double *level;       /* [count]: _judge writes it                              */
} nas_levels;

nas_status nas_levels__add(nas_levels *levels, const int *key, const double *ms, nas_err *err);
void nas_levels__fini(nas_levels *levels);
/** Forgets the older half. */
void nas_levels__halve(nas_levels *levels);

/** Finds the level of every turn: alternately the median of each key's times over their levels,
 * and each turn's time over the sum of its keys' medians.  Level 1 is the lowest at which the
 * machine was for a good part of the time: the mode next to the tenth percentile.  NAS_E_NOMEM. */
nas_status nas_levels__judge(nas_levels *levels, nas_err *err);

/** True if nothing disturbed the turn: its level is at most `limit`. */
bool nas_levels__usual(const nas_levels *levels, int turn);
/** How much slower a machine was at last than at first: the tenth percentile of the last third of
 * `values`, times or levels in their order, over that of the first third, less 1.  Slow moments in
 * between do not matter.  0 for fewer than 24 values, which say nothing. */
double nas_levels__change(const double *values, int count);
/** Part of the turns that were disturbed, and the median of their levels (1 if there are none). */
double nas_levels__disturbed(const nas_levels *levels, double *typical);

#endif
