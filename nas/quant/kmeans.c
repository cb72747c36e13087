/* Weight sharing: k-means on numbers of one dimension. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nas/quant/levels.h"

enum { SEEDS = 65536, CENTRES = 256 };

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The nearest of `k` sorted centres; the lower one of two as near. */
static int nearest(const double *centre, int k, double v)
{
    int low = 0, high = k - 1; /* the answer is within */

    while (low < high) {
        const int middle = (low + high) / 2;
        if (v - centre[middle] <= centre[middle + 1] - v)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* k-means++ (Arthur and Vassilvitskii 2007): each next centre is drawn in proportion to the
 * squared distance from those there are.  Returns how many there are in the end: at most `k`, and
 * fewer if all values are centres. */
static int choose_centres(const float *values, size_t count, int k, nas_rng *rng, double *centre,
                          double *distance)
{
    const size_t step = (count + SEEDS - 1) / SEEDS, n = (count + step - 1) / step;
    int chosen = 0;

    centre[chosen++] = values[step * nas_rng_below(rng, (uint32_t)n)];
    for (size_t i = 0; i < n; i++)
        distance[i] = INFINITY;
    while (chosen < k) {
        double sum = 0.0;
        for (size_t i = 0; i < n; i++) {
            const double d = (double)values[i * step] - centre[chosen - 1];
            distance[i] = fmin(distance[i], d * d);
            sum += distance[i];
        }
        if (!(sum > 0.0))
            break;
        double at = nas_rng_uniform(rng) * sum;
        size_t i = 0, last = 0;
        for (; i < n && at >= 0.0; i++)
            if (distance[i] > 0.0) {
                at -= distance[i];
                last = i;
            }
        centre[chosen++] = values[last * step];
    }
    qsort(centre, (size_t)chosen, sizeof *centre, by_value);
    return chosen;
}

/* One step of Lloyd's: centres become the means of their values. */
static void move_centres(const float *values, size_t count, double *centre, int k)
{
    double sum[CENTRES] = {0};
    size_t members[CENTRES] = {0};

    for (size_t i = 0; i < count; i++) {
        const int c = nearest(centre, k, values[i]);
        sum[c] += (double)values[i];
        members[c]++;
    }
    for (int c = 0; c < k; c++)
        if (members[c] > 0)
            centre[c] = sum[c] / (double)members[c];
}

nas_status nas_quant_share(float *values, size_t count, int bits, int iterations, nas_rng *rng,
                           uint8_t *cluster, nas_err *err)
{
    double centre[CENTRES];
    double *distance = malloc((count < SEEDS ? count : SEEDS) * sizeof *distance);

    if (distance == NULL)
        return nas_fail(err, NAS_E_NOMEM, "weight sharing: out of memory");
    const int k = choose_centres(values, count, 1 << bits, rng, centre, distance);
    for (int i = 0; i < iterations; i++)
        move_centres(values, count, centre, k);
    for (size_t i = 0; i < count; i++)
        cluster[i] = (uint8_t)nearest(centre, k, values[i]);
    nas_quant_average(values, count, cluster);
    free(distance);
    return NAS_OK;
}

void nas_quant_average(float *values, size_t count, const uint8_t *cluster)
{
    double sum[CENTRES] = {0};
    size_t members[CENTRES] = {0};

    for (size_t i = 0; i < count; i++) {
        sum[cluster[i]] += (double)values[i];
        members[cluster[i]]++;
    }
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(sum[cluster[i]] / (double)members[cluster[i]]);
}
