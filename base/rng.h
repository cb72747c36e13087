/* Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011).
 *
 * A stream is named by (seed, name, index); its numbers depend on nothing else,
 * not on time, threads or what other streams gave.  To resume, name the same
 * stream again: nothing needs to be saved but the index. */
#ifndef NAS_BASE_RNG_H
#define NAS_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct nas_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4];
    int used; /* words of `block` already given */
} nas_rng;

/** One Philox4x32-10 block, as in the published known-answer tests. */
void nas_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/** Starts the stream (seed, name, index). */
void nas_rng_init(nas_rng *rng, uint64_t seed, const char *name, uint64_t index);

uint32_t nas_rng_u32(nas_rng *rng);
uint64_t nas_rng_u64(nas_rng *rng);
/** Uniform in [0, 1), 53 bits. */
double nas_rng_uniform(nas_rng *rng);
/** Uniform in 0..n-1 without bias; n >= 1. */
uint32_t nas_rng_below(nas_rng *rng, uint32_t n);
/** Standard normal (Box-Muller, one value a call, no cached second). */
double nas_rng_normal(nas_rng *rng);
/** Index drawn with probabilities p[0..n-1] (>= 0, sum about 1). */
int nas_rng_categorical(nas_rng *rng, const double *p, int n);
/** Fisher-Yates over `n` values. */
void nas_rng_shuffle(nas_rng *rng, uint32_t *values, uint32_t n);

#endif
