/* Statistics of small samples. */
#include "base/stats.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct ranked {
    double value;
    int index;
} ranked;

static int by_value(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static int by_ranked_value(const void *left, const void *right)
{
    return by_value(&((const ranked *)left)->value, &((const ranked *)right)->value);
}

double nas_mean(const double *values, int n)
{
    double sum = 0.0;

    for (int i = 0; i < n; i++)
        sum += values[i];
    return sum / n;
}

double nas_std(const double *values, int n)
{
    const double mean = nas_mean(values, n);
    double sum = 0.0;

    if (n == 1)
        return 0.0;
    for (int i = 0; i < n; i++)
        sum += (values[i] - mean) * (values[i] - mean);
    return sqrt(sum / (n - 1));
}

/* Numbers of the same order as the doubles, and back. */
static uint64_t order_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

static double of_order(uint64_t order)
{
    const uint64_t bits = order >> 63 ? order & ~(UINT64_C(1) << 63) : ~order;
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The value with `rank` others before it: the least that more than `rank` values do not exceed.
 * Found by halving the interval, so that no sorted copy is needed, and nothing can fail. */
static double value_of_rank(const double *values, int n, int rank)
{
    uint64_t low = UINT64_MAX, high = 0;

    for (int i = 0; i < n; i++) {
        const uint64_t order = order_of(values[i]);

        low = order < low ? order : low;
        high = order > high ? order : high;
    }
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        int count = 0;

        for (int i = 0; i < n; i++)
            count += order_of(values[i]) <= middle;
        if (count > rank)
            high = middle;
        else
            low = middle + 1;
    }
    return of_order(low);
}

double nas_quantile(const double *values, int n, double q)
{
    const double position = q * (n - 1);
    const int rank = (int)floor(position);
    const double below = value_of_rank(values, n, rank);

    return rank + 1 < n
               ? below + (position - rank) * (value_of_rank(values, n, rank + 1) - below)
               : below;
}

/* Ranks 1..n; equal values share the mean of their ranks. */
static void average_ranks(const double *values, int n, ranked *order, double *ranks)
{
    for (int i = 0; i < n; i++)
        order[i] = (ranked){values[i], i};
    qsort(order, (size_t)n, sizeof *order, by_ranked_value);
    for (int first = 0, next; first < n; first = next) {
        for (next = first + 1; next < n && order[next].value == order[first].value; next++)
            ;
        for (int i = first; i < next; i++)
            ranks[order[i].index] = 0.5 * (first + 1 + next);
    }
}

/* Pearson's correlation; NAN when one side is constant. */
static double correlation(const double *a, const double *b, int n)
{
    const double mean_a = nas_mean(a, n), mean_b = nas_mean(b, n);
    double ab = 0.0, aa = 0.0, bb = 0.0;

    for (int i = 0; i < n; i++) {
        ab += (a[i] - mean_a) * (b[i] - mean_b);
        aa += (a[i] - mean_a) * (a[i] - mean_a);
        bb += (b[i] - mean_b) * (b[i] - mean_b);
    }
    return aa > 0.0 && bb > 0.0 ? ab / sqrt(aa * bb) : NAN;
}

static bool all_finite(const double *values, int n)
{
    for (int i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

double nas_spearman(const double *a, const double *b, int n)
{
    double *ranks = malloc(2 * (size_t)n * sizeof *ranks);
    ranked *order = malloc((size_t)n * sizeof *order);
    double result = NAN;

    if (ranks != NULL && order != NULL && all_finite(a, n) && all_finite(b, n)) {
        average_ranks(a, n, order, ranks);
        average_ranks(b, n, order, ranks + n);
        result = correlation(ranks, ranks + n, n);
    }
    free(order);
    free(ranks);
    return result;
}

double nas_kendall(const double *a, const double *b, int n)
{
    double score = 0.0, differ_a = 0.0, differ_b = 0.0; /* pairs; ties differ in neither */

    if (!all_finite(a, n) || !all_finite(b, n))
        return NAN;
    for (int i = 1; i < n; i++)
        for (int j = 0; j < i; j++) {
            const int sign_a = (a[i] > a[j]) - (a[i] < a[j]);
            const int sign_b = (b[i] > b[j]) - (b[i] < b[j]);

            score += sign_a * sign_b;
            differ_a += sign_a != 0;
            differ_b += sign_b != 0;
        }
    return differ_a > 0.0 && differ_b > 0.0 ? score / sqrt(differ_a * differ_b) : NAN;
}
