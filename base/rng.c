/* Philox4x32-10 and what is drawn from it.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include "base/rng.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#define XXH_INLINE_ALL /* no library: devices have none */
#include <xxhash.h>

enum { ROUNDS = 10, BLOCK = 4 };

void nas_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* golden ratio  */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1   */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void nas_rng_init(nas_rng *rng, uint64_t seed, const char *name, uint64_t index)
{
    /* for one name, different seeds give different keys; Philox needs no better mixing */
    const uint64_t key = seed ^ XXH3_64bits(name, strlen(name));

    *rng = (nas_rng){
        .key = {(uint32_t)key, (uint32_t)(key >> 32)},
        .counter = {0, 0, (uint32_t)index, (uint32_t)(index >> 32)},
        .used = BLOCK,
    };
}

uint32_t nas_rng_u32(nas_rng *rng)
{
    if (rng->used == BLOCK) {
        nas_philox4x32(rng->counter, rng->key, rng->block);
        if (++rng->counter[0] == 0)
            rng->counter[1]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

uint64_t nas_rng_u64(nas_rng *rng)
{
    const uint64_t low = nas_rng_u32(rng);

    return low | (uint64_t)nas_rng_u32(rng) << 32;
}

double nas_rng_uniform(nas_rng *rng)
{
    return (double)(nas_rng_u64(rng) >> 11) * 0x1p-53;
}

/* Lemire, "Fast random integer generation in an interval", ACM TOMACS 2019. */
uint32_t nas_rng_below(nas_rng *rng, uint32_t n)
{
    assert(n >= 1);
    uint64_t product = (uint64_t)nas_rng_u32(rng) * n;

    if ((uint32_t)product < n) {
        const uint32_t threshold = -n % n; /* 2^32 mod n: as many low values are one too many */

        while ((uint32_t)product < threshold)
            product = (uint64_t)nas_rng_u32(rng) * n;
    }
    return (uint32_t)(product >> 32);
}

double nas_rng_normal(nas_rng *rng)
{
    const double radius = sqrt(-2.0 * log(1.0 - nas_rng_uniform(rng))); /* log of (0, 1] */

    return radius * cos(2.0 * M_PI * nas_rng_uniform(rng));
}

int nas_rng_categorical(nas_rng *rng, const double *p, int n)
{
    const double u = nas_rng_uniform(rng);
    double sum = 0.0;
    int last = 0; /* where rounding left u above the sum: the last possible one */

    for (int i = 0; i < n; i++) {
        if (!(p[i] > 0.0))
            continue;
        sum += p[i];
        last = i;
        if (u < sum)
            break;
    }
    return last;
}

void nas_rng_shuffle(nas_rng *rng, uint32_t *values, uint32_t n)
{
    for (uint32_t left = n; left > 1; left--) {
        const uint32_t pick = nas_rng_below(rng, left);
        const uint32_t kept = values[pick];

        values[pick] = values[left - 1];
        values[left - 1] = kept;
    }
}
