/* A product of two factors, found by alternating medians. */
#include "latency/profile/levels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"

enum { FIRST_TURNS = 64, ITERATIONS = 6, MAX_SHIFTS = 30, LEAST_THIRD = 8 };

/* ------------------------------------------------------------------ the turns */

static bool grow(void **array, size_t count, size_t size)
{
    void *grown = realloc(*array, count * size);

    if (grown != NULL)
        *array = grown;
    return grown != NULL;
}

nas_status nas_levels__add(nas_levels *l, const int *key, const double *ms, nas_err *err)
{
    const size_t slots = (size_t)l->slots, at = (size_t)l->count * slots;

    if (l->count == l->capacity) {
        const size_t capacity = l->capacity > 0 ? 2 * (size_t)l->capacity : FIRST_TURNS;

        if (!grow((void **)&l->key, capacity * slots, sizeof *l->key) ||
            !grow((void **)&l->ms, capacity * slots, sizeof *l->ms) ||
            !grow((void **)&l->level, capacity, sizeof *l->level))
            return nas_fail(err, NAS_E_NOMEM, "profile: no memory for %zu turns", capacity);
        l->capacity = (int)capacity;
    }
    memcpy(l->key + at, key, slots * sizeof *key);
    memcpy(l->ms + at, ms, slots * sizeof *ms);
    l->level[l->count++] = 1.0;
    return NAS_OK;
}

void nas_levels__fini(nas_levels *l)
{
    free(l->key);
    free(l->ms);
    free(l->level);
    *l = (nas_levels){0};
}

void nas_levels__halve(nas_levels *l)
{
    const size_t slots = (size_t)l->slots, dropped = (size_t)l->count / 2;
    const size_t kept = (size_t)l->count - dropped;

    if (dropped == 0)
        return;
    memmove(l->key, l->key + dropped * slots, kept * slots * sizeof *l->key);
    memmove(l->ms, l->ms + dropped * slots, kept * slots * sizeof *l->ms);
    memmove(l->level, l->level + dropped, kept * sizeof *l->level);
    l->count = (int)kept;
}

/* ------------------------------------------------------------------ their levels */

/* The times of each key, one key after another: first[key] is where its times begin. */
typedef struct sorted {
    int *first;     /* [keys + 1]                                  */
    int *value;     /* [values]: index into levels->ms             */
    double *median; /* [keys]                                      */
    double *times;  /* [the longer of values and turns]: room      */
} sorted;

static nas_status sort_values(sorted *s, const nas_levels *l, nas_err *err)
{
    const int values = l->count * l->slots;

    s->first = calloc((size_t)l->keys + 2, sizeof *s->first);
    s->value = calloc((size_t)values + 1, sizeof *s->value);
    s->median = calloc((size_t)l->keys + 1, sizeof *s->median);
    s->times = calloc((size_t)values + 1, sizeof *s->times);
    if (!s->first || !s->value || !s->median || !s->times)
        return nas_fail(err, NAS_E_NOMEM, "profile: no memory to compare %d turns", l->count);
    for (int i = 0; i < values; i++)
        if (l->key[i] >= 0)
            s->first[l->key[i] + 2]++;
    for (int k = 0; k < l->keys; k++)
        s->first[k + 2] += s->first[k + 1];
    for (int i = 0; i < values; i++) /* first[key + 1] ends as the end of the key's times */
        if (l->key[i] >= 0)
            s->value[s->first[l->key[i] + 1]++] = i;
    return NAS_OK;
}

static void free_sorted(sorted *s)
{
    free(s->first);
    free(s->value);
    free(s->median);
    free(s->times);
}

static void find_medians(sorted *s, const nas_levels *l)
{
    for (int k = 0; k < l->keys; k++) {
        const int begin = s->first[k], count = s->first[k + 1] - begin;

        for (int i = 0; i < count; i++) {
            const int value = s->value[begin + i];

            s->times[i] = l->ms[value] / l->level[value / l->slots];
        }
        s->median[k] = count > 0 ? nas_quantile(s->times, count, 0.5) : 0.0;
    }
}

/* Walks from the tenth percentile to the middle of the turns around it; `near` is room. */
static double lowest_mode(const nas_levels *l, double *near)
{
    double mode = nas_quantile(l->level, l->count, 0.1);

    for (int i = 0; i < MAX_SHIFTS; i++) {
        const double last = mode;
        int n = 0;

        for (int t = 0; t < l->count; t++)
            if (l->level[t] >= mode / l->limit && l->level[t] <= mode * l->limit)
                near[n++] = l->level[t];
        if (n == 0 || (mode = nas_quantile(near, n, 0.5)) == last)
            break;
    }
    return mode;
}

static void find_levels(sorted *s, nas_levels *l)
{
    for (int t = 0; t < l->count; t++) {
        const size_t row = (size_t)t * (size_t)l->slots;
        double expected = 0.0, taken = 0.0;

        for (int i = 0; i < l->slots; i++)
            if (l->key[row + (size_t)i] >= 0) {
                expected += s->median[l->key[row + (size_t)i]];
                taken += l->ms[row + (size_t)i];
            }
        l->level[t] = expected > 0.0 && taken > 0.0 ? taken / expected : 1.0;
    }
    const double mode = lowest_mode(l, s->times);
    for (int t = 0; t < l->count; t++)
        l->level[t] /= mode;
}

nas_status nas_levels__judge(nas_levels *l, nas_err *err)
{
    sorted s = {.first = NULL};
    const nas_status status = sort_values(&s, l, err);

    for (int t = 0; t < l->count; t++)
        l->level[t] = 1.0;
    for (int i = 0; i < ITERATIONS && status == NAS_OK && l->count > 0; i++) {
        find_medians(&s, l);
        find_levels(&s, l);
    }
    free_sorted(&s);
    return status;
}

bool nas_levels__usual(const nas_levels *l, int turn) { return l->level[turn] <= l->limit; }

double nas_levels__change(const double *values, int count)
{
    const int third = count / 3;

    if (third < LEAST_THIRD)
        return 0.0;
    return nas_quantile(values + count - third, third, 0.1) / nas_quantile(values, third, 0.1) -
           1.0;
}

double nas_levels__disturbed(const nas_levels *l, double *typical)
{
    double *slow = malloc(((size_t)l->count + 1) * sizeof *slow);
    int count = 0;

    for (int t = 0; t < l->count; t++) {
        if (!nas_levels__usual(l, t) && slow != NULL)
            slow[count] = l->level[t];
        count += !nas_levels__usual(l, t);
    }
    *typical = count > 0 && slow != NULL ? nas_quantile(slow, count, 0.5) : 1.0;
    free(slow);
    return l->count > 0 ? (double)count / l->count : 0.0;
}
